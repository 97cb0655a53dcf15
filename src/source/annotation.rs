//! What stands in an annotated tag's own object.

use std::fmt;

use gix::objs::{Kind, TagRefIter, signature::Format, tag::ref_iter::Token};

use crate::wire::{Object, ObjectFormat};

/// An annotated tag's own object, as far as remotes can hold it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnnotatedTag {
    /// The message without a signature; bytes that are no UTF-8 are replaced.
    pub message: String,
    /// What kind of signature follows the message.
    pub signature: Option<SignatureKind>,
    /// Whether it points at another tag object.
    pub nested: bool,
}

/// What a tag is signed with. Only recognised, never verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureKind {
    /// `gpg` and its like.
    OpenPgp,
    /// `ssh-keygen`.
    Ssh,
    /// `gpgsm`.
    X509,
}

impl fmt::Display for SignatureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OpenPgp => "OpenPGP",
            Self::Ssh => "SSH",
            Self::X509 => "X.509",
        })
    }
}

/// What a tag object of these bytes points at; `None` where it does not say that.
pub fn target_of(bytes: &[u8], format: ObjectFormat) -> Option<Object> {
    let mut tokens = TagRefIter::from_bytes(bytes, format);
    match (tokens.next(), tokens.next()) {
        (Some(Ok(Token::Target { id })), Some(Ok(Token::TargetKind(kind)))) => Some(Object { id, kind }),
        _ => None,
    }
}

impl AnnotatedTag {
    /// Reads the bytes of a tag object; `None` where they are those of something else.
    pub fn read(bytes: &[u8], format: ObjectFormat) -> Option<Self> {
        Some(Self::of_object(bytes, target_of(bytes, format)?.kind))
    }

    /// Reads the object's bytes; `target` is what it says to point at.
    pub(super) fn of_object(bytes: &[u8], target: Kind) -> Self {
        let (text, signature) = match TagRefIter::signature(bytes) {
            Some((signature, _)) => {
                let kind = match signature.format {
                    Format::OpenPgp => SignatureKind::OpenPgp,
                    Format::Ssh => SignatureKind::Ssh,
                    Format::X509 => SignatureKind::X509,
                };
                (&bytes[..bytes.len() - signature.data.len()], Some(kind))
            }
            None => (bytes, None),
        };
        // The first empty line ends the headers, of which newer gits know more than older ones.
        let message = text.windows(2).position(|pair| pair == b"\n\n").map_or(&[][..], |at| &text[at + 2..]);
        Self { message: String::from_utf8_lossy(message).into_owned(), signature, nested: target == Kind::Tag }
    }
}
