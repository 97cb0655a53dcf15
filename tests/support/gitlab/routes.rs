//! The routes, who may take them, and what they answer.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};

use super::super::server::{Handler, Reply, Request};
use super::{
    AUTHORED, DEVELOPER, EPOCH, FakeTag, GitlabState, GitlabWorld, MAINTAINER, Protection, REPORTER, Token, Write,
    WriteKind, kind,
};

pub(super) struct Api(pub(super) GitlabState);

impl Handler for Api {
    fn answer(&self, request: &Request) -> Reply {
        self.0.change(|world| world.answer(request))
    }

    fn kind(&self, request: &Request) -> String {
        let root = self.0.change(|world| world.root.clone());
        let segments = segments(&root, &request.path).unwrap_or_default();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        match (request.method.as_str(), segments.as_slice()) {
            ("GET", ["projects", _]) => kind::PROJECT,
            ("GET", ["projects", _, "repository", "tags"]) => kind::LIST,
            ("POST", ["projects", _, "repository", "tags"]) => kind::CREATE,
            ("GET", ["projects", _, "repository", "tags", _]) => kind::GET,
            ("DELETE", ["projects", _, "repository", "tags", _]) => kind::DELETE,
            ("GET", ["projects", _, "repository", "tags", _, "signature"]) => kind::SIGNATURE,
            ("GET", ["projects", _, "repository", "commits", _]) => kind::COMMIT,
            ("GET", ["projects", _, "protected_tags", ..]) => kind::PROTECTED,
            ("GET", ["personal_access_tokens", "self"]) => kind::TOKEN,
            _ => kind::OTHER,
        }
        .to_owned()
    }
}

/// The decoded segments behind `/api/v4/`. Each is decoded once, after the split, so an encoded slash stays inside.
fn segments(root: &str, path: &str) -> Option<Vec<String>> {
    let rest = path.strip_prefix(root)?.strip_prefix("/api/v4/")?;
    Some(rest.split('/').map(decode).collect())
}

fn decode(segment: &str) -> String {
    percent_encoding::percent_decode_str(segment).decode_utf8_lossy().into_owned()
}

