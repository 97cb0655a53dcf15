//! What every provider does, whatever API is behind it: one suite, run through the trait, keyed by capability.
//!
//! Read it from [`run`] downwards: the behaviours come in the order in which a new provider meets them. A provider
//! joins with a [`Subject`], which knows how to start its remote with given tags, how to break it and how to look at
//! its true state. What an API cannot do is skipped by its capabilities, never by a list of exceptions.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tagsyncd::provider::{Annotations, Capabilities, Deletes, Fault, FaultKind, Moves, NewTag, Provider};
use tagsyncd::tag::{Annotation, RemoteSnapshot, TagName, Target, Value, normalise};

/// No behaviour takes longer; a provider that follows a loop is stopped here.
const WITHIN: Duration = Duration::from_secs(60);

/// Names that break careless clients. Which of them a remote can hold, its name rules say.
const ODD_NAMES: &[&str] = &[
    "-x/é+1",
    "a/b",
    "%2e%2e",
    "%2F",
    "a%2Fb",
    "v1.0.0+build5",
    "$(id)",
    "--upload-pack=x",
    "a#b&c=d;e",
    "<script>",
    "日本語/タグ",
    "v1.json",
    "signature",
];

/// What a provider brings to the suite.
#[async_trait]
pub trait Subject: Send + Sync {
    /// What it can do.
    fn capabilities(&self) -> &Capabilities;

    /// So many tags do not fit into one page.
    fn more_than_a_page(&self) -> usize;

    /// The `n`-th of the targets that a started remote has; there are at least [`TARGETS`].
    fn target(&self, n: usize) -> Target;

    /// A target that a started remote does not have.
    fn absent_target(&self) -> Target;

    /// Whether targets are kept elsewhere, so that they are there although the tag space is not.
    fn targets_outlive_the_space(&self) -> bool {
        false
    }

    /// What servers of this kind have been seen to do to a listing.
    fn oddities(&self) -> Vec<Oddity> {
        Vec::new()
    }

    /// Starts a remote that has these tags, and connects to it. `compare_annotations` as in the configuration.
    async fn start(&self, tags: &[(TagName, Held)], compare_annotations: bool) -> Box<dyn Stage>;
}

/// How many targets a started remote has at least.
pub const TARGETS: usize = 3;

/// A remote that was started for one behaviour.
pub trait Stage: Send + Sync {
    /// The provider, connected to it.
    fn provider(&self) -> Arc<dyn Provider>;

    /// The tags that it truly has.
    fn tags(&self) -> BTreeMap<TagName, Held>;

    /// How many writes for this name reached it.
    fn writes(&self, name: &TagName) -> usize;

    /// Breaks it from now on; `false` when this cannot happen to such a remote.
    fn break_by(&self, breakage: Breakage) -> bool;

    /// Turns it into the odd server of this name, one of [`Subject::oddities`].
    fn turn_odd(&self, what: &str) {
        unreachable!("{what} is no oddity of this remote")
    }
}

/// A server that is odd and not broken.
#[derive(Clone, Copy, Debug)]
pub struct Oddity {
    /// What it does.
    pub what: &'static str,
    /// What a listing of it comes to.
    pub due: Due,
}

/// What a listing of an odd server comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// All tags: the oddity is documented, or there is another way.
    Whole,
    /// All tags or a fault; never a part of them.
    WholeOrFault,
}

/// What a remote holds under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// What it points at.
    pub target: Target,
    /// The annotated tag's message.
    pub message: Option<String>,
}

/// What can be wrong with a remote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breakage {
    /// The tag space is gone.
    SpaceAbsent,
    /// The tag space is gone and another one has taken its place.
    SpaceRecreated,
    /// The credential does not count any more.
    CredentialRefused,
    /// The credential may read and not write.
    CredentialReadsOnly,
    /// Listings end in the middle of a body.
    ListingCut,
    /// Listings are a login page with status 200.
    ListingHtml,
    /// Listings never get beyond their first page.
    ListingLoops,
    /// The end of a listing breaks off: its second page cannot be had.
    SecondPageFails,
    /// Creates take effect and are never answered.
    CreateReplyLost,
    /// Deletes take effect and are never answered.
    DeleteReplyLost,
    /// Every request fails inside the server.
    ServerFails,
}

