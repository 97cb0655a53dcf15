//! Changes of refs in local repositories, and decisions of people, as the kernel tells them: hints that something is due earlier
//! than its schedule says. Nothing rests on them; a network file system tells nothing, and the schedule goes on all the same.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use notify::event::{Event, EventKind, ModifyKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use crate::ledger::DECIDED;

/// How long refs have to be left alone before a pass: a push writes them one by one.
const QUIET: Duration = Duration::from_secs(2);
/// How long a repository that never comes to rest is waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// So long a directory is still watched when nobody wants it: after a reload, jobs find their repositories one after the other.
const LINGER: Duration = Duration::from_secs(60);
/// So rarely a lost event is a reason to look at everything: our own passes read so many files that they may be its cause.
const OVERFLOW_PAUSE: Duration = Duration::from_secs(60 * 60);

/// Where something happened.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Change {
    /// Tags of the repository whose refs are in this directory.
    Refs(Arc<Path>),
    /// Somebody decided about a parked set.
    Decision,
}

/// Watches directories for as long as it lives. It is only told here what is wanted; disks are looked at elsewhere, where nobody
/// waits for them.
pub(super) struct Watch(watch::Sender<Wanted>);

/// What is to be watched.
#[derive(Clone, Debug, Default)]
struct Wanted {
    state: Option<PathBuf>,
    repositories: BTreeSet<Arc<Path>>,
}

impl Watch {
    /// A watch that sends what has settled. Needs a runtime around it.
    pub(super) fn new(settled: UnboundedSender<Change>) -> notify::Result<Self> {
        let (seen, raw) = unbounded_channel();
        let (sender, wanted) = watch::channel(Wanted::default());
        tokio::spawn(keep(Kept::new(seen)?, wanted));
        tokio::spawn(settle(raw, settled));
        Ok(Self(sender))
    }

    /// Watches the file of a decision that may appear in this directory.
    pub(super) fn state(&mut self, directory: &Path) {
        self.0.send_modify(|wanted| wanted.state = Some(directory.to_owned()));
    }

    /// Watches the tags in these directories of refs, after a while no others, and what has taken the place of one of them.
    pub(super) fn repositories(&mut self, directories: &BTreeSet<Arc<Path>>) {
        self.0.send_modify(|wanted| wanted.repositories.clone_from(directories));
    }
}

/// Does what is wanted, the latest only, where a disk that hangs keeps nobody else waiting.
async fn keep(mut kept: Kept, mut wanted: watch::Receiver<Wanted>) {
    while wanted.changed().await.is_ok() {
        let latest = wanted.borrow_and_update().clone();
        let done = spawn_blocking(move || {
            kept.keep(&latest, Instant::now());
            kept
        });
        let Ok(done) = done.await else { return };
        kept = done;
    }
}

/// A directory that the kernel watches, by the path under which it does.
#[derive(Debug)]
struct Place {
    /// What the path led to; nothing once the kernel may have ceased to watch.
    inode: Option<Inode>,
    /// With everything below it, or only the files of [`FILES`].
    deep: bool,
    /// What a change here means. Several where more than one path leads here, because the kernel watches it once only.
    means: Vec<Change>,
}

type Inode = (u64, u64);
type Places = BTreeMap<PathBuf, Place>;

const TAGS: &str = "refs/tags";
/// What counts in a directory that is not watched with everything below it. `packed-refs` is replaced by renaming.
const FILES: [&str; 2] = ["packed-refs", DECIDED];

/// What is watched, and the kernel that does.
struct Kept {
    kernel: RecommendedWatcher,
    places: Arc<Mutex<Places>>,
    /// What is wanted, or since when it is not.
    known: BTreeMap<Change, Option<Instant>>,
    seen: UnboundedSender<Change>,
    /// Says once that the kernel watches no more.
    exhausted: bool,
}

