//! `/metrics`: everything in numbers, as OpenMetrics text.
//!
//! How pairs stand comes from the ledger, so a restart changes nothing about it; what is counted comes from the board and
//! starts at zero. Names of jobs, repositories and remotes are the configuration's, statuses are those of RFC 9110, and
//! everything else that becomes a label is a word of ours: nobody outside can add to the number of series.

use std::collections::BTreeSet;
use std::fmt;

use axum::http::StatusCode;
use jiff::Timestamp;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, EncodeLabelSet, EncodeMetric as _, NoLabelSet,
    text::encode,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use crate::report::status::{PairReport, Status};
use crate::service::board::{Counted, Tally};

/// The type of the text.
pub(super) const TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// How many servers that get no requests are named. It takes a fault of ours to have so many, or a server that names others.
const ORIGINS: usize = 64;

/// All of it. `status` is `None` when the ledger could not be read; what it knows is left out then.
pub(super) fn text(counted: Counted, status: Option<Status>) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("tagsyncd");
    registry.register_collector(Box::new(Moment { counted, status }));
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

#[derive(Debug)]
struct Moment {
    counted: Counted,
    status: Option<Status>,
}

impl Collector for Moment {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut families = Families { encoder: &mut encoder };
        self.daemon(&mut families)?;
        if let Some(status) = &self.status {
            pairs(&status.pairs, &mut families)?;
        }
        self.remotes(&mut families)?;
        self.origins(&mut families)
    }
}

impl Moment {
    fn daemon(&self, families: &mut Families<'_, '_>) -> fmt::Result {
        let Counted { started, reload, due, hooks, told, tallies: _, origins: _ } = &self.counted;
        families.info("build", "The running program.", &[("version", env!("CARGO_PKG_VERSION"))])?;
        families.gauge("start_timestamp", "When the daemon started.", Some(Unit::Seconds), seconds(*started))?;
        families.gauge(
            "config_reload_successful",
            "Whether the latest reload of the configuration was taken.",
            None,
            i64::from(reload.refused.is_none()),
        )?;
        families.gauge(
            "config_reload_success_timestamp",
            "When the configuration in use was taken.",
            Some(Unit::Seconds),
            seconds(reload.taken),
        )?;
        families.gauge(
            "ledger_readable",
            "Whether the ledger could be read for this answer; without it there is nothing about pairs here.",
            None,
            i64::from(self.status.is_some()),
        )?;
        let due = due.iter().map(|((job, repository), next)| {
            ([("job", job.as_str()), ("repository", repository.as_str())], seconds(*next))
        });
        families.gauges("next_run_timestamp", "When the next pass is due.", Some(Unit::Seconds), due)?;
        let hooks = hooks.iter().map(|(end, count)| ([("end", end.word())], *count));
        families.counters("hooks", "Webhooks by what became of them.", hooks)?;
        let messages = [("delivered", told.delivered()), ("undelivered", told.undelivered())];
        let messages = messages.map(|(end, count)| ([("end", end)], count));
        families.counters("messages", "Messages to people by whether somebody got them.", messages)?;
        let heartbeats = [("heard", told.heartbeats()), ("unheard", told.unheard())];
        let heartbeats = heartbeats.map(|(end, count)| ([("end", end)], count));
        families.counters("heartbeats", "Heartbeats by whether somebody heard them.", heartbeats)
    }

    /// Servers that get no requests for a while. One may be there with several credentials, and is named once.
    fn origins(&self, families: &mut Families<'_, '_>) -> fmt::Result {
        let closed =
            self.counted.origins.iter().filter_map(|server| Some((server.origin.as_str(), server.reason?.word())));
        let closed: BTreeSet<_> = closed.collect();
        let closed = closed.into_iter().take(ORIGINS);
        families.gauges(
            "origin_closed",
            "1 while a server gets no requests, by why; absent while it does.",
            None,
            closed.map(|(origin, reason)| ([("origin", origin), ("reason", reason)], 1)),
        )
    }

    fn remotes(&self, families: &mut Families<'_, '_>) -> fmt::Result {
        let tallies = || self.counted.tallies.iter().map(|(remote, tally)| (("remote", remote.as_str()), tally));
        let changes = tallies().flat_map(|(remote, tally)| {
            let changes = tally.changes.iter();
            changes.map(move |((action, outcome), count)| {
                ([remote, ("action", action.word()), ("outcome", outcome.word())], *count)
            })
        });
        families.counters("changes", "Writes to remotes by what was done and how it ended.", changes)?;
        let passes: Vec<_> = tallies()
            .flat_map(|(remote, tally)| {
                tally.passes.iter().map(move |(state, count)| (remote, state.to_string(), *count))
            })
            .collect();
        let passes = passes.iter().map(|(remote, state, count)| ([*remote, ("state", state.as_str())], *count));
        families.counters("passes", "Passes over pairs by the state in which they left them.", passes)?;
        families.durations(tallies())?;
        let requests: Vec<_> =
            tallies().flat_map(|(remote, tally)| statuses(tally).map(move |status| (remote, status))).collect();
        let requests =
            requests.iter().map(|(remote, (status, count))| ([*remote, ("status", status.as_str())], *count));
        families.counters(
            "requests",
            "Requests to remotes by the status of the answer; `none` when there was no answer.",
            requests,
        )?;
        let retries = tallies().map(|(remote, tally)| ([remote], tally.retries));
        families.counters("retries", "Requests that were sent again after one that failed.", retries)?;
        let requests = || Some(Unit::Other("requests".into()));
        let quotas = || tallies().filter_map(|(remote, tally)| Some((remote, tally.quota?)));
        families.gauges(
            "quota_remaining",
            "Requests that the remote takes for now, when it last said so.",
            requests(),
            quotas().map(|(remote, quota)| ([remote], quota.remaining)),
        )?;
        families.gauges(
            "quota_limit",
            "Requests that the remote takes in one period, when it last said so.",
            requests(),
            quotas().filter_map(|(remote, quota)| Some(([remote], quota.limit?))),
        )
    }
}

