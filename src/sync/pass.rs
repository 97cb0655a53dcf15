//! One pass over one pair, from its memory to its report.

mod looks;
mod undo;

use std::borrow::{Borrow, Cow};
use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use futures_util::future::join_all;
use futures_util::{StreamExt as _, TryStreamExt as _};
use jiff::{SignedDuration, Timestamp};

use super::glance::{Agreed, Reach, fingerprint};
use super::side::SourceIdentity;
use super::{Begun, Grace, Mode, Purpose, Run, SourceSide, remote_rules};
use crate::apply::{Applied, Writer, apply, recover};
use crate::config::{ConfigFault, JobSettings, RemoteSettings};
use crate::ledger::{Ledger, LedgerFault, Pair, PairState, Parked, ParkedSet, REPLICA_LAG};
use crate::plan::{
    Basis, Delay, Facts, Guarded, HoldKind, Plan, Policy, Rules, Sides, Timing, draw, guard, leaves_foreign,
    missing_targets, questioned, reverse, scope, standing,
};
use crate::provider::{Access, Fault, FaultKind, Identity, Provider};
use crate::report::{Counts, RemoteReport};
use crate::source::SourceFault;
use crate::tag::{self, Attachment, End, Listed, ProvenNames, RemoteSnapshot, RemoteTag, TagName, Target};

/// An identity is believed for this long, so that an unchanged pass is the listing alone.
const IDENTITY_AGE: SignedDuration = SignedDuration::from_hours(1);
/// Missing targets that are looked for in one pass; with more, each pass looks for another part.
const TARGETS_AT_ONCE: usize = 64;
/// Tags of which it is asked in one pass what is attached to them. More are to be deleted at once by mistake only, and are held.
const ATTACHMENTS_AT_ONCE: usize = 64;

/// Why a pair could not be judged.
pub(super) struct PairFault {
    pub(super) message: String,
    pub(super) hint: Option<String>,
    /// Whether there is no such place on the remote, and never was one for this pair: for a person to make, or to correct.
    pub(super) nowhere: bool,
    /// Whether the source could not be read, which is wrong with all its pairs.
    pub(super) of_source: bool,
}

impl From<Fault> for PairFault {
    fn from(fault: Fault) -> Self {
        Self { message: fault.message, hint: fault.hint, nowhere: false, of_source: false }
    }
}

impl From<SourceFault> for PairFault {
    fn from(fault: SourceFault) -> Self {
        Self { message: fault.message, hint: Some(fault.hint), nowhere: false, of_source: false }
    }
}

impl From<LedgerFault> for PairFault {
    fn from(fault: LedgerFault) -> Self {
        Self { message: fault.message, hint: Some(fault.hint), nowhere: false, of_source: false }
    }
}

impl From<ConfigFault> for PairFault {
    fn from(fault: ConfigFault) -> Self {
        Self { message: fault.to_string(), hint: None, nowhere: false, of_source: false }
    }
}

/// What is to be remembered of a pass besides its report.
#[derive(Default)]
pub(super) struct Left {
    /// The rules that have now had their way here.
    pub(super) exact_begun: Option<String>,
    /// What both sides agree on now, where that is everything.
    pub(super) agreed: Option<Agreed>,
}

/// The pass over one pair.
pub(super) async fn pass(
    job: &JobSettings,
    side: &SourceSide,
    (reach, listing): (&Reach, Option<Result<RemoteSnapshot, Fault>>),
    run: &Run,
    begun: &Begun<'_>,
    report: &mut RemoteReport,
) -> Result<Left, PairFault> {
    let Reach { settings, provider, .. } = reach;
    let (pair, provider, now) = (begun.pair(), Arc::clone(provider.as_ref().map_err(Fault::clone)?), Timestamp::now());
    Pass { job, side, settings, run, begun, pair, provider, now }.run(listing, report).await
}

/// Whether a remembered identity may stand for one that is asked for. A role that only reads is asked for anew each time,
/// because the next run is how a person finds out whether it was mended.
pub(super) fn is_believed(identity: &Identity, confirmed: Timestamp, provider: &dyn Provider, now: Timestamp) -> bool {
    now.duration_since(confirmed) < IDENTITY_AGE
        && !matches!(identity.access, Access::ReadOnly { .. })
        && provider.space().is_none_or(|space| space == identity.space)
}

