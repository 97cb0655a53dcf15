//! One pass over jobs: read both sides, draw the plan, guard it, apply it, remember.
//!
//! Pairs are independent of each other: each is planned, guarded and applied on its own and at the same time as the others, so a
//! remote that does not answer costs nobody else. The report comes in the order of the configuration.

mod explain;
mod finding;
mod glance;
mod pass;
mod probe;
mod progress;
mod remote;
mod side;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::Arc;

use futures_util::future::{join, join_all};
use futures_util::{FutureExt as _, StreamExt as _};
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::config::{ConfigFault, JobSettings, RemoteSettings, RemoteTemplate, RepositoriesFault, Repository};
use crate::http::Pool;
use crate::ledger::{Ledger, LedgerRead, Pair, PassEnd};
use crate::plan::RemoteRules;
use crate::report::{JobReport, RemoteReport, Report, State};
use crate::source::{Messages, Source, SourceFault};
use crate::tag::{NamePatterns, NotesRef, SourceSnapshot, TagName};

pub use explain::{Question, explain, names_like};
pub use finding::{Check, Finding, Outcome};
pub use probe::{Probe, probe};
pub use progress::{Progress, Step, UnderWay};

use glance::{Expected, Reach, expected};
use pass::{Left, PairFault, pass, scope_of, stopped};
use progress::Begun;
use side::{Opened, Origin, SourceSide};

/// Repositories that are read and held in memory at once.
const REPOSITORIES_AT_ONCE: usize = 16;
/// Whether a pass may write. A plan holds no ledger that could be written, so it cannot.
#[derive(Clone)]
pub enum Mode {
    /// Looks only. `None` where nothing was remembered yet.
    Plan(Option<Arc<dyn LedgerRead>>),
    /// Looks and writes.
    Sync(Arc<dyn Ledger>),
}

/// What a run is for.
#[derive(Clone, Debug)]
pub enum Purpose {
    /// Both sides of every pair shall agree.
    Agree,
    /// What another run changed is put back.
    Undo {
        /// That run.
        run: Uuid,
        /// Which names; all where this is `None`.
        tags: Option<NamePatterns>,
    },
}

/// Who hears of a pair as soon as its pass has ended, while others may still be under way. It is called in the midst of things, so
/// it must not wait for anything.
pub type Listener = Arc<dyn Fn(&Pair, &RemoteReport) + Send + Sync>;

/// Whether a deletion waits until its name has been absent for as long as the job says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grace {
    /// It does not: somebody asks for this very pass.
    Skip,
    /// It does: passes come by themselves, perhaps in the midst of somebody's work on the source.
    Keep,
}

/// What all pairs of a run share.
pub struct Run {
    /// The run's id.
    pub id: Uuid,
    /// What it is for.
    pub purpose: Purpose,
    /// Only these pairs; all of the jobs where this is `None`.
    pub pairs: Option<BTreeSet<Pair>>,
    /// Whether it may write.
    pub mode: Mode,
    /// Connections and limits per host.
    pub pool: Arc<Pool>,
    /// Plan ids that a person released with this run.
    pub released: Vec<String>,
    /// Whether deletions wait.
    pub grace: Grace,
    /// Keeps the names behind the counts in the report.
    pub verbose: bool,
    /// Ends the pass between two writes.
    pub stop: CancellationToken,
    /// How far it has come.
    pub progress: Progress,
    /// Who hears of each pair at its end.
    pub ended: Option<Listener>,
}

/// One pass over these jobs.
pub async fn run(jobs: &[&JobSettings], run: &Run) -> Report {
    let mut instances = Vec::new();
    for job in jobs {
        match find(job).await {
            Ok(repositories) => {
                let concerned: Vec<_> = repositories
                    .into_iter()
                    .map(|repository| (concerned(job, &repository, run).len(), repository))
                    .filter(|(remotes, _)| *remotes > 0)
                    .collect();
                run.progress.expect(concerned.iter().map(|(remotes, _)| remotes).sum());
                instances.extend(concerned.into_iter().map(|(_, repository)| (*job, Ok(repository))));
            }
            Err(fault) => instances.push((*job, Err(fault))),
        }
    }
    let jobs = futures_util::stream::iter(instances)
        .map(|(job, repository)| async move {
            match repository {
                Ok(repository) => sync_repository(job, &repository, run).await,
                Err(fault) => JobReport {
                    job: job.name.clone(),
                    repository: job.from.name().to_owned(),
                    error: Some(fault.to_string()),
                    hint: fault.hint,
                    requests: 0,
                    remotes: Vec::new(),
                },
            }
        })
        .buffered(REPOSITORIES_AT_ONCE)
        .collect()
        .await;
    Report { version: 1, run: run.id.to_string(), jobs }
}

