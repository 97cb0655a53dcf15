//! Remotes that lie, lag, fail or are written to by others, in the middle of a pass.

use super::*;

#[test]
fn a_remote_that_cannot_be_trusted_is_unknown_and_the_other_job_is_done() {
    type Spoil = fn(&FakeGitlab);
    let unusable: [(&str, Spoil); 9] = [
        ("expired token", |gitlab| gitlab.change(|world| world.tokens.clear())),
        ("wrong project", |gitlab| gitlab.change(|world| world.project("infra/core").path = "infra/other".into())),
        ("login page", |gitlab| gitlab.server().on(When::any().path("/tags"), Effect::Answer(Reply::html(200)))),
        ("cut listing", |gitlab| gitlab.server().on(When::any().path("/tags"), Effect::Cut(10))),
        ("pages that repeat", |gitlab| {
            gitlab.change(|world| {
                world.quirks.no_keyset = true;
                world.quirks.repeats_first_page = true;
                for at in 0..150 {
                    world.project("infra/core").tags.insert(format!("t{at}"), FakeTag::lightweight(&commit_id(1)));
                }
            });
        }),
        ("a body without end", |gitlab| gitlab.server().on(When::any().path("/tags"), Effect::Endless)),
        ("gzip bomb", |gitlab| {
            gitlab.server().on(When::any().path("/tags"), Effect::Answer(Reply::gzip_bomb(1 << 30)));
        }),
        ("redirect", |gitlab| {
            gitlab
                .server()
                .on(When::any().path("/tags"), Effect::Answer(Reply::redirect(302, "http://127.0.0.1:9/login")));
        }),
        ("no server", |gitlab| gitlab.server().on(When::any(), Effect::DropBefore)),
    ];
    for (what, spoil) in unusable {
        let (healthy, broken) = (World::new("", ""), World::new("", ""));
        healthy.tag("v1", 0);
        broken.tag("v1", 0);
        broken.put_far("ours-by-nobody", FakeTag::lightweight(&broken.commits[0]));
        spoil(&broken.gitlab);
        let token = healthy.program.path("token");
        let remote = |name: &str, gitlab: &FakeGitlab| {
            format!(
                "[remote.{name}]\nprovider = \"gitlab\"\nurl = \"{}\"\nproject = \"infra/core\"\ntimeout = \"2s\"\ntoken = {{ file = \"{}\" }}\n",
                gitlab.url(),
                token.display()
            )
        };
        healthy.program.configure(&format!(
            "[repository.core]\npath = \"{}\"\n{}{}[job.broken]\nfrom = \"core\"\nto = [\"broken\", \"healthy\"]\npolicy = \"mirror\"\n",
            healthy.repository.path().display(),
            remote("broken", &broken.gitlab),
            remote("healthy", &healthy.gitlab),
        ));
        let ended = healthy.program.sync(&[]);
        let json = ended.json();
        let remotes = &json["jobs"][0]["remotes"];
        // What never was there is for a person to make.
        let nowhere = remotes[0]["error"].as_str().is_some_and(|error| error.contains("404 Project Not Found"));
        let (state, code) = if nowhere { ("held", 3) } else { ("unknown", 1) };
        assert_eq!((remotes[0]["state"].as_str(), ended.code), (Some(state), Some(code)), "{what}: {json}");
        assert!(!remotes[0]["error"].as_str().unwrap().is_empty(), "{what}");
        assert_eq!(remotes[1]["state"], "changed", "{what}: {json}");
        assert_eq!(broken.writes(), 0, "{what}");
        assert_eq!(healthy.far().len(), 1, "{what}");
    }
}

#[test]
fn somebody_elses_write_between_list_and_write_survives() {
    let world = World::new("", "");
    let [one, two] = &world.commits.clone();
    for name in ["gone", "moved", "free"] {
        world.tag(name, 0);
    }
    world.repository.delete_tag("free");
    world.program.sync(&[]).expect(0);
    world.repository.delete_tag("gone");
    world.tag("moved", 1);
    world.tag("free", 0);
    let theirs = "1".repeat(40);
    let seize = theirs.clone();
    // Just before the first look or write that follows the listing, another client takes all three names.
    world.gitlab.adversary(When::any().after(1).once(), move |gitlab| {
        for name in ["gone", "moved", "free"] {
            gitlab.project("infra/core").tags.insert(name.into(), FakeTag::lightweight(&seize));
        }
    });
    let ended = world.program.sync(&[]);
    assert_eq!(ended.code, Some(1), "{}\n{}", ended.stdout, ended.stderr);
    assert_eq!(world.far(), expected(&[("free", &theirs), ("gone", &theirs), ("moved", &theirs)]), "{one} {two}");
}

