//! The history, by whichever index finds the rows soonest.

use rusqlite::Connection;
use rusqlite::types::Value as Parameter;
use uuid::Uuid;

use super::{action, name, number, optional_text, optional_value, outcome, pair, run, text, time};
use crate::ledger::fault::Failure;
use crate::ledger::{HistoryEntry, HistoryQuery, Pair};
use crate::tag::TagName;

/// The pairs in which a run wrote, or began to.
pub(in crate::ledger) fn pairs_of(connection: &Connection, run: Uuid) -> Result<Vec<Pair>, Failure> {
    let mut statement = connection.prepare(
        "SELECT job, repository, remote FROM pairs WHERE id IN (
             SELECT pair FROM history WHERE run = ?1 UNION SELECT pair FROM intents WHERE run = ?1
         ) ORDER BY job, repository, remote",
    )?;
    let mut rows = statement.query([run.to_string()])?;
    let mut pairs = Vec::new();
    while let Some(row) = rows.next()? {
        pairs.push(pair(row, 0)?);
    }
    Ok(pairs)
}

/// The history, oldest first.
///
/// The index that fits the narrowest condition is named, because SQLite has no statistics to choose by. Each gives its rows
/// by time, so that a limit ends the walk; a job is asked for pair by pair for the same reason.
pub(in crate::ledger) fn history(connection: &Connection, query: &HistoryQuery) -> Result<Vec<HistoryEntry>, Failure> {
    let moment = connection.unchecked_transaction()?;
    let mut entries = Vec::new();
    match &query.job {
        Some(job) if query.run.is_none() && query.tag.is_none() => {
            let mut statement = moment.prepare("SELECT id FROM pairs WHERE job = ?1")?;
            let pairs = statement.query_map([job], |row| row.get(0))?.collect::<Result<Vec<i64>, _>>()?;
            for pair in pairs {
                history_of(&moment, query, Some(pair), &mut entries)?;
            }
            entries.sort_by_key(|(id, entry)| std::cmp::Reverse((entry.time, *id)));
        }
        _ => match few_tags(&moment, query)? {
            Some(tags) => {
                for tag in tags {
                    history_of(&moment, &HistoryQuery { tag: Some(tag), ..query.clone() }, None, &mut entries)?;
                }
                entries.sort_by_key(|(id, entry)| std::cmp::Reverse((entry.time, *id)));
            }
            None => history_of(&moment, query, None, &mut entries)?,
        },
    }
    entries.truncate(query.limit.map_or(usize::MAX, |limit| limit as usize));
    Ok(entries.into_iter().rev().map(|(_, entry)| entry).collect())
}

/// The tags that a pattern means, where its beginning leaves only few: asked for one by one they are found at once, while
/// the walk by time would pass all the others. `None` where the walk is the better way.
fn few_tags(connection: &Connection, query: &HistoryQuery) -> Result<Option<Vec<TagName>>, Failure> {
    const FEW: usize = 500;
    let Some(patterns) = query.tags.as_ref().filter(|_| query.tag.is_none() && query.run.is_none()) else {
        return Ok(None);
    };
    let prefix = patterns.literal_prefix().as_bytes();
    let mut statement = connection.prepare("SELECT min(tag) FROM history WHERE tag >= ?1")?;
    let mut tags = Vec::new();
    let mut from = prefix.to_vec();
    for _ in 0..FEW {
        let next: Option<Vec<u8>> = statement.query_row([&from], |row| row.get(0))?;
        let Some(next) = next.filter(|next| next.starts_with(prefix)) else { return Ok(Some(tags)) };
        let tag = TagName::new(&next).map_err(|_| Failure::Corrupt("a name that git would not accept"))?;
        tags.extend(patterns.matches(&tag).then_some(tag));
        // The least that is larger.
        from = next;
        from.push(0);
    }
    Ok(None)
}

/// Adds the rows of a pair, or of all, newest first.
fn history_of(
    connection: &Connection,
    query: &HistoryQuery,
    pair_id: Option<i64>,
    entries: &mut Vec<(i64, HistoryEntry)>,
) -> Result<(), Failure> {
    let HistoryQuery { job, run: of_run, tag, tags, since, limit } = query;
    let index = match (pair_id, of_run, tag) {
        (Some(_), _, _) => "history_by_pair",
        (None, Some(_), _) => "history_by_run",
        (None, None, Some(_)) => "history_by_tag",
        (None, None, None) => "history_by_time",
    };
    let conditions = [
        job.is_some().then_some("pairs.job = ?1"),
        of_run.is_some().then_some("history.run = ?2"),
        tag.is_some().then_some("history.tag = ?3"),
        since.is_some().then_some("history.time >= ?4"),
        pair_id.is_some().then_some("history.pair = ?5"),
    ];
    let conditions: Vec<&str> = conditions.into_iter().flatten().collect();
    let wanted = if conditions.is_empty() { "1".to_owned() } else { conditions.join(" AND ") };
    let mut statement = connection.prepare(&format!(
        "SELECT history.time, run, job, repository, remote, tag, remote_name, action, old, new, outcome, reason, detail,
             old_message, history.id
         FROM history INDEXED BY {index} CROSS JOIN pairs ON pairs.id = history.pair
         WHERE {wanted}
         ORDER BY history.time DESC, history.id DESC",
    ))?;
    let parameters = [
        job.as_ref().map(|job| Parameter::from(job.clone())),
        of_run.map(|run| run.to_string().into()),
        tag.as_ref().map(|tag| tag.as_bytes().to_vec().into()),
        since.map(|since| since.as_microsecond().into()),
        pair_id.map(Parameter::from),
    ];
    for (at, parameter) in parameters.into_iter().enumerate().take(statement.parameter_count()) {
        statement.raw_bind_parameter(at + 1, parameter)?;
    }
    let mut rows = statement.raw_query();
    let mut found = 0;
    while limit.is_none_or(|limit| found < limit)
        && let Some(row) = rows.next()?
    {
        let tag = name(row, 5)?;
        if tags.as_ref().is_some_and(|tags| !tags.matches(&tag)) {
            continue;
        }
        found += 1;
        let entry = HistoryEntry {
            time: time(row, 0)?,
            run: run(row, 1)?,
            pair: pair(row, 2)?,
            tag,
            remote_name: name(row, 6)?,
            action: action(row, 7)?,
            old: optional_value(row, 8)?,
            new: optional_value(row, 9)?,
            outcome: outcome(text(row, 10)?)?,
            reason: text(row, 11)?.to_owned(),
            detail: optional_text(row, 12)?.map(str::to_owned),
            old_message: optional_text(row, 13)?.map(str::to_owned),
        };
        entries.push((number(row, 14)?, entry));
    }
    Ok(())
}
