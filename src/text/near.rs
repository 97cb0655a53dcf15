//! The word that was probably meant.

/// The expected word closest to the one written, when it is close enough to be a slip of the fingers.
pub(crate) fn nearest<'a>(written: &str, expected: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Nothing expected is nearly this long, and the comparison takes memory by length.
    if written.len() > 64 {
        return None;
    }
    let length = written.chars().count();
    expected
        .into_iter()
        .filter_map(|word| {
            let its_length = word.chars().count();
            let most = (its_length / 3).max(1);
            // Words that differ more in length differ by more than that: of a hundred thousand names, most need no comparison.
            let distance = (its_length.abs_diff(length) <= most).then(|| strsim::osa_distance(written, word))?;
            (distance <= most).then_some((distance, word))
        })
        .min()
        .map(|(_, word)| word)
}

/// Words for a sentence: `a`, `b` and so on, each in backticks.
pub(crate) fn listing<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    words.into_iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

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
