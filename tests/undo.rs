//! Putting back what a run changed, and what people decide about parked changes.

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::gitlab::{FakeTag, Token};
use support::program::ended;
use support::server::{Effect, Gate, When};
use support::world::World;

/// The latest run that changed anything.
fn latest_run(world: &World) -> String {
    let history = world.program.run(&["history", "--format", "json"]).expect(0).json();
    let changes = history["changes"].as_array().expect("a list").clone();
    changes.last().expect("a change")["run"].as_str().expect("an id").to_owned()
}

fn undo(world: &World, run: &str, more: &[&str]) -> support::program::Ended {
    world.program.run(&[&["undo", run, "--format", "json"], more].concat())
}

fn tags(of: &Value) -> Vec<&str> {
    of.as_array().expect("a list").iter().map(|entry| entry["tag"].as_str().expect("a name")).collect()
}

/// A pass that creates `new`, moves `moved` and deletes `gone`, over what an earlier one made.
fn changed() -> (World, String) {
    let world = World::new("", "annotations = \"message\"");
    world.tag("moved", 0);
    world.repository.annotate("gone", &world.commits[0], "What it was\n\nall about\n");
    world.tag("stays", 0);
    world.program.sync(&[]).expect(0);
    world.tag("moved", 1);
    world.repository.delete_tag("gone");
    world.tag("new", 1);
    world.program.sync(&[]).expect(0);
    let run = latest_run(&world);
    (world, run)
}

#[test]
fn everything_that_a_run_changed_comes_back_with_its_message() {
    let (world, run) = changed();
    let before = world.far();
    let planned = undo(&world, &run, &["--dry-run"]).expect(0).remote();
    assert_eq!((tags(&planned["changes"]), &planned["state"]), (vec!["gone", "moved", "new"], &json!("pending")));
    assert_eq!(world.far(), before, "a dry run writes nothing");

    let done = undo(&world, &run, &[]).expect(0).remote();
    assert!(done["changes"].as_array().unwrap().iter().all(|change| change["outcome"] == "done"), "{done}");
    let far = world.gitlab.tags("infra/core");
    assert_eq!(far.keys().collect::<Vec<_>>(), ["gone", "moved", "stays"]);
    assert_eq!(far["gone"].message.as_deref(), Some("What it was\n\nall about"));
    assert_eq!(far["moved"].commit_id.as_ref(), Some(&world.commits[0]));
    let reasons = world.program.run(&["history", "--format", "json"]).expect(0).json();
    let undone = reasons["changes"].as_array().unwrap().iter().filter(|change| change["reason"] == "undo").count();
    assert_eq!(undone, 3);
}

#[test]
fn no_pass_undoes_the_undo_until_the_source_agrees_or_a_person_releases_it() {
    let (world, run) = changed();
    undo(&world, &run, &[]).expect(0);
    let put_back = world.far();
    for _ in 0..3 {
        let held = world.program.sync(&[]).expect(3).remote();
        assert_eq!(tags(&held["held"]), ["gone", "moved", "new"]);
        assert!(held["held"].as_array().unwrap().iter().all(|held| held["verdict"] == "undone"), "{held}");
        assert_eq!((&held["counts"]["in_sync"], world.far()), (&json!(1), put_back.clone()));
    }
    // The source agrees with one: that one is like any other again.
    world.repository.delete_tag("new");
    let held = world.program.sync(&[]).expect(3).remote();
    assert_eq!(tags(&held["held"]), ["gone", "moved"]);
    world.tag("new", 0);
    let held = world.program.sync(&[]).expect(3).remote();
    assert_eq!((tags(&held["changes"]), tags(&held["held"])), (vec!["new"], vec!["gone", "moved"]));

    // A person lets the source have its way with the others.
    let plan = held["plan"].as_str().unwrap();
    world.program.run(&["approve", plan]).expect(0);
    let released = world.program.sync(&[]).expect(0).remote();
    assert_eq!((tags(&released["changes"]), &released["released"]), (vec!["gone", "moved"], &json!([plan])));
    assert_eq!(world.program.sync(&[]).expect(0).remote()["counts"]["in_sync"], 3);
    assert_eq!(world.gitlab.tags("infra/core")["moved"].commit_id.as_ref(), Some(&world.commits[1]));
    // Nothing is left of the undo: an ordinary deletion goes through.
    world.repository.delete_tag("moved");
    world.program.sync(&[]).expect(0);
    assert!(!world.gitlab.tags("infra/core").contains_key("moved"));
}

