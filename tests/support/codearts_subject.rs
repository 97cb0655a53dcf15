//! The CodeArts Repo provider before the suite, on the fake.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use serde_json::json;
use tagsyncd::provider::{Capabilities, Provider};
use tagsyncd::tag::{TagName, Target};

use super::codearts::{CodeArtsWorld, FakeCodeArts, FakeTag, Quirks, Right, commit_id};
use super::conformance::{Breakage, Due, Held, Oddity, Stage, Subject, TARGETS};
use super::server::{Effect, Reply, When};

/// Makes the client for the repository 7 of the fake at this address; `true` compares annotations.
pub type Connect = fn(String, bool) -> BoxFuture<'static, Arc<dyn Provider>>;

/// A CodeArts Repo below a path, and how to connect to it.
pub struct CodeArtsSubject {
    /// What the provider says it can do.
    pub capabilities: &'static Capabilities,
    /// Empty, or `/huawei`.
    pub root: &'static str,
    /// What is odd about it all the time.
    pub quirks: Quirks,
    /// Makes the client.
    pub connect: Connect,
}

struct CodeArtsStage {
    fake: FakeCodeArts,
    provider: Arc<dyn Provider>,
}

/// An oddity that is nothing but switches, and what somebody does before the `n`-th request for a page. Where pages are
/// counted, the fourth is the second page: two are spent on finding that out.
macro_rules! odd {
    ($what:literal, $due:expr, [$($switch:ident: $to:expr),*] $(, $nth:literal: $adversary:expr)?) => {
        Odd {
            what: $what,
            due: $due,
            turn: |fake| {
                fake.change(|world| world.quirks = Quirks { $($switch: $to,)* ..Quirks::default() });
                $(fake.adversary(listing().nth($nth), $adversary);)?
            },
        }
    };
}

struct Odd {
    what: &'static str,
    due: Due,
    turn: fn(&FakeCodeArts),
}

fn goes(world: &mut CodeArtsWorld) {
    world.core().tags.pop_first();
}

fn comes(world: &mut CodeArtsWorld) {
    world.core().tags.insert("a-first".to_owned(), FakeTag::lightweight(&commit_id(0)));
}

/// The total stays, no name comes twice, and the first of the second page is skipped.
fn goes_and_comes(world: &mut CodeArtsWorld) {
    goes(world);
    world.core().tags.insert("z-last".to_owned(), FakeTag::lightweight(&commit_id(0)));
}

const ODDITIES: &[Odd] = &[
    odd!("offset counts rows", Due::Whole, []),
    odd!("offset counts pages", Due::Whole, [offset_counts_pages: true]),
    odd!("pages of rows smaller than asked for", Due::Whole, [page_cap: Some(40)]),
    odd!("pages of one row", Due::WholeOrFault, [page_cap: Some(1)]),
    odd!("pages by number smaller than asked for", Due::Whole, [offset_counts_pages: true, page_cap: Some(40)]),
    odd!("no total", Due::WholeOrFault, [no_total: true]),
    odd!("no total, offset counts pages", Due::WholeOrFault, [no_total: true, offset_counts_pages: true]),
    odd!("a total that is too large", Due::WholeOrFault, [total_lies: Some(10_000)]),
    odd!("a total that is too small", Due::WholeOrFault, [total_lies: Some(100)]),
    odd!("a total of nothing", Due::WholeOrFault, [total_lies: Some(0)]),
    odd!("no order, offset counts rows", Due::Whole, [unordered: true]),
    odd!("no order, offset counts pages", Due::Whole, [unordered: true, offset_counts_pages: true]),
    odd!("the first page lost its last row", Due::WholeOrFault, [loses_last_row_at: Some(0)]),
    odd!("the second page by number lost its last row", Due::WholeOrFault, [loses_last_row_at: Some(1), offset_counts_pages: true]),
    odd!("the listing shows commits", Due::Whole, [lists_commits: true]),
    odd!("the listing shows names only", Due::Whole, [lists_names_only: true]),
    odd!("lightweight tags with the message of the commit", Due::Whole, [borrows_messages: true]),
    odd!("a tag goes between two pages of rows", Due::Whole, [], 2: goes),
    odd!("a tag comes between two pages of rows", Due::Whole, [], 2: comes),
    odd!("a tag goes and another comes between two pages of rows", Due::Whole, [], 2: goes_and_comes),
    odd!("a tag goes between two pages by number", Due::Whole, [offset_counts_pages: true], 4: goes),
    odd!("a tag goes and another comes between two pages by number", Due::Whole, [offset_counts_pages: true], 4: goes_and_comes),
    odd!("a tag goes and another comes without an order", Due::Whole, [unordered: true], 2: goes_and_comes),
];

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
impl Subject for CodeArtsSubject {
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
        let (root, quirks) = (self.root.to_owned(), self.quirks.clone());
        let mut world = CodeArtsWorld { root, quirks, ..CodeArtsWorld::with_core() };
        let repository = world.core();
        repository.commits = Some((0..TARGETS).map(commit).collect::<BTreeSet<_>>());
        for (n, (name, held)) in (0..).zip(tags) {
            let commit_id = held.target.to_string();
            let tag = match &held.message {
                Some(message) => FakeTag::annotated(&commit_id, message, n),
                None => FakeTag::lightweight(&commit_id),
            };
            repository.tags.insert(name.as_str().expect("the suite's names are text").to_owned(), tag);
        }
        let fake = FakeCodeArts::start(world);
        let provider = (self.connect)(fake.url(), compare_annotations).await;
        Box::new(CodeArtsStage { fake, provider })
    }
}