struct Pass<'a> {
    job: &'a JobSettings,
    side: &'a SourceSide,
    settings: &'a RemoteSettings,
    run: &'a Run,
    begun: &'a Begun<'a>,
    pair: &'a Pair,
    provider: Arc<dyn Provider>,
    /// When this pass began, for all that depends on time.
    now: Timestamp,
}

/// Who answers, and whether that was asked in this pass or is remembered.
struct Known {
    identity: Identity,
    asked_now: bool,
    /// Whether it is another tag space than the remembered one.
    other_space: bool,
    /// The same of the source, where it was asked for, too.
    source: Option<SourceIdentity>,
}

impl Pass<'_> {
    /// The whole pass over the pair, in the order of the contract.
    async fn run(
        &self,
        listing: Option<Result<RemoteSnapshot, Fault>>,
        report: &mut RemoteReport,
    ) -> Result<Left, PairFault> {
        let mut state = self.read_pair().await?;
        self.note_returns(&mut state).await?;
        let mut known = self.identify(&state).await?;
        let is_void = self.bind(&mut state, &known, report).await?;
        let is_open = !state.intents.is_empty();
        let recovered = self.recover(&mut state, report).await?;
        let began = Timestamp::now();
        let mut listed = match listing {
            // Nothing has happened since that a later listing would have to show.
            Some(listing) if !is_void && !is_open => Listed { snapshot: listing?, looks: None },
            Some(_) | None => self.list(&state, self.believed_names(&state)).await?,
        };
        let arrived = self.arrived(&state, &listed.snapshot).await?;
        let mut plan = self.plan(&state, &listed.snapshot, &arrived).await?;
        let mut attachments = BTreeSet::new();
        loop {
            // Only full agreement may rest on who answered an hour ago.
            if !plan.is_quiet() && !known.asked_now {
                known = self.ask_identity(&state).await?;
                if self.bind(&mut state, &known, report).await? {
                    listed = self.list(&state, None).await?;
                }
                plan = self.plan(&state, &listed.snapshot, &arrived).await?;
            }
            // Nor may anything but agreement, which rests on names that are there, rest on an end that was proven before.
            if listed.snapshot.end() == End::AsProven && !agrees(&plan) {
                listed = self.list(&state, None).await?;
                attachments.clear();
                plan = self.plan(&state, &listed.snapshot, &arrived).await?;
                continue;
            }
            // Nor may anything but agreement rest on what a tag pointed at before, nor a deletion on what a listing left out.
            let mut doubtful = listed.doubtful(self.questioned(&plan, &state, &listed.snapshot));
            let unseen = unseen_attachments(&plan, &listed.snapshot, &attachments, self.turn());
            attachments.extend(unseen.iter().cloned());
            doubtful.extend(unseen);
            if doubtful.is_empty() {
                break;
            }
            listed.renew(self.look_at(doubtful).await?);
            plan = self.plan(&state, &listed.snapshot, &arrived).await?;
        }
        let Listed { snapshot: remote, looks } = listed;
        // An end that rests on memory, and looks that do, come of age.
        let is_lasting = state.is_settled() && looks.is_none() && remote.end() != End::AsProven;
        let decisions = self.decisions(&state);
        let guarded = guard(plan, &self.facts(&state, &known, &decisions));
        report.take_plan(&guarded, self.run.verbose);
        decisions.explain_refusals(&guarded, report);
        let Guarded { approved, plan, stopped, released, conclusive } = guarded;
        let Mode::Sync(ledger) = &self.run.mode else {
            report.take_pending(&approved);
            return Ok(Left::default());
        };
        self.begun.applies(approved.changes().len());
        self.remember_looks(&state, &remote, looks.as_ref(), began, ledger).await?;
        let remembers = looks.is_some();
        let settles = plan.held.is_empty() && plan.waiting.is_empty();
        if let Purpose::Undo { run, .. } = &self.run.purpose {
            let before = Timestamp::now();
            let put_back = self.put_back(*run, approved, ledger, &state, &remote).await?;
            self.remember_writes(&state, &put_back, before, remembers, ledger).await?;
            report.take_applied(recovered);
            report.take_applied(put_back);
            return Ok(Left::default());
        }
        self.take_approvals(&released, ledger).await?;
        self.note_absences(&plan, ledger, &state, &remote).await?;
        let foreign = approved.changes().iter().filter(|change| change.foreign).count();
        let before = Timestamp::now();
        let applied = apply(approved, &self.writer(ledger)).await?;
        self.remember_writes(&state, &applied, before, remembers, ledger).await?;
        if remembers {
            self.remember_names(&state, &remote, &applied, began, settles, ledger).await?;
        }
        let overwritten = applied.iter().filter(|applied| applied.foreign && applied.succeeded()).count();
        let agreed = (is_lasting && settles && conclusive && applied.iter().all(Applied::succeeded)).then(|| Agreed {
            fingerprint: fingerprint(&self.side.content, after(&remote, &applied), self.settings, &self.scope()),
            content: self.side.content.clone(),
            refs: self.side.snapshot.refs().cloned(),
            counts: Counts {
                in_sync: plan.in_scope.into(),
                unmanaged: plan.unmanaged.len() as u64,
                retained: plan.retained.len() as u64,
                ..Counts::default()
            },
        });
        let no_open = BTreeSet::new();
        let leaves_foreign = leaves_foreign(&plan, self.sides(&state, &remote, &no_open));
        report.take_applied(recovered);
        report.take_applied(applied);
        if conclusive && (!stopped.is_empty() || !state.parked.is_empty()) {
            let parked: Vec<ParkedSet> = stopped.into_iter().map(|stopped| stopped.set).collect();
            ledger.park(self.pair, &parked, Timestamp::now()).await?;
        }
        // A replica that lags behind may still show what was there before an undo: nothing follows from that so soon.
        let lately = Timestamp::now() - REPLICA_LAG;
        let overtaken =
            plan.overtaken.into_iter().filter(|tag| state.pins.get(tag).is_some_and(|pin| pin.since < lately));
        let unpinned: Vec<TagName> = plan.unpinned.into_iter().chain(overtaken).collect();
        if !unpinned.is_empty() {
            ledger.unpin(self.pair, &unpinned).await?;
        }
        let is_complete = conclusive && overwritten == foreign && !leaves_foreign;
        // Under another policy, strays gather that nobody has approved: a later `exact` pass is a first one again.
        let exact_begun = (is_complete || self.job.policy != Policy::Exact).then(|| self.scope());
        Ok(Left { agreed: agreed.filter(|_| exact_begun.is_some()), exact_begun })
    }

    /// Uses up the approvals that this pass acts on, before it does. One that a person took back meanwhile ends the pass.
    async fn take_approvals(&self, released: &[String], ledger: &Arc<dyn Ledger>) -> Result<(), PairFault> {
        let (with_this_run, of_ledger): (Vec<_>, Vec<_>) =
            released.iter().cloned().partition(|plan| self.run.released.contains(plan));
        if released.is_empty() || ledger.take_approvals(self.pair, &of_ledger, &with_this_run, Timestamp::now()).await?
        {
            return Ok(());
        }
        Err(PairFault {
            message: format!(
                "the approval of plan {} was taken back while this pass was under way",
                of_ledger.join(", ")
            ),
            hint: Some("nothing was written; the next pass goes by what was said last".to_owned()),
            nowhere: false,
            of_source: false,
        })
    }

    async fn read_pair(&self) -> Result<PairState, LedgerFault> {
        let now = Timestamp::now();
        match &self.run.mode {
            Mode::Sync(ledger) => ledger.read_pair(self.pair, now).await,
            Mode::Plan(Some(ledger)) => ledger.read_pair(self.pair, now).await,
            Mode::Plan(None) => Ok(PairState::default()),
        }
    }

    /// The remembered identity while it is fresh and nothing speaks against it, otherwise the remote's answer.
    async fn identify(&self, state: &PairState) -> Result<Known, PairFault> {
        if let Some((identity, confirmed)) = &state.identity
            && is_believed(identity, *confirmed, &*self.provider, Timestamp::now())
            && self.side.may_be(state.source.as_deref())
            && state.intents.is_empty()
        {
            return Ok(Known { identity: identity.clone(), asked_now: false, other_space: false, source: None });
        }
        self.ask_identity(state).await
    }

    async fn ask_identity(&self, state: &PairState) -> Result<Known, PairFault> {
        let identity = self.run.stop.run_until_cancelled(self.provider.identity()).await.ok_or_else(stopped)?;
        let mut identity = identity.map_err(|fault| PairFault {
            nowhere: fault.kind == FaultKind::NotFound && state.identity.is_none(),
            ..PairFault::from(fault)
        })?;
        let source = self.side.identify(state.source.as_deref()).await?;
        let mut other_space = false;
        if let Some((remembered, _)) = &state.identity {
            match self.provider.recognise(&remembered.space, &identity.space) {
                Some(space) => identity.space = space,
                None => other_space = true,
            }
        }
        Ok(Known { identity, asked_now: true, other_space, source: Some(source) })
    }

    /// Binds the memory to who answers, and says whether it is void: when either side is another one than before.
    async fn bind(&self, state: &mut PairState, known: &Known, report: &mut RemoteReport) -> Result<bool, PairFault> {
        // Another path may lead to the same place.
        if known
            .source
            .as_ref()
            .is_some_and(|source| known.identity.space == format!("repository:{}", source.fingerprint))
        {
            return Err(PairFault {
                message: "the tags would go to the very repository that they come from".to_owned(),
                hint: Some("give the job another `from`, or another destination".to_owned()),
                nowhere: false,
                of_source: false,
            });
        }
        let other_source = known.source.as_ref().is_some_and(|source| source.is_other);
        let void = other_source || known.other_space;
        if void {
            let which = match (other_source, self.side.is_remote()) {
                (true, true) => "project that the tags come from",
                (true, false) => "repository behind the path",
                (false, _) => "project behind the URL",
            };
            report.notes.push(format!(
                "identity changed: the {which} is another one than before, so its {} records are void and nothing of \
                 theirs is moved or deleted",
                state.records.len()
            ));
        }
        match (&self.run.mode, &known.source) {
            (Mode::Sync(ledger), Some(source)) => {
                ledger.bind(self.pair, &source.fingerprint, &known.identity, Timestamp::now(), void).await?;
                *state = self.read_pair().await?;
            }
            (Mode::Plan(_), _) if void => *state = PairState::default(),
            (Mode::Sync(_) | Mode::Plan(_), _) => {}
        }
        Ok(void)
    }

    /// The remote's tags. What they point at may be remembered where the API does not list it, except for an undo, which
    /// looks at names of its own.
    async fn list(&self, state: &PairState, names: Option<&ProvenNames>) -> Result<Listed, PairFault> {
        if let Purpose::Undo { .. } = self.run.purpose {
            let snapshot = self.unless_stopped(self.provider.list_tags()).await?;
            return Ok(Listed { snapshot, looks: None });
        }
        let remote_rules = remote_rules(self.settings, &|_| false);
        // Made for those who ask: most listings bring all values by themselves.
        let basis = OnceLock::new();
        let of_sides = || Basis::of(&self.side.snapshot, &state.records, &self.rules(), remote_rules);
        let matters = |name: &TagName| basis.get_or_init(of_sides).has(name, remote_rules);
        let known = tag::Known { sightings: &state.sightings, names, matters: &matters, now: Timestamp::now() };
        self.unless_stopped(self.provider.list_known(&known)).await
    }

    /// Which names may be taken for all. Not in a first `exact` pass: that it left no stray is what ends it.
    fn believed_names<'a>(&self, state: &'a PairState) -> Option<&'a ProvenNames> {
        let begins = self.job.policy == Policy::Exact && state.exact_begun.as_ref() != Some(&self.scope());
        state.names.as_ref().filter(|_| !begins)
    }

    /// The names behind everything in a plan that is more than agreement.
    fn questioned(&self, plan: &Plan, state: &PairState, remote: &RemoteSnapshot) -> BTreeSet<TagName> {
        let open = BTreeSet::new();
        questioned(plan, self.sides(state, remote, &open), remote_rules(self.settings, &|_| false))
    }

    /// What these tags, which were listed, are now.
    async fn look_at(&self, names: Vec<TagName>) -> Result<Vec<RemoteTag>, PairFault> {
        let looks = futures_util::stream::iter(names)
            .map(|name| async move {
                let value = match self.provider.get_tag(&name).await {
                    Ok(Some(tag)) => return Ok(tag),
                    Ok(None) => "it was listed, and is not there now".to_owned(),
                    Err(fault) if fault.kind == FaultKind::Rejected => fault.to_string(),
                    Err(fault) => return Err(fault),
                };
                Ok(RemoteTag { name, value: Err(value), message: None, protected: false, attachment: None })
            })
            .buffer_unordered(self.settings.http.concurrency.max(1));
        self.unless_stopped(looks.try_collect()).await
    }

    /// Settles interrupted writes first thing; a plan only says that there are some.
    async fn recover(&self, state: &mut PairState, report: &mut RemoteReport) -> Result<Vec<Applied>, PairFault> {
        if state.intents.is_empty() {
            return Ok(Vec::new());
        }
        let Mode::Sync(ledger) = &self.run.mode else {
            report.notes.push(format!("{} interrupted writes will be settled first", state.intents.len()));
            return Ok(Vec::new());
        };
        let recovered = recover(&self.writer(ledger), std::mem::take(&mut state.intents)).await?;
        *state = self.read_pair().await?;
        Ok(recovered)
    }

    /// Whose turn it is, where a pass looks at a part only. The last bits of a run's id are random, so every part has its turn
    /// whatever the schedule.
    fn turn(&self) -> usize {
        usize::from(self.run.id.as_bytes()[15])
    }

    /// The targets that the remote had refused for their absence, and that are there now.
    async fn arrived(&self, state: &PairState, remote: &RemoteSnapshot) -> Result<Vec<Target>, PairFault> {
        let turn = self.turn();
        let open = BTreeSet::new();
        let rules = remote_rules(self.settings, &|_| false);
        let missing = missing_targets(self.sides(state, remote, &open), rules, TARGETS_AT_ONCE, turn);
        let looked = join_all(missing.iter().map(|target| self.provider.has_target(target)));
        let looked = self.unless_stopped(async { Ok(looked.await) }).await?;
        // A look that failed has not found anything; that is no reason to give up on the rest. Where there is no look, only
        // another try can tell.
        let arrived = |found: &Result<bool, Fault>| match found {
            Ok(found) => *found,
            Err(fault) => fault.kind == FaultKind::Unsupported,
        };
        let found = missing.into_iter().zip(looked).filter(|(_, found)| arrived(found));
        Ok(found.map(|(target, _)| target).collect())
    }

    async fn plan(&self, state: &PairState, remote: &RemoteSnapshot, arrived: &[Target]) -> Result<Plan, PairFault> {
        let allows_loss = |name: &TagName| self.settings.keys.allows_loss(name);
        let open = state.intents.iter().map(|(_, intent)| intent.tag.clone()).collect();
        let remote_rules = remote_rules(self.settings, &allows_loss);
        let refusals = standing(&state.refusals, arrived, Timestamp::now());
        let sides = Sides { refusals: &refusals, ..self.sides(state, remote, &open) };
        let rules = self.rules();
        Ok(match &self.run.purpose {
            Purpose::Agree => draw(sides, &rules, remote_rules),
            Purpose::Undo { run, tags, .. } => {
                let effects = self.effects(*run, tags.as_ref()).await?;
                reverse(&effects, state.bound, sides, &rules, remote_rules)
            }
        })
    }

    fn rules(&self) -> Rules {
        rules_of(self.job)
    }

    fn scope(&self) -> String {
        scope_of(self.job, self.settings)
    }

    fn sides<'a>(&'a self, state: &'a PairState, remote: &'a RemoteSnapshot, open: &'a BTreeSet<TagName>) -> Sides<'a> {
        let PairState { records, refusals, pins, .. } = state;
        let timing = Timing { now: self.now, grace: self.grace(), lately: &state.lately };
        Sides { source: &self.side.snapshot, records, remote, refusals, open, pins, timing }
    }

    /// How long a deletion waits, if it does.
    fn grace(&self) -> Option<SignedDuration> {
        let grace = SignedDuration::try_from(self.job.delete_grace).unwrap_or(SignedDuration::MAX);
        (self.run.grace == Grace::Keep).then_some(grace)
    }

    /// Forgets the absence of what is back in the source, first thing: whatever becomes of this pass, the return was seen.
    async fn note_returns(&self, state: &mut PairState) -> Result<(), LedgerFault> {
        let Mode::Sync(ledger) = &self.run.mode else { return Ok(()) };
        let absences = &mut state.lately.absences;
        let back: Vec<TagName> = absences.keys().filter(|tag| self.side.snapshot.get(tag).is_some()).cloned().collect();
        if back.is_empty() {
            return Ok(());
        }
        absences.retain(|tag, _| self.side.snapshot.get(tag).is_none());
        ledger.note_absences(self.pair, &[], &back, self.now).await
    }

    /// Remembers since when names wait for their deletion, and forgets it of what is gone on both sides. What is parked, or
    /// held, after its wait stays as absent as it is.
    async fn note_absences(
        &self,
        plan: &Plan,
        ledger: &Arc<dyn Ledger>,
        state: &PairState,
        remote: &RemoteSnapshot,
    ) -> Result<(), LedgerFault> {
        let known = &state.lately.absences;
        // A time that is still to come was told by a clock that was wrong.
        let is_unknown = |tag: &&TagName| known.get(*tag).is_none_or(|since| *since > self.now);
        let waiting = plan.waiting.iter().filter(|waiting| matches!(waiting.until, Some((Delay::Grace, _))));
        let absent = waiting.map(|waiting| &waiting.tag).filter(|tag| self.side.snapshot.get(tag).is_none());
        let new: Vec<TagName> = absent.filter(is_unknown).cloned().collect();
        let rules = remote_rules(self.settings, &|_| false);
        let is_there = |tag: &TagName| rules.place(tag).is_ok_and(|name| remote.get(&name).is_some());
        let ended = known.keys().filter(|tag| !state.records.contains_key(*tag) && !is_there(tag));
        let ended: Vec<TagName> = ended.cloned().collect();
        if new.is_empty() && ended.is_empty() {
            return Ok(());
        }
        ledger.note_absences(self.pair, &new, &ended, self.now).await
    }

    fn facts<'a>(&'a self, state: &PairState, known: &'a Known, decisions: &'a Decisions) -> Facts<'a> {
        Facts {
            pair: self.pair,
            space: &known.identity.space,
            policy: self.job.policy,
            limits: self.job.limits,
            usage: state.usage,
            exact_begun: state.exact_begun.as_ref() == Some(&self.scope()),
            source_is_remote: self.side.is_remote(),
            read_only: match &known.identity.access {
                Access::ReadOnly { found, needed } => Some((found, needed)),
                Access::Write | Access::Untold => None,
            },
            released: &decisions.released,
            dismissed: &decisions.dismissed,
            undoing: match self.run.purpose {
                Purpose::Agree => None,
                Purpose::Undo { run, .. } => Some(run),
            },
        }
    }

    /// What was said to the ledger, and with the command. An undo has sets of its own, which only the command releases.
    fn decisions(&self, state: &PairState) -> Decisions {
        let now = Timestamp::now();
        let parked = match self.run.purpose {
            Purpose::Agree => state.parked.clone(),
            Purpose::Undo { .. } => Vec::new(),
        };
        let plans = |said: &dyn Fn(&Parked) -> bool| -> Vec<String> {
            parked.iter().filter(|parked| said(parked)).map(|parked| parked.set.plan.clone()).collect()
        };
        let mut released = plans(&|parked| parked.is_released(now));
        released.extend_from_slice(&self.run.released);
        let dismissed = plans(&|parked| parked.is_dismissed());
        Decisions { released, dismissed, now, parked }
    }

    /// A look that nobody waits for once the pass is to end. Writes never go through here.
    async fn unless_stopped<T>(&self, look: impl Future<Output = Result<T, Fault>>) -> Result<T, PairFault> {
        match self.run.stop.run_until_cancelled(look).await {
            Some(seen) => Ok(seen?),
            None => Err(stopped()),
        }
    }

    fn writer(&self, ledger: &Arc<dyn Ledger>) -> Arc<Writer> {
        Arc::new(Writer {
            provider: Arc::clone(&self.provider),
            capabilities: self.settings.capabilities(),
            source: Arc::clone(self.side.source()),
            ledger: Arc::clone(ledger),
            pair: self.pair.clone(),
            run: self.run.id,
            stop: self.run.stop.clone(),
            width: self.settings.http.concurrency.min(self.provider.writes_at_once()),
            halt: OnceLock::new(),
            ended: self.begun.applied(),
        })
    }
}

