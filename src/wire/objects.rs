//! Where the objects of a push come from.

use std::fmt;

use async_trait::async_trait;
use gix::ObjectId;
use gix::hash::Kind;
use gix::objs::Kind as ObjectKind;

/// Tag objects with their bytes, as far as one request may carry them.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct TagObjects {
    /// Each once.
    pub objects: Vec<(ObjectId, Vec<u8>)>,
    /// How many of the ids that were asked about, from the first on, have all their tag objects here.
    pub covered: usize,
}

/// What one repository has and another one lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lacking {
    /// Each object once.
    pub objects: Vec<Object>,
    /// Whether everything behind them is there, too. It is not where a shallow clone ends.
    pub is_whole: bool,
}

/// An object that is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its id.
    pub id: ObjectId,
    /// What it is.
    pub kind: ObjectKind,
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

    /// Whether it gives more than tag objects.
    fn have_history(&self) -> bool {
        true
    }

    /// Everything that the wanted objects lead to, themselves included, and a repository lacks that has all that the known ones
    /// lead to. Known ones that are not here say nothing.
    async fn list_lacking(&self, wanted: Vec<ObjectId>, known: Vec<ObjectId>) -> Result<Lacking, String>;

    /// The bytes of these objects, from the first on: as many as come to `limit` bytes, and one at least.
    async fn read_objects(&self, objects: &[Object], limit: usize) -> Result<Vec<Vec<u8>>, String>;

    /// Whether an object is there, and everything that it leads to, as far as its repository is whole.
    async fn has(&self, id: ObjectId) -> Result<bool, String>;

    /// What an object is in the end, after any number of tag objects; itself where it is not there.
    async fn end_of(&self, id: ObjectId) -> Result<ObjectId, String>;
}
