//! pkt-line framing: four hexadecimal digits with the length of a line, themselves included, then the line.

use super::WireFault;

/// The longest line, its four digits included (2026-11-21, <https://git-scm.com/docs/gitprotocol-common>).
const LONGEST: usize = 65_520;

/// One line, or one of the marks that have no content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    /// A line. Its line feed, if it has one, is still there.
    Data(&'a [u8]),
    /// `0000`: the end of a message.
    Flush,
    /// `0001`: the end of a section.
    Delimiter,
    /// `0002`: the end of a response over connections that keep state.
    ResponseEnd,
}

/// Appends a line. `Err` when it is longer than a line can be.
pub(super) fn push_line(to: &mut Vec<u8>, parts: &[&[u8]]) -> Result<(), WireFault> {
    let length = 4 + parts.iter().map(|part| part.len()).sum::<usize>();
    if length > LONGEST {
        return Err(WireFault::malformed("would be longer than a line can be"));
    }
    to.extend_from_slice(format!("{length:04x}").as_bytes());
    parts.iter().for_each(|part| to.extend_from_slice(part));
    Ok(())
}

/// Appends the end of a message.
pub(super) fn push_flush(to: &mut Vec<u8>) {
    to.extend_from_slice(b"0000");
}

/// Appends the end of a section.
pub(super) fn push_delimiter(to: &mut Vec<u8>) {
    to.extend_from_slice(b"0001");
}

/// A line without its line feed.
pub(super) fn trim(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\n").unwrap_or(line)
}

/// Takes bytes in pieces of any size and gives the lines in them. It holds at most one line.
#[derive(Debug, Default)]
pub struct Decoder {
    /// A line that has begun and not ended.
    begun: Vec<u8>,
}

impl Decoder {
    /// A decoder between two lines.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes more bytes, and hands on every line that is whole now. The first fault ends it, its own or one of `each`.
    pub fn feed(
        &mut self,
        mut bytes: &[u8],
        mut each: impl FnMut(Packet<'_>) -> Result<(), WireFault>,
    ) -> Result<(), WireFault> {
        while !self.begun.is_empty() {
            let wanted = if self.begun.len() < 4 { 4 } else { length(&self.begun)?.max(4) };
            let (part, rest) = bytes.split_at((wanted - self.begun.len()).min(bytes.len()));
            self.begun.extend_from_slice(part);
            bytes = rest;
            if self.begun.len() < wanted {
                return Ok(());
            }
            if self.begun.len() >= length(&self.begun)? {
                let outcome = each(packet(&self.begun)?);
                self.begun.clear();
                outcome?;
            }
        }
        while bytes.len() >= 4 {
            let length = length(bytes)?.max(4);
            let Some((line, rest)) = bytes.split_at_checked(length) else { break };
            each(packet(line)?)?;
            bytes = rest;
        }
        self.begun.extend_from_slice(bytes);
        Ok(())
    }

    /// Whether no line has begun that did not end.
    pub fn is_between_lines(&self) -> bool {
        self.begun.is_empty()
    }
}

/// What the first four bytes say; up to 3 are marks.
fn length(bytes: &[u8]) -> Result<usize, WireFault> {
    let digits = bytes.get(..4).and_then(|digits| std::str::from_utf8(digits).ok());
    // `from_str_radix` takes a sign, too.
    let length = digits
        .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
        .and_then(|digits| usize::from_str_radix(digits, 16).ok())
        .filter(|length| *length <= LONGEST && *length != 3);
    length.ok_or_else(|| WireFault::malformed("is not made of git's lines"))
}

/// A whole line, or a mark.
fn packet(line: &[u8]) -> Result<Packet<'_>, WireFault> {
    Ok(match length(line)? {
        0 => Packet::Flush,
        1 => Packet::Delimiter,
        2 => Packet::ResponseEnd,
        _ => Packet::Data(line.get(4..).unwrap_or_default()),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Everything that comes of bytes in pieces of these sizes, as text; a fault ends it.
    fn decoded(bytes: &[u8], pieces: &[usize]) -> (Vec<String>, bool) {
        let mut decoder = Decoder::new();
        let mut lines = Vec::new();
        let mut left = bytes;
        let mut sizes = pieces.iter().copied().chain(std::iter::repeat(7));
        while !left.is_empty() {
            let (piece, rest) = left.split_at(sizes.next().unwrap().clamp(1, left.len()));
            left = rest;
            let fed = decoder.feed(piece, |packet| {
                lines.push(format!("{packet:?}"));
                Ok(())
            });
            if fed.is_err() {
                return (lines, false);
            }
        }
        (lines, decoder.is_between_lines())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn arbitrary_bytes_are_lines_or_a_fault(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            pieces in proptest::collection::vec(1usize..20, 0..8),
        ) {
            decoded(&bytes, &pieces);
        }

        #[test]
        fn nearly_lines_are_the_same_in_any_pieces(
            text in "(0000|0001|0002|0003|0004|0005a|0008abcd|000bhello\n|ffff|fff0|-001|00){0,12}",
            pieces in proptest::collection::vec(1usize..20, 0..8),
        ) {
            prop_assert_eq!(decoded(text.as_bytes(), &pieces), decoded(text.as_bytes(), &[usize::MAX]));
        }

        #[test]
        fn what_was_written_is_read(
            lines in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..8),
            pieces in proptest::collection::vec(1usize..400, 0..8),
        ) {
            let mut bytes = Vec::new();
            for line in &lines {
                push_line(&mut bytes, &[line]).unwrap();
                push_delimiter(&mut bytes);
            }
            push_flush(&mut bytes);
            let mut due: Vec<_> = lines
                .iter()
                .flat_map(|line| [format!("{:?}", Packet::Data(line)), "Delimiter".to_owned()])
                .collect();
            due.push("Flush".to_owned());
            prop_assert_eq!(decoded(&bytes, &pieces), (due, true));
        }
    }

    #[test]
    fn a_line_has_a_longest() {
        let mut bytes = Vec::new();
        let longest = vec![b'x'; LONGEST - 4];
        assert_eq!(push_line(&mut bytes, &[&longest]), Ok(()));
        assert_eq!(&bytes[..4], b"fff0");
        assert!(push_line(&mut bytes, &[&longest, b"x"]).is_err());
        assert_eq!(decoded(&bytes, &[1, 2, 3, 65_000]).0.len(), 1);
    }
}
