//! One repository on four remotes that agree in nothing: commits, snapshots of machines, and images in two registries.

use std::path::Path;

use super::codearts::{CodeArtsWorld, FakeCodeArts};
use super::registry::{FakeRegistry, RegistryWorld};
use super::repository::SampleRepository;
use super::vercel::FakeVercel;
use super::vers::{FakeVers, VersWorld, snapshot_id};

/// The four remotes, and the repository with two releases: `v1.0.0`, of which everything was built, and `v1.1.0`, of which
/// nothing was yet.
pub struct Everywhere {
    /// The source; `v1.0.0` says its snapshot in a trailer.
    pub repository: SampleRepository,
    /// Commits.
    pub codearts: FakeCodeArts,
    /// Snapshots.
    pub vers: FakeVers,
    /// Images, read through an API and written through a registry.
    pub vercel: FakeVercel,
    /// Images.
    pub registry: FakeRegistry,
    /// The commits of the two releases.
    pub commits: [String; 2],
}

/// The annotated message of a release, with the snapshot that was taken of it.
pub fn release(version: &str, snapshot: Option<u32>) -> String {
    match snapshot {
        Some(n) => format!("Version {version}\n\nSnapshot: {}\n", snapshot_id(n)),
        None => format!("Version {version}\n"),
    }
}

impl Everywhere {
    /// Everything up and running.
    pub fn start() -> Self {
        let repository = SampleRepository::bare();
        let commits = [repository.commit("Release 1.0.0"), repository.commit("Release 1.1.0")];
        repository.annotate("v1.0.0", &commits[0], &release("1.0.0", Some(0)));
        repository.annotate("v1.1.0", &commits[1], &release("1.1.0", None));
        let built = || {
            let mut world = RegistryWorld::with_manifests(2);
            world.tag(&format!("sha-{}", &commits[0][..12]), 0);
            world
        };
        Self {
            codearts: FakeCodeArts::start(CodeArtsWorld::with_core()),
            vers: FakeVers::start(VersWorld::with_core()),
            vercel: FakeVercel::start(built()),
            registry: FakeRegistry::start(built()),
            repository,
            commits,
        }
    }

    /// The second release is built everywhere: images in both registries, and a snapshot that its tag names by now.
    pub fn build_the_second_release(&self) {
        let name = format!("sha-{}", &self.commits[1][..12]);
        self.vercel.registry.change(|world| world.tag(&name, 1));
        self.registry.change(|world| world.tag(&name, 1));
        self.repository.annotate("v1.1.0", &self.commits[1], &release("1.1.0", Some(1)));
    }

    /// One job from the repository to all four; `secret` is a file with the word that all of them take.
    pub fn configuration(&self, secret: &Path) -> String {
        let secret = secret.display();
        format!(
            r#"[repository.core]
path = "{repository}"

[remote.codearts]
provider = "codearts"
url = "{codearts}"
repository_id = 7
token = {{ file = "{secret}" }}

[remote.vers]
provider = "vers"
url = "{vers}"
repository = "core"
token = {{ file = "{secret}" }}
target = {{ trailer = "Snapshot" }}

[remote.vercel]
provider = "vercel"
url = "{vercel}"
registry = "{vercel_registry}"
team = "team_a1"
project = "prj_1"
repository = "core"
image = "acme/shop/core"
token = {{ file = "{secret}" }}
target = {{ tag = "sha-{{commit:12}}" }}
strip_prefix = "v"

[remote.images]
provider = "oci"
registry = "{registry}"
image = "team/app"
username = "robot"
password = {{ file = "{secret}" }}
target = {{ tag = "sha-{{commit:12}}" }}
strip_prefix = "v"

[job.core]
from = "core"
to = ["codearts", "vers", "vercel", "images"]
policy = "mirror"
"#,
            repository = self.repository.path().display(),
            codearts = self.codearts.url(),
            vers = self.vers.url(),
            vercel = self.vercel.url(),
            vercel_registry = self.vercel.registry.url(),
            registry = self.registry.url(),
        )
    }
}
