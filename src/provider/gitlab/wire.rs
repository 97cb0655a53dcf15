//! GitLab's JSON, read with as few demands as possible, and what follows from it.

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value as Json;
use serde_json::value::RawValue;

use crate::tag::{Annotation, Attachment, RemoteTag, TagName, Target, Value};

/// A tag. Old servers leave out much, so only the name must be there.
#[derive(Debug, Deserialize)]
pub(super) struct WireTag {
    pub(super) name: String,
    #[serde(default)]
    message: Option<String>,
    #[serde(default)]
    commit: Option<WireCommit>,
    #[serde(default, deserialize_with = "given")]
    release: Option<Option<IgnoredAny>>,
    #[serde(default)]
    protected: Option<bool>,
}

/// Tells `null` (inner `None`) from a key that is not there (outer `None`).
fn given<'de, D: Deserializer<'de>>(json: D) -> Result<Option<Option<IgnoredAny>>, D::Error> {
    Option::deserialize(json).map(Some)
}

/// A commit, of which only the id is of interest.
#[derive(Debug, Deserialize)]
pub(super) struct WireCommit {
    #[serde(default)]
    pub(super) id: Option<String>,
}

impl WireTag {
    /// The tag in our terms, under a name that has been checked.
    pub(super) fn into_tag(self, name: TagName, compare_annotations: bool) -> RemoteTag {
        let target = match self.commit {
            // The server looks for the commit behind the tag and finds none (2026-11-21, `lib/api/entities/tag.rb`).
            None => Err("GitLab shows no commit behind it: it points at a tree or a blob, or the commit is missing"),
            Some(WireCommit { id: None }) => Err("GitLab names no commit id"),
            Some(WireCommit { id: Some(id) }) => id.parse().map_err(|_| "GitLab names no full commit id"),
        };
        let value = target.map(Target::Commit).map_err(str::to_owned).map(|target| {
            let annotation = match compare_annotations {
                true => Annotation::of_message(self.message.as_deref()),
                false => Annotation::NotCompared,
            };
            Value { target, annotation }
        });
        let attachment = match self.release {
            None => Some(Attachment::Hidden),
            Some(None) => None,
            Some(Some(IgnoredAny)) => Some(Attachment::Release),
        };
        RemoteTag { name, value, message: self.message, protected: self.protected.unwrap_or(false), attachment }
    }
}

/// A tag's X.509 signature, as GitLab judges it.
#[derive(Debug, Deserialize)]
pub(super) struct WireSignature {
    #[serde(default)]
    signature_type: Option<String>,
    #[serde(default)]
    verification_status: Option<String>,
    #[serde(default)]
    x509_certificate: Option<WireCertificate>,
}

#[derive(Debug, Deserialize)]
struct WireCertificate {
    #[serde(default)]
    subject: Option<String>,
    /// Up to twenty bytes, too many for any number of ours.
    #[serde(default)]
    serial_number: Option<Box<RawValue>>,
    #[serde(default)]
    certificate_status: Option<String>,
    #[serde(default)]
    x509_issuer: Option<WireIssuer>,
}

#[derive(Debug, Deserialize)]
struct WireIssuer {
    #[serde(default)]
    subject: Option<String>,
}

impl WireSignature {
    /// For people: status, subject, issuer, serial number.
    pub(super) fn words(self) -> String {
        let kind = self.signature_type.unwrap_or_else(|| "X509".to_owned());
        let mut words = vec![format!("{kind}, {}", self.verification_status.as_deref().unwrap_or("status unknown"))];
        if let Some(WireCertificate { subject, serial_number, certificate_status, x509_issuer }) = self.x509_certificate
        {
            let issuer = x509_issuer.and_then(|issuer| issuer.subject);
            let serial = serial_number.map(|number| number.get().trim_matches('"').to_owned());
            let parts = [
                ("certificate", certificate_status),
                ("subject", subject),
                ("issuer", issuer),
                ("serial number", serial),
            ];
            words.extend(parts.into_iter().filter_map(|(what, says)| Some(format!("{what} {}", says?))));
        }
        words.join("; ")
    }
}

