//! The routes, who may take them, and what they answer.

use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value as Json, json};
use sha2::{Digest as _, Sha256};

use super::super::gitlab::WriteKind;
use super::super::server::{Handler, Reply, Request};
use super::listing::show_commit;
use super::{CodeArtsState, CodeArtsWorld, ErrorForm, FakeTag, Right, kind};

pub(super) struct Api(pub(super) CodeArtsState);

impl Handler for Api {
    fn answer(&self, request: &Request) -> Reply {
        self.0.change(|world| world.answer(request)).header("X-Request-Id", format!("request-{}", request.number))
    }

    fn kind(&self, request: &Request) -> String {
        let root = self.0.change(|world| world.root.clone());
        match (request.method.as_str(), segments(&root, &request.path).unwrap_or_default().as_slice()) {
            ("POST", ["v3", "auth", "tokens"]) => kind::TOKEN,
            ("GET", ["v4", "repositories", _]) => kind::REPOSITORY,
            ("GET", ["v4", "repositories", _, "repository", "tags"]) => kind::LIST,
            ("POST", ["v4", "repositories", _, "repository", "tags"]) => kind::CREATE,
            ("GET", ["v4", "repositories", _, "repository", "tag"]) => kind::GET,
            ("DELETE", ["v4", "repositories", _, "repository", "tag"]) => kind::DELETE,
            ("GET", ["v4", "repositories", _, "repository", "commits"]) => kind::COMMIT,
            _ => kind::OTHER,
        }
        .to_owned()
    }
}

fn segments<'a>(root: &str, path: &'a str) -> Option<Vec<&'a str>> {
    Some(path.strip_prefix(root)?.strip_prefix('/')?.split('/').collect())
}

/// As the gateway in front of the API answers.
fn gateway(status: u16, code: &str, text: &str) -> Reply {
    Reply::json(status, &json!({ "error_code": code, "error_msg": text, "request_id": "0" }))
}

impl CodeArtsWorld {
    fn answer(&mut self, request: &Request) -> Reply {
        self.route(request).unwrap_or_else(|refusal| refusal)
    }

    /// An error of the API.
    pub(super) fn error(&self, status: u16, code: &str, text: &str) -> Reply {
        let text = if self.quirks.terse && status == 404 && code != "CH.00402000" { "Not Found" } else { text };
        match self.quirks.error_form {
            ErrorForm::Usual => Reply::json(status, &json!({ "error_code": code, "error_msg": text })),
            ErrorForm::CodeAndMessage => Reply::json(status, &json!({ "code": code, "message": text })),
            ErrorForm::Nested => Reply::json(status, &json!({ "error": { "code": code, "message": text } })),
            ErrorForm::FailedUnder200 => {
                Reply::json(200, &json!({ "status": "failed", "error": { "code": code, "message": text } }))
            }
            ErrorForm::Text => Reply::text(status, text),
        }
    }

