//! The part of the distribution API that tags need, for the providers whose tags live in a registry. No provider itself.
//!
//! What is particular about it (2026-11-21, <https://github.com/opencontainers/distribution-spec/blob/main/spec.md>):
//!
//! - A tag points at a manifest by its digest, and a listing has names only: each digest takes a request of its own.
//! - A tag is written by writing the manifest's very bytes under its name. One byte more is another manifest.
//! - Asked without the right `Accept`, some registries convert a manifest, and the digest is that of the conversion.
//! - 404 without a body (the answer to a `HEAD`) says neither what is missing nor whether it may be seen.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value as Json;
use sha2::{Digest as _, Sha256, Sha512};
use tokio::time::Instant;
use toml::Spanned;
use url::Url;

use super::{Fault, FaultKind};
use crate::config::Problems;
use crate::http::{Client, NextPage, Reply, Trail};
use crate::tag::{
    Division, End, Known, Listed, Listing, Looks, ManifestDigest, RemoteSnapshot, RemoteTag, TagName, Target, Value,
};

/// Every kind of manifest that a tag can point at, so that the registry converts none.
const MANIFESTS: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
                         application/vnd.docker.distribution.manifest.v2+json, \
                         application/vnd.docker.distribution.manifest.list.v2+json";

/// The largest manifest that registries have to take (2026-11-21, the specification's section on pushing manifests).
const LARGEST_MANIFEST: usize = 4 * 1024 * 1024;

/// Tags per page of a listing. Names are short, so this is one page of most images, and of all registries' limits the
/// usual one.
const PER_PAGE: usize = 1000;

/// Digests that are asked for at once; the transport's own limit holds too.
const AT_ONCE: usize = 8;

/// Fetched manifests are kept for the next tags on them, up to this many bytes.
const KEPT_BYTES: usize = 64 * 1024 * 1024;

/// For so long a registry that gave an image's list of tags is taken to show the image.
const SHOWN_FOR: Duration = Duration::from_secs(5);

/// The longest body in which a refusal is looked for; read as a tree, a large one would take many times its length.
const LONGEST_REFUSAL: usize = 64 * 1024;

/// Why a registry cannot have a tag of this name: `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`.
pub(super) fn refuses_name(name: &TagName) -> Option<&'static str> {
    let bytes = name.as_bytes();
    let inner = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    if bytes.contains(&b'/') {
        return Some("names in a registry have no slash; `replace` can map it");
    }
    if bytes.contains(&b'+') {
        return Some("names in a registry have no `+`; `replace` can map it");
    }
    if !bytes.iter().all(inner) {
        return Some("names in a registry have only ASCII letters, digits, `_`, `.` and `-`");
    }
    if matches!(bytes.first(), Some(b'.' | b'-')) {
        return Some("names in a registry begin with a letter, a digit or `_`");
    }
    (bytes.len() > 128).then_some("names in a registry have at most 128 characters")
}

/// The rule of [`refuses_name`] in words.
pub(super) const NAMES: &str = "ASCII letters, digits, `_`, `.` and `-`, not beginning with `.` or `-`, at most 128";

/// Why a text cannot be the name of an image: parts of lower-case letters, digits and separators, with slashes between.
pub(super) fn image_refuses(image: &str) -> Option<&'static str> {
    if image.is_empty() {
        return Some("is empty");
    }
    if image.contains("://") {
        return Some("is an address; the host belongs into `registry`");
    }
    if image.contains('@') || image.contains(':') {
        return Some("names a tag or a digest, and has to be without");
    }
    if image.starts_with('/') || image.ends_with('/') || image.contains("//") {
        return Some("has an empty part");
    }
    let fits = |part: &str| {
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'.' | b'-');
        let edge = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        part.bytes().all(inner) && edge(part.as_bytes().first()) && edge(part.as_bytes().last())
    };
    if !image.split('/').all(fits) {
        return Some(
            "has to be lower-case letters and digits, with `_`, `.` and `-` between them, in parts separated by `/`",
        );
    }
    (image.len() > 255).then_some("is longer than 255 characters")
}

