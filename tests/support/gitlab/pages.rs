//! The listing's pages: keyset and offset, with everything that servers get wrong about them.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::super::server::{Reply, Request};
use super::routes::{encode, error, message};
use super::{AUTHORED, FakeTag, GitlabWorld, Quirks};

/// Above so many rows GitLab no longer counts them.
const COUNT_LIMIT: usize = 10_000;

/// What a page of the listing was asked for.
struct Page<'a> {
    by_name: bool,
    descending: bool,
    keyset: bool,
    token: Option<&'a str>,
    number: usize,
    size: usize,
}

impl<'a> Page<'a> {
    fn asked(request: &'a Request, quirks: &Quirks) -> Result<Self, Reply> {
        let choice = |name: &'static str, default: &'static str, allowed: &[&str]| {
            let chosen = request.parameter(name).unwrap_or(default);
            if allowed.contains(&chosen) {
                Ok(chosen)
            } else {
                Err(error(400, &format!("{name} does not have a valid value")))
            }
        };
        let number = |name: &str, default: usize| match request.parameter(name) {
            None => Ok(default),
            Some(text) => match text.parse() {
                Ok(number) if number > 0 => Ok(number),
                Ok(_) | Err(_) => Err(error(400, &format!("{name} is invalid"))),
            },
        };
        let order = choice("order_by", "updated", &["name", "updated", "version"])?;
        let size = number("per_page", 20)?.min(100);
        Ok(Self {
            // Versions are ordered by name here; no client of ours asks for them.
            by_name: order != "updated",
            descending: choice("sort", "desc", &["asc", "desc"])? == "desc",
            keyset: request.parameter("pagination") == Some("keyset") && !quirks.no_keyset,
            token: request.parameter("page_token").filter(|token| !token.is_empty() && !quirks.repeats_first_page),
            number: if quirks.repeats_first_page { 1 } else { number("page", 1)? },
            size: quirks.page_cap.map_or(size, |cap| cap.min(size)),
        })
    }
}

impl GitlabWorld {
    pub(super) fn list(&mut self, id: u64, request: &Request) -> Result<Reply, Reply> {
        let quirks = self.quirks.clone();
        let page = Page::asked(request, &quirks)?;
        let project = self.projects.get_mut(&id).expect("the project was entered");
        let tags = project.visible();
        let total = tags.len();
        let search = request.parameter("search").filter(|term| !term.is_empty());

        let rows: Vec<(String, FakeTag)> = if let Some(term) = search {
            // With a search everything found comes on the first page, and the totals still count all tags.
            if page.number > 1 {
                Vec::new()
            } else {
                tags.iter().filter(|(name, _)| found(name, term)).map(owned).collect()
            }
        } else if page.keyset {
            if let Some(token) = page.token
                && !tags.contains_key(token)
            {
                return Err(message(422, &format!("Invalid page token: refs/tags/{token}")));
            }
            select_after(tags, &page)
        } else {
            select_page(tags, &page)
        };
        let cut = quirks.loses_last_row_of_page == Some(page.number) && !page.keyset;
        let rows = &rows[..rows.len().saturating_sub(usize::from(cut))];

        let shown: Json = rows.iter().map(|(name, tag)| self.show(id, name, tag)).collect();
        let reply = Reply::json(200, &shown);
        Ok(if page.keyset {
            let last = rows.last().map(|(name, _)| name.as_str());
            self.link_keyset(id, request, reply, &page, last, rows.len())
        } else {
            self.link_offset(id, request, reply, &page, total)
        })
    }

    /// `Link` of a keyset page: named by its last tag, and there is nothing else.
    fn link_keyset(
        &self,
        id: u64,
        request: &Request,
        reply: Reply,
        page: &Page<'_>,
        last: Option<&str>,
        rows: usize,
    ) -> Reply {
        let quirks = &self.quirks;
        let has_more = rows == page.size
            && (quirks.link_on_full_page
                || last.is_some_and(|last| {
                    let tags = &self.projects[&id].tags;
                    let edge = if page.descending { tags.keys().next() } else { tags.keys().next_back() };
                    page.by_name && edge.is_some_and(|edge| edge != last)
                }));
        let token = if quirks.next_page_is_current { page.token } else { last };
        let endless = quirks.next_page_is_current || quirks.repeats_first_page;
        if quirks.no_link || !(has_more || endless) {
            return reply;
        }
        let link = self.link(request, "next", &[("page_token", token.unwrap_or_default().to_owned())]);
        reply.header("Link", link)
    }

