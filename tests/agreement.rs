//! What one pass found in agreement, the next one does not take apart again; and whatever differs, it does.

mod support;

use std::time::{Duration, Instant};

use support::git_http::GitServer;
use support::mirror::{Mirror, count, counts};
use support::program::ended;
use support::server::{Effect, Gate, When};

/// A mirror whose latest pass found nothing but agreement, and none of whose tags we wrote just now.
fn agreed() -> Mirror {
    let mirror = Mirror::new();
    mirror.tag_many(6);
    let far = mirror.server.repository.path().to_str().expect("it is a text");
    mirror.source.git(&["push", "--quiet", far, "refs/tags/*:refs/tags/*"]);
    mirror.server.repository.tag("theirs", &mirror.commits[0]);
    mirror.sync().expect(0);
    mirror.sync().expect(0);
    mirror
}

/// Makes the records unreadable, so that it shows whether a pass reads them.
fn damage_records(mirror: &Mirror) {
    let ledger = rusqlite::Connection::open(mirror.program.path("state/ledger.db")).expect("the ledger is there");
    ledger.execute("UPDATE records SET checksum = checksum + 1", []).expect("a table of the ledger");
}

fn in_agreement() -> Vec<(String, u64)> {
    [count("in_sync", 6), count("unmanaged", 1)].concat()
}

#[test]
fn records_are_read_only_where_something_differs() {
    let mirror = agreed();
    damage_records(&mirror);
    mirror.server.server().forget();
    for _ in 0..2 {
        let remote = mirror.sync().expect(0).remote();
        assert_eq!((counts(&remote), remote["requests"].as_u64()), (in_agreement(), Some(1)), "{remote}");
        let remote = mirror.program.plan(&[]).expect(0).remote();
        assert_eq!((counts(&remote), remote["requests"].as_u64()), (in_agreement(), Some(1)), "{remote}");
    }
    // Names are asked for, which the counts do not tell.
    mirror.program.plan(&["-v"]).expect(1);
    mirror.source.tag("v0", &mirror.commits[2]);
    let error = mirror.sync().expect(1).remote()["error"].to_string();
    assert!(error.contains("damaged"), "{error}");
    // What failed is no agreement, although both sides are as before.
    mirror.source.tag("v0", &mirror.commits[0]);
    mirror.sync().expect(1);
}

#[test]
fn a_pass_that_changed_something_leaves_an_agreement_too() {
    let mirror = agreed();
    mirror.source.tag("new", &mirror.commits[0]);
    mirror.source.tag("v0", &mirror.commits[2]);
    mirror.source.delete_tag("v2");
    mirror.server.repository.tag("zz", &mirror.commits[0]);
    mirror.sync().expect(0);
    damage_records(&mirror);
    let remote = mirror.sync().expect(0).remote();
    assert_eq!(counts(&remote), [count("in_sync", 6), count("unmanaged", 2)].concat(), "{remote}");
    // What was refused is none.
    let mirror = agreed();
    mirror.server.hook("update", "test \"$1\" != refs/tags/new");
    mirror.source.tag("new", &mirror.commits[0]);
    mirror.sync().expect(1);
    damage_records(&mirror);
    mirror.sync().expect(1);
}

#[test]
fn a_log_that_is_left_is_read_by_all_and_folded_by_whoever_writes() {
    let mirror = agreed();
    let log = mirror.program.path("state/ledger.db-wal");
    mirror.sync().expect(0);
    assert!(log.exists(), "nothing but a pass was written");
    let last = |mirror: &Mirror| {
        let status = mirror.program.run(&["status", "--format", "json"]).expect(0).json();
        status["pairs"][0]["last_success"].as_str().expect("there was one").to_owned()
    };
    let before = last(&mirror);
    mirror.sync().expect(0);
    assert!(last(&mirror) > before && log.exists());
    mirror.source.tag("new", &mirror.commits[0]);
    mirror.sync().expect(0);
    assert!(!log.exists(), "a record was written");
    mirror.sync().expect(0);
    // It is nothing without its ledger, which is no reason to begin another one in its place.
    std::fs::remove_file(mirror.program.path("state/ledger.db")).expect("the ledger is there");
    assert!(mirror.sync().expect(1).stderr.contains("its log"));
    std::fs::remove_file(&log).expect("the log is there");
    assert_eq!(counts(&mirror.sync().expect(0).remote()), [count("adopt", 7), count("unmanaged", 1)].concat());
}

