//! Credentials for registries, as their challenges ask (2026-11-21,
//! <https://distribution.github.io/distribution/spec/auth/token/>).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use secrecy::SecretString;
use serde::Deserialize;
use url::{Position, Url};

use super::auth::Fingerprint;
use super::challenge::{Challenge, challenges};
use super::credentials::{Ask, Credentials};
use super::latest::Latest;
use super::token::{Kept, Token};
use super::{Authorization, Client, Fault, FaultKind, Reply, Transport};

/// The life of a token of which nothing is said.
const DEFAULT_LIFE: Duration = Duration::from_secs(60);

/// The most tokens that are kept. An image takes three: to read, to write and to delete.
const TOKENS: usize = 64;

/// A login, or none, that becomes whatever a registry asks for: Basic, or a token from the registry's token server.
///
/// Without [`basic_first`](Self::basic_first) the first request of each method goes without a credential, and its 401
/// says what to send. Only the registry's own origin and the hosts of [`allow_realm`](Self::allow_realm) are ever asked
/// for a token.
#[derive(Debug)]
pub struct RegistryCredentials {
    transport: Transport,
    registry: Url,
    login: Option<Authorization>,
    basic_first: bool,
    realms: Vec<String>,
    learned: Arc<Mutex<Learned>>,
}

#[derive(Debug, Default)]
struct Learned {
    /// What requests of a method are to bring.
    methods: HashMap<String, Wanted>,
    tokens: HashMap<Key, Arc<Kept>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Wanted {
    Basic,
    Token(Key),
}

/// What a token is for, word by word as the registry asks for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    realm: String,
    service: Option<String>,
    /// Several stand in one text, with spaces between them.
    scope: Option<String>,
}

impl Key {
    fn of(challenge: &Challenge) -> Option<Self> {
        let get = |name| challenge.get(name).map(str::to_owned);
        Some(Self { realm: get("realm")?, service: get("service"), scope: get("scope") })
    }
}

impl RegistryCredentials {
    /// `login` is [`Authorization::basic`]; without it tokens are asked for as anybody may.
    pub fn new(transport: &Transport, registry: &Url, login: Option<Authorization>) -> Self {
        Self {
            transport: transport.clone(),
            registry: registry.clone(),
            login,
            basic_first: false,
            realms: Vec::new(),
            learned: Arc::default(),
        }
    }

    /// Sends the login along from the first request on, for registries that take it and say so nowhere.
    #[must_use]
    pub fn basic_first(self) -> Self {
        Self { basic_first: true, ..self }
    }

    /// Keeps what the challenges taught, and the tokens, beyond this client: for all with this login that ask this registry for
    /// what this name says, until the configuration changes. So a later pass sends no first request without a credential.
    #[must_use]
    pub fn shared(self, name: &str) -> Self {
        let shared: Arc<Latest<Mutex<Learned>>> = self.transport.remembered(&format!("{} {name}", self.registry));
        Self { learned: shared.of(self.fingerprint()), ..self }
    }

    /// Lets another host, with its port unless that is the usual one, be asked for tokens and receive the login.
    #[must_use]
    pub fn allow_realm(mut self, host: &str) -> Self {
        self.realms.push(host.to_ascii_lowercase());
        self
    }

    /// The login, or nothing, in any case with what must not be shown.
    fn login(&self) -> Authorization {
        self.login.clone().unwrap_or_default()
    }

    /// No credential, and still nothing of the login in any error.
    fn nothing(&self) -> Authorization {
        Authorization::default().hiding_as(&self.login())
    }

    fn learned(&self) -> MutexGuard<'_, Learned> {
        // Nothing panics while it is held.
        self.learned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn learn(&self, ask: &Ask<'_>, wanted: Wanted) {
        self.learned().methods.insert(class(ask).to_owned(), wanted);
    }

    fn kept(&self, key: &Key) -> Arc<Kept> {
        let mut learned = self.learned();
        // A registry that asks for another scope each time must not fill our memory.
        if learned.tokens.len() >= TOKENS && !learned.tokens.contains_key(key) {
            learned.tokens.clear();
        }
        Arc::clone(learned.tokens.entry(key.clone()).or_default())
    }

