//! Which jobs may stand beside each other: what may be read from where, and what leads a tag back to where it came from.

mod support;

use std::collections::BTreeMap;
use std::path::Path;

use support::codearts::{CodeArtsWorld, FakeCodeArts};
use support::gitlab::{FakeGitlab, FakeTag, GitlabWorld, commit_id};
use support::program::Program;
use tagsyncd::config::{ConfigFault, Settings};

const REMOTES: &str = r#"
[repository.core]
path = "/srv/git/core.git"
[repository.local]
path = "/srv/copies/core.git"
[repository.all]
paths = ["/srv/git/*.git"]
[remote.gitlab]
provider = "gitlab"
url = "https://git.example.com"
project = "infra/core"
[remote.gitlab-again]
provider = "gitlab"
url = "https://git.example.com/"
project = "Infra/Core"
[remote.plain]
provider = "git"
url = "https://git.example.com/infra/core.git"
[remote.other]
provider = "git"
url = "https://other.example.com/infra/core.git"
[remote.third]
provider = "git"
url = "https://third.example.com/core"
[remote.mapped]
provider = "gitlab"
project = "a/b"
add_prefix = "r-"
[remote.many]
provider = "gitlab"
project = "infra/{repository}"
[remote.compared]
provider = "gitlab"
project = "a/c"
annotations = "message"
[remote.images]
provider = "oci"
registry = "https://r1.example.com"
image = "team/app"
[remote.copies]
provider = "oci"
registry = "https://r2.example.com"
image = "team/app"
[remote.built]
provider = "oci"
registry = "https://r3.example.com"
image = "team/app"
target = { tag = "sha-{commit:12}" }
[remote.said]
provider = "oci"
registry = "https://r4.example.com"
image = "team/app"
target = { trailer = "Image" }
[remote.noted]
provider = "oci"
registry = "https://r5.example.com"
image = "team/app"
target = { note = "refs/notes/images" }
[remote.copy]
provider = "repository"
path = "/srv/copies/core.git"
[remote.hub]
provider = "github"
repository = "infra/core"
[remote.hub-by-git]
provider = "git"
url = "https://github.com/infra/core.git"
[remote.huawei]
provider = "codearts"
region = "cn-north-4"
repository_id = 7
transport = "git"
git_url = "https://codehub.example.com/infra/core.git"
iam = { domain = "a", user = "b", password = { env = "P" } }
[remote.huawei-by-git]
provider = "git"
url = "https://codehub.example.com/infra/core"
[remote.machines]
provider = "vers"
repository = "core"
token = { env = "T" }
target = { tag = "sha-{commit:12}" }
"#;

/// A job in few words: name, from, to, policy, and its patterns.
type Job<'a> = (&'a str, &'a str, &'a str, &'a str, &'a str);

