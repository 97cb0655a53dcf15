//! `check --online`: what it finds on both sides of a pair, and that it leaves both as they are.

mod support;

use std::path::Path;
use std::time::Duration;

use jiff::fmt::rfc2822::DateTimePrinter;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use support::gitlab::{FakeGitlab, FakeTag, GitlabWorld, MAINTAINER, Project, REPORTER, Token, commit_id, kind};
use support::program::{Ended, Program, TOKEN, ended, private_file};
use support::repository::SampleRepository;
use support::server::{Effect, Gate, Reply, When};

const CHECKS: [&str; 8] = ["source", "reachable", "tls", "credential", "identity", "access", "clock", "listing"];

/// A repository with two tags, a project with three, and a job between them.
fn pair() -> (Program, FakeGitlab, SampleRepository) {
    let repository = SampleRepository::bare();
    let commit = repository.commit("one");
    for name in ["v1", "v2"] {
        repository.tag(name, &commit);
    }
    let mut world = GitlabWorld::with_core();
    for name in ["v1", "v2", "theirs"] {
        world.project("infra/core").tags.insert(name.into(), FakeTag::lightweight(&commit));
    }
    let gitlab = FakeGitlab::start(world);
    let program = Program::new();
    program.mirror(repository.path(), &gitlab.url(), "", "");
    (program, gitlab, repository)
}

fn online(program: &Program, more: &[&str]) -> Ended {
    program.run(&[&["check", "--online", "--format", "json"], more].concat())
}

/// The findings of the only pair, each as `CHECK RESULT`, once they are all there and in their order.
#[track_caller]
fn results(ended: &Ended) -> [String; 8] {
    let pair = ended.json()["online"]["pairs"][0].clone();
    let findings = pair["findings"].as_array().expect("a list").clone();
    assert_eq!(findings.iter().map(|finding| finding["check"].clone()).collect::<Vec<_>>(), CHECKS, "{pair}");
    let results: Vec<String> =
        findings.iter().map(|finding| finding["result"].as_str().expect("a word").to_owned()).collect();
    results.try_into().expect("as many as checks")
}

#[track_caller]
fn finding(ended: &Ended, check: &str) -> (String, String) {
    let found = ended.json()["online"]["pairs"][0]["findings"].clone();
    let finding = found.as_array().expect("a list").iter().find(|finding| finding["check"] == check).cloned();
    let finding = finding.unwrap_or_else(|| panic!("no finding about {check}: {found}"));
    let text = |key: &str| finding[key].as_str().unwrap_or_default().to_owned();
    (text("detail"), text("hint"))
}

/// Nothing was changed, nothing was remembered, and no secret was shown.
#[track_caller]
fn left_alone(program: &Program, gitlab: &FakeGitlab, ended: &Ended) {
    for seen in gitlab.server().record().requests {
        assert_eq!(seen.method, "GET", "{seen:?}");
    }
    assert_eq!(gitlab.writes(), []);
    assert!(!program.path("state").exists());
    for text in [&ended.stdout, &ended.stderr] {
        assert!(!text.contains(TOKEN), "{text}");
    }
}

