//! All tags at one moment, or one tag for certain.

use std::path::Path;
use std::thread;
use std::time::Duration;

use gix::ObjectId;

use super::loose::LooseTag;
use super::objects::{resolve, resolve_one};
use super::packed::{PackedRefs, Scope, Stamp, TagEnd, Unreadable};
use super::reference::{End, Held};
use super::{CHECK_OBJECTS, Messages, Repository, SourceFault, digest, loose, open};
use crate::tag::{RefsDigest, SourceSnapshot, SourceTag, TagName};
use crate::text::Printable;

/// How long to wait before each new attempt, while others pack refs or are half done with something.
const WAITS_IN_MS: [u64; 5] = [10, 20, 40, 80, 160];

/// Symbolic refs in a row, at most: git's own limit.
const LONGEST_CHAIN: usize = 5;

const OF_ONE_WORK_TREE: [&str; 3] = ["refs/bisect/", "refs/worktree/", "refs/rewritten/"];

const CHECK_REFS: &str =
    "run `git for-each-ref refs/tags` and `git fsck` in it; nothing is concluded until it can be read";

type Tags = Vec<(TagName, Result<SourceTag, Box<str>>)>;

/// All tags as one walk found them, and what stands for the refs that it read.
type Walked = (Tags, Option<RefsDigest>);

/// Reads all tags in one state of the repository.
///
/// Loose refs first and packed refs second, so that a ref that is packed in between is seen. The other order, a ref read
/// as packed and then deleted or updated, shows in the stamp of packed-refs: then everything is read again. So it is when
/// a tag could not be read, because that may have been a writer at work.
pub(super) fn read_tags(repository: &Repository, messages: Messages) -> Result<SourceSnapshot, SourceFault> {
    let mut waits = WAITS_IN_MS.into_iter().map(Duration::from_millis);
    loop {
        let before = stamp(repository)?;
        let read = walk(repository, messages);
        let stable = before == stamp(repository)?;
        let complete = read.as_ref().is_ok_and(|(tags, _)| tags.iter().all(|(_, tag)| tag.is_ok()));
        let snapshot = |(tags, refs)| SourceSnapshot::of_walk(tags).with_refs(refs);
        if stable && complete {
            return read.map(snapshot);
        }
        match waits.next() {
            Some(wait) => thread::sleep(wait),
            None if stable => return read.map(snapshot),
            None => {
                return Err(repository.fault(
                    "its packed-refs changes too fast to be read",
                    "look for a program that runs `git pack-refs` or `git gc` in a loop",
                ));
            }
        }
    }
}

/// Looks one tag up, in the same order: its own file, then packed-refs, all of which must be readable.
pub(super) fn read_tag(repository: &Repository, name: &TagName) -> Result<Option<SourceTag>, SourceFault> {
    check(repository)?;
    let unreadable = |reason: String| repository.fault(format!("tag `{name}` cannot be read: {reason}"), CHECK_OBJECTS);
    let full_name = [b"refs/tags/", name.as_bytes()].concat();
    let loose = loose::try_find(repository.common_dir(), &full_name, repository.hash).map_err(unreadable)?;
    let scope = if matches!(loose, Some(Held::Symbolic(_))) { Scope::AllRefs } else { Scope::Tags };
    let refs = Refs { repository, packed: read_packed(repository, scope)? };
    let Some(held) = loose.or_else(|| refs.packed.try_find(&full_name).map(Held::Object)) else { return Ok(None) };
    let end = refs.follow(held).map_err(unreadable)?;
    resolve_one(&repository.inner, end).map(Some).map_err(unreadable)
}

/// The object that a ref leads to, in the same order; `None` where there is no such ref.
pub(super) fn find_ref(repository: &Repository, full_name: &[u8]) -> Result<Option<ObjectId>, SourceFault> {
    check(repository)?;
    let unreadable = |reason: String| {
        repository.fault(format!("the ref `{}` cannot be read: {reason}", Printable::new(full_name)), CHECK_REFS)
    };
    let loose = loose::try_find(repository.common_dir(), full_name, repository.hash).map_err(unreadable)?;
    if let Some(Held::Object(end)) = loose {
        return Ok(Some(end.id));
    }
    let refs = Refs { repository, packed: read_packed(repository, Scope::AllRefs)? };
    let Some(held) = loose.or_else(|| refs.packed.try_find(full_name).map(Held::Object)) else { return Ok(None) };
    refs.follow(held).map(|end| Some(end.id)).map_err(unreadable)
}

