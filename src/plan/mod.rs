//! From three sides to one verdict per name, then the guards. Pure: no clock, no file, no network, no log.
//!
//! [`draw()`] judges every name that exists anywhere exactly once; the same inputs give the same plan, byte for byte.
//! [`reverse()`] draws the plan that puts back what a run changed. [`guard()`] lets the safe part of either through as an
//! [`ApprovedPlan`] and parks the rest under ids.

mod basis;
mod classify;
mod delay;
mod draw;
mod guard;
mod hold;
mod judge;
mod refusal;
mod resolve;
mod reverse;
#[cfg(test)]
mod tests;

pub use basis::{Basis, leaves_foreign, questioned, scope};
pub use classify::{NameRules, Verdict, classify};
pub use delay::{Delay, Timing};
pub use draw::{RemoteRules, Rules, Sides, Unplaceable, draw};
pub use guard::{ApprovedPlan, Facts, Guarded, Stopped, guard};
pub use hold::{Conflict, Held, HoldKind, Waiting};
pub use judge::{Judgement, Rule, Subject, Wanted, Witness, judge};
pub use refusal::{missing_targets, standing};
pub use resolve::{Evidence, Resolved, carried_over, reshape, resolve};
pub use reverse::{Effect, effects, reverse};

use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use crate::ledger::{self, Action, Note, ParkedSet};
use crate::tag::{Attachment, CommitId, MessageDigest, TagId, TagName, Value};

/// What a job may do to its remotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// Never moves, never deletes.
    CreateOnly,
    /// Creates; moves and deletes what the ledger says is ours.
    Mirror,
    /// Also overwrites and deletes what is not ours.
    Exact,
}

impl Policy {
    /// The word of the configuration.
    pub fn word(self) -> &'static str {
        match self {
            Self::CreateOnly => "create-only",
            Self::Mirror => "mirror",
            Self::Exact => "exact",
        }
    }
}

/// How much a remote may lose in a rolling 24 hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Deletes at most; 0 forbids them.
    pub deletes: u32,
    /// Deletes at most, in percent of the high-water mark of owned tags (never below three tags).
    pub deletes_percent: u8,
    /// Moves at most; 0 forbids them.
    pub moves: u32,
    /// Moves at most, in percent of the high-water mark of owned tags (never below three tags).
    pub moves_percent: u8,
}

impl Default for Limits {
    fn default() -> Self {
        Self { deletes: 50, deletes_percent: 10, moves: 50, moves_percent: 10 }
    }
}

/// Why a change is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// The source changed, or the name is new.
    Ordinary,
    /// The remote changed since we wrote.
    Drift,
    /// A person released it from a guard.
    Approved,
    /// A person undoes what a run changed.
    Undo,
    /// A person undoes what a run changed, and released it from a guard.
    ApprovedUndo,
}

impl Cause {
    /// Whether a person undoes what a run changed, whatever the source has.
    pub fn undoes(self) -> bool {
        matches!(self, Self::Undo | Self::ApprovedUndo)
    }

    /// The same, released from a guard.
    fn approved(self) -> Self {
        if self.undoes() { Self::ApprovedUndo } else { Self::Approved }
    }

    /// The word that reports and the history use; `None` for the ordinary case.
    pub fn word(self) -> Option<&'static str> {
        match self {
            Self::Ordinary => None,
            Self::Drift => Some("drift"),
            Self::Approved => Some(ledger::APPROVED),
            Self::Undo => Some(ledger::UNDO),
            Self::ApprovedUndo => Some(ledger::APPROVED_UNDO),
        }
    }
}

/// The message of an annotated tag that a create or a move carries along.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CarriedMessage {
    /// That of this tag object in the source.
    Of(TagId),
    /// That of the source's tag, of which an API tells; it has this fingerprint.
    Told(MessageDigest),
    /// This one.
    Text(String),
}

