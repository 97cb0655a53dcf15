//! Where in the file something is said, for whoever has to change it.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Source;

impl Source {
    /// The line, counted from 1, of the value under these keys, or of one entry where the value is a list; `None` where the
    /// file does not say it.
    pub fn line_of_key(&self, path: &[&str], entry: Option<usize>) -> Option<usize> {
        let (root, _) = DeTable::parse_recoverable(self.text());
        let (last, tables) = path.split_last()?;
        let mut table = root.get_ref();
        for name in tables {
            let DeValue::Table(inner) = table.get(*name)?.get_ref() else { return None };
            table = inner;
        }
        let value = table.get(*last)?;
        let span = match (value.get_ref(), entry) {
            (DeValue::Array(entries), Some(at)) => entries.get(at).map(Spanned::span),
            _ => None,
        };
        Some(self.position(span.unwrap_or(value.span()).start).0)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn keys_and_entries_have_lines() {
        let text =
            "[job.core]\npolicy = \"mirror\"\ntags = [\n  \"v*\",\n  \"!v*-rc*\",\n]\n[remote.\"a.b\"]\nurl = \"x\"\n";
        let (root, _) = DeTable::parse_recoverable(text);
        let source = Source::new(Path::new("config.toml"), text, root.get_ref(), true);
        for (path, entry, line) in [
            (&["job", "core", "policy"][..], None, Some(2)),
            (&["job", "core", "tags"], None, Some(3)),
            (&["job", "core", "tags"], Some(1), Some(5)),
            (&["job", "core", "tags"], Some(9), Some(3)),
            (&["remote", "a.b", "url"], None, Some(8)),
            (&["job", "core", "semver"], None, None),
            (&["job", "other", "policy"], None, None),
            (&["job", "core", "policy", "x"], None, None),
        ] {
            assert_eq!(source.line_of_key(path, entry), line, "{path:?} {entry:?}");
        }
    }
}
