//! The loop: what is due starts, what ends is told to whoever wants to know, and what asks for more is heard.

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, channel, unbounded_channel};
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::agenda::{Agenda, Start, StartNumber};
use super::board::Board;
use super::clock::Clock;
use super::configuration::{Configuration, load};
use super::listening::Listening;
use super::notice::Announcer;
use super::passes::Passes;
use super::signals::{self, Signal};
use super::systemd::{Manager, watchdog};
use super::watch::{Change, Watch};
use super::web::Desk;
use crate::config::{ConfigFault, Repositories, RepositoriesFault, Repository, Settings};
use crate::ledger::{Ledger, LedgerFault, LedgerRead as _, Pair, SqliteLedger, StateDirectory};
use crate::report::RemoteReport;
use crate::source::refs_directory;
use crate::sync::{Grace, Mode, Progress, Purpose, Run, sync_repository};

/// How long writes under way may take after a request to stop; what is not finished then is finished by the next start. With what
/// follows, the process has ended 20 seconds after the request.
const STOP_WITHIN: Duration = Duration::from_secs(14);
/// How long the ledger may take for what it has not written yet, and whoever is being answered or told.
const END_WITHIN: Duration = Duration::from_secs(4);
/// How long looking for repositories may take before that is said.
const FIND_WITHIN: Duration = Duration::from_secs(60);
/// How often passes are looked at that do not move.
const LOOK_AFTER: Duration = Duration::from_secs(10 * 60);
/// Webhooks that are not heard yet; more are refused.
const HOOKS: usize = 64;
/// How often the service manager's status line changes at most, while passes are under way.
const STATUS_PAUSE: Duration = Duration::from_secs(1);

/// Why the service could not begin, or go on.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct ServiceFault {
    /// What happened.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

/// What a service needs to begin with.
pub struct Beginning {
    /// The configuration, and where it is read anew.
    pub settings: Settings,
    /// Where the ledger is.
    pub directory: StateDirectory,
    /// The ledger, opened under its lock.
    pub ledger: Arc<SqliteLedger>,
    /// A socket that somebody else opened for us; it is used instead of `listen`.
    pub listener: Option<TcpListener>,
    /// What makes shifts differ between hosts.
    pub host: String,
    /// The clock of the time table.
    pub clock: Arc<dyn Clock>,
}

/// What happened.
#[derive(Debug)]
enum Event {
    Signal(Signal),
    /// The repositories of a job, by the configuration of this number.
    Found {
        job: String,
        number: u64,
        found: Result<Vec<Found>, RepositoriesFault>,
    },
    /// The repositories of a job are still being looked for.
    FindsLate {
        job: String,
        number: u64,
    },
    /// A pair's pass has ended; at this time another one would find something to do.
    Ended {
        pair: Pair,
        start: StartNumber,
        revisit: Option<Timestamp>,
    },
    /// All of a start is over, whatever became of it.
    Over {
        start: StartNumber,
        pairs: BTreeSet<Pair>,
    },
    /// People decided about sets of these pairs.
    Decided(Vec<Pair>),
    Reloaded(Box<Result<Settings, ConfigFault>>),
}

/// A repository, and where its refs are if that was not known yet.
#[derive(Debug)]
struct Found {
    repository: Repository,
    refs: Option<Arc<Path>>,
}

