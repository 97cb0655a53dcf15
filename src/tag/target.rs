//! What a tag points at, and what makes two tags equal.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::text::excerpt;

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
        impl $name {
            /// The id's 20 or 32 bytes.
            pub fn as_bytes(&self) -> &[u8] {
                self.0.as_bytes()
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

impl From<CommitId> for ObjectId {
    fn from(id: CommitId) -> Self {
        Self(id.0)
    }
}

impl From<TagId> for ObjectId {
    fn from(id: TagId) -> Self {
        Self(id.0)
    }
}

/// The digest of a manifest: `sha256:` and 64 digits, or `sha512:` and 128.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ManifestDigest(Digest);

/// The long form is rare, and apart from the rest, so that it makes no other target larger.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Digest {
    Sha256([u8; 32]),
    Sha512(Box<[u8; 64]>),
}

/// The text is no digest of a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not `sha256:` and 64, or `sha512:` and 128, lower-case hexadecimal digits")]
pub struct InvalidDigest;

impl ManifestDigest {
    fn bytes(&self) -> (&'static str, &[u8]) {
        match &self.0 {
            Digest::Sha256(bytes) => ("sha256", bytes),
            Digest::Sha512(bytes) => ("sha512", bytes.as_slice()),
        }
    }
}

impl FromStr for ManifestDigest {
    type Err = InvalidDigest;

    fn from_str(text: &str) -> Result<Self, InvalidDigest> {
        match text.split_once(':') {
            Some(("sha256", hex)) => from_lower_hex(hex).map(|bytes| Self(Digest::Sha256(bytes))),
            Some(("sha512", hex)) => from_lower_hex(hex).map(|bytes| Self(Digest::Sha512(Box::new(bytes)))),
            Some(_) | None => None,
        }
        .ok_or(InvalidDigest)
    }
}

/// As many bytes as there are pairs of digits; registries compare digests as texts, so upper case is another one.
fn from_lower_hex<const N: usize>(hex: &str) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    if hex.len() != 2 * N {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

/// A precision is the number of digits shown: `{digest:.12}` gives `sha256:0123456789ab`.
impl fmt::Display for ManifestDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (algorithm, bytes) = self.bytes();
        write!(f, "{algorithm}:")?;
        let digits = f.precision().unwrap_or(usize::MAX);
        for (at, byte) in bytes.iter().enumerate().take_while(|(at, _)| 2 * at < digits) {
            match digits - 2 * at {
                1 => write!(f, "{:x}", byte >> 4)?,
                _ => write!(f, "{byte:02x}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for ManifestDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ManifestDigest({self:.8})")
    }
}

/// The kind of thing that a remote's tags point at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetKind {
    /// The commit that a tag peels to; the tag object around it is the server's own.
    Commit,
    /// What the ref itself holds: a tag object as it is, or any other object.
    Object,
    /// A snapshot of a machine, known by a UUID (Vers calls it a commit).
    Snapshot,
    /// A manifest in a registry, known by its digest.
    Digest,
}

/// A text that is no target of the kind that a remote's tags point at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{found}` is no {kind} ({})", kind.form())]
pub struct InvalidTarget {
    /// The text, cut and made printable.
    found: String,
    kind: TargetKind,
}

impl TargetKind {
    /// What a target of this kind looks like.
    fn form(self) -> &'static str {
        match self {
            Self::Commit | Self::Object => "40 or 64 lower-case hexadecimal digits",
            Self::Snapshot => "a UUID in five groups, like 67e55044-10b1-426f-9247-bb680e5fe0c8",
            Self::Digest => "`sha256:` and 64 lower-case hexadecimal digits",
        }
    }

    /// Reads what somebody wrote as a target of this kind.
    pub fn parse(self, text: &str) -> Result<Target, InvalidTarget> {
        let target = match self {
            Self::Commit => text.parse().ok().map(Target::Commit),
            Self::Object => text.parse().ok().map(Target::Object),
            Self::Snapshot => snapshot(text).map(Target::Snapshot),
            Self::Digest => text.parse().ok().map(Target::Digest),
        };
        target.ok_or_else(|| InvalidTarget { found: excerpt(text.as_bytes(), 120), kind: self })
    }
}

/// A UUID in the one form that everybody writes; all zeros stand for nothing.
fn snapshot(text: &str) -> Option<Uuid> {
    if text.len() != uuid::fmt::Hyphenated::LENGTH {
        return None;
    }
    Uuid::try_parse(text).ok().filter(|id| !id.is_nil())
}

impl fmt::Display for TargetKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Commit => "git commit",
            Self::Object => "git object",
            Self::Snapshot => "snapshot id",
            Self::Digest => "manifest digest",
        })
    }
}

/// What a tag points at, in the remote's own kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// A commit, however many tag objects stand before it.
    Commit(CommitId),
    /// The very object that the ref holds, so that equal values are equal byte for byte.
    Object(ObjectId),
    /// A snapshot of a machine.
    Snapshot(Uuid),
    /// A manifest in a registry.
    Digest(ManifestDigest),
}

