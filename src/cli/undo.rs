//! `tagsyncd undo`: puts back what one run changed.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::history::{find_run, tag_patterns};
use super::output::{Failure, Output};
use super::sync::{block_on, ledger_failure, load, lock, not_released, pass_over, state_directory};
use super::{Common, ExitCode, UndoOptions};
use crate::config::{JobSettings, Settings};
use crate::ledger::{LedgerRead, Pair, SqliteLedger};
use crate::sync::{Mode, Purpose};
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
    let (run, pairs) = block_on(async {
        let run = find_run(ledger.as_ref(), &options.run).await?;
        Ok((run, ledger.read_pairs_of(run).await.map_err(ledger_failure)?))
    })?;
    drop(ledger);
    let (known, unknown): (BTreeSet<Pair>, BTreeSet<Pair>) =
        pairs.into_iter().partition(|pair| is_configured(&settings, pair));
    for pair in &unknown {
        output.remark(format_args!("left alone: {pair}, which the configuration does not have any more"));
    }
    let jobs: Vec<&JobSettings> =
        settings.jobs.iter().filter(|job| known.iter().any(|pair| pair.job == job.name)).collect();
    let purpose = Purpose::Undo { run, tags };
    let report = pass_over(&jobs, purpose, Some(known), mode, &options.approve, common, output)?;
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
