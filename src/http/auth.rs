//! What proves who asks: sent, never shown.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{AUTHORIZATION, HeaderName, HeaderValue};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use super::{Fault, FaultKind};

/// The headers that prove who asks, and the secrets that no text may show. Its `Debug` shows nothing of either.
///
/// Cheap to clone.
#[derive(Clone)]
pub struct Authorization(Arc<Inner>);

#[derive(Clone, Default)]
struct Inner {
    headers: Vec<(HeaderName, HeaderValue)>,
    /// Each in all the spellings in which a server may give it back.
    secrets: Vec<SecretString>,
    /// When something newer should be sent instead.
    stale_at: Option<Instant>,
}

impl Authorization {
    /// `Authorization: Bearer TOKEN`.
    pub fn bearer(token: &SecretString) -> Result<Self, Fault> {
        let text = SecretString::from(format!("Bearer {}", token.expose_secret()));
        Self::of(AUTHORIZATION, "the token", &text, &[token])
    }

    /// `Authorization: Basic …` (2026-11-21, <https://www.rfc-editor.org/rfc/rfc7617>). A user name with a colon is
    /// refused, because the colon ends it.
    pub fn basic(user: &str, password: &SecretString) -> Result<Self, Fault> {
        if user.contains(':') || user.contains(char::is_control) {
            let message = "the user name holds a colon or a control character, which a login over HTTP cannot carry";
            return Err(Fault::new(FaultKind::Unauthorized, message));
        }
        let encoded = SecretString::from(STANDARD.encode(format!("{user}:{}", password.expose_secret())));
        let text = SecretString::from(format!("Basic {}", encoded.expose_secret()));
        // A server may leave out the padding when it echoes.
        let unpadded = SecretString::from(encoded.expose_secret().trim_end_matches('='));
        Self::of(AUTHORIZATION, "the password", &text, &[password, &unpadded])
    }

    /// A token in a header of its own, as `X-Auth-Token: TOKEN`.
    pub fn header(name: &'static str, token: &SecretString) -> Result<Self, Fault> {
        let name = HeaderName::try_from(name)
            .map_err(|_| Fault::new(FaultKind::Unauthorized, format!("`{name}` is no name of an HTTP header")))?;
        Self::of(name, "the token", token, &[token])
    }

    /// Sends nothing. For secrets that stand in the body of a request: they tell credentials apart, and are kept out of
    /// errors.
    pub fn unsent(secrets: &[&SecretString]) -> Self {
        Self::default().hiding(secrets)
    }

    /// Adds a header that belongs to the proof and is no secret, as the time of a signature.
    pub fn and(self, name: &'static str, value: &str) -> Result<Self, Fault> {
        let unfit = || Fault::new(FaultKind::NotSent, format!("the header `{name}` cannot be written"));
        let header = HeaderName::try_from(name).map_err(|_| unfit())?;
        let value = HeaderValue::from_str(value).map_err(|_| unfit())?;
        let mut inner = Arc::unwrap_or_clone(self.0);
        inner.headers.push((header, value));
        Ok(Self(Arc::new(inner)))
    }

    /// Adds secrets that are not sent with this and may yet be echoed.
    #[must_use]
    pub fn hiding(self, secrets: &[&SecretString]) -> Self {
        let mut inner = Arc::unwrap_or_clone(self.0);
        inner.secrets.extend(secrets.iter().flat_map(|secret| spellings(secret.expose_secret())));
        // Longer ones first, so that no part of one is left where another begins the same.
        inner.secrets.sort_by_key(|secret| std::cmp::Reverse(secret.expose_secret().len()));
        Self(Arc::new(inner))
    }

    /// Adds what another one hides.
    #[must_use]
    pub(super) fn hiding_as(self, other: &Self) -> Self {
        self.hiding(&other.0.secrets.iter().collect::<Vec<_>>())
    }

