//! Any git repository over smart HTTP: tags by the git protocol alone.
//!
//! What is particular about it (2026-11-21, git's documentation of its protocols, and git's own server):
//!
//! - The value of a tag is the object that its ref holds; nothing is rebuilt.
//! - Every write carries the value that it expects, and the server compares it. One request holds any number of writes.
//! - Nothing in the protocol is an id of a repository. What stands for one is its URL: a repository that was deleted and
//!   made anew under the same URL is not told from the old one, and the guards have to do.
//! - Nothing in it says what a credential may do, besides whether it may begin to push at all.

mod host;
mod keys;

pub use keys::Keys;

use super::{Descriptor, smart_http};

/// What tags of a git repository are and can do.
pub static DESCRIPTOR: Descriptor = Descriptor {
    name: "git",
    title: "git over HTTP",
    capabilities: smart_http::CAPABILITIES,
    read: keys::read,
    schema: keys::schema,
};
