//! Jobs that lead a tag back to where it came from.
//!
//! In a ring of `create-only` jobs all sides end up with the union of their tags. Where any job of it moves or deletes, the others
//! put back what it takes away, or carry its deletions around: that is refused, unless the names are known to stay apart.
//! Sides are compared by what they are, not by what the file calls them.

use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;
use std::path::PathBuf;

use super::problem::Problems;
use super::remote::RemoteSettings;
use super::repositories::{Place, Repositories, Repository};
use super::settings::JobSettings;
use crate::plan::Policy;
use crate::provider;
use crate::tag::{NameMapping, TargetKind};

/// A set of tags, by what it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Side {
    Directory(PathBuf),
    /// The directories that the patterns of this table find.
    Found(String),
    Remote(Kind, String),
}

/// What tags there point at; two APIs may show one git repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Git,
    Snapshots,
    Manifests,
}

impl Side {
    fn of_remote(settings: &RemoteSettings) -> Self {
        if settings.provider.name == provider::repository::DESCRIPTOR.name {
            return Self::Directory(settings.keys.describe().into());
        }
        let kind = match settings.capabilities().target {
            TargetKind::Commit | TargetKind::Object => Kind::Git,
            TargetKind::Snapshot => Kind::Snapshots,
            TargetKind::Digest => Kind::Manifests,
        };
        // `https://host group/project` of an API is `https://host/group/project.git` of git; hosts do not tell upper from lower
        // case, nor do most forges.
        let place = settings.keys.place().to_lowercase();
        let place = place.trim_end_matches('/');
        Self::Remote(kind, place.strip_suffix(".git").unwrap_or(place).to_owned())
    }
}

/// What goes from one side to another.
#[derive(Debug)]
struct Edge<'a> {
    job: &'a JobSettings,
    /// Where the file says so.
    at: &'a Range<usize>,
    names: [&'a str; 2],
    from: Side,
    to: Side,
    mapping: NameMapping,
}

/// Looks for rings. Each job comes with the place of its `to`.
pub(super) fn check(jobs: &[(JobSettings, Range<usize>)], problems: &mut Problems) {
    let edges: Vec<Edge<'_>> = jobs.iter().flat_map(|(job, at)| edges(job, at)).collect();
    let mut told = BTreeSet::new();
    for edge in &edges {
        if edge.from == edge.to {
            let [from, to] = edge.names;
            let message = format!("`{from}` and `{to}` are one and the same place");
            problems.push_showing(edge.at.clone(), message, Some("a job leads from one place to another"));
        } else if edge.job.policy != Policy::CreateOnly
            && let Some(back) = way_back(edge, &edges)
        {
            let ring: BTreeSet<&str> =
                std::iter::once(edge).chain(back.iter().copied()).map(|edge| edge.job.name.as_str()).collect();
            if told.insert(ring) {
                let steps: Vec<String> = std::iter::once(edge).chain(back).map(step).collect();
                let message = format!("tags of `{}` would come back to it: {}", edge.names[0], steps.join(", then "));
                let hint = "what one job takes away the next one brings back, or takes away everywhere: let all of them be `create-only`, \
                            or give each its own names by `tags`, like \"v*\" and \"rc-*\"";
                problems.push_showing(edge.at.clone(), message, Some(hint));
            }
        }
    }
}

fn step(edge: &Edge<'_>) -> String {
    let [from, to] = edge.names;
    format!("`{}` ({}) from `{from}` to `{to}`", edge.job.name, edge.job.policy.word())
}

fn edges<'a>(job: &'a JobSettings, at: &'a Range<usize>) -> Vec<Edge<'a>> {
    let (from, repository) = match &job.from {
        Repositories::One(Repository { name, place: Place::Directory(path) }) => {
            (Side::Directory(path.clone()), name.as_str())
        }
        Repositories::One(Repository { name, place: Place::Remote(remote) }) => match remote.for_repository(name) {
            Ok(settings) => (Side::of_remote(&settings), name.as_str()),
            Err(_) => return Vec::new(),
        },
        Repositories::Many { name, .. } => (Side::Found(name.clone()), super::remote::SAMPLE),
    };
    let to = job.to.iter().filter_map(|remote| {
        let settings = remote.for_repository(repository).ok()?;
        let names = [job.from.name(), remote.name.as_str()];
        Some(Edge { job, at, names, from: from.clone(), to: Side::of_remote(&settings), mapping: settings.mapping })
    });
    to.collect()
}

