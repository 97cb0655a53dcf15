//! The provider for registries before the suite, on the fake registry.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use serde_json::json;
use tagsyncd::provider::{Capabilities, Provider};
use tagsyncd::tag::{TagName, Target, TargetKind};

use super::conformance::{Breakage, Due, Held, Oddity, Stage, Subject, TARGETS};
use super::registry::{FakeRegistry, Quirks, RegistryWorld, Wants, digest, manifest};
use super::server::{Effect, Reply, When};

/// What a client of the fake is configured with.
#[derive(Clone, Debug)]
pub struct Address {
    /// `registry = "…"`
    pub url: String,
    /// `image = "…"`
    pub image: String,
    /// Whether `deletes = "tag"` is set.
    pub deletes: bool,
}

/// Makes the client.
pub type Connect = fn(Address) -> BoxFuture<'static, Arc<dyn Provider>>;

/// A registry, and how to connect to it.
pub struct RegistrySubject {
    /// What the remote can do.
    pub capabilities: &'static Capabilities,
    /// The path prefix: empty, or `/registry`.
    pub root: &'static str,
    /// What the registry wants of those who ask.
    pub wants: Wants,
    /// Whether tags may be deleted.
    pub deletes: bool,
    /// Makes the client.
    pub connect: Connect,
}

struct RegistryStage {
    fake: FakeRegistry,
    provider: Arc<dyn Provider>,
}

struct Odd {
    what: &'static str,
    due: Due,
    turn: fn(&FakeRegistry),
}

/// An oddity that is nothing but switches.
macro_rules! odd {
    ($what:literal, $due:expr, $($switch:ident: $to:expr),+) => {
        Odd { what: $what, due: $due, turn: |fake| turn(fake, Quirks { $($switch: $to,)+ ..Quirks::default() }) }
    };
}

/// What registries have been seen to do to a listing.
const ODDITIES: &[Odd] = &[
    odd!("absolute links", Due::Whole, absolute_link: true),
    odd!("links to another host", Due::WholeOrFault, link_host: Some("http://169.254.169.254".to_owned())),
    odd!("pages without Link", Due::Whole, no_link: true),
    odd!("cursors with a name of their own", Due::Whole, opaque_cursor: true),
    odd!("no pages at all", Due::Whole, no_paging: true),
    odd!("pages smaller than asked for", Due::Whole, page_cap: 7),
    odd!("small pages without Link", Due::Whole, page_cap: 50, no_link: true),
    odd!("names backwards", Due::Whole, reversed: true),
    odd!("names backwards without Link", Due::WholeOrFault, reversed: true, no_link: true),
    odd!("no digests", Due::Whole, no_digest: true),
    Odd {
        what: "a tag goes between two pages",
        due: Due::WholeOrFault,
        turn: |fake| {
            fake.adversary(listing().matching(|request| request.parameter("last").is_some()).once(), |world| {
                world.tags.pop_last();
            });
        },
    },
];

fn turn(fake: &FakeRegistry, quirks: Quirks) {
    fake.change(|world| world.quirks = quirks);
}

fn listing() -> When {
    When::method("GET").path_end("/tags/list")
}

/// The digest of the `n`-th manifest.
pub fn target(n: usize) -> Target {
    target_of(&digest(&manifest(n).bytes))
}

/// A digest as a target.
pub fn target_of(digest: &str) -> Target {
    TargetKind::Digest.parse(digest).expect("a digest of the fake is one")
}

/// A registry with these tags.
pub fn world(tags: &[(TagName, Held)]) -> RegistryWorld {
    let mut world = RegistryWorld::with_manifests(TARGETS);
    for (name, held) in tags {
        let name = name.as_str().expect("the suite's names are text");
        world.tags.insert(name.to_owned(), held.target.to_string());
    }
    world
}

/// What the fake truly has.
pub fn held(tags: BTreeMap<String, String>) -> BTreeMap<TagName, Held> {
    let one = |(name, digest): (String, String)| {
        (TagName::new(name).expect("the fake has only tag names"), Held { target: target_of(&digest), message: None })
    };
    tags.into_iter().map(one).collect()
}

#[async_trait]
impl Subject for RegistrySubject {
    fn capabilities(&self) -> &Capabilities {
        self.capabilities
    }

    fn more_than_a_page(&self) -> usize {
        101
    }

    fn target(&self, n: usize) -> Target {
        target(n)
    }

    fn absent_target(&self) -> Target {
        target(TARGETS)
    }

    fn oddities(&self) -> Vec<Oddity> {
        ODDITIES.iter().map(|odd| Oddity { what: odd.what, due: odd.due }).collect()
    }

    async fn start(&self, tags: &[(TagName, Held)], _compare_annotations: bool) -> Box<dyn Stage> {
        let world = RegistryWorld { root: self.root.to_owned(), wants: self.wants.clone(), ..world(tags) };
        let address =
            |fake: &FakeRegistry| Address { url: fake.url(), image: "team/app".to_owned(), deletes: self.deletes };
        let fake = FakeRegistry::start(world);
        let provider = (self.connect)(address(&fake)).await;
        Box::new(RegistryStage { fake, provider })
    }
}

impl Stage for RegistryStage {
    fn provider(&self) -> Arc<dyn Provider> {
        self.provider.clone()
    }

    fn tags(&self) -> BTreeMap<TagName, Held> {
        held(self.fake.tags())
    }

    fn writes(&self, name: &TagName) -> usize {
        self.fake.writes().iter().filter(|write| Some(write.reference.as_str()) == name.as_str()).count()
    }

    fn break_by(&self, breakage: Breakage) -> bool {
        let server = self.fake.server();
        let failure = || Effect::Answer(Reply::json(500, &json!({ "errors": [{ "code": "UNKNOWN" }] })));
        match breakage {
            Breakage::SpaceAbsent => self.fake.change(|world| world.exists = false),
            // Nothing tells one image from another of the same name.
            Breakage::SpaceRecreated => return false,
            Breakage::CredentialRefused => self.fake.change(|world| {
                world.users.clear();
                world.tokens.clear();
            }),
            Breakage::CredentialReadsOnly => self.fake.change(|world| {
                world.users.values_mut().for_each(|user| user.actions = vec!["pull"]);
            }),
            Breakage::ListingCut => server.on(listing(), Effect::Cut(10)),
            Breakage::ListingHtml => server.on(listing(), Effect::Answer(Reply::html(200))),
            Breakage::ListingLoops => turn(&self.fake, Quirks { repeats_first_page: true, ..Quirks::default() }),
            Breakage::SecondPageFails => {
                server.on(listing().matching(|request| request.parameter("last").is_some()), failure());
            }
            Breakage::CreateReplyLost => {
                server.on(When::method("PUT").matching(|request| request.is_authorized()), Effect::DropAfter);
            }
            Breakage::DeleteReplyLost => {
                server.on(When::method("DELETE").matching(|request| request.is_authorized()), Effect::DropAfter);
            }
            Breakage::ServerFails => server.on(When::any(), failure()),
        }
        true
    }

    fn turn_odd(&self, what: &str) {
        let odd = ODDITIES.iter().find(|odd| odd.what == what).expect("the oddity is one of ours");
        (odd.turn)(&self.fake);
    }
}
