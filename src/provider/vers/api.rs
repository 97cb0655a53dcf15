//! One method per API operation.

use std::collections::HashSet;

use async_trait::async_trait;
use url::Url;
use uuid::Uuid;

use super::wire::{WireChange, WireCommits, WireCreated, WireNewTag, WireRepository, WireTag, WireTags, refusal};
use crate::http::{Client, Reply, server_of};
use crate::provider::{Access, Fact, Fault, FaultKind, Identity, NewTag, Provider};
use crate::tag::{Annotation, End, Listing, RemoteSnapshot, RemoteTag, TagName, Target, TargetKind, Value};
use crate::text::excerpt;

/// The most that a listing may bring: it cannot be asked for in parts, and each tag may carry a message.
const LISTING_LIMIT: usize = 64 * 1024 * 1024;

/// Commits per page: the most that Vers gives (2026-11-21, <https://docs.vers.sh/api-reference>).
const COMMITS_PER_PAGE: usize = 100;

/// How many pages of commits are looked through for one of them.
const COMMIT_PAGES: usize = 50;

/// How much of a description is a fact about a tag.
const EXCERPT: usize = 200;

/// A repository on a Vers.
#[derive(Debug)]
pub struct Vers {
    client: Client,
    /// The name, as configured: one segment of every URL.
    repository: String,
    compare_annotations: bool,
    /// The server's part of the identity.
    server: String,
}

impl Vers {
    /// `client` speaks to the API under `url`.
    pub(super) fn new(client: Client, url: &Url, repository: String, compare_annotations: bool) -> Self {
        let server = server_of(url);
        Self { client, repository, compare_annotations, server }
    }

    /// The fault for an answer that was not the one hoped for, with what to check.
    fn refused(&self, reply: &Reply) -> Fault {
        let words = refusal(reply.body());
        let fault = reply.refusal(words.as_deref());
        let says = |text: &str| words.as_ref().is_some_and(|words| words.to_ascii_lowercase().contains(text));
        let hint = match reply.status() {
            401 => "check that the API key is complete and not revoked",
            403 => {
                "it belongs to another organisation than the key's; a commit that others made public can be read, and not be tagged"
            }
            404 if says("commit") => {
                "the commit is gone, or it belongs to another organisation than the key's: check what `target` leads to"
            }
            404 if says("repository") => {
                "check `repository`, and that the key is one of the organisation that has it: the key says which is meant"
            }
            400 if says("name") => "the tag's name may break a rule of Vers that is new",
            _ => return fault,
        };
        fault.hint(hint)
    }

    /// The answer if it has one of the wanted statuses.
    fn expect(&self, reply: Reply, statuses: &[u16]) -> Result<Reply, Fault> {
        if statuses.contains(&reply.status()) { Ok(reply) } else { Err(self.refused(&reply)) }
    }

    /// One tag as Vers shows it; `None` when it is proven not to be there.
    async fn read(&self, name: &TagName) -> Result<Option<(Reply, WireTag)>, Fault> {
        let text = text(name)?;
        let segments = ["repositories", &self.repository, "tags", text];
        let reply = self.client.get("read the tag", &segments).send().await?;
        if reply.status() == 404 {
            // The status is the same for a missing repository. The documentation has one text for both, the server two;
            // a text that says neither is settled by asking for the repository (2026-11-21).
            let words = refusal(reply.body()).unwrap_or_default().to_ascii_lowercase();
            let (tag, repository) = (words.contains("tag"), words.contains("repository"));
            if repository && !tag {
                return Err(self.refused(&reply));
            }
            if !tag || repository {
                self.read_repository().await?;
            }
            return Ok(None);
        }
        let reply = self.expect(reply, &[200])?;
        let tag: WireTag = reply.json("a tag")?;
        if tag.tag_name != text {
            return Err(reply.unusable(&format!("is about another tag, `{}`", reply.quote(&tag.tag_name))));
        }
        Ok(Some((reply, tag)))
    }

    async fn read_repository(&self) -> Result<String, Fault> {
        let reply = self.client.get("read the repository", &["repositories", &self.repository]).send().await?;
        let reply = self.expect(reply, &[200])?;
        let repository: WireRepository = reply.json("a repository")?;
        repository.id().ok_or_else(|| reply.unusable("names no id of the repository"))
    }

    /// A listed tag in our terms; `None` when its name is none that git could have.
    fn listed(&self, reply: &Reply, tag: WireTag) -> Result<Option<RemoteTag>, Fault> {
        if tag.tag_name.is_empty() {
            return Err(reply.unusable("names a tag with an empty name"));
        }
        let Ok(name) = TagName::new(&tag.tag_name) else {
            // `a..b`, `.x`, `v1.` and `x.lock` are names for Vers and not for git. No source can have such a tag, so nothing
            // follows from it: it is left out, and with it nothing else (2026-11-21).
            tracing::debug!(name = reply.quote(&tag.tag_name), "A tag on Vers has a name that git refuses.");
            return Ok(None);
        };
        let tag = tag.into_tag(name, self.compare_annotations);
        Ok(Some(RemoteTag { message: None, ..tag }))
    }

