//! The ledger in SQLite.
/// The ledger in SQLite.
pub struct SqliteLedger;
