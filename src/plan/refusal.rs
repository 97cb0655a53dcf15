//! Which remembered refusals still stand: no change is offered with every pass to a remote that has refused it.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::{RemoteRules, Resolved, Sides, resolve};
use crate::ledger::{Refusal, RefusalKind};
use crate::tag::{TagName, Target};

/// What a rule refused is offered again after as long as it has been refused already, but never before this long.
const SOONEST: SignedDuration = SignedDuration::from_mins(5);
/// And never later than this.
const LATEST: SignedDuration = SignedDuration::from_hours(24);

type Refusals = BTreeMap<TagName, Refusal>;

/// The targets that a remote did not have and that the source still asks for: at most `most`, so that a pass stays cheap.
/// With more than that, another `turn` gives another part, and every part has its turn.
pub fn missing_targets(sides: Sides<'_>, remote_rules: RemoteRules<'_>, most: usize, turn: usize) -> Vec<Target> {
    let asked_for = |tag: &TagName, refusal: &Refusal| {
        let Some(Ok(now)) = sides.source.get(tag) else { return false };
        let wanted = resolve(tag, now, remote_rules, &sides);
        matches!(wanted, Resolved::Value(value) if value.target == refusal.value.target)
    };
    let mut missing: Vec<Target> = sides
        .refusals
        .iter()
        .filter(|(tag, refusal)| refusal.kind == RefusalKind::TargetMissing && asked_for(tag, refusal))
        .map(|(_, refusal)| refusal.value.target.clone())
        .collect();
    missing.sort_unstable();
    missing.dedup();
    let parts = missing.len().div_ceil(most.max(1)).max(1);
    missing.chunks(most.max(1)).nth(turn % parts).unwrap_or_default().to_vec()
}

/// The refusals that still stand at this time, now that these targets have arrived.
pub fn standing(refusals: &Refusals, arrived: &[Target], now: Timestamp) -> Refusals {
    let stands = |refusal: &Refusal| match refusal.kind {
        RefusalKind::TargetMissing => !arrived.contains(&refusal.value.target),
        RefusalKind::Policy => {
            let refused_for = refusal.last.duration_since(refusal.first);
            now.duration_since(refusal.last) < refused_for.clamp(SOONEST, LATEST)
        }
    };
    let standing = refusals.iter().filter(|(_, refusal)| stands(refusal));
    standing.map(|(tag, refusal)| (tag.clone(), refusal.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tag::Value;

    fn target(number: u8) -> Target {
        Target::Commit(format!("{number:040x}").parse().unwrap())
    }

    fn refusal(kind: RefusalKind, number: u8, first: i64, last: i64) -> Refusal {
        let at = |minute: i64| Timestamp::from_second(minute * 60).unwrap();
        Refusal { value: Value::of(target(number)), kind, detail: String::new(), first: at(first), last: at(last) }
    }

    fn name(number: u8) -> TagName {
        TagName::new(format!("v{number}")).unwrap()
    }

    #[test]
    fn a_rule_is_tried_again_after_as_long_as_it_has_refused() {
        for (first, last, now, stands) in [
            (0, 0, 4, true),
            (0, 0, 5, false),
            (0, 60, 119, true),
            (0, 60, 120, false),
            (0, 10_000, 10_000 + 1_439, true),
            (0, 10_000, 10_000 + 1_440, false),
        ] {
            let refusals = BTreeMap::from([(name(1), refusal(RefusalKind::Policy, 1, first, last))]);
            let now = Timestamp::from_second(now * 60).unwrap();
            assert_eq!(!standing(&refusals, &[], now).is_empty(), stands, "{first} {last} {now}");
        }
    }
}
