//! The keys of a `[remote.NAME]` with `provider = "codearts"`.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use toml::Spanned;
use url::Url;

use super::api::refused;
use super::sign::{DATE, Unsigned};
use super::wire::{WireTokenReply, token_request};
use super::{CodeArts, OVER_GIT};
use crate::config::{Problems, SecretSource, Table, nearest};
use crate::http::{Authorization, Client, Credential, ExchangedToken, Reply, SignedRequests, Token, Transport};
use crate::provider::smart_http::keys::{self as transport, API, GIT, WrittenTransport};
use crate::provider::smart_http::{Events, Hosted, SmartHttp};
use crate::provider::{Capabilities, Connection, Fault, FaultKind, Provider, RemoteKeys};
use crate::tag::TagName;

/// Where the API answers in each region; the first word differs (2026-11-21, `codeartsrepo_region.py` of
/// `huaweicloudsdkcodeartsrepo` 3.1.219).
const REGIONS: &[(&str, &str)] = &[
    ("af-north-1", "repo"),
    ("af-south-1", "repo"),
    ("ap-southeast-3", "codehub-ext"),
    ("cn-east-2", "codehub-ext"),
    ("cn-east-3", "codehub-ext"),
    ("cn-north-1", "codehub-ext"),
    ("cn-north-4", "codehub-ext"),
    ("cn-south-1", "codehub-ext"),
    ("cn-south-2", "codehub-ext"),
    ("cn-southwest-2", "codehub-ext"),
    ("eu-west-101", "codeartsrepo-ext"),
    ("la-north-2", "codehub-ext"),
    ("la-south-2", "codeartsrepo-ext"),
    ("me-east-1", "repo"),
    ("sa-brazil-1", "codehub-ext"),
    ("tr-west-1", "codeartsrepo-ext"),
];

/// How long a token is believed in whose end IAM does not tell. By the documentation it lives for 24 hours.
const LIFE: Duration = Duration::from_secs(60 * 60);

/// The keys as they stand in the file.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("allOf" = [
    { "oneOf": [{ "required": ["region"] }, { "required": ["url"] }] },
    { "oneOf": [{ "required": ["token"] }, { "required": ["access_key", "secret_key"] }, { "required": ["iam"] }] },
]))]
struct Written {
    /// The region of Huawei Cloud, which names the server. Either this or `url`.
    #[schemars(with = "Option<String>", extend("examples" = ["cn-north-4"]))]
    region: Option<Spanned<String>>,
    /// The server: a full URL, possibly with a path prefix, without user, password, query or fragment. Either this or `region`.
    #[schemars(with = "Option<String>")]
    url: Option<Spanned<String>>,
    /// The repository's number, also as text.
    #[schemars(with = "WrittenId")]
    repository_id: Option<Spanned<WrittenId>>,
    /// Where a token of IAM is kept that something else renews. Either this, or `access_key` with `secret_key`, or `iam`.
    #[schemars(with = "Option<SecretSource>")]
    token: Option<Spanned<SecretSource>>,
    /// The access key, which is no secret; requests are signed with the secret key that belongs to it.
    #[schemars(with = "Option<String>")]
    access_key: Option<Spanned<String>>,
    /// Where the secret key is kept that belongs to the access key.
    #[schemars(with = "Option<SecretSource>")]
    secret_key: Option<Spanned<SecretSource>>,
    /// A user of IAM, whose password is exchanged for tokens.
    #[schemars(with = "Option<WrittenIam>")]
    iam: Option<Spanned<WrittenIam>>,
    /// How tags are read and written: by the REST API, which makes its own tag objects, or by the git protocol, which keeps every byte and takes the password of `iam`. Who the repository is says the API in both cases.
    #[schemars(with = "Option<String>", extend("enum" = [API, GIT], "default" = API))]
    transport: Option<Spanned<String>>,
    /// With `transport = "git"`: the repository, as `git clone` takes it over https.
    #[schemars(with = "Option<String>")]
    git_url: Option<Spanned<String>>,
    /// With `transport = "git"`: who logs in. Default: the account's name, a slash, and the user's.
    #[schemars(with = "Option<String>", length(min = 1))]
    username: Option<Spanned<String>>,
    /// With `transport = "git"`: whether every tag raises the events of the host (webhooks, pipelines), which takes a push for every three of them.
    #[schemars(with = "Option<Events>", extend("default" = "quiet"))]
    events: Option<Spanned<Events>>,
    /// With `transport = "git"`: whether the history that a tag leads to is pushed with it, where the remote lacks it. Otherwise such a tag waits.
    #[schemars(with = "Option<bool>", extend("default" = false))]
    objects: Option<Spanned<bool>>,
}

