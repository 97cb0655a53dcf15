//! CodeArts Repo's JSON, read with as few demands as possible, and what follows from it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use crate::http::FaultKind;
use crate::tag::{Annotation, CommitId, RemoteTag, TagName, Target, Value};

/// A tag, listed or alone. All but the name may be missing or null, by the documentation.
#[derive(Debug, Deserialize)]
pub(super) struct WireTag {
    pub(super) name: String,
    #[serde(default)]
    message: Option<String>,
    #[serde(default)]
    target: Option<String>,
    /// Only where one tag is shown alone.
    #[serde(default)]
    commit: Option<WireCommit>,
    /// Only in the listing. Of any form, because nothing but words for people is made of it.
    #[serde(default, rename = "gpgKey")]
    gpg_key: Json,
    /// Only in the listing.
    #[serde(default)]
    can_delete: Option<bool>,
}

/// A commit, of which only the id and the message are of interest.
#[derive(Debug, Default, Deserialize)]
pub(super) struct WireCommit {
    #[serde(default)]
    pub(super) id: Option<String>,
    #[serde(default)]
    message: Option<String>,
}

/// What a listed tag says of what it points at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Pointer {
    /// A lightweight tag holds nothing but a commit.
    Commit(CommitId),
    /// An annotated tag: its own object, or the commit behind that.
    Either(CommitId),
    /// Nothing of use.
    Untold,
}

impl WireTag {
    /// An empty message is none: it cannot be told whether the server means one by it.
    fn text(&self) -> Option<&str> {
        self.message.as_deref().filter(|message| !message.is_empty())
    }

    /// What the listing says that it points at.
    pub(super) fn pointer(&self) -> Pointer {
        let target = self.target.as_deref().and_then(|id| id.parse().ok());
        match (target, self.text()) {
            (None, _) => Pointer::Untold,
            (Some(id), None) => Pointer::Commit(id),
            (Some(id), Some(_)) => Pointer::Either(id),
        }
    }

    /// Of a tag that is shown alone: the commit behind it. `target` will do for a lightweight tag, which has no object
    /// of its own.
    pub(super) fn peeled(&self) -> Result<CommitId, &'static str> {
        match (&self.commit, self.pointer()) {
            (Some(WireCommit { id: Some(id), .. }), _) => {
                id.parse().map_err(|_| "CodeArts Repo names no full commit id")
            }
            (_, Pointer::Commit(id)) => Ok(id),
            (_, Pointer::Either(_)) => Err("CodeArts Repo shows no commit behind the annotated tag"),
            (_, Pointer::Untold) => Err("CodeArts Repo names no full commit id"),
        }
    }

    /// Of a tag that is shown alone: whether it proves that this server names the commit also for annotated tags. Its
    /// message must be its own: one that repeats the commit's may be that of a lightweight tag.
    pub(super) fn proves_commits(&self) -> bool {
        let Some(WireCommit { id: Some(id), message: Some(of_commit) }) = &self.commit else { return false };
        self.text().is_some_and(|text| text.trim() != of_commit.trim()) && self.target.as_ref() == Some(id)
    }

    /// The tag in our terms, under a name that has been checked, with the commit that has been found.
    pub(super) fn into_tag(
        self,
        name: TagName,
        commit: Result<CommitId, String>,
        compare_annotations: bool,
    ) -> RemoteTag {
        let message = self.text().map(str::to_owned);
        let value = commit.map(Target::Commit).map(|target| {
            let annotation = match compare_annotations {
                true => Annotation::of_message(message.as_deref()),
                false => Annotation::NotCompared,
            };
            Value { target, annotation }
        });
        RemoteTag { name, value, message, protected: self.can_delete == Some(false), attachment: None }
    }

    /// What the server thinks of its signature, for people; `None` where it says nothing.
    pub(super) fn signature(&self) -> Option<String> {
        let key = self.gpg_key.as_object()?;
        let text = |name: &str| match key.get(name)? {
            Json::String(text) => (!text.is_empty()).then(|| text.clone()),
            Json::Number(number) => Some(number.to_string()),
            Json::Bool(is) => Some(is.to_string()),
            Json::Null | Json::Array(_) | Json::Object(_) => None,
        };
        let words: Vec<_> = [
            ("verification on", "open_gpg_verified"),
            ("verification status", "verification_status"),
            ("key", "gpg_primary_key_id"),
            ("key name", "gpg_name"),
            ("user", "gpg_user_name"),
            ("account", "gpg_tenant_name"),
        ]
        .into_iter()
        .filter_map(|(what, name)| Some(format!("{what} {}", text(name)?)))
        .collect();
        (!words.is_empty()).then(|| format!("GPG; {}", words.join("; ")))
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

/// A repository, as far as it tells who answers.
#[derive(Debug, Deserialize)]
pub(super) struct WireRepository {
    /// A number, in some answers as text.
    #[serde(default)]
    id: Json,
    #[serde(default)]
    pub(super) archived: Option<bool>,
}

impl WireRepository {
    pub(super) fn is(&self, id: u32) -> bool {
        match &self.id {
            Json::Number(found) => found.as_u64() == Some(id.into()),
            Json::String(found) => found.parse() == Ok(id),
            _ => false,
        }
    }
}

/// What the body of an error says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Refusal {
    /// `CH.00402000`, `APIG.0308`, …
    pub(super) code: Option<String>,
    /// The server's words.
    pub(super) words: Option<String>,
    /// Whether the body itself says that the request failed, whatever the status.
    pub(super) failed: bool,
}

