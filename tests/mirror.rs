//! A remote as the side that tags come from: what arrives on another one, and what is left alone when the source is not itself.

mod support;

use std::collections::BTreeMap;

use serde_json::Value;
use support::codearts::{CodeArtsWorld, FakeCodeArts};
use support::github::{FakeGithub, GithubWorld};
use support::gitlab::{FakeGitlab, FakeTag, GitlabWorld, Project, WriteKind};
use support::program::{Ended, Program};
use support::registry::{FakeRegistry, RegistryWorld, Wants, digest, manifest};
use support::repository::SampleRepository;
use support::server::{Effect, Reply, When};
use support::service::{Service, eventually};

/// The only pair of a pass.
fn pair(ended: &Ended) -> Value {
    ended.remote()
}

fn count(ended: &Ended, what: &str) -> u64 {
    pair(ended)["counts"][what].as_u64().expect("a count")
}

/// A GitLab, a CodeArts Repo, and one job from the first to the second.
struct Forges {
    gitlab: FakeGitlab,
    codearts: FakeCodeArts,
    program: Program,
}

/// The `n`-th commit, which both sides have.
fn commit(n: u32) -> String {
    support::gitlab::commit_id(n)
}

impl Forges {
    fn new(job: &str) -> Self {
        let (gitlab, codearts) =
            (FakeGitlab::start(GitlabWorld::with_core()), FakeCodeArts::start(CodeArtsWorld::with_core()));
        let forges = Self { gitlab, codearts, program: Program::new() };
        forges.configure(job, "");
        forges
    }

