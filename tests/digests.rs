//! Names and digests that are remembered from one pass to the next: what an unchanged pass costs, and what nothing may
//! rest on.

mod support;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use support::images::World;
use support::registry::{Quirks, TagDeletes, Wants};

/// Agreement over this many tags, whose digests are all remembered.
fn in_sync(count: usize, remote: &str) -> World {
    let world = World::new(remote);
    (0..count).for_each(|at| world.repository.tag(format!("v{at}"), &world.commits[0]));
    world.sync().expect(0);
    world
}

/// The same in a registry that wants no login, so that a process on its own sends nothing but what the pass takes.
fn open_in_sync(count: usize, quirks: Quirks, policy: &str) -> World {
    let world = World::new("");
    world.configure("", policy);
    world.registry.change(|registry| {
        registry.wants = Wants::Nothing;
        registry.quirks = quirks;
    });
    (0..count).for_each(|at| world.repository.tag(format!("v{at}"), &world.commits[0]));
    world.sync().expect(0);
    world
}

#[test]
fn an_unchanged_pass_is_one_request_and_once_an_hour_some_more() {
    // A registry that shows where a listing ends, one that does not, and one that knows no pages.
    for (quirks, to_the_end) in [
        (Quirks { page_cap: 30, ..Quirks::default() }, 2),
        (Quirks { no_link: true, ..Quirks::default() }, 2),
        (Quirks { no_paging: true, no_link: true, ..Quirks::default() }, 2),
    ] {
        let pages = if quirks.no_link { 1 } else { 2 };
        let world = open_in_sync(40, quirks, "mirror");
        let unchanged = |world: &World| {
            let (lists, heads, remote) = world.count_sync();
            assert_eq!((remote["state"].as_str(), remote["counts"]["in_sync"].as_u64()), (Some("in_sync"), Some(40)));
            assert_eq!(remote["requests"].as_u64(), Some(lists as u64 + heads as u64), "{remote}");
            (lists, heads)
        };
        for _ in 0..3 {
            assert_eq!(unchanged(&world), (pages, 0));
        }
        world.age(Duration::from_secs(3500));
        assert_eq!(unchanged(&world), (pages, 0));
        // The end again, and 40 tags with the one that they are read from.
        world.age(Duration::from_secs(100));
        assert_eq!(unchanged(&world), (to_the_end, 41));
        assert_eq!(unchanged(&world), (pages, 0));
        assert_eq!(world.registry.writes().len(), 40);
    }
}

/// A registry that never gives more than these many names at once, and says nothing of the rest.
fn silent(page_cap: usize) -> Quirks {
    Quirks { no_link: true, page_cap, ..Quirks::default() }
}

#[test]
fn a_name_behind_a_silent_page_is_seen_within_the_hour() {
    // Two images of commits and three tags fill the page.
    let world = open_in_sync(3, silent(5), "mirror");
    world.registry.change(|registry| registry.tag("z", 1));
    let unmanaged = |remote: &serde_json::Value| remote["counts"]["unmanaged"].as_u64();
    let (lists, _, remote) = world.count_sync();
    assert_eq!((lists, unmanaged(&remote)), (1, Some(0)), "{remote}");
    world.age(Duration::from_secs(3600));
    let (lists, _, remote) = world.count_sync();
    assert_eq!((lists, unmanaged(&remote)), (3, Some(1)), "{remote}");
    // Whatever is new on a page that is shown is seen at once, with all that it pushed behind it.
    world.registry.change(|registry| registry.tag("a", 1));
    let (lists, _, remote) = world.count_sync();
    assert_eq!((lists, unmanaged(&remote), remote["state"].as_str()), (3, Some(2), Some("in_sync")), "{remote}");
    // Two pages are remembered as well as one.
    assert_eq!(world.count_sync().0, 2);
    assert_eq!(world.registry.writes().len(), 3);
}

#[test]
fn nothing_is_written_over_a_name_behind_a_silent_page() {
    let world = open_in_sync(3, silent(5), "mirror");
    world.registry.change(|registry| registry.tag("z", 1));
    world.repository.tag("z", &world.commits[0]);
    let (_, _, remote) = world.count_sync();
    assert_eq!(remote["held"][0]["tag"].as_str(), Some("z"), "{remote}");
    assert_eq!((world.registry.writes().len(), world.far()["z"]), (3, 1));
    // While something is open, who answers is asked and the end is proven with every pass, each once.
    for _ in 0..2 {
        assert_eq!(world.count_sync().0, 1 + 3);
        assert_eq!(world.names(), None);
    }
}

