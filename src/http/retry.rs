//! When a request is sent again, and what an answer means: the whole policy, without a clock and without a network.

use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use jiff::Timestamp;
use jiff::fmt::rfc2822;
use reqwest::Method;
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};

use super::FaultKind;
use super::circuit::Sign;

/// The longest time that a server can make us wait within a pass; beyond it the call fails as throttled.
pub(super) const CEILING: Duration = Duration::from_secs(60);

/// The longest time that the pauses of one call may take together.
pub(super) const BUDGET: Duration = Duration::from_secs(90);

/// The longest pause before a request is sent again. Whoever writes has looked just before, and that look does not last.
pub(super) fn longest_pause(effect: Effect) -> Duration {
    match effect {
        Effect::Read => CEILING,
        Effect::Write => Duration::from_secs(2),
    }
}

/// Whether a request can change something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Read,
    Write,
}

impl Effect {
    pub(super) fn of(method: &Method) -> Self {
        if matches!(*method, Method::GET | Method::HEAD) { Self::Read } else { Self::Write }
    }

    /// What it is called when an answer arrived and cannot be understood.
    pub(super) fn unreadable(self) -> FaultKind {
        match self {
            Self::Read => FaultKind::Unreadable,
            Self::Write => FaultKind::Ambiguous,
        }
    }
}

/// What an answer's status means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Meaning {
    /// `None` for success.
    pub(super) fault: Option<FaultKind>,
    /// Whether the request may be sent again.
    pub(super) retry: bool,
}

/// What a status means. `asked` is whether the server named a time to come back.
///
/// A write is repeated after 429, and after 503 and 403 that ask to come back later: they say that nothing was done. GitHub
/// answers 403 to those who ask too much (2026-11-21,
/// <https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api#exceeding-the-rate-limit>). Any other 5xx on a
/// write may stand before or behind the effect (GitLab answers 500 to some refused deletes and to some that happened).
pub(super) fn meaning(effect: Effect, status: u16, asked: bool) -> Meaning {
    let read = effect == Effect::Read;
    let (fault, retry) = match status {
        200..=299 => return Meaning { fault: None, retry: false },
        // 302 and 303 are what a form answers after it has done its work.
        301 | 307 | 308 if !read => (FaultKind::Rejected, false),
        401 => (FaultKind::Unauthorized, false),
        403 if asked => (FaultKind::Throttled, true),
        403 => (FaultKind::Forbidden, false),
        404 => (FaultKind::NotFound, false),
        // Only a proxy asks for this; the server has not seen the request.
        407 => (FaultKind::NotSent, false),
        // The server gave up waiting for the request; whether it saw a write is not known.
        408 => (effect.unreadable(), read),
        429 => (FaultKind::Throttled, true),
        400..=499 => (FaultKind::Rejected, false),
        // Neither heals by itself.
        501 | 505 => (effect.unreadable(), false),
        503 if asked => (FaultKind::Throttled, true),
        500..=599 => (effect.unreadable(), read),
        _ => (effect.unreadable(), false),
    };
    Meaning { fault: Some(fault), retry }
}

/// What a status says about the way to the server and about the credential. `asked` as for [`meaning`].
///
/// 500 is the server's word on one request: a project that is broken must not speak for all others. What a gateway says
/// when there is nobody behind it is another matter (52x: 2026-11-21,
/// <https://developers.cloudflare.com/support/troubleshooting/http-status-codes/cloudflare-5xx-errors/>).
pub(super) fn sign(status: u16, asked: bool) -> Sign {
    match status {
        401 => Sign::Refused,
        403 | 503 if asked => Sign::Reached,
        407 | 502..=504 | 520..=530 => Sign::Unreached,
        // It may not have come to look at the credential.
        408 | 429 | 500..=599 => Sign::Reached,
        _ => Sign::Accepted,
    }
}

/// The pauses between tries: as many as there are repetitions, growing, each with jitter.
pub(super) fn pauses() -> impl Iterator<Item = Duration> + Send {
    ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(200))
        .with_factor(3.0)
        .with_max_times(2)
        .with_jitter()
        .build()
}

