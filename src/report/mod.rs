//! What a pass found and did, for people and for scripts.
//!
//! The JSON is a contract: fields may be added, never renamed. The text is for a glance, in any width; it carries
//! styles, and whoever writes it strips them where they are not wanted.

mod explanation;
pub mod status;
pub(crate) mod style;
mod text;

pub use explanation::{Conclusion, Explanation, Explanations, FactReport, Presence, RuleReport, SideReport};

use std::fmt;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::apply::Applied;
use crate::http::Traffic;
use crate::ledger::{Action, Matter, Outcome, ParkedBy, RecordChange, Unsettled};
use crate::plan::{ApprovedPlan, Guarded, Held, HoldKind, PlannedChange, Stopped, Waiting};
use crate::tag::{TagName, Value};

/// A whole run over jobs.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Report {
    /// The version of this format.
    pub version: u8,
    /// The run's id; sorts by time.
    pub run: String,
    /// One entry per job and repository, in the order of the configuration.
    pub jobs: Vec<JobReport>,
}

/// One repository of one job.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct JobReport {
    /// The job's name.
    pub job: String,
    /// The repository's name.
    pub repository: String,
    /// Why the source could not be read.
    pub error: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
    /// HTTP requests sent to the source, for all remotes together, tokens included; 0 where it is on this host.
    pub requests: u64,
    /// One entry per remote, in the order of the configuration.
    pub remotes: Vec<RemoteReport>,
}

/// The state of one source and one remote after a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Nothing was to do.
    InSync,
    /// Changes were made, and now both sides agree.
    Changed,
    /// A plan with changes.
    Pending,
    /// Something waits for a person.
    Held,
    /// Something waits for something that a later pass will find.
    Waiting,
    /// Something could not be done.
    Failed,
    /// A side could not be read; nothing follows.
    Unknown,
}

/// The word of JSON and of the ledger.
impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// One remote.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct RemoteReport {
    /// Its name.
    pub remote: String,
    /// Where and what it is, for people.
    pub place: String,
    /// How both sides stand.
    pub state: State,
    /// The id of the changes that a guard parked.
    pub plan: Option<String>,
    /// All sets that stopped, with what a person said about them.
    pub plans: Vec<StoppedReport>,
    /// The ids of the sets that a person had released, and that this pass took along.
    pub released: Vec<String>,
    /// HTTP requests sent for this pair, tokens included.
    pub requests: u64,
    /// The same requests by what they brought, for whoever watches.
    #[serde(skip)]
    pub traffic: Traffic,
    /// Why the remote or the ledger could not be read or written.
    pub error: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
    /// What concerns the remote as a whole.
    pub notes: Vec<String>,
    /// How many names got which verdict.
    pub counts: Counts,
    /// Creates, moves and deletes.
    pub changes: Vec<ChangeReport>,
    /// Left for a person.
    pub held: Vec<HeldReport>,
    /// Left for a later pass.
    pub waiting: Vec<WaitingReport>,
    /// The earliest time at which another pass would do something by itself: a delay that is then over.
    #[serde(skip)]
    pub revisit: Option<Timestamp>,
    /// Names behind the counts that have no list of their own; only with `-v`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quiet: Option<Quiet>,
}

/// A set of changes that stopped.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct StoppedReport {
    /// The id of exactly these changes.
    pub plan: String,
    /// Who stopped it.
    pub by: ParkedBy,
    /// How many changes.
    pub count: u32,
    /// Whether a person dismissed it.
    pub dismissed: bool,
}

