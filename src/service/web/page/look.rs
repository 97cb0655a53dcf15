//! How a state looks: a word that says it, a mark and a colour that only repeat it.

use maud::{Markup, html};

use crate::report::State;
use crate::report::status::PairState;

/// How a state looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look {
    /// The worst comes first.
    pub(super) rank: u8,
    pub(super) symbol: &'static str,
    pub(super) word: &'static str,
    /// The colour, by the name of the style sheet.
    pub(super) class: &'static str,
    /// The same for a picture, which no style sheet reaches; without its `#`.
    colour: &'static str,
}

impl Look {
    pub(super) const UNKNOWN: Self = Self { rank: 0, symbol: "?", word: "unknown", class: "failed", colour: "c9283e" };

    pub(super) fn of(state: PairState) -> Self {
        let look = |rank, symbol, word, class, colour| Self { rank, symbol, word, class, colour };
        match state {
            PairState::Left(State::Failed) => look(0, "✕", "failed", "failed", "c9283e"),
            PairState::Left(State::Unknown) => Self::UNKNOWN,
            PairState::Left(State::Held) => look(1, "!", "held", "held", "8f3fbf"),
            PairState::Left(State::Waiting) => look(2, "…", "waiting", "waiting", "1f78b4"),
            PairState::Left(State::Pending) => look(2, "…", "pending", "waiting", "1f78b4"),
            PairState::Never => look(3, "–", "not yet", "never", "9a6b00"),
            PairState::Left(State::Changed) => look(4, "✓", "changed", "ok", "1f8a46"),
            PairState::Left(State::InSync) => look(4, "✓", "in sync", "ok", "1f8a46"),
        }
    }

    /// Mark and word.
    pub(super) fn badge(self) -> Markup {
        html! { span class={ "badge " (self.class) } { span aria-hidden="true" { (self.symbol) " " } (self.word) } }
    }

    /// A dot of this colour for the browser's tab.
    pub(super) fn icon(self) -> String {
        let Self { colour, .. } = self;
        format!(
            "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Ccircle cx='8' cy='8' r='7' fill='%23{colour}'/%3E%3C/svg%3E"
        )
    }
}
