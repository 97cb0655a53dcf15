//! The text of a schedule, as crontab(5) has it. The `cron` crate finds the next reading of the clock; it is handed plain
//! numbers only, because its own syntax is that of Quartz: seconds are compulsory, 1 is Sunday, both day fields must match.
//!
//! What people write in other dialects (`L`, `?`, `@every`, a year) is refused by name rather than read as something else.

use std::ops::Range;
use std::str::FromStr as _;

use chrono::{DateTime, Utc};

use super::ScheduleFault;
use crate::text::near::{listing, nearest};

const FORMS: &str = "5 fields as in crontab(5), like \"*/15 * * * *\", or 6 with seconds first, or \"@hourly\"";
const PARTS: &str = "a field has numbers, names, `*`, ranges like `1-5`, lists like `1,3` and steps like `*/2`";

/// Words for whole expressions.
const WORDS: [(&str, &str); 7] = [
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@weekly", "0 0 * * 0"),
    ("@monthly", "0 0 1 * *"),
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
];

/// What a field may hold: numbers, and names for the lowest of them upwards.
struct Kind {
    name: &'static str,
    least: u32,
    most: u32,
    names: &'static [&'static str],
}

const SECOND: Kind = Kind { name: "second", least: 0, most: 59, names: &[] };
const MINUTE: Kind = Kind { name: "minute", least: 0, most: 59, names: &[] };
const HOUR: Kind = Kind { name: "hour", least: 0, most: 23, names: &[] };
const DAY: Kind = Kind { name: "day of the month", least: 1, most: 31, names: &[] };
const MONTH: Kind = Kind {
    name: "month",
    least: 1,
    most: 12,
    names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
};
/// Sunday is 0 and 7.
const WEEKDAY: Kind =
    Kind { name: "day of the week", least: 0, most: 7, names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"] };

/// Which readings of a clock are ticks.
#[derive(Debug)]
pub(super) struct Expression {
    /// A tick is what any of these matches, and each of them matches something. There are two where both day fields are
    /// restricted, because then either may match.
    alternatives: Vec<cron::Schedule>,
    /// Whether the minute or the hour begins with `*`: "again and again" rather than times of day.
    pub(super) recurs: bool,
}

impl Expression {
    pub(super) fn parse(text: &str) -> Result<Self, ScheduleFault> {
        let fields = pieces(text, |character| character.is_ascii_whitespace());
        let fields: Vec<Range<usize>> = fields.filter(|at| !at.is_empty()).collect();
        let whole = fields.first().map_or(0, |first| first.start)..fields.last().map_or(0, |last| last.end);
        if text[whole.clone()].starts_with('@') {
            return match WORDS.iter().find(|(word, _)| *word == &text[whole.clone()]) {
                Some((_, meaning)) => Self::parse(meaning),
                None => Err(unknown_word(&text[whole.clone()], whole)),
            };
        }
        let (second, [minute, hour, day, month, weekday]) = match fields.as_slice() {
            [minute, hour, day, month, weekday] => (None, [minute, hour, day, month, weekday]),
            [second, minute, hour, day, month, weekday] => (Some(second), [minute, hour, day, month, weekday]),
            [_, _, _, _, _, _, _] => return Err(ScheduleFault::new("a schedule has no year", FORMS, whole)),
            _ => return Err(ScheduleFault::new("this is not a schedule", FORMS, whole)),
        };
        let at = day.start..month.end;
        let second = second.map_or(Ok(Field { numbers: 1, has_star: false }), |at| Field::parse(&SECOND, text, at))?;
        let minute = Field::parse(&MINUTE, text, minute)?;
        let hour = Field::parse(&HOUR, text, hour)?;
        let day = Field::parse(&DAY, text, day)?;
        let month = Field::parse(&MONTH, text, month)?;
        let weekday = Field::parse(&WEEKDAY, text, weekday)?;

        let times = format!("{} {} {}", second.written(&SECOND), minute.written(&MINUTE), hour.written(&HOUR));
        let (days, months, weekdays) = (day.written(&DAY), month.written(&MONTH), weekday.written_weekdays());
        // A field whose first character is `*` restricts together with the other, even as `*/2`.
        let alternatives = if day.has_star || weekday.has_star {
            vec![format!("{times} {days} {months} {weekdays}")]
        } else {
            vec![format!("{times} {days} {months} *"), format!("{times} * {months} {weekdays}")]
        };
        let mut expression = Self { alternatives: Vec::new(), recurs: minute.has_star || hour.has_star };
        for text in alternatives {
            let alternative = cron::Schedule::from_str(&text).expect("numbers within their ranges are a schedule");
            if next_reading(&alternative, 0).is_some() {
                expression.alternatives.push(alternative);
            }
        }
        if expression.alternatives.is_empty() {
            let hint = "choose another month, or a day up to 28, which every month has";
            return Err(ScheduleFault::new("this never comes: no month that is chosen has such a day", hint, at));
        }
        Ok(expression)
    }

    /// The first tick at or after this reading; both count seconds as if the clock were set to UTC. None after 2100.
    pub(super) fn next_from(&self, reading: i64) -> Option<i64> {
        self.alternatives.iter().filter_map(|one| next_reading(one, reading)).min()
    }
}

fn next_reading(alternative: &cron::Schedule, reading: i64) -> Option<i64> {
    let before = DateTime::<Utc>::from_timestamp(reading.checked_sub(1)?, 0)?;
    alternative.after(&before).next().map(|tick| tick.timestamp())
}

/// The pieces between separators of one byte, empty ones too.
fn pieces(text: &str, separates: impl Fn(char) -> bool) -> impl Iterator<Item = Range<usize>> {
    text.split(separates).scan(0, |start, piece| {
        let at = *start..*start + piece.len();
        *start = at.end + 1;
        Some(at)
    })
}

/// One field, read.
struct Field {
    /// The numbers, as bits.
    numbers: u64,
    /// Whether the first character is `*`, which is what crontab(5) calls unrestricted.
    has_star: bool,
}

impl Field {
    fn parse(kind: &Kind, text: &str, at: &Range<usize>) -> Result<Self, ScheduleFault> {
        let field = &text[at.clone()];
        let mut numbers = 0;
        for item in pieces(field, |character| character == ',') {
            let read = kind.item(&field[item.clone()]);
            numbers |= read.map_err(|(message, hint)| {
                let at = at.start + item.start..at.start + item.end;
                ScheduleFault::new(format!("{}: {message}", kind.name), hint, at)
            })?;
        }
        Ok(Self { numbers, has_star: field.starts_with('*') })
    }

    /// For the crate: all numbers one by one, or `*`.
    fn written(&self, kind: &Kind) -> String {
        let numbers: Vec<String> = (kind.least..=kind.most)
            .filter(|number| self.numbers & bit(*number) != 0)
            .map(|number| number.to_string())
            .collect();
        if numbers.len() == (kind.least..=kind.most).count() { "*".to_owned() } else { numbers.join(",") }
    }

    /// For the crate, to which Sunday is 1.
    fn written_weekdays(&self) -> String {
        let days = (self.numbers | self.numbers >> 7) & 0x7f;
        Self { numbers: days << 1, ..*self }.written(&Kind { least: 1, ..WEEKDAY })
    }
}

fn bit(number: u32) -> u64 {
    1 << number
}

/// What is wrong with a part of a field, and what to write.
type Wrong = (String, String);

impl Kind {
    /// The numbers of one item of a list, as bits.
    fn item(&self, item: &str) -> Result<u64, Wrong> {
        if let Some(dialect) = dialect(item) {
            return Err((format!("`{dialect}` is not part of crontab(5)"), PARTS.to_owned()));
        }
        let (range, step) = item.split_once('/').map_or((item, None), |(range, step)| (range, Some(step)));
        let (low, high) = match range.split_once('-') {
            _ if range == "*" => (self.least, self.most),
            Some((low, high)) => (self.number(low)?, self.last(high)?),
            None if step.is_some() => {
                let number = self.number(range)?;
                return Err(("a step needs a range".into(), format!("`{number}-{}/…`, or `*/…`", self.most)));
            }
            None => {
                let number = self.number(range)?;
                (number, number)
            }
        };
        if low > high {
            let hint = format!("make two ranges of it: `{low}-{},{}-{high}`", self.most, self.least);
            return Err((format!("the range runs backwards, from {low} to {high}"), hint));
        }
        let step = step.map_or(Ok(1), |step| self.step(step))?;
        Ok((low..=high).step_by(step).fold(0, |numbers, number| numbers | bit(number)))
    }

    fn number(&self, text: &str) -> Result<u32, Wrong> {
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            let number = text.parse().ok().filter(|number| (self.least..=self.most).contains(number));
            // A longer number might be anything.
            let shown = if text.len() <= 4 { text } else { "this number" };
            return number.ok_or_else(|| (format!("{shown} is out of range"), self.choice()));
        }
        let word = text.to_ascii_lowercase();
        if let Some(at) = self.names.iter().position(|name| *name == word) {
            return Ok(self.least + at as u32);
        }
        if let Some(name) = self.names.iter().find(|name| word.starts_with(**name)) {
            return Err(("names have three letters".into(), format!("write `{name}`")));
        }
        Err(match nearest(&word, self.names.iter().copied()) {
            Some(meant) => (format!("there is no `{word}`"), format!("did you mean `{meant}`?")),
            None if text.is_empty() => ("a number is missing".into(), PARTS.to_owned()),
            None => ("this is neither `*` nor a number".into(), self.choice()),
        })
    }

    /// The end of a range: a Sunday is the last day of a week there.
    fn last(&self, text: &str) -> Result<u32, Wrong> {
        let number = self.number(text)?;
        Ok(if text.eq_ignore_ascii_case("sun") { self.most } else { number })
    }

    fn step(&self, text: &str) -> Result<usize, Wrong> {
        let longest = self.most - self.least;
        let step = text.parse().ok().filter(|step| (1..=longest).contains(step));
        step.map(|step: u32| step as usize).ok_or_else(|| {
            // `*/90` for an hour and a half is a common wish, and would be the whole hour.
            let hint = "steps begin anew where the field does; for every other hour write `0 */2 * * *`";
            (format!("a step is a number from 1 to {longest}"), hint.to_owned())
        })
    }

    fn choice(&self) -> String {
        match self.names {
            [first, .., last] => format!("{} to {}, or a name from `{first}` to `{last}`", self.least, self.most),
            _ => format!("{} to {}", self.least, self.most),
        }
    }
}

