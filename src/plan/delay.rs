//! What time alone settles. Times are data here: what is remembered of a name, and the moment of the pass.

use jiff::{SignedDuration, Timestamp};

use crate::ledger::{Action, Lately, OwnWrite, REPLICA_LAG};
use crate::tag::{TagName, Value};

/// So many restorations of one name within [`FLAP_WINDOW`] are a quarrel.
const FLAPS: usize = 3;
const FLAP_WINDOW: SignedDuration = SignedDuration::from_hours(1);
/// How long a name over which there is a quarrel is left alone.
const FLAP_HOLD: SignedDuration = SignedDuration::from_hours(24);

/// The moment of a pass, and what is remembered with its time.
#[derive(Clone, Copy, Debug)]
pub struct Timing<'a> {
    /// Now.
    pub now: Timestamp,
    /// How long a name must stay absent before it is deleted; `None` where a deletion waits for nothing.
    pub grace: Option<SignedDuration>,
    /// What happened lately.
    pub lately: &'a Lately,
}

/// Why a name waits until a known time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delay {
    /// A replica may still show what was there before our own last write.
    Replica,
    /// It has not been absent from the source for long enough.
    Grace,
}

impl Timing<'_> {
    /// Until when the remote may still show what our own last write replaced, if that is what it shows.
    pub(super) fn unseen_until(&self, tag: &TagName, shown: Option<&Value>) -> Option<Timestamp> {
        let write = self.lately.writes.get(tag).filter(|write| self.is_credible(write.time))?;
        let until = end(write.time, REPLICA_LAG);
        (self.now < until && is_from_before(write, shown)).then_some(until)
    }

    /// Until when a deletion waits for the name to come back.
    pub(super) fn grace_until(&self, tag: &TagName) -> Option<Timestamp> {
        let grace = self.grace?;
        // A time that is still to come was told by a clock that was wrong: the grace begins now.
        let since = self.lately.absences.get(tag).map_or(self.now, |since| (*since).min(self.now));
        let until = end(since, grace);
        (self.now < until).then_some(until)
    }

    /// Until when a name is left alone, because somebody keeps changing it on the remote.
    pub(super) fn quarrel_until(&self, tag: &TagName) -> Option<Timestamp> {
        let restored = self.lately.restored.get(tag)?.iter().copied();
        let restored: Vec<Timestamp> = restored.filter(|time| self.is_credible(*time)).collect();
        let quarrel = restored.windows(FLAPS).rfind(|few| few[FLAPS - 1].duration_since(few[0]) <= FLAP_WINDOW)?;
        let until = end(*quarrel.last()?, FLAP_HOLD);
        (self.now < until).then_some(until)
    }

    /// Whether something can have happened then: in the near future, it is what this very pass settled; in the far one, a
    /// clock was wrong.
    fn is_credible(&self, time: Timestamp) -> bool {
        time < end(self.now, REPLICA_LAG)
    }
}

/// Whether this is what was there before the write, or in the gap of a move that is a deletion and a creation.
fn is_from_before(write: &OwnWrite, shown: Option<&Value>) -> bool {
    let same = |one: Option<&Value>, other: Option<&Value>| match (one, other) {
        (Some(one), Some(other)) => one.target == other.target,
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    };
    let is_gap = write.action == Action::Move && shown.is_none();
    !same(write.new.as_ref(), shown) && (is_gap || same(write.old.as_ref(), shown))
}

fn end(since: Timestamp, duration: SignedDuration) -> Timestamp {
    since.checked_add(duration).unwrap_or(Timestamp::MAX)
}
