//! What refs point at: kinds of objects, and tag objects followed to their end.

use std::num::NonZero;
use std::thread;

use gix::ObjectId;
use gix::objs::Exists as _;
use gix::objs::{Kind, TagRefIter, tag::ref_iter::Token};
use gix::odb::Header as _;
use gix::prelude::Find as _;

use super::Messages;
use super::annotation::AnnotatedTag;
use super::packed::TagEnd;
use super::reference::End;
use crate::tag::{Peeled, SourceTag, TagName};
use crate::text::excerpt;

/// Tag objects pointing at tag objects, at most; real ones have two or three.
pub(super) const DEEPEST_NESTING: usize = 100;

/// Tags that are worth a thread of their own; a thread costs about as much as a hundred look-ups.
const TAGS_PER_THREAD: usize = 2_000;

/// Objects that are remembered, because many tags may be on one commit.
const REMEMBERED: usize = 1024;

/// More threads than this find the same memory busy.
const MOST_THREADS: usize = 4;

/// What a tag's ref leads to, with what has been found out about it.
#[derive(Clone, Debug)]
pub(super) struct Lead {
    pub(super) end: End,
    /// The kind of the object itself; `None` where it was not found, or not looked for yet.
    own: Option<Kind>,
    /// The same for what packed-refs says that the object leads to.
    peeled: Option<Kind>,
    /// The message of a tag object, where messages are read.
    message: Option<Box<str>>,
}

impl From<End> for Lead {
    fn from(end: End) -> Self {
        Self { end, own: None, peeled: None, message: None }
    }
}

/// A tag as a snapshot keeps it.
type Tag = (TagName, Result<SourceTag, Box<str>>);

// What becomes of a list of the one is a list of the other in the same place, without a second one beside it.
const _: () = assert!(size_of::<TagEnd>() == size_of::<Tag>());

/// Reads what refs lead to, in their order.
///
/// What can be found out by a look at an object is found out first, by several threads when there are many tags: most of
/// the time of a listing goes in here. The rest, and the reasons why something is not there, are few.
pub(super) fn resolve(repository: &gix::ThreadSafeRepository, mut tags: Vec<TagEnd>, messages: Messages) -> Vec<Tag> {
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(MOST_THREADS);
    let share = tags.len().div_ceil(threads).max(TAGS_PER_THREAD);
    thread::scope(|scope| {
        let mut shares = tags.chunks_mut(share);
        let first = shares.next();
        for share in shares {
            scope.spawn(|| look_up(repository, share, messages));
        }
        look_up(repository, first.unwrap_or_default(), messages);
    });
    let objects = Objects::of(repository);
    let tag = |lead| objects.tag(lead, messages).map_err(String::into_boxed_str);
    tags.into_iter().map(|(name, lead)| (name, lead.and_then(tag))).collect()
}

/// Reads what one ref leads to.
pub(super) fn resolve_one(repository: &gix::ThreadSafeRepository, end: End) -> Result<SourceTag, String> {
    Objects::of(repository).tag(end.into(), Messages::Skip)
}

/// Finds out what a look at the objects tells.
fn look_up(repository: &gix::ThreadSafeRepository, tags: &mut [TagEnd], messages: Messages) {
    let objects = Objects::of(repository);
    let mut known = vec![None; REMEMBERED];
    let mut kind = |id: ObjectId| {
        let place = usize::from(id.as_bytes().first_chunk().map_or(0, |bytes| u16::from_be_bytes(*bytes))) % REMEMBERED;
        match known[place] {
            Some((before, kind)) if before == id => Some(kind),
            Some(_) | None => {
                let kind = objects.kind(id).ok()?;
                known[place] = Some((id, kind));
                Some(kind)
            }
        }
    };
    let own = in_order_of_ids(tags, |end| Some(end.id), &mut kind);
    let peeled = in_order_of_ids(tags, |end| end.peeled, &mut kind);
    for (((_, lead), own), peeled) in tags.iter_mut().zip(own).zip(peeled) {
        if let Ok(lead) = lead {
            (lead.own, lead.peeled) = (own, peeled);
        }
    }
    if messages == Messages::Read {
        for lead in
            tags.iter_mut().filter_map(|(_, lead)| lead.as_mut().ok()).filter(|lead| lead.own == Some(Kind::Tag))
        {
            lead.message = objects.annotation(lead.end.id).ok().map(|annotation| annotation.message.into());
        }
    }
}