pub(super) fn encode(segment: &str) -> String {
    percent_encoding::utf8_percent_encode(segment, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// An answer in the form of GitLab's own errors.
pub(super) fn message(status: u16, text: &str) -> Reply {
    Reply::json(status, &json!({ "message": text }))
}

/// An answer of the routing layer below them.
pub(super) fn error(status: u16, text: &str) -> Reply {
    Reply::json(status, &json!({ "error": text }))
}

fn no_route() -> Reply {
    error(404, "404 Not Found")
}

fn forbidden() -> Reply {
    message(403, "403 Forbidden")
}

/// Who asks: nobody, or a credential that counts.
type Caller = Option<Token>;

impl GitlabWorld {
    fn answer(&mut self, request: &Request) -> Reply {
        let reply = self.authenticate(request).and_then(|caller| self.route(request, caller.as_ref()));
        self.with_rate_limit(reply.unwrap_or_else(|refusal| refusal))
    }

    fn with_rate_limit(&mut self, reply: Reply) -> Reply {
        self.requests += 1;
        let Some(limit) = self.rate_limit else { return reply };
        reply
            .header("RateLimit-Limit", limit)
            .header("RateLimit-Name", "throttle_authenticated_api")
            .header("RateLimit-Observed", self.requests)
            .header("RateLimit-Remaining", limit.saturating_sub(self.requests))
            .header("RateLimit-Reset", EPOCH + 60)
    }

    fn authenticate(&self, request: &Request) -> Result<Caller, Reply> {
        let bearer = request.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
        let job = request.header("job-token");
        let Some(secret) = request.header("private-token").or(bearer).or(job) else { return Ok(None) };
        let token = self.tokens.get(secret).filter(|token| token.is_job == job.is_some());
        let Some(token) = token else { return Err(message(401, "401 Unauthorized")) };
        let invalid = |description: &str| {
            Reply::json(401, &json!({ "error": "invalid_token", "error_description": description }))
        };
        if token.expired {
            return Err(invalid("Token is expired. You can either do re-authorization or token refresh."));
        }
        if token.revoked {
            return Err(invalid("Token was revoked. You have to re-authorize from the user."));
        }
        Ok(Some(token.clone()))
    }

    fn route(&mut self, request: &Request, caller: Option<&Token>) -> Result<Reply, Reply> {
        let path = if self.quirks.proxy_decodes_slashes {
            // Only behind the project: the usual proxies let the project's own slash through by a rule.
            match request.path.split_once("/repository/") {
                Some((head, tail)) => format!("{head}/repository/{}", tail.replace("%2F", "/").replace("%2f", "/")),
                None => request.path.clone(),
            }
        } else {
            request.path.clone()
        };
        let segments = segments(&self.root, &path).ok_or_else(no_route)?;
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let method = request.method.as_str();

        if let ("GET", ["personal_access_tokens", "self"]) = (method, segments.as_slice()) {
            let token = caller.ok_or_else(|| message(401, "401 Unauthorized"))?;
            return Ok(Reply::json(
                200,
                &json!({ "id": 1, "name": "tags", "revoked": false, "active": true, "user_id": 1,
                         "scopes": token.scopes, "expires_at": null }),
            ));
        }
        let ["projects", project, rest @ ..] = segments.as_slice() else { return Err(no_route()) };
        check_scope(method, rest, caller)?;
        let (id, level) = self.enter(project, request, caller)?;
        let reads_code = level >= REPORTER || self.projects[&id].public;
        if matches!(rest, ["repository", ..]) && !reads_code {
            return Err(forbidden());
        }
        match (method, rest) {
            ("GET", []) => Ok(self.show_project(id, level, caller)),
            ("GET", ["repository", "tags"]) => self.list(id, request),
            ("GET", ["repository", "tags", name]) => self.get(id, name),
            ("POST", ["repository", "tags"]) => self.create(id, level, request),
            ("DELETE", ["repository", "tags", name]) => self.delete(id, level, name, request),
            ("GET", ["repository", "tags", name, "signature"]) => {
                self.get(id, name)?;
                match self.projects[&id].signatures.get(*name) {
                    Some(signature) => Ok(Reply::text(200, signature).header("content-type", "application/json")),
                    // Also for OpenPGP and SSH signatures.
                    None => Err(message(404, "404 Signature Not Found")),
                }
            }
            ("GET", ["repository", "commits", reference]) => self.commit(id, reference),
            ("GET", ["protected_tags"]) => self.protected_tags(id, level, None),
            ("GET", ["protected_tags", name]) => self.protected_tags(id, level, Some(name)),
            (_, ["repository", "tags"] | ["repository", "tags", _] | []) => Err(error(405, "405 Not Allowed")),
            _ => Err(no_route()),
        }
    }

    /// Finds the project and the caller's level in it. Who may not see a project is told that there is none.
    fn enter(&self, project: &str, request: &Request, caller: Option<&Token>) -> Result<(u64, u8), Reply> {
        let missing = || message(404, "404 Project Not Found");
        let Some(id) = self.find(project) else {
            let moved = self.projects.iter().find(|(_, found)| found.former_paths.iter().any(|path| path == project));
            let Some((id, _)) = moved else { return Err(missing()) };
            let location = request.target.replacen(&spelling_of_project(request, &self.root), &id.to_string(), 1);
            return Err(Reply::redirect(301, &format!("{}{location}", self.link_base(request))));
        };
        let level = caller.map_or(0, |token| token.level_in(id));
        if level == 0 && !self.projects[&id].public {
            return Err(missing());
        }
        Ok((id, level))
    }

    pub(super) fn link_base(&self, request: &Request) -> String {
        self.quirks
            .link_host
            .clone()
            .unwrap_or_else(|| format!("http://{}", request.header("host").unwrap_or("localhost")))
    }

    fn show_project(&self, id: u64, level: u8, caller: Option<&Token>) -> Reply {
        let project = &self.projects[&id];
        let mut shown = json!({
            "id": id,
            "name": project.path.rsplit('/').next(),
            "path_with_namespace": project.path,
            "visibility": if project.public { "public" } else { "private" },
            "default_branch": project.branches.first().map(|(name, _)| name),
        });
        if let Some(token) = caller {
            let access =
                if level == 0 { Json::Null } else { json!({ "access_level": level, "notification_level": 3 }) };
            let (own, group) = if token.through_group { (Json::Null, access) } else { (access, Json::Null) };
            shown["archived"] = project.archived.into();
            shown["permissions"] = json!({ "project_access": own, "group_access": group });
        }
        Reply::json(200, &shown)
    }

    fn get(&mut self, id: u64, name: &str) -> Result<Reply, Reply> {
        let project = self.projects.get_mut(&id).expect("the project was entered");
        let tag = project.visible().get(name).cloned().ok_or_else(|| message(404, "404 Tag Not Found"))?;
        Ok(Reply::json(200, &self.show(id, name, &tag)))
    }

    fn commit(&self, id: u64, reference: &str) -> Result<Reply, Reply> {
        let commit_id = self.projects[&id].resolve(reference);
        commit_id
            .map(|commit_id| Reply::json(200, &show_commit(&commit_id)))
            .ok_or_else(|| message(404, "404 Commit Not Found"))
    }

    fn protected_tags(&self, id: u64, level: u8, name: Option<&str>) -> Result<Reply, Reply> {
        if level < MAINTAINER {
            return Err(forbidden());
        }
        let mut shown = self.projects[&id].protected_tags.iter().map(|rule| {
            let level = rule.create_access_level;
            json!({ "name": rule.pattern, "create_access_levels": [{ "access_level": level }] })
        });
        match name {
            None => Ok(Reply::json(200, &shown.collect())),
            Some(name) => shown
                .find(|rule| rule["name"] == name)
                .map(|rule| Reply::json(200, &rule))
                .ok_or_else(|| message(404, "404 Not Found")),
        }
    }

    fn create(&mut self, id: u64, level: u8, request: &Request) -> Result<Reply, Reply> {
        let fields = fields(request)?;
        let missing = |name: &str| error(400, &format!("{name} is missing"));
        let name = fields.get("tag_name").ok_or_else(|| missing("tag_name"))?;
        let reference = fields.get("ref").ok_or_else(|| missing("ref"))?;
        let reply = self.try_create(id, level, name, reference, fields.get("message"));
        let status = reply.as_ref().map_or_else(|refusal| refusal.status, |done| done.status);
        self.writes.push(Write {
            kind: WriteKind::Create,
            project: id,
            name: name.clone(),
            reference: Some(reference.clone()),
            status,
        });
        reply
    }

    fn try_create(
        &mut self,
        id: u64,
        level: u8,
        name: &str,
        reference: &str,
        text: Option<&String>,
    ) -> Result<Reply, Reply> {
        let project = &self.projects[&id];
        if level < DEVELOPER || project.archived {
            return Err(forbidden());
        }
        match &mut self.creates_left {
            Some(0) => {
                let text = "This endpoint has been requested too many times. Try again later.";
                return Err(Reply::json(429, &json!({ "message": { "error": text } })));
            }
            Some(left) => *left -= 1,
            None => {}
        }
        let refused = |text: &str| message(self.quirks.refused_create_status, text);
        if reference.trim().is_empty() {
            return Err(refused("Target is empty"));
        }
        if tagsyncd::tag::TagName::new(name).is_err() || name.starts_with('-') && name.len() == 1 {
            return Err(refused("Tag name invalid"));
        }
        let commit_id = project.resolve(reference).ok_or_else(|| refused(&format!("Target {reference} is invalid")))?;
        if project.branches.first().is_some_and(|(branch, _)| branch == name) {
            return Err(refused("You cannot use default branch name to create a tag"));
        }
        if name.starts_with("refs/tags/") {
            return Err(refused("You cannot create a tag with a prohibited pattern."));
        }
        if name.len() >= 40 && name.bytes().take(40).all(|byte| byte.is_ascii_hexdigit()) {
            return Err(refused("You cannot create a tag with a SHA-1 or SHA-256 tag name."));
        }
        let may_create = |rule: &Protection| rule.create_access_level != 0 && level >= rule.create_access_level;
        if project.is_protected(name) && !project.protections(name).any(may_create) {
            return Err(refused("You are not allowed to create this tag as it is protected."));
        }
        if project.tags.contains_key(name) {
            return Err(refused(&format!("Tag {name} already exists")));
        }
        if blocks(&project.tags, name) {
            return Err(refused(&format!("Failed to create a tag: {name}")));
        }
        // GitLab strips the message, and an empty one makes a lightweight tag.
        let text = text.map(|text| text.trim()).filter(|text| !text.is_empty());
        let tag = match text {
            Some(text) => FakeTag::annotated(&commit_id, text, self.tick()),
            None => FakeTag::lightweight(&commit_id),
        };
        let reads = self.quirks.stale_reads;
        let project = self.projects.get_mut(&id).expect("the project was entered");
        project.fall_behind(reads);
        project.tags.insert(name.to_owned(), tag.clone());
        Ok(Reply::json(201, &self.show(id, name, &tag)))
    }

    fn delete(&mut self, id: u64, level: u8, name: &str, request: &Request) -> Result<Reply, Reply> {
        let reply = self.try_delete(id, level, name, request);
        let status = reply.as_ref().map_or_else(|refusal| refusal.status, |done| done.status);
        self.writes.push(Write {
            kind: WriteKind::Delete,
            project: id,
            name: name.to_owned(),
            reference: None,
            status,
        });
        reply
    }

    fn try_delete(&mut self, id: u64, level: u8, name: &str, request: &Request) -> Result<Reply, Reply> {
        let reads = self.quirks.stale_reads;
        let project = self.projects.get_mut(&id).expect("the project was entered");
        if !project.tags.contains_key(name) {
            return Err(message(404, "404 Tag Not Found"));
        }
        let needed = if project.is_protected(name) { MAINTAINER } else { DEVELOPER };
        if level < needed || project.archived {
            return Err(forbidden());
        }
        // Compared with the date of the tagged commit, so it is no protection against a moved tag.
        if let Some(since) = request.header("if-unmodified-since") {
            let since = jiff::fmt::rfc2822::parse(since).map_err(|_| error(400, "If-Unmodified-Since is invalid"))?;
            if since.timestamp().as_second() < AUTHORED {
                return Err(message(412, "412 Precondition Failed"));
            }
        }
        project.fall_behind(reads);
        // The Release stands in the tag, so it goes along, as it does in GitLab.
        project.tags.remove(name);
        Ok(Reply::empty(204))
    }

    pub(super) fn show(&self, id: u64, name: &str, tag: &FakeTag) -> Json {
        let mut shown = Map::new();
        shown.insert("name".into(), name.into());
        shown.insert("message".into(), tag.message.clone().into());
        shown.insert("target".into(), tag.target.clone().into());
        shown.insert("commit".into(), tag.commit_id.as_deref().map_or(Json::Null, show_commit));
        if !self.quirks.hides_release {
            let release = tag.release.as_ref().map(|text| json!({ "tag_name": name, "description": text }));
            shown.insert("release".into(), release.into());
        }
        shown.insert("protected".into(), self.projects[&id].is_protected(name).into());
        shown.insert("created_at".into(), tag.created_at.map(time).into());
        shown.into()
    }
}

/// Whether git could not keep the name beside those that are there (`a` and `a/b`).
fn blocks(tags: &BTreeMap<String, FakeTag>, name: &str) -> bool {
    let parents = name.match_indices('/').any(|(at, _)| tags.contains_key(&name[..at]));
    let directory = format!("{name}/");
    parents || tags.range(directory.clone()..).next().is_some_and(|(other, _)| other.starts_with(&directory))
}

fn check_scope(method: &str, route: &[&str], caller: Option<&Token>) -> Result<(), Reply> {
    let Some(token) = caller else { return Ok(()) };
    let (enough, named): (&[&str], &str) =
        if method == "GET" { (&["api", "read_api"], "api read_api") } else { (&["api"], "api") };
    if !token.has_scope(enough) {
        let text = "The request requires higher privileges than provided by the access token.";
        return Err(Reply::json(
            403,
            &json!({ "error": "insufficient_scope", "error_description": text, "scope": named }),
        ));
    }
    // Of these routes only the list takes job tokens; to the others such a caller is unknown.
    if token.is_job && (method, route) != ("GET", &["repository", "tags"]) {
        return Err(message(401, "401 Unauthorized"));
    }
    Ok(())
}

/// The fields of a create, from wherever they came: query, form or JSON.
fn fields(request: &Request) -> Result<BTreeMap<String, String>, Reply> {
    let mut fields: BTreeMap<String, String> = request.query.iter().cloned().collect();
    let content_type = request.header("content-type").unwrap_or_default();
    if content_type.starts_with("application/json") {
        let body: Map<String, Json> = serde_json::from_slice(&request.body)
            .map_err(|_| error(400, "There was a problem in the JSON you submitted"))?;
        fields.extend(body.into_iter().filter_map(|(name, value)| Some((name, value.as_str()?.to_owned()))));
    } else {
        fields.extend(url::form_urlencoded::parse(&request.body).into_owned());
    }
    Ok(fields)
}

/// The project as the request's path spells it.
fn spelling_of_project(request: &Request, root: &str) -> String {
    let start = root.len() + "/api/v4/projects/".len();
    request.path[start..].split('/').next().unwrap_or_default().to_owned()
}

fn show_commit(commit_id: &str) -> Json {
    let date = time(AUTHORED);
    json!({
        "id": commit_id, "short_id": &commit_id[..8.min(commit_id.len())], "title": "Work", "message": "Work\n",
        "created_at": date, "parent_ids": [],
        "author_name": "A Person", "author_email": "person@example.com", "authored_date": date,
        "committer_name": "A Person", "committer_email": "person@example.com", "committed_date": date,
    })
}

fn time(seconds: i64) -> String {
    let time = jiff::Timestamp::from_second(seconds).expect("the fake's times are in range");
    format!("{time:.3}")
}
