//! The GitLab provider before the suite, on the fake GitLab.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use serde_json::json;
use tagsyncd::provider::{Capabilities, Provider};
use tagsyncd::tag::{TagName, Target};

use super::conformance::{Breakage, Due, Held, Oddity, Stage, Subject, TARGETS};
use super::gitlab::{Commits, FakeGitlab, FakeTag, GitlabWorld, Quirks, REPORTER, Token, commit_id};
use super::server::{Effect, Reply, When};

/// The project on every started remote.
const PROJECT: &str = "infra/core";

/// What a client of the fake is configured with.
#[derive(Clone, Debug)]
pub struct Address {
    /// `url = "…"`
    pub url: String,
    /// `project = "…"`
    pub project: String,
    /// What `token = …` reads.
    pub token: String,
    /// Whether `annotations = "message"` is set.
    pub compare_annotations: bool,
}

/// Makes the client.
pub type Connect = fn(Address) -> BoxFuture<'static, Arc<dyn Provider>>;

/// A GitLab below a path, and how to connect to it.
pub struct GitlabSubject {
    /// What the provider says it can do.
    pub capabilities: &'static Capabilities,
    /// The relative root: empty, or `/gitlab`.
    pub root: &'static str,
    /// Makes the client.
    pub connect: Connect,
}

struct GitlabStage {
    fake: FakeGitlab,
    provider: Arc<dyn Provider>,
}

/// An oddity that is nothing but switches.
macro_rules! odd {
    ($what:literal, $due:expr, $($switch:ident: $to:expr),+) => {
        Odd { what: $what, due: $due, turn: |fake| turn(fake, Quirks { $($switch: $to,)+ ..Quirks::default() }) }
    };
}

struct Odd {
    what: &'static str,
    due: Due,
    turn: fn(&FakeGitlab),
}

/// What GitLabs, proxies and old servers have been seen to do to a listing.
const ODDITIES: &[Odd] = &[
    odd!("keyset pages that name a successor only when there is one", Due::Whole, link_on_full_page: false),
    odd!("keyset pages smaller than asked for", Due::Whole, page_cap: Some(40)),
    odd!("keyset pages without Link", Due::WholeOrFault, no_link: true),
    odd!("keyset pages that name themselves as successor", Due::WholeOrFault, next_page_is_current: true),
    odd!("links to another host", Due::WholeOrFault, link_host: Some("http://169.254.169.254".to_owned())),
    odd!("no keyset pages", Due::Whole, no_keyset: true),
    odd!("offset pages smaller than asked for", Due::Whole, no_keyset: true, page_cap: Some(40)),
    odd!("offset pages, the first claims a next one", Due::Whole, no_keyset: true, first_page_claims_next: true),
    odd!("offset pages without Link", Due::Whole, no_keyset: true, no_link: true),
    odd!("offset pages without X-Next-Page", Due::Whole, no_keyset: true, no_next_page: true),
    odd!("offset pages without totals", Due::Whole, no_keyset: true, no_total: true),
    odd!("offset pages without any of it", Due::WholeOrFault, no_keyset: true, no_link: true, no_next_page: true, no_total: true),
    odd!("offset pages that go on beyond the end", Due::WholeOrFault, no_keyset: true, next_page_beyond_end: true),
    odd!("offset pages that name themselves as successor", Due::WholeOrFault, no_keyset: true, next_page_is_current: true),
    odd!("a total that lies", Due::WholeOrFault, no_keyset: true, total_lies: Some(10_000)),
    odd!("an offset page that lost its last row", Due::WholeOrFault, no_keyset: true, loses_last_row_of_page: Some(1)),
    odd!("releases that may not be seen", Due::Whole, hides_release: true),
    Odd {
        what: "the tag behind the page token goes between two pages",
        due: Due::WholeOrFault,
        turn: |fake| {
            fake.adversary(listing().nth(2), |world| {
                let tags = &mut world.project(PROJECT).tags;
                let token = tags.keys().nth(99).cloned();
                token.and_then(|token| tags.remove(&token));
            });
        },
    },
    Odd {
        what: "a tag goes between two offset pages",
        due: Due::WholeOrFault,
        turn: |fake| {
            turn(fake, Quirks { no_keyset: true, ..Quirks::default() });
            fake.adversary(listing().nth(2), |world| {
                world.project(PROJECT).tags.pop_first();
            });
        },
    },
    Odd {
        what: "a tag comes between two offset pages",
        due: Due::WholeOrFault,
        turn: |fake| {
            turn(fake, Quirks { no_keyset: true, ..Quirks::default() });
            fake.adversary(listing().nth(2), |world| {
                world.project(PROJECT).tags.insert("a-first".to_owned(), FakeTag::lightweight(&commit_id(0)));
            });
        },
    },
    Odd {
        // The total stays, no name comes twice, and the first of the second page is skipped.
        what: "a tag goes and another comes between two offset pages",
        due: Due::Whole,
        turn: |fake| {
            turn(fake, Quirks { no_keyset: true, ..Quirks::default() });
            fake.adversary(listing().nth(2), |world| {
                let tags = &mut world.project(PROJECT).tags;
                tags.pop_first();
                tags.insert("z-last".to_owned(), FakeTag::lightweight(&commit_id(0)));
            });
        },
    },
];

