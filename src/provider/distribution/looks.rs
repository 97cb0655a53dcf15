//! Looks before creates, shared: one fresh listing tells of all names at once which of them are free.
//!
//! Nothing compares before a registry writes, so every name is looked at directly before it is created, and a `HEAD` for each
//! would be half of the requests of a pass that creates many. A listing may stand for them only where it is as good:
//!
//! - It was sent after the write asked for it, or at most [`FRESH`] before.
//! - It holds every name. So it is tried only where the pass's own listing proved to be one answer, and is as strict each time:
//!   a registry that does not page at all gives all names at once, and of one that does two pages have to [`meet`].
//! - It holds the names that this pass has created so far: then the registry lists what was just written, and does not lag.
//!   The first creates of a pass are therefore looked at one by one, and so are those of a small pass.
//!
//! Wherever one of these does not hold, the answer is "not known", and the name is looked at by itself. After [`TRIES`] looks in
//! vain that is so for the rest of the pass.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::Image;
use super::listing::Cursor;
use crate::tag::{End, TagName};

/// How long a look counts after it was sent. A `HEAD` is ahead of its write, too, by a flush of the ledger and a turn among the
/// other requests. This is longer, and still a few writes only: in a registry that is 20 ms away about four on each connection,
/// where half the time would leave one or two, and cost nearly as many waits as a `HEAD` for each.
const FRESH: Duration = Duration::from_millis(100);

/// How many looks in a row may prove nothing: tags that come between the two pages of one can be the reason for a few.
const TRIES: u32 = 4;

/// What is known for the looks of one pass.
#[derive(Debug, Default)]
pub(super) struct SharedLooks {
    pass: Mutex<Pass>,
    /// Held by whoever asks the registry, so that the others wait for that answer.
    latest: tokio::sync::Mutex<Option<Look>>,
}

#[derive(Debug, Default)]
struct Pass {
    listing: Shape,
    /// What this pass created.
    created: Vec<TagName>,
    /// How many looks in a row proved nothing.
    in_vain: u32,
}

/// How the registry lists the image's tags, as the pass's own listing proved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Shape {
    /// In a way that makes many requests of a look, or none yet.
    #[default]
    Other,
    /// All at once, because it does not page.
    AllAtOnce,
    /// In pages, of which one is enough. The greatest name that was seen is where the second begins.
    OnePage { edge: TagName },
}

/// One look.
#[derive(Debug)]
struct Look {
    sent: Instant,
    /// All names; `None` where it proves nothing.
    names: Option<BTreeSet<TagName>>,
}

impl Look {
    /// Whether it counts for somebody who began to want one at that time.
    fn counts(&self, wanted: Instant) -> bool {
        self.sent >= wanted || self.names.is_some() && self.sent.elapsed() <= FRESH
    }
}

impl SharedLooks {
    /// A listing of the pass brought these names with this proof of their end.
    pub(super) fn listed(&self, names: &[TagName], end: End, one_page: bool) {
        self.pass().listing = match (end, names.iter().max()) {
            (End::SingleResponse, _) => Shape::AllAtOnce,
            (End::ShortPage | End::AsProven, Some(edge)) if one_page => Shape::OnePage { edge: edge.clone() },
            _ => Shape::Other,
        };
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
        let names = latest.as_ref().and_then(|look| look.names.as_ref());
        names.is_some_and(|names| !names.contains(name))
    }

    /// Looks at all names; `None` where that would prove nothing.
    async fn look(&self) -> Option<Look> {
        let (listing, created) = {
            let pass = self.looks.pass();
            (pass.listing.clone(), pass.created.len())
        };
        if created == 0 || listing == Shape::Other {
            return None;
        }
        let sent = Instant::now();
        let seen = self.names_now(listing).await;
        let mut pass = self.looks.pass();
        let greatest = seen.as_ref().and_then(|(names, _)| names.last());
        if let (Shape::OnePage { edge }, Some(greatest)) = (&mut pass.listing, greatest) {
            *edge = greatest.clone();
        }
        let shows_ours = |names: &BTreeSet<TagName>| pass.created.iter().take(created).all(|name| names.contains(name));
        let names = seen.filter(|(names, whole)| *whole && shows_ours(names)).map(|(names, _)| names);
        pass.in_vain = if names.is_some() { 0 } else { pass.in_vain + 1 };
        if pass.in_vain == TRIES {
            tracing::debug!("Listings do not tell which names are free: each is looked at by itself from now on.");
            pass.listing = Shape::Other;
        }
        Some(Look { sent, names })
    }

    /// The names that the registry lists now, and whether these are proven to be all.
    async fn names_now(&self, listing: Shape) -> Option<(BTreeSet<TagName>, bool)> {
        match listing {
            Shape::Other => None,
            Shape::AllAtOnce => {
                let page = self.page(&Cursor::Start).await.ok()?;
                Some((page.names.into_iter().collect(), page.next.is_none()))
            }
            Shape::OnePage { edge } => {
                // Together, because a look should not take longer than a `HEAD`.
                let behind = Cursor::After(edge.clone());
                let (start, behind) = tokio::try_join!(self.page(&Cursor::Start), self.page(&behind)).ok()?;
                let no_more = start.next.is_none() && behind.next.is_none();
                let whole = no_more && meet(&start.names, &behind.names, &edge);
                Some((start.names.into_iter().chain(behind.names).collect(), whole))
            }
        }
    }
}

/// Whether a page from the start and one behind `edge`, a name that was there, prove that there are no other names.
///
/// A page that ends before the last name, and does not say so, is what registries have been seen to give. Two pages that meet,
/// each in the order of names, leave no gap; and the second is whole if it is shorter than the first, which shows how many
/// names a page can hold.
fn meet(start: &[TagName], behind: &[TagName], edge: &TagName) -> bool {
    start.last() >= Some(edge)
        && behind.first().is_none_or(|first| first > edge)
        && [start, behind].iter().all(|page| page.is_sorted())
        && behind.len() < start.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_pages_meet_only_where_nothing_can_be_between_or_behind_them() {
        let names = |names: &str| names.split_whitespace().map(|name| TagName::new(name).unwrap()).collect::<Vec<_>>();
        let meets = |start, behind| meet(&names(start), &names(behind), &names("m")[0]);
        for (start, behind) in [
            ("a m", ""),
            // Created between the two answers, or since the edge was seen.
            ("a b m", ""),
            ("a m z", "z"),
            ("a m", "z"),
            ("a m z", ""),
            // The edge went, and the first page goes beyond it.
            ("a n", "n"),
        ] {
            assert!(meets(start, behind), "{start} | {behind}");
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
            // Behind the edge is what should be at it or before it.
            ("a m", "b"),
            ("a b m", "m x"),
            ("a m", "a m"),
        ] {
            assert!(!meets(start, behind), "{start} | {behind}");
        }
    }
}
