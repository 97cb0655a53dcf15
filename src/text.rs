//! Bytes that somebody else chose, made safe to print.
//!
//! Tag names, server texts and messages may hold escape sequences, C1 controls, bidirectional overrides or bytes
//! that are no UTF-8. Whatever reaches a terminal or a log goes through [`Printable`]; JSON goes through [`JsonText`],
//! which loses nothing. The bytes themselves are kept as they are.

pub(crate) mod near;

use std::fmt::{self, Write as _};
use std::io;

/// Shows bytes as text: every character that could steer a terminal or reorder a line is written as an escape.
///
/// Bytes that are no UTF-8 appear as `\xNN`, invisible or steering characters as `\u{N}`, a backslash as itself
/// (git refuses it in ref names, so names stay unambiguous).
///
/// ```
/// # use tagsyncd::text::Printable;
/// assert_eq!(Printable::new("v1.0").to_string(), "v1.0");
/// assert_eq!(Printable::new(b"a\x1b[31m\xff").to_string(), r"a\u{1b}[31m\xff");
/// ```
#[derive(Clone, Copy)]
pub struct Printable<'a>(&'a [u8]);

impl<'a> Printable<'a> {
    /// Wraps anything that is bytes.
    pub fn new(bytes: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        Self(bytes.as_ref())
    }
}

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for character in chunk.valid().chars() {
                if steers(character) {
                    write!(f, "\\u{{{:x}}}", character as u32)?;
                } else {
                    f.write_char(character)?;
                }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A server's or a person's text cut to `limit` bytes and made printable, for errors and logs.
pub fn excerpt(bytes: &[u8], limit: usize) -> String {
    let cut = bytes.len() > limit;
    let end = if cut { (0..=limit).rev().find(|&at| is_boundary(bytes, at)).unwrap_or(limit) } else { bytes.len() };
    let mut shown = Printable::new(bytes[..end].trim_ascii()).to_string();
    if cut {
        shown.push('…');
    }
    shown
}

fn is_boundary(bytes: &[u8], at: usize) -> bool {
    bytes.get(at).is_none_or(|byte| byte & 0xc0 != 0x80)
}

/// Whether a character moves the cursor, colours, reorders or hides text.
fn steers(character: char) -> bool {
    character.is_control()
        || matches!(character,
            // Bidirectional marks, embeddings, overrides and isolates (Unicode TR 9).
            '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
            // Zero width and invisible operators, line and paragraph separators, byte order mark, tag characters.
            | '\u{200b}'..='\u{200d}' | '\u{2028}' | '\u{2029}' | '\u{2060}'..='\u{2064}' | '\u{feff}'
            | '\u{e0000}'..='\u{e007f}')
}

/// A `serde_json` formatter that writes steering characters as `\uXXXX`: valid JSON, nothing lost, and safe to `cat`.
#[derive(Clone, Copy, Debug, Default)]
pub struct JsonText;

impl serde_json::ser::Formatter for JsonText {
    fn write_string_fragment<W: io::Write + ?Sized>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut plain_from = 0;
        for (at, character) in fragment.char_indices().filter(|&(_, character)| steers(character)) {
            writer.write_all(&fragment.as_bytes()[plain_from..at])?;
            for unit in character.encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
            plain_from = at + character.len_utf8();
        }
        writer.write_all(&fragment.as_bytes()[plain_from..])
    }
}

/// A value as one line of JSON through [`JsonText`].
pub fn to_json(value: &impl serde::Serialize) -> serde_json::Result<String> {
    let mut bytes = Vec::new();
    write_json(&mut bytes, value)?;
    String::from_utf8(bytes).map_err(serde::ser::Error::custom)
}

/// The same for what may be large: written as it is made.
pub fn write_json(writer: impl io::Write, value: &impl serde::Serialize) -> serde_json::Result<()> {
    value.serialize(&mut serde_json::Serializer::with_formatter(writer, JsonText))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_lossless_and_carries_no_steering_character() {
        let hostile = "v\u{85}\u{202e}\u{1b}[31m\u{7f}\u{feff}é\u{e0001}\n";
        let json = to_json(&hostile).unwrap();
        assert!(json.chars().all(|character| !steers(character)), "{json}");
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), hostile);
    }

    #[test]
    fn an_excerpt_is_cut_between_characters() {
        assert_eq!(excerpt("aé".as_bytes(), 2), "a…");
        assert_eq!(excerpt(b" plain \n", 20), "plain");
    }
}
