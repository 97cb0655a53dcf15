//! Refs in the file `packed-refs`.

use std::fmt::Display;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use gix::hash::Kind;
use sha2::{Digest as _, Sha256};

use super::objects::Lead;
use super::reference::{End, parse_id};
use crate::tag::TagName;
use crate::text::Printable;

const FILE: &str = "packed-refs";

/// How much of the file is in memory at a time.
const BUFFER: usize = 64 * 1024;

const TAGS: &[u8] = b"refs/tags/";

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

/// Which refs are of interest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    Tags,
    /// Symbolic refs may lead to any other.
    AllRefs,
}

/// Why packed-refs could not be read.
#[derive(Debug)]
pub(super) enum Unreadable {
    /// The file as such.
    File(io::Error),
    /// What is in it: which line is broken, and how.
    Content(String),
}

/// A tag, and what it leads to or the reason why that is not known.
pub(super) type TagEnd = (TagName, Result<Lead, Box<str>>);

/// The refs of the file.
#[derive(Debug, Default)]
pub(super) struct PackedRefs {
    /// Sorted by name.
    tags: Vec<TagEnd>,
    /// By full names, sorted.
    others: Vec<(Box<[u8]>, End)>,
}

/// What stands for all bytes of the file.
pub(super) type FileDigest = [u8; 32];

/// The digest of the file; `None` where there is none.
pub(super) fn digest(common_dir: &Path) -> io::Result<Option<FileDigest>> {
    let Some((file, _)) = open(common_dir)? else { return Ok(None) };
    let mut file = Summed::of(file);
    let mut buffer = vec![0; BUFFER];
    while file.read(&mut buffer)? > 0 {}
    Ok(Some(file.sum()))
}

/// The file and its size, where there is one.
fn open(common_dir: &Path) -> io::Result<Option<(File, usize)>> {
    match File::open(common_dir.join(FILE)) {
        Ok(file) => {
            let size = file.metadata().map_or(0, |file| file.len());
            Ok(Some((file, usize::try_from(size).unwrap_or(0))))
        }
        Err(fault) if fault.kind() == ErrorKind::NotFound => Ok(None),
        Err(fault) => Err(fault),
    }
}

/// Sums up what is read through it.
struct Summed<R> {
    inner: R,
    sum: Sha256,
}

impl<R> Summed<R> {
    fn of(inner: R) -> Self {
        Self { inner, sum: Sha256::new() }
    }

    fn sum(self) -> FileDigest {
        self.sum.finalize().into()
    }
}

impl<R: Read> Read for Summed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.sum.update(&buffer[..read]);
        Ok(read)
    }
}

impl From<io::Error> for Unreadable {
    fn from(fault: io::Error) -> Self {
        Self::File(fault)
    }
}

impl PackedRefs {
    /// Reads the file, where there is one. Copied, not mapped: a file cut by somebody else would end the process.
    pub(super) fn read(common_dir: &Path, hash: Kind, scope: Scope) -> Result<Self, Unreadable> {
        let Some((file, size)) = open(common_dir)? else { return Ok(Self::default()) };
        Self::parse(BufReader::with_capacity(BUFFER, file), size, hash, scope)
    }

    /// The same, with the digest of the bytes that were read.
    pub(super) fn read_summed(
        common_dir: &Path,
        hash: Kind,
        scope: Scope,
    ) -> Result<(Self, Option<FileDigest>), Unreadable> {
        let Some((file, size)) = open(common_dir)? else { return Ok((Self::default(), None)) };
        let mut file = Summed::of(file);
        let refs = Self::parse(BufReader::with_capacity(BUFFER, &mut file), size, hash, scope)?;
        Ok((refs, Some(file.sum())))
    }

    /// Reads every line, or says which line is broken: half a file must not pass for a short one.
    ///
    /// The format is older than its description, so the rules are git's (2026-11-21,
    /// <https://git-scm.com/docs/git-pack-refs>): a header that may be missing, `ID NAME` lines, and after the
    /// line of an annotated tag `^ID` with what it peels to. Ours, because the library's reader takes three times as long.
    fn parse(mut file: impl BufRead, size: usize, hash: Kind, scope: Scope) -> Result<Self, Unreadable> {
        // Only a guess: what it claims too much is never touched, and what cannot be had now may not be needed.
        let mut tags: Vec<TagEnd> = Vec::new();
        tags.try_reserve(size / (hash.len_in_hex() + b" refs/tags/v1\n".len())).ok();
        let mut reading = Reading { hash, scope, refs: Self { tags, others: Vec::new() }, last: Last::None };
        let mut line = Vec::with_capacity(256);
        for number in 1.. {
            line.clear();
            file.read_until(b'\n', &mut line)?;
            let read = match line.strip_suffix(b"\n") {
                // git always writes the header, so nothing at all is what a power failure leaves behind.
                None if line.is_empty() && number == 1 => {
                    return Err(Unreadable::Content("packed-refs is an empty file, which git never writes".into()));
                }
                None if line.is_empty() => break,
                None => Err("it is cut off".into()),
                Some(header) if header.starts_with(b"#") && number == 1 => Ok(()),
                Some(line) => reading.line(line),
            };
            read.map_err(|what: String| {
                Unreadable::Content(format!("packed-refs is corrupt at line {number}: {what}"))
            })?;
        }
        reading.refs.sorted().map_err(Unreadable::Content)
    }

