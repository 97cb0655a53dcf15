//! GitHub: its keys, the provider's own turns, whole passes of the program, over the API and over git.

mod support;

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value as Json;
use support::git_http::{GitServer, USER};
use support::github::{CORE, FakeGithub, GithubWorld, Secondary, Token, kind};
use support::github_subject::connect;
use support::gitlab::{Commits, commit_id};
use support::program::{Ended, Program};
use support::repository::SampleRepository;
use support::server::{Effect, When};
use tagsyncd::http::Pool;
use tagsyncd::provider::{Access, Fault, FaultKind, NewTag, Provider};
use tagsyncd::tag::{Annotation, Attachment, TagName, Target, Value};

fn name(name: &str) -> TagName {
    TagName::new(name).expect("a tag name")
}

fn target(n: u32) -> Target {
    Target::Commit(commit_id(n).parse().expect("an id"))
}

fn new_tag(of: &str, n: u32) -> NewTag {
    NewTag { name: name(of), value: Value::of(target(n)), message: None, tag_id: None }
}

fn fake() -> FakeGithub {
    FakeGithub::start(GithubWorld::with_core())
}

async fn provider(fake: &FakeGithub) -> Arc<dyn Provider> {
    connect(&Arc::new(Pool::new()), &fake.url(), Some("secret"), false).await
}

fn hint<T: std::fmt::Debug>(outcome: Result<T, Fault>) -> String {
    outcome.expect_err("it is refused").hint.unwrap_or_default()
}

fn asked(fake: &FakeGithub, kind: &str) -> usize {
    let count = fake.server().record().count(kind);
    fake.server().forget();
    count
}

// ---- The provider.

#[tokio::test]
async fn an_unchanged_listing_costs_no_part_of_the_quota() {
    let (fake, pool) = (fake(), Arc::new(Pool::new()));
    fake.change(|world| {
        (0..200).for_each(|n| drop(world.core().tags.insert(format!("v{n}"), commit_id(n))));
        world.remaining = Some(100);
    });
    let remaining = || fake.change(|world| world.remaining);
    let first = connect(&pool, &fake.url(), Some("secret"), false).await.list_tags().await.unwrap();
    assert_eq!((first.tags().len(), remaining()), (200, Some(99)));
    // Another connection, as the next pass makes one.
    let again = connect(&pool, &fake.url(), Some("secret"), false).await.list_tags().await.unwrap();
    assert_eq!((again.tags(), remaining()), (first.tags(), Some(99)));
    fake.change(|world| drop(world.core().tags.remove("v7")));
    let changed = connect(&pool, &fake.url(), Some("secret"), false).await.list_tags().await.unwrap();
    assert_eq!((changed.tags().len(), remaining()), (199, Some(98)));
    assert_eq!(asked(&fake, kind::LIST), 3);
    // Who has seen nothing has nothing to compare with.
    provider(&fake).await.list_tags().await.unwrap();
    assert_eq!(remaining(), Some(97));
}

#[tokio::test]
async fn tag_objects_are_followed_once() {
    let (fake, pool) = (fake(), Arc::new(Pool::new()));
    fake.change(|world| {
        let core = world.core();
        let inner = core.annotate("inner", &commit_id(1), "Inner\n");
        core.annotate("outer", &inner, "Outer\n");
        core.trees.insert(commit_id(2));
        core.tags.insert("tree".to_owned(), commit_id(2));
        let on_tree = core.make_object(&format!("object {}\ntype tree\ntag t\n\nTree\n", commit_id(2)));
        core.tags.insert("annotated-tree".to_owned(), on_tree);
        core.tags.insert("plain".to_owned(), commit_id(1));
    });
    for expected in [4, 1] {
        let listed = connect(&pool, &fake.url(), Some("secret"), true).await.list_tags().await.unwrap();
        let value = |of: &str| listed.get(&name(of)).unwrap().value.clone();
        for (tag, message) in [("inner", Some("Inner")), ("outer", Some("Outer")), ("plain", None)] {
            let due = Value { target: target(1), annotation: Annotation::of_message(message) };
            assert_eq!(value(tag), Ok(due), "{tag}");
        }
        for tag in ["tree", "annotated-tree"] {
            assert!(value(tag).unwrap_err().contains("points at a tree"), "{tag}");
        }
        // The second time only what has no value is asked for: three objects before, and one of the chain twice.
        assert_eq!(asked(&fake, kind::OBJECT), expected);
    }
}

