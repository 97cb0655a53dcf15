//! The state directory, and the lock that makes one process its writer.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::LedgerFault;

/// Where the ledger and its lock live. Only a name: nothing is made before [`lock`](Self::lock).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateDirectory(PathBuf);

impl StateDirectory {
    /// `--state`, else the configuration, else `$STATE_DIRECTORY` (systemd; the first of several), else
    /// `$XDG_STATE_HOME/tagsyncd`, else `~/.local/state/tagsyncd`.
    pub fn resolve(explicit: Option<&Path>, configured: Option<&Path>) -> Result<Self, LedgerFault> {
        Self::resolve_in(explicit, configured, |name| env::var_os(name).filter(|value| !value.is_empty()))
    }

    fn resolve_in(
        explicit: Option<&Path>,
        configured: Option<&Path>,
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, LedgerFault> {
        let systemd = || {
            variable("STATE_DIRECTORY")
                .and_then(|list| env::split_paths(&list).next())
                .filter(|path| path.is_absolute())
        };
        // The base directory specification has relative paths ignored.
        let user = || variable("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        let home = || variable("HOME").map(|home| PathBuf::from(home).join(".local/state"));
        let path = explicit
            .or(configured)
            .map(Path::to_path_buf)
            .or_else(systemd)
            .or_else(|| user().or_else(home).map(|base| base.join("tagsyncd")))
            .ok_or_else(|| LedgerFault {
                message: "there is no place for the state directory: neither $STATE_DIRECTORY, $XDG_STATE_HOME nor $HOME is set".into(),
                hint: "Name one with --state, or with `state` under [daemon].".into(),
            })?;
        // Absolute, so that it stays the same directory wherever the process goes.
        std::path::absolute(&path)
            .map(Self)
            .map_err(|error| LedgerFault::file("find the state directory", &path, &error))
    }

    /// Its path, absolute.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Lets a daemon that watches the directory know that something was decided.
    pub(super) fn announce_decision(&self) -> io::Result<()> {
        let mut file = open_or_make(&self.0.join(DECIDED))?;
        file.set_len(0)?;
        writeln!(file, "{}", std::process::id())
    }

    /// The ledger's file.
    pub fn ledger(&self) -> PathBuf {
        self.0.join("ledger.db")
    }

    /// Makes this process the one that may write here; makes the directory (mode 0700) when it is missing.
    ///
    /// The lock is the kernel's: it ends with the process, however that ends, and leaves nothing to clean up.
    pub fn lock(&self) -> Result<StateLock, LockFault> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.0)
            .map_err(|error| LedgerFault::file("make the state directory", &self.0, &error))?;
        let path = self.0.join("lock");
        let failed = |error| LedgerFault::file("take the lock", &path, &error);
        let mut file = open_or_make(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(LockFault::Held { directory: self.clone(), holder: read_holder(&mut file) });
            }
            Err(TryLockError::Error(error)) => return Err(failed(error).into()),
        }
        write_holder(&file, Work::Pass).map_err(failed)?;
        Ok(StateLock { directory: self.clone(), held: Arc::new(file) })
    }

    /// The process of the service that works here, if there seems to be one: good enough to tell people, not to decide anything.
    pub fn service(&self) -> Option<u32> {
        let holder = read_holder(&mut File::open(self.0.join("lock")).ok()?)?;
        let runs = || Path::new("/proc").join(holder.process.to_string()).exists();
        (holder.work == Work::Service && runs()).then_some(holder.process)
    }
}

/// The file that is written anew with each decision of a person, so that a daemon that watches the directory hears of it.
pub const DECIDED: &str = "decided";

impl fmt::Display for StateDirectory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}

/// Opens a file for writing, as it is, and makes it when it is missing.
///
/// Never through a symbolic link: root writes in directories that belong to somebody else, who must not choose with a link
/// which file root writes to.
fn open_or_make(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
    match options.clone().create_new(true).open(path) {
        Ok(file) => give_to_owner(&file, path).map(|()| file),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => options.open(path),
        Err(error) => Err(error),
    }
}

/// Gives a file that root has just made to whoever owns the directory, so that the service, which is somebody else, can go on
/// with it. SQLite does so with the files beside the ledger by itself.
pub(super) fn give_to_owner(made: &File, path: &Path) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("/")).metadata()?;
    let is_roots = made.metadata()?.uid() == 0;
    if is_roots && directory.uid() != 0 { fchown(made, Some(directory.uid()), Some(directory.gid())) } else { Ok(()) }
}

/// Who holds the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its process id.
    pub process: u32,
    /// What it does.
    pub work: Work,
}

/// What the holder of the lock does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// One command, which ends.
    Pass,
    /// It stays until somebody stops it.
    Service,
}

const SERVICE: &str = "service";

