//! The ledger as its users see it: what it keeps, what it survives, and what it refuses.

#![expect(clippy::unwrap_used, reason = "the parts that tests share are tests too")]

mod damage;
mod decisions;
mod model;
mod processes;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use tagsyncd::ledger::{
    Action, HistoryQuery, Holder, Intent, IntentId, Ledger, LedgerRead as _, LockFault, Matter, Note, Outcome,
    Ownership, Pair, PairState, Parked, ParkedBy, ParkedEnd, ParkedSet, PassEnd, Pin, Record, RecordChange,
    RefusalKind, Settlement, SqliteLedger, SqliteReader, StateDirectory, StateLock, Unsettled, Work,
};
use tagsyncd::provider::{Access, Identity};
use tagsyncd::tag::{Annotation, ProvenNames, Sighting, TagName, Target, Value};
use tempfile::TempDir;
use uuid::Uuid;

struct State {
    root: TempDir,
    directory: StateDirectory,
}

impl State {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let directory = StateDirectory::resolve(Some(&root.path().join("a state#1?%2")), None).unwrap();
        Self { root, directory }
    }

    /// A process that another test starts holds all open files of this one until it is the other program, the lock among them.
    fn lock(&self) -> StateLock {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        loop {
            match self.directory.lock() {
                Err(LockFault::Held { .. }) if std::time::Instant::now() < deadline => std::thread::yield_now(),
                lock => return lock.unwrap(),
            }
        }
    }

    fn open(&self) -> SqliteLedger {
        SqliteLedger::open(&self.lock()).unwrap()
    }

    fn reader(&self) -> SqliteReader {
        SqliteLedger::open_read_only(&self.directory).unwrap().unwrap()
    }

    /// Names and bytes of everything in the state directory.
    fn bytes(&self) -> BTreeMap<String, Vec<u8>> {
        fs::read_dir(self.directory.path())
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
            .collect()
    }
}

fn pair() -> Pair {
    Pair { job: "core".into(), repository: "core".into(), remote: "gitlab".into() }
}

fn name(name: impl AsRef<[u8]>) -> TagName {
    TagName::new(name).unwrap()
}

