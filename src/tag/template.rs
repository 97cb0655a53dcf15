//! Names made from a commit or a tag: `sha-{commit:12}`.

use std::fmt;

use super::{CommitId, TagName};

/// Digits of the longest id of a commit.
const LONGEST_ID: usize = 64;

/// What [`NameTemplate`] knows, as it stands between braces.
pub const PLACEHOLDERS: [&str; 3] = ["commit", "commit:N", "tag"];

/// A name with places for a commit id or a tag's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameTemplate {
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// So many of the id's first digits; `None` for all.
    Commit(Option<usize>),
    Tag,
}

/// The text is no template that could serve. No message quotes it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTemplate {
    /// A brace without its partner.
    #[error("a brace has no partner")]
    Unbalanced,
    /// Something else than [`PLACEHOLDERS`] in braces.
    #[error("there is no such placeholder")]
    Placeholder(String),
    /// `{commit:N}` with another number than there can be digits.
    #[error("a commit id has 1 to {LONGEST_ID} digits to choose from")]
    Digits,
    /// There is no placeholder, so that all tags would have one target.
    #[error("without a placeholder all tags would become one and the same")]
    Constant,
    /// Nothing but tag names, so that every name there could come from it.
    #[error("every name on the remote could come from it, so that none would be left to write")]
    Everything,
    /// git would not take what comes out.
    #[error("the names that it makes are none that git accepts")]
    Name,
}

impl NameTemplate {
    /// Reads a template.
    ///
    /// ```
    /// # use tagsyncd::tag::NameTemplate;
    /// assert!(NameTemplate::new("sha-{commit:12}").is_ok());
    /// assert!(NameTemplate::new("sha-{comit}").is_err());
    /// ```
    pub fn new(text: &str) -> Result<Self, InvalidTemplate> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, from) = rest.split_at(at);
            let (word, after) =
                from.strip_prefix('{').and_then(|from| from.split_once('}')).ok_or(InvalidTemplate::Unbalanced)?;
            if !before.is_empty() {
                pieces.push(Piece::Text(before.to_owned()));
            }
            pieces.push(placeholder(word)?);
            rest = after;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        if !pieces.iter().any(|piece| matches!(piece, Piece::Commit(_) | Piece::Tag)) {
            return Err(InvalidTemplate::Constant);
        }
        if pieces.iter().all(|piece| *piece == Piece::Tag) {
            return Err(InvalidTemplate::Everything);
        }
        let template = Self { pieces };
        // What is wrong with the name for plain values is wrong with it for all.
        let id = "a".repeat(LONGEST_ID);
        TagName::new(template.fill(b"x", Some(&id)).unwrap_or_default()).map_err(|_| InvalidTemplate::Name)?;
        Ok(template)
    }

    /// The name for a tag on a commit; an error says why there is none.
    pub fn name_for(&self, tag: &TagName, commit_id: Option<CommitId>) -> Result<TagName, String> {
        let commit_id = commit_id.map(|id| id.to_string());
        let name = self.fill(tag.as_bytes(), commit_id.as_deref())?;
        TagName::new(name).map_err(|fault| fault.to_string())
    }

    fn fill(&self, tag: &[u8], commit_id: Option<&str>) -> Result<Vec<u8>, String> {
        let mut name = Vec::new();
        for piece in &self.pieces {
            match (piece, commit_id) {
                (Piece::Text(text), _) => name.extend_from_slice(text.as_bytes()),
                (Piece::Tag, _) => name.extend_from_slice(tag),
                (Piece::Commit(_), None) => return Err("it points at no commit".to_owned()),
                (Piece::Commit(None), Some(id)) => name.extend_from_slice(id.as_bytes()),
                (Piece::Commit(Some(digits)), Some(id)) => {
                    let digits = id.get(..*digits).ok_or_else(|| format!("its commit id has no {digits} digits"))?;
                    name.extend_from_slice(digits.as_bytes());
                }
            }
        }
        Ok(name)
    }

    /// Whether this name could have been made by the template, from whatever tag and commit.
    pub fn can_make(&self, name: &TagName) -> bool {
        let name = name.as_bytes();
        // Up to where the pieces so far can reach.
        let mut reached = vec![0];
        for piece in &self.pieces {
            reached = reached.iter().flat_map(|&at| ends(piece, name, at)).collect();
            reached.sort_unstable();
            reached.dedup();
            // A tag's name of any length reaches everything behind the shortest of them.
            if *piece == Piece::Tag && !reached.is_empty() {
                reached = (reached[0]..=name.len()).collect();
            }
        }
        reached.last() == Some(&name.len())
    }
}

/// Where a piece that begins here can end; for a tag's name only the first place.
fn ends(piece: &Piece, name: &[u8], at: usize) -> Vec<usize> {
    let rest = &name[at..];
    let digits = |count: usize| {
        let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        rest.get(..count).is_some_and(|digits| digits.iter().all(is_digit)).then_some(at + count)
    };
    match piece {
        Piece::Text(text) => Vec::from_iter(rest.starts_with(text.as_bytes()).then_some(at + text.len())),
        Piece::Commit(Some(count)) => Vec::from_iter(digits(*count)),
        Piece::Commit(None) => [40, LONGEST_ID].into_iter().filter_map(digits).collect(),
        Piece::Tag => Vec::from_iter((!rest.is_empty()).then_some(at + 1)),
    }
}