    /// Without `sorted` in the header git sorts as well; where the header lies, git looks refs up in vain.
    fn sorted(mut self) -> Result<Self, String> {
        let twice = |name: &dyn Display| Err(format!("packed-refs is corrupt: it names `{name}` twice"));
        self.tags.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        if let Some(pair) = self.tags.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return twice(&pair[0].0);
        }
        self.others.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        if let Some(pair) = self.others.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return twice(&Printable::new(&pair[0].0));
        }
        Ok(self)
    }

    /// All tags, sorted by name.
    pub(super) fn into_tags(self) -> Vec<TagEnd> {
        self.tags
    }

    /// What one ref holds, by its full name. Others than tags are only known in [`Scope::AllRefs`].
    pub(super) fn try_find(&self, name: &[u8]) -> Option<End> {
        match name.strip_prefix(TAGS) {
            Some(name) => {
                let at = self.tags.binary_search_by(|(tag, _)| tag.as_bytes().cmp(name)).ok()?;
                self.tags[at].1.as_ref().ok().map(|lead| lead.end)
            }
            None => {
                let at = self.others.binary_search_by(|(other, _)| (**other).cmp(name)).ok()?;
                Some(self.others[at].1)
            }
        }
    }
}

/// The refs of the lines so far.
struct Reading {
    hash: Kind,
    scope: Scope,
    refs: PackedRefs,
    last: Last,
}

/// What a line `^ID` would be about.
enum Last {
    None,
    Tag,
    Other,
    /// A ref that is not kept.
    Passed,
}

impl Reading {
    /// Takes a line without its end; an error says what is wrong with it.
    fn line(&mut self, line: &[u8]) -> Result<(), String> {
        if let Some(hex) = line.strip_prefix(b"^") {
            let peeled = parse_id(hex, self.hash).ok_or("no object id after `^`")?;
            let end = match std::mem::replace(&mut self.last, Last::None) {
                Last::None => return Err("no ref stands before `^`".into()),
                Last::Tag => self.refs.tags.last_mut().and_then(|(_, lead)| Some(&mut lead.as_mut().ok()?.end)),
                Last::Other => self.refs.others.last_mut().map(|(_, end)| end),
                Last::Passed => None,
            };
            if let Some(end) = end {
                end.peeled = Some(peeled);
            }
            return Ok(());
        }
        let (hex, name) = line.split_at_checked(self.hash.len_in_hex()).ok_or("it is too short")?;
        let id = parse_id(hex, self.hash).ok_or("no object id")?;
        let name = name.strip_prefix(b" ").filter(|name| !name.is_empty()).ok_or("no name")?;
        let end = End { id, peeled: None };
        self.last = match name.strip_prefix(TAGS) {
            Some(name) => {
                self.refs.tags.push((TagName::new(name).map_err(|fault| fault.to_string())?, Ok(end.into())));
                Last::Tag
            }
            None if self.scope == Scope::AllRefs => {
                self.refs.others.push((name.into(), end));
                Last::Other
            }
            None => Last::Passed,
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = "# pack-refs with: peeled fully-peeled sorted \n\
        1111111111111111111111111111111111111111 refs/heads/main\n\
        2222222222222222222222222222222222222222 refs/tags/v1\n\
        ^3333333333333333333333333333333333333333\n\
        4444444444444444444444444444444444444444 refs/tags/v2\n";

    fn parse(content: &str) -> Result<PackedRefs, Unreadable> {
        // A small buffer, so that lines do not end with it.
        PackedRefs::parse(BufReader::with_capacity(7, content.as_bytes()), 0, Kind::Sha1, Scope::AllRefs)
    }

    fn names(content: &str) -> Option<Vec<String>> {
        Some(parse(content).ok()?.into_tags().iter().map(|(name, _)| name.to_string()).collect())
    }

    #[test]
    fn a_file_cut_anywhere_but_between_lines_is_corrupt() {
        assert_eq!(names(SAMPLE), Some(vec!["v1".into(), "v2".into()]));
        for at in 0..SAMPLE.len() {
            let between_lines = SAMPLE[..at].ends_with('\n');
            assert_eq!(names(&SAMPLE[..at]).is_some(), between_lines, "cut at {at}");
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
            assert_eq!(names(broken), None, "{broken:?}");
        }
        assert_eq!(names(&SAMPLE.replace("v2", "v1")), None, "a name twice");
        assert_eq!(names(&SAMPLE.replace("4444 refs", "4444 refs\nrefs")), None, "a broken line");
    }

    #[test]
    fn an_unsorted_file_without_a_header_is_read() {
        let unsorted = "2222222222222222222222222222222222222222 refs/tags/v2\n\
            1111111111111111111111111111111111111111 refs/tags/v1\n";
        assert_eq!(names(unsorted), Some(vec!["v1".into(), "v2".into()]));
        let refs = parse(unsorted).unwrap();
        assert!(refs.try_find(b"refs/tags/v1").is_some() && refs.try_find(b"refs/tags/v3").is_none());
    }

    #[test]
    fn other_refs_are_found_where_they_are_wanted() {
        let peeled = SAMPLE.replace("refs/tags/v1", "refs/notes/v1");
        let refs = parse(&peeled).unwrap();
        assert!(refs.try_find(b"refs/heads/main").is_some_and(|end| end.peeled.is_none()));
        assert!(refs.try_find(b"refs/notes/v1").is_some_and(|end| end.peeled.is_some()));
        assert!(refs.try_find(b"refs/tags/v2").is_some_and(|end| end.peeled.is_none()));
        let tags = PackedRefs::parse(peeled.as_bytes(), 0, Kind::Sha1, Scope::Tags).unwrap();
        assert!(tags.try_find(b"refs/notes/v1").is_none() && tags.into_tags().len() == 1);
    }
}
