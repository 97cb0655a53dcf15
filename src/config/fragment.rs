//! The tables as written: which keys there are, of which type. All are optional here; what must be there is said when
//! the settings are made, so that every gap can be reported and a JSON Schema can be derived.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::de::{Deserializer, Error, Unexpected, Visitor};
use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::duration::WrittenDuration;
use super::secret::SecretSource;
use super::settings::{DELETE_GRACE, JITTER, SCHEDULE, TIMEZONE};
use crate::http::HttpSettings;
use crate::plan::{self, Limits};

/// What concerns the daemon as a whole. A single `tagsyncd --sync` uses only `state`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DaemonKeys {
    /// The directory of the ledger, an absolute path. Default: `$STATE_DIRECTORY`, else `$XDG_STATE_HOME/tagsyncd`, else `~/.local/state/tagsyncd`.
    #[schemars(with = "Option<String>", regex(pattern = "^/"))]
    pub(super) state: Option<Spanned<String>>,
    /// When jobs run that have no `schedule` of their own: 5 fields as in crontab(5) (`"*/15 * * * *"`), 6 with seconds first, or a word such as `"@hourly"`.
    #[schemars(with = "Option<String>", extend("default" = SCHEDULE))]
    pub(super) schedule: Option<Spanned<String>>,
    /// The time zone of all schedules, as an IANA name such as `"Europe/Berlin"`.
    #[schemars(with = "Option<String>", extend("default" = TIMEZONE))]
    pub(super) timezone: Option<Spanned<String>>,
    /// How far the start of a job may be shifted, so that not all begin at once, such as `"5m"`, at most a day; each job on each host always gets the same shift.
    #[schemars(with = "Option<WrittenDuration>", extend("default" = WrittenDuration(JITTER)))]
    pub(super) jitter: Option<Spanned<WrittenDuration>>,
    /// IP address and port for metrics, health, the status page and webhooks, such as `"127.0.0.1:9465"`. Default: none, and no socket is opened.
    #[schemars(with = "Option<String>")]
    pub(super) listen: Option<Spanned<String>>,
}

/// A local repository, bare or not, or many of them: either `path` or `paths`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [{ "required": ["path"] }, { "required": ["paths"] }]))]
pub(super) struct RepositoryKeys {
    /// The directory of one repository, an absolute path; its name is that of the table.
    #[schemars(with = "Option<String>", regex(pattern = "^/"))]
    pub(super) path: Option<Spanned<String>>,
    /// Patterns of absolute paths. Each directory found is a repository, named by its last component without `.git`. Each component stands for one directory level: `*` any characters, `?` one, `[…]` one of several, `{a,b}` alternatives.
    #[schemars(with = "Option<Vec<String>>", length(min = 1), inner(regex(pattern = "^/")))]
    pub(super) paths: Option<Spanned<Vec<Spanned<String>>>>,
}

/// The keys that every `[remote.NAME]` takes, whatever its provider. [`REMOTE_KEYS`] is the list of them.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RemoteKeys {
    /// The kind of API; `tagsyncd providers` lists them.
    #[schemars(with = "String")]
    pub(super) provider: Option<Spanned<String>>,
    /// The time for one request and its whole answer, such as `"1m30s"`.
    #[schemars(with = "Option<WrittenDuration>", extend("default" = WrittenDuration(HttpSettings::default().timeout)))]
    pub(super) timeout: Option<Spanned<WrittenDuration>>,
    /// A PEM file with certificates to trust besides the system's, an absolute path. Default: none.
    #[schemars(with = "Option<String>", regex(pattern = "^/"))]
    pub(super) ca_file: Option<Spanned<String>>,
    /// Requests at the same time, 1 to 64; shared by all remotes of one host and credential.
    #[schemars(with = "Option<u8>", range(min = 1, max = 64), extend("default" = HttpSettings::default().concurrency))]
    pub(super) concurrency: Option<Spanned<i64>>,
    /// Requests per second, above 0 and at least one a day; shared by all remotes of one host and credential. Default: no limit.
    #[schemars(with = "Option<f64>", extend("exclusiveMinimum" = 0))]
    pub(super) rate: Option<Spanned<Number>>,
    /// Permits plain HTTP to another host, which sends the credential in the clear; HTTP to this host is always permitted.
    #[schemars(extend("default" = HttpSettings::default().allow_http))]
    pub(super) allow_http: Option<bool>,
    /// Whether annotations are compared too.
    #[schemars(with = "Option<WrittenAnnotations>", extend("default" = WrittenAnnotations::default()))]
    pub(super) annotations: Option<Spanned<WrittenAnnotations>>,
    /// Taken off the front of names that have it, before `replace` and `add_prefix`. Default: nothing.
    pub(super) strip_prefix: Option<String>,
    /// Put in front of every name, after `strip_prefix` and `replace`. Default: nothing.
    pub(super) add_prefix: Option<String>,
    // In the order of the spans: the order of the file.
    /// Texts to replace in names, pair by pair in the order written, between `strip_prefix` and `add_prefix`; cannot be combined with `policy = "exact"`. Default: none.
    #[schemars(with = "Option<BTreeMap<String, String>>", extend("propertyNames" = { "minLength": 1 }))]
    pub(super) replace: Option<BTreeMap<Spanned<String>, String>>,
    /// How a git tag becomes what this remote's tags point at; required where git tags go there and that is no git object, refused where it is one.
    #[schemars(with = "Option<TargetKeys>")]
    pub(super) target: Option<Spanned<TargetKeys>>,
}

