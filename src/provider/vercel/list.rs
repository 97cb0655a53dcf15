//! All tags, and the proof that they are all: every page names the cursor of the next one, and the last names none.
//!
//! Sorted by name, which does not change while the tags are read. Pinned tags come before all others whatever the order
//! (2026-11-21, the CLI's documentation of `vcr tag ls`), so nothing is ever concluded from the order.

use super::Vercel;
use super::wire::WirePage;
use crate::http::{Fault, Trail};
use crate::tag::{End, Listing, RemoteSnapshot};

/// Tags per page: the most that Vercel gives.
const PER_PAGE: &str = "100";

impl Vercel {
    pub(super) async fn list(&self) -> Result<RemoteSnapshot, Fault> {
        let segments = self.segments(&["tags"]);
        let mut listing = Listing::new();
        let mut trail = Trail::new();
        let mut cursor: Option<String> = None;
        loop {
            let mut request = self
                .get("list the tags", &segments)
                .query("limit", PER_PAGE)
                .query("sortBy", "tag")
                .query("sortOrder", "asc");
            if let Some(cursor) = &cursor {
                request = request.query("cursor", cursor);
            }
            let reply = self.expect(request.send().await?, 200)?;
            let page: WirePage = reply.json("a page of tags")?;
            let tags = page.tags.into_iter().map(|tag| self.tag(&reply, tag)).collect::<Result<Vec<_>, _>>()?;
            let contradicts = |fault: &dyn std::fmt::Display| {
                reply.unusable(&format!("contradicts the pages before: {}", reply.quote(&fault.to_string())))
            };
            listing.page(tags).map_err(|fault| contradicts(&fault))?;
            match page.next_cursor.filter(|next| !next.is_empty()) {
                Some(next) => {
                    reply.leads_to(&mut trail, &next)?;
                    cursor = Some(next);
                }
                None => return listing.finish(End::NoNextPage, None).map_err(|fault| contradicts(&fault)),
            }
        }
    }
}
