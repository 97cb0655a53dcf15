//! What happened lately, with its time. A quiet pair costs three looks into indexes that are empty for it.

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, Params, params};

use super::{action, blob, name, number, optional_value, time};
use crate::ledger::checksum::Checksum;
use crate::ledger::fault::Failure;
use crate::ledger::{Lately, OwnWrite, Pair, REPLICA_LAG};
use crate::tag::TagName;

/// A name that was put back too often is left alone for a day, counted from the last of a row that took an hour at most.
const RESTORED: SignedDuration = SignedDuration::from_hours(25);

/// What happened to a pair lately. What was written before its sides belonged together was written elsewhere.
pub(super) fn of_pair(
    connection: &Connection,
    id: i64,
    pair: &Pair,
    bound: Option<Timestamp>,
    now: Timestamp,
) -> Result<Lately, Failure> {
    let bound = bound.map_or(i64::MIN, Timestamp::as_microsecond);
    let since = |ago: SignedDuration| now.saturating_sub(ago).map_or(bound, |since| since.as_microsecond().max(bound));
    let mut lately = Lately::default();
    writes(
        connection,
        "SELECT tag, action, old, new, time FROM history INDEXED BY history_by_pair
         WHERE pair = ?1 AND time > ?2 AND outcome = 'done' ORDER BY id",
        params![id, since(REPLICA_LAG)],
        &mut lately,
    )?;
    restored(
        connection,
        "SELECT tag, time FROM history INDEXED BY history_of_drift
         WHERE pair = ?1 AND time > ?2 AND reason = 'drift' AND outcome = 'done' ORDER BY time, id",
        params![id, since(RESTORED)],
        &mut lately,
    )?;
    let sql = "SELECT tag, since, checksum FROM absences WHERE pair = ?1";
    absences(connection, sql, params![id], pair, &mut lately)?;
    Ok(lately)
}

/// The same of one name, however long ago: whoever asks knows the time.
pub(super) fn of_name(
    connection: &Connection,
    id: i64,
    pair: &Pair,
    bound: Option<Timestamp>,
    tag: &TagName,
) -> Result<Lately, Failure> {
    let bound = bound.map_or(i64::MIN, Timestamp::as_microsecond);
    let mut lately = Lately::default();
    writes(
        connection,
        "SELECT tag, action, old, new, time FROM history INDEXED BY history_by_tag
         WHERE tag = ?3 AND pair = ?1 AND time > ?2 AND outcome = 'done' ORDER BY id DESC LIMIT 1",
        params![id, bound, tag.as_bytes()],
        &mut lately,
    )?;
    restored(
        connection,
        "SELECT tag, time FROM history INDEXED BY history_by_tag
         WHERE tag = ?3 AND pair = ?1 AND time > ?2 AND reason = 'drift' AND outcome = 'done' ORDER BY time, id",
        params![id, bound, tag.as_bytes()],
        &mut lately,
    )?;
    let sql = "SELECT tag, since, checksum FROM absences WHERE pair = ?1 AND tag = ?2";
    absences(connection, sql, params![id, tag.as_bytes()], pair, &mut lately)?;
    Ok(lately)
}

fn writes(connection: &Connection, sql: &str, of: impl Params, lately: &mut Lately) -> Result<(), Failure> {
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query(of)?;
    while let Some(row) = rows.next()? {
        let write = OwnWrite {
            action: action(row, 1)?,
            old: optional_value(row, 2)?,
            new: optional_value(row, 3)?,
            time: time(row, 4)?,
        };
        lately.writes.insert(name(row, 0)?, write);
    }
    Ok(())
}

fn restored(connection: &Connection, sql: &str, of: impl Params, lately: &mut Lately) -> Result<(), Failure> {
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query(of)?;
    while let Some(row) = rows.next()? {
        lately.restored.entry(name(row, 0)?).or_default().push(time(row, 1)?);
    }
    Ok(())
}

/// The checksum of an absence.
pub(in super::super) fn absence_checksum(pair: Checksum, tag: &[u8], since: i64) -> i64 {
    pair.bytes(tag).number(since).sum()
}

/// A row that is not as it was written is no fault: it is left out, and the grace begins anew.
fn absences(
    connection: &Connection,
    sql: &str,
    of: impl Params,
    pair: &Pair,
    lately: &mut Lately,
) -> Result<(), Failure> {
    let sum = Checksum::of("absences", pair);
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query(of)?;
    while let Some(row) = rows.next()? {
        let is_as_written = absence_checksum(sum.clone(), blob(row, 0)?, number(row, 1)?) == number(row, 2)?;
        if is_as_written {
            lately.absences.insert(name(row, 0)?, time(row, 1)?);
        }
    }
    Ok(())
}
