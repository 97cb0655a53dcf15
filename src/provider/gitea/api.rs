//! One method per API operation.
//!
//! Beside git's refs the server has rows in a database, one for each tag, found by the name in lower case. Where two tags differ in
//! case alone, a deletion of the one may find the row of the other, and delete that tag (2026-11-21, `GetRelease` of
//! `models/repo/release.go`). So no tag is deleted that has such a twin in the listing.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use url::Url;

use super::LONGEST_NAME;
use super::wire::{WireCommit, WireNewTag, WireRepository, WireTag, refusal, survives};
use crate::http::{Client, Reply, server_of};
use crate::provider::owned::OwnedRepository;
use crate::provider::{Access, Fault, FaultKind, Identity, NewTag, Provider};
use crate::tag::{Annotation, Attachment, CommitId, RemoteSnapshot, RemoteTag, TagName, Target, Value};

/// A repository on a Gitea or a Forgejo.
#[derive(Debug)]
pub struct Gitea {
    pub(super) client: Client,
    repository: OwnedRepository,
    compare_annotations: bool,
    anonymous: bool,
    /// The server's part of the identity.
    server: String,
    /// Names of the last listing that differ from another one there in case alone.
    twins: Mutex<HashSet<TagName>>,
}

impl Gitea {
    /// `client` speaks to the API under `url`.
    pub(super) fn new(
        client: Client,
        url: &Url,
        repository: OwnedRepository,
        anonymous: bool,
        compare_annotations: bool,
    ) -> Self {
        let server = server_of(url);
        Self { client, repository, compare_annotations, anonymous, server, twins: Mutex::default() }
    }

    /// The path to something of the repository.
    pub(super) fn segments<'a>(&'a self, rest: &[&'a str]) -> Vec<&'a str> {
        let OwnedRepository { owner, name } = &self.repository;
        ["repos", owner.as_str(), name.as_str()].into_iter().chain(rest.iter().copied()).collect()
    }

    /// A listed or single tag in our terms. A name that is no tag name makes the whole answer unusable.
    pub(super) fn tag(&self, reply: &Reply, tag: WireTag) -> Result<RemoteTag, Fault> {
        if tag.name.len() > LONGEST_NAME {
            return Err(reply.unusable(&format!("names a tag with more than {LONGEST_NAME} bytes")));
        }
        let name = TagName::new(&tag.name).map_err(|fault| {
            reply.unusable(&format!("names an impossible tag: {}", reply.quote(&fault.to_string())))
        })?;
        Ok(tag.into_tag(name, self.compare_annotations))
    }

    /// The fault for an answer that was not the one hoped for, with what to check.
    fn refused(&self, reply: &Reply) -> Fault {
        let words = refusal(reply.body());
        let fault = reply.refusal(words.as_deref());
        let says = |text: &str| words.as_ref().is_some_and(|words| words.to_ascii_lowercase().contains(text));
        let hint = match reply.status() {
            // Gitea redirects requests for a repository that was moved or renamed.
            301 | 302 | 307 | 308 => {
                "the repository may have been renamed: write its new owner and name into `repository`"
            }
            401 if self.anonymous => "give this remote a `token`",
            401 => "check that the token is complete and not deleted",
            403 if says("scope") => "make a token with the scope `write:repository`",
            403 => "check that the token's user may write to the repository's code",
            404 if says("target") && says("not found") => "the commit is not in the repository: push it first",
            404 if self.anonymous => "check `repository`; a private one takes a `token`, without one it is not shown",
            404 => "check `repository`, and that the token's user may see it; Gitea hides what may not be seen",
            405 | 422 if says("protected") => {
                "a rule under Settings, Tags of the repository protects the name; let the token's user be one of those whom it allows"
            }
            409 if says("release") => "delete the Release by hand, or exclude the name by `tags`",
            // Also the answer where a draft of a Release has the name, or a tag that differs from it in case alone.
            409 if says("exist") => "a draft of a Release, or a tag that differs in case alone, may have the name",
            423 => "the repository is archived: take it out of the archive to write to it",
            _ => return fault,
        };
        fault.hint(hint)
    }

    /// The answer if it has the wanted status.
    pub(super) fn expect(&self, reply: Reply, status: u16) -> Result<Reply, Fault> {
        if reply.status() == status { Ok(reply) } else { Err(self.refused(&reply)) }
    }

    async fn repository(&self) -> Result<WireRepository, Fault> {
        let segments = self.segments(&[]);
        let reply = self.client.get("read the repository", &segments).send().await?;
        self.expect(reply, 200)?.json("a repository")
    }

    /// Whether an answer says that what was asked for is not there, in a repository that is. A missing repository has the same
    /// answer, in words that changed over the years.
    async fn is_missing(&self, reply: &Reply) -> Result<bool, Fault> {
        if reply.status() != 404 {
            return Ok(false);
        }
        self.repository().await.map(|_| true)
    }

    /// What is attached to a tag that is there.
    pub(super) async fn attachment_of(&self, name: &TagName) -> Result<Option<Attachment>, Fault> {
        let segments = self.segments(&["releases", "tags", self.text(name)?]);
        let reply = self.client.get("look for a Release", &segments).send().await?;
        if reply.status() == 404 {
            // Also the answer where Releases are switched off, though not gone.
            let shows_releases = self.repository().await?.has_releases != Some(false);
            return Ok((!shows_releases).then_some(Attachment::Hidden));
        }
        // Releases are a unit of a repository that a user may not see although he sees the code (2026-11-21, Gitea's
        // `routers/api/v1/api.go`: `reqRepoReader(unit.TypeReleases)`).
        if reply.status() == 403 {
            return Ok(Some(Attachment::Hidden));
        }
        self.expect(reply, 200).map(|_| Some(Attachment::Release))
    }

    /// A name as JSON and URLs carry it.
    fn text<'a>(&self, name: &'a TagName) -> Result<&'a str, Fault> {
        name.as_str()
            .ok_or_else(|| Fault::new(FaultKind::NotSent, format!("`{name}` is not UTF-8, Gitea cannot hold it")))
    }
}

