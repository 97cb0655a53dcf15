//! Refs that have a file of their own.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use gix::hash::Kind;

use super::fault::shown;
use super::reference::Held;
use crate::tag::TagName;

/// A tag's name with what its file holds, or with the reason why that could not be read.
pub(super) type LooseTag = (TagName, Result<Held, String>);

/// More than any ref file that can be valid: paths end at 4,096 bytes.
const LONGEST_FILE: u64 = 8192;

/// Reads all files below `refs/tags`; `Err` says what might hide names.
///
/// Our own walk, because the library's passes over what it cannot tell to be a ref, gives errors without names, and
/// reads loose refs *after* packed ones, which loses a ref that is packed in between (2 of 3,917 listings, measured
/// 2026-11-21). Like git, the caller reads packed-refs after this.
pub(super) fn read_tags(common_dir: &Path, hash: Kind) -> Result<Vec<LooseTag>, String> {
    let mut tags = Vec::new();
    let mut directories = vec![(common_dir.join("refs/tags"), Vec::new())];
    while let Some((directory, prefix)) = directories.pop() {
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            // git removes directories that became empty, `refs/tags` itself included.
            Err(fault) if fault.kind() == ErrorKind::NotFound => continue,
            Err(fault) => return Err(format!("cannot list {}: {fault}", shown(&directory))),
        };
        for entry in entries {
            let entry = entry.map_err(|fault| format!("cannot list {}: {fault}", shown(&directory)))?;
            let file_name = entry.file_name();
            let file_name = file_name.as_bytes();
            // git's rule: these are no refs, but leftovers of writers and of other programs.
            if file_name.starts_with(b".") || file_name.ends_with(b".lock") {
                continue;
            }
            let name = [prefix.as_slice(), file_name].concat();
            let path = entry.path();
            let held = match kind_of(&entry)? {
                Entry::Directory => {
                    directories.push((path, [&name, b"/".as_slice()].concat()));
                    continue;
                }
                Entry::File => match read_file(&path) {
                    Ok(content) => Held::of_file(&content, hash),
                    // Packed or deleted since the directory was read.
                    Err(fault) if fault.kind() == ErrorKind::NotFound => continue,
                    Err(fault) => Err(format!("its file cannot be read: {fault}")),
                },
                Entry::Symlink(name) => Held::symbolic(&name),
                Entry::Other => Err("its file is no regular file".into()),
            };
            let name = TagName::new(name).map_err(|fault| format!("in {}: {fault}", shown(&directory)))?;
            tags.push((name, held));
        }
    }
    Ok(tags)
}

/// What one ref's own file holds; `None` when it has none.
pub(super) fn try_find(directory: &Path, name: &[u8], hash: Kind) -> Result<Option<Held>, String> {
    let path = directory.join(OsStr::from_bytes(name));
    if let Ok(target) = fs::read_link(&path)
        && is_ref(&target)
    {
        return Held::symbolic(target.as_os_str().as_bytes()).map(Some);
    }
    match fs::metadata(&path) {
        // A directory may hold refs below this name, so there is no ref of this name itself.
        Ok(metadata) if metadata.is_dir() => return Ok(None),
        Ok(metadata) if !metadata.is_file() => return Err("its file is no regular file".into()),
        Ok(_) => {}
        Err(fault) if is_absent(&fault) && !path.is_symlink() => return Ok(None),
        Err(fault) => return Err(format!("its file cannot be read: {fault}")),
    }
    match read_file(&path) {
        Ok(content) => Held::of_file(&content, hash).map(Some),
        Err(fault) if is_absent(&fault) => Ok(None),
        Err(fault) => Err(format!("its file cannot be read: {fault}")),
    }
}

/// The name does not exist, or could not: a part of it is a file.
fn is_absent(fault: &io::Error) -> bool {
    matches!(fault.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::with_capacity(128);
    File::open(path)?.take(LONGEST_FILE).read_to_end(&mut content)?;
    Ok(content)
}

enum Entry {
    Directory,
    File,
    /// The old form of a symbolic ref: a link whose text is a ref's name.
    Symlink(Vec<u8>),
    Other,
}

fn kind_of(entry: &fs::DirEntry) -> Result<Entry, String> {
    let path = entry.path();
    let unreadable = |fault: io::Error| format!("cannot read {}: {fault}", shown(&path));
    let kind = entry.file_type().map_err(unreadable)?;
    if kind.is_dir() {
        return Ok(Entry::Directory);
    }
    if kind.is_file() {
        return Ok(Entry::File);
    }
    if !kind.is_symlink() {
        return Ok(Entry::Other);
    }
    let target: PathBuf = fs::read_link(&path).map_err(unreadable)?;
    if is_ref(&target) {
        return Ok(Entry::Symlink(target.into_os_string().into_encoded_bytes()));
    }
    // What a broken link or one to a directory hides may be many names, so no tag can stand for it.
    match fs::metadata(&path).map_err(unreadable)? {
        file if file.is_file() => Ok(Entry::File),
        _ => Err(format!("{} is a symbolic link to something else than a file", shown(&path))),
    }
}

fn is_ref(target: &Path) -> bool {
    target.as_os_str().as_bytes().starts_with(b"refs/")
}
