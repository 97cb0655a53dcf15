//! Whole passes over remotes whose tags do not point at git objects, with a provider in memory.

mod support;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::tz::TimeZone;
use support::memory::{Call, MemoryProvider, MemoryTag, MemoryWorld, capabilities};
use support::repository::SampleRepository;
use tagsyncd::config::{JobSettings, RemoteSettings, RemoteTemplate, Repositories, Repository, Settings};
use tagsyncd::http::{HttpSettings, Pool};
use tagsyncd::ledger::{SqliteLedger, StateDirectory, StateLock};
use tagsyncd::plan::{Limits, Policy, Rule};
use tagsyncd::provider::{
    Annotations, Capabilities, Connection, Deletes, Descriptor, Fault, Lease, Moves, Provider, RemoteKeys,
};
use tagsyncd::report::{RemoteReport, State};
use tagsyncd::schedule::Schedule;
use tagsyncd::sync::{Grace, Mode, Progress, Purpose, Question, Run, explain, run};
use tagsyncd::tag::{
    NameMapping, NamePatterns, NameTemplate, NotesRef, ResolveRule, Selection, TagName, Target, TargetKind, TrailerKey,
};
use uuid::Uuid;

/// The keys of a remote in memory: the provider itself.
struct Keys(Arc<MemoryProvider>);

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys")
    }
}

#[async_trait]
impl RemoteKeys for Keys {
    fn describe(&self) -> String {
        "memory".to_owned()
    }

    fn allows_loss(&self, _: &TagName) -> bool {
        false
    }

    async fn connect(&self, _: Connection) -> Result<Arc<dyn Provider>, Fault> {
        Ok(self.0.clone())
    }
}

fn abilities(target: TargetKind) -> Capabilities {
    Capabilities {
        target,
        annotations: Annotations::None,
        ..capabilities(Moves::InPlace, Deletes::Yes, Lease::LookBefore)
    }
}

fn name(name: &str) -> TagName {
    TagName::new(name).expect("a valid name")
}

fn digest_text(number: u8) -> String {
    format!("sha256:{number:064x}")
}

fn digest(number: u8) -> Target {
    TargetKind::Digest.parse(&digest_text(number)).expect("a digest")
}

/// A repository, a remote in memory and what is remembered of them.
struct World {
    repository: SampleRepository,
    remote: Arc<MemoryProvider>,
    job: JobSettings,
    ledger: Arc<SqliteLedger>,
    _lock: StateLock,
    _state: tempfile::TempDir,
}

