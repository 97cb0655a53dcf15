//! Image tags in registries: the fakes, the providers at their edges, the keys, and whole passes.

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use support::images::World;
use support::program::private_file;
use support::registry::{FakeRegistry, Quirks, RegistryWorld, TagDeletes, Wants, digest, manifest};
use support::registry_subject::target;
use support::server::{Effect, Reply, When};
use support::vercel::{FakeVercel, IMAGE, PROJECT, REPOSITORY, TEAM};
use tagsyncd::config::{SecretSource, Settings, load};
use tagsyncd::http::{HttpSettings, Pool, Transport};
use tagsyncd::provider::{Connection, Deletes, FaultKind, NewTag, Provider, RemoteKeys as _, oci, vercel};
use tagsyncd::tag::{TagName, TargetKind, Value};

fn name(name: &str) -> TagName {
    TagName::new(name).expect("what a test needs is there")
}

fn new_tag(tag: &str, n: usize) -> NewTag {
    NewTag { name: name(tag), value: Value::of(target(n)), message: None, tag_id: None }
}

fn connection() -> Connection {
    let settings = HttpSettings { timeout: Duration::from_secs(5), ..HttpSettings::default() };
    Connection {
        transport: Transport::new(&Arc::new(Pool::new()), settings),
        compare_annotations: false,
        objects: None,
    }
}

/// A registry with three manifests and these tags, that wants nothing of those who ask.
fn open_registry(tags: &[(&str, usize)]) -> FakeRegistry {
    let mut world = RegistryWorld { wants: Wants::Nothing, ..RegistryWorld::with_manifests(3) };
    tags.iter().for_each(|(name, n)| world.tag(name, *n));
    FakeRegistry::start(world)
}

fn keys(fake: &FakeRegistry) -> oci::Keys {
    oci::Keys::new(fake.url().parse().expect("what a test needs is there"), "team/app")
        .expect("what a test needs is there")
}

async fn connect(keys: oci::Keys) -> Arc<dyn Provider> {
    keys.connect(connection()).await.expect("what a test needs is there")
}

/// A login, with the folder that its password's file is in.
fn login(keys: oci::Keys) -> (tempfile::TempDir, oci::Keys) {
    let folder = tempfile::tempdir().expect("what a test needs is there");
    let file = folder.path().join("password");
    private_file(&file, "secret");
    let keys = keys.with_login("robot", SecretSource::File(file));
    (folder, keys)
}

#[tokio::test]
async fn many_tags_on_one_manifest_take_one_fetch_and_arrive_byte_for_byte() {
    let fake = open_registry(&[]);
    let provider = connect(keys(&fake)).await;
    for tag in ["v1", "v1.0", "v1.0.0", "latest"] {
        provider.create_tag(&new_tag(tag, 1)).await.unwrap();
    }
    provider.move_tag(&name("latest"), &Value::of(target(1)), &new_tag("latest", 2)).await.unwrap();
    let record = fake.server().record();
    assert_eq!((record.count("GET manifest"), record.count("PUT tag"), record.total()), (2, 5, 7));
    let second = digest(&manifest(2).bytes);
    assert_eq!(fake.tags()["latest"], second);
    assert_eq!(fake.tags()["v1.0.0"], digest(&manifest(1).bytes));
}

#[tokio::test]
async fn a_listing_asks_for_each_digest_and_no_more_than_eight_at_once() {
    let tags: Vec<(String, usize)> = (0..250).map(|at| (format!("v{at:03}"), at % 3)).collect();
    let fake = open_registry(&tags.iter().map(|(tag, n)| (tag.as_str(), *n)).collect::<Vec<_>>());
    fake.server().on(When::method("HEAD"), Effect::Delay(Duration::from_millis(2)));
    let snapshot = connect(keys(&fake)).await.list_tags().await.unwrap();
    assert_eq!(snapshot.tags().len(), 250);
    let record = fake.server().record();
    // Three pages by `Link`: the last has none, which is the end.
    assert_eq!((record.count("GET list"), record.count("HEAD tag"), record.total()), (3, 250, 253));
    assert!((2..=8).contains(&record.most_in_flight), "{}", record.most_in_flight);
}

