//! A repository that nobody says more about than git does.

use async_trait::async_trait;
use url::Url;

use crate::provider::smart_http::keys::place_of;
use crate::provider::smart_http::{Host, SmartHttp};
use crate::provider::{Fault, Identity};

/// Any host at all.
#[derive(Debug)]
pub(super) struct Git {
    /// Server and path, which is all that is known of who the repository is.
    space: String,
}

impl Git {
    pub(super) fn new(url: &Url) -> Self {
        Self { space: format!("git:{}", place_of(url)) }
    }
}

#[async_trait]
impl Host for Git {
    async fn identity(&self, remote: &SmartHttp) -> Result<Identity, Fault> {
        Ok(Identity { space: self.space.clone(), access: remote.access().await? })
    }
}
