//! When everything has been looked at once more, and nothing failed. Pure.

use std::collections::BTreeSet;

use crate::ledger::Pair;

/// Which pairs are still missing for a heartbeat.
///
/// What is held does not stop it: that waits for a person, who was told, while the alarm of a heartbeat is for a daemon
/// that does not do its work.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Round {
    jobs: BTreeSet<String>,
    /// Jobs whose repositories were not found yet, or could not be found at the latest look.
    unfound: BTreeSet<String>,
    pairs: BTreeSet<Pair>,
    /// Those that ended no pass since the last heartbeat.
    missing: BTreeSet<Pair>,
    /// Those whose latest pass failed.
    failing: BTreeSet<Pair>,
}

impl Round {
    /// There are these jobs from now on; the repositories of those that were not there before are to be found.
    pub(super) fn configure(&mut self, jobs: BTreeSet<String>) {
        self.unfound.extend(jobs.difference(&self.jobs).cloned());
        self.unfound.retain(|job| jobs.contains(job));
        self.retain(|pair| jobs.contains(&pair.job));
        self.jobs = jobs;
    }

    /// These are the pairs of a job from now on, and those that were not there before are missing; `None` where that could
    /// not be told.
    pub(super) fn found(&mut self, job: &str, pairs: Option<BTreeSet<Pair>>) {
        if !self.jobs.contains(job) {
            return;
        }
        let Some(pairs) = pairs else {
            self.unfound.insert(job.to_owned());
            return;
        };
        self.unfound.remove(job);
        self.retain(|pair| pair.job != job || pairs.contains(pair));
        self.missing.extend(pairs.difference(&self.pairs).cloned());
        self.pairs.extend(pairs);
    }

    fn retain(&mut self, stays: impl Fn(&Pair) -> bool) {
        for pairs in [&mut self.pairs, &mut self.missing, &mut self.failing] {
            pairs.retain(&stays);
        }
    }

    /// A pass over a pair ended. Gives whether the round is complete with it; then the next one begins.
    pub(super) fn ended(&mut self, pair: &Pair, failed: bool) -> bool {
        if !self.pairs.contains(pair) {
            return false;
        }
        self.missing.remove(pair);
        if failed {
            self.failing.insert(pair.clone());
        } else {
            self.failing.remove(pair);
        }
        let complete = self.missing.is_empty() && self.failing.is_empty() && self.unfound.is_empty();
        if complete {
            self.missing.clone_from(&self.pairs);
        }
        complete
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn pair(name: &str) -> Pair {
        Pair { job: "j".into(), repository: name.into(), remote: "r".into() }
    }

    fn round(names: &[&str]) -> Round {
        let mut round = Round::default();
        round.configure(["j".to_owned()].into());
        round.found("j", Some(pairs(names)));
        round
    }

    fn pairs(names: &[&str]) -> BTreeSet<Pair> {
        names.iter().map(|name| pair(name)).collect()
    }

    #[test]
    fn a_round_is_everybody_once_and_nobody_failing() {
        let mut round = round(&["a", "b"]);
        let mut ended = |name: &str, failed: bool| round.ended(&pair(name), failed);
        assert!(!ended("a", false) && !ended("a", false) && ended("b", false));
        // One that fails stops it, however often the others succeed, until it is mended.
        assert!(!ended("a", true) && !ended("b", false) && !ended("b", false) && ended("a", false));
        assert!(!ended("b", false) && !ended("stranger", false) && ended("a", false));
    }

    #[test]
    fn a_new_configuration_asks_for_what_is_new_in_it() {
        let mut round = round(&["a", "b"]);
        round.ended(&pair("a"), false);
        round.ended(&pair("b"), true);
        round.found("j", Some(pairs(&["a", "c"])));
        assert!(round.ended(&pair("c"), false), "b failed and is gone, a was there");
        assert!(!super::Round::default().ended(&pair("a"), false));
    }

    #[test]
    fn a_job_that_is_not_found_stops_it() {
        let mut round = round(&["a"]);
        assert!(round.ended(&pair("a"), false));
        round.configure(["i".to_owned(), "j".to_owned()].into());
        assert!(!round.ended(&pair("a"), false), "nobody knows yet what there is in the other job");
        round.found("i", None);
        assert!(!round.ended(&pair("a"), false), "it could not be found");
        round.found("i", Some(BTreeSet::new()));
        assert!(round.ended(&pair("a"), false));
        round.found("j", None);
        assert!(!round.ended(&pair("a"), false), "it was there once, and cannot be found now");
        round.configure(["i".to_owned()].into());
        round.configure(["i".to_owned(), "j".to_owned()].into());
        round.found("j", Some(pairs(&["a"])));
        assert!(round.ended(&pair("a"), false));
    }

    proptest! {
        #[test]
        fn it_is_as_it_is_defined(ends in prop::collection::vec((0..3_usize, any::<bool>()), 0..80)) {
            let names = ["a", "b", "c"];
            let mut round = round(&names);
            let (mut since, mut latest) = (BTreeSet::new(), BTreeMap::new());
            for (name, failed) in ends {
                since.insert(name);
                latest.insert(name, failed);
                let expected = since.len() == names.len() && latest.values().all(|failed| !failed);
                prop_assert_eq!(round.ended(&pair(names[name]), failed), expected);
                if expected {
                    since.clear();
                }
            }
        }
    }
}
