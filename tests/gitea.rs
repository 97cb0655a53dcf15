//! Gitea and Forgejo: their keys, the provider's own turns, whole passes of the program, over the API and over git.

mod support;

use serde_json::Value as Json;
use support::git_http::{GitServer, USER};
use support::gitea::{CORE, FakeGitea, GiteaWorld, Quirks, Token, kind};
use support::gitea_subject::connect;
use support::gitlab::{Commits, FakeTag, commit_id};
use support::program::{Ended, Program};
use support::repository::SampleRepository;
use support::server::{Effect, Reply, When};
use tagsyncd::provider::{Access, Fault, FaultKind, NewTag, Provider};
use tagsyncd::tag::{Annotation, TagName, Target, Value};

fn name(name: &str) -> TagName {
    TagName::new(name).expect("a tag name")
}

fn target(n: u32) -> Target {
    Target::Commit(commit_id(n).parse().expect("an id"))
}

fn new_tag(of: &str, n: u32) -> NewTag {
    NewTag { name: name(of), value: Value::of(target(n)), message: None, tag_id: None }
}

fn with_tags(tags: &[(&str, FakeTag)]) -> FakeGitea {
    let mut world = GiteaWorld::with_core();
    world.core().tags = tags.iter().map(|(name, tag)| ((*name).to_owned(), tag.clone())).collect();
    FakeGitea::start(world)
}

fn plain(n: u32) -> FakeTag {
    FakeTag::lightweight(&commit_id(n))
}

async fn provider(fake: &FakeGitea) -> std::sync::Arc<dyn Provider> {
    connect(&fake.url(), Some("secret"), false).await
}

fn hint<T: std::fmt::Debug>(outcome: Result<T, Fault>) -> String {
    outcome.expect_err("it is refused").hint.unwrap_or_default()
}

// ---- The provider.

#[tokio::test]
async fn one_page_is_one_request_and_more_are_read_twice() {
    for (tags, expected) in [(0, 1), (1, 1), (50, 1), (51, 4), (100, 4), (101, 6)] {
        let fake = with_tags(&[]);
        fake.change(|world| {
            world.core().tags = (0..tags).map(|n| (format!("v{n}"), plain(n))).collect();
        });
        let listed = provider(&fake).await.list_tags().await.unwrap();
        let asked = fake.server().record().count(kind::LIST);
        assert_eq!((listed.tags().len(), asked), (tags as usize, expected), "{tags}");
    }
}

#[tokio::test]
async fn a_page_too_large_is_asked_for_in_parts() {
    let text = "x".repeat(300_000);
    let fake = with_tags(&[]);
    fake.change(|world| {
        let tag = |n: u32| FakeTag::annotated(&commit_id(n), &text, 1_700_000_000 + i64::from(n));
        world.core().tags = (0..50).map(|n| (format!("v{n}"), tag(n))).collect();
    });
    let listed = connect(&fake.url(), Some("secret"), true).await.list_tags().await.unwrap();
    let due = Annotation::of_message(Some(&text));
    assert_eq!(listed.tags().len(), 50, "15 MB in parts");
    assert!(listed.tags().iter().all(|tag| tag.value.as_ref().unwrap().annotation == due && tag.message.is_none()));
}

#[tokio::test]
async fn who_may_write_is_told_before_the_first_write() {
    let fake = with_tags(&[]);
    let access =
        async |fake: &FakeGitea, token| connect(&fake.url(), token, false).await.identity().await.unwrap().access;
    assert_eq!(access(&fake, Some("secret")).await, Access::Write);
    let found = |access: Access| match access {
        Access::ReadOnly { found, .. } => found,
        other => panic!("{other:?}"),
    };
    fake.change(|world| world.core().mirror = true);
    assert!(found(access(&fake, Some("secret")).await).contains("mirror"));
    fake.change(|world| world.core().archived = true);
    assert!(found(access(&fake, Some("secret")).await).contains("archived"));
    fake.change(|world| {
        (world.core().archived, world.core().mirror, world.core().public) = (false, false, true);
        world.tokens.insert("reader".to_owned(), Token { writes: false, has_scope: true });
    });
    assert!(found(access(&fake, Some("reader")).await).contains("may read"));
    assert_eq!(found(access(&fake, None).await), "no token");
}

#[tokio::test]
async fn a_missing_tag_and_a_missing_repository_are_told_apart() {
    for terse_404 in [false, true] {
        let fake = with_tags(&[("v1", plain(0))]);
        fake.change(|world| world.quirks = Quirks { terse_404, ..Quirks::default() });
        let provider = provider(&fake).await;
        assert_eq!(provider.get_tag(&name("v2")).await, Ok(None));
        fake.change(|world| world.repositories.clear());
        let fault = provider.get_tag(&name("v1")).await.unwrap_err();
        assert_eq!(fault.kind, FaultKind::NotFound);
        assert!(fault.hint.unwrap().contains("hides what may not be seen"));
        assert_eq!(provider.list_tags().await.unwrap_err().kind, FaultKind::NotFound, "no repository is not no tags");
    }
}

