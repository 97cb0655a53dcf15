//! The name of a tag.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use crate::text::Printable;

/// A tag's name without `refs/tags/`: any bytes that git accepts there, so not always UTF-8.
///
/// Cheap to clone; ordered by bytes, as git orders refs. `Display` is escaped for people, [`as_bytes`](Self::as_bytes)
/// is the truth.
#[derive(Clone)]
pub struct TagName(Bytes);

/// Nearly all names fit into the place that a pointer and a length would take, so that they need no memory of their own.
#[derive(Clone)]
enum Bytes {
    Short { length: u8, bytes: [u8; SHORT] },
    Long(Arc<[u8]>),
}

/// What makes [`Bytes`] three words long.
const SHORT: usize = 22;

impl From<&[u8]> for Bytes {
    fn from(name: &[u8]) -> Self {
        let mut bytes = [0; SHORT];
        match (u8::try_from(name.len()), bytes.get_mut(..name.len())) {
            (Ok(length), Some(place)) => {
                place.copy_from_slice(name);
                Self::Short { length, bytes }
            }
            _ => Self::Long(name.into()),
        }
    }
}

/// The name would not be a git tag.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is not a tag name that git accepts: {reason}")]
pub struct InvalidTagName {
    name: String,
    reason: String,
}

impl TagName {
    /// Checks `name` by git's own rules (`git check-ref-format refs/tags/NAME`).
    ///
    /// ```
    /// # use tagsyncd::tag::TagName;
    /// assert!(TagName::new("-x/é+1").is_ok());
    /// assert!(TagName::new("a..b").is_err());
    /// ```
    pub fn new(name: impl AsRef<[u8]>) -> Result<Self, InvalidTagName> {
        let name = name.as_ref();
        let invalid = |reason: String| InvalidTagName { name: Printable::new(name).to_string(), reason };
        if name.is_empty() {
            return Err(invalid("it is empty".into()));
        }
        // Below `refs/tags/` any rule for partial names holds, except that `@` stands for nothing else there.
        if !is_plain(name) && name != b"@" {
            gix::validate::reference::name_partial(name.into()).map_err(|fault| invalid(fault.to_string()))?;
        }
        Ok(Self(name.into()))
    }

    /// The name's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Bytes::Short { length, bytes } => &bytes[..usize::from(*length)],
            Bytes::Long(bytes) => bytes,
        }
    }

    /// The name as text, where it is UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(self.as_bytes()).ok()
    }

    /// Whether git could not keep both names: one is a directory of the other (`a` and `a/b`).
    pub fn excludes(&self, other: &Self) -> bool {
        let (one, other) = (self.as_bytes(), other.as_bytes());
        let (short, long) = if one.len() < other.len() { (one, other) } else { (other, one) };
        long.strip_prefix(short).is_some_and(|rest| rest.starts_with(b"/"))
    }

    /// The names that would have to be directories for this one to exist: `a` and `a/b` for `a/b/c`.
    pub fn parents(&self) -> impl Iterator<Item = &[u8]> {
        let name = self.as_bytes();
        name.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| &name[..at])
    }
}

/// Whether a name is of the ordinary kind that keeps every rule: letters, digits, `-`, `_` and `+`, with single dots and
/// slashes between them. A quick answer for most names; `false` says nothing.
fn is_plain(name: &[u8]) -> bool {
    // As if a slash stood before the name: at its begin hold the rules for the begin of a component.
    let mut before = b'/';
    for &byte in name {
        let inside = !matches!(before, b'.' | b'/');
        let plain = match byte {
            b'.' | b'/' => inside,
            // This might become `.lock`.
            b'l' => before != b'.',
            b'-' | b'_' | b'+' => true,
            _ => byte.is_ascii_alphanumeric(),
        };
        if !plain {
            return false;
        }
        before = byte;
    }
    !matches!(before, b'.' | b'/')
}

