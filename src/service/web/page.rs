//! The status page: every repository against every remote, what needs a person, what changed.
//!
//! One document without scripts, pictures or anything from elsewhere. Whatever somebody else chose goes through `text` and
//! is escaped by maud. What is wrong comes first and whole; what is in order is short, so that the page stays small however
//! many repositories there are.

mod attention;
mod changes;
mod look;
mod matrix;

use std::sync::LazyLock;

use axum::http::HeaderValue;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest as _, Sha256};

use crate::ledger::{HistoryEntry, LedgerFault};
use crate::report::status::{PairReport, Status, age};
use crate::service::board::Reload;
use crate::text::Printable;
use attention::Attention;
use look::Look;

const STYLE: &str = include_str!("page/style.css");

/// After so many seconds a browser asks again.
pub(super) const RENEWAL: u16 = 60;

/// Nothing is loaded, run, framed or sent; only our own style counts, known by its digest.
pub(super) fn policy() -> HeaderValue {
    static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
        let digest = BASE64_STANDARD.encode(Sha256::digest(STYLE));
        let policy = format!(
            "default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        );
        HeaderValue::from_str(&policy).expect("base64 has only characters that a header takes")
    });
    POLICY.clone()
}

/// What the page is made from.
pub(super) struct Shown<'a> {
    /// How everything stands and the latest changes, newest first.
    pub(super) read: Result<(&'a Status, &'a [HistoryEntry]), &'a LedgerFault>,
    pub(super) reload: &'a Reload,
    /// Whether the daemon's loop turns.
    pub(super) turns: bool,
    /// When the next pass is due.
    pub(super) next: Option<Timestamp>,
    /// Whether the browser asks again by itself.
    pub(super) renewed: bool,
    pub(super) now: Timestamp,
}

pub(super) fn html(shown: &Shown<'_>) -> Markup {
    let Shown { read, now, .. } = shown;
    let pairs: &[PairReport] = read.as_ref().map_or(&[], |(status, _)| &status.pairs);
    let worst = pairs.iter().map(|pair| Look::of(pair.state)).min_by_key(|look| look.rank);
    let verdict = if read.is_ok() { verdict(pairs) } else { "The ledger cannot be read".to_owned() };
    let look = worst.filter(|_| read.is_ok() && shown.turns).unwrap_or(Look::UNKNOWN);
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (verdict) " – tagsyncd" }
                link rel="icon" href=(look.icon());
                style { (PreEscaped(STYLE)) }
            }
            body {
                header class=(look.class) { div.wide {
                    p.brand { "tagsyncd" }
                    h1 { span.mark aria-hidden="true" { (look.symbol) } (verdict) }
                    (about(shown, pairs))
                    (jump(pairs))
                } }
                main.wide {
                    (alarms(shown))
                    @if let Ok((_, changes)) = read {
                        (matrix::html(pairs, *now))
                        (Attention::new(pairs).html(*now))
                        (changes::html(changes, *now))
                    }
                }
                footer { div.wide {
                    p {
                        "tagsyncd " (env!("CARGO_PKG_VERSION")) " · configuration of " (moment(shown.reload.taken)) " · times are UTC"
                    }
                    nav aria-label="Other views" { ul {
                        li { a href="/status.json" { "status.json" } }
                        li { a href="/metrics" { "metrics" } }
                        li { a href="/healthz" { "healthz" } }
                        li { a href="/readyz" { "readyz" } }
                    } }
                } }
            }
        }
    }
}

/// The whole in one line, the worst first.
fn verdict(pairs: &[PairReport]) -> String {
    let count = |class: &str| pairs.iter().filter(|pair| Look::of(pair.state).class == class).count();
    let parts = [("failing", "failed"), ("held", "held"), ("waiting", "waiting"), ("not looked at yet", "never")];
    let found: Vec<String> = parts
        .into_iter()
        .map(|(word, class)| (count(class), word))
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    match pairs.len() {
        0 => "Nothing is known yet".to_owned(),
        _ if !found.is_empty() => found.join(", "),
        1 => "The only pair is in sync".to_owned(),
        all => format!("All {all} pairs are in sync"),
    }
}

