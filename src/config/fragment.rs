//! The tables as written: which keys there are, of which type. All are optional here; what must be there is said when
//! the settings are made, so that every gap can be reported and a JSON Schema can be derived.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, Unexpected, Visitor};
use toml::Spanned;

use super::duration::WrittenDuration;
use super::secret::SecretSource;
use crate::plan;

/// `[daemon]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DaemonKeys {
    pub(super) state: Option<Spanned<String>>,
    pub(super) schedule: Option<Spanned<String>>,
    pub(super) timezone: Option<Spanned<String>>,
    pub(super) jitter: Option<WrittenDuration>,
    pub(super) listen: Option<Spanned<String>>,
}

/// `[repository.NAME]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RepositoryKeys {
    pub(super) path: Option<Spanned<String>>,
    pub(super) paths: Option<Spanned<Vec<Spanned<String>>>>,
}

/// The keys that every `[remote.NAME]` takes, whatever its provider. [`REMOTE_KEYS`] is the list of them.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RemoteKeys {
    pub(super) provider: Option<Spanned<String>>,
    pub(super) timeout: Option<Spanned<WrittenDuration>>,
    pub(super) ca_file: Option<Spanned<String>>,
    pub(super) concurrency: Option<Spanned<i64>>,
    pub(super) rate: Option<Spanned<Number>>,
    pub(super) allow_http: Option<bool>,
    pub(super) annotations: Option<Spanned<WrittenAnnotations>>,
    pub(super) strip_prefix: Option<String>,
    pub(super) add_prefix: Option<String>,
    /// In the order of the spans: the order of the file.
    pub(super) replace: Option<BTreeMap<Spanned<String>, String>>,
    pub(super) target: Option<Spanned<TargetKeys>>,
}

/// `target` of a remote.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TargetKeys {
    pub(super) tag: Option<Spanned<String>>,
    pub(super) trailer: Option<Spanned<String>>,
    pub(super) note: Option<Spanned<String>>,
}

/// The names of [`RemoteKeys`], which are taken out before a provider reads its own.
pub(super) const REMOTE_KEYS: &[&str] = &[
    "provider",
    "timeout",
    "ca_file",
    "concurrency",
    "rate",
    "allow_http",
    "annotations",
    "strip_prefix",
    "add_prefix",
    "replace",
    "target",
];

/// `[job.NAME]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct JobKeys {
    pub(super) from: Option<Spanned<String>>,
    pub(super) to: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) policy: Option<Spanned<WrittenPolicy>>,
    pub(super) tags: Option<Vec<Spanned<String>>>,
    pub(super) semver: Option<Spanned<String>>,
    pub(super) immutable: Option<Vec<Spanned<String>>>,
    pub(super) protected: Option<Vec<Spanned<String>>>,
    pub(super) limits: Option<LimitKeys>,
    pub(super) delete_grace: Option<WrittenDuration>,
    pub(super) schedule: Option<Spanned<String>>,
    pub(super) hook_secret: Option<SecretSource>,
}

/// `limits` of a job.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LimitKeys {
    pub(super) deletes: Option<Spanned<i64>>,
    pub(super) deletes_percent: Option<Spanned<i64>>,
    pub(super) moves: Option<Spanned<i64>>,
    pub(super) moves_percent: Option<Spanned<i64>>,
}

/// `policy` of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum WrittenPolicy {
    CreateOnly,
    Mirror,
    Exact,
}

impl From<WrittenPolicy> for plan::Policy {
    fn from(written: WrittenPolicy) -> Self {
        match written {
            WrittenPolicy::CreateOnly => Self::CreateOnly,
            WrittenPolicy::Mirror => Self::Mirror,
            WrittenPolicy::Exact => Self::Exact,
        }
    }
}

/// `annotations` of a remote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum WrittenAnnotations {
    #[default]
    Ignore,
    Message,
}

/// A number with or without a fraction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Number(pub(super) f64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Written;
        impl Visitor<'_> for Written {
            type Value = Number;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number")
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Number, E> {
                i32::try_from(number)
                    .map(|number| Number(number.into()))
                    .map_err(|_| E::invalid_value(Unexpected::Signed(number), &"a smaller number"))
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<Number, E> {
                Ok(Number(number))
            }
        }
        deserializer.deserialize_any(Written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_common_keys_is_that_of_the_fragment() {
        let fault = toml::from_str::<RemoteKeys>("x = 1").unwrap_err();
        let expected: Vec<&str> = fault.message().split('`').skip(3).step_by(2).collect();
        assert_eq!(expected, REMOTE_KEYS);
    }
}
