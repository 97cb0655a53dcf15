//! One process writes, others read, and any of them may be killed.

use super::*;

// Another process: this very binary, told by a variable which part to play.

const PART: &str = "LEDGER_TEST_STATE";

fn child(state: &State) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "processes::part_of_another_process", "--nocapture"])
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

    let Err(LockFault::Held { holder, .. }) = state.directory.lock() else { panic!("the lock is held") };
    assert_eq!(holder, Some(Holder { process: child.id(), work: Work::Pass }));
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

pub(super) fn check_is_one_file(state: &State) {
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
