//! A GitHub that keeps refs and tag objects in memory: the REST routes that a tag client meets, with their quirks as switches.
//!
//! Statuses and texts are those of the documentation for the API version 2022-11-28 and of public reports (2026-11-21,
//! <https://docs.github.com/en/rest/git>). Tag objects are made as git makes them, so that their ids are the true ones.

mod routes;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::gitlab::Commits;
use super::server::{Effect, Server, When, lock};

/// What the record calls the requests.
pub mod kind {
    /// `GET /repos/:owner/:repo`
    pub const REPOSITORY: &str = "repository";
    /// `GET …/git/matching-refs/tags`
    pub const LIST: &str = "list";
    /// `GET …/git/ref/tags/:tag`
    pub const GET: &str = "get";
    /// `POST …/git/refs`
    pub const CREATE: &str = "create";
    /// `PATCH …/git/refs/tags/:tag`
    pub const MOVE: &str = "move";
    /// `DELETE …/git/refs/tags/:tag`
    pub const DELETE: &str = "delete";
    /// `POST …/git/tags`
    pub const MAKE_OBJECT: &str = "make object";
    /// `GET …/git/tags/:sha`
    pub const OBJECT: &str = "object";
    /// `GET …/git/commits/:sha`
    pub const COMMIT: &str = "commit";
    /// `GET …/releases/tags/:tag`
    pub const RELEASE: &str = "release";
    /// Anything else.
    pub const OTHER: &str = "other";
}

/// The repository of [`GithubWorld::with_core`].
pub const CORE: &str = "infra/core";

/// Everything that a GitHub is.
#[derive(Clone, Debug, Default)]
pub struct GithubWorld {
    /// The path below which the API lives: empty, or `/api/v3`.
    pub root: String,
    /// Its repositories by id.
    pub repositories: BTreeMap<u64, Repository>,
    /// Who may do what, by the secret.
    pub tokens: BTreeMap<String, Token>,
    /// What is odd about it.
    pub quirks: Quirks,
    /// How many requests the quota still has; `None` is no quota.
    pub remaining: Option<u64>,
    /// Every write of a ref that reached it.
    pub writes: Vec<Write>,
}

/// A create, move or delete of a ref that reached it, whatever came of it.
#[derive(Clone, Debug)]
pub struct Write {
    /// `POST`, `PATCH` or `DELETE`.
    pub method: String,
    /// The tag.
    pub name: String,
    /// The status that it earned.
    pub status: u16,
    /// When it came.
    pub at: Instant,
}

/// One repository.
#[derive(Clone, Debug)]
pub struct Repository {
    /// `owner/name`
    pub path: String,
    /// Former paths; they answer with a redirect.
    pub former_paths: Vec<String>,
    /// Whether everybody may read it.
    pub public: bool,
    /// Whether it is read-only.
    pub archived: bool,
    /// The commits that it has.
    pub commits: Commits,
    /// Tag objects by id, in git's own form.
    pub objects: BTreeMap<String, String>,
    /// Trees, for tags on them.
    pub trees: BTreeSet<String>,
    /// Refs of tags by name, with the ids that they hold.
    pub tags: BTreeMap<String, String>,
    /// Names of tags with a published Release.
    pub releases: BTreeSet<String>,
    /// Releases that lost their tag.
    pub drafts: BTreeSet<String>,
    /// Names whose creation, change and deletion a ruleset forbids; `*` at the end stands for any text.
    pub rules: Vec<String>,
}

/// What a credential may do.
#[derive(Clone, Debug)]
pub struct Token {
    /// Whether its owner may push.
    pub pushes: bool,
    /// The scopes of a classic token; a fine-grained one has none.
    pub scopes: Option<String>,
    /// Whether it may write to the contents, where its owner may.
    pub writes_contents: bool,
}

impl Token {
    /// A fine-grained token that may write.
    pub fn fine() -> Self {
        Self { pushes: true, scopes: None, writes_contents: true }
    }
}

/// What is odd about a server. The default is today's github.com.
#[derive(Clone, Debug, Default)]
pub struct Quirks {
    /// Refs come in pages of so many, with links, as they once did.
    pub pages: Option<usize>,
    /// The next page is the page itself.
    pub next_page_is_current: bool,
    /// Scheme, host and port of links instead of the client's.
    pub link_host: Option<String>,
    /// No `ETag`.
    pub no_entity_tag: bool,
    /// The listing has refs that begin like those of tags.
    pub lists_others: bool,
    /// The listing has its first ref twice.
    pub repeats_ref: bool,
    /// Messages of tag objects lose the white space at their end.
    pub trims_messages: bool,
    /// The message of a signed tag has the signature in it.
    pub signature_in_message: bool,
    /// Writes are answered that there were too many.
    pub secondary: Option<Secondary>,
}

/// How a server says that there were too many writes.
#[derive(Clone, Copy, Debug)]
pub enum Secondary {
    /// 403 with `Retry-After`.
    RetryAfter(u64),
    /// 403 without.
    Silent,
    /// 429 without.
    TooMany,
}

