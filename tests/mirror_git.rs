//! Remotes that tags come from, where git's protocol is on one side or on both: against git's own server.

mod support;

use std::sync::{Arc, Mutex};

use serde_json::Value;
use support::git_http::{GitServer, PASSWORD, USER, tags};
use support::gitea::{FakeGitea, GiteaWorld};
use support::gitlab::{FakeGitlab, FakeTag, GitlabWorld};
use support::program::{Ended, Program, private_file};
use support::repository::SampleRepository;
use support::server::{Effect, Reply, Request, When};

/// A `[remote.NAME]` over git's protocol.
fn git_remote(name: &str, server: &GitServer, program: &Program) -> String {
    let password = program.path("password");
    private_file(&password, PASSWORD);
    let (url, password) = (server.url(), password.display());
    format!(
        "[remote.{name}]\nprovider = \"git\"\nurl = \"{url}\"\nusername = \"{USER}\"\npassword = {{ file = \"{password}\" }}\n"
    )
}

fn gitlab_remote(name: &str, gitlab: &FakeGitlab, program: &Program) -> String {
    let (url, token) = (gitlab.url(), program.path("token"));
    format!(
        "[remote.{name}]\nprovider = \"gitlab\"\nurl = \"{url}\"\nproject = \"infra/core\"\ntoken = {{ file = \"{}\" }}\n",
        token.display()
    )
}

fn job(more: &str) -> String {
    let policy = if more.contains("policy") { "" } else { "policy = \"mirror\"" };
    format!("[job.across]\nfrom = \"here\"\nto = [\"there\"]\n{policy}\n{more}\n")
}

/// Two servers with the same commits, and one job from the one to the other.
struct Servers {
    here: GitServer,
    there: GitServer,
    program: Program,
    commits: Vec<String>,
}

impl Servers {
    fn new(options: &[&str]) -> Self {
        let source = SampleRepository::init(&[&["--bare"], options].concat());
        let commits = (0..3).map(|n| source.commit(&format!("commit {n}"))).collect();
        let (there, program) = (GitServer::start(source.clone_of(&["--bare"])), Program::new());
        let servers = Self { here: GitServer::start(source), there, program, commits };
        servers.configure("");
        servers
    }

    fn configure(&self, more: &str) {
        let remotes = git_remote("here", &self.here, &self.program) + &git_remote("there", &self.there, &self.program);
        self.program.configure(&(remotes + &job(more)));
    }

    fn source(&self) -> &SampleRepository {
        &self.here.repository
    }

    fn sync(&self) -> Ended {
        self.program.sync(&[])
    }

    /// Both sides are the same, byte for byte, and whole; and the source is as it was.
    #[track_caller]
    fn assert_same(&self) {
        assert_eq!(tags(self.source()), self.there.tags());
        self.there.repository.git(&["fsck", "--strict", "--no-dangling"]);
        assert_eq!(self.here.server().record().count("call receive-pack"), 0);
        assert_eq!(self.here.server().record().count("advertise receive-pack"), 0);
    }

    /// What was asked of the source: lists and fetches.
    fn asked(&self) -> usize {
        let record = self.here.server().record();
        self.here.server().forget();
        record.count("call upload-pack")
    }
}

fn counts(ended: &Ended, of: &[&str]) -> Vec<u64> {
    let counts = ended.remote()["counts"].clone();
    of.iter().map(|name| counts[name].as_u64().expect("a count")).collect()
}

fn names(list: &Value) -> Vec<String> {
    let list = list.as_array().expect("a list").iter();
    list.map(|entry| entry["tag"].as_str().expect("a name").to_owned()).collect()
}

const SIGNED: &str = "Release\n\n-----BEGIN SSH SIGNATURE-----\nU1NIU0lHAAAAAQ==\n-----END SSH SIGNATURE-----\n";

