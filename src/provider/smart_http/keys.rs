//! The keys that a provider with an API of its own has for the git protocol beside it.

use std::ops::Range;

use toml::Spanned;
use url::Url;

use super::{Events, Pushes};
use crate::config::Problems;
use crate::http::server_of;
use crate::text::Printable;

/// The tags are read and written by the provider's own API.
pub(in crate::provider) const API: &str = "api";
/// They are read and written by the git protocol.
pub(in crate::provider) const GIT: &str = "git";

/// The keys as they stand in the file; all but the first count for `git` alone.
#[derive(Debug)]
pub(in crate::provider) struct WrittenTransport {
    pub(in crate::provider) transport: Option<Spanned<String>>,
    pub(in crate::provider) git_url: Option<Spanned<String>>,
    pub(in crate::provider) username: Option<Spanned<String>>,
    pub(in crate::provider) events: Option<Spanned<Events>>,
    pub(in crate::provider) objects: Option<Spanned<bool>>,
}

/// Where a repository is over the git protocol, and who logs in there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::provider) struct OverGit {
    pub(in crate::provider) url: Url,
    /// Whether `git_url` names another address than the provider's other keys come to.
    elsewhere: bool,
    pub(in crate::provider) username: String,
    pub(in crate::provider) pushes: Pushes,
}

impl WrittenTransport {
    /// Whether the tags go over the git protocol. `derived` and `username` are what the provider's other keys come to; where
    /// they come to nothing, they say what to write instead. `None` only together with a problem.
    pub(in crate::provider) fn read(
        self,
        span: Range<usize>,
        derived: Result<Url, &str>,
        username: Result<String, &str>,
        allow_http: bool,
        problems: &mut Problems,
    ) -> Option<Option<OverGit>> {
        let Self { transport, git_url, username: written_name, events, objects } = self;
        match &transport {
            Some(transport) if transport.get_ref() == GIT => {}
            Some(transport) if transport.get_ref() != API => {
                let message = format!("there is no transport `{}`", Printable::new(transport.get_ref()));
                problems.push(transport.span(), message, Some("write \"api\" or \"git\", or leave it out"));
                return None;
            }
            Some(_) | None => {
                let before = problems.len();
                let others = [
                    ("git_url", git_url.map(|key| key.span())),
                    ("username", written_name.map(|key| key.span())),
                    ("events", events.map(|key| key.span())),
                    ("objects", objects.map(|key| key.span())),
                ];
                for (key, span) in others {
                    let Some(span) = span else { continue };
                    problems.push(
                        span,
                        format!("`{key}` counts only with `transport = \"git\"`"),
                        Some("leave it out, or set the transport"),
                    );
                }
                return (problems.len() == before).then_some(None);
            }
        }
        let url = match (&git_url, &derived) {
            (Some(url), _) => problems.base_url(Some(url), "", allow_http),
            (None, Ok(url)) => Some(url.clone()),
            (None, Err(hint)) => problems.required(span.clone(), "git_url", None, Some(*hint)),
        };
        let own_place = derived.ok().map(|url| place_of(&url));
        let username = match (written_name, username) {
            (Some(name), _) => match refuses_user(name.get_ref()) {
                None => Some(name.into_inner()),
                Some(reason) => {
                    problems.push(name.span(), format!("`username` {reason}"), None);
                    None
                }
            },
            (None, Ok(name)) => Some(name),
            (None, Err(hint)) => problems.required(span, "username", None, Some(hint)),
        };
        let pushes = Pushes {
            events: events.map(Spanned::into_inner).unwrap_or_default(),
            objects: objects.is_some_and(Spanned::into_inner),
        };
        let url = url?;
        let elsewhere = own_place != Some(place_of(&url));
        Some(Some(OverGit { url, elsewhere, username: username?, pushes }))
    }
}

impl OverGit {
    /// The address, where nothing says that the repository there is the one that the API speaks of: then it is part of who
    /// the repository is.
    pub(in crate::provider) fn place_elsewhere(&self) -> Option<String> {
        self.elsewhere.then(|| place_of(&self.url))
    }
}

/// Server and path. With and without the ending is the same repository, with most servers and in every mind.
pub(in crate::provider) fn place_of(url: &Url) -> String {
    let place = server_of(url);
    place.strip_suffix(".git").unwrap_or(&place).to_owned()
}

/// Why a text cannot be a user's name in a login.
pub(in crate::provider) fn refuses_user(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        return Some("is empty");
    }
    name.contains(|character: char| character == ':' || character.is_control())
        .then_some("holds a colon or a control character, which no login over HTTP can carry")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_have_plain_names() {
        for good in ["git", "oauth2", "a b", "é@example.com", "tenant/user"] {
            assert_eq!(refuses_user(good), None, "{good}");
        }
        for bad in ["", "a:b", "a\n"] {
            assert!(refuses_user(bad).is_some(), "{bad:?}");
        }
    }
}
