//! How long the commands take that answer from the ledger: `cargo bench --bench answers` prints the figures.
//!
//! One pair with 100,000 records and a million lines of history, in a repository with 100,000 tags; each command is a
//! process of its own, from its start to its end. The target is 50 ms for each; `history --limit 0` prints everything and
//! has none.

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a bench prints, and stops at the first surprise")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use jiff::Timestamp;
use support::program::Program;
use support::repository::SampleRepository;
use tagsyncd::ledger::{
    Action, Intent, Ledger as _, Matter, Note, Outcome, Ownership, Pair, ParkedBy, ParkedSet, PassEnd, Record,
    RecordChange, Settlement, SqliteLedger, StateDirectory, Unsettled,
};
use tagsyncd::provider::{Access, Identity};
use tagsyncd::source::{Messages, Repository};
use tagsyncd::tag::{SourceSnapshot, TagName, Value};
use uuid::Uuid;

const RECORDS: usize = 100_000;
const HISTORY: usize = 1_000_000;
/// Lines of history that one run leaves.
const RUN: usize = 1_000;
const TARGET: Duration = Duration::from_millis(50);

fn main() {
    let repository = SampleRepository::bare();
    repository.create_tags(RECORDS, 100);
    let program = Program::new();
    program.mirror(repository.path(), "https://gitlab.example.com", "", "");
    let snapshot = Repository::open(repository.path()).unwrap().read_tags(Messages::Skip).unwrap();
    let began = Instant::now();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let directory = StateDirectory::resolve(Some(&program.path("state")), None).unwrap();
    let last = runtime.block_on(fill(&directory, &snapshot));
    println!("{RECORDS} records and {HISTORY} lines of history, filled in {:.1} s", began.elapsed().as_secs_f64());
    let (some, none) = (snapshot.iter().nth(RECORDS / 2).unwrap().0.to_string(), "t-05x00O");

    println!("\n  quickest of five, from start to end of the process (target: {} ms)", TARGET.as_millis());
    let run = last.to_string();
    for arguments in [
        &["status"][..],
        &["status", "--format", "json"],
        &["history"],
        &["history", "core"],
        &["history", "--since", "1h"],
        &["history", "--run", &run],
        &["history", "--tag", &some],
        &["history", "--tag", "v*"],
        &["history", "--tag", "no-*"],
        &["history", "--run", &run[..13]],
        &["explain", "core", &some, "--offline"],
        &["explain", "core", none, "--offline"],
        &["approve", "0123"],
        &["dismiss", "5f3a5f3a5f3a"],
        &["check"],
        &["providers"],
        &["--version"],
    ] {
        let times = (0..5).map(|_| {
            let began = Instant::now();
            let ended = program.run(arguments);
            assert!(ended.code.is_some_and(|code| code <= 3), "{arguments:?}: {ended:?}");
            began.elapsed()
        });
        let time = times.min().unwrap();
        let mark = if time <= TARGET { "" } else { "  above the target" };
        println!("  tagsyncd {:<44} {:>7.1} ms{mark}", arguments.join(" "), time.as_secs_f64() * 1e3);
    }
}

/// Fills the ledger through its own door, and gives the last run.
async fn fill(directory: &StateDirectory, snapshot: &SourceSnapshot) -> Uuid {
    let ledger = SqliteLedger::open(&directory.lock().unwrap()).unwrap();
    let pair = Pair { job: "core".into(), repository: "core".into(), remote: "gitlab".into() };
    let now = Timestamp::now();
    let identity = Identity { space: "gitlab:1".into(), access: Access::Write };
    ledger.bind(&pair, "source", &identity, now, false).await.unwrap();
    let names: Vec<TagName> = snapshot.iter().map(|(name, _)| name.clone()).collect();
    let value: Value = "commit:2695effb5807a22ff3d138d593fd856244e155e7".parse().unwrap();
    let record = |name: &TagName| Note {
        tag: name.clone(),
        record: RecordChange::Put(Record {
            remote_name: name.clone(),
            value: value.clone(),
            ownership: Ownership::Created,
        }),
    };
    ledger.note(&pair, &names.iter().map(record).collect::<Vec<_>>(), now).await.unwrap();
    let mut run = Uuid::now_v7();
    for first in (0..HISTORY).step_by(RUN) {
        run = Uuid::now_v7();
        let writes = (first..first + RUN).map(|at| {
            let (ledger, pair, tag, value) = (&ledger, &pair, names[at % names.len()].clone(), value.clone());
            async move {
                let intent = Intent {
                    remote_name: tag.clone(),
                    tag,
                    action: Action::Create,
                    old: None,
                    new: Some(value),
                    message: None,
                    old_message: None,
                    reason: String::new(),
                };
                let id = ledger.announce(pair, run, &intent, now).await.unwrap();
                let done = Settlement {
                    outcome: Outcome::Done,
                    record: RecordChange::Keep,
                    keep_intent: false,
                    detail: None,
                    refusal: None,
                };
                ledger.settle(pair, id, &done, now).await.unwrap();
            }
        });
        join_all(writes).await;
    }
    let parked: Vec<String> = names.iter().take(1_000).map(|tag| format!("delete {tag} {tag} commit:1 -")).collect();
    let set = ParkedSet {
        plan: "5f3a5f3a5f3a".into(),
        by: ParkedBy::Guard,
        changes: parked.join("\n"),
        count: u32::try_from(parked.len()).unwrap(),
    };
    ledger.park(&pair, &[set], now).await.unwrap();
    let held = |tag: &TagName| Unsettled {
        tag: tag.clone(),
        matter: Matter::Held,
        reason: "1000 to delete and 0 done in the last 24 h exceed the budget of 50".into(),
        since: now,
    };
    let end = PassEnd {
        began: now,
        ended: now,
        state: "held".into(),
        converged: false,
        error: None,
        counts: "{}".into(),
        unsettled: names.iter().take(1_000).map(held).collect(),
        agreement: None,
    };
    ledger.end_pass(&pair, &end, None).await.unwrap();
    ledger.close().await.unwrap();
    run
}