/// The host of `realm`, which may receive a registry's login; a problem where it is none.
pub(super) fn read_realm(realm: &Spanned<String>, problems: &mut Problems) -> Option<String> {
    let host = realm_of(realm.get_ref());
    if host.is_none() {
        let hint = "the host alone, like \"auth.example.com\", with its port unless that is the usual one";
        problems.push(realm.span(), "`realm` is not the name of a host", Some(hint));
    }
    host
}

/// The host, with a port, as URLs write it. `None` where the text is something else.
fn realm_of(text: &str) -> Option<String> {
    let fits = |character: char| character.is_ascii_alphanumeric() || ".-:[]".contains(character);
    if !text.chars().all(fits) {
        return None;
    }
    let url: Url = format!("https://{text}/").parse().ok()?;
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let host = format!("{}{port}", url.host_str()?);
    // What the parser repairs or takes for something else is not meant.
    let usual = text.strip_suffix(":443").unwrap_or(text);
    usual.eq_ignore_ascii_case(&host).then_some(host)
}

/// A manifest as the registry gave it.
#[derive(Clone, Debug)]
struct Manifest {
    content_type: String,
    bytes: Bytes,
}

/// One image of a registry.
#[derive(Debug)]
pub(super) struct Image {
    client: Client,
    /// `v2` and the parts of the image's name.
    path: Vec<String>,
    /// What was fetched, so that many tags on one manifest take one fetch.
    kept: Mutex<HashMap<ManifestDigest, Manifest>>,
    /// When the registry last gave the list of tags.
    shown: Mutex<Option<Instant>>,
}

impl Image {
    /// `client` speaks to the registry's root; `name` is as `team/app`.
    pub(super) fn new(client: Client, name: &str) -> Self {
        let path = std::iter::once("v2").chain(name.split('/')).map(str::to_owned).collect();
        Self { client, path, kept: Mutex::default(), shown: Mutex::default() }
    }

