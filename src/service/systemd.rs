//! What is said to the service manager: readiness, reloads, status in words, signs of life.
//!
//! The protocol is [sd_notify(3)](https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html). Without a manager
//! (`$NOTIFY_SOCKET` is not set) nothing is said. A manager that does not listen is no reason to stop working.

use std::time::Duration;

use sd_notify::NotifyState;

/// The longest status line; managers show one line.
const LONGEST: usize = 200;

/// Says the same things only once.
#[derive(Debug, Default)]
pub(super) struct Manager {
    status: String,
}

impl Manager {
    /// All that has to be there before the first pass is there.
    pub(super) fn ready(&mut self, status: &str) {
        self.say(&[NotifyState::Ready], status);
    }

    /// The configuration is being read anew; [`ready`](Self::ready) ends it.
    ///
    /// Always with the time: since version 253 a manager that waits for a reload ignores the message without it, and hangs
    /// (2026-11-21, the section on `MONOTONIC_USEC` in sd_notify(3)).
    pub(super) fn reloading(&mut self) {
        match NotifyState::monotonic_usec_now() {
            Ok(time) => send(&[NotifyState::Reloading, time]),
            Err(fault) => tracing::warn!(%fault, "The service manager is not told of the reload: there is no time."),
        }
    }

    /// The end has begun.
    pub(super) fn stopping(&mut self, status: &str) {
        self.say(&[NotifyState::Stopping], status);
    }

    /// How things stand.
    pub(super) fn status(&mut self, status: &str) {
        self.say(&[], status);
    }

    /// The time table's loop goes on.
    pub(super) fn alive(&mut self) {
        send(&[NotifyState::Watchdog]);
    }

    fn say(&mut self, states: &[NotifyState<'_>], status: &str) {
        // A line break would begin another message.
        let line: String =
            status.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).take(LONGEST).collect();
        if states.is_empty() && self.status == line {
            return;
        }
        let mut states = states.to_vec();
        states.push(NotifyState::Status(&line));
        send(&states);
        self.status = line;
    }
}

/// How often the manager wants a sign of life at least; `None` when it does not want any.
pub(super) fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled().filter(|period| !period.is_zero())
}

fn send(states: &[NotifyState<'_>]) {
    if let Err(fault) = sd_notify::notify(states) {
        tracing::debug!(%fault, "The service manager does not listen.");
    }
}
