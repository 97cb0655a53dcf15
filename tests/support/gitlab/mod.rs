//! A GitLab that keeps its tags in memory: the REST routes that a tag client meets, with their quirks as switches.
//!
//! Tests change the world behind it, look at the state that a run left, and at the writes that reached it. Statuses and
//! texts are those of GitLab 17 to 19 (read in its source and documentation, 2026-11-21).

pub mod kind;
mod pages;
mod routes;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use sha2::{Digest as _, Sha256};

use super::server::{Effect, Server, When, lock};

/// When the fake's clock starts, in seconds since 1970.
const EPOCH: i64 = 1_700_000_000;

/// When every commit was authored; before every tag.
const AUTHORED: i64 = EPOCH - 86_400;

/// The access level that creates and deletes tags.
pub const DEVELOPER: u8 = 30;
/// The access level that deletes protected tags and reads their rules.
pub const MAINTAINER: u8 = 40;
/// The access level that reads code.
pub const REPORTER: u8 = 20;
/// The access level that sees a private project and not its code.
pub const GUEST: u8 = 10;

/// Everything that a GitLab is.
#[derive(Clone, Debug, Default)]
pub struct GitlabWorld {
    /// The path below which it lives: empty, or `/gitlab`.
    pub root: String,
    /// Its projects by id.
    pub projects: BTreeMap<u64, Project>,
    /// Who may do what, by the secret.
    pub tokens: BTreeMap<String, Token>,
    /// What is odd about it.
    pub quirks: Quirks,
    /// How many creates a limit inside the application still lets through; `None` is no limit.
    pub creates_left: Option<usize>,
    /// The limit that the `RateLimit-…` headers name; `None` sends none.
    pub rate_limit: Option<u64>,
    /// Every create and delete that reached it.
    pub writes: Vec<Write>,
    /// Seconds that have passed; every annotated tag takes one.
    pub ticks: i64,
    /// Requests that have been answered.
    pub requests: u64,
}

/// One project.
#[derive(Clone, Debug)]
pub struct Project {
    /// `group/sub/project`
    pub path: String,
    /// Former paths; they answer with a redirect.
    pub former_paths: Vec<String>,
    /// Whether everybody may read it.
    pub public: bool,
    /// Whether it is read-only.
    pub archived: bool,
    /// The commits that it has.
    pub commits: Commits,
    /// Branches with their commits; the first is the default.
    pub branches: Vec<(String, String)>,
    /// Its tags.
    pub tags: BTreeMap<String, FakeTag>,
    /// X.509 signatures as it shows them, by tag.
    pub signatures: BTreeMap<String, String>,
    /// Which tags are protected.
    pub protected_tags: Vec<Protection>,
    /// What a lagging replica still shows.
    pub stale: Option<Stale>,
}

/// Which commits a project has.
#[derive(Clone, Debug)]
pub enum Commits {
    /// Whatever is asked for.
    Any,
    /// These.
    Known(BTreeSet<String>),
}

/// One tag.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FakeTag {
    /// What the ref holds: a commit, or an annotated tag's own object.
    pub target: String,
    /// The commit that it peels to; `None` for tags on trees and blobs.
    pub commit_id: Option<String>,
    /// The annotated tag's message.
    pub message: Option<String>,
    /// The description of the Release that is attached to it.
    pub release: Option<String>,
    /// When the annotated tag was made, in seconds since 1970.
    pub created_at: Option<i64>,
}

impl FakeTag {
    /// A lightweight tag.
    pub fn lightweight(commit_id: &str) -> Self {
        Self { target: commit_id.to_owned(), commit_id: Some(commit_id.to_owned()), ..Self::default() }
    }

