//! An answer, whatever its status, and what can be said about it.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use reqwest::StatusCode;
use reqwest::header::{CONTENT_TYPE, DATE, HeaderMap, LOCATION};
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use url::Url;

use super::challenge::{Challenge, challenges};
use super::retry::{Effect, http_date, meaning};
use super::{Authorization, Fault, FaultKind};
use crate::text::excerpt;

/// How much of a server's text an error shows.
const EXCERPT: usize = 200;

/// What was asked, as far as answers and errors need it.
#[derive(Clone, Debug)]
pub(super) struct Question {
    /// What for: `list the tags`.
    pub(super) purpose: &'static str,
    pub(super) effect: Effect,
    pub(super) url: Url,
    pub(super) base: Url,
    /// What was sent with it, and what must not be shown.
    pub(super) authorization: Authorization,
}

impl Question {
    /// The host as errors name it.
    pub(super) fn host(&self) -> &str {
        // A base URL has a host; see `Client::new`.
        self.base.host_str().unwrap_or_default()
    }

    /// A server's text for people: without the credential, printable, and short.
    pub(super) fn quote(&self, text: &[u8]) -> String {
        excerpt(&self.authorization.redact(text), EXCERPT)
    }
}

/// The words for a server's wish to be left alone.
pub(super) fn asked(wait: Duration) -> String {
    let until = time_of(Instant::now() + wait.min(Duration::from_secs(366 * 24 * 60 * 60)));
    format!(" (it asks to be left alone until {until})")
}

/// An instant by the clock, in whole seconds.
pub(super) fn time_of(instant: Instant) -> Timestamp {
    let now = Instant::now();
    let (ahead, ago) = (instant.saturating_duration_since(now), now.saturating_duration_since(instant));
    let time =
        Timestamp::now().saturating_add(ahead).and_then(|time| time.saturating_sub(ago)).unwrap_or(Timestamp::MAX);
    time.round(jiff::Unit::Second).unwrap_or(time)
}

/// A complete answer.
///
/// Its body is as the server sent it. What of it goes into an error passes [`quote`](Self::quote), because a server may
/// echo the credential.
pub struct Reply {
    pub(super) question: Question,
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// The wait that it asks for.
    pub(super) wait: Option<Duration>,
}

/// Without headers and body, which may echo the credential.
impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply").field("question", &self.question).field("status", &self.status).finish_non_exhaustive()
    }
}

impl Reply {
    /// The status code.
    pub fn status(&self) -> u16 {
        self.status.as_u16()
    }

    /// Whether the status says that it was done.
    pub fn is_success(&self) -> bool {
        self.status.is_success()
    }

    /// The first header of this name, where it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Whether its headers ask to be left alone for some time.
    pub fn asks_to_wait(&self) -> bool {
        self.wait.is_some()
    }

    /// The decoded body.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The decoded body, to be kept or sent on without a copy.
    pub fn bytes(&self) -> Bytes {
        self.body.clone()
    }

    /// When the server says that it answered, by its own clock.
    pub fn date(&self) -> Option<Timestamp> {
        self.header(DATE.as_str()).and_then(http_date)
    }

    /// A server's text for people: without the credential, printable, and short.
    pub fn quote(&self, text: &str) -> String {
        self.question.quote(text.as_bytes())
    }

    /// Reads the body as JSON. `expected` says what it should be: `a list of tags`.
    pub fn json<T: DeserializeOwned>(&self, expected: &str) -> Result<T, Fault> {
        serde_json::from_slice(&self.body).map_err(|fault| {
            if let Some(page) = self.html() {
                return page;
            }
            self.unusable(&format!("is not {expected} ({}): {}", self.quote(&fault.to_string()), self.shown()))
        })
    }

    /// As [`json`](Self::json), for what holds a secret: the fault shows nothing of the body.
    pub fn secret_json<T: DeserializeOwned>(&self, expected: &str) -> Result<T, Fault> {
        serde_json::from_slice(&self.body).map_err(|fault| {
            self.html().unwrap_or_else(|| {
                // Its own words may quote a value.
                let (line, column) = (fault.line(), fault.column());
                self.unusable(&format!("is not {expected} (line {line}, column {column})"))
            })
        })
    }