/// How many names got which verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(!default)]
pub struct Counts {
    /// Agreed before the pass.
    pub in_sync: u64,
    /// Created, or to be created.
    pub create: u64,
    /// Moved, or to be moved.
    #[serde(rename = "move")]
    pub moved: u64,
    /// Deleted, or to be deleted.
    pub delete: u64,
    /// Found equal and taken into the ledger.
    pub adopt: u64,
    /// Gone on both sides, or let go of.
    pub forget: u64,
    /// On the remote, never ours.
    pub unmanaged: u64,
    /// Ours, gone from the source, kept by `create-only`.
    pub retained: u64,
    /// Left for a person.
    pub held: u64,
    /// Left alone, as a person wants it.
    pub dismissed: u64,
    /// Left for a later pass.
    pub waiting: u64,
    /// Tried and not done.
    pub failed: u64,
}

/// One write.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ChangeReport {
    /// The source's name.
    pub tag: TagName,
    /// The remote's name.
    pub name: TagName,
    /// What is done.
    pub action: Action,
    /// What the remote has or had.
    pub from: Option<Box<Value>>,
    /// What it shall have or has.
    pub to: Option<Value>,
    /// How it ended; null in a plan.
    pub outcome: Option<Outcome>,
    /// Why it was asked for, or why it was not done.
    pub reason: Option<Box<str>>,
    /// What the remote's copy lacks.
    pub degraded: Option<&'static str>,
}

/// One name left for a person.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct HeldReport {
    /// The source's name.
    pub tag: TagName,
    /// The remote's name.
    pub name: TagName,
    /// Why, in one word.
    pub verdict: HoldKind,
    /// What the source has.
    pub source: Option<Value>,
    /// What was last agreed.
    pub record: Option<Value>,
    /// What the remote has.
    pub remote: Option<Value>,
    /// Why, in a sentence.
    pub reason: String,
    /// What to do.
    pub hint: String,
    /// Whether a person dismissed it; then it does not count as held.
    pub dismissed: bool,
}

/// One name left for a later pass.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct WaitingReport {
    /// The source's name.
    pub tag: TagName,
    /// The remote's name.
    pub name: TagName,
    /// What it will have.
    pub to: Option<Value>,
    /// What it waits for.
    pub reason: String,
}

/// Names that are normally only counted.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct Quiet {
    /// Agreed before the pass.
    pub in_sync: Vec<TagName>,
    /// Taken into the ledger.
    pub adopt: Vec<TagName>,
    /// Gone from the ledger.
    pub forget: Vec<TagName>,
    /// Never ours.
    pub unmanaged: Vec<TagName>,
}

impl RemoteReport {
    /// A remote of which nothing is known yet.
    pub fn new(remote: &str) -> Self {
        Self {
            remote: remote.to_owned(),
            place: String::new(),
            state: State::Unknown,
            plan: None,
            plans: Vec::new(),
            released: Vec::new(),
            requests: 0,
            traffic: Traffic::default(),
            error: None,
            hint: None,
            notes: Vec::new(),
            counts: Counts::default(),
            changes: Vec::new(),
            held: Vec::new(),
            waiting: Vec::new(),
            revisit: None,
            quiet: None,
        }
    }

    /// Nothing could be concluded about this remote, and why.
    pub fn fail(&mut self, error: impl Into<String>, hint: Option<String>) {
        self.state = State::Unknown;
        self.error = Some(error.into());
        self.hint = hint;
    }

    /// There is no such place on the remote, which is for a person to see to; one matter, however many tags would go there.
    pub fn hold(&mut self, error: impl Into<String>, hint: Option<String>) {
        self.fail(error, hint);
        self.state = State::Held;
        self.counts = Counts { held: 1, ..Counts::default() };
    }

