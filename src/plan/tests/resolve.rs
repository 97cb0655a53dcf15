//! Targets that are found by a rule: found, not there yet, unreadable, nonsense.

use jiff::Timestamp;

use super::*;
use crate::ledger::{HistoryEntry, Outcome, Refusal, RefusalKind};
use crate::tag::{NameTemplate, Notes, NotesRef, TargetKind, TrailerKey};

static REGISTRY: Capabilities = registry(TargetKind::Digest);
static MACHINES: Capabilities = registry(TargetKind::Snapshot);

const fn registry(target: TargetKind) -> Capabilities {
    Capabilities {
        target,
        moves: Moves::InPlace,
        deletes: Deletes::Yes,
        annotations: Annotations::None,
        lease: Lease::LookBefore,
        create_refuses_existing: false,
        names: RemoteNames { summary: "letters", refuses: |_| None, are_refs: false },
    }
}

const POLICIES: [Policy; 3] = [Policy::CreateOnly, Policy::Mirror, Policy::Exact];

fn digest_text(number: u8) -> String {
    format!("sha256:{number:064x}")
}

pub(super) fn digest(number: u8) -> Value {
    Value::of(TargetKind::Digest.parse(&digest_text(number)).unwrap())
}

pub(super) fn by_tag(template: &str) -> ResolveRule {
    ResolveRule::Tag(NameTemplate::new(template).unwrap())
}

fn by_trailer() -> ResolveRule {
    ResolveRule::Trailer(TrailerKey::new("Image").unwrap())
}

fn images() -> NotesRef {
    NotesRef::new("refs/notes/images").unwrap()
}

/// The tag that CI made for a commit.
pub(super) fn sha(number: u8) -> TagName {
    name(&format!("sha-{number:040x}"))
}

fn owned(tags: &[(&str, u8)]) -> BTreeMap<TagName, Record> {
    let record = |tag_name: &str, number| Record {
        remote_name: name(tag_name),
        value: digest(number),
        ownership: Ownership::Created,
    };
    tags.iter().map(|(tag_name, number)| (name(tag_name), record(tag_name, *number))).collect()
}

fn plan_with(
    source: &SourceSnapshot,
    records: &BTreeMap<TagName, Record>,
    remote: &RemoteSnapshot,
    rule: &ResolveRule,
    policy: Policy,
) -> Plan {
    let mapping = NameMapping::default();
    let sides = sides_of(source, records, remote);
    draw(sides, &rules(policy), remote_rules(&mapping, rule))
}

pub(super) fn remote_rules<'a>(mapping: &'a NameMapping, rule: &'a ResolveRule) -> RemoteRules<'a> {
    RemoteRules { capabilities: &REGISTRY, mapping, rule, compare_annotations: false, allows_loss: &|_| false }
}

/// An annotated tag with this message.
fn annotated(message: &str) -> SourceSnapshot {
    let tag_id = Some(format!("{:040x}", 99).parse().unwrap());
    let tag = GitTag { tag_id, message: Some(message.into()), ..GitTag::lightweight(Peeled::Commit(commit(1))) };
    SourceSnapshot::of_walk([(name("v1"), Ok(tag.into()))])
}

fn far_of(tags: &[(TagName, u8)]) -> RemoteSnapshot {
    remote(&tags.iter().map(|(tag_name, number)| (tag_name.clone(), digest(*number))).collect())
}

/// What a plan says about its one name.
fn verdict(plan: &Plan) -> String {
    let Plan { in_sync, changes, notes, unmanaged, retained, held, waiting, .. } = plan;
    let change = |change: &PlannedChange| {
        let word = change.action.word();
        change.new.as_ref().map_or(word.to_owned(), |new| format!("{word} {new}"))
    };
    let all: Vec<String> = in_sync
        .iter()
        .map(|_| "in sync".to_owned())
        .chain(changes.iter().map(change))
        .chain(notes.iter().map(|_| "note".to_owned()))
        .chain(unmanaged.iter().map(|name| format!("unmanaged {name}")))
        .chain(retained.iter().map(|_| "retained".to_owned()))
        .chain(held.iter().map(|held| format!("{}: {}", held.kind, held.reason)))
        .chain(waiting.iter().map(|waiting| format!("waiting: {}", waiting.reason)))
        .collect();
    all.join("; ")
}