#[tokio::test]
async fn a_registry_that_names_no_next_page_is_asked_until_nothing_follows() {
    let fake = open_registry(&[("v1", 0), ("v2", 1), ("v3", 2)]);
    fake.change(|world| world.quirks = Quirks { no_link: true, page_cap: 2, ..Quirks::default() });
    let provider = connect(keys(&fake)).await;
    assert_eq!(provider.list_tags().await.unwrap().tags().len(), 3);
    assert_eq!(fake.server().record().count("GET list"), 3);
    // An empty image, in both forms.
    fake.change(|world| world.tags.clear());
    for null_tags in [false, true] {
        fake.change(|world| world.quirks.null_tags = null_tags);
        assert!(provider.list_tags().await.unwrap().tags().is_empty());
    }
}

#[tokio::test]
async fn what_is_listed_without_a_manifest_is_unknown_and_not_absent() {
    let fake = open_registry(&[("v1", 0)]);
    fake.change(|world| world.quirks.dangling = vec!["gone".into()]);
    let snapshot = connect(keys(&fake)).await.list_tags().await.unwrap();
    assert!(snapshot.get(&name("gone")).unwrap().value.is_err());
    assert!(snapshot.get(&name("v1")).unwrap().value.is_ok());
}

#[tokio::test]
async fn answers_that_are_no_listing_are_faults() {
    for (reply, kind) in [
        (Reply::text(200, "v1\nv2"), FaultKind::Unreadable),
        (Reply::json(200, &serde_json::json!({ "name": "team/app" })), FaultKind::Unreadable),
        (Reply::json(200, &serde_json::json!({ "tags": ["../x"] })), FaultKind::Unreadable),
        (Reply::json(200, &serde_json::json!({ "tags": ["a", "a"] })), FaultKind::Unreadable),
        (Reply::json(200, &serde_json::json!({ "tags": [1] })), FaultKind::Unreadable),
        (Reply::html(200), FaultKind::Unreadable),
        (Reply::text(404, "404 page not found"), FaultKind::NotFound),
        (Reply::json(403, &serde_json::json!({ "errors": [{ "code": "DENIED" }] })), FaultKind::Forbidden),
        (Reply::json(401, &serde_json::json!({ "errors": [{ "code": "DENIED" }] })), FaultKind::Forbidden),
        (Reply::json(404, &serde_json::json!({ "errors": [{ "code": "NAME_UNKNOWN" }] })), FaultKind::NotFound),
        (Reply::json(400, &serde_json::json!({ "errors": [{ "code": "TOOMANYREQUESTS" }] })), FaultKind::Throttled),
    ] {
        let fake = open_registry(&[("v1", 0)]);
        fake.server().on(When::method("GET").path_end("/tags/list"), Effect::Answer(reply.clone()));
        let fault = connect(keys(&fake)).await.list_tags().await.unwrap_err();
        assert_eq!(fault.kind, kind, "{reply:?}: {fault}");
    }
}

#[tokio::test]
async fn a_404_is_absence_only_where_the_image_is_shown() {
    let fake = open_registry(&[("v1", 0)]);
    let provider = connect(keys(&fake)).await;
    assert_eq!(provider.get_tag(&name("v2")).await.unwrap(), None);
    assert!(!provider.has_target(&target(7)).await.unwrap());
    fake.change(|world| world.exists = false);
    // One that has not just been shown the image.
    let provider = connect(keys(&fake)).await;
    for kind in [
        provider.get_tag(&name("v2")).await.unwrap_err().kind,
        provider.has_target(&target(0)).await.unwrap_err().kind,
        provider.list_tags().await.unwrap_err().kind,
    ] {
        assert_eq!(kind, FaultKind::NotFound);
    }
}

#[tokio::test]
async fn one_proof_that_the_image_is_shown_serves_many_absent_tags() {
    let fake = open_registry(&[("v1", 0)]);
    let provider = connect(keys(&fake)).await;
    for at in 0..5 {
        assert_eq!(provider.get_tag(&name(&format!("w{at}"))).await.unwrap(), None);
    }
    let record = fake.server().record();
    assert_eq!((record.count("GET list"), record.count("HEAD tag")), (1, 5));
    // A listing is such a proof.
    let provider = connect(keys(&fake)).await;
    let _listed = provider.list_tags().await.unwrap();
    fake.server().forget();
    assert_eq!(provider.get_tag(&name("w1")).await.unwrap(), None);
    assert_eq!(fake.server().record().total(), 1);
}

