//! The keys of a `[remote.NAME]` with `provider = "github"`.

use std::sync::Arc;

use async_trait::async_trait;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Deserialize;
use toml::Spanned;
use url::Url;

use super::{GitHub, LIMITS, OVER_GIT};
use crate::config::{Problems, SecretSource, Table};
use crate::http::{Authorization, Client};
use crate::provider::owned::OwnedRepository;
use crate::provider::release_loss::{ReleaseLoss, WrittenLoss};
use crate::provider::smart_http::keys::{self as transport, API, GIT, WrittenTransport};
use crate::provider::smart_http::{Events, Hosted, SmartHttp};
use crate::provider::{Capabilities, Connection, Fault, Provider, RemoteKeys};
use crate::tag::TagName;

/// The keys as they stand in the file.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Written {
    /// The API: a full URL, without user, password, query or fragment. That of a GitHub Enterprise Server ends in `/api/v3`.
    #[schemars(with = "Option<String>", extend("default" = DEFAULT_URL))]
    url: Option<Spanned<String>>,
    /// The repository: `"owner/name"`.
    #[schemars(with = "String", length(min = 3))]
    repository: Option<Spanned<String>>,
    /// Where the access token is kept: a fine-grained one with the permission `Contents: read and write`, or a classic one with the scope `repo`. Default: none; a public repository can then be read, and everything to do there is held.
    token: Option<SecretSource>,
    /// Whether a delete may make a draft of the Release attached to a tag; otherwise it is held.
    #[schemars(with = "Option<WrittenLoss>", extend("default" = false))]
    allow_release_loss: Option<Spanned<WrittenLoss>>,
    /// Whether writes over the API keep to the limits of github.com: one after the other, at most one a second and 500 an hour. Default: `true` for github.com and ghe.com, `false` for a GitHub Enterprise Server, where limits are off unless its administrator turned them on.
    #[schemars(with = "Option<bool>")]
    write_limits: Option<bool>,
    /// How tags are read and written: by the REST API, which cannot send signatures, or by the git protocol, which keeps every byte. Who the repository is says the API in both cases.
    #[schemars(with = "Option<String>", extend("enum" = [API, GIT], "default" = API))]
    transport: Option<Spanned<String>>,
    /// With `transport = "git"`: the repository's address. Default: that of its pages, as `url` and `repository` say, and `.git`.
    #[schemars(with = "Option<String>")]
    git_url: Option<Spanned<String>>,
    /// With `transport = "git"`: who logs in with the token; GitHub takes any name.
    #[schemars(with = "Option<String>", length(min = 1), extend("default" = USERNAME))]
    username: Option<Spanned<String>>,
    /// With `transport = "git"`: whether every tag raises the events of the host (webhooks, workflows), which takes a push for every three of them.
    #[schemars(with = "Option<Events>", extend("default" = "quiet"))]
    events: Option<Spanned<Events>>,
    /// With `transport = "git"`: whether the history that a tag leads to is pushed with it, where the remote lacks it. Otherwise such a tag waits.
    #[schemars(with = "Option<bool>", extend("default" = false))]
    objects: Option<Spanned<bool>>,
}

const DEFAULT_URL: &str = "https://api.github.com";

/// What the tokens of Apps have to be called, and any other may be (2026-11-21,
/// <https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app/authenticating-as-a-github-app-installation>).
const USERNAME: &str = "x-access-token";

/// A repository's keys, checked.
#[derive(Clone, Debug)]
pub struct Keys {
    url: Url,
    repository: OwnedRepository,
    token: Option<SecretSource>,
    release_loss: ReleaseLoss,
    write_limits: bool,
    git: Option<transport::OverGit>,
}

pub(super) fn read(table: Table, problems: &mut Problems) -> Option<Arc<dyn RemoteKeys>> {
    let (span, allow_http) = (table.span(), table.allow_http());
    let written: Written = table.read(problems);
    let mut url = problems.base_url(written.url.as_ref(), DEFAULT_URL, allow_http);
    if let (Some(given), Some(found)) = (&written.url, &url)
        && matches!(found.host_str(), Some("github.com" | "www.github.com"))
    {
        let hint = "the API of github.com is at https://api.github.com, which is the default";
        problems.push(given.span(), "this is where GitHub's pages are, not its API", Some(hint));
        url = None;
    }
    let repository = OwnedRepository::read(span.clone(), written.repository, problems);
    let release_loss = ReleaseLoss::read(written.allow_release_loss, problems);
    let Written { transport, git_url, username, events, objects, write_limits, .. } = written;
    let git = WrittenTransport { transport, git_url, username, events, objects };
    // Without them there is a problem already, and nothing to derive an address from.
    let git = match (&url, &repository) {
        (Some(url), Some(repository)) => {
            let pages = pages(url).map(|pages| repository.git_url(pages));
            let derived =
                pages.ok_or("where the repository is does not follow from `url`: the address that `git clone` takes");
            git.read(span, derived, Ok(USERNAME.to_owned()), allow_http, problems)
        }
        (None, _) | (_, None) => None,
    };
    let (url, repository, release_loss, git) = (url?, repository?, release_loss?, git?);
    let write_limits = write_limits.unwrap_or_else(|| is_cloud(&url));
    Some(Arc::new(Keys { url, repository, token: written.token, release_loss, write_limits, git }))
}

