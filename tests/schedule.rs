//! When jobs run: tables of what crontab(5) means and of the days on which clocks are changed, every time zone of the next
//! decade against `croner`, and what holds whatever the expression.

use std::collections::{BTreeMap, BTreeSet};

use croner::parser::CronParser;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{SignedDuration, Timestamp, ToSpan as _, Zoned};
use proptest::prelude::*;
use tagsyncd::schedule::Schedule;

/// From the program's own data, so that the answers do not depend on the machine.
fn zone(name: &str) -> TimeZone {
    TimeZoneDatabase::bundled().get(name).expect("a known zone")
}

fn at(text: &str) -> Timestamp {
    text.parse::<Zoned>().expect("a time in a zone").timestamp()
}

/// The ticks after a start, as civil times with their offsets.
fn ticks(expression: &str, zone_name: &str, after: &str, count: usize) -> Vec<String> {
    let zone = zone(zone_name);
    let schedule = Schedule::parse(expression, zone.clone()).expect("a schedule");
    let mut from = at(&format!("{after}[{zone_name}]"));
    let mut ticks = Vec::new();
    for _ in 0..count {
        let Some(next) = schedule.next_after(from) else { break };
        ticks.push(next.to_zoned(zone.clone()).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string());
        from = next;
    }
    ticks
}

#[test]
fn the_fields_mean_what_crontab_says() {
    // 2026-11-21 is a Saturday.
    for (expression, expected) in [
        ("*/15 * * * *", ["2026-11-21T12:15", "2026-11-21T12:30"]),
        ("  5\t* * * *  ", ["2026-11-21T12:05", "2026-11-21T13:05"]),
        ("0 0 * * 1", ["2026-11-23T00:00", "2026-11-30T00:00"]),
        ("0 0 * * 0", ["2026-11-22T00:00", "2026-11-29T00:00"]),
        ("0 0 * * 7", ["2026-11-22T00:00", "2026-11-29T00:00"]),
        ("0 0 * * SUN", ["2026-11-22T00:00", "2026-11-29T00:00"]),
        ("0 0 * * 5-7", ["2026-11-22T00:00", "2026-11-27T00:00"]),
        ("0 0 * * fri-sun", ["2026-11-22T00:00", "2026-11-27T00:00"]),
        ("0 0 * * sun-tue", ["2026-11-22T00:00", "2026-11-23T00:00"]),
        ("0 0 * * 6-7/1", ["2026-11-22T00:00", "2026-11-28T00:00"]),
        ("0 0 * * */3", ["2026-11-22T00:00", "2026-11-25T00:00"]),
        ("0 0 13 * 5", ["2026-11-27T00:00", "2026-12-04T00:00"]),
        ("0 0 24 * 5", ["2026-11-24T00:00", "2026-11-27T00:00"]),
        // A first `*` makes both day fields count, whatever follows it.
        ("0 0 */2 * 1", ["2026-11-23T00:00", "2026-12-07T00:00"]),
        ("0 0 23,30 * *", ["2026-11-23T00:00", "2026-11-30T00:00"]),
        ("0 0 1 jan,Mar *", ["2027-01-01T00:00", "2027-03-01T00:00"]),
        ("0 0 1 2-12/5 *", ["2026-12-01T00:00", "2027-02-01T00:00"]),
        ("10-20/10,40 3 * * *", ["2026-11-22T03:10", "2026-11-22T03:20"]),
        ("0 0 29 2 *", ["2028-02-29T00:00", "2032-02-29T00:00"]),
        // Of a day that never comes and one that does, the other remains.
        ("0 0 30 2 1", ["2027-02-01T00:00", "2027-02-08T00:00"]),
        ("@hourly", ["2026-11-21T13:00", "2026-11-21T14:00"]),
        ("@daily", ["2026-11-22T00:00", "2026-11-23T00:00"]),
        (" @midnight ", ["2026-11-22T00:00", "2026-11-23T00:00"]),
        ("@weekly", ["2026-11-22T00:00", "2026-11-29T00:00"]),
        ("@monthly", ["2026-12-01T00:00", "2027-01-01T00:00"]),
        ("@yearly", ["2027-01-01T00:00", "2028-01-01T00:00"]),
        ("@annually", ["2027-01-01T00:00", "2028-01-01T00:00"]),
    ] {
        let found = ticks(expression, "UTC", "2026-11-21T12:00:00", 2);
        assert_eq!(found, expected.map(|tick| format!("{tick}:00+00:00")), "{expression}");
    }
    let found = ticks("*/20 59 23 * * *", "UTC", "2026-11-21T23:59:20.5", 2);
    assert_eq!(found, ["2026-11-21T23:59:40+00:00", "2026-11-22T23:59:00+00:00"]);
}

