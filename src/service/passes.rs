//! The passes under way, and whether each of them still moves.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::agenda::StartNumber;
use crate::ledger::Pair;
use crate::sync::{Run, Step};

/// After so long without a request and without the end of a change, a pass is stuck, or waits for the pace of a remote with a very
/// low `rate`.
const STUCK: Duration = Duration::from_secs(60 * 60);

/// The passes under way.
#[derive(Default)]
pub(super) struct Passes(BTreeMap<StartNumber, Pass>);

struct Pass {
    run: Arc<Run>,
    /// What was being done at the latest look.
    steps: Vec<(Pair, Step)>,
    /// When that was something else for the last time.
    moved: Instant,
}

impl Passes {
    pub(super) fn begin(&mut self, start: StartNumber, run: Arc<Run>) {
        self.0.insert(start, Pass { run, steps: Vec::new(), moved: Instant::now() });
    }

    pub(super) fn over(&mut self, start: StartNumber) {
        self.0.remove(&start);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Names in the log the passes that have made no step for very long; gives how many. Such a pass, on a disk that does not answer,
    /// keeps its own pairs waiting and no others, so it is no reason to end all of them.
    pub(super) fn name_the_stuck(&mut self, now: Instant) -> usize {
        let mut stuck = 0;
        for Pass { run, steps, moved } in self.0.values_mut() {
            let under_way = run.progress.under_way();
            let current: Vec<_> = under_way.iter().map(|pair| (pair.pair.clone(), pair.step())).collect();
            if current != *steps {
                (*steps, *moved) = (current, now);
            }
            if now.duration_since(*moved) >= STUCK {
                let pairs: Vec<String> = steps.iter().map(|(pair, _)| pair.to_string()).collect();
                tracing::error!(run = %run.id, pairs = pairs.join(", "), "A pass has made no step for an hour.");
                stuck += 1;
            }
        }
        stuck
    }
}

#[cfg(test)]
mod tests {
    use tokio_util::sync::CancellationToken;
    use uuid::Uuid;

    use super::*;
    use crate::sync::{Grace, Mode, Progress, Purpose};

    #[test]
    fn a_pass_that_makes_no_step_for_an_hour_is_stuck() {
        let run = Arc::new(Run {
            id: Uuid::now_v7(),
            purpose: Purpose::Agree,
            pairs: None,
            mode: Mode::Plan(None),
            pool: Arc::default(),
            released: Vec::new(),
            verbose: false,
            stop: CancellationToken::new(),
            progress: Progress::default(),
            ended: None,
            grace: Grace::Keep,
        });
        let mut passes = Passes::default();
        let start = StartNumber::default();
        passes.begin(start, run);
        let later = |minutes: u64| Instant::now() + Duration::from_secs(60 * minutes);
        assert_eq!(passes.name_the_stuck(later(59)), 0);
        assert_eq!(passes.name_the_stuck(later(61)), 1);
        passes.over(start);
        assert_eq!(passes.name_the_stuck(later(61)), 0);
    }
}
