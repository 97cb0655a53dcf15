//! One repository behind a URL.
//!
//! What is found out on the way (where it moved to, which version it speaks, what it takes in a push) is remembered for as
//! long as the configuration lives, so that a listing is one request, and a push is one, too.

use std::sync::{Arc, Mutex, PoisonError};

use gix::ObjectId;
use gix::hash::Kind;
use url::Url;

use super::capabilities::{AGENT, format_name};
use super::pkt::{push_delimiter, push_flush, push_line};
use super::refs::{Said, TAGS};
use super::{
    Advertisement, Command, Keep, LsRefs, Object, Objects, PushCapabilities, Report, WireFault, commands, pack,
};
use crate::http::{Client, Fault, FaultKind, Reply, Request, Transport};
use crate::tag::{RemoteSnapshot, RemoteTag, TagName};

/// The most that one listing may bring: a million tags.
const LISTING_LIMIT: usize = 128 * 1024 * 1024;

/// A repository at the other end.
#[derive(Debug)]
pub struct Endpoint {
    client: Client,
    memory: Arc<Memory>,
    /// How ids are made in the source, where that is known: there is nothing to agree on with a repository of another kind.
    format: Option<Kind>,
}

/// What was found out about a repository. All of it can be found out again.
#[derive(Debug, Default)]
struct Memory(Mutex<Known>);

#[derive(Clone, Debug, Default)]
struct Known {
    /// Where it moved to, within its origin.
    moved: Option<Url>,
    /// Whether it lists refs by `ls-refs`.
    speaks_v2: Option<bool>,
    format: Option<Kind>,
    push: Option<PushCapabilities>,
}

impl Memory {
    fn get(&self) -> Known {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn learn(&self, learn: impl FnOnce(&mut Known)) {
        learn(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// The two halves of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Service {
    UploadPack,
    ReceivePack,
}

impl Service {
    fn name(self) -> &'static str {
        match self {
            Self::UploadPack => "git-upload-pack",
            Self::ReceivePack => "git-receive-pack",
        }
    }

    /// Servers must answer with these types, and a login page has another one.
    fn type_of(self, part: &str) -> String {
        format!("application/x-{}-{part}", self.name())
    }
}

/// A push that is ready to leave.
#[derive(Debug)]
pub struct Push<'a> {
    /// What is to become of which tag.
    pub commands: &'a [Command],
    /// What the other side may lack.
    pub pack: Pack<'a>,
}

/// The objects that go with a push.
#[derive(Debug)]
pub enum Pack<'a> {
    /// Tag objects, in memory.
    Tags(&'a [(ObjectId, Vec<u8>)]),
    /// Objects of any kind, which are read while they are sent.
    Objects(&'a Arc<dyn Objects>, &'a [Object]),
}

/// What came back.
#[derive(Debug)]
pub enum Pushed {
    /// There is a report, or its beginning.
    Reported {
        /// Ref by ref, as far as it goes.
        report: Box<Report>,
        /// Why it does not go to its end. What is not in it is in doubt then.
        cut: Option<Fault>,
    },
    /// The request was declined for what is in it, or for its size: parts of it may be welcome.
    Declined(Fault),
}

impl Endpoint {
    /// The repository at this URL. `format` is how ids are made in the source, where there is one.
    pub fn new(client: Client, transport: &Transport, url: &Url, format: Option<Kind>) -> Self {
        Self { client, memory: transport.remembered::<Memory>(url.as_str()), format }
    }

    /// All tags: whole, or a fault.
    pub async fn list_tags(&self) -> Result<RemoteSnapshot, Fault> {
        let prefix = TAGS.to_vec();
        self.list(&prefix, "list the tags", false).await.map(|(tags, _)| tags)
    }

    /// One tag, and what it peels to where the server says that.
    pub async fn get_tag(&self, name: &TagName) -> Result<Option<(RemoteTag, Option<ObjectId>)>, Fault> {
        let prefix = [TAGS, name.as_bytes()].concat();
        let (tags, peeled) = self.list(&prefix, "read the tag", true).await?;
        let peeled = peeled.filter(|_| tags.tags().len() == 1);
        Ok(tags.get(name).map(|tag| (tag.clone(), peeled)))
    }

    /// What the server takes in a push; asked anew, so that it also tells whether the credential may push at all.
    pub async fn push_capabilities(&self) -> Result<PushCapabilities, Fault> {
        self.ask_push(Keep::Nothing).await.map(|(capabilities, _)| capabilities)
    }

    /// The same, with some of the objects that the repository has; it has whatever they lead to as well.
    pub async fn push_capabilities_and_tips(&self) -> Result<(PushCapabilities, Vec<ObjectId>), Fault> {
        self.ask_push(Keep::Tips).await
    }

