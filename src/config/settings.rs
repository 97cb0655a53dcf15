//! From the file to the settings that the program runs on.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read as _};
use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::document::Table;
use super::fragment::{DaemonKeys, JobKeys, LimitKeys, RepositoryKeys};
use super::near::{listing, nearest};
use super::notify::{self, NotifySettings};
use super::problem::{ConfigFault, Problems, Source};
use super::remote::{self, PLACEHOLDER, RemoteSettings, RemoteTemplate, SAMPLE, absolute, in_range};
use super::repositories::{NAME_RULE, PathPattern, Repositories, Repository, is_name};
use super::secret::SecretSource;
use super::zone::{Zone, find_time_zone};
use crate::plan::{Limits, Policy};
use crate::schedule::Schedule;
use crate::tag::{NamePatterns, Selection};
use crate::text::excerpt;

/// More than this is no configuration; it would only be a way to keep the program busy.
const LARGEST: u64 = 1024 * 1024;

/// How long a name must stay absent before a daemon deletes it, unless the job says otherwise.
pub(super) const DELETE_GRACE: Duration = Duration::from_secs(60);

/// When jobs run, unless the file says otherwise.
pub(super) const SCHEDULE: &str = "*/15 * * * *";

/// The time zone of schedules, unless the file says otherwise.
pub(super) const TIMEZONE: &str = "UTC";

/// By how much starts are shifted at most, unless the file says otherwise.
pub(super) const JITTER: Duration = Duration::from_secs(30);

/// What spreads the load of a schedule never needs more.
const LONGEST_JITTER: Duration = Duration::from_secs(24 * 60 * 60);

/// Everything that a file says, checked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The file.
    pub file: PathBuf,
    /// What concerns the daemon as a whole.
    pub daemon: DaemonSettings,
    /// The jobs in the order of the file; there is at least one.
    pub jobs: Vec<JobSettings>,
    /// Whom to tell when something changes its state.
    pub notify: NotifySettings,
    /// What was read, to say where something stands in it.
    pub source: Arc<Source>,
}

/// `[daemon]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DaemonSettings {
    /// Where the ledger lives; absent means that the environment decides.
    pub state: Option<PathBuf>,
    /// The time zone of all schedules.
    pub timezone: Zone,
    /// By how much the start of a job may be shifted at most, so that not all begin at once: at most a day.
    pub jitter: Duration,
    /// Where to listen for HTTP; absent means nowhere.
    pub listen: Option<SocketAddr>,
}

/// `[job.NAME]`.
#[derive(Clone, Debug)]
pub struct JobSettings {
    /// Its name.
    pub name: String,
    /// Where tags come from.
    pub from: Repositories,
    /// Where they go, in the order of the file; there is at least one.
    pub to: Vec<RemoteTemplate>,
    /// What may be done there.
    pub policy: Policy,
    /// Which names count.
    pub selection: Selection,
    /// Names that keep their first value.
    pub immutable: NamePatterns,
    /// Names that are never moved and never deleted.
    pub protected: NamePatterns,
    /// How much each remote may lose in a day.
    pub limits: Limits,
    /// How long a name must stay absent before a daemon deletes it.
    pub delete_grace: Duration,
    /// When it runs: its own schedule, else the daemon's.
    pub schedule: Schedule,
    /// What signs webhooks that start it; absent means that none are accepted.
    pub hook_secret: Option<SecretSource>,
}

/// Reads a configuration file.
pub fn load(path: &Path) -> Result<Settings, ConfigFault> {
    let unreadable = |message: String, hint: Option<&str>| ConfigFault::Unreadable {
        file: path.to_owned(),
        message,
        hint: hint.map(str::to_owned),
    };
    let bytes = read(path).map_err(|fault| {
        let hint = match fault.kind() {
            io::ErrorKind::NotFound => Some("name another file with `--config FILE` or `$TAGSYNCD_CONFIG`"),
            io::ErrorKind::PermissionDenied => Some("the user that runs the program must be able to read it"),
            _ => None,
        };
        unreadable(format!("cannot be read: {fault}"), hint)
    })?;
    if bytes.len() as u64 > LARGEST {
        return Err(unreadable(format!("is larger than {} KiB, so it is no configuration", LARGEST / 1024), None));
    }
    let text = String::from_utf8(bytes).map_err(|fault| {
        let valid = &fault.as_bytes()[..fault.utf8_error().valid_up_to()];
        let line = valid.iter().filter(|byte| **byte == b'\n').count() + 1;
        unreadable(format!("is not UTF-8 text: line {line} has other bytes"), Some("save it as UTF-8"))
    })?;
    Settings::parse(&text, path)
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    // A pipe without a writer would keep us waiting; the look before the opening is only to spare people that.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(LARGEST + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

impl Settings {
    /// Reads the text of a configuration file; `path` is only for messages.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigFault> {
        let (root, faults) = DeTable::parse_recoverable(text);
        let source = Arc::new(Source::new(path, text, root.get_ref(), faults.is_empty()));
        let mut problems = Problems::new();
        for fault in &faults {
            problems.push(fault.span().unwrap_or_default(), format!("this is not TOML: {}", fault.message()), None);
        }
        // What a broken text seems to say is not worth checking.
        if !problems.is_empty() {
            return Err(problems.into_fault(&source));
        }
        let settings = Sections::of(root.into_inner(), &mut problems).read(&source, &mut problems);
        match settings {
            Some((daemon, jobs, notify)) if problems.is_empty() => {
                Ok(Self { file: path.to_owned(), daemon, jobs, notify, source })
            }
            _ => Err(problems.into_fault(&source)),
        }
    }
}

