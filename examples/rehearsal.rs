//! Rehearses a mirror of your repository against a stand-in GitLab: what would be created, what held and why, what the second
//! pass costs; and then the same once more with a process that is killed again and again.
//!
//! `cargo run --release --example rehearsal -- /srv/git/core.git [KILLS]` reads the repository and writes nothing to it.

#![expect(clippy::print_stdout, reason = "a rehearsal tells what it saw")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::collections::{BTreeMap, hash_map::RandomState};
use std::error::Error;
use std::hash::BuildHasher as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use serde_json::Value;
use support::gitlab::{FakeGitlab, GitlabWorld};
use support::program::private_file;
use support::server::{Effect, When};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Set for the process that is to be the program itself.
const AS_PROGRAM: &str = "TAGSYNCD_REHEARSAL_PROGRAM";

fn main() -> Result<ExitCode> {
    if std::env::var_os(AS_PROGRAM).is_some() {
        return Ok(ExitCode::from(tagsyncd::cli::main(std::env::args_os()) as u8));
    }
    let mut arguments = std::env::args_os().skip(1);
    let repository = PathBuf::from(arguments.next().ok_or("name a repository")?).canonicalize()?;
    let kills: u32 = arguments.next().map_or(Ok(10), |kills| kills.to_string_lossy().parse())?;

    let stage = Stage::new(&repository)?;
    stage.pass("First pass")?;
    stage.pass("Second pass")?;
    let expected = stage.tags();

    println!("\nThe same from the start, killed {kills} times at random requests");
    let stage = Stage::new(&repository)?;
    let requests = expected.len() as u64 / u64::from(kills.max(1)) + 1;
    let mut killed = 0;
    for round in 0..kills {
        let after = RandomState::new().hash_one(round) % requests;
        killed += u32::from(stage.killed_pass(usize::try_from(after)? + 2)?);
    }
    println!("  killed {killed} times, {} of {} tags created by then", stage.tags().len(), expected.len());
    stage.pass("The pass that is left in peace")?;
    stage.pass("And another one")?;
    let equal = stage.tags() == expected;
    println!("\nThe same state as without a kill: {}", if equal { "yes" } else { "NO" });
    Ok(if equal { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A GitLab, a configuration and a state directory.
struct Stage {
    folder: tempfile::TempDir,
    gitlab: FakeGitlab,
}

impl Stage {
    fn new(repository: &Path) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let gitlab = FakeGitlab::start(GitlabWorld::with_core());
        private_file(&folder.path().join("token"), "secret");
        let configuration = format!(
            "[repository.core]\npath = {:?}\n[remote.gitlab]\nprovider = \"gitlab\"\nurl = {:?}\nproject = \"infra/core\"\n\
             token = {{ file = {:?} }}\n[job.core]\nfrom = \"core\"\nto = [\"gitlab\"]\npolicy = \"mirror\"\n",
            repository.to_str().ok_or("the path is not UTF-8")?,
            gitlab.url(),
            folder.path().join("token").to_str().ok_or("the path is not UTF-8")?,
        );
        std::fs::write(folder.path().join("config.toml"), configuration)?;
        Ok(Self { folder, gitlab })
    }

    fn program(&self) -> Result<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args(["--sync", "--format", "json"])
            .env(AS_PROGRAM, "1")
            .env("TAGSYNCD_CONFIG", self.folder.path().join("config.toml"))
            .env("STATE_DIRECTORY", self.folder.path().join("state"))
            .stdout(Stdio::piped());
        Ok(command)
    }

    /// One whole pass, and what it came to.
    fn pass(&self, what: &str) -> Result<()> {
        self.gitlab.server().forget();
        let (before, began) = (self.gitlab.writes().len(), Instant::now());
        let output = self.program()?.output()?;
        let time = began.elapsed();
        let report: Value = serde_json::from_slice(&output.stdout)?;
        let remote = &report["jobs"][0]["remotes"][0];
        println!("\n{what}: exit code {:?}, {:.2} s", output.status.code(), time.as_secs_f64());
        for note in [&report["jobs"][0]["error"], &remote["error"]] {
            if let Some(note) = note.as_str() {
                println!("  {note}");
            }
        }
        let counts = remote["counts"].as_object().ok_or("the report has no remote")?;
        let counts = counts.iter().filter(|(_, count)| **count != 0).map(|(word, count)| format!("{count} {word}"));
        println!("  {}", counts.collect::<Vec<_>>().join(", "));
        let writes = self.gitlab.writes().len() - before;
        println!("  {} requests, {writes} of them writes", self.gitlab.server().record().total());
        let mut reasons: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for held in remote["held"].as_array().into_iter().flatten() {
            reasons
                .entry(held["reason"].as_str().unwrap_or_default())
                .or_default()
                .push(held["tag"].as_str().unwrap_or_default());
        }
        for change in remote["changes"].as_array().into_iter().flatten() {
            if let Some(degraded) = change["degraded"].as_str() {
                reasons.entry(degraded).or_default().push(change["tag"].as_str().unwrap_or_default());
            }
        }
        for (reason, tags) in reasons {
            println!("  {} tags, `{}` for one: {reason}", tags.len(), tags[0]);
        }
        Ok(())
    }

    /// A pass that is killed at its `n`-th request. Whether it came that far.
    fn killed_pass(&self, n: usize) -> Result<bool> {
        let process = Arc::new(AtomicU32::new(0));
        let victim = Arc::clone(&process);
        let kill = move |_: &support::server::Request| {
            let id = victim.load(Ordering::SeqCst).to_string();
            // A process that has ended by itself meanwhile cannot be killed, and need not be.
            let _ended = Command::new("kill").args(["-KILL", &id]).stderr(Stdio::null()).status();
        };
        // Half of the kills meet a request that was applied and not answered.
        let effect = if n.is_multiple_of(2) { Effect::before(kill) } else { Effect::after(kill) };
        self.gitlab.server().on(When::any().nth(n), effect);
        let mut child = self.program()?.stdout(Stdio::null()).spawn()?;
        process.store(child.id(), Ordering::SeqCst);
        let status = child.wait()?;
        self.gitlab.server().behave();
        Ok(status.code().is_none())
    }

    fn tags(&self) -> BTreeMap<String, (Option<String>, Option<String>)> {
        let tags = self.gitlab.tags("infra/core");
        tags.into_iter().map(|(name, tag)| (name, (tag.commit_id, tag.message))).collect()
    }
}
