//! When a server is left alone: after it refused a credential, and after nothing came through several times in a row.
//!
//! Pure: what happened, the time and chance are arguments.
//!
//! ```text
//!  Whole ──too many failures, or a refusal──> Broken ──its time is over──> Trying, one request at a time
//!    ^                                          ^                             │
//!    └──────────────── an answer ───────────────┼─────────────────────────────┤
//!                                               └────── failed again ─────────┘
//! ```

use std::time::Duration;

use tokio::time::Instant;

/// So many requests in a row that did not come through; more than the tries of one call, which may be at fault itself.
const FAILURES: u32 = 5;

/// So many of those that try afterwards: one slow project must not speak for its whole server.
const TRIES: u32 = 2;

/// The first time for which nobody asks a server that does not answer; doubled with each row of tries that fail.
const SHORTEST: Duration = Duration::from_secs(10);

/// The longest time for which nobody asks.
pub(super) const LONGEST: Duration = Duration::from_secs(15 * 60);

/// Why a server is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// It refused the credential. GitLab bans an address for an hour after 30 refusals within 3 minutes (2026-11-21,
    /// <https://docs.gitlab.com/security/rate_limits/#failed-authentication-ban-for-git-and-container-registry>).
    Refused,
    /// Nothing came through.
    Unreached,
}

/// A time in which a server is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Break {
    pub(super) cause: Cause,
    /// When it began, however often it was tried since.
    pub(super) since: Instant,
    /// When it is tried again.
    pub(super) until: Instant,
}

/// What the end of a request says about its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    /// It answered, and took the credential.
    Accepted,
    /// It answered, which says nothing about the credential.
    Reached,
    /// It refused the credential.
    Refused,
    /// Nothing came through.
    Unreached,
}

/// What a request is told that wants to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// It goes like any other.
    Go,
    /// It goes alone, and finds out for the others.
    Try,
    /// Another one is finding out.
    Wait,
    /// It does not go.
    Broken(Break),
}

/// The state of one server towards one credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Circuit(State);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// So many in a row did not come through.
    Whole {
        failures: u32,
    },
    Broken {
        at: Break,
        length: Duration,
    },
    /// So many may still fail.
    Trying {
        former: Break,
        length: Duration,
        left: u32,
        under_way: bool,
    },
}

impl Circuit {
    pub(super) fn new() -> Self {
        Self(State::Whole { failures: 0 })
    }

    /// Asks to go. Whoever is told to try has to end that with one of the calls below.
    pub(super) fn enter(&mut self, now: Instant) -> Entry {
        if let State::Broken { at, length } = self.0
            && at.until <= now
        {
            let left = if at.cause == Cause::Unreached { TRIES } else { 1 };
            self.0 = State::Trying { former: at, length, left, under_way: false };
        }
        match &mut self.0 {
            State::Whole { .. } => Entry::Go,
            State::Broken { at, .. } => Entry::Broken(*at),
            State::Trying { under_way: true, .. } => Entry::Wait,
            State::Trying { under_way, .. } => {
                *under_way = true;
                Entry::Try
            }
        }
    }

    /// The break, while nobody may go.
    pub(super) fn broken(&self, now: Instant) -> Option<Break> {
        match self.0 {
            State::Broken { at, .. } if at.until > now => Some(at),
            State::Whole { .. } | State::Broken { .. } | State::Trying { .. } => None,
        }
    }

    /// Whether all is well, so that a request may be repeated.
    pub(super) fn is_whole(&self) -> bool {
        matches!(self.0, State::Whole { .. })
    }

    /// Whether there is nothing to remember: no failure, or none since long after the last break.
    pub(super) fn is_forgotten(&self, now: Instant) -> bool {
        match self.0 {
            State::Whole { failures } => failures == 0,
            State::Broken { at, .. } | State::Trying { former: at, .. } => at.until + LONGEST <= now,
        }
    }