fn about(shown: &Shown<'_>, pairs: &[PairReport]) -> Markup {
    let Shown { now, next, renewed, .. } = shown;
    let in_sync = pairs.iter().filter(|pair| Look::of(pair.state).class == "ok").count();
    let running = pairs.iter().filter(|pair| pair.running_since.is_some()).count();
    html! {
        ul.about {
            @if !pairs.is_empty() { li { strong { (in_sync) } " of " strong { (pairs.len()) } " pairs in sync" } }
            @if running > 0 { li { strong { (running) } " under way" } }
            @if let Some(next) = next { li { "next run " strong { (until(*next, *now)) } } }
            li {
                "as of " (moment(*now)) ", "
                @if *renewed { "renewed every minute (" a href="/?refresh=off" { "pause" } ")" }
                @else { "not renewed (" a href="/" { "renew every minute" } ")" }
            }
        }
    }
}

/// What needs somebody may be far down.
fn jump(pairs: &[PairReport]) -> Markup {
    let kinds = [("held", "held", "Held"), ("failing", "failed", "Failing"), ("waiting", "waiting", "Waiting")];
    let count = |class: &str| pairs.iter().filter(|pair| Look::of(pair.state).class == class).count();
    html! {
        nav.jump aria-label="On this page" { ul {
            @for (id, class, word) in kinds {
                @if count(class) > 0 { li { a href={ "#" (id) } { (word) " " b class=(class) { (count(class)) } } } }
            }
            @if !pairs.is_empty() { li { a href="#changes" { "Recent changes" } } }
        } }
    }
}

/// What is wrong with the daemon itself.
fn alarms(shown: &Shown<'_>) -> Markup {
    let Shown { read, reload, turns, now, .. } = shown;
    html! {
        @if !turns {
            p.alarm { strong { "The daemon’s loop does not turn." } " What is shown may be old; the log may say why." }
        }
        @if let Some((why, at)) = &reload.refused {
            div.alarm {
                p { strong { "The new configuration was refused " (ago(*at, *now)) "." } " The former one is in use." }
                pre tabindex="0" aria-label="Why it was refused" { (lines(why)) }
            }
        }
        @if let Err(LedgerFault { message, hint }) = read {
            div.alarm { p { strong { (Printable::new(message)) } } p { (Printable::new(hint)) } }
        }
    }
}

/// A text with what stands between backticks as code.
fn sentence(text: &str) -> Markup {
    let parts: Vec<&str> = text.split('`').collect();
    let paired = parts.len() % 2 == 1;
    html! {
        @if paired {
            @for (at, part) in parts.iter().enumerate() {
                @if at % 2 == 1 { code { (Printable::new(part)) } } @else { (Printable::new(part)) }
            }
        } @else { (Printable::new(text)) }
    }
}

/// A text of several lines, each printable.
fn lines(text: &str) -> String {
    text.lines().map(|line| Printable::new(line).to_string()).collect::<Vec<_>>().join("\n")
}

/// A job and what it connects; a job that is called like its only repository is said once.
fn heading(pair: &PairReport) -> Markup {
    html! {
        span.name { (Printable::new(&pair.repository)) } " → " span.name { (Printable::new(&pair.remote)) }
        @if pair.job != pair.repository { " " small { "job " (Printable::new(&pair.job)) } }
    }
}

/// A time of which the day or the hour counts.
fn moment(time: Timestamp) -> Markup {
    html! { time datetime=(exact(time)) { (time.strftime("%Y-%m-%d %H:%M:%S")) } }
}

fn ago(time: Timestamp, now: Timestamp) -> Markup {
    html! { (for_so_long(time, now)) " ago" }
}

fn for_so_long(since: Timestamp, now: Timestamp) -> Markup {
    html! { time datetime=(exact(since)) title=(exact(since)) { (age(since, now)) } }
}

fn until(time: Timestamp, now: Timestamp) -> Markup {
    html! {
        time datetime=(exact(time)) title=(exact(time)) {
            @if time <= now { "now" } @else { "in " (age(now, time)) }
        }
    }
}

/// To the second, as a machine reads it.
fn exact(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// `1 change`, `2 changes`.
fn counted(count: usize, word: &str) -> String {
    format!("{count} {word}{}", if count == 1 { "" } else { "s" })
}