    /// An annotated tag as git makes it: with a new object of its own.
    pub fn annotated(commit_id: &str, message: &str, created_at: i64) -> Self {
        let mut digest = Sha256::new();
        for part in ["tag", commit_id, message, &created_at.to_string()] {
            digest.update(part);
            digest.update([0]);
        }
        let digest = digest.finalize();
        // As many digits as the repository's other ids have.
        let target = digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>()[..commit_id.len()].to_owned();
        Self {
            target,
            commit_id: Some(commit_id.to_owned()),
            message: Some(message.to_owned()),
            release: None,
            created_at: Some(created_at),
        }
    }

    /// The same tag with a Release.
    #[must_use]
    pub fn with_release(mut self, description: &str) -> Self {
        self.release = Some(description.to_owned());
        self
    }
}

/// A protected-tag rule.
#[derive(Clone, Debug)]
pub struct Protection {
    /// A name; `*` stands for any text, slashes included.
    pub pattern: String,
    /// The level that may create such tags; 0 is nobody.
    pub create_access_level: u8,
}

/// What a credential may do.
#[derive(Clone, Debug)]
pub struct Token {
    /// The access level in every project; 0 is no member.
    pub access_level: u8,
    /// Access levels that differ, by project id.
    pub in_projects: BTreeMap<u64, u8>,
    /// Whether membership comes from the group above.
    pub through_group: bool,
    /// `api`, `read_api`, …
    pub scopes: Vec<String>,
    /// Whether its time is over.
    pub expired: bool,
    /// Whether it was withdrawn.
    pub revoked: bool,
    /// Whether it is a CI job's token, which can list tags and nothing else.
    pub is_job: bool,
}

impl Token {
    /// A personal access token of a member with this level and scope `api`.
    pub fn of_level(access_level: u8) -> Self {
        Self {
            access_level,
            in_projects: BTreeMap::new(),
            through_group: false,
            scopes: vec!["api".to_owned()],
            expired: false,
            revoked: false,
            is_job: false,
        }
    }

    /// The same with other scopes.
    #[must_use]
    pub fn with_scopes(mut self, scopes: &[&str]) -> Self {
        self.scopes = scopes.iter().map(ToString::to_string).collect();
        self
    }

    fn level_in(&self, project: u64) -> u8 {
        self.in_projects.get(&project).copied().unwrap_or(self.access_level)
    }

    fn has_scope(&self, any_of: &[&str]) -> bool {
        self.is_job || self.scopes.iter().any(|scope| any_of.contains(&scope.as_str()))
    }
}

/// What is odd about a server. The default is a current GitLab without oddities.
#[derive(Clone, Debug)]
pub struct Quirks {
    /// An old server: `pagination=keyset` is not understood, offset pages come instead.
    pub no_keyset: bool,
    /// Keyset pages name a successor whenever they are full, so a full last page is followed by an empty one.
    pub link_on_full_page: bool,
    /// The first offset page always claims a second one, and the totals count one page too many.
    pub first_page_claims_next: bool,
    /// The server never gives more rows on a page than this, whatever is asked for.
    pub page_cap: Option<usize>,
    /// No `Link`.
    pub no_link: bool,
    /// No `X-Next-Page`.
    pub no_next_page: bool,
    /// No `X-Total` and `X-Total-Pages`.
    pub no_total: bool,
    /// Offset pages name a successor also at the end and beyond it.
    pub next_page_beyond_end: bool,
    /// The successor of a page is the page itself.
    pub next_page_is_current: bool,
    /// Every page is the first one, and names a successor.
    pub repeats_first_page: bool,
    /// This offset page comes without its last row.
    pub loses_last_row_of_page: Option<usize>,
    /// What `X-Total` says instead of the truth.
    pub total_lies: Option<usize>,
    /// Scheme, host and port of links instead of those that the client used.
    pub link_host: Option<String>,
    /// So many reads after a write still show the tags from before it.
    pub stale_reads: usize,
    /// The caller may not see releases: the key is missing.
    pub hides_release: bool,
    /// A proxy in front decodes `%2F`, so names with a slash cannot be addressed.
    pub proxy_decodes_slashes: bool,
    /// The status of refused creates: documented as 405, in the code 400, inside it 409.
    pub refused_create_status: u16,
}

