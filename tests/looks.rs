//! Looks that many creates in a registry share: what they save, and that none of them lets a tag be overwritten.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value as Json, json};
use support::images::World;
use support::registry::{Quirks, Wants};
use support::server::{Effect, Record, Reply, When};

/// How many tags a pass creates.
const MANY: usize = 40;

/// Longer than a shared look counts, by far.
const LONG: Duration = Duration::from_millis(300);

/// A repository with so many tags, and a registry that has none of them and wants no login.
fn world(remote: &str, quirks: Quirks) -> World {
    let world = World::new(remote);
    world.registry.change(|registry| {
        registry.wants = Wants::Nothing;
        registry.quirks = quirks;
    });
    tags().for_each(|tag| world.repository.tag(tag, &world.commits[0]));
    world
}

/// Before and behind what the image has already.
fn tags() -> impl Iterator<Item = String> {
    let half = MANY / 2;
    (0..half).map(|at| format!("a{at:02}")).chain((half..MANY).map(|at| format!("v{at}")))
}

/// A pass over all tags, of which somebody else made these in between, and what reached the registry.
fn pass(world: &World, theirs: &[&str]) -> Record {
    world.registry.server().forget();
    let ended = world.program.sync(&[]);
    let remote = ended.remote();
    for change in remote["changes"].as_array().expect("a report has changes") {
        let is_theirs = theirs.iter().any(|tag| change["name"] == json!(tag));
        let wanted = if is_theirs { "rejected" } else { "done" };
        assert_eq!(change["outcome"], wanted, "{change}");
    }
    let far = world.far();
    assert_eq!((far.len(), remote["changes"].as_array().map(Vec::len)), (MANY, Some(MANY)), "{remote}");
    for (tag, image) in far {
        assert_eq!(image, usize::from(theirs.contains(&tag.as_str())), "{tag}");
    }
    let written: Vec<String> = world.registry.writes().into_iter().map(|write| write.reference).collect();
    assert!(!theirs.iter().any(|tag| written.iter().any(|name| name == tag)), "{written:?}");
    assert_eq!(written.len(), MANY - theirs.len());
    world.registry.server().record()
}

/// How many tags were looked at by themselves, without the one that names the image.
fn single_looks(record: &Record) -> usize {
    record.count("HEAD tag") - 1
}

/// Somebody else makes this tag just after the `n`-th write, before its answer.
fn made_after(world: &World, n: usize, tag: &'static str) {
    let state = world.registry.state();
    let make = move |_: &support::server::Request| state.change(|registry| registry.tag(tag, 1));
    world.registry.server().on(When::method("PUT").nth(n), Effect::after(make));
}

/// A request for the list of tags, from the first write on.
fn listing_while_writing(world: &World) -> When {
    let begun = Arc::new(AtomicBool::new(false));
    let begin = {
        let begun = Arc::clone(&begun);
        move |_: &support::server::Request| begun.store(true, Ordering::SeqCst)
    };
    world.registry.server().on(When::method("PUT").once(), Effect::before(begin));
    When::method("GET").path_end("/tags/list").matching(move |_| begun.load(Ordering::SeqCst))
}

#[test]
fn many_creates_share_their_looks_within_the_limit_of_requests() {
    for (concurrency, quirks) in [
        (1, Quirks::default()),
        (8, Quirks::default()),
        (8, Quirks { no_link: true, ..Quirks::default() }),
        (8, Quirks { no_paging: true, ..Quirks::default() }),
        (8, Quirks { no_paging: true, reversed: true, ..Quirks::default() }),
        (8, Quirks { no_digest: true, ..Quirks::default() }),
    ] {
        let world = world(&format!("concurrency = {concurrency}"), quirks);
        let record = pass(&world, &[]);
        // The first ones, before anything was written.
        assert!(single_looks(&record) <= concurrency, "{:?}", record.requests);
        assert!(record.most_in_flight <= concurrency, "{}", record.most_in_flight);
        assert_eq!(record.count("GET manifest"), 1, "{:?}", record.requests);
    }
}

