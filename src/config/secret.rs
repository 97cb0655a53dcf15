//! Where a secret is kept, and reading it. The secret itself never stands in the configuration, a message or a log.

use std::ffi::OsString;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use schemars::JsonSchema;
use secrecy::SecretString;
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Command;

use super::problem::printable;
use crate::http::{Fault, FaultKind};
use crate::text::{Printable, excerpt};

/// No token is nearly as large; a file that is was named by mistake.
const LARGEST: u64 = 64 * 1024;

/// A password store may ask its agent, but not for ever.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(30);

/// Where a secret is kept; the secret itself never stands in the file.
#[derive(Clone, PartialEq, Eq, JsonSchema)]
pub enum SecretSource {
    /// A file of this name in `$CREDENTIALS_DIRECTORY`: what systemd's `LoadCredential=` provides.
    #[schemars(rename = "credential")]
    Credential(#[schemars(length(min = 1))] String),
    /// A regular file that nobody but its owner may read (`chmod 600`), by its absolute path.
    #[schemars(rename = "file")]
    File(#[schemars(regex(pattern = "^/"))] PathBuf),
    /// An environment variable.
    #[schemars(rename = "env")]
    Environment(#[schemars(length(min = 1))] String),
    /// The output of a program, started without a shell: the program, then its arguments. It has 30 seconds.
    #[schemars(rename = "command")]
    Command(#[schemars(length(min = 1))] Vec<String>),
}

/// The secret could not be had. Names what was tried, never what was found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SecretFault {
    /// What happened.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl SecretFault {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None }
    }

    fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

/// Without its secret nothing is asked of a remote, which would only refuse it.
impl From<SecretFault> for Fault {
    fn from(fault: SecretFault) -> Self {
        Self { hint: fault.hint, ..Self::new(FaultKind::Unauthorized, fault.message) }
    }
}

impl SecretSource {
    /// Reads the secret: without one line break at its end, not empty, of printable characters.
    pub async fn read(&self) -> Result<SecretString, SecretFault> {
        self.read_with(|name| std::env::var_os(name)).await
    }

    async fn read_with(&self, variable: impl Fn(&str) -> Option<OsString>) -> Result<SecretString, SecretFault> {
        let bytes = match self {
            Self::Credential(name) => {
                let directory = variable("CREDENTIALS_DIRECTORY").ok_or_else(|| {
                    SecretFault::new(format!("there is no {self}: `$CREDENTIALS_DIRECTORY` is not set")).hint(format!(
                        "add `LoadCredential={name}:/path/to/secret` to the systemd unit; elsewhere, use `file`"
                    ))
                })?;
                let path = Path::new(&directory).join(name);
                // systemd made the directory and its permissions; they are not ours to judge.
                in_background(move || read_file(&path, Trust::AsIs)).await?
            }
            Self::File(path) => {
                let path = path.clone();
                in_background(move || read_file(&path, Trust::OnlyPrivate)).await?
            }
            Self::Environment(name) => variable(name)
                .ok_or_else(|| {
                    SecretFault::new(format!("the {self} is not set")).hint(
                        "a service does not see the variables of your shell; `credential` or `file` suit it better",
                    )
                })?
                .into_encoded_bytes(),
            Self::Command(words) => self.run(words).await?,
        };
        self.check(bytes)
    }

    /// A secret ends up in an HTTP header, where a line break or a control character would be an injection.
    fn check(&self, mut bytes: Vec<u8>) -> Result<SecretString, SecretFault> {
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
            if bytes.last() == Some(&b'\r') {
                bytes.pop();
            }
        }
        let secret =
            String::from_utf8(bytes).map_err(|_| SecretFault::new(format!("the secret from {self} is not text")))?;
        if secret.trim().is_empty() {
            return Err(SecretFault::new(format!("the secret from {self} is empty")));
        }
        if secret.chars().any(char::is_control) {
            return Err(SecretFault::new(format!(
                "the secret from {self} holds a line break or another control character"
            ))
            .hint("it must be the secret alone, on one line"));
        }
        Ok(SecretString::from(secret))
    }

    async fn run(&self, words: &[String]) -> Result<Vec<u8>, SecretFault> {
        let (program, arguments) =
            words.split_first().ok_or_else(|| SecretFault::new("the command for a secret is empty"))?;
        let failed = |what: String| SecretFault::new(format!("the {self} {what}"));
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|fault| failed(format!("could not be started: {}", reason(&fault))))?;
        let (Some(output), Some(complaints)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(failed("has no output".into()));
        };
        // Each end is closed when enough was read, so that a program that never stops writing stops.
        let finished = async {
            let (secret, complaint) = tokio::try_join!(read_all(output, LARGEST + 1), read_all(complaints, LARGEST))?;
            Ok::<_, io::Error>((child.wait().await?, secret, complaint))
        };
        let (status, secret, complaint) = tokio::time::timeout(COMMAND_TIMEOUT, finished)
            .await
            .map_err(|_| failed(format!("did not finish within {} seconds", COMMAND_TIMEOUT.as_secs())))?
            .map_err(|fault| failed(format!("could not be read: {}", reason(&fault))))?;
        if secret.len() as u64 > LARGEST {
            return Err(failed(format!("printed more than {} KiB", LARGEST / 1024)));
        }
        if !status.success() {
            return Err(failed(format!("failed ({status}){}", said(&complaint, &secret))));
        }
        Ok(secret)
    }
}

async fn read_all(from: impl AsyncRead + Unpin, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(most).read_to_end(&mut bytes).await?;
    Ok(bytes)
}

/// What a failed program said, unless it said the secret.
fn said(complaint: &[u8], secret: &[u8]) -> String {
    let secret = secret.trim_ascii();
    let tells = !secret.is_empty() && complaint.windows(secret.len()).any(|window| window == secret);
    let shown = excerpt(complaint, 200);
    if tells || shown.is_empty() { String::new() } else { format!(": {shown}") }
}

/// Whose permissions are believed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trust {
    AsIs,
    OnlyPrivate,
}

