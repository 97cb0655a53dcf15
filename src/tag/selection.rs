//! Which names a job is about.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use globset::{GlobBuilder, GlobMatcher};
use semver::{Version, VersionReq};

use super::TagName;

/// A pattern that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct InvalidPattern {
    /// Which pattern of the list, from 0.
    pub at: usize,
    /// What is wrong with it.
    pub reason: String,
}

/// The pattern of a list that decides about a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decisive<'a> {
    /// Which pattern of the list, from 0.
    pub at: usize,
    /// As it was written.
    pub text: &'a str,
    /// Whether it includes the name.
    pub includes: bool,
}

#[derive(Debug, Clone)]
struct Pattern {
    text: String,
    excludes: bool,
    glob: GlobMatcher,
}

/// Ordered globs on tag names; of those that match, the last decides. `*` stops at `/`, `**` does not; `!` excludes.
///
/// A list that begins with an exclusion begins with all names.
#[derive(Debug, Clone, Default)]
pub struct NamePatterns(Vec<Pattern>);

impl Pattern {
    /// The part before its first special character.
    fn literal_prefix(&self) -> &str {
        self.text.split(['*', '?', '[', '{', '\\']).next().unwrap_or_default()
    }
}

impl NamePatterns {
    /// Reads the globs in their order.
    pub fn new<S: AsRef<str>>(patterns: impl IntoIterator<Item = S>) -> Result<Self, InvalidPattern> {
        patterns
            .into_iter()
            .enumerate()
            .map(|(at, text)| {
                let text = text.as_ref();
                let invalid = |reason: String| InvalidPattern { at, reason };
                let (excludes, glob) = text.strip_prefix('!').map_or((false, text), |rest| (true, rest));
                if glob.is_empty() {
                    return Err(invalid("the pattern is empty".into()));
                }
                let glob = GlobBuilder::new(&spread(glob))
                    .literal_separator(true)
                    .backslash_escape(true)
                    .build()
                    .map_err(|fault| invalid(fault.kind().to_string()))?
                    .compile_matcher();
                Ok(Pattern { text: text.into(), excludes, glob })
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// The pattern that decides about a name; `None` when none matches.
    pub fn decide(&self, name: &TagName) -> Option<Decisive<'_>> {
        let path = Path::new(OsStr::from_bytes(name.as_bytes()));
        let (at, pattern) = self.0.iter().enumerate().rev().find(|(_, pattern)| pattern.glob.is_match(path))?;
        Some(Decisive { at, text: &pattern.text, includes: !pattern.excludes })
    }

    /// Whether the list includes the name. An empty one includes none.
    pub fn matches(&self, name: &TagName) -> bool {
        self.decide(name).map_or_else(|| self.starts_with_exclusion(), |decisive| decisive.includes)
    }

    /// What every included name begins with: of a single including pattern, the part before its first special character.
    pub fn literal_prefix(&self) -> &str {
        match self.0.as_slice() {
            [only] if !only.excludes => only.literal_prefix(),
            _ => "",
        }
    }

    /// What every name begins with that is selected by this list: one of these. An empty list selects all.
    pub fn literal_prefixes(&self) -> impl Iterator<Item = &str> {
        let of_all = self.is_empty() || self.starts_with_exclusion();
        let including = self.0.iter().filter(move |pattern| !of_all && !pattern.excludes);
        including.map(Pattern::literal_prefix).chain(of_all.then_some(""))
    }

    /// The patterns as they were written, in their order.
    pub fn texts(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.iter().map(|pattern| pattern.text.as_str())
    }

    /// Whether no pattern was given.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the first pattern takes names away, so that the list starts from all names.
    fn starts_with_exclusion(&self) -> bool {
        self.0.first().is_some_and(|first| first.excludes)
    }
}

/// The glob crate gives `**` its meaning only as a whole path component. Inside one (`v**`) it has to stand for
/// "anything, slashes too", which is: the rest of this component, or that, any directories, and a last component.
fn spread(glob: &str) -> String {
    let mut spread = String::with_capacity(glob.len());
    let mut rest = glob;
    let mut in_class = false;
    while let Some(character) = rest.chars().next() {
        let starts_component = spread.is_empty() || spread.ends_with('/');
        if !in_class && rest.starts_with("**") {
            let after = rest.trim_start_matches('*');
            let ends_component = after.is_empty() || after.starts_with('/');
            spread.push_str(if starts_component && ends_component { "**" } else { "{*,*/**/*}" });
            rest = after;
            continue;
        }
        let escaped = if character == '\\' { rest.chars().nth(1).map_or(0, char::len_utf8) } else { 0 };
        match character {
            '[' => in_class = true,
            ']' => in_class = false,
            _ => {}
        }
        let (taken, after) = rest.split_at(character.len_utf8() + escaped);
        spread.push_str(taken);
        rest = after;
    }
    spread
}

/// The names in scope: what the globs select and, where a version range is given, what it contains.
///
/// What is out of scope is invisible on all three sides.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// `tags` of the job; empty selects all.
    pub patterns: NamePatterns,
    /// `semver` of the job.
    pub versions: Option<VersionReq>,
}

impl Selection {
    /// Whether a source name is in scope.
    pub fn includes(&self, name: &TagName) -> bool {
        (self.patterns.is_empty() || self.patterns.matches(name))
            && self.versions.as_ref().is_none_or(|range| version(name).is_some_and(|version| range.matches(&version)))
    }
}

/// The version that a tag names: `1.2.3` or `v1.2.3`.
fn version(name: &TagName) -> Option<Version> {
    let name = name.as_str()?;
    Version::parse(name.strip_prefix('v').unwrap_or(name)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> TagName {
        TagName::new(name).unwrap()
    }

    #[test]
    fn the_last_matching_pattern_decides() {
        let patterns = NamePatterns::new(["v*", "!v*-rc*", "v2.0.0-rc1"]).unwrap();
        for (tag, included) in [("v1", true), ("v1-rc1", false), ("v2.0.0-rc1", true), ("x", false)] {
            assert_eq!(patterns.matches(&name(tag)), included, "{tag}");
        }
        assert_eq!(patterns.decide(&name("v1-rc1")), Some(Decisive { at: 1, text: "!v*-rc*", includes: false }));
    }

    #[test]
    fn one_star_stops_at_a_slash_and_two_do_not() {
        for (glob, tag, matched) in [
            ("v*", "v1/2", false),
            ("v**", "v1/2", true),
            ("v**", "v1", true),
            ("v**", "v", true),
            ("**-rc", "a/b-rc", true),
            ("**-rc", "b-rc", true),
            ("a**z", "ab/c/yz", true),
            ("a**z", "ab/c/y", false),
            ("**", "a/b", true),
            ("*", "a/b", false),
            ("release/*", "release/1", true),
            ("release/*", "release/1/2", false),
            ("release/**", "release/1/2", true),
            ("**/x", "x", true),
            ("v[0-9]*.[0-9]*", "v1.2", true),
            ("v[*]", "v1", false),
            ("v?", "v/", false),
            ("v{1,2}", "v2", true),
            ("-*", "-x", true),
        ] {
            let Ok(tag_name) = TagName::new(tag) else { continue };
            assert_eq!(NamePatterns::new([glob]).unwrap().matches(&tag_name), matched, "{glob} on {tag}");
        }
        assert!(NamePatterns::new(["v*"]).unwrap().matches(&TagName::new(b"v\xff").unwrap()));
        assert_eq!(NamePatterns::new(["ok", "v["]).unwrap_err().at, 1);
    }

    #[test]
    fn a_single_pattern_may_say_how_names_begin() {
        for (patterns, prefix) in [
            (&["v1.*"][..], "v1."),
            (&["release/{a,b}"], "release/"),
            (&["*-rc"], ""),
            (&["v1"], "v1"),
            (&["a\\*b"], "a"),
            (&["!v*"], ""),
            (&["v*", "x*"], ""),
            (&[], ""),
        ] {
            assert_eq!(NamePatterns::new(patterns).unwrap().literal_prefix(), prefix, "{patterns:?}");
        }
    }

    #[test]
    fn a_list_that_starts_with_an_exclusion_starts_from_all() {
        let patterns = NamePatterns::new(["!*-rc*"]).unwrap();
        assert!(patterns.matches(&name("v1")) && !patterns.matches(&name("v1-rc1")));
        assert!(!NamePatterns::default().matches(&name("v1")), "no pattern, nothing protected");
        let selection = Selection { patterns, versions: None };
        assert!(selection.includes(&name("v1")) && !selection.includes(&name("v1-rc1")));
        assert!(Selection::default().includes(&name("anything/at/all")));
    }

    #[test]
    fn a_version_range_drops_what_is_no_version() {
        let selection = Selection { patterns: NamePatterns::default(), versions: Some(">=1.0.0".parse().unwrap()) };
        for (tag, included) in [
            ("v1.0.0", true),
            ("1.2.3", true),
            ("v0.9.0", false),
            ("v1.0", false),
            ("nightly", false),
            ("v2.0.0-rc.1", false),
        ] {
            assert_eq!(selection.includes(&name(tag)), included, "{tag}");
        }
    }
}