#[test]
fn a_lost_reply_is_read_back_and_never_sent_twice() {
    let world = World::new("", "");
    world.gitlab.server().on(When::method("POST").once(), Effect::DropAfter);
    world.tag("v1", 0);
    let done = world.program.sync(&[]).expect(0).remote();
    assert_eq!((&done["changes"][0]["outcome"], world.writes()), (&json!("done"), 1));
    // It is ours: the next deletion reaches it.
    world.tag("v2", 0);
    world.repository.delete_tag("v1");
    world.program.sync(&[]).expect(0);
    assert_eq!(world.far().len(), 1);
}

#[test]
fn a_move_whose_create_fails_is_put_back() {
    let world = World::new("", "");
    world.tag("v1", 0);
    world.program.sync(&[]).expect(0);
    world.tag("v1", 1);
    world
        .gitlab
        .server()
        .on(When::method("POST").once(), Effect::Answer(Reply::json(403, &json!({"message": "403 Forbidden"}))));
    let ended = world.program.sync(&[]).expect(3).remote();
    assert_eq!((&ended["changes"][0]["outcome"], &ended["counts"]["held"]), (&json!("restored"), &json!(1)));
    assert_eq!(world.far(), expected(&[("v1", &world.commits[0])]));
    let writes = world.writes();
    assert_eq!(world.program.sync(&[]).expect(3).remote()["held"][0]["verdict"], "refused");
    assert_eq!(world.writes(), writes);
}

