//! `target` of a remote: how a git tag becomes what its tags point at.

use std::ops::Range;

use toml::Spanned;

use super::fragment::TargetKeys;
use super::near::{listing, nearest};
use super::problem::Problems;
use super::remote::Rule;
use crate::tag::{InvalidTemplate, NameTemplate, NotesRef, PLACEHOLDERS, ResolveRule, TargetKind, TrailerKey};

const FORMS: &str = "`{ tag = \"sha-{commit:12}\" }` reads a tag that is there, `{ trailer = \"Image\" }` the tag's message, \
                     `{ note = \"refs/notes/images\" }` the note on its commit";

/// Reads the rule for a remote whose targets are of this kind. `None` only together with a problem.
pub(super) fn rule(
    written: Option<Spanned<TargetKeys>>,
    kind: TargetKind,
    rule: Rule,
    table: &Range<usize>,
    problems: &mut Problems,
) -> Option<ResolveRule> {
    match (kind, written) {
        (TargetKind::Commit | TargetKind::Object, None) => Some(ResolveRule::Itself),
        (TargetKind::Snapshot | TargetKind::Digest, None) if rule == Rule::IfWritten => Some(ResolveRule::Itself),
        (TargetKind::Commit | TargetKind::Object, Some(written)) => {
            problems.push(written.span(), "`target` serves remotes whose targets are not git objects", None);
            None
        }
        (TargetKind::Snapshot | TargetKind::Digest, None) => {
            if !problems.is_spoiled(table, "target") {
                let message = format!("`target` is missing: how a git tag becomes a {kind}");
                problems.push(table.clone(), message, Some(FORMS));
            }
            None
        }
        (TargetKind::Snapshot | TargetKind::Digest, Some(written)) => one_of(written, problems),
    }
}

fn one_of(written: Spanned<TargetKeys>, problems: &mut Problems) -> Option<ResolveRule> {
    let span = written.span();
    match written.into_inner() {
        TargetKeys { tag: Some(text), trailer: None, note: None } => template(&text, problems).map(ResolveRule::Tag),
        TargetKeys { tag: None, trailer: Some(text), note: None } => {
            let key = TrailerKey::new(text.get_ref());
            let key = key.map_err(|fault| problems.push(text.span(), fault.to_string(), None));
            key.ok().map(ResolveRule::Trailer)
        }
        TargetKeys { tag: None, trailer: None, note: Some(text) } => {
            let notes_ref = NotesRef::new(text.get_ref()).map_err(|fault| {
                problems.push(text.span(), fault.to_string(), Some("write it in full, like \"refs/notes/images\""));
            });
            notes_ref.ok().map(ResolveRule::Note)
        }
        TargetKeys { tag: None, trailer: None, note: None } => {
            let spoiled = ["tag", "trailer", "note"].iter().any(|key| problems.is_spoiled(&span, key));
            if !spoiled {
                problems.push(span, "`target` says nothing", Some(FORMS));
            }
            None
        }
        TargetKeys { .. } => {
            problems.push(span, "`target` has exactly one of `tag`, `trailer` and `note`", Some(FORMS));
            None
        }
    }
}

fn template(written: &Spanned<String>, problems: &mut Problems) -> Option<NameTemplate> {
    let fault = match NameTemplate::new(written.get_ref()) {
        Ok(template) => return Some(template),
        Err(fault) => fault,
    };
    let placeholders = PLACEHOLDERS.map(|word| format!("{{{word}}}"));
    let known = format!("placeholders are {}", listing(placeholders.iter().map(String::as_str)));
    let hint = match &fault {
        InvalidTemplate::Placeholder(word) => {
            let meant = nearest(word, ["commit", "tag", "repository"]);
            match meant {
                Some(meant) => format!("did you mean `{{{meant}}}`? {known}"),
                None => known,
            }
        }
        InvalidTemplate::Digits => "like `{commit:12}`, or `{commit}` for all of them".to_owned(),
        InvalidTemplate::Unbalanced | InvalidTemplate::Constant => known,
        InvalidTemplate::Everything => "put something before or after it, as in \"build-{tag}\"".to_owned(),
        InvalidTemplate::Name => "git check-ref-format(1) has the rules for names".to_owned(),
    };
    problems.push(written.span(), fault.to_string(), Some(&hint));
    None
}

#[cfg(test)]
mod tests {
    use toml::de::DeTable;

    use super::*;
    use crate::config::document::Table;
    use crate::config::fragment::RemoteKeys;

