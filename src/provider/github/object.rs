//! The source's own tag objects, as far as GitHub can be asked to make the same.

use jiff::Timestamp;
use jiff::tz::Offset;

use super::wire::WireTagger;

/// What stands in a tag object.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TagObject<'a> {
    /// The id of what it points at.
    pub(super) target: &'a str,
    /// The kind of that.
    pub(super) kind: &'a str,
    /// Who made it and when, where that can be said in GitHub's terms.
    pub(super) tagger: Option<WireTagger>,
    /// Everything behind the headers, a signature included.
    pub(super) text: &'a str,
}

/// How a signature in a tag object begins (2026-11-21, `gpg-interface.c` of git).
const SIGNATURES: [&str; 4] = [
    "-----BEGIN PGP SIGNATURE-----",
    "-----BEGIN PGP MESSAGE-----",
    "-----BEGIN SSH SIGNATURE-----",
    "-----BEGIN SIGNED MESSAGE-----",
];

impl<'a> TagObject<'a> {
    /// Reads an object's bytes. `None` where they are not UTF-8 or not in the form of one.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (head, text) = std::str::from_utf8(bytes).ok()?.split_once("\n\n").unwrap_or_default();
        let mut lines = head.split('\n');
        let target = lines.next()?.strip_prefix("object ")?;
        let kind = lines.next()?.strip_prefix("type ")?;
        let tagger = lines.find_map(|line| line.strip_prefix("tagger ")).and_then(tagger);
        Some(Self { target, kind, tagger, text })
    }

    /// Whether it carries a signature, which cannot be sent.
    pub(super) fn is_signed(&self) -> bool {
        self.text.split('\n').any(|line| SIGNATURES.contains(&line))
    }
}

/// Reads `NAME <EMAIL> SECONDS ZONE`.
fn tagger(line: &str) -> Option<WireTagger> {
    let (who, when) = line.rsplit_once("> ")?;
    // GitHub asks for both; without a tagger it names the token's owner, which is better than no tag.
    let (name, email) = who.split_once(" <").filter(|(name, email)| !name.is_empty() && !email.is_empty())?;
    let (seconds, zone) = when.split_once(' ')?;
    let (sign, digits) = (zone.get(..1)?, zone.get(1..)?);
    let digits: i32 = digits.parse().ok().filter(|_| digits.len() == 4)?;
    let offset = (digits / 100 * 60 + digits % 100) * 60;
    let offset = Offset::from_seconds(if sign == "-" { -offset } else { offset }).ok()?;
    let time = offset.to_datetime(Timestamp::from_second(seconds.parse().ok()?).ok()?);
    let zone = match digits {
        0 => "Z".to_owned(),
        _ => format!("{sign}{}:{}", zone.get(1..3)?, zone.get(3..)?),
    };
    let date = format!("{}{zone}", time.strftime("%Y-%m-%dT%H:%M:%S"));
    Some(WireTagger { name: name.to_owned(), email: email.to_owned(), date })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "object 2695effb5807a22ff3d138d593fd856244e155e7\ntype commit\ntag v1\n";

    #[test]
    fn who_and_when_are_said_in_the_words_of_the_api() {
        for (line, expected) in [
            ("A B <a@example.com> 1700000000 +0000", Some(("A B", "a@example.com", "2023-11-14T22:13:20Z"))),
            ("A B <a@example.com> 1700000000 +0530", Some(("A B", "a@example.com", "2023-11-15T03:43:20+05:30"))),
            ("é <e> 1700000000 -0800", Some(("é", "e", "2023-11-14T14:13:20-08:00"))),
            ("é <> 1700000000 -0800", None),
            ("A <a> 1700000000", None),
            ("A <a> x +0000", None),
            ("A <a> 1700000000 +00", None),
            ("A <a> 99999999999999999 +0000", None),
            ("A 1700000000 +0000", None),
        ] {
            let found = tagger(line);
            let found = found.as_ref().map(|found| (found.name.as_str(), found.email.as_str(), found.date.as_str()));
            assert_eq!(found, expected, "{line}");
        }
    }

    #[test]
    fn tag_objects_are_read_or_not() {
        let plain = format!("{HEAD}tagger A <a> 1700000000 +0000\n\nFirst\n\nmore\n");
        let read = TagObject::parse(plain.as_bytes()).unwrap();
        assert_eq!((read.kind, read.text, read.is_signed()), ("commit", "First\n\nmore\n", false));
        assert_eq!(read.tagger.unwrap().date, "2023-11-14T22:13:20Z");
        let signed = format!("{HEAD}tagger A <a> 1 +0000\n\nFirst\n-----BEGIN SSH SIGNATURE-----\nabc\n");
        assert!(TagObject::parse(signed.as_bytes()).unwrap().is_signed());
        // As old gits made them.
        assert!(TagObject::parse(format!("{HEAD}\nFirst\n").as_bytes()).unwrap().tagger.is_none());
        for bad in [b"".as_slice(), b"\xff", b"tree a\n\nx", b"object a\n\nx", b"object a\ntype commit"] {
            assert_eq!(TagObject::parse(bad), None, "{bad:?}");
        }
    }
}
