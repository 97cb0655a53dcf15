//! The routes, who may take them, and what they answer.

use std::time::Instant;

use serde_json::{Map, Value as Json, json};
use sha2::{Digest as _, Sha256};

use super::super::server::{Handler, Reply, Request};
use super::{GithubWorld, Repository, Secondary, State, Token, Write, kind};

pub(super) struct Api(pub(super) State);

impl Handler for Api {
    fn answer(&self, request: &Request) -> Reply {
        self.0.change(|world| world.answer(request))
    }

    fn kind(&self, request: &Request) -> String {
        let root = self.0.change(|world| world.root.clone());
        let route = route(&root, &request.path).map(|(_, rest)| rest).unwrap_or_default();
        let route: Vec<&str> = route.iter().map(String::as_str).collect();
        match (request.method.as_str(), route.as_slice()) {
            ("GET", []) => kind::REPOSITORY,
            ("GET", ["git", "matching-refs", ..]) => kind::LIST,
            ("GET", ["git", "ref", "tags", ..]) => kind::GET,
            ("POST", ["git", "refs"]) => kind::CREATE,
            ("PATCH", ["git", "refs", "tags", ..]) => kind::MOVE,
            ("DELETE", ["git", "refs", "tags", ..]) => kind::DELETE,
            ("POST", ["git", "tags"]) => kind::MAKE_OBJECT,
            ("GET", ["git", "tags", _]) => kind::OBJECT,
            ("GET", ["git", "commits", _]) => kind::COMMIT,
            ("GET", ["releases", "tags", ..]) => kind::RELEASE,
            _ => kind::OTHER,
        }
        .to_owned()
    }
}

/// The repository's path, and the decoded segments behind it.
fn route(root: &str, path: &str) -> Option<(String, Vec<String>)> {
    let rest = path.strip_prefix(root)?.strip_prefix("/repos/")?;
    let mut segments = rest.split('/').map(decode);
    Some((format!("{}/{}", segments.next()?, segments.next()?), segments.collect()))
}

fn decode(segment: &str) -> String {
    percent_encoding::percent_decode_str(segment).decode_utf8_lossy().into_owned()
}

/// A name of several segments. A slash inside of one, which came as `%2F`, leads nowhere.
fn joined(segments: &[&str]) -> Option<String> {
    segments.iter().all(|segment| !segment.is_empty() && !segment.contains('/')).then(|| segments.join("/"))
}

/// An answer in the form of GitHub's errors.
fn message(status: u16, text: &str) -> Reply {
    let documentation = "https://docs.github.com/rest";
    Reply::json(status, &json!({ "message": text, "documentation_url": documentation, "status": status.to_string() }))
}

fn not_found() -> Reply {
    message(404, "Not Found")
}

type Caller = Option<Token>;

impl GithubWorld {
    fn answer(&mut self, request: &Request) -> Reply {
        // Who asks for a version that there is not is told so.
        if request.header("x-github-api-version").is_some_and(|version| version != "2022-11-28") {
            return message(400, "The requested API version is not supported");
        }
        if request.header("user-agent").is_none() {
            return Reply::text(
                403,
                "Request forbidden by administrative rules. Please make sure your request has a User-Agent header",
            );
        }
        if self.remaining == Some(0) {
            return self.with_quota(message(403, "API rate limit exceeded for user ID 1."));
        }
        let reply = self.authenticate(request).and_then(|caller| self.route(request, &caller));
        let reply = reply.unwrap_or_else(|refusal| refusal);
        if let Some(remaining) = &mut self.remaining
            && reply.status != 304
        {
            *remaining -= 1;
        }
        self.with_quota(reply)
    }

    fn with_quota(&self, reply: Reply) -> Reply {
        let Some(remaining) = self.remaining else { return reply };
        let reset = jiff::Timestamp::now().as_second() + 1800;
        reply
            .header("X-RateLimit-Limit", 5000)
            .header("X-RateLimit-Remaining", remaining)
            .header("X-RateLimit-Reset", reset)
    }

    fn authenticate(&self, request: &Request) -> Result<Caller, Reply> {
        let Some(header) = request.header("authorization") else { return Ok(None) };
        let secret = header.strip_prefix("Bearer ").or_else(|| header.strip_prefix("token "));
        let token = secret.and_then(|secret| self.tokens.get(secret));
        token.cloned().map(Some).ok_or_else(|| message(401, "Bad credentials"))
    }

