//! A first run for newcomers: a repository, a GitLab that lives for a minute on this machine, and the real program between them;
//! then one repository on four remotes of other kinds.
//!
//! `cargo run --release --example demo` makes a sample repository; with a path behind `--` it works on a copy of yours.
//! Needs Rust and git, touches nothing outside a temporary folder, and talks to nobody but itself.

#![expect(clippy::print_stdout, reason = "a demonstration talks to the person who started it")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use support::everywhere::Everywhere;
use support::gitlab::{FakeGitlab, GitlabWorld};
use support::program::private_file;
use support::repository::SampleRepository;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let sample;
    let repository = match std::env::args_os().nth(1) {
        Some(path) => copy_of(Path::new(&path), folder.path())?,
        None => {
            sample = sample_repository();
            sample.path().to_owned()
        }
    };
    let gitlab = FakeGitlab::start(GitlabWorld::with_core());
    let demo = Demo::new(folder.path(), &repository, &gitlab)?;

    say("A repository with release tags, and an empty GitLab project. What would tagsyncd do?");
    demo.run(&["plan"]);

    say("Do it. Each tag is one request; annotated tags keep their message.");
    demo.run(&["--sync"]);

    say("Again. Both sides agree, so the pass is one listing and writes nothing.");
    demo.run(&["--sync"]);

    let tags = demo.tags()?;
    let ([moved, gone, ..], Some(newest)) = (tags.as_slice(), tags.last()) else {
        return Err("the repository needs at least three tags".into());
    };
    say(&format!(
        "Now `{moved}` is moved in the repository and `{gone}` is deleted. Both are ours, so both changes travel."
    ));
    demo.git(&["tag", "--force", moved, &format!("{newest}^{{commit}}")])?;
    demo.git(&["tag", "--delete", gone])?;
    demo.run(&["--sync"]);

    let rest = demo.tags()?;
    let lost = &rest[..rest.len() - 1];
    say(&format!(
        "An accident: {} of {} tags vanish from the repository. That is over the budget, so nothing is deleted.",
        lost.len(),
        rest.len()
    ));
    for tags in lost.chunks(500) {
        demo.git(&[&["tag", "--delete"], tags.iter().map(String::as_str).collect::<Vec<_>>().as_slice()].concat())?;
    }
    demo.run(&["--sync"]);
    say(&format!(
        "GitLab still has {} tags. A person who meant it releases exactly this set with the command in the hint.",
        gitlab.tags("infra/core").len()
    ));

    everywhere()?;

    println!(
        "With your own GitLab: write this to config.toml, put a token with scope `api` and role Developer into the file\n\
         (`chmod 600`), and start with `tagsyncd --config config.toml plan`, which writes nothing.\n\n{}",
        configuration(
            Path::new("/srv/git/core.git"),
            "https://gitlab.example.com",
            Path::new("/etc/tagsyncd/gitlab.token")
        )
    );
    Ok(())
}

/// The second act: one repository on four remotes of other kinds.
fn everywhere() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let world = Everywhere::start();
    let secret = folder.path().join("secret");
    private_file(&secret, "secret");
    let config = folder.path().join("config.toml");
    std::fs::write(&config, world.configuration(&secret))?;
    let repository = world.repository.path().to_owned();
    let demo = Demo { repository, config, state: folder.path().join("state") };

    say(
        "Another repository, on four remotes: CodeArts Repo holds commits, Vers holds snapshots of machines, and two registries \
         hold images. Of `v1.0.0` everything was built; of `v1.1.0` nothing was yet, so it waits.",
    );
    demo.run(&["--sync"]);

    say(
        "CI has built the second release: its images are there, and its tag names the snapshot. The next pass brings it along.",
    );
    world.build_the_second_release();
    demo.run(&["--sync"]);

    say("Again. Nothing is written anywhere.");
    demo.run(&["--sync"]);
    Ok(())
}

fn say(text: &str) {
    println!("\n# {text}\n");
}

fn configuration(repository: &Path, url: &str, token: &Path) -> String {
    format!(
        r#"[repository.core]
path = "{}"

[remote.gitlab]
provider = "gitlab"
url = "{url}"
project = "infra/core"
token = {{ file = "{}" }}

[job.core]
from = "core"
to = ["gitlab"]
policy = "mirror"
"#,
        repository.display(),
        token.display()
    )
}

/// Enough releases that losing most of them is an accident.
fn sample_repository() -> SampleRepository {
    let repository = SampleRepository::bare();
    for minor in 0..8 {
        let commit = repository.commit(&format!("Release 1.{minor}"));
        repository.annotate(format!("v1.{minor}.0"), &commit, &format!("Version 1.{minor}.0"));
        repository.tag(format!("nightly/{minor}"), &commit);
    }
    repository
}

/// The demo moves and deletes tags, so it works on a copy.
fn copy_of(repository: &Path, folder: &Path) -> Result<PathBuf> {
    let copy = folder.join("copy.git");
    let status = Command::new("git").args(["clone", "--quiet", "--bare", "--"]).arg(repository).arg(&copy).status()?;
    if status.success() { Ok(copy) } else { Err(format!("{} could not be cloned", repository.display()).into()) }
}

struct Demo {
    repository: PathBuf,
    config: PathBuf,
    state: PathBuf,
}

impl Demo {
    fn new(folder: &Path, repository: &Path, gitlab: &FakeGitlab) -> Result<Self> {
        let token = folder.join("gitlab.token");
        private_file(&token, "secret");
        let config = folder.join("config.toml");
        std::fs::write(&config, configuration(repository, &gitlab.url(), &token))?;
        Ok(Self { repository: repository.to_owned(), config, state: folder.join("state") })
    }

    /// Runs the program as the command line would.
    fn run(&self, arguments: &[&str]) {
        println!("$ tagsyncd {}", arguments.join(" "));
        let fixed = [
            "tagsyncd".into(),
            "--config".into(),
            self.config.clone().into(),
            "--state".into(),
            self.state.clone().into(),
        ];
        let code = tagsyncd::cli::main(fixed.into_iter().chain(arguments.iter().map(Into::into)));
        println!("[exit code {}]", code as u8);
    }

    fn git(&self, arguments: &[&str]) -> Result<()> {
        let mut command = Command::new("git");
        let status = command.arg("-C").arg(&self.repository).args(arguments).stdout(Stdio::null()).status()?;
        if status.success() { Ok(()) } else { Err(format!("git {} failed", arguments.join(" ")).into()) }
    }

    fn tags(&self) -> Result<Vec<String>> {
        let listed = Command::new("git").arg("-C").arg(&self.repository).args(["tag", "--list"]).output()?;
        Ok(String::from_utf8_lossy(&listed.stdout).lines().map(str::to_owned).collect())
    }
}
