//! A report for people: a table that can be read at a glance, in any width, with colour or without.

use std::fmt::{self, Write as _};

use anstyle::Style;

use super::style::{self, FAILED, HEADING, HELD, PLAIN, WAITING, paint};
use super::{Counts, JobReport, Quiet, RemoteReport, Report, State};
use crate::ledger::{Action, Outcome};
use crate::tag::{TagName, Value};
use crate::text::Printable;

impl Report {
    /// The report as text. `whole` lists every name; otherwise long runs of the same kind are cut.
    pub fn to_text(&self, whole: bool) -> impl fmt::Display {
        let most = if whole { usize::MAX } else { LINES_OF_A_KIND };
        std::fmt::from_fn(move |f| self.jobs.iter().try_for_each(|job| job.write(f, most)))
    }
}

impl JobReport {
    fn write(&self, f: &mut fmt::Formatter<'_>, most: usize) -> fmt::Result {
        if let Some(error) = &self.error {
            let heading = format!("{}: {}", self.job, self.repository);
            writeln!(f, "{}: {}", paint(HEADING, heading), Printable::new(error))?;
            write_hint(f, "", self.hint.as_deref())?;
            return Ok(());
        }
        self.remotes.iter().try_for_each(|remote| remote.write(f, &self.job, &self.repository, most))
    }
}

/// Lines of one kind that a glance can take in.
const LINES_OF_A_KIND: usize = 40;

/// A line of the table: mark, name, what happens; and what is to be said about it, which like lines share.
struct Line {
    mark: char,
    style: Style,
    name: String,
    values: String,
    remark: String,
    /// Reason and hint of what is held.
    advice: Option<(String, String)>,
}

impl Line {
    /// Whether both lines are of one kind, so that a long run of them may be cut and their advice said once.
    fn is_like(&self, other: &Self) -> bool {
        self.mark == other.mark && self.advice == other.advice && (self.advice.is_some() || self.remark == other.remark)
    }
}

/// Like lines in a row: the first, others that are shown, and how many there are.
struct Kind {
    first: Line,
    others: Vec<Line>,
    count: usize,
}

impl Kind {
    /// What is not shown is not kept.
    fn of_all(lines: impl Iterator<Item = Line>, most: usize) -> Vec<Self> {
        let mut kinds: Vec<Self> = Vec::new();
        for line in lines {
            match kinds.last_mut() {
                Some(kind) if kind.first.is_like(&line) => {
                    if kind.count < most {
                        kind.others.push(line);
                    }
                    kind.count += 1;
                }
                Some(_) | None => kinds.push(Self { first: line, others: Vec::new(), count: 1 }),
            }
        }
        kinds
    }

    fn shown(&self) -> impl Iterator<Item = &Line> {
        std::iter::once(&self.first).chain(&self.others)
    }
}

impl RemoteReport {
    fn write(&self, f: &mut fmt::Formatter<'_>, job: &str, repository: &str, most: usize) -> fmt::Result {
        write!(f, "{}", paint(HEADING, format_args!("{job}: {repository} -> {}", self.remote)))?;
        if !self.place.is_empty() {
            write!(f, " ({})", Printable::new(&self.place))?;
        }
        if let Some(error) = &self.error {
            let (style, word) = if self.state == State::Held { (HELD, "held:") } else { (FAILED, "unknown:") };
            writeln!(f, "\n  {} {}", paint(style, word), Printable::new(error))?;
            return write_hint(f, "  ", self.hint.as_deref());
        }
        let kinds = Kind::of_all(self.lines(), most);
        if kinds.is_empty() && self.notes.is_empty() {
            return writeln!(f, ": {}", self.summary());
        }
        writeln!(f)?;
        for note in &self.notes {
            writeln!(f, "  {}", Printable::new(note))?;
        }
        let shown = || kinds.iter().flat_map(Kind::shown);
        let width = |text: fn(&Line) -> &str| shown().map(|line| text(line).chars().count()).max().unwrap_or(0);
        let (names, values) = (width(|line| &line.name).min(40), width(|line| &line.values).min(28));
        for kind in &kinds {
            let Kind { first, count, .. } = kind;
            for line in kind.shown() {
                let Line { mark, style, name, values: value, remark, .. } = line;
                let mark = paint(*style, mark);
                let advice = line.advice.as_ref().filter(|_| *count == 1).map_or("", |(reason, _)| reason);
                let colon = if advice.is_empty() { "" } else { ": " };
                let value = if value.is_empty() { String::new() } else { format!("{value:values$}  ") };
                let shown = format!("  {mark} {name:names$}  {value}{remark}{colon}{advice}");
                writeln!(f, "{}", shown.trim_end())?;
            }
            if *count > 1 {
                if *count > most {
                    let mark = paint(first.style, first.mark);
                    writeln!(f, "  {mark} … and {} more; `-v` lists all", count - most)?;
                }
                if let Some((reason, _)) = &first.advice {
                    writeln!(f, "      all {count}: {reason}")?;
                }
            }
            if let Some((_, hint)) = &first.advice {
                write_hint(f, "      ", Some(hint))?;
            }
        }
        writeln!(f, "  {}", self.summary())
    }

