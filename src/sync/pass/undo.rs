//! What is different about a pass that puts back what a run changed.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use uuid::Uuid;

use super::{PairFault, Pass};
use crate::apply::{Applied, apply};
use crate::ledger::{HistoryQuery, Ledger, LedgerFault, Outcome, PairState, Pin};
use crate::plan::{ApprovedPlan, Effect, PlannedChange, Resolved, effects, resolve};
use crate::sync::{Mode, remote_rules};
use crate::tag::{NamePatterns, RemoteSnapshot, TagName};

impl Pass<'_> {
    /// Puts back what a run changed. Names are pinned before the writes, so that whatever ends this pass, the next one does
    /// not do it all again; a write that was refused leaves no pin.
    pub(super) async fn put_back(
        &self,
        undone: Uuid,
        approved: ApprovedPlan,
        ledger: &Arc<dyn Ledger>,
        state: &PairState,
        remote: &RemoteSnapshot,
    ) -> Result<Vec<Applied>, PairFault> {
        let pins = self.pins(undone, &approved, state, remote);
        // What agrees with the source now needs no former pin, either.
        let pinned: BTreeSet<&TagName> = pins.iter().map(|(tag, _)| tag).collect();
        let agreed = approved.changes().iter().map(|change| &change.tag).filter(|tag| !pinned.contains(tag));
        ledger.unpin(self.pair, &agreed.cloned().collect::<Vec<_>>()).await?;
        ledger.pin(self.pair, &pins).await?;
        let applied = apply(approved, &self.writer(ledger)).await?;
        let refused = applied.iter().filter(|applied| applied.outcome == Outcome::Rejected);
        let refused = refused.map(|applied| applied.tag.clone());
        let needless: Vec<TagName> = refused.filter(|tag| !state.pins.contains_key(tag)).collect();
        ledger.unpin(self.pair, &needless).await?;
        Ok(applied)
    }

    /// What a run did here, as the history tells it once its interrupted writes are settled.
    pub(super) async fn effects(&self, run: Uuid, tags: Option<&NamePatterns>) -> Result<Vec<Effect>, LedgerFault> {
        let query = HistoryQuery { run: Some(run), tags: tags.cloned(), ..HistoryQuery::default() };
        let history = match &self.run.mode {
            Mode::Sync(ledger) => ledger.read_history(&query).await?,
            Mode::Plan(Some(ledger)) => ledger.read_history(&query).await?,
            Mode::Plan(None) => Vec::new(),
        };
        Ok(effects(&history).remove(self.pair).unwrap_or_default())
    }

    /// The names that this run is about to put back against the source, or against what nobody can tell yet.
    fn pins(
        &self,
        undone: Uuid,
        approved: &ApprovedPlan,
        state: &PairState,
        remote: &RemoteSnapshot,
    ) -> Vec<(TagName, Pin)> {
        let open = BTreeSet::new();
        let sides = self.sides(state, remote, &open);
        let remote_rules = remote_rules(self.settings, &|_| false);
        let against = |change: &&PlannedChange| match self.side.snapshot.get(&change.tag) {
            None => change.new.is_some(),
            Some(Err(_)) => true,
            Some(Ok(tag)) => match resolve(&change.tag, tag, remote_rules, &sides) {
                Resolved::Value(wanted) => change.new.as_ref() != Some(&wanted),
                Resolved::Waiting(_) | Resolved::Unknown(_) | Resolved::Inexpressible { .. } => true,
            },
        };
        let since = Timestamp::now();
        let pin = |change: &PlannedChange| (change.tag.clone(), Pin { value: change.new.clone(), undone, since });
        approved.changes().iter().filter(against).map(pin).collect()
    }
}
