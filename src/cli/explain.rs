//! `tagsyncd explain`: why one tag stands as it does.

use std::os::unix::ffi::OsStrExt as _;
use std::sync::Arc;

use super::output::{Failure, Output};
use super::sync::{block_on, choose, ledger_failure, load, state_directory};
use super::{Common, ExitCode, ExplainOptions};
use crate::config::{JobSettings, RemoteTemplate, Repository, nearest};
use crate::http::Pool;
use crate::ledger::{LedgerRead, SqliteLedger};
use crate::report::{Explanation, Explanations};
use crate::sync::{Grace, Question, explain as answer, names_like};
use crate::tag::TagName;
use crate::text::Printable;

pub(super) fn explain(common: &Common, options: &ExplainOptions, output: &Output) -> Result<ExitCode, Failure> {
    let settings = load(common)?;
    let job = choose(&settings, std::slice::from_ref(&options.job))?[0];
    let tag = TagName::new(options.tag.as_bytes()).map_err(|fault| {
        let shown = Printable::new(options.tag.as_bytes()).to_string();
        Failure::usage(format!("`{shown}` can be no tag: {fault}"))
    })?;
    let (repositories, remotes) = (repositories(job, options)?, remotes(job, options)?);
    let directory = state_directory(common, Some(&settings))?;
    let ledger = SqliteLedger::open_read_only(&directory).map_err(ledger_failure)?;
    // A daemon's passes wait with deletions; somebody who runs `--sync` asks for them.
    let grace = if directory.service().is_some() { Grace::Keep } else { Grace::Skip };
    let pool = (!options.offline).then(|| Arc::new(Pool::new()));
    let pairs = block_on(async {
        let mut pairs = Vec::new();
        for repository in &repositories {
            for remote in &remotes {
                let question = Question { job, repository, remote, tag: &tag, file: &settings.source, grace };
                let ledger = ledger.as_ref().map(|ledger| ledger as &dyn LedgerRead);
                pairs.push(answer(&question, ledger, pool.as_ref()).await.map_err(ledger_failure)?);
            }
        }
        if pairs.iter().all(Explanation::is_nowhere) {
            return Err(unknown_tag(&tag, &repositories, &remotes, pool.as_ref()).await);
        }
        Ok(pairs)
    })?;
    let code = if pairs.iter().any(|pair| pair.incomplete) { ExitCode::Failed } else { ExitCode::Done };
    let explanations = Explanations { version: 1, pairs };
    output.result(&explanations, explanations.to_text())?;
    Ok(code)
}

fn repositories(job: &JobSettings, options: &ExplainOptions) -> Result<Vec<Repository>, Failure> {
    let mut found = job.from.find().map_err(|fault| {
        let failure = Failure::new(ExitCode::Failed, fault.to_string());
        fault.hint.into_iter().fold(failure, Failure::hint)
    })?;
    if let Some(name) = &options.repository {
        let known: Vec<String> = found.iter().map(|repository| repository.name.clone()).collect();
        found.retain(|repository| repository.name == *name);
        if found.is_empty() {
            return Err(unknown("repository", name, &job.name, &known));
        }
    }
    Ok(found)
}

fn remotes<'a>(job: &'a JobSettings, options: &ExplainOptions) -> Result<Vec<&'a RemoteTemplate>, Failure> {
    let chosen = |remote: &&RemoteTemplate| options.remote.as_ref().is_none_or(|name| remote.name == *name);
    let found: Vec<&RemoteTemplate> = job.to.iter().filter(chosen).collect();
    match &options.remote {
        Some(name) if found.is_empty() => {
            let known: Vec<String> = job.to.iter().map(|remote| remote.name.clone()).collect();
            Err(unknown("remote", name, &job.name, &known))
        }
        Some(_) | None => Ok(found),
    }
}

fn unknown(kind: &str, name: &str, job: &str, known: &[String]) -> Failure {
    let failure = Failure::usage(format!("job `{job}` has no {kind} `{}`", Printable::new(name)));
    match nearest(name, known.iter().map(String::as_str)) {
        Some(meant) => failure.hint(format!("did you mean `{meant}`?")),
        None => failure.hint(format!("it has: {}", known.join(", "))),
    }
}

/// No side has it: the names that may be meant, also by what a remote calls them.
async fn unknown_tag(
    tag: &TagName,
    repositories: &[Repository],
    remotes: &[&RemoteTemplate],
    pool: Option<&Arc<Pool>>,
) -> Failure {
    let failure = Failure::usage(format!("no side has a tag `{tag}`"));
    let mut names = Vec::new();
    for repository in repositories {
        let found = names_like(repository, pool).await;
        for remote in remotes {
            let Ok(settings) = remote.for_repository(&repository.name) else { continue };
            if let Some(meant) = found.iter().find(|name| settings.mapping.to_remote(name).as_ref() == Ok(tag)) {
                return failure
                    .hint(format!("that is what `{meant}` is called on `{}`: ask for `{meant}`", remote.name));
            }
        }
        names.extend(found);
    }
    match nearest(&tag.to_string(), names.iter().filter_map(TagName::as_str)) {
        Some(meant) => failure.hint(format!("did you mean `{meant}`?")),
        None => failure.hint("`tagsyncd plan -v` lists every name"),
    }
}