/// What came of a run.
#[derive(Debug, Default)]
pub struct Conformance {
    /// Behaviours that held.
    pub held: Vec<&'static str>,
    /// Behaviours that do not apply to this provider.
    pub skipped: Vec<&'static str>,
    /// Behaviours that did not hold, and how.
    pub failed: Vec<(&'static str, String)>,
}

impl fmt::Display for Conformance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} held, {} skipped, {} failed", self.held.len(), self.skipped.len(), self.failed.len())?;
        for behaviour in &self.skipped {
            writeln!(f, "  skipped: {behaviour}")?;
        }
        for (behaviour, how) in &self.failed {
            writeln!(f, "  FAILED:  {behaviour}: {how}")?;
        }
        Ok(())
    }
}

/// Why a behaviour has no good end.
enum Miss {
    /// It does not apply.
    Skip,
    /// It did not hold.
    Fail(String),
}

impl From<Fault> for Miss {
    fn from(fault: Fault) -> Self {
        Self::Fail(format!("unexpected fault {:?}: {fault}", fault.kind))
    }
}

type Behaviour = Result<(), Miss>;

fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Behaviour {
    if holds { Ok(()) } else { Err(Miss::Fail(otherwise())) }
}

fn applies(applies: bool) -> Behaviour {
    if applies { Ok(()) } else { Err(Miss::Skip) }
}

/// Expects a fault of one of these kinds.
fn ensure_fault<T: fmt::Debug>(outcome: Result<T, Fault>, kinds: &[FaultKind]) -> Behaviour {
    match outcome {
        Err(fault) if kinds.contains(&fault.kind) => Ok(()),
        Err(fault) => Err(Miss::Fail(format!("{:?} ({fault}) where {kinds:?} was due", fault.kind))),
        Ok(value) => Err(Miss::Fail(format!("{value:?} where {kinds:?} was due"))),
    }
}

impl Conformance {
    async fn check(&mut self, behaviour: &'static str, outcome: impl Future<Output = Behaviour>) {
        match tokio::time::timeout(WITHIN, outcome).await {
            Ok(Ok(())) => self.held.push(behaviour),
            Ok(Err(Miss::Skip)) => self.skipped.push(behaviour),
            Ok(Err(Miss::Fail(how))) => self.failed.push((behaviour, how)),
            Err(_) => self.failed.push((behaviour, format!("no end within {WITHIN:?}"))),
        }
    }
}

