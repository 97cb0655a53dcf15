//! What is wrong with a file, where, and what to do about it.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};
use url::Url;

use crate::http::is_loopback;
use crate::text::{Printable, excerpt};

/// How much of one source line is shown.
const EXCERPT_BYTES: usize = 160;

/// Nobody reads more; the file is something else than a configuration.
const MOST: usize = 1000;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where, in bytes of the file.
    pub span: Range<usize>,
    /// What, in one sentence without a full stop; never with the text of a value that might be a secret.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// Whether the text at the span may be shown although it is a value.
    shows_value: bool,
}

/// Everything that is wrong, collected while the file is read.
#[derive(Debug, Default)]
pub struct Problems {
    list: Vec<Problem>,
    /// Keys, by the span of their table, that were there but had a problem of their own: they are not missing.
    spoiled: Vec<(Range<usize>, String)>,
}

impl Problems {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a problem. The source line is shown with all values hidden; neither text may hold a value that could be secret.
    pub fn push(&mut self, span: Range<usize>, message: impl Into<String>, hint: Option<&str>) {
        self.add(span, message.into(), hint, false);
    }

    /// Adds a problem with a value that is no secret, so that the source line may show it.
    pub(super) fn push_showing(&mut self, span: Range<usize>, message: impl Into<String>, hint: Option<&str>) {
        self.add(span, message.into(), hint, true);
    }

    fn add(&mut self, span: Range<usize>, message: String, hint: Option<&str>, shows_value: bool) {
        if self.list.len() < MOST {
            self.list.push(Problem { span, message, hint: hint.map(str::to_owned), shows_value });
        }
    }

    /// Takes over what another reading of the same file found, without what is known already: a remote that serves
    /// several repositories is read once for each.
    pub(super) fn absorb(&mut self, other: Self) {
        for problem in other.list {
            if self.list.len() < MOST && !self.list.contains(&problem) {
                self.list.push(problem);
            }
        }
    }

    /// How many there are so far.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there are none so far.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The problems in the order in which they were found.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.list.iter()
    }

    /// Passes a value on; a missing one is a problem, unless the key was there and is itself the problem.
    pub fn required<T>(&mut self, table: Range<usize>, key: &str, value: Option<T>, hint: Option<&str>) -> Option<T> {
        if value.is_none() && !self.is_spoiled(&table, key) {
            self.push(table, format!("`{key}` is missing"), hint);
        }
        value
    }

    /// Reads a base URL: full, perhaps with a path prefix, without user, query or fragment. Plain HTTP only to this
    /// very host, unless allowed. Slashes at the end of the path prefix are dropped (an empty prefix remains `/`).
    pub fn base_url(&mut self, value: Option<&Spanned<String>>, default: &str, allow_http: bool) -> Option<Url> {
        let Some(written) = value else {
            return Url::parse(default).ok();
        };
        match base_url(written.get_ref(), allow_http) {
            Ok(url) => Some(url),
            Err((message, hint)) => {
                self.push(written.span(), message, Some(hint));
                None
            }
        }
    }

    /// Remembers that a key is there, though without a usable value.
    pub(super) fn spoil(&mut self, table: Range<usize>, key: String) {
        self.spoiled.push((table, key));
    }

    /// Whether a key is there without a usable value, so that its absence needs no second problem.
    pub(super) fn is_spoiled(&self, table: &Range<usize>, key: &str) -> bool {
        self.spoiled.iter().any(|(of, spoiled)| of == table && spoiled == key)
    }

    /// The problems as an error about `source`, in the order of the file.
    pub(super) fn into_fault(self, source: &Arc<Source>) -> ConfigFault {
        let mut problems = self.list;
        problems.sort_by(|one, other| (one.span.start, &one.message).cmp(&(other.span.start, &other.message)));
        ConfigFault::Invalid { source: Arc::clone(source), problems }
    }
}

/// What a URL has to look like.
const FORM: &str = "write a full URL, like \"https://git.example.com\" or \"https://example.com/prefix\"";

/// Reads a URL that is used as it stands, perhaps with a query. Plain HTTP only to this very host.
pub(super) fn address(text: &str) -> Result<Url, (&'static str, &'static str)> {
    let url = full_url(text)?;
    if url.fragment().is_some() {
        return Err(("an address that is called has no fragment", FORM));
    }
    if url.scheme() == "http" && !is_loopback(&url) {
        return Err(("plain HTTP would send it in the clear", "use https"));
    }
    Ok(url)
}