#[test]
fn no_tick_is_lost_and_none_comes_twice_when_clocks_are_changed() {
    let berlin = "Europe/Berlin";
    for (expression, zone, after, expected) in [
        // 28 March 2027: after 01:59 comes 03:00.
        ("30 2 * * *", berlin, "2027-03-27T12:00", &["2027-03-28T03:00:00+02:00", "2027-03-29T02:30:00+02:00"][..]),
        ("0,30 2 * * *", berlin, "2027-03-27T12:00", &["2027-03-28T03:00:00+02:00", "2027-03-29T02:00:00+02:00"]),
        ("30 2,3 * * *", berlin, "2027-03-27T12:00", &["2027-03-28T03:00:00+02:00", "2027-03-28T03:30:00+02:00"]),
        ("0 2,3 * * *", berlin, "2027-03-27T12:00", &["2027-03-28T03:00:00+02:00", "2027-03-29T02:00:00+02:00"]),
        ("*/30 * * * *", berlin, "2027-03-28T01:00", &["2027-03-28T01:30:00+01:00", "2027-03-28T03:00:00+02:00"]),
        ("30 2 28 3 *", berlin, "2027-03-27T12:00", &["2027-03-28T03:00:00+02:00", "2028-03-28T02:30:00+02:00"]),
        // 25 October 2026: after 02:59 comes 02:00 again.
        ("30 2 * * *", berlin, "2026-10-24T12:00", &["2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"]),
        ("0-30/30 2,14 * * *", berlin, "2026-10-25T02:00", &["2026-10-25T02:30:00+02:00", "2026-10-25T14:00:00+01:00"]),
        (
            "*/30 * * * *",
            berlin,
            "2026-10-25T01:30",
            &[
                "2026-10-25T02:00:00+02:00",
                "2026-10-25T02:30:00+02:00",
                "2026-10-25T02:00:00+01:00",
                "2026-10-25T02:30:00+01:00",
                "2026-10-25T03:00:00+01:00",
            ],
        ),
        ("@hourly", berlin, "2026-10-25T01:30", &["2026-10-25T02:00:00+02:00", "2026-10-25T02:00:00+01:00"]),
        ("@daily", berlin, "2026-10-25T00:00", &["2026-10-26T00:00:00+01:00"]),
        // Half an hour: after 01:59 comes 02:30.
        (
            "15 * * * *",
            "Australia/Lord_Howe",
            "2026-10-04T01:00",
            &["2026-10-04T01:15:00+10:30", "2026-10-04T02:30:00+11:00", "2026-10-04T03:15:00+11:00"],
        ),
        ("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00", &["2026-10-04T02:30:00+11:00"]),
        (
            "45 1 * * *",
            "Australia/Lord_Howe",
            "2026-04-04T12:00",
            &["2026-04-05T01:45:00+11:00", "2026-04-06T01:45:00+10:30"],
        ),
        // Midnight itself is skipped, and the hour before it.
        ("0 0 * * *", "Africa/Cairo", "2026-04-23T12:00", &["2026-04-24T01:00:00+03:00"]),
        ("30 23 * * 6", "America/Nuuk", "2027-03-27T12:00", &["2027-03-28T00:00:00-01:00"]),
        // Two hours.
        ("30 1 * * *", "Antarctica/Troll", "2027-03-27T12:00", &["2027-03-28T03:00:00+02:00"]),
        // A day that never was: 30 December 2011.
        (
            "0 12 * * *",
            "Pacific/Apia",
            "2011-12-29T00:00",
            &["2011-12-29T12:00:00-10:00", "2011-12-31T00:00:00+14:00", "2011-12-31T12:00:00+14:00"],
        ),
        (
            "0 12 30 12 *",
            "Pacific/Apia",
            "2011-01-01T00:00",
            &["2011-12-31T00:00:00+14:00", "2012-12-30T12:00:00+14:00"],
        ),
    ] {
        assert_eq!(ticks(expression, zone, after, expected.len()), expected, "{expression} in {zone}");
    }
}