/// Runs the suite.
pub async fn run(subject: &dyn Subject) -> Conformance {
    let mut report = Conformance::default();

    // Reading.
    report.check("an empty remote has an empty listing", lists_nothing(subject)).await;
    report.check("the listing is whole beyond the first page", lists_everything(subject)).await;
    report.check("a listing that fills its pages exactly is whole", lists_full_pages(subject)).await;
    report.check("one tag is read alone, present or absent", gets_one(subject)).await;
    report.check("messages count exactly when annotations are compared", compares_annotations(subject)).await;
    report.check("targets are known or not", knows_targets(subject)).await;
    report.check("the identity is stable, and another one after a re-creation", has_identity(subject)).await;

    // Writing.
    report.check("a lightweight tag is created", creates_lightweight(subject)).await;
    report.check("an annotated tag is created with its message", creates_annotated(subject)).await;
    report.check("an existing name is refused and unchanged", refuses_existing(subject)).await;
    report.check("a missing target is refused", refuses_missing_target(subject)).await;
    report.check("a tag is deleted, and no other", deletes_one(subject)).await;
    report.check("deleting what is not there says so", deletes_absent(subject)).await;
    report.check("a tag moves in place, or not at all", moves_in_place(subject)).await;
    report.check("a batch answers in its order", applies_batch(subject)).await;
    report.check("odd names arrive as they are", takes_odd_names(subject)).await;
    report.check("long names arrive as they are", takes_long_names(subject)).await;

    // What must never be taken for absence.
    report.check("an absent tag space is a fault, not empty", absent_space(subject)).await;
    report.check("a refused credential is a fault, not empty", refused_credential(subject)).await;
    report.check("a credential without the right to write is told so", reads_only(subject)).await;
    report.check("a listing cut short is a fault", broken_listing(subject, Breakage::ListingCut)).await;
    report.check("a login page is no listing", broken_listing(subject, Breakage::ListingHtml)).await;
    report.check("a listing that loops ends as a fault", broken_listing(subject, Breakage::ListingLoops)).await;
    report.check("a missing second page is a fault", broken_listing(subject, Breakage::SecondPageFails)).await;
    report.check("a server that fails is no empty remote", broken_listing(subject, Breakage::ServerFails)).await;
    for odd in subject.oddities() {
        report.check(odd.what, odd_listing(subject, odd)).await;
    }
    report.check("a failing server leaves reads and writes in doubt", failing_server(subject)).await;

    // What may have happened.
    report.check("a lost reply to a create is ambiguous and sent once", loses_create_reply(subject)).await;
    report.check("a lost reply to a delete is ambiguous and sent once", loses_delete_reply(subject)).await;
    report
}

fn name(name: &str) -> TagName {
    TagName::new(name).expect("the suite's names are tag names")
}

fn lightweight(target: Target) -> Held {
    Held { target, message: None }
}

fn new_tag(name: &TagName, target: Target, message: Option<&str>) -> NewTag {
    NewTag { name: name.clone(), value: Value::of(target), message: message.map(str::to_owned), tag_id: None }
}

/// `count` tags, sorted by name, on alternating targets.
fn many(subject: &dyn Subject, count: usize) -> Vec<(TagName, Held)> {
    (0..count).map(|n| (name(&format!("v{n:06}")), lightweight(subject.target(n % TARGETS)))).collect()
}

/// Expects exactly these tags.
fn ensure_whole(snapshot: &RemoteSnapshot, tags: &[(TagName, Held)]) -> Behaviour {
    ensure(snapshot.tags().len() == tags.len(), || {
        format!("{} tags were listed where there are {}", snapshot.tags().len(), tags.len())
    })?;
    for (name, held) in tags {
        let target = snapshot.get(name).and_then(|tag| tag.value.as_ref().ok()).map(|value| &value.target);
        ensure(target == Some(&held.target), || format!("{name} is listed at {target:?}, not at {:?}", held.target))?;
    }
    Ok(())
}

async fn lists_nothing(subject: &dyn Subject) -> Behaviour {
    let stage = subject.start(&[], false).await;
    ensure_whole(&stage.provider().list_tags().await?, &[])
}

async fn lists_everything(subject: &dyn Subject) -> Behaviour {
    let tags = many(subject, 2 * subject.more_than_a_page() + 1);
    let stage = subject.start(&tags, false).await;
    ensure_whole(&stage.provider().list_tags().await?, &tags)
}

async fn lists_full_pages(subject: &dyn Subject) -> Behaviour {
    for pages in [1, 2] {
        let tags = many(subject, pages * (subject.more_than_a_page() - 1));
        let stage = subject.start(&tags, false).await;
        ensure_whole(&stage.provider().list_tags().await?, &tags)?;
    }
    Ok(())
}

