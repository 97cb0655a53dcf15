//! Vers (vers.sh): tags of a repository of machine snapshots.
//!
//! What is particular about it (2026-11-21, <https://docs.vers.sh/api-reference>, and vers-sdk 1.20.0):
//!
//! - A tag points at a *commit*, which there is the snapshot of a machine: a UUID that has nothing to do with git.
//! - The listing has no pages: one answer is everything.
//! - A tag moves in place, so it is never missing; but a write names no value that it expects to replace.
//! - The description is the only place for an annotated tag's message.
//! - A move is answered without a body (204), so the tag is read back to see what it has come to.
//! - 404 is the answer for a missing repository, tag and commit alike; only a text tells them apart.
//!
//! The key stands for an organisation, which no address names: the same repository's name is another one for another key.

mod api;
mod keys;
mod wire;

pub use api::Vers;
pub use keys::Keys;

use super::{Annotations, Capabilities, Deletes, Descriptor, Lease, Moves, NameRules};
use crate::http::path_refuses;
use crate::tag::{TagName, TargetKind};

/// What the tags of Vers are and can do.
pub static DESCRIPTOR: Descriptor = Descriptor {
    name: "vers",
    title: "Vers",
    capabilities: Capabilities {
        target: TargetKind::Snapshot,
        moves: Moves::InPlace,
        deletes: Deletes::Yes,
        annotations: Annotations::Message,
        lease: Lease::LookBefore,
        create_refuses_existing: true,
        names: NameRules {
            summary: "letters, digits, `-`, `_` and `.`; at most 128 bytes",
            refuses: refuses_name,
            are_refs: false,
        },
    },
    read: keys::read,
    schema: keys::schema,
};

/// The longest name of a repository's tag; the older tags that belong to no repository end at 64.
const LONGEST_NAME: usize = 128;

/// The server's own rules (2026-11-21, read in its source: counted in bytes, letters and digits of any script).
fn refuses_name(name: &TagName) -> Option<&'static str> {
    let Some(text) = name.as_str() else { return Some("it is not UTF-8, and JSON carries nothing else") };
    if text.len() > LONGEST_NAME {
        return Some("Vers refuses names of more than 128 bytes");
    }
    if !text.chars().all(|character| character.is_alphanumeric() || matches!(character, '-' | '_' | '.')) {
        return Some("Vers takes letters, digits, `-`, `_` and `.` only");
    }
    // `.` and `..` keep the rules, and no URL can carry them.
    path_refuses(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_vers_cannot_hold() {
        let refuses = |name: &str| refuses_name(&TagName::new(name).unwrap());
        for good in ["latest", "v1.0", "a_b-c.d", "-dash", "日本語", "é", &"x".repeat(128), &"é".repeat(64)] {
            assert_eq!(refuses(good), None, "{good}");
        }
        for bad in
            ["release/1.2", "v1.0.0+build5", "%2e%2e", "a%b", "a#b", "@", "a=b", &"x".repeat(129), &"é".repeat(65)]
        {
            assert!(refuses(bad).is_some(), "{bad}");
        }
        assert!(refuses_name(&TagName::new(b"\xff").unwrap()).is_some());
    }
}
