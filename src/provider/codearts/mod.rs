//! Huawei CodeArts Repo: tags through the v4 REST API.
//!
//! What is particular about it (2026-11-21, <https://support.huaweicloud.com/intl/en-us/api-codeartsrepo/ListTags.html>
//! and its neighbours, and the SDK `huaweicloudsdkcodeartsrepo` 3.1.219, which knows the routes and says little more):
//!
//! - The server makes its own tag objects, so a tag's value is its peeled commit, with the message where that is compared.
//! - There is no update: a move is a delete and a create.
//! - One tag is shown and deleted under `…/repository/tag?tag_name=`, in the singular; its pages call tags "labels", and
//!   the pages about "tags" are about labels.
//! - What a refusal looks like is hardly documented, so a write's answer is never trusted to say what became of it.
//!
//! Credentials are a token that somebody else obtained, a user and password that IAM exchanges for one, or an access key
//! that signs every request.

mod api;
mod host;
mod keys;
mod list;
mod sign;
mod wire;

pub use api::CodeArts;
pub use keys::{Iam, Keys, Proof};

use super::smart_http;
use super::{Annotations, Capabilities, Deletes, Descriptor, Lease, Moves, NameRules};
use crate::tag::{TagName, TargetKind};

/// What CodeArts Repo's tags are and can do.
pub static DESCRIPTOR: Descriptor = Descriptor {
    name: "codearts",
    title: "Huawei CodeArts Repo",
    capabilities: Capabilities {
        target: TargetKind::Commit,
        moves: Moves::Recreate,
        deletes: Deletes::Yes,
        annotations: Annotations::Message,
        lease: Lease::LookBefore,
        // It is not documented what becomes of a create of an existing name; a look costs less than a lost tag.
        create_refuses_existing: false,
        names: NameRules { summary: "UTF-8, at most 2,000 characters", refuses: refuses_name, are_refs: true },
    },
    read: keys::read,
    schema: keys::schema,
};

/// The same with `transport = "git"`.
pub static OVER_GIT: Capabilities = smart_http::CAPABILITIES;

/// Longer names are refused at the edge of the API (2026-11-21, the page on ShowTag).
const LONGEST_NAME: usize = 2000;

/// What JSON and the API can carry. Names travel in queries, so no path stands in their way.
fn refuses_name(name: &TagName) -> Option<&'static str> {
    match name.as_str() {
        None => Some("it is not UTF-8, and JSON carries nothing else"),
        Some(text) if text.chars().count() > LONGEST_NAME => Some("it is longer than 2,000 characters"),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_the_api_cannot_carry() {
        let refuses = |name: &[u8]| refuses_name(&TagName::new(name).unwrap());
        let long = "é".repeat(2000);
        for good in ["v1.0.0+build5", "-x/é+1", "%2e%2e", "refs/tags/v1", &long] {
            assert_eq!(refuses(good.as_bytes()), None, "{good}");
        }
        for bad in [b"\xff".as_slice(), "é".repeat(2001).as_bytes()] {
            assert!(refuses(bad).is_some(), "{bad:?}");
        }
    }
}
