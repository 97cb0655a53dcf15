//! The name of a tag.

use std::fmt;
use std::sync::Arc;

use crate::text::Printable;

/// A tag's name without `refs/tags/`: any bytes that git accepts there, so not always UTF-8.
///
/// Cheap to clone; ordered by bytes, as git orders refs. `Display` is escaped for people, [`as_bytes`](Self::as_bytes)
/// is the truth.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TagName(Arc<[u8]>);

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
        if name != b"@" {
            gix::validate::reference::name_partial(name.into()).map_err(|fault| invalid(fault.to_string()))?;
        }
        Ok(Self(name.into()))
    }

    /// The name's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The name as text, where it is UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }

    /// Whether git could not keep both names: one is a directory of the other (`a` and `a/b`).
    pub fn excludes(&self, other: &Self) -> bool {
        let (short, long) = if self.0.len() < other.0.len() { (self, other) } else { (other, self) };
        long.0.len() > short.0.len() && long.0.starts_with(&short.0) && long.0[short.0.len()] == b'/'
    }

    /// The names that would have to be directories for this one to exist: `a` and `a/b` for `a/b/c`.
    pub fn parents(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| &self.0[..at])
    }
}

impl std::borrow::Borrow<[u8]> for TagName {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for TagName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&Printable::new(&self.0).to_string())
    }
}

impl fmt::Debug for TagName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", Printable::new(&self.0))
    }
}

/// JSON keeps the name whole: UTF-8 as it is, other bytes as `\xNN` (git refuses backslashes in names, so this is lossless).
impl serde::Serialize for TagName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.as_str() {
            Some(name) => serializer.serialize_str(name),
            None => {
                let mut shown = String::new();
                for chunk in self.0.utf8_chunks() {
                    shown.push_str(chunk.valid());
                    shown.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
                }
                serializer.serialize_str(&shown)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
