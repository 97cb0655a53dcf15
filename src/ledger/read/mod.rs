//! From rows to what they mean. A row that cannot have been written by us is a failure, never left out.

mod history;
mod lately;

use std::collections::BTreeMap;
use std::str::FromStr;

use jiff::Timestamp;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use uuid::Uuid;

pub(super) use history::{history, pairs_of};
pub(super) use lately::absence_checksum;

use super::checksum::Checksum;
use super::fault::Failure;
use super::{
    APPROVED, APPROVED_UNDO, Action, Agreement, Decision, Intent, IntentId, Matter, NameState, Notice, Outcome,
    Ownership, Pair, PairState, PairStatus, Parked, ParkedBy, ParkedEnd, ParkedSet, PassEnd, Pin, Record, Refusal,
    RefusalKind, Unsettled, Usage,
};
use crate::provider::{Access, Identity};
use crate::tag::{ProvenNames, Sighting, Sightings, TagName, Value};

/// How long a write counts into the budgets, and a mark into the high-water mark.
pub(super) const DAY: i64 = 24 * 60 * 60 * 1_000_000;

/// What is kept about a pair itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PairRow {
    pub(super) source: Option<String>,
    pub(super) identity: Option<(Identity, Timestamp)>,
    pub(super) bound: Option<Timestamp>,
    pub(super) exact_begun: Option<String>,
}

/// An [`Access`] as columns: the word, what was found, what is needed.
pub(super) fn access_columns(access: &Access) -> (&'static str, Option<&str>, Option<&str>) {
    match access {
        Access::Write => ("write", None, None),
        Access::ReadOnly { found, needed } => ("read_only", Some(found), Some(needed)),
        Access::Untold => ("untold", None, None),
    }
}

impl PairRow {
    /// The checksum that the row must carry.
    pub(super) fn checksum(&self, id: i64, pair: &Pair) -> i64 {
        let sum = Checksum::of("pairs", pair)
            .number(id)
            .optional(self.source.as_deref())
            .optional(self.exact_begun.as_deref());
        let sum = sum.number(self.bound.map_or(0, Timestamp::as_microsecond));
        match &self.identity {
            None => sum.number(0),
            Some((identity, confirmed)) => {
                let (access, found, needed) = access_columns(&identity.access);
                sum.number(1)
                    .text(&identity.space)
                    .text(access)
                    .optional(found)
                    .optional(needed)
                    .number(confirmed.as_microsecond())
            }
        }
        .sum()
    }
}

/// The checksum of a record.
pub(super) fn record_checksum(pair: Checksum, tag: &[u8], remote_name: &[u8], value: &str, ownership: &str) -> i64 {
    pair.bytes(tag).bytes(remote_name).text(value).text(ownership).sum()
}

/// In the order in which [`intent`] reads them.
macro_rules! select_intents {
    ($rest:literal) => {
        concat!(
            "SELECT id, time, run, tag, remote_name, action, old, new, message, old_message, reason, checksum FROM intents ",
            $rest
        )
    };
}

/// In the order in which [`parked_row`] reads them.
macro_rules! select_parked {
    ($rest:literal) => {
        concat!(
            "SELECT plan, parked_by, changes, count, since, decision, decided, ending, ended",
            ", job, repository, remote FROM parked JOIN pairs ON pairs.id = parked.pair ",
            $rest
        )
    };
}

/// Reads one intent for [`intent`], by its id and its pair's.
pub(super) const SELECT_INTENT: &str = select_intents!("WHERE id = ?1 AND pair = ?2");

/// An intent with what the table keeps besides.
pub(super) struct IntentRow {
    pub(super) id: i64,
    pub(super) time: Timestamp,
    pub(super) run: String,
    pub(super) intent: Intent,
}

impl IntentRow {
    /// The checksum that the row must carry.
    pub(super) fn checksum(&self, pair: &Pair) -> i64 {
        let Intent { tag, remote_name, action, old, new, message, old_message, reason } = &self.intent;
        let record = |value: &Option<Value>| value.as_ref().map(Value::to_record);
        Checksum::of("intents", pair)
            .number(self.id)
            .number(self.time.as_microsecond())
            .text(&self.run)
            .bytes(tag.as_bytes())
            .bytes(remote_name.as_bytes())
            .text(action.word())
            .optional(record(old).as_deref())
            .optional(record(new).as_deref())
            .optional(message.as_deref())
            .optional(old_message.as_deref())
            .text(reason)
            .sum()
    }
}