fn full_url(text: &str) -> Result<Url, (&'static str, &'static str)> {
    let lower = text.to_ascii_lowercase();
    // The URL parser repairs what it can (`https:host`, tabs, backslashes); a configuration says what it means.
    if !(lower.starts_with("https://") || lower.starts_with("http://"))
        || text.chars().any(|character| character.is_whitespace() || character.is_control() || character == '\\')
    {
        return Err(("this is not a full http or https URL", FORM));
    }
    let url = Url::parse(text).map_err(|_| ("this is not a full http or https URL", FORM))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err((
            "a URL must not carry a user or a password",
            "take them out; credentials have keys of their own, which read them from where secrets are kept",
        ));
    }
    Ok(url)
}

fn base_url(text: &str, allow_http: bool) -> Result<Url, (&'static str, &'static str)> {
    let mut url = full_url(text)?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err(("a base URL has no query and no fragment", FORM));
    }
    if url.scheme() == "http" && !allow_http && !is_loopback(&url) {
        return Err((
            "plain HTTP would send the credential in the clear",
            "use https, or set `allow_http = true` on this remote if the network in between is trusted",
        ));
    }
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    Ok(url)
}

/// A file that was read, with what is needed to point at places in it without showing values.
pub struct Source {
    file: PathBuf,
    text: String,
    /// Where lines begin.
    lines: Vec<usize>,
    /// The places of all values that hold no other values, in order.
    values: Vec<Range<usize>>,
    /// Where keys begin; what stands elsewhere is no key, whatever it looks like.
    keys: Vec<usize>,
    /// Whether the text has the form of TOML, so that `values` is all of them.
    is_toml: bool,
}

impl Source {
    /// Keeps the text of a file and the places of its keys and values.
    pub(super) fn new(file: &Path, text: &str, root: &DeTable<'_>, is_toml: bool) -> Self {
        let (mut values, mut keys) = (Vec::new(), Vec::new());
        collect(root, &mut values, &mut keys);
        values.sort_by_key(|span| span.start);
        keys.sort_unstable();
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(newline, _)| newline + 1)).collect();
        Self { file: file.to_owned(), text: text.to_owned(), lines, values, keys, is_toml }
    }

    /// Which file.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Its text, secrets and all: never printed.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Line and column of a place, both counted from 1, columns in characters.
    pub fn position(&self, at: usize) -> (usize, usize) {
        let line = self.line_of(at);
        let before = self.text.get(line.start..at).unwrap_or_default();
        (self.lines.partition_point(|start| *start <= at), before.chars().count() + 1)
    }

    /// The line around a place, without its end.
    fn line_of(&self, at: usize) -> Range<usize> {
        let next = self.lines.partition_point(|start| *start <= at);
        let end = self.lines.get(next).map_or(self.text.len(), |next| next - 1);
        self.lines.get(next.saturating_sub(1)).map_or(0, |start| *start)..end
    }

    /// The line that a problem begins on, as far as it may be shown. Comments and values are hidden.
    fn excerpt(&self, problem: &Problem) -> Option<String> {
        let line = self.line_of(problem.span.start);
        let shown = if self.is_toml { self.veiled(line, problem) } else { self.key_of(line)? };
        let shown = excerpt(shown.as_bytes(), EXCERPT_BYTES);
        shown.contains(char::is_alphanumeric).then_some(shown)
    }

    fn veiled(&self, line: Range<usize>, problem: &Problem) -> String {
        let mut shown = String::new();
        let mut at = line.start;
        let first = self.values.partition_point(|value| value.end <= line.start);
        for value in self.values[first..].iter().take_while(|value| value.start < line.end) {
            if shown.len() > EXCERPT_BYTES {
                return shown;
            }
            let start = value.start.max(at);
            shown.push_str(without_comment(&self.text[at..start]));
            at = value.end.clamp(at, line.end);
            if problem.shows_value && *value == problem.span && value.end <= line.end {
                shown.push_str(&self.text[start..at]);
            } else {
                shown.push('…');
            }
        }
        shown.push_str(without_comment(&self.text[at..line.end]));
        shown
    }

    /// Where the text is broken, only what is certainly a key of ours is shown: what follows it may be anything.
    fn key_of(&self, line: Range<usize>) -> Option<String> {
        let text = &self.text[line.clone()];
        let indent = text.len() - text.trim_start().len();
        let (key, _) = text.trim_start().split_once('=')?;
        let is_key = self.keys.binary_search(&(line.start + indent)).is_ok()
            && key.len() <= 32
            && key.trim_end().bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        is_key.then(|| format!("{} = …", key.trim_end()))
    }
}

