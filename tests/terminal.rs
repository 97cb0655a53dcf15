//! What a person sees on a terminal, and that nobody else ever gets a byte of it.

mod support;

use std::fs::File;
use std::io::Read as _;
use std::num::NonZero;
use std::process::{Child, Command};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use support::gitlab::{FakeGitlab, GitlabWorld};
use support::program::{Ended, Program};
use support::repository::SampleRepository;
use support::server::{Effect, Gate, Reply, When};

const LINES: NonZero<u16> = NonZero::new(40).expect("it is not zero");
const COLUMNS: NonZero<u16> = NonZero::new(240).expect("it is not zero");

/// Longer than anything takes on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a listing takes where progress would be seen if there was any.
const SEVERAL_DRAWINGS: Duration = Duration::from_millis(400);

/// A program on a pseudo terminal, and what it has shown there so far.
struct Session {
    child: Child,
    shown: Arc<Shown>,
    reader: JoinHandle<()>,
}

#[derive(Default)]
struct Shown {
    terminal: Mutex<Terminal>,
    changed: Condvar,
}

struct Terminal {
    /// Everything that was ever written.
    bytes: Vec<u8>,
    /// What of it is to be seen.
    screen: vt100::Parser,
    /// Whether it is to go away.
    closing: bool,
}

impl Default for Terminal {
    fn default() -> Self {
        Self { bytes: Vec::new(), screen: vt100::Parser::new(LINES, COLUMNS, 0), closing: false }
    }
}

impl Shown {
    fn terminal(&self) -> MutexGuard<'_, Terminal> {
        self.terminal.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a session left behind.
struct Left {
    /// The exit code, and standard output where that was not the terminal, too.
    ended: Ended,
    /// Everything that was ever written to the terminal.
    written: String,
    /// What is to be seen at the end.
    screen: String,
}

impl Left {
    /// Fails the test with everything that was shown, unless the exit code is as expected.
    #[track_caller]
    fn expect(self, code: i32) -> Self {
        assert_eq!(self.ended.code, Some(code), "\n{}\n{}", self.ended.stdout, self.screen);
        self
    }
}

/// Starts a program with its standard error, and its standard output unless `piped`, on a terminal.
fn start(command: Command, piped: bool) -> Session {
    start_with(command, piped, COLUMNS)
}

fn start_with(mut command: Command, piped: bool, columns: NonZero<u16>) -> Session {
    let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("the system has pseudo terminals");
    grantpt(&controller).expect("the terminal is ours");
    unlockpt(&controller).expect("the terminal is ours");
    let name = ptsname(&controller, Vec::new()).expect("a terminal has a name");
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let terminal = rustix::fs::open(name, flags, Mode::empty()).expect("the terminal is ours");
    tcsetwinsize(&terminal, Winsize { ws_row: LINES.get(), ws_col: columns.get(), ws_xpixel: 0, ws_ypixel: 0 })
        .expect("a pseudo terminal has any size");
    if !piped {
        command.stdout(terminal.try_clone().expect("a descriptor is free"));
    }
    let child = command.stderr(terminal).spawn().expect("the binary was built for this test");
    // It holds this side of the terminal; the end is seen once nobody does any more.
    drop(command);
    let shown = Arc::new(Shown::default());
    shown.terminal().screen = vt100::Parser::new(LINES, columns, 0);
    let reader = {
        let (shown, mut controller) = (Arc::clone(&shown), File::from(controller));
        std::thread::spawn(move || {
            let mut chunk = [0; 4096];
            // The end is an error on Linux and an empty read elsewhere.
            while let Ok(length @ 1..) = controller.read(&mut chunk) {
                let mut terminal = shown.terminal();
                terminal.bytes.extend_from_slice(&chunk[..length]);
                terminal.screen.process(&chunk[..length]);
                shown.changed.notify_all();
                if terminal.closing {
                    break;
                }
            }
        })
    };
    Session { child, shown, reader }
}

impl Session {
    /// Waits until this is to be seen.
    #[track_caller]
    fn wait_for(&self, text: &str) {
        self.wait_until(text, |screen| screen.contents().contains(text));
    }

