//! How the parts of a text look. Styles only add to what marks and words already say, so nothing is lost without them.
//!
//! Only pieces that are as wide as they shall be are painted; a style never has a part in widths.

use std::fmt;

use anstyle::{AnsiColor, Style};

use crate::ledger::{Action, Outcome};

/// Something is created.
pub(crate) const CREATE: Style = AnsiColor::Green.on_default();
/// Something is moved.
pub(crate) const MOVE: Style = AnsiColor::Yellow.on_default();
/// Something is deleted.
pub(crate) const DELETE: Style = AnsiColor::Red.on_default();
/// A person must decide.
pub(crate) const HELD: Style = AnsiColor::Magenta.on_default().bold();
/// Heals by itself on a later pass.
pub(crate) const WAITING: Style = AnsiColor::Cyan.on_default();
/// Tried and not done, or not known.
pub(crate) const FAILED: Style = AnsiColor::Red.on_default().bold();
/// Both sides agree.
pub(crate) const AGREED: Style = AnsiColor::Green.on_default();
/// Before what to do.
pub(crate) const HINT: Style = Style::new().dimmed();
/// What the lines below are about.
pub(crate) const HEADING: Style = Style::new().bold();
/// As everything around it.
pub(crate) const PLAIN: Style = Style::new();

/// The piece in this style.
pub(crate) fn paint(style: Style, piece: impl fmt::Display) -> impl fmt::Display {
    fmt::from_fn(move |f| write!(f, "{style}{piece}{style:#}"))
}

/// The word `hint:`.
pub(crate) fn hint() -> impl fmt::Display {
    paint(HINT, "hint:")
}

/// The mark of an action and its style.
pub(crate) fn mark(action: Action) -> (char, Style) {
    match action {
        Action::Create => ('+', CREATE),
        Action::Move => ('~', MOVE),
        Action::Delete => ('-', DELETE),
    }
}

/// How the word for the end of a write looks.
pub(crate) fn outcome(end: Outcome) -> Style {
    match end {
        Outcome::Restored | Outcome::Lost => HELD,
        Outcome::Rejected | Outcome::NotSent => FAILED,
        Outcome::Done | Outcome::Already => PLAIN,
    }
}

/// How the word for the state of a pair looks.
pub(crate) fn state(word: &str) -> Style {
    match word {
        "in_sync" | "changed" => AGREED,
        "held" => HELD,
        "waiting" => WAITING,
        "failed" | "unknown" | "never" => FAILED,
        _ => PLAIN,
    }
}
