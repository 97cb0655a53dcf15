//! Which path gives what, and what holds for every answer.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, HeaderName, HeaderValue, REFERRER_POLICY, REFRESH,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::uri::Authority;
use axum::http::{StatusCode, Uri};
use axum::middleware::{Next, from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use jiff::Timestamp;
use tokio::sync::Semaphore;

use super::hooks::{Refusals, Secrets, hook};
use super::{Desk, metrics, page};
use crate::ledger::{HistoryEntry, HistoryQuery, LedgerFault, LedgerRead as _, SqliteLedger, SqliteReader};
use crate::report::status::Status;
use crate::service::board::Readiness;
use crate::text::Printable;

/// Requests that read the ledger at a time; the others wait, so that many watchers cost no more memory than few.
const READERS: usize = 2;
/// How many of the latest changes the page shows.
const RECENT: u32 = 50;

/// The desk, and what bounds the work at it.
pub(super) struct Web {
    pub(super) desk: Desk,
    pub(super) secrets: Secrets,
    pub(super) refusals: Refusals,
    reading: Semaphore,
}

/// Which names in `Host` are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hosts {
    /// An address of this machine that nobody else reaches: only names that no stranger's DNS can give. A web page elsewhere
    /// could otherwise give its own name this address, and read everything through the browser of somebody here.
    Own,
    /// An address that others reach under names that only they know.
    Any,
}

impl Hosts {
    pub(super) fn of(address: IpAddr) -> Self {
        if address.is_loopback() { Self::Own } else { Self::Any }
    }

    /// Whether a request is for one of these names, and for no other one.
    fn are_asked_by(self, request: &Request) -> bool {
        let named = request.headers().get(HOST).map(|host| host.to_str().unwrap_or_default());
        let names: Vec<&str> = named.into_iter().chain(request.uri().authority().map(Authority::as_str)).collect();
        self == Self::Any || (!names.is_empty() && names.iter().all(|name| self.includes(name)))
    }

    fn includes(self, host: &str) -> bool {
        self == Self::Any || host.parse::<Authority>().is_ok_and(|authority| is_own(authority.host()))
    }
}

fn is_own(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok()
}

pub(super) fn router(desk: Desk, hosts: Hosts) -> Router {
    let web = Arc::new(Web {
        desk,
        secrets: Secrets::default(),
        refusals: Refusals::default(),
        reading: Semaphore::new(READERS),
    });
    let shown = Router::new()
        .route("/", get(show_page))
        .route("/status.json", get(show_status))
        .route("/metrics", get(show_metrics))
        .route("/healthz", get(show_health))
        .route("/readyz", get(show_readiness))
        .layer(from_fn_with_state(hosts, check_host));
    // Webhooks prove who they are, so it does not matter under which name a proxy hands them on.
    let accepted = Router::new().route("/hooks/{job}", post(hook));
    shown
        .merge(accepted)
        .fallback(async || (StatusCode::NOT_FOUND, "there is nothing here\n"))
        .layer(map_response(guarded))
        .with_state(web)
}

async fn check_host(State(hosts): State<Hosts>, request: Request, next: Next) -> Response {
    if hosts.are_asked_by(&request) {
        return next.run(request).await;
    }
    let words = "this address answers to its IP address and to `localhost` only; a proxy in front has to set `Host` to one of them\n";
    (StatusCode::MISDIRECTED_REQUEST, words).into_response()
}

