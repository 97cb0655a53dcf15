//! Vers: the fake behind it, the provider before it, and whole passes of the program.

mod support;

use std::sync::Arc;

use serde_json::{Value as Json, json};
use support::program::{Ended, Program};
use support::repository::SampleRepository;
use support::server::{Effect, Reply, When};
use support::vers::{FakeVers, Quirks, VersWorld, WriteKind, kind, snapshot_id};
use support::vers_subject::connect;
use tagsyncd::provider::{FaultKind, NewTag, Provider};
use tagsyncd::tag::{Annotation, TagName, Target, Value};

const TAGS: &str = "/api/v1/repositories/core/tags";

fn with_quirks(quirks: Quirks) -> FakeVers {
    FakeVers::start(VersWorld { quirks, ..VersWorld::with_core() })
}

fn name(name: &str) -> TagName {
    TagName::new(name).expect("a tag name")
}

fn target(n: u32) -> Target {
    Target::Snapshot(snapshot_id(n).parse().expect("an id"))
}

fn new_tag(of: &str, n: u32) -> NewTag {
    NewTag { name: name(of), value: Value::of(target(n)), message: None, tag_id: None }
}

async fn provider(fake: &FakeVers) -> Arc<dyn Provider> {
    connect(&fake.url(), "core", "secret", false).await
}

// The fake, over a plain client.