#[tokio::test]
async fn a_signature_is_no_part_of_a_message() {
    for signature_in_message in [false, true] {
        let fake = fake();
        fake.change(|world| {
            world.quirks.signature_in_message = signature_in_message;
            world.core().annotate("v1", &commit_id(1), "First\n-----BEGIN PGP SIGNATURE-----\nabc\n");
        });
        let provider = connect(&Arc::new(Pool::new()), &fake.url(), Some("secret"), true).await;
        let tag = provider.get_tag(&name("v1")).await.unwrap().unwrap();
        assert_eq!(tag.value.as_ref().unwrap().annotation, Annotation::of_message(Some("First")));
        let facts = provider.get_facts(&tag, true).await.unwrap();
        assert_eq!((facts[0].what, facts[1].says.as_str()), ("tag object", "verified by GitHub"));
    }
}

#[tokio::test]
async fn slashes_stay_and_all_else_is_encoded() {
    let fake = fake();
    let provider = provider(&fake).await;
    let tag = "release/1.0+b/a%2Fc";
    provider.create_tag(&new_tag(tag, 0)).await.unwrap();
    let there = provider.get_tag(&name(tag)).await.unwrap().unwrap();
    assert_eq!((there.value, there.attachment), (Ok(Value::of(target(0))), None));
    let paths: Vec<String> = fake.server().record().requests.iter().map(|seen| seen.target.clone()).collect();
    assert!(paths.contains(&format!("/repos/{CORE}/git/ref/tags/release/1.0%2Bb/a%252Fc")), "{paths:?}");
    assert!(paths.contains(&format!("/repos/{CORE}/releases/tags/release/1.0%2Bb/a%252Fc")), "{paths:?}");
    fake.change(|world| world.core().releases.insert(tag.to_owned()));
    let there = provider.get_tag(&name(tag)).await.unwrap().unwrap();
    assert_eq!(there.attachment, Some(Attachment::Release));
}

#[tokio::test]
async fn who_may_write_is_told_before_the_first_write() {
    let fake = fake();
    let of = async |fake: &FakeGithub, token| connect(&Arc::new(Pool::new()), &fake.url(), token, false).await;
    let found = |access: Access| match access {
        Access::ReadOnly { found, .. } => found,
        other => format!("{other:?}"),
    };
    assert_eq!(of(&fake, Some("secret")).await.identity().await.unwrap().access, Access::Write);
    assert_eq!(of(&fake, Some("secret")).await.credential_access().await.unwrap(), Access::Untold);
    fake.change(|world| {
        world.core().public = true;
        let classic = |scopes: &str| Token { scopes: Some(scopes.to_owned()), ..Token::fine() };
        world.tokens.insert("classic-1".to_owned(), classic("gist, read:org"));
        world.tokens.insert("classic-2".to_owned(), classic("gist, repo"));
        world.tokens.insert("reader".to_owned(), Token { pushes: false, ..Token::fine() });
    });
    assert!(found(of(&fake, Some("classic-1")).await.credential_access().await.unwrap()).contains("`gist, read:org`"));
    assert_eq!(of(&fake, Some("classic-2")).await.credential_access().await.unwrap(), Access::Untold);
    assert!(found(of(&fake, Some("reader")).await.identity().await.unwrap().access).contains("may read"));
    assert_eq!(found(of(&fake, None).await.identity().await.unwrap().access), "no token");
    fake.change(|world| world.core().archived = true);
    assert!(found(of(&fake, Some("secret")).await.identity().await.unwrap().access).contains("archived"));
}

