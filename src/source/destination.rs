//! A repository as the side that is written to: objects first, then refs, each compared under its lock.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use gix::lock::acquire::Fail;
use gix::odb::pack::Bundle;
use gix::odb::pack::bundle::write::Options;
use gix::prelude::Write as _;
use gix::refs::store::WriteReflog;
use gix::refs::transaction::{Change, LogChange, PreviousValue, RefEdit, RefLog};
use gix::refs::{FullName, Target};
use tokio_util::io::{StreamReader, SyncIoBridge};

use super::objects::reason;
use super::packed::{PackedRefs, Scope};
use super::reference::Held;
use super::{LocalSource, Messages, Repository, SourceFault, loose};
use crate::tag::{SourceTag, TagName};
use crate::text::excerpt;
use crate::wire::{Command, Object, ObjectId, Objects, pack_in_parts};

/// So many objects become files of their own, more become a pack: what `receive.unpackLimit` of git is by default.
const LOOSE: usize = 100;

/// For how long somebody else's lock of a ref is waited for; git waits as long (`core.filesRefLockTimeout`), and longer for the
/// lock of all packed refs.
const LOCKED: Duration = Duration::from_millis(100);
const PACKED_LOCKED: Duration = Duration::from_secs(1);

/// A repository on this host that tags are written to, opened anew for each step.
#[derive(Clone, Debug)]
pub struct Destination {
    repository: LocalSource,
}

/// Why a ref is not what it was to become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefFault {
    /// Nothing was changed.
    Refused(String),
    /// It may have been changed.
    InDoubt(String),
}

/// Why objects did not arrive. Texts are printable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CopyFault {
    /// The source does not have this one, or what it leads to, either.
    Absent(ObjectId),
    /// Anything else.
    Failed(String),
}

impl Destination {
    /// The repository at this path.
    pub fn new(path: &Path) -> Self {
        Self { repository: LocalSource::new(path) }
    }

    /// Whether there is anything at the path at all.
    pub fn exists(&self) -> bool {
        self.repository.path().exists()
    }

    /// Which repository it is (see [`Repository::fingerprint`]), and whether its files can be written.
    pub async fn identity(&self) -> Result<(String, bool), SourceFault> {
        self.repository.ask(|repository| Ok((repository.fingerprint(), is_writable(repository)))).await
    }

    /// What every tag's ref holds, or why that cannot be told.
    pub async fn read_tags(&self) -> Result<Vec<(TagName, Result<ObjectId, String>)>, SourceFault> {
        let read = self.repository.ask(|repository| {
            let symbolic = symbolic_tags(repository)?;
            let tags = repository.read_tags(Messages::Skip)?;
            let held = |(name, tag): (&TagName, Result<&SourceTag, &str>)| {
                let held = match symbolic.iter().find(|(symbolic, _)| symbolic == name) {
                    Some((_, other)) => Err(stands_for(other)),
                    None => tag.map(SourceTag::held).map_err(str::to_owned),
                };
                (name.clone(), held)
            };
            Ok(tags.iter().map(held).collect())
        });
        read.await
    }

    /// What one tag's ref holds; `None` only when there is none.
    pub async fn read_tag(&self, name: &TagName) -> Result<Option<Result<ObjectId, String>>, SourceFault> {
        let name = name.clone();
        let read = self.repository.ask(move |repository| {
            let full_name = full_name(&name);
            if let Ok(Some(Held::Symbolic(other))) =
                loose::try_find(repository.common_dir(), &full_name, repository.hash)
            {
                return Ok(Some(Err(stands_for(&other))));
            }
            Ok(repository.read_tag(&name)?.map(|tag| Ok(tag.held())))
        });
        read.await
    }

    /// Whether it has an object.
    pub async fn has(&self, id: ObjectId) -> Result<bool, SourceFault> {
        self.repository.ask(move |repository| Ok(repository.has(id))).await
    }

    /// Copies everything that these objects lead to and the repository lacks.
    pub async fn take_objects(&self, from: &Arc<dyn Objects>, wanted: &[ObjectId]) -> Result<(), CopyFault> {
        self.copy(from, wanted).await.map_err(CopyFault::Failed)?;
        let wanted = wanted.to_vec();
        let absent = self.repository.ask(move |repository| {
            // What cannot be followed to its end is not there in full, either.
            let is_there = |id| repository.has(id) && repository.end_of(id).is_ok_and(|end| repository.has(end));
            Ok(wanted.into_iter().find(|id| !is_there(*id)))
        });
        match absent.await.map_err(|fault: SourceFault| CopyFault::Failed(fault.message))? {
            None => Ok(()),
            Some(id) => Err(CopyFault::Absent(id)),
        }
    }