    fn segments<'a>(&'a self, rest: [&'a str; 2]) -> Vec<&'a str> {
        self.path.iter().map(String::as_str).chain(rest).collect()
    }

    /// Whether the registry shows this image's tags: an error if it does not.
    pub(super) async fn prove_shown(&self, purpose: &'static str) -> Result<(), Fault> {
        let segments = self.segments(["tags", "list"]);
        let reply = self.client.get(purpose, &segments).query("n", "1").send().await?;
        let reply = expect(reply, &[200])?;
        reply.json::<WireTags>("a list of tags")?;
        self.was_shown();
        Ok(())
    }

    /// The same behind a 404, of which there is one for each tag of a pass that creates many: one proof serves those that
    /// come within [`SHOWN_FOR`].
    pub(super) async fn is_shown(&self, purpose: &'static str) -> Result<(), Fault> {
        let shown = *self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        if shown.is_some_and(|at| at.elapsed() < SHOWN_FOR) { Ok(()) } else { self.prove_shown(purpose).await }
    }

    fn was_shown(&self) {
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// All tags with what they point at.
    pub(super) async fn list(&self) -> Result<RemoteSnapshot, Fault> {
        let names = self.list_names(None).await?;
        snapshot(self.look_at(names.found).await?, names.end)
    }

    /// All tags, with what those point at that matter: as it is known, or as it is now.
    pub(super) async fn list_known(&self, known: &Known<'_>) -> Result<Listed, Fault> {
        let names = self.list_names(Some(known)).await?;
        let Division { look, remembered, indifferent } = known.divide(names.found);
        let seen: BTreeSet<TagName> = look.iter().cloned().collect();
        let looks = Looks { remembered: remembered.iter().map(|(name, _)| name.clone()).collect(), seen };
        let mut tags = self.look_at(look).await?;
        tags.extend(remembered.into_iter().map(|(name, digest)| tag(name, Ok(Value::of(Target::Digest(digest))))));
        let unasked = || Err("its digest was not asked for, because nothing depends on it".to_owned());
        tags.extend(indifferent.into_iter().map(|name| tag(name, unasked())));
        Ok(Listed { snapshot: snapshot(tags, names.end)?, looks: Some(looks) })
    }

    /// What these tags point at now, each by a request of its own.
    async fn look_at(&self, names: Vec<TagName>) -> Result<Vec<RemoteTag>, Fault> {
        use futures_util::{StreamExt as _, TryStreamExt as _};

        futures_util::stream::iter(names)
            .map(|name| async move {
                let value = match self.get_value(&name).await {
                    Ok(Some(value)) => value,
                    // Gone since, or a tag without its manifest, which some registries list for ever.
                    Ok(None) => Err("it was listed, and the registry has no manifest for it".to_owned()),
                    // One image that may not be had, as in quarantine, says nothing about the others.
                    Err(fault) if fault.kind == FaultKind::Rejected => Err(fault.to_string()),
                    Err(fault) => return Err(fault),
                };
                Ok::<_, Fault>(tag(name, value))
            })
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await
    }

    /// All names.
    ///
    /// The end of a listing is a page without a `Link` after one with it: the registry pages, and names a next page
    /// whenever there is one. A registry that never sent a `Link` may page all the same (2026-11-21, seen with registries
    /// that give 100 or 1,000 names and say nothing: <https://github.com/opencontainers/distribution-spec/issues/470>),
    /// so it is asked for what follows the last name until nothing follows; or until the names are those that were all
    /// when that was proven last.
    async fn list_names(&self, known: Option<&Known<'_>>) -> Result<Names, Fault> {
        let segments = self.segments(["tags", "list"]);
        let per_page = PER_PAGE.to_string();
        let mut trail = Trail::new();
        let mut cursor = Cursor::Start;
        // For the proof that no name comes twice.
        let mut listing = Listing::new();
        let mut names: Vec<TagName> = Vec::new();
        let mut linked = false;
        loop {
            let mut request = self.client.get("list the tags", &segments);
            match &cursor {
                Cursor::Start => request = request.query("n", &per_page),
                Cursor::After(last) => request = request.query("n", &per_page).query("last", last),
                Cursor::Link(next) => {
                    for (key, value) in next.parameters() {
                        request = request.query(key, value);
                    }
                }
            }
            let reply = expect(request.send().await?, &[200])?;
            let page = reply.json::<WireTags>("a list of tags")?.tags.unwrap_or_default();
            self.was_shown();
            let page = page.into_iter().map(|name| named(&reply, &name)).collect::<Result<Vec<_>, _>>()?;
            let next = reply.next_page()?;
            if next.is_none() && matches!(cursor, Cursor::After(_)) && page == names {
                // It ignores `last`, so it does not page at all: everything came in one answer.
                return Ok(Names { found: names, end: End::SingleResponse });
            }
            let brought = page.last().and_then(TagName::as_str).map(str::to_owned);
            let placeholder = |name: &TagName| tag(name.clone(), Err(String::new()));
            listing.page(page.iter().map(placeholder)).map_err(|fault| {
                reply.unusable(&format!("contradicts the pages before: {}", reply.quote(&fault.to_string())))
            })?;
            names.extend(page);
            cursor = match (next, brought) {
                (Some(next), _) => {
                    linked = true;
                    reply.leads_to(&mut trail, &format!("{:?}", next.parameters().collect::<Vec<_>>()))?;
                    Cursor::Link(next)
                }
                (None, _) if linked => return Ok(Names { found: names, end: End::NoNextPage }),
                // `last` goes by the order of names: without that order, "nothing follows" is no end.
                (None, None) if !names.is_sorted() => {
                    return Err(
                        reply.unusable("ends a listing that is not in the order of its names, so it proves no end")
                    );
                }
                (None, None) => return Ok(Names { found: names, end: End::ShortPage }),
                (None, Some(_)) if known.is_some_and(|known| known.are_all(&names)) => {
                    return Ok(Names { found: names, end: End::AsProven });
                }
                (None, Some(last)) => {
                    reply.leads_to(&mut trail, &last)?;
                    Cursor::After(last)
                }
            };
        }
    }

    /// One tag; `None` when it is not there, in an image that the registry does show.
    pub(super) async fn get_tag(&self, name: &TagName) -> Result<Option<RemoteTag>, Fault> {
        if let Some(value) = self.get_value(name).await? {
            return Ok(Some(tag(name.clone(), value)));
        }
        // The answer to a `HEAD` has no body that could tell a missing tag from a missing image.
        self.is_shown("read the tag").await?;
        Ok(None)
    }

    /// Whether the registry has this manifest; `None` where a 404 may also mean that the image is not shown.
    pub(super) async fn try_find_target(&self, target: &Target) -> Result<Option<()>, Fault> {
        let digest = digest_of(target)?.to_string();
        let segments = self.segments(["manifests", &digest]);
        let reply = self.client.head("read the manifest", &segments).accept(MANIFESTS).send().await?;
        if reply.status() == 404 {
            return Ok(None);
        }
        expect(reply, &[200]).map(|_| Some(()))
    }

    /// Whether a tag points at this now; asked in front of a write.
    pub(super) async fn points_at(&self, name: &TagName, target: &Target) -> Result<bool, Fault> {
        let value = self.get_value(name).await.map_err(before_write)?;
        Ok(value.is_some_and(|value| value.is_ok_and(|value| value.target == *target)))
    }

    /// Proves that a tag points at this now. The API compares nothing in a delete, so this is asked directly in front of one.
    pub(super) async fn prove_at(&self, name: &TagName, target: &Target) -> Result<(), Fault> {
        match self.get_value(name).await.map_err(before_write)? {
            None => Err(absent(name)),
            Some(Ok(value)) if value.target == *target => Ok(()),
            Some(_) => {
                let message = format!("the tag {name} was left as it is: somebody moved it since it was listed");
                Err(Fault::new(FaultKind::Rejected, message))
            }
        }
    }

    /// What a tag points at; the inner error is why that cannot be told. `None` after a 404.
    async fn get_value(&self, name: &TagName) -> Result<Option<Result<Value, String>>, Fault> {
        let segments = self.segments(["manifests", text(name)?]);
        let reply = self.client.head("read the tag", &segments).accept(MANIFESTS).send().await?;
        if reply.status() == 404 {
            return Ok(None);
        }
        let reply = expect(reply, &[200])?;
        if let Some(reason) = converted(&reply) {
            return Ok(Some(Err(reason.to_owned())));
        }
        let digest = match reply.header(DIGEST) {
            Some(written) => match written.trim().parse() {
                Ok(digest) => digest,
                Err(_) => return Ok(Some(Err(format!("the registry names no digest: {}", reply.quote(written))))),
            },
            // Registries before 1.1 of the specification may leave it out: then it is the digest of the bytes.
            None => {
                let reply = self.fetch("read the tag", text(name)?).await?;
                if reply.status() == 404 {
                    return Ok(None);
                }
                let reply = expect(reply, &[200])?;
                if let Some(reason) = converted(&reply) {
                    return Ok(Some(Err(reason.to_owned())));
                }
                sha256(reply.body())
            }
        };
        Ok(Some(Ok(Value::of(Target::Digest(digest)))))
    }

    async fn fetch(&self, purpose: &'static str, reference: &str) -> Result<Reply, Fault> {
        let segments = self.segments(["manifests", reference]);
        self.client.get(purpose, &segments).accept(MANIFESTS).limit(LARGEST_MANIFEST).send().await
    }

    /// The manifest of this digest, as the registry keeps it.
    async fn manifest(&self, digest: &ManifestDigest) -> Result<Manifest, Fault> {
        if let Some(manifest) = self.kept.lock().unwrap_or_else(PoisonError::into_inner).get(digest) {
            return Ok(manifest.clone());
        }
        let reply = self.fetch("read the manifest", &digest.to_string()).await?;
        if reply.status() == 404 {
            return Err(expect(reply, &[200]).err().unwrap_or_else(|| absent(digest)).hint(
                "push the image first, and check `image`: a registry also hides what the credential may not read",
            ));
        }
        let reply = expect(reply, &[200])?;
        if !is_digest_of(digest, reply.body()) {
            // Refused by us, and nothing has been sent yet.
            let fault = reply.unusable(&format!("is another manifest than {digest:.12}"));
            return Err(Fault { kind: FaultKind::Rejected, ..fault });
        }
        if let Some(named) = reply.header(DIGEST).and_then(|named| named.trim().parse::<ManifestDigest>().ok())
            && named != *digest
            && is_digest_of(&named, reply.body())
        {
            // A tag on it would be listed under the other name, and never agree.
            let message = format!("the registry calls the manifest {digest:.12} by another digest, {named}");
            let hint = "say that one where `target` reads it: a registry knows a manifest by one digest";
            return Err(Fault::new(FaultKind::Rejected, message).hint(hint));
        }
        let said =
            reply.header("content-type").map(|kind| kind.split(';').next().unwrap_or_default().trim().to_owned());
        let named =
            || serde_json::from_slice::<WireManifest>(reply.body()).ok().and_then(|manifest| manifest.media_type);
        // A registry that gives no type, or one for any bytes, is helped by the manifest's own.
        let content_type = said.filter(|kind| kind.contains("manifest") || kind.contains("index")).or_else(named);
        let Some(content_type) = content_type else {
            let fault = reply.unusable("does not say what kind of manifest it is");
            return Err(Fault { kind: FaultKind::Rejected, ..fault });
        };
        let manifest = Manifest { content_type, bytes: reply.bytes() };
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.values().map(|manifest| manifest.bytes.len()).sum::<usize>() + manifest.bytes.len() > KEPT_BYTES {
            kept.clear();
        }
        kept.insert(digest.clone(), manifest.clone());
        Ok(manifest)
    }

    /// Writes a tag, whether or not there is one of this name: the manifest's own bytes once more, under the name.
    pub(super) async fn put(&self, purpose: &'static str, name: &TagName, target: &Target) -> Result<RemoteTag, Fault> {
        let digest = digest_of(target)?;
        // A read that fails is no write whose effect would be in doubt.
        let manifest = self.manifest(digest).await.map_err(before_write)?;
        let segments = self.segments(["manifests", text(name)?]);
        let request = self.client.put(purpose, &segments).raw(&manifest.content_type, manifest.bytes);
        let reply = expect(request.send().await?, &[201, 200, 202])?;
        match reply.header(DIGEST) {
            Some(written) if written.trim().parse().as_ref() == Ok(digest) => {}
            Some(written) => {
                let said = reply.quote(written);
                return Err(reply.unusable(&format!("names `{said}`, which is not the digest of what was sent")));
            }
            // What was sent has been checked, and a registry that says nothing has taken it as it is.
            None => {}
        }
        Ok(tag(name.clone(), Ok(Value::of(target.clone()))))
    }

    /// Keeps a manifest, so that tags can be put back that a delete takes along.
    pub(super) async fn keep(&self, target: &Target) -> Result<(), Fault> {
        self.manifest(digest_of(target)?).await.map(|_| ())
    }

    /// Whether a tag can be seen; a 404 says no, whatever its reason.
    pub(super) async fn sees(&self, name: &TagName) -> Result<bool, Fault> {
        Ok(self.get_value(name).await?.is_some())
    }

    /// Deletes one tag by its name; never a manifest by its digest, which would take all of its tags along.
    pub(super) async fn delete(&self, name: &TagName) -> Result<(), Fault> {
        let segments = self.segments(["manifests", text(name)?]);
        let reply = self.client.delete("delete the tag", &segments).send().await?;
        let unsupported = matches!(reply.status(), 400 | 405 | 501) || refusal(reply.body()).is("UNSUPPORTED");
        if !unsupported {
            return expect(reply, &[202, 200, 204]).map(|_| ());
        }
        // The documented way around this, a delete by digest, takes all tags of the manifest along.
        let fault = expect(reply, &[202]).err().unwrap_or_else(|| absent(name));
        Err(Fault { kind: FaultKind::Rejected, ..fault }.hint(
            "this registry does not delete single tags: leave `deletes` out, or switch the deletion of tags on there",
        ))
    }
}

const DIGEST: &str = "docker-content-digest";

/// Where a page begins.
enum Cursor {
    Start,
    /// Behind this name.
    After(String),
    /// Where the registry says.
    Link(NextPage),
}

/// All names of an image.
struct Names {
    found: Vec<TagName>,
    end: End,
}

fn snapshot(tags: Vec<RemoteTag>, end: End) -> Result<RemoteSnapshot, Fault> {
    let mut listing = Listing::new();
    listing
        .page(tags)
        .and_then(|()| listing.finish(end, None))
        .map_err(|fault| Fault::new(FaultKind::Unreadable, format!("could not list the tags: {fault}")))
}

fn tag(name: TagName, value: Result<Value, String>) -> RemoteTag {
    RemoteTag { name, value, message: None, protected: false, attachment: None }
}

fn named(reply: &Reply, name: &str) -> Result<TagName, Fault> {
    let impossible = |why: &str| reply.unusable(&format!("names an impossible tag: {}", reply.quote(why)));
    let tag = TagName::new(name).map_err(|fault| impossible(&fault.to_string()))?;
    // The name goes into a path, so nothing but a registry's own names may pass.
    match refuses_name(&tag) {
        Some(_) => Err(impossible(name)),
        None => Ok(tag),
    }
}

fn text(name: &TagName) -> Result<&str, Fault> {
    match (refuses_name(name), name.as_str()) {
        (None, Some(text)) => Ok(text),
        (Some(reason), _) => Err(Fault::new(FaultKind::NotSent, format!("`{name}` cannot be in a registry: {reason}"))),
        (None, None) => Err(Fault::new(FaultKind::NotSent, format!("`{name}` is not text"))),
    }
}

fn digest_of(target: &Target) -> Result<&ManifestDigest, Fault> {
    match target {
        Target::Digest(digest) => Ok(digest),
        Target::Commit(_) | Target::Object(_) | Target::Snapshot(_) => {
            Err(Fault::new(FaultKind::NotSent, format!("{target:.12} is no manifest that a registry could have")))
        }
    }
}

fn absent(what: &impl std::fmt::Display) -> Fault {
    Fault::new(FaultKind::NotFound, format!("{what} is not there"))
}

/// A failed read in front of a write, in the terms of writes: nothing was sent, so nothing can have happened.
pub(super) fn before_write(fault: Fault) -> Fault {
    match fault.kind {
        FaultKind::Unreadable | FaultKind::Ambiguous => Fault { kind: FaultKind::NotSent, ..fault },
        _ => fault,
    }
}

/// The digest of these bytes, as nearly every registry writes it.
fn sha256(bytes: &[u8]) -> ManifestDigest {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}").parse().expect("it was just written in the form of a digest")
}

/// Whether this is the digest of these bytes, by the algorithm that it names.
fn is_digest_of(digest: &ManifestDigest, bytes: &[u8]) -> bool {
    let written = digest.to_string();
    let hex = |digest: &[u8]| digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    match written.split_once(':') {
        Some(("sha256", digits)) => hex(&Sha256::digest(bytes)) == digits,
        Some(("sha512", digits)) => hex(&Sha512::digest(bytes)) == digits,
        Some(_) | None => false,
    }
}

/// Why the digest of an answer is not that of what the tag points at.
fn converted(reply: &Reply) -> Option<&'static str> {
    // Old registries make one of these for a client that they take for an old one (2026-11-21, distribution's
    // documentation of manifest v2 schema 2, "backward compatibility").
    let kind = reply.header("content-type").unwrap_or_default();
    let old = kind.contains("distribution.manifest.v1+") || kind.contains("distribution.manifest.v1;");
    old.then_some("the registry shows it as a manifest of schema 1, which cannot be copied")
}