/// A table with a name of its own: `[job.NAME]`.
struct Section<'t> {
    name: Spanned<String>,
    table: Table<'t>,
}

/// The file by its kinds of tables, each in the order of the file.
#[derive(Default)]
struct Sections<'t> {
    daemon: Option<Table<'t>>,
    repositories: Vec<Section<'t>>,
    remotes: Vec<Section<'t>>,
    jobs: Vec<Section<'t>>,
    notify: Option<Table<'t>>,
}

impl<'t> Sections<'t> {
    fn of(root: DeTable<'t>, problems: &mut Problems) -> Self {
        const KINDS: [&str; 5] = ["daemon", "repository", "remote", "job", "notify"];
        let mut sections = Self::default();
        for (key, value) in root {
            match key.get_ref().as_ref() {
                "daemon" => {
                    sections.daemon = table(value, problems, "`[daemon]` is one table");
                }
                "notify" => {
                    sections.notify = table(value, problems, "`[notify]` is one table");
                }
                "repository" => sections.repositories = named(value, problems, "repository"),
                "remote" => sections.remotes = named(value, problems, "remote"),
                "job" => sections.jobs = named(value, problems, "job"),
                other => {
                    let other = excerpt(other.as_bytes(), 64);
                    let hint = nearest(&other, KINDS).map_or_else(
                        || format!("at the top there are {}", listing(KINDS)),
                        |meant| format!("did you mean `{meant}`?"),
                    );
                    problems.push(key.span(), format!("unknown key `{other}`"), Some(&hint));
                }
            }
        }
        sections
    }

    fn read(
        self,
        source: &Arc<Source>,
        problems: &mut Problems,
    ) -> Option<(DaemonSettings, Vec<JobSettings>, NotifySettings)> {
        for remote in &self.remotes {
            let name = remote.name.get_ref();
            if self.repositories.iter().any(|repository| repository.name.get_ref() == name) {
                let message = format!("`{name}` is the name of a repository too");
                problems.push(
                    remote.name.span(),
                    message,
                    Some("`from` and `to` could mean either: rename one of them"),
                );
            }
        }
        let notify = self.notify.map_or_else(NotifySettings::default, |table| notify::read(table, problems));
        let (daemon, schedule) = daemon(self.daemon, problems)?;
        let repositories = self
            .repositories
            .into_iter()
            .map(|section| (section.name.get_ref().clone(), repository(section, problems)))
            .collect();
        let remotes = self.remotes.into_iter().map(|section| (section.name.into_inner(), section.table)).collect();
        let mut known = Known { repositories, remotes, uses: BTreeMap::new() };
        if self.jobs.is_empty() && problems.is_empty() {
            let hint = "a job says what goes where: `[job.NAME]` with `from`, `to` and `policy`";
            problems.push(0..0, "there is no job, so there is nothing to do", Some(hint));
        }
        let jobs: Option<Vec<_>> =
            self.jobs.into_iter().map(|section| job(section, &mut known, source, &schedule, problems)).collect();
        known.check_remotes(problems);
        Some((daemon, jobs?, notify))
    }
}

fn table<'t>(value: Spanned<DeValue<'t>>, problems: &mut Problems, expected: &str) -> Option<Table<'t>> {
    let span = value.span();
    match value.into_inner() {
        DeValue::Table(entries) => Some(Table::new(entries, span)),
        _ => {
            problems.push(span, expected, None);
            None
        }
    }
}

