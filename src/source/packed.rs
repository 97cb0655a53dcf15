//! Refs in the file `packed-refs`.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use gix::ObjectId;
use gix::hash::Kind;

use super::reference::{Held, parse_id};

const FILE: &str = "packed-refs";

/// Tells one state of packed-refs from another without reading it: git replaces the file, it never changes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

impl Stamp {
    /// The stamp of the file as it is now; `None` when there is none.
    pub(super) fn read(common_dir: &Path) -> io::Result<Option<Self>> {
        match fs::metadata(common_dir.join(FILE)) {
            Ok(file) => {
                let changed = (file.mtime(), file.mtime_nsec());
                Ok(Some(Self { inode: file.ino(), size: file.size(), changed }))
            }
            Err(fault) if fault.kind() == ErrorKind::NotFound => Ok(None),
            Err(fault) => Err(fault),
        }
    }
}

/// The bytes of packed-refs. Copied, not mapped: a file cut by somebody else would end the process.
pub(super) fn read(common_dir: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(common_dir.join(FILE)) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(fault) if fault.kind() == ErrorKind::NotFound => Ok(None),
        Err(fault) => Err(fault),
    }
}

/// One line of the file, with the one after it.
struct PackedRef<'a> {
    name: &'a [u8],
    id: ObjectId,
    peeled: Option<ObjectId>,
}

impl PackedRef<'_> {
    fn held(&self) -> Held {
        Held::Object { id: self.id, peeled: self.peeled }
    }
}

/// All refs of the file, sorted by name.
pub(super) struct PackedRefs<'a>(Vec<PackedRef<'a>>);

impl<'a> PackedRefs<'a> {
    /// Reads every line, or says which line is broken: half a file must not pass for a short one.
    ///
    /// The format is older than its description, so the rules are git's (2026-11-21,
    /// <https://git-scm.com/docs/git-pack-refs>): a header that may be missing, `ID NAME` lines, and after the
    /// line of an annotated tag `^ID` with what it peels to. Ours, because the library's reader takes ten times as long.
    pub(super) fn parse(bytes: &'a Option<Vec<u8>>, hash: Kind) -> Result<Self, String> {
        let Some(bytes) = bytes else { return Ok(Self(Vec::new())) };
        let broken = |line: usize, what: &str| format!("packed-refs is corrupt at line {line}: {what}");
        let digits = hash.len_in_hex();
        // git always writes the header, so nothing at all is what a power failure leaves behind.
        if bytes.is_empty() {
            return Err("packed-refs is an empty file, which git never writes".into());
        }
        let mut refs: Vec<PackedRef<'a>> = Vec::with_capacity(bytes.len() / (digits + 20));
        let mut rest = bytes.as_slice();
        let mut line_number = 0;
        let mut may_peel = false;
        while !rest.is_empty() {
            line_number += 1;
            let Some(end) = rest.iter().skip(1).position(|&byte| byte == b'\n').map(|at| at + 1) else {
                return Err(broken(line_number, "it is cut off"));
            };
            let line = &rest[..end];
            rest = &rest[end + 1..];
            if line.starts_with(b"#") && line_number == 1 {
                continue;
            }
            if let Some(hex) = line.strip_prefix(b"^") {
                let peeled = parse_id(hex, hash).ok_or_else(|| broken(line_number, "no object id after `^`"))?;
                match refs.last_mut() {
                    Some(last) if may_peel => last.peeled = Some(peeled),
                    Some(_) | None => return Err(broken(line_number, "no ref stands before `^`")),
                }
                may_peel = false;
                continue;
            }
            let (hex, name) = line.split_at_checked(digits).ok_or_else(|| broken(line_number, "it is too short"))?;
            let id = parse_id(hex, hash).ok_or_else(|| broken(line_number, "no object id"))?;
            let name = match name.strip_prefix(b" ") {
                Some(name) if !name.is_empty() => name,
                Some(_) | None => return Err(broken(line_number, "no name")),
            };
            refs.push(PackedRef { name, id, peeled: None });
            may_peel = true;
        }
        // Without `sorted` in the header git sorts as well; where the header lies, git looks refs up in vain.
        if !refs.is_sorted_by_key(|packed| packed.name) {
            refs.sort_unstable_by_key(|packed| packed.name);
        }
        match refs.windows(2).find(|pair| pair[0].name == pair[1].name) {
            Some(pair) => {
                Err(format!("packed-refs is corrupt: it names `{}` twice", String::from_utf8_lossy(pair[0].name)))
            }
            None => Ok(Self(refs)),
        }
    }

    /// The tags, by their names without `refs/tags/`.
    pub(super) fn tags(&self) -> impl Iterator<Item = (&'a [u8], Held)> {
        self.0.iter().filter_map(|packed| Some((packed.name.strip_prefix(b"refs/tags/")?, packed.held())))
    }

    /// What one ref holds, by its full name.
    pub(super) fn try_find(&self, name: &[u8]) -> Option<Held> {
        let at = self.0.binary_search_by_key(&name, |packed| packed.name).ok()?;
        Some(self.0[at].held())
    }

    /// How many refs there are, tags or not.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
