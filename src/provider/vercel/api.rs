//! One method per API operation.

use async_trait::async_trait;
use jiff::Timestamp;
use url::Url;

use super::wire::{WireOne, WirePage, WireRepository, WireTag, refusal};
use crate::http::{Client, Reply, Request, server_of};
use crate::provider::distribution::{Image, refuses_name};
use crate::provider::{Access, Fact, Fault, FaultKind, Identity, NewTag, Provider};
use crate::tag::{RemoteSnapshot, RemoteTag, TagName, Target, Value};

/// What selects the tags in the REST API.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// The project's id.
    pub(super) project: String,
    /// The team: its parameter, `teamId` or `slug`, and its value.
    pub(super) team: Option<(&'static str, String)>,
    /// The repository's id or name.
    pub(super) repository: String,
}

/// A repository in Vercel's registry.
#[derive(Debug)]
pub struct Vercel {
    rest: Client,
    place: Place,
    /// What is written, and the manifests that are read for it.
    image: Image,
    /// The server's part of the identity.
    server: String,
}

impl Vercel {
    /// `rest` speaks to the API under `url`, `image` is the same repository in the registry.
    pub(super) fn new(rest: Client, url: &Url, place: Place, image: Image) -> Self {
        let server = server_of(url);
        Self { rest, place, image, server }
    }

