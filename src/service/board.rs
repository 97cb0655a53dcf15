//! What the daemon's loop tells whoever watches: a notice board in memory.
//!
//! The loop writes, requests read; nothing here waits, asks a file or knows HTTP. What is remembered across restarts stands
//! in the ledger, so the board keeps only what the ledger does not know: what is due, what is under way, what was counted
//! since the start, whether the loop still turns.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use prometheus_client::metrics::histogram::Histogram;

use super::notice;
use crate::config::{RepositoriesFault, Settings};
use crate::http::{Condition, Pool, Quota, Traffic};
use crate::ledger::{Action, Outcome, Pair};
use crate::report::status::Expected;
use crate::report::{RemoteReport, State};

/// How late a turn of the loop may be: two periods of the watchdog in the shipped unit.
const GRACE: Duration = Duration::from_secs(120);

/// Upper ends of the buckets for how long a pass took, in seconds.
const DURATIONS: [f64; 10] = [0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 1_800.0];

/// The notice board. Share it in an [`Arc`].
#[derive(Debug)]
pub struct Board {
    notices: Mutex<Notices>,
}

#[derive(Debug)]
struct Notices {
    settings: Arc<Settings>,
    reload: Reload,
    started: Timestamp,
    /// When the loop has to have turned again; `None` while it waits for something that may never come.
    deadline: Option<Instant>,
    /// Jobs whose repositories were found at least once.
    found: BTreeSet<String>,
    ready: bool,
    pairs: BTreeMap<Pair, Standing>,
    /// Why the repositories of a job cannot be told.
    lost: BTreeMap<String, String>,
    /// When an instance is due, by job and repository.
    due: BTreeMap<(String, String), Timestamp>,
    tallies: BTreeMap<String, Tally>,
    hooks: BTreeMap<HookEnd, u64>,
    /// The connections in use.
    pool: Arc<Pool>,
    told: Arc<notice::Tally>,
}

/// What happened to a pair since the start.
#[derive(Clone, Copy, Debug, Default)]
struct Standing {
    running_since: Option<Timestamp>,
    /// As the latest pass left it.
    state: Option<State>,
    /// Whether that pass ended by a bug, of which the ledger knows nothing.
    broken: bool,
}

/// What there is to say of a pass that ended by a bug.
const BROKEN: &str = "the latest pass ended by a bug, which the log describes";

/// How the latest reload of the configuration ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reload {
    /// When the configuration in use was taken.
    pub taken: Timestamp,
    /// Why a later one was not, and when that was.
    pub refused: Option<(String, Timestamp)>,
}

/// What was counted for a remote since the start.
#[derive(Clone, Debug)]
pub struct Tally {
    /// Writes by what was done and how it ended.
    pub changes: BTreeMap<(Action, Outcome), u64>,
    /// Passes by the state in which they left the pair.
    pub passes: BTreeMap<State, u64>,
    /// How long they took, in seconds.
    pub durations: Histogram,
    /// Requests by the status of their answer; those without an answer under 0.
    pub requests: BTreeMap<u16, u64>,
    /// Requests that were sent again.
    pub retries: u64,
    /// What the remote said was left, when it last said it.
    pub quota: Option<Quota>,
}

impl Default for Tally {
    fn default() -> Self {
        let actions = [Action::Create, Action::Move, Action::Delete];
        // From zero on, so that the first of its kind shows as an increase.
        let changes = actions.into_iter().flat_map(|action| OUTCOMES.map(|outcome| ((action, outcome), 0)));
        Self {
            changes: changes.collect(),
            passes: STATES.map(|state| (state, 0)).into(),
            durations: Histogram::new(DURATIONS),
            requests: BTreeMap::new(),
            retries: 0,
            quota: None,
        }
    }
}

const OUTCOMES: [Outcome; 6] =
    [Outcome::Done, Outcome::Already, Outcome::Rejected, Outcome::NotSent, Outcome::Restored, Outcome::Lost];

