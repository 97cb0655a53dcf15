//! Draws the plan: every name that exists anywhere gets exactly one verdict.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::{
    Cause, Conflict, Held, HoldKind, NameRules, Plan, PlannedChange, Policy, Verdict, Waiting, classify, reshape,
    resolve,
};
use crate::ledger::{Action, Note, Ownership, Record, RecordChange, Refusal, RefusalKind};
use crate::provider::{Capabilities, Deletes, Moves};
use crate::tag::{
    Attachment, NameMapping, NamePatterns, RemoteSnapshot, RemoteTag, Selection, SourceSnapshot, SourceTag, TagName,
    Value,
};

/// What is known of the two sides and of the last agreement.
#[derive(Clone, Copy, Debug)]
pub struct Sides<'a> {
    /// The complete source.
    pub source: &'a SourceSnapshot,
    /// The last agreed values by source name; empty when they were lost or voided.
    pub records: &'a BTreeMap<TagName, Record>,
    /// The complete remote.
    pub remote: &'a RemoteSnapshot,
    /// Changes that the remote refused before and that are not due to be offered again.
    pub refusals: &'a BTreeMap<TagName, Refusal>,
    /// Names with a write whose end is not known.
    pub open: &'a BTreeSet<TagName>,
}

/// What the job says about names.
#[derive(Clone, Debug)]
pub struct Rules {
    /// What may be done at all.
    pub policy: Policy,
    /// Which names are in scope.
    pub selection: Selection,
    /// Names whose first value is pinned.
    pub immutable: NamePatterns,
    /// Names that are never moved and never deleted.
    pub protected: NamePatterns,
}

/// What the remote says about names.
#[derive(Clone, Copy)]
pub struct RemoteRules<'a> {
    /// What the kind of API can do.
    pub capabilities: &'a Capabilities,
    /// What names are called there.
    pub mapping: &'a NameMapping,
    /// Whether annotations are compared.
    pub compare_annotations: bool,
    /// Whether a deletion of this remote name may take along what is attached to it.
    pub allows_loss: &'a (dyn Fn(&TagName) -> bool + Sync),
}

/// Draws the plan. The same inputs give the same plan, byte for byte.
pub fn draw(sides: Sides<'_>, rules: &Rules, remote_rules: RemoteRules<'_>) -> Plan {
    let mut drawing = Drawing { sides, rules, remote_rules, claimed: Vec::new(), plan: Plan::default() };
    let claims = drawing.claims();
    drawing.judge_the_claims(claims);
    drawing.judge_the_unclaimed();
    drawing.clear_the_way();
    let mut plan = drawing.plan;
    plan.changes.sort_by(|one, other| one.tag.cmp(&other.tag));
    plan.notes.sort_by(|one, other| one.tag.cmp(&other.tag));
    plan.held.sort_by(|one, other| one.tag.cmp(&other.tag));
    plan.waiting.sort_by(|one, other| one.tag.cmp(&other.tag));
    plan
}

/// A source name with its place on the remote.
struct Claim<'a> {
    tag: &'a TagName,
    remote_name: TagName,
    source: Option<Result<&'a SourceTag, &'a str>>,
    record: Option<&'a Record>,
}

struct Drawing<'a> {
    sides: Sides<'a>,
    rules: &'a Rules,
    remote_rules: RemoteRules<'a>,
    /// Remote names that belong to a name of the source or of the ledger, sorted.
    claimed: Vec<TagName>,
    plan: Plan,
}

