//! What can go wrong between us and a remote, in the terms that decide what happens next.

/// What is known about the effect of a call that did not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// The request cannot have had an effect: no name, no connection, no TLS, or a proxy in between refused.
    NotSent,
    /// The server declined for now (429, or 503 with `Retry-After`) before doing anything.
    Throttled,
    /// The credential was not accepted (401), or could not be read at all.
    Unauthorized,
    /// The credential was accepted and may not do this (403).
    Forbidden,
    /// The tag space, or the tag that a write was about, is not there or not visible (404).
    NotFound,
    /// The server understood and refused, because it does not have what the tag would point at.
    TargetMissing,
    /// The server understood and refused (any other 4xx).
    Rejected,
    /// The request may have had its effect: timed out after sending, cut reply, 5xx, unreadable success.
    Ambiguous,
    /// A read brought something that cannot be trusted: HTML, broken JSON, too much of it, pages that contradict themselves.
    Unreadable,
    /// The provider has no such operation.
    Unsupported,
}

/// A failed call: what happened, and where it is known, what to do.
///
/// The texts are printable (see [`crate::text`]) and hold no secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    /// What follows from it.
    pub kind: FaultKind,
    /// What happened, in one sentence without a full stop; names the operation and the server's own words.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Fault {
    /// A fault without a hint.
    pub fn new(kind: FaultKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None }
    }

    /// Adds what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}
