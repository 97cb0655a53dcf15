//! From a path to a repository that can be trusted to be read in full.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::UNIX_EPOCH;

use gix::ThreadSafeRepository;
use gix::open::Options;

use super::objects::reason;
use super::{SourceFault, format};

/// What to do where the operating system refuses.
pub(super) const ACCESS: &str = "let the user that runs this read it: all directories up to it, and everything in it";

const NO_REPOSITORY: &str = "give the path of a bare repository, or of the directory that holds `.git`; if a file \
                             system should be mounted there, check that it is";
const CONFIGURATION: &str = "run `git config --local --list` in it, which names the line";

/// Opens the repository at exactly this path.
pub(super) fn open(path: &Path) -> Result<ThreadSafeRepository, SourceFault> {
    let repository = options().open(path).map_err(|fault| diagnose(path, &fault))?;
    format::check(path, repository.to_thread_local().config_snapshot().plumbing())?;
    check_directories(&repository).map_err(|what| SourceFault::new(path, what, NO_REPOSITORY))?;
    Ok(repository)
}

/// Only the repository's own configuration file counts: no system, no user, no environment, no included file.
fn options() -> Options {
    Options::isolated()
        // A service seldom owns what it reads; `safe.directory` would not be asked either (2026-11-21, gix 0.90). It is
        // safe because nothing that this configuration names is executed, and includes are off.
        .with(gix::sec::Trust::Full)
        .strict_config(true)
        // `git replace` shows other objects than there are; a tag means what its ref holds.
        .config_overrides(["core.useReplaceRefs=false"])
}

/// Both must be there, tags or not; a repository without them is a damaged one, or the mount point of a missing one.
pub(super) fn check_directories(repository: &ThreadSafeRepository) -> Result<(), String> {
    for name in ["refs", "objects"] {
        let directory = repository.refs.common_dir_resolved().join(name);
        match fs::metadata(directory) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => return Err(format!("its `{name}` is no directory")),
            Err(fault) => return Err(format!("its directory `{name}` cannot be read: {fault}")),
        }
    }
    Ok(())
}

/// See [`super::Repository::fingerprint`].
pub(super) fn fingerprint(repository: &ThreadSafeRepository) -> io::Result<String> {
    let directory = fs::metadata(repository.refs.common_dir_resolved())?;
    let inode = directory.ino();
    let birth = directory.created().ok().and_then(|birth| birth.duration_since(UNIX_EPOCH).ok());
    Ok(match birth {
        Some(birth) => format!("{inode}-{}.{:09}", birth.as_secs(), birth.subsec_nanos()),
        None => inode.to_string(),
    })
}

/// Says why a repository did not open, in the order in which a person would look.
fn diagnose(path: &Path, fault: &gix::Error) -> SourceFault {
    let parts = ["", "HEAD", "config", ".git", ".git/HEAD", ".git/config"];
    for part in parts {
        match fs::File::open(path.join(part)) {
            Err(fault) if fault.kind() == ErrorKind::PermissionDenied => {
                let what = if part.is_empty() { fault.to_string() } else { format!("`{part}`: {fault}") };
                return SourceFault::new(path, what, ACCESS);
            }
            Err(fault) if part.is_empty() => return SourceFault::new(path, fault.to_string(), NO_REPOSITORY),
            Ok(_) | Err(_) => {}
        }
    }
    let hint = if ["HEAD", ".git"].iter().any(|part| path.join(part).exists()) { CONFIGURATION } else { NO_REPOSITORY };
    SourceFault::new(path, format!("cannot be opened: {}", reason(fault)), hint)
}