fn named<'t>(value: Spanned<DeValue<'t>>, problems: &mut Problems, kind: &str) -> Vec<Section<'t>> {
    let expected = format!("a {kind} is a table with a name: `[{kind}.NAME]`");
    let span = value.span();
    let DeValue::Table(entries) = value.into_inner() else {
        problems.push(span, expected, None);
        return Vec::new();
    };
    let mut sections: Vec<_> = entries
        .into_iter()
        .filter_map(|(key, value)| {
            if !is_name(key.get_ref()) {
                problems.push(key.span(), format!("this cannot be the name of a {kind}"), Some(NAME_RULE));
            }
            let name = Spanned::new(key.span(), key.get_ref().clone().into_owned());
            Some(Section { name, table: table(value, problems, &expected)? })
        })
        .collect();
    sections.sort_by_key(|section| section.name.span().start);
    sections
}

/// What jobs may refer to.
struct Known<'t> {
    /// Those with problems of their own are known, but of no use.
    repositories: BTreeMap<String, Option<Repositories>>,
    remotes: BTreeMap<String, Table<'t>>,
    /// The repositories that each remote serves.
    uses: BTreeMap<String, BTreeSet<String>>,
}

impl Known<'_> {
    /// Reads every remote for every repository that it serves, so that nothing is left to go wrong in a pass.
    fn check_remotes(self, problems: &mut Problems) {
        for (name, table) in self.remotes {
            let unused = BTreeSet::from([SAMPLE.to_owned()]);
            for repository in self.uses.get(&name).unwrap_or(&unused) {
                let mut found = Problems::new();
                remote::read(&name, table.clone(), repository, &mut found);
                problems.absorb(found);
            }
        }
    }

    fn source(&self, written: &Spanned<String>, problems: &mut Problems) -> Option<Repositories> {
        let name = written.get_ref();
        match self.repositories.get(name) {
            Some(found) => found.clone(),
            None if self.remotes.contains_key(name) => {
                let message = format!("`{name}` is a remote; mirroring from a remote is not supported yet");
                problems.push_showing(written.span(), message, None);
                None
            }
            None => {
                unknown_name("repository", written, self.repositories.keys(), problems);
                None
            }
        }
    }

    fn destination(&self, written: &Spanned<String>, problems: &mut Problems) -> Option<To<'_>> {
        let name = written.get_ref();
        match (self.remotes.get(name), self.repositories.get(name)) {
            (Some(table), _) => Some(To::Remote(table)),
            (None, Some(Some(Repositories::One(repository)))) => Some(To::Repository(repository)),
            (None, Some(Some(Repositories::Many { .. }))) => {
                problems.push_showing(
                    written.span(),
                    format!("`{name}` is many repositories, and tags go to one"),
                    Some("write a remote with `provider = \"repository\"` and `{repository}` in its `path`"),
                );
                None
            }
            (None, Some(None)) => None,
            (None, None) => {
                unknown_name("remote", written, self.remotes.keys(), problems);
                None
            }
        }
    }
}

/// What an entry of `to` names.
enum To<'a> {
    Remote(&'a Table<'a>),
    Repository(&'a Repository),
}

fn unknown_name<'n>(
    kind: &str,
    written: &Spanned<String>,
    known: impl ExactSizeIterator<Item = &'n String> + Clone,
    problems: &mut Problems,
) {
    let name = written.get_ref();
    let hint = match nearest(name, known.clone().map(String::as_str)) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None if known.len() == 0 => format!("there is none in this file: add `[{kind}.NAME]`"),
        None => format!("there is {}", listing(known.map(String::as_str))),
    };
    // A name is public: reports show it. What cannot be a name might be anything.
    if is_name(name) {
        problems.push_showing(written.span(), format!("there is no {kind} `{name}`"), Some(&hint));
    } else {
        problems.push(written.span(), format!("there is no {kind} of this name"), Some(&hint));
    }
}