    async fn copy(&self, from: &Arc<dyn Objects>, wanted: &[ObjectId]) -> Result<(), String> {
        let known = self.repository.ask(|repository| all_tips(repository).map_err(|why| repository.fault(why, "")));
        let known = known.await.map_err(|fault| fault.message)?;
        let format = from.format().await?;
        let list = from.list_lacking(wanted.to_vec(), known).await?;
        if list.len() > LOOSE {
            self.write_pack(from, list, format).await
        } else {
            self.write_loose(from, &list, format).await
        }
    }

    async fn write_loose(
        &self,
        from: &Arc<dyn Objects>,
        mut list: &[Object],
        format: gix::hash::Kind,
    ) -> Result<(), String> {
        while !list.is_empty() {
            let contents = from.read_objects(list, PART).await?;
            let (now, rest) = list.split_at(contents.len().min(list.len()));
            let now = now.to_vec();
            let write = self.repository.ask(move |repository| {
                let local = repository.inner.to_thread_local();
                if local.object_hash() != format {
                    return Err(repository.fault(OTHER_FORMAT, ""));
                }
                for (object, content) in now.iter().zip(&contents) {
                    match local.objects.write_buf(object.kind, content) {
                        Ok(id) if id == object.id => {}
                        Ok(_) => return Err(repository.fault(format!("object {} is damaged", object.id), "")),
                        Err(fault) => return Err(repository.fault(fault.to_string(), "")),
                    }
                }
                Ok(())
            });
            write.await.map_err(|fault| fault.message)?;
            list = rest;
        }
        Ok(())
    }

    async fn write_pack(
        &self,
        from: &Arc<dyn Objects>,
        list: Vec<Object>,
        format: gix::hash::Kind,
    ) -> Result<(), String> {
        let parts = pack_in_parts(from, list, format);
        // The bridge waits for the parts from a thread that may block.
        let bridge = SyncIoBridge::new(StreamReader::new(parts().into_stream()));
        let write = self.repository.ask(move |repository| {
            let local = repository.inner.to_thread_local();
            if local.object_hash() != format {
                return Err(repository.fault(OTHER_FORMAT, ""));
            }
            let folder = repository.common_dir().join("objects/pack");
            let written = Bundle::write_to_directory(
                &mut std::io::BufReader::new(bridge),
                Some(&folder),
                &mut gix::progress::Discard,
                &AtomicBool::new(false),
                None::<gix::odb::Handle>,
                format,
                Options { thread_limit: Some(1), ..Options::default() },
            );
            let written = written.map_err(|fault| repository.fault(reason(&fault), ""))?;
            // It keeps others from tidying the pack away while no ref leads to it. The refs come next, and git gives what
            // nothing leads to two weeks.
            if let Some(keep) = written.keep_path {
                std::fs::remove_file(&keep).map_err(|fault| repository.fault(fault.to_string(), ""))?;
            }
            Ok(())
        });
        write.await.map_err(|fault| fault.message)
    }

    /// Writes refs; the answers come in the order of the commands, and each ref is as if it were alone.
    pub async fn write_refs(&self, commands: &[Command]) -> Vec<Result<(), RefFault>> {
        let count = commands.len();
        let commands = commands.to_vec();
        let write = self.repository.ask(move |repository| {
            let mut local = repository.inner.to_thread_local();
            // git writes none for tags, either; it would need a name for who did it.
            local.refs.write_reflog = WriteReflog::Disable;
            let taken = names(repository).map_err(|why| repository.fault(why, ""))?;
            Ok(write_refs(&local, &taken, &commands))
        });
        write.await.unwrap_or_else(|fault| vec![Err(RefFault::InDoubt(fault.message)); count])
    }
}

const PART: usize = 1024 * 1024;

const OTHER_FORMAT: &str =
    "it makes its object ids in another way than the source, so they can have no object in common";

impl SourceTag {
    /// The object that the ref itself holds.
    fn held(&self) -> ObjectId {
        use crate::tag::Peeled;
        match (self.tag_id, self.peeled) {
            (Some(tag_id), _) => tag_id.into(),
            (None, Peeled::Commit(id)) => id.into(),
            (None, Peeled::Tree(id) | Peeled::Blob(id)) => id.into(),
        }
    }
}

fn full_name(name: &TagName) -> Vec<u8> {
    [b"refs/tags/", name.as_bytes()].concat()
}

fn stands_for(other: &[u8]) -> String {
    format!("it stands for `{}`, and a write to it would leave that alone", excerpt(other, 200))
}

/// The tags that are other refs, with their names.
fn symbolic_tags(repository: &Repository) -> Result<Vec<(TagName, Vec<u8>)>, SourceFault> {
    let tags = loose::read_tags(repository.common_dir(), repository.hash).map_err(|why| repository.fault(why, ""))?;
    let symbolic = tags.into_iter().filter_map(|(name, held)| match held {
        Ok(Held::Symbolic(other)) => Some((name, other)),
        Ok(Held::Object(_)) | Err(_) => None,
    });
    Ok(symbolic.collect())
}

