//! Durations as written: `30s`, `5m`, `1h30m`.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde::{Serialize, Serializer};

/// A duration as written: whole numbers, each with its unit, largest unit first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WrittenDuration(pub(super) Duration);

/// The units, largest first, in milliseconds. `ms` stands before `m` for the one who reads, not for the reader below.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

fn parse(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut larger_units = UNITS.as_slice();
    let mut total = 0_u64;
    while !rest.is_empty() {
        let (digits, after) = rest.split_at(rest.find(|character: char| !character.is_ascii_digit())?);
        let (unit, after) =
            after.split_at(after.find(|character: char| !character.is_ascii_lowercase()).unwrap_or(after.len()));
        let at = larger_units.iter().position(|&(name, _)| name == unit)?;
        total = total.checked_add(digits.parse::<u64>().ok()?.checked_mul(larger_units[at].1)?)?;
        larger_units = &larger_units[at + 1..];
        rest = after;
    }
    (!text.is_empty()).then(|| Duration::from_millis(total))
}

impl<'de> Deserialize<'de> for WrittenDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Written;
        impl Visitor<'_> for Written {
            type Value = WrittenDuration;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration in quotes, like \"30s\", \"5m\" or \"1h30m\"")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<WrittenDuration, E> {
                parse(text).map(WrittenDuration).ok_or_else(|| {
                    E::custom("not a duration\nwhole numbers, each with its unit d, h, m, s or ms: \"30s\", \"5m\", \"1h30m\"")
                })
            }
        }
        deserializer.deserialize_str(Written)
    }
}

/// As it would be written: `1m30s`.
impl Serialize for WrittenDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut rest = self.0.as_millis();
        let mut text = String::new();
        for (name, unit) in UNITS {
            let number = rest / u128::from(unit);
            if number > 0 {
                text.push_str(&format!("{number}{name}"));
            }
            rest %= u128::from(unit);
        }
        serializer.serialize_str(if text.is_empty() { "0s" } else { &text })
    }
}

impl JsonSchema for WrittenDuration {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Whole numbers, each with its unit d, h, m, s or ms, larger units first: \"30s\", \"5m\", \"1h30m\".",
            "type": "string",
            "minLength": 1,
            "pattern": format!("^{}$", UNITS.map(|(name, _)| format!("([0-9]+{name})?")).concat()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_its_unit_and_units_descend() {
        for (text, seconds) in
            [("30s", 30), ("5m", 300), ("1h30m", 5400), ("2d", 172_800), ("0s", 0), ("1000ms", 1), ("1m2s3000ms", 65)]
        {
            assert_eq!(parse(text), Some(Duration::from_secs(seconds)), "{text}");
            let written = serde_json::to_string(&WrittenDuration(Duration::from_secs(seconds))).unwrap();
            assert_eq!(parse(written.trim_matches('"')), Some(Duration::from_secs(seconds)), "{text}");
        }
        for text in [
            "",
            "30",
            "s",
            "-5s",
            "1.5h",
            "5 m",
            "30m1h",
            "1h1h",
            "5M",
            "5µs",
            "1y",
            "999999999999999999999s",
            "213503982335d",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