    fn of(name: HeaderName, what: &str, text: &SecretString, secrets: &[&SecretString]) -> Result<Self, Fault> {
        if secrets.iter().any(|secret| secret.expose_secret().is_empty()) {
            return Err(Fault::new(FaultKind::Unauthorized, format!("{what} is empty")));
        }
        let mut value = HeaderValue::from_str(text.expose_secret()).map_err(|_| {
            let message = format!("{what} holds a character that cannot stand in an HTTP header");
            Fault::new(FaultKind::Unauthorized, message)
                .hint("check for line breaks and other control characters in it")
        })?;
        value.set_sensitive(true);
        Ok(Self(Arc::new(Inner { headers: vec![(name, value)], ..Inner::default() })).hiding(secrets))
    }

    /// To be replaced by something newer from this time on.
    pub(super) fn until(self, stale_at: Instant) -> Self {
        Self(Arc::new(Inner { stale_at: Some(stale_at), ..Arc::unwrap_or_clone(self.0) }))
    }

    pub(super) fn is_stale(&self) -> bool {
        self.0.stale_at.is_some_and(|end| end <= Instant::now())
    }

    /// Whether this is the very one, and not only one that says the same.
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Whether a server would see a difference.
    pub(super) fn says_the_same(&self, other: &Self) -> bool {
        self.0.headers == other.0.headers
    }

    pub(super) fn headers(&self) -> &[(HeaderName, HeaderValue)] {
        &self.0.headers
    }

    /// Tells credentials apart without keeping them; `None` where there is nothing to tell.
    pub(super) fn fingerprint(&self) -> Option<Fingerprint> {
        let headers = self.0.headers.iter().flat_map(|(name, value)| [name.as_str().as_bytes(), value.as_bytes()]);
        let secrets = self.0.secrets.iter().map(|secret| secret.expose_secret().as_bytes());
        Fingerprint::of(headers.chain(secrets))
    }

    /// A server's text without the secrets, which a server may echo. In any case of letters: host names lose theirs.
    pub(super) fn redact<'a>(&self, text: &'a [u8]) -> Cow<'a, [u8]> {
        let found = |rest: &[u8]| {
            let secrets = self.0.secrets.iter().map(|secret| secret.expose_secret().len());
            let mut secrets = self.0.secrets.iter().zip(secrets);
            secrets.find_map(|(secret, length)| {
                let secret = secret.expose_secret().as_bytes();
                rest.get(..length).is_some_and(|start| start.eq_ignore_ascii_case(secret)).then_some(length)
            })
        };
        let mut clean = Vec::new();
        let (mut kept, mut at) = (0, 0);
        while at < text.len() {
            match found(&text[at..]) {
                Some(length) => {
                    clean.extend_from_slice(&text[kept..at]);
                    clean.extend_from_slice(b"[redacted]");
                    at += length;
                    kept = at;
                }
                None => at += 1,
            }
        }
        if kept == 0 {
            return Cow::Borrowed(text);
        }
        clean.extend_from_slice(&text[kept..]);
        Cow::Owned(clean)
    }
}

/// Nothing to send and nothing to hide.
impl Default for Authorization {
    fn default() -> Self {
        Self(Arc::new(Inner::default()))
    }
}

impl fmt::Debug for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authorization([redacted])")
    }
}

/// As it is, as JSON and as a URL write it. Nothing for a secret that is empty: everything would hold it.
fn spellings(secret: &str) -> Vec<SecretString> {
    let json = serde_json::Value::from(secret).to_string();
    let mut spellings = vec![secret.to_owned(), json.trim_matches('"').to_owned()];
    spellings.push(utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string());
    spellings.dedup();
    spellings.into_iter().filter(|spelling| !spelling.is_empty()).map(SecretString::from).collect()
}

/// What credentials are told apart by.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Fingerprint([u8; 32]);

impl Fingerprint {
    pub(super) fn of<'a>(parts: impl Iterator<Item = &'a [u8]>) -> Option<Self> {
        let mut parts = parts.peekable();
        parts.peek()?;
        let mut digest = Sha256::new();
        for part in parts {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        Some(Self(digest.finalize().into()))
    }
}

