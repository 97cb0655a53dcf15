//! How every pair stands: what `tagsyncd status`, `/status.json` and the status page tell.
//!
//! All of it is made from what the ledger remembers; a daemon adds what only it knows.

mod text;

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::de::value::{Error as UnknownWord, StrDeserializer};
use serde::{Deserialize as _, Serialize};

use super::{Counts, ExitCode, State};
use crate::ledger::{Decision, Matter, Pair, PairStatus, Parked, ParkedBy, Unsettled};
use crate::tag::TagName;

pub use text::age;

/// How every pair stands.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Status {
    /// The version of this format.
    pub version: u8,
    /// One entry per pair, in the order of the configuration.
    pub pairs: Vec<PairReport>,
}

/// A pair that there should be, with what is known of it besides the ledger.
#[derive(Clone, Debug)]
pub struct Expected {
    /// Which.
    pub pair: Pair,
    /// Why its repository cannot be told for certain.
    pub lost: Option<String>,
    /// Why its latest pass failed, when that is not in the ledger.
    pub broken: Option<String>,
    /// When its next pass is due.
    pub next_run: Option<Timestamp>,
    /// Since when a pass is under way.
    pub running_since: Option<Timestamp>,
}

impl Expected {
    /// A pair of which nothing else is known.
    pub fn new(pair: Pair) -> Self {
        Self { pair, lost: None, broken: None, next_run: None, running_since: None }
    }
}

/// How a pair stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PairState {
    /// No pass has ended yet.
    Never,
    /// As the latest pass left it.
    #[serde(untagged)]
    Left(State),
}

impl fmt::Display for PairState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

impl PairState {
    /// What the ledger remembers of a pass; a word that nobody knows says nothing.
    fn left(word: &str) -> Self {
        Self::Left(State::deserialize(StrDeserializer::<UnknownWord>::new(word)).unwrap_or(State::Unknown))
    }
}

/// A repository and a remote of a job.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct PairReport {
    /// The job.
    pub job: String,
    /// The repository.
    pub repository: String,
    /// The remote.
    pub remote: String,
    /// How it stands.
    pub state: PairState,
    /// When the first of the latest unbroken row of passes ended that left both sides in agreement.
    #[schemars(extend("format" = "date-time"))]
    pub in_sync_since: Option<String>,
    /// The age of the oldest name on which the sides do not agree.
    pub lag_seconds: Option<i64>,
    /// When the latest pass ended.
    #[schemars(extend("format" = "date-time"))]
    pub last_attempt: Option<String>,
    /// When a pass last ended without an error.
    #[schemars(extend("format" = "date-time"))]
    pub last_success: Option<String>,
    /// Why the latest pass could conclude nothing.
    pub error: Option<String>,
    /// How many names got which verdict in the latest pass.
    pub counts: Option<Counts>,
    /// The id of the changes that are parked; of several sets, the first.
    pub plan: Option<String>,
    /// All sets that stopped, with what a person said about them.
    pub plans: Vec<Stopped>,
    /// How many names `undo` put back against the source.
    pub undone: u32,
    /// Left for a person.
    pub held: Vec<Open>,
    /// Left for a later pass.
    pub waiting: Vec<Open>,
    /// Tried and not done.
    pub failed: Vec<Open>,
    /// When the next pass is due; null from a command, which does not know.
    #[schemars(extend("format" = "date-time"))]
    pub next_run: Option<String>,
    /// Since when a pass is under way; null from a command, which does not know.
    #[schemars(extend("format" = "date-time"))]
    pub running_since: Option<String>,
    /// What the ledger knows, with times as times.
    #[serde(skip)]
    pub known: Option<PairStatus>,
}

/// A set of changes that stopped.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Stopped {
    /// The id of exactly these changes.
    pub plan: String,
    /// Who stopped it.
    pub by: ParkedBy,
    /// How many changes.
    pub count: u32,
    /// When this very set was first parked.
    #[schemars(extend("format" = "date-time"))]
    pub since: String,
    /// What a person said about it.
    pub decision: Option<Decision>,
    /// When.
    #[schemars(extend("format" = "date-time"))]
    pub decided: Option<String>,
}

/// A name on which the two sides do not agree.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Open {
    /// The source's name.
    pub tag: TagName,
    /// The first of the passes that saw it so.
    #[schemars(extend("format" = "date-time"))]
    pub since: String,
    /// Why.
    pub reason: String,
}

