//! The Vers provider before the suite, on the fake Vers.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::json;
use tagsyncd::config::SecretSource;
use tagsyncd::http::{HttpSettings, Pool, Transport};
use tagsyncd::provider::{Capabilities, Connection, Provider, RemoteKeys as _, vers};
use tagsyncd::tag::{TagName, Target};

use super::conformance::{Breakage, Due, Held, Oddity, Stage, Subject, TARGETS};
use super::program::private_file;
use super::server::{Effect, Reply, When};
use super::vers::{ACME, FakeTag, FakeVers, Quirks, VersWorld, snapshot_id};

/// The repository on every started remote.
const REPOSITORY: &str = "core";

/// A Vers below a path.
pub struct VersSubject {
    /// Empty, or `/vers`.
    pub root: &'static str,
}

struct VersStage {
    fake: FakeVers,
    provider: Arc<dyn Provider>,
}

struct Odd {
    what: &'static str,
    due: Due,
    turn: fn(&mut VersWorld),
}

/// An oddity that is nothing but a switch.
macro_rules! odd {
    ($what:literal, $due:expr, $switch:ident) => {
        Odd { what: $what, due: $due, turn: |world| world.quirks = Quirks { $switch: true, ..Quirks::default() } }
    };
}

/// What a server of this kind may do to a listing.
const ODDITIES: &[Odd] = &[
    odd!("tags in another order", Due::Whole, newest_first),
    odd!("ids in capital letters", Due::Whole, capital_ids),
    odd!("fields that are new or missing", Due::Whole, other_fields),
    odd!("a listing without `tags`", Due::WholeOrFault, no_tags),
    odd!("a listing whose `tags` are null", Due::WholeOrFault, null_tags),
    odd!("a listing that shows a tag twice", Due::WholeOrFault, repeats_tag),
    odd!("a listing of another repository", Due::WholeOrFault, names_other_repository),
    Odd {
        what: "names that git refuses, besides those that it takes",
        due: Due::Whole,
        turn: |world| {
            for name in [".hidden", "a..b", "v1.", "x.lock", ".", ".."] {
                world.put(REPOSITORY, name, &snapshot_id(0), None);
            }
        },
    },
];

/// Connects as a program with this configuration would.
pub async fn connect(url: &str, repository: &str, token: &str, compare_annotations: bool) -> Arc<dyn Provider> {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let file = folder.path().join("token");
    private_file(&file, token);
    let url = url.parse().expect("the fake has a URL");
    let keys = vers::Keys::new(url, repository, SecretSource::File(file)).expect("the repository has a name");
    let settings = HttpSettings { timeout: std::time::Duration::from_secs(5), ..HttpSettings::default() };
    let transport = Transport::new(&Arc::new(Pool::new()), settings);
    keys.connect(Connection { transport, compare_annotations, objects: None })
        .await
        .expect("the token file was just written")
}

fn snapshot(n: usize) -> String {
    snapshot_id(u32::try_from(n).expect("the suite needs few targets"))
}

fn target(commit_id: &str) -> Target {
    Target::Snapshot(commit_id.parse().expect("a made-up id is an id"))
}

fn listing() -> When {
    When::method("GET").path_end("/tags")
}

#[async_trait]
impl Subject for VersSubject {
    fn capabilities(&self) -> &Capabilities {
        &vers::DESCRIPTOR.capabilities
    }

    fn more_than_a_page(&self) -> usize {
        // There are no pages; more than any of the API's other listings has on one.
        101
    }

    fn target(&self, n: usize) -> Target {
        target(&snapshot(n))
    }

    fn absent_target(&self) -> Target {
        target(&snapshot(TARGETS))
    }

    fn targets_outlive_the_space(&self) -> bool {
        // Snapshots belong to the organisation; a repository only has names for them.
        true
    }

    fn oddities(&self) -> Vec<Oddity> {
        ODDITIES.iter().map(|odd| Oddity { what: odd.what, due: odd.due }).collect()
    }

    async fn start(&self, tags: &[(TagName, Held)], compare_annotations: bool) -> Box<dyn Stage> {
        let mut world = VersWorld { root: self.root.to_owned(), ..VersWorld::with_core() };
        for (name, held) in tags {
            let name = name.as_str().expect("the suite's names are text");
            world.put(REPOSITORY, name, &held.target.to_string(), held.message.as_deref());
        }
        let fake = FakeVers::start(world);
        let provider = connect(&fake.url(), REPOSITORY, "secret", compare_annotations).await;
        Box::new(VersStage { fake, provider })
    }
}

impl Stage for VersStage {
    fn provider(&self) -> Arc<dyn Provider> {
        self.provider.clone()
    }

    /// Without those that no git repository could have: they are nobody's concern.
    fn tags(&self) -> BTreeMap<TagName, Held> {
        let held = |(name, tag): (String, FakeTag)| {
            let name = TagName::new(name).ok()?;
            Some((name, Held { target: target(&tag.commit_id), message: tag.description }))
        };
        self.fake.tags(REPOSITORY).into_iter().filter_map(held).collect()
    }

    fn writes(&self, name: &TagName) -> usize {
        self.fake.writes().iter().filter(|write| Some(write.name.as_str()) == name.as_str()).count()
    }

    fn break_by(&self, breakage: Breakage) -> bool {
        let server = self.fake.server();
        match breakage {
            Breakage::SpaceAbsent => self.fake.change(|world| world.repositories.clear()),
            Breakage::SpaceRecreated => self.fake.change(|world| world.found(ACME, REPOSITORY)),
            Breakage::CredentialRefused => self.fake.change(|world| world.keys.clear()),
            Breakage::CredentialReadsOnly => self.fake.change(|world| world.quirks.forbids_writes = true),
            Breakage::ListingCut => server.on(listing(), Effect::Cut(100)),
            Breakage::ListingHtml => server.on(listing(), Effect::Answer(Reply::html(200))),
            Breakage::CreateReplyLost => server.on(When::method("POST"), Effect::DropAfter),
            Breakage::DeleteReplyLost => server.on(When::method("DELETE"), Effect::DropAfter),
            Breakage::ServerFails => {
                let failure = json!({ "error": "Internal server error", "success": false });
                server.on(When::any(), Effect::Answer(Reply::json(500, &failure)));
            }
            // A listing is one answer.
            Breakage::ListingLoops | Breakage::SecondPageFails => return false,
        }
        true
    }

    fn turn_odd(&self, what: &str) {
        let odd = ODDITIES.iter().find(|odd| odd.what == what).expect("the oddity is one of ours");
        self.fake.change(odd.turn);
    }
}
