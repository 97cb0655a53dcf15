//! What the operating system asks for.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::UnboundedSender;

/// A request by signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    /// SIGTERM or SIGINT: finish what is being written, and end.
    Stop,
    /// SIGHUP: read the configuration anew.
    Reload,
    /// SIGUSR1: a pass over everything, now.
    Sync,
}

/// Passes signals on. The second request to stop ends the process at once: that is as safe as SIGKILL, because what was announced is
/// on disk.
pub(super) fn listen<E: Send + 'static>(
    events: UnboundedSender<E>,
    event: impl Fn(Signal) -> E + Send + 'static,
) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let mut user = signal(SignalKind::user_defined1())?;
    tokio::spawn(async move {
        let mut stopping = false;
        loop {
            let asked = tokio::select! {
                _ = terminate.recv() => Signal::Stop,
                _ = interrupt.recv() => Signal::Stop,
                _ = hangup.recv() => Signal::Reload,
                _ = user.recv() => Signal::Sync,
            };
            if asked == Signal::Stop && std::mem::replace(&mut stopping, true) {
                tracing::warn!("Asked to stop for the second time: leaving at once.");
                #[expect(clippy::exit, reason = "asked for twice; intents on disk make this safe")]
                std::process::exit(1);
            }
            // Nobody is there to hear it when the service has ended.
            let _ended = events.send(event(asked));
        }
    });
    Ok(())
}