    fn route(&mut self, request: &Request, caller: &Caller) -> Result<Reply, Reply> {
        let (path, rest) = route(&self.root, &request.path).ok_or_else(not_found)?;
        let id = self.enter(&path, request, caller)?;
        let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
        let core = &self.repositories[&id];
        match (request.method.as_str(), rest.as_slice()) {
            ("GET", []) => Ok(self.show_repository(id, caller)),
            ("GET", ["git", "matching-refs", "tags"]) => Ok(self.list(id, request)),
            ("GET", ["git", "ref", "tags", name @ ..]) => {
                let name = joined(name).ok_or_else(not_found)?;
                let id = core.tags.get(&name).ok_or_else(not_found)?;
                Ok(Reply::json(200, &show(core, &name, id)))
            }
            ("GET", ["git", "tags", id]) => {
                let object = core.objects.get(*id).ok_or_else(not_found)?;
                Ok(Reply::json(200, &self.show_object(core, id, object)))
            }
            ("GET", ["git", "commits", id]) => {
                core.has_commit(id).then_some(()).ok_or_else(not_found)?;
                Ok(Reply::json(200, &json!({ "sha": id, "message": "Work", "tree": { "sha": id } })))
            }
            ("GET", ["releases", "tags", name @ ..]) => {
                let name = joined(name).filter(|name| core.releases.contains(name)).ok_or_else(not_found)?;
                Ok(Reply::json(200, &json!({ "id": 1, "tag_name": name, "draft": false, "assets": [] })))
            }
            ("POST", ["git", "tags"]) => self.make_object(id, caller, &fields(request)?),
            ("POST", ["git", "refs"]) => {
                let fields = fields(request)?;
                let full_name = text(&fields, "ref")?.to_owned();
                let name = full_name.strip_prefix("refs/tags/").unwrap_or(&full_name).to_owned();
                let reply = self.create(id, caller, &full_name, text(&fields, "sha")?);
                self.note("POST", &name, reply)
            }
            ("PATCH", ["git", "refs", "tags", name @ ..]) => {
                let name = joined(name).ok_or_else(not_found)?;
                let fields = fields(request)?;
                let reply =
                    self.move_to(id, caller, &name, text(&fields, "sha")?, fields.get("force") == Some(&true.into()));
                self.note("PATCH", &name, reply)
            }
            ("DELETE", ["git", "refs", "tags", name @ ..]) => {
                let name = joined(name).ok_or_else(not_found)?;
                let reply = self.delete(id, caller, &name);
                self.note("DELETE", &name, reply)
            }
            _ => Err(not_found()),
        }
    }

    fn note(&mut self, method: &str, name: &str, reply: Result<Reply, Reply>) -> Result<Reply, Reply> {
        let status = reply.as_ref().map_or_else(|refusal| refusal.status, |done| done.status);
        self.writes.push(Write { method: method.to_owned(), name: name.to_owned(), status, at: Instant::now() });
        reply
    }

    /// Finds the repository. Names have no case here. Who may not see one is told that there is none.
    fn enter(&self, path: &str, request: &Request, caller: &Caller) -> Result<u64, Reply> {
        let found = self.repositories.iter().find(|(_, found)| found.path.eq_ignore_ascii_case(path));
        let Some((id, repository)) = found else {
            let moved =
                self.repositories.iter().find(|(_, found)| found.former_paths.iter().any(|former| former == path));
            let Some((id, _)) = moved else { return Err(not_found()) };
            let rest = request.target.strip_prefix(&format!("{}/repos/{path}", self.root)).unwrap_or_default();
            let host = request.header("host").unwrap_or("localhost");
            let location = format!("http://{host}{}/repositories/{id}{rest}", self.root);
            return Err(Reply::redirect(if request.method == "GET" { 301 } else { 307 }, &location));
        };
        if caller.is_none() && !repository.public {
            return Err(not_found());
        }
        Ok(*id)
    }

    fn show_repository(&self, id: u64, caller: &Caller) -> Reply {
        let Repository { path, public, archived, .. } = &self.repositories[&id];
        let mut shown = json!({
            "id": id, "node_id": format!("R_{id}"), "full_name": path, "private": !public, "archived": archived,
            "disabled": false, "default_branch": "main",
        });
        let Some(token) = caller else { return Reply::json(200, &shown) };
        shown["permissions"] =
            json!({ "admin": false, "maintain": false, "push": token.pushes, "triage": true, "pull": true });
        let reply = Reply::json(200, &shown);
        match &token.scopes {
            Some(scopes) => reply.header("X-OAuth-Scopes", scopes),
            None => reply,
        }
    }