async fn in_background<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, SecretFault> + Send + 'static,
) -> Result<T, SecretFault> {
    tokio::task::spawn_blocking(read)
        .await
        .unwrap_or_else(|_| Err(SecretFault::new("reading a secret was interrupted")))
}

fn read_file(path: &Path, trust: Trust) -> Result<Vec<u8>, SecretFault> {
    let shown = printable(path);
    let unreadable = |fault: &io::Error| {
        let fault_of =
            |hint: &str| SecretFault::new(format!("{shown} could not be read: {}", reason(fault))).hint(hint);
        match fault.raw_os_error() {
            Some(libc::ELOOP) => SecretFault::new(format!("{shown} is a symbolic link"))
                .hint("name the file itself: what a link points at can be changed by whoever owns the link"),
            Some(libc::ENOENT) => fault_of("create it, readable by the service's user only"),
            Some(libc::EACCES) => fault_of("it must belong to the user that the service runs as"),
            _ => SecretFault::new(format!("{shown} could not be read: {}", reason(fault))),
        }
    };
    // Opened before it is judged, and judged by what was opened. A pipe must not stop us from finding out that it is one.
    let no_follow = if trust == Trust::OnlyPrivate { libc::O_NOFOLLOW } else { 0 };
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(no_follow | libc::O_NONBLOCK)
        .open(path)
        .map_err(|fault| unreadable(&fault))?;
    let metadata = file.metadata().map_err(|fault| unreadable(&fault))?;
    if !metadata.is_file() {
        return Err(SecretFault::new(format!("{shown} is not a regular file")));
    }
    if trust == Trust::OnlyPrivate && metadata.mode() & 0o077 != 0 {
        let mode = metadata.mode() & 0o7777;
        return Err(SecretFault::new(format!("{shown} is open to other users (mode {mode:04o})"))
            .hint(format!("chmod 600 {shown}, and replace the secret if somebody may have read it")));
    }
    read_capped(&file).map_err(|fault| unreadable(&fault))?.ok_or_else(|| {
        SecretFault::new(format!("{shown} is larger than {} KiB, so it is not a secret", LARGEST / 1024))
    })
}

fn read_capped(file: &File) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= LARGEST).then_some(bytes))
}

/// The system's words without its number.
fn reason(fault: &io::Error) -> String {
    let text = fault.to_string();
    let words = text.split_once(" (os error").map_or(text.as_str(), |(words, _)| words);
    Printable::new(words).to_string()
}

/// Says where, never what: `file /etc/x`, `credential gitlab`, `environment variable X`, `command pass`.
impl fmt::Display for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Credential(name) => write!(f, "credential {}", Printable::new(name)),
            Self::File(path) => write!(f, "file {}", printable(path)),
            Self::Environment(name) => write!(f, "environment variable {}", Printable::new(name)),
            // Arguments may be more than anybody else should see.
            Self::Command(words) => {
                write!(f, "command {}", Printable::new(words.first().map_or("", String::as_str)))
            }
        }
    }
}