impl<'a> Drawing<'a> {
    /// Every name of source and ledger that is in scope, with its place on the remote, sorted by that place. Settles on the
    /// way those that have none: records out of scope or under another mapping are released.
    fn claims(&mut self) -> Vec<Claim<'a>> {
        let Sides { source, records, .. } = self.sides;
        let mut claims = Vec::with_capacity(source.len());
        for (tag, read) in source.iter() {
            if !self.rules.selection.includes(tag) {
                continue;
            }
            self.plan.in_scope += u32::from(read.is_ok());
            match self.remote_rules.mapping.to_remote(tag) {
                Ok(remote_name) => {
                    let record = records.get(tag).filter(|record| record.remote_name == remote_name);
                    claims.push(Claim { tag, remote_name, source: Some(read), record });
                }
                Err(fault) => {
                    let claim = Claim { tag, remote_name: tag.clone(), source: Some(read), record: None };
                    let hint = "change the mapping, or exclude it by `tags`";
                    self.hold(&claim, HoldKind::Inexpressible, &fault.to_string(), hint);
                }
            }
        }
        for (tag, record) in records {
            let mapped = self.remote_rules.mapping.to_remote(tag);
            let in_place = mapped.is_ok_and(|remote_name| remote_name == record.remote_name);
            if !self.rules.selection.includes(tag) || !in_place {
                // Narrowing a filter, or renaming on the remote, lets go of tags; it never deletes any.
                self.plan.notes.push(Note { tag: tag.clone(), record: RecordChange::Drop });
                continue;
            }
            self.plan.owned += 1;
            if source.get(tag).is_none() {
                let remote_name = record.remote_name.clone();
                claims.push(Claim { tag, remote_name, source: None, record: Some(record) });
            }
        }
        claims.sort_unstable_by(|one, other| (&one.remote_name, one.tag).cmp(&(&other.remote_name, other.tag)));
        claims
    }

    /// Judges each claim alone; claims of several names on one place are settled between them first.
    fn judge_the_claims(&mut self, claims: Vec<Claim<'a>>) {
        self.claimed = claims.iter().map(|claim| claim.remote_name.clone()).collect();
        self.claimed.dedup();
        let mut claims = claims.into_iter().peekable();
        while let Some(claim) = claims.next() {
            let mut rivals = vec![claim];
            while let Some(rival) = claims.next_if(|next| next.remote_name == rivals[0].remote_name) {
                rivals.push(rival);
            }
            if let Some(claim) = self.settle_rivals(rivals) {
                self.judge(claim);
            }
        }
    }

    /// Of several names that have one place on the remote, the one that may have it. A name that the source still has takes
    /// over from those that it dropped, together with the record, because tagsyncd wrote what is there. Otherwise all are held.
    fn settle_rivals(&mut self, mut rivals: Vec<Claim<'a>>) -> Option<Claim<'a>> {
        if rivals.len() == 1 {
            return rivals.pop();
        }
        let present = |claim: &Claim<'_>| matches!(claim.source, Some(Ok(_)));
        if rivals.iter().filter(|claim| present(claim)).count() == 1
            && rivals.iter().filter(|claim| claim.source.is_some()).count() == 1
            && let Some(at) = rivals.iter().position(present)
        {
            let mut heir = rivals.swap_remove(at);
            for dropped in rivals {
                self.plan.notes.push(Note { tag: dropped.tag.clone(), record: RecordChange::Drop });
                heir.record = heir.record.or(dropped.record);
            }
            if let Some(record) = heir.record {
                self.plan.notes.push(Note { tag: heir.tag.clone(), record: RecordChange::Put(record.clone()) });
            }
            return Some(heir);
        }
        let names: Vec<String> = rivals.iter().map(|claim| format!("`{}`", claim.tag)).collect();
        let reason = format!("{} all become `{}` on the remote", names.join(", "), rivals[0].remote_name);
        for claim in rivals {
            let hint = "change `strip_prefix` or `replace`, or exclude one by `tags`";
            self.hold(&claim, HoldKind::NamesMeet, &reason, hint);
        }
        None
    }

    fn judge(&mut self, claim: Claim<'a>) {
        if self.sides.open.contains(claim.tag) {
            self.plan.waiting.push(Waiting {
                tag: claim.tag.clone(),
                remote_name: claim.remote_name,
                to: None,
                reason: "a write to it was interrupted, and the next `--sync` settles that first".to_owned(),
            });
            return;
        }
        let remote = self.sides.remote.get(&claim.remote_name);
        let source_tag = match claim.source {
            Some(Err(reason)) => {
                let hint = "repair the tag in the source, or exclude it by `tags`";
                return self.hold(&claim, HoldKind::Unknown, &format!("unknown in the source: {reason}"), hint);
            }
            Some(Ok(tag)) => Some(tag),
            None => None,
        };
        let remote_value = match remote.map(|tag| tag.value.as_ref()) {
            Some(Err(reason)) => {
                let hint = "look at the tag on the remote";
                return self.hold(&claim, HoldKind::Unknown, &format!("unknown on the remote: {reason}"), hint);
            }
            Some(Ok(value)) => Some(value),
            None => None,
        };
        let capabilities = self.remote_rules.capabilities;
        let compare_annotations = self.remote_rules.compare_annotations;
        let source_value =
            match source_tag.map(|tag| resolve(tag, capabilities.target, compare_annotations)).transpose() {
                Ok(value) => value,
                Err(reason) => {
                    return self.hold(&claim, HoldKind::Inexpressible, reason, "exclude it by `tags`");
                }
            };
        let recorded =
            claim.record.map(|record| reshape(&record.value, source_value.as_ref(), remote_value, compare_annotations));
        if recorded.is_some() && source_value.is_some() && remote.is_none() {
            self.plan.vanished += 1;
        }
        let name_rules = NameRules {
            protected: self.rules.protected.matches(claim.tag),
            immutable: self.rules.immutable.matches(claim.tag),
        };
        let verdict = classify(source_value.as_ref(), recorded.as_ref(), remote_value, self.rules.policy, name_rules);
        let record = |value: &Value, ownership| {
            RecordChange::Put(Record { remote_name: claim.remote_name.clone(), value: value.clone(), ownership })
        };
        let note = |record| Note { tag: claim.tag.clone(), record };
        match (verdict, source_value) {
            (Verdict::InSync, Some(value)) => {
                // The same agreement in another shape, after `annotations` was changed.
                if claim.record.is_some_and(|record| record.value != value) {
                    let ownership = claim.record.map_or(Ownership::Adopted, |record| record.ownership);
                    self.plan.notes.push(note(record(&value, ownership)));
                } else {
                    self.plan.in_sync.push(claim.tag.clone());
                }
            }
            (Verdict::Adopt, Some(value)) => self.plan.notes.push(note(record(&value, Ownership::Adopted))),
            (Verdict::Record, Some(value)) => {
                let ownership = claim.record.map_or(Ownership::Adopted, |record| record.ownership);
                self.plan.notes.push(note(record(&value, ownership)));
            }
            (Verdict::Forget, _) => self.plan.notes.push(note(RecordChange::Drop)),
            (Verdict::Unmanaged, _) => self.plan.unmanaged.push(claim.tag.clone()),
            (Verdict::Retained, _) => self.plan.retained.push(claim.tag.clone()),
            (Verdict::Held(conflict), _) => self.hold_conflict(&claim, conflict),
            (Verdict::Create(cause), new @ Some(_)) => self.change(&claim, Action::Create, new, cause, remote),
            (Verdict::Move(cause), new @ Some(_)) => self.change(&claim, Action::Move, new, cause, remote),
            (Verdict::Delete, _) => self.change(&claim, Action::Delete, None, Cause::Ordinary, remote),
            // A claim is a name of the source or of the ledger, and these verdicts need a source value.
            (Verdict::Nothing, _)
            | (Verdict::InSync | Verdict::Adopt | Verdict::Record | Verdict::Create(_) | Verdict::Move(_), None) => {}
        }
    }

    /// Remote names that neither source nor ledger claims: unmanaged, or under `exact` to be deleted.
    fn judge_the_unclaimed(&mut self) {
        for tag in self.sides.remote.tags() {
            if self.claimed.binary_search(&tag.name).is_ok() {
                continue;
            }
            let candidates = self.remote_rules.mapping.to_source(&tag.name);
            // A name that stands for one that the source has out of scope is as invisible as that one.
            if candidates.iter().any(|name| self.sides.source.get(name).is_some()) {
                continue;
            }
            let Some(name) = candidates.iter().find(|name| self.rules.selection.includes(name)) else { continue };
            let claim = Claim { tag: name, remote_name: tag.name.clone(), source: None, record: None };
            // It is not known which of the candidates it once was, so a rule for any of them holds it.
            let name_rules = NameRules {
                protected: candidates.iter().any(|name| self.rules.protected.matches(name)),
                immutable: candidates.iter().any(|name| self.rules.immutable.matches(name)),
            };
            match (classify(None, None, Some(&()), self.rules.policy, name_rules), &tag.value) {
                (Verdict::Delete, Ok(_)) => self.change(&claim, Action::Delete, None, Cause::Ordinary, Some(tag)),
                (Verdict::Delete, Err(reason)) => {
                    let reason = format!("unknown on the remote: {reason}");
                    self.hold(&claim, HoldKind::Unknown, &reason, "look at the tag on the remote");
                }
                (Verdict::Held(conflict), _) => self.hold_conflict(&claim, conflict),
                _ => self.plan.unmanaged.push(name.clone()),
            }
        }
    }

    /// Plans a write, unless the remote cannot do it, must not do it, or refused it before.
    fn change(
        &mut self,
        claim: &Claim<'_>,
        action: Action,
        new: Option<Value>,
        cause: Cause,
        remote: Option<&RemoteTag>,
    ) {
        if let Some((kind, reason, hint)) = self.obstacle(claim, action, remote) {
            return self.hold(claim, kind, &reason, hint);
        }
        let remote_value = remote.and_then(|tag| tag.value.as_ref().ok());
        let remote_target = remote_value.map(|value| &value.target);
        let old = remote_value.cloned();
        if let Some(refusal) = self.sides.refusals.get(claim.tag)
            && Some(&refusal.value) == new.as_ref().or(old.as_ref())
        {
            match refusal.kind {
                RefusalKind::TargetMissing => self.plan.waiting.push(Waiting {
                    tag: claim.tag.clone(),
                    remote_name: claim.remote_name.clone(),
                    reason: format!("the remote does not have {:.12} yet", refusal.value.target),
                    to: new,
                }),
                RefusalKind::Policy => {
                    let reason = format!("the remote refused it: {}", refusal.detail);
                    let hint = "lift the rule on the remote; it is offered again after as long as it has been refused, at most a day";
                    self.hold(claim, HoldKind::Refused, &reason, hint);
                }
            }
            return;
        }
        self.plan.changes.push(PlannedChange {
            tag: claim.tag.clone(),
            remote_name: claim.remote_name.clone(),
            action,
            old,
            new,
            cause,
            foreign: action != Action::Create && claim.record.map(|record| &record.value.target) != remote_target,
            record: claim.record.map(|record| record.value.clone()),
            attachment: remote.and_then(|tag| tag.attachment),
            namesakes: if action == Action::Delete {
                let mut others = self.remote_rules.mapping.to_source(&claim.remote_name);
                others.retain(|name| name != claim.tag);
                others
            } else {
                Vec::new()
            },
            tag_id: claim.source.and_then(|read| read.ok()).and_then(|tag| tag.tag_id),
            blockers: Vec::new(),
        });
    }

    /// What the remote has against a write: names, missing operations, protection, attachments.
    fn obstacle(
        &self,
        claim: &Claim<'_>,
        action: Action,
        remote: Option<&RemoteTag>,
    ) -> Option<(HoldKind, String, &'static str)> {
        let capabilities = self.remote_rules.capabilities;
        let by_hand = "make the change on the remote by hand, or exclude the name by `tags`";
        if action != Action::Delete
            && let Some(reason) = (capabilities.names.refuses)(&claim.remote_name)
        {
            let hint = "map the name by `replace`, or exclude it by `tags`";
            return Some((HoldKind::Inexpressible, format!("the remote takes no such name: {reason}"), hint));
        }
        match (action, capabilities.moves, capabilities.deletes) {
            (Action::Move, Moves::Never(reason), _) | (Action::Delete, _, Deletes::Never(reason)) => {
                return Some((HoldKind::Inexpressible, reason.to_owned(), by_hand));
            }
            (Action::Create | Action::Move | Action::Delete, _, _) => {}
        }
        let remote = remote?;
        if action == Action::Create {
            return None;
        }
        if remote.protected {
            let hint = "lift the protection on the remote, or exclude the name by `tags`";
            return Some((HoldKind::RemoteProtected, "the remote protects this tag against changes".to_owned(), hint));
        }
        let loses = action == Action::Delete || capabilities.moves == Moves::Recreate;
        match remote.attachment {
            Some(attachment) if loses && !(self.remote_rules.allows_loss)(&claim.remote_name) => {
                let reason = match attachment {
                    Attachment::Release => {
                        "a Release is attached to it, and deleting the tag would destroy the Release"
                    }
                    Attachment::Hidden => {
                        "the remote does not show whether a Release is attached, and deleting the tag would destroy it"
                    }
                };
                let hint = "change it on the remote by hand, or set `allow_release_loss` for this name";
                Some((HoldKind::SideEffect, reason.to_owned(), hint))
            }
            Some(_) | None => None,
        }
    }

    /// git keeps no `a` beside `a/b`: a create whose place is taken waits for a deletion of this plan, or is held.
    fn clear_the_way(&mut self) {
        let creates = self.plan.changes.iter().any(|change| change.action == Action::Create);
        if !self.remote_rules.capabilities.names.are_refs || !creates {
            return;
        }
        let going: BTreeSet<TagName> = self
            .plan
            .changes
            .iter()
            .filter(|change| change.action == Action::Delete)
            .map(|change| change.remote_name.clone())
            .collect();
        let coming: BTreeSet<TagName> = self
            .plan
            .changes
            .iter()
            .filter(|change| change.action == Action::Create)
            .map(|change| change.remote_name.clone())
            .collect();
        let existing: BTreeSet<TagName> = self.sides.remote.tags().iter().map(|tag| tag.name.clone()).collect();
        for mut change in std::mem::take(&mut self.plan.changes) {
            if change.action == Action::Create {
                if let Some(rival) = in_the_way(&change.remote_name, &coming).first() {
                    let reason = format!("`{}` and `{rival}` cannot exist together on the remote", change.remote_name);
                    self.plan.held.push(change.into_held(
                        HoldKind::NamesMeet,
                        reason,
                        "change `replace`, or exclude one by `tags`",
                    ));
                    continue;
                }
                change.blockers = in_the_way(&change.remote_name, &existing);
                if let Some(stays) = change.blockers.iter().find(|blocker| !going.contains(*blocker)) {
                    let reason = format!("`{stays}` is in the way on the remote, and git cannot keep both");
                    let hint = "delete or rename the other tag, or exclude one by `tags`";
                    self.plan.held.push(change.into_held(HoldKind::Blocked, reason, hint));
                    continue;
                }
            }
            self.plan.changes.push(change);
        }
    }

    fn hold_conflict(&mut self, claim: &Claim<'_>, conflict: Conflict) {
        let (reason, hint) = conflict.explain();
        self.hold(claim, HoldKind::Conflict(conflict), reason, hint);
    }

    fn hold(&mut self, claim: &Claim<'_>, kind: HoldKind, reason: &str, hint: &str) {
        let capabilities = self.remote_rules.capabilities;
        let source = claim.source.and_then(Result::ok);
        self.plan.held.push(Held {
            tag: claim.tag.clone(),
            remote_name: claim.remote_name.clone(),
            kind,
            source: source
                .and_then(|tag| resolve(tag, capabilities.target, self.remote_rules.compare_annotations).ok()),
            record: claim.record.map(|record| record.value.clone()),
            remote: self.sides.remote.get(&claim.remote_name).and_then(|tag| tag.value.clone().ok()),
            reason: reason.to_owned(),
            hint: hint.to_owned(),
        });
    }
}

/// The names of a set that cannot exist beside this one.
fn in_the_way(name: &TagName, names: &BTreeSet<TagName>) -> Vec<TagName> {
    let above = name.parents().filter_map(|parent| names.get(parent));
    let directory = [name.as_bytes(), b"/"].concat();
    let below = names
        .range::<[u8], _>((Bound::Excluded(directory.as_slice()), Bound::Unbounded))
        .take_while(|other| other.as_bytes().starts_with(&directory));
    above.chain(below).cloned().collect()
}
