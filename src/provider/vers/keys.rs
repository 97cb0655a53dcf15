//! The keys of a `[remote.NAME]` with `provider = "vers"`.

use std::sync::Arc;

use async_trait::async_trait;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Deserialize;
use toml::Spanned;
use url::Url;

use super::Vers;
use crate::config::{Problems, SecretSource, Table};
use crate::http::{Authorization, Client};
use crate::provider::{Connection, Fault, Provider, RemoteKeys};
use crate::tag::TagName;

/// The keys as they stand in the file.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Written {
    /// The server: a full URL, possibly with a path prefix, without user, password, query or fragment.
    #[schemars(with = "Option<String>", extend("default" = DEFAULT_URL))]
    url: Option<Spanned<String>>,
    /// The repository's name, without an organisation: the key says which one is meant.
    #[schemars(with = "String", length(min = 1))]
    repository: Option<Spanned<String>>,
    /// Where the API key is kept.
    #[schemars(with = "SecretSource")]
    token: Option<SecretSource>,
}

const DEFAULT_URL: &str = "https://api.vers.sh";

/// A repository's keys, checked.
#[derive(Clone, Debug)]
pub struct Keys {
    url: Url,
    repository: String,
    token: SecretSource,
}

pub(super) fn read(table: Table, problems: &mut Problems) -> Option<Arc<dyn RemoteKeys>> {
    let (span, allow_http) = (table.span(), table.allow_http());
    let written: Written = table.read(problems);
    let url = problems.base_url(written.url.as_ref(), DEFAULT_URL, allow_http);
    let repository = problems
        .required(
            span.clone(),
            "repository",
            written.repository,
            Some("the repository's name, without an organisation"),
        )
        .and_then(|repository| match check_repository(repository.get_ref()) {
            Ok(()) => Some(repository.into_inner()),
            Err(reason) => {
                let hint =
                    "the name alone: letters, digits, `-`, `_` and `.`; the key says which organisation is meant";
                problems.push(repository.span(), format!("`repository` {reason}"), Some(hint));
                None
            }
        });
    // Vers has public repositories, under other routes and without a way to write.
    let token =
        problems.required(span, "token", written.token, Some("where an API key is kept: nothing is shown without one"));
    Some(Arc::new(Keys { url: url?, repository: repository?, token: token? }))
}

pub(super) fn schema(generator: &mut SchemaGenerator) -> Schema {
    Written::json_schema(generator)
}

impl Keys {
    /// A repository of the organisation that the key stands for. The reason when `repository` cannot be one.
    pub fn new(url: Url, repository: &str, token: SecretSource) -> Result<Self, String> {
        check_repository(repository).map_err(|reason| format!("`repository` {reason}"))?;
        Ok(Self { url, repository: repository.to_owned(), token })
    }
}

/// Why a text cannot be a repository's name.
fn check_repository(repository: &str) -> Result<(), String> {
    if repository.is_empty() {
        return Err("is empty".into());
    }
    if repository.contains("://") {
        return Err("is an address; the host belongs into `url`".into());
    }
    if repository.contains('/') {
        return Err("has a slash".into());
    }
    if repository.contains(':') {
        return Err("has a colon; the tag behind it comes from the source".into());
    }
    if !repository.chars().all(|character| character.is_alphanumeric() || matches!(character, '-' | '_' | '.')) {
        return Err("has a character that no repository's name has".into());
    }
    match crate::http::path_refuses(repository.as_bytes()) {
        Some(reason) => Err(format!("cannot stand in a URL: {reason}")),
        None => Ok(()),
    }
}

#[async_trait]
impl RemoteKeys for Keys {
    fn describe(&self) -> String {
        format!("{} {}", self.url.as_str().trim_end_matches('/'), crate::text::Printable::new(&self.repository))
    }

    /// Nothing is attached to a tag of Vers.
    fn allows_loss(&self, _name: &TagName) -> bool {
        false
    }

    async fn connect(&self, connection: Connection) -> Result<Arc<dyn Provider>, Fault> {
        let token = self.token.read().await?;
        let mut base = self.url.clone();
        base.set_path(&format!("{}/api/v1", self.url.path().trim_end_matches('/')));
        // The server looks for exactly `Bearer `, capital letter and all (2026-11-21, read in its source).
        let client = Client::new(&connection.transport, base, Authorization::bearer(&token)?).await?;
        Ok(Arc::new(Vers::new(client, &self.url, self.repository.clone(), connection.compare_annotations)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_are_plain_names() {
        for good in ["core", "infra-core_2.x", "日本語"] {
            assert_eq!(check_repository(good), Ok(()), "{good}");
        }
        for bad in ["", ".", "..", "acme/core", "core:latest", "a b", "a%2e", "https://api.vers.sh/core", "a\u{202e}b"]
        {
            assert!(check_repository(bad).is_err(), "{bad}");
        }
    }
}