/// Looks for a job's repositories, away from what must not wait for a disk.
async fn find(job: &JobSettings) -> Result<Vec<Repository>, RepositoriesFault> {
    let from = job.from.clone();
    let found = tokio::task::spawn_blocking(move || from.find()).await;
    found.unwrap_or_else(|fault| {
        let message = format!("they could not be looked for because of a bug: {fault}");
        Err(RepositoriesFault { message, hint: None })
    })
}

/// One pass over one repository of a job. What is logged below says for which run, job and repository.
#[tracing::instrument(level = "error", name = "run", skip_all, fields(run = %run.id, job = job.name, repository = repository.name))]
pub async fn sync_repository(job: &JobSettings, repository: &Repository, run: &Run) -> JobReport {
    let mut report = JobReport {
        job: job.name.clone(),
        repository: repository.name.clone(),
        error: None,
        hint: None,
        requests: 0,
        remotes: Vec::new(),
    };
    if run.stop.is_cancelled() {
        report.error = Some(stopped().message);
        return report;
    }
    let concerned = concerned(job, repository, run);
    let begin = |template: &&RemoteTemplate| run.progress.begin(pair_of(job, repository, template));
    let begun: Vec<_> = concerned.iter().map(begin).collect();
    let settings: Vec<_> = concerned.iter().map(|template| template.for_repository(&repository.name)).collect();
    let needs = Needs::of(settings.iter().filter_map(|settings| settings.as_ref().ok()));
    let opened = match Opened::open(repository, &run.pool).await {
        Ok(opened) => opened,
        Err(fault) => {
            for begun in begun {
                let mut remote = RemoteReport::new(&begun.pair().remote);
                remote.fail(fault.message.clone(), Some(fault.hint.clone()));
                end_pass(begun.pair(), &mut remote, Timestamp::now(), Left::default(), run).await;
                report.remotes.push(remote);
            }
            (report.error, report.hint) = (Some(fault.message), Some(fault.hint));
            return report;
        }
    };
    let origin = Origin::new(opened, needs, &run.stop);
    let pairs = settings
        .into_iter()
        .zip(begun)
        .map(|(settings, begun)| AssertUnwindSafe(sync_pair(job, &origin, settings, run, begun)).catch_unwind());
    // A bug in the pass over one pair costs the others nothing: they end theirs before it goes on here.
    let ended = join_all(pairs).await;
    report.remotes = ended.into_iter().collect::<Result<_, _>>().unwrap_or_else(|panic| resume_unwind(panic));
    if let Some(fault) = origin.fault() {
        (report.error, report.hint) = (Some(fault.message.clone()), Some(fault.hint.clone()));
    }
    report.requests = origin.opened.requests().unwrap_or_default();
    report
}

/// The remotes of a job that a run is about.
fn concerned<'a>(job: &'a JobSettings, repository: &Repository, run: &Run) -> Vec<&'a RemoteTemplate> {
    let concerns = |pair: &Pair| run.pairs.as_ref().is_none_or(|pairs| pairs.contains(pair));
    job.to.iter().filter(|remote| concerns(&pair_of(job, repository, remote))).collect()
}

fn pair_of(job: &JobSettings, repository: &Repository, remote: &RemoteTemplate) -> Pair {
    Pair { job: job.name.clone(), repository: repository.name.clone(), remote: remote.name.clone() }
}

/// What remotes need to know of a source besides its tags; nothing else is read.
struct Needs {
    messages: Messages,
    notes: BTreeSet<NotesRef>,
}

impl Default for Needs {
    fn default() -> Self {
        Self { messages: Messages::Skip, notes: BTreeSet::new() }
    }
}

impl Needs {
    fn of<'a>(remotes: impl IntoIterator<Item = &'a RemoteSettings>) -> Self {
        remotes.into_iter().fold(Self::default(), Self::and)
    }

    fn and(mut self, settings: &RemoteSettings) -> Self {
        if settings.needs_messages() {
            self.messages = Messages::Read;
        }
        self.notes.extend(settings.rule.notes_ref().cloned());
        self
    }

    /// Reads the tags, and each of these notes once.
    async fn read(&self, source: &dyn Source) -> Result<SourceSnapshot, SourceFault> {
        let mut snapshot = source.read_tags(self.messages).await?;
        for notes_ref in &self.notes {
            let commits: Vec<_> = snapshot.commits().collect();
            // Only names that these notes lead further are unknown then; other remotes of the source need none.
            let notes = source.read_notes(notes_ref, commits.clone()).await.unwrap_or_else(|fault| {
                tracing::warn!(%notes_ref, error = fault.message, "Notes could not be read.");
                commits.into_iter().map(|commit_id| (commit_id, Err(fault.to_string().into()))).collect()
            });
            snapshot = snapshot.with_notes(notes_ref.clone(), notes);
        }
        Ok(snapshot)
    }
}

