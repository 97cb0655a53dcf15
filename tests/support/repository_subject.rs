//! Another repository on this host, before the suite.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use tagsyncd::provider::{Capabilities, Objects, Provider};
use tagsyncd::source::{LocalSource, Source as _};
use tagsyncd::tag::{TagName, Target, TargetKind};

use super::conformance::{Breakage, Held, Stage, Subject, TARGETS};
use super::git_http::tags;
use super::repository::SampleRepository;

/// How a test reaches the repository.
pub struct Address {
    /// Where it is.
    pub path: PathBuf,
    /// What tags are read from that are written there.
    pub objects: Option<Arc<dyn Objects>>,
}

/// Connects to a repository.
pub type Connect = fn(Address) -> Pin<Box<dyn Future<Output = Arc<dyn Provider>> + Send>>;

/// Another repository on this host.
pub struct RepositorySubject {
    capabilities: &'static Capabilities,
    connect: Connect,
    template: SampleRepository,
    commits: Vec<String>,
}

impl RepositorySubject {
    /// A repository made with these options of `git init`.
    pub fn new(capabilities: &'static Capabilities, options: &[&str], connect: Connect) -> Self {
        let template = SampleRepository::init(&[&["--bare"], options].concat());
        let commits = (0..TARGETS).map(|n| template.commit(&format!("commit {n}"))).collect();
        Self { capabilities, connect, template, commits }
    }
}

fn target(id: &str) -> Target {
    TargetKind::Object.parse(id).expect("git prints object ids")
}

struct RepositoryStage {
    repository: SampleRepository,
    provider: Arc<dyn Provider>,
    _source: SampleRepository,
}

#[async_trait]
impl Subject for RepositorySubject {
    fn capabilities(&self) -> &Capabilities {
        self.capabilities
    }

    fn more_than_a_page(&self) -> usize {
        20
    }

    fn target(&self, n: usize) -> Target {
        target(&self.commits[n])
    }

    fn absent_target(&self) -> Target {
        target(&"1".repeat(self.commits[0].len()))
    }

    fn targets_outlive_the_space(&self) -> bool {
        // They are in the source.
        true
    }

    async fn start(&self, tags: &[(TagName, Held)], _compare_annotations: bool) -> Box<dyn Stage> {
        let [repository, source] = [(); 2].map(|()| self.template.clone_of(&["--bare"]));
        let mut updates = Vec::new();
        for (name, held) in tags {
            updates.extend([b"create refs/tags/", name.as_bytes(), format!(" {}\n", held.target).as_bytes()].concat());
        }
        repository.git_with_input(&["update-ref", "--stdin"], &updates);
        let objects = LocalSource::new(source.path()).objects();
        let provider = (self.connect)(Address { path: repository.path().to_owned(), objects }).await;
        Box::new(RepositoryStage { repository, provider, _source: source })
    }
}

impl Stage for RepositoryStage {
    fn provider(&self) -> Arc<dyn Provider> {
        Arc::clone(&self.provider)
    }

    fn tags(&self) -> BTreeMap<TagName, Held> {
        let held = |(name, id): (String, String)| {
            let name = TagName::new(name).expect("git's tags are tags");
            (name, Held { target: target(&id), message: None })
        };
        tags(&self.repository).into_iter().map(held).collect()
    }

    fn writes(&self, _name: &TagName) -> usize {
        unreachable!("only asked where a reply can be lost")
    }

    fn break_by(&self, breakage: Breakage) -> bool {
        let path = self.repository.path();
        let away = self.repository.beside("away");
        match breakage {
            Breakage::SpaceAbsent => {
                std::fs::rename(path, away).expect("the repository is ours");
            }
            Breakage::SpaceRecreated => {
                std::fs::rename(path, &away).expect("the repository is ours");
                SampleRepository::bare().git(&[
                    "clone",
                    "--quiet",
                    "--bare",
                    &away.to_string_lossy(),
                    &path.to_string_lossy(),
                ]);
            }
            // Without a server there is no credential and no reply; and root may write everything.
            Breakage::CredentialRefused
            | Breakage::CredentialReadsOnly
            | Breakage::ListingCut
            | Breakage::ListingHtml
            | Breakage::ListingLoops
            | Breakage::SecondPageFails
            | Breakage::CreateReplyLost
            | Breakage::DeleteReplyLost
            | Breakage::ServerFails => return false,
        }
        true
    }
}