/// The service.
struct Daemon {
    directory: StateDirectory,
    ledger: Arc<SqliteLedger>,
    clock: Arc<dyn Clock>,
    configuration: Configuration,
    agenda: Agenda,
    board: Arc<Board>,
    manager: Manager,
    /// When the service manager last heard of the state.
    told: Instant,
    /// When passes that do not move were last looked for.
    looked_after: Instant,
    /// Where each repository keeps its refs.
    refs: BTreeMap<PathBuf, Arc<Path>>,
    watch: Option<Watch>,
    listening: Option<Listening>,
    /// Who tells people; replaced when a reload changes how.
    announcer: Arc<Mutex<Announcer>>,
    settings: watch::Sender<Arc<Settings>>,
    passes: Passes,
    stop: CancellationToken,
    events: UnboundedSender<Event>,
    hooks: tokio::sync::mpsc::Sender<String>,
    reloading: Reloading,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reloading {
    No,
    Yes,
    Again,
}

/// What the loop hears.
struct Ears {
    events: UnboundedReceiver<Event>,
    changes: UnboundedReceiver<Change>,
    hooks: tokio::sync::mpsc::Receiver<String>,
}

/// Runs the service until a signal ends it.
pub async fn run(beginning: Beginning) -> Result<(), ServiceFault> {
    let (mut daemon, ears) = Daemon::new(beginning)?;
    let signals = daemon.events.clone();
    signals::listen(signals, Event::Signal).map_err(|fault| ServiceFault {
        message: format!("signals could not be received: {fault}"),
        hint: "look for a limit on what the process may do".to_owned(),
    })?;
    daemon.turn();
    daemon.manager.ready(&daemon.words());
    daemon.work(ears).await;
    Ok(())
}

impl Daemon {
    fn new(beginning: Beginning) -> Result<(Self, Ears), ServiceFault> {
        let Beginning { settings, directory, ledger, listener, host, clock } = beginning;
        let configuration = Configuration::first(Arc::new(settings));
        let (events, heard) = unbounded_channel();
        let (settled, changes) = unbounded_channel();
        let (hooks, called) = channel(HOOKS);
        let watch = Watch::new(settled).inspect_err(|fault| {
            tracing::warn!(%fault, "Changes of refs are not noticed at once, only by the schedule.");
        });
        let mut watch = watch.ok();
        if let Some(watch) = &mut watch {
            watch.state(directory.path());
        }
        let board = Arc::new(Board::new(Arc::clone(&configuration.settings)));
        let announcer = Announcer::new(&configuration.settings.notify, Arc::clone(&ledger) as Arc<dyn Ledger>);
        let (told, _) = watch::channel(Arc::clone(&configuration.settings));
        let mut daemon = Self {
            directory,
            ledger,
            clock,
            agenda: Agenda::new(host),
            board,
            manager: Manager::of_environment(),
            told: Instant::now(),
            looked_after: Instant::now(),
            refs: BTreeMap::new(),
            watch,
            listening: None,
            announcer: Arc::new(Mutex::new(announcer)),
            settings: told,
            passes: Passes::default(),
            stop: CancellationToken::new(),
            events,
            hooks,
            reloading: Reloading::No,
            configuration,
        };
        daemon.listening = match listener {
            Some(listener) => Some(Listening::inherit(listener, daemon.desk())),
            None => match daemon.configuration.settings.daemon.listen {
                Some(address) => Some(Listening::open(address, daemon.desk())?),
                None => None,
            },
        };
        daemon.begin();
        Ok((daemon, Ears { events: heard, changes, hooks: called }))
    }

    /// Brings the configuration into force.
    fn begin(&mut self) {
        let jitter = self.configuration.settings.daemon.jitter;
        self.agenda.configure(self.configuration.timetables(), jitter, self.clock.now());
        let jobs = self.configuration.settings.jobs.iter().map(|job| job.name.clone());
        let announcer = locked(&self.announcer);
        announcer.configured(jobs);
        self.board.counts(Arc::clone(&self.configuration.pool), Arc::clone(announcer.tally()));
    }