/// The answer if it has one of the wanted statuses.
pub(super) fn expect(reply: Reply, statuses: &[u16]) -> Result<Reply, Fault> {
    if statuses.contains(&reply.status()) { Ok(reply) } else { Err(refused(&reply)) }
}

/// The fault for an answer that was not the one hoped for, with what to check.
fn refused(reply: &Reply) -> Fault {
    let refusal = refusal(reply.body());
    let mut fault = reply.refusal(refusal.words.as_deref());
    // Registries give these codes with more than one status (2026-11-21: DENIED comes as 401, 403 and 404).
    let kind = match fault.kind {
        FaultKind::Unauthorized | FaultKind::NotFound if refusal.is("DENIED") => FaultKind::Forbidden,
        FaultKind::Rejected | FaultKind::Forbidden if refusal.is("TOOMANYREQUESTS") => FaultKind::Throttled,
        kind => kind,
    };
    fault.kind = kind;
    let hint = match reply.status() {
        _ if refusal.is("NAME_UNKNOWN") => {
            "the image is not there yet, or the credential may not see it: check `image`, or push an image first"
        }
        _ if refusal.is("NAME_INVALID") => "check `image`",
        401 => "check the login; a registry asks for one also where the image does not exist",
        403 => "give the account, or its token, the right to pull and to push this image",
        404 if reply.body().is_empty() || refusal.codes.is_empty() => {
            "check `registry` and `image`: the answer is not one that a registry gives"
        }
        _ => return fault,
    };
    if fault.hint.is_none() { fault.hint(hint) } else { fault }
}