/// A tag to be created.
#[derive(Debug, Serialize)]
pub(super) struct WireNewTag<'a> {
    pub(super) tag_name: &'a str,
    /// The full commit id, so that no branch of the same name is meant.
    #[serde(rename = "ref")]
    pub(super) commit_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) message: Option<&'a str>,
}

/// A project, as far as it tells who answers and what the credential may do.
#[derive(Debug, Deserialize)]
pub(super) struct WireProject {
    pub(super) id: u64,
    #[serde(default)]
    pub(super) archived: Option<bool>,
    #[serde(default)]
    pub(super) repository_access_level: Option<String>,
    #[serde(default)]
    permissions: Option<WirePermissions>,
}

#[derive(Debug, Deserialize)]
struct WirePermissions {
    #[serde(default)]
    project_access: Option<WireAccess>,
    #[serde(default)]
    group_access: Option<WireAccess>,
}

#[derive(Debug, Deserialize)]
struct WireAccess {
    #[serde(default)]
    access_level: Option<u32>,
}

/// A token about itself.
#[derive(Debug, Deserialize)]
pub(super) struct WireToken {
    #[serde(default)]
    pub(super) scopes: Vec<String>,
}

impl WireProject {
    /// The higher of the roles in the project and in its group. Administrators have none and may do everything.
    pub(super) fn access_level(&self) -> Option<u32> {
        let permissions = self.permissions.as_ref()?;
        let level = |access: &Option<WireAccess>| access.as_ref().and_then(|access| access.access_level);
        level(&permissions.project_access).max(level(&permissions.group_access))
    }
}

/// A role's name (2026-11-21, <https://docs.gitlab.com/api/access_requests/>).
pub(super) fn role(level: u32) -> String {
    let name = match level {
        0 => "No access",
        5 => "Minimal access",
        10 => "Guest",
        15 => "Planner",
        20 => "Reporter",
        25 => "Security Manager",
        30 => "Developer",
        40 => "Maintainer",
        50 => "Owner",
        _ => return format!("access level {level}"),
    };
    format!("the role {name}")
}

/// The server's words for a refusal.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Refusal {
    /// All of them, in one line.
    pub(super) words: Option<String>,
    /// The scopes of which the token needs one.
    pub(super) scope: Option<String>,
}

/// The longest body in which a refusal is looked for; read as a tree, a large one would take many times its length.
const LONGEST_REFUSAL: usize = 64 * 1024;

/// Finds the words in the body of an error. GitLab has many forms: `message` as text, as a list, as lists by field;
/// `error` with `error_description`; and plain text on 429.
pub(super) fn refusal(body: &[u8]) -> Refusal {
    if body.len() > LONGEST_REFUSAL {
        return Refusal::default();
    }
    let Ok(Json::Object(body)) = serde_json::from_slice::<Json>(body) else { return Refusal::default() };
    let mut words = Vec::new();
    for key in ["message", "error", "error_description"] {
        if let Some(value) = body.get(key) {
            collect(value, &mut words);
        }
    }
    let insufficient = body.get("error").and_then(Json::as_str) == Some("insufficient_scope");
    let scope = body.get("scope").and_then(Json::as_str).filter(|_| insufficient).map(str::to_owned);
    Refusal { words: (!words.is_empty()).then(|| words.join("; ")), scope }
}