/// Reads an intent's row.
pub(super) fn intent(row: &Row<'_>, pair: &Pair) -> Result<IntentRow, Failure> {
    let read = IntentRow {
        id: number(row, 0)?,
        time: time(row, 1)?,
        run: text(row, 2)?.to_owned(),
        intent: Intent {
            tag: name(row, 3)?,
            remote_name: name(row, 4)?,
            action: action(row, 5)?,
            old: optional_value(row, 6)?,
            new: optional_value(row, 7)?,
            message: optional_text(row, 8)?.map(str::to_owned),
            old_message: optional_text(row, 9)?.map(str::to_owned),
            reason: text(row, 10)?.to_owned(),
        },
    };
    if read.checksum(pair) == number(row, 11)? { Ok(read) } else { Err(Failure::Corrupt("a changed intent")) }
}

/// A pair's id and row, if it has any.
pub(super) fn pair_row(connection: &Connection, pair: &Pair) -> Result<Option<(i64, PairRow)>, Failure> {
    let mut statement = connection.prepare(
        "SELECT id, source, space, access, access_found, access_needed, confirmed, exact_begun, checksum, bound
         FROM pairs WHERE job = ?1 AND repository = ?2 AND remote = ?3",
    )?;
    let mut rows = statement.query([&pair.job, &pair.repository, &pair.remote])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let id = number(row, 0)?;
    let identity = match optional_text(row, 2)? {
        None => None,
        Some(space) => {
            let access = match text(row, 3)? {
                "write" => Access::Write,
                "untold" => Access::Untold,
                "read_only" => Access::ReadOnly { found: text(row, 4)?.into(), needed: text(row, 5)?.into() },
                _ => return Err(Failure::Corrupt("an access level that does not exist")),
            };
            Some((Identity { space: space.into(), access }, time(row, 6)?))
        }
    };
    let read = PairRow {
        source: optional_text(row, 1)?.map(str::to_owned),
        identity,
        bound: optional_time(row, 9)?,
        exact_begun: optional_text(row, 7)?.map(str::to_owned),
    };
    if read.checksum(id, pair) != number(row, 8)? {
        return Err(Failure::Corrupt("a changed pair"));
    }
    Ok(Some((id, read)))
}

/// Everything about a pair, as of one moment.
pub(super) fn pair_state(connection: &Connection, pair: &Pair, now: Timestamp) -> Result<PairState, Failure> {
    // One transaction, so that what the parts say belongs together whatever is written meanwhile.
    let moment = connection.unchecked_transaction()?;
    let Some((id, row)) = pair_row(&moment, pair)? else { return Ok(PairState::default()) };
    let records = records(&moment, id, pair)?;
    let intents = intents(&moment, id, pair)?;
    let owned = u32::try_from(records.len()).unwrap_or(u32::MAX);
    Ok(PairState {
        usage: usage(&moment, id, owned, now)?,
        records,
        intents: intents.into_iter().map(|row| (IntentId(row.id), row.intent)).collect(),
        refusals: refusals(&moment, id)?,
        source: row.source,
        identity: row.identity,
        bound: row.bound,
        exact_begun: row.exact_begun,
        parked: parked(&moment, id)?,
        pins: pins(&moment, id)?,
        sightings: sightings(&moment, id, pair)?,
        names: names(&moment, id, pair)?,
        lately: lately::of_pair(&moment, id, pair, row.bound, now)?,
    })
}

/// What the latest pass agreed on. What is not as a pass leaves it is none: then all is read.
pub(super) fn agreement(connection: &Connection, pair: &Pair) -> Result<Option<Agreement>, Failure> {
    let moment = connection.unchecked_transaction()?;
    let Some((id, row)) = pair_row(&moment, pair)? else { return Ok(None) };
    let (Some(source), Some((identity, confirmed))) = (row.source, row.identity) else { return Ok(None) };
    let mut statement = moment.prepare("SELECT agreement FROM passes WHERE pair = ?1")?;
    let mut rows = statement.query([id])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let Some(text) = optional_text(row, 0)?.map(str::to_owned) else { return Ok(None) };
    Ok(Some(Agreement { text, source, identity, confirmed }))
}

