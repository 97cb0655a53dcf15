//! The ledger in SQLite: one connection reads, one thread writes.

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::{Connection, params};
use uuid::Uuid;

use super::fault::{Failure, LedgerFault};
use super::read::{self, IntentRow};
use super::reader::in_background;
use super::writer::Writer;
use super::{
    Decision, HistoryEntry, HistoryQuery, Intent, IntentId, Ledger, LedgerRead, NameState, Note, Notice, Pair,
    PairState, PairStatus, Parked, ParkedSet, PassEnd, Pin, Settlement, SqliteReader, StateDirectory, StateLock,
    schema,
};
use crate::provider::Identity;
use crate::tag::{Sighting, TagName};

/// The ledger in SQLite, open for writing.
///
/// Dropping it writes what still rides along, waits for that (one flush), and leaves a single file behind.
/// [`close`](Self::close) does the same and tells how it went.
pub struct SqliteLedger {
    path: PathBuf,
    // In the order in which they must go: the last connection to close folds the log into the file, and only a writer can.
    reading: Reading,
    writer: Writer,
    next_intent: AtomicI64,
    _lock: StateLock,
}

impl SqliteLedger {
    /// Opens the ledger of the locked directory; makes it (mode 0600) when there is none.
    ///
    /// A file that cannot be trusted is a fault and is left as it is.
    pub fn open(lock: &StateLock) -> Result<Self, LedgerFault> {
        let path = lock.directory().ledger();
        let writing = schema::open_for_writing(&path)?;
        let last: i64 = writing
            .query_row("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'intents'", [], |row| row.get(0))
            .map_err(|error| Failure::from(error).at(&path))?;
        let next =
            last.checked_add(1).ok_or_else(|| Failure::Corrupt("an intent with the last of all ids").at(&path))?;
        let reading = schema::open_for_reading(&path).map_err(|failure| failure.at(&path))?;
        Ok(Self {
            reading: Reading(Arc::new(Mutex::new(Some(reading)))),
            writer: Writer::start(writing, path.clone())?,
            next_intent: AtomicI64::new(next),
            _lock: lock.clone(),
            path,
        })
    }

    /// The ledger of this directory for commands that must change nothing; `None` where there is none yet.
    pub fn open_read_only(directory: &StateDirectory) -> Result<Option<SqliteReader>, LedgerFault> {
        SqliteReader::open(directory)
    }

    /// Writes down what a person says about a parked set; `false` when it is not parked any more.
    ///
    /// One short transaction beside whoever holds the lock: SQLite itself arbitrates, and the pass that uses the decision
    /// compares the set first. Never makes or upgrades a ledger.
    pub async fn decide(
        directory: &StateDirectory,
        pair: &Pair,
        plan: &str,
        decision: Decision,
        now: Timestamp,
    ) -> Result<bool, LedgerFault> {
        let (directory, path, pair, plan) = (directory.clone(), directory.ledger(), pair.clone(), plan.to_owned());
        in_background(move || {
            let decide = || -> Result<bool, Failure> {
                let connection = schema::open_beside(&path)?;
                let Pair { job, repository, remote } = &pair;
                let decided = connection.execute(
                    "UPDATE parked SET decision = ?5, decided = ?6 WHERE plan = ?4 AND ended IS NULL AND pair =
                         (SELECT id FROM pairs WHERE job = ?1 AND repository = ?2 AND remote = ?3)",
                    params![job, repository, remote, plan, decision.word(), now.as_microsecond()],
                )?;
                Ok(decided > 0)
            };
            let decided = decide().map_err(|failure| failure.at(&path))?;
            // Without it a daemon acts on the decision with its next pass.
            if let Err(fault) = directory.announce_decision() {
                tracing::debug!(%fault, "A daemon does not hear of the decision at once.");
            }
            Ok(decided)
        })
        .await
    }

    /// Removes the history before this time and gives the space back; gives how many changes were removed.
    ///
    /// The budgets count the last 24 hours, so `before` has to be older than that.
    pub async fn prune_history(lock: &StateLock, before: Timestamp) -> Result<u64, LedgerFault> {
        let lock = lock.clone();
        in_background(move || {
            let path = lock.directory().ledger();
            let connection = schema::open_for_writing(&path)?;
            let prune = || -> Result<u64, Failure> {
                let removed = connection.execute("DELETE FROM history WHERE time < ?1", [before.as_microsecond()])?;
                if removed > 0 {
                    connection.execute_batch("VACUUM")?;
                }
                Ok(removed as u64)
            };
            prune().map_err(|failure| failure.at(&path))
        })
        .await
    }

    /// Writes what still rides along and closes the ledger.
    pub async fn close(self) -> Result<(), LedgerFault> {
        self.writer.barrier().await?;
        in_background(move || {
            drop(self);
            Ok(())
        })
        .await
    }

    /// How many transactions were committed since it was opened: for tests and measurements, which show with it how
    /// many writes shared a flush.
    pub fn commits(&self) -> u64 {
        self.writer.commits()
    }

    async fn read<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Connection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, LedgerFault> {
        // What was accepted before is seen, or the reason why it was not written is.
        self.writer.barrier().await?;
        let reading = Arc::clone(&self.reading.0);
        let path = self.path.clone();
        in_background(move || {
            let reading = reading.lock().unwrap_or_else(PoisonError::into_inner);
            match reading.as_ref() {
                Some(connection) => question(connection).map_err(|failure| failure.at(&path)),
                None => Err(Failure::Misuse("anything after it was closed".into()).at(&path)),
            }
        })
        .await
    }
}

