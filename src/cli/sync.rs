//! `tagsyncd --sync` and `tagsyncd plan`: one pass over jobs.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::decide::what_became_of;
use super::output::{Failure, Output};
use super::progress::Screen;
use super::{Common, ExitCode, PassOptions};
use crate::config::{self, JobSettings, Settings, nearest};
use crate::http::Pool;
use crate::ledger::{LedgerFault, LedgerRead, LockFault, Pair, SqliteLedger, StateDirectory, StateLock};
use crate::report::Report;
use crate::sync::{Grace, Mode, Progress, Purpose, Run, run};
use crate::text::Printable;

/// `--sync`: looks and writes.
pub(super) fn sync(common: &Common, pass: &PassOptions, jobs: &[String], output: &Output) -> Result<ExitCode, Failure> {
    let settings = load(common)?;
    let jobs = choose(&settings, jobs)?;
    let directory = state_directory(common, Some(&settings))?;
    let lock = lock(&directory)?;
    let ledger = SqliteLedger::open(&lock).map_err(ledger_failure)?.leaving_its_log();
    let report = pass_over(&jobs, Purpose::Agree, None, Mode::Sync(Arc::new(ledger)), &pass.approve, common, output)?;
    finish(&report, &directory, common, pass, output)
}

/// `plan`: looks only, and holds nothing that could write.
pub(super) fn plan(common: &Common, pass: &PassOptions, jobs: &[String], output: &Output) -> Result<ExitCode, Failure> {
    let settings = load(common)?;
    let jobs = choose(&settings, jobs)?;
    let directory = state_directory(common, Some(&settings))?;
    let ledger = SqliteLedger::open_read_only(&directory).map_err(ledger_failure)?;
    let ledger = ledger.map(|ledger| Arc::new(ledger) as Arc<dyn LedgerRead>);
    let report = pass_over(&jobs, Purpose::Agree, None, Mode::Plan(ledger), &pass.approve, common, output)?;
    finish(&report, &directory, common, pass, output)
}

/// Reads the configuration; all its problems are one failure.
pub(super) fn load(common: &Common) -> Result<Settings, Failure> {
    config::load(&common.config).map_err(|fault| Failure::new(ExitCode::Configuration, fault.to_string()))
}

pub(super) fn choose<'a>(settings: &'a Settings, names: &[String]) -> Result<Vec<&'a JobSettings>, Failure> {
    if names.is_empty() {
        return Ok(settings.jobs.iter().collect());
    }
    if let Some(name) = names.iter().find(|name| !settings.jobs.iter().any(|job| job.name == **name)) {
        return Err(unknown_job(name, settings));
    }
    // In the order of the configuration, each once, whatever the order on the command line.
    Ok(settings.jobs.iter().filter(|job| names.contains(&job.name)).collect())
}

pub(super) fn unknown_job(name: &str, settings: &Settings) -> Failure {
    let known: Vec<&str> = settings.jobs.iter().map(|job| job.name.as_str()).collect();
    let failure = Failure::usage(format!("there is no job `{}`", Printable::new(name)));
    match nearest(name, known.iter().copied()) {
        Some(meant) => failure.hint(format!("did you mean `{meant}`?")),
        None => failure.hint(format!("the jobs are: {}", known.join(", "))),
    }
}

pub(super) fn state_directory(common: &Common, settings: Option<&Settings>) -> Result<StateDirectory, Failure> {
    let configured = settings.and_then(|settings| settings.daemon.state.as_deref());
    StateDirectory::resolve(common.state.as_deref(), configured).map_err(ledger_failure)
}

pub(super) fn lock(directory: &StateDirectory) -> Result<StateLock, Failure> {
    directory.lock().map_err(|fault| {
        let code = if matches!(fault, LockFault::Held { .. }) { ExitCode::Locked } else { ExitCode::Failed };
        Failure::new(code, fault.to_string()).hint(fault.hint())
    })
}

pub(super) fn ledger_failure(fault: LedgerFault) -> Failure {
    Failure::new(ExitCode::Failed, fault.message).hint(fault.hint)
}

/// Runs a command's asynchronous part to its end.
pub(super) fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    // A pass waits more than it works; what works for long does so on threads of its own.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|fault| Failure::new(ExitCode::Failed, format!("the runtime could not be started: {fault}")))?;
    let done = runtime.block_on(work);
    // What is not done by now nobody waits for, and the process is about to end.
    runtime.shutdown_background();
    done
}

pub(super) fn pass_over(
    jobs: &[&JobSettings],
    purpose: Purpose,
    pairs: Option<BTreeSet<Pair>>,
    mode: Mode,
    released: &[String],
    common: &Common,
    output: &Output,
) -> Result<Report, Failure> {
    block_on(async {
        let stop = CancellationToken::new();
        stop_on_signals(stop.clone(), output.screen.clone())
            .map_err(|fault| Failure::new(ExitCode::Failed, format!("signals could not be received: {fault}")))?;
        let run_settings = Run {
            id: Uuid::now_v7(),
            purpose,
            pairs,
            mode,
            pool: Arc::new(Pool::new()),
            released: released.to_vec(),
            grace: Grace::Skip,
            verbose: common.verbose > 0,
            stop,
            progress: Progress::default(),
            ended: None,
        };
        Ok(output.screen.show(&run_settings.progress, run(jobs, &run_settings)).await)
    })
}

/// The first SIGTERM or SIGINT ends the pass between two writes; the second leaves at once, which is as safe as SIGKILL.
fn stop_on_signals(stop: CancellationToken, screen: Screen) -> std::io::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if stop.is_cancelled() {
                #[expect(clippy::exit, reason = "the person asked twice; intents on disk make this safe")]
                screen.aside(|| std::process::exit(ExitCode::Failed as i32));
            }
            tracing::warn!("Stopping after the writes under way.");
            stop.cancel();
        }
    });
    Ok(())
}

fn finish(
    report: &Report,
    directory: &StateDirectory,
    common: &Common,
    pass: &PassOptions,
    output: &Output,
) -> Result<ExitCode, Failure> {
    output.result(report, report.to_text(common.verbose > 0))?;
    let code = report.exit_code(pass.exit_code);
    let refused = not_released(report, &pass.approve);
    for plan in &refused {
        let why = block_on(async { Ok(what_became_of(directory, plan).await) })?;
        output.remark(format_args!("plan {} released nothing", Printable::new(plan)));
        output.fail(&why);
    }
    Ok(if !refused.is_empty() && code == ExitCode::Done { ExitCode::Held } else { code })
}

/// Which of these ids released nothing.
pub(super) fn not_released<'a>(report: &Report, approved: &'a [String]) -> Vec<&'a str> {
    let remotes = || report.jobs.iter().flat_map(|job| &job.remotes);
    let released = |plan: &&String| remotes().any(|remote| remote.released.contains(plan));
    approved.iter().filter(|plan| !released(plan)).map(String::as_str).collect()
}
