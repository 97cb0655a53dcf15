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
use crate::ledger::{LedgerRead as _, Matter, Pair, PairStatus, SqliteLedger, Unsettled};
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
    held: Vec<Open>,
    waiting: Vec<Open>,
    failed: Vec<Open>,
    /// What the ledger knows, for the text.
    #[serde(skip)]
    known: Option<PairStatus>,
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
            plan: known.as_ref().and_then(|known| known.parked.as_ref()).map(|parked| parked.plan.clone()),
            held: open(Matter::Held),
            waiting: open(Matter::Waiting),
            failed: open(Matter::Failed),
            known,
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
            let _infallible = write!(text, ", in sync for {}", age(since, now));
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
        if let Some(error) = &self.error {
            let _infallible = writeln!(text, "  {} {}", paint(FAILED, "unknown:"), Printable::new(error));
        }
        for (mark, style, matter) in
            [('!', HELD, Matter::Held), ('!', FAILED, Matter::Failed), ('…', WAITING, Matter::Waiting)]
        {
            let (mark, word) = (paint(style, mark), paint(style, matter.word()));
            let open: Vec<_> = known.last.unsettled.iter().filter(|open| open.matter == matter).collect();
            for open in open.iter().take(NAMES) {
                let (age, reason) = (age(open.since, now), Printable::new(&open.reason));
                let _infallible = writeln!(text, "  {mark} {}  {word} for {age}: {reason}", open.tag);
            }
            if open.len() > NAMES {
                let _infallible = writeln!(text, "  {mark} … and {} more", open.len() - NAMES);
            }
        }
        if let Some(parked) = &known.parked {
            let (plan, count, since) = (Printable::new(&parked.plan), parked.count, age(parked.since, now));
            let _infallible = writeln!(text, "  parked for {since}: {count} changes");
            let _infallible =
                writeln!(text, "      {} `tagsyncd --sync --approve {plan}` releases exactly these", style::hint());
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
