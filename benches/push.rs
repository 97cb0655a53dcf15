//! What tags over the git protocol cost, beside git's own client. `cargo bench --bench push` prints the figures; nothing fails
//! on them.
//!
//! Both clients speak to the same `git http-backend` over loopback, one after the other, so the ratios mean something on any
//! machine and the times do not.

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a bench prints, and stops at the first surprise")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::process::Child;
use std::time::{Duration, Instant};

use support::git_http::GitServer;
use support::program::{Ended, Program, ended};
use support::repository::SampleRepository;

/// What the program is promised to stay within, in KiB.
const MEMORY: u64 = 64 * 1024;

fn main() {
    ten_thousand();
    a_hundred_thousand();
}

fn head(text: &str) {
    println!("\n{text}");
}

fn line(what: &str, figure: impl std::fmt::Display) {
    println!("  {what:<64} {figure}");
}

fn shown(time: Duration) -> String {
    format!("{:.0} ms", time.as_secs_f64() * 1e3)
}

/// How long it takes, and what comes of it.
fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let began = Instant::now();
    let done = work();
    (began.elapsed(), done)
}

fn quickest(times: usize, mut work: impl FnMut()) -> Duration {
    (0..times).map(|_| timed(&mut work).0).min().unwrap_or_default()
}

/// A source with so many tags, and a server with its commits and none of its tags.
fn sides(tags: usize) -> (SampleRepository, GitServer, Program) {
    let source = SampleRepository::bare();
    source.commit("main");
    source.create_tags(tags, 100);
    let far = SampleRepository::bare();
    far.git(&["fetch", "--quiet", "--no-tags", source.path().to_str().unwrap(), "refs/heads/*:refs/heads/*"]);
    far.git(&["config", "http.receivepack", "true"]);
    let server = GitServer::start(far);
    server.change(|manners| manners.password = None);
    let program = Program::new();
    program.configure(&format!(
        "[repository.core]\npath = \"{}\"\n[remote.far]\nprovider = \"git\"\nurl = \"{}\"\ntimeout = \"5m\"\n\
         [job.core]\nfrom = \"core\"\nto = [\"far\"]\npolicy = \"mirror\"\n",
        source.path().display(),
        server.url()
    ));
    (source, server, program)
}

/// Two sides that agree since the program has created all tags.
struct Created {
    source: SampleRepository,
    server: GitServer,
    program: Program,
    time: Duration,
    /// In KiB.
    peak: u64,
    requests: usize,
}

fn create(tags: usize) -> Created {
    let (source, server, program) = sides(tags);
    let (time, (ended, peak)) = timed(|| watched(program.start(&["--sync"])));
    ended.expect(0);
    assert_eq!(server.tags().len(), tags);
    let requests = server.server().record().total();
    Created { source, server, program, time, peak, requests }
}

fn ten_thousand() {
    head("10,000 tags, half of them annotated");
    // A file system takes from 0.3 to 1.2 s for so many new refs, whoever makes them, so the quickest of a few is compared.
    let created: Vec<Created> = (0..4).map(|_| create(10_000)).collect();
    let times: Vec<_> = created.iter().map(|created| shown(created.time)).collect();
    let ours = created.iter().map(|created| created.time).min().unwrap();
    let peak = created.iter().map(|created| created.peak).max().unwrap();
    let Created { source, server, program, requests, .. } = created.into_iter().next_back().unwrap();
    line("created by tagsyncd", format!("{}, {requests} requests", times.join(", ")));
    line("peak resident memory", format!("{:.1} MiB", peak as f64 / 1024.0));

    server.repository.git(&["pack-refs", "--all"]);
    server.server().forget();
    let pass = quickest(5, || drop(program.run(&["--sync"]).expect(0)));
    let requests = server.server().record().total();
    let url = server.url();
    let list = quickest(5, || drop(source.git(&["ls-remote", "--tags", &url])));
    let ratio = pass.as_secs_f64() / list.as_secs_f64();
    line("a pass with nothing to do", format!("{}, {} requests in 5 passes", shown(pass), requests));
    line("  git ls-remote --tags", format!("{}; ours is {ratio:.2} times that (target: 0.5)", shown(list)));

    server.server().forget();
    let commit = source.git(&["rev-parse", "bulk"]);
    for n in 0..5 {
        source.tag(format!("new-{n}"), &commit);
        source.annotate(format!("newer-{n}"), &commit, "new\n");
    }
    let (time, ended) = timed(|| program.run(&["--sync"]));
    ended.expect(0);
    let kinds: Vec<_> = server.server().record().requests.into_iter().map(|seen| seen.kind).collect();
    line("10 changes in 10,000", format!("{}: {}", shown(time), kinds.join(", ")));

    let (source, server, _) = sides(10_000);
    let url = server.url();
    let (theirs, ()) = timed(|| drop(source.git(&["push", "--quiet", "--tags", &url])));
    assert_eq!(server.tags().len(), 10_000);
    let ratio = theirs.as_secs_f64() / ours.as_secs_f64();
    line("created by git push --tags", format!("{}; {ratio:.1} times ours (target: 30)", shown(theirs)));
}

fn a_hundred_thousand() {
    head("100,000 tags, half of them annotated");
    let (_source, server, program) = sides(100_000);
    for what in ["created by tagsyncd", "a pass with nothing to do"] {
        server.server().forget();
        let (time, (ended, peak)) = timed(|| watched(program.start(&["--sync"])));
        ended.expect(0);
        let within = if peak <= MEMORY { "within" } else { "beyond" };
        let memory = format!("{:.1} MiB, {within} 64 MiB", peak as f64 / 1024.0);
        line(what, format!("{}, {} requests, {memory}", shown(time), server.server().record().total()));
        server.repository.git(&["pack-refs", "--all"]);
    }
}

/// Waits for a process and reads its high-water mark of resident memory, in KiB, until it is gone.
fn watched(child: Child) -> (Ended, u64) {
    let status = format!("/proc/{}/status", child.id());
    let watcher = std::thread::spawn(move || {
        let mut peak = 0;
        while let Ok(text) = std::fs::read_to_string(&status) {
            let mark = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            // A process that has ended has no memory any more.
            let Some(mark) = mark.and_then(|mark| mark.trim().split(' ').next()?.parse().ok()) else { break };
            peak = peak.max(mark);
            std::thread::sleep(Duration::from_millis(2));
        }
        peak
    });
    let ended = ended(child);
    (ended, watcher.join().unwrap())
}
