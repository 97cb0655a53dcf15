//! The daemon, started as a service manager starts it, and what it says to that manager.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use super::program::{Ended, Program, ended};

/// Longer than anything here takes on a slow machine; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running daemon. It is killed when the test ends before it does.
pub struct Service {
    child: Option<Child>,
    manager: UnixDatagram,
    heard: Vec<String>,
}

impl Service {
    /// Starts the daemon and waits until it says that it is ready.
    pub fn start(program: &Program) -> Self {
        Self::start_with(program, |_| {})
    }

    /// The same, with another environment.
    pub fn start_with(program: &Program, change: impl FnOnce(&mut std::process::Command)) -> Self {
        let mut service = Self::begin(program, change);
        service.hear("READY=1");
        service
    }

    /// Starts the daemon and waits for nothing.
    pub fn begin(program: &Program, change: impl FnOnce(&mut std::process::Command)) -> Self {
        let socket = program.path("notify");
        // Left by an earlier service in this folder.
        let _none = std::fs::remove_file(&socket);
        let manager = UnixDatagram::bind(&socket).expect("the folder is ours");
        let mut command = program.command(&[]);
        command.env("NOTIFY_SOCKET", &socket);
        change(&mut command);
        let child = command.spawn().expect("the binary was built for this test");
        Self { child: Some(child), manager, heard: Vec::new() }
    }

    /// Waits for a line of a message to the manager that begins so, and gives all of it. What came before is let go.
    #[track_caller]
    pub fn hear(&mut self, beginning: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            while !self.heard.is_empty() {
                let line = self.heard.remove(0);
                if line.starts_with(beginning) {
                    return line;
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "never heard of `{beginning}`: {}", self.kill().stderr);
            self.receive(left);
        }
    }

    /// Whether a line that begins so is heard within this time.
    pub fn hears(&mut self, beginning: &str, within: Duration) -> bool {
        let deadline = Instant::now() + within;
        loop {
            if let Some(at) = self.heard.iter().position(|line| line.starts_with(beginning)) {
                self.heard.drain(..=at);
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            self.receive(left);
        }
    }

    fn receive(&mut self, within: Duration) {
        let mut message = [0; 4096];
        self.manager.set_read_timeout(Some(within)).expect("a time that is not zero");
        match self.manager.recv(&mut message) {
            Ok(length) => {
                let text = std::str::from_utf8(&message[..length]).expect("messages are text");
                self.heard.extend(text.lines().map(str::to_owned));
            }
            Err(fault) if matches!(fault.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
            Err(fault) => panic!("{fault}"),
        }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// Sends a signal: `TERM`, `HUP`, `USR1`, `KILL`.
    pub fn signal(&self, name: &str) {
        let status = std::process::Command::new("kill").args([&format!("-{name}"), &self.id().to_string()]).status();
        assert!(status.is_ok_and(|status| status.success()), "the daemon can be signalled");
    }

    /// Asks it to stop, and waits for it.
    pub fn stop(mut self) -> Ended {
        self.signal("TERM");
        self.wait()
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> Ended {
        ended(self.child.take().expect("it runs"))
    }

    /// Kills it.
    pub fn kill(&mut self) -> Ended {
        let mut child = self.child.take().expect("it runs");
        child.kill().expect("the child is ours");
        ended(child)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ended = child.kill();
            let _ended = child.wait();
        }
    }
}

/// Waits until this holds.
#[track_caller]
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A repository changes as others change it: by a command that this waits for.
pub fn git(repository: &Path, arguments: &[&str]) {
    let status = std::process::Command::new("git").arg("-C").arg(repository).args(arguments).status();
    assert!(status.is_ok_and(|status| status.success()), "git {arguments:?}");
}