/// `target` of a remote: exactly one of these.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub(super) struct TargetKeys {
    /// The remote's own tag of this name; `{commit}`, `{commit:12}` and `{tag}` stand for the source tag's.
    #[schemars(with = "Option<String>")]
    pub(super) tag: Option<Spanned<String>>,
    /// The value of this trailer in the annotated tag's message.
    #[schemars(with = "Option<String>")]
    pub(super) trailer: Option<Spanned<String>>,
    /// The note on the tagged commit under this notes ref.
    #[schemars(with = "Option<String>", regex(pattern = "^refs/notes/"))]
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

/// What goes where.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct JobKeys {
    /// The name of a `[repository.NAME]` or of a `[remote.NAME]`: where tags come from.
    #[schemars(with = "String")]
    pub(super) from: Option<Spanned<String>>,
    /// Names of `[remote.NAME]`s, each once: where tags go.
    #[schemars(with = "Vec<String>", length(min = 1), extend("uniqueItems" = true))]
    pub(super) to: Option<Spanned<Vec<Spanned<String>>>>,
    /// What may be done there. There is no default, because no choice is harmless for everybody.
    #[schemars(with = "WrittenPolicy")]
    pub(super) policy: Option<Spanned<WrittenPolicy>>,
    /// Patterns on source names; the last one that matches decides, `!` in front excludes, `*` and `?` stop at `/`, `**` does not. A list that begins with an exclusion begins with all names. Default: all.
    #[schemars(with = "Option<Vec<String>>")]
    pub(super) tags: Option<Vec<Spanned<String>>>,
    /// A range such as `">=1.0.0"`; tags that are no versions, with or without a leading `v`, are left out. Default: none.
    #[schemars(with = "Option<String>")]
    pub(super) semver: Option<Spanned<String>>,
    /// Patterns on source names, as in `tags`; such a tag keeps the first value that was seen. Default: none.
    #[schemars(with = "Option<Vec<String>>")]
    pub(super) immutable: Option<Vec<Spanned<String>>>,
    /// Patterns on source names, as in `tags`; such a tag is never moved and never deleted. Default: none.
    #[schemars(with = "Option<Vec<String>>")]
    pub(super) protected: Option<Vec<Spanned<String>>>,
    /// How much one remote may lose within 24 hours; more waits for a person.
    pub(super) limits: Option<LimitKeys>,
    /// How long a tag must stay absent before the daemon deletes it on the remote, such as `"5m"`.
    #[schemars(extend("default" = WrittenDuration(DELETE_GRACE)))]
    pub(super) delete_grace: Option<WrittenDuration>,
    /// When the job runs, in the form of the daemon's `schedule`, which is the default.
    #[schemars(with = "Option<String>")]
    pub(super) schedule: Option<Spanned<String>>,
    /// Where the secret is kept that signs webhooks; webhooks signed with it start the job, at `/hooks/NAME`. Default: none, and no webhook is accepted.
    pub(super) hook_secret: Option<SecretSource>,
}

/// How much one remote may lose within 24 hours. Of a number and its percentage, the smaller counts.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LimitKeys {
    /// Deletes at most; 0 forbids them.
    #[schemars(with = "Option<u32>", extend("default" = Limits::default().deletes))]
    pub(super) deletes: Option<Spanned<i64>>,
    /// Deletes at most, in percent of the tags that the job owns there, 0 to 100; never fewer than 3.
    #[schemars(with = "Option<u8>", range(max = 100), extend("default" = Limits::default().deletes_percent))]
    pub(super) deletes_percent: Option<Spanned<i64>>,
    /// Moves at most; 0 forbids them.
    #[schemars(with = "Option<u32>", extend("default" = Limits::default().moves))]
    pub(super) moves: Option<Spanned<i64>>,
    /// Moves at most, in percent of the tags that the job owns there, 0 to 100; never fewer than 3.
    #[schemars(with = "Option<u8>", range(max = 100), extend("default" = Limits::default().moves_percent))]
    pub(super) moves_percent: Option<Spanned<i64>>,
}

/// What a job may do to its remotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum WrittenPolicy {
    /// Never moves and never deletes a tag.
    CreateOnly,
    /// Also moves and deletes, but only what it made or adopted itself.
    Mirror,
    /// Also overwrites and deletes what is not its own; the first pass needs an approval.
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

/// Whether annotations are compared too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum WrittenAnnotations {
    /// Only what tags point at is compared.
    #[default]
    Ignore,
    /// Whether a tag is annotated, and its message, are compared too.
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