impl Kept {
    fn new(seen: UnboundedSender<Change>) -> notify::Result<Self> {
        let places = Arc::new(Mutex::new(Places::new()));
        let mut ear = Ear { places: Arc::clone(&places), overflow: None };
        let told = seen.clone();
        let kernel = notify::recommended_watcher(move |event: notify::Result<Event>| {
            let Ok(event) = event else { return };
            for change in ear.changes(&event, Instant::now()) {
                // The receiver is gone when the service ends.
                let _ended = told.send(change);
            }
        })?;
        Ok(Self { kernel, places, known: BTreeMap::new(), seen, exhausted: false })
    }

    /// Watches what is wanted. What was wanted before and is watched anew may have changed meanwhile, so that is told.
    fn keep(&mut self, wanted: &Wanted, now: Instant) {
        let refs = wanted.repositories.iter().cloned().map(Change::Refs);
        let wanted_now: BTreeSet<Change> = refs.chain(wanted.state.as_ref().map(|_| Change::Decision)).collect();
        for (change, unwanted) in &mut self.known {
            if !wanted_now.contains(change) {
                unwanted.get_or_insert(now);
            }
        }
        self.known.retain(|_, unwanted| unwanted.is_none_or(|since| now.duration_since(since) < LINGER));
        let before: BTreeSet<Change> = self.known.keys().cloned().collect();
        // Here and below all at once, because a tree that grows one by one in the order of its keys is half empty.
        self.known.append(&mut wanted_now.into_iter().map(|change| (change, None)).collect());

        let (gone, mut new) = self.compare(self.look(wanted.state.as_deref()));
        // First, because another path may lead to the same directory.
        for path in gone {
            // It may be gone from the disk, too, and its watch with it.
            let _gone = self.kernel.unwatch(&path);
        }
        let watched: Vec<(PathBuf, bool, Vec<Change>)> =
            new.iter().map(|(path, place)| (path.clone(), place.deep, place.means.clone())).collect();
        // Before they are watched, so that nothing that is heard of them is lost.
        locked(&self.places).append(&mut new);
        for (path, deep, means) in watched {
            if self.add(path, deep) {
                for change in means.iter().filter(|change| before.contains(change)) {
                    let _ended = self.seen.send(change.clone());
                }
            }
        }
    }

    /// The places that there are on disk for what is known. What is missing is looked for again the next time.
    fn look(&self, state: Option<&Path>) -> Places {
        let mut paths: BTreeMap<Inode, PathBuf> = BTreeMap::new();
        let mut places = Places::new();
        for change in self.known.keys() {
            let parts = match change {
                Change::Refs(directory) => vec![(directory.to_path_buf(), false), (directory.join(TAGS), true)],
                Change::Decision => state.map(|directory| (directory.to_owned(), false)).into_iter().collect(),
            };
            for (path, deep) in parts {
                let Some(inode) = inode(&path) else { continue };
                let path = paths.entry(inode).or_insert(path).clone();
                // Nearly always one path leads here; a vector that grows begins with room for four.
                let place = || Place { inode: Some(inode), deep, means: Vec::with_capacity(1) };
                let means = &mut places.entry(path).or_insert_with(place).means;
                if !means.contains(change) {
                    means.push(change.clone());
                }
            }
        }
        places
    }

    /// What is to be watched no more, and what is not watched yet; a directory in the place of another one is both.
    fn compare(&self, wanted: Places) -> (Vec<PathBuf>, Places) {
        let mut places = locked(&self.places);
        let stays = |path: &PathBuf, place: &Place| wanted.get(path).is_some_and(|wanted| wanted.inode == place.inode);
        let gone = places.extract_if(.., |path, place| !stays(path, place)).map(|(path, _)| path).collect();
        let mut new = Places::new();
        for (path, place) in wanted {
            match places.get_mut(&path) {
                Some(former) => former.means = place.means,
                None => {
                    new.insert(path, place);
                }
            }
        }
        (gone, new)
    }

