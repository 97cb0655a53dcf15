//! `tagsyncd history`: every change ever made, from the ledger alone.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use jiff::{SignedDuration, Timestamp, civil::Date, tz::TimeZone};
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use super::output::{Failure, Output};
use super::sync::{block_on, ledger_failure, load, lock, state_directory, unknown_job};
use super::{Common, ExitCode, HistoryOptions};
use crate::config::nearest;
use crate::ledger::{Action, HistoryEntry, HistoryQuery, LedgerRead, Outcome, SqliteLedger, StateDirectory};
use crate::report::style::{self, HEADING, paint};
use crate::tag::{NamePatterns, TagName, Value};
use crate::text::Printable;

#[derive(Serialize, JsonSchema)]
pub(super) struct History {
    /// The version of this format.
    version: u8,
    /// Whether there are earlier changes that `--limit` left out.
    more: bool,
    /// The changes, oldest first.
    changes: Vec<Change>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Pruned {
    /// The version of this format.
    version: u8,
    /// What ended before this time was removed.
    #[schemars(extend("format" = "date-time"))]
    before: String,
    /// How many changes were removed.
    removed: u64,
}

/// A write and its end.
#[derive(Serialize, JsonSchema)]
struct Change {
    /// When the write ended.
    #[schemars(extend("format" = "date-time"))]
    time: String,
    /// The run that made it.
    run: String,
    /// The job.
    job: String,
    /// The repository.
    repository: String,
    /// The remote.
    remote: String,
    /// The source's name for the tag.
    tag: TagName,
    /// The remote's name for it.
    name: TagName,
    /// What was done.
    action: Action,
    /// The value before; null for a create.
    from: Option<Value>,
    /// The value after; null for a delete.
    to: Option<Value>,
    /// How it ended.
    outcome: Outcome,
    /// Why it was asked for; null for the ordinary case.
    reason: Option<String>,
    /// What else is known, such as the remote's words.
    detail: Option<String>,
}

impl From<HistoryEntry> for Change {
    fn from(entry: HistoryEntry) -> Self {
        let HistoryEntry {
            time,
            run,
            pair,
            tag,
            remote_name,
            action,
            old,
            new,
            outcome,
            reason,
            detail,
            old_message: _,
        } = entry;
        Self {
            time: time.to_string(),
            run: run.to_string(),
            job: pair.job,
            repository: pair.repository,
            remote: pair.remote,
            tag,
            name: remote_name,
            action,
            from: old,
            to: new,
            outcome,
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
    if let Some(before) = &options.prune_before {
        return prune(&directory, before, output);
    }
    let patterns = options.tag.as_ref().map(|glob| tag_patterns(glob)).transpose()?;
    let mut query = HistoryQuery {
        job: options.job.clone(),
        run: None,
        // A plain name has an index of its own.
        tag: options.tag.as_ref().filter(|glob| is_plain(glob)).and_then(|name| TagName::new(name).ok()),
        tags: patterns,
        since: options.since.as_deref().map(|since| moment(since, Timestamp::now())).transpose()?,
        // One more, to know whether there are more.
        limit: (options.limit > 0).then(|| options.limit.saturating_add(1)),
    };
    let Some(ledger) = SqliteLedger::open_read_only(&directory).map_err(ledger_failure)? else {
        output.remark(format_args!(
            "nothing is remembered in {} yet",
            Printable::new(&directory.path().display().to_string())
        ));
        output.result(&History { version: 1, more: false, changes: Vec::new() }, "")?;
        return Ok(ExitCode::Done);
    };
    let mut entries = block_on(async {
        if let Some(run) = &options.run {
            query.run = Some(find_run(&ledger, run).await?);
        }
        let entries = ledger.read_history(&query).await.map_err(ledger_failure)?;
        if entries.is_empty() {
            if let Some(name) = &query.tag {
                say_near_misses(&ledger, name, output).await?;
            }
            if let (Some(job), Some(settings)) = (&options.job, &settings)
                && !settings.jobs.iter().any(|known| known.name == *job)
            {
                return Err(unknown_job(job, settings));
            }
        }
        Ok(entries)
    })?;
    let more = options.limit > 0 && entries.len() > options.limit as usize;
    if more {
        entries.remove(0);
        output.remark(format_args!("the latest {} changes; `--limit 0` shows all", options.limit));
    }
    let history = History { version: 1, more, changes: entries.into_iter().map(Change::from).collect() };
    output.result(&history, text(&history.changes))?;
    Ok(ExitCode::Done)
}

/// The shortest beginning that names a run: an id's first digits are its time, and an empty word would name any.
const SHORTEST: usize = 8;

/// How far back near misses are looked for.
const RECENT: u32 = 5_000;

async fn read_recent(ledger: &dyn LedgerRead) -> Result<Vec<HistoryEntry>, Failure> {
    let query = HistoryQuery { limit: Some(RECENT), ..HistoryQuery::default() };
    ledger.read_history(&query).await.map_err(ledger_failure)
}

/// The run with this id, or the only recent one that begins so.
pub(super) async fn find_run(ledger: &dyn LedgerRead, text: &str) -> Result<Uuid, Failure> {
    let full = Uuid::parse_str(text).ok();
    if let Some(run) = full
        && !ledger.read_pairs_of(run).await.map_err(ledger_failure)?.is_empty()
    {
        return Ok(run);
    }
    // Ids begin with their time, so their order is that of the runs.
    let recent = read_recent(ledger).await?;
    let runs: BTreeSet<String> = recent.iter().map(|entry| entry.run.to_string()).collect();
    let meant = text.to_ascii_lowercase();
    let long_enough = meant.len() >= SHORTEST;
    let begin_so: Vec<&String> = runs.iter().filter(|run| long_enough && run.starts_with(&meant)).collect();
    if let [only] = begin_so.as_slice()
        && let Ok(run) = only.parse()
    {
        return Ok(run);
    }
    let shown = Printable::new(text);
    if begin_so.len() > 1 {
        let latest: Vec<&str> = begin_so.iter().rev().take(5).map(|run| run.as_str()).collect();
        return Err(Failure::usage(format!("{} runs begin with `{shown}`", begin_so.len()))
            .hint(format!("write more of the id; the latest are: {}", latest.join(", "))));
    }
    let failure = Failure::usage(format!("no run `{shown}` has changed anything"));
    Err(match (nearest(&meant, runs.iter().map(String::as_str)), runs.last()) {
        (Some(near), _) => failure.hint(format!("did you mean `{near}`?")),
        (None, Some(last)) => failure.hint(format!("the latest run that did is {last}; `tagsyncd history` shows more")),
        (None, None) => failure.hint("no change is remembered at all"),
    })
}

async fn say_near_misses(ledger: &dyn LedgerRead, name: &TagName, output: &Output) -> Result<(), Failure> {
    let names: BTreeSet<String> = read_recent(ledger).await?.iter().map(|entry| entry.tag.to_string()).collect();
    if let Some(near) = nearest(&name.to_string(), names.iter().map(String::as_str)) {
        output.remark(format_args!("no change of `{name}` is remembered; did you mean `{near}`?"));
    }
    Ok(())
}

fn prune(directory: &StateDirectory, before: &str, output: &Output) -> Result<ExitCode, Failure> {
    let now = Timestamp::now();
    let before = moment(before, now)?;
    // The budgets count the writes of the last day.
    if now.duration_since(before) < SignedDuration::from_hours(24) {
        return Err(Failure::usage("the last 24 hours of the history stay: the guards count with them")
            .hint("`--prune-before` takes a date, or an age of at least `24h`"));
    }
    let lock = lock(directory)?;
    let removed = block_on(async { SqliteLedger::prune_history(&lock, before).await.map_err(ledger_failure) })?;
    let pruned = Pruned { version: 1, before: before.to_string(), removed };
    output.result(&pruned, format_args!("removed {removed} changes from before {before:.0}\n"))?;
    Ok(ExitCode::Done)
}

pub(super) fn tag_patterns(glob: &str) -> Result<NamePatterns, Failure> {
    NamePatterns::new([glob]).map_err(|fault| {
        Failure::usage(format!("`--tag` is no pattern: {fault}")).hint("write a glob like `v1.*`, or a name")
    })
}

/// Whether a glob stands for one name only.
fn is_plain(glob: &str) -> bool {
    !glob.contains(['*', '?', '[', ']', '{', '}', '\\', '!'])
}

/// `2026-11-20T18:00:00Z`, `2026-11-20` (its begin in UTC), or how long ago: `24h`, `90m`, `30d`.
fn moment(text: &str, now: Timestamp) -> Result<Timestamp, Failure> {
    let absolute = || text.parse::<Timestamp>().ok();
    let day = || Some(text.parse::<Date>().ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp());
    let days = || SignedDuration::from_hours(24).checked_mul(text.strip_suffix('d')?.parse().ok()?);
    let ago = || now.checked_sub(days().or_else(|| text.parse::<SignedDuration>().ok())?.abs()).ok();
    absolute().or_else(day).or_else(ago).ok_or_else(|| {
        Failure::usage(format!("`{}` is no time", Printable::new(text)))
            .hint("write `2026-11-20T18:00:00Z`, `2026-11-20`, or how long ago: `24h`, `30d`")
    })
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
                Action::Create => short(&change.to),
                Action::Move => format!("{} -> {}", short(&change.from), short(&change.to)),
                Action::Delete => short(&change.from),
            };
            let (mark, style) = style::mark(change.action);
            let outcome = Some(change.outcome).filter(|outcome| *outcome != Outcome::Done);
            let outcome = outcome.map(|end| paint(style::outcome(end), end.word().replace('_', " ")).to_string());
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
            ("30d", "2026-10-22T12:00:00Z"),
            ("90m", "2026-11-21T10:30:00Z"),
        ] {
            assert_eq!(moment(text, now).unwrap(), meant.parse::<Timestamp>().unwrap(), "{text}");
        }
        for wrong in ["", "yesterday", "2026-13-01", "-", "d", "9999999999d"] {
            assert!(moment(wrong, now).is_err(), "{wrong}");
        }
    }
}
