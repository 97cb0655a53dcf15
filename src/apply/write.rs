//! One write: look, announce, call, judge, settle.
//!
//! The judgement is the heart: an answer is taken for what it proves and no more. A success that shows the wanted value is done.
//! After a refusal the tag is read, and the state decides, not the message. After an answer that proves nothing the tag is read
//! once; if that does not tell, the intent stays for the next pass. There is never a blind second write.

use jiff::Timestamp;

use super::Writer;
use crate::ledger::{
    Action, Intent, IntentId, LedgerFault, Outcome, Ownership, Record, RecordChange, RefusalKind, Settlement,
};
use crate::plan::{CarriedMessage, PlannedChange};
use crate::provider::{Fault, FaultKind, Lease, Moves, NewTag};
use crate::tag::{Attachment, RemoteTag, TagId, TagName, Value};

/// How a write ended.
pub(super) struct Written {
    pub(super) settlement: Settlement,
    /// What the remote's copy of an annotated tag lacks.
    pub(super) degraded: Option<&'static str>,
}

/// The message that travels with a tag, the object that it is from, and what cannot travel.
#[derive(Default)]
pub(super) struct Annotation {
    pub(super) message: Option<String>,
    pub(super) tag_id: Option<TagId>,
    pub(super) degraded: Option<&'static str>,
}

impl Writer {
    /// Carries out one change. `Err` says why it was not even announced.
    pub(super) async fn write(&self, change: &PlannedChange) -> Result<Written, String> {
        let Annotation { message, tag_id, degraded } = self.read_annotation(change).await?;
        let settlement = match (change.action, change.old.as_deref(), &change.new) {
            (Action::Create, _, Some(new)) => {
                let new = NewTag { name: change.remote_name.clone(), value: new.clone(), message, tag_id };
                self.create(change, &new).await?
            }
            (Action::Move, Some(lease), Some(new)) => {
                let new = NewTag { name: change.remote_name.clone(), value: new.clone(), message, tag_id };
                if self.capabilities.moves == Moves::InPlace {
                    self.move_in_place(change, lease, &new).await?
                } else {
                    self.move_by_recreation(change, lease, &new).await?
                }
            }
            (Action::Delete, Some(lease), _) => self.delete(change, lease).await?,
            (Action::Create, _, None) | (Action::Move | Action::Delete, _, _) => {
                return Err("the plan names no value for it".to_owned());
            }
        };
        Ok(Written { settlement, degraded })
    }

    async fn create(&self, change: &PlannedChange, new: &NewTag) -> Result<Settlement, String> {
        if !self.capabilities.create_refuses_existing
            && let Some(there) = self.look_before_create(&new.name).await?
        {
            return Ok(found_instead(&there, new));
        }
        let id = self.announce(change, new.message.clone(), None).await?;
        if let Some(fault) = self.provider.refuses(new) {
            return self.settle(id, refused(new, &fault, false)).await;
        }
        let settlement = match self.provider.create_tag(new).await {
            Ok(made) if made.value.as_ref() == Ok(&new.value) => done(new, Ownership::Created),
            Ok(_) => self.judge(new, None, &another_than_asked()).await,
            Err(fault) => self.judge(new, None, &fault).await,
        };
        self.settle(id, settlement).await
    }

    async fn move_in_place(&self, change: &PlannedChange, lease: &Value, new: &NewTag) -> Result<Settlement, String> {
        let mut old_message = None;
        if self.capabilities.lease == Lease::LookBefore {
            let there = self.look(&change.remote_name).await?;
            if let Some(stop) = lease_broken(there.as_ref(), lease, change) {
                return Ok(stop);
            }
            old_message = there.and_then(|tag| tag.message);
        }
        let id = self.announce(change, new.message.clone(), old_message).await?;
        let settlement = match self.provider.move_tag(&new.name, lease, new).await {
            Ok(made) if made.value.as_ref() == Ok(&new.value) => done(new, Ownership::Created),
            Ok(_) => self.judge(new, Some(lease), &another_than_asked()).await,
            Err(fault) => self.judge(new, Some(lease), &fault).await,
        };
        self.settle(id, settlement).await
    }

