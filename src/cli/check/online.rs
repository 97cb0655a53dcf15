//! `tagsyncd check --online`: whether the configuration would work, asked of both sides and changing neither.

use std::fmt::Write as _;

use schemars::JsonSchema;
use serde::Serialize;

use super::super::ExitCode;
use super::super::output::Failure;
use super::super::sync::block_on;
use crate::config::{JobSettings, Settings};
use crate::sync::{Check, Finding, Outcome, Probe, probe};
use crate::text::Printable;

/// What asking both sides brought, for the whole configuration and for each pair.
#[derive(Serialize, JsonSchema)]
pub(super) struct Online {
    /// Whose rules the time zone of schedules has.
    timezone: Finding,
    /// One per repository and remote, in the order of the configuration.
    pairs: Vec<Probe>,
}

/// Asks about the pairs of these jobs.
pub(super) fn look(settings: &Settings, jobs: &[&JobSettings]) -> Result<Online, Failure> {
    let zone = &settings.daemon.timezone;
    let timezone = Finding::ok(Check::Timezone, format!("{}, from {}", Printable::new(&zone.name), zone.data));
    let pairs = block_on(async {
        let probed = probe(jobs).await;
        probed.map_err(|fault| Failure::new(ExitCode::Configuration, fault.to_string()))
    })?;
    Ok(Online { timezone, pairs })
}

impl Online {
    fn findings(&self) -> impl Iterator<Item = &Finding> {
        std::iter::once(&self.timezone).chain(self.pairs.iter().flat_map(|pair| &pair.findings))
    }

    fn count(&self, outcome: Outcome) -> usize {
        self.findings().filter(|finding| finding.result == outcome).count()
    }

    /// A missing role or scope waits for a person; anything else that failed may heal by itself, and goes first.
    pub(super) fn exit_code(&self) -> ExitCode {
        let failed = || self.findings().filter(|finding| finding.result == Outcome::Failed);
        if failed().any(|finding| finding.check != Check::Access) {
            ExitCode::Failed
        } else if failed().next().is_some() {
            ExitCode::Held
        } else {
            ExitCode::Done
        }
    }

    /// A line per finding below a line per pair, and a last line with the sums.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        line(&mut text, &self.timezone);
        for pair in &self.pairs {
            // Writing to a string cannot fail.
            let _infallible = writeln!(
                text,
                "{} -> {} ({}), for {}",
                Printable::new(&pair.repository),
                pair.remote,
                Printable::new(&pair.place),
                pair.jobs.join(", ")
            );
            pair.findings.iter().for_each(|finding| line(&mut text, finding));
        }
        let sums: Vec<String> = [Outcome::Ok, Outcome::Warning, Outcome::Failed, Outcome::Skipped]
            .map(|outcome| format!("{} {}", self.count(outcome), word(outcome)))
            .into();
        let requests: u64 = self.pairs.iter().map(|pair| pair.requests).sum();
        let _infallible =
            writeln!(text, "pairs: {}; requests: {requests}; findings: {}", self.pairs.len(), sums.join(", "));
        text
    }
}

fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Ok => "ok",
        Outcome::Warning => "warning",
        Outcome::Failed => "failed",
        Outcome::Skipped => "skipped",
    }
}

fn line(text: &mut String, finding: &Finding) {
    let mark = match finding.result {
        Outcome::Ok => "ok",
        Outcome::Warning => "!",
        Outcome::Failed => "!!",
        Outcome::Skipped => "-",
    };
    let detail = Printable::new(&finding.detail);
    let _infallible = writeln!(text, "  {mark:2}  {:10}  {detail}", finding.check.word());
    if let Some(hint) = &finding.hint {
        let _infallible = writeln!(text, "{:18}hint: {}", "", Printable::new(hint));
    }
}