/// Everything about one name of a pair, as of one moment.
pub(super) fn name_state(connection: &Connection, pair: &Pair, tag: &TagName) -> Result<NameState, Failure> {
    let moment = connection.unchecked_transaction()?;
    let Some((id, row)) = pair_row(&moment, pair)? else { return Ok(NameState::default()) };
    let mut state = NameState::default();
    let mut statement = moment
        .prepare("SELECT tag, remote_name, value, ownership, checksum FROM records WHERE pair = ?1 AND tag = ?2")?;
    let mut rows = statement.query(params![id, tag.as_bytes()])?;
    if let Some(row) = rows.next()? {
        state.record = Some(record(row, &Checksum::of("records", pair))?.1);
    }
    let open = intents(&moment, id, pair)?.into_iter().map(|row| row.intent);
    state.intent = open.into_iter().find(|intent| intent.tag == *tag);
    state.refusal = refusals(&moment, id)?.remove(tag);
    state.pin = pins(&moment, id)?.remove(tag);
    state.unsettled = unsettled(&moment, id)?.into_iter().find(|unsettled| unsettled.tag == *tag);
    state.parked = parked(&moment, id)?;
    state.parked.retain(|parked| parked.set.holds(tag));
    let last_success: Option<Option<i64>> =
        moment.query_row("SELECT last_success FROM passes WHERE pair = ?1", [id], |row| row.get(0)).optional()?;
    state.lately = lately::of_name(&moment, id, pair, row.bound, tag)?;
    state.last_success = last_success.flatten().map(timestamp).transpose()?;
    Ok(state)
}

fn records(connection: &Connection, id: i64, pair: &Pair) -> Result<BTreeMap<TagName, Record>, Failure> {
    let sum = Checksum::of("records", pair);
    let mut statement = connection
        .prepare("SELECT tag, remote_name, value, ownership, checksum FROM records WHERE pair = ?1 ORDER BY tag")?;
    let mut rows = statement.query([id])?;
    let mut records: Vec<(TagName, Record)> = Vec::new();
    while let Some(row) = rows.next()? {
        let (tag, record) = record(row, &sum)?;
        if records.last().is_some_and(|(last, _)| *last >= tag) {
            return Err(Failure::Corrupt("two records of one tag"));
        }
        records.push((tag, record));
    }
    Ok(records.into_iter().collect())
}

fn record(row: &Row<'_>, sum: &Checksum) -> Result<(TagName, Record), Failure> {
    let (tag, remote_name) = (blob(row, 0)?, blob(row, 1)?);
    let (value, ownership) = (text(row, 2)?, text(row, 3)?);
    if record_checksum(sum.clone(), tag, remote_name, value, ownership) != number(row, 4)? {
        return Err(Failure::Corrupt("a changed record"));
    }
    let tag = name(row, 0)?;
    let record = Record {
        // Most remotes call a tag what the source calls it: one allocation serves both.
        remote_name: if remote_name == tag.as_bytes() { tag.clone() } else { name(row, 1)? },
        value: value_of(value)?,
        ownership: match ownership {
            "created" => Ownership::Created,
            "adopted" => Ownership::Adopted,
            _ => return Err(Failure::Corrupt("an ownership that does not exist")),
        },
    };
    Ok((tag, record))
}

/// A pair's open intents, in the order in which they were announced.
pub(super) fn intents(connection: &Connection, id: i64, pair: &Pair) -> Result<Vec<IntentRow>, Failure> {
    let mut statement = connection.prepare(select_intents!("WHERE pair = ?1 ORDER BY id"))?;
    let mut rows = statement.query([id])?;
    let mut intents = Vec::new();
    while let Some(row) = rows.next()? {
        intents.push(intent(row, pair)?);
    }
    Ok(intents)
}

fn refusals(connection: &Connection, id: i64) -> Result<BTreeMap<TagName, Refusal>, Failure> {
    let mut statement =
        connection.prepare("SELECT tag, value, kind, detail, first, last FROM refusals WHERE pair = ?1")?;
    let mut rows = statement.query([id])?;
    let mut refusals = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let refusal = Refusal {
            value: value_of(text(row, 1)?)?,
            kind: match text(row, 2)? {
                "target_missing" => RefusalKind::TargetMissing,
                "policy" => RefusalKind::Policy,
                _ => return Err(Failure::Corrupt("a refusal of no kind")),
            },
            detail: text(row, 3)?.to_owned(),
            first: time(row, 4)?,
            last: time(row, 5)?,
        };
        refusals.insert(name(row, 0)?, refusal);
    }
    Ok(refusals)
}