    async fn ask_push(&self, keep: Keep) -> Result<(PushCapabilities, Vec<ObjectId>), Fault> {
        let (reply, said) =
            self.advertisement(Service::ReceivePack, Advertisement::new(keep), "ask what can be pushed").await?;
        let capabilities = said.push_capabilities().map_err(|fault| unusable(&reply, &fault))?;
        self.check_format(capabilities.format)?;
        if !capabilities.reports {
            return Err(Fault::new(FaultKind::Unsupported, "the server does not tell what becomes of a push")
                .hint("nothing is written that cannot be followed up; use a newer git on the server"));
        }
        self.memory.learn(|known| known.push = Some(capabilities));
        Ok((capabilities, said.tips))
    }

    /// The same, from memory where it is there.
    pub async fn known_push_capabilities(&self) -> Result<PushCapabilities, Fault> {
        match self.memory.get().push {
            Some(capabilities) => Ok(capabilities),
            None => self.push_capabilities().await,
        }
    }

    /// Sends a push. A fault means that there is not even the beginning of a report.
    pub async fn push(&self, push: &Push<'_>, capabilities: &PushCapabilities) -> Result<Pushed, Fault> {
        let unsent =
            |why: &dyn std::fmt::Display| Fault::new(FaultKind::NotSent, format!("could not push the tags: {why}"));
        let mut body = commands::write(push.commands, capabilities).map_err(|fault| unsent(&fault))?;
        let client = self.client();
        let service = Service::ReceivePack;
        let (request_type, result_type) = (service.type_of("request"), service.type_of("result"));
        let mut report = Report::new(capabilities.side_band);
        let segments = [service.name()];
        let request = client.post("push the tags", &segments).accept(&result_type);
        let request = match &push.pack {
            // A push that only deletes must carry no pack, any other must carry one, even if there is nothing in it.
            _ if push.commands.iter().all(|command| command.new.is_none()) => request.raw(&request_type, body),
            Pack::Tags(tags) => {
                let pack = pack::of_tags(tags, capabilities.format).map_err(|fault| unsent(&fault))?;
                body.extend_from_slice(&pack);
                request.raw(&request_type, body)
            }
            Pack::Objects(source, list) => {
                let parts = pack::in_parts(body.into(), Arc::clone(source), (*list).into(), capabilities.format);
                request.parts(&request_type, parts)
            }
        };
        match request.send_into(&mut report).await {
            Ok(reply) if is(&reply, &result_type) => {
                let cut = report.incomplete().map(|fault| unusable(&reply, &fault));
                Ok(Pushed::Reported { report: Box::new(report), cut })
            }
            // One that is too large for a proxy, or for the server. What else is refused, is refused whatever is in it.
            Ok(reply) if matches!(reply.status(), 400 | 413 | 422) => Ok(Pushed::Declined(refused(&reply))),
            Ok(reply) => Err(refused(&reply)),
            // What had arrived of the report is as true as a whole one.
            Err(fault) if fault.kind == FaultKind::Ambiguous && report.unpacked().is_some() => {
                Ok(Pushed::Reported { report: Box::new(report), cut: Some(fault) })
            }
            Err(fault) => Err(fault),
        }
    }

    /// Whether the repository has an object; `None` where it cannot be asked, because it speaks no version 2.
    ///
    /// By a fetch of what is said to be there already: a server that has it has nothing to send (2026-11-21,
    /// <https://git-scm.com/docs/gitprotocol-v2#_fetch>: wants "can be anything and are not limited to advertised objects").
    pub async fn has_object(&self, id: ObjectId) -> Result<Option<bool>, Fault> {
        if self.memory.get().speaks_v2.is_none() {
            self.learn_version().await?;
        }
        if self.memory.get().speaks_v2 != Some(true) {
            return Ok(None);
        }
        let id = id.to_string();
        let lines = [format!("want {id}\n"), format!("have {id}\n"), "no-progress\n".to_owned()];
        let lines: Vec<_> = lines.iter().map(String::as_bytes).collect();
        let (client, service) = (self.client(), Service::UploadPack);
        let (request_type, result_type) = (service.type_of("request"), service.type_of("result"));
        let segments = [service.name()];
        let body = self.command("fetch", &lines).map_err(|fault| not_asked(&fault))?;
        let request = v2(client.post("look for the commit", &segments).reading());
        let reply = request.accept(&result_type).raw(&request_type, body).send().await?;
        if !is(&reply, &result_type) {
            return Err(refused(&reply));
        }
        let mut first = None;
        let read = super::Decoder::new().feed(reply.body(), |packet| {
            if let (super::Packet::Data(line), None) = (packet, &first) {
                first = Some(line.to_vec());
            }
            Ok(())
        });
        match (read, first) {
            (_, Some(line)) if line.starts_with(b"ERR ") => {
                let words = String::from_utf8_lossy(&line).to_ascii_lowercase();
                // git: "upload-pack: not our ref ID"; JGit: "want ID not valid".
                let absent = words.contains(&id) && (words.contains("not our ref") || words.contains("not valid"));
                if absent { Ok(Some(false)) } else { Err(unusable(&reply, &WireFault::Refused(line[4..].to_vec()))) }
            }
            (Ok(()), Some(line)) if line.starts_with(b"acknowledgments") || line.starts_with(b"packfile") => {
                Ok(Some(true))
            }
            (Err(fault), _) => Err(unusable(&reply, &fault)),
            (Ok(()), _) => Err(unusable(&reply, &WireFault::malformed("says nothing about the object"))),
        }
    }