/// How long the server asks to be left alone: `Retry-After` in seconds or as a date, else the reset of an exhausted quota.
pub(super) fn asked_wait(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let after = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()).map(str::trim);
    after
        .and_then(|text| match text.parse() {
            Ok(seconds) => Some(Duration::from_secs(seconds)),
            Err(_) => Some(until(http_date(text)?, headers, now)),
        })
        .or_else(|| exhausted(headers, now))
}

/// How long an exhausted quota stays so: `RateLimit-Remaining: 0` with `RateLimit-Reset` (also with `X-` in front).
///
/// The reset is a Unix time on GitLab and GitHub (2026-11-21, <https://docs.gitlab.com/administration/settings/user_and_ip_rate_limits/>)
/// and a number of seconds in the IETF's draft; no server makes anybody wait thirty years, so the size tells.
pub(super) fn exhausted(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    if number(headers, ["ratelimit-remaining", "x-ratelimit-remaining"])? != 0 {
        return None;
    }
    let reset = number(headers, ["ratelimit-reset", "x-ratelimit-reset"])?;
    if reset < 1_000_000_000 {
        return Some(Duration::from_secs(reset));
    }
    let reset = Timestamp::from_second(i64::try_from(reset).ok()?).ok()?;
    Some(until(reset, headers, now))
}

/// The number in the first of these headers that is there.
pub(super) fn number(headers: &HeaderMap, names: [&str; 2]) -> Option<u64> {
    names.iter().find_map(|name| headers.get(*name))?.to_str().ok()?.trim().parse().ok()
}

/// The time until an instant of the server's clock, by that clock where it tells the time.
fn until(instant: Timestamp, headers: &HeaderMap, now: Timestamp) -> Duration {
    let server = headers.get(DATE).and_then(|value| http_date(value.to_str().ok()?));
    Duration::try_from(instant.duration_since(server.unwrap_or(now))).unwrap_or(Duration::ZERO)
}

