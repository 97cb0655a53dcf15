//! A project whose tags go over the git protocol: the API says who it is, and does what no push may do.
//!
//! Whether a Release is attached to a tag, git does not say; so a deletion is held unless `allow_release_loss` includes the
//! name. A move is one ref that changes, and leaves a Release where it is.

use async_trait::async_trait;

use super::GitLab;
use crate::provider::smart_http::{Host, SmartHttp};
use crate::provider::{Fact, Fault, Identity, Provider};
use crate::tag::{Attachment, RemoteTag};

#[async_trait]
impl Host for GitLab {
    async fn identity(&self, _remote: &SmartHttp) -> Result<Identity, Fault> {
        Provider::identity(self).await
    }

    fn attachment(&self) -> Option<Attachment> {
        Some(Attachment::Hidden)
    }

    /// "You can only delete protected tags using the web interface", a push is told, and the API is let
    /// (2026-11-21, `lib/gitlab/checks/tag_check.rb`).
    fn deletes_protected(&self) -> Option<&dyn Provider> {
        Some(self)
    }

    async fn get_facts(&self, tag: &RemoteTag, signed: bool) -> Result<Vec<Fact>, Fault> {
        Provider::get_facts(self, tag, signed).await
    }
}
