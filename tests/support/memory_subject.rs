//! The in-memory provider before the suite: proves the suite itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use tagsyncd::provider::{Access, Capabilities, Fault, FaultKind, Provider};
use tagsyncd::tag::{TagName, Target, TargetKind};

use super::conformance::{Breakage, Held, Stage, Subject, TARGETS};
use super::gitlab::commit_id;
use super::memory::{Call, MemoryProvider, MemoryTag, MemoryWorld, Mishap};

/// An in-memory remote with given abilities.
pub struct MemorySubject {
    abilities: fn() -> Capabilities,
    capabilities: Capabilities,
}

impl MemorySubject {
    /// A remote with these abilities.
    pub fn new(abilities: fn() -> Capabilities) -> Self {
        Self { abilities, capabilities: abilities() }
    }

    /// A remote that claims other abilities than it has: the suite must find out.
    pub fn boasting(abilities: fn() -> Capabilities, claimed: Capabilities) -> Self {
        Self { abilities, capabilities: claimed }
    }
}

/// A made-up target.
fn target(kind: TargetKind, n: usize) -> Target {
    let n = u32::try_from(n).expect("the suite needs few targets");
    let text = match kind {
        TargetKind::Commit | TargetKind::Object => commit_id(n),
        TargetKind::Snapshot => format!("67e55044-10b1-426f-9247-bb68{n:08x}"),
        TargetKind::Digest => format!("sha256:{n:064x}"),
    };
    kind.parse(&text).expect("a made-up target is one")
}

struct MemoryStage(Arc<MemoryProvider>);

#[async_trait]
impl Subject for MemorySubject {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn more_than_a_page(&self) -> usize {
        // There are no pages; any number will do.
        10
    }

    fn target(&self, n: usize) -> Target {
        target(self.capabilities.target, n)
    }

    fn absent_target(&self) -> Target {
        target(self.capabilities.target, TARGETS)
    }

    async fn start(&self, tags: &[(TagName, Held)], compare_annotations: bool) -> Box<dyn Stage> {
        let held =
            |held: &Held| MemoryTag { message: held.message.clone(), ..MemoryTag::lightweight(held.target.clone()) };
        let world = MemoryWorld {
            tags: tags.iter().map(|(name, tag)| (name.clone(), held(tag))).collect(),
            targets: Some((0..TARGETS).map(|n| self.target(n)).collect::<BTreeSet<_>>()),
            compare_annotations,
            ..MemoryWorld::new()
        };
        Box::new(MemoryStage(Arc::new(MemoryProvider::new((self.abilities)(), world))))
    }
}

impl Stage for MemoryStage {
    fn provider(&self) -> Arc<dyn Provider> {
        self.0.clone()
    }

    fn tags(&self) -> BTreeMap<TagName, Held> {
        let held = |tag: MemoryTag| Held { target: tag.target, message: tag.message };
        self.0.tags().into_iter().map(|(name, tag)| (name, held(tag))).collect()
    }

    fn writes(&self, name: &TagName) -> usize {
        let is_its = |call: &Call| match call {
            Call::Create(of) | Call::Delete(of) | Call::Move(of) => of == name,
            Call::Identity | Call::List | Call::Get(_) | Call::HasTarget(_) => false,
        };
        self.0.calls().iter().filter(|call| is_its(call)).count()
    }

    fn break_by(&self, breakage: Breakage) -> bool {
        let ambiguous = || Fault::new(FaultKind::Ambiguous, "the connection broke");
        match breakage {
            Breakage::SpaceAbsent => self.0.change(|world| world.space = None),
            Breakage::SpaceRecreated => self.0.change(|world| world.space = Some("memory-2".to_owned())),
            Breakage::CredentialRefused => self.0.change(|world| world.access = None),
            Breakage::CredentialReadsOnly => self.0.change(|world| {
                world.access = Some(Access::ReadOnly { found: "reader".to_owned(), needed: "writer".to_owned() });
            }),
            Breakage::CreateReplyLost => {
                self.0.on(|call| matches!(call, Call::Create(_)), Mishap::Lose(ambiguous()));
            }
            Breakage::DeleteReplyLost => {
                self.0.on(|call| matches!(call, Call::Delete(_)), Mishap::Lose(ambiguous()));
            }
            Breakage::ServerFails => self.0.on(|_| true, Mishap::Refuse(ambiguous())),
            // There is no wire on which a listing could break.
            Breakage::ListingCut | Breakage::ListingHtml | Breakage::ListingLoops | Breakage::SecondPageFails => {
                return false;
            }
        }
        true
    }
}
