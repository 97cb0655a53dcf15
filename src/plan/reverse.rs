//! The plan that puts back what a run changed.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::draw::{Sides, clear_the_way};
use super::judge::{Subject, obstacle};
use super::{
    CarriedMessage, Cause, Conflict, Held, HoldKind, Plan, PlannedChange, RemoteRules, Rules, Waiting, reshape,
};
use crate::ledger::{Action, HistoryEntry, Outcome, Ownership, Pair};
use crate::provider::Annotations;
use crate::tag::{Annotation, TagName, Value};

/// What a run did to one name of a remote, from its first write to its last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effect {
    /// When the first of its writes ended.
    pub time: Timestamp,
    /// The source's name.
    pub tag: TagName,
    /// The remote's name.
    pub remote_name: TagName,
    /// The value before the run; `None` where there was no tag.
    pub before: Option<Value>,
    /// The message that belonged to it, as far as it was known.
    pub message: Option<String>,
    /// The value that the run left.
    pub after: Option<Value>,
}

/// What a run has done, by pair and remote name: only writes that had an effect, oldest first.
pub fn effects(history: &[HistoryEntry]) -> BTreeMap<Pair, Vec<Effect>> {
    let mut effects: BTreeMap<&Pair, BTreeMap<&TagName, Effect>> = BTreeMap::new();
    for entry in history {
        let after = match (entry.outcome, entry.action) {
            (Outcome::Done, _) => entry.new.clone(),
            // Half of a move happened, or a deletion whose end nobody saw: what is there now decides.
            (Outcome::Lost, Action::Move | Action::Delete) => None,
            // It was there already, was never made, or was put back: this run left nothing.
            (Outcome::Lost, Action::Create)
            | (Outcome::Already | Outcome::Rejected | Outcome::NotSent | Outcome::Restored, _) => continue,
        };
        let of_pair = effects.entry(&entry.pair).or_default();
        let effect = of_pair.entry(&entry.remote_name).or_insert_with(|| Effect {
            time: entry.time,
            tag: entry.tag.clone(),
            remote_name: entry.remote_name.clone(),
            before: entry.old.clone(),
            message: entry.old_message.clone(),
            after: None,
        });
        effect.after = after;
    }
    let listed = |(pair, effects): (&Pair, BTreeMap<_, Effect>)| (pair.clone(), effects.into_values().collect());
    effects.into_iter().map(listed).collect()
}

/// Draws the plan that puts these effects back. What is no longer at the value that the run left is held; what is back
/// already asks for nothing. The policy has no say, since a person asks; what the job and the remote protect stays protected.
///
/// `bound` is when the source and the tag space of today were first seen together: what was written before that was written
/// elsewhere.
pub fn reverse(
    effects: &[Effect],
    bound: Option<Timestamp>,
    sides: Sides<'_>,
    rules: &Rules,
    remote_rules: RemoteRules<'_>,
) -> Plan {
    let mut plan = Plan::default();
    for (tag, read) in sides.source.iter() {
        plan.in_scope += u32::from(read.is_ok() && rules.selection.includes(tag));
    }
    plan.owned = u32::try_from(sides.records.len()).unwrap_or(u32::MAX);
    for effect in effects {
        put_back(effect, bound, sides, rules, remote_rules, &mut plan);
    }
    clear_the_way(&mut plan, sides.remote, remote_rules);
    plan.changes.sort_by(|one, other| one.tag.cmp(&other.tag));
    plan.held.sort_by(|one, other| one.tag.cmp(&other.tag));
    plan.waiting.sort_by(|one, other| one.tag.cmp(&other.tag));
    plan
}

