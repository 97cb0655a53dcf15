//! The routes, who may take them, and what they answer.

use serde_json::{Map, Value as Json, json};

use super::super::server::{Handler, Reply, Request};
use super::{FakeTag, Repository, VersState, VersWorld, Write, WriteKind, kind};

pub(super) struct Api(pub(super) VersState);

impl Handler for Api {
    fn answer(&self, request: &Request) -> Reply {
        self.0.change(|world| world.answer(request).unwrap_or_else(|refusal| refusal))
    }

    fn kind(&self, request: &Request) -> String {
        let root = self.0.change(|world| world.root.clone());
        let segments = segments(&root, &request.path).unwrap_or_default();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        match (request.method.as_str(), segments.as_slice()) {
            ("GET", ["repositories", _]) => kind::REPOSITORY,
            ("GET", ["repositories", _, "tags"]) => kind::LIST,
            ("POST", ["repositories", _, "tags"]) => kind::CREATE,
            ("GET", ["repositories", _, "tags", _]) => kind::GET,
            ("PATCH", ["repositories", _, "tags", _]) => kind::MOVE,
            ("DELETE", ["repositories", _, "tags", _]) => kind::DELETE,
            ("GET", ["commits"]) => kind::COMMITS,
            _ => kind::OTHER,
        }
        .to_owned()
    }
}

/// The decoded segments behind `/api/v1/`.
fn segments(root: &str, path: &str) -> Option<Vec<String>> {
    let decode =
        |segment: &str| percent_encoding::percent_decode_str(segment).decode_utf8().map(std::borrow::Cow::into_owned);
    path.strip_prefix(root)?.strip_prefix("/api/v1/")?.split('/').map(|segment| decode(segment).ok()).collect()
}

/// An answer in the form of the API's own errors.
fn error(status: u16, text: &str) -> Reply {
    Reply::json(status, &json!({ "error": text, "success": false }))
}

impl VersWorld {
    fn answer(&mut self, request: &Request) -> Result<Reply, Reply> {
        let segments = segments(&self.root, &request.path).ok_or_else(|| Reply::empty(404))?;
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let organisation = self.authenticate(request)?;
        match (request.method.as_str(), segments.as_slice()) {
            ("GET", ["commits"]) => Ok(self.list_commits(&organisation, request)),
            ("GET", ["repositories", repository]) => {
                let found = self.enter(&organisation, repository)?;
                let repo_id = found.repo_id.clone();
                Ok(Reply::json(
                    200,
                    &json!({ "repo_id": self.id(&repo_id), "name": repository, "description": null,
                             "is_public": false, "created_at": time(super::EPOCH) }),
                ))
            }
            ("GET", ["repositories", repository, "tags"]) => self.list(&organisation, repository),
            ("GET", ["repositories", repository, "tags", name]) => {
                let tag = self.enter(&organisation, repository)?.visible().get(*name).cloned();
                let tag = tag.ok_or_else(|| self.missing("tag"))?;
                Ok(Reply::json(200, &self.show(repository, name, &tag)))
            }
            ("POST", ["repositories", repository, "tags"]) => {
                let body = read_body(request)?;
                let name = field(&body, "tag_name")?.unwrap_or_default();
                let reply = self.create(&organisation, repository, &body);
                self.note(WriteKind::Create, &name, request, reply)
            }
            ("PATCH", ["repositories", repository, "tags", name]) => {
                let body = read_body(request)?;
                let reply = self.update(&organisation, repository, name, &body);
                self.note(WriteKind::Move, name, request, reply)
            }
            ("DELETE", ["repositories", repository, "tags", name]) => {
                let reply = self.delete(&organisation, repository, name);
                self.note(WriteKind::Delete, name, request, reply)
            }
            (_, ["repositories", _, "tags"] | ["repositories", _, "tags", _] | ["repositories", _]) => {
                Err(Reply::empty(405))
            }
            _ => Err(Reply::empty(404)),
        }
    }

    /// The organisation of the key. `Bearer ` must be spelled like this, with one space and something behind it.
    fn authenticate(&self, request: &Request) -> Result<String, Reply> {
        let refused = |text| if self.quirks.bare_401 { Reply::empty(401) } else { error(401, text) };
        let key = request.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
        let key = key.filter(|key| !key.is_empty());
        let key = key.ok_or_else(|| refused("Missing or invalid Authorization header"))?;
        self.keys.get(key).cloned().ok_or_else(|| refused("Invalid API key"))
    }

    /// The repository of this name that the key's organisation has.
    fn enter(&mut self, organisation: &str, name: &str) -> Result<&mut Repository, Reply> {
        let missing = self.missing("repository");
        self.repositories.get_mut(&(organisation.to_owned(), name.to_owned())).ok_or(missing)
    }