async fn gets_one(subject: &dyn Subject) -> Behaviour {
    let here = name("v1.0");
    let stage = subject.start(&[(here.clone(), lightweight(subject.target(1)))], false).await;
    let tag = stage.provider().get_tag(&here).await?;
    let value = tag.as_ref().and_then(|tag| tag.value.clone().ok());
    ensure(value == Some(Value::of(subject.target(1))), || format!("v1.0 was read as {tag:?}"))?;
    for absent in ["v1", "v1.0.0", "v2"] {
        let tag = stage.provider().get_tag(&name(absent)).await?;
        ensure(tag.is_none(), || format!("{absent} is not there and was read as {tag:?}"))?;
    }
    Ok(())
}

async fn compares_annotations(subject: &dyn Subject) -> Behaviour {
    applies(subject.capabilities().annotations == Annotations::Message)?;
    let target = subject.target(0);
    let annotated = Held { target: target.clone(), message: Some("First\n\nMore".to_owned()) };
    let tags = [(name("annotated"), annotated.clone()), (name("plain"), lightweight(target.clone()))];
    for compare in [false, true] {
        let stage = subject.start(&tags, compare).await;
        let snapshot = stage.provider().list_tags().await?;
        for (name, held) in &tags {
            let due = if compare { Annotation::of_message(held.message.as_deref()) } else { Annotation::NotCompared };
            let due = Ok(Value { target: target.clone(), annotation: due });
            let listed = snapshot.get(name).map(|tag| &tag.value);
            ensure(listed == Some(&due), || format!("{name} was listed as {listed:?}, not {due:?}"))?;
            let read = stage.provider().get_tag(name).await?.map(|tag| tag.value);
            ensure(read.as_ref() == Some(&due), || format!("{name} was read as {read:?}, not {due:?}"))?;
        }
    }
    Ok(())
}

async fn knows_targets(subject: &dyn Subject) -> Behaviour {
    let stage = subject.start(&[], false).await;
    for n in 0..TARGETS {
        let known = stage.provider().has_target(&subject.target(n)).await?;
        ensure(known, || format!("target {n} is there and was denied"))?;
    }
    let known = stage.provider().has_target(&subject.absent_target()).await?;
    ensure(!known, || "a target that is not there was affirmed".to_owned())
}

async fn has_identity(subject: &dyn Subject) -> Behaviour {
    let stage = subject.start(&[], false).await;
    let first = stage.provider().identity().await?;
    let second = stage.provider().identity().await?;
    ensure(first == second, || format!("{first:?} became {second:?} by itself"))?;
    applies(stage.break_by(Breakage::SpaceRecreated))?;
    let third = stage.provider().identity().await?;
    ensure(first.space != third.space, || format!("another tag space has the same id {:?}", third.space))
}

async fn creates_lightweight(subject: &dyn Subject) -> Behaviour {
    let stage = subject.start(&[], false).await;
    let tag = name("v1");
    let created = stage.provider().create_tag(&new_tag(&tag, subject.target(1), None)).await?;
    ensure(created.name == tag && created.value == Ok(Value::of(subject.target(1))), || {
        format!("the answer was {created:?}")
    })?;
    let truth = stage.tags();
    ensure(truth == BTreeMap::from([(tag, lightweight(subject.target(1)))]), || format!("the remote has {truth:?}"))
}

async fn creates_annotated(subject: &dyn Subject) -> Behaviour {
    applies(subject.capabilities().annotations == Annotations::Message)?;
    let stage = subject.start(&[], true).await;
    let tag = name("v1");
    let message = "First line\n\nSecond: \"quoted\" & <b>é</b> 100% +1\n";
    let value = Value { target: subject.target(1), annotation: Annotation::of_message(Some(message)) };
    let new = NewTag { name: tag.clone(), value: value.clone(), message: Some(message.to_owned()), tag_id: None };
    let created = stage.provider().create_tag(&new).await?;
    ensure(created.value == Ok(value.clone()), || format!("the answer was {created:?}"))?;
    let held = stage.tags().get(&tag).and_then(|held| held.message.clone()).unwrap_or_default();
    ensure(normalise(&held) == normalise(message), || format!("the remote keeps the message {held:?}"))?;
    let read = stage.provider().get_tag(&tag).await?;
    ensure(read.as_ref().is_some_and(|tag| tag.value == Ok(value)), || format!("it is read back as {read:?}"))
}

