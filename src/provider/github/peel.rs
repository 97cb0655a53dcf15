//! From tag objects to the commits that they lead to.
//!
//! The listing names tag objects alone. What an object id means never changes, so it is found out once: from the source, which has
//! most of them, because an object that came out byte for byte has the same id there; or else from GitHub, one request for each, which
//! a daemon remembers. A tag on which nothing depends is not looked at.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::GitHub;
use super::object::TagObject;
use super::wire::{WireObject, WireTagObject};
use crate::provider::{Fault, FaultKind};
use crate::tag::{Annotation, CommitId, ObjectId, Target, Value};

/// How many objects are asked for at the same time; the gate may allow less.
const LOOKS: usize = 8;

/// How many tag objects may stand between a ref and its commit; real ones have one or two.
const DEEPEST: usize = 10;

/// How much of the source's tag objects is read at once.
const READ_AT_ONCE: usize = 16 * 1024 * 1024;

/// More is not kept; what is not known is asked for again.
const MOST: usize = 200_000;

/// What a tag on an object means, or why that cannot be told.
pub(super) type Meaning = Result<Value, String>;

/// What was found out about a repository, and can be found out again.
#[derive(Debug, Default)]
pub(super) struct Memory {
    meanings: Mutex<HashMap<ObjectId, Value>>,
    pub(super) listing: Mutex<Option<super::list::Remembered>>,
}

impl Memory {
    fn meanings(&self) -> MutexGuard<'_, HashMap<ObjectId, Value>> {
        self.meanings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn learn(&self, id: ObjectId, value: Value) {
        let mut meanings = self.meanings();
        if meanings.len() >= MOST {
            meanings.clear();
        }
        meanings.insert(id, value);
    }
}

impl GitHub {
    /// What tags on these tag objects mean. A fault is one that concerns all of them.
    pub(super) async fn meanings(&self, mut ids: Vec<ObjectId>) -> Result<HashMap<ObjectId, Meaning>, Fault> {
        ids.sort_unstable();
        ids.dedup();
        let mut found: HashMap<ObjectId, Meaning> = HashMap::with_capacity(ids.len());
        {
            let known = self.memory.meanings();
            found.extend(ids.iter().filter_map(|id| Some((*id, Ok(known.get(id)?.clone())))));
        }
        ids.retain(|id| !found.contains_key(id));
        for (id, value) in self.find_in_source(&ids).await {
            self.memory.learn(id, value.clone());
            found.insert(id, Ok(value));
        }
        ids.retain(|id| !found.contains_key(id));
        let mut looks = stream::iter(ids)
            .map(|id| async move { Ok::<_, Fault>((id, self.look_at(id).await?)) })
            .buffer_unordered(LOOKS);
        while let Some((id, meaning)) = looks.try_next().await? {
            if let Ok(value) = &meaning {
                self.memory.learn(id, value.clone());
            }
            found.insert(id, meaning);
        }
        Ok(found)
    }

    /// Those that the source has. What it cannot say is asked of GitHub.
    async fn find_in_source(&self, ids: &[ObjectId]) -> Vec<(ObjectId, Value)> {
        let Some(source) = &self.objects else { return Vec::new() };
        let mut found = Vec::new();
        let mut rest = ids;
        while !rest.is_empty() {
            let asked = rest.iter().map(|id| (*id).into()).collect();
            let Ok(read) = source.read_tag_objects(asked, READ_AT_ONCE).await else { break };
            let objects: HashMap<ObjectId, &[u8]> =
                read.objects.iter().map(|(id, bytes)| (ObjectId::from(*id), bytes.as_slice())).collect();
            let (covered, later) = rest.split_at(read.covered.clamp(1, rest.len()));
            found.extend(covered.iter().filter_map(|id| Some((*id, self.read(*id, &objects)?))));
            rest = later;
        }
        found
    }

    /// What the source's objects say about one of them.
    fn read(&self, id: ObjectId, objects: &HashMap<ObjectId, &[u8]>) -> Option<Value> {
        let first = TagObject::parse(objects.get(&id)?)?;
        // Where its signature begins, GitHub decides.
        if self.compare_annotations && first.is_signed() {
            return None;
        }
        let text = first.text;
        let mut object = first;
        for _ in 0..DEEPEST {
            match object.kind {
                "commit" => return Some(self.value(object.target.parse().ok()?, Some(text))),
                "tag" => object = TagObject::parse(objects.get(&object.target.parse().ok()?)?)?,
                _ => return None,
            }
        }
        None
    }

    /// Asks GitHub. The message is that of the first object.
    async fn look_at(&self, id: ObjectId) -> Result<Meaning, Fault> {
        let mut next = id;
        let mut message: Option<Option<String>> = None;
        for _ in 0..DEEPEST {
            let Some(tag) = self.tag_object(next).await? else {
                return Ok(Err(format!("GitHub does not show the tag object {next:.12}")));
            };
            let message = message.get_or_insert_with(|| tag.message().map(str::to_owned));
            let WireObject { kind, sha } = &tag.object;
            let full =
                || format!("GitHub names no full id of the {kind} behind it", kind = crate::text::Printable::new(kind));
            match kind.as_str() {
                "commit" => {
                    return Ok(sha
                        .parse()
                        .map(|commit_id| self.value(commit_id, message.as_deref()))
                        .map_err(|_| full()));
                }
                "tag" => match sha.parse() {
                    Ok(id) => next = id,
                    Err(_) => return Ok(Err(full())),
                },
                _ => return Ok(Err(no_commit(kind))),
            }
        }
        Ok(Err(format!("more than {DEEPEST} tag objects lead to one another")))
    }

    /// One tag object; `None` when GitHub says that there is none.
    pub(super) async fn tag_object(&self, id: ObjectId) -> Result<Option<WireTagObject>, Fault> {
        let id = id.to_string();
        let segments = self.segments(&["git", "tags", &id]);
        let reply = self.get("read the tag object", &segments).send().await?;
        if reply.status() == 404 {
            return Ok(None);
        }
        let reply = self.expect(reply, 200)?;
        let tag: WireTagObject = reply.json("a tag object")?;
        if tag.sha != id {
            return Err(Fault::new(FaultKind::Unreadable, reply.unusable("is about another tag object").message));
        }
        Ok(Some(tag))
    }

    /// The value of a tag on a commit, with this message of its tag object.
    pub(super) fn value(&self, commit_id: CommitId, message: Option<&str>) -> Value {
        let annotation = match self.compare_annotations {
            true => Annotation::of_message(message),
            false => Annotation::NotCompared,
        };
        Value { target: Target::Commit(commit_id), annotation }
    }
}

/// Why a tag on such an object has no value.
pub(super) fn no_commit(kind: &str) -> String {
    format!(
        "it points at a {}, and tags over this API are compared by their commits",
        crate::text::Printable::new(kind)
    )
}
