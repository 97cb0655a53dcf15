//! One name, from all that is known about it to what it asks for.
//!
//! The same steps serve a plan and an explanation: a [`Witness`] is told of each rule as it is asked, so that what
//! `explain` tells is what a pass does. A plan's witness is `()`, which hears nothing and costs nothing.

use std::fmt;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    CarriedMessage, Cause, Conflict, Delay, HoldKind, NameRules, Neighbours, PlannedChange, Policy, RemoteRules,
    Resolved, Rules, Timing, Verdict, carried_over, classify, reshape,
};
use crate::ledger::{Action, Ownership, Pin, Record, RecordChange, Refusal, RefusalKind};
use crate::provider::{Annotations, Deletes, Moves};
use crate::tag::{Annotation, Attachment, GitTag, RemoteTag, ResolveRule, SourceTag, TagName, Value};

/// A name with all that is known about it.
#[derive(Clone, Debug)]
pub struct Subject<'a> {
    /// The source's name; where the source has none, the first that it can have had there.
    pub tag: &'a TagName,
    /// Other names that it can have had in the source, where neither source nor ledger know it.
    pub aliases: &'a [TagName],
    /// Its name on the remote.
    pub remote_name: &'a TagName,
    /// What the source has; `Err` where that cannot be read.
    pub source: Option<Result<Wanted<'a>, &'a str>>,
    /// What was last agreed.
    pub record: Option<&'a Record>,
    /// What the remote has.
    pub remote: Option<&'a RemoteTag>,
    /// What the remote refused before.
    pub refusal: Option<&'a Refusal>,
    /// How a person put it back against the source.
    pub pin: Option<&'a Pin>,
    /// Whether a write to it has no known end.
    pub open: bool,
    /// The moment, and what happened lately.
    pub timing: Timing<'a>,
}

/// A source tag with what it should be on the remote.
#[derive(Clone, Debug)]
pub struct Wanted<'a> {
    /// The tag.
    pub tag: &'a SourceTag,
    /// What [`resolve`](super::resolve()) says about it.
    pub resolved: Resolved,
}

/// A rule about one name, in the order in which they are asked; the first that decides ends the judgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// `tags` of the job leaves it out.
    Tags,
    /// `semver` of the job leaves it out.
    Semver,
    /// Its name cannot be mapped to one of the remote.
    Mapping,
    /// Another source name has the same place on the remote.
    NamesMeet,
    /// A write to it was interrupted.
    Interrupted,
    /// The source's tag cannot be read.
    UnknownInSource,
    /// The remote's tag cannot be read.
    UnknownOnRemote,
    /// The remote cannot hold what it points at.
    Target,
    /// What it should be on the remote cannot be told.
    Resolve,
    /// `protected` of the job includes it.
    Protected,
    /// `immutable` of the job includes it.
    Immutable,
    /// The remote may still show what was there before our own last write.
    Unseen,
    /// The three-way table, for the job's policy.
    Policy,
    /// `delete_grace` of the job is not over.
    DeleteGrace,
    /// Somebody keeps changing it on the remote.
    Flapping,
    /// The remote takes no such name.
    RemoteName,
    /// The remote has no such operation.
    Operation,
    /// The remote protects the tag.
    RemoteProtection,
    /// The write would destroy what is attached to the tag.
    Attachment,
    /// The remote refused this very change before.
    Refused,
    /// A person put it back against the source.
    Undone,
    /// A guard parked the change.
    Guards,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tags => "left out by `tags`",
            Self::Semver => "left out by `semver`",
            Self::Mapping => "has no name on the remote",
            Self::NamesMeet => "meets another name on the remote",
            Self::Interrupted => "a write to it was interrupted",
            Self::UnknownInSource => "unreadable in the source",
            Self::UnknownOnRemote => "unreadable on the remote",
            Self::Target => "points at what the remote cannot hold",
            Self::Resolve => "its target there cannot be told",
            Self::Protected => "`protected`",
            Self::Immutable => "`immutable`",
            Self::Unseen => "our own last write may not be visible yet",
            Self::Policy => "`policy`",
            Self::DeleteGrace => "`delete_grace`",
            Self::Flapping => "put back too often",
            Self::RemoteName => "a name that the remote does not take",
            Self::Operation => "an operation that the remote lacks",
            Self::RemoteProtection => "protected on the remote",
            Self::Attachment => "something attached would be lost",
            Self::Refused => "refused by the remote before",
            Self::Undone => "put back by `undo`",
            Self::Guards => "stopped by a guard",
        })
    }
}

