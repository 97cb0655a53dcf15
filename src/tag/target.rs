//! What a tag points at, and what makes two tags equal.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

/// The id of a commit, SHA-1 or SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommitId(gix::ObjectId);

/// The id of any git object: what a ref itself holds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId(gix::ObjectId);

/// The id of an annotated tag's own object.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TagId(gix::ObjectId);

/// The text is not a full object id (40 or 64 lower-case hexadecimal digits, not all zero).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a full object id of 40 or 64 hexadecimal digits")]
pub struct InvalidId;

macro_rules! git_id {
    ($name:ident) => {
        impl From<gix::ObjectId> for $name {
            fn from(id: gix::ObjectId) -> Self {
                Self(id)
            }
        }
        impl From<$name> for gix::ObjectId {
            fn from(id: $name) -> Self {
                id.0
            }
        }
        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(hex: &str) -> Result<Self, InvalidId> {
                let id = gix::ObjectId::from_hex(hex.as_bytes()).map_err(|_| InvalidId)?;
                // git prints zeros for a ref that it could not read; nothing real has this id.
                if id.is_null() { Err(InvalidId) } else { Ok(Self(id)) }
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match f.precision() {
                    Some(digits) => write!(f, "{}", self.0.to_hex_with_len(digits)),
                    None => write!(f, "{}", self.0),
                }
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self:.8})", stringify!($name))
            }
        }
    };
}
git_id!(CommitId);
git_id!(ObjectId);
git_id!(TagId);

/// The kind of thing that a remote's tags point at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetKind {
    /// The commit that a tag peels to; the tag object around it is the server's own.
    Commit,
}

impl fmt::Display for TargetKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Commit => "git commit",
        })
    }
}

/// What a tag points at, in the remote's own kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// A commit, however many tag objects stand before it.
    Commit(CommitId),
}

impl Target {
    /// Which kind this is.
    pub fn kind(&self) -> TargetKind {
        match self {
            Self::Commit(_) => TargetKind::Commit,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Commit(commit_id) => fmt::Display::fmt(commit_id, f),
        }
    }
}

/// A fingerprint of an annotated tag's message, after [`normalise`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageDigest([u8; 32]);

impl fmt::Display for MessageDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for MessageDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Brings a message to the form in which it is compared: LF line ends, no white space around it.
///
/// Servers rebuild annotated tags and strip white space at both ends (GitLab does, 2026-11-21,
/// <https://docs.gitlab.com/api/tags/>); comparing the bytes would see a change for ever.
pub fn normalise(message: &str) -> String {
    message.replace("\r\n", "\n").trim().to_owned()
}

/// Whether annotations are part of what is compared, and if so, this tag's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Annotation {
    /// Only targets are compared (`annotations = "ignore"`).
    NotCompared,
    /// A ref straight to its target; also a tag object without a message, which no REST forge can hold.
    Lightweight,
    /// A tag object with this message.
    Annotated(Box<MessageDigest>),
}

impl Annotation {
    /// The annotation that this message stands for; `None` and an empty message are both [`Annotation::Lightweight`].
    pub fn of_message(message: Option<&str>) -> Self {
        match message.map(normalise) {
            Some(message) if !message.is_empty() => {
                Self::Annotated(Box::new(MessageDigest(Sha256::digest(message.as_bytes()).into())))
            }
            Some(_) | None => Self::Lightweight,
        }
    }
}

/// What a name means on one side: two sides agree when their values are equal.
///
/// As text it is lossless, and it is what the ledger keeps: `commit:ID`, then ` lightweight` or
/// ` annotated:DIGEST` where annotations are compared.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Value {
    /// What the tag points at.
    pub target: Target,
    /// Its annotation, as far as it is compared.
    pub annotation: Annotation,
}

impl Value {
    /// A value of which only the target is compared.
    pub fn of(target: Target) -> Self {
        Self { target, annotation: Annotation::NotCompared }
    }

    /// The form that the ledger keeps and [`FromStr`] reads.
    pub fn to_record(&self) -> String {
        let Target::Commit(commit_id) = self.target;
        match &self.annotation {
            Annotation::NotCompared => format!("commit:{commit_id}"),
            Annotation::Lightweight => format!("commit:{commit_id} lightweight"),
            Annotation::Annotated(digest) => format!("commit:{commit_id} annotated:{digest}"),
        }
    }
}

/// For people: the target, then the annotation where it is compared. A precision shortens the ids: `{value:.12}`.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.target, f)?;
        match &self.annotation {
            Annotation::NotCompared => Ok(()),
            Annotation::Lightweight => f.write_str(" lightweight"),
            Annotation::Annotated(digest) => {
                let digest = digest.to_string();
                write!(
                    f,
                    " annotated:{}",
                    &digest[..f.precision().map_or(digest.len(), |digits| digits.min(digest.len()))]
                )
            }
        }
    }
}

impl serde::Serialize for Value {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The schema of what [`Value`] serialises to.
impl schemars::JsonSchema for Value {
    fn schema_name() -> Cow<'static, str> {
        "Value".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "What a tag means on one side, equal where the sides agree: the full id of the commit that it points at; where annotations are compared, then ` lightweight`, or ` annotated:` and the SHA-256 of the message.",
            "type": "string",
            "pattern": "^([0-9a-f]{40}|[0-9a-f]{64})( lightweight| annotated:[0-9a-f]{64})?$",
        })
    }
}

/// The text is no recorded value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a recorded value")]
pub struct InvalidValue;

impl FromStr for Value {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let (target, annotation) = text.split_once(' ').map_or((text, None), |(target, rest)| (target, Some(rest)));
        let (kind, id) = target.split_once(':').ok_or(InvalidValue)?;
        let target = match kind {
            "commit" => Target::Commit(id.parse().map_err(|_| InvalidValue)?),
            _ => return Err(InvalidValue),
        };
        let annotation = match annotation {
            None => Annotation::NotCompared,
            Some("lightweight") => Annotation::Lightweight,
            Some(annotated) => {
                let hex = annotated.strip_prefix("annotated:").ok_or(InvalidValue)?;
                // A SHA-256 digest has the form of a SHA-256 object id, whose parser checks every digit.
                let id = gix::ObjectId::from_hex(hex.as_bytes()).map_err(|_| InvalidValue)?;
                let digest = id.as_bytes().try_into().map_err(|_| InvalidValue)?;
                Annotation::Annotated(Box::new(MessageDigest(digest)))
            }
        };
        Ok(Self { target, annotation })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_survive_the_ledger() {
        let target = Target::Commit("2695effb5807a22ff3d138d593fd856244e155e7".parse().unwrap());
        for annotation in [Annotation::NotCompared, Annotation::Lightweight, Annotation::of_message(Some("First\n"))] {
            let value = Value { target, annotation };
            assert_eq!(value.to_record().parse(), Ok(value));
        }
        for broken in ["", "commit:", "commit:2695", "commit:2695effb5807a22ff3d138d593fd856244e155e7 x", "blob:1"] {
            assert_eq!(broken.parse::<Value>(), Err(InvalidValue), "{broken}");
        }
        assert_eq!("0".repeat(40).parse::<CommitId>(), Err(InvalidId));
    }

    #[test]
    fn messages_compare_without_line_ends_and_outer_white_space() {
        assert_eq!(Annotation::of_message(Some("a\r\nb\r\n\r\n")), Annotation::of_message(Some("\n a\nb")));
        assert_ne!(Annotation::of_message(Some("a")), Annotation::of_message(Some("b")));
        assert_eq!(Annotation::of_message(Some(" \n")), Annotation::Lightweight);
    }
}
