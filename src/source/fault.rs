//! What can go wrong with a source as a whole.

use std::path::Path;

use crate::text::Printable;

/// A source that could not be opened or read: what happened, to which one, and what to do.
///
/// Nothing follows from it for any tag. Both texts are printable (see [`crate::text`]).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SourceFault {
    /// What happened and why, in one sentence without a full stop; names the source.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

impl SourceFault {
    /// A fault of the repository at `path`. `what` may hold text from the disk; it is made printable here.
    pub(super) fn new(path: &Path, what: impl AsRef<str>, hint: impl Into<String>) -> Self {
        let message = format!("repository {}: {}", shown(path), Printable::new(what.as_ref()));
        Self { message, hint: hint.into() }
    }

    /// A fault of the remote of this name. `what` may hold anybody's text; it is made printable here.
    pub fn of_remote(name: &str, what: impl AsRef<str>, hint: impl Into<String>) -> Self {
        let message = format!("remote `{name}`, where the tags come from: {}", Printable::new(what.as_ref()));
        Self { message, hint: hint.into() }
    }

    /// The reading itself was broken off: a bug, which is no reason to conclude anything.
    pub(super) fn interrupted(path: &Path, by: &tokio::task::JoinError) -> Self {
        Self::new(
            path,
            format!("reading it was broken off: {by}"),
            "run again; if it happens again, report it as a bug",
        )
    }
}

/// A path for people.
pub(super) fn shown(path: &Path) -> String {
    format!("`{}`", Printable::new(path.as_os_str().as_encoded_bytes()))
}
