//! From three sides to one verdict per name, then the guards. Pure: no clock, no file, no network, no log.

/// What a job may do to its remotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