    fn configure(&self, job: &str, remote: &str) {
        let token = self.program.path("token").display().to_string();
        self.program.configure(&format!(
            r#"
            [remote.here]
            provider = "gitlab"
            url = "{}"
            project = "infra/core"
            token = {{ file = "{token}" }}

            [remote.there]
            provider = "codearts"
            url = "{}"
            repository_id = 7
            token = {{ file = "{token}" }}
            {remote}

            [job.across]
            from = "here"
            to = ["there"]
            {}
            {job}
            "#,
            self.gitlab.url(),
            self.codearts.url(),
            if job.contains("policy") { "" } else { r#"policy = "mirror""# },
        ));
    }

    fn tag(&self, name: &str, tag: FakeTag) {
        self.gitlab.change(|world| world.project("infra/core").tags.insert(name.to_owned(), tag));
    }

    fn tag_many(&self, count: u32) {
        (0..count).for_each(|n| self.tag(&format!("v{n}"), FakeTag::lightweight(&commit(n))));
    }

    fn drop_tag(&self, name: &str) {
        self.gitlab.change(|world| world.project("infra/core").tags.remove(name));
    }

    fn sync(&self) -> Ended {
        self.program.sync(&[])
    }

    /// Commits and messages, as the other side has them.
    fn there(&self) -> BTreeMap<String, (String, Option<String>)> {
        let tags = self.codearts.tags().into_iter();
        tags.map(|(name, tag)| (name, (tag.commit_id.unwrap_or_default(), tag.message))).collect()
    }

    /// A pass that must change nothing there.
    #[track_caller]
    fn assert_harmless(&self, code: i32) -> Ended {
        let (before, writes) = (self.codearts.tags(), self.codearts.writes().len());
        let ended = self.sync().expect(code);
        assert_eq!((self.codearts.tags(), self.codearts.writes().len()), (before, writes), "{}", ended.stdout);
        ended
    }
}

#[test]
fn tags_of_one_forge_arrive_on_another_and_follow_it() {
    let forges = Forges::new("");
    forges.tag("v1", FakeTag::lightweight(&commit(1)));
    forges.tag("v2", FakeTag::annotated(&commit(2), "Release 2\n\nAll of it.\n", 5));
    forges.tag("deep/v3", FakeTag::lightweight(&commit(3)));
    assert_eq!(count(&forges.sync().expect(0), "create"), 3);
    let there = forges.there();
    assert_eq!(there["v1"], (commit(1), None));
    assert_eq!(there["v2"].0, commit(2));
    assert_eq!(there["v2"].1.as_deref().map(str::trim), Some("Release 2\n\nAll of it."));
    assert_eq!(there["deep/v3"], (commit(3), None));
    // The second pass is a listing of each side, and silent.
    forges.gitlab.server().forget();
    forges.codearts.server().forget();
    let ended = forges.sync().expect(0);
    assert_eq!((pair(&ended)["state"].as_str(), count(&ended, "in_sync")), (Some("in_sync"), 3), "{}", ended.stdout);
    let asked = forges.gitlab.server().record();
    assert_eq!(asked.total(), 1, "{:?}", asked.requests);
    assert_eq!(ended.json()["jobs"][0]["requests"], 1);
    assert_eq!(ended.json()["jobs"][0]["repository"], "here");
    assert_eq!(pair(&ended)["requests"], forges.codearts.server().record().total());
    // A move, a deletion, a new one.
    forges.tag("v1", FakeTag::lightweight(&commit(9)));
    forges.drop_tag("deep/v3");
    forges.tag("v4", FakeTag::lightweight(&commit(4)));
    let ended = forges.sync().expect(0);
    assert_eq!(["create", "move", "delete"].map(|what| count(&ended, what)), [1, 1, 1], "{}", ended.stdout);
    let there = forges.there();
    assert_eq!(there["v1"].0, commit(9));
    assert_eq!(there.into_keys().collect::<Vec<_>>(), ["v1", "v2", "v4"]);
    assert!(forges.gitlab.writes().is_empty(), "nothing is written where the tags come from");
    assert_eq!(count(&forges.sync().expect(0), "in_sync"), 3);
}

#[test]
fn messages_are_compared_where_the_remote_says_so() {
    let forges = Forges::new("");
    forges.configure("", "annotations = \"message\"");
    forges.tag("v1", FakeTag::annotated(&commit(1), "one", 1));
    forges.sync().expect(0);
    assert_eq!(count(&forges.sync().expect(0), "in_sync"), 1);
    forges.tag("v1", FakeTag::annotated(&commit(1), "another", 2));
    assert_eq!(count(&forges.sync().expect(0), "move"), 1);
    assert_eq!(forges.there()["v1"].1.as_deref().map(str::trim), Some("another"));
    assert_eq!(count(&forges.sync().expect(0), "in_sync"), 1);
}

#[test]
fn a_source_that_does_not_answer_as_itself_changes_nothing() {
    let forges = Forges::new("limits = { deletes = 1000, deletes_percent = 100, moves = 1000, moves_percent = 100 }");
    forges.tag_many(6);
    forges.sync().expect(0);
    let answers = [
        (Reply::text(401, "no"), "401"),
        (Reply::text(403, "no"), "403"),
        (Reply::text(404, r#"{"message":"404 Project Not Found"}"#), "404"),
        (Reply::text(500, "no"), "500"),
        (Reply::html(200), "text/html"),
        (Reply::text(302, "").header("Location", "/users/sign_in"), "302"),
    ];
    for (answer, word) in answers {
        forges.gitlab.server().on(When::any(), Effect::Answer(answer));
        let ended = forges.assert_harmless(1);
        forges.gitlab.server().behave();
        assert_eq!(pair(&ended)["state"], "unknown", "{word}");
        let job = ended.json()["jobs"][0].clone();
        assert!(
            job["error"].as_str().is_some_and(|error| error.contains("remote `here`, where the tags come from")),
            "{job}"
        );
        assert!(job["requests"].as_u64() > Some(0), "{word}: {job}");
    }
    // Empty, and with the names that nobody asked for.
    let tags = forges.gitlab.change(|world| std::mem::take(&mut world.project("infra/core").tags));
    let ended = forges.assert_harmless(3);
    assert_eq!(pair(&ended)["held"][0]["verdict"], "empty_source", "{}", ended.stdout);
    // Most of it gone at once.
    let few = tags.iter().take(2).map(|(name, tag)| (name.clone(), tag.clone())).collect();
    forges.gitlab.change(|world| world.project("infra/core").tags = few);
    forges.tag("new", FakeTag::lightweight(&commit(8)));
    let ended = forges.assert_harmless(3);
    let held = pair(&ended)["held"].as_array().expect("a list").clone();
    assert_eq!(held.len(), 5, "{}", ended.stdout);
    assert!(
        held.iter().all(|held| held["reason"]
            .as_str()
            .is_some_and(|reason| reason.contains("gone from their source at once")))
    );
    // It was meant: a person says so.
    let plan = pair(&ended)["plan"].as_str().expect("a plan").to_owned();
    forges.program.sync(&["--approve", &plan]).expect(0);
    assert_eq!(forges.there().into_keys().collect::<Vec<_>>(), ["new", "v0", "v1"]);
}

#[test]
fn another_project_behind_the_address_voids_the_records() {
    let forges = Forges::new("");
    forges.tag_many(3);
    forges.sync().expect(0);
    // Deleted and made anew under the same path: another id, other tags, and one of the old ones elsewhere.
    forges.gitlab.change(|world| world.recreate("infra/core"));
    forges.tag("v1", FakeTag::lightweight(&commit(7)));
    forges.tag("fresh", FakeTag::lightweight(&commit(5)));
    let ended = forges.sync().expect(3);
    let pair = pair(&ended);
    assert!(pair["notes"].to_string().contains("project that the tags come from is another one"), "{pair}");
    assert_eq!(pair["held"][0]["verdict"], "not_ours", "{pair}");
    let deleted = forges.codearts.writes().into_iter().any(|write| write.kind == WriteKind::Delete);
    assert!(!deleted, "nothing is moved or deleted");
    assert_eq!(forges.there().into_keys().collect::<Vec<_>>(), ["fresh", "v0", "v1", "v2"]);
    // What was the remembered source is forgotten, so nothing of it comes back later.
    let ended = forges.assert_harmless(3);
    assert_eq!(ended.remote()["counts"]["unmanaged"], 2);
}

#[test]
fn a_deletion_is_confirmed_on_the_source_first() {
    let forges = Forges::new("");
    forges.tag_many(4);
    forges.sync().expect(0);
    let back = forges.gitlab.change(|world| world.project("infra/core").tags.remove("v1")).expect("a tag");
    // It is back by the time that somebody looks for it alone.
    forges.gitlab.adversary(When::method("GET").path_end("/repository/tags/v1"), move |world| {
        world.project("infra/core").tags.insert("v1".to_owned(), back.clone());
    });
    let ended = forges.sync();
    assert_eq!(pair(&ended)["changes"][0]["outcome"], "not_sent", "{}", ended.stdout);
    assert!(pair(&ended)["changes"][0]["reason"].as_str().is_some_and(|reason| reason.contains("has `v1` again")));
    assert_eq!(forges.there().len(), 4);
}

#[test]
fn a_plan_and_an_explanation_ask_the_source_and_write_nothing() {
    let forges = Forges::new("");
    forges.tag("v1", FakeTag::annotated(&commit(1), "one", 1));
    let plan = forges.program.plan(&[]).expect(0);
    assert_eq!(plan.remote()["counts"]["create"], 1);
    assert!(forges.codearts.tags().is_empty());
    let explained = forges.program.run(&["explain", "across", "v1", "--format", "json"]).expect(0).json();
    let pair = &explained["pairs"][0];
    assert_eq!(
        (pair["source"]["presence"].as_str(), pair["verdict"].as_str()),
        (Some("there"), Some("create")),
        "{pair}"
    );
    assert!(pair["source"]["remarks"].to_string().contains("annotated"), "{pair}");
    let offline = forges.program.run(&["explain", "across", "v1", "--offline", "--format", "json"]).expect(1).json();
    assert!(offline["pairs"][0]["source"]["remarks"].to_string().contains("was not asked"), "{offline}");
    forges.program.run(&["check"]).expect(0);
    let online = forges.program.run(&["check", "--online", "--format", "json"]).expect(0).json();
    assert!(online.to_string().contains("1 tag in 1 request"), "{online}");
}

#[test]
fn tags_of_github_arrive_on_gitlab_and_follow_it() {
    let (github, gitlab) = (FakeGithub::start(GithubWorld::with_core()), FakeGitlab::start(GitlabWorld::with_core()));
    let program = Program::new();
    let token = program.path("token").display().to_string();
    program.configure(&format!(
        r#"
        [remote.github]
        provider = "github"
        url = "{}"
        repository = "infra/core"
        token = {{ file = "{token}" }}

        [remote.gitlab]
        provider = "gitlab"
        url = "{}"
        project = "infra/core"
        token = {{ file = "{token}" }}

        [job.core]
        from = "github"
        to = ["gitlab"]
        policy = "mirror"
        "#,
        github.url(),
        gitlab.url(),
    ));
    github.change(|world| {
        let core = world.core();
        core.tags.insert("v1".to_owned(), commit(1));
        core.annotate("v2", &commit(2), "Release 2\n");
        core.tags.insert("v3".to_owned(), commit(3));
    });
    assert_eq!(count(&program.sync(&[]).expect(0), "create"), 3);
    let there = || -> BTreeMap<String, (Option<String>, Option<String>)> {
        let tags = gitlab.tags("infra/core").into_iter();
        tags.map(|(name, tag)| (name, (tag.commit_id, tag.message.map(|message| message.trim().to_owned())))).collect()
    };
    assert_eq!(there()["v1"], (Some(commit(1)), None));
    assert_eq!(there()["v2"], (Some(commit(2)), Some("Release 2".to_owned())));
    github.change(|world| {
        let core = world.core();
        core.annotate("v2", &commit(7), "Release 2, again\n");
        core.tags.remove("v3");
    });
    let ended = program.sync(&[]).expect(0);
    assert_eq!(["move", "delete"].map(|what| count(&ended, what)), [1, 1], "{}", ended.stdout);
    assert_eq!(there()["v2"], (Some(commit(7)), Some("Release 2, again".to_owned())));
    let ended = program.sync(&[]).expect(0);
    assert_eq!((pair(&ended)["state"].as_str(), there().len()), (Some("in_sync"), 2));
    // Private to us from now on: not there, says GitHub.
    github.change(|world| world.tokens.clear());
    program.sync(&[]).expect(1);
    assert_eq!((there().len(), github.writes().len()), (2, 0));
}

// ---- From one registry to another.

struct Registries {
    here: FakeRegistry,
    there: FakeRegistry,
    program: Program,
}

fn registry(manifests: usize) -> FakeRegistry {
    FakeRegistry::start(RegistryWorld { wants: Wants::Nothing, ..RegistryWorld::with_manifests(manifests) })
}

impl Registries {
    fn new() -> Self {
        let registries = Self { here: registry(4), there: registry(3), program: Program::new() };
        registries.program.configure(&format!(
            r#"
            [remote.here]
            provider = "oci"
            registry = "{}"
            image = "team/app"

            [remote.there]
            provider = "oci"
            registry = "{}"
            image = "team/app"
            deletes = "tag"

            [job.images]
            from = "here"
            to = ["there"]
            policy = "mirror"
            tags = ["*", "!sha-*"]
            "#,
            registries.here.url(),
            registries.there.url(),
        ));
        registries
    }
}

#[test]
fn image_tags_go_from_one_registry_to_another_as_their_manifests_arrive() {
    let Registries { here, there, program } = Registries::new();
    here.change(|world| {
        for (name, n) in [("v1", 0), ("v2", 1), ("latest", 1), ("early", 3), ("sha-1", 2)] {
            world.tag(name, n);
        }
    });
    let digest_of = |n| digest(&manifest(n).bytes);
    let ended = program.sync(&[]).expect(0);
    assert_eq!((count(&ended, "create"), count(&ended, "waiting")), (3, 1), "{}", ended.stdout);
    let tags = |pairs: &[(&str, usize)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(name, n)| ((*name).to_owned(), digest_of(*n))).collect()
    };
    assert_eq!(there.tags(), tags(&[("v1", 0), ("v2", 1), ("latest", 1)]));
    // Somebody copies the image over.
    there.change(|world| world.manifests.insert(digest_of(3), manifest(3)));
    here.change(|world| {
        world.tag("latest", 2);
        world.tags.remove("v2");
    });
    let ended = program.sync(&[]).expect(0);
    assert_eq!(["create", "move", "delete"].map(|what| count(&ended, what)), [1, 1, 1], "{}", ended.stdout);
    assert_eq!(there.tags(), tags(&[("v1", 0), ("latest", 2), ("early", 3)]));
    let writes = there.writes().len();
    let ended = program.sync(&[]).expect(0);
    assert_eq!((pair(&ended)["state"].as_str(), count(&ended, "in_sync")), (Some("in_sync"), 3), "{}", ended.stdout);
    assert_eq!((there.writes().len(), here.writes().len()), (writes, 0));
    // The image goes from the source's registry: nothing follows from it.
    here.change(|world| world.exists = false);
    let ended = program.sync(&[]).expect(1);
    assert_eq!(pair(&ended)["state"], "unknown");
    assert_eq!(there.writes().len(), writes);
}

// ---- Many repositories, several remotes.

/// Repositories, of which the last has no project on the second remote; and the job over all of them.
fn many(count: usize) -> (tempfile::TempDir, FakeGitlab, FakeGitlab, Program) {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let [one, other] = [(); 2].map(|()| {
        let mut world = GitlabWorld::with_core();
        world.projects = (0..count as u64).map(|id| (id + 1, Project::new(&format!("infra/r{id}")))).collect();
        FakeGitlab::start(world)
    });
    other.change(|world| world.projects.remove(&(count as u64)));
    for n in 0..count {
        let repository = SampleRepository::bare();
        let commit = repository.commit("one");
        (0..3).for_each(|tag| repository.tag(format!("v{tag}"), &commit));
        std::fs::rename(repository.path(), folder.path().join(format!("r{n}.git"))).expect("one file system");
    }
    let program = Program::new();
    let remote = |name: &str, gitlab: &FakeGitlab| {
        format!(
            "[remote.{name}]\nprovider = \"gitlab\"\nurl = \"{}\"\nproject = \"infra/{{repository}}\"\ntoken = {{ file = \"{}\" }}\n",
            gitlab.url(),
            program.path("token").display()
        )
    };
    let remotes = remote("one", &one) + &remote("other", &other);
    program.configure(&format!(
        "[repository.all]\npaths = [\"{}/*.git\"]\n{remotes}[job.all]\nfrom = \"all\"\nto = [\"one\", \"other\"]\npolicy = \"mirror\"\n",
        folder.path().display()
    ));
    (folder, one, other, program)
}

#[test]
fn a_project_that_is_missing_is_one_matter_and_no_storm() {
    let (_folder, one, other, program) = many(5);
    for _ in 0..2 {
        other.server().forget();
        let ended = program.sync(&[]).expect(3);
        let report = ended.json();
        let remotes = report["jobs"][4]["remotes"].as_array().expect("a list");
        assert_eq!(remotes[0]["error"], Value::Null);
        let missing = &remotes[1];
        assert_eq!(
            (missing["state"].as_str(), missing["counts"]["held"].as_u64()),
            (Some("held"), Some(1)),
            "{missing}"
        );
        assert!(missing["error"].as_str().is_some_and(|error| error.contains("404")), "{missing}");
        assert!(missing["hint"].as_str().is_some_and(|hint| hint.contains("check `project`")), "{missing}");
        assert_eq!(missing["requests"], 1);
        let others = report["jobs"].as_array().expect("a list").iter().take(4);
        assert!(
            others.flat_map(|job| job["remotes"].as_array().expect("a list")).all(|remote| remote["error"].is_null())
        );
    }
    let status = program.run(&["status", "--format", "json"]).expect(3).json();
    let held: Vec<_> =
        status["pairs"].as_array().expect("a list").iter().filter(|pair| pair["state"] == "held").collect();
    assert_eq!((held.len(), held[0]["repository"].as_str()), (1, Some("r4")));
    assert_eq!((held[0]["in_sync_since"].is_null(), held[0]["last_success"].is_null()), (true, true));
    // Somebody makes it.
    other.change(|world| world.projects.insert(5, Project::new("infra/r4")));
    program.sync(&[]).expect(0);
    assert_eq!(other.tags("infra/r4").len(), 3);
    // One that was there and is gone is no matter of making it: who hid it?
    other.change(|world| world.projects.remove(&5));
    let ended = program.sync(&[]).expect(1);
    assert_eq!(ended.json()["jobs"][4]["remotes"][1]["state"], "unknown");
    assert_eq!(one.tags("infra/r4").len(), 3);
}

#[test]
fn an_unchanged_pass_over_many_repositories_is_a_listing_for_each_pair() {
    let (_folder, one, other, program) = many(200);
    other.change(|world| world.projects.insert(200, Project::new("infra/r199")));
    program.sync(&[]).expect(0);
    for gitlab in [&one, &other] {
        gitlab.server().forget();
    }
    let ended = program.sync(&[]).expect(0);
    for gitlab in [&one, &other] {
        let record = gitlab.server().record();
        assert_eq!(record.total(), 200, "{} answers", record.total());
        assert!(record.most_in_flight <= 8, "{}", record.most_in_flight);
    }
    let report = ended.json();
    let remotes = report["jobs"]
        .as_array()
        .expect("a list")
        .iter()
        .flat_map(|job| job["remotes"].as_array().expect("a list").clone());
    assert!(remotes.into_iter().all(|remote| remote["state"] == "in_sync" && remote["requests"] == 1));
}

// ---- As a service.

#[test]
fn a_service_mirrors_between_remotes_and_has_nothing_to_watch() {
    let forges = Forges::new("delete_grace = \"0s\"\nschedule = \"0 0 29 2 *\"");
    forges.tag("v1", FakeTag::lightweight(&commit(1)));
    forges.tag("v2", FakeTag::lightweight(&commit(2)));
    let service = Service::start(&forges.program);
    eventually("both tags arrive", || forges.there().len() == 2);
    forges.drop_tag("v2");
    forges.tag("v3", FakeTag::lightweight(&commit(3)));
    service.signal("USR1");
    eventually("the change arrives", || forges.there().into_keys().eq(["v1".to_owned(), "v3".to_owned()]));
    // Away, and back.
    forges.gitlab.server().on(When::any(), Effect::Answer(Reply::text(404, "{}")));
    service.signal("USR1");
    let state = || forges.program.run(&["status", "--format", "json"]).json()["pairs"][0]["state"].clone();
    eventually("nothing is known of the pair", || state() == "unknown");
    assert_eq!(forges.there().len(), 2);
    forges.gitlab.server().behave();
    service.signal("USR1");
    eventually("all is well again", || state() == "in_sync");
    service.stop().expect(0);
}
