//! The routes, who may take them, and what they answer.

use serde_json::{Map, Value as Json, json};

use super::super::gitlab::FakeTag;
use super::super::server::{Handler, Reply, Request};
use super::{COMMITTED, GiteaWorld, Repository, State, Token, kind};

pub(super) struct Api(pub(super) State);

impl Handler for Api {
    fn answer(&self, request: &Request) -> Reply {
        self.0.change(|world| world.answer(request).unwrap_or_else(|refusal| refusal))
    }

    fn kind(&self, request: &Request) -> String {
        let root = self.0.change(|world| world.root.clone());
        let route = route(&root, &request.path).map(|(_, rest)| rest).unwrap_or_default();
        let route: Vec<&str> = route.iter().map(String::as_str).collect();
        match (request.method.as_str(), route.as_slice()) {
            ("GET", []) => kind::REPOSITORY,
            ("GET", ["tags"]) => kind::LIST,
            ("POST", ["tags"]) => kind::CREATE,
            ("GET", ["tags", _]) => kind::GET,
            ("DELETE", ["tags", _]) => kind::DELETE,
            ("GET", ["git", "commits", _]) => kind::COMMIT,
            _ => kind::OTHER,
        }
        .to_owned()
    }
}

/// The repository's path, and what follows it, decoded. A tag's name takes all the rest, slashes included, and is decoded once.
fn route(root: &str, path: &str) -> Option<(String, Vec<String>)> {
    let rest = path.strip_prefix(root)?.strip_prefix("/api/v1/repos/")?;
    let mut parts = rest.splitn(3, '/');
    let repository = format!("{}/{}", decode(parts.next()?), decode(parts.next()?));
    let rest = match parts.next() {
        None => Vec::new(),
        Some(rest) => match rest.split_once('/') {
            Some(("tags", name)) => vec!["tags".to_owned(), decode(name)],
            Some(("releases", name)) if name.starts_with("tags/") => {
                vec!["releases".to_owned(), "tags".to_owned(), decode(&name["tags/".len()..])]
            }
            _ => rest.split('/').map(decode).collect(),
        },
    };
    Some((repository, rest))
}

fn decode(segment: &str) -> String {
    percent_encoding::percent_decode_str(segment).decode_utf8_lossy().into_owned()
}

/// An answer in the form of Gitea's errors.
fn message(status: u16, text: &str) -> Reply {
    Reply::json(status, &json!({ "message": text, "url": "https://git.example.com/api/swagger" }))
}

impl GiteaWorld {
    fn answer(&mut self, request: &Request) -> Result<Reply, Reply> {
        let caller = self.authenticate(request)?;
        // What no route matches.
        let (path, rest) = route(&self.root, &request.path).ok_or_else(|| Reply::text(404, "404 page not found\n"))?;
        let id = self.enter(&path, request, caller)?;
        let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
        match (request.method.as_str(), rest.as_slice()) {
            ("GET", []) => Ok(self.show_repository(id, caller)),
            ("GET", ["tags"]) => Ok(self.list(id, request)),
            ("GET", ["tags", name]) => {
                let tag = self.repositories[&id].tags.get(*name);
                let tag = tag.ok_or_else(|| self.not_found(Some(&format!("tag doesn't exist: {name}"))))?;
                Ok(Reply::json(200, &self.show(name, tag)))
            }
            ("GET", ["git", "commits", reference]) => {
                let repository = &self.repositories[&id];
                let tagged = repository.tags.get(*reference).and_then(|tag| tag.commit_id.as_deref());
                let found = Some(*reference).filter(|id| repository.has_commit(id)).or(tagged);
                let found = found.ok_or_else(|| self.not_found(Some(reference)))?;
                Ok(Reply::json(200, &json!({ "sha": found, "url": "", "commit": { "message": "Work\n" } })))
            }
            ("GET", ["releases", "tags", name]) => {
                let released = self.repositories[&id].tags.get(*name).is_some_and(|tag| tag.release.is_some());
                let shown = released && !self.repositories[&id].hides_releases;
                shown.then_some(()).ok_or_else(|| self.not_found(None))?;
                Ok(Reply::json(200, &json!({ "id": 1, "tag_name": name, "draft": false, "assets": [] })))
            }
            ("POST", ["tags"]) => {
                let fields: Map<String, Json> = serde_json::from_slice(&request.body)
                    .map_err(|fault| message(422, &format!("invalid JSON: {fault}")))?;
                let field = |name: &str| fields.get(name).and_then(Json::as_str).unwrap_or_default().to_owned();
                let name = field("tag_name");
                let reply = self.create(id, caller, &name, &field("target"), &field("message"));
                self.note("POST", &name, reply)
            }
            ("DELETE", ["tags", name]) => {
                let reply = self.delete(id, caller, name);
                self.note("DELETE", name, reply)
            }
            _ => Err(Reply::text(404, "404 page not found\n")),
        }
    }

