//! The commands that answer from the ledger alone, and those that only print what the parser knows.

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::gitlab::{FakeGitlab, FakeTag, GitlabWorld, Token};
use support::program::{Program, ended};
use support::repository::SampleRepository;
use support::server::{Effect, Gate, When};

/// Two runs: the first creates three tags, the second moves one and deletes another.
fn two_runs() -> (Program, FakeGitlab, SampleRepository, [String; 2]) {
    let repository = SampleRepository::bare();
    let commits = [repository.commit("one"), repository.commit("two")];
    let gitlab = FakeGitlab::start(GitlabWorld::with_core());
    let program = Program::new();
    program.mirror(repository.path(), &gitlab.url(), "", "");
    for name in ["v1", "v2", "nightly"] {
        repository.tag(name, &commits[0]);
    }
    program.sync(&[]).expect(0);
    repository.tag("v1", &commits[1]);
    repository.delete_tag("nightly");
    program.sync(&[]).expect(0);
    (program, gitlab, repository, commits)
}

fn changes(program: &Program, arguments: &[&str]) -> Vec<Value> {
    let arguments = [&["history", "--format", "json"], arguments].concat();
    program.run(&arguments).expect(0).json()["changes"].as_array().expect("a list").clone()
}

fn told(changes: &[Value]) -> Vec<String> {
    let word = |word: &Value| word.as_str().expect("a word").to_owned();
    let tell = |change: &Value| format!("{} {}", word(&change["action"]), word(&change["tag"]));
    let mut told: Vec<String> = changes.iter().map(tell).collect();
    told.sort();
    told
}

#[test]
fn every_change_is_told_and_can_be_selected() {
    let (program, _gitlab, _repository, [one, two]) = two_runs();
    let all = changes(&program, &[]);
    assert_eq!(told(&all), ["create nightly", "create v1", "create v2", "delete nightly", "move v1"]);
    let moved = all.iter().find(|change| change["action"] == "move").unwrap();
    assert_eq!((&moved["from"], &moved["to"], &moved["outcome"]), (&json!(one), &json!(two), &json!("done")));

    assert_eq!(told(&changes(&program, &["--tag", "v*"])), ["create v1", "create v2", "move v1"]);
    let run = moved["run"].as_str().unwrap();
    assert_eq!(told(&changes(&program, &["--run", run])), ["delete nightly", "move v1"]);
    assert_eq!(changes(&program, &["core", "--since", "1h"]).len(), 5);
    let after = moved["time"].as_str().unwrap();
    assert!(changes(&program, &["--since", after]).len() < 5);
    assert_eq!(changes(&program, &["--since", "2999-01-01"]).len(), 0);
}

#[test]
fn the_text_has_a_block_per_run_and_ends_with_the_newest() {
    let (program, _gitlab, _repository, [one, two]) = two_runs();
    let text = program.run(&["history"]).expect(0).stdout;
    assert_eq!(text.lines().filter(|line| line.starts_with("run ")).count(), 2, "{text}");
    let moved = format!("core: core -> gitlab  ~ v1       {one:.12} -> {two:.12}");
    assert!(text.contains(&moved), "{moved}\n{text}");
    assert!(text.find("+ nightly").unwrap() < text.find("- nightly").unwrap(), "{text}");
}

#[test]
fn questions_that_cannot_be_answered_say_so() {
    let (program, ..) = two_runs();
    let unknown = program.run(&["history", "cor"]).expect(2);
    assert!(unknown.stderr.contains("did you mean `core`?"), "{}", unknown.stderr);
    program.run(&["history", "--run", "x"]).expect(2);
    program.run(&["history", "--since", "yesterday"]).expect(2);
    program.run(&["history", "--tag", "v["]).expect(2);
    // Without a configuration the ledger still answers, where it is named.
    std::fs::remove_file(program.path("config.toml")).unwrap();
    program.run(&["history"]).expect(78);
    let state = program.path("state");
    assert!(program.run(&["history", "--state", state.to_str().unwrap()]).expect(0).stdout.contains("v2"));
}

#[test]
fn looking_makes_nothing_and_needs_no_lock() {
    let (program, gitlab, repository, commits) = two_runs();
    let fresh = Program::new();
    fresh.mirror(repository.path(), &gitlab.url(), "", "");
    let nothing = fresh.run(&["history"]).expect(0);
    assert!(nothing.stdout.is_empty() && nothing.stderr.contains("nothing is remembered"), "{nothing:?}");
    assert!(!fresh.path("state").exists());

    let gate = Gate::closed();
    gitlab.server().on(When::any(), Effect::Hang(gate.clone()));
    repository.tag("v3", &commits[0]);
    gitlab.server().forget();
    let pass = program.start(&["--sync"]);
    assert!(gitlab.server().wait_until(Duration::from_secs(30), |record| record.in_flight == 1));
    assert_eq!(changes(&program, &[]).len(), 5);
    gate.open();
    ended(pass).expect(0);
    assert_eq!(changes(&program, &[]).len(), 6);
}

