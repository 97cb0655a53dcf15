//! From a source tag to the value that it should have on a remote.

use super::{RemoteRules, Sides};
use crate::ledger::{Ownership, Record};
use crate::tag::{
    Annotation, CommitId, GitTag, NotesRef, ObjectId, Peeled, ResolveRule, SourceTag, TagName, Target, TargetKind,
    Value,
};

/// What a source tag should be on a remote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolved {
    /// This.
    Value(Value),
    /// What the rule asks is not there yet; the reason says what. Nothing follows from it.
    Waiting(String),
    /// What the rule asks could not be read.
    Unknown(String),
    /// Nothing that the remote could hold.
    Inexpressible {
        /// Why.
        reason: String,
        /// What to do.
        hint: &'static str,
    },
}

impl Resolved {
    /// The value, where it is known.
    pub fn value(&self) -> Option<&Value> {
        match self {
            Self::Value(value) => Some(value),
            Self::Waiting(_) | Self::Unknown(_) | Self::Inexpressible { .. } => None,
        }
    }
}

/// What a rule may look at besides the tag itself. `None` is proven absence, `Some(Err(_))` is unknown.
pub trait Evidence {
    /// What a tag on the remote points at.
    fn target_of(&self, remote_name: &TagName) -> Option<Result<&Target, String>>;

    /// The note on a commit.
    fn note(&self, notes_ref: &NotesRef, commit_id: CommitId) -> Option<Result<&str, String>>;
}

impl Evidence for Sides<'_> {
    fn target_of(&self, remote_name: &TagName) -> Option<Result<&Target, String>> {
        let value = self.remote.get(remote_name)?.value.as_ref();
        Some(value.map(|value| &value.target).map_err(Clone::clone))
    }

    fn note(&self, notes_ref: &NotesRef, commit_id: CommitId) -> Option<Result<&str, String>> {
        Some(self.source.note(notes_ref, commit_id)?.map_err(str::to_owned))
    }
}

/// The value that a source tag should have on a remote, or why it has none there. Never a guess.
pub fn resolve(name: &TagName, tag: &SourceTag, remote_rules: RemoteRules<'_>, evidence: &impl Evidence) -> Resolved {
    let RemoteRules { capabilities, compare_annotations, rule, .. } = remote_rules;
    let target = match rule {
        ResolveRule::Itself => itself(tag, capabilities.target),
        ResolveRule::Tag(template) => match template.name_for(name, tag.commit_id()) {
            Ok(named) => by_tag(&named, capabilities.target, evidence),
            Err(reason) => {
                Err(inexpressible(format!("`{template}` names no tag for it: {reason}"), "exclude it by `tags`"))
            }
        },
        ResolveRule::Trailer(key) => match (tag.tag_id(), message_of(tag)) {
            (None, _) => Err(Resolved::Waiting(format!("it is lightweight, so no message has a trailer `{key}`"))),
            (Some(_), None) => Err(Resolved::Unknown("its message was not read".to_owned())),
            (Some(_), Some(message)) => match key.find_last(message) {
                Some(text) => by_text(&text, &format!("its trailer `{key}`"), capabilities.target),
                None => Err(Resolved::Waiting(format!("its message has no trailer `{key}`"))),
            },
        },
        ResolveRule::Note(notes_ref) => match tag.commit_id() {
            Some(commit_id) => by_note(notes_ref, commit_id, capabilities.target, evidence),
            None => Err(inexpressible("it points at no commit that could have a note".into(), "exclude it by `tags`")),
        },
    };
    match target {
        Ok(target) if compare_annotations => Resolved::Value(Value { target, annotation: tag.annotation() }),
        Ok(target) => Resolved::Value(Value::of(target)),
        Err(other) => other,
    }
}

/// Its message, where that was read.
fn message_of(tag: &SourceTag) -> Option<&str> {
    match tag {
        SourceTag::Git(tag) => tag.message.as_deref(),
        SourceTag::Told(_) => None,
    }
}

fn inexpressible(reason: String, hint: &'static str) -> Resolved {
    Resolved::Inexpressible { reason, hint }
}

/// What the tag points at itself, as a target of this kind.
fn itself(tag: &SourceTag, kind: TargetKind) -> Result<Target, Resolved> {
    match tag {
        SourceTag::Git(tag) => git_object(tag, kind),
        SourceTag::Told(value) => told(value, kind),
    }
}

fn git_object(tag: &GitTag, kind: TargetKind) -> Result<Target, Resolved> {
    let what = match (tag.peeled, kind) {
        // What the ref holds: the tag object, or without one whatever it points at.
        (Peeled::Commit(commit_id), TargetKind::Object) => {
            return Ok(Target::Object(tag.tag_id.map_or(commit_id.into(), Into::into)));
        }
        (Peeled::Tree(id) | Peeled::Blob(id), TargetKind::Object) => {
            return Ok(Target::Object(tag.tag_id.map_or(id, Into::into)));
        }
        (Peeled::Commit(commit_id), TargetKind::Commit) => return Ok(Target::Commit(commit_id)),
        (Peeled::Tree(_), TargetKind::Commit) => "tree",
        (Peeled::Blob(_), TargetKind::Commit) => "blob",
        (Peeled::Commit(_) | Peeled::Tree(_) | Peeled::Blob(_), TargetKind::Snapshot | TargetKind::Digest) => {
            return Err(of_another_kind("git object", kind));
        }
    };
    let reason = format!("it points at a {what}, and this API only takes tags on commits");
    Err(inexpressible(reason, "exclude it by `tags`"))
}