#[test]
fn a_name_that_somebody_took_since_the_listing_is_seen() {
    for tag in ["a07", "v31"] {
        let world = world("concurrency = 1", Quirks::default());
        made_after(&world, 1, tag);
        let record = pass(&world, &[tag]);
        // The first one, and what the shared look had found.
        assert_eq!(single_looks(&record), 2, "{:?}", record.requests);
    }
}

#[test]
fn a_name_that_somebody_took_between_two_groups_is_seen() {
    // In the order of names, the fifth write and the twenty-fifth; theirs is the very next name each time.
    for (write, tag) in [(5, "a05"), (25, "v25")] {
        let world = world("concurrency = 1", Quirks::default());
        // The look before this write was sent longer ago, when the next one begins.
        world.registry.server().on(When::method("PUT").nth(write), Effect::Delay(LONG));
        made_after(&world, write, tag);
        pass(&world, &[tag]);
    }
    // With many on their way, those that begin after that write.
    let world = world("", Quirks::default());
    world.registry.server().on(When::method("PUT").after(8), Effect::Delay(LONG));
    made_after(&world, 9, "v39");
    pass(&world, &["v39"]);
}

/// What is odd about a registry with these names.
type Oddity = fn(Vec<String>) -> Quirks;

/// A pass in such a registry, in which somebody else makes two tags; and at least so many are to be looked at by themselves.
fn each_by_itself(what: &str, oddity: Oddity, at_least: usize) {
    let world = world("concurrency = 1", Quirks::default());
    let names = world.registry.tags().into_keys().collect();
    world.registry.change(|registry| registry.quirks = oddity(names));
    for (write, tag) in [(12, "a13"), (30, "v32")] {
        world.registry.server().on(When::method("PUT").nth(write), Effect::Delay(LONG));
        made_after(&world, write, tag);
    }
    let record = pass(&world, &["a13", "v32"]);
    assert!(single_looks(&record) >= at_least, "{what}: {:?}", record.requests);
}

#[test]
fn a_listing_that_lags_is_no_look() {
    each_by_itself("a list of some time ago", |names| Quirks { lists_still: Some(names), ..Quirks::default() }, MANY);
}

#[test]
fn a_listing_with_more_than_a_page_is_no_look() {
    each_by_itself("from the start", |_| Quirks { page_cap: 1, ..Quirks::default() }, MANY);
    // Two names are there before the first create.
    let then = MANY - 12;
    each_by_itself("it comes to be", |_| Quirks { page_cap: 4, ..Quirks::default() }, then);
    each_by_itself("it is not told", |_| Quirks { page_cap: 2, no_link: true, ..Quirks::default() }, then);
    each_by_itself("it is not told, later", |_| Quirks { page_cap: 7, no_link: true, ..Quirks::default() }, then);
}

#[test]
fn a_look_that_fails_is_none() {
    let denied = Reply::json(403, &json!({ "errors": [{ "code": "DENIED" }] }));
    let taken = Reply::json(200, &json!({ "name": "team/app", "tags": ["v1", "v1"] }));
    for answer in [denied, taken, Reply::html(200), Reply::json(200, &Json::Null), Reply::empty(404)] {
        let world = world("concurrency = 1", Quirks::default());
        let listing = listing_while_writing(&world);
        world.registry.server().on(listing, Effect::Answer(answer));
        made_after(&world, 12, "a12");
        let record = pass(&world, &["a12"]);
        assert_eq!(single_looks(&record), MANY, "{:?}", record.requests);
    }
}

#[test]
fn whoever_wants_a_look_while_one_is_under_way_shares_the_next() {
    let world = world("", Quirks::default());
    let listing = listing_while_writing(&world);
    world.registry.server().on(listing, Effect::Delay(LONG));
    world.registry.server().forget();
    let record = pass(&world, &[]);
    assert!(single_looks(&record) <= 8, "{:?}", record.requests);
    // Before the plan 3; then four groups of eight, each of two looks at most: the one under way, and the one for the others.
    assert!(record.count("GET list") <= 3 + 4 * 2 * 2, "{:?}", record.requests);
}