impl Target {
    /// Which kind this is.
    pub fn kind(&self) -> TargetKind {
        match self {
            Self::Commit(_) => TargetKind::Commit,
            Self::Object(_) => TargetKind::Object,
            Self::Snapshot(_) => TargetKind::Snapshot,
            Self::Digest(_) => TargetKind::Digest,
        }
    }
}

/// A precision shortens what has digits enough to be told apart by some; a UUID is always whole, because its first digits
/// may be a time.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Commit(commit_id) => fmt::Display::fmt(commit_id, f),
            Self::Object(id) => fmt::Display::fmt(id, f),
            Self::Snapshot(id) => write!(f, "{id}"),
            Self::Digest(digest) => fmt::Display::fmt(digest, f),
        }
    }
}

/// A fingerprint of an annotated tag's message, after [`normalise`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageDigest([u8; 32]);

impl MessageDigest {
    /// Whether it is that of this message.
    pub fn is_of(&self, message: &str) -> bool {
        matches!(Annotation::of_message(Some(message)), Annotation::Annotated(digest) if *digest == *self)
    }
}

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
/// As text it is lossless, and it is what the ledger keeps: `commit:ID`, `object:ID`, `uuid:ID` or `digest:sha256:DIGITS`, then
/// ` lightweight` or ` annotated:DIGEST` where annotations are compared.
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
        let kind = match self.target {
            Target::Commit(_) => "commit",
            Target::Object(_) => "object",
            Target::Snapshot(_) => "uuid",
            Target::Digest(_) => "digest",
        };
        let target = &self.target;
        match &self.annotation {
            Annotation::NotCompared => format!("{kind}:{target}"),
            Annotation::Lightweight => format!("{kind}:{target} lightweight"),
            Annotation::Annotated(digest) => format!("{kind}:{target} annotated:{digest}"),
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
        let kind = match kind {
            "commit" => TargetKind::Commit,
            "object" => TargetKind::Object,
            "uuid" => TargetKind::Snapshot,
            "digest" => TargetKind::Digest,
            _ => return Err(InvalidValue),
        };
        let target = kind.parse(id).map_err(|_| InvalidValue)?;
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
    use proptest::prelude::*;

    use super::*;

    const COMMIT: &str = "2695effb5807a22ff3d138d593fd856244e155e7";
    const SNAPSHOT: &str = "67e55044-10b1-426f-9247-bb680e5fe0c8";

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn every_target_survives_the_ledger(target in targets(), annotation in annotations()) {
            prop_assert_eq!(target.kind().parse(&target.to_string()), Ok(target.clone()));
            let value = Value { target, annotation };
            prop_assert_eq!(value.to_record().parse(), Ok(value));
        }

        #[test]
        fn no_text_is_read_as_what_it_is_not(
            text in prop_oneof![
                any::<String>(),
                "(commit|uuid|digest|blob)?:?(sha256|sha512|SHA256)?:?[0-9a-fA-F-]{0,140}( lightweight| annotated:[0-9a-f]{0,70})?",
                // One digit too few, just enough, one too many.
                "digest:sha256:[0-9a-f]{63,65}",
                "digest:sha512:[0-9a-f]{127,129}",
                "uuid:[0-9a-f]{8}-?[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
                "commit:[0-9a-f]{39,41}",
            ],
        ) {
            // Whatever is read says the same again; an id in upper case is told to be the same id.
            if let Ok(value) = text.parse::<Value>() {
                prop_assert_eq!(value.to_record(), text.to_ascii_lowercase());
            }
            for kind in [TargetKind::Commit, TargetKind::Snapshot, TargetKind::Digest] {
                match kind.parse(&text) {
                    Ok(target) => prop_assert_eq!(target.kind(), kind),
                    Err(fault) => prop_assert!(!fault.to_string().contains(char::is_control)),
                }
            }
        }
    }

    fn targets() -> impl Strategy<Value = Target> {
        prop_oneof![
            any::<[u8; 20]>().prop_filter_map("zeros", |id| commit_target(&id)),
            any::<[u8; 32]>().prop_filter_map("zeros", |id| commit_target(&id)),
            any::<[u8; 20]>().prop_filter_map("zeros", |id| object_target(&id)),
            any::<[u8; 16]>()
                .prop_map(Uuid::from_bytes)
                .prop_filter("zeros", |id| !id.is_nil())
                .prop_map(Target::Snapshot),
            any::<[u8; 32]>().prop_map(|digest| Target::Digest(ManifestDigest(Digest::Sha256(digest)))),
            proptest::collection::vec(any::<u8>(), 64).prop_map(|digest| {
                Target::Digest(ManifestDigest(Digest::Sha512(Box::new(digest.try_into().unwrap()))))
            }),
        ]
    }

    fn object_target(id: &[u8]) -> Option<Target> {
        let id = gix::ObjectId::try_from(id).ok().filter(|id| !id.is_null())?;
        Some(Target::Object(id.into()))
    }

    fn commit_target(id: &[u8]) -> Option<Target> {
        let id = gix::ObjectId::try_from(id).ok().filter(|id| !id.is_null())?;
        Some(Target::Commit(id.into()))
    }

    fn annotations() -> impl Strategy<Value = Annotation> {
        prop_oneof![
            Just(Annotation::NotCompared),
            any::<Option<String>>().prop_map(|message| Annotation::of_message(message.as_deref())),
        ]
    }

    #[test]
    fn values_survive_the_ledger() {
        let target = Target::Commit(COMMIT.parse().unwrap());
        assert_eq!(Value::of(target.clone()).to_record(), format!("commit:{COMMIT}"));
        for annotation in [Annotation::NotCompared, Annotation::Lightweight, Annotation::of_message(Some("First\n"))] {
            let value = Value { target: target.clone(), annotation };
            assert_eq!(value.to_record().parse(), Ok(value));
        }
        let snapshot = TargetKind::Snapshot.parse(SNAPSHOT).unwrap();
        assert_eq!(Value::of(snapshot).to_record(), format!("uuid:{SNAPSHOT}"));
        let digest = format!("sha256:{}", "0123456789abcdef".repeat(4));
        let target = TargetKind::Digest.parse(&digest).unwrap();
        assert_eq!(Value::of(target).to_record(), format!("digest:{digest}"));
        for broken in ["", "commit:", "commit:2695", "commit:2695effb5807a22ff3d138d593fd856244e155e7 x", "blob:1"] {
            assert_eq!(broken.parse::<Value>(), Err(InvalidValue), "{broken}");
        }
        assert_eq!("0".repeat(40).parse::<CommitId>(), Err(InvalidId));
    }

    #[test]
    fn a_digest_is_lower_case_and_complete() {
        let digits = "0123456789abcdef".repeat(4);
        for broken in [
            String::new(),
            digits.clone(),
            format!("sha256:{}", digits.to_uppercase()),
            format!("SHA256:{digits}"),
            format!("sha256:{}", &digits[1..]),
            format!("sha256:{digits}0"),
            format!("sha256: {digits}"),
            format!("sha512:{digits}"),
            format!("sha384:{digits}"),
            format!("sha256:+{}", &digits[1..]),
            format!("sha256:{}é", &digits[2..]),
        ] {
            assert_eq!(broken.parse::<ManifestDigest>(), Err(InvalidDigest), "{broken}");
        }
        let short = format!("sha256:{digits}").parse::<ManifestDigest>().unwrap();
        assert_eq!(format!("{short:.12}"), "sha256:0123456789ab");
        assert_eq!(format!("{short:.7} {short:.0}"), "sha256:0123456 sha256:");
        assert_eq!(short.to_string(), format!("sha256:{digits}"));
        let long = format!("sha512:{digits}{digits}");
        assert_eq!(long.parse::<ManifestDigest>().unwrap().to_string(), long);
    }

    #[test]
    fn a_snapshot_has_one_form_and_is_shown_whole() {
        let target = TargetKind::Snapshot.parse(SNAPSHOT).unwrap();
        assert_eq!(format!("{target:.12}"), SNAPSHOT);
        assert_eq!(TargetKind::Snapshot.parse(&SNAPSHOT.to_uppercase()), Ok(target));
        for broken in [
            "67e5504410b1426f9247bb680e5fe0c8",
            "{67e55044-10b1-426f-9247-bb680e5fe0c8}",
            "urn:uuid:67e55044-10b1-426f-9247-bb680e5fe0c8",
            "00000000-0000-0000-0000-000000000000",
            " 7e55044-10b1-426f-9247-bb680e5fe0c8",
        ] {
            assert!(TargetKind::Snapshot.parse(broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn what_is_no_target_is_quoted_safely() {
        let fault = TargetKind::Digest.parse("\u{1b}[31m\u{202e}latest").unwrap_err().to_string();
        assert_eq!(
            fault,
            "`\\u{1b}[31m\\u{202e}latest` is no manifest digest (`sha256:` and 64 lower-case hexadecimal digits)"
        );
        assert!(TargetKind::Snapshot.parse(&"x".repeat(10_000)).unwrap_err().to_string().len() < 300);
    }

    #[test]
    fn other_kinds_make_no_target_larger() {
        assert_eq!(size_of::<Target>(), 40);
        assert_eq!(size_of::<Value>(), 56, "as it was when all targets were commits");
    }

    #[test]
    fn messages_compare_without_line_ends_and_outer_white_space() {
        assert_eq!(Annotation::of_message(Some("a\r\nb\r\n\r\n")), Annotation::of_message(Some("\n a\nb")));
        assert_ne!(Annotation::of_message(Some("a")), Annotation::of_message(Some("b")));
        assert_eq!(Annotation::of_message(Some(" \n")), Annotation::Lightweight);
    }
}