    fn missing(&self, what: &str) -> Reply {
        match what {
            _ if self.quirks.mute_404 => error(404, "not found"),
            "tag" | "repository" if self.quirks.vague_404 => error(404, "Repository or tag not found"),
            _ => error(404, &format!("{what} not found")),
        }
    }

    fn note(
        &mut self,
        kind: WriteKind,
        name: &str,
        request: &Request,
        reply: Result<Reply, Reply>,
    ) -> Result<Reply, Reply> {
        let (Ok(Reply { status, .. }) | Err(Reply { status, .. })) = reply;
        let body = String::from_utf8_lossy(&request.body).into_owned();
        self.writes.push(Write { kind, name: name.to_owned(), body, status });
        reply
    }

    fn list(&mut self, organisation: &str, repository: &str) -> Result<Reply, Reply> {
        let tags = self.enter(organisation, repository)?.visible().clone();
        let mut tags: Vec<_> = tags.into_iter().collect();
        if self.quirks.newest_first {
            tags.sort_by_key(|(name, tag)| (std::cmp::Reverse(tag.updated_at), name.clone()));
        }
        let mut tags: Vec<Json> = tags.iter().map(|(name, tag)| self.show(repository, name, tag)).collect();
        if self.quirks.repeats_tag {
            tags.extend(tags.first().cloned());
        }
        let name = if self.quirks.names_other_repository { "other" } else { repository };
        let mut shown = json!({ "repository": name });
        if self.quirks.null_tags {
            shown["tags"] = Json::Null;
        } else if !self.quirks.no_tags {
            shown["tags"] = tags.into();
        }
        if self.quirks.other_fields {
            shown["repository"] = Json::Null;
            shown["next_cursor"] = Json::Null;
        }
        Ok(Reply::json(200, &shown))
    }

    fn list_commits(&self, organisation: &str, request: &Request) -> Reply {
        let number = |name: &str| request.parameter(name).and_then(|text| text.parse::<usize>().ok());
        let limit = number("limit").unwrap_or(50).min(100).min(self.quirks.commits_cap.unwrap_or(usize::MAX));
        let offset = number("offset").unwrap_or(0);
        let own = || self.commits.iter().rev().filter(|commit| commit.organisation == organisation);
        let show = |commit: &super::Commit| {
            json!({ "commit_id": self.id(&commit.commit_id), "name": "a machine", "description": null,
                    "owner_id": commit.organisation, "parent_vm_id": null, "grandparent_commit_id": null,
                    "is_public": commit.is_public, "created_at": time(super::EPOCH) })
        };
        let page: Vec<Json> = own().skip(offset).take(limit).map(show).collect();
        let mut shown = json!({ "commits": page, "limit": limit, "offset": offset });
        if !self.quirks.no_commit_total {
            shown["total"] = (own().count() + usize::from(self.quirks.commit_total_lies)).into();
        }
        Reply::json(200, &shown)
    }

    /// The commit that a tag shall point at, once it is known that the key may tag it. Reading it is not enough: a
    /// public commit of somebody else is refused, too.
    fn own_commit(&self, organisation: &str, commit_id: &str) -> Result<(), Reply> {
        let commit = self.commits.iter().find(|commit| commit.commit_id == commit_id);
        let commit = commit.ok_or_else(|| self.missing("commit"))?;
        if commit.organisation == organisation { Ok(()) } else { Err(error(403, "Forbidden")) }
    }

    fn create(&mut self, organisation: &str, repository: &str, body: &Map<String, Json>) -> Result<Reply, Reply> {
        let name = field(body, "tag_name")?.ok_or_else(|| unreadable("missing field `tag_name`"))?;
        let commit_id = commit_field(body)?.ok_or_else(|| unreadable("missing field `commit_id`"))?;
        let description = field(body, "description")?;
        let is_name = (1..=128).contains(&name.len())
            && name.chars().all(|character| character.is_alphanumeric() || matches!(character, '-' | '_' | '.'));
        if !is_name {
            return Err(error(400, "Invalid tag name"));
        }
        self.enter(organisation, repository)?;
        self.own_commit(organisation, &commit_id)?;
        if self.quirks.forbids_writes {
            return Err(error(403, "Forbidden"));
        }
        if self.enter(organisation, repository)?.tags.contains_key(&name) {
            return Err(error(409, &format!("tag '{name}' already exists in repository '{repository}'")));
        }
        let tag = self.make(&commit_id, self.cut(description).as_deref());
        let (tag_id, reads) = (tag.tag_id.clone(), self.quirks.stale_reads);
        let found = self.enter(organisation, repository)?;
        found.fall_behind(reads);
        found.tags.insert(name.clone(), tag);
        Ok(Reply::json(
            201,
            &json!({ "tag_id": tag_id, "reference": format!("{repository}:{name}"), "commit_id": self.id(&commit_id) }),
        ))
    }

