//! Vercel's JSON, read with as few demands as possible, and what follows from it.

use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value as Json;

use crate::tag::{RemoteTag, TagName, Target, Value};

/// A tag. What is not needed to tell what it points at may be missing, `null` or of any kind.
#[derive(Debug, Deserialize)]
pub(super) struct WireTag {
    pub(super) tag: String,
    #[serde(rename = "manifestDigest", default)]
    manifest_digest: Json,
    /// `index`, `manifest`, `attestation` since 2026-08, and what may come.
    #[serde(default)]
    kind: Json,
    #[serde(default)]
    platform: Json,
    #[serde(default)]
    arch: Json,
    /// `preparing`, `ready`, `unoptimized`; `null` for an index.
    #[serde(default)]
    status: Json,
    #[serde(rename = "sizeInBytes", default)]
    size_in_bytes: Json,
    #[serde(rename = "updatedAt", default)]
    updated_at: Json,
}

impl WireTag {
    /// The tag in our terms, under a name that has been checked.
    pub(super) fn into_tag(self, name: TagName) -> RemoteTag {
        let digest = self.manifest_digest.as_str().map(str::parse);
        let value = match digest {
            Some(Ok(digest)) => Ok(Value::of(Target::Digest(digest))),
            Some(Err(_)) | None => Err("Vercel names no digest of a manifest for it".to_owned()),
        };
        RemoteTag { name, value, message: None, protected: false, attachment: None }
    }

    /// What it tells about the image, for people: kind, platform, status, size, time of the last change.
    pub(super) fn words(&self) -> String {
        let text = |json: &Json| json.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        let platform = match (text(&self.platform), text(&self.arch)) {
            (Some(platform), Some(arch)) => Some(format!("{platform}/{arch}")),
            (one, other) => one.or(other),
        };
        let size = self.size_in_bytes.as_number().map(|size| format!("{size} bytes"));
        let parts = [
            text(&self.kind),
            platform,
            text(&self.status).map(|status| format!("status {status}")),
            size,
            text(&self.updated_at).map(|time| format!("updated {time}")),
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

/// A page of tags.
#[derive(Debug, Deserialize)]
pub(super) struct WirePage {
    pub(super) tags: Vec<WireTag>,
    #[serde(rename = "nextCursor", default)]
    pub(super) next_cursor: Option<String>,
}

/// One tag, alone.
#[derive(Debug, Deserialize)]
pub(super) struct WireOne {
    pub(super) tag: WireTag,
}

/// A repository, as far as it tells who answers.
#[derive(Debug, Deserialize)]
pub(super) struct WireRepository {
    pub(super) repository: WireRepositoryId,
}

#[derive(Debug, Deserialize)]
pub(super) struct WireRepositoryId {
    pub(super) id: String,
}

/// Vercel's words for a refusal.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) words: Option<String>,
    /// When the limit ends, in seconds since 1970.
    reset: Option<i64>,
}

impl Refusal {
    /// How long to wait, by the server's clock.
    pub(super) fn wait(&self, now: Timestamp) -> Option<Duration> {
        let reset = Timestamp::from_second(self.reset?).ok()?;
        Some(Duration::try_from(reset.duration_since(now)).unwrap_or(Duration::ZERO))
    }
}

/// The longest body in which a refusal is looked for; read as a tree, a large one would take many times its length.
const LONGEST_REFUSAL: usize = 64 * 1024;

/// Finds the words in the body of an error: `{"error":{"code","message","limit":{"reset"}}}` (2026-11-21,
/// <https://vercel.com/docs/rest-api/errors>).
pub(super) fn refusal(body: &[u8]) -> Refusal {
    if body.len() > LONGEST_REFUSAL {
        return Refusal::default();
    }
    let Ok(body) = serde_json::from_slice::<Json>(body) else { return Refusal::default() };
    let Some(error) = body.get("error") else { return Refusal::default() };
    let text = |key| error.get(key).and_then(Json::as_str).filter(|text| !text.is_empty());
    let said: Vec<&str> = [error.as_str(), text("code"), text("message")].into_iter().flatten().collect();
    let reset = error.get("limit").and_then(|limit| limit.get("reset")).and_then(Json::as_i64);
    Refusal { words: (!said.is_empty()).then(|| said.join(": ")), reset }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(json: &str) -> WireTag {
        serde_json::from_str(json).unwrap()
    }

    fn value(json: &str) -> Result<Value, String> {
        tag(json).into_tag(TagName::new("v1").unwrap()).value
    }

    #[test]
    fn tags_of_all_kinds_are_read() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let full = format!(
            r#"{{"tag":"v1","manifestDigest":"{digest}","imageId":"i","kind":"attestation","platform":"linux","arch":"arm64",
                "pushedBy":null,"status":"unoptimized","sizeInBytes":1.5e3,"createdAt":"","updatedAt":"2026-11-21T00:00:00Z","new":[]}}"#
        );
        assert_eq!(value(&full), Ok(Value::of(Target::Digest(digest.parse().unwrap()))));
        let words = tag(&full).words();
        assert_eq!(words, "attestation, linux/arm64, status unoptimized, 1500.0 bytes, updated 2026-11-21T00:00:00Z");
        let index = format!(r#"{{"tag":"v1","manifestDigest":"{digest}","kind":7,"status":null,"sizeInBytes":"9"}}"#);
        assert!(value(&index).is_ok());
        assert_eq!(tag(&index).words(), "");
        for unknown in [
            r#"{"tag":"v1"}"#,
            r#"{"tag":"v1","manifestDigest":null}"#,
            r#"{"tag":"v1","manifestDigest":"sha256:abc"}"#,
            r#"{"tag":"v1","manifestDigest":1}"#,
        ] {
            assert!(value(unknown).unwrap_err().contains("no digest"), "{unknown}");
        }
    }

    #[test]
    fn what_is_no_page_is_an_error() {
        let page = |json: &str| serde_json::from_str::<WirePage>(json);
        assert!(page(r#"{"tags":[],"nextCursor":null}"#).unwrap().next_cursor.is_none());
        for bad in ["", "null", "[]", "{}", r#"{"tags":null}"#, r#"{"tags":[{}]}"#, r#"{"tags":[],"nextCursor":1}"#] {
            assert!(page(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn refusals_are_understood() {
        let limited =
            refusal(br#"{"error":{"code":"rate_limited","message":"Slow","limit":{"remaining":0,"reset":90}}}"#);
        assert_eq!(limited.words.as_deref(), Some("rate_limited: Slow"));
        assert_eq!(limited.wait(Timestamp::from_second(60).unwrap()), Some(Duration::from_secs(30)));
        assert_eq!(limited.wait(Timestamp::from_second(100).unwrap()), Some(Duration::ZERO));
        assert_eq!(refusal(br#"{"error":"nope"}"#).words.as_deref(), Some("nope"));
        for none in ["", "slow down", "[]", "{}", r#"{"error":null}"#, "<html>", r#"{"error":{"limit":{"reset":"x"}}}"#]
        {
            assert_eq!(refusal(none.as_bytes()), Refusal::default(), "{none}");
        }
    }
}