/// What a pass can leave; a pending plan is none of them, because a daemon's passes write.
const STATES: [State; 6] = [State::InSync, State::Changed, State::Held, State::Waiting, State::Failed, State::Unknown];

/// What became of a request at `/hooks/JOB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HookEnd {
    /// It starts its job.
    Accepted,
    /// Its proof is missing or wrong.
    Refused,
    /// It was too much: the body, the time it took, or how many came at once.
    Limited,
    /// The secret could not be read, or the daemon stops.
    Unable,
}

impl HookEnd {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Accepted, Self::Refused, Self::Limited, Self::Unable];

    /// The word of metrics.
    pub fn word(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Refused => "refused",
            Self::Limited => "limited",
            Self::Unable => "unable",
        }
    }
}

/// Everything on the board that metrics are made of, at one moment.
#[derive(Clone, Debug)]
pub struct Counted {
    /// When the daemon started.
    pub started: Timestamp,
    /// How the latest reload ended.
    pub reload: Reload,
    /// What was counted, by remote.
    pub tallies: BTreeMap<String, Tally>,
    /// When instances are due, by job and repository.
    pub due: BTreeMap<(String, String), Timestamp>,
    /// What became of webhooks.
    pub hooks: BTreeMap<HookEnd, u64>,
    /// How servers are treated.
    pub origins: Vec<Condition>,
    /// What people were told.
    pub told: Arc<notice::Tally>,
}

/// Whether the first pass of everything has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// It has, once; what appears later does not take that back.
    Ready,
    /// The daemon does not know yet what there is in this job.
    Unfound {
        /// The first such job.
        job: String,
        /// Why, when that could not be told; else it was not looked at yet.
        why: Option<String>,
    },
    /// These pairs have not ended a pass yet.
    Missing {
        /// How many.
        missing: usize,
        /// Of how many.
        of: usize,
        /// The first of them.
        first: Pair,
    },
}

impl Board {
    /// An empty board; the loop is expected to turn soon.
    pub fn new(settings: Arc<Settings>) -> Self {
        let now = Timestamp::now();
        let mut notices = Notices {
            settings: Arc::clone(&settings),
            reload: Reload { taken: now, refused: None },
            started: now,
            deadline: Instant::now().checked_add(GRACE),
            found: BTreeSet::new(),
            ready: false,
            pairs: BTreeMap::new(),
            lost: BTreeMap::new(),
            due: BTreeMap::new(),
            tallies: BTreeMap::new(),
            hooks: HookEnd::ALL.map(|end| (end, 0)).into(),
            pool: Arc::default(),
            told: Arc::default(),
        };
        notices.configure(settings);
        Self { notices: Mutex::new(notices) }
    }

    /// The configuration was read again: it is in use from now on, or why the former one is kept.
    pub fn reloaded(&self, outcome: Result<Arc<Settings>, String>, at: Timestamp) {
        let mut notices = self.lock();
        match outcome {
            Ok(settings) => {
                notices.reload = Reload { taken: at, refused: None };
                notices.configure(settings);
            }
            Err(why) => notices.reload.refused = Some((why, at)),
        }
    }

    /// What is counted elsewhere: by the connections in use from now on, and by who tells people.
    pub fn counts(&self, pool: Arc<Pool>, told: Arc<notice::Tally>) {
        let mut notices = self.lock();
        (notices.pool, notices.told) = (pool, told);
    }

    /// The loop has turned, and will turn again at this time or sooner; `None` when nothing is due and it waits for signals.
    ///
    /// The promise is kept by a clock that nobody can set, from the moment of this call on.
    pub fn turned(&self, until: Option<Timestamp>) {
        let wait = until.map(|until| Duration::try_from(until.duration_since(Timestamp::now())).unwrap_or_default());
        self.lock().deadline = wait.and_then(|wait| Instant::now().checked_add(wait.saturating_add(GRACE)));
    }

