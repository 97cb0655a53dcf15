//! The Gitea provider before the suite, on the fake Gitea.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::json;
use tagsyncd::config::SecretSource;
use tagsyncd::http::{HttpSettings, Pool, Transport};
use tagsyncd::provider::{Capabilities, Connection, Provider, RemoteKeys as _, gitea};
use tagsyncd::tag::{TagName, Target};

use super::conformance::{Breakage, Due, Held, Oddity, Stage, Subject, TARGETS};
use super::gitea::{CORE, FakeGitea, GiteaWorld, Quirks, Token};
use super::gitlab::{Commits, FakeTag, commit_id};
use super::program::private_file;
use super::server::{Effect, Reply, When};

/// A Gitea below a path.
pub struct GiteaSubject {
    /// Empty, or `/gitea`.
    pub root: &'static str,
}

struct GiteaStage {
    fake: FakeGitea,
    provider: Arc<dyn Provider>,
}

struct Odd {
    what: &'static str,
    due: Due,
    turn: fn(&FakeGitea),
}

/// An oddity that is nothing but switches.
macro_rules! odd {
    ($what:literal, $due:expr, $($switch:ident: $to:expr),+) => {
        Odd { what: $what, due: $due, turn: |fake| turn(fake, Quirks { $($switch: $to,)+ ..Quirks::default() }) }
    };
}

/// What servers and proxies may do to a listing.
const ODDITIES: &[Odd] = &[
    odd!("pages smaller than asked for", Due::Whole, page_cap: 20),
    odd!("pages of one tag", Due::Whole, page_cap: 1),
    odd!("pages with links", Due::Whole, links: true),
    odd!("the fields of Forgejo", Due::Whole, forgejo_fields: true),
    odd!("no total", Due::WholeOrFault, no_total: true),
    odd!("a total that promises more", Due::WholeOrFault, total_lies: Some(10_000)),
    odd!("a total that promises less", Due::WholeOrFault, total_lies: Some(70)),
    odd!("a page that lost its last row", Due::WholeOrFault, loses_last_row_of_page: Some(1)),
    Odd {
        what: "a tag goes between two pages",
        due: Due::WholeOrFault,
        turn: |fake| {
            fake.adversary(listing().nth(2), |world| {
                world.core().tags.pop_first();
            });
        },
    },
    Odd {
        // The total stays, no name comes twice, and the first of the second page is skipped.
        what: "a tag goes and another comes between two pages",
        due: Due::Whole,
        turn: |fake| {
            fake.adversary(listing().nth(2), |world| {
                world.core().tags.pop_first();
                world.core().tags.insert("z-last".to_owned(), FakeTag::lightweight(&commit_id(0)));
            });
        },
    },
];

fn turn(fake: &FakeGitea, quirks: Quirks) {
    fake.change(|world| world.quirks = quirks);
}

fn listing() -> When {
    When::method("GET").path_end("/tags")
}

fn commit(n: usize) -> String {
    commit_id(u32::try_from(n).expect("the suite needs few targets"))
}

fn target(commit_id: &str) -> Target {
    Target::Commit(commit_id.parse().expect("a made-up id is an id"))
}

/// A client of the fake.
pub async fn connect(url: &str, token: Option<&str>, compare_annotations: bool) -> Arc<dyn Provider> {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let token = token.map(|token| {
        let file = folder.path().join("token");
        private_file(&file, token);
        SecretSource::File(file)
    });
    let keys = gitea::Keys::new(url.parse().expect("the fake has a URL"), CORE, token).expect("it has a name");
    let settings = HttpSettings { timeout: std::time::Duration::from_secs(5), ..HttpSettings::default() };
    let transport = Transport::new(&Arc::new(Pool::new()), settings);
    let connection = Connection { transport, compare_annotations, objects: None };
    keys.connect(connection).await.expect("the token file was just written")
}

#[async_trait]
impl Subject for GiteaSubject {
    fn capabilities(&self) -> &Capabilities {
        &gitea::DESCRIPTOR.capabilities
    }

    fn more_than_a_page(&self) -> usize {
        51
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
        let mut world = GiteaWorld { root: self.root.to_owned(), ..GiteaWorld::with_core() };
        let core = world.core();
        core.commits = Commits::Known((0..TARGETS).map(commit).collect());
        for (n, (name, held)) in (0..).zip(tags) {
            let commit_id = held.target.to_string();
            let tag = match &held.message {
                Some(message) => FakeTag::annotated(&commit_id, message, 1_700_000_000 + n),
                None => FakeTag::lightweight(&commit_id),
            };
            core.tags.insert(name.as_str().expect("the suite's names are text").to_owned(), tag);
        }
        let fake = FakeGitea::start(world);
        let provider = connect(&fake.url(), Some("secret"), compare_annotations).await;
        Box::new(GiteaStage { fake, provider })
    }
}

impl Stage for GiteaStage {
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
        self.fake.writes().iter().filter(|(_, tag, _)| Some(tag.as_str()) == name.as_str()).count()
    }

    fn break_by(&self, breakage: Breakage) -> bool {
        let server = self.fake.server();
        let failure = || Effect::Answer(Reply::json(500, &json!({ "message": "", "url": "" })));
        match breakage {
            Breakage::SpaceAbsent => self.fake.change(|world| world.repositories.clear()),
            Breakage::SpaceRecreated => self.fake.change(GiteaWorld::recreate),
            Breakage::CredentialRefused => self.fake.change(|world| world.tokens.clear()),
            Breakage::CredentialReadsOnly => self.fake.change(|world| {
                world.tokens.insert("secret".to_owned(), Token { writes: false, has_scope: true });
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