fn status(program: &Program, code: i32) -> Value {
    program.run(&["status", "--format", "json"]).expect(code).json()["pairs"][0].clone()
}

#[test]
fn status_says_how_the_pair_stands_and_since_when() {
    let (program, gitlab, repository, commits) = two_runs();
    let healthy = status(&program, 0);
    assert_eq!((&healthy["state"], &healthy["lag_seconds"]), (&json!("changed"), &Value::Null));
    assert_eq!(healthy["last_attempt"], healthy["last_success"]);
    assert!(healthy["in_sync_since"].is_string());

    // A name that is held keeps its age from pass to pass.
    gitlab.change(|world| world.project("infra/core").tags.insert("theirs".into(), FakeTag::lightweight(&commits[0])));
    repository.tag("theirs", &commits[1]);
    program.sync(&[]).expect(3);
    let held = status(&program, 3);
    assert_eq!((&held["held"][0]["tag"], &held["counts"]["held"]), (&json!("theirs"), &json!(1)));
    program.sync(&[]).expect(3);
    assert_eq!(status(&program, 3)["held"][0]["since"], held["held"][0]["since"]);
    let text = program.run(&["status"]).expect(3).stdout;
    assert!(
        text.contains("core: core -> gitlab: held") && text.contains("! theirs  held for less than a minute"),
        "{text}"
    );

    // A remote that cannot be read settles nothing: what was held is still shown, and when it last went well.
    gitlab.change(|world| world.tokens.clear());
    program.sync(&[]).expect(1);
    let unknown = status(&program, 1);
    assert_eq!((&unknown["state"], &unknown["held"]), (&json!("unknown"), &held["held"]));
    assert!(unknown["last_success"].as_str() < unknown["last_attempt"].as_str() && unknown["error"].is_string());

    // Settled names leave, and a parked set is named with the command that releases it.
    gitlab.change(|world| world.tokens.insert("secret".into(), Token::of_level(40)));
    repository.delete_tag("theirs");
    for at in 0..8 {
        repository.tag(format!("x{at}"), &commits[0]);
    }
    program.sync(&[]).expect(0);
    assert_eq!(status(&program, 0)["held"], json!([]));
    for at in 0..8 {
        repository.delete_tag(format!("x{at}"));
    }
    let plan = program.sync(&[]).expect(3).remote()["plan"].clone();
    assert_eq!(status(&program, 3)["plan"], plan);
    assert!(
        program.run(&["status"]).expect(3).stdout.contains(&format!("tagsyncd approve {}", plan.as_str().unwrap()))
    );
}

#[test]
fn a_source_that_went_away_does_not_look_healthy() {
    let (program, _gitlab, repository, _commits) = two_runs();
    std::fs::rename(repository.path(), program.path("away")).unwrap();
    let ended = program.sync(&[]).expect(1).json();
    assert_eq!(ended["jobs"][0]["remotes"][0]["state"], "unknown");
    let unknown = status(&program, 1);
    assert!(unknown["error"].as_str().unwrap().contains("No such file"), "{unknown}");
    assert_eq!(unknown["in_sync_since"], Value::Null);
    // So does a whole shelf of repositories.
    let text = std::fs::read_to_string(program.path("config.toml")).unwrap();
    let path = format!("path = \"{}\"", repository.path().display());
    let shelf = format!("paths = [\"{}\"]", program.path("no-such-shelf/*.git").display());
    program.configure(&text.replace(&path, &shelf).replace("infra/core", "infra/{repository}"));
    program.sync(&[]).expect(1);
    assert_eq!(status(&program, 1)["state"], "unknown");
}

#[test]
fn a_pair_that_never_ran_does_not_look_healthy() {
    let (_program, gitlab, repository, _commits) = two_runs();
    let fresh = Program::new();
    fresh.mirror(repository.path(), &gitlab.url(), "", "");
    assert_eq!(fresh.run(&["status"]).expect(1).stdout, "core: core -> gitlab: never ran\n");
    assert!(!fresh.path("state").exists());
    fresh.run(&["status", "cor"]).expect(2);
}