#[test]
fn a_pair_that_will_work_is_found_so_and_left_alone() {
    let (program, gitlab, repository) = pair();
    let found = online(&program, &[]).expect(0);
    assert_eq!(results(&found), ["ok"; 8], "{}", found.stdout);
    for (check, detail) in [
        ("source", "2 tags".to_owned()),
        ("tls", "plain HTTP, this machine only".to_owned()),
        ("credential", "accepted".to_owned()),
        ("identity", format!("{0} infra/core is gitlab:{1}#7", gitlab.url(), gitlab.server().address())),
        ("access", "may create and delete tags".to_owned()),
        ("clock", "the remote's clock and ours agree".to_owned()),
        ("listing", "complete: 3 tags in 1 request".to_owned()),
    ] {
        assert_eq!(finding(&found, check), (detail, String::new()), "{check}");
    }
    let json = found.json();
    let pair = &json["online"]["pairs"][0];
    assert_eq!(
        (&pair["jobs"], &pair["repository"], &pair["remote"], &pair["requests"]),
        (&json!(["core"]), &json!("core"), &json!("gitlab"), &json!(3))
    );
    assert_eq!(pair["place"], format!("{} infra/core", gitlab.url()));
    let record = gitlab.server().record();
    assert_eq!([kind::PROJECT, kind::TOKEN, kind::LIST].map(|kind| record.count(kind)), [1, 1, 1]);
    assert_eq!(record.total(), 3);
    left_alone(&program, &gitlab, &found);
    // Everything else is as without the flag.
    let mut offline = program.run(&["check", "--format", "json"]).expect(0).json();
    assert_eq!(offline["online"], Value::Null);
    offline["online"] = json["online"].clone();
    // Between the two answers a tick may have passed.
    offline["jobs"][0]["next_run"] = json["jobs"][0]["next_run"].clone();
    assert_eq!(offline, json);
    drop(repository);
}

