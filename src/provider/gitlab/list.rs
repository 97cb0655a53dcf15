//! All tags, and the proof that they are all.
//!
//! Keyset paging proves it: each page says where the next one begins, by name. A page token is a tag's name, so a tag
//! deleted between two pages makes the token invalid (422), and the listing begins again.
//!
//! Servers that do not know keyset paging ignore the request for it and page by offset, where an insertion or a
//! deletion shifts all later pages. Their headers are not to be trusted either: the first page always claims a next one
//! in some versions, and totals vanish above 10,000 tags (2026-11-21, <https://docs.gitlab.com/api/rest/#pagination>).
//! There the end is an empty page or one that agrees with the total. Of several pages that proves nothing: a deletion
//! and an insertion in between leave the total as it was and hide a tag. So two listings have to agree.
//!
//! Messages make a page as large as they like, so a page that is larger than one answer may be is asked for in parts.

use super::GitLab;
use super::wire::{WireTag, refusal};
use crate::http::{Fault, FaultKind, Reply, Trail};
use crate::tag::{End, Listing, ListingFault, RemoteSnapshot, RemoteTag, TagName};

/// Tags per page: the most that GitLab gives, whatever it is asked for.
const PER_PAGE: usize = 100;

/// How many readings there are before the listing is given up.
const ATTEMPTS: usize = 3;

/// Where a page begins.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Cursor {
    Start,
    /// After the tag of this name.
    Token(String),
    /// At this page, the first of which is 1.
    Page(u64),
}

/// What one run over all pages came to.
enum Run {
    Complete(RemoteSnapshot),
    /// Several pages by offset: something may have shifted unseen.
    Unconfirmed(RemoteSnapshot),
    /// The tags changed meanwhile, and how that showed.
    Disturbed(Fault),
}

impl GitLab {
    pub(super) async fn list(&self) -> Result<RemoteSnapshot, Fault> {
        let mut previous: Option<RemoteSnapshot> = None;
        let mut attempt = 1;
        loop {
            let disturbance = match self.list_once().await? {
                Run::Complete(snapshot) => return Ok(snapshot),
                Run::Unconfirmed(snapshot) => {
                    if previous.as_ref().is_some_and(|previous| previous.tags() == snapshot.tags()) {
                        return Ok(snapshot);
                    }
                    previous = Some(snapshot);
                    None
                }
                Run::Disturbed(fault) => Some(fault),
            };
            if attempt >= ATTEMPTS {
                let why = disturbance.map_or_else(String::new, |fault| format!(": {fault}"));
                let message = format!("could not list the tags: they changed in each of {ATTEMPTS} readings{why}");
                return Err(Fault::new(FaultKind::Unreadable, message));
            }
            attempt += 1;
        }
    }

    async fn list_once(&self) -> Result<Run, Fault> {
        let mut walk = Walk::new(PER_PAGE);
        loop {
            let Some(reply) = self.page(&walk.cursor, walk.size).await? else {
                let smaller = walk.size / 2;
                match walk.cursor {
                    Cursor::Start | Cursor::Token(_) => walk.size = smaller,
                    // Page numbers count pages of one size.
                    Cursor::Page(_) => walk = Walk::new(smaller),
                }
                continue;
            };
            if reply.status() == 422 && matches!(walk.cursor, Cursor::Token(_)) && names_token(&reply) {
                return Ok(Run::Disturbed(self.refused(&reply)));
            }
            let reply = self.expect(reply, 200)?;
            let wire: Vec<WireTag> = reply.json("a list of tags")?;
            if wire.len() > PER_PAGE {
                return Err(reply.unusable(&format!("is a page of more than {PER_PAGE} tags")));
            }
            let tags = wire
                .into_iter()
                .map(|tag| self.tag(&reply, tag).map(|tag| RemoteTag { message: None, ..tag }))
                .collect::<Result<Vec<_>, _>>()?;
            let total = number(&reply, "x-total");
            if total.is_some() && walk.total.is_some_and(|before| Some(before) != total) {
                return Ok(Run::Disturbed(reply.unusable("gives another total than a page before")));
            }
            walk.total = walk.total.or(total);
            if matches!(walk.cursor, Cursor::Token(_)) {
                // Gitaly sorts as git does, by bytes. Another order would mean that the token leads to somewhere else.
                let names = walk.last_name.iter().chain(tags.iter().map(|tag| &tag.name));
                if !names.is_sorted_by(|one, other| one < other) {
                    return Err(reply.unusable("is a page whose names do not continue the page before"));
                }
            }
            let brought = Brought { count: tags.len(), last: tags.last().map(|tag| tag.name.clone()) };
            if let Err(fault) = walk.listing.page(tags) {
                return Ok(disturbed(&reply, &fault));
            }
            let next = next(&reply, &walk, &brought)?;
            walk.last_name = brought.last.or(walk.last_name);
            match next {
                Next::At(following) => {
                    let place = match &following {
                        Cursor::Start => String::new(),
                        Cursor::Token(token) => {
                            walk.size = PER_PAGE.min(walk.size * 2);
                            format!("page_token={token}")
                        }
                        Cursor::Page(page) => format!("page={page}"),
                    };
                    reply.leads_to(&mut walk.trail, &place)?;
                    walk.cursor = following;
                }
                Next::End(end) => {
                    let may_have_shifted = matches!(walk.cursor, Cursor::Page(_));
                    return Ok(match walk.listing.finish(end, walk.total) {
                        Err(fault) => disturbed(&reply, &fault),
                        Ok(snapshot) if may_have_shifted => Run::Unconfirmed(snapshot),
                        Ok(snapshot) => Run::Complete(snapshot),
                    });
                }
            }
        }
    }

