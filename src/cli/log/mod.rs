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
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;

use super::Common;
use super::progress::{LogWriter, Screen};
use journal::Journal;
use line::{Line, Lines};

/// The target of all that the program itself says.
const OURS: &str = "tagsyncd";

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
    let usual = match (common.quiet, common.verbose, daemon) {
        (true, ..) => Targets::new().with_default(LevelFilter::ERROR),
        (false, 0, false) => Targets::new().with_target(OURS, LevelFilter::WARN),
        (false, 0, true) | (false, 1, _) => Targets::new().with_target(OURS, LevelFilter::INFO),
        (false, ..) => Targets::new().with_target(OURS, LevelFilter::DEBUG),
    };
    let wanted = std::env::var("TAGSYNCD_LOG").ok();
    let filter = wanted.as_deref().map(str::parse::<Targets>).transpose();
    let unreadable = filter.as_ref().err().map(ToString::to_string);
    let write = writer(common.log_format, screen);
    let log = tracing_subscriber::registry().with(filter.ok().flatten().unwrap_or(usual)).with(Lines(write));
    // A second start in one process (a test) keeps the first log.
    let _already_started = tracing::subscriber::set_global_default(log);
    if let Some(fault) = unreadable {
        tracing::warn!(fault, "TAGSYNCD_LOG is no filter, such as `tagsyncd=debug`, and was passed over.");
    }
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
