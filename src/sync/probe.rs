//! A look at both sides of every pair, to say before the first pass whether it will work. Reads only, and knows no ledger.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::future::join;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::Needs;
use super::finding::{Answers, Check, Finding, Listed, all_skipped, broken_off, counted};
use super::side::Opened;
use crate::config::{ConfigFault, JobSettings, RemoteSettings, Repository};
use crate::http::{Pool, Transport};
use crate::provider::{Access, Connection};
use crate::source::SourceFault;
use crate::tag::{Known, Sightings};

/// Repositories, and remotes, that are asked at once.
const AT_ONCE: usize = 16;

/// What was found about one repository and one remote, whichever jobs join them.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Probe {
    /// The jobs, in the order of the configuration.
    pub jobs: Vec<String>,
    /// The repository.
    pub repository: String,
    /// The remote.
    pub remote: String,
    /// Which tag space that is.
    pub place: String,
    /// How many requests it took.
    pub requests: u64,
    /// One for each thing, always in the same order.
    pub findings: Vec<Finding>,
}

/// A repository and a remote that some jobs join.
struct Joined {
    jobs: Vec<String>,
    /// Why the repository could not be found.
    source: Result<Repository, Finding>,
    name: String,
    settings: RemoteSettings,
}

/// Looks at every pair of these jobs, each once however many jobs have it, in the order of the configuration.
pub async fn probe(jobs: &[&JobSettings]) -> Result<Vec<Probe>, ConfigFault> {
    let pairs = pairs(jobs)?;
    // Both at the same time: neither a slow disk nor a slow remote costs the other anything.
    let pool = Arc::new(Pool::new());
    let (sources, remotes) = join(read_sources(&pairs, &pool), ask_remotes(&pairs, &pool)).await;
    let probes = pairs.into_iter().zip(remotes).map(|(pair, (requests, findings))| {
        let source = match pair.source {
            Ok(repository) => sources.get(&repository).cloned(),
            Err(finding) => Some(finding),
        };
        Probe {
            jobs: pair.jobs,
            repository: pair.name,
            remote: pair.settings.name.clone(),
            place: pair.settings.keys.describe(),
            requests,
            findings: source.into_iter().chain(findings).collect(),
        }
    });
    Ok(probes.collect())
}

fn pairs(jobs: &[&JobSettings]) -> Result<Vec<Joined>, ConfigFault> {
    let mut pairs: Vec<Joined> = Vec::new();
    let mut known: BTreeMap<_, usize> = BTreeMap::new();
    for job in jobs {
        let found = match job.from.find() {
            Ok(found) => found.into_iter().map(|repository| (repository.name.clone(), Ok(repository))).collect(),
            Err(fault) => {
                vec![(job.from.name().to_owned(), Err(Finding::failed(Check::Source, fault.message, fault.hint)))]
            }
        };
        for (name, source) in found {
            for template in &job.to {
                let place = source.as_ref().ok().map(|repository: &Repository| repository.place.clone());
                match known.entry((template.name.clone(), name.clone(), place)) {
                    Entry::Occupied(at) => pairs[*at.get()].jobs.push(job.name.clone()),
                    Entry::Vacant(new) => {
                        new.insert(pairs.len());
                        let settings = template.for_repository(&name)?;
                        let jobs = vec![job.name.clone()];
                        pairs.push(Joined { jobs, source: source.clone(), name: name.clone(), settings });
                    }
                }
            }
        }
    }
    Ok(pairs)
}