/// One write that a plan asks for. A first pass asks for as many creates as there are tags, so what those do without is apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedChange {
    /// The source's name.
    pub tag: TagName,
    /// The remote's name.
    pub remote_name: TagName,
    /// Create, move or delete.
    pub action: Action,
    /// The lease: what the remote has; `None` for a create.
    pub old: Option<Box<Value>>,
    /// What it shall have; `None` for a delete.
    pub new: Option<Value>,
    /// The commit that the source's tag leads to, where it has one; only for a move.
    pub commit: Option<Box<CommitId>>,
    /// What was last agreed.
    pub record: Option<Box<Value>>,
    /// Why.
    pub cause: Cause,
    /// Whether it would destroy a value that we did not leave there, so that only `exact` asks for it.
    pub foreign: bool,
    /// What the remote had attached to the tag when this was planned; more than that may not be destroyed.
    pub attachment: Option<Attachment>,
    /// What a create or a move carries along; `None` where the tag is lightweight, or its message does not go there.
    pub message: Option<Box<CarriedMessage>>,
    /// The run that a person undid here, which this would do again.
    pub undone: Option<Uuid>,
    /// Other names that it has to do with, where there are any.
    pub neighbours: Option<Box<Neighbours>>,
}

/// Other names that a change has to do with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Neighbours {
    /// Other source names that would have this name on the remote; a deletion makes sure that none of them is there.
    pub namesakes: Vec<TagName>,
    /// Names on the remote that have to go first, because git cannot keep both (`a` and `a/b`).
    pub blockers: Vec<TagName>,
}

impl Plan {
    /// Whether nothing but agreement was found. Only such a plan may rest on an identity that was not asked for anew.
    pub fn is_quiet(&self) -> bool {
        // Our own write that does not show may have been one to another tag space.
        let unseen = self.waiting.iter().any(|waiting| matches!(waiting.until, Some((Delay::Replica, _))));
        let Self { changes, notes, held, vanished, .. } = self;
        changes.is_empty() && notes.is_empty() && held.is_empty() && *vanished == 0 && !unseen
    }
}

impl PlannedChange {
    /// See [`Neighbours::namesakes`].
    pub fn namesakes(&self) -> &[TagName] {
        self.neighbours.as_ref().map_or(&[], |neighbours| neighbours.namesakes.as_slice())
    }

    /// See [`Neighbours::blockers`].
    pub fn blockers(&self) -> &[TagName] {
        self.neighbours.as_ref().map_or(&[], |neighbours| neighbours.blockers.as_slice())
    }

    /// The line that stands for it in a parked set.
    pub fn line(&self) -> String {
        ParkedSet::line(self.action, &self.tag, &self.remote_name, self.old.as_deref(), self.new.as_ref())
    }

    fn into_held(self, kind: HoldKind, reason: String, hint: &str) -> Held {
        Held {
            tag: self.tag,
            remote_name: self.remote_name,
            kind,
            source: self.new,
            record: self.record.map(|record| *record),
            remote: self.old.map(|old| *old),
            reason,
            hint: hint.to_owned(),
            dismissed: false,
        }
    }
}

/// One verdict for every name that exists anywhere.
#[derive(Debug, Default)]
pub struct Plan {
    /// Names on which all agree.
    pub in_sync: Vec<TagName>,
    /// Writes, sorted by source name.
    pub changes: Vec<PlannedChange>,
    /// Changes of records only, sorted by source name.
    pub notes: Vec<Note>,
    /// Names on the remote that are not ours and not in the source.
    pub unmanaged: Vec<TagName>,
    /// Ours, gone from the source, kept because the policy never deletes.
    pub retained: Vec<TagName>,
    /// For a person to decide, sorted by source name.
    pub held: Vec<Held>,
    /// Heals by itself on a later pass, sorted by source name.
    pub waiting: Vec<Waiting>,
    /// Names put back by `undo` with which the source now agrees.
    pub unpinned: Vec<TagName>,
    /// Names put back by `undo` where both sides agree on something else: the pin protects nothing any more, unless the remote
    /// still shows what was there before the undo.
    pub overtaken: Vec<TagName>,
    /// How many names the source has in scope, readable ones only.
    pub in_scope: u32,
    /// How many names are ours.
    pub owned: u32,
    /// How many of ours the remote has lost although the source still has them.
    pub vanished: u32,
}
