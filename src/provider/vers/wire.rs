//! The JSON of Vers, read with as few demands as possible, and what follows from it.

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use uuid::Uuid;

use crate::tag::{Annotation, RemoteTag, TagName, TargetKind, Value};

/// The listing: all tags of a repository. `tags` must be there: an answer without them says nothing about the tags.
#[derive(Debug, Deserialize)]
pub(super) struct WireTags {
    #[serde(default)]
    pub(super) repository: Option<String>,
    pub(super) tags: Vec<WireTag>,
}

/// A tag. What is not needed to know its value may be missing.
#[derive(Debug, Deserialize)]
pub(super) struct WireTag {
    pub(super) tag_name: String,
    #[serde(default)]
    commit_id: Option<String>,
    #[serde(default)]
    pub(super) description: Option<String>,
    #[serde(default)]
    pub(super) created_at: Option<String>,
    #[serde(default)]
    pub(super) updated_at: Option<String>,
}

impl WireTag {
    /// The tag in our terms, under a name that has been checked.
    pub(super) fn into_tag(self, name: TagName, compare_annotations: bool) -> RemoteTag {
        let target = match self.commit_id.as_deref() {
            None => Err("Vers names no commit for it"),
            Some(id) => TargetKind::Snapshot.parse(id).map_err(|_| "Vers names a commit that is no UUID"),
        };
        let value = target.map_err(str::to_owned).map(|target| {
            let annotation = match compare_annotations {
                true => Annotation::of_message(self.description.as_deref()),
                false => Annotation::NotCompared,
            };
            Value { target, annotation }
        });
        RemoteTag { name, value, message: self.description, protected: false, attachment: None }
    }
}

/// A tag to be created.
#[derive(Debug, Serialize)]
pub(super) struct WireNewTag<'a> {
    pub(super) tag_name: &'a str,
    /// In lower case.
    pub(super) commit_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) description: Option<&'a str>,
}

/// The answer to a create. It tells neither the name nor the description.
#[derive(Debug, Deserialize)]
pub(super) struct WireCreated {
    pub(super) commit_id: String,
}

/// A change to a tag. A field that is left out stays as it is, and a description that is null goes (2026-11-21, the
/// models of vers-sdk 1.20.0).
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct WireChange<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) commit_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) description: Option<Option<&'a str>>,
}

/// A repository, as far as it tells which one answers.
#[derive(Debug, Deserialize)]
pub(super) struct WireRepository {
    repo_id: String,
}

/// Longer ids are none.
const LONGEST_ID: usize = 128;

impl WireRepository {
    /// The id in one spelling. It is a UUID; should it become something else one day, it will still be one word.
    pub(super) fn id(&self) -> Option<String> {
        let id = self.repo_id.as_str();
        if let Ok(id) = Uuid::try_parse(id) {
            return (!id.is_nil()).then(|| id.to_string());
        }
        let is_word = !id.is_empty() && id.len() <= LONGEST_ID && id.bytes().all(|byte| byte.is_ascii_graphic());
        is_word.then(|| id.to_owned())
    }
}

/// A page of the organisation's commits.
#[derive(Debug, Deserialize)]
pub(super) struct WireCommits {
    pub(super) commits: Vec<WireCommit>,
    #[serde(default)]
    pub(super) total: Option<u64>,
}

/// A commit, of which only the id is of interest.
#[derive(Debug, Deserialize)]
pub(super) struct WireCommit {
    pub(super) commit_id: String,
}

/// The longest body in which a refusal is looked for; read as a tree, a large one would take many times its length.
const LONGEST_REFUSAL: usize = 64 * 1024;

