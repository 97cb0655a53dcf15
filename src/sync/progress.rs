//! How far a run has come. The pass notes it down in passing, and whoever wants to show it looks from time to time: nobody is
//! called, so it costs a pass next to nothing whether somebody looks or not.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use crate::http::Transport;
use crate::ledger::Pair;

/// How far a run has come.
#[derive(Debug, Default)]
pub struct Progress {
    pairs: AtomicUsize,
    ended: AtomicUsize,
    under_way: Mutex<Vec<Arc<UnderWay>>>,
}

/// A pair whose pass has begun and not ended.
#[derive(Debug)]
pub struct UnderWay {
    /// Which one.
    pub pair: Pair,
    transport: OnceLock<Transport>,
    changes: OnceLock<usize>,
    applied: Arc<AtomicUsize>,
}

/// What is being done for a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Its source is being read.
    Reading,
    /// Its remote is being looked at.
    Looking {
        /// Requests sent so far.
        requests: u64,
    },
    /// Changes are being made.
    Applying {
        /// Those that have ended, in whatever way.
        done: usize,
        /// All of them.
        of: usize,
    },
}

impl Progress {
    /// How many pairs the run has, and how many of them have ended.
    pub fn pairs(&self) -> (usize, usize) {
        (self.pairs.load(Ordering::Relaxed), self.ended.load(Ordering::Relaxed))
    }

    /// The pairs that are under way, in the order in which they began.
    pub fn under_way(&self) -> Vec<Arc<UnderWay>> {
        self.lock().clone()
    }

    pub(super) fn expect(&self, pairs: usize) {
        self.pairs.fetch_add(pairs, Ordering::Relaxed);
    }

    /// Begins a pair; it ends with what is returned.
    pub(super) fn begin(&self, pair: Pair) -> Begun<'_> {
        let (transport, changes, applied) = Default::default();
        let under_way = Arc::new(UnderWay { pair, transport, changes, applied });
        self.lock().push(Arc::clone(&under_way));
        Begun { progress: self, under_way }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<UnderWay>>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl UnderWay {
    /// What is being done right now.
    pub fn step(&self) -> Step {
        match (self.transport.get(), self.changes.get()) {
            (_, Some(&of)) => Step::Applying { done: self.applied.load(Ordering::Relaxed), of },
            (Some(transport), None) => Step::Looking { requests: transport.requests() },
            (None, None) => Step::Reading,
        }
    }
}

/// The pass's end of a pair that is under way.
pub(super) struct Begun<'a> {
    progress: &'a Progress,
    under_way: Arc<UnderWay>,
}

impl Begun<'_> {
    /// Which pair it is.
    pub(super) fn pair(&self) -> &Pair {
        &self.under_way.pair
    }

    /// The remote is looked at from now on.
    pub(super) fn looks(&self, transport: &Transport) {
        // A pair has one transport and one set of changes in a pass.
        let _once = self.under_way.transport.set(transport.clone());
    }

    /// So many changes are made from now on.
    pub(super) fn applies(&self, changes: usize) {
        if changes > 0 {
            let _once = self.under_way.changes.set(changes);
        }
    }

    /// Counts the changes that have ended.
    pub(super) fn applied(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.under_way.applied)
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        self.progress.lock().retain(|other| !Arc::ptr_eq(other, &self.under_way));
        self.progress.ended.fetch_add(1, Ordering::Relaxed);
    }
}
