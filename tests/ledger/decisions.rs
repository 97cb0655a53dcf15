//! What a person says about parked sets, what was put back by hand, and what may be forgotten for good.

use tagsyncd::ledger::{Decision, UNDO};

use super::*;

fn set(plan: &str, tags: &[&str]) -> ParkedSet {
    let changes: Vec<String> = tags.iter().map(|tag| format!("delete {tag} {tag} commit:1 -")).collect();
    let count = u32::try_from(changes.len()).unwrap();
    ParkedSet { plan: plan.into(), by: ParkedBy::Guard, changes: changes.join("\n"), count }
}

async fn parked(ledger: &SqliteLedger) -> Vec<Parked> {
    ledger.read_pair(&pair(), at(0)).await.unwrap().parked
}

#[tokio::test]
async fn a_decision_is_made_beside_the_lock_and_lasts_as_long_as_its_set() {
    let state = State::new();
    let ledger = state.open();
    let decide = |plan: &'static str, decision, seconds| {
        let directory = state.directory.clone();
        async move { SqliteLedger::decide(&directory, &pair(), plan, decision, at(seconds)).await.unwrap() }
    };
    ledger.park(&pair(), &[set("one", &["v1", "v2"])], at(1)).await.unwrap();
    ledger.flush().await.unwrap();
    assert!(!decide("other", Decision::Approved, 2).await, "nothing is parked under that id");
    assert!(decide("one", Decision::Dismissed, 2).await);
    assert!(decide("one", Decision::Approved, 3).await, "a person may think again");
    assert_eq!(parked(&ledger).await[0].decision, Some((Decision::Approved, at(3))));

    // Parked again as it is, it keeps its age and the decision; replaced, it has ended, and coming back it starts anew.
    ledger.park(&pair(), &[set("one", &["v1", "v2"])], at(4)).await.unwrap();
    assert_eq!((parked(&ledger).await[0].since, parked(&ledger).await[0].decision.is_some()), (at(1), true));
    ledger.park(&pair(), &[set("two", &["v2", "v3"])], at(5)).await.unwrap();
    ledger.flush().await.unwrap();
    assert!(!decide("one", Decision::Approved, 6).await);
    assert!(ledger.take_approvals(&pair(), &[], &["two".into()], at(7)).await.unwrap());
    ledger.park(&pair(), &[set("one", &["v1", "v2"])], at(7)).await.unwrap();
    let again = parked(&ledger).await;
    assert_eq!((again.len(), again[0].since, again[0].decision), (1, at(7), None));
    let all = ledger.read_parked().await.unwrap();
    let two = all.iter().find(|(_, parked)| parked.set.plan == "two").unwrap();
    assert_eq!(two.1.ended, Some((ParkedEnd::Released, at(7))));

    // Approvals are used up together and once; one that was taken back stops the others.
    assert!(!ledger.take_approvals(&pair(), &["one".into()], &[], at(8)).await.unwrap(), "nobody approved it");
    assert!(decide("one", Decision::Approved, 8).await);
    assert!(!ledger.take_approvals(&pair(), &["one".into(), "two".into()], &[], at(9)).await.unwrap());
    assert!(decide("one", Decision::Dismissed, 9).await);
    assert!(!ledger.take_approvals(&pair(), &["one".into()], &[], at(9)).await.unwrap());
    assert!(decide("one", Decision::Approved, 10).await);
    assert!(ledger.take_approvals(&pair(), &["one".into()], &[], at(11)).await.unwrap());
    assert!(!ledger.take_approvals(&pair(), &["one".into()], &[], at(11)).await.unwrap(), "once");
    assert!(!decide("one", Decision::Dismissed, 12).await, "too late");

    // What ended long ago is not remembered for ever.
    let later = 9 * 24 * 3_600;
    ledger.park(&pair(), &[set("one", &["v1", "v2"])], at(later)).await.unwrap();
    let plans: Vec<String> =
        ledger.read_parked().await.unwrap().into_iter().map(|(_, parked)| parked.set.plan).collect();
    assert_eq!(plans, ["one"]);
}

#[tokio::test]
async fn deciding_makes_no_ledger_and_mends_none() {
    let state = State::new();
    let decide = async || SqliteLedger::decide(&state.directory, &pair(), "one", Decision::Approved, at(1)).await;
    assert!(decide().await.is_err());
    assert!(!state.directory.path().exists());
    drop(state.open());
    fs::write(state.directory.ledger(), b"SQLite format 3\0 and nothing else").unwrap();
    let before = state.bytes();
    assert!(decide().await.is_err());
    assert_eq!(state.bytes(), before);
}

