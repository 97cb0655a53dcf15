//! A pack as a push carries it: whole objects, no deltas.

use std::io::{self, Write};
use std::sync::Arc;

use bytes::Bytes;
use flate2::{Compress, Compression, FlushCompress, Status};
use futures_util::StreamExt as _;
use futures_util::stream::try_unfold;
use gix::ObjectId;
use gix::hash::{Hasher, Kind, hasher};
use tokio::task::spawn_blocking;

use super::{Object, Objects};
use crate::http::Parts;

/// How many bytes of objects are in memory at a time when a pack is made while it is sent.
const PART: usize = 1024 * 1024;

/// Writes a pack of a number of objects that is known before.
pub(super) struct PackWriter<W> {
    to: W,
    hasher: Hasher,
    deflate: Compress,
    left: u32,
}

/// What `receive-pack` calls the kinds of objects.
fn code(kind: gix::objs::Kind) -> u8 {
    match kind {
        gix::objs::Kind::Commit => 1,
        gix::objs::Kind::Tree => 2,
        gix::objs::Kind::Blob => 3,
        gix::objs::Kind::Tag => 4,
    }
}

impl<W: Write> PackWriter<W> {
    /// Begins a pack of so many objects whose ids are made like this.
    pub(super) fn begin(to: W, count: u32, format: Kind) -> io::Result<Self> {
        // Tag objects are small and every server unpacks them: time counts more than bytes.
        let mut pack =
            Self { to, hasher: hasher(format), deflate: Compress::new(Compression::fast(), true), left: count };
        pack.put(b"PACK\0\0\0\x02")?;
        pack.put(&count.to_be_bytes())?;
        Ok(pack)
    }

    /// Adds an object.
    pub(super) fn add(&mut self, kind: gix::objs::Kind, content: &[u8]) -> io::Result<()> {
        let Some(left) = self.left.checked_sub(1) else {
            return Err(io::Error::other("more objects than were announced"));
        };
        self.left = left;
        let mut size = content.len();
        let mut byte = code(kind) << 4 | u8::try_from(size & 0x0f).unwrap_or_default();
        size >>= 4;
        while size > 0 {
            self.put(&[byte | 0x80])?;
            byte = u8::try_from(size & 0x7f).unwrap_or_default();
            size >>= 7;
        }
        self.put(&[byte])?;
        self.deflate(content)
    }

    /// Ends the pack with its checksum.
    pub(super) fn finish(mut self) -> io::Result<W> {
        if self.left != 0 {
            return Err(io::Error::other("fewer objects than were announced"));
        }
        let checksum = self.hasher.try_finalize().map_err(io::Error::other)?;
        self.to.write_all(checksum.as_bytes())?;
        Ok(self.to)
    }

    fn deflate(&mut self, mut content: &[u8]) -> io::Result<()> {
        self.deflate.reset();
        let mut out = Vec::with_capacity(content.len() / 2 + 128);
        loop {
            let before = self.deflate.total_in();
            let status =
                self.deflate.compress_vec(content, &mut out, FlushCompress::Finish).map_err(io::Error::other)?;
            let taken = usize::try_from(self.deflate.total_in() - before).unwrap_or(content.len());
            content = content.get(taken..).unwrap_or_default();
            self.put(&out)?;
            if status == Status::StreamEnd {
                return Ok(());
            }
            out.clear();
            out.reserve(32 * 1024);
        }
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.update(bytes);
        self.to.write_all(bytes)
    }
}

/// A pack of tag objects in memory; an empty one is what goes with refs to objects that are there.
pub(super) fn of_tags(objects: &[(ObjectId, Vec<u8>)], format: Kind) -> io::Result<Vec<u8>> {
    let count = u32::try_from(objects.len()).map_err(io::Error::other)?;
    let mut pack = PackWriter::begin(Vec::new(), count, format)?;
    for (_, content) in objects {
        pack.add(gix::objs::Kind::Tag, content)?;
    }
    pack.finish()
}

/// A pack of these objects, which are read as it is made.
pub fn pack_in_parts(source: &Arc<dyn Objects>, list: Vec<Object>, format: Kind) -> Parts {
    in_parts(Bytes::new(), Arc::clone(source), list.into(), format)
}

/// Packs these contents of the first of the objects; gives what that comes to, and how many are packed now.
fn add(
    mut pack: PackWriter<Vec<u8>>,
    objects: &[Object],
    contents: Vec<Vec<u8>>,
    sent: usize,
) -> io::Result<(Bytes, PackWriter<Vec<u8>>, usize)> {
    let sent = sent + contents.len();
    for (object, content) in objects.iter().zip(contents) {
        pack.add(object.kind, &content)?;
    }
    Ok((std::mem::take(&mut pack.to).into(), pack, sent))
}

/// A request that begins with `head` and goes on with a pack of these objects, which are read as they are sent.
pub(super) fn in_parts(head: Bytes, source: Arc<dyn Objects>, list: Arc<[Object]>, format: Kind) -> Parts {
    /// What is still to be sent.
    enum Rest {
        Head,
        Objects(PackWriter<Vec<u8>>, usize),
        Nothing,
    }
    Arc::new(move || {
        let (head, source, list) = (head.clone(), Arc::clone(&source), Arc::clone(&list));
        let part = move |rest| {
            let (head, source, list) = (head.clone(), Arc::clone(&source), Arc::clone(&list));
            async move {
                Ok(match rest {
                    Rest::Head => {
                        let count = u32::try_from(list.len()).map_err(io::Error::other)?;
                        Some((head, Rest::Objects(PackWriter::begin(Vec::new(), count, format)?, 0)))
                    }
                    Rest::Objects(pack, sent) if sent == list.len() => Some((pack.finish()?.into(), Rest::Nothing)),
                    Rest::Objects(pack, sent) => {
                        let contents = source.read_objects(&list[sent..], PART).await.map_err(io::Error::other)?;
                        // A large object takes seconds, in which everything else has to go on.
                        let packed = spawn_blocking(move || add(pack, &list[sent..], contents, sent));
                        let (part, pack, sent) = packed.await.map_err(io::Error::other)??;
                        Some((part, Rest::Objects(pack, sent)))
                    }
                    Rest::Nothing => None,
                })
            }
        };
        try_unfold(Rest::Head, part).boxed()
    })
}
