//! Vercel's REST API in front of a fake registry: it shows the registry's tags and writes none.
//!
//! Statuses and shapes are those of the published pages (2026-11-21, <https://vercel.com/docs/rest-api/vcr>); the words
//! of errors are made up where the pages have none.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value as Json, json};

use super::registry::{FakeRegistry, OCI_INDEX, RegistryState, RegistryWorld, User, Wants};
use super::server::{Handler, Reply, Request, Server, lock};

/// The team's id, which is also who logs in to the registry.
pub const TEAM: &str = "team_a1";
/// The team's slug.
pub const SLUG: &str = "acme";
/// The project's id.
pub const PROJECT: &str = "prj_1";
/// The repository's name.
pub const REPOSITORY: &str = "core";
/// The image's name in the registry.
pub const IMAGE: &str = "acme/shop/core";
/// The access token.
pub const TOKEN: &str = "secret";

/// Everything that the REST API is; tags and manifests are in the registry behind it.
#[derive(Clone, Debug)]
pub struct VercelWorld {
    /// The repository's id; `None` when there is none.
    pub repository_id: Option<String>,
    /// Whether the repository is scheduled for deletion.
    pub is_going: bool,
    /// Tokens that count.
    pub tokens: Vec<String>,
    /// What is odd about it.
    pub quirks: Quirks,
    /// What it still shows, and for how many reads.
    pub stale: Option<(BTreeMap<String, String>, usize)>,
}

/// What is odd about it. The default is what the pages say.
#[derive(Clone, Debug, Default)]
pub struct Quirks {
    /// It never gives more tags on a page than this.
    pub page_cap: Option<usize>,
    /// These come before all others, in any order.
    pub pinned: Vec<String>,
    /// Every page is the first one, and names a successor.
    pub repeats_first_page: bool,
    /// The last page has `"nextCursor": null`, or an empty text.
    pub last_cursor: Option<Json>,
    /// The last page that has a tag names one more page, which is empty.
    pub empty_last_page: bool,
    /// What `kind` says of everything.
    pub kind: Option<String>,
    /// The token reaches tags and not the repository itself.
    pub hides_repository: bool,
    /// Reads are refused for so many seconds, as its body says.
    pub limited_for: Option<u64>,
}

impl Default for VercelWorld {
    fn default() -> Self {
        Self {
            repository_id: Some("vcr_1".to_owned()),
            is_going: false,
            tokens: vec![TOKEN.to_owned()],
            quirks: Quirks::default(),
            stale: None,
        }
    }
}

/// The fake, running: the API and the registry, each on a port of its own.
pub struct FakeVercel {
    server: Server,
    /// The registry with what is true.
    pub registry: FakeRegistry,
    state: Arc<Mutex<VercelWorld>>,
}

impl FakeVercel {
    /// Starts over this registry, whose image and login become Vercel's.
    pub fn start(registry: RegistryWorld) -> Self {
        let user = User { password: TOKEN.to_owned(), actions: vec!["pull", "push"] };
        let registry = RegistryWorld {
            image: IMAGE.to_owned(),
            users: BTreeMap::from([(TEAM.to_owned(), user)]),
            wants: Wants::Basic,
            ..registry
        };
        let registry = FakeRegistry::start(registry);
        let state = Arc::new(Mutex::new(VercelWorld::default()));
        let server = Server::start(Api { state: state.clone(), registry: registry.state() });
        Self { server, registry, state }
    }

    /// `url = "…"`
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// The REST server, to misbehave and to be asked for its record.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Changes the world between two requests.
    pub fn change<T>(&self, change: impl FnOnce(&mut VercelWorld) -> T) -> T {
        change(&mut lock(&self.state))
    }

    /// From now on, so many reads show what is there now.
    pub fn fall_behind(&self, reads: usize) {
        let tags = self.registry.tags();
        self.change(|world| world.stale = Some((tags, reads)));
    }
}

struct Api {
    state: Arc<Mutex<VercelWorld>>,
    registry: RegistryState,
}

impl Handler for Api {
    fn answer(&self, request: &Request) -> Reply {
        let registry = self.registry.change(|world| world.clone());
        let mut world = lock(&self.state);
        world.answer(request, &registry)
    }

    fn kind(&self, request: &Request) -> String {
        let what = match request.path.split('/').collect::<Vec<_>>().as_slice() {
            ["", "v1", "vcr", "repository", _] => "repository",
            ["", "v1", "vcr", "repository", _, "tags"] => "list",
            ["", "v1", "vcr", "repository", _, "tags", _] => "tag",
            _ => "other",
        };
        format!("{} {what}", request.method)
    }
}

fn error(status: u16, code: &str, message: &str) -> Reply {
    Reply::json(status, &json!({ "error": { "code": code, "message": message } }))
}

