//! The tag objects in a pack that somebody sent, in memory and within bounds.
//!
//! The form is git's (2026-11-21, <https://git-scm.com/docs/gitformat-pack>). Whatever is in the pack besides tag objects is
//! passed over. An object counts under the id that its own bytes make, so a pack can lack what was wanted and never put
//! something else in its place.

use std::collections::HashMap;

use flate2::{Decompress, FlushDecompress, Status};
use gix::ObjectId;
use gix::hash::{Kind, hasher};
use gix::objs::Kind as ObjectKind;

use super::WireFault;

/// The most that all objects of a pack may be together, unpacked.
const MOST_BYTES: usize = 16 * 1024 * 1024;

/// The tag objects of a pack by their ids, which are made like this. A pack with more than `most` objects is none of ours.
pub(super) fn tag_objects(pack: &[u8], format: Kind, most: usize) -> Result<HashMap<ObjectId, Vec<u8>>, WireFault> {
    let mut reader = Reader::new(pack, format, most)?;
    let mut unpacked = Unpacked { format, bytes: 0, by_offset: HashMap::new(), by_id: HashMap::new() };
    let mut deltas = Vec::new();
    for _ in 0..reader.count {
        let entry = reader.entry(MOST_BYTES - unpacked.bytes)?;
        unpacked.bytes += entry.data.len();
        match entry.form {
            Form::Whole(kind) => unpacked.add(entry.offset, kind, entry.data)?,
            Form::OnOffset(_) | Form::OnId(_) => deltas.push(entry),
        }
    }
    if reader.at != reader.end {
        return Err(WireFault::malformed("has a pack with more in it than it says"));
    }
    // What a delta is made from may be a delta itself, and stand behind it.
    while !deltas.is_empty() {
        let before = deltas.len();
        let mut open = Vec::with_capacity(before);
        for entry in deltas {
            let id = match entry.form {
                Form::OnOffset(offset) => unpacked.by_offset.get(&offset).copied(),
                Form::OnId(id) => Some(id),
                Form::Whole(_) => None,
            };
            let Some((kind, base)) = id.and_then(|id| unpacked.by_id.get(&id)) else {
                open.push(entry);
                continue;
            };
            let kind = *kind;
            let data = apply(base, &entry.data, MOST_BYTES - unpacked.bytes)?;
            unpacked.bytes += data.len();
            unpacked.add(entry.offset, kind, data)?;
        }
        if open.len() == before {
            return Err(WireFault::malformed("has a pack with a delta of something that is not in it"));
        }
        deltas = open;
    }
    let tags = unpacked.by_id.into_iter().filter(|(_, (kind, _))| *kind == ObjectKind::Tag);
    Ok(tags.map(|(id, (_, data))| (id, data)).collect())
}

/// What is whole by now.
struct Unpacked {
    format: Kind,
    /// How many bytes came out of the pack so far.
    bytes: usize,
    by_offset: HashMap<usize, ObjectId>,
    by_id: HashMap<ObjectId, (ObjectKind, Vec<u8>)>,
}

impl Unpacked {
    fn add(&mut self, offset: usize, kind: ObjectKind, data: Vec<u8>) -> Result<(), WireFault> {
        let id = gix::objs::compute_hash(self.format, kind, &data)
            .map_err(|_| WireFault::malformed("has an object that looks made to collide with another"))?;
        self.by_offset.insert(offset, id);
        self.by_id.insert(id, (kind, data));
        Ok(())
    }
}

/// How an object stands in a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Whole(ObjectKind),
    /// As changes to the one that begins there.
    OnOffset(usize),
    /// As changes to this one.
    OnId(ObjectId),
}

struct Entry {
    /// Where it begins.
    offset: usize,
    form: Form,
    /// The object, or the changes.
    data: Vec<u8>,
}

struct Reader<'a> {
    pack: &'a [u8],
    format: Kind,
    at: usize,
    /// Where the checksum begins.
    end: usize,
    count: usize,
}

