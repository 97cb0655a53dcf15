//! A repository whose tags go over the git protocol: the API says who it is, and whether a Release is attached to a tag.

use async_trait::async_trait;

use super::GitHub;
use crate::provider::smart_http::{Host, SmartHttp};
use crate::provider::{Fault, Identity, Provider};
use crate::tag::{Attachment, TagName};

#[async_trait]
impl Host for GitHub {
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