    fn list(&self, id: u64, request: &Request) -> Reply {
        let core = &self.repositories[&id];
        let mut refs: Vec<Json> = core.tags.iter().map(|(name, id)| show(core, name, id)).collect();
        if self.quirks.lists_others {
            refs.insert(0, json!({ "ref": "refs/tagsoup/x", "object": { "type": "blob", "sha": "x" } }));
        }
        if self.quirks.repeats_ref {
            refs.extend(refs.first().cloned());
        }
        let page: usize = request.parameter("page").and_then(|page| page.parse().ok()).unwrap_or(1);
        let mut next = None;
        if let Some(size) = self.quirks.pages {
            next = (page * size < refs.len()).then_some(if self.quirks.next_page_is_current { page } else { page + 1 });
            refs = refs.into_iter().skip((page - 1) * size).take(size).collect();
        }
        let body = Json::from(refs);
        let digest = Sha256::digest(body.to_string());
        let entity_tag =
            format!("W/\"{}\"", digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect::<String>());
        if request.header("if-none-match") == Some(entity_tag.as_str()) {
            return Reply::empty(304).header("ETag", entity_tag);
        }
        let mut reply = Reply::json(200, &body);
        if !self.quirks.no_entity_tag {
            reply = reply.header("ETag", entity_tag);
        }
        if let Some(next) = next {
            let host = format!("http://{}", request.header("host").unwrap_or("localhost"));
            let host = self.quirks.link_host.as_ref().unwrap_or(&host);
            reply = reply.header("Link", format!("<{host}{}?page={next}>; rel=\"next\"", request.path));
        }
        reply
    }

    fn show_object(&self, core: &Repository, id: &str, object: &str) -> Json {
        let (head, text) = object.split_once("\n\n").expect("the fake's objects have a message");
        let header = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        let signature = text.find("-----BEGIN ").map(|at| &text[at..]);
        let shown = match signature {
            Some(signature) if !self.quirks.signature_in_message => &text[..text.len() - signature.len()],
            _ => text,
        };
        let target = header("object ");
        json!({
            "node_id": "T", "sha": id, "url": "", "tag": header("tag "), "message": shown,
            "tagger": { "name": "A", "email": "a@example.com", "date": "2023-11-14T22:13:20Z" },
            "object": { "sha": target, "type": core.kind_of(target), "url": "" },
            "verification": {
                "verified": signature.is_some(), "reason": if signature.is_some() { "valid" } else { "unsigned" },
                "signature": signature, "payload": null, "verified_at": null,
            },
        })
    }

    /// What stands in front of every write: a token, its rights, the archive, the limits.
    fn check_writer(&self, id: u64, caller: &Caller) -> Result<(), Reply> {
        let too_many = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.";
        match self.quirks.secondary {
            None => {}
            Some(Secondary::RetryAfter(seconds)) => return Err(message(403, too_many).header("Retry-After", seconds)),
            Some(Secondary::Silent) => return Err(message(403, too_many)),
            Some(Secondary::TooMany) => return Err(message(429, too_many)),
        }
        let token = caller.as_ref().ok_or_else(|| message(401, "Requires authentication"))?;
        if !token.pushes || !token.writes_contents {
            return Err(message(403, "Resource not accessible by personal access token"));
        }
        if self.repositories[&id].archived {
            return Err(message(403, "Repository was archived so is read-only."));
        }
        Ok(())
    }