impl fmt::Debug for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretSource({self})")
    }
}

/// The table as written; exactly one key is right.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    credential: Option<String>,
    file: Option<String>,
    env: Option<String>,
    command: Option<Vec<String>>,
}

impl Written {
    fn check(self) -> Result<SecretSource, &'static str> {
        match self {
            Self { credential: Some(name), file: None, env: None, command: None } => {
                // The name becomes the last component of a path and must not become more.
                let plain = !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\0']);
                plain.then_some(SecretSource::Credential(name)).ok_or("a credential's name is a plain file name")
            }
            Self { credential: None, file: Some(path), env: None, command: None } => {
                let path = PathBuf::from(path);
                path.is_absolute().then_some(SecretSource::File(path)).ok_or("the path of a secret must be absolute")
            }
            Self { credential: None, file: None, env: Some(name), command: None } => {
                let plain = !name.is_empty() && !name.contains(['=', '\0']);
                plain
                    .then_some(SecretSource::Environment(name))
                    .ok_or("this cannot be the name of an environment variable")
            }
            Self { credential: None, file: None, env: None, command: Some(words) } => {
                let runnable = words.first().is_some_and(|program| !program.is_empty());
                runnable.then_some(SecretSource::Command(words)).ok_or(
                    "a command is the program and its arguments, each a string\n`command = [\"pass\", \"show\", \"gitlab\"]`",
                )
            }
            _ => Err("a secret has exactly one source\none of `credential`, `file`, `env`, `command`"),
        }
    }
}

impl<'de> Deserialize<'de> for SecretSource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SourceVisitor)
    }
}

struct SourceVisitor;

impl SourceVisitor {
    /// A hint follows the line break, see `Table::read`.
    fn refuse<T, E: Error>() -> Result<T, E> {
        Err(E::custom(
            "a secret must not stand in the file\n\
             say where it is kept: `{ file = \"/etc/tagsyncd/token\" }`, `{ credential = \"name\" }`, \
             `{ env = \"NAME\" }` or `{ command = [\"pass\", \"show\", \"name\"] }`; \
             if it was real, replace it, because copies of this file have it too",
        ))
    }
}

