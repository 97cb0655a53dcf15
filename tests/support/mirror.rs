//! A repository, a git server and the program between them.

use serde_json::Value;

use super::git_http::{GitServer, PASSWORD, USER, tags};
use super::program::{Ended, Program, private_file};
use super::repository::SampleRepository;
use super::server::When;

/// A repository, a git server with the same commits and no tags, and the program between them.
pub struct Mirror {
    /// The source.
    pub source: SampleRepository,
    /// The server, with the same commits.
    pub server: GitServer,
    /// The binary.
    pub program: Program,
    /// The commits that both have.
    pub commits: Vec<String>,
}

impl Mirror {
    /// Under `mirror`.
    pub fn new() -> Self {
        Self::made_with(&[], "", "")
    }

    /// With these options of `git init`, and more lines for the job and for the remote.
    pub fn made_with(options: &[&str], job: &str, remote: &str) -> Self {
        let source = SampleRepository::init(&[&["--bare"], options].concat());
        let commits = (0..3).map(|n| source.commit(&format!("commit {n}"))).collect();
        let server = GitServer::start(source.clone_of(&["--bare"]));
        let mirror = Self { source, server, program: Program::new(), commits };
        mirror.configure(&mirror.server.url(), job, remote);
        mirror
    }

    /// Writes the configuration for a server at this address.
    pub fn configure(&self, url: &str, job: &str, remote: &str) {
        let password = self.program.path("password");
        private_file(&password, PASSWORD);
        self.program.configure(&format!(
            r#"
            [repository.core]
            path = "{}"

            [remote.far]
            provider = "git"
            url = "{url}"
            username = "{USER}"
            password = {{ file = "{}" }}
            {remote}

            [job.core]
            from = "core"
            to = ["far"]
            {}
            {job}
            "#,
            self.source.path().display(),
            password.display(),
            if job.contains("policy") { "" } else { r#"policy = "mirror""# },
        ));
    }

    /// `v0`, `v1` and so on, every second one annotated.
    pub fn tag_many(&self, count: usize) {
        for n in 0..count {
            let (name, commit) = (format!("v{n}"), &self.commits[n % 3]);
            if n % 2 == 0 {
                self.source.tag(name, commit);
            } else {
                self.source.annotate(name, commit, &format!("release {n}\n"));
            }
        }
    }

    /// One pass.
    pub fn sync(&self) -> Ended {
        self.program.sync(&[])
    }

    /// How many pushes reached the server, and then it forgets them.
    pub fn pushes(&self) -> usize {
        let record = self.server.server().record();
        self.server.server().forget();
        record.count("call receive-pack")
    }

    /// What the source and the server have is the same, byte for byte, and whole.
    #[track_caller]
    pub fn assert_same(&self) {
        assert_eq!(tags(&self.source), self.server.tags());
        self.server.repository.git(&["fsck", "--strict", "--no-dangling"]);
    }
}

/// The pushes.
pub fn pushing() -> When {
    When::method("POST").path_end("/git-receive-pack")
}

/// The counts of a pass, without those that are zero.
pub fn counts(remote: &Value) -> Vec<(String, u64)> {
    let counts = remote["counts"].as_object().expect("a remote has counts");
    counts.iter().filter_map(|(name, count)| Some((name.clone(), count.as_u64()?))).filter(|(_, n)| *n > 0).collect()
}

/// One count, as [`counts`] gives them.
pub fn count(name: &str, count: u64) -> Vec<(String, u64)> {
    vec![(name.to_owned(), count)]
}
