//! A repository whose commits have images in a registry, and the program between the two.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tagsyncd::ledger::{Ledger as _, LedgerRead as _, Pair, SqliteLedger, StateDirectory};
use tagsyncd::tag::{ProvenNames, Sighting, Sightings};

use super::program::{Ended, Program};
use super::registry::{FakeRegistry, RegistryWorld, digest, manifest};
use super::repository::SampleRepository;

/// A repository with two commits whose images are in the registry under `sha-` and the commit.
pub struct World {
    /// The source.
    pub repository: SampleRepository,
    /// The remote.
    pub registry: FakeRegistry,
    /// The program, configured with one job `core` to one remote `images`.
    pub program: Program,
    /// The ids of the two commits; the image of each is the manifest of the same number.
    pub commits: [String; 2],
    _alone: MutexGuard<'static, ()>,
}

/// One world at a time: a process that another test starts would hold the lock of a state directory that is open here.
static ALONE: Mutex<()> = Mutex::new(());

impl World {
    /// With these more lines for the remote, and the policy `mirror`.
    pub fn new(remote: &str) -> Self {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let repository = SampleRepository::bare();
        let commits = [repository.commit("one"), repository.commit("two")];
        let mut world = RegistryWorld::with_manifests(3);
        commits.iter().enumerate().for_each(|(n, commit)| world.tag(&format!("sha-{commit}"), n));
        let world =
            Self { repository, registry: FakeRegistry::start(world), program: Program::new(), commits, _alone: alone };
        world.configure(remote, "mirror");
        world
    }

    /// Configures it anew.
    pub fn configure(&self, remote: &str, policy: &str) {
        let image = self.registry.change(|world| world.image.clone());
        self.program.configure(&format!(
            "[repository.core]\npath = \"{}\"\n[remote.images]\nprovider = \"oci\"\nregistry = \"{}\"\nimage = \"{image}\"\n\
             username = \"robot\"\npassword = {{ file = \"{}\" }}\ntarget = {{ tag = \"sha-{{commit}}\" }}\n{remote}\n\
             [job.core]\nfrom = \"core\"\nto = [\"images\"]\npolicy = \"{policy}\"\n",
            self.repository.path().display(),
            self.registry.url(),
            self.program.path("token").display(),
        ));
    }

    /// The tags that are no images of commits, and the numbers of their manifests.
    pub fn far(&self) -> BTreeMap<String, usize> {
        let number =
            |of: String| (0..3).find(|n| digest(&manifest(*n).bytes) == of).expect("what a test needs is there");
        let tags = self.registry.tags().into_iter().filter(|(name, _)| !name.starts_with("sha-"));
        tags.map(|(name, digest)| (name, number(digest))).collect()
    }

    /// One pass.
    pub fn sync(&self) -> Ended {
        self.program.sync(&["--exit-code"])
    }

    /// Which requests one pass takes: of each kind, and all of them. And what it reported of the remote.
    pub fn count_sync(&self) -> (usize, usize, serde_json::Value) {
        self.registry.server().forget();
        let remote = self.program.sync(&[]).remote();
        let record = self.registry.server().record();
        (record.count("GET list"), record.count("HEAD tag"), remote)
    }

    fn with_ledger<T>(&self, work: impl AsyncFnOnce(&SqliteLedger, &Pair) -> T) -> T {
        let pair = Pair { job: "core".into(), repository: "core".into(), remote: "images".into() };
        let directory =
            StateDirectory::resolve(Some(&self.program.path("state")), None).expect("what a test needs is there");
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("what a test needs is there");
        runtime.block_on(async {
            let lock = directory.lock().expect("what a test needs is there");
            let ledger = SqliteLedger::open(&lock).expect("what a test needs is there");
            let done = work(&ledger, &pair).await;
            ledger.close().await.expect("what a test needs is there");
            done
        })
    }

    /// What the program remembers of the remote's digests.
    pub fn sightings(&self) -> Sightings {
        self.with_ledger(async |ledger, pair| {
            let state = ledger.read_pair(pair, Timestamp::now()).await.expect("what a test needs is there");
            state.sightings
        })
    }

    /// Which names the program takes for all of the remote's.
    pub fn names(&self) -> Option<ProvenNames> {
        self.with_ledger(async |ledger, pair| {
            ledger.read_pair(pair, Timestamp::now()).await.expect("what a test needs is there").names
        })
    }

    /// Lets time pass for what the program remembers of names and digests.
    pub fn age(&self, by: Duration) {
        let by = SignedDuration::try_from(by).expect("what a test needs is there");
        let older = |Sighting { digest, confirmed }| Sighting { digest, confirmed: confirmed - by };
        let names = self.names().map(|names| ProvenNames { proven: names.proven - by, ..names });
        let aged: Vec<_> = self.sightings().into_iter().map(|(name, sighting)| (name, older(sighting))).collect();
        self.with_ledger(async |ledger, pair| {
            ledger.remember(pair, &aged, &[]).await.expect("what a test needs is there");
            ledger.remember_names(pair, names.as_ref()).await.expect("what a test needs is there");
        });
    }
}
