//! What refs point at: kinds of objects, and tag objects followed to their end.

use std::num::NonZero;
use std::thread;

use gix::ObjectId;
use gix::objs::{Kind, TagRefIter, tag::ref_iter::Token};
use gix::odb::Header as _;
use gix::prelude::Find as _;

use super::annotation::AnnotatedTag;
use crate::tag::{Peeled, SourceTag};
use crate::text::excerpt;

/// Tag objects pointing at tag objects, at most; real ones have two or three.
const DEEPEST_NESTING: usize = 100;

/// Look-ups that are worth a thread of their own; a thread costs about as much as a hundred of them.
const LOOKUPS_PER_THREAD: usize = 4_000;

/// More threads than this find the same memory busy.
const MOST_THREADS: usize = 4;

/// What an id turned out to be; an error is the reason why its tag is unknown.
type Found = Result<Kind, Box<str>>;

/// What a ref leads to: an object, and where packed-refs says that this one leads in turn.
pub(super) type End = (ObjectId, Option<ObjectId>);

/// Reads what refs lead to, in their order.
pub(super) fn resolve(
    repository: &gix::ThreadSafeRepository,
    ends: &[End],
    with_messages: bool,
) -> impl Iterator<Item = Result<SourceTag, String>> {
    let objects = Objects::of(repository);
    ends.iter().zip(kinds(repository, ends)).map(move |(&(id, peeled), (kind, peeled_kind))| {
        let missed = |id| format!("object {id} was not looked up");
        let packed = match peeled {
            Some(peeled) => Some((peeled, peeled_kind.ok_or_else(|| missed(peeled))??)),
            None => None,
        };
        objects.tag(id, kind.ok_or_else(|| missed(id))??, packed, with_messages)
    })
}

/// The kinds of the objects of each end.
///
/// Looked up in the order of the ids, so that neighbours share what they touch of the pack indices, each id once, and by
/// several threads when there are many. Most of the time of a listing of packed tags on many commits goes in here.
fn kinds(repository: &gix::ThreadSafeRepository, ends: &[End]) -> Vec<(Option<Found>, Option<Found>)> {
    let mut wanted = Vec::with_capacity(2 * ends.len());
    for (at, (id, peeled)) in ends.iter().enumerate() {
        wanted.push((leading(id), at, Part::Own));
        wanted.extend(peeled.as_ref().map(|peeled| (leading(peeled), at, Part::Peeled)));
    }
    wanted.sort_unstable();
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(MOST_THREADS);
    let share = wanted.len().div_ceil(threads).max(LOOKUPS_PER_THREAD);
    let mut kinds = vec![(None, None); ends.len()];
    let mut settle = |share: &[Wanted], found: Vec<Found>| {
        for (&(_, at, part), kind) in share.iter().zip(found) {
            match part {
                Part::Own => kinds[at].0 = Some(kind),
                Part::Peeled => kinds[at].1 = Some(kind),
            }
        }
    };
    thread::scope(|scope| {
        let (first, others) = wanted.split_at(share.min(wanted.len()));
        let others: Vec<_> =
            others.chunks(share).map(|share| (share, scope.spawn(|| look_up(repository, ends, share)))).collect();
        settle(first, look_up(repository, ends, first));
        for (share, found) in others {
            // A thread that panicked leaves its questions without an answer, which is: unknown.
            settle(share, found.join().unwrap_or_default());
        }
    });
    kinds
}

/// One of an end's ids: what it is sorted by, which end, which of the two.
type Wanted = (u64, usize, Part);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Own,
    Peeled,
}

