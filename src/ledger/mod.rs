//! Durable memory: the last agreed value of every tag, the writes under way, and everything that was ever changed.
//!
//! The order is the point: an intent is on disk before its call leaves, and a record follows only from a known outcome.
//! Losing all of it is harmless: without records nothing can be moved or deleted. A [`Ledger`] is a trait because several
//! hosts may one day share a store; [`SqliteLedger`] is the one that exists.
//!
//! ```text
//! StateDirectory ──lock──> StateLock ──open──> SqliteLedger   reads and writes, one process at a time
//!        └────────────────────────────open──> SqliteReader    reads beside it, leaves nothing behind
//! ```
//!
//! A ledger that cannot be trusted (damaged, foreign, newer) is a [`LedgerFault`], never a shorter list of records.

mod checksum;
mod directory;
mod fault;
mod parked;
mod read;
mod reader;
mod schema;
mod sqlite;
mod write;
mod writer;

use std::collections::BTreeMap;
use std::fmt;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

pub use directory::{DECIDED, Holder, LockFault, StateDirectory, StateLock, Work};
pub use fault::LedgerFault;
pub use parked::{APPROVAL_LIFE, Decision, Difference, Parked, ParkedBy, ParkedEnd, ParkedSet};
pub use reader::SqliteReader;
pub use sqlite::SqliteLedger;

use crate::provider::Identity;
use crate::tag::{NamePatterns, ProvenNames, Sighting, Sightings, TagName, Value};

/// One source and one remote under one job: what a record belongs to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pair {
    /// The job's name.
    pub job: String,
    /// The repository's name.
    pub repository: String,
    /// The remote's name.
    pub remote: String,
}

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { job, repository, remote } = self;
        write!(f, "{job}: {repository} -> {remote}")
    }
}

/// How a tag came to be ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// We made it.
    Created,
    /// It was there already with the value that it should have.
    Adopted,
}

impl Ownership {
    /// The word of the ledger.
    pub fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Adopted => "adopted",
        }
    }
}

/// A tag's last agreed value on one remote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// What the tag was called there.
    pub remote_name: TagName,
    /// What both sides had.
    pub value: Value,
    /// How it came to be ours.
    pub ownership: Ownership,
}

/// The kind of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// The name did not exist.
    Create,
    /// The name had another value.
    Move,
    /// The name goes.
    Delete,
}

impl Action {
    /// The word of the command line and of the ledger.
    pub fn word(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Move => "move",
            Self::Delete => "delete",
        }
    }
}

/// A write announced before its call: enough to finish or to judge it after a crash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// The source's name for the tag.
    pub tag: TagName,
    /// The remote's name for it.
    pub remote_name: TagName,
    /// What is about to happen.
    pub action: Action,
    /// The value that the remote has now; `None` for a create.
    pub old: Option<Value>,
    /// The value that it should have; `None` for a delete.
    pub new: Option<Value>,
    /// The message of the annotated tag that is to be made, so that a gap can be closed without the source.
    pub message: Option<String>,
    /// The message of the tag that is replaced, as far as it is known, so that a failed move can put it back.
    pub old_message: Option<String>,
    /// Why: `drift`, [`APPROVED`], [`UNDO`], [`APPROVED_UNDO`]; empty for the ordinary case.
    pub reason: String,
}

/// The reason of a write that a person released from a guard. It uses up no budget.
pub const APPROVED: &str = "approved";
/// The reason of a write that puts back what a run changed.
pub const UNDO: &str = "undo";
/// The reason of such a write that a person also released from a guard.
pub const APPROVED_UNDO: &str = "approved undo";

/// Names one announced intent until it is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IntentId(pub i64);

/// How a write ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It took effect.
    Done,
    /// The remote was there already.
    Already,
    /// The remote refused it.
    Rejected,
    /// It had no effect because it never arrived, was throttled, or was not begun.
    NotSent,
    /// Half of a move failed and the old value was put back.
    Restored,
    /// Half of a move failed and the tag is gone, or nobody could tell.
    Lost,
}

impl Outcome {
    /// The word of the ledger.
    pub fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Already => "already",
            Self::Rejected => "rejected",
            Self::NotSent => "not_sent",
            Self::Restored => "restored",
            Self::Lost => "lost",
        }
    }
}

