//! The log through the binary: its forms, what one-shots say, and that nothing somebody else chose gets through raw.

mod support;

use serde_json::Value;
use support::program::{Ended, TOKEN, ended};
use support::server::{Effect, Reply, When};
use support::world::World;

/// Legal in git, and made to confuse a terminal: a C1 escape, a bidirectional override, an invisible space.
const HOSTILE: &str = "v1\u{9b}31m\u{202e}\u{200b}";

/// The same, as names are always shown.
const SHOWN: &str = r"v1\u{9b}31m\u{202e}\u{200b}";

/// What a server may answer, and must not get through to a terminal or a line of its own.
const ANSWER: &str = "no\n2026-01-01T00:00:00Z ERROR forged\u{1b}[2J\r";

fn world() -> World {
    let world = World::new("", "");
    world.tag(HOSTILE, 0);
    world
}

fn assert_plain(ended: &Ended) {
    let steers = |letter: &char| (letter.is_control() && *letter != '\n') || "\u{202e}\u{200b}".contains(*letter);
    let found: Vec<char> = ended.stderr.chars().filter(steers).collect();
    assert!(found.is_empty(), "{found:?} in {:?}", ended.stderr);
    assert!(!ended.stderr.contains(TOKEN), "{}", ended.stderr);
}

/// The lines of a log in JSON.
fn objects(ended: &Ended) -> Vec<Value> {
    let parse = |line| serde_json::from_str(line).unwrap_or_else(|fault| panic!("{fault}: {line}"));
    ended.stderr.lines().map(parse).collect()
}

#[test]
fn a_pass_in_order_says_nothing_unless_it_is_asked() {
    let world = world();
    assert_eq!(world.program.sync(&[]).expect(0).stderr, "");
    // By the option and by the filter; the filter wins.
    world.tag("v2", 0);
    assert!(world.program.sync(&["-v"]).expect(0).stderr.contains("Wrote a tag."));
    world.tag("v3", 0);
    let child = world.program.command(&["--sync", "-v"]).env("TAGSYNCD_LOG", "off").spawn().unwrap();
    assert_eq!(ended(child).expect(0).stderr, "");
    // One that cannot be read is no reason to say nothing.
    let child = world.program.command(&["--sync"]).env("TAGSYNCD_LOG", "tagsyncd=much").spawn().unwrap();
    assert!(ended(child).expect(0).stderr.contains("TAGSYNCD_LOG is no filter"));
}

#[test]
fn people_read_a_line_per_write() {
    let world = world();
    let ended = world.program.sync(&["-v"]).expect(0);
    assert_plain(&ended);
    let [write] = &ended.stderr.lines().collect::<Vec<_>>()[..] else { panic!("{}", ended.stderr) };
    let id = ended.json()["run"].as_str().unwrap().to_owned();
    let line = format!(
        "Z  INFO Wrote a tag. tag={SHOWN} action=create outcome=done run={id} job=core repository=core remote=gitlab"
    );
    assert!(write.ends_with(&line), "{write}");
}

#[test]
fn programs_read_one_object_per_line() {
    let world = world();
    let first = world.program.sync(&["-v", "--log-format", "json"]).expect(0);
    assert_plain(&first);
    let [write] = &objects(&first)[..] else { panic!("{}", first.stderr) };
    for (name, value) in [
        ("level", "info"),
        ("message", "Wrote a tag."),
        ("tag", SHOWN),
        ("job", "core"),
        ("repository", "core"),
        ("remote", "gitlab"),
        ("outcome", "done"),
    ] {
        assert_eq!(write[name], value, "{write}");
    }
    assert_eq!(write["run"], first.json()["run"]);
    // The environment asks as well, as a unit would.
    world.tag("v2", 0);
    let child = world.program.command(&["--sync", "-v"]).env("TAGSYNCD_LOG_FORMAT", "json").spawn().unwrap();
    assert_eq!(objects(&ended(child).expect(0))[0]["tag"], "v2");
}

#[test]
fn a_servers_words_stay_inside_their_line() {
    for form in ["human", "json"] {
        let world = world();
        let refusal = serde_json::json!({ "message": ANSWER });
        world.gitlab.server().on(When::method("GET"), Effect::Answer(Reply::json(403, &refusal)));
        let ended = world.program.sync(&["-vv", "--log-format", form]).expect(1);
        assert_plain(&ended);
        assert!(ended.stderr.contains("forged"), "{}", ended.stderr);
        for line in ended.stderr.lines() {
            assert!(if form == "json" { line.starts_with('{') } else { !line.starts_with("2026-01-01") }, "{line}");
        }
    }
}

#[test]
fn a_journal_is_believed_only_where_standard_error_is_its_stream() {
    // Inherited from some service, while standard error is a pipe by now.
    let world = world();
    let child = world.program.command(&["--sync", "-v"]).env("JOURNAL_STREAM", "9:4711").spawn().unwrap();
    assert!(ended(child).expect(0).stderr.contains(" INFO Wrote a tag. tag="));
}