    fn route(&mut self, request: &Request) -> Result<Reply, Reply> {
        let no_route =
            || gateway(404, "APIG.0101", "The API does not exist or has not been published in the environment");
        let segments = segments(&self.root, &request.path).ok_or_else(no_route)?;
        let method = request.method.as_str();
        if let ("POST", ["v3", "auth", "tokens"]) = (method, segments.as_slice()) {
            return Ok(self.give_token(request));
        }
        let ["v4", "repositories", id, rest @ ..] = segments.as_slice() else { return Err(no_route()) };
        let right = self.authenticate(request)?;
        let id = id
            .parse()
            .ok()
            .filter(|id| self.repositories.contains_key(id))
            .ok_or_else(|| self.error(404, "CH.00402000", "The repository does not exist. Check and try again."))?;
        let writes = || {
            let text = "Insufficient permissions. Apply for the required permissions and try again.";
            let may = right == Right::Write && !self.repositories[&id].archived;
            may.then_some(()).ok_or_else(|| self.error(403, "CH.00401008", text))
        };
        match (method, rest) {
            ("GET", []) => {
                let shown = json!({ "id": id, "name": "core", "archived": self.repositories[&id].archived,
                                    "permissions": { "repository_access": { "access_level": 30 } } });
                Ok(Reply::json(200, &shown))
            }
            ("GET", ["repository", "tags"]) => self.list(id, request),
            ("POST", ["repository", "tags"]) => writes().and_then(|()| self.create(id, request)),
            ("GET", ["repository", "tag"]) => {
                let name = self.tag_name(request)?;
                let tag = self.repositories[&id].tags.get(name).ok_or_else(|| self.no_tag())?;
                Ok(Reply::json(200, &self.show(name, tag)))
            }
            ("DELETE", ["repository", "tag"]) => writes().and_then(|()| self.delete(id, request)),
            ("GET", ["repository", "commits"]) => {
                let commit_id = request.parameter("sha").unwrap_or_default();
                let tag = self.repositories[&id].tags.get(commit_id).and_then(|tag| tag.commit_id.clone());
                let found = self.has_commit(id, commit_id).then(|| commit_id.to_owned()).or(tag);
                let found = found.ok_or_else(|| self.error(404, "CH.00404002", "The commit does not exist."))?;
                Ok(Reply::json(200, &show_commit(&found)))
            }
            _ => Err(no_route()),
        }
    }

    fn no_tag(&self) -> Reply {
        self.error(404, "CH.00404001", "The tag does not exist.")
    }

    fn has_commit(&self, id: u32, commit_id: &str) -> bool {
        let is_id = matches!(commit_id.len(), 40 | 64) && commit_id.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_id && self.repositories[&id].commits.as_ref().is_none_or(|known| known.contains(commit_id))
    }