/// The longest body in which a refusal is looked for.
const LONGEST_REFUSAL: usize = 64 * 1024;

/// Finds code and words in the body of an error. There are many forms (2026-11-21, the v4 pages, the general page on
/// error codes, and `exception_handler.py` of `huaweicloudsdkcore`): `error_code` and `error_msg`, `code` and `message`,
/// either of them inside another object, and plain text. The v2 API says `"status": "failed"` under HTTP 200.
pub(super) fn refusal(body: &[u8]) -> Refusal {
    if body.len() > LONGEST_REFUSAL {
        return Refusal::default();
    }
    let Ok(Json::Object(body)) = serde_json::from_slice::<Json>(body) else { return Refusal::default() };
    let text = |object: &Map<String, Json>, keys: &[&str]| {
        keys.iter().find_map(|key| match object.get(*key)? {
            Json::String(text) if !text.is_empty() => Some(text.clone()),
            Json::Number(number) => Some(number.to_string()),
            _ => None,
        })
    };
    let code = |object| text(object, &["error_code", "errorCode", "code"]);
    let words = |object| text(object, &["error_msg", "errorMsg", "message", "msg", "error_description"]);
    let inner: Vec<_> = body.values().filter_map(Json::as_object).collect();
    // A commit has a `status`, too, and so may whatever else succeeds; but it names no error.
    let failed = body.contains_key("error_code")
        || body.get("error").is_some_and(|error| error.is_object() || error.is_string())
            && body.get("status").and_then(Json::as_str).is_some_and(|status| status.eq_ignore_ascii_case("failed"));
    Refusal {
        code: code(&body).or_else(|| inner.iter().find_map(|object| code(object))),
        words: words(&body)
            .or_else(|| inner.iter().find_map(|object| words(object)))
            .or_else(|| text(&body, &["error"])),
        failed,
    }
}

/// What a code says that the status does not; `None` leaves it to the status.
///
/// The gateway in front of all of Huawei Cloud's APIs has codes of its own (2026-11-21,
/// <https://support.huaweicloud.com/intl/en-us/devg-apisign/api-sign-errorcode.html>).
pub(super) fn meaning(code: &str) -> Option<FaultKind> {
    match code {
        "APIG.0308" => Some(FaultKind::Throttled),
        "APIG.0302" | "APIG.0304" | "APIG.0306" => Some(FaultKind::Forbidden),
        _ if code.starts_with("APIG.03") => Some(FaultKind::Unauthorized),
        _ => None,
    }
}

/// What a code says where the status says nothing, because it is that of a success.
pub(super) fn meaning_of_failed(code: &str) -> Option<FaultKind> {
    meaning(code).or(match code {
        "CH.00000001" | "CH.00000002" | "CH.080401" => Some(FaultKind::Unauthorized),
        "CH.00401001" | "CH.00401008" | "CH.080403" => Some(FaultKind::Forbidden),
        NO_REPOSITORY | "CH.000404" => Some(FaultKind::NotFound),
        // Internal error, gateway timeout: before or behind the effect.
        "CH.000001" | "CH.080504" => Some(FaultKind::Ambiguous),
        _ => None,
    })
}

/// The repository is not there.
const NO_REPOSITORY: &str = "CH.00402000";