#[test]
fn the_text_has_a_line_for_each_finding_and_ends_with_the_sums() {
    let (program, gitlab, _repository) = pair();
    let ahead = SignedDuration::from_hours(1);
    gitlab.server().on(When::any(), dated(ahead));
    gitlab.change(|world| world.tokens.insert(TOKEN.into(), Token::of_level(REPORTER)));
    let found = program.run(&["check", "--online"]).expect(3);
    let text = &found.stdout;
    let place = format!("{} infra/core", gitlab.url());
    for line in [
        &format!("core: core -> gitlab ({place}), mirror"),
        &format!("core -> gitlab ({place}), for core"),
        "  ok  source      2 tags",
        "  ok  reachable   connected and answered",
        "  !!  access      may only read: found the role Reporter",
        "                  hint: writing tags needs the role Developer or higher",
        "  ok  listing     complete: 3 tags in 1 request",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    assert!(text.lines().any(|line| line.starts_with("  ok  timezone    UTC, from ")), "{text}");
    assert!(text.lines().any(|line| line.starts_with("  !   clock       the remote's clock is ")), "{text}");
    assert!(text.ends_with("\npairs: 1; requests: 2; findings: 7 ok, 1 warning, 1 failed, 0 skipped\n"), "{text}");
    left_alone(&program, &gitlab, &found);
}

#[test]
fn a_credential_that_is_not_accepted_ends_the_questions() {
    let (program, gitlab, _repository) = pair();
    gitlab.change(|world| world.tokens.clear());
    let found = online(&program, &[]).expect(1);
    let expected = ["ok", "ok", "ok", "failed", "skipped", "skipped", "ok", "skipped"];
    assert_eq!(results(&found), expected, "{}", found.stdout);
    let (detail, hint) = finding(&found, "credential");
    assert!(detail.contains("401") && hint.contains("not expired and not revoked"), "{detail}; {hint}");
    assert_eq!(finding(&found, "listing").0, "the credential was not accepted");
    assert_eq!(gitlab.server().record().total(), 1);
    left_alone(&program, &gitlab, &found);

    // One that cannot even be read is never sent.
    std::fs::remove_file(program.path("token")).expect("the folder is ours");
    gitlab.server().forget();
    let found = online(&program, &[]).expect(1);
    let expected = ["ok", "skipped", "skipped", "failed", "skipped", "skipped", "skipped", "skipped"];
    assert_eq!(results(&found), expected, "{}", found.stdout);
    assert_eq!(gitlab.server().record().total(), 0);
}

#[test]
fn a_credential_that_may_not_write_waits_for_a_person() {
    let (program, gitlab, _repository) = pair();
    let roles = ["ok", "ok", "ok", "ok", "ok", "failed", "ok", "ok"];
    gitlab.change(|world| world.tokens.insert(TOKEN.into(), Token::of_level(REPORTER)));
    let found = online(&program, &[]).expect(3);
    assert_eq!(results(&found), roles, "{}", found.stdout);
    let (detail, hint) = finding(&found, "access");
    assert!(detail.contains("the role Reporter") && hint.contains("the role Developer or higher"), "{detail}; {hint}");

    // The role is enough, the scope of the token is not.
    let narrow = |scope: &str| Token::of_level(MAINTAINER).with_scopes(&[scope]);
    gitlab.change(|world| world.tokens.insert(TOKEN.into(), narrow("read_api")));
    let found = online(&program, &[]).expect(3);
    assert_eq!(results(&found), roles, "{}", found.stdout);
    let (detail, hint) = finding(&found, "access");
    assert!(detail.contains("the scope `read_api`") && hint.contains("the scope `api`"), "{detail}; {hint}");

    // The scope is not even enough to look.
    gitlab.change(|world| world.tokens.insert(TOKEN.into(), narrow("read_user")));
    let found = online(&program, &[]).expect(3);
    let expected = ["ok", "ok", "ok", "ok", "skipped", "failed", "ok", "skipped"];
    assert_eq!(results(&found), expected, "{}", found.stdout);
    let (detail, hint) = finding(&found, "access");
    assert!(detail.contains("insufficient_scope") && hint.contains("writing tags takes `api`"), "{detail}; {hint}");
    left_alone(&program, &gitlab, &found);
}

#[test]
fn without_a_token_a_public_project_can_be_read() {
    let (program, gitlab, repository) = pair();
    gitlab.change(|world| world.project("infra/core").public = true);
    program.mirror(repository.path(), &gitlab.url(), "", "");
    let text = std::fs::read_to_string(program.path("config.toml")).expect("it was just written");
    let anonymous: Vec<&str> = text.lines().filter(|line| !line.contains("token =")).collect();
    program.configure(&anonymous.join("\n"));
    let found = online(&program, &[]).expect(3);
    let expected = ["ok", "ok", "ok", "ok", "ok", "failed", "ok", "ok"];
    assert_eq!(results(&found), expected, "{}", found.stdout);
    assert_eq!(finding(&found, "credential").0, "none is configured; anonymous access is allowed");
    assert!(finding(&found, "access").0.contains("found no token"));
    assert!(gitlab.server().record().requests.iter().all(|seen| !seen.authorized));
}

#[test]
fn no_connection_is_told_from_one_that_is_not_to_be_trusted() {
    let (program, gitlab, repository) = pair();
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a loopback port is free");
        format!("http://{}", listener.local_addr().expect("a bound socket has an address"))
    };
    program.mirror(repository.path(), &closed, "", "");
    let found = online(&program, &[]).expect(1);
    let expected = ["ok", "failed", "skipped", "skipped", "skipped", "skipped", "skipped", "skipped"];
    assert_eq!(results(&found), expected, "{}", found.stdout);
    let (detail, hint) = finding(&found, "reachable");
    assert!(detail.contains("Connection refused") && hint.contains("check the address"), "{detail}; {hint}");

    // Somebody listens, and cannot prove who it is.
    program.mirror(repository.path(), &gitlab.url().replace("http:", "https:"), "", "");
    let found = online(&program, &[]).expect(1);
    let expected = ["ok", "ok", "failed", "skipped", "skipped", "skipped", "skipped", "skipped"];
    assert_eq!(results(&found), expected, "{}", found.stdout);
    let (detail, hint) = finding(&found, "tls");
    assert!(detail.contains("no trusted connection") && hint.contains("ca_file"), "{detail}; {hint}");

    // TLS cannot even begin.
    let missing = format!("ca_file = \"{}\"", program.path("no-such.pem").display());
    program.mirror(repository.path(), &gitlab.url().replace("http:", "https:"), "", &missing);
    let found = online(&program, &[]).expect(1);
    let expected = ["ok", "skipped", "failed", "skipped", "skipped", "skipped", "skipped", "skipped"];
    assert_eq!(results(&found), expected, "{}", found.stdout);
    assert!(finding(&found, "tls").0.contains("no-such.pem"));
}

