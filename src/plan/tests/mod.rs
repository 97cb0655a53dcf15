//! What must hold for every plan, over random sides.

mod basis;
mod carried;
mod guards;
mod resolve;
mod reverse;
mod timed;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::ledger::{Lately, Ownership, Pair, Pin, Record, RecordChange, Usage};
use crate::provider::{Annotations, Capabilities, Deletes, Lease, Moves, NameRules as RemoteNames};
use crate::tag::{
    CommitId, End, GitTag, Listing, NameMapping, NamePatterns, Peeled, RemoteSnapshot, RemoteTag, ResolveRule,
    Selection, SourceSnapshot, SourceTag, Target,
};

static REFS: Capabilities = Capabilities {
    target: crate::tag::TargetKind::Commit,
    moves: Moves::Recreate,
    deletes: Deletes::Yes,
    annotations: Annotations::Message,
    lease: Lease::LookBefore,
    create_refuses_existing: true,
    names: RemoteNames { summary: "git's", refuses: |_| None, are_refs: true },
};

/// Names that get in each other's way in every manner that git knows.
const NAMES: [&str; 9] = ["a", "a/b", "a/b/c", "a/c", "a-", "a0", "v1", "v2", "-x/é+1"];

fn name(name: &str) -> TagName {
    TagName::new(name).unwrap()
}

fn commit(number: u8) -> CommitId {
    format!("{number:040x}").parse().unwrap()
}

fn value(number: u8) -> Value {
    Value::of(Target::Commit(commit(number)))
}

/// Made once, because making a glob costs more than a plan.
static ONLY_V: LazyLock<NamePatterns> = LazyLock::new(|| NamePatterns::new(["v*"]).unwrap());

static NO_PINS: BTreeMap<TagName, Pin> = BTreeMap::new();
static NOTHING_OPEN: BTreeSet<TagName> = BTreeSet::new();

static NOTHING_LATELY: Lately =
    Lately { writes: BTreeMap::new(), restored: BTreeMap::new(), absences: BTreeMap::new() };

/// Nothing happened lately, and a deletion waits for nothing.
fn untimed() -> Timing<'static> {
    Timing { now: Timestamp::UNIX_EPOCH, grace: None, lately: &NOTHING_LATELY }
}

static NO_REFUSALS: BTreeMap<TagName, crate::ledger::Refusal> = BTreeMap::new();
static PLAIN: LazyLock<NameMapping> = LazyLock::new(NameMapping::default);

/// Sides of which nothing else is known.
fn sides_of<'a>(
    source: &'a SourceSnapshot,
    records: &'a BTreeMap<TagName, Record>,
    remote: &'a RemoteSnapshot,
) -> Sides<'a> {
    Sides { source, records, remote, refusals: &NO_REFUSALS, open: &NOTHING_OPEN, pins: &NO_PINS, timing: untimed() }
}

/// A remote that holds git refs under the names that the source gives them.
fn on_refs() -> RemoteRules<'static> {
    RemoteRules {
        capabilities: &REFS,
        mapping: &PLAIN,
        rule: &ResolveRule::Itself,
        compare_annotations: false,
        allows_loss: &|_| false,
    }
}

type Side = BTreeMap<&'static str, u8>;

fn source(tags: &BTreeMap<&str, u8>) -> SourceSnapshot {
    let tag = |number| SourceTag::Git(GitTag::lightweight(Peeled::Commit(commit(number))));
    SourceSnapshot::of_walk(tags.iter().map(|(tag_name, number)| (name(tag_name), Ok(tag(*number)))))
}

fn records(tags: &Side) -> BTreeMap<TagName, Record> {
    let record = |tag_name: &str, number| Record {
        remote_name: name(tag_name),
        value: value(number),
        ownership: Ownership::Created,
    };
    tags.iter().map(|(tag_name, number)| (name(tag_name), record(tag_name, *number))).collect()
}

fn remote_tag(tag_name: TagName, tag_value: Value) -> RemoteTag {
    RemoteTag { name: tag_name, value: Ok(tag_value), message: None, protected: false, attachment: None }
}

