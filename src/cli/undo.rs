//! `tagsyncd undo`: puts back what one run changed.

use std::collections::BTreeSet;
use std::sync::Arc;

use uuid::Uuid;

use super::history::{find_run, tag_patterns};
use super::output::{Failure, Output};
use super::sync::{block_on, ledger_failure, load, lock, not_released, pass_over, state_directory};
use super::{Common, ExitCode, UndoOptions};
use crate::config::{JobSettings, Settings};
use crate::ledger::{HistoryEntry, HistoryQuery, LedgerRead, Pair, SqliteLedger};
use crate::sync::{Mode, Purpose};
use crate::tag::NamePatterns;
use crate::text::Printable;

pub(super) fn undo(common: &Common, options: &UndoOptions, output: &Output) -> Result<ExitCode, Failure> {
    let settings = load(common)?;
    let directory = state_directory(common, Some(&settings))?;
    let tags = options.tag.as_ref().map(|glob| tag_patterns(glob)).transpose()?;
    let (ledger, mode): (Arc<dyn LedgerRead>, Mode) = if options.dry_run {
        let reader = SqliteLedger::open_read_only(&directory).map_err(ledger_failure)?;
        let Some(reader) = reader.map(|reader| Arc::new(reader) as Arc<dyn LedgerRead>) else {
            return Err(Failure::usage("there is nothing to undo: nothing is remembered yet"));
        };
        (Arc::clone(&reader), Mode::Plan(Some(reader)))
    } else {
        let ledger = Arc::new(SqliteLedger::open(&lock(&directory)?).map_err(ledger_failure)?);
        (Arc::clone(&ledger) as Arc<dyn LedgerRead>, Mode::Sync(ledger))
    };
    let (run, mut history) = block_on(async { read_run(ledger.as_ref(), &options.run, tags).await })?;
    drop(ledger);
    let jobs: Vec<&JobSettings> = settings.jobs.iter().collect();
    let pairs: BTreeSet<&Pair> = history.iter().map(|entry| &entry.pair).collect();
    let unknown: BTreeSet<Pair> = pairs.into_iter().filter(|pair| !is_configured(&settings, pair)).cloned().collect();
    for pair in &unknown {
        output.remark(format_args!("left alone: {pair}, which the configuration does not have any more"));
    }
    history.retain(|entry| !unknown.contains(&entry.pair));
    let purpose = Purpose::undo(run, &history);
    if purpose.is_empty() {
        output.remark(format_args!("run {run} changed nothing here that could be put back"));
    }
    let report = pass_over(&jobs, purpose, mode, &options.approve, common, output)?;
    output.result(&report, report.to_text(common.verbose > 0))?;
    let refused = not_released(&report, &options.approve);
    for plan in &refused {
        output.remark(format_args!("plan {} released nothing: it is no set of this undo", Printable::new(plan)));
    }
    Ok(match report.exit_code(false) {
        ExitCode::Done if !refused.is_empty() || !unknown.is_empty() => ExitCode::Held,
        code => code,
    })
}

/// The run that is meant, and what it did to these tags.
async fn read_run(
    ledger: &dyn LedgerRead,
    run: &str,
    tags: Option<NamePatterns>,
) -> Result<(Uuid, Vec<HistoryEntry>), Failure> {
    let run = find_run(ledger, run).await?;
    let query = HistoryQuery { run: Some(run), tags, ..HistoryQuery::default() };
    Ok((run, ledger.read_history(&query).await.map_err(ledger_failure)?))
}

/// Whether a job still leads from this repository to this remote. A set of repositories is looked for when the pass begins.
fn is_configured(settings: &Settings, pair: &Pair) -> bool {
    let leads = |job: &JobSettings| {
        let has_repository = match job.from.find() {
            Ok(found) => found.iter().any(|repository| repository.name == pair.repository),
            Err(_) => true,
        };
        job.name == pair.job && has_repository && job.to.iter().any(|remote| remote.name == pair.remote)
    };
    settings.jobs.iter().any(leads)
}
