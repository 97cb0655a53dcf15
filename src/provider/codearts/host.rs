//! A repository whose tags go over the git protocol: the API says who it is and what the user may do, git does the rest.

use async_trait::async_trait;

use super::CodeArts;
use crate::provider::smart_http::{Host, SmartHttp};
use crate::provider::{Fault, Identity, Provider};

#[async_trait]
impl Host for CodeArts {
    async fn identity(&self, _remote: &SmartHttp) -> Result<Identity, Fault> {
        Provider::identity(self).await
    }
}
