//! Where a request's proof comes from: always the same, made for each request, or obtained and renewed.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use reqwest::header::HeaderMap;
use url::{Position, Url};

use super::auth::Fingerprint;
use super::{Authorization, ExchangedToken, Fault, FaultKind, RegistryCredentials, Reply};

/// What a client proves itself with.
#[derive(Clone, Debug)]
pub struct Credential(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Fixed(Authorization),
    Obtained(Arc<dyn Credentials>),
    Signed(Arc<SignedRequests>),
}

impl Credential {
    /// Nothing: the client asks as anybody may.
    pub fn none() -> Self {
        Authorization::default().into()
    }

    pub(super) fn fingerprint(&self) -> Option<Fingerprint> {
        match &self.0 {
            Kind::Fixed(authorization) => authorization.fingerprint(),
            Kind::Obtained(credentials) => credentials.fingerprint(),
            Kind::Signed(signed) => signed.identity.fingerprint(),
        }
    }

    /// What is hidden without anything having been obtained.
    pub(super) fn fixed(&self) -> Authorization {
        match &self.0 {
            Kind::Fixed(authorization) => authorization.clone(),
            Kind::Signed(signed) => signed.identity.clone(),
            Kind::Obtained(_) => Authorization::default(),
        }
    }

    /// Before a request asks for its turn, because obtaining may take requests, which need turns of their own.
    pub(super) async fn authorize(&self, ask: &Ask<'_>) -> Result<Authorization, Fault> {
        match &self.0 {
            Kind::Fixed(authorization) => Ok(authorization.clone()),
            Kind::Obtained(credentials) => credentials.authorize(ask).await,
            Kind::Signed(signed) => Ok(signed.identity.clone()),
        }
    }

    /// When its turn has come, because signatures hold the time.
    pub(super) fn sign(&self, ask: &Ask<'_>) -> Result<Option<Authorization>, Fault> {
        match &self.0 {
            Kind::Fixed(_) | Kind::Obtained(_) => Ok(None),
            Kind::Signed(signed) => Ok(Some((signed.sign)(ask)?.hiding_as(&signed.identity))),
        }
    }

    /// Whether there may be something better to send after a 401.
    pub(super) fn is_renewable(&self) -> bool {
        matches!(self.0, Kind::Obtained(_))
    }

    /// Whether a 401 that stands is a refusal of this credential, and not of somebody who sent none of it.
    pub(super) fn is_behind(&self, used: &Authorization) -> bool {
        match &self.0 {
            Kind::Fixed(_) | Kind::Signed(_) => self.fingerprint().is_some(),
            Kind::Obtained(credentials) => credentials.is_behind(used),
        }
    }

    pub(super) async fn renew(
        &self,
        ask: &Ask<'_>,
        used: &Authorization,
        refusal: &Reply,
    ) -> Result<Option<Authorization>, Fault> {
        match &self.0 {
            Kind::Obtained(credentials) => credentials.renew(ask, used, refusal).await,
            Kind::Fixed(_) | Kind::Signed(_) => Ok(None),
        }
    }
}

impl From<Authorization> for Credential {
    fn from(authorization: Authorization) -> Self {
        Self(Kind::Fixed(authorization))
    }
}

impl From<Option<Authorization>> for Credential {
    fn from(authorization: Option<Authorization>) -> Self {
        authorization.unwrap_or_default().into()
    }
}

impl From<RegistryCredentials> for Credential {
    fn from(credentials: RegistryCredentials) -> Self {
        Self(Kind::Obtained(Arc::new(credentials)))
    }
}

impl From<ExchangedToken> for Credential {
    fn from(token: ExchangedToken) -> Self {
        Self(Kind::Obtained(Arc::new(token)))
    }
}

impl From<SignedRequests> for Credential {
    fn from(signed: SignedRequests) -> Self {
        Self(Kind::Signed(Arc::new(signed)))
    }
}

/// Credentials that may have to be obtained first, and again. The client asks before each request, and once after a 401.
#[async_trait]
pub(super) trait Credentials: fmt::Debug + Send + Sync {
    /// Those who share it share their limits; `None` where there is no credential.
    fn fingerprint(&self) -> Option<Fingerprint>;

    /// What goes with a request.
    async fn authorize(&self, ask: &Ask<'_>) -> Result<Authorization, Fault>;

    /// Whether a refusal of `used` that stands is one of the credential itself.
    fn is_behind(&self, used: &Authorization) -> bool;

    /// What to send after `used` was refused with a 401; `None` when there is nothing better, and the refusal stands.
    async fn renew(&self, ask: &Ask<'_>, used: &Authorization, refusal: &Reply)
    -> Result<Option<Authorization>, Fault>;
}

/// A request that is about to be sent, as far as it can be signed.
pub struct Ask<'a> {
    pub(super) method: &'a str,
    pub(super) url: &'a Url,
    pub(super) headers: &'a HeaderMap,
    pub(super) body: &'a [u8],
}

impl<'a> Ask<'a> {
    /// `GET`, in upper case.
    pub fn method(&self) -> &'a str {
        self.method
    }

    /// The path exactly as it is sent, encoded.
    pub fn path(&self) -> &'a str {
        self.url.path()
    }

    /// The query exactly as it is sent, encoded, without the question mark; empty where there is none.
    pub fn query(&self) -> &'a str {
        self.url.query().unwrap_or_default()
    }

    /// The value of the `Host` header: with the port, unless that is the scheme's own.
    pub fn host(&self) -> &'a str {
        &self.url[Position::BeforeHost..Position::AfterPort]
    }

    /// A header as it is sent: `accept`, and `content-type` where there is a body.
    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body as it is sent; empty where there is none.
    pub fn body(&self) -> &'a [u8] {
        self.body
    }
}

/// Without the body, which may hold a password.
impl fmt::Debug for Ask<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ask").field("method", &self.method).field("url", &self.url.as_str()).finish_non_exhaustive()
    }
}

type Sign = dyn Fn(&Ask<'_>) -> Result<Authorization, Fault> + Send + Sync;

/// A signature for each request, made anew whenever one is sent, because it holds the time.
pub struct SignedRequests {
    identity: Authorization,
    sign: Box<Sign>,
}

impl SignedRequests {
    /// `identity` has the secrets ([`Authorization::unsent`]) and tells this credential from others; `sign` makes the
    /// headers to add. An error of `sign` is the request's: nothing is sent.
    pub fn new(
        identity: Authorization,
        sign: impl Fn(&Ask<'_>) -> Result<Authorization, Fault> + Send + Sync + 'static,
    ) -> Self {
        Self { identity, sign: Box::new(sign) }
    }
}

impl fmt::Debug for SignedRequests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SignedRequests([redacted])")
    }
}

/// A fault of obtaining a credential as the fault of the request that waited for it: that was not sent, or it was
/// refused with a 401 and had no effect. Nothing is said by it about what the request was for.
pub(super) fn unauthorized(purpose: &str, fault: Fault) -> Fault {
    let kind = match fault.kind {
        FaultKind::Unauthorized | FaultKind::Forbidden | FaultKind::Throttled => fault.kind,
        FaultKind::NotSent
        | FaultKind::NotFound
        | FaultKind::TargetMissing
        | FaultKind::Rejected
        | FaultKind::Ambiguous
        | FaultKind::Unreadable
        | FaultKind::Unsupported => FaultKind::NotSent,
    };
    Fault { kind, message: format!("could not {purpose}: {}", fault.message), ..fault }
}