/// What no answer may lack: nothing is kept, guessed at, framed or fetched.
async fn guarded(mut response: Response) -> Response {
    const ALWAYS: [(HeaderName, &str); 5] = [
        (CACHE_CONTROL, "no-store"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (X_FRAME_OPTIONS, "DENY"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    let headers = response.headers_mut();
    for (name, value) in ALWAYS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers
        .entry(CONTENT_SECURITY_POLICY)
        .or_insert(HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'; base-uri 'none'"));
    response
}

async fn show_health(State(web): State<Arc<Web>>) -> Response {
    if web.desk.board.turns() {
        "the loop turns\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the loop has not turned when it had to; the log may say why\n")
            .into_response()
    }
}

async fn show_readiness(State(web): State<Arc<Web>>) -> Response {
    let words = match web.desk.board.readiness() {
        Readiness::Ready => return "every pair has been looked at\n".into_response(),
        Readiness::Unfound { job, why: None } => format!("the repositories of {job} have not been looked for yet\n"),
        Readiness::Unfound { job, why: Some(why) } => {
            format!("the repositories of {job} could not be found: {}\n", Printable::new(&why))
        }
        Readiness::Missing { missing, of, first } => {
            format!("{missing} of {of} pairs have not ended their first pass, among them {first}\n")
        }
    };
    (StatusCode::SERVICE_UNAVAILABLE, words).into_response()
}

async fn show_status(State(web): State<Arc<Web>>) -> Response {
    let json = match web.read(Timestamp::now(), false).await {
        Ok((status, _)) => crate::text::to_json(&status).map_err(|fault| fault.to_string()),
        Err(LedgerFault { message, hint }) => Err(format!("{message}\n{hint}")),
    };
    match json {
        Ok(json) => ([(CONTENT_TYPE, "application/json")], json + "\n").into_response(),
        Err(words) => (StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", printable(&words))).into_response(),
    }
}

async fn show_metrics(State(web): State<Arc<Web>>) -> Response {
    let status = web.read(Timestamp::now(), false).await.inspect_err(|fault| {
        tracing::warn!(error = fault.message, "The ledger could not be read for metrics.");
    });
    let text = metrics::text(web.desk.board.counted(), status.ok().map(|(status, _)| status));
    match text {
        Ok(text) => ([(CONTENT_TYPE, metrics::TYPE)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn show_page(State(web): State<Arc<Web>>, uri: Uri) -> Response {
    let now = Timestamp::now();
    let read = web.read(now, true).await;
    let board = &web.desk.board;
    // Whoever reads slowly can have a page that stays as it is.
    let renewed = uri.query() != Some("refresh=off");
    let shown = page::Shown {
        read: read.as_ref().map(|(status, changes)| (status, changes.as_slice())),
        reload: &board.reload(),
        turns: board.turns(),
        next: board.summary().next,
        renewed,
        now,
    };
    let mut response = ([(CONTENT_TYPE, "text/html; charset=utf-8")], page::html(&shown).into_string()).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, page::policy());
    if renewed {
        headers.insert(REFRESH, page::RENEWAL.into());
    }
    response
}

impl Web {
    /// How everything stands, and the latest changes, newest first, if they are asked for.
    async fn read(&self, now: Timestamp, changes: bool) -> Result<(Status, Vec<HistoryEntry>), LedgerFault> {
        // Nobody closes it, and without the permit reading would only cost more.
        let _slot = self.reading.acquire().await.ok();
        let (known, mut latest) = match self.open().await? {
            Some(ledger) => {
                let query = HistoryQuery { limit: Some(RECENT), ..HistoryQuery::default() };
                let latest = if changes { ledger.read_history(&query).await? } else { Vec::new() };
                (ledger.read_status().await?, latest)
            }
            None => (Vec::new(), Vec::new()),
        };
        latest.reverse();
        Ok((Status::new(self.desk.board.expected(), known, now), latest))
    }

    async fn open(&self) -> Result<Option<SqliteReader>, LedgerFault> {
        let state = self.desk.state.clone();
        tokio::task::spawn_blocking(move || SqliteLedger::open_read_only(&state)).await.unwrap_or_else(|fault| {
            Err(LedgerFault {
                message: format!("opening the ledger ended early: {fault}"),
                hint: "Ask again; if it stays so, the log says more.".into(),
            })
        })
    }
}

/// Lines that can be shown, each as it is.
fn printable(text: &str) -> String {
    text.lines().map(|line| Printable::new(line).to_string()).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_loopback_only_names_that_dns_cannot_give_are_answered() {
        for (host, own) in [
            ("127.0.0.1:9465", true),
            ("127.0.0.1", true),
            ("[::1]:9465", true),
            ("localhost", true),
            ("LOCALHOST:9465", true),
            ("192.0.2.7:1", true),
            ("evil.example", false),
            ("evil.example:9465", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("user@evil.example", false),
            ("", false),
            ("a b", false),
        ] {
            assert_eq!(Hosts::Own.includes(host), own, "{host}");
            assert!(Hosts::Any.includes(host));
        }
        assert_eq!(Hosts::of("127.0.0.9".parse().unwrap()), Hosts::Own);
        assert_eq!(Hosts::of("0.0.0.0".parse().unwrap()), Hosts::Any);
    }
}