/// What the budgets have used.
///
/// Counts intents, not lines of the history: one that stays open may be settled more than once. What lies in the future
/// counts as well, so that a clock that was set back frees no budget.
fn usage(connection: &Connection, id: i64, owned: u32, now: Timestamp) -> Result<Usage, Failure> {
    let since = now.as_microsecond().saturating_sub(DAY);
    let count = |action: Action| -> Result<u32, Failure> {
        Ok(connection.query_row(
            "SELECT count(*) FROM (
                 SELECT intent FROM history
                 WHERE pair = ?1 AND time > ?2 AND action <> 'create' AND action = ?3
                   AND outcome IN ('done', 'restored', 'lost') AND reason NOT IN (?4, ?5)
                 UNION
                 SELECT id FROM intents WHERE pair = ?1 AND action = ?3 AND reason NOT IN (?4, ?5)
             )",
            params![id, since, action.word(), APPROVED, APPROVED_UNDO],
            |row| row.get(0),
        )?)
    };
    let marked: Option<u32> = connection.query_row(
        "SELECT max(owned) FROM marks WHERE pair = ?1 AND time > ?2",
        params![id, since],
        |row| row.get(0),
    )?;
    Ok(Usage {
        deletes: count(Action::Delete)?,
        moves: count(Action::Move)?,
        high_water: owned.max(marked.unwrap_or_default()),
    })
}

/// What is parked for a pair now.
pub(super) fn parked(connection: &Connection, id: i64) -> Result<Vec<Parked>, Failure> {
    let mut statement =
        connection.prepare(select_parked!("WHERE pair = ?1 AND ended IS NULL ORDER BY parked_by, plan"))?;
    let mut rows = statement.query([id])?;
    let mut sets = Vec::new();
    while let Some(row) = rows.next()? {
        sets.push(parked_row(row)?);
    }
    Ok(sets)
}

/// What people were told last, with the pair that it was about.
pub(super) fn notices(connection: &Connection) -> Result<Vec<(Pair, Notice)>, Failure> {
    let mut statement = connection.prepare(
        "SELECT matter, since, told, job, repository, remote FROM notices JOIN pairs ON pairs.id = notices.pair
         ORDER BY job, repository, remote",
    )?;
    let mut rows = statement.query([])?;
    let mut notices = Vec::new();
    while let Some(row) = rows.next()? {
        let matter = match text(row, 0)? {
            "held" => Matter::Held,
            "failed" => Matter::Failed,
            _ => return Err(Failure::Corrupt("a notice of nothing that is wrong")),
        };
        notices.push((pair(row, 3)?, Notice { matter, since: time(row, 1)?, told: time(row, 2)? }));
    }
    Ok(notices)
}

/// Every set that is remembered, with its pair.
pub(super) fn all_parked(connection: &Connection) -> Result<Vec<(Pair, Parked)>, Failure> {
    let mut statement =
        connection.prepare(select_parked!("ORDER BY job, repository, remote, ended IS NOT NULL, since DESC"))?;
    let mut rows = statement.query([])?;
    let mut sets = Vec::new();
    while let Some(row) = rows.next()? {
        sets.push((pair(row, 9)?, parked_row(row)?));
    }
    Ok(sets)
}

fn parked_row(row: &Row<'_>) -> Result<Parked, Failure> {
    let by = match text(row, 1)? {
        "guard" => ParkedBy::Guard,
        "undo" => ParkedBy::Undo,
        _ => return Err(Failure::Corrupt("a set that nobody parked")),
    };
    let decision = match optional_text(row, 5)? {
        None => None,
        Some("approved") => Some((Decision::Approved, time(row, 6)?)),
        Some("dismissed") => Some((Decision::Dismissed, time(row, 6)?)),
        Some(_) => return Err(Failure::Corrupt("a decision that does not exist")),
    };
    let ended = match optional_text(row, 7)? {
        None => None,
        Some("released") => Some((ParkedEnd::Released, time(row, 8)?)),
        Some("changed") => Some((ParkedEnd::Changed, time(row, 8)?)),
        Some(_) => return Err(Failure::Corrupt("an ending that does not exist")),
    };
    let count = u32::try_from(number(row, 3)?).map_err(|_| Failure::Corrupt("a count that cannot be"))?;
    if !text(row, 0)?.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(Failure::Corrupt("a plan id that is none"));
    }
    let set = ParkedSet { plan: text(row, 0)?.to_owned(), by, changes: text(row, 2)?.to_owned(), count };
    Ok(Parked { set, since: time(row, 4)?, decision, ended })
}

