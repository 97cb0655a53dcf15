//! What stands for more than is worth keeping: two of them are equal only where all that went in was.

use std::borrow::Borrow;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{Annotation, Attachment, Peeled, RemoteTag, SourceSnapshot, SourceTag, Target, Value};

/// Sums up what is added, in its order.
#[derive(Clone, Default)]
pub struct Fingerprint {
    sum: Sha256,
    /// What is to be summed up next: many short texts at once take half the time.
    gathered: Vec<u8>,
}

/// How much is gathered, in bytes.
const GATHERED: usize = 4096;

impl Fingerprint {
    /// Adds bytes, with their length in front, so that no two lists of texts are the same bytes.
    pub fn add(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        self.gather(&(bytes.len() as u64).to_le_bytes());
        self.gather(bytes);
    }

    fn gather(&mut self, bytes: &[u8]) {
        self.gathered.extend_from_slice(bytes);
        if self.gathered.len() >= GATHERED {
            self.sum.update(&self.gathered);
            self.gathered.clear();
        }
    }

    /// Adds every name of a source with all that was read of it.
    pub fn add_source(&mut self, snapshot: &SourceSnapshot) {
        for (name, read) in snapshot.iter() {
            self.add(name.as_bytes());
            match read {
                Ok(SourceTag::Git(tag)) => {
                    let (kind, peeled) = match &tag.peeled {
                        Peeled::Commit(id) => (b'c', id.as_bytes()),
                        Peeled::Tree(id) => (b't', id.as_bytes()),
                        Peeled::Blob(id) => (b'b', id.as_bytes()),
                    };
                    self.mark(kind);
                    self.add(peeled);
                    self.add_optional(tag.tag_id.as_ref().map(|id| id.as_bytes()));
                    self.add_optional(tag.message.as_deref().map(str::as_bytes));
                }
                Ok(SourceTag::Told(value)) => {
                    self.mark(b'v');
                    self.add_value(value);
                }
                Err(reason) => {
                    self.mark(b'?');
                    self.add(reason);
                }
            }
        }
        for (notes_ref, commit_id, note) in snapshot.notes() {
            self.add(notes_ref.to_string());
            self.add(commit_id.as_bytes());
            self.mark(if note.is_ok() { b'n' } else { b'?' });
            self.add(note.unwrap_or_else(|reason| reason));
        }
    }

    /// Adds every tag of a remote with all that its listing says of it, in the order of names.
    pub fn add_remote(&mut self, tags: impl IntoIterator<Item: Borrow<RemoteTag>>) {
        for tag in tags {
            let tag = tag.borrow();
            self.add(tag.name.as_bytes());
            match &tag.value {
                Ok(value) => self.add_value(value),
                Err(reason) => {
                    self.mark(b'?');
                    self.add(reason);
                }
            }
            self.add_optional(tag.message.as_deref().map(str::as_bytes));
            self.mark(match tag.attachment {
                None => b'-',
                Some(Attachment::Release) => b'r',
                Some(Attachment::Hidden) => b'h',
                Some(Attachment::Unlisted) => b'u',
            });
            self.mark(if tag.protected { b'p' } else { b'-' });
        }
    }

    fn add_value(&mut self, value: &Value) {
        match &value.target {
            Target::Commit(id) => self.add_marked(b'c', id.as_bytes()),
            Target::Object(id) => self.add_marked(b'o', id.as_bytes()),
            Target::Snapshot(id) => self.add_marked(b's', id.as_bytes()),
            Target::Digest(digest) => self.add_marked(b'd', digest.to_string().as_bytes()),
        }
        match &value.annotation {
            Annotation::NotCompared => self.mark(b'-'),
            Annotation::Lightweight => self.mark(b'l'),
            Annotation::Annotated(digest) => self.add_marked(b'a', digest.to_string().as_bytes()),
        }
    }

    fn add_optional(&mut self, bytes: Option<&[u8]>) {
        match bytes {
            Some(bytes) => self.add_marked(b'+', bytes),
            None => self.mark(b'-'),
        }
    }

    fn add_marked(&mut self, mark: u8, bytes: &[u8]) {
        self.mark(mark);
        self.add(bytes);
    }

    /// Adds one byte that says what follows.
    fn mark(&mut self, mark: u8) {
        self.gather(&[mark]);
    }