fn value(number: u32) -> Value {
    Value::of(Target::Commit(format!("{:040x}", u64::from(number) + 1).parse().unwrap()))
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn run() -> Uuid {
    Uuid::from_u128(7)
}

fn record(tag: &TagName, number: u32) -> Record {
    Record { remote_name: tag.clone(), value: value(number), ownership: Ownership::Created }
}

fn intent(tag: &TagName, action: Action) -> Intent {
    Intent {
        tag: tag.clone(),
        remote_name: tag.clone(),
        action,
        old: (action != Action::Create).then(|| value(1)),
        new: (action != Action::Delete).then(|| value(2)),
        message: None,
        old_message: None,
        reason: String::new(),
    }
}

fn settlement(outcome: Outcome, record: RecordChange) -> Settlement {
    Settlement { outcome, record, keep_intent: false, detail: None, refusal: None }
}

fn put(tag: &TagName, number: u32) -> Note {
    Note { tag: tag.clone(), record: RecordChange::Put(record(tag, number)) }
}

fn forget(tag: &TagName) -> Note {
    Note { tag: tag.clone(), record: RecordChange::Drop }
}

fn pass(ended: Timestamp, converged: bool, error: Option<&str>) -> PassEnd {
    PassEnd {
        began: ended - SignedDuration::from_secs(1),
        ended,
        state: if converged { "in_sync" } else { "held" }.into(),
        converged,
        error: error.map(str::to_owned),
        counts: "{}".into(),
        unsettled: Vec::new(),
        agreement: None,
    }
}

async fn write(ledger: &SqliteLedger, intent: &Intent, settlement: &Settlement, now: Timestamp) {
    let id = ledger.announce(&pair(), run(), intent, now).await.unwrap();
    ledger.settle(&pair(), id, settlement, now).await.unwrap();
}

async fn delete(ledger: &SqliteLedger, tag: &TagName, now: Timestamp) {
    write(ledger, &intent(tag, Action::Delete), &settlement(Outcome::Done, RecordChange::Drop), now).await;
}

#[tokio::test]
async fn everything_survives_closing_and_opening() {
    let state = State::new();
    let odd = name(b"od\xffd/\xc3\xa9\"'\x80");
    let other = Pair { remote: "images".into(), ..pair() };
    let annotated = Record {
        remote_name: name("odd"),
        value: Value { annotation: Annotation::of_message(Some("one\ntwo")), ..value(4) },
        ownership: Ownership::Adopted,
    };
    let open = Intent {
        message: Some("a\0b\n".into()),
        old_message: Some(String::new()),
        reason: "drift".into(),
        remote_name: name(b"\xfe"),
        ..intent(&odd, Action::Move)
    };
    let identity = Identity {
        space: "42".into(),
        access: Access::ReadOnly { found: "Reporter".into(), needed: "Maintainer".into() },
    };
    let set = ParkedSet { plan: "5f3a".into(), by: ParkedBy::Guard, changes: "delete a a commit:1 -".into(), count: 1 };
    let parked = Parked { set: set.clone(), since: at(3), decision: None, ended: None };
    let pin = Pin { value: Some(value(3)), undone: run(), since: at(3) };
    let sighting = Sighting { digest: format!("sha256:{:064x}", 1).parse().unwrap(), confirmed: at(3) };

    let ledger = state.open();
    ledger.bind(&pair(), "source", &identity, at(0), false).await.unwrap();
    ledger
        .note(&pair(), &[Note { tag: odd.clone(), record: RecordChange::Put(annotated.clone()) }], at(1))
        .await
        .unwrap();
    ledger.note(&other, &[put(&name("v1"), 1)], at(1)).await.unwrap();
    ledger.park(&pair(), std::slice::from_ref(&set), at(3)).await.unwrap();
    ledger.park(&pair(), std::slice::from_ref(&set), at(9)).await.unwrap();
    ledger.pin(&pair(), &[(odd.clone(), pin.clone())]).await.unwrap();
    ledger.remember(&pair(), &[(odd.clone(), sighting.clone()), (name("x"), sighting.clone())], &[]).await.unwrap();
    ledger.remember(&pair(), &[], &[name("x")]).await.unwrap();
    let all = ProvenNames::of([&odd, &name("x")], at(3));
    ledger.remember_names(&pair(), Some(&ProvenNames::of([&odd], at(2)))).await.unwrap();
    ledger.remember_names(&pair(), Some(&all)).await.unwrap();
    ledger.remember_names(&other, Some(&all)).await.unwrap();
    ledger.remember_names(&other, None).await.unwrap();
    let id = ledger.announce(&pair(), run(), &open, at(2)).await.unwrap();
    write(
        &ledger,
        &intent(&name("refused"), Action::Create),
        &Settlement {
            refusal: Some(RefusalKind::Policy),
            detail: Some("protected".into()),
            ..settlement(Outcome::Rejected, RecordChange::Keep)
        },
        at(4),
    )
    .await;
    ledger.end_pass(&pair(), &pass(at(5), false, Some("no")), Some("names")).await.unwrap();

    let check = |read: PairState| {
        assert_eq!(read.records, BTreeMap::from([(odd.clone(), annotated.clone())]));
        assert_eq!(read.intents, [(id, open.clone())]);
        assert_eq!((read.source.as_deref(), read.exact_begun.as_deref()), (Some("source"), Some("names")));
        assert_eq!(read.identity, Some((identity.clone(), at(0))));
        assert_eq!(read.parked, std::slice::from_ref(&parked));
        assert_eq!(read.pins, BTreeMap::from([(odd.clone(), pin.clone())]));
        assert_eq!(read.sightings, BTreeMap::from([(odd.clone(), sighting.clone())]));
        assert_eq!(read.names.as_ref(), Some(&all));
        assert_eq!((read.usage.deletes, read.usage.moves, read.usage.high_water), (0, 1, 1));
        let refusal = &read.refusals[&name("refused")];
        assert_eq!(
            (refusal.value.clone(), refusal.kind, &*refusal.detail),
            (value(2), RefusalKind::Policy, "protected")
        );
        assert_eq!((refusal.first, refusal.last), (at(4), at(4)));
    };
    check(ledger.read_pair(&pair(), at(6)).await.unwrap());
    ledger.close().await.unwrap();
    check(state.reader().read_pair(&pair(), at(6)).await.unwrap());
    let ledger = state.open();
    check(ledger.read_pair(&pair(), at(6)).await.unwrap());
    assert_eq!(ledger.read_pair(&other, at(6)).await.unwrap().records.len(), 1);
    let unknown = Pair { job: "unknown".into(), ..pair() };
    assert!(ledger.read_pair(&unknown, at(6)).await.unwrap().records.is_empty());
    ledger.park(&pair(), &[], at(10)).await.unwrap();
    ledger.unpin(&pair(), std::slice::from_ref(&odd)).await.unwrap();
    let read = ledger.read_pair(&pair(), at(10)).await.unwrap();
    assert!(read.parked.is_empty() && read.pins.is_empty());
    let remembered = Parked { ended: Some((ParkedEnd::Changed, at(10))), ..parked };
    assert_eq!(ledger.read_parked().await.unwrap(), [(pair(), remembered)]);

    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(state.directory.path()), 0o700);
    assert_eq!(mode(&state.directory.ledger()), 0o600);
}

