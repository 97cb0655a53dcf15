//! What one repository has and another one lacks.

use gix::ObjectId;
use gix::hashtable::HashSet;
use gix::objs::{CommitRefIter, Kind, TreeRefIter};

use super::objects::{DEEPEST_NESTING, Objects};
use crate::wire::{Lacking, Object};

/// Everything that the wanted objects lead to and the known ones do not.
///
/// As git does it, the trees that are compared are those of the known commits that unknown ones stand on. So an object that
/// came, went, and came back is listed although it is known; that costs bytes and nothing else.
pub(super) fn list_lacking(
    repository: &gix::ThreadSafeRepository,
    wanted: &[ObjectId],
    known: &[ObjectId],
) -> Result<Lacking, String> {
    let local = repository.to_thread_local();
    let mut walk = Walk {
        objects: Objects::of(repository),
        hash: local.object_hash(),
        seen: HashSet::default(),
        lacking: Vec::new(),
    };
    let mut hidden = Vec::new();
    for id in known {
        match walk.follow(*id, Walk::skip)? {
            Some((id, Kind::Commit)) => hidden.push(id),
            Some((id, Kind::Tree)) => walk.tree(id, Walk::skip)?,
            Some((id, kind)) => {
                walk.skip(id, kind);
            }
            None => {}
        }
    }
    let mut tips = Vec::new();
    for id in wanted {
        match walk.follow(*id, Walk::list)? {
            Some((id, Kind::Commit)) => tips.push(id),
            Some((id, Kind::Tree)) => walk.tree(id, Walk::list)?,
            Some((id, kind)) => {
                walk.list(id, kind);
            }
            None => return Err(format!("object {id} is missing")),
        }
    }
    let commits = local.rev_walk(tips).with_hidden(hidden).all().map_err(|fault| super::objects::reason(&fault))?;
    let commits: Result<Vec<_>, _> = commits.map(|commit| commit.map(|commit| commit.detach())).collect();
    let commits = commits.map_err(|fault| format!("the history cannot be read: {fault}"))?;
    let boundary = local.shallow_commits().map_err(|fault| format!("where the clone ends cannot be read: {fault}"))?;
    let ends = |id: &ObjectId| boundary.as_ref().is_some_and(|boundary| boundary.contains(id));
    let is_whole = !commits.iter().any(|commit| ends(&commit.id));
    let unknown: HashSet = commits.iter().map(|commit| commit.id).collect();
    for parent in commits.iter().flat_map(|commit| &commit.parent_ids).filter(|id| !unknown.contains(*id)) {
        if walk.skip(*parent, Kind::Commit) && walk.objects.try_kind(*parent)?.is_some() {
            let tree = walk.tree_of(*parent)?;
            walk.tree(tree, Walk::skip)?;
        }
    }
    for commit in commits {
        if walk.list(commit.id, Kind::Commit) {
            let tree = walk.tree_of(commit.id)?;
            walk.tree(tree, Walk::list)?;
        }
    }
    match walk.lacking.iter().find(|object| !walk.objects.has(object.id)) {
        None => Ok(Lacking { objects: walk.lacking, is_whole }),
        Some(Object { id, kind }) => Err(format!("{kind} {id} is missing")),
    }
}

/// The way through objects, each once.
struct Walk {
    objects: Objects,
    hash: gix::hash::Kind,
    seen: HashSet,
    lacking: Vec<Object>,
}

/// What becomes of an object that is met. Gives whether it is met for the first time.
type Meet = fn(&mut Walk, ObjectId, Kind) -> bool;

impl Walk {
    fn skip(&mut self, id: ObjectId, _kind: Kind) -> bool {
        self.seen.insert(id)
    }

    fn list(&mut self, id: ObjectId, kind: Kind) -> bool {
        let new = self.seen.insert(id);
        if new {
            self.lacking.push(Object { id, kind });
        }
        new
    }

    /// Meets tag objects one after the other, and gives what comes behind them; `None` where it is not there.
    fn follow(&mut self, id: ObjectId, meet: Meet) -> Result<Option<(ObjectId, Kind)>, String> {
        let mut end = id;
        for _ in 0..=DEEPEST_NESTING {
            match self.objects.try_kind(end)? {
                Some(Kind::Tag) => {
                    meet(self, end, Kind::Tag);
                    end = self.objects.raw_tag(end)?.1;
                }
                Some(kind) => return Ok(Some((end, kind))),
                None => return Ok(None),
            }
        }
        Err(format!("tag object {id} leads to more than {DEEPEST_NESTING} others"))
    }

    fn tree_of(&self, commit_id: ObjectId) -> Result<ObjectId, String> {
        let bytes = self.objects.read(commit_id, Kind::Commit)?;
        let tree = CommitRefIter::from_bytes(&bytes, self.hash).tree_id();
        tree.map_err(|_| format!("commit {commit_id} does not say what its tree is"))
    }

    /// Meets a tree and everything in it that is met for the first time.
    fn tree(&mut self, root: ObjectId, meet: Meet) -> Result<(), String> {
        let mut trees = vec![root];
        while let Some(tree) = trees.pop() {
            // git knows the empty tree without having it.
            if tree == ObjectId::empty_tree(self.hash) && !self.objects.has(tree) {
                continue;
            }
            if !meet(self, tree, Kind::Tree) {
                continue;
            }
            let bytes = self.objects.read(tree, Kind::Tree)?;
            for entry in TreeRefIter::from_bytes(&bytes, self.hash) {
                let entry = entry.map_err(|_| format!("tree {tree} cannot be read"))?;
                if entry.mode.is_tree() {
                    trees.push(entry.oid.to_owned());
                } else if !entry.mode.is_commit() {
                    // A commit in a tree is that of another repository.
                    meet(self, entry.oid.to_owned(), Kind::Blob);
                }
            }
        }
        Ok(())
    }
}