/// The bodies of all fetches from now on.
fn heard_fetches(server: &GitServer) -> Arc<Mutex<Vec<Vec<u8>>>> {
    let heard: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
    let hears = Arc::clone(&heard);
    let is_fetch = |request: &Request| request.body.windows(13).any(|part| part == b"command=fetch");
    server.server().on(
        When::method("POST").matching(is_fetch),
        Effect::before(move |request| hears.lock().expect("nobody panics with it").push(request.body.to_vec())),
    );
    heard
}

/// Every kind of tag that git has.
fn tag_every_kind(servers: &Servers) {
    let (source, commits) = (servers.source(), &servers.commits);
    source.tag("light", &commits[0]);
    let annotated = source.annotate("annotated", &commits[1], "first\n\nsecond, without a line end");
    let nested = source.annotate("nested", &annotated, "a tag of a tag\n");
    source.annotate("nested-twice", &nested, "and again\n");
    source.annotate("empty", &commits[1], "");
    source.annotate("signed", &commits[2], SIGNED);
    let tree = source.git(&["rev-parse", "main^{tree}"]);
    source.annotate("on-a-tree", &tree, "a tree\n");
    source.tag("tree", &tree);
}

#[test]
fn every_kind_of_tag_goes_from_server_to_server_byte_for_byte() {
    for format in [&[][..], &["--object-format=sha256"]] {
        let servers = Servers::new(format);
        tag_every_kind(&servers);
        let asked = heard_fetches(&servers.here);
        let ended = servers.sync().expect(0);
        assert_eq!(counts(&ended, &["create"]), [8], "{}", ended.stdout);
        servers.assert_same();
        // No history comes: each end is said to be here.
        let fetch = asked.lock().expect("nobody panics with it").concat();
        let has = |line: &str| fetch.windows(line.len()).any(|part| part == line.as_bytes());
        let ends = [&servers.commits[1], &servers.commits[2], &servers.source().git(&["rev-parse", "main^{tree}"])];
        assert!(ends.iter().all(|end| has(&format!("have {end}\n"))), "{}", String::from_utf8_lossy(&fetch));
        assert!(!has(&format!("want {}\n", servers.commits[0])), "a lightweight tag needs nothing");
        // The names, and one fetch for all tag objects; a SHA-256 server has to say first what it is.
        let asked = servers.asked();
        assert!((2..=3).contains(&asked), "{asked}");
        let ended = servers.sync().expect(0);
        assert_eq!((ended.remote()["state"].as_str(), counts(&ended, &["in_sync"])), (Some("in_sync"), vec![8]));
        // Names only: nothing is fetched, and nobody is asked who it is.
        assert!(servers.asked() <= 2);
        // A move to another tag object on the same commit, a deletion, and a new one.
        servers.source().annotate("annotated", &servers.commits[1], "said again\n");
        servers.source().delete_tag("light");
        servers.source().annotate("new", &servers.commits[2], "new\n");
        let ended = servers.sync().expect(0);
        assert_eq!(counts(&ended, &["create", "move", "delete"]), [1, 1, 1], "{}", ended.stdout);
        servers.assert_same();
    }
}

#[test]
fn many_tags_take_few_fetches_and_deltas_are_undone() {
    let servers = Servers::new(&[]);
    let source = servers.source();
    // Alike and long, so that a pack keeps them as deltas of each other.
    let text = "All that was changed in this release, line by line.\n".repeat(60);
    for n in 0..620 {
        let commit = &servers.commits[n % 3];
        source.annotate(format!("v{n:03}"), commit, &format!("Release {n}\n\n{text}{n}\n"));
    }
    source.git(&["repack", "-adfq", "--depth=20", "--window=50"]);
    let pack = source.git(&["for-each-ref", "--count=1", "--sort=-refname", "--format=%(deltabase)", "refs/tags"]);
    let all = source.git(&["for-each-ref", "--format=%(deltabase)", "refs/tags"]);
    assert!(all.lines().any(|base| !base.starts_with("0000")), "git keeps no deltas of tags: {pack}");
    let ended = servers.sync().expect(0);
    assert_eq!(counts(&ended, &["create"]), [620]);
    servers.assert_same();
    // The names, 500 tag objects, and the rest.
    assert_eq!(servers.asked(), 3);
}