    /// Goes on until there is nothing left to do after a request to stop.
    async fn work(mut self, mut ears: Ears) {
        let period = watchdog().map(|period| period / 2);
        let mut alive = period.map(|period| Instant::now() + period);
        let mut deadline = None;
        loop {
            let stopping = self.stop.is_cancelled();
            if stopping && self.passes.is_empty() {
                break;
            }
            let next = self.agenda.next().filter(|_| !stopping);
            tokio::select! {
                Some(event) = ears.events.recv() => {
                    self.take(event);
                    // What happened together leads to one turn.
                    while let Ok(event) = ears.events.try_recv() {
                        self.take(event);
                    }
                }
                Some(change) = ears.changes.recv() => self.changed(change),
                Some(job) = ears.hooks.recv() => self.asked(&job),
                () = self.clock.sleep_until(next) => {}
                () = until(alive) => {
                    alive = period.map(|period| Instant::now() + period);
                    self.manager.alive();
                }
                () = until(deadline) => {
                    tracing::warn!(passes = self.passes.len(), "Leaving without waiting any longer; the next start finishes what is left.");
                    break;
                }
            }
            if self.stop.is_cancelled() && deadline.is_none() {
                deadline = Some(Instant::now() + STOP_WITHIN);
            }
            self.turn();
        }
        self.end().await;
    }

    async fn end(mut self) {
        let answered = async {
            if let Some(listening) = self.listening.take() {
                let _bounded = tokio::time::timeout(END_WITHIN, listening.close()).await;
            }
        };
        let announcer = std::mem::take(&mut *locked(&self.announcer));
        let written = async {
            match tokio::time::timeout(END_WITHIN, self.ledger.flush()).await {
                Ok(Ok(())) => {}
                Ok(Err(fault)) => {
                    tracing::error!(
                        error = fault.message,
                        hint = fault.hint,
                        "The ledger could not be brought to disk."
                    );
                }
                Err(_) => tracing::error!("The disk of the ledger does not answer."),
            }
        };
        tokio::join!(answered, announcer.stop(), written);
    }

    /// Starts what is due, and says how things stand.
    fn turn(&mut self) {
        let now = self.clock.now();
        if !self.stop.is_cancelled() {
            for job in self.agenda.look(now) {
                self.find(job);
            }
            for start in self.agenda.start(now) {
                self.start(start, now);
            }
        }
        self.board.turned(self.agenda.next());
        if self.looked_after.elapsed() >= LOOK_AFTER {
            self.looked_after = Instant::now();
            self.passes.name_the_stuck(self.looked_after);
        }
        if self.agenda.under_way() == 0 || self.told.elapsed() >= STATUS_PAUSE {
            self.told = Instant::now();
            self.manager.status(&self.words());
        }
    }

    fn words(&self) -> String {
        if self.stop.is_cancelled() {
            return format!("Stopping; {} passes under way.", self.passes.len());
        }
        self.board.summary().to_string()
    }

    fn take(&mut self, event: Event) {
        let now = self.clock.now();
        match event {
            Event::Signal(Signal::Stop) => {
                tracing::info!("Asked to stop.");
                self.stop.cancel();
                self.agenda.configure(Vec::new(), Duration::ZERO, now);
                self.manager.stopping(&self.words());
            }
            Event::Signal(Signal::Reload) | Event::Reloaded(_) if self.stop.is_cancelled() => {}
            Event::Signal(Signal::Reload) => self.reload(),
            Event::Signal(Signal::Sync) => {
                tracing::info!("Asked for a pass over everything.");
                self.agenda.ask_all(now);
            }
            // By a configuration that is not in force any more, or by one that is about to go.
            Event::Found { number, .. } | Event::FindsLate { number, .. }
                if number != self.configuration.number || self.stop.is_cancelled() => {}
            Event::Found { job, found, .. } => self.found(&job, found, now),
            Event::FindsLate { job, .. } => {
                let message = "their disk does not answer".to_owned();
                tracing::warn!(job, error = message, "The repositories could not be found yet.");
                self.said(&job, &Err(RepositoriesFault { message, hint: None }), now);
            }
            Event::Ended { pair, start, revisit } => {
                self.agenda.ended(&pair, start);
                if let Some(at) = revisit {
                    self.agenda.ask_pair(&pair, at);
                    self.schedule(&pair.job, &pair.repository);
                }
            }
            Event::Over { start, pairs } => {
                self.passes.over(start);
                for pair in &pairs {
                    if self.agenda.ended(pair, start) {
                        self.broken(pair, now);
                    }
                }
            }
            Event::Decided(pairs) => pairs.iter().for_each(|pair| self.agenda.ask_pair(pair, now)),
            Event::Reloaded(settings) => self.reloaded(*settings),
        }
    }