#[test]
fn a_failed_restoration_of_the_pin_does_not_pin_the_intruder() {
    let world = World::new(r#"immutable = ["v*"]"#, "");
    world.tag("v1", 0);
    world.program.sync(&[]).expect(0);
    world.put_far("v1", FakeTag::lightweight(&world.commits[1]));
    let refusal = Reply::json(403, &json!({"message": "403 Forbidden"}));
    world.gitlab.server().on(When::method("POST").once(), Effect::Answer(refusal));
    world.program.sync(&[]).expect(3);
    // Dropped from the source, the intruder's value is not ours to delete.
    world.tag("other", 0);
    world.repository.delete_tag("v1");
    let held = world.program.sync(&[]).expect(3).remote();
    assert_eq!(held["held"][0]["record"], json!(world.commits[0]));
    assert!(world.far().contains(&("v1".to_owned(), world.commits[1].clone())));
}

#[test]
fn a_lagging_replica_in_the_gap_loses_nothing() {
    let world = World::new("", "");
    world.tag("v1", 0);
    world.program.sync(&[]).expect(0);
    world.tag("v1", 1);
    // The delete is done and the create fails; reads still show the tags from before for a while.
    let lag = world.gitlab.state();
    world
        .gitlab
        .server()
        .on(When::method("DELETE").once(), Effect::before(move |_| lag.change(|gitlab| gitlab.quirks.stale_reads = 1)));
    world.gitlab.server().on(When::method("POST").once(), Effect::Answer(Reply::json(500, &json!({}))));
    let lost = world.program.sync(&[]).expect(3).remote();
    assert_eq!(lost["changes"][0]["outcome"], "lost", "{lost}");
    world.gitlab.change(|gitlab| gitlab.quirks.stale_reads = 0);
    // Even when the source drops the name meanwhile, the gap is closed first, and the deletion is a plan of its own.
    world.tag("other", 0);
    world.repository.delete_tag("v1");
    let next = world.program.sync(&[]).expect(0).remote();
    let actions: Vec<_> = next["changes"].as_array().unwrap().iter().map(|change| change["action"].clone()).collect();
    assert_eq!(actions, ["move", "create", "delete"], "{next}");
    assert_eq!(world.far(), expected(&[("other", &world.commits[0])]));
}

#[test]
fn a_release_that_appears_after_the_listing_survives() {
    let world = World::new("", "");
    world.tag_many(4);
    world.program.sync(&[]).expect(0);
    world.repository.delete_tag("v01");
    let commit = world.commits[0].clone();
    // Between the listing and the look before the deletion somebody publishes a Release.
    world.gitlab.adversary(When::method("GET").path_end("/tags/v01"), move |gitlab| {
        gitlab.project("infra/core").tags.insert("v01".into(), FakeTag::lightweight(&commit).with_release("notes"));
    });
    world.program.sync(&[]).expect(1);
    assert!(world.gitlab.tags("infra/core")["v01"].release.is_some());
}

#[test]
fn a_name_that_takes_the_place_of_another_inherits_its_record() {
    let world = World::new("", r#"strip_prefix = "v""#);
    world.tag("v1", 0);
    world.tag("v2", 0);
    world.program.sync(&[]).expect(0);
    world.repository.delete_tag("v1");
    world.tag("1", 1);
    let moved = world.program.sync(&[]).expect(0).remote();
    assert_eq!((&moved["changes"][0]["tag"], &moved["changes"][0]["action"]), (&json!("1"), &json!("move")));
    assert_eq!(world.far(), expected(&[("1", &world.commits[1]), ("2", &world.commits[0])]));
    assert_eq!(world.program.sync(&[]).expect(0).remote()["state"], "in_sync");
}

#[test]
fn a_deletion_asks_the_source_for_every_name_that_means_the_same_there() {
    let world = World::new("", r#"replace = { "+" = "_" }"#);
    world.tag("a+b", 0);
    world.tag("kept", 0);
    world.program.sync(&[]).expect(0);
    world.repository.delete_tag("a+b");
    // After both sides were read, when it is asked who answers, the name comes back under its other spelling.
    let (path, commit) = (world.repository.path().to_owned(), world.commits[0].clone());
    let rename = move |_: &support::server::Request| {
        let mut git = std::process::Command::new("git");
        let status = git.arg("-C").arg(&path).args(["update-ref", "refs/tags/a_b", &commit]).status();
        assert!(status.is_ok_and(|status| status.success()));
    };
    world.gitlab.server().on(When::method("GET").path_end("/projects/infra%2Fcore").once(), Effect::after(rename));
    let kept = world.program.sync(&[]).expect(1).remote();
    assert!(kept["changes"][0]["reason"].as_str().unwrap().contains("has `a_b` again"), "{kept}");
    assert_eq!(world.far().len(), 2);
    world.program.sync(&[]).expect(0);
    assert_eq!(world.far().len(), 2);
}

#[test]
fn a_refused_neighbour_does_not_keep_others_from_a_cleared_place() {
    let world = World::new("", "");
    world.tag("a", 0);
    world.tag("b", 0);
    world.program.sync(&[]).expect(0);
    world.gitlab.change(|gitlab| {
        gitlab.project("infra/core").protected_tags.push(Protection { pattern: "a/b".into(), create_access_level: 0 });
    });
    world.repository.delete_tag("a");
    world.tag("a/b", 0);
    world.tag("a/c", 0);
    world.program.sync(&[]).expect(1);
    assert_eq!(world.far(), expected(&[("a/c", &world.commits[0]), ("b", &world.commits[0])]));
}

#[test]
fn a_remote_that_goes_away_in_mid_pass_is_not_tried_for_every_tag() {
    let world = World::new("", "timeout = \"1s\"\nconcurrency = 1");
    world.tag_many(30);
    world.gitlab.server().on(When::method("POST").after(2), Effect::Answer(Reply::retry_later(3_600)));
    let ended = world.program.sync(&[]).expect(1).remote();
    assert_eq!((&ended["counts"]["create"], &ended["counts"]["failed"]), (&json!(2), &json!(28)));
    assert_eq!(world.gitlab.server().record().count("create"), 3, "one refusal speaks for all");
}

#[test]
fn a_move_to_a_commit_that_is_not_there_never_opens_the_gap() {
    let world = World::new("", "");
    world.tag("v1", 0);
    world.program.sync(&[]).expect(0);
    world
        .gitlab
        .change(|gitlab| gitlab.project("infra/core").commits = Commits::Known([world.commits[0].clone()].into()));
    world.tag("v1", 1);
    world.program.sync(&["--exit-code"]).expect(4);
    assert_eq!((world.far(), world.writes()), (expected(&[("v1", &world.commits[0])]), 1));
}