/// What names begin with: each with one of these.
type Prefixes = BTreeSet<String>;

/// The jobs by which some tag that takes this step comes back to where it began.
fn way_back<'a>(first: &'a Edge<'a>, edges: &'a [Edge<'a>]) -> Option<Vec<&'a Edge<'a>>> {
    let begun = selected(first.job);
    let arrived = through(&first.mapping, &begun);
    let mut seen = BTreeSet::from([(first.to.clone(), arrived.clone())]);
    let mut open = VecDeque::from([(&first.to, arrived, Vec::new())]);
    while let Some((side, names, way)) = open.pop_front() {
        for edge in edges.iter().filter(|edge| edge.from == *side && edge.to != *side) {
            let taken = common(&names, &selected(edge.job));
            if taken.is_empty() {
                continue;
            }
            let arrived = through(&edge.mapping, &taken);
            let mut way = way.clone();
            way.push(edge);
            if edge.to == first.from {
                if !common(&arrived, &begun).is_empty() {
                    return Some(way);
                }
            } else if seen.insert((edge.to.clone(), arrived.clone())) {
                open.push_back((&edge.to, arrived, way));
            }
        }
    }
    None
}

fn selected(job: &JobSettings) -> Prefixes {
    job.selection.patterns.literal_prefixes().map(str::to_owned).collect()
}

/// What names are called after a mapping, as far as that can be told from how they begin.
fn through(mapping: &NameMapping, names: &Prefixes) -> Prefixes {
    let NameMapping { strip_prefix, replace, add_prefix } = mapping;
    let mapped = names.iter().map(|prefix| {
        let rest = match prefix.strip_prefix(strip_prefix.as_str()) {
            _ if !replace.is_empty() => "",
            Some(rest) => rest,
            // Some have the prefix, and some do not.
            None if strip_prefix.starts_with(prefix.as_str()) => "",
            None => prefix,
        };
        format!("{add_prefix}{rest}")
    });
    mapped.collect()
}

/// What names begin with that are among both.
fn common(one: &Prefixes, other: &Prefixes) -> Prefixes {
    let pairs = one.iter().flat_map(|one| other.iter().map(move |other| (one, other)));
    let both = pairs.filter_map(|(one, other)| {
        let longer = if one.len() >= other.len() { one } else { other };
        (one.starts_with(other.as_str()) || other.starts_with(one.as_str())).then(|| longer.clone())
    });
    both.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefixes(texts: &[&str]) -> Prefixes {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn names_are_common_where_one_beginning_is_part_of_the_other() {
        for (one, other, both) in [
            (&["v"][..], &["v1"][..], &["v1"][..]),
            (&[""], &["v", "rc-"], &["v", "rc-"]),
            (&["v"], &["rc-"], &[]),
            (&["a", "b"], &["b", "c"], &["b"]),
        ] {
            assert_eq!(common(&prefixes(one), &prefixes(other)), prefixes(both), "{one:?} {other:?}");
        }
    }

    #[test]
    fn a_mapping_leaves_as_much_as_is_certain() {
        let mapping = |strip: &str, replace: &[(&str, &str)], add: &str| NameMapping {
            strip_prefix: strip.to_owned(),
            replace: replace.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned())).collect(),
            add_prefix: add.to_owned(),
        };
        for (mapping, prefix, mapped) in [
            (mapping("", &[], ""), "v", "v"),
            (mapping("v", &[], "r-"), "v1", "r-1"),
            (mapping("v", &[], "r-"), "rc", "r-rc"),
            (mapping("ver", &[], "r-"), "v", "r-"),
            (mapping("", &[("v", "w")], "r-"), "v", "r-"),
        ] {
            assert_eq!(through(&mapping, &prefixes(&[prefix])), prefixes(&[mapped]), "{prefix}");
        }
    }
}
