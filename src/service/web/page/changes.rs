//! The latest writes, newest first.

use jiff::Timestamp;
use maud::{Markup, html};

use super::{ago, moment};
use crate::ledger::{Action, HistoryEntry, Outcome};
use crate::tag::Value;
use crate::text::Printable;

pub(super) fn html(changes: &[HistoryEntry], now: Timestamp) -> Markup {
    html! {
        section aria-labelledby="changes" {
            h2 #changes { "Recent changes" }
            @if changes.is_empty() {
                p.remark { "Nothing has been changed yet." }
            } @else {
                ol.changes { @for change in changes { (line(change, now)) } }
                p.remark { code { "tagsyncd history" } " shows all of them, with what can be undone." }
            }
        }
    }
}

fn line(change: &HistoryEntry, now: Timestamp) -> Markup {
    let HistoryEntry { time, pair, tag, action, old, new, outcome, reason, detail, .. } = change;
    let (symbol, class) = match action {
        Action::Create => ("+", "create"),
        Action::Move => ("~", "move"),
        Action::Delete => ("−", "delete"),
    };
    let outcome_class = match outcome {
        Outcome::Done | Outcome::Already => None,
        Outcome::Restored | Outcome::Lost => Some("held"),
        Outcome::Rejected | Outcome::NotSent => Some("failed"),
    };
    let remarks: Vec<String> = [Some(reason), detail.as_ref()]
        .into_iter()
        .flatten()
        .filter(|remark| !remark.is_empty())
        .map(|remark| Printable::new(remark).to_string())
        .collect();
    html! {
        li {
            span.what {
                span class={ "verb " (class) } { span aria-hidden="true" { (symbol) " " } (action.word()) }
                " " span.name { (tag) }
                @if let Some(class) = outcome_class { " " span class={ "badge " (class) } { (outcome.word().replace('_', " ")) } }
            }
            span.where { (Printable::new(&pair.repository)) " → " (Printable::new(&pair.remote)) }
            span.values { (values(old.as_ref(), new.as_ref())) }
            span.when { (moment(*time)) " " span.age { (ago(*time, now)) } }
            @if !remarks.is_empty() { span.why { (remarks.join("; ")) } }
        }
    }
}

fn values(old: Option<&Value>, new: Option<&Value>) -> Markup {
    let short = |value: &Value| format!("{value:.12}");
    html! {
        @match (old, new) {
            (Some(old), Some(new)) => { (short(old)) " → " (short(new)) },
            (Some(value), None) | (None, Some(value)) => (short(value)),
            (None, None) => "",
        }
    }
}
