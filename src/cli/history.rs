//! `tagsyncd history`: every change ever made, from the ledger alone.

use std::fmt::Write as _;

use jiff::{SignedDuration, Timestamp, civil::Date, tz::TimeZone};
use serde::Serialize;
use uuid::Uuid;

use super::output::{Failure, Output};
use super::sync::{block_on, ledger_failure, load, state_directory, unknown_job};
use super::{Common, ExitCode, HistoryOptions};
use crate::ledger::{HistoryEntry, HistoryQuery, LedgerRead as _, SqliteLedger};
use crate::report::style::{self, HEADING, paint};
use crate::tag::{NamePatterns, TagName, Value};
use crate::text::Printable;

#[derive(Serialize)]
struct History {
    version: u8,
    changes: Vec<Change>,
}

#[derive(Serialize)]
struct Change {
    time: String,
    run: String,
    job: String,
    repository: String,
    remote: String,
    tag: TagName,
    name: TagName,
    action: &'static str,
    from: Option<Value>,
    to: Option<Value>,
    outcome: &'static str,
    reason: Option<String>,
    detail: Option<String>,
}

impl From<HistoryEntry> for Change {
    fn from(entry: HistoryEntry) -> Self {
        let HistoryEntry { time, run, pair, tag, remote_name, action, old, new, outcome, reason, detail } = entry;
        Self {
            time: time.to_string(),
            run: run.to_string(),
            job: pair.job,
            repository: pair.repository,
            remote: pair.remote,
            tag,
            name: remote_name,
            action: action.word(),
            from: old,
            to: new,
            outcome: outcome.word(),
            reason: Some(reason).filter(|reason| !reason.is_empty()),
            detail,
        }
    }
}

pub(super) fn history(common: &Common, options: &HistoryOptions, output: &Output) -> Result<ExitCode, Failure> {
    // The ledger outlives jobs and files: with `--state` it is read whatever has become of the configuration.
    let settings = match load(common) {
        Err(failure) if common.state.is_none() => return Err(failure),
        settings => settings.ok(),
    };
    let directory = state_directory(common, settings.as_ref())?;
    let query = HistoryQuery {
        job: options.job.clone(),
        run: options.run.as_deref().map(run_id).transpose()?,
        tag: None,
        since: options.since.as_deref().map(|since| moment(since, Timestamp::now())).transpose()?,
        limit: None,
    };
    let tags = options
        .tag
        .as_ref()
        .map(|glob| NamePatterns::new([glob]))
        .transpose()
        .map_err(|fault| Failure::usage(format!("`--tag` is no pattern: {fault}")))?;
    let entries = match SqliteLedger::open_read_only(&directory).map_err(ledger_failure)? {
        Some(ledger) => block_on(async { ledger.read_history(&query).await.map_err(ledger_failure) })?,
        None => {
            output
                .remark(format_args!("nothing is remembered in {} yet", Printable::new(&path_text(directory.path()))));
            Vec::new()
        }
    };
    if let (Some(job), Some(settings), true) = (&options.job, &settings, entries.is_empty())
        && !settings.jobs.iter().any(|known| known.name == *job)
    {
        return Err(unknown_job(job, settings));
    }
    let selected = entries.into_iter().filter(|entry| tags.as_ref().is_none_or(|tags| tags.matches(&entry.tag)));
    let history = History { version: 1, changes: selected.map(Change::from).collect() };
    output.result(&history, text(&history.changes))?;
    Ok(ExitCode::Done)
}

fn run_id(text: &str) -> Result<Uuid, Failure> {
    Uuid::parse_str(text).map_err(|_| {
        Failure::usage(format!("`{}` is no run id", Printable::new(text))).hint("`tagsyncd history` shows the ids")
    })
}

/// `2026-11-20T18:00:00Z`, `2026-11-20` (its begin in UTC), or how long ago: `24h`, `90m`.
fn moment(text: &str, now: Timestamp) -> Result<Timestamp, Failure> {
    let absolute = || text.parse::<Timestamp>().ok();
    let day = || Some(text.parse::<Date>().ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp());
    let ago = || now.checked_sub(text.parse::<SignedDuration>().ok()?.abs()).ok();
    absolute().or_else(day).or_else(ago).ok_or_else(|| {
        Failure::usage(format!("`{}` is no time", Printable::new(text)))
            .hint("write `2026-11-20T18:00:00Z`, `2026-11-20`, or how long ago: `24h`")
    })
}

fn path_text(path: &std::path::Path) -> String {
    path.display().to_string()
}

/// One block per run, newest last, so that the end of the output is last night.
fn text(changes: &[Change]) -> String {
    let mut text = String::new();
    let widest = |width: fn(&Change) -> usize| changes.iter().map(width).max().unwrap_or_default();
    let (places, names) = (
        widest(|change| change.place().chars().count()).min(40),
        widest(|change| change.tag.to_string().chars().count()).min(40),
    );
    for run in changes.chunk_by(|one, other| one.run == other.run) {
        let Some(first) = run.first() else { continue };
        // Writing to a string cannot fail.
        let _infallible = writeln!(text, "{}", paint(HEADING, format_args!("run {}", first.run)));
        for change in run {
            let short = |value: &Option<Value>| value.as_ref().map(|value| format!("{value:.12}")).unwrap_or_default();
            let values = match change.action {
                "create" => short(&change.to),
                "move" => format!("{} -> {}", short(&change.from), short(&change.to)),
                _ => short(&change.from),
            };
            let (mark, style) = style::mark(change.action);
            let outcome = Some(change.outcome).filter(|outcome| *outcome != "done");
            let outcome = outcome.map(|word| paint(style::outcome(word), word.replace('_', " ")).to_string());
            let printable = |text: &Option<String>| text.as_ref().map(|text| Printable::new(text).to_string());
            let remarks = [outcome, printable(&change.reason), printable(&change.detail)];
            let line = format!(
                "  {:.19}Z  {:places$}  {} {:names$}  {values}  {}",
                change.time,
                change.place(),
                paint(style, mark),
                change.tag.to_string(),
                remarks.into_iter().flatten().collect::<Vec<_>>().join("; ")
            );
            let _infallible = writeln!(text, "{}", line.trim_end());
        }
    }
    text
}

impl Change {
    fn place(&self) -> String {
        format!("{}: {} -> {}", self.job, self.repository, self.remote)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_absolute_days_or_ages() {
        let now: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
        for (text, meant) in [
            ("2026-11-20T18:00:00Z", "2026-11-20T18:00:00Z"),
            ("2026-11-20T18:00:00+02:00", "2026-11-20T16:00:00Z"),
            ("2026-11-20", "2026-11-20T00:00:00Z"),
            ("24h", "2026-11-20T12:00:00Z"),
            ("90m", "2026-11-21T10:30:00Z"),
        ] {
            assert_eq!(moment(text, now).unwrap(), meant.parse::<Timestamp>().unwrap(), "{text}");
        }
        for wrong in ["", "yesterday", "2026-13-01", "-"] {
            assert!(moment(wrong, now).is_err(), "{wrong}");
        }
    }
}
