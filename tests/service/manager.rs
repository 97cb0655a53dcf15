//! What a service manager gives and gets: signs of life, sockets, states.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::seldom;
use super::support::service::{Service, eventually};
use super::support::world::World;

#[test]
fn signs_of_life_come_at_half_the_period_and_only_when_they_are_wanted() {
    let world = World::new(&seldom(""), "");
    let mut quiet = Service::start(&world.program);
    assert!(!quiet.hears("WATCHDOG=1", Duration::from_secs(2)));
    quiet.stop().expect(0);
    let mut service = Service::start_with(&world.program, |command| {
        command.env("WATCHDOG_USEC", "1000000");
    });
    for _ in 0..3 {
        service.hear("WATCHDOG=1");
    }
    service.stop().expect(0);
    // Those of another process are none of ours.
    let mut other = Service::start_with(&world.program, |command| {
        command.env("WATCHDOG_USEC", "1000000").env("WATCHDOG_PID", "1");
    });
    assert!(!other.hears("WATCHDOG=1", Duration::from_secs(2)));
    other.stop().expect(0);
}

#[test]
fn a_manager_that_reads_nothing_stops_nothing() {
    let world = World::new(&seldom(""), "");
    world.tag("v1", 0);
    // A thousand messages a second fill every socket that nobody reads.
    let service = Service::begin(&world.program, |command| {
        command.env("WATCHDOG_USEC", "2000");
    });
    for (at, name) in ["v2", "v3", "v4"].into_iter().enumerate() {
        eventually("what was tagged before arrives", || world.far().len() == at + 1);
        world.tag(name, 0);
    }
    eventually("all tags arrive", || world.far().len() == 4);
    service.stop().expect(0);
}

#[test]
fn the_state_is_told_in_words() {
    let world = World::new(&seldom(""), "");
    world.tag("v1", 0);
    let mut service = Service::start(&world.program);
    let status = service.hear("STATUS=1 pair in sync");
    assert!(!status.contains('\u{1b}'), "{status}");
    service.signal("TERM");
    service.hear("STOPPING=1");
    service.wait().expect(0);
}

#[test]
fn a_socket_that_was_opened_by_the_manager_is_used() {
    let world = World::new(&seldom(""), "");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let service = Service::start_with(&world.program, |command| {
        // Sockets are passed on from the third descriptor on, to the process with this id.
        let program = command.get_program().to_owned();
        let pass_on = "exec 3<&0 </dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$0\"";
        let environment: Vec<_> =
            command.get_envs().filter_map(|(key, value)| Some((key.to_owned(), value?.to_owned()))).collect();
        let mut shell = Command::new("/bin/sh");
        shell.arg("-c").arg(pass_on).arg(program).env_clear().envs(environment);
        shell.stdin(OwnedFd::from(listener)).stdout(Stdio::piped()).stderr(Stdio::piped());
        *command = shell;
    });
    let mut answer = String::new();
    eventually("it answers there", || {
        let Ok(mut stream) = TcpStream::connect(address) else { return false };
        answer.clear();
        let asked = stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        asked.is_ok() && stream.read_to_string(&mut answer).is_ok() && answer.starts_with("HTTP/1.1 200")
    });
    service.stop().expect(0);
}

#[test]
fn a_service_that_was_killed_in_the_midst_of_things_finishes_them_with_its_next_start() {
    use super::support::server::{Effect, When};
    let world = World::new(&seldom(""), "");
    world.tag_many(6);
    // The answer to the third create is lost with the process.
    world.gitlab.server().on(When::method("POST").nth(3), Effect::DropAfter);
    let mut service = Service::start(&world.program);
    eventually("some tags arrive", || world.far().len() >= 3);
    service.kill();
    let mut service = Service::start(&world.program);
    service.hear("STATUS=1 pair in sync");
    assert_eq!(world.far().len(), 6);
    service.stop().expect(0);
    let again = world.program.sync(&[]).expect(0).remote();
    assert_eq!((again["state"].clone(), again["counts"]["in_sync"].clone()), ("in_sync".into(), 6.into()));
}
