//! `SDK-HMAC-SHA256`: requests signed with an access key and a secret key.
//!
//! As the vendor's SDKs do it (2026-11-21, `huaweicloudsdkcore/signer/signer.py` of `huaweicloudsdkcore` 3.1.219, and
//! <https://support.huaweicloud.com/intl/en-us/devg-apisign/api-sign-algorithm.html>). Like AWS's signature, but keyed
//! with the secret key itself, and the path always ends in a slash. Equality with the SDK is tested on the vectors in
//! `tests/peers/huawei_signer.json`, which `tests/peers/huawei_signer.py` makes, also anew and at random.

use std::fmt::Write as _;

use hmac::{Hmac, KeyInit as _, Mac as _};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};

/// The header with the time of the signature, which is part of it.
pub(super) const DATE: &str = "x-sdk-date";

/// What is signed besides the request line and the body. The SDKs sign all headers that they set themselves; the
/// `Authorization` names those that count, and a proxy may rewrite the others.
const SIGNED: &str = "host;x-sdk-date";

const ALGORITHM: &str = "SDK-HMAC-SHA256";

/// All but the unreserved characters.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A request as it will be sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unsigned<'a> {
    /// In upper case.
    pub(super) method: &'a str,
    /// With the port, unless it is the scheme's own.
    pub(super) host: &'a str,
    /// Encoded.
    pub(super) path: &'a str,
    /// Encoded, without the question mark.
    pub(super) query: &'a str,
    pub(super) body: &'a [u8],
    /// `20261121T141500Z`.
    pub(super) date: &'a str,
}

impl Unsigned<'_> {
    /// The value of `Authorization`.
    pub(super) fn sign(&self, access_key: &str, secret_key: &SecretString) -> String {
        let canonical = hex(&Sha256::digest(self.canonical()));
        let text = format!("{ALGORITHM}\n{}\n{canonical}", self.date);
        let mut mac = Hmac::<Sha256>::new_from_slice(secret_key.expose_secret().as_bytes())
            .expect("a key for this may have any length");
        mac.update(text.as_bytes());
        let signature = hex(&mac.finalize().into_bytes());
        format!("{ALGORITHM} Access={access_key}, SignedHeaders={SIGNED}, Signature={signature}")
    }

    /// The request in the one spelling that both sides sign.
    fn canonical(&self) -> String {
        let Self { method, host, date, .. } = self;
        let (path, query, body) = (self.canonical_path(), self.canonical_query(), hex(&Sha256::digest(self.body)));
        format!("{method}\n{path}\n{query}\nhost:{host}\n{DATE}:{date}\n\n{SIGNED}\n{body}")
    }

    /// Decoded, taken apart and encoded again, so that an encoded slash becomes a plain one; with a slash at the end.
    fn canonical_path(&self) -> String {
        let decoded = percent_decode_str(self.path).decode_utf8_lossy();
        let mut path = decoded.split('/').map(encode).collect::<Vec<_>>().join("/");
        if !path.ends_with('/') {
            path.push('/');
        }
        path
    }

    /// Sorted by key, then by value, before encoding. A key without a value has an empty one.
    fn canonical_query(&self) -> String {
        let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let pairs = self.query.split('&').filter(|pair| !pair.is_empty());
        let mut pairs: Vec<_> = pairs
            .map(|pair| {
                let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                (decode(key), decode(value))
            })
            .collect();
        pairs.sort_unstable();
        let pairs: Vec<_> = pairs.iter().map(|(key, value)| format!("{}={}", encode(key), encode(value))).collect();
        pairs.join("&")
    }
}

fn encode(text: &str) -> String {
    percent_encode(text.as_bytes(), ENCODED).to_string()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to memory does not fail");
        text
    })
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    /// What the vendor's signer made of requests.
    #[derive(Deserialize)]
    struct Vectors {
        sdk: String,
        access_key: String,
        secret_key: String,
        cases: Vec<Case>,
    }

    #[derive(Deserialize)]
    struct Case {
        method: String,
        host: String,
        path: String,
        query: Vec<(String, String)>,
        body: String,
        date: String,
        authorization: String,
    }

    fn check(vectors: &str) -> usize {
        let vectors: Vectors = serde_json::from_str(vectors).unwrap();
        assert!(vectors.sdk.starts_with("huaweicloudsdkcore "));
        for case in &vectors.cases {
            // As `http` writes URLs.
            let query: Vec<_> =
                case.query.iter().map(|(key, value)| format!("{}={}", encode(key), encode(value))).collect();
            let unsigned = Unsigned {
                method: &case.method,
                host: &case.host,
                path: &case.path,
                query: &query.join("&"),
                body: case.body.as_bytes(),
                date: &case.date,
            };
            let signed = unsigned.sign(&vectors.access_key, &vectors.secret_key.clone().into());
            assert_eq!(signed, case.authorization, "{unsigned:?}\n{}", unsigned.canonical());
        }
        vectors.cases.len()
    }

    #[test]
    fn signatures_are_those_of_the_vendor() {
        assert!(check(include_str!("../../../tests/peers/huawei_signer.json")) >= 20);
        // `tests/peers/huawei_signer.py --check` brings more, which the SDK has just made.
        if let Some(file) = std::env::var_os("TAGSYNCD_SIGNER_VECTORS") {
            assert!(check(&std::fs::read_to_string(file).unwrap()) > 0);
        }
    }

    #[test]
    fn there_is_one_spelling_for_each_request() {
        let unsigned = |path, query| Unsigned { method: "GET", host: "h", path, query, body: b"", date: "d" };
        for (path, query, due_path, due_query) in [
            ("/v4/tags", "", "/v4/tags/", ""),
            ("/v4/tags/", "b=2&a=1&a=0", "/v4/tags/", "a=0&a=1&b=2"),
            ("/", "tag_name=-x%2F%C3%A9%2B1&empty=&bare", "/", "bare=&empty=&tag_name=-x%2F%C3%A9%2B1"),
            ("/a%2Fb/%7e", "a=%7E&&a=%2520", "/a/b/~/", "a=%2520&a=~"),
            // Before encoding, `é` comes behind `z`; after it, it would come before all letters.
            ("/x", "%C3%A9=1&z=1", "/x/", "z=1&%C3%A9=1"),
        ] {
            let unsigned = unsigned(path, query);
            assert_eq!(
                (unsigned.canonical_path().as_str(), unsigned.canonical_query().as_str()),
                (due_path, due_query)
            );
        }
    }
}
