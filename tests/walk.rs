//! Walks through the terminal as a person on call takes them, kept as transcripts: what is printed is the interface.

mod support;

use std::fmt::Write as _;

use support::gitlab::{FakeGitlab, GitlabWorld};
use support::program::Program;
use support::repository::SampleRepository;

/// What a person types and reads, with everything that differs from run to run replaced by a word for it.
struct Walk {
    program: Program,
    repository: SampleRepository,
    gitlab: FakeGitlab,
    commit: String,
    transcript: String,
}

impl Walk {
    fn new(job: &str) -> Self {
        let repository = SampleRepository::bare();
        let commit = repository.commit("one");
        let gitlab = FakeGitlab::start(GitlabWorld::with_core());
        let program = Program::new();
        // One write at a time, so that the history has one order.
        program.mirror(repository.path(), &gitlab.url(), job, "concurrency = 1");
        Self { program, repository, gitlab, commit, transcript: String::new() }
    }

    /// What a person does beside the program.
    fn says(&mut self, what: &str) {
        writeln!(self.transcript, "# {what}").expect("a string takes everything");
    }

    /// Types a command and keeps what it prints.
    fn types(&mut self, arguments: &[&str], code: i32) -> String {
        let ended = self.program.run(arguments).expect(code);
        let line = format!("$ tagsyncd {}\n{}{}", arguments.join(" "), ended.stdout, ended.stderr);
        let line = line
            .replace(&self.gitlab.url(), "https://gitlab.example.com")
            .replace(&self.program.path("").display().to_string(), "/etc/tagsyncd/")
            .replace(&self.commit, "COMMIT");
        writeln!(self.transcript, "{line}(exit {code})\n").expect("a string takes everything");
        ended.stdout
    }

    /// The id of the set that is parked now.
    fn plan(&self) -> String {
        let status = self.program.run(&["status", "--format", "json"]).json();
        status["pairs"][0]["plan"].as_str().expect("a set is parked").to_owned()
    }

    /// The latest run that changed anything.
    fn run(&self) -> String {
        let history = self.program.run(&["history", "--format", "json"]).json();
        let changes = history["changes"].as_array().expect("a list").clone();
        changes.last().expect("a change")["run"].as_str().expect("an id").to_owned()
    }

    fn far(&self) -> Vec<String> {
        self.gitlab.change(|world| world.project("infra/core").tags.keys().cloned().collect())
    }

    /// Compares the transcript with the one that was read and found good.
    fn ends(self, name: &str) {
        let filters = [
            (r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", "RUN"),
            (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "TIME"),
            (r"\b[0-9a-f]{12}\b", "ID"),
        ];
        insta::with_settings!({ filters => filters, omit_expression => true, prepend_module_to_snapshot => false }, {
            insta::assert_snapshot!(name, self.transcript);
        });
    }
}

#[test]
fn a_mass_deletion_is_held_seen_explained_released_and_put_back() {
    let mut walk = Walk::new("");
    let commit = walk.commit.clone();
    let tags: Vec<String> = (1..=8).map(|number| format!("v{number}")).collect();
    tags.iter().for_each(|tag| walk.repository.tag(tag, &commit));
    walk.types(&["--sync"], 0);

    walk.says("somebody deletes six of the eight tags in the repository");
    tags[..6].iter().for_each(|tag| walk.repository.delete_tag(tag));
    walk.types(&["--sync"], 3);
    assert_eq!(walk.far(), tags, "nothing is gone yet");
    walk.types(&["status"], 3);
    walk.types(&["explain", "core", "v1"], 0);

    walk.says("it was meant");
    let plan = walk.plan();
    walk.types(&["approve", &plan], 0);
    walk.types(&["status"], 3);
    walk.types(&["--sync"], 0);
    assert_eq!(walk.far(), ["v7", "v8"]);
    let run = walk.run();
    walk.types(&["history", "--run", &run], 0);
    walk.types(&["approve", &plan], 3);

    walk.says("it was not: back with them");
    walk.types(&["undo", &run, "--dry-run"], 0);
    walk.types(&["undo", &run], 0);
    assert_eq!(walk.far(), tags);
    walk.says("the next pass leaves them alone, and says so");
    walk.types(&["--sync"], 3);
    assert_eq!(walk.far(), tags);
    walk.types(&["explain", "core", "v1"], 0);
    walk.types(&["undo", &run], 0);

    walk.says("four of them are put back in the repository, the other two may stay as they are");
    tags[..4].iter().for_each(|tag| walk.repository.tag(tag, &commit));
    walk.types(&["--sync"], 3);
    let plan = walk.plan();
    walk.types(&["dismiss", &plan], 0);
    walk.types(&["--sync"], 0);
    walk.types(&["status"], 0);
    assert_eq!(walk.far(), tags);
    walk.ends("mass-deletion");
}

#[test]
fn an_approval_is_refused_with_the_difference_when_the_world_has_moved_on() {
    let mut walk = Walk::new("");
    let commit = walk.commit.clone();
    for number in 1..=9 {
        walk.repository.tag(format!("v{number}"), &commit);
    }
    walk.types(&["--sync", "--quiet"], 0);
    walk.says("five deletions are parked and approved; before the next pass one comes back and another goes");
    (1..=5).for_each(|number| walk.repository.delete_tag(format!("v{number}")));
    walk.program.sync(&[]).expect(3);
    let plan = walk.plan();
    walk.types(&["approve", &plan], 0);
    walk.repository.tag("v1", &commit);
    walk.repository.delete_tag("v9");
    walk.types(&["--sync"], 3);
    assert_eq!(walk.far().len(), 9);
    walk.types(&["approve", &plan], 3);
    walk.types(&["--sync", "--approve", &plan], 3);
    walk.types(&["dismiss", "0000"], 2);
    let now = walk.plan();
    let slip = format!("{}0", &now[..now.len() - 1]);
    let slip = if slip == now { format!("{}1", &now[..now.len() - 1]) } else { slip };
    walk.types(&["approve", &slip], 2);
    walk.types(&["--sync", "--approve", &now], 0);
    assert_eq!(walk.far(), ["v1", "v6", "v7", "v8"]);
    walk.ends("approval-refused");
}
