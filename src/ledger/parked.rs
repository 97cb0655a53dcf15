//! What guards parked, what a person said about it, and what became of it.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::Serialize;

use super::Action;
use crate::tag::{TagName, Value};

/// How long an approval waits for a pass that uses it.
pub const APPROVAL_LIFE: SignedDuration = SignedDuration::from_hours(24);

/// Who stopped a set of changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ParkedBy {
    /// A guard tripped over the set as a whole.
    Guard,
    /// A person undid these changes, and the source still asks for them.
    Undo,
}

impl ParkedBy {
    /// The word of the ledger.
    pub fn word(self) -> &'static str {
        match self {
            Self::Guard => "guard",
            Self::Undo => "undo",
        }
    }
}

/// Changes that stop together, under an id made from exactly them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParkedSet {
    /// The id: another set has another one.
    pub plan: String,
    /// Who stopped them.
    pub by: ParkedBy,
    /// The changes, one per line: `action tag name old new`, sorted. No part holds a space or a control character.
    pub changes: String,
    /// How many.
    pub count: u32,
}

/// What became different between two sets, as lines of [`ParkedSet::changes`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Only in the former.
    pub left: Vec<String>,
    /// Only in the latter.
    pub joined: Vec<String>,
}

impl ParkedSet {
    /// One change as a line. git allows no space in names, and values are written without.
    pub fn line(action: Action, tag: &TagName, name: &TagName, old: Option<&Value>, new: Option<&Value>) -> String {
        let value =
            |value: Option<&Value>| value.map_or_else(|| "-".to_owned(), |value| value.to_record().replace(' ', "+"));
        format!("{} {tag} {name} {} {}", action.word(), value(old), value(new))
    }

    /// What a person can do about it.
    pub fn hint(&self) -> String {
        let Self { plan, count, .. } = self;
        let these = if *count == 1 { "this 1 change".to_owned() } else { format!("these {count} changes") };
        match self.by {
            ParkedBy::Guard => format!(
                "`tagsyncd approve {plan}` releases exactly {these} to the next pass, `tagsyncd dismiss {plan}` keeps them held and quiet"
            ),
            ParkedBy::Undo => format!(
                "make the source agree, or `tagsyncd approve {plan}` lets the source have its way with exactly {these}, or \
                 `tagsyncd dismiss {plan}` leaves it so and quiet"
            ),
        }
    }

    /// Whether a change of this source name is part of it.
    pub fn holds(&self, tag: &TagName) -> bool {
        let tag = tag.to_string();
        self.changes.lines().any(|line| line.split(' ').nth(1) == Some(&tag))
    }

    /// What has to leave and to join to make `now` of this one.
    pub fn difference(&self, now: Option<&Self>) -> Difference {
        let lines = |set: &Self| set.changes.lines().map(str::to_owned).collect::<BTreeSet<_>>();
        let (before, now) = (lines(self), now.map(lines).unwrap_or_default());
        Difference {
            left: before.difference(&now).cloned().collect(),
            joined: now.difference(&before).cloned().collect(),
        }
    }
}

impl Difference {
    /// In words, with at most a few of the changes: `no longer in it: delete v1; new in it: move v2, move v3`.
    pub fn words(&self) -> String {
        const NAMED: usize = 5;
        let told = |what: &str, lines: &[String]| {
            let named: Vec<String> =
                lines.iter().take(NAMED).map(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" ")).collect();
            let more = lines.len().saturating_sub(NAMED);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            (!lines.is_empty()).then(|| format!("{what}: {}{more}", named.join(", ")))
        };
        let parts: Vec<String> =
            [told("no longer in it", &self.left), told("new in it", &self.joined)].into_iter().flatten().collect();
        parts.join("; ")
    }
}

/// What a person said about a parked set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// The next pass may carry it out, once.
    Approved,
    /// It stays held, and nobody is bothered with it, until it changes.
    Dismissed,
}

impl Decision {
    /// The word of the ledger.
    pub fn word(self) -> &'static str {
        match self {
            Self::Approved => "approved",
            Self::Dismissed => "dismissed",
        }
    }
}

/// Why a set is parked no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParkedEnd {
    /// A pass carried it out.
    Released,
    /// A later pass found another set, or none.
    Changed,
}

impl ParkedEnd {
    /// The word of the ledger.
    pub fn word(self) -> &'static str {
        match self {
            Self::Released => "released",
            Self::Changed => "changed",
        }
    }
}

/// A parked set with its fate so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parked {
    /// The changes.
    pub set: ParkedSet,
    /// When this very set was first parked.
    pub since: Timestamp,
    /// What a person said, and when.
    pub decision: Option<(Decision, Timestamp)>,
    /// When it stopped being parked, and why; `None` while it is.
    pub ended: Option<(ParkedEnd, Timestamp)>,
}

impl Parked {
    /// Whether a person released it, recently enough to count.
    pub fn is_released(&self, now: Timestamp) -> bool {
        matches!(self.decision, Some((Decision::Approved, when)) if now.duration_since(when) < APPROVAL_LIFE)
    }

    /// Whether a person released it, too long ago to count.
    pub fn release_expired(&self, now: Timestamp) -> bool {
        matches!(self.decision, Some((Decision::Approved, _))) && !self.is_released(now)
    }

    /// Whether a person wants to hear no more of it.
    pub fn is_dismissed(&self) -> bool {
        matches!(self.decision, Some((Decision::Dismissed, _)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(changes: &[&str]) -> ParkedSet {
        let count = u32::try_from(changes.len()).unwrap();
        ParkedSet { plan: "5f3a".into(), by: ParkedBy::Guard, changes: changes.join("\n"), count }
    }

    #[test]
    fn a_difference_names_what_left_and_what_joined() {
        let before = set(&["delete v1 v1 commit:1 -", "delete v2 v2 commit:1 -"]);
        let now = set(&["delete v2 v2 commit:1 -", "move v3 v3 commit:1 commit:2"]);
        assert_eq!(before.difference(Some(&now)).words(), "no longer in it: delete v1; new in it: move v3");
        assert_eq!(before.difference(Some(&before)), Difference::default());
        assert_eq!(before.difference(None).words(), "no longer in it: delete v1, delete v2");
        let many: Vec<String> = (0..9).map(|at| format!("delete x{at} x{at} commit:1 -")).collect();
        let many = set(&many.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(before.difference(Some(&many)).words().ends_with("delete x3, delete x4 and 4 more"));
    }

    #[test]
    fn a_set_knows_its_names() {
        let set = set(&["delete v1 1 commit:1 -"]);
        let holds = |name: &str| set.holds(&TagName::new(name).unwrap());
        assert!(holds("v1") && !holds("1") && !holds("v"));
    }

    #[test]
    fn an_approval_lasts_a_day() {
        let at = |hour: i64| Timestamp::from_second(hour * 3_600).unwrap();
        let decided = |decision| Parked { set: set(&[]), since: at(0), decision: Some((decision, at(1))), ended: None };
        let approved = decided(Decision::Approved);
        assert!(approved.is_released(at(24)) && !approved.release_expired(at(24)));
        assert!(!approved.is_released(at(25)) && approved.release_expired(at(25)));
        assert!(!decided(Decision::Dismissed).is_released(at(2)) && decided(Decision::Dismissed).is_dismissed());
    }
}
