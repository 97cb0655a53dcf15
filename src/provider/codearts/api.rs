//! One method per API operation.

use std::sync::Arc;

use async_trait::async_trait;
use url::Url;

use super::list::Memory;
use super::wire::{
    Lacking, Refusal, WireCommit, WireNewTag, WireRepository, WireTag, meaning, meaning_of_failed, refusal,
};
use crate::http::{Client, Reply, Transport, server_of};
use crate::provider::{Access, Fact, Fault, FaultKind, Identity, NewTag, Provider};
use crate::tag::{CommitId, RemoteSnapshot, RemoteTag, TagName, Target, Value};

/// A repository on CodeArts Repo.
#[derive(Debug)]
pub struct CodeArts {
    pub(super) client: Client,
    pub(super) compare_annotations: bool,
    pub(super) memory: Arc<Memory>,
    id: u32,
    /// The same, as a segment of every URL.
    repository: String,
    /// The server's part of the identity.
    server: String,
}

impl CodeArts {
    /// `client` speaks to the server under `url`.
    pub(super) fn new(client: Client, transport: &Transport, url: &Url, id: u32, compare_annotations: bool) -> Self {
        let server = server_of(url);
        let memory = transport.remembered(&format!("codearts {server}#{id}"));
        Self { client, compare_annotations, memory, id, repository: id.to_string(), server }
    }

    /// The path to something of the repository.
    pub(super) fn segments<'a>(&'a self, rest: &[&'a str]) -> Vec<&'a str> {
        ["v4", "repositories", &self.repository].into_iter().chain(rest.iter().copied()).collect()
    }

    /// The name of a tag in an answer. One that is no tag name makes the whole answer unusable.
    pub(super) fn name(&self, reply: &Reply, tag: &WireTag) -> Result<TagName, Fault> {
        TagName::new(&tag.name)
            .map_err(|fault| reply.unusable(&format!("names an impossible tag: {}", reply.quote(&fault.to_string()))))
    }

    /// The fault for an answer that was not the one hoped for, with what to check.
    fn refused(&self, reply: &Reply) -> Fault {
        refused(reply)
    }

    /// The answer if it has one of the wanted statuses and does not say itself that it failed.
    pub(super) fn expect(&self, reply: Reply, statuses: &[u16]) -> Result<Reply, Fault> {
        if statuses.contains(&reply.status()) && !refusal(reply.body()).failed {
            Ok(reply)
        } else {
            Err(self.refused(&reply))
        }
    }

    /// Whether an answer says that what was asked for is not there, in a repository that is.
    async fn is_missing(&self, reply: &Reply, things: &[&str]) -> Result<bool, Fault> {
        let refusal = refusal(reply.body());
        if !refusal.says_missing(reply.status()) {
            return Ok(false);
        }
        match refusal.lacking(things) {
            Lacking::Thing => Ok(true),
            Lacking::Surroundings => Ok(false),
            // If the repository is there, it must have been the thing.
            Lacking::Untold => self.repository().await.map(|_| true),
        }
    }

    async fn repository(&self) -> Result<WireRepository, Fault> {
        let reply = self.client.get("read the repository", &self.segments(&[])).send().await?;
        let reply = self.expect(reply, &[200])?;
        let repository: WireRepository = reply.json("a repository")?;
        if !repository.is(self.id) {
            return Err(reply.unusable("is about another repository"));
        }
        Ok(repository)
    }

    /// A tag as it is shown alone; `None` when it is not there.
    pub(super) async fn show(&self, name: &TagName) -> Result<Option<(Reply, WireTag)>, Fault> {
        let segments = self.segments(&["repository", "tag"]);
        let reply = self.client.get("read the tag", &segments).query("tag_name", self.text(name)?).send().await?;
        if self.is_missing(&reply, &["tag", "tags", "label", "labels", "ref", "标签"]).await? {
            return Ok(None);
        }
        let reply = self.expect(reply, &[200])?;
        let tag: WireTag = reply.json("a tag")?;
        if self.name(&reply, &tag)? != *name {
            return Err(reply.unusable(&format!("is about another tag, {:?}", reply.quote(&tag.name))));
        }
        Ok(Some((reply, tag)))
    }

    fn alone(&self, name: TagName, tag: WireTag) -> RemoteTag {
        let commit = tag.peeled().map_err(str::to_owned);
        tag.into_tag(name, commit, self.compare_annotations)
    }

    /// A name as JSON and URLs carry it.
    fn text<'a>(&self, name: &'a TagName) -> Result<&'a str, Fault> {
        name.as_str().ok_or_else(|| {
            Fault::new(FaultKind::NotSent, format!("`{name}` is not UTF-8, CodeArts Repo cannot hold it"))
        })
    }

    /// The commit that a target is; this API knows no other ones.
    fn commit(&self, target: &Target) -> Result<CommitId, Fault> {
        match target {
            Target::Commit(id) => Ok(*id),
            other => {
                let message = format!("CodeArts Repo cannot hold a tag on {other}, only on a commit");
                Err(Fault::new(FaultKind::Unsupported, message))
            }
        }
    }
}