fn stamp(repository: &Repository) -> Result<Option<Stamp>, SourceFault> {
    Stamp::read(repository.common_dir())
        .map_err(|fault| repository.fault(format!("its packed-refs cannot be read: {fault}"), open::ACCESS))
}

/// The repository must still be there, and be the one that was opened.
pub(super) fn check(repository: &Repository) -> Result<(), SourceFault> {
    open::check_directories(&repository.inner).map_err(|what| repository.fault(what, CHECK_REFS))?;
    match open::fingerprint(&repository.inner) {
        Ok(fingerprint) if fingerprint == repository.fingerprint => Ok(()),
        Ok(_) => Err(repository.fault("another repository took its place since it was opened", "try again")),
        Err(fault) => Err(repository.fault(format!("its directory cannot be read: {fault}"), open::ACCESS)),
    }
}

fn read_packed(repository: &Repository, scope: Scope) -> Result<PackedRefs, SourceFault> {
    PackedRefs::read(repository.common_dir(), repository.hash, scope)
        .map_err(|fault| unreadable_packed(repository, fault))
}

pub(super) fn unreadable_packed(repository: &Repository, fault: Unreadable) -> SourceFault {
    match fault {
        Unreadable::File(fault) => repository.fault(format!("its packed-refs cannot be read: {fault}"), open::ACCESS),
        Unreadable::Content(what) => repository.fault(what, CHECK_REFS),
    }
}

pub(super) fn read_loose(repository: &Repository) -> Result<Vec<LooseTag>, SourceFault> {
    loose::read_tags(repository.common_dir(), repository.hash).map_err(|reason| repository.fault(reason, CHECK_REFS))
}

/// Reads loose tags, then packed ones, then what they lead to.
fn walk(repository: &Repository, messages: Messages) -> Result<Walked, SourceFault> {
    check(repository)?;
    let loose = read_loose(repository)?;
    let any_symbolic = loose.iter().any(|(_, held)| matches!(held, Ok(Held::Symbolic(_))));
    let scope = if any_symbolic { Scope::AllRefs } else { Scope::Tags };
    let (packed, sum) = PackedRefs::read_summed(repository.common_dir(), repository.hash, scope)
        .map_err(|fault| unreadable_packed(repository, fault))?;
    let digest = digest::of(&loose, sum.as_ref());
    let refs = Refs { repository, packed };
    let loose: Vec<TagEnd> = loose
        .into_iter()
        .map(|(name, held)| match held.and_then(|held| refs.follow(held)) {
            Ok(end) => (name, Ok(end.into())),
            Err(reason) => (name, Err(reason.into())),
        })
        .collect();
    let tags = merge(loose, refs.packed.into_tags());
    Ok((resolve(&repository.inner, tags, messages), digest))
}

/// Loose tags, and packed ones that no loose one overrides.
fn merge(mut loose: Vec<TagEnd>, packed: Vec<TagEnd>) -> Vec<TagEnd> {
    if loose.is_empty() {
        return packed;
    }
    // Sorting keeps the order of equal names, and of these the first one stays.
    loose.extend(packed);
    loose.sort_by(|(one, _), (other, _)| one.cmp(other));
    loose.dedup_by(|(other, _), (one, _)| one == other);
    loose
}

/// All refs, to follow symbolic ones.
struct Refs<'a> {
    repository: &'a Repository,
    packed: PackedRefs,
}

impl Refs<'_> {
    /// The end of a symbolic ref.
    fn follow(&self, held: Held) -> Result<End, String> {
        let mut held = held;
        for _ in 0..=LONGEST_CHAIN {
            let name = match held {
                Held::Object(end) => return Ok(end),
                Held::Symbolic(name) => name,
            };
            let found = loose::try_find(self.directory_of(&name), &name, self.repository.hash)?;
            held = found
                .or_else(|| self.packed.try_find(&name).map(Held::Object))
                .ok_or_else(|| format!("it refers to `{}`, which does not exist", Printable::new(&name)))?;
        }
        Err(format!("it leads through more than {LONGEST_CHAIN} symbolic refs, or back to itself"))
    }

    /// Each linked work tree has a few refs of its own.
    fn directory_of(&self, name: &[u8]) -> &Path {
        let shared =
            name.starts_with(b"refs/") && !OF_ONE_WORK_TREE.iter().any(|prefix| name.starts_with(prefix.as_bytes()));
        if shared { self.repository.common_dir() } else { self.repository.git_dir() }
    }
}
