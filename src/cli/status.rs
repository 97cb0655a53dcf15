//! `tagsyncd status`: how every pair stands, from the ledger alone.

use jiff::Timestamp;

use super::output::{Failure, Output};
use super::sync::{block_on, choose, ledger_failure, load, state_directory};
use super::{Common, ExitCode};
use crate::config::JobSettings;
use crate::ledger::{LedgerRead as _, Pair, PairStatus, SqliteLedger};
use crate::report::status::{Expected, Status};

pub(super) fn status(common: &Common, jobs: &[String], output: &Output) -> Result<ExitCode, Failure> {
    let settings = load(common)?;
    let jobs = choose(&settings, jobs)?;
    let directory = state_directory(common, Some(&settings))?;
    let known = match SqliteLedger::open_read_only(&directory).map_err(ledger_failure)? {
        Some(ledger) => block_on(async { ledger.read_status().await.map_err(ledger_failure) })?,
        None => Vec::new(),
    };
    let now = Timestamp::now();
    let status = Status::new(expected(&jobs, &known), known, now);
    output.result(&status, status.text(now))?;
    Ok(status.exit_code())
}

/// Every configured pair.
fn expected(jobs: &[&JobSettings], known: &[PairStatus]) -> Vec<Expected> {
    let mut pairs = Vec::new();
    for job in jobs {
        // Repositories that cannot be found now are still shown as far as the ledger knows them.
        let (mut repositories, lost): (Vec<String>, _) = match job.from.find() {
            Ok(found) => (found.into_iter().map(|repository| repository.name).collect(), None),
            Err(fault) => {
                let known = known.iter().filter(|known| known.pair.job == job.name);
                (known.map(|known| known.pair.repository.clone()).collect(), Some(fault.to_string()))
            }
        };
        repositories.dedup();
        for repository in repositories {
            pairs.extend(job.to.iter().map(|remote| {
                let pair = Pair { job: job.name.clone(), repository: repository.clone(), remote: remote.name.clone() };
                Expected { lost: lost.clone(), ..Expected::new(pair) }
            }));
        }
    }
    pairs
}
