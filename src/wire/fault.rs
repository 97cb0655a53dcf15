//! What an answer can be instead of an answer.

/// Why an answer of a git server cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireFault {
    /// It breaks the protocol; the text continues the words "the answer …".
    #[error("{0}")]
    Malformed(String),
    /// The server says in so many words that it cannot. The bytes are its own, and not safe to print.
    #[error("is an error of the git server")]
    Refused(Vec<u8>),
}

impl WireFault {
    /// An answer that breaks the protocol.
    pub(super) fn malformed(what: impl Into<String>) -> Self {
        Self::Malformed(what.into())
    }
}