/// The daemon's settings, and when jobs run that do not say so themselves.
fn daemon(table: Option<Table<'_>>, problems: &mut Problems) -> Option<(DaemonSettings, Schedule)> {
    let keys: DaemonKeys = table.map(|table| table.read(problems)).unwrap_or_default();
    let listen = keys.listen.and_then(|written| {
        let address = written.get_ref().parse().ok();
        if address.is_none() {
            let hint = "write an IP address and a port, like \"127.0.0.1:9465\" or \"[::1]:9465\"";
            problems.push(written.span(), "this is not an address to listen on", Some(hint));
        }
        address
    });
    let timezone = keys.timezone.and_then(|written| {
        let found = find_time_zone(written.get_ref());
        found.map_err(|fault| problems.push(written.span(), fault.message, Some(&fault.hint))).ok()
    });
    // The name is always known, and the other keys are worth a look whatever is wrong with this one.
    let timezone = timezone.or_else(|| find_time_zone(TIMEZONE).ok())?;
    let own = keys.schedule.and_then(|written| schedule(&written, &timezone.time_zone, problems));
    let schedule = own.or_else(|| Schedule::parse(SCHEDULE, timezone.time_zone.clone()).ok())?;
    let jitter = keys.jitter.map_or(JITTER, |written| {
        let jitter = written.get_ref().0;
        if jitter > LONGEST_JITTER {
            let hint = "it only spreads the load; another time of day belongs into `schedule`";
            problems.push(written.span(), "`jitter` is longer than a day", Some(hint));
        }
        jitter
    });
    let state = keys.state.and_then(|written| absolute(&written, problems));
    Some((DaemonSettings { state, timezone, jitter, listen }, schedule))
}

fn schedule(written: &Spanned<String>, zone: &TimeZone, problems: &mut Problems) -> Option<Schedule> {
    let text = written.get_ref();
    let fault = match Schedule::parse(text, zone.clone()) {
        Ok(schedule) => return Some(schedule),
        Err(fault) => fault,
    };
    let mut at = written.span();
    // Between two quotes, without escapes: the field can be pointed at.
    if at.len() == text.len() + 2 && !fault.at.is_empty() {
        at = at.start + 1 + fault.at.start..at.start + 1 + fault.at.end;
    }
    problems.push(at, fault.message, Some(&fault.hint));
    None
}

fn repository(section: Section<'_>, problems: &mut Problems) -> Option<Repositories> {
    let span = section.table.span();
    let name = section.name.into_inner();
    let keys: RepositoryKeys = section.table.read(problems);
    match (keys.path, keys.paths) {
        (Some(_), Some(paths)) => {
            problems.push(paths.span(), "a repository has either `path` or `paths`", Some("make two tables of it"));
            None
        }
        (Some(path), None) => absolute(&path, problems).map(|path| Repositories::One(Repository { name, path })),
        (None, Some(paths)) => {
            let before = problems.len();
            if paths.get_ref().is_empty() && !problems.is_spoiled(&span, "paths") {
                problems.push(paths.span(), "`paths` is empty", Some("`paths = [\"/srv/git/*.git\"]`"));
            }
            let patterns = paths.into_inner().into_iter().filter_map(|written| {
                PathPattern::new(written.get_ref()).map_err(|reason| problems.push(written.span(), reason, None)).ok()
            });
            let patterns = patterns.collect();
            (problems.len() == before).then_some(Repositories::Many { name, patterns })
        }
        (None, None) => {
            let hint = "one repository: `path = \"/srv/git/core.git\"`; many: `paths = [\"/srv/git/*.git\"]`";
            if !problems.is_spoiled(&span, "paths") {
                problems.required(span, "path", None::<()>, Some(hint));
            }
            None
        }
    }
}

fn job(
    section: Section<'_>,
    known: &mut Known<'_>,
    source: &Arc<Source>,
    default: &Schedule,
    problems: &mut Problems,
) -> Option<JobSettings> {
    let span = section.table.span();
    let keys: JobKeys = section.table.read(problems);
    let from_hint = "`from` names a `[repository.NAME]`";
    let from = problems.required(span.clone(), "from", keys.from, Some(from_hint));
    let from = from.and_then(|written| known.source(&written, problems));
    let policy_hint = "`create-only` never moves or deletes, `mirror` moves and deletes what it made itself, \
                       `exact` also overwrites and deletes everything else";
    let policy = problems.required(span.clone(), "policy", keys.policy, Some(policy_hint));
    let to = problems.required(span.clone(), "to", keys.to, Some("`to = [\"NAME\"]` lists `[remote.NAME]`s"));
    let to = to.and_then(|written| {
        let policy = policy.as_ref().map(|policy| Policy::from(*policy.get_ref()));
        destinations(written, &span, from.as_ref(), policy, known, source, problems)
    });
    let selection = Selection {
        patterns: patterns(keys.tags, problems),
        versions: keys.semver.and_then(|written| versions(&written, problems)),
    };
    let immutable = patterns(keys.immutable, problems);
    let protected = patterns(keys.protected, problems);
    let limits = limits(&keys.limits.unwrap_or_default(), problems);
    let schedule = keys.schedule.and_then(|written| schedule(&written, default.time_zone(), problems));
    Some(JobSettings {
        name: section.name.into_inner(),
        from: from?,
        to: to?,
        policy: policy?.into_inner().into(),
        selection,
        immutable,
        protected,
        limits,
        delete_grace: keys.delete_grace.map_or(DELETE_GRACE, |written| written.0),
        schedule: schedule.unwrap_or_else(|| default.clone()),
        hook_secret: keys.hook_secret,
    })
}