    fn add(&mut self, path: PathBuf, deep: bool) -> bool {
        let mode = if deep { RecursiveMode::Recursive } else { RecursiveMode::NonRecursive };
        let Err(fault) = self.kernel.watch(&path, mode) else { return true };
        // A part of what is below may be watched.
        let _part = self.kernel.unwatch(&path);
        locked(&self.places).remove(&path);
        // What has just gone is looked for again the next time.
        if path.exists() && !std::mem::replace(&mut self.exhausted, true) {
            tracing::warn!(
                path = %path.display(),
                %fault,
                "Changes here are not noticed at once, only by the schedule; so it may be for others, too."
            );
        }
        false
    }
}

/// The directory that a path leads to.
fn inode(path: &Path) -> Option<Inode> {
    let found = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_dir)?;
    Some((found.dev(), found.ino()))
}

fn locked(places: &Mutex<Places>) -> MutexGuard<'_, Places> {
    // Whatever panics while it is held, each place in it is whole.
    places.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes changes of what the kernel tells.
struct Ear {
    places: Arc<Mutex<Places>>,
    /// When events were lost.
    overflow: Option<Instant>,
}

impl Ear {
    /// What an event is about. Reading is no change, or each of our own passes would lead to the next.
    fn changes(&mut self, event: &Event, now: Instant) -> BTreeSet<Change> {
        if event.need_rescan() {
            return self.overflowed(now);
        }
        let mut places = locked(&self.places);
        if matches!(event.kind, EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_))) {
            for path in &event.paths {
                // The number of its inode may be given to its successor, so comparing would not tell.
                if let Some(place) = places.get_mut(path) {
                    place.inode = None;
                }
            }
        }
        match event.kind {
            EventKind::Access(_) => BTreeSet::new(),
            _ => event.paths.iter().flat_map(|path| meanings(&places, path)).cloned().collect(),
        }
    }

    /// Anything may have happened, also to what is watched.
    fn overflowed(&mut self, now: Instant) -> BTreeSet<Change> {
        if self.overflow.is_some_and(|last| now.duration_since(last) < OVERFLOW_PAUSE) {
            return BTreeSet::new();
        }
        self.overflow = Some(now);
        let mut places = locked(&self.places);
        places.values_mut().for_each(|place| place.inode = None);
        places.values().flat_map(|place| place.means.clone()).collect()
    }
}