#[tokio::test]
async fn a_manifest_that_the_registry_calls_otherwise_is_not_tagged() {
    let fake = open_registry(&[]);
    let long = sha512(&manifest(0).bytes);
    fake.change(|world| {
        world.quirks.calls_by_sha256 = true;
        world.manifests.insert(long.clone(), manifest(0));
    });
    let value = Value::of(TargetKind::Digest.parse(&long).unwrap());
    let new = NewTag { name: name("v1"), value, message: None, tag_id: None };
    let fault = connect(keys(&fake)).await.create_tag(&new).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Rejected, "{fault}");
    assert!(fault.message.contains(&digest(&manifest(0).bytes)), "{fault}");
    assert!(fake.writes().is_empty() && fake.tags().is_empty());
}

fn sha512(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    let hex: String = sha2::Sha512::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha512:{hex}")
}

#[tokio::test]
async fn a_later_pass_knows_what_the_registry_asks_for() {
    let fake = FakeRegistry::start(RegistryWorld::with_manifests(3));
    let (_folder, keys) = login(keys(&fake));
    let pool = Arc::new(Pool::new());
    let pass = async || {
        let connection = Connection { transport: Transport::new(&pool, HttpSettings::default()), ..connection() };
        keys.connect(connection).await.unwrap().list_tags().await
    };
    pass().await.unwrap();
    fake.server().forget();
    pass().await.unwrap();
    let record = fake.server().record();
    assert_eq!((record.count("GET token"), record.total()), (0, 1), "{:?}", record.requests);
    assert!(record.requests.iter().all(|seen| seen.authorized));
    // Its tokens count no more, and then it wants a login: each is learnt once.
    fake.change(|world| world.tokens.values_mut().for_each(|token| token.uses_left = Some(0)));
    pass().await.unwrap();
    fake.change(|world| world.wants = Wants::Basic);
    pass().await.unwrap();
    fake.server().forget();
    pass().await.unwrap();
    assert_eq!(fake.server().record().total(), 1);
}

#[tokio::test]
async fn a_token_server_that_moved_is_found_again() {
    let fake = FakeRegistry::start(RegistryWorld::with_manifests(3));
    let (_folder, keys) = login(keys(&fake));
    let former = fake.start_token_server();
    let latter = fake.start_token_server();
    let here = |server: &support::server::Server| Wants::Token(Some(format!("{}/token", server.url())));
    fake.change(|world| {
        world.wants = here(&former);
        world.token_uses = Some(1);
    });
    let keys = keys.with_realm(&former.address().to_string()).with_realm(&latter.address().to_string());
    let pool = Arc::new(Pool::new());
    let pass = async || {
        let connection = Connection { transport: Transport::new(&pool, HttpSettings::default()), ..connection() };
        keys.connect(connection).await.unwrap().list_tags().await
    };
    // Only the host that was named last may be asked, so the former one is refused, and nothing of it sticks.
    assert!(pass().await.is_err());
    fake.change(|world| world.wants = here(&latter));
    assert!(pass().await.is_ok());
}

#[tokio::test]
async fn bytes_that_are_not_those_of_the_digest_are_never_written() {
    let fake = open_registry(&[]);
    fake.change(|world| world.quirks.corrupts = true);
    let fault = connect(keys(&fake)).await.create_tag(&new_tag("v1", 0)).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Rejected, "{fault}");
    assert!(fault.message.contains("is another manifest than sha256:"), "{fault}");
    assert!(fake.writes().is_empty());
    // A manifest that is larger than registries have to take.
    fake.change(|world| world.quirks.corrupts = false);
    let large = Reply { status: 200, headers: Vec::new(), body: vec![b' '; (4 << 20) + 1].into() };
    fake.server().on(When::method("GET").path("/manifests/"), Effect::Answer(large));
    let fault = connect(keys(&fake)).await.create_tag(&new_tag("v1", 0)).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::NotSent, "{fault}");
    assert!(fake.writes().is_empty());
}

#[tokio::test]
async fn an_answer_to_a_write_that_names_another_digest_is_in_doubt() {
    let fake = open_registry(&[]);
    fake.change(|world| world.quirks.wrong_put_digest = true);
    let fault = connect(keys(&fake)).await.create_tag(&new_tag("v1", 0)).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Ambiguous, "{fault}");
}

