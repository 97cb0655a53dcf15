//! The ledger as its users see it: what it keeps, what it survives, and what it refuses.

#![expect(clippy::unwrap_used, reason = "the parts that tests share are tests too")]

mod decisions;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use tagsyncd::ledger::{
    Action, HistoryQuery, Intent, IntentId, Ledger, LedgerRead as _, LockFault, Matter, Note, Outcome, Ownership, Pair,
    PairState, Parked, ParkedBy, ParkedEnd, ParkedSet, PassEnd, Pin, Record, RecordChange, RefusalKind, Settlement,
    SqliteLedger, SqliteReader, StateDirectory, StateLock, Unsettled,
};
use tagsyncd::provider::{Access, Identity};
use tagsyncd::tag::{Annotation, TagName, Target, Value};
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

    fn lock(&self) -> StateLock {
        self.directory.lock().unwrap()
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
    ledger.end_pass(&pair(), &pass(at(5), false, Some("no")), true).await.unwrap();

    let check = |read: PairState| {
        assert_eq!(read.records, BTreeMap::from([(odd.clone(), annotated.clone())]));
        assert_eq!(read.intents, [(id, open.clone())]);
        assert_eq!((read.source.as_deref(), read.exact_begun), (Some("source"), true));
        assert_eq!(read.identity, Some((identity.clone(), at(0))));
        assert_eq!(read.parked, std::slice::from_ref(&parked));
        assert_eq!(read.pins, BTreeMap::from([(odd.clone(), pin.clone())]));
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
    let fault = ledger.end_pass(&pair(), &pass(at(2), true, None), false).await.unwrap_err();
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
    let open = ledger.announce(&pair(), run(), &intent(&tags[1], Action::Delete), at(0)).await.unwrap();
    ledger.end_pass(&pair(), &pass(at(0), true, None), true).await.unwrap();

    ledger.bind(&pair(), "two", &identity("1"), at(1), true).await.unwrap();
    let read = ledger.read_pair(&pair(), at(1)).await.unwrap();
    assert!(read.records.is_empty() && !read.exact_begun);
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
        ledger.end_pass(&pair(), &pass(at(seconds), converged, error), false).await.unwrap();
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
    ledger.end_pass(&pair(), &pass(at(2), true, None), false).await.unwrap();
    assert!(ledger.commits() - before <= 2);
    let before = ledger.commits();
    drop(ledger.read_pair(&pair(), at(3)).await.unwrap());
    ledger.park(&pair(), &[], at(6)).await.unwrap();
    ledger.end_pass(&pair(), &pass(at(3), true, None), false).await.unwrap();
    assert!(ledger.commits() - before <= 1, "a pass without changes is one commit");
}

// Another process: this very binary, told by a variable which part to play.

const PART: &str = "LEDGER_TEST_STATE";

fn child(state: &State) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "part_of_another_process", "--nocapture"])
        .env(PART, state.directory.path())
        .stdout(Stdio::piped())
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    assert!(output.lines().any(|line| line.unwrap().contains("ready")));
    child
}

#[tokio::test]
async fn part_of_another_process() {
    let Some(path) = std::env::var_os(PART) else { return };
    let directory = StateDirectory::resolve(Some(Path::new(&path)), None).unwrap();
    let ledger = SqliteLedger::open(&directory.lock().unwrap()).unwrap();
    let tag = name("v1");
    ledger.note(&pair(), &[put(&tag, 1)], at(0)).await.unwrap();
    ledger.announce(&pair(), run(), &intent(&tag, Action::Move), at(1)).await.unwrap();
    // Not flushed any more: lost when this process is killed at once, which costs one look at the remote.
    std::io::stdout().write_all(b"ready\n").unwrap();
    std::thread::sleep(std::time::Duration::from_secs(60));
}

