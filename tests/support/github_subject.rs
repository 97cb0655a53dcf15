//! The GitHub provider before the suite, on the fake GitHub.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::json;
use tagsyncd::config::SecretSource;
use tagsyncd::http::{HttpSettings, Pool, Transport};
use tagsyncd::provider::{Capabilities, Connection, Provider, RemoteKeys as _, github};
use tagsyncd::tag::{TagName, Target};

use super::conformance::{Breakage, Due, Held, Oddity, Stage, Subject, TARGETS};
use super::github::{CORE, FakeGithub, GithubWorld, Quirks, Token};
use super::gitlab::{Commits, commit_id};
use super::program::private_file;
use super::server::{Effect, Reply, When};

/// A GitHub below a path.
pub struct GithubSubject {
    /// Empty, or `/api/v3`.
    pub root: &'static str,
}

struct GithubStage {
    fake: FakeGithub,
    provider: Arc<dyn Provider>,
}

struct Odd {
    what: &'static str,
    due: Due,
    turn: fn(&FakeGithub),
}

/// An oddity that is nothing but switches.
macro_rules! odd {
    ($what:literal, $due:expr, $($switch:ident: $to:expr),+) => {
        Odd { what: $what, due: $due, turn: |fake| turn(fake, Quirks { $($switch: $to,)+ ..Quirks::default() }) }
    };
}

/// What servers and proxies may do to a listing.
const ODDITIES: &[Odd] = &[
    odd!("refs in pages, as they once came", Due::Whole, pages: Some(30)),
    odd!("pages that name themselves as successor", Due::WholeOrFault, pages: Some(30), next_page_is_current: true),
    odd!("links to another host", Due::WholeOrFault, pages: Some(30), link_host: Some("http://169.254.169.254".to_owned())),
    odd!("no entity tag", Due::Whole, no_entity_tag: true),
    odd!("refs that only begin like those of tags", Due::Whole, lists_others: true),
    odd!("a ref that is listed twice", Due::WholeOrFault, repeats_ref: true),
    Odd {
        what: "304 without having been asked",
        due: Due::WholeOrFault,
        turn: |fake| fake.server().on(listing(), Effect::Answer(Reply::empty(304))),
    },
];

fn turn(fake: &FakeGithub, quirks: Quirks) {
    fake.change(|world| world.quirks = quirks);
}

fn listing() -> When {
    When::method("GET").path_end("/git/matching-refs/tags")
}

fn commit(n: usize) -> String {
    commit_id(u32::try_from(n).expect("the suite needs few targets"))
}

fn target(commit_id: &str) -> Target {
    Target::Commit(commit_id.parse().expect("a made-up id is an id"))
}

/// A client of the fake; with the same pool it remembers what it saw.
pub async fn connect(pool: &Arc<Pool>, url: &str, token: Option<&str>, compare_annotations: bool) -> Arc<dyn Provider> {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let token = token.map(|token| {
        let file = folder.path().join("token");
        private_file(&file, token);
        SecretSource::File(file)
    });
    let keys = github::Keys::new(url.parse().expect("the fake has a URL"), CORE, token).expect("it has a name");
    let settings = HttpSettings { timeout: std::time::Duration::from_secs(5), ..HttpSettings::default() };
    let transport = Transport::new(pool, settings);
    let connection = Connection { transport, compare_annotations, objects: None };
    keys.connect(connection).await.expect("the token file was just written")
}

#[async_trait]
impl Subject for GithubSubject {
    fn capabilities(&self) -> &Capabilities {
        &github::DESCRIPTOR.capabilities
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
        let mut world = GithubWorld { root: self.root.to_owned(), ..GithubWorld::with_core() };
        let core = world.core();
        core.commits = Commits::Known((0..TARGETS).map(commit).collect());
        for (name, held) in tags {
            let (name, commit_id) = (name.as_str().expect("the suite's names are text"), held.target.to_string());
            match &held.message {
                Some(message) => drop(core.annotate(name, &commit_id, message)),
                None => drop(core.tags.insert(name.to_owned(), commit_id)),
            }
        }
        let fake = FakeGithub::start(world);
        let provider = connect(&Arc::new(Pool::new()), &fake.url(), Some("secret"), compare_annotations).await;
        Box::new(GithubStage { fake, provider })
    }
}

impl Stage for GithubStage {
    fn provider(&self) -> Arc<dyn Provider> {
        self.provider.clone()
    }

    fn tags(&self) -> BTreeMap<TagName, Held> {
        self.fake.change(|world| {
            let core = world.core();
            let held = |(name, id): (&String, &String)| {
                let (commit_id, message) = core.peel(id);
                let name = TagName::new(name).expect("the fake takes only tag names");
                (name, Held { target: target(&commit_id), message })
            };
            core.tags.iter().map(held).collect()
        })
    }

    fn writes(&self, name: &TagName) -> usize {
        self.fake.writes().iter().filter(|write| Some(write.name.as_str()) == name.as_str()).count()
    }

    fn break_by(&self, breakage: Breakage) -> bool {
        let server = self.fake.server();
        let failure = || Effect::Answer(Reply::json(500, &json!({ "message": "Server Error" })));
        match breakage {
            Breakage::SpaceAbsent => self.fake.change(|world| world.repositories.clear()),
            Breakage::SpaceRecreated => self.fake.change(GithubWorld::recreate),
            Breakage::CredentialRefused => self.fake.change(|world| world.tokens.clear()),
            Breakage::CredentialReadsOnly => self.fake.change(|world| {
                world.tokens.insert("secret".to_owned(), Token { writes_contents: false, ..Token::fine() });
            }),
            Breakage::ListingCut => server.on(listing(), Effect::Cut(100)),
            Breakage::ListingHtml => server.on(listing(), Effect::Answer(Reply::html(200))),
            Breakage::ListingLoops => {
                turn(&self.fake, Quirks { pages: Some(10), next_page_is_current: true, ..Quirks::default() });
            }
            Breakage::SecondPageFails => {
                turn(&self.fake, Quirks { pages: Some(10), ..Quirks::default() });
                server.on(listing().after(1), failure());
            }
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