    /// Delete, then create. The target is checked first, so that the gap is not opened for nothing; when the create fails the
    /// old value is put back.
    async fn move_by_recreation(
        &self,
        change: &PlannedChange,
        lease: &Value,
        new: &NewTag,
    ) -> Result<Settlement, String> {
        if let Some(fault) = self.provider.refuses(new) {
            let id = self.announce(change, new.message.clone(), None).await?;
            return self.settle(id, refused(new, &fault, false)).await;
        }
        match self.provider.has_target(new.target()).await {
            Ok(true) => {}
            Ok(false) => {
                let mut waiting = ended(Outcome::Rejected, RecordChange::Keep);
                waiting.detail = Some(format!("the remote does not have {:.12} yet", new.target()));
                waiting.refusal = Some(RefusalKind::TargetMissing);
                let id = self.announce(change, new.message.clone(), None).await?;
                return self.settle(id, waiting).await;
            }
            Err(fault) => return Err(self.not_looked(&fault)),
        }
        let there = self.look(&change.remote_name).await?;
        if let Some(stop) = lease_broken(there.as_ref(), lease, change) {
            return Ok(stop);
        }
        let old = NewTag {
            name: change.remote_name.clone(),
            value: lease.clone(),
            message: there.and_then(|tag| tag.message),
            tag_id: None,
        };
        let id = self.announce(change, new.message.clone(), old.message.clone()).await?;
        let settlement = match self.provider.delete_tag(&change.remote_name, lease).await {
            Ok(()) => self.close_gap(new, &old).await,
            Err(fault) => match self.judge_deletion(&change.remote_name, lease, &fault).await {
                // The answer was lost, but the tag is gone: the gap is open.
                gone if gone.outcome == Outcome::Done || gone.outcome == Outcome::Already => {
                    self.close_gap(new, &old).await
                }
                still_there => still_there,
            },
        };
        self.settle(id, settlement).await
    }

    /// The tag is gone from the remote: creates the new value, or puts the old one back.
    pub(super) async fn close_gap(&self, new: &NewTag, old: &NewTag) -> Settlement {
        let fault = match self.provider.create_tag(new).await {
            Ok(made) if made.value.as_ref() == Ok(&new.value) => return done(new, Ownership::Created),
            Ok(_) => another_than_asked(),
            Err(fault) => fault,
        };
        match self.provider.get_tag(&new.name).await {
            Ok(Some(there)) if there.value.as_ref() == Ok(&new.value) => return done(new, Ownership::Created),
            // A replica that lags behind still shows what was deleted: nothing can be told apart now.
            Ok(Some(there)) if there.value.as_ref() == Ok(&old.value) => return lost(&fault),
            // Somebody else took the name while it was free; theirs stays, and is not ours.
            Ok(Some(_)) => {
                let mut taken = ended(Outcome::Lost, RecordChange::Drop);
                taken.detail = Some(format!("somebody else created the name in between; {}", said(&fault)));
                return taken;
            }
            // Unseen, only a server that refuses to overwrite may be asked to create.
            Err(_) if !self.capabilities.create_refuses_existing => return lost(&fault),
            Ok(None) | Err(_) => {}
        }
        let restored = match self.provider.create_tag(old).await {
            Ok(made) => made.value.as_ref() == Ok(&old.value),
            Err(_) => false,
        };
        if restored {
            return put_back(&fault);
        }
        match self.provider.get_tag(&new.name).await {
            Ok(Some(there)) if there.value.as_ref() == Ok(&new.value) => done(new, Ownership::Created),
            Ok(Some(there)) if there.value.as_ref() == Ok(&old.value) => put_back(&fault),
            Ok(_) | Err(_) => {
                self.halt_on(&fault);
                lost(&fault)
            }
        }
    }

    async fn delete(&self, change: &PlannedChange, lease: &Value) -> Result<Settlement, String> {
        self.confirm_absent(change).await?;
        let mut message = None;
        if self.capabilities.lease == Lease::LookBefore {
            let there = self.look(&change.remote_name).await?;
            if there.is_none() {
                let id = self.announce(change, None, None).await?;
                return self.settle(id, ended(Outcome::Already, RecordChange::Drop)).await;
            }
            if let Some(stop) = lease_broken(there.as_ref(), lease, change) {
                return Ok(stop);
            }
            message = there.and_then(|tag| tag.message);
        }
        let id = self.announce(change, None, message).await?;
        let settlement = match self.provider.delete_tag(&change.remote_name, lease).await {
            Ok(()) => ended(Outcome::Done, RecordChange::Drop),
            Err(fault) => self.judge_deletion(&change.remote_name, lease, &fault).await,
        };
        self.settle(id, settlement).await
    }

    /// Looks into the source once more before a deletion; `Err` says why there must be none.
    pub(super) async fn confirm_absent(&self, change: &PlannedChange) -> Result<(), String> {
        // A person who undoes a creation takes away what the source still has.
        let undoes = change.cause.undoes();
        for name in std::iter::once(&change.tag).chain(change.namesakes()).filter(|_| !undoes) {
            match self.source.confirm_absent(name).await {
                Ok(true) => {}
                Ok(false) => return Err(format!("the source has `{name}` again")),
                Err(fault) => return Err(format!("its absence could not be confirmed: {fault}")),
            }
        }
        Ok(())
    }