impl fmt::Debug for SqliteLedger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteLedger").field("path", &self.path).finish_non_exhaustive()
    }
}

/// The connection that reads. Closed when this is dropped, even if somebody who no longer waits still asks something.
struct Reading(Arc<Mutex<Option<Connection>>>);

impl Drop for Reading {
    fn drop(&mut self) {
        drop(self.0.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

#[async_trait]
impl LedgerRead for SqliteLedger {
    async fn read_pair(&self, pair: &Pair, now: Timestamp) -> Result<PairState, LedgerFault> {
        let pair = pair.clone();
        self.read(move |connection| read::pair_state(connection, &pair, now)).await
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

#[async_trait]
impl Ledger for SqliteLedger {
    async fn bind(
        &self,
        pair: &Pair,
        source: &str,
        identity: &Identity,
        now: Timestamp,
        void: bool,
    ) -> Result<(), LedgerFault> {
        let (pair, source, identity) = (pair.clone(), source.to_owned(), identity.clone());
        self.writer.ride(move |book| book.bind(&pair, &source, &identity, now, void))
    }

    async fn announce(&self, pair: &Pair, run: Uuid, intent: &Intent, now: Timestamp) -> Result<IntentId, LedgerFault> {
        let id = self.next_intent.fetch_add(1, Ordering::Relaxed);
        let row = IntentRow { id, time: now, run: run.to_string(), intent: intent.clone() };
        let pair = pair.clone();
        self.writer.flush(move |book| book.announce(&pair, &row)).await?;
        Ok(IntentId(id))
    }

    async fn settle(
        &self,
        pair: &Pair,
        id: IntentId,
        settlement: &Settlement,
        now: Timestamp,
    ) -> Result<(), LedgerFault> {
        let (pair, settlement) = (pair.clone(), settlement.clone());
        self.writer.ride(move |book| book.settle(&pair, id, &settlement, now))
    }

    async fn note(&self, pair: &Pair, notes: &[Note], now: Timestamp) -> Result<(), LedgerFault> {
        if notes.is_empty() {
            return Ok(());
        }
        let (pair, notes) = (pair.clone(), notes.to_vec());
        self.writer.ride(move |book| book.note(&pair, &notes, now))
    }

    async fn park(&self, pair: &Pair, parked: &[ParkedSet], now: Timestamp) -> Result<(), LedgerFault> {
        let (pair, parked) = (pair.clone(), parked.to_vec());
        self.writer.ride(move |book| book.park(&pair, &parked, now))
    }

    async fn take_approvals(
        &self,
        pair: &Pair,
        approved: &[String],
        commanded: &[String],
        now: Timestamp,
    ) -> Result<bool, LedgerFault> {
        let (pair, approved, commanded) = (pair.clone(), approved.to_vec(), commanded.to_vec());
        let (tell, told) = tokio::sync::oneshot::channel();
        self.writer
            .flush(move |book| {
                // Who does not wait any more does not want to know.
                let _gone = tell.send(book.take_approvals(&pair, &approved, &commanded, now)?);
                Ok(())
            })
            .await?;
        Ok(told.await.unwrap_or(false))
    }

    async fn pin(&self, pair: &Pair, pins: &[(TagName, Pin)]) -> Result<(), LedgerFault> {
        let (pair, pins) = (pair.clone(), pins.to_vec());
        self.writer.ride(move |book| book.pin(&pair, &pins))
    }

    async fn unpin(&self, pair: &Pair, tags: &[TagName]) -> Result<(), LedgerFault> {
        let (pair, tags) = (pair.clone(), tags.to_vec());
        self.writer.ride(move |book| book.unpin(&pair, &tags))
    }

    async fn remember(
        &self,
        pair: &Pair,
        seen: &[(TagName, Sighting)],
        forgotten: &[TagName],
    ) -> Result<(), LedgerFault> {
        if seen.is_empty() && forgotten.is_empty() {
            return Ok(());
        }
        let (pair, seen, forgotten) = (pair.clone(), seen.to_vec(), forgotten.to_vec());
        self.writer.ride(move |book| book.remember(&pair, &seen, &forgotten))
    }

    async fn note_absences(
        &self,
        pair: &Pair,
        absent: &[TagName],
        ended: &[TagName],
        now: Timestamp,
    ) -> Result<(), LedgerFault> {
        let (pair, absent, ended) = (pair.clone(), absent.to_vec(), ended.to_vec());
        self.writer.ride(move |book| book.note_absences(&pair, &absent, &ended, now))
    }

    async fn remember_notices(&self, notices: &[(Pair, Option<Notice>)]) -> Result<(), LedgerFault> {
        if notices.is_empty() {
            return Ok(());
        }
        let notices = notices.to_vec();
        self.writer.ride(move |book| book.remember_notices(&notices))
    }

    async fn flush(&self) -> Result<(), LedgerFault> {
        self.writer.barrier().await
    }

    async fn end_pass(&self, pair: &Pair, end: &PassEnd, exact_begun: Option<&str>) -> Result<(), LedgerFault> {
        let (pair, end, exact_begun) = (pair.clone(), end.clone(), exact_begun.map(str::to_owned));
        self.writer.flush(move |book| book.end_pass(&pair, &end, exact_begun)).await
    }
}
