//! CodeArts Repo: its keys, what a listing costs and how it is proven, its credentials, its errors; and the fake itself.

mod support;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use support::codearts::{COMMIT_MESSAGE, CodeArtsWorld, ErrorForm, FakeCodeArts, FakeTag, Quirks, commit_id, kind};
use support::program::{Program, private_file};
use support::repository::SampleRepository;
use support::server::{Effect, Reply, When};
use tagsyncd::config::{ConfigFault, SecretSource, Settings, load};
use tagsyncd::http::{HttpSettings, Pool, Transport};
use tagsyncd::provider::codearts::{Iam, Keys, Proof};
use tagsyncd::provider::{Access, Connection, Fault, FaultKind, NewTag, Provider, RemoteKeys as _};
use tagsyncd::tag::{TagName, Target, Value};

// ---- The keys.

const GOOD: &str = r#"
[repository.core]
path = "/srv/git/core.git"
[remote.far]
provider = "codearts"
KEYS
[job.core]
from = "core"
to = ["far"]
policy = "mirror"
"#;

/// What is said about a remote with these keys: messages with their hints.
fn problems(keys: &str) -> Vec<String> {
    match Settings::parse(&GOOD.replace("KEYS", keys), Path::new("config.toml")) {
        Ok(_) => Vec::new(),
        Err(ConfigFault::Invalid { source, problems }) => {
            let shown = problems.iter().map(|problem| {
                let (line, column) = source.position(problem.span.start);
                format!("{line}:{column} {} ({})", problem.message, problem.hint.as_deref().unwrap_or_default())
            });
            shown.collect()
        }
        Err(other) => panic!("{other}"),
    }
}

/// Keys that say everything but what the case is about.
fn of(region: &str, id: &str, proof: &str) -> String {
    format!("{region}\n{id}\n{proof}")
}

const REGION: &str = r#"region = "cn-north-4""#;
const URL: &str = r#"url = "https://codearts.example.com""#;
const ID: &str = "repository_id = 7";
const TOKEN: &str = r#"token = { env = "T" }"#;
const PAIR: &str = "access_key = \"AK\"\nsecret_key = { env = \"S\" }";
const IAM: &str = r#"iam = { domain = "acme", user = "robot", password = { env = "P" } }"#;