/// Hears which rules were asked.
pub trait Witness {
    /// A rule was asked, and whether it applies.
    fn asked(&mut self, rule: Rule, applies: bool);
}

impl Witness for () {
    fn asked(&mut self, _: Rule, _: bool) {}
}

/// What a name asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// It is nowhere.
    Nothing,
    /// All agree.
    InSync,
    /// Only the record changes.
    Note(RecordChange),
    /// On the remote, and never ours.
    Unmanaged,
    /// Ours, gone from the source, and the policy never deletes.
    Retained,
    /// A person must decide.
    Held {
        /// Why, in one word.
        kind: HoldKind,
        /// Why, in a sentence.
        reason: String,
        /// What to do.
        hint: &'static str,
    },
    /// Heals by itself.
    Waiting {
        /// What it will have.
        to: Option<Value>,
        /// What it waits for.
        reason: String,
        /// Why and until when, where time alone settles it.
        until: Option<(Delay, Timestamp)>,
    },
    /// A write, if no guard stops it.
    Change(Box<PlannedChange>),
}

/// Judges one name. The same inputs give the same judgement.
pub fn judge(
    subject: &Subject<'_>,
    rules: &Rules,
    remote_rules: RemoteRules<'_>,
    witness: &mut impl Witness,
) -> Judgement {
    let mut asks = |rule, applies| {
        witness.asked(rule, applies);
        applies
    };
    let RemoteRules { capabilities, compare_annotations, rule, .. } = remote_rules;
    if asks(Rule::Interrupted, subject.open) {
        let reason = "a write to it was interrupted, and the next `--sync` settles that first".to_owned();
        return Judgement::Waiting { to: None, reason, until: None };
    }
    let unreadable = subject.source.as_ref().and_then(|source| source.as_ref().err());
    asks(Rule::UnknownInSource, unreadable.is_some());
    if let Some(reason) = unreadable {
        let hint = "repair the tag in the source, or exclude it by `tags`";
        return held(HoldKind::Unknown, format!("unknown in the source: {reason}"), hint);
    }
    // What nobody claims and no policy would touch need not be readable.
    let concerns = subject.source.is_some() || subject.record.is_some() || rules.policy == Policy::Exact;
    let unreadable = subject.remote.and_then(|tag| tag.value.as_ref().err()).filter(|_| concerns);
    asks(Rule::UnknownOnRemote, unreadable.is_some());
    if let Some(reason) = unreadable {
        return held(HoldKind::Unknown, format!("unknown on the remote: {reason}"), "look at the tag on the remote");
    }
    let wanted = subject.source.as_ref().and_then(|source| source.as_ref().ok());
    let by_rule = if *rule == ResolveRule::Itself { Rule::Target } else { Rule::Resolve };
    asks(by_rule, wanted.is_some_and(|wanted| wanted.resolved.value().is_none()));
    let source_value = match wanted.map(|wanted| &wanted.resolved) {
        None => None,
        Some(Resolved::Value(value)) => Some(value.clone()),
        // Present in the source, whatever it will be: nothing of it is created, moved, deleted or forgotten.
        Some(Resolved::Waiting(reason)) => {
            return Judgement::Waiting { to: None, reason: reason.clone(), until: None };
        }
        Some(Resolved::Unknown(reason)) => {
            return held(HoldKind::Unknown, reason.clone(), "look at what `target` of the remote reads");
        }
        Some(Resolved::Inexpressible { reason, hint }) => return held(HoldKind::Inexpressible, reason.clone(), hint),
    };
    let remote_value = match subject.remote.map(|tag| &tag.value) {
        None => None,
        Some(Ok(value)) => Some(value),
        Some(Err(_)) => {
            asks(Rule::Policy, true);
            return Judgement::Unmanaged;
        }
    };
    let recorded = subject.record.and_then(|record| {
        let tag = wanted.map(|wanted| wanted.tag);
        let value = carried_over(record, capabilities.target, tag, source_value.as_ref(), remote_value)?;
        Some(reshape(&value, source_value.as_ref(), remote_value, compare_annotations))
    });
    // Where nobody knows which of several names it once was, a rule for any of them holds it.
    let mut names = std::iter::once(subject.tag).chain(subject.aliases);
    let name_rules = NameRules {
        protected: names.clone().any(|name| rules.protected.matches(name)),
        immutable: names.any(|name| rules.immutable.matches(name)),
    };
    asks(Rule::Protected, name_rules.protected);
    asks(Rule::Immutable, name_rules.immutable);
    let unseen = subject.timing.unseen_until(subject.tag, remote_value);
    asks(Rule::Unseen, unseen.is_some());
    if let Some(until) = unseen {
        let reason = format!(
            "the remote still shows what was there before our own last write, as a replica may until {until:.0}"
        );
        return Judgement::Waiting { to: source_value, reason, until: Some((Delay::Replica, until)) };
    }
    asks(Rule::Policy, true);
    let put = |value: Value| {
        let ownership = subject.record.map_or(Ownership::Adopted, |record| record.ownership);
        Judgement::Note(RecordChange::Put(Record { remote_name: subject.remote_name.clone(), value, ownership }))
    };
    let verdict = classify(source_value.as_ref(), recorded.as_ref(), remote_value, rules.policy, name_rules);
    let (action, new, cause) = match (verdict, source_value) {
        (Verdict::InSync, Some(value)) => {
            // The same agreement in another shape, after `annotations` was changed.
            let reshaped = subject.record.is_some_and(|record| record.value != value);
            return if reshaped { put(value) } else { Judgement::InSync };
        }
        (Verdict::Adopt | Verdict::Record, Some(value)) => return put(value),
        (Verdict::Forget, _) => return Judgement::Note(RecordChange::Drop),
        (Verdict::Unmanaged, _) => return Judgement::Unmanaged,
        (Verdict::Retained, _) => return Judgement::Retained,
        (Verdict::Held(conflict), _) => return hold_conflict(conflict),
        (Verdict::Create(cause), Some(value)) => (Action::Create, Some(value), cause),
        (Verdict::Move(cause), Some(value)) => (Action::Move, Some(value), cause),
        (Verdict::Delete, _) => (Action::Delete, None, Cause::Ordinary),
        // These verdicts need a source value, and a name that is nowhere asks for nothing.
        (Verdict::Nothing, _)
        | (Verdict::InSync | Verdict::Adopt | Verdict::Record | Verdict::Create(_) | Verdict::Move(_), None) => {
            return Judgement::Nothing;
        }
    };
    if action == Action::Delete {
        let grace = subject.timing.grace_until(subject.tag);
        asks(Rule::DeleteGrace, grace.is_some());
        if let Some(until) = grace {
            let reason = format!("gone from the source; deleted if it is still gone at {until:.0}");
            return Judgement::Waiting { to: None, reason, until: Some((Delay::Grace, until)) };
        }
    }
    let quarrel = subject.timing.quarrel_until(subject.tag);
    asks(Rule::Flapping, quarrel.is_some());
    if let Some(until) = quarrel {
        let reason = format!(
            "it was put back 3 times within an hour, so somebody else keeps changing it; left alone until {until:.0}"
        );
        return held(
            HoldKind::Flapping,
            reason,
            "find out who else writes it on the remote, and let only one of the two",
        );
    }
    if let Some((kind, reason, hint)) = obstacle(subject, action, remote_rules, &mut asks) {
        return held(kind, reason, hint);
    }
    let refused = subject.refusal.filter(|refusal| Some(&refusal.value) == new.as_ref().or(remote_value));
    asks(Rule::Refused, refused.is_some());
    if let Some(refusal) = refused {
        return stays_refused(refusal, new);
    }
    let undone = subject.pin.filter(|pin| !agrees(pin, new.as_ref(), compare_annotations)).map(|pin| pin.undone);
    asks(Rule::Undone, undone.is_some());
    Judgement::Change(Box::new(PlannedChange {
        tag: subject.tag.clone(),
        remote_name: subject.remote_name.clone(),
        action,
        old: remote_value.cloned().map(Box::new),
        new,
        commit: wanted.filter(|_| action == Action::Move).and_then(|wanted| wanted.tag.commit_id()).map(Box::new),
        cause,
        foreign: action != Action::Create
            && recorded.as_ref().map(|value| &value.target) != remote_value.map(|value| &value.target),
        record: subject.record.map(|record| Box::new(record.value.clone())),
        attachment: subject.remote.and_then(|tag| tag.attachment),
        message: match (capabilities.annotations, wanted) {
            (Annotations::Message, Some(wanted)) => carried_message(wanted.tag).map(Box::new),
            // The whole object goes there, not its message.
            (Annotations::None | Annotations::Whole, _) | (Annotations::Message, None) => None,
        },
        undone,
        neighbours: if action == Action::Delete { namesakes(subject, remote_rules).map(Box::new) } else { None },
    }))
}

