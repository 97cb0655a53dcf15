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

use crate::ledger::{Action, Intent, Ledger, LedgerFault, Outcome, Pair, RefusalKind, Settlement};
use crate::plan::{ApprovedPlan, CarriedMessage, Cause, PlannedChange};
use crate::provider::{Capabilities, Fault, FaultKind, Lease, Moves, Provider};
use crate::source::Source;
use crate::tag::{ObjectId, TagName, Target, Value};
use write::Written;

/// How many changes are in memory twice at most, while what they came to takes their place.
const PART: usize = 1_000;

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

/// What became of a change. The change itself is gone by then: there may be as many as there are tags.
#[derive(Clone, Debug)]
pub struct Applied {
    /// The source's name.
    pub tag: TagName,
    /// The remote's name.
    pub remote_name: TagName,
    /// What was asked for.
    pub action: Action,
    /// What the remote had; `None` for a create.
    pub old: Option<Box<Value>>,
    /// What it should have; `None` for a delete.
    pub new: Option<Value>,
    /// Why.
    pub cause: Cause,
    /// Whether it was to destroy a value that we did not leave there.
    pub foreign: bool,
    /// How it ended.
    pub outcome: Outcome,
    /// Whether it only waits for its target to arrive on the remote.
    pub waits: bool,
    /// The server's words, or why it was not sent.
    pub detail: Option<Box<str>>,
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
    let mut applied = Vec::with_capacity(changes.len());
    let stages = Stages::of(changes);
    let at_once = writer.provider.changes_at_once();
    if at_once > 1 && writer.capabilities.lease == Lease::Server {
        apply_together(stages, at_once, writer, &mut applied).await;
    } else {
        apply_each(stages, writer, &mut applied).await;
    }
    // A name has one change.
    applied.sort_unstable_by(|one, other| one.tag.cmp(&other.tag));
    Ok(applied)
}

/// The objects that these changes need of the source: whole ones, or their messages.
fn carried_along(changes: &[PlannedChange]) -> Vec<ObjectId> {
    let object =
        |change: &PlannedChange| match (change.message.as_deref(), change.new.as_ref().map(|value| &value.target)) {
            (Some(CarriedMessage::Of(tag_id)), _) => Some((*tag_id).into()),
            (_, Some(Target::Object(id))) => Some(*id),
            (_, Some(Target::Commit(_) | Target::Snapshot(_) | Target::Digest(_)) | None) => None,
        };
    changes.iter().filter(|change| change.action != Action::Delete).filter_map(object).collect()
}

/// Carries out each change in a request of its own, so many at once as the writer may.
async fn apply_each(stages: Stages, writer: &Arc<Writer>, applied: &mut Vec<Applied>) {
    let Stages { creates, chains, moves, deletes } = stages;
    let each = |changes| in_parts(changes, PART).flatten().map(|change| vec![change]);
    // Without a move in place a tag is gone for a moment: one such gap at a time per remote.
    let moves_at_once = if writer.capabilities.moves == Moves::InPlace { writer.width } else { 1 };
    apply_stage(each(creates).chain(chains), writer.width, writer, applied).await;
    apply_stage(each(moves), moves_at_once, writer, applied).await;
    apply_stage(each(deletes), writer.width, writer, applied).await;
}

async fn apply_stage(
    stage: impl Iterator<Item = Steps>,
    at_once: usize,
    writer: &Arc<Writer>,
    applied: &mut Vec<Applied>,
) {
    let mut running = futures_util::stream::iter(stage)
        .map(|steps| finished(tokio::spawn(carry_out(Arc::clone(writer), steps).in_current_span())))
        .buffer_unordered(at_once.max(1));
    while let Some(mut ended) = running.next().await {
        applied.append(&mut ended);
    }
}

/// Carries out the stages in parts of at most so many changes, one part after the other. What must not begin before something
/// else has ended goes on its own, between the other creates and the rest.
async fn apply_together(stages: Stages, at_once: usize, writer: &Arc<Writer>, applied: &mut Vec<Applied>) {
    let Stages { creates: mut waiting, chains, moves, deletes } = stages;
    for steps in chains {
        apply_parts(std::mem::take(&mut waiting), at_once, writer, applied).await;
        applied.append(&mut finished(tokio::spawn(carry_out(Arc::clone(writer), steps))).await);
    }
    waiting.extend(moves.into_iter().chain(deletes));
    apply_parts(waiting, at_once, writer, applied).await;
}

