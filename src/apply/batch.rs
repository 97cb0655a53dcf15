//! Many writes in one request: the steps of one write, each taken for all of them.
//!
//! All intents are on disk before the request leaves, in one flush. What the answer leaves open is settled by one look at all
//! tags instead of one at each.

use std::sync::Arc;

use futures_util::StreamExt as _;

use super::write::{another_than_asked, done, ended, has_no_effect, intent, refused};
use super::{Ended, Place, Writer};
use crate::ledger::{Action, Outcome, Ownership, RecordChange, Settlement};
use crate::plan::PlannedChange;
use crate::provider::{Change, Fault, FaultKind, NewTag};
use crate::tag::{RemoteSnapshot, RemoteTag, TagName, Value};

/// How many looks into the source are under way at once.
const LOOKS_AT_ONCE: usize = 16;

/// A change that is about to leave, and what its copy on the remote will lack.
struct Ready {
    place: Place,
    degraded: Option<&'static str>,
}

/// What is there, after answers that leave something open.
enum Seen {
    All(Result<RemoteSnapshot, Fault>),
    One(TagName, Result<Option<RemoteTag>, Fault>),
    /// Nobody had to look.
    Nothing,
}

impl Seen {
    fn get(&self, name: &TagName) -> Result<Option<&RemoteTag>, &Fault> {
        match self {
            Self::All(seen) => seen.as_ref().map(|seen| seen.get(name)),
            Self::One(seen, tag) if seen == name => tag.as_ref().map(Option::as_ref),
            Self::One(..) | Self::Nothing => Ok(None),
        }
    }
}

impl Writer {
    /// Carries out the changes at these places together, and says how each has ended.
    pub(super) async fn carry_out_together(
        self: Arc<Self>,
        changes: Arc<Vec<PlannedChange>>,
        part: Vec<Place>,
    ) -> Vec<(Place, Ended)> {
        let count = part.len();
        let ended = match self.halted() {
            Some(reason) => part.into_iter().map(|place| (place, Ended::not_sent(reason.clone()))).collect(),
            None => self.write_together(&changes, part).await,
        };
        self.ended.fetch_add(count, std::sync::atomic::Ordering::Relaxed);
        ended
    }

    async fn write_together(&self, changes: &[PlannedChange], part: Vec<Place>) -> Vec<(Place, Ended)> {
        let mut ends = Vec::with_capacity(part.len());
        let (asks, ready) = self.prepare_all(changes, part, &mut ends).await;
        if asks.is_empty() {
            return ends;
        }
        let announced = asks.iter().zip(&ready);
        let intents =
            announced.map(|(ask, Ready { place, .. })| intent(&changes[*place], message_of(ask).cloned(), None));
        let ids = match self.announce_all(intents.collect()).await {
            Ok(ids) => ids,
            Err(reason) => {
                ends.extend(ready.into_iter().map(|Ready { place, .. }| (place, Ended::not_sent(reason.clone()))));
                return ends;
            }
        };
        let mut answers = self.provider.apply_batch(&asks).await;
        let silence = || Err(Fault::new(FaultKind::Ambiguous, "the remote's answer says nothing about it"));
        answers.resize_with(asks.len(), silence);
        let seen = self.look_at_what_is_open(&asks, &answers).await;
        let mut settlements = Vec::with_capacity(ids.len());
        for (((id, Ready { place, degraded }), ask), answer) in ids.into_iter().zip(ready).zip(&asks).zip(answers) {
            if let Err(fault) = &answer {
                self.halt_on(fault);
            }
            let settlement = self.conclude(ask, answer, &seen);
            ends.push((place, super::ended(&changes[place], &settlement, degraded)));
            settlements.push((id, settlement));
        }
        self.settle_all(settlements).await;
        ends
    }

    /// Makes the changes ready to leave. What must not leave has ended.
    async fn prepare_all(
        &self,
        changes: &[PlannedChange],
        part: Vec<Place>,
        ends: &mut Vec<(Place, Ended)>,
    ) -> (Vec<Change>, Vec<Ready>) {
        let (mut asks, mut ready) = (Vec::with_capacity(part.len()), Vec::with_capacity(part.len()));
        let mut prepared = futures_util::stream::iter(part)
            .map(|place| async move { (place, self.prepare(&changes[place]).await) })
            .buffered(LOOKS_AT_ONCE);
        while let Some((place, prepared)) = prepared.next().await {
            match prepared {
                Ok((ask, degraded)) => {
                    asks.push(ask);
                    ready.push(Ready { place, degraded });
                }
                Err(reason) => ends.push((place, Ended::not_sent(reason))),
            }
        }
        (asks, ready)
    }