fn placeholder(word: &str) -> Result<Piece, InvalidTemplate> {
    match word.split_once(':') {
        None if word == "commit" => Ok(Piece::Commit(None)),
        None if word == "tag" => Ok(Piece::Tag),
        Some(("commit", digits)) => {
            let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
            match digits.parse() {
                Ok(digits) if plain && (1..=LONGEST_ID).contains(&digits) => Ok(Piece::Commit(Some(digits))),
                Ok(_) | Err(_) => Err(InvalidTemplate::Digits),
            }
        }
        None | Some(_) => Err(InvalidTemplate::Placeholder(word.to_owned())),
    }
}

/// As it was written.
impl fmt::Display for NameTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pieces.iter().try_for_each(|piece| match piece {
            Piece::Text(text) => f.write_str(text),
            Piece::Commit(None) => f.write_str("{commit}"),
            Piece::Commit(Some(digits)) => write!(f, "{{commit:{digits}}}"),
            Piece::Tag => f.write_str("{tag}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const COMMIT: &str = "2695effb5807a22ff3d138d593fd856244e155e7";

    fn name(name: &str) -> TagName {
        TagName::new(name).unwrap()
    }

    fn made(template: &str, tag: &str) -> Result<String, String> {
        let template = NameTemplate::new(template).unwrap();
        template.name_for(&name(tag), Some(COMMIT.parse().unwrap())).map(|name| name.to_string())
    }

    #[test]
    fn names_are_made_from_commits_and_tags() {
        for (template, made_from_v1) in [
            ("sha-{commit:12}", "sha-2695effb5807"),
            ("{commit}", COMMIT),
            ("{commit:1}", "2"),
            ("{commit:40}", COMMIT),
            ("build/{tag}", "build/v1"),
            ("{tag}-{commit:7}", "v1-2695eff"),
        ] {
            assert_eq!(made(template, "v1").as_deref(), Ok(made_from_v1), "{template}");
        }
        assert_eq!(made("{commit:41}", "v1"), Err("its commit id has no 41 digits".to_owned()));
        assert!(made("x.{tag}", "lock").is_err());
        let template = NameTemplate::new("sha-{commit}").unwrap();
        assert_eq!(template.name_for(&name("v1"), None), Err("it points at no commit".to_owned()));
    }

    #[test]
    fn what_cannot_serve_is_refused() {
        use InvalidTemplate::{Constant, Digits, Everything, Name, Placeholder, Unbalanced};
        for (text, fault) in [
            ("", Constant),
            ("latest", Constant),
            ("{tag}", Everything),
            ("{tag}{tag}", Everything),
            ("{commit", Unbalanced),
            ("commit}", Unbalanced),
            ("{{commit}}", Placeholder("{commit".to_owned())),
            ("{comit}", Placeholder("comit".to_owned())),
            ("{}", Placeholder(String::new())),
            ("{Commit}", Placeholder("Commit".to_owned())),
            ("{tag:3}", Placeholder("tag:3".to_owned())),
            ("{commit:0}", Digits),
            ("{commit:65}", Digits),
            ("{commit:+7}", Digits),
            ("{commit: 7}", Digits),
            ("{commit:}", Digits),
            ("{commit:99999999999999999999999}", Digits),
            ("a b{commit}", Name),
            ("{commit}.lock", Name),
            ("/{commit}", Name),
        ] {
            assert_eq!(NameTemplate::new(text), Err(fault), "{text}");
        }
    }

    #[test]
    fn only_what_a_template_could_make_is_recognised() {
        let can_make = |template: &str, of: &str| NameTemplate::new(template).unwrap().can_make(&name(of));
        for (template, of, can) in [
            ("sha-{commit:12}", "sha-2695effb5807", true),
            ("sha-{commit:12}", "sha-2695effb580", false),
            ("sha-{commit:12}", "sha-2695effb58070", false),
            ("sha-{commit:12}", "sha-2695EFFB5807", false),
            ("sha-{commit:12}", "sha-latestimages", false),
            ("sha-{commit:12}", "2695effb5807", false),
            ("{commit}", COMMIT, true),
            ("{commit}", &COMMIT.repeat(2)[..64], true),
            ("{commit}", &COMMIT.repeat(2)[..41], false),
            ("build-{tag}", "build-x", true),
            ("build-{tag}", "build-", false),
            ("{tag}-{commit:2}", "a-b-00", true),
            ("{tag}-{commit:2}", "-00", false),
            ("{tag}-{tag}", "a-b-c", true),
            ("{tag}-{tag}", "abc-", false),
            ("{commit}{tag}", &format!("{COMMIT}x"), true),
        ] {
            assert_eq!(can_make(template, of), can, "{template} and {of}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_made_is_recognised(
            text in "([a-c{}-]|[{]commit[}]|[{]commit:[0-9]{1,2}[}]|[{]tag[}]){0,5}",
            tag in "[a-f0-9-]{1,6}",
            id in "[0-9a-f]{40}",
        ) {
            let Ok(template) = NameTemplate::new(&text) else { return Ok(()) };
            prop_assert_eq!(template.to_string(), text.replace("commit:0", "commit:"));
            if let Ok(made) = template.name_for(&name(&tag), id.parse().ok()) {
                prop_assert!(template.can_make(&made), "{} made {}", template, made);
            }
        }

        #[test]
        fn hostile_texts_do_no_harm(text in any::<String>(), tag in "[a-f0-9-]{1,300}") {
            if let Ok(template) = NameTemplate::new(&text) {
                template.can_make(&name(&tag));
            }
        }
    }
}