impl Repository {
    /// A private repository with any commit.
    pub fn new(path: &str) -> Self {
        Self {
            path: path.to_owned(),
            former_paths: Vec::new(),
            public: false,
            archived: false,
            commits: Commits::Any,
            objects: BTreeMap::new(),
            trees: BTreeSet::new(),
            tags: BTreeMap::new(),
            releases: BTreeSet::new(),
            drafts: BTreeSet::new(),
            rules: Vec::new(),
        }
    }

    /// Makes a tag object of these bytes and gives its id.
    pub fn make_object(&mut self, text: &str) -> String {
        let id = gix::objs::compute_hash(gix::hash::Kind::Sha1, gix::objs::Kind::Tag, text.as_bytes());
        let id = id.expect("no two of the tests' objects collide").to_string();
        self.objects.insert(id.clone(), text.to_owned());
        id
    }

    /// Makes an annotated tag.
    pub fn annotate(&mut self, name: &str, target: &str, message: &str) -> String {
        let kind = if self.objects.contains_key(target) { "tag" } else { "commit" };
        let id = self.make_object(&format!(
            "object {target}\ntype {kind}\ntag {name}\ntagger A <a@example.com> 1700000000 +0000\n\n{message}"
        ));
        self.tags.insert(name.to_owned(), id.clone());
        id
    }

    /// The commit that an id leads to, and the message of the tag object that it is.
    pub fn peel(&self, id: &str) -> (String, Option<String>) {
        let Some(object) = self.objects.get(id) else { return (id.to_owned(), None) };
        let (head, message) = object.split_once("\n\n").expect("the fake's objects have a message");
        let target = head["object ".len()..].split('\n').next().expect("a line");
        (self.peel(target).0, Some(message.to_owned()))
    }

    fn has_commit(&self, id: &str) -> bool {
        let is_id = matches!(id.len(), 40 | 64) && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        is_id
            && !self.objects.contains_key(id)
            && match &self.commits {
                Commits::Any => true,
                Commits::Known(known) => known.contains(id),
            }
    }

    fn kind_of(&self, id: &str) -> Option<&'static str> {
        match id {
            id if self.objects.contains_key(id) => Some("tag"),
            id if self.trees.contains(id) => Some("tree"),
            id if self.has_commit(id) => Some("commit"),
            _ => None,
        }
    }

    fn is_ruled(&self, name: &str) -> bool {
        self.rules.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(start) => name.starts_with(start),
            None => pattern == name,
        })
    }
}

impl GithubWorld {
    /// A GitHub with the private repository 7 at `infra/core`, and the token `secret` of somebody who may write.
    pub fn with_core() -> Self {
        Self {
            repositories: BTreeMap::from([(7, Repository::new(CORE))]),
            tokens: BTreeMap::from([("secret".to_owned(), Token::fine())]),
            ..Self::default()
        }
    }

    /// `infra/core`.
    pub fn core(&mut self) -> &mut Repository {
        let core = self.repositories.values_mut().find(|repository| repository.path == CORE);
        core.expect("the test has not removed it")
    }

    /// Puts a repository where `infra/core` was: same path, next id, no tags.
    pub fn recreate(&mut self) {
        let commits = self.core().commits.clone();
        self.repositories = BTreeMap::from([(8, Repository { commits, ..Repository::new(CORE) })]);
    }
}

/// The fake, running.
pub struct FakeGithub {
    server: Server,
    state: State,
}

/// The world behind a running fake; may be kept by callbacks.
#[derive(Clone)]
pub struct State(Arc<Mutex<GithubWorld>>);

impl State {
    /// Changes the world between two requests.
    pub fn change<T>(&self, change: impl FnOnce(&mut GithubWorld) -> T) -> T {
        change(&mut lock(&self.0))
    }
}

impl FakeGithub {
    /// Starts with this world.
    pub fn start(world: GithubWorld) -> Self {
        let state = State(Arc::new(Mutex::new(world)));
        Self { server: Server::start(routes::Api(state.clone())), state }
    }

    /// What a client is configured with.
    pub fn url(&self) -> String {
        format!("{}{}", self.server.url(), self.state.change(|world| world.root.clone()))
    }

    /// The server, to misbehave and to be asked for its record.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Changes the world between two requests.
    pub fn change<T>(&self, change: impl FnOnce(&mut GithubWorld) -> T) -> T {
        self.state.change(change)
    }

    /// Somebody else changes the world just before such a request is applied.
    pub fn adversary(&self, when: When, change: impl Fn(&mut GithubWorld) + Send + Sync + 'static) {
        let state = self.state.clone();
        self.server.on(when, Effect::before(move |_| state.change(&change)));
    }

    /// The tags of `infra/core` with the ids that their refs hold.
    pub fn tags(&self) -> BTreeMap<String, String> {
        self.change(|world| world.core().tags.clone())
    }

    /// Every write of a ref that reached it, in order.
    pub fn writes(&self) -> Vec<Write> {
        self.change(|world| world.writes.clone())
    }
}
