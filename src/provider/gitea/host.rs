//! A repository whose tags go over the git protocol: the API says who it is, and whether a Release is attached to a tag.
//!
//! A push may delete what the API refuses to: the tag of a Release, which becomes a draft by that and stays one when the tag comes
//! back (2026-11-21, <https://github.com/go-gitea/gitea/issues/32427>).

use async_trait::async_trait;

use super::Gitea;
use crate::provider::smart_http::{Host, SmartHttp};
use crate::provider::{Fault, Identity, Provider};
use crate::tag::{Attachment, TagName};

#[async_trait]
impl Host for Gitea {
    async fn identity(&self, _remote: &SmartHttp) -> Result<Identity, Fault> {
        Provider::identity(self).await
    }

    fn attachment(&self) -> Option<Attachment> {
        Some(Attachment::Unlisted)
    }

    async fn attachment_of(&self, name: &TagName) -> Result<Option<Attachment>, Fault> {
        Self::attachment_of(self, name).await
    }
}
