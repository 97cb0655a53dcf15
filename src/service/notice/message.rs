//! What people are told, as JSON. The format is a contract: fields may be added, never renamed.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use super::standing::{Change, is_whole};
use crate::ledger::Matter;

/// How many changes one message tells one by one.
const CHANGES: usize = 50;

/// How many repositories a change names.
const REPOSITORIES: usize = 5;

/// A message to people about pairs whose condition changed, and jobs whose repositories cannot be found.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Message {
    /// The version of this format.
    pub version: u8,
    /// The same for every repetition of one message, and for no other.
    pub id: String,
    /// When the latest of this was seen, as RFC 3339 writes it.
    pub time: String,
    /// The machine.
    pub host: String,
    /// All of it in words, one line for each change; what chats show.
    pub text: String,
    /// How many pairs, and whole jobs, this message is about.
    pub counts: Counts,
    /// How all pairs stand that have ended a pass since the daemon began.
    pub totals: Totals,
    /// What changed, by job, remote and kind of change; at most 50.
    pub changes: Vec<Told>,
    /// How many further changes are not in `changes`.
    pub more: u64,
}

/// How many pairs, and whole jobs, a message is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Counts {
    /// Wait for a person now.
    pub held: u64,
    /// Fail now, or cannot be read.
    pub failing: u64,
    /// Are well again.
    pub recovered: u64,
    /// Are as they were told before, and long so.
    pub lasting: u64,
}

/// How all pairs stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Totals {
    /// Agree, or will by themselves.
    pub good: u64,
    /// Wait for a person.
    pub held: u64,
    /// Fail, or cannot be read.
    pub failing: u64,
}

/// How a pair stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// Both sides agree, or will by themselves.
    Good,
    /// Something waits for a person.
    Held,
    /// Something could not be done, or a side could not be read.
    Failing,
}

impl Condition {
    fn of(matter: Option<Matter>) -> Self {
        match matter {
            None | Some(Matter::Waiting) => Self::Good,
            Some(Matter::Held) => Self::Held,
            Some(Matter::Failed) => Self::Failing,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Held => "held",
            Self::Failing => "failing",
        }
    }
}

/// The same change of one or many repositories of a job on one remote.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Told {
    /// The job.
    pub job: String,
    /// The remote; null where it is about the whole job, whose repositories cannot be found, or can again.
    pub remote: Option<String>,
    /// The repositories, the first few; none where it is about the whole job.
    pub repositories: Vec<String>,
    /// How many repositories.
    pub count: u64,
    /// What was told last.
    pub from: Condition,
    /// How it is now; the same as `from` when it lasts and is told again.
    pub to: Condition,
    /// Since when something is wrong, or was; the earliest of them.
    pub since: String,
    /// For how long, in seconds.
    pub seconds: u64,
    /// Why, for the first of the repositories.
    pub error: Option<String>,
    /// What to do about that.
    pub hint: Option<String>,
    /// How many names are held in all of the repositories.
    pub held: u64,
    /// How many changes failed in all of them.
    pub failed: u64,
    /// The first few names of the first of the repositories, with reasons.
    pub names: Vec<Name>,
    /// Plans that wait for a decision, the first few.
    pub plans: Vec<Plan>,
}

/// A name that is held or failed.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Name {
    /// The source's name.
    pub tag: String,
    /// Why.
    pub reason: String,
}

/// Changes that a guard stopped.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Plan {
    /// The id of exactly these changes.
    pub plan: String,
    /// How many.
    pub count: u32,
    /// What releases them.
    pub approve: String,
}

