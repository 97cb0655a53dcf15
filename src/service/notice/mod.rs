//! Telling people: a message when a pair changes its condition, and a heartbeat while everything is looked after.
//!
//! ```text
//!  a pair's end, what was found ──channel──> Standings ──what differs from what was told──> Message ──> command, url
//!                                       └──> Round ──everybody once, nobody failing──> heartbeat
//! ```
//!
//! What is to be told is always the difference between how pairs stand and what people were told last, which the ledger
//! keeps. So many changes at once become one message, what came and went meanwhile is not told, a message that could not
//! be delivered is not lost, nothing is told twice after a restart, and nothing piles up.

mod deliver;
mod message;
mod round;
mod standing;

use std::collections::BTreeSet;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::config::{NotifySettings, RepositoriesFault};
use crate::ledger::{Ledger, Matter, Notice, Pair};
use crate::report::RemoteReport;
use crate::service::host::host_name;
use deliver::Channels;
pub use message::{Condition, Counts, Message, Name, Plan, Told, Totals};
use round::Round;
use standing::{Change, Standing, Standings};

/// How long a stop waits for what is still to be told.
const STOP_WITHIN: Duration = Duration::from_secs(3);

/// How long an announcer waits for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// How long a change waits for others that come with it.
    pub settle: Duration,
    /// The pause before a second try; each further one is twice as long.
    pub pause: Duration,
    /// How long nothing is sent after a message that was given up.
    pub rest: Duration,
    /// How long a program may take.
    pub patience: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        let [settle, pause, rest, patience] = [5, 10, 5 * 60, 30].map(Duration::from_secs);
        Self { settle, pause, rest, patience }
    }
}

/// Tells people what the daemon finds; by default there is nobody to tell. Nothing here waits for anybody, except
/// [`stop`](Self::stop).
#[derive(Debug, Default)]
pub struct Announcer {
    events: Option<UnboundedSender<Event>>,
    task: Option<JoinHandle<()>>,
    stop: CancellationToken,
    tally: Arc<Tally>,
    pace: Pace,
}

/// What was sent, in numbers.
#[derive(Debug, Default)]
pub struct Tally {
    delivered: AtomicU64,
    undelivered: AtomicU64,
    heartbeats: AtomicU64,
    unheard: AtomicU64,
}

impl Tally {
    /// Messages that somebody got.
    pub fn delivered(&self) -> u64 {
        self.delivered.load(Ordering::Relaxed)
    }

    /// Messages that were given up; what they would have said is told later.
    pub fn undelivered(&self) -> u64 {
        self.undelivered.load(Ordering::Relaxed)
    }

    /// Heartbeats that were heard.
    pub fn heartbeats(&self) -> u64 {
        self.heartbeats.load(Ordering::Relaxed)
    }

    /// Heartbeats that were given up.
    pub fn unheard(&self) -> u64 {
        self.unheard.load(Ordering::Relaxed)
    }
}

#[derive(Debug)]
enum Event {
    Configured(BTreeSet<String>),
    Found { job: String, found: Result<BTreeSet<Pair>, RepositoriesFault>, at: Timestamp },
    Ended(Pair, Box<Standing>),
}

impl Announcer {
    /// Starts to tell as these settings say, beginning with what the ledger says was told before. A ledger that cannot be
    /// read is as one that knows nothing, so that something may be told twice.
    pub fn new(settings: &NotifySettings, ledger: Arc<dyn Ledger>) -> Self {
        Self::with_pace(settings, ledger, Pace::default())
    }

    /// As [`new`](Self::new), in another pace.
    pub fn with_pace(settings: &NotifySettings, ledger: Arc<dyn Ledger>, pace: Pace) -> Self {
        let mut nobody = Self::default();
        nobody.pace = pace;
        nobody.followed(settings, ledger)
    }

