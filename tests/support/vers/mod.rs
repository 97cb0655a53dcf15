//! A Vers that keeps its tags in memory: the routes that a tag client meets, with their quirks as switches.
//!
//! Tests change the world behind it, look at the state that a run left, and at the writes that reached it. Statuses are
//! those of the documentation and of the server's source, where it could be read (2026-11-21); what is only supposed is a
//! switch.

pub mod kind;
mod routes;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use sha2::{Digest as _, Sha256};

use super::server::{Effect, Server, When, lock};

/// When the fake's clock starts, in seconds since 1970.
const EPOCH: i64 = 1_700_000_000;

/// The organisation of the usual key.
pub const ACME: &str = "acme";

/// Everything that a Vers is.
#[derive(Clone, Debug, Default)]
pub struct VersWorld {
    /// The path below which it lives: empty, or `/vers`.
    pub root: String,
    /// Whose key is which, by the secret.
    pub keys: BTreeMap<String, String>,
    /// Repositories by organisation and name.
    pub repositories: BTreeMap<(String, String), Repository>,
    /// Snapshots of machines, the newest last.
    pub commits: Vec<Commit>,
    /// What is odd about it.
    pub quirks: Quirks,
    /// Every create, move and delete that reached a repository.
    pub writes: Vec<Write>,
    /// Seconds that have passed; every change takes one.
    pub ticks: i64,
    /// Repositories and tags that were made, to give each an id of its own.
    pub made: u32,
}

/// One repository.
#[derive(Clone, Debug)]
pub struct Repository {
    /// Its id.
    pub repo_id: String,
    /// Its tags.
    pub tags: BTreeMap<String, FakeTag>,
    /// What a lagging replica still shows, and for how many reads.
    pub stale: Option<(BTreeMap<String, FakeTag>, usize)>,
}

/// One tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FakeTag {
    /// Its id.
    pub tag_id: String,
    /// What it points at.
    pub commit_id: String,
    /// The text beside it.
    pub description: Option<String>,
    /// In seconds since 1970.
    pub created_at: i64,
    /// When it moved or got another description.
    pub updated_at: i64,
}

/// The snapshot of a machine.
#[derive(Clone, Debug)]
pub struct Commit {
    /// Its id.
    pub commit_id: String,
    /// Whose it is.
    pub organisation: String,
    /// Whether everybody may start machines from it.
    pub is_public: bool,
}

/// What is odd about a server. The default is the documented one.
#[derive(Clone, Debug, Default)]
pub struct Quirks {
    /// 401 has no body, as the documentation has it; the server sends its usual JSON.
    pub bare_401: bool,
    /// 404 on a tag says `Repository or tag not found`, as the documentation has it.
    pub vague_404: bool,
    /// 404 has a text that says nothing at all.
    pub mute_404: bool,
    /// Moves are answered with 200 and the tag.
    pub move_shows_tag: bool,
    /// Deletes are answered with 200 and an empty object.
    pub delete_200: bool,
    /// Ids come in capital letters.
    pub capital_ids: bool,
    /// The newest tag comes first.
    pub newest_first: bool,
    /// Fields that may be missing are missing, and unknown ones are there.
    pub other_fields: bool,
    /// The listing has no `tags`.
    pub no_tags: bool,
    /// The listing's `tags` are null.
    pub null_tags: bool,
    /// The listing shows its first tag twice.
    pub repeats_tag: bool,
    /// The listing says that it is about another repository.
    pub names_other_repository: bool,
    /// So many reads after a write still show the tags from before it.
    pub stale_reads: usize,
    /// Descriptions are cut after so many characters.
    pub cuts_description: Option<usize>,
    /// Whatever is written belongs to another organisation.
    pub forbids_writes: bool,
    /// Pages of commits are no longer than this.
    pub commits_cap: Option<usize>,
    /// Pages of commits tell no total.
    pub no_commit_total: bool,
    /// The total of the commits is too high by one.
    pub commit_total_lies: bool,
}

/// The kind of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteKind {
    /// A tag was to be made.
    Create,
    /// A tag was to change.
    Move,
    /// A tag was to go.
    Delete,
}

/// A write that reached a repository, whatever came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Which kind.
    pub kind: WriteKind,
    /// The tag.
    pub name: String,
    /// What was sent, as it was sent.
    pub body: String,
    /// The status that it earned; the client may have been told another one.
    pub status: u16,
}

impl Write {
    /// Whether it changed anything.
    pub fn took_effect(&self) -> bool {
        self.status < 300
    }
}

impl Repository {
    fn new(made: u32) -> Self {
        Self { repo_id: made_up_id("repository", made), tags: BTreeMap::new(), stale: None }
    }