impl World {
    fn new(rule: ResolveRule, policy: Policy, kind: TargetKind) -> Self {
        let repository = SampleRepository::bare();
        let remote = Arc::new(MemoryProvider::new(abilities(kind), MemoryWorld::new()));
        let descriptor: &'static Descriptor = Box::leak(Box::new(Descriptor {
            name: "memory",
            title: "Memory",
            capabilities: abilities(kind),
            read: |_, _| None,
            schema: |_| schemars::Schema::default(),
        }));
        let settings = RemoteSettings {
            name: "images".to_owned(),
            provider: descriptor,
            keys: Arc::new(Keys(remote.clone())),
            http: HttpSettings::default(),
            mapping: NameMapping::default(),
            rule,
            compare_annotations: false,
        };
        let from = Repository::local("core", repository.path());
        let job = JobSettings {
            name: "core".to_owned(),
            from: Repositories::One(from),
            to: vec![RemoteTemplate::ready(settings)],
            policy,
            selection: Selection::default(),
            immutable: NamePatterns::default(),
            protected: NamePatterns::default(),
            limits: Limits::default(),
            delete_grace: Duration::ZERO,
            schedule: Schedule::parse("@hourly", TimeZone::UTC).expect("a schedule"),
            hook_secret: None,
        };
        let state = tempfile::tempdir().expect("a temporary directory");
        let directory = StateDirectory::resolve(Some(state.path()), None).expect("an absolute path");
        let lock = directory.lock().expect("nobody else holds it");
        let ledger = Arc::new(SqliteLedger::open(&lock).expect("a new ledger"));

        Self { repository, remote, job, ledger, _lock: lock, _state: state }
    }

    fn by_tag(policy: Policy) -> Self {
        let template = NameTemplate::new("sha-{commit:12}").expect("a template");
        Self::new(ResolveRule::Tag(template), policy, TargetKind::Digest)
    }

    async fn pass(&self, purpose: Purpose, released: Vec<String>) -> (Uuid, RemoteReport) {
        self.pass_that_tells(purpose, released, true).await
    }

    /// A pass that names all there is, or one that takes agreement at a glance.
    async fn pass_that_tells(&self, purpose: Purpose, released: Vec<String>, verbose: bool) -> (Uuid, RemoteReport) {
        let run_settings = Run {
            id: Uuid::now_v7(),
            purpose,
            pairs: None,
            mode: Mode::Sync(self.ledger.clone()),
            pool: Arc::new(Pool::new()),
            released,
            grace: Grace::Skip,
            verbose,
            stop: tokio_util::sync::CancellationToken::new(),
            progress: Progress::default(),
            ended: None,
        };
        let mut report = run(&[&self.job], &run_settings).await;
        let mut job = report.jobs.pop().expect("one job");
        assert_eq!(job.error, None);
        let remote = job.remotes.pop().expect("one remote");
        assert_eq!(remote.error, None);
        (run_settings.id, remote)
    }

    /// One pass; what it wrote, and how it ended.
    async fn sync(&self) -> (Vec<Call>, RemoteReport) {
        let before = self.remote.writes().len();
        let (_, report) = self.pass(Purpose::Agree, Vec::new()).await;
        (self.remote.writes().split_off(before), report)
    }

    /// Lets the time pass in which a replica may still show what was there before our own writes.
    fn age(&self) {
        let ledger = rusqlite::Connection::open(self._state.path().join("ledger.db")).expect("the ledger is there");
        ledger.execute("UPDATE history SET time = time - 120000000", []).expect("a table of the ledger");
    }

    /// What CI leaves for a commit.
    fn built(&self, commit: &str, number: u8) {
        self.put(&format!("sha-{}", &commit[..12]), digest(number));
    }

    fn put(&self, tag: &str, target: Target) {
        self.remote.change(|world| world.tags.insert(name(tag), MemoryTag::lightweight(target)));
    }

    fn gone(&self, tag: &str) {
        self.remote.change(|world| world.tags.remove(&name(tag)));
    }

    fn far(&self) -> BTreeMap<String, Target> {
        self.remote.tags().into_iter().map(|(name, tag)| (name.to_string(), tag.target)).collect()
    }
}

#[tokio::test]
async fn a_tag_waits_for_its_image_and_follows_it() {
    let world = World::by_tag(Policy::Mirror);
    let [one, two] = ["one", "two"].map(|message| world.repository.commit(message));
    world.repository.tag("v1", &one);
    world.repository.tag("v2", &two);
    world.built(&one, 1);
    let (writes, report) = world.sync().await;
    assert_eq!(writes, [Call::Create(name("v1"))]);
    assert_eq!(world.far()["v1"], digest(1));
    let waiting = format!("the remote has no tag `sha-{}` yet", &two[..12]);
    assert_eq!(report.waiting.iter().map(|one| one.reason.as_str()).collect::<Vec<_>>(), [waiting]);
    let (writes, report) = world.sync().await;
    assert_eq!((writes.len(), report.state), (0, State::Waiting));

    // CI is done with the second commit, and with it all are in sync.
    world.built(&two, 2);
    assert_eq!(world.sync().await.0, [Call::Create(name("v2"))]);
    let (writes, report) = world.sync().await;
    assert_eq!((writes.len(), report.state), (0, State::InSync));

    // The registry drops the first image's own tag: nothing follows, also not from somebody else's change.
    world.gone(&format!("sha-{}", &one[..12]));
    world.put("v1", digest(9));
    let (writes, report) = world.sync().await;
    assert_eq!((writes.len(), report.waiting.len(), report.held.len()), (0, 1, 0));
    world.gone("v1");
    assert_eq!(world.sync().await.0, []);
    world.age();
    // The tag is still ours: when the image is back, so is the tag.
    world.built(&one, 3);
    assert_eq!(world.sync().await.0, [Call::Create(name("v1"))]);
    assert_eq!(world.far()["v1"], digest(3));
    // Gone from the source while nobody can tell what it was: deleted like any other, the image's own tag is not.
    world.gone(&format!("sha-{}", &one[..12]));
    world.repository.delete_tag("v1");
    assert_eq!(world.sync().await.0, [Call::Delete(name("v1"))]);
    assert!(world.far().contains_key(&format!("sha-{}", &two[..12])));
}

