//! The credential: sent, never shown.

use std::borrow::Cow;
use std::fmt;

use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};

use super::{Fault, FaultKind};

/// What an `Authorization` header says. Its `Debug` shows nothing of it.
#[derive(Clone)]
pub struct Authorization {
    header: HeaderValue,
    secret: SecretString,
}

impl Authorization {
    /// `Bearer TOKEN`.
    pub fn bearer(token: &SecretString) -> Result<Self, Fault> {
        if token.expose_secret().is_empty() {
            return Err(Fault::new(FaultKind::Unauthorized, "the token is empty"));
        }
        let mut header = HeaderValue::from_str(&format!("Bearer {}", token.expose_secret())).map_err(|_| {
            Fault::new(FaultKind::Unauthorized, "the token holds a character that cannot stand in an HTTP header")
                .hint("check for line breaks and other control characters in it")
        })?;
        header.set_sensitive(true);
        Ok(Self { header, secret: token.clone() })
    }

    pub(super) fn header(&self) -> HeaderValue {
        self.header.clone()
    }

    /// Tells credentials apart without keeping them.
    pub(super) fn fingerprint(&self) -> [u8; 32] {
        Sha256::digest(self.header.as_bytes()).into()
    }

    /// A server's text without the credential, which a server may echo. In any case of letters: host names lose theirs.
    pub(super) fn redact<'a>(&self, text: &'a [u8]) -> Cow<'a, [u8]> {
        let secret = self.secret.expose_secret().as_bytes();
        let mut clean = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.windows(secret.len()).position(|window| window.eq_ignore_ascii_case(secret)) {
            clean.extend_from_slice(&rest[..at]);
            clean.extend_from_slice(b"[redacted]");
            rest = &rest[at + secret.len()..];
        }
        if rest.len() == text.len() {
            return Cow::Borrowed(text);
        }
        clean.extend_from_slice(rest);
        Cow::Owned(clean)
    }
}

impl fmt::Debug for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authorization([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_credential_is_never_shown() {
        let authorization = Authorization::bearer(&"glpat-canary".to_owned().into()).unwrap();
        assert_eq!(authorization.redact(b"a glpat-canary, GLPAT-Canary").as_ref(), b"a [redacted], [redacted]");
        assert_eq!(authorization.redact(b"glpat").as_ref(), b"glpat");
        assert!(!format!("{authorization:?} {:?}", authorization.header()).contains("canary"));
        assert_eq!(
            Authorization::bearer(&"a\nb".to_owned().into()).map(|_| ()).unwrap_err().kind,
            FaultKind::Unauthorized
        );
        assert!(Authorization::bearer(&String::new().into()).is_err());
    }
}
