//! What a job reads: a local repository, all that some patterns find, or a remote.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use globset::{GlobBuilder, GlobMatcher};

use super::problem::printable;
use super::remote::RemoteTemplate;

/// What tags are read from, under the name that reports, ledger and `{repository}` know it by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Repository {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub place: Place,
}

/// Where tags are read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// In a local repository: its directory.
    Directory(PathBuf),
    /// On a remote, after which the repository is called.
    Remote(RemoteTemplate),
}

impl Repository {
    /// The repository in this directory.
    pub fn local(name: impl Into<String>, path: impl Into<PathBuf>) -> Self {
        Self { name: name.into(), place: Place::Directory(path.into()) }
    }

    /// Its directory; `None` where it is on a remote.
    pub fn directory(&self) -> Option<&Path> {
        match &self.place {
            Place::Directory(path) => Some(path),
            Place::Remote(_) => None,
        }
    }
}

/// What `from` stands for.
#[derive(Clone, Debug)]
pub enum Repositories {
    /// `path`, or a remote: this one.
    One(Repository),
    /// `paths`: those that are there at the start of a pass.
    Many {
        /// The name of the table.
        name: String,
        /// Where to look.
        patterns: Vec<PathPattern>,
    },
}

/// The repositories could not be told for certain, so nothing follows for any of them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct RepositoriesFault {
    /// What happened.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Repositories {
    /// The name of the table.
    pub fn name(&self) -> &str {
        match self {
            Self::One(repository) => &repository.name,
            Self::Many { name, .. } => name,
        }
    }

    /// The remote that tags come from, where it is one.
    pub fn remote(&self) -> Option<&RemoteTemplate> {
        match self {
            Self::One(Repository { place: Place::Remote(remote), .. }) => Some(remote),
            Self::One(Repository { place: Place::Directory(_), .. }) | Self::Many { .. } => None,
        }
    }

    /// The repositories that exist now, sorted by name. All patterns find something, and all names differ.
    pub fn find(&self) -> Result<Vec<Repository>, RepositoriesFault> {
        let patterns = match self {
            Self::One(repository) => return Ok(vec![repository.clone()]),
            Self::Many { patterns, .. } => patterns,
        };
        let mut found: BTreeMap<String, PathBuf> = BTreeMap::new();
        for pattern in patterns {
            let directories = pattern.find()?;
            if directories.is_empty() {
                return Err(RepositoriesFault {
                    message: format!("`{pattern}` matches no directory"),
                    hint: Some(
                        "is the disk mounted? If the repositories are gone for good, take the pattern out".into(),
                    ),
                });
            }
            for path in directories {
                let name = name_of(&path)?;
                match found.get(&name) {
                    Some(other) if *other != path => {
                        return Err(RepositoriesFault {
                            message: format!(
                                "{} and {} would both be called `{name}`",
                                printable(other),
                                printable(&path)
                            ),
                            hint: Some(
                                "give one of them a table of its own with `path`, and narrow the pattern".into(),
                            ),
                        });
                    }
                    _ => found.insert(name, path),
                };
            }
        }
        Ok(found.into_iter().map(|(name, path)| Repository::local(name, path)).collect())
    }
}

/// The last component without `.git`.
fn name_of(path: &Path) -> Result<String, RepositoriesFault> {
    let last = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
    let name = last.strip_suffix(".git").unwrap_or(last);
    if is_name(name) {
        return Ok(name.to_owned());
    }
    Err(RepositoriesFault {
        message: format!("{} gives no usable name for a repository", printable(path)),
        hint: Some(format!("rename it, narrow the pattern, or give it a table of its own with `path`; {NAME_RULE}")),
    })
}

/// What [`is_name`] wants, in words.
pub(super) const NAME_RULE: &str =
    "names begin with a letter or digit, go on with letters, digits, `.`, `_`, `-`, and have at most 64 characters";

/// Whether a repository, remote or job can be called so.
pub(super) fn is_name(name: &str) -> bool {
    name.len() <= 64
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

/// An absolute path whose components may be globs; each stands for one directory level.
#[derive(Clone, Debug)]
pub struct PathPattern {
    text: String,
    components: Vec<Component>,
}

#[derive(Clone, Debug)]
enum Component {
    Literal(String),
    Glob { matcher: GlobMatcher, hidden: bool },
}

impl PathPattern {
    /// Reads a pattern; an error says what is wrong with it.
    pub fn new(text: &str) -> Result<Self, &'static str> {
        if !text.starts_with('/') {
            return Err("the path must be absolute");
        }
        let components = text.split('/').filter(|component| !component.is_empty()).map(Component::new);
        Ok(Self { text: text.to_owned(), components: components.collect::<Result<_, _>>()? })
    }

    /// The directories that match now, in no order.
    fn find(&self) -> Result<Vec<PathBuf>, RepositoriesFault> {
        let mut found = vec![PathBuf::from("/")];
        for component in &self.components {
            let mut deeper = Vec::new();
            for directory in found {
                component.find_in(&directory, &mut deeper).map_err(|fault| RepositoriesFault {
                    message: format!("{} could not be searched for `{self}`: {fault}", printable(&directory)),
                    hint: None,
                })?;
            }
            found = deeper;
        }
        Ok(found)
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&printable(Path::new(&self.text)))
    }
}

