//! The part of the distribution API that tags need, for the providers whose tags live in a registry. No provider itself.
//!
//! What is particular about it (2026-11-21, <https://github.com/opencontainers/distribution-spec/blob/main/spec.md>):
//!
//! - A tag points at a manifest by its digest, and a listing has names only: each digest takes a request of its own.
//! - A tag is written by writing the manifest's very bytes under its name. One byte more is another manifest.
//! - Asked without the right `Accept`, some registries convert a manifest, and the digest is that of the conversion.
//! - 404 without a body (the answer to a `HEAD`) says neither what is missing nor whether it may be seen.

mod listing;
mod looks;
mod names;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value as Json;
use sha2::{Digest as _, Sha256, Sha512};
use tokio::sync::OnceCell;
use tokio::time::Instant;

use looks::SharedLooks;
use names::text;
pub(super) use names::{NAMES, image_refuses, read_realm, refuses_name};

use super::{Fault, FaultKind};
use crate::http::{Client, Reply};
use crate::tag::{ManifestDigest, RemoteTag, TagName, Target, Value};

/// Every kind of manifest that a tag can point at, so that the registry converts none.
const MANIFESTS: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
                         application/vnd.docker.distribution.manifest.v2+json, \
                         application/vnd.docker.distribution.manifest.list.v2+json";

/// The largest manifest that registries have to take (2026-11-21, the specification's section on pushing manifests).
const LARGEST_MANIFEST: usize = 4 * 1024 * 1024;

/// Fetched manifests are kept for the next tags on them, up to this many bytes.
const KEPT_BYTES: usize = 64 * 1024 * 1024;

/// The longest body in which a refusal is looked for; read as a tree, a large one would take many times its length.
const LONGEST_REFUSAL: usize = 64 * 1024;

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
    /// What was fetched or is being fetched, so that many tags on one manifest take one fetch, which is over before the first of
    /// them is written: distribution 2.8 answers 500 to many reads of a manifest that is being written (2026-11-22, seen).
    kept: Mutex<HashMap<ManifestDigest, Arc<Fetch>>>,
    /// When the registry last gave the list of tags.
    shown: Mutex<Option<Instant>>,
    looks: SharedLooks,
}

/// A fetch that all who want the manifest wait for, and what came of it.
type Fetch = OnceCell<Result<Manifest, Fault>>;

impl Image {
    /// `client` speaks to the registry's root; `name` is as `team/app`.
    pub(super) fn new(client: Client, name: &str) -> Self {
        let path = std::iter::once("v2").chain(name.split('/')).map(str::to_owned).collect();
        Self { client, path, kept: Mutex::default(), shown: Mutex::default(), looks: SharedLooks::default() }
    }

    fn segments<'a>(&'a self, rest: [&'a str; 2]) -> Vec<&'a str> {
        self.path.iter().map(String::as_str).chain(rest).collect()
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
        let kept = || self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let fetch = Arc::clone(kept().entry(digest.clone()).or_default());
        if let Some(fetched) = fetch.get() {
            return fetched.clone();
        }
        let fetched = fetch.get_or_init(|| self.fetch_manifest(digest)).await.clone();
        let mut kept = kept();
        if fetched.is_err() {
            // Who comes later tries anew.
            kept.retain(|_, other| !Arc::ptr_eq(other, &fetch));
        } else if kept.values().map(|fetch| size(fetch)).sum::<usize>() > KEPT_BYTES {
            kept.retain(|_, other| Arc::ptr_eq(other, &fetch));
        }
        fetched
    }

    async fn fetch_manifest(&self, digest: &ManifestDigest) -> Result<Manifest, Fault> {
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
        Ok(Manifest { content_type, bytes: reply.bytes() })
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

fn size(fetch: &Fetch) -> usize {
    fetch.get().and_then(|fetched| fetched.as_ref().ok()).map_or(0, |manifest| manifest.bytes.len())
}

fn tag(name: TagName, value: Result<Value, String>) -> RemoteTag {
    RemoteTag { name, value, message: None, protected: false, attachment: None }
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
    fn digests_are_those_of_the_bytes_by_their_own_algorithm() {
        let of = |text: &str| text.parse::<ManifestDigest>().unwrap();
        let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(sha256(b"").to_string(), empty);
        assert!(is_digest_of(&of(empty), b"") && !is_digest_of(&of(empty), b"{}"));
        let long = "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e";
        assert!(is_digest_of(&of(&format!("sha512:{long}")), b""));
    }
}
