//! One method per API operation.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use url::Url;

use super::list::{Held, Ref, TAGS};
use super::object::TagObject;
use super::peel::Memory;
use super::wire::{WireCommit, WireMove, WireNewRef, WireNewTag, WireRef, WireRepository, WireTagObject, refusal};
use crate::http::{Client, Reply, Request, server_of};
use crate::provider::owned::OwnedRepository;
use crate::provider::{Access, Connection, Fact, Fault, FaultKind, Identity, NewTag, Objects, Provider};
use crate::tag::{Attachment, CommitId, Known, Listed, ObjectId, RemoteSnapshot, RemoteTag, TagName, Target, Value};

/// The version of the API that is spoken; supported by github.com until 2028 at least, and by all Enterprise Servers that are
/// (2026-11-21, <https://docs.github.com/en/rest/about-the-rest-api/api-versions>).
const VERSION: &str = "2022-11-28";

/// How long one waits whom GitHub found asking too much, where it does not say (2026-11-21,
/// <https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api#exceeding-the-rate-limit>).
const QUIET: Duration = Duration::from_secs(60);

/// A repository on GitHub.
#[derive(Debug)]
pub struct GitHub {
    client: Client,
    repository: OwnedRepository,
    pub(super) compare_annotations: bool,
    pub(super) memory: Arc<Memory>,
    /// The source's own tag objects, where something is to be written.
    pub(super) objects: Option<Arc<dyn Objects>>,
    anonymous: bool,
    /// Whether writes go one by one.
    paced: bool,
    /// The server's part of the identity.
    server: String,
}

impl GitHub {
    /// `client` speaks to the API at `url`.
    pub(super) fn new(
        client: Client,
        connection: &Connection,
        url: &Url,
        repository: OwnedRepository,
        anonymous: bool,
        paced: bool,
    ) -> Self {
        let server = server_of(url);
        let compare_annotations = connection.compare_annotations;
        // What is remembered are values, and of those the annotation is a part or not.
        let memory =
            connection.transport.remembered(&format!("github {server}/{repository} messages={compare_annotations}"));
        let objects = connection.objects.clone();
        Self { client, repository, compare_annotations, memory, objects, anonymous, paced, server }
    }

    /// The path to something of the repository.
    pub(super) fn segments<'a>(&'a self, rest: &[&'a str]) -> Vec<&'a str> {
        let OwnedRepository { owner, name } = &self.repository;
        ["repos", owner.as_str(), name.as_str()].into_iter().chain(rest.iter().copied()).collect()
    }

    /// The path to something of a tag. Its slashes separate segments, because GitHub knows no `%2F` there.
    fn segments_of<'a>(&'a self, rest: &[&'a str], name: &'a TagName) -> Result<Vec<&'a str>, Fault> {
        let mut segments = self.segments(rest);
        segments.extend(text(name)?.split('/'));
        Ok(segments)
    }

