//! Tag objects from a repository: these alone, without the history that they lead to.

use std::collections::{BTreeSet, HashMap};

use gix::ObjectId;

use super::{Endpoint, Service, is, not_asked, refused, unusable, v2};
use crate::http::{Fault, FaultKind, Reply};
use crate::tag::{RemoteSnapshot, RemoteTag, Target, Value};
use crate::wire::refs::{Ends, TAGS};
use crate::wire::{Decoder, Packet, WireFault, unpack};

/// How many tag objects one request asks for.
const AT_ONCE: usize = 500;

/// The most that one answer may bring, packed: tag objects are small, so this is far more than so many of them.
const ANSWER_LIMIT: usize = 8 * 1024 * 1024;

/// Why nothing is fetched from an old server.
const NO_FETCH: &str =
    "it is annotated, and its object cannot be fetched, because its server speaks no version 2 of git's protocol";

/// A tag object, and what it peels to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its id.
    pub tag_id: ObjectId,
    /// The end, which the server is told to be here already, so that nothing of the history comes along.
    pub end: ObjectId,
}

impl Endpoint {
    /// All tags, and what the annotated ones peel to: whole, or a fault. Where the server speaks no version 2, annotated tags
    /// are unknown, because their objects cannot be had.
    pub async fn list_peeled(&self) -> Result<(RemoteSnapshot, Ends), Fault> {
        let (mut tags, ends) = self.list(TAGS, "list the tags", true).await?;
        if self.memory.get().speaks_v2 == Some(false) {
            let annotated = |tag: &&RemoteTag| matches!(&tag.value, Ok(Value { target: Target::Object(id), .. }) if ends.contains_key(&ObjectId::from(*id)));
            let unknown = |tag: &RemoteTag| RemoteTag { value: Err(NO_FETCH.to_owned()), ..tag.clone() };
            let unknown: Vec<_> = tags.tags().iter().filter(annotated).map(unknown).collect();
            unknown.into_iter().for_each(|tag| tags.renew(tag));
        }
        Ok((tags, ends))
    }

    /// These tag objects and those between them and their ends, by their ids, each made sure of by its bytes.
    ///
    /// A server may send less than was asked for; who needs an object has to look whether it is there.
    pub async fn fetch_tags(&self, wanted: &[Wanted]) -> Result<HashMap<ObjectId, Vec<u8>>, Fault> {
        if self.memory.get().speaks_v2.is_none() {
            self.learn_version().await?;
        }
        if self.memory.get().speaks_v2 != Some(true) {
            return Err(Fault::new(FaultKind::Unsupported, NO_FETCH));
        }
        let mut found = HashMap::new();
        for part in wanted.chunks(AT_ONCE) {
            found.extend(self.fetch_part(part).await?);
        }
        Ok(found)
    }

    async fn fetch_part(&self, wanted: &[Wanted]) -> Result<HashMap<ObjectId, Vec<u8>>, Fault> {
        // Without `thin-pack` and `ofs-delta`: whatever a delta is made from has to be in the answer, too (2026-11-21,
        // <https://git-scm.com/docs/gitprotocol-v2#_fetch>). `done` ends the negotiation before it begins.
        let wants: BTreeSet<_> = wanted.iter().map(|wanted| format!("want {}\n", wanted.tag_id)).collect();
        let haves: BTreeSet<_> = wanted.iter().map(|wanted| format!("have {}\n", wanted.end)).collect();
        let lines = wants.iter().chain(&haves).map(String::as_bytes).chain([b"no-progress\n".as_slice(), b"done\n"]);
        let lines: Vec<_> = lines.collect();
        let (client, service) = (self.client(), Service::UploadPack);
        let (request_type, result_type) = (service.type_of("request"), service.type_of("result"));
        let segments = [service.name()];
        let body = self.command("fetch", &lines).map_err(|fault| not_asked(&fault))?;
        let request = v2(client.post("fetch tag objects", &segments).reading());
        let request = request.accept(&result_type).raw(&request_type, body).limit(ANSWER_LIMIT);
        let reply = request.send().await?;
        if !is(&reply, &result_type) {
            return Err(refused(&reply));
        }
        // Tags of tags bring a few more than was asked for; whoever sends history was asked for none.
        let most = 4 * wanted.len() + 64;
        let objects = packed(&reply).and_then(|pack| unpack::tag_objects(&pack, self.object_format(), most));
        objects.map_err(|fault| unusable(&reply, &fault))
    }
}

/// The pack in an answer of `fetch`: what came through the first band, after the line that announces it.
fn packed(reply: &Reply) -> Result<Vec<u8>, WireFault> {
    let mut pack: Option<Vec<u8>> = None;
    let mut ended = false;
    let mut decoder = Decoder::new();
    decoder.feed(reply.body(), |packet| {
        let line = match packet {
            _ if ended => return Err(WireFault::malformed("goes on behind its end")),
            Packet::Flush => {
                ended = true;
                return Ok(());
            }
            // Sections that nobody asked for may come before the pack.
            Packet::Delimiter | Packet::ResponseEnd => return Ok(()),
            Packet::Data(line) => line,
        };
        match (&mut pack, line) {
            (_, [b'E', b'R', b'R', b' ', words @ ..]) => Err(WireFault::Refused(words.trim_ascii_end().to_vec())),
            (None, line) if line.trim_ascii_end() == b"packfile" => {
                pack = Some(Vec::new());
                Ok(())
            }
            (None, _) => Ok(()),
            (Some(pack), [1, data @ ..]) => {
                pack.extend_from_slice(data);
                Ok(())
            }
            (Some(_), [2, ..]) => Ok(()),
            (Some(_), [3, words @ ..]) => Err(WireFault::Refused(words.trim_ascii_end().to_vec())),
            (Some(_), _) => Err(WireFault::malformed("has a line in its pack that is of no band")),
        }
    })?;
    if !ended || !decoder.is_between_lines() {
        return Err(WireFault::malformed("breaks off before its end"));
    }
    pack.ok_or_else(|| WireFault::malformed("holds no pack"))
}
