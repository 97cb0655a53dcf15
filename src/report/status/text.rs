//! How every pair stands, as text for a glance.

use std::fmt::Write as _;

use jiff::Timestamp;

use super::{PairReport, PairState, State, Status, oldest};
use crate::ledger::{Decision, Matter, Parked};
use crate::report::style::{self, FAILED, HEADING, HELD, WAITING, paint};
use crate::text::Printable;

/// How long, in the two largest units that say it. A clock that was set back makes nothing younger than new.
pub fn age(since: Timestamp, now: Timestamp) -> String {
    let minutes = now.duration_since(since).as_mins().max(0);
    match (minutes / 1440, minutes / 60 % 24, minutes % 60) {
        (0, 0, 0) => "less than a minute".to_owned(),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

impl Status {
    /// As text, with styles.
    pub fn text(&self, now: Timestamp) -> String {
        let mut text = String::new();
        for pair in &self.pairs {
            pair.write(&mut text, now);
        }
        text
    }
}

/// Names of one matter that a glance can take in.
const NAMES: usize = 20;

impl PairReport {
    // Writing to a string cannot fail.
    fn write(&self, text: &mut String, now: Timestamp) {
        let Self { job, repository, remote, state, .. } = self;
        let heading = format!("{job}: {repository} -> {remote}");
        let word = state.to_string();
        let state = paint(style::state(&word), word.replace('_', " "));
        let _infallible = write!(text, "{}: {state}", paint(HEADING, heading));
        let Some(known) = &self.known else {
            text.push_str(" ran\n");
            return;
        };
        if let Some(since) = known.in_sync_since {
            let words = if word == "in_sync" { " for" } else { ", in sync for" };
            let _infallible = write!(text, "{words} {}", age(since, now));
        }
        if let Some(since) = oldest(known) {
            let _infallible = write!(text, ", lag {}", age(since, now));
        }
        let _infallible = writeln!(text);
        let _infallible =
            write!(text, "  last attempt {:.19}Z ({} ago)", known.last.ended.to_string(), age(known.last.ended, now));
        let _infallible = match known.last_success {
            Some(time) if time == known.last.ended => writeln!(text, ", a success"),
            Some(time) => writeln!(text, ", last success {:.19}Z ({} ago)", time.to_string(), age(time, now)),
            None => writeln!(text, ", never a success"),
        };
        if let Some(next) = &self.next_run {
            let _infallible = writeln!(text, "  next run {next:.19}Z");
        }
        if let Some(counts) = &self.counts {
            let _infallible = writeln!(text, "  {}", counts.words());
        }
        if let Some(error) = &self.error {
            let held = self.state == PairState::Left(State::Held);
            let (style, word) = if held { (HELD, "held:") } else { (FAILED, "unknown:") };
            let _infallible = writeln!(text, "  {} {}", paint(style, word), Printable::new(error));
        }
        for (mark, style, matter) in
            [('!', HELD, Matter::Held), ('!', FAILED, Matter::Failed), ('…', WAITING, Matter::Waiting)]
        {
            let (mark, word) = (paint(style, mark), paint(style, matter.word()));
            for (reason, open) in self.names_by_reason(matter) {
                let reason = Printable::new(reason);
                let since = open.iter().map(|open| open.since).min().unwrap_or(now);
                let names: Vec<String> = open.iter().take(NAMES).map(|open| open.tag.to_string()).collect();
                let names = names.join(", ");
                let more = open.len().saturating_sub(NAMES);
                let more = if more > 0 { format!(" … and {more} more") } else { String::new() };
                let _infallible = writeln!(text, "  {mark} {names}{more}  {word} for {}: {reason}", age(since, now));
            }
        }
        if known.pins > 0 {
            let _infallible = writeln!(text, "  undone: {} names were put back against the source", known.pins);
        }
        for parked in &known.parked {
            let Parked { set, since, decision, .. } = parked;
            let changes = if set.count == 1 { "1 change".to_owned() } else { format!("{} changes", set.count) };
            let _infallible = write!(text, "  plan {}: {changes} parked for {}", set.plan, age(*since, now));
            let _infallible = match decision {
                None => writeln!(text, "\n      {} {}", style::hint(), set.hint()),
                Some((Decision::Approved, when)) if parked.release_expired(now) => {
                    writeln!(
                        text,
                        ", approved {} ago, which is too long\n      {} {}",
                        age(*when, now),
                        style::hint(),
                        set.hint()
                    )
                }
                Some((Decision::Approved, when)) => {
                    writeln!(text, ", approved {} ago: the next pass carries them out", age(*when, now))
                }
                Some((Decision::Dismissed, when)) => writeln!(text, ", dismissed {} ago", age(*when, now)),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_said_in_two_units() {
        let now = Timestamp::from_second(1_000_000).unwrap();
        for (seconds, said) in [
            (-5, "less than a minute"),
            (59, "less than a minute"),
            (60, "1 min"),
            (3_660, "1 h 1 min"),
            (90_000, "1 d 1 h"),
        ] {
            assert_eq!(age(Timestamp::from_second(1_000_000 - seconds).unwrap(), now), said);
        }
    }
}
