//! What a kind of API can do, as data: planner, `check`, `providers` and the docs read it without a connection.

use std::fmt;

use crate::tag::{TagName, TargetKind};

/// What a provider's tags are and what can be done with them.
#[derive(Debug)]
pub struct Capabilities {
    /// What its tags point at.
    pub target: TargetKind,
    /// How a tag gets another value.
    pub moves: Moves,
    /// Whether one tag can go without touching anything else.
    pub deletes: Deletes,
    /// What becomes of an annotated tag.
    pub annotations: Annotations,
    /// Whether a write can name the value that it expects to replace.
    pub lease: Lease,
    /// Whether a create of an existing name is refused by the server, so that no look before it is needed.
    pub create_refuses_existing: bool,
    /// Which names it takes.
    pub names: NameRules,
}

/// How a tag gets another value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moves {
    /// One call; the tag is there all the time.
    InPlace,
    /// Deleted, then created: gone for a moment.
    Recreate,
    /// Not at all, and why.
    Never(&'static str),
}

impl fmt::Display for Moves {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InPlace => f.write_str("in place"),
            Self::Recreate => f.write_str("delete, create"),
            Self::Never(_) => f.write_str("never"),
        }
    }
}

/// Whether one tag can go without touching anything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletes {
    /// One call removes one tag.
    Yes,
    /// Not at all, and why.
    Never(&'static str),
}

impl fmt::Display for Deletes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Yes => f.write_str("yes"),
            Self::Never(_) => f.write_str("never"),
        }
    }
}

/// What becomes of an annotated tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Annotations {
    /// The server makes its own tag object with the message; tagger, date and signature are lost.
    Message,
    /// There is nothing to keep them in: all tags are the same kind of thing there.
    None,
    /// The tag object itself goes there, with tagger, date and signature, byte for byte.
    Whole,
}

impl fmt::Display for Annotations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Message => f.write_str("message only"),
            Self::None => f.write_str("none"),
            Self::Whole => f.write_str("byte for byte"),
        }
    }
}

/// Whether a write can name the value that it expects to replace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lease {
    /// The server compares before it writes.
    Server,
    /// We look just before we write.
    LookBefore,
}

impl fmt::Display for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server => f.write_str("by the server"),
            Self::LookBefore => f.write_str("look before"),
        }
    }
}

/// Which names a remote takes, beyond git's own rules.
#[derive(Debug)]
pub struct NameRules {
    /// The rules in words.
    pub summary: &'static str,
    /// Why a name cannot be expressed there; `None` when it can.
    pub refuses: fn(&TagName) -> Option<&'static str>,
    /// Whether names are git refs, so that `a` and `a/b` exclude each other.
    pub are_refs: bool,
}