/// The server's words for a refusal: `error`, or `message` as some gateways have it. Requests that its JSON reader
/// refuses are answered in plain text (400, 415, 422), which is shown as it is.
pub(super) fn refusal(body: &[u8]) -> Option<String> {
    if body.len() > LONGEST_REFUSAL {
        return None;
    }
    let Ok(Json::Object(body)) = serde_json::from_slice::<Json>(body) else { return None };
    ["error", "message"].iter().find_map(|key| match body.get(*key)? {
        Json::String(text) => Some(text.clone()),
        Json::Null => None,
        other => Some(other.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tag::Target;

    const COMMIT: &str = "67e55044-10b1-426f-9247-bb680e5fe0c8";

    fn tag(json: &str) -> RemoteTag {
        let wire: WireTag = serde_json::from_str(json).unwrap();
        let name = TagName::new(&wire.tag_name).unwrap();
        wire.into_tag(name, true)
    }

    fn value(message: Option<&str>) -> Result<Value, String> {
        let target = Target::Snapshot(COMMIT.parse().unwrap());
        Ok(Value { target, annotation: Annotation::of_message(message) })
    }

    #[test]
    fn a_tag_is_read_whatever_else_is_there_or_missing() {
        let full = format!(
            r#"{{"tag_id":"0c8","tag_name":"v1","reference":"core:v1","commit_id":"{COMMIT}","created_at":"2026-01-01T00:00:00Z",
                "updated_at":null,"description":"First\r\n","labels":{{"new":[1.5e3]}}}}"#
        );
        let read = RemoteTag {
            name: TagName::new("v1").unwrap(),
            value: value(Some("First")),
            message: Some("First\r\n".into()),
            protected: false,
            attachment: None,
        };
        assert_eq!(tag(&full), read);
        let upper = COMMIT.to_uppercase();
        for least in [
            format!(r#"{{"tag_name":"v1","commit_id":"{COMMIT}"}}"#),
            format!(r#"{{"tag_name":"v1","commit_id":"{upper}","description":null}}"#),
            format!(r#"{{"tag_name":"v1","commit_id":"{COMMIT}","description":"  \n"}}"#),
        ] {
            assert_eq!(tag(&least).value, value(None), "{least}");
        }
        for (json, reason) in [
            (r#"{"tag_name":"v1"}"#, "names no commit"),
            (r#"{"tag_name":"v1","commit_id":null}"#, "names no commit"),
            (r#"{"tag_name":"v1","commit_id":""}"#, "no UUID"),
            (r#"{"tag_name":"v1","commit_id":"67e55044"}"#, "no UUID"),
            (r#"{"tag_name":"v1","commit_id":"00000000-0000-0000-0000-000000000000"}"#, "no UUID"),
            (r#"{"tag_name":"v1","commit_id":"2695effb5807a22ff3d138d593fd856244e155e7"}"#, "no UUID"),
        ] {
            assert!(tag(json).value.unwrap_err().contains(reason), "{json}");
        }
    }

    #[test]
    fn what_is_no_listing_is_an_error() {
        let deep = format!("{}{}", r#"{"tags":[],"x":"#, "[".repeat(100_000));
        for json in [
            "",
            "null",
            "[]",
            "{}",
            r#"{"repository":"core"}"#,
            r#"{"repository":"core","tags":null}"#,
            r#"{"repository":"core","tags":{}}"#,
            r#"{"repository":"core","tags":"none"}"#,
            r#"{"repository":"core","tags":[null]}"#,
            r#"{"repository":"core","tags":[{"tag_name":null}]}"#,
            r#"{"repository":"core","tags":[{"tag_name":1}]}"#,
            r#"{"repository":"core","tags":[{"tag_name":"a","description":5}]}"#,
            r#"{"repository":"core","tags":[],"tags":[]}"#,
            r#"{"repository":"core","tags":["#,
            r#"[{"tag_name":"v1"}]"#,
            &deep,
        ] {
            assert!(serde_json::from_str::<WireTags>(json).is_err(), "{}", &json[..json.len().min(80)]);
        }
        let empty: WireTags = serde_json::from_str(r#"{"repository":null,"tags":[],"total":"?"}"#).unwrap();
        assert!(empty.tags.is_empty());
    }

    #[test]
    fn a_change_says_only_what_changes() {
        let json = |change: &WireChange<'_>| serde_json::to_string(change).unwrap();
        let commit_id = Some(COMMIT.to_owned());
        assert_eq!(json(&WireChange { commit_id, description: None }), format!(r#"{{"commit_id":"{COMMIT}"}}"#));
        assert_eq!(json(&WireChange { commit_id: None, description: Some(None) }), r#"{"description":null}"#);
        assert_eq!(json(&WireChange { commit_id: None, description: Some(Some("x")) }), r#"{"description":"x"}"#);
    }

    #[test]
    fn refusals_are_understood_in_all_forms() {
        let words = |json: &str| refusal(json.as_bytes());
        assert_eq!(words(r#"{"error":"tag not found","success":false}"#).unwrap(), "tag not found");
        assert_eq!(words(r#"{"error":null,"message":"no"}"#).unwrap(), "no");
        assert_eq!(words(r#"{"error":{"code":7}}"#).unwrap(), r#"{"code":7}"#);
        for none in ["", "[]", "{}", "null", "<html>", "Failed to deserialize the JSON body into the target type"] {
            assert_eq!(words(none), None, "{none}");
        }
        assert_eq!(words(&format!(r#"{{"error":"{}"}}"#, "x".repeat(64 * 1024))), None);
    }

    #[test]
    fn a_repository_has_one_id_in_one_spelling() {
        let id = |json: &str| serde_json::from_str::<WireRepository>(json).ok().and_then(|repository| repository.id());
        let upper = COMMIT.to_uppercase();
        assert_eq!(id(&format!(r#"{{"repo_id":"{upper}","name":"core","is_public":true}}"#)).unwrap(), COMMIT);
        assert_eq!(id(r#"{"repo_id":"repo_7"}"#).unwrap(), "repo_7");
        for none in [
            r#"{"name":"core"}"#,
            r#"{"repo_id":null}"#,
            r#"{"repo_id":7}"#,
            r#"{"repo_id":""}"#,
            r#"{"repo_id":"a b"}"#,
            r#"{"repo_id":"00000000-0000-0000-0000-000000000000"}"#,
        ] {
            assert_eq!(id(none), None, "{none}");
        }
    }
}