    /// What has to be said for a tag at `lease` to become `to`.
    ///
    /// The description changes with the message where messages are compared. Where they are not, it stays as it is: it
    /// may be somebody's own.
    fn change<'a>(&self, lease: &Value, to: &'a NewTag) -> Result<WireChange<'a>, Fault> {
        let commit_id = commit_of(to.target())?.to_string();
        let description = (to.value.annotation != Annotation::NotCompared && lease.annotation != to.value.annotation)
            .then_some(to.message.as_deref());
        // With nothing to change the server refuses; then the commit is said once more.
        let moves = lease.target != to.value.target || description.is_none();
        Ok(WireChange { commit_id: moves.then_some(commit_id), description })
    }
}

/// A name as JSON and URLs carry it.
fn text(name: &TagName) -> Result<&str, Fault> {
    name.as_str().ok_or_else(|| Fault::new(FaultKind::NotSent, format!("`{name}` is not UTF-8, Vers cannot hold it")))
}

/// The one kind of target that the tags of Vers have.
fn commit_of(target: &Target) -> Result<&Uuid, Fault> {
    match target {
        Target::Snapshot(commit_id) => Ok(commit_id),
        Target::Commit(_) | Target::Object(_) | Target::Digest(_) => {
            let message = format!("the tags of Vers point at snapshots, and {target:.12} is a {}", target.kind());
            Err(Fault::new(FaultKind::Unsupported, message))
        }
    }
}

#[async_trait]
impl Provider for Vers {
    async fn identity(&self) -> Result<Identity, Fault> {
        let id = self.read_repository().await?;
        // A key does not tell what it may do: keys act for an organisation, and whose a commit is shows at the first write.
        Ok(Identity { space: format!("vers:{}#{id}", self.server), access: Access::Untold })
    }

    async fn list_tags(&self) -> Result<RemoteSnapshot, Fault> {
        let segments = ["repositories", &self.repository, "tags"];
        let reply = self.client.get("list the tags", &segments).limit(LISTING_LIMIT).send().await?;
        let reply = self.expect(reply, &[200])?;
        let WireTags { repository, tags } = reply.json("a list of tags")?;
        if let Some(other) = repository.filter(|name| *name != self.repository) {
            return Err(reply.unusable(&format!("is about another repository, `{}`", reply.quote(&other))));
        }
        let tags = tags.into_iter().filter_map(|tag| self.listed(&reply, tag).transpose());
        let tags = tags.collect::<Result<Vec<_>, _>>()?;
        let mut listing = Listing::new();
        let listed = listing.page(tags).and_then(|()| listing.finish(End::SingleResponse, None));
        listed.map_err(|fault| reply.unusable(&format!("contradicts itself: {}", reply.quote(&fault.to_string()))))
    }

    async fn get_tag(&self, name: &TagName) -> Result<Option<RemoteTag>, Fault> {
        let tag = self.read(name).await?;
        Ok(tag.map(|(_, tag)| tag.into_tag(name.clone(), self.compare_annotations)))
    }

    async fn get_facts(&self, tag: &RemoteTag, _signed: bool) -> Result<Vec<Fact>, Fault> {
        let Some((_, tag)) = self.read(&tag.name).await? else { return Ok(Vec::new()) };
        let description = tag.description.map(|text| excerpt(text.as_bytes(), EXCERPT)).filter(|text| !text.is_empty());
        let facts = [("created", tag.created_at), ("updated", tag.updated_at), ("description", description)];
        Ok(facts.into_iter().filter_map(|(what, says)| Some(Fact { what, says: says? })).collect())
    }

    /// No route shows one commit (2026-11-21, none in vers-sdk 1.20.0), so the organisation's commits are looked through.
    /// They are paged by offset, and one that comes or goes meanwhile shifts the rest: what was not seen is missing only
    /// when as many commits were seen as there are.
    async fn has_target(&self, target: &Target) -> Result<bool, Fault> {
        let wanted = commit_of(target)?;
        let limit = COMMITS_PER_PAGE.to_string();
        let (mut seen, mut offset) = (HashSet::new(), 0);
        for _ in 0..COMMIT_PAGES {
            let from = offset.to_string();
            let request = self.client.get("look for the commit", &["commits"]);
            let reply = request.query("limit", &limit).query("offset", &from).send().await?;
            let reply = self.expect(reply, &[200])?;
            let WireCommits { commits, total } = reply.json("a list of commits")?;
            if commits.len() > COMMITS_PER_PAGE {
                return Err(reply.unusable(&format!("is a page of more than {COMMITS_PER_PAGE} commits")));
            }
            offset += commits.len();
            let is_last = commits.is_empty() || total.is_some_and(|total| offset as u64 >= total);
            for commit in commits {
                let Ok(Target::Snapshot(commit_id)) = TargetKind::Snapshot.parse(&commit.commit_id) else { continue };
                if commit_id == *wanted {
                    return Ok(true);
                }
                seen.insert(commit_id);
            }
            if is_last {
                let all = total.is_none_or(|total| seen.len() as u64 >= total);
                return if all {
                    Ok(false)
                } else {
                    Err(reply.unusable("is the last of pages that did not show all commits"))
                };
            }
        }
        let message = format!("could not look for the commit: there are more than {} of them", seen.len());
        Err(Fault::new(FaultKind::Unreadable, message))
    }