    pub(super) fn segments<'a>(&'a self, rest: &[&'a str]) -> Vec<&'a str> {
        ["v1", "vcr", "repository", &self.place.repository].into_iter().chain(rest.iter().copied()).collect()
    }

    /// A `GET` in the project of the team.
    pub(super) fn get<'a>(&'a self, purpose: &'static str, segments: &'a [&'a str]) -> Request<'a> {
        let request = self.rest.get(purpose, segments).query("projectId", &self.place.project);
        match &self.place.team {
            Some((parameter, team)) => request.query(parameter, team),
            None => request,
        }
    }

    /// A listed or single tag in our terms. A name that is no tag name makes the whole answer unusable.
    pub(super) fn tag(&self, reply: &Reply, tag: WireTag) -> Result<RemoteTag, Fault> {
        let impossible = |why: &str| reply.unusable(&format!("names an impossible tag: {}", reply.quote(why)));
        let name = TagName::new(&tag.tag).map_err(|fault| impossible(&fault.to_string()))?;
        match refuses_name(&name) {
            Some(_) => Err(impossible(&tag.tag)),
            None => Ok(tag.into_tag(name)),
        }
    }

    /// The fault for an answer that was not the one hoped for, with what to check.
    fn refused(&self, reply: &Reply) -> Fault {
        let refusal = refusal(reply.body());
        let mut fault = reply.refusal(refusal.words.as_deref());
        // The limit stands in the body (2026-11-21, <https://vercel.com/docs/rest-api/errors>).
        if fault.kind == FaultKind::Throttled
            && !reply.asks_to_wait()
            && let Some(wait) = refusal.wait(reply.date().unwrap_or_else(Timestamp::now))
        {
            fault = self.rest.leave_alone(wait, fault);
        }
        let hint = match reply.status() {
            401 => "check that the token is complete, not expired and not revoked",
            402 => "the team's plan does not cover this",
            403 => "the token has to reach the team, and its user has to reach the project",
            404 => {
                "check `team`, `project` and `repository`; Vercel hides what the token may not see, and a token that is \
                 limited to a project or a team may see no registry"
            }
            410 => "the repository is scheduled for deletion",
            _ => return fault,
        };
        if fault.hint.is_none() { fault.hint(hint) } else { fault }
    }

    /// The answer if it has the wanted status.
    pub(super) fn expect(&self, reply: Reply, status: u16) -> Result<Reply, Fault> {
        if reply.status() == status { Ok(reply) } else { Err(self.refused(&reply)) }
    }

    /// Whether Vercel shows this repository's tags: an error if it does not.
    async fn prove_shown(&self, purpose: &'static str) -> Result<(), Fault> {
        let segments = self.segments(&["tags"]);
        let reply = self.get(purpose, &segments).query("limit", "1").send().await?;
        self.expect(reply, 200)?.json::<WirePage>("a page of tags").map(|_| ())
    }

    /// A tag as the REST API shows it; `None` after a 404, which is no proof of anything.
    async fn try_find_wire(&self, purpose: &'static str, name: &TagName) -> Result<Option<(Reply, WireTag)>, Fault> {
        let (None, Some(text)) = (refuses_name(name), name.as_str()) else {
            return Err(Fault::new(FaultKind::NotSent, format!("`{name}` cannot be a tag in a registry")));
        };
        let segments = self.segments(&["tags", text]);
        let reply = self.get(purpose, &segments).send().await?;
        if reply.status() == 404 {
            return Ok(None);
        }
        let reply = self.expect(reply, 200)?;
        let WireOne { tag } = reply.json("a tag")?;
        if tag.tag != text {
            return Err(reply.unusable(&format!("is about another tag, {:?}", reply.quote(&tag.tag))));
        }
        Ok(Some((reply, tag)))
    }
}

#[async_trait]
impl Provider for Vercel {
    async fn identity(&self) -> Result<Identity, Fault> {
        let segments = self.segments(&[]);
        let reply = self.get("read the repository", &segments).send().await?;
        let id = if reply.status() == 404 {
            // A token that may read tags need not reach the repository itself. Then there is only what was configured.
            self.prove_shown("read the repository").await?;
            None
        } else {
            Some(self.expect(reply, 200)?.json::<WireRepository>("a repository")?.repository.id)
        };
        // Tags are read there and written here: a login or a name that is wrong shows before the first write.
        self.image.prove_shown("reach the registry").await?;
        let space = space(&self.server, &self.place.project, &self.place.repository, id.as_deref());
        // What the token may do is shown nowhere.
        Ok(Identity { space, access: Access::Untold })
    }

    fn recognise(&self, remembered: &str, now: &str) -> Option<String> {
        recognise(remembered, now)
    }

    async fn list_tags(&self) -> Result<RemoteSnapshot, Fault> {
        self.list().await
    }

    async fn get_tag(&self, name: &TagName) -> Result<Option<RemoteTag>, Fault> {
        // Not from the REST API, which may show a write only later: what is written is written through the registry, so a
        // look before it has to see what is there.
        self.image.get_tag(name).await
    }

    async fn get_facts(&self, tag: &RemoteTag, _signed: bool) -> Result<Vec<Fact>, Fault> {
        let found = self.try_find_wire("read the tag's image", &tag.name).await?;
        let says = found.map(|(_, tag)| tag.words()).filter(|words| !words.is_empty());
        Ok(says.map(|says| Fact { what: "image", says }).into_iter().collect())
    }

    async fn has_target(&self, target: &Target) -> Result<bool, Fault> {
        if self.image.try_find_target(target).await?.is_some() {
            return Ok(true);
        }
        self.image.prove_shown("read the manifest").await?;
        Ok(false)
    }

    async fn create_tag(&self, new: &NewTag) -> Result<RemoteTag, Fault> {
        self.image.put("create the tag", &new.name, new.target()).await
    }

    async fn delete_tag(&self, name: &TagName, _lease: &Value) -> Result<(), Fault> {
        let message = format!("Vercel cannot delete the tag {name} alone, only its image with all tags");
        Err(Fault::new(FaultKind::Unsupported, message))
    }

    async fn move_tag(&self, _name: &TagName, _lease: &Value, to: &NewTag) -> Result<RemoteTag, Fault> {
        self.image.put("move the tag", &to.name, to.target()).await
    }
}

/// The tag space: the repository as it is configured, and its id where that was told.
fn space(server: &str, project: &str, repository: &str, id: Option<&str>) -> String {
    let id = id.map(|id| format!("={id}")).unwrap_or_default();
    format!("vercel:{server}#{project}/{repository}{id}")
}

/// A token may reach the repository today and only its tags tomorrow. So where both times told an id, the ids say whether it is
/// the same repository; otherwise the names do. What was told in full stays.
fn recognise(remembered: &str, now: &str) -> Option<String> {
    let parts = |space: &str| {
        let (place, repository) = space.rsplit_once('/')?;
        let (name, id) = repository.split_once('=').map_or((repository, None), |(name, id)| (name, Some(id)));
        Some((place.to_owned(), name.to_owned(), id.map(str::to_owned)))
    };
    let ((place, name, id), (place_now, name_now, id_now)) = (parts(remembered)?, parts(now)?);
    let same = match (&id, &id_now) {
        (Some(id), Some(id_now)) => id == id_now,
        (None, _) | (_, None) => name == name_now,
    };
    let fuller = if id.is_some() && id_now.is_none() { remembered } else { now };
    (place == place_now && same).then(|| fuller.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_is_recognised_whether_or_not_its_id_is_told() {
        let of = |name, id| space("api.vercel.com", "prj_1", name, id);
        let (full, short) = (of("core", Some("vcr_1")), of("core", None));
        assert_eq!(full, "vercel:api.vercel.com#prj_1/core=vcr_1");
        for (remembered, now, kept) in [
            (&full, &full, Some(&full)),
            (&full, &short, Some(&full)),
            (&short, &full, Some(&full)),
            (&short, &short, Some(&short)),
            // Renamed, and the configuration with it.
            (&full, &of("app", Some("vcr_1")), Some(&of("app", Some("vcr_1")))),
            // Replaced, or another one is configured.
            (&full, &of("core", Some("vcr_2")), None),
            (&full, &of("app", None), None),
            (&short, &of("app", None), None),
            (&short, &of("app", Some("vcr_1")), None),
            (&full, &space("api.vercel.com", "prj_2", "core", Some("vcr_1")), None),
        ] {
            assert_eq!(recognise(remembered, now).as_ref(), kept, "{remembered} {now}");
        }
    }
}