/// What the planner has to know of a remote.
fn remote_rules<'a>(
    settings: &'a RemoteSettings,
    allows_loss: &'a (dyn Fn(&TagName) -> bool + Sync),
) -> RemoteRules<'a> {
    let RemoteSettings { mapping, rule, compare_annotations, .. } = settings;
    let compare_annotations = *compare_annotations;
    RemoteRules { capabilities: settings.capabilities(), mapping, rule, compare_annotations, allows_loss }
}

#[tracing::instrument(level = "error", name = "pair", skip_all, fields(remote = begun.pair().remote))]
async fn sync_pair(
    job: &JobSettings,
    origin: &Origin<'_>,
    settings: Result<RemoteSettings, ConfigFault>,
    run: &Run,
    begun: Begun<'_>,
) -> RemoteReport {
    let began = Timestamp::now();
    let mut report = RemoteReport::new(&begun.pair().remote);
    let left = match look_and_pass(job, origin, settings, run, &begun, &mut report).await {
        Ok(left) => left,
        Err(PairFault { message, hint, nowhere, of_source }) => {
            // What is wrong with a source is wrong with all its pairs, and said once.
            if !of_source {
                tracing::warn!(error = message, hint, "A pair could not be synchronised.");
            }
            if nowhere {
                report.hold(message, hint);
            } else {
                report.fail(message, hint);
            }
            Left::default()
        }
    };
    end_pass(begun.pair(), &mut report, began, left, run).await;
    report
}

/// The pass over one pair, as far as one has to be made.
async fn look_and_pass(
    job: &JobSettings,
    origin: &Origin<'_>,
    settings: Result<RemoteSettings, ConfigFault>,
    run: &Run,
    begun: &Begun<'_>,
    report: &mut RemoteReport,
) -> Result<Left, PairFault> {
    let settings = settings?;
    report.place = settings.keys.describe();
    let unread = |fault: &SourceFault| PairFault { of_source: true, ..fault.clone().into() };
    if origin.opened.is_remote() {
        // What objects a remote gives is known once it was listed.
        origin.read().await.map_err(unread)?;
    }
    let expected = expected(begun.pair(), run).shared();
    let near = async {
        match expected.clone().await {
            Some(Expected { agreed, memory }) if origin.is_as(&memory.source, agreed.refs.as_ref()).await => None,
            Some(_) | None => Some(origin.read().await),
        }
    };
    let far = async {
        let reach = Reach::connect(settings, origin.opened.source.objects(), run).await;
        begun.looks(&reach.transport);
        let glance = reach.glance(expected.clone().await, run).await;
        (reach, glance)
    };
    // Each pair waits for its source and for its own remote only.
    let (side, (reach, glance)) = join(near, far).await;
    let passed = async {
        // Every pair of a source that cannot be read is unknown now, and has to look so to whoever asks later.
        let side = side.transpose().map_err(unread)?;
        if let Err(fault) = &reach.provider {
            return Err(fault.clone().into());
        }
        let scope = scope_of(job, &reach.settings);
        if let Some(agreed) = glance.as_ref().and_then(|glance| glance.still_agreed(side, &reach.settings, &scope)) {
            report.take_agreement(agreed.counts);
            return Ok(Left { exact_begun: Some(scope), agreed: Some(agreed) });
        }
        let side = match side {
            Some(side) => side,
            None => origin.read().await.map_err(unread)?,
        };
        pass(job, side, (&reach, glance.map(|glance| glance.listing)), run, begun, report).await
    };
    let passed = passed.await;
    reach.count(report);
    passed
}

/// Remembers how the pass over a pair ended, and tells it to whoever listens.
async fn end_pass(pair: &Pair, report: &mut RemoteReport, began: Timestamp, left: Left, run: &Run) {
    remember(pair, report, began, left, run).await;
    if let Some(ended) = &run.ended {
        ended(pair, report);
    }
}

/// A pass that only plans remembers nothing.
async fn remember(pair: &Pair, report: &mut RemoteReport, began: Timestamp, left: Left, run: &Run) {
    let Mode::Sync(ledger) = &run.mode else { return };
    if matches!(run.purpose, Purpose::Undo { .. }) {
        // It says nothing about agreement; the next ordinary pass does.
        if let Err(fault) = ledger.flush().await {
            report.fail(fault.message, Some(fault.hint));
        }
        return;
    }
    let converged = !matches!(report.state, State::Failed | State::Unknown | State::Pending)
        && report.error.is_none()
        && report.plans.iter().all(|stopped| stopped.dismissed);
    let ended = Timestamp::now();
    let end = PassEnd {
        began,
        ended,
        state: report.state.to_string(),
        converged,
        error: report.error.clone(),
        counts: crate::text::to_json(&report.counts).unwrap_or_default(),
        unsettled: report.unsettled(ended),
        agreement: left.agreed.map(|agreed| crate::text::to_json(&agreed).unwrap_or_default()),
    };
    if let Err(fault) = ledger.end_pass(pair, &end, left.exact_begun.as_deref()).await {
        report.fail(fault.message, Some(fault.hint));
    }
}
