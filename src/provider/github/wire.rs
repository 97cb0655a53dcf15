//! GitHub's JSON, read with as few demands as possible.

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

/// A ref and the object that it holds.
#[derive(Debug, Deserialize)]
pub(super) struct WireRef {
    /// With `refs/tags/` in front.
    #[serde(rename = "ref")]
    pub(super) name: String,
    pub(super) object: WireObject,
}

/// An object by its kind and its id.
#[derive(Debug, Deserialize)]
pub(super) struct WireObject {
    /// `commit`, `tag`, `tree` or `blob`.
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) sha: String,
}

/// A tag object.
#[derive(Debug, Deserialize)]
pub(super) struct WireTagObject {
    pub(super) sha: String,
    #[serde(default)]
    message: Option<String>,
    pub(super) object: WireObject,
    #[serde(default)]
    verification: Option<WireVerification>,
}

/// What GitHub thinks of a signature.
#[derive(Debug, Deserialize)]
struct WireVerification {
    #[serde(default)]
    verified: bool,
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    signature: Option<String>,
}

impl WireTagObject {
    /// The message without a signature.
    pub(super) fn message(&self) -> Option<&str> {
        let message = self.message.as_deref()?;
        let signature = self.verification.as_ref().and_then(|verification| verification.signature.as_deref());
        Some(match signature {
            Some(signature) if !signature.trim().is_empty() => {
                message.trim_end().strip_suffix(signature.trim_end()).unwrap_or(message)
            }
            Some(_) | None => message,
        })
    }

    /// What is said of the signature, for people.
    pub(super) fn signature(&self) -> Option<String> {
        let WireVerification { verified, reason, signature } = self.verification.as_ref()?;
        signature.as_ref()?;
        let reason = reason.as_deref().unwrap_or("no reason given");
        Some(if *verified { "verified by GitHub".to_owned() } else { format!("not verified by GitHub: {reason}") })
    }
}

/// A commit, of which only the id is of interest.
#[derive(Debug, Deserialize)]
pub(super) struct WireCommit {
    #[serde(default)]
    pub(super) sha: Option<String>,
}

/// A ref to be created.
#[derive(Debug, Serialize)]
pub(super) struct WireNewRef<'a> {
    #[serde(rename = "ref")]
    pub(super) name: String,
    pub(super) sha: &'a str,
}

/// A ref to be moved.
#[derive(Debug, Serialize)]
pub(super) struct WireMove<'a> {
    pub(super) sha: &'a str,
    /// Also to where it does not come from.
    pub(super) force: bool,
}

/// A tag object to be created.
#[derive(Debug, Serialize)]
pub(super) struct WireNewTag<'a> {
    pub(super) tag: &'a str,
    pub(super) message: &'a str,
    pub(super) object: &'a str,
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    /// Without it, the token's user and now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tagger: Option<&'a WireTagger>,
}

/// Who made a tag, and when.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct WireTagger {
    pub(super) name: String,
    pub(super) email: String,
    /// As ISO 8601 writes it.
    pub(super) date: String,
}

/// A repository, as far as it tells who answers and what the credential may do.
#[derive(Debug, Deserialize)]
pub(super) struct WireRepository {
    pub(super) id: u64,
    #[serde(default)]
    pub(super) archived: bool,
    #[serde(default)]
    pub(super) disabled: bool,
    #[serde(default)]
    permissions: Option<WirePermissions>,
}

#[derive(Debug, Deserialize)]
struct WirePermissions {
    #[serde(default)]
    push: Option<bool>,
}

impl WireRepository {
    /// Whether the credential's user may push, where that is told.
    pub(super) fn may_push(&self) -> Option<bool> {
        self.permissions.as_ref()?.push
    }
}

/// The longest body in which a refusal is looked for; read as a tree, a large one would take many times its length.
const LONGEST_REFUSAL: usize = 64 * 1024;

/// The server's words for a refusal: `message`, and what `errors` adds to it, as texts or as objects with a message.
pub(super) fn refusal(body: &[u8]) -> Option<String> {
    if body.len() > LONGEST_REFUSAL {
        return None;
    }
    let Ok(Json::Object(body)) = serde_json::from_slice::<Json>(body) else { return None };
    let errors = body.get("errors").and_then(Json::as_array).into_iter().flatten();
    let errors = errors.map(|error| error.get("message").unwrap_or(error));
    let words: Vec<&str> =
        body.get("message").into_iter().chain(errors).filter_map(Json::as_str).map(str::trim).collect();
    (!words.is_empty()).then(|| words.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(json: &str) -> WireTagObject {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_signature_is_no_part_of_the_message() {
        let of = |message: &str, verification: &str| {
            object(&format!(
                r#"{{"sha":"a","object":{{"type":"commit","sha":"b"}},"message":{message},"verification":{verification}}}"#
            ))
        };
        let plain = of(r#""First\n""#, r#"{"verified":false,"reason":"unsigned","signature":null}"#);
        assert_eq!((plain.message(), plain.signature()), (Some("First\n"), None));
        let signed = r#"{"verified":true,"reason":"valid","signature":"-----BEGIN X\nabc\n"}"#;
        for message in [r#""First\n-----BEGIN X\nabc\n""#, r#""First\n-----BEGIN X\nabc""#, r#""First\n""#] {
            let tag = of(message, signed);
            assert_eq!((tag.message(), tag.signature().as_deref()), (Some("First\n"), Some("verified by GitHub")));
        }
        let bad = of("null", r#"{"signature":"x","reason":"unknown_key","new":[]}"#);
        assert_eq!((bad.message(), bad.signature().unwrap()), (None, "not verified by GitHub: unknown_key".into()));
        assert!(of(r#""m""#, "null").signature().is_none());
    }

    #[test]
    fn what_is_no_ref_is_an_error() {
        let deep = format!("{}{}", r#"{"ref":"refs/tags/v1","x":"#, "[".repeat(100_000));
        for json in [
            "",
            "null",
            r#"{"ref":"refs/tags/v1"}"#,
            r#"{"ref":"refs/tags/v1","object":null}"#,
            r#"{"ref":"refs/tags/v1","object":{"type":"commit"}}"#,
            r#"{"ref":1,"object":{"type":"commit","sha":"a"}}"#,
            r#"{"ref":"a","ref":"b","object":{"type":"commit","sha":"a"}}"#,
            &deep,
        ] {
            assert!(serde_json::from_str::<WireRef>(json).is_err(), "{json:.80}");
        }
        assert!(
            serde_json::from_str::<WireRef>(r#"{"ref":"a","node_id":1,"object":{"type":"x","sha":"","url":[]}}"#)
                .is_ok()
        );
    }

    #[test]
    fn refusals_are_understood_in_all_forms() {
        let words = |json: &str| refusal(json.as_bytes());
        assert_eq!(
            words(r#"{"message":"Reference already exists","status":"422"}"#).unwrap(),
            "Reference already exists"
        );
        assert_eq!(words(r#"{"message":"m","errors":["a",{"message":" b\n"},{"code":"c"},1]}"#).unwrap(), "m; a; b");
        for none in ["", "Not Found", "[]", "{}", r#"{"message":null}"#, "<html>"] {
            assert_eq!(words(none), None, "{none}");
        }
        assert_eq!(words(&format!(r#"{{"message":"{}"}}"#, "x".repeat(64 * 1024))), None);
    }
}