    /// These are all pairs of a job, and what is not among them is forgotten; or why that could not be told, and its pairs are
    /// unknown until it can.
    pub fn found(&self, job: &str, found: &Result<Vec<Pair>, RepositoriesFault>) {
        let mut notices = self.lock();
        match found {
            Ok(pairs) => {
                notices.lost.remove(job);
                notices.found.insert(job.to_owned());
                let exist: BTreeSet<&Pair> = pairs.iter().collect();
                notices.retain(|pair| pair.job != job || exist.contains(pair));
                let new = pairs.iter().filter(|pair| !notices.pairs.contains_key(pair));
                let mut new = new.map(|pair| (pair.clone(), Standing::default())).collect();
                // All at once, because a tree that grows one by one in their order is half empty.
                notices.pairs.append(&mut new);
            }
            Err(fault) => {
                notices.lost.insert(job.to_owned(), fault.message.clone());
            }
        }
        notices.see_readiness();
    }

    /// When the next pass of an instance is due; `None` when none is.
    pub fn scheduled(&self, job: &str, repository: &str, next: Option<Timestamp>) {
        let mut notices = self.lock();
        let instance = (job.to_owned(), repository.to_owned());
        match next {
            Some(next) => notices.due.insert(instance, next),
            None => notices.due.remove(&instance),
        };
    }

    /// A pass over a pair begins.
    pub fn began(&self, pair: &Pair, at: Timestamp) {
        if let Some(standing) = self.lock().pairs.get_mut(pair) {
            standing.running_since = Some(at);
        }
    }

    /// A pass over a pair has ended.
    pub fn ended(&self, pair: &Pair, report: &RemoteReport, ended: Timestamp) {
        self.lock().end(pair, report, ended, false);
    }

    /// A pass over a pair has ended by a bug, without saying how. Gives what there is to say of it; `None` where none was under
    /// way.
    pub fn broken(&self, pair: &Pair, ended: Timestamp) -> Option<RemoteReport> {
        let mut notices = self.lock();
        notices.pairs.get(pair)?.running_since?;
        let mut report = RemoteReport::new(&pair.remote);
        report.fail(BROKEN, Some("report it with these lines".to_owned()));
        report.state = State::Failed;
        notices.end(pair, &report, ended, true);
        Some(report)
    }

    /// Counts of pairs by state and the next run, for one line.
    pub fn summary(&self) -> Summary {
        let notices = self.lock();
        let mut states = BTreeMap::new();
        for (pair, standing) in &notices.pairs {
            let state = if notices.lost.contains_key(&pair.job) { Some(State::Unknown) } else { standing.state };
            *states.entry(state).or_insert(0) += 1;
        }
        Summary {
            states,
            lost: notices.lost.keys().cloned().collect(),
            next: notices.due.values().min().copied(),
            reload_refused: notices.reload.refused.is_some(),
        }
    }

    /// What became of a webhook.
    pub(super) fn hook(&self, end: HookEnd) {
        *self.lock().hooks.entry(end).or_default() += 1;
    }

    /// Whether the loop has turned when it had to.
    pub fn turns(&self) -> bool {
        self.turns_at(Instant::now())
    }

    /// The same at another moment, if nothing is heard of the loop until then.
    pub fn turns_at(&self, moment: Instant) -> bool {
        self.lock().deadline.is_none_or(|deadline| moment <= deadline)
    }

    /// Whether everything has been looked at once.
    pub fn readiness(&self) -> Readiness {
        let notices = self.lock();
        let mut missing = notices.missing();
        match (notices.unfound().next(), missing.next()) {
            _ if notices.ready => Readiness::Ready,
            (Some(job), _) => Readiness::Unfound { job: job.to_owned(), why: notices.lost.get(job).cloned() },
            (None, Some(first)) => {
                Readiness::Missing { missing: missing.count() + 1, of: notices.pairs.len(), first: first.clone() }
            }
            (None, None) => Readiness::Ready,
        }
    }

