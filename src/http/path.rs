//! URLs from segments: what is built is what is sent, byte for byte.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, percent_encode};
use url::Url;

/// All but the unreserved characters of RFC 3986, so that no two parsers can read a segment differently. And but the
/// colon, which any segment may hold: digests have one, and not every registry decodes (2026-11-21, all clients send it).
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b':');

/// Why a text cannot be one segment of a path; `None` when it can.
///
/// Encoding does not help a segment that reads as `..`: URL parsers treat `%2e%2e` the same, and a proxy may decode
/// twice. So the text is decoded until it no longer changes, and no stage may hold a step to another directory.
///
/// ```
/// # use tagsyncd::http::path_refuses;
/// assert_eq!(path_refuses(b"release/1.0"), None);
/// assert!(path_refuses(b"a/%252e%252e/b").is_some());
/// ```
pub fn refuses(segment: &[u8]) -> Option<&'static str> {
    if segment.is_empty() {
        return Some("it is empty");
    }
    let mut text = Cow::Borrowed(segment);
    loop {
        if text.split(|byte| matches!(byte, b'/' | b'\\')).any(|part| matches!(part, b"." | b"..")) {
            return Some("it reads as a step to another directory in a URL");
        }
        let decoded: Vec<u8> = percent_decode(&text).collect();
        if decoded.len() == text.len() {
            return None;
        }
        text = Cow::Owned(decoded);
    }
}

/// The base with segments and a query behind it. The reason when that URL would not be sent as it was built.
pub(super) fn build(base: &Url, segments: &[&str], query: &[(&str, &str)]) -> Result<Url, String> {
    let mut text = base.as_str().trim_end_matches('/').to_owned();
    for segment in segments {
        if let Some(reason) = refuses(segment.as_bytes()) {
            return Err(format!("`{}` cannot stand in a URL: {reason}", crate::text::excerpt(segment.as_bytes(), 200)));
        }
        text.push('/');
        text.extend(percent_encode(segment.as_bytes(), ENCODED));
    }
    for (at, (key, value)) in query.iter().enumerate() {
        text.push(if at == 0 { '?' } else { '&' });
        text.extend(percent_encode(key.as_bytes(), ENCODED));
        text.push('=');
        text.extend(percent_encode(value.as_bytes(), ENCODED));
    }
    match Url::parse(&text) {
        // The parser normalises; a change means that the server would be asked for something else.
        Ok(url) if url.as_str() == text => Ok(url),
        Ok(_) | Err(_) => Err("the URL would not be sent as it was built".into()),
    }
}

/// What of a base URL names the server, whatever the scheme: host, port unless it is the usual one, path prefix.
pub fn server_of(base: &Url) -> String {
    let port = base.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}{port}{}", base.host_str().unwrap_or_default(), base.path().trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_built_is_what_is_sent() {
        let base = Url::parse("https://git.example.com:8443/forge/api/v4/").unwrap();
        let path = |name: &str| build(&base, &["projects", "a/b", "tags", name], &[]).map(|url| url.path().to_owned());
        for (name, encoded) in [
            ("v1.0", "v1.0"),
            ("a/b", "a%2Fb"),
            ("é", "%C3%A9"),
            ("a?b#c;d", "a%3Fb%23c%3Bd"),
            ("a%2Fb", "a%252Fb"),
            ("+&=~_-!'()*", "%2B%26%3D~_-%21%27%28%29%2A"),
            ("...", "..."),
            ("<script>", "%3Cscript%3E"),
        ] {
            assert_eq!(path(name), Ok(format!("/forge/api/v4/projects/a%2Fb/tags/{encoded}")), "{name}");
        }
        assert_eq!(path(&"x".repeat(1024)).unwrap().len(), "/forge/api/v4/projects/a%2Fb/tags/".len() + 1024);
        for refused in ["", ".", "..", "%2e%2e", "%2E.", "%252e%252e", "a/../b", "a/%2e%2e", "a%2f..%2fb", "a\\..\\b"] {
            assert!(path(refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn a_query_is_encoded_once() {
        let base = Url::parse("https://git.example.com").unwrap();
        let url = build(&base, &["tags"], &[("page_token", "a b/é&c"), ("per_page", "100")]).unwrap();
        assert_eq!(url.as_str(), "https://git.example.com/tags?page_token=a%20b%2F%C3%A9%26c&per_page=100");
        assert!(build(&base, &[], &[]).is_err(), "a URL without segments is normalised");
    }
}