impl Stage for CodeArtsStage {
    fn provider(&self) -> Arc<dyn Provider> {
        self.provider.clone()
    }

    fn tags(&self) -> BTreeMap<TagName, Held> {
        let held = |(name, tag): (String, FakeTag)| {
            let commit_id = tag.commit_id.expect("the suite's tags are on commits");
            let name = TagName::new(name).expect("the fake takes only tag names");
            (name, Held { target: target(&commit_id), message: tag.message })
        };
        self.fake.tags().into_iter().map(held).collect()
    }

    fn writes(&self, name: &TagName) -> usize {
        self.fake.writes().iter().filter(|write| Some(write.name.as_str()) == name.as_str()).count()
    }

    fn break_by(&self, breakage: Breakage) -> bool {
        let server = self.fake.server();
        let failure = || {
            let body = json!({ "error_code": "CH.000001", "error_msg": "Internal error" });
            Effect::Answer(Reply::json(500, &body))
        };
        match breakage {
            Breakage::SpaceAbsent => self.fake.change(|world| world.repositories.clear()),
            // Its number is gone for good, and the number is what is configured.
            Breakage::SpaceRecreated => return false,
            Breakage::CredentialRefused => self.fake.change(|world| {
                world.tokens.clear();
                world.access_keys.clear();
                world.users.clear();
            }),
            Breakage::CredentialReadsOnly => self.fake.change(|world| {
                world.tokens.values_mut().for_each(|right| *right = Right::Read);
                world.users.iter_mut().for_each(|user| user.right = Right::Read);
                world.access_keys.values_mut().for_each(|(_, right)| *right = Right::Read);
            }),
            Breakage::ListingCut => server.on(listing(), Effect::Cut(100)),
            Breakage::ListingHtml => server.on(listing(), Effect::Answer(Reply::html(200))),
            Breakage::ListingLoops => {
                self.fake.change(|world| world.quirks.repeats_first_page = true);
            }
            Breakage::SecondPageFails => server.on(listing().after(1), failure()),
            Breakage::CreateReplyLost => server.on(When::method("POST").path_end("/tags"), Effect::DropAfter),
            Breakage::DeleteReplyLost => server.on(When::method("DELETE"), Effect::DropAfter),
            Breakage::ServerFails => {
                // IAM is another server, and without a token nothing is sent to this one.
                let when = When::any().matching(|request| !request.path.ends_with("/auth/tokens"));
                server.on(when, failure());
            }
        }
        true
    }

    fn turn_odd(&self, what: &str) {
        let odd = ODDITIES.iter().find(|odd| odd.what == what).expect("the oddity is one of ours");
        (odd.turn)(&self.fake);
    }
}
