//! One method per API operation.

use async_trait::async_trait;
use url::Url;

use super::LONGEST_NAME;
use super::wire::{Refusal, WireCommit, WireNewTag, WireProject, WireSignature, WireTag, WireToken, refusal, role};
use crate::http::{Client, Reply, server_of};
use crate::provider::{Access, Fact, Fault, FaultKind, Identity, NewTag, Provider};
use crate::tag::{CommitId, RemoteSnapshot, RemoteTag, TagName, Target, Value};

/// The role from which on tags can be written, where no protection says otherwise.
const DEVELOPER: u32 = 30;

/// A project on a GitLab.
#[derive(Debug)]
pub struct GitLab {
    pub(super) client: Client,
    /// The path or the number, as configured: one segment of every URL.
    pub(super) project: String,
    compare_annotations: bool,
    anonymous: bool,
    /// The server's part of the identity.
    server: String,
}

impl GitLab {
    /// `client` speaks to the API under `url`.
    pub(super) fn new(client: Client, url: &Url, project: String, anonymous: bool, compare_annotations: bool) -> Self {
        let server = server_of(url);
        Self { client, project, compare_annotations, anonymous, server }
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
    pub(super) fn refused(&self, reply: &Reply) -> Fault {
        let Refusal { words, scope } = refusal(reply.body());
        let fault = reply.refusal(words.as_deref());
        let says = |text: &str| words.as_ref().is_some_and(|words| words.to_ascii_lowercase().contains(text));
        let hint = match reply.status() {
            // GitLab answers 301 for a project that was moved or renamed, with its number in the new address.
            301 => "the project may have moved: write its new path into `project`, or its number, which never changes",
            401 if self.anonymous => "give this remote a `token`",
            401 => "check that the token is complete, not expired and not revoked",
            403 if scope.is_some() => {
                let scope = reply.quote(&scope.unwrap_or_default());
                return fault.hint(format!("the token lacks a scope: one of {scope}; writing tags takes `api`"));
            }
            403 if says("deactivated") || says("blocked") => "the token's user is blocked or deactivated",
            403 => {
                "check the token's role in the project (Developer or higher writes tags), its scope (`api`), and the rules for protected tags"
            }
            404 if says("repository not found") => {
                "the project has no repository yet, or it is switched off: push a branch first"
            }
            404 if self.anonymous => "check `project`; a private project takes a `token`, without one it is not shown",
            // The router's own words: the URL matched nothing, although we encode every slash.
            404 if says("404 not found") && self.project.contains('/') => {
                "a proxy in between may decode %2F in addresses; the project's number as `project` shows whether it does"
            }
            404 => "check `project`, and that the token's user is a member; GitLab hides what may not be seen",
            400 if says("is invalid") && says("target") => "the commit is not in the project: push it first",
            _ => return fault,
        };
        fault.hint(hint)
    }

    /// The answer if it has the wanted status.
    pub(super) fn expect(&self, reply: Reply, status: u16) -> Result<Reply, Fault> {
        if reply.status() == status { Ok(reply) } else { Err(self.refused(&reply)) }
    }

    /// A name as JSON and URLs carry it.
    fn text<'a>(&self, name: &'a TagName) -> Result<&'a str, Fault> {
        name.as_str()
            .ok_or_else(|| Fault::new(FaultKind::NotSent, format!("`{name}` is not UTF-8, GitLab cannot hold it")))
    }
}

/// Whether a 404 is about this very thing, and not about the project around it.
fn is_missing(reply: &Reply, thing: &str) -> bool {
    reply.status() == 404
        && refusal(reply.body())
            .words
            .is_some_and(|words| words.to_ascii_lowercase().contains(&format!("{thing} not found")))
}

/// The one kind of target that GitLab's tags have.
fn commit_of(target: &Target) -> Result<&CommitId, Fault> {
    match target {
        Target::Commit(commit_id) => Ok(commit_id),
        Target::Object(_) | Target::Snapshot(_) | Target::Digest(_) => {
            let message = format!("GitLab's tags point at commits, and {target:.12} is a {}", target.kind());
            Err(Fault::new(FaultKind::Unsupported, message))
        }
    }
}

#[async_trait]
impl Provider for GitLab {
    async fn identity(&self) -> Result<Identity, Fault> {
        let reply = self.client.get("read the project", &["projects", &self.project]).send().await?;
        let reply = self.expect(reply, 200)?;
        let project: WireProject = reply.json("a project")?;
        if project.repository_access_level.as_deref() == Some("disabled") {
            return Err(Fault::new(FaultKind::Forbidden, "the project's repository is switched off")
                .hint("switch it on under Settings, General, Visibility, Repository"));
        }
        let access = if project.archived == Some(true) {
            Access::ReadOnly { found: "an archived project".into(), needed: "a project that is not archived".into() }
        } else {
            match project.access_level() {
                Some(level) if level >= DEVELOPER => Access::Write,
                Some(level) => {
                    Access::ReadOnly { found: role(level), needed: format!("{} or higher", role(DEVELOPER)) }
                }
                None if self.anonymous => Access::ReadOnly {
                    found: "no token".into(),
                    needed: format!("a token with the scope `api` and {} or higher", role(DEVELOPER)),
                },
                // An administrator is a member of nothing.
                None => Access::Untold,
            }
        };
        Ok(Identity { space: format!("gitlab:{}#{}", self.server, project.id), access })
    }

