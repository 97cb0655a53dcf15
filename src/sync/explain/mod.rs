//! Why one name of one pair stands as it does: both sides and the memory are asked about this name only, and then the
//! same rules as in a pass.

mod answer;
mod sides;

use std::sync::Arc;

use super::side::Opened;
use super::{Grace, remote_rules};
use crate::config::{JobSettings, Place, RemoteTemplate, Repository, Source as ConfigSource};
use crate::http::Pool;
use crate::ledger::{LedgerFault, LedgerRead, NameState, Pair};
use crate::plan::resolve;
use crate::provider::Fact;
use crate::report::{Conclusion, Explanation, FactReport, Presence, SideReport};
use crate::source::{Messages, SourceFault};
use crate::tag::TagName;
use answer::Answer;
use sides::{Far, Looked, Near, record_report};

/// What the question is about.
pub struct Question<'a> {
    /// The job.
    pub job: &'a JobSettings,
    /// One of its repositories.
    pub repository: &'a Repository,
    /// One of its remotes.
    pub remote: &'a RemoteTemplate,
    /// The tag, by its name in the source.
    pub tag: &'a TagName,
    /// The file that holds the rules.
    pub file: &'a ConfigSource,
    /// Whether a deletion waits in the next pass, as it does where that pass comes by itself.
    pub grace: Grace,
}

/// Answers the question. `pool` is what the remote is asked through; without one it is not asked.
pub async fn explain(
    question: &Question<'_>,
    ledger: Option<&dyn LedgerRead>,
    pool: Option<&Arc<Pool>>,
) -> Result<Explanation, LedgerFault> {
    let Question { job, repository, remote, tag, .. } = question;
    let pair = Pair { job: job.name.clone(), repository: repository.name.clone(), remote: remote.name.clone() };
    let memory = match ledger {
        Some(ledger) => ledger.read_name(&pair, tag).await?,
        None => NameState::default(),
    };
    let settings = match remote.for_repository(&repository.name) {
        Ok(settings) => settings,
        Err(fault) => return Ok(unusable(&pair, tag, fault.to_string())),
    };
    let opened = open(repository, pool).await;
    let source = opened.as_ref().map(|opened| &*opened.source).map_err(Clone::clone);
    let near = Near::read(source, tag, &settings).await;
    let allows_loss = |name: &TagName| settings.keys.allows_loss(name);
    let remote_rules = remote_rules(&settings, &allows_loss);
    let name = remote_rules.place(tag);
    let far = match (&name, pool) {
        (Ok(name), Some(pool)) => Far::read(&settings, pool, name, near.read_from(tag, &settings), &near).await,
        (Ok(_) | Err(_), _) => Far::default(),
    };
    let looked = Looked { near: &near, far: &far };
    let resolved = near.tag.as_ref().ok().and_then(Option::as_ref);
    let resolved = resolved.map(|found| resolve(tag, found, remote_rules, &looked));
    let wanted = resolved.as_ref();
    let record = memory.record.as_ref().filter(|record| name.as_ref() == Ok(&record.remote_name));
    let answer =
        Answer { question, settings: &settings, remote_rules, memory: &memory, record, near: &near, far: &far, wanted };
    let (rules, verdict) = answer.judge(name.as_ref());
    Ok(Explanation {
        job: pair.job,
        repository: pair.repository,
        remote: pair.remote,
        place: settings.keys.describe(),
        tag: (*tag).clone(),
        name: name.ok(),
        source: near.report(resolved.as_ref()),
        record: record_report(&memory),
        there: far.report(),
        facts: far.facts.iter().map(|Fact { what, says }| FactReport { what, says: says.clone() }).collect(),
        rules,
        verdict: verdict.word,
        reason: verdict.reason,
        next: verdict.next,
        incomplete: near.tag.is_err()
            || matches!(near.notes, Some(Err(_)))
            || matches!(far.tag, Some(Err(_)))
            || matches!(far.read_from, Some(Err(_))),
        remembers_nothing: memory.record.is_none() && memory.unsettled.is_none() && memory.pin.is_none(),
        is_anothers: matches!(near.tag, Ok(None)) && memory.record.is_none() && !near.rivals.is_empty(),
    })
}

/// Opens the source, where it may be asked: a remote only through a pool.
async fn open(repository: &Repository, pool: Option<&Arc<Pool>>) -> Result<Opened, SourceFault> {
    match (&repository.place, pool) {
        (_, Some(pool)) => Opened::open(repository, pool).await,
        (Place::Directory(_), None) => Opened::open(repository, &Arc::new(Pool::new())).await,
        (Place::Remote(remote), None) => Err(SourceFault {
            message: format!("remote `{}`, where the tags come from, was not asked", remote.name),
            hint: "ask without `--offline`".to_owned(),
        }),
    }
}

/// The names in the source, of which the asked-for one may be a slip.
pub async fn names_like(repository: &Repository, pool: Option<&Arc<Pool>>) -> Vec<TagName> {
    let Ok(Opened { source, .. }) = open(repository, pool).await else { return Vec::new() };
    let read = source.read_tags(Messages::Skip).await;
    read.map(|snapshot| snapshot.iter().map(|(name, _)| name.clone()).collect()).unwrap_or_default()
}

fn unusable(pair: &Pair, tag: &TagName, fault: String) -> Explanation {
    let side = || SideReport { presence: Presence::NotAsked, value: None, remarks: Vec::new() };
    Explanation {
        job: pair.job.clone(),
        repository: pair.repository.clone(),
        remote: pair.remote.clone(),
        place: String::new(),
        tag: tag.clone(),
        name: None,
        source: side(),
        record: side(),
        there: side(),
        facts: Vec::new(),
        rules: Vec::new(),
        verdict: Conclusion::Unknown,
        reason: Some(fault),
        next: "correct the remote's configuration".to_owned(),
        incomplete: true,
        remembers_nothing: false,
        is_anothers: false,
    }
}