fn remote(tags: &BTreeMap<TagName, Value>) -> RemoteSnapshot {
    let mut listing = Listing::new();
    listing.page(tags.iter().map(|(tag_name, tag_value)| remote_tag(tag_name.clone(), tag_value.clone()))).unwrap();
    listing.finish(End::SingleResponse, None).unwrap()
}

fn far(tags: &Side) -> BTreeMap<TagName, Value> {
    tags.iter().map(|(tag_name, number)| (name(tag_name), value(*number))).collect()
}

fn rules(policy: Policy) -> Rules {
    Rules {
        policy,
        selection: Selection::default(),
        immutable: NamePatterns::default(),
        protected: NamePatterns::default(),
    }
}

fn plan_of(near: &Side, known: &BTreeMap<TagName, Record>, far: &BTreeMap<TagName, Value>, rules: &Rules) -> Plan {
    let (source, remote) = (source(near), remote(far));
    let sides = sides_of(&source, known, &remote);
    let remote_rules = on_refs();
    draw(sides, rules, remote_rules)
}

fn pair() -> Pair {
    Pair { job: "core".into(), repository: "core".into(), remote: "gitlab".into() }
}

fn facts(pair: &Pair, usage: Usage) -> Facts<'_> {
    Facts {
        pair,
        space: "gitlab:1",
        policy: Policy::Mirror,
        source_is_remote: false,
        limits: Limits::default(),
        usage,
        exact_begun: false,
        read_only: None,
        released: &[],
        dismissed: &[],
        undoing: None,
    }
}

/// A ref store that refuses what git refuses.
fn write(far: &mut BTreeMap<TagName, Value>, change: &PlannedChange) -> Result<(), String> {
    if far.get(&change.remote_name) != change.old.as_deref() {
        return Err(format!("{:?} is not at its lease", change.remote_name));
    }
    match &change.new {
        Some(new) => {
            if let Some(other) = far.keys().find(|other| other.excludes(&change.remote_name)) {
                return Err(format!("{other:?} is in the way of {:?}", change.remote_name));
            }
            far.insert(change.remote_name.clone(), new.clone());
        }
        None => {
            far.remove(&change.remote_name);
        }
    }
    Ok(())
}

/// Carries a plan out in the order of `apply`: creates behind what is in their way, moves, deletes.
fn carry_out(
    plan: &Plan,
    far: &mut BTreeMap<TagName, Value>,
    known: &mut BTreeMap<TagName, Record>,
) -> Result<(), String> {
    let blockers: BTreeSet<&TagName> = plan.changes.iter().flat_map(PlannedChange::blockers).collect();
    let rank = |change: &&PlannedChange| match change.action {
        Action::Delete if blockers.contains(&change.remote_name) => 0,
        Action::Create => 1,
        Action::Move => 2,
        Action::Delete => 3,
    };
    let mut ordered: Vec<&PlannedChange> = plan.changes.iter().collect();
    ordered.sort_by_key(rank);
    for change in ordered {
        write(far, change)?;
        match &change.new {
            Some(new) => {
                let record = Record {
                    remote_name: change.remote_name.clone(),
                    value: new.clone(),
                    ownership: Ownership::Created,
                };
                known.insert(change.tag.clone(), record);
            }
            None => {
                known.remove(&change.tag);
            }
        }
    }
    for note in &plan.notes {
        match &note.record {
            RecordChange::Put(record) => known.insert(note.tag.clone(), record.clone()),
            RecordChange::Drop => known.remove(&note.tag),
            RecordChange::Keep => None,
        };
    }
    Ok(())
}

/// Some names with values 1 to 3; names that git could not keep together are left out where `together` says so.
fn side(together: bool) -> impl Strategy<Value = Side> {
    proptest::collection::btree_map(proptest::sample::select(&NAMES[..]), 1_u8..=3, 0..NAMES.len()).prop_map(
        move |mut side| {
            if together {
                for held in NAMES {
                    let rivals: Vec<_> =
                        side.keys().copied().filter(|other| name(other).excludes(&name(held))).collect();
                    if side.contains_key(held) {
                        rivals.into_iter().for_each(|rival| {
                            side.remove(rival);
                        });
                    }
                }
            }
            side
        },
    )
}