#[tokio::test]
async fn refusals_say_what_to_check() {
    let fake = with_tags(&[("released", plain(0).with_release("notes")), ("v1", plain(0))]);
    fake.change(|world| {
        world.core().commits = Commits::Known([commit_id(0)].into());
        world.core().protected = vec!["p-*".to_owned()];
        world.core().tags.insert("p-there".to_owned(), plain(0));
        world.core().drafts.insert("draft".to_owned());
    });
    let provider = provider(&fake).await;
    let lease = Value::of(target(0));
    assert!(hint(provider.delete_tag(&name("released"), &lease).await).contains("Release"));
    assert!(hint(provider.create_tag(&new_tag("v9", 1)).await).contains("push it first"));
    for status in [422, 405] {
        fake.change(|world| world.quirks.protected_status = status);
        for outcome in [
            provider.create_tag(&new_tag("p-new", 0)).await.map(|_| ()),
            provider.delete_tag(&name("p-there"), &lease).await,
        ] {
            let fault = outcome.unwrap_err();
            assert_eq!(fault.kind, FaultKind::Rejected);
            assert!(fault.message.contains("not allowed") && fault.hint.unwrap().contains("protects the name"));
        }
    }
    for taken in ["draft", "V1"] {
        assert!(hint(provider.create_tag(&new_tag(taken, 0)).await).contains("draft of a Release"), "{taken}");
    }
    fake.change(|world| world.tokens.insert("secret".to_owned(), Token { writes: true, has_scope: false }));
    assert!(hint(provider.create_tag(&new_tag("v9", 0)).await).contains("`write:repository`"));
    fake.change(|world| {
        world.tokens.insert("secret".to_owned(), Token { writes: true, has_scope: true });
        world.core().archived = true;
    });
    assert!(hint(provider.create_tag(&new_tag("v9", 0)).await).contains("archive"));
    fake.change(|world| {
        world.core().former_paths = vec![CORE.to_owned()];
        world.core().path = "infra/renamed".to_owned();
    });
    let fault = provider.list_tags().await.unwrap_err();
    assert!(fault.message.contains("redirect") && fault.hint.unwrap().contains("new owner and name"));
    assert!(fake.change(|world| world.repositories[&7].tags.len()) == 3, "nothing was written");
}

#[tokio::test]
async fn of_two_names_that_differ_in_case_alone_none_is_deleted() {
    let fake = with_tags(&[("V1", plain(0)), ("v1", plain(1)), ("v2", plain(2))]);
    let provider = provider(&fake).await;
    provider.list_tags().await.unwrap();
    for (twin, n) in [("V1", 0), ("v1", 1)] {
        let fault = provider.delete_tag(&name(twin), &Value::of(target(n))).await.unwrap_err();
        assert_eq!(fault.kind, FaultKind::Rejected);
        assert!(fault.message.contains("in case alone"), "{fault}");
    }
    provider.delete_tag(&name("v2"), &Value::of(target(2))).await.unwrap();
    assert_eq!(fake.tags().into_keys().collect::<Vec<_>>(), ["V1", "v1"]);
}

#[tokio::test]
async fn what_git_would_make_of_a_message_is_not_sent_where_messages_are_compared() {
    let fake = with_tags(&[]);
    let text = "Title\n\n# Changes\n\n\n- one\n";
    for compare in [true, false] {
        let annotation = if compare { Annotation::of_message(Some(text)) } else { Annotation::NotCompared };
        let value = Value { target: target(0), annotation };
        let new = NewTag { name: name("v1"), value, message: Some(text.to_owned()), tag_id: None };
        let provider = connect(&fake.url(), Some("secret"), compare).await;
        assert_eq!(provider.refuses(&new).is_some(), compare);
        if !compare {
            provider.create_tag(&new).await.unwrap();
        }
    }
    assert_eq!(fake.tags()["v1"].message.as_deref(), Some("Title\n\n- one\n"));
}

// ---- Whole passes.

struct World {
    repository: SampleRepository,
    gitea: FakeGitea,
    program: Program,
    commits: [String; 2],
}

impl World {
    fn new(remote: &str) -> Self {
        let repository = SampleRepository::bare();
        let commits = [repository.commit("one"), repository.commit("two")];
        let world = Self { repository, gitea: with_tags(&[]), program: Program::new(), commits };
        world.configure(remote);
        world
    }

    fn configure(&self, remote: &str) {
        self.program.configure(&format!(
            r#"
            [repository.core]
            path = "{}"
            [remote.forge]
            provider = "gitea"
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
            self.gitea.url(),
            self.program.path("token").display(),
        ));
    }

