//! Why a name is left alone, in words that say what to do.

use std::fmt;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::Delay;
use crate::tag::{TagName, Value};

/// What the three-way table itself holds: both sides say different things, and the job's rules name no winner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Conflict {
    /// `create-only`: the remote has another value.
    Differs,
    /// `mirror`: the remote has another value under a name that was never ours.
    NotOurs,
    /// The source dropped it, but somebody changed it remotely since.
    DriftedThenRemoved,
    /// The name's first value is pinned.
    Immutable,
    /// The source left the pin and the remote has lost the tag.
    SourceLeftPin,
    /// Source and remote both left the pin.
    BothLeftPin,
    /// The configuration protects the name.
    Protected,
}

impl Conflict {
    /// Reason and hint.
    pub(super) fn explain(self) -> (&'static str, &'static str) {
        match self {
            Self::Differs => (
                "the remote has another value, and this job only creates",
                "delete the remote tag by hand to let it be created anew, or change the job's policy",
            ),
            Self::NotOurs => (
                "the remote has another value that tagsyncd did not write",
                "make both sides equal by hand once; from then on it is managed",
            ),
            Self::DriftedThenRemoved => (
                "the source no longer has it, but somebody changed it on the remote since it was written",
                "delete it on the remote by hand, or put it back in the source",
            ),
            Self::Immutable => (
                "the name is immutable: its first value is pinned",
                "release under a new name, or take the name out of `immutable` for one pass",
            ),
            Self::SourceLeftPin => (
                "the name is immutable, the source left the pinned value, and the remote has lost the tag",
                "put the pinned value back in the source, or take the name out of `immutable` for one pass",
            ),
            Self::BothLeftPin => (
                "the name is immutable, and both sides left the pinned value",
                "find out who moved it; take the name out of `immutable` for one pass to accept the new value",
            ),
            Self::Protected => (
                "the name is `protected`: never moved, never deleted",
                "take the name out of `protected`, or make the change on the remote by hand",
            ),
        }
    }
}

/// Why a person must decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HoldKind {
    /// One side could not be read.
    Unknown,
    /// Two source names have one name on the remote, or names that cannot exist together.
    NamesMeet,
    /// The remote cannot hold this name or this target, or has no such operation.
    #[serde(rename = "cannot_be_expressed")]
    Inexpressible,
    /// Another tag on the remote is in the way.
    Blocked,
    /// The remote protects the name.
    #[serde(rename = "protected_on_remote")]
    RemoteProtected,
    /// A deletion would take something along.
    SideEffect,
    /// The remote refused this very change before.
    Refused,
    /// The source has no tag in scope at all.
    EmptySource,
    /// The credential may only read.
    ReadOnly,
    /// A budget or another guard parked it.
    Parked,
    /// Somebody keeps changing it on the remote, and it was put back too often.
    Flapping,
    /// A person undid it, and the source still asks for it.
    Undone,
    /// It is not any more what the run left that is to be undone.
    MovedOn,
    /// The configuration leaves out by now what is to be undone.
    OutOfScope,
    /// Both sides say different things.
    #[serde(untagged)]
    Conflict(Conflict),
}

/// The word of reports.
impl fmt::Display for HoldKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// A name that is left alone until a person decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The source's name, or the remote's where the source has none.
    pub tag: TagName,
    /// The remote's name, or the source's where it has none there.
    pub remote_name: TagName,
    /// Why.
    pub kind: HoldKind,
    /// What the source has.
    pub source: Option<Value>,
    /// What was last agreed.
    pub record: Option<Value>,
    /// What the remote has.
    pub remote: Option<Value>,
    /// Why, in a sentence.
    pub reason: String,
    /// What to do.
    pub hint: String,
    /// Whether a person has dismissed it, so that nobody needs to be told again.
    pub dismissed: bool,
}

/// A name that needs nobody: a later pass will settle it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The source's name.
    pub tag: TagName,
    /// The remote's name.
    pub remote_name: TagName,
    /// What it will have.
    pub to: Option<Value>,
    /// What it waits for.
    pub reason: String,
    /// Why and until when, where time alone settles it.
    pub until: Option<(Delay, Timestamp)>,
}
