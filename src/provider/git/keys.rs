//! The keys of a `[remote.NAME]` with `provider = "git"`.

use std::sync::Arc;

use async_trait::async_trait;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Deserialize;
use toml::Spanned;
use url::Url;

use super::host::Git;
use crate::config::{Problems, SecretSource, Table};
use crate::http::Authorization;
use crate::provider::smart_http::keys::refuses_user;
use crate::provider::smart_http::{Events, Hosted, Pushes, SmartHttp};
use crate::provider::{Connection, Fault, Provider, RemoteKeys};
use crate::tag::TagName;

/// The keys as they stand in the file.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Written {
    /// The repository: the URL that `git clone` takes, over http or https, without user and password.
    #[schemars(with = "String")]
    url: Option<Spanned<String>>,
    /// Who logs in. Hosts that take an access token as the password mostly ignore the name, and still want one.
    #[schemars(with = "Option<String>", length(min = 1))]
    username: Option<Spanned<String>>,
    /// Where the password, or the access token in its place, is kept. Default: none; what anybody may read can then be read, and everything to do there is held.
    #[schemars(with = "Option<SecretSource>")]
    password: Option<Spanned<SecretSource>>,
    /// Whether every tag raises the events of the host (webhooks, pipelines), which takes a push for every three of them.
    #[schemars(with = "Option<Events>", extend("default" = "quiet"))]
    events: Option<Events>,
    /// Whether the history that a tag leads to is pushed with it, where the remote lacks it. Otherwise such a tag waits.
    #[serde(default)]
    objects: bool,
}

/// A repository's keys, checked.
#[derive(Clone, Debug)]
pub struct Keys {
    url: Url,
    login: Option<(String, SecretSource)>,
    pushes: Pushes,
}

pub(super) fn read(table: Table, problems: &mut Problems) -> Option<Arc<dyn RemoteKeys>> {
    let (span, allow_http) = (table.span(), table.allow_http());
    let written: Written = table.read(problems);
    let before = problems.len();
    let hint = "the one that `git clone` takes, like \"https://git.example.com/infra/core.git\"";
    let url = problems.required(span.clone(), "url", written.url, Some(hint)).and_then(|url| {
        let checked = problems.base_url(Some(&url), "", allow_http)?;
        if checked.path() == "/" {
            problems.push(url.span(), "`url` names a server and no repository", Some(hint));
        }
        Some(checked)
    });
    let login = match (written.username, written.password) {
        (None, None) => None,
        (Some(name), Some(password)) => {
            if let Some(reason) = refuses_user(name.get_ref()) {
                problems.push(
                    name.span(),
                    format!("`username` {reason}"),
                    Some("the name alone; the password has a key of its own"),
                );
            }
            Some((name.into_inner(), password.into_inner()))
        }
        (Some(_), None) => {
            problems.required::<()>(span, "password", None, Some("where the password or the access token is kept"));
            None
        }
        (None, Some(_)) => {
            let hint = "hosts that take an access token as the password mostly accept any name, like \"git\"";
            problems.required::<()>(span, "username", None, Some(hint));
            None
        }
    };
    let pushes = Pushes { events: written.events.unwrap_or_default(), objects: written.objects };
    let url = url?;
    (problems.len() == before).then(|| {
        let keys: Arc<dyn RemoteKeys> = Arc::new(Keys { url, login, pushes });
        keys
    })
}

pub(super) fn schema(generator: &mut SchemaGenerator) -> Schema {
    Written::json_schema(generator)
}

impl Keys {
    /// A repository that anybody may read.
    pub fn new(url: Url) -> Self {
        Self { url, login: None, pushes: Pushes::default() }
    }

    /// The same, with a login.
    #[must_use]
    pub fn with_login(self, username: &str, password: SecretSource) -> Self {
        Self { login: Some((username.to_owned(), password)), ..self }
    }
}

#[async_trait]
impl RemoteKeys for Keys {
    fn describe(&self) -> String {
        self.url.as_str().to_owned()
    }

    /// Nothing is attached to a ref that its host would show by the protocol.
    fn allows_loss(&self, _name: &TagName) -> bool {
        false
    }

    async fn connect(&self, connection: Connection) -> Result<Arc<dyn Provider>, Fault> {
        let authorization = match &self.login {
            None => None,
            Some((username, source)) => {
                let password = source.read().await?;
                Some(Authorization::basic(username, &password)?)
            }
        };
        let remote = SmartHttp::connect(&connection, &self.url, authorization, self.pushes).await?;
        Ok(Arc::new(Hosted::new(Git::new(&self.url), remote, None)))
    }
}
