//! A repository of which tags go over the git protocol, and everything else is for its host to say.

use std::collections::HashMap;
use std::fmt;

use async_trait::async_trait;

use super::SmartHttp;
use crate::provider::{Access, Change, Fact, Fault, FaultKind, Identity, NewTag, Provider};
use crate::tag::{Attachment, RemoteSnapshot, RemoteTag, TagName, Target, Value};
use crate::wire::{Ends, ObjectId, Wanted};

/// What a repository's host knows that git does not: mostly an API beside it.
#[async_trait]
pub(in crate::provider) trait Host: fmt::Debug + Send + Sync {
    /// Who the repository is, and what the credential may do there.
    async fn identity(&self, remote: &SmartHttp) -> Result<Identity, Fault>;

    /// The repository's id, where the configuration alone says it.
    fn space(&self) -> Option<&str> {
        None
    }

    /// What is attached to a listed tag, as far as the host has such a thing and git cannot tell.
    fn attachment(&self) -> Option<Attachment> {
        None
    }

    /// What is attached to a tag that is looked at alone; only asked where something may be.
    async fn attachment_of(&self, _name: &TagName) -> Result<Option<Attachment>, Fault> {
        Ok(self.attachment())
    }

    /// The API, where it deletes protected tags that no push can delete.
    fn deletes_protected(&self) -> Option<&dyn Provider> {
        None
    }

    /// What the host says about a tag, beside what git says.
    async fn get_facts(&self, _tag: &RemoteTag, _signed: bool) -> Result<Vec<Fact>, Fault> {
        Ok(Vec::new())
    }
}

/// A host's repository, over the git protocol.
#[derive(Debug)]
pub(in crate::provider) struct Hosted<H> {
    host: H,
    remote: SmartHttp,
    /// Where the tags are, when only the configuration says that it is the repository that the host speaks of.
    place: Option<String>,
}

impl<H: Host> Hosted<H> {
    pub(in crate::provider) fn new(host: H, remote: SmartHttp, place: Option<String>) -> Self {
        Self { host, remote, place }
    }

    /// A deletion by push, or what the host's API makes of one that protection refused to a push.
    async fn settle_deletion(&self, name: &TagName, lease: &Value, pushed: Result<(), Fault>) -> Result<(), Fault> {
        let (Err(refusal), Some(api)) = (&pushed, self.host.deletes_protected()) else { return pushed };
        if refusal.kind != FaultKind::Rejected || !refusal.message.to_ascii_lowercase().contains("protected tag") {
            return pushed;
        }
        // The API compares nothing, and nothing but the configuration says that it speaks of the same repository. So what the
        // push compared is looked at once more, on both ways.
        let Ok(Some((tag, end))) = self.remote.get_tag_and_end(name).await else { return pushed };
        if tag.value.as_ref() != Ok(lease) {
            return pushed;
        }
        match api.get_tag(name).await {
            Ok(Some(RemoteTag { value: Ok(there), .. })) if there.target == Target::Commit(end.into()) => {
                api.delete_tag(name, &there).await
            }
            Ok(_) | Err(_) => pushed,
        }
    }
}

#[async_trait]
impl<H: Host> Provider for Hosted<H> {
    async fn identity(&self) -> Result<Identity, Fault> {
        let Identity { space, access } = self.host.identity(&self.remote).await?;
        let space = match &self.place {
            Some(place) => format!("{space} at {place}"),
            None => space,
        };
        Ok(Identity { space, access })
    }

    fn space(&self) -> Option<&str> {
        self.host.space().filter(|_| self.place.is_none())
    }

    /// A credential may be good for the API and not for a push, or the other way round.
    async fn credential_access(&self) -> Result<Access, Fault> {
        self.remote.access().await
    }

    async fn list_tags(&self) -> Result<RemoteSnapshot, Fault> {
        let tags = self.remote.list_tags().await?;
        Ok(match self.host.attachment() {
            Some(attachment) => tags.with_attachment(attachment),
            None => tags,
        })
    }

    async fn list_peeled(&self) -> Result<(RemoteSnapshot, Ends), Fault> {
        self.remote.list_peeled().await
    }

    async fn fetch_tags(&self, wanted: &[Wanted]) -> Result<HashMap<ObjectId, Vec<u8>>, Fault> {
        self.remote.fetch_tags(wanted).await
    }

    async fn get_tag(&self, name: &TagName) -> Result<Option<RemoteTag>, Fault> {
        let Some(tag) = self.remote.get_tag(name).await? else { return Ok(None) };
        let attachment = match self.host.attachment() {
            Some(_) => self.host.attachment_of(name).await?,
            None => None,
        };
        Ok(Some(RemoteTag { attachment, ..tag }))
    }

    async fn get_facts(&self, tag: &RemoteTag, signed: bool) -> Result<Vec<Fact>, Fault> {
        let mut facts = self.remote.get_facts(tag).await?;
        facts.extend(self.host.get_facts(tag, signed).await?);
        Ok(facts)
    }

    async fn has_target(&self, target: &Target) -> Result<bool, Fault> {
        self.remote.has_target(target).await
    }

    async fn create_tag(&self, new: &NewTag) -> Result<RemoteTag, Fault> {
        self.remote.create_tag(new).await
    }

    async fn delete_tag(&self, name: &TagName, lease: &Value) -> Result<(), Fault> {
        let pushed = self.remote.delete_tag(name, lease).await;
        self.settle_deletion(name, lease, pushed).await
    }

    async fn move_tag(&self, name: &TagName, lease: &Value, to: &NewTag) -> Result<RemoteTag, Fault> {
        self.remote.move_tag(name, lease, to).await
    }

    fn changes_at_once(&self) -> usize {
        self.remote.changes_at_once()
    }

    async fn apply_batch(&self, changes: &[Change]) -> Vec<Result<Option<RemoteTag>, Fault>> {
        let mut outcomes = self.remote.apply_batch(changes).await;
        for (change, outcome) in changes.iter().zip(&mut outcomes) {
            if let (Change::Delete { name, lease }, Err(refusal)) = (change, &*outcome) {
                *outcome = self.settle_deletion(name, lease, Err(refusal.clone())).await.map(|()| None);
            }
        }
        outcomes
    }
}
