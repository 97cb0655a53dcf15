//! Vercel Container Registry: an image's tags, read through the REST API and written through the registry.
//!
//! What is particular about it (2026-11-21, <https://vercel.com/docs/rest-api/vcr/get-a-repository-tag> and the pages next
//! to it):
//!
//! - The REST API shows each tag with its digest, so a listing is a few pages and no request for each tag. It writes none.
//! - A tag is written by writing its manifest under the tag's name to the registry, which has an address and a login of
//!   its own: the team's id with the same token.
//! - No published call removes one tag. Deleting an image takes all of its tags along, so nothing is ever deleted here.
//! - 404 is also the answer to a token that does not reach this far (seen with tokens limited to a project or a team,
//!   2026-09-20), and 410 that of a repository that is about to go. Neither says anything about tags.

mod api;
mod keys;
mod list;
mod wire;

pub use api::Vercel;
pub use keys::Keys;

use super::distribution::{NAMES, refuses_name};
use super::{Annotations, Capabilities, Deletes, Descriptor, Lease, Moves, NameRules};
use crate::tag::TargetKind;

/// What its tags are and can do.
pub static DESCRIPTOR: Descriptor = Descriptor {
    name: "vercel",
    title: "Vercel Container Registry",
    capabilities: Capabilities {
        target: TargetKind::Digest,
        moves: Moves::InPlace,
        deletes: Deletes::Never(
            "no call of the API removes one tag; deleting its image would take all of its tags along",
        ),
        annotations: Annotations::None,
        lease: Lease::LookBefore,
        create_refuses_existing: false,
        names: NameRules { summary: NAMES, refuses: refuses_name, are_refs: false },
    },
    read: keys::read,
    schema: keys::schema,
};