fn rules_of(job: &JobSettings) -> Rules {
    Rules {
        policy: job.policy,
        selection: job.selection.clone(),
        immutable: job.immutable.clone(),
        protected: job.protected.clone(),
    }
}

/// By which rules, and over which names, a pass has a say on a remote.
pub(super) fn scope_of(job: &JobSettings, settings: &RemoteSettings) -> String {
    scope(&rules_of(job), &settings.mapping, &settings.rule)
}

/// Tags that are to be deleted, as soon as it is known what is attached to them, and that were not looked at for it yet: another
/// part of them with each turn.
fn unseen_attachments(plan: &Plan, remote: &RemoteSnapshot, seen: &BTreeSet<TagName>, turn: usize) -> Vec<TagName> {
    let held = plan.held.iter().filter(|held| held.kind == HoldKind::SideEffect).map(|held| &held.remote_name);
    let unlisted = held.filter(|name| {
        remote.get(name).is_some_and(|tag| tag.attachment == Some(Attachment::Unlisted)) && !seen.contains(*name)
    });
    let mut unlisted: Vec<_> = unlisted.cloned().collect();
    if !unlisted.is_empty() {
        let first = turn * ATTACHMENTS_AT_ONCE % unlisted.len();
        unlisted.rotate_left(first);
    }
    unlisted.truncate(ATTACHMENTS_AT_ONCE.saturating_sub(seen.len()));
    unlisted
}

