//! What of a remote a plan rests on, and that it rests on nothing else.

use super::resolve::{by_tag, digest, remote_rules, sha};
use super::*;

/// The remote with another truth about every name that this says.
fn without(there: &BTreeMap<TagName, Value>, masked: impl Fn(&TagName) -> bool) -> RemoteSnapshot {
    let mut remote = remote(there);
    for tag in there.keys().filter(|tag| masked(tag)) {
        let unasked = RemoteTag { value: Err("not asked for".into()), ..remote_tag(tag.clone(), value(1)) };
        remote.renew(unasked);
    }
    remote
}

fn digests(tags: &Side) -> BTreeMap<TagName, Value> {
    tags.iter().map(|(tag, number)| (name(tag), digest(*number))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn values_outside_its_basis_change_nothing_about_a_plan(
        near in side(true), known in side(false), there in side(true), images in 0_u8..8, policy in policy(), narrow: bool,
    ) {
        let mut rules = rules(policy);
        if narrow {
            rules.selection.patterns = ONLY_V.clone();
        }
        let (mapping, rule) = (NameMapping::default(), by_tag("sha-{commit}"));
        let remote_rules = remote_rules(&mapping, &rule);
        let mut there = digests(&there);
        // The images of commits, of which the source may have some.
        there.extend((1..=3).filter(|number| images & (1 << (number - 1)) != 0).map(|number| (sha(number), digest(number))));
        let known = known.iter().map(|(tag, number)| {
            (name(tag), Record { remote_name: name(tag), value: digest(*number), ownership: Ownership::Created })
        }).collect();
        let (source, whole) = (source(&near), remote(&there));
        let basis = Basis::of(&source, &known, &rules, remote_rules);
        let part = without(&there, |tag| !basis.has(tag, remote_rules));
        let [whole_plan, part_plan] = [&whole, &part].map(|remote| draw(sides_of(&source, &known, remote), &rules, remote_rules));
        prop_assert_eq!(format!("{whole_plan:?}"), format!("{part_plan:?}"));
    }
}

#[test]
fn what_a_plan_asks_for_is_questioned_with_what_its_target_was_read_from() {
    let (mapping, rule) = (NameMapping { strip_prefix: "v".into(), ..NameMapping::default() }, by_tag("sha-{commit}"));
    let remote_rules = remote_rules(&mapping, &rule);
    let source = source(&Side::from([("v1", 1), ("v2", 2), ("v3", 3)]));
    let there = [(name("1"), 1), (name("2"), 9), (sha(1), 1), (sha(2), 2), (sha(3), 3), (name("other"), 1)];
    let remote = remote(&there.into_iter().map(|(tag, number)| (tag, digest(number))).collect());
    let record =
        |tag: &str, number| Record { remote_name: name(tag), value: digest(number), ownership: Ownership::Created };
    let known = BTreeMap::from([(name("v1"), record("1", 1))]);
    let sides = sides_of(&source, &known, &remote);
    let plan = draw(sides, &rules(Policy::Mirror), remote_rules);
    // One agrees, one is held, one is to be created.
    assert_eq!((plan.in_sync.len(), plan.held.len(), plan.changes.len()), (1, 1, 1));
    let expected = BTreeSet::from([name("2"), name("3"), sha(2), sha(3)]);
    assert_eq!(questioned(&plan, sides, remote_rules), expected);
}