#[tokio::test]
async fn one_process_writes_and_others_read_until_it_is_killed() {
    let state = State::new();
    let mut child = child(&state);

    let Err(LockFault::Held { process, .. }) = state.directory.lock() else { panic!("the lock is held") };
    assert_eq!(process, Some(child.id()));
    let fault = state.directory.lock().unwrap_err();
    // A signal would end the pass that is under way there.
    assert_eq!(fault.hint(), "Wait until it is done.");

    let check = async |reader: &SqliteReader| {
        let before = state.bytes();
        let read = reader.read_pair(&pair(), at(2)).await.unwrap();
        assert_eq!((read.records.len(), read.intents.len()), (1, 1));
        let after = state.bytes();
        assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
        for (file, bytes) in &before {
            assert!(after[file] == *bytes, "{file} was changed by reading");
        }
    };
    let reader = state.reader();
    check(&reader).await;
    child.kill().unwrap();
    child.wait().unwrap();
    check(&reader).await;

    // An unclean stop of the machine may leave the log alone: reading does not mend that, writing does.
    let index = state.directory.path().join("ledger.db-shm");
    fs::remove_file(&index).unwrap();
    let fault = reader.read_pair(&pair(), at(2)).await.unwrap_err();
    assert!(fault.hint.contains("--sync"), "{fault}: {}", fault.hint);
    assert!(!index.exists());

    let ledger = state.open();
    let read = ledger.read_pair(&pair(), at(2)).await.unwrap();
    assert_eq!((read.records.len(), read.intents.len()), (1, 1), "announced means on disk, with all before it");
    let (id, open) = &read.intents[0];
    assert_eq!(*open, intent(&name("v1"), Action::Move));
    assert!(*id < ledger.announce(&pair(), run(), open, at(3)).await.unwrap());
    ledger.close().await.unwrap();
    check_is_one_file(&state);
}

fn check_is_one_file(state: &State) {
    assert_eq!(state.bytes().keys().collect::<Vec<_>>(), ["ledger.db", "lock"]);
}

#[tokio::test]
async fn reading_makes_nothing_and_blocks_nobody() {
    let state = State::new();
    assert!(SqliteLedger::open_read_only(&state.directory).unwrap().is_none());
    assert_eq!(fs::read_dir(state.root.path()).unwrap().count(), 0);

    let ledger = state.open();
    ledger.note(&pair(), &[put(&name("v1"), 1)], at(0)).await.unwrap();
    ledger.close().await.unwrap();
    check_is_one_file(&state);
    let before = state.bytes();
    let reader = state.reader();
    assert_eq!(reader.read_pair(&pair(), at(0)).await.unwrap().records.len(), 1);
    assert_eq!(reader.read_status().await.unwrap(), []);
    assert!(before == state.bytes());

    // While another connection is inside a write, and after it came and went.
    let writing = rusqlite::Connection::open(state.directory.ledger()).unwrap();
    writing.execute_batch("BEGIN IMMEDIATE; DELETE FROM records").unwrap();
    assert_eq!(reader.read_pair(&pair(), at(0)).await.unwrap().records.len(), 1);
    writing.execute_batch("COMMIT").unwrap();
    assert_eq!(reader.read_pair(&pair(), at(0)).await.unwrap().records.len(), 0);
    drop(writing);
    assert_eq!(reader.read_pair(&pair(), at(0)).await.unwrap().records.len(), 0);
    check_is_one_file(&state);
}

/// A ledger with something of everything, closed.
async fn small() -> (State, BTreeMap<TagName, Record>) {
    let state = State::new();
    let ledger = state.open();
    let identity = Identity { space: "1".into(), access: Access::Write };
    ledger.bind(&pair(), "source", &identity, at(0), false).await.unwrap();
    let notes: Vec<_> = (0..40).map(|number| put(&name(format!("v{number}")), number)).collect();
    ledger.note(&pair(), &notes, at(0)).await.unwrap();
    delete(&ledger, &name("v39"), at(1)).await;
    ledger.announce(&pair(), run(), &intent(&name("v1"), Action::Move), at(2)).await.unwrap();
    ledger.end_pass(&pair(), &pass(at(3), true, None), false).await.unwrap();
    let records = ledger.read_pair(&pair(), at(3)).await.unwrap().records;
    ledger.close().await.unwrap();
    (state, records)
}

