//! The one thread that writes. Whatever waits when it turns to the disk goes into one transaction and shares its flush.
//!
//! A transaction that fails for what may pass, such as a full disk, is lost as a whole, and the next one is tried afresh.
//! Whoever waited for it is told. Of a pair whose work rode along, so that nobody waited, nothing more is written until
//! its pass has been told, too: what follows in that pass may rest on what was lost.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::oneshot;

use super::fault::Failure;
use super::write::Book;
use super::{LedgerFault, Pair, schema};

/// How long work that nobody waits for may stay in memory. A crash in between costs one look at the remote for each tag.
const RIDE: Duration = Duration::from_secs(1);

/// After so long without work, what is kept of the file in memory is given back.
const REST: Duration = Duration::from_secs(5);

/// How much of it there may be.
const CROWD: usize = 4096;

/// How much of the log may stay behind, in bytes: next to nothing to read when it is opened again.
const LEFT_BEHIND: u64 = 256 * 1024;

/// A piece of work inside a transaction.
type Work = Box<dyn FnOnce(&mut Book<'_>) -> Result<(), Failure> + Send>;

type Answer = oneshot::Sender<Result<(), LedgerFault>>;

#[derive(Default)]
struct Command {
    /// Whose it is; `None` for what no pass rests on, and for whoever waits for everything.
    of: Option<Arc<Pair>>,
    work: Option<Work>,
    answer: Option<Answer>,
    /// Whether a pass begins or ends with it, so that a loss that it is told of is over.
    bounds: bool,
    /// Whether it tells nothing but that a pass took place, so that the next flush is soon enough.
    is_quiet: bool,
}

impl Command {
    fn of(pair: &Pair, work: impl FnOnce(&mut Book<'_>, &Pair) -> Result<(), Failure> + Send + 'static) -> Self {
        let of = Arc::new(pair.clone());
        let work: Work = Box::new({
            let of = Arc::clone(&of);
            move |book| work(book, &of)
        });
        Self { of: Some(of), work: Some(work), ..Self::default() }
    }

    /// Work that changes what is remembered of a pair, so that no agreement of before is all of it any more.
    fn changing(pair: &Pair, work: impl FnOnce(&mut Book<'_>, &Pair) -> Result<(), Failure> + Send + 'static) -> Self {
        Self::of(pair, |book, pair| {
            book.end_agreement(pair)?;
            work(book, pair)
        })
    }

    /// Whether nobody waits for its work.
    fn rides(&self) -> bool {
        self.work.is_some() && self.answer.is_none()
    }
}

/// The way to the thread. Dropping it writes what still rides along, and waits for that.
pub(super) struct Writer {
    commands: Option<Sender<Command>>,
    thread: Option<JoinHandle<()>>,
    shared: Arc<Shared>,
}

struct Shared {
    path: PathBuf,
    /// The fault that does not pass; nothing is written after it.
    fault: OnceLock<LedgerFault>,
    commits: AtomicU64,
    /// Whether the log may stay at the end.
    leaves_log: AtomicBool,
}

impl Writer {
    /// Starts the thread, which owns this connection.
    pub(super) fn start(connection: Connection, path: PathBuf) -> Result<Self, LedgerFault> {
        let shared = Arc::new(Shared {
            path,
            fault: OnceLock::new(),
            commits: AtomicU64::new(0),
            leaves_log: AtomicBool::new(false),
        });
        let (commands, waiting) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("ledger".into())
            .spawn({
                let shared = Arc::clone(&shared);
                move || shared.run(&connection, &waiting)
            })
            .map_err(|error| LedgerFault::file("start the thread that writes", &shared.path, &error))?;
        Ok(Self { commands: Some(commands), thread: Some(thread), shared })
    }

    /// Hands over work of a pair that is in its place in the order, and durable with the next flush. Should it be lost, then
    /// everything else of the pair fails until [`end`](Self::end) or [`begin`](Self::begin) has said so.
    pub(super) fn ride(
        &self,
        pair: &Pair,
        work: impl FnOnce(&mut Book<'_>, &Pair) -> Result<(), Failure> + Send + 'static,
    ) -> Result<(), LedgerFault> {
        self.send(Command::changing(pair, work))
    }

    /// Hands over work that no pass rests on: should it be lost, the log says so.
    pub(super) fn ride_alone(
        &self,
        work: impl FnOnce(&mut Book<'_>) -> Result<(), Failure> + Send + 'static,
    ) -> Result<(), LedgerFault> {
        self.send(Command { work: Some(Box::new(work)), ..Command::default() })
    }

    /// Does work of a pair and returns when it is on disk, with everything before it.
    pub(super) async fn flush(
        &self,
        pair: &Pair,
        work: impl FnOnce(&mut Book<'_>, &Pair) -> Result<(), Failure> + Send + 'static,
    ) -> Result<(), LedgerFault> {
        self.send_and_wait(Command::changing(pair, work)).await
    }

    /// The same for the last work of a pass. A quiet one does not wait for the disk where nothing else does.
    pub(super) async fn end(
        &self,
        pair: &Pair,
        is_quiet: bool,
        work: impl FnOnce(&mut Book<'_>, &Pair) -> Result<(), Failure> + Send + 'static,
    ) -> Result<(), LedgerFault> {
        self.send_and_wait(Command { bounds: true, is_quiet, ..Command::of(pair, work) }).await
    }

    /// Returns when everything of a pair is on disk, before somebody looks at it afresh.
    pub(super) async fn begin(&self, pair: &Pair) -> Result<(), LedgerFault> {
        self.send_and_wait(Command { of: Some(Arc::new(pair.clone())), bounds: true, ..Command::default() }).await
    }

    /// The same for somebody who only looks whether a pass has anything to do: a loss is still to be told to the pass.
    pub(super) async fn catch_up(&self, pair: &Pair) -> Result<(), LedgerFault> {
        self.send_and_wait(Command { of: Some(Arc::new(pair.clone())), ..Command::default() }).await
    }

    /// Returns when everything before it is on disk.
    pub(super) async fn barrier(&self) -> Result<(), LedgerFault> {
        self.send_and_wait(Command::default()).await
    }

    /// Lets the log stay at the end, if nothing is in it but that passes took place.
    pub(super) fn leave_log(&self) {
        self.shared.leaves_log.store(true, Ordering::Relaxed);
    }

    /// How many transactions were committed.
    pub(super) fn commits(&self) -> u64 {
        self.shared.commits.load(Ordering::Relaxed)
    }

    async fn send_and_wait(&self, command: Command) -> Result<(), LedgerFault> {
        let (answer, answered) = oneshot::channel();
        self.send(Command { answer: Some(answer), ..command })?;
        answered.await.unwrap_or_else(|_| Err(self.shared.why_it_ended()))
    }

    fn send(&self, command: Command) -> Result<(), LedgerFault> {
        match (self.shared.fault.get(), &self.commands) {
            (Some(fault), _) => Err(fault.clone()),
            (None, Some(commands)) => commands.send(command).map_err(|_| self.shared.why_it_ended()),
            (None, None) => Err(self.shared.why_it_ended()),
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.commands.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!(ledger = %self.shared.path.display(), "the thread that writes the ledger panicked");
        }
    }
}

impl Shared {
    fn run(&self, connection: &Connection, waiting: &Receiver<Command>) {
        let book = Book::new(connection);
        let mut pen = Pen { shared: self, connection, book, lost: HashMap::new(), only_quiet: true };
        let mut group = Vec::new();
        loop {
            let more = wait(waiting, &mut group, || pen.rest());
            pen.write(std::mem::take(&mut group));
            if self.fault.get().is_some() {
                break;
            }
            if !more {
                return pen.leave();
            }
        }
        // Whoever asked before the fault was known gets it too.
        while let Ok(Command { answer, .. }) = waiting.recv() {
            respond(answer, &Err(self.why_it_ended()));
        }
    }

    fn why_it_ended(&self) -> LedgerFault {
        self.fault.get().cloned().unwrap_or_else(|| LedgerFault {
            message: format!("the thread that writes the ledger {} has ended", self.path.display()),
            hint: "This is a fault in the program. Nothing more is written; starting again resolves what is open."
                .into(),
        })
    }
}

/// What the thread has in its hands.
struct Pen<'connection> {
    shared: &'connection Shared,
    connection: &'connection Connection,
    book: Book<'connection>,
    /// Why work of these pairs was lost that nobody waited for.
    lost: HashMap<Arc<Pair>, LedgerFault>,
    /// Whether nothing was written but that passes took place.
    only_quiet: bool,
}

impl Pen<'_> {
    /// Gives back what is kept in memory; the next work reads and prepares what it needs.
    fn rest(&mut self) {
        self.book = Book::new(self.connection);
        if let Err(fault) = self.connection.execute_batch("PRAGMA shrink_memory") {
            tracing::debug!(%fault, "The ledger's memory could not be given back.");
        }
    }

    /// Lets the log stay where it may and next to nothing is in it; whoever writes more folds all of it into the file.
    fn leave(self) {
        let log = std::fs::metadata(schema::beside(&self.shared.path, "-wal")).map_or(0, |log| log.len());
        if self.shared.leaves_log.load(Ordering::Relaxed)
            && self.only_quiet
            && log <= LEFT_BEHIND
            && let Err(fault) = self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
        {
            tracing::debug!(%fault, "The ledger's log cannot be left beside it.");
        }
    }

    /// Runs a group in one transaction and tells everyone in it how that ended.
    fn write(&mut self, group: Vec<Command>) {
        let mut group = self.without_the_lost(group);
        let rides: Vec<bool> = group.iter().map(Command::rides).collect();
        let is_quiet = group.iter().all(|command| command.is_quiet);
        let work: Vec<Work> = group.iter_mut().filter_map(|command| command.work.take()).collect();
        let outcome = if work.is_empty() { Ok(()) } else { self.transact(work, is_quiet) };
        if let Err(fault) = &outcome {
            for (Command { of, bounds, .. }, rides) in group.iter().zip(rides) {
                match of {
                    Some(pair) if rides => drop(self.lost.insert(Arc::clone(pair), fault.clone())),
                    Some(pair) if *bounds => drop(self.lost.remove(pair)),
                    Some(_) | None => {}
                }
            }
        }
        group.into_iter().for_each(|Command { answer, .. }| respond(answer, &outcome));
    }

    /// Tells those who come after a loss of it, and does nothing of what they want.
    fn without_the_lost(&mut self, group: Vec<Command>) -> Vec<Command> {
        let mut rest = Vec::with_capacity(group.len());
        for command in group {
            let loss = match &command.of {
                Some(pair) if command.bounds => self.lost.remove(pair),
                Some(pair) => self.lost.get(pair).cloned(),
                None if command.work.is_none() => self.lost.values().next().cloned(),
                None => None,
            };
            match loss {
                Some(fault) => respond(command.answer, &Err(fault)),
                None => rest.push(command),
            }
        }
        rest
    }

    fn transact(&mut self, work: Vec<Work>, is_quiet: bool) -> Result<(), LedgerFault> {
        let Self { connection, book, .. } = self;
        let attempt = || -> Result<(), Failure> {
            // A commit is on disk when it returns, or, of a quiet one, when the log is next written back.
            connection.pragma_update(None, "synchronous", if is_quiet { "normal" } else { "full" })?;
            // Dropped without a commit, it rolls back.
            let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
            work.into_iter().try_for_each(|work| work(book))?;
            transaction.commit()?;
            Ok(())
        };
        let outcome = attempt();
        self.only_quiet &= is_quiet;
        // It counts what was rolled back.
        if outcome.is_err() {
            self.book = Book::new(self.connection);
        }
        let shared = self.shared;
        outcome.map_err(|failure| {
            let may_pass = failure.may_pass();
            let fault = failure.at(&shared.path);
            if may_pass {
                tracing::error!(%fault, hint = fault.hint, "The latest writes are not in the ledger.");
                return fault;
            }
            tracing::error!(%fault, hint = fault.hint, "The ledger takes no more writes, and the latest are not in it.");
            shared.fault.get_or_init(|| fault).clone()
        })?;
        shared.commits.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// Waits until something must go to disk, and takes all that waits into the group. Says whether anything can follow. `rest` is
/// called once when nothing comes for long.
fn wait(waiting: &Receiver<Command>, group: &mut Vec<Command>, mut rest: impl FnMut()) -> bool {
    let mut patience: Option<Instant> = None;
    loop {
        let first = match patience {
            None => match waiting.recv_timeout(REST) {
                Err(RecvTimeoutError::Timeout) => {
                    rest();
                    waiting.recv().map_err(|_| RecvTimeoutError::Disconnected)
                }
                first => first,
            },
            Some(until) => waiting.recv_timeout(until.saturating_duration_since(Instant::now())),
        };
        match first {
            Ok(first) => {
                group.push(first);
                group.extend(waiting.try_iter());
            }
            Err(RecvTimeoutError::Timeout) => return true,
            Err(RecvTimeoutError::Disconnected) => return false,
        }
        if group.len() >= CROWD || group.iter().any(|command| command.answer.is_some()) {
            return true;
        }
        patience.get_or_insert_with(|| Instant::now() + RIDE);
    }
}

fn respond(answer: Option<Answer>, outcome: &Result<(), LedgerFault>) {
    if let Some(answer) = answer {
        // Who does not wait any more does not want to know.
        let _gone = answer.send(outcome.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn writer_on_a_disk_of(pages: u32) -> (tempfile::TempDir, Writer) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ledger.db");
        let connection = super::super::schema::open_for_writing(&path).unwrap();
        connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())).unwrap();
        (directory, Writer::start(connection, path).unwrap())
    }

    fn pair(job: &str) -> Pair {
        Pair { job: job.into(), repository: String::new(), remote: String::new() }
    }

    fn fill(book: &mut Book<'_>, _: &Pair) -> Result<(), Failure> {
        book.park(&pair(&"j".repeat(100_000)), &[], jiff::Timestamp::UNIX_EPOCH)
    }

    fn is_full<T>(outcome: Result<T, LedgerFault>) -> bool {
        outcome.is_err_and(|fault| fault.message.contains("disk is full"))
    }

    #[tokio::test]
    async fn a_full_disk_fails_whoever_waits_and_nothing_else() {
        let (_directory, writer) = writer_on_a_disk_of(1);
        let one = pair("one");
        assert!(is_full(writer.flush(&one, fill).await));
        assert_eq!(writer.commits(), 0);
        writer.flush(&one, |_, _| Ok(())).await.unwrap();
        writer.barrier().await.unwrap();
        assert_eq!(writer.commits(), 1);
    }

    #[tokio::test]
    async fn a_pass_that_lost_something_writes_nothing_more() {
        let (_directory, writer) = writer_on_a_disk_of(1);
        let (one, other) = (pair("one"), pair("other"));
        let never = |_: &mut Book<'_>, _: &Pair| -> Result<(), Failure> { panic!("it rests on what was lost") };
        for round in 1..=2 {
            writer.ride(&one, fill).unwrap();
            assert!(is_full(writer.flush(&one, |_, _| Ok(())).await), "it waits for what rides along");
            writer.ride(&one, never).unwrap();
            assert!(is_full(writer.flush(&one, never).await) && is_full(writer.flush(&one, never).await));
            assert!(is_full(writer.barrier().await) && is_full(writer.catch_up(&one).await));
            writer.catch_up(&other).await.unwrap();
            writer.flush(&other, |_, _| Ok(())).await.unwrap();
            // The pass is over once it was told at its end, or at the beginning of the next.
            let told = if round == 1 { writer.end(&one, false, never).await } else { writer.begin(&one).await };
            assert!(is_full(told));
            writer.begin(&one).await.unwrap();
            writer.catch_up(&one).await.unwrap();
            writer.flush(&one, |_, _| Ok(())).await.unwrap();
            writer.barrier().await.unwrap();
            assert_eq!(writer.commits(), 2 * round);
        }
        writer.ride(&one, fill).unwrap();
        assert!(is_full(writer.end(&one, false, |_, _| Ok(())).await));
        writer.begin(&one).await.unwrap();
        writer.ride_alone(|book| fill(book, &pair(""))).unwrap();
        assert!(is_full(writer.barrier().await));
        writer.barrier().await.unwrap();
    }

    #[tokio::test]
    async fn what_cannot_pass_ends_all_writing() {
        let (_directory, writer) = writer_on_a_disk_of(1_000);
        let fault = writer.flush(&pair("one"), |_, _| Err(Failure::Corrupt("nonsense"))).await.unwrap_err();
        assert!(fault.message.contains("nonsense"), "{fault}");
        assert!(writer.ride(&pair("other"), |_, _| Ok(())).is_err() && writer.barrier().await.is_err());
        assert_eq!(writer.commits(), 0);
    }

    #[tokio::test]
    async fn what_rides_along_is_durable_soon_and_when_it_is_dropped() {
        let (_directory, writer) = writer_on_a_disk_of(1_000_000);
        writer.ride(&pair("one"), |_, _| Ok(())).unwrap();
        writer.ride(&pair("one"), |_, _| Ok(())).unwrap();
        assert_eq!(writer.commits(), 0);
        let until = Instant::now() + 10 * RIDE;
        while writer.commits() == 0 && Instant::now() < until {
            tokio::time::sleep(RIDE / 10).await;
        }
        assert_eq!(writer.commits(), 1);
        let shared = Arc::clone(&writer.shared);
        writer.ride(&pair("one"), |_, _| Ok(())).unwrap();
        drop(writer);
        assert_eq!(shared.commits.load(Ordering::Relaxed), 2);
    }
}