fn collect(value: &Json, words: &mut Vec<String>) {
    match value {
        Json::String(text) => words.push(text.clone()),
        Json::Array(list) => list.iter().for_each(|item| collect(item, words)),
        Json::Object(fields) => {
            for (field, problems) in fields {
                let mut of_field = Vec::new();
                collect(problems, &mut of_field);
                words.push(format!("{field}: {}", of_field.join(", ")));
            }
        }
        Json::Null => {}
        Json::Bool(_) | Json::Number(_) => words.push(value.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "2695effb5807a22ff3d138d593fd856244e155e7";

    fn tag(json: &str) -> RemoteTag {
        let wire: WireTag = serde_json::from_str(json).unwrap();
        let name = TagName::new(&wire.name).unwrap();
        wire.into_tag(name, true)
    }

    fn value(message: Option<&str>) -> Result<Value, String> {
        Ok(Value { target: Target::Commit(COMMIT.parse().unwrap()), annotation: Annotation::of_message(message) })
    }

    #[test]
    fn tags_of_all_ages_are_read() {
        let full = format!(
            r#"{{"name":"v1","target":"aa","message":"First\r\n","commit":{{"id":"{COMMIT}","short_id":"2695effb","parent_ids":[]}},
                "release":null,"protected":true,"created_at":null,"new":{{"deep":[1.5e3]}}}}"#
        );
        let name = || TagName::new("v1").unwrap();
        let read = RemoteTag {
            name: name(),
            value: value(Some("First")),
            message: Some("First\r\n".into()),
            protected: true,
            attachment: None,
        };
        assert_eq!(tag(&full), read);
        let lightweight = tag(&format!(
            r#"{{"name":"v1","message":null,"commit":{{"id":"{COMMIT}"}},"release":{{"tag_name":"v1"}}}}"#
        ));
        let read = RemoteTag {
            name: name(),
            value: value(None),
            message: None,
            protected: false,
            attachment: Some(Attachment::Release),
        };
        assert_eq!(lightweight, read);
        for (json, reason) in [
            (r#"{"name":"v1"}"#, "no commit behind it"),
            (r#"{"name":"v1","commit":null,"release":null}"#, "no commit behind it"),
            (r#"{"name":"v1","commit":{}}"#, "no commit id"),
            (r#"{"name":"v1","commit":{"id":null}}"#, "no commit id"),
            (r#"{"name":"v1","commit":{"id":"2695effb"}}"#, "no full commit id"),
            (r#"{"name":"v1","commit":{"id":"0000000000000000000000000000000000000000"}}"#, "no full commit id"),
        ] {
            assert!(tag(json).value.unwrap_err().contains(reason), "{json}");
        }
        assert_eq!(tag(r#"{"name":"v1"}"#).attachment, Some(Attachment::Hidden));
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
    fn refusals_are_understood_in_all_forms() {
        let words = |json: &str| refusal(json.as_bytes()).words;
        assert_eq!(words(r#"{"message":"404 Tag Not Found"}"#).unwrap(), "404 Tag Not Found");
        assert_eq!(words(r#"{"message":["a","b"]}"#).unwrap(), "a; b");
        assert_eq!(
            words(r#"{"message":{"name":["is bad","is long"],"x":null}}"#).unwrap(),
            "name: is bad, is long; x: "
        );
        assert_eq!(words(r#"{"error":"tag_name is missing"}"#).unwrap(), "tag_name is missing");
        for none in ["", "Retry later", "[]", "{}", r#"{"message":null}"#, "<html>"] {
            assert_eq!(refusal(none.as_bytes()), Refusal::default(), "{none}");
        }
        assert_eq!(words(&format!(r#"{{"message":"{}"}}"#, "x".repeat(64 * 1024))), None);
        let scope = refusal(
            br#"{"error":"insufficient_scope","error_description":"The request requires higher privileges","scope":"api read_api"}"#,
        );
        assert_eq!(scope.words.unwrap(), "insufficient_scope; The request requires higher privileges");
        assert_eq!(scope.scope.unwrap(), "api read_api");
    }

    #[test]
    fn the_higher_role_counts() {
        let level = |json: &str| {
            let project: WireProject = serde_json::from_str(&format!(r#"{{"id":1,"permissions":{json}}}"#)).unwrap();
            project.access_level()
        };
        assert_eq!(level("null"), None);
        assert_eq!(level(r#"{"project_access":null,"group_access":null}"#), None);
        assert_eq!(level(r#"{"project_access":{"access_level":20,"notification_level":3}}"#), Some(20));
        assert_eq!(level(r#"{"project_access":{"access_level":20},"group_access":{"access_level":40}}"#), Some(40));
        assert_eq!(role(20), "the role Reporter");
    }
}
