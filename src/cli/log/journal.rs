//! The way to the journal of systemd.

use std::env;
use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

/// Where the journal listens.
const SOCKET: &str = "/run/systemd/journal/socket";

/// A way to send to the journal. It is not connected, so a journal that starts anew is found again.
pub(super) struct Journal {
    socket: UnixDatagram,
    at: PathBuf,
}

impl Journal {
    /// The journal of this machine; an error where none listens.
    pub(super) fn open() -> io::Result<Self> {
        Self::open_at(Path::new(SOCKET))
    }

    fn open_at(path: &Path) -> io::Result<Self> {
        let journal = Self { socket: UnixDatagram::unbound()?, at: path.to_owned() };
        // The journal passes over what is empty.
        journal.send(b"")?;
        Ok(journal)
    }

    /// Sends one entry. What is too large for a datagram, or finds no listener, is an error, and the caller says it elsewhere.
    pub(super) fn send(&self, entry: &[u8]) -> io::Result<()> {
        self.socket.send_to(entry, &self.at).map(|_| ())
    }
}

/// Whether standard error leads to the journal: systemd says so in `$JOURNAL_STREAM`, which children inherit even when their
/// standard error goes elsewhere, so the file counts ([systemd.exec(5)], 2026-11-21).
///
/// [systemd.exec(5)]: https://www.freedesktop.org/software/systemd/man/latest/systemd.exec.html#%24JOURNAL_STREAM
pub(super) fn is_standard_error() -> bool {
    let stderr = || File::from(io::stderr().as_fd().try_clone_to_owned()?).metadata();
    env::var("JOURNAL_STREAM").is_ok_and(|said| stderr().is_ok_and(|file| is_stream(&said, file.dev(), file.ino())))
}

fn is_stream(said: &str, device: u64, inode: u64) -> bool {
    said.split_once(':')
        .is_some_and(|(of_device, of_inode)| of_device.parse() == Ok(device) && of_inode.parse() == Ok(inode))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_very_file_is_the_journals_stream() {
        assert!(is_stream("9:4711", 9, 4711));
        for other in ["9:4712", "8:4711", "9", "", "9:4711:1", "nine:4711"] {
            assert!(!is_stream(other, 9, 4711), "{other}");
        }
    }

    #[test]
    fn entries_arrive_whole_also_after_the_journal_has_started_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        assert!(Journal::open_at(&path).is_err());
        let listen = || {
            let listener = UnixDatagram::bind(&path).unwrap();
            listener.set_nonblocking(true).unwrap();
            listener
        };
        let received = |listener: &UnixDatagram| {
            let mut buffer = [0; 100];
            let length = listener.recv(&mut buffer).unwrap();
            String::from_utf8(buffer[..length].to_vec()).unwrap()
        };
        let first = listen();
        let journal = Journal::open_at(&path).unwrap();
        journal.send(b"MESSAGE=one\n").unwrap();
        assert_eq!([received(&first), received(&first)], ["", "MESSAGE=one\n"]);
        drop(first);
        std::fs::remove_file(&path).unwrap();
        assert!(journal.send(b"MESSAGE=lost\n").is_err());
        let second = listen();
        journal.send(b"MESSAGE=two\n").unwrap();
        assert_eq!(received(&second), "MESSAGE=two\n");
    }
}