#[tokio::test]
async fn settling_writes_history_records_and_refusals() {
    let state = State::new();
    let ledger = state.open();
    let tag = name("v1");
    let refused = |new: u32| Intent { new: Some(value(new)), ..intent(&tag, Action::Create) };
    let refusal =
        Settlement { refusal: Some(RefusalKind::TargetMissing), ..settlement(Outcome::Rejected, RecordChange::Keep) };
    let times = async |now| {
        let read = ledger.read_pair(&pair(), now).await.unwrap();
        read.refusals.get(&tag).map(|refusal| (refusal.first, refusal.last))
    };
    write(&ledger, &refused(1), &refusal, at(1)).await;
    write(&ledger, &refused(1), &refusal, at(2)).await;
    assert_eq!(times(at(3)).await, Some((at(1), at(2))));
    write(&ledger, &refused(2), &refusal, at(3)).await;
    assert_eq!(times(at(3)).await, Some((at(3), at(3))));
    let not_sent = settlement(Outcome::NotSent, RecordChange::Keep);
    write(&ledger, &refused(2), &not_sent, at(4)).await;
    assert_eq!(times(at(4)).await, Some((at(3), at(3))));
    write(&ledger, &refused(2), &settlement(Outcome::Done, RecordChange::Put(record(&tag, 2))), at(5)).await;
    assert_eq!(times(at(5)).await, None);

    let history = ledger.read_history(&HistoryQuery::default()).await.unwrap();
    let words: Vec<_> = history.iter().map(|entry| (entry.time, entry.outcome.word())).collect();
    assert_eq!(words, [(at(1), "rejected"), (at(2), "rejected"), (at(3), "rejected"), (at(5), "done")]);
    assert_eq!((history[3].run, &history[3].pair, &history[3].tag), (run(), &pair(), &tag));
    assert_eq!((history[3].old.clone(), history[3].new.clone()), (None, Some(value(2))));
    for (query, expected) in [
        (HistoryQuery { limit: Some(1), ..HistoryQuery::default() }, 1),
        (HistoryQuery { since: Some(at(3)), ..HistoryQuery::default() }, 2),
        (HistoryQuery { tag: Some(name("v2")), ..HistoryQuery::default() }, 0),
        (HistoryQuery { run: Some(Uuid::nil()), ..HistoryQuery::default() }, 0),
        (
            HistoryQuery {
                job: Some("core".into()),
                run: Some(run()),
                tag: Some(tag.clone()),
                ..HistoryQuery::default()
            },
            4,
        ),
    ] {
        assert_eq!(ledger.read_history(&query).await.unwrap().len(), expected, "{query:?}");
    }

    // Not known yet: the intent stays, and is counted once however often it is settled.
    let id = ledger.announce(&pair(), run(), &intent(&tag, Action::Move), at(6)).await.unwrap();
    let lost = Settlement { keep_intent: true, ..settlement(Outcome::Lost, RecordChange::Keep) };
    ledger.settle(&pair(), id, &lost, at(6)).await.unwrap();
    ledger.settle(&pair(), id, &lost, at(7)).await.unwrap();
    let read = ledger.read_pair(&pair(), at(8)).await.unwrap();
    assert_eq!((read.intents.len(), read.usage.moves), (1, 1));
}