/// What an answer that something is not there is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lacking {
    /// The thing that was asked for.
    Thing,
    /// The repository around it, or the whole API.
    Surroundings,
    /// It does not say.
    Untold,
}

impl Refusal {
    /// Whether it says that something is not there.
    pub(super) fn says_missing(&self, status: u16) -> bool {
        let words = self.words.as_deref().unwrap_or_default().to_ascii_lowercase();
        let known = self.code.as_deref().and_then(meaning_of_failed);
        status == 404
            || (self.failed && status < 300)
                && (known == Some(FaultKind::NotFound)
                    || known.is_none() && (words.contains("not exist") || words.contains("not found")))
    }

    /// What is not there. Which code an absent tag has is not documented, so words decide where they are clear:
    /// `things` are the words for what was asked for.
    pub(super) fn lacking(&self, things: &[&str]) -> Lacking {
        let (Some(code), words) = (&self.code, self.words.as_deref().unwrap_or_default().to_lowercase()) else {
            // Not an answer of this API at all: a proxy's, or a wrong address.
            return Lacking::Surroundings;
        };
        if code == NO_REPOSITORY || code.starts_with("APIG.") {
            return Lacking::Surroundings;
        }
        let mentions = |all: &[&str]| {
            let mut parts = words.split(|character: char| !character.is_alphanumeric());
            // Chinese has no spaces between words.
            parts.any(|part| all.contains(&part)) || all.iter().any(|word| !word.is_ascii() && words.contains(word))
        };
        match (mentions(things), mentions(&["repository", "project", "仓库", "项目"])) {
            (true, false) => Lacking::Thing,
            (false, true) => Lacking::Surroundings,
            // "The repository does not exist or you may not read its tags" speaks of both.
            (true, true) | (false, false) => Lacking::Untold,
        }
    }
}

/// What IAM says about the token that it gives in a header.
#[derive(Debug, Default, Deserialize)]
pub(super) struct WireTokenReply {
    #[serde(default)]
    pub(super) token: WireToken,
}

/// The token's life.
#[derive(Debug, Default, Deserialize)]
pub(super) struct WireToken {
    /// `2026-11-22T14:15:00.000000Z`
    #[serde(default)]
    pub(super) expires_at: Option<String>,
}