impl<'a> Reader<'a> {
    /// Looks at the head and at the checksum.
    fn new(pack: &'a [u8], format: Kind, most: usize) -> Result<Self, WireFault> {
        let no_pack = || WireFault::malformed("holds what is no pack");
        let end = pack.len().checked_sub(format.len_in_bytes()).ok_or_else(no_pack)?;
        let (content, checksum) = pack.split_at(end);
        let head = content.first_chunk::<12>().ok_or_else(no_pack)?;
        let [b'P', b'A', b'C', b'K', 0, 0, 0, 2 | 3, count @ ..] = head else { return Err(no_pack()) };
        let count = usize::try_from(u32::from_be_bytes(*count)).unwrap_or(usize::MAX);
        if count > most {
            return Err(WireFault::malformed(format!("has a pack of {count} objects, far more than were asked for")));
        }
        let mut sum = hasher(format);
        sum.update(content);
        if sum.try_finalize().map_err(|_| no_pack())?.as_bytes() != checksum {
            return Err(WireFault::malformed("has a pack whose checksum is wrong"));
        }
        Ok(Self { pack, format, at: head.len(), end, count })
    }

    fn byte(&mut self) -> Result<u8, WireFault> {
        let byte = self.pack[..self.end].get(self.at).copied().ok_or_else(cut)?;
        self.at += 1;
        Ok(byte)
    }

    /// The next object, of which at most so many bytes may come.
    fn entry(&mut self, limit: usize) -> Result<Entry, WireFault> {
        let offset = self.at;
        let first = self.byte()?;
        let mut size = usize::from(first & 0x0f);
        let (mut shift, mut more) = (4, first & 0x80 != 0);
        while more {
            let byte = self.byte()?;
            let part = usize::from(byte & 0x7f).checked_shl(shift).filter(|_| shift < 57);
            size |= part.ok_or_else(|| WireFault::malformed("has an object of an impossible size"))?;
            (shift, more) = (shift + 7, byte & 0x80 != 0);
        }
        let form = match first >> 4 & 7 {
            1 => Form::Whole(ObjectKind::Commit),
            2 => Form::Whole(ObjectKind::Tree),
            3 => Form::Whole(ObjectKind::Blob),
            4 => Form::Whole(ObjectKind::Tag),
            6 => Form::OnOffset(self.base_before(offset)?),
            7 => Form::OnId(self.base_id()?),
            _ => return Err(WireFault::malformed("has an object of no known kind")),
        };
        if size > limit {
            return Err(WireFault::malformed("has a pack that is larger than any tags are"));
        }
        let data = self.inflate(size)?;
        Ok(Entry { offset, form, data })
    }

    /// How far back the base begins: groups of seven bits, each but the last with one added.
    fn base_before(&mut self, offset: usize) -> Result<usize, WireFault> {
        let wrong = || WireFault::malformed("has a delta that begins nowhere");
        let mut byte = self.byte()?;
        let mut back = usize::from(byte & 0x7f);
        while byte & 0x80 != 0 {
            byte = self.byte()?;
            back = back.checked_add(1).and_then(|back| back.checked_mul(128)).ok_or_else(wrong)?;
            back |= usize::from(byte & 0x7f);
        }
        offset.checked_sub(back).ok_or_else(wrong)
    }

    fn base_id(&mut self) -> Result<ObjectId, WireFault> {
        let to = self.at + self.format.len_in_bytes();
        let bytes = self.pack[..self.end].get(self.at..to).ok_or_else(cut)?;
        self.at = to;
        ObjectId::try_from(bytes).map_err(|_| cut())
    }

