//! Carries out an approved plan: the only caller of a provider's writes.
//!
//! The order is creates, then moves, then deletes, so that a pass cut short has destroyed nothing it had not replaced; only a
//! deletion that clears the way for a create (`a` for `a/b`) stands directly before it. Each write is announced in the ledger
//! before it leaves and settled from what is then known; what a crash left open is settled first ([`recover()`]).
//! A write that has begun is never dropped: it runs in a task of its own. Where the protocol takes many writes in one request,
//! they go in that order within it.

mod batch;
mod recover;
mod write;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use futures_util::StreamExt as _;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;
use uuid::Uuid;

pub use recover::recover;

use crate::ledger::{Action, Ledger, LedgerFault, Outcome, Pair, RefusalKind, Settlement};
use crate::plan::{ApprovedPlan, CarriedMessage, PlannedChange};
use crate::provider::{Capabilities, Fault, FaultKind, Lease, Moves, Provider};
use crate::source::Source;
use crate::tag::{ObjectId, TagName, Target};
use write::Written;

/// Everything that a write needs besides the change itself.
pub struct Writer {
    /// The remote.
    pub provider: Arc<dyn Provider>,
    /// What the kind of API can do.
    pub capabilities: &'static Capabilities,
    /// The side that tags come from.
    pub source: Arc<dyn Source>,
    /// The memory.
    pub ledger: Arc<dyn Ledger>,
    /// Whose writes these are.
    pub pair: Pair,
    /// The run that they belong to.
    pub run: Uuid,
    /// Ends the pass between two writes.
    pub stop: CancellationToken,
    /// How many creates or deletes may be under way at once.
    pub width: usize,
    /// Why nothing more may be sent in this pass: set once, by the first write that learnt it.
    pub halt: OnceLock<String>,
    /// Counts the changes of the plan that have ended, in whatever way, for somebody who watches.
    pub ended: Arc<AtomicUsize>,
}

/// A change and what became of it.
#[derive(Clone, Debug)]
pub struct Applied {
    /// What was asked for.
    pub change: PlannedChange,
    /// How it ended.
    pub outcome: Outcome,
    /// The server's words, or why it was not sent.
    pub detail: Option<String>,
    /// Whether it only waits for its target to arrive on the remote.
    pub waits: bool,
    /// What the remote's copy of an annotated tag lacks.
    pub degraded: Option<&'static str>,
}

/// Carries out the plan. Every change comes back with its outcome, sorted by source name.
pub async fn apply(approved: ApprovedPlan, writer: &Arc<Writer>) -> Result<Vec<Applied>, LedgerFault> {
    let (changes, notes) = approved.into_parts();
    if !notes.is_empty() {
        writer.ledger.note(&writer.pair, &notes, Timestamp::now()).await?;
    }
    writer.source.read_ahead(&carried_along(&changes)).await;
    let [creates, moves, deletes] = stages(changes);
    let at_once = writer.provider.changes_at_once();
    if at_once > 1 && writer.capabilities.lease == Lease::Server {
        return apply_together([creates, moves, deletes], at_once, writer).await;
    }
    let mut applied = Vec::new();
    // Without a move in place a tag is gone for a moment: one such gap at a time per remote.
    let moves_at_once = if writer.capabilities.moves == Moves::InPlace { writer.width } else { 1 };
    for (stage, at_once) in [(creates, writer.width), (moves, moves_at_once), (deletes, writer.width)] {
        let mut running = futures_util::stream::iter(stage)
            .map(|steps| tokio::spawn(carry_out(Arc::clone(writer), steps).in_current_span()))
            .buffer_unordered(at_once.max(1));
        while let Some(ended) = running.next().await {
            match ended {
                Ok(mut ended) => applied.append(&mut ended),
                Err(panic) => std::panic::resume_unwind(panic.into_panic()),
            }
        }
    }
    Ok(sorted(applied))
}

/// The objects that these changes need of the source: whole ones, or their messages.
fn carried_along(changes: &[PlannedChange]) -> Vec<ObjectId> {
    let object = |change: &PlannedChange| match (&change.message, change.new.as_ref().map(|value| &value.target)) {
        (CarriedMessage::Of(tag_id), _) => Some((*tag_id).into()),
        (_, Some(Target::Object(id))) => Some(*id),
        (_, Some(Target::Commit(_) | Target::Snapshot(_) | Target::Digest(_)) | None) => None,
    };
    changes.iter().filter(|change| change.action != Action::Delete).filter_map(object).collect()
}

fn sorted(mut applied: Vec<Applied>) -> Vec<Applied> {
    applied.sort_by(|one, other| one.change.tag.cmp(&other.change.tag));
    applied
}

/// Carries out the stages in parts of at most so many changes, one part after the other. What must not begin before something
/// else has ended goes on its own, between the other creates and the rest.
async fn apply_together(
    [creates, moves, deletes]: [Vec<Steps>; 3],
    at_once: usize,
    writer: &Arc<Writer>,
) -> Result<Vec<Applied>, LedgerFault> {
    let (alone, chains): (Vec<_>, Vec<_>) = creates.into_iter().partition(|steps| steps.len() == 1);
    let mut applied = Vec::new();
    let mut waiting: Vec<PlannedChange> = alone.into_iter().flatten().collect();
    for steps in chains {
        applied.append(&mut in_parts(std::mem::take(&mut waiting), at_once, writer).await);
        applied.append(&mut finished(tokio::spawn(carry_out(Arc::clone(writer), steps))).await);
    }
    waiting.extend(moves.into_iter().chain(deletes).flatten());
    applied.append(&mut in_parts(waiting, at_once, writer).await);
    Ok(sorted(applied))
}