    fn lines(&self) -> impl Iterator<Item = Line> {
        let changes = self.changes.iter().map(|change| {
            let short = |value: Option<&Value>| value.map(|value| format!("{value:.12}")).unwrap_or_default();
            let (from, to) = (change.from.as_deref(), change.to.as_ref());
            let values = match change.action {
                Action::Create => short(to),
                Action::Move => format!("{} -> {}", short(from), short(to)),
                Action::Delete => short(from),
            };
            let (mark, style) = style::mark(change.action);
            let outcome = change.outcome.filter(|outcome| *outcome != Outcome::Done);
            let outcome = outcome.map(|end| paint(style::outcome(end), end.word().replace('_', " ")).to_string());
            let remarks = [outcome, change.reason.as_deref().map(printable), change.degraded.map(str::to_owned)];
            Line {
                mark,
                style,
                name: shown_name(&change.tag, &change.name),
                values,
                remark: remarks.into_iter().flatten().collect::<Vec<_>>().join("; "),
                advice: None,
            }
        });
        let held = self.held.iter().filter(|held| !held.dismissed).map(|held| Line {
            mark: '!',
            style: HELD,
            name: shown_name(&held.tag, &held.name),
            values: String::new(),
            remark: paint(HELD, "held").to_string(),
            advice: Some((printable(&held.reason), held.hint.clone())),
        });
        let waiting = self.waiting.iter().map(|waiting| Line {
            mark: '…',
            style: WAITING,
            name: shown_name(&waiting.tag, &waiting.name),
            values: waiting.to.as_ref().map(|value| format!("{value:.12}")).unwrap_or_default(),
            remark: format!("{} {}", paint(WAITING, "waiting:"), printable(&waiting.reason)),
            advice: None,
        });
        let quiet = self.quiet.iter().flat_map(Quiet::lists).flat_map(|(verdict, names)| {
            names.iter().map(move |name| Line {
                mark: '=',
                style: PLAIN,
                name: name.to_string(),
                values: String::new(),
                remark: verdict.to_owned(),
                advice: None,
            })
        });
        changes.chain(held).chain(waiting).chain(quiet)
    }

    fn summary(&self) -> String {
        let Counts {
            in_sync,
            create,
            moved,
            delete,
            adopt,
            forget,
            unmanaged,
            retained,
            held,
            dismissed,
            waiting,
            failed,
        } = self.counts;
        let done = self.changes.iter().any(|change| change.outcome.is_some());
        let (created, moved_word, deleted) =
            if done { ("created", "moved", "deleted") } else { ("to create", "to move", "to delete") };
        let parts = [
            (create, created, PLAIN),
            (moved, moved_word, PLAIN),
            (delete, deleted, PLAIN),
            (failed, "failed", FAILED),
            (held, "held", HELD),
            (dismissed, "dismissed", PLAIN),
            (waiting, "waiting", WAITING),
            (adopt, "adopted", PLAIN),
            (forget, "forgotten", PLAIN),
            (retained, "retained", PLAIN),
            (unmanaged, "unmanaged", PLAIN),
        ];
        let mut summary = format!("{in_sync} in sync");
        for (count, word, style) in parts.into_iter().filter(|(count, ..)| *count > 0) {
            // Writing to a string cannot fail.
            let _infallible = write!(summary, ", {}", paint(style, format_args!("{count} {word}")));
        }
        let _infallible = write!(summary, " ({} request{})", self.requests, if self.requests == 1 { "" } else { "s" });
        summary
    }
}

impl Counts {
    /// What a pass that is over has counted, without what it did not find: `41 in sync, 1 held`.
    pub fn words(&self) -> String {
        let Self {
            in_sync,
            create,
            moved,
            delete,
            adopt,
            forget,
            unmanaged,
            retained,
            held,
            dismissed,
            waiting,
            failed,
        } = self;
        let parts = [
            (create, "created"),
            (moved, "moved"),
            (delete, "deleted"),
            (failed, "failed"),
            (held, "held"),
            (dismissed, "dismissed"),
            (waiting, "waiting"),
            (adopt, "adopted"),
            (forget, "forgotten"),
            (retained, "retained"),
            (unmanaged, "unmanaged"),
        ];
        let found = parts.into_iter().filter(|(count, _)| **count > 0).map(|(count, word)| format!(", {count} {word}"));
        std::iter::once(format!("{in_sync} in sync")).chain(found).collect()
    }
}

impl Quiet {
    fn lists(&self) -> [(&'static str, &[TagName]); 4] {
        let Self { in_sync, adopt, forget, unmanaged } = self;
        [("in sync", in_sync), ("adopt", adopt), ("forget", forget), ("unmanaged", unmanaged)]
    }
}

fn shown_name(tag: &TagName, name: &TagName) -> String {
    if tag == name { tag.to_string() } else { format!("{tag} as {name}") }
}

fn printable(text: &str) -> String {
    Printable::new(text).to_string()
}

fn write_hint(f: &mut fmt::Formatter<'_>, indent: &str, hint: Option<&str>) -> fmt::Result {
    match hint {
        Some(hint) => writeln!(f, "{indent}{} {}", style::hint(), Printable::new(hint)),
        None => Ok(()),
    }
}
