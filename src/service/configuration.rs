//! A configuration in force, with everything that lives as long as it does.

use std::path::Path;
use std::sync::Arc;

use tokio::task::spawn_blocking;

use super::agenda::Timetable;
use crate::config::{self, ConfigFault, JobSettings, Settings};
use crate::http::Pool;

/// Settings, the connections made by them, and a number that no other configuration of the process has.
#[derive(Clone, Debug)]
pub(super) struct Configuration {
    pub(super) settings: Arc<Settings>,
    /// Begins anew with each configuration: new credentials and limits count at once, and who was given up on is tried again.
    pub(super) pool: Arc<Pool>,
    pub(super) number: u64,
}

impl Configuration {
    pub(super) fn first(settings: Arc<Settings>) -> Self {
        Self { settings, pool: Arc::default(), number: 0 }
    }

    pub(super) fn next(&self, settings: Arc<Settings>) -> Self {
        Self { settings, pool: Arc::default(), number: self.number + 1 }
    }

    pub(super) fn job(&self, name: &str) -> Option<&JobSettings> {
        self.settings.jobs.iter().find(|job| job.name == name)
    }

    pub(super) fn timetables(&self) -> Vec<Timetable> {
        let timetable = |job: &JobSettings| Timetable {
            job: job.name.clone(),
            remotes: job.to.iter().map(|remote| remote.name.clone()).collect(),
            schedule: job.schedule.clone(),
        };
        self.settings.jobs.iter().map(timetable).collect()
    }
}

/// Reads and checks all of a configuration file, away from the loop.
pub(super) async fn load(file: &Path) -> Result<Settings, ConfigFault> {
    let path = file.to_owned();
    match spawn_blocking(move || config::load(&path)).await {
        Ok(settings) => settings,
        Err(fault) => Err(ConfigFault::Unreadable {
            file: file.to_owned(),
            message: format!("could not be read because of a bug: {fault}"),
            hint: None,
        }),
    }
}
