//! The log: what happens, line by line, for people, for programs as JSON, or for the journal with fields.
//!
//! A line is collected once and then given its form, and only forms make bytes of it. So none who logs has to think of what a name
//! or a server's answer may hold.

mod form;
mod journal;
mod line;

use std::io::Write as _;

use anstream::{AutoStream, ColorChoice};
use clap::ValueEnum;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;

use super::Common;
use super::progress::{LogWriter, Screen};
use journal::Journal;
use line::{Line, Lines};

/// How logs are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    // The journal where standard error leads to it, else for people.
    Auto,
    Human,
    Json,
    // With fields; to standard error for people where no journal listens.
    Journal,
}

/// Starts the log of this process. A one-shot says what is wrong; the daemon, which has no other way to speak, also what it does.
pub(super) fn start(common: &Common, daemon: bool, screen: Screen) {
    let level = match (common.quiet, common.verbose, daemon) {
        (true, ..) => "error",
        (false, 0, false) => "tagsyncd=warn",
        (false, 0, true) | (false, 1, _) => "tagsyncd=info",
        (false, ..) => "tagsyncd=debug",
    };
    let filter = std::env::var("TAGSYNCD_LOG").unwrap_or_else(|_| level.to_owned());
    let write = writer(common.log_format, screen);
    let log = tracing_subscriber::registry().with(EnvFilter::new(filter)).with(Lines(write));
    // A second start in one process (a test) keeps the first log.
    let _already_started = tracing::subscriber::set_global_default(log);
}

fn writer(format: LogFormat, screen: Screen) -> Box<dyn Fn(&Line) + Send + Sync> {
    let colour = AutoStream::choice(&std::io::stderr()) != ColorChoice::Never;
    // With standard error closed there is nobody left to tell.
    let write = move |text: String| drop(LogWriter(screen.clone()).write_all(text.as_bytes()));
    let journal = match format {
        LogFormat::Human => None,
        LogFormat::Json => return Box::new(move |line| write(form::json(line))),
        LogFormat::Auto if !journal::is_standard_error() => None,
        LogFormat::Auto | LogFormat::Journal => Journal::open().ok(),
    };
    match journal {
        None => Box::new(move |line| write(form::human(line, colour))),
        Some(journal) => Box::new(move |line| {
            // Standard error leads there too, or to somebody who wants to know.
            if journal.send(form::journal(line).as_bytes()).is_err() {
                write(form::human(line, false));
            }
        }),
    }
}
