//! Listings: names, page by page, with the proof of their end; and a digest for each that matters.

use std::collections::BTreeSet;
use std::sync::PoisonError;
use std::time::Duration;

use serde::Deserialize;
use tokio::time::Instant;

use super::names::{refuses_name, text};
use super::{Image, expect, tag};
use crate::http::{NextPage, Reply, Trail};
use crate::provider::{Fault, FaultKind};
use crate::tag::{Division, End, Known, Listed, Listing, Looks, RemoteSnapshot, RemoteTag, TagName, Target, Value};

/// Tags per page of a listing. Names are short, so this is one page of most images, and of all registries' limits the
/// usual one.
const PER_PAGE: usize = 1000;

/// Digests that are asked for at once; the transport's own limit holds too.
const AT_ONCE: usize = 8;

/// For so long a registry that gave an image's list of tags is taken to show the image.
const SHOWN_FOR: Duration = Duration::from_secs(5);

impl Image {
    /// Whether the registry shows this image's tags: an error if it does not.
    pub(in crate::provider) async fn prove_shown(&self, purpose: &'static str) -> Result<(), Fault> {
        let segments = self.segments(["tags", "list"]);
        let reply = self.client.get(purpose, &segments).query("n", "1").send().await?;
        let reply = expect(reply, &[200])?;
        reply.json::<WireTags>("a list of tags")?;
        self.was_shown();
        Ok(())
    }

    /// The same behind a 404, of which there is one for each tag of a pass that creates many: one proof serves those that
    /// come within [`SHOWN_FOR`].
    pub(in crate::provider) async fn is_shown(&self, purpose: &'static str) -> Result<(), Fault> {
        let shown = *self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        if shown.is_some_and(|at| at.elapsed() < SHOWN_FOR) { Ok(()) } else { self.prove_shown(purpose).await }
    }

