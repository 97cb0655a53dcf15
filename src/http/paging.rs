//! `Link` headers: the next page, and the proof that following it stays where it should and comes to an end.

use std::collections::HashSet;

use reqwest::header::LINK;
use url::Url;

use super::{Fault, Reply};

/// The most pages that a listing may have.
const PAGES: usize = 10_000;

/// The query of the next page. Nothing else of a link is ever used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextPage(Vec<(String, String)>);

impl NextPage {
    /// A parameter, decoded.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// All parameters in their order, decoded: for servers whose cursors have names of their own.
    pub fn parameters(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// The pages that a listing has come by, so that it cannot run in a circle or for ever.
#[derive(Debug, Default)]
pub struct Trail(HashSet<String>);

impl Trail {
    /// At the first page.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Reply {
    /// The page that a `Link` header names as next. A link that leads away from the configured base is refused.
    pub fn next_page(&self) -> Result<Option<NextPage>, Fault> {
        let mut next: Option<Url> = None;
        for header in self.headers.get_all(LINK) {
            let unreadable = || self.unusable(&format!("has an unreadable Link header: `{}`", self.show(header)));
            let links = std::str::from_utf8(header.as_bytes()).ok().and_then(links).ok_or_else(unreadable)?;
            for link in links.iter().filter(|link| link.leads_to("next")) {
                let url = self.question.url.join(link.target).map_err(|_| unreadable())?;
                if !self.question.base_holds(&url) {
                    let to = self.quote(url.host_str().unwrap_or(url.scheme()));
                    let refused = self.unusable(&format!("names a next page on {to}; refused to follow it there"));
                    return Err(refused.hint("the server's own external address must be the one in `url`"));
                }
                if next.as_ref().is_some_and(|other| *other != url) {
                    return Err(self.unusable("names two different next pages"));
                }
                next = Some(url);
            }
        }
        Ok(next.map(|url| NextPage(url.query_pairs().into_owned().collect())))
    }

    /// Notes that this answer leads on to `cursor`. Being led there a second time, or too often at all, is a fault.
    pub fn leads_to(&self, trail: &mut Trail, cursor: &str) -> Result<(), Fault> {
        if trail.0.len() >= PAGES {
            return Err(self.unusable(&format!("is page {PAGES} and names yet another one")));
        }
        if !trail.0.insert(cursor.to_owned()) {
            let cursor = self.quote(cursor);
            return Err(self.unusable(&format!("leads in a circle: the page at `{cursor}` comes a second time")));
        }
        Ok(())
    }

    fn show(&self, header: &reqwest::header::HeaderValue) -> String {
        self.question.quote(header.as_bytes())
    }
}

impl super::reply::Question {
    /// Whether a URL has the configured scheme, host and port, and lies under its path.
    fn base_holds(&self, url: &Url) -> bool {
        let prefix = self.base.path().trim_end_matches('/');
        let under = url.path().strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        url.origin() == self.base.origin() && url.username().is_empty() && url.password().is_none() && under
    }
}

/// One link of a header (RFC 8288).
#[derive(Debug, PartialEq, Eq)]
struct Link<'a> {
    target: &'a str,
    parameters: Vec<(&'a str, String)>,
}

impl Link<'_> {
    /// Whether it has this relation. Only the first `rel` counts, and it may hold several words.
    fn leads_to(&self, relation: &str) -> bool {
        let rel = self.parameters.iter().find(|(name, _)| name.eq_ignore_ascii_case("rel"));
        rel.is_some_and(|(_, value)| value.split_ascii_whitespace().any(|word| word.eq_ignore_ascii_case(relation)))
    }
}

/// The links of one header; `None` when it is not well formed.
fn links(header: &str) -> Option<Vec<Link<'_>>> {
    let mut links = Vec::new();
    let mut rest = skip(header, ",");
    while !rest.is_empty() {
        let (target, after) = rest.strip_prefix('<')?.split_once('>')?;
        let mut parameters = Vec::new();
        rest = after.trim_start();
        while let Some(after) = rest.strip_prefix(';') {
            let after = skip(after, ";");
            let (name, after) = after.split_at(after.find(['=', ';', ',']).unwrap_or(after.len()));
            let (value, after) = match after.strip_prefix('=') {
                Some(after) => value(after.trim_start())?,
                None => (String::new(), after),
            };
            parameters.push((name.trim(), value));
            rest = after.trim_start();
        }
        links.push(Link { target, parameters });
        if !rest.is_empty() && !rest.starts_with(',') {
            return None;
        }
        rest = skip(rest, ",");
    }
    Some(links)
}