/// What is known at the end of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// How it ended; goes to the history, except [`Outcome::NotSent`], which changed nothing.
    pub outcome: Outcome,
    /// What the record becomes.
    pub record: RecordChange,
    /// Whether the intent stays because the truth is not known yet; the next pass reads the tag and settles it.
    pub keep_intent: bool,
    /// What the history says besides the intent's reason: the server's words on a refusal.
    pub detail: Option<String>,
    /// Remembers a refusal, so that the same value is not offered again with every pass.
    pub refusal: Option<RefusalKind>,
}

/// What becomes of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordChange {
    /// It stays as it is.
    Keep,
    /// It is written.
    Put(Record),
    /// It goes.
    Drop,
}

/// Why a remote refused a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalKind {
    /// The remote does not have the target yet.
    TargetMissing,
    /// A rule of the remote: protection, hook, name.
    Policy,
}

impl RefusalKind {
    /// The word of the ledger.
    pub fn word(self) -> &'static str {
        match self {
            Self::TargetMissing => "target_missing",
            Self::Policy => "policy",
        }
    }
}

/// A remembered refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The value that was refused; where a delete was refused, the value that stays.
    pub value: Value,
    /// Why.
    pub kind: RefusalKind,
    /// The server's words.
    pub detail: String,
    /// The first refusal of this value.
    pub first: Timestamp,
    /// The latest.
    pub last: Timestamp,
}

/// Destructive writes of the last 24 hours, and how many tags were owned at most: what the budgets count with.
///
/// Writes whose intent is still open count too, whatever their age, and each intent counts once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Deletes that took effect or may have, approved ones left out.
    pub deletes: u32,
    /// Moves that took effect or may have, approved ones left out.
    pub moves: u32,
    /// The most records at one time.
    pub high_water: u32,
}

/// A name that a person put back against the source. No pass writes to it until the source agrees or a person releases it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// The value that it was put back to; `None` when it was taken away.
    pub value: Option<Value>,
    /// The run that was undone.
    pub undone: Uuid,
    /// Since when.
    pub since: Timestamp,
}

/// How long a replica may still show what was there before a write.
pub const REPLICA_LAG: SignedDuration = SignedDuration::from_secs(60);

/// The latest own write to a name that took effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnWrite {
    /// What was done.
    pub action: Action,
    /// The value before; `None` for a create.
    pub old: Option<Value>,
    /// The value after; `None` for a delete.
    pub new: Option<Value>,
    /// When it ended.
    pub time: Timestamp,
}

/// What is remembered with its time, by source name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lately {
    /// The latest own writes that a replica may not show yet.
    pub writes: BTreeMap<TagName, OwnWrite>,
    /// When names were put back that somebody had changed on the remote, in order; of the last 25 hours.
    pub restored: BTreeMap<TagName, Vec<Timestamp>>,
    /// Since when names are absent from the source that are to be deleted.
    pub absences: BTreeMap<TagName, Timestamp>,
}

/// All that is remembered about a pair.
#[derive(Clone, Debug, Default)]
pub struct PairState {
    /// The last agreed values by source name.
    pub records: BTreeMap<TagName, Record>,
    /// Writes whose end is not known.
    pub intents: Vec<(IntentId, Intent)>,
    /// Refusals that are remembered, by source name.
    pub refusals: BTreeMap<TagName, Refusal>,
    /// What the budgets have used.
    pub usage: Usage,
    /// The fingerprint of the source that the records belong to.
    pub source: Option<String>,
    /// The identity that the records belong to, and when it was last confirmed.
    pub identity: Option<(Identity, Timestamp)>,
    /// Since when the source and the tag space of today belong together; what was written before was written elsewhere.
    pub bound: Option<Timestamp>,
    /// Which rules have had their way here. Where they are those of an `exact` pass, its overwrites need no approval any more:
    /// the fingerprint that [`Ledger::end_pass`] was given.
    pub exact_begun: Option<String>,
    /// What is parked now.
    pub parked: Vec<Parked>,
    /// Names that were put back against the source.
    pub pins: BTreeMap<TagName, Pin>,
    /// What tags were last seen to point at, by their names on the remote. What cannot be trusted is left out of it.
    pub sightings: Sightings,
    /// Which names on the remote were all, where a listing does not show it. `None` also where that cannot be trusted.
    pub names: Option<ProvenNames>,
    /// What is remembered with its time.
    pub lately: Lately,
}

