//! A remote as the side that tags come from: its complete listing is the snapshot.
//!
//! What its API tells is what is known. A forge's REST API gives commits and says what annotations are like; git's protocol gives
//! the objects that refs hold, and tag objects on demand; a registry gives digests.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use crate::provider::{Ends, Fault, Provider, Wanted};
use crate::source::{AnnotatedTag, DEEPEST_NESTING, Messages, Source, SourceFault, target_of};
use crate::tag::{
    CommitId, GitTag, MessageDigest, Notes, NotesRef, Peeled, RemoteTag, SourceSnapshot, SourceTag, TagId, TagName,
    Target,
};
use crate::wire::{Lacking, Object, ObjectFormat, ObjectId, ObjectKind, Objects, TagObjects};

/// A remote that tags come from. Clones know the same.
#[derive(Clone)]
pub(super) struct RemoteSource {
    name: String,
    provider: Arc<dyn Provider>,
    known: Arc<Mutex<Known>>,
}

/// What has been read so far.
#[derive(Default)]
struct Known {
    /// What annotated tags peel to.
    ends: Ends,
    /// How ids are made; `None` where no object was listed.
    format: Option<ObjectFormat>,
    /// Tag objects that were fetched; nothing is ever taken out.
    objects: HashMap<ObjectId, Vec<u8>>,
    /// How many bytes these are.
    bytes: usize,
}

/// The bytes of a tag object, where it is here.
type Found<'a> = &'a dyn Fn(ObjectId) -> Option<&'a [u8]>;

/// Tag objects are kept for the pass up to this many bytes; what comes later is fetched when it is needed.
const KEPT_BYTES: usize = 16 * 1024 * 1024;

/// How many tag objects are fetched ahead of their use.
const READ_AHEAD: usize = 2_000;

impl Known {
    fn keep(&mut self, fetched: HashMap<ObjectId, Vec<u8>>) {
        let bytes: usize = fetched.values().map(Vec::len).sum();
        if self.bytes + bytes <= KEPT_BYTES {
            self.bytes += bytes;
            self.objects.extend(fetched);
        }
    }
}

/// Without what is behind it, which may be large.
impl fmt::Debug for RemoteSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteSource").field("name", &self.name).finish_non_exhaustive()
    }
}