    /// Takes in what the guards left: counts, what is held, what waits. `quiet` keeps the names behind the counts.
    pub fn take_plan(&mut self, guarded: &Guarded, quiet: bool) {
        let Guarded { approved, plan, stopped, released, conclusive: _ } = guarded;
        let count = |names: usize| names as u64;
        let (mut adopt, mut forget) = (Vec::new(), Vec::new());
        for note in approved.notes() {
            match note.record {
                RecordChange::Put(_) | RecordChange::Keep => adopt.push(note.tag.clone()),
                RecordChange::Drop => forget.push(note.tag.clone()),
            }
        }
        self.counts = Counts {
            in_sync: count(plan.in_sync.len()),
            adopt: count(adopt.len()),
            forget: count(forget.len()),
            unmanaged: count(plan.unmanaged.len()),
            retained: count(plan.retained.len()),
            ..Counts::default()
        };
        self.held = plan.held.iter().map(HeldReport::new).collect();
        self.waiting = plan.waiting.iter().map(WaitingReport::new).collect();
        self.revisit = plan.waiting.iter().filter_map(|waiting| waiting.until).map(|(_, until)| until).min();
        self.plan = stopped.first().map(|stopped| stopped.set.plan.clone());
        self.plans = stopped.iter().map(StoppedReport::new).collect();
        self.released.clone_from(released);
        self.quiet =
            quiet.then(|| Quiet { in_sync: plan.in_sync.clone(), adopt, forget, unmanaged: plan.unmanaged.clone() });
        self.settle_state();
    }

    /// Takes in that both sides still agree, as an earlier pass has counted it.
    pub fn take_agreement(&mut self, counts: Counts) {
        self.counts = counts;
        self.settle_state();
    }

    /// Adds what is to be done.
    pub fn take_pending(&mut self, approved: &ApprovedPlan) {
        self.changes = approved.changes().iter().map(ChangeReport::new).collect();
        self.settle_state();
    }

    /// Adds what was done.
    pub fn take_applied(&mut self, applied: Vec<Applied>) {
        // Collected where they are: there may be as many as there are tags.
        let written = applied.into_iter().filter_map(|applied| {
            if applied.waits {
                self.waiting.push(WaitingReport::of(applied));
                return None;
            }
            Some(ChangeReport::of(applied))
        });
        let mut written = written.collect();
        if self.changes.is_empty() {
            self.changes = written;
        } else {
            self.changes.append(&mut written);
        }
        self.waiting.sort_by(|one, other| one.tag.cmp(&other.tag));
        self.settle_state();
    }

    /// The names that keep the two sides from agreement.
    pub fn unsettled(&self, now: Timestamp) -> Vec<Unsettled> {
        let unsettled = |tag: &TagName, matter, reason: &str| Unsettled {
            tag: tag.clone(),
            matter,
            reason: reason.to_owned(),
            since: now,
        };
        let held = self
            .held
            .iter()
            .filter(|held| !held.dismissed)
            .map(|held| unsettled(&held.tag, Matter::Held, &held.reason));
        let waiting = self.waiting.iter().map(|waiting| unsettled(&waiting.tag, Matter::Waiting, &waiting.reason));
        let failed = self.changes.iter().filter_map(|change| {
            let matter = match change.outcome? {
                Outcome::Restored | Outcome::Lost => Matter::Held,
                Outcome::Rejected | Outcome::NotSent => Matter::Failed,
                Outcome::Done | Outcome::Already => return None,
            };
            Some(unsettled(&change.tag, matter, change.reason.as_deref().unwrap_or_default()))
        });
        held.chain(waiting).chain(failed).collect()
    }

    fn settle_state(&mut self) {
        let counts = &mut self.counts;
        (counts.create, counts.moved, counts.delete, counts.failed) = (0, 0, 0, 0);
        counts.dismissed = self.held.iter().filter(|held| held.dismissed).count() as u64;
        counts.held = self.held.len() as u64 - counts.dismissed;
        for change in &self.changes {
            let counter = match (change.outcome, change.action) {
                // Half of a move failed: somebody should look, whether or not the next pass can mend it.
                (Some(Outcome::Restored | Outcome::Lost), _) => &mut counts.held,
                (Some(Outcome::Rejected | Outcome::NotSent), _) => &mut counts.failed,
                (_, Action::Create) => &mut counts.create,
                (_, Action::Move) => &mut counts.moved,
                (_, Action::Delete) => &mut counts.delete,
            };
            *counter += 1;
        }
        counts.waiting = self.waiting.len() as u64;
        let done = self.changes.iter().any(|change| change.outcome.is_some());
        self.state = if counts.failed > 0 {
            State::Failed
        } else if counts.held > 0 {
            State::Held
        } else if !self.changes.is_empty() && !done {
            State::Pending
        } else if counts.waiting > 0 {
            State::Waiting
        } else if done {
            State::Changed
        } else {
            State::InSync
        };
    }
}

