//! Hosts with an API of their own whose tags go over the git protocol.

mod support;

use support::codearts::{CodeArtsWorld, FakeCodeArts};
use support::git_http::{GitServer, PASSWORD, USER};
use support::gitlab::{Commits, FakeGitlab, FakeTag, GitlabWorld, Token};
use support::mirror::{Mirror, count, counts};
use support::program::Program;
use support::repository::SampleRepository;

/// A GitLab that says who its project is, and whose repository is behind a git server.
fn gitlab_over_git(mirror: &Mirror, gitlab: &FakeGitlab, remote: &str) {
    let more = format!("transport = \"git\"\ngit_url = \"{}\"\nusername = \"{USER}\"\n{remote}", mirror.server.url());
    mirror.program.mirror(mirror.source.path(), &gitlab.url(), "", &more);
}

#[test]
fn a_gitlab_takes_tags_as_they_are_and_says_by_its_api_who_it_is() {
    let mirror = Mirror::new();
    let gitlab = FakeGitlab::start(GitlabWorld::with_core());
    gitlab_over_git(&mirror, &gitlab, "");
    mirror.tag_many(4);
    assert_eq!(counts(&mirror.sync().expect(0).remote()), count("create", 4));
    mirror.assert_same();
    assert_eq!((gitlab.writes().len(), gitlab.server().record().count("list")), (0, 0));
    let remote = mirror.sync().expect(0).remote();
    assert_eq!((counts(&remote), remote["requests"].as_u64()), (count("in_sync", 4), Some(1)));

    // Nobody can tell by git whether a Release would go; a move takes none along.
    mirror.source.delete_tag("v1");
    mirror.source.annotate("v2", &mirror.commits[0], "moved\n");
    let remote = mirror.sync().expect(3).remote();
    assert_eq!(
        (remote["counts"]["move"].as_u64(), &remote["held"][0]["verdict"]),
        (Some(1), &"side_effect".into()),
        "{remote}"
    );
    assert!(mirror.server.tags().contains_key("v1"));
    gitlab_over_git(&mirror, &gitlab, "allow_release_loss = [\"v1\"]");
    mirror.sync().expect(0);
    mirror.assert_same();
}

/// What GitLab's hook does with a protected tag, in its words.
const PROTECTS_RELEASES: &str = r#"while read old new ref; do
    case "$new $ref" in
    *[!0]*" "*) ;;
    *" refs/tags/release-"*) echo "GitLab: You can only delete protected tags using the web interface." >&2; exit 1 ;;
    esac
done"#;

#[test]
fn a_protected_tag_that_no_push_deletes_is_deleted_by_the_api_where_that_may() {
    let mirror = Mirror::new();
    let mut world = GitlabWorld::with_core();
    world.project("infra/core").commits = Commits::Any;
    let gitlab = FakeGitlab::start(world);
    gitlab_over_git(&mirror, &gitlab, "allow_release_loss = true");
    for name in ["release-1", "plain", "release-2"] {
        mirror.source.tag(name, &mirror.commits[0]);
        let commit_id = &mirror.commits[0];
        gitlab.change(|world| {
            let project = world.project("infra/core");
            project.tags.insert(name.to_owned(), FakeTag::lightweight(commit_id));
            project.protect("release-*", 40);
        });
    }
    mirror.source.tag("kept", &mirror.commits[0]);
    mirror.sync().expect(0);
    mirror.server.hook("pre-receive", PROTECTS_RELEASES);
    mirror.source.delete_tag("release-1");
    mirror.source.delete_tag("plain");
    let remote = mirror.sync().expect(0).remote();
    assert_eq!(counts(&remote), [("delete".to_owned(), 2), ("in_sync".to_owned(), 2)], "{remote}");
    assert_eq!(gitlab.tags("infra/core").keys().collect::<Vec<_>>(), ["plain", "release-2"]);
    assert!(!mirror.server.tags().contains_key("plain"));
    // One who may not do it by the API, either.
    gitlab.change(|world| world.tokens.insert("secret".into(), Token::of_level(30)));
    mirror.source.delete_tag("release-2");
    let remote = mirror.sync().expect(1).remote();
    assert_eq!(remote["changes"][0]["outcome"], "rejected", "{remote}");
    assert!(gitlab.tags("infra/core").contains_key("release-2"));
}