/// Requests by status. What no standard knows counts as `other`: a remote must not be able to invent series.
fn statuses(tally: &Tally) -> impl Iterator<Item = (String, u64)> {
    let word = |status: u16| match status {
        0 => "none".to_owned(),
        _ => StatusCode::from_u16(status)
            .ok()
            .filter(|status| status.canonical_reason().is_some())
            .map_or_else(|| "other".to_owned(), |status| status.as_str().to_owned()),
    };
    let mut by_word = std::collections::BTreeMap::new();
    for (status, count) in &tally.requests {
        *by_word.entry(word(*status)).or_insert(0) += count;
    }
    by_word.into_iter()
}

fn pairs(pairs: &[PairReport], families: &mut Families<'_, '_>) -> fmt::Result {
    // A pair is there once, whatever the loop has said; a series that is there twice makes a whole answer unreadable.
    let mut seen = BTreeSet::new();
    let pairs: Vec<_> = pairs
        .iter()
        .map(|pair| ([("job", pair.job.as_str()), ("repository", &pair.repository), ("remote", &pair.remote)], pair))
        .filter(|(labels, _)| seen.insert(*labels))
        .collect();
    let each = |value: fn(&PairReport) -> i64| pairs.iter().map(move |(labels, pair)| (*labels, value(pair)));
    let time = Some(Unit::Seconds);
    families.gauges(
        "pair_last_attempt_timestamp",
        "When the latest pass over the pair ended; 0 before the first.",
        time.clone(),
        each(|pair| pair.known.as_ref().map_or(0, |known| seconds(known.last.ended))),
    )?;
    families.gauges(
        "pair_last_success_timestamp",
        "When a pass over the pair last ended without an error; 0 before the first.",
        time.clone(),
        each(|pair| pair.known.as_ref().and_then(|known| known.last_success).map_or(0, seconds)),
    )?;
    let since = pairs.iter().filter_map(|(labels, pair)| Some((*labels, pair.known.as_ref()?.in_sync_since?)));
    families.gauges(
        "pair_in_sync_since_timestamp",
        "Since when both sides have agreed; only while they do.",
        time.clone(),
        since.map(|(labels, since)| (labels, seconds(since))),
    )?;
    families.gauges(
        "pair_lag",
        "Age of the oldest tag on which both sides do not agree; 0 when there is none.",
        time,
        each(|pair| pair.lag_seconds.unwrap_or(0).max(0)),
    )?;
    let tags = || Some(Unit::Other("tags".into()));
    families.gauges("pair_held", "Tags left for a person.", tags(), each(|pair| number(pair.held.len())))?;
    families.gauges("pair_waiting", "Tags left for a later pass.", tags(), each(|pair| number(pair.waiting.len())))?;
    families.gauges("pair_failed", "Tags tried and not done.", tags(), each(|pair| number(pair.failed.len())))?;
    families.gauges(
        "pair_parked",
        "Changes that a guard stopped and about which nobody has decided.",
        Some(Unit::Other("changes".into())),
        each(|pair| {
            let open = pair.plans.iter().filter(|stopped| stopped.decision.is_none());
            open.map(|stopped| i64::from(stopped.count)).sum()
        }),
    )
}

fn seconds(time: Timestamp) -> i64 {
    time.as_second()
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Families of metrics, one after the other.
struct Families<'f, 'e> {
    encoder: &'f mut DescriptorEncoder<'e>,
}

impl Families<'_, '_> {
    fn info(&mut self, name: &str, help: &str, labels: &[(&str, &str); 1]) -> fmt::Result {
        self.encoder.encode_descriptor(name, help, None, MetricType::Info)?.encode_info(labels)
    }

    fn gauge(&mut self, name: &str, help: &str, unit: Option<Unit>, value: i64) -> fmt::Result {
        self.encoder.encode_descriptor(name, help, unit.as_ref(), MetricType::Gauge)?.encode_gauge(&value)
    }

    fn gauges<L: EncodeLabelSet, V: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<Unit>,
        samples: impl IntoIterator<Item = (L, V)>,
    ) -> fmt::Result {
        let mut family = self.encoder.encode_descriptor(name, help, unit.as_ref(), MetricType::Gauge)?;
        samples.into_iter().try_for_each(|(labels, value)| family.encode_family(&labels)?.encode_gauge(&value))
    }

    fn counters<L: EncodeLabelSet, V: EncodeCounterValue>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (L, V)>,
    ) -> fmt::Result {
        let mut family = self.encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        samples.into_iter().try_for_each(|(labels, value)| {
            family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, f64>(&value, None)
        })
    }

    fn durations<'t>(&mut self, tallies: impl Iterator<Item = ((&'t str, &'t str), &'t Tally)>) -> fmt::Result {
        let seconds = Unit::Seconds;
        let help = "How long passes over pairs took.";
        let mut family =
            self.encoder.encode_descriptor("pass_duration", help, Some(&seconds), MetricType::Histogram)?;
        for (remote, tally) in tallies {
            tally.durations.encode(family.encode_family(&[remote])?)?;
        }
        Ok(())
    }
}
