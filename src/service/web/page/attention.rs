//! What needs somebody: held, failing, waiting. Each with its reason, its age and what to do.

use std::collections::BTreeMap;

use jiff::Timestamp;
use maud::{Markup, html};

use super::look::Look;
use super::{ago, counted, for_so_long, heading, sentence};
use crate::ledger::{Decision, Matter, Parked, ParkedBy, Unsettled};
use crate::report::State;
use crate::report::status::{PairReport, PairState};
use crate::tag::TagName;
use crate::text::Printable;

/// Pairs of one section.
const PAIRS: usize = 50;
/// Names, or repositories, of one reason.
const NAMES: usize = 20;
/// Reasons of one pair.
const REASONS: usize = 10;

/// Pairs that have something of a kind to show.
pub(super) struct Attention<'a> {
    pairs: &'a [PairReport],
    faults: Vec<Fault<'a>>,
}

/// Pairs of one remote of which nothing is known, for one reason: a remote that is down is one fault, not one per repository.
struct Fault<'a> {
    remote: &'a str,
    error: &'a str,
    /// Whether a person has to see to it.
    held: bool,
    pairs: Vec<&'a PairReport>,
}

impl<'a> Attention<'a> {
    pub(super) fn new(pairs: &'a [PairReport]) -> Self {
        let mut faults: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for pair in pairs {
            if let Some(error) = &pair.error {
                let held = pair.state == PairState::Left(State::Held);
                faults.entry((pair.remote.as_str(), error.as_str(), held)).or_default().push(pair);
            }
        }
        let fault = |((remote, error, held), pairs)| Fault { remote, error, held, pairs };
        let faults = faults.into_iter().map(fault).collect();
        Self { pairs, faults }
    }

    fn with(&self, matter: Matter) -> Vec<&'a PairReport> {
        let concerned = |pair: &&PairReport| {
            pair.names_by_reason(matter).next().is_some() || (matter == Matter::Held && open(pair).next().is_some())
        };
        self.pairs.iter().filter(concerned).collect()
    }

    pub(super) fn html(&self, now: Timestamp) -> Markup {
        let faults = |held| {
            let faults: Vec<_> = self.faults.iter().filter(|fault| fault.held == held).collect();
            html! {
                @for fault in faults.iter().take(PAIRS) { (fault.html(now)) }
                (more(faults.len(), "fault"))
            }
        };
        let held = html! {
            (faults(true))
            (cards(&self.with(Matter::Held), "held", |pair| {
                html! {
                    @for parked in open(pair) { (decision(parked, now)) }
                    (reasons(pair, Matter::Held, now))
                }
            }))
        };
        let failing = html! {
            (faults(false))
            (cards(&self.with(Matter::Failed), "failed", |pair| reasons(pair, Matter::Failed, now)))
        };
        let waiting = cards(&self.with(Matter::Waiting), "waiting", |pair| reasons(pair, Matter::Waiting, now));
        html! {
            (section("held", "Held for a person", "Nothing of this happens until somebody decides.", &held))
            (section("failing", "Failing", "Tried again with every pass.", &failing))
            (section("waiting", "Waiting", "Heals by itself once what is missing is there.", &waiting))
        }
    }
}

fn section(id: &str, title: &str, remark: &str, cards: &Markup) -> Markup {
    html! {
        @if !cards.0.is_empty() {
            section aria-labelledby=(id) {
                h2 id=(id) { (title) }
                p.remark { (remark) }
                div.cards { (cards) }
            }
        }
    }
}

fn cards(pairs: &[&PairReport], class: &str, body: impl Fn(&PairReport) -> Markup) -> Markup {
    html! {
        @for pair in pairs.iter().take(PAIRS) {
            article class=(class) { h3 { (heading(pair)) } (body(pair)) }
        }
        (more(pairs.len(), "pair"))
    }
}

fn more(all: usize, word: &str) -> Markup {
    html! {
        @if all > PAIRS { p.remark { "and " (counted(all - PAIRS, &format!("more {word}"))) "; " code { "tagsyncd status" } " lists all" } }
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
            p.reason { (sentence(reason)) " " span.age { "for " (for_so_long(since, now)) } }
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

impl Fault<'_> {
    fn html(&self, now: Timestamp) -> Markup {
        let Self { remote, error, held, pairs } = self;
        let look = if *held { Look::of(PairState::Left(State::Held)) } else { Look::UNKNOWN };
        let success = pairs.iter().filter_map(|pair| pair.known.as_ref()?.last_success).max();
        html! {
            article class=(look.class) {
                h3 {
                    @if let [pair] = pairs.as_slice() { (heading(pair)) }
                    @else { (counted(pairs.len(), "pair")) " → " span.name { (Printable::new(remote)) } }
                }
                p.reason { (look.badge()) " " (sentence(error)) }
                p.age { @if let Some(success) = success { "Last success " (ago(success, now)) } @else { "Never a success" } }
                @if pairs.len() > 1 {
                    ul.names {
                        @for pair in pairs.iter().take(NAMES) { li { (Printable::new(&pair.repository)) } }
                        @if pairs.len() > NAMES { li.rest { "and " (pairs.len() - NAMES) " more" } }
                    }
                }
            }
        }
    }
}
