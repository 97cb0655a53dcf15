//! The tree of a TOML file, and how a table of it becomes a fragment with all problems at once.

use std::fmt;
use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue, Deserializer};

use super::near::{listing, nearest};
use super::problem::Problems;
use crate::text::excerpt;

/// A table with more problems than this is not what anybody meant; the rest can wait for the next look.
const PROBLEMS_PER_TABLE: usize = 50;

/// One table of the file, to be read into a fragment.
#[derive(Clone)]
pub struct Table<'t> {
    entries: DeTable<'t>,
    span: Range<usize>,
    allow_http: bool,
    /// Keys that were taken out before: no longer here, but known.
    also: &'static [&'static str],
}

impl<'t> Table<'t> {
    pub(super) fn new(entries: DeTable<'t>, span: Range<usize>) -> Self {
        Self { entries, span, allow_http: false, also: &[] }
    }

    /// Where the table begins: its header, or the whole of it when it stands inline.
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// Whether the remote permits plain HTTP to other hosts.
    pub fn allow_http(&self) -> bool {
        self.allow_http
    }

    pub(super) fn allowing_http(self, allow_http: bool) -> Self {
        Self { allow_http, ..self }
    }

    /// The entries of these keys, and all others. Both remember where they come from.
    pub(super) fn split(self, keys: &'static [&'static str]) -> (Self, Self) {
        let (mut taken, mut rest) = (DeTable::new(), DeTable::new());
        for (key, value) in self.entries {
            let side = if keys.contains(&key.get_ref().as_ref()) { &mut taken } else { &mut rest };
            side.insert(key, value);
        }
        let part = |entries| Self { entries, span: self.span.clone(), allow_http: self.allow_http, also: keys };
        (part(taken), part(rest))
    }

    /// The value of a key, as written.
    pub(super) fn get(&self, key: &str) -> Option<&Spanned<DeValue<'t>>> {
        self.entries.get(key)
    }

    /// The keys, in no order.
    pub(super) fn keys(&self) -> impl Iterator<Item = &Spanned<DeString<'t>>> {
        self.entries.keys()
    }

    /// Puts another text in place of every string in the table, wherever the change has one to offer.
    pub(super) fn map_strings(mut self, change: &impl Fn(&str) -> Option<String>) -> Self {
        self.entries.iter_mut().for_each(|(_, value)| map_strings(value, change));
        self
    }

    /// Whether any string in the table satisfies the test.
    pub(super) fn any_string(&self, test: &impl Fn(&str) -> bool) -> bool {
        self.entries.iter().any(|(_, value)| any_string(value, test))
    }

    /// Reads the table into a fragment and records everything that does not fit, each at its place.
    ///
    /// An entry that does not fit is taken out and the rest is read again, so the fragment holds all that could be read.
    /// Fragments deny unknown fields and have only optional ones (see [`Problems::required`]).
    pub fn read<T: DeserializeOwned + Default>(mut self, problems: &mut Problems) -> T {
        // Containers that lost an entry: what is then wrong with them as a whole follows from that.
        let mut incomplete: Vec<Range<usize>> = Vec::new();
        for found in 0.. {
            let root = Spanned::new(self.span(), self.entries.clone());
            let fault = match T::deserialize(Deserializer::from(root)) {
                Ok(fragment) => return fragment,
                Err(fault) => fault,
            };
            let at = fault.span().unwrap_or_else(|| self.span());
            let mut trail = Trail { problems, incomplete: &mut incomplete };
            let follows = trail.incomplete.contains(&at);
            let Some((table, taken)) = take(&mut self.entries, &self.span, &at, &mut trail) else {
                let (message, hint) = describe(fault.message(), None);
                problems.push(at, message, hint);
                break;
            };
            if found == PROBLEMS_PER_TABLE {
                problems.push(at, "more problems in this table are not shown until the others are solved", None);
                break;
            }
            if !follows {
                self.record(fault.message(), at, &table, &taken, problems);
            }
        }
        T::default()
    }

    fn record(
        &self,
        message: &str,
        at: Range<usize>,
        table: &Range<usize>,
        taken: &Taken<'_>,
        problems: &mut Problems,
    ) {
        let (_, expected) = message.rsplit_once(", expected ").unwrap_or_default();
        // serde lists the expected words in backticks: every other piece is one.
        let expected = expected.split('`').skip(1).step_by(2);
        let hint = |word: &str| format!("did you mean `{word}`?");
        if message.starts_with("unknown field ") {
            let also = if *table == self.span { self.also } else { &[] };
            let expected: Vec<&str> = expected.chain(also.iter().copied()).collect();
            let written = excerpt(taken.key.as_deref().unwrap_or_default().as_bytes(), 64);
            let near = nearest(&written, expected.iter().copied());
            if let Some(meant) = near {
                problems.spoil(table.clone(), meant.to_owned());
            }
            let hint = near.map_or_else(|| format!("the keys here are {}", listing(expected)), hint);
            problems.push(at, format!("unknown key `{written}`"), Some(&hint));
        } else if message.starts_with("unknown variant ") {
            let expected: Vec<&str> = expected.collect();
            match taken.value.as_str().and_then(|written| Some((written, nearest(written, expected.iter().copied())?)))
            {
                Some((written, meant)) => {
                    problems.push_showing(at, format!("unknown value `{written}`"), Some(&hint(meant)));
                }
                None => problems.push(at, "unknown value", Some(&format!("one of {}", listing(expected)))),
            }
        } else {
            let (message, hint) = describe(message, Some(&taken.value));
            problems.push(at, message, hint);
        }
    }
}