impl PairState {
    /// Whether agreement is all that is remembered: nothing that is under way, was refused, put back, parked or waits.
    pub fn is_settled(&self) -> bool {
        let Self { intents, refusals, parked, pins, sightings, names, lately, .. } = self;
        let is_waiting = !lately.absences.is_empty();
        intents.is_empty()
            && refusals.is_empty()
            && parked.is_empty()
            && pins.is_empty()
            && !is_waiting
            && sightings.is_empty()
            && names.is_none()
    }
}

/// All that is remembered about one name of a pair.
#[derive(Clone, Debug, Default)]
pub struct NameState {
    /// Its last agreed value.
    pub record: Option<Record>,
    /// A write to it whose end is not known.
    pub intent: Option<Intent>,
    /// A refusal that is remembered.
    pub refusal: Option<Refusal>,
    /// How it was put back against the source.
    pub pin: Option<Pin>,
    /// What kept it from agreement in the latest pass that could tell.
    pub unsettled: Option<Unsettled>,
    /// The parked sets that it is in.
    pub parked: Vec<Parked>,
    /// When a pass over the pair last ended without an error.
    pub last_success: Option<Timestamp>,
    /// What is remembered of the name with its time.
    pub lately: Lately,
}

/// Changes to records that need no call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Which tag.
    pub tag: TagName,
    /// What becomes of its record.
    pub record: RecordChange,
}

/// How a pass over a pair ended, for `status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassEnd {
    /// When it began.
    pub began: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// The pair's state word (`in_sync`, `changed`, …).
    pub state: String,
    /// Whether both sides agree on every name that is not held and not waiting.
    pub converged: bool,
    /// The error that ended it, if one did.
    pub error: Option<String>,
    /// How many names got which verdict, as JSON, for commands that show the last pass.
    pub counts: String,
    /// The names that keep the two sides from agreement. A pass that ended in an error saw none, and changes nothing here.
    pub unsettled: Vec<Unsettled>,
    /// What stands for both sides and for the rules by which they agree now, as a text of whoever made the pass; `None` where
    /// not all is agreement.
    pub agreement: Option<String>,
}

/// What the latest pass over a pair left, where that was full agreement and nothing was remembered besides: no intent, refusal,
/// pin, parked set or absence. Whatever is written of the pair afterwards ends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreement {
    /// What the pass left as [`PassEnd::agreement`].
    pub text: String,
    /// The fingerprint of the source that the records belong to.
    pub source: String,
    /// The identity that they belong to.
    pub identity: Identity,
    /// When it was last confirmed.
    pub confirmed: Timestamp,
}

/// What keeps a name from agreement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Matter {
    /// A person must decide.
    Held,
    /// A later pass will settle it.
    Waiting,
    /// It was tried and not done.
    Failed,
}

impl Matter {
    /// The word of the ledger and of JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Waiting => "waiting",
            Self::Failed => "failed",
        }
    }
}

/// What people were told last of a pair with which something was wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// What: [`Matter::Held`] or [`Matter::Failed`].
    pub matter: Matter,
    /// Since when something was wrong.
    pub since: Timestamp,
    /// When they were told.
    pub told: Timestamp,
}

/// A name on which the two sides do not agree, and since when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsettled {
    /// The source's name.
    pub tag: TagName,
    /// What keeps it.
    pub matter: Matter,
    /// Why, in a sentence.
    pub reason: String,
    /// The first pass that saw it so; the ledger keeps this as long as every pass in between saw the name unsettled.
    pub since: Timestamp,
}

/// One line of the history: a write and its end. The history is only ever appended to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryEntry {
    /// When the write ended.
    pub time: Timestamp,
    /// The run that announced it.
    pub run: Uuid,
    /// Where.
    pub pair: Pair,
    /// The source's name for the tag.
    pub tag: TagName,
    /// The remote's name for it.
    pub remote_name: TagName,
    /// What was done.
    pub action: Action,
    /// The value before; `None` for a create.
    pub old: Option<Value>,
    /// The value after; `None` for a delete.
    pub new: Option<Value>,
    /// How it ended.
    pub outcome: Outcome,
    /// The intent's reason; empty for the ordinary case.
    pub reason: String,
    /// What else is known, such as the server's words.
    pub detail: Option<String>,
    /// The message of the annotated tag that was replaced or deleted, as far as it was known.
    pub old_message: Option<String>,
}

