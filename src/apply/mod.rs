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

/// From so many changes on parts are smaller, so that the plan and what is kept of a part stay within what one large part takes.
const LARGE: usize = 20_000;
/// How many changes are then in one part at most.
const LARGE_AT_ONCE: usize = 5_000;

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

/// A change, as far as it matters afterwards, and what became of it.
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
    let stages = Stages::of(&changes);
    let mut work =
        Work { writer: Arc::clone(writer), ends: vec![Ended::default(); changes.len()], changes: Arc::new(changes) };
    let at_once = writer.provider.changes_at_once();
    if at_once > 1 && writer.capabilities.lease == Lease::Server {
        work.do_together(stages, at_once).await;
    } else {
        work.do_each(stages).await;
    }
    let Work { changes, ends, .. } = work;
    // Nobody else works on them any more. What they came to takes their place: there may be as many as there are tags.
    let changes = Arc::unwrap_or_clone(changes);
    Ok(changes.into_iter().zip(ends).map(|(change, ended)| Applied::of(change, ended)).collect())
}

// What becomes of a list of the one is a list of the other in the same place, without a second one beside it.
const _: () = assert!(size_of::<Applied>() <= size_of::<PlannedChange>());

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

/// A plan under way. Its changes stay where they are until the last one has ended; whoever carries some out knows their places.
struct Work {
    writer: Arc<Writer>,
    changes: Arc<Vec<PlannedChange>>,
    /// How each has ended, in the order of the changes.
    ends: Vec<Ended>,
}

impl Work {
    /// Carries out each change in a request of its own, so many at once as the writer may.
    async fn do_each(&mut self, stages: Stages) {
        let Stages { creates, chains, moves, deletes } = stages;
        let alone = |places: Vec<Place>| places.into_iter().map(|place| vec![place]);
        let width = self.writer.width;
        // Without a move in place a tag is gone for a moment: one such gap at a time per remote.
        let moves_at_once = if self.writer.capabilities.moves == Moves::InPlace { width } else { 1 };
        self.do_stage(alone(creates).chain(chains), width).await;
        self.do_stage(alone(moves), moves_at_once).await;
        self.do_stage(alone(deletes), width).await;
    }

    async fn do_stage(&mut self, stage: impl Iterator<Item = Steps>, at_once: usize) {
        let (writer, changes) = (Arc::clone(&self.writer), Arc::clone(&self.changes));
        let carry_out = |steps| carry_out(Arc::clone(&writer), Arc::clone(&changes), steps);
        let mut running = futures_util::stream::iter(stage)
            .map(|steps| finished(tokio::spawn(carry_out(steps).in_current_span())))
            .buffer_unordered(at_once.max(1));
        while let Some(ended) = running.next().await {
            self.take(ended);
        }
    }

    /// Carries out the stages in parts of at most so many changes, one part after the other. What must not begin before
    /// something else has ended goes on its own, between the other creates and the rest.
    async fn do_together(&mut self, stages: Stages, at_once: usize) {
        let Stages { creates: mut waiting, chains, moves, deletes } = stages;
        for steps in chains {
            self.do_parts(&std::mem::take(&mut waiting), at_once).await;
            let task = carry_out(Arc::clone(&self.writer), Arc::clone(&self.changes), steps);
            let ended = finished(tokio::spawn(task)).await;
            self.take(ended);
        }
        waiting.extend(moves.into_iter().chain(deletes));
        self.do_parts(&waiting, at_once).await;
    }

    async fn do_parts(&mut self, places: &[Place], at_once: usize) {
        // A large plan takes up memory itself.
        let at_once = if places.len() > LARGE { at_once.min(LARGE_AT_ONCE) } else { at_once };
        for part in places.chunks(at_once) {
            let task = Arc::clone(&self.writer).carry_out_together(Arc::clone(&self.changes), part.to_vec());
            let ended = finished(tokio::spawn(task)).await;
            self.take(ended);
        }
    }

    fn take(&mut self, ended: Vec<(Place, Ended)>) {
        for (place, ended) in ended {
            self.ends[place] = ended;
        }
    }
}

