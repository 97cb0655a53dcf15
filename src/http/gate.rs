//! How many requests one host takes at a time from one credential, how fast, and from when on.
//!
//! The number adapts as congestion control does: one more after a round of successes, half after a refusal.

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::retry::CEILING;

/// The longest time for which a server's word keeps the gate closed; then one request asks again.
const CLOSED_AT_MOST: Duration = Duration::from_secs(15 * 60);

/// The longest time between two requests that can be meant.
const SLOWEST: Duration = Duration::from_secs(24 * 60 * 60);

/// How many requests may begin per second: one second's worth at once, then evenly.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    per_second: f64,
    quota: Quota,
}

impl Rate {
    /// `None` when it is no positive number, or less than one request a day.
    pub fn per_second(rate: f64) -> Option<Self> {
        if !rate.is_finite() || rate <= 0.0 {
            return None;
        }
        let period = Duration::try_from_secs_f64(rate.recip()).ok().filter(|period| *period <= SLOWEST)?;
        // The cast saturates, and a fraction of one still lets one go.
        let burst = NonZeroU32::new(rate as u32).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::with_period(period.max(Duration::from_nanos(1)))?.allow_burst(burst);
        Some(Self { per_second: rate, quota })
    }
}

/// One host and credential, shared by all remotes there.
#[derive(Debug)]
pub(super) struct Gate {
    slots: Arc<Semaphore>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// How many may be under way.
    limit: usize,
    /// How many may ever be.
    maximum: usize,
    /// Slots that are to go as soon as their requests end.
    debt: usize,
    /// Successes since the limit last changed.
    successes: usize,
    /// Counts the reductions: refusals of requests that began before one say nothing about it.
    reductions: u64,
    /// When the server wants to hear from us again.
    resume: Option<Instant>,
    /// The pace, and the rate that it stands for.
    pace: Option<(Rate, Arc<DefaultDirectRateLimiter>)>,
}

impl Gate {
    pub(super) fn new(maximum: usize) -> Self {
        let maximum = maximum.max(1);
        let state = State { limit: maximum, maximum, debt: 0, successes: 0, reductions: 0, resume: None, pace: None };
        Self { slots: Arc::new(Semaphore::new(maximum)), state: Mutex::new(state) }
    }

    /// Remotes of one host and credential share one gate; the strictest settings among them hold.
    pub(super) fn tighten(&self, maximum: usize, rate: Option<Rate>) {
        let mut state = self.state();
        state.maximum = state.maximum.min(maximum.max(1));
        if state.limit > state.maximum {
            let limit = state.maximum;
            self.reduce(&mut state, limit);
        }
        if let Some(rate) = rate
            && state.pace.as_ref().is_none_or(|(current, _)| rate.per_second < current.per_second)
        {
            state.pace = Some((rate, Arc::new(RateLimiter::direct(rate.quota))));
        }
    }

    /// Waits for a slot, for the pace, and for the time that the server asked for. Fails with the time that is left
    /// when that is too long for one pass.
    pub(super) async fn enter(self: &Arc<Self>) -> Result<Slot, Duration> {
        let permit = Arc::clone(&self.slots).acquire_owned().await.expect("nobody closes this semaphore");
        let mut slot = Slot { gate: Arc::clone(self), permit: Some(permit), reductions: 0 };
        loop {
            if let Some(closed) = self.closed_for() {
                if closed > CEILING {
                    return Err(closed);
                }
                tokio::time::sleep(closed).await;
                continue;
            }
            let pace = self.state().pace.as_ref().map(|(_, pace)| Arc::clone(pace));
            match pace.map(|pace| pace.check()) {
                None | Some(Ok(())) => break,
                Some(Err(early)) => tokio::time::sleep(early.wait_time_from(DefaultClock::default().now())).await,
            }
        }
        slot.reductions = self.state().reductions;
        Ok(slot)
    }

    /// Lets nobody in for this long.
    pub(super) fn close_for(&self, wait: Duration) {
        let resume = Instant::now() + wait.min(CLOSED_AT_MOST);
        let mut state = self.state();
        state.resume = Some(state.resume.map_or(resume, |earlier| earlier.max(resume)));
    }