#[tokio::test]
async fn registries_that_delete_no_tags_say_so_and_nothing_else_is_tried() {
    for status in [400, 405] {
        let fake = open_registry(&[("v1", 0), ("v2", 0)]);
        fake.change(|world| world.quirks.tag_deletes = TagDeletes::Unsupported(status));
        let provider = connect(keys(&fake).deleting()).await;
        let _listed = provider.list_tags().await.unwrap();
        let fault = provider.delete_tag(&name("v1"), &Value::of(target(0))).await.unwrap_err();
        assert_eq!(fault.kind, FaultKind::Rejected);
        assert!(fault.message.contains("UNSUPPORTED") && fault.hint.unwrap().contains("`deletes`"));
        assert_eq!(fake.writes().len(), 1, "{:?}", fake.writes());
        assert_eq!(fake.tags().len(), 2);
    }
    let fake = open_registry(&[("v1", 0)]);
    let fault = connect(keys(&fake)).await.delete_tag(&name("v1"), &Value::of(target(0))).await.unwrap_err();
    assert_eq!((fault.kind, fake.server().record().total()), (FaultKind::Unsupported, 0));
}

#[tokio::test]
async fn tags_that_a_delete_takes_along_are_put_back_and_no_more_is_deleted() {
    let fake = open_registry(&[("v1", 0), ("v1.0", 0), ("sha-1", 0), ("v2", 1), ("v3", 1)]);
    fake.change(|world| world.quirks.tag_deletes = TagDeletes::UntagsAll);
    let provider = connect(keys(&fake).deleting()).await;
    let _listed = provider.list_tags().await.unwrap();
    let fault = provider.delete_tag(&name("v1.0"), &Value::of(target(0))).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Rejected);
    assert!(fault.message.contains("took other tags") && fault.message.contains("put back"), "{fault}");
    let left = ["sha-1", "v1", "v2", "v3"].map(str::to_owned);
    assert_eq!(fake.tags().into_keys().collect::<Vec<_>>(), left);
    let fault = provider.delete_tag(&name("v2"), &Value::of(target(1))).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Unsupported);
    assert_eq!(fake.tags().into_keys().collect::<Vec<_>>(), left);
}

#[tokio::test]
async fn no_delete_ever_names_a_digest() {
    let fake = open_registry(&[("v1", 0), ("v2", 0)]);
    let provider = connect(keys(&fake).deleting()).await;
    let _listed = provider.list_tags().await.unwrap();
    provider.delete_tag(&name("v1"), &Value::of(target(0))).await.unwrap();
    provider.delete_tag(&name("v2"), &Value::of(target(0))).await.unwrap();
    let deletes: Vec<String> = fake.writes().into_iter().map(|write| write.reference).collect();
    assert_eq!(deletes, ["v1", "v2"]);
    assert_eq!(fake.change(|world| world.manifests.len()), 3);
}

#[tokio::test]
async fn a_token_server_elsewhere_gets_the_login_only_where_the_configuration_says_so() {
    let fake = FakeRegistry::start(RegistryWorld::with_manifests(3));
    let tokens = fake.start_token_server();
    let (_folder, keys) = login(keys(&fake));
    let fault = connect(keys.clone()).await.list_tags().await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Unauthorized);
    assert!(fault.hint.unwrap().contains("`realm = \"127.0.0.1:"), "{}", fault.message);
    assert_eq!(tokens.record().total(), 0);
    // With it, for reads and writes, also when tokens end early.
    fake.change(|world| world.token_uses = Some(2));
    let provider = connect(keys.with_realm(&tokens.address().to_string())).await;
    for tag in ["v1", "v2", "v3"] {
        provider.create_tag(&new_tag(tag, 0)).await.unwrap();
    }
    assert_eq!(provider.list_tags().await.unwrap().tags().len(), 3);
    assert!(tokens.record().total() >= 3);
}

#[tokio::test]
async fn a_registry_that_denies_says_so_whatever_the_status() {
    for status in [401, 403] {
        let fake = FakeRegistry::start(RegistryWorld::with_manifests(3));
        fake.change(|world| {
            world.users.values_mut().for_each(|user| user.actions = vec!["pull"]);
            world.quirks.denies_with = Some(status);
        });
        let (_folder, keys) = login(keys(&fake));
        let fault = connect(keys).await.create_tag(&new_tag("v1", 0)).await.unwrap_err();
        assert_eq!(fault.kind, FaultKind::Forbidden, "{fault}");
    }
}