fn namesakes(subject: &Subject<'_>, remote_rules: RemoteRules<'_>) -> Option<Neighbours> {
    let mut namesakes = remote_rules.mapping.to_source(subject.remote_name);
    namesakes.retain(|name| name != subject.tag);
    (!namesakes.is_empty()).then(|| Neighbours { namesakes, ..Neighbours::default() })
}

fn carried_message(tag: &SourceTag) -> Option<CarriedMessage> {
    match tag {
        SourceTag::Git(GitTag { tag_id, .. }) => tag_id.map(CarriedMessage::Of),
        SourceTag::Told(value) => match &value.annotation {
            Annotation::Annotated(digest) => Some(CarriedMessage::Told(**digest)),
            Annotation::NotCompared | Annotation::Lightweight => None,
        },
    }
}

/// Whether this value is the one that a person put back.
fn agrees(pin: &Pin, new: Option<&Value>, compare_annotations: bool) -> bool {
    pin.value.as_ref().map(|value| reshape(value, new, None, compare_annotations)).as_ref() == new
}

fn held(kind: HoldKind, reason: String, hint: &'static str) -> Judgement {
    Judgement::Held { kind, reason, hint }
}

fn hold_conflict(conflict: Conflict) -> Judgement {
    let (reason, hint) = conflict.explain();
    held(HoldKind::Conflict(conflict), reason.to_owned(), hint)
}