    /// An answer came, which says nothing about the credential. Also one to a request from before the break.
    pub(super) fn reached(&mut self) {
        match self.0 {
            State::Whole { .. } => *self = Self::new(),
            State::Broken { at: Break { cause: Cause::Unreached, .. }, .. }
            | State::Trying { former: Break { cause: Cause::Unreached, .. }, .. } => *self = Self::new(),
            State::Broken { .. } | State::Trying { .. } => {}
        }
    }

    /// The server answered the one who tried, and took its credential.
    pub(super) fn accepted(&mut self) {
        *self = Self::new();
    }

    /// The server refused the credential, and there is no better one. Refusals of requests that were under way when the
    /// first one came prolong nothing.
    pub(super) fn refused(&mut self, now: Instant) {
        let since = match self.0 {
            State::Broken { at: Break { cause: Cause::Refused, .. }, .. } => return,
            State::Trying { former: Break { cause: Cause::Refused, since, .. }, .. } => since,
            State::Whole { .. } | State::Broken { .. } | State::Trying { .. } => now,
        };
        self.0 = State::Broken { at: Break { cause: Cause::Refused, since, until: now + LONGEST }, length: LONGEST };
    }

    /// Nothing came through. `tried` is whether this was the one who tried; `chance`, from 0 to 1, shortens the break, so
    /// that not all who wait for a server come back at once. Gives whether a break began.
    pub(super) fn unreached(&mut self, now: Instant, tried: bool, chance: f64) -> bool {
        let (at, length) = match &mut self.0 {
            State::Whole { failures } => {
                *failures += 1;
                if *failures < FAILURES {
                    return false;
                }
                (Break { cause: Cause::Unreached, since: now, until: now }, SHORTEST)
            }
            State::Trying { former, length, left, under_way } if tried => {
                *under_way = false;
                *left -= 1;
                if *left > 0 {
                    return false;
                }
                (*former, (*length * 2).min(LONGEST))
            }
            // Requests that were under way when the break began.
            State::Broken { .. } | State::Trying { .. } => return false,
        };
        let until = now + length.mul_f64(1.0 - chance.clamp(0.0, 1.0) / 4.0);
        self.0 = State::Broken { at: Break { until, ..at }, length };
        true
    }