async fn in_parts(mut changes: Vec<PlannedChange>, at_once: usize, writer: &Arc<Writer>) -> Vec<Applied> {
    let mut applied = Vec::with_capacity(changes.len());
    while !changes.is_empty() {
        let rest = changes.split_off(at_once.min(changes.len()));
        let part = std::mem::replace(&mut changes, rest);
        applied.append(&mut finished(tokio::spawn(Arc::clone(writer).carry_out_together(part))).await);
    }
    applied
}

/// What a task came to; a panic in it goes on here.
async fn finished<T>(task: tokio::task::JoinHandle<T>) -> T {
    match task.await {
        Ok(ended) => ended,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

/// Changes that must follow one another; most stand alone.
type Steps = Vec<PlannedChange>;

/// Creates, moves, deletes; with the deletions that clear the way for creates moved in front of these.
fn stages(changes: Vec<PlannedChange>) -> [Vec<Steps>; 3] {
    let mut deletes: BTreeMap<TagName, PlannedChange> = BTreeMap::new();
    let (mut creates, mut moves) = (Vec::new(), Vec::new());
    for change in changes {
        match change.action {
            Action::Create => creates.push(change),
            Action::Move => moves.push(vec![change]),
            Action::Delete => {
                deletes.insert(change.remote_name.clone(), change);
            }
        }
    }
    // Creates under one blocker share a chain; since git keeps no `a` beside `a/b`, two chains never share a blocker.
    let mut chains: BTreeMap<TagName, Steps> = BTreeMap::new();
    let mut alone = Vec::new();
    for create in creates {
        let Some(first) = create.blockers.first().cloned() else {
            alone.push(vec![create]);
            continue;
        };
        let cleared: Vec<_> = create.blockers.iter().filter_map(|blocker| deletes.remove(blocker)).collect();
        let chain = chains.entry(first).or_default();
        chain.extend(cleared);
        chain.push(create);
    }
    alone.extend(chains.into_values());
    [alone, moves, deletes.into_values().map(|delete| vec![delete]).collect()]
}

/// Carries out steps in their order; a create whose way was not cleared is not sent.
async fn carry_out(writer: Arc<Writer>, steps: Steps) -> Vec<Applied> {
    let mut ended: Vec<Applied> = Vec::with_capacity(steps.len());
    for change in steps {
        let cleared = ended.iter().filter(|before| before.change.action == Action::Delete).all(Applied::succeeded);
        ended.push(if cleared {
            writer.carry_out(change).await
        } else {
            Applied::not_sent(change, "the tag that is in its way could not be deleted".to_owned())
        });
        writer.ended.fetch_add(1, Ordering::Relaxed);
    }
    ended
}

impl Applied {
    /// Whether the remote has what was asked for.
    pub fn succeeded(&self) -> bool {
        matches!(self.outcome, Outcome::Done | Outcome::Already)
    }

    fn not_sent(change: PlannedChange, detail: String) -> Self {
        Self { change, outcome: Outcome::NotSent, detail: Some(detail), waits: false, degraded: None }
    }
}

impl Writer {
    /// Why nothing may be sent any more, if so.
    fn halted(&self) -> Option<String> {
        if self.stop.is_cancelled() {
            return Some("the pass was stopped before it was sent".to_owned());
        }
        self.halt.get().cloned()
    }

    /// Keeps the rest of the pass from running into what this fault says about all writes.
    fn halt_on(&self, fault: &Fault) {
        match fault.kind {
            // Without a connection, every further try would wait for its deadline: hours, for thousands of tags.
            FaultKind::NotSent | FaultKind::Throttled | FaultKind::Unauthorized => {
                self.halt_with(format!("not sent after: {fault}"));
            }
            FaultKind::Forbidden
            | FaultKind::NotFound
            | FaultKind::TargetMissing
            | FaultKind::Rejected
            | FaultKind::Ambiguous
            | FaultKind::Unreadable
            | FaultKind::Unsupported => {}
        }
    }

    fn halt_with(&self, reason: String) {
        // The first reason is the one to report; a later one says the same.
        let _later = self.halt.set(reason);
    }

    async fn carry_out(&self, change: PlannedChange) -> Applied {
        if let Some(reason) = self.halted() {
            return Applied::not_sent(change, reason);
        }
        match self.write(&change).await {
            Ok(written) => self.applied(change, written),
            Err(reason) => Applied::not_sent(change, reason),
        }
    }

    /// A change with what is known at its end.
    fn applied(&self, change: PlannedChange, written: Written) -> Applied {
        let Settlement { outcome, detail, refusal, .. } = written.settlement;
        tracing::info!(
            tag = %change.tag, action = change.action.word(), outcome = outcome.word(), detail = detail.as_deref(),
            "Wrote a tag.",
        );
        let waits = refusal == Some(RefusalKind::TargetMissing);
        Applied { change, outcome, detail, waits, degraded: written.degraded }
    }
}
