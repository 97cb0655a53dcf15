//! A repository as the side that is written to: objects first, then refs, each compared under its lock.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
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
use super::packed::{PackedRefs, Scope, Stamp};
use super::reference::Held;
use super::{LocalSource, Messages, Repository, SourceFault, loose};
use crate::tag::{GitTag, Peeled, SourceTag, TagName};
use crate::text::excerpt;
use crate::wire::{Command, Lacking, Object, ObjectId, Objects, pack_in_parts};

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
    /// The source could not be read as far as these objects need it.
    Unreadable(String),
    /// Nothing can be copied now, whichever objects it is about.
    Failed(String),
}

/// A pack that git leaves where it is as long as this lives: what no ref leads to yet, `git repack -ad` drops at once.
#[derive(Debug)]
pub struct Kept(Option<PathBuf>);

impl Kept {
    /// Lets go of it, away from what must not wait for a disk.
    pub async fn release(self) {
        // The end of the process does not matter to what is left of it.
        let _ended = tokio::task::spawn_blocking(move || drop(self)).await;
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if let Some(path) = &self.0
            && let Err(fault) = std::fs::remove_file(path)
        {
            tracing::warn!(path = %path.display(), %fault, "A pack cannot be released for `git gc`.");
        }
    }
}

impl Destination {
    /// The repository at this path.
    pub fn new(path: &Path) -> Self {
        Self { repository: LocalSource::new(path) }
    }

    /// Whether there is anything at the path at all.
    pub async fn exists(&self) -> bool {
        tokio::fs::try_exists(self.repository.path()).await.unwrap_or(false)
    }

    /// Which repository it is (see [`Repository::fingerprint`]), and whether its files can be written.
    pub async fn identity(&self) -> Result<(String, bool), SourceFault> {
        self.repository.ask(|repository| Ok((repository.fingerprint(), is_writable(repository)))).await
    }