    /// The digits that stand for all that was added.
    pub fn digits(self) -> String {
        self.sum.chain_update(self.gathered).finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// What stands for all refs of a source that are tags.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RefsDigest(String);

impl RefsDigest {
    /// Of all that was added.
    pub(crate) fn of(refs: Fingerprint) -> Self {
        Self(refs.digits())
    }
}

impl std::fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fingerprint").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tag::{CommitId, End, GitTag, Listing, NotesRef, RemoteTag, TagId, TagName};

    fn name(name: &str) -> TagName {
        TagName::new(name).unwrap()
    }

    fn commit(number: u8) -> CommitId {
        format!("{number:040x}").parse().unwrap()
    }

    fn of_source(tags: Vec<(&str, Result<SourceTag, Box<str>>)>, note: Option<Result<Box<str>, Box<str>>>) -> String {
        let snapshot = SourceSnapshot::of_walk(tags.into_iter().map(|(tag, read)| (name(tag), read)));
        let notes = note.into_iter().map(|note| (commit(1), note)).collect();
        let mut fingerprint = Fingerprint::default();
        fingerprint.add_source(&snapshot.with_notes(NotesRef::new("refs/notes/images").unwrap(), notes));
        fingerprint.digits()
    }

    fn of_remote(tags: Vec<RemoteTag>) -> String {
        let mut listing = Listing::new();
        listing.page(tags).unwrap();
        let mut fingerprint = Fingerprint::default();
        fingerprint.add_remote(listing.finish(End::SingleResponse, None).unwrap().tags());
        fingerprint.digits()
    }

    fn assert_all_differ(fingerprints: &[String]) {
        for (at, one) in fingerprints.iter().enumerate() {
            assert_eq!(fingerprints.iter().position(|other| other == one), Some(at), "of {}", fingerprints.len());
        }
    }

    #[test]
    fn whatever_differs_of_a_source_shows() {
        let git = |tag: GitTag| Ok(SourceTag::Git(tag));
        let plain = || GitTag::lightweight(Peeled::Commit(commit(1)));
        let annotated = || GitTag { tag_id: Some(format!("{:040x}", 9).parse::<TagId>().unwrap()), ..plain() };
        let message = |text: &str| git(GitTag { message: Some(text.into()), ..annotated() });
        let object = gix::ObjectId::from(commit(1));
        let told = |annotation| Ok(SourceTag::Told(Box::new(Value { target: Target::Commit(commit(1)), annotation })));
        assert_all_differ(&[
            of_source(vec![], None),
            of_source(vec![("v1", git(plain()))], None),
            of_source(vec![("v2", git(plain()))], None),
            of_source(vec![("v1", git(plain())), ("v2", git(plain()))], None),
            of_source(vec![("v1", git(GitTag::lightweight(Peeled::Commit(commit(2)))))], None),
            of_source(vec![("v1", git(GitTag::lightweight(Peeled::Tree(object.into()))))], None),
            of_source(vec![("v1", git(GitTag::lightweight(Peeled::Blob(object.into()))))], None),
            of_source(vec![("v1", git(annotated()))], None),
            of_source(vec![("v1", message(""))], None),
            of_source(vec![("v1", message("text"))], None),
            of_source(vec![("v1", told(Annotation::NotCompared))], None),
            of_source(vec![("v1", told(Annotation::Lightweight))], None),
            of_source(vec![("v1", told(Annotation::of_message(Some("text"))))], None),
            of_source(vec![("v1", told(Annotation::of_message(Some("other"))))], None),
            of_source(vec![("v1", Err("unreadable".into()))], None),
            of_source(vec![("v1", Err("broken".into()))], None),
            of_source(vec![("v1", git(plain()))], Some(Ok("note".into()))),
            of_source(vec![("v1", git(plain()))], Some(Ok("another".into()))),
            of_source(vec![("v1", git(plain()))], Some(Err("note".into()))),
        ]);
    }

    #[test]
    fn whatever_differs_of_a_remote_shows() {
        let value = |target| Ok(Value::of(target));
        let digest = |digit: &str| Target::Digest(format!("sha256:{}", digit.repeat(64)).parse().unwrap());
        let tag = RemoteTag {
            name: name("v1"),
            value: value(Target::Commit(commit(1))),
            message: None,
            protected: false,
            attachment: None,
        };
        let with_value = |value| RemoteTag { value, ..tag.clone() };
        let attached = |attachment| RemoteTag { attachment: Some(attachment), ..tag.clone() };
        assert_all_differ(&[
            of_remote(vec![]),
            of_remote(vec![tag.clone()]),
            of_remote(vec![RemoteTag { name: name("v2"), ..tag.clone() }]),
            of_remote(vec![tag.clone(), RemoteTag { name: name("v2"), ..tag.clone() }]),
            of_remote(vec![with_value(value(Target::Commit(commit(2))))]),
            of_remote(vec![with_value(value(Target::Object(commit(1).into())))]),
            of_remote(vec![with_value(value(Target::Snapshot(uuid::Uuid::from_u128(1))))]),
            of_remote(vec![with_value(value(digest("1")))]),
            of_remote(vec![with_value(value(digest("2")))]),
            of_remote(vec![with_value(Err("unreadable".to_owned()))]),
            of_remote(vec![RemoteTag { protected: true, ..tag.clone() }]),
            of_remote(vec![RemoteTag { message: Some(String::new()), ..tag.clone() }]),
            of_remote(vec![attached(Attachment::Release)]),
            of_remote(vec![attached(Attachment::Hidden)]),
            of_remote(vec![attached(Attachment::Unlisted)]),
        ]);
    }
}
