//! SIGHUP: all of a configuration or nothing of it.

use super::seldom;
use super::support::service::{Service, eventually};
use super::support::world::World;

#[test]
fn a_good_configuration_takes_the_place_of_the_old_one() {
    let world = World::new(&seldom("tags = [\"v1\"]"), "");
    world.tag("v1", 0);
    world.tag("v2", 1);
    let mut service = Service::start(&world.program);
    eventually("the first tag arrives", || world.far().len() == 1);
    world.program.mirror(world.repository.path(), &world.gitlab.url(), &seldom(""), "");
    service.signal("HUP");
    service.hear("RELOADING=1");
    let time = service.hear("MONOTONIC_USEC=");
    assert!(time["MONOTONIC_USEC=".len()..].parse::<u64>().is_ok_and(|time| time > 0), "{time}");
    service.hear("READY=1");
    eventually("the second tag arrives without another request", || world.far().len() == 2);
    service.stop().expect(0);
}

#[test]
fn a_bad_configuration_leaves_the_old_one_in_force_and_says_so() {
    let world = World::new(&seldom(""), "");
    world.tag("v1", 0);
    let mut service = Service::start(&world.program);
    eventually("the tag arrives", || world.far().len() == 1);
    world.program.mirror(world.repository.path(), &world.gitlab.url(), &seldom("polcy = \"exact\""), "");
    service.signal("HUP");
    service.hear("RELOADING=1");
    service.hear("READY=1");
    let status = service.hear("STATUS=");
    assert!(status.contains("configuration"), "{status}");
    world.tag("v2", 0);
    eventually("the old configuration goes on", || world.far().len() == 2);
    let ended = service.stop().expect(0);
    assert!(ended.stderr.contains("did you mean `policy`?"), "{}", ended.stderr);
    assert!(ended.stderr.contains("config.toml:"), "{}", ended.stderr);
}
