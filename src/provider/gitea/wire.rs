//! Gitea's JSON, read with as few demands as possible, and what follows from it.

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::tag::{Annotation, RemoteTag, TagName, Target, Value, normalise};

/// A tag. Only the name must be there.
#[derive(Debug, Deserialize)]
pub(super) struct WireTag {
    pub(super) name: String,
    #[serde(default)]
    message: Option<String>,
    /// What the ref holds.
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    commit: Option<WireCommit>,
}

/// A commit, of which only the id is of interest.
#[derive(Debug, Deserialize)]
pub(super) struct WireCommit {
    #[serde(default)]
    pub(super) sha: Option<String>,
}

impl WireTag {
    /// The tag in our terms, under a name that has been checked.
    ///
    /// `commit.sha` is what the tag object names: another tag object for a tag of tags, a tree or a blob for a tag on these
    /// (2026-11-21, `parseTagRef`). None of them is a commit that a source could have, so such a tag agrees with nothing.
    pub(super) fn into_tag(self, name: TagName, compare_annotations: bool) -> RemoteTag {
        let sha = self.commit.and_then(|commit| commit.sha);
        // A lightweight tag is shown with the message of its commit, which is no message of the tag.
        let is_annotated = self.id.as_deref().map(|id| sha.as_deref() != Some(id));
        let message = self.message.filter(|_| is_annotated == Some(true));
        let target = match sha {
            None => Err("Gitea shows no commit behind it"),
            Some(id) => id.parse().map(Target::Commit).map_err(|_| "Gitea names no full commit id"),
        };
        let value = match (target, is_annotated) {
            (Err(reason), _) => Err(reason.to_owned()),
            (Ok(_), None) if compare_annotations => Err("Gitea does not show whether it is annotated".to_owned()),
            (Ok(target), _) if compare_annotations => {
                Ok(Value { target, annotation: Annotation::of_message(message.as_deref()) })
            }
            (Ok(target), _) => Ok(Value::of(target)),
        };
        // The API does not tell which names are protected, and deletes no tag that a Release is attached to.
        RemoteTag { name, value, message, protected: false, attachment: None }
    }
}

/// A tag to be created.
#[derive(Debug, Serialize)]
pub(super) struct WireNewTag<'a> {
    pub(super) tag_name: &'a str,
    /// The full commit id, so that no branch of the same name is meant, nor the default branch.
    pub(super) target: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) message: Option<&'a str>,
}