impl VercelWorld {
    fn answer(&mut self, request: &Request, registry: &RegistryWorld) -> Reply {
        let bearer = request.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
        if !bearer.is_some_and(|bearer| self.tokens.iter().any(|token| token == bearer)) {
            return error(401, "forbidden", "The request is not authorized.");
        }
        if let Some(seconds) = self.quirks.limited_for {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            let reset = now.map_or(0, |now| now.as_secs()) + seconds;
            let limit = json!({ "remaining": 0, "reset": reset, "resetMs": reset * 1000, "total": 1 });
            let body = json!({ "error": { "code": "rate_limited", "message": "Too many requests", "limit": limit } });
            return Reply::json(429, &body);
        }
        let team = request.parameter("teamId") == Some(TEAM) || request.parameter("slug") == Some(SLUG);
        let path: Vec<&str> = request.path.split('/').collect();
        let ["", "v1", "vcr", "repository", repository, rest @ ..] = path.as_slice() else {
            return error(404, "not_found", "The page could not be found");
        };
        if request.parameter("projectId").is_none_or(str::is_empty) {
            return error(400, "bad_request", "Missing required query parameter: projectId");
        }
        let named = *repository == REPOSITORY || self.repository_id.as_deref() == Some(repository);
        let found = team && request.parameter("projectId") == Some(PROJECT) && named;
        let Some(id) = self.repository_id.clone().filter(|_| found) else {
            return error(404, "not_found", "VCR Repository not found");
        };
        if self.is_going {
            return error(410, "gone", "VCR Repository is scheduled for deletion");
        }
        if request.method != "GET" {
            return error(405, "method_not_allowed", "Method not allowed");
        }
        match rest {
            [] if self.quirks.hides_repository => error(404, "not_found", "VCR Repository not found"),
            [] => {
                // The vendor's client (1.28.35) has `public` in every repository, the page (of 2026-07-03) does not ask for it.
                let repository = json!({ "id": id, "name": REPOSITORY, "projectId": PROJECT, "public": false,
                                         "createdAt": "2026-11-20T00:00:00.000Z", "updatedAt": "2026-11-21T00:00:00.000Z" });
                Reply::json(200, &json!({ "repository": repository }))
            }
            ["tags"] => self.list(request, registry),
            ["tags", tag] => {
                let tags = self.visible(registry);
                match tags.get(*tag) {
                    Some(digest) => Reply::json(200, &json!({ "tag": self.tag(registry, tag, digest) })),
                    None => error(404, "not_found", "VCR Tag not found"),
                }
            }
            _ => error(404, "not_found", "The page could not be found"),
        }
    }

    /// The tags as the next read sees them, and counts the read.
    fn visible(&mut self, registry: &RegistryWorld) -> BTreeMap<String, String> {
        match &mut self.stale {
            Some((tags, left)) if *left > 0 => {
                *left -= 1;
                tags.clone()
            }
            _ => registry.tags.clone(),
        }
    }

    fn tag(&self, registry: &RegistryWorld, tag: &str, digest: &str) -> Json {
        let manifest = registry.manifests.get(digest);
        let is_index = manifest.is_some_and(|manifest| manifest.content_type == OCI_INDEX);
        let kind = self.quirks.kind.as_deref().unwrap_or(if is_index { "index" } else { "manifest" });
        let size = manifest.map_or(0, |manifest| manifest.bytes.len());
        let mut json = json!({
            "tag": tag, "manifestDigest": digest, "imageId": "img_1", "kind": kind, "pushedBy": "usr_1",
            "status": null, "sizeInBytes": size, "createdAt": "2026-11-20T00:00:00.000Z",
            "updatedAt": "2026-11-21T00:00:00.000Z",
        });
        if !is_index {
            json["status"] = "ready".into();
            json["platform"] = "linux".into();
            json["arch"] = "amd64".into();
        }
        json
    }

    fn list(&mut self, request: &Request, registry: &RegistryWorld) -> Reply {
        let limit: usize = match request.parameter("limit").map(str::parse) {
            None => 20,
            Some(Ok(limit)) if (1..=100).contains(&limit) => limit,
            Some(_) => return error(400, "bad_request", "Invalid limit"),
        };
        let by_name = request.parameter("sortBy") == Some("tag");
        let ascending = request.parameter("sortOrder") == Some("asc");
        let tags = self.visible(registry);
        let mut names: Vec<&String> = tags.keys().collect();
        // By time, newest first, unless asked otherwise; here nothing has a time, so that is some other order.
        if !(by_name && ascending) {
            names.reverse();
        }
        names.sort_by_key(|name| !self.quirks.pinned.contains(name));
        let size = self.quirks.page_cap.unwrap_or(limit).min(limit);
        let from = match request.parameter("cursor") {
            _ if self.quirks.repeats_first_page => 0,
            None => 0,
            Some(cursor) => match cursor.strip_prefix("after:") {
                Some("") => names.len(),
                Some(after) => names.iter().position(|name| *name == after).map_or(names.len(), |at| at + 1),
                None => return error(400, "bad_request", "Invalid cursor"),
            },
        };
        let rest = &names[from..];
        let shown = &rest[..size.min(rest.len())];
        let mut page = json!({
            "tags": shown.iter().map(|name| self.tag(registry, name, &tags[*name])).collect::<Vec<_>>(),
        });
        match shown.last() {
            Some(last) if rest.len() > shown.len() || self.quirks.repeats_first_page => {
                page["nextCursor"] = format!("after:{last}").into();
            }
            Some(_) if self.quirks.empty_last_page => page["nextCursor"] = "after:".into(),
            _ => {
                if let Some(last) = &self.quirks.last_cursor {
                    page["nextCursor"] = last.clone();
                }
            }
        }
        Reply::json(200, &page)
    }
}
