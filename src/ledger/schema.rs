//! The tables, their versions, and what makes a file a ledger of ours.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::directory::give_to_owner;
use super::fault::{Failure, LedgerFault};

/// "tags" in ASCII; `file ledger.db` shows it.
const APPLICATION_ID: i64 = 0x7461_6773;

/// How much SQLite reads and writes at a time.
const PAGE: u32 = 4096;

/// The statements that lead from each version to the next; their number is the version of the schema.
///
/// A published one is never changed. Times are microseconds since 1970 in UTC. Tag names are blobs, since git allows
/// bytes that are no text.
const MIGRATIONS: &[&str] = &["
    CREATE TABLE pairs (
        id INTEGER PRIMARY KEY,
        job TEXT NOT NULL, repository TEXT NOT NULL, remote TEXT NOT NULL,
        source TEXT,
        space TEXT, access TEXT, access_found TEXT, access_needed TEXT, confirmed INTEGER,
        -- Since when this source and this tag space belong together.
        bound INTEGER,
        -- A fingerprint of the rules that have had their way.
        exact_begun TEXT,
        checksum INTEGER NOT NULL,
        UNIQUE (job, repository, remote)
    ) STRICT;

    CREATE TABLE records (
        pair INTEGER NOT NULL REFERENCES pairs (id),
        tag BLOB NOT NULL, remote_name BLOB NOT NULL, value TEXT NOT NULL, ownership TEXT NOT NULL,
        checksum INTEGER NOT NULL,
        PRIMARY KEY (pair, tag)
    ) STRICT, WITHOUT ROWID;

    -- Ids are never used twice, so that a late settlement cannot meet another intent.
    CREATE TABLE intents (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        pair INTEGER NOT NULL REFERENCES pairs (id),
        time INTEGER NOT NULL, run TEXT NOT NULL,
        tag BLOB NOT NULL, remote_name BLOB NOT NULL, action TEXT NOT NULL, old TEXT, new TEXT,
        message TEXT, old_message TEXT, reason TEXT NOT NULL,
        checksum INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX intents_by_pair ON intents (pair);

    CREATE TABLE refusals (
        pair INTEGER NOT NULL REFERENCES pairs (id),
        tag BLOB NOT NULL, value TEXT NOT NULL, kind TEXT NOT NULL, detail TEXT NOT NULL,
        first INTEGER NOT NULL, last INTEGER NOT NULL,
        PRIMARY KEY (pair, tag)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE history (
        id INTEGER PRIMARY KEY,
        time INTEGER NOT NULL, run TEXT NOT NULL,
        pair INTEGER NOT NULL REFERENCES pairs (id),
        intent INTEGER NOT NULL,
        tag BLOB NOT NULL, remote_name BLOB NOT NULL, action TEXT NOT NULL, old TEXT, new TEXT,
        outcome TEXT NOT NULL, reason TEXT NOT NULL, detail TEXT, old_message TEXT
    ) STRICT;
    CREATE INDEX history_by_time ON history (time);
    CREATE INDEX history_by_run ON history (run);
    CREATE INDEX history_by_pair ON history (pair, time);
    CREATE INDEX history_by_tag ON history (tag, time);
    -- The budgets count here; creates, which may be a hundred thousand a day, stay out of it.
    CREATE INDEX history_of_losses ON history (pair, time) WHERE action <> 'create';

    -- What was put back because somebody had changed it on the remote: rare, and asked for in every pass.
    CREATE INDEX history_of_drift ON history (pair, time) WHERE reason = 'drift';

    -- How many tags were owned before a record went.
    CREATE TABLE marks (
        pair INTEGER NOT NULL REFERENCES pairs (id),
        time INTEGER NOT NULL, owned INTEGER NOT NULL,
        PRIMARY KEY (pair, time)
    ) STRICT, WITHOUT ROWID;

    -- What ended stays for a few days, so that a late decision can be told what became of its set.
    CREATE TABLE parked (
        pair INTEGER NOT NULL REFERENCES pairs (id),
        plan TEXT NOT NULL, parked_by TEXT NOT NULL, changes TEXT NOT NULL, count INTEGER NOT NULL, since INTEGER NOT NULL,
        decision TEXT, decided INTEGER,
        ending TEXT, ended INTEGER,
        PRIMARY KEY (pair, plan)
    ) STRICT, WITHOUT ROWID;

    -- Names that a person put back against the source; a value of NULL means that the name was taken away.
    CREATE TABLE pins (
        pair INTEGER NOT NULL REFERENCES pairs (id),
        tag BLOB NOT NULL, value TEXT, undone TEXT NOT NULL, since INTEGER NOT NULL,
        PRIMARY KEY (pair, tag)
    ) STRICT, WITHOUT ROWID;

    -- What tags were last seen to point at, where a listing has names only. Losing it costs a look at each.
    CREATE TABLE digests (
        pair INTEGER NOT NULL REFERENCES pairs (id),
        remote_name BLOB NOT NULL, digest TEXT NOT NULL, confirmed INTEGER NOT NULL,
        checksum INTEGER NOT NULL,
        PRIMARY KEY (pair, remote_name)
    ) STRICT, WITHOUT ROWID;

    -- All names of a remote whose listing does not show where it ends, and when it was proven that nothing follows. Losing it
    -- costs that proof.
    CREATE TABLE names (
        pair INTEGER PRIMARY KEY REFERENCES pairs (id),
        fingerprint TEXT NOT NULL, proven INTEGER NOT NULL,
        checksum INTEGER NOT NULL
    ) STRICT;

    -- Names that are to be deleted once they have been absent from the source for long enough.
    CREATE TABLE absences (
        pair INTEGER NOT NULL REFERENCES pairs (id),
        tag BLOB NOT NULL, since INTEGER NOT NULL,
        checksum INTEGER NOT NULL,
        PRIMARY KEY (pair, tag)
    ) STRICT, WITHOUT ROWID;

    -- What people were told last of pairs with which something was wrong then.
    CREATE TABLE notices (
        pair INTEGER PRIMARY KEY REFERENCES pairs (id),
        matter TEXT NOT NULL, since INTEGER NOT NULL, told INTEGER NOT NULL
    ) STRICT;

    CREATE TABLE passes (
        pair INTEGER PRIMARY KEY REFERENCES pairs (id),
        began INTEGER NOT NULL, ended INTEGER NOT NULL,
        last_success INTEGER, in_sync_since INTEGER,
        state TEXT NOT NULL, converged INTEGER NOT NULL, error TEXT, counts TEXT NOT NULL
    ) STRICT;

    -- Names on which a pair does not agree, from its latest pass that could tell.
    CREATE TABLE unsettled (
        pair INTEGER NOT NULL REFERENCES pairs (id),
        tag BLOB NOT NULL, matter TEXT NOT NULL, reason TEXT NOT NULL, since INTEGER NOT NULL,
        PRIMARY KEY (pair, tag)
    ) STRICT, WITHOUT ROWID;
", "
    -- What stands for all that the latest pass saw, where it was agreement. Losing it costs one reading of the records.
    ALTER TABLE passes ADD COLUMN agreement TEXT;
"];

/// How long to wait for a program that has the file open for writing, such as a shell.
const PATIENCE: Duration = Duration::from_secs(5);

/// Opens the ledger for writing: makes it when it is missing, brings an older one to this version.
///
/// The caller holds the lock of the state directory.
pub(super) fn open_for_writing(path: &Path) -> Result<Connection, LedgerFault> {
    if !exists(path)? {
        create(path)?;
    }
    let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    prepare_for_writing(&connection).map_err(|failure| failure.at(path))?;
    Ok(connection)
}

/// Opens a ledger that exists and is of this version, for one short transaction beside whoever holds the lock.
pub(super) fn open_beside(path: &Path) -> Result<Connection, Failure> {
    let connection = open(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    if version(&connection)? < latest() {
        return Err(Failure::Older);
    }
    connection.pragma_update(None, "synchronous", "full")?;
    Ok(connection)
}

/// Opens a file or `file:` URI that is for reading only.
pub(super) fn open_for_reading(path: &Path) -> Result<Connection, Failure> {
    let connection = open(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI)?;
    if version(&connection)? < latest() {
        return Err(Failure::Older);
    }
    Ok(connection)
}

/// Whether there is a ledger; anything at its place that cannot be one is a fault.
pub(super) fn exists(path: &Path) -> Result<bool, LedgerFault> {
    match fs::metadata(path) {
        Ok(found) if !found.is_file() => Err(LedgerFault::untrusted(path, "is not a file")),
        // SQLite would take it for a new database.
        Ok(found) if found.len() == 0 => Err(LedgerFault::untrusted(path, "is empty: its content was lost")),
        // SQLite misses whole pages itself, but fills the rest of a cut one with zeros.
        Ok(found) if found.len() % u64::from(PAGE) != 0 && is_missing_or_empty(&beside(path, "-wal"))? => {
            Err(LedgerFault::untrusted(path, "has a length that none has: it was cut off, or is something else"))
        }
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(LedgerFault::file("read the ledger", path, &error)),
    }
}

fn is_missing_or_empty(path: &Path) -> Result<bool, LedgerFault> {
    match fs::metadata(path) {
        Ok(found) => Ok(found.len() == 0),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(LedgerFault::file("read", path, &error)),
    }
}

/// The file that SQLite keeps beside the ledger under this ending.
pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// Makes the ledger under another name and gives it its own when it is complete, so that a crash in between leaves none.
fn create(path: &Path) -> Result<(), LedgerFault> {
    let log = beside(path, "-wal");
    if log.try_exists().map_err(|error| LedgerFault::file("read", &log, &error))? {
        // SQLite would play the log of the former ledger into the new one.
        return Err(LedgerFault {
            message: format!("the ledger {} is gone, but its log {} is still there", path.display(), log.display()),
            hint: format!(
                "Put back the very ledger that it belongs to; or move the log away too. {}",
                super::fault::START_AFRESH
            ),
        });
    }
    let fresh = beside(path, ".new");
    for leftover in [fresh.clone(), beside(&fresh, "-journal"), beside(&fresh, "-wal"), beside(&fresh, "-shm")] {
        match fs::remove_file(&leftover) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(LedgerFault::file("remove", &leftover, &error));
            }
            _ => {}
        }
    }
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&fresh)
        .and_then(|made| give_to_owner(&made, &fresh))
        .map_err(|error| LedgerFault::file("make the ledger", &fresh, &error))?;
    fill(&fresh).map_err(|failure| failure.at(&fresh))?;
    fs::rename(&fresh, path).map_err(|error| LedgerFault::file("make the ledger", path, &error))?;
    let directory = path.parent().unwrap_or(Path::new("/"));
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(|error| LedgerFault::file("write the directory", directory, &error))
}

fn fill(fresh: &Path) -> Result<(), Failure> {
    let connection = open(fresh, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.pragma_update(None, "page_size", PAGE)?;
    migrate(&connection, 0)?;
    // Last, so that everything is in the file itself when the log begins.
    connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
    connection.close().map_err(|(_, error)| error.into())
}

fn connect(path: &Path, flags: OpenFlags) -> Result<Connection, LedgerFault> {
    open(path, flags).map_err(|failure| failure.at(path))
}

fn open(path: &Path, flags: OpenFlags) -> Result<Connection, Failure> {
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(PATIENCE)?;
    // The file may be hostile or damaged: its schema runs nothing, and pages are looked at before they are believed.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    Ok(connection)
}

fn prepare_for_writing(connection: &Connection) -> Result<(), Failure> {
    let version = version(connection)?;
    let journal: String = connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))?;
    if journal != "wal" {
        return Err(Failure::Misuse(format!("a write-ahead log (it keeps `{journal}`)")));
    }
    // A commit is on disk when it returns.
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // After a pass that wrote much, the log shrinks again.
    connection.pragma_update_and_check(None, "journal_size_limit", 16 << 20, |_| Ok(()))?;
    if version < latest() { migrate(connection, version) } else { Ok(()) }
}

/// The file's version, once it is known to be a ledger that this program can read.
fn version(connection: &Connection) -> Result<usize, Failure> {
    let application_id: i64 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    if application_id != APPLICATION_ID {
        return Err(Failure::Corrupt("another program's data"));
    }
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    match usize::try_from(version) {
        Ok(version) if (1..=latest()).contains(&version) => Ok(version),
        Ok(version) if version > latest() => Err(Failure::Newer { version, latest: latest() }),
        _ => Err(Failure::Corrupt("a version that never was")),
    }
}

fn latest() -> usize {
    MIGRATIONS.len()
}

fn migrate(connection: &Connection, from: usize) -> Result<(), Failure> {
    let transaction = rusqlite::Transaction::new_unchecked(connection, TransactionBehavior::Exclusive)?;
    for statements in &MIGRATIONS[from..] {
        transaction.execute_batch(statements)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", i64::try_from(latest()).unwrap_or(i64::MAX))?;
    transaction.commit()?;
    Ok(())
}