    /// How the latest reload ended.
    pub fn reload(&self) -> Reload {
        self.lock().reload.clone()
    }

    /// What was counted.
    pub fn counted(&self) -> Counted {
        let notices = self.lock();
        Counted {
            started: notices.started,
            reload: notices.reload.clone(),
            tallies: notices.tallies.clone(),
            due: notices.due.clone(),
            hooks: notices.hooks.clone(),
            origins: notices.pool.conditions(),
            told: Arc::clone(&notices.told),
        }
    }

    /// Every pair that exists, in the order of the configuration, for [`Status`](crate::report::status::Status).
    pub fn expected(&self) -> Vec<Expected> {
        let notices = self.lock();
        let mut order = BTreeMap::new();
        for (at, job) in notices.settings.jobs.iter().enumerate() {
            for (column, remote) in job.to.iter().enumerate() {
                order.insert((job.name.as_str(), remote.name.as_str()), (at, column));
            }
        }
        let mut pairs: Vec<_> = notices.pairs.iter().collect();
        pairs.sort_by_key(|(pair, _)| {
            let place = order.get(&(pair.job.as_str(), pair.remote.as_str()));
            let (job, remote) = place.copied().unwrap_or((usize::MAX, usize::MAX));
            (job, pair.repository.as_str(), remote)
        });
        let expected = pairs.into_iter().map(|(pair, standing)| Expected {
            lost: notices.lost.get(&pair.job).cloned(),
            next_run: notices.due.get(&(pair.job.clone(), pair.repository.clone())).copied(),
            running_since: standing.running_since,
            broken: standing.broken.then(|| BROKEN.to_owned()),
            ..Expected::new(pair.clone())
        });
        expected.chain(notices.unseen()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Notices> {
        // A notice is whole or not there, so a panic elsewhere leaves nothing half written.
        self.notices.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Notices {
    /// Remotes that the configuration has no more are counted no more; new ones start at zero.
    fn configure(&mut self, settings: Arc<Settings>) {
        let remotes: BTreeSet<&str> =
            settings.jobs.iter().flat_map(|job| &job.to).map(|remote| remote.name.as_str()).collect();
        self.tallies.retain(|remote, _| remotes.contains(remote.as_str()));
        for remote in remotes {
            if !self.tallies.contains_key(remote) {
                self.tallies.insert(remote.to_owned(), Tally::default());
            }
        }
        let jobs: BTreeSet<&str> = settings.jobs.iter().map(|job| job.name.as_str()).collect();
        self.lost.retain(|job, _| jobs.contains(job.as_str()));
        self.found.retain(|job| jobs.contains(job.as_str()));
        self.retain(|pair| jobs.contains(pair.job.as_str()));
        self.settings = settings;
    }

    /// Forgets all other pairs.
    fn retain(&mut self, stays: impl Fn(&Pair) -> bool) {
        self.pairs.retain(|pair, _| stays(pair));
        let instances: BTreeSet<(&str, &str)> =
            self.pairs.keys().map(|pair| (pair.job.as_str(), pair.repository.as_str())).collect();
        self.due.retain(|(job, repository), _| instances.contains(&(job.as_str(), repository.as_str())));
    }

    /// Jobs whose repositories could not be told from the start, under the name that the configuration has for them: what
    /// cannot be seen must not be left out.
    fn unseen(&self) -> impl Iterator<Item = Expected> {
        let jobs = self.settings.jobs.iter().filter_map(|job| Some((job, self.lost.get(&job.name)?)));
        let unseen = jobs.filter(|(job, _)| !self.pairs.keys().any(|pair| pair.job == job.name));
        unseen.flat_map(|(job, fault)| {
            job.to.iter().map(move |remote| {
                let repository = job.from.name().to_owned();
                let pair = Pair { job: job.name.clone(), repository, remote: remote.name.clone() };
                Expected { lost: Some(fault.clone()), ..Expected::new(pair) }
            })
        })
    }

    fn end(&mut self, pair: &Pair, report: &RemoteReport, ended: Timestamp, broken: bool) {
        let began = self.pairs.get_mut(pair).and_then(|standing| {
            (standing.state, standing.broken) = (Some(report.state), broken);
            standing.running_since.take()
        });
        if let Some(tally) = self.tallies.get_mut(&pair.remote) {
            tally.count(report, began.map(|began| ended.duration_since(began).as_secs_f64().max(0.0)));
        }
        self.see_readiness();
    }

    fn see_readiness(&mut self) {
        self.ready |= self.unfound().next().is_none() && self.missing().next().is_none();
    }

    /// Jobs of which nobody knows yet what there is in them.
    fn unfound(&self) -> impl Iterator<Item = &str> {
        let jobs = self.settings.jobs.iter().map(|job| job.name.as_str());
        jobs.filter(|job| !self.found.contains(*job))
    }

    /// Pairs that nobody has looked at yet.
    fn missing(&self) -> impl Iterator<Item = &Pair> {
        self.pairs.iter().filter(|(_, standing)| standing.state.is_none()).map(|(pair, _)| pair)
    }
}

impl Tally {
    fn count(&mut self, report: &RemoteReport, seconds: Option<f64>) {
        *self.passes.entry(report.state).or_default() += 1;
        if let Some(seconds) = seconds {
            self.durations.observe(seconds);
        }
        for change in &report.changes {
            if let Some(outcome) = change.outcome {
                *self.changes.entry((change.action, outcome)).or_default() += 1;
            }
        }
        let Traffic { by_status, retries, quota } = &report.traffic;
        for (status, count) in by_status {
            *self.requests.entry(*status).or_default() += count;
        }
        self.retries += retries;
        self.quota = (*quota).or(self.quota);
    }
}

/// How the pairs stand, in one line: `12 pairs in sync, 1 held; next run 14:05:00Z`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// How many pairs the latest pass left in which state; `None` before their first pass.
    pub states: BTreeMap<Option<State>, usize>,
    /// Jobs whose repositories could not be found the last time; their pairs, as far as they are known, are unknown.
    pub lost: Vec<String>,
    /// When the next instance is due.
    pub next: Option<Timestamp>,
    /// Whether the latest reload was refused, so that a former configuration is in use.
    pub reload_refused: bool,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |states: &[Option<State>]| -> usize { states.iter().filter_map(|state| self.states.get(state)).sum() };
        let counts = [
            (of(&[Some(State::InSync), Some(State::Changed)]), "in sync"),
            (of(&[Some(State::Held)]), "held"),
            (of(&[Some(State::Failed)]), "failed"),
            (of(&[Some(State::Unknown)]), "unknown"),
            (of(&[Some(State::Waiting), Some(State::Pending)]), "waiting"),
            (of(&[None]), "not looked at yet"),
        ];
        let mut found = counts.into_iter().filter(|(count, _)| *count > 0);
        match found.next() {
            Some((1, word)) => write!(f, "1 pair {word}")?,
            Some((count, word)) => write!(f, "{count} pairs {word}")?,
            None => write!(f, "no pairs")?,
        }
        found.try_for_each(|(count, word)| write!(f, ", {count} {word}"))?;
        match &*self.lost {
            [] => {}
            [job] => write!(f, "; the repositories of `{job}` could not be found")?,
            jobs => write!(f, "; the repositories of {} jobs could not be found", jobs.len())?,
        }
        if let Some(next) = self.next {
            // Of the time in RFC 3339, the part that a person compares with a clock.
            write!(f, "; next run {}Z", next.strftime("%H:%M:%S"))?;
        }
        if self.reload_refused {
            write!(f, "; the new configuration was refused, the former one is in use")?;
        }
        Ok(())
    }
}