async fn refuses_existing(subject: &dyn Subject) -> Behaviour {
    applies(subject.capabilities().create_refuses_existing)?;
    let tags = many(subject, 1);
    let stage = subject.start(&tags, false).await;
    let outcome = stage.provider().create_tag(&new_tag(&tags[0].0, subject.target(2), None)).await;
    ensure_fault(outcome, &[FaultKind::Rejected])?;
    ensure(stage.tags() == tags.into_iter().collect(), || "the tag was changed all the same".to_owned())
}

async fn refuses_missing_target(subject: &dyn Subject) -> Behaviour {
    let stage = subject.start(&[], false).await;
    let outcome = stage.provider().create_tag(&new_tag(&name("v1"), subject.absent_target(), None)).await;
    ensure_fault(outcome, &[FaultKind::Rejected, FaultKind::NotFound, FaultKind::TargetMissing])?;
    ensure(stage.tags().is_empty(), || "a tag was made all the same".to_owned())
}

async fn deletes_one(subject: &dyn Subject) -> Behaviour {
    let tags = many(subject, 2);
    let stage = subject.start(&tags, false).await;
    let outcome = stage.provider().delete_tag(&tags[0].0, &Value::of(tags[0].1.target.clone())).await;
    match subject.capabilities().deletes {
        Deletes::Yes => {
            outcome?;
            ensure(stage.tags() == tags[1..].iter().cloned().collect(), || format!("{:?} is left", stage.tags()))
        }
        Deletes::Never(_) => {
            ensure_fault(outcome, &[FaultKind::Unsupported])?;
            ensure(stage.tags() == tags.into_iter().collect(), || format!("{:?} is left", stage.tags()))
        }
    }
}

async fn deletes_absent(subject: &dyn Subject) -> Behaviour {
    applies(subject.capabilities().deletes == Deletes::Yes)?;
    let tags = many(subject, 1);
    let stage = subject.start(&tags, false).await;
    let outcome = stage.provider().delete_tag(&name("other"), &Value::of(subject.target(0))).await;
    ensure_fault(outcome, &[FaultKind::NotFound])?;
    ensure(stage.tags() == tags.into_iter().collect(), || format!("{:?} is left", stage.tags()))
}

async fn moves_in_place(subject: &dyn Subject) -> Behaviour {
    let tags = many(subject, 1);
    let stage = subject.start(&tags, false).await;
    let (tag, held) = &tags[0];
    let to = new_tag(tag, subject.target(2), None);
    let outcome = stage.provider().move_tag(tag, &Value::of(held.target.clone()), &to).await;
    let left = match subject.capabilities().moves {
        Moves::InPlace => {
            let moved = outcome?;
            ensure(moved.value == Ok(Value::of(subject.target(2))), || format!("the answer was {moved:?}"))?;
            subject.target(2)
        }
        Moves::Recreate | Moves::Never(_) => {
            ensure_fault(outcome, &[FaultKind::Unsupported])?;
            held.target.clone()
        }
    };
    ensure(stage.tags().get(tag).map(|held| &held.target) == Some(&left), || format!("{:?} is left", stage.tags()))
}

async fn applies_batch(subject: &dyn Subject) -> Behaviour {
    use tagsyncd::provider::Change;

    let stage = subject.start(&[], false).await;
    let creates = ["v3", "v1", "v2"].map(|tag| Change::Create(new_tag(&name(tag), subject.target(0), None)));
    let outcomes = stage.provider().apply_batch(&creates).await;
    let names: Vec<_> = outcomes.into_iter().map(|outcome| outcome.map(|tag| tag.map(|tag| tag.name))).collect();
    let due = ["v3", "v1", "v2"].map(|tag| Ok(Some(name(tag))));
    ensure(names == due, || format!("the answers were {names:?}"))?;
    ensure(stage.tags().len() == 3, || format!("the remote has {:?}", stage.tags()))
}

