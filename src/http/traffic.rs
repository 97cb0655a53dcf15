//! What a transport's requests brought, in numbers, for whoever watches.

use std::collections::BTreeMap;

use reqwest::header::HeaderMap;

use super::retry::number;

/// The requests of one transport, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Complete answers by their status. Under 0 what brought none, connections that could not be made among it.
    pub by_status: BTreeMap<u16, u64>,
    /// How many of the requests were repetitions of one that had failed.
    pub retries: u64,
    /// What is left, by the latest answer that says so.
    pub quota: Option<Quota>,
}

/// How many more requests a server takes for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// `RateLimit-Remaining`, also with `X-` in front.
    pub remaining: u64,
    /// `RateLimit-Limit`, likewise.
    pub limit: Option<u64>,
}

impl Quota {
    fn of(headers: &HeaderMap) -> Option<Self> {
        let remaining = number(headers, ["ratelimit-remaining", "x-ratelimit-remaining"])?;
        Some(Self { remaining, limit: number(headers, ["ratelimit-limit", "x-ratelimit-limit"]) })
    }
}

impl Traffic {
    pub(super) fn answered(&mut self, status: u16, headers: &HeaderMap) {
        *self.by_status.entry(status).or_default() += 1;
        self.quota = Quota::of(headers).or(self.quota);
    }

    pub(super) fn unanswered(&mut self) {
        *self.by_status.entry(0).or_default() += 1;
    }

    pub(super) fn repeated(&mut self) {
        self.retries += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_word_on_the_quota_stands() {
        let mut traffic = Traffic::default();
        let mut quota = |lines: &[(&'static str, &'static str)]| {
            let headers = lines.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
            traffic.answered(200, &headers);
            traffic.quota.map(|quota| (quota.remaining, quota.limit))
        };
        assert_eq!(quota(&[]), None);
        assert_eq!(quota(&[("ratelimit-limit", "600")]), None, "a limit alone leaves open what is left of it");
        assert_eq!(quota(&[("x-ratelimit-remaining", "59"), ("x-ratelimit-limit", "60")]), Some((59, Some(60))));
        assert_eq!(quota(&[("ratelimit-remaining", "many")]), Some((59, Some(60))));
        assert_eq!(quota(&[("ratelimit-remaining", "7")]), Some((7, None)));
        assert_eq!(quota(&[]), Some((7, None)));
        assert_eq!(traffic.by_status, BTreeMap::from([(200, 6)]));
    }
}