/// A repository, as far as it tells who answers and what the credential may do.
#[derive(Debug, Deserialize)]
pub(super) struct WireRepository {
    pub(super) id: u64,
    #[serde(default)]
    pub(super) archived: bool,
    /// Whether it follows another repository and is overwritten by it.
    #[serde(default)]
    pub(super) mirror: bool,
    /// Whether Releases are shown.
    #[serde(default)]
    pub(super) has_releases: Option<bool>,
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

/// What becomes of a message in `git tag -a -m`: comments and white space at the ends of lines go, and all but one of several
/// empty lines (2026-11-21, <https://git-scm.com/docs/git-tag#Documentation/git-tag.txt---cleanupmode>).
fn cleaned(message: &str) -> String {
    let mut lines: Vec<&str> = Vec::new();
    for line in message.split('\n').filter(|line| !line.starts_with('#')).map(str::trim_ascii_end) {
        if !line.is_empty() || lines.last().is_some_and(|last| !last.is_empty()) {
            lines.push(line);
        }
    }
    lines.join("\n")
}

/// Whether a message, as it is compared, is still the same after the server's git has cleaned it.
pub(super) fn survives(message: &str) -> bool {
    normalise(&cleaned(message)) == normalise(message)
}

/// The longest body in which a refusal is looked for; read as a tree, a large one would take many times its length.
const LONGEST_REFUSAL: usize = 64 * 1024;

/// The server's words for a refusal: `message`, and what `errors` adds to it.
pub(super) fn refusal(body: &[u8]) -> Option<String> {
    if body.len() > LONGEST_REFUSAL {
        return None;
    }
    let Ok(Json::Object(body)) = serde_json::from_slice::<Json>(body) else { return None };
    let errors = body.get("errors").and_then(Json::as_array).into_iter().flatten();
    let words: Vec<&str> = body.get("message").into_iter().chain(errors).filter_map(Json::as_str).collect();
    (!words.is_empty()).then(|| words.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "2695effb5807a22ff3d138d593fd856244e155e7";
    const TAG: &str = "88a5e61d1cb08dfc1a3c4d6c11ee6ac8ea1c2d3f";

    fn tag(json: &str, compare: bool) -> RemoteTag {
        let wire: WireTag = serde_json::from_str(json).unwrap();
        let name = TagName::new(&wire.name).unwrap();
        wire.into_tag(name, compare)
    }

    fn value(message: Option<&str>) -> Result<Value, String> {
        Ok(Value { target: Target::Commit(COMMIT.parse().unwrap()), annotation: Annotation::of_message(message) })
    }

    #[test]
    fn the_message_of_a_commit_is_none_of_the_tag() {
        let annotated = format!(r#"{{"name":"v1","message":"First\n","id":"{TAG}","commit":{{"sha":"{COMMIT}"}}}}"#);
        assert_eq!(tag(&annotated, true).value, value(Some("First")));
        assert_eq!(tag(&annotated, true).message.as_deref(), Some("First\n"));
        let plain =
            format!(r#"{{"name":"v1","message":"Work","id":"{COMMIT}","commit":{{"sha":"{COMMIT}","url":1}}}}"#);
        let plain = tag(&plain, true);
        assert_eq!((plain.value, plain.message), (value(None), None));
        let untold = format!(r#"{{"name":"v1","message":"?","commit":{{"sha":"{COMMIT}"}},"new":[{{}}]}}"#);
        assert!(tag(&untold, true).value.unwrap_err().contains("whether it is annotated"));
        assert_eq!(tag(&untold, false).value, Ok(Value::of(Target::Commit(COMMIT.parse().unwrap()))));
        for (json, reason) in [
            (r#"{"name":"v1"}"#, "no commit"),
            (r#"{"name":"v1","commit":null}"#, "no commit"),
            (r#"{"name":"v1","commit":{"sha":null}}"#, "no commit"),
            (r#"{"name":"v1","commit":{"sha":"2695effb"}}"#, "no full commit id"),
        ] {
            assert!(tag(json, false).value.unwrap_err().contains(reason), "{json}");
        }
    }

    #[test]
    fn what_is_no_tag_is_an_error() {
        let deep = format!("{}{}", r#"{"name":"v1","x":"#, "[".repeat(100_000));
        for json in
            ["", "null", "[]", r#"{"name":null}"#, r#"{"name":1}"#, r#"{"tag":"v1"}"#, "{\"name\":\"v1\"", &deep]
        {
            assert!(serde_json::from_str::<WireTag>(json).is_err());
        }
        assert!(serde_json::from_str::<WireTag>(r#"{"name":"a","name":"b"}"#).is_err());
    }

    #[test]
    fn messages_survive_unless_git_would_clean_them() {
        for good in ["", "One", "One\n", "\n\nOne\n\nTwo\r\nThree  \n\n", "a #b", " # no comment", "One\n-----BEGIN"] {
            assert!(survives(good), "{good:?}");
        }
        for bad in ["# Title", "One\n#2\n", "One\n\n\nTwo", "One  \nTwo", "One\n \nTwo"] {
            assert!(!survives(bad), "{bad:?}");
        }
    }

    #[test]
    fn refusals_are_understood_in_all_forms() {
        let words = |json: &str| refusal(json.as_bytes());
        assert_eq!(words(r#"{"message":"tag exist","url":"x"}"#).unwrap(), "tag exist");
        assert_eq!(words(r#"{"errors":["a",1,"b"],"message":"m"}"#).unwrap(), "m; a; b");
        assert_eq!(words(r#"{"errors":null,"message":"m"}"#).unwrap(), "m");
        for none in ["", "404 page not found", "[]", "{}", r#"{"message":null}"#, "<html>"] {
            assert_eq!(words(none), None, "{none}");
        }
        assert_eq!(words(&format!(r#"{{"message":"{}"}}"#, "x".repeat(64 * 1024))), None);
    }
}