/// Creates, reads, lists and deletes every name alone, so that one failure names its name.
async fn round_trip(subject: &dyn Subject, names: impl Iterator<Item = TagName>) -> Behaviour {
    let rules = &subject.capabilities().names;
    let target = subject.target(1);
    let mut taken = 0;
    for tag in names.filter(|name| (rules.refuses)(name).is_none()) {
        let stage = subject.start(&[], false).await;
        let provider = stage.provider();
        let at = |step: &str, found: &dyn fmt::Debug| format!("{step} {tag}: {found:?}");
        let created = provider.create_tag(&new_tag(&tag, target.clone(), None)).await;
        ensure(created.as_ref().is_ok_and(|created| created.name == tag), || at("create", &created))?;
        ensure(stage.tags().keys().eq([&tag]), || at("the remote after create", &stage.tags()))?;
        let read = provider.get_tag(&tag).await;
        let is_it = read.as_ref().is_ok_and(|read| read.as_ref().is_some_and(|read| read.name == tag));
        ensure(is_it, || at("get", &read))?;
        ensure_whole(&provider.list_tags().await?, &[(tag.clone(), lightweight(target.clone()))])?;
        if subject.capabilities().deletes == Deletes::Yes {
            let deleted = provider.delete_tag(&tag, &Value::of(target.clone())).await;
            ensure(deleted.is_ok() && stage.tags().is_empty(), || at("delete", &deleted))?;
            let read = provider.get_tag(&tag).await;
            ensure(read == Ok(None), || at("get after delete", &read))?;
        }
        taken += 1;
    }
    applies(taken > 0)
}

async fn takes_odd_names(subject: &dyn Subject) -> Behaviour {
    round_trip(subject, ODD_NAMES.iter().map(|odd| name(odd))).await
}

async fn takes_long_names(subject: &dyn Subject) -> Behaviour {
    let long = ["v".repeat(200), "é".repeat(100), format!("{}/{}", "x".repeat(100), "y".repeat(99))];
    round_trip(subject, long.iter().map(|long| name(long))).await
}

async fn absent_space(subject: &dyn Subject) -> Behaviour {
    never_absent(subject, Breakage::SpaceAbsent, &[FaultKind::NotFound]).await
}

async fn refused_credential(subject: &dyn Subject) -> Behaviour {
    never_absent(subject, Breakage::CredentialRefused, &[FaultKind::Unauthorized]).await
}

/// With this breakage every read is one of these faults, and nothing is written.
async fn never_absent(subject: &dyn Subject, breakage: Breakage, kinds: &[FaultKind]) -> Behaviour {
    let tags = many(subject, 2);
    let stage = subject.start(&tags, false).await;
    applies(stage.break_by(breakage))?;
    let provider = stage.provider();
    ensure_fault(provider.identity().await, kinds)?;
    ensure_fault(provider.list_tags().await, kinds)?;
    ensure_fault(provider.get_tag(&tags[0].0).await, kinds)?;
    ensure_fault(provider.get_tag(&name("other")).await, kinds)?;
    if breakage != Breakage::SpaceAbsent || !subject.targets_outlive_the_space() {
        ensure_fault(provider.has_target(&subject.target(0)).await, kinds)?;
    }
    ensure_fault(provider.create_tag(&new_tag(&name("other"), subject.target(0), None)).await, kinds)?;
    if subject.capabilities().deletes == Deletes::Yes {
        ensure_fault(provider.delete_tag(&tags[0].0, &Value::of(tags[0].1.target.clone())).await, kinds)?;
    }
    Ok(())
}