fn is_writable(repository: &Repository) -> bool {
    use rustix::fs::{Access, access};
    ["refs", "objects"].iter().all(|name| access(repository.common_dir().join(name), Access::WRITE_OK).is_ok())
}

/// What the repository's refs hold; whatever they lead to is there.
fn all_tips(repository: &Repository) -> Result<Vec<ObjectId>, String> {
    let local = repository.inner.to_thread_local();
    let references = local.references().map_err(|fault| reason(&fault))?;
    let all = references.all().map_err(|fault| reason(&fault))?;
    // One that cannot be read leads to nothing that could be counted on.
    Ok(all.filter_map(|reference| reference.ok()?.try_id().map(gix::Id::detach)).collect())
}

/// One transaction for all, because each costs the same however many refs are in it; where it is refused, its halves.
fn write_refs(local: &gix::Repository, taken: &BTreeSet<Vec<u8>>, commands: &[Command]) -> Vec<Result<(), RefFault>> {
    if commands.is_empty() {
        return Vec::new();
    }
    match transact(local, taken, commands) {
        Err(RefFault::Refused(_)) if commands.len() > 1 => {
            let (one, other) = commands.split_at(commands.len() / 2);
            let mut outcomes = write_refs(local, taken, one);
            outcomes.extend(write_refs(local, taken, other));
            outcomes
        }
        outcome => vec![outcome; commands.len()],
    }
}

fn transact(local: &gix::Repository, taken: &BTreeSet<Vec<u8>>, commands: &[Command]) -> Result<(), RefFault> {
    let mut edits = Vec::with_capacity(commands.len());
    for command in commands {
        if command.old.is_none() {
            check_way(taken, &command.name).map_err(RefFault::Refused)?;
        }
        edits.push(edit(command).map_err(RefFault::Refused)?);
    }
    let locks = [LOCKED, PACKED_LOCKED].map(Fail::AfterDurationWithBackoff);
    let [of_ref, of_packed] = locks;
    let prepared = local.refs.transaction().prepare(edits, of_ref, of_packed);
    let prepared = prepared.map_err(|fault| RefFault::Refused(reason(&fault)))?;
    prepared.commit(None).map(drop).map_err(|fault| RefFault::InDoubt(reason(&fault)))
}

fn edit(command: &Command) -> Result<RefEdit, String> {
    let name = FullName::try_from(gix::bstr::BString::from(full_name(&command.name)));
    let name = name.map_err(|fault| format!("it is no name of a ref: {fault}"))?;
    let expected = match command.old {
        None => PreviousValue::MustNotExist,
        Some(id) => PreviousValue::MustExistAndMatch(Target::Object(id)),
    };
    let change = match command.new {
        Some(id) => Change::Update {
            log: LogChange { mode: RefLog::AndReference, force_create_reflog: false, message: Default::default() },
            expected,
            new: Target::Object(id),
        },
        None => Change::Delete { expected, log: RefLog::AndReference },
    };
    Ok(RefEdit { change, name, deref: false })
}

/// The names that are taken, in whichever of the two places.
fn names(repository: &Repository) -> Result<BTreeSet<Vec<u8>>, String> {
    let loose = loose::read_tags(repository.common_dir(), repository.hash)?;
    let packed = PackedRefs::read(repository.common_dir(), repository.hash, Scope::Tags);
    let packed = packed.map_err(|_| "its packed-refs cannot be read".to_owned())?.into_tags();
    let loose = loose.into_iter().map(|(name, _)| name);
    Ok(loose.chain(packed.into_iter().map(|(name, _)| name)).map(|name| name.as_bytes().to_vec()).collect())
}

/// Whether a tag can stand beside the others: `a` and `a/b` exclude each other, also where one of them is packed and has no
/// file that would be in the way.
fn check_way(taken: &BTreeSet<Vec<u8>>, name: &TagName) -> Result<(), String> {
    let name = name.as_bytes();
    let in_the_way = |other: &[u8]| Err(format!("the tag `{}` is in its way", excerpt(other, 200)));
    let slashes = name.iter().enumerate().filter(|(_, byte)| **byte == b'/');
    if let Some((at, _)) = slashes.into_iter().find(|(at, _)| taken.contains(&name[..*at])) {
        return in_the_way(&name[..at]);
    }
    let below = [name, b"/"].concat();
    match taken.range::<[u8], _>((Bound::Included(below.as_slice()), Bound::Unbounded)).next() {
        Some(other) if other.starts_with(&below) => in_the_way(other),
        Some(_) | None => Ok(()),
    }
}
