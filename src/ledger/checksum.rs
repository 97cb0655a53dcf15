//! The checksum that each row carries, so that a damaged row is a fault and never another truth.

use crc32fast::Hasher;

use super::Pair;

/// A CRC-32 over a row: each field with its length in front, so that no two rows have the same bytes.
#[derive(Clone)]
pub(super) struct Checksum(Hasher);

impl Checksum {
    /// Begins with the table and the pair: a row that wandered to another one does not fit there.
    pub(super) fn of(table: &str, pair: &Pair) -> Self {
        let Pair { job, repository, remote } = pair;
        Self(Hasher::new()).text(table).text(job).text(repository).text(remote)
    }

    /// Adds bytes.
    pub(super) fn bytes(mut self, field: &[u8]) -> Self {
        self.0.update(&(field.len() as u64).to_le_bytes());
        self.0.update(field);
        self
    }

    /// Adds text.
    pub(super) fn text(self, field: &str) -> Self {
        self.bytes(field.as_bytes())
    }

    /// Adds text that may be missing; missing is not the same as empty.
    pub(super) fn optional(self, field: Option<&str>) -> Self {
        match field {
            Some(field) => self.number(1).text(field),
            None => self.number(0),
        }
    }

    /// Adds a number.
    pub(super) fn number(self, field: i64) -> Self {
        self.bytes(&field.to_le_bytes())
    }

    /// The sum, as a column keeps it.
    pub(super) fn sum(self) -> i64 {
        i64::from(self.0.finalize())
    }
}