fn policy() -> impl Strategy<Value = Policy> {
    proptest::sample::select(&[Policy::CreateOnly, Policy::Mirror, Policy::Exact][..])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_name_gets_exactly_one_verdict(near in side(true), known in side(false), there in side(true), policy in policy()) {
        let plan = plan_of(&near, &records(&known), &far(&there), &rules(policy));
        let mut judged: Vec<TagName> = plan.in_sync.iter().chain(&plan.unmanaged).chain(&plan.retained).cloned().collect();
        judged.extend(plan.changes.iter().map(|change| change.tag.clone()));
        judged.extend(plan.notes.iter().map(|note| note.tag.clone()));
        judged.extend(plan.held.iter().map(|held| held.tag.clone()));
        judged.extend(plan.waiting.iter().map(|waiting| waiting.tag.clone()));
        judged.sort();
        let everywhere: BTreeSet<TagName> = near.keys().chain(known.keys()).chain(there.keys()).map(|tag| name(tag)).collect();
        prop_assert_eq!(judged, everywhere.into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn one_pass_converges_and_the_next_asks_for_nothing(
        near in side(true), known in side(false), there in side(true), policy in policy(),
    ) {
        let (mut known, mut there) = (records(&known), far(&there));
        let plan = plan_of(&near, &known, &there, &rules(policy));
        let held: BTreeSet<TagName> = plan.held.iter().map(|held| held.tag.clone()).collect();
        carry_out(&plan, &mut there, &mut known).map_err(TestCaseError::fail)?;
        let second = plan_of(&near, &known, &there, &rules(policy));
        // What was in the way of a held create may have gone with this pass; only such a create may come late.
        let late = |change: &&PlannedChange| !(change.action == Action::Create && held.contains(&change.tag));
        prop_assert_eq!(second.changes.iter().find(late), None);
        prop_assert_eq!(&second.notes, &[]);
        for (tag, number) in &near {
            if !held.contains(&name(tag)) {
                prop_assert_eq!(there.get(&name(tag)), Some(&value(*number)), "{}", tag);
            }
        }
    }

    #[test]
    fn without_records_nothing_is_destroyed(near in side(true), there in side(true)) {
        for policy in [Policy::CreateOnly, Policy::Mirror] {
            let plan = plan_of(&near, &BTreeMap::new(), &far(&there), &rules(policy));
            prop_assert!(plan.changes.iter().all(|change| change.action == Action::Create));
        }
    }

    #[test]
    fn a_narrower_filter_never_destroys(near in side(true), known in side(false), there in side(true), policy in policy()) {
        let mut narrow = rules(policy);
        narrow.selection.patterns = ONLY_V.clone();
        let plan = plan_of(&near, &records(&known), &far(&there), &narrow);
        let invisible = |tag: &TagName| !tag.as_bytes().starts_with(b"v");
        prop_assert!(!plan.changes.iter().any(|change| invisible(&change.tag)));
        prop_assert!(!plan.held.iter().any(|held| invisible(&held.tag)));
    }

}

#[test]
fn names_that_meet_on_the_remote_are_all_held() {
    let near = Side::from([("v1", 1), ("v2", 2)]);
    let (source, remote, records) = (source(&near), remote(&BTreeMap::new()), BTreeMap::new());
    let sides = sides_of(&source, &records, &remote);
    let draw_with = |replace: Vec<(String, String)>| {
        let mapping = NameMapping { replace, ..NameMapping::default() };
        let remote_rules = RemoteRules { mapping: &mapping, ..on_refs() };
        draw(sides, &rules(Policy::Mirror), remote_rules)
    };
    let plan = draw_with(vec![("1".into(), "2".into())]);
    assert_eq!(plan.held.iter().map(|held| held.kind).collect::<Vec<_>>(), [HoldKind::NamesMeet, HoldKind::NamesMeet]);
    assert_eq!(plan.held[0].reason, "`v1`, `v2` all become `v2` on the remote");
    // Names that git cannot keep side by side meet as well.
    let plan = draw_with(vec![("1".into(), "".into()), ("v2".into(), "v/x".into())]);
    assert!(plan.changes.is_empty() && plan.held.iter().all(|held| held.kind == HoldKind::NamesMeet), "{plan:?}");
}

#[test]
fn a_remote_name_that_could_stand_for_a_held_one_is_held() {
    let (source, records) = (source(&Side::from([("x", 1)])), BTreeMap::new());
    let there = BTreeMap::from([(name("release-1"), value(1)), (name("1.0"), value(1)), (name("x"), value(1))]);
    let remote = remote(&there);
    let sides = sides_of(&source, &records, &remote);
    let mapping = NameMapping { strip_prefix: "v".into(), ..NameMapping::default() };
    let remote_rules = RemoteRules { mapping: &mapping, ..on_refs() };
    let mut exact = rules(Policy::Exact);
    exact.protected = NamePatterns::new(["release-*"]).unwrap();
    exact.immutable = NamePatterns::new(["1.*"]).unwrap();
    let plan = draw(sides, &exact, remote_rules);
    assert!(plan.changes.is_empty(), "{:?}", plan.changes);
    let held: Vec<_> = plan.held.iter().map(|held| held.kind).collect();
    assert_eq!(held, [HoldKind::Conflict(Conflict::Immutable), HoldKind::Conflict(Conflict::Protected)]);
    // What the source has out of scope is as invisible on the remote.
    exact.selection.patterns = NamePatterns::new(["v*"]).unwrap();
    let plan = draw(sides, &exact, remote_rules);
    assert!(!plan.changes.iter().any(|change| change.remote_name == name("x")), "{:?}", plan.changes);
}

#[test]
fn what_the_remote_protects_or_would_lose_is_held() {
    use crate::tag::Attachment;
    let near = Side::new();
    let known = records(&Side::from([("a", 1), ("v1", 1), ("v2", 1), ("v3", 1)]));
    let mut listing = Listing::new();
    let tag = |tag_name: &str| remote_tag(name(tag_name), value(1));
    listing
        .page([
            RemoteTag { protected: true, ..tag("a") },
            RemoteTag { attachment: Some(Attachment::Release), ..tag("v1") },
            RemoteTag { attachment: Some(Attachment::Hidden), ..tag("v2") },
            RemoteTag { attachment: Some(Attachment::Unlisted), ..tag("v3") },
        ])
        .unwrap();
    let remote = listing.finish(End::NoNextPage, Some(4)).unwrap();
    let (source, mapping) = (source(&near), NameMapping::default());
    let sides = sides_of(&source, &known, &remote);
    let draw_with = |allows_loss: &(dyn Fn(&TagName) -> bool + Sync)| {
        let remote_rules = RemoteRules { mapping: &mapping, allows_loss, ..on_refs() };
        draw(sides, &rules(Policy::Mirror), remote_rules)
    };
    let plan = draw_with(&|_| false);
    let held: Vec<_> = plan.held.iter().map(|held| held.kind).collect();
    assert_eq!(held, [HoldKind::RemoteProtected, HoldKind::SideEffect, HoldKind::SideEffect, HoldKind::SideEffect]);
    let plan = draw_with(&|tag| tag.as_bytes() == b"v1" || tag.as_bytes() == b"v3");
    assert_eq!(plan.changes.iter().map(|change| change.tag.to_string()).collect::<Vec<_>>(), ["v1", "v3"]);
}

#[test]
fn unknown_on_either_side_holds_in_every_policy() {
    let tags = BTreeMap::from([(name("v1"), Err("its object is missing".into()))]);
    let source = SourceSnapshot::of_walk(tags);
    let mut listing = Listing::new();
    let unknown = RemoteTag { value: Err("it points at a tree".into()), ..remote_tag(name("v2"), value(1)) };
    listing.page([remote_tag(name("v1"), value(1)), unknown]).unwrap();
    let remote = listing.finish(End::SingleResponse, None).unwrap();
    let known = records(&Side::from([("v1", 1), ("v2", 1)]));
    let mapping = NameMapping::default();
    for policy in [Policy::CreateOnly, Policy::Mirror, Policy::Exact] {
        let sides = sides_of(&source, &known, &remote);
        let remote_rules = RemoteRules { mapping: &mapping, allows_loss: &|_| true, ..on_refs() };
        let plan = draw(sides, &rules(policy), remote_rules);
        assert_eq!(plan.held.iter().map(|held| held.kind).collect::<Vec<_>>(), [HoldKind::Unknown; 2], "{policy:?}");
        assert!(plan.changes.is_empty() && plan.notes.is_empty());
    }
}