    fn was_shown(&self) {
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// All tags with what they point at.
    pub(in crate::provider) async fn list(&self) -> Result<RemoteSnapshot, Fault> {
        let names = self.list_names(None).await?;
        snapshot(self.look_at(names.found).await?, names.end)
    }

    /// All tags, with what those point at that matter: as it is known, or as it is now.
    pub(in crate::provider) async fn list_known(&self, known: &Known<'_>) -> Result<Listed, Fault> {
        let names = self.list_names(Some(known)).await?;
        let Division { look, remembered, indifferent } = known.divide(names.found);
        let seen: BTreeSet<TagName> = look.iter().cloned().collect();
        let looks = Looks { remembered: remembered.iter().map(|(name, _)| name.clone()).collect(), seen };
        let mut tags = self.look_at(look).await?;
        tags.extend(remembered.into_iter().map(|(name, digest)| tag(name, Ok(Value::of(Target::Digest(digest))))));
        let unasked = || Err("its digest was not asked for, because nothing depends on it".to_owned());
        tags.extend(indifferent.into_iter().map(|name| tag(name, unasked())));
        Ok(Listed { snapshot: snapshot(tags, names.end)?, looks: Some(looks) })
    }

    /// What these tags point at now, each by a request of its own.
    async fn look_at(&self, names: Vec<TagName>) -> Result<Vec<RemoteTag>, Fault> {
        use futures_util::{StreamExt as _, TryStreamExt as _};

        futures_util::stream::iter(names)
            .map(|name| async move {
                let value = match self.get_value(&name).await {
                    Ok(Some(value)) => value,
                    // Gone since, or a tag without its manifest, which some registries list for ever.
                    Ok(None) => Err("it was listed, and the registry has no manifest for it".to_owned()),
                    // One image that may not be had, as in quarantine, says nothing about the others.
                    Err(fault) if fault.kind == FaultKind::Rejected => Err(fault.to_string()),
                    Err(fault) => return Err(fault),
                };
                Ok::<_, Fault>(tag(name, value))
            })
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await
    }

    /// All names.
    ///
    /// The end of a listing is a page without a `Link` after one with it: the registry pages, and names a next page
    /// whenever there is one. A registry that never sent a `Link` may page all the same (2026-11-21, seen with registries
    /// that give 100 or 1,000 names and say nothing: <https://github.com/opencontainers/distribution-spec/issues/470>),
    /// so it is asked for what follows the last name until nothing follows; or until the names are those that were all
    /// when that was proven last.
    async fn list_names(&self, known: Option<&Known<'_>>) -> Result<Names, Fault> {
        let mut trail = Trail::new();
        let mut cursor = Cursor::Start;
        // For the proof that no name comes twice.
        let mut listing = Listing::new();
        let mut names: Vec<TagName> = Vec::new();
        let mut first_page = 0;
        let mut linked = false;
        let end = loop {
            let Page { names: page, next, reply } = self.page(&cursor).await?;
            if next.is_none() && matches!(cursor, Cursor::After(_)) && page == names {
                // It ignores `last`, so it does not page at all: everything came in one answer.
                break End::SingleResponse;
            }
            let brought = page.last().cloned();
            let placeholder = |name: &TagName| tag(name.clone(), Err(String::new()));
            listing.page(page.iter().map(placeholder)).map_err(|fault| {
                reply.unusable(&format!("contradicts the pages before: {}", reply.quote(&fault.to_string())))
            })?;
            if names.is_empty() {
                first_page = page.len();
            }
            names.extend(page);
            cursor = match (next, brought) {
                (Some(next), _) => {
                    linked = true;
                    reply.leads_to(&mut trail, &format!("{:?}", next.parameters().collect::<Vec<_>>()))?;
                    Cursor::Link(next)
                }
                (None, _) if linked => break End::NoNextPage,
                // `last` goes by the order of names: without that order, "nothing follows" is no end.
                (None, None) if !names.is_sorted() => {
                    return Err(
                        reply.unusable("ends a listing that is not in the order of its names, so it proves no end")
                    );
                }
                (None, None) => break End::ShortPage,
                (None, Some(_)) if known.is_some_and(|known| known.are_all(&names)) => break End::AsProven,
                (None, Some(last)) => {
                    reply.leads_to(&mut trail, text(&last)?)?;
                    Cursor::After(last)
                }
            };
        };
        self.looks.listed(&names, end, first_page == names.len());
        Ok(Names { found: names, end })
    }

    /// One page of names.
    pub(super) async fn page(&self, cursor: &Cursor) -> Result<Page, Fault> {
        let segments = self.segments(["tags", "list"]);
        let per_page = PER_PAGE.to_string();
        let mut request = self.client.get("list the tags", &segments);
        match cursor {
            Cursor::Start => request = request.query("n", &per_page),
            Cursor::After(last) => request = request.query("n", &per_page).query("last", text(last)?),
            Cursor::Link(next) => {
                for (key, value) in next.parameters() {
                    request = request.query(key, value);
                }
            }
        }
        let reply = expect(request.send().await?, &[200])?;
        let names = reply.json::<WireTags>("a list of tags")?.tags.unwrap_or_default();
        self.was_shown();
        let names = names.into_iter().map(|name| named(&reply, &name)).collect::<Result<Vec<_>, _>>()?;
        let next = reply.next_page()?;
        Ok(Page { names, next, reply })
    }
}

/// Where a page begins.
pub(super) enum Cursor {
    Start,
    /// Behind this name.
    After(TagName),
    /// Where the registry says.
    Link(NextPage),
}

/// One page of a listing.
pub(super) struct Page {
    pub(super) names: Vec<TagName>,
    /// The page that the registry names as next.
    pub(super) next: Option<NextPage>,
    reply: Reply,
}

/// All names of an image.
struct Names {
    found: Vec<TagName>,
    end: End,
}

fn snapshot(tags: Vec<RemoteTag>, end: End) -> Result<RemoteSnapshot, Fault> {
    let mut listing = Listing::new();
    listing
        .page(tags)
        .and_then(|()| listing.finish(end, None))
        .map_err(|fault| Fault::new(FaultKind::Unreadable, format!("could not list the tags: {fault}")))
}

fn named(reply: &Reply, name: &str) -> Result<TagName, Fault> {
    let impossible = |why: &str| reply.unusable(&format!("names an impossible tag: {}", reply.quote(why)));
    let tag = TagName::new(name).map_err(|fault| impossible(&fault.to_string()))?;
    // The name goes into a path, so nothing but a registry's own names may pass.
    match refuses_name(&tag) {
        Some(_) => Err(impossible(name)),
        None => Ok(tag),
    }
}

/// A page of names. `null` is what some registries give instead of an empty list (2026-11-21, distribution before 3.0).
#[derive(Debug, Deserialize)]
struct WireTags {
    #[serde(deserialize_with = "present")]
    tags: Option<Vec<String>>,
}

/// A key that has to be there, although it may be `null`: an answer without it is no listing.
fn present<'de, D: serde::Deserializer<'de>>(json: D) -> Result<Option<Vec<String>>, D::Error> {
    Option::deserialize(json)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_says_what_the_tags_are_or_is_none() {
        let read = |json: &str| serde_json::from_str::<WireTags>(json).map(|tags| tags.tags);
        assert_eq!(read(r#"{"name":"a","tags":null}"#).unwrap(), None);
        assert_eq!(read(r#"{"tags":["v1"],"more":{"x":[]}}"#).unwrap(), Some(vec!["v1".to_owned()]));
        for bad in
            ["", "null", "[]", "{}", r#"{"name":"a"}"#, r#"{"tags":"v1"}"#, r#"{"tags":[1]}"#, r#"{"tags":[null]}"#]
        {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
