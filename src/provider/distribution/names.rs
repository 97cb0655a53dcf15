//! What tags, images and the hosts of token servers may be called.

use toml::Spanned;
use url::Url;

use crate::config::Problems;
use crate::provider::{Fault, FaultKind};
use crate::tag::TagName;

/// Why a registry cannot have a tag of this name: `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`.
pub(in crate::provider) fn refuses_name(name: &TagName) -> Option<&'static str> {
    let bytes = name.as_bytes();
    let inner = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    if bytes.contains(&b'/') {
        return Some("names in a registry have no slash; `replace` can map it");
    }
    if bytes.contains(&b'+') {
        return Some("names in a registry have no `+`; `replace` can map it");
    }
    if !bytes.iter().all(inner) {
        return Some("names in a registry have only ASCII letters, digits, `_`, `.` and `-`");
    }
    if matches!(bytes.first(), Some(b'.' | b'-')) {
        return Some("names in a registry begin with a letter, a digit or `_`");
    }
    (bytes.len() > 128).then_some("names in a registry have at most 128 characters")
}

/// The rule of [`refuses_name`] in words.
pub(in crate::provider) const NAMES: &str =
    "ASCII letters, digits, `_`, `.` and `-`, not beginning with `.` or `-`, at most 128";

/// Why a text cannot be the name of an image: parts of lower-case letters, digits and separators, with slashes between.
pub(in crate::provider) fn image_refuses(image: &str) -> Option<&'static str> {
    if image.is_empty() {
        return Some("is empty");
    }
    if image.contains("://") {
        return Some("is an address; the host belongs into `registry`");
    }
    if image.contains('@') || image.contains(':') {
        return Some("names a tag or a digest, and has to be without");
    }
    if image.starts_with('/') || image.ends_with('/') || image.contains("//") {
        return Some("has an empty part");
    }
    let fits = |part: &str| {
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'.' | b'-');
        let edge = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        part.bytes().all(inner) && edge(part.as_bytes().first()) && edge(part.as_bytes().last())
    };
    if !image.split('/').all(fits) {
        return Some(
            "has to be lower-case letters and digits, with `_`, `.` and `-` between them, in parts separated by `/`",
        );
    }
    (image.len() > 255).then_some("is longer than 255 characters")
}

/// The host of `realm`, which may receive a registry's login; a problem where it is none.
pub(in crate::provider) fn read_realm(realm: &Spanned<String>, problems: &mut Problems) -> Option<String> {
    let host = realm_of(realm.get_ref());
    if host.is_none() {
        let hint = "the host alone, like \"auth.example.com\", with its port unless that is the usual one";
        problems.push(realm.span(), "`realm` is not the name of a host", Some(hint));
    }
    host
}

/// The host, with a port, as URLs write it. `None` where the text is something else.
fn realm_of(text: &str) -> Option<String> {
    let fits = |character: char| character.is_ascii_alphanumeric() || ".-:[]".contains(character);
    if !text.chars().all(fits) {
        return None;
    }
    let url: Url = format!("https://{text}/").parse().ok()?;
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let host = format!("{}{port}", url.host_str()?);
    // What the parser repairs or takes for something else is not meant.
    let usual = text.strip_suffix(":443").unwrap_or(text);
    usual.eq_ignore_ascii_case(&host).then_some(host)
}

/// The name as it stands in a path.
pub(super) fn text(name: &TagName) -> Result<&str, Fault> {
    match (refuses_name(name), name.as_str()) {
        (None, Some(text)) => Ok(text),
        (Some(reason), _) => Err(Fault::new(FaultKind::NotSent, format!("`{name}` cannot be in a registry: {reason}"))),
        (None, None) => Err(Fault::new(FaultKind::NotSent, format!("`{name}` is not text"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_a_registry_cannot_hold() {
        let refuses = |name: &str| refuses_name(&TagName::new(name).unwrap());
        for good in ["v1.0.0", "_x", "1", "a..b".replace("..", ".").as_str(), "A-b_c.d", &"x".repeat(128)] {
            assert_eq!(refuses(good), None, "{good}");
        }
        for bad in ["a/b", "v1+b", "-x", "é", "%2e%2e", "a%b", "a@b", &"x".repeat(129)] {
            assert!(refuses(bad).is_some(), "{bad}");
        }
        assert!(refuses("a/b").unwrap().contains("replace") && refuses("v1+2").unwrap().contains("replace"));
    }

    #[test]
    fn images_are_lower_case_paths() {
        for good in ["app", "team/app", "team-slug/project.slug/core_1", "a--b/c"] {
            assert_eq!(image_refuses(good), None, "{good}");
        }
        for bad in ["", "/a", "a/", "a//b", "A/b", "a/../b", "a:1", "a@sha256:0", "https://x/y", "-a", "a b", "é"] {
            assert!(image_refuses(bad).is_some(), "{bad}");
        }
    }

    #[test]
    fn a_realm_is_a_host_and_nothing_more() {
        for (written, host) in [
            ("auth.docker.io", "auth.docker.io"),
            ("Auth.Example.com", "auth.example.com"),
            ("auth.example.com:5001", "auth.example.com:5001"),
            ("auth.example.com:443", "auth.example.com"),
            ("127.0.0.1:80", "127.0.0.1:80"),
            ("[::1]:5000", "[::1]:5000"),
        ] {
            assert_eq!(realm_of(written).as_deref(), Some(host), "{written}");
        }
        for bad in
            ["", "https://auth.example.com", "auth.example.com/token", "user@auth.example.com", "a b", "a?b", "*"]
        {
            assert_eq!(realm_of(bad), None, "{bad}");
        }
    }
}
