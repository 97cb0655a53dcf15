//! Complete reads of one side at one moment.
//!
//! The invariant of this file: nobody can hold a snapshot that was not read to its end. Absence is a fact only here.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{Annotation, CommitId, NotesRef, ObjectId, RefsDigest, TagId, TagName, Target, Value};

/// What a tag of a git repository peels to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peeled {
    /// A commit: the usual case.
    Commit(CommitId),
    /// A tree; no REST forge can hold such a tag.
    Tree(ObjectId),
    /// A blob; no REST forge can hold such a tag.
    Blob(ObjectId),
}

/// One tag of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceTag {
    /// Of a git repository, by its ref and its objects.
    Git(GitTag),
    /// Of a remote, as far as its API tells: a commit with what its annotation is like, a snapshot of a machine, a manifest.
    Told(Box<Value>),
}

/// A tag of a git repository, as read without opening more objects than needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GitTag {
    /// The tag object that the ref holds; `None` for a lightweight tag.
    pub tag_id: Option<TagId>,
    /// What it peels to.
    pub peeled: Peeled,
    /// The annotated tag's message without a signature; read only where annotations are compared or trailers count.
    pub message: Option<Box<str>>,
}

impl GitTag {
    /// A tag without a tag object.
    pub fn lightweight(peeled: Peeled) -> Self {
        Self { tag_id: None, peeled, message: None }
    }
}

impl From<GitTag> for SourceTag {
    fn from(tag: GitTag) -> Self {
        Self::Git(tag)
    }
}

impl SourceTag {
    /// The commit that it leads to; `None` where that is something else.
    pub fn commit_id(&self) -> Option<CommitId> {
        match self {
            Self::Git(GitTag { peeled: Peeled::Commit(commit_id), .. }) => Some(*commit_id),
            Self::Git(GitTag { peeled: Peeled::Tree(_) | Peeled::Blob(_), .. }) => None,
            Self::Told(value) => match value.target {
                Target::Commit(commit_id) => Some(commit_id),
                Target::Object(_) | Target::Snapshot(_) | Target::Digest(_) => None,
            },
        }
    }

    /// Its tag object, where it has one and that can be had.
    pub fn tag_id(&self) -> Option<TagId> {
        match self {
            Self::Git(tag) => tag.tag_id,
            Self::Told(_) => None,
        }
    }

    /// Its annotation, as far as it was read.
    pub fn annotation(&self) -> Annotation {
        match self {
            Self::Git(tag) => Annotation::of_message(tag.tag_id.and(tag.message.as_deref())),
            Self::Told(value) => match &value.annotation {
                Annotation::NotCompared => Annotation::Lightweight,
                told @ (Annotation::Lightweight | Annotation::Annotated(_)) => told.clone(),
            },
        }
    }
}

/// All tags of a source at one moment, each name either read or known to be unreadable.
#[derive(Debug, Default)]
pub struct SourceSnapshot {
    /// Sorted by name.
    tags: Vec<(TagName, Result<SourceTag, Box<str>>)>,
    /// The notes that a remote's rule asks for, and no others.
    notes: BTreeMap<NotesRef, Notes>,
    refs: Option<RefsDigest>,
}

/// The notes of one ref on the commits of tags: texts, or the reasons why they could not be read. A commit that is not
/// there has none.
pub type Notes = HashMap<CommitId, Result<Box<str>, Box<str>>>;

impl SourceSnapshot {
    /// Takes what one uninterrupted walk over a source's tags found; `Err` is the reason why a name is *unknown*.
    ///
    /// Only `source` calls this, after it has made sure that the walk saw one state of a repository, or a remote's complete
    /// listing, and each name once.
    pub(crate) fn of_walk(tags: impl IntoIterator<Item = (TagName, Result<SourceTag, Box<str>>)>) -> Self {
        let mut tags: Vec<_> = tags.into_iter().collect();
        tags.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        // It stays for as long as the pass.
        tags.shrink_to_fit();
        Self { tags, notes: BTreeMap::new(), refs: None }
    }

    /// Says what stands for the refs that all tags were read from, where anything does.
    pub(crate) fn with_refs(self, refs: Option<RefsDigest>) -> Self {
        Self { refs, ..self }
    }

    /// What stands for the refs that all tags were read from: while it is the same, so are the tags. Notes are no part of it.
    pub fn refs(&self) -> Option<&RefsDigest> {
        self.refs.as_ref()
    }

    /// Adds what one ref holds for the commits of [`commits`](Self::commits).
    #[must_use]
    pub fn with_notes(mut self, notes_ref: NotesRef, notes: Notes) -> Self {
        self.notes.insert(notes_ref, notes);
        self
    }

    /// The note on a commit that a tag peels to: `None` is proven absence, `Some(Err(_))` is unknown.
    pub fn note(&self, notes_ref: &NotesRef, commit_id: CommitId) -> Option<Result<&str, &str>> {
        let Some(notes) = self.notes.get(notes_ref) else { return Some(Err("these notes were not read")) };
        notes.get(&commit_id).map(|note| note.as_deref().map_err(Box::as_ref))
    }