#[tokio::test]
async fn a_pin_ends_with_the_first_write_that_is_no_undo() {
    let state = State::new();
    let ledger = state.open();
    let pin = |tag: &str| (name(tag), Pin { value: None, undone: run(), since: at(1) });
    ledger.pin(&pair(), &[pin("a"), pin("b"), pin("c"), pin("d")]).await.unwrap();
    let undo = Intent { reason: UNDO.into(), ..intent(&name("a"), Action::Delete) };
    write(&ledger, &undo, &settlement(Outcome::Done, RecordChange::Drop), at(2)).await;
    let refused = intent(&name("b"), Action::Create);
    write(&ledger, &refused, &settlement(Outcome::Rejected, RecordChange::Keep), at(2)).await;
    let released = intent(&name("c"), Action::Create);
    write(&ledger, &released, &settlement(Outcome::Done, RecordChange::Put(record(&name("c"), 2))), at(2)).await;
    ledger.unpin(&pair(), &[name("d")]).await.unwrap();
    let pins = ledger.read_pair(&pair(), at(3)).await.unwrap().pins;
    assert_eq!(pins.keys().map(ToString::to_string).collect::<Vec<_>>(), ["a", "b"]);
    // Another tag space knows nothing of them.
    let identity = Identity { space: "43".into(), access: Access::Write };
    ledger.bind(&pair(), "source", &identity, at(4), true).await.unwrap();
    assert!(ledger.read_pair(&pair(), at(5)).await.unwrap().pins.is_empty());
}

#[tokio::test]
async fn one_name_is_told_without_the_others() {
    let state = State::new();
    let ledger = state.open();
    let identity = Identity { space: "42".into(), access: Access::Write };
    ledger.bind(&pair(), "source", &identity, at(0), false).await.unwrap();
    ledger.note(&pair(), &[put(&name("v1"), 1), put(&name("v2"), 2)], at(1)).await.unwrap();
    ledger.park(&pair(), &[set("one", &["v1"])], at(1)).await.unwrap();
    ledger.pin(&pair(), &[(name("v2"), Pin { value: Some(value(2)), undone: run(), since: at(1) })]).await.unwrap();
    ledger.announce(&pair(), run(), &intent(&name("v2"), Action::Move), at(2)).await.unwrap();
    let held = Unsettled { tag: name("v1"), matter: Matter::Held, reason: "why".into(), since: at(2) };
    ledger
        .end_pass(&pair(), &PassEnd { unsettled: vec![held.clone()], ..pass(at(3), false, None) }, None)
        .await
        .unwrap();

    let one = ledger.read_name(&pair(), &name("v1")).await.unwrap();
    assert_eq!((one.record, one.unsettled), (Some(record(&name("v1"), 1)), Some(held)));
    assert!(one.intent.is_none() && one.pin.is_none() && one.last_success == Some(at(3)));
    assert_eq!(one.parked[0].set.plan, "one");
    let two = ledger.read_name(&pair(), &name("v2")).await.unwrap();
    assert!(two.intent.is_some() && two.pin.is_some() && two.parked.is_empty() && two.unsettled.is_none());
    let none = ledger.read_name(&pair(), &name("v3")).await.unwrap();
    assert!(none.record.is_none() && none.intent.is_none());
}

#[tokio::test]
async fn the_history_can_be_pruned_and_gives_its_space_back() {
    let state = State::new();
    let ledger = state.open();
    for number in 0..2_000 {
        let old = Settlement { detail: Some("x".repeat(200)), ..settlement(Outcome::Rejected, RecordChange::Keep) };
        write(&ledger, &intent(&name(format!("v{number}")), Action::Create), &old, at(1)).await;
    }
    delete(&ledger, &name("kept"), at(100)).await;
    ledger.close().await.unwrap();
    let size = || fs::metadata(state.directory.ledger()).unwrap().len();
    let before = size();
    assert_eq!(SqliteLedger::prune_history(&state.lock(), at(100)).await.unwrap(), 2_000);
    assert!(size() < before / 2, "{before} then, {} now", size());
    let left = state.reader().read_history(&HistoryQuery::default()).await.unwrap();
    assert_eq!(left.iter().map(|entry| entry.tag.to_string()).collect::<Vec<_>>(), ["kept"]);
    assert_eq!(SqliteLedger::prune_history(&state.lock(), at(100)).await.unwrap(), 0);
}
