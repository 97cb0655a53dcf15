//! A CodeArts Repo that keeps its tags in memory, with the IAM beside it: the routes that a tag client meets, with what
//! is not documented about them as switches.
//!
//! Statuses and codes are those of the vendor's pages (2026-11-21) where these say anything. The code of an absent tag,
//! of a name that exists and of an unknown commit are made up.

mod listing;
mod routes;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use serde_json::Value as Json;

pub use super::gitlab::commit_id;
use super::gitlab::{Write, WriteKind};
use super::server::{Effect, Server, When, lock};

/// What the record calls the requests.
pub mod kind {
    /// `POST /v3/auth/tokens`
    pub const TOKEN: &str = "token";
    /// `GET /v4/repositories/:id`
    pub const REPOSITORY: &str = "repository";
    /// `GET …/repository/tags`
    pub const LIST: &str = "list";
    /// `GET …/repository/tag?tag_name=`
    pub const GET: &str = "get";
    /// `POST …/repository/tags`
    pub const CREATE: &str = "create";
    /// `DELETE …/repository/tag?tag_name=`
    pub const DELETE: &str = "delete";
    /// `GET …/repository/commits?sha=`
    pub const COMMIT: &str = "commit";
    /// Anything else.
    pub const OTHER: &str = "other";
}

/// What every commit of the fake says.
pub const COMMIT_MESSAGE: &str = "Work\n";

/// Everything that a CodeArts Repo is.
#[derive(Clone, Debug, Default)]
pub struct CodeArtsWorld {
    /// The path below which it lives: empty, or `/huawei`.
    pub root: String,
    /// Its repositories by number.
    pub repositories: BTreeMap<u32, Repository>,
    /// What tokens may do.
    pub tokens: BTreeMap<String, Right>,
    /// What access keys may do, with their secret keys.
    pub access_keys: BTreeMap<String, (String, Right)>,
    /// Who may have tokens.
    pub users: Vec<User>,
    /// How many seconds a token of IAM lives.
    pub token_life: i64,
    /// How many tokens IAM has given.
    pub issued: usize,
    /// What is odd about it.
    pub quirks: Quirks,
    /// Every create and delete that reached it.
    pub writes: Vec<Write>,
}

/// What a credential may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// Everything.
    Write,
    /// Looking.
    Read,
}

/// A user of IAM.
#[derive(Clone, Debug)]
pub struct User {
    /// The account.
    pub domain: String,
    /// The name in it.
    pub name: String,
    /// The password.
    pub password: String,
    /// The project that tokens can be for.
    pub project: String,
    /// What the tokens may do.
    pub right: Right,
}

/// One repository.
#[derive(Clone, Debug, Default)]
pub struct Repository {
    /// Whether it is read-only.
    pub archived: bool,
    /// The commits that it has; `None` is whatever is asked for.
    pub commits: Option<BTreeSet<String>>,
    /// Its tags.
    pub tags: BTreeMap<String, FakeTag>,
}

/// One tag.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FakeTag {
    /// What the ref holds: a commit, or an annotated tag's own object.
    pub target: String,
    /// The commit that it peels to; `None` for tags on trees and blobs.
    pub commit_id: Option<String>,
    /// The annotated tag's message.
    pub message: Option<String>,
    /// What the listing says about its signature.
    pub gpg_key: Option<Json>,
    /// What the listing says about its deletion.
    pub can_delete: Option<bool>,
}

impl FakeTag {
    /// A lightweight tag.
    pub fn lightweight(commit_id: &str) -> Self {
        Self { target: commit_id.to_owned(), commit_id: Some(commit_id.to_owned()), ..Self::default() }
    }

    /// An annotated tag as git makes it: with an object of its own, `n` of its kind.
    pub fn annotated(commit_id: &str, message: &str, n: u32) -> Self {
        let target = super::gitlab::FakeTag::annotated(commit_id, message, n.into()).target;
        Self { target, message: Some(message.to_owned()), ..Self::lightweight(commit_id) }
    }
}

/// The forms in which a server says that something went wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ErrorForm {
    /// `error_code` and `error_msg`.
    #[default]
    Usual,
    /// `code` and `message`.
    CodeAndMessage,
    /// The same inside `error`.
    Nested,
    /// HTTP 200 with `"status": "failed"`, as in the v2 API.
    FailedUnder200,
    /// Plain text.
    Text,
}

