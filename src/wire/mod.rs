//! git's smart HTTP protocol, as far as tags need it: list them by `ls-refs`, read their objects by `fetch`, write them by
//! `receive-pack`.
//!
//! The parts, from the inside out; each takes bytes from anybody and never panics:
//!
//! ```text
//! pkt            the lines that everything travels in
//! refs           an advertisement, or the answer of `ls-refs`  ──> tags, proven complete by its end
//! capabilities   what a server says that it can do
//! commands, pack the body of a push
//! report         what became of each ref                        <── the answer to it
//! unpack         the tag objects of a fetch
//! endpoint       one repository behind a URL, over `http`
//! ```
//!
//! Read in 2026-11-21's `gitprotocol-v2`, `-http`, `-pack`, `-common` and `-capabilities`
//! (<https://git-scm.com/docs/gitprotocol-v2> and its neighbours), and tried against git's own server.

mod capabilities;
mod commands;
mod endpoint;
mod fault;
mod objects;
mod pack;
mod pkt;
mod refs;
mod report;
#[cfg(test)]
mod tests;
mod unpack;

/// An object's id, and how ids are made, as everything here has them.
pub use gix::{ObjectId, hash::Kind as ObjectFormat, objs::Kind as ObjectKind};

pub use capabilities::PushCapabilities;
pub use commands::Command;
pub use endpoint::{Endpoint, Pack, Push, Pushed, Wanted};
pub use fault::WireFault;
pub use objects::{Lacking, Object, Objects, TagObjects};
pub use pack::pack_in_parts;
pub use pkt::{Decoder, Packet};
pub use refs::{Advertisement, Ends, Keep, LsRefs};
pub use report::{Fate, Report};
