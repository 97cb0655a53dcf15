//! The keys of a `[remote.NAME]` with `provider = "gitea"`.

use std::sync::Arc;

use async_trait::async_trait;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Deserialize;
use toml::Spanned;
use url::Url;

use super::{Gitea, OVER_GIT};
use crate::config::{Problems, SecretSource, Table};
use crate::http::{Authorization, Client};
use crate::provider::owned::{self, OwnedRepository};
use crate::provider::release_loss::{ReleaseLoss, WrittenLoss};
use crate::provider::smart_http::keys::{self as transport, API, GIT, WrittenTransport};
use crate::provider::smart_http::{Events, Hosted, SmartHttp};
use crate::provider::{Capabilities, Connection, Fault, Provider, RemoteKeys};
use crate::tag::TagName;

/// The keys as they stand in the file.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Written {
    /// The server: a full URL, possibly with a path prefix, without user, password, query or fragment.
    #[schemars(with = "String")]
    url: Option<Spanned<String>>,
    /// The repository: `"owner/name"`.
    #[schemars(with = "String", length(min = 3))]
    repository: Option<Spanned<String>>,
    /// Where the access token is kept, one with the scope `write:repository`. Default: none; a public repository can then be read, and everything to do there is held.
    token: Option<SecretSource>,
    /// With `transport = "git"`: whether a delete may make a draft of the Release attached to a tag; otherwise it is held. The API never deletes such a tag.
    #[schemars(with = "Option<WrittenLoss>", extend("default" = false))]
    allow_release_loss: Option<Spanned<WrittenLoss>>,
    /// How tags are read and written: by the REST API, which makes its own tag objects, or by the git protocol, which keeps every byte. Who the repository is says the API in both cases.
    #[schemars(with = "Option<String>", extend("enum" = [API, GIT], "default" = API))]
    transport: Option<Spanned<String>>,
    /// With `transport = "git"`: the repository's address. Default: `url`, `repository` and `.git`.
    #[schemars(with = "Option<String>")]
    git_url: Option<Spanned<String>>,
    /// With `transport = "git"`: who logs in with the token; Gitea takes any name.
    #[schemars(with = "Option<String>", length(min = 1), extend("default" = USERNAME))]
    username: Option<Spanned<String>>,
    /// With `transport = "git"`: whether every tag raises the events of the host (webhooks, actions), which takes a push for every three of them.
    #[schemars(with = "Option<Events>", extend("default" = "quiet"))]
    events: Option<Spanned<Events>>,
    /// With `transport = "git"`: whether the history that a tag leads to is pushed with it, where the remote lacks it. Otherwise such a tag waits.
    #[schemars(with = "Option<bool>", extend("default" = false))]
    objects: Option<Spanned<bool>>,
}

/// Where a token is the password, the name is not looked at (2026-11-21, `services/auth/basic.go`).
const USERNAME: &str = "oauth2";

/// A repository's keys, checked.
#[derive(Clone, Debug)]
pub struct Keys {
    url: Url,
    repository: OwnedRepository,
    token: Option<SecretSource>,
    release_loss: ReleaseLoss,
    git: Option<transport::OverGit>,
}

pub(super) fn read(table: Table, problems: &mut Problems) -> Option<Arc<dyn RemoteKeys>> {
    let (span, allow_http) = (table.span(), table.allow_http());
    let written: Written = table.read(problems);
    let hint = "the server's address, like \"https://git.example.com\"";
    let url = problems
        .required(span.clone(), "url", written.url, Some(hint))
        .and_then(|url| problems.base_url(Some(&url), "", allow_http));
    let repository = OwnedRepository::read(span.clone(), written.repository, problems);
    let git_counts = written.transport.as_ref().is_some_and(|transport| transport.get_ref() == GIT);
    if let Some(loss) = written.allow_release_loss.as_ref().filter(|_| !git_counts) {
        let hint = "leave it out: the API refuses to delete a tag that a Release is attached to";
        problems.push(loss.span(), "`allow_release_loss` counts only with `transport = \"git\"`", Some(hint));
    }
    let release_loss = ReleaseLoss::read(written.allow_release_loss, problems);
    let derived = match (&url, &repository) {
        (Some(url), Some(repository)) => Ok(repository.git_url(url.clone())),
        (None, _) | (_, None) => Err(owned::HINT),
    };
    let is_known = derived.is_ok();
    let Written { transport, git_url, username, events, objects, .. } = written;
    let git = WrittenTransport { transport, git_url, username, events, objects };
    // Without them there is a problem already, and nothing to derive an address from.
    let git = if is_known { git.read(span, derived, Ok(USERNAME.to_owned()), allow_http, problems) } else { None };
    let (url, repository, release_loss, git) = (url?, repository?, release_loss?, git?);
    Some(Arc::new(Keys { url, repository, token: written.token, release_loss, git }))
}

pub(super) fn schema(generator: &mut SchemaGenerator) -> Schema {
    Written::json_schema(generator)
}

impl Keys {
    /// A repository with everything else at its default. The reason when `repository` cannot be one.
    pub fn new(url: Url, repository: &str, token: Option<SecretSource>) -> Result<Self, String> {
        let repository = OwnedRepository::parse(repository).map_err(|reason| format!("`repository` {reason}"))?;
        Ok(Self { url, repository, token, release_loss: ReleaseLoss::default(), git: None })
    }
}

#[async_trait]
impl RemoteKeys for Keys {
    fn describe(&self) -> String {
        format!("{} {}", self.url.as_str().trim_end_matches('/'), self.repository)
    }

    fn place(&self) -> String {
        match &self.git {
            Some(git) => git.url.to_string(),
            None => self.describe().replace(' ', "/"),
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
        // `token` in front is the older spelling; all versions in use take both.
        let authorization = token.as_ref().map(Authorization::bearer).transpose()?;
        let mut base = self.url.clone();
        base.set_path(&format!("{}/api/v1", self.url.path().trim_end_matches('/')));
        let anonymous = authorization.is_none();
        let client = Client::new(&connection.transport, base, authorization).await?;
        let compares = connection.compare_annotations;
        let api = Gitea::new(client, &self.url, self.repository.clone(), anonymous, compares);
        let Some(git) = &self.git else { return Ok(Arc::new(api)) };
        let login = token.as_ref().map(|token| Authorization::basic(&git.username, token)).transpose()?;
        let remote = SmartHttp::connect(&connection, &git.url, login, git.pushes).await?;
        Ok(Arc::new(Hosted::new(api, remote, git.place_elsewhere())))
    }
}