    async fn credential_access(&self) -> Result<Access, Fault> {
        if self.anonymous {
            return Ok(Access::Untold);
        }
        // Personal, project and group access tokens tell about themselves (2026-11-21,
        // <https://docs.gitlab.com/api/personal_access_tokens/>); what another kind of token is answered says nothing.
        let reply = self.client.get("read the token's scopes", &["personal_access_tokens", "self"]).send().await?;
        if reply.status() != 200 {
            return Ok(Access::Untold);
        }
        let token: WireToken = reply.json("a token")?;
        let has = |scope: &str| token.scopes.iter().any(|found| found == scope);
        Ok(if has("api") {
            Access::Write
        } else if has("read_api") {
            Access::ReadOnly { found: "a token with the scope `read_api`".into(), needed: "the scope `api`".into() }
        } else {
            // It was good enough for the project, so it is of a kind that is not known here.
            Access::Untold
        })
    }

    async fn list_tags(&self) -> Result<RemoteSnapshot, Fault> {
        self.list().await
    }

    async fn get_tag(&self, name: &TagName) -> Result<Option<RemoteTag>, Fault> {
        let segments = ["projects", &self.project, "repository", "tags", self.text(name)?];
        let reply = self.client.get("read the tag", &segments).send().await?;
        if is_missing(&reply, "tag") {
            return Ok(None);
        }
        let reply = self.expect(reply, 200)?;
        let tag = self.tag(&reply, reply.json("a tag")?)?;
        if tag.name != *name {
            return Err(reply.unusable(&format!("is about another tag, {:?}", reply.quote(&tag.name.to_string()))));
        }
        Ok(Some(tag))
    }

    async fn get_facts(&self, tag: &RemoteTag, signed: bool) -> Result<Vec<Fact>, Fault> {
        if !signed {
            return Ok(Vec::new());
        }
        let segments = ["projects", &self.project, "repository", "tags", self.text(&tag.name)?, "signature"];
        let reply = self.client.get("read the tag's signature", &segments).send().await?;
        // Also the answer for OpenPGP and SSH signatures, which GitLab does not show for tags (2026-11-21,
        // <https://docs.gitlab.com/api/tags/#get-x509-signature-of-a-tag>).
        if is_missing(&reply, "signature") {
            let says = "none, or of another kind than X.509, the only one that GitLab shows for tags".to_owned();
            return Ok(vec![Fact { what: "signature", says }]);
        }
        let reply = self.expect(reply, 200)?;
        let signature: WireSignature = reply.json("a signature")?;
        Ok(vec![Fact { what: "signature", says: signature.words() }])
    }

    async fn has_target(&self, target: &Target) -> Result<bool, Fault> {
        let commit_id = commit_of(target)?;
        let id = commit_id.to_string();
        let segments = ["projects", &self.project, "repository", "commits", &id];
        let reply = self.client.get("read the commit", &segments).query("stats", "false").send().await?;
        if is_missing(&reply, "commit") {
            return Ok(false);
        }
        let reply = self.expect(reply, 200)?;
        let commit: WireCommit = reply.json("a commit")?;
        match commit.id {
            Some(found) if found == id => Ok(true),
            Some(_) | None => Err(reply.unusable("is about another commit")),
        }
    }

    async fn create_tag(&self, new: &NewTag) -> Result<RemoteTag, Fault> {
        let commit_id = commit_of(new.target())?;
        let body = WireNewTag {
            tag_name: self.text(&new.name)?,
            commit_id: commit_id.to_string(),
            message: new.message.as_deref(),
        };
        let segments = ["projects", &self.project, "repository", "tags"];
        let reply = self.client.post("create the tag", &segments).json(&body)?.send().await?;
        let reply = self.expect(reply, 201)?;
        let tag = self.tag(&reply, reply.json("a tag")?)?;
        if tag.name != new.name || tag.value.as_ref().map(|value| &value.target) != Ok(new.target()) {
            return Err(reply.unusable("is about another tag or another commit than the one sent"));
        }
        Ok(tag)
    }

    async fn delete_tag(&self, name: &TagName, _lease: &Value) -> Result<(), Fault> {
        // `If-Unmodified-Since` is no lease: it is compared with the date of the tagged commit, so that a tag moved to
        // an older commit passes (2026-11-21, `lib/api/tags.rb`).
        let segments = ["projects", &self.project, "repository", "tags", self.text(name)?];
        let reply = self.client.delete("delete the tag", &segments).send().await?;
        self.expect(reply, 204).map(|_| ())
    }

    async fn move_tag(&self, name: &TagName, _lease: &Value, _to: &NewTag) -> Result<RemoteTag, Fault> {
        Err(Fault::new(FaultKind::Unsupported, format!("GitLab cannot move the tag {name}, only delete and create it")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_of_another_kind_is_no_commit() {
        let digest = format!("sha256:{}", "0123456789abcdef".repeat(4));
        let target = crate::tag::TargetKind::Digest.parse(&digest).unwrap();
        let fault = commit_of(&target).unwrap_err();
        assert_eq!(fault.kind, FaultKind::Unsupported);
        assert_eq!(fault.message, "GitLab's tags point at commits, and sha256:0123456789ab is a manifest digest");
    }
}
