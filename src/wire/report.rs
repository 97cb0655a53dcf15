//! What became of a push, ref by ref.

use std::collections::HashMap;

use super::pkt::trim;
use super::refs::TAGS;
use super::{Decoder, Packet, WireFault};
use crate::http::Sink;
use crate::tag::TagName;

/// How much is kept of what hooks print; the end says more than the beginning.
const REMARKS: usize = 2048;

/// What became of one ref.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is what was asked for.
    Done,
    /// It is something else, because a hook made something else of it.
    Rewritten,
    /// It was refused, with the server's reason, which is not safe to print.
    Refused(Vec<u8>),
}

/// A report under way. What was in it before it broke off still counts.
#[derive(Debug)]
pub struct Report {
    side_band: bool,
    outer: Decoder,
    inner: Inner,
    remarks: Vec<u8>,
    ended: bool,
    fault: Option<WireFault>,
}

/// The report itself, whatever it came in.
#[derive(Debug, Default)]
struct Inner {
    decoder: Decoder,
    unpacked: Option<Result<(), Vec<u8>>>,
    fates: HashMap<TagName, Fate>,
    /// The ref that option lines are about.
    latest: Option<TagName>,
    ended: bool,
}

impl Report {
    /// A report that is about to begin, multiplexed or not.
    pub fn new(side_band: bool) -> Self {
        Self {
            side_band,
            outer: Decoder::new(),
            inner: Inner::default(),
            remarks: Vec::new(),
            ended: false,
            fault: None,
        }
    }

    fn read(&mut self, part: &[u8]) -> Result<(), WireFault> {
        let Self { side_band, outer, inner, remarks, ended, fault: _ } = self;
        if !*side_band {
            return inner.read(part);
        }
        outer.feed(part, |packet| match packet {
            _ if *ended => Err(WireFault::malformed("goes on behind its end")),
            Packet::Flush => {
                *ended = true;
                Ok(())
            }
            Packet::Data([1, report @ ..]) => inner.read(report),
            Packet::Data([2, said @ ..]) => {
                keep_end(remarks, said);
                Ok(())
            }
            Packet::Data([3, words @ ..]) => Err(WireFault::Refused(trim(words).to_vec())),
            Packet::Data(line) => Err(match line.strip_prefix(b"ERR ") {
                Some(words) => WireFault::Refused(trim(words).to_vec()),
                None => WireFault::malformed("is no report of a push"),
            }),
            Packet::Delimiter | Packet::ResponseEnd => Err(WireFault::malformed("is no report of a push")),
        })
    }

    /// Whether the pack was taken; `Err` has the server's words, `None` means that nothing was said.
    pub fn unpacked(&self) -> Option<Result<(), &[u8]>> {
        self.inner.unpacked.as_ref().map(|unpacked| unpacked.as_ref().map(|&()| ()).map_err(Vec::as_slice))
    }

    /// What became of a tag; `None` when nothing was said about it.
    pub fn fate(&self, name: &TagName) -> Option<&Fate> {
        self.inner.fates.get(name)
    }

    /// What hooks printed, the end of it. Not safe to print.
    pub fn remarks(&self) -> &[u8] {
        &self.remarks
    }

    /// Why it is not whole, if so.
    pub fn incomplete(&self) -> Option<WireFault> {
        if let Some(fault) = &self.fault {
            return Some(fault.clone());
        }
        (!self.inner.ended).then(|| WireFault::malformed("breaks off before its end"))
    }
}

fn keep_end(remarks: &mut Vec<u8>, said: &[u8]) {
    remarks.extend_from_slice(said);
    let surplus = remarks.len().saturating_sub(REMARKS);
    remarks.drain(..surplus);
}

impl Inner {
    fn read(&mut self, part: &[u8]) -> Result<(), WireFault> {
        let Self { decoder, unpacked, fates, latest, ended } = self;
        decoder.feed(part, |packet| match packet {
            _ if *ended => Err(WireFault::malformed("goes on behind its end")),
            Packet::Flush => {
                *ended = true;
                Ok(())
            }
            Packet::Data(line) => take(unpacked, fates, latest, trim(line)),
            Packet::Delimiter | Packet::ResponseEnd => Err(WireFault::malformed("is no report of a push")),
        })
    }
}

fn take(
    unpacked: &mut Option<Result<(), Vec<u8>>>,
    fates: &mut HashMap<TagName, Fate>,
    latest: &mut Option<TagName>,
    line: &[u8],
) -> Result<(), WireFault> {
    if unpacked.is_none() {
        let Some(result) = line.strip_prefix(b"unpack ") else {
            return Err(match line.strip_prefix(b"ERR ") {
                Some(words) => WireFault::Refused(words.to_vec()),
                None => WireFault::malformed("is no report of a push"),
            });
        };
        *unpacked = Some(if result == b"ok" { Ok(()) } else { Err(result.to_vec()) });
        return Ok(());
    }
    if let Some(option) = line.strip_prefix(b"option ") {
        // The ref has another name or another value now; a look tells which.
        if !option.starts_with(b"old-oid ") && option != b"forced-update" {
            rewritten(fates, latest.as_ref(), option);
        }
        return Ok(());
    }
    let (name, fate) = if let Some(name) = line.strip_prefix(b"ok ") {
        (name, Fate::Done)
    } else if let Some(rest) = line.strip_prefix(b"ng ") {
        match rest.iter().position(|byte| *byte == b' ') {
            Some(at) => (&rest[..at], Fate::Refused(rest[at + 1..].to_vec())),
            None => (rest, Fate::Refused(Vec::new())),
        }
    } else {
        return Err(WireFault::malformed("is no report of a push"));
    };
    *latest = name.strip_prefix(TAGS).and_then(|name| TagName::new(name).ok());
    // What was never asked for concerns nobody.
    let Some(name) = latest.clone() else { return Ok(()) };
    let known = fates.len() < MOST || fates.contains_key(&name);
    if !known {
        return Err(WireFault::malformed("reports more refs than any push has"));
    }
    // A ref that is reported twice differently is in doubt.
    fates.entry(name).and_modify(|before| *before = settle(before, &fate)).or_insert(fate);
    Ok(())
}

/// More refs than one push has.
const MOST: usize = 100_000;

fn settle(before: &Fate, now: &Fate) -> Fate {
    if before == now { now.clone() } else { Fate::Rewritten }
}

fn rewritten(fates: &mut HashMap<TagName, Fate>, latest: Option<&TagName>, option: &[u8]) {
    let Some(name) = latest else { return };
    let same_name = option
        .strip_prefix(b"refname ")
        .and_then(|other| other.strip_prefix(TAGS))
        .is_some_and(|other| other == name.as_bytes());
    if !same_name && let Some(fate @ Fate::Done) = fates.get_mut(name) {
        *fate = Fate::Rewritten;
    }
}

impl Sink for Report {
    fn begin(&mut self) {
        *self = Self::new(self.side_band);
    }

    fn take(&mut self, part: &[u8]) -> bool {
        if let Err(fault) = self.read(part) {
            self.fault.get_or_insert(fault);
        }
        self.fault.is_none()
    }
}