    /// A pass over a pair is over and has not said how it ended.
    fn broken(&self, pair: &Pair, now: Timestamp) {
        if self.stop.is_cancelled() {
            return;
        }
        if let Some(report) = self.board.broken(pair, now) {
            locked(&self.announcer).pair_ended(pair, &report, now);
        }
    }

    /// A whole job is wanted, by somebody from outside.
    fn asked(&mut self, job: &str) {
        tracing::info!(job, "Asked for a pass by a webhook.");
        self.agenda.ask_job(job, self.clock.now());
    }

    fn changed(&mut self, change: Change) {
        let now = self.clock.now();
        match change {
            Change::Refs(directory) => {
                let concerned: Vec<(String, String)> = self
                    .agenda
                    .repositories()
                    .filter(|(_, repository)| {
                        repository.directory().and_then(|path| self.refs.get(path)) == Some(&directory)
                    })
                    .map(|(job, repository)| (job.to_owned(), repository.name.clone()))
                    .collect();
                for (job, repository) in concerned {
                    tracing::debug!(job, repository, "Refs have changed.");
                    self.agenda.ask_repository(&job, &repository, now);
                }
            }
            Change::Decision => {
                let (ledger, events) = (Arc::clone(&self.ledger), self.events.clone());
                tokio::spawn(async move {
                    match ledger.read_parked().await {
                        Ok(sets) => {
                            let decided = sets.into_iter().filter(|(_, parked)| parked.decision.is_some());
                            let _ended = events.send(Event::Decided(decided.map(|(pair, _)| pair).collect()));
                        }
                        Err(LedgerFault { message, hint }) => {
                            tracing::warn!(error = message, hint, "What was decided could not be read.");
                        }
                    }
                });
            }
        }
    }

    /// Looks for the repositories of a job, away from the loop. There is an answer in the end, whatever happens; where a disk does not
    /// answer, nothing more is sent after the first request.
    fn find(&self, job: String) {
        let Some(settings) = self.configuration.job(&job) else { return };
        let (from, number, events) = (settings.from.clone(), self.configuration.number, self.events.clone());
        let known = if matches!(from, Repositories::One(_)) { BTreeMap::new() } else { self.refs.clone() };
        let mut search = spawn_blocking(move || {
            let look = |repository: Repository| {
                // On a remote there is nothing to watch.
                let refs = repository.directory().and_then(|path| {
                    let known = known.get(path).cloned();
                    known.or_else(|| Some(refs_directory(path).ok()?.into()))
                });
                Found { repository, refs }
            };
            from.find().map(|found| found.into_iter().map(look).collect())
        });
        tokio::spawn(async move {
            let ended = match tokio::time::timeout(FIND_WITHIN, &mut search).await {
                Ok(ended) => ended,
                Err(_) => {
                    let _ended = events.send(Event::FindsLate { job: job.clone(), number });
                    search.await
                }
            };
            let found = ended.unwrap_or_else(|fault| {
                let message = format!("they could not be looked for because of a bug: {fault}");
                Err(RepositoriesFault { message, hint: Some("report it with the lines of the log".to_owned()) })
            });
            let _ended = events.send(Event::Found { job, number, found });
        });
    }