#[tokio::test]
async fn exact_leaves_what_it_resolves_from() {
    let world = World::by_tag(Policy::Exact);
    let commit = world.repository.commit("one");
    world.repository.tag("v1", &commit);
    world.built(&commit, 1);
    world.put("sha-0123456789ab", digest(2));
    world.put("stray", digest(3));
    let (_, report) = world.pass(Purpose::Agree, Vec::new()).await;
    let plan = report.plan.clone().expect("the first exact pass needs a person");
    world.pass(Purpose::Agree, vec![plan]).await;
    let left: Vec<String> = world.far().into_keys().collect();
    let mut expected = vec!["sha-0123456789ab".to_owned(), format!("sha-{}", &commit[..12]), "v1".to_owned()];
    expected.sort();
    assert_eq!(left, expected);
}

#[tokio::test]
async fn what_was_undone_stays_undone_though_its_target_could_not_be_told_then() {
    let world = World::by_tag(Policy::Mirror);
    let commit = world.repository.commit("one");
    world.repository.tag("v1", &commit);
    world.built(&commit, 1);
    let (made_by, _) = world.pass(Purpose::Agree, Vec::new()).await;
    world.gone(&format!("sha-{}", &commit[..12]));
    world.pass(Purpose::Undo { run: made_by, tags: None }, Vec::new()).await;
    assert!(!world.far().contains_key("v1"), "{:?}", world.far());
    world.built(&commit, 1);
    let (writes, report) = world.sync().await;
    assert_eq!((writes, report.held.len()), (Vec::new(), 1));
    assert_eq!(report.held[0].verdict.to_string(), "undone");
}

#[tokio::test]
async fn notes_and_trailers_lead_to_machines_and_a_missing_one_is_looked_for() {
    let snapshot = |number: u8| format!("67e55044-10b1-426f-9247-bb680e5fe0{number:02x}");
    let target = |number| TargetKind::Snapshot.parse(&snapshot(number)).expect("a UUID");
    let notes = ResolveRule::Note(NotesRef::new("refs/notes/machines").expect("a ref of notes"));
    let trailers = ResolveRule::Trailer(TrailerKey::new("Machine").expect("the name of a trailer"));
    for rule in [notes, trailers] {
        let world = World::new(rule.clone(), Policy::Mirror, TargetKind::Snapshot);
        let commit = world.repository.commit("one");
        world.remote.change(|far| far.targets = Some([target(1)].into()));
        let say = |number: u8| match rule {
            ResolveRule::Note(_) => {
                let text = snapshot(number);
                world.repository.git(&["notes", "--ref", "refs/notes/machines", "add", "-f", "-m", &text, &commit]);
            }
            _ => {
                world.repository.annotate("v1", &commit, &format!("Release\n\nMachine: {}\n", snapshot(number)));
            }
        };
        world.repository.annotate("v1", &commit, "Release\n");
        let (writes, report) = world.sync().await;
        assert_eq!((writes.len(), report.waiting.len()), (0, 1), "{rule}: {:?}", report.waiting);
        say(1);
        assert_eq!(world.sync().await.0, [Call::Create(name("v1"))], "{rule}");
        assert_eq!(world.sync().await.0, [], "{rule}");
        // What it moves to is not there yet; it is looked for with each pass, and not offered before.
        say(2);
        let (_, report) = world.sync().await;
        assert_eq!((report.state, world.far()["v1"].clone()), (State::Waiting, target(1)), "{rule}");
        let looks =
            |world: &World| world.remote.calls().iter().filter(|call| matches!(call, Call::HasTarget(_))).count();
        let before = looks(&world);
        assert_eq!(world.sync().await.0, [], "{rule}");
        assert!(looks(&world) > before, "{rule}");
        world.remote.change(|far| far.targets = Some([target(1), target(2)].into()));
        assert_eq!(world.sync().await.0, [Call::Move(name("v1"))], "{rule}");
        assert_eq!(world.far()["v1"], target(2), "{rule}");
    }
}