    /// The fault for a success that is of no use. `problem` continues the words "the answer …".
    pub fn unusable(&self, problem: &str) -> Fault {
        let Question { purpose, effect, .. } = &self.question;
        let message = format!("could not {purpose}: the answer of {} {problem}", self.question.host());
        Fault::new(effect.unreadable(), message)
    }

    /// The fault for an answer with another status than the one hoped for. `words` are the server's own, where they
    /// were found in the body; without them the body is shown.
    pub fn refusal(&self, words: Option<&str>) -> Fault {
        let Some(kind) = meaning(self.question.effect, self.status(), self.wait.is_some()).fault else {
            return self.html().unwrap_or_else(|| {
                self.unusable(&format!("has the unexpected status {}: {}", self.status(), self.shown()))
            });
        };
        let Question { purpose, .. } = &self.question;
        let mut message = format!("could not {purpose}: {} answered {}", self.question.host(), self.status);
        let mut hint = None;
        if self.status.is_redirection() {
            let target = self.redirects_to();
            message += &format!(" with a redirect{}, which is not followed", target.unwrap_or_default());
            hint = Some("put the final address into `url`");
        } else if let Some(words) = words {
            message += &format!(": {}", self.quote(words));
        } else if self.is_html() {
            message += " with an HTML page";
            hint = Some("a proxy or a login page may stand in between");
        } else if !self.body.is_empty() {
            message += &format!(": {}", self.question.quote(&self.body));
        }
        let (kind, lacking) = match kind {
            FaultKind::Unauthorized | FaultKind::Forbidden => self.lacking(kind),
            other => (other, None),
        };
        if let Some(lacking) = lacking {
            message += &format!(" (the credential does not cover {lacking})");
            hint = hint.or(Some("give the account, or its token, the right to do this"));
        }
        if let Some(wait) = self.wait.filter(|_| kind == FaultKind::Throttled) {
            message += &asked(wait);
        }
        let fault = Fault::new(kind, message);
        match hint {
            Some(hint) => fault.hint(hint),
            None => fault,
        }
    }

    /// For a refusal by a challenge that says so: the scope that the credential lacks. Then the credential was
    /// accepted, and may not do this, although the status of it may be 401.
    fn lacking(&self, kind: FaultKind) -> (FaultKind, Option<String>) {
        match challenges(&self.headers).into_iter().find(Challenge::lacks_scope) {
            Some(challenge) => {
                let scope = challenge.get("scope").map(|scope| format!("`{}`", self.quote(scope)));
                (FaultKind::Forbidden, Some(scope.unwrap_or_else(|| "what was asked".into())))
            }
            None => (kind, None),
        }
    }

    /// Where a redirect leads, if that is on the origin that was asked. Whether anything is asked there is for the caller.
    pub fn moved_within_origin(&self) -> Option<Url> {
        let target = self.question.url.join(self.headers.get(LOCATION)?.to_str().ok()?).ok()?;
        let plain = target.username().is_empty() && target.password().is_none();
        (self.status.is_redirection() && plain && target.origin() == self.question.url.origin()).then_some(target)
    }

    /// Whether it refuses the credential as such, and not only what was to be done with it.
    pub(super) fn refuses_credential(&self) -> bool {
        self.status == StatusCode::UNAUTHORIZED && !challenges(&self.headers).iter().any(Challenge::lacks_scope)
    }

    fn shown(&self) -> String {
        if self.body.is_empty() { "it is empty".into() } else { format!("`{}`", self.question.quote(&self.body)) }
    }

    fn html(&self) -> Option<Fault> {
        self.is_html().then(|| self.unusable("is an HTML page: a proxy or a login in between?"))
    }

    fn is_html(&self) -> bool {
        let kind = self.headers.get(CONTENT_TYPE).map_or(b"".as_slice(), |kind| kind.as_bytes());
        let says_so = kind.get(..9).is_some_and(|start| start.eq_ignore_ascii_case(b"text/html"));
        says_so || self.body.trim_ascii_start().starts_with(b"<")
    }

    /// ` to HOST`: the rest of the target may carry what is not for everybody.
    fn redirects_to(&self) -> Option<String> {
        let target = self.question.url.join(self.headers.get(LOCATION)?.to_str().ok()?).ok()?;
        Some(format!(" to {}", self.quote(target.host_str()?)))
    }
}
