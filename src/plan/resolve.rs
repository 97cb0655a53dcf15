//! From a source tag to the value that it should have on a remote of its kind.

use crate::tag::{Annotation, Peeled, SourceTag, Target, TargetKind, Value};

/// The value that a source tag should have on a remote, or why it has none there.
pub fn resolve(tag: &SourceTag, kind: TargetKind, compare_annotations: bool) -> Result<Value, &'static str> {
    let target = match (kind, tag.peeled) {
        (TargetKind::Commit, Peeled::Commit(commit_id)) => Target::Commit(commit_id),
        (TargetKind::Commit, Peeled::Tree(_)) => {
            return Err("it points at a tree, and this API only takes tags on commits");
        }
        (TargetKind::Commit, Peeled::Blob(_)) => {
            return Err("it points at a blob, and this API only takes tags on commits");
        }
        (TargetKind::Snapshot | TargetKind::Digest, _) => {
            return Err("nothing says what it should be on this remote");
        }
    };
    let annotation = if compare_annotations {
        Annotation::of_message(tag.tag_id.and(tag.message.as_deref()))
    } else {
        Annotation::NotCompared
    };
    Ok(Value { target, annotation })
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
