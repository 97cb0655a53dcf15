//! Any registry that speaks the distribution API: an image's tags.
//!
//! What is particular about it, besides what `provider::distribution` says (2026-11-21,
//! <https://github.com/opencontainers/distribution-spec/blob/main/spec.md>):
//!
//! - Single tags can be deleted only where the registry chose to offer it. Many do not, and some take everything that a
//!   manifest has along, so deletes have to be allowed by the configuration.
//! - Nothing identifies an image but its name: one that was deleted and pushed anew is the same image to everybody.
//! - Nothing compares before it writes.

mod api;
mod keys;

pub use api::Registry;
pub use keys::Keys;

use super::distribution::{NAMES, refuses_name};
use super::{Annotations, Capabilities, Deletes, Descriptor, Lease, Moves, NameRules};
use crate::tag::TargetKind;

/// What a registry's tags are and can do unless the remote says `deletes = "tag"`.
pub static DESCRIPTOR: Descriptor = Descriptor {
    name: "oci",
    title: "OCI registry",
    capabilities: capabilities(Deletes::Never("`deletes` of the remote is `never`, as long as it does not say `tag`")),
    read: keys::read,
    schema: keys::schema,
};

/// The same with `deletes = "tag"`.
pub static DELETING: Capabilities = capabilities(Deletes::Yes);

const fn capabilities(deletes: Deletes) -> Capabilities {
    Capabilities {
        target: TargetKind::Digest,
        moves: Moves::InPlace,
        deletes,
        annotations: Annotations::None,
        lease: Lease::LookBefore,
        create_refuses_existing: false,
        names: NameRules { summary: NAMES, refuses: refuses_name, are_refs: false },
    }
}
