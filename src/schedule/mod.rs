//! When jobs run: an expression as in crontab(5), in a time zone. Time is an argument; there is no clock here.
//!
//! An expression speaks of what a clock on the wall shows. Twice a year that clock does not show what follows what:
//!
//! - A reading that it skips runs at the very moment of the skip, so no tick is lost.
//! - A reading that it shows twice runs once, the first time. Where the minute or the hour begins with `*`, the
//!   expression means "again and again" rather than a time of day, and runs both times: `*/30 * * * *` stays half-hourly.
//!
//! That is what cron(8) of Vixie does, with one difference: there a skipped reading of an expression with `*` is lost.

mod expression;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use sha2::{Digest as _, Sha256};

use expression::Expression;

/// When a job runs: an expression in a time zone. There is always a first tick; the last is in the year 2100.
#[derive(Clone, Debug)]
pub struct Schedule {
    text: String,
    // Thousands of job instances may share one.
    expression: Arc<Expression>,
    zone: TimeZone,
}

/// This is no schedule. Only numbers that are too large and words close to a known one are quoted: anything else might
/// be a secret in the wrong place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ScheduleFault {
    /// What is wrong, beginning with the name of the field where there is one.
    pub message: String,
    /// What to write instead.
    pub hint: String,
    /// Where, in bytes of the expression.
    pub at: Range<usize>,
}

impl ScheduleFault {
    fn new(message: impl Into<String>, hint: impl Into<String>, at: Range<usize>) -> Self {
        Self { message: message.into(), hint: hint.into(), at }
    }
}

impl Schedule {
    /// Reads an expression: 5 fields as in crontab(5), or 6 with seconds first, or a word such as `@hourly`.
    pub fn parse(expression: &str, zone: TimeZone) -> Result<Self, ScheduleFault> {
        let parsed = Arc::new(Expression::parse(expression)?);
        Ok(Self { text: expression.trim().to_owned(), expression: parsed, zone })
    }

    /// The expression, as written.
    pub fn expression(&self) -> &str {
        &self.text
    }

    /// The zone of the clock that the expression speaks of.
    pub fn time_zone(&self) -> &TimeZone {
        &self.zone
    }

    /// The first tick strictly later than this, on a whole second; `None` where there is none, that is after 2100.
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        let mut from = whole_second(after).max(0) + 1;
        // From one change of the clock to the next: in between, readings are seconds plus a constant.
        loop {
            let now = Timestamp::from_second(from).ok()?;
            let offset = self.offset(now);
            let (start, reading) = self.start_of_stretch(now, offset);
            let reading = if from == start { reading } else { reading.max(from + offset) };
            // A reading that was skipped at the start is one before the start.
            let tick = (self.expression.next_from(reading)? - offset).max(start);
            match self.zone.following(now).next().map(|change| change.timestamp().as_second()) {
                Some(end) if tick >= end => from = end,
                _ => return Timestamp::from_second(tick).ok(),
            }
        }
    }

    /// When the clock was last changed, and the first reading that counts from then on: what it showed before the
    /// change, so that a skip is made up for and a repetition is passed over, unless both times are wanted.
    fn start_of_stretch(&self, now: Timestamp, offset: i64) -> (i64, i64) {
        let just_after = now.checked_add(Duration::from_nanos(1)).unwrap_or(now);
        let Some(change) = self.zone.preceding(just_after).next() else { return (i64::MIN, i64::MIN) };
        let start = change.timestamp();
        let before = self.offset(start.checked_sub(Duration::from_nanos(1)).unwrap_or(start));
        let counts_from = if self.expression.recurs { before.min(offset) } else { before };
        (start.as_second(), start.as_second() + counts_from)
    }

    fn offset(&self, at: Timestamp) -> i64 {
        self.zone.to_offset(at).seconds().into()
    }
}

/// The last whole second that is not later than this.
fn whole_second(at: Timestamp) -> i64 {
    at.as_second() - i64::from(at.subsec_nanosecond() < 0)
}

/// A shift that a job instance always gets on this host: stable, in `0..=jitter`, in whole milliseconds.
///
/// It delays every tick by the same, so runs keep their distance and there is one for each tick, however long the shift.
pub fn shift(host: &str, job: &str, repository: &str, jitter: Duration) -> Duration {
    let mut digest = Sha256::new();
    for part in [host, job, repository] {
        // With its length in front, no part can pass for the end of another.
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    let share = digest.finalize().iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte));
    let choices = u128::from(u64::try_from(jitter.as_millis()).unwrap_or(u64::MAX)) + 1;
    // The high half of the product is below `choices`, and each is as likely as any other.
    Duration::from_millis(((u128::from(share) * choices) >> 64) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shift_is_stable_spread_and_within_the_jitter() {
        let jitter = Duration::from_secs(30);
        let of = |host: &str, job: &str, repository: &str| shift(host, job, repository, jitter);
        // Another number here moves the runs of everybody who updates.
        assert_eq!(of("build-1", "core", "core"), Duration::from_millis(8748));
        for (one, other) in [
            (of("build-1", "core", "core"), of("build-2", "core", "core")),
            (of("build-1", "core", "core"), of("build-1", "docs", "core")),
            (of("build-1", "core", "core"), of("build-1", "core", "docs")),
            (of("ab", "c", "d"), of("a", "bc", "d")),
        ] {
            assert_ne!(one, other);
        }
        assert_eq!(shift("build-1", "core", "core", Duration::ZERO), Duration::ZERO);
        assert!(shift("build-1", "core", "core", Duration::MAX) > jitter);
        let mut tenths = [0_u32; 10];
        for number in 0..10_000 {
            let shift = of("build-1", "core", &format!("repository-{number}"));
            assert!(shift <= jitter);
            tenths[usize::try_from(shift.as_millis() * 10 / 30_001).unwrap()] += 1;
        }
        assert!(tenths.iter().all(|count| (850..1150).contains(count)), "{tenths:?}");
    }
}
