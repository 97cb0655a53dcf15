//! Gitea and Forgejo, of which the API for tags is the same: tags through the REST API.
//!
//! What is particular about it (2026-11-21, <https://docs.gitea.com/api/>, and the server's `routers/api/v1/repo/tag.go`):
//!
//! - The server makes its own tag objects by `git tag -a -m`, so a tag's value is its peeled commit, with the message where that
//!   is compared. git strips comments and doubled empty lines from such a message.
//! - There is no update: a move is a delete and a create. A tag with a Release is not deleted: the server refuses (409).
//! - Pages are by offset, newest tags first, and each says how many tags there are.
//! - The database behind the API knows names without their case: see `api.rs`.
//!
//! Forgejo forked off Gitea 1.21 and kept these routes (2026-11-21, <https://codeberg.org/api/swagger>); it differs in fields that
//! nobody reads here.

mod api;
mod host;
mod keys;
mod list;
mod wire;

pub use api::Gitea;
pub use keys::Keys;

use super::smart_http;
use super::{Annotations, Capabilities, Deletes, Descriptor, Lease, Moves, NameRules};
use crate::http::path_refuses;
use crate::tag::{TagName, TargetKind};

/// What Gitea's tags are and can do.
pub static DESCRIPTOR: Descriptor = Descriptor {
    name: "gitea",
    title: "Gitea and Forgejo",
    capabilities: Capabilities {
        target: TargetKind::Commit,
        moves: Moves::Recreate,
        deletes: Deletes::Yes,
        annotations: Annotations::Message,
        lease: Lease::LookBefore,
        create_refuses_existing: true,
        names: NameRules {
            summary: "UTF-8, at most 4,096 bytes; not beginning with a hyphen",
            refuses: refuses_name,
            are_refs: true,
        },
    },
    read: keys::read,
    schema: keys::schema,
};

/// The same with `transport = "git"`.
pub static OVER_GIT: Capabilities = smart_http::CAPABILITIES;

/// Longer names fit into no path of a server's file system, and a listing of such would fill our memory.
const LONGEST_NAME: usize = 4096;

/// What `git tag` refuses, which the server runs, and what a URL and JSON can carry.
fn refuses_name(name: &TagName) -> Option<&'static str> {
    let bytes = name.as_bytes();
    if name.as_str().is_none() {
        return Some("it is not UTF-8, and JSON carries nothing else");
    }
    if bytes.len() > LONGEST_NAME {
        return Some("it is longer than 4,096 bytes");
    }
    // git refuses one hyphen; of two the server makes another name (2026-11-21, `services/release/release.go`).
    if bytes.starts_with(b"-") {
        return Some("it begins with a hyphen, and Gitea makes tags by `git tag`, which refuses that");
    }
    path_refuses(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_gitea_cannot_hold() {
        let refuses = |name: &[u8]| refuses_name(&TagName::new(name).unwrap());
        for good in ["v1.0.0+build5", "release/1.2", "é", "%2F", "a%b", "2695effb", "a/-b"] {
            assert_eq!(refuses(good.as_bytes()), None, "{good}");
        }
        for bad in [b"\xff".as_slice(), b"-dash", b"--x", b"%2e%2e", b"a/%2e%2e/b", &[b'x'; 4097]] {
            assert!(refuses(bad).is_some(), "{bad:?}");
        }
    }
}