    fn update(
        &mut self,
        organisation: &str,
        repository: &str,
        name: &str,
        body: &Map<String, Json>,
    ) -> Result<Reply, Reply> {
        let commit_id = commit_field(body)?;
        let description = field(body, "description")?;
        let changes_description = body.contains_key("description");
        if commit_id.is_none() && !changes_description {
            return Err(error(400, "nothing to update"));
        }
        let mut tag =
            self.enter(organisation, repository)?.tags.get(name).cloned().ok_or_else(|| self.missing("tag"))?;
        if self.quirks.forbids_writes {
            return Err(error(403, "Forbidden"));
        }
        if let Some(commit_id) = commit_id {
            self.own_commit(organisation, &commit_id)?;
            tag.commit_id = commit_id;
        }
        if changes_description {
            tag.description = self.cut(description);
        }
        tag.updated_at = self.tick();
        let reads = self.quirks.stale_reads;
        let found = self.enter(organisation, repository)?;
        found.fall_behind(reads);
        found.tags.insert(name.to_owned(), tag.clone());
        Ok(if self.quirks.move_shows_tag {
            Reply::json(200, &self.show(repository, name, &tag))
        } else {
            Reply::empty(204)
        })
    }

    fn delete(&mut self, organisation: &str, repository: &str, name: &str) -> Result<Reply, Reply> {
        if !self.enter(organisation, repository)?.tags.contains_key(name) {
            return Err(self.missing("tag"));
        }
        if self.quirks.forbids_writes {
            return Err(error(403, "Forbidden"));
        }
        let reads = self.quirks.stale_reads;
        let found = self.enter(organisation, repository)?;
        found.fall_behind(reads);
        found.tags.remove(name);
        Ok(if self.quirks.delete_200 { Reply::json(200, &json!({})) } else { Reply::empty(204) })
    }

    fn cut(&self, description: Option<String>) -> Option<String> {
        let most = self.quirks.cuts_description.unwrap_or(usize::MAX);
        description.map(|text| text.chars().take(most).collect())
    }

    fn id(&self, id: &str) -> String {
        if self.quirks.capital_ids { id.to_uppercase() } else { id.to_owned() }
    }

    fn show(&self, repository: &str, name: &str, tag: &FakeTag) -> Json {
        let mut shown = json!({ "tag_name": name, "commit_id": self.id(&tag.commit_id) });
        if !self.quirks.other_fields || tag.description.is_some() {
            shown["description"] = tag.description.clone().into();
        }
        if self.quirks.other_fields {
            shown["labels"] = json!({ "tier": 1 });
        } else {
            shown["tag_id"] = tag.tag_id.clone().into();
            shown["reference"] = format!("{repository}:{name}").into();
            shown["created_at"] = time(tag.created_at).into();
            shown["updated_at"] = time(tag.updated_at).into();
        }
        shown
    }
}

/// What the server's JSON reader refuses, it refuses in plain text, before any of the API's own code runs.
fn unreadable(problem: &str) -> Reply {
    Reply::text(422, &format!("Failed to deserialize the JSON body into the target type: {problem}"))
}

fn read_body(request: &Request) -> Result<Map<String, Json>, Reply> {
    if !request.header("content-type").is_some_and(|kind| kind.starts_with("application/json")) {
        return Err(Reply::text(415, "Expected request with `Content-Type: application/json`"));
    }
    match serde_json::from_slice(&request.body) {
        Ok(Json::Object(body)) => Ok(body),
        Ok(_) => Err(unreadable("invalid type, expected struct")),
        Err(_) => Err(Reply::text(400, "Failed to parse the request body as JSON")),
    }
}

/// A text that may be null or missing.
fn field(body: &Map<String, Json>, name: &str) -> Result<Option<String>, Reply> {
    match body.get(name) {
        None | Some(Json::Null) => Ok(None),
        Some(Json::String(text)) => Ok(Some(text.clone())),
        Some(other) => Err(unreadable(&format!("{name}: invalid type {other}, expected a string"))),
    }
}

/// A commit's id in the one spelling in which ids are kept.
fn commit_field(body: &Map<String, Json>) -> Result<Option<String>, Reply> {
    let Some(text) = field(body, "commit_id")? else { return Ok(None) };
    match uuid::Uuid::try_parse(&text) {
        Ok(id) => Ok(Some(id.to_string())),
        Err(fault) => Err(unreadable(&format!("commit_id: UUID parsing failed: {fault}"))),
    }
}

fn time(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).expect("the fake's times are in range").to_string()
}
