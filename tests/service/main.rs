//! The daemon from the outside: the binary, a fake service manager, fake remotes.

#[path = "../support/mod.rs"]
mod support;

mod isolation;
mod manager;
mod reload;
mod stop;
mod triggers;

/// A job with this schedule and these lines, and a daemon that shifts nothing.
fn by(schedule: &str, lines: &str) -> String {
    format!("schedule = \"{schedule}\"\n{lines}\n[daemon]\njitter = \"0s\"\n")
}

/// The same with a schedule that has no tick while a test runs.
fn seldom(lines: &str) -> String {
    by("0 0 29 2 *", lines)
}
