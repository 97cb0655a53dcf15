//! A project whose tags go over the git protocol: the API says who it is and what the token may do, git does the rest.
//!
//! Whether a Release is attached to a tag, git does not say; so a deletion is held unless `allow_release_loss` includes the
//! name. A move is one ref that changes, and leaves a Release where it is.

use async_trait::async_trait;

use super::GitLab;
use crate::provider::smart_http::SmartHttp;
use crate::provider::smart_http::keys::space_at;
use crate::provider::{Access, Change, Fact, Fault, Identity, NewTag, Provider};
use crate::tag::{Attachment, RemoteSnapshot, RemoteTag, TagName, Target, Value};

/// A project, and its repository.
#[derive(Debug)]
pub(super) struct OverGit {
    pub(super) api: GitLab,
    pub(super) remote: SmartHttp,
    /// Where the tags are, when only `git_url` says so.
    pub(super) place: Option<String>,
}

#[async_trait]
impl Provider for OverGit {
    async fn identity(&self) -> Result<Identity, Fault> {
        let Identity { space, access } = self.api.identity().await?;
        Ok(Identity { space: space_at(space, self.place.as_ref()), access })
    }

    /// A token may be good for the API and not for a push, or the other way round.
    async fn credential_access(&self) -> Result<Access, Fault> {
        self.remote.access().await
    }

    async fn list_tags(&self) -> Result<RemoteSnapshot, Fault> {
        Ok(self.remote.list_tags().await?.with_attachment(Attachment::Hidden))
    }

    async fn get_tag(&self, name: &TagName) -> Result<Option<RemoteTag>, Fault> {
        let tag = self.remote.get_tag(name).await?;
        Ok(tag.map(|tag| RemoteTag { attachment: Some(Attachment::Hidden), ..tag }))
    }

    async fn get_facts(&self, tag: &RemoteTag, signed: bool) -> Result<Vec<Fact>, Fault> {
        let mut facts = self.remote.get_facts(tag).await?;
        facts.extend(self.api.get_facts(tag, signed).await?);
        Ok(facts)
    }

    async fn has_target(&self, target: &Target) -> Result<bool, Fault> {
        self.remote.has_target(target).await
    }

    async fn create_tag(&self, new: &NewTag) -> Result<RemoteTag, Fault> {
        self.remote.create_tag(new).await
    }

    async fn delete_tag(&self, name: &TagName, lease: &Value) -> Result<(), Fault> {
        self.remote.delete_tag(name, lease).await
    }

    async fn move_tag(&self, name: &TagName, lease: &Value, to: &NewTag) -> Result<RemoteTag, Fault> {
        self.remote.move_tag(name, lease, to).await
    }

    fn changes_at_once(&self) -> usize {
        self.remote.changes_at_once()
    }

    async fn apply_batch(&self, changes: &[Change]) -> Vec<Result<Option<RemoteTag>, Fault>> {
        self.remote.apply_batch(changes).await
    }
}
