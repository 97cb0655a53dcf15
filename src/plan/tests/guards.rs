//! What the guards let through, and what they stop.

use super::*;
use crate::ledger::{ParkedBy, ParkedSet};

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_budget_holds_whatever_the_source_does(losses in proptest::collection::vec(0_u32..8, 1..200)) {
        // A source that loses some tags per pass, two hundred passes within a day.
        let pair = pair();
        let mut usage = Usage { deletes: 0, moves: 0, high_water: 100 };
        let mut left: u32 = 100;
        for loss in losses {
            let plan = Plan {
                changes: (0..loss.min(left)).map(|at| deletion(&format!("t{at}"))).collect(),
                in_scope: 1,
                owned: left,
                ..Plan::default()
            };
            let guarded = guard(plan, &facts(&pair, usage));
            let deleted = u32::try_from(guarded.approved.changes().len()).unwrap();
            usage.deletes += deleted;
            left -= deleted;
        }
        prop_assert!(usage.deletes <= 10, "{} deleted", usage.deletes);
    }
}

fn deletion(tag_name: &str) -> PlannedChange {
    PlannedChange {
        tag: name(tag_name),
        remote_name: name(tag_name),
        action: Action::Delete,
        old: Some(Box::new(value(1))),
        new: None,
        commit: None,
        record: Some(Box::new(value(1))),
        cause: Cause::Ordinary,
        foreign: false,
        attachment: None,
        message: None,
        undone: None,
        neighbours: None,
    }
}

fn relocation(tag_name: &str, from: u8, to: u8) -> PlannedChange {
    let (old, new) = (Some(Box::new(value(from))), Some(value(to)));
    PlannedChange { action: Action::Move, old, new, ..deletion(tag_name) }
}

fn addition(tag_name: &str) -> PlannedChange {
    PlannedChange { action: Action::Create, old: None, new: Some(value(1)), record: None, ..deletion(tag_name) }
}

/// What the guards parked; nothing was undone in these tests.
fn parked(guarded: &Guarded) -> Option<&ParkedSet> {
    let [stopped] = guarded.stopped.as_slice() else { return None };
    assert_eq!(stopped.set.by, ParkedBy::Guard);
    Some(&stopped.set)
}

fn count(guarded: &Guarded) -> u32 {
    parked(guarded).map_or(0, |set| set.count)
}

fn plan_with(changes: Vec<PlannedChange>) -> Plan {
    Plan { changes, in_scope: 10, owned: 100, ..Plan::default() }
}

#[test]
fn a_tripped_budget_parks_the_whole_class_and_lets_the_rest_through() {
    let pair = pair();
    let usage = Usage { deletes: 8, moves: 0, high_water: 100 };
    let mut changes: Vec<_> = (0..3).map(|at| deletion(&format!("d{at}"))).collect();
    changes.extend([addition("new"), relocation("m", 1, 2)]);
    let guarded = guard(plan_with(changes.clone()), &facts(&pair, usage));
    let through: Vec<_> = guarded.approved.changes().iter().map(|change| change.tag.to_string()).collect();
    assert_eq!(through, ["new", "m"]);
    assert_eq!(guarded.plan.held.len(), 3);
    assert!(guarded.plan.held[0].reason.contains("3 to delete and 8 done in the last 24 h exceed the budget of 10"));
    let set = parked(&guarded).unwrap().clone();
    assert_eq!(set.count, 3);

    // Exactly this set is released by its id; with one more change the id is another.
    let released = [set.plan.clone()];
    let with_release = Facts { released: &released, ..facts(&pair, usage) };
    let guarded = guard(plan_with(changes.clone()), &with_release);
    assert_eq!((guarded.approved.changes().len(), count(&guarded)), (5, 0));
    assert_eq!(guarded.released, released);
    assert!(
        guarded
            .approved
            .changes()
            .iter()
            .filter(|change| change.action == Action::Delete)
            .all(|change| change.cause == Cause::Approved)
    );
    changes.push(deletion("one-more"));
    let guarded = guard(plan_with(changes), &with_release);
    assert_ne!(parked(&guarded).unwrap().plan, set.plan);
}

#[test]
fn zero_forbids_and_small_sets_may_lose_three() {
    let pair = pair();
    let three = || plan_with((0..3).map(|at| deletion(&format!("d{at}"))).collect());
    let small = Usage { high_water: 3, ..Usage::default() };
    assert_eq!(count(&guard(three(), &facts(&pair, small))), 0);
    let forbidden = Facts { limits: Limits { deletes: 0, ..Limits::default() }, ..facts(&pair, small) };
    assert_eq!(count(&guard(plan_with(vec![deletion("d")]), &forbidden)), 1);
}

#[test]
fn an_empty_source_destroys_nothing_and_cannot_be_released() {
    let pair = pair();
    let plan = Plan { in_scope: 0, ..plan_with(vec![deletion("d")]) };
    let guarded = guard(plan, &facts(&pair, Usage { high_water: 100, ..Usage::default() }));
    assert_eq!((guarded.approved.changes().len(), count(&guarded)), (0, 0));
    assert_eq!(guarded.plan.held[0].kind, HoldKind::EmptySource);
}

#[test]
fn seventy_five_tags_moved_to_one_commit_are_parked() {
    let pair = pair();
    let moves = (0..75).map(|at| relocation(&format!("v{at}"), 1, 9)).collect();
    let wide = Facts {
        limits: Limits { moves: 1000, moves_percent: 100, ..Limits::default() },
        ..facts(&pair, Usage { high_water: 76, ..Usage::default() })
    };
    let guarded = guard(plan_with(moves), &wide);
    assert_eq!((guarded.approved.changes().len(), count(&guarded)), (0, 75));
    assert!(guarded.plan.held[0].reason.starts_with("75 existing tags would all move to 000000000000"));
    // Three may: a floating `latest`, `1` and `1.2` move together.
    let three = (0..3).map(|at| relocation(&format!("v{at}"), 1, 9)).collect();
    assert_eq!(count(&guard(plan_with(three), &wide)), 0);
}

