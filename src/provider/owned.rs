//! Repositories that are called by their owner and their name, `owner/name`, as on every host without groups in groups.

use std::fmt;
use std::ops::Range;

use toml::Spanned;

use crate::config::Problems;

/// Owner and name, each fit to be one segment of a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OwnedRepository {
    pub(super) owner: String,
    pub(super) name: String,
}

/// What to write instead, for people.
pub(super) const HINT: &str = "the two parts of the repository's address, like \"infra/core\"";

impl OwnedRepository {
    /// Reads the key `repository` of the table at `span`. `None` only together with a problem.
    pub(super) fn read(span: Range<usize>, written: Option<Spanned<String>>, problems: &mut Problems) -> Option<Self> {
        let written = problems.required(span, "repository", written, Some(HINT))?;
        let repository = Self::parse(written.get_ref());
        let problem = |reason| problems.push(written.span(), format!("`repository` {reason}"), Some(HINT));
        repository.map_err(problem).ok()
    }

    /// Reads `owner/name`. The reason when a text cannot be one continues the words "`repository` …".
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("is empty".into());
        }
        if text.contains("://") {
            return Err("is an address; the host belongs into `url`".into());
        }
        let parts: Vec<&str> = text.split('/').collect();
        let [owner, name] = parts[..] else { return Err("is not `owner/name`".into()) };
        if owner.is_empty() || name.is_empty() {
            return Err("has an empty part".into());
        }
        // Hosts take the name without it, also in addresses that end so.
        if name.len() > 4 && name.to_ascii_lowercase().ends_with(".git") {
            return Err("ends with .git, which belongs to the address and not to the name".into());
        }
        for part in [owner, name] {
            if !part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')) {
                return Err("has a character that no owner's and no repository's name has".into());
            }
            if let Some(reason) = crate::http::path_refuses(part.as_bytes()) {
                return Err(format!("cannot stand in a URL: {reason}"));
            }
        }
        Ok(Self { owner: owner.to_owned(), name: name.to_owned() })
    }

    /// Where it is over the git protocol, on a server whose pages are under `pages`.
    pub(super) fn git_url(&self, mut pages: url::Url) -> url::Url {
        pages.set_path(&format!("{}/{self}.git", pages.path().trim_end_matches('/')));
        pages
    }
}

impl fmt::Display for OwnedRepository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.owner, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_have_an_owner_and_a_name() {
        for good in ["infra/core", "a/b.c-d_e", "infra/.github", "1/.git"] {
            assert_eq!(OwnedRepository::parse(good).unwrap().to_string(), good);
        }
        for bad in [
            "",
            "core",
            "/core",
            "infra/",
            "a/b/c",
            "a//b",
            "a/..",
            "./b",
            "a b/c",
            "é/c",
            "a/b%2e",
            "infra/core.git",
            "https://git.example.com/a/b",
        ] {
            assert!(OwnedRepository::parse(bad).is_err(), "{bad}");
        }
    }
}