    /// What a change asks of the remote; `Err` says why it must not.
    async fn prepare(&self, change: &PlannedChange) -> Result<(Change, Option<&'static str>), String> {
        let annotation = self.read_annotation(change).await?;
        let name = change.remote_name.clone();
        let new = |value: &Value| {
            let (message, tag_id) = (annotation.message.clone(), annotation.tag_id);
            NewTag { name: name.clone(), value: value.clone(), message, tag_id }
        };
        let ask = match (change.action, change.old.as_deref(), &change.new) {
            (Action::Create, _, Some(value)) => Change::Create(new(value)),
            (Action::Move, Some(lease), Some(value)) => Change::Move { lease: lease.clone(), to: new(value) },
            (Action::Delete, Some(lease), _) => {
                self.confirm_absent(change).await?;
                Change::Delete { name: name.clone(), lease: lease.clone() }
            }
            (Action::Create, _, None) | (Action::Move | Action::Delete, _, _) => {
                return Err("the plan names no value for it".to_owned());
            }
        };
        Ok((ask, annotation.degraded))
    }

    /// One look for all that the answers leave open.
    async fn look_at_what_is_open(&self, asks: &[Change], answers: &[Answer]) -> Seen {
        let answered = asks.iter().zip(answers);
        let mut open = answered.filter(|(ask, answer)| is_open(ask, answer)).map(|(ask, _)| name_of(ask));
        match (open.next(), open.next()) {
            (None, _) => Seen::Nothing,
            (Some(name), None) => Seen::One(name.clone(), self.provider.get_tag(name).await),
            (Some(_), Some(_)) => Seen::All(self.provider.list_tags().await),
        }
    }

    /// What one write has come to.
    fn conclude(&self, ask: &Change, answer: Answer, seen: &Seen) -> Settlement {
        let there = seen.get(name_of(ask));
        match (ask, answer) {
            (Change::Delete { .. }, Ok(_)) => ended(Outcome::Done, RecordChange::Drop),
            (Change::Delete { lease, .. }, Err(fault)) => self.judged_deletion(lease, &fault, there),
            (Change::Create(new) | Change::Move { to: new, .. }, Ok(made)) if shows(made.as_ref(), new) => {
                done(new, Ownership::Created)
            }
            (Change::Create(new) | Change::Move { to: new, .. }, Err(fault))
                if fault.kind == FaultKind::TargetMissing =>
            {
                refused(new, &fault, true)
            }
            (Change::Create(new), answer) => self.conclude_on(new, None, answer, there),
            (Change::Move { lease, to: new }, answer) => self.conclude_on(new, Some(lease), answer, there),
        }
    }

    fn conclude_on(
        &self,
        new: &NewTag,
        lease: Option<&Value>,
        answer: Answer,
        there: Result<Option<&RemoteTag>, &Fault>,
    ) -> Settlement {
        let fault = answer.err().unwrap_or_else(another_than_asked);
        self.judged(new, lease, &fault, there).unwrap_or_else(|| refused(new, &fault, false))
    }
}

/// What a provider says about one change of a batch.
type Answer = Result<Option<RemoteTag>, Fault>;

fn name_of(ask: &Change) -> &TagName {
    match ask {
        Change::Create(new) | Change::Move { to: new, .. } => &new.name,
        Change::Delete { name, .. } => name,
    }
}

/// The message that goes along.
fn message_of(ask: &Change) -> Option<&String> {
    match ask {
        Change::Create(new) | Change::Move { to: new, .. } => new.message.as_ref(),
        Change::Delete { .. } => None,
    }
}

fn shows(made: Option<&RemoteTag>, new: &NewTag) -> bool {
    made.is_some_and(|made| made.value.as_ref() == Ok(&new.value))
}

/// Whether only a look can tell what became of it.
fn is_open(ask: &Change, answer: &Answer) -> bool {
    match (ask, answer) {
        (Change::Delete { .. }, answer) => answer.as_ref().is_err_and(|fault| !has_no_effect(fault)),
        (_, Err(fault)) => !has_no_effect(fault) && fault.kind != FaultKind::TargetMissing,
        (Change::Create(new) | Change::Move { to: new, .. }, Ok(made)) => !shows(made.as_ref(), new),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tag::{CommitId, Target};

    #[test]
    fn a_missing_target_says_nothing_about_a_deletion() {
        let name = TagName::new("v1").unwrap();
        let value = Value::of(Target::Commit(format!("{:040x}", 1).parse::<CommitId>().unwrap()));
        let new = NewTag { name: name.clone(), value: value.clone(), message: None, tag_id: None };
        let answer = || Err(Fault::new(FaultKind::TargetMissing, "missing"));
        assert!(is_open(&Change::Delete { name, lease: value.clone() }, &answer()));
        assert!(!is_open(&Change::Create(new.clone()), &answer()));
        assert!(!is_open(&Change::Move { lease: value, to: new }, &answer()));
    }
}