async fn call(fake: &FakeVers, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> (u16, String) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(fake.server().address()).await.expect("the fake listens");
    let mut request = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n");
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
    stream.write_all(request.as_bytes()).await.expect("the request goes out");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("the answer is text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer has a head");
    (head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status"), body.to_owned())
}

const KEY: (&str, &str) = ("Authorization", "Bearer secret");
const JSON: (&str, &str) = ("Content-Type", "application/json");

#[tokio::test]
async fn the_fake_takes_a_key_in_one_spelling_only() {
    let fake = with_quirks(Quirks::default());
    for header in
        ["Bearer secret", "bearer secret", "Bearer  secret", "Bearer", "Bearer ", "Basic secret", "Bearer other"]
    {
        let due = if header == "Bearer secret" { 200 } else { 401 };
        let (status, body) = call(&fake, "GET", TAGS, &[("Authorization", header)], "").await;
        assert_eq!(status, due, "{header}");
        assert!(due == 200 || body.contains(r#""success":false"#), "{body}");
    }
    assert_eq!(call(&fake, "GET", TAGS, &[], "").await.0, 401);
    fake.change(|world| world.quirks.bare_401 = true);
    assert_eq!(call(&fake, "GET", TAGS, &[], "").await, (401, String::new()));
}

#[tokio::test]
async fn the_fake_refuses_as_vers_does() {
    let fake = with_quirks(Quirks::default());
    fake.change(|world| {
        world.commit(&snapshot_id(9), "others");
        world.put("core", "there", &snapshot_id(0), None);
    });
    let good = json!({ "tag_name": "v1", "commit_id": snapshot_id(0).to_uppercase() });
    let with = |field: &str, value: Json| {
        let mut body = good.clone();
        body[field] = value;
        body.to_string()
    };
    for (body, due, says) in [
        (with("tag_name", json!("a/b")), 400, "Invalid tag name"),
        (with("tag_name", json!("")), 400, "Invalid tag name"),
        (with("tag_name", json!("x".repeat(129))), 400, "Invalid tag name"),
        (with("tag_name", json!("there")), 409, "already exists"),
        (with("commit_id", json!(snapshot_id(9))), 403, "Forbidden"),
        (with("commit_id", json!(snapshot_id(7))), 404, "commit not found"),
        (with("commit_id", json!("2695effb")), 422, "UUID parsing failed"),
        (with("commit_id", json!(5)), 422, "invalid type"),
        (with("commit_id", json!(null)), 422, "missing field"),
        ("{".to_owned(), 400, "Failed to parse"),
        ("[]".to_owned(), 422, "invalid type"),
        (good.to_string(), 201, "core:v1"),
    ] {
        let (status, answer) = call(&fake, "POST", TAGS, &[KEY, JSON], &body).await;
        assert_eq!(status, due, "{body}: {answer}");
        assert!(answer.contains(says), "{body}: {answer}");
    }
    assert_eq!(call(&fake, "POST", TAGS, &[KEY], &good.to_string()).await.0, 415);
    let absent = TAGS.replace("core", "other");
    assert!(call(&fake, "POST", &absent, &[KEY, JSON], &good.to_string()).await.1.contains("repository not found"));
    assert_eq!(fake.targets("core")["v1"], snapshot_id(0), "ids are kept in lower case");

    let tag = format!("{TAGS}/v1");
    for (body, due) in [(json!({}), 400), (json!({ "commit_id": null }), 400), (json!({ "description": "x" }), 204)] {
        assert_eq!(call(&fake, "PATCH", &tag, &[KEY, JSON], &body.to_string()).await.0, due, "{body}");
    }
    assert_eq!(fake.tags("core")["v1"].description.as_deref(), Some("x"));
    call(&fake, "PATCH", &tag, &[KEY, JSON], r#"{"description":null}"#).await;
    let changed = fake.tags("core")["v1"].clone();
    assert!(changed.description.is_none() && changed.updated_at > changed.created_at, "{changed:?}");
    assert_eq!(call(&fake, "DELETE", &tag, &[KEY], "").await, (204, String::new()));
    assert!(call(&fake, "DELETE", &tag, &[KEY], "").await.1.contains("tag not found"));
    let statuses: Vec<_> = fake.writes().iter().map(|write| (write.kind, write.status)).collect();
    assert_eq!(statuses[statuses.len() - 2..], [(WriteKind::Delete, 204), (WriteKind::Delete, 404)]);
}

// The provider.

#[tokio::test]
async fn a_missing_tag_and_a_missing_repository_are_told_apart() {
    for quirks in [
        Quirks::default(),
        Quirks { vague_404: true, ..Quirks::default() },
        Quirks { mute_404: true, ..Quirks::default() },
    ] {
        let fake = with_quirks(quirks.clone());
        let provider = provider(&fake).await;
        assert_eq!(provider.get_tag(&name("v1")).await, Ok(None), "{quirks:?}");
        fake.change(|world| world.repositories.clear());
        let fault = provider.get_tag(&name("v1")).await.unwrap_err();
        assert_eq!(fault.kind, FaultKind::NotFound, "{quirks:?}");
    }
    // A 404 that is not of the API is no absence either.
    let fake = with_quirks(Quirks::default());
    let page = Effect::Answer(Reply::html(404));
    fake.server().on(When::any(), page);
    let fault = provider(&fake).await.get_tag(&name("v1")).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::NotFound, "{fault}");
}

#[tokio::test]
async fn a_conflict_is_sent_once() {
    let fake = with_quirks(Quirks::default());
    fake.change(|world| world.put("core", "v1", &snapshot_id(0), None));
    let fault = provider(&fake).await.create_tag(&new_tag("v1", 1)).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Rejected);
    assert!(fault.message.contains("409") && fault.message.contains("already exists"), "{fault}");
    assert_eq!(fake.writes().len(), 1);
}

#[tokio::test]
async fn a_move_is_read_back() {
    for quirks in [Quirks::default(), Quirks { move_shows_tag: true, ..Quirks::default() }] {
        let fake = with_quirks(quirks);
        fake.change(|world| world.put("core", "v1", &snapshot_id(0), Some("by hand")));
        let provider = provider(&fake).await;
        let moved = provider.move_tag(&name("v1"), &Value::of(target(0)), &new_tag("v1", 1)).await.unwrap();
        assert_eq!(moved.value, Ok(Value::of(target(1))));
        assert_eq!(fake.tags("core")["v1"].description.as_deref(), Some("by hand"), "not compared, not touched");
        assert_eq!(fake.writes()[0].body, json!({ "commit_id": snapshot_id(1) }).to_string());
        let record = fake.server().record();
        assert_eq!((record.count(kind::MOVE), record.count(kind::GET)), (1, 1));
    }
}

#[tokio::test]
async fn a_move_that_cannot_be_read_back_is_in_doubt() {
    for (status, what) in [(500, "server"), (401, "credential"), (404, "space")] {
        let fake = with_quirks(Quirks::default());
        fake.change(|world| world.put("core", "v1", &snapshot_id(0), None));
        fake.server().on(When::method("GET"), Effect::Answer(Reply::json(status, &json!({ "error": "no" }))));
        let outcome = provider(&fake).await.move_tag(&name("v1"), &Value::of(target(0)), &new_tag("v1", 1)).await;
        assert_eq!(outcome.unwrap_err().kind, FaultKind::Ambiguous, "{what}");
    }
    // A tag that goes in between was moved all the same.
    let fake = with_quirks(Quirks::default());
    fake.change(|world| world.put("core", "v1", &snapshot_id(0), None));
    fake.adversary(When::method("GET"), |world| drop(world.repository("core").tags.remove("v1")));
    let outcome = provider(&fake).await.move_tag(&name("v1"), &Value::of(target(0)), &new_tag("v1", 1)).await;
    assert_eq!(outcome.unwrap_err().kind, FaultKind::Ambiguous);
    // A refused one is not.
    let outcome = provider(&fake).await.move_tag(&name("v1"), &Value::of(target(0)), &new_tag("v1", 1)).await;
    assert_eq!(outcome.unwrap_err().kind, FaultKind::NotFound);
}

#[tokio::test]
async fn commits_are_looked_through_page_by_page() {
    let fake = with_quirks(Quirks::default());
    fake.change(|world| (100..350).for_each(|n| world.commit(&snapshot_id(n), "acme")));
    fake.change(|world| world.commit(&snapshot_id(9), "others"));
    let provider = provider(&fake).await;
    let asked = |fake: &FakeVers| {
        let asked = fake.server().record().count(kind::COMMITS);
        fake.server().forget();
        asked
    };
    assert_eq!(provider.has_target(&target(349)).await, Ok(true));
    assert_eq!(asked(&fake), 1, "the newest come first");
    assert_eq!(provider.has_target(&target(0)).await, Ok(true));
    assert_eq!(asked(&fake), 3);
    for absent in [7, 9] {
        assert_eq!(provider.has_target(&target(absent)).await, Ok(false));
        assert_eq!(asked(&fake), 3);
    }
    fake.change(|world| world.quirks.commits_cap = Some(40));
    assert_eq!(provider.has_target(&target(0)).await, Ok(true));
    fake.change(|world| world.quirks = Quirks { no_commit_total: true, ..Quirks::default() });
    assert_eq!(provider.has_target(&target(7)).await, Ok(false), "an empty page is the end, too");
    // What is said to be there and was not shown may be the one.
    fake.change(|world| world.quirks = Quirks { commit_total_lies: true, ..Quirks::default() });
    assert_eq!(provider.has_target(&target(7)).await.unwrap_err().kind, FaultKind::Unreadable);
    fake.change(|world| (1_000..7_000).for_each(|n| world.commit(&snapshot_id(n), "acme")));
    asked(&fake);
    assert_eq!(provider.has_target(&target(7)).await.unwrap_err().kind, FaultKind::Unreadable);
    assert_eq!(asked(&fake), 50, "there is a bound");
    let git = Target::Commit("2695effb5807a22ff3d138d593fd856244e155e7".parse().unwrap());
    assert_eq!(provider.has_target(&git).await.unwrap_err().kind, FaultKind::Unsupported);
}

#[tokio::test]
async fn refusals_say_what_to_check() {
    let fake = with_quirks(Quirks::default());
    fake.change(|world| world.commit(&snapshot_id(9), "others"));
    let provider = provider(&fake).await;
    let hint = |outcome: Result<_, tagsyncd::provider::Fault>| outcome.unwrap_err().hint.unwrap_or_default();
    assert!(hint(provider.create_tag(&new_tag("v1", 9)).await).contains("another organisation"));
    assert!(hint(provider.create_tag(&new_tag("v1", 7)).await).contains("`target`"));
    fake.server()
        .on(When::method("POST"), Effect::Answer(Reply::text(422, "Failed to deserialize: bad \u{1b}[31m id")));
    let fault = provider.create_tag(&new_tag("v1", 0)).await.unwrap_err();
    assert!(fault.message.contains("Failed to deserialize") && !fault.message.contains('\u{1b}'), "{fault}");
    fake.server().behave();
    fake.change(|world| world.keys.clear());
    for bare_401 in [true, false] {
        fake.change(|world| world.quirks.bare_401 = bare_401);
        // A refused key is left alone for a while; another pool knows nothing of that.
        let fault = crate::provider(&fake).await.list_tags().await.unwrap_err();
        assert_eq!(fault.kind, FaultKind::Unauthorized);
        assert!(fault.hint.unwrap().contains("API key") && !fault.message.contains("secret"));
    }
}

#[tokio::test]
async fn facts_are_times_and_the_description() {
    let fake = with_quirks(Quirks::default());
    fake.change(|world| world.put("core", "v1", &snapshot_id(0), Some(&"long ".repeat(200))));
    let provider = provider(&fake).await;
    let tag = provider.get_tag(&name("v1")).await.unwrap().unwrap();
    let facts = provider.get_facts(&tag, true).await.unwrap();
    let what: Vec<_> = facts.iter().map(|fact| fact.what).collect();
    assert_eq!(what, ["created", "updated", "description"]);
    assert!(facts[0].says.starts_with("2023-") && facts[2].says.len() < 300, "{facts:?}");
    fake.change(|world| world.quirks.other_fields = true);
    fake.change(|world| world.put("core", "v1", &snapshot_id(0), None));
    assert_eq!(provider.get_facts(&tag, false).await.unwrap(), []);
}

#[tokio::test]
async fn names_beyond_the_rules_of_today_are_listed() {
    let fake = with_quirks(Quirks::default());
    let long = "x".repeat(300);
    fake.change(|world| [&long, "new+rule"].map(|name| world.put("core", name, &snapshot_id(0), None)));
    let listed = provider(&fake).await.list_tags().await.unwrap();
    assert!(listed.get(&name(&long)).is_some() && listed.get(&name("new+rule")).is_some());
}

#[tokio::test]
async fn a_large_listing_is_read() {
    let fake = with_quirks(Quirks::default());
    let text = "x".repeat(3_000);
    fake.change(|world| (0..5_000).for_each(|n| world.put("core", &format!("v{n}"), &snapshot_id(n % 3), Some(&text))));
    let compared = connect(&fake.url(), "core", "secret", true).await.list_tags().await.unwrap();
    assert_eq!(compared.tags().len(), 5_000, "15 MB in one answer");
    let due = Annotation::of_message(Some(&text));
    assert!(compared.tags().iter().all(|tag| tag.value.as_ref().unwrap().annotation == due && tag.message.is_none()));
}

// Whole passes.

/// A repository whose tags name their snapshots in a trailer, a Vers, and the program between them.
struct World {
    repository: SampleRepository,
    vers: FakeVers,
    program: Program,
    commit: String,
}

impl World {
    fn new(remote: &str) -> Self {
        let repository = SampleRepository::bare();
        let commit = repository.commit("one");
        let vers = FakeVers::start(VersWorld::with_core());
        let program = Program::new();
        program.configure(&format!(
            r#"
            [repository.core]
            path = "{}"
            [remote.machines]
            provider = "vers"
            url = "{}"
            repository = "core"
            token = {{ file = "{}" }}
            {}
            {remote}
            [job.core]
            from = "core"
            to = ["machines"]
            policy = "mirror"
            "#,
            repository.path().display(),
            vers.url(),
            program.path("token").display(),
            if remote.contains("target") { "" } else { r#"target = { trailer = "Vers-Commit" }"# },
        ));
        Self { repository, vers, program, commit }
    }

    fn tag(&self, name: &str, title: &str, n: u32) {
        self.repository.annotate(name, &self.commit, &format!("{title}\n\nVers-Commit: {}\n", snapshot_id(n)));
    }

    fn sync(&self, code: i32) -> Ended {
        let ended = self.program.sync(&[]).expect(code);
        assert!(!ended.stdout.contains("secret") && !ended.stderr.contains("secret"), "{ended:?}");
        ended
    }

    fn counts(&self, code: i32) -> Json {
        self.sync(code).remote()["counts"].clone()
    }
}

#[test]
fn tags_are_created_moved_and_deleted_and_then_there_is_nothing_to_do() {
    let world = World::new(r#"annotations = "message""#);
    world.tag("v1", "First", 0);
    world.tag("v2", "Second", 1);
    world.repository.tag("plain", &world.commit);
    let ended = world.sync(0);
    assert_eq!(ended.remote()["counts"]["create"], 2, "{}", ended.stdout);
    let tags = world.vers.tags("core");
    assert_eq!(tags["v1"].commit_id, snapshot_id(0));
    assert_eq!(tags["v1"].description.as_deref().unwrap().trim(), format!("First\n\nVers-Commit: {}", snapshot_id(0)));
    assert!(!tags.contains_key("plain"), "there is no snapshot for it");

    world.vers.server().forget();
    let again = world.sync(0);
    assert_eq!(again.remote()["counts"]["in_sync"], 2);
    assert_eq!((again.remote()["requests"].as_u64(), world.vers.server().record().total()), (Some(1), 1));

    // One moves with its message, one gets another message only, and one goes.
    world.tag("v1", "First, again", 2);
    world.tag("v2", "Second, in other words", 1);
    assert_eq!(world.counts(0)["move"], 2);
    let tags = world.vers.tags("core");
    assert_eq!((tags["v1"].commit_id.clone(), tags["v2"].commit_id.clone()), (snapshot_id(2), snapshot_id(1)));
    assert!(tags["v2"].description.as_deref().unwrap().starts_with("Second, in other words"));
    let mut moves: Vec<Json> = world
        .vers
        .writes()
        .iter()
        .filter(|write| write.kind == WriteKind::Move)
        .map(|write| serde_json::from_str(&write.body).unwrap())
        .collect();
    moves.sort_by_key(|body| body.get("commit_id").is_none());
    let keys = |body: &Json| body.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(moves.iter().map(keys).collect::<Vec<_>>(), [vec!["commit_id", "description"], vec!["description"]]);
    world.repository.delete_tag("v2");
    assert_eq!(world.counts(0)["delete"], 1);
    assert_eq!(world.vers.targets("core").into_keys().collect::<Vec<_>>(), ["v1"]);
    assert_eq!(world.counts(0)["in_sync"], 1);
}

#[test]
fn creates_carry_the_message_and_moves_leave_the_description_where_it_is_not_compared() {
    let world = World::new("");
    world.tag("v1", "First", 0);
    world.sync(0);
    assert!(world.vers.tags("core")["v1"].description.as_deref().unwrap().starts_with("First"));
    world.vers.change(|world| world.repository("core").tags.get_mut("v1").unwrap().description = Some("mine".into()));
    world.tag("v1", "Second", 1);
    assert_eq!(world.counts(0)["move"], 1);
    let tag = world.vers.tags("core")["v1"].clone();
    assert_eq!((tag.commit_id, tag.description.as_deref()), (snapshot_id(1), Some("mine")));
}

#[test]
fn a_snapshot_that_is_not_there_yet_is_waited_for() {
    let world = World::new("");
    world.tag("v1", "First", 8);
    assert_eq!(world.counts(0)["waiting"], 1);
    world.vers.server().forget();
    assert_eq!(world.counts(0)["waiting"], 1);
    assert_eq!(world.vers.server().record().count(kind::CREATE), 0, "it is looked for and not tried");
    world.vers.change(|world| world.commit(&snapshot_id(8), "acme"));
    assert_eq!(world.counts(0)["create"], 1);
    assert_eq!(world.vers.targets("core")["v1"], snapshot_id(8));
}

#[test]
fn a_tag_beside_it_names_the_snapshot() {
    let world = World::new(r#"target = { tag = "build-{commit:12}" }"#);
    let build = format!("build-{}", &world.commit[..12]);
    world.repository.tag("nightly-1", &world.commit);
    assert_eq!(world.counts(0)["waiting"], 1);
    world.vers.change(|vers| vers.put("core", &build, &snapshot_id(2), Some("by CI")));
    assert_eq!(world.counts(0)["create"], 1);
    assert_eq!(world.vers.targets("core")["nightly-1"], snapshot_id(2));
    assert!(world.vers.targets("core").contains_key(&build));
}

#[test]
fn a_tag_that_somebody_moved_meanwhile_stays_theirs() {
    let world = World::new("");
    world.tag("v1", "First", 0);
    world.sync(0);
    world.tag("v1", "Second", 1);
    world.vers.adversary(When::method("GET").path_end("/tags/v1").once(), |vers| {
        vers.repository("core").tags.get_mut("v1").unwrap().commit_id = snapshot_id(2);
    });
    let ended = world.program.sync(&[]);
    assert_ne!(ended.code, Some(70), "{ended:?}");
    assert_eq!(world.vers.targets("core")["v1"], snapshot_id(2), "{}", ended.stdout);
    assert!(world.vers.writes().iter().all(|write| write.kind != WriteKind::Move));
}

#[test]
fn a_replica_that_lags_behind_costs_a_pass_and_no_second_write() {
    let world = World::new("");
    world.tag("v1", "First", 0);
    world.sync(0);
    world.tag("v1", "Second", 1);
    world.vers.change(|vers| vers.quirks.stale_reads = 2);
    let doubtful = world.sync(1).remote();
    assert_eq!(doubtful["changes"][0]["outcome"], "not_sent", "{doubtful}");
    assert_eq!(world.vers.targets("core")["v1"], snapshot_id(1), "it was moved all the same");
    world.sync(0);
    assert_eq!(world.counts(0)["in_sync"], 1);
    assert_eq!(world.vers.writes().iter().filter(|write| write.kind == WriteKind::Move).count(), 1);
}

#[test]
fn a_description_that_comes_back_shorter_is_never_taken_for_done() {
    let world = World::new(r#"annotations = "message""#);
    world.vers.change(|vers| vers.quirks.cuts_description = Some(10));
    world.tag("v1", "First of many", 0);
    world.sync(0);
    for _ in 0..2 {
        let told = world.sync(1).stdout;
        assert!(told.contains("no effect can be seen yet"), "{told}");
        assert_eq!(world.vers.targets("core")["v1"], snapshot_id(0));
    }
    assert!(world.vers.writes().iter().all(|write| write.kind != WriteKind::Delete));
}

#[test]
fn another_repository_under_the_same_name_loses_nothing() {
    let world = World::new("");
    world.tag("v1", "First", 0);
    world.tag("v2", "Second", 0);
    world.sync(0);
    world.vers.change(|vers| {
        vers.found("acme", "core");
        vers.put("core", "v1", &snapshot_id(0), None);
        vers.put("core", "v2", &snapshot_id(0), None);
    });
    world.repository.delete_tag("v2");
    let ended = world.sync(0);
    assert!(ended.remote()["notes"][0].as_str().unwrap().contains("identity changed"), "{}", ended.stdout);
    assert_eq!(world.vers.targets("core").into_keys().collect::<Vec<_>>(), ["v1", "v2"], "what is theirs stays");
}

#[test]
fn explain_shows_what_vers_knows() {
    let world = World::new("");
    world.tag("v1", "First", 0);
    world.sync(0);
    let told = world.program.run(&["explain", "core", "v1"]).expect(0).stdout;
    for part in ["created", "updated", "description", &snapshot_id(0)] {
        assert!(told.contains(part), "{part}\n{told}");
    }
}

// The keys.

#[test]
fn what_is_wrong_with_the_keys() {
    let program = Program::new();
    let check = |remote: &str| {
        program.configure(&format!(
            "[repository.core]\npath = \"/srv/git/core.git\"\n[remote.machines]\nprovider = \"vers\"\n{remote}\n\
             [job.core]\nfrom = \"core\"\nto = [\"machines\"]\npolicy = \"mirror\"\n"
        ));
        program.run(&["check"])
    };
    let good = "repository = \"core\"\ntoken = { file = \"/etc/token\" }\ntarget = { trailer = \"Vers\" }";
    check(good).expect(0);
    check(&good.replace("core", "core-{repository}")).expect(0);
    for (from, to, at, says) in [
        ("repository = \"core\"", "", "3:1", "`repository` is missing"),
        ("repository = \"core\"", "repository = \"\"", "5:14", "`repository` is empty"),
        ("repository = \"core\"", "repository = \"acme/core\"", "5:14", "`repository` has a slash"),
        ("repository = \"core\"", "repository = \"core:v1\"", "5:14", "`repository` has a colon"),
        ("repository = \"core\"", "repository = \"https://api.vers.sh/core\"", "5:14", "`repository` is an address"),
        ("repository = \"core\"", "repository = \"..\"", "5:14", "`repository` cannot stand in a URL"),
        ("repository = \"core\"", "repository = 5", "5:14", "expected a string"),
        ("repository =", "repositry =", "5:1", "unknown key `repositry`"),
        ("token = { file = \"/etc/token\" }", "", "3:1", "`token` is missing"),
        ("{ file = \"/etc/token\" }", "\"vers-key\"", "6:9", "a secret must not stand in the file"),
        ("token =", "url = \"http://api.vers.sh\"\ntoken =", "6:7", "plain HTTP would send"),
        ("token =", "project = \"x\"\ntoken =", "6:1", "unknown key `project`"),
        ("target = { trailer = \"Vers\" }", "", "3:1", "`target` is missing: how a git tag becomes a snapshot id"),
        ("\"Vers\" }", "\"Vers\", tag = \"b-{commit}\" }", "7:10", "`target` has exactly one of"),
    ] {
        let broken = good.replace(from, to);
        assert_ne!(broken, good);
        let ended = check(&broken).expect(78);
        let text = format!("{}{}", ended.stdout, ended.stderr);
        assert!(text.contains(&format!("{at}: {says}")), "{broken}\n{text}");
        assert!(!text.contains("vers-key") && text.contains("1 problem"), "{broken}\n{text}");
    }
    // All at once.
    let text = check("url = \"x\"\nrepository = \"a b\"\ntarget = {}").expect(78).stderr;
    assert!(text.contains("4 problems"), "{text}");
}