    /// What a create or a move in place that did not simply succeed has come to.
    async fn judge(&self, new: &NewTag, old: Option<&Value>, fault: &Fault) -> Settlement {
        self.halt_on(fault);
        if has_no_effect(fault) {
            return not_sent(fault);
        }
        let there = self.provider.get_tag(&new.name).await;
        match self.judged(new, old, fault, there.as_ref().map(Option::as_ref)) {
            Some(settlement) => settlement,
            None => {
                // A right that is missing is no target that is missing, even where the target is not shown.
                let missing = fault.kind == FaultKind::TargetMissing
                    || fault.kind != FaultKind::Forbidden
                        && matches!(self.provider.has_target(new.target()).await, Ok(false));
                refused(new, fault, missing)
            }
        }
    }

    /// The same, once the tag was looked at. `None` when it was refused and is not there, so that only the reason is open.
    pub(super) fn judged(
        &self,
        new: &NewTag,
        old: Option<&Value>,
        fault: &Fault,
        there: Result<Option<&RemoteTag>, &Fault>,
    ) -> Option<Settlement> {
        let proves_nothing = match proof(fault) {
            Proof::NoEffect => return Some(not_sent(fault)),
            Proof::Nothing => true,
            Proof::Refusal => false,
        };
        let there = match there {
            Ok(there) => there,
            Err(read) => return Some(unsettled(fault, &format!("and reading it back failed: {read}"))),
        };
        match there {
            Some(there) if there.value.as_ref() == Ok(&new.value) => Some(if proves_nothing {
                done(new, Ownership::Created)
            } else {
                ended(Outcome::Already, put(new, Ownership::Adopted))
            }),
            there if proves_nothing && there.map(|tag| tag.value.as_ref()) == old.map(Ok) => {
                Some(unsettled(fault, "and no effect can be seen yet"))
            }
            Some(there) if old.is_none() => Some(found_instead(there, new)),
            there => self.lease_was_broken(there, old),
        }
    }

    /// Why the server refused, where it compares the lease and somebody else was first: the next plan will judge.
    fn lease_was_broken(&self, there: Option<&RemoteTag>, lease: Option<&Value>) -> Option<Settlement> {
        let lease = lease.filter(|_| self.capabilities.lease == Lease::Server)?;
        let detail = match there {
            Some(tag) if tag.value.as_ref() == Ok(lease) => return None,
            Some(_) => CHANGED,
            None => GONE,
        };
        let mut rejected = ended(Outcome::Rejected, RecordChange::Keep);
        rejected.detail = Some(detail.to_owned());
        Some(rejected)
    }

    /// What a deletion that did not simply succeed has come to.
    async fn judge_deletion(&self, name: &TagName, lease: &Value, fault: &Fault) -> Settlement {
        self.halt_on(fault);
        if has_no_effect(fault) {
            return not_sent(fault);
        }
        let there = self.provider.get_tag(name).await;
        self.judged_deletion(lease, fault, there.as_ref().map(Option::as_ref))
    }

    /// The same, once the tag was looked at.
    pub(super) fn judged_deletion(
        &self,
        lease: &Value,
        fault: &Fault,
        there: Result<Option<&RemoteTag>, &Fault>,
    ) -> Settlement {
        let proves_nothing = match proof(fault) {
            Proof::NoEffect => return not_sent(fault),
            Proof::Nothing => true,
            Proof::Refusal => false,
        };
        match there {
            Err(read) => unsettled(fault, &format!("and reading it back failed: {read}")),
            Ok(None) if proves_nothing => ended(Outcome::Done, RecordChange::Drop),
            Ok(None) => {
                let mut gone = ended(Outcome::Already, RecordChange::Drop);
                // What a remote says about a deletion that it refused, and that is done, is worth reading.
                gone.detail = (fault.kind == FaultKind::Rejected).then(|| said(fault));
                gone
            }
            Ok(Some(there)) if proves_nothing && there.value.as_ref() == Ok(lease) => {
                unsettled(fault, "and no effect can be seen yet")
            }
            Ok(Some(there)) => self.lease_was_broken(Some(there), Some(lease)).unwrap_or_else(|| {
                let mut rejected = ended(Outcome::Rejected, RecordChange::Keep);
                rejected.detail = Some(said(fault));
                rejected.refusal = Some(RefusalKind::Policy);
                rejected
            }),
        }
    }