    /// One page; `None` when `size` tags are more than one answer may bring.
    async fn page(&self, cursor: &Cursor, size: usize) -> Result<Option<Reply>, Fault> {
        let segments = ["projects", &self.project, "repository", "tags"];
        let per_page = size.to_string();
        let number;
        let mut request = self
            .client
            .get("list the tags", &segments)
            .query("per_page", &per_page)
            .query("order_by", "name")
            .query("sort", "asc");
        match cursor {
            Cursor::Start => request = request.query("pagination", "keyset"),
            Cursor::Token(token) => request = request.query("pagination", "keyset").query("page_token", token),
            Cursor::Page(page) => {
                number = page.to_string();
                request = request.query("page", &number);
            }
        }
        if size > 1 { request.send_part().await } else { request.send().await.map(Some) }
    }
}

/// A listing under way.
struct Walk {
    listing: Listing,
    trail: Trail,
    cursor: Cursor,
    /// How many tags to ask for.
    size: usize,
    /// What the server says that there are.
    total: Option<u64>,
    last_name: Option<TagName>,
}

impl Walk {
    fn new(size: usize) -> Self {
        let (listing, trail) = (Listing::new(), Trail::new());
        Self { listing, trail, cursor: Cursor::Start, size, total: None, last_name: None }
    }
}

/// Where a page leads.
enum Next {
    At(Cursor),
    End(End),
}

/// What a page brought.
struct Brought {
    count: usize,
    last: Option<TagName>,
}

/// Where a page leads that is already part of the listing.
fn next(reply: &Reply, walk: &Walk, brought: &Brought) -> Result<Next, Fault> {
    let count = brought.count;
    let link = reply.next_page()?;
    let claims_more = link.is_some() || reply.header("x-next-page").is_some_and(|page| !page.trim().is_empty());
    let asked = walk.size as u64;
    let full = count as u64 >= number(reply, "x-per-page").map_or(asked, |size| size.clamp(1, asked));
    if let Some(token) = link.as_ref().and_then(|link| link.get("page_token")) {
        return Ok(Next::At(Cursor::Token(token.to_owned())));
    }
    let page = match &walk.cursor {
        // Keyset paging names a token after every full page, but a proxy may take it away. The token is the last name.
        Cursor::Token(_) => {
            return Ok(match brought.last.as_ref().and_then(TagName::as_str) {
                Some(name) if full || claims_more => Next::At(Cursor::Token(name.to_owned())),
                Some(_) | None => Next::End(End::NoNextPage),
            });
        }
        Cursor::Start => 1,
        Cursor::Page(page) => *page,
    };
    if link.as_ref().is_some_and(|link| link.get("page").is_none()) {
        return Err(reply.unusable("names a next page without saying which"));
    }
    // The claim of a next page is often wrong, and so is its absence. What ends a listing: an empty page, or two signs
    // out of three (a short page, no claim, the total).
    let agrees = number(reply, "x-total") == Some(walk.listing.len() as u64);
    if count == 0 || !full && !claims_more || !full && agrees || !claims_more && agrees {
        return Ok(Next::End(if claims_more { End::ShortPage } else { End::NoNextPage }));
    }
    Ok(Next::At(Cursor::Page(page + 1)))
}

fn number(reply: &Reply, header: &str) -> Option<u64> {
    reply.header(header)?.trim().parse().ok()
}

fn names_token(reply: &Reply) -> bool {
    refusal(reply.body()).words.is_some_and(|words| words.to_ascii_lowercase().contains("page token"))
}

fn disturbed(reply: &Reply, fault: &ListingFault) -> Run {
    Run::Disturbed(reply.unusable(&format!("contradicts the pages before: {}", reply.quote(&fault.to_string()))))
}