/// The fault for an answer that was not the one hoped for, of this API or of IAM.
pub(super) fn refused(reply: &Reply) -> Fault {
    let refusal = refusal(reply.body());
    // IAM repeats the status as its code.
    let code = refusal.code.as_ref().filter(|code| **code != reply.status().to_string());
    let words = match (code, &refusal.words) {
        (Some(code), Some(words)) => Some(format!("{code}: {words}")),
        (Some(one), None) | (None, Some(one)) => Some(one.clone()),
        (None, None) => None,
    };
    let code = refusal.code.as_deref().unwrap_or_default();
    let mut fault = if reply.is_success() && refusal.failed {
        let unusable = reply.unusable(&format!("says that it failed: {}", reply.quote(&words.unwrap_or_default())));
        Fault { kind: kind_of_failed(&refusal, unusable.kind), ..unusable }
    } else {
        let fault = reply.refusal(words.as_deref());
        Fault { kind: meaning(code).unwrap_or(fault.kind), ..fault }
    };
    // What the vendor's support asks for first.
    if let Some(id) = reply.header("x-request-id").filter(|id| !id.is_empty()) {
        fault.message += &format!(" (request {})", reply.quote(id));
    }
    let hint = match fault.kind {
        FaultKind::Unauthorized if code == "APIG.0301" || code == "APIG.0303" => {
            "check the access key and its secret key, and the clock of this machine: signatures hold the time"
        }
        FaultKind::Unauthorized => {
            "check that the credential is complete and still valid (a token of IAM lives for a day), and that it is one for the region in `region` or `url`"
        }
        FaultKind::Forbidden => {
            "check the role in the repository's project: it needs the rights to create and to delete tags, and the rules for protected tags apply"
        }
        FaultKind::NotFound if code.starts_with("APIG.") => "check `region` or `url`: this server knows no such API",
        FaultKind::NotFound => {
            "check `repository_id`, the region, and that the user is a member of the repository's project"
        }
        FaultKind::Throttled => "set `rate` on this remote, or give it more time between passes",
        _ => return fault,
    };
    fault.hint(hint)
}

/// Of an answer that says that it failed under the status of a success: there, only code and words tell. What they do
/// not tell was refused, because that is what the answer says; after any refusal of a write, the tag is read.
fn kind_of_failed(refusal: &Refusal, unreadable: FaultKind) -> FaultKind {
    match refusal.code.as_deref().and_then(meaning_of_failed) {
        Some(FaultKind::Ambiguous) => unreadable,
        Some(kind) => kind,
        None if refusal.says_missing(200) => FaultKind::NotFound,
        None if unreadable == FaultKind::Ambiguous => FaultKind::Rejected,
        None => unreadable,
    }
}

