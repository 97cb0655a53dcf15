//! The word that was probably meant.

/// The expected word closest to the one written, when it is close enough to be a slip of the fingers.
pub(crate) fn nearest<'a>(written: &str, expected: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Nothing expected is nearly this long, and the comparison takes memory by length.
    if written.len() > 64 {
        return None;
    }
    let (length, letters) = (written.chars().count(), Letters::of(written));
    let mut best: Option<(usize, &str)> = None;
    for word in expected {
        let its_length = word.chars().count();
        let most = (its_length / 3).max(1);
        // Of a hundred thousand names, most need no comparison: they differ by more in length alone, or in their letters.
        if its_length.abs_diff(length) > most {
            continue;
        }
        let at_least = letters.differ_from(&Letters::of(word));
        if at_least > most || best.is_some_and(|best| (at_least, word) >= best) {
            continue;
        }
        let distance = strsim::osa_distance(written, word);
        if distance <= most && best.is_none_or(|best| (distance, word) < best) {
            best = Some((distance, word));
        }
    }
    best.map(|(_, word)| word)
}

/// How often each character occurs; several share a place, so that two words are compared in a few instructions.
struct Letters([u8; 32]);

impl Letters {
    fn of(word: &str) -> Self {
        let mut counts = [0_u8; 32];
        for character in word.chars() {
            let count = &mut counts[character as usize % 32];
            *count = count.saturating_add(1);
        }
        Self(counts)
    }

    /// How many steps there are at least between two words: each adds a letter, takes one away or does both.
    fn differ_from(&self, other: &Self) -> usize {
        let more = |one: &Self, other: &Self| -> u32 {
            one.0.iter().zip(&other.0).map(|(one, other)| u32::from(one.saturating_sub(*other))).sum()
        };
        more(self, other).max(more(other, self)) as usize
    }
}

/// Words for a sentence: `a`, `b` and so on, each in backticks.
pub(crate) fn listing<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    words.into_iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The same by comparing with every word.
    fn nearest_of_all<'a>(written: &str, expected: &[&'a str]) -> Option<&'a str> {
        let distances = expected.iter().map(|word| (strsim::osa_distance(written, word), *word));
        distances.filter(|(distance, word)| *distance <= (word.chars().count() / 3).max(1)).min().map(|(_, word)| word)
    }

    proptest! {
        #[test]
        fn no_word_that_is_nearer_is_left_out(
            written in "[ab1é\u{161}.]{0,9}", expected in proptest::collection::vec("[ab1é\u{161}.]{0,12}", 0..30),
        ) {
            let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
            prop_assert_eq!(nearest(&written, expected.iter().copied()), nearest_of_all(&written, &expected));
        }
    }

    #[test]
    fn a_slip_has_a_neighbour_and_another_word_has_none() {
        let words = ["mirror", "exact", "create-only", "to"];
        for (written, meant) in [
            ("miror", Some("mirror")),
            ("mirorr", Some("mirror")),
            ("create_only", Some("create-only")),
            ("ot", Some("to")),
            ("push", None),
            ("", None),
        ] {
            assert_eq!(nearest(written, words), meant, "{written}");
        }
        assert_eq!(nearest(&"m".repeat(1 << 20), words), None);
    }
}
