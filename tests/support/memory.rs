//! A provider without a network: tags in memory, capabilities to choose, faults and adversaries on command.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tagsyncd::provider::{
    Access, Annotations, Capabilities, Deletes, Fault, FaultKind, Identity, Lease, Moves, NameRules, NewTag, Provider,
};
use tagsyncd::tag::{
    Annotation, Attachment, End, Listing, RemoteSnapshot, RemoteTag, TagName, Target, TargetKind, Value,
};

use super::server::{Gate, lock};

/// One tag in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryTag {
    /// What it points at.
    pub target: Target,
    /// The annotated tag's message.
    pub message: Option<String>,
    /// Whether only others may change it.
    pub protected: bool,
    /// What goes with it.
    pub attachment: Option<Attachment>,
}

impl MemoryTag {
    /// A lightweight tag.
    pub fn lightweight(target: Target) -> Self {
        Self { target, message: None, protected: false, attachment: None }
    }
}

/// One call of the trait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// [`Provider::identity`]
    Identity,
    /// [`Provider::list_tags`]
    List,
    /// [`Provider::get_tag`]
    Get(TagName),
    /// [`Provider::has_target`]
    HasTarget(Target),
    /// [`Provider::create_tag`]
    Create(TagName),
    /// [`Provider::delete_tag`]
    Delete(TagName),
    /// [`Provider::move_tag`]
    Move(TagName),
}

impl Call {
    /// Whether it changes anything.
    pub fn is_write(&self) -> bool {
        match self {
            Self::Create(_) | Self::Delete(_) | Self::Move(_) => true,
            Self::Identity | Self::List | Self::Get(_) | Self::HasTarget(_) => false,
        }
    }
}

/// What happens to a call.
#[derive(Clone)]
pub enum Mishap {
    /// It fails and has had no effect.
    Refuse(Fault),
    /// It takes effect and fails all the same: a lost reply.
    Lose(Fault),
    /// It waits until the gate opens, then goes on.
    Hang(Gate),
    /// It thinks for so long first; on a paused clock that costs nothing.
    Think(Duration),
    /// Somebody else changes the remote first.
    Adversary(Arc<dyn Fn(&mut MemoryWorld) + Send + Sync>),
}

/// Everything behind the provider.
#[derive(Clone, Debug)]
pub struct MemoryWorld {
    /// The tag space's id; `None` when it is not there.
    pub space: Option<String>,
    /// What the credential may do; `None` when it does not count.
    pub access: Option<Access>,
    /// The targets that exist; `None` is every one.
    pub targets: Option<BTreeSet<Target>>,
    /// The tags.
    pub tags: BTreeMap<TagName, MemoryTag>,
    /// Whether annotations are part of the values that it reports.
    pub compare_annotations: bool,
    /// Every call in order.
    pub calls: Vec<Call>,
    /// Calls under way.
    pub in_flight: usize,
    /// The most calls that were under way at once.
    pub most_in_flight: usize,
}

impl MemoryWorld {
    /// An empty tag space that may be written to.
    pub fn new() -> Self {
        Self {
            space: Some("memory-1".to_owned()),
            access: Some(Access::Write),
            targets: None,
            tags: BTreeMap::new(),
            compare_annotations: false,
            calls: Vec::new(),
            in_flight: 0,
            most_in_flight: 0,
        }
    }

    fn show(&self, name: &TagName, tag: &MemoryTag) -> RemoteTag {
        let annotation = if self.compare_annotations {
            Annotation::of_message(tag.message.as_deref())
        } else {
            Annotation::NotCompared
        };
        RemoteTag {
            name: name.clone(),
            value: Ok(Value { target: tag.target.clone(), annotation }),
            message: tag.message.clone(),
            protected: tag.protected,
            attachment: tag.attachment,
        }
    }

    /// The tag space's id, when it is there and the credential counts.
    fn enter(&self) -> Result<(&str, &Access), Fault> {
        let access =
            self.access.as_ref().ok_or_else(|| Fault::new(FaultKind::Unauthorized, "the credential was refused"))?;
        let space =
            self.space.as_deref().ok_or_else(|| Fault::new(FaultKind::NotFound, "the tag space is not there"))?;
        Ok((space, access))
    }

    fn enter_to_write(&self, name: &TagName) -> Result<(), Fault> {
        let (_, access) = self.enter()?;
        let protected = self.tags.get(name).is_some_and(|tag| tag.protected);
        match access {
            Access::Write | Access::Untold if !protected => Ok(()),
            Access::Write | Access::Untold => Err(Fault::new(FaultKind::Forbidden, "the tag is protected")),
            Access::ReadOnly { .. } => Err(Fault::new(FaultKind::Forbidden, "the credential only reads")),
        }
    }