#[test]
fn an_image_behind_a_silent_page_is_found_by_what_waits_for_it() {
    let world = open_in_sync(0, silent(5), "mirror");
    ["a0", "a1", "a2"].iter().for_each(|tag| world.repository.tag(tag, &world.commits[0]));
    world.sync().expect(0);
    assert_eq!(world.count_sync().0, 1);
    // One whose image comes behind the page.
    let mut late = (0..).map(|at| world.repository.commit(&format!("late {at}")));
    let late = late.find(|late| world.commits.iter().all(|commit| commit < late)).expect("there is always one more");
    world.registry.change(|registry| registry.tag(&format!("sha-{late}"), 2));
    world.repository.tag("a3", &late);
    let (_, _, remote) = world.count_sync();
    assert_eq!(remote["counts"]["create"].as_u64(), Some(1), "{remote}");
    assert_eq!(world.far()["a3"], 2);
}

#[test]
fn no_stray_behind_a_silent_page_slips_through_a_first_exact_pass() {
    let world = open_in_sync(3, silent(5), "mirror");
    assert!(world.names().is_some());
    world.registry.change(|registry| registry.tag("z", 1));
    world.configure("deletes = \"tag\"", "exact");
    let (_, _, remote) = world.count_sync();
    assert_eq!(remote["held"][0]["tag"].as_str(), Some("z"), "{remote}");
    assert!(!remote["plan"].is_null(), "{remote}");
    assert_eq!(world.far()["z"], 1);
}

#[test]
fn own_writes_keep_the_end_in_mind_and_other_hands_do_not() {
    let world = open_in_sync(3, silent(100), "mirror");
    world.repository.tag("v9", &world.commits[1]);
    assert_eq!(world.count_sync().2["counts"]["create"].as_u64(), Some(1));
    assert_eq!(world.count_sync().0, 1);
    world.registry.change(|registry| registry.tag("mine", 1));
    assert_eq!(world.count_sync().0, 2);
    assert_eq!(world.count_sync().0, 1);
    world.registry.change(|registry| registry.tags.remove("v9"));
    let (_, _, remote) = world.count_sync();
    assert_eq!(remote["changes"][0]["tag"].as_str(), None, "just created, so that is a replica's delay: {remote}");
    assert_eq!(remote["waiting"][0]["tag"].as_str(), Some("v9"), "{remote}");
}

#[test]
fn a_tag_that_somebody_else_moved_is_seen_within_the_hour() {
    let world = in_sync(3, "");
    // Everything had its turn just now, except what is confirmed first.
    world.registry.change(|registry| registry.tag("v2", 1));
    world.age(Duration::from_secs(3600));
    let (_, _, remote) = world.count_sync();
    assert_eq!(
        (remote["changes"][0]["tag"].as_str(), remote["changes"][0]["reason"].as_str()),
        (Some("v2"), Some("drift"))
    );
    assert_eq!(world.far()["v2"], 0);
}

#[test]
fn nothing_but_agreement_rests_on_what_is_remembered() {
    let world = in_sync(3, "");
    // Somebody was faster on the remote, and nobody has looked at it since.
    world.registry.change(|registry| registry.tag("v1", 1));
    world.repository.tag("v1", &world.commits[1]);
    let writes = world.registry.writes().len();
    let (_, _, remote) = world.count_sync();
    assert_eq!(
        (remote["changes"].as_array().map(Vec::len), remote["counts"]["in_sync"].as_u64()),
        (Some(0), Some(2)),
        "{remote}"
    );
    assert_eq!((world.registry.writes().len(), world.far()["v1"]), (writes, 1));
    // The image of a commit was pushed anew since it was looked at.
    let image = format!("sha-{}", world.commits[1]);
    world.registry.change(|registry| registry.tag(&image, 2));
    world.repository.tag("v2", &world.commits[1]);
    world.sync().expect(0);
    assert_eq!(world.far()["v2"], 2);
}

#[test]
fn a_held_tag_is_looked_at_with_every_pass() {
    let world = in_sync(3, "");
    world.registry.change(|registry| registry.tag("mine", 1));
    world.repository.tag("mine", &world.commits[0]);
    for _ in 0..2 {
        let (_, heads, remote) = world.count_sync();
        assert_eq!(remote["held"][0]["tag"].as_str(), Some("mine"), "{remote}");
        assert!((1..=2).contains(&heads), "{heads}");
    }
    // It heals at once when it is put right there.
    world.registry.change(|registry| registry.tag("mine", 0));
    assert_eq!(world.count_sync().2["counts"]["adopt"], 1);
}