fn problems(jobs: &[Job<'_>]) -> Vec<String> {
    let mut text = REMOTES.to_owned();
    // What no job uses would want a `target`.
    let used = |name: &str| jobs.iter().any(|(_, from, to, ..)| *from == name || *to == name);
    let spare = ["images", "copies"].into_iter().filter(|name| !used(name)).collect::<Vec<_>>();
    for name in &spare {
        let begin = text.find(&format!("[remote.{name}]")).expect("a remote");
        let end = text[begin + 1..].find("[remote.").map_or(text.len(), |at| begin + 1 + at);
        text.replace_range(begin..end, "");
    }
    for (name, from, to, policy, tags) in jobs {
        text += &format!("[job.{name}]\nfrom = \"{from}\"\nto = [\"{to}\"]\npolicy = \"{policy}\"\ntags = [{tags}]\n");
    }
    match Settings::parse(&text, Path::new("config.toml")) {
        Ok(_) => Vec::new(),
        Err(ConfigFault::Invalid { problems, .. }) => problems
            .iter()
            .map(|problem| format!("{} ({})", problem.message, problem.hint.as_deref().unwrap_or_default()))
            .collect(),
        Err(other) => panic!("{other}"),
    }
}

#[track_caller]
fn assert_refused(jobs: &[Job<'_>], words: &[&str]) {
    let found = problems(jobs);
    assert_eq!(found.len(), 1, "{jobs:?}: {found:#?}");
    for word in words {
        assert!(found[0].contains(word), "{jobs:?}: {found:#?}");
    }
}

#[test]
fn what_may_come_from_a_remote_is_said_when_the_file_is_read() {
    for (from, to) in [
        ("gitlab", "other"),
        ("other", "gitlab"),
        ("other", "third"),
        ("gitlab", "compared"),
        ("gitlab", "built"),
        ("other", "built"),
        ("images", "copies"),
        ("gitlab", "many"),
        ("gitlab", "mapped"),
        ("gitlab", "core"),
        ("other", "copy"),
    ] {
        assert_eq!(problems(&[("j", from, to, "mirror", "")]), [""; 0], "{from} {to}");
    }
    for (from, to, words) in [
        ("gitlab", "gitlab", &["`gitlab` is where the tags come from"][..]),
        ("gitlab", "gitlab-again", &["`gitlab` and `gitlab-again` are one and the same place"]),
        ("gitlab", "plain", &["`gitlab` and `plain` are one and the same place"]),
        ("many", "gitlab", &["`many` stands for many places", "without `{repository}`"]),
        ("mapped", "gitlab", &["`mapped` has a mapping of names"]),
        ("gitlab", "images", &["`target` is missing: how a git tag becomes a manifest digest"]),
        ("gitlab", "said", &["a listing of `gitlab` does not bring the messages that `target` of `said` reads"]),
        ("other", "noted", &["a listing of `other` does not bring the notes that `target` of `noted` reads"]),
        ("other", "compared", &["`compared` compares messages"]),
        ("images", "gitlab", &["tags of `images` point at manifest digests, those of `gitlab` at git commits"]),
        ("images", "third", &["those of `third` at git objects"]),
        ("images", "machines", &["those of `machines` at snapshot ids"]),
        ("images", "built", &["`built` has a `target`, which starts from a git tag"]),
        ("copy", "gitlab", &["`copy` is a repository on this host", "write a `[repository.NAME]`"]),
        ("images", "core", &["those of `core` at git objects"]),
        ("nowhere", "gitlab", &["there is no repository or remote `nowhere`"]),
    ] {
        assert_refused(&[("j", from, to, "mirror", "")], words);
    }
}

#[test]
fn a_ring_is_refused_unless_all_of_it_only_creates() {
    let there = |policy| ("there", "gitlab", "other", policy, "");
    let back = |policy| ("back", "other", "gitlab", policy, "");
    assert_eq!(problems(&[there("create-only"), back("create-only")]), [""; 0]);
    for (one, other) in
        [("mirror", "mirror"), ("mirror", "create-only"), ("create-only", "mirror"), ("exact", "create-only")]
    {
        assert_refused(&[there(one), back(other)], &["would come back to it: `", "let all of them be `create-only`"]);
    }
    assert_refused(
        &[there("mirror"), back("create-only")],
        &[
            "tags of `gitlab` would come back to it: `there` (mirror) from `gitlab` to `other`, then `back` (create-only) from `other` to `gitlab`",
        ],
    );
    // By another name, by another API, and over a third side.
    assert_refused(&[there("mirror"), ("back", "other", "gitlab-again", "mirror", "")], &["would come back"]);
    assert_refused(&[there("mirror"), ("back", "other", "plain", "create-only", "")], &["would come back"]);
    assert_refused(
        &[there("create-only"), ("on", "other", "third", "mirror", ""), ("back", "third", "gitlab", "create-only", "")],
        &["`on` (mirror) from `other` to `third`, then `back` (create-only) from `third` to `gitlab`, then `there`"],
    );
    // Over a repository on this host, in both forms that it can have.
    assert_refused(
        &[("in", "gitlab", "core", "mirror", ""), ("out", "core", "gitlab", "mirror", "")],
        &["would come back"],
    );
    let named = ("out", "local", "other", "create-only", "");
    assert_refused(&[("in", "other", "copy", "mirror", ""), named], &["would come back to it: `in`"]);
    // No way back: a chain, a fan, two sources of one side.
    for jobs in [
        [there("mirror"), ("on", "other", "third", "mirror", "")],
        [there("mirror"), ("also", "gitlab", "third", "exact", "")],
        [there("mirror"), ("also", "third", "other", "mirror", "")],
    ] {
        assert_eq!(problems(&jobs), [""; 0], "{jobs:?}");
    }
}

#[test]
fn an_api_and_the_address_of_git_are_one_place() {
    for (one, other) in [("hub", "hub-by-git"), ("huawei", "huawei-by-git")] {
        assert_refused(&[("same", one, other, "mirror", "\"v*\"")], &["one and the same place"]);
        let jobs = [("away", one, "other", "mirror", "\"v*\""), ("back", "other", other, "create-only", "\"v*\"")];
        assert!(!problems(&jobs).is_empty(), "{jobs:?}");
    }
}

#[test]
fn names_that_stay_apart_make_no_ring() {
    for (there, back, ring) in [
        ("\"v*\"", "\"rc-*\"", false),
        ("\"v*\"", "\"v1*\"", true),
        ("\"v*\", \"w*\"", "\"rc-*\", \"x*\"", false),
        ("\"v*\"", "\"*\"", true),
        ("\"v*\"", "\"!v*\"", true),
    ] {
        let jobs = [("there", "gitlab", "other", "mirror", there), ("back", "other", "gitlab", "mirror", back)];
        assert_eq!(!problems(&jobs).is_empty(), ring, "{there} {back}");
    }
}

#[test]
fn two_opposite_jobs_that_only_create_end_in_the_union() {
    let (gitlab, codearts) =
        (FakeGitlab::start(GitlabWorld::with_core()), FakeCodeArts::start(CodeArtsWorld::with_core()));
    let program = Program::new();
    let token = program.path("token").display().to_string();
    program.configure(&format!(
        r#"
        [remote.gitlab]
        provider = "gitlab"
        url = "{}"
        project = "infra/core"
        token = {{ file = "{token}" }}
        [remote.codearts]
        provider = "codearts"
        url = "{}"
        repository_id = 7
        token = {{ file = "{token}" }}
        [job.there]
        from = "gitlab"
        to = ["codearts"]
        policy = "create-only"
        [job.back]
        from = "codearts"
        to = ["gitlab"]
        policy = "create-only"
        "#,
        gitlab.url(),
        codearts.url(),
    ));
    let here = |name: &str, n| {
        gitlab.change(|world| {
            world.project("infra/core").tags.insert(name.to_owned(), FakeTag::lightweight(&commit_id(n)))
        })
    };
    let there = |name: &str, n| {
        codearts.change(|world| {
            world.core().tags.insert(name.to_owned(), support::codearts::FakeTag::lightweight(&commit_id(n)))
        })
    };
    here("only-here", 1);
    here("both", 2);
    here("quarrel", 3);
    there("only-there", 4);
    there("both", 2);
    there("quarrel", 5);
    let sides = || {
        let here =
            gitlab.tags("infra/core").into_iter().map(|(name, tag)| (name, tag.commit_id)).collect::<BTreeMap<_, _>>();
        let there = codearts.tags().into_iter().map(|(name, tag)| (name, tag.commit_id)).collect::<BTreeMap<_, _>>();
        (here, there)
    };
    program.sync(&[]).expect(3);
    program.sync(&[]).expect(3);
    let (one, other) = sides();
    assert_eq!(one.keys().collect::<Vec<_>>(), ["both", "only-here", "only-there", "quarrel"]);
    assert_eq!(one.keys().collect::<Vec<_>>(), other.keys().collect::<Vec<_>>());
    // What differs is held on both, and stays as each has it.
    assert_ne!(one["quarrel"], other["quarrel"]);
    let differing = one.iter().filter(|(name, value)| other[*name] != **value).count();
    assert_eq!(differing, 1);
    let writes = (gitlab.writes().len(), codearts.writes().len());
    assert_eq!(writes, (1, 1));
    program.sync(&[]).expect(3);
    assert_eq!((gitlab.writes().len(), codearts.writes().len()), writes);
    // A deletion on one side comes back: nothing here ever deletes.
    gitlab.change(|world| world.project("infra/core").tags.remove("both"));
    program.sync(&[]).expect(3);
    program.sync(&[]).expect(3);
    assert_eq!(sides().0.len(), 4);
}