/// The date of HTTP (`Sun, 06 Nov 1994 08:49:37 GMT`), which is one of RFC 2822's forms.
pub(super) fn http_date(text: &str) -> Option<Timestamp> {
    rfc2822::DateTimeParser::new().parse_timestamp(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use FaultKind::{Ambiguous, Forbidden, NotFound, NotSent, Rejected, Throttled, Unauthorized, Unreadable};

    /// The policy in one list: ranges of statuses, whether a wait was asked for, then fault and repetition.
    type Row = (std::ops::RangeInclusive<u16>, Option<bool>, Option<FaultKind>, bool);

    const READS: &[Row] = &[
        (100..=199, None, Some(Unreadable), false),
        (200..=299, None, None, false),
        (300..=399, None, Some(Unreadable), false),
        (400..=400, None, Some(Rejected), false),
        (401..=401, None, Some(Unauthorized), false),
        (402..=402, None, Some(Rejected), false),
        (403..=403, Some(false), Some(Forbidden), false),
        (403..=403, Some(true), Some(Throttled), true),
        (404..=404, None, Some(NotFound), false),
        (405..=406, None, Some(Rejected), false),
        (407..=407, None, Some(NotSent), false),
        (408..=408, None, Some(Unreadable), true),
        (409..=428, None, Some(Rejected), false),
        (429..=429, None, Some(Throttled), true),
        (430..=499, None, Some(Rejected), false),
        (500..=500, None, Some(Unreadable), true),
        (501..=501, None, Some(Unreadable), false),
        (502..=502, None, Some(Unreadable), true),
        (503..=503, Some(false), Some(Unreadable), true),
        (503..=503, Some(true), Some(Throttled), true),
        (504..=504, None, Some(Unreadable), true),
        (505..=505, None, Some(Unreadable), false),
        (506..=599, None, Some(Unreadable), true),
    ];

    const WRITES: &[Row] = &[
        (100..=199, None, Some(Ambiguous), false),
        (200..=299, None, None, false),
        (300..=300, None, Some(Ambiguous), false),
        (301..=301, None, Some(Rejected), false),
        (302..=306, None, Some(Ambiguous), false),
        (307..=308, None, Some(Rejected), false),
        (309..=399, None, Some(Ambiguous), false),
        (400..=400, None, Some(Rejected), false),
        (401..=401, None, Some(Unauthorized), false),
        (402..=402, None, Some(Rejected), false),
        (403..=403, Some(false), Some(Forbidden), false),
        (403..=403, Some(true), Some(Throttled), true),
        (404..=404, None, Some(NotFound), false),
        (405..=406, None, Some(Rejected), false),
        (407..=407, None, Some(NotSent), false),
        (408..=408, None, Some(Ambiguous), false),
        (409..=428, None, Some(Rejected), false),
        (429..=429, None, Some(Throttled), true),
        (430..=499, None, Some(Rejected), false),
        (500..=502, None, Some(Ambiguous), false),
        (503..=503, Some(false), Some(Ambiguous), false),
        (503..=503, Some(true), Some(Throttled), true),
        (504..=599, None, Some(Ambiguous), false),
    ];

    #[test]
    fn every_status_has_one_meaning() {
        for (effect, rows) in [(Effect::Read, READS), (Effect::Write, WRITES)] {
            for status in 100..=599 {
                for asked in [false, true] {
                    let mut rows =
                        rows.iter().filter(|row| row.0.contains(&status) && row.1.is_none_or(|when| when == asked));
                    let (_, _, fault, retry) = *rows.next().unwrap();
                    assert!(rows.next().is_none(), "{status} stands twice");
                    assert_eq!(meaning(effect, status, asked), Meaning { fault, retry }, "{effect:?} {status} {asked}");
                }
            }
        }
    }

    #[test]
    fn only_gateways_and_proxies_say_that_nothing_came_through() {
        for status in 100..=599 {
            for asked in [false, true] {
                let expected = match status {
                    401 => Sign::Refused,
                    407 | 502 | 504 | 520..=530 => Sign::Unreached,
                    503 if !asked => Sign::Unreached,
                    403 if asked => Sign::Reached,
                    408 | 429 | 500.. => Sign::Reached,
                    _ => Sign::Accepted,
                };
                assert_eq!(sign(status, asked), expected, "{status} {asked}");
            }
        }
    }

    #[test]
    fn a_call_has_three_tries() {
        let pauses: Vec<_> = pauses().collect();
        assert_eq!(pauses.len(), 2);
        assert!(pauses[0] >= Duration::from_millis(200) && pauses[1] <= Duration::from_millis(1200), "{pauses:?}");
    }

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        lines.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn waits_are_read_in_all_their_forms() {
        let now: Timestamp = "1994-11-06T08:49:00Z".parse().unwrap();
        let asked = |lines: &[_]| asked_wait(&headers(lines), now).map(|wait| wait.as_secs());
        assert_eq!(asked(&[]), None);
        assert_eq!(asked(&[("retry-after", "7")]), Some(7));
        assert_eq!(asked(&[("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT")]), Some(37));
        assert_eq!(asked(&[("retry-after", "Sun, 06 Nov 1994 08:40:00 GMT")]), Some(0));
        // By the server's own clock, where it differs from ours.
        let skewed = [("retry-after", "Sun, 06 Nov 1994 09:00:10 GMT"), ("date", "Sun, 06 Nov 1994 09:00:00 GMT")];
        assert_eq!(asked(&skewed), Some(10));
        assert_eq!(asked(&[("retry-after", "soon")]), None);
        assert_eq!(asked(&[("retry-after", "-1")]), None);
        assert_eq!(asked(&[("retry-after", "99999999999999999999999")]), None);
        assert_eq!(asked(&[("ratelimit-remaining", "0"), ("ratelimit-reset", "30")]), Some(30));
        assert_eq!(asked(&[("ratelimit-remaining", "1"), ("ratelimit-reset", "30")]), None);
        let later = now + jiff::SignedDuration::from_hours(24 * 365 * 30);
        let reset = (later.as_second() + 5).to_string().leak() as &str;
        let now_later = |lines: &[_]| exhausted(&headers(lines), later).map(|wait| wait.as_secs());
        assert_eq!(now_later(&[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", reset)]), Some(5));
        assert_eq!(now_later(&[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "9223372036854775807")]), None);
    }
}