/// Vercel with three manifests and these tags, and a client of it.
async fn vercel(tags: &[(&str, usize)]) -> (FakeVercel, Arc<dyn Provider>, tempfile::TempDir) {
    let mut world = RegistryWorld::with_manifests(3);
    tags.iter().for_each(|(name, n)| world.tag(name, *n));
    let fake = FakeVercel::start(world);
    let folder = tempfile::tempdir().expect("what a test needs is there");
    let file = folder.path().join("token");
    private_file(&file, "secret");
    let (url, registry) = (
        fake.url().parse().expect("what a test needs is there"),
        fake.registry.url().parse().expect("what a test needs is there"),
    );
    let keys = vercel::Keys::new(url, registry, PROJECT, TEAM, REPOSITORY, IMAGE, SecretSource::File(file));
    let provider = keys.connect(connection()).await.expect("what a test needs is there");
    (fake, provider, folder)
}

#[tokio::test]
async fn vercel_lists_in_pages_and_writes_through_the_registry_without_a_challenge() {
    let tags: Vec<(String, usize)> = (0..101).map(|at| (format!("v{at:03}"), at % 3)).collect();
    let (fake, provider, _folder) = vercel(&tags.iter().map(|(tag, n)| (tag.as_str(), *n)).collect::<Vec<_>>()).await;
    assert_eq!(provider.list_tags().await.unwrap().tags().len(), 101);
    assert_eq!((fake.server().record().total(), fake.registry.server().record().total()), (2, 0));
    // The REST API lags; the registry's answer counts.
    fake.fall_behind(10);
    let made = provider.create_tag(&new_tag("latest", 1)).await.unwrap();
    assert_eq!(made.value, Ok(Value::of(target(1))));
    let record = fake.registry.server().record();
    assert_eq!((record.count("GET manifest"), record.count("PUT tag"), record.total()), (1, 1, 2));
    assert!(record.requests.iter().all(|seen| seen.authorized));
    // A registry that wants tokens is served as well.
    fake.registry.change(|world| world.wants = Wants::Token(None));
    provider.move_tag(&name("latest"), &Value::of(target(1)), &new_tag("latest", 2)).await.unwrap();
    assert_eq!(fake.registry.tags()["latest"], digest(&manifest(2).bytes));
}

#[tokio::test]
async fn vercel_says_what_an_image_is() {
    let (_fake, provider, _folder) = vercel(&[("v1", 0), ("v2", 1)]).await;
    let facts = async |tag: &str| {
        let tag = provider.get_tag(&name(tag)).await.unwrap().unwrap();
        provider.get_facts(&tag, false).await.unwrap().into_iter().map(|fact| fact.says).collect::<String>()
    };
    assert!(facts("v1").await.starts_with("manifest, linux/amd64, status ready, "));
    assert!(facts("v2").await.starts_with("index, ") && !facts("v2").await.contains("status"));
}

#[tokio::test]
async fn what_vercel_hides_or_limits_is_a_fault_and_never_absence() {
    let (fake, provider, _folder) = vercel(&[("v1", 0)]).await;
    assert!(provider.identity().await.unwrap().space.ends_with("#prj_1/core=vcr_1"));
    fake.change(|world| world.quirks.hides_repository = true);
    assert!(provider.identity().await.unwrap().space.ends_with("#prj_1/core"));
    fake.change(|world| world.is_going = true);
    let fault = provider.list_tags().await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Rejected);
    assert!(fault.message.contains("410") && fault.hint.unwrap().contains("deletion"));
    fake.change(|world| world.repository_id = None);
    let fault = provider.list_tags().await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::NotFound);
    assert!(fault.hint.unwrap().contains("hides"));
}

#[tokio::test]
async fn vercel_looks_into_the_registry_that_it_writes_to() {
    let (fake, provider, _folder) = vercel(&[("v1", 0)]).await;
    // The API still shows what was there before somebody else moved one tag and pushed another.
    fake.fall_behind(usize::MAX);
    fake.registry.change(|world| world.tag("v1", 1));
    fake.registry.change(|world| world.tag("v2", 2));
    assert_eq!(provider.get_tag(&name("v1")).await.unwrap().unwrap().value, Ok(Value::of(target(1))));
    assert_eq!(provider.get_tag(&name("v2")).await.unwrap().unwrap().value, Ok(Value::of(target(2))));
    assert_eq!(provider.get_tag(&name("v3")).await.unwrap(), None);
    // A registry that does not show the image is no reason to wait for a manifest, nor a tag space that can be known.
    fake.registry.change(|world| world.exists = false);
    assert_eq!(provider.has_target(&target(0)).await.unwrap_err().kind, FaultKind::NotFound);
    assert_eq!(provider.identity().await.unwrap_err().kind, FaultKind::NotFound);
}

