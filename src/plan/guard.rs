//! The guards: what of a plan may go ahead. The only maker of an [`ApprovedPlan`].

use std::collections::BTreeMap;
use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::{Held, HoldKind, Limits, Plan, PlannedChange, Policy};
use crate::ledger::{Action, Note, Pair, ParkedBy, ParkedSet, Usage};
use crate::tag::{TagName, Target};

/// What the guards have to know beside the plan. All of it is data: the guards look at no clock.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// Whose plan it is; part of the plan id.
    pub pair: &'a Pair,
    /// The remote's tag space; part of the plan id.
    pub space: &'a str,
    /// The job's policy.
    pub policy: Policy,
    /// The job's budgets.
    pub limits: Limits,
    /// What they have used in the last 24 hours.
    pub usage: Usage,
    /// Whether an `exact` pass has completed here before.
    pub exact_begun: bool,
    /// Whether tags come from a remote, whose listing may be of another project or leave something out.
    pub source_is_remote: bool,
    /// Found and needed access level, when the credential may only read.
    pub read_only: Option<(&'a str, &'a str)>,
    /// Plan ids that a person released.
    pub released: &'a [String],
    /// Plan ids that a person dismissed.
    pub dismissed: &'a [String],
    /// The run that this plan undoes, if it does.
    pub undoing: Option<Uuid>,
}

/// Writes that passed the guards. Only [`guard()`] makes one, and only [`crate::apply`] takes one apart.
#[derive(Debug, Default)]
pub struct ApprovedPlan {
    changes: Vec<PlannedChange>,
    notes: Vec<Note>,
}

impl ApprovedPlan {
    /// The writes, sorted by source name.
    pub fn changes(&self) -> &[PlannedChange] {
        &self.changes
    }

    /// The changes of records only.
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// Takes it apart.
    pub fn into_parts(self) -> (Vec<PlannedChange>, Vec<Note>) {
        (self.changes, self.notes)
    }
}

/// A set of changes that stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// Which, under an id that a person can release.
    pub set: ParkedSet,
    /// Whether a person dismissed this very set.
    pub dismissed: bool,
}

/// A plan after the guards.
#[derive(Debug)]
pub struct Guarded {
    /// What may go ahead.
    pub approved: ApprovedPlan,
    /// The rest of the plan: no changes and no notes any more, but what the guards held joined what was held.
    pub plan: Plan,
    /// What a person can release: at most one set that guards parked, and one that was undone.
    pub stopped: Vec<Stopped>,
    /// The ids that a person had released, and that are now among what may go ahead.
    pub released: Vec<String>,
    /// Whether every change that could stop was seen by the guards: otherwise what was parked before is neither confirmed nor
    /// ended by this plan.
    pub conclusive: bool,
}

/// Sends a plan through the guards.
pub fn guard(mut plan: Plan, facts: &Facts<'_>) -> Guarded {
    let mut changes = std::mem::take(&mut plan.changes);
    let mut notes = std::mem::take(&mut plan.notes);
    if let Some((found, needed)) = facts.read_only {
        let hint = "give the credential the role or scope, then run again";
        hold(&mut changes, &mut plan.held, HoldKind::ReadOnly, hint, |_| {
            Some(format!("the credential may only read: it has {found}, and writing needs {needed}"))
        });
    }
    if plan.in_scope == 0 {
        let hint = "check the repository; if all tags are meant to go, delete them on the remote by hand";
        hold(&mut changes, &mut plan.held, HoldKind::EmptySource, hint, |change| {
            let reason =
                "the source has no tag in scope at all: more often an unmounted disk or a wrong path than intent";
            // What a person undoes does not follow from what the source lacks.
            (change.action != Action::Create && !change.cause.undoes()).then(|| reason.to_owned())
        });
    }

    let mut parking = BTreeMap::new();
    park_undone(&changes, &mut parking);
    // What stopped already uses up nobody's budget.
    let going: Vec<&PlannedChange> = changes.iter().filter(|change| !parking.contains_key(&change.tag)).collect();
    park_vanished(&plan, &going, &mut parking);
    park_gone(&plan, &going, facts, &mut parking);
    park_many_to_one(&going, &mut parking);
    park_first_exact_pass(&going, facts, &mut parking);
    park_over_budget(&going, facts, Action::Delete, &mut parking);
    park_over_budget(&going, facts, Action::Move, &mut parking);
    park_blocked(&going, &changes, &mut parking);

    let is_gone = gone(&plan, &going, facts).is_some();
    let (mut stopped, mut released) = (Vec::new(), Vec::new());
    for by in [ParkedBy::Guard, ParkedBy::Undo] {
        let parked: BTreeMap<TagName, String> = parking
            .iter()
            .filter(|(_, (who, _))| *who == by)
            .map(|(tag, (_, why))| (tag.clone(), why.clone()))
            .collect();
        if parked.is_empty() {
            continue;
        }
        let set = identify(&changes, &parked, by, facts);
        if facts.released.contains(&set.plan) {
            for change in changes.iter_mut().filter(|change| parked.contains_key(&change.tag)) {
                change.cause = change.cause.approved();
            }
            released.push(set.plan);
            continue;
        }
        let kind = match by {
            ParkedBy::Guard => HoldKind::Parked,
            ParkedBy::Undo => HoldKind::Undone,
        };
        let dismissed = facts.dismissed.contains(&set.plan);
        let before = plan.held.len();
        let hint = match facts.undoing {
            None => set.hint(),
            Some(run) => format!("`tagsyncd undo {run} --approve {}` puts exactly these {} back", set.plan, set.count),
        };
        hold(&mut changes, &mut plan.held, kind, &hint, |change| parked.get(&change.tag).cloned());
        plan.held[before..].iter_mut().for_each(|held| held.dismissed = dismissed);
        stopped.push(Stopped { set, dismissed });
    }
    let trusted = plan.in_scope > 0 && (!(vanished(&plan) || is_gone) || !released.is_empty());
    if !trusted {
        // A side that may be half there says nothing about what is gone from both, nor that an undo has become needless.
        notes.clear();
        plan.unpinned.clear();
        plan.overtaken.clear();
    }
    plan.held.sort_by(|one, other| one.tag.cmp(&other.tag));
    let conclusive = facts.read_only.is_none() && plan.in_scope > 0;
    Guarded { approved: ApprovedPlan { changes, notes }, plan, stopped, released, conclusive }
}