#[test]
fn a_server_without_version_2_gives_lightweight_tags_and_says_what_it_lacks() {
    let servers = Servers::new(&[]);
    servers.here.change(|manners| manners.speaks_v2 = false);
    servers.source().tag("light", &servers.commits[0]);
    servers.source().annotate("annotated", &servers.commits[1], "one\n");
    let ended = servers.sync().expect(3);
    assert_eq!(servers.there.tags().into_keys().collect::<Vec<_>>(), ["light"], "{}", ended.stdout);
    let held = &ended.remote()["held"][0];
    assert_eq!((held["tag"].as_str(), held["verdict"].as_str()), (Some("annotated"), Some("unknown")));
    assert!(
        held["reason"].as_str().is_some_and(|reason| reason.contains("speaks no version 2 of git's protocol")),
        "{held}"
    );
    // It heals with the server.
    servers.here.change(|manners| manners.speaks_v2 = true);
    servers.sync().expect(0);
    servers.assert_same();
}

#[test]
fn a_pack_that_is_damaged_or_says_something_else_puts_nothing_there() {
    let servers = Servers::new(&[]);
    servers.source().annotate("v1", &servers.commits[1], "one\n");
    let kind = "application/x-git-upload-pack-result";
    let fetches = |request: &Request| request.body.windows(13).any(|part| part == b"command=fetch");
    let fetch = || When::method("POST").path_end("/git-upload-pack").matching(fetches);
    let empty_pack = b"000dpackfile\n0025\x01PACK\0\0\0\x02\0\0\0\0\x02\x9d\x08\x82\x3b\xd8\xa8\xea\xb5\x10\xad\x6a\xc7\x5c\x82\x3c\xfd\x3e\xd3\x1e0000";
    for (body, words) in [
        (b"000dpackfile\n0009\x01PACK0000".to_vec(), "no pack"),
        (b"000dpackfile\n000e\x03not here\n0000".to_vec(), "not here"),
        (b"000fERR no such0000".to_vec(), "no such"),
        (b"000dpackfile\n".to_vec(), "breaks off"),
        (empty_pack.to_vec(), "was not sent"),
    ] {
        let reply = Reply { status: 200, headers: Vec::new(), body: body.into() }.header("Content-Type", kind);
        servers.here.server().on(fetch(), Effect::Answer(reply));
        let ended = servers.sync();
        servers.here.server().behave();
        servers.here.server().forget();
        assert!(servers.there.tags().is_empty(), "{words}");
        assert!(ended.stdout.contains(words), "{words}: {}", ended.stdout);
        std::fs::remove_dir_all(servers.program.path("state")).expect("the state is the test's");
    }
    servers.sync().expect(0);
    servers.assert_same();
}

#[test]
fn tags_of_a_forge_over_its_api_arrive_over_git_as_far_as_they_can_be_made() {
    let repository = SampleRepository::bare();
    let commits: Vec<String> = (0..3).map(|n| repository.commit(&format!("commit {n}"))).collect();
    let (gitlab, there, program) =
        (FakeGitlab::start(GitlabWorld::with_core()), GitServer::start(repository), Program::new());
    program.configure(&(gitlab_remote("here", &gitlab, &program) + &git_remote("there", &there, &program) + &job("")));
    let tag =
        |name: &str, tag: FakeTag| gitlab.change(|world| world.project("infra/core").tags.insert(name.to_owned(), tag));
    tag("light", FakeTag::lightweight(&commits[0]));
    tag("annotated", FakeTag::annotated(&commits[1], "one", 1));
    tag("early", FakeTag::lightweight(&support::gitlab::commit_id(77)));
    let ended = program.sync(&[]).expect(3);
    let remote = ended.remote();
    assert_eq!(there.tags(), [("light".to_owned(), commits[0].clone())].into(), "{remote}");
    assert_eq!(
        (names(&remote["held"]), names(&remote["waiting"])),
        (vec!["annotated".to_owned()], vec!["early".to_owned()]),
        "{remote}"
    );
    let held = &remote["held"][0];
    assert_eq!(held["verdict"], "cannot_be_expressed");
    assert!(held["hint"].as_str().is_some_and(|hint| hint.contains("read its source over git, too")), "{held}");
    // It moves and goes with its source.
    tag("light", FakeTag::lightweight(&commits[2]));
    program.sync(&[]).expect(3);
    assert_eq!(there.tags()["light"], commits[2]);
    gitlab.change(|world| world.project("infra/core").tags.remove("light"));
    program.sync(&[]).expect(3);
    assert!(there.tags().is_empty());
}

