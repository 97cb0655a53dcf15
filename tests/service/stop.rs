//! The end: asked for once, asked for twice, and not asked for at all.

use std::time::{Duration, Instant};

use super::seldom;
use super::support::server::{Effect, Gate, Record, When};
use super::support::service::{Service, eventually};
use super::support::world::World;

fn a_write_is_under_way(world: &World) {
    let hangs = |record: &Record| record.requests.iter().any(|seen| seen.method == "POST" && seen.status.is_none());
    assert!(world.gitlab.server().wait_until(Duration::from_secs(60), hangs));
}

#[test]
fn the_write_under_way_is_finished_and_no_other_begins() {
    let world = World::new(&seldom(""), "concurrency = 1");
    world.tag_many(5);
    let gate = Gate::closed();
    world.gitlab.server().on(When::method("POST").once(), Effect::Hang(gate.clone()));
    let mut service = Service::start(&world.program);
    a_write_is_under_way(&world);
    service.signal("TERM");
    service.hear("STOPPING=1");
    gate.open();
    service.wait().expect(0);
    assert_eq!(world.far().len(), 1);
    let history = world.program.run(&["history", "--format", "json"]).json();
    assert_eq!(history["changes"].as_array().map(Vec::len), Some(1));
}

#[test]
fn a_second_request_leaves_at_once_and_the_next_start_finishes() {
    let world = World::new(&seldom(""), "");
    world.tag_many(5);
    let gate = Gate::closed();
    world.gitlab.server().on(When::method("POST").once(), Effect::Hang(gate.clone()));
    let mut service = Service::start(&world.program);
    a_write_is_under_way(&world);
    let began = Instant::now();
    service.signal("TERM");
    service.hear("STOPPING=1");
    service.signal("TERM");
    assert_eq!(service.wait().code, Some(1));
    assert!(began.elapsed() < Duration::from_secs(10));
    gate.open();
    let _service = Service::start(&world.program);
    eventually("everything arrives", || world.far().len() == 5);
}