#[async_trait]
impl Provider for CodeArts {
    async fn identity(&self) -> Result<Identity, Fault> {
        let repository = self.repository().await?;
        let access = if repository.archived == Some(true) {
            Access::ReadOnly { found: "an archived repository".into(), needed: "one that is not archived".into() }
        } else {
            // There is an `access_level`, but which role has which rights is a setting of each project.
            Access::Untold
        };
        Ok(Identity { space: format!("codearts:{}#{}", self.server, self.id), access })
    }

    async fn list_tags(&self) -> Result<RemoteSnapshot, Fault> {
        self.list().await
    }

    async fn get_tag(&self, name: &TagName) -> Result<Option<RemoteTag>, Fault> {
        Ok(self.show(name).await?.map(|(_, tag)| self.alone(name.clone(), tag)))
    }

    async fn get_facts(&self, tag: &RemoteTag, signed: bool) -> Result<Vec<Fact>, Fault> {
        if !signed {
            return Ok(Vec::new());
        }
        // Only the listing says something about signatures, and it can be narrowed down, though not to one name.
        let (segments, name) = (self.segments(&["repository", "tags"]), self.text(&tag.name)?);
        let request = self.client.get("read the tag's signature", &segments);
        let request = request.query("search", name).query("view", "detail").query("offset", "0").query("limit", "100");
        let reply = self.expect(request.send().await?, &[200])?;
        let found: Vec<WireTag> = reply.json("a list of tags")?;
        let says = match found.iter().find(|found| found.name == name) {
            Some(found) => found.signature().unwrap_or_else(|| "none that CodeArts Repo shows".to_owned()),
            None => "not found among the first 100 tags with this name in theirs".to_owned(),
        };
        Ok(vec![Fact { what: "signature", says }])
    }

    async fn has_target(&self, target: &Target) -> Result<bool, Fault> {
        let id = self.commit(target)?.to_string();
        // `sha` takes names of branches and tags, too, so the answer has to be about this very id.
        let segments = self.segments(&["repository", "commits"]);
        let reply = self.client.get("read the commit", &segments).query("sha", &id).send().await?;
        if self.is_missing(&reply, &["commit", "commits", "sha", "revision", "提交"]).await? {
            return Ok(false);
        }
        let reply = self.expect(reply, &[200])?;
        let commit: WireCommit = reply.json("a commit")?;
        match commit.id {
            Some(found) if found == id => Ok(true),
            Some(_) | None => Err(reply.unusable("is about another commit")),
        }
    }

    async fn create_tag(&self, new: &NewTag) -> Result<RemoteTag, Fault> {
        let body = WireNewTag {
            tag_name: self.text(&new.name)?,
            commit_id: self.commit(new.target())?.to_string(),
            message: new.message.as_deref(),
        };
        let segments = self.segments(&["repository", "tags"]);
        let reply = self.client.post("create the tag", &segments).json(&body)?.send().await?;
        // 201 by the documentation.
        let reply = self.expect(reply, &[200, 201])?;
        let tag: WireTag = reply.json("a tag")?;
        let tag = self.alone(self.name(&reply, &tag)?, tag);
        if tag.name != new.name || tag.value.as_ref().map(|value| &value.target) != Ok(new.target()) {
            return Err(reply.unusable("is about another tag or another commit than the one sent"));
        }
        Ok(tag)
    }

    async fn delete_tag(&self, name: &TagName, _lease: &Value) -> Result<(), Fault> {
        let segments = self.segments(&["repository", "tag"]);
        let reply = self.client.delete("delete the tag", &segments).query("tag_name", self.text(name)?).send().await?;
        // 204 by the documentation.
        self.expect(reply, &[200, 204]).map(|_| ())
    }

    async fn move_tag(&self, name: &TagName, _lease: &Value, _to: &NewTag) -> Result<RemoteTag, Fault> {
        let message = format!("CodeArts Repo cannot move the tag {name}, only delete and create it");
        Err(Fault::new(FaultKind::Unsupported, message))
    }
}