#[test]
fn what_is_not_ours_is_asked_for_only_where_it_could_be_deleted() {
    let world = in_sync(2, "");
    let strangers: BTreeSet<String> = (0..20).map(|at| format!("other-{at}")).collect();
    world.registry.change(|registry| strangers.iter().for_each(|name| registry.tag(name, 1)));
    let (_, heads, remote) = world.count_sync();
    assert_eq!((heads, remote["counts"]["unmanaged"].as_u64()), (0, Some(20)), "{remote}");
    world.configure("", "exact");
    let (_, heads, remote) = world.count_sync();
    assert!((20..=22).contains(&heads), "{heads}");
    assert_eq!(remote["held"].as_array().map(Vec::len), Some(20), "{remote}");
}

#[test]
fn a_plan_remembers_nothing() {
    let world = in_sync(5, "");
    world.age(Duration::from_secs(3600));
    let before = world.sightings();
    for _ in 0..2 {
        world.registry.server().forget();
        world.program.plan(&[]).expect(0);
        assert_eq!(world.registry.server().record().count("HEAD tag"), 6);
    }
    assert_eq!(world.sightings(), before);
}

fn damage(ledger: &Path, sql: &str) {
    let ledger = rusqlite::Connection::open(ledger).expect("what a test needs is there");
    ledger.execute_batch(sql).expect("what a test needs is there");
}

#[test]
fn a_digest_that_was_damaged_is_asked_for_again() {
    let world = in_sync(5, "");
    let ledger = world.program.path("state").join("ledger.db");
    for sql in [
        "UPDATE digests SET confirmed = confirmed + 1",
        "UPDATE digests SET digest = replace(digest, 'a', 'b')",
        "UPDATE digests SET digest = 'none'",
        "UPDATE digests SET checksum = 0",
        "DELETE FROM digests",
    ] {
        damage(&ledger, sql);
        let (_, heads, remote) = world.count_sync();
        assert_eq!((heads, remote["state"].as_str()), (6, Some("in_sync")), "{sql}: {remote}");
        assert_eq!(world.sightings().len(), 6, "{sql}");
    }
    assert_eq!(world.registry.writes().len(), 5);
}

#[test]
fn an_end_that_was_damaged_is_proven_again() {
    let world = open_in_sync(5, silent(100), "mirror");
    let ledger = world.program.path("state").join("ledger.db");
    for sql in [
        "UPDATE names SET proven = proven + 1",
        "UPDATE names SET fingerprint = fingerprint || '0'",
        "UPDATE names SET checksum = 0",
        "DELETE FROM names",
    ] {
        assert_eq!(world.count_sync().0, 1, "{sql}");
        damage(&ledger, sql);
        assert_eq!(world.count_sync().0, 2, "{sql}");
    }
}

#[test]
fn another_image_is_another_matter() {
    let world = in_sync(5, "");
    world.registry.change(|registry| registry.image = "team/other".to_owned());
    world.registry.change(|registry| registry.tag("v3", 1));
    world.configure("", "mirror");
    let (_, heads, remote) = world.count_sync();
    assert!(heads >= 6, "{heads}: {remote}");
    assert_eq!(remote["held"][0]["tag"].as_str(), Some("v3"), "{remote}");
}

#[test]
fn a_delete_knows_the_siblings_of_now() {
    let world = in_sync(2, "deletes = \"tag\"");
    world.repository.tag("w1", &world.commits[1]);
    world.sync().expect(0);
    // Since they were looked at, another tag came to the manifest, and one that nobody ever asked about.
    world.registry.change(|registry| {
        registry.tag("w1", 0);
        registry.tag("stranger", 0);
        registry.quirks.tag_deletes = TagDeletes::UntagsAll;
    });
    world.repository.delete_tag("v1");
    let remote = world.program.sync(&[]).remote();
    assert!(remote["changes"].to_string().contains("took other tags"), "{remote}");
    assert_eq!(world.far().into_keys().collect::<Vec<_>>(), ["stranger", "v0", "w1"]);
}

#[test]
fn what_is_gone_is_forgotten() {
    let world = in_sync(3, "deletes = \"tag\"");
    world.repository.delete_tag("v1");
    world.sync().expect(0);
    world.registry.change(|registry| registry.tags.remove("v2"));
    world.repository.delete_tag("v2");
    // A replica may still show less than there is; what counts here is that the listing has it no more.
    world.sync().expect(4);
    let known: Vec<String> = world.sightings().into_keys().map(|name| name.to_string()).collect();
    assert_eq!(known, [format!("sha-{}", world.commits[0]), "v0".to_owned()]);
}