fn put_back(
    effect: &Effect,
    bound: Option<Timestamp>,
    sides: Sides<'_>,
    rules: &Rules,
    remote_rules: RemoteRules<'_>,
    plan: &mut Plan,
) {
    let Effect { time, tag, remote_name, before, message, after } = effect;
    let subject = Subject {
        tag,
        aliases: &[],
        remote_name,
        // What the source wants has no say here.
        source: None,
        record: sides.records.get(tag),
        remote: sides.remote.get(remote_name),
        refusal: None,
        pin: None,
        open: sides.open.contains(tag),
        timing: sides.timing,
    };
    let there = subject.remote.and_then(|there| there.value.as_ref().ok());
    let compares = remote_rules.compare_annotations;
    let in_shape = |value: &Value| reshape(value, None, there, compares);
    let (before, after) =
        (before.as_ref().map(|value| as_remembered(value, message, there, compares)), after.as_ref().map(in_shape));
    let mut hold = |kind, reason: String, hint: &str| {
        plan.held.push(Held {
            tag: tag.clone(),
            remote_name: remote_name.clone(),
            kind,
            source: None,
            record: subject.record.map(|record| record.value.clone()),
            remote: there.cloned(),
            reason,
            hint: hint.to_owned(),
            dismissed: false,
        });
    };
    if bound.is_none_or(|bound| *time < bound) {
        let reason = "it was written before the source and the tag space of today were first seen together";
        return hold(HoldKind::Conflict(Conflict::NotOurs), reason.to_owned(), "put it back on the remote by hand");
    }
    if !rules.selection.includes(tag) || remote_rules.mapping.to_remote(tag).as_ref() != Ok(remote_name) {
        let reason = "the configuration leaves it out by now, or calls it otherwise on the remote";
        return hold(HoldKind::OutOfScope, reason.to_owned(), "put it back on the remote by hand, or include it again");
    }
    if remote_rules.only_reads(remote_name) {
        let reason = "its name on the remote is one that `target` reads from by now, and such tags are only read";
        return hold(HoldKind::Inexpressible, reason.to_owned(), "put it back on the remote by hand");
    }
    if subject.open {
        let reason = "a write to it was interrupted, and the next `--sync` settles that first".to_owned();
        plan.waiting.push(Waiting {
            tag: tag.clone(),
            remote_name: remote_name.clone(),
            to: None,
            reason,
            until: None,
        });
        return;
    }
    if let Some(Err(reason)) = subject.remote.map(|there| there.value.as_ref()) {
        return hold(HoldKind::Unknown, format!("unknown on the remote: {reason}"), "look at the tag on the remote");
    }
    let action = match (there, &after, &before) {
        (now, _, before) if now == before.as_ref() => return plan.in_sync.push(tag.clone()),
        (now, after, _) if now != after.as_ref() => {
            let shown = |value: Option<&Value>| value.map_or("absent".to_owned(), |value| format!("{value:.12}"));
            let reason =
                format!("no longer at the value that the run left: {} then, {} now", shown(after.as_ref()), shown(now));
            return hold(
                HoldKind::MovedOn,
                reason,
                "decide by hand what it should be; `tagsyncd history --tag` shows who wrote it",
            );
        }
        (None, _, _) => Action::Create,
        (Some(_), _, Some(_)) => Action::Move,
        (Some(_), _, None) => Action::Delete,
    };
    let ours = subject.record.is_some_and(|record| {
        record.ownership == Ownership::Created
            && record.remote_name == *remote_name
            && after.as_ref() == Some(&in_shape(&record.value))
    });
    if action != Action::Create && !ours {
        let (_, hint) = Conflict::NotOurs.explain();
        let reason =
            "nothing shows that tagsyncd wrote it here: the records of that time are gone, or are another tag space's";
        return hold(HoldKind::Conflict(Conflict::NotOurs), reason.to_owned(), hint);
    }
    let protection =
        [(rules.protected.matches(tag), Conflict::Protected), (rules.immutable.matches(tag), Conflict::Immutable)];
    if action != Action::Create
        && let Some((_, conflict)) = protection.into_iter().find(|(applies, _)| *applies)
    {
        let (reason, hint) = conflict.explain();
        return hold(HoldKind::Conflict(conflict), reason.to_owned(), hint);
    }
    if let Some((kind, reason, hint)) = obstacle(&subject, action, remote_rules, &mut |_, applies| applies) {
        return hold(kind, reason, hint);
    }
    plan.changes.push(PlannedChange {
        tag: tag.clone(),
        remote_name: remote_name.clone(),
        action,
        old: there.cloned().map(Box::new),
        new: before,
        commit: None,
        record: subject.record.map(|record| Box::new(record.value.clone())),
        cause: Cause::Undo,
        foreign: false,
        attachment: subject.remote.and_then(|there| there.attachment),
        message: match remote_rules.capabilities.annotations {
            Annotations::Message => message.clone(),
            Annotations::None | Annotations::Whole => None,
        }
        .map(|message| Box::new(CarriedMessage::Text(message))),
        undone: None,
        neighbours: None,
    });
}

/// A value of the history in the shape that is compared today. What was kept without its annotation had the message that the
/// history keeps beside it.
fn as_remembered(value: &Value, message: &Option<String>, there: Option<&Value>, compares: bool) -> Value {
    match (compares, &value.annotation) {
        (true, Annotation::NotCompared) if there.is_none_or(|there| there.target != value.target) => {
            Value { target: value.target.clone(), annotation: Annotation::of_message(message.as_deref()) }
        }
        _ => reshape(value, None, there, compares),
    }
}