    /// Tells by other settings from now on, as soon as what is on its way by the former ones has ended: what that told is
    /// not told again. What there are for jobs and pairs has to be said anew.
    pub fn renew(&mut self, settings: &NotifySettings, ledger: Arc<dyn Ledger>) {
        *self = std::mem::take(self).followed(settings, ledger);
    }

    /// The one that begins when this one has stopped.
    fn followed(self, settings: &NotifySettings, ledger: Arc<dyn Ledger>) -> Self {
        let (stop, tally, pace) = (CancellationToken::new(), Arc::clone(&self.tally), self.pace);
        let tells = settings.command.is_some() || settings.url.is_some();
        if !tells && settings.heartbeat.is_none() {
            return Self { events: None, task: Some(tokio::spawn(self.stop())), stop, tally, pace };
        }
        let (events, arriving) = unbounded_channel();
        let channels = Arc::new(Channels::new(settings, pace, stop.clone()));
        let teller = Teller { channels, ledger, tally: Arc::clone(&tally), tells, pace };
        let repeat = settings.repeat;
        let task = tokio::spawn(async move {
            self.stop().await;
            teller.run(arriving, repeat).await;
        });
        Self { events: Some(events), task: Some(task), stop, tally, pace }
    }

    /// There are these jobs. To be said at the beginning and with each configuration: what was told of others is forgotten.
    pub fn configured(&self, jobs: impl IntoIterator<Item = String>) {
        self.send(|| Event::Configured(jobs.into_iter().collect()));
    }

    /// These are all pairs of a job, or why that could not be told. To be said after every look; nothing is forgotten of
    /// the pairs of a job before it was found without them.
    pub fn found(&self, job: &str, found: &Result<Vec<Pair>, RepositoriesFault>, at: Timestamp) {
        self.send(|| {
            let found = found.clone().map(|pairs| pairs.into_iter().collect());
            Event::Found { job: job.to_owned(), found, at }
        });
    }

    /// A pass over a pair has come to its end. Not for one that was stopped before, which says nothing about the pair.
    pub fn pair_ended(&self, pair: &Pair, report: &RemoteReport, now: Timestamp) {
        self.send(|| Event::Ended(pair.clone(), Box::new(Standing::of(report, now))));
    }

    /// What was sent so far, also by former settings.
    pub fn tally(&self) -> &Arc<Tally> {
        &self.tally
    }

    /// Tells what is still to be told, in one try, and ends within a few seconds.
    pub async fn stop(mut self) {
        self.stop.cancel();
        self.events.take();
        if let Some(mut task) = self.task.take()
            && tokio::time::timeout(STOP_WITHIN, &mut task).await.is_err()
        {
            tracing::warn!("The last notification was not delivered in time; it follows when the daemon runs again.");
            task.abort();
        }
    }

    fn send(&self, event: impl FnOnce() -> Event) {
        if let Some(events) = &self.events {
            // The task ends only with this sender.
            let _gone = events.send(event());
        }
    }
}

impl Drop for Announcer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// The task behind an announcer.
struct Teller {
    channels: Arc<Channels>,
    ledger: Arc<dyn Ledger>,
    tally: Arc<Tally>,
    /// Whether there is anybody to tell.
    tells: bool,
    pace: Pace,
}

/// A message on its way, and what it tells.
type Delivery = JoinHandle<(bool, Vec<Change>)>;