impl Default for Quirks {
    fn default() -> Self {
        Self {
            no_keyset: false,
            link_on_full_page: true,
            first_page_claims_next: false,
            page_cap: None,
            no_link: false,
            no_next_page: false,
            no_total: false,
            next_page_beyond_end: false,
            next_page_is_current: false,
            repeats_first_page: false,
            loses_last_row_of_page: None,
            total_lies: None,
            link_host: None,
            stale_reads: 0,
            hides_release: false,
            proxy_decodes_slashes: false,
            refused_create_status: 400,
        }
    }
}

/// What a lagging replica still shows.
#[derive(Clone, Debug)]
pub struct Stale {
    /// The tags from before the first write that it has not seen.
    pub tags: BTreeMap<String, FakeTag>,
    /// How many reads it answers until it has caught up.
    pub reads_left: usize,
}

/// The kind of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteKind {
    /// A tag was to be made.
    Create,
    /// A tag was to go.
    Delete,
}

/// A create or delete that reached the project, whatever came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Which kind.
    pub kind: WriteKind,
    /// The project's id.
    pub project: u64,
    /// The tag.
    pub name: String,
    /// What a create asked for.
    pub reference: Option<String>,
    /// The status that it earned; the client may have been told another one.
    pub status: u16,
}

impl Write {
    /// Whether it changed anything.
    pub fn took_effect(&self) -> bool {
        self.status < 300
    }
}

impl Project {
    /// A private project with one branch and any commit.
    pub fn new(path: &str) -> Self {
        Self {
            path: path.to_owned(),
            former_paths: Vec::new(),
            public: false,
            archived: false,
            commits: Commits::Any,
            branches: vec![("main".to_owned(), commit_id(0))],
            tags: BTreeMap::new(),
            signatures: BTreeMap::new(),
            protected_tags: Vec::new(),
            stale: None,
        }
    }

    /// Adds a protected-tag rule.
    pub fn protect(&mut self, pattern: &str, create_access_level: u8) {
        self.protected_tags.push(Protection { pattern: pattern.to_owned(), create_access_level });
    }

    fn protections(&self, name: &str) -> impl Iterator<Item = &Protection> {
        self.protected_tags.iter().filter(move |rule| matches_wildcard(&rule.pattern, name))
    }

    fn is_protected(&self, name: &str) -> bool {
        self.protections(name).next().is_some()
    }

    fn has_commit(&self, id: &str) -> bool {
        let is_id = matches!(id.len(), 40 | 64) && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        is_id
            && match &self.commits {
                Commits::Any => true,
                Commits::Known(known) => known.contains(id),
            }
    }

    /// The commit that a revision means: an id, a branch or a tag.
    fn resolve(&self, reference: &str) -> Option<String> {
        if self.has_commit(reference) {
            return Some(reference.to_owned());
        }
        let branch = self.branches.iter().find(|(name, _)| name == reference).map(|(_, commit_id)| commit_id.clone());
        branch.or_else(|| self.tags.get(reference)?.commit_id.clone())
    }

    /// The tags as the next read sees them, and counts the read.
    fn visible(&mut self) -> &BTreeMap<String, FakeTag> {
        match &mut self.stale {
            Some(stale) if stale.reads_left > 0 => stale.reads_left -= 1,
            _ => self.stale = None,
        }
        self.stale.as_ref().map_or(&self.tags, |stale| &stale.tags)
    }

    /// Keeps what is there before a write for a lagging replica to show.
    fn fall_behind(&mut self, reads: usize) {
        if reads > 0 {
            let tags = self.stale.take().map_or_else(|| self.tags.clone(), |stale| stale.tags);
            self.stale = Some(Stale { tags, reads_left: reads });
        }
    }
}

