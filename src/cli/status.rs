//! `tagsyncd status`: how every pair stands, from the ledger alone.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::de::value::{Error as UnknownWord, StrDeserializer};
use serde::{Deserialize as _, Serialize};

use super::output::{Failure, Output};
use super::sync::{block_on, choose, ledger_failure, load, state_directory};
use super::{Common, ExitCode};
use crate::config::JobSettings;
use crate::ledger::{Decision, LedgerRead as _, Matter, Pair, PairStatus, Parked, ParkedBy, SqliteLedger, Unsettled};
use crate::report::style::{self, FAILED, HEADING, HELD, WAITING, paint};
use crate::report::{Counts, State};
use crate::tag::TagName;
use crate::text::Printable;

#[derive(Serialize, JsonSchema)]
pub(super) struct Status {
    /// The version of this format.
    version: u8,
    /// One entry per pair, in the order of the configuration.
    pairs: Vec<PairReport>,
}

/// How a pair stands.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum PairState {
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
#[derive(Serialize, JsonSchema)]
struct PairReport {
    /// The job.
    job: String,
    /// The repository.
    repository: String,
    /// The remote.
    remote: String,
    /// How it stands.
    state: PairState,
    /// When the first of the latest unbroken row of passes ended that left both sides in agreement.
    #[schemars(extend("format" = "date-time"))]
    in_sync_since: Option<String>,
    /// The age of the oldest name on which the sides do not agree.
    lag_seconds: Option<i64>,
    /// When the latest pass ended.
    #[schemars(extend("format" = "date-time"))]
    last_attempt: Option<String>,
    /// When a pass last ended without an error.
    #[schemars(extend("format" = "date-time"))]
    last_success: Option<String>,
    /// Why the latest pass could conclude nothing.
    error: Option<String>,
    /// How many names got which verdict in the latest pass.
    counts: Option<Counts>,
    /// The id of the changes that are parked; of several sets, the first.
    plan: Option<String>,
    /// All sets that stopped, with what a person said about them.
    plans: Vec<Stopped>,
    /// How many names `undo` put back against the source.
    undone: u32,
    /// Left for a person.
    held: Vec<Open>,
    /// Left for a later pass.
    waiting: Vec<Open>,
    /// Tried and not done.
    failed: Vec<Open>,
    /// What the ledger knows, for the text.
    #[serde(skip)]
    known: Option<PairStatus>,
}

/// A set of changes that stopped.
#[derive(Serialize, JsonSchema)]
struct Stopped {
    /// The id of exactly these changes.
    plan: String,
    /// Who stopped it.
    by: ParkedBy,
    /// How many changes.
    count: u32,
    /// When this very set was first parked.
    #[schemars(extend("format" = "date-time"))]
    since: String,
    /// What a person said about it.
    decision: Option<Decision>,
    /// When.
    #[schemars(extend("format" = "date-time"))]
    decided: Option<String>,
}

/// A name on which the two sides do not agree.
#[derive(Serialize, JsonSchema)]
struct Open {
    /// The source's name.
    tag: TagName,
    /// The first of the passes that saw it so.
    #[schemars(extend("format" = "date-time"))]
    since: String,
    /// Why.
    reason: String,
}

pub(super) fn status(common: &Common, jobs: &[String], output: &Output) -> Result<ExitCode, Failure> {
    let settings = load(common)?;
    let jobs = choose(&settings, jobs)?;
    let directory = state_directory(common, Some(&settings))?;
    let known = match SqliteLedger::open_read_only(&directory).map_err(ledger_failure)? {
        Some(ledger) => block_on(async { ledger.read_status().await.map_err(ledger_failure) })?,
        None => Vec::new(),
    };
    let now = Timestamp::now();
    let status = Status { version: 1, pairs: pairs(&jobs, known, now) };
    output.result(&status, status.text(now))?;
    Ok(status.exit_code())
}

/// Every configured pair, also those that have never run: a mirror that never ran must not look healthy.
fn pairs(jobs: &[&JobSettings], known: Vec<PairStatus>, now: Timestamp) -> Vec<PairReport> {
    let mut known: BTreeMap<Pair, PairStatus> = known.into_iter().map(|status| (status.pair.clone(), status)).collect();
    let mut pairs = Vec::new();
    for job in jobs {
        // Repositories that cannot be found now are still shown as far as the ledger knows them.
        let (mut repositories, lost): (Vec<String>, _) = match job.from.find() {
            Ok(found) => (found.into_iter().map(|repository| repository.name).collect(), None),
            Err(fault) => {
                let known = known.keys().filter(|pair| pair.job == job.name);
                (known.map(|pair| pair.repository.clone()).collect(), Some(fault.to_string()))
            }
        };
        repositories.dedup();
        for repository in repositories {
            for remote in &job.to {
                let pair = Pair { job: job.name.clone(), repository: repository.clone(), remote: remote.name.clone() };
                let status = known.remove(&pair);
                let mut report = PairReport::new(pair, status, now);
                if lost.is_some() {
                    report.state = PairState::Left(State::Unknown);
                    report.error.clone_from(&lost);
                }
                pairs.push(report);
            }
        }
    }
    pairs
}