/// A number, also as text, because `{repository}` may stand in it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected a number from 1 to 2147483647")]
enum WrittenId {
    /// A number.
    Number(#[schemars(range(min = 1, max = 2147483647))] i64),
    /// A number as text, or `{repository}`.
    Text(String),
}

/// `iam` as it stands in the file.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct WrittenIam {
    /// The address of IAM. Default: that of the region.
    #[schemars(with = "Option<String>")]
    url: Option<Spanned<String>>,
    /// The name of the account.
    #[schemars(with = "String", length(min = 1))]
    domain: Option<Spanned<String>>,
    /// The name of the user in the account.
    #[schemars(with = "String", length(min = 1))]
    user: Option<Spanned<String>>,
    /// Where the user's password is kept.
    #[schemars(with = "SecretSource")]
    password: Option<SecretSource>,
    /// The project that the tokens are for. Default: that of the region.
    #[schemars(with = "Option<String>", length(min = 1))]
    project: Option<Spanned<String>>,
}

/// How a remote proves who it is.
#[derive(Clone, Debug)]
pub enum Proof {
    /// A token that somebody else obtained.
    Token(SecretSource),
    /// An access key, which signs.
    Signature {
        /// The part of the key that is no secret.
        access_key: String,
        /// The part that is.
        secret_key: SecretSource,
    },
    /// A user's password, which IAM exchanges for a token.
    Iam(Iam),
}

/// What IAM is asked with.
#[derive(Clone, Debug)]
pub struct Iam {
    /// Where it is.
    pub url: Url,
    /// The account.
    pub domain: String,
    /// The user in it.
    pub user: String,
    /// Its password.
    pub password: SecretSource,
    /// The project that the token is for: a region's name, or that and a part of it.
    pub project: String,
}

/// A repository's keys, checked.
#[derive(Clone, Debug)]
pub struct Keys {
    url: Url,
    repository_id: u32,
    proof: Proof,
    git: Option<transport::OverGit>,
}

impl Keys {
    /// The reason when there can be no such repository.
    pub fn new(url: Url, repository_id: i64, proof: Proof) -> Result<Self, String> {
        Ok(Self { url, repository_id: check_id(repository_id)?, proof, git: None })
    }
}