/// Which part of the history is wanted; everything, unless a field says otherwise.
#[derive(Clone, Debug, Default)]
pub struct HistoryQuery {
    /// Only this job.
    pub job: Option<String>,
    /// Only this run.
    pub run: Option<Uuid>,
    /// Only this tag, by its source name.
    pub tag: Option<TagName>,
    /// Only tags whose source names these patterns include.
    pub tags: Option<NamePatterns>,
    /// Only what ended at this time or later.
    pub since: Option<Timestamp>,
    /// Only so many of the latest.
    pub limit: Option<u32>,
}

/// How a pair stands, for `status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairStatus {
    /// Which.
    pub pair: Pair,
    /// The latest pass, whatever came of it.
    pub last: PassEnd,
    /// When a pass last ended without an error.
    pub last_success: Option<Timestamp>,
    /// When the first of the latest unbroken row of converged passes ended; `None` when the latest did not converge.
    pub in_sync_since: Option<Timestamp>,
    /// What is parked now.
    pub parked: Vec<Parked>,
    /// How many names were put back against the source.
    pub pins: u32,
}

/// What can be asked of the memory of all pairs.
#[async_trait]
pub trait LedgerRead: Send + Sync {
    /// Everything about a pair; an unknown pair has the empty state.
    async fn read_pair(&self, pair: &Pair, now: Timestamp) -> Result<PairState, LedgerFault>;

    /// What the latest pass over a pair agreed on, if it did: little to read, however many tags there are.
    async fn read_agreement(&self, pair: &Pair) -> Result<Option<Agreement>, LedgerFault>;

    /// The pairs in which a run wrote, or began to.
    async fn read_pairs_of(&self, run: Uuid) -> Result<Vec<Pair>, LedgerFault>;

    /// Everything about one name of a pair, without reading the others.
    async fn read_name(&self, pair: &Pair, tag: &TagName) -> Result<NameState, LedgerFault>;

    /// The history, oldest first; with a limit, the latest of it.
    async fn read_history(&self, query: &HistoryQuery) -> Result<Vec<HistoryEntry>, LedgerFault>;

    /// How every pair stands that has ended a pass, ordered by name; also pairs that the configuration has no more.
    async fn read_status(&self) -> Result<Vec<PairStatus>, LedgerFault>;

    /// Every set that is parked, or was until a few days ago, in the order of their pairs.
    async fn read_parked(&self) -> Result<Vec<(Pair, Parked)>, LedgerFault>;

    /// What people were told last of pairs with which something was wrong then.
    async fn read_notices(&self) -> Result<Vec<(Pair, Notice)>, LedgerFault>;
}

/// The memory of all pairs.
///
/// What is written is seen by every later read through the same ledger, or the read returns why it was not written.
///
/// A write that was accepted without waiting for the disk cannot get lost in silence: when it fails, whatever waits for
/// something of the same pair gets that fault, and nothing more of the pair is written, until its pass has been told by
/// [`Ledger::end_pass`], or the next one by [`LedgerRead::read_pair`]. So a pass begins with a read, and goes by nothing
/// that it remembers from before a fault. After a fault of the file itself, or of the program, nothing at all is written
/// until the ledger is dropped and opened again.
#[async_trait]
pub trait Ledger: LedgerRead {
    /// Binds a pair to these identities. With `void`, what belonged to the former ones goes first: records, refusals,
    /// parked changes, pins, sightings, the high-water mark and the approval of an `exact` pass.
    ///
    /// The history stays, and so does what the budgets have used. Intents stay while the tag space is the same, since a
    /// gap in it must still be closed; those for another tag space mean nothing any more and enter the history as `lost`.
    async fn bind(
        &self,
        pair: &Pair,
        source: &str,
        identity: &Identity,
        now: Timestamp,
        void: bool,
    ) -> Result<(), LedgerFault>;