    type Found = (usize, String, Option<String>);

    /// What is read from these lines of a remote, and what is wrong: where, what, what to do.
    fn read(text: &str, kind: TargetKind) -> (Option<String>, Vec<Found>) {
        let (root, faults) = DeTable::parse_recoverable(text);
        assert!(faults.is_empty(), "{text}");
        let mut problems = Problems::new();
        let keys: RemoteKeys = Table::new(root.into_inner(), 0..0).read(&mut problems);
        let rule = rule(keys.target, kind, Rule::Needed, &(0..0), &mut problems);
        let problems = problems.iter().map(|one| (one.span.start, one.message.clone(), one.hint.clone())).collect();
        (rule.map(|rule| rule.to_string()), problems)
    }

    #[test]
    fn each_form_is_read() {
        for form in [
            "{ tag = \"sha-{commit:12}\" }",
            "{ tag = \"{tag}-{commit}\" }",
            "{ trailer = \"Image-Digest\" }",
            "{ note = \"refs/notes/images\" }",
        ] {
            for kind in [TargetKind::Snapshot, TargetKind::Digest] {
                assert_eq!(read(&format!("target = {form}"), kind), (Some(form.to_owned()), Vec::new()));
            }
        }
        assert_eq!(read("", TargetKind::Commit), (Some("what it points at".to_owned()), Vec::new()));
    }

    #[test]
    fn what_is_wrong_is_said_at_its_place() {
        const KNOWN: &str = "placeholders are `{commit}`, `{commit:N}`, `{tag}`";
        let meant = |word: &str| format!("did you mean `{{{word}}}`? {KNOWN}");
        for (text, at, message, hint) in [
            ("", 0, "`target` is missing: how a git tag becomes a manifest digest", Some(FORMS.to_owned())),
            ("target = {}", 9, "`target` says nothing", Some(FORMS.to_owned())),
            (
                "target = { tag = \"{tag}-x\", note = \"refs/notes/x\" }",
                9,
                "`target` has exactly one of `tag`, `trailer` and `note`",
                Some(FORMS.to_owned()),
            ),
            ("target = 5", 9, "expected a table, found a whole number", None),
            ("target = { tga = \"x\" }", 11, "unknown key `tga`", Some("did you mean `tag`?".to_owned())),
            ("target = { note = 5 }", 18, "expected a string, found a whole number", None),
            ("target = { tag = \"sha-{comit}\" }", 17, "there is no such placeholder", Some(meant("commit"))),
            ("target = { tag = \"{repositry}-{tag}\" }", 17, "there is no such placeholder", Some(meant("repository"))),
            ("target = { tag = \"{date}\" }", 17, "there is no such placeholder", Some(KNOWN.to_owned())),
            (
                "target = { tag = \"{commit:0}\" }",
                17,
                "a commit id has 1 to 64 digits to choose from",
                Some("like `{commit:12}`, or `{commit}` for all of them".to_owned()),
            ),
            ("target = { tag = \"sha-{commit\" }", 17, "a brace has no partner", Some(KNOWN.to_owned())),
            (
                "target = { tag = \"latest\" }",
                17,
                "without a placeholder all tags would become one and the same",
                Some(KNOWN.to_owned()),
            ),
            (
                "target = { tag = \"{tag}\" }",
                17,
                "every name on the remote could come from it, so that none would be left to write",
                Some("put something before or after it, as in \"build-{tag}\"".to_owned()),
            ),
            (
                "target = { tag = \"a..{commit}\" }",
                17,
                "the names that it makes are none that git accepts",
                Some("git check-ref-format(1) has the rules for names".to_owned()),
            ),
            (
                "target = { trailer = \"Image digest\" }",
                21,
                "the name of a trailer has letters, digits and `-` only",
                None,
            ),
            (
                "target = { note = \"images\" }",
                18,
                "not a ref below refs/notes/",
                Some("write it in full, like \"refs/notes/images\"".to_owned()),
            ),
        ] {
            let expected = vec![(at, message.to_owned(), hint)];
            assert_eq!(read(text, TargetKind::Digest), (None, expected), "{text}");
        }
        let (rule, problems) = read("target = { tag = \"sha-{commit}\" }", TargetKind::Commit);
        assert_eq!((rule, problems.len()), (None, 1));
        assert_eq!(problems[0].1, "`target` serves remotes whose targets are not git objects");
        assert!(read("", TargetKind::Snapshot).1[0].1.ends_with("how a git tag becomes a snapshot id"));
    }
}