impl GitlabWorld {
    /// A GitLab with the private project 7 at `infra/core`, and the token `secret` of a maintainer.
    pub fn with_core() -> Self {
        Self {
            projects: BTreeMap::from([(7, Project::new("infra/core"))]),
            tokens: BTreeMap::from([("secret".to_owned(), Token::of_level(MAINTAINER))]),
            ..Self::default()
        }
    }

    /// The project with this path or number.
    pub fn project(&mut self, project: &str) -> &mut Project {
        let id = self.find(project).expect("the test names a project that is there");
        self.projects.get_mut(&id).expect("the project was just found")
    }

    /// Puts a project where another one was: same path, next free id, no tags.
    pub fn recreate(&mut self, project: &str) {
        let id = self.find(project).expect("the test names a project that is there");
        let old = self.projects.remove(&id).expect("the project was just found");
        let next = self.projects.keys().next_back().copied().unwrap_or(id).max(id) + 1;
        self.projects.insert(next, Project { commits: old.commits, public: old.public, ..Project::new(&old.path) });
    }

    fn find(&self, project: &str) -> Option<u64> {
        match project.parse() {
            Ok(id) => self.projects.contains_key(&id).then_some(id),
            Err(_) => self.projects.iter().find(|(_, found)| found.path == project).map(|(id, _)| *id),
        }
    }

    /// The time, one second later than at the last call.
    fn tick(&mut self) -> i64 {
        self.ticks += 1;
        EPOCH + self.ticks
    }
}

/// A made-up commit id that depends on nothing but `n`.
pub fn commit_id(n: u32) -> String {
    let digest = Sha256::digest(format!("commit {n}"));
    digest.iter().take(20).map(|byte| format!("{byte:02x}")).collect()
}

/// The fake, running.
pub struct FakeGitlab {
    server: Server,
    state: GitlabState,
}

/// The world behind a running fake; may be kept by callbacks.
#[derive(Clone)]
pub struct GitlabState(Arc<Mutex<GitlabWorld>>);

impl GitlabState {
    /// Changes the world between two requests.
    pub fn change<T>(&self, change: impl FnOnce(&mut GitlabWorld) -> T) -> T {
        change(&mut lock(&self.0))
    }
}

impl FakeGitlab {
    /// Starts with this world.
    pub fn start(world: GitlabWorld) -> Self {
        let state = GitlabState(Arc::new(Mutex::new(world)));
        let server = Server::start(routes::Api(state.clone()));
        Self { server, state }
    }

    /// What a client is configured with: scheme, host, port and the relative root.
    pub fn url(&self) -> String {
        format!("{}{}", self.server.url(), self.state.change(|world| world.root.clone()))
    }

    /// The server, to misbehave and to be asked for its record.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// The world, for callbacks.
    pub fn state(&self) -> GitlabState {
        self.state.clone()
    }

    /// Changes the world between two requests.
    pub fn change<T>(&self, change: impl FnOnce(&mut GitlabWorld) -> T) -> T {
        self.state.change(change)
    }

    /// Somebody else changes the world just before such a request is applied.
    pub fn adversary(&self, when: When, change: impl Fn(&mut GitlabWorld) + Send + Sync + 'static) {
        let state = self.state();
        self.server.on(when, Effect::before(move |_| state.change(&change)));
    }

    /// The tags of a project, as they truly are.
    pub fn tags(&self, project: &str) -> BTreeMap<String, FakeTag> {
        self.change(|world| world.project(project).tags.clone())
    }

    /// Every create and delete that reached a project, in order.
    pub fn writes(&self) -> Vec<Write> {
        self.change(|world| world.writes.clone())
    }
}

fn matches_wildcard(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((start, rest)) => name.strip_prefix(start).is_some_and(|left| {
            (0..=left.len()).filter(|&at| left.is_char_boundary(at)).any(|at| matches_wildcard(rest, &left[at..]))
        }),
    }
}