    async fn look(&self, name: &TagName) -> Result<Option<RemoteTag>, String> {
        self.provider.get_tag(name).await.map_err(|fault| self.not_looked(&fault))
    }

    async fn look_before_create(&self, name: &TagName) -> Result<Option<RemoteTag>, String> {
        self.provider.look_before_create(name).await.map_err(|fault| self.not_looked(&fault))
    }

    fn not_looked(&self, fault: &Fault) -> String {
        self.halt_on(fault);
        format!("looking before the write failed: {}", said(fault))
    }

    /// The message that a create or a move carries along.
    pub(super) async fn read_annotation(&self, change: &PlannedChange) -> Result<Annotation, String> {
        let tag_id = match change.message.as_deref() {
            _ if change.action == Action::Delete => return Ok(Annotation::default()),
            None => return Ok(Annotation::default()),
            Some(CarriedMessage::Text(text)) => {
                return Ok(Annotation { message: Some(text.clone()), ..Annotation::default() });
            }
            Some(CarriedMessage::Told(digest)) => {
                let message = self.source.read_message(&change.tag, digest).await.map_err(|fault| fault.to_string())?;
                return Ok(Annotation { message: Some(message), ..Annotation::default() });
            }
            Some(CarriedMessage::Of(tag_id)) => *tag_id,
        };
        let tag = self.source.read_annotation(tag_id).await.map_err(|fault| fault.to_string())?;
        let degraded = match (tag.signature, tag.nested) {
            (Some(_), _) => Some("its signature cannot be kept there"),
            (None, true) => Some("it is a tag of a tag, and only the outer message can be kept there"),
            (None, false) => None,
        };
        let message = Some(tag.message).filter(|message| !message.trim().is_empty());
        Ok(Annotation { message, tag_id: Some(tag_id), degraded })
    }

    /// Puts the intent on disk. Nothing is sent when that fails.
    pub(super) async fn announce(
        &self,
        change: &PlannedChange,
        message: Option<String>,
        old_message: Option<String>,
    ) -> Result<IntentId, String> {
        let intent = intent(change, message, old_message);
        let announced = self.ledger.announce(&self.pair, self.run, &intent, Timestamp::now()).await;
        announced.map_err(|fault| self.not_remembered(&fault))
    }

    /// Puts intents on disk, all of them in one flush or none. Gives their ids in the same order.
    pub(super) async fn announce_all(&self, intents: Vec<Intent>) -> Result<Vec<IntentId>, String> {
        let announced = self.ledger.announce_all(&self.pair, self.run, intents, Timestamp::now()).await;
        announced.map_err(|fault| self.not_remembered(&fault))
    }

    pub(super) async fn settle(&self, id: IntentId, settlement: Settlement) -> Result<Settlement, String> {
        // What could not be settled stays an intent, and the next pass settles it by a look at the tag.
        if let Err(fault) = self.ledger.settle(&self.pair, id, &settlement, Timestamp::now()).await {
            self.not_remembered(&fault);
        }
        Ok(settlement)
    }

    /// Settles what was announced together.
    pub(super) async fn settle_all(&self, settlements: Vec<(IntentId, Settlement)>) {
        if let Err(fault) = self.ledger.settle_all(&self.pair, settlements, Timestamp::now()).await {
            self.not_remembered(&fault);
        }
    }

    /// Ends the pass over a ledger that takes nothing more; gives its words.
    fn not_remembered(&self, fault: &LedgerFault) -> String {
        self.halt_with(format!("nothing is sent that cannot be remembered: {fault}"));
        fault.to_string()
    }
}

/// What is about to happen, as the ledger keeps it.
pub(super) fn intent(change: &PlannedChange, message: Option<String>, old_message: Option<String>) -> Intent {
    Intent {
        tag: change.tag.clone(),
        remote_name: change.remote_name.clone(),
        action: change.action,
        old: change.old.as_deref().cloned(),
        new: change.new.clone(),
        message,
        old_message,
        reason: change.cause.word().unwrap_or_default().to_owned(),
    }
}

/// What a write was refused for, when it was nothing that a look at the tag shows.
pub(super) fn refused(new: &NewTag, fault: &Fault, target_is_missing: bool) -> Settlement {
    let mut rejected = ended(Outcome::Rejected, RecordChange::Keep);
    if target_is_missing {
        rejected.detail = Some(format!("the remote does not have {:.12} yet", new.target()));
        rejected.refusal = Some(RefusalKind::TargetMissing);
    } else {
        rejected.detail = Some(said(fault));
        rejected.refusal = Some(RefusalKind::Policy);
    }
    rejected
}