    /// The tags as the next read sees them, and counts the read.
    fn visible(&mut self) -> &BTreeMap<String, FakeTag> {
        match &mut self.stale {
            Some((_, reads)) if *reads > 0 => *reads -= 1,
            _ => self.stale = None,
        }
        self.stale.as_ref().map_or(&self.tags, |(tags, _)| tags)
    }

    fn fall_behind(&mut self, reads: usize) {
        if reads > 0 {
            let tags = self.stale.take().map_or_else(|| self.tags.clone(), |(tags, _)| tags);
            self.stale = Some((tags, reads));
        }
    }
}

impl VersWorld {
    /// A Vers with the repository `core` of the organisation `acme`, its key `secret`, and three snapshots.
    pub fn with_core() -> Self {
        let mut world = Self { keys: BTreeMap::from([("secret".to_owned(), ACME.to_owned())]), ..Self::default() };
        for n in 0..3 {
            world.commit(&snapshot_id(n), ACME);
        }
        world.found(ACME, "core");
        world
    }

    /// Adds a repository, or one in place of another: with the next id, without tags.
    pub fn found(&mut self, organisation: &str, name: &str) {
        self.made += 1;
        self.repositories.insert((organisation.to_owned(), name.to_owned()), Repository::new(self.made));
    }

    /// Adds a snapshot.
    pub fn commit(&mut self, commit_id: &str, organisation: &str) {
        let (commit_id, organisation) = (commit_id.to_owned(), organisation.to_owned());
        self.commits.push(Commit { commit_id, organisation, is_public: false });
    }

    /// The repository of `acme` with this name.
    pub fn repository(&mut self, name: &str) -> &mut Repository {
        let key = (ACME.to_owned(), name.to_owned());
        self.repositories.get_mut(&key).expect("the test names a repository that is there")
    }

    /// Puts a tag into a repository of `acme`, as somebody else would.
    pub fn put(&mut self, repository: &str, name: &str, commit_id: &str, description: Option<&str>) {
        let tag = self.make(commit_id, description);
        self.repository(repository).tags.insert(name.to_owned(), tag);
    }

    fn make(&mut self, commit_id: &str, description: Option<&str>) -> FakeTag {
        self.made += 1;
        let now = self.tick();
        FakeTag {
            tag_id: made_up_id("tag", self.made),
            commit_id: commit_id.to_owned(),
            description: description.map(str::to_owned),
            created_at: now,
            updated_at: now,
        }
    }

    /// The time, one second later than at the last call.
    fn tick(&mut self) -> i64 {
        self.ticks += 1;
        EPOCH + self.ticks
    }
}

/// A made-up snapshot's id that depends on nothing but `n`.
pub fn snapshot_id(n: u32) -> String {
    made_up_id("snapshot", n)
}

fn made_up_id(what: &str, n: u32) -> String {
    let digest = Sha256::digest(format!("{what} {n}"));
    let bytes = digest[..16].try_into().expect("a digest is longer than an id");
    uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
}

/// The fake, running.
pub struct FakeVers {
    server: Server,
    state: VersState,
}

/// The world behind a running fake; may be kept by callbacks.
#[derive(Clone)]
pub struct VersState(Arc<Mutex<VersWorld>>);

impl VersState {
    /// Changes the world between two requests.
    pub fn change<T>(&self, change: impl FnOnce(&mut VersWorld) -> T) -> T {
        change(&mut lock(&self.0))
    }
}

impl FakeVers {
    /// Starts with this world.
    pub fn start(world: VersWorld) -> Self {
        let state = VersState(Arc::new(Mutex::new(world)));
        let server = Server::start(routes::Api(state.clone()));
        Self { server, state }
    }

    /// What a client is configured with: scheme, host, port and the path below which it lives.
    pub fn url(&self) -> String {
        format!("{}{}", self.server.url(), self.state.change(|world| world.root.clone()))
    }

    /// The server, to misbehave and to be asked for its record.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Changes the world between two requests.
    pub fn change<T>(&self, change: impl FnOnce(&mut VersWorld) -> T) -> T {
        self.state.change(change)
    }

    /// Somebody else changes the world just before such a request is applied.
    pub fn adversary(&self, when: When, change: impl Fn(&mut VersWorld) + Send + Sync + 'static) {
        let state = self.state.clone();
        self.server.on(when, Effect::before(move |_| state.change(&change)));
    }

    /// The tags of a repository of `acme`, as they truly are.
    pub fn tags(&self, repository: &str) -> BTreeMap<String, FakeTag> {
        self.change(|world| world.repository(repository).tags.clone())
    }

    /// Tags as `name -> commit`, in a repository of `acme`.
    pub fn targets(&self, repository: &str) -> BTreeMap<String, String> {
        self.tags(repository).into_iter().map(|(name, tag)| (name, tag.commit_id)).collect()
    }

    /// Every write that reached a repository, in order.
    pub fn writes(&self) -> Vec<Write> {
        self.change(|world| world.writes.clone())
    }
}
