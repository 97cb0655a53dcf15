//! One method per operation, each of which the protocol has.

use async_trait::async_trait;
use url::Url;

use crate::provider::smart_http::SmartHttp;
use crate::provider::smart_http::keys::place_of;
use crate::provider::{Change, Fact, Fault, Identity, NewTag, Provider};
use crate::tag::{RemoteSnapshot, RemoteTag, TagName, Target, Value};

/// A repository over smart HTTP.
#[derive(Debug)]
pub struct Git {
    remote: SmartHttp,
    /// Server and path, which is all that is known of who the repository is.
    space: String,
}

impl Git {
    pub(super) fn new(remote: SmartHttp, url: &Url) -> Self {
        Self { remote, space: format!("git:{}", place_of(url)) }
    }
}

#[async_trait]
impl Provider for Git {
    async fn identity(&self) -> Result<Identity, Fault> {
        Ok(Identity { space: self.space.clone(), access: self.remote.access().await? })
    }

    async fn list_tags(&self) -> Result<RemoteSnapshot, Fault> {
        self.remote.list_tags().await
    }

    async fn get_tag(&self, name: &TagName) -> Result<Option<RemoteTag>, Fault> {
        self.remote.get_tag(name).await
    }

    async fn get_facts(&self, tag: &RemoteTag, _signed: bool) -> Result<Vec<Fact>, Fault> {
        self.remote.get_facts(tag).await
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
