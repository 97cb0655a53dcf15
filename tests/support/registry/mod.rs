//! A registry that keeps one image in memory: the routes of the distribution API that a tag client meets, and a token
//! server, with their quirks as switches.
//!
//! Tests change the world behind it, look at the state that a run left, and at the writes that reached it. Statuses and
//! codes are those of the specification and of its reference implementation (2026-11-21).

mod routes;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::server::{Effect, Server, When, lock};

/// The media type of the manifests that tests make.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// The media type of an index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Docker's own media type of a manifest.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// Everything that a registry is.
#[derive(Clone, Debug)]
pub struct RegistryWorld {
    /// The path below which it lives: empty, or `/registry`.
    pub root: String,
    /// The image that it has: `team/app`.
    pub image: String,
    /// Whether it has the image.
    pub exists: bool,
    /// The image's tags and their digests.
    pub tags: BTreeMap<String, String>,
    /// The image's manifests by their digests.
    pub manifests: BTreeMap<String, FakeManifest>,
    /// What it wants of those who ask.
    pub wants: Wants,
    /// Logins by name.
    pub users: BTreeMap<String, User>,
    /// Tokens that were given out, or that simply count.
    pub tokens: BTreeMap<String, Token>,
    /// For how many requests a new token counts; `None` is for ever.
    pub token_uses: Option<usize>,
    /// What is odd about it.
    pub quirks: Quirks,
    /// Every write and delete of a tag that reached it.
    pub writes: Vec<Write>,
}

/// One manifest, byte for byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FakeManifest {
    /// Its media type.
    pub content_type: String,
    /// Its bytes.
    pub bytes: Bytes,
}

/// What a registry wants of those who ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wants {
    /// Nothing.
    Nothing,
    /// A login.
    Basic,
    /// A token from this address; `None` is the registry's own server.
    Token(Option<String>),
}

/// A login.
#[derive(Clone, Debug)]
pub struct User {
    /// Its password.
    pub password: String,
    /// `pull`, `push`, `delete`.
    pub actions: Vec<&'static str>,
}

/// A token.
#[derive(Clone, Debug)]
pub struct Token {
    /// `pull`, `push`, `delete`.
    pub actions: Vec<String>,
    /// For how many requests it counts.
    pub uses_left: Option<usize>,
}

/// What becomes of a delete by a tag's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TagDeletes {
    /// The tag goes.
    Tag,
    /// The manifest goes with all of its tags.
    UntagsAll,
    /// Refused with this status and `UNSUPPORTED`.
    Unsupported(u16),
}

/// What is odd about a registry. The default is a current one that deletes tags.
#[derive(Clone, Debug)]
pub struct Quirks {
    /// It never gives more names on a page than this, whatever is asked for.
    pub page_cap: usize,
    /// `Link` with scheme and host.
    pub absolute_link: bool,
    /// `Link` to another host.
    pub link_host: Option<String>,
    /// No `Link`; pages are there all the same, by `last`.
    pub no_link: bool,
    /// Cursors with a name of their own in `Link`, as Quay has them; `last` is not known.
    pub opaque_cursor: bool,
    /// Everything comes at once, whatever is asked for.
    pub no_paging: bool,
    /// Every page is the first one, and names a successor.
    pub repeats_first_page: bool,
    /// `null` instead of an empty list.
    pub null_tags: bool,
    /// Names in the order of their creation are shown backwards.
    pub reversed: bool,
    /// No `Docker-Content-Digest`.
    pub no_digest: bool,
    /// The `Docker-Content-Digest` of a `PUT` is another one.
    pub wrong_put_digest: bool,
    /// It knows manifests by other digests, too, and calls them by SHA-256 all the same.
    pub calls_by_sha256: bool,
    /// Manifests by digest come with a byte more.
    pub corrupts: bool,
    /// A manifest that `Accept` does not name is converted, with another digest.
    pub converts: bool,
    /// What becomes of a delete by a tag's name.
    pub tag_deletes: TagDeletes,
    /// What may not be done is `DENIED` with this status, instead of a challenge.
    pub denies_with: Option<u16>,
    /// Tags that are listed and have no manifest.
    pub dangling: Vec<String>,
    /// The list of tags is of an earlier time, and has these names.
    pub lists_still: Option<Vec<String>>,
}