    /// The one who tried found nothing out, so that another may try.
    pub(super) fn abandoned(&mut self) {
        if let State::Trying { under_way, .. } = &mut self.0 {
            *under_way = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Breaks by failures at `now`.
    fn broken(now: Instant) -> Circuit {
        let mut circuit = Circuit::new();
        for failure in 1..=FAILURES {
            assert!(circuit.is_whole());
            assert_eq!(circuit.unreached(now, false, 0.0), failure == FAILURES);
        }
        circuit
    }

    #[test]
    fn a_server_that_does_not_answer_is_asked_ever_less() {
        let begin = Instant::now();
        let mut circuit = broken(begin);
        let mut now = begin;
        let mut waits = Vec::new();
        for _ in 0..10 {
            let Entry::Broken(at) = circuit.enter(now) else { panic!("{circuit:?}") };
            assert_eq!((at.cause, at.since), (Cause::Unreached, begin));
            waits.push((at.until - now).as_secs());
            assert_eq!(circuit.enter(at.until - Duration::from_millis(1)), Entry::Broken(at));
            now = at.until;
            for left in (0..TRIES).rev() {
                assert_eq!(circuit.enter(now), Entry::Try);
                assert_eq!(circuit.enter(now), Entry::Wait);
                assert!(!circuit.unreached(now, false, 0.0), "a late one says nothing new");
                assert_eq!(circuit.unreached(now, true, 0.0), left == 0);
            }
        }
        assert_eq!(waits, [10, 20, 40, 80, 160, 320, 640, 900, 900, 900]);
        // One answer, and everything is as before.
        assert_eq!(circuit.enter(now + LONGEST), Entry::Try);
        circuit.reached();
        assert_eq!(circuit, Circuit::new());
    }

    #[test]
    fn an_answer_in_between_begins_the_count_anew() {
        let now = Instant::now();
        let mut circuit = Circuit::new();
        for _ in 0..100 {
            for _ in 1..FAILURES {
                assert!(!circuit.unreached(now, false, 0.5));
            }
            circuit.reached();
        }
        assert_eq!(circuit, Circuit::new());
    }

    #[test]
    fn after_a_refusal_one_request_goes_in_a_quarter_of_an_hour() {
        let begin = Instant::now();
        let mut circuit = Circuit::new();
        circuit.refused(begin);
        for round in 0..3 {
            let now = begin + LONGEST * round;
            // Those that were under way with it.
            circuit.refused(now + SECOND);
            circuit.reached();
            assert!(!circuit.unreached(now + SECOND, false, 0.0));
            let Entry::Broken(at) = circuit.enter(now + SECOND) else { panic!("{circuit:?}") };
            assert_eq!((at.cause, at.since, at.until), (Cause::Refused, begin, now + LONGEST));
            assert_eq!(circuit.enter(at.until), Entry::Try);
            assert_eq!(circuit.enter(at.until), Entry::Wait);
            circuit.refused(at.until);
        }
        // An answer that does not take the credential is no reason for all to come; one that does is.
        let now = begin + LONGEST * 3;
        assert_eq!(circuit.enter(now), Entry::Broken(circuit.broken(now).unwrap()));
        assert_eq!(circuit.enter(now + LONGEST), Entry::Try);
        circuit.reached();
        circuit.abandoned();
        assert_eq!((circuit.enter(now + LONGEST), circuit.is_whole()), (Entry::Try, false));
        circuit.accepted();
        assert_eq!(circuit.enter(now + LONGEST), Entry::Go);
    }

    #[derive(Clone, Copy, Debug)]
    enum Event {
        Enter,
        Later(u32),
        Reached,
        Accepted,
        Refused,
        Unreached { tried: bool, chance: f64 },
        Abandoned,
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            4 => Just(Event::Enter),
            2 => (0..2_000_u32).prop_map(Event::Later),
            1 => Just(Event::Reached),
            1 => Just(Event::Accepted),
            1 => Just(Event::Refused),
            8 => (any::<bool>(), 0.0..=1.0).prop_map(|(tried, chance)| Event::Unreached { tried, chance }),
            1 => Just(Event::Abandoned),
        ]
    }

    proptest! {
        #[test]
        fn nobody_goes_in_a_break_and_every_break_ends(events in prop::collection::vec(event(), 0..200)) {
            let mut circuit = Circuit::new();
            let mut now = Instant::now();
            // Whether somebody tries, as the gate knows it.
            let mut trying = false;
            for event in events {
                let before = circuit.broken(now);
                match event {
                    Event::Enter => match circuit.enter(now) {
                        Entry::Go => prop_assert!(circuit.is_whole()),
                        Entry::Try => {
                            prop_assert!(!trying && before.is_none(), "one at a time");
                            trying = true;
                        }
                        Entry::Wait => prop_assert!(trying),
                        Entry::Broken(at) => prop_assert_eq!(before, Some(at)),
                    },
                    Event::Later(seconds) => now += SECOND * seconds,
                    Event::Reached => circuit.reached(),
                    Event::Accepted if trying => circuit.accepted(),
                    Event::Refused => circuit.refused(now),
                    Event::Unreached { tried, chance } => {
                        let began = circuit.unreached(now, tried && trying, chance);
                        prop_assert_eq!(began, before.is_none() && circuit.broken(now).is_some());
                    }
                    Event::Abandoned if trying => circuit.abandoned(),
                    Event::Accepted | Event::Abandoned => {}
                }
                trying &= matches!(circuit.0, State::Trying { under_way: true, .. });
                if let Some(at) = circuit.broken(now) {
                    prop_assert!(at.until - now <= LONGEST && at.since <= now);
                    if before.is_some_and(|before| before.until != at.until) {
                        // Only a refusal changes a break that is under way.
                        prop_assert!(matches!(event, Event::Refused) && at.cause == Cause::Refused);
                    }
                }
                // Whatever happened, somebody can go before long.
                let mut later = circuit;
                later.abandoned();
                prop_assert!(matches!(later.enter(now + LONGEST), Entry::Go | Entry::Try));
            }
        }
    }
}
