//! A remote within reach, and a glance at it: its listing, taken while the source is looked at.
//!
//! Where the latest pass left nothing but agreement, the ledger keeps what stands for both sides and for the rules. As long as
//! these are the same, so is the plan, which depends on nothing else: then the records need not even be read, nor what the
//! source's refs lead to. Whoever lists its tags by what is known of them is not glanced at.

use std::borrow::Borrow;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::pass::is_believed;
use super::{Mode, Purpose, Run, SourceSide};
use crate::config::RemoteSettings;
use crate::http::Transport;
use crate::ledger::{Agreement, Pair};
use crate::provider::{Connection, Fault, Provider};
use crate::report::{Counts, RemoteReport};
use crate::tag::{Fingerprint, RefsDigest, RemoteSnapshot, RemoteTag};
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
    /// What stands for all that was read of the source.
    pub(super) content: String,
    /// What stood for its refs; `None` where only reading tells whether they changed.
    pub(super) refs: Option<RefsDigest>,
    /// How many names agreed, and how many are none of ours.
    pub(super) counts: Counts,
}

/// An agreement that may still hold.
#[derive(Clone)]
pub(super) struct Expected {
    pub(super) agreed: Agreed,
    pub(super) memory: Agreement,
}

/// What a glance has seen.
pub(super) struct Glance {
    pub(super) expected: Expected,
    pub(super) listing: Result<RemoteSnapshot, Fault>,
}

impl Glance {
    /// Whether the source, the remote and the rules are what the latest pass found in agreement, and on what. Without a source
    /// its refs are known to be as they were.
    pub(super) fn still_agreed(
        &self,
        source: Option<&SourceSide>,
        settings: &RemoteSettings,
        scope: &str,
    ) -> Option<Agreed> {
        let Expected { agreed, memory } = &self.expected;
        let (content, refs) = match source {
            Some(source) if !source.may_be(Some(&memory.source)) => return None,
            Some(source) => (&source.content, source.snapshot.refs().cloned()),
            None => (&agreed.content, agreed.refs.clone()),
        };
        let fingerprint = fingerprint(content, self.listing.as_ref().ok()?.tags(), settings, scope);
        let (content, counts) = (content.clone(), agreed.counts);
        (fingerprint == agreed.fingerprint).then_some(Agreed { fingerprint, content, refs, counts })
    }
}

/// What stands for both sides as they were read, and for all that says how they are compared.
pub(super) fn fingerprint(
    source: &str,
    remote: impl IntoIterator<Item: Borrow<RemoteTag>>,
    settings: &RemoteSettings,
    scope: &str,
) -> String {
    let mut fingerprint = Fingerprint::default();
    // Another version may judge otherwise.
    fingerprint.add(env!("CARGO_PKG_VERSION"));
    fingerprint.add(scope);
    fingerprint.add(settings.rule.to_string());
    fingerprint.add([u8::from(settings.compare_annotations)]);
    fingerprint.add(source);
    fingerprint.add_remote(remote);
    fingerprint.digits()
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
    pub(super) async fn glance(&self, expected: Option<Expected>, run: &Run) -> Option<Glance> {
        let expected = expected?;
        let provider = self.provider.as_ref().ok().filter(|provider| provider.lists_at_once())?;
        let Agreement { identity, confirmed, .. } = &expected.memory;
        if !is_believed(identity, *confirmed, &**provider, Timestamp::now()) {
            return None;
        }
        // A bug in it costs no other pair anything, and shows again in the pass.
        let listing = AssertUnwindSafe(provider.list_tags()).catch_unwind();
        let listing = run.stop.run_until_cancelled(listing).await?.ok()?;
        Some(Glance { expected, listing })
    }
}

/// What the latest pass agreed on, if it did, and if nobody wants to know more than whether it still holds.
pub(super) async fn expected(pair: &Pair, run: &Run) -> Option<Expected> {
    if run.verbose || !run.released.is_empty() || !matches!(run.purpose, Purpose::Agree) {
        return None;
    }
    let read = match &run.mode {
        Mode::Sync(ledger) => ledger.read_agreement(pair).await,
        Mode::Plan(Some(ledger)) => ledger.read_agreement(pair).await,
        Mode::Plan(None) => return None,
    };
    // Whatever is wrong with the ledger, the pass is told of it when it reads the rest.
    let memory = read.ok().flatten()?;
    // One that another version has left may say less.
    let agreed = serde_json::from_str(&memory.text).ok()?;
    Some(Expected { agreed, memory })
}
