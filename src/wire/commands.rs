//! The commands of a push: which ref, from what, to what.

use gix::ObjectId;

use super::pkt::{push_flush, push_line};
use super::refs::TAGS;
use super::{PushCapabilities, WireFault};
use crate::tag::TagName;

/// What is to become of one tag. Only `refs/tags/` can be named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The tag.
    pub name: TagName,
    /// The lease: what its ref holds, which the server compares; `None` where there must be no such ref.
    pub old: Option<ObjectId>,
    /// What it shall hold; `None` deletes it.
    pub new: Option<ObjectId>,
}

/// Writes the commands as a push begins with them. There must be one at least.
pub(super) fn write(commands: &[Command], capabilities: &PushCapabilities) -> Result<Vec<u8>, WireFault> {
    let null = ObjectId::null(capabilities.format);
    let asked = capabilities.asked();
    let mut body = Vec::with_capacity(commands.len() * 128 + asked.len());
    for (at, Command { name, old, new }) in commands.iter().enumerate() {
        let [old, new] = [old, new].map(|id| id.unwrap_or(null).to_string());
        let mut parts = vec![old.as_bytes(), b" ", new.as_bytes(), b" ", TAGS, name.as_bytes()];
        if at == 0 {
            parts.extend([b"\0 ".as_slice(), asked.as_bytes()]);
        }
        push_line(&mut body, &parts)?;
    }
    push_flush(&mut body);
    Ok(body)
}