    /// Lists below a prefix: at once, if that may work, else by what the server says of itself first.
    async fn list(
        &self,
        prefix: &[u8],
        purpose: &'static str,
        peel: bool,
    ) -> Result<(RemoteSnapshot, Option<ObjectId>), Fault> {
        let known = self.memory.get();
        if known.speaks_v2 != Some(false) {
            let listed = self.ls_refs(prefix, purpose, peel).await?;
            match (listed, known.speaks_v2) {
                (Ok(listed), Some(true)) => return Ok(listed),
                // Nobody has said yet that version 2 is understood. Refs in its form prove it; that there are none does not.
                (Ok(listed), _) if !listed.0.tags().is_empty() => {
                    self.memory.learn(|known| known.speaks_v2 = Some(true));
                    return Ok(listed);
                }
                (Err(fault), Some(true)) => return Err(fault),
                (Ok(_) | Err(_), _) => {}
            }
        }
        match self.learn_version().await? {
            Some((reply, said)) => {
                let tags = said.into_tags().map_err(|fault| unusable(&reply, &fault))?;
                Ok((tags, None))
            }
            None => self.ls_refs(prefix, purpose, peel).await?,
        }
    }

    /// Asks what the server speaks. Gives its tags where it lists them at once, which is what v0 and v1 do.
    async fn learn_version(&self) -> Result<Option<(Reply, Said)>, Fault> {
        let (reply, said) =
            self.advertisement(Service::UploadPack, Advertisement::new(Keep::Tags), "list the tags").await?;
        let format = said.format.unwrap_or(Kind::Sha1);
        // An empty repository says nothing about itself in v0.
        if said.is_v2 || said.format.is_some() {
            self.check_format(format)?;
        }
        self.memory.learn(|known| (known.speaks_v2, known.format) = (Some(said.is_v2), Some(format)));
        Ok((!said.is_v2).then_some((reply, said)))
    }

    /// One `ls-refs`. The outer fault is one that another try would meet, too; the inner one may come of a server that does
    /// not speak version 2.
    async fn ls_refs(
        &self,
        prefix: &[u8],
        purpose: &'static str,
        peel: bool,
    ) -> Result<Result<(RemoteSnapshot, Option<ObjectId>), Fault>, Fault> {
        let (client, service) = (self.client(), Service::UploadPack);
        let (request_type, result_type) = (service.type_of("request"), service.type_of("result"));
        let segments = [service.name()];
        let prefix = [b"ref-prefix ", prefix, b"\n"].concat();
        let mut lines: Vec<&[u8]> = vec![b"symrefs\n", &prefix];
        if peel {
            lines.push(b"peel\n");
        }
        let body = self.command("ls-refs", &lines).map_err(|fault| not_asked(&fault))?;
        let request = v2(client.post(purpose, &segments).reading());
        let request = request.accept(&result_type).raw(&request_type, body).limit(LISTING_LIMIT);
        let mut refs = LsRefs::new(self.object_format());
        let reply = request.send_into(&mut refs).await?;
        if !is(&reply, &result_type) {
            let fault = refused(&reply);
            return match fault.kind {
                FaultKind::Unauthorized | FaultKind::Forbidden | FaultKind::Throttled | FaultKind::NotSent => {
                    Err(fault)
                }
                _ => Ok(Err(fault)),
            };
        }
        Ok(refs.finish_peeled().map_err(|fault| unusable(&reply, &fault)))
    }

    /// A command of version 2 with its arguments.
    fn command(&self, command: &str, arguments: &[&[u8]]) -> Result<Vec<u8>, WireFault> {
        let mut body = Vec::new();
        push_line(&mut body, &[b"command=", command.as_bytes(), b"\n"])?;
        push_line(&mut body, &[b"agent=", AGENT.as_bytes(), b"\n"])?;
        // What is not said is SHA-1, and servers that know nothing else need not understand this line.
        if self.object_format() != Kind::Sha1 {
            push_line(&mut body, &[b"object-format=", format_name(self.object_format()).as_bytes(), b"\n"])?;
        }
        push_delimiter(&mut body);
        arguments.iter().try_for_each(|line| push_line(&mut body, &[line]))?;
        push_flush(&mut body);
        Ok(body)
    }

