//! Whether deleting a tag may destroy the Release that is attached to it: one key, the same for every host of Releases.

use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;

use crate::config::Problems;
use crate::tag::{NamePatterns, TagName};

/// The key as it stands in the file.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "true, false or a list of globs")]
pub(super) enum WrittenLoss {
    /// For all tags, or for none.
    All(bool),
    /// For tags whose names on the remote match these patterns; the last one that matches decides, `!` in front excludes.
    Names(Vec<String>),
}

/// Which tags may lose their Release.
#[derive(Clone, Debug, Default)]
pub(super) enum ReleaseLoss {
    #[default]
    None,
    All,
    Names(NamePatterns),
}

impl ReleaseLoss {
    /// Reads the key. `None` only together with a problem.
    pub(super) fn read(written: Option<Spanned<WrittenLoss>>, problems: &mut Problems) -> Option<Self> {
        let Some(written) = written else { return Some(Self::default()) };
        let at = written.span();
        let loss = Self::check(written.into_inner());
        loss.map_err(|reason| problems.push(at, format!("`allow_release_loss`: {reason}"), None)).ok()
    }

    fn check(written: WrittenLoss) -> Result<Self, String> {
        Ok(match written {
            WrittenLoss::All(false) => Self::None,
            WrittenLoss::All(true) => Self::All,
            WrittenLoss::Names(globs) => {
                let patterns = NamePatterns::new(&globs);
                Self::Names(patterns.map_err(|fault| format!("pattern {}: {fault}", fault.at + 1))?)
            }
        })
    }

    /// Whether the tag of this name on the remote may.
    pub(super) fn allows(&self, name: &TagName) -> bool {
        match self {
            Self::None => false,
            Self::All => true,
            Self::Names(patterns) => patterns.matches(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    struct Table {
        allow_release_loss: Spanned<WrittenLoss>,
    }

    #[test]
    fn release_loss_is_all_none_or_patterns() {
        let allows = |text: &str, name: &str| {
            let table: Table = toml::from_str(&format!("allow_release_loss = {text}")).unwrap();
            let loss = ReleaseLoss::check(table.allow_release_loss.into_inner()).unwrap();
            loss.allows(&TagName::new(name).unwrap())
        };
        assert!(!allows("false", "v1") && allows("true", "v1"));
        assert!(allows("[\"nightly-*\"]", "nightly-1") && !allows("[\"nightly-*\"]", "v1") && !allows("[]", "v1"));
        let fault = toml::from_str::<Table>("allow_release_loss = 3").unwrap_err().to_string();
        assert!(fault.contains("true, false or a list of globs"), "{fault}");
        assert!(
            ReleaseLoss::check(WrittenLoss::Names(vec!["a".into(), "[".into()])).unwrap_err().contains("pattern 2")
        );
    }
}