/// What ids are sorted by: nearly as good as the whole id, and quicker to compare.
fn leading(id: &ObjectId) -> u64 {
    id.as_bytes().first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

fn look_up(repository: &gix::ThreadSafeRepository, ends: &[End], wanted: &[Wanted]) -> Vec<Found> {
    let objects = Objects::of(repository);
    let mut found: Vec<Found> = Vec::with_capacity(wanted.len());
    let mut before = None;
    for &(_, at, part) in wanted {
        let id = match (part, ends[at]) {
            (Part::Peeled, (_, Some(peeled))) => peeled,
            (Part::Own | Part::Peeled, (id, _)) => id,
        };
        let kind = match found.last() {
            Some(kind) if before == Some(id) => kind.clone(),
            Some(_) | None => objects.kind(id),
        };
        before = Some(id);
        found.push(kind);
    }
    found
}

/// The objects of a repository and its alternates.
pub(super) struct Objects(gix::Repository);

/// An annotated tag's own object.
struct TagObject {
    bytes: Vec<u8>,
    target: ObjectId,
    target_kind: Kind,
}

impl Objects {
    /// Opens them for one thread.
    pub(super) fn of(repository: &gix::ThreadSafeRepository) -> Self {
        Self(repository.to_thread_local())
    }

    fn kind(&self, id: ObjectId) -> Found {
        match self.0.objects.try_header(&id) {
            Ok(Some(header)) => Ok(header.kind()),
            Ok(None) => Err(format!("object {id} is missing").into()),
            Err(fault) => Err(format!("object {id} cannot be read: {}", reason(&fault)).into()),
        }
    }

    /// A tag whose ref holds this object.
    fn tag(
        &self,
        id: ObjectId,
        kind: Kind,
        packed: Option<(ObjectId, Kind)>,
        with_messages: bool,
    ) -> Result<SourceTag, String> {
        if kind != Kind::Tag {
            return match packed {
                Some((peeled, _)) => Err(format!("packed-refs follows {id} to {peeled}, but it is no tag object")),
                None => Ok(SourceTag { tag_id: None, peeled: peeled(id, kind)?, message: None }),
            };
        }
        let (peeled_id, peeled_kind) = match packed {
            Some(packed) => packed,
            None => self.follow(id)?,
        };
        let message = if with_messages { Some(self.annotation(id)?.message) } else { None };
        Ok(SourceTag { tag_id: Some(id.into()), peeled: peeled(peeled_id, peeled_kind)?, message })
    }

    /// What a tag object leads to after any number of others.
    fn follow(&self, tag_id: ObjectId) -> Result<(ObjectId, Kind), String> {
        let mut id = tag_id;
        for _ in 0..DEEPEST_NESTING {
            let target = self.tag_object(id)?.target;
            match self.kind(target)? {
                Kind::Tag => id = target,
                kind => return Ok((target, kind)),
            }
        }
        Err(format!("tag object {tag_id} leads to more than {DEEPEST_NESTING} others"))
    }

    /// What stands in a tag object.
    pub(super) fn annotation(&self, tag_id: ObjectId) -> Result<AnnotatedTag, String> {
        let TagObject { bytes, target: _, target_kind } = self.tag_object(tag_id)?;
        Ok(AnnotatedTag::of_object(&bytes, target_kind))
    }

    fn tag_object(&self, id: ObjectId) -> Result<TagObject, String> {
        let mut bytes = Vec::new();
        let kind = match self.0.objects.try_find(&id, &mut bytes) {
            Ok(Some(object)) => object.kind,
            Ok(None) => return Err(format!("object {id} is missing")),
            Err(fault) => return Err(format!("object {id} cannot be read: {}", reason(&fault))),
        };
        if kind != Kind::Tag {
            return Err(format!("object {id} is a {kind}, no tag object"));
        }
        let mut tokens = TagRefIter::from_bytes(&bytes, self.0.object_hash());
        match (tokens.next(), tokens.next()) {
            (Some(Ok(Token::Target { id: target })), Some(Ok(Token::TargetKind(target_kind)))) => {
                Ok(TagObject { bytes, target, target_kind })
            }
            _ => Err(format!("tag object {id} does not say what it points at")),
        }
    }
}

/// What a tag points at in the end.
fn peeled(id: ObjectId, kind: Kind) -> Result<Peeled, String> {
    match kind {
        Kind::Commit => Ok(Peeled::Commit(id.into())),
        Kind::Tree => Ok(Peeled::Tree(id.into())),
        Kind::Blob => Ok(Peeled::Blob(id.into())),
        Kind::Tag => Err(format!("packed-refs stops at {id}, which is another tag object")),
    }
}

/// The library's own words, with their causes.
pub(super) fn reason(fault: &gix::Error) -> String {
    let causes = std::iter::successors(std::error::Error::source(fault), |cause| cause.source());
    let words = causes.fold(fault.to_string(), |words, cause| {
        let cause = cause.to_string();
        if cause.is_empty() || words.contains(&cause) { words } else { format!("{words}: {cause}") }
    });
    excerpt(words.as_bytes(), 400)
}