impl Status {
    /// These pairs, also those that have never run: a mirror that never ran must not look healthy.
    pub fn new(pairs: impl IntoIterator<Item = Expected>, known: Vec<PairStatus>, now: Timestamp) -> Self {
        let mut known: BTreeMap<Pair, PairStatus> =
            known.into_iter().map(|status| (status.pair.clone(), status)).collect();
        let pairs = pairs.into_iter().map(|expected| {
            let status = known.remove(&expected.pair);
            PairReport::new(expected, status, now)
        });
        Self { version: 1, pairs: pairs.collect() }
    }

    /// As the pairs are: 1 when something failed, could not be read or never ran, 3 when something is held.
    pub fn exit_code(&self) -> ExitCode {
        let any = |states: &[PairState]| self.pairs.iter().any(|pair| states.contains(&pair.state));
        if any(&[PairState::Left(State::Failed), PairState::Left(State::Unknown), PairState::Never]) {
            ExitCode::Failed
        } else if any(&[PairState::Left(State::Held)]) {
            ExitCode::Held
        } else {
            ExitCode::Done
        }
    }
}

impl PairReport {
    fn new(expected: Expected, known: Option<PairStatus>, now: Timestamp) -> Self {
        let Expected { pair: Pair { job, repository, remote }, lost, broken, next_run, running_since } = expected;
        let last = known.as_ref().map(|known| &known.last);
        let open = |matter| {
            let unsettled = last.into_iter().flat_map(|last| &last.unsettled);
            unsettled.filter(|open| open.matter == matter).map(Open::new).collect::<Vec<_>>()
        };
        let parked = || known.iter().flat_map(|known| &known.parked);
        Self {
            job,
            repository,
            remote,
            state: match (&lost, &broken, last) {
                (Some(_), ..) => PairState::Left(State::Unknown),
                (None, Some(_), _) => PairState::Left(State::Failed),
                (None, None, Some(last)) => PairState::left(&last.state),
                (None, None, None) => PairState::Never,
            },
            in_sync_since: known.as_ref().and_then(|known| known.in_sync_since).map(|since| since.to_string()),
            lag_seconds: known.as_ref().and_then(oldest).map(|since| now.duration_since(since).as_secs()),
            last_attempt: last.map(|last| last.ended.to_string()),
            last_success: known.as_ref().and_then(|known| known.last_success).map(|time| time.to_string()),
            error: lost.or(broken).or_else(|| last.and_then(|last| last.error.clone())),
            counts: last.and_then(|last| serde_json::from_str(&last.counts).ok()),
            plan: parked().next().map(|parked| parked.set.plan.clone()),
            plans: parked().map(Stopped::new).collect(),
            undone: known.as_ref().map_or(0, |known| known.pins),
            held: open(Matter::Held),
            waiting: open(Matter::Waiting),
            failed: open(Matter::Failed),
            next_run: next_run.map(|time| time.to_string()),
            running_since: running_since.map(|time| time.to_string()),
            known,
        }
    }

    /// The names of one matter by their reason: what has one reason is said once, however many names there are.
    pub fn names_by_reason(&self, matter: Matter) -> impl Iterator<Item = (&str, Vec<&Unsettled>)> {
        let mut by_reason: BTreeMap<&str, Vec<&Unsettled>> = BTreeMap::new();
        let unsettled = self.known.iter().flat_map(|known| &known.last.unsettled);
        for open in unsettled.filter(|open| open.matter == matter) {
            by_reason.entry(&open.reason).or_default().push(open);
        }
        by_reason.into_iter()
    }
}

impl Stopped {
    fn new(parked: &Parked) -> Self {
        Self {
            plan: parked.set.plan.clone(),
            by: parked.set.by,
            count: parked.set.count,
            since: parked.since.to_string(),
            decision: parked.decision.map(|(decision, _)| decision),
            decided: parked.decision.map(|(_, when)| when.to_string()),
        }
    }
}

impl Open {
    fn new(unsettled: &Unsettled) -> Self {
        Self { tag: unsettled.tag.clone(), since: unsettled.since.to_string(), reason: unsettled.reason.clone() }
    }
}

/// Since when the oldest name that is not agreed on has been waiting for that.
fn oldest(known: &PairStatus) -> Option<Timestamp> {
    known.last.unsettled.iter().map(|open| open.since).min()
}