    /// What is packed next, which is exactly so long.
    fn inflate(&mut self, size: usize) -> Result<Vec<u8>, WireFault> {
        let wrong = || WireFault::malformed("has an object that cannot be unpacked");
        let mut inflate = Decompress::new(true);
        // One byte more, to see that there is none.
        let mut data = Vec::with_capacity(size + 1);
        loop {
            let rest = &self.pack[self.at..self.end];
            let (taken, given) = (inflate.total_in(), inflate.total_out());
            let status = inflate.decompress_vec(rest, &mut data, FlushDecompress::Finish).map_err(|_| wrong())?;
            let taken = inflate.total_in() - taken;
            self.at += usize::try_from(taken).map_err(|_| wrong())?;
            if status == Status::StreamEnd {
                break;
            }
            if data.len() > size || taken == 0 && inflate.total_out() == given {
                return Err(wrong());
            }
        }
        if data.len() == size { Ok(data) } else { Err(wrong()) }
    }
}

fn cut() -> WireFault {
    WireFault::malformed("has a pack that breaks off")
}

/// Makes an object from another one: a list of parts to copy, and of bytes to put between them.
fn apply(base: &[u8], delta: &[u8], limit: usize) -> Result<Vec<u8>, WireFault> {
    let wrong = || WireFault::malformed("has a delta that makes no sense");
    let mut delta = delta.iter().copied();
    let from = size(&mut delta).ok_or_else(wrong)?;
    let to = size(&mut delta).ok_or_else(wrong)?;
    if from != base.len() || to > limit {
        return Err(wrong());
    }
    let mut made = Vec::with_capacity(to);
    while let Some(command) = delta.next() {
        if command & 0x80 != 0 {
            let mut number = |bits: std::ops::Range<u8>| {
                let first = bits.start;
                bits.filter(|bit| command & 1 << bit != 0)
                    .try_fold(0_usize, |number, bit| Some(number | usize::from(delta.next()?) << (8 * (bit - first))))
            };
            let offset = number(0..4).ok_or_else(wrong)?;
            let length = match number(4..7).ok_or_else(wrong)? {
                0 => 0x1_0000,
                length => length,
            };
            let part = offset.checked_add(length).and_then(|end| base.get(offset..end)).ok_or_else(wrong)?;
            made.extend_from_slice(part);
        } else if command == 0 {
            return Err(wrong());
        } else {
            let before = made.len();
            made.extend(delta.by_ref().take(command.into()));
            if made.len() - before != usize::from(command) {
                return Err(wrong());
            }
        }
        if made.len() > to {
            return Err(wrong());
        }
    }
    if made.len() == to { Ok(made) } else { Err(wrong()) }
}

