//! Draws the plan: every name that exists anywhere gets exactly one verdict.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::{
    Delay, Held, HoldKind, Judgement, Neighbours, Plan, PlannedChange, Policy, Resolved, Subject, Timing, Waiting,
    Wanted, judge, resolve,
};
use crate::ledger::{Action, Note, Pin, Record, RecordChange, Refusal};
use crate::provider::Capabilities;
use crate::tag::{
    NameMapping, NamePatterns, RemoteSnapshot, ResolveRule, Selection, SourceSnapshot, SourceTag, TagName,
};

/// What is known of the two sides and of the last agreement.
#[derive(Clone, Copy, Debug)]
pub struct Sides<'a> {
    /// The complete source.
    pub source: &'a SourceSnapshot,
    /// The last agreed values by source name; empty when they were lost or voided.
    pub records: &'a BTreeMap<TagName, Record>,
    /// The complete remote.
    pub remote: &'a RemoteSnapshot,
    /// Changes that the remote refused before and that are not due to be offered again.
    pub refusals: &'a BTreeMap<TagName, Refusal>,
    /// Names with a write whose end is not known.
    pub open: &'a BTreeSet<TagName>,
    /// Names that a person put back against the source.
    pub pins: &'a BTreeMap<TagName, Pin>,
    /// The moment, and what happened lately.
    pub timing: Timing<'a>,
}

/// What the job says about names.
#[derive(Clone, Debug)]
pub struct Rules {
    /// What may be done at all.
    pub policy: Policy,
    /// Which names are in scope.
    pub selection: Selection,
    /// Names whose first value is pinned.
    pub immutable: NamePatterns,
    /// Names that are never moved and never deleted.
    pub protected: NamePatterns,
}

/// What the remote says about names.
#[derive(Clone, Copy)]
pub struct RemoteRules<'a> {
    /// What the kind of API can do.
    pub capabilities: &'a Capabilities,
    /// What names are called there.
    pub mapping: &'a NameMapping,
    /// How a tag's target there is found.
    pub rule: &'a ResolveRule,
    /// Whether annotations are compared.
    pub compare_annotations: bool,
    /// Whether a deletion of this remote name may take along what is attached to it.
    pub allows_loss: &'a (dyn Fn(&TagName) -> bool + Sync),
}

impl RemoteRules<'_> {
    /// What a source name is called on the remote; an error says why it can have no place there.
    pub fn place(&self, tag: &TagName) -> Result<TagName, Unplaceable> {
        let name = self.mapping.to_remote(tag).map_err(|fault| Unplaceable {
            reason: fault.to_string(),
            hint: "change the mapping, or exclude it by `tags`",
        })?;
        match self.rule.reads_from() {
            Some(template) if template.can_make(&name) => Err(Unplaceable {
                reason: format!("`{name}` could come from the template `{template}`, and such tags are only read"),
                hint: "change `add_prefix` or the template, or exclude it by `tags`",
            }),
            Some(_) | None => Ok(name),
        }
    }

    /// Whether this name on the remote is one that targets are read from, so that it is in no scope.
    pub(super) fn only_reads(&self, name: &TagName) -> bool {
        self.rule.reads_from().is_some_and(|template| template.can_make(name))
    }
}

/// Why a source name can have no place on a remote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unplaceable {
    /// Why, in a sentence.
    pub reason: String,
    /// What to do.
    pub hint: &'static str,
}

/// Draws the plan. The same inputs give the same plan, byte for byte.
pub fn draw(sides: Sides<'_>, rules: &Rules, remote_rules: RemoteRules<'_>) -> Plan {
    let mut drawing = Drawing { sides, rules, remote_rules, plan: Plan::default() };
    let claims = drawing.claims();
    drawing.judge_the_claims(&claims);
    drawing.judge_the_unclaimed(&claims);
    drop(claims);
    drawing.end_pins();
    let mut plan = drawing.plan;
    clear_the_way(&mut plan, sides.remote, remote_rules);
    // A name has one change.
    plan.changes.sort_unstable_by(|one, other| one.tag.cmp(&other.tag));
    plan.notes.sort_by(|one, other| one.tag.cmp(&other.tag));
    plan.held.sort_by(|one, other| one.tag.cmp(&other.tag));
    plan.waiting.sort_by(|one, other| one.tag.cmp(&other.tag));
    plan
}