pub(super) fn read(table: Table, problems: &mut Problems) -> Option<Arc<dyn RemoteKeys>> {
    let (span, allow_http) = (table.span(), table.allow_http());
    let written: Written = table.read(problems);
    let region = written.region.as_ref().map(|region| check_region(region, problems));
    let url = match (&written.url, region) {
        (Some(url), None) => problems.base_url(Some(url), "", allow_http),
        (Some(url), Some(_)) => {
            let hint = "leave one of them out: the region stands for the address that the vendor gives it";
            problems.push(url.span(), "`url` and `region` name the server twice", Some(hint));
            None
        }
        (None, Some(region)) => region.and_then(|(name, word)| address(&format!("{word}.{name}"))),
        (None, None) => {
            let hint = "the region's name, like \"cn-north-4\", or the server's address as `url`";
            problems.required::<Url>(span.clone(), "region", None, Some(hint))
        }
    };
    let hint = "the number in the repository's address, and in the answer of \"Querying All Repositories of a User\"";
    let id = problems.required(span.clone(), "repository_id", written.repository_id, Some(hint)).and_then(|id| {
        let number = match id.get_ref() {
            WrittenId::Number(number) => Ok(*number),
            WrittenId::Text(text) => text.parse().map_err(|_| "is not a number".to_owned()),
        };
        let checked = number.and_then(check_id);
        checked.map_err(|reason| problems.push(id.span(), format!("`repository_id` {reason}"), Some(hint))).ok()
    });
    let region_name = region.flatten().map(|(name, _)| name);
    let iam = written.iam.map(|iam| (iam.span(), read_iam(iam, region_name, allow_http, problems)));
    let signature = match (written.access_key, written.secret_key) {
        (None, None) => None,
        (Some(key), Some(secret)) => {
            let access_key = check_access_key(&key, problems);
            Some((key.span(), access_key.map(|access_key| (access_key, secret.into_inner()))))
        }
        (Some(key), None) => {
            problems.required::<()>(span.clone(), "secret_key", None, Some("an access key signs with its secret key"));
            Some((key.span(), None))
        }
        (None, Some(secret)) => {
            let hint = "the secret key signs, the access key says whose signature it is";
            problems.required::<()>(span.clone(), "access_key", None, Some(hint));
            Some((secret.span(), None))
        }
    };
    // Each with its place, and `None` for one with a problem of its own.
    let proofs = [
        written.token.map(|token| (token.span(), Some(Proof::Token(token.into_inner())))),
        signature
            .map(|(at, keys)| (at, keys.map(|(access_key, secret_key)| Proof::Signature { access_key, secret_key }))),
        iam.map(|(at, iam)| (at, iam.map(Proof::Iam))),
    ];
    let mut proofs = proofs.into_iter().flatten();
    const ONE: &str = "one of `token`, `access_key` with `secret_key`, and `iam`";
    let proof = match proofs.next() {
        None => problems.required(span.clone(), "token", None, Some(ONE)),
        Some((_, proof)) => {
            let before = problems.len();
            for (at, _) in proofs {
                problems.push(at, "this remote has more than one credential", Some(ONE));
            }
            proof.filter(|_| problems.len() == before)
        }
    };
    let Written { transport, git_url, username, events, objects, .. } = written;
    let git_at = transport.as_ref().filter(|transport| transport.get_ref() == GIT).map(Spanned::span);
    if let (Some(at), Some(Proof::Token(_) | Proof::Signature { .. })) = (git_at, &proof) {
        let message = "git takes a password, and this remote has none";
        problems.push(at, message, Some("log in by `iam`, or use `provider = \"git\"` with a password of its own"));
        return None;
    }
    let user = match &proof {
        Some(Proof::Iam(iam)) => format!("{}/{}", iam.domain, iam.user),
        // A problem of its own, or nobody is to log in.
        Some(Proof::Token(_) | Proof::Signature { .. }) | None => "nobody".to_owned(),
    };
    let hint = "the address that `git clone` takes over https, as the repository's page shows it";
    let git = WrittenTransport { transport, git_url, username, events, objects }.read(
        span,
        Err(hint),
        Ok(user),
        allow_http,
        problems,
    );
    let (url, repository_id, proof, git) = (url?, id?, proof?, git?);
    Some(Arc::new(Keys { url, repository_id, proof, git }))
}

pub(super) fn schema(generator: &mut SchemaGenerator) -> Schema {
    Written::json_schema(generator)
}

/// A server of the vendor's.
fn address(name: &str) -> Option<Url> {
    Url::parse(&format!("https://{name}.myhuaweicloud.com")).ok()
}