/// What a task came to; a panic in it goes on here.
async fn finished<T>(task: tokio::task::JoinHandle<T>) -> T {
    match task.await {
        Ok(ended) => ended,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

/// Where a change stands in its plan.
type Place = usize;

/// Changes that must follow one another; most stand alone.
type Steps = Vec<Place>;

/// Changes by when they are carried out.
struct Stages {
    /// Creates with nothing in their way.
    creates: Vec<Place>,
    /// Creates, with the deletions that clear the way for them in front.
    chains: Vec<Steps>,
    moves: Vec<Place>,
    deletes: Vec<Place>,
}

impl Stages {
    fn of(changes: &[PlannedChange]) -> Self {
        let of_action = |action| changes.iter().enumerate().filter(move |(_, change)| change.action == action);
        let mut deletes: BTreeMap<&TagName, Place> =
            of_action(Action::Delete).map(|(place, change)| (&change.remote_name, place)).collect();
        // Creates under one blocker share a chain; since git keeps no `a` beside `a/b`, two chains never share a blocker.
        let mut chains: BTreeMap<&TagName, Steps> = BTreeMap::new();
        let mut creates = Vec::new();
        for (place, create) in of_action(Action::Create) {
            let Some(first) = create.blockers().first() else {
                creates.push(place);
                continue;
            };
            let chain = chains.entry(first).or_default();
            chain.extend(create.blockers().iter().filter_map(|blocker| deletes.remove(blocker)));
            chain.push(place);
        }
        let moves = of_action(Action::Move).map(|(place, _)| place).collect();
        Self { creates, chains: chains.into_values().collect(), moves, deletes: deletes.into_values().collect() }
    }
}

/// How a change has ended.
#[derive(Clone, Debug)]
struct Ended {
    outcome: Outcome,
    waits: bool,
    remarks: Option<Box<Remarks>>,
}

/// What is to be said about the end of a change; of most there is nothing.
#[derive(Clone, Debug)]
struct Remarks {
    detail: Option<String>,
    degraded: Option<&'static str>,
}

/// It was not begun.
impl Default for Ended {
    fn default() -> Self {
        Self { outcome: Outcome::NotSent, waits: false, remarks: None }
    }
}

impl Ended {
    fn of(settlement: &Settlement, degraded: Option<&'static str>) -> Self {
        let Settlement { outcome, detail, refusal, .. } = settlement;
        let remarks = Remarks { detail: detail.clone(), degraded };
        let remarks = (remarks.detail.is_some() || degraded.is_some()).then(|| Box::new(remarks));
        Self { outcome: *outcome, waits: *refusal == Some(RefusalKind::TargetMissing), remarks }
    }

    fn not_sent(detail: String) -> Self {
        Self { remarks: Some(Box::new(Remarks { detail: Some(detail), degraded: None })), ..Self::default() }
    }
}

/// Carries out steps in their order; a create whose way was not cleared is not sent.
async fn carry_out(writer: Arc<Writer>, changes: Arc<Vec<PlannedChange>>, steps: Steps) -> Vec<(Place, Ended)> {
    let mut ended: Vec<(Place, Ended)> = Vec::with_capacity(steps.len());
    let mut is_clear = true;
    for place in steps {
        let change = &changes[place];
        let end = if is_clear {
            writer.carry_out(change).await
        } else {
            Ended::not_sent("the tag that is in its way could not be deleted".to_owned())
        };
        is_clear &= change.action != Action::Delete || succeeded(end.outcome);
        ended.push((place, end));
        writer.ended.fetch_add(1, Ordering::Relaxed);
    }
    ended
}

/// Whether the remote has what was asked for.
fn succeeded(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Done | Outcome::Already)
}

impl Applied {
    fn of(change: PlannedChange, ended: Ended) -> Self {
        let PlannedChange { tag, remote_name, action, old, new, cause, foreign, .. } = change;
        let Ended { outcome, waits, remarks } = ended;
        let (detail, degraded) = remarks.map_or((None, None), |remarks| (remarks.detail, remarks.degraded));
        let detail = detail.map(String::into_boxed_str);
        Self { tag, remote_name, action, old, new, cause, foreign, outcome, waits, detail, degraded }
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
        succeeded(self.outcome)
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

    async fn carry_out(&self, change: &PlannedChange) -> Ended {
        if let Some(reason) = self.halted() {
            return Ended::not_sent(reason);
        }
        match self.write(change).await {
            Ok(written) => ended(change, &written.settlement, written.degraded),
            Err(reason) => Ended::not_sent(reason),
        }
    }
}

/// What is known at the end of a change.
fn ended(change: &PlannedChange, settlement: &Settlement, degraded: Option<&'static str>) -> Ended {
    let Settlement { outcome, detail, .. } = settlement;
    tracing::info!(
        tag = %change.tag, action = change.action.word(), outcome = outcome.word(), detail = detail.as_deref(),
        "Wrote a tag.",
    );
    Ended::of(settlement, degraded)
}
