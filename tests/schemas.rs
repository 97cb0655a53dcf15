//! The JSON Schemas in `docs/schema`: that they are what the types give, and that what the program reads and prints is
//! valid by them.

mod support;

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use jsonschema::Validator;
use serde_json::{Value, json};
use support::gitlab::{Commits, FakeGitlab, FakeTag, GitlabWorld};
use support::program::{Ended, Program};
use support::repository::SampleRepository;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/schema")
}

fn stored(name: &str) -> Value {
    let text = std::fs::read_to_string(folder().join(format!("{name}.json"))).expect("there is a file for each name");
    serde_json::from_str(&text).expect("a schema is JSON")
}

fn validator(schema: &Value) -> Validator {
    let options = jsonschema::options().should_validate_formats(true);
    options.build(schema).expect("a schema is valid by the schema of schemas")
}

/// The schema with every object closed. What is published is open, because fields may be added to results.
fn closed(mut schema: Value) -> Value {
    match &mut schema {
        Value::Object(entries) => {
            entries.values_mut().for_each(|entry| *entry = closed(entry.take()));
            if entries.get("properties").is_some_and(Value::is_object) {
                entries.entry("additionalProperties").or_insert(json!(false));
            }
        }
        Value::Array(elements) => elements.iter_mut().for_each(|element| *element = closed(element.take())),
        _ => {}
    }
    schema
}

/// What a command printed, if it is what the schema of this name says, and nothing beyond it.
#[track_caller]
fn valid(name: &str, ended: &Ended) -> Value {
    let printed = ended.json();
    let validator = validator(&closed(stored(name)));
    let faults: Vec<String> =
        validator.iter_errors(&printed).map(|fault| format!("{}: {fault}", fault.instance_path())).collect();
    assert!(faults.is_empty(), "{name}: {faults:#?}\n{printed:#}");
    printed
}

#[test]
fn the_files_are_what_the_types_give() {
    let renew = std::env::var_os("TAGSYNCD_RENEW").is_some();
    let mut names = Vec::new();
    for (name, schema) in tagsyncd::cli::schemas() {
        let made = serde_json::to_string_pretty(&schema).unwrap() + "\n";
        let file = folder().join(format!("{name}.json"));
        if renew {
            std::fs::write(&file, &made).unwrap();
        }
        let stored = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(
            stored == made,
            "{} is not what the types give; renew with `TAGSYNCD_RENEW=1 cargo test --test schemas`, and look at the difference",
            file.display()
        );
        names.push(file);
    }
    let mut stored: Vec<PathBuf> = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    stored.sort();
    names.sort();
    assert_eq!(stored, names, "every file has its types");
}