    /// What every tag's ref holds, or why that cannot be told.
    pub async fn read_tags(&self) -> Result<Vec<(TagName, Result<ObjectId, String>)>, SourceFault> {
        let read = self.repository.ask(|repository| {
            let symbolic: BTreeMap<_, _> = symbolic_tags(repository)?.into_iter().collect();
            let tags = repository.read_tags(Messages::Skip)?;
            let held = |(name, tag): (&TagName, Result<&SourceTag, &str>)| {
                let held = match symbolic.get(name) {
                    Some(other) => Err(stands_for(other)),
                    None => tag.map_err(str::to_owned).and_then(held),
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
            Ok(repository.read_tag(&name)?.map(|tag| held(&tag)))
        });
        read.await
    }

    /// Whether it has an object.
    pub async fn has(&self, id: ObjectId) -> Result<bool, SourceFault> {
        self.repository.ask(move |repository| Ok(repository.has(id))).await
    }

    /// Copies everything that these objects lead to and the repository lacks. What is given back keeps git from tidying it away
    /// until refs lead there.
    pub async fn take_objects(&self, from: &Arc<dyn Objects>, wanted: &[ObjectId]) -> Result<Kept, CopyFault> {
        let format = from.format().await.map_err(CopyFault::Failed)?;
        let tips = self.repository.ask(move |repository| {
            if repository.hash != format {
                return Err(repository.fault(OTHER_FORMAT, ""));
            }
            all_tips(repository).map_err(|why| repository.fault(why, ""))
        });
        let tips = tips.await.map_err(|fault| CopyFault::Failed(fault.message))?;
        let Lacking { objects, is_whole } =
            from.list_lacking(wanted.to_vec(), tips).await.map_err(CopyFault::Unreadable)?;
        if !is_whole {
            return Err(CopyFault::Unreadable(
                "the source is a shallow clone and has not all of its history".to_owned(),
            ));
        }
        let copied = if objects.len() > LOOSE {
            self.write_pack(from, objects, format).await
        } else {
            self.write_loose(from, &objects).await.map(|()| Kept(None))
        };
        let kept = copied.map_err(CopyFault::Failed)?;
        let wanted = wanted.to_vec();
        let absent = self.repository.ask(move |repository| {
            // What cannot be followed to its end is not there in full, either.
            let is_there = |id| repository.has(id) && repository.end_of(id).is_ok_and(|end| repository.has(end));
            sync(repository)?;
            Ok(wanted.into_iter().find(|id| !is_there(*id)))
        });
        match absent.await.map_err(|fault: SourceFault| CopyFault::Failed(fault.message))? {
            None => Ok(kept),
            Some(id) => Err(CopyFault::Absent(id)),
        }
    }

    async fn write_loose(&self, from: &Arc<dyn Objects>, mut list: &[Object]) -> Result<(), String> {
        while !list.is_empty() {
            let contents = from.read_objects(list, PART).await?;
            let (now, rest) = list.split_at(contents.len().min(list.len()));
            let now = now.to_vec();
            let write = self.repository.ask(move |repository| {
                let local = repository.inner.to_thread_local();
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
    ) -> Result<Kept, String> {
        let parts = pack_in_parts(from, list, format);
        // The bridge waits for the parts from a thread that may block.
        let bridge = SyncIoBridge::new(StreamReader::new(parts().into_stream()));
        let write = self.repository.ask(move |repository| {
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
            let kept = Kept(written.keep_path);
            // As git has them: whoever may read the repository reads its packs.
            for path in [written.data_path, written.index_path].into_iter().flatten() {
                let mode = std::fs::Permissions::from_mode(0o444);
                std::fs::set_permissions(path, mode).map_err(|fault| repository.fault(fault.to_string(), ""))?;
            }
            Ok(kept)
        });
        write.await.map_err(|fault| fault.message)
    }

    /// Writes refs; the answers come in the order of the commands, and each ref is as if it were alone.
    pub async fn write_refs(&self, commands: &[Command]) -> Vec<Result<(), RefFault>> {
        let count = commands.len();
        let commands = commands.to_vec();
        let write = self.repository.ask(move |repository| {
            let written = write_refs(repository, &commands);
            if let Err(fault) = sync(repository) {
                let in_doubt =
                    |outcome: Result<(), RefFault>| outcome.and(Err(RefFault::InDoubt(fault.message.clone())));
                return Ok(written.into_iter().map(in_doubt).collect());
            }
            Ok(written)
        });
        write.await.unwrap_or_else(|fault| vec![Err(RefFault::InDoubt(fault.message)); count])
    }
}

const PART: usize = 1024 * 1024;

const OTHER_FORMAT: &str =
    "it makes its object ids in another way than the source, so they can have no object in common";

/// The object that the ref itself holds.
fn held(tag: &SourceTag) -> Result<ObjectId, String> {
    match tag {
        SourceTag::Git(GitTag { tag_id: Some(tag_id), .. }) => Ok((*tag_id).into()),
        SourceTag::Git(GitTag { peeled: Peeled::Commit(id), .. }) => Ok((*id).into()),
        SourceTag::Git(GitTag { peeled: Peeled::Tree(id) | Peeled::Blob(id), .. }) => Ok((*id).into()),
        SourceTag::Told(_) => Err("it is no tag of a repository".to_owned()),
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

/// What the repository's refs hold, as far as it is there; whatever that leads to is there, too. Of a shallow clone nothing of
/// the kind is known.
fn all_tips(repository: &Repository) -> Result<Vec<ObjectId>, String> {
    let local = repository.inner.to_thread_local();
    if local.is_shallow().map_err(|fault| reason(&fault))? {
        return Ok(Vec::new());
    }
    let references = local.references().map_err(|fault| reason(&fault))?;
    let all = references.all().map_err(|fault| reason(&fault))?;
    let ids = all.filter_map(|reference| reference.ok()?.try_id().map(gix::Id::detach));
    Ok(ids.filter(|id| repository.has(*id)).collect())
}

/// Waits until all that was written to the repository's file system is on its disk: the ledger takes it for done.
fn sync(repository: &Repository) -> Result<(), SourceFault> {
    let synced = std::fs::File::open(repository.common_dir()).and_then(|folder| Ok(rustix::fs::syncfs(folder)?));
    synced.map_err(|fault| repository.fault(format!("what was written may not be on disk: {fault}"), ""))
}

/// One transaction for all, because each costs the same however many refs are in it; where it is refused, its halves.
fn write_refs(repository: &Repository, commands: &[Command]) -> Vec<Result<(), RefFault>> {
    if commands.is_empty() {
        return Vec::new();
    }
    match transact(repository, commands) {
        Err(RefFault::Refused(_)) if commands.len() > 1 => {
            let (one, other) = commands.split_at(commands.len() / 2);
            let mut outcomes = write_refs(repository, one);
            outcomes.extend(write_refs(repository, other));
            outcomes
        }
        outcome => vec![outcome; commands.len()],
    }
}

/// How often a transaction is begun anew because somebody packed refs meanwhile.
const TRIES: usize = 10;

/// Carries out all commands, or none.
///
/// The library reads packed-refs before it takes the lock of it (2026-11-21, gix-ref 0.69), so what git packs in between would
/// be taken for absent, and written back without it. Therefore nothing is committed unless packed-refs is, with all locks
/// held, what it was before.
fn transact(repository: &Repository, commands: &[Command]) -> Result<(), RefFault> {
    let refused = |why: String| RefFault::Refused(why);
    let stamp = || Stamp::read(repository.common_dir()).map_err(|fault| refused(format!("packed-refs: {fault}")));
    let mut edits = Vec::with_capacity(commands.len());
    for command in commands {
        edits.push(edit(command).map_err(refused)?);
    }
    for _ in 0..TRIES {
        let before = stamp()?;
        let taken = names(repository).map_err(refused)?;
        for command in commands.iter().filter(|command| command.old.is_none()) {
            check_way(&taken, &command.name).map_err(refused)?;
        }
        // Opened anew, so that nothing of an earlier state is remembered.
        let local = super::open::open(&repository.path).map_err(|fault| refused(fault.message))?;
        let mut local = local.to_thread_local();
        // Who did it would have to have a name for a log.
        local.refs.write_reflog = WriteReflog::Disable;
        let [of_ref, of_packed] = [LOCKED, PACKED_LOCKED].map(Fail::AfterDurationWithBackoff);
        let prepared = local.refs.transaction().prepare(edits.clone(), of_ref, of_packed);
        let prepared = prepared.map_err(|fault| refused(reason(&fault)))?;
        if stamp()? == before {
            return prepared.commit(None).map(drop).map_err(|fault| RefFault::InDoubt(reason(&fault)));
        }
    }
    Err(refused("its packed-refs changes too fast".to_owned()))
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