/// Moves the changes that have a reason to stop from the plan to what is held.
fn hold(
    changes: &mut Vec<PlannedChange>,
    held: &mut Vec<Held>,
    kind: HoldKind,
    hint: &str,
    reason_to_stop: impl Fn(&PlannedChange) -> Option<String>,
) {
    // Collected where they are: there may be as many as there are tags.
    let going = std::mem::take(changes).into_iter().filter_map(|change| match reason_to_stop(&change) {
        Some(reason) => {
            held.push(change.into_held(kind, reason, hint));
            None
        }
        None => Some(change),
    });
    *changes = going.collect();
}

/// Which changes are parked, by whom and why; the first that stops one names the reason.
type Parking = BTreeMap<TagName, (ParkedBy, String)>;

fn park<'a>(changes: impl IntoIterator<Item = &'a PlannedChange>, by: ParkedBy, reason: &str, parking: &mut Parking) {
    for change in changes {
        parking.entry(change.tag.clone()).or_insert_with(|| (by, reason.to_owned()));
    }
}

/// What a person put back stays, although the source asks for something else.
fn park_undone(changes: &[PlannedChange], parking: &mut Parking) {
    for change in changes {
        if let Some(run) = change.undone {
            park(
                [change],
                ParkedBy::Undo,
                &format!("run {run} was undone here, and the source still asks for it"),
                parking,
            );
        }
    }
}

/// More than three and more than a fifth of our tags gone at once is a lost permission or another project more often than intent.
fn vanished(plan: &Plan) -> bool {
    is_many(plan.vanished, plan.owned)
}

fn is_many(lost: u32, owned: u32) -> bool {
    lost > 3 && u64::from(lost) * 5 > u64::from(owned)
}

fn park_vanished(plan: &Plan, changes: &[&PlannedChange], parking: &mut Parking) {
    if vanished(plan) {
        let Plan { vanished, owned, .. } = plan;
        let reason = format!("{vanished} of {owned} tags that were written here are gone from the remote at once");
        park(changes.iter().copied(), ParkedBy::Guard, &reason, parking);
    }
}

/// The same on the other side, where that is a remote: how many of our tags the source has lost since the last pass.
fn gone(plan: &Plan, changes: &[&PlannedChange], facts: &Facts<'_>) -> Option<u32> {
    let lost = |change: &&&PlannedChange| change.action == Action::Delete && change.record.is_some();
    let count = u32::try_from(changes.iter().filter(lost).count()).unwrap_or(u32::MAX);
    (facts.source_is_remote && is_many(count, plan.owned)).then_some(count)
}

