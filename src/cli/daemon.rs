//! `tagsyncd` without a command: the service.

use std::sync::Arc;
use std::time::Duration;

use listenfd::ListenFd;

use super::output::{Failure, Output};
use super::sync::{ledger_failure, load, lock, state_directory};
use super::{Common, ExitCode};
use crate::ledger::SqliteLedger;
use crate::service::{Beginning, ServiceFault, SystemClock, host_name, run};

/// How long threads that still read may take when everything else has ended.
const LEAVE_WITHIN: Duration = Duration::from_secs(1);

/// Runs until a signal ends it.
pub(super) fn daemon(common: &Common, _output: &Output) -> Result<ExitCode, Failure> {
    // First, while there is one thread: it takes the variables of the environment away.
    let mut sockets = ListenFd::from_env();
    if sockets.len() > 1 {
        let message = format!("{} sockets were passed on; one is used", sockets.len());
        return Err(Failure::new(ExitCode::Failed, message).hint("leave one `ListenStream=` in the socket unit"));
    }
    let listener = sockets.take_tcp_listener(0).map_err(|fault| {
        Failure::new(ExitCode::Failed, format!("the socket that was passed on cannot be used: {fault}"))
            .hint("a socket unit for tagsyncd has one `ListenStream=` with an address and a port")
    })?;
    let settings = load(common)?;
    let directory = state_directory(common, Some(&settings))?;
    let lock = lock(&directory)?;
    lock.serve().map_err(ledger_failure)?;
    let ledger = Arc::new(SqliteLedger::open(&lock).map_err(ledger_failure)?);
    let (host, clock) = (host(), Arc::new(SystemClock));
    let beginning = Beginning { settings, directory, ledger, listener, host, clock };
    // Passes wait more than they work, and whatever may block does so on threads of its own.
    let runtime = tokio::runtime::Builder::new_current_thread()
        // The C library keeps 40 MiB of stacks of threads that have ended, each with the pages that it has touched: five of this
        // size, 20 of the usual. None is more than an address before it is used.
        .thread_stack_size(8 << 20)
        .enable_all()
        .build()
        .map_err(|fault| Failure::new(ExitCode::Failed, format!("the runtime could not be started: {fault}")))?;
    let served = runtime.block_on(run(beginning));
    // A read from a disk that does not answer is not waited for.
    runtime.shutdown_timeout(LEAVE_WITHIN);
    match served {
        Ok(()) => Ok(ExitCode::Done),
        Err(ServiceFault { message, hint }) => Err(Failure::new(ExitCode::Failed, message).hint(hint)),
    }
}

/// What tells this host from others: the machine's id where there is one (2026-11-21, machine-id(5)), else its name.
pub(super) fn host() -> String {
    let id = std::fs::read_to_string("/etc/machine-id").map(|id| id.trim().to_owned());
    id.ok().filter(|id| !id.is_empty()).unwrap_or_else(host_name)
}
