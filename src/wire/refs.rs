//! Refs as a server lists them: the answer of `ls-refs` (protocol v2), and the advertisement (v0, v1).
//!
//! Both end with a flush, and what ended otherwise is no listing: absence is never concluded from it. A name outside of
//! `refs/tags/` is passed over, because the prefix that was asked for is only a hint to the server.

use gix::ObjectId;
use gix::hash::Kind;

use super::capabilities::{PushCapabilities, object_format};
use super::pkt::trim;
use super::{Decoder, Packet, WireFault};
use crate::http::Sink;
use crate::tag::{End, Listing, RemoteSnapshot, RemoteTag, TagName, Target, Value};
use crate::text::excerpt;

/// Where tags are.
pub(super) const TAGS: &[u8] = b"refs/tags/";

/// Longer names fit into no path of a server's file system, and a listing of such would fill our memory.
const LONGEST_NAME: usize = 4096;

/// Tags under way, and how ids are made.
#[derive(Debug)]
struct Tags {
    listing: Listing,
    format: Kind,
}

impl Tags {
    fn new(format: Kind) -> Self {
        Self { listing: Listing::new(), format }
    }

    /// Adds a ref, if it is a tag. `symbolic` is the ref that it stands for.
    fn add(&mut self, id: ObjectId, name: &[u8], symbolic: Option<&[u8]>) -> Result<(), WireFault> {
        let Some(name) = name.strip_prefix(TAGS) else { return Ok(()) };
        if name.len() > LONGEST_NAME {
            return Err(WireFault::malformed(format!("names a tag with more than {LONGEST_NAME} bytes")));
        }
        let name =
            TagName::new(name).map_err(|fault| WireFault::malformed(format!("names an impossible tag: {fault}")))?;
        let value = match symbolic {
            None => Ok(Value::of(Target::Object(id.into()))),
            // A write to it would change the other one, which need not even be a tag.
            Some(other) => Err(format!("it stands for `{}`, and a write to it would change that", excerpt(other, 200))),
        };
        let tag = RemoteTag { name, value, message: None, protected: false, attachment: None };
        self.listing.page([tag]).map_err(|fault| WireFault::malformed(format!("contradicts itself: {fault}")))
    }

    fn finish(self) -> Result<RemoteSnapshot, WireFault> {
        // There are no pages: the flush and the end of the body are the proof.
        self.listing
            .finish(End::SingleResponse, None)
            .map_err(|fault| WireFault::malformed(format!("contradicts itself: {fault}")))
    }
}

/// The line that a server says that it cannot with.
fn refusal(line: &[u8]) -> Option<WireFault> {
    line.strip_prefix(b"ERR ").map(|words| WireFault::Refused(trim(words).to_vec()))
}

fn id(hex: &[u8], format: Kind) -> Result<ObjectId, WireFault> {
    let digits = hex.len() == format.len_in_hex();
    let id = digits.then(|| ObjectId::from_hex(hex).ok()).flatten().filter(|id| !id.is_null());
    id.ok_or_else(|| WireFault::malformed("names what is no object id of this repository"))
}

/// Splits at the first space.
fn word(line: &[u8]) -> (&[u8], Option<&[u8]>) {
    match line.iter().position(|byte| *byte == b' ') {
        Some(at) => (&line[..at], Some(&line[at + 1..])),
        None => (line, None),
    }
}

/// The answer of `ls-refs`.
#[derive(Debug)]
pub struct LsRefs {
    decoder: Decoder,
    tags: Tags,
    /// What the one ref that was asked for peels to.
    peeled: Option<ObjectId>,
    ended: bool,
    fault: Option<WireFault>,
}

impl LsRefs {
    /// An answer that is about to begin, of a repository whose ids are made like this.
    pub fn new(format: Kind) -> Self {
        Self { decoder: Decoder::new(), tags: Tags::new(format), peeled: None, ended: false, fault: None }
    }