    async fn create_tag(&self, new: &NewTag) -> Result<RemoteTag, Fault> {
        let body = WireNewTag {
            tag_name: text(&new.name)?,
            commit_id: commit_of(new.target())?.to_string(),
            description: new.message.as_deref(),
        };
        let segments = ["repositories", &self.repository, "tags"];
        let reply = self.client.post("create the tag", &segments).json(&body)?.send().await?;
        let reply = self.expect(reply, &[201, 200])?;
        let created: WireCreated = reply.json("a new tag")?;
        if TargetKind::Snapshot.parse(&created.commit_id).as_ref() != Ok(new.target()) {
            return Err(reply.unusable("is about another commit than the one sent"));
        }
        // The answer does not repeat the description; it is what was sent.
        let tag = RemoteTag {
            name: new.name.clone(),
            value: Ok(new.value.clone()),
            message: new.message.clone(),
            protected: false,
            attachment: None,
        };
        Ok(tag)
    }

    async fn delete_tag(&self, name: &TagName, _lease: &Value) -> Result<(), Fault> {
        let segments = ["repositories", &self.repository, "tags", text(name)?];
        let reply = self.client.delete("delete the tag", &segments).send().await?;
        self.expect(reply, &[204, 200]).map(|_| ())
    }

    /// The answer has no body, so it proves no value: the tag is read back. Whatever comes of that, the write may have had
    /// its effect, so a failed look leaves it in doubt, and the caller looks again or leaves it to the next pass.
    async fn move_tag(&self, name: &TagName, lease: &Value, to: &NewTag) -> Result<RemoteTag, Fault> {
        let segments = ["repositories", &self.repository, "tags", text(name)?];
        let reply = self.client.patch("move the tag", &segments).json(&self.change(lease, to)?)?.send().await?;
        // 204 by the documentation; one that shows the tag (200) would be another form of the same (2026-11-21).
        self.expect(reply, &[204, 200])?;
        let in_doubt = |why: String| Fault::new(FaultKind::Ambiguous, format!("the tag was moved, and {why}"));
        match self.get_tag(name).await {
            Ok(Some(tag)) => Ok(tag),
            Ok(None) => Err(in_doubt("was not there when it was read back".into())),
            Err(fault) => {
                Err(Fault { hint: fault.hint, ..in_doubt(format!("could not be read back: {}", fault.message)) })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::http::{Authorization, HttpSettings, Pool, Transport};

    async fn vers() -> Vers {
        let transport = Transport::new(&Arc::new(Pool::new()), HttpSettings::default());
        let url: Url = "https://vers.example.com:8443/x/".parse().unwrap();
        let authorization = Authorization::bearer(&"key".to_owned().into()).unwrap();
        let client = Client::new(&transport, url.clone(), authorization).await.unwrap();
        Vers::new(client, &url, "core".into(), true)
    }

    fn target(n: u8) -> Target {
        Target::Snapshot(Uuid::from_u128(u128::from(n) + 1))
    }

    #[tokio::test]
    async fn a_move_says_what_differs_and_nothing_else() {
        let vers = vers().await;
        assert_eq!(vers.server, "vers.example.com:8443/x");
        let change = |lease: (u8, Annotation), to: (u8, Annotation), message: Option<&'static str>| {
            let lease = Value { target: target(lease.0), annotation: lease.1 };
            let value = Value { target: target(to.0), annotation: to.1 };
            let to =
                NewTag { name: TagName::new("v1").unwrap(), value, message: message.map(str::to_owned), tag_id: None };
            let change = vers.change(&lease, &to).unwrap();
            (change.commit_id.is_some(), change.description.map(|text| text.map(str::to_owned)))
        };
        let said = |message| Annotation::of_message(Some(message));
        let (ignored, none) = (Annotation::NotCompared, Annotation::Lightweight);
        let text = || Some(Some("b".to_owned()));
        assert_eq!(change((0, ignored.clone()), (1, ignored.clone()), Some("b")), (true, None));
        assert_eq!(change((0, ignored.clone()), (0, ignored), None), (true, None), "never nothing at all");
        assert_eq!(change((0, said("a")), (1, said("a")), Some("a")), (true, None));
        assert_eq!(change((0, said("a")), (1, said("b")), Some("b")), (true, text()));
        assert_eq!(change((0, said("a")), (0, said("b")), Some("b")), (false, text()));
        assert_eq!(change((0, said("a")), (0, none), None), (false, Some(None)));
    }
}
