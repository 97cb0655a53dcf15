//! Trailers: `Key: value` lines at the end of a message, by git's own rules.

use std::fmt;

/// The name of a trailer: letters, digits and `-`; upper and lower case are the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrailerKey(String);

/// The text cannot be the name of a trailer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the name of a trailer has letters, digits and `-` only")]
pub struct InvalidTrailerKey;

impl TrailerKey {
    /// Checks the name.
    pub fn new(text: &str) -> Result<Self, InvalidTrailerKey> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if !text.is_empty() && text.bytes().all(fits) { Ok(Self(text.to_owned())) } else { Err(InvalidTrailerKey) }
    }

    /// The value of the last trailer of this name in a message without a signature; lines that continue it are joined by
    /// a space.
    ///
    /// As `git interpret-trailers --parse --no-divider` reads them (git 2.47, `trailer.c`), but for the `Conflicts:` and
    /// scissors lines that it cuts off the ends of commit messages.
    pub fn find_last(&self, message: &str) -> Option<String> {
        let lines: Vec<&str> = message.split_inclusive('\n').collect();
        let lines = &lines[..end_of_text(&lines)];
        let mut found = None;
        let mut open: Option<(bool, String)> = None;
        for line in &lines[begin_of_trailers(lines)..] {
            match &mut open {
                Some((_, value)) if begins_with_space(line) => {
                    value.push_str(line);
                    continue;
                }
                Some(_) | None => {}
            }
            found = ours(open.take()).or(found);
            open = colon(line).filter(|at| *at > 0).map(|at| {
                let is_ours = trim(&line[..at]).eq_ignore_ascii_case(&self.0);
                (is_ours, line[at + 1..].to_owned())
            });
        }
        ours(open).or(found)
    }
}

impl fmt::Display for TrailerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn ours(trailer: Option<(bool, String)>) -> Option<String> {
    let (_, value) = trailer.filter(|(is_ours, _)| *is_ours)?;
    let mut lines = trim(&value).split('\n');
    let first = lines.next().unwrap_or_default().to_owned();
    let unfolded = lines.map(|line| line.trim_start_matches(is_space)).filter(|line| !line.is_empty());
    Some(unfolded.fold(first, |text, line| text + " " + line))
}

/// What git takes for white space.
fn is_space(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\n' | '\r')
}

fn trim(text: &str) -> &str {
    text.trim_matches(is_space)
}

fn begins_with_space(line: &str) -> bool {
    line.starts_with(is_space)
}

fn is_blank(line: &str) -> bool {
    trim(line).is_empty()
}

fn is_comment(line: &str) -> bool {
    line.starts_with('#')
}

/// Comments and empty lines after the text do not count.
fn end_of_text(lines: &[&str]) -> usize {
    lines.iter().rposition(|line| !is_comment(line) && *line != "\n").map_or(0, |last| last + 1)
}

/// Where the `:` of a line stands that might be a trailer; the name before it may be followed by white space.
fn colon(line: &str) -> Option<usize> {
    let mut in_name = true;
    for (at, byte) in line.bytes().enumerate() {
        match byte {
            b':' => return Some(at),
            b'-' if in_name => {}
            _ if in_name && byte.is_ascii_alphanumeric() => {}
            b' ' | b'\t' if at > 0 => in_name = false,
            _ => return None,
        }
    }
    None
}

/// The line after the last blank one, if what follows it is trailers: all of it, or a quarter and one line that git itself
/// writes. The first paragraph is the title and never trailers.
fn begin_of_trailers(lines: &[&str]) -> usize {
    let none = lines.len();
    let end_of_title = lines.iter().position(|line| !is_comment(line) && is_blank(line)).unwrap_or(none);
    let (mut trailers, mut others, mut continuing) = (0, 0, 0);
    let (mut known, mut only_blank) = (false, true);
    for (at, line) in lines.iter().enumerate().skip(end_of_title).rev() {
        if is_comment(line) {
            others += std::mem::take(&mut continuing);
        } else if is_blank(line) {
            if only_blank {
                continue;
            }
            others += continuing;
            let is_block = if known { trailers * 3 >= others } else { trailers > 0 && others == 0 };
            return if is_block { at + 1 } else { none };
        } else {
            only_blank = false;
            let gits = ["Signed-off-by: ", "(cherry picked from commit "].iter().any(|gits| line.starts_with(gits));
            if gits || (colon(line).is_some_and(|at| at > 0) && !begins_with_space(line)) {
                trailers += 1;
                continuing = 0;
                known |= gits;
            } else if begins_with_space(line) {
                continuing += 1;
            } else {
                others += 1 + std::mem::take(&mut continuing);
            }
        }
    }
    none
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn find(message: &str, key: &str) -> Option<String> {
        TrailerKey::new(key).unwrap().find_last(message)
    }

    #[test]
    fn the_last_trailer_of_the_key_counts() {
        for (message, image) in [
            ("Release\n\nImage: a\n", Some("a")),
            ("Release\n\nImage: a", Some("a")),
            ("Release\n\nimage: a\nIMAGE:b\n", Some("b")),
            ("Release\n\nImage: a\nOther: b\n", Some("a")),
            ("Release\n\nImage:\n", Some("")),
            ("Release\n\nImage : a\n", Some("a")),
            ("Release\n\nImage: a\n b\n\tc\n", Some("a b c")),
            ("Release\r\n\r\nImage: a\r\n", Some("a")),
            ("Release\n\nImage: a\n\n\n", Some("a")),
            ("Release\n\nText\n\nImage: a\n", Some("a")),
            ("Release\n\nImage: a\n# no\n", Some("a")),
            ("Release\n\nText\nSigned-off-by: x\nImage: a\n", Some("a")),
            // The title, a paragraph before the last, one with text in it.
            ("Image: a\n", None),
            ("Release\n\nImage: a\n\nText\n", None),
            ("Release\n\nText\nImage: a\n", None),
            ("Release\n\nImages: a\n", None),
            ("Release\n\n Image: a\n", None),
            ("Release\n\nThe Image: a\n", None),
            ("", None),
            ("\n\n", None),
        ] {
            assert_eq!(find(message, "Image").as_deref(), image, "{message:?}");
        }
    }

    #[test]
    fn a_key_has_letters_digits_and_dashes() {
        assert!(["Image", "x-1", "9"].iter().all(|key| TrailerKey::new(key).is_ok()));
        assert!(["", "a b", "a:", "é", "a_b", "a\n"].iter().all(|key| TrailerKey::new(key).is_err()));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn hostile_messages_do_no_harm(
            message in prop_oneof![any::<String>(), "([: \n\r\t#é-]|Image|Signed-off-by: |\n\n){0,30}"],
        ) {
            if let Some(value) = find(&message, "Image") {
                prop_assert!(!value.contains('\n'));
            }
        }
    }
}
