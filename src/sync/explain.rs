//! Why one name of one pair stands as it does: both sides and the memory are asked about this name only, and then the
//! same rules as in a pass.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::remote_rules;
use crate::config::{JobSettings, RemoteSettings, RemoteTemplate, Repository, Source as ConfigSource};
use crate::http::{Pool, Transport};
use crate::ledger::{
    Action, Decision, LedgerFault, LedgerRead, Matter, NameState, Ownership, Pair, Parked, Record, RecordChange,
};
use crate::plan::{
    Evidence, HoldKind, Judgement, RemoteRules, Resolved, Rule, Rules, Subject, Unplaceable, Wanted, Witness, judge,
    reshape, resolve, standing,
};
use crate::provider::{Connection, Fact, Fault};
use crate::report::{Conclusion, Explanation, FactReport, Presence, RuleReport, SideReport};
use crate::source::{AnnotatedTag, LocalSource, Messages, Source, SourceFault};
use crate::tag::{
    Attachment, CommitId, NamePatterns, Notes, NotesRef, Peeled, RemoteTag, SourceTag, TagName, Target, Value,
};

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
    let near = Near::read(&repository.path, tag, &settings).await;
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

/// The names in the source, of which the asked-for one may be a slip.
pub async fn names_like(repository: &Repository) -> Vec<TagName> {
    let source = LocalSource::new(&repository.path);
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

/// The source's side of the name.
struct Near {
    tag: Result<Option<SourceTag>, SourceFault>,
    /// Its tag object, where it is an annotated one that can be read.
    annotated: Option<AnnotatedTag>,
    /// The note on its commit, where the remote's rule asks for it.
    notes: Option<Result<Notes, SourceFault>>,
    /// Other names of the source that have the same name on the remote.
    rivals: Vec<TagName>,
}

impl Near {
    async fn read(path: &std::path::Path, name: &TagName, settings: &RemoteSettings) -> Self {
        let source = LocalSource::new(path);
        let mut tag = source.read_tag(name).await;
        let mut annotated = None;
        if let Ok(Some(tag)) = &mut tag
            && let Some(tag_id) = tag.tag_id
        {
            annotated = source.read_annotation(tag_id).await.ok();
            if settings.needs_messages() {
                tag.message = annotated.as_ref().map(|annotated| annotated.message.clone().into_boxed_str());
            }
        }
        let mut notes = None;
        if let (Ok(Some(SourceTag { peeled: Peeled::Commit(commit_id), .. })), Some(notes_ref)) =
            (&tag, settings.rule.notes_ref())
        {
            notes = Some(source.read_notes(notes_ref, vec![*commit_id]).await);
        }
        let mut rivals = Vec::new();
        if let Ok(mapped) = settings.mapping.to_remote(name)
            && (mapped != *name || settings.mapping.to_source(&mapped) != [mapped.clone()])
            && let Ok(all) = source.read_tags(Messages::Skip).await
        {
            let names = all.iter().map(|(other, _)| other);
            rivals.extend(
                names
                    .filter(|other| *other != name && settings.mapping.to_remote(other) == Ok(mapped.clone()))
                    .cloned(),
            );
        }
        Self { tag, annotated, notes, rivals }
    }

    /// The tag on the remote that the rule reads from.
    fn read_from(&self, name: &TagName, settings: &RemoteSettings) -> Option<TagName> {
        let template = settings.rule.reads_from()?;
        let commit_id = match self.tag.as_ref().ok()?.as_ref()?.peeled {
            Peeled::Commit(commit_id) => Some(commit_id),
            Peeled::Tree(_) | Peeled::Blob(_) => None,
        };
        template.name_for(name, commit_id).ok()
    }

    fn report(&self, resolved: Option<&Resolved>) -> SideReport {
        let tag = match &self.tag {
            Ok(Some(tag)) => tag,
            Ok(None) => return SideReport { presence: Presence::Absent, value: None, remarks: Vec::new() },
            Err(fault) => {
                let remarks = vec![fault.to_string()];
                return SideReport { presence: Presence::Unknown, value: None, remarks };
            }
        };
        let value = resolved.and_then(Resolved::value).cloned();
        let mut remarks = Vec::new();
        match tag.peeled {
            Peeled::Commit(_) => {}
            Peeled::Tree(id) => remarks.push(format!("points at the tree {id}")),
            Peeled::Blob(id) => remarks.push(format!("points at the blob {id}")),
        }
        match tag.tag_id {
            Some(tag_id) => remarks.push(format!("annotated, tag object {tag_id}")),
            None => remarks.push("lightweight".to_owned()),
        }
        if let Some(annotated) = &self.annotated {
            remarks.extend(annotated.nested.then(|| "a tag of a tag".to_owned()));
            remarks.extend(
                annotated
                    .signature
                    .map(|kind| format!("signed ({kind}), which tagsyncd recognises and does not verify")),
            );
        }
        SideReport { presence: Presence::There, value, remarks }
    }
}

/// The remote's side of the name; `None` where it was not asked.
#[derive(Default)]
struct Far {
    tag: Option<Result<Option<RemoteTag>, Fault>>,
    /// The tag that the remote's rule reads from.
    read_from: Option<Result<Option<RemoteTag>, Fault>>,
    facts: Vec<Fact>,
}

impl Far {
    async fn read(
        settings: &RemoteSettings,
        pool: &Arc<Pool>,
        name: &TagName,
        read_from: Option<TagName>,
        near: &Near,
    ) -> Self {
        if (settings.capabilities().names.refuses)(name).is_some() {
            // Nothing can be there under such a name.
            return Self { tag: Some(Ok(None)), ..Self::default() };
        }
        let transport = Transport::new(pool, settings.http.clone());
        let connection = Connection { transport, compare_annotations: settings.compare_annotations };
        let asked = async {
            let provider = settings.keys.connect(connection).await?;
            let tag = provider.get_tag(name).await?;
            let signed = near.annotated.as_ref().is_some_and(|annotated| annotated.signature.is_some());
            let facts = match &tag {
                Some(tag) => provider.get_facts(tag, signed).await.unwrap_or_else(|fault| {
                    vec![Fact { what: "more about it", says: format!("could not be read: {fault}") }]
                }),
                None => Vec::new(),
            };
            let read_from = match read_from {
                Some(name) => Some(provider.get_tag(&name).await),
                None => None,
            };
            Ok((tag, read_from, facts))
        };
        match asked.await {
            Ok((tag, read_from, facts)) => Self { tag: Some(Ok(tag)), read_from, facts },
            Err(fault) => Self { tag: Some(Err(fault)), ..Self::default() },
        }
    }

    fn report(&self) -> SideReport {
        let side = |presence, value, remarks| SideReport { presence, value, remarks };
        match &self.tag {
            None => side(Presence::NotAsked, None, Vec::new()),
            Some(Ok(None)) => side(Presence::Absent, None, Vec::new()),
            Some(Err(fault)) => side(Presence::Unknown, None, vec![fault.to_string()]),
            Some(Ok(Some(tag))) => {
                let mut remarks = Vec::new();
                remarks.extend(tag.value.as_ref().err().cloned());
                remarks.extend(tag.protected.then(|| "protected there".to_owned()));
                remarks.extend(tag.attachment.map(|attachment| match attachment {
                    Attachment::Release => "a Release is attached".to_owned(),
                    Attachment::Hidden => "whether a Release is attached is not shown".to_owned(),
                }));
                side(Presence::There, tag.value.as_ref().ok().cloned(), remarks)
            }
        }
    }
}

/// What both sides showed to the rule about targets.
struct Looked<'a> {
    near: &'a Near,
    far: &'a Far,
}

