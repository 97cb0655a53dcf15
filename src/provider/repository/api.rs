//! One method per operation.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use async_trait::async_trait;

use crate::provider::refs::{command, object_of, written};
use crate::provider::{Access, Change, Fact, Fault, FaultKind, Identity, NewTag, Objects, Provider};
use crate::source::{CopyFault, Destination, RefFault, SourceFault};
use crate::tag::{End, Listing, RemoteSnapshot, RemoteTag, TagName, Target, Value};
use crate::wire::{Command, ObjectId};

/// A repository on this host.
#[derive(Debug)]
pub(super) struct LocalRepository {
    to: Destination,
    /// What is copied where it is lacking.
    from: Option<Arc<dyn Objects>>,
}

/// How much is tried to find those among many tags that cannot be copied.
#[derive(Debug, Default)]
struct Search {
    tries: AtomicUsize,
    began: OnceLock<Instant>,
}

impl Search {
    fn goes_on(&self) -> bool {
        let tries = self.tries.fetch_add(1, Ordering::Relaxed);
        tries < 64 && self.began.get_or_init(Instant::now).elapsed() < Duration::from_secs(10)
    }
}

impl LocalRepository {
    pub(super) fn new(to: Destination, from: Option<Arc<dyn Objects>>) -> Self {
        Self { to, from }
    }

    /// What was read, or why nothing was.
    async fn told<T>(&self, read: Result<T, SourceFault>) -> Result<T, Fault> {
        let fault = match read {
            Ok(read) => return Ok(read),
            Err(fault) => fault,
        };
        let kind = if self.to.exists().await { FaultKind::Unreadable } else { FaultKind::NotFound };
        Err(Fault::new(kind, fault.message).hint(fault.hint))
    }

    async fn write(&self, commands: &[Command], search: &Search) -> Vec<Result<(), Fault>> {
        if !self.to.exists().await {
            let message = "could not write the refs: there is no repository at the path any more";
            return vec![Err(Fault::new(FaultKind::NotFound, message)); commands.len()];
        }
        let wanted: Vec<_> = commands.iter().filter_map(|command| command.new).collect();
        let mut kept = None;
        if let Some(from) = self.from.as_ref().filter(|_| !wanted.is_empty()) {
            match self.to.take_objects(from, &wanted).await {
                Ok(pack) => kept = Some(pack),
                // One that cannot be copied does not keep the others here; what is no fault of one is one of all.
                Err(CopyFault::Absent(_) | CopyFault::Unreadable(_)) if commands.len() > 1 && search.goes_on() => {
                    let (one, other) = commands.split_at(commands.len() / 2);
                    let mut outcomes = Box::pin(self.write(one, search)).await;
                    outcomes.extend(Box::pin(self.write(other, search)).await);
                    return outcomes;
                }
                Err(fault) => return vec![Err(self.not_copied(from, commands, fault).await); commands.len()],
            }
        }
        let written = self.to.write_refs(commands).await;
        if let Some(kept) = kept {
            kept.release().await;
        }
        written.into_iter().map(|outcome| outcome.map_err(fault_of_ref)).collect()
    }

    async fn not_copied(&self, from: &Arc<dyn Objects>, commands: &[Command], fault: CopyFault) -> Fault {
        let alone = match commands {
            [Command { new: Some(id), .. }] => Some(*id),
            _ => None,
        };
        let (kind, reason) = match (fault, alone) {
            (CopyFault::Absent(id), _) => {
                (FaultKind::TargetMissing, format!("neither side has all that {id} leads to"))
            }
            // What is read over a network may be there the next time.
            (CopyFault::Unreadable(reason), _) if !from.have_history() => (FaultKind::NotSent, reason),
            (CopyFault::Unreadable(reason), Some(id)) if matches!(self.source_has(from, id).await, Ok(false)) => {
                (FaultKind::TargetMissing, reason)
            }
            (CopyFault::Unreadable(reason), Some(_)) => (FaultKind::Rejected, reason),
            (CopyFault::Unreadable(reason) | CopyFault::Failed(reason), _) => (FaultKind::NotSent, reason),
        };
        Fault::new(kind, format!("could not copy what the tag leads to: {reason}"))
    }

    async fn source_has(&self, from: &Arc<dyn Objects>, id: ObjectId) -> Result<bool, Fault> {
        from.has(id).await.map_err(|reason| Fault::new(FaultKind::NotSent, reason))
    }

