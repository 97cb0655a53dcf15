//! Records that were made over an API, on a remote that now shows the tags' own objects.

use super::*;
use crate::tag::ObjectId;

static OBJECTS: Capabilities = Capabilities {
    target: crate::tag::TargetKind::Object,
    moves: Moves::InPlace,
    annotations: Annotations::Whole,
    names: RemoteNames { summary: "git's", refuses: |_| None, are_refs: true },
    ..REFS
};

fn object(number: u8) -> ObjectId {
    commit(number).into()
}

/// What becomes of an annotated `v1`, whose object is 100 and whose commit is 1, where commit 1 was agreed on over the API.
fn verdict(ownership: Ownership, there: u8, policy: Policy) -> String {
    let near = GitTag {
        tag_id: Some(format!("{:040x}", 100).parse().unwrap()),
        ..GitTag::lightweight(Peeled::Commit(commit(1)))
    };
    let source = SourceSnapshot::of_walk([(name("v1"), Ok(near.into()))]);
    let known = BTreeMap::from([(name("v1"), Record { remote_name: name("v1"), value: value(1), ownership })]);
    let remote = remote(&BTreeMap::from([(name("v1"), Value::of(Target::Object(object(there))))]));
    let remote_rules = RemoteRules { capabilities: &OBJECTS, ..on_refs() };
    let plan = draw(sides_of(&source, &known, &remote), &rules(policy), remote_rules);
    match (&plan.held[..], &plan.changes[..], &plan.notes[..]) {
        ([held], [], []) => format!("{:?}", held.kind),
        ([], [change], []) => format!("{:?} foreign: {}", change.action, change.foreign),
        ([], [], [_]) => "noted".to_owned(),
        _ => format!("{plan:?}"),
    }
}

#[test]
fn an_adoption_by_the_commit_alone_is_no_claim_on_another_tag_object() {
    let (same, another, the_commit) = (100, 101, 1);
    for ownership in [Ownership::Created, Ownership::Adopted] {
        assert_eq!(verdict(ownership, same, Policy::Mirror), "noted");
        assert_eq!(verdict(ownership, the_commit, Policy::Mirror), "Move foreign: false");
        assert_eq!(verdict(ownership, another, Policy::Exact), "Move foreign: true");
    }
    assert_eq!(verdict(Ownership::Created, another, Policy::Mirror), "Move foreign: true");
    assert_eq!(verdict(Ownership::Adopted, another, Policy::Mirror), "Conflict(NotOurs)");
}
