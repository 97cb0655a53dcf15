//! The keys of a `[remote.NAME]` with `provider = "gitlab"`.

use std::sync::Arc;

use async_trait::async_trait;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Deserialize;
use toml::Spanned;
use url::Url;

use super::{GitLab, OVER_GIT};
use crate::config::{Problems, SecretSource, Table};
use crate::http::{Authorization, Client};
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
    #[schemars(with = "Option<String>", extend("default" = DEFAULT_URL))]
    url: Option<Spanned<String>>,
    /// The project's path, `"group/project"`, or its number.
    #[schemars(with = "String", length(min = 1))]
    project: Option<Spanned<String>>,
    /// Where the access token is kept, one with the `api` scope. Default: none; a public project can then be read, and everything to do there is held.
    token: Option<SecretSource>,
    /// Whether a delete or a move may destroy the Release attached to a tag; otherwise it is held.
    #[schemars(with = "Option<WrittenLoss>", extend("default" = false))]
    allow_release_loss: Option<Spanned<WrittenLoss>>,
    /// How tags are read and written: by the REST API, which makes its own tag objects, or by the git protocol, which keeps every byte. Who the project is says the API in both cases.
    #[schemars(with = "Option<String>", extend("enum" = [API, GIT], "default" = API))]
    transport: Option<Spanned<String>>,
    /// With `transport = "git"`: the repository. Default: `url`, `project` and `.git`.
    #[schemars(with = "Option<String>")]
    git_url: Option<Spanned<String>>,
    /// With `transport = "git"`: who logs in with the token; GitLab takes any name with most kinds of tokens.
    #[schemars(with = "Option<String>", length(min = 1), extend("default" = USERNAME))]
    username: Option<Spanned<String>>,
    /// With `transport = "git"`: whether every tag raises the events of the host (webhooks, pipelines), which takes a push for every three of them.
    #[schemars(with = "Option<Events>", extend("default" = "quiet"))]
    events: Option<Spanned<Events>>,
    /// With `transport = "git"`: whether the history that a tag leads to is pushed with it, where the remote lacks it. Otherwise such a tag waits.
    #[schemars(with = "Option<bool>", extend("default" = false))]
    objects: Option<Spanned<bool>>,
}

const DEFAULT_URL: &str = "https://gitlab.com";

/// What OAuth tokens have to be called, and any other may be (2026-11-21,
/// <https://docs.gitlab.com/api/oauth2/#access-git-over-https-with-access-token>).
const USERNAME: &str = "oauth2";

/// A GitLab project's keys, checked.
#[derive(Clone, Debug)]
pub struct Keys {
    url: Url,
    project: String,
    token: Option<SecretSource>,
    release_loss: ReleaseLoss,
    git: Option<transport::OverGit>,
}

pub(super) fn read(table: Table, problems: &mut Problems) -> Option<Arc<dyn RemoteKeys>> {
    let (span, allow_http) = (table.span(), table.allow_http());
    let written: Written = table.read(problems);
    let url = problems.base_url(written.url.as_ref(), DEFAULT_URL, allow_http);
    let project = problems
        .required(span.clone(), "project", written.project, Some("the project's path, `group/project`, or its number"))
        .and_then(|project| match check_project(project.get_ref()) {
            Ok(()) => Some(project.into_inner()),
            Err(reason) => {
                let hint = "the path as in the project's address, `group/project`, or its number";
                problems.push(project.span(), format!("`project` {reason}"), Some(hint));
                None
            }
        });
    let release_loss = ReleaseLoss::read(written.allow_release_loss, problems);
    let derived = match (&url, &project) {
        (Some(url), Some(project)) if !project.bytes().all(|byte| byte.is_ascii_digit()) => git_url(url, project),
        // A problem of its own already.
        (None, _) | (_, None) => Url::parse(DEFAULT_URL).map_err(|_| ""),
        (Some(_), Some(_)) => {
            Err("with a number as `project` the repository's address is not known: the one that `git clone` takes")
        }
    };
    let Written { transport, git_url, username, events, objects, .. } = written;
    let git = WrittenTransport { transport, git_url, username, events, objects }.read(
        span,
        derived,
        Ok(USERNAME.to_owned()),
        allow_http,
        problems,
    );
    let (url, project, release_loss, git) = (url?, project?, release_loss?, git?);
    Some(Arc::new(Keys { url, project, token: written.token, release_loss, git }))
}

/// Where the repository of a project is.
fn git_url(server: &Url, project: &str) -> Result<Url, &'static str> {
    let mut url = server.clone();
    url.set_path(&format!("{}/{project}.git", server.path().trim_end_matches('/')));
    Ok(url)
}

pub(super) fn schema(generator: &mut SchemaGenerator) -> Schema {
    Written::json_schema(generator)
}

impl Keys {
    /// A project with everything else at its default. The reason when `project` cannot be one.
    pub fn new(url: Url, project: &str, token: Option<SecretSource>) -> Result<Self, String> {
        check_project(project).map_err(|reason| format!("`project` {reason}"))?;
        Ok(Self { url, project: project.to_owned(), token, release_loss: ReleaseLoss::default(), git: None })
    }
}

/// Why a text cannot be a project.
fn check_project(project: &str) -> Result<(), String> {
    if project.is_empty() {
        return Err("is empty".into());
    }
    if project.contains("://") {
        return Err("is an address; the host belongs into `url`".into());
    }
    if project.starts_with('/') || project.ends_with('/') {
        return Err("must not begin or end with a slash".into());
    }
    if project.contains("//") {
        return Err("has an empty part".into());
    }
    match crate::http::path_refuses(project.as_bytes()) {
        Some(reason) => Err(format!("cannot stand in a URL: {reason}")),
        None => Ok(()),
    }
}

#[async_trait]
impl RemoteKeys for Keys {
    fn describe(&self) -> String {
        format!("{} {}", self.url.as_str().trim_end_matches('/'), crate::text::Printable::new(&self.project))
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
            Some(source) => {
                let token = source.read().await?;
                Some(token)
            }
        };
        let authorization = token.as_ref().map(Authorization::bearer).transpose()?;
        let mut base = self.url.clone();
        base.set_path(&format!("{}/api/v4", self.url.path().trim_end_matches('/')));
        let anonymous = authorization.is_none();
        let client = Client::new(&connection.transport, base, authorization).await?;
        let compares = connection.compare_annotations;
        let api = GitLab::new(client, &self.url, self.project.clone(), anonymous, compares);
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
    fn projects_are_paths_or_numbers() {
        for good in ["infra/core", "a/b/c.d-e", "42"] {
            assert_eq!(check_project(good), Ok(()), "{good}");
        }
        for bad in ["", "/infra/core", "infra/core/", "a//b", "a/../b", "a/%2e%2e/b", "https://gitlab.com/a/b"] {
            assert!(check_project(bad).is_err(), "{bad}");
        }
    }
}
