//! `tagsyncd status`: how every pair stands, from the ledger alone.

use jiff::Timestamp;

use super::daemon::host;
use super::output::{Failure, Output};
use super::sync::{block_on, choose, ledger_failure, load, state_directory};
use super::{Common, ExitCode};
use crate::config::{JobSettings, Settings};
use crate::ledger::{LedgerRead as _, Pair, PairStatus, SqliteLedger};
use crate::report::status::{Expected, Status};
use crate::schedule::shift;

pub(super) fn status(common: &Common, jobs: &[String], output: &Output) -> Result<ExitCode, Failure> {
    let settings = load(common)?;
    let jobs = choose(&settings, jobs)?;
    let directory = state_directory(common, Some(&settings))?;
    let known = match SqliteLedger::open_read_only(&directory).map_err(ledger_failure)? {
        Some(ledger) => block_on(async { ledger.read_status().await.map_err(ledger_failure) })?,
        None => Vec::new(),
    };
    let now = Timestamp::now();
    let mut expected = expected(&jobs, &known);
    if directory.service().is_some() {
        next_runs(&mut expected, &settings, now);
    }
    let status = Status::new(expected, known, now);
    output.result(&status, status.text(now))?;
    Ok(status.exit_code())
}

/// When the service that works here runs each pair by its schedule. It may run it earlier for another reason.
fn next_runs(expected: &mut [Expected], settings: &Settings, now: Timestamp) {
    let host = host();
    for expected in expected {
        let Pair { job, repository, .. } = &expected.pair;
        let Some(settings_of_job) = settings.jobs.iter().find(|settings| settings.name == *job) else { continue };
        let shift = shift(&host, job, repository, settings.daemon.jitter);
        let before = now.checked_sub(shift).ok();
        let tick = before.and_then(|before| settings_of_job.schedule.next_after(before));
        expected.next_run = tick.and_then(|tick| tick.checked_add(shift).ok());
    }
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
