//! Guards that need time: our own last write on a lagging replica, the grace of deletions, quarrels over a name.

use std::sync::Arc;

use tagsyncd::config::load;
use tagsyncd::http::Pool;
use tagsyncd::ledger::{LockFault, SqliteLedger, StateDirectory, StateLock};
use tagsyncd::report::{RemoteReport, State};
use tagsyncd::sync::{Grace, Mode, Progress, Purpose, Run, run};

use super::*;

/// A process that another test starts holds all open files of this one until it is the other program, the lock among them.
fn lock(directory: &StateDirectory) -> StateLock {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    loop {
        match directory.lock() {
            Err(LockFault::Held { .. }) if std::time::Instant::now() < deadline => std::thread::yield_now(),
            lock => return lock.expect("nobody else works there"),
        }
    }
}

/// A pass as a daemon makes it.
async fn pass(world: &World) -> RemoteReport {
    let settings = load(&world.program.path("config.toml")).expect("a good configuration");
    let directory = StateDirectory::resolve(Some(&world.program.path("state")), None).expect("a directory");
    let lock = lock(&directory);
    lock.serve().expect("the lock is ours");
    let run_settings = Run {
        id: uuid::Uuid::now_v7(),
        purpose: Purpose::Agree,
        pairs: None,
        mode: Mode::Sync(Arc::new(SqliteLedger::open(&lock).expect("a ledger"))),
        pool: Arc::new(Pool::new()),
        released: Vec::new(),
        grace: Grace::Keep,
        verbose: false,
        stop: tokio_util::sync::CancellationToken::new(),
        progress: Progress::default(),
        ended: None,
    };
    let mut report = run(&[&settings.jobs[0]], &run_settings).await;
    report.jobs.remove(0).remotes.remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_deletes_what_stays_absent_and_not_what_comes_back() {
    let world = World::new("delete_grace = \"10m\"", "");
    for name in ["back", "gone", "kept"] {
        world.tag(name, 0);
    }
    assert_eq!(pass(&world).await.state, State::Changed);
    world.age(2);
    world.repository.delete_tag("back");
    world.repository.delete_tag("gone");
    let explain = || world.program.run(&["explain", "core", "gone"]).expect(0).stdout;
    assert!(explain().contains("its absence counts from the daemon's next pass on"), "{}", explain());
    let first = pass(&world).await;
    assert_eq!((first.state, first.waiting.len()), (State::Waiting, 2), "{first:?}");
    assert!(first.waiting[0].reason.starts_with("gone from the source; deleted if it is still gone at "), "{first:?}");
    let revisit = first.revisit.expect("a time to come again");
    assert!(revisit > jiff::Timestamp::now() && revisit < jiff::Timestamp::now() + jiff::SignedDuration::from_mins(11));

    let explained = explain();
    assert!(explained.contains("delete_grace") && explained.contains("absent from the source since"), "{explained}");
    // Once the daemon is gone, nothing waits any more.
    std::fs::remove_file(world.program.path("state/lock")).unwrap();
    let explained = explain();
    assert!(explained.contains("`--sync` deletes at once"), "{explained}");

    world.age(6);
    world.tag("back", 0);
    assert_eq!(pass(&world).await.waiting.len(), 1);
    // What was back begins anew.
    world.repository.delete_tag("back");
    assert_eq!(pass(&world).await.waiting.len(), 2);
    assert_eq!(world.far().len(), 3, "nothing is deleted yet");
    world.age(5);
    let due = pass(&world).await;
    assert_eq!((due.counts.delete, due.waiting.len()), (1, 1), "{due:?}");
    let one = &world.commits[0];
    assert_eq!(world.far(), expected(&[("back", one), ("kept", one)]));
    // A one-shot is somebody who asks for it now.
    world.age(2);
    assert_eq!(world.program.sync(&[]).expect(0).remote()["counts"]["delete"], 1);
    assert_eq!(world.far(), expected(&[("kept", one)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_in_a_first_exact_pass_still_needs_a_person() {
    let world = World::new("policy = \"exact\"\ndelete_grace = \"10m\"", "");
    world.tag("v1", 0);
    world.put_far("theirs", FakeTag::lightweight(&world.commits[1]));
    assert_eq!(pass(&world).await.waiting.len(), 1);
    world.age(11);
    let parked = pass(&world).await;
    assert_eq!((parked.plans.len(), world.far().len()), (1, 2), "{parked:?}");
    // The same question until somebody answers it.
    let later = pass(&world).await;
    assert_eq!(later.plan, parked.plan, "{later:?}");
    world.program.run(&["approve", later.plan.as_ref().expect("it is parked")]).expect(0);
    assert_eq!(pass(&world).await.counts.delete, 1);
    // The next stray waits, but needs nobody any more.
    world.put_far("theirs-too", FakeTag::lightweight(&world.commits[1]));
    assert_eq!(pass(&world).await.waiting.len(), 1);
    world.age(11);
    assert_eq!(pass(&world).await.counts.delete, 1);
    assert_eq!(world.far(), expected(&[("v1", &world.commits[0])]));
}

#[tokio::test(flavor = "multi_thread")]
async fn time_under_another_policy_ends_the_approval_of_exact() {
    let world = World::new("policy = \"exact\"\ndelete_grace = \"0s\"", "");
    world.tag("v1", 0);
    pass(&world).await;
    let exact = std::fs::read_to_string(world.program.path("config.toml")).unwrap();
    world.program.configure(&exact.replace("\"exact\"", "\"mirror\""));
    pass(&world).await;
    world.put_far("theirs", FakeTag::lightweight(&world.commits[1]));
    world.program.configure(&exact);
    assert_eq!(pass(&world).await.plans.len(), 1);
    assert_eq!(world.far().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_return_that_only_a_failing_pass_saw_begins_the_grace_anew() {
    let world = World::new("delete_grace = \"10m\"", "");
    world.tag("back", 0);
    world.tag("kept", 0);
    pass(&world).await;
    world.age(2);
    world.repository.delete_tag("back");
    assert_eq!(pass(&world).await.waiting.len(), 1);
    world.tag("back", 0);
    world.gitlab.server().on(When::any(), Effect::Answer(Reply::html(200)));
    assert!(pass(&world).await.error.is_some());
    world.gitlab.server().behave();
    world.repository.delete_tag("back");
    world.age(11);
    assert_eq!(pass(&world).await.waiting.len(), 1);
    assert_eq!(world.far().len(), 2);
}

#[test]
fn what_a_replica_may_still_show_after_our_own_write_leads_to_nothing() {
    let world = World::new("", "");
    world.tag("v1", 0);
    world.tag("v2", 0);
    world.program.sync(&[]).expect(0);
    // The listing looks as before the creates.
    let written = world.far();
    world.gitlab.change(|gitlab| gitlab.project("infra/core").tags.clear());
    let writes = world.writes();
    let stale = world.program.sync(&[]).expect(0).remote();
    assert_eq!((&stale["state"], &stale["counts"]["waiting"]), (&json!("waiting"), &json!(2)), "{stale}");
    assert!(stale["waiting"][0]["reason"].as_str().unwrap().contains("before our own last write"), "{stale}");
    let explained = world.program.run(&["explain", "core", "v1"]).expect(0).stdout;
    assert!(explained.contains("our own last write may not be visible yet"), "{explained}");
    assert_eq!(world.writes(), writes);

    world.age(2);
    let healed = world.program.sync(&[]).expect(0).remote();
    assert_eq!(healed["counts"]["create"], 2, "{healed}");
    assert_eq!(world.far(), written);
}

#[test]
fn a_name_over_which_two_quarrel_is_left_alone_for_a_day() {
    let world = World::new("", "");
    world.tag("v1", 0);
    world.program.sync(&[]).expect(0);
    let quarrel = || world.put_far("v1", FakeTag::lightweight(&world.commits[1]));
    for _ in 0..3 {
        world.age(2);
        quarrel();
        assert_eq!(world.program.sync(&[]).expect(0).remote()["changes"][0]["reason"], "drift");
    }
    world.age(2);
    quarrel();
    let writes = world.writes();
    let held = world.program.sync(&[]).expect(3).remote();
    assert_eq!((&held["held"][0]["verdict"], &held["counts"]["held"]), (&json!("flapping"), &json!(1)), "{held}");
    let explained = world.program.run(&["explain", "core", "v1"]).expect(0).stdout;
    assert!(explained.contains("put back too often"), "{explained}");
    assert_eq!(world.writes(), writes);
    world.age(24 * 60);
    assert_eq!(world.program.sync(&[]).expect(0).remote()["counts"]["move"], 1);
}
