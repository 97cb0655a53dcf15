//! What a 401 asks for: challenges in `WWW-Authenticate` (2026-11-21,
//! <https://www.rfc-editor.org/rfc/rfc9110#section-11.6.1>).

use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};

/// The most that one header may hold. Real ones have a few hundred bytes.
const LONGEST: usize = 8 * 1024;

/// One way to authenticate that a server offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Challenge {
    /// In lower case.
    scheme: String,
    /// Names in lower case, each once; values without quotes.
    parameters: Vec<(String, String)>,
}

impl Challenge {
    /// `scheme` in lower case.
    pub(super) fn is(&self, scheme: &str) -> bool {
        self.scheme == scheme
    }

    /// `name` in lower case.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Whether the credential was understood and does not reach far enough (2026-11-21,
    /// <https://www.rfc-editor.org/rfc/rfc6750#section-3.1>).
    pub(super) fn lacks_scope(&self) -> bool {
        self.is("bearer") && self.get("error") == Some("insufficient_scope")
    }
}

/// All challenges of an answer. A header that cannot be read offers nothing.
pub(super) fn challenges(headers: &HeaderMap) -> Vec<Challenge> {
    let texts =
        headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|header| std::str::from_utf8(header.as_bytes()).ok());
    texts.filter_map(parse).flatten().collect()
}

/// The challenges of one header; `None` when it is not well formed.
fn parse(header: &str) -> Option<Vec<Challenge>> {
    if header.len() > LONGEST || header.contains(|character: char| character.is_control() && character != '\t') {
        return None;
    }
    let mut challenges = Vec::new();
    let mut rest = separated(header);
    while !rest.is_empty() {
        let (scheme, after) = token(rest)?;
        let mut challenge = Challenge { scheme: scheme.to_ascii_lowercase(), parameters: Vec::new() };
        // Space before what belongs to the scheme, a comma before the next one.
        rest = match after.strip_prefix([' ', '\t']) {
            Some(after) => arguments(&mut challenge, skip_space(after))?,
            None if after.is_empty() || after.starts_with(',') => after,
            None => return None,
        };
        challenges.push(challenge);
        rest = separated(rest);
    }
    Some(challenges)
}

/// Reads what follows a scheme, and gives what follows that: nothing, or the next challenge.
fn arguments<'a>(challenge: &mut Challenge, text: &'a str) -> Option<&'a str> {
    if let Some(after) = opaque(text) {
        return Some(after);
    }
    let mut rest = text;
    loop {
        let begin = separated(rest);
        if begin.is_empty() {
            return Some(begin);
        }
        let (name, after) = token(begin)?;
        let Some(after) = skip_space(after).strip_prefix('=') else { return Some(begin) };
        let (value, after) = value(skip_space(after))?;
        let name = name.to_ascii_lowercase();
        // Two readers could choose two different ones.
        if challenge.get(&name).is_some() {
            return None;
        }
        challenge.parameters.push((name, value));
        rest = skip_space(after);
        if !rest.is_empty() && !rest.starts_with(',') {
            return None;
        }
    }
}

/// What follows a `token68`, when there is one, as in `Negotiate oRQwEqADCgEBo==`.
fn opaque(text: &str) -> Option<&str> {
    let inside = |character: char| character.is_ascii_alphanumeric() || "-._~+/".contains(character);
    let after = text.trim_start_matches(inside);
    if after.len() == text.len() {
        return None;
    }
    let after = skip_space(after.trim_start_matches('='));
    (after.is_empty() || after.starts_with(',')).then_some(after)
}

/// A token, which has at least one character, and what follows it.
fn token(text: &str) -> Option<(&str, &str)> {
    let inside = |character: char| character.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(character);
    let (token, after) = text.split_at(text.find(|character| !inside(character)).unwrap_or(text.len()));
    (!token.is_empty()).then_some((token, after))
}

/// A token or a quoted string, and what follows it.
fn value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        return token(text).map(|(value, after)| (value.to_owned(), after));
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

fn skip_space(text: &str) -> &str {
    text.trim_start_matches([' ', '\t'])
}

