//! What is remembered for each credential, without those that nobody has any more.

use std::sync::{Arc, Mutex, PoisonError};

use super::auth::Fingerprint;

/// So many that nobody holds are kept: a pass ends before the next one begins.
const SPARE: usize = 4;

/// What is remembered for each credential: all that are in use, and the latest few. A password that is another one each time
/// leaves no trace for long.
#[derive(Debug)]
pub(super) struct Latest<T>(Mutex<Vec<(Option<Fingerprint>, Arc<T>)>>);

impl<T> Default for Latest<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Default> Latest<T> {
    /// What is remembered for this one; nothing, if it is new or has been forgotten.
    pub(super) fn of(&self, credential: Option<Fingerprint>) -> Arc<T> {
        // Nothing panics while it is held.
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = all.iter().position(|(of, _)| *of == credential).map(|at| all.remove(at).1);
        let wanted = known.unwrap_or_default();
        let is_spare = |kept: &Arc<T>| Arc::strong_count(kept) == 1;
        let mut excess = all.iter().filter(|(_, kept)| is_spare(kept)).count().saturating_sub(SPARE);
        // The oldest stand in front.
        all.retain(|(_, kept)| {
            let goes = excess > 0 && is_spare(kept);
            excess -= usize::from(goes);
            !goes
        });
        all.push((credential, Arc::clone(&wanted)));
        wanted
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn those_in_use_and_the_latest_few_are_kept() {
        let latest = Latest::<AtomicU32>::default();
        let of = |number: u32| latest.of(Fingerprint::of([number.to_be_bytes().as_slice()].into_iter()));
        let (used, anybody) = (of(0), latest.of(None));
        used.store(7, Ordering::Relaxed);
        anybody.store(8, Ordering::Relaxed);
        for number in 1..=1_000 {
            of(number).store(number, Ordering::Relaxed);
            assert!(latest.0.lock().unwrap().len() <= 2 + SPARE + 1);
        }
        for number in 997..=1_000 {
            assert_eq!(of(number).load(Ordering::Relaxed), number);
        }
        assert_eq!((of(0).load(Ordering::Relaxed), latest.of(None).load(Ordering::Relaxed)), (7, 8));
        assert_eq!(of(1).load(Ordering::Relaxed), 0, "it was forgotten");
    }
}
