//! Remotes do not wait for each other, whatever one of them does.

use std::path::Path;

use super::seldom;
use super::support::gitlab::{FakeGitlab, GitlabWorld};
use super::support::program::Program;
use super::support::repository::SampleRepository;
use super::support::server::{Effect, Gate, Reply, When};
use super::support::service::{Service, eventually};

/// One repository on these remotes.
fn configure(program: &Program, repository: &Path, remotes: &[(&str, String)]) {
    let token = program.path("token");
    let mut text = format!("[repository.core]\npath = \"{}\"\n", repository.display());
    for (name, url) in remotes {
        text += &format!(
            "[remote.{name}]\nprovider = \"gitlab\"\nurl = \"{url}\"\nproject = \"infra/core\"\ntoken = {{ file = \"{}\" }}\n",
            token.display(),
        );
    }
    let names: Vec<&str> = remotes.iter().map(|(name, _)| *name).collect();
    text += &format!("[job.core]\nfrom = \"core\"\nto = {names:?}\npolicy = \"mirror\"\n{}", seldom(""));
    program.configure(&text);
}

fn tags(gitlab: &FakeGitlab) -> usize {
    gitlab.tags("infra/core").len()
}

#[test]
fn a_remote_that_never_answers_delays_no_other() {
    let repository = SampleRepository::bare();
    let commit = repository.commit("one");
    repository.tag("v1", &commit);
    let [well, dead] = [FakeGitlab::start(GitlabWorld::with_core()), FakeGitlab::start(GitlabWorld::with_core())];
    let gate = Gate::closed();
    dead.server().on(When::any(), Effect::Hang(gate.clone()));
    let program = Program::new();
    configure(&program, repository.path(), &[("dead", dead.url()), ("well", well.url())]);
    let service = Service::start(&program);
    eventually("the tag arrives where somebody answers", || tags(&well) == 1);
    // Another pass, while the first one still waits for the other remote.
    repository.tag("v2", &commit);
    service.signal("USR1");
    eventually("so does the next one", || tags(&well) == 2);
    assert_eq!(tags(&dead), 0);
    gate.open();
    dead.server().behave();
    eventually("what was asked for meanwhile is made up for", || tags(&dead) == 2);
    service.stop().expect(0);
}

#[test]
fn a_refused_credential_is_not_tried_again_and_again_until_it_is_another_one() {
    let repository = SampleRepository::bare();
    let commit = repository.commit("one");
    repository.tag("v1", &commit);
    let gitlab = FakeGitlab::start(GitlabWorld::with_core());
    let refused = Reply::json(401, &serde_json::json!({ "message": "401 Unauthorized" }));
    gitlab.server().on(When::any(), Effect::Answer(refused));
    let program = Program::new();
    configure(&program, repository.path(), &[("gitlab", gitlab.url())]);
    let service = Service::start(&program);
    let state = || program.run(&["status", "--format", "json"]).json()["pairs"][0]["state"].clone();
    eventually("the pair is unknown", || state() == "unknown");
    let asked = gitlab.server().record().total();
    for _ in 0..3 {
        let attempt = || program.run(&["status", "--format", "json"]).json()["pairs"][0]["last_attempt"].clone();
        let before = attempt();
        service.signal("USR1");
        eventually("another pass has ended", || attempt() != before);
    }
    assert_eq!(gitlab.server().record().total(), asked, "a server bans those who knock too often");
    // A reload begins anew.
    gitlab.server().behave();
    service.signal("HUP");
    eventually("the tag arrives", || tags(&gitlab) == 1);
    service.stop().expect(0);
}