/// What a change of this path means.
fn meanings<'p>(places: &'p Places, path: &'p Path) -> impl Iterator<Item = &'p Change> {
    let counts = path.file_name().is_some_and(|name| FILES.iter().any(|file| name == OsStr::new(file)));
    let concerned = path.ancestors().filter_map(move |above| {
        let place = places.get(above)?;
        (place.deep || (counts && path.parent() == Some(above))).then_some(place)
    });
    concerned.flat_map(|place| &place.means)
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

    /// Repositories in a folder, and the watch over them without the time to settle.
    struct Scene {
        folder: tempfile::TempDir,
        kept: Kept,
        seen: UnboundedReceiver<Change>,
        now: Instant,
        asked: u32,
    }

    /// What happens in this repository is heard after all that has happened before.
    const LAST: &str = "last";

    impl Scene {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let (sender, seen) = unbounded_channel();
            let scene = Self { folder, kept: Kept::new(sender).unwrap(), seen, now: Instant::now(), asked: 0 };
            scene.make(LAST);
            scene
        }

        fn path(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }

        fn make(&self, name: &str) {
            std::fs::create_dir_all(self.path(name).join(TAGS)).unwrap();
        }

        fn refs(&self, names: &[&str]) -> BTreeSet<Change> {
            names.iter().map(|name| Change::Refs(self.path(name).into())).collect()
        }

        fn keep(&mut self, names: &[&str]) {
            let repositories = names.iter().chain(&[LAST]).map(|name| self.path(name).into()).collect();
            self.kept.keep(&Wanted { state: Some(self.path("state")), repositories }, self.now);
        }

        fn write(&self, file: &str) {
            std::fs::write(self.path(file), "x").unwrap();
        }

        /// What has been heard since the last time.
        async fn heard(&mut self) -> BTreeSet<Change> {
            self.asked += 1;
            // A directory is made by one step, and so heard of once.
            std::fs::create_dir(self.path(LAST).join(TAGS).join(self.asked.to_string())).unwrap();
            let (last, mut heard) = (Change::Refs(self.path(LAST).into()), BTreeSet::new());
            loop {
                let next = tokio::time::timeout(Duration::from_secs(30), self.seen.recv()).await;
                match next.expect("the kernel tells it").unwrap() {
                    change if change == last => return heard,
                    change => heard.insert(change),
                };
            }
        }

        /// What is heard of a file that is written.
        async fn hears(&mut self, file: &str) -> BTreeSet<Change> {
            assert_eq!(self.heard().await, BTreeSet::new(), "before {file}");
            self.write(file);
            self.heard().await
        }
    }

    #[tokio::test]
    async fn what_counts_is_heard_and_nothing_else() {
        let mut scene = Scene::new();
        for name in ["a", "b", "state"] {
            scene.make(name);
        }
        scene.keep(&["a", "b"]);
        for file in ["HEAD", "packed-refs.lock", "config", "refs/tags.old"] {
            assert_eq!(scene.hears(&format!("a/{file}")).await, BTreeSet::new(), "{file}");
        }
        assert_eq!(scene.hears("state/ledger.db").await, BTreeSet::new());
        assert_eq!(scene.hears(&format!("state/{DECIDED}")).await, BTreeSet::from([Change::Decision]));
        for file in ["packed-refs", "refs/tags/v1", "refs/tags/v1.lock", &format!("refs/tags/{DECIDED}")] {
            assert_eq!(scene.hears(&format!("b/{file}")).await, scene.refs(&["b"]), "{file}");
        }
        std::fs::create_dir(scene.path("a/refs/tags/deep")).unwrap();
        assert_eq!(scene.heard().await, scene.refs(&["a"]));
        assert_eq!(scene.hears("a/refs/tags/deep/v1").await, scene.refs(&["a"]));
        std::fs::read(scene.path("a/refs/tags/deep/v1")).unwrap();
        assert_eq!(scene.heard().await, BTreeSet::new());
    }

    #[tokio::test]
    async fn what_is_not_wanted_for_a_moment_stays_watched() {
        let mut scene = Scene::new();
        scene.make("a");
        scene.keep(&["a"]);
        scene.keep(&[]);
        scene.now += LINGER / 2;
        scene.keep(&[]);
        assert_eq!(scene.hears("a/packed-refs").await, scene.refs(&["a"]));
        scene.keep(&["a"]);
        scene.now += LINGER;
        scene.keep(&[]);
        assert_eq!(scene.hears("a/packed-refs").await, scene.refs(&["a"]), "it was wanted until now");
        scene.now += LINGER;
        scene.keep(&[]);
        assert_eq!(scene.hears("a/packed-refs").await, BTreeSet::new());
    }

    #[tokio::test]
    async fn what_takes_the_place_of_a_repository_or_of_its_tags_is_watched() {
        let mut scene = Scene::new();
        for name in ["a", "b"] {
            scene.make(name);
        }
        std::fs::create_dir(scene.path("new")).unwrap();
        let names = ["a", "b", "new"];
        scene.keep(&names);
        assert_eq!(scene.heard().await, BTreeSet::new(), "nothing has happened yet");

        std::fs::rename(scene.path("a"), scene.path("a.old")).unwrap();
        scene.make("a");
        std::fs::remove_dir(scene.path("b/refs/tags")).unwrap();
        // It may well have the same inode.
        scene.make("b");
        scene.make("new");
        assert_eq!(scene.heard().await, scene.refs(&["b"]));
        scene.keep(&names);
        assert_eq!(scene.heard().await, scene.refs(&names), "what has happened before is not known");
        scene.keep(&names);
        for name in names {
            assert_eq!(scene.hears(&format!("{name}/refs/tags/v1")).await, scene.refs(&[name]));
            assert_eq!(scene.hears(&format!("{name}/packed-refs")).await, scene.refs(&[name]));
        }
        assert_eq!(scene.hears("a.old/refs/tags/v1").await, BTreeSet::new());
        assert_eq!(scene.hears("a.old/packed-refs").await, BTreeSet::new());
    }

    #[tokio::test]
    async fn all_paths_to_a_repository_hear_of_it_until_the_last_is_gone() {
        let mut scene = Scene::new();
        scene.make("b");
        std::os::unix::fs::symlink(scene.path("b"), scene.path("a")).unwrap();
        std::fs::create_dir(scene.path("c")).unwrap();
        std::os::unix::fs::symlink(scene.path("b/refs"), scene.path("c/refs")).unwrap();
        scene.keep(&["b"]);
        scene.keep(&["a", "b", "c"]);
        // The path has become another one, which may have cost an event.
        assert_eq!(scene.heard().await, scene.refs(&["b"]));
        assert_eq!(scene.hears("b/refs/tags/v1").await, scene.refs(&["a", "b", "c"]));
        assert_eq!(scene.hears("b/packed-refs").await, scene.refs(&["a", "b"]));
        scene.keep(&["b", "c"]);
        scene.now += LINGER;
        scene.keep(&["b", "c"]);
        assert_eq!(scene.heard().await, scene.refs(&["b", "c"]));
        assert_eq!(scene.hears("b/refs/tags/v2").await, scene.refs(&["b", "c"]));
        assert_eq!(scene.hears("b/packed-refs").await, scene.refs(&["b"]));
    }

    #[test]
    fn lost_events_concern_everything_but_not_again_and_again() {
        let place = |means: &[Change]| Place { inode: Some((1, 1)), deep: true, means: means.to_vec() };
        let all = [Change::Refs(Path::new("/a").into()), Change::Refs(Path::new("/b").into()), Change::Decision];
        let places = Places::from([("/a".into(), place(&all[..2])), ("/s".into(), place(&all[2..]))]);
        let mut ear = Ear { places: Arc::new(Mutex::new(places)), overflow: None };
        let lost = Event::new(EventKind::Other).set_flag(notify::event::Flag::Rescan);
        let now = Instant::now();
        assert_eq!(ear.changes(&lost, now), BTreeSet::from(all.clone()));
        assert!(locked(&ear.places).values().all(|place| place.inode.is_none()), "each is watched anew");
        assert_eq!(ear.changes(&lost, now + OVERFLOW_PAUSE / 2), BTreeSet::new());
        assert_eq!(ear.changes(&lost, now + OVERFLOW_PAUSE), BTreeSet::from(all));
    }

    /// The runtime has one thread, so nothing else has run when the call returns.
    #[tokio::test]
    async fn saying_what_is_wanted_does_not_look_at_disks() {
        let folder = tempfile::tempdir().unwrap();
        let core = folder.path().join("core");
        let (settled, mut changes) = unbounded_channel();
        let mut watch = Watch::new(settled).unwrap();
        watch.state(folder.path());
        watch.repositories(&BTreeSet::from([core.as_path().into()]));
        std::fs::create_dir_all(core.join(TAGS)).unwrap();
        for tag in 0..10 {
            std::fs::write(core.join(TAGS).join(format!("v{tag}")), "x").unwrap();
            // What is written before it is watched is not heard of.
            if let Ok(change) = tokio::time::timeout(QUIET * 2, changes.recv()).await {
                return assert_eq!(change, Some(Change::Refs(core.into())));
            }
        }
        panic!("nothing was heard");
    }

    #[test]
    fn a_change_settles_when_it_is_over_or_has_lasted_too_long() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let change = || Change::Refs(Path::new("/r").into());
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
