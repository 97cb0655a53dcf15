//! What stands for the tags of a repository as their refs hold them: no object is opened for it.
//!
//! What an object is does not change, so as long as refs hold what they held, a snapshot of before is still the snapshot, unless
//! objects got lost since. The other way round says nothing: a branch that was packed makes another digest of the same tags.

use super::listing::{check, read_loose, unreadable_packed};
use super::loose::LooseTag;
use super::packed::{self, FileDigest};
use super::reference::Held;
use super::{Repository, SourceFault};
use crate::tag::{Fingerprint, RefsDigest};

/// Reads it, in the order of [`super::listing`]. Refs that change meanwhile may look as they did before; then the next reading
/// tells, because nothing follows from this one but that nothing is done.
pub(super) fn read(repository: &Repository) -> Result<Option<RefsDigest>, SourceFault> {
    check(repository)?;
    let loose = read_loose(repository)?;
    let packed =
        packed::digest(repository.common_dir()).map_err(|fault| unreadable_packed(repository, fault.into()))?;
    Ok(of(&loose, packed.as_ref()))
}

/// The digest of what was read; `None` where refs do not say all of it: one leads to another, or cannot be read.
pub(super) fn of(loose: &[LooseTag], packed: Option<&FileDigest>) -> Option<RefsDigest> {
    let mut tags = Vec::with_capacity(loose.len());
    for (name, held) in loose {
        match held {
            Ok(Held::Object(end)) => tags.push((name, end.id)),
            Ok(Held::Symbolic(_)) | Err(_) => return None,
        }
    }
    tags.sort_unstable();
    let mut digest = Fingerprint::default();
    digest.add(packed.map_or_else(Vec::new, |packed| packed.to_vec()));
    for (name, id) in tags {
        digest.add(name.as_bytes());
        digest.add(id.as_bytes());
    }
    Some(RefsDigest::of(digest))
}