#[test]
fn a_repository_on_codearts_takes_tags_as_they_are_with_the_login_of_iam() {
    let mirror = Mirror::new();
    let mut world = CodeArtsWorld::with_core();
    world.users[0].password = PASSWORD.to_owned();
    let huawei = FakeCodeArts::start(world);
    let password = mirror.program.path("password");
    mirror.program.configure(&format!(
        "[repository.core]\npath = {source:?}\n[remote.huawei]\nprovider = \"codearts\"\nurl = \"{url}\"\n\
         repository_id = 7\niam = {{ url = \"{url}\", domain = \"acme\", user = \"robot\", project = \"cn-north-4\", \
         password = {{ file = {password:?} }} }}\ntransport = \"git\"\ngit_url = \"{git}\"\nusername = \"{USER}\"\n\
         [job.core]\nfrom = \"core\"\nto = [\"huawei\"]\npolicy = \"mirror\"\n",
        source = mirror.source.path(),
        url = huawei.url(),
        git = mirror.server.url(),
    ));
    mirror.tag_many(4);
    assert_eq!(counts(&mirror.sync().expect(0).remote()), count("create", 4));
    mirror.assert_same();
    let remote = mirror.sync().expect(0).remote();
    assert_eq!((counts(&remote), remote["requests"].as_u64()), (count("in_sync", 4), Some(1)));
    mirror.source.delete_tag("v1");
    mirror.source.annotate("v2", &mirror.commits[0], "moved\n");
    mirror.sync().expect(0);
    mirror.assert_same();
    assert!(huawei.writes().is_empty() && huawei.tags().is_empty(), "the API only says who it is");
    // One that was archived is told by the API, not by git.
    huawei.change(|world| world.core().archived = true);
    mirror.source.tag("v5", &mirror.commits[0]);
    let remote = mirror.sync().expect(3).remote();
    assert_eq!(remote["held"][0]["verdict"], "read_only", "{remote}");
    assert!(!mirror.server.tags().contains_key("v5"));
}

#[test]
fn an_address_that_only_git_url_says_voids_the_records_of_the_api() {
    let mirror = Mirror::new();
    let mut world = GitlabWorld::with_core();
    world.project("infra/core").commits = Commits::Any;
    let gitlab = FakeGitlab::start(world);
    let immutable = "immutable = [\"v*\"]";
    mirror.program.mirror(mirror.source.path(), &gitlab.url(), immutable, "");
    mirror.source.tag("v-light", &mirror.commits[0]);
    let same = mirror.source.annotate("v-same", &mirror.commits[1], "the same\n");
    mirror.source.annotate("rebuilt", &mirror.commits[2], "rebuilt there\n");
    mirror.sync().expect(0);
    // What git shows of the same project: one tag as it is, one as the API made it.
    let far = &mirror.server.repository;
    far.git(&["fetch", "--quiet", mirror.source.path().to_str().unwrap(), "refs/tags/v-*:refs/tags/v-*"]);
    far.annotate("rebuilt", &mirror.commits[2], "rebuilt there");
    let more = format!("transport = \"git\"\ngit_url = \"{}\"\nusername = \"{USER}\"", mirror.server.url());
    mirror.program.mirror(mirror.source.path(), &gitlab.url(), immutable, &more);
    let remote = mirror.sync().expect(3).remote();
    assert!(remote["notes"][0].as_str().unwrap().contains("identity changed"), "{remote}");
    assert_eq!(
        (&remote["held"][0]["tag"], &remote["held"][0]["verdict"]),
        (&"rebuilt".into(), &"not_ours".into()),
        "{remote}"
    );
    assert_eq!((remote["counts"]["move"].as_u64(), remote["counts"]["adopt"].as_u64()), (Some(0), Some(2)), "{remote}");
    assert_eq!(mirror.server.tags()["v-same"], same);
    // The records of one address say nothing about another.
    let other = GitServer::start(SampleRepository::bare());
    let theirs = &other.repository;
    theirs.git(&["fetch", "--quiet", mirror.source.path().to_str().unwrap(), "refs/tags/v-light:refs/tags/v-light"]);
    let more = format!("transport = \"git\"\ngit_url = \"{}\"\nusername = \"{USER}\"", other.url());
    mirror.program.mirror(mirror.source.path(), &gitlab.url(), "", &more);
    mirror.source.delete_tag("v-light");
    let remote = mirror.sync().remote();
    assert!(remote["notes"][0].as_str().unwrap().contains("identity changed"), "{remote}");
    assert!(other.tags().contains_key("v-light"), "{remote}");
}

#[test]
fn keys_of_a_git_remote_are_checked_together() {
    let program = Program::new();
    program.configure(
        r#"
[repository.core]
path = "/srv/git/core.git"
[remote.far]
provider = "git"
url = "https://git.example.com"
username = "a:b"
password = { env = "PASSWORD" }
annotations = "message"
[remote.forge]
provider = "gitlab"
project = "7"
transport = "git"
events = "some"
[remote.other]
provider = "gitlab"
project = "a/b"
git_url = "https://git.example.com/a/b.git"
[job.core]
from = "core"
to = ["far", "forge", "other"]
policy = "mirror"
"#,
    );
    let ended = program.run(&["check"]).expect(78);
    for words in [
        "names a server and no repository",
        "`username` holds a colon",
        "keeps annotated tags byte for byte",
        "`git_url` is missing",
        "`git_url` counts only with `transport = \"git\"`",
    ] {
        assert!(ended.stderr.contains(words), "{words}: {}", ended.stderr);
    }
}