/// Who holds the lock is written there for the message to others; the lock itself does not depend on it.
fn write_holder(mut file: &File, work: Work) -> io::Result<()> {
    let process = std::process::id();
    let holder = match work {
        Work::Pass => format!("{process}\n"),
        Work::Service => format!("{process} {SERVICE}\n"),
    };
    file.rewind()?;
    file.write_all(holder.as_bytes())?;
    // Cut at the end and not emptied before: what was emptied and written again some file systems bring to disk at once.
    file.set_len(holder.len() as u64)
}

fn read_holder(file: &mut File) -> Option<Holder> {
    let mut text = String::new();
    file.take(40).read_to_string(&mut text).ok()?;
    let mut words = text.split_whitespace();
    let process = words.next()?.parse().ok().filter(|&process| process > 0)?;
    let work = if words.next() == Some(SERVICE) { Work::Service } else { Work::Pass };
    Some(Holder { process, work })
}

/// Proof that this process is the only one that may write in a state directory, for as long as a clone of it lives.
#[derive(Clone, Debug)]
pub struct StateLock {
    directory: StateDirectory,
    // Closing the last one releases the lock.
    held: Arc<File>,
}

impl StateLock {
    /// What is locked.
    pub fn directory(&self) -> &StateDirectory {
        &self.directory
    }

    /// Lets others know that this process will not be done soon.
    pub fn serve(&self) -> Result<(), LedgerFault> {
        let path = self.directory.path().join("lock");
        write_holder(&self.held, Work::Service).map_err(|error| LedgerFault::file("write the lock", &path, &error))
    }
}

/// The lock could not be taken.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LockFault {
    /// Another process has it.
    #[error("another tagsyncd{} holds the state directory {directory}", Named(*holder))]
    Held {
        /// What it holds.
        directory: StateDirectory,
        /// Who it is, where that could be read.
        holder: Option<Holder>,
    },
    /// The directory or the lock file could not be made.
    #[error(transparent)]
    Unusable(#[from] LedgerFault),
}

impl LockFault {
    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Held { holder: Some(Holder { process, work: Work::Service }), .. } => {
                format!(
                    "Ask it for a pass over everything with `kill -USR1 {process}`; for anything else, stop it first."
                )
            }
            Self::Held { .. } => "Wait until it is done.".into(),
            Self::Unusable(fault) => fault.hint.clone(),
        }
    }
}

struct Named(Option<Holder>);

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(Holder { process, work: Work::Pass }) => write!(f, " (process {process})"),
            Some(Holder { process, work: Work::Service }) => write!(f, " (the service, process {process})"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_wish_decides() {
        let all = [("STATE_DIRECTORY", "/s/one:/s/two"), ("XDG_STATE_HOME", "/x"), ("HOME", "/h")];
        let resolve = |explicit: Option<&str>, configured: Option<&str>, variables: &[(&str, &str)]| {
            StateDirectory::resolve_in(explicit.map(Path::new), configured.map(Path::new), |name| {
                variables.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value))
            })
            .map(|directory| directory.path().display().to_string())
        };
        assert_eq!(resolve(Some("/e"), Some("/c"), &all).unwrap(), "/e");
        assert_eq!(resolve(None, Some("/c"), &all).unwrap(), "/c");
        assert_eq!(resolve(None, None, &all).unwrap(), "/s/one");
        assert_eq!(resolve(None, None, &all[1..]).unwrap(), "/x/tagsyncd");
        assert_eq!(resolve(None, None, &all[2..]).unwrap(), "/h/.local/state/tagsyncd");
        assert_eq!(resolve(None, None, &[("XDG_STATE_HOME", "x"), all[2]]).unwrap(), "/h/.local/state/tagsyncd");
        assert!(resolve(Some("relative"), None, &[]).unwrap().starts_with('/'));
        assert!(resolve(None, None, &[]).unwrap_err().hint.contains("--state"));
    }
    #[test]
    fn a_link_in_the_place_of_the_lock_leads_nowhere() {
        let folder = tempfile::tempdir().unwrap();
        let precious = folder.path().join("precious");
        std::fs::write(&precious, "kept").unwrap();
        let state = folder.path().join("state");
        std::fs::create_dir(&state).unwrap();
        std::os::unix::fs::symlink(&precious, state.join("lock")).unwrap();
        let refused = StateDirectory(state).lock().unwrap_err().to_string();
        assert!(refused.starts_with("cannot take the lock "), "{refused}");
        assert_eq!(std::fs::read_to_string(&precious).unwrap(), "kept");
    }

    #[test]
    fn the_directory_may_be_a_link_as_systemd_makes_it() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("private")).unwrap();
        let link = folder.path().join("state");
        std::os::unix::fs::symlink("private", &link).unwrap();
        let state = StateDirectory(link);
        let held = state.lock().unwrap();
        assert!(folder.path().join("private/lock").is_file());
        assert!(matches!(StateDirectory(folder.path().join("private")).lock(), Err(LockFault::Held { .. })));
        drop(held);
    }
}
