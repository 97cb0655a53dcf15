//! The binary against a stateful GitLab: what it writes, what it leaves alone, what it says.

mod adversity;
mod bugs;
mod guards;
#[path = "../support/mod.rs"]
mod support;
mod timed;

use serde_json::{Value, json};
use support::gitlab::{Commits, FakeGitlab, FakeTag, Project, Protection, REPORTER, Token, commit_id};
use support::repository::SampleRepository;
use support::server::{Effect, Reply, When};
use support::world::World;

fn expected(tags: &[(&str, &String)]) -> Vec<(String, String)> {
    let mut expected: Vec<_> = tags.iter().map(|(name, commit)| ((*name).to_owned(), (*commit).clone())).collect();
    expected.sort();
    expected
}

#[test]
fn the_first_pass_creates_everything_and_the_second_does_nothing() {
    let world = World::new("", "");
    let [one, two] = &world.commits;
    for name in ["v1.0.0", "-x/é+1", "--upload-pack=x", "a/b", "$(id)", "%2F", "a#b&c"] {
        world.tag(name, 0);
    }
    world.repository.annotate("v1.1.0", two, "First line\n\nSecond line\n");

    let first = world.program.sync(&[]).expect(0).remote();
    assert_eq!(first["state"], "changed");
    assert_eq!(first["counts"]["create"], 8);
    assert!(first["changes"].as_array().unwrap().iter().all(|change| change["outcome"] == "done"), "{first}");
    let names = ["v1.0.0", "-x/é+1", "--upload-pack=x", "a/b", "$(id)", "%2F", "a#b&c"];
    let mut all: Vec<_> = names.iter().map(|name| (*name, one)).collect();
    all.push(("v1.1.0", two));
    assert_eq!(world.far(), expected(&all));
    assert_eq!(world.gitlab.tags("infra/core")["v1.1.0"].message.as_deref(), Some("First line\n\nSecond line"));
    assert_eq!(world.gitlab.tags("infra/core")["v1.0.0"].message, None);
    // Eight creates, one listing, one question who answers.
    assert_eq!((first["requests"].clone(), world.gitlab.server().record().total()), (json!(10), 10));

    world.gitlab.server().forget();
    let second = world.program.sync(&[]).expect(0).remote();
    assert_eq!((second["state"].clone(), second["counts"]["in_sync"].clone()), (json!("in_sync"), json!(8)));
    assert_eq!((second["requests"].clone(), world.gitlab.server().record().total()), (json!(1), 1));
    assert_eq!(world.writes(), 8);
}

#[test]
fn a_plan_writes_nothing_anywhere() {
    let world = World::new("", "");
    world.tag("v1", 0);
    for arguments in
        [["plan", "--format", "json", "--exit-code"], ["--sync", "--dry-run", "--format=json", "--exit-code"]]
    {
        let planned = world.program.run(&arguments).expect(4).remote();
        assert_eq!(planned["state"], "pending");
        assert_eq!(planned["changes"][0]["outcome"], Value::Null);
        assert_eq!(planned["changes"][0]["to"], json!(world.commits[0]));
    }
    world.program.plan(&[]).expect(0);
    assert_eq!(world.writes(), 0);
    assert!(!world.program.path("state").exists(), "a plan makes no state directory");
}

#[test]
fn the_plan_can_be_read_at_a_glance() {
    let world = World::new("", "");
    let [one, two] = &world.commits;
    for name in ["moved", "gone", "kept"] {
        world.tag(name, 0);
    }
    world.program.sync(&[]).expect(0);
    let place = format!("core: core -> gitlab ({} infra/core)", world.gitlab.url());
    assert_eq!(world.program.run(&["plan"]).expect(0).stdout, format!("{place}: 3 in sync (1 request)\n"));

    world.tag("moved", 1);
    world.repository.delete_tag("gone");
    world.tag("new\u{202e}", 1);
    world.tag("theirs", 0);
    world.tag("theirs-too", 0);
    world.put_far("theirs", FakeTag::lightweight(two));
    world.put_far("theirs-too", FakeTag::lightweight(two));
    let (one, two) = (&one[..12], &two[..12]);
    let expected = format!(
        "{place}
  - gone         {one}
  ~ moved        {one} -> {two}
  + new\\u{{202e}}  {two}
  ! theirs       held
  ! theirs-too   held
      all 2: the remote has another value that tagsyncd did not write
      hint: make both sides equal by hand once; from then on it is managed
  1 in sync, 1 to create, 1 to move, 1 to delete, 2 held (2 requests)
"
    );
    assert_eq!(world.program.run(&["plan"]).expect(3).stdout, expected);
    let all = world.program.run(&["plan", "-v"]).expect(3).stdout;
    assert!(all.lines().any(|line| line.starts_with("  = kept") && line.ends_with("in sync")), "{all}");
    // Nobody reads to the end: no error, no panic.
    let mut child = world.program.command(&["plan"]).stdout(std::process::Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(3));
}

