//! What a source tag is called on a remote.

use super::{InvalidTagName, TagName};

/// A remote's renaming: strip a prefix, replace substrings, add a prefix, in this order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NameMapping {
    /// Taken off the front where a name has it.
    pub strip_prefix: String,
    /// Replaced everywhere, pair by pair in the order of the configuration.
    pub replace: Vec<(String, String)>,
    /// Put in front of every name.
    pub add_prefix: String,
}

impl NameMapping {
    /// The name on the remote; an error where the result would be no tag name.
    pub fn to_remote(&self, name: &TagName) -> Result<TagName, InvalidTagName> {
        if self.is_identity() {
            return Ok(name.clone());
        }
        let bytes = name.as_bytes();
        let mut mapped = bytes.strip_prefix(self.strip_prefix.as_bytes()).unwrap_or(bytes).to_vec();
        for (from, to) in &self.replace {
            mapped = replace(&mapped, from.as_bytes(), to.as_bytes());
        }
        mapped.splice(0..0, self.add_prefix.bytes());
        TagName::new(mapped)
    }

    /// The source names that this remote name could stand for, likeliest first. Empty when none can.
    ///
    /// With `replace` there is no way back, so the name stands for itself; such remotes refuse `exact`.
    pub fn to_source(&self, remote: &TagName) -> Vec<TagName> {
        if !self.replace.is_empty() || self.is_identity() {
            return vec![remote.clone()];
        }
        let Some(rest) = remote.as_bytes().strip_prefix(self.add_prefix.as_bytes()) else { return Vec::new() };
        let with_prefix = [self.strip_prefix.as_bytes(), rest].concat();
        [with_prefix, rest.to_vec()]
            .into_iter()
            .filter_map(|candidate| TagName::new(candidate).ok())
            .filter(|candidate| self.to_remote(candidate).as_ref() == Ok(remote))
            .fold(Vec::new(), |mut distinct, candidate| {
                if !distinct.contains(&candidate) {
                    distinct.push(candidate);
                }
                distinct
            })
    }

    fn is_identity(&self) -> bool {
        self.strip_prefix.is_empty() && self.replace.is_empty() && self.add_prefix.is_empty()
    }
}

fn replace(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut replaced = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while !rest.is_empty() {
        if !from.is_empty()
            && let Some(after) = rest.strip_prefix(from)
        {
            replaced.extend_from_slice(to);
            rest = after;
        } else {
            replaced.push(rest[0]);
            rest = &rest[1..];
        }
    }
    replaced
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> TagName {
        TagName::new(name).unwrap()
    }

    #[test]
    fn strip_then_replace_then_add() {
        let mapping = NameMapping {
            strip_prefix: "v".into(),
            replace: vec![("+".into(), "_".into()), ("/".into(), "-".into())],
            add_prefix: "r-".into(),
        };
        assert_eq!(mapping.to_remote(&name("v1.0/x+1")), Ok(name("r-1.0-x_1")));
        assert_eq!(mapping.to_remote(&name("x")), Ok(name("r-x")));
        let only_prefix = NameMapping { strip_prefix: "v".into(), ..NameMapping::default() };
        assert!(only_prefix.to_remote(&name("v")).is_err());
        assert!(only_prefix.to_remote(&name("v/x")).is_err());
    }

    #[test]
    fn the_way_back_names_every_source_that_maps_there() {
        let mapping = NameMapping { strip_prefix: "v".into(), add_prefix: "r-".into(), ..NameMapping::default() };
        assert_eq!(mapping.to_source(&name("r-1")), [name("v1"), name("1")]);
        assert_eq!(mapping.to_source(&name("r-v1")), [name("vv1")]);
        assert_eq!(mapping.to_source(&name("other")), []);
        assert_eq!(NameMapping::default().to_source(&name("x")), [name("x")]);
    }
}
