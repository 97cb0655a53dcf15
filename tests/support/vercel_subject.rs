//! The Vercel provider before the suite, on the fake Vercel.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use serde_json::json;
use tagsyncd::provider::{Capabilities, Provider};
use tagsyncd::tag::{TagName, Target};

use super::conformance::{Breakage, Due, Held, Oddity, Stage, Subject, TARGETS};
use super::registry_subject::{held, target, world};
use super::server::{Effect, Reply, When};
use super::vercel::{FakeVercel, Quirks};

/// What a client of the fake is configured with; the rest are the fake's constants.
#[derive(Clone, Debug)]
pub struct Address {
    /// `url = "…"`
    pub url: String,
    /// `registry = "…"`
    pub registry: String,
}

/// Makes the client.
pub type Connect = fn(Address) -> BoxFuture<'static, Arc<dyn Provider>>;

/// A Vercel, and how to connect to it.
pub struct VercelSubject {
    /// What the provider says it can do.
    pub capabilities: &'static Capabilities,
    /// Makes the client.
    pub connect: Connect,
}

struct VercelStage {
    fake: FakeVercel,
    provider: Arc<dyn Provider>,
}

struct Odd {
    what: &'static str,
    due: Due,
    turn: fn(&FakeVercel),
}

/// An oddity that is nothing but switches.
macro_rules! odd {
    ($what:literal, $($switch:ident: $to:expr),+) => {
        Odd {
            what: $what,
            due: Due::Whole,
            turn: |fake| fake.change(|world| world.quirks = Quirks { $($switch: $to,)+ ..Quirks::default() }),
        }
    };
}

/// What can be expected of a listing.
const ODDITIES: &[Odd] = &[
    odd!("pages smaller than asked for", page_cap: Some(30)),
    odd!("pinned tags before all others", pinned: vec!["v000200".to_owned(), "v000007".to_owned()]),
    odd!("null as the last cursor", last_cursor: Some(serde_json::Value::Null)),
    odd!("an empty text as the last cursor", last_cursor: Some("".into())),
    odd!("an empty last page", empty_last_page: true),
    odd!("kinds that nobody knows", kind: Some("attestation".to_owned())),
    Odd {
        what: "a tag goes between two pages",
        due: Due::WholeOrFault,
        turn: |fake| {
            let registry = fake.registry.state();
            let gone = Effect::before(move |_| registry.change(|world| drop(world.tags.pop_last())));
            fake.server().on(listing().nth(2), gone);
        },
    },
];

fn listing() -> When {
    When::method("GET").path_end("/tags").matching(|request| request.parameter("limit") != Some("1"))
}

#[async_trait]
impl Subject for VercelSubject {
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
        let address = |fake: &FakeVercel| Address { url: fake.url(), registry: fake.registry.url() };
        let fake = FakeVercel::start(world(tags));
        let provider = (self.connect)(address(&fake)).await;
        Box::new(VercelStage { fake, provider })
    }
}

impl Stage for VercelStage {
    fn provider(&self) -> Arc<dyn Provider> {
        self.provider.clone()
    }

    fn tags(&self) -> BTreeMap<TagName, Held> {
        held(self.fake.registry.tags())
    }

    fn writes(&self, name: &TagName) -> usize {
        let writes = self.fake.registry.writes();
        writes.iter().filter(|write| Some(write.reference.as_str()) == name.as_str()).count()
    }

    fn break_by(&self, breakage: Breakage) -> bool {
        let rest = self.fake.server();
        let registry = self.fake.registry.server();
        let failure = || Effect::Answer(Reply::json(500, &json!({ "error": { "code": "internal_server_error" } })));
        match breakage {
            Breakage::SpaceAbsent => {
                self.fake.change(|world| world.repository_id = None);
                self.fake.registry.change(|world| world.exists = false);
            }
            Breakage::SpaceRecreated => self.fake.change(|world| world.repository_id = Some("vcr_2".to_owned())),
            Breakage::CredentialRefused => {
                self.fake.change(|world| world.tokens.clear());
                self.fake.registry.change(|world| world.users.clear());
            }
            Breakage::CredentialReadsOnly => self.fake.registry.change(|world| {
                world.users.values_mut().for_each(|user| user.actions = vec!["pull"]);
            }),
            Breakage::ListingCut => rest.on(listing(), Effect::Cut(100)),
            Breakage::ListingHtml => rest.on(listing(), Effect::Answer(Reply::html(200))),
            Breakage::ListingLoops => {
                self.fake.change(|world| world.quirks = Quirks { repeats_first_page: true, ..Quirks::default() });
            }
            Breakage::SecondPageFails => rest.on(listing().after(1), failure()),
            Breakage::CreateReplyLost => registry.on(When::method("PUT"), Effect::DropAfter),
            Breakage::DeleteReplyLost => return false,
            Breakage::ServerFails => {
                rest.on(When::any(), failure());
                registry.on(When::any(), failure());
            }
        }
        true
    }

    fn turn_odd(&self, what: &str) {
        let odd = ODDITIES.iter().find(|odd| odd.what == what).expect("the oddity is one of ours");
        (odd.turn)(&self.fake);
    }
}