/// The one kind of target that Gitea's tags have.
fn commit_of(target: &Target) -> Result<&CommitId, Fault> {
    match target {
        Target::Commit(commit_id) => Ok(commit_id),
        Target::Object(_) | Target::Snapshot(_) | Target::Digest(_) => {
            let message = format!("Gitea's tags point at commits, and {target:.12} is a {}", target.kind());
            Err(Fault::new(FaultKind::Unsupported, message))
        }
    }
}

/// The names that are one to the server's database.
fn twins(tags: &[RemoteTag]) -> HashSet<TagName> {
    let mut by_case: HashMap<String, Vec<&TagName>> = HashMap::with_capacity(tags.len());
    for tag in tags {
        let folded = tag.name.as_str().unwrap_or_default().to_lowercase();
        by_case.entry(folded).or_default().push(&tag.name);
    }
    by_case.into_values().filter(|names| names.len() > 1).flatten().cloned().collect()
}

#[async_trait]
impl Provider for Gitea {
    async fn identity(&self) -> Result<Identity, Fault> {
        let repository = self.repository().await?;
        let read_only = |found: &str, needed: &str| Access::ReadOnly { found: found.into(), needed: needed.into() };
        let access = match repository.may_push() {
            _ if repository.archived => read_only("an archived repository", "one that is not archived"),
            _ if repository.mirror => {
                read_only("a mirror, which its own source overwrites", "a repository that mirrors no other")
            }
            Some(true) => Access::Write,
            _ if self.anonymous => read_only("no token", "a token with the scope `write:repository`"),
            Some(false) => read_only("a user who may read the code", "one who may write it"),
            None => Access::Untold,
        };
        Ok(Identity { space: format!("gitea:{}#{}", self.server, repository.id), access })
    }

    async fn list_tags(&self) -> Result<RemoteSnapshot, Fault> {
        let snapshot = self.list().await?;
        *self.twins.lock().unwrap_or_else(PoisonError::into_inner) = twins(snapshot.tags());
        Ok(snapshot)
    }