    async fn write_one(&self, change: Change) -> Result<(), Fault> {
        self.write(&[command(&change)?], &Search::default()).await.pop().unwrap_or_else(|| Err(unanswered()))
    }
}

#[async_trait]
impl Provider for LocalRepository {
    async fn identity(&self) -> Result<Identity, Fault> {
        let (fingerprint, writable) = self.told(self.to.identity().await).await?;
        let access = if writable {
            Access::Write
        } else {
            Access::ReadOnly {
                found: "a user who may not write its files".to_owned(),
                needed: "one who may write everything in it".to_owned(),
            }
        };
        Ok(Identity { space: format!("repository:{fingerprint}"), access })
    }

    async fn list_tags(&self) -> Result<RemoteSnapshot, Fault> {
        let mut listing = Listing::new();
        let tags = self.told(self.to.read_tags().await).await?;
        let page = tags.into_iter().map(|(name, held)| remote_tag(name, held));
        let end = listing.page(page).and_then(|()| listing.finish(End::SingleResponse, None));
        end.map_err(|fault| Fault::new(FaultKind::Unreadable, format!("the tags contradict themselves: {fault}")))
    }

    async fn get_tag(&self, name: &TagName) -> Result<Option<RemoteTag>, Fault> {
        let held = self.told(self.to.read_tag(name).await).await?;
        Ok(held.map(|held| remote_tag(name.clone(), held)))
    }

    async fn get_facts(&self, _tag: &RemoteTag, _signed: bool) -> Result<Vec<Fact>, Fault> {
        Ok(Vec::new())
    }

    /// What is not there is copied, if the source has it.
    async fn has_target(&self, target: &Target) -> Result<bool, Fault> {
        let id = object_of(target)?;
        Ok(match &self.from {
            Some(from) if self.source_has(from, id).await? => true,
            // The source's tag objects come with their tags, whatever else it gives.
            Some(from) => {
                let end = from.end_of(id).await.map_err(|reason| Fault::new(FaultKind::NotSent, reason))?;
                self.told(self.to.has(end).await).await?
            }
            None => true,
        })
    }

    async fn create_tag(&self, new: &NewTag) -> Result<RemoteTag, Fault> {
        self.write_one(Change::Create(new.clone())).await?;
        Ok(written(new))
    }

    async fn move_tag(&self, _name: &TagName, lease: &Value, to: &NewTag) -> Result<RemoteTag, Fault> {
        self.write_one(Change::Move { lease: lease.clone(), to: to.clone() }).await?;
        Ok(written(to))
    }

    async fn delete_tag(&self, name: &TagName, lease: &Value) -> Result<(), Fault> {
        match self.write_one(Change::Delete { name: name.clone(), lease: lease.clone() }).await {
            Err(fault) if fault.kind == FaultKind::Rejected && matches!(self.get_tag(name).await, Ok(None)) => {
                Err(Fault { kind: FaultKind::NotFound, ..fault })
            }
            outcome => outcome,
        }
    }

    fn changes_at_once(&self) -> usize {
        10_000
    }

    async fn apply_batch(&self, changes: &[Change]) -> Vec<Result<Option<RemoteTag>, Fault>> {
        let commands: Vec<_> = changes.iter().map(command).collect();
        let sent: Vec<Command> = commands.iter().filter_map(|command| command.as_ref().ok()).cloned().collect();
        let mut outcomes = self.write(&sent, &Search::default()).await.into_iter();
        let outcome = |(change, command): (&Change, Result<Command, Fault>)| {
            command?;
            outcomes.next().unwrap_or_else(|| Err(unanswered()))?;
            Ok(match change {
                Change::Create(new) | Change::Move { to: new, .. } => Some(written(new)),
                Change::Delete { .. } => None,
            })
        };
        changes.iter().zip(commands).map(outcome).collect()
    }
}

/// A ref as a tag; `held` may be a reason why it cannot be told.
fn remote_tag(name: TagName, held: Result<ObjectId, String>) -> RemoteTag {
    let value = held.map(|id| Value::of(Target::Object(id.into())));
    RemoteTag { name, value, message: None, protected: false, attachment: None }
}

fn fault_of_ref(fault: RefFault) -> Fault {
    match fault {
        RefFault::Refused(reason) => Fault::new(FaultKind::Rejected, format!("could not write the ref: {reason}")),
        RefFault::InDoubt(reason) => Fault::new(FaultKind::Ambiguous, format!("could not write the ref: {reason}")),
    }
}

fn unanswered() -> Fault {
    Fault::new(FaultKind::Ambiguous, "nothing is known about what became of it")
}