impl PartialEq for TagName {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for TagName {}

impl PartialOrd for TagName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for TagName {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl Hash for TagName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl std::borrow::Borrow<[u8]> for TagName {
    fn borrow(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl fmt::Display for TagName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&Printable::new(self.as_bytes()).to_string())
    }
}

impl fmt::Debug for TagName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", Printable::new(self.as_bytes()))
    }
}

/// JSON keeps the name whole: UTF-8 as it is, other bytes as `\xNN` (git refuses backslashes in names, so this is lossless).
impl serde::Serialize for TagName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.as_str() {
            Some(name) => serializer.serialize_str(name),
            None => {
                let mut shown = String::new();
                for chunk in self.as_bytes().utf8_chunks() {
                    shown.push_str(chunk.valid());
                    shown.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
                }
                serializer.serialize_str(&shown)
            }
        }
    }
}

/// The schema of what [`TagName`] serialises to.
impl schemars::JsonSchema for TagName {
    fn schema_name() -> Cow<'static, str> {
        "TagName".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "A tag's name without `refs/tags/`. Bytes that are no UTF-8 stand as `\\xNN`; git refuses backslashes in names, so nothing else looks like this.",
            "type": "string",
            "minLength": 1,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn names_are_judged_as_the_library_judges_them(
            name in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..8),
                // What the quick check lets through, and what only just fails it.
                "[a-z0-9/._+@{-]{1,12}".prop_map(String::into_bytes),
                "(v|a/|[.]|/|l|lock|[.]lock|@|[{]|-){1,8}".prop_map(String::into_bytes),
            ],
        ) {
            let library = gix::validate::reference::name_partial(name.as_slice().into()).is_ok();
            prop_assert_eq!(TagName::new(&name).is_ok(), library || name == b"@");
        }

        #[test]
        fn short_and_long_names_are_the_same_kind_of_thing(
            one in "[ab]{1,2}(a{18,24})?b?",
            other in "[ab]{1,2}(a{18,24})?b?",
        ) {
            let names = [&one, &other].map(|name| TagName::new(name).unwrap());
            prop_assert_eq!(names[0].as_bytes(), one.as_bytes());
            prop_assert_eq!(names[0].cmp(&names[1]), one.cmp(&other));
            prop_assert_eq!(names[0] == names[1], one == other);
            let found = std::collections::HashSet::from([names[0].clone()]).contains(other.as_bytes());
            prop_assert_eq!(found, one == other);
        }
    }

    #[test]
    fn a_name_is_three_words_long() {
        assert_eq!(size_of::<TagName>(), 3 * size_of::<usize>());
    }

    #[test]
    fn gits_rules_hold() {
        for good in [
            "v1",
            "-dash",
            "--upload-pack=x",
            "a/b",
            "é",
            "v1.0.0+build5",
            "$(id)",
            "%2F",
            "a#b",
            "a&b",
            "<script>",
            "@",
            "HEAD",
            "A_B",
        ] {
            assert!(TagName::new(good).is_ok(), "{good}");
        }
        for bad in [
            "", "a..b", "a b", "a.lock", ".a", "a/.b", "a//b", "/a", "a/", "a.", "a@{b", "a\\b", "a:b", "a?", "a*",
            "a[", "a~", "a^", "a\u{7f}", "a\x1b",
        ] {
            assert!(TagName::new(bad).is_err(), "{bad:?}");
        }
        assert!(TagName::new(b"\xff").is_ok());
    }

    #[test]
    fn a_directory_excludes_its_files() {
        let name = |name: &str| TagName::new(name).unwrap();
        assert!(name("a").excludes(&name("a/b")) && name("a/b/c").excludes(&name("a")));
        assert!(
            !name("a").excludes(&name("a-b")) && !name("a").excludes(&name("a")) && !name("ab/c").excludes(&name("a"))
        );
        assert_eq!(name("a/b/c").parents().collect::<Vec<_>>(), [b"a".as_slice(), b"a/b"]);
    }
}