    fn tag_name<'a>(&self, request: &'a Request) -> Result<&'a str, Reply> {
        let name = request.parameter("tag_name").filter(|name| (1..=2000).contains(&name.chars().count()));
        name.ok_or_else(|| self.error(400, "CH.00400001", "The parameter tag_name is invalid."))
    }

    fn create(&mut self, id: u32, request: &Request) -> Result<Reply, Reply> {
        let body: Json = serde_json::from_slice(&request.body).unwrap_or_default();
        let (Some(name), Some(reference)) = (body["tag_name"].as_str(), body["ref"].as_str()) else {
            return Err(self.error(400, "CH.00400001", "The parameters are invalid."));
        };
        let outcome = self.try_create(id, name, reference, body["message"].as_str());
        let status = outcome.as_ref().map_or_else(|refusal| refusal.status.max(400), |done| done.status);
        self.note(WriteKind::Create, id, name, Some(reference.to_owned()), status);
        outcome
    }

    fn try_create(&mut self, id: u32, name: &str, reference: &str, message: Option<&str>) -> Result<Reply, Reply> {
        let tags = &self.repositories[&id].tags;
        if tags.contains_key(name) {
            return Err(self.error(400, "CH.00405001", &format!("Tag {name} already exists.")));
        }
        if !self.has_commit(id, reference) {
            return Err(self.error(400, "CH.00405002", &format!("Target {reference} is invalid.")));
        }
        let n = u32::try_from(self.writes.len()).expect("tests write little");
        let tag = match message.map(str::trim).filter(|message| !message.is_empty()) {
            Some(message) => FakeTag::annotated(reference, message, n),
            None => FakeTag::lightweight(reference),
        };
        let shown = self.show(name, &tag);
        self.repositories.get_mut(&id).expect("it was just looked at").tags.insert(name.to_owned(), tag);
        Ok(Reply::json(201, &shown))
    }

    fn delete(&mut self, id: u32, request: &Request) -> Result<Reply, Reply> {
        let name = self.tag_name(request)?;
        let tag = self.repositories[&id].tags.get(name).cloned();
        let outcome = match tag {
            None => Err(self.no_tag()),
            Some(tag) if tag.can_delete == Some(false) => Err(self.error(403, "CH.00401008", "The tag is protected.")),
            Some(_) => Ok(Reply::empty(204)),
        };
        if outcome.is_ok() {
            self.repositories.get_mut(&id).expect("it was just looked at").tags.remove(name);
        }
        let status = outcome.as_ref().map_or_else(|refusal| refusal.status.max(400), |done| done.status);
        self.note(WriteKind::Delete, id, name, None, status);
        outcome
    }

    fn authenticate(&self, request: &Request) -> Result<Right, Reply> {
        if let Some(token) = request.header("x-auth-token") {
            let right = self.tokens.get(token).copied();
            return right.ok_or_else(|| gateway(401, "APIG.0307", "The token must be updated."));
        }
        let Some(authorization) = request.header("authorization") else {
            return Err(self.error(401, "CH.00000001", "User authentication info not found."));
        };
        self.verify(request, authorization).ok_or_else(|| {
            gateway(401, "APIG.0301", "Incorrect IAM authentication information: verify aksk signature fail")
        })
    }

    /// Checks a signature, from the description of the algorithm and not from the code under test.
    fn verify(&self, request: &Request, authorization: &str) -> Option<Right> {
        let parts = authorization.strip_prefix("SDK-HMAC-SHA256 Access=")?;
        let (access_key, parts) = parts.split_once(", SignedHeaders=")?;
        let (signed, signature) = parts.split_once(", Signature=")?;
        let date = request.header("x-sdk-date")?;
        let at = jiff::fmt::strtime::parse("%Y%m%dT%H%M%SZ", date).ok()?.to_datetime().ok()?;
        let at = at.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp();
        let names: Vec<&str> = signed.split(';').collect();
        let late = at.duration_since(Timestamp::now()).abs() > SignedDuration::from_mins(15);
        if late || !names.contains(&"host") || !names.contains(&"x-sdk-date") || !names.is_sorted() {
            return None;
        }
        let (secret_key, right) = self.access_keys.get(access_key)?;
        let headers: String = names
            .iter()
            .map(|name| Some(format!("{name}:{}\n", request.header(name)?.trim())))
            .collect::<Option<_>>()?;
        let encode = |text: &str| {
            let bytes = text.bytes().map(|byte| match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
                other => format!("%{other:02X}"),
            });
            bytes.collect::<String>()
        };
        let mut query = request.query.clone();
        query.sort();
        let query: Vec<_> = query.iter().map(|(key, value)| format!("{}={}", encode(key), encode(value))).collect();
        let hash =
            |bytes: &[u8]| -> String { Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect() };
        let canonical = format!(
            "{}\n{}/\n{}\n{headers}\n{signed}\n{}",
            request.method,
            request.path.trim_end_matches('/'),
            query.join("&"),
            hash(&request.body)
        );
        let mut mac = Hmac::<Sha256>::new_from_slice(secret_key.as_bytes()).ok()?;
        mac.update(format!("SDK-HMAC-SHA256\n{date}\n{}", hash(canonical.as_bytes())).as_bytes());
        let due: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        (signature == due).then_some(*right)
    }

    fn give_token(&mut self, request: &Request) -> Reply {
        let body: Json = serde_json::from_slice(&request.body).unwrap_or_default();
        let (identity, scope) = (&body["auth"]["identity"], &body["auth"]["scope"]);
        let user = &identity["password"]["user"];
        let known = self.users.iter().filter(|_| identity["methods"] == json!(["password"])).find(|known| {
            user["name"] == json!(known.name)
                && user["password"] == json!(known.password)
                && user["domain"]["name"] == json!(known.domain)
                && scope["project"]["name"] == json!(known.project)
        });
        let Some(right) = known.map(|known| known.right) else {
            let text = "The username or password is wrong.";
            return Reply::json(401, &json!({ "error": { "code": 401, "message": text, "title": "Unauthorized" } }));
        };
        self.issued += 1;
        let token = format!("iam-token-{}", self.issued);
        self.tokens.insert(token.clone(), right);
        let ends = Timestamp::now() + SignedDuration::from_secs(self.token_life);
        let body = json!({ "token": { "methods": ["password"], "expires_at": format!("{ends:.6}"), "user": {} } });
        Reply::json(201, &body).header("X-Subject-Token", token)
    }
}