/// What is read from damaged bytes is a fault, or true.
async fn check_damaged(state: &State, truth: &BTreeMap<TagName, Record>, what: &str) {
    let check = |read: PairState| {
        for (tag, record) in &read.records {
            assert_eq!(truth.get(tag), Some(record), "{what}: {tag}");
        }
        for (_, open) in &read.intents {
            assert_eq!(*open, intent(&name("v1"), Action::Move), "{what}");
        }
        assert!(!read.exact_begun, "{what}");
    };
    if let Ok(Some(reader)) = SqliteLedger::open_read_only(&state.directory)
        && let Ok(read) = reader.read_pair(&pair(), at(4)).await
    {
        check(read);
    }
}

#[tokio::test]
async fn no_flipped_byte_and_no_cut_is_taken_for_another_truth() {
    let (state, truth) = small().await;
    let path = state.directory.ledger();
    let whole = fs::read(&path).unwrap();
    // The header, a sample of the bytes that hold something, and a thinner one of the rest; another bit each time.
    let header = 0..200;
    let full = (header.end..whole.len()).filter(|&at| whole[at] != 0).step_by(11);
    let any = (header.end..whole.len()).step_by(499);
    let sample = header.chain(full).chain(any);
    let mut damaged = whole.clone();
    for (number, at) in sample.enumerate() {
        damaged[at] ^= if number % 3 == 0 { 0xff } else { 1 << (number % 8) };
        fs::write(&path, &damaged).unwrap();
        check_damaged(&state, &truth, &format!("byte {at}")).await;
        damaged[at] = whole[at];
    }
    for length in (0..whole.len()).filter(|length| length % 997 == 0 || length % 4096 == 0) {
        fs::write(&path, &whole[..length]).unwrap();
        check_damaged(&state, &truth, &format!("cut to {length}")).await;
        assert!(SqliteLedger::open(&state.lock()).is_err(), "cut to {length}");
        assert!(SqliteLedger::open_read_only(&state.directory).is_err(), "cut to {length}");
    }
}

#[tokio::test]
async fn a_damaged_file_open_for_writing_never_panics() {
    let (state, truth) = small().await;
    let path = state.directory.ledger();
    let whole = fs::read(&path).unwrap();
    for number in 0_usize..30 {
        let which = number.wrapping_mul(0x9e37_79b9) % whole.len();
        let mut damaged = whole.clone();
        damaged[which] ^= 0xff;
        fs::write(&path, &damaged).unwrap();
        if let Ok(ledger) = SqliteLedger::open(&state.lock()) {
            if let Ok(read) = ledger.read_pair(&pair(), at(4)).await {
                assert!(read.records.iter().all(|(tag, record)| truth.get(tag) == Some(record)), "byte {which}");
            }
            let _written = ledger.announce(&pair(), run(), &intent(&name("v2"), Action::Move), at(4)).await;
            let _noted = ledger.note(&pair(), &[forget(&name("v3"))], at(4)).await;
            let _ended = ledger.end_pass(&pair(), &pass(at(4), true, None), false).await;
        }
        for ending in ["-wal", "-shm", "-journal"] {
            let _absent = fs::remove_file(state.directory.path().join(format!("ledger.db{ending}")));
        }
    }
}

#[tokio::test]
async fn what_is_no_ledger_of_ours_is_refused_and_left_alone() {
    type Damage = dyn Fn(&Path);
    let cases: [(&str, &Damage, &str); 7] = [
        ("newer", &|path| alter(path, "PRAGMA user_version = 999"), "version 999"),
        ("never", &|path| alter(path, "PRAGMA user_version = -1"), "damaged"),
        ("foreign", &|path| alter(path, "PRAGMA application_id = 7"), "another program"),
        ("text", &|path| fs::write(path, "text".repeat(1024)).unwrap(), "not a ledger"),
        ("short", &|path| fs::write(path, "text").unwrap(), "cut off"),
        ("empty", &|path| fs::write(path, "").unwrap(), "empty"),
        (
            "directory",
            &|path| {
                fs::remove_file(path).unwrap();
                fs::create_dir(path).unwrap();
            },
            "not a file",
        ),
    ];
    for (case, damage, says) in cases {
        let (state, _) = small().await;
        let path = state.directory.ledger();
        damage(&path);
        let before = fs::read(&path).ok();
        for fault in [
            SqliteLedger::open(&state.lock()).unwrap_err(),
            SqliteLedger::open_read_only(&state.directory).unwrap_err(),
        ] {
            assert!(fault.message.contains(says), "{case}: {fault}");
            assert!(fault.message.contains("ledger.db"), "{case}: {fault}");
            assert!(fault.hint.contains("is moved or deleted"), "{case}: {}", fault.hint);
        }
        assert!(before == fs::read(&path).ok(), "{case}");
    }
}