impl<'de> Visitor<'de> for SourceVisitor {
    type Value = SecretSource;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table that says where the secret is kept")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<SecretSource, A::Error> {
        Written::deserialize(MapAccessDeserializer::new(map))?.check().map_err(A::Error::custom)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<SecretSource, E> {
        Self::refuse()
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<SecretSource, E> {
        Self::refuse()
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<SecretSource, E> {
        Self::refuse()
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<SecretSource, E> {
        Self::refuse()
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<SecretSource, A::Error> {
        Self::refuse()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use secrecy::ExposeSecret as _;

    use super::*;

    fn write(directory: &Path, name: &str, mode: u32, content: &[u8]) -> PathBuf {
        let path = directory.join(name);
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    async fn message(source: SecretSource) -> String {
        let fault = source.read().await.expect_err("this source has no usable secret");
        assert!(!format!("{fault:?}").contains("CANARY"), "{fault:?}");
        fault.message
    }

    #[tokio::test]
    async fn a_private_file_is_read_without_its_line_break() {
        let directory = tempfile::tempdir().unwrap();
        for (content, secret) in [("abc", "abc"), ("abc\n", "abc"), ("a b\r\n", "a b"), (" abc ", " abc ")] {
            let path = write(directory.path(), "token", 0o600, content.as_bytes());
            assert_eq!(SecretSource::File(path).read().await.unwrap().expose_secret(), secret);
        }
    }

    #[tokio::test]
    async fn a_file_that_others_may_read_is_refused_with_the_cure() {
        let directory = tempfile::tempdir().unwrap();
        for mode in [0o640, 0o604, 0o620, 0o601] {
            let path = write(directory.path(), "token", mode, b"CANARY");
            let fault = SecretSource::File(path.clone()).read().await.unwrap_err();
            assert_eq!(fault.message, format!("{} is open to other users (mode {mode:04o})", path.display()));
            assert!(fault.hint.unwrap().starts_with(&format!("chmod 600 {}", path.display())));
        }
    }

    #[tokio::test]
    async fn what_is_no_plain_file_with_one_secret_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let shown = |name: &str| at(name).display().to_string();
        write(directory.path(), "real", 0o600, b"CANARY");
        symlink(at("real"), at("link")).unwrap();
        std::fs::create_dir(at("directory")).unwrap();
        for (name, content) in [
            ("empty", b"".as_slice()),
            ("blank", b" \n"),
            ("two lines", b"CANARY\nCANARY\n"),
            ("two breaks", b"CANARY\n\n"),
            ("escape", b"CANARY\x1b[0m"),
            ("binary", b"CANARY\xff"),
            ("large", &[b'a'; LARGEST as usize + 1]),
        ] {
            write(directory.path(), name, 0o600, content);
        }
        let control = "holds a line break or another control character";
        for (name, expected) in [
            ("link", format!("{} is a symbolic link", shown("link"))),
            ("directory", format!("{} is not a regular file", shown("directory"))),
            ("absent", format!("{} could not be read: No such file or directory", shown("absent"))),
            ("empty", format!("the secret from file {} is empty", shown("empty"))),
            ("blank", format!("the secret from file {} is empty", shown("blank"))),
            ("two lines", format!("the secret from file {} {control}", shown("two lines"))),
            ("two breaks", format!("the secret from file {} {control}", shown("two breaks"))),
            ("escape", format!("the secret from file {} {control}", shown("escape"))),
            ("binary", format!("the secret from file {} is not text", shown("binary"))),
            ("large", format!("{} is larger than 64 KiB, so it is not a secret", shown("large"))),
        ] {
            assert_eq!(message(SecretSource::File(at(name))).await, expected);
        }
    }

    #[tokio::test]
    async fn a_credential_is_accepted_as_systemd_provides_it() {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path(), "gitlab", 0o640, b"abc\n");
        let source = SecretSource::Credential("gitlab".into());
        let secret = source.read_with(|name| {
            assert_eq!(name, "CREDENTIALS_DIRECTORY");
            Some(directory.path().as_os_str().to_owned())
        });
        assert_eq!(secret.await.unwrap().expose_secret(), "abc");
        assert_eq!(
            source.read_with(|_| None).await.unwrap_err().message,
            "there is no credential gitlab: `$CREDENTIALS_DIRECTORY` is not set"
        );
    }

    #[tokio::test]
    async fn an_environment_variable_is_read_or_named() {
        let source = SecretSource::Environment("TOKEN".into());
        assert_eq!(source.read_with(|_| Some("abc".into())).await.unwrap().expose_secret(), "abc");
        assert_eq!(source.read_with(|_| None).await.unwrap_err().message, "the environment variable TOKEN is not set");
        assert_eq!(
            source.read_with(|_| Some("".into())).await.unwrap_err().message,
            "the secret from environment variable TOKEN is empty"
        );
    }

    fn shell(script: &str) -> SecretSource {
        SecretSource::Command(vec!["/bin/sh".into(), "-c".into(), script.into()])
    }

    #[tokio::test]
    async fn a_command_gives_its_output_and_a_failed_one_its_complaint() {
        assert_eq!(shell("cat; printf 'abc\\n'").read().await.unwrap().expose_secret(), "abc");
        for (script, expected) in [
            ("echo CANARY; exit 3", "the command /bin/sh failed (exit status: 3)"),
            ("echo CANARY; echo saw CANARY >&2; exit 1", "the command /bin/sh failed (exit status: 1)"),
            (
                "printf 'no \\033[31mkey\\n' >&2; exit 1",
                "the command /bin/sh failed (exit status: 1): no \\u{1b}[31mkey",
            ),
            ("true", "the secret from command /bin/sh is empty"),
            ("yes CANARY", "the command /bin/sh printed more than 64 KiB"),
        ] {
            assert_eq!(message(shell(script)).await, expected);
        }
        assert_eq!(
            message(SecretSource::Command(vec!["/nonexistent/pass".into(), "CANARY".into()])).await,
            "the command /nonexistent/pass could not be started: No such file or directory"
        );
    }

    /// The clock is paused, so it jumps to the deadline as soon as nothing but the program is waited for.
    #[tokio::test(start_paused = true)]
    async fn a_command_that_hangs_is_given_up() {
        assert_eq!(
            message(SecretSource::Command(vec!["sleep".into(), "600".into()])).await,
            "the command sleep did not finish within 30 seconds"
        );
    }

    #[test]
    fn a_source_is_shown_without_arguments() {
        assert_eq!(format!("{:?}", shell("CANARY")), "SecretSource(command /bin/sh)");
        assert_eq!(SecretSource::File("/etc/x\n".into()).to_string(), "file /etc/x\\u{a}");
    }
}