impl Default for Quirks {
    fn default() -> Self {
        Self {
            page_cap: 100,
            absolute_link: false,
            link_host: None,
            no_link: false,
            opaque_cursor: false,
            no_paging: false,
            repeats_first_page: false,
            null_tags: false,
            reversed: false,
            no_digest: false,
            wrong_put_digest: false,
            calls_by_sha256: false,
            corrupts: false,
            converts: true,
            tag_deletes: TagDeletes::Tag,
            denies_with: None,
            dangling: Vec::new(),
            lists_still: None,
        }
    }
}

/// A write of a tag that reached the image, whatever came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// `PUT` or `DELETE`.
    pub method: String,
    /// The tag, or what else the path named.
    pub reference: String,
    /// The status that it earned; the client may have been told another one.
    pub status: u16,
}

/// The `n`-th of the made-up manifests, with white space that a careless client would lose.
pub fn manifest(n: usize) -> FakeManifest {
    let content_type = [OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST][n % 3];
    let text = format!("{{\n   \"schemaVersion\": 2,\t\"mediaType\": \"{content_type}\", \"x\":  \"é{n}\"\n}}\n");
    FakeManifest { content_type: content_type.to_owned(), bytes: text.into() }
}

/// The digest of these bytes.
pub fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

impl RegistryWorld {
    /// A registry with the image `team/app`, these many manifests and no tag, and the login `robot` with `secret`.
    pub fn with_manifests(count: usize) -> Self {
        let manifests = (0..count).map(manifest).map(|manifest| (digest(&manifest.bytes), manifest)).collect();
        let user = User { password: "secret".to_owned(), actions: vec!["pull", "push", "delete"] };
        Self {
            root: String::new(),
            image: "team/app".to_owned(),
            exists: true,
            tags: BTreeMap::new(),
            manifests,
            wants: Wants::Token(None),
            users: BTreeMap::from([("robot".to_owned(), user)]),
            tokens: BTreeMap::new(),
            token_uses: None,
            quirks: Quirks::default(),
            writes: Vec::new(),
        }
    }

    /// Puts a tag on the `n`-th manifest.
    pub fn tag(&mut self, name: &str, n: usize) {
        self.tags.insert(name.to_owned(), digest(&manifest(n).bytes));
    }
}

/// The world behind a running fake; may be kept by callbacks and by other fakes.
#[derive(Clone)]
pub struct RegistryState(Arc<Mutex<RegistryWorld>>);

impl RegistryState {
    /// Changes the world between two requests.
    pub fn change<T>(&self, change: impl FnOnce(&mut RegistryWorld) -> T) -> T {
        change(&mut lock(&self.0))
    }
}

/// The fake, running.
pub struct FakeRegistry {
    server: Server,
    state: RegistryState,
}

impl FakeRegistry {
    /// Starts with this world.
    pub fn start(world: RegistryWorld) -> Self {
        let state = RegistryState(Arc::new(Mutex::new(world)));
        let server = Server::start(routes::Api(state.clone()));
        Self { server, state }
    }

    /// Starts a server that gives tokens for this registry, and tells the registry to send everybody there.
    pub fn start_token_server(&self) -> Server {
        let server = Server::start(routes::Tokens(self.state.clone()));
        self.change(|world| world.wants = Wants::Token(Some(format!("{}/token", server.url()))));
        server
    }

    /// What a client is configured with: scheme, host, port and the path prefix.
    pub fn url(&self) -> String {
        format!("{}{}", self.server.url(), self.change(|world| world.root.clone()))
    }

    /// The server, to misbehave and to be asked for its record.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// The world, for callbacks and other fakes.
    pub fn state(&self) -> RegistryState {
        self.state.clone()
    }

    /// Changes the world between two requests.
    pub fn change<T>(&self, change: impl FnOnce(&mut RegistryWorld) -> T) -> T {
        self.state.change(change)
    }

    /// Somebody else changes the world just before such a request is applied.
    pub fn adversary(&self, when: When, change: impl Fn(&mut RegistryWorld) + Send + Sync + 'static) {
        let state = self.state();
        self.server.on(when, Effect::before(move |_| state.change(&change)));
    }

    /// The tags and their digests, as they truly are.
    pub fn tags(&self) -> BTreeMap<String, String> {
        self.change(|world| world.tags.clone())
    }

    /// Every write that reached the image, in order.
    pub fn writes(&self) -> Vec<Write> {
        self.change(|world| world.writes.clone())
    }
}