fn alter(path: &Path, sql: &str) {
    rusqlite::Connection::open(path).unwrap().execute_batch(sql).unwrap();
}

#[tokio::test]
async fn the_log_of_another_ledger_is_not_played_into_a_new_one() {
    let (state, _) = small().await;
    fs::remove_file(state.directory.ledger()).unwrap();
    fs::write(state.directory.path().join("ledger.db-wal"), "old").unwrap();
    let fault = SqliteLedger::open(&state.lock()).unwrap_err();
    assert!(fault.message.contains("gone"), "{fault}");
    fs::remove_file(state.directory.path().join("ledger.db-wal")).unwrap();
    fs::write(state.directory.path().join("ledger.db.new"), "from a start that was cut short").unwrap();
    assert!(state.open().read_pair(&pair(), at(0)).await.unwrap().records.is_empty());
}

#[tokio::test]
async fn a_changed_row_is_a_fault() {
    for change in [
        "UPDATE records SET ownership = 'adopted' WHERE tag = CAST('v1' AS BLOB)",
        "UPDATE records SET value = replace(value, '2', '3') WHERE tag = CAST('v1' AS BLOB)",
        "UPDATE records SET tag = CAST('w1' AS BLOB) WHERE tag = CAST('v1' AS BLOB)",
        "UPDATE intents SET reason = 'approved'",
        "UPDATE intents SET id = 77",
        "UPDATE pairs SET exact_begun = 1",
        "UPDATE pairs SET job = 'other', source = 'x' WHERE id = 1; UPDATE pairs SET job = 'core'",
    ] {
        let (state, _) = small().await;
        alter(&state.directory.ledger(), change);
        let fault = state.reader().read_pair(&pair(), at(4)).await.unwrap_err();
        assert!(fault.message.contains("damaged"), "{change}: {fault}");
    }
}

#[derive(Clone, Debug)]
enum Step {
    Announce(u8, Action, bool),
    Settle(u8, Outcome, bool, bool),
    Note(u8, Option<u8>),
    EndPass,
    Reopen,
    Read,
}

fn step() -> impl Strategy<Value = Step> {
    let action = prop_oneof![Just(Action::Create), Just(Action::Move), Just(Action::Delete)];
    let outcome = prop_oneof![
        Just(Outcome::Done),
        Just(Outcome::Already),
        Just(Outcome::Rejected),
        Just(Outcome::NotSent),
        Just(Outcome::Restored),
        Just(Outcome::Lost),
    ];
    prop_oneof![
        4 => (0..6_u8, action, any::<bool>()).prop_map(|(tag, action, approved)| Step::Announce(tag, action, approved)),
        4 => (any::<u8>(), outcome, any::<bool>(), any::<bool>())
            .prop_map(|(which, outcome, keep, refuse)| Step::Settle(which, outcome, keep, refuse)),
        3 => (0..6_u8, proptest::option::of(0..3_u8)).prop_map(|(tag, value)| Step::Note(tag, value)),
        1 => Just(Step::EndPass),
        1 => Just(Step::Reopen),
        1 => Just(Step::Read),
    ]
}

/// The ledger in a few maps: what the real one is held against.
#[derive(Default)]
struct Model {
    records: BTreeMap<TagName, Record>,
    intents: Vec<(IntentId, Intent)>,
    refusals: BTreeMap<TagName, Value>,
    used: std::collections::BTreeSet<(Action, IntentId)>,
    history: Vec<(TagName, Outcome)>,
    high_water: usize,
}

impl Model {
    fn change(&mut self, tag: &TagName, change: &RecordChange) {
        match change {
            RecordChange::Keep => {}
            RecordChange::Put(record) => drop(self.records.insert(tag.clone(), record.clone())),
            RecordChange::Drop => drop(self.records.remove(tag)),
        }
        self.high_water = self.high_water.max(self.records.len());
    }

