//! Undoing: what a run changed is put back, and what a person put back stays.

use super::*;
use crate::ledger::{HistoryEntry, Outcome, Pair};

fn entry(tag_name: &str, action: Action, old: Option<u8>, new: Option<u8>, outcome: Outcome) -> HistoryEntry {
    HistoryEntry {
        time: jiff::Timestamp::UNIX_EPOCH,
        run: Uuid::nil(),
        pair: pair(),
        tag: name(tag_name),
        remote_name: name(tag_name),
        action,
        old: old.map(value),
        new: new.map(value),
        outcome,
        reason: String::new(),
        detail: None,
        old_message: None,
    }
}

/// Draws the reverse of these effects over sides of which the source plays no part.
fn reversed(effects: &[Effect], known: &BTreeMap<TagName, Record>, far: &BTreeMap<TagName, Value>) -> Plan {
    reversed_under(effects, known, far, &rules(Policy::Mirror))
}

fn reversed_under(
    effects: &[Effect],
    known: &BTreeMap<TagName, Record>,
    far: &BTreeMap<TagName, Value>,
    rules: &Rules,
) -> Plan {
    let (source, remote) = (source(&Side::new()), remote(far));
    let sides = sides_of(&source, known, &remote);
    let remote_rules = on_refs();
    super::reverse(effects, Some(jiff::Timestamp::UNIX_EPOCH), sides, rules, remote_rules)
}

/// What a plan's changes leave in the history.
fn history(plan: &Plan) -> Vec<HistoryEntry> {
    let told = |change: &PlannedChange| HistoryEntry {
        old: change.old.as_deref().cloned(),
        new: change.new.clone(),
        ..entry(&change.tag.to_string(), change.action, None, None, Outcome::Done)
    };
    plan.changes.iter().map(told).collect()
}

fn of_pair(effects: BTreeMap<Pair, Vec<Effect>>) -> Vec<Effect> {
    effects.into_values().next().unwrap_or_default()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn undoing_a_pass_at_once_gives_back_what_was_there(near in side(true), known in side(false), there in side(true)) {
        let (mut known, mut far) = (records(&known), far(&there));
        let before = far.clone();
        let plan = plan_of(&near, &known, &far, &rules(Policy::Mirror));
        carry_out(&plan, &mut far, &mut known).map_err(TestCaseError::fail)?;
        let undo = reversed(&of_pair(effects(&history(&plan))), &known, &far);
        prop_assert!(undo.held.is_empty(), "{:?}", undo.held);
        carry_out(&undo, &mut far, &mut known).map_err(TestCaseError::fail)?;
        prop_assert_eq!(&far, &before);
        // Twice is once.
        let again = reversed(&of_pair(effects(&history(&plan))), &known, &far);
        prop_assert!(again.changes.is_empty() && again.held.is_empty(), "{:?}", again);
    }

    #[test]
    fn what_was_put_back_stays_until_the_source_agrees(near in side(true), there in side(true)) {
        let (mut known, mut far) = (records(&there), far(&there));
        let plan = plan_of(&near, &known, &far, &rules(Policy::Mirror));
        carry_out(&plan, &mut far, &mut known).map_err(TestCaseError::fail)?;
        let undo = reversed(&of_pair(effects(&history(&plan))), &known, &far);
        carry_out(&undo, &mut far, &mut known).map_err(TestCaseError::fail)?;
        let pin = |change: &PlannedChange| Pin { value: change.new.clone(), undone: Uuid::nil(), since: jiff::Timestamp::UNIX_EPOCH };
        let pins: BTreeMap<TagName, Pin> = undo.changes.iter().map(|change| (change.tag.clone(), pin(change))).collect();
        let with_pins = |near: &Side| {
            let (source, remote) = (source(near), remote(&far));
            let sides = Sides { pins: &pins, ..sides_of(&source, &known, &remote) };
            let remote_rules = on_refs();
            draw(sides, &rules(Policy::Mirror), remote_rules)
        };
        let next = with_pins(&near);
        for change in &next.changes {
            prop_assert!(!pins.contains_key(&change.tag) || change.undone.is_some(), "{change:?}");
        }
        // A source that agrees with what was put back lets go of every pin.
        let agreed: Side = there.into_iter().collect();
        prop_assume!(!agreed.is_empty());
        let next = with_pins(&agreed);
        prop_assert!(next.changes.iter().all(|change| change.undone.is_none()), "{:?}", next.changes);
        let let_go: BTreeSet<&TagName> = next.unpinned.iter().chain(&next.overtaken).collect();
        prop_assert_eq!(let_go, pins.keys().collect::<BTreeSet<_>>());
    }
}

#[test]
fn the_effects_of_a_run_are_from_its_first_write_to_its_last() {
    let told = [
        entry("moved", Action::Move, Some(1), Some(2), Outcome::Done),
        entry("moved", Action::Move, Some(2), Some(3), Outcome::Done),
        entry("was-there", Action::Create, None, Some(1), Outcome::Already),
        entry("refused", Action::Create, None, Some(1), Outcome::Rejected),
        entry("put-back", Action::Move, Some(1), Some(2), Outcome::Restored),
        entry("gap", Action::Move, Some(1), Some(2), Outcome::Lost),
    ];
    let effects = of_pair(effects(&told));
    let shown: Vec<_> =
        effects.iter().map(|effect| (effect.tag.to_string(), effect.before.clone(), effect.after.clone())).collect();
    assert_eq!(shown, [("gap".to_owned(), Some(value(1)), None), ("moved".to_owned(), Some(value(1)), Some(value(3)))]);
}

