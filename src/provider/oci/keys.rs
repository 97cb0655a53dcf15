//! The keys of a `[remote.NAME]` with `provider = "oci"`.

use std::sync::Arc;

use async_trait::async_trait;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Deserialize;
use toml::Spanned;
use url::Url;

use super::{DELETING, Registry};
use crate::config::{Problems, SecretSource, Table};
use crate::http::{Authorization, Client, Credential, RegistryCredentials};
use crate::provider::distribution::{image_refuses, read_realm};
use crate::provider::{Capabilities, Connection, Fault, Provider, RemoteKeys};
use crate::tag::TagName;

/// The keys as they stand in the file.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = one_login)]
struct Written {
    /// The registry: a full URL, possibly with a path prefix, without user, password, query or fragment.
    #[schemars(with = "String")]
    registry: Option<Spanned<String>>,
    /// The image's name in the registry, `"team/app"`, without a host and without a tag.
    #[schemars(with = "String", length(min = 1, max = 255))]
    image: Option<Spanned<String>>,
    /// Who logs in; goes with `password`. Default: nobody.
    #[schemars(with = "Option<String>", length(min = 1))]
    username: Option<Spanned<String>>,
    /// Where the password of `username` is kept, or an access token in its place.
    password: Option<SecretSource>,
    /// Where a token is kept that the registry takes as it is, instead of a login.
    token: Option<SecretSource>,
    /// Another host, with its port unless that is the usual one, that may receive the login in exchange for a token.
    #[schemars(with = "Option<String>")]
    realm: Option<Spanned<String>>,
    /// Whether tags are ever deleted. `tag` is for registries that delete a tag by its name and leave the manifest and its other tags.
    #[schemars(with = "Option<WrittenDeletes>", extend("default" = "never"))]
    deletes: Option<WrittenDeletes>,
}

/// A login is whole, and excludes a token.
fn one_login(schema: &mut Schema) {
    schema.insert(
        "dependentRequired".to_owned(),
        serde_json::json!({ "username": ["password"], "password": ["username"] }),
    );
    schema.insert("not".to_owned(), serde_json::json!({ "required": ["token", "username"] }));
}

/// `deletes` of a remote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum WrittenDeletes {
    #[default]
    Never,
    Tag,
}

pub(super) fn schema(generator: &mut SchemaGenerator) -> Schema {
    Written::json_schema(generator)
}

/// Who asks.
#[derive(Clone, Debug)]
enum Login {
    Nobody,
    Password { username: String, password: SecretSource },
    Token(SecretSource),
}

/// An image's keys, checked.
#[derive(Clone, Debug)]
pub struct Keys {
    registry: Url,
    image: String,
    login: Login,
    realm: Option<String>,
    deletes: bool,
}