#[test]
fn what_moved_on_since_is_held_and_the_rest_is_put_back() {
    let (world, run) = changed();
    world.put_far("moved", FakeTag::lightweight(&world.repository.commit("three")));
    world.put_far("gone", FakeTag::lightweight(&world.commits[1]));
    let ended = undo(&world, &run, &[]).expect(3).remote();
    assert_eq!((tags(&ended["changes"]), tags(&ended["held"])), (vec!["new"], vec!["gone", "moved"]));
    let reason = ended["held"][0]["reason"].as_str().unwrap();
    assert!(reason.starts_with("no longer at the value that the run left: absent then"), "{reason}");
    assert_eq!(world.gitlab.tags("infra/core")["gone"].commit_id.as_ref(), Some(&world.commits[1]));
}

#[test]
fn some_names_can_be_chosen_and_an_undo_can_be_undone() {
    let (world, run) = changed();
    let before = world.far();
    undo(&world, &run, &["--tag", "n*"]).expect(0);
    assert!(!world.gitlab.tags("infra/core").contains_key("new"));
    // By the beginning of its id, and back again: now both sides agree, and nothing is held any more.
    let again = latest_run(&world);
    undo(&world, &again[..again.len() - 1], &[]).expect(0);
    assert_eq!(world.far(), before);
    let settled = world.program.sync(&[]).expect(0).remote();
    assert_eq!((&settled["state"], &settled["counts"]["held"]), (&json!("in_sync"), &json!(0)));
}

#[test]
fn an_undo_passes_the_same_guards() {
    let world = World::new("", "");
    world.tag_many(30);
    world.program.sync(&[]).expect(0);
    let run = latest_run(&world);
    world.program.run(&["plan"]).expect(0);
    let parked = undo(&world, &run, &[]).expect(3).remote();
    assert_eq!((tags(&parked["held"]).len(), world.far().len()), (30, 30), "thirty deletions exceed the budget");
    let plan = parked["plan"].as_str().unwrap();
    assert!(parked["held"][0]["hint"].as_str().unwrap().contains(&format!("undo {run} --approve {plan}")), "{parked}");
    // It is the undo's own set: no pass can be told to do it, and a wrong id releases nothing.
    world.program.run(&["approve", plan]).expect(2);
    undo(&world, &run, &["--approve", "0123456789ab"]).expect(3);
    assert_eq!(world.far().len(), 30);
    undo(&world, &run, &["--approve", plan]).expect(0);
    assert_eq!(world.far().len(), 0);
    world.program.sync(&[]).expect(3);
    assert_eq!(world.far().len(), 0);
    // What a person released has used up no budget: an ordinary deletion still goes through.
    world.tag("later", 0);
    world.program.sync(&[]).expect(3);
    world.repository.delete_tag("later");
    world.program.sync(&[]).expect(3);
    assert_eq!(world.far().len(), 0);

    // A credential that only reads puts nothing back.
    let run = latest_run(&world);
    world.gitlab.change(|gitlab| gitlab.tokens.insert("secret".into(), Token::of_level(20)));
    let held = undo(&world, &run, &[]).expect(3).remote();
    assert!(held["held"].as_array().unwrap().iter().all(|held| held["verdict"] == "read_only"), "{held}");
    assert_eq!(world.far().len(), 0);
}

#[test]
fn an_undo_that_is_killed_at_any_request_is_redone_by_no_pass_and_finished_by_the_next_undo() {
    let mut n = 1;
    loop {
        let mut killed = false;
        for after in [false, true] {
            let (world, run) = changed();
            let server = world.gitlab.server();
            server.forget();
            killed |= world.program.kill_at(&["undo", &run], server, n, after);
            let then = world.gitlab.tags("infra/core");
            world.program.sync(&[]);
            let far = world.gitlab.tags("infra/core");
            let case = format!("killed at request {n}, after: {after}");
            // What was put back stays, what was in between is finished, and what was not begun may be as the source has it.
            for (name, tag) in &then {
                let kept = far.get(name).map(|far| &far.commit_id);
                let redone = world.commits.iter().any(|commit| kept == Some(&Some(commit.clone())));
                assert!(kept == Some(&tag.commit_id) || redone && name == "moved", "{case}: {name}");
            }
            assert!(then.contains_key("new") || !far.contains_key("new"), "{case}: what was taken away stays away");
            undo(&world, &run, &[]).expect(0);
            world.program.sync(&[]).expect(3);
            let far = world.gitlab.tags("infra/core");
            assert_eq!(far.keys().collect::<Vec<_>>(), ["gone", "moved", "stays"], "{case}");
            assert_eq!(far["moved"].commit_id.as_ref(), Some(&world.commits[0]), "{case}");
        }
        if !killed {
            break;
        }
        n += 1;
    }
    assert!(n > 6, "an undo asks, lists and writes; it ended after {n} requests");
}