async fn reads_only(subject: &dyn Subject) -> Behaviour {
    let tags = many(subject, 2);
    let stage = subject.start(&tags, false).await;
    applies(stage.break_by(Breakage::CredentialReadsOnly))?;
    let provider = stage.provider();
    ensure_whole(&provider.list_tags().await?, &tags)?;
    ensure_fault(
        provider.create_tag(&new_tag(&name("other"), subject.target(0), None)).await,
        &[FaultKind::Forbidden],
    )?;
    if subject.capabilities().deletes == Deletes::Yes {
        ensure_fault(
            provider.delete_tag(&tags[0].0, &Value::of(tags[0].1.target.clone())).await,
            &[FaultKind::Forbidden],
        )?;
    }
    ensure(stage.tags() == tags.into_iter().collect(), || format!("{:?} is left", stage.tags()))
}

async fn broken_listing(subject: &dyn Subject, breakage: Breakage) -> Behaviour {
    let kinds: &[FaultKind] = match breakage {
        Breakage::ListingHtml | Breakage::ListingLoops => &[FaultKind::Unreadable],
        _ => &[FaultKind::Unreadable, FaultKind::Ambiguous],
    };
    let stage = subject.start(&many(subject, subject.more_than_a_page() + 1), false).await;
    applies(stage.break_by(breakage))?;
    ensure_fault(stage.provider().list_tags().await, kinds)
}

async fn odd_listing(subject: &dyn Subject, odd: Oddity) -> Behaviour {
    let stage = subject.start(&many(subject, 2 * subject.more_than_a_page() + 1), false).await;
    stage.turn_odd(odd.what);
    match stage.provider().list_tags().await {
        // The truth is what is there now: others may have changed it meanwhile.
        Ok(snapshot) => ensure_whole(&snapshot, &stage.tags().into_iter().collect::<Vec<_>>()),
        Err(_) if odd.due == Due::WholeOrFault => Ok(()),
        Err(fault) => Err(fault.into()),
    }
}

async fn failing_server(subject: &dyn Subject) -> Behaviour {
    let tags = many(subject, 1);
    let stage = subject.start(&tags, false).await;
    applies(stage.break_by(Breakage::ServerFails))?;
    let provider = stage.provider();
    ensure_fault(provider.get_tag(&tags[0].0).await, &[FaultKind::Ambiguous, FaultKind::Unreadable])?;
    ensure_fault(provider.identity().await, &[FaultKind::Ambiguous, FaultKind::Unreadable])?;
    // Where a create begins with a read, it ends with it, and nothing was sent.
    let doubts = [FaultKind::Ambiguous, FaultKind::NotSent];
    ensure_fault(provider.create_tag(&new_tag(&name("other"), subject.target(0), None)).await, &doubts)
}

async fn loses_create_reply(subject: &dyn Subject) -> Behaviour {
    let stage = subject.start(&[], false).await;
    applies(stage.break_by(Breakage::CreateReplyLost))?;
    let tag = name("v1");
    let outcome = stage.provider().create_tag(&new_tag(&tag, subject.target(0), None)).await;
    ensure_fault(outcome, &[FaultKind::Ambiguous])?;
    ensure(stage.writes(&tag) == 1, || format!("it was sent {} times", stage.writes(&tag)))?;
    ensure(stage.tags().contains_key(&tag), || "the fake did not apply it".to_owned())
}

async fn loses_delete_reply(subject: &dyn Subject) -> Behaviour {
    applies(subject.capabilities().deletes == Deletes::Yes)?;
    let tags = many(subject, 1);
    let stage = subject.start(&tags, false).await;
    applies(stage.break_by(Breakage::DeleteReplyLost))?;
    let outcome = stage.provider().delete_tag(&tags[0].0, &Value::of(tags[0].1.target.clone())).await;
    ensure_fault(outcome, &[FaultKind::Ambiguous])?;
    ensure(stage.writes(&tags[0].0) == 1, || format!("it was sent {} times", stage.writes(&tags[0].0)))?;
    ensure(stage.tags().is_empty(), || "the fake did not apply it".to_owned())
}