    /// Takes more of it.
    fn read(&mut self, part: &[u8]) -> Result<(), WireFault> {
        let Self { decoder, tags, peeled, ended, fault: _ } = self;
        decoder.feed(part, |packet| match packet {
            _ if *ended => Err(WireFault::malformed("goes on behind its end")),
            Packet::Flush => {
                *ended = true;
                Ok(())
            }
            Packet::Data(line) => listed(tags, peeled, line),
            Packet::Delimiter | Packet::ResponseEnd => {
                Err(WireFault::malformed("has sections, and a list of refs has none"))
            }
        })
    }

    /// Everything, if it came to its end.
    pub fn finish(self) -> Result<RemoteSnapshot, WireFault> {
        self.finish_peeled().map(|(tags, _)| tags)
    }

    /// The same, with what the last annotated tag peels to.
    pub(super) fn finish_peeled(self) -> Result<(RemoteSnapshot, Option<ObjectId>), WireFault> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        if !self.ended || !self.decoder.is_between_lines() {
            return Err(WireFault::malformed("breaks off before its end"));
        }
        Ok((self.tags.finish()?, self.peeled))
    }
}

/// `ID NAME`, then attributes in any order.
fn listed(tags: &mut Tags, peeled: &mut Option<ObjectId>, line: &[u8]) -> Result<(), WireFault> {
    if let Some(refusal) = refusal(line) {
        return Err(refusal);
    }
    let (hex, Some(rest)) = word(trim(line)) else { return Err(WireFault::malformed("has a line that is no ref")) };
    let (name, mut attributes) = word(rest);
    let mut symbolic = None;
    while let Some(rest) = attributes {
        let (attribute, more) = word(rest);
        if let Some(other) = attribute.strip_prefix(b"symref-target:") {
            symbolic = Some(other);
        } else if let Some(hex) = attribute.strip_prefix(b"peeled:") {
            *peeled = Some(id(hex, tags.format)?);
        }
        attributes = more;
    }
    tags.add(id(hex, tags.format)?, name, symbolic)
}

impl Sink for LsRefs {
    fn begin(&mut self) {
        *self = Self::new(self.tags.format);
    }

    fn take(&mut self, part: &[u8]) -> bool {
        if let Err(fault) = self.read(part) {
            self.fault.get_or_insert(fault);
        }
        self.fault.is_none()
    }
}

/// What a server shows of itself and its refs when it is first asked.
#[derive(Debug)]
pub struct Advertisement {
    decoder: Decoder,
    step: Step,
    keep: Keep,
    fault: Option<WireFault>,
    /// What it comes to.
    said: Said,
}

/// What of an advertisement's refs is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// None of them.
    Nothing,
    /// The tags.
    Tags,
    /// The objects that any of them holds: what the other side has.
    Tips,
}

/// How far an advertisement has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Nothing has come.
    Begin,
    /// The service was named; a flush follows.
    Named,
    /// What comes next says which version this is.
    First,
    /// Capabilities of v2, one a line.
    Second,
    /// Refs.
    Refs,
    /// The last flush was there.
    End,
}

/// What an advertisement says.
#[derive(Debug)]
pub(super) struct Said {
    /// Whether the server answers in v2, and lists refs only when asked to.
    pub(super) is_v2: bool,
    /// How ids are made; `None` where nothing says so, which means SHA-1.
    pub(super) format: Option<Kind>,
    /// The capabilities of v0 and v1.
    pub(super) capabilities: Vec<u8>,
    /// What its refs hold, and what else it says that it has.
    pub(super) tips: Vec<ObjectId>,
    tags: Option<Tags>,
}

impl Said {
    fn new() -> Self {
        Self { is_v2: false, format: None, capabilities: Vec::new(), tips: Vec::new(), tags: None }
    }

    /// The tags of an advertisement of v0 or v1.
    pub(super) fn into_tags(self) -> Result<RemoteSnapshot, WireFault> {
        self.tags.unwrap_or_else(|| Tags::new(Kind::Sha1)).finish()
    }

    /// What matters for a push.
    pub(super) fn push_capabilities(&self) -> Result<PushCapabilities, WireFault> {
        PushCapabilities::read(&self.capabilities).map_err(|name| unknown_format(&name))
    }
}

fn unknown_format(name: &[u8]) -> WireFault {
    WireFault::malformed(format!("names the object format `{}`, which is not known here", excerpt(name, 40)))
}

