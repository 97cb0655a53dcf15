//! A remote: the keys that all remotes share, then those of its provider.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::document::Table;
use super::fragment::{self, REMOTE_KEYS, WrittenAnnotations};
use super::near::{listing, nearest};
use super::problem::{ConfigFault, Problems, Source};
use super::repositories::Repository;
use super::resolve;
use crate::http::{HttpSettings, Rate};
use crate::provider::{self, Annotations, Capabilities, Descriptor, PROVIDERS, RemoteKeys};
use crate::tag::{NameMapping, ResolveRule};

/// Stands for the repository's name in every string of a remote.
pub(super) const PLACEHOLDER: &str = "{repository}";

/// The name that stands in while a remote is only checked: a number, because some remotes know repositories by nothing else.
pub(super) const SAMPLE: &str = "1";

/// A remote as written. It becomes settings for one repository at a time, because any of its strings may hold
/// `{repository}`.
#[derive(Clone)]
pub struct RemoteTemplate {
    /// Its name.
    pub name: String,
    origin: Origin,
}

#[derive(Clone)]
enum Origin {
    /// A table of a file.
    Written(Arc<Source>),
    /// Settings that hold for every repository.
    Ready(Box<RemoteSettings>),
}

/// A remote for one repository: complete, checked, not yet connected.
#[derive(Clone, Debug)]
pub struct RemoteSettings {
    /// Its name.
    pub name: String,
    /// The kind of API behind it.
    pub provider: &'static Descriptor,
    /// The provider's own keys.
    pub keys: Arc<dyn RemoteKeys>,
    /// How it is talked to.
    pub http: HttpSettings,
    /// What tags are called there.
    pub mapping: NameMapping,
    /// How a tag's target there is found.
    pub rule: ResolveRule,
    /// Whether annotations are part of what is compared.
    pub compare_annotations: bool,
}

impl RemoteSettings {
    /// A repository on this host as the side that is written to.
    pub(super) fn repository(repository: &Repository) -> Self {
        Self {
            name: repository.name.clone(),
            provider: &provider::repository::DESCRIPTOR,
            keys: Arc::new(provider::repository::Keys::new(repository.path.clone())),
            http: HttpSettings::default(),
            mapping: NameMapping::default(),
            rule: ResolveRule::Commit,
            compare_annotations: false,
        }
    }

    /// What the remote can do, with its own keys taken into account.
    pub fn capabilities(&self) -> &'static Capabilities {
        self.keys.capabilities().unwrap_or(&self.provider.capabilities)
    }

    /// Whether tags have to be read with their messages for this remote.
    pub fn needs_messages(&self) -> bool {
        self.compare_annotations || matches!(self.rule, ResolveRule::Trailer(_))
    }
}

impl RemoteTemplate {
    pub(super) fn new(name: &str, source: &Arc<Source>) -> Self {
        Self { name: name.to_owned(), origin: Origin::Written(Arc::clone(source)) }
    }

    /// A remote that no file describes: these settings, whatever the repository. For a provider that is not in the list.
    pub fn ready(settings: RemoteSettings) -> Self {
        Self { name: settings.name.clone(), origin: Origin::Ready(Box::new(settings)) }
    }

    /// The remote's settings with `{repository}` replaced by this name.
    pub fn for_repository(&self, repository: &str) -> Result<RemoteSettings, ConfigFault> {
        let source = match &self.origin {
            Origin::Ready(settings) => return Ok((**settings).clone()),
            Origin::Written(source) => source,
        };
        let mut problems = Problems::new();
        let (root, _) = DeTable::parse_recoverable(source.text());
        let settings = match table(root.into_inner(), &self.name) {
            Some(table) => read(&self.name, table, repository, &mut problems),
            None => {
                problems.push(0..0, format!("there is no table `[remote.{}]`", self.name), None);
                None
            }
        };
        match settings {
            Some(settings) if problems.is_empty() => Ok(settings),
            _ => Err(problems.into_fault(source)),
        }
    }
}