    /// The address that gives tokens, if it may be asked.
    fn realm(&self, key: &Key) -> Result<Url, Fault> {
        let registry = self.registry.host_str().unwrap_or_default();
        let refused = |message: String| Fault::new(FaultKind::Unauthorized, message);
        let shown = |text: &str| crate::text::excerpt(&self.login().redact(text.as_bytes()), 200);
        let unusable = || refused(format!("{registry} names no usable address for tokens: `{}`", shown(&key.realm)));
        let mut realm: Url = key.realm.parse().map_err(|_| unusable())?;
        let http = matches!(realm.scheme(), "http" | "https");
        if !http || !realm.has_host() || !realm.username().is_empty() || realm.password().is_some() {
            return Err(unusable());
        }
        let authority = &realm[Position::BeforeHost..Position::AfterPort];
        if realm.origin() != self.registry.origin() && !self.realms.iter().any(|allowed| allowed == authority) {
            let host = shown(authority);
            let scheme =
                if realm.host() == self.registry.host() { format!(" over {}", realm.scheme()) } else { String::new() };
            let message = format!(
                "{registry} wants a token from {host}{scheme}, which is not this registry; asked for none there"
            );
            return Err(
                refused(message).hint(format!("if {host} may receive this remote's login, set `realm = \"{host}\"`"))
            );
        }
        realm.set_fragment(None);
        {
            let mut query = realm.query_pairs_mut();
            query.extend_pairs(key.service.iter().map(|service| ("service", service)));
            let scopes = key.scope.iter().flat_map(|scope| scope.split_ascii_whitespace());
            query.extend_pairs(scopes.map(|scope| ("scope", scope)));
        }
        // `realm?` for a realm without a query and nothing to ask for.
        if realm.query() == Some("") {
            realm.set_query(None);
        }
        Ok(realm)
    }

    async fn fetch(&self, key: &Key) -> Result<Token, Fault> {
        let realm = self.realm(key)?;
        // The pool keeps connections and gates: on the registry's own origin this is the gate of all its requests.
        let client = Client::new(&self.transport, realm.clone(), self.login.clone()).await?;
        let reply = client.get_at("fetch a token", realm).send().await?;
        if !reply.is_success() {
            return Err(reply.refusal(None));
        }
        let answer: Answer = reply.secret_json("a token")?;
        let Some(token) = answer.token.or(answer.access_token) else {
            return Err(reply.unusable("names no token"));
        };
        let token = SecretString::from(token);
        let authorization = Authorization::bearer(&token)?.hiding_as(&self.login());
        let life = answer.expires_in.map_or(DEFAULT_LIFE, Duration::from_secs);
        // By the clock of the server that says it; ours may be another.
        let issued = answer.issued_at.and_then(|time| time.parse::<Timestamp>().ok());
        let spent = issued.zip(reply.date()).map(|(issued, now)| now.duration_since(issued));
        let spent = spent.and_then(|spent| Duration::try_from(spent).ok()).unwrap_or_default();
        Ok(Token::new(authorization, life).spent(spent))
    }
}

/// What a token server answers. Both names of the token mean the same.
#[derive(Deserialize)]
struct Answer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
    /// A time as RFC 3339 writes it; one that cannot be read says nothing.
    issued_at: Option<String>,
}

/// Requests that take the same scope.
fn class<'a>(ask: &Ask<'a>) -> &'a str {
    if ask.method == "HEAD" { "GET" } else { ask.method }
}

#[async_trait]
impl Credentials for RegistryCredentials {
    fn fingerprint(&self) -> Option<Fingerprint> {
        self.login.as_ref().and_then(Authorization::fingerprint)
    }

    async fn authorize(&self, ask: &Ask<'_>) -> Result<Authorization, Fault> {
        let wanted = self.learned().methods.get(class(ask)).cloned();
        match wanted {
            None if self.basic_first => Ok(self.login()),
            None => Ok(self.nothing()),
            Some(Wanted::Basic) => Ok(self.login()),
            Some(Wanted::Token(key)) => {
                let token = self.kept(&key).get(None, self.fetch(&key)).await;
                if token.is_err() {
                    // The registry may send us elsewhere by now: the next request asks it.
                    self.learned().methods.remove(class(ask));
                }
                token
            }
        }
    }

    /// A token was given to a login that is right. It may still not reach this one image, which says nothing of others.
    fn is_behind(&self, used: &Authorization) -> bool {
        self.login.as_ref().is_some_and(|login| login.says_the_same(used))
    }

    async fn renew(
        &self,
        ask: &Ask<'_>,
        used: &Authorization,
        refusal: &Reply,
    ) -> Result<Option<Authorization>, Fault> {
        let challenges = challenges(&refusal.headers);
        // The token says less than the password and reaches less far.
        let bearer = challenges.iter().filter(|challenge| challenge.is("bearer"));
        if let Some((key, challenge)) = bearer.filter_map(|challenge| Some((Key::of(challenge)?, challenge))).next() {
            let kept = self.kept(&key);
            if kept.holds(used) && challenge.lacks_scope() {
                // This is all that the login gets for this scope. Rights may change, so the next request asks anew.
                kept.forget();
                return Ok(None);
            }
            let renewed = kept.get(Some(used), self.fetch(&key)).await?;
            self.learn(ask, Wanted::Token(key));
            return Ok((!renewed.says_the_same(used)).then_some(renewed));
        }
        let Some(login) = &self.login else { return Ok(None) };
        if challenges.iter().any(|challenge| challenge.is("basic")) && !login.says_the_same(used) {
            self.learn(ask, Wanted::Basic);
            return Ok(Some(login.clone()));
        }
        Ok(None)
    }
}