#[test]
fn what_answers_and_is_no_api_is_found_out() {
    let (program, gitlab, _repository) = pair();
    gitlab.server().on(When::any(), Effect::Answer(Reply::html(200)));
    let found = online(&program, &[]).expect(1);
    let expected = ["ok", "ok", "ok", "skipped", "failed", "skipped", "ok", "skipped"];
    assert_eq!(results(&found), expected, "{}", found.stdout);
    assert!(finding(&found, "identity").0.contains("HTML page"), "{}", found.stdout);
    assert_eq!(finding(&found, "credential").0, "the remote did not say what it is");
    left_alone(&program, &gitlab, &found);
}

#[test]
fn a_project_that_is_not_there_is_no_matter_of_the_credential() {
    let (program, gitlab, _repository) = pair();
    gitlab.change(|world| world.project("infra/core").path = "infra/kernel".into());
    let found = online(&program, &[]).expect(1);
    let expected = ["ok", "ok", "ok", "ok", "failed", "skipped", "ok", "skipped"];
    assert_eq!(results(&found), expected, "{}", found.stdout);
    let (detail, hint) = finding(&found, "identity");
    assert!(detail.contains("404") && hint.contains("check `project`"), "{detail}; {hint}");
}

/// Answers with a date that is so far from the true one.
fn dated(ahead: SignedDuration) -> Effect {
    Effect::rewrite(move |reply| {
        let date = DateTimePrinter::new().timestamp_to_rfc9110_string(&(Timestamp::now() + ahead));
        reply.header("Date", date.expect("the year has four digits"))
    })
}

#[test]
fn a_clock_that_is_an_hour_off_is_a_warning() {
    for (hours, way) in [(1, "ahead of ours"), (-1, "behind ours")] {
        let (program, gitlab, _repository) = pair();
        gitlab.server().on(When::any(), dated(SignedDuration::from_hours(hours)));
        let found = online(&program, &[]).expect(0);
        let expected = ["ok", "ok", "ok", "ok", "ok", "ok", "warning", "ok"];
        assert_eq!(results(&found), expected, "{}", found.stdout);
        let (detail, hint) = finding(&found, "clock");
        assert!(detail.contains("1h") || detail.contains("59m 59s"), "{detail}");
        assert!(detail.ends_with(way) && hint.contains("NTP"), "{detail}; {hint}");
    }
}

#[test]
fn a_listing_that_does_not_come_to_its_end_is_found() {
    let (program, gitlab, _repository) = pair();
    gitlab.change(|world| {
        let tags = &mut world.project("infra/core").tags;
        tags.extend((0..150).map(|at| (format!("t{at:03}"), FakeTag::lightweight(&commit_id(at)))));
    });
    let found = online(&program, &[]).expect(0);
    assert_eq!(finding(&found, "listing").0, "complete: 153 tags in 2 requests");

    gitlab.server().on(When::any().path_end("/repository/tags").after(1), Effect::Answer(Reply::html(200)));
    let found = online(&program, &[]).expect(1);
    let expected = ["ok", "ok", "ok", "ok", "ok", "ok", "ok", "failed"];
    assert_eq!(results(&found), expected, "{}", found.stdout);
    assert!(finding(&found, "listing").0.contains("HTML page"), "{}", found.stdout);
    left_alone(&program, &gitlab, &found);
}

/// A configuration with these tables of repositories, remotes and jobs.
fn configure(program: &Program, remotes: &[(&str, &str)], rest: &str) {
    let token = program.path("token").display().to_string();
    let remotes: String = remotes
        .iter()
        .map(|(name, url)| {
            format!(
                "[remote.{name}]\nprovider = \"gitlab\"\nurl = \"{url}\"\nproject = \"infra/{{repository}}\"\n\
                 token = {{ file = \"{token}\" }}\n"
            )
        })
        .collect();
    program.configure(&format!("{remotes}{rest}"));
}

