//! `tagsyncd approve` and `tagsyncd dismiss`: what a person says about a parked set.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::output::{Failure, Output};
use super::sync::{block_on, ledger_failure, load, state_directory};
use super::{Common, ExitCode};
use crate::config::nearest;
use crate::ledger::{Decision, LedgerRead as _, Pair, Parked, ParkedEnd, SqliteLedger, StateDirectory};
use crate::text::Printable;

#[derive(Serialize, JsonSchema)]
pub(super) struct Decided {
    /// The version of this format.
    version: u8,
    /// The id of the parked set.
    plan: String,
    /// What was decided.
    decision: Decision,
    /// The job.
    job: String,
    /// The repository.
    repository: String,
    /// The remote.
    remote: String,
    /// The changes, as `action tag name old new`.
    changes: Vec<String>,
}

/// Writes the decision into the ledger, beside whoever holds the lock; the next pass acts on it.
pub(super) fn decide(common: &Common, plan: &str, decision: Decision, output: &Output) -> Result<ExitCode, Failure> {
    let settings = match load(common) {
        Err(failure) if common.state.is_none() => return Err(failure),
        settings => settings.ok(),
    };
    let directory = state_directory(common, settings.as_ref())?;
    let (pair, parked) = block_on(async {
        let sets = read_parked(&directory).await?;
        let (pair, parked) = find(plan, &sets)?;
        let set = &parked.set;
        if !SqliteLedger::decide(&directory, pair, &set.plan, decision, Timestamp::now())
            .await
            .map_err(ledger_failure)?
        {
            // A pass came in between.
            let sets = read_parked(&directory).await?;
            return Err(find(&set.plan, &sets).err().unwrap_or_else(|| {
                Failure::new(ExitCode::Failed, "the set changed in this very moment").hint("try again")
            }));
        }
        Ok((pair.clone(), parked.clone()))
    })?;
    let changes: Vec<String> = parked.set.changes.lines().map(str::to_owned).collect();
    let text = text(decision, &pair, &parked, &changes);
    let Pair { job, repository, remote } = pair;
    let decided = Decided { version: 1, plan: parked.set.plan, decision, job, repository, remote, changes };
    output.result(&decided, text)?;
    Ok(ExitCode::Done)
}

/// Why this id released nothing in a pass.
pub(super) async fn what_became_of(directory: &StateDirectory, plan: &str) -> Failure {
    let sets = match read_parked(directory).await {
        Ok(sets) => sets,
        Err(failure) => return failure,
    };
    match find(plan, &sets) {
        Ok((pair, _)) => Failure::new(ExitCode::Held, format!("plan {plan} is parked for {pair}"))
            .hint("name its job with `--sync`, or leave jobs out"),
        Err(failure) => failure,
    }
}

async fn read_parked(directory: &StateDirectory) -> Result<Vec<(Pair, Parked)>, Failure> {
    match SqliteLedger::open_read_only(directory).map_err(ledger_failure)? {
        Some(ledger) => ledger.read_parked().await.map_err(ledger_failure),
        None => Ok(Vec::new()),
    }
}

/// The set of this id, if it is still parked; otherwise what became of it, or what else may be meant.
fn find<'a>(plan: &str, sets: &'a [(Pair, Parked)]) -> Result<(&'a Pair, &'a Parked), Failure> {
    let current = || sets.iter().filter(|(_, parked)| parked.ended.is_none());
    let Some((pair, parked)) = sets.iter().find(|(_, parked)| parked.set.plan == plan) else {
        let shown = Printable::new(plan);
        let failure = Failure::usage(format!("no set is parked under `{shown}`"));
        let known: Vec<&str> = current().map(|(_, parked)| parked.set.plan.as_str()).collect();
        return Err(match nearest(plan, known.iter().copied()) {
            Some(meant) => failure.hint(format!("did you mean `{meant}`?")),
            None if known.is_empty() => failure.hint("nothing is parked"),
            None => failure.hint(format!("parked are: {}", known.join(", "))),
        });
    };
    let Some((ending, when)) = parked.ended else { return Ok((pair, parked)) };
    let failure = match ending {
        ParkedEnd::Released => Failure::new(
            ExitCode::Held,
            format!("plan {plan} was released already, by the pass that ended at {when:.0}"),
        ),
        ParkedEnd::Changed => {
            let now = current().find(|(other, now)| other == pair && now.set.by == parked.set.by).map(|(_, now)| now);
            let difference = parked.set.difference(now.map(|now| &now.set)).words();
            let failure = Failure::new(
                ExitCode::Held,
                format!("plan {plan} is parked no more since {when:.0}, because the changes are others: {difference}"),
            );
            match now {
                Some(now) => failure.hint(format!("parked for {pair} is now {}; {}", now.set.plan, now.set.hint())),
                None => failure.hint(format!("nothing is parked for {pair} now")),
            }
        }
    };
    Err(failure)
}

fn text(decision: Decision, pair: &Pair, parked: &Parked, changes: &[String]) -> String {
    const SHOWN: usize = 20;
    let count = match parked.set.count {
        1 => "1 change".to_owned(),
        count => format!("{count} changes"),
    };
    let said = match decision {
        Decision::Approved => {
            "approved: the next pass carries out exactly these, if they are still the same; the approval lasts 24 h"
        }
        Decision::Dismissed => "dismissed: they stay as they are, and nobody is told again until the set changes",
    };
    let mut text = format!("{pair}: {count} {said}\n");
    for change in changes.iter().take(SHOWN) {
        let mut words = change.split(' ');
        let (action, tag) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        text.push_str(&format!("  {action} {tag}\n"));
    }
    if changes.len() > SHOWN {
        text.push_str(&format!("  … and {} more\n", changes.len() - SHOWN));
    }
    text
}
