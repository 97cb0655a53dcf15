//! Tag objects as they are, byte for byte, for whoever sends them on.

use std::collections::HashSet;

use gix::ObjectId;
use gix::objs::Kind;

use super::objects::{DEEPEST_NESTING, Objects};
use crate::wire::{Object, TagObjects};

/// Reads every tag object that stands between these ids and what they mean in the end.
///
/// An id that is no tag object, or is not there, needs none: a lightweight tag, or one that the other side has already.
pub(super) fn read_tag_objects(
    repository: &gix::ThreadSafeRepository,
    ids: &[ObjectId],
    limit: usize,
) -> Result<TagObjects, String> {
    let objects = Objects::of(repository);
    let mut read = TagObjects::default();
    let (mut seen, mut size) = (HashSet::new(), 0);
    for id in ids {
        let mut chain = Vec::new();
        let mut next = (objects.try_kind(*id)? == Some(Kind::Tag)).then_some(*id);
        while let Some(id) = next {
            if chain.len() == DEEPEST_NESTING {
                return Err(format!("tag object {id} leads to more than {DEEPEST_NESTING} others"));
            }
            let (bytes, target, target_kind) = objects.raw_tag(id)?;
            if !seen.contains(&id) {
                size += bytes.len();
                chain.push((id, bytes));
            }
            next = (target_kind == Kind::Tag).then_some(target);
        }
        if size > limit && read.covered > 0 {
            break;
        }
        seen.extend(chain.iter().map(|(id, _)| *id));
        read.objects.append(&mut chain);
        read.covered += 1;
    }
    Ok(read)
}

/// Reads objects until they come to so many bytes, and one at least.
pub(super) fn read_objects(
    repository: &gix::ThreadSafeRepository,
    list: &[Object],
    limit: usize,
) -> Result<Vec<Vec<u8>>, String> {
    let objects = Objects::of(repository);
    let (mut read, mut size) = (Vec::new(), 0);
    for object in list {
        if size >= limit {
            break;
        }
        let bytes = objects.read(object.id, object.kind)?;
        size += bytes.len();
        read.push(bytes);
    }
    Ok(read)
}

/// Follows tag objects to their end.
pub(super) fn end_of(repository: &gix::ThreadSafeRepository, id: ObjectId) -> Result<ObjectId, String> {
    let objects = Objects::of(repository);
    let mut end = id;
    for _ in 0..DEEPEST_NESTING {
        if objects.try_kind(end)? != Some(Kind::Tag) {
            return Ok(end);
        }
        end = objects.raw_tag(end)?.1;
    }
    Err(format!("tag object {id} leads to more than {DEEPEST_NESTING} others"))
}