    fn sync(&self, code: i32) -> Json {
        let ended: Ended = self.program.sync(&[]).expect(code);
        assert!(!ended.stdout.contains("secret") && !ended.stderr.contains("secret"), "{ended:?}");
        ended.remote()
    }
}

#[test]
fn a_tag_is_not_deleted_for_another_that_could_not_be_made() {
    let world = World::new(r#"annotations = "message""#);
    let [one, two] = &world.commits;
    // Pushed by git, which keeps what the API would change.
    world.gitea.change(|gitea| {
        gitea
            .repositories
            .get_mut(&7)
            .unwrap()
            .tags
            .insert("v1".to_owned(), FakeTag::annotated(one, "# One\n\n\nold\n", 1));
    });
    world.repository.annotate("v1", one, "# One\n\n\nold\n");
    assert_eq!(world.sync(0)["counts"]["adopt"], 1);
    world.repository.annotate("v1", two, "# Two\n\n\nnew\n");
    let remote = world.sync(1);
    assert_eq!(remote["changes"][0]["outcome"], "rejected", "{remote}");
    assert_eq!(world.gitea.tags()["v1"].commit_id.as_ref(), Some(one), "the tag is where it was");
    assert!(world.gitea.writes().is_empty(), "and nothing was tried");
}

#[test]
fn tags_are_created_moved_and_deleted_and_then_there_is_nothing_to_do() {
    let world = World::new(r#"annotations = "message""#);
    let [one, two] = &world.commits;
    for tag in ["v1", "v2", "release/2.0+b"] {
        world.repository.tag(tag, one);
    }
    world.repository.annotate("noted", one, "First\n\nand more\n");
    world.repository.annotate("titled", one, "# Only a comment to git\n");
    let remote = world.sync(1);
    assert_eq!((&remote["counts"]["create"], &remote["counts"]["failed"]), (&4.into(), &1.into()), "{remote}");
    assert_eq!(world.gitea.tags()["noted"].message.as_deref(), Some("First\n\nand more\n"));
    let held = world.sync(3)["held"][0].clone();
    assert_eq!((&held["tag"], &held["verdict"]), (&"titled".into(), &"refused".into()), "{held}");
    world.repository.delete_tag("titled");

    world.gitea.server().forget();
    let remote = world.sync(0);
    assert_eq!((&remote["counts"]["in_sync"], &remote["requests"]), (&4.into(), &1.into()), "{remote}");
    assert_eq!(world.gitea.server().record().total(), 1);

    world.repository.tag("v1", two);
    world.repository.annotate("noted", one, "Other words\n");
    world.repository.delete_tag("v2");
    let remote = world.sync(0);
    assert_eq!((&remote["counts"]["move"], &remote["counts"]["delete"]), (&2.into(), &1.into()), "{remote}");
    let tags = world.gitea.tags();
    assert_eq!(tags.keys().collect::<Vec<_>>(), ["noted", "release/2.0+b", "v1"]);
    assert_eq!((&tags["v1"].target, tags["noted"].message.as_deref()), (two, Some("Other words\n")));
    assert_eq!(world.sync(0)["counts"]["in_sync"], 3);
}

#[test]
fn what_the_server_refuses_is_held_with_its_reason() {
    let world = World::new("");
    let [one, two] = &world.commits;
    for tag in ["released", "guarded", "v1"] {
        world.repository.tag(tag, one);
    }
    world.sync(0);
    world.gitea.change(|gitea| {
        gitea.core().tags.get_mut("released").unwrap().release = Some("notes".to_owned());
        gitea.core().protected.push("guarded".to_owned());
    });
    world.repository.delete_tag("released");
    world.repository.tag("guarded", two);
    world.sync(1);
    let remote = world.sync(3);
    let held = |at: usize| format!("{}: {}", remote["held"][at]["tag"], remote["held"][at]["reason"]);
    assert!(held(0).contains("guarded") && held(0).contains("not allowed to delete protected tag"), "{remote}");
    assert!(held(1).contains("released") && held(1).contains("attached to a release"), "{remote}");
    let writes = world.gitea.writes().len();
    world.sync(3);
    assert_eq!(world.gitea.writes().len(), writes, "it is not tried again at once");
    let tags = world.gitea.tags();
    assert!(tags.contains_key("released") && tags["guarded"].target == *one);
}

#[test]
fn a_server_that_shows_nothing_costs_nothing() {
    let world = World::new("");
    world.repository.tag("v1", &world.commits[0]);
    world.repository.tag("v2", &world.commits[0]);
    world.sync(0);
    let before = world.gitea.tags();
    // Another repository behind the same path, a listing without its end, a page of a proxy.
    world.gitea.server().on(When::method("GET").path_end("/tags"), Effect::Cut(60));
    world.sync(1);
    world.gitea.server().behave();
    world.gitea.server().on(When::method("GET").path_end("/tags"), Effect::Answer(Reply::html(200)));
    world.sync(1);
    world.gitea.server().behave();
    world.gitea.change(|gitea| gitea.quirks.no_total = true);
    let remote = world.sync(1);
    assert!(remote["error"].as_str().unwrap().contains("X-Total-Count"), "{remote}");
    world.gitea.change(|gitea| gitea.quirks = Quirks::default());
    assert_eq!(world.gitea.tags(), before);
    assert_eq!(world.sync(0)["counts"]["in_sync"], 2);
}

#[test]
fn over_git_every_byte_arrives_and_the_api_says_who_it_is() {
    let server = GitServer::start(SampleRepository::bare());
    let world = World::new("");
    let git = format!("transport = \"git\"\ngit_url = \"{}\"\nusername = \"{USER}\"", server.url());
    let [one, two] = &world.commits;
    server.repository.git(&["fetch", "--quiet", world.repository.path().to_str().unwrap(), two]);
    server.repository.git(&["fetch", "--quiet", world.repository.path().to_str().unwrap(), one]);
    world.configure(&git);
    let tag_id = world.repository.annotate("v1", one, "# kept\n\n\nas it is  \n");
    world.repository.tag("v2", two);
    assert_eq!(world.sync(0)["counts"]["create"], 2);
    assert_eq!((&server.tags()["v1"], &server.tags()["v2"]), (&tag_id, two));
    assert_eq!((world.gitea.writes().len(), world.gitea.server().record().count(kind::LIST)), (0, 0));
    assert_eq!(world.sync(0)["requests"], 1);
    // A push would make a draft of a Release, and the API says where there is one.
    world.repository.tag("v3", two);
    world.sync(0);
    world.repository.delete_tag("v2");
    world.repository.delete_tag("v3");
    let released = FakeTag::lightweight(two).with_release("notes");
    world.gitea.change(|gitea| drop(gitea.core().tags.insert("v2".to_owned(), released)));
    let remote = world.sync(3);
    assert_eq!((&remote["held"][0]["tag"], &remote["counts"]["delete"]), (&"v2".into(), &1.into()), "{remote}");
    assert!(remote["held"][0]["reason"].as_str().unwrap().contains("a Release is attached"), "{remote}");
    // Or nobody says it.
    world.gitea.change(|gitea| gitea.core().hides_releases = true);
    let remote = world.sync(3);
    assert!(remote["held"][0]["reason"].as_str().unwrap().contains("does not show whether"), "{remote}");
    world.configure(&format!("{git}\nallow_release_loss = [\"v2\"]"));
    assert_eq!(world.sync(0)["counts"]["delete"], 1);
    assert_eq!(server.tags().into_keys().collect::<Vec<_>>(), ["v1"]);
}

// ---- The keys.

#[test]
fn keys_are_checked_together() {
    let program = Program::new();
    let config = |remote: &str| {
        program.configure(&format!(
            "[repository.core]\npath = \"/srv/git/core.git\"\n[remote.far]\nprovider = \"gitea\"\n{remote}\n[job.core]\nfrom = \"core\"\nto = [\"far\"]\npolicy = \"mirror\"\n"
        ));
        program.run(&["check"])
    };
    let good = "url = \"https://git.example.com/x\"\nrepository = \"infra/{repository}\"";
    config(good).expect(0);
    config(&format!("{good}\ntransport = \"git\"\nallow_release_loss = [\"nightly-*\"]\nevents = \"preserve\""))
        .expect(0);
    for (remote, expected) in [
        ("", &["3:1", "`url` is missing", "`repository` is missing"][..]),
        (
            "url = \"git.example.com\"\nrepository = \"core\"",
            &["5:7", "not a full http", "6:14", "`repository` is not `owner/name`"],
        ),
        ("url = \"https://git.example.com\"\nrepository = \"a/b.git\"\ntoken = \"CANARY\"", &["ends with .git", "7:9"]),
        (
            "url = \"https://git.example.com\"\nrepository = \"a/b\"\nallow_release_loss = true\ngit_url = \"https://x\"",
            &["7:22", "`allow_release_loss` counts only", "8:11", "`git_url` counts only"],
        ),
        (
            "url = \"https://git.example.com\"\nrepository = \"a/b\"\nproject = \"a/b\"",
            &["7:1", "unknown key `project`"],
        ),
    ] {
        let ended = config(remote).expect(78);
        for words in expected {
            assert!(ended.stderr.contains(words), "{words}: {}", ended.stderr);
        }
        assert!(!ended.stderr.contains("CANARY"));
    }
}
