//! How many requests one host takes at a time from one credential, how fast, and from when on.
//!
//! The number adapts as congestion control does: one more after a round of successes, half after a refusal.

use std::hash::{BuildHasher as _, RandomState};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::budget::Budget;
use super::circuit::{Break, Circuit, Entry, LONGEST, Sign};
use super::newcomers::Newcomers;
use super::pace::{Pace, WriteLimits};
use super::retry::CEILING;

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
    /// Whoever tried knows more.
    tried: Notify,
    /// What became of credentials that its origin did not know.
    newcomers: Arc<Mutex<Newcomers>>,
    /// The pace of writes, where the server wants one of its own for them.
    pace_of_writes: OnceLock<Pace>,
}

/// Why nobody is let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Closed {
    /// The server asked for it.
    Asked {
        /// When it wants to hear from us again.
        until: Instant,
    },
    /// For what happened.
    Broken {
        at: Break,
        /// What happened last.
        why: String,
    },
    /// The server refused several other credentials, and may not know this one, either.
    Unproven {
        /// When it is tried.
        until: Instant,
    },
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
    circuit: Circuit,
    /// Why the circuit was broken last.
    why: String,
    budget: Budget,
    /// Whether the server has neither taken nor refused the credential.
    new: bool,
}

impl Gate {
    /// `newcomers` is that of all credentials of the origin.
    pub(super) fn new(maximum: usize, newcomers: Arc<Mutex<Newcomers>>) -> Self {
        let maximum = maximum.max(1);
        let state = State {
            limit: maximum,
            maximum,
            debt: 0,
            successes: 0,
            reductions: 0,
            resume: None,
            pace: None,
            circuit: Circuit::new(),
            why: String::new(),
            budget: Budget::new(),
            new: true,
        };
        Self {
            slots: Arc::new(Semaphore::new(maximum)),
            state: Mutex::new(state),
            tried: Notify::new(),
            newcomers,
            pace_of_writes: OnceLock::new(),
        }
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

    /// From now on writes go at this pace. A server has one, so the first that is named stays.
    pub(super) fn pace_writes(&self, limits: WriteLimits) {
        self.pace_of_writes.get_or_init(|| Pace::new(limits));
    }

    /// The pace of writes, if they have one of their own.
    pub(super) fn pace_of_writes(&self) -> Option<&Pace> {
        self.pace_of_writes.get()
    }

    /// Waits for a slot, for the pace, for the time that the server asked for, and for whoever finds out whether it is
    /// back. Fails at once when the gate stays closed for too long to wait in one pass.
    pub(super) async fn enter(self: &Arc<Self>) -> Result<Slot, Closed> {
        // Before the queue, too: in it one waits for those that are under way.
        self.refuse_if_closed()?;
        let permit = Arc::clone(&self.slots).acquire_owned().await.expect("nobody closes this semaphore");
        let mut slot = Slot { gate: Arc::clone(self), permit: Some(permit), reductions: 0, tries: false };
        loop {
            self.refuse_if_closed()?;
            if let Some(resume) = self.resume(Instant::now()) {
                tokio::time::sleep_until(resume).await;
                continue;
            }
            let pace = self.state().pace.as_ref().map(|(_, pace)| Arc::clone(pace));
            if let Some(Err(early)) = pace.map(|pace| pace.check()) {
                tokio::time::sleep(early.wait_time_from(DefaultClock::default().now())).await;
                continue;
            }
            let mut tried = std::pin::pin!(self.tried.notified());
            // From here on nothing that the one who tries tells is missed.
            tried.as_mut().enable();
            let entry = {
                let mut state = self.state();
                slot.reductions = state.reductions;
                state.circuit.enter(Instant::now())
            };
            match entry {
                Entry::Go => break,
                Entry::Try => {
                    slot.tries = true;
                    break;
                }
                Entry::Wait => tried.await,
                // The next look says why.
                Entry::Broken(_) => {}
            }
        }
        self.state().budget.earn();
        Ok(slot)
    }

    /// Lets nobody in for this long, or for a quarter of an hour; then the server may be asked again.
    pub(super) fn close_for(&self, wait: Duration) {
        let resume = Instant::now() + wait.min(LONGEST);
        let mut state = self.state();
        state.resume = Some(state.resume.map_or(resume, |earlier| earlier.max(resume)));
    }

    /// Why nobody is let in, if it will take so long that nobody should wait for it.
    pub(super) fn closed(&self) -> Option<Closed> {
        let now = Instant::now();
        let state = self.state();
        if let Some(at) = state.circuit.broken(now) {
            return Some(Closed::Broken { at, why: state.why.clone() });
        }
        let new = state.new;
        drop(state);
        if new && let Some(until) = self.newcomers().wait(now) {
            return Some(Closed::Unproven { until });
        }
        let until = self.resume(now)?;
        (until.duration_since(now) > CEILING).then_some(Closed::Asked { until })
    }

    fn refuse_if_closed(&self) -> Result<(), Closed> {
        self.closed().map_or(Ok(()), Err)
    }

    /// When the server wants to hear from us again, if that is still to come.
    fn resume(&self, now: Instant) -> Option<Instant> {
        self.state().resume.filter(|resume| *resume > now)
    }

    /// Whether a request may be sent again. `asked` is whether the server named the time for it; then it costs nothing.
    pub(super) fn may_repeat(&self, asked: bool) -> bool {
        let mut state = self.state();
        state.circuit.is_whole() && (asked || state.budget.spend())
    }

    /// The credential was refused for good. Gives whether nobody is let in from now on because of it.
    pub(super) fn refused(&self, why: impl FnOnce() -> String) -> bool {
        let now = Instant::now();
        let mut state = self.state();
        let before = state.circuit.broken(now);
        state.circuit.refused(now);
        let began = state.circuit.broken(now) != before;
        if began {
            state.why = why();
        }
        if std::mem::take(&mut state.new) {
            self.newcomers().refused(now);
        }
        self.tried.notify_waiters();
        began
    }

    /// Whether nothing is lost with it. How many requests the server took before a break that is long over is no news.
    pub(super) fn is_as_new(&self) -> bool {
        let now = Instant::now();
        let state = self.state();
        let whole = !state.circuit.is_whole() || state.limit == state.maximum;
        state.circuit.is_forgotten(now) && whole && state.resume.is_none_or(|at| at <= now)
    }

    /// Brings the limit down; slots in use go when they are given back.
    fn reduce(&self, state: &mut State, limit: usize) {
        let cut = state.limit - limit;
        state.debt += cut - self.slots.forget_permits(cut);
        state.limit = limit;
        state.successes = 0;
        state.reductions += 1;
    }

    /// Only ever locked inside of the state's lock or without it.
    fn newcomers(&self) -> MutexGuard<'_, Newcomers> {
        self.newcomers.lock().unwrap_or_else(PoisonError::into_inner)
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
    /// Whether others wait for what this one finds out.
    tries: bool,
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

impl Slot {
    /// What came of it. Gives whether nobody is let in from now on because of it.
    pub(super) fn ended(&mut self, sign: Sign, why: impl FnOnce() -> String) -> bool {
        if sign == Sign::Refused {
            self.tries = false;
            return self.gate.refused(why);
        }
        let mut state = self.gate.state();
        state.new &= sign != Sign::Accepted;
        match sign {
            Sign::Accepted if self.tries => state.circuit.accepted(),
            Sign::Accepted | Sign::Reached => state.circuit.reached(),
            Sign::Unreached => {
                if state.circuit.unreached(Instant::now(), self.tries, chance()) {
                    state.why = why();
                }
                self.tries = false;
            }
            Sign::Refused => {}
        }
        // One who tried and learned nothing leaves it to the next, when it goes.
        self.tries &= !state.circuit.is_whole();
        self.gate.tried.notify_waiters();
        sign == Sign::Unreached && state.circuit.broken(Instant::now()).is_some()
    }
}

/// A number from 0 to 1: the standard library seeds each of these anew.
fn chance() -> f64 {
    let random = RandomState::new().hash_one(());
    random as f64 / u64::MAX as f64
}

impl Drop for Slot {
    fn drop(&mut self) {
        if self.tries {
            self.gate.state().circuit.abandoned();
            self.gate.tried.notify_waiters();
        }
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
        let gate = Arc::new(Gate::new(8, Arc::default()));
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
        let gate = Arc::new(Gate::new(8, Arc::default()));
        gate.tighten(3, Rate::per_second(2.0));
        gate.tighten(5, Rate::per_second(9.0));
        assert_eq!((gate.limit(), gate.slots.available_permits()), (3, 3));
        assert_eq!(gate.state().pace.as_ref().map(|(rate, _)| *rate), Rate::per_second(2.0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_closed_gate_opens_by_itself() {
        let gate = Arc::new(Gate::new(1, Arc::default()));
        gate.close_for(Duration::from_secs(5));
        let began = Instant::now();
        drop(gate.enter().await.unwrap());
        assert_eq!(began.elapsed().as_secs(), 5);
        gate.close_for(Duration::from_secs(86_400));
        let until = Instant::now() + LONGEST;
        assert_eq!(gate.enter().await.map(|_| ()).unwrap_err(), Closed::Asked { until });
        assert_eq!(gate.slots.available_permits(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn one_finds_out_and_the_others_wait_for_that() {
        let gate = Arc::new(Gate::new(8, Arc::default()));
        let fail = async |gate: &Arc<Gate>| enter(gate).await.ended(Sign::Unreached, || "silence".to_owned());
        for failure in 1..=5 {
            assert!(gate.may_repeat(true));
            assert_eq!(fail(&gate).await, failure == 5);
        }
        assert!(!gate.may_repeat(true));
        let Err(Closed::Broken { at, why }) = gate.enter().await else { panic!("it is closed") };
        assert_eq!(why, "silence");
        tokio::time::sleep_until(at.until).await;
        // The first one goes, and is lost on the way; the next one brings an answer, and then all go.
        let first = enter(&gate).await;
        let waiting: Vec<_> = (0..7)
            .map(|_| {
                let gate = Arc::clone(&gate);
                tokio::spawn(async move {
                    let mut slot = gate.enter().await.unwrap();
                    let alone = slot.tries;
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    slot.ended(Sign::Accepted, String::new);
                    alone
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_secs(1)).await;
        let began = Instant::now();
        drop(first);
        let mut alone = 0;
        for waiting in waiting {
            alone += u32::from(waiting.await.unwrap());
        }
        assert_eq!((alone, began.elapsed().as_secs()), (1, 2));
        assert!(gate.may_repeat(false) && gate.is_as_new());
    }

    #[test]
    fn only_positive_rates_are_rates() {
        for rate in [0.0, -1.0, f64::NAN, f64::INFINITY, f64::MIN_POSITIVE, 1e-11, 1e-5] {
            assert!(Rate::per_second(rate).is_none(), "{rate}");
        }
        for rate in [1.2e-5, 1.0, 1e9, f64::MAX] {
            let gate = Gate::new(1, Arc::default());
            gate.tighten(1, Rate::per_second(rate));
            let (kept, pace) = gate.state().pace.clone().unwrap();
            assert_eq!((kept.per_second, pace.check().is_ok()), (rate, true));
        }
    }
}
