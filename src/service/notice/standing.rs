//! How every pair stands, what people were told of it, and therefore what is to be told. Pure.
//!
//! A job whose repositories cannot be found stands here beside them, as a pair without names: see [`whole`].

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::config::RepositoriesFault;
use crate::ledger::{Matter, Notice, Pair};
use crate::report::{RemoteReport, State};
use crate::text::excerpt;

/// How many held names and plans of a pair are told.
const NAMED: usize = 5;

/// How long a text of somebody else's may be in a message, in bytes.
const WORDS: usize = 500;

/// How a pair stands, as far as people are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    /// What is wrong; `None` where both sides agree, or will by themselves.
    pub(super) matter: Option<Matter>,
    /// Since when there is something wrong; for a pair where there is nothing, the latest pass.
    since: Timestamp,
    /// When the latest pass ended.
    seen: Timestamp,
    /// What is known about what is wrong.
    pub(super) detail: Detail,
}

/// What is wrong with a pair, in texts that may be shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Detail {
    pub(super) error: Option<String>,
    pub(super) hint: Option<String>,
    pub(super) held: u64,
    pub(super) failed: u64,
    /// Names with reasons, the first few.
    pub(super) names: Vec<(String, String)>,
    /// Plans that wait for a decision with the number of their changes, the first few.
    pub(super) plans: Vec<(String, u32)>,
}

fn shown(text: &str) -> String {
    excerpt(text.as_bytes(), WORDS)
}

impl Standing {
    /// What a pass says that ended at `now`.
    pub(super) fn of(report: &RemoteReport, now: Timestamp) -> Self {
        let matter = match report.state {
            State::InSync | State::Changed | State::Pending | State::Waiting => None,
            State::Held => Some(Matter::Held),
            State::Failed | State::Unknown => Some(Matter::Failed),
        };
        let detail = if matter.is_none() {
            Detail::default()
        } else {
            let names = report.unsettled(now).into_iter().filter(|name| name.matter != Matter::Waiting);
            let plans = report.plans.iter().filter(|stopped| !stopped.dismissed);
            Detail {
                error: report.error.as_deref().map(shown),
                hint: report.hint.as_deref().map(shown),
                held: report.counts.held,
                failed: report.counts.failed,
                names: names.take(NAMED).map(|name| (shown(&name.tag.to_string()), shown(&name.reason))).collect(),
                plans: plans.take(NAMED).map(|stopped| (stopped.plan.clone(), stopped.count)).collect(),
            }
        };
        Self { matter, since: now, seen: now, detail }
    }
}

/// What stands for all of a job where it is about its repositories. No pair is mistaken for it: names are never empty.
pub(super) fn whole(job: &str) -> Pair {
    Pair { job: job.to_owned(), repository: String::new(), remote: String::new() }
}

/// Whether this stands for all of a job.
pub(super) fn is_whole(pair: &Pair) -> bool {
    pair.repository.is_empty()
}

/// Something that is to be told of a pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) pair: Pair,
    /// What people were told last.
    pub(super) from: Option<Matter>,
    pub(super) to: Option<Matter>,
    /// Since when something is wrong, or was.
    pub(super) since: Timestamp,
    /// When that was seen.
    pub(super) seen: Timestamp,
    pub(super) detail: Detail,
}

/// All jobs with their pairs.
#[derive(Debug)]
pub(super) struct Standings {
    /// How long something is wrong before it is told again.
    repeat: Option<Duration>,
    /// The jobs of the configuration, each with the pairs that were found last; `None` before they were.
    jobs: BTreeMap<String, Option<BTreeSet<Pair>>>,
    pairs: BTreeMap<Pair, Standing>,
    /// What was told last, of pairs with which something was wrong then.
    told: BTreeMap<Pair, Notice>,
}

impl Standings {
    pub(super) fn new(repeat: Option<Duration>, told: BTreeMap<Pair, Notice>) -> Self {
        Self { repeat, jobs: BTreeMap::new(), pairs: BTreeMap::new(), told }
    }

    /// There are these jobs from now on. Gives the pairs of which something had been told, and of which there is nothing
    /// more to say.
    pub(super) fn configure(&mut self, jobs: BTreeSet<String>) -> Vec<Pair> {
        let mut former = std::mem::take(&mut self.jobs);
        let known = jobs.into_iter().map(|job| {
            let pairs = former.remove(&job).flatten();
            (job, pairs)
        });
        self.jobs = known.collect();
        self.forget()
    }

    /// These are the pairs of a job; or its repositories could not be found, from which nothing follows for its pairs.
    /// Gives what [`configure`](Self::configure) gives.
    pub(super) fn found(
        &mut self,
        job: &str,
        found: Result<BTreeSet<Pair>, RepositoriesFault>,
        now: Timestamp,
    ) -> Vec<Pair> {
        let Some(pairs) = self.jobs.get_mut(job) else { return Vec::new() };
        let standing = match found {
            Ok(found) => {
                *pairs = Some(found);
                Standing { matter: None, since: now, seen: now, detail: Detail::default() }
            }
            Err(RepositoriesFault { message, hint }) => {
                let (error, hint) = (Some(shown(&message)), hint.as_deref().map(shown));
                Standing {
                    matter: Some(Matter::Failed),
                    since: now,
                    seen: now,
                    detail: Detail { error, hint, ..Detail::default() },
                }
            }
        };
        self.ended(&whole(job), standing);
        self.forget()
    }

