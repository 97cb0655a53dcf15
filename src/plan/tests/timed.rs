//! What time alone settles: replicas that lag, the grace of deletions, quarrels.

use jiff::SignedDuration;

use super::*;
use crate::ledger::OwnWrite;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + second).unwrap()
}

/// The plan at a moment, with a grace of 100 seconds.
fn plan_at(second: i64, lately: &Lately, near: &Side, known: &Side, there: &Side, policy: Policy) -> Plan {
    let (source, known, remote) = (source(near), records(known), remote(&far(there)));
    let timing = Timing { now: at(second), grace: Some(SignedDuration::from_secs(100)), lately };
    draw(Sides { timing, ..sides_of(&source, &known, &remote) }, &rules(policy), on_refs())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the source has by now: what was there before our own write leads to nothing, and later to what it always did.
    #[test]
    fn a_value_from_before_our_own_write_leads_to_nothing_for_a_minute(
        near in side(true), known in side(false), there in side(true), policy in policy(),
    ) {
        let tag = name(NAMES[0]);
        let new = known.get(NAMES[0]).map(|number| value(*number));
        let old = there.get(NAMES[0]).map(|number| value(*number));
        prop_assume!(new != old);
        let write = OwnWrite { action: Action::Create, old, new, time: at(0) };
        let lately = Lately { writes: BTreeMap::from([(tag.clone(), write)]), ..Lately::default() };
        let plan = plan_at(59, &lately, &near, &known, &there, policy);
        prop_assert!(plan.changes.iter().all(|change| change.tag != tag));
        prop_assert!(plan.notes.iter().all(|note| note.tag != tag));
        let nowhere = [&near, &known, &there].iter().all(|side| !side.contains_key(NAMES[0]));
        let waits = plan.waiting.iter().any(|waiting| waiting.tag == tag && waiting.until == Some((Delay::Replica, at(60))));
        prop_assert!(waits || nowhere || plan.held.iter().any(|held| held.tag == tag), "{:?}", plan);
        prop_assert_eq!(
            format!("{:?}", plan_at(60, &lately, &near, &known, &there, policy)),
            format!("{:?}", plan_at(60, &NOTHING_LATELY, &near, &known, &there, policy))
        );
    }

    /// A deletion comes no sooner than its grace is over, and nothing else is delayed by it.
    #[test]
    fn a_deletion_waits_for_its_grace_and_nothing_else_does(
        near in side(true), known in side(false), there in side(true), policy in policy(), since in 0_i64..200,
    ) {
        let lately = Lately { absences: NAMES.iter().map(|tag| (name(tag), at(-since))).collect(), ..Lately::default() };
        let patient = plan_at(0, &lately, &near, &known, &there, policy);
        let (source, known, remote) = (source(&near), records(&known), remote(&far(&there)));
        let hasty = draw(sides_of(&source, &known, &remote), &rules(policy), on_refs());
        let deletes = |plan: &Plan| plan.changes.iter().filter(|change| change.action == Action::Delete).count();
        let graced = patient.waiting.iter().filter(|waiting| matches!(waiting.until, Some((Delay::Grace, _)))).count();
        if since >= 100 {
            prop_assert_eq!(format!("{patient:?}"), format!("{hasty:?}"));
        } else {
            prop_assert_eq!(deletes(&patient), 0);
            prop_assert!(graced >= deletes(&hasty));
            prop_assert!(patient.waiting.iter().all(|waiting| waiting.until.is_none_or(|(_, until)| until == at(100 - since))));
        }
    }
}

#[test]
fn three_restorations_within_an_hour_hold_a_name_for_a_day() {
    let side = |number| Side::from([(NAMES[0], number)]);
    let (near, there) = (side(1), side(2));
    let day = 24 * 60 * 60;
    for (restored, now, holds) in [
        (&[0, 10][..], 20, false),
        (&[0, 10, 20], 30, true),
        (&[0, 1800, 3600], 3700, true),
        (&[0, 1800, 3601], 3700, false),
        (&[0, 10, 20], 20 + day - 1, true),
        (&[0, 10, 20], 20 + day, false),
        (&[0, 10, 20, 50_000], 50_001, true),
        // A clock that ran ahead.
        (&[day, day + 10, day + 20], 30, false),
    ] {
        let restored = restored.iter().map(|second| at(*second)).collect();
        let lately = Lately { restored: BTreeMap::from([(name(NAMES[0]), restored)]), ..Lately::default() };
        let plan = plan_at(now, &lately, &near, &near, &there, Policy::Mirror);
        let held: Vec<_> = plan.held.iter().map(|held| held.kind).collect();
        assert_eq!(held == [HoldKind::Flapping], holds, "{now} {plan:?}");
        assert_eq!(plan.changes.is_empty(), holds);
        // Where both agree there is nothing to hold.
        assert!(plan_at(now, &lately, &near, &near, &near, Policy::Mirror).held.is_empty());
    }
}

#[test]
fn a_create_waits_for_the_deletion_that_clears_its_way() {
    let (source, known, remote) =
        (source(&Side::from([("a/b", 1)])), records(&Side::from([("a", 1)])), remote(&far(&Side::from([("a", 1)]))));
    let timing = Timing { now: at(0), grace: Some(SignedDuration::from_secs(100)), lately: &NOTHING_LATELY };
    let plan = draw(Sides { timing, ..sides_of(&source, &known, &remote) }, &rules(Policy::Mirror), on_refs());
    let until = Some((Delay::Grace, at(100)));
    let waiting: Vec<_> = plan.waiting.iter().map(|waiting| (waiting.tag.clone(), waiting.until)).collect();
    assert_eq!(waiting, [(name("a"), until), (name("a/b"), until)], "{plan:?}");
    assert!(plan.held.is_empty() && plan.changes.is_empty());
}
