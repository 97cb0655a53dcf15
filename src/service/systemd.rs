//! What is said to the service manager: readiness, reloads, status in words, signs of life.
//!
//! The protocol is [sd_notify(3)](https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html). Without a manager
//! (`$NOTIFY_SOCKET` is not set) nothing is said. A manager that does not listen is no reason to stop working.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use sd_notify::NotifyState;

/// The longest status line; managers show one line.
const LONGEST: usize = 200;
/// Messages that the manager has not taken yet. While it takes none, more are dropped: it would only hear what was.
const UNHEARD: usize = 16;

/// Speaks to the manager, and says the same things only once.
///
/// From a thread of its own: a manager that reads nothing makes whoever speaks to it wait, and the loop must not.
#[derive(Debug)]
pub(super) struct Manager {
    speaker: Option<SyncSender<Message>>,
    status: String,
}

#[derive(Debug)]
struct Message {
    state: Option<State>,
    status: Option<String>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Ready,
    /// When it began, in microseconds of the monotonic clock.
    Reloading(i128),
    Stopping,
    Alive,
}

impl Manager {
    /// For the manager that the environment names, if it names one.
    pub(super) fn of_environment() -> Self {
        let speaker = std::env::var_os("NOTIFY_SOCKET").and_then(|_| {
            let (speaker, messages) = sync_channel(UNHEARD);
            let thread = std::thread::Builder::new().name("manager".to_owned()).spawn(move || speak(&messages));
            thread
                .inspect_err(|fault| tracing::warn!(%fault, "The service manager hears nothing."))
                .ok()
                .map(|_| speaker)
        });
        Self { speaker, status: String::new() }
    }

    /// All that has to be there before the first pass is there.
    pub(super) fn ready(&mut self, status: &str) {
        self.say(Some(State::Ready), status);
    }

    /// The configuration is being read anew; [`ready`](Self::ready) ends it.
    ///
    /// Always with the time: since version 253 a manager that waits for a reload ignores the message without it, and hangs
    /// (2026-11-21, the section on `MONOTONIC_USEC` in sd_notify(3)).
    pub(super) fn reloading(&mut self) {
        match NotifyState::monotonic_usec_now() {
            Ok(NotifyState::MonotonicUsec(time)) => self.send(Some(State::Reloading(time)), None),
            Ok(_) => {}
            Err(fault) => tracing::warn!(%fault, "The service manager is not told of the reload: there is no time."),
        }
    }

    /// The end has begun.
    pub(super) fn stopping(&mut self, status: &str) {
        self.say(Some(State::Stopping), status);
    }

    /// How things stand.
    pub(super) fn status(&mut self, status: &str) {
        self.say(None, status);
    }

    /// The time table's loop goes on.
    pub(super) fn alive(&mut self) {
        self.send(Some(State::Alive), None);
    }

    fn say(&mut self, state: Option<State>, status: &str) {
        // A line break would begin another message.
        let line: String =
            status.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).take(LONGEST).collect();
        if state.is_none() && self.status == line {
            return;
        }
        self.status.clone_from(&line);
        self.send(state, Some(line));
    }

    fn send(&mut self, state: Option<State>, status: Option<String>) {
        if let Some(speaker) = &self.speaker
            && speaker.try_send(Message { state, status }).is_err()
        {
            // It is said again as soon as somebody listens.
            self.status.clear();
        }
    }
}

fn speak(messages: &Receiver<Message>) {
    for Message { state, status } in messages {
        let mut states = match state {
            Some(State::Ready) => vec![NotifyState::Ready],
            Some(State::Reloading(time)) => vec![NotifyState::Reloading, NotifyState::MonotonicUsec(time)],
            Some(State::Stopping) => vec![NotifyState::Stopping],
            Some(State::Alive) => vec![NotifyState::Watchdog],
            None => Vec::new(),
        };
        states.extend(status.as_deref().map(NotifyState::Status));
        if let Err(fault) = sd_notify::notify(&states) {
            tracing::debug!(%fault, "The service manager does not listen.");
        }
    }
}

/// How often the manager wants a sign of life at least; `None` when it does not want any.
pub(super) fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled().filter(|period| !period.is_zero())
}