    fn has(&self, target: &Target) -> bool {
        self.targets.as_ref().is_none_or(|targets| targets.contains(target))
    }

    /// Writes a tag as a server does that makes its own tag objects: the message is stripped.
    fn put(&mut self, new: &NewTag) -> RemoteTag {
        let message = new.message.as_deref().map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned);
        let tag = MemoryTag { message, ..MemoryTag::lightweight(new.target().clone()) };
        let shown = self.show(&new.name, &tag);
        self.tags.insert(new.name.clone(), tag);
        shown
    }
}

impl Default for MemoryWorld {
    fn default() -> Self {
        Self::new()
    }
}

/// Capabilities of a remote that can do all of it, its moves being as given.
pub fn capabilities(moves: Moves, deletes: Deletes, lease: Lease) -> Capabilities {
    Capabilities {
        target: TargetKind::Commit,
        moves,
        deletes,
        annotations: Annotations::Message,
        lease,
        create_refuses_existing: true,
        names: NameRules { summary: "git's own", refuses: |_| None, are_refs: true },
    }
}

struct Rule {
    matches: Box<dyn Fn(&Call) -> bool + Send + Sync>,
    skip: usize,
    times: Option<usize>,
    mishap: Mishap,
}

/// The provider.
pub struct MemoryProvider {
    capabilities: Capabilities,
    world: Mutex<MemoryWorld>,
    rules: Mutex<Vec<Rule>>,
}

impl MemoryProvider {
    /// A remote with these abilities and this world.
    pub fn new(capabilities: Capabilities, world: MemoryWorld) -> Self {
        Self { capabilities, world: Mutex::new(world), rules: Mutex::default() }
    }

    /// What it can do.
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// Changes the world between two calls.
    pub fn change<T>(&self, change: impl FnOnce(&mut MemoryWorld) -> T) -> T {
        change(&mut lock(&self.world))
    }

    /// The tags, as they truly are.
    pub fn tags(&self) -> BTreeMap<TagName, MemoryTag> {
        self.change(|world| world.tags.clone())
    }

    /// Every call so far, in order.
    pub fn calls(&self) -> Vec<Call> {
        self.change(|world| world.calls.clone())
    }

    /// Every write so far, in order.
    pub fn writes(&self) -> Vec<Call> {
        self.calls().into_iter().filter(Call::is_write).collect()
    }

    /// Programmes a mishap for every such call.
    pub fn on(&self, matches: impl Fn(&Call) -> bool + Send + Sync + 'static, mishap: Mishap) {
        lock(&self.rules).push(Rule { matches: Box::new(matches), skip: 0, times: None, mishap });
    }

    /// Programmes a mishap for the `n`-th such call from now, counted from 1.
    pub fn on_nth(&self, n: usize, matches: impl Fn(&Call) -> bool + Send + Sync + 'static, mishap: Mishap) {
        lock(&self.rules).push(Rule { matches: Box::new(matches), skip: n.saturating_sub(1), times: Some(1), mishap });
    }

    /// Forgets all mishaps.
    pub fn behave(&self) {
        lock(&self.rules).clear();
    }

    /// Notes a call and does to it what is programmed; the first refusal or loss counts.
    async fn call<T>(&self, call: Call, apply: impl FnOnce(&mut MemoryWorld) -> Result<T, Fault>) -> Result<T, Fault> {
        let mishaps = self.mishaps_for(&call);
        let _under_way = UnderWay::begin(self, call);
        let mut end = None;
        for mishap in mishaps {
            match mishap {
                Mishap::Think(time) => tokio::time::sleep(time).await,
                Mishap::Hang(gate) => gate.passed().await,
                Mishap::Adversary(change) => self.change(|world| change(world)),
                Mishap::Refuse(_) | Mishap::Lose(_) => end = end.or(Some(mishap)),
            }
        }
        match end {
            Some(Mishap::Refuse(fault)) => Err(fault),
            Some(Mishap::Lose(fault)) => self.change(apply).and(Err(fault)),
            _ => self.change(apply),
        }
    }

    fn mishaps_for(&self, call: &Call) -> Vec<Mishap> {
        let mut mishaps = Vec::new();
        for rule in lock(&self.rules).iter_mut() {
            if rule.times == Some(0) || !(rule.matches)(call) {
                continue;
            }
            if rule.skip > 0 {
                rule.skip -= 1;
                continue;
            }
            rule.times = rule.times.map(|times| times - 1);
            mishaps.push(rule.mishap.clone());
        }
        mishaps
    }