    fn note(&mut self, method: &'static str, name: &str, reply: Result<Reply, Reply>) -> Result<Reply, Reply> {
        let status = reply.as_ref().map_or_else(|refusal| refusal.status, |done| done.status);
        self.writes.push((method, name.to_owned(), status));
        reply
    }

    fn authenticate(&self, request: &Request) -> Result<Option<Token>, Reply> {
        let Some(header) = request.header("authorization") else { return Ok(None) };
        let (scheme, secret) = header.split_once(' ').unwrap_or_default();
        let is_token = scheme.eq_ignore_ascii_case("token") || scheme.eq_ignore_ascii_case("bearer");
        let token = self.tokens.get(secret).filter(|_| is_token);
        token.copied().map(Some).ok_or_else(|| message(401, "invalid username, password or token"))
    }

    /// "The target couldn't be found." for everything, with what is missing in `errors`, sometimes.
    fn not_found(&self, what: Option<&str>) -> Reply {
        if self.quirks.terse_404 {
            return Reply::json(404, &json!({}));
        }
        let errors: Vec<&str> = what.into_iter().collect();
        let text = "The target couldn't be found.";
        Reply::json(404, &json!({ "errors": errors, "message": text, "url": "https://git.example.com/api/swagger" }))
    }

    /// Finds the repository. Names have no case here. Who may not see one is told that there is none.
    fn enter(&self, path: &str, request: &Request, caller: Option<Token>) -> Result<u64, Reply> {
        let found = self.repositories.iter().find(|(_, found)| found.path.eq_ignore_ascii_case(path));
        let Some((id, repository)) = found else {
            let moved = self.repositories.values().find(|found| found.former_paths.iter().any(|former| former == path));
            let Some(moved) = moved else { return Err(self.not_found(None)) };
            return Err(Reply::redirect(307, &request.target.replacen(path, &moved.path, 1)));
        };
        if caller.is_none() && !repository.public {
            return Err(self.not_found(None));
        }
        Ok(*id)
    }

    fn show_repository(&self, id: u64, caller: Option<Token>) -> Reply {
        let Repository { path, public, archived, mirror, hides_releases, .. } = &self.repositories[&id];
        let push = caller.is_some_and(|token| token.writes);
        Reply::json(
            200,
            &json!({
                "id": id, "full_name": path, "name": path.rsplit('/').next(), "private": !public, "empty": false,
                "archived": archived, "mirror": mirror, "has_releases": !hides_releases, "default_branch": "main",
                "permissions": { "admin": false, "push": push, "pull": true },
            }),
        )
    }

    fn list(&self, id: u64, request: &Request) -> Reply {
        let number = |key: &str| request.parameter(key).and_then(|text| text.parse::<usize>().ok());
        let limit = number("limit").filter(|limit| *limit > 0).unwrap_or(30).min(self.quirks.page_cap);
        let page = if self.quirks.repeats_first_page { 1 } else { number("page").unwrap_or(1).max(1) };
        let mut tags: Vec<(&String, &FakeTag)> = self.repositories[&id].tags.iter().collect();
        tags.sort_by_key(|(_, tag)| std::cmp::Reverse(tag.created_at.unwrap_or(COMMITTED)));
        let mut rows: Vec<Json> =
            tags.iter().skip((page - 1) * limit).take(limit).map(|(name, tag)| self.show(name, tag)).collect();
        if self.quirks.loses_last_row_of_page == Some(page) {
            rows.pop();
        }
        let mut reply = Reply::json(200, &rows.into());
        if !self.quirks.no_total {
            reply = reply.header("X-Total-Count", self.quirks.total_lies.unwrap_or(tags.len()));
        }
        if self.quirks.links && page * limit < tags.len() {
            reply = reply.header("Link", format!("<{}?page={}&limit={limit}>; rel=\"next\"", request.path, page + 1));
        }
        reply
    }

