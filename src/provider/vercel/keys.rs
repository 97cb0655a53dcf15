//! The keys of a `[remote.NAME]` with `provider = "vercel"`.

use std::sync::Arc;

use async_trait::async_trait;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Deserialize;
use toml::Spanned;
use url::Url;

use super::Vercel;
use super::api::Place;
use crate::config::{Problems, SecretSource, Table};
use crate::http::{Authorization, Client, RegistryCredentials, path_refuses};
use crate::provider::distribution::{Image, image_refuses, read_realm};
use crate::provider::{Connection, Fault, Provider, RemoteKeys};
use crate::tag::TagName;

/// Vercel's own address for the API.
const DEFAULT_URL: &str = "https://api.vercel.com";

/// Vercel's own address for the registry.
const DEFAULT_REGISTRY: &str = "https://vcr.vercel.com";

/// The keys as they stand in the file.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = somebody_logs_in)]
struct Written {
    /// The API: a full URL, possibly with a path prefix, without user, password, query or fragment.
    #[schemars(with = "Option<String>", extend("default" = DEFAULT_URL))]
    url: Option<Spanned<String>>,
    /// The project's id, `"prj_…"`.
    #[schemars(with = "String", length(min = 1, max = 255))]
    project: Option<Spanned<String>>,
    /// The team's id, `"team_…"`, or its slug.
    #[schemars(with = "Option<String>", length(min = 1, max = 255))]
    team: Option<Spanned<String>>,
    /// The repository's id or its name in the project.
    #[schemars(with = "String", length(min = 1, max = 255))]
    repository: Option<Spanned<String>>,
    /// Where an access token is kept that reaches the team; it is the registry's password, too.
    #[schemars(with = "SecretSource")]
    token: Option<SecretSource>,
    /// The registry: a full URL.
    #[schemars(with = "Option<String>", extend("default" = DEFAULT_REGISTRY))]
    registry: Option<Spanned<String>>,
    /// The image's name in the registry, `"team-slug/project-slug/repository"`.
    #[schemars(with = "String", length(min = 1, max = 255))]
    image: Option<Spanned<String>>,
    /// Who logs in to the registry: the team's id. Default: `team`, when that is an id.
    #[schemars(with = "Option<String>", length(min = 1))]
    username: Option<Spanned<String>>,
    /// Another host, with its port unless that is the usual one, that may receive the registry's login in exchange for a token.
    #[schemars(with = "Option<String>")]
    realm: Option<Spanned<String>>,
}

/// The team's id has to stand somewhere.
fn somebody_logs_in(schema: &mut Schema) {
    schema.insert(
        "anyOf".to_owned(),
        serde_json::json!([
            { "required": ["username"] },
            { "required": ["team"], "properties": { "team": { "pattern": "^team_" } } },
        ]),
    );
}

pub(super) fn schema(generator: &mut SchemaGenerator) -> Schema {
    Written::json_schema(generator)
}

/// A repository's keys, checked.
#[derive(Clone, Debug)]
pub struct Keys {
    url: Url,
    place: Place,
    token: SecretSource,
    registry: Url,
    image: String,
    username: String,
    realm: Option<String>,
}

/// How ids of teams begin (2026-11-21, Vercel's own `vcr-action` tells ids from slugs by it).
const TEAM_ID: &str = "team_";

pub(super) fn read(table: Table, problems: &mut Problems) -> Option<Arc<dyn RemoteKeys>> {
    let (span, allow_http) = (table.span(), table.allow_http());
    let written: Written = table.read(problems);
    let url = problems.base_url(written.url.as_ref(), DEFAULT_URL, allow_http);
    let registry = problems.base_url(written.registry.as_ref(), DEFAULT_REGISTRY, allow_http);
    let mut plain = |key: &str, value: Option<Spanned<String>>, hint: &str| {
        let value = problems.required(span.clone(), key, value, Some(hint))?;
        match plain_refuses(value.get_ref()) {
            None => Some(value.into_inner()),
            Some(reason) => {
                problems.push(value.span(), format!("`{key}` {reason}"), Some(hint));
                None
            }
        }
    };
    let project = plain("project", written.project, "the project's id, `prj_…`, from its settings");
    let repository = plain("repository", written.repository, "the repository's name or id");
    let team_given = written.team.is_some();
    let team = match written.team {
        None => Some(None),
        Some(team) => plain("team", Some(team), "the team's id, `team_…`, or its slug").map(Some),
    };
    let username_hint = "the team's id, `team_…`, which the registry takes as the user's name";
    let username = match (written.username, &team) {
        (Some(username), _) if username.get_ref().is_empty() || username.get_ref().contains(is_unfit) => {
            problems.push(username.span(), "`username` cannot be the name of a login", Some(username_hint));
            None
        }
        (Some(username), _) => Some(username.into_inner()),
        (None, Some(Some(team))) if team.starts_with(TEAM_ID) => Some(team.clone()),
        // A team that could not be read might have been an id.
        (None, None) if team_given => None,
        (None, _) => problems.required(span.clone(), "username", None, Some(username_hint)),
    };
    let image_hint = "`team-slug/project-slug/repository`, as in the image's address";
    let image = problems.required(span.clone(), "image", written.image, Some(image_hint));
    let image = image.and_then(|image| match vcr_image_refuses(image.get_ref()) {
        None => Some(image.into_inner()),
        Some(reason) => {
            problems.push(image.span(), format!("`image` {reason}"), Some(image_hint));
            None
        }
    });
    let realm = match written.realm {
        None => Some(None),
        Some(realm) => read_realm(&realm, problems).map(Some),
    };
    let token = problems.required(span, "token", written.token, Some("an access token that reaches the team"));
    let team = team?.map(|team| (if team.starts_with(TEAM_ID) { "teamId" } else { "slug" }, team));
    let place = Place { project: project?, team, repository: repository? };
    let (url, token, registry, image) = (url?, token?, registry?, image?);
    Some(Arc::new(Keys { url, place, token, registry, image, username: username?, realm: realm? }))
}