    /// The `X-…` headers and `Link` of an offset page.
    fn link_offset(&self, id: u64, request: &Request, reply: Reply, page: &Page<'_>, total: usize) -> Reply {
        let quirks = &self.quirks;
        let claims_next = quirks.first_page_claims_next && page.number == 1;
        let pages = total.div_ceil(page.size).max(1);
        let shown_pages = if quirks.first_page_claims_next { total / page.size + 1 } else { pages };
        let has_next = page.number < pages || claims_next || quirks.next_page_beyond_end || quirks.repeats_first_page;
        let next = match () {
            () if quirks.next_page_is_current => Some(page.number),
            () if has_next => Some(page.number + 1),
            () => None,
        };
        let previous = (page.number > 1).then(|| page.number - 1);
        let counts = total <= COUNT_LIMIT && !quirks.no_total;
        let shown = |number: Option<usize>| number.map_or_else(String::new, |number| number.to_string());

        let mut reply =
            reply.header("X-Page", page.number).header("X-Per-Page", page.size).header("X-Prev-Page", shown(previous));
        if !quirks.no_next_page {
            reply = reply.header("X-Next-Page", shown(next));
        }
        if counts {
            reply = reply.header("X-Total", quirks.total_lies.unwrap_or(total)).header("X-Total-Pages", shown_pages);
        }
        if !quirks.no_link {
            let numbered =
                [("prev", previous), ("next", next), ("first", Some(1)), ("last", counts.then_some(shown_pages))];
            let links: Vec<String> = numbered
                .into_iter()
                .filter_map(|(relation, number)| Some((relation, number?)))
                .map(|(relation, number)| {
                    let fixed =
                        [("id", id.to_string()), ("page", number.to_string()), ("per_page", page.size.to_string())];
                    self.link(request, relation, &fixed)
                })
                .collect();
            reply = reply.header("Link", links.join(", "));
        }
        reply
    }

    /// One element of a `Link` header: the request's own address with some parameters set.
    fn link(&self, request: &Request, relation: &str, set: &[(&str, String)]) -> String {
        let mut query: BTreeMap<&str, &str> =
            request.query.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        query.extend(set.iter().map(|(name, value)| (*name, value.as_str())));
        let query = query.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect::<Vec<_>>().join("&");
        format!("<{}{}?{query}>; rel=\"{relation}\"", self.link_base(request), request.path)
    }
}

fn owned((name, tag): (&String, &FakeTag)) -> (String, FakeTag) {
    (name.clone(), tag.clone())
}

/// The rows behind the token. By name that costs no more than the page; the other order sorts everything.
fn select_after(tags: &BTreeMap<String, FakeTag>, page: &Page<'_>) -> Vec<(String, FakeTag)> {
    use std::ops::Bound::{Excluded, Unbounded};

    if !page.by_name {
        let sorted = by_update(tags, page.descending);
        let start =
            page.token.and_then(|token| sorted.iter().position(|(name, _)| *name == token)).map_or(0, |at| at + 1);
        return sorted.into_iter().skip(start).take(page.size).map(owned).collect();
    }
    match (page.token, page.descending) {
        (None, false) => tags.iter().take(page.size).map(owned).collect(),
        (None, true) => tags.iter().rev().take(page.size).map(owned).collect(),
        (Some(token), false) => tags.range::<str, _>((Excluded(token), Unbounded)).take(page.size).map(owned).collect(),
        (Some(token), true) => {
            tags.range::<str, _>((Unbounded, Excluded(token))).rev().take(page.size).map(owned).collect()
        }
    }
}

fn select_page(tags: &BTreeMap<String, FakeTag>, page: &Page<'_>) -> Vec<(String, FakeTag)> {
    let skip = (page.number - 1).saturating_mul(page.size);
    if !page.by_name {
        return by_update(tags, page.descending).into_iter().skip(skip).take(page.size).map(owned).collect();
    }
    if page.descending {
        tags.iter().rev().skip(skip).take(page.size).map(owned).collect()
    } else {
        tags.iter().skip(skip).take(page.size).map(owned).collect()
    }
}

fn by_update(tags: &BTreeMap<String, FakeTag>, descending: bool) -> Vec<(&String, &FakeTag)> {
    let mut sorted: Vec<_> = tags.iter().collect();
    sorted.sort_by_key(|(_, tag)| tag.created_at.unwrap_or(AUTHORED));
    if descending {
        sorted.reverse();
    }
    sorted
}

/// GitLab's search: a substring, `^` and `$` tie it to an end.
fn found(name: &str, term: &str) -> bool {
    match (term.strip_prefix('^'), term.strip_suffix('$')) {
        (Some(start), _) => name.starts_with(start),
        (None, Some(end)) => name.ends_with(end),
        (None, None) => name.contains(term),
    }
}