#[tokio::test]
async fn what_is_not_there_cannot_be_settled_and_ends_writing() {
    let state = State::new();
    let ledger = state.open();
    let id = ledger.announce(&pair(), run(), &intent(&name("v1"), Action::Create), at(0)).await.unwrap();
    let other = Pair { job: "other".into(), ..pair() };
    ledger.settle(&other, id, &settlement(Outcome::Done, RecordChange::Keep), at(1)).await.unwrap();
    let fault = ledger.end_pass(&pair(), &pass(at(2), true, None), None).await.unwrap_err();
    assert!(fault.message.contains("intent"), "{fault}");
    assert!(ledger.announce(&pair(), run(), &intent(&name("v1"), Action::Create), at(3)).await.is_err());
    assert!(ledger.note(&pair(), &[forget(&name("v1"))], at(3)).await.is_err());
    assert!(ledger.read_pair(&pair(), at(3)).await.is_err());
    assert!(ledger.close().await.is_err());
    assert_eq!(state.open().read_pair(&pair(), at(3)).await.unwrap().intents.len(), 1);
}

#[tokio::test]
async fn a_write_that_fails_inside_the_file_reaches_every_waiter() {
    let state = State::new();
    let ledger = std::sync::Arc::new(state.open());
    rusqlite::Connection::open(state.directory.ledger())
        .unwrap()
        .execute_batch("CREATE TRIGGER no BEFORE INSERT ON intents BEGIN SELECT RAISE(FAIL, 'no'); END")
        .unwrap();
    let waiters: Vec<_> = (0..20)
        .map(|number| {
            let ledger = std::sync::Arc::clone(&ledger);
            tokio::spawn(async move {
                ledger.announce(&pair(), run(), &intent(&name(format!("v{number}")), Action::Create), at(0)).await
            })
        })
        .collect();
    for waiter in waiters {
        assert!(waiter.await.unwrap().is_err());
    }
    assert_eq!(ledger.commits(), 0);
}

#[tokio::test]
async fn another_tag_space_voids_what_belonged_to_the_former() {
    let state = State::new();
    let ledger = state.open();
    let identity = |space: &str| Identity { space: space.into(), access: Access::Write };
    let tags = ["a", "b", "c"].map(name);
    ledger.bind(&pair(), "one", &identity("1"), at(0), false).await.unwrap();
    ledger.note(&pair(), &tags.clone().map(|tag| put(&tag, 1)), at(0)).await.unwrap();
    ledger.note(&pair(), &[forget(&tags[0])], at(0)).await.unwrap();
    let sighting = Sighting { digest: format!("sha256:{:064x}", 1).parse().unwrap(), confirmed: at(0) };
    ledger.remember(&pair(), &[(tags[0].clone(), sighting)], &[]).await.unwrap();
    ledger.remember_names(&pair(), Some(&ProvenNames::of(&tags, at(0)))).await.unwrap();
    let open = ledger.announce(&pair(), run(), &intent(&tags[1], Action::Delete), at(0)).await.unwrap();
    ledger.end_pass(&pair(), &pass(at(0), true, None), Some("names")).await.unwrap();

    ledger.bind(&pair(), "two", &identity("1"), at(1), true).await.unwrap();
    let read = ledger.read_pair(&pair(), at(1)).await.unwrap();
    assert!(read.records.is_empty() && read.sightings.is_empty() && read.names.is_none() && read.exact_begun.is_none());
    assert_eq!((read.usage.high_water, read.usage.deletes), (0, 1));
    assert_eq!(read.intents[0].0, open, "a gap in the same tag space must still be closed");

    ledger.bind(&pair(), "two", &identity("2"), at(2), true).await.unwrap();
    let read = ledger.read_pair(&pair(), at(2)).await.unwrap();
    assert!(read.intents.is_empty());
    assert_eq!((read.usage.high_water, read.usage.deletes), (0, 1));
    let history = ledger.read_history(&HistoryQuery::default()).await.unwrap();
    assert_eq!((history.len(), history[0].outcome), (1, Outcome::Lost));
}