    fn found(&mut self, job: &str, found: Result<Vec<Found>, RepositoriesFault>, now: Timestamp) {
        let (repositories, fault) = match found {
            Ok(found) => {
                let known = |Found { repository, refs }| {
                    if let (Some(refs), Some(path)) = (refs, repository.directory()) {
                        self.refs.insert(path.to_owned(), refs);
                    }
                    repository
                };
                (Some(found.into_iter().map(known).collect()), None)
            }
            Err(fault) => {
                tracing::warn!(job, error = fault.message, hint = fault.hint, "The repositories could not be found.");
                (None, Some(fault))
            }
        };
        for repository in self.agenda.found(job, repositories, now) {
            tracing::warn!(job, repository, "The repository is not there any more; it is left alone from now on.");
        }
        let pairs = || self.agenda.pairs().into_iter().filter(|pair| pair.job == job).collect();
        let found = fault.map_or_else(|| Ok(pairs()), Err);
        self.said(job, &found, now);
        for (_, repository) in self.agenda.repositories().filter(|(name, _)| *name == job) {
            self.schedule(job, &repository.name);
        }
        let there: BTreeSet<PathBuf> = self
            .agenda
            .repositories()
            .filter_map(|(_, repository)| repository.directory())
            .map(Path::to_owned)
            .collect();
        self.refs.retain(|path, _| there.contains(path));
        if let Some(watch) = &mut self.watch {
            watch.repositories(&self.refs.values().cloned().collect());
        }
    }

    /// Says what was found of a job to whoever shows or tells it.
    fn said(&self, job: &str, found: &Result<Vec<Pair>, RepositoriesFault>, now: Timestamp) {
        self.board.found(job, found);
        locked(&self.announcer).found(job, found, now);
    }

    fn schedule(&self, job: &str, repository: &str) {
        self.board.scheduled(job, repository, self.agenda.next_run(job, repository));
    }

    /// Begins a pass in a task of its own.
    fn start(&mut self, start: Start, now: Timestamp) {
        let Start { number, job, repository, pairs } = start;
        self.schedule(&job, &repository.name);
        let id = Uuid::now_v7();
        for pair in &pairs {
            self.board.began(pair, now);
        }
        let run = Arc::new(Run {
            id,
            purpose: Purpose::Agree,
            pairs: Some(pairs.clone()),
            mode: Mode::Sync(Arc::clone(&self.ledger) as Arc<dyn Ledger>),
            pool: Arc::clone(&self.configuration.pool),
            released: Vec::new(),
            verbose: false,
            stop: self.stop.clone(),
            progress: Progress::default(),
            ended: Some(self.listener(id, number)),
            grace: Grace::Keep,
        });
        self.passes.begin(number, Arc::clone(&run));
        let (settings, events) = (Arc::clone(&self.configuration.settings), self.events.clone());
        tokio::spawn(async move {
            // In a task of its own, so that a bug in a pass is the end of that pass only.
            let pass = tokio::spawn(async move {
                let Some(settings) = settings.jobs.iter().find(|settings| settings.name == job) else { return };
                let report = sync_repository(settings, &repository, &run).await;
                if let Some(error) = report.error {
                    tracing::warn!(job, repository = repository.name, run = %run.id, error, hint = report.hint, "The source could not be read.");
                }
            });
            if pass.await.is_err() {
                tracing::error!(run = %id, "A pass ended by a bug; report it with the lines above.");
            }
            let _ended = events.send(Event::Over { start: number, pairs });
        });
    }

    /// Who hears of each pair's end, in the midst of the pass.
    fn listener(&self, run: Uuid, start: StartNumber) -> crate::sync::Listener {
        let (board, events, clock) = (Arc::clone(&self.board), self.events.clone(), Arc::clone(&self.clock));
        let (announcer, stop) = (Arc::clone(&self.announcer), self.stop.clone());
        Arc::new(move |pair: &Pair, report: &RemoteReport| {
            log(run, pair, report);
            let now = clock.now();
            board.ended(pair, report, now);
            // A pass that was stopped says nothing about the pair.
            if !stop.is_cancelled() {
                locked(&announcer).pair_ended(pair, report, now);
            }
            let _ended = events.send(Event::Ended { pair: pair.clone(), start, revisit: report.revisit });
        })
    }