impl Message {
    /// A message about these changes; `None` where there are none. `totals` are good, held and failing pairs.
    pub(super) fn of(changes: &[Change], totals: [u64; 3], host: &str) -> Option<Self> {
        let time = changes.iter().map(|change| change.seen).max()?;
        let mut counts = Counts::default();
        let mut groups: BTreeMap<_, Vec<&Change>> = BTreeMap::new();
        for change in changes {
            let (from, to) = (Condition::of(change.from), Condition::of(change.to));
            let counter = match to {
                _ if from == to => &mut counts.lasting,
                Condition::Good => &mut counts.recovered,
                Condition::Held => &mut counts.held,
                Condition::Failing => &mut counts.failing,
            };
            *counter += 1;
            // What fails goes first, what is well again last.
            let key = (std::cmp::Reverse(to), &change.pair.job, &change.pair.remote, from);
            groups.entry(key).or_default().push(change);
        }
        let more = groups.len().saturating_sub(CHANGES) as u64;
        let told: Vec<Told> = groups.values().take(CHANGES).filter_map(|group| Told::of(group)).collect();
        let mut lines: Vec<String> = told.iter().map(Told::words).collect();
        if more > 0 {
            lines.push(format!("and {more} further changes"));
        }
        let [good, held, failing] = totals;
        Some(Self {
            version: 1,
            id: Uuid::now_v7().to_string(),
            time: written(time),
            host: host.to_owned(),
            text: format!("tagsyncd on {host}:\n{}", lines.join("\n")),
            counts,
            totals: Totals { good, held, failing },
            changes: told,
            more,
        })
    }
}

impl Told {
    fn of(group: &[&Change]) -> Option<Self> {
        let first = group.first()?;
        let since = group.iter().map(|change| change.since).min()?;
        let seen = group.iter().map(|change| change.seen).max()?;
        let plans = group.iter().flat_map(|change| &change.detail.plans).take(REPOSITORIES).map(|(plan, count)| Plan {
            plan: plan.clone(),
            count: *count,
            approve: format!("tagsyncd approve {plan}"),
        });
        let names = first.detail.names.iter().map(|(tag, reason)| Name { tag: tag.clone(), reason: reason.clone() });
        let named = || group.iter().filter(|change| !is_whole(&change.pair));
        Some(Self {
            job: first.pair.job.clone(),
            remote: named().next().map(|change| change.pair.remote.clone()),
            repositories: named().take(REPOSITORIES).map(|change| change.pair.repository.clone()).collect(),
            count: named().count() as u64,
            from: Condition::of(first.from),
            to: Condition::of(first.to),
            since: written(since),
            seconds: u64::try_from(seen.duration_since(since).as_secs()).unwrap_or_default(),
            error: first.detail.error.clone(),
            hint: first.detail.hint.clone(),
            held: group.iter().map(|change| change.detail.held).sum(),
            failed: group.iter().map(|change| change.detail.failed).sum(),
            names: names.collect(),
            plans: plans.collect(),
        })
    }

    /// In one line.
    fn words(&self) -> String {
        let Self { job, remote, count, from, to, seconds, .. } = self;
        let mut repositories = self.repositories.join(", ");
        if *count > self.repositories.len() as u64 {
            repositories += &format!(" and {} more", count - self.repositories.len() as u64);
        }
        let lasted = lasted(*seconds);
        let how = match (from, to) {
            (from, to) if from == to => format!("still {} for {lasted}", to.word()),
            (_, Condition::Good) => format!("recovered after {lasted}"),
            (Condition::Good, to) => to.word().to_owned(),
            (from, to) => format!("{}, was {}", to.word(), from.word()),
        };
        let mut line = match remote {
            Some(remote) => format!("{job}: {repositories} -> {remote}: {how}"),
            None => format!("{job}: finding its repositories: {how}"),
        };
        if let Some(error) = &self.error {
            line += &format!(": {error}");
        } else if self.held + self.failed > 0 {
            let names: Vec<&str> = self.names.iter().map(|name| name.tag.as_str()).collect();
            line += &format!(": {} held, {} failed ({})", self.held, self.failed, names.join(", "));
        }
        for Plan { count, approve, .. } in &self.plans {
            line += &format!("; `{approve}` releases {count} changes");
        }
        line
    }
}

/// A time in whole seconds.
fn written(time: Timestamp) -> String {
    time.round(jiff::Unit::Second).unwrap_or(time).to_string()
}

/// A length of time in its two largest units.
fn lasted(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min"),
        (0, ..) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}