#[tokio::test]
async fn refusals_say_what_they_are_and_what_to_check() {
    let fake = fake();
    fake.change(|world| {
        world.core().commits = Commits::Known([commit_id(0)].into());
        world.core().tags.insert("v1".to_owned(), commit_id(0));
        world.core().rules.push("ruled*".to_owned());
    });
    let provider = provider(&fake).await;
    let fault = provider.create_tag(&new_tag("v1", 0)).await.unwrap_err();
    assert!(fault.kind == FaultKind::Rejected && fault.message.contains("already exists"), "{fault}");
    assert_eq!(provider.create_tag(&new_tag("v9", 1)).await.unwrap_err().kind, FaultKind::TargetMissing);
    let annotated = NewTag { message: Some("m".to_owned()), ..new_tag("v9", 1) };
    assert_eq!(provider.create_tag(&annotated).await.unwrap_err().kind, FaultKind::Rejected);
    let fault = provider.create_tag(&new_tag("ruled-1", 0)).await.unwrap_err();
    assert!(fault.message.contains("creations being restricted"), "{fault}");
    assert!(fault.hint.unwrap().contains("ruleset"));
    assert_eq!(provider.delete_tag(&name("v9"), &Value::of(target(0))).await.unwrap_err().kind, FaultKind::NotFound);
    fake.change(|world| world.core().archived = true);
    assert!(hint(provider.create_tag(&new_tag("v9", 0)).await).contains("archive"));
    fake.change(|world| {
        world.core().archived = false;
        world.tokens.insert("secret".to_owned(), Token { writes_contents: false, ..Token::fine() });
    });
    assert!(hint(provider.create_tag(&new_tag("v9", 0)).await).contains("`Contents: read and write`"));
    fake.change(|world| {
        world.core().former_paths = vec![CORE.to_owned()];
        world.core().path = "infra/renamed".to_owned();
    });
    for outcome in [provider.list_tags().await.map(|_| ()), provider.identity().await.map(|_| ())] {
        let fault = outcome.unwrap_err();
        assert!(fault.message.contains("redirect") && fault.hint.unwrap().contains("`owner/name`"));
    }
    assert_eq!(fake.server().record().count(kind::OTHER), 0, "no redirect is followed");
    assert_eq!(fake.change(|world| world.repositories[&7].tags.len()), 1, "nothing was written");
}

#[tokio::test]
async fn a_missing_tag_and_a_missing_repository_are_told_apart() {
    let fake = fake();
    let provider = provider(&fake).await;
    assert_eq!(provider.get_tag(&name("v1")).await, Ok(None));
    fake.change(|world| world.repositories.clear());
    for fault in [provider.get_tag(&name("v1")).await.unwrap_err(), provider.list_tags().await.unwrap_err()] {
        assert_eq!(fault.kind, FaultKind::NotFound);
        assert!(fault.hint.unwrap().contains("/api/v3"));
    }
}

#[tokio::test]
async fn limits_end_the_pass_and_are_kept() {
    // The quota: GitHub says when it is renewed, in half an hour.
    let fake = fake();
    fake.change(|world| world.remaining = Some(0));
    let provider = connect(&Arc::new(Pool::new()), &fake.url(), Some("secret"), false).await;
    for _ in 0..3 {
        let fault = provider.list_tags().await.unwrap_err();
        assert_eq!(fault.kind, FaultKind::Throttled);
        assert!(fault.message.contains("to be left alone until"), "{fault}");
    }
    assert_eq!(fake.server().record().total(), 1);
    // Too many writes: with the time to come back, or without.
    for (secondary, requests) in [(Secondary::RetryAfter(120), 1), (Secondary::Silent, 1), (Secondary::TooMany, 3)] {
        let fake = crate::fake();
        fake.change(|world| world.quirks.secondary = Some(secondary));
        let provider = connect(&Arc::new(Pool::new()), &fake.url(), Some("secret"), false).await;
        let fault = provider.create_tag(&new_tag("v1", 0)).await.unwrap_err();
        assert_eq!(fault.kind, FaultKind::Throttled, "{secondary:?}: {fault}");
        assert!(fault.message.contains("secondary rate limit"), "{fault}");
        assert_eq!(fake.server().record().total(), requests, "{secondary:?}");
        assert!(!fake.tags().contains_key("v1"));
    }
}

#[tokio::test]
async fn an_object_that_could_not_be_made_leaves_no_write_in_doubt() {
    let fake = fake();
    let provider = provider(&fake).await;
    let annotated = NewTag { message: Some("First\n".to_owned()), ..new_tag("v1", 0) };
    fake.server().on(When::method("POST").path_end("/git/tags"), Effect::DropAfter);
    // Without effect, and no reason to end the pass: it is about this one object.
    assert_eq!(provider.create_tag(&annotated).await.unwrap_err().kind, FaultKind::Unsupported);
    assert!(fake.writes().is_empty());
    fake.server().behave();
    // The ref is another matter.
    fake.server().on(When::method("POST").path_end("/git/refs"), Effect::DropAfter);
    assert_eq!(provider.create_tag(&annotated).await.unwrap_err().kind, FaultKind::Ambiguous);
    assert_eq!(fake.writes().len(), 1);
}

// ---- Whole passes.

struct World {
    repository: SampleRepository,
    github: FakeGithub,
    program: Program,
    commits: [String; 2],
}