/// Shows the name only: the table behind it may hold anything.
impl fmt::Debug for RemoteTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteTemplate").field("name", &self.name).finish_non_exhaustive()
    }
}

fn table<'t>(mut root: DeTable<'t>, name: &str) -> Option<Table<'t>> {
    let DeValue::Table(mut remotes) = root.remove("remote")?.into_inner() else { return None };
    let value = remotes.remove(name)?;
    let span = value.span();
    let DeValue::Table(entries) = value.into_inner() else { return None };
    Some(Table::new(entries, span))
}

/// Reads a remote for one repository. `None` only together with a problem.
pub(super) fn read(name: &str, table: Table<'_>, repository: &str, problems: &mut Problems) -> Option<RemoteSettings> {
    let before = problems.len();
    let expand = |text: &str| text.contains(PLACEHOLDER).then(|| text.replace(PLACEHOLDER, repository));
    let (common, own) = table.map_strings(&expand).split(REMOTE_KEYS);
    let span = own.span();
    let common: fragment::RemoteKeys = common.read(problems);

    let known = format!("one of {}", listing(PROVIDERS.iter().map(|descriptor| descriptor.name)));
    if common.provider.is_none() {
        // Without a provider, nobody else would say that a key has a slip in it.
        for slip in own.keys().filter(|key| nearest(key.get_ref(), ["provider"]).is_some()) {
            problems.push(slip.span(), format!("unknown key `{}`", slip.get_ref()), Some("did you mean `provider`?"));
            problems.spoil(span.clone(), "provider".into());
        }
    }
    let provider = problems.required(span.clone(), "provider", common.provider, Some(&known));
    let descriptor = provider.and_then(|written| find_provider(&written, &known, problems));
    let http = http(common.timeout, common.ca_file, common.concurrency, common.rate, problems);
    let http = HttpSettings { allow_http: common.allow_http.unwrap_or(false), ..http };
    let replace = replacements(common.replace.unwrap_or_default(), problems);
    let mapping = NameMapping {
        strip_prefix: common.strip_prefix.unwrap_or_default(),
        replace,
        add_prefix: common.add_prefix.unwrap_or_default(),
    };
    let descriptor = descriptor?;
    let keys = (descriptor.read)(own.allowing_http(http.allow_http), problems);
    // What a remote can do may depend on its own keys.
    let capabilities = keys.as_ref().and_then(|keys| keys.capabilities()).unwrap_or(&descriptor.capabilities);
    let rule = resolve::rule(common.target, capabilities.target, &span, problems);
    let compare_annotations = common.annotations.is_some_and(|written| compares(&written, capabilities, problems));
    if keys.is_none() && problems.len() == before {
        problems.push(span, format!("the keys of this `{}` remote could not be read", descriptor.name), None);
    }
    Some(RemoteSettings {
        name: name.to_owned(),
        provider: descriptor,
        keys: keys?,
        http,
        mapping,
        rule: rule?,
        compare_annotations,
    })
}

/// Whether annotations are compared; they cannot be where none are kept.
fn compares(written: &Spanned<WrittenAnnotations>, capabilities: &Capabilities, problems: &mut Problems) -> bool {
    match (written.get_ref(), capabilities.annotations) {
        (WrittenAnnotations::Ignore, _) => false,
        (WrittenAnnotations::Message, Annotations::Message) => true,
        (WrittenAnnotations::Message, Annotations::Whole) => {
            let message = "this remote keeps annotated tags byte for byte, and that is what is compared";
            problems.push_showing(written.span(), message, Some("leave `annotations` out"));
            false
        }
        (WrittenAnnotations::Message, Annotations::None) => {
            let message = "this remote keeps no annotations that could be compared";
            problems.push_showing(written.span(), message, Some("leave `annotations` out"));
            false
        }
    }
}