impl Advertisement {
    /// An advertisement that is about to begin.
    pub fn new(keep: Keep) -> Self {
        Self { decoder: Decoder::new(), step: Step::Begin, keep, fault: None, said: Said::new() }
    }

    fn read(&mut self, part: &[u8]) -> Result<(), WireFault> {
        let Self { decoder, step, keep, said, fault: _ } = self;
        decoder.feed(part, |packet| advance(step, *keep, said, packet))
    }

    /// Everything, if it came to its end.
    pub(super) fn finish(self) -> Result<Said, WireFault> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        if self.step != Step::End || !self.decoder.is_between_lines() {
            return Err(WireFault::malformed("breaks off before its end"));
        }
        Ok(self.said)
    }
}

fn advance(step: &mut Step, keep: Keep, said: &mut Said, packet: Packet<'_>) -> Result<(), WireFault> {
    let line = match (packet, *step) {
        (Packet::Flush, Step::Named) => {
            *step = Step::First;
            return Ok(());
        }
        (Packet::Flush, Step::First | Step::Second | Step::Refs) => {
            *step = Step::End;
            return Ok(());
        }
        (Packet::Data(line), Step::Begin | Step::First | Step::Second | Step::Refs) => line,
        (Packet::Data(_) | Packet::Flush | Packet::Delimiter | Packet::ResponseEnd, _) => {
            return Err(WireFault::malformed("is no advertisement of a git server"));
        }
    };
    if let Some(refusal) = refusal(line) {
        return Err(refusal);
    }
    let line = trim(line);
    match *step {
        Step::Begin if line.starts_with(b"# service=") => *step = Step::Named,
        Step::Begin | Step::First if line == b"version 2" => {
            said.is_v2 = true;
            *step = Step::Second;
        }
        Step::Begin | Step::First if line == b"version 1" => *step = Step::First,
        Step::Second => {
            if let Some(name) = line.strip_prefix(b"object-format=") {
                said.format = Some(object_format(name).ok_or_else(|| unknown_format(name))?);
            }
        }
        // Without the name of the service in front, as git's server does it when it heard of version 2.
        Step::Begin | Step::First => {
            let at = line.iter().position(|byte| *byte == 0);
            let (first, list) = at.map_or((line, &[][..]), |at| (&line[..at], &line[at + 1..]));
            said.capabilities = list.to_vec();
            said.format = Some(PushCapabilities::read(list).map_err(|name| unknown_format(&name))?.format);
            *step = Step::Refs;
            // A repository without refs has to say its capabilities somewhere.
            if !first.ends_with(b" capabilities^{}") {
                advertised(keep, said, first)?;
            }
        }
        Step::Refs => advertised(keep, said, line)?,
        Step::Named | Step::End => return Err(WireFault::malformed("is no advertisement of a git server")),
    }
    Ok(())
}

fn advertised(keep: Keep, said: &mut Said, line: &[u8]) -> Result<(), WireFault> {
    if line.starts_with(b"shallow ") {
        return Ok(());
    }
    let (hex, Some(name)) = word(line) else { return Err(WireFault::malformed("has a line that is no ref")) };
    let format = said.format.unwrap_or(Kind::Sha1);
    let id = id(hex, format)?;
    match keep {
        // `NAME^{}` says what the tag before it peels to.
        Keep::Tags if !name.ends_with(b"^{}") => {
            return said.tags.get_or_insert_with(|| Tags::new(format)).add(id, name, None);
        }
        // Also those called `.have`, which are in the repositories that this one borrows from (2026-11-21,
        // <https://git-scm.com/docs/gitprotocol-pack#_reference_discovery_2>).
        Keep::Tips => said.tips.push(id),
        Keep::Tags | Keep::Nothing => {}
    }
    Ok(())
}

impl Sink for Advertisement {
    fn begin(&mut self) {
        *self = Self::new(self.keep);
    }

    fn take(&mut self, part: &[u8]) -> bool {
        if let Err(fault) = self.read(part) {
            self.fault.get_or_insert(fault);
        }
        self.fault.is_none()
    }
}