/// An entry that did not fit.
struct Taken<'t> {
    key: Option<String>,
    value: DeValue<'t>,
}

/// What taking an entry out leaves behind: keys that were there after all, and containers that lost something.
struct Trail<'p> {
    problems: &'p mut Problems,
    incomplete: &'p mut Vec<Range<usize>>,
}

/// Takes the entry whose key or value stands at `at` out of the tree, with the span of the table that it was in.
fn take<'t>(
    entries: &mut DeTable<'t>,
    span: &Range<usize>,
    at: &Range<usize>,
    trail: &mut Trail<'_>,
) -> Option<(Range<usize>, Taken<'t>)> {
    let here = entries.iter().find(|(key, value)| key.span() == *at || value.span() == *at);
    if let Some(key) = here.map(|(key, _)| key.get_ref().clone().into_owned()) {
        let value = entries.remove(key.as_str())?.into_inner();
        trail.incomplete.push(span.clone());
        trail.problems.spoil(span.clone(), key.clone());
        return Some((span.clone(), Taken { key: Some(key), value }));
    }
    entries.iter_mut().find_map(|(key, value)| {
        let inner = value.span();
        let taken = match value.get_mut() {
            DeValue::Table(table) => take(table, &inner, at, trail),
            DeValue::Array(array) => {
                if array.iter().any(|element| element.span() == *at) {
                    let elements = std::mem::replace(array, std::iter::empty().collect());
                    let (taken, kept): (Vec<_>, Vec<_>) =
                        elements.into_iter().partition(|element| element.span() == *at);
                    *array = kept.into_iter().collect();
                    trail.incomplete.push(inner);
                    let taken = taken.into_iter().next()?.into_inner();
                    Some((span.clone(), Taken { key: None, value: taken }))
                } else {
                    array.iter_mut().find_map(|element| {
                        let inner = element.span();
                        let DeValue::Table(table) = element.get_mut() else { return None };
                        take(table, &inner, at, trail)
                    })
                }
            }
            _ => None,
        }?;
        trail.problems.spoil(span.clone(), key.get_ref().clone().into_owned());
        Some(taken)
    })
}

/// serde's message without the value that it quotes, which might be a secret in the wrong place.
///
/// Our own messages quote none; a line break in one separates its hint.
fn describe<'m>(message: &'m str, found: Option<&DeValue<'_>>) -> (String, Option<&'m str>) {
    let found = found.map_or("something else", kind);
    if message.starts_with("invalid ")
        && let Some((_, expected)) = message.rsplit_once(", expected ")
    {
        let expected = match expected {
            "a sequence" => "a list",
            "a map" => "a table",
            "a boolean" => "`true` or `false`",
            "i64" | "an integer" => "a whole number",
            structure if structure.starts_with("struct ") => "a table",
            other => other,
        };
        return (format!("expected {expected}, found {found}"), None);
    }
    if message == "wanted string or table" {
        return (format!("expected a string, found {found}"), None);
    }
    if message.starts_with("data did not match any variant") {
        return (format!("{found} of this form does not belong here"), None);
    }
    let (message, hint) = message.split_once('\n').map_or((message, None), |(message, hint)| (message, Some(hint)));
    (message.to_owned(), hint)
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "`true` or `false`",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

fn map_strings(value: &mut Spanned<DeValue<'_>>, change: &impl Fn(&str) -> Option<String>) {
    match value.get_mut() {
        DeValue::String(text) => {
            if let Some(changed) = change(text) {
                *text = changed.into();
            }
        }
        DeValue::Array(array) => array.iter_mut().for_each(|element| map_strings(element, change)),
        DeValue::Table(table) => table.iter_mut().for_each(|(_, value)| map_strings(value, change)),
        DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => {}
    }
}

fn any_string(value: &Spanned<DeValue<'_>>, test: &impl Fn(&str) -> bool) -> bool {
    match value.get_ref() {
        DeValue::String(text) => test(text),
        DeValue::Array(array) => array.iter().any(|element| any_string(element, test)),
        DeValue::Table(table) => table.iter().any(|(_, value)| any_string(value, test)),
        DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => false,
    }
}

/// Shows the place only: the entries may hold what should not have been there.
impl fmt::Debug for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("span", &self.span).finish_non_exhaustive()
    }
}