    fn reload(&mut self) {
        if self.reloading != Reloading::No {
            self.reloading = Reloading::Again;
            return;
        }
        tracing::info!("Reading the configuration anew.");
        self.reloading = Reloading::Yes;
        self.manager.reloading();
        let (file, events) = (self.configuration.settings.file.clone(), self.events.clone());
        tokio::spawn(async move {
            let _ended = events.send(Event::Reloaded(Box::new(load(&file).await)));
        });
    }

    /// Brings a new configuration into force, or says why the old one stays. Passes under way end as they began.
    fn reloaded(&mut self, settings: Result<Settings, ConfigFault>) {
        if std::mem::replace(&mut self.reloading, Reloading::No) == Reloading::Again {
            self.reload();
            return;
        }
        let outcome = settings.map_err(|fault| fault.to_string()).and_then(|settings| self.apply(settings));
        match &outcome {
            Ok(_) => tracing::info!("The new configuration is in force."),
            Err(fault) => {
                // One line for each problem.
                for problem in fault.lines().filter(|line| !line.trim().is_empty()) {
                    tracing::error!("{problem}");
                }
                tracing::error!("The old configuration stays in force.");
            }
        }
        self.board.reloaded(outcome, self.clock.now());
        self.manager.ready(&self.words());
    }

    fn apply(&mut self, settings: Settings) -> Result<Arc<Settings>, String> {
        let settings = Arc::new(settings);
        // First what can fail.
        let (former, listen) = (self.configuration.settings.daemon.listen, settings.daemon.listen);
        let inherited = self.listening.as_ref().is_some_and(Listening::is_inherited);
        let same_port = former.zip(listen).is_some_and(|(former, listen)| former.port() == listen.port());
        if same_port && former != listen {
            // The old socket may keep the new one from being opened, and without either nobody could look in.
            tracing::warn!("`daemon.listen` has another address and the same port; that takes effect with a restart.");
        } else if !inherited && listen != former {
            let open = |address| Listening::open(address, self.desk());
            let new = listen.map(open).transpose().map_err(|fault| format!("{fault} ({})", fault.hint))?;
            if let Some(old) = std::mem::replace(&mut self.listening, new) {
                drop(old.close());
            }
        }
        if settings.notify != self.configuration.settings.notify {
            // It still tells first what is to be told by the former settings.
            locked(&self.announcer).renew(&settings.notify, Arc::clone(&self.ledger) as Arc<dyn Ledger>);
        }
        if self.configuration.settings.daemon.state != settings.daemon.state {
            tracing::warn!(state = %self.directory, "`daemon.state` has changed; that takes effect with a restart.");
        }
        self.configuration = self.configuration.next(Arc::clone(&settings));
        self.settings.send_replace(Arc::clone(&settings));
        self.begin();
        Ok(settings)
    }

    fn desk(&self) -> Desk {
        Desk {
            board: Arc::clone(&self.board),
            state: self.directory.clone(),
            settings: self.settings.subscribe(),
            hooks: self.hooks.clone(),
        }
    }
}

/// One line for each pass over a pair.
fn log(run: Uuid, pair: &Pair, report: &RemoteReport) {
    let Pair { job, repository, remote } = pair;
    let counts = report.counts;
    let writes = report.changes.len();
    tracing::info!(
        job, repository, remote, %run, state = %report.state, writes, held = counts.held, waiting = counts.waiting,
        failed = counts.failed, requests = report.requests, "Pass ended."
    );
}

fn locked(announcer: &Mutex<Announcer>) -> MutexGuard<'_, Announcer> {
    // Nothing panics while it is held, and it would still be usable.
    announcer.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}
