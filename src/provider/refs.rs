//! Tags that are refs, as git itself has them: what all providers share that write refs instead of asking an API to.

use super::{Annotations, Capabilities, Change, Deletes, Fault, FaultKind, Lease, Moves, NameRules, NewTag};
use crate::tag::{RemoteTag, TagName, Target, TargetKind};
use crate::wire::{Command, ObjectId};

/// What such tags are and can do.
pub(super) const CAPABILITIES: Capabilities = Capabilities {
    target: TargetKind::Object,
    moves: Moves::InPlace,
    deletes: Deletes::Yes,
    annotations: Annotations::Whole,
    lease: Lease::Server,
    create_refuses_existing: true,
    names: NameRules { summary: "any name of git's, at most 4,000 bytes", refuses: refuses_name, are_refs: true },
};

/// Longer ones fit into no path of a server's file system. Shorter ones may not, either; that is for the server to say.
const LONGEST_NAME: usize = 4000;

fn refuses_name(name: &TagName) -> Option<&'static str> {
    (name.as_bytes().len() > LONGEST_NAME).then_some("it is longer than 4,000 bytes")
}

/// A change of a tag as one of its ref.
pub(super) fn command(change: &Change) -> Result<Command, Fault> {
    Ok(match change {
        Change::Create(new) => Command { name: new.name.clone(), old: None, new: Some(object_of(new.target())?) },
        Change::Move { lease, to } => {
            let old = Some(object_of(&lease.target)?);
            Command { name: to.name.clone(), old, new: Some(object_of(to.target())?) }
        }
        Change::Delete { name, lease } => {
            Command { name: name.clone(), old: Some(object_of(&lease.target)?), new: None }
        }
    })
}

/// A tag as the remote has it, once it is known that the ref is what was asked for.
pub(super) fn written(new: &NewTag) -> RemoteTag {
    let (name, value) = (new.name.clone(), Ok(new.value.clone()));
    RemoteTag { name, value, message: None, protected: false, attachment: None }
}

/// The one kind of target that refs have.
pub(super) fn object_of(target: &Target) -> Result<ObjectId, Fault> {
    match target {
        Target::Object(id) => Ok((*id).into()),
        Target::Commit(_) | Target::Snapshot(_) | Target::Digest(_) => {
            let message = format!("a ref holds a git object, and {target:.12} is a {}", target.kind());
            Err(Fault::new(FaultKind::Unsupported, message))
        }
    }
}
