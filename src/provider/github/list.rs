//! All tags, in one answer.
//!
//! Pages were once documented and are no longer known; where a server names a next page all the same, it is read. An answer of one
//! page is remembered with its entity tag: if nothing has changed since, GitHub says so (304), which costs no part of the quota
//! (2026-11-21,
//! <https://docs.github.com/en/rest/using-the-rest-api/best-practices-for-using-the-rest-api#use-conditional-requests-if-appropriate>).

use std::sync::{Arc, PoisonError};

use super::peel::no_commit;
use super::wire::WireRef;
use super::{GitHub, LONGEST_NAME};
use crate::http::{Fault, Reply, Trail};
use crate::tag::{CommitId, End, Listing, ObjectId, RemoteSnapshot, RemoteTag, TagName};

/// The most that a listing may bring: it cannot be asked for in parts. A ref takes some 350 bytes.
const LISTING_LIMIT: usize = 128 * 1024 * 1024;

/// How refs of tags begin.
pub(super) const TAGS: &str = "refs/tags/";

/// What a ref holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Held {
    Commit(CommitId),
    /// An annotated tag's own object.
    Tag(ObjectId),
    /// Something else, and why it has no value.
    Other(String),
}

/// A tag's ref.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ref {
    pub(super) name: TagName,
    pub(super) held: Held,
}

/// A listing that may still be the one of now.
#[derive(Clone, Debug)]
pub(super) struct Remembered {
    /// What the server calls it.
    entity_tag: String,
    refs: Arc<Vec<Ref>>,
}

impl Ref {
    /// Reads a ref under `refs/tags/`; `None` for another one. A name that is no tag name makes the whole answer unusable.
    pub(super) fn read(reply: &Reply, wire: &WireRef) -> Result<Option<Self>, Fault> {
        let Some(name) = wire.name.strip_prefix(TAGS) else { return Ok(None) };
        if name.len() > LONGEST_NAME {
            return Err(reply.unusable(&format!("names a tag with more than {LONGEST_NAME} bytes")));
        }
        let name = TagName::new(name).map_err(|fault| {
            reply.unusable(&format!("names an impossible tag: {}", reply.quote(&fault.to_string())))
        })?;
        let no_id = || Held::Other("GitHub names no full object id".to_owned());
        let held = match wire.object.kind.as_str() {
            "commit" => wire.object.sha.parse().map_or_else(|_| no_id(), Held::Commit),
            "tag" => wire.object.sha.parse().map_or_else(|_| no_id(), Held::Tag),
            other => Held::Other(no_commit(other)),
        };
        Ok(Some(Self { name, held }))
    }
}

impl GitHub {
    /// All tags, with the values of those that matter.
    pub(super) async fn list(&self, matters: &(dyn Fn(&TagName) -> bool + Sync)) -> Result<RemoteSnapshot, Fault> {
        let (reply, refs) = self.refs().await?;
        let wanted = refs.iter().filter_map(|tag| match tag.held {
            Held::Tag(id) if matters(&tag.name) => Some(id),
            Held::Tag(_) | Held::Commit(_) | Held::Other(_) => None,
        });
        let meanings = self.meanings(wanted.collect()).await?;
        let tags = refs.iter().map(|tag| {
            let value = match &tag.held {
                Held::Commit(commit_id) => Ok(self.value(*commit_id, None)),
                Held::Other(reason) => Err(reason.clone()),
                Held::Tag(id) => meanings.get(id).cloned().unwrap_or_else(|| {
                    Err("it is annotated, and was not looked at, because nothing depends on it".to_owned())
                }),
            };
            self.listed(tag.name.clone(), value)
        });
        let mut listing = Listing::new();
        let listed = listing.page(tags).and_then(|()| listing.finish(End::SingleResponse, None));
        listed.map_err(|fault| reply.unusable(&format!("contradicts itself: {}", reply.quote(&fault.to_string()))))
    }

    fn listed(&self, name: TagName, value: super::peel::Meaning) -> RemoteTag {
        RemoteTag { name, value, message: None, protected: false, attachment: self.unlisted() }
    }

    /// All refs of tags, with the last answer that brought some.
    async fn refs(&self) -> Result<(Reply, Arc<Vec<Ref>>), Fault> {
        let remembered = self.memory.listing.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // Without a slash at the end, which the path could not carry: it finds `refs/tagsoup/x` as well, which is left out.
        let segments = self.segments(&["git", "matching-refs", "tags"]);
        let (mut refs, mut trail) = (Vec::new(), Trail::new());
        let mut page: Option<String> = None;
        loop {
            let mut request = self.get("list the tags", &segments).limit(LISTING_LIMIT);
            match (&page, &remembered) {
                (Some(page), _) => request = request.query("page", page),
                (None, Some(remembered)) => request = request.header("if-none-match", &remembered.entity_tag),
                (None, None) => {}
            }
            let reply = request.send().await?;
            if let (304, None, Some(remembered)) = (reply.status(), &page, &remembered) {
                return Ok((reply, Arc::clone(&remembered.refs)));
            }
            let reply = self.expect(reply, 200)?;
            for wire in reply.json::<Vec<WireRef>>("a list of refs")? {
                refs.extend(Ref::read(&reply, &wire)?);
            }
            if let Some(next) = reply.next_page()? {
                let next = next.get("page").ok_or_else(|| reply.unusable("names a next page without saying which"))?;
                reply.leads_to(&mut trail, next)?;
                page = Some(next.to_owned());
                continue;
            }
            let refs = Arc::new(refs);
            // Of several pages, one entity tag says nothing about the others.
            let entity_tag = reply.header("etag").filter(|_| page.is_none()).map(str::to_owned);
            let kept = entity_tag.map(|entity_tag| Remembered { entity_tag, refs: Arc::clone(&refs) });
            *self.memory.listing.lock().unwrap_or_else(PoisonError::into_inner) = kept;
            return Ok((reply, refs));
        }
    }
}