impl Keys {
    /// A repository of a team that is named by its id, on these servers.
    pub fn new(
        url: Url,
        registry: Url,
        project: &str,
        team_id: &str,
        repository: &str,
        image: &str,
        token: SecretSource,
    ) -> Self {
        let place = Place {
            project: project.to_owned(),
            team: Some(("teamId", team_id.to_owned())),
            repository: repository.to_owned(),
        };
        let (image, username) = (image.to_owned(), team_id.to_owned());
        Self { url, place, token, registry, image, username, realm: None }
    }
}

fn is_unfit(character: char) -> bool {
    character == ':' || character.is_control()
}

/// Why a text cannot be an id, a slug or a name.
fn plain_refuses(text: &str) -> Option<&'static str> {
    if text.is_empty() {
        return Some("is empty");
    }
    if text.contains('/') {
        return Some("has a slash, which no id and no name here has");
    }
    if text.contains(|character: char| character.is_control() || character.is_whitespace()) {
        return Some("has white space in it");
    }
    if text.len() > 255 {
        return Some("is longer than 255 characters");
    }
    path_refuses(text.as_bytes()).map(|_| "cannot stand in a URL")
}

fn vcr_image_refuses(image: &str) -> Option<&'static str> {
    if let Some(reason) = image_refuses(image) {
        return Some(reason);
    }
    (image.split('/').count() != 3)
        .then_some("has three parts: the team's slug, the project's and the repository's name")
}

#[async_trait]
impl RemoteKeys for Keys {
    fn describe(&self) -> String {
        let registry = self.registry.as_str().trim_end_matches('/');
        format!("{registry} {}", crate::text::Printable::new(&self.image))
    }

    fn allows_loss(&self, _name: &TagName) -> bool {
        false
    }

    async fn connect(&self, connection: Connection) -> Result<Arc<dyn Provider>, Fault> {
        let token = self.token.read().await?;
        let rest = Client::new(&connection.transport, self.url.clone(), Authorization::bearer(&token)?).await?;
        // The registry takes the login along with the first request (2026-11-21, seen in public clients); what its
        // challenge names is not documented, so both Basic and tokens are answered.
        let login = Authorization::basic(&self.username, &token)?;
        let credentials = RegistryCredentials::new(&connection.transport, &self.registry, Some(login));
        let credentials = credentials.basic_first().shared(&self.image);
        let credentials = match &self.realm {
            Some(host) => credentials.allow_realm(host),
            None => credentials,
        };
        let registry = Client::new(&connection.transport, self.registry.clone(), credentials).await?;
        Ok(Arc::new(Vercel::new(rest, &self.url, self.place.clone(), Image::new(registry, &self.image))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_has_three_parts() {
        assert_eq!(vcr_image_refuses("acme/shop/core"), None);
        for bad in ["core", "acme/core", "acme/shop/core/x", "acme/Shop/core", "vcr.vercel.com/acme/shop/core", ""] {
            assert!(vcr_image_refuses(bad).is_some(), "{bad}");
        }
    }

    #[test]
    fn ids_and_names_are_one_segment() {
        for good in ["prj_123", "core", "my.app-1"] {
            assert_eq!(plain_refuses(good), None, "{good}");
        }
        for bad in ["", "a/b", "..", "%2e%2e", "a b", "a\n", &"x".repeat(256)] {
            assert!(plain_refuses(bad).is_some(), "{bad:?}");
        }
    }
}