fn stays_refused(refusal: &Refusal, new: Option<Value>) -> Judgement {
    match refusal.kind {
        RefusalKind::TargetMissing => {
            let reason = format!("the remote does not have {:.12} yet", refusal.value.target);
            Judgement::Waiting { to: new, reason, until: None }
        }
        RefusalKind::Policy => held(
            HoldKind::Refused,
            format!("the remote refused it: {}", refusal.detail),
            "lift the rule on the remote; it is offered again after as long as it has been refused, at most a day",
        ),
    }
}

/// What the remote has against a write: names, missing operations, protection, attachments.
pub(super) fn obstacle(
    subject: &Subject<'_>,
    action: Action,
    remote_rules: RemoteRules<'_>,
    asks: &mut impl FnMut(Rule, bool) -> bool,
) -> Option<(HoldKind, String, &'static str)> {
    let capabilities = remote_rules.capabilities;
    let by_hand = "make the change on the remote by hand, or exclude the name by `tags`";
    let refuses_name = if action == Action::Delete { None } else { (capabilities.names.refuses)(subject.remote_name) };
    asks(Rule::RemoteName, refuses_name.is_some());
    if let Some(reason) = refuses_name {
        let hint = "map the name by `replace`, or exclude it by `tags`";
        return Some((HoldKind::Inexpressible, format!("the remote takes no such name: {reason}"), hint));
    }
    let lacks = match (action, capabilities.moves, capabilities.deletes) {
        (Action::Move, Moves::Never(reason), _) | (Action::Delete, _, Deletes::Never(reason)) => Some(reason),
        (Action::Create | Action::Move | Action::Delete, _, _) => None,
    };
    asks(Rule::Operation, lacks.is_some());
    if let Some(reason) = lacks {
        return Some((HoldKind::Inexpressible, reason.to_owned(), by_hand));
    }
    let existing = subject.remote.filter(|_| action != Action::Create);
    if asks(Rule::RemoteProtection, existing.is_some_and(|tag| tag.protected)) {
        let hint = "lift the protection on the remote, or exclude the name by `tags`";
        return Some((HoldKind::RemoteProtected, "the remote protects this tag against changes".to_owned(), hint));
    }
    let loses = action == Action::Delete || capabilities.moves == Moves::Recreate;
    let lost =
        existing.and_then(|tag| tag.attachment).filter(|_| loses && !(remote_rules.allows_loss)(subject.remote_name));
    asks(Rule::Attachment, lost.is_some());
    let reason = match lost? {
        Attachment::Release => "a Release is attached to it, and deleting the tag would destroy the Release",
        Attachment::Hidden => {
            "the remote does not show whether a Release is attached, and deleting the tag would destroy it"
        }
        Attachment::Unlisted => {
            "whether a Release is attached is yet to be seen, and deleting the tag would destroy it"
        }
    };
    let hint = "change it on the remote by hand, or set `allow_release_loss` for this name";
    Some((HoldKind::SideEffect, reason.to_owned(), hint))
}
