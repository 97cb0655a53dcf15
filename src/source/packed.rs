//! Refs in the file `packed-refs`.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use gix::ObjectId;
use gix::bstr::ByteSlice as _;
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
    /// line of an annotated tag `^ID` with what it peels to. Ours, because the library's reader takes three times as long.
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
            let Some(end) = rest.find_byte(b'\n') else {
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

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# pack-refs with: peeled fully-peeled sorted \n\
        1111111111111111111111111111111111111111 refs/heads/main\n\
        2222222222222222222222222222222222222222 refs/tags/v1\n\
        ^3333333333333333333333333333333333333333\n\
        4444444444444444444444444444444444444444 refs/tags/v2\n";

    fn names(content: &str) -> Result<Vec<String>, String> {
        let bytes = Some(content.as_bytes().to_vec());
        let refs = PackedRefs::parse(&bytes, Kind::Sha1)?;
        Ok(refs.tags().map(|(name, _)| String::from_utf8_lossy(name).into_owned()).collect())
    }

    #[test]
    fn a_file_cut_anywhere_but_between_lines_is_corrupt() {
        assert_eq!(names(FILE), Ok(vec!["v1".into(), "v2".into()]));
        for at in 0..FILE.len() {
            let between_lines = FILE[..at].ends_with('\n');
            assert_eq!(names(&FILE[..at]).is_ok(), between_lines, "cut at {at}");
        }
    }

    #[test]
    fn lines_that_git_would_not_write_are_corrupt() {
        for broken in [
            "\0\0\0\0",
            "\n",
            "^3333333333333333333333333333333333333333\n",
            "# pack-refs with:\n# twice\n",
            "0000000000000000000000000000000000000000 refs/tags/v1\n",
            "111111111111111111111111111111111111111x refs/tags/v1\n",
            "1111111111111111111111111111111111111111refs/tags/v1\n",
            "1111111111111111111111111111111111111111 \n",
        ] {
            assert!(names(broken).is_err(), "{broken:?}");
        }
        assert!(names(&FILE.replace("v2", "v1")).is_err(), "a name twice");
        assert!(names(&FILE.replace("4444 refs", "4444 refs\nrefs")).is_err(), "a broken line");
    }

    #[test]
    fn an_unsorted_file_without_a_header_is_read() {
        let unsorted = "2222222222222222222222222222222222222222 refs/tags/v2\n\
            1111111111111111111111111111111111111111 refs/tags/v1\n";
        assert_eq!(names(unsorted), Ok(vec!["v1".into(), "v2".into()]));
        let bytes = Some(unsorted.as_bytes().to_vec());
        let refs = PackedRefs::parse(&bytes, Kind::Sha1).unwrap();
        assert!(refs.try_find(b"refs/tags/v1").is_some() && refs.try_find(b"refs/tags/v3").is_none());
    }
}