fn check_region(written: &Spanned<String>, problems: &mut Problems) -> Option<(&'static str, &'static str)> {
    let region = REGIONS.iter().find(|(name, _)| name == written.get_ref()).copied();
    if region.is_none() {
        let all: Vec<_> = REGIONS.iter().map(|(name, _)| *name).collect();
        let hint = match nearest(written.get_ref(), all.iter().copied()) {
            Some(meant) => {
                format!("did you mean `{meant}`? A server that is none of the known regions' goes into `url`")
            }
            None => format!("give the server's address as `url`; known are {}", all.join(", ")),
        };
        problems.push(written.span(), "this region is not known", Some(&hint));
    }
    region
}

/// Why a number cannot be a repository's.
fn check_id(id: i64) -> Result<u32, String> {
    u32::try_from(id)
        .ok()
        .filter(|id| (1..=i32::MAX.unsigned_abs()).contains(id))
        .ok_or_else(|| "is not a number from 1 to 2147483647".to_owned())
}

/// An access key stands in a header, between commas.
fn check_access_key(written: &Spanned<String>, problems: &mut Problems) -> Option<String> {
    let key = written.get_ref();
    let fits = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',');
    if !fits {
        problems.push(written.span(), "this is not an access key", Some("letters and digits, about 20 of them"));
    }
    fits.then(|| key.clone())
}

fn read_iam(
    written: Spanned<WrittenIam>,
    region: Option<&str>,
    allow_http: bool,
    problems: &mut Problems,
) -> Option<Iam> {
    let span = written.span();
    let written = written.into_inner();
    let url = match (&written.url, region) {
        (Some(url), _) => problems.base_url(Some(url), "", allow_http),
        (None, Some(region)) => address(&format!("iam.{region}")),
        (None, None) => {
            let hint = "the address of IAM, like \"https://iam.cn-north-4.myhuaweicloud.com\"";
            problems.required(span.clone(), "url", None, Some(hint))
        }
    };
    let mut text = |key: &str, value: Option<Spanned<String>>, hint: &str| {
        let value = problems.required(span.clone(), key, value, Some(hint))?;
        if value.get_ref().is_empty() {
            problems.push(value.span(), format!("`{key}` is empty"), Some(hint));
            return None;
        }
        Some(value.into_inner())
    };
    let domain = text("domain", written.domain, "the name of the account");
    let user = text("user", written.user, "the name of an IAM user in the account; a HUAWEI ID obtains no tokens");
    let project = match (written.project, region) {
        (None, Some(region)) => Some(region.to_owned()),
        (project, _) => text("project", project, "the project that the token is for: mostly the region's name"),
    };
    let password = problems.required(span, "password", written.password, Some("where the user's password is kept"));
    Some(Iam { url: url?, domain: domain?, user: user?, password: password?, project: project? })
}

impl Proof {
    async fn credential(&self, transport: &Transport) -> Result<Credential, Fault> {
        match self {
            Self::Token(source) => Ok(Authorization::header("x-auth-token", &source.read().await?)?.into()),
            Self::Signature { access_key, secret_key } => {
                let secret_key = secret_key.read().await?;
                Ok(signing(access_key.clone(), secret_key).into())
            }
            Self::Iam(iam) => iam.credential(transport).await,
        }
    }
}

/// Signs every request at the time at which it is sent.
fn signing(access_key: String, secret_key: SecretString) -> SignedRequests {
    let identity = Authorization::unsent(&[&secret_key, &access_key.clone().into()]);
    SignedRequests::new(identity, move |ask| {
        let date = Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
        let unsigned = Unsigned {
            method: ask.method(),
            host: ask.host(),
            path: ask.path(),
            query: ask.query(),
            body: ask.body(),
            date: &date,
        };
        let signature = SecretString::from(unsigned.sign(&access_key, &secret_key));
        Authorization::header("authorization", &signature)?.and(DATE, &date)
    })
}