    /// Whether a pair is certain not to be there any more. While its job was not found yet, nobody can know.
    fn is_gone(&self, pair: &Pair) -> bool {
        match self.jobs.get(&pair.job) {
            None => true,
            Some(None) => false,
            Some(Some(pairs)) => !is_whole(pair) && !pairs.contains(pair),
        }
    }

    fn forget(&mut self) -> Vec<Pair> {
        let gone: Vec<_> =
            self.pairs.keys().chain(self.told.keys()).filter(|pair| self.is_gone(pair)).cloned().collect();
        gone.iter().for_each(|pair| {
            self.pairs.remove(pair);
        });
        gone.into_iter().filter(|pair| self.told.remove(pair).is_some()).collect()
    }

    /// A pass over a pair ended.
    pub(super) fn ended(&mut self, pair: &Pair, mut standing: Standing) {
        if self.is_gone(pair) {
            return;
        }
        if standing.matter.is_some() {
            let former = self.pairs.get(pair).filter(|former| former.matter.is_some()).map(|former| former.since);
            let told = || self.told.get(pair).map(|notice| notice.since);
            standing.since = former.or_else(told).unwrap_or(standing.since);
        }
        self.pairs.insert(pair.clone(), standing);
    }

    /// What differs from what was told last, and what was told too long ago, in the order of the pairs.
    pub(super) fn untold(&self) -> Vec<Change> {
        let untold = self.pairs.iter().filter_map(|(pair, standing)| {
            let told = self.told.get(pair);
            let from = told.map(|notice| notice.matter);
            if from == standing.matter {
                let again = SignedDuration::try_from(self.repeat?).ok()?;
                if standing.seen.duration_since(told?.told) < again {
                    return None;
                }
            }
            let since = if standing.matter.is_some() { standing.since } else { told?.since };
            let (seen, detail) = (standing.seen, standing.detail.clone());
            Some(Change { pair: pair.clone(), from, to: standing.matter, since, seen, detail })
        });
        untold.collect()
    }

    /// These were told. Gives what is to be remembered of each pair.
    pub(super) fn tell(&mut self, changes: &[Change]) -> Vec<(Pair, Option<Notice>)> {
        let remembered = changes.iter().filter(|change| !self.is_gone(&change.pair)).map(|change| {
            let notice = change.to.map(|matter| Notice { matter, since: change.since, told: change.seen });
            (change.pair.clone(), notice)
        });
        let remembered: Vec<_> = remembered.collect();
        for (pair, notice) in &remembered {
            match notice {
                Some(notice) => self.told.insert(pair.clone(), notice.clone()),
                None => self.told.remove(pair),
            };
        }
        remembered
    }

