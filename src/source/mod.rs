//! A local git repository, as far as tags are concerned: from a path to a [`SourceSnapshot`].
//!
//! The only user of the repository library's types. Everything here reads, and only [`Destination`] writes; no hook, no
//! process, no network, no configuration but the repository's own file. Calls block.
//!
//! A name is *absent* only when both places where git keeps refs were read in full and in one state; whatever could not
//! be read is an *unknown* name or a [`SourceFault`].

mod access;
mod annotation;
mod destination;
mod digest;
mod fault;
mod format;
mod history;
mod listing;
mod loose;
mod notes;
mod objects;
mod open;
mod packed;
mod raw;
mod reference;

use std::path::{Path, PathBuf};

pub use access::{Glimpse, LocalSource, Source};
pub use annotation::{AnnotatedTag, SignatureKind, target_of};
pub use destination::{CopyFault, Destination, Kept, RefFault};
pub use fault::SourceFault;

use crate::tag::{CommitId, Notes, NotesRef, RefsDigest, SourceSnapshot, SourceTag, TagId, TagName};
use crate::wire::{Lacking, Object, TagObjects};
pub use objects::DEEPEST_NESTING;
use objects::Objects;

/// A repository that was opened and is of a kind that can be read.
///
/// Cheap to open (well under a millisecond), so a pass opens its own. It may be shared between threads.
#[derive(Debug)]
pub struct Repository {
    /// As the configuration names it.
    path: PathBuf,
    inner: gix::ThreadSafeRepository,
    /// How ids are made here.
    hash: gix::hash::Kind,
    fingerprint: String,
}

/// The directory that holds the refs of the repository at this path, below `refs/` and in `packed-refs`.
pub fn refs_directory(path: &Path) -> Result<PathBuf, SourceFault> {
    Repository::open(path).map(|repository| repository.common_dir().to_owned())
}

/// Whether annotated tags are read with their messages, which means to open each tag object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Messages {
    /// Messages stay `None`.
    Skip,
    /// Every annotated tag has its message.
    Read,
}

impl Repository {
    /// Opens the repository at exactly this path: bare, with a work tree, or a linked work tree.
    ///
    /// Who owns it does not matter, because nothing that its configuration names is ever executed or included.
    pub fn open(path: &Path) -> Result<Self, SourceFault> {
        let inner = open::open(path)?;
        let fingerprint = open::fingerprint(&inner)
            .map_err(|fault| SourceFault::new(path, format!("its directory cannot be read: {fault}"), open::ACCESS))?;
        let hash = inner.to_thread_local().object_hash();
        Ok(Self { path: path.to_owned(), inner, hash, fingerprint })
    }

    /// A stable identity of the repository behind the path: another one put there has another.
    ///
    /// Inode and birth time of the directory that holds the refs. Not its content, which would not tell two clones apart
    /// and changes with every commit; not the device, whose number may change with a restart. The price: a repository
    /// that was restored from a backup, or copied, counts as another one. Then its records are void, which only makes the
    /// next pass careful. Where the file system knows no birth times it is the inode alone.
    pub fn fingerprint(&self) -> String {
        self.fingerprint.clone()
    }

    /// Reads all tags, and nothing but refs below `refs/tags/`.
    pub fn read_tags(&self, messages: Messages) -> Result<SourceSnapshot, SourceFault> {
        listing::read_tags(self, messages)
    }

    /// What stands for all tags as their refs hold them now, without a look at any object; the same as
    /// [`SourceSnapshot::refs`] of what [`read_tags`](Self::read_tags) would give. `None` where only that tells.
    pub fn read_refs_digest(&self) -> Result<Option<RefsDigest>, SourceFault> {
        digest::read(self)
    }

    /// Reads the notes on these commits that a ref holds; none where there is no such ref, or none on a commit.
    ///
    /// A note that cannot be read is *unknown* for its commit; a ref or a tree that cannot be read is a fault.
    pub fn read_notes(&self, notes_ref: &NotesRef, commits: Vec<CommitId>) -> Result<Notes, SourceFault> {
        notes::read(self, notes_ref, commits)
    }

    /// Looks one tag up; `None` only when it has neither a file of its own nor an entry in packed-refs.
    ///
    /// To prove an absence, ask a repository that was opened after the doubt arose. Messages are not read.
    pub fn read_tag(&self, name: &TagName) -> Result<Option<SourceTag>, SourceFault> {
        listing::read_tag(self, name)
    }

    /// Reads an annotated tag's own object.
    pub fn read_annotation(&self, tag_id: TagId) -> Result<AnnotatedTag, SourceFault> {
        Objects::of(&self.inner).annotation(tag_id.into()).map_err(|reason| self.fault(reason, CHECK_OBJECTS))
    }

    /// The tag objects that these ids are, and those that they lead to, with their bytes; see [`crate::wire::Objects`].
    pub fn read_tag_objects(&self, ids: &[gix::ObjectId], limit: usize) -> Result<TagObjects, SourceFault> {
        raw::read_tag_objects(&self.inner, ids, limit).map_err(|reason| self.fault(reason, CHECK_OBJECTS))
    }

    /// What the wanted objects lead to and the known ones do not; see [`crate::wire::Objects`].
    pub fn list_lacking(&self, wanted: &[gix::ObjectId], known: &[gix::ObjectId]) -> Result<Lacking, SourceFault> {
        history::list_lacking(&self.inner, wanted, known).map_err(|reason| self.fault(reason, CHECK_OBJECTS))
    }

    /// The bytes of objects, as many as come to so many bytes, and one at least.
    pub fn read_objects(&self, objects: &[Object], limit: usize) -> Result<Vec<Vec<u8>>, SourceFault> {
        raw::read_objects(&self.inner, objects, limit).map_err(|reason| self.fault(reason, CHECK_OBJECTS))
    }

    /// Whether an object is there; that it can be read is not said.
    pub fn has(&self, id: gix::ObjectId) -> bool {
        Objects::of(&self.inner).has(id)
    }

    /// What an object is after any number of tag objects; itself where it is not there.
    pub fn end_of(&self, id: gix::ObjectId) -> Result<gix::ObjectId, SourceFault> {
        raw::end_of(&self.inner, id).map_err(|reason| self.fault(reason, CHECK_OBJECTS))
    }

    /// Where refs and objects are: the main repository's directory for a linked work tree.
    fn common_dir(&self) -> &Path {
        self.inner.common_dir.as_deref().unwrap_or(self.git_dir())
    }

    /// Where `HEAD` is.
    fn git_dir(&self) -> &Path {
        self.inner.refs.git_dir()
    }

    fn fault(&self, what: impl AsRef<str>, hint: &str) -> SourceFault {
        SourceFault::new(&self.path, what, hint)
    }
}

const CHECK_OBJECTS: &str = "run `git fsck --connectivity-only` in it";