#[test]
fn what_a_template_finds_is_what_the_tag_becomes() {
    let (near, rule) = (source(&Side::from([("v1", 1)])), by_tag("sha-{commit}"));
    let here = |far: &[(TagName, u8)], known: &[(&str, u8)], policy| {
        verdict(&plan_with(&near, &owned(known), &far_of(far), &rule, policy))
    };
    for policy in POLICIES {
        assert_eq!(here(&[(sha(1), 7)], &[], policy), format!("create {}", digest_text(7)));
        assert_eq!(here(&[(sha(1), 7), (name("v1"), 7)], &[("v1", 7)], policy), "in sync");
        assert_eq!(here(&[(sha(1), 7), (name("v1"), 7)], &[], policy), "note");
        // The tag of another commit says nothing about this one.
        assert_eq!(here(&[(sha(2), 7)], &[], policy), format!("waiting: the remote has no tag `{}` yet", sha(1)));
    }
    // The image was built anew.
    let rebuilt = here(&[(sha(1), 8), (name("v1"), 7)], &[("v1", 7)], Policy::Mirror);
    assert_eq!(rebuilt, format!("move {}", digest_text(8)));
}

#[test]
fn while_a_tag_waits_nothing_of_it_is_written_forgotten_or_counted_as_lost() {
    let rules_that_wait = [by_tag("sha-{commit}"), by_trailer(), ResolveRule::Note(images())];
    for rule in &rules_that_wait {
        for policy in POLICIES {
            for known in [&[][..], &[("v1", 7)]] {
                for far in [&[][..], &[(name("v1"), 7)], &[(name("v1"), 8)]] {
                    let near = source(&Side::from([("v1", 1)])).with_notes(images(), Notes::new());
                    let plan = plan_with(&near, &owned(known), &far_of(far), rule, policy);
                    let shown = format!("{rule} {policy:?} {known:?} {far:?}: {}", verdict(&plan));
                    assert!(verdict(&plan).starts_with("waiting: "), "{shown}");
                    assert!(plan.changes.is_empty() && plan.notes.is_empty(), "{shown}");
                    assert_eq!(
                        (plan.vanished, plan.owned, plan.in_scope),
                        (0, u32::from(!known.is_empty()), 1),
                        "{shown}"
                    );
                    assert_eq!(plan.waiting[0].to, None, "{shown}");
                }
            }
        }
    }
    // A remote that lost a tag whose target is known did lose it.
    let near = source(&Side::from([("v1", 1)]));
    let plan = plan_with(&near, &owned(&[("v1", 7)]), &far_of(&[(sha(1), 7)]), &by_tag("sha-{commit}"), Policy::Mirror);
    assert_eq!(plan.vanished, 1);
}