    /// Asks what a server says of itself. The first read follows one permanent redirect within the origin, and remembers it
    /// once the answer there is one.
    async fn advertisement(
        &self,
        service: Service,
        mut sink: Advertisement,
        purpose: &'static str,
    ) -> Result<(Reply, Said), Fault> {
        let mut client = self.client();
        let wanted = service.type_of("advertisement");
        let mut may_move = self.memory.get().moved.is_none();
        let mut moved_to = None;
        let reply = loop {
            let segments = ["info", "refs"];
            let request = client.get(purpose, &segments).query("service", service.name());
            // There is no version 2 of pushing.
            let request = if service == Service::UploadPack { v2(request) } else { request };
            let reply = request.accept(&wanted).limit(LISTING_LIMIT).send_into(&mut sink).await?;
            let follows = may_move && matches!(reply.status(), 301 | 308);
            let there = reply.moved_within_origin().filter(|_| follows).and_then(|url| base_of(&url));
            let Some((base, moved)) = there.and_then(|base| Some((base.clone(), client.moved_to(base)?))) else {
                break reply;
            };
            may_move = false;
            client = moved;
            moved_to = Some(base);
        };
        if !is(&reply, &wanted) {
            return Err(refused(&reply));
        }
        let said = sink.finish().map_err(|fault| unusable(&reply, &fault))?;
        if moved_to.is_some() {
            self.memory.learn(|known| known.moved = moved_to);
        }
        Ok((reply, said))
    }

    /// The client, at the place where the repository is now.
    fn client(&self) -> Client {
        let moved = self.memory.get().moved.and_then(|base| self.client.moved_to(base));
        moved.unwrap_or_else(|| self.client.clone())
    }

    /// How ids are made there, as far as it is known; else as in the source, because nothing else could agree.
    fn object_format(&self) -> Kind {
        self.memory.get().format.or(self.format).unwrap_or(Kind::Sha1)
    }

    fn check_format(&self, there: Kind) -> Result<(), Fault> {
        match self.format {
            Some(here) if here != there => {
                let [here, there] = [here, there].map(format_name);
                let message = format!(
                    "the remote makes its object ids by {there} and the source by {here}, so they can have no object in common"
                );
                Err(Fault::new(FaultKind::Rejected, message)
                    .hint("use a repository of the same object format (`git init --object-format`)"))
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// Asks for version 2 of the protocol.
fn v2(request: Request<'_>) -> Request<'_> {
    request.header("git-protocol", "version=2")
}

/// The repository that `…/info/refs` stands for.
fn base_of(info_refs: &Url) -> Option<Url> {
    let path = info_refs.path().strip_suffix("/info/refs")?.to_owned();
    let mut base = info_refs.clone();
    base.set_path(&path);
    base.set_query(None);
    base.set_fragment(None);
    Some(base)
}

/// Whether an answer is the kind of success that was asked for.
fn is(reply: &Reply, wanted: &str) -> bool {
    let kind = reply.header("content-type").unwrap_or_default();
    reply.status() == 200 && kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case(wanted))
}

/// The fault for an answer that is not the success that was asked for.
fn refused(reply: &Reply) -> Fault {
    if reply.status() == 200 {
        let kind = reply.quote(reply.header("content-type").unwrap_or("nothing"));
        return reply
            .unusable(&format!("is `{kind}`, which is not what a git server answers"))
            .hint("check `url`: it is the one that `git clone` takes; a proxy or a login page may stand in between");
    }
    let fault = reply.refusal(None);
    let hint = match reply.status() {
        401 => "check `username` and `password`; most hosts take an access token as the password",
        403 => "the credential may not do this: check its role, and the scope of the token (mostly `write_repository`)",
        404 => "check `url`: it is the one that `git clone` takes; many hosts also answer so to who may not see it",
        _ => return fault,
    };
    fault.hint(hint)
}

fn unusable(reply: &Reply, fault: &WireFault) -> Fault {
    match fault {
        WireFault::Malformed(what) => reply.unusable(&reply.quote(what)),
        WireFault::Refused(words) => {
            reply.unusable(&format!("is an error: {}", reply.quote(&String::from_utf8_lossy(words))))
        }
    }
}

fn not_asked(fault: &WireFault) -> Fault {
    Fault::new(FaultKind::NotSent, format!("could not ask for the tags: the request {fault}"))
}
