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
    Agreement, Decision, HistoryEntry, HistoryQuery, Intent, IntentId, Ledger, LedgerRead, NameState, Note, Notice,
    Pair, PairState, PairStatus, Parked, ParkedSet, PassEnd, Pin, Settlement, SqliteReader, StateDirectory, StateLock,
    schema,
};
use crate::provider::Identity;
use crate::tag::{ProvenNames, Sighting, TagName};

/// What the connection that reads may keep of the file in memory, in KiB.
const READING_CACHE: i64 = 256;

/// The ledger in SQLite, open for writing.
///
/// Dropping it writes what still rides along, waits for that (one flush), and leaves a single file behind, unless it
/// [may leave its log](Self::leaving_its_log). [`close`](Self::close) does the same and tells how it went.
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
        Self::open_with(schema::open_for_writing(&path)?, path, lock)
    }

    fn open_with(writing: Connection, path: PathBuf, lock: &StateLock) -> Result<Self, LedgerFault> {
        let last: i64 = writing
            .query_row("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'intents'", [], |row| row.get(0))
            .map_err(|error| Failure::from(error).at(&path))?;
        let next =
            last.checked_add(1).ok_or_else(|| Failure::Corrupt("an intent with the last of all ids").at(&path))?;
        let reading = schema::open_for_reading(&path).map_err(|failure| failure.at(&path))?;
        // A pass reads each page once, and the kernel keeps them, too.
        reading.pragma_update(None, "cache_size", -READING_CACHE).map_err(|error| Failure::from(error).at(&path))?;
        Ok(Self {
            reading: Reading { connection: Arc::new(Mutex::new(Some(reading))), turn: Arc::default() },
            writer: Writer::start(writing, path.clone())?,
            next_intent: AtomicI64::new(next),
            _lock: lock.clone(),
            path,
        })
    }

    /// The same ledger, for a single pass: where nothing is written but that passes took place, a short log stays beside the file,
    /// and the next who opens it reads both. To fold it takes four flushes, a tenth of what an unchanged pass costs.
    #[must_use]
    pub fn leaving_its_log(self) -> Self {
        self.writer.leave_log();
        self
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
        self.ask(question).await
    }

    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Connection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, LedgerFault> {
        // Waiting here costs nothing; waiting for the connection would cost a thread for each who waits.
        let turn = Arc::clone(&self.reading.turn).lock_owned().await;
        let reading = Arc::clone(&self.reading.connection);
        let path = self.path.clone();
        in_background(move || {
            let _turn = turn;
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
struct Reading {
    connection: Arc<Mutex<Option<Connection>>>,
    /// Who asks next.
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl Drop for Reading {
    fn drop(&mut self) {
        drop(self.connection.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

#[async_trait]
impl LedgerRead for SqliteLedger {
    async fn read_pair(&self, pair: &Pair, now: Timestamp) -> Result<PairState, LedgerFault> {
        self.writer.begin(pair).await?;
        let pair = pair.clone();
        self.ask(move |connection| read::pair_state(connection, &pair, now)).await
    }

    async fn read_agreement(&self, pair: &Pair) -> Result<Option<Agreement>, LedgerFault> {
        self.writer.catch_up(pair).await?;
        let pair = pair.clone();
        self.ask(move |connection| read::agreement(connection, &pair)).await
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
        let (source, identity) = (source.to_owned(), identity.clone());
        self.writer.ride(pair, move |book, pair| book.bind(pair, &source, &identity, now, void))
    }

    async fn announce(&self, pair: &Pair, run: Uuid, intent: &Intent, now: Timestamp) -> Result<IntentId, LedgerFault> {
        let id = self.next_intent.fetch_add(1, Ordering::Relaxed);
        let row = IntentRow { id, time: now, run: run.to_string(), intent: intent.clone() };
        self.writer.flush(pair, move |book, pair| book.announce(pair, &row)).await?;
        Ok(IntentId(id))
    }

    async fn announce_all(
        &self,
        pair: &Pair,
        run: Uuid,
        intents: Vec<Intent>,
        now: Timestamp,
    ) -> Result<Vec<IntentId>, LedgerFault> {
        let count = i64::try_from(intents.len()).unwrap_or(i64::MAX);
        let first = self.next_intent.fetch_add(count, Ordering::Relaxed);
        let ids = first..first.saturating_add(count);
        let (run, announced) = (run.to_string(), ids.clone());
        self.writer
            .flush(pair, move |book, pair| {
                let row = |(id, intent)| IntentRow { id, time: now, run: run.clone(), intent };
                announced.zip(intents).map(row).try_for_each(|row| book.announce(pair, &row))
            })
            .await?;
        Ok(ids.map(IntentId).collect())
    }

    async fn settle(
        &self,
        pair: &Pair,
        id: IntentId,
        settlement: &Settlement,
        now: Timestamp,
    ) -> Result<(), LedgerFault> {
        let settlement = settlement.clone();
        self.writer.ride(pair, move |book, pair| book.settle(pair, id, &settlement, now))
    }

    async fn settle_all(
        &self,
        pair: &Pair,
        settlements: Vec<(IntentId, Settlement)>,
        now: Timestamp,
    ) -> Result<(), LedgerFault> {
        self.writer.ride(pair, move |book, pair| {
            settlements.iter().try_for_each(|(id, settlement)| book.settle(pair, *id, settlement, now))
        })
    }

    async fn note(&self, pair: &Pair, notes: &[Note], now: Timestamp) -> Result<(), LedgerFault> {
        if notes.is_empty() {
            return Ok(());
        }
        let notes = notes.to_vec();
        self.writer.ride(pair, move |book, pair| book.note(pair, &notes, now))
    }

    async fn park(&self, pair: &Pair, parked: &[ParkedSet], now: Timestamp) -> Result<(), LedgerFault> {
        let parked = parked.to_vec();
        self.writer.ride(pair, move |book, pair| book.park(pair, &parked, now))
    }

    async fn take_approvals(
        &self,
        pair: &Pair,
        approved: &[String],
        commanded: &[String],
        now: Timestamp,
    ) -> Result<bool, LedgerFault> {
        let (approved, commanded) = (approved.to_vec(), commanded.to_vec());
        let (tell, told) = tokio::sync::oneshot::channel();
        self.writer
            .flush(pair, move |book, pair| {
                // Who does not wait any more does not want to know.
                let _gone = tell.send(book.take_approvals(pair, &approved, &commanded, now)?);
                Ok(())
            })
            .await?;
        Ok(told.await.unwrap_or(false))
    }

    async fn pin(&self, pair: &Pair, pins: &[(TagName, Pin)]) -> Result<(), LedgerFault> {
        let pins = pins.to_vec();
        self.writer.ride(pair, move |book, pair| book.pin(pair, &pins))
    }

    async fn unpin(&self, pair: &Pair, tags: &[TagName]) -> Result<(), LedgerFault> {
        let tags = tags.to_vec();
        self.writer.ride(pair, move |book, pair| book.unpin(pair, &tags))
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
        let (seen, forgotten) = (seen.to_vec(), forgotten.to_vec());
        self.writer.ride(pair, move |book, pair| book.remember(pair, &seen, &forgotten))
    }

    async fn remember_names(&self, pair: &Pair, names: Option<&ProvenNames>) -> Result<(), LedgerFault> {
        let names = names.cloned();
        self.writer.ride(pair, move |book, pair| book.remember_names(pair, names.as_ref()))
    }

    async fn note_absences(
        &self,
        pair: &Pair,
        absent: &[TagName],
        ended: &[TagName],
        now: Timestamp,
    ) -> Result<(), LedgerFault> {
        let (absent, ended) = (absent.to_vec(), ended.to_vec());
        self.writer.ride(pair, move |book, pair| book.note_absences(pair, &absent, &ended, now))
    }

    async fn remember_notices(&self, notices: &[(Pair, Option<Notice>)]) -> Result<(), LedgerFault> {
        if notices.is_empty() {
            return Ok(());
        }
        let notices = notices.to_vec();
        self.writer.ride_alone(move |book| book.remember_notices(&notices))
    }

    async fn flush(&self) -> Result<(), LedgerFault> {
        self.writer.barrier().await
    }

    async fn end_pass(&self, pair: &Pair, end: &PassEnd, exact_begun: Option<&str>) -> Result<(), LedgerFault> {
        let (end, exact_begun) = (end.clone(), exact_begun.map(str::to_owned));
        let is_quiet = end.agreement.is_some();
        self.writer.end(pair, is_quiet, move |book, pair| book.end_pass(pair, &end, exact_begun)).await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{Action, Outcome, Ownership, Record, RecordChange};
    use super::*;
    use crate::tag::{Target, Value};

    fn value(digit: &str) -> Value {
        Value::of(Target::Commit(digit.repeat(40).parse().unwrap()))
    }

    /// Somebody keeps the file for longer than the writer waits, in the middle of one pass and over the whole next one.
    #[tokio::test]
    async fn a_ledger_that_was_held_by_somebody_else_works_again_when_they_let_go() {
        let root = tempfile::tempdir().unwrap();
        let directory = StateDirectory::resolve(Some(root.path()), None).unwrap();
        let lock = directory.lock().unwrap();
        let writing = schema::open_for_writing(&directory.ledger()).unwrap();
        writing.busy_timeout(Duration::from_millis(20)).unwrap();
        let ledger = SqliteLedger::open_with(writing, directory.ledger(), &lock).unwrap();
        let pair = Pair { job: "core".into(), repository: "core".into(), remote: "gitlab".into() };
        let other = Pair { remote: "images".into(), ..pair.clone() };
        let now = Timestamp::UNIX_EPOCH;
        let (run, tag) = (Uuid::from_u128(7), TagName::new("v1").unwrap());
        let intent = Intent {
            tag: tag.clone(),
            remote_name: tag.clone(),
            action: Action::Move,
            old: Some(value("1")),
            new: Some(value("2")),
            message: None,
            old_message: None,
            reason: String::new(),
        };
        let record = Record { remote_name: tag.clone(), value: value("2"), ownership: Ownership::Created };
        let settlement = Settlement {
            outcome: Outcome::Done,
            record: RecordChange::Put(record),
            keep_intent: false,
            detail: None,
            refusal: None,
        };
        let end = PassEnd {
            began: now,
            ended: now,
            state: "in_sync".into(),
            converged: true,
            error: None,
            counts: "{}".into(),
            unsettled: Vec::new(),
            agreement: None,
        };
        let pin = Pin { value: None, undone: run, since: now };
        let is_held = |fault: LedgerFault| fault.message.contains("held by another program");

        ledger.read_pair(&pair, now).await.unwrap();
        let id = ledger.announce(&pair, run, &intent, now).await.unwrap();
        let somebody = Connection::open(directory.ledger()).unwrap();
        somebody.execute_batch("BEGIN IMMEDIATE").unwrap();
        // The call was made, and what became of it is lost: so nothing more is announced, even when the ledger is free again.
        ledger.settle(&pair, id, &settlement, now).await.unwrap();
        assert!(is_held(ledger.announce(&pair, run, &intent, now).await.unwrap_err()));
        somebody.execute_batch("ROLLBACK").unwrap();
        ledger.pin(&pair, &[(tag.clone(), pin.clone())]).await.unwrap();
        assert!(is_held(ledger.announce(&pair, run, &intent, now).await.unwrap_err()));
        ledger.end_pass(&other, &end, None).await.unwrap();
        assert!(is_held(ledger.end_pass(&pair, &end, Some("names")).await.unwrap_err()));

        somebody.execute_batch("BEGIN IMMEDIATE").unwrap();
        assert_eq!(ledger.read_pair(&pair, now).await.unwrap().intents, [(id, intent.clone())]);
        ledger
            .bind(&pair, "source", &Identity { space: "1".into(), access: crate::provider::Access::Write }, now, false)
            .await
            .unwrap();
        assert!(is_held(ledger.read_pair(&pair, now).await.unwrap_err()), "what was bound is not seen");
        assert!(is_held(ledger.end_pass(&pair, &end, None).await.unwrap_err()));
        somebody.execute_batch("ROLLBACK").unwrap();

        // As after a crash: the intent is there, and all else of these passes is not.
        let read = ledger.read_pair(&pair, now).await.unwrap();
        assert_eq!(read.intents, [(id, intent)]);
        assert!(read.records.is_empty() && read.pins.is_empty() && read.source.is_none() && read.exact_begun.is_none());
        ledger.settle(&pair, id, &settlement, now).await.unwrap();
        ledger.end_pass(&pair, &end, None).await.unwrap();
        let read = ledger.read_pair(&pair, now).await.unwrap();
        assert!(read.intents.is_empty() && read.records.len() == 1);
        ledger.close().await.unwrap();
    }
}