#[test]
fn what_cannot_be_undone_is_said() {
    let (world, run) = changed();
    let near = format!("{}0", &run[..run.len() - 1]);
    let near = if near == run { format!("{}1", &run[..run.len() - 1]) } else { near };
    let unknown = world.program.run(&["undo", &near]).expect(2);
    assert!(unknown.stderr.contains(&format!("did you mean `{run}`?")), "{}", unknown.stderr);
    world.program.run(&["undo", "nothing-like-it"]).expect(2);
    // Ids begin with their time; a beginning that short, or none, names no run.
    for short in ["", "0", &run[..7]] {
        world.program.run(&["undo", short]).expect(2);
    }
    world.program.run(&["undo", &run, "--tag", "["]).expect(2);

    // A job that the configuration has no more, and a project that is another one now.
    let text = std::fs::read_to_string(world.program.path("config.toml")).unwrap();
    world.program.configure(&text.replace("[job.core]", "[job.other]"));
    let other = world.program.run(&["undo", &run]).expect(3);
    assert!(other.stderr.contains("left alone: core: core -> gitlab"), "{}", other.stderr);
    world.program.configure(&text);
    world.gitlab.change(|gitlab| {
        let project = gitlab.projects.remove(&7).expect("the fake's first project");
        gitlab.projects.insert(77, project);
    });
    let before = world.far();
    let ended = undo(&world, &run, &[]).expect(3).remote();
    assert!(ended["notes"][0].as_str().unwrap().contains("identity changed"), "{ended}");
    assert!(ended["held"].as_array().unwrap().iter().all(|held| held["verdict"] == "not_ours"), "{ended}");
    assert_eq!(world.far(), before);
    // Also when a pass has made the same tags ours in the new project.
    world.repository.tag("again", &world.commits[0]);
    world.program.sync(&[]);
    let ours = world.far();
    let ended = undo(&world, &run, &[]).expect(3).remote();
    assert!(ended["held"].as_array().unwrap().iter().all(|held| held["verdict"] == "not_ours"), "{ended}");
    assert_eq!(world.far(), ours);
}

#[test]
fn what_a_killed_run_did_is_undone_with_what_it_had_begun() {
    // The second delete takes effect, and the answer finds nobody any more: it is in no history yet.
    let killed = (1..20).find_map(|n| {
        let world = World::new("", "concurrency = 1");
        ["one", "two", "stays"].iter().for_each(|name| world.tag(name, 0));
        world.program.sync(&[]).expect(0);
        world.repository.delete_tag("one");
        world.repository.delete_tag("two");
        world.gitlab.server().forget();
        let killed = world.program.kill_at(&["--sync"], world.gitlab.server(), n, true);
        (killed && world.far().len() == 1).then_some(world)
    });
    let world = killed.expect("the pass deletes both at some request");
    let run = latest_run(&world);
    let planned = undo(&world, &run, &["--dry-run"]).expect(0).remote();
    assert!(planned["notes"][0].as_str().unwrap().contains("interrupted"), "{planned}");
    let ended = undo(&world, &run, &[]).expect(0).remote();
    assert_eq!(world.far().len(), 3, "{ended}");
    assert!(tags(&ended["changes"]).contains(&"two"), "{ended}");
}

#[test]
fn a_decision_that_is_taken_back_while_a_pass_is_under_way_counts() {
    let world = World::new("", "");
    world.tag_many(8);
    world.program.sync(&[]).expect(0);
    (0..8).for_each(|at| world.repository.delete_tag(format!("v{at:02}")));
    world.tag("keeps-the-source-from-being-empty", 0);
    let plan = world.program.sync(&[]).expect(3).remote()["plan"].as_str().unwrap().to_owned();
    world.program.run(&["approve", &plan]).expect(0);
    let gate = Gate::closed();
    world.gitlab.server().on(When::method("GET").path_end("/tags").once(), Effect::Hang(gate.clone()));
    let pass = world.program.start(&["--sync"]);
    assert!(world.gitlab.server().wait_until(Duration::from_secs(30), |record| record.in_flight == 1));
    world.program.run(&["dismiss", &plan]).expect(0);
    gate.open();
    let ended = ended(pass).expect(0);
    assert!(ended.stdout.contains("8 dismissed"), "{}", ended.stdout);
    assert_eq!(world.far().len(), 9, "nothing was deleted");
    world.program.sync(&[]).expect(0);
    assert_eq!(world.far().len(), 9);
}

#[test]
fn the_first_exact_pass_goes_through_approve() {
    let world = World::new("policy = \"exact\"", "");
    world.tag("v1", 0);
    world.put_far("theirs", FakeTag::lightweight(&world.commits[1]));
    let plan = world.program.sync(&[]).expect(3).remote()["plan"].as_str().unwrap().to_owned();
    assert_eq!(world.far().len(), 2);
    world.program.run(&["approve", &plan, "--format", "json"]).expect(0).json();
    world.program.sync(&[]).expect(0);
    assert_eq!(world.far().len(), 1);
    // The next foreign tag needs nobody any more.
    world.put_far("theirs-too", FakeTag::lightweight(&world.commits[1]));
    world.program.sync(&[]).expect(0);
    assert_eq!(world.far().len(), 1);
}