/// What follows white space and any number of separators.
fn skip<'a>(text: &'a str, separator: &str) -> &'a str {
    text.trim_start_matches(|character: char| character.is_ascii_whitespace() || separator.contains(character))
}

/// A parameter's value, quoted or not, and what follows it.
fn value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([';', ',']).unwrap_or(text.len());
        return Some((text[..end].trim().to_owned(), &text[end..]));
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &quoted[at + 1..])),
            '\\' => value.push(characters.next()?.1),
            _ => value.push(character),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use reqwest::StatusCode;
    use reqwest::header::{HeaderMap, HeaderValue};

    use super::super::reply::Question;
    use super::super::retry::Effect;
    use super::*;
    use crate::http::{Authorization, FaultKind};

    fn reply(lines: &[&'static str]) -> Reply {
        let base: Url = "https://git.example.com/forge/api/v4".parse().unwrap();
        let url = base.join("/forge/api/v4/projects/1/tags?page=1").unwrap();
        let authorization = Authorization::default();
        let question = Question { purpose: "list the tags", effect: Effect::Read, url, base, authorization };
        let headers: HeaderMap = lines.iter().map(|line| (LINK, HeaderValue::from_static(line))).collect();
        Reply { question, status: StatusCode::OK, headers, body: Bytes::new(), wait: None }
    }

    fn cursor(lines: &[&'static str]) -> Result<Option<String>, Fault> {
        Ok(reply(lines).next_page()?.and_then(|next| next.get("t").map(str::to_owned)))
    }

    #[test]
    fn the_next_page_is_found_wherever_it_stands() {
        let found = Ok(Some("a b".to_owned()));
        for lines in [
            &["<https://git.example.com/forge/api/v4/x?t=a%20b>; rel=\"next\""] as &[_],
            &["<https://git.example.com:443/forge/api/v4/x?t=a+b>;rel=next"],
            &["<?t=a+b>; REL=\"last Next\"; title=\"a, \\\"b\\\"; <c>; rel=prev\""],
            &["</forge/api/v4/projects?t=a+b> ; title=x ; rel=next , <?t=c>; rel=last"],
            &[", <?t=0>; rel=first,, <?t=a+b>; rel=\"next\" ,"],
            &["<?t=0>; rel=first", "<?t=a+b>; crossorigin; rel=next"],
        ] {
            assert_eq!(cursor(lines), found, "{lines:?}");
        }
        for lines in [&[] as &[_], &[""], &["<?t=1>"], &["<?t=1>; rel=prev"], &["<?t=1>; rel=prev; rel=next"]] {
            assert_eq!(cursor(lines), Ok(None), "{lines:?}");
        }
    }

    #[test]
    fn a_link_that_leads_away_is_refused() {
        for line in [
            "<https://evil.example.com/forge/api/v4/x?t=1>; rel=next",
            "<http://git.example.com/forge/api/v4/x?t=1>; rel=next",
            "<https://git.example.com:8443/forge/api/v4/x?t=1>; rel=next",
            "<https://user@git.example.com/forge/api/v4/x?t=1>; rel=next",
            "<https://git.example.com/other?t=1>; rel=next",
            "<https://git.example.com/forge/api/v4evil?t=1>; rel=next",
            "<https://git.example.com/forge/api/v4/../../x?t=1>; rel=next",
            "<//169.254.169.254/forge/api/v4?t=1>; rel=next",
            "<file:///forge/api/v4?t=1>; rel=next",
        ] {
            let fault = cursor(&[line]).unwrap_err();
            assert_eq!(fault.kind, FaultKind::Unreadable);
            assert!(fault.message.contains("refused to follow"), "{fault}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_no_end_of_the_listing() {
        for lines in [
            &["?t=1; rel=next"] as &[_],
            &["<?t=1; rel=next"],
            &["<?t=1>; rel=\"next"],
            &["<?t=1> rel=next"],
            &["<https://[>; rel=next"],
            &["<?t=1>; rel=next, <?t=2>; rel=next"],
        ] {
            assert_eq!(cursor(lines).unwrap_err().kind, FaultKind::Unreadable, "{lines:?}");
        }
    }

    #[test]
    fn a_circle_is_noticed() {
        let (reply, mut trail) = (reply(&[]), Trail::new());
        assert_eq!(reply.leads_to(&mut trail, "a"), Ok(()));
        assert_eq!(reply.leads_to(&mut trail, "b"), Ok(()));
        assert!(reply.leads_to(&mut trail, "a").unwrap_err().message.contains("circle"));
    }
}
