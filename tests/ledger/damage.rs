//! Files that are broken, foreign, cut or altered.

use super::*;

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
    ledger.end_pass(&pair(), &pass(at(3), true, None), None).await.unwrap();
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
        assert_eq!(read.exact_begun, None, "{what}");
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
            let _ended = ledger.end_pass(&pair(), &pass(at(4), true, None), None).await;
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
async fn an_older_ledger_is_brought_to_this_version_by_who_writes_and_left_alone_by_who_reads() {
    let state = State::new();
    let ledger = state.open();
    ledger.note(&pair(), &[put(&name("v1"), 1)], at(1)).await.unwrap();
    ledger.end_pass(&pair(), &pass(at(2), true, None), None).await.unwrap();
    drop(ledger);
    // As the first version was.
    alter(&state.directory.ledger(), "ALTER TABLE passes DROP COLUMN agreement; PRAGMA user_version = 1");
    let before = state.bytes();
    let fault = SqliteLedger::open_read_only(&state.directory).unwrap_err();
    assert!(fault.message.contains("older") && fault.hint.contains("--sync"), "{fault}");
    assert_eq!(state.bytes(), before);
    let ledger = state.open();
    assert_eq!(ledger.read_pair(&pair(), at(3)).await.unwrap().records.len(), 1);
    assert_eq!(ledger.read_agreement(&pair()).await.unwrap(), None);
    drop(ledger);
    assert_eq!(state.reader().read_status().await.unwrap().len(), 1);
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
        "UPDATE pairs SET exact_begun = 'names'",
        "UPDATE pairs SET job = 'other', source = 'x' WHERE id = 1; UPDATE pairs SET job = 'core'",
    ] {
        let (state, _) = small().await;
        alter(&state.directory.ledger(), change);
        let fault = state.reader().read_pair(&pair(), at(4)).await.unwrap_err();
        assert!(fault.message.contains("damaged"), "{change}: {fault}");
    }
}

#[tokio::test]
async fn an_absence_keeps_its_age_until_it_ends_or_cannot_be_trusted() {
    let (state, _) = small().await;
    let tags = ["a", "b", "c"].map(name);
    let ledger = state.open();
    ledger.note_absences(&pair(), &tags, &[], at(1)).await.unwrap();
    ledger.note_absences(&pair(), &tags[1..2], &tags[2..], at(2)).await.unwrap();
    ledger.close().await.unwrap();
    let absences = async || state.reader().read_pair(&pair(), at(4)).await.unwrap().lately.absences;
    let known = BTreeMap::from([(tags[0].clone(), at(1)), (tags[1].clone(), at(2))]);
    assert_eq!(absences().await, known);

    alter(&state.directory.ledger(), "UPDATE absences SET since = since - 1 WHERE tag = CAST('a' AS BLOB)");
    assert_eq!(absences().await, BTreeMap::from([(tags[1].clone(), at(2))]));
    let ledger = state.open();
    ledger.note_absences(&pair(), &tags[..1], &[], at(3)).await.unwrap();
    ledger.flush().await.unwrap();
    assert_eq!(absences().await[&tags[0]], at(3));

    let identity = Identity { space: "2".into(), access: Access::Write };
    ledger.bind(&pair(), "source", &identity, at(4), true).await.unwrap();
    ledger.flush().await.unwrap();
    assert!(absences().await.is_empty());
}