    /// Waits until the screen is like that.
    #[track_caller]
    fn wait_until(&self, what: &str, shown: impl Fn(&vt100::Screen) -> bool) {
        let terminal = self.shown.terminal();
        let unseen = |terminal: &mut Terminal| !shown(terminal.screen.screen());
        let waited = self.shown.changed.wait_timeout_while(terminal, PATIENCE, unseen);
        let (terminal, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        assert!(!waited.timed_out(), "`{what}` was never to be seen:\n{}", terminal.screen.screen().contents());
    }

    fn signal(&self, signal: Signal) {
        let process = Pid::from_child(&self.child);
        kill_process(process, signal).expect("the child is ours and was not waited for");
    }

    /// Closes the terminal as soon as something is drawn again, and waits for the end.
    fn hang_up(self, then: impl FnOnce()) -> Ended {
        self.shown.terminal().closing = true;
        self.reader.join().expect("reading a terminal does not panic");
        then();
        support::program::ended(self.child)
    }

    fn end(self) -> Left {
        let output = self.child.wait_with_output().expect("the child is ours");
        self.reader.join().expect("reading a terminal does not panic");
        let terminal = self.shown.terminal();
        let stdout = String::from_utf8(output.stdout).expect("the program prints UTF-8");
        Left {
            ended: Ended { code: output.status.code(), stdout, stderr: String::new() },
            written: String::from_utf8_lossy(&terminal.bytes).into_owned(),
            screen: terminal.screen.screen().contents(),
        }
    }
}

/// A repository with this many tags, and a remote that has none of them.
fn world(tags: usize) -> (Program, FakeGitlab, SampleRepository) {
    let repository = SampleRepository::bare();
    repository.create_tags(tags, 1);
    let gitlab = FakeGitlab::start(GitlabWorld::with_core());
    let program = Program::new();
    program.mirror(repository.path(), &gitlab.url(), "", "");
    (program, gitlab, repository)
}

fn run(program: &Program, arguments: &[&str], environment: &[(&str, &str)]) -> Ended {
    let mut command = program.command(arguments);
    command.envs(environment.iter().copied());
    support::program::ended(command.spawn().expect("the binary was built for this test"))
}

fn on_terminal(program: &Program, arguments: &[&str], environment: &[(&str, &str)], piped: bool) -> Session {
    let mut command = program.command(arguments);
    command.env("TERM", "xterm-256color").envs(environment.iter().copied());
    start(command, piped)
}

/// The sequences that change how text looks, without those that end it: `1`, `31`, …
fn styles(text: &str) -> Vec<&str> {
    let begins = text.split("\x1b[").skip(1);
    let sequences = begins.filter_map(|rest| {
        rest.split_once(|c: char| !c.is_ascii_digit() && c != ';').map(|(parameters, _)| (parameters, rest))
    });
    sequences
        .filter(|(parameters, rest)| rest[parameters.len()..].starts_with('m') && !matches!(*parameters, "" | "0"))
        .map(|(parameters, _)| parameters)
        .collect()
}

/// The text without any style.
fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

#[test]
fn a_pipe_gets_no_escape_byte_whatever_the_terminal_is_called() {
    let (program, gitlab, _repository) = world(300);
    gitlab.server().on(When::method("GET").path_end("/repository/tags"), Effect::Delay(SEVERAL_DRAWINGS));
    let environment = [("TERM", "xterm-256color"), ("COLORTERM", "truecolor"), ("CLICOLOR", "1"), ("CI", "true")];
    for (arguments, code) in [
        (&["plan", "--exit-code"][..], 4),
        (&["--sync", "-v"], 0),
        (&["--sync", "--color", "auto", "-v"], 0),
        (&["status"], 0),
        (&["history"], 0),
        (&["--sync", "no-such-job"], 2),
        (&["--help"], 0),
        (&["--no-such-option"], 2),
    ] {
        let ended = run(&program, arguments, &environment).expect(code);
        assert!(!ended.stdout.contains('\x1b') && !ended.stderr.contains('\x1b'), "{arguments:?}: {ended:?}");
    }
}

#[test]
fn colour_comes_where_it_is_asked_for_and_changes_no_text() {
    let (program, _gitlab, _repository) = world(3);
    let always = run(&program, &["plan", "--color", "always"], &[("NO_COLOR", "1")]).expect(0);
    assert!(always.stdout.contains("\n  \x1b[32m+\x1b[0m t-000000  "), "{}", always.stdout);
    assert_eq!(plain(&always.stdout), run(&program, &["plan"], &[]).expect(0).stdout);
    // Whoever cannot say it on the command line says it to all programs.
    let forced = run(&program, &["plan"], &[("CLICOLOR_FORCE", "1")]).expect(0);
    assert_eq!(forced.stdout, always.stdout);
    let never = run(&program, &["plan", "--color=never"], &[("CLICOLOR_FORCE", "1")]).expect(0);
    assert_eq!(never.stdout, plain(&always.stdout));

    // The other texts, and what goes to standard error.
    program.sync(&[]).expect(0);
    for arguments in [&["status"][..], &["history"]] {
        let styled = run(&program, &[arguments, &["--color", "always"]].concat(), &[]).expect(0).stdout;
        assert!(!styles(&styled).is_empty(), "{styled}");
        assert_eq!(plain(&styled).lines().count(), run(&program, arguments, &[]).expect(0).stdout.lines().count());
    }
    let failed = run(&program, &["--sync", "cor", "--color", "always"], &[]).expect(2).stderr;
    assert!(failed.contains("\x1b[1m\x1b[31mtagsyncd:\x1b[0m ") && failed.contains("\x1b[2mhint:\x1b[0m "), "{failed}");
    // The parser's own words follow, also those about a line that it could not read.
    for arguments in [&["--color", "always", "--help"][..], &["--color=always", "--no-such-option"]] {
        let ended = run(&program, arguments, &[]);
        assert!(!styles(&ended.stdout).is_empty() || !styles(&ended.stderr).is_empty(), "{ended:?}");
    }
    // JSON is for programs.
    let json = run(&program, &["plan", "--format", "json", "--color", "always"], &[]).expect(0);
    assert_eq!(json.json()["jobs"][0]["remotes"][0]["state"], "in_sync");
    assert!(!json.stdout.contains('\x1b'));
}

#[test]
fn nobody_else_can_style_a_text() {
    let (program, gitlab, _repository) = world(1);
    let refusal = Reply::json(403, &serde_json::json!({ "message": "\u{1b}[7mgo away\u{9b}7m" }));
    gitlab.server().on(When::method("POST"), Effect::Answer(refusal));
    let ended = run(&program, &["--sync", "-v", "--color", "always"], &[]);
    assert!(ended.stdout.contains(r"\u{1b}[7mgo away\u{9b}7m"), "{ended:?}");
    assert!(!styles(&ended.stdout).contains(&"7") && !styles(&ended.stderr).contains(&"7"), "{ended:?}");
    for text in
        [run(&program, &["history", "--color", "always"], &[]), run(&program, &["status", "--color", "always"], &[])]
    {
        assert!(!styles(&text.stdout).contains(&"7"), "{text:?}");
    }
}

#[test]
fn a_terminal_has_colour_unless_it_is_refused() {
    let (program, _gitlab, _repository) = world(2);
    let on_terminal =
        |arguments: &[&str], environment: &[(&str, &str)]| on_terminal(&program, arguments, environment, false).end();
    let coloured = on_terminal(&["plan"], &[]).expect(0);
    assert!(styles(&coloured.written).contains(&"32"), "{}", coloured.written);
    assert!(coloured.screen.starts_with("core: core -> gitlab ("), "{}", coloured.screen);
    // Set and empty is not set.
    assert!(!styles(&on_terminal(&["plan"], &[("NO_COLOR", "")]).expect(0).written).is_empty());
    for (arguments, environment) in [
        (&["plan"][..], [("NO_COLOR", "1")]),
        (&["plan"], [("TERM", "dumb")]),
        (&["plan"], [("CLICOLOR", "0")]),
        (&["plan", "--color", "never"], [("CLICOLOR_FORCE", "1")]),
        (&["--help"], [("NO_COLOR", "1")]),
        (&["--color", "never", "--help"], [("CLICOLOR_FORCE", "1")]),
    ] {
        let left = on_terminal(arguments, &environment).expect(0);
        assert_eq!(styles(&left.written), Vec::<&str>::new(), "{arguments:?} {environment:?}");
    }
}

#[test]
fn each_stream_is_decided_by_itself() {
    let (program, gitlab, _repository) = world(2);
    gitlab.change(|world| world.tokens.clear());
    // The pass warns on the terminal and reports to the pipe.
    let left = on_terminal(&program, &["plan"], &[], true).end().expect(1);
    assert!(
        left.ended.stdout.contains("\n  unknown: ") && !left.ended.stdout.contains('\x1b'),
        "{}",
        left.ended.stdout
    );
    assert!(!styles(&left.written).is_empty() && left.screen.contains("WARN"), "{}", left.screen);
}

/// A fake whose listing waits at the gate.
fn held_listing(gitlab: &FakeGitlab) -> Gate {
    let gate = Gate::closed();
    gitlab.server().on(When::method("GET").path_end("/repository/tags"), Effect::Hang(gate.clone()));
    gate
}

#[test]
fn progress_is_shown_while_a_listing_takes_its_time_and_is_gone_at_the_end() {
    let (program, gitlab, _repository) = world(3);
    let gate = held_listing(&gitlab);
    let session = on_terminal(&program, &["plan"], &[("NO_COLOR", "1")], false);
    session.wait_for("  core: core -> gitlab  looking at the remote, ");
    session.wait_for(" 0 of 1 done");
    gate.open();
    let left = session.end().expect(0);
    // What remains is the report and nothing else.
    assert_eq!(left.screen.trim_end(), run(&program, &["plan"], &[]).expect(0).stdout.trim_end());
    // Lines are drawn anew, and that needs no colour.
    assert!(left.written.contains('\x1b') && styles(&left.written).is_empty(), "{:?}", left.written);
}

#[test]
fn many_pairs_share_a_few_lines() {
    let (program, gitlab, repository) = world(1);
    let token = program.path("token");
    let (url, token, path) = (gitlab.url(), token.display(), repository.path().display());
    let remotes: String = (0..12)
        .map(|at| {
            format!(
                "[remote.copy{at}]\nprovider = \"gitlab\"\nurl = \"{url}\"\nproject = \"infra/core\"\n\
                 token = {{ file = \"{token}\" }}\nadd_prefix = \"{at}-\"\n"
            )
        })
        .collect();
    let names: Vec<String> = (0..12).map(|at| format!("\"copy{at}\"")).collect();
    program.configure(&format!(
        "[repository.core]\npath = \"{path}\"\n{remotes}\n\
         [job.core]\nfrom = \"core\"\nto = [{}]\npolicy = \"mirror\"\n",
        names.join(", ")
    ));
    let gate = held_listing(&gitlab);
    let session = on_terminal(&program, &["plan", "--format", "json"], &[], true);
    session.wait_for(" 0 of 12 done, 4 more under way");
    session.wait_for("copy7  looking at the remote");
    session.wait_until("eight pairs and the total", |screen| {
        screen.rows(0, COLUMNS.get()).filter(|row| !row.trim().is_empty()).count() == 9
    });
    gate.open();
    assert_eq!(session.end().expect(0).screen.trim(), "");
}

#[test]
fn applying_shows_how_much_is_done_and_logs_do_not_tear_it() {
    let (program, gitlab, _repository) = world(40);
    let gate = Gate::closed();
    gitlab.server().on(When::method("POST").after(30), Effect::Hang(gate.clone()));
    let session = on_terminal(&program, &["--sync", "-v", "--format", "json"], &[("NO_COLOR", "1")], true);
    session.wait_for(" 30/40 ");
    gate.open();
    let left = session.end().expect(0);
    assert_eq!(left.ended.remote()["counts"]["create"], 40);
    // One line per write, each whole, and nothing in between or after.
    let lines: Vec<&str> = left.screen.lines().filter(|line| !line.is_empty()).collect();
    assert!(lines.iter().all(|line| line.contains("Wrote a tag.") && line.contains("job=core")), "{}", left.screen);
    assert!(lines.len() >= 38, "{}", left.screen);
}

#[test]
fn a_narrow_terminal_gets_less_of_each_line_and_no_more_lines() {
    const NARROW: NonZero<u16> = NonZero::new(20).expect("it is not zero");
    let (program, gitlab, _repository) = world(40);
    let gate = Gate::closed();
    gitlab.server().on(When::method("POST").after(8), Effect::Hang(gate.clone()));
    let mut command = program.command(&["--sync", "--format", "json"]);
    command.env("TERM", "xterm-256color");
    let session = start_with(command, true, NARROW);
    session.wait_for("[====>");
    // Drawn again and again, they stay where they are.
    std::thread::sleep(SEVERAL_DRAWINGS);
    session.wait_until("one pair and the total", |screen| {
        screen.rows(0, NARROW.get()).filter(|row| !row.trim().is_empty()).count() == 2
    });
    gate.open();
    assert_eq!(session.end().expect(0).screen.trim(), "");
}

#[test]
fn json_on_a_terminal_is_json() {
    let (program, gitlab, _repository) = world(3);
    let gate = held_listing(&gitlab);
    let session = on_terminal(&program, &["plan", "--format", "json"], &[], true);
    session.wait_for("looking at the remote");
    gate.open();
    let left = session.end().expect(0);
    assert_eq!(left.ended.remote()["state"], "pending");
    assert_eq!((left.screen.trim(), left.ended.stdout.contains('\x1b')), ("", false));

    // Also where both streams are one terminal.
    let gate = held_listing(&gitlab);
    let session = on_terminal(&program, &["plan", "--format", "json"], &[], false);
    session.wait_for("looking at the remote");
    gate.open();
    let left = session.end().expect(0);
    let json: serde_json::Value = serde_json::from_str(left.screen.trim()).unwrap();
    assert_eq!(json["jobs"][0]["remotes"][0]["state"], "pending");
}

#[test]
fn nothing_is_drawn_where_it_is_not_wanted() {
    let (program, gitlab, _repository) = world(3);
    gitlab.server().on(When::method("GET").path_end("/repository/tags"), Effect::Delay(SEVERAL_DRAWINGS));
    for (arguments, environment) in [(&["plan", "--quiet"][..], [("NO_COLOR", "1")]), (&["plan"], [("TERM", "dumb")])] {
        let left = on_terminal(&program, arguments, &environment, false).end().expect(0);
        assert!(!left.written.contains('\x1b'), "{arguments:?}: {:?}", left.written);
    }
}

#[test]
fn nothing_remains_after_errors_and_signals() {
    let (program, gitlab, _repository) = world(3);
    let gate = held_listing(&gitlab);
    // One signal ends the pass in good order.
    let session = on_terminal(&program, &["--sync"], &[], false);
    session.wait_for("looking at the remote");
    session.signal(Signal::TERM);
    let left = session.end().expect(1);
    assert!(left.screen.contains("Stopping after") && left.screen.contains("the pass was stopped"), "{}", left.screen);
    assert!(!left.screen.contains("of 1 done") && !left.screen.contains("looking at"), "{}", left.screen);
    gate.open();

    // A second one leaves at once; a write under way is what keeps the first from having an end.
    let gate = Gate::closed();
    gitlab.server().on(When::method("POST"), Effect::Hang(gate.clone()));
    let session = on_terminal(&program, &["--sync"], &[], false);
    session.wait_for(" 0/3 ");
    session.signal(Signal::INT);
    session.wait_for("Stopping after");
    session.wait_for(" 0/3 ");
    session.signal(Signal::INT);
    let left = session.end().expect(1);
    assert_eq!(left.screen.trim_end().lines().count(), 1, "{}", left.screen);
    gate.open();

    // A remote that refuses everything is an error like any other.
    gitlab.change(|world| world.tokens.clear());
    let left = on_terminal(&program, &["--sync"], &[], false).end().expect(1);
    assert!(!left.screen.contains("of 1 done") && left.screen.contains("unknown:"), "{}", left.screen);
}

#[test]
fn a_pass_outlives_whoever_looked_at_it() {
    let (program, gitlab, _repository) = world(40);
    let gate = Gate::closed();
    gitlab.server().on(When::method("POST").after(8), Effect::Hang(gate.clone()));
    let session = on_terminal(&program, &["--sync", "-v", "--format", "json"], &[], true);
    session.wait_for(" 8/40 ");
    let ended = session.hang_up(|| gate.open()).expect(0);
    assert_eq!(ended.remote()["counts"]["create"], 40);

    // The same with a log that nobody reads any more.
    let (program, _gitlab, _repository) = world(40);
    let mut child = program.start(&["--sync", "-v", "--format", "json"]);
    drop(child.stderr.take());
    assert_eq!(support::program::ended(child).expect(0).remote()["counts"]["create"], 40);
}