    /// How many pairs of those that ended a pass stand well, are held, and fail.
    pub(super) fn totals(&self) -> [u64; 3] {
        let pairs = || self.pairs.iter().filter(|(pair, _)| !is_whole(pair));
        let count = |matter: Option<Matter>| pairs().filter(|(_, standing)| standing.matter == matter).count() as u64;
        [count(None), count(Some(Matter::Held)), count(Some(Matter::Failed))]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pair(repository: &str) -> Pair {
        Pair { job: "j".into(), repository: repository.into(), remote: "r".into() }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn standing(state: State, second: i64) -> Standing {
        Standing::of(&RemoteReport { state, ..RemoteReport::new("r") }, at(second))
    }

    fn standings(repeat: u64) -> Standings {
        let mut standings = Standings::new(Some(Duration::from_secs(repeat)), BTreeMap::new());
        known(&mut standings, &["a"]);
        standings
    }

    /// The job is there, with these repositories.
    fn known(standings: &mut Standings, repositories: &[&str]) {
        assert_eq!(standings.configure(["j".to_owned()].into()), []);
        assert_eq!(standings.found("j", Ok(repositories.iter().map(|name| pair(name)).collect()), at(0)), []);
    }

    fn lost() -> Result<BTreeSet<Pair>, RepositoriesFault> {
        Err(RepositoriesFault { message: "no such directory".into(), hint: None })
    }

    /// Before, after, and since when.
    type Telling = (Option<Matter>, Option<Matter>, i64);

    /// What is told of one pair after each of these.
    fn told(standings: &mut Standings, states: &[(State, i64)]) -> Vec<Option<Telling>> {
        let mut said = Vec::new();
        for &(state, second) in states {
            standings.ended(&pair("a"), standing(state, second));
            let changes = standings.untold();
            standings.tell(&changes);
            assert_eq!(standings.untold(), []);
            said.push(changes.first().map(|change| (change.from, change.to, change.since.as_second())));
        }
        said
    }

    const HELD: Option<Matter> = Some(Matter::Held);
    const FAILED: Option<Matter> = Some(Matter::Failed);

    #[test]
    fn only_changes_are_told_and_what_lasts_is_told_again() {
        use State::{Changed, Failed, Held, InSync, Unknown, Waiting};
        let passes = [(InSync, 0), (Waiting, 1), (Held, 2), (Held, 3), (Unknown, 4), (Failed, 5), (Changed, 9)];
        let expected = [
            None,
            None,
            Some((None, HELD, 2)),
            None,
            Some((HELD, FAILED, 2)),
            None,
            // It went wrong at 2, whatever it was in between.
            Some((FAILED, None, 2)),
        ];
        assert_eq!(told(&mut standings(1000), &passes), expected);
        let lasting = [(Held, 0), (Held, 99), (Held, 100), (Held, 150), (Held, 200), (InSync, 201), (InSync, 400)];
        let again = Some((HELD, HELD, 0));
        let expected = [Some((None, HELD, 0)), None, again, None, again, Some((HELD, None, 0)), None];
        assert_eq!(told(&mut standings(100), &lasting), expected);
    }

    #[test]
    fn a_restart_tells_nothing_again() {
        let mut before = standings(1000);
        told(&mut before, &[(State::Held, 5)]);
        let mut after = Standings::new(before.repeat, before.told.clone());
        known(&mut after, &["a"]);
        assert_eq!(after.untold(), [], "nothing is known of now");
        assert_eq!(told(&mut after, &[(State::Held, 10), (State::InSync, 11)]), [None, Some((HELD, None, 5))]);
        // A pair that left the configuration is nobody's business any more.
        assert_eq!(before.configure(BTreeSet::new()), [pair("a")]);
        before.ended(&pair("a"), standing(State::Unknown, 12));
        assert_eq!((before.untold(), before.totals()), (vec![], [0; 3]));
    }

    #[test]
    fn what_is_not_found_yet_is_not_forgotten() {
        let mut before = standings(1000);
        told(&mut before, &[(State::Held, 5)]);
        let mut after = Standings::new(before.repeat, before.told.clone());
        assert_eq!(after.configure(["i".to_owned(), "j".to_owned()].into()), []);
        assert_eq!(after.found("i", Ok(BTreeSet::new()), at(6)), []);
        assert_eq!(after.found("j", lost(), at(7)), []);
        assert_eq!(after.configure(["j".to_owned()].into()), []);
        assert_eq!(after.found("j", Ok([pair("a"), pair("b")].into()), at(8)), []);
        assert_eq!(told(&mut after, &[(State::Held, 10), (State::InSync, 11)]), [None, Some((HELD, None, 5))]);
        // Only what was found without it takes it away.
        told(&mut after, &[(State::Held, 12)]);
        assert_eq!(after.found("j", Ok([pair("b")].into()), at(13)), [pair("a")]);
    }

    #[test]
    fn a_job_that_is_lost_is_told_once_and_when_it_is_found_again() {
        let mut standings = standings(1000);
        let mut look = |found, second| {
            standings.found("j", found, at(second));
            let changes = standings.untold();
            standings.tell(&changes);
            let told = |change: &Change| {
                (change.pair.clone(), change.to, change.since.as_second(), change.detail.error.clone())
            };
            changes.iter().map(told).collect::<Vec<_>>()
        };
        assert_eq!(look(lost(), 5), [(whole("j"), FAILED, 5, Some("no such directory".to_owned()))]);
        assert_eq!(look(lost(), 6), []);
        assert_eq!(look(Ok([pair("a")].into()), 7), [(whole("j"), None, 5, None)]);
        assert_eq!(look(Ok([pair("a")].into()), 8), []);
        assert_eq!(standings.totals(), [0; 3], "a job is no pair");
    }

    #[test]
    fn what_came_and_went_before_it_was_told_is_not_told() {
        let mut standings = standings(1000);
        for (state, second) in [(State::InSync, 0), (State::Failed, 1), (State::InSync, 2)] {
            standings.ended(&pair("a"), standing(state, second));
        }
        assert_eq!(standings.untold(), []);
    }

    proptest! {
        #[test]
        fn after_telling_there_is_nothing_to_tell(passes in prop::collection::vec((0..4_usize, 0..5_usize, any::<bool>()), 0..60)) {
            let mut standings = Standings::new(None, BTreeMap::new());
            let names = ["a", "b", "c", "d"];
            known(&mut standings, &names);
            let mut remembered = BTreeMap::new();
            for (second, (name, state, tells)) in passes.into_iter().enumerate() {
                let state = [State::InSync, State::Held, State::Failed, State::Unknown, State::Waiting][state];
                standings.ended(&pair(names[name]), standing(state, second as i64));
                let changes = standings.untold();
                prop_assert!(changes.iter().all(|change| change.from != change.to));
                if tells {
                    for (pair, notice) in standings.tell(&changes) {
                        remembered.insert(pair, notice);
                    }
                    prop_assert_eq!(standings.untold(), vec![]);
                }
            }
            // What is written down is what a restart has to know.
            let kept: BTreeMap<_, _> = remembered.into_iter().filter_map(|(pair, notice)| Some((pair, notice?))).collect();
            prop_assert_eq!(kept, standings.told);
        }
    }
}