#[test]
fn check_names_every_problem_and_providers_what_they_can() {
    let (program, gitlab, repository, _commits) = two_runs();
    let fine = program.run(&["check"]).expect(0).stdout;
    assert!(fine.starts_with(&format!("core: core -> gitlab ({} infra/core), mirror\n", gitlab.url())), "{fine}");
    let before = gitlab.server().record().total();
    program.run(&["check", "--format", "json"]).expect(0).json();
    assert_eq!(gitlab.server().record().total(), before, "nothing is asked of a remote");

    let text = std::fs::read_to_string(program.path("config.toml")).expect("it is there");
    program.configure(&format!(
        "daemon.timezone = \"Asia/Shanghai\"\ndaemon.schedule = \"@daily\"\n{text}\nschedule = \"@yearly\"\n"
    ));
    let timed = program.run(&["check"]).expect(0).stdout;
    let next = timed.lines().nth(1).expect("a line for the schedule").to_owned();
    assert!(next.starts_with("core: next run 2"), "{timed}");
    assert!(next.ends_with("-01-01T00:00:00+08:00 (@yearly, Asia/Shanghai)"), "{timed}");
    let job = program.run(&["check", "--format", "json"]).expect(0).json()["jobs"][0].clone();
    assert_eq!((&job["schedule"], &job["timezone"]), (&"@yearly".into(), &"Asia/Shanghai".into()));
    assert!(job["next_run"].as_str().expect("a time").ends_with("-01-01T00:00:00+08:00"), "{job}");

    program.configure("[deamon]\n[job.core]\nfrom = \"core\"\nto = []\npolicy = \"miror\"\n");
    let bad = program.run(&["--sync"]).expect(78);
    for part in
        ["config.toml:1:2: unknown key `deamon`", "did you mean `daemon`?", ":3:8:", ":5:10:", "did you mean `mirror`?"]
    {
        assert!(bad.stderr.contains(part), "{part}\n{}", bad.stderr);
    }
    assert!(bad.stdout.is_empty());
    program.run(&["check"]).expect(78);

    let table = program.run(&["providers"]).expect(0).stdout;
    let gitlab = table.lines().find(|line| line.starts_with("gitlab ")).unwrap();
    assert_eq!(gitlab.split_whitespace().take(5).collect::<Vec<_>>(), ["gitlab", "git", "commit", "delete,", "create"]);
    assert_eq!(program.run(&["providers", "--format", "json"]).expect(0).json()[0]["provider"], "gitlab");
    drop(repository);
}

#[test]
fn a_command_line_that_makes_no_sense_is_usage() {
    let program = Program::new();
    for (arguments, hint) in [
        (&["pln"][..], "did you mean `plan`?"),
        (&["--dry-run"], "need `--sync`"),
        (&["--sync", "plan"], "tagsyncd --sync -- plan"),
        (&["--exit-code", "plan"], "`tagsyncd plan --exit-code`"),
        (&["--no-such-option"], "--no-such-option"),
    ] {
        let ended = program.run(arguments).expect(2);
        assert!(ended.stderr.contains(hint) && ended.stdout.is_empty(), "{arguments:?}: {}", ended.stderr);
    }
    assert!(program.run(&["--help"]).expect(0).stdout.contains("Exit codes"));
    program.run(&["plan"]).expect(78);
}

#[test]
fn completions_and_the_manual_come_from_the_parser() {
    let program = Program::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = program.run(&["completions", shell]).expect(0).stdout;
        for word in ["history", "dry-run", "approve"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
    let page = program.run(&["man"]).expect(0).stdout;
    assert!(page.contains(".TH tagsyncd") && page.contains("history"), "{page}");
}

#[test]
fn the_history_can_be_cut_selected_and_pruned() {
    let (program, _gitlab, _repository, _commits) = two_runs();
    let all = changes(&program, &[]);
    // The latest come last, whatever is selected.
    let latest = program.run(&["history", "--limit", "2", "--format", "json"]).expect(0);
    assert_eq!((&latest.json()["changes"], &latest.json()["more"]), (&json!(all[3..]), &json!(true)));
    assert!(latest.stderr.contains("`--limit 0` shows all"), "{}", latest.stderr);
    assert_eq!(changes(&program, &["--limit", "0"]), all);
    for (glob, selected) in [
        ("v*", &["create v1", "create v2", "move v1"][..]),
        ("*1", &["create v1", "move v1"]),
        ("nightly", &["create nightly", "delete nightly"]),
        ("!v*", &["create nightly", "delete nightly"]),
        ("x*", &[]),
    ] {
        assert_eq!(told(&changes(&program, &["--tag", glob])), selected, "{glob}");
        assert_eq!(told(&changes(&program, &["core", "--tag", glob])), selected, "{glob}");
    }
    let newest = changes(&program, &["--tag", "v*", "--limit", "1"]);
    assert_eq!(told(&newest), ["move v1"]);
    let slip = program.run(&["history", "--tag", "nightyl"]).expect(0);
    assert!(slip.stderr.contains("did you mean `nightly`?"), "{}", slip.stderr);
    let run = all[4]["run"].as_str().unwrap();
    assert_eq!(changes(&program, &["--run", &run[..run.len() - 2]]), all[3..]);
    program.run(&["history", "--run", "ffff"]).expect(2);

    // What the guards count with stays; nothing else is that young here.
    for young in ["1h", "2999-01-01"] {
        assert!(program.run(&["history", "--prune-before", young]).expect(2).stderr.contains("24 hours"), "{young}");
    }
    assert_eq!(program.run(&["history", "--prune-before", "48h", "--format", "json"]).expect(0).json()["removed"], 0);
    program.run(&["history", "--prune-before", "48h", "--tag", "v*"]).expect(2);
    assert_eq!(changes(&program, &[]), all);
}