impl PairReport {
    fn new(pair: Pair, known: Option<PairStatus>, now: Timestamp) -> Self {
        let Pair { job, repository, remote } = pair;
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
            state: last.map_or(PairState::Never, |last| PairState::left(&last.state)),
            in_sync_since: known.as_ref().and_then(|known| known.in_sync_since).map(|since| since.to_string()),
            lag_seconds: known.as_ref().and_then(oldest).map(|since| now.duration_since(since).as_secs()),
            last_attempt: last.map(|last| last.ended.to_string()),
            last_success: known.as_ref().and_then(|known| known.last_success).map(|time| time.to_string()),
            error: last.and_then(|last| last.error.clone()),
            counts: last.and_then(|last| serde_json::from_str(&last.counts).ok()),
            plan: parked().next().map(|parked| parked.set.plan.clone()),
            plans: parked().map(Stopped::new).collect(),
            undone: known.as_ref().map_or(0, |known| known.pins),
            held: open(Matter::Held),
            waiting: open(Matter::Waiting),
            failed: open(Matter::Failed),
            known,
        }
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

/// How long, in the two largest units that say it. A clock that was set back makes nothing younger than new.
fn age(since: Timestamp, now: Timestamp) -> String {
    let minutes = now.duration_since(since).as_mins().max(0);
    match (minutes / 1440, minutes / 60 % 24, minutes % 60) {
        (0, 0, 0) => "less than a minute".to_owned(),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

impl Status {
    /// As the pairs are: 1 when something failed, could not be read or never ran, 3 when something is held.
    fn exit_code(&self) -> ExitCode {
        let any = |states: &[PairState]| self.pairs.iter().any(|pair| states.contains(&pair.state));
        if any(&[PairState::Left(State::Failed), PairState::Left(State::Unknown), PairState::Never]) {
            ExitCode::Failed
        } else if any(&[PairState::Left(State::Held)]) {
            ExitCode::Held
        } else {
            ExitCode::Done
        }
    }

    fn text(&self, now: Timestamp) -> String {
        let mut text = String::new();
        for pair in &self.pairs {
            pair.write(&mut text, now);
        }
        text
    }
}

/// Names of one matter that a glance can take in.
const NAMES: usize = 20;

impl PairReport {
    // Writing to a string cannot fail.
    fn write(&self, text: &mut String, now: Timestamp) {
        let Self { job, repository, remote, state, .. } = self;
        let heading = format!("{job}: {repository} -> {remote}");
        let word = state.to_string();
        let state = paint(style::state(&word), word.replace('_', " "));
        let _infallible = write!(text, "{}: {state}", paint(HEADING, heading));
        let Some(known) = &self.known else {
            text.push_str(" ran\n");
            return;
        };
        if let Some(since) = known.in_sync_since {
            let words = if word == "in_sync" { " for" } else { ", in sync for" };
            let _infallible = write!(text, "{words} {}", age(since, now));
        }
        if let Some(since) = oldest(known) {
            let _infallible = write!(text, ", lag {}", age(since, now));
        }
        let _infallible = writeln!(text);
        let _infallible =
            write!(text, "  last attempt {:.19}Z ({} ago)", known.last.ended.to_string(), age(known.last.ended, now));
        let _infallible = match known.last_success {
            Some(time) if time == known.last.ended => writeln!(text, ", a success"),
            Some(time) => writeln!(text, ", last success {:.19}Z ({} ago)", time.to_string(), age(time, now)),
            None => writeln!(text, ", never a success"),
        };
        if let Some(counts) = &self.counts {
            let _infallible = writeln!(text, "  {}", counts.words());
        }
        if let Some(error) = &self.error {
            let _infallible = writeln!(text, "  {} {}", paint(FAILED, "unknown:"), Printable::new(error));
        }
        for (mark, style, matter) in
            [('!', HELD, Matter::Held), ('!', FAILED, Matter::Failed), ('…', WAITING, Matter::Waiting)]
        {
            let (mark, word) = (paint(style, mark), paint(style, matter.word()));
            // What has one reason is said once, however many names there are.
            let mut by_reason: BTreeMap<&str, Vec<&Unsettled>> = BTreeMap::new();
            for open in known.last.unsettled.iter().filter(|open| open.matter == matter) {
                by_reason.entry(&open.reason).or_default().push(open);
            }
            for (reason, open) in by_reason {
                let reason = Printable::new(reason);
                let since = open.iter().map(|open| open.since).min().unwrap_or(now);
                let names: Vec<String> = open.iter().take(NAMES).map(|open| open.tag.to_string()).collect();
                let names = names.join(", ");
                let more = open.len().saturating_sub(NAMES);
                let more = if more > 0 { format!(" … and {more} more") } else { String::new() };
                let _infallible = writeln!(text, "  {mark} {names}{more}  {word} for {}: {reason}", age(since, now));
            }
        }
        if known.pins > 0 {
            let _infallible = writeln!(text, "  undone: {} names were put back against the source", known.pins);
        }
        for parked in &known.parked {
            let Parked { set, since, decision, .. } = parked;
            let changes = if set.count == 1 { "1 change".to_owned() } else { format!("{} changes", set.count) };
            let _infallible = write!(text, "  plan {}: {changes} parked for {}", set.plan, age(*since, now));
            let _infallible = match decision {
                None => writeln!(text, "\n      {} {}", style::hint(), set.hint()),
                Some((Decision::Approved, when)) if parked.release_expired(now) => {
                    writeln!(
                        text,
                        ", approved {} ago, which is too long\n      {} {}",
                        age(*when, now),
                        style::hint(),
                        set.hint()
                    )
                }
                Some((Decision::Approved, when)) => {
                    writeln!(text, ", approved {} ago: the next pass carries them out", age(*when, now))
                }
                Some((Decision::Dismissed, when)) => writeln!(text, ", dismissed {} ago", age(*when, now)),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_said_in_two_units() {
        let now = Timestamp::from_second(1_000_000).unwrap();
        for (seconds, said) in [
            (-5, "less than a minute"),
            (59, "less than a minute"),
            (60, "1 min"),
            (3_660, "1 h 1 min"),
            (90_000, "1 d 1 h"),
        ] {
            assert_eq!(age(Timestamp::from_second(1_000_000 - seconds).unwrap(), now), said);
        }
    }
}
