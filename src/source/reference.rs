//! What a ref holds, in the two places where git keeps refs.

use gix::ObjectId;
use gix::hash::Kind;

/// What a ref leads to: an object, and where packed-refs says that this one leads in turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub(super) id: ObjectId,
    pub(super) peeled: Option<ObjectId>,
}

/// What a ref holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Held {
    /// An object.
    Object(End),
    /// Another ref, by its full and valid name.
    Symbolic(Vec<u8>),
}

impl Held {
    /// Reads the content of a ref's own file by git's rules: `ref: NAME`, or an id that white space may follow.
    pub(super) fn of_file(content: &[u8], hash: Kind) -> Result<Self, String> {
        let content = content.trim_ascii_end();
        if content.is_empty() {
            return Err("its file is empty".into());
        }
        if let Some(name) = content.strip_prefix(b"ref:") {
            return Self::symbolic(name.trim_ascii_start());
        }
        let end = content.iter().position(u8::is_ascii_whitespace).unwrap_or(content.len());
        match parse_id(&content[..end], hash) {
            Some(id) => Ok(Self::Object(End { id, peeled: None })),
            None => Err("its file holds no object id".into()),
        }
    }

    /// A ref to another ref.
    pub(super) fn symbolic(name: &[u8]) -> Result<Self, String> {
        match gix::validate::reference::name(name.into()) {
            Ok(_) => Ok(Self::Symbolic(name.to_vec())),
            Err(fault) => Err(format!("it refers to a ref with an invalid name: {fault}")),
        }
    }
}

/// An id of the repository's own length; all zeros is what is left of an id that was never written.
pub(super) fn parse_id(hex: &[u8], hash: Kind) -> Option<ObjectId> {
    (hex.len() == hash.len_in_hex()).then(|| ObjectId::from_hex(hex).ok()).flatten().filter(|id| !id.is_null())
}
