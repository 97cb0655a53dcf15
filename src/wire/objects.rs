//! Where the objects of a push come from.

use std::fmt;

use async_trait::async_trait;
use gix::ObjectId;
use gix::hash::Kind;

/// Tag objects with their bytes, as far as one request may carry them.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct TagObjects {
    /// Each once.
    pub objects: Vec<(ObjectId, Vec<u8>)>,
    /// How many of the ids that were asked about, from the first on, have all their tag objects here.
    pub covered: usize,
}

/// A repository that tags are pushed from. Its answers are bytes as they are, never rebuilt. An `Err` is a reason for people,
/// and printable.
#[async_trait]
pub trait Objects: fmt::Debug + Send + Sync {
    /// How ids are made in it.
    async fn format(&self) -> Result<Kind, String>;

    /// The tag objects that these ids are, and those that they lead to. An id that is no tag object, or is not there, needs
    /// none. Ends early where more than `limit` bytes would come together, but not before the first id.
    async fn read_tag_objects(&self, ids: Vec<ObjectId>, limit: usize) -> Result<TagObjects, String>;

    /// What an object is in the end, after any number of tag objects; itself where it is not there.
    async fn end_of(&self, id: ObjectId) -> Result<ObjectId, String>;
}