/// Where the pages of a server are, and its repositories, whose API is at `url`.
fn pages(url: &Url) -> Option<Url> {
    let mut pages = url.clone();
    if let Some(prefix) = url.path().strip_suffix("/api/v3") {
        pages.set_path(prefix);
        return Some(pages);
    }
    let host = url.host_str()?.strip_prefix("api.").filter(|_| url.path() == "/")?;
    pages.set_host(Some(host)).ok()?;
    Some(pages)
}

/// Whether a server is one of GitHub's own (2026-11-21, data residency: <https://docs.github.com/en/enterprise-cloud@latest/admin/data-residency>).
fn is_cloud(url: &Url) -> bool {
    url.host_str().is_some_and(|host| host == "api.github.com" || host.ends_with(".ghe.com"))
}

pub(super) fn schema(generator: &mut SchemaGenerator) -> Schema {
    Written::json_schema(generator)
}

impl Keys {
    /// A repository with everything else at its default. The reason when `repository` cannot be one.
    pub fn new(url: Url, repository: &str, token: Option<SecretSource>) -> Result<Self, String> {
        let repository = OwnedRepository::parse(repository).map_err(|reason| format!("`repository` {reason}"))?;
        let write_limits = is_cloud(&url);
        Ok(Self { url, repository, token, release_loss: ReleaseLoss::default(), write_limits, git: None })
    }
}

#[async_trait]
impl RemoteKeys for Keys {
    fn describe(&self) -> String {
        format!("{} {}", self.url.as_str().trim_end_matches('/'), self.repository)
    }

    /// The API is on a host of its own.
    fn place(&self) -> String {
        match (&self.git, pages(&self.url)) {
            (Some(git), _) => git.url.to_string(),
            (None, Some(pages)) => self.repository.git_url(pages).to_string(),
            (None, None) => self.describe().replace(' ', "/"),
        }
    }

    fn capabilities(&self) -> Option<&'static Capabilities> {
        self.git.as_ref().map(|_| &OVER_GIT)
    }

    fn allows_loss(&self, name: &TagName) -> bool {
        self.release_loss.allows(name)
    }

    async fn connect(&self, connection: Connection) -> Result<Arc<dyn Provider>, Fault> {
        let token = match &self.token {
            None => None,
            Some(source) => Some(source.read().await?),
        };
        let authorization = token.as_ref().map(Authorization::bearer).transpose()?;
        let anonymous = authorization.is_none();
        let mut client = Client::new(&connection.transport, self.url.clone(), authorization).await?;
        if self.write_limits {
            client = client.pacing_writes(LIMITS);
        }
        let api = GitHub::new(client, &connection, &self.url, self.repository.clone(), anonymous, self.write_limits);
        let Some(git) = &self.git else { return Ok(Arc::new(api)) };
        let login = token.as_ref().map(|token| Authorization::basic(&git.username, token)).transpose()?;
        let remote = SmartHttp::connect(&connection, &git.url, login, git.pushes).await?;
        Ok(Arc::new(Hosted::new(api, remote, git.place_elsewhere())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pages_follow_from_the_api() {
        for (api, expected, cloud) in [
            ("https://api.github.com", Some("https://github.com/a/b.git"), true),
            ("https://api.acme.ghe.com", Some("https://acme.ghe.com/a/b.git"), true),
            ("https://github.example.com/api/v3", Some("https://github.example.com/a/b.git"), false),
            ("https://example.com:8443/x/api/v3", Some("https://example.com:8443/x/a/b.git"), false),
            ("https://api.example.com/v3", None, false),
            ("http://127.0.0.1:8080", None, false),
        ] {
            let url: Url = api.parse().unwrap();
            let repository = OwnedRepository::parse("a/b").unwrap();
            let found = pages(&url).map(|pages| repository.git_url(pages).to_string());
            assert_eq!((found.as_deref(), is_cloud(&url)), (expected, cloud), "{api}");
        }
    }
}