    fn make_object(&mut self, id: u64, caller: &Caller, fields: &Map<String, Json>) -> Result<Reply, Reply> {
        self.check_writer(id, caller)?;
        let (target, kind, name) = (text(fields, "object")?, text(fields, "type")?, text(fields, "tag")?);
        let mut message_text = text(fields, "message")?;
        if self.quirks.trims_messages {
            message_text = message_text.trim_end();
        }
        let core = self.repositories.get_mut(&id).expect("it was entered");
        if core.kind_of(target) != Some(kind) {
            return Err(message(422, "Object does not exist or does not match the type"));
        }
        let tagger = match fields.get("tagger") {
            None => "robot <robot@users.noreply.github.com> 1700009999 +0000".to_owned(),
            Some(tagger) => {
                let part = |name: &str| tagger[name].as_str().ok_or_else(|| message(422, "tagger is incomplete"));
                let date = part("date")?;
                let seconds = date.parse::<jiff::Timestamp>().map_err(|_| message(422, "date is not ISO 8601"))?;
                let zone = date.strip_suffix('Z').map_or_else(|| date[19..].replace(':', ""), |_| "+0000".to_owned());
                format!("{} <{}> {} {zone}", part("name")?, part("email")?, seconds.as_second())
            }
        };
        let object = format!("object {target}\ntype {kind}\ntag {name}\ntagger {tagger}\n\n{message_text}");
        let made = core.make_object(&object);
        let core = &self.repositories[&id];
        Ok(Reply::json(201, &self.show_object(core, &made, &object)))
    }

    fn create(&mut self, id: u64, caller: &Caller, full_name: &str, sha: &str) -> Result<Reply, Reply> {
        self.check_writer(id, caller)?;
        let name = full_name.strip_prefix("refs/tags/").filter(|name| !name.is_empty());
        let name =
            name.ok_or_else(|| message(422, "Reference name must start with 'refs/' and have at least two slashes"))?;
        let core = &self.repositories[&id];
        if core.kind_of(sha).is_none() {
            return Err(message(422, "Object does not exist"));
        }
        if core.tags.contains_key(name) {
            return Err(message(422, "Reference already exists"));
        }
        if core.is_ruled(name) {
            let text = "Repository rule violations found\n\nCannot create ref due to creations being restricted.\n\n";
            return Err(message(422, text));
        }
        let directory = format!("{name}/");
        let blocked = core.tags.keys().any(|other| {
            other.starts_with(&directory) || name.strip_prefix(other.as_str()).is_some_and(|rest| rest.starts_with('/'))
        });
        if blocked || tagsyncd::tag::TagName::new(name).is_err() {
            return Err(message(422, "Reference update failed"));
        }
        let shown = show(core, name, sha);
        self.repositories.get_mut(&id).expect("it was entered").tags.insert(name.to_owned(), sha.to_owned());
        Ok(Reply::json(201, &shown))
    }

    fn move_to(&mut self, id: u64, caller: &Caller, name: &str, sha: &str, force: bool) -> Result<Reply, Reply> {
        self.check_writer(id, caller)?;
        let core = &self.repositories[&id];
        if !core.tags.contains_key(name) {
            return Err(message(422, "Reference does not exist"));
        }
        if core.kind_of(sha).is_none() {
            return Err(message(422, "Object does not exist"));
        }
        if core.is_ruled(name) {
            return Err(message(422, "Repository rule violations found\n\nCannot update this protected ref.\n\n"));
        }
        if !force {
            return Err(message(422, "Update is not a fast forward"));
        }
        let shown = show(core, name, sha);
        self.repositories.get_mut(&id).expect("it was entered").tags.insert(name.to_owned(), sha.to_owned());
        Ok(Reply::json(200, &shown))
    }

    fn delete(&mut self, id: u64, caller: &Caller, name: &str) -> Result<Reply, Reply> {
        self.check_writer(id, caller)?;
        let core = self.repositories.get_mut(&id).expect("it was entered");
        if !core.tags.contains_key(name) {
            return Err(message(422, "Reference does not exist"));
        }
        if core.is_ruled(name) {
            return Err(message(422, "Repository rule violations found\n\nCannot delete this protected ref.\n\n"));
        }
        core.tags.remove(name);
        if core.releases.remove(name) {
            core.drafts.insert(name.to_owned());
        }
        Ok(Reply::empty(204))
    }
}

fn show(core: &Repository, name: &str, id: &str) -> Json {
    let kind = core.kind_of(id).unwrap_or("commit");
    json!({ "ref": format!("refs/tags/{name}"), "node_id": "REF", "url": "", "object": { "type": kind, "sha": id, "url": "" } })
}

fn fields(request: &Request) -> Result<Map<String, Json>, Reply> {
    serde_json::from_slice(&request.body).map_err(|_| message(400, "Problems parsing JSON"))
}

fn text<'a>(fields: &'a Map<String, Json>, name: &str) -> Result<&'a str, Reply> {
    let missing = || message(422, &format!("Invalid request.\n\n\"{name}\" wasn't supplied."));
    fields.get(name).and_then(Json::as_str).ok_or_else(missing)
}