#[test]
fn there_is_an_end_and_a_beginning() {
    let schedule = Schedule::parse("0 0 1 1 *", zone("Europe/Berlin")).unwrap();
    assert_eq!(schedule.next_after(Timestamp::MIN), Some(at("1971-01-01T00:00[Europe/Berlin]")));
    assert_eq!(schedule.next_after(at("2099-06-01T00:00[UTC]")), Some(at("2100-01-01T00:00[Europe/Berlin]")));
    assert_eq!(schedule.next_after(at("2100-06-01T00:00[UTC]")), None);
    assert_eq!(schedule.next_after(Timestamp::MAX), None);
}

#[test]
fn what_is_no_schedule_is_refused_at_its_place() {
    const FORMS: &str = "5 fields as in crontab(5), like \"*/15 * * * *\", or 6 with seconds first, or \"@hourly\"";
    const PARTS: &str = "a field has numbers, names, `*`, ranges like `1-5`, lists like `1,3` and steps like `*/2`";
    const STEP: &str = "steps begin anew where the field does; for every other hour write `0 */2 * * *`";
    const MONTHS: &str = "1 to 12, or a name from `jan` to `dec`";
    const DAYS: &str = "0 to 7, or a name from `sun` to `sat`";
    const WORDS: &str = "the words are `@hourly`, `@daily`, `@midnight`, `@weekly`, `@monthly`, `@yearly`, `@annually`";
    for (expression, place, message, hint) in [
        ("", "", "this is not a schedule", FORMS),
        (" \t ", "", "this is not a schedule", FORMS),
        ("* * * *", "* * * *", "this is not a schedule", FORMS),
        ("0 * * * * * 2027", "0 * * * * * 2027", "a schedule has no year", FORMS),
        ("* * * * * * * *", "* * * * * * * *", "this is not a schedule", FORMS),
        ("60 * * * *", "60", "minute: 60 is out of range", "0 to 59"),
        ("0 1,24 * * *", "24", "hour: 24 is out of range", "0 to 23"),
        ("0 0 0 * *", "0", "day of the month: 0 is out of range", "1 to 31"),
        ("0 0 1 13 *", "13", "month: 13 is out of range", MONTHS),
        ("0 0 * * 8", "8", "day of the week: 8 is out of range", DAYS),
        ("61 0 0 * * *", "61", "second: 61 is out of range", "0 to 59"),
        ("0 123456 * * *", "123456", "hour: this number is out of range", "0 to 23"),
        ("0 0 * * mno", "mno", "day of the week: there is no `mno`", "did you mean `mon`?"),
        ("0 0 * * Monday", "Monday", "day of the week: names have three letters", "write `mon`"),
        ("0 0 1 sept *", "sept", "month: names have three letters", "write `sep`"),
        ("0 0 * * foobar", "foobar", "day of the week: this is neither `*` nor a number", DAYS),
        ("mon * * * *", "mon", "minute: this is neither `*` nor a number", "0 to 59"),
        ("1,,2 * * * *", "", "minute: a number is missing", PARTS),
        ("-5 * * * *", "-5", "minute: a number is missing", PARTS),
        ("1-2-3 * * * *", "1-2-3", "minute: this is neither `*` nor a number", "0 to 59"),
        ("** * * * *", "**", "minute: this is neither `*` nor a number", "0 to 59"),
        ("*-5 * * * *", "*-5", "minute: this is neither `*` nor a number", "0 to 59"),
        ("5/15 * * * *", "5/15", "minute: a step needs a range", "`5-59/…`, or `*/…`"),
        ("*/0 * * * *", "*/0", "minute: a step is a number from 1 to 59", STEP),
        ("*/90 * * * *", "*/90", "minute: a step is a number from 1 to 59", STEP),
        ("*/x * * * *", "*/x", "minute: a step is a number from 1 to 59", STEP),
        ("*/5/5 * * * *", "*/5/5", "minute: a step is a number from 1 to 59", STEP),
        ("0 22-4 * * *", "22-4", "hour: the range runs backwards, from 22 to 4", "make two ranges of it: `22-23,0-4`"),
        (
            "0 0 * * sat-mon",
            "sat-mon",
            "day of the week: the range runs backwards, from 6 to 1",
            "make two ranges of it: `6-7,0-1`",
        ),
        ("H * * * *", "H", "minute: `H` is not part of crontab(5)", PARTS),
        ("H(0-29)/10 * * * *", "H(0-29)/10", "minute: `H` is not part of crontab(5)", PARTS),
        ("0 0 L * *", "L", "day of the month: `L` is not part of crontab(5)", PARTS),
        ("0 0 15W * *", "15W", "day of the month: `W` is not part of crontab(5)", PARTS),
        ("0 0 ? * 1", "?", "day of the month: `?` is not part of crontab(5)", PARTS),
        ("0 0 * * 5#3", "5#3", "day of the week: `#` is not part of crontab(5)", PARTS),
        ("0 0 * * 5L", "5L", "day of the week: `L` is not part of crontab(5)", PARTS),
        (
            "0 0 30 2 *",
            "30 2",
            "this never comes: no month that is chosen has such a day",
            "choose another month, or a day up to 28, which every month has",
        ),
        (
            "@reboot",
            "@reboot",
            "`@reboot` is no time",
            "every job also runs soon after the daemon starts; give it a time besides, like \"@daily\"",
        ),
        (
            " @every 5m",
            "@every 5m",
            "`@every` is not part of crontab(5)",
            "write which minutes, as in crontab(5): every five are \"*/5 * * * *\"",
        ),
        ("@houly", "@houly", "there is no `@houly`", "did you mean `@hourly`?"),
        ("@Daily", "@Daily", "there is no `@Daily`", "did you mean `@daily`?"),
        ("@", "@", "there is no such word", WORDS),
        ("@noon", "@noon", "there is no such word", WORDS),
    ] {
        let fault = Schedule::parse(expression, TimeZone::UTC).expect_err(expression);
        let found = (&expression[fault.at.clone()], fault.message.as_str(), fault.hint.as_str());
        assert_eq!(found, (place, message, hint), "{expression}");
    }
}