// What becomes of a list of the one is a list of the other in the same place, without a second one beside it.
const _: () = assert!(size_of::<ChangeReport>() <= size_of::<Applied>());

impl ChangeReport {
    /// What is yet to be done.
    fn new(change: &PlannedChange) -> Self {
        Self {
            tag: change.tag.clone(),
            name: change.remote_name.clone(),
            action: change.action,
            from: change.old.clone(),
            to: change.new.clone(),
            outcome: None,
            reason: change.cause.word().map(Box::from),
            degraded: None,
        }
    }

    /// What was done.
    fn of(applied: Applied) -> Self {
        let Applied { tag, remote_name, action, old, new, cause, outcome, detail, degraded, .. } = applied;
        Self {
            tag,
            name: remote_name,
            action,
            from: old,
            to: new,
            outcome: Some(outcome),
            reason: detail.or_else(|| cause.word().map(Box::from)),
            degraded,
        }
    }
}

impl StoppedReport {
    fn new(stopped: &Stopped) -> Self {
        let Stopped { set, dismissed } = stopped;
        Self { plan: set.plan.clone(), by: set.by, count: set.count, dismissed: *dismissed }
    }
}

impl HeldReport {
    fn new(held: &Held) -> Self {
        Self {
            tag: held.tag.clone(),
            name: held.remote_name.clone(),
            verdict: held.kind,
            source: held.source.clone(),
            record: held.record.clone(),
            remote: held.remote.clone(),
            reason: held.reason.clone(),
            hint: held.hint.clone(),
            dismissed: held.dismissed,
        }
    }
}

impl WaitingReport {
    fn of(Applied { tag, remote_name, new, detail, .. }: Applied) -> Self {
        Self { tag, name: remote_name, to: new, reason: detail.unwrap_or_default().into() }
    }

    fn new(waiting: &Waiting) -> Self {
        Self {
            tag: waiting.tag.clone(),
            name: waiting.remote_name.clone(),
            to: waiting.to.clone(),
            reason: waiting.reason.clone(),
        }
    }
}

/// How a process tells its caller the result; the first that applies wins, from the top.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitCode {
    /// The configuration cannot be used.
    Configuration = 78,
    /// Another instance holds the lock.
    Locked = 75,
    /// A bug in tagsyncd.
    Bug = 70,
    /// The command line cannot be used.
    Usage = 2,
    /// Something failed or could not be read, and a later run may heal it.
    Failed = 1,
    /// Something is held for a person.
    Held = 3,
    /// Changes are pending or waiting; only when asked for.
    Pending = 4,
    /// Done.
    Done = 0,
}

impl Report {
    /// The exit code of a run. `pending` asks for [`ExitCode::Pending`].
    pub fn exit_code(&self, pending: bool) -> ExitCode {
        let remotes = || self.jobs.iter().flat_map(|job| &job.remotes);
        let failed = self.jobs.iter().any(|job| job.error.is_some())
            || remotes().any(|remote| matches!(remote.state, State::Failed | State::Unknown));
        if failed {
            ExitCode::Failed
        } else if remotes().any(|remote| remote.counts.held > 0) {
            ExitCode::Held
        } else if pending && remotes().any(|remote| remote.state == State::Pending || remote.counts.waiting > 0) {
            ExitCode::Pending
        } else {
            ExitCode::Done
        }
    }
}
