//! GitHub, github.com and Enterprise: tags through the REST API for git's refs and tag objects.
//!
//! What is particular about it (2026-11-21, <https://docs.github.com/en/rest/git/refs>, <https://docs.github.com/en/rest/git/tags>):
//!
//! - One answer lists all refs; pages are no longer known (<https://github.com/google/go-github/pull/3924>). It names tag objects and
//!   not what they lead to: see `peel.rs`.
//! - An annotated tag is made in two steps: the object with tagger, date and message of the source's, then the ref. Where the object
//!   comes out as the source's, byte for byte, it has the same id. A signature cannot be sent.
//! - A ref moves in place. A move keeps a Release, a deletion makes a draft of it.
//! - Names stand in paths with their slashes as they are.
//! - Everything that is refused is 422, in words only. So after a refusal the ref is read, and its state decides.
//! - Writes go one after the other, at most one a second and 500 an hour.

mod api;
mod host;
mod keys;
mod list;
mod object;
mod peel;
mod wire;

use std::time::Duration;

pub use api::GitHub;
pub use keys::Keys;

use super::smart_http;
use super::{Annotations, Capabilities, Deletes, Descriptor, Lease, Moves, NameRules};
use crate::http::{WriteLimits, path_refuses};
use crate::tag::{TagName, TargetKind};

/// What GitHub's tags are and can do.
pub static DESCRIPTOR: Descriptor = Descriptor {
    name: "github",
    title: "GitHub",
    capabilities: Capabilities {
        target: TargetKind::Commit,
        moves: Moves::InPlace,
        deletes: Deletes::Yes,
        annotations: Annotations::Message,
        lease: Lease::LookBefore,
        create_refuses_existing: true,
        names: NameRules {
            summary: "UTF-8, at most 4,096 bytes; not 40 hexadecimal digits",
            refuses: refuses_name,
            are_refs: true,
        },
    },
    read: keys::read,
    schema: keys::schema,
};

/// The same with `transport = "git"`.
pub static OVER_GIT: Capabilities = smart_http::CAPABILITIES;

/// What github.com asks of those who write, before it refuses them everything for a while (2026-11-21): at least a second between
/// two writes, one after the other
/// (<https://docs.github.com/en/rest/using-the-rest-api/best-practices-for-using-the-rest-api#pause-between-mutative-requests>), at most
/// 80 a minute, and 500 an hour
/// (<https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api#about-secondary-rate-limits>).
const LIMITS: WriteLimits = WriteLimits { pause: Duration::from_secs(1), per_hour: 500 };

/// Longer names fit into no path of a server's file system, and a listing of such would fill our memory.
const LONGEST_NAME: usize = 4096;

/// GitHub's own rule (2026-11-21, "GH002: Sorry, branch or tag names consisting of 40 hex characters are not allowed."), and what a
/// URL and JSON can carry.
fn refuses_name(name: &TagName) -> Option<&'static str> {
    let bytes = name.as_bytes();
    if name.as_str().is_none() {
        return Some("it is not UTF-8, and JSON carries nothing else");
    }
    if bytes.len() > LONGEST_NAME {
        return Some("it is longer than 4,096 bytes");
    }
    if bytes.len() == 40 && bytes.iter().all(u8::is_ascii_hexdigit) {
        return Some("GitHub refuses names of 40 hexadecimal digits, which look like a commit id");
    }
    path_refuses(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_github_cannot_hold() {
        let refuses = |name: &[u8]| refuses_name(&TagName::new(name).unwrap());
        for good in ["v1.0.0+build5", "release/1.2", "-dash", "é", "%2F", "a%b", "2695effb", "refs/heads/x"] {
            assert_eq!(refuses(good.as_bytes()), None, "{good}");
        }
        for bad in
            [b"\xff".as_slice(), b"2695effb5807a22ff3d138d593fd856244e155e7", b"%2e%2e", b"a/%2e%2e/b", &[b'x'; 4097]]
        {
            assert!(refuses(bad).is_some(), "{bad:?}");
        }
    }
}