/// A number in groups of seven bits, the lowest first.
fn size(bytes: &mut impl Iterator<Item = u8>) -> Option<usize> {
    let mut number = 0;
    for shift in (0..57).step_by(7) {
        let byte = bytes.next()?;
        number |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::ZlibEncoder;
    use proptest::prelude::*;

    use super::*;

    fn tag_objects(pack: &[u8], format: Kind) -> Result<HashMap<ObjectId, Vec<u8>>, WireFault> {
        super::tag_objects(pack, format, 10_000)
    }
    use crate::wire::pack;

    /// A pack of these entries as they stand: head and content.
    fn pack_of(entries: &[(Vec<u8>, &[u8])], format: Kind) -> Vec<u8> {
        let mut pack = b"PACK\0\0\0\x02".to_vec();
        pack.extend(u32::try_from(entries.len()).unwrap().to_be_bytes());
        for (head, content) in entries {
            pack.extend(head);
            let mut deflate = ZlibEncoder::new(&mut pack, Compression::fast());
            deflate.write_all(content).unwrap();
            deflate.finish().unwrap();
        }
        let mut sum = hasher(format);
        sum.update(&pack);
        pack.extend(sum.try_finalize().unwrap().as_bytes());
        pack
    }

    fn head(kind: u8, size: usize) -> Vec<u8> {
        assert!(size < 2048, "two bytes are enough");
        vec![0x80 | kind << 4 | u8::try_from(size & 15).unwrap(), u8::try_from(size >> 4).unwrap()]
    }

    fn id(bytes: &[u8], format: Kind) -> ObjectId {
        gix::objs::compute_hash(format, ObjectKind::Tag, bytes).unwrap()
    }

    #[test]
    fn what_a_push_would_carry_is_read() {
        for format in [Kind::Sha1, Kind::Sha256] {
            let objects: Vec<_> = ["one", "two", &"long".repeat(9000)]
                .map(|text| (id(text.as_bytes(), format), text.as_bytes().to_vec()))
                .into();
            let read = tag_objects(&pack::of_tags(&objects, format).unwrap(), format).unwrap();
            assert_eq!(read, objects.into_iter().collect());
            assert!(tag_objects(&pack::of_tags(&[], format).unwrap(), format).unwrap().is_empty());
        }
    }

    #[test]
    fn deltas_are_made_from_what_stands_before_or_behind_them() {
        let base = b"the object that others are made from";
        // Copies "the object ", puts "is new" behind it.
        let delta = [&[36, 17, 0x90, 11, 6][..], b"is new"].concat();
        let made = b"the object is new";
        for format in [Kind::Sha1, Kind::Sha256] {
            let on_id = |id: ObjectId| [head(7, delta.len()), id.as_bytes().to_vec()].concat();
            let entries = [(on_id(id(base, format)), &delta[..]), (head(4, base.len()), base)];
            let read = tag_objects(&pack_of(&entries, format), format).unwrap();
            assert_eq!(read, HashMap::from([(id(base, format), base.to_vec()), (id(made, format), made.to_vec())]));
            let missing = pack_of(&entries[..1], format);
            assert!(tag_objects(&missing, format).is_err());
            // The same by its distance, which is that of the whole entry before.
            let before = pack_of(&[(head(4, base.len()), base)], format).len() - 12 - format.len_in_bytes();
            let near = [head(6, delta.len()), vec![u8::try_from(before).unwrap()]].concat();
            let read = tag_objects(&pack_of(&[(head(4, base.len()), base), (near, &delta)], format), format).unwrap();
            assert!(read.contains_key(&id(made, format)), "{format:?}");
        }
    }

    #[test]
    fn history_is_passed_over() {
        let entries = [(head(1, 6), &b"commit"[..]), (head(2, 4), b"tree"), (head(4, 3), b"tag")];
        let read = tag_objects(&pack_of(&entries, Kind::Sha1), Kind::Sha1).unwrap();
        assert_eq!(read.into_keys().collect::<Vec<_>>(), [id(b"tag", Kind::Sha1)]);
    }

    #[test]
    fn bounds_hold() {
        let good = pack_of(&[(head(4, 3), b"tag")], Kind::Sha1);
        assert!(tag_objects(&good, Kind::Sha1).is_ok());
        for at in 0..good.len() {
            assert!(tag_objects(&good[..at], Kind::Sha1).is_err(), "cut at {at}");
            let mut flipped = good.clone();
            flipped[at] ^= 1;
            assert!(tag_objects(&flipped, Kind::Sha1).is_err(), "flipped at {at}");
        }
        // Longer and shorter than it says; enormous.
        assert!(tag_objects(&pack_of(&[(head(4, 2), b"tag")], Kind::Sha1), Kind::Sha1).is_err());
        assert!(tag_objects(&pack_of(&[(head(4, 4), b"tag")], Kind::Sha1), Kind::Sha1).is_err());
        let enormous = vec![0xc0, 0xff, 0xff, 0xff, 0xff, 0x7f];
        assert!(tag_objects(&pack_of(&[(enormous, b"tag")], Kind::Sha1), Kind::Sha1).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn hostile_entries_do_no_harm(
            heads in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 1..24), proptest::collection::vec(any::<u8>(), 0..40)), 0..4),
        ) {
            let entries: Vec<_> = heads.iter().map(|(head, content)| (head.clone(), &content[..])).collect();
            let _any = tag_objects(&pack_of(&entries, Kind::Sha1), Kind::Sha1);
        }

        #[test]
        fn hostile_deltas_do_no_harm(base in proptest::collection::vec(any::<u8>(), 0..40), delta in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _any = apply(&base, &delta, 1000);
        }
    }
}
