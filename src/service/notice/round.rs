//! When everything has been looked at once more, and nothing failed. Pure.

use std::collections::BTreeSet;

use crate::ledger::Pair;

/// Which pairs are still missing for a heartbeat.
///
/// What is held does not stop it: that waits for a person, who was told, while the alarm of a heartbeat is for a daemon
/// that does not do its work.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Round {
    configured: BTreeSet<Pair>,
    /// Those that ended no pass since the last heartbeat.
    missing: BTreeSet<Pair>,
    /// Those whose latest pass failed.
    failing: BTreeSet<Pair>,
}

impl Round {
    /// These pairs count from now on; those that were not there before are missing.
    pub(super) fn configure(&mut self, pairs: BTreeSet<Pair>) {
        self.missing.extend(pairs.difference(&self.configured).cloned());
        self.missing.retain(|pair| pairs.contains(pair));
        self.failing.retain(|pair| pairs.contains(pair));
        self.configured = pairs;
    }

    /// A pass over a pair ended. Gives whether the round is complete with it; then the next one begins.
    pub(super) fn ended(&mut self, pair: &Pair, failed: bool) -> bool {
        if !self.configured.contains(pair) {
            return false;
        }
        self.missing.remove(pair);
        if failed {
            self.failing.insert(pair.clone());
        } else {
            self.failing.remove(pair);
        }
        let complete = self.missing.is_empty() && self.failing.is_empty();
        if complete {
            self.missing.clone_from(&self.configured);
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
        round.configure(names.iter().map(|name| pair(name)).collect());
        round
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
        round.configure([pair("a"), pair("c")].into());
        assert!(round.ended(&pair("c"), false), "b failed and is gone, a was there");
        assert!(!super::Round::default().ended(&pair("a"), false));
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