    fn settle(&mut self, at: usize, settlement: &Settlement) {
        let (id, intent) = self.intents[at].clone();
        let effect = matches!(settlement.outcome, Outcome::Done | Outcome::Restored | Outcome::Lost);
        if effect && intent.action != Action::Create && intent.reason != "approved" {
            self.used.insert((intent.action, id));
        }
        if settlement.outcome != Outcome::NotSent {
            self.history.push((intent.tag.clone(), settlement.outcome));
        }
        self.change(&intent.tag, &settlement.record);
        if settlement.refusal.is_some() {
            self.refusals.insert(intent.tag.clone(), intent.new.or(intent.old).unwrap());
        } else if matches!(settlement.outcome, Outcome::Done | Outcome::Already) {
            self.refusals.remove(&intent.tag);
        }
        if !settlement.keep_intent {
            self.intents.remove(at);
        }
    }

    fn count(&self, action: Action) -> u32 {
        let mut used = self.used.clone();
        used.extend(
            self.intents.iter().filter(|(_, open)| open.reason != "approved").map(|(id, open)| (open.action, *id)),
        );
        u32::try_from(used.iter().filter(|(used, _)| *used == action).count()).unwrap()
    }

    async fn check(&self, ledger: &SqliteLedger, now: Timestamp) {
        let read = ledger.read_pair(&pair(), now).await.unwrap();
        assert_eq!(read.records, self.records);
        assert_eq!(read.intents, self.intents);
        let refusals: BTreeMap<_, _> = read.refusals.into_iter().map(|(tag, refusal)| (tag, refusal.value)).collect();
        assert_eq!(refusals, self.refusals);
        assert_eq!((read.usage.deletes, read.usage.moves), (self.count(Action::Delete), self.count(Action::Move)));
        assert_eq!(usize::try_from(read.usage.high_water).unwrap(), self.high_water);
        let history = ledger.read_history(&HistoryQuery::default()).await.unwrap();
        let history: Vec<_> = history.into_iter().map(|entry| (entry.tag, entry.outcome)).collect();
        assert_eq!(history, self.history);
    }
}

async fn follow(steps: Vec<Step>) {
    let state = State::new();
    let mut ledger = state.open();
    let mut model = Model::default();
    for (now, step) in steps.into_iter().enumerate() {
        let now = at(i64::try_from(now).unwrap());
        match step {
            Step::Announce(tag, action, approved) => {
                let tag = name([b't', 0xf0 + tag]);
                let reason = if approved { "approved" } else { "" }.to_owned();
                let intent = Intent { reason, ..intent(&tag, action) };
                let id = ledger.announce(&pair(), run(), &intent, now).await.unwrap();
                model.intents.push((id, intent));
            }
            Step::Settle(which, outcome, keep_intent, refuse) if !model.intents.is_empty() => {
                let at = usize::from(which) % model.intents.len();
                let (id, intent) = &model.intents[at];
                let record = match (outcome, &intent.new) {
                    (Outcome::Done | Outcome::Already, Some(_)) => RecordChange::Put(record(&intent.tag, 2)),
                    (Outcome::Done | Outcome::Already, None) => RecordChange::Drop,
                    _ => RecordChange::Keep,
                };
                let refusal = (refuse && outcome == Outcome::Rejected).then_some(RefusalKind::Policy);
                let settlement = Settlement { outcome, record, keep_intent, detail: None, refusal };
                ledger.settle(&pair(), *id, &settlement, now).await.unwrap();
                model.settle(at, &settlement);
            }
            Step::Settle(..) => {}
            Step::Note(tag, value) => {
                let tag = name([b't', 0xf0 + tag]);
                let note = value.map_or_else(|| forget(&tag), |value| put(&tag, u32::from(value)));
                ledger.note(&pair(), std::slice::from_ref(&note), now).await.unwrap();
                model.change(&tag, &note.record);
                model.refusals.remove(&tag);
            }
            Step::EndPass => ledger.end_pass(&pair(), &pass(now, true, None), false).await.unwrap(),
            Step::Reopen => {
                drop(ledger);
                ledger = state.open();
            }
            Step::Read => model.check(&ledger, now).await,
        }
    }
    model.check(&ledger, at(1000)).await;
    drop(ledger);
    check_is_one_file(&state);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_ledger_does_what_a_few_maps_do(steps in proptest::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(follow(steps));
    }
}
