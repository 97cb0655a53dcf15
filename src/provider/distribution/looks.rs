//! Looks before creates, shared: one fresh listing tells of all names at once which of them are free.
//!
//! Nothing compares before a registry writes, so every name is looked at directly before it is created, and a `HEAD` for each
//! would be half of the requests of a pass that creates many. A listing may stand for them only where it is as good:
//!
//! - It was sent after the write asked for it, or at most [`FRESH`] before.
//! - It holds every name, which is proven anew each time ([`all_names`]). So it is tried only where the pass's own listing was
//!   one page.
//! - It holds the names that this pass has created so far: then the registry lists what was just written, and does not lag.
//!   The first creates of a pass are therefore looked at one by one, and so are those of a small pass.
//!
//! Wherever one of these does not hold, the answer is "not known", and each name is looked at by itself for the rest of the
//! pass.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::Image;
use super::listing::Cursor;
use crate::tag::TagName;

/// How long a look counts after it was sent. A `HEAD` is ahead of its write, too, by a flush of the ledger and a turn among the
/// other requests. This is longer, and still a few writes only: in a registry that is 20 ms away about four on each connection,
/// where half the time would leave one or two, and cost nearly as many waits as a `HEAD` for each.
const FRESH: Duration = Duration::from_millis(100);

/// What is known for the looks of one pass.
#[derive(Debug, Default)]
pub(super) struct SharedLooks {
    pass: Mutex<Pass>,
    /// Held by whoever asks the registry, so that the others wait for that answer.
    latest: tokio::sync::Mutex<Option<Look>>,
}

#[derive(Debug, Default)]
struct Pass {
    /// A name that the image has, the greatest that was seen; `None` where a look of this kind proves nothing.
    edge: Option<TagName>,
    /// What this pass created.
    created: Vec<TagName>,
}

/// One listing, complete.
#[derive(Debug)]
struct Look {
    sent: Instant,
    names: BTreeSet<TagName>,
}

impl Look {
    /// Whether it counts for somebody who began to want one at that time.
    fn counts(&self, wanted: Instant) -> bool {
        self.sent >= wanted || self.sent.elapsed() <= FRESH
    }
}

impl SharedLooks {
    /// A listing of the pass brought these names, and proved their end.
    pub(super) fn listed(&self, names: &[TagName], one_page: bool) {
        self.pass().edge = names.iter().max().filter(|_| one_page).cloned();
    }

    fn pass(&self) -> MutexGuard<'_, Pass> {
        self.pass.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Image {
    /// The registry has taken a tag that was not there before.
    pub(in crate::provider) fn has_created(&self, name: &TagName) {
        self.looks.pass().created.push(name.clone());
    }

    /// Whether a shared look shows that there is no tag of this name. `false` says nothing.
    pub(in crate::provider) async fn shows_free(&self, name: &TagName) -> bool {
        let wanted = Instant::now();
        let mut latest = self.looks.latest.lock().await;
        if !latest.as_ref().is_some_and(|look| look.counts(wanted)) {
            *latest = self.look().await;
        }
        latest.as_ref().is_some_and(|look| !look.names.contains(name))
    }

    /// Looks at all names; `None` where that proves nothing.
    async fn look(&self) -> Option<Look> {
        let (edge, created) = {
            let pass = self.looks.pass();
            (pass.edge.clone()?, pass.created.len())
        };
        if created == 0 {
            return None;
        }
        let sent = Instant::now();
        // Together, because a look should not take longer than a `HEAD`.
        let behind = Cursor::After(edge.clone());
        let names = match tokio::join!(self.page(&Cursor::Start), self.page(&behind)) {
            (Ok(start), Ok(behind)) if start.next.is_none() && behind.next.is_none() => {
                all_names(start.names, behind.names, &edge)
            }
            _ => None,
        };
        let mut pass = self.looks.pass();
        let names = names.filter(|names| pass.created.iter().take(created).all(|name| names.contains(name)));
        if names.is_none() {
            tracing::debug!("A listing does not tell which names are free; each is looked at by itself from now on.");
        }
        pass.edge = names.as_ref().and_then(|names| names.last().cloned());
        names.map(|names| Look { sent, names })
    }
}

/// All names, from a page at the start and one behind `edge`, a name that was there; `None` where the two do not prove that
/// there are no others.
///
/// A page that ends before the last name, and does not say so, is what registries have been seen to give. Two pages that meet,
/// each in the order of names, leave no gap; and the second is whole if it is shorter than the first, which shows how many
/// names a page can hold. A registry that gives `edge` itself behind `edge` ignores `last`: it does not page at all, and
/// everything comes in one answer.
fn all_names(start: Vec<TagName>, behind: Vec<TagName>, edge: &TagName) -> Option<BTreeSet<TagName>> {
    let starts_over = behind.contains(edge) && behind.first() == start.first();
    let meets = start.last() >= Some(edge)
        && behind.first().is_none_or(|first| first > edge)
        && [&start, &behind].iter().all(|page| page.is_sorted())
        && behind.len() < start.len();
    (starts_over || meets).then(|| start.into_iter().chain(behind).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_pages_are_all_names_only_where_nothing_can_be_between_or_behind_them() {
        let names = |names: &str| names.split_whitespace().map(|name| TagName::new(name).unwrap()).collect::<Vec<_>>();
        for (start, behind, all) in [
            ("a m", "", "a m"),
            // Created between the two answers, or since the edge was seen.
            ("a b m", "", "a b m"),
            ("a m z", "z", "a m z"),
            ("a m", "z", "a m z"),
            ("a m z", "", "a m z"),
            // The edge went, and what is behind it shows that the first page goes beyond.
            ("a n", "n", "a n"),
            // It ignores `last`.
            ("a m", "a m", "a m"),
            ("z m a", "z n m a", "a m n z"),
        ] {
            let found = all_names(names(start), names(behind), &names("m")[0]);
            assert_eq!(found, Some(names(all).into_iter().collect()), "{start} | {behind}");
        }
        for (start, behind) in [
            ("", ""),
            ("", "z"),
            // It ends before the edge.
            ("a b", ""),
            ("a b", "z"),
            // As long as a page may be, perhaps.
            ("m", "x"),
            ("a m", "x y"),
            ("a m", "x y z"),
            // Out of order.
            ("m a", ""),
            ("a m x", "y x"),
            ("z a m", ""),
            // Behind the edge are names that should be before it.
            ("a m", "b"),
            ("a b m", "m x"),
        ] {
            assert_eq!(all_names(names(start), names(behind), &names("m")[0]), None, "{start} | {behind}");
        }
    }
}