    /// Compares a lease where this remote's servers would.
    fn check_lease(&self, world: &MemoryWorld, name: &TagName, lease: &Value) -> Result<(), Fault> {
        let tag = world.tags.get(name).ok_or_else(|| no_such_tag(name))?;
        match self.capabilities.lease {
            Lease::LookBefore => Ok(()),
            Lease::Server if world.show(name, tag).value.as_ref() == Ok(lease) => Ok(()),
            Lease::Server => Err(Fault::new(FaultKind::Rejected, format!("{name} is not at {lease:.12}"))),
        }
    }
}

/// One call under way; it also ends when its caller drops it.
struct UnderWay<'a>(&'a MemoryProvider);

impl<'a> UnderWay<'a> {
    fn begin(provider: &'a MemoryProvider, call: Call) -> Self {
        provider.change(|world| {
            world.calls.push(call);
            world.in_flight += 1;
            world.most_in_flight = world.most_in_flight.max(world.in_flight);
        });
        Self(provider)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.change(|world| world.in_flight -= 1);
    }
}

fn no_such_tag(name: &TagName) -> Fault {
    Fault::new(FaultKind::NotFound, format!("{name} is not there"))
}

fn missing_target(target: &Target) -> Fault {
    Fault::new(FaultKind::Rejected, format!("{target:.12} is not there"))
}

#[async_trait]
impl Provider for MemoryProvider {
    async fn identity(&self) -> Result<Identity, Fault> {
        self.call(Call::Identity, |world| {
            let (space, access) = world.enter()?;
            Ok(Identity { space: space.to_owned(), access: access.clone() })
        })
        .await
    }

    async fn list_tags(&self) -> Result<RemoteSnapshot, Fault> {
        self.call(Call::List, |world| {
            world.enter()?;
            let mut listing = Listing::new();
            let unreadable = |fault: tagsyncd::tag::ListingFault| Fault::new(FaultKind::Unreadable, fault.to_string());
            listing.page(world.tags.iter().map(|(name, tag)| world.show(name, tag))).map_err(unreadable)?;
            listing.finish(End::SingleResponse, None).map_err(unreadable)
        })
        .await
    }

    async fn get_tag(&self, name: &TagName) -> Result<Option<RemoteTag>, Fault> {
        self.call(Call::Get(name.clone()), |world| {
            world.enter()?;
            Ok(world.tags.get(name).map(|tag| world.show(name, tag)))
        })
        .await
    }

    async fn has_target(&self, target: &Target) -> Result<bool, Fault> {
        self.call(Call::HasTarget(target.clone()), |world| {
            world.enter()?;
            Ok(world.has(target))
        })
        .await
    }

    async fn create_tag(&self, new: &NewTag) -> Result<RemoteTag, Fault> {
        self.call(Call::Create(new.name.clone()), |world| {
            world.enter_to_write(&new.name)?;
            if !world.has(new.target()) {
                return Err(missing_target(new.target()));
            }
            if self.capabilities.create_refuses_existing && world.tags.contains_key(&new.name) {
                return Err(Fault::new(FaultKind::Rejected, format!("{} is there already", new.name)));
            }
            if self.capabilities.names.are_refs && world.tags.keys().any(|name| name.excludes(&new.name)) {
                return Err(Fault::new(FaultKind::Rejected, format!("another tag blocks {}", new.name)));
            }
            Ok(world.put(new))
        })
        .await
    }

    async fn delete_tag(&self, name: &TagName, lease: &Value) -> Result<(), Fault> {
        self.call(Call::Delete(name.clone()), |world| {
            if let Deletes::Never(why) = self.capabilities.deletes {
                return Err(Fault::new(FaultKind::Unsupported, why));
            }
            world.enter_to_write(name)?;
            self.check_lease(world, name, lease)?;
            world.tags.remove(name);
            Ok(())
        })
        .await
    }

    async fn move_tag(&self, name: &TagName, lease: &Value, to: &NewTag) -> Result<RemoteTag, Fault> {
        self.call(Call::Move(name.clone()), |world| {
            match self.capabilities.moves {
                Moves::InPlace => {}
                Moves::Recreate | Moves::Never(_) => {
                    return Err(Fault::new(FaultKind::Unsupported, "a tag cannot be moved in place"));
                }
            }
            world.enter_to_write(name)?;
            self.check_lease(world, name, lease)?;
            if !world.has(to.target()) {
                return Err(missing_target(to.target()));
            }
            Ok(world.put(to))
        })
        .await
    }
}
