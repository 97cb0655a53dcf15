//! What can go wrong with the file, in words that say what to do.

use std::io;
use std::path::Path;

use rusqlite::ErrorCode;
use rusqlite::types::FromSqlError;

/// The ledger could not be read or written. Nothing follows from it but the end of the pass that it was for.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct LedgerFault {
    /// What happened, with the file.
    pub message: String,
    /// What to do.
    pub hint: String,
}

/// What is true of every ledger that cannot be trusted.
pub(super) const START_AFRESH: &str = "Without a readable ledger nothing is moved or deleted. Move ledger.db away, with \
     ledger.db-wal and ledger.db-shm where they exist, and put back a good copy with its own log; or start afresh without one. Tags that agree are then \
     adopted again, and nothing else happens to tags that exist.";

impl LedgerFault {
    /// A fault of the file system.
    pub(super) fn file(doing: &str, path: &Path, error: &io::Error) -> Self {
        let hint = match error.kind() {
            io::ErrorKind::PermissionDenied => {
                "Run it as root or as the user that owns the state directory, or name another one with --state."
            }
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => DISK_FULL,
            io::ErrorKind::ReadOnlyFilesystem => READ_ONLY,
            _ => "Check the path and the disk. Without a ledger nothing is moved or deleted.",
        };
        Self { message: format!("cannot {doing} {}: {error}", path.display()), hint: hint.into() }
    }

    /// A file that must not be trusted.
    pub(super) fn untrusted(path: &Path, what: &str) -> Self {
        Self { message: format!("the ledger {} {what}", path.display()), hint: START_AFRESH.into() }
    }
}

const DISK_FULL: &str =
    "Free some space: then the next pass goes on. No call is made that could not be written down first.";
const READ_ONLY: &str = "Make the state directory writable: then the next pass goes on. No call is made that could not be \
     written down first.";

/// Why a statement did not do what it should, before anyone knows which file it was about.
#[derive(Debug)]
pub(super) enum Failure {
    /// SQLite's own words.
    Sqlite(rusqlite::Error),
    /// What was read cannot have been written by us.
    Corrupt(&'static str),
    /// The caller asked for what is not there.
    Misuse(String),
    /// A later program wrote it.
    Newer {
        /// The file's version.
        version: usize,
        /// The latest that this program knows.
        latest: usize,
    },
    /// An earlier program wrote it, and reading must not change it.
    Older,
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<FromSqlError> for Failure {
    fn from(_: FromSqlError) -> Self {
        Self::Corrupt("a column of another type")
    }
}

impl Failure {
    /// Whether only what was tried has failed, for a reason outside the file and the program that can go away.
    pub(super) fn may_pass(&self) -> bool {
        let Self::Sqlite(error) = self else { return false };
        matches!(
            error.sqlite_error_code(),
            Some(
                ErrorCode::DiskFull
                    | ErrorCode::ReadOnly
                    | ErrorCode::SystemIoFailure
                    | ErrorCode::CannotOpen
                    | ErrorCode::PermissionDenied
                    | ErrorCode::DatabaseBusy
                    | ErrorCode::DatabaseLocked
                    | ErrorCode::FileLockingProtocolFailed
            )
        )
    }

    /// Names the file and what to do.
    pub(super) fn at(self, path: &Path) -> LedgerFault {
        let shown = path.display();
        let fault = |message: String, hint: &str| LedgerFault { message, hint: hint.into() };
        match self {
            Self::Newer { version, latest } => fault(
                format!("the ledger {shown} is of version {version}, and this tagsyncd reads up to {latest}"),
                "A newer tagsyncd wrote it: use that one, or put back the ledger from before the upgrade. Until then nothing \
                 is moved or deleted.",
            ),
            Self::Older => fault(
                format!("the ledger {shown} was written by an older tagsyncd"),
                "Start the daemon, or run `tagsyncd --sync`, once: that brings the ledger to this version.",
            ),
            Self::Corrupt(what) => LedgerFault::untrusted(path, &format!("is damaged: it holds {what}")),
            Self::Misuse(what) => fault(
                format!("the ledger {shown} was asked for what it does not hold: {what}"),
                "This is a fault in the program. Nothing more is written; starting again resolves what is open.",
            ),
            Self::Sqlite(error) => match error.sqlite_error_code() {
                Some(ErrorCode::DiskFull) => {
                    fault(format!("cannot write the ledger {shown}: the disk is full"), DISK_FULL)
                }
                Some(ErrorCode::ReadOnly) => fault(format!("cannot write the ledger {shown}: {error}"), READ_ONLY),
                Some(ErrorCode::SystemIoFailure) => fault(
                    format!("cannot read or write the ledger {shown}: {error}"),
                    "Check the disk (`dmesg`): once it works, the next pass goes on. No call is made that could not be written down first.",
                ),
                Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => fault(
                    format!("cannot open the ledger {shown}: {error}"),
                    "Run it as root or as the user that owns the state directory, and check that it exists.",
                ),
                Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed) => {
                    fault(
                        format!("the ledger {shown} is held by another program: {error}"),
                        "Close what has it open for writing, such as a `sqlite3` shell: then the next pass goes on.",
                    )
                }
                Some(ErrorCode::NotADatabase) => {
                    LedgerFault::untrusted(path, "is not a ledger, or its first bytes are damaged")
                }
                // A missing table or column, text that is no text: whatever else SQLite says about a file that was checked.
                _ => LedgerFault::untrusted(path, &format!("is damaged: {error}")),
            },
        }
    }
}