impl Component {
    fn new(text: &str) -> Result<Self, &'static str> {
        if text.contains("**") {
            return Err("`**` is not supported: write one `*` for each directory level");
        }
        if !text.contains(['*', '?', '[', '{', '\\']) {
            return Ok(Self::Literal(text.to_owned()));
        }
        let glob = GlobBuilder::new(text).literal_separator(true).build().map_err(|_| "this is not a valid pattern")?;
        Ok(Self::Glob { matcher: glob.compile_matcher(), hidden: text.starts_with('.') })
    }

    /// Adds the directories of this name. What is there and cannot be looked at is an error: it is not absent.
    fn find_in(&self, directory: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
        match self {
            Self::Literal(name) => {
                let path = directory.join(name);
                if is_directory(&path)? {
                    found.push(path);
                }
            }
            Self::Glob { matcher, hidden } => {
                for entry in std::fs::read_dir(directory)? {
                    let name = entry?.file_name();
                    let is_hidden = name.as_encoded_bytes().starts_with(b".");
                    let path = directory.join(&name);
                    if is_hidden == *hidden && matcher.is_match(Path::new(&name)) && is_directory(&path)? {
                        found.push(path);
                    }
                }
            }
        }
        Ok(())
    }
}

fn is_directory(path: &Path) -> io::Result<bool> {
    match std::fs::metadata(path) {
        Ok(metadata) => Ok(metadata.is_dir()),
        Err(fault) if matches!(fault.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(false),
        Err(fault) => Err(fault),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn many(root: &Path, patterns: &[&str]) -> Repositories {
        let absolute = patterns.iter().map(|pattern| format!("{}/{pattern}", root.display()));
        Repositories::Many {
            name: "all".into(),
            patterns: absolute.map(|text| PathPattern::new(&text).unwrap()).collect(),
        }
    }

    fn tree(directories: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for directory in directories {
            std::fs::create_dir_all(root.path().join(directory)).unwrap();
        }
        root
    }

    #[test]
    fn patterns_find_directories_once_and_in_order_of_their_names() {
        let root = tree(&["git/b.git/refs", "git/a.git", "git/.hidden.git", "git/sub/c.git", "git/plain", "other/d"]);
        std::fs::write(root.path().join("git/file.git"), "").unwrap();
        std::os::unix::fs::symlink(root.path().join("other/d"), root.path().join("git/linked.git")).unwrap();
        std::os::unix::fs::symlink(root.path().join("nowhere"), root.path().join("git/broken.git")).unwrap();
        let found = many(root.path(), &["git/*.git", "git/a.git", "*/sub/?.git"]).find().unwrap();
        let found: Vec<_> = found
            .iter()
            .map(|one| {
                (one.name.as_str(), one.directory().unwrap().strip_prefix(root.path()).unwrap().to_str().unwrap())
            })
            .collect();
        assert_eq!(
            found,
            [("a", "git/a.git"), ("b", "git/b.git"), ("c", "git/sub/c.git"), ("linked", "git/linked.git")]
        );
    }

    #[test]
    fn nothing_found_is_a_fault_and_so_are_two_of_one_name() {
        let root = tree(&["one/a.git", "two/a", "two/b.git", "odd/a b.git", "odd/.git"]);
        let at = |path: &str| root.path().join(path).display().to_string();
        for (patterns, message) in [
            (["one/*.git", "three/*"], format!("`{}` matches no directory", at("three/*"))),
            (["one/*", "two/*"], format!("{} and {} would both be called `a`", at("one/a.git"), at("two/a"))),
            (["one/*", "odd/*.git"], format!("{} gives no usable name for a repository", at("odd/a b.git"))),
            (["one/*", "odd/.git"], format!("{} gives no usable name for a repository", at("odd/.git"))),
        ] {
            assert_eq!(many(root.path(), &patterns).find().unwrap_err().message, message);
        }
    }

    #[test]
    fn a_pattern_is_absolute_and_has_one_level_per_component() {
        assert_eq!(PathPattern::new("srv/*.git").unwrap_err(), "the path must be absolute");
        assert_eq!(PathPattern::new("/srv/[a.git").unwrap_err(), "this is not a valid pattern");
        assert!(PathPattern::new("/srv/**/x").unwrap_err().starts_with("`**` is not supported"));
    }

    #[test]
    fn names_are_plain() {
        for (name, good) in
            [("a", true), ("9.x_y-z", true), (".a", false), ("-a", false), ("", false), ("a/b", false), ("é", false)]
        {
            assert_eq!(is_name(name), good, "{name}");
        }
        assert!(is_name(&"a".repeat(64)) && !is_name(&"a".repeat(65)));
    }
}