fn destinations(
    written: Spanned<Vec<Spanned<String>>>,
    job: &Range<usize>,
    from: Option<&Repositories>,
    policy: Option<Policy>,
    known: &mut Known<'_>,
    source: &Arc<Source>,
    problems: &mut Problems,
) -> Option<Vec<RemoteTemplate>> {
    if written.get_ref().is_empty() && !problems.is_spoiled(job, "to") {
        problems.push(written.span(), "`to` is empty, so the job has nothing to do", Some("list at least one remote"));
    }
    let mut seen = BTreeSet::new();
    let mut to = Vec::new();
    for written in written.get_ref() {
        let name = written.get_ref();
        let Some(found) = known.destination(written, problems) else { continue };
        if !seen.insert(name) {
            problems.push_showing(written.span(), format!("`{name}` is listed twice"), None);
            continue;
        }
        let table = match found {
            To::Remote(table) => table,
            To::Repository(repository) => {
                match from {
                    Some(Repositories::One(from)) if from.path == repository.path => {
                        problems.push_showing(written.span(), format!("`{name}` is where the tags come from"), None);
                    }
                    Some(Repositories::Many { name: many, .. }) => problems.push_showing(
                        written.span(),
                        format!("all repositories of `{many}` would share the tags of `{name}`"),
                        Some("write a remote with `provider = \"repository\"` and `{repository}` in its `path`"),
                    ),
                    Some(Repositories::One(_)) | None => {}
                }
                to.push(RemoteTemplate::ready(RemoteSettings::repository(repository)));
                continue;
            }
        };
        let renames =
            matches!(table.get("replace").map(Spanned::get_ref), Some(DeValue::Table(pairs)) if !pairs.is_empty());
        if policy == Some(Policy::Exact) && renames {
            problems.push_showing(
                written.span(),
                format!("`exact` cannot serve `{name}`, which has `replace`"),
                Some(
                    "replaced names do not lead back to source names, so it cannot tell what is not ours; use `mirror`",
                ),
            );
        }
        if let Some(Repositories::Many { name: many, .. }) = from
            && !table.any_string(&|text| text.contains(PLACEHOLDER))
        {
            problems.push_showing(
                written.span(),
                format!("all repositories of `{many}` would share the tags of `{name}`"),
                Some("put `{repository}` into one of its strings, as in `project = \"infra/{repository}\"`"),
            );
        }
        let served = match from {
            Some(Repositories::One(repository)) => repository.name.clone(),
            Some(Repositories::Many { .. }) | None => SAMPLE.to_owned(),
        };
        known.uses.entry(name.clone()).or_default().insert(served);
        to.push(RemoteTemplate::new(name, source));
    }
    Some(to)
}

fn patterns(written: Option<Vec<Spanned<String>>>, problems: &mut Problems) -> NamePatterns {
    let written = written.unwrap_or_default();
    for pattern in &written {
        if let Err(fault) = NamePatterns::new([pattern.get_ref()]) {
            problems.push(pattern.span(), format!("not a pattern: {}", fault.reason), None);
        }
    }
    NamePatterns::new(written.iter().map(Spanned::get_ref)).unwrap_or_default()
}

fn versions(written: &Spanned<String>, problems: &mut Problems) -> Option<semver::VersionReq> {
    let versions = written.get_ref().parse().ok();
    if versions.is_none() {
        let hint = "like \">=1.0.0\", \"^2\" or \">=1.2, <2\"";
        problems.push(written.span(), "this is not a range of versions", Some(hint));
    }
    versions
}

fn limits(keys: &LimitKeys, problems: &mut Problems) -> Limits {
    let default = Limits::default();
    let mut count = |written: &Option<Spanned<i64>>, default| {
        written.as_ref().and_then(|written| in_range(written, 0, u32::MAX.into(), problems)).unwrap_or(default)
    };
    let (deletes, moves) = (count(&keys.deletes, default.deletes), count(&keys.moves, default.moves));
    let mut percent = |written: &Option<Spanned<i64>>, default| {
        written.as_ref().and_then(|written| in_range(written, 0, 100, problems)).unwrap_or(default)
    };
    Limits {
        deletes,
        deletes_percent: percent(&keys.deletes_percent, default.deletes_percent),
        moves,
        moves_percent: percent(&keys.moves_percent, default.moves_percent),
    }
}
