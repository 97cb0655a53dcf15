//! The rules, asked in the order of a pass until one decides, and what follows in words.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::sides::{Far, Near};
use super::{Grace, Question};
use crate::config::RemoteSettings;
use crate::ledger::{Action, Decision, Matter, NameState, Parked, Record, RecordChange};
use crate::plan::{
    HoldKind, Judgement, RemoteRules, Resolved, Rule, Rules, Subject, Timing, Unplaceable, Wanted, Witness, judge,
    reshape, standing,
};
use crate::report::{Conclusion, RuleReport};
use crate::tag::{NamePatterns, RemoteTag, TagName, Value};

/// The rules as they are asked.
#[derive(Default)]
struct Heard(Vec<(Rule, bool)>);

impl Witness for Heard {
    fn asked(&mut self, rule: Rule, applies: bool) {
        self.0.push((rule, applies));
    }
}

/// What follows, in words.
pub(super) struct Verdict {
    pub(super) word: Conclusion,
    pub(super) reason: Option<String>,
    pub(super) next: String,
}

impl Verdict {
    fn new(word: Conclusion, reason: Option<String>, next: impl Into<String>) -> Self {
        Self { word, reason, next: next.into() }
    }
}

pub(super) struct Answer<'a> {
    pub(super) question: &'a Question<'a>,
    pub(super) settings: &'a RemoteSettings,
    pub(super) remote_rules: RemoteRules<'a>,
    pub(super) memory: &'a NameState,
    /// What was last agreed, if that was under the name that the tag has on the remote today.
    pub(super) record: Option<&'a Record>,
    pub(super) near: &'a Near,
    pub(super) far: &'a Far,
    /// What the source's tag should be on the remote.
    pub(super) wanted: Option<&'a Resolved>,
}

impl Answer<'_> {
    pub(super) fn judge(&self, remote_name: Result<&TagName, &Unplaceable>) -> (Vec<RuleReport>, Verdict) {
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
            timing: self.timing(),
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
            Rule::DeleteGrace => {
                let since = self.memory.lately.absences.get(self.question.tag);
                let detail = match (since, self.question.grace) {
                    (_, Grace::Skip) => "no daemon runs here, and `--sync` deletes at once".to_owned(),
                    (Some(since), Grace::Keep) => format!("absent from the source since {since:.0}"),
                    (None, Grace::Keep) => "its absence counts from the daemon's next pass on".to_owned(),
                };
                (Some(detail), of_job("delete_grace", None))
            }
            Rule::Unseen => {
                let write = self.memory.lately.writes.get(self.question.tag).filter(|_| applies);
                (write.map(|write| format!("written at {:.0}", write.time)), None)
            }
            Rule::Flapping => {
                let restored = self.memory.lately.restored.get(self.question.tag).and_then(|times| times.last());
                (restored.filter(|_| applies).map(|time| format!("last put back at {time:.0}")), None)
            }
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

    fn timing(&self) -> Timing<'_> {
        let lately = &self.memory.lately;
        let grace = SignedDuration::try_from(self.question.job.delete_grace).unwrap_or(SignedDuration::MAX);
        let grace = (self.question.grace == Grace::Keep).then_some(grace);
        Timing { now: Timestamp::now(), grace, lately }
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