/// A world in which a pass creates, holds and waits.
fn troubled() -> (Program, FakeGitlab, SampleRepository, [String; 2]) {
    let repository = SampleRepository::bare();
    let commits = [repository.commit("one"), repository.commit("two")];
    let mut world = GitlabWorld::with_core();
    let project = world.project("infra/core");
    project.commits = Commits::Known([commits[0].clone()].into());
    project.tags.insert("theirs".into(), FakeTag::lightweight(&"7".repeat(40)));
    project.tags.insert("equal".into(), FakeTag::lightweight(&commits[0]));
    project.tags.insert("alone".into(), FakeTag::lightweight(&commits[0]));
    let gitlab = FakeGitlab::start(world);
    for at in 0..8 {
        repository.tag(format!("x{at}"), &commits[0]);
    }
    repository.annotate("v1", &commits[0], "First");
    for name in ["theirs", "equal"] {
        repository.tag(name, &commits[0]);
    }
    repository.tag("early", &commits[1]);
    repository.tag(std::ffi::OsStr::from_bytes(b"caf\xe9"), &commits[0]);
    let program = Program::new();
    program.mirror(repository.path(), &gitlab.url(), "", r#"annotations = "message""#);
    (program, gitlab, repository, commits)
}

fn json_of(program: &Program, arguments: &[&str]) -> Ended {
    program.run(&[arguments, &["--format", "json"]].concat())
}

#[test]
fn what_a_pass_prints_is_valid() {
    let (program, gitlab, repository, _commits) = troubled();
    let planned = valid("sync", &program.plan(&["-v"]).expect(3));
    let remote = &planned["jobs"][0]["remotes"][0];
    assert!(remote["changes"][0]["outcome"].is_null() && remote["quiet"]["adopt"] == json!(["equal"]), "{remote}");
    let done = valid("sync", &program.sync(&[]).expect(3));
    let remote = &done["jobs"][0]["remotes"][0];
    assert_eq!(remote["counts"]["create"], 9, "{remote}");
    assert!(remote["waiting"][0]["tag"] == "early" && remote["changes"][0]["outcome"] == "done", "{remote}");
    let held: Vec<_> = remote["held"].as_array().unwrap().iter().map(|held| held["tag"].as_str().unwrap()).collect();
    assert_eq!(held, ["caf\\xe9", "theirs"]);
    assert!(
        remote["changes"]
            .as_array()
            .unwrap()
            .iter()
            .any(|change| { change["tag"] == "v1" && change["to"].as_str().unwrap().contains(" annotated:") })
    );

    // A set that stops, is decided about, and a run that is undone.
    (0..8).for_each(|at| repository.delete_tag(format!("x{at}")));
    let stopped = valid("sync", &program.sync(&[]).expect(3));
    let plan = stopped["jobs"][0]["remotes"][0]["plans"][0]["plan"].as_str().unwrap().to_owned();
    for command in ["dismiss", "approve"] {
        let decided = valid("decision", &json_of(&program, &[command, &plan]).expect(0));
        assert_eq!(decided["changes"].as_array().unwrap().len(), 8);
        let status = valid("status", &json_of(&program, &["status"]).expect(3));
        assert!(status["pairs"][0]["plans"][0]["decision"].is_string(), "{status}");
    }
    let released = valid("sync", &program.sync(&[]).expect(3));
    assert_eq!(released["jobs"][0]["remotes"][0]["released"], json!([plan]));
    let run = released["run"].as_str().unwrap();
    valid("sync", &json_of(&program, &["undo", run, "--dry-run"]).expect(0));
    valid("sync", &json_of(&program, &["undo", run]).expect(0));
    let undone = valid("sync", &program.sync(&[]).expect(3));
    assert_eq!(undone["jobs"][0]["remotes"][0]["plans"][0]["by"], "undo");

    // And sides that cannot be read.
    gitlab.change(|world| world.tokens.clear());
    assert!(valid("sync", &program.sync(&[]).expect(1))["jobs"][0]["remotes"][0]["error"].is_string());
    std::fs::rename(repository.path(), program.path("away")).unwrap();
    assert!(valid("sync", &program.sync(&[]).expect(1))["jobs"][0]["error"].is_string());
}

#[test]
fn answers_are_valid() {
    let (program, gitlab, repository, _commits) = troubled();
    assert_eq!(valid("status", &json_of(&program, &["status"]).expect(1))["pairs"][0]["state"], "never");
    assert_eq!(valid("history", &json_of(&program, &["history"]).expect(0))["changes"], json!([]));
    assert!(valid("check", &json_of(&program, &["check"]).expect(0))["online"].is_null());
    let online = valid("check", &json_of(&program, &["check", "--online"]).expect(0));
    assert_eq!(online["online"]["pairs"][0]["findings"].as_array().unwrap().len(), 8);
    assert_eq!(valid("providers", &json_of(&program, &["providers"]).expect(0))[0]["provider"], "gitlab");

    let mut verdicts = BTreeSet::new();
    let mut ask = |tag: &str, more: &[&str], code| {
        let answer = valid("explain", &json_of(&program, &[&["explain", "core", tag], more].concat()).expect(code));
        verdicts.insert(answer["pairs"][0]["verdict"].as_str().unwrap().to_owned());
    };
    for tag in ["v1", "equal", "theirs", "alone", "early"] {
        ask(tag, &[], 0);
    }
    ask("v1", &["--offline"], 0);
    program.sync(&[]).expect(3);
    ask("v1", &[], 0);
    ask("theirs", &["--offline"], 0);
    repository.delete_tag("v1");
    ask("v1", &[], 0);
    program.sync(&[]).expect(3);
    gitlab.change(|world| world.tokens.clear());
    ask("x1", &[], 1);
    for expected in ["create", "adopt", "held", "unmanaged", "in_sync", "delete", "unknown"] {
        assert!(verdicts.contains(expected), "{expected} is missing in {verdicts:?}");
    }

    let history = valid("history", &json_of(&program, &["history", "--limit", "3"]).expect(0));
    assert_eq!((&history["more"], &history["changes"][2]["action"]), (&json!(true), &json!("delete")));
    valid("prune", &json_of(&program, &["history", "--prune-before", "2020-01-01"]).expect(0));
    let status = valid("status", &json_of(&program, &["status"]).expect(3));
    let pair = &status["pairs"][0];
    assert!(pair["held"][0]["since"].is_string() && pair["waiting"][0]["reason"].is_string(), "{status}");
    let failed = valid("check", &json_of(&program, &["check", "--online"]).expect(1));
    assert!(failed.to_string().contains("\"skipped\""), "{failed}");
}

#[test]
fn a_schema_refuses_what_is_not_so() {
    let (program, _gitlab, _repository, _commits) = troubled();
    let printed = program.sync(&[]).expect(3).json();
    let (open, closed) = (validator(&stored("sync")), validator(&closed(stored("sync"))));
    assert!(open.is_valid(&printed) && closed.is_valid(&printed));
    let with = |pointer: &str, value: Value| {
        let mut changed = printed.clone();
        *changed.pointer_mut(pointer).unwrap() = value;
        changed
    };
    for (pointer, value) in [
        ("/jobs/0/remotes/0/state", json!("fine")),
        ("/jobs/0/remotes/0/changes/0/action", json!("overwrite")),
        ("/jobs/0/remotes/0/changes/0/outcome", json!("ok")),
        ("/jobs/0/remotes/0/changes/0/to", json!("2695effb")),
        ("/jobs/0/remotes/0/held/0/verdict", json!("parked by a guard")),
        ("/jobs/0/remotes/0/counts/create", json!(-1)),
        ("/jobs/0/remotes/0/counts", json!({})),
        ("/run", json!(null)),
    ] {
        assert!(!open.is_valid(&with(pointer, value)), "{pointer}");
    }
    // Fields may be added to what is published; the tests here see each one that was.
    let mut more = printed.clone();
    more["jobs"][0]["remotes"][0]["counts"]["new"] = json!(0);
    assert!(open.is_valid(&more) && !closed.is_valid(&more));
}

/// Every word of a type by its schema, and every value of it with the ledger's word.
#[track_caller]
fn same_words<T: serde::Serialize + schemars::JsonSchema>(values: &[T], word: impl Fn(&T) -> &'static str) {
    let schema = schemars::schema_for!(T).to_value();
    let words: Vec<Value> =
        schema["oneOf"].as_array().expect("a schema of words").iter().map(|one| one["const"].clone()).collect();
    assert_eq!(values.iter().map(|value| json!(value)).collect::<Vec<_>>(), words);
    assert_eq!(values.iter().map(|value| json!(word(value))).collect::<Vec<_>>(), words);
}

/// The words of the ledger and of the configuration are kept in files and so have a list of their own.
#[test]
fn the_words_in_files_are_those_of_json() {
    use tagsyncd::ledger::{Action, Decision, Outcome, ParkedBy};
    use tagsyncd::plan::Policy;
    same_words(&[Action::Create, Action::Move, Action::Delete], |action| action.word());
    use Outcome::{Already, Done, Lost, NotSent, Rejected, Restored};
    same_words(&[Done, Already, Rejected, NotSent, Restored, Lost], |outcome| outcome.word());
    same_words(&[ParkedBy::Guard, ParkedBy::Undo], |by| by.word());
    same_words(&[Decision::Approved, Decision::Dismissed], |decision| decision.word());
    same_words(&[Policy::CreateOnly, Policy::Mirror, Policy::Exact], |policy| policy.word());
}

/// A configuration with every key.
const WHOLE: &str = r#"
[daemon]
state = "/var/lib/tagsyncd"
schedule = "*/15 * * * *"
timezone = "Europe/Berlin"
jitter = "1m30s"
listen = "127.0.0.1:9465"

[repository.core]
path = "/srv/git/core.git"

[repository.all]
paths = ["/srv/git/*.git"]

[remote.gitlab]
provider = "gitlab"
url = "https://gitlab.example.com"
project = "infra/{repository}"
token = { file = "/etc/tagsyncd/token" }
allow_release_loss = ["nightly-*"]
transport = "api"
timeout = "30s"
concurrency = 8
rate = 0.5
ca_file = "/etc/ssl/ca.pem"
allow_http = false
annotations = "message"
strip_prefix = "v"
replace = { "+" = "_" }
add_prefix = "r-"

[remote.other]
provider = "gitlab"
project = "example/core"
token = { command = ["pass", "show", "gitlab"] }
allow_release_loss = true
rate = 2

[job.core]
from = "core"
to = ["gitlab", "other"]
policy = "mirror"
tags = ["v*", "!v*-rc*"]
semver = ">=1.0.0"
immutable = ["v*"]
protected = ["release/*"]
limits = { deletes = 0, deletes_percent = 100, moves = 50, moves_percent = 10 }
delete_grace = "60s"
schedule = "@hourly"
hook_secret = { credential = "hook" }

[job.all]
from = "all"
to = ["gitlab"]
policy = "create-only"
hook_secret = { env = "HOOK" }
"#;

fn from_toml(text: &str) -> Value {
    toml::from_str(text).expect("a test's TOML is TOML")
}

/// Whether the program and the schema take a configuration.
fn taken(text: &str) -> [bool; 2] {
    let by_program = tagsyncd::config::Settings::parse(text, Path::new("config.toml")).is_ok();
    [by_program, validator(&stored("config")).is_valid(&from_toml(text))]
}

#[test]
fn the_schema_takes_what_the_program_takes() {
    assert_eq!(taken(WHOLE), [true; 2]);
    let mut files = vec![PathBuf::from("config/tagsyncd.toml")];
    files.extend(std::fs::read_dir("config/examples").unwrap().map(|entry| entry.unwrap().path()));
    assert!(files.len() > 2, "{files:?}");
    for file in files {
        assert_eq!(taken(&std::fs::read_to_string(&file).unwrap()), [true; 2], "{}", file.display());
    }
    // What documents show may be a part of a file: it is put into a whole one.
    let validator = validator(&stored("config"));
    let mut blocks = 0;
    for document in ["README.md", "docs/configuration.md", "docs/providers.md", "docs/operations.md"] {
        let text = std::fs::read_to_string(document).unwrap();
        for block in text.split("```toml\n").skip(1) {
            let (block, _) = block.split_once("```").unwrap();
            let mut whole = from_toml(WHOLE);
            for (kind, tables) in from_toml(block).as_object().unwrap() {
                for (name, table) in tables.as_object().unwrap() {
                    whole[kind][name] = table.clone();
                }
            }
            let faults: Vec<String> = validator.iter_errors(&whole).map(|fault| fault.to_string()).collect();
            assert!(faults.is_empty(), "{document}: {faults:?}\n{block}");
            blocks += 1;
        }
    }
    assert!(blocks > 1);
}

#[test]
fn the_schema_refuses_what_the_program_refuses() {
    for (good, bad) in [
        // Keys that nobody knows, at every level.
        ("[daemon]", "[deamon]"),
        ("jitter =", "jiter ="),
        ("path =", "pth ="),
        ("token = { file", "tokn = { file"),
        ("timeout =", "time_out ="),
        ("semver =", "semvers ="),
        ("moves =", "move ="),
        ("rate = 0.5", "target = { tag = \"x\" }"),
        // Keys that must be there.
        ("policy = \"mirror\"", ""),
        ("from = \"core\"", ""),
        ("to = [\"gitlab\", \"other\"]", ""),
        ("provider = \"gitlab\"\nurl", "url"),
        ("project = \"example/core\"", ""),
        ("path = \"/srv/git/core.git\"", ""),
        // Values of another type, form or range.
        ("state = \"/var", "state = \"var"),
        ("listen = \"127.0.0.1:9465\"", "listen = 9465"),
        ("jitter = \"1m30s\"", "jitter = \"30s1m\""),
        ("timeout = \"30s\"", "timeout = 30"),
        ("timeout = \"30s\"", "timeout = \"30\""),
        ("timeout = \"30s\"", "timeout = \"\""),
        ("path = \"/srv/git/core.git\"", "path = \"/srv/git/core.git\"\npaths = [\"/srv/git/*.git\"]"),
        ("paths = [\"/srv/git/*.git\"]", "paths = []"),
        ("paths = [\"/srv", "paths = [\"srv"),
        ("provider = \"gitlab\"", "provider = \"gitlub\""),
        ("transport = \"api\"", "transport = \"ssh\""),
        ("annotations = \"message\"", "annotations = \"messages\""),
        ("concurrency = 8", "concurrency = 0"),
        ("concurrency = 8", "concurrency = 65"),
        ("concurrency = 8", "concurrency = \"8\""),
        ("rate = 0.5", "rate = 0"),
        ("allow_http = false", "allow_http = \"no\""),
        ("allow_release_loss = true", "allow_release_loss = \"nightly-*\""),
        ("replace = { \"+\" = \"_\" }", "replace = { \"\" = \"_\" }"),
        ("replace = { \"+\" = \"_\" }", "replace = [\"+\"]"),
        ("policy = \"mirror\"", "policy = \"miror\""),
        ("to = [\"gitlab\", \"other\"]", "to = \"gitlab\""),
        ("to = [\"gitlab\", \"other\"]", "to = []"),
        ("to = [\"gitlab\", \"other\"]", "to = [\"other\", \"other\"]"),
        ("tags = [\"v*\", \"!v*-rc*\"]", "tags = \"v*\""),
        ("deletes = 0", "deletes = -1"),
        ("deletes_percent = 100", "deletes_percent = 101"),
        ("[job.all]", "[job.\"a b\"]"),
        // Secrets have one source, which is none of these.
        ("{ file = \"/etc/tagsyncd/token\" }", "\"glpat-secret\""),
        ("{ file = \"/etc/tagsyncd/token\" }", "{}"),
        ("{ file = \"/etc/tagsyncd/token\" }", "{ file = \"token\" }"),
        ("{ file = \"/etc/tagsyncd/token\" }", "{ file = \"/etc/tagsyncd/token\", env = \"TOKEN\" }"),
        ("{ command = [\"pass\", \"show\", \"gitlab\"] }", "{ command = \"pass show gitlab\" }"),
        ("{ command = [\"pass\", \"show\", \"gitlab\"] }", "{ command = [] }"),
    ] {
        let broken = WHOLE.replacen(good, bad, 1);
        assert_ne!(broken, WHOLE, "{good}");
        assert_eq!(taken(&broken), [false; 2], "{good} -> {bad}");
    }
    assert_eq!(taken(WHOLE.split("[job.").next().unwrap()), [false; 2], "a file without a job");
}

#[test]
fn the_program_prints_its_schemas() {
    let program = Program::new();
    for (name, _) in tagsyncd::cli::schemas() {
        let printed = program.run(&["schema", name]).expect(0).stdout;
        assert_eq!(printed, std::fs::read_to_string(folder().join(format!("{name}.json"))).unwrap());
    }
    assert!(program.run(&["schema", "statsu"]).expect(2).stderr.contains("did you mean `status`?"));
    let help = program.run(&["schema", "--help"]).expect(0).stdout;
    for (name, _) in tagsyncd::cli::schemas() {
        assert!(help.contains(&format!("`{name}`")), "{name} is missing in the help");
    }
}
