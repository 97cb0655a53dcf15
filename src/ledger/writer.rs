//! The one thread that writes. Whatever waits when it turns to the disk goes into one transaction and shares its flush.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::oneshot;

use super::LedgerFault;
use super::fault::Failure;
use super::write::Book;

/// How long work that nobody waits for may stay in memory. A crash in between costs one look at the remote for each tag.
const RIDE: Duration = Duration::from_secs(1);

/// How much of it there may be.
const CROWD: usize = 4096;

/// A piece of work inside a transaction.
type Work = Box<dyn FnOnce(&mut Book<'_>) -> Result<(), Failure> + Send>;

type Answer = oneshot::Sender<Result<(), LedgerFault>>;

struct Command {
    work: Option<Work>,
    answer: Option<Answer>,
}

/// The way to the thread. Dropping it writes what still rides along, and waits for that.
pub(super) struct Writer {
    commands: Option<Sender<Command>>,
    thread: Option<JoinHandle<()>>,
    shared: Arc<Shared>,
}

struct Shared {
    path: PathBuf,
    /// The first fault; nothing is written after it.
    fault: OnceLock<LedgerFault>,
    commits: AtomicU64,
}

impl Writer {
    /// Starts the thread, which owns this connection.
    pub(super) fn start(connection: Connection, path: PathBuf) -> Result<Self, LedgerFault> {
        let shared = Arc::new(Shared { path, fault: OnceLock::new(), commits: AtomicU64::new(0) });
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

    /// Hands over work that is in its place in the order, and durable with the next flush.
    pub(super) fn ride(
        &self,
        work: impl FnOnce(&mut Book<'_>) -> Result<(), Failure> + Send + 'static,
    ) -> Result<(), LedgerFault> {
        self.send(Command { work: Some(Box::new(work)), answer: None })
    }

    /// Does work and returns when it is on disk, with everything before it.
    pub(super) async fn flush(
        &self,
        work: impl FnOnce(&mut Book<'_>) -> Result<(), Failure> + Send + 'static,
    ) -> Result<(), LedgerFault> {
        self.send_and_wait(Some(Box::new(work))).await
    }

    /// Returns when everything before it is on disk.
    pub(super) async fn barrier(&self) -> Result<(), LedgerFault> {
        self.send_and_wait(None).await
    }

    /// How many transactions were committed.
    pub(super) fn commits(&self) -> u64 {
        self.shared.commits.load(Ordering::Relaxed)
    }

    async fn send_and_wait(&self, work: Option<Work>) -> Result<(), LedgerFault> {
        let (answer, answered) = oneshot::channel();
        self.send(Command { work, answer: Some(answer) })?;
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
        let mut book = Book::new(connection);
        let mut group = Vec::new();
        loop {
            let more = wait(waiting, &mut group);
            if let Err(fault) = self.commit(&mut book, connection, &mut group) {
                tracing::error!(%fault, hint = fault.hint, "the ledger takes no more writes, and the latest are not in it");
                break;
            }
            if !more {
                return;
            }
        }
        // Whoever asked before the fault was known gets it too.
        while let Ok(Command { answer, .. }) = waiting.recv() {
            respond(answer, &Err(self.why_it_ended()));
        }
    }

    /// Runs a group in one transaction and tells everyone in it how that ended.
    fn commit(
        &self,
        book: &mut Book<'_>,
        connection: &Connection,
        group: &mut Vec<Command>,
    ) -> Result<(), LedgerFault> {
        let (work, answers): (Vec<_>, Vec<_>) = group.drain(..).map(|Command { work, answer }| (work, answer)).unzip();
        let mut work = work.into_iter().flatten().peekable();
        let outcome = if work.peek().is_some() { self.transact(book, connection, work) } else { Ok(()) };
        if let Err(fault) = &outcome {
            // Known before anyone is answered: whoever reacts at once must not be able to write.
            let _first = self.fault.get_or_init(|| fault.clone());
        }
        answers.into_iter().for_each(|answer| respond(answer, &outcome));
        outcome
    }

    fn transact(
        &self,
        book: &mut Book<'_>,
        connection: &Connection,
        work: impl Iterator<Item = Work>,
    ) -> Result<(), LedgerFault> {
        let attempt = || -> Result<(), Failure> {
            // Dropped without a commit, it rolls back.
            let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
            work.into_iter().try_for_each(|work| work(book))?;
            transaction.commit()?;
            Ok(())
        };
        attempt().map_err(|failure| failure.at(&self.path))?;
        self.commits.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn why_it_ended(&self) -> LedgerFault {
        self.fault.get().cloned().unwrap_or_else(|| LedgerFault {
            message: format!("the thread that writes the ledger {} has ended", self.path.display()),
            hint: "This is a fault in the program. Nothing more is written; starting again resolves what is open."
                .into(),
        })
    }
}

/// Waits until something must go to disk, and takes all that waits into the group. Says whether anything can follow.
fn wait(waiting: &Receiver<Command>, group: &mut Vec<Command>) -> bool {
    let mut patience: Option<Instant> = None;
    loop {
        let first = match patience {
            None => waiting.recv().map_err(|_| RecvTimeoutError::Disconnected),
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

    fn fill(book: &mut Book<'_>) -> Result<(), Failure> {
        let pair = super::super::Pair { job: "j".repeat(100_000), repository: String::new(), remote: String::new() };
        book.park(&pair, &[], jiff::Timestamp::UNIX_EPOCH)
    }

    #[tokio::test]
    async fn a_full_disk_ends_all_writing() {
        let (_directory, writer) = writer_on_a_disk_of(1);
        let fault = writer.flush(fill).await.unwrap_err();
        assert!(fault.message.contains("disk is full"), "{fault}");
        assert!(writer.ride(|_| Ok(())).unwrap_err().message.contains("disk is full"));
        assert!(writer.barrier().await.unwrap_err().message.contains("disk is full"));
        assert_eq!(writer.commits(), 0);
    }

    #[tokio::test]
    async fn a_fault_of_what_rides_along_reaches_whoever_waits_next() {
        let (_directory, writer) = writer_on_a_disk_of(1);
        writer.ride(fill).unwrap();
        assert!(writer.flush(|_| Ok(())).await.unwrap_err().message.contains("disk is full"));
    }

    #[tokio::test]
    async fn what_rides_along_is_durable_soon_and_when_it_is_dropped() {
        let (_directory, writer) = writer_on_a_disk_of(1_000_000);
        writer.ride(|_| Ok(())).unwrap();
        writer.ride(|_| Ok(())).unwrap();
        assert_eq!(writer.commits(), 0);
        let until = Instant::now() + 10 * RIDE;
        while writer.commits() == 0 && Instant::now() < until {
            tokio::time::sleep(RIDE / 10).await;
        }
        assert_eq!(writer.commits(), 1);
        let shared = Arc::clone(&writer.shared);
        writer.ride(|_| Ok(())).unwrap();
        drop(writer);
        assert_eq!(shared.commits.load(Ordering::Relaxed), 2);
    }
}