/// A mark of another dialect. Alone it says nothing about what stands beside it.
fn dialect(item: &str) -> Option<char> {
    let letters: String = item.chars().filter(|character| character.is_alphabetic()).collect();
    let is_mark = matches!(letters.to_ascii_uppercase().as_str(), "L" | "W" | "LW" | "H");
    let letter = letters.chars().next().filter(|_| is_mark);
    item.chars().find(|character| matches!(character, '?' | '#')).or(letter)
}

fn unknown_word(word: &str, at: Range<usize>) -> ScheduleFault {
    let known = listing(WORDS.map(|(word, _)| word));
    if word == "@reboot" {
        let hint = "every job also runs soon after the daemon starts; give it a time besides, like \"@daily\"";
        return ScheduleFault::new("`@reboot` is no time", hint, at);
    }
    if word.starts_with("@every") {
        let hint = "write which minutes, as in crontab(5): every five are \"*/5 * * * *\"";
        return ScheduleFault::new("`@every` is not part of crontab(5)", hint, at);
    }
    match nearest(word, WORDS.map(|(word, _)| word)) {
        Some(meant) => ScheduleFault::new(format!("there is no `{word}`"), format!("did you mean `{meant}`?"), at),
        None => ScheduleFault::new("there is no such word", format!("the words are {known}"), at),
    }
}
