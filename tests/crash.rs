//! Ends the process at every moment of a pass; the next run has to end where an undisturbed one would have.

mod support;

use std::os::unix::process::ExitStatusExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::json;
use support::gitlab::{FakeGitlab, FakeTag, GitlabWorld};
use support::program::{Program, ended};
use support::repository::SampleRepository;
use support::server::{Effect, Gate, When};

struct World {
    repository: SampleRepository,
    gitlab: FakeGitlab,
    program: Program,
    commits: [String; 2],
}

/// A mirror that has agreed once and now has one create, one move and one delete to do.
fn world() -> World {
    let repository = SampleRepository::bare();
    let commits = [repository.commit("one"), repository.commit("two")];
    let gitlab = FakeGitlab::start(GitlabWorld::with_core());
    let program = Program::new();
    program.mirror(repository.path(), &gitlab.url(), "", "");
    for name in ["moved", "gone", "kept"] {
        repository.tag(name, &commits[0]);
    }
    program.sync(&[]).expect(0);
    repository.tag("moved", &commits[1]);
    repository.delete_tag("gone");
    repository.annotate("new", &commits[1], "A message");
    gitlab.server().forget();
    World { repository, gitlab, program, commits }
}

#[test]
fn a_kill_at_any_request_ends_in_the_same_state() {
    let undisturbed = world();
    undisturbed.program.sync(&[]).expect(0);
    let expected = undisturbed.gitlab.tags("infra/core");
    let mut n = 1;
    loop {
        let mut killed = false;
        for after in [false, true] {
            let world = world();
            killed |= world.program.kill_at(&["--sync"], world.gitlab.server(), n, after);
            let kept = world.gitlab.tags("infra/core");
            assert!(kept.contains_key("kept"), "a name that is on both sides is there at every moment");
            world.program.sync(&[]).expect(0);
            let names = |tags: &std::collections::BTreeMap<String, FakeTag>| {
                tags.iter()
                    .map(|(name, tag)| (name.clone(), tag.commit_id.clone(), tag.message.clone()))
                    .collect::<Vec<_>>()
            };
            assert_eq!(
                names(&world.gitlab.tags("infra/core")),
                names(&expected),
                "killed at request {n}, after: {after}"
            );
            world.gitlab.server().forget();
            let quiet = world.program.sync(&[]).expect(0).remote();
            assert_eq!(quiet["state"], "in_sync", "killed at request {n}, after: {after}: {quiet}");
        }
        if !killed {
            break;
        }
        n += 1;
    }
    assert!(n > 8, "the pass has a listing and several writes, each with its looks; it ended after {n} requests");
}

#[test]
fn a_gap_left_by_a_crash_is_closed_before_anything_else_and_never_read_as_a_deletion() {
    let world = world();
    let server = world.gitlab.server();
    let process = Arc::new(AtomicU32::new(0));
    let (gate, id) = (Gate::closed(), Arc::clone(&process));
    server.on(When::any().once(), Effect::Hang(gate.clone()));
    server.on(
        When::method("DELETE").path_end("/moved"),
        Effect::after(move |_| {
            let id = id.load(Ordering::SeqCst).to_string();
            assert!(
                std::process::Command::new("kill").args(["-KILL", &id]).status().is_ok_and(|status| status.success())
            );
        }),
    );
    let mut child = world.program.start(&["--sync"]);
    process.store(child.id(), Ordering::SeqCst);
    gate.open();
    assert_eq!(child.wait().unwrap().signal(), Some(9));
    server.behave();
    assert!(!world.gitlab.tags("infra/core").contains_key("moved"), "the crash left the gap open");

    // The source loses the tag meanwhile: the gap is still closed first, and the deletion is a plan of its own.
    server.forget();
    world.repository.delete_tag("moved");
    let ended = world.program.sync(&[]).expect(0).remote();
    let first_write = server.record().requests.iter().find(|seen| seen.method != "GET").cloned().unwrap();
    assert_eq!(first_write.method, "POST", "{first_write:?}");
    let closed = &ended["changes"].as_array().unwrap().iter().find(|change| change["tag"] == "moved").unwrap();
    assert_eq!((&closed["action"], &closed["to"]), (&json!("move"), &json!(world.commits[1])));
    assert!(!world.gitlab.tags("infra/core").contains_key("moved"), "then the deletion went the way of every deletion");
}

#[test]
fn a_stop_signal_ends_the_pass_between_writes_and_the_next_one_finishes() {
    let repository = SampleRepository::bare();
    let commit = repository.commit("one");
    for at in 0..40 {
        repository.tag(format!("v{at:02}"), &commit);
    }
    let gitlab = FakeGitlab::start(GitlabWorld::with_core());
    let program = Program::new();
    program.mirror(repository.path(), &gitlab.url(), "", "concurrency = 2");
    let gate = Gate::closed();
    gitlab.server().on(When::method("POST").after(4), Effect::Hang(gate.clone()));
    let child = program.start(&["--sync", "--format", "json"]);
    assert!(gitlab.server().wait_until(std::time::Duration::from_secs(30), |record| record.in_flight == 2
        && record.requests.iter().filter(|seen| seen.method == "POST").count() == 6));
    let status = std::process::Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(status.success());
    // The writes under way are finished, so they need an answer; which comes first does not matter.
    gate.open();
    let stopped = ended(child).expect(1).remote();
    let done = gitlab.tags("infra/core").len();
    assert!((6..40).contains(&done), "{done} created");
    assert_eq!(stopped["counts"]["create"], json!(done), "what was begun was finished and counted");
    assert_eq!(stopped["counts"]["failed"], json!(40 - done));
    program.sync(&[]).expect(0);
    assert_eq!((gitlab.tags("infra/core").len(), gitlab.writes().len()), (40, 40));
}

#[test]
fn a_second_instance_is_told_who_is_at_work() {
    let world = world();
    let gate = Gate::closed();
    world.gitlab.server().on(When::any(), Effect::Hang(gate.clone()));
    let first = world.program.start(&["--sync"]);
    assert!(world.gitlab.server().wait_until(std::time::Duration::from_secs(30), |record| record.in_flight == 1));
    let second = world.program.sync(&[]).expect(75);
    assert!(second.stderr.contains(&first.id().to_string()), "{}", second.stderr);
    // Looking needs no lock.
    gate.open();
    ended(first).expect(0);
    world.program.plan(&[]).expect(0);
}

#[test]
fn a_ledger_that_cannot_be_trusted_stops_everything() {
    for spoil in [
        |bytes: &mut Vec<u8>| bytes.truncate(bytes.len() / 2),
        |bytes: &mut Vec<u8>| bytes[0] ^= 0xff,
        |bytes: &mut Vec<u8>| bytes.clear(),
    ] {
        let world = world();
        let before = world.gitlab.tags("infra/core");
        let ledger = world.program.path("state/ledger.db");
        let mut bytes = std::fs::read(&ledger).unwrap();
        spoil(&mut bytes);
        std::fs::write(&ledger, &bytes).unwrap();
        let ended = world.program.sync(&[]).expect(1);
        assert!(ended.stderr.contains("ledger.db") || ended.stdout.contains("ledger.db"), "{ended:?}");
        assert_eq!(world.gitlab.tags("infra/core"), before);
        // Without any ledger nothing can be moved or deleted.
        std::fs::remove_file(&ledger).unwrap();
        world.program.sync(&[]).expect(3);
        let tags = world.gitlab.tags("infra/core");
        assert!(tags.contains_key("gone") && tags["moved"].commit_id.as_ref() == Some(&world.commits[0]));
    }
}
