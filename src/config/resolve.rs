//! `target` of a remote: how a git tag becomes what its tags point at.

use std::ops::Range;

use toml::Spanned;

use super::fragment::TargetKeys;
use super::near::{listing, nearest};
use super::problem::Problems;
use crate::tag::{InvalidTemplate, NameTemplate, NotesRef, PLACEHOLDERS, ResolveRule, TargetKind, TrailerKey};

const FORMS: &str = "`{ tag = \"sha-{commit:12}\" }` reads a tag that is there, `{ trailer = \"Image\" }` the tag's message, \
                     `{ note = \"refs/notes/images\" }` the note on its commit";

/// Reads the rule for a remote whose targets are of this kind. `None` only together with a problem.
pub(super) fn rule(
    written: Option<Spanned<TargetKeys>>,
    kind: TargetKind,
    table: &Range<usize>,
    problems: &mut Problems,
) -> Option<ResolveRule> {
    match (kind, written) {
        (TargetKind::Commit, None) => Some(ResolveRule::Commit),
        (TargetKind::Commit, Some(written)) => {
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