impl Evidence for Looked<'_> {
    fn target_of(&self, _: &TagName) -> Option<Result<&Target, String>> {
        match &self.far.read_from {
            None => Some(Err("the remote was not asked".to_owned())),
            Some(Err(fault)) => Some(Err(fault.to_string())),
            Some(Ok(found)) => {
                let value = found.as_ref()?.value.as_ref();
                Some(value.map(|value| &value.target).map_err(Clone::clone))
            }
        }
    }

    fn note(&self, _: &NotesRef, commit_id: CommitId) -> Option<Result<&str, String>> {
        match &self.near.notes {
            None => Some(Err("it was not read".to_owned())),
            Some(Err(fault)) => Some(Err(fault.to_string())),
            Some(Ok(notes)) => Some(notes.get(&commit_id)?.as_deref().map_err(|reason| reason.to_string())),
        }
    }
}

fn record_report(memory: &NameState) -> SideReport {
    let mut remarks = Vec::new();
    if let Some(pin) = &memory.pin {
        let to = pin.value.as_ref().map_or("absent".to_owned(), |value| format!("{value:.12}"));
        remarks.push(format!("put back to {to} by undoing run {}, at {:.0}", pin.undone, pin.since));
    }
    match &memory.record {
        None => SideReport { presence: Presence::Absent, value: None, remarks },
        Some(record) => {
            let how = match record.ownership {
                Ownership::Created => "written by tagsyncd",
                Ownership::Adopted => "found equal and adopted",
            };
            remarks.insert(0, how.to_owned());
            SideReport { presence: Presence::There, value: Some(record.value.clone()), remarks }
        }
    }
}