    pub(super) fn get<'a>(&'a self, purpose: &'static str, segments: &'a [&'a str]) -> Request<'a> {
        spoken(self.client.get(purpose, segments))
    }

    /// What the listing says about what is attached to a tag.
    pub(super) fn unlisted(&self) -> Option<Attachment> {
        Some(Attachment::Unlisted)
    }

    /// The fault for an answer that was not the one hoped for, with what to check.
    pub(super) fn refused(&self, reply: &Reply) -> Fault {
        let words = refusal(reply.body());
        let fault = reply.refusal(words.as_deref());
        let words = words.unwrap_or_default().to_ascii_lowercase();
        let says = |text: &str| words.contains(text);
        if matches!(reply.status(), 403 | 429) && says("rate limit") && !reply.asks_to_wait() {
            return self.client.leave_alone(QUIET, Fault { kind: FaultKind::Throttled, ..fault });
        }
        let hint = match reply.status() {
            301 | 302 | 307 | 308 => {
                "the repository was renamed or given to another owner: write its new `owner/name` into `repository`"
            }
            401 if self.anonymous => "give this remote a `token`",
            401 => "check that the token is complete, not expired and not revoked",
            403 if reply.header("x-github-sso").is_some() || says("saml") => {
                "authorise the token for the organisation's single sign-on"
            }
            403 if says("archived") => "take the repository out of the archive to write to it",
            403 if says("resource not accessible") => {
                "give the token the permission `Contents: read and write` for this repository"
            }
            403 if fault.kind == FaultKind::Forbidden => {
                "check the token's permission (`Contents: read and write`, or the scope `repo`), and its owner's role"
            }
            404 if self.anonymous => "check `repository`; a private one takes a `token`, without one it is not shown",
            404 => {
                "check `repository`, that the token may see it, and `url`: the API of an Enterprise Server is under /api/v3; GitHub hides what may not be seen"
            }
            409 if says("empty") => "the repository is empty: push a branch first",
            422 if says("rule violation") || says("protected") || says("restricted") => {
                "a ruleset forbids it: let the token's owner bypass it under Settings, Rules, or exclude the name by `tags`"
            }
            422 if says("immutable") => "the tag belongs to an immutable Release: exclude the name by `tags`",
            _ => return fault,
        };
        fault.hint(hint)
    }

    /// The answer if it has the wanted status.
    pub(super) fn expect(&self, reply: Reply, status: u16) -> Result<Reply, Fault> {
        if reply.status() == status { Ok(reply) } else { Err(self.refused(&reply)) }
    }

    async fn read_repository(&self) -> Result<(Reply, WireRepository), Fault> {
        let segments = self.segments(&[]);
        let reply = self.get("read the repository", &segments).send().await?;
        let reply = self.expect(reply, 200)?;
        let repository = reply.json("a repository")?;
        Ok((reply, repository))
    }

    /// A tag's ref; `None` when it is proven not to be there.
    async fn find_ref(&self, name: &TagName) -> Result<Option<Ref>, Fault> {
        let segments = self.segments_of(&["git", "ref", "tags"], name)?;
        let reply = self.get("read the tag", &segments).send().await?;
        if reply.status() == 404 {
            // The answer is the same for a repository that is missing, or hidden.
            self.read_repository().await?;
            return Ok(None);
        }
        let reply = self.expect(reply, 200)?;
        self.own_ref(&reply, name).map(Some)
    }

    /// The ref in an answer about one.
    fn own_ref(&self, reply: &Reply, name: &TagName) -> Result<Ref, Fault> {
        let wire: WireRef = reply.json("a ref")?;
        match Ref::read(reply, &wire)? {
            Some(found) if found.name == *name => Ok(found),
            Some(_) | None => Err(reply.unusable(&format!("is about another ref, `{}`", reply.quote(&wire.name)))),
        }
    }

    /// What is attached to a tag that is there.
    pub(super) async fn attachment_of(&self, name: &TagName) -> Result<Option<Attachment>, Fault> {
        let segments = self.segments_of(&["releases", "tags"], name)?;
        let reply = self.get("look for a Release", &segments).send().await?;
        // Drafts are not found by their tag, and have nothing to lose.
        if reply.status() == 404 {
            return Ok(None);
        }
        self.expect(reply, 200).map(|_| Some(Attachment::Release))
    }

    /// Makes what the ref will hold: the commit, or a tag object on it that is as much the source's as it can be.
    async fn make_object(&self, new: &NewTag) -> Result<ObjectId, Fault> {
        let commit_id = *commit_of(new.target())?;
        let Some(message) = &new.message else { return Ok(commit_id.into()) };
        let (commit, name) = (commit_id.to_string(), text(&new.name)?);
        let bytes = self.source_object(new).await;
        let source = bytes.as_deref().and_then(TagObject::parse);
        // Of a tag of a tag, or one that is signed, only the message goes there.
        let text = source.as_ref().filter(|source| source.kind == "commit" && !source.is_signed());
        let body = WireNewTag {
            tag: name,
            message: text.map_or(message, |source| source.text),
            object: &commit,
            kind: "commit",
            tagger: source.as_ref().and_then(|source| source.tagger.as_ref()),
        };
        let segments = self.segments(&["git", "tags"]);
        // An object that nothing leads to changes nothing, so it may be sent again.
        let request = spoken(self.client.post("make the tag object", &segments)).reading().json(&body)?;
        // The ref is untouched, and what is wrong with this one object says nothing about the next tag.
        let unmade = |fault: Fault| match fault.kind {
            FaultKind::Unreadable | FaultKind::Ambiguous => Fault { kind: FaultKind::Unsupported, ..fault },
            _ => fault,
        };
        let reply = self.expect(request.send().await.map_err(unmade)?, 201).map_err(unmade)?;
        let made: WireTagObject = reply.json("a tag object").map_err(unmade)?;
        let id: ObjectId =
            made.sha.parse().map_err(|_| unmade(reply.unusable("names no full id of the tag object")))?;
        if made.object.sha != commit {
            return Err(unmade(reply.unusable("is about another commit than the one sent")));
        }
        let value = self.value(commit_id, made.message());
        if value != new.value {
            let message = "could not make the tag: GitHub changed its message, which is compared here";
            return Err(Fault::new(FaultKind::Rejected, message).hint("`transport = \"git\"` keeps every byte"));
        }
        self.memory.learn(id, value);
        if new.tag_id.is_some_and(|tag_id| ObjectId::from(tag_id) != id) {
            tracing::debug!(tag = %new.name, %id, "The tag object on GitHub is not the source's, byte for byte.");
        }
        Ok(id)
    }

    /// Looks once more, where the write had to wait for its turn since the caller looked. Others may have been at the tag.
    async fn check_lease(&self, name: &TagName, lease: &Value, has_waited: bool) -> Result<(), Fault> {
        if !has_waited {
            return Ok(());
        }
        let there = match self.find_ref(name).await?.map(|found| found.held) {
            Some(Held::Commit(commit_id)) => Some(self.value(commit_id, None)),
            Some(Held::Tag(id)) => self.meanings(vec![id]).await?.remove(&id).and_then(Result::ok),
            Some(Held::Other(_)) | None => None,
        };
        if there.as_ref() == Some(lease) {
            return Ok(());
        }
        Err(Fault::new(FaultKind::Rejected, "somebody changed the tag while this write waited for its turn"))
    }

    /// The bytes of the source's tag object.
    async fn source_object(&self, new: &NewTag) -> Option<Vec<u8>> {
        let id = new.tag_id?.into();
        let read = self.objects.as_ref()?.read_tag_objects(vec![id], usize::MAX).await.ok()?;
        read.objects.into_iter().find(|(found, _)| *found == id).map(|(_, bytes)| bytes)
    }

    /// A tag as an answer to a write shows it.
    fn written(&self, reply: &Reply, new: &NewTag, id: ObjectId) -> Result<RemoteTag, Fault> {
        let found = self.own_ref(reply, &new.name)?;
        let is_it = match found.held {
            Held::Commit(commit_id) => ObjectId::from(commit_id) == id,
            Held::Tag(tag_id) => tag_id == id,
            Held::Other(_) => false,
        };
        if !is_it {
            return Err(reply.unusable("is about another object than the one sent"));
        }
        let value = self.value(*commit_of(new.target())?, new.message.as_deref());
        let message = new.message.clone();
        Ok(RemoteTag { name: found.name, value: Ok(value), message, protected: false, attachment: self.unlisted() })
    }
}

/// In the version of the API that this provider knows.
fn spoken(request: Request<'_>) -> Request<'_> {
    request.accept("application/vnd.github+json").header("x-github-api-version", VERSION)
}

/// A name as JSON and URLs carry it.
fn text(name: &TagName) -> Result<&str, Fault> {
    name.as_str().ok_or_else(|| Fault::new(FaultKind::NotSent, format!("`{name}` is not UTF-8, GitHub cannot hold it")))
}

/// The one kind of target that tags have over this API.
fn commit_of(target: &Target) -> Result<&CommitId, Fault> {
    match target {
        Target::Commit(commit_id) => Ok(commit_id),
        Target::Object(_) | Target::Snapshot(_) | Target::Digest(_) => {
            let message = format!("GitHub's tags point at commits, and {target:.12} is a {}", target.kind());
            Err(Fault::new(FaultKind::Unsupported, message))
        }
    }
}

#[async_trait]
impl Provider for GitHub {
    async fn identity(&self) -> Result<Identity, Fault> {
        let (_, repository) = self.read_repository().await?;
        let read_only = |found: &str, needed: &str| Access::ReadOnly { found: found.into(), needed: needed.into() };
        let access = match repository.may_push() {
            _ if repository.archived => read_only("an archived repository", "one that is not archived"),
            _ if repository.disabled => read_only("a repository that GitHub disabled", "one that is not"),
            Some(true) => Access::Write,
            _ if self.anonymous => read_only("no token", "a token with the permission `Contents: read and write`"),
            Some(false) => read_only("a token whose owner may read the repository", "one whose owner may push to it"),
            None => Access::Untold,
        };
        Ok(Identity { space: format!("github:{}#{}", self.server, repository.id), access })
    }

    async fn credential_access(&self) -> Result<Access, Fault> {
        let (reply, _) = self.read_repository().await?;
        // Only classic tokens have scopes (2026-11-21,
        // <https://docs.github.com/en/apps/oauth-apps/building-oauth-apps/scopes-for-oauth-apps>).
        let Some(scopes) = reply.header("x-oauth-scopes") else { return Ok(Access::Untold) };
        let has = |wanted: &str| scopes.split(',').any(|scope| scope.trim() == wanted);
        Ok(if has("repo") || has("public_repo") {
            Access::Untold
        } else {
            Access::ReadOnly {
                found: format!("a token with the scopes `{}`", reply.quote(scopes)),
                needed: "the scope `repo`, or `public_repo` for a public repository".into(),
            }
        })
    }

    async fn list_tags(&self) -> Result<RemoteSnapshot, Fault> {
        self.list(&|_| true).await
    }

    fn lists_at_once(&self) -> bool {
        false
    }

    async fn list_known(&self, known: &Known<'_>) -> Result<Listed, Fault> {
        Ok(Listed { snapshot: self.list(known.matters).await?, looks: None })
    }

    async fn get_tag(&self, name: &TagName) -> Result<Option<RemoteTag>, Fault> {
        let Some(found) = self.find_ref(name).await? else { return Ok(None) };
        let (value, message) = match found.held {
            Held::Commit(commit_id) => (Ok(self.value(commit_id, None)), None),
            Held::Other(reason) => (Err(reason), None),
            Held::Tag(id) => {
                let meaning = self.meanings(vec![id]).await?.remove(&id);
                let tag = self.tag_object(id).await?;
                let message = tag.and_then(|tag| tag.message().map(str::to_owned));
                (meaning.unwrap_or_else(|| Err("GitHub does not show its tag object".to_owned())), message)
            }
        };
        let attachment = self.attachment_of(name).await?;
        Ok(Some(RemoteTag { name: found.name, value, message, protected: false, attachment }))
    }

    async fn get_facts(&self, tag: &RemoteTag, signed: bool) -> Result<Vec<Fact>, Fault> {
        let Some(Ref { held: Held::Tag(id), .. }) = self.find_ref(&tag.name).await? else { return Ok(Vec::new()) };
        let mut facts = vec![Fact { what: "tag object", says: id.to_string() }];
        if signed {
            let signature = self.tag_object(id).await?.and_then(|tag| tag.signature());
            let says = signature.unwrap_or_else(|| "none: over the API it cannot be sent".to_owned());
            facts.push(Fact { what: "signature", says });
        }
        Ok(facts)
    }

    async fn has_target(&self, target: &Target) -> Result<bool, Fault> {
        let id = commit_of(target)?.to_string();
        let segments = self.segments(&["git", "commits", &id]);
        let reply = self.get("read the commit", &segments).send().await?;
        if reply.status() == 404 {
            return self.read_repository().await.map(|_| false);
        }
        let reply = self.expect(reply, 200)?;
        let commit: WireCommit = reply.json("a commit")?;
        match commit.sha {
            Some(found) if found == id => Ok(true),
            Some(_) | None => Err(reply.unusable("is about another commit")),
        }
    }

    async fn create_tag(&self, new: &NewTag) -> Result<RemoteTag, Fault> {
        let id = self.make_object(new).await?;
        let sha = id.to_string();
        let body = WireNewRef { name: format!("{TAGS}{}", text(&new.name)?), sha: &sha };
        let segments = self.segments(&["git", "refs"]);
        let reply = spoken(self.client.post("create the tag", &segments)).json(&body)?.send().await?;
        if reply.status() == 422 && says(&reply, "object does not exist") {
            let fault = self.refused(&reply);
            return Err(Fault { kind: FaultKind::TargetMissing, ..fault });
        }
        let reply = self.expect(reply, 201)?;
        self.written(&reply, new, id)
    }

    async fn delete_tag(&self, name: &TagName, lease: &Value) -> Result<(), Fault> {
        let segments = self.segments_of(&["git", "refs", "tags"], name)?;
        let turn = self.client.wait_for_turn("delete the tag").await?;
        self.check_lease(name, lease, turn.is_some()).await?;
        let reply = spoken(self.client.delete("delete the tag", &segments)).in_turn(turn).send().await?;
        if reply.status() == 422 && says(&reply, "reference does not exist") {
            return Err(Fault { kind: FaultKind::NotFound, ..self.refused(&reply) });
        }
        self.expect(reply, 204).map(|_| ())
    }

    async fn move_tag(&self, name: &TagName, lease: &Value, to: &NewTag) -> Result<RemoteTag, Fault> {
        let id = self.make_object(to).await?;
        let sha = id.to_string();
        let segments = self.segments_of(&["git", "refs", "tags"], name)?;
        let turn = self.client.wait_for_turn("move the tag").await?;
        self.check_lease(name, lease, turn.is_some()).await?;
        let request = spoken(self.client.patch("move the tag", &segments)).in_turn(turn);
        let reply = request.json(&WireMove { sha: &sha, force: true })?.send().await?;
        let reply = self.expect(reply, 200)?;
        self.written(&reply, to, id)
    }

    fn writes_at_once(&self) -> usize {
        if self.paced { 1 } else { usize::MAX }
    }
}

/// Whether a refusal has these words, in whatever case.
fn says(reply: &Reply, text: &str) -> bool {
    refusal(reply.body()).is_some_and(|words| words.to_ascii_lowercase().contains(text))
}