#[test]
fn a_tag_to_read_from_that_cannot_be_read_is_unknown() {
    let near = source(&Side::from([("v1", 1)]));
    for value in [Err("no digest".to_owned()), Ok(value(1))] {
        let mut listing = Listing::new();
        listing
            .page([RemoteTag { value, ..remote_tag(sha(1), digest(1)) }, remote_tag(name("v1"), digest(7))])
            .unwrap();
        let far = listing.finish(End::SingleResponse, None).unwrap();
        for policy in POLICIES {
            let plan = plan_with(&near, &owned(&[("v1", 7)]), &far, &by_tag("sha-{commit}"), policy);
            assert_eq!(plan.held.iter().map(|held| held.kind).collect::<Vec<_>>(), [HoldKind::Unknown], "{policy:?}");
            assert!(plan.changes.is_empty() && plan.notes.is_empty());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the sides are, `exact` included: tags that a template can make are neither written nor even seen.
    #[test]
    fn what_a_template_reads_from_is_never_touched(
        near in proptest::collection::btree_map("(v[1-3]|sha-[0-9a-f]{4}|sha-zzzz)", 1_u8..=3, 0..5),
        known in proptest::collection::btree_map("(v[1-3]|sha-[0-9a-f]{4}|sha-zzzz)", 1_u8..=3, 0..5),
        far in proptest::collection::btree_map("(v[1-3]|sha-[0-9a-f]{4}|sha-0000|sha-zzzz)", 1_u8..=3, 0..8),
        policy in policy(),
    ) {
        let template = NameTemplate::new("sha-{commit:4}").unwrap();
        let near = source(&near.iter().map(|(tag, number)| (tag.as_str(), *number)).collect());
        let known: Vec<_> = known.iter().map(|(tag, number)| (tag.as_str(), *number)).collect();
        let far: Vec<_> = far.iter().map(|(tag, number)| (name(tag), *number)).collect();
        let plan = plan_with(&near, &owned(&known), &far_of(&far), &ResolveRule::Tag(template.clone()), policy);
        prop_assert!(plan.changes.iter().all(|change| !template.can_make(&change.remote_name)), "{:?}", plan.changes);
        prop_assert!(plan.unmanaged.iter().all(|name| !template.can_make(name)), "{:?}", plan.unmanaged);
        // What only looks like it is as any other name, so `exact` deletes it.
        let stray = name("sha-zzzz");
        if policy == Policy::Exact && far.iter().any(|(tag, _)| *tag == stray) && near.get(&stray).is_none() {
            prop_assert!(plan.changes.iter().any(|change| change.remote_name == stray && change.action == Action::Delete));
        }
    }
}

#[test]
fn a_source_tag_in_the_place_of_one_to_read_from_is_held_and_its_record_let_go() {
    let rule = by_tag("sha-{commit:4}");
    let near = source(&Side::from([("sha-00ff", 1)]));
    let far = far_of(&[(name("sha-00ff"), 7)]);
    for policy in POLICIES {
        let plan = plan_with(&near, &owned(&[("sha-00ff", 7)]), &far, &rule, policy);
        assert!(plan.changes.is_empty());
        assert_eq!(plan.held[0].kind, HoldKind::Inexpressible);
        assert_eq!(
            plan.held[0].reason,
            "`sha-00ff` could come from the template `sha-{commit:4}`, and such tags are only read"
        );
        assert_eq!(plan.notes, [Note { tag: name("sha-00ff"), record: RecordChange::Drop }]);
        // Gone from the source as well: released, not deleted.
        let plan = plan_with(&source(&Side::new()), &owned(&[("sha-00ff", 7)]), &far, &rule, policy);
        assert_eq!(verdict(&plan), "note", "{policy:?}");
    }
}

#[test]
fn a_trailer_says_what_the_tag_becomes() {
    let here = |message: &str| {
        let near = annotated(message);
        verdict(&plan_with(&near, &BTreeMap::new(), &far_of(&[]), &by_trailer(), Policy::Mirror))
    };
    assert_eq!(here(&format!("v1\n\nImage: {}\n", digest_text(7))), format!("create {}", digest_text(7)));
    assert_eq!(here("v1\n\nOther: x\n"), "waiting: its message has no trailer `Image`");
    assert_eq!(
        here("v1\n\nImage: latest\u{1b}[2J\n"),
        "cannot_be_expressed: its trailer `Image` says what cannot be its target: `latest\\u{1b}[2J` is no manifest \
         digest (`sha256:` and 64 lower-case hexadecimal digits)"
    );
    assert!(here("v1\n\nImage:\n").starts_with("cannot_be_expressed: "));
    // A commit is no digest.
    assert!(here(&format!("v1\n\nImage: {:040x}\n", 1)).starts_with("cannot_be_expressed: "));
    // Messages that were not read say nothing.
    let near = annotated("");
    let unread = near.get(&name("v1")).unwrap().unwrap().clone();
    let SourceTag::Git(unread) = unread else { panic!("it is of a repository") };
    let near = SourceSnapshot::of_walk([(name("v1"), Ok(GitTag { message: None, ..unread }.into()))]);
    let plan = plan_with(&near, &BTreeMap::new(), &far_of(&[]), &by_trailer(), Policy::Mirror);
    assert_eq!(verdict(&plan), "unknown: its message was not read");
}

#[test]
fn a_note_says_what_the_tag_becomes() {
    let rule = ResolveRule::Note(images());
    let here = |near: SourceSnapshot| {
        verdict(&plan_with(&near, &owned(&[("v1", 6)]), &far_of(&[(name("v1"), 6)]), &rule, Policy::Exact))
    };
    let near = || source(&Side::from([("v1", 1)]));
    let noted = |note: Result<&str, &str>| {
        let note = note.map(Into::into).map_err(Into::into);
        near().with_notes(images(), Notes::from([(commit(1), note)]))
    };
    assert_eq!(here(noted(Ok(&format!(" {}\n", digest_text(7))))), format!("move {}", digest_text(7)));
    assert_eq!(here(noted(Ok(&digest_text(6)))), "in sync");
    assert!(
        here(noted(Ok("see the wiki"))).starts_with("cannot_be_expressed: the note on its commit 000000000000 says")
    );
    assert!(here(noted(Ok(&format!("{}\n{}", digest_text(6), digest_text(7))))).starts_with("cannot_be_expressed: "));
    assert!(here(noted(Err("object 1 is missing"))).starts_with("unknown: the note on its commit 000000000000 cannot"));
    // A note on another commit, and notes that nobody read.
    let other = Notes::from([(commit(2), Ok(digest_text(7).into()))]);
    assert!(here(near().with_notes(images(), other)).starts_with("waiting: its commit 000000000000 has no note in"));
    assert!(here(near()).starts_with("unknown: "));
}

#[test]
fn machines_are_found_by_their_uuid() {
    let id = "67e55044-10b1-426f-9247-bb680e5fe0c8";
    let (mapping, rule) = (NameMapping::default(), by_trailer());
    let near = annotated(&format!("v1\n\nImage: {id}\n"));
    let (known, far) = (BTreeMap::new(), far_of(&[]));
    let sides = sides_of(&near, &known, &far);
    let remote_rules = RemoteRules { capabilities: &MACHINES, ..remote_rules(&mapping, &rule) };
    let plan = draw(sides, &rules(Policy::Mirror), remote_rules);
    assert_eq!(verdict(&plan), format!("create {id}"));
    // Nothing is kept there that could hold the message.
    assert_eq!(plan.changes[0].message, None);
}

#[test]
fn tags_on_trees_and_blobs_have_no_commit_to_go_by() {
    let id = format!("{:040x}", 5).parse().unwrap();
    for peeled in [Peeled::Tree(id), Peeled::Blob(id)] {
        let tag = SourceTag::Git(GitTag::lightweight(peeled));
        let near = SourceSnapshot::of_walk([(name("v1"), Ok(tag))]).with_notes(images(), Notes::new());
        for rule in [by_tag("sha-{commit}"), ResolveRule::Note(images())] {
            let plan = plan_with(&near, &BTreeMap::new(), &far_of(&[]), &rule, Policy::Exact);
            assert_eq!(plan.held[0].kind, HoldKind::Inexpressible, "{rule}");
        }
        // A name needs no commit.
        let plan = plan_with(
            &near,
            &BTreeMap::new(),
            &far_of(&[(name("build-v1"), 7)]),
            &by_tag("build-{tag}"),
            Policy::Exact,
        );
        assert_eq!(verdict(&plan), format!("create {}", digest_text(7)));
    }
}

#[test]
fn every_missing_target_has_its_turn_and_forgotten_ones_have_none() {
    let names: Vec<String> = (0..=12).map(|number| format!("v{number}")).collect();
    // Ten are asked for; the source dropped one, moved another since, and a third waits for its image.
    let mut tags: BTreeMap<&str, u8> =
        (1..=10).map(|number| (names[number].as_str(), u8::try_from(number).unwrap())).collect();
    tags.insert(&names[12], 1);
    tags.insert(&names[0], 77);
    let near = source(&tags);
    let refusal = |number: u8| Refusal {
        value: digest(number),
        kind: RefusalKind::TargetMissing,
        detail: String::new(),
        first: Timestamp::UNIX_EPOCH,
        last: Timestamp::UNIX_EPOCH,
    };
    let refusals = (0..=12_u8).map(|number| (name(&names[usize::from(number)]), refusal(number))).collect();
    let far = far_of(&(1..=12).map(|number| (sha(number), number)).collect::<Vec<_>>());
    let (known, mapping, rule) = (BTreeMap::new(), NameMapping::default(), by_tag("sha-{commit}"));
    let sides = Sides { refusals: &refusals, ..sides_of(&near, &known, &far) };
    let missing = |turn| missing_targets(sides, remote_rules(&mapping, &rule), 3, turn);
    let mut asked: Vec<Target> = (0..4).flat_map(missing).collect();
    assert!((0..4).all(|turn| missing(turn).len() <= 3));
    asked.sort_unstable();
    assert_eq!(asked, (1..=10).map(|number| digest(number).target).collect::<Vec<_>>());
    assert_eq!(standing(&refusals, &[digest(3).target], Timestamp::UNIX_EPOCH).len(), 12);
}

#[test]
fn undo_puts_digests_back_and_leaves_alone_what_is_only_read() {
    let entry = |tag: &str, old: Option<u8>, new: Option<u8>| HistoryEntry {
        time: Timestamp::UNIX_EPOCH,
        run: uuid::Uuid::nil(),
        pair: pair(),
        tag: name(tag),
        remote_name: name(tag),
        action: if old.is_some() { Action::Move } else { Action::Create },
        old: old.map(digest),
        new: new.map(digest),
        old_message: None,
        reason: String::new(),
        outcome: Outcome::Done,
        detail: None,
    };
    let effects =
        effects(&[entry("v1", Some(1), Some(2)), entry("v2", None, Some(2)), entry("sha-00ff", None, Some(2))]);
    let records = owned(&[("v1", 2), ("v2", 2), ("sha-00ff", 2)]);
    let far = far_of(&[(name("v1"), 2), (name("v2"), 2), (name("sha-00ff"), 2)]);
    // The source's targets cannot be told, which is no reason not to undo.
    let near = source(&Side::from([("v1", 1), ("v2", 1)]));
    let (mapping, rule) = (NameMapping::default(), by_tag("sha-{commit:4}"));
    let sides = sides_of(&near, &records, &far);
    let plan = super::super::reverse(
        &effects[&pair()],
        Some(jiff::Timestamp::UNIX_EPOCH),
        sides,
        &rules(Policy::Mirror),
        remote_rules(&mapping, &rule),
    );
    let changes: Vec<_> =
        plan.changes.iter().map(|change| (change.tag.to_string(), change.action, change.new.clone())).collect();
    assert_eq!(changes, [("v1".to_owned(), Action::Move, Some(digest(1))), ("v2".to_owned(), Action::Delete, None)]);
    assert_eq!(plan.held.iter().map(|held| held.tag.to_string()).collect::<Vec<_>>(), ["sha-00ff"]);
}