/// What a remote should show after these writes, in the order of names. One that shows anything else has more to tell.
fn after(remote: &RemoteSnapshot, applied: &[Applied]) -> impl Iterator<Item = impl Borrow<RemoteTag>> {
    let mut writes: Vec<&Applied> = applied.iter().collect();
    writes.sort_unstable_by(|one, other| one.remote_name.cmp(&other.remote_name));
    let written = |tag: &RemoteTag| writes.binary_search_by(|write| write.remote_name.cmp(&tag.name)).is_ok();
    let kept: Vec<&RemoteTag> = remote.tags().iter().filter(|tag| !written(tag)).collect();
    let made = |write: &Applied| {
        let (name, value) = (write.remote_name.clone(), Ok(write.new.clone()?));
        Some(RemoteTag { name, value, message: None, protected: false, attachment: None })
    };
    let mut kept = kept.into_iter().peekable();
    let mut made = writes.into_iter().filter_map(made).peekable();
    std::iter::from_fn(move || match (kept.peek(), made.peek()) {
        (Some(there), Some(new)) if there.name < new.name => kept.next().map(Cow::Borrowed),
        (_, Some(_)) => made.next().map(Cow::Owned),
        (_, None) => kept.next().map(Cow::Borrowed),
    })
}

/// What a person said about sets that were parked.
struct Decisions {
    parked: Vec<Parked>,
    released: Vec<String>,
    dismissed: Vec<String>,
    now: Timestamp,
}

impl Decisions {
    /// Tells why an approval could not be used: what is different about the set since, or that it is too old.
    fn explain_refusals(&self, guarded: &Guarded, report: &mut RemoteReport) {
        for parked in &self.parked {
            let plan = &parked.set.plan;
            if guarded.released.contains(plan) {
                continue;
            }
            if self.released.contains(plan) {
                let now = guarded.stopped.iter().map(|stopped| &stopped.set).find(|set| set.by == parked.set.by);
                let difference = parked.set.difference(now).words();
                report.notes.push(format!("plan {plan} was approved, and is not what stops now: {difference}"));
            } else if parked.release_expired(self.now) {
                report.notes.push(format!("plan {plan} was approved more than 24 h ago, which no pass used in time"));
            }
        }
    }
}

/// Whether a plan leaves nothing to do, to decide or to wait for.
fn agrees(plan: &Plan) -> bool {
    plan.is_quiet() && plan.waiting.is_empty()
}

pub(super) fn stopped() -> PairFault {
    PairFault {
        message: "the pass was stopped before it came here".to_owned(),
        hint: None,
        nowhere: false,
        of_source: false,
    }
}