/// A page of names. `null` is what some registries give instead of an empty list (2026-11-21, distribution before 3.0).
#[derive(Debug, Deserialize)]
struct WireTags {
    #[serde(deserialize_with = "present")]
    tags: Option<Vec<String>>,
}

/// A key that has to be there, although it may be `null`: an answer without it is no listing.
fn present<'de, D: serde::Deserializer<'de>>(json: D) -> Result<Option<Vec<String>>, D::Error> {
    Option::deserialize(json)
}

#[derive(Debug, Deserialize)]
struct WireManifest {
    #[serde(rename = "mediaType", default)]
    media_type: Option<String>,
}

/// A registry's words for a refusal.
#[derive(Debug, Default, PartialEq, Eq)]
struct Refusal {
    words: Option<String>,
    codes: Vec<String>,
}

impl Refusal {
    fn is(&self, code: &str) -> bool {
        self.codes.iter().any(|known| known.eq_ignore_ascii_case(code))
    }
}

/// Finds the words in the body of an error: `{"errors":[{"code","message","detail"}]}`.
fn refusal(body: &[u8]) -> Refusal {
    if body.len() > LONGEST_REFUSAL {
        return Refusal::default();
    }
    let Ok(Json::Object(body)) = serde_json::from_slice::<Json>(body) else { return Refusal::default() };
    let one = body.get("error").filter(|error| error.is_object());
    let errors = body.get("errors").and_then(Json::as_array);
    let all = errors.into_iter().flatten().chain(one);
    let mut refusal = Refusal::default();
    let mut words = Vec::new();
    for error in all {
        let text = |key| error.get(key).and_then(Json::as_str).filter(|text| !text.is_empty());
        refusal.codes.extend(text("code").map(str::to_owned));
        let said: Vec<&str> = [text("code"), text("message"), text("detail")].into_iter().flatten().collect();
        if !said.is_empty() {
            words.push(said.join(": "));
        }
    }
    refusal.words = (!words.is_empty()).then(|| words.join("; "));
    refusal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_a_registry_cannot_hold() {
        let refuses = |name: &str| refuses_name(&TagName::new(name).unwrap());
        for good in ["v1.0.0", "_x", "1", "a..b".replace("..", ".").as_str(), "A-b_c.d", &"x".repeat(128)] {
            assert_eq!(refuses(good), None, "{good}");
        }
        for bad in ["a/b", "v1+b", "-x", "é", "%2e%2e", "a%b", "a@b", &"x".repeat(129)] {
            assert!(refuses(bad).is_some(), "{bad}");
        }
        assert!(refuses("a/b").unwrap().contains("replace") && refuses("v1+2").unwrap().contains("replace"));
    }

    #[test]
    fn images_are_lower_case_paths() {
        for good in ["app", "team/app", "team-slug/project.slug/core_1", "a--b/c"] {
            assert_eq!(image_refuses(good), None, "{good}");
        }
        for bad in ["", "/a", "a/", "a//b", "A/b", "a/../b", "a:1", "a@sha256:0", "https://x/y", "-a", "a b", "é"] {
            assert!(image_refuses(bad).is_some(), "{bad}");
        }
    }

    #[test]
    fn a_realm_is_a_host_and_nothing_more() {
        for (written, host) in [
            ("auth.docker.io", "auth.docker.io"),
            ("Auth.Example.com", "auth.example.com"),
            ("auth.example.com:5001", "auth.example.com:5001"),
            ("auth.example.com:443", "auth.example.com"),
            ("127.0.0.1:80", "127.0.0.1:80"),
            ("[::1]:5000", "[::1]:5000"),
        ] {
            assert_eq!(realm_of(written).as_deref(), Some(host), "{written}");
        }
        for bad in
            ["", "https://auth.example.com", "auth.example.com/token", "user@auth.example.com", "a b", "a?b", "*"]
        {
            assert_eq!(realm_of(bad), None, "{bad}");
        }
    }

    #[test]
    fn refusals_are_understood_in_all_forms() {
        let read = |json: &str| refusal(json.as_bytes());
        let full =
            read(r#"{"errors":[{"code":"DENIED","message":"no","detail":{"a":1}},{"code":"X","message":null}]}"#);
        assert_eq!(full.words.as_deref(), Some("DENIED: no; X"));
        assert!(full.is("denied") && !full.is("UNAUTHORIZED"));
        assert_eq!(read(r#"{"errors":[{"message":"m","detail":"d"}]}"#).words.as_deref(), Some("m: d"));
        for none in
            ["", "null", "[]", "{}", "<html>", r#"{"errors":null}"#, r#"{"errors":[]}"#, r#"{"errors":[1,"x"]}"#]
        {
            assert_eq!(read(none), Refusal::default(), "{none}");
        }
        assert_eq!(read(&format!(r#"{{"errors":[{{"code":"{}"}}]}}"#, "x".repeat(64 * 1024))), Refusal::default());
    }

    #[test]
    fn a_listing_says_what_the_tags_are_or_is_none() {
        let read = |json: &str| serde_json::from_str::<WireTags>(json).map(|tags| tags.tags);
        assert_eq!(read(r#"{"name":"a","tags":null}"#).unwrap(), None);
        assert_eq!(read(r#"{"tags":["v1"],"more":{"x":[]}}"#).unwrap(), Some(vec!["v1".to_owned()]));
        for bad in
            ["", "null", "[]", "{}", r#"{"name":"a"}"#, r#"{"tags":"v1"}"#, r#"{"tags":[1]}"#, r#"{"tags":[null]}"#]
        {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn digests_are_those_of_the_bytes_by_their_own_algorithm() {
        let of = |text: &str| text.parse::<ManifestDigest>().unwrap();
        let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(sha256(b"").to_string(), empty);
        assert!(is_digest_of(&of(empty), b"") && !is_digest_of(&of(empty), b"{}"));
        let long = "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e";
        assert!(is_digest_of(&of(&format!("sha512:{long}")), b""));
    }
}