#[tokio::test]
async fn the_limit_in_the_body_of_an_answer_is_heeded() {
    let (fake, provider, _folder) = vercel(&[("v1", 0)]).await;
    fake.change(|world| world.quirks.limited_for = Some(300));
    let fault = provider.list_tags().await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Throttled);
    assert!(fault.message.contains("(it asks to be left alone until 20"), "{fault}");
    // Nobody asks again, also in a later pass.
    let before = fake.server().record().total();
    let fault = provider.list_tags().await.unwrap_err();
    assert_eq!((fault.kind, fake.server().record().total()), (FaultKind::Throttled, before));
}

#[tokio::test]
async fn vercel_never_deletes() {
    let (fake, provider, _folder) = vercel(&[("v1", 0)]).await;
    let fault = provider.delete_tag(&name("v1"), &Value::of(target(0))).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Unsupported);
    assert_eq!(fake.server().record().total() + fake.registry.server().record().total(), 0);
}

/// The problems of a configuration with this remote.
fn problems(remote: &str) -> String {
    let text = format!(
        "[repository.core]\npath = \"/srv/core.git\"\n[remote.there]\n{remote}\n[job.core]\nfrom = \"core\"\nto = \
         [\"there\"]\npolicy = \"mirror\"\n"
    );
    Settings::parse(&text, Path::new("c.toml")).map_or_else(|fault| fault.to_string(), |_| String::new())
}

const OCI: &str = "provider = \"oci\"\ntarget = { tag = \"sha-{commit}\" }\n";
const WHERE: &str = "registry = \"https://r.example.com\"\nimage = \"team/app\"\n";
const VERCEL: &str = "provider = \"vercel\"\ntarget = { tag = \"sha-{commit}\" }\ntoken = { env = \"T\" }\n";
const CORE: &str = "project = \"prj_1\"\nrepository = \"core\"\nimage = \"acme/shop/core\"\n";

#[test]
fn every_problem_of_the_keys_of_a_registry_is_told() {
    assert_eq!(problems(&format!("{OCI}{WHERE}")), "");
    assert_eq!(
        problems(&format!("{OCI}{WHERE}username = \"a\"\npassword = {{ env = \"P\" }}\nrealm = \"x.y:1\"\n")),
        ""
    );
    assert_eq!(problems(&format!("{OCI}{WHERE}token = {{ env = \"T\" }}\ndeletes = \"tag\"\n")), "");
    for (more, told) in [
        ("", &["`registry` is missing", "`image` is missing"][..]),
        ("registry = \"r.example.com\"\nimage = \"Team/app:1\"", &["not a full http or https URL", "names a tag"]),
        ("registry = \"http://r.example.com\"\nimage = \"a\"", &["plain HTTP"]),
        ("username = \"a\"", &["`password` is missing"]),
        ("password = { env = \"P\" }", &["`username` is missing"]),
        ("username = \"a:b\"\npassword = { env = \"P\" }", &["`username` holds a colon"]),
        ("username = \"a\"\ntoken = { env = \"T\" }", &["exclude each other"]),
        ("password = \"hunter2\"\nusername = \"a\"", &["secret"]),
        ("realm = \"https://auth.example.com/token\"", &["`realm` is not the name of a host"]),
        ("deletes = \"tags\"", &["did you mean `tag`"]),
        ("deletes = true", &["expected"]),
        ("img = \"x\"", &["unknown key `img`"]),
        ("annotations = \"message\"", &["keeps no annotations"]),
    ] {
        let shown = problems(&format!("{OCI}{more}\n"));
        assert!(told.iter().all(|told| shown.contains(told)), "{more}: {shown}");
        assert!(!shown.contains("hunter2"), "{shown}");
    }
    assert!(problems("provider = \"oci\"\n").contains("`target` is missing"));
}

