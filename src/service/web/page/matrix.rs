//! Every repository against every remote.

use std::collections::BTreeMap;

use jiff::Timestamp;
use maud::{Markup, html};

use super::look::Look;
use super::{counted, for_so_long, until};
use crate::ledger::{Matter, PairStatus};
use crate::report::status::PairReport;
use crate::text::Printable;

/// Rows of the table of what is not in sync; they come first.
const WRONG: usize = 100;
/// Rows of the table, as far as there are such that are in sync; the others are listed below it.
const ROWS: usize = 25;
/// Names below the table.
const NAMES: usize = 2_000;

/// One repository of one job.
struct Row<'a> {
    job: &'a str,
    repository: &'a str,
    cells: BTreeMap<&'a str, &'a PairReport>,
}

impl Row<'_> {
    fn look(&self) -> Option<Look> {
        self.cells.values().map(|pair| Look::of(pair.state)).min_by_key(|look| look.rank)
    }

    fn is_ok(&self) -> bool {
        self.look().is_none_or(|look| look.class == "ok")
    }
}

pub(super) fn html(pairs: &[PairReport], now: Timestamp) -> Markup {
    let (remotes, mut rows) = table(pairs);
    rows.sort_by_key(|row| row.look().map(|look| look.rank));
    let wrong = rows.iter().filter(|row| !row.is_ok()).count();
    let shown = wrong.min(WRONG).max(ROWS.min(rows.len()));
    let listed = &rows[wrong.max(shown)..];
    html! {
        section aria-labelledby="matrix" {
            h2 #matrix { "Repositories and remotes" }
            @if rows.is_empty() {
                p.remark { "No pair is known yet." }
            } @else {
                div.scroll role="region" aria-label="States, to be scrolled sideways" tabindex="0" {
                    table {
                        caption { "State of each repository (rows) on each remote (columns)" }
                        thead { tr {
                            th scope="col" { "Repository" }
                            @for remote in &remotes { th scope="col" { (Printable::new(remote)) } }
                            th scope="col" { "Next run" }
                        } }
                        tbody { @for row in rows.iter().take(shown) { (line(row, &remotes, now)) } }
                    }
                }
                @if wrong > shown {
                    p.remark { "and " (wrong - shown) " more that are not in sync; " code { "tagsyncd status" } " lists all" }
                }
                @if !listed.is_empty() {
                    details {
                        summary { (listed.len()) " more in sync" }
                        ul.names {
                            @for row in listed.iter().take(NAMES) { li { (name(row)) } }
                            @if listed.len() > NAMES { li.rest { "and " (listed.len() - NAMES) " more" } }
                        }
                    }
                }
            }
        }
    }
}

/// Columns in the order of the configuration, rows in that of the pairs.
fn table(pairs: &[PairReport]) -> (Vec<&str>, Vec<Row<'_>>) {
    let mut remotes: Vec<&str> = Vec::new();
    let mut rows: Vec<Row<'_>> = Vec::new();
    for pair in pairs {
        if !remotes.contains(&pair.remote.as_str()) {
            remotes.push(&pair.remote);
        }
        match rows.last_mut() {
            Some(row) if (row.job, row.repository) == (&pair.job, &pair.repository) => {
                row.cells.insert(&pair.remote, pair);
            }
            _ => rows.push(Row {
                job: &pair.job,
                repository: &pair.repository,
                cells: BTreeMap::from([(pair.remote.as_str(), pair)]),
            }),
        }
    }
    (remotes, rows)
}

fn name(row: &Row<'_>) -> Markup {
    html! {
        (Printable::new(row.repository))
        @if row.job != row.repository { " " small { (Printable::new(row.job)) } }
    }
}

fn line(row: &Row<'_>, remotes: &[&str], now: Timestamp) -> Markup {
    let next = row.cells.values().find_map(|pair| pair.next_run.as_ref()?.parse::<Timestamp>().ok());
    html! {
        tr {
            th scope="row" {
                span.name { (Printable::new(row.repository)) }
                @if row.job != row.repository { small { "job " (Printable::new(row.job)) } }
            }
            @for remote in remotes {
                @match row.cells.get(remote) {
                    Some(pair) => (cell(pair, now)),
                    None => td.none { span aria-hidden="true" { "·" } span.unseen { "not configured" } },
                }
            }
            td.next { @if let Some(next) = next { (until(next, now)) } @else { "–" } }
        }
    }
}

fn cell(pair: &PairReport, now: Timestamp) -> Markup {
    let look = Look::of(pair.state);
    let known = pair.known.as_ref();
    let oldest = |matter: Matter| {
        let open = known.into_iter().flat_map(|known| &known.last.unsettled);
        open.filter(|open| open.matter == matter).map(|open| open.since).min()
    };
    let since = match look.class {
        "ok" => known.and_then(|known| known.in_sync_since),
        "held" => oldest(Matter::Held).or_else(|| known?.parked.iter().map(|parked| parked.since).min()),
        "waiting" => oldest(Matter::Waiting),
        "failed" if pair.error.is_none() => oldest(Matter::Failed),
        _ => None,
    };
    let open = [(pair.held.len(), "held"), (pair.failed.len(), "failed"), (pair.waiting.len(), "waiting")];
    html! {
        td {
            (look.badge())
            @for (count, word) in open {
                @if count > 0 { small { @if word == look.word { (counted(count, "tag")) } @else { (count) " " (word) } } }
            }
            @if let Some(since) = since { small { "for " (for_so_long(since, now)) } }
            @if pair.error.is_some() { small { (success(known, now)) } }
            @if pair.running_since.is_some() { small.running { span aria-hidden="true" { "↻ " } "under way" } }
        }
    }
}

fn success(known: Option<&PairStatus>, now: Timestamp) -> Markup {
    match known.and_then(|known| known.last_success) {
        Some(success) => html! { "last success " (for_so_long(success, now)) " ago" },
        None => html! { "never a success" },
    }
}