fn told(value: &Value, kind: TargetKind) -> Result<Target, Resolved> {
    match (&value.target, kind) {
        (target, kind) if target.kind() == kind => Ok(target.clone()),
        (Target::Commit(commit_id), TargetKind::Object) => match value.annotation {
            Annotation::Annotated(_) => {
                let reason = "it is annotated, and the API that it is read by gives no tag object, of which every byte counts here";
                let hint = "read its source over git, too (`transport = \"git\"`), or exclude it by `tags`";
                Err(inexpressible(reason.to_owned(), hint))
            }
            Annotation::Lightweight | Annotation::NotCompared => Ok(Target::Object((*commit_id).into())),
        },
        (target, kind) => Err(of_another_kind(&target.kind().to_string(), kind)),
    }
}

fn of_another_kind(what: &str, kind: TargetKind) -> Resolved {
    inexpressible(format!("it points at a {what}, and tags there at a {kind}"), "exclude it by `tags`")
}

fn by_tag(named: &TagName, kind: TargetKind, evidence: &impl Evidence) -> Result<Target, Resolved> {
    match evidence.target_of(named) {
        None => Err(Resolved::Waiting(format!("the remote has no tag `{named}` yet"))),
        Some(Err(reason)) => Err(Resolved::Unknown(format!("`{named}` on the remote is unknown: {reason}"))),
        Some(Ok(target)) if target.kind() == kind => Ok(target.clone()),
        Some(Ok(target)) => Err(Resolved::Unknown(format!("`{named}` on the remote is a {}", target.kind()))),
    }
}

fn by_note(
    notes_ref: &NotesRef,
    commit_id: CommitId,
    kind: TargetKind,
    evidence: &impl Evidence,
) -> Result<Target, Resolved> {
    match evidence.note(notes_ref, commit_id) {
        None => Err(Resolved::Waiting(format!("its commit {commit_id:.12} has no note in `{notes_ref}` yet"))),
        Some(Err(reason)) => {
            Err(Resolved::Unknown(format!("the note on its commit {commit_id:.12} cannot be read: {reason}")))
        }
        Some(Ok(text)) => by_text(text, &format!("the note on its commit {commit_id:.12}"), kind),
    }
}

fn by_text(text: &str, place: &str, kind: TargetKind) -> Result<Target, Resolved> {
    kind.parse(text.trim()).map_err(|fault| {
        let hint = "correct it in the source, or exclude the tag by `tags`";
        inexpressible(format!("{place} says what cannot be its target: {fault}"), hint)
    })
}

/// The recorded value in the kind of target that is compared today, because `transport` may have been changed since: a commit
/// over an API, the ref's own object over the git protocol. Where what was agreed cannot be told in today's terms it stays as
/// it is, and agrees with nothing. `None` where it says nothing about what is there: an adoption that looked at the commit alone
/// is no claim on one of the many tag objects that lead there.
pub fn carried_over(
    record: &Record,
    kind: TargetKind,
    tag: Option<&SourceTag>,
    source: Option<&Value>,
    remote: Option<&Value>,
) -> Option<Value> {
    let recorded = &record.value;
    let there = remote.map(|value| &value.target);
    let target = match (&recorded.target, kind) {
        (Target::Commit(commit_id), TargetKind::Object) => {
            let itself = Target::Object((*commit_id).into());
            let led_there = tag.is_some_and(|tag| tag.commit_id() == Some(*commit_id));
            match source {
                // Both sides have one object, and it leads to the commit that was agreed on.
                Some(value) if led_there && Some(&value.target) == there => Some(value.target.clone()),
                _ => (there == Some(&itself)).then_some(itself),
            }
        }
        (Target::Object(id), TargetKind::Commit) => match tag {
            Some(tag) if itself(tag, TargetKind::Object).as_ref() == Ok(&recorded.target) => {
                tag.commit_id().map(Target::Commit)
            }
            _ => there
                .filter(|target| matches!(target, Target::Commit(commit_id) if ObjectId::from(*commit_id) == *id))
                .cloned(),
        },
        _ => None,
    };
    let by_commit_alone = matches!((&recorded.target, kind), (Target::Commit(_), TargetKind::Object));
    let differs = source.zip(remote).is_some_and(|(source, remote)| source != remote);
    if target.is_none() && by_commit_alone && differs && record.ownership == Ownership::Adopted {
        return None;
    }
    let target = target.unwrap_or_else(|| recorded.target.clone());
    Some(Value { target, annotation: recorded.annotation.clone() })
}

/// The recorded value in the shape that is compared today, because `annotations` may have been changed since.
///
/// What was agreed without its annotation is taken to agree with what the remote has now, if the target still does.
pub fn reshape(recorded: &Value, source: Option<&Value>, remote: Option<&Value>, compare_annotations: bool) -> Value {
    let annotation = match (compare_annotations, &recorded.annotation) {
        (false, _) => Annotation::NotCompared,
        (true, Annotation::NotCompared) => [remote, source]
            .into_iter()
            .flatten()
            .find(|value| value.target == recorded.target)
            .map_or(Annotation::Lightweight, |value| value.annotation.clone()),
        (true, known @ (Annotation::Lightweight | Annotation::Annotated(_))) => known.clone(),
    };
    Value { target: recorded.target.clone(), annotation }
}