#[test]
fn every_problem_of_the_keys_of_vercel_is_told() {
    assert_eq!(problems(&format!("{VERCEL}{CORE}team = \"team_a\"\n")), "");
    assert_eq!(problems(&format!("{VERCEL}{CORE}team = \"acme\"\nusername = \"team_a\"\n")), "");
    assert_eq!(problems(&format!("{VERCEL}{CORE}username = \"team_a\"\nrealm = \"auth.vercel.com\"\n")), "");
    for (more, told) in [
        ("", &["`project` is missing", "`repository` is missing", "`image` is missing", "`username` is missing"][..]),
        ("team = \"acme\"", &["`username` is missing"]),
        ("image = \"core\"", &["has three parts"]),
        ("project = \"a/b\"\nrepository = \"..\"", &["`project` has a slash", "`repository` cannot stand in a URL"]),
        ("team = \"\"", &["`team` is empty"]),
        ("username = \"a:b\"", &["`username` cannot be"]),
        ("realm = \"https://x.y/token\"", &["`realm` is not the name of a host"]),
        ("registry = \"vcr.vercel.com\"", &["not a full http or https URL"]),
    ] {
        let shown = problems(&format!("{VERCEL}{more}\n"));
        assert!(told.iter().all(|told| shown.contains(told)), "{more}: {shown}");
    }
    let no_token =
        problems(&format!("provider = \"vercel\"\ntarget = {{ trailer = \"Image\" }}\n{CORE}username = \"x\"\n"));
    assert!(no_token.contains("`token` is missing"), "{no_token}");
}

#[test]
fn the_example_says_what_its_remotes_are() {
    let settings = load(Path::new("config/examples/registries.toml")).unwrap();
    let remotes = &settings.jobs[0].to;
    let [images, vercel] = remotes.as_slice() else { panic!("two remotes") };
    let images = images.for_repository("core").unwrap();
    assert_eq!(images.keys.describe(), "https://registry.example.com team/core");
    assert_eq!(images.capabilities().deletes, Deletes::Yes);
    assert!(matches!(images.provider.capabilities.deletes, Deletes::Never(_)));
    let vercel = vercel.for_repository("core").unwrap();
    assert_eq!(vercel.keys.describe(), "https://vcr.vercel.com acme/shop/core");
    assert!(matches!(vercel.capabilities().deletes, Deletes::Never(_)));
}

#[test]
fn a_pass_tags_images_moves_them_in_place_and_then_has_nothing_to_do() {
    let world = World::new("strip_prefix = \"v\"\nreplace = { \"+\" = \"_\" }");
    world.repository.tag("v1.0.0", &world.commits[0]);
    world.repository.tag("v1.1.0+b1", &world.commits[0]);
    world.sync().expect(0);
    assert_eq!(world.far(), BTreeMap::from([("1.0.0".into(), 0), ("1.1.0_b1".into(), 0)]));
    world.repository.tag("v1.0.0", &world.commits[1]);
    let moved = world.sync().expect(0).remote();
    assert_eq!(moved["changes"][0]["action"], "move", "{moved}");
    assert_eq!(world.far()["1.0.0"], 1);
    let writes = world.registry.writes().len();
    world.registry.server().forget();
    let quiet = world.sync().expect(0).remote();
    assert_eq!((quiet["state"].as_str(), world.registry.writes().len()), (Some("in_sync"), writes));
    // A token, and the page of names with its 401.
    let record = world.registry.server().record();
    let counts = ["GET token", "GET list", "HEAD tag"].map(|kind| record.count(kind));
    assert_eq!(counts, [1, 2, 0], "{:?}", record.requests);
}

#[test]
fn deletes_are_held_unless_the_remote_allows_them() {
    for (remote, left) in [("", 2), ("deletes = \"tag\"", 1)] {
        let world = World::new(remote);
        world.repository.tag("v1", &world.commits[0]);
        world.repository.tag("v2", &world.commits[0]);
        world.sync().expect(0);
        world.repository.git(&["tag", "-d", "v2"]);
        let after = world.program.sync(&[]);
        let code = if left == 2 { 3 } else { 0 };
        let remote = after.expect(code).remote();
        assert_eq!(world.far().len(), left, "{remote}");
        let sources = world.registry.tags().keys().filter(|name| name.starts_with("sha-")).count();
        assert_eq!(sources, 2);
        if left == 2 {
            assert!(remote["held"][0]["reason"].as_str().unwrap().contains("`deletes`"), "{remote}");
        }
    }
}

#[test]
fn a_registry_that_took_other_tags_along_is_reported() {
    let world = World::new("deletes = \"tag\"");
    world.repository.tag("v1", &world.commits[0]);
    world.repository.tag("v2", &world.commits[0]);
    world.sync().expect(0);
    world.registry.change(|registry| registry.quirks.tag_deletes = TagDeletes::UntagsAll);
    world.repository.git(&["tag", "-d", "v2"]);
    let after = world.program.sync(&[]);
    assert!(after.stdout.contains("took other tags"), "{}", after.stdout);
    assert_eq!(world.far(), BTreeMap::from([("v1".into(), 0)]));
    assert_eq!(world.registry.tags().len(), 3);
}