/// The rules as they are asked.
#[derive(Default)]
struct Heard(Vec<(Rule, bool)>);

impl Witness for Heard {
    fn asked(&mut self, rule: Rule, applies: bool) {
        self.0.push((rule, applies));
    }
}

/// What follows, in words.
struct Verdict {
    word: Conclusion,
    reason: Option<String>,
    next: String,
}

impl Verdict {
    fn new(word: Conclusion, reason: Option<String>, next: impl Into<String>) -> Self {
        Self { word, reason, next: next.into() }
    }
}

struct Answer<'a> {
    question: &'a Question<'a>,
    settings: &'a RemoteSettings,
    remote_rules: RemoteRules<'a>,
    memory: &'a NameState,
    /// What was last agreed, if that was under the name that the tag has on the remote today.
    record: Option<&'a Record>,
    near: &'a Near,
    far: &'a Far,
    /// What the source's tag should be on the remote.
    wanted: Option<&'a Resolved>,
}

impl Answer<'_> {
    fn judge(&self, remote_name: Result<&TagName, &Unplaceable>) -> (Vec<RuleReport>, Verdict) {
        let mut heard = Heard::default();
        let verdict = self.ask(remote_name, &mut heard);
        (heard.0.into_iter().map(|(rule, applies)| self.report(rule, applies)).collect(), verdict)
    }

    /// Asks every rule in the order of a pass, until one decides.
    fn ask(&self, remote_name: Result<&TagName, &Unplaceable>, heard: &mut Heard) -> Verdict {
        let Question { job, tag, .. } = self.question;
        let selection = &job.selection;
        let by_patterns = selection.patterns.is_empty() || selection.patterns.matches(tag);
        heard.asked(Rule::Tags, !by_patterns);
        let in_scope = selection.includes(tag);
        if by_patterns {
            heard.asked(Rule::Semver, !in_scope);
        }
        if !in_scope {
            let next = match &self.memory.record {
                Some(_) => {
                    "the next pass lets go of its record and leaves the tag where it is; include the name to manage it again"
                }
                None => "include the name by the job's `tags` and `semver`",
            };
            let reason = "it is left out, and so invisible on all three sides".to_owned();
            return Verdict::new(Conclusion::OutOfScope, Some(reason), next);
        }
        heard.asked(Rule::Mapping, remote_name.is_err());
        let remote_name = match remote_name {
            Ok(remote_name) => remote_name,
            Err(Unplaceable { reason, hint }) => {
                // On the remote such a name is as good as not there; only a source tag of this name is held.
                let absent = matches!(self.near.tag, Ok(None));
                let word = if absent { Conclusion::OutOfScope } else { Conclusion::Held };
                return Verdict::new(word, Some(reason.clone()), *hint);
            }
        };
        let rivals = &self.near.rivals;
        heard.asked(Rule::NamesMeet, !rivals.is_empty());
        if let ([heir], Ok(None), Some(_)) = (rivals.as_slice(), &self.near.tag, self.record) {
            let reason = format!("the source dropped it, and `{heir}` takes over its place on the remote");
            return Verdict::new(Conclusion::Forget, Some(reason), "the next pass hands its record over");
        }
        if !rivals.is_empty() {
            let names: Vec<String> = rivals.iter().map(|name| format!("`{name}`")).collect();
            let reason = format!("{} would be called `{remote_name}` on the remote, too", names.join(", "));
            return Verdict::new(
                Conclusion::Held,
                Some(reason),
                "change `strip_prefix` or `replace`, or exclude one by `tags`",
            );
        }
        let assumed = self.record.map(|record| RemoteTag {
            name: remote_name.clone(),
            value: Ok(record.value.clone()),
            message: None,
            protected: false,
            attachment: None,
        });
        let remote = match &self.far.tag {
            Some(Ok(tag)) => tag.as_ref(),
            Some(Err(fault)) => {
                heard.asked(Rule::UnknownOnRemote, true);
                let next = fault.hint.clone().unwrap_or_else(|| "the next pass asks again".to_owned());
                return Verdict::new(Conclusion::Unknown, Some(fault.to_string()), next);
            }
            None => match &assumed {
                Some(_) => assumed.as_ref(),
                None => return self.of_the_last_pass(),
            },
        };
        let fault = self.near.tag.as_ref().err().map(ToString::to_string);
        // Where neither source nor ledger know it, it may once have been any of these.
        let aliases = match (&self.near.tag, self.record) {
            (Ok(None), None) => self.settings.mapping.to_source(remote_name),
            _ => Vec::new(),
        };
        let subject = Subject {
            tag,
            aliases: &aliases,
            remote_name,
            source: match (&self.near.tag, self.wanted) {
                (Ok(Some(tag)), Some(resolved)) => Some(Ok(Wanted { tag, resolved: resolved.clone() })),
                (Ok(_), _) => None,
                (Err(_), _) => fault.as_deref().map(Err),
            },
            record: self.record,
            remote,
            refusal: None,
            pin: self.memory.pin.as_ref(),
            open: self.memory.intent.is_some(),
        };
        let refused = self.memory.refusal.iter().map(|refusal| ((*tag).clone(), refusal.clone()));
        let refused: BTreeMap<_, _> = standing(&refused.collect(), &[], Timestamp::now());
        let subject = Subject { refusal: refused.get(*tag), ..subject };
        let rules = Rules {
            policy: job.policy,
            selection: selection.clone(),
            immutable: job.immutable.clone(),
            protected: job.protected.clone(),
        };
        let judgement = judge(&subject, &rules, self.remote_rules, heard);
        let mut verdict = self.verdict(judgement, heard);
        if self.far.tag.is_none() {
            let assuming = "assuming that the remote still has what was last agreed";
            verdict.reason = Some(match verdict.reason {
                Some(reason) => format!("{reason} ({assuming})"),
                None => assuming.to_owned(),
            });
        }
        verdict
    }

    /// The remote was not asked, and nothing is recorded: what the latest pass saw is all there is.
    fn of_the_last_pass(&self) -> Verdict {
        match &self.memory.unsettled {
            Some(open) => {
                let reason = format!("as of the latest pass: {}", open.reason);
                let conclusion = match open.matter {
                    Matter::Held => Conclusion::Held,
                    Matter::Waiting => Conclusion::Waiting,
                    Matter::Failed => Conclusion::Failed,
                };
                Verdict::new(conclusion, Some(reason), "without `--offline` the remote is asked")
            }
            None => Verdict::new(
                Conclusion::Unknown,
                Some("nothing is recorded, and the remote was not asked".to_owned()),
                "without `--offline` the remote is asked",
            ),
        }
    }

    fn verdict(&self, judgement: Judgement, heard: &mut Heard) -> Verdict {
        let follows = "it follows what the source does next";
        match judgement {
            Judgement::Nothing => {
                Verdict::new(Conclusion::Nothing, Some("no side has it".to_owned()), "create it in the source")
            }
            Judgement::InSync => Verdict::new(Conclusion::InSync, None, follows),
            Judgement::Note(record) => match record {
                RecordChange::Drop => Verdict::new(
                    Conclusion::Forget,
                    Some("gone on both sides".to_owned()),
                    "the next pass drops its record",
                ),
                _ => Verdict::new(
                    Conclusion::Adopt,
                    Some("both sides agree".to_owned()),
                    "the next pass records it; from then on it is managed",
                ),
            },
            Judgement::Unmanaged => Verdict::new(
                Conclusion::Unmanaged,
                Some("on the remote, never ours, and not in the source".to_owned()),
                "create the same tag in the source to have it managed; delete it on the remote by hand to be rid of it",
            ),
            Judgement::Retained => Verdict::new(
                Conclusion::Retained,
                Some("ours, gone from the source, and `create-only` never deletes".to_owned()),
                "delete it on the remote by hand, or change the job's `policy`",
            ),
            Judgement::Held { kind, reason, hint } => {
                let word = if kind == HoldKind::Unknown { Conclusion::Unknown } else { Conclusion::Held };
                Verdict::new(word, Some(reason), hint)
            }
            Judgement::Waiting { reason, .. } => {
                Verdict::new(Conclusion::Waiting, Some(reason), "it heals by itself; a later pass settles it")
            }
            Judgement::Change(change) => {
                let cause = change.cause.word().map(|word| match word {
                    "drift" => "the remote was changed since we wrote".to_owned(),
                    other => other.to_owned(),
                });
                let word = match change.action {
                    Action::Create => Conclusion::Create,
                    Action::Move => Conclusion::Move,
                    Action::Delete => Conclusion::Delete,
                };
                let line = change.line();
                let holds_it = |parked: &&Parked| parked.set.changes.lines().any(|other| other == line);
                let parked = self.memory.parked.iter().find(holds_it);
                heard.asked(Rule::Guards, parked.is_some());
                match (parked, change.undone, &self.memory.unsettled) {
                    (Some(parked), _, _) => self.parked(word, parked),
                    (None, Some(run), _) => Verdict::new(
                        Conclusion::Held,
                        Some(format!("run {run} was undone here, and the source still asks for it")),
                        "make the source agree; or let the next pass park it under an id that `approve` takes",
                    ),
                    (None, None, Some(open)) if open.matter == Matter::Held => Verdict::new(
                        word,
                        Some(format!("the latest pass held it: {}", open.reason)),
                        "the next pass does it if that is mended; what only a whole plan can tell, `tagsyncd plan` draws",
                    ),
                    (None, None, _) => Verdict::new(
                        word,
                        cause,
                        "the next pass does it, if no guard stops it and no other name is in its way: `tagsyncd plan` draws the whole",
                    ),
                }
            }
        }
    }

    fn parked(&self, word: Conclusion, parked: &Parked) -> Verdict {
        let why = self.memory.unsettled.as_ref().map(|open| format!(": {}", open.reason)).unwrap_or_default();
        let reason = format!("its {word} is parked with plan {} since {:.0}{why}", parked.set.plan, parked.since);
        match parked.decision {
            None => Verdict::new(Conclusion::Held, Some(reason), parked.set.hint()),
            Some((Decision::Dismissed, _)) => {
                Verdict::new(Conclusion::Held, Some(format!("{reason}; dismissed")), parked.set.hint())
            }
            Some((Decision::Approved, _)) if parked.release_expired(Timestamp::now()) => Verdict::new(
                Conclusion::Held,
                Some(format!("{reason}; approved more than 24 h ago, which no pass used in time")),
                parked.set.hint(),
            ),
            Some((Decision::Approved, _)) => Verdict::new(
                word,
                Some(format!("{reason}; approved")),
                "the next pass carries it out, if the set is still the same",
            ),
        }
    }

    fn report(&self, rule: Rule, applies: bool) -> RuleReport {
        let (detail, keys) = self.detail(rule, applies);
        RuleReport { rule, title: rule.to_string(), applies, detail, place: keys }
    }

    /// By what a rule applies or does not, and where the configuration says so.
    fn detail(&self, rule: Rule, applies: bool) -> (Option<String>, Option<String>) {
        let Question { job, tag, remote, .. } = self.question;
        let of_job = |key: &str, entry| self.place(&["job", &job.name, key], entry);
        let of_remote = |key: &str| self.place(&["remote", &remote.name, key], None);
        let by_pattern = |patterns: &NamePatterns, key: &str| match patterns.decide(tag) {
            Some(decisive) => {
                let does = if decisive.includes { "includes it" } else { "excludes it" };
                (Some(format!("`{}` {does}", decisive.text)), of_job(key, Some(decisive.at)))
            }
            None if patterns.is_empty() => (None, None),
            None => (Some("no pattern matches it".to_owned()), of_job(key, None)),
        };
        let capabilities = self.settings.capabilities();
        match rule {
            Rule::Tags => by_pattern(&job.selection.patterns, "tags"),
            Rule::Protected => by_pattern(&job.protected, "protected"),
            Rule::Immutable => by_pattern(&job.immutable, "immutable"),
            Rule::Semver => (job.selection.versions.as_ref().map(|range| format!("`{range}`")), of_job("semver", None)),
            Rule::Mapping | Rule::NamesMeet => {
                let keys = ["strip_prefix", "replace", "add_prefix"];
                (None, keys.into_iter().find_map(of_remote))
            }
            Rule::Policy => (Some(self.row()), of_job("policy", None)),
            Rule::Target => (Some(format!("it holds a {}", capabilities.target)), of_remote("provider")),
            Rule::Resolve => {
                let found = match self.wanted {
                    None => None,
                    Some(Resolved::Value(value)) => Some(format!("{value:.12}")),
                    Some(Resolved::Waiting(reason) | Resolved::Unknown(reason)) => Some(reason.clone()),
                    Some(Resolved::Inexpressible { reason, .. }) => Some(reason.clone()),
                };
                let rule = &self.settings.rule;
                let detail = found.map_or_else(|| rule.to_string(), |found| format!("{rule}: {found}"));
                (Some(detail), of_remote("target"))
            }
            Rule::RemoteName => (Some(capabilities.names.summary.to_owned()), of_remote("provider")),
            Rule::Operation => {
                let can = format!("moves: {}, deletes: {}", capabilities.moves, capabilities.deletes);
                (Some(can), of_remote("provider"))
            }
            Rule::Attachment => (None, of_remote("allow_release_loss")),
            Rule::Guards => {
                let as_of = self.memory.last_success.map(|time| format!("as of the pass that ended at {time:.0}"));
                (as_of, of_job("limits", None))
            }
            Rule::Refused => {
                (self.memory.refusal.as_ref().filter(|_| applies).map(|refusal| refusal.detail.clone()), None)
            }
            Rule::Undone => {
                (self.memory.pin.as_ref().filter(|_| applies).map(|pin| format!("run {} was undone", pin.undone)), None)
            }
            Rule::Interrupted | Rule::UnknownInSource | Rule::UnknownOnRemote | Rule::RemoteProtection => (None, None),
        }
    }

    /// The row of the three-way table: equal letters are equal values.
    fn row(&self) -> String {
        let source = self.wanted.and_then(Resolved::value).cloned();
        let remote = match &self.far.tag {
            Some(tag) => tag.as_ref().ok().and_then(Option::as_ref).and_then(|tag| tag.value.clone().ok()),
            None => self.record.map(|record| record.value.clone()),
        };
        let compares = self.settings.compare_annotations;
        let record = self.record.map(|record| reshape(&record.value, source.as_ref(), remote.as_ref(), compares));
        let mut known: Vec<Value> = Vec::new();
        let letters = [source, record, remote].map(|value| match value {
            None => '-',
            Some(value) => {
                let at = known.iter().position(|other| *other == value).unwrap_or_else(|| {
                    known.push(value);
                    known.len() - 1
                });
                ['A', 'B', 'C'][at]
            }
        });
        let [source, record, remote] = letters;
        let policy = self.question.job.policy.word();
        format!("{policy}, source {source}, record {record}, remote {remote}")
    }

    fn place(&self, path: &[&str], entry: Option<usize>) -> Option<String> {
        let line = self.question.file.line_of_key(path, entry)?;
        Some(format!("{}:{line}", self.question.file.file().display()))
    }
}