#[tokio::test]
async fn a_note_that_changes_is_seen_though_no_tag_did() {
    let snapshot = |number: u8| format!("67e55044-10b1-426f-9247-bb680e5fe0{number:02x}");
    let target = |number| TargetKind::Snapshot.parse(&snapshot(number)).expect("a UUID");
    let notes = ResolveRule::Note(NotesRef::new("refs/notes/machines").expect("a ref of notes"));
    let world = World::new(notes, Policy::Mirror, TargetKind::Snapshot);
    world.remote.change(|far| far.targets = Some([target(1), target(2)].into()));
    let commit = world.repository.commit("one");
    world.repository.tag("v1", &commit);
    let say = |number: u8| {
        let text = snapshot(number);
        world.repository.git(&["notes", "--ref", "refs/notes/machines", "add", "-f", "-m", &text, &commit]);
    };
    say(1);
    for _ in 0..3 {
        world.pass_that_tells(Purpose::Agree, Vec::new(), false).await;
        world.age();
    }
    assert_eq!((world.remote.writes(), world.far()["v1"].clone()), (vec![Call::Create(name("v1"))], target(1)));
    say(2);
    world.pass_that_tells(Purpose::Agree, Vec::new(), false).await;
    assert_eq!(world.far()["v1"], target(2));
}

#[tokio::test]
async fn explain_looks_at_what_the_rule_reads_from() {
    let world = World::by_tag(Policy::Mirror);
    let commit = world.repository.commit("one");
    world.repository.tag("v1", &commit);
    let text = "[repository.core]\npath = \"/x\"\n[remote.images]\nprovider = \"gitlab\"\nproject = \"x\"\n\
                [job.core]\nfrom = \"core\"\nto = [\"images\"]\npolicy = \"mirror\"\n";
    let settings = Settings::parse(text, std::path::Path::new("config.toml")).expect("a good file");
    let repository = Repository::local("core", world.repository.path());
    let tag = name("v1");
    let question = Question {
        job: &world.job,
        repository: &repository,
        remote: &world.job.to[0],
        tag: &tag,
        file: &settings.source,
        grace: Grace::Skip,
    };
    let ask = async || {
        let told = explain(&question, None, Some(&Arc::new(Pool::new()))).await.expect("no ledger, no fault");
        let rule = told.rules.iter().find(|rule| rule.rule == Rule::Resolve).expect("the rule was asked").clone();
        (told.verdict.to_string(), rule.applies, rule.detail.unwrap_or_default(), told.incomplete)
    };
    let sha = format!("sha-{}", &commit[..12]);
    let rule = "{ tag = \"sha-{commit:12}\" }";
    assert_eq!(ask().await, ("waiting".to_owned(), true, format!("{rule}: the remote has no tag `{sha}` yet"), false));
    world.built(&commit, 1);
    assert_eq!(ask().await, ("create".to_owned(), false, format!("{rule}: sha256:000000000000"), false));
    assert!(world.remote.calls().contains(&Call::Get(name(&sha))));
    // The name that it reads from is in no scope itself.
    let read_from = name(&sha);
    let about_it = Question { tag: &read_from, ..question };
    let told = explain(&about_it, None, Some(&Arc::new(Pool::new()))).await.expect("no ledger, no fault");
    assert_eq!(told.verdict.to_string(), "out_of_scope", "{:?}", told.reason);
    let fault = Fault::new(tagsyncd::provider::FaultKind::Ambiguous, "the connection broke");
    let is_it = move |call: &Call| *call == Call::Get(name(&sha));
    world.remote.on(is_it, support::memory::Mishap::Refuse(fault));
    let (verdict, applies, detail, incomplete) = ask().await;
    assert_eq!((verdict.as_str(), applies, incomplete), ("unknown", true, true));
    assert!(detail.contains("the connection broke"), "{detail}");
}