#[tokio::test]
async fn tags_of_one_image_go_together_without_a_false_alarm() {
    let fake = open_registry(&[("v1", 0), ("v2", 0)]);
    fake.server().on(When::method("HEAD"), Effect::Delay(Duration::from_millis(20)));
    let provider = connect(keys(&fake).deleting()).await;
    let _listed = provider.list_tags().await.unwrap();
    let (v1, v2, value) = (name("v1"), name("v2"), Value::of(target(0)));
    let (one, other) = tokio::join!(provider.delete_tag(&v1, &value), provider.delete_tag(&v2, &value));
    assert_eq!((one, other), (Ok(()), Ok(())));
    assert!(fake.tags().is_empty() && fake.writes().iter().all(|write| write.method == "DELETE"));
}

#[tokio::test]
async fn a_tag_that_somebody_else_moved_while_its_siblings_were_looked_for_is_not_deleted() {
    // Alone on its target, and with another one there.
    for other in [1, 0] {
        let fake = open_registry(&[("v1", 0), ("w1", other)]);
        let moves = When::method("HEAD").path_end("/manifests/w1").once();
        fake.adversary(moves, |world| world.tag("v1", 2));
        let fault = connect(keys(&fake).deleting()).await.delete_tag(&name("v1"), &Value::of(target(0))).await;
        assert_eq!(fault.unwrap_err().kind, FaultKind::Rejected);
        assert_eq!(fake.tags()["v1"], target(2).to_string());
        assert!(!fake.writes().iter().any(|write| write.method == "DELETE"));
    }
    let fake = open_registry(&[]);
    let fault = connect(keys(&fake).deleting()).await.delete_tag(&name("v1"), &Value::of(target(0))).await;
    assert_eq!(fault.unwrap_err().kind, FaultKind::NotFound);
}

#[tokio::test]
async fn a_tag_that_somebody_else_deleted_stays_deleted() {
    let fake = open_registry(&[("v1", 0), ("v2", 0), ("v3", 0)]);
    let provider = connect(keys(&fake).deleting()).await;
    let _listed = provider.list_tags().await.unwrap();
    fake.change(|world| world.tags.remove("v1"));
    provider.delete_tag(&name("v2"), &Value::of(target(0))).await.unwrap();
    assert_eq!(fake.tags().into_keys().collect::<Vec<_>>(), ["v3"]);
}

#[tokio::test]
async fn a_sibling_that_somebody_else_deleted_in_between_does_not_come_back() {
    let fake = open_registry(&[("v1", 0), ("w1", 0)]);
    let provider = connect(keys(&fake).deleting()).await;
    provider.list_tags().await.unwrap();
    fake.change(|world| world.tags.remove("w1"));
    provider.delete_tag(&name("v1"), &Value::of(target(0))).await.unwrap();
    assert_eq!(fake.tags(), std::collections::BTreeMap::new());
}

#[test]
fn a_changed_template_needs_a_new_approval_before_exact_deletes() {
    let world = World::new("deletes = \"tag\"");
    world.configure("deletes = \"tag\"", "exact");
    world.repository.tag("v1", &world.commits[0]);
    world.sync().expect(0);
    // What is nobody's goes by now without a question.
    world.registry.change(|registry| registry.tag("stray", 1));
    world.sync().expect(0);
    assert_eq!(world.far().into_keys().collect::<Vec<_>>(), ["v1"]);
    // With another template the tags that CI made are strays, too.
    world.registry.change(|registry| registry.tag(&format!("sha-{}", &world.commits[0][..12]), 0));
    let file = world.program.path("config.toml");
    let text = std::fs::read_to_string(&file).unwrap().replace("{commit}", "{commit:12}");
    std::fs::write(&file, text).unwrap();
    let remote = world.program.sync(&[]).expect(3).remote();
    assert!(remote["plan"].is_string(), "{remote}");
    assert_eq!(remote["held"].as_array().map(Vec::len), Some(2), "{remote}");
    assert_eq!(world.registry.tags().len(), 4);
    // Once it is approved it is as it was.
    let plan = remote["plan"].as_str().unwrap().to_owned();
    world.program.sync(&["--approve", &plan]).expect(0);
    world.registry.change(|registry| registry.tag("another", 1));
    world.sync().expect(0);
    assert_eq!(world.registry.tags().len(), 2);
}