/// Every change of the clock in the decade, in every zone, each kind of zone once: names that share all changes are one.
fn changes() -> Vec<(TimeZone, Timestamp)> {
    let (begin, end) = (at("2026-01-01T00:00[UTC]"), at("2036-12-31T00:00[UTC]"));
    let database = TimeZoneDatabase::bundled();
    let mut kinds = BTreeMap::new();
    for name in database.available() {
        let zone = database.get(name.as_str()).expect("it was listed");
        let following = zone.following(begin).take_while(|change| change.timestamp() < end);
        let changes: Vec<_> = following.map(|change| (change.timestamp(), change.offset().seconds())).collect();
        kinds.insert((zone.to_offset(begin).seconds(), changes), zone);
    }
    assert!(kinds.len() > 50, "{} kinds of zones are too few", kinds.len());
    let all = kinds.into_iter().flat_map(|((_, changes), zone)| {
        // A zone without a change has a day like any other.
        let moments: Vec<_> =
            if changes.is_empty() { vec![begin] } else { changes.into_iter().map(|(at, _)| at).collect() };
        moments.into_iter().map(move |at| (zone.clone(), at))
    });
    all.collect()
}

fn is_star(field: &str) -> bool {
    field.starts_with('*')
}

/// What crontab(5) and our two rules make of `croner`'s answers between two moments. The three differences:
///
/// - It lets both day fields count only when told so; that `*/2` counts as `*` is told to it here.
/// - It makes up for a skipped reading only where the expression has a single time of day and the day goes on; we always do.
/// - It repeats what has several times of day in the repeated hour; we do where the minute or the hour begins with `*`.
fn oracle(expression: &str, zone: &TimeZone, after: Timestamp, until: Timestamp) -> BTreeSet<Timestamp> {
    let fields: Vec<&str> = expression.split(' ').collect();
    let [.., minute, hour, day, _, weekday] = fields.as_slice() else { panic!("{expression} has fields") };
    let both_count = is_star(day) || is_star(weekday);
    let parser = CronParser::builder().dom_and_dow(both_count).build();
    let cron = parser.parse(expression).expect("an expression");
    let walk = cron.iter_after(after.to_zoned(zone.clone()));
    let mut found: BTreeSet<Timestamp> = walk.map(|tick| tick.timestamp()).take_while(|tick| *tick <= until).collect();
    let second = SignedDuration::from_secs(1);
    for change in zone.following(after).take_while(|change| change.timestamp() <= until) {
        let change = change.timestamp();
        let before = zone.to_offset(change - second).to_datetime(change);
        let behind = zone.to_offset(change).to_datetime(change);
        if before < behind {
            let skipped = before.to_zoned(TimeZone::UTC).expect("a date");
            let next = cron.find_next_occurrence(&skipped, true).expect("there is a next");
            if next.datetime() < behind {
                found.insert(change);
            }
        } else if !is_star(minute) && !is_star(hour) {
            let again = change..change + before.duration_since(behind);
            found.retain(|tick| !again.contains(tick));
        }
    }
    found
}

