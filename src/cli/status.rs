//! `tagsyncd status`: how every pair stands, from the ledger alone.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value as Json;

use super::output::{Failure, Output};
use super::sync::{block_on, choose, ledger_failure, load, state_directory};
use super::{Common, ExitCode};
use crate::config::JobSettings;
use crate::ledger::{Decision, LedgerRead as _, Matter, Pair, PairStatus, Parked, SqliteLedger, Unsettled};
use crate::report::style::{self, FAILED, HEADING, HELD, WAITING, paint};
use crate::tag::TagName;
use crate::text::Printable;

#[derive(Serialize)]
struct Status {
    version: u8,
    pairs: Vec<PairReport>,
}

#[derive(Serialize)]
struct PairReport {
    job: String,
    repository: String,
    remote: String,
    /// As the latest pass left it; `never` when there was none.
    state: String,
    in_sync_since: Option<String>,
    /// The age of the oldest name on which the sides do not agree.
    lag_seconds: Option<i64>,
    last_attempt: Option<String>,
    last_success: Option<String>,
    error: Option<String>,
    counts: Json,
    /// The id of what a guard parked.
    plan: Option<String>,
    /// All sets that stopped, with what a person said about them.
    plans: Vec<Stopped>,
    /// How many names `undo` put back against the source.
    undone: u32,
    held: Vec<Open>,
    waiting: Vec<Open>,
    failed: Vec<Open>,
    /// What the ledger knows, for the text.
    #[serde(skip)]
    known: Option<PairStatus>,
}

#[derive(Serialize)]
struct Stopped {
    plan: String,
    by: &'static str,
    count: u32,
    since: String,
    /// `approved` or `dismissed`.
    decision: Option<&'static str>,
    decided: Option<String>,
}

#[derive(Serialize)]
struct Open {
    tag: TagName,
    since: String,
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
                    "unknown".clone_into(&mut report.state);
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
            state: last.map_or_else(|| "never".to_owned(), |last| last.state.clone()),
            in_sync_since: known.as_ref().and_then(|known| known.in_sync_since).map(|since| since.to_string()),
            lag_seconds: known.as_ref().and_then(oldest).map(|since| now.duration_since(since).as_secs()),
            last_attempt: last.map(|last| last.ended.to_string()),
            last_success: known.as_ref().and_then(|known| known.last_success).map(|time| time.to_string()),
            error: last.and_then(|last| last.error.clone()),
            counts: last.and_then(|last| serde_json::from_str(&last.counts).ok()).unwrap_or(Json::Null),
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
            by: parked.set.by.word(),
            count: parked.set.count,
            since: parked.since.to_string(),
            decision: parked.decision.map(|(decision, _)| decision.word()),
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
        let any = |states: &[&str]| self.pairs.iter().any(|pair| states.contains(&pair.state.as_str()));
        if any(&["failed", "unknown", "never"]) {
            ExitCode::Failed
        } else if any(&["held"]) {
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

/// What the latest pass counted, without what it did not find.
fn counted(counts: &Json) -> String {
    let found = counts.as_object().into_iter().flatten().filter(|(_, count)| count.as_u64() != Some(0));
    let words: Vec<String> = found.map(|(word, count)| format!("{count} {}", word.replace('_', " "))).collect();
    words.join(", ")
}

/// Names of one matter that a glance can take in.
const NAMES: usize = 20;

impl PairReport {
    // Writing to a string cannot fail.
    fn write(&self, text: &mut String, now: Timestamp) {
        let Self { job, repository, remote, state, .. } = self;
        let heading = format!("{job}: {repository} -> {remote}");
        let state = paint(style::state(state), state.replace('_', " "));
        let _infallible = write!(text, "{}: {state}", paint(HEADING, heading));
        let Some(known) = &self.known else {
            text.push_str(" ran\n");
            return;
        };
        if let Some(since) = known.in_sync_since {
            let words = if self.state == "in_sync" { " for" } else { ", in sync for" };
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
        let counts = counted(&self.counts);
        if !counts.is_empty() {
            let _infallible = writeln!(text, "  {counts}");
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
        for Parked { set, since, decision, .. } in &known.parked {
            let changes = if set.count == 1 { "1 change".to_owned() } else { format!("{} changes", set.count) };
            let _infallible = write!(text, "  plan {}: {changes} parked for {}", set.plan, age(*since, now));
            let _infallible = match decision {
                None => writeln!(text, "\n      {} {}", style::hint(), set.hint()),
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