/// Text between values: the first `#` in it begins a comment (or stands in a quoted key, which may be cut as well).
fn without_comment(text: &str) -> &str {
    text.split('#').next().unwrap_or_default()
}

fn collect(table: &DeTable<'_>, values: &mut Vec<Range<usize>>, keys: &mut Vec<usize>) {
    for (key, value) in table.iter() {
        keys.push(key.span().start);
        collect_value(value, values, keys);
    }
}

fn collect_value(value: &Spanned<DeValue<'_>>, values: &mut Vec<Range<usize>>, keys: &mut Vec<usize>) {
    match value.get_ref() {
        DeValue::Table(table) => collect(table, values, keys),
        DeValue::Array(array) => array.iter().for_each(|element| collect_value(element, values, keys)),
        DeValue::String(_) | DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => {
            values.push(value.span());
        }
    }
}

/// Shows the file's name only: the text may hold what should not have been in it.
impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Source").field(&self.file).finish()
    }
}

/// The configuration cannot be used.
#[derive(Debug)]
pub enum ConfigFault {
    /// The file could not be read at all.
    Unreadable {
        /// Which file.
        file: PathBuf,
        /// Why.
        message: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// The file was read, and these things are wrong with it, in the order of the file.
    Invalid {
        /// What was read.
        source: Arc<Source>,
        /// What is wrong.
        problems: Vec<Problem>,
    },
}

impl fmt::Display for ConfigFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { file, message, hint } => {
                write!(f, "{}: {message}", printable(file))?;
                hint.iter().try_for_each(|hint| write!(f, "\n    hint: {}", Printable::new(hint)))
            }
            Self::Invalid { source, problems } => {
                for problem in problems {
                    let (line, column) = source.position(problem.span.start);
                    let message = Printable::new(&problem.message);
                    writeln!(f, "{}:{line}:{column}: {message}", printable(&source.file))?;
                    if let Some(excerpt) = source.excerpt(problem) {
                        writeln!(f, "    {excerpt}")?;
                    }
                    if let Some(hint) = &problem.hint {
                        writeln!(f, "    hint: {}", Printable::new(hint))?;
                    }
                }
                match problems.len() {
                    1 => f.write_str("1 problem"),
                    MOST => write!(f, "{MOST} problems or more"),
                    many => write!(f, "{many} problems"),
                }
            }
        }
    }
}

impl std::error::Error for ConfigFault {}

/// A path made safe to print.
pub(super) fn printable(path: &Path) -> String {
    Printable::new(path.as_os_str().as_encoded_bytes()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, allow_http: bool) -> Result<String, &'static str> {
        base_url(text, allow_http).map(String::from).map_err(|(message, _)| message)
    }

    #[test]
    fn a_base_url_is_full_and_keeps_its_prefix() {
        for (text, url) in [
            ("https://gitlab.example.com", "https://gitlab.example.com/"),
            ("https://example.com/gitlab//", "https://example.com/gitlab"),
            ("HTTPS://example.com:8443/a/b", "https://example.com:8443/a/b"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080/"),
            ("http://[::1]/x", "http://[::1]/x"),
            ("http://localhost", "http://localhost/"),
        ] {
            assert_eq!(read(text, false).as_deref(), Ok(url), "{text}");
        }
        assert_eq!(read("http://example.com", true).as_deref(), Ok("http://example.com/"));
    }

    #[test]
    fn what_a_url_parser_would_repair_is_refused() {
        for text in [
            "",
            "example.com",
            "https:example.com",
            "https://",
            "ftp://example.com",
            "https://exa mple.com",
            "https://example.com\n/x",
            "https:\\\\example.com",
            "file:///etc/passwd",
            "https://example.com:99999",
        ] {
            assert_eq!(read(text, true), Err("this is not a full http or https URL"), "{text:?}");
        }
        for text in ["https://a:b@example.com", "https://a@example.com", "https://:b@example.com/x"] {
            assert_eq!(read(text, true), Err("a URL must not carry a user or a password"), "{text}");
        }
        for text in ["https://example.com/?a=b", "https://example.com/#x", "https://example.com/?"] {
            assert_eq!(read(text, true), Err("a base URL has no query and no fragment"), "{text}");
        }
        for text in ["http://example.com", "http://localhost.example.com", "http://10.0.0.1"] {
            assert_eq!(read(text, false), Err("plain HTTP would send the credential in the clear"), "{text}");
        }
    }
}
