//! Complete reads of one side at one moment.
//!
//! The invariant of this file: nobody can hold a snapshot that was not read to its end. Absence is a fact only here.

use std::collections::{BTreeMap, HashSet};

use super::{CommitId, ObjectId, TagId, TagName, Value};

/// What a source tag peels to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peeled {
    /// A commit: the usual case.
    Commit(CommitId),
    /// A tree; no REST forge can hold such a tag.
    Tree(ObjectId),
    /// A blob; no REST forge can hold such a tag.
    Blob(ObjectId),
}

/// One tag of a repository, as read without opening more objects than needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceTag {
    /// The tag object that the ref holds; `None` for a lightweight tag.
    pub tag_id: Option<TagId>,
    /// What it peels to.
    pub peeled: Peeled,
    /// The annotated tag's message without a signature; read only where annotations are compared.
    pub message: Option<String>,
}

/// All tags of a source at one moment, each name either read or known to be unreadable.
#[derive(Debug, Default)]
pub struct SourceSnapshot {
    tags: BTreeMap<TagName, Result<SourceTag, String>>,
}

impl SourceSnapshot {
    /// Takes what one uninterrupted walk over a repository's tags found; `Err` is the reason why a name is *unknown*.
    ///
    /// Only `source` calls this, after it has made sure that the walk saw one state of the repository.
    pub(crate) fn of_walk(tags: BTreeMap<TagName, Result<SourceTag, String>>) -> Self {
        Self { tags }
    }

    /// Every name with its tag, or with the reason why it could not be read; sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&TagName, Result<&SourceTag, &str>)> {
        self.tags.iter().map(|(name, tag)| (name, tag.as_ref().map_err(String::as_str)))
    }

    /// One name: `None` is proven absence, `Some(Err(_))` is unknown.
    pub fn get(&self, name: &TagName) -> Option<Result<&SourceTag, &str>> {
        self.tags.get(name).map(|tag| tag.as_ref().map_err(String::as_str))
    }

    /// How many names there are, unknown ones included.
    pub fn len(&self) -> usize {
        self.tags.len()
    }

    /// Whether there is no name at all.
    pub fn is_empty(&self) -> bool {
        self.tags.is_empty()
    }
}

/// Something that a remote attached to a tag and that deleting the tag would destroy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attachment {
    /// A Release with its notes and asset links.
    Release,
    /// The remote does not tell this credential whether there is a Release.
    Hidden,
}

/// One tag on a remote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteTag {
    /// Its name there.
    pub name: TagName,
    /// What it means; `Err` is the reason why that cannot be told (*unknown*: nothing follows from it).
    pub value: Result<Value, String>,
    /// The annotated tag's message; only a look at one tag brings it, a listing leaves it out.
    pub message: Option<String>,
    /// Whether the remote protects the name against changes.
    pub protected: bool,
    /// What a deletion would take along.
    pub attachment: Option<Attachment>,
}

/// How a listing showed that it had come to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The protocol has no pages: one response is everything.
    SingleResponse,
    /// The last page named no successor, and the protocol always names one when there is more.
    NoNextPage,
    /// An empty page, or one shorter than asked for without a successor.
    ShortPage,
}

/// A listing that contradicts itself, so nothing can be concluded from it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListingFault {
    /// Pages moved while they were read, or a server repeats a page.
    #[error("the listing named `{0}` twice")]
    Repeated(TagName),
    /// The server said how many there are, and it was another number.
    #[error("the listing brought {found} tags where the server promised {promised}")]
    Short {
        /// The server's total.
        promised: u64,
        /// What arrived.
        found: u64,
    },
}

/// A listing under way. It becomes a snapshot only by [`Listing::finish`].
#[derive(Debug, Default)]
pub struct Listing {
    tags: Vec<RemoteTag>,
    seen: HashSet<TagName>,
}

impl Listing {
    /// An empty listing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one page. A name that was already there ends the listing: pages shifted, or the server repeats itself.
    pub fn page(&mut self, tags: impl IntoIterator<Item = RemoteTag>) -> Result<(), ListingFault> {
        for tag in tags {
            if !self.seen.insert(tag.name.clone()) {
                return Err(ListingFault::Repeated(tag.name));
            }
            self.tags.push(tag);
        }
        Ok(())
    }

    /// How many tags have arrived.
    pub fn len(&self) -> usize {
        self.tags.len()
    }

    /// Whether none has arrived.
    pub fn is_empty(&self) -> bool {
        self.tags.is_empty()
    }

    /// Declares the listing complete, and says how that is known. `promised` is the server's own total, where it gives one.
    pub fn finish(self, end: End, promised: Option<u64>) -> Result<RemoteSnapshot, ListingFault> {
        let found = self.tags.len() as u64;
        match promised {
            Some(promised) if promised != found => return Err(ListingFault::Short { promised, found }),
            Some(_) | None => {}
        }
        let mut tags = self.tags;
        tags.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        Ok(RemoteSnapshot { tags, end })
    }
}

/// Every tag of a remote at one moment, sorted by name. Exists only for a listing that came to its end.
#[derive(Debug)]
pub struct RemoteSnapshot {
    tags: Vec<RemoteTag>,
    end: End,
}

impl RemoteSnapshot {
    /// The tags, sorted by name.
    pub fn tags(&self) -> &[RemoteTag] {
        &self.tags
    }

    /// One tag; `None` is proven absence.
    pub fn get(&self, name: &TagName) -> Option<&RemoteTag> {
        self.tags.binary_search_by(|tag| tag.name.cmp(name)).ok().map(|at| &self.tags[at])
    }

    /// How its completeness is known.
    pub fn end(&self) -> End {
        self.end
    }
}