/// What follows white space and any number of commas.
fn separated(text: &str) -> &str {
    text.trim_start_matches([' ', '\t', ','])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(header: &str) -> Option<String> {
        let show = |challenge: &Challenge| {
            let parameters = challenge.parameters.iter().map(|(name, value)| format!(" {name}={value:?}"));
            format!("{}{}", challenge.scheme, parameters.collect::<String>())
        };
        Some(parse(header)?.iter().map(show).collect::<Vec<_>>().join("; "))
    }

    #[test]
    fn challenges_are_read_in_all_their_forms() {
        for (header, expected) in [
            ("", ""),
            (" , ,", ""),
            ("Basic", "basic"),
            ("BASIC realm=\"x\"", "basic realm=\"x\""),
            (
                "Bearer realm=\"https://auth.docker.io/token\",service=\"registry.docker.io\",scope=\"repository:samalba/my-app:pull,push\"",
                "bearer realm=\"https://auth.docker.io/token\" service=\"registry.docker.io\" scope=\"repository:samalba/my-app:pull,push\"",
            ),
            ("bearer Realm = \"a\\\"b\\\\c\" ,, foo=bar ,", "bearer realm=\"a\\\"b\\\\c\" foo=\"bar\""),
            (
                "Newauth realm=\"apps\", type=1, title=\"Login to \\\"apps\\\"\", Basic realm=\"simple\"",
                "newauth realm=\"apps\" type=\"1\" title=\"Login to \\\"apps\\\"\"; basic realm=\"simple\"",
            ),
            ("Negotiate, Basic realm=\"\"", "negotiate; basic realm=\"\""),
            ("Negotiate oRQ/EqADCg==, Bearer realm=\"r\"", "negotiate; bearer realm=\"r\""),
            ("Basic charset=\"UTF-8\", Basic realm=x", "basic charset=\"UTF-8\"; basic realm=\"x\""),
            ("Bearer\trealm=\"a, b=c, Basic d\"", "bearer realm=\"a, b=c, Basic d\""),
            ("Bearer realm=\"é\"", "bearer realm=\"é\""),
        ] {
            assert_eq!(shown(header).as_deref(), Some(expected), "{header}");
        }
    }

    #[test]
    fn what_is_not_well_formed_offers_nothing() {
        let many: String = (0..10_000).map(|at| format!("p{at}=x,")).collect();
        for header in [
            "Bearer realm=\"https://a.example.com",
            "Bearer realm=\"a\\",
            "Bearer realm=\"a\" service=\"b\"",
            "Bearer realm=\"a\"service=\"b\"",
            "Bearer realm=\"a\", realm=\"b\"",
            "Bearer realm=\"a\", REALM=\"a\"",
            "Bearer realm=\"a\r\nX: y\"",
            "Bearer realm=\"a\0\"",
            "Bearer realm=\"\x7f\"",
            "Bearer =\"a\"",
            "Bearer realm=\"a\", =b",
            "Bearer realm=\"a\", b=",
            "\"Bearer\" realm=a",
            "Bearer;realm=a",
            "Bear\u{e9}r realm=a",
            &format!("Bearer {many}"),
        ] {
            assert_eq!(shown(header), None, "{header}");
        }
    }

    #[test]
    fn each_header_stands_for_itself() {
        let mut headers = HeaderMap::new();
        for text in ["Bearer realm=\"open", "Basic realm=\"x\"", "Bearer realm=\"y\", Digest nonce=z"] {
            headers.append(WWW_AUTHENTICATE, text.parse().unwrap());
        }
        let found = challenges(&headers);
        assert_eq!(found.iter().map(|found| found.scheme.as_str()).collect::<Vec<_>>(), ["basic", "bearer", "digest"]);
    }

    proptest! {
        #[test]
        fn no_header_is_too_strange(header in ".{0,300}", close in "[ -~\\t]{0,60}") {
            let _any = parse(&header);
            let _close = parse(&format!("Bearer {close}"));
            let _closer = parse(&format!("Bearer realm=\"a\",{close}, Basic"));
        }

        #[test]
        fn what_was_quoted_is_read_back(values in proptest::collection::vec("[ -~]{0,40}", 1..6)) {
            let quoted = |value: &String| format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""));
            let parameters: Vec<_> = values.iter().enumerate().map(|(at, value)| format!("p{at}={}", quoted(value))).collect();
            let found = parse(&format!("Negotiate, Bearer {}", parameters.join(", "))).unwrap();
            let read: Vec<_> = found[1].parameters.iter().map(|(_, value)| value.clone()).collect();
            prop_assert_eq!(read, values);
        }
    }
}