/// Reads every repository once, with messages and notes where a remote needs them, as a pass would.
async fn read_sources(pairs: &[Joined], pool: &Arc<Pool>) -> BTreeMap<Repository, Finding> {
    let mut repositories: BTreeMap<_, Needs> = BTreeMap::new();
    for pair in pairs {
        let Ok(repository) = &pair.source else { continue };
        let needs = repositories.remove(repository).unwrap_or_default();
        repositories.insert(repository.clone(), needs.and(&pair.settings));
    }
    futures_util::stream::iter(repositories)
        .map(|(repository, needs)| async move {
            let finding = read_source(&repository, &needs, pool).await;
            (repository, finding)
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await
}

async fn read_source(repository: &Repository, needs: &Needs, pool: &Arc<Pool>) -> Finding {
    let read = async {
        let opened = Opened::open(repository, pool).await?;
        let tags = needs.read(&*opened.source).await?;
        Ok::<_, SourceFault>((tags, opened.requests()))
    };
    let (tags, requests) = match read.await {
        Ok(read) => read,
        Err(fault) => return Finding::failed(Check::Source, fault.message, Some(fault.hint)),
    };
    let count = counted(tags.len() as u64, "tag");
    let count =
        requests.map_or_else(|| count.clone(), |requests| format!("{count} in {}", counted(requests, "request")));
    match tags.iter().filter(|(_, tag)| tag.is_err()).count() {
        0 => Finding::ok(Check::Source, count),
        unknown => Finding::warning(
            Check::Source,
            format!("{count}, of which {unknown} cannot be read and would be held"),
            "`tagsyncd plan` names them; run `git fsck` in the repository",
        ),
    }
}

/// Asks every remote; the answers come in the order of the pairs.
async fn ask_remotes(pairs: &[Joined], pool: &Arc<Pool>) -> Vec<(u64, Vec<Finding>)> {
    let mut answers: Vec<_> = futures_util::stream::iter(pairs.iter().enumerate())
        .map(|(at, pair)| {
            let (settings, pool) = (pair.settings.clone(), Arc::clone(pool));
            async move {
                if pair.source.is_err() {
                    // Without its name there is no telling which tag space was meant.
                    return (at, (0, all_skipped(Check::Source)));
                }
                // In a task of its own, so that a panic costs the others nothing.
                let asked = tokio::spawn(async move { ask(&settings, &pool).await }).await;
                (at, asked.unwrap_or_else(|_panic| (0, broken_off())))
            }
        })
        // Not in their order: whoever is late at the front would keep the rest from beginning.
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    answers.sort_by_key(|(at, _)| *at);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

async fn ask(settings: &RemoteSettings, pool: &Arc<Pool>) -> (u64, Vec<Finding>) {
    let transport = Transport::new(pool, settings.http.clone());
    let compare_annotations = settings.compare_annotations;
    let connection = Connection { transport: transport.clone(), compare_annotations, objects: None };
    let answers = answers(settings, connection).await;
    (transport.requests(), answers.judge())
}

/// Asks what a first pass would ask, and for the credential's own limits; each only if the one before could be answered.
async fn answers(settings: &RemoteSettings, connection: Connection) -> Answers {
    let transport = connection.transport.clone();
    let provider = settings.keys.connect(connection).await;
    let identity = match &provider {
        Ok(provider) => provider.identity().await,
        Err(fault) => Err(fault.clone()),
    };
    let mut credential_access = Access::Untold;
    let mut listing = None;
    if let (Ok(provider), Ok(identity)) = (&provider, &identity) {
        if !matches!(identity.access, Access::ReadOnly { .. }) {
            // A remote that does not answer this may still take the first write.
            credential_access = provider.credential_access().await.unwrap_or(Access::Untold);
        }
        let before = transport.requests();
        // Only how many there are is of interest, so what each of them points at need not be asked for.
        let known = Known { sightings: &Sightings::new(), names: None, matters: &|_| false, now: Timestamp::now() };
        let listed = provider.list_known(&known).await.map(|listed| listed.snapshot);
        let requests = transport.requests() - before;
        listing = Some(listed.map(|remote| Listed { tags: remote.tags().len() as u64, requests }));
    }
    let place = settings.keys.describe();
    Answers { place, observed: transport.observed(), identity, credential_access, listing }
}
