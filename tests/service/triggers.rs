//! What starts a pass: the start, the schedule, changed refs, a signal, a decision.

use super::support::gitlab::FakeTag;
use super::support::service::{Service, eventually};
use super::support::world::World;
use super::{by, seldom};

#[test]
fn every_job_runs_once_soon_after_the_start() {
    let world = World::new(&seldom(""), "");
    world.tag("v1", 0);
    let service = Service::start(&world.program);
    eventually("the tag arrives", || world.far().len() == 1);
    let locked = world.program.sync(&[]).expect(75);
    assert!(locked.stderr.contains(&format!("kill -USR1 {}", service.id())), "{}", locked.stderr);
    let next_run = || world.program.run(&["status", "--format", "json"]).json()["pairs"][0]["next_run"].clone();
    assert_eq!(next_run(), "2028-02-29T00:00:00Z");
    let ended = service.stop().expect(0);
    assert_eq!(ended.stdout, "");
    assert!(next_run().is_null(), "without a service nothing runs by itself");
}

#[test]
fn the_schedule_starts_passes() {
    let world = World::new(&by("* * * * * *", ""), "");
    world.tag("v1", 0);
    let _service = Service::start(&world.program);
    eventually("the tag arrives", || world.far().len() == 1);
    // Nothing but the schedule can notice this.
    world.put_far("v1", FakeTag::lightweight(&world.commits[1]));
    eventually("the tag is back where it was", || world.far().first().is_some_and(|tag| tag.1 == world.commits[0]));
}

#[test]
fn changed_refs_start_a_pass() {
    let world = World::new(&seldom(""), "");
    world.tag("v1", 0);
    let _service = Service::start(&world.program);
    eventually("the tag arrives", || world.far().len() == 1);
    world.tag("deep/er/v2", 1);
    eventually("the new tag arrives", || world.far().len() == 2);
    world.repository.git(&["pack-refs", "--all"]);
    world.tag("v3", 1);
    eventually("and so it does after all refs were packed", || world.far().len() == 3);
}

#[test]
fn a_signal_starts_a_pass() {
    let world = World::new(&seldom(""), "");
    world.tag("v1", 0);
    let service = Service::start(&world.program);
    eventually("the tag arrives", || world.far().len() == 1);
    world.put_far("v1", FakeTag::lightweight(&world.commits[1]));
    service.signal("USR1");
    eventually("the tag is back where it was", || world.far().first().is_some_and(|tag| tag.1 == world.commits[0]));
}

#[test]
fn an_approval_from_another_terminal_is_acted_on_at_once() {
    let world = World::new(&seldom("delete_grace = \"0s\"\nlimits = { deletes = 1 }"), "");
    world.tag_many(4);
    let service = Service::start(&world.program);
    eventually("the tags arrive", || world.far().len() == 4);
    for name in ["v00", "v01", "v02"] {
        world.repository.git(&["tag", "--delete", name]);
    }
    let parked = || {
        let status = world.program.run(&["status", "--format", "json"]).json();
        status["pairs"][0]["plan"].as_str().map(str::to_owned)
    };
    eventually("the deletes are parked", || parked().is_some());
    assert_eq!(world.far().len(), 4);
    let plan = parked().expect("parked a moment ago");
    world.program.run(&["approve", &plan]).expect(0);
    eventually("the deletes are carried out", || world.far().len() == 1);
    service.stop().expect(0);
    assert_eq!(parked(), None);
}

#[test]
fn what_nothing_asks_for_does_not_run() {
    let world = World::new(&seldom(""), "");
    world.tag("v1", 0);
    let service = Service::start(&world.program);
    eventually("the tag arrives", || world.far().len() == 1);
    let mut service = service;
    service.hear("STATUS=1 pair in sync");
    let requests = world.gitlab.server().record().total();
    // Reading is no change: the daemon's own look at the repository must not lead to the next one.
    world.put_far("by-somebody", FakeTag::lightweight(&world.commits[0]));
    assert!(!service.hears("STATUS=", std::time::Duration::from_secs(4)));
    assert_eq!(world.gitlab.server().record().total(), requests);
}
