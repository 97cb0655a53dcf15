//! Everything about one name of one pair, for a person who asks why.

use std::fmt::{self, Write as _};

use schemars::JsonSchema;
use serde::Serialize;

use super::style::{self, HEADING, PLAIN, paint};
use crate::plan::Rule;
use crate::tag::{TagName, Value};
use crate::text::Printable;

/// What one side has, as far as it could be told.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Presence {
    /// It is there.
    There,
    /// It is not there, and that is certain.
    Absent,
    /// It could not be read.
    Unknown,
    /// It was not asked.
    NotAsked,
}

/// One side's view of the name.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct SideReport {
    /// Whether it is there.
    pub presence: Presence,
    /// What it means there.
    pub value: Option<Value>,
    /// What else is known about it, in words.
    pub remarks: Vec<String>,
}

/// A rule that was asked.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct RuleReport {
    /// Which, in one word.
    pub rule: Rule,
    /// Which, in words.
    pub title: String,
    /// Whether it applies to this name.
    pub applies: bool,
    /// By what, or why not.
    pub detail: Option<String>,
    /// The file and line that say so.
    pub place: Option<String>,
}

/// Something that only the remote knows about a tag.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct FactReport {
    /// What it is.
    pub what: &'static str,
    /// What the remote says.
    pub says: String,
}

/// What follows for a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Conclusion {
    /// Both sides agree, and that is remembered.
    InSync,
    /// It is to be created on the remote.
    Create,
    /// It is to get another value on the remote.
    Move,
    /// It is to go from the remote.
    Delete,
    /// Both sides agree; the next pass remembers it.
    Adopt,
    /// Gone on both sides; the next pass forgets it.
    Forget,
    /// On the remote, never ours.
    Unmanaged,
    /// Ours, gone from the source, kept by `create-only`.
    Retained,
    /// Left for a person.
    Held,
    /// Left for a later pass.
    Waiting,
    /// Tried by the latest pass and not done.
    Failed,
    /// Left out by `tags` or `semver`.
    OutOfScope,
    /// No side has it.
    Nothing,
    /// A side could not be read, or was not asked.
    Unknown,
}

/// The word of JSON.
impl fmt::Display for Conclusion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// One name of one pair.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Explanation {
    /// The job.
    pub job: String,
    /// The repository.
    pub repository: String,
    /// The remote.
    pub remote: String,
    /// Where and what the remote is, for people.
    pub place: String,
    /// The source's name for the tag.
    pub tag: TagName,
    /// The remote's name for it; null where it has none there.
    pub name: Option<TagName>,
    /// What the source has.
    pub source: SideReport,
    /// What was last agreed.
    pub record: SideReport,
    /// What the remote has.
    pub there: SideReport,
    /// What only the remote knows.
    pub facts: Vec<FactReport>,
    /// The rules in the order in which they were asked; the last decided.
    pub rules: Vec<RuleReport>,
    /// What follows.
    pub verdict: Conclusion,
    /// Why.
    pub reason: Option<String>,
    /// What would change it.
    pub next: String,
    /// Whether the answer is incomplete because a side could not be read.
    pub incomplete: bool,
    /// Whether neither the record nor the latest pass knows anything of it.
    #[serde(skip)]
    pub remembers_nothing: bool,
    /// Whether what the remote has under its name is another source name's.
    #[serde(skip)]
    pub is_anothers: bool,
}

/// All answers to one question.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Explanations {
    /// The version of this format.
    pub version: u8,
    /// One per pair, in the order of the configuration.
    pub pairs: Vec<Explanation>,
}

impl Explanations {
    /// The answers as text.
    pub fn to_text(&self) -> impl fmt::Display {
        std::fmt::from_fn(|f| {
            for (at, explanation) in self.pairs.iter().enumerate() {
                if at > 0 {
                    writeln!(f)?;
                }
                explanation.write(f)?;
            }
            Ok(())
        })
    }
}

impl SideReport {
    fn words(&self) -> String {
        let mut words = match (&self.presence, &self.value) {
            (Presence::There, Some(value)) => value.to_string(),
            (Presence::There, None) => "there".to_owned(),
            (Presence::Absent, _) => "absent".to_owned(),
            (Presence::Unknown, _) => "unknown".to_owned(),
            (Presence::NotAsked, _) => "not asked".to_owned(),
        };
        for remark in &self.remarks {
            // Writing to a string cannot fail.
            let _infallible = write!(words, ", {}", Printable::new(remark));
        }
        words
    }
}

impl Explanation {
    /// Whether no side has it and nothing is remembered about it.
    pub fn is_nowhere(&self) -> bool {
        let absent = |side: &SideReport| matches!(side.presence, Presence::Absent | Presence::NotAsked);
        let is_there = !absent(&self.there) && !self.is_anothers;
        let is_known = !absent(&self.source) || !absent(&self.record) || !self.remembers_nothing;
        !is_there && !is_known && !self.incomplete
    }

    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { job, repository, remote, tag, .. } = self;
        write!(f, "{}", paint(HEADING, format_args!("{job}: {repository} -> {remote}")))?;
        if !self.place.is_empty() {
            write!(f, " ({})", Printable::new(&self.place))?;
        }
        writeln!(f)?;
        match &self.name {
            Some(name) if name != tag => writeln!(f, "  tag      {tag}, on the remote {name}")?,
            Some(_) | None => writeln!(f, "  tag      {tag}")?,
        }
        for (title, side) in [("source", &self.source), ("record", &self.record), ("remote", &self.there)] {
            writeln!(f, "  {title:<7}  {}", side.words())?;
        }
        for FactReport { what, says } in &self.facts {
            writeln!(f, "  {what}: {}", Printable::new(says))?;
        }
        writeln!(f, "  rules, in the order in which they are asked")?;
        let width = self.rules.iter().map(|rule| rule.title.chars().count()).max().unwrap_or_default();
        for RuleReport { title, applies, detail, place, .. } in &self.rules {
            let answer = if *applies { paint(HEADING, "yes") } else { paint(PLAIN, "no ") };
            let mut line = format!("    {title:width$}  {answer}");
            for part in [detail, place].into_iter().flatten() {
                let _infallible = write!(line, "  {}", Printable::new(part));
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        let word = self.verdict.to_string();
        write!(f, "  verdict  {}", paint(style::state(&word), word.replace('_', " ")))?;
        match &self.reason {
            Some(reason) => writeln!(f, ": {}", Printable::new(reason))?,
            None => writeln!(f)?,
        }
        writeln!(f, "  next     {}", Printable::new(&self.next))
    }
}