#[test]
fn the_server_is_named_once() {
    assert_eq!(problems(&of(REGION, ID, TOKEN)), [""; 0]);
    assert_eq!(problems(&of(URL, ID, TOKEN)), [""; 0]);
    for (server, expected) in [
        ("", "`region` is missing"),
        (
            r#"region = "cn-nort-4""#,
            "this region is not known (did you mean `cn-north-4`? A server that is none of the known regions' goes into `url`)",
        ),
        (
            r#"region = "moon""#,
            "6:10 this region is not known (give the server's address as `url`; known are af-north-1, ",
        ),
        ("region = \"cn-north-4\"\nurl = \"https://x.example.com\"", "7:7 `url` and `region` name the server twice"),
        (r#"url = "codearts.example.com""#, "6:7 this is not a full http or https URL"),
        (r#"url = "http://codearts.example.com""#, "plain HTTP would send the credential in the clear"),
        ("regoin = \"cn-north-4\"", "6:1 unknown key `regoin` (did you mean `region`?)"),
    ] {
        let found = problems(&of(server, ID, TOKEN));
        assert!(found.len() == 1 && found[0].contains(expected), "{server}: {found:#?}");
    }
}

#[test]
fn a_repository_is_a_number() {
    for good in ["1", "2147483647", r#""7""#] {
        assert_eq!(problems(&of(REGION, &format!("repository_id = {good}"), TOKEN)), [""; 0], "{good}");
    }
    for (bad, expected) in [
        ("", "`repository_id` is missing"),
        ("repository_id = 0", "7:17 `repository_id` is not a number from 1 to 2147483647"),
        ("repository_id = -7", "7:17 `repository_id` is not a number from 1 to 2147483647"),
        ("repository_id = 2147483648", "7:17 `repository_id` is not a number from 1 to 2147483647"),
        (r#"repository_id = "infra/core""#, "7:17 `repository_id` is not a number ("),
        // A job on the repository `core`.
        (r#"repository_id = "{repository}""#, "7:17 `repository_id` is not a number ("),
        ("repository_id = 7.5", "7:17 expected a number from 1 to 2147483647"),
        ("repository_id = [7]", "expected a number from 1 to 2147483647"),
    ] {
        let found = problems(&of(REGION, bad, TOKEN));
        assert!(found.len() == 1 && found[0].contains(expected), "{bad}: {found:#?}");
    }
    // Repositories that are called by their numbers.
    let many = GOOD.replace("path = \"/srv/git/core.git\"", "paths = [\"/srv/git/*.git\"]");
    let many = many.replace("KEYS", &of(REGION, r#"repository_id = "{repository}""#, TOKEN));
    let settings = Settings::parse(&many, Path::new("config.toml")).unwrap();
    let remote = settings.jobs[0].to[0].for_repository("42").unwrap();
    assert_eq!(remote.keys.describe(), "https://codehub-ext.cn-north-4.myhuaweicloud.com repository 42");
    assert!(settings.jobs[0].to[0].for_repository("core").is_err());
}

#[test]
fn there_is_one_credential() {
    for good in [TOKEN, PAIR, IAM] {
        assert_eq!(problems(&of(REGION, ID, good)), [""; 0], "{good}");
    }
    const ONE: &str = "one of `token`, `access_key` with `secret_key`, and `iam`";
    let iam = |rest: &str| format!("iam = {{ {rest} }}");
    let twice = [format!("{TOKEN}\n{PAIR}"), format!("{PAIR}\n{IAM}"), format!("{TOKEN}\n{IAM}")];
    for (proof, expected) in [
        (String::new(), format!("4:1 `token` is missing ({ONE})")),
        (twice[0].clone(), format!("9:14 this remote has more than one credential ({ONE})")),
        (twice[1].clone(), format!("10:7 this remote has more than one credential ({ONE})")),
        (twice[2].clone(), format!("9:7 this remote has more than one credential ({ONE})")),
        ("access_key = \"AK\"".into(), "`secret_key` is missing".into()),
        ("secret_key = { env = \"S\" }".into(), "`access_key` is missing".into()),
        ("access_key = \"A, B\"\nsecret_key = { env = \"S\" }".into(), "8:14 this is not an access key".into()),
        ("token = \"CANARY\"".into(), "8:9 ".into()),
        (iam("user = \"a\", password = { env = \"P\" }"), "8:7 `domain` is missing".into()),
        (iam("domain = \"a\", password = { env = \"P\" }"), "`user` is missing".into()),
        (iam("domain = \"a\", user = \"b\""), "`password` is missing".into()),
        (iam("domain = \"\", user = \"b\", password = { env = \"P\" }"), "`domain` is empty".into()),
        (
            iam("domain = \"a\", user = \"b\", password = { env = \"P\" }, passwrd = 1"),
            "did you mean `password`?".into(),
        ),
        (
            iam("url = \"ftp://x\", domain = \"a\", user = \"b\", password = { env = \"P\" }"),
            "this is not a full http".into(),
        ),
        (format!("{TOKEN}\ntransport = \"git\""), "9:13 git takes a password, and this remote has none".into()),
        (format!("{TOKEN}\ntransport = \"ssh\""), "there is no transport `ssh`".into()),
    ] {
        let found = problems(&of(REGION, ID, &proof));
        assert!(found.len() == 1 && found[0].contains(&expected), "{proof}: {found:#?}");
        assert!(!found[0].contains("CANARY"));
    }
    // Without a region nothing says where IAM is, and which project is meant.
    let found = problems(&of(URL, ID, IAM));
    assert!(
        found.len() == 2 && found[0].contains("`project` is missing") && found[1].contains("`url` is missing"),
        "{found:#?}"
    );
}

#[test]
fn the_example_is_loaded() {
    let settings = load(Path::new("config/examples/codearts.toml")).unwrap();
    let described: Vec<_> =
        settings.jobs[0].to.iter().map(|remote| remote.for_repository("core").unwrap().keys.describe()).collect();
    assert_eq!(
        described,
        [
            "https://codehub-ext.cn-north-4.myhuaweicloud.com repository 2112015538",
            "https://codeartsrepo-ext.tr-west-1.myhuaweicloud.com repository 88001",
            "https://codearts.example.com repository 17",
        ]
    );
}

// ---- The provider.

struct Remote {
    fake: FakeCodeArts,
    pool: Arc<Pool>,
    folder: tempfile::TempDir,
}

impl Remote {
    fn new(world: CodeArtsWorld) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        for (file, secret) in [("token", "secret"), ("password", "open sesame"), ("secret_key", "SK")] {
            private_file(&folder.path().join(file), secret);
        }
        Self { fake: FakeCodeArts::start(world), pool: Arc::new(Pool::new()), folder }
    }

    /// With lightweight tags `v0000` and so on.
    fn with_tags(count: u32, quirks: Quirks) -> Self {
        let mut world = CodeArtsWorld { quirks, ..CodeArtsWorld::with_core() };
        let tags = (0..count).map(|n| (format!("v{n:04}"), FakeTag::lightweight(&commit_id(n % 3))));
        world.core().tags = tags.collect();
        Self::new(world)
    }

    fn secret(&self, name: &str) -> SecretSource {
        SecretSource::File(self.folder.path().join(name))
    }

    fn iam(&self) -> Proof {
        Proof::Iam(Iam {
            url: self.fake.url().parse().expect("the fake has a URL"),
            domain: "acme".to_owned(),
            user: "robot".to_owned(),
            password: self.secret("password"),
            project: "cn-north-4".to_owned(),
        })
    }

    async fn connect_with(&self, proof: Proof) -> Arc<dyn Provider> {
        let url = self.fake.url().parse().expect("the fake has a URL");
        let keys = Keys::new(url, 7, proof).expect("seven is a number");
        let settings = HttpSettings { timeout: Duration::from_secs(5), ..HttpSettings::default() };
        let transport = Transport::new(&self.pool, settings);
        keys.connect(Connection { transport, compare_annotations: true, objects: None })
            .await
            .expect("the secrets can be read")
    }

    async fn connect(&self) -> Arc<dyn Provider> {
        self.connect_with(Proof::Token(self.secret("token"))).await
    }

    /// How many requests of a kind there have been.
    fn count(&self, kind: &str) -> usize {
        self.fake.server().record().count(kind)
    }
}

fn name(name: &str) -> TagName {
    TagName::new(name).expect("the test names a tag")
}

fn target(n: u32) -> Target {
    Target::Commit(commit_id(n).parse().expect("a made-up id is an id"))
}

fn new_tag(tag: &str, n: u32) -> NewTag {
    NewTag { name: name(tag), value: Value::of(target(n)), message: None, tag_id: None }
}

#[tokio::test]
async fn a_listing_costs_its_pages_and_one_row_for_each() {
    for (tags, requests) in [(0, 1), (1, 1), (99, 1), (100, 2), (101, 2), (198, 2), (250, 3), (1000, 11)] {
        let remote = Remote::with_tags(tags, Quirks::default());
        let listed = remote.connect().await.list_tags().await.unwrap();
        assert_eq!((listed.tags().len(), remote.count(kind::LIST)), (tags as usize, requests), "{tags}");
        assert_eq!(remote.fake.server().record().total(), requests, "{tags}");
    }
}

#[tokio::test]
async fn what_offset_counts_is_learned_once() {
    let remote = Remote::with_tags(250, Quirks { offset_counts_pages: true, ..Quirks::default() });
    // Two to find out, then two readings that agree, because pages by number do not hold on to each other.
    for (pass, requests) in [(1, 2 + 6), (2, 2 + 6 + 6)] {
        assert_eq!(remote.connect().await.list_tags().await.unwrap().tags().len(), 250);
        assert_eq!(remote.count(kind::LIST), requests, "pass {pass}");
    }
    // More tags than there are rows before the second page's number.
    let remote = Remote::with_tags(9_990, Quirks { offset_counts_pages: true, ..Quirks::default() });
    assert_eq!(remote.connect().await.list_tags().await.unwrap().tags().len(), 9_990);
}

fn annotated(quirks: Quirks) -> Remote {
    let remote = Remote::with_tags(40, quirks);
    remote.fake.change(|world| {
        for (n, tag) in (0..).zip(world.core().tags.values_mut()).skip(10) {
            *tag = FakeTag::annotated(&commit_id(n % 3), &format!("Release {n}"), n);
        }
    });
    remote
}

#[tokio::test]
async fn annotated_tags_are_looked_at_as_often_as_needed() {
    for (quirks, looks) in [
        // Thirty tag objects.
        (Quirks::default(), 30),
        // The first look shows that commits are listed.
        (Quirks { lists_commits: true, ..Quirks::default() }, 1),
        // Three commits, and thirty tags.
        (Quirks { borrows_messages: true, ..Quirks::default() }, 33),
    ] {
        let remote = annotated(quirks.clone());
        for _ in 0..2 {
            let listed = remote.connect().await.list_tags().await.unwrap();
            for (n, tag) in (0..).zip(listed.tags()) {
                assert_eq!(tag.value.as_ref().unwrap().target, target(n % 3), "{}", tag.name);
            }
            // What was seen once is known to the next pass. Some tags are looked at together, before either is known.
            assert!((looks..=looks + 8).contains(&remote.count(kind::GET)), "{quirks:?}: {}", remote.count(kind::GET));
        }
    }
    let names = annotated(Quirks { lists_names_only: true, ..Quirks::default() });
    assert!(names.connect().await.list_tags().await.unwrap().tags().iter().all(|tag| tag.value.is_ok()));
    assert_eq!(names.count(kind::GET), 40);
}

#[tokio::test]
async fn a_tag_that_cannot_be_shown_is_unknown_alone() {
    let remote = annotated(Quirks::default());
    remote.fake.change(|world| {
        world.core().tags.get_mut("v0020").unwrap().commit_id = None;
    });
    let failing = |request: &support::server::Request| request.parameter("tag_name") == Some("v0030");
    let failure = Effect::Answer(Reply::json(500, &json!({ "error_code": "CH.000001", "error_msg": "Internal" })));
    remote.fake.server().on(When::method("GET").matching(failing), failure);
    let gone = |request: &support::server::Request| request.parameter("tag_name") == Some("v0035");
    remote.fake.adversary(When::method("GET").matching(gone), |world| {
        world.core().tags.remove("v0035");
    });
    let listed = remote.connect().await.list_tags().await.unwrap();
    let unknown: Vec<_> =
        listed.tags().iter().filter_map(|tag| Some((tag.name.to_string(), tag.value.clone().err()?))).collect();
    let [(tree, tree_why), (broken, broken_why), (absent, absent_why)] = unknown.as_slice() else {
        panic!("{unknown:?}")
    };
    assert_eq!((tree.as_str(), broken.as_str(), absent.as_str()), ("v0020", "v0030", "v0035"));
    assert!(
        tree_why.contains("no commit behind") && broken_why.contains("500") && absent_why.contains("not there"),
        "{unknown:?}"
    );
    // What concerns all of them fails the listing.
    remote.fake.server().behave();
    remote.fake.server().on(When::method("GET").path_end("/tag"), Effect::Answer(Reply::json(401, &json!({}))));
    let fresh = Remote { pool: Arc::new(Pool::new()), ..remote };
    assert_eq!(fresh.connect().await.list_tags().await.unwrap_err().kind, FaultKind::Unauthorized);
}

#[tokio::test]
async fn what_may_not_be_deleted_is_protected() {
    let remote = Remote::with_tags(3, Quirks::default());
    remote.fake.change(|world| {
        world.core().tags.get_mut("v0000").unwrap().can_delete = Some(false);
        world.core().tags.get_mut("v0001").unwrap().can_delete = Some(true);
    });
    let listed = remote.connect().await.list_tags().await.unwrap();
    assert_eq!(listed.tags().iter().map(|tag| tag.protected).collect::<Vec<_>>(), [true, false, false]);
}

#[tokio::test]
async fn facts_and_identity() {
    let remote = Remote::with_tags(2, Quirks::default());
    let provider = remote.connect().await;
    let listed = provider.list_tags().await.unwrap();
    remote.fake.change(|world| {
        let key = json!({ "verification_status": 1, "gpg_primary_key_id": "AB12" });
        world.core().tags.get_mut("v0001").unwrap().gpg_key = Some(key);
    });
    let says = async |tag: &str| {
        let facts = provider.get_facts(listed.get(&name(tag)).unwrap(), true).await.unwrap();
        facts[0].says.clone()
    };
    assert_eq!(says("v0001").await, "GPG; verification status 1; key AB12");
    assert_eq!(says("v0000").await, "none that CodeArts Repo shows");
    assert!(provider.get_facts(&listed.tags()[0], false).await.unwrap().is_empty());

    let identity = provider.identity().await.unwrap();
    let host = remote.fake.url().replace("http://", "");
    assert_eq!((identity.space, identity.access), (format!("codearts:{host}#7"), Access::Untold));
    remote.fake.change(|world| world.core().archived = true);
    assert!(matches!(provider.identity().await.unwrap().access, Access::ReadOnly { .. }));
}

#[tokio::test]
async fn a_token_of_iam_is_kept_and_renewed() {
    let remote = Remote::with_tags(1, Quirks::default());
    // One token for several passes.
    for _ in 0..3 {
        remote.connect_with(remote.iam()).await.list_tags().await.unwrap();
    }
    assert_eq!((remote.count(kind::TOKEN), remote.count(kind::LIST)), (1, 3));
    // Refused before its end: another one, and the request once more, also when it writes.
    remote.fake.change(|world| world.tokens.clear());
    let provider = remote.connect_with(remote.iam()).await;
    provider.create_tag(&new_tag("v2", 1)).await.unwrap();
    assert_eq!((remote.count(kind::TOKEN), remote.count(kind::CREATE), remote.fake.writes().len()), (2, 2, 1));
    // A token that is over soon is renewed before it is sent.
    remote.fake.change(|world| {
        world.tokens.clear();
        world.token_life = -5;
    });
    provider.list_tags().await.unwrap();
    provider.list_tags().await.unwrap();
    assert_eq!(remote.count(kind::TOKEN), 4);
    // Another password is another credential.
    remote.fake.change(|world| world.users[0].password = "other".to_owned());
    private_file(&remote.folder.path().join("password"), "other");
    remote.connect_with(remote.iam()).await.list_tags().await.unwrap();
    assert_eq!(remote.count(kind::TOKEN), 5);
}

#[tokio::test]
async fn a_refused_password_is_said_without_it() {
    let mut remote = Remote::with_tags(1, Quirks::default());
    remote.fake.change(|world| world.users.clear());
    let fault = remote.connect_with(remote.iam()).await.list_tags().await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Unauthorized);
    assert!(
        fault.message.contains("The username or password is wrong") && fault.message.contains("list the tags"),
        "{fault}"
    );
    assert!(fault.hint.unwrap().contains("`domain`") && !fault.message.contains("sesame"));
    assert_eq!((remote.count(kind::TOKEN), remote.count(kind::LIST)), (1, 0));

    // Nobody asks again for a while, and after a reload at once.
    let fault = remote.connect_with(remote.iam()).await.list_tags().await.unwrap_err();
    assert!(fault.message.contains("is left alone until") && !fault.message.contains("sesame"), "{fault}");
    assert_eq!((fault.kind, remote.count(kind::TOKEN)), (FaultKind::Unauthorized, 1));
    remote.pool = Arc::new(Pool::new());

    let without = Effect::Answer(Reply::json(201, &json!({ "token": { "expires_at": "CANARY" } })));
    remote.fake.server().on(When::method("POST").path_end("/tokens"), without);
    let fault = remote.connect_with(remote.iam()).await.list_tags().await.unwrap_err();
    assert!(fault.message.contains("has no X-Subject-Token") && !fault.message.contains("CANARY"), "{fault}");
}

async fn fault_of(reply: Reply) -> Fault {
    let remote = Remote::with_tags(1, Quirks::default());
    remote.fake.server().on(When::any(), Effect::Answer(reply));
    remote.connect().await.create_tag(&new_tag("v9", 1)).await.expect_err("the answer is no good one")
}

#[tokio::test]
async fn errors_are_understood_by_code_and_status() {
    let body = |code: &str| json!({ "error_code": code, "error_msg": "In words" });
    for (status, code, kind) in [
        (403, "APIG.0308", FaultKind::Throttled),
        (400, "APIG.0301", FaultKind::Unauthorized),
        (403, "APIG.0302", FaultKind::Forbidden),
        (401, "CH.00000002", FaultKind::Unauthorized),
        (403, "CH.00401008", FaultKind::Forbidden),
        (404, "CH.00402000", FaultKind::NotFound),
        (400, "CH.1", FaultKind::Rejected),
        (409, "CH.1", FaultKind::Rejected),
        (500, "CH.000001", FaultKind::Ambiguous),
        // The status of a success, and the words of a failure.
        (200, "CH.080403", FaultKind::Forbidden),
        (200, "CH.080504", FaultKind::Ambiguous),
        (200, "CH.1", FaultKind::Rejected),
    ] {
        let fault = fault_of(Reply::json(status, &body(code)).header("X-Request-Id", "0a1b")).await;
        assert_eq!(fault.kind, kind, "{status} {code}: {fault}");
        assert!(fault.message.ends_with("In words (request 0a1b)") && fault.message.contains(code), "{fault}");
    }
    for (reply, kind, words) in [
        (Reply::text(400, "plain words"), FaultKind::Rejected, "plain words"),
        (Reply::html(403), FaultKind::Forbidden, "with an HTML page"),
        (Reply::html(200), FaultKind::Ambiguous, "is an HTML page"),
        (Reply::json(201, &json!(null)), FaultKind::Ambiguous, "is not a tag"),
        (Reply::json(201, &json!([{ "name": "v9" }])), FaultKind::Ambiguous, "is not a tag"),
        (Reply::json(201, &json!({ "name": "v9" })), FaultKind::Ambiguous, "another tag or another commit"),
        (Reply::json(201, &json!({ "name": "v8", "target": commit_id(1) })), FaultKind::Ambiguous, "another tag"),
        (Reply::json(201, &json!({ "name": "a..b", "target": commit_id(1) })), FaultKind::Ambiguous, "impossible tag"),
        (Reply::json(202, &json!({ "name": "v9", "target": commit_id(1) })), FaultKind::Ambiguous, "202"),
        (Reply::redirect(301, "https://evil.example.com/"), FaultKind::Rejected, "which is not followed"),
    ] {
        let fault = fault_of(reply).await;
        assert!(fault.kind == kind && fault.message.contains(words), "{fault:?}");
    }
    let bare = json!({ "name": "v9", "target": commit_id(1) });
    let remote = Remote::with_tags(1, Quirks::default());
    remote.fake.server().on(When::method("POST"), Effect::Answer(Reply::json(200, &bare)));
    assert!(remote.connect().await.create_tag(&new_tag("v9", 1)).await.is_ok());
}

#[tokio::test]
async fn absence_is_believed_from_the_repository_only() {
    let remote = Remote::with_tags(1, Quirks { terse: true, ..Quirks::default() });
    let provider = remote.connect().await;
    // "Not Found", without saying what: the repository is there, so the tag is not.
    assert_eq!(provider.get_tag(&name("v9")).await, Ok(None));
    assert_eq!(remote.count(kind::REPOSITORY), 1);
    for reply in [
        Reply::json(404, &json!({ "error_code": "APIG.0101", "error_msg": "The API does not exist: tag" })),
        Reply::html(404),
        Reply::text(404, "tag not found"),
        Reply::empty(404),
    ] {
        remote.fake.server().on(When::method("GET").path_end("/tag"), Effect::Answer(reply));
        assert_eq!(provider.get_tag(&name("v9")).await.unwrap_err().kind, FaultKind::NotFound);
        remote.fake.server().behave();
    }
    // A branch of that name, or whatever else is found by it.
    let other = Reply::json(200, &json!({ "id": commit_id(2) }));
    remote.fake.server().on(When::method("GET").path_end("/commits"), Effect::Answer(other));
    assert_eq!(provider.has_target(&target(1)).await.unwrap_err().kind, FaultKind::Unreadable);
}

#[tokio::test]
async fn pages_that_are_too_large_are_asked_for_in_parts() {
    let remote = Remote::with_tags(150, Quirks { lists_commits: true, ..Quirks::default() });
    remote.fake.change(|world| {
        for (n, tag) in (0..).zip(world.core().tags.values_mut()) {
            *tag = FakeTag::annotated(&commit_id(n % 3), &"x".repeat(150_000), n);
        }
    });
    assert_eq!(remote.connect().await.list_tags().await.unwrap().tags().len(), 150);
}

/// The whole program: creates, annotated and not, then a move and a delete beside one that is held, then nothing.
#[test]
fn a_pass_converges_and_the_next_one_does_nothing() {
    let repository = SampleRepository::bare();
    let commits = [repository.commit("one"), repository.commit("two")];
    for tag in ["v1", "v2", "v3", "release/-x+é"] {
        repository.tag(tag, &commits[0]);
    }
    let fake = FakeCodeArts::start(CodeArtsWorld::with_core());
    let program = Program::new();
    let (path, token, url) = (repository.path().display(), program.path("token"), fake.url());
    program.configure(&format!(
        r#"
        [repository.core]
        path = "{path}"
        [remote.far]
        provider = "codearts"
        url = "{url}"
        repository_id = 7
        token = {{ file = "{}" }}
        [job.core]
        from = "core"
        to = ["far"]
        policy = "mirror"
        "#,
        token.display()
    ));
    assert_eq!(program.sync(&[]).expect(0).remote()["counts"]["create"], 4);
    let idle = program.sync(&[]).expect(0).remote();
    assert_eq!((&idle["counts"]["in_sync"], &idle["requests"]), (&json!(4), &json!(1)), "{idle}");

    repository.tag("v1", &commits[1]);
    repository.delete_tag("v2");
    repository.delete_tag("v3");
    fake.change(|world| world.core().tags.get_mut("v3").unwrap().can_delete = Some(false));
    let remote = program.sync(&[]).expect(3).remote();
    assert_eq!((&remote["counts"]["move"], &remote["counts"]["delete"]), (&json!(1), &json!(1)), "{remote}");
    assert_eq!((&remote["held"][0]["tag"], remote["held"].as_array().unwrap().len()), (&json!("v3"), 1), "{remote}");
    let tags = fake.tags();
    assert_eq!(tags.keys().map(String::as_str).collect::<Vec<_>>(), ["release/-x+é", "v1", "v3"]);
    assert_eq!(tags["v1"].target, commits[1]);
}

// ---- The fake.

/// Asks as a client with the token does.
fn call(fake: &FakeCodeArts, target: &str) -> (u16, serde_json::Value) {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(fake.server().address()).expect("the fake listens");
    write!(stream, "GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Auth-Token: secret\r\n\r\n")
        .expect("the fake reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("the fake answers");
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer has a head");
    (head[9..12].parse().expect("a status is a number"), serde_json::from_str(body).unwrap_or_default())
}

#[test]
fn the_fake_pages_shows_and_refuses_as_it_is_told() {
    let remote = Remote::with_tags(5, Quirks::default());
    let fake = &remote.fake;
    let tags = "/v4/repositories/7/repository/tags?order_by=name&sort=asc";
    let names = |query: &str| -> Vec<String> {
        let (_, body) = call(fake, &format!("{tags}{query}"));
        body.as_array().unwrap().iter().map(|tag| tag["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names("&offset=1&limit=2"), ["v0001", "v0002"]);
    assert_eq!(names("&offset=4&limit=2"), ["v0004"]);
    assert_eq!(names("&search=0003"), ["v0003"]);
    fake.change(|world| world.quirks.offset_counts_pages = true);
    assert_eq!(names("&offset=1&limit=2"), ["v0002", "v0003"]);
    assert_eq!(names("&offset=3&limit=2"), [""; 0]);
    for bad in ["&limit=101", "&limit=0", "&offset=-1", "&view=all"] {
        assert_eq!(call(fake, &format!("{tags}{bad}")).0, 400, "{bad}");
    }
    let (_, tag) = call(fake, "/v4/repositories/7/repository/tag?tag_name=v0001");
    assert_eq!((&tag["commit"]["id"], &tag["commit"]["message"]), (&json!(commit_id(1)), &json!(COMMIT_MESSAGE)));
    assert_eq!(call(fake, "/v4/repositories/8").1["error_code"], "CH.00402000");
    assert_eq!(call(fake, "/v2/repositories/7/tags").1["error_code"], "APIG.0101");
    for (error_form, status, pointer) in [
        (ErrorForm::CodeAndMessage, 404, "/code"),
        (ErrorForm::Nested, 404, "/error/code"),
        (ErrorForm::FailedUnder200, 200, "/error/code"),
    ] {
        fake.change(|world| world.quirks.error_form = error_form);
        let (found, body) = call(fake, "/v4/repositories/7/repository/tag?tag_name=x");
        assert_eq!((found, body.pointer(pointer)), (status, Some(&json!("CH.00404001"))));
    }
}

#[tokio::test]
async fn the_fake_believes_no_signature_but_the_right_one() {
    let remote = Remote::with_tags(1, Quirks::default());
    let sign = |access_key: &str, file: &str| Proof::Signature {
        access_key: access_key.to_owned(),
        secret_key: remote.secret(file),
    };
    assert_eq!(remote.connect_with(sign("AK", "secret_key")).await.get_tag(&name("-x/é+1")).await, Ok(None));
    for wrong in [sign("AK", "token"), sign("BK", "secret_key")] {
        let fault = remote.connect_with(wrong).await.list_tags().await.unwrap_err();
        assert_eq!(fault.kind, FaultKind::Unauthorized);
        assert!(fault.hint.unwrap().contains("clock"));
    }
}
