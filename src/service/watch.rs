//! Changes of refs in local repositories, and decisions of people, as the kernel tells them: hints that something is due earlier
//! than its schedule says. Nothing rests on them; a network file system tells nothing, and the schedule goes on all the same.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::event::{Event, EventKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::Instant;

use crate::ledger::DECIDED;

/// How long refs have to be left alone before a pass: a push writes them one by one.
const QUIET: Duration = Duration::from_secs(2);
/// How long a repository that never comes to rest is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where something happened.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Change {
    /// Tags of the repository whose refs are in this directory.
    Refs(PathBuf),
    /// Somebody decided about a parked set.
    Decision,
}

/// Watches directories for as long as it lives.
pub(super) struct Watch {
    watcher: RecommendedWatcher,
    watched: BTreeSet<PathBuf>,
    /// Says once that the kernel watches no more.
    exhausted: bool,
}

impl Watch {
    /// A watch that sends what has settled.
    pub(super) fn new(settled: UnboundedSender<Change>) -> notify::Result<Self> {
        let (seen, raw) = unbounded_channel();
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            let Ok(event) = event else { return };
            for change in changes(&event) {
                // The receiver is gone when the service ends.
                let _ended = seen.send(change);
            }
        })?;
        tokio::spawn(settle(raw, settled));
        Ok(Self { watcher, watched: BTreeSet::new(), exhausted: false })
    }

    /// Watches the file of a decision that may appear in this directory.
    pub(super) fn state(&mut self, directory: &Path) {
        self.add(directory, RecursiveMode::NonRecursive);
    }

    /// Watches the tags in these directories of refs, and no others.
    pub(super) fn repositories(&mut self, directories: &BTreeSet<PathBuf>) {
        let gone: Vec<PathBuf> = self.watched.difference(directories).cloned().collect();
        for directory in gone {
            // It may be gone from the disk, too, and its watch with it.
            let _gone = self.watcher.unwatch(&directory);
            let _gone = self.watcher.unwatch(&directory.join(TAGS));
            self.watched.remove(&directory);
        }
        let new: Vec<PathBuf> = directories.difference(&self.watched).cloned().collect();
        for directory in new {
            // The directory itself for `packed-refs`, which is replaced by renaming.
            if self.add(&directory, RecursiveMode::NonRecursive)
                && self.add(&directory.join(TAGS), RecursiveMode::Recursive)
            {
                self.watched.insert(directory);
            }
        }
    }

    fn add(&mut self, path: &Path, mode: RecursiveMode) -> bool {
        match self.watcher.watch(path, mode) {
            Ok(()) => true,
            // A directory that is not there is looked for again with the next tick.
            Err(_) if !path.exists() => false,
            Err(fault) => {
                if !std::mem::replace(&mut self.exhausted, true) {
                    tracing::warn!(
                        path = %path.display(),
                        %fault,
                        "Changes here are not noticed at once, only by the schedule; so it may be for others, too."
                    );
                }
                false
            }
        }
    }
}

const TAGS: &str = "refs/tags";

/// What an event is about. Reading is no change, or each of our own passes would lead to the next.
fn changes(event: &Event) -> BTreeSet<Change> {
    if matches!(event.kind, EventKind::Access(_)) {
        return BTreeSet::new();
    }
    event.paths.iter().filter_map(|path| change(path)).collect()
}

fn change(path: &Path) -> Option<Change> {
    if path.file_name() == Some(OsStr::new("packed-refs")) {
        return path.parent().map(|directory| Change::Refs(directory.to_owned()));
    }
    if path.file_name() == Some(OsStr::new(DECIDED)) {
        return Some(Change::Decision);
    }
    let tags = path.ancestors().find(|above| above.ends_with(TAGS))?;
    tags.parent()?.parent().map(|directory| Change::Refs(directory.to_owned()))
}

/// Passes changes on once they have come to rest.
async fn settle(mut seen: UnboundedReceiver<Change>, settled: UnboundedSender<Change>) {
    let mut settling = Settling::default();
    loop {
        let next = settling.next();
        tokio::select! {
            change = seen.recv() => match change {
                Some(change) => settling.saw(change, Instant::now()),
                None => return,
            },
            () = tokio::time::sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {
                for change in settling.take(Instant::now()) {
                    if settled.send(change).is_err() {
                        return;
                    }
                }
            }
        }
    }
}

/// Changes that have not come to rest: when each was seen first, and when it is believed to be over.
#[derive(Debug, Default)]
struct Settling(BTreeMap<Change, (Instant, Instant)>);

impl Settling {
    fn saw(&mut self, change: Change, now: Instant) {
        // A decision is one write.
        let quiet = if change == Change::Decision { Duration::ZERO } else { QUIET };
        let (first, over) = self.0.entry(change).or_insert((now, now));
        *over = (now + quiet).min(*first + PATIENCE);
    }

    fn next(&self) -> Option<Instant> {
        self.0.values().map(|(_, over)| *over).min()
    }

    fn take(&mut self, now: Instant) -> Vec<Change> {
        let over: Vec<Change> =
            self.0.iter().filter(|(_, (_, over))| *over <= now).map(|(change, _)| change.clone()).collect();
        self.0.retain(|_, (_, over)| *over > now);
        over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_to_the_directory_of_the_refs() {
        let refs = |path: &str| change(Path::new(path));
        let core = Some(Change::Refs("/srv/core.git".into()));
        for path in ["packed-refs", "refs/tags", "refs/tags/v1", "refs/tags/v1.lock", "refs/tags/a/b/c"] {
            assert_eq!(refs(&format!("/srv/core.git/{path}")), core, "{path}");
        }
        for path in ["HEAD", "packed-refs.lock", "refs/heads/tags", "objects/ab/cd", "config"] {
            assert_eq!(refs(&format!("/srv/core.git/{path}")), None, "{path}");
        }
    }

    #[test]
    fn a_change_settles_when_it_is_over_or_has_lasted_too_long() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let change = || Change::Refs("/r".into());
        let mut settling = Settling::default();
        assert_eq!(settling.next(), None);
        settling.saw(change(), start);
        settling.saw(change(), after(1));
        assert_eq!(settling.take(after(2)), []);
        assert_eq!(settling.next(), Some(after(3)));
        assert_eq!(settling.take(after(3)), [change()]);
        assert_eq!(settling.next(), None);
        for second in 0..20 {
            settling.saw(change(), after(second));
            let taken = settling.take(after(second));
            assert_eq!(taken.len(), usize::from(second == 10), "{second}");
            if second == 10 {
                break;
            }
        }
    }
}