#[test]
fn moves_and_deletes_reach_what_is_ours_and_nothing_else() {
    let world = World::new("", "");
    let [one, two] = &world.commits.clone();
    for name in ["moved", "gone", "kept"] {
        world.tag(name, 0);
    }
    world.put_far("theirs", FakeTag::lightweight(one));
    world.put_far("kept", FakeTag::lightweight(one));
    let first = world.program.sync(&[]).expect(0).remote();
    assert_eq!((&first["counts"]["adopt"], &first["counts"]["unmanaged"]), (&json!(1), &json!(1)));

    world.tag("moved", 1);
    world.repository.delete_tag("gone");
    let second = world.program.sync(&[]).expect(0).remote();
    assert_eq!(world.far(), expected(&[("kept", one), ("moved", two), ("theirs", one)]));
    assert_eq!(
        second["changes"][0],
        json!({
            "tag": "gone", "name": "gone", "action": "delete", "from": one, "to": null, "outcome": "done", "reason": null, "degraded": null,
        })
    );
    assert_eq!((&second["changes"][1]["from"], &second["changes"][1]["to"]), (&json!(one), &json!(two)));
    let third = world.program.sync(&[]).expect(0).remote();
    assert_eq!(third["state"], "in_sync");
}

#[test]
fn what_differs_and_was_never_ours_is_held() {
    let world = World::new("", "");
    world.tag("v1", 0);
    world.put_far("v1", FakeTag::lightweight(&world.commits[1]));
    let held = world.program.sync(&[]).expect(3).remote();
    assert_eq!(held["state"], "held");
    assert_eq!(
        held["held"][0],
        json!({
            "tag": "v1", "name": "v1", "verdict": "not_ours", "source": world.commits[0], "record": null, "remote": world.commits[1],
            "reason": "the remote has another value that tagsyncd did not write",
            "hint": "make both sides equal by hand once; from then on it is managed",
            "dismissed": false,
        })
    );
    assert_eq!(world.writes(), 0);
}

#[test]
fn drift_is_healed_and_said() {
    let world = World::new("", "");
    world.tag("moved-there", 0);
    world.tag("lost-there", 0);
    world.program.sync(&[]).expect(0);
    world.age(2);
    world.put_far("moved-there", FakeTag::lightweight(&world.commits[1]));
    world.gitlab.change(|gitlab| gitlab.project("infra/core").tags.remove("lost-there"));
    let healed = world.program.sync(&[]).expect(0).remote();
    let one = &world.commits[0];
    assert_eq!(world.far(), expected(&[("lost-there", one), ("moved-there", one)]));
    assert!(healed["changes"].as_array().unwrap().iter().all(|change| change["reason"] == "drift"), "{healed}");
}

#[test]
fn patterns_of_the_job_hold_their_names() {
    let world = World::new(
        r#"immutable = ["v*"]
            protected = ["p*"]
            tags = ["**", "!x*"]"#,
        "",
    );
    for name in ["v1", "p1", "x1", "free"] {
        world.tag(name, 0);
    }
    world.program.sync(&[]).expect(0);
    assert_eq!(world.far().len(), 3, "x1 is out of scope");
    for name in ["v1", "p1", "x1", "free"] {
        world.tag(name, 1);
    }
    let held = world.program.sync(&[]).expect(3).remote();
    let verdicts: Vec<_> = held["held"].as_array().unwrap().iter().map(|held| held["verdict"].clone()).collect();
    assert_eq!(verdicts, ["protected", "immutable"]);
    let [one, two] = &world.commits;
    assert_eq!(world.far(), expected(&[("free", two), ("p1", one), ("v1", one)]));
}