#[test]
fn every_difference_is_seen() {
    type Change = fn(&Mirror);
    type Counts = &'static [(&'static str, u64)];
    let changes: [(&str, Change, Counts); 9] = [
        ("a new tag", |mirror| mirror.source.tag("new", &mirror.commits[0]), &[("create", 1), ("in_sync", 6)]),
        ("a moved tag", |mirror| mirror.source.tag("v0", &mirror.commits[2]), &[("in_sync", 5), ("move", 1)]),
        ("a dropped tag", |mirror| drop(mirror.source.git(&["tag", "-d", "v0"])), &[("delete", 1), ("in_sync", 5)]),
        (
            "a tag annotated anew",
            |mirror| drop(mirror.source.git(&["tag", "-f", "-a", "-m", "other", "v1", &mirror.commits[1]])),
            &[("in_sync", 5), ("move", 1)],
        ),
        (
            "a tag lost on the remote",
            |mirror| drop(mirror.server.repository.git(&["tag", "-d", "v0"])),
            &[("create", 1), ("in_sync", 5)],
        ),
        (
            "a tag moved on the remote",
            |mirror| mirror.server.repository.tag("v0", &mirror.commits[2]),
            &[("in_sync", 5), ("move", 1)],
        ),
        (
            "a foreign tag",
            |mirror| mirror.server.repository.tag("foreign", &mirror.commits[0]),
            &[("in_sync", 6), ("unmanaged", 2)],
        ),
        (
            "a narrower selection",
            |mirror| mirror.configure(&mirror.server.url(), r#"tags = ["v*", "!v5"]"#, ""),
            &[("forget", 1), ("in_sync", 5)],
        ),
        (
            "another policy",
            |mirror| mirror.configure(&mirror.server.url(), r#"policy = "exact""#, ""),
            &[("held", 1), ("in_sync", 6)],
        ),
    ];
    for (what, change, expected) in changes {
        let mirror = agreed();
        assert_eq!(counts(&mirror.sync().expect(0).remote()), in_agreement());
        change(&mirror);
        let remote = mirror.sync().json()["jobs"][0]["remotes"][0].clone();
        let mut found = counts(&remote);
        found.retain(|(name, n)| name != "unmanaged" || *n > 1);
        let expected: Vec<_> = expected.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect();
        assert_eq!(found, expected, "{what}: {remote}");
    }
}

/// Takes all objects out of a repository, or puts them back, so that it shows whether a pass looks at any.
fn hide_objects(mirror: &Mirror, hidden: bool) {
    let (objects, aside) = (mirror.source.path().join("objects"), mirror.source.path().join("objects-aside"));
    if hidden {
        std::fs::rename(&objects, &aside).expect("the folder can be renamed");
        std::fs::create_dir(&objects).expect("a folder can be made");
    } else {
        std::fs::remove_dir(&objects).expect("nothing was put there");
        std::fs::rename(&aside, &objects).expect("the folder can be renamed");
    }
}

#[test]
fn a_source_whose_refs_are_as_they_were_is_not_read() {
    let mirror = agreed();
    // Each with its own file first, then all in one; and of what a pass wrote itself.
    let arrange: [fn(&Mirror); 3] = [
        |_| {},
        |mirror| drop(mirror.source.git(&["pack-refs", "--all"])),
        |mirror| mirror.source.tag("v0", &mirror.commits[1]),
    ];
    for arrange in arrange {
        arrange(&mirror);
        mirror.sync().expect(0);
        hide_objects(&mirror, true);
        let remote = mirror.sync().expect(0).remote();
        assert_eq!((counts(&remote), remote["requests"].as_u64()), (in_agreement(), Some(1)), "{remote}");
        assert_eq!(counts(&mirror.program.plan(&[]).expect(0).remote()), in_agreement());
        hide_objects(&mirror, false);
    }
    hide_objects(&mirror, true);
    std::fs::write(mirror.source.path().join("refs/tags/new"), format!("{}\n", mirror.commits[0])).expect("a ref");
    assert!(counts(&mirror.sync().expect(3).remote()).contains(&("held".to_owned(), 7)), "now all are looked at");
}

#[test]
fn a_tag_that_leads_to_another_ref_is_followed_each_time() {
    let mirror = agreed();
    mirror.source.git(&["symbolic-ref", "refs/tags/tip", "refs/heads/main"]);
    mirror.sync().expect(0);
    mirror.sync().expect(0);
    let tip = mirror.server.tags()["tip"].clone();
    mirror.source.git(&["update-ref", "refs/heads/main", &mirror.commits[0]]);
    mirror.sync().expect(0);
    assert_ne!(mirror.server.tags()["tip"], tip);
    assert_eq!(mirror.server.tags()["tip"], mirror.source.git(&["rev-parse", "refs/tags/tip"]).trim());
}

#[test]
fn another_repository_in_the_same_place_is_no_agreement() {
    let mirror = agreed();
    mirror.sync().expect(0);
    let (path, aside) = (mirror.source.path().to_owned(), mirror.source.path().with_extension("aside"));
    let copy = mirror.source.clone_of(&["--mirror"]);
    std::fs::rename(&path, &aside).expect("the folder can be renamed");
    std::fs::rename(copy.path(), &path).expect("the folder can be renamed");
    let remote = mirror.sync().expect(0).remote();
    assert!(remote["notes"].to_string().contains("identity changed"), "{remote}");
    assert_eq!(counts(&remote), [count("adopt", 6), count("unmanaged", 1)].concat());
    std::fs::remove_dir_all(&aside).expect("the folder can be removed");
}

#[test]
fn a_remote_that_hangs_keeps_no_other_from_its_pass() {
    let mirror = agreed();
    let second = GitServer::start(mirror.source.clone_of(&["--bare"]));
    for server in [&mirror.server, &second] {
        server.repository.git(&["config", "http.receivepack", "true"]);
        server.change(|manners| manners.password = None);
    }
    mirror.program.configure(&format!(
        "[repository.core]\npath = \"{}\"\n[remote.far]\nprovider = \"git\"\nurl = \"{}\"\n\
         [remote.second]\nprovider = \"git\"\nurl = \"{}\"\n\
         [job.core]\nfrom = \"core\"\nto = [\"far\", \"second\"]\npolicy = \"mirror\"\n",
        mirror.source.path().display(),
        mirror.server.url(),
        second.url()
    ));
    mirror.sync().expect(0);
    mirror.sync().expect(0);

    let gate = Gate::closed();
    mirror.server.server().on(When::any(), Effect::Hang(gate.clone()));
    mirror.source.tag("new", &mirror.commits[0]);
    let pass = mirror.program.start(&["--sync"]);
    let until = Instant::now() + Duration::from_secs(60);
    while !second.tags().contains_key("new") {
        assert!(Instant::now() < until, "the second remote waits for the first");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(!mirror.server.tags().contains_key("new"));
    gate.open();
    ended(pass).expect(0);
    assert!(mirror.server.tags().contains_key("new"));
}