/// Without the digest, from which a short password could be guessed.
impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fingerprint")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> SecretString {
        text.to_owned().into()
    }

    #[test]
    fn the_credential_is_never_shown() {
        let authorization = Authorization::bearer(&secret("glpat-canary")).unwrap();
        assert_eq!(authorization.redact(b"a glpat-canary, GLPAT-Canary").as_ref(), b"a [redacted], [redacted]");
        assert_eq!(authorization.redact(b"glpat").as_ref(), b"glpat");
        assert!(!format!("{authorization:?} {:?}", authorization.headers()).contains("canary"));
        assert_eq!(Authorization::bearer(&secret("a\nb")).map(|_| ()).unwrap_err().kind, FaultKind::Unauthorized);
        assert!(Authorization::bearer(&secret("")).is_err());
    }

    #[test]
    fn every_kind_hides_what_it_sends() {
        let password = "can\"ary/1";
        let encoded = STANDARD.encode(format!("robot:{password}"));
        let basic = Authorization::basic("robot", &secret(password)).unwrap();
        let own = Authorization::header("X-Auth-Token", &secret(password)).unwrap();
        let body = Authorization::unsent(&[&secret(password)]);
        let shown = format!("robot {password} can\\\"ary/1 can%22ary%2F1 CAN\"ARY/1");
        for authorization in [&basic, &own, &body] {
            let clean = authorization.redact(shown.as_bytes());
            assert_eq!(std::str::from_utf8(&clean), Ok("robot [redacted] [redacted] [redacted] [redacted]"));
            let debug = format!("{authorization:?} {:?} {:?}", authorization.headers(), authorization.fingerprint());
            assert_eq!((debug.contains("ary"), debug.contains(&encoded)), (false, false), "{debug}");
            assert!(authorization.headers().iter().all(|(_, value)| value.is_sensitive()));
        }
        assert_eq!(basic.redact(format!("Basic {encoded}").as_bytes()).as_ref(), b"Basic [redacted]");
        assert_eq!(basic.headers()[0].1.as_bytes(), format!("Basic {encoded}").as_bytes());
        assert_eq!((own.headers()[0].0.as_str(), body.headers().len()), ("x-auth-token", 0));
        let signed = own.and("x-sdk-date", "20261121T135100Z").unwrap();
        assert_eq!(signed.headers()[1].1.as_bytes(), b"20261121T135100Z");
    }

    #[test]
    fn one_secret_may_begin_as_another_does() {
        let both = Authorization::unsent(&[&secret("canary"), &secret("canary-long")]);
        assert_eq!(both.redact(b"canary-long canary").as_ref(), b"[redacted] [redacted]");
        // Nothing is hidden by hiding nothing, and that ends.
        assert_eq!(Authorization::unsent(&[&secret("")]).redact(b"text").as_ref(), b"text");
    }

    #[test]
    fn credentials_are_told_apart() {
        let mut seen = std::collections::HashSet::new();
        for authorization in [
            Authorization::default(),
            Authorization::bearer(&secret("a")).unwrap(),
            Authorization::bearer(&secret("b")).unwrap(),
            Authorization::basic("a", &secret("b")).unwrap(),
            Authorization::basic("b", &secret("b")).unwrap(),
            Authorization::header("x-auth-token", &secret("a")).unwrap(),
            Authorization::header("x-other", &secret("a")).unwrap(),
            Authorization::unsent(&[&secret("a")]),
        ] {
            assert!(seen.insert(authorization.fingerprint()));
        }
        assert_eq!(Authorization::default().fingerprint(), None);
    }

    #[test]
    fn what_cannot_be_sent_is_refused_without_showing_it() {
        for fault in [
            Authorization::basic("a:b", &secret("canary")).unwrap_err(),
            Authorization::basic("a\n", &secret("canary")).unwrap_err(),
            Authorization::basic("a", &secret("")).unwrap_err(),
            Authorization::header("x-auth-token", &secret("canary\n")).unwrap_err(),
            Authorization::header("x y", &secret("canary")).unwrap_err(),
        ] {
            assert_eq!(fault.kind, FaultKind::Unauthorized);
            assert!(!fault.message.contains("canary"), "{fault}");
        }
    }
}