    async fn get_tag(&self, name: &TagName) -> Result<Option<RemoteTag>, Fault> {
        let segments = self.segments(&["tags", self.text(name)?]);
        let reply = self.client.get("read the tag", &segments).send().await?;
        if self.is_missing(&reply).await? {
            return Ok(None);
        }
        let reply = self.expect(reply, 200)?;
        let tag = self.tag(&reply, reply.json("a tag")?)?;
        if tag.name != *name {
            return Err(reply.unusable(&format!("is about another tag, {:?}", reply.quote(&tag.name.to_string()))));
        }
        Ok(Some(tag))
    }

    async fn has_target(&self, target: &Target) -> Result<bool, Fault> {
        let id = commit_of(target)?.to_string();
        let segments = self.segments(&["git", "commits", &id]);
        let request = self.client.get("read the commit", &segments);
        // What a commit changed takes the server long to find out.
        let reply =
            request.query("stat", "false").query("verification", "false").query("files", "false").send().await?;
        if self.is_missing(&reply).await? {
            return Ok(false);
        }
        let reply = self.expect(reply, 200)?;
        let commit: WireCommit = reply.json("a commit")?;
        match commit.sha {
            Some(found) if found == id => Ok(true),
            Some(_) | None => Err(reply.unusable("is about another commit")),
        }
    }

    fn refuses(&self, new: &NewTag) -> Option<Fault> {
        let changed = new.value.annotation != Annotation::NotCompared && !new.message.as_deref().is_none_or(survives);
        changed.then(|| {
            Fault::new(FaultKind::Rejected, "could not create the tag: Gitea would change its message, which is compared here")
                .hint("its git drops lines that begin with `#`, repeated empty lines and white space at the ends of lines; `transport = \"git\"` keeps every byte")
        })
    }

    async fn create_tag(&self, new: &NewTag) -> Result<RemoteTag, Fault> {
        let message = new.message.as_deref();
        let target = commit_of(new.target())?.to_string();
        let body = WireNewTag { tag_name: self.text(&new.name)?, target, message };
        let segments = self.segments(&["tags"]);
        let reply = self.client.post("create the tag", &segments).json(&body)?.send().await?;
        // 200 by the documentation, 201 by the server.
        let reply = if reply.status() == 200 { reply } else { self.expect(reply, 201)? };
        let tag = self.tag(&reply, reply.json("a tag")?)?;
        if tag.name != new.name || tag.value.as_ref().map(|value| &value.target) != Ok(new.target()) {
            return Err(reply.unusable("is about another tag or another commit than the one sent"));
        }
        Ok(tag)
    }

    async fn delete_tag(&self, name: &TagName, _lease: &Value) -> Result<(), Fault> {
        if self.twins.lock().unwrap_or_else(PoisonError::into_inner).contains(name) {
            let message =
                "could not delete the tag: another one differs from it in case alone, and Gitea might delete that";
            return Err(
                Fault::new(FaultKind::Rejected, message).hint("delete it by a push, or use `transport = \"git\"`")
            );
        }
        let segments = self.segments(&["tags", self.text(name)?]);
        let reply = self.client.delete("delete the tag", &segments).send().await?;
        self.expect(reply, 204).map(|_| ())
    }

    async fn move_tag(&self, name: &TagName, _lease: &Value, _to: &NewTag) -> Result<RemoteTag, Fault> {
        Err(Fault::new(FaultKind::Unsupported, format!("Gitea cannot move the tag {name}, only delete and create it")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_differ_in_case_alone_are_twins() {
        let tag = |name: &str| RemoteTag {
            name: TagName::new(name).unwrap(),
            value: Err(String::new()),
            message: None,
            protected: false,
            attachment: None,
        };
        let found = twins(&["V1", "v1", "v2", "É", "é", "a/B", "b"].map(tag));
        let expected = ["V1", "v1", "É", "é"].map(|name| TagName::new(name).unwrap());
        assert_eq!(found, HashSet::from(expected));
    }
}