impl World {
    fn new(remote: &str) -> Self {
        let repository = SampleRepository::bare();
        let commits = [repository.commit("one"), repository.commit("two")];
        let world = Self { repository, github: fake(), program: Program::new(), commits };
        world.configure(remote);
        world
    }

    fn configure(&self, remote: &str) {
        self.program.configure(&format!(
            r#"
            [repository.core]
            path = "{}"
            [remote.forge]
            provider = "github"
            url = "{}"
            repository = "infra/core"
            token = {{ file = "{}" }}
            {remote}
            [job.core]
            from = "core"
            to = ["forge"]
            policy = "mirror"
            "#,
            self.repository.path().display(),
            self.github.url(),
            self.program.path("token").display(),
        ));
    }

    fn sync(&self, code: i32) -> Json {
        let ended: Ended = self.program.sync(&[]).expect(code);
        assert!(!ended.stdout.contains("secret") && !ended.stderr.contains("secret"), "{ended:?}");
        ended.remote()
    }

    /// A tag object as it stands here, under a name.
    fn raw_tag(&self, name: &str, object: &str) -> String {
        let id = self.repository.git_with_input(&["hash-object", "-t", "tag", "-w", "--stdin"], object.as_bytes());
        self.repository.git(&["update-ref", &format!("refs/tags/{name}"), id.trim()]);
        id.trim().to_owned()
    }
}