#[test]
fn what_moved_on_is_protected_or_is_not_ours_is_held() {
    let created = |tag_name| entry(tag_name, Action::Create, None, Some(1), Outcome::Done);
    let told = [created("v1"), created("v2"), created("v3"), created("kept")];
    let effects = of_pair(effects(&told));
    let far = far(&Side::from([("v1", 1), ("v2", 2), ("v3", 1), ("kept", 1)]));
    let known = records(&Side::from([("v1", 1), ("v2", 1), ("kept", 1)]));
    let mut rules = rules(Policy::CreateOnly);
    rules.protected = NamePatterns::new(["kept"]).unwrap();
    let plan = reversed_under(&effects, &known, &far, &rules);
    let held: Vec<_> = plan.held.iter().map(|held| (held.tag.to_string(), held.kind.to_string())).collect();
    let expected = [("kept", "protected"), ("v2", "moved_on"), ("v3", "not_ours")];
    assert_eq!(held, expected.map(|(tag, word)| (tag.to_owned(), word.to_owned())));
    assert_eq!(plan.changes.iter().map(|change| change.tag.to_string()).collect::<Vec<_>>(), ["v1"]);
    assert!(plan.changes.iter().all(|change| change.cause == Cause::Undo && change.action == Action::Delete));
}

#[test]
fn a_listing_or_a_source_that_cannot_be_trusted_ends_no_pin() {
    let pin = Pin { value: Some(value(1)), undone: Uuid::nil(), since: jiff::Timestamp::UNIX_EPOCH };
    let pins = BTreeMap::from([
        (name("gone"), pin),
        (name("away"), Pin { value: None, undone: Uuid::nil(), since: jiff::Timestamp::UNIX_EPOCH }),
    ]);
    let near: Side = [("v1", 1), ("v2", 1), ("a", 1), ("a-", 1), ("a0", 1)].into();
    let mut known = records(&near);
    known.extend(records(&Side::from([("gone", 1)])));
    let draw_with = |near: &Side, far: &BTreeMap<TagName, Value>| {
        let (source, remote) = (source(near), remote(far));
        let sides = Sides { pins: &pins, ..sides_of(&source, &known, &remote) };
        let remote_rules = on_refs();
        draw(sides, &rules(Policy::Mirror), remote_rules)
    };
    let pair = pair();
    let facts = facts(&pair, crate::ledger::Usage::default());
    // The remote shows nothing of ours: `gone` seems to be gone on both sides.
    let guarded = guard(draw_with(&near, &BTreeMap::new()), &facts);
    assert!(guarded.plan.unpinned.is_empty() && guarded.plan.overtaken.is_empty(), "{:?}", guarded.plan);
    assert!(guarded.approved.notes().is_empty() && guarded.approved.changes().is_empty());
    // The source shows nothing at all: it seems to agree with what was taken away.
    let guarded = guard(draw_with(&Side::new(), &far(&near)), &facts);
    assert!(guarded.plan.unpinned.is_empty() && guarded.plan.overtaken.is_empty() && !guarded.conclusive);
    // Both are there: the one that was taken away is agreed on, the other is still asked for.
    let mut there = far(&near);
    there.insert(name("gone"), value(1));
    let guarded = guard(draw_with(&near, &there), &facts);
    assert_eq!(guarded.plan.unpinned, [name("away")]);
    assert_eq!(guarded.plan.held.iter().map(|held| held.kind).collect::<Vec<_>>(), [HoldKind::Undone]);
}

#[test]
fn what_was_written_elsewhere_or_is_left_out_by_now_is_held() {
    let told = [
        entry("v1", Action::Delete, Some(1), None, Outcome::Done),
        entry("v2", Action::Create, None, Some(1), Outcome::Done),
    ];
    let effects = of_pair(effects(&told));
    let (known, far) = (records(&Side::from([("v2", 1)])), far(&Side::from([("v2", 1)])));
    let (source, remote) = (source(&Side::new()), remote(&far));
    let sides = sides_of(&source, &known, &remote);
    let held_with = |bound: Option<jiff::Timestamp>, mapping: &NameMapping, rules: &Rules| {
        let remote_rules = RemoteRules { mapping, ..on_refs() };
        let plan = super::reverse(&effects, bound, sides, rules, remote_rules);
        (plan.held.iter().map(|held| held.kind).collect::<Vec<_>>(), plan.changes.len())
    };
    let (plain, now) = (NameMapping::default(), jiff::Timestamp::UNIX_EPOCH);
    let mirror = rules(Policy::Mirror);
    assert_eq!(held_with(Some(now), &plain, &mirror), (vec![], 2));
    let later = now + jiff::SignedDuration::from_secs(1);
    for bound in [None, Some(later)] {
        assert_eq!(held_with(bound, &plain, &mirror), (vec![HoldKind::Conflict(Conflict::NotOurs); 2], 0));
    }
    let renamed = NameMapping { add_prefix: "r-".into(), ..NameMapping::default() };
    assert_eq!(held_with(Some(now), &renamed, &mirror), (vec![HoldKind::OutOfScope; 2], 0));
    let mut narrow = rules(Policy::Mirror);
    narrow.selection.patterns = NamePatterns::new(["x*"]).unwrap();
    assert_eq!(held_with(Some(now), &plain, &narrow), (vec![HoldKind::OutOfScope; 2], 0));
}