    /// Writes an intent. It is durable when this returns; intents that arrive together share one flush to disk.
    async fn announce(&self, pair: &Pair, run: Uuid, intent: &Intent, now: Timestamp) -> Result<IntentId, LedgerFault>;

    /// Writes many intents in one flush, all or none; gives their ids in the same order.
    async fn announce_all(
        &self,
        pair: &Pair,
        run: Uuid,
        intents: Vec<Intent>,
        now: Timestamp,
    ) -> Result<Vec<IntentId>, LedgerFault>;

    /// Settles an intent: record, history, refusal. Ordered after everything before it; durable with the next flush.
    ///
    /// An intent that is not there, or is another pair's, is a fault.
    async fn settle(
        &self,
        pair: &Pair,
        id: IntentId,
        settlement: &Settlement,
        now: Timestamp,
    ) -> Result<(), LedgerFault>;

    /// Settles many intents, all or none.
    async fn settle_all(
        &self,
        pair: &Pair,
        settlements: Vec<(IntentId, Settlement)>,
        now: Timestamp,
    ) -> Result<(), LedgerFault>;

    /// Changes records that need no call (adopt, record, forget, release); forgetting counts into the high-water mark first.
    ///
    /// A note also ends a refusal of its tag, whatever becomes of the record. Durable with the next flush.
    async fn note(&self, pair: &Pair, notes: &[Note], now: Timestamp) -> Result<(), LedgerFault>;

    /// Remembers what is parked from now on; whatever else was parked has ended. A set that was parked already keeps its age
    /// and what a person said about it. Durable with the next flush.
    async fn park(&self, pair: &Pair, parked: &[ParkedSet], now: Timestamp) -> Result<(), LedgerFault>;

    /// Takes the approvals of these sets, so that nobody acts on them again, neither a later pass nor one after a crash; and
    /// ends those that were released with the command. `false`, and nothing is taken, when one of the former is not approved
    /// any more. Durable when this returns.
    async fn take_approvals(
        &self,
        pair: &Pair,
        approved: &[String],
        commanded: &[String],
        now: Timestamp,
    ) -> Result<bool, LedgerFault>;

    /// Remembers names that are about to be put back against the source. Settling a later write to one that takes effect,
    /// and was not an undo itself, ends its pin. Durable with the next flush.
    async fn pin(&self, pair: &Pair, pins: &[(TagName, Pin)]) -> Result<(), LedgerFault>;

    /// Ends pins. Durable with the next flush.
    async fn unpin(&self, pair: &Pair, tags: &[TagName]) -> Result<(), LedgerFault>;

    /// Remembers what tags were seen to point at, and forgets that of others. Durable with the next flush.
    async fn remember(
        &self,
        pair: &Pair,
        seen: &[(TagName, Sighting)],
        forgotten: &[TagName],
    ) -> Result<(), LedgerFault>;

    /// Remembers which names on the remote were all, or forgets it. Durable with the next flush.
    async fn remember_names(&self, pair: &Pair, names: Option<&ProvenNames>) -> Result<(), LedgerFault>;

    /// Remembers that names are absent from the source since now, whatever was known of them, and forgets it of names that
    /// are back or gone for good. All others keep their age. Durable with the next flush.
    async fn note_absences(
        &self,
        pair: &Pair,
        absent: &[TagName],
        ended: &[TagName],
        now: Timestamp,
    ) -> Result<(), LedgerFault>;

    /// Remembers what people were told of these pairs; `None` where nothing is wrong any more. Durable with the next flush,
    /// or soon; when it is lost, only the log says so, and they may be told again.
    async fn remember_notices(&self, notices: &[(Pair, Option<Notice>)]) -> Result<(), LedgerFault>;

    /// Returns when everything before it is durable.
    async fn flush(&self) -> Result<(), LedgerFault>;

    /// Ends a pass: times, state and agreement, and everything before it is durable. `exact_begun` is only ever set here;
    /// `None` leaves it as it is, and [`Ledger::bind`] takes it away.
    ///
    /// After a pass that found agreement its own end is durable with the next flush: should the machine lose its power before,
    /// the pass before it is the latest one.
    async fn end_pass(&self, pair: &Pair, end: &PassEnd, exact_begun: Option<&str>) -> Result<(), LedgerFault>;
}