fn turn(fake: &FakeGitlab, quirks: Quirks) {
    fake.change(|world| world.quirks = quirks);
}

fn listing() -> When {
    When::method("GET").path_end("/repository/tags")
}

/// A made-up commit.
fn commit(n: usize) -> String {
    commit_id(u32::try_from(n).expect("the suite needs few targets"))
}

fn target(commit_id: &str) -> Target {
    Target::Commit(commit_id.parse().expect("a made-up id is an id"))
}

#[async_trait]
impl Subject for GitlabSubject {
    fn capabilities(&self) -> &Capabilities {
        self.capabilities
    }

    fn more_than_a_page(&self) -> usize {
        101
    }

    fn target(&self, n: usize) -> Target {
        target(&commit(n))
    }

    fn absent_target(&self) -> Target {
        target(&commit(TARGETS))
    }

    fn oddities(&self) -> Vec<Oddity> {
        ODDITIES.iter().map(|odd| Oddity { what: odd.what, due: odd.due }).collect()
    }

    async fn start(&self, tags: &[(TagName, Held)], compare_annotations: bool) -> Box<dyn Stage> {
        let mut world = GitlabWorld { root: self.root.to_owned(), ..GitlabWorld::with_core() };
        let project = world.project(PROJECT);
        project.commits = Commits::Known((0..TARGETS).map(commit).collect::<BTreeSet<_>>());
        for (n, (name, held)) in (0..).zip(tags) {
            let commit_id = held.target.to_string();
            let tag = match &held.message {
                Some(message) => FakeTag::annotated(&commit_id, message, 1_700_000_000 + n),
                None => FakeTag::lightweight(&commit_id),
            };
            project.tags.insert(name.as_str().expect("the suite's names are text").to_owned(), tag);
        }
        let fake = FakeGitlab::start(world);
        let address =
            Address { url: fake.url(), project: PROJECT.to_owned(), token: "secret".to_owned(), compare_annotations };
        let provider = (self.connect)(address).await;
        Box::new(GitlabStage { fake, provider })
    }
}

impl Stage for GitlabStage {
    fn provider(&self) -> Arc<dyn Provider> {
        self.provider.clone()
    }

    fn tags(&self) -> BTreeMap<TagName, Held> {
        let held = |(name, tag): (String, FakeTag)| {
            let commit_id = tag.commit_id.expect("the suite's tags are on commits");
            let name = TagName::new(name).expect("the fake takes only tag names");
            (name, Held { target: target(&commit_id), message: tag.message })
        };
        self.fake.tags(PROJECT).into_iter().map(held).collect()
    }

    fn writes(&self, name: &TagName) -> usize {
        self.fake.writes().iter().filter(|write| Some(write.name.as_str()) == name.as_str()).count()
    }

    fn break_by(&self, breakage: Breakage) -> bool {
        let server = self.fake.server();
        let failure = || Effect::Answer(Reply::json(500, &json!({ "message": "500 Internal Server Error" })));
        match breakage {
            Breakage::SpaceAbsent => self.fake.change(|world| world.projects.clear()),
            Breakage::SpaceRecreated => self.fake.change(|world| world.recreate(PROJECT)),
            Breakage::CredentialRefused => self.fake.change(|world| world.tokens.clear()),
            Breakage::CredentialReadsOnly => self.fake.change(|world| {
                world.tokens.insert("secret".to_owned(), Token::of_level(REPORTER));
            }),
            Breakage::ListingCut => server.on(listing(), Effect::Cut(100)),
            Breakage::ListingHtml => server.on(listing(), Effect::Answer(Reply::html(200))),
            Breakage::ListingLoops => turn(&self.fake, Quirks { repeats_first_page: true, ..Quirks::default() }),
            Breakage::SecondPageFails => server.on(listing().after(1), failure()),
            Breakage::CreateReplyLost => server.on(When::method("POST"), Effect::DropAfter),
            Breakage::DeleteReplyLost => server.on(When::method("DELETE"), Effect::DropAfter),
            Breakage::ServerFails => server.on(When::any(), failure()),
        }
        true
    }

    fn turn_odd(&self, what: &str) {
        let odd = ODDITIES.iter().find(|odd| odd.what == what).expect("the oddity is one of ours");
        (odd.turn)(&self.fake);
    }
}