/// Asks about an id of each tag, in the order of the ids' first bytes: then neighbours share what they touch of the pack
/// indices, which is nearly as good as to sort them, and takes less time.
fn in_order_of_ids(
    tags: &[TagEnd],
    id: impl Fn(&End) -> Option<ObjectId>,
    mut ask: impl FnMut(ObjectId) -> Option<Kind>,
) -> Vec<Option<Kind>> {
    let mut questions: Vec<_> = (0..=u8::MAX).map(|_| Vec::with_capacity(tags.len() / 128)).collect();
    for (at, (_, lead)) in tags.iter().enumerate() {
        if let Some(id) = lead.as_ref().ok().and_then(|lead| id(&lead.end)) {
            questions[usize::from(id.first_byte())].push((at, id));
        }
    }
    let mut answers = vec![None; tags.len()];
    for (at, id) in questions.into_iter().flatten() {
        answers[at] = ask(id);
    }
    answers
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

    /// What kind of object this is.
    pub(super) fn kind(&self, id: ObjectId) -> Result<Kind, String> {
        self.header(id).map(|header| header.kind())
    }

    /// How many bytes an object has, without reading them.
    pub(super) fn size(&self, id: ObjectId) -> Result<u64, String> {
        self.header(id).map(|header| header.size())
    }

    fn header(&self, id: ObjectId) -> Result<gix::odb::find::Header, String> {
        match self.0.objects.try_header(&id) {
            Ok(Some(header)) => Ok(header),
            Ok(None) => Err(format!("object {id} is missing")),
            Err(fault) => Err(format!("object {id} cannot be read: {}", reason(&fault))),
        }
    }

    /// The tag; what is not known of it yet is asked for.
    fn tag(&self, lead: Lead, messages: Messages) -> Result<SourceTag, String> {
        let Lead { end: End { id, peeled: packed }, own, peeled: packed_kind, message } = lead;
        let known = |id, kind: Option<Kind>| kind.map_or_else(|| self.kind(id), Ok);
        let kind = known(id, own)?;
        if kind != Kind::Tag {
            return match packed {
                Some(peeled) => Err(format!("packed-refs follows {id} to {peeled}, but it is no tag object")),
                None => Ok(SourceTag { tag_id: None, peeled: peeled(id, kind)?, message: None }),
            };
        }
        let (peeled_id, peeled_kind) = match packed {
            Some(packed) => (packed, known(packed, packed_kind)?),
            None => self.follow(id)?,
        };
        let message = match (messages, message) {
            (Messages::Skip, _) => None,
            (Messages::Read, Some(message)) => Some(message),
            (Messages::Read, None) => Some(self.annotation(id)?.message.into()),
        };
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

    /// The bytes of an object of this kind.
    pub(super) fn read(&self, id: ObjectId, kind: Kind) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::new();
        match self.0.objects.try_find(&id, &mut bytes) {
            Ok(Some(object)) if object.kind == kind => Ok(bytes),
            Ok(Some(object)) => Err(format!("object {id} is a {}, no {kind} object", object.kind)),
            Ok(None) => Err(format!("object {id} is missing")),
            Err(fault) => Err(format!("object {id} cannot be read: {}", reason(&fault))),
        }
    }

    /// The kind of an object; `None` where it is not there.
    pub(super) fn try_kind(&self, id: ObjectId) -> Result<Option<Kind>, String> {
        let header = self.0.objects.try_header(&id);
        let header = header.map_err(|fault| format!("object {id} cannot be read: {}", reason(&fault)))?;
        Ok(header.map(|header| header.kind()))
    }

    /// Whether an object is there; that it can be read is not said.
    pub(super) fn has(&self, id: ObjectId) -> bool {
        self.0.objects.exists(&id)
    }

    /// The bytes of a tag object, and what it points at.
    pub(super) fn raw_tag(&self, id: ObjectId) -> Result<(Vec<u8>, ObjectId, Kind), String> {
        self.tag_object(id).map(|TagObject { bytes, target, target_kind }| (bytes, target, target_kind))
    }

    fn tag_object(&self, id: ObjectId) -> Result<TagObject, String> {
        let bytes = self.read(id, Kind::Tag)?;
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