    /// All notes that were read, in an order of their own; `Err` is the reason why one is unknown.
    pub(super) fn notes(&self) -> impl Iterator<Item = (&NotesRef, CommitId, Result<&str, &str>)> {
        self.notes.iter().flat_map(|(notes_ref, notes)| {
            let mut commits: Vec<_> = notes.iter().collect();
            commits.sort_unstable_by_key(|(commit_id, _)| **commit_id);
            commits
                .into_iter()
                .map(move |(commit_id, note)| (notes_ref, *commit_id, note.as_deref().map_err(Box::as_ref)))
        })
    }

    /// The commits that tags peel to, each as often as there are tags on it.
    pub fn commits(&self) -> impl Iterator<Item = CommitId> {
        self.tags.iter().filter_map(|(_, tag)| tag.as_ref().ok()?.commit_id())
    }

    /// Every name with its tag, or with the reason why it could not be read; sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&TagName, Result<&SourceTag, &str>)> {
        self.tags.iter().map(|(name, tag)| (name, tag.as_ref().map_err(Box::as_ref)))
    }

    /// One name: `None` is proven absence, `Some(Err(_))` is unknown.
    pub fn get(&self, name: &TagName) -> Option<Result<&SourceTag, &str>> {
        let at = self.tags.binary_search_by(|(tag, _)| tag.cmp(name)).ok()?;
        Some(self.tags[at].1.as_ref().map_err(Box::as_ref))
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
    /// The listing does not tell; a look at the tag alone does.
    Unlisted,
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
    /// Exactly the names that were all there were when that was proven, less than an hour ago. What came since may be missing
    /// where a server pages without saying so, so nobody may conclude that a name is absent.
    AsProven,
}

/// More tags than any repository has.
const MOST: usize = 1_000_000;

/// A listing that contradicts itself, so nothing can be concluded from it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListingFault {
    /// Pages moved while they were read, or a server repeats a page.
    #[error("the listing named `{0}` twice")]
    Repeated(TagName),
    /// No repository has so many tags; a server that never ends would fill our memory.
    #[error("the listing brought more than {MOST} tags")]
    Endless,
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
    /// All names, from the first one on that does not come after the one before: until then none can be there twice.
    seen: Option<HashSet<TagName>>,
}

impl Listing {
    /// An empty listing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one page. A name that was already there ends the listing: pages shifted, or the server repeats itself.
    pub fn page(&mut self, tags: impl IntoIterator<Item = RemoteTag>) -> Result<(), ListingFault> {
        for tag in tags {
            // Fourfold: room that is not used in the end is never touched, and each time that it runs out all of them move.
            if self.tags.len() == self.tags.capacity() {
                self.tags.reserve_exact(3 * self.tags.len());
            }
            if !self.is_new(&tag.name) {
                return Err(ListingFault::Repeated(tag.name));
            }
            if self.tags.len() >= MOST {
                return Err(ListingFault::Endless);
            }
            self.tags.push(tag);
        }
        Ok(())
    }

    fn is_new(&mut self, name: &TagName) -> bool {
        if self.seen.is_none() && self.tags.last().is_none_or(|last| last.name < *name) {
            return true;
        }
        let seen = self.seen.get_or_insert_with(|| self.tags.iter().map(|tag| tag.name.clone()).collect());
        seen.insert(name.clone())
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
        tags.shrink_to_fit();
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

    /// One tag; `None` is proven absence, unless the end is [`End::AsProven`].
    pub fn get(&self, name: &TagName) -> Option<&RemoteTag> {
        self.tags.binary_search_by(|tag| tag.name.cmp(name)).ok().map(|at| &self.tags[at])
    }

    /// The same tags, with what deleting any of them would take along.
    #[must_use]
    pub fn with_attachment(mut self, attachment: Attachment) -> Self {
        self.tags.iter_mut().for_each(|tag| tag.attachment = Some(attachment));
        self
    }

    /// Puts a later look at a tag in the place of an earlier one. It adds and removes no names, so completeness stays what it is.
    pub fn renew(&mut self, tag: RemoteTag) {
        if let Ok(at) = self.tags.binary_search_by(|known| known.name.cmp(&tag.name)) {
            self.tags[at] = tag;
        }
    }

    /// How its completeness is known.
    pub fn end(&self) -> End {
        self.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(name: &str) -> RemoteTag {
        let name = TagName::new(name).unwrap();
        RemoteTag { name, value: Err(String::new()), message: None, protected: false, attachment: None }
    }

    #[test]
    fn a_repeated_name_is_noticed_at_once_in_any_order() {
        for (pages, repeated) in [
            (&["ab", "ab"][..], Some("a")),
            (&["abb"], Some("b")),
            (&["ba", "cb"], Some("b")),
            (&["ac", "b", "c"], Some("c")),
            (&["ac", "bd", "a"], Some("a")),
            (&["ac", "bd", "e"], None),
            (&["cba"], None),
        ] {
            let mut listing = Listing::new();
            let read =
                pages.iter().try_for_each(|page| listing.page(page.char_indices().map(|(at, _)| tag(&page[at..=at]))));
            let expected = repeated.map_or(Ok(()), |name| Err(ListingFault::Repeated(TagName::new(name).unwrap())));
            assert_eq!(read, expected, "{pages:?}");
            if read.is_ok() {
                let snapshot = listing.finish(End::NoNextPage, None).unwrap();
                assert!(snapshot.tags().is_sorted_by(|one, other| one.name < other.name), "{pages:?}");
            }
        }
    }
}
