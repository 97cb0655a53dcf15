//! What a pass costs: requests, time, memory. `cargo bench --bench figures` prints the figures; nothing fails on them.
//!
//! Requests come from the fake server's own count, memory from the kernel (`VmHWM` of the process). Times depend on the machine,
//! so those that matter stand beside what git itself takes in the same run.

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a bench prints, and stops at the first surprise")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::process::Child;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use support::gitlab::{FakeGitlab, FakeTag, GitlabWorld, commit_id};
use support::program::{Ended, Program, ended};
use support::repository::SampleRepository;
use support::server::{Effect, When};
use tagsyncd::ledger::{
    Ledger as _, LedgerRead as _, Note, Ownership, Pair, PassEnd, Record, RecordChange, SqliteLedger, StateDirectory,
};
use tagsyncd::source::{Messages, Repository};
use tagsyncd::tag::{TagName, Target, Value};

fn main() {
    read_packed_tags();
    keep_records();
    pass_over(2_450);
    create_side_by_side();
    pass_over(100_000);
}

fn head(text: &str) {
    println!("\n{text}");
}

fn line(what: &str, figure: impl std::fmt::Display) {
    println!("  {what:<64} {figure}");
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

/// The quickest of several: what the machine can do when it is not doing something else.
fn quickest(times: usize, mut work: impl FnMut()) -> Duration {
    let run = |_| {
        let began = Instant::now();
        work();
        began.elapsed()
    };
    (0..times).map(run).min().unwrap_or_default()
}

fn read_packed_tags() {
    head("Reading 100,000 packed tags, half of them annotated (target: 40 ms)");
    for commits in [100, 100_000] {
        let repository = SampleRepository::bare();
        repository.create_tags(100_000, commits);
        let time = quickest(9, || {
            let opened = Repository::open(repository.path()).unwrap();
            assert_eq!(opened.read_tags(Messages::Skip).unwrap().len(), 100_000);
        });
        line(&format!("on {commits} commits"), milliseconds(time));
        for arguments in [
            &["show-ref", "--tags", "--dereference"][..],
            &["for-each-ref", "--format=%(objectname) %(objecttype) %(*objectname) %(*objecttype)", "refs/tags"],
        ] {
            let git = quickest(3, || drop(repository.git(arguments)));
            let ratio = git.as_secs_f64() / time.as_secs_f64();
            line(&format!("  git {}", arguments[0]), format!("{}, {ratio:.1} times that", milliseconds(git)));
        }
    }
}

fn keep_records() {
    head("The ledger with 100,000 records");
    let folder = tempfile::tempdir().unwrap();
    let lock = StateDirectory::resolve(Some(folder.path()), None).unwrap().lock().unwrap();
    let pair = Pair { job: "core".into(), repository: "core".into(), remote: "gitlab".into() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let ledger = SqliteLedger::open(&lock).unwrap();
        let value = Value::of(Target::Commit(commit_id(1).parse().unwrap()));
        let note = |at: u32| {
            let tag = TagName::new(format!("release/v{at}.0.0")).unwrap();
            let record = Record { remote_name: tag.clone(), value: value.clone(), ownership: Ownership::Adopted };
            Note { tag, record: RecordChange::Put(record) }
        };
        let notes: Vec<Note> = (0..100_000).map(note).collect();
        let now = Timestamp::now();
        let end = PassEnd {
            began: now,
            ended: now,
            state: "in_sync".into(),
            converged: true,
            error: None,
            counts: String::new(),
            unsettled: Vec::new(),
            agreement: None,
        };
        let began = Instant::now();
        ledger.note(&pair, &notes, now).await.unwrap();
        ledger.end_pass(&pair, &end, None).await.unwrap();
        line("adopted in one transaction", milliseconds(began.elapsed()));
        let mut read = Duration::MAX;
        for _ in 0..5 {
            let began = Instant::now();
            assert_eq!(ledger.read_pair(&pair, now).await.unwrap().records.len(), 100_000);
            read = read.min(began.elapsed());
        }
        line("read at the begin of a pass", milliseconds(read));
        let began = Instant::now();
        ledger.end_pass(&pair, &end, None).await.unwrap();
        line("the end of a pass without changes, on disk", milliseconds(began.elapsed()));
    });
}

/// A pass that has nothing to do, behind one that adopts everything.
fn pass_over(tags: usize) {
    head(&format!("A pass over {tags} tags and one GitLab with nothing to do"));
    let repository = SampleRepository::bare();
    repository.create_tags(tags, 100);
    let listed =
        repository.git(&["for-each-ref", "--format=%(refname:strip=2) %(objectname) %(*objectname)", "refs/tags"]);
    let mut world = GitlabWorld::with_core();
    for tag in listed.lines() {
        let mut words = tag.split(' ');
        let (name, id, peeled) =
            (words.next().unwrap(), words.next().unwrap(), words.next().filter(|id| !id.is_empty()));
        world.project("infra/core").tags.insert(name.to_owned(), FakeTag::lightweight(peeled.unwrap_or(id)));
    }
    let gitlab = FakeGitlab::start(world);
    let program = Program::new();
    program.mirror(repository.path(), &gitlab.url(), "", "");
    program.run(&["--sync"]).expect(0);
    gitlab.server().forget();
    let began = Instant::now();
    let (ended, peak) = watched(program.start(&["--sync"]));
    let time = began.elapsed();
    ended.expect(0);
    let record = gitlab.server().record();
    line("list requests", record.count("list"));
    line("other requests", record.total() - record.count("list"));
    line("connections", record.connections);
    line("time, the fake's included", milliseconds(time));
    line("peak resident memory", format!("{:.1} MiB", peak as f64 / 1024.0));
}

fn create_side_by_side() {
    head("300 tags created, 20 ms of thought per request");
    let mut alone = Duration::ZERO;
    for concurrency in [1, 8, 16] {
        let repository = SampleRepository::bare();
        repository.create_tags(300, 100);
        let gitlab = FakeGitlab::start(GitlabWorld::with_core());
        gitlab.server().on(When::any(), Effect::Delay(Duration::from_millis(20)));
        let program = Program::new();
        program.mirror(repository.path(), &gitlab.url(), "", &format!("concurrency = {concurrency}"));
        let began = Instant::now();
        program.run(&["--sync"]).expect(0);
        let time = began.elapsed();
        alone = if concurrency == 1 { time } else { alone };
        let record = gitlab.server().record();
        let ratio = alone.as_secs_f64() / time.as_secs_f64();
        line(
            &format!(
                "concurrency = {concurrency}: {} requests, {} in flight at most",
                record.total(),
                record.most_in_flight
            ),
            format!("{}, {ratio:.1} times as fast", milliseconds(time)),
        );
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
