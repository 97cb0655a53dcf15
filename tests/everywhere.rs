//! One configuration, one repository, four remotes of four kinds.

mod support;

use serde_json::{Value, json};
use support::everywhere::Everywhere;
use support::program::Program;
use support::server::{Effect, Reply, When};

fn world() -> (Everywhere, Program) {
    let world = Everywhere::start();
    let program = Program::new();
    program.configure(&world.configuration(&program.path("token")));
    (world, program)
}

/// What each remote's counts say under these words, in the order of the configuration.
fn counts(report: &Value, words: [&str; 4]) -> Vec<[u64; 4]> {
    let remotes = report["jobs"][0]["remotes"].as_array().expect("a list");
    remotes.iter().map(|remote| words.map(|word| remote["counts"][word].as_u64().expect("a count"))).collect()
}

const WORDS: [&str; 4] = ["create", "in_sync", "waiting", "held"];

#[test]
fn what_was_built_arrives_everywhere_and_what_was_not_waits_until_it_is() {
    let (world, program) = world();
    let first = program.sync(&[]).expect(0).json();
    assert_eq!(counts(&first, WORDS), [[2, 0, 0, 0], [1, 0, 1, 0], [1, 0, 1, 0], [1, 0, 1, 0]]);
    let images = world.registry.tags();
    let sha = |n: usize| format!("sha-{}", &world.commits[n][..12]);
    assert_eq!(images["1.0.0"], images[&sha(0)], "the same manifest under another name");

    // The second pass writes nothing anywhere; what waits still waits, and that is exit code 4 only when asked for.
    let writes = || {
        (
            world.codearts.writes().len(),
            world.vers.writes().len(),
            world.registry.writes().len(),
            world.vercel.registry.writes().len(),
        )
    };
    let written = writes();
    let second = program.sync(&["--exit-code"]).expect(4).json();
    assert_eq!(counts(&second, WORDS), [[0, 2, 0, 0], [0, 1, 1, 0], [0, 1, 1, 0], [0, 1, 1, 0]]);
    assert_eq!(writes(), written);

    world.build_the_second_release();
    let third = program.sync(&[]).expect(0).json();
    assert_eq!(counts(&third, WORDS), [[0, 2, 0, 0], [1, 1, 0, 0], [1, 1, 0, 0], [1, 1, 0, 0]]);
    assert_eq!(world.registry.tags()["1.1.0"], world.registry.tags()[&sha(1)]);
    assert_eq!(world.vercel.registry.tags()["1.1.0"], world.vercel.registry.tags()[&sha(1)]);
    let written = writes();
    let fourth = program.sync(&["--exit-code"]).expect(0).json();
    assert_eq!(counts(&fourth, WORDS), [[0, 2, 0, 0]; 4]);
    assert_eq!(writes(), written);

    // What the source drops goes where a single tag can go; where none can, it is held and says why.
    world.repository.delete_tag("v1.1.0");
    let last = program.sync(&[]).expect(3).json();
    assert_eq!(
        counts(&last, ["delete", "in_sync", "waiting", "held"]),
        [[1, 1, 0, 0], [1, 1, 0, 0], [0, 1, 0, 1], [0, 1, 0, 1]]
    );
    let remotes = &last["jobs"][0]["remotes"];
    for at in [2, 3] {
        assert_eq!(remotes[at]["held"][0]["verdict"], "cannot_be_expressed", "{}", remotes[at]);
    }
}

#[test]
fn a_remote_that_fails_costs_the_others_nothing() {
    let (world, program) = world();
    world.vers.server().on(When::any(), Effect::Answer(Reply::unavailable()));
    world.registry.server().on(When::any(), Effect::Answer(Reply::html(200)));
    let report = program.sync(&[]).expect(1).json();
    let remotes = report["jobs"][0]["remotes"].as_array().unwrap();
    let states: Vec<&Value> = remotes.iter().map(|remote| &remote["state"]).collect();
    assert_eq!(states, [&json!("changed"), &json!("unknown"), &json!("waiting"), &json!("unknown")]);
    world.vers.server().behave();
    world.registry.server().behave();
    let report = program.sync(&[]).expect(0).json();
    assert_eq!(counts(&report, WORDS), [[0, 2, 0, 0], [1, 0, 1, 0], [0, 1, 1, 0], [1, 0, 1, 0]]);
}

#[test]
fn explain_tells_each_kind_of_target_and_what_only_the_remote_knows() {
    let (_world, program) = world();
    program.sync(&[]).expect(0);
    let answer = program.run(&["explain", "core", "v1.1.0", "--format", "json"]).expect(0).json();
    let pairs = answer["pairs"].as_array().unwrap();
    let verdicts: Vec<&Value> = pairs.iter().map(|pair| &pair["verdict"]).collect();
    assert_eq!(verdicts, [&json!("in_sync"), &json!("waiting"), &json!("waiting"), &json!("waiting")]);
    let answer = program.run(&["explain", "core", "v1.0.0", "--format", "json", "--remote", "vercel"]).expect(0).json();
    let facts = answer["pairs"][0]["facts"].to_string();
    assert!(
        facts.contains("linux/amd64, status ready")
            && answer["pairs"][0]["there"]["value"].as_str().unwrap().starts_with("sha256:"),
        "{answer}"
    );
}