/// Bare repositories `one` and `two` in a folder, and a pattern that finds them.
fn shelf(program: &Program, samples: &[(&str, &SampleRepository)]) -> String {
    let folder = program.path("git");
    std::fs::create_dir(&folder).expect("the folder is ours");
    for (name, sample) in samples {
        std::os::unix::fs::symlink(sample.path(), folder.join(format!("{name}.git"))).expect("the folder is ours");
    }
    Path::new(&folder).join("*.git").display().to_string()
}

#[test]
fn each_remote_is_asked_once_per_repository_whichever_jobs_use_it() {
    let samples = [SampleRepository::bare(), SampleRepository::bare()];
    let mut world = GitlabWorld::with_core();
    world.projects = [(1, Project::new("infra/one")), (2, Project::new("infra/two"))].into();
    let [first, second] = [FakeGitlab::start(world.clone()), FakeGitlab::start(world)];
    let program = Program::new();
    let pattern = shelf(&program, &[("two", &samples[1]), ("one", &samples[0])]);
    let jobs = format!(
        r#"
        [repository.all]
        paths = ["{pattern}"]
        [job.releases]
        from = "all"
        to = ["first"]
        policy = "mirror"
        [job.nightly]
        from = "all"
        to = ["second", "first"]
        policy = "create-only"
        "#
    );
    configure(&program, &[("first", &first.url()), ("second", &second.url())], &jobs);
    let pairs = |ended: Ended| -> Vec<String> {
        let pairs = ended.json()["online"]["pairs"].as_array().expect("a list").clone();
        pairs.iter().map(|pair| format!("{} {} {}", pair["repository"], pair["remote"], pair["jobs"])).collect()
    };
    assert_eq!(
        pairs(online(&program, &[]).expect(0)),
        [
            r#""one" "first" ["releases","nightly"]"#,
            r#""two" "first" ["releases","nightly"]"#,
            r#""one" "second" ["nightly"]"#,
            r#""two" "second" ["nightly"]"#,
        ]
    );
    for gitlab in [&first, &second] {
        let record = gitlab.server().record();
        assert_eq!([kind::PROJECT, kind::TOKEN, kind::LIST].map(|kind| record.count(kind)), [2, 2, 2]);
        assert!(record.requests.iter().all(|seen| seen.method == "GET"));
    }
    // Only what a job uses.
    second.server().forget();
    let releases = pairs(online(&program, &["releases"]).expect(0));
    assert_eq!(releases, [r#""one" "first" ["releases"]"#, r#""two" "first" ["releases"]"#]);
    assert_eq!(second.server().record().total(), 0);
    let unknown = online(&program, &["relaeses"]).expect(2);
    assert!(unknown.stderr.contains("did you mean `releases`?"), "{}", unknown.stderr);
    program.run(&["check", "releases"]).expect(2);
}

#[test]
fn a_remote_that_hangs_costs_the_others_nothing() {
    let samples = [SampleRepository::bare()];
    let mut world = GitlabWorld::with_core();
    world.projects = [(1, Project::new("infra/one"))].into();
    let [hanging, fine] = [FakeGitlab::start(world.clone()), FakeGitlab::start(world)];
    let program = Program::new();
    let pattern = shelf(&program, &[("one", &samples[0])]);
    let rest = format!(
        "[repository.all]\npaths = [\"{pattern}\"]\n\
         [job.all]\nfrom = \"all\"\nto = [\"hanging\", \"fine\"]\npolicy = \"mirror\"\n"
    );
    configure(&program, &[("hanging", &hanging.url()), ("fine", &fine.url())], &rest);
    let hang = || {
        let gate = Gate::closed();
        hanging.server().on(When::any(), Effect::Hang(gate.clone()));
        gate
    };
    let gate = hang();
    let running = program.start(&["check", "--online", "--format", "json"]);
    // The other one is through while this one still has a long time left to answer.
    assert!(fine.server().wait_until(Duration::from_secs(20), |record| record.count(kind::LIST) == 1));
    gate.open();
    assert_eq!(results(&ended(running).expect(0)), ["ok"; 8]);

    let text = std::fs::read_to_string(program.path("config.toml")).expect("it was just written");
    program.configure(&text.replacen("project =", "timeout = \"400ms\"\nproject =", 1));
    let gate = hang();
    let found = online(&program, &[]).expect(1);
    gate.open();
    let expected = ["ok", "failed", "ok", "skipped", "skipped", "skipped", "skipped", "skipped"];
    assert_eq!(results(&found), expected, "{}", found.stdout);
    assert!(finding(&found, "reachable").0.contains("not finished after 400ms"), "{}", found.stdout);
    let other = found.json()["online"]["pairs"][1].clone();
    assert!(other["findings"].as_array().expect("a list").iter().all(|finding| finding["result"] == "ok"), "{other}");
}

#[test]
fn a_source_that_cannot_be_read_is_found_beside_a_remote_that_can() {
    let (program, gitlab, repository) = pair();
    std::fs::remove_dir_all(repository.path().join("objects")).expect("the repository is ours");
    let found = online(&program, &[]).expect(1);
    let expected = ["failed", "ok", "ok", "ok", "ok", "ok", "ok", "ok"];
    assert_eq!(results(&found), expected, "{}", found.stdout);
    assert!(finding(&found, "source").0.contains("objects"), "{}", found.stdout);

    // One tag among others is held for itself.
    let (program, gitlab_of_unknown, repository) = pair();
    private_file(&repository.path().join("refs/tags/broken"), "no id\n");
    let found = online(&program, &[]).expect(0);
    assert_eq!(results(&found)[0], "warning", "{}", found.stdout);
    assert_eq!(finding(&found, "source").0, "3 tags, of which 1 cannot be read and would be held");
    drop((gitlab, gitlab_of_unknown));

    // Without a repository there is no name to ask the remote with.
    let gitlab = FakeGitlab::start(GitlabWorld::with_core());
    let rest = format!(
        "[repository.all]\npaths = [\"{}\"]\n\
         [job.all]\nfrom = \"all\"\nto = [\"gitlab\"]\npolicy = \"mirror\"\n",
        program.path("no-such-shelf/*.git").display()
    );
    configure(&program, &[("gitlab", &gitlab.url())], &rest);
    let found = online(&program, &[]).expect(1);
    let mut expected = ["skipped"; 8];
    expected[0] = "failed";
    assert_eq!(results(&found), expected, "{}", found.stdout);
    assert_eq!(gitlab.server().record().total(), 0);
}

#[test]
fn the_time_zone_is_looked_up_once() {
    let (program, gitlab, repository) = pair();
    let mirror = |timezone: &str| {
        program.mirror(repository.path(), &gitlab.url(), "", "");
        let text = std::fs::read_to_string(program.path("config.toml")).expect("it was just written");
        program.configure(&format!("daemon.timezone = \"{timezone}\"\n{text}"));
        online(&program, &[])
    };
    let timezone = |ended: &Ended| ended.json()["online"]["timezone"].clone();
    let found = timezone(&mirror("Asia/Shanghai").expect(0));
    assert_eq!((&found["check"], &found["result"]), (&json!("timezone"), &json!("ok")));
    assert!(found["detail"].as_str().expect("a text").starts_with("Asia/Shanghai, from the "), "{found}");
    // What is no name at all might be a secret in the wrong place.
    let ended = mirror("glpat-canary").expect(78);
    assert!(!ended.stdout.contains("canary") && !ended.stderr.contains("canary"), "{ended:?}");
    // A broken configuration is one first.
    program.configure("[deamon]\n");
    online(&program, &[]).expect(78);
}
