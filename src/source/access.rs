//! What a pass asks of the side that is the truth.

use std::sync::Arc;

use async_trait::async_trait;

use super::{AnnotatedTag, Messages, Repository, SourceFault};
use crate::tag::{
    CommitId, MessageDigest, Notes, NotesRef, ObjectId, RefsDigest, SourceSnapshot, SourceTag, TagId, TagName,
};
use crate::wire::{Lacking, Object, Objects, TagObjects};

/// Who a source is, and what its refs hold, without having read what they lead to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glimpse {
    /// As [`Source::fingerprint`] gives it.
    pub fingerprint: String,
    /// As long as it is the same, so is what [`Source::read_tags`] gives; `None` where only that tells.
    pub refs: Option<RefsDigest>,
}

/// The side that tags come from.
#[async_trait]
pub trait Source: Send + Sync {
    /// A stable id of what stands behind the configured place; another one voids the records.
    async fn fingerprint(&self) -> Result<String, SourceFault>;

    /// A glimpse, where that takes much less than to read all tags; `None` where it does not.
    async fn glimpse(&self) -> Result<Option<Glimpse>, SourceFault> {
        Ok(None)
    }

    /// All tags at one moment, or an error.
    async fn read_tags(&self, messages: Messages) -> Result<SourceSnapshot, SourceFault>;

    /// The notes on these commits that a ref holds; none where there is no such ref.
    async fn read_notes(&self, notes_ref: &NotesRef, commits: Vec<CommitId>) -> Result<Notes, SourceFault>;

    /// One tag, without its message.
    async fn read_tag(&self, name: &TagName) -> Result<Option<SourceTag>, SourceFault>;

    /// Looks one name up anew, past everything that was read before. `true` only for proven absence.
    async fn confirm_absent(&self, name: &TagName) -> Result<bool, SourceFault>;

    /// The tag object behind an annotated tag.
    async fn read_annotation(&self, tag_id: TagId) -> Result<AnnotatedTag, SourceFault>;

    /// The message of an annotated tag that is known by its name, as long as it has this fingerprint.
    async fn read_message(&self, name: &TagName, digest: &MessageDigest) -> Result<String, SourceFault>;

    /// Of these, the tag objects are about to be asked for. Where that costs a request, one brings many; what cannot be had is
    /// for whoever asks for it to say.
    async fn read_ahead(&self, _ids: &[ObjectId]) {}

    /// What stands behind the place now, where it is what was remembered; `None` where it is another. Of two ways to say it the
    /// fuller.
    fn recognise(&self, remembered: &str, now: &str) -> Option<String> {
        (remembered == now).then(|| now.to_owned())
    }

    /// Its objects as they are, for a remote that takes them so; `None` where there are none to be had.
    fn objects(&self) -> Option<Arc<dyn Objects>> {
        None
    }
}

/// How many objects are read at a time, at most.
const AT_ONCE: usize = 4096;

/// A repository on this host, opened anew for each question: no handle outlives what it was asked.
#[derive(Clone, Debug)]
pub struct LocalSource {
    path: std::path::PathBuf,
}

impl LocalSource {
    /// The repository at this path.
    pub fn new(path: impl Into<std::path::PathBuf>) -> Self {
        Self { path: path.into() }
    }

    pub(super) fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// Repository calls block, so they run beside the event loop.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Repository) -> Result<T, SourceFault> + Send + 'static,
    ) -> Result<T, SourceFault> {
        let path = self.path.clone();
        let answer = tokio::task::spawn_blocking(move || question(&Repository::open(&path)?));
        answer.await.unwrap_or_else(|fault| Err(SourceFault::interrupted(&self.path, &fault)))
    }
}

#[async_trait]
impl Source for LocalSource {
    async fn fingerprint(&self) -> Result<String, SourceFault> {
        self.ask(|repository| Ok(repository.fingerprint())).await
    }

    async fn glimpse(&self) -> Result<Option<Glimpse>, SourceFault> {
        let seen = |repository: &Repository| {
            Ok(Glimpse { fingerprint: repository.fingerprint(), refs: repository.read_refs_digest()? })
        };
        self.ask(seen).await.map(Some)
    }

    async fn read_tags(&self, messages: Messages) -> Result<SourceSnapshot, SourceFault> {
        self.ask(move |repository| repository.read_tags(messages)).await
    }

    async fn read_notes(&self, notes_ref: &NotesRef, commits: Vec<CommitId>) -> Result<Notes, SourceFault> {
        let notes_ref = notes_ref.clone();
        self.ask(move |repository| repository.read_notes(&notes_ref, commits)).await
    }

    async fn read_tag(&self, name: &TagName) -> Result<Option<SourceTag>, SourceFault> {
        let name = name.clone();
        self.ask(move |repository| repository.read_tag(&name)).await
    }

    async fn confirm_absent(&self, name: &TagName) -> Result<bool, SourceFault> {
        let name = name.clone();
        self.ask(move |repository| Ok(repository.read_tag(&name)?.is_none())).await
    }

    async fn read_annotation(&self, tag_id: TagId) -> Result<AnnotatedTag, SourceFault> {
        self.ask(move |repository| repository.read_annotation(tag_id)).await
    }

    async fn read_message(&self, name: &TagName, digest: &MessageDigest) -> Result<String, SourceFault> {
        let (wanted, digest) = (name.clone(), *digest);
        self.ask(move |repository| {
            let tag = repository.read_tag(&wanted)?;
            let message =
                tag.and_then(|tag| tag.tag_id()).map(|tag_id| repository.read_annotation(tag_id)).transpose()?;
            let message = message.map(|annotated| annotated.message).filter(|message| digest.is_of(message));
            message.ok_or_else(|| {
                repository.fault(format!("its tag `{wanted}` has changed since it was read"), "run again")
            })
        })
        .await
    }

    fn objects(&self) -> Option<Arc<dyn Objects>> {
        Some(Arc::new(self.clone()))
    }
}

#[async_trait]
impl Objects for LocalSource {
    async fn format(&self) -> Result<gix::hash::Kind, String> {
        self.ask(|repository| Ok(repository.hash)).await.map_err(|fault| fault.to_string())
    }

    async fn read_tag_objects(&self, ids: Vec<gix::ObjectId>, limit: usize) -> Result<TagObjects, String> {
        let read = self.ask(move |repository| repository.read_tag_objects(&ids, limit));
        read.await.map_err(|fault| fault.to_string())
    }

    async fn list_lacking(&self, wanted: Vec<gix::ObjectId>, known: Vec<gix::ObjectId>) -> Result<Lacking, String> {
        let listed = self.ask(move |repository| repository.list_lacking(&wanted, &known));
        listed.await.map_err(|fault| fault.to_string())
    }

    async fn read_objects(&self, objects: &[Object], limit: usize) -> Result<Vec<Vec<u8>>, String> {
        let objects: Vec<_> = objects.iter().take(AT_ONCE).copied().collect();
        let read = self.ask(move |repository| repository.read_objects(&objects, limit));
        read.await.map_err(|fault| fault.to_string())
    }

    async fn has(&self, id: gix::ObjectId) -> Result<bool, String> {
        self.ask(move |repository| Ok(repository.has(id))).await.map_err(|fault| fault.to_string())
    }

    async fn end_of(&self, id: gix::ObjectId) -> Result<gix::ObjectId, String> {
        self.ask(move |repository| repository.end_of(id)).await.map_err(|fault| fault.to_string())
    }
}