#[test]
fn lightweight_tags_of_gitea_arrive_over_git_and_follow_it() {
    let repository = SampleRepository::bare();
    let commits: Vec<String> = (0..2).map(|n| repository.commit(&format!("commit {n}"))).collect();
    let (gitea, there, program) =
        (FakeGitea::start(GiteaWorld::with_core()), GitServer::start(repository), Program::new());
    let (url, token) = (gitea.url(), program.path("token"));
    let here = format!(
        "[remote.here]\nprovider = \"gitea\"\nurl = \"{url}\"\nrepository = \"infra/core\"\ntoken = {{ file = \"{}\" }}\n",
        token.display()
    );
    program.configure(&(here + &git_remote("there", &there, &program) + &job("")));
    let tag = |name: &str, tag: FakeTag| gitea.change(|world| world.core().tags.insert(name.to_owned(), tag));
    tag("v1", FakeTag::lightweight(&commits[0]));
    tag("v2", FakeTag::lightweight(&commits[0]));
    program.sync(&[]).expect(0);
    assert_eq!(there.tags().into_keys().collect::<Vec<_>>(), ["v1", "v2"]);
    tag("v1", FakeTag::lightweight(&commits[1]));
    tag("annotated", FakeTag::annotated(&commits[1], "one", 1));
    gitea.change(|world| world.core().tags.remove("v2"));
    let ended = program.sync(&[]).expect(3);
    assert_eq!(counts(&ended, &["move", "delete", "held"]), [1, 1, 1], "{}", ended.stdout);
    assert_eq!(there.tags(), [("v1".to_owned(), commits[1].clone())].into());
    let ended = program.sync(&[]).expect(3);
    assert_eq!(counts(&ended, &["in_sync", "held"]), [1, 1]);
    gitea.change(|world| world.core().tags.clear());
    program.sync(&[]).expect(3);
    assert_eq!(there.tags().len(), 1);
    assert!(gitea.writes().is_empty());
}

#[test]
fn tags_over_git_arrive_at_a_forge_with_their_commits_and_messages() {
    let repository = SampleRepository::bare();
    let commits: Vec<String> = (0..3).map(|n| repository.commit(&format!("commit {n}"))).collect();
    let (gitlab, program) = (FakeGitlab::start(GitlabWorld::with_core()), Program::new());
    repository.tag("light", &commits[0]);
    let annotated = repository.annotate("annotated", &commits[1], "Release\n\nText\n");
    repository.annotate("nested", &annotated, "outer\n");
    repository.annotate("signed", &commits[2], SIGNED);
    let here = GitServer::start(repository);
    program.configure(&(git_remote("here", &here, &program) + &gitlab_remote("there", &gitlab, &program) + &job("")));
    let ended = program.sync(&[]).expect(0);
    let tags = gitlab.tags("infra/core");
    let there = |name: &str| (tags[name].commit_id.clone().unwrap_or_default(), tags[name].message.clone());
    assert_eq!(there("light"), (commits[0].clone(), None));
    assert_eq!(there("annotated").0, commits[1]);
    assert_eq!(there("annotated").1.as_deref().map(str::trim), Some("Release\n\nText"));
    assert_eq!(there("nested").0, commits[1]);
    assert_eq!(there("nested").1.as_deref().map(str::trim), Some("outer"));
    assert_eq!(there("signed").1.as_deref().map(str::trim), Some("Release"));
    let degraded = ended.remote()["changes"]
        .as_array()
        .expect("a list")
        .iter()
        .filter(|change| !change["degraded"].is_null())
        .count();
    assert_eq!(degraded, 2, "{}", ended.stdout);
    // The names and one fetch for all messages.
    assert_eq!(here.server().record().count("call upload-pack"), 2);
    let ended = program.sync(&[]).expect(0);
    assert_eq!(counts(&ended, &["in_sync"]), [4], "{}", ended.stdout);
}