pub(super) fn read(table: Table, problems: &mut Problems) -> Option<Arc<dyn RemoteKeys>> {
    let (span, allow_http) = (table.span(), table.allow_http());
    let written: Written = table.read(problems);
    let hint = "the registry's full URL, like \"https://registry.example.com\"";
    let registry = problems.required(span.clone(), "registry", written.registry, Some(hint));
    let registry = registry.and_then(|registry| problems.base_url(Some(&registry), "", allow_http));
    let image = problems.required(span.clone(), "image", written.image, Some("the image's name, `team/app`"));
    let image = image.and_then(|image| match image_refuses(image.get_ref()) {
        None => Some(image.into_inner()),
        Some(reason) => {
            problems.push(
                image.span(),
                format!("`image` {reason}"),
                Some("the image's name without the host and without a tag, `team/app`"),
            );
            None
        }
    });
    let forms = "`username` with `password`, or `token`, or none of them";
    let login = match (written.username, written.password, written.token) {
        (None, None, None) => Some(Login::Nobody),
        (None, None, Some(token)) => Some(Login::Token(token)),
        (Some(username), Some(password), None) => match username_refuses(username.get_ref()) {
            None => Some(Login::Password { username: username.into_inner(), password }),
            Some(reason) => {
                problems.push(username.span(), format!("`username` {reason}"), None);
                None
            }
        },
        // A half that is there and could not be read has a problem of its own.
        (Some(_), None, None) => problems.required(span, "password", None, Some(forms)),
        (None, Some(_), None) => problems.required(span, "username", None, Some(forms)),
        (username, _, Some(_)) => {
            let at = username.map_or(span, |username| username.span());
            problems.push(at, "`token` and a login with `username` and `password` exclude each other", Some(forms));
            None
        }
    };
    let realm = match written.realm {
        None => Some(None),
        Some(realm) if matches!(login, Some(Login::Token(_))) => {
            problems.push(
                realm.span(),
                "`realm` has no part in it: a `token` goes to the registry as it is",
                Some(forms),
            );
            None
        }
        Some(realm) => read_realm(&realm, problems).map(Some),
    };
    let deletes = written.deletes.unwrap_or_default() == WrittenDeletes::Tag;
    let (registry, image, login, realm) = (registry?, image?, login?, realm?);
    Some(Arc::new(Keys { registry, image, login, realm, deletes }))
}

impl Keys {
    /// An image that anybody may read, with everything else at its default. The reason when `image` cannot be one.
    pub fn new(registry: Url, image: &str) -> Result<Self, String> {
        match image_refuses(image) {
            Some(reason) => Err(format!("`image` {reason}")),
            None => Ok(Self { registry, image: image.to_owned(), login: Login::Nobody, realm: None, deletes: false }),
        }
    }

    /// The same with a login.
    #[must_use]
    pub fn with_login(self, username: &str, password: SecretSource) -> Self {
        Self { login: Login::Password { username: username.to_owned(), password }, ..self }
    }

    /// The same with a token that goes along as it is.
    #[must_use]
    pub fn with_token(self, token: SecretSource) -> Self {
        Self { login: Login::Token(token), ..self }
    }

    /// The same with a host that may receive the login for a token.
    #[must_use]
    pub fn with_realm(self, host: &str) -> Self {
        Self { realm: Some(host.to_ascii_lowercase()), ..self }
    }

    /// The same with `deletes = "tag"`.
    #[must_use]
    pub fn deleting(self) -> Self {
        Self { deletes: true, ..self }
    }
}

fn username_refuses(username: &str) -> Option<&'static str> {
    if username.is_empty() {
        return Some("is empty");
    }
    let unfit = |character: char| character == ':' || character.is_control();
    username.contains(unfit).then_some("holds a colon or a control character, which a login cannot carry")
}

#[async_trait]
impl RemoteKeys for Keys {
    fn describe(&self) -> String {
        format!("{} {}", self.registry.as_str().trim_end_matches('/'), crate::text::Printable::new(&self.image))
    }

    fn capabilities(&self) -> Option<&'static Capabilities> {
        self.deletes.then_some(&DELETING)
    }

    fn allows_loss(&self, _name: &TagName) -> bool {
        false
    }

    async fn connect(&self, connection: Connection) -> Result<Arc<dyn Provider>, Fault> {
        let exchanged = |login: Option<Authorization>| {
            let credentials =
                RegistryCredentials::new(&connection.transport, &self.registry, login).shared(&self.image);
            match &self.realm {
                Some(host) => credentials.allow_realm(host),
                None => credentials,
            }
        };
        let credential: Credential = match &self.login {
            Login::Nobody => exchanged(None).into(),
            Login::Password { username, password } => {
                let password = password.read().await?;
                exchanged(Some(Authorization::basic(username, &password)?)).into()
            }
            Login::Token(token) => Authorization::bearer(&token.read().await?)?.into(),
        };
        let client = Client::new(&connection.transport, self.registry.clone(), credential).await?;
        Ok(Arc::new(Registry::new(client, &self.registry, &self.image, self.deletes)))
    }
}