/// The names that were put back against the source.
fn pins(connection: &Connection, id: i64) -> Result<BTreeMap<TagName, Pin>, Failure> {
    let mut statement = connection.prepare("SELECT tag, value, undone, since FROM pins WHERE pair = ?1")?;
    let mut rows = statement.query([id])?;
    let mut pins = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let pin = Pin { value: optional_value(row, 1)?, undone: run(row, 2)?, since: time(row, 3)? };
        pins.insert(name(row, 0)?, pin);
    }
    Ok(pins)
}

/// The checksum of a sighting.
pub(super) fn sighting_checksum(pair: Checksum, name: &[u8], digest: &str, confirmed: i64) -> i64 {
    pair.bytes(name).text(digest).number(confirmed).sum()
}

/// What tags were last seen to point at. Unlike everything else here it can be found out again, so a row that is damaged is
/// no fault: it is left out, and the remote is asked.
fn sightings(connection: &Connection, id: i64, pair: &Pair) -> Result<Sightings, Failure> {
    let sum = Checksum::of("digests", pair);
    let mut statement =
        connection.prepare("SELECT remote_name, digest, confirmed, checksum FROM digests WHERE pair = ?1")?;
    let mut rows = statement.query([id])?;
    let mut sightings = Sightings::new();
    while let Some(row) = rows.next()? {
        sightings.extend(sighting(row, &sum).ok().flatten());
    }
    Ok(sightings)
}

/// `None` for a row that is not as it was written.
fn sighting(row: &Row<'_>, sum: &Checksum) -> Result<Option<(TagName, Sighting)>, Failure> {
    let (digest, confirmed) = (text(row, 1)?, number(row, 2)?);
    if sighting_checksum(sum.clone(), blob(row, 0)?, digest, confirmed) != number(row, 3)? {
        return Ok(None);
    }
    let Ok(digest) = digest.parse() else { return Ok(None) };
    Ok(Some((name(row, 0)?, Sighting { digest, confirmed: timestamp(confirmed)? })))
}

/// The checksum of the names that were all.
pub(super) fn names_checksum(pair: &Pair, fingerprint: &str, proven: i64) -> i64 {
    Checksum::of("names", pair).text(fingerprint).number(proven).sum()
}

/// Which names were all. A row that is damaged is left out here, too.
fn names(connection: &Connection, id: i64, pair: &Pair) -> Result<Option<ProvenNames>, Failure> {
    let mut statement = connection.prepare("SELECT fingerprint, proven, checksum FROM names WHERE pair = ?1")?;
    let mut rows = statement.query([id])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let proven = || -> Result<ProvenNames, Failure> {
        let (fingerprint, proven) = (text(row, 0)?, number(row, 1)?);
        if names_checksum(pair, fingerprint, proven) != number(row, 2)? {
            return Err(Failure::Corrupt("a changed proof"));
        }
        Ok(ProvenNames { fingerprint: fingerprint.to_owned(), proven: timestamp(proven)? })
    };
    Ok(proven().ok())
}

/// How every pair stands.
pub(super) fn status(connection: &Connection) -> Result<Vec<PairStatus>, Failure> {
    // One transaction, so that what the parts say belongs together whatever is written meanwhile.
    let moment = connection.unchecked_transaction()?;
    let mut statement = moment.prepare(
        "SELECT job, repository, remote, began, ended, state, converged, error, counts, last_success, in_sync_since, id,
             agreement
         FROM passes JOIN pairs ON pairs.id = passes.pair ORDER BY job, repository, remote",
    )?;
    let mut rows = statement.query([])?;
    let mut status = Vec::new();
    while let Some(row) = rows.next()? {
        let id = number(row, 11)?;
        status.push(PairStatus {
            pair: pair(row, 0)?,
            last: PassEnd {
                began: time(row, 3)?,
                ended: time(row, 4)?,
                state: text(row, 5)?.to_owned(),
                converged: number(row, 6)? != 0,
                error: optional_text(row, 7)?.map(str::to_owned),
                counts: text(row, 8)?.to_owned(),
                unsettled: unsettled(&moment, id)?,
                agreement: optional_text(row, 12)?.map(str::to_owned),
            },
            last_success: optional_time(row, 9)?,
            in_sync_since: optional_time(row, 10)?,
            parked: parked(&moment, id)?,
            pins: moment.query_row("SELECT count(*) FROM pins WHERE pair = ?1", [id], |row| row.get(0))?,
        });
    }
    Ok(status)
}

