//! A git repository behind a real git server, before the suite.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use tagsyncd::provider::{Capabilities, Objects, Provider};
use tagsyncd::source::{LocalSource, Source as _};
use tagsyncd::tag::{TagName, Target, TargetKind};

use super::conformance::{Breakage, Held, Stage, Subject, TARGETS};
use super::git_http::{GitServer, Manners};
use super::repository::SampleRepository;
use super::server::{Effect, Reply, When};

/// How a test reaches the server.
pub struct Address {
    /// The repository.
    pub url: String,
    /// What tags are read from that are pushed there.
    pub objects: Option<Arc<dyn Objects>>,
}

/// Connects to a server.
pub type Connect = fn(Address) -> Pin<Box<dyn Future<Output = Arc<dyn Provider>> + Send>>;

/// A repository behind a real git server.
pub struct GitSubject {
    capabilities: &'static Capabilities,
    manners: Manners,
    connect: Connect,
    /// What every repository begins as.
    template: SampleRepository,
    commits: Vec<String>,
}

impl GitSubject {
    /// A repository made with these options of `git init`, on a server like this.
    pub fn new(capabilities: &'static Capabilities, options: &[&str], manners: Manners, connect: Connect) -> Self {
        let template = SampleRepository::init(&[&["--bare"], options].concat());
        let commits = (0..TARGETS).map(|n| template.commit(&format!("commit {n}"))).collect();
        Self { capabilities, manners, connect, template, commits }
    }
}

fn target(id: &str) -> Target {
    TargetKind::Object.parse(id).expect("git prints object ids")
}

struct GitStage {
    server: GitServer,
    provider: Arc<dyn Provider>,
    _source: SampleRepository,
}

#[async_trait]
impl Subject for GitSubject {
    fn capabilities(&self) -> &Capabilities {
        self.capabilities
    }

    fn more_than_a_page(&self) -> usize {
        // There are no pages; this is more than one line.
        20
    }

    fn target(&self, n: usize) -> Target {
        target(&self.commits[n])
    }

    fn absent_target(&self) -> Target {
        target(&"1".repeat(self.commits[0].len()))
    }

    async fn start(&self, tags: &[(TagName, Held)], _compare_annotations: bool) -> Box<dyn Stage> {
        let [repository, source] = [(); 2].map(|()| self.template.clone_of(&["--bare"]));
        let mut updates = Vec::new();
        for (name, held) in tags {
            updates.extend([b"create refs/tags/", name.as_bytes(), format!(" {}\n", held.target).as_bytes()].concat());
        }
        repository.git_with_input(&["update-ref", "--stdin"], &updates);
        let server = GitServer::start(repository);
        server.change(|manners| *manners = self.manners.clone());
        let objects = LocalSource::new(source.path()).objects();
        let provider = (self.connect)(Address { url: server.url(), objects }).await;
        Box::new(GitStage { server, provider, _source: source })
    }
}

impl Stage for GitStage {
    fn provider(&self) -> Arc<dyn Provider> {
        Arc::clone(&self.provider)
    }

    fn tags(&self) -> BTreeMap<TagName, Held> {
        let held = |(name, id): (String, String)| {
            let name = TagName::new(name).expect("git's tags are tags");
            (name, Held { target: target(&id), message: None })
        };
        self.server.tags().into_iter().map(held).collect()
    }

    fn writes(&self, name: &TagName) -> usize {
        self.server.pushes_of(name.as_bytes())
    }

    fn break_by(&self, breakage: Breakage) -> bool {
        let server = self.server.server();
        let listing = || When::any().matching(|request| request.target.contains("git-upload-pack"));
        let pushing = || When::method("POST").path_end("/git-receive-pack");
        match breakage {
            Breakage::SpaceAbsent => self.server.serve(&self.server.repository.beside("nothing")),
            Breakage::CredentialRefused => self.server.change(|manners| manners.password = Some("another".to_owned())),
            Breakage::CredentialReadsOnly => self.server.change(|manners| manners.pushes = false),
            Breakage::ListingCut => server.on(listing(), Effect::Cut(500)),
            Breakage::ListingHtml => server.on(listing(), Effect::Answer(Reply::html(200))),
            Breakage::CreateReplyLost | Breakage::DeleteReplyLost => server.on(pushing(), Effect::DropAfter),
            Breakage::ServerFails => server.on(When::any(), Effect::Answer(Reply::text(500, "Internal Server Error"))),
            // A repository has no id that a new one under the same URL would not have; and a listing has no pages.
            Breakage::SpaceRecreated | Breakage::ListingLoops | Breakage::SecondPageFails => return false,
        }
        true
    }
}