    fn show(&self, name: &str, tag: &FakeTag) -> Json {
        let commit = tag.commit_id.as_deref().unwrap_or(&tag.target);
        // A lightweight tag has the message of its commit.
        let text = tag.message.as_deref().unwrap_or("Work\n").trim();
        let mut shown = json!({
            "name": name, "message": text, "id": tag.target,
            "commit": { "url": format!("https://git.example.com/commits/{commit}"), "sha": commit,
                        "created": "2023-11-03T08:26:40Z" },
            "zipball_url": "https://git.example.com/a.zip", "tarball_url": "https://git.example.com/a.tar.gz",
        });
        if self.quirks.forgejo_fields {
            shown["archive_download_count"] = json!({ "zip": 0, "tar_gz": 0 });
        }
        shown
    }

    /// What stands in front of every write: a token, its scope, the user's right, the archive.
    fn check_writer(&self, id: u64, caller: Option<Token>) -> Result<(), Reply> {
        let token = caller.ok_or_else(|| message(401, "token is required"))?;
        if !token.has_scope {
            let text = "token does not have at least one of required scope(s), required=[write:repository], token scope=read:repository";
            return Err(message(403, text));
        }
        if !token.writes {
            return Err(message(403, "user should have a permission to write to a repo"));
        }
        if self.repositories[&id].archived {
            return Err(message(423, "repo is archived"));
        }
        Ok(())
    }

    fn create(&mut self, id: u64, caller: Option<Token>, name: &str, target: &str, text: &str) -> Result<Reply, Reply> {
        self.check_writer(id, caller)?;
        if name.is_empty() {
            return Err(message(422, "[]: Required"));
        }
        let repository = &self.repositories[&id];
        if !repository.has_commit(target) {
            return Err(message(404, &format!("target not found: object does not exist [id: {target}, rel_path: ]")));
        }
        let folded = name.to_lowercase();
        let is_taken = |other: &String| other.to_lowercase() == folded;
        if repository.tags.keys().any(is_taken) || repository.drafts.iter().any(is_taken) {
            return Err(message(409, &format!("tag already exists [name: {name}]")));
        }
        if repository.is_protected(name) {
            return Err(message(self.quirks.protected_status, "user not allowed to create protected tag"));
        }
        // Whatever git refuses ends as an error inside of the server.
        let directory = format!("{name}/");
        let blocked = repository.tags.keys().any(|other| {
            other.starts_with(&directory) || name.strip_prefix(other.as_str()).is_some_and(|rest| rest.starts_with('/'))
        });
        if blocked || name.starts_with('-') || tagsyncd::tag::TagName::new(name).is_err() {
            return Err(message(500, ""));
        }
        let text = cleaned(text);
        self.ticks += 1;
        let tag = match text.as_str() {
            "" => FakeTag::lightweight(target),
            text => FakeTag::annotated(target, text, 1_700_000_000 + self.ticks),
        };
        let shown = self.show(name, &tag);
        self.repositories.get_mut(&id).expect("it was entered").tags.insert(name.to_owned(), tag);
        Ok(Reply::json(201, &shown))
    }

    fn delete(&mut self, id: u64, caller: Option<Token>, name: &str) -> Result<Reply, Reply> {
        self.check_writer(id, caller)?;
        let repository = &self.repositories[&id];
        // The row is found by the name in lower case, and the tag by the row.
        let found = repository.tags.iter().find(|(other, _)| other.to_lowercase() == name.to_lowercase());
        let Some((name, tag)) = found else { return Err(self.not_found(None)) };
        let name = name.clone();
        if tag.release.is_some() {
            return Err(message(409, "a tag attached to a release cannot be deleted directly"));
        }
        if repository.is_protected(&name) {
            return Err(message(self.quirks.protected_status, "user not allowed to delete protected tag"));
        }
        self.repositories.get_mut(&id).expect("it was entered").tags.remove(&name);
        Ok(Reply::empty(204))
    }
}

/// What `git tag -a -m` makes of a message.
fn cleaned(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.starts_with('#')).map(str::trim_end);
    let mut kept: Vec<&str> = Vec::new();
    for line in lines {
        if !(line.is_empty() && kept.last().is_none_or(|last| last.is_empty())) {
            kept.push(line);
        }
    }
    let text = kept.join("\n").trim_end().to_owned();
    if text.is_empty() { text } else { text + "\n" }
}
