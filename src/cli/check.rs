//! `tagsyncd check`: the configuration; without `--online` no remote is asked.

mod online;

use std::fmt::Write as _;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::output::{Failure, Output};
use super::sync::{choose, load};
use super::{CheckOptions, Common, ExitCode};
use crate::config::{Policy, Repository};
use crate::text::Printable;

#[derive(Serialize, JsonSchema)]
pub(super) struct Checked {
    /// The configuration file.
    file: String,
    /// The jobs, in the order of the file.
    jobs: Vec<Job>,
    /// Only with `--online`.
    online: Option<online::Online>,
}

/// A job.
#[derive(Serialize, JsonSchema)]
struct Job {
    /// Its name.
    job: String,
    /// What may be done to its remotes.
    policy: Policy,
    /// The repositories found now.
    repositories: Vec<String>,
    /// Why the repositories cannot be found now; a later start may find them.
    warning: Option<String>,
    /// The remotes, in the order of the job.
    remotes: Vec<Remote>,
    /// When it runs, as written.
    schedule: String,
    /// The time zone of the schedule.
    timezone: String,
    /// When the schedule has its next tick, in its time zone and before the shift by `jitter`; null after the year 2100.
    #[schemars(extend("format" = "date-time"))]
    next_run: Option<String>,
}

/// A remote of a job.
#[derive(Serialize, JsonSchema)]
struct Remote {
    /// Its name.
    remote: String,
    /// The kind of API.
    provider: &'static str,
    /// Where and what it is, for people; of several repositories, for the first.
    place: String,
}

pub(super) fn check(common: &Common, options: &CheckOptions, output: &Output) -> Result<ExitCode, Failure> {
    let settings = load(common)?;
    let chosen = choose(&settings, &options.jobs)?;
    let now = Timestamp::now();
    let mut jobs = Vec::new();
    for job in &settings.jobs {
        let (repositories, warning) = match job.from.find() {
            Ok(found) => (found, None),
            Err(fault) => (Vec::new(), Some(fault.to_string())),
        };
        let example =
            repositories.first().map_or_else(|| job.from.name().to_owned(), |repository| repository.name.clone());
        let mut remotes = Vec::new();
        for template in &job.to {
            let remote = template
                .for_repository(&example)
                .map_err(|fault| Failure::new(ExitCode::Configuration, fault.to_string()))?;
            remotes.push(Remote { remote: remote.name, provider: remote.provider.name, place: remote.keys.describe() });
        }
        let missing = repositories.iter().filter_map(Repository::directory).find(|path| !path.exists());
        let missing = missing.map(|path| format!("there is nothing at {}", path.display()));
        jobs.push(Job {
            job: job.name.clone(),
            policy: job.policy,
            repositories: repositories.into_iter().map(|repository| repository.name).collect(),
            warning: warning.or(missing),
            remotes,
            schedule: job.schedule.expression().to_owned(),
            timezone: settings.daemon.timezone.name.clone(),
            next_run: job.schedule.next_after(now).map(|tick| {
                tick.to_zoned(job.schedule.time_zone().clone()).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
            }),
        });
    }
    let online = if options.online { Some(online::look(&settings, &chosen)?) } else { None };
    let checked = Checked { file: settings.file.display().to_string(), jobs, online };
    for job in &checked.jobs {
        if let Some(warning) = &job.warning {
            output.remark(format_args!("warning: {}: {}", job.job, Printable::new(warning)));
        }
    }
    output.result(&checked, text(&checked))?;
    Ok(checked.online.map_or(ExitCode::Done, |online| online.exit_code()))
}

fn text(checked: &Checked) -> String {
    let mut text = String::new();
    for job in &checked.jobs {
        for remote in &job.remotes {
            let repositories = match job.repositories.as_slice() {
                [one] => one.clone(),
                many => format!("{} repositories", many.len()),
            };
            // Writing to a string cannot fail.
            let _infallible = writeln!(
                text,
                "{}: {repositories} -> {} ({}), {}",
                job.job,
                remote.remote,
                Printable::new(&remote.place),
                job.policy.word()
            );
        }
        let next = job.next_run.as_deref().unwrap_or("never");
        let zone = Printable::new(&job.timezone);
        let _infallible = writeln!(text, "{}: next run {next} ({}, {zone})", job.job, Printable::new(&job.schedule));
    }
    let _infallible = writeln!(text, "{}: in order", Printable::new(&checked.file));
    if let Some(online) = &checked.online {
        text.push_str(&online.text());
    }
    text
}