pub(super) fn ended(outcome: Outcome, record: RecordChange) -> Settlement {
    Settlement { outcome, record, keep_intent: false, detail: None, refusal: None }
}

fn put(tag: &NewTag, ownership: Ownership) -> RecordChange {
    RecordChange::Put(Record { remote_name: tag.name.clone(), value: tag.value.clone(), ownership })
}

pub(super) fn done(tag: &NewTag, ownership: Ownership) -> Settlement {
    ended(Outcome::Done, put(tag, ownership))
}

fn not_sent(fault: &Fault) -> Settlement {
    let mut settlement = ended(Outcome::NotSent, RecordChange::Keep);
    settlement.detail = Some(said(fault));
    settlement
}

/// Nobody can tell yet: the intent stays, and the next pass begins with a look at the tag.
fn unsettled(fault: &Fault, and: &str) -> Settlement {
    let mut settlement = ended(Outcome::NotSent, RecordChange::Keep);
    settlement.keep_intent = true;
    settlement.detail = Some(format!("{}, {and}; the next pass settles it", said(fault)));
    settlement
}

/// The name is taken: by the wanted value, which becomes ours, or by another, which the next plan will judge.
fn found_instead(there: &RemoteTag, new: &NewTag) -> Settlement {
    if there.value.as_ref() == Ok(&new.value) {
        return ended(Outcome::Already, put(new, Ownership::Adopted));
    }
    let mut rejected = ended(Outcome::Rejected, RecordChange::Keep);
    rejected.detail = Some("somebody else created the name with another value in between".to_owned());
    rejected
}

const CHANGED: &str = "it changed on the remote since it was listed";
const GONE: &str = "it went from the remote since it was listed";

/// Why a write that expects `lease` must not follow what was just seen.
fn lease_broken(there: Option<&RemoteTag>, lease: &Value, change: &PlannedChange) -> Option<Settlement> {
    let detail = match there {
        Some(tag) if tag.value.as_ref() != Ok(lease) => CHANGED,
        Some(tag) if tag.protected => "the remote protects it since it was listed",
        // Where nobody had looked, it may be lost; otherwise the plan would hold it.
        Some(tag) if tag.attachment != change.attachment && change.attachment != Some(Attachment::Unlisted) => {
            "something was attached to it since it was listed"
        }
        Some(_) => return None,
        None => GONE,
    };
    let mut rejected = ended(Outcome::Rejected, RecordChange::Keep);
    rejected.detail = Some(detail.to_owned());
    Some(rejected)
}

pub(super) fn another_than_asked() -> Fault {
    Fault::new(FaultKind::Ambiguous, "the remote answered with another value than the one asked for")
}

/// The tag is gone, as far as can be seen; the intent stays, and the next pass closes the gap first thing.
fn lost(fault: &Fault) -> Settlement {
    let mut lost = ended(Outcome::Lost, RecordChange::Keep);
    lost.keep_intent = true;
    let said = said(fault);
    lost.detail =
        Some(format!("deleted, and neither created anew nor put back; the next pass tries first thing: {said}"));
    lost
}

/// The remote has its old value again, so the record stays what it was, too: what was not ours does not become ours.
fn put_back(fault: &Fault) -> Settlement {
    let mut restored = ended(Outcome::Restored, RecordChange::Keep);
    restored.detail = Some(format!("the old value was put back after: {}", said(fault)));
    restored.refusal = matches!(proof(fault), Proof::Refusal).then_some(RefusalKind::Policy);
    restored
}

/// What a fault proves about the write that it answers.
enum Proof {
    /// The write cannot have had an effect.
    NoEffect,
    /// It was refused; whether the remote was there already is for a look to tell.
    Refusal,
    /// Nothing: it may or may not have had its effect.
    Nothing,
}

fn proof(fault: &Fault) -> Proof {
    match fault.kind {
        FaultKind::NotSent | FaultKind::Throttled | FaultKind::Unauthorized | FaultKind::Unsupported => Proof::NoEffect,
        FaultKind::Forbidden | FaultKind::NotFound | FaultKind::TargetMissing | FaultKind::Rejected => Proof::Refusal,
        FaultKind::Ambiguous | FaultKind::Unreadable => Proof::Nothing,
    }
}

/// Whether a write that ended in this fault cannot have had an effect, so that there is nothing to look at.
pub(super) fn has_no_effect(fault: &Fault) -> bool {
    matches!(proof(fault), Proof::NoEffect)
}

/// What a fault says, with what to do about it.
fn said(fault: &Fault) -> String {
    match &fault.hint {
        Some(hint) => format!("{fault} ({hint})"),
        None => fault.to_string(),
    }
}
