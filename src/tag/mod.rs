//! The nouns of a pass: names, targets and values, snapshots of both sides, which names count, what they are called remotely.
//!
//! Everything here is pure: no clock, no file, no network.

mod fingerprint;
mod mapping;
mod name;
mod rule;
mod selection;
mod sighting;
mod snapshot;
mod target;
mod template;
mod trailer;

pub use fingerprint::{Fingerprint, RefsDigest};
pub use mapping::NameMapping;
pub use name::{InvalidTagName, TagName};
pub use rule::{InvalidNotesRef, NotesRef, ResolveRule};
pub use selection::{Decisive, InvalidPattern, NamePatterns, Selection};
pub use sighting::{Division, Known, Listed, Looks, ProvenNames, SIGHTING_AGE, Sighting, Sightings};
pub use snapshot::{
    Attachment, End, GitTag, Listing, ListingFault, Notes, Peeled, RemoteSnapshot, RemoteTag, SourceSnapshot, SourceTag,
};
pub use target::{
    Annotation, CommitId, InvalidDigest, InvalidId, InvalidTarget, InvalidValue, ManifestDigest, MessageDigest,
    ObjectId, TagId, Target, TargetKind, Value, normalise,
};
pub use template::{InvalidTemplate, NameTemplate, PLACEHOLDERS};
pub use trailer::{InvalidTrailerKey, TrailerKey};