fn park_gone(plan: &Plan, changes: &[&PlannedChange], facts: &Facts<'_>, parking: &mut Parking) {
    if let Some(count) = gone(plan, changes, facts) {
        let reason =
            format!("{count} of {} tags that were written here are gone from their source at once", plan.owned);
        park(changes.iter().copied(), ParkedBy::Guard, &reason, parking);
    }
}

/// Release tags that all move to one new commit are the mark of a stolen credential (CVE-2025-30066).
fn park_many_to_one(changes: &[&PlannedChange], parking: &mut Parking) {
    let mut by_target: BTreeMap<Target, Vec<&PlannedChange>> = BTreeMap::new();
    for change in changes.iter().filter(|change| change.action == Action::Move) {
        let Some(new) = &change.new else { continue };
        if change.old.as_ref().is_some_and(|old| old.target != new.target) {
            // Tag objects are all different, and may all lead to one commit.
            let target = match (&new.target, change.commit.as_deref()) {
                (Target::Object(_), Some(commit_id)) => Target::Commit(*commit_id),
                (target, _) => target.clone(),
            };
            by_target.entry(target).or_default().push(change);
        }
    }
    for (target, moves) in by_target.into_iter().filter(|(_, moves)| moves.len() > 3) {
        let reason = format!("{} existing tags would all move to {target:.12}", moves.len());
        park(moves, ParkedBy::Guard, &reason, parking);
    }
}

fn park_first_exact_pass(changes: &[&PlannedChange], facts: &Facts<'_>, parking: &mut Parking) {
    if facts.policy == Policy::Exact && !facts.exact_begun {
        let reason = "the first `exact` pass would overwrite or delete what tagsyncd did not write";
        park(changes.iter().copied().filter(|change| change.foreign), ParkedBy::Guard, reason, parking);
    }
}

/// All of a class or nothing: a mass deletion is not made better by doing its first fifty.
fn park_over_budget(changes: &[&PlannedChange], facts: &Facts<'_>, action: Action, parking: &mut Parking) {
    let (word, limit, percent, used) = match action {
        Action::Delete => ("delete", facts.limits.deletes, facts.limits.deletes_percent, facts.usage.deletes),
        Action::Move => ("move", facts.limits.moves, facts.limits.moves_percent, facts.usage.moves),
        Action::Create => return,
    };
    let planned: Vec<_> = changes.iter().copied().filter(|change| change.action == action).collect();
    let high_water = facts.usage.high_water;
    let share = u64::from(high_water) * u64::from(percent) / 100;
    let budget = u64::from(limit).min(share.max(3));
    if planned.is_empty() || planned.len() as u64 + u64::from(used) <= budget {
        return;
    }
    let reason = format!(
        "{} to {word} and {used} done in the last 24 h exceed the budget of {budget} \
         (at most {limit}, and at most {percent} % of {high_water} tags but never below 3)",
        planned.len()
    );
    park(planned, ParkedBy::Guard, &reason, parking);
}

/// A create whose way was to be cleared by a deletion that is now parked is parked with it.
fn park_blocked(going: &[&PlannedChange], changes: &[PlannedChange], parking: &mut Parking) {
    let staying: BTreeMap<&TagName, ParkedBy> = changes
        .iter()
        .filter_map(|change| parking.get(&change.tag).map(|(by, _)| (&change.remote_name, *by)))
        .collect();
    for change in going {
        if let Some((blocker, by)) =
            change.blockers().iter().find_map(|blocker| staying.get(blocker).map(|by| (blocker, *by)))
        {
            let reason = format!("`{blocker}` is in the way on the remote, and its deletion is parked");
            park([*change], by, &reason, parking);
        }
    }
}

/// Names a set of parked changes by its content, and by whose they are: the same changes of another pair, another tag space
/// or another reason are another question.
fn identify(
    changes: &[PlannedChange],
    parked: &BTreeMap<TagName, String>,
    by: ParkedBy,
    facts: &Facts<'_>,
) -> ParkedSet {
    let mut lines: Vec<String> =
        changes.iter().filter(|change| parked.contains_key(&change.tag)).map(PlannedChange::line).collect();
    lines.sort();
    let count = u32::try_from(lines.len()).unwrap_or(u32::MAX);
    let changes = lines.join("\n");
    let Pair { job, repository, remote } = facts.pair;
    let (space, by_word) = (facts.space, by.word());
    let digest = Sha256::digest(format!("{job}\n{repository}\n{remote}\n{space}\n{by_word}\n{changes}"));
    let plan = digest.iter().take(6).fold(String::new(), |mut hex, byte| {
        // Writing to a string cannot fail.
        let _infallible = write!(hex, "{byte:02x}");
        hex
    });
    ParkedSet { plan, by, changes, count }
}
