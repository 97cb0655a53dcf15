//! `[notify]`: who is told when a pair of a repository and a remote changes its state.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use toml::Spanned;
use url::Url;

use super::document::Table;
use super::duration::WrittenDuration;
use super::problem::{Problems, address};
use super::remote::absolute;
use super::secret::{SecretFault, SecretSource};

/// How long a state lasts before it is told again.
const REPEAT: Duration = Duration::from_secs(24 * 60 * 60);

/// `[notify]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NotifySettings {
    /// A program that gets each message: itself, then its arguments.
    pub command: Option<Vec<String>>,
    /// Where each message is sent.
    pub url: Option<Address>,
    /// What proves there who we are.
    pub token: Option<SecretSource>,
    /// How long a state lasts before it is told again; `None` when it is told once.
    pub repeat: Option<Duration>,
    /// What is called after each round in which nothing failed.
    pub heartbeat: Option<Address>,
    /// A file with certificates (PEM) of authorities that are trusted besides the system's.
    pub ca_file: Option<PathBuf>,
}

/// Where something is sent. Such an address often is a secret: whoever knows it may send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// It stands in the file.
    Plain(Url),
    /// It is kept elsewhere.
    Secret(SecretSource),
}

impl Address {
    /// The address, and it again as the secret that it may be.
    pub async fn read(&self) -> Result<(Url, SecretString), SecretFault> {
        match self {
            Self::Plain(url) => Ok((url.clone(), url.as_str().to_owned().into())),
            Self::Secret(source) => {
                let secret = source.read().await?;
                let unusable = |(message, hint): (&str, &str)| SecretFault {
                    message: format!("what {source} holds cannot be used as an address: {message}"),
                    hint: Some(hint.to_owned()),
                };
                Ok((address(secret.expose_secret()).map_err(unusable)?, secret))
            }
        }
    }
}

/// Whom to tell when a pair of a repository and a remote changes its state. Only the daemon tells anybody.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NotifyKeys {
    /// A program and its arguments, started without a shell for each message, which it reads as JSON from its standard input. It has 30 seconds. Default: none.
    #[schemars(with = "Option<Vec<String>>", length(min = 1))]
    command: Option<Spanned<Vec<String>>>,
    /// A URL to which each message is sent as JSON with POST; or where that URL is kept, when it is a secret. Default: none.
    #[schemars(with = "Option<WrittenAddress>")]
    url: Option<Spanned<WrittenAddress>>,
    /// Where a token is kept that goes to `url` as `Authorization: Bearer`. Default: none.
    #[schemars(with = "Option<SecretSource>")]
    token: Option<Spanned<SecretSource>>,
    /// How long something stays held or failing before it is told again; `"0s"` for never.
    #[schemars(extend("default" = WrittenDuration(REPEAT)))]
    repeat: Option<WrittenDuration>,
    /// A URL that is called with GET after each round in which nothing failed; or where it is kept. Default: none.
    #[schemars(with = "Option<WrittenAddress>")]
    heartbeat: Option<Spanned<WrittenAddress>>,
    /// A PEM file with certificates to trust besides the system's, an absolute path. Default: none.
    #[schemars(with = "Option<String>", regex(pattern = "^/"))]
    ca_file: Option<Spanned<String>>,
}

/// Reads the table.
pub(super) fn read(table: Table<'_>, problems: &mut Problems) -> NotifySettings {
    let keys: NotifyKeys = table.read(problems);
    if let Some(token) = &keys.token
        && keys.url.is_none()
    {
        problems.push(token.span(), "there is a `token` and no `url` to send it to", None);
    }
    let command = keys.command.and_then(|written| {
        let runnable = written.get_ref().first().is_some_and(|program| !program.is_empty());
        if !runnable {
            let hint = "`command = [\"/usr/local/bin/page\", \"--team\", \"release\"]`";
            problems.push(written.span(), "a command is the program and its arguments, each a string", Some(hint));
        }
        runnable.then(|| written.into_inner())
    });
    NotifySettings {
        command,
        url: keys.url.and_then(|written| plain_or_secret(written, problems)),
        token: keys.token.map(Spanned::into_inner),
        repeat: keys.repeat.map_or(Some(REPEAT), |written| Some(written.0).filter(|repeat| !repeat.is_zero())),
        heartbeat: keys.heartbeat.and_then(|written| plain_or_secret(written, problems)),
        ca_file: keys.ca_file.and_then(|written| absolute(&written, problems)),
    }
}

fn plain_or_secret(written: Spanned<WrittenAddress>, problems: &mut Problems) -> Option<Address> {
    let span = written.span();
    match written.into_inner() {
        WrittenAddress::Secret(source) => Some(Address::Secret(source)),
        WrittenAddress::Plain(text) => match address(&text) {
            Ok(url) => Some(Address::Plain(url)),
            Err((message, hint)) => {
                problems.push(span, message, Some(hint));
                None
            }
        },
    }
}

/// An address as written: a text, or a table that says where it is kept.
#[derive(Debug)]
enum WrittenAddress {
    Plain(String),
    Secret(SecretSource),
}

impl<'de> Deserialize<'de> for WrittenAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Written;
        impl<'de> Visitor<'de> for Written {
            type Value = WrittenAddress;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a URL, or a table that says where it is kept")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<WrittenAddress, E> {
                Ok(WrittenAddress::Plain(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<WrittenAddress, A::Error> {
                SecretSource::deserialize(MapAccessDeserializer::new(map)).map(WrittenAddress::Secret)
            }
        }
        deserializer.deserialize_any(Written)
    }
}

impl JsonSchema for WrittenAddress {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Address".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [
                { "type": "string", "pattern": "^[Hh][Tt][Tt][Pp][Ss]?://" },
                generator.subschema_for::<SecretSource>(),
            ]
        })
    }
}