/// A question for a token (2026-11-21, <https://support.huaweicloud.com/intl/en-us/api-iam/iam_30_0001.html>).
pub(super) fn token_request(domain: &str, user: &str, password: &str, project: &str) -> Json {
    serde_json::json!({ "auth": {
        "identity": {
            "methods": ["password"],
            "password": { "user": { "name": user, "password": password, "domain": { "name": domain } } },
        },
        "scope": { "project": { "name": project } },
    } })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "2695effb5807a22ff3d138d593fd856244e155e7";
    const TWO: &str = "1a410efbd13591db07496601ebc7a059dd55cfe9";

    fn tag(json: &str) -> WireTag {
        serde_json::from_str(&json.replace("ONE", ONE).replace("TWO", TWO)).unwrap()
    }

    fn id(hex: &str) -> CommitId {
        hex.parse().unwrap()
    }

    #[test]
    fn only_a_tag_without_a_message_is_certainly_on_what_is_listed() {
        for (json, pointer) in [
            (r#"{"name":"v1","target":"ONE"}"#, Pointer::Commit(id(ONE))),
            (
                r#"{"name":"v1","target":"ONE","message":null,"gpgKey":null,"can_delete":null,"x":[{}]}"#,
                Pointer::Commit(id(ONE)),
            ),
            (r#"{"name":"v1","target":"ONE","message":""}"#, Pointer::Commit(id(ONE))),
            (r#"{"name":"v1","target":"ONE","message":"One"}"#, Pointer::Either(id(ONE))),
            (r#"{"name":"v1"}"#, Pointer::Untold),
            (r#"{"name":"v1","target":null,"message":"One"}"#, Pointer::Untold),
            (r#"{"name":"v1","target":"2695effb"}"#, Pointer::Untold),
            (r#"{"name":"v1","target":"******"}"#, Pointer::Untold),
            (r#"{"name":"v1","target":"0000000000000000000000000000000000000000"}"#, Pointer::Untold),
        ] {
            assert_eq!(tag(json).pointer(), pointer, "{json}");
        }
    }

    #[test]
    fn the_commit_of_a_tag_alone_counts() {
        for (json, peeled) in [
            (r#"{"name":"v1","target":"TWO","message":"x","commit":{"id":"ONE"}}"#, Some(ONE)),
            (r#"{"name":"v1","target":"ONE","message":null,"commit":{"id":"ONE","status":"failed"}}"#, Some(ONE)),
            (r#"{"name":"v1","target":"ONE","message":null,"commit":null}"#, Some(ONE)),
            (r#"{"name":"v1","target":"ONE","commit":{"id":null}}"#, Some(ONE)),
            (r#"{"name":"v1","target":"ONE","commit":{"id":"2695"}}"#, None),
            (r#"{"name":"v1","target":"TWO","message":"x","commit":null}"#, None),
            (r#"{"name":"v1"}"#, None),
        ] {
            assert_eq!(tag(json).peeled().ok(), peeled.map(id), "{json}");
        }
        for (json, proves) in [
            (r#"{"name":"v1","target":"ONE","message":"Tag","commit":{"id":"ONE","message":"Work\n"}}"#, true),
            (r#"{"name":"v1","target":"ONE","message":"Work","commit":{"id":"ONE","message":"Work\n"}}"#, false),
            (r#"{"name":"v1","target":"ONE","message":"Tag","commit":{"id":"ONE"}}"#, false),
            (r#"{"name":"v1","target":"TWO","message":"Tag","commit":{"id":"ONE","message":"Work\n"}}"#, false),
            (r#"{"name":"v1","target":"ONE","message":"","commit":{"id":"ONE","message":"Work\n"}}"#, false),
            (r#"{"name":"v1","target":"ONE","message":"Tag"}"#, false),
        ] {
            assert_eq!(tag(json).proves_commits(), proves, "{json}");
        }
    }

    #[test]
    fn a_tag_in_our_terms() {
        let name = || TagName::new("v1").unwrap();
        let read = |json: &str, compare| tag(json).into_tag(name(), Ok(id(ONE)), compare);
        let annotated = read(r#"{"name":"v1","message":"One\r\n","can_delete":false}"#, true);
        assert_eq!(annotated.value.unwrap().annotation, Annotation::of_message(Some("One")));
        assert!(annotated.protected && annotated.attachment.is_none());
        for json in [r#"{"name":"v1","message":"","can_delete":true}"#, r#"{"name":"v1","can_delete":null}"#] {
            let plain = read(json, true);
            assert_eq!(plain.value.unwrap().annotation, Annotation::of_message(None), "{json}");
            assert!(!plain.protected && plain.message.is_none());
        }
        assert_eq!(read(r#"{"name":"v1","message":"x"}"#, false).value.unwrap().annotation, Annotation::NotCompared);
    }

    #[test]
    fn what_is_no_tag_is_an_error() {
        let deep = format!("{}{}", r#"{"name":"v1","x":"#, "[".repeat(100_000));
        // A hold must not be lost because it came in another form.
        let held = r#"{"name":"v1","can_delete":"false"}"#;
        for json in ["", "null", "[]", r#"{"name":null}"#, r#"{"name":1}"#, "{\"name\":\"v1\"", held, &deep, "<html>"] {
            assert!(serde_json::from_str::<WireTag>(json).is_err(), "{json:.40}");
        }
    }

    #[test]
    fn signatures_are_words() {
        let says = |key: &str| tag(&format!(r#"{{"name":"v1","gpgKey":{key}}}"#)).signature();
        let full = r#"{"gpg_name":"a","open_gpg_verified":true,"verification_status":1,"gpg_primary_key_id":"AB","gpg_user_name":"","x":[]}"#;
        assert_eq!(says(full).unwrap(), "GPG; verification on true; verification status 1; key AB; key name a");
        for none in ["null", "{}", "[]", "\"x\"", "1", r#"{"verification_status":null}"#] {
            assert_eq!(says(none), None, "{none}");
        }
    }

    #[test]
    fn repositories_are_told_apart() {
        let is = |json: &str| serde_json::from_str::<WireRepository>(json).unwrap().is(7);
        assert!(is(r#"{"id":7}"#) && is(r#"{"id":"7","archived":null}"#));
        assert!(!is(r#"{"id":8}"#) && !is("{}") && !is(r#"{"id":null}"#) && !is(r#"{"id":7.5}"#));
    }

    #[test]
    fn refusals_are_understood_in_all_forms() {
        let read = |json: &str| {
            let Refusal { code, words, failed } = refusal(json.as_bytes());
            (code.unwrap_or_default(), words.unwrap_or_default(), failed)
        };
        let due = |code: &str, words: &str, failed| (code.to_owned(), words.to_owned(), failed);
        assert_eq!(read(r#"{"error_code":"CH.1","error_msg":"No"}"#), due("CH.1", "No", true));
        assert_eq!(read(r#"{"code":"CH.1","message":"No"}"#), due("CH.1", "No", false));
        assert_eq!(read(r#"{"error":{"code":401,"message":"No","title":"x"}}"#), due("401", "No", false));
        assert_eq!(read(r#"{"x":{"error_code":"A","error_msg":"No"}}"#), due("A", "No", false));
        let v2 = r#"{"error":{"code":"CH.1","message":"No"},"result":null,"status":"failed"}"#;
        assert_eq!(read(v2), due("CH.1", "No", true));
        assert_eq!(read(r#"{"status":"failed","error":"No"}"#), due("", "No", true));
        // A pipeline that failed is no request that failed.
        let commit = format!(r#"{{"id":"{ONE}","message":"Work","status":"failed","last_pipeline":{{}}}}"#);
        assert!(!read(&commit).2);
        for none in ["", "Retry later", "[]", "{}", r#"{"message":null}"#, "<html>"] {
            assert_eq!(refusal(none.as_bytes()), Refusal::default(), "{none}");
        }
        assert_eq!(read(&format!(r#"{{"error_msg":"{}"}}"#, "x".repeat(64 * 1024))), due("", "", false));
    }

    #[test]
    fn codes_say_what_statuses_do_not() {
        for (code, kind) in [
            ("APIG.0308", Some(FaultKind::Throttled)),
            ("APIG.0301", Some(FaultKind::Unauthorized)),
            ("APIG.0307", Some(FaultKind::Unauthorized)),
            ("APIG.0302", Some(FaultKind::Forbidden)),
            ("APIG.0101", None),
            ("CH.00402000", None),
            ("", None),
        ] {
            assert_eq!(meaning(code), kind, "{code}");
        }
        assert_eq!(meaning_of_failed("CH.080504"), Some(FaultKind::Ambiguous));
        assert_eq!(meaning_of_failed("CH.00402000"), Some(FaultKind::NotFound));
    }

    #[test]
    fn an_absent_tag_is_told_from_an_absent_repository() {
        let lacking = |json: &str| refusal(json.as_bytes()).lacking(&["tag", "tags", "标签"]);
        for (json, due) in [
            (r#"{"error_code":"CH.1","error_msg":"The tag does not exist"}"#, Lacking::Thing),
            (r#"{"error_code":"CH.1","error_msg":"The tag does not exist in the repository"}"#, Lacking::Untold),
            (r#"{"error_code":"CH.1","error_msg":"标签不存在"}"#, Lacking::Thing),
            (
                r#"{"error_code":"CH.00402000","error_msg":"The repository of the tag does not exist"}"#,
                Lacking::Surroundings,
            ),
            (r#"{"error_code":"CH.1","error_msg":"The repository does not exist"}"#, Lacking::Surroundings),
            (r#"{"error_code":"CH.1","error_msg":"仓库不存在"}"#, Lacking::Surroundings),
            // `stage` ends as `tag` does not.
            (r#"{"error_code":"APIG.0101","error_msg":"no tag, no API"}"#, Lacking::Surroundings),
            (r#"{"error_code":"CH.1","error_msg":"nothing at this stage"}"#, Lacking::Untold),
            (r#"{"error_code":"CH.1"}"#, Lacking::Untold),
            (r#"{"error_msg":"The tag does not exist"}"#, Lacking::Surroundings),
            ("<html>tag not found</html>", Lacking::Surroundings),
            ("", Lacking::Surroundings),
        ] {
            assert_eq!(lacking(json), due, "{json}");
        }
        let missing = |json: &str, status| refusal(json.as_bytes()).says_missing(status);
        assert!(missing("", 404) && !missing("", 200) && !missing(r#"{"error_msg":"not found"}"#, 400));
        assert!(missing(r#"{"status":"failed","error":{"code":"CH.1","message":"Tag not found"}}"#, 200));
        assert!(!missing(r#"{"status":"failed","error":{"code":"CH.1","message":"No"}}"#, 200));
        assert!(!missing(r#"{"status":"failed","error":{"code":"CH.080403","message":"Role not found"}}"#, 200));
    }
}