#[test]
fn tags_arrive_with_the_ids_of_the_source_and_then_there_is_nothing_to_do() {
    let world = World::new(r#"annotations = "message""#);
    let [one, two] = &world.commits;
    world.repository.tag("v1", one);
    world.repository.tag("release/2.0+b", two);
    let noted = world.repository.annotate("noted", one, "First\n\n# kept\n\n\nas it is  \n");
    let east = world.raw_tag(
        "east",
        &format!("object {two}\ntype commit\ntag east\ntagger É B <e@example.com> 1600000000 +0530\n\nEast\n"),
    );
    assert_eq!(world.sync(0)["counts"]["create"], 4);
    let tags = world.github.tags();
    assert_eq!((&tags["v1"], &tags["noted"], &tags["east"]), (one, &noted, &east), "byte for byte");

    world.github.server().forget();
    let remote = world.sync(0);
    assert_eq!((&remote["counts"]["in_sync"], &remote["requests"]), (&4.into(), &1.into()), "{remote}");
    assert_eq!(world.github.server().record().total(), 1, "the source has all objects");

    world.repository.tag("v1", two);
    let noted = world.repository.annotate("noted", one, "Other words\n");
    world.repository.delete_tag("east");
    let remote = world.sync(0);
    assert_eq!((&remote["counts"]["move"], &remote["counts"]["delete"]), (&2.into(), &1.into()), "{remote}");
    let tags = world.github.tags();
    assert_eq!((&tags["v1"], &tags["noted"], tags.contains_key("east")), (two, &noted, false));
    let writes = world.github.writes();
    assert!(writes.iter().filter(|write| write.method == "PATCH").count() == 2, "{writes:?}");
    assert_eq!(world.sync(0)["counts"]["in_sync"], 3);
}

#[test]
fn what_cannot_be_made_byte_for_byte_is_made_as_well_as_it_can() {
    let world = World::new(r#"annotations = "message""#);
    world.github.change(|github| github.quirks.trims_messages = true);
    let one = &world.commits[0];
    let noted = world.repository.annotate("noted", one, "First\n");
    let signed = world.raw_tag(
        "signed",
        &format!(
            "object {one}\ntype commit\ntag signed\ntagger A <a@example.com> 1600000000 +0000\n\nSigned\n-----BEGIN PGP SIGNATURE-----\n\nabc\n-----END PGP SIGNATURE-----\n"
        ),
    );
    world.repository.git(&["tag", "-a", "-m", "Nested", "nested", "noted"]);
    let remote = world.sync(0);
    assert_eq!(remote["counts"]["create"], 3, "{remote}");
    let (made, tags) = (world.github.change(|github| github.core().objects.clone()), world.github.tags());
    assert!(tags["noted"] != noted && tags["signed"] != signed);
    for tag in ["noted", "signed", "nested"] {
        let object = &made[&tags[tag]];
        assert!(object.starts_with(&format!("object {one}\ntype commit\ntag {tag}\ntagger ")), "{object}");
    }
    assert!(made[&tags["signed"]].contains("A <a@example.com> 1600000000 +0000\n\nSigned"));
    assert!(!made[&tags["signed"]].contains("BEGIN"));
    assert_eq!(world.sync(0)["counts"]["in_sync"], 3, "the messages agree");
}

#[test]
fn a_release_is_looked_for_before_its_tag_is_deleted() {
    let world = World::new("");
    let [one, two] = &world.commits;
    for tag in ["released", "plain", "moved", "kept"] {
        world.repository.tag(tag, one);
    }
    world.sync(0);
    world.github.change(|github| {
        github.core().releases = ["released", "moved"].map(str::to_owned).into();
    });
    world.repository.delete_tag("released");
    world.repository.delete_tag("plain");
    world.repository.tag("moved", two);
    // A plan says the same as the pass.
    let planned = world.program.plan(&[]).expect(3).remote();
    assert_eq!((&planned["counts"]["delete"], &planned["counts"]["held"]), (&1.into(), &1.into()), "{planned}");
    let remote = world.sync(3);
    assert_eq!((&remote["held"][0]["tag"], &remote["held"][0]["verdict"]), (&"released".into(), &"side_effect".into()));
    assert!(remote["held"][0]["reason"].as_str().unwrap().contains("a Release is attached"), "{remote}");
    assert_eq!(world.github.tags().into_keys().collect::<Vec<_>>(), ["kept", "moved", "released"]);
    assert_eq!(world.github.change(|github| github.core().releases.len()), 2, "a move leaves it where it is");
    world.configure("allow_release_loss = [\"rel*\"]");
    world.sync(0);
    assert_eq!(world.github.change(|github| github.core().drafts.iter().cloned().collect::<Vec<_>>()), ["released"]);
}

#[test]
fn many_deletions_are_looked_at_in_parts() {
    let world = World::new("");
    for n in 0..70 {
        world.repository.tag(format!("v{n:02}"), &world.commits[0]);
    }
    world.repository.tag("kept", &world.commits[0]);
    world.sync(0);
    for n in 0..70 {
        world.repository.delete_tag(format!("v{n:02}"));
    }
    world.github.server().forget();
    let remote = world.sync(3);
    assert_eq!(world.github.server().record().count(kind::RELEASE), 64, "{remote}");
    assert_eq!(world.github.tags().len(), 71, "and the budget holds what was seen");
}

#[test]
fn what_a_ruleset_forbids_is_held_with_its_reason_and_a_missing_commit_is_waited_for() {
    let world = World::new("");
    let [one, two] = &world.commits;
    world.repository.tag("ruled-1", one);
    world.repository.tag("v1", two);
    world.repository.annotate("v2", two, "Second\n");
    world.github.change(|github| {
        github.core().rules.push("ruled-*".to_owned());
        github.core().commits = Commits::Known([one.clone()].into());
    });
    world.sync(1);
    let remote = world.sync(3);
    assert!(remote["held"][0]["reason"].as_str().unwrap().contains("creations being restricted"), "{remote}");
    assert_eq!(remote["counts"]["waiting"], 2, "{remote}");
    world.github.change(|github| github.core().commits = Commits::Any);
    assert_eq!(world.sync(3)["counts"]["create"], 2);
}

#[test]
fn what_is_there_already_is_adopted_and_what_is_another_is_not_touched() {
    let world = World::new("");
    let [one, two] = &world.commits;
    world.repository.tag("same", one);
    world.repository.tag("other", one);
    world.repository.annotate("rebuilt", one, "Here\n");
    world.github.change(|github| {
        github.core().tags.insert("same".to_owned(), one.clone());
        github.core().tags.insert("other".to_owned(), two.clone());
        github.core().annotate("rebuilt", one, "There\n");
        github.core().annotate("stranger", two, "Nobody's\n");
    });
    let remote = world.sync(3);
    assert_eq!((&remote["counts"]["adopt"], &remote["counts"]["unmanaged"]), (&2.into(), &1.into()), "{remote}");
    assert_eq!((&remote["held"][0]["tag"], &remote["held"][0]["verdict"]), (&"other".into(), &"not_ours".into()));
    let objects = world.github.server().record().count(kind::OBJECT);
    assert_eq!(objects, 1, "the object of the stranger matters to nobody");
    assert!(world.github.writes().is_empty());
}

#[test]
fn writes_keep_the_pace_that_github_asks_for() {
    let world = World::new("write_limits = true");
    for tag in ["v1", "v2", "v3"] {
        world.repository.tag(tag, &world.commits[0]);
    }
    world.sync(0);
    let writes = world.github.writes();
    assert_eq!(writes.len(), 3);
    for pair in writes.windows(2) {
        assert!(pair[1].at.duration_since(pair[0].at) >= Duration::from_millis(990), "{writes:?}");
    }
}

#[test]
fn over_git_every_byte_arrives_and_the_api_tells_of_releases() {
    let server = GitServer::start(SampleRepository::bare());
    let world = World::new("");
    let git = format!("transport = \"git\"\ngit_url = \"{}\"\nusername = \"{USER}\"", server.url());
    let [one, two] = &world.commits;
    for commit in [one, two] {
        server.repository.git(&["fetch", "--quiet", world.repository.path().to_str().unwrap(), commit]);
    }
    world.configure(&git);
    let signed = world.raw_tag(
        "signed",
        &format!("object {one}\ntype commit\ntag signed\ntagger A <a@example.com> 1 +0000\n\nS\n-----BEGIN SSH SIGNATURE-----\nx\n-----END SSH SIGNATURE-----\n"),
    );
    for tag in ["released", "plain"] {
        world.repository.tag(tag, two);
    }
    assert_eq!(world.sync(0)["counts"]["create"], 3);
    assert_eq!((&server.tags()["signed"], world.github.writes().len()), (&signed, 0));
    assert_eq!(world.sync(0)["requests"], 1);
    world.github.change(|github| github.core().releases.insert("released".to_owned()));
    world.repository.delete_tag("released");
    world.repository.delete_tag("plain");
    let remote = world.sync(3);
    assert_eq!((&remote["held"][0]["tag"], &remote["counts"]["delete"]), (&"released".into(), &1.into()), "{remote}");
    assert_eq!(server.tags().into_keys().collect::<Vec<_>>(), ["released", "signed"]);
}

#[test]
fn a_repository_that_is_another_one_now_loses_nothing() {
    let world = World::new("");
    for tag in ["v1", "v2"] {
        world.repository.tag(tag, &world.commits[0]);
    }
    world.sync(0);
    world.github.change(|github| {
        let tags = github.core().tags.clone();
        github.recreate();
        github.core().tags = tags;
    });
    world.repository.delete_tag("v1");
    let remote = world.sync(0);
    assert!(remote["notes"][0].as_str().unwrap().contains("identity changed"), "{remote}");
    assert_eq!(world.github.tags().len(), 2);
}

// ---- The keys.

#[test]
fn keys_are_checked_together() {
    let program = Program::new();
    let config = |remote: &str| {
        program.configure(&format!(
            "[repository.core]\npath = \"/srv/git/core.git\"\n[remote.far]\nprovider = \"github\"\n{remote}\n[job.core]\nfrom = \"core\"\nto = [\"far\"]\npolicy = \"mirror\"\n"
        ));
        program.run(&["check"])
    };
    for good in [
        "repository = \"infra/{repository}\"",
        "url = \"https://github.example.com/api/v3\"\nrepository = \"a/b\"\ntransport = \"git\"\nwrite_limits = true",
        "repository = \"a/b\"\ntransport = \"git\"\nallow_release_loss = [\"nightly-*\"]\nevents = \"preserve\"",
    ] {
        config(good).expect(0);
    }
    for (remote, expected) in [
        ("", &["3:1", "`repository` is missing"][..]),
        (
            "url = \"https://github.com\"\nrepository = \"core\"",
            &["5:7", "api.github.com", "6:14", "is not `owner/name`"],
        ),
        ("repository = \"a/b.git\"\ntoken = \"CANARY\"", &["ends with .git", "6:9"]),
        ("repository = \"a/b\"\ngit_url = \"https://x\"", &["6:11", "`git_url` counts only"]),
        (
            "url = \"https://api.example.com/v3\"\nrepository = \"a/b\"\ntransport = \"git\"",
            &["`git_url` is missing", "does not follow from `url`"],
        ),
        ("repository = \"a/b\"\nallow_release_loss = [\"[\"]", &["`allow_release_loss`: pattern 1"]),
        ("repository = \"a/b\"\nproject = \"a/b\"", &["6:1", "unknown key `project`"]),
    ] {
        let ended = config(remote).expect(78);
        for words in expected {
            assert!(ended.stderr.contains(words), "{words}: {}", ended.stderr);
        }
        assert!(!ended.stderr.contains("CANARY"));
    }
}