/// A source name with its place on the remote.
#[derive(Clone)]
struct Claim<'a> {
    tag: &'a TagName,
    remote_name: TagName,
    source: Option<Result<&'a SourceTag, &'a str>>,
    record: Option<&'a Record>,
}

struct Drawing<'a> {
    sides: Sides<'a>,
    rules: &'a Rules,
    remote_rules: RemoteRules<'a>,
    plan: Plan,
}

impl<'a> Drawing<'a> {
    /// Every name of source and ledger that is in scope, with its place on the remote, sorted by that place. Settles on the
    /// way those that have none: records out of scope or under another mapping are released.
    fn claims(&mut self) -> Vec<Claim<'a>> {
        let Sides { source, records, .. } = self.sides;
        let mut claims = Vec::with_capacity(source.len());
        for (tag, read) in source.iter() {
            if !self.rules.selection.includes(tag) {
                continue;
            }
            self.plan.in_scope += u32::from(read.is_ok());
            match self.remote_rules.place(tag) {
                Ok(remote_name) => {
                    let record = records.get(tag).filter(|record| record.remote_name == remote_name);
                    claims.push(Claim { tag, remote_name, source: Some(read), record });
                }
                Err(Unplaceable { reason, hint }) => {
                    let claim = Claim { tag, remote_name: tag.clone(), source: Some(read), record: None };
                    self.hold(&claim, HoldKind::Inexpressible, &reason, hint);
                }
            }
        }
        for (tag, record) in records {
            let mapped = self.remote_rules.place(tag);
            let in_place = mapped.is_ok_and(|remote_name| remote_name == record.remote_name);
            if !self.rules.selection.includes(tag) || !in_place {
                // Narrowing a filter, or renaming on the remote, lets go of tags; it never deletes any.
                self.plan.notes.push(Note { tag: tag.clone(), record: RecordChange::Drop });
                continue;
            }
            self.plan.owned += 1;
            if source.get(tag).is_none() {
                let remote_name = record.remote_name.clone();
                claims.push(Claim { tag, remote_name, source: None, record: Some(record) });
            }
        }
        claims.sort_unstable_by(|one, other| (&one.remote_name, one.tag).cmp(&(&other.remote_name, other.tag)));
        claims
    }

    /// Judges each claim alone; claims of several names on one place are settled between them first.
    fn judge_the_claims(&mut self, claims: &[Claim<'a>]) {
        // Nearly all names have the same verdict. What is not needed of this is never touched, and given back.
        self.plan.in_sync.reserve_exact(claims.len());
        self.plan.changes.reserve_exact(claims.len());
        for rivals in claims.chunk_by(|one, other| one.remote_name == other.remote_name) {
            match rivals {
                [claim] => self.judge(claim),
                rivals => {
                    if let Some(heir) = self.settle_rivals(rivals) {
                        self.judge(&heir);
                    }
                }
            }
        }
        self.plan.in_sync.shrink_to_fit();
        self.plan.changes.shrink_to_fit();
    }

    /// Of several names that have one place on the remote, the one that may have it. A name that the source still has takes
    /// over from those that it dropped, together with the record, because tagsyncd wrote what is there. Otherwise all are held.
    fn settle_rivals(&mut self, rivals: &[Claim<'a>]) -> Option<Claim<'a>> {
        let present = |claim: &Claim<'_>| matches!(claim.source, Some(Ok(_)));
        if rivals.iter().filter(|claim| claim.source.is_some()).count() == 1
            && let Some(at) = rivals.iter().position(present)
        {
            let mut heir = rivals[at].clone();
            for (_, dropped) in rivals.iter().enumerate().filter(|(place, _)| *place != at) {
                self.plan.notes.push(Note { tag: dropped.tag.clone(), record: RecordChange::Drop });
                heir.record = heir.record.or(dropped.record);
            }
            if let Some(record) = heir.record {
                self.plan.notes.push(Note { tag: heir.tag.clone(), record: RecordChange::Put(record.clone()) });
            }
            return Some(heir);
        }
        let names: Vec<String> = rivals.iter().map(|claim| format!("`{}`", claim.tag)).collect();
        let reason = format!("{} all become `{}` on the remote", names.join(", "), rivals[0].remote_name);
        for claim in rivals {
            let hint = "change `strip_prefix` or `replace`, or exclude one by `tags`";
            self.hold(claim, HoldKind::NamesMeet, &reason, hint);
        }
        None
    }

    fn judge(&mut self, claim: &Claim<'a>) {
        let remote = self.sides.remote.get(&claim.remote_name);
        let source = claim.source.map(|read| read.map(|tag| self.wanted(claim.tag, tag)));
        let is_lost = matches!(&source, Some(Ok(wanted)) if !matches!(wanted.resolved, Resolved::Waiting(_)))
            && claim.record.is_some()
            && remote.is_none();
        let subject = Subject {
            tag: claim.tag,
            aliases: &[],
            remote_name: &claim.remote_name,
            source,
            record: claim.record,
            remote,
            refusal: self.sides.refusals.get(claim.tag),
            pin: self.sides.pins.get(claim.tag),
            open: self.sides.open.contains(claim.tag),
            timing: self.sides.timing,
        };
        let judgement = judge(&subject, self.rules, self.remote_rules, &mut ());
        // What we wrote a moment ago is not lost because a replica does not show it yet.
        let is_unseen = matches!(judgement, Judgement::Waiting { until: Some((Delay::Replica, _)), .. });
        self.plan.vanished += u32::from(is_lost && !is_unseen);
        self.take(claim, judgement);
    }

    /// A source tag with what it should be on the remote.
    fn wanted(&self, name: &TagName, tag: &'a SourceTag) -> Wanted<'a> {
        Wanted { tag, resolved: resolve(name, tag, self.remote_rules, &self.sides) }
    }

    /// Files a judgement under its verdict.
    fn take(&mut self, claim: &Claim<'_>, judgement: Judgement) {
        let tag = claim.tag.clone();
        match judgement {
            Judgement::Nothing => {}
            Judgement::InSync => self.plan.in_sync.push(tag),
            Judgement::Note(record) => self.plan.notes.push(Note { tag, record }),
            Judgement::Unmanaged => self.plan.unmanaged.push(tag),
            Judgement::Retained => self.plan.retained.push(tag),
            Judgement::Held { kind, reason, hint } => self.hold(claim, kind, &reason, hint),
            Judgement::Waiting { to, reason, until } => {
                let remote_name = claim.remote_name.clone();
                self.plan.waiting.push(Waiting { tag, remote_name, to, reason, until });
            }
            Judgement::Change(change) => self.plan.changes.push(*change),
        }
    }

    /// Remote names that neither source nor ledger claims: unmanaged, or under `exact` to be deleted.
    fn judge_the_unclaimed(&mut self, claims: &[Claim<'a>]) {
        for tag in self.sides.remote.tags() {
            let is_claimed = claims.binary_search_by(|claim| claim.remote_name.cmp(&tag.name)).is_ok();
            if is_claimed || self.remote_rules.only_reads(&tag.name) {
                continue;
            }
            let candidates = self.remote_rules.mapping.to_source(&tag.name);
            // A name that stands for one that the source has out of scope is as invisible as that one.
            if candidates.iter().any(|name| self.sides.source.get(name).is_some()) {
                continue;
            }
            let Some(name) = candidates.iter().find(|name| self.rules.selection.includes(name)) else { continue };
            let subject = Subject {
                tag: name,
                aliases: &candidates,
                remote_name: &tag.name,
                source: None,
                record: None,
                remote: Some(tag),
                refusal: self.sides.refusals.get(name),
                pin: self.sides.pins.get(name),
                open: self.sides.open.contains(name),
                timing: self.sides.timing,
            };
            let judgement = judge(&subject, self.rules, self.remote_rules, &mut ());
            let claim = Claim { tag: name, remote_name: tag.name.clone(), source: None, record: None };
            self.take(&claim, judgement);
        }
    }

    /// Lets go of pins that protect nothing any more: no write that goes against them is asked for. A name that is held or
    /// waits may ask for one later, so its pin stays.
    fn end_pins(&mut self) {
        // A source without a tag in scope is more often an unmounted disk than one that agrees.
        if self.sides.pins.is_empty() || self.plan.in_scope == 0 {
            return;
        }
        let Plan { changes, held, waiting, .. } = &self.plan;
        let against = changes.iter().filter(|change| change.undone.is_some()).map(|change| &change.tag);
        let undecided = held.iter().map(|held| &held.tag).chain(waiting.iter().map(|waiting| &waiting.tag));
        let kept: BTreeSet<&TagName> = against.chain(undecided).collect();
        let in_scope = self.sides.pins.keys().filter(|tag| self.rules.selection.includes(tag));
        let (unpinned, overtaken) =
            in_scope.filter(|tag| !kept.contains(tag)).cloned().partition(|tag| self.agrees(tag));
        (self.plan.unpinned, self.plan.overtaken) = (unpinned, overtaken);
    }

    /// Whether the source has of a pinned name what was put back.
    fn agrees(&self, tag: &TagName) -> bool {
        let put_back = self.sides.pins.get(tag).and_then(|pin| pin.value.as_ref());
        match self.sides.source.get(tag) {
            None => put_back.is_none(),
            Some(Ok(source)) => put_back.is_some() && self.wanted(tag, source).resolved.value() == put_back,
            Some(Err(_)) => false,
        }
    }

    fn hold(&mut self, claim: &Claim<'_>, kind: HoldKind, reason: &str, hint: &str) {
        let source = claim.source.and_then(Result::ok).map(|tag| self.wanted(claim.tag, tag));
        self.plan.held.push(Held {
            tag: claim.tag.clone(),
            remote_name: claim.remote_name.clone(),
            kind,
            source: source.and_then(|wanted| wanted.resolved.value().cloned()),
            record: claim.record.map(|record| record.value.clone()),
            remote: self.sides.remote.get(&claim.remote_name).and_then(|tag| tag.value.clone().ok()),
            reason: reason.to_owned(),
            hint: hint.to_owned(),
            dismissed: false,
        });
    }
}

/// git keeps no `a` beside `a/b`: a create whose place is taken waits for a deletion of this plan, or of a later one, or is held.
pub(super) fn clear_the_way(plan: &mut Plan, remote: &RemoteSnapshot, remote_rules: RemoteRules<'_>) {
    let creates = plan.changes.iter().any(|change| change.action == Action::Create);
    if !remote_rules.capabilities.names.are_refs || !creates {
        return;
    }
    let leaving: BTreeMap<TagName, (Delay, Timestamp)> = plan
        .waiting
        .iter()
        .filter(|waiting| waiting.to.is_none())
        .filter_map(|waiting| Some((waiting.remote_name.clone(), waiting.until?)))
        .collect();
    let names_of =
        |action| plan.changes.iter().filter(move |change| change.action == action).map(|change| &change.remote_name);
    let (going, coming): (Names, Names) = (names_of(Action::Delete).collect(), names_of(Action::Create).collect());
    let existing: Names = remote.tags().iter().map(|tag| &tag.name).collect();
    let creates = plan.changes.iter().enumerate().filter(|(_, change)| change.action == Action::Create);
    let obstructed: Vec<(usize, Obstruction)> = creates
        .filter_map(|(at, change)| {
            Some((at, Obstruction::of(&change.remote_name, &coming, &existing, &going, &leaving)?))
        })
        .collect();
    if obstructed.is_empty() {
        return;
    }
    let mut obstructed = obstructed.into_iter().peekable();
    // Collected where they are: there may be as many as there are tags.
    let changes = std::mem::take(&mut plan.changes).into_iter().enumerate().filter_map(|(at, mut change)| {
        match obstructed.next_if(|(obstructed, _)| *obstructed == at).map(|(_, obstruction)| obstruction) {
            None => return Some(change),
            Some(Obstruction::Goes { blockers }) => {
                change.neighbours = Some(Box::new(Neighbours { blockers, ..Neighbours::default() }));
                return Some(change);
            }
            Some(Obstruction::Stays { kind, reason, hint }) => plan.held.push(change.into_held(kind, reason, hint)),
            Some(Obstruction::Waits { reason, until }) => {
                let PlannedChange { tag, remote_name, new: to, .. } = change;
                plan.waiting.push(Waiting { tag, remote_name, to, reason, until });
            }
        }
        None
    });
    plan.changes = changes.collect();
}

/// What is in the way of a create.
enum Obstruction {
    /// Tags that go before it in the same pass.
    Goes { blockers: Vec<TagName> },
    /// What only a person can move.
    Stays { kind: HoldKind, reason: String, hint: &'static str },
    /// Tags that go in a later pass.
    Waits { reason: String, until: Option<(Delay, Timestamp)> },
}

impl Obstruction {
    /// `None` where the way is free.
    fn of(
        name: &TagName,
        coming: &Names<'_>,
        existing: &Names<'_>,
        going: &Names<'_>,
        leaving: &BTreeMap<TagName, (Delay, Timestamp)>,
    ) -> Option<Self> {
        if let Some(rival) = coming.in_the_way_of(name).next() {
            let reason = format!("`{name}` and `{rival}` cannot exist together on the remote");
            let hint = "change `replace`, or exclude one by `tags`";
            return Some(Self::Stays { kind: HoldKind::NamesMeet, reason, hint });
        }
        let blockers: Vec<&TagName> = existing.in_the_way_of(name).collect();
        let stays = blockers.iter().filter(|blocker| !going.has(blocker));
        let (later, stays): (Vec<_>, Vec<_>) =
            stays.map(|blocker| (blocker, leaving.get(*blocker))).partition(|(_, until)| until.is_some());
        if let Some((stays, _)) = stays.first() {
            let reason = format!("`{stays}` is in the way on the remote, and git cannot keep both");
            let hint = "delete or rename the other tag, or exclude one by `tags`";
            return Some(Self::Stays { kind: HoldKind::Blocked, reason, hint });
        }
        if let Some((blocker, until)) = later.into_iter().max_by_key(|(_, until)| until.map(|(_, time)| *time)) {
            let reason = format!("`{blocker}` is in the way on the remote until its deletion, which waits");
            return Some(Self::Waits { reason, until: until.copied() });
        }
        (!blockers.is_empty()).then(|| Self::Goes { blockers: blockers.into_iter().cloned().collect() })
    }
}

/// Names, sorted.
struct Names<'a>(Vec<&'a TagName>);

impl<'a> FromIterator<&'a TagName> for Names<'a> {
    fn from_iter<I: IntoIterator<Item = &'a TagName>>(names: I) -> Self {
        let mut names: Vec<_> = names.into_iter().collect();
        names.sort_unstable();
        Self(names)
    }
}

impl<'a> Names<'a> {
    fn has(&self, name: &TagName) -> bool {
        self.0.binary_search(&name).is_ok()
    }

    /// Those that cannot exist beside this one.
    fn in_the_way_of(&self, name: &TagName) -> impl Iterator<Item = &'a TagName> {
        let find = |parent: &[u8]| self.0.binary_search_by(|other| other.as_bytes().cmp(parent)).ok();
        let above = name.parents().filter_map(find).map(|at| self.0[at]);
        let directory = [name.as_bytes(), b"/"].concat();
        let first = self.0.partition_point(|other| other.as_bytes() <= directory.as_slice());
        let below = self.0[first..].iter().copied().take_while(move |other| other.as_bytes().starts_with(&directory));
        above.chain(below)
    }
}