async fn apply_parts(changes: Vec<PlannedChange>, at_once: usize, writer: &Arc<Writer>, applied: &mut Vec<Applied>) {
    for part in in_parts(changes, at_once) {
        applied.append(&mut finished(tokio::spawn(Arc::clone(writer).carry_out_together(part))).await);
    }
}

/// The same in parts of at most so many, in the same order. What was handed out is in memory no more where it was.
fn in_parts(mut changes: Vec<PlannedChange>, most: usize) -> impl Iterator<Item = Vec<PlannedChange>> {
    changes.reverse();
    std::iter::from_fn(move || {
        let mut part = changes.split_off(changes.len().saturating_sub(most));
        changes.shrink_to_fit();
        part.reverse();
        (!part.is_empty()).then_some(part)
    })
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

/// Changes by when they are carried out.
struct Stages {
    /// Nothing is in their way.
    creates: Vec<PlannedChange>,
    /// Creates, with the deletions that clear the way for them in front.
    chains: Vec<Steps>,
    moves: Vec<PlannedChange>,
    deletes: Vec<PlannedChange>,
}

impl Stages {
    /// What is many, the creates, stays where it is.
    fn of(mut changes: Vec<PlannedChange>) -> Self {
        let moves = changes.extract_if(.., |change| change.action == Action::Move).collect();
        let deletes = changes.extract_if(.., |change| change.action == Action::Delete);
        let mut deletes: BTreeMap<TagName, PlannedChange> =
            deletes.map(|change| (change.remote_name.clone(), change)).collect();
        // Creates under one blocker share a chain; since git keeps no `a` beside `a/b`, two chains never share a blocker.
        let mut chains: BTreeMap<Option<TagName>, Steps> = BTreeMap::new();
        for create in changes.extract_if(.., |change| !change.blockers.is_empty()) {
            let cleared = create.blockers.iter().filter_map(|blocker| deletes.remove(blocker));
            let chain = chains.entry(create.blockers.first().cloned()).or_default();
            chain.extend(cleared);
            chain.push(create);
        }
        let (chains, deletes) = (chains.into_values().collect(), deletes.into_values().collect());
        Self { creates: changes, chains, moves, deletes }
    }
}

/// Carries out steps in their order; a create whose way was not cleared is not sent.
async fn carry_out(writer: Arc<Writer>, steps: Steps) -> Vec<Applied> {
    let mut ended: Vec<Applied> = Vec::with_capacity(steps.len());
    for change in steps {
        let cleared = ended.iter().filter(|before| before.action == Action::Delete).all(Applied::succeeded);
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
    /// A change that came to this.
    fn of(change: PlannedChange, outcome: Outcome, detail: Option<String>) -> Self {
        let PlannedChange { tag, remote_name, action, old, new, cause, foreign, .. } = change;
        let detail = detail.map(String::into_boxed_str);
        Self { tag, remote_name, action, old, new, cause, foreign, outcome, waits: false, detail, degraded: None }
    }

    /// A change of an earlier pass, of which only the intent is left.
    fn of_intent(intent: Intent, outcome: Outcome, detail: String) -> Self {
        let Intent { tag, remote_name, action, old, new, .. } = intent;
        Self {
            tag,
            remote_name,
            action,
            old: old.map(Box::new),
            new,
            cause: Cause::Ordinary,
            foreign: false,
            outcome,
            waits: false,
            detail: Some(detail.into()),
            degraded: None,
        }
    }

    /// Whether the remote has what was asked for.
    pub fn succeeded(&self) -> bool {
        matches!(self.outcome, Outcome::Done | Outcome::Already)
    }

    fn not_sent(change: PlannedChange, detail: String) -> Self {
        Self::of(change, Outcome::NotSent, Some(detail))
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
            Ok(Written { settlement, degraded }) => self.applied(change, &settlement, degraded),
            Err(reason) => Applied::not_sent(change, reason),
        }
    }

    /// A change with what is known at its end.
    fn applied(&self, change: PlannedChange, settlement: &Settlement, degraded: Option<&'static str>) -> Applied {
        let Settlement { outcome, detail, refusal, .. } = settlement;
        tracing::info!(
            tag = %change.tag, action = change.action.word(), outcome = outcome.word(), detail = detail.as_deref(),
            "Wrote a tag.",
        );
        let waits = *refusal == Some(RefusalKind::TargetMissing);
        Applied { waits, degraded, ..Applied::of(change, *outcome, detail.clone()) }
    }
}
