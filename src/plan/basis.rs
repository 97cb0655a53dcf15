//! On which of the remote's values a plan rests: which are worth asking for, and which stand behind what it asks for.

use std::collections::{BTreeMap, BTreeSet};

use super::{Conflict, HoldKind, Plan, Policy, RemoteRules, Rules, Sides};
use crate::ledger::Record;
use crate::tag::{Fingerprint, NameMapping, ResolveRule, Selection, SourceSnapshot, SourceTag, TagName};

/// The names on a remote on whose values a plan can depend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Basis {
    names: BTreeSet<TagName>,
    /// Whether names count that nobody claims: only `exact` would touch them.
    strangers: bool,
}

impl Basis {
    /// What a plan over these sides can depend on, whatever the remote has.
    pub fn of(
        source: &SourceSnapshot,
        records: &BTreeMap<TagName, Record>,
        rules: &Rules,
        remote_rules: RemoteRules<'_>,
    ) -> Self {
        let in_scope = source.iter().filter(|(tag, _)| rules.selection.includes(tag));
        let of_source = in_scope.flat_map(|(tag, read)| names_behind(tag, read.ok(), remote_rules));
        let of_records = records.iter().filter(|(tag, _)| rules.selection.includes(tag));
        let names = of_source.chain(of_records.map(|(_, record)| record.remote_name.clone())).collect();
        Self { names, strangers: rules.policy == Policy::Exact }
    }

    /// Whether a plan can depend on the value of this name.
    pub fn has(&self, name: &TagName, remote_rules: RemoteRules<'_>) -> bool {
        self.names.contains(name) || self.strangers && !remote_rules.only_reads(name)
    }
}

/// The names on the remote whose values stand behind everything in a plan that is more than agreement.
pub fn questioned(plan: &Plan, sides: Sides<'_>, remote_rules: RemoteRules<'_>) -> BTreeSet<TagName> {
    let Plan { changes, notes, held, waiting, unpinned, overtaken, .. } = plan;
    let changes = changes.iter().map(|change| (&change.tag, Some(&change.remote_name)));
    let held = held.iter().map(|held| (&held.tag, Some(&held.remote_name)));
    let waiting = waiting.iter().map(|waiting| (&waiting.tag, Some(&waiting.remote_name)));
    let notes = notes.iter().map(|note| (&note.tag, None));
    let pins = unpinned.iter().chain(overtaken).map(|tag| (tag, None));
    let all = changes.chain(held).chain(waiting).chain(notes).chain(pins);
    all.flat_map(|(tag, remote_name)| {
        let source = sides.source.get(tag).and_then(Result::ok);
        names_behind(tag, source, remote_rules).into_iter().chain(remote_name.cloned())
    })
    .collect()
}

/// A source name's place on the remote, and the tag there that its target is read from.
fn names_behind(tag: &TagName, source: Option<&SourceTag>, remote_rules: RemoteRules<'_>) -> Vec<TagName> {
    let commit_id = source.and_then(SourceTag::commit_id);
    let read_from = remote_rules.rule.reads_from().and_then(|template| template.name_for(tag, commit_id).ok());
    remote_rules.place(tag).ok().into_iter().chain(read_from).collect()
}

/// Whether a plan, after the guards, leaves a value on the remote that was not agreed on here, and that `exact` may overwrite or
/// delete in a later pass. What the job protects is none of them: with its patterns, the [`scope`] changes.
pub fn leaves_foreign(plan: &Plan, sides: Sides<'_>) -> bool {
    let is_pinned = |kind| matches!(kind, HoldKind::Conflict(Conflict::Protected | Conflict::Immutable));
    let held = plan.held.iter().filter(|held| !is_pinned(held.kind)).map(|held| (&held.tag, &held.remote_name));
    let waiting = plan.waiting.iter().map(|waiting| (&waiting.tag, &waiting.remote_name));
    held.chain(waiting).any(|(tag, remote_name)| {
        let Some(there) = sides.remote.get(remote_name) else { return false };
        let record = sides.records.get(tag).filter(|record| record.remote_name == *remote_name);
        match (&there.value, record) {
            (Ok(value), Some(record)) => value.target != record.value.target,
            (Ok(_) | Err(_), _) => true,
        }
    })
}

/// A fingerprint of what says which names on a remote `exact` may take for strays: the policy, the names in scope, which of
/// them stay as they are, what they are called there, and which are only read. After a change of any of them, what a person
/// once approved says nothing about the rest.
pub fn scope(rules: &Rules, mapping: &NameMapping, rule: &ResolveRule) -> String {
    let Rules { policy, selection: Selection { patterns, versions }, immutable, protected } = rules;
    let NameMapping { strip_prefix, replace, add_prefix } = mapping;
    let mut fingerprint = Fingerprint::default();
    let mut add = |text: &str| fingerprint.add(text);
    add(policy.word());
    for patterns in [patterns, immutable, protected] {
        add(&patterns.texts().len().to_string());
        patterns.texts().for_each(&mut add);
    }
    add(&versions.as_ref().map(ToString::to_string).unwrap_or_default());
    add(strip_prefix);
    add(add_prefix);
    replace.iter().for_each(|(from, to)| {
        add(from);
        add(to);
    });
    // Only what is read from the remote leaves names out.
    add(&rule.reads_from().map(ToString::to_string).unwrap_or_default());
    let mut digits = fingerprint.digits();
    digits.truncate(16);
    digits
}