/// What keeps a pair from agreement, by name.
pub(super) fn unsettled(connection: &Connection, id: i64) -> Result<Vec<Unsettled>, Failure> {
    let mut statement =
        connection.prepare("SELECT tag, matter, reason, since FROM unsettled WHERE pair = ?1 ORDER BY tag")?;
    let mut rows = statement.query([id])?;
    let mut unsettled = Vec::new();
    while let Some(row) = rows.next()? {
        let matter = match text(row, 1)? {
            "held" => Matter::Held,
            "waiting" => Matter::Waiting,
            "failed" => Matter::Failed,
            _ => return Err(Failure::Corrupt("a matter that does not exist")),
        };
        let tag = TagName::new(blob(row, 0)?).map_err(|_| Failure::Corrupt("a name that is no tag name"))?;
        unsettled.push(Unsettled { tag, matter, reason: text(row, 2)?.to_owned(), since: time(row, 3)? });
    }
    Ok(unsettled)
}

fn blob<'row>(row: &'row Row<'_>, column: usize) -> Result<&'row [u8], Failure> {
    Ok(row.get_ref(column)?.as_blob()?)
}

fn text<'row>(row: &'row Row<'_>, column: usize) -> Result<&'row str, Failure> {
    Ok(row.get_ref(column)?.as_str()?)
}

fn optional_text<'row>(row: &'row Row<'_>, column: usize) -> Result<Option<&'row str>, Failure> {
    Ok(row.get_ref(column)?.as_str_or_null()?)
}

fn number(row: &Row<'_>, column: usize) -> Result<i64, Failure> {
    Ok(row.get_ref(column)?.as_i64()?)
}

fn timestamp(microseconds: i64) -> Result<Timestamp, Failure> {
    Timestamp::from_microsecond(microseconds).map_err(|_| Failure::Corrupt("a time that does not exist"))
}

fn time(row: &Row<'_>, column: usize) -> Result<Timestamp, Failure> {
    timestamp(number(row, column)?)
}

fn optional_time(row: &Row<'_>, column: usize) -> Result<Option<Timestamp>, Failure> {
    match row.get_ref(column)? {
        ValueRef::Null => Ok(None),
        _ => time(row, column).map(Some),
    }
}

fn name(row: &Row<'_>, column: usize) -> Result<TagName, Failure> {
    TagName::new(blob(row, column)?).map_err(|_| Failure::Corrupt("a name that git would not accept"))
}

fn run(row: &Row<'_>, column: usize) -> Result<Uuid, Failure> {
    text(row, column)?.parse().map_err(|_| Failure::Corrupt("a run without an id"))
}

fn pair(row: &Row<'_>, column: usize) -> Result<Pair, Failure> {
    Ok(Pair {
        job: text(row, column)?.to_owned(),
        repository: text(row, column + 1)?.to_owned(),
        remote: text(row, column + 2)?.to_owned(),
    })
}

fn value_of(record: &str) -> Result<Value, Failure> {
    Value::from_str(record).map_err(|_| Failure::Corrupt("a value that means nothing"))
}

fn optional_value(row: &Row<'_>, column: usize) -> Result<Option<Value>, Failure> {
    optional_text(row, column)?.map(value_of).transpose()
}

fn action(row: &Row<'_>, column: usize) -> Result<Action, Failure> {
    let word = text(row, column)?;
    [Action::Create, Action::Move, Action::Delete]
        .into_iter()
        .find(|action| action.word() == word)
        .ok_or(Failure::Corrupt("an action that does not exist"))
}

fn outcome(word: &str) -> Result<Outcome, Failure> {
    [Outcome::Done, Outcome::Already, Outcome::Rejected, Outcome::NotSent, Outcome::Restored, Outcome::Lost]
        .into_iter()
        .find(|outcome| outcome.word() == word)
        .ok_or(Failure::Corrupt("an outcome that does not exist"))
}
