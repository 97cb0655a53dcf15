//! All tags, and the proof that they are all.
//!
//! There are only pages by offset, and whether `offset` counts rows or pages is not documented (2026-11-21,
//! <https://support.huaweicloud.com/intl/en-us/api-codeartsrepo/ListTags.html>). So rows are tried first, then pages; what
//! fits is remembered. In either case the listing ends only when `X-Total` different names have come, and a last page
//! that is full is followed by one more, which has to be empty.
//!
//! Of several pages that proves nothing yet: a deletion and an insertion in between leave the total as it was and hide
//! a tag. Where rows are counted, each page therefore begins with the last row of the one before. Sorted by name, that
//! is keyset paging: every page is all of the names from one to another, so who was there all the time is found, and
//! the price is one row per page. Where pages are counted, or the names are not in order, two readings have to agree.
//!
//! A listed tag has a `target`, and whether that is the commit or, for annotated tags, the tag's own object, is not
//! documented either. A tag without a message is lightweight, so it can only be a commit. One tag with a message is
//! looked at alone, where the commit is named: does it have the target that was listed, this server lists commits.
//! Otherwise every tag with a message is looked at, once for each target, because what an object id means never changes.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::CodeArts;
use super::wire::{Pointer, WireTag};
use crate::http::{Fault, FaultKind, Reply};
use crate::tag::{CommitId, End, Listing, RemoteSnapshot, RemoteTag, TagName};

/// Tags per page: the most that can be asked for.
const PER_PAGE: usize = 100;

/// How many readings there are before the listing is given up.
const READINGS: usize = 6;

/// How many pages a reading may have.
const PAGES: usize = 10_000;

/// How many tags are looked at alone at the same time; the gate may allow less.
const LOOKS: usize = 8;

/// What `offset` counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Unit {
    #[default]
    Rows,
    Pages,
}

impl Unit {
    fn other(self) -> Self {
        match self {
            Self::Rows => Self::Pages,
            Self::Pages => Self::Rows,
        }
    }
}

/// What was found out about a repository's server, and can be found out again.
#[derive(Debug, Default)]
pub(super) struct Memory(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    unit: Unit,
    /// Whether it lists the commit also for annotated tags.
    lists_commits: bool,
    /// The commits behind listed targets.
    peeled: HashMap<CommitId, CommitId>,
}

/// More is not kept; what is not known is asked for again.
const MOST_PEELED: usize = 200_000;

impl Memory {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The commit that a listed tag is on, where that can be told without looking at it.
    fn commit(&self, pointer: &Pointer) -> Option<CommitId> {
        match pointer {
            Pointer::Commit(id) => Some(*id),
            Pointer::Either(id) => {
                let known = self.known();
                if known.lists_commits { Some(*id) } else { known.peeled.get(id).copied() }
            }
            Pointer::Untold => None,
        }
    }

    /// Remembers what a look at a listed tag showed.
    fn learn(&self, listed: &Pointer, alone: &WireTag) {
        let (Pointer::Either(listed), Pointer::Either(target), Ok(commit)) = (listed, alone.pointer(), alone.peeled())
        else {
            return;
        };
        // Otherwise it was moved meanwhile.
        if *listed == target {
            let mut known = self.known();
            known.lists_commits |= alone.proves_commits();
            if known.peeled.len() >= MOST_PEELED {
                known.peeled.clear();
            }
            known.peeled.insert(target, commit);
        }
    }
}

/// What one run over all pages came to.
enum Run {
    Complete(RemoteSnapshot),
    /// Several pages that do not hold on to each other: something may have shifted unseen.
    Unconfirmed(RemoteSnapshot),
    /// The tags changed meanwhile, and how that showed.
    Disturbed(Fault),
    /// The pages do not fit together: the tags changed, or `offset` counts something else.
    Unfit(Fault),
    /// A page was more than one answer may bring.
    TooLarge,
}

impl CodeArts {
    pub(super) async fn list(&self) -> Result<RemoteSnapshot, Fault> {
        let mut unit = self.memory.known().unit;
        let mut size = PER_PAGE;
        let mut previous: Option<RemoteSnapshot> = None;
        let mut why = String::new();
        let mut reading = 0;
        while reading < READINGS {
            reading += 1;
            let found = match self.read(unit, size).await? {
                Run::Complete(snapshot) => Some((snapshot, true)),
                Run::Unconfirmed(snapshot) => Some((snapshot, false)),
                Run::Disturbed(fault) => {
                    why = format!(": {fault}");
                    None
                }
                Run::Unfit(fault) => {
                    why = format!(": {fault}");
                    unit = unit.other();
                    None
                }
                Run::TooLarge => {
                    size /= 2;
                    reading -= 1;
                    None
                }
            };
            if let Some((snapshot, complete)) = found {
                if complete || previous.as_ref().is_some_and(|previous| previous.tags() == snapshot.tags()) {
                    self.memory.known().unit = unit;
                    return Ok(snapshot);
                }
                previous = Some(snapshot);
            }
        }
        let message = format!("could not list the tags: no {READINGS} readings of them agree{why}");
        Err(Fault::new(FaultKind::Unreadable, message))
    }