#[test]
fn a_server_that_is_not_itself_changes_nothing() {
    let servers = Servers::new(&[]);
    servers.configure("limits = { deletes = 1000, deletes_percent = 100 }");
    for n in 0..6 {
        servers.source().annotate(format!("v{n}"), &servers.commits[n % 3], "one\n");
    }
    servers.sync().expect(0);
    let before = servers.there.tags();
    let nowhere = tempfile::tempdir().expect("a temporary directory");
    let empty = SampleRepository::bare();
    let served = servers.source().path().to_owned();
    for (path, code) in [(nowhere.path(), 1), (empty.path(), 3)] {
        servers.here.serve(path);
        let ended = servers.sync().expect(code);
        assert_eq!(servers.there.tags(), before, "{}", ended.stdout);
    }
    servers.here.serve(&served);
    servers.here.change(|manners| manners.password = Some("another".to_owned()));
    servers.sync().expect(1);
    servers.here.change(|manners| manners.password = Some(PASSWORD.to_owned()));
    servers.sync().expect(0);
    servers.assert_same();
}

// ---- To a repository on this host.

/// A repository with the commits and no tags, to which tags of these remotes go.
fn to_repository(program: &Program, remote: &str, there: &SampleRepository) {
    let there = format!("[repository.there]\npath = \"{}\"\n", there.path().display());
    program.configure(&(there + remote + &job("")));
}

#[test]
fn tags_of_a_server_arrive_in_a_repository_on_this_host() {
    let servers = Servers::new(&[]);
    let (program, there) = (&servers.program, servers.there.repository.clone_of(&["--bare"]));
    to_repository(program, &git_remote("here", &servers.here, program), &there);
    tag_every_kind(&servers);
    // A commit that only the source has, which nobody gives.
    let early = servers.source().commit("early");
    servers.source().annotate("early", &early, "early\n");
    let ended = servers.sync().expect(0);
    assert_eq!(counts(&ended, &["create", "waiting"]), [8, 1], "{}", ended.stdout);
    let mut same = tags(servers.source());
    same.remove("early");
    assert_eq!(tags(&there), same);
    there.git(&["fsck", "--strict", "--no-dangling"]);
    // It arrives with its commit.
    there.git(&["fetch", "--quiet", "--no-tags", &servers.source().path().display().to_string(), "main:main"]);
    let ended = servers.sync().expect(0);
    assert_eq!(counts(&ended, &["create", "in_sync"]), [1, 8], "{}", ended.stdout);
    assert_eq!(tags(&there), tags(servers.source()));
    there.git(&["fsck", "--strict", "--no-dangling"]);
}

#[test]
fn tags_of_a_forge_arrive_in_a_repository_where_their_commits_are() {
    let there = SampleRepository::bare();
    let commit = there.commit("one");
    let (gitlab, program) = (FakeGitlab::start(GitlabWorld::with_core()), Program::new());
    to_repository(&program, &gitlab_remote("here", &gitlab, &program), &there);
    let tag = |name: &str, tag| gitlab.change(|world| world.project("infra/core").tags.insert(name.to_owned(), tag));
    tag("light", FakeTag::lightweight(&commit));
    tag("annotated", FakeTag::annotated(&commit, "one", 1));
    tag("early", FakeTag::lightweight(&support::gitlab::commit_id(77)));
    for _ in 0..2 {
        let ended = program.sync(&[]).expect(3);
        assert_eq!(counts(&ended, &["held", "waiting"]), [1, 1], "{}", ended.stdout);
        assert_eq!(tags(&there), [("light".to_owned(), commit.clone())].into());
    }
    there.git(&["fsck", "--strict", "--no-dangling"]);
}
