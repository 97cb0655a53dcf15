//! Another repository on this host: its refs are written as git writes them, and the objects that it lacks are copied to it.
//!
//! What is particular about it:
//!
//! - The value of a tag is the object that its ref holds. Every write compares what the ref holds under git's own lock of it.
//! - No server stands in between: no hook runs, and no `receive.*` setting of the repository is asked.
//! - What a tag leads to is copied before its ref is written, so nothing ever waits for a commit.

mod api;
mod keys;

pub use keys::Keys;

use super::refs::CAPABILITIES;
use super::{Capabilities, Descriptor, NameRules};
use crate::tag::TagName;

/// What tags of a repository on this host are and can do.
pub static DESCRIPTOR: Descriptor = Descriptor {
    name: "repository",
    title: "A repository on this host",
    capabilities: Capabilities {
        names: NameRules {
            summary: "any name of git's, at most 250 bytes between slashes",
            refuses: refuses_name,
            are_refs: true,
        },
        ..CAPABILITIES
    },
    read: keys::read,
    schema: keys::schema,
};

/// A name between slashes is one of a file, which ends at 255 bytes, beside which git's lock needs five more.
const LONGEST_PART: usize = 250;

/// With `refs/tags/` and the repository in front it still has to be a path.
const LONGEST_NAME: usize = 3000;

fn refuses_name(name: &TagName) -> Option<&'static str> {
    if name.as_bytes().len() > LONGEST_NAME {
        return Some("it is longer than 3,000 bytes");
    }
    let long = name.as_bytes().split(|byte| *byte == b'/').any(|part| part.len() > LONGEST_PART);
    long.then_some("it has more than 250 bytes between slashes, and no file can be called so")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_paths_of_files() {
        let refuses = |name: &str| refuses_name(&TagName::new(name).unwrap());
        let part = "x".repeat(250);
        for good in ["v1.0.0+build5", "-x/é+1", &part, &format!("{part}/{part}")] {
            assert_eq!(refuses(good), None, "{good}");
        }
        for bad in [&"x".repeat(251), &format!("a/{}", "x".repeat(251)), &["y"; 1600].join("/")] {
            assert!(refuses(bad).is_some(), "{bad}");
        }
    }
}