    async fn read(&self, unit: Unit, size: usize) -> Result<Run, Fault> {
        let mut listing = Listing::new();
        let mut last: Option<TagName> = None;
        let mut in_order = true;
        let mut promised = None;
        for page in 0..PAGES {
            // The last row that has come is asked for again, to see that it is still where it was.
            let offset = match unit {
                Unit::Rows => listing.len().saturating_sub(1),
                Unit::Pages => page,
            };
            let Some(reply) = self.page(offset, size).await? else { return Ok(Run::TooLarge) };
            let reply = self.expect(reply, &[200])?;
            let mut rows: Vec<WireTag> = reply.json("a list of tags")?;
            let is_full = rows.len() >= size;
            let total = total(&reply);
            if promised.is_some_and(|promised| Some(promised) != total) {
                return Ok(Run::Disturbed(reply.unusable("gives another total than a page before")));
            }
            if unit == Unit::Rows
                && let Some(last) = &last
                && !rows.is_empty()
            {
                let first = rows.remove(0);
                if first.name.as_bytes() != last.as_bytes() {
                    return Ok(Run::Unfit(reply.unusable("does not continue the page before")));
                }
            }
            let tags = self.resolve(&reply, rows).await?;
            let brought = tags.len();
            in_order &= last.iter().chain(tags.iter().map(|tag| &tag.name)).is_sorted_by(|one, other| one < other);
            last = tags.last().map(|tag| tag.name.clone()).or(last);
            if let Err(fault) = listing.page(tags) {
                let fault = reply.quote(&fault.to_string());
                return Ok(Run::Unfit(reply.unusable(&format!("contradicts the pages before: {fault}"))));
            }
            let found = listing.len() as u64;
            let Some(total) = total else {
                // Neither a row nor a page of the number zero.
                if page == 0 && found == 0 {
                    return Ok(finish(listing, &reply, None, true));
                }
                let fault = reply.unusable("has no X-Total, without which nothing proves that these are all tags");
                return Err(fault.hint("does a proxy in between remove it?"));
            };
            promised = Some(total);
            if found > total {
                return Ok(Run::Disturbed(reply.unusable("promises fewer tags than have come")));
            }
            if found == total && (brought == 0 || !is_full) {
                let holds = page == 0 || unit == Unit::Rows && in_order || found == 0;
                // A second page that was only to show the end of the first shows it for either unit.
                let alone = page == 1 && brought == 0;
                return Ok(finish(listing, &reply, Some(total), holds || alone));
            }
            if brought == 0 {
                return Ok(Run::Unfit(reply.unusable(&format!("ends at {found} tags where {total} were promised"))));
            }
        }
        Err(Fault::new(FaultKind::Unreadable, format!("could not list the tags: they have more than {PAGES} pages")))
    }

    /// One page; `None` when it is more than one answer may bring, and could be smaller.
    async fn page(&self, offset: usize, size: usize) -> Result<Option<Reply>, Fault> {
        let (offset, limit) = (offset.to_string(), size.to_string());
        let segments = self.segments(&["repository", "tags"]);
        let request = self
            .client
            .get("list the tags", &segments)
            .query("view", "detail")
            .query("order_by", "name")
            .query("sort", "asc")
            .query("offset", &offset)
            .query("limit", &limit);
        if size > 1 { request.send_part().await } else { request.send().await.map(Some) }
    }

    /// Listed tags in our terms, each with the commit that it is on.
    async fn resolve(&self, reply: &Reply, rows: Vec<WireTag>) -> Result<Vec<RemoteTag>, Fault> {
        let mut tags = Vec::with_capacity(rows.len());
        let mut unclear = Vec::new();
        for (at, row) in rows.into_iter().enumerate() {
            let (name, pointer) = (self.name(reply, &row)?, row.pointer());
            let commit = self.memory.commit(&pointer);
            if commit.is_none() {
                unclear.push((at, name.clone(), pointer));
            }
            tags.push((name, row, commit.ok_or_else(String::new)));
        }
        let mut unclear = unclear.into_iter();
        if let Some((at, name, pointer)) = unclear.next() {
            // Alone, because it may make all others clear.
            tags[at].2 = self.look(&name, &pointer).await?;
            let rest = unclear
                .map(|(at, name, pointer)| async move { Ok::<_, Fault>((at, self.look(&name, &pointer).await?)) });
            let mut looks = stream::iter(rest).buffer_unordered(LOOKS);
            while let Some((at, commit)) = looks.try_next().await? {
                tags[at].2 = commit;
            }
        }
        let tags = tags.into_iter().map(|(name, row, commit)| {
            let tag = row.into_tag(name, commit, self.compare_annotations);
            RemoteTag { message: None, ..tag }
        });
        Ok(tags.collect())
    }

    /// The commit that a listed tag is on, or why that cannot be told. A fault is one that concerns all tags.
    async fn look(&self, name: &TagName, listed: &Pointer) -> Result<Result<CommitId, String>, Fault> {
        if let Some(commit) = self.memory.commit(listed) {
            return Ok(Ok(commit));
        }
        match self.show(name).await {
            Ok(Some((_, alone))) => {
                self.memory.learn(listed, &alone);
                Ok(alone.peeled().map_err(str::to_owned))
            }
            Ok(None) => Ok(Err("it was listed, and not there when it was looked at".to_owned())),
            // What the server cannot show of one tag does not make the others unknown.
            Err(fault) if matches!(fault.kind, FaultKind::Unreadable | FaultKind::Rejected) => Ok(Err(fault.message)),
            Err(fault) => Err(fault),
        }
    }
}

fn finish(listing: Listing, reply: &Reply, promised: Option<u64>, holds: bool) -> Run {
    match listing.finish(End::ShortPage, promised) {
        Err(fault) => {
            Run::Disturbed(reply.unusable(&format!("contradicts itself: {}", reply.quote(&fault.to_string()))))
        }
        Ok(snapshot) if holds => Run::Complete(snapshot),
        Ok(snapshot) => Run::Unconfirmed(snapshot),
    }
}

/// A number in a header of text, as the documentation has it.
fn total(reply: &Reply) -> Option<u64> {
    reply.header("x-total")?.trim().parse().ok()
}
