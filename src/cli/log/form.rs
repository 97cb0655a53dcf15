//! The forms of a line. Values become bytes here and nowhere else, and each form escapes what somebody else may have chosen.

use std::fmt::{self, Write as _};

use anstyle::Style;
use serde::ser::{Serialize, SerializeMap as _, Serializer};
use serde_json::Value;
use tracing::Level;

use super::line::Line;
use crate::report::style::{FAILED, HELD, HINT, PLAIN, WAITING, paint};
use crate::text::{Printable, to_json};

/// For people: the time, the level, what happened, and the fields as `name=value`.
pub(super) fn human(line: &Line, colour: bool) -> String {
    let in_colour = |style: Style| if colour { style } else { PLAIN };
    let time = paint(in_colour(HINT), format!("{:.3}", line.time));
    let level = paint(in_colour(level_style(line.level)), format!("{:>5}", line.level));
    format!("{time} {level} {}\n", body(line))
}

/// For programs: one object per line, with the fields beside `time`, `level` and `message`. Nothing is lost.
pub(super) fn json(line: &Line) -> String {
    // Strings and numbers are all there is in it, and these can be written.
    to_json(&Json(line)).map(|line| line + "\n").unwrap_or_default()
}

/// For the journal, in its [native protocol](https://systemd.io/JOURNAL_NATIVE_PROTOCOL/): `MESSAGE` as people read it, and each
/// field under its name in capitals. No escaped value has a line break, so the simple form of the protocol is enough.
pub(super) fn journal(line: &Line) -> String {
    let mut datagram = String::new();
    let mut put = |name: &str, value: &dyn fmt::Display| {
        // Writing to a string cannot fail.
        let _infallible = writeln!(datagram, "{name}={value}");
    };
    put("MESSAGE", &body(line));
    put("PRIORITY", &priority(line.level));
    put("SYSLOG_IDENTIFIER", &"tagsyncd");
    for (name, value) in &line.fields {
        let name = journal_name(name);
        if !["", "MESSAGE", "PRIORITY", "SYSLOG_IDENTIFIER"].contains(&name.as_str()) {
            put(&name, &text_of(value));
        }
    }
    datagram
}

fn body(line: &Line) -> String {
    let mut body = Printable::new(&line.message).to_string();
    for (name, value) in &line.fields {
        let value = text_of(value);
        let quoted = value.is_empty() || value.contains([' ', '"', '=']);
        let value = if quoted { format!("\"{}\"", value.replace('"', "\\\"")) } else { value };
        // Writing to a string cannot fail.
        let _infallible = write!(body, " {name}={value}");
    }
    body
}

fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => Printable::new(text).to_string(),
        plain => plain.to_string(),
    }
}

struct Json<'a>(&'a Line);

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Line { time, level, message, fields } = self.0;
        let mut object = serializer.serialize_map(None)?;
        object.serialize_entry("time", &format_args!("{time:.6}"))?;
        object.serialize_entry("level", level_word(*level))?;
        object.serialize_entry("message", message)?;
        for (name, value) in fields.iter().filter(|(name, _)| !["time", "level", "message"].contains(name)) {
            object.serialize_entry(name, value)?;
        }
        object.end()
    }
}

/// Capitals, digits and underscores, and a letter in front: fields that begin with an underscore are the journal's own.
fn journal_name(name: &str) -> String {
    let name: String = name
        .chars()
        .map(|letter| if letter.is_ascii_alphanumeric() { letter.to_ascii_uppercase() } else { '_' })
        .take(64)
        .collect();
    name.trim_start_matches(|letter: char| !letter.is_ascii_alphabetic()).to_owned()
}

/// As in syslog(3).
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

fn level_word(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

fn level_style(level: Level) -> Style {
    match level {
        Level::ERROR => FAILED,
        Level::WARN => HELD,
        Level::INFO => WAITING,
        Level::DEBUG | Level::TRACE => HINT,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: &str = "v1\nPRIORITY=0\n\x1b[2J\u{9b}31m\u{202e}\" x=y\0\r\\";

    fn line() -> Line {
        Line {
            time: "2026-11-21T10:00:00.1234567Z".parse().unwrap(),
            level: Level::WARN,
            message: format!("Said {HOSTILE}"),
            fields: vec![
                ("tag", HOSTILE.into()),
                ("job", "core".into()),
                ("elapsed_ms", 12.into()),
                ("empty", "".into()),
                ("message", "not this".into()),
                ("_pid", 1.into()),
            ],
        }
    }

    fn is_plain(text: &str) -> bool {
        text.chars().all(|letter| !letter.is_control() && letter != '\u{202e}')
    }

    #[test]
    fn nothing_that_steers_reaches_people() {
        let shown = human(&line(), false);
        let (first, rest) = shown.split_once('\n').unwrap();
        assert_eq!(rest, "");
        assert!(is_plain(first), "{first:?}");
        assert!(first.starts_with("2026-11-21T10:00:00.123Z  WARN Said v1\\u{a}PRIORITY=0"), "{first}");
        assert!(
            first.contains(r#"\u{1b}[2J\u{9b}31m\u{202e}\" x=y\u{0}\u{d}\" job=core elapsed_ms=12 empty="""#),
            "{first}"
        );
        let coloured = human(&line(), true);
        assert!(
            coloured.contains('\x1b') && anstream::adapter::strip_str(&coloured).to_string() == shown,
            "{coloured:?}"
        );
    }

    #[test]
    fn json_is_one_object_per_line_and_loses_nothing() {
        let shown = json(&line());
        let (first, rest) = shown.split_once('\n').unwrap();
        assert_eq!(rest, "");
        assert!(is_plain(first), "{first:?}");
        let object: serde_json::Map<String, Value> = serde_json::from_str(first).unwrap();
        let expected = serde_json::json!({
            "time": "2026-11-21T10:00:00.123456Z", "level": "warn", "message": format!("Said {HOSTILE}"),
            "tag": HOSTILE, "job": "core", "elapsed_ms": 12, "empty": "", "_pid": 1,
        });
        assert_eq!(Value::Object(object), expected);
    }

    #[test]
    fn the_journal_gets_the_fields_that_were_meant_and_no_others() {
        let datagram = journal(&line());
        let fields: Vec<(&str, &str)> =
            datagram.strip_suffix('\n').unwrap().split('\n').map(|field| field.split_once('=').unwrap()).collect();
        let names: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["MESSAGE", "PRIORITY", "SYSLOG_IDENTIFIER", "TAG", "JOB", "ELAPSED_MS", "EMPTY", "PID"]);
        assert!(fields.iter().all(|(_, value)| is_plain(value)), "{fields:?}");
        assert_eq!((fields[1].1, fields[4].1, fields[5].1), ("4", "core", "12"));
    }
}
