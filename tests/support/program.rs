//! The real binary, in a folder of its own, with an environment that nobody else has a say in.

use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

use super::server::{Effect, Gate, Request, Server, When};

/// Known to integration tests; the examples that include this file run the program as a library.
const BINARY: Option<&str> = option_env!("CARGO_BIN_EXE_tagsyncd");

/// A folder with a configuration, a token file and a state directory.
pub struct Program {
    folder: tempfile::TempDir,
}

/// What a run left behind.
#[derive(Debug)]
pub struct Ended {
    /// The exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Ended {
    /// Standard output as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|fault| panic!("{fault}\n{}\n{}", self.stdout, self.stderr))
    }

    /// The only remote of the only job.
    pub fn remote(&self) -> Value {
        self.json()["jobs"][0]["remotes"][0].clone()
    }

    /// Fails the test with everything that was printed, unless the exit code is as expected.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "\n{}\n{}", self.stdout, self.stderr);
        self
    }
}

/// The token that fakes accept in tests; it must never be printed.
pub const TOKEN: &str = "secret";

impl Program {
    /// An empty folder with the token file in it.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        private_file(&folder.path().join("token"), &format!("{TOKEN}\n"));
        Self { folder }
    }

    /// A file in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes the configuration.
    pub fn configure(&self, text: &str) {
        std::fs::write(self.path("config.toml"), text).expect("the folder is ours");
    }

    /// Configures one job `core` from the repository to project `infra/core`, with more lines for the job and for the remote.
    pub fn mirror(&self, repository: &Path, url: &str, job: &str, remote: &str) {
        let token = self.path("token");
        self.configure(&format!(
            r#"
            [repository.core]
            path = "{}"

            [remote.gitlab]
            provider = "gitlab"
            url = "{url}"
            project = "infra/core"
            token = {{ file = "{}" }}
            {remote}

            [job.core]
            from = "core"
            to = ["gitlab"]
            {}
            {job}
            "#,
            repository.display(),
            token.display(),
            if job.contains("policy") { "" } else { r#"policy = "mirror""# },
        ));
    }

    /// The binary with these arguments, not started yet.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(BINARY.expect("cargo builds the binary for integration tests"));
        command
            .args(arguments)
            .env_clear()
            .env("TAGSYNCD_CONFIG", self.path("config.toml"))
            .env("STATE_DIRECTORY", self.path("state"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Starts the binary.
    pub fn start(&self, arguments: &[&str]) -> Child {
        self.command(arguments).spawn().expect("the binary was built for this test")
    }

    /// Runs the binary to its end.
    pub fn run(&self, arguments: &[&str]) -> Ended {
        ended(self.start(arguments))
    }

    /// Starts the binary and kills it with SIGKILL at the `n`-th request that this server gets: before it is applied, or
    /// after and before the answer. Whether it came that far.
    pub fn kill_at(&self, arguments: &[&str], server: &Server, n: usize, after: bool) -> bool {
        let process = Arc::new(AtomicU32::new(0));
        let kill = {
            let process = Arc::clone(&process);
            move |_: &Request| {
                let id = process.load(Ordering::SeqCst);
                let status = Command::new("kill").args(["-KILL", &id.to_string()]).status();
                assert!(status.is_ok_and(|status| status.success()), "the process under test can be killed");
            }
        };
        let gate = Gate::closed();
        // No request goes on before the process is known.
        server.on(When::any().once(), Effect::Hang(gate.clone()));
        server.on(When::any().nth(n), if after { Effect::after(kill) } else { Effect::before(kill) });
        let mut child = self.start(arguments);
        process.store(child.id(), Ordering::SeqCst);
        gate.open();
        let status = child.wait().expect("the child is ours");
        server.behave();
        status.signal() == Some(9)
    }

    /// `--sync --format json`, with more arguments.
    pub fn sync(&self, more: &[&str]) -> Ended {
        self.run(&[&["--sync", "--format", "json"], more].concat())
    }

    /// `plan --format json`, with more arguments.
    pub fn plan(&self, more: &[&str]) -> Ended {
        self.run(&[&["plan", "--format", "json"], more].concat())
    }
}

/// Writes a file that only its owner may read, as secrets have to be.
pub fn private_file(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(path, text).expect("the folder is ours");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).expect("the file is ours");
}

/// Waits for a started binary.
pub fn ended(child: Child) -> Ended {
    let output = child.wait_with_output().expect("the child is ours");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("the program prints UTF-8");
    Ended { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}