    fn closed_for(&self) -> Option<Duration> {
        let left = self.state().resume?.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left)
    }

    /// Brings the limit down; slots in use go when they are given back.
    fn reduce(&self, state: &mut State, limit: usize) {
        let cut = state.limit - limit;
        state.debt += cut - self.slots.forget_permits(cut);
        state.limit = limit;
        state.successes = 0;
        state.reductions += 1;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held, and the numbers would still be usable.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    fn limit(&self) -> usize {
        self.state().limit
    }
}

/// The right to have one request under way.
#[derive(Debug)]
pub(super) struct Slot {
    gate: Arc<Gate>,
    permit: Option<OwnedSemaphorePermit>,
    reductions: u64,
}

impl Slot {
    /// The server took the request: after a round of these it may have one more at a time.
    pub(super) fn accepted(&self) {
        let mut state = self.gate.state();
        state.successes += 1;
        if state.successes >= state.limit && state.limit < state.maximum {
            state.successes = 0;
            state.limit += 1;
            if state.debt > 0 {
                state.debt -= 1;
            } else {
                self.gate.slots.add_permits(1);
            }
        }
    }

    /// The server had too much: half as many, once per burst.
    pub(super) fn overloaded(&self) {
        let mut state = self.gate.state();
        if state.reductions == self.reductions {
            let limit = (state.limit / 2).max(1);
            self.gate.reduce(&mut state, limit);
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let Some(permit) = self.permit.take() else { return };
        let mut state = self.gate.state();
        if state.debt > 0 {
            state.debt -= 1;
            permit.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn enter(gate: &Arc<Gate>) -> Slot {
        tokio::time::timeout(Duration::from_secs(1), gate.enter()).await.unwrap().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_halves_and_successes_restore() {
        let gate = Arc::new(Gate::new(8));
        let mut burst = Vec::new();
        for _ in 0..8 {
            burst.push(enter(&gate).await);
        }
        burst.iter().for_each(Slot::overloaded);
        assert_eq!(gate.limit(), 4, "one burst halves once");
        burst.truncate(4);
        assert!(tokio::time::timeout(Duration::from_secs(1), gate.enter()).await.is_err(), "four are still under way");
        drop(burst);
        for expected in [2, 1, 1] {
            enter(&gate).await.overloaded();
            assert_eq!(gate.limit(), expected);
        }
        // 1 + 2 + … + 7 successes lead from one to eight, and no further.
        for _ in 0..28 {
            enter(&gate).await.accepted();
        }
        assert_eq!(gate.limit(), 8);
        for _ in 0..100 {
            enter(&gate).await.accepted();
        }
        assert_eq!((gate.limit(), gate.slots.available_permits(), gate.state().debt), (8, 8, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn the_strictest_settings_hold() {
        let gate = Arc::new(Gate::new(8));
        gate.tighten(3, Rate::per_second(2.0));
        gate.tighten(5, Rate::per_second(9.0));
        assert_eq!((gate.limit(), gate.slots.available_permits()), (3, 3));
        assert_eq!(gate.state().pace.as_ref().map(|(rate, _)| *rate), Rate::per_second(2.0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_closed_gate_opens_by_itself() {
        let gate = Arc::new(Gate::new(1));
        gate.close_for(Duration::from_secs(5));
        let began = Instant::now();
        drop(gate.enter().await.unwrap());
        assert_eq!(began.elapsed().as_secs(), 5);
        gate.close_for(Duration::from_secs(86_400));
        assert_eq!(gate.enter().await.map(|_| ()).unwrap_err(), CLOSED_AT_MOST);
        assert_eq!(gate.slots.available_permits(), 1);
    }

    #[test]
    fn only_positive_rates_are_rates() {
        for rate in [0.0, -1.0, f64::NAN, f64::INFINITY, f64::MIN_POSITIVE, 1e-11, 1e-5] {
            assert!(Rate::per_second(rate).is_none(), "{rate}");
        }
        for rate in [1.2e-5, 1.0, 1e9, f64::MAX] {
            let gate = Gate::new(1);
            gate.tighten(1, Rate::per_second(rate));
            let (kept, pace) = gate.state().pace.clone().unwrap();
            assert_eq!((kept.per_second, pace.check().is_ok()), (rate, true));
        }
    }
}
