//! How a source tag's target on a remote is found.

use std::fmt;

use super::{NameTemplate, TrailerKey};

/// From a source tag to the target that it should have on a remote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResolveRule {
    /// What it points at itself, where that is of the remote's kind: the commit, the object, the manifest.
    Itself,
    /// What a tag on the remote points at that is named by this template.
    Tag(NameTemplate),
    /// What this trailer of its message says.
    Trailer(TrailerKey),
    /// What the note on its commit says.
    Note(NotesRef),
}

impl ResolveRule {
    /// The notes that have to be read for it.
    pub fn notes_ref(&self) -> Option<&NotesRef> {
        match self {
            Self::Note(notes_ref) => Some(notes_ref),
            Self::Itself | Self::Tag(_) | Self::Trailer(_) => None,
        }
    }

    /// Names on the remote that it reads from; they are never written or deleted.
    pub fn reads_from(&self) -> Option<&NameTemplate> {
        match self {
            Self::Tag(template) => Some(template),
            Self::Itself | Self::Trailer(_) | Self::Note(_) => None,
        }
    }
}

/// As the configuration writes it.
impl fmt::Display for ResolveRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Itself => f.write_str("what it points at"),
            Self::Tag(template) => write!(f, "{{ tag = \"{template}\" }}"),
            Self::Trailer(key) => write!(f, "{{ trailer = \"{key}\" }}"),
            Self::Note(notes_ref) => write!(f, "{{ note = \"{notes_ref}\" }}"),
        }
    }
}

/// A ref that holds notes: below `refs/notes/`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NotesRef(String);

/// The text is no ref below `refs/notes/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a ref below refs/notes/")]
pub struct InvalidNotesRef;

impl NotesRef {
    /// Checks the full name of a ref.
    pub fn new(name: &str) -> Result<Self, InvalidNotesRef> {
        let below = name.strip_prefix("refs/notes/").is_some_and(|rest| !rest.is_empty());
        if below && gix::validate::reference::name(name.into()).is_ok() {
            Ok(Self(name.to_owned()))
        } else {
            Err(InvalidNotesRef)
        }
    }

    /// The full name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NotesRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_below_their_directory() {
        assert!(["refs/notes/images", "refs/notes/a/b"].iter().all(|name| NotesRef::new(name).is_ok()));
        for bad in [
            "",
            "images",
            "notes/images",
            "refs/notes",
            "refs/notes/",
            "refs/tags/v1",
            "refs/notes/../x",
            "refs/notes/a b",
        ] {
            assert_eq!(NotesRef::new(bad), Err(InvalidNotesRef), "{bad}");
        }
    }
}