/// What is odd about a server, or not known about the real one.
#[derive(Clone, Debug, Default)]
pub struct Quirks {
    /// `offset` counts pages, not rows.
    pub offset_counts_pages: bool,
    /// The server never gives more rows on a page than this, whatever is asked for.
    pub page_cap: Option<usize>,
    /// No `X-Total`.
    pub no_total: bool,
    /// What `X-Total` says instead of the truth.
    pub total_lies: Option<usize>,
    /// Every page is the first one.
    pub repeats_first_page: bool,
    /// The page at this offset comes without its last row.
    pub loses_last_row_at: Option<usize>,
    /// The order that was asked for is ignored.
    pub unordered: bool,
    /// The listing names the commit also for annotated tags.
    pub lists_commits: bool,
    /// The listing holds names and nothing else.
    pub lists_names_only: bool,
    /// Lightweight tags show the commit's message as their own.
    pub borrows_messages: bool,
    /// How errors look.
    pub error_form: ErrorForm,
    /// Not found is said without saying what.
    pub terse: bool,
}

impl CodeArtsWorld {
    /// A server with the repository 7, the token `secret`, the access key `AK` with the secret key `SK`, and the user
    /// `robot` of `acme` with the password `open sesame` for `cn-north-4`.
    pub fn with_core() -> Self {
        let user = ["acme", "robot", "open sesame", "cn-north-4"].map(str::to_owned);
        let [domain, name, password, project] = user;
        Self {
            repositories: BTreeMap::from([(7, Repository::default())]),
            tokens: BTreeMap::from([("secret".to_owned(), Right::Write)]),
            access_keys: BTreeMap::from([("AK".to_owned(), ("SK".to_owned(), Right::Write))]),
            users: vec![User { domain, name, password, project, right: Right::Write }],
            token_life: 86_400,
            ..Self::default()
        }
    }

    /// The repository 7.
    pub fn core(&mut self) -> &mut Repository {
        self.repositories.get_mut(&7).expect("the test has not removed it")
    }

    fn note(&mut self, kind: WriteKind, id: u32, name: &str, reference: Option<String>, status: u16) {
        self.writes.push(Write { kind, project: id.into(), name: name.to_owned(), reference, status });
    }
}

/// The fake, running.
pub struct FakeCodeArts {
    server: Server,
    state: CodeArtsState,
}

/// The world behind a running fake; may be kept by callbacks.
#[derive(Clone)]
pub struct CodeArtsState(Arc<Mutex<CodeArtsWorld>>);

impl CodeArtsState {
    /// Changes the world between two requests.
    pub fn change<T>(&self, change: impl FnOnce(&mut CodeArtsWorld) -> T) -> T {
        change(&mut lock(&self.0))
    }
}

impl FakeCodeArts {
    /// Starts with this world.
    pub fn start(world: CodeArtsWorld) -> Self {
        let state = CodeArtsState(Arc::new(Mutex::new(world)));
        let server = Server::start(routes::Api(state.clone()));
        Self { server, state }
    }

    /// What a client is configured with, for the API and for IAM.
    pub fn url(&self) -> String {
        format!("{}{}", self.server.url(), self.state.change(|world| world.root.clone()))
    }

    /// The server, to misbehave and to be asked for its record.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Changes the world between two requests.
    pub fn change<T>(&self, change: impl FnOnce(&mut CodeArtsWorld) -> T) -> T {
        self.state.change(change)
    }

    /// Somebody else changes the world just before such a request is applied.
    pub fn adversary(&self, when: When, change: impl Fn(&mut CodeArtsWorld) + Send + Sync + 'static) {
        let state = self.state.clone();
        self.server.on(when, Effect::before(move |_| state.change(&change)));
    }

    /// The tags of repository 7, as they truly are.
    pub fn tags(&self) -> BTreeMap<String, FakeTag> {
        self.change(|world| world.core().tags.clone())
    }

    /// Every create and delete that reached a repository, in order.
    pub fn writes(&self) -> Vec<Write> {
        self.change(|world| world.writes.clone())
    }
}