#[test]
fn a_remote_that_lost_our_tags_at_once_is_left_alone() {
    let pair = pair();
    let creates = || (0..30).map(|at| addition(&format!("v{at}"))).collect::<Vec<_>>();
    let forgotten = Note { tag: name("gone-on-both-sides"), record: RecordChange::Drop };
    let emptied = Plan { vanished: 30, notes: vec![forgotten], ..plan_with(creates()) };
    let guarded = guard(emptied, &facts(&pair, Usage::default()));
    assert_eq!((guarded.approved.changes().len(), count(&guarded)), (0, 30));
    assert_eq!(guarded.approved.notes(), [], "what may come back is not forgotten");
    let a_few = Plan { vanished: 20, ..plan_with(creates()) };
    assert_eq!(count(&guard(a_few, &facts(&pair, Usage::default()))), 0);
}

#[test]
fn the_first_exact_pass_needs_a_person_for_what_is_not_ours() {
    let pair = pair();
    let first = Facts { policy: Policy::Exact, ..facts(&pair, Usage::default()) };
    let foreign = PlannedChange { foreign: true, ..relocation("theirs", 1, 2) };
    let guarded = guard(plan_with(vec![addition("new"), foreign.clone()]), &first);
    assert_eq!((guarded.approved.changes().len(), count(&guarded)), (1, 1));
    let later = Facts { exact_begun: true, ..first };
    assert_eq!(count(&guard(plan_with(vec![foreign]), &later)), 0);
}

#[test]
fn a_create_behind_a_parked_deletion_is_parked_with_it() {
    let pair = pair();
    let forbidden = Facts { limits: Limits { deletes: 0, ..Limits::default() }, ..facts(&pair, Usage::default()) };
    let neighbours = Neighbours { blockers: vec![name("a")], ..Neighbours::default() };
    let create = PlannedChange { neighbours: Some(Box::new(neighbours)), ..addition("a/b") };
    let guarded = guard(plan_with(vec![deletion("a"), create]), &forbidden);
    assert_eq!((guarded.approved.changes().len(), count(&guarded)), (0, 2));
}

#[test]
fn a_credential_that_only_reads_holds_every_change() {
    let pair = pair();
    let read_only = Facts { read_only: Some(("Reporter", "Developer")), ..facts(&pair, Usage::default()) };
    let guarded = guard(plan_with(vec![addition("v1")]), &read_only);
    assert_eq!(guarded.approved.changes().len(), 0);
    assert_eq!(
        guarded.plan.held[0].reason,
        "the credential may only read: it has Reporter, and writing needs Developer"
    );
}

fn undone(change: PlannedChange) -> PlannedChange {
    PlannedChange { undone: Some(uuid::Uuid::nil()), ..change }
}

#[test]
fn what_was_undone_stops_as_a_set_of_its_own_and_uses_up_nobodys_budget() {
    let pair = pair();
    let usage = Usage { deletes: 8, moves: 0, high_water: 100 };
    let mut changes: Vec<_> = (0..9).map(|at| undone(deletion(&format!("u{at}")))).collect();
    changes.extend([deletion("d"), deletion("e")]);
    let guarded = guard(plan_with(changes.clone()), &facts(&pair, usage));
    assert_eq!(guarded.approved.changes().len(), 2, "the budget of 10 has room for the two that may go");
    let [stopped] = guarded.stopped.as_slice() else { panic!("{:?}", guarded.stopped) };
    assert_eq!((stopped.set.by, stopped.set.count), (ParkedBy::Undo, 9));
    assert!(guarded.plan.held.iter().all(|held| held.kind == HoldKind::Undone));

    // With a third deletion the budget trips as well: two sets, released one without the other.
    changes.push(deletion("f"));
    let guarded = guard(plan_with(changes.clone()), &facts(&pair, usage));
    let [by_guard, by_undo] = guarded.stopped.as_slice() else { panic!("{:?}", guarded.stopped) };
    assert_eq!((by_guard.set.by, by_guard.set.count, by_undo.set.count), (ParkedBy::Guard, 3, 9));
    let released = [by_guard.set.plan.clone()];
    let guarded = guard(plan_with(changes), &Facts { released: &released, ..facts(&pair, usage) });
    assert_eq!((guarded.approved.changes().len(), guarded.stopped.as_slice()), (3, &[by_undo.clone()][..]));
}

#[test]
fn a_dismissed_set_stays_held_and_is_marked() {
    let pair = pair();
    let forbidden = Facts { limits: Limits { deletes: 0, ..Limits::default() }, ..facts(&pair, Usage::default()) };
    let guarded = guard(plan_with(vec![deletion("d")]), &forbidden);
    let dismissed = [parked(&guarded).unwrap().plan.clone()];
    let with_dismissal = Facts { dismissed: &dismissed, ..forbidden };
    let guarded = guard(plan_with(vec![deletion("d")]), &with_dismissal);
    assert!(guarded.approved.changes().is_empty() && guarded.plan.held[0].dismissed && guarded.stopped[0].dismissed);
    // Another set is not dismissed.
    let guarded = guard(plan_with(vec![deletion("d"), deletion("e")]), &with_dismissal);
    assert!(guarded.plan.held.iter().all(|held| !held.dismissed) && !guarded.stopped[0].dismissed);
}