fn ours(schedule: &Schedule, after: Timestamp, until: Timestamp) -> Vec<Timestamp> {
    std::iter::successors(schedule.next_after(after), |tick| schedule.next_after(*tick))
        .take_while(|tick| *tick <= until)
        .collect()
}

/// Where they differ, with the times as people read them.
fn assert_agreement(expression: &str, zone: &TimeZone, after: Timestamp, until: Timestamp) {
    let schedule = Schedule::parse(expression, zone.clone()).expect("a schedule");
    let (ours, oracle) = (ours(&schedule, after, until), oracle(expression, zone, after, until));
    assert!(ours.is_sorted_by(|one, next| one < next), "{expression} goes back in time: {ours:?}");
    let ours: BTreeSet<_> = ours.into_iter().collect();
    let shown = |ticks: Vec<&Timestamp>| -> Vec<String> {
        ticks.into_iter().map(|tick| tick.to_zoned(zone.clone()).to_string()).collect()
    };
    let (more, less) = (shown(ours.difference(&oracle).collect()), shown(oracle.difference(&ours).collect()));
    assert!(more.is_empty() && less.is_empty(), "{expression}: only ours {more:?}, only the oracle's {less:?}");
}

#[test]
fn every_zone_of_the_next_decade_agrees_with_the_oracle() {
    /// Each with the hours around a change in which to look.
    const EXPRESSIONS: [(&str, i64); 12] = [
        ("30 2 * * *", 50),
        ("*/30 * * * *", 8),
        ("0 0 * * *", 50),
        ("*/7 1-3 * * *", 8),
        ("15,45 0-4 * * *", 8),
        ("20 * * * *", 12),
        ("30 23 * * 6", 200),
        ("0 */2 * * *", 12),
        ("10 1 */2 * 0", 500),
        ("30 1 1-7 3,4,9,10,11 sun", 500),
        ("59 59 * * * *", 8),
        ("*/20 59 0-3 * * *", 4),
    ];
    for (zone, change) in changes() {
        for (expression, hours) in EXPRESSIONS {
            let half = SignedDuration::from_hours(hours);
            assert_agreement(expression, &zone, change - half, change + half);
        }
    }
}

