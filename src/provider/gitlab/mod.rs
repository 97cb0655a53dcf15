//! GitLab, gitlab.com and self-managed: tags through the REST API.
//!
//! What is particular about it (2026-11-21, <https://docs.gitlab.com/api/tags/>):
//!
//! - The server makes its own tag objects, so a tag's value is its peeled commit, with the message where that is compared.
//! - There is no update: a move is a delete and a create, and deleting a tag destroys the Release attached to it.
//! - Keyset paging neither repeats nor skips names while tags come and go; servers that do not know it page by offset.
//! - 404 is the answer both for what is not there and for what may not be seen.
//!
//! Tokens go as `Authorization: Bearer`, which takes personal, project, group and OAuth tokens. Job tokens
//! (`CI_JOB_TOKEN`) are of no use here: with them the API lists tags and neither creates nor deletes any.

mod api;
mod host;
mod keys;
mod list;
mod wire;

pub use api::GitLab;
pub use keys::Keys;

use super::smart_http;
use super::{Annotations, Capabilities, Deletes, Descriptor, Lease, Moves, NameRules};
use crate::http::path_refuses;
use crate::tag::{TagName, TargetKind};

/// What GitLab's tags are and can do.
pub static DESCRIPTOR: Descriptor = Descriptor {
    name: "gitlab",
    title: "GitLab",
    capabilities: Capabilities {
        target: TargetKind::Commit,
        moves: Moves::Recreate,
        deletes: Deletes::Yes,
        annotations: Annotations::Message,
        lease: Lease::LookBefore,
        create_refuses_existing: true,
        names: NameRules {
            summary: "UTF-8, at most 4,096 bytes; not beginning with a full commit id or with refs/tags/",
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

/// GitLab's own rules (2026-11-21, `lib/gitlab/checks/tag_check.rb`), and what a URL and JSON can carry.
///
/// It also refuses the name of the default branch; that is for the server to say, because only it knows that name.
fn refuses_name(name: &TagName) -> Option<&'static str> {
    let bytes = name.as_bytes();
    if name.as_str().is_none() {
        return Some("it is not UTF-8, and JSON carries nothing else");
    }
    if bytes.len() > LONGEST_NAME {
        return Some("it is longer than 4,096 bytes");
    }
    if bytes.starts_with(b"refs/tags/") {
        return Some("GitLab refuses names that begin with refs/tags/");
    }
    // A SHA-256 id begins with forty such digits, too.
    if bytes.len() >= 40 && bytes[..40].iter().all(u8::is_ascii_hexdigit) {
        return Some("GitLab refuses names that begin like a full commit id");
    }
    path_refuses(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_gitlab_cannot_hold() {
        let refuses = |name: &[u8]| refuses_name(&TagName::new(name).unwrap());
        for good in ["v1.0.0+build5", "release/1.2", "-dash", "é", "%2F", "a%b", "2695effb", "refs/heads/x"] {
            assert_eq!(refuses(good.as_bytes()), None, "{good}");
        }
        for bad in [
            b"\xff".as_slice(),
            b"refs/tags/v1",
            b"2695effb5807a22ff3d138d593fd856244e155e7",
            b"2695EFFB5807a22ff3d138d593fd856244e155e7-rc",
            b"%2e%2e",
            b"a/%2e%2e/b",
            &[b'x'; 4097],
        ] {
            assert!(refuses(bad).is_some(), "{bad:?}");
        }
    }
}