impl RemoteSource {
    /// The remote of this name. The provider has to compare annotations where it can, because nothing else tells of them.
    pub(super) fn new(name: &str, provider: Arc<dyn Provider>) -> Self {
        Self { name: name.to_owned(), provider, known: Arc::default() }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Whatever panics while it is held, each entry in it is whole.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fault(&self, fault: &Fault) -> SourceFault {
        source_fault(&self.name, fault)
    }

    /// Looks at the tag objects that these ids are and lead to; what is not here yet is fetched.
    async fn look<T>(&self, ids: &[ObjectId], look: impl FnOnce(&Ends, Found<'_>) -> T) -> Result<T, Fault> {
        let wanted: Vec<Wanted> = {
            let known = self.known();
            let missing = ids.iter().filter(|id| !known.objects.contains_key(*id));
            missing.filter_map(|id| Some(Wanted { tag_id: *id, end: *known.ends.get(id)? })).collect()
        };
        let fetched = if wanted.is_empty() { HashMap::new() } else { self.provider.fetch_tags(&wanted).await? };
        let mut known = self.known();
        let looked = look(&known.ends, &|id| fetched.get(&id).or_else(|| known.objects.get(&id)).map(Vec::as_slice));
        known.keep(fetched);
        Ok(looked)
    }

    fn source_tag(&self, tag: RemoteTag, ends: &Ends) -> (TagName, Result<SourceTag, Box<str>>) {
        let value = match tag.value {
            Ok(value) => value,
            Err(reason) => return (tag.name, Err(reason.into())),
        };
        let Target::Object(id) = value.target else { return (tag.name, Ok(SourceTag::Told(Box::new(value)))) };
        let id = ObjectId::from(id);
        let end = ends.get(&id).copied();
        // The protocol does not say what is at the end; nearly always it is a commit, and who does not have it says so.
        let peeled = Peeled::Commit(end.unwrap_or(id).into());
        let tag_id = end.map(|_| TagId::from(id));
        (tag.name, Ok(SourceTag::Git(GitTag { tag_id, peeled, message: None })))
    }
}

/// What a remote, or the way to it, has against being read.
pub(super) fn source_fault(name: &str, fault: &Fault) -> SourceFault {
    let hint = fault.hint.clone().unwrap_or_else(|| "nothing is concluded until it can be read".to_owned());
    SourceFault::of_remote(name, fault.to_string(), hint)
}

#[async_trait]
impl Source for RemoteSource {
    /// The id of its tag space.
    async fn fingerprint(&self) -> Result<String, SourceFault> {
        match self.provider.space() {
            Some(space) => Ok(space.to_owned()),
            None => self.provider.identity().await.map(|identity| identity.space).map_err(|fault| self.fault(&fault)),
        }
    }

    fn recognise(&self, remembered: &str, now: &str) -> Option<String> {
        self.provider.recognise(remembered, now)
    }

    async fn read_tags(&self, _: Messages) -> Result<SourceSnapshot, SourceFault> {
        let (listed, ends) = self.provider.list_peeled().await.map_err(|fault| self.fault(&fault))?;
        let format = listed.tags().iter().find_map(|tag| match tag.value.as_ref().ok()?.target {
            Target::Object(id) => Some(ObjectId::from(id).kind()),
            Target::Commit(commit_id) => Some(ObjectId::from(commit_id).kind()),
            Target::Snapshot(_) | Target::Digest(_) => None,
        });
        let snapshot = SourceSnapshot::of_walk(listed.tags().iter().map(|tag| self.source_tag(tag.clone(), &ends)));
        let mut known = self.known();
        (known.ends, known.format) = (ends, format);
        Ok(snapshot)
    }

    async fn read_notes(&self, notes_ref: &NotesRef, _: Vec<CommitId>) -> Result<Notes, SourceFault> {
        let what = format!("its notes in `{notes_ref}` cannot be read, because no API tells of any");
        Err(SourceFault::of_remote(&self.name, what, "read the source from a repository on this host"))
    }

    async fn read_tag(&self, name: &TagName) -> Result<Option<SourceTag>, SourceFault> {
        let unknown = |reason: Box<str>| {
            let what = format!("tag `{name}` is unknown: {reason}");
            SourceFault::of_remote(&self.name, what, "look at the tag on the remote that it comes from")
        };
        let tag = self.provider.get_tag(name).await.map_err(|fault| self.fault(&fault))?;
        let Some(tag) = tag else { return Ok(None) };
        let peels = matches!(&tag.value, Ok(value) if matches!(value.target, Target::Object(_)));
        let ends = if peels {
            // Only a listing says what tags peel to.
            let (_, ends) = self.provider.list_peeled().await.map_err(|fault| self.fault(&fault))?;
            self.known().ends.extend(ends.iter().map(|(tag_id, end)| (*tag_id, *end)));
            ends
        } else {
            Ends::new()
        };
        self.source_tag(tag, &ends).1.map(Some).map_err(unknown)
    }

    async fn confirm_absent(&self, name: &TagName) -> Result<bool, SourceFault> {
        Ok(self.provider.get_tag(name).await.map_err(|fault| self.fault(&fault))?.is_none())
    }

    async fn read_annotation(&self, tag_id: TagId) -> Result<AnnotatedTag, SourceFault> {
        let id = ObjectId::from(tag_id);
        let read = |_: &Ends, found: Found<'_>| {
            let bytes = found(id)?;
            AnnotatedTag::read(bytes, id.kind())
        };
        let read = self.look(&[id], read).await.map_err(|fault| self.fault(&fault))?;
        read.ok_or_else(|| {
            let hint = "run again; if it happens again, look at the tag on the remote that it comes from";
            SourceFault::of_remote(&self.name, not_sent(id), hint)
        })
    }

    async fn read_message(&self, name: &TagName, digest: &MessageDigest) -> Result<String, SourceFault> {
        let tag = self.provider.get_tag(name).await.map_err(|fault| self.fault(&fault))?;
        let message = tag.and_then(|tag| tag.message).filter(|message| digest.is_of(message));
        message.ok_or_else(|| {
            SourceFault::of_remote(&self.name, format!("its tag `{name}` has changed since it was listed"), "run again")
        })
    }

    async fn read_ahead(&self, ids: &[crate::tag::ObjectId]) {
        let ids: Vec<_> = ids.iter().take(READ_AHEAD).map(|id| ObjectId::from(*id)).collect();
        if let Err(fault) = self.look(&ids, |_, _| ()).await {
            tracing::warn!(source = self.name, error = %fault, "Tag objects could not be fetched together.");
        }
    }

    fn objects(&self) -> Option<Arc<dyn Objects>> {
        // Where nothing was listed there is nothing to push, and nothing says how ids are made.
        self.known().format.map(|_| Arc::new(self.clone()) as Arc<dyn Objects>)
    }
}

#[async_trait]
impl Objects for RemoteSource {
    async fn format(&self) -> Result<ObjectFormat, String> {
        Ok(self.known().format.unwrap_or(ObjectFormat::Sha1))
    }

