//! Reading beside a writer, or without one, and leaving no trace.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use rusqlite::Connection;
use uuid::Uuid;

use super::fault::{Failure, LedgerFault};
use super::{
    Agreement, HistoryEntry, HistoryQuery, LedgerRead, NameState, Notice, Pair, PairState, PairStatus, Parked,
    StateDirectory, read, schema,
};
use crate::tag::TagName;

/// The ledger for commands that must change nothing: it cannot write, makes no file and blocks no writer.
///
/// Each question opens the file for itself and closes it again. While a writer has it open, or where one has left it,
/// SQLite's log gives a consistent moment. Where there is no log, the file is read as it stands, which is repeated if
/// anything about it has changed meanwhile. So the directory need not be writable, only readable. One case needs a writer
/// first: a log without its index (`-shm`), as an unclean stop of the machine can leave it, or a copy of the files.
#[derive(Clone, Debug)]
pub struct SqliteReader {
    path: PathBuf,
}

impl SqliteReader {
    /// The ledger of this directory, or `None` where there is none yet.
    pub fn open(directory: &StateDirectory) -> Result<Option<Self>, LedgerFault> {
        let path = directory.ledger();
        if !schema::exists(&path)? {
            return Ok(None);
        }
        let reader = Self { path };
        // Asks nothing, but finds out whether this is a ledger at all.
        reader.read_blocking(|_| Ok(()))?;
        Ok(Some(reader))
    }

    async fn read<T: Send + 'static>(
        &self,
        question: impl Fn(&Connection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, LedgerFault> {
        let reader = self.clone();
        in_background(move || reader.read_blocking(question)).await
    }

    fn read_blocking<T>(&self, question: impl Fn(&Connection) -> Result<T, Failure>) -> Result<T, LedgerFault> {
        const ATTEMPTS: u32 = 20;
        let mut attempt = 0;
        loop {
            attempt += 1;
            let before = self.stamp()?;
            let answer =
                schema::open_for_reading(&self.address(before.log)).and_then(|connection| question(&connection));
            let unchanged = || self.stamp().is_ok_and(|after| after == before);
            match answer {
                // The log isolates from whatever happens beside; a bare file does not.
                Ok(answer) if before.log > 0 || unchanged() => return Ok(answer),
                // A writer that just came or went can be the reason for a failure: one that lasts will be seen again.
                Err(failure) if unchanged() || attempt == ATTEMPTS => return Err(self.explain(failure, &before)),
                Ok(_) if attempt == ATTEMPTS => {
                    return Err(LedgerFault {
                        message: format!("the ledger {} keeps changing while it is read", self.path.display()),
                        hint: "Try again in a moment.".into(),
                    });
                }
                _ => thread::sleep(Duration::from_millis(5)),
            }
        }
    }

    /// How SQLite is asked to touch nothing: with a log, its index is only read; without, there is nothing but the file.
    fn address(&self, log: u64) -> PathBuf {
        const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'.').remove(b'-').remove(b'_');
        let path = percent_encode(self.path.as_os_str().as_bytes(), PLAIN);
        let how = if log > 0 { "mode=ro&readonly_shm=1" } else { "mode=ro&immutable=1" };
        format!("file://{path}?{how}").into()
    }

    fn stamp(&self) -> Result<Stamp, LedgerFault> {
        let found = |path: &Path| match fs::metadata(path) {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(LedgerFault::file("read the ledger", path, &error)),
        };
        let ledger =
            fs::metadata(&self.path).map_err(|error| LedgerFault::file("read the ledger", &self.path, &error))?;
        Ok(Stamp {
            file: (ledger.dev(), ledger.ino()),
            changed: (ledger.mtime(), ledger.mtime_nsec(), ledger.len()),
            log: found(&schema::beside(&self.path, "-wal"))?.as_ref().map_or(0, Metadata::len),
            index: found(&schema::beside(&self.path, "-shm"))?.is_some(),
        })
    }

    fn explain(&self, failure: Failure, stamp: &Stamp) -> LedgerFault {
        if stamp.log > 0 && !stamp.index {
            return LedgerFault {
                message: format!(
                    "the ledger {} has a log beside it, and the index of that is missing",
                    self.path.display()
                ),
                hint: "Start the daemon, or run `tagsyncd --sync`, once: reading alone must not mend it.".into(),
            };
        }
        failure.at(&self.path)
    }
}

/// What shows that the file was the same before and after. Taken without opening it: closing it would drop the locks
/// that SQLite holds on it in this process.
#[derive(PartialEq, Eq)]
struct Stamp {
    file: (u64, u64),
    changed: (i64, i64, u64),
    /// How long the log is; 0 when there is none.
    log: u64,
    index: bool,
}

/// Runs what waits for the disk where it holds up nobody.
pub(super) async fn in_background<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LedgerFault> + Send + 'static,
) -> Result<T, LedgerFault> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
        Err(LedgerFault {
            message: format!("reading the ledger ended early: {error}"),
            hint: "Nothing follows from a ledger that was not read. Start again.".into(),
        })
    })
}

#[async_trait]
impl LedgerRead for SqliteReader {
    async fn read_pair(&self, pair: &Pair, now: Timestamp) -> Result<PairState, LedgerFault> {
        let pair = pair.clone();
        self.read(move |connection| read::pair_state(connection, &pair, now)).await
    }

    async fn read_agreement(&self, pair: &Pair) -> Result<Option<Agreement>, LedgerFault> {
        let pair = pair.clone();
        self.read(move |connection| read::agreement(connection, &pair)).await
    }

    async fn read_pairs_of(&self, run: Uuid) -> Result<Vec<Pair>, LedgerFault> {
        self.read(move |connection| read::pairs_of(connection, run)).await
    }

    async fn read_name(&self, pair: &Pair, tag: &TagName) -> Result<NameState, LedgerFault> {
        let (pair, tag) = (pair.clone(), tag.clone());
        self.read(move |connection| read::name_state(connection, &pair, &tag)).await
    }

    async fn read_history(&self, query: &HistoryQuery) -> Result<Vec<HistoryEntry>, LedgerFault> {
        let query = query.clone();
        self.read(move |connection| read::history(connection, &query)).await
    }

    async fn read_status(&self) -> Result<Vec<PairStatus>, LedgerFault> {
        self.read(read::status).await
    }

    async fn read_parked(&self) -> Result<Vec<(Pair, Parked)>, LedgerFault> {
        self.read(read::all_parked).await
    }

    async fn read_notices(&self) -> Result<Vec<(Pair, Notice)>, LedgerFault> {
        self.read(read::notices).await
    }
}
