//! Notes on commits: a ref to a tree whose files are named after what they are about.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use gix::ObjectId;
use gix::objs::{CommitRefIter, Kind, TreeRefIter};

use super::listing::find_ref;
use super::objects::Objects;
use super::{CHECK_OBJECTS, Repository, SourceFault};
use crate::tag::{CommitId, Notes, NotesRef};

/// A note that says what a tag becomes is one line.
const LARGEST_NOTE: u64 = 4096;

/// Reads the notes on these commits.
pub(super) fn read(
    repository: &Repository,
    notes_ref: &NotesRef,
    commits: Vec<CommitId>,
) -> Result<Notes, SourceFault> {
    let fault = |reason: String| repository.fault(format!("the notes in `{notes_ref}`: {reason}"), CHECK_OBJECTS);
    let Some(id) = find_ref(repository, notes_ref.as_str().as_bytes())? else { return Ok(Notes::new()) };
    let mut wanted: Vec<ObjectId> = commits.into_iter().map(ObjectId::from).collect();
    wanted.sort_unstable();
    wanted.dedup();
    let objects = Objects::of(&repository.inner);
    let mut found = HashMap::new();
    let root = tree_of(&objects, id, repository.hash).map_err(fault)?;
    let walk = Walk { objects: &objects, hash: repository.hash };
    walk.descend(root, 0, &wanted, &mut found).map_err(fault)?;
    let text = |(commit_id, blobs): (ObjectId, Vec<ObjectId>)| (commit_id.into(), text(&objects, &blobs));
    Ok(found.into_iter().map(text).collect())
}

/// The tree behind a ref of notes, which has a history like a branch.
fn tree_of(objects: &Objects, id: ObjectId, hash: gix::hash::Kind) -> Result<ObjectId, String> {
    match objects.kind(id)? {
        Kind::Tree => Ok(id),
        Kind::Commit => {
            let bytes = objects.read(id, Kind::Commit)?;
            let tree = CommitRefIter::from_bytes(&bytes, hash).tree_id();
            tree.map_err(|_| format!("commit {id} does not say what its tree is"))
        }
        kind @ (Kind::Blob | Kind::Tag) => Err(format!("it points at the {kind} {id}, not at a commit")),
    }
}

/// What a note says. Two notes on one commit, which only a tree with two layouts can hold, are one below the other.
fn text(objects: &Objects, blobs: &[ObjectId]) -> Result<Box<str>, Box<str>> {
    let mut text = String::new();
    for (at, blob) in blobs.iter().enumerate() {
        if objects.size(*blob)? > LARGEST_NOTE {
            return Err(format!("it is larger than {LARGEST_NOTE} bytes").into());
        }
        if at > 0 {
            text.push('\n');
        }
        text.push_str(&String::from_utf8_lossy(&objects.read(*blob, Kind::Blob)?));
    }
    Ok(text.into())
}

/// The way through trees, which names only lead where somebody asks: a tree that holds itself many times costs nothing.
struct Walk<'a> {
    objects: &'a Objects,
    hash: gix::hash::Kind,
}

impl Walk<'_> {
    /// Looks for the ids of `wanted`, sorted and equal in their first `depth` bytes, in a tree at this depth: two digits
    /// name a tree with the rest, all digits that are left name a note.
    fn descend(
        &self,
        tree: ObjectId,
        depth: usize,
        wanted: &[ObjectId],
        found: &mut HashMap<ObjectId, Vec<ObjectId>>,
    ) -> Result<(), String> {
        let bytes = self.objects.read(tree, Kind::Tree)?;
        for entry in TreeRefIter::from_bytes(&bytes, self.hash) {
            let entry = entry.map_err(|_| format!("tree {tree} cannot be read"))?;
            let Some(named) = from_hex(entry.filename) else { continue };
            let under = |id: &ObjectId| id.as_bytes()[depth..][..named.len()].cmp(&named);
            if depth + named.len() > self.hash.len_in_bytes() {
                continue;
            }
            let begin = wanted.partition_point(|id| under(id).is_lt());
            let end = begin + wanted[begin..].partition_point(|id| under(id).is_eq());
            let here = &wanted[begin..end];
            if here.is_empty() {
                continue;
            }
            if entry.mode.is_tree() && named.len() == 1 && depth + 1 < self.hash.len_in_bytes() {
                self.descend(entry.oid.to_owned(), depth + 1, here, found)?;
            } else if entry.mode.is_blob() && depth + named.len() == self.hash.len_in_bytes() {
                let blob = entry.oid.to_owned();
                match found.entry(here[0]) {
                    Entry::Vacant(new) => {
                        new.insert(vec![blob]);
                    }
                    Entry::Occupied(mut other) if !other.get().contains(&blob) => other.get_mut().push(blob),
                    Entry::Occupied(_) => {}
                }
            }
        }
        Ok(())
    }
}

/// Bytes from pairs of digits; `None` where a name is something else.
fn from_hex(name: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = name.chunks_exact(2);
    if name.is_empty() || !pairs.remainder().is_empty() {
        return None;
    }
    pairs.map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}