impl Iam {
    async fn credential(&self, transport: &Transport) -> Result<Credential, Fault> {
        let password = self.password.read().await?;
        let client = Client::new(transport, self.url.clone(), Authorization::unsent(&[&password])).await?;
        let Self { domain, user, project, .. } = self.clone();
        let name = format!("token of {domain}/{user} for {project}");
        let token = ExchangedToken::new(client, move |client| {
            let body = token_request(&domain, &user, password.expose_secret(), &project);
            async move {
                let segments = ["v3", "auth", "tokens"];
                let request = client.post("obtain a token from IAM", &segments).query("nocatalog", "true");
                let reply = request.json(&body)?.send().await?;
                if reply.status() != 201 {
                    return Err(refused_token(&reply));
                }
                token(&reply)
            }
        });
        Ok(token.shared(&name).into())
    }
}

/// The hints of the API are about another credential.
fn refused_token(reply: &Reply) -> Fault {
    let fault = Fault { hint: None, ..refused(reply) };
    match fault.kind {
        FaultKind::Unauthorized | FaultKind::Forbidden => fault.hint(
            "check `domain`, `user`, `password` and `project` of `iam`; a HUAWEI ID and a federated user obtain no tokens",
        ),
        _ => fault,
    }
}

/// The token of an answer, with what is left of its life by the server's own clock.
fn token(reply: &Reply) -> Result<Token, Fault> {
    let Some(token) = reply.header("x-subject-token") else {
        return Err(reply.unusable("has no X-Subject-Token"));
    };
    let authorization = Authorization::header("x-auth-token", &token.to_owned().into())?;
    let body: WireTokenReply = reply.secret_json("a token")?;
    let ends = body.token.expires_at.and_then(|time| time.parse::<Timestamp>().ok());
    let now = reply.date().unwrap_or_else(Timestamp::now);
    let life = match ends {
        Some(ends) => Duration::try_from(ends.duration_since(now)).unwrap_or_default(),
        None => LIFE,
    };
    Ok(Token::new(authorization, life))
}

#[async_trait]
impl RemoteKeys for Keys {
    fn describe(&self) -> String {
        format!("{} repository {}", self.url.as_str().trim_end_matches('/'), self.repository_id)
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

    fn allows_loss(&self, _name: &TagName) -> bool {
        false
    }

    async fn connect(&self, connection: Connection) -> Result<Arc<dyn Provider>, Fault> {
        let Connection { transport, compare_annotations, objects: _ } = &connection;
        let credential = self.proof.credential(transport).await?;
        let client = Client::new(transport, self.url.clone(), credential).await?;
        let api = CodeArts::new(client, transport, &self.url, self.repository_id, *compare_annotations);
        let (Some(git), Proof::Iam(iam)) = (&self.git, &self.proof) else { return Ok(Arc::new(api)) };
        let login = Authorization::basic(&git.username, &iam.password.read().await?)?;
        let remote = SmartHttp::connect(&connection, &git.url, Some(login), git.pushes).await?;
        Ok(Arc::new(Hosted::new(api, remote, git.place_elsewhere())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_is_a_positive_number_of_32_bits() {
        assert_eq!((check_id(1), check_id(2_147_483_647)), (Ok(1), Ok(2_147_483_647)));
        for bad in [0, -1, 2_147_483_648, i64::MAX] {
            assert!(check_id(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn regions_have_hosts_of_three_kinds() {
        let host = |region: &str| {
            let (name, word) = REGIONS.iter().find(|(name, _)| *name == region).unwrap();
            address(&format!("{word}.{name}")).unwrap().to_string()
        };
        assert_eq!(host("cn-north-4"), "https://codehub-ext.cn-north-4.myhuaweicloud.com/");
        assert_eq!(host("tr-west-1"), "https://codeartsrepo-ext.tr-west-1.myhuaweicloud.com/");
        assert_eq!(host("af-south-1"), "https://repo.af-south-1.myhuaweicloud.com/");
        assert!(REGIONS.is_sorted(), "as people look them up");
    }
}
