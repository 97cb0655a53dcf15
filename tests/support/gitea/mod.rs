//! A Gitea that keeps its tags in memory: the REST routes that a tag client meets, with their quirks as switches.
//!
//! Statuses and texts are those of Gitea 1.24 and Forgejo 12 (2026-11-21, read in `routers/api/v1/repo/tag.go`, `services/release`
//! and `modules/git/repo_tag.go` of Gitea). Releases stand beside tags, as rows that are found by the name in lower case.

mod routes;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use super::gitlab::{Commits, FakeTag};
use super::server::{Effect, Server, When, lock};

/// What the record calls the requests.
pub mod kind {
    /// `GET /repos/:owner/:repo`
    pub const REPOSITORY: &str = "repository";
    /// `GET …/tags`
    pub const LIST: &str = "list";
    /// `GET …/tags/:tag`
    pub const GET: &str = "get";
    /// `POST …/tags`
    pub const CREATE: &str = "create";
    /// `DELETE …/tags/:tag`
    pub const DELETE: &str = "delete";
    /// `GET …/git/commits/:sha`
    pub const COMMIT: &str = "commit";
    /// Anything else.
    pub const OTHER: &str = "other";
}

/// The repository of [`GiteaWorld::with_core`].
pub const CORE: &str = "infra/core";

/// When every commit was made, in seconds since 1970.
const COMMITTED: i64 = 1_699_000_000;

/// Everything that a Gitea is.
#[derive(Clone, Debug, Default)]
pub struct GiteaWorld {
    /// The path below which it lives: empty, or `/gitea`.
    pub root: String,
    /// Its repositories by id.
    pub repositories: BTreeMap<u64, Repository>,
    /// Who may do what, by the secret.
    pub tokens: BTreeMap<String, Token>,
    /// What is odd about it.
    pub quirks: Quirks,
    /// Every create and delete that reached it: the method, the tag, the status that it earned.
    pub writes: Vec<(&'static str, String, u16)>,
    /// Seconds that have passed; every annotated tag takes one.
    pub ticks: i64,
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
    /// Whether it follows another repository.
    pub mirror: bool,
    /// Whether Releases are switched off.
    pub hides_releases: bool,
    /// The commits that it has.
    pub commits: Commits,
    /// Its tags. Those with a text in `release` have a Release.
    pub tags: BTreeMap<String, FakeTag>,
    /// Drafts of Releases, which have a name and no tag.
    pub drafts: BTreeSet<String>,
    /// Patterns of names that nobody may create or delete; `*` at the end stands for any text.
    pub protected: Vec<String>,
}

/// What a credential may do.
#[derive(Clone, Copy, Debug)]
pub struct Token {
    /// Whether its user may write to the code.
    pub writes: bool,
    /// Whether it has the scope for that.
    pub has_scope: bool,
}

/// What is odd about a server. The default is a current Gitea without oddities.
#[derive(Clone, Debug)]
pub struct Quirks {
    /// The server never gives more rows on a page than this, whatever is asked for (`MAX_RESPONSE_ITEMS`).
    pub page_cap: usize,
    /// No `X-Total-Count`.
    pub no_total: bool,
    /// What `X-Total-Count` says instead of the truth.
    pub total_lies: Option<usize>,
    /// A `Link` to the next page on every page but the last.
    pub links: bool,
    /// Every page is the first one.
    pub repeats_first_page: bool,
    /// This page comes without its last row.
    pub loses_last_row_of_page: Option<usize>,
    /// Fields that Forgejo has besides.
    pub forgejo_fields: bool,
    /// The status for what a rule protects: 422, and 405 in former versions.
    pub protected_status: u16,
    /// 404 with other words than today's, or with none.
    pub terse_404: bool,
}

impl Default for Quirks {
    fn default() -> Self {
        Self {
            page_cap: 50,
            no_total: false,
            total_lies: None,
            links: false,
            repeats_first_page: false,
            loses_last_row_of_page: None,
            forgejo_fields: false,
            protected_status: 422,
            terse_404: false,
        }
    }
}

impl Repository {
    /// A private repository with any commit.
    pub fn new(path: &str) -> Self {
        Self {
            path: path.to_owned(),
            former_paths: Vec::new(),
            public: false,
            archived: false,
            mirror: false,
            hides_releases: false,
            commits: Commits::Any,
            tags: BTreeMap::new(),
            drafts: BTreeSet::new(),
            protected: Vec::new(),
        }
    }

    fn is_protected(&self, name: &str) -> bool {
        self.protected.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(start) => name.starts_with(start),
            None => pattern == name,
        })
    }

    fn has_commit(&self, id: &str) -> bool {
        let is_id = matches!(id.len(), 40 | 64) && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        is_id
            && match &self.commits {
                Commits::Any => true,
                Commits::Known(known) => known.contains(id),
            }
    }
}

impl GiteaWorld {
    /// A Gitea with the private repository 7 at `infra/core`, and the token `secret` of somebody who may write.
    pub fn with_core() -> Self {
        Self {
            repositories: BTreeMap::from([(7, Repository::new(CORE))]),
            tokens: BTreeMap::from([("secret".to_owned(), Token { writes: true, has_scope: true })]),
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
pub struct FakeGitea {
    server: Server,
    state: State,
}

/// The world behind a running fake; may be kept by callbacks.
#[derive(Clone)]
pub struct State(Arc<Mutex<GiteaWorld>>);

impl State {
    /// Changes the world between two requests.
    pub fn change<T>(&self, change: impl FnOnce(&mut GiteaWorld) -> T) -> T {
        change(&mut lock(&self.0))
    }
}

impl FakeGitea {
    /// Starts with this world.
    pub fn start(world: GiteaWorld) -> Self {
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
    pub fn change<T>(&self, change: impl FnOnce(&mut GiteaWorld) -> T) -> T {
        self.state.change(change)
    }

    /// Somebody else changes the world just before such a request is applied.
    pub fn adversary(&self, when: When, change: impl Fn(&mut GiteaWorld) + Send + Sync + 'static) {
        let state = self.state.clone();
        self.server.on(when, Effect::before(move |_| state.change(&change)));
    }

    /// The tags of `infra/core`, as they truly are.
    pub fn tags(&self) -> BTreeMap<String, FakeTag> {
        self.change(|world| world.core().tags.clone())
    }

    /// Every create and delete that reached it, in order.
    pub fn writes(&self) -> Vec<(&'static str, String, u16)> {
        self.change(|world| world.writes.clone())
    }
}
