//! All tags, and the proof that they are all.
//!
//! There are only pages by offset, and each says how many tags there are (`X-Total-Count`). One page that brings so many is a
//! listing of one moment. Of several pages the total proves nothing: a deletion and an insertion in between leave it as it was
//! and hide a tag; and they are in the order of their dates, so that no page holds on to the one before. So two readings have to
//! agree.
//!
//! The server gives fewer tags than asked for where its administrator set a lower limit, and says nothing about that (2026-11-21,
//! `MAX_RESPONSE_ITEMS`, <https://docs.gitea.com/administration/config-cheat-sheet#api-api>). So a short page is no end.

use super::Gitea;
use super::wire::WireTag;
use crate::http::{Fault, FaultKind, Reply, Trail};
use crate::tag::{End, Listing, RemoteSnapshot, RemoteTag};

/// Tags per page: the most that a Gitea gives unless its administrator says otherwise.
const PER_PAGE: usize = 50;

/// How many readings there are before the listing is given up.
const READINGS: usize = 4;

/// What one run over all pages came to.
enum Run {
    Complete(RemoteSnapshot),
    /// Several pages: something may have shifted unseen.
    Unconfirmed(RemoteSnapshot),
    /// The tags changed meanwhile, and how that showed.
    Disturbed(Fault),
    /// A page was more than one answer may bring.
    TooLarge,
}

impl Gitea {
    pub(super) async fn list(&self) -> Result<RemoteSnapshot, Fault> {
        let mut size = PER_PAGE;
        let mut previous: Option<RemoteSnapshot> = None;
        let mut why = String::new();
        let mut reading = 0;
        while reading < READINGS {
            reading += 1;
            match self.read(size).await? {
                Run::Complete(snapshot) => return Ok(snapshot),
                Run::Unconfirmed(snapshot) => {
                    if previous.as_ref().is_some_and(|previous| previous.tags() == snapshot.tags()) {
                        return Ok(snapshot);
                    }
                    previous = Some(snapshot);
                }
                Run::Disturbed(fault) => why = format!(": {fault}"),
                Run::TooLarge => {
                    size /= 2;
                    reading -= 1;
                }
            }
        }
        let message = format!("could not list the tags: no two of {READINGS} readings of them agree{why}");
        Err(Fault::new(FaultKind::Unreadable, message))
    }

    async fn read(&self, size: usize) -> Result<Run, Fault> {
        let (mut listing, mut trail, mut promised) = (Listing::new(), Trail::new(), None);
        let mut page = 1;
        loop {
            let Some(reply) = self.page(page, size).await? else { return Ok(Run::TooLarge) };
            let reply = self.expect(reply, 200)?;
            let wire: Vec<WireTag> = reply.json("a list of tags")?;
            if wire.len() > size {
                return Err(reply.unusable(&format!("is a page of more than {size} tags")));
            }
            let tags = wire.into_iter().map(|tag| {
                let tag = self.tag(&reply, tag)?;
                Ok(RemoteTag { message: None, ..tag })
            });
            let tags = tags.collect::<Result<Vec<_>, Fault>>()?;
            let Some(total) = total(&reply) else {
                let fault =
                    reply.unusable("has no X-Total-Count, without which nothing proves that these are all tags");
                return Err(fault.hint("does a proxy in between remove it?"));
            };
            if promised.is_some_and(|promised| promised != total) {
                return Ok(Run::Disturbed(reply.unusable("gives another total than a page before")));
            }
            promised = Some(total);
            let brought = tags.len();
            if let Err(fault) = listing.page(tags) {
                let fault = reply.quote(&fault.to_string());
                return Ok(Run::Disturbed(reply.unusable(&format!("contradicts the pages before: {fault}"))));
            }
            let found = listing.len() as u64;
            if found >= total {
                return Ok(match listing.finish(End::ShortPage, Some(total)) {
                    Ok(snapshot) if page == 1 => Run::Complete(snapshot),
                    Ok(snapshot) => Run::Unconfirmed(snapshot),
                    Err(fault) => {
                        let fault = reply.quote(&fault.to_string());
                        Run::Disturbed(reply.unusable(&format!("contradicts itself: {fault}")))
                    }
                });
            }
            if brought == 0 {
                let problem = format!("ends at {found} tags where {total} were promised");
                return Ok(Run::Disturbed(reply.unusable(&problem)));
            }
            page += 1;
            reply.leads_to(&mut trail, &format!("page={page}"))?;
        }
    }

    /// One page; `None` when it is more than one answer may bring, and could be smaller.
    async fn page(&self, page: usize, size: usize) -> Result<Option<Reply>, Fault> {
        let (page, limit) = (page.to_string(), size.to_string());
        let segments = self.segments(&["tags"]);
        let request = self.client.get("list the tags", &segments).query("page", &page).query("limit", &limit);
        if size > 1 { request.send_part().await } else { request.send().await.map(Some) }
    }
}

fn total(reply: &Reply) -> Option<u64> {
    reply.header("x-total-count")?.trim().parse().ok()
}
