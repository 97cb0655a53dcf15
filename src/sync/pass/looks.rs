//! What a pass remembers of a remote that is asked for tags one by one: digests that it has seen, and which names are all.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;

use super::Pass;
use crate::apply::Applied;
use crate::ledger::{Ledger, LedgerFault, PairState};
use crate::tag::{End, Looks, ProvenNames, RemoteSnapshot, Sighting, TagName, Target, Value};

impl Pass<'_> {
    /// Remembers what was seen on the remote, and forgets what is not there or does not matter any more.
    pub(super) async fn remember_looks(
        &self,
        state: &PairState,
        remote: &RemoteSnapshot,
        looks: Option<&Looks>,
        began: Timestamp,
        ledger: &Arc<dyn Ledger>,
    ) -> Result<(), LedgerFault> {
        let Some(Looks { remembered, seen }) = looks else { return Ok(()) };
        let seen: Vec<_> = seen
            .iter()
            .filter_map(|name| Some((name.clone(), sighting(remote.get(name)?.value.as_ref().ok()?, began)?)))
            .collect();
        let renewed: BTreeSet<&TagName> = seen.iter().map(|(name, _)| name).chain(remembered).collect();
        let forgotten: Vec<TagName> = state.sightings.keys().filter(|name| !renewed.contains(name)).cloned().collect();
        ledger.remember(self.pair, &seen, &forgotten).await
    }

    /// Remembers what was written, which the remote has just confirmed, where looks are remembered at all. Whatever else was
    /// touched is looked at by the next pass. All of it counts from before the first write.
    pub(super) async fn remember_writes(
        &self,
        state: &PairState,
        changes: &[Applied],
        confirmed: Timestamp,
        remembers: bool,
        ledger: &Arc<dyn Ledger>,
    ) -> Result<(), LedgerFault> {
        if !remembers && state.sightings.is_empty() {
            return Ok(());
        }
        let written = |applied: &Applied| {
            let new = applied.new.as_ref().filter(|_| remembers && applied.succeeded())?;
            Some((applied.remote_name.clone(), sighting(new, confirmed)?))
        };
        let seen: Vec<_> = changes.iter().filter_map(written).collect();
        let others = changes.iter().filter(|applied| written(applied).is_none());
        let forgotten: Vec<_> = others.map(|applied| applied.remote_name.clone()).collect();
        ledger.remember(self.pair, &seen, &forgotten).await
    }

    /// Remembers which names are all now: those of the listing and what was made of them since. Only after a pass that leaves
    /// nothing open, because another one proves its end anew at once.
    pub(super) async fn remember_names(
        &self,
        state: &PairState,
        remote: &RemoteSnapshot,
        changes: &[Applied],
        began: Timestamp,
        settles: bool,
        ledger: &Arc<dyn Ledger>,
    ) -> Result<(), LedgerFault> {
        let proves = match remote.end() {
            End::AsProven => return Ok(()),
            End::ShortPage | End::SingleResponse => settles && changes.iter().all(Applied::succeeded),
            // Such a remote shows its end each time.
            End::NoNextPage => false,
        };
        if !proves {
            return if state.names.is_some() { ledger.remember_names(self.pair, None).await } else { Ok(()) };
        }
        let mut names: BTreeSet<&TagName> = remote.tags().iter().map(|tag| &tag.name).collect();
        for Applied { remote_name, new, .. } in changes {
            if new.is_some() {
                names.insert(remote_name)
            } else {
                names.remove(remote_name)
            };
        }
        ledger.remember_names(self.pair, Some(&ProvenNames::of(names, began))).await
    }
}

/// A value as it is remembered; only digests are, because nothing else has to be asked for one by one.
fn sighting(value: &Value, confirmed: Timestamp) -> Option<Sighting> {
    match &value.target {
        Target::Digest(digest) => Some(Sighting { digest: digest.clone(), confirmed }),
        Target::Commit(_) | Target::Object(_) | Target::Snapshot(_) => None,
    }
}