#[test]
fn narrowing_the_filter_releases_and_widening_adopts() {
    let world = World::new("", "");
    world.tag_many(4);
    world.tag("x", 0);
    world.program.sync(&[]).expect(0);
    let url = world.gitlab.url();
    world.program.mirror(world.repository.path(), &url, r#"tags = ["x"]"#, "");
    let narrowed = world.program.sync(&[]).expect(0).remote();
    assert_eq!((&narrowed["counts"]["forget"], &narrowed["counts"]["in_sync"]), (&json!(4), &json!(1)));
    world.program.mirror(world.repository.path(), &url, "", "");
    let widened = world.program.sync(&[]).expect(0).remote();
    assert_eq!(widened["counts"]["adopt"], 4);
    assert_eq!((world.far().len(), world.writes()), (5, 5));
}

#[test]
fn names_are_mapped_and_mapped_names_that_meet_are_held() {
    let world = World::new(
        "",
        r#"strip_prefix = "v"
            replace = { "+" = "_" }
            add_prefix = "r-""#,
    );
    for name in ["v1+2", "1+2", "v3"] {
        world.tag(name, 0);
    }
    let mapped = world.program.sync(&[]).expect(3).remote();
    assert_eq!(world.far(), expected(&[("r-3", &world.commits[0])]));
    assert_eq!(mapped["changes"][0]["name"], "r-3");
    assert_eq!(mapped["counts"]["held"], 2);
    world.repository.delete_tag("1+2");
    world.program.sync(&[]).expect(0);
    assert_eq!(world.far().len(), 2);
    world.repository.delete_tag("v3");
    world.program.sync(&[]).expect(0);
    assert_eq!(world.far(), expected(&[("r-1_2", &world.commits[0])]));
}

#[test]
fn annotations_are_compared_where_asked() {
    let world = World::new("", r#"annotations = "message""#);
    let one = world.commits[0].clone();
    world.repository.annotate("v1", &one, "First\r\n\r\n");
    world.program.sync(&[]).expect(0);
    let unchanged = world.program.sync(&[]).expect(0).remote();
    assert_eq!((&unchanged["state"], world.writes()), (&json!("in_sync"), 1));
    world.repository.delete_tag("v1");
    world.repository.annotate("v1", &one, "Second");
    world.program.sync(&[]).expect(0);
    assert_eq!(world.gitlab.tags("infra/core")["v1"].message.as_deref(), Some("Second"));
}

#[test]
fn a_missing_commit_waits_and_arrives_when_it_is_there() {
    let world = World::new("", "");
    world
        .gitlab
        .change(|gitlab| gitlab.project("infra/core").commits = Commits::Known([world.commits[0].clone()].into()));
    world.tag("here", 0);
    world.tag("early", 1);
    let waits = world.program.sync(&["--exit-code"]).expect(4).remote();
    assert_eq!((&waits["counts"]["waiting"], &waits["waiting"][0]["tag"]), (&json!(1), &json!("early")));
    let writes = world.writes();
    let still = world.program.sync(&[]).expect(0).remote();
    assert_eq!((&still["state"], world.writes()), (&json!("waiting"), writes));
    world.gitlab.change(|gitlab| gitlab.project("infra/core").commits = Commits::Any);
    world.program.sync(&["--exit-code"]).expect(0);
    assert_eq!(world.far().len(), 2);
}

#[test]
fn a_refusal_by_rule_is_said_and_not_repeated_with_every_pass() {
    let world = World::new("", "");
    world.gitlab.change(|gitlab| {
        gitlab.project("infra/core").protected_tags.push(Protection { pattern: "v*".into(), create_access_level: 0 });
    });
    world.tag("v1", 0);
    world.tag("free", 0);
    let refused = world.program.sync(&[]).expect(1).remote();
    assert_eq!((&refused["counts"]["failed"], &refused["counts"]["create"]), (&json!(1), &json!(1)));
    let writes = world.writes();
    let held = world.program.sync(&[]).expect(3).remote();
    assert_eq!((&held["held"][0]["verdict"], world.writes()), (&json!("refused"), writes));
}

#[test]
fn a_credential_that_only_reads_writes_nothing_and_says_what_it_lacks() {
    let world = World::new("", "");
    world.gitlab.change(|gitlab| gitlab.tokens.insert("secret".into(), Token::of_level(REPORTER)));
    world.tag("v1", 0);
    let held = world.program.sync(&[]).expect(3).remote();
    let reason = held["held"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("Reporter") && reason.contains("Developer"), "{reason}");
    assert_eq!(world.writes(), 0);
}

#[test]
fn a_directory_takes_the_place_of_its_file() {
    let world = World::new("", "");
    world.tag("a", 0);
    world.program.sync(&[]).expect(0);
    world.repository.delete_tag("a");
    world.tag("a/b", 0);
    world.program.sync(&[]).expect(0);
    assert_eq!(world.far(), expected(&[("a/b", &world.commits[0])]));
    // In the way and not ours: held.
    world.put_far("b", FakeTag::lightweight(&world.commits[0]));
    world.tag("b/c", 0);
    assert_eq!(world.program.sync(&[]).expect(3).remote()["held"][0]["verdict"], "blocked");
}

#[test]
fn creates_run_side_by_side_up_to_the_configured_number() {
    let world = World::new("", "concurrency = 4");
    world.tag_many(24);
    world.gitlab.server().on(When::method("POST"), Effect::Delay(std::time::Duration::from_millis(20)));
    world.program.sync(&[]).expect(0);
    let most = world.gitlab.server().record().most_in_flight;
    assert!((2..=4).contains(&most), "{most} in flight");
}

#[test]
fn exact_overwrites_and_deletes_what_is_not_ours_after_a_person_agreed_once() {
    let world = World::new(r#"policy = "exact""#, "");
    world.tag("v1", 0);
    world.put_far("v1", FakeTag::lightweight(&world.commits[1]));
    world.put_far("theirs", FakeTag::lightweight(&world.commits[1]));
    let parked = world.program.sync(&[]).expect(3).remote();
    assert_eq!((&parked["counts"]["held"], world.writes()), (&json!(2), 0));
    world.program.sync(&["--approve", parked["plan"].as_str().unwrap()]).expect(0);
    assert_eq!(world.far(), expected(&[("v1", &world.commits[0])]));
    // A pass that fails does not take the agreement back.
    world.gitlab.server().on(When::any().times(3), Effect::Answer(Reply::json(502, &json!({}))));
    world.program.sync(&[]).expect(1);
    world.put_far("more", FakeTag::lightweight(&world.commits[1]));
    world.program.sync(&[]).expect(0);
    assert_eq!(world.far().len(), 1);
}

#[test]
fn a_first_exact_pass_that_could_do_nothing_was_none() {
    let world = World::new(r#"policy = "exact""#, "");
    world.tag("v1", 0);
    world.put_far("v1", FakeTag::lightweight(&world.commits[1]));
    world.gitlab.change(|gitlab| gitlab.tokens.insert("secret".into(), Token::of_level(REPORTER)));
    world.program.sync(&[]).expect(3);
    world.gitlab.change(|gitlab| gitlab.tokens.insert("secret".into(), Token::of_level(40)));
    let parked = world.program.sync(&[]).expect(3).remote();
    assert_eq!((&parked["held"][0]["verdict"], world.writes()), (&json!("parked"), 0));
}

#[test]
fn the_token_is_in_no_output_and_in_no_file() {
    let world = World::new("", "");
    let token = "glpat-canary-0123456789";
    std::fs::write(world.program.path("token"), token).unwrap();
    world.gitlab.change(|gitlab| gitlab.tokens.insert(token.into(), Token::of_level(40)));
    world.tag("v1", 0);
    // The server throws the credential back at us.
    let echo = Reply::json(403, &json!({"message": format!("403 Forbidden for Bearer {token}")}));
    world.gitlab.server().on(When::method("POST").once(), Effect::Answer(echo));
    for arguments in [&["--sync", "-vv"][..], &["plan", "-vv"], &["check"], &["--sync", "-vv", "--format", "json"]] {
        let ended = world.program.run(arguments);
        assert!(!ended.stdout.contains("canary") && !ended.stderr.contains("canary"), "{ended:?}");
    }
    for entry in std::fs::read_dir(world.program.path("state")).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        assert!(!bytes.windows(6).any(|window| window == b"canary"));
    }
}