    async fn read_tag_objects(&self, ids: Vec<ObjectId>, limit: usize) -> Result<TagObjects, String> {
        let read = self.look(&ids, |ends, found| chains(ends, found, &ids, limit)).await;
        read.map_err(|fault| self.fault(&fault).to_string())?
    }

    fn have_history(&self) -> bool {
        false
    }

    /// The tag objects; what is at their ends cannot be had.
    async fn list_lacking(&self, wanted: Vec<ObjectId>, _known: Vec<ObjectId>) -> Result<Lacking, String> {
        let TagObjects { objects, .. } = self.read_tag_objects(wanted, usize::MAX).await?;
        let objects = objects.into_iter().map(|(id, _)| Object { id, kind: ObjectKind::Tag }).collect();
        // What they lead to has to be there; whoever takes them looks.
        Ok(Lacking { objects, is_whole: true })
    }

    async fn read_objects(&self, objects: &[Object], limit: usize) -> Result<Vec<Vec<u8>>, String> {
        let ids: Vec<_> = objects.iter().take(READ_AHEAD).map(|object| object.id).collect();
        let read = self.look(&ids, |_, found| {
            let (mut contents, mut size) = (Vec::new(), 0);
            for id in &ids {
                let bytes = found(*id).ok_or_else(|| not_sent(*id))?;
                size += bytes.len();
                if size > limit && !contents.is_empty() {
                    break;
                }
                contents.push(bytes.to_vec());
            }
            Ok(contents)
        });
        read.await.map_err(|fault| self.fault(&fault).to_string())?
    }

    async fn has(&self, _id: ObjectId) -> Result<bool, String> {
        Ok(false)
    }

    async fn end_of(&self, id: ObjectId) -> Result<ObjectId, String> {
        Ok(self.known().ends.get(&id).copied().unwrap_or(id))
    }
}

/// The tag objects from each id to its end, as long as they fit.
fn chains(ends: &Ends, found: Found<'_>, ids: &[ObjectId], limit: usize) -> Result<TagObjects, String> {
    let mut read = TagObjects::default();
    let (mut seen, mut size) = (std::collections::HashSet::new(), 0);
    for id in ids {
        let mut chain = Vec::new();
        let mut next = ends.contains_key(id).then_some(*id);
        while let Some(id) = next {
            if chain.len() == DEEPEST_NESTING {
                return Err(format!("tag object {id} leads to more than {DEEPEST_NESTING} others"));
            }
            let bytes = found(id).ok_or_else(|| not_sent(id))?;
            let target = target_of(bytes, id.kind());
            let target = target.ok_or_else(|| format!("tag object {id} does not say what it points at"))?;
            if !seen.contains(&id) {
                size += bytes.len();
                chain.push((id, bytes.to_vec()));
            }
            next = (target.kind == ObjectKind::Tag).then_some(target.id);
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

fn not_sent(id: ObjectId) -> String {
    format!("tag object {id} was not sent when it was fetched")
}
