//! Writes one after the other, with a pause between them and so many in an hour: what some servers ask of those who write much,
//! before they refuse them everything.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::Instant;

/// How much may be written to a server by those who use one credential there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriteLimits {
    /// The time from the end of a write to the begin of the next one.
    pub pause: Duration,
    /// How many there may be within any hour of this process.
    pub per_hour: usize,
}

const HOUR: Duration = Duration::from_secs(60 * 60);

/// The writes of the last hour, and whose turn it is.
#[derive(Debug)]
pub(super) struct Pace {
    limits: WriteLimits,
    ends: Arc<Mutex<VecDeque<Instant>>>,
}

/// The right to send one write. It ends when this goes.
#[derive(Debug)]
pub struct Turn(OwnedMutexGuard<VecDeque<Instant>>);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.push_back(Instant::now());
    }
}

impl Pace {
    pub(super) fn new(limits: WriteLimits) -> Self {
        Self { limits, ends: Arc::default() }
    }

    /// How many writes an hour may have.
    pub(super) fn per_hour(&self) -> usize {
        self.limits.per_hour
    }

    /// Waits for the turn and the pause. Fails at once when the hour is used up, and says until when.
    pub(super) async fn turn(&self) -> Result<Turn, Instant> {
        let mut ends = Arc::clone(&self.ends).lock_owned().await;
        let now = Instant::now();
        while ends.front().is_some_and(|end| *end + HOUR <= now) {
            ends.pop_front();
        }
        if let Some(first) = ends.front().filter(|_| ends.len() >= self.limits.per_hour) {
            return Err(*first + HOUR);
        }
        if let Some(last) = ends.back() {
            tokio::time::sleep_until(*last + self.limits.pause).await;
        }
        Ok(Turn(ends))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: WriteLimits = WriteLimits { pause: Duration::from_secs(1), per_hour: 5 };

    #[tokio::test(start_paused = true)]
    async fn writes_take_turns_with_a_pause_between_them() {
        let pace = Arc::new(Pace::new(LIMITS));
        let began = Instant::now();
        let writes = (0..3).map(|_| {
            let pace = Arc::clone(&pace);
            tokio::spawn(async move {
                let turn = pace.turn().await.unwrap();
                let start = Instant::now();
                tokio::time::sleep(Duration::from_secs(2)).await;
                drop(turn);
                start.duration_since(began).as_secs()
            })
        });
        let mut starts = Vec::new();
        for write in writes.collect::<Vec<_>>() {
            starts.push(write.await.unwrap());
        }
        starts.sort_unstable();
        assert_eq!(starts, [0, 3, 6]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_hour_has_so_many_and_the_next_ones_are_due_when_the_first_are_an_hour_old() {
        let pace = Pace::new(LIMITS);
        let began = Instant::now();
        for _ in 0..5 {
            drop(pace.turn().await.unwrap());
        }
        assert_eq!(began.elapsed().as_secs(), 4);
        let until = pace.turn().await.unwrap_err();
        assert_eq!(until, began + HOUR);
        tokio::time::sleep_until(until).await;
        drop(pace.turn().await.unwrap());
        assert_eq!(pace.turn().await.unwrap_err(), began + HOUR + Duration::from_secs(1));
    }
}