fn find_provider(written: &Spanned<String>, known: &str, problems: &mut Problems) -> Option<&'static Descriptor> {
    let found = provider::try_find(written.get_ref());
    if found.is_none() {
        match nearest(written.get_ref(), PROVIDERS.iter().map(|descriptor| descriptor.name)) {
            Some(meant) => problems.push_showing(
                written.span(),
                format!("unknown provider `{}`", written.get_ref()),
                Some(&format!("did you mean `{meant}`? Providers: {}", known.trim_start_matches("one of "))),
            ),
            None => problems.push(written.span(), "unknown provider", Some(known)),
        }
    }
    found
}

fn http(
    timeout: Option<Spanned<super::duration::WrittenDuration>>,
    ca_file: Option<Spanned<String>>,
    concurrency: Option<Spanned<i64>>,
    rate: Option<Spanned<fragment::Number>>,
    problems: &mut Problems,
) -> HttpSettings {
    let default = HttpSettings::default();
    let timeout = timeout.map_or(default.timeout, |written| {
        if written.get_ref().0.is_zero() {
            problems.push(written.span(), "a request needs some time", None);
        }
        written.get_ref().0
    });
    let ca_file = ca_file.and_then(|written| absolute(&written, problems));
    let concurrency =
        concurrency.and_then(|written| in_range(&written, 1, 64, problems)).unwrap_or(default.concurrency);
    let rate = rate.and_then(|written| {
        let rate = Rate::per_second(written.get_ref().0);
        if rate.is_none() {
            let message = "`rate` is requests per second: above 0, and at least one a day";
            problems.push_showing(written.span(), message, None);
        }
        rate
    });
    HttpSettings { timeout, ca_file, concurrency, rate, ..default }
}

fn replacements(
    written: std::collections::BTreeMap<Spanned<String>, String>,
    problems: &mut Problems,
) -> Vec<(String, String)> {
    let mut replacements: Vec<_> = written.into_iter().collect();
    replacements.sort_by_key(|(from, _)| from.span().start);
    replacements
        .into_iter()
        .map(|(from, to)| {
            if from.get_ref().is_empty() {
                problems.push(from.span(), "an empty text cannot be replaced", None);
            }
            (from.into_inner(), to)
        })
        .collect()
}

/// A whole number within bounds.
pub(super) fn in_range<T: TryFrom<i64>>(
    written: &Spanned<i64>,
    least: i64,
    most: i64,
    problems: &mut Problems,
) -> Option<T> {
    let number = *written.get_ref();
    let number = (least..=most).contains(&number).then(|| T::try_from(number).ok()).flatten();
    if number.is_none() {
        problems.push_showing(written.span(), format!("expected a whole number from {least} to {most}"), None);
    }
    number
}

/// A path that does not depend on the directory in which the program was started.
pub(super) fn absolute(written: &Spanned<String>, problems: &mut Problems) -> Option<PathBuf> {
    let path = PathBuf::from(written.get_ref());
    if path.is_absolute() {
        return Some(path);
    }
    problems.push(written.span(), "the path must be absolute", None);
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::gitlab;

    #[test]
    fn annotations_are_compared_only_where_some_are_kept() {
        let of = &gitlab::DESCRIPTOR.capabilities;
        for (annotations, written, compared, wrong) in [
            (Annotations::Message, WrittenAnnotations::Message, true, 0),
            (Annotations::Message, WrittenAnnotations::Ignore, false, 0),
            (Annotations::None, WrittenAnnotations::Ignore, false, 0),
            (Annotations::None, WrittenAnnotations::Message, false, 1),
            (Annotations::Whole, WrittenAnnotations::Ignore, false, 0),
            (Annotations::Whole, WrittenAnnotations::Message, false, 1),
        ] {
            let names = crate::provider::NameRules { are_refs: false, ..of.names };
            let capabilities = Capabilities { annotations, names, ..*of };
            let mut problems = Problems::new();
            assert_eq!(compares(&Spanned::new(0..9, written), &capabilities, &mut problems), compared);
            assert_eq!(problems.len(), wrong, "{annotations:?} {written:?}");
        }
    }
}
