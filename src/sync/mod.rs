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

use crate::config::{ConfigFault, JobSettings, RemoteSettings, RemoteTemplate, Repository};
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

use glance::{Reach, agreement};
use pass::{Left, pass, stopped};
use progress::Begun;
use side::{Opened, SourceSide};

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
        match job.from.find() {
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
    let (counter, is_remote, source) = (opened.counter(), opened.is_remote(), Arc::clone(opened.source()));
    let stopped = || Err(SourceFault { message: stopped().message, hint: "run again".to_owned() });
    let read = async { run.stop.run_until_cancelled(opened.read(&needs)).await.unwrap_or_else(stopped) };
    let read = read.map(Arc::new).shared();
    let pairs = settings.into_iter().zip(begun).map(|(settings, begun)| {
        let origin = Origin { source: &source, is_remote, read: read.clone() };
        AssertUnwindSafe(sync_pair(job, origin, settings, run, begun)).catch_unwind()
    });
    // A bug in the pass over one pair costs the others nothing: they end theirs before it goes on here.
    let ended = join_all(pairs).await;
    report.remotes = ended.into_iter().collect::<Result<_, _>>().unwrap_or_else(|panic| resume_unwind(panic));
    if let Err(fault) = &*read.await {
        (report.error, report.hint) = (Some(fault.message.clone()), Some(fault.hint.clone()));
    }
    report.requests = counter();
    report
}

/// The side that the tags of some pairs come from, being read.
struct Origin<'a, Read> {
    source: &'a Arc<dyn Source>,
    is_remote: bool,
    /// Done once, whichever pair asks first.
    read: Read,
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
    origin: Origin<'_, impl Future<Output = Arc<Result<SourceSide, SourceFault>>> + Clone>,
    settings: Result<RemoteSettings, ConfigFault>,
    run: &Run,
    begun: Begun<'_>,
) -> RemoteReport {
    let began = Timestamp::now();
    let mut report = RemoteReport::new(&begun.pair().remote);
    let Origin { source, is_remote, read } = origin;
    // What objects a remote gives is known once it was listed.
    let is_readable = !is_remote || read.clone().await.is_ok();
    let look = async {
        let reach = Reach::connect(settings?, source.objects(), run);
        let (reach, agreement) = join(reach, agreement(begun.pair(), run)).await;
        begun.looks(&reach.transport);
        let glance = if is_readable { reach.glance(agreement, run).await } else { None };
        Ok::<_, ConfigFault>((reach, glance))
    };
    // Each pair waits for its source and for its own remote only.
    let (side, looked) = join(read, look).await;
    let side = match &*side {
        Ok(side) => side,
        Err(fault) => {
            // Every pair of this source is unknown now, and has to look so to whoever asks later.
            if let Ok((reach, _)) = looked {
                reach.count(&mut report);
            }
            report.fail(fault.message.clone(), Some(fault.hint.clone()));
            end_pass(begun.pair(), &mut report, began, Left::default(), run).await;
            return report;
        }
    };
    let passed = match looked {
        Ok(looked) => pass(job, side, looked, run, &begun, &mut report).await,
        Err(fault) => Err(fault.into()),
    };
    let left = match passed {
        Ok(left) => left,
        Err(fault) => {
            tracing::warn!(error = fault.message, hint = fault.hint, "A pair could not be synchronised.");
            if fault.nowhere {
                report.hold(fault.message, fault.hint);
            } else {
                report.fail(fault.message, fault.hint);
            }
            Left::default()
        }
    };
    end_pass(begun.pair(), &mut report, began, left, run).await;
    report
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