#[tokio::test]
async fn budgets_count_a_rolling_day() {
    const DAY: i64 = 24 * 60 * 60;
    let state = State::new();
    let ledger = state.open();
    let tags: Vec<_> = (0..10).map(|number| name(format!("v{number}"))).collect();
    let notes: Vec<_> = tags.iter().map(|tag| put(tag, 1)).collect();
    ledger.note(&pair(), &notes, at(0)).await.unwrap();
    let usage = async |now| {
        let usage = ledger.read_pair(&pair(), now).await.unwrap().usage;
        (usage.deletes, usage.moves, usage.high_water)
    };
    assert_eq!(usage(at(0)).await, (0, 0, 10));
    delete(&ledger, &tags[0], at(10)).await;
    delete(&ledger, &tags[1], at(7200)).await;
    assert_eq!(usage(at(7200)).await, (2, 0, 10));

    let approved = Intent { reason: "approved".into(), ..intent(&tags[2], Action::Delete) };
    write(&ledger, &approved, &settlement(Outcome::Done, RecordChange::Drop), at(7300)).await;
    let kept = |outcome| settlement(outcome, RecordChange::Keep);
    for outcome in [Outcome::Already, Outcome::Rejected, Outcome::NotSent, Outcome::Restored, Outcome::Lost] {
        write(&ledger, &intent(&tags[3], Action::Move), &kept(outcome), at(7400)).await;
    }
    write(&ledger, &intent(&tags[3], Action::Create), &kept(Outcome::Done), at(7400)).await;
    let open = ledger.announce(&pair(), run(), &intent(&tags[4], Action::Delete), at(7400)).await.unwrap();
    assert_eq!(usage(at(7400)).await, (3, 2, 10));
    ledger.settle(&pair(), open, &kept(Outcome::NotSent), at(7500)).await.unwrap();

    assert_eq!(usage(at(DAY + 9)).await, (2, 2, 10));
    assert_eq!(usage(at(DAY + 10)).await, (1, 2, 10), "marks last up to a minute longer");
    assert_eq!(usage(at(DAY + 70)).await, (1, 2, 9));
    assert_eq!(usage(at(DAY + 7200)).await, (0, 2, 9));
    assert_eq!(usage(at(DAY + 7500)).await, (0, 0, 7));
    assert_eq!(usage(at(-DAY)).await, (2, 2, 10), "a clock that was set back frees nothing");

    // The mark of a restart is the same.
    drop(ledger);
    let ledger = state.open();
    let gone: Vec<_> = tags.iter().map(forget).collect();
    ledger.note(&pair(), &gone, at(3 * DAY)).await.unwrap();
    let read = ledger.read_pair(&pair(), at(3 * DAY)).await.unwrap();
    assert_eq!((read.records.len(), read.usage.high_water), (0, 7));
}

#[tokio::test]
async fn status_says_since_when_both_sides_agree() {
    let state = State::new();
    let ledger = state.open();
    let mut seen = Vec::new();
    for (seconds, converged, error) in [
        (1, false, Some("down")),
        (2, true, None),
        (3, true, None),
        (4, false, None),
        (5, true, None),
        (6, false, Some("down")),
    ] {
        ledger.end_pass(&pair(), &pass(at(seconds), converged, error), None).await.unwrap();
        let status = state.reader().read_status().await.unwrap().remove(0);
        assert_eq!((&status.pair, &status.last), (&pair(), &pass(at(seconds), converged, error)));
        seen.push((status.last_success, status.in_sync_since));
    }
    assert_eq!(
        seen,
        [
            (None, None),
            (Some(at(2)), Some(at(2))),
            (Some(at(3)), Some(at(2))),
            (Some(at(4)), None),
            (Some(at(5)), Some(at(5))),
            (Some(at(5)), None)
        ]
    );
}

#[tokio::test]
async fn intents_announced_together_share_flushes() {
    let state = State::new();
    let ledger = std::sync::Arc::new(state.open());
    let before = ledger.commits();
    let waiters: Vec<_> = (0..200)
        .map(|number| {
            let ledger = std::sync::Arc::clone(&ledger);
            tokio::spawn(async move {
                ledger
                    .announce(&pair(), run(), &intent(&name(format!("v{number}")), Action::Create), at(0))
                    .await
                    .unwrap()
            })
        })
        .collect();
    let mut ids = Vec::new();
    for waiter in waiters {
        ids.push(waiter.await.unwrap());
    }
    let commits = ledger.commits() - before;
    assert!((1..100).contains(&commits), "{commits} commits for 200 intents");
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 200);

    // What rides along takes no flush of its own.
    let before = ledger.commits();
    for &id in &ids {
        ledger.settle(&pair(), id, &settlement(Outcome::Done, RecordChange::Keep), at(1)).await.unwrap();
    }
    ledger.end_pass(&pair(), &pass(at(2), true, None), None).await.unwrap();
    assert!(ledger.commits() - before <= 2);
    let before = ledger.commits();
    drop(ledger.read_pair(&pair(), at(3)).await.unwrap());
    ledger.park(&pair(), &[], at(6)).await.unwrap();
    ledger.end_pass(&pair(), &pass(at(3), true, None), None).await.unwrap();
    assert!(ledger.commits() - before <= 1, "a pass without changes is one commit");
}