/// A list of numbers, ranges and steps, as people and machines write them.
fn field(least: u32, most: u32) -> impl Strategy<Value = String> {
    let number = least..=most;
    let range = (number.clone(), number.clone()).prop_map(|(one, other)| (one.min(other), one.max(other)));
    let item = prop_oneof![
        3 => number.prop_map(|number| number.to_string()),
        1 => range.clone().prop_map(|(low, high)| format!("{low}-{high}")),
        1 => (range, 1..5_u32).prop_map(|((low, high), step)| format!("{low}-{high}/{step}")),
    ];
    prop_oneof![
        2 => Just("*".to_owned()),
        1 => (2..most - least).prop_map(|step| format!("*/{step}")),
        4 => proptest::collection::vec(item, 1..3).prop_map(|items| items.join(",")),
    ]
}

fn expression() -> impl Strategy<Value = String> {
    // Days up to 28 come in every month, so that there always is a next tick.
    (field(0, 59), field(0, 23), field(1, 28), field(1, 12), field(0, 7))
        .prop_map(|(minute, hour, day, month, weekday)| format!("{minute} {hour} {day} {month} {weekday}"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_expression_agrees_with_the_oracle_around_a_change(expression in expression(), pick in any::<prop::sample::Index>()) {
        thread_local!(static CHANGES: Vec<(TimeZone, Timestamp)> = changes());
        let (zone, change) = CHANGES.with(|changes| pick.get(changes).clone());
        assert_agreement(&expression, &zone, change - SignedDuration::from_hours(6), change + SignedDuration::from_hours(30));
    }

    #[test]
    fn the_next_tick_is_the_same_from_anywhere_before_it(
        expression in expression(),
        begin in 1_767_225_600_i64..2_098_000_000,
        nanosecond in 0..1_000_000_000_i32,
        part in 0.0..1.0,
    ) {
        let schedule = Schedule::parse(&expression, zone("Europe/Berlin")).expect("a schedule");
        let begin = Timestamp::new(begin, nanosecond).expect("in this century");
        let one = schedule.next_after(begin).expect("there is always a next");
        let two = schedule.next_after(one).expect("there is always a next");
        prop_assert!(begin < one && one < two);
        let distance = (two.as_second() - one.as_second()) as f64;
        let between = one + SignedDuration::from_secs_f64(distance * part);
        prop_assert_eq!(schedule.next_after(between), Some(two));
        prop_assert_eq!(schedule.next_after(two - 1.nanosecond()), Some(two));
        prop_assert_eq!(schedule.next_after(one - 1.nanosecond()), Some(one));
    }

    #[test]
    fn no_text_makes_it_panic(text in "[-0-9*/, @a-zA-Z#?é\\t]{0,40}", fields in proptest::collection::vec("[-0-9*/,LHW?#]{1,6}", 5..7)) {
        for text in [text, fields.join(" ")] {
            match Schedule::parse(&text, TimeZone::UTC) {
                Ok(schedule) => prop_assert!(schedule.next_after(Timestamp::UNIX_EPOCH).is_some()),
                Err(fault) => prop_assert!(text.get(fault.at).is_some()),
            }
        }
    }
}