impl Teller {
    async fn run(self, mut events: UnboundedReceiver<Event>, repeat: Option<Duration>) {
        let told = self.ledger.read_notices().await.unwrap_or_else(|fault| {
            tracing::warn!(
                error = fault.message,
                "What was told last could not be read; some of it may be told again."
            );
            Vec::new()
        });
        let mut standings = Standings::new(repeat, told.into_iter().collect());
        let mut round = Round::default();
        let host = host_name();
        let mut due: Option<Instant> = None;
        let mut delivery: Option<Delivery> = None;
        let mut beat: Option<JoinHandle<()>> = None;
        loop {
            tokio::select! {
                event = events.recv() => match event {
                    Some(event) => {
                        match event {
                            Event::Configured(jobs) => {
                                round.configure(jobs.clone());
                                self.forget(standings.configure(jobs)).await;
                            }
                            Event::Found { job, found, at } => {
                                round.found(&job, found.clone().ok());
                                self.forget(standings.found(&job, found, at)).await;
                            }
                            Event::Ended(pair, standing) => {
                                let failed = standing.matter == Some(Matter::Failed);
                                standings.ended(&pair, *standing);
                                if round.ended(&pair, failed) {
                                    self.beat(&mut beat);
                                }
                            }
                        }
                        if due.is_none() && delivery.is_none() && self.tells && !standings.untold().is_empty() {
                            due = Some(Instant::now() + self.pace.settle);
                        }
                    }
                    None => break,
                },
                () = at(due) => {
                    due = None;
                    delivery = self.deliver(&standings, &host);
                }
                (delivered, changes) = arrival(&mut delivery) => {
                    delivery = None;
                    self.delivered(&mut standings, delivered, &changes).await;
                    if !standings.untold().is_empty() {
                        due = Some(Instant::now() + if delivered { self.pace.settle } else { self.pace.rest });
                    }
                }
            }
        }
        // What is under way may end; what is left goes at once, and both in the time that a stop has.
        if delivery.is_some() {
            let (delivered, changes) = arrival(&mut delivery).await;
            self.delivered(&mut standings, delivered, &changes).await;
        }
        delivery = self.deliver(&standings, &host);
        if delivery.is_some() {
            let (delivered, changes) = arrival(&mut delivery).await;
            self.delivered(&mut standings, delivered, &changes).await;
        }
        if let Some(beat) = beat {
            // It logs by itself what came of it.
            let _told = beat.await;
        }
    }

    fn deliver(&self, standings: &Standings, host: &str) -> Option<Delivery> {
        if !self.tells {
            return None;
        }
        let changes = standings.untold();
        let message = Message::of(&changes, standings.totals(), host)?;
        let channels = Arc::clone(&self.channels);
        Some(tokio::spawn(async move {
            let Ok(json) = serde_json::to_vec(&message) else { return (false, changes) };
            (channels.tell(&json).await, changes)
        }))
    }

    async fn delivered(&self, standings: &mut Standings, delivered: bool, changes: &[Change]) {
        let counter = if delivered { &self.tally.delivered } else { &self.tally.undelivered };
        counter.fetch_add(1, Ordering::Relaxed);
        if delivered {
            self.remember(standings.tell(changes)).await;
        }
    }

    async fn forget(&self, gone: Vec<Pair>) {
        self.remember(gone.into_iter().map(|pair| (pair, None)).collect()).await;
    }

    async fn remember(&self, notices: Vec<(Pair, Option<Notice>)>) {
        if let Err(fault) = self.ledger.remember_notices(&notices).await {
            tracing::warn!(error = fault.message, "What was told could not be remembered and may be told again.");
        }
    }

    /// Calls the heartbeat, unless the last one is still under way.
    fn beat(&self, beat: &mut Option<JoinHandle<()>>) {
        if beat.as_ref().is_some_and(|beat| !beat.is_finished()) {
            return;
        }
        let (channels, tally) = (Arc::clone(&self.channels), Arc::clone(&self.tally));
        *beat = Some(tokio::spawn(async move {
            let counter = if channels.beat().await { &tally.heartbeats } else { &tally.unheard };
            counter.fetch_add(1, Ordering::Relaxed);
        }));
    }
}

/// Waits for this time; for ever where there is none.
async fn at(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => pending().await,
    }
}

/// Waits for what is on its way; for ever where nothing is.
async fn arrival(delivery: &mut Option<Delivery>) -> (bool, Vec<Change>) {
    match delivery {
        Some(delivery) => delivery.await.unwrap_or_default(),
        None => pending().await,
    }
}
