//! What needs somebody: held, failing, waiting. Each with its reason, its age and what to do.

use std::collections::BTreeMap;

use jiff::Timestamp;
use maud::{Markup, html};

use super::look::Look;
use super::{ago, counted, for_so_long, heading};
use crate::ledger::{Decision, Matter, Parked, ParkedBy, Unsettled};
use crate::report::status::PairReport;
use crate::tag::TagName;
use crate::text::Printable;

/// Pairs of one section.
const PAIRS: usize = 50;
/// Names, or repositories, of one reason.
const NAMES: usize = 20;
/// Reasons of one pair.
const REASONS: usize = 10;

pub(super) fn html(pairs: &[PairReport], now: Timestamp) -> Markup {
    let with = |matter: Matter| pairs.iter().filter(move |pair| pair.names_by_reason(matter).next().is_some());
    let held: Vec<_> = pairs
        .iter()
        .filter(|pair| pair.names_by_reason(Matter::Held).next().is_some() || open(pair).next().is_some())
        .collect();
    let failed: Vec<_> = with(Matter::Failed).collect();
    let waiting: Vec<_> = with(Matter::Waiting).collect();
    let unreadable = unreadable(pairs);
    html! {
        @if !held.is_empty() {
            section aria-labelledby="held" {
                h2 #held { "Held for a person" }
                p.remark { "Nothing of this happens until somebody decides." }
                (cards(&held, "held", |pair| html! {
                    @for parked in open(pair) { (decision(parked, now)) }
                    (reasons(pair, Matter::Held, now))
                }))
            }
        }
        @if !failed.is_empty() || !unreadable.is_empty() {
            section aria-labelledby="failing" {
                h2 #failing { "Failing" }
                p.remark { "Tried again with every pass." }
                @if !unreadable.is_empty() { (faults(&unreadable, now)) }
                (cards(&failed, "failed", |pair| reasons(pair, Matter::Failed, now)))
            }
        }
        @if !waiting.is_empty() {
            section aria-labelledby="waiting" {
                h2 #waiting { "Waiting" }
                p.remark { "Heals by itself once what is missing is there." }
                (cards(&waiting, "waiting", |pair| reasons(pair, Matter::Waiting, now)))
            }
        }
    }
}

fn cards(pairs: &[&PairReport], class: &str, body: impl Fn(&PairReport) -> Markup) -> Markup {
    html! {
        div.cards {
            @for pair in pairs.iter().take(PAIRS) {
                article class=(class) { h3 { (heading(pair)) } (body(pair)) }
            }
        }
        (more(pairs.len(), PAIRS, "pair"))
    }
}

fn more(all: usize, shown: usize, word: &str) -> Markup {
    html! {
        @if all > shown { p.remark { "and " (counted(all - shown, &format!("more {word}"))) "; " code { "tagsyncd status" } " lists all" } }
    }
}

/// Sets that stopped and are not to be quiet.
fn open(pair: &PairReport) -> impl Iterator<Item = &Parked> {
    pair.known.iter().flat_map(|known| &known.parked).filter(|parked| !parked.is_dismissed())
}

fn decision(parked: &Parked, now: Timestamp) -> Markup {
    let Parked { set, since, decision, .. } = parked;
    let changes = counted(set.count as usize, "change");
    let by = match set.by {
        ParkedBy::Guard => "stopped by a guard",
        ParkedBy::Undo => "undone, and the source still asks for it",
    };
    html! {
        p { strong { (changes) } " " (by) " " (ago(*since, now)) }
        @if let Some((Decision::Approved, when)) = decision && parked.is_released(now) {
            p { "Approved " (ago(*when, now)) ": the next pass carries it out." }
        } @else {
            @if let Some((Decision::Approved, when)) = decision {
                p { "Approved " (ago(*when, now)) ", which is too long." }
            }
            ul.commands {
                li { code { "tagsyncd approve " (Printable::new(&set.plan)) } " releases exactly this, once" }
                li { code { "tagsyncd dismiss " (Printable::new(&set.plan)) } " keeps it held and quiet" }
            }
        }
    }
}

/// Names of one matter. What has one reason is said once, however many names there are.
fn reasons(pair: &PairReport, matter: Matter, now: Timestamp) -> Markup {
    let reasons: Vec<_> = pair.names_by_reason(matter).collect();
    html! {
        @for (reason, open) in reasons.iter().take(REASONS) {
            @let since = open.iter().map(|open| open.since).min().unwrap_or(now);
            p.reason { (Printable::new(reason)) " " span.age { "for " (for_so_long(since, now)) } }
            (names(open))
            @if let Some(command) = explain(pair, open) {
                p.commands { code { (command) } " tells more" }
            }
        }
        @if reasons.len() > REASONS { p.remark { "and " (counted(reasons.len() - REASONS, "more reason")) } }
    }
}

fn names(open: &[&Unsettled]) -> Markup {
    html! {
        ul.names {
            @for open in open.iter().take(NAMES) { li { (open.tag) } }
            @if open.len() > NAMES { li.rest { "and " (open.len() - NAMES) " more" } }
        }
    }
}

/// What tells more about the first of these names, where it can be typed as it is shown.
fn explain(pair: &PairReport, open: &[&Unsettled]) -> Option<String> {
    let tag = open.first().map(|open| &open.tag).filter(|tag| is_plain(tag))?;
    Some(format!("tagsyncd explain {} {tag}", pair.job))
}

/// Whether a shell takes a name as it stands.
fn is_plain(tag: &TagName) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'/' | b'+' | b'=');
    !tag.as_bytes().starts_with(b"-") && tag.as_bytes().iter().all(plain)
}

/// Pairs of which nothing is known, by remote and reason: a remote that is down is one fault, not one per repository.
fn unreadable(pairs: &[PairReport]) -> BTreeMap<(&str, &str), Vec<&PairReport>> {
    let mut faults: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for pair in pairs {
        if let Some(error) = &pair.error {
            faults.entry((pair.remote.as_str(), error.as_str())).or_default().push(pair);
        }
    }
    faults
}

fn faults(faults: &BTreeMap<(&str, &str), Vec<&PairReport>>, now: Timestamp) -> Markup {
    html! {
        div.cards {
            @for ((remote, error), pairs) in faults.iter().take(PAIRS) {
                article.failed {
                    h3 {
                        @if let [pair] = pairs.as_slice() { (heading(pair)) }
                        @else { (counted(pairs.len(), "pair")) " → " span.name { (Printable::new(remote)) } }
                    }
                    p.reason { (Look::UNKNOWN.badge()) " " (Printable::new(error)) }
                    p.age {
                        @match pairs.iter().filter_map(|pair| pair.known.as_ref()?.last_success).max() {
                            Some(success) => { "Last success " (ago(success, now)) },
                            None => { "Never a success" },
                        }
                    }
                    @if pairs.len() > 1 {
                        ul.names {
                            @for pair in pairs.iter().take(NAMES) { li { (Printable::new(&pair.repository)) } }
                            @if pairs.len() > NAMES { li.rest { "and " (pairs.len() - NAMES) " more" } }
                        }
                    }
                }
            }
        }
        (more(faults.len(), PAIRS, "fault"))
    }
}
