//! A remote within reach, and a glance at it: its listing, taken while the source is read.
//!
//! Where the latest pass left nothing but agreement, the ledger keeps what stands for both sides and for the rules. As long as
//! these are the same, so is the plan, which depends on nothing else: then the records need not even be read. Whoever lists
//! its tags by what is known of them is not glanced at.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::pass::is_believed;
use super::{Mode, Purpose, Run};
use crate::config::RemoteSettings;
use crate::http::Transport;
use crate::ledger::{Agreement, Pair};
use crate::provider::{Connection, Fault, Provider};
use crate::report::{Counts, RemoteReport};
use crate::tag::RemoteSnapshot;
use crate::wire::Objects;

/// A remote to which nothing was sent yet.
pub(super) struct Reach {
    pub(super) settings: RemoteSettings,
    /// What counts its requests.
    pub(super) transport: Transport,
    pub(super) provider: Result<Arc<dyn Provider>, Fault>,
}

/// What both sides agreed on at the end of a pass.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Agreed {
    /// What stands for both sides and for the rules.
    pub(super) fingerprint: String,
    /// How many names agreed, and how many are none of ours.
    pub(super) counts: Counts,
}

/// What a glance has seen.
pub(super) struct Glance {
    pub(super) agreed: Agreed,
    /// The source that agreed.
    pub(super) source: String,
    pub(super) listing: Result<RemoteSnapshot, Fault>,
}

impl Reach {
    /// Reads the credentials.
    pub(super) async fn connect(settings: RemoteSettings, objects: Option<Arc<dyn Objects>>, run: &Run) -> Self {
        let transport = Transport::new(&run.pool, settings.http.clone());
        let compare_annotations = settings.compare_annotations;
        let connection = Connection { transport: transport.clone(), compare_annotations, objects };
        let provider = settings.keys.connect(connection).await;
        Self { settings, transport, provider }
    }

    /// Says in the report how much was asked of the remote so far.
    pub(super) fn count(&self, report: &mut RemoteReport) {
        report.requests = self.transport.requests();
        report.traffic = self.transport.traffic();
    }

    /// Lists the remote's tags, if there is an agreement that may still hold. `None` also when the run is stopped.
    pub(super) async fn glance(&self, agreement: Option<Agreement>, run: &Run) -> Option<Glance> {
        let agreement = agreement?;
        let provider = self.provider.as_ref().ok().filter(|provider| provider.lists_at_once())?;
        let agreed = serde_json::from_str(&agreement.text).ok()?;
        if !is_believed(&agreement.identity, agreement.confirmed, &**provider, Timestamp::now()) {
            return None;
        }
        // A bug in it costs no other pair anything, and shows again in the pass.
        let listing = AssertUnwindSafe(provider.list_tags()).catch_unwind();
        let listing = run.stop.run_until_cancelled(listing).await?.ok()?;
        Some(Glance { agreed, source: agreement.source, listing })
    }
}

/// What the latest pass agreed on, if it did, and if nobody wants to know more than whether it still holds.
pub(super) async fn agreement(pair: &Pair, run: &Run) -> Option<Agreement> {
    if run.verbose || !run.released.is_empty() || !matches!(run.purpose, Purpose::Agree) {
        return None;
    }
    let read = match &run.mode {
        Mode::Sync(ledger) => ledger.read_agreement(pair).await,
        Mode::Plan(Some(ledger)) => ledger.read_agreement(pair).await,
        Mode::Plan(None) => return None,
    };
    // Whatever is wrong with the ledger, the pass is told of it when it reads the rest.
    read.ok().flatten()
}
