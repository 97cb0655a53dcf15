//! The routes, who may take them, and what they answer.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use serde_json::{Value as Json, json};

use super::super::server::{Handler, Reply, Request};
use super::{FakeManifest, RegistryState, RegistryWorld, TagDeletes, Token, Wants, Write, digest};

pub(super) struct Api(pub(super) RegistryState);

/// The token server on another host.
pub(super) struct Tokens(pub(super) RegistryState);

impl Handler for Api {
    fn answer(&self, request: &Request) -> Reply {
        self.0.change(|world| world.answer(request))
    }

    fn kind(&self, request: &Request) -> String {
        let what = match &request.path {
            path if path.ends_with("/tags/list") => "list",
            path if path.contains("/manifests/sha256:") => "manifest",
            path if path.contains("/manifests/") => "tag",
            path if path.ends_with("/token") => "token",
            _ => "other",
        };
        format!("{} {what}", request.method)
    }
}

impl Handler for Tokens {
    fn answer(&self, request: &Request) -> Reply {
        self.0.change(|world| world.give_token(request))
    }
}

/// An error as registries write it.
fn error(status: u16, code: &str, message: &str, detail: Json) -> Reply {
    Reply::json(status, &json!({ "errors": [{ "code": code, "message": message, "detail": detail }] }))
}

fn name_unknown(image: &str) -> Reply {
    error(404, "NAME_UNKNOWN", "repository name not known to registry", json!({ "name": image }))
}

/// The reference registry says so also where there is no such image.
fn manifest_unknown(reference: &str) -> Reply {
    error(404, "MANIFEST_UNKNOWN", "manifest unknown", json!(format!("unknown tag={reference}")))
}

fn login(request: &Request) -> Option<(String, String)> {
    let encoded = request.header("authorization")?.strip_prefix("Basic ")?;
    let text = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

impl RegistryWorld {
    fn answer(&mut self, request: &Request) -> Reply {
        let Some(path) = request.path.strip_prefix(&self.root) else { return Reply::text(404, "404 page not found") };
        if path == "/token" {
            return self.give_token(request);
        }
        let image = format!("/v2/{}/", self.image);
        let action = match request.method.as_str() {
            "GET" | "HEAD" => "pull",
            "PUT" => "push",
            _ => "delete",
        };
        if let Err(refusal) = self.admit(request, action) {
            return refusal;
        }
        let Some(rest) = path.strip_prefix(&image) else {
            return if path.starts_with("/v2/") { name_unknown(path) } else { Reply::text(404, "404 page not found") };
        };
        // The colon of a digest may be escaped.
        let rest = percent_decode_str(rest).decode_utf8_lossy();
        match (request.method.as_str(), rest.split_once('/')) {
            ("GET", Some(("tags", "list"))) => self.list(request),
            ("GET" | "HEAD", Some(("manifests", reference))) => self.read(request, reference),
            ("PUT", Some(("manifests", reference))) => {
                let reply = self.put(request, reference);
                self.note(request, reference, reply)
            }
            ("DELETE", Some(("manifests", reference))) => {
                let reply = self.delete(reference);
                self.note(request, reference, reply)
            }
            _ => Reply::text(404, "404 page not found"),
        }
    }

    fn note(&mut self, request: &Request, reference: &str, reply: Reply) -> Reply {
        let write = Write { method: request.method.clone(), reference: reference.to_owned(), status: reply.status };
        self.writes.push(write);
        reply
    }

    fn challenge(&self, request: &Request, action: &str, why: &str) -> Reply {
        let reply = error(401, "UNAUTHORIZED", "authentication required", Json::Null);
        match &self.wants {
            Wants::Nothing => reply,
            Wants::Basic => reply.header("WWW-Authenticate", "Basic realm=\"registry\""),
            Wants::Token(realm) => {
                let host = request.header("host").unwrap_or_default();
                let realm = realm.clone().unwrap_or_else(|| format!("http://{host}{}/token", self.root));
                // Registries ask for more than an action takes.
                let actions = match action {
                    "pull" => "pull",
                    "push" => "pull,push",
                    _ => "delete",
                };
                let scope = format!("repository:{}:{actions}", self.image);
                let header = format!("Bearer realm=\"{realm}\",service=\"registry\",scope=\"{scope}\"{why}");
                reply.header("WWW-Authenticate", header)
            }
        }
    }

    fn admit(&mut self, request: &Request, action: &str) -> Result<(), Reply> {
        let denied = |world: &Self| match world.quirks.denies_with {
            Some(status) => error(status, "DENIED", "requested access to the resource is denied", Json::Null),
            None => world.challenge(request, action, ",error=\"insufficient_scope\""),
        };
        if let Some(bearer) = request.header("authorization").and_then(|value| value.strip_prefix("Bearer ")) {
            let Some(token) = self.tokens.get_mut(bearer).filter(|token| token.uses_left != Some(0)) else {
                return Err(self.challenge(request, action, ",error=\"invalid_token\""));
            };
            token.uses_left = token.uses_left.map(|left| left - 1);
            return if token.actions.iter().any(|may| may == action) { Ok(()) } else { Err(denied(self)) };
        }
        if let Some((user, password)) = login(request)
            && self.wants == Wants::Basic
        {
            let Some(user) = self.users.get(&user).filter(|user| user.password == password) else {
                return Err(self.challenge(request, action, ""));
            };
            return match user.actions.contains(&action) {
                true => Ok(()),
                false => Err(error(403, "DENIED", "requested access to the resource is denied", Json::Null)),
            };
        }
        if self.wants == Wants::Nothing { Ok(()) } else { Err(self.challenge(request, action, "")) }
    }

    fn give_token(&mut self, request: &Request) -> Reply {
        let allowed: Vec<&str> = match login(request) {
            None => Vec::new(),
            Some((user, password)) => match self.users.get(&user).filter(|user| user.password == password) {
                Some(user) => user.actions.clone(),
                None => return error(401, "UNAUTHORIZED", "incorrect username or password", Json::Null),
            },
        };
        let scope = request.parameter("scope").unwrap_or_default();
        let wanted = scope.strip_prefix(&format!("repository:{}:", self.image)).unwrap_or_default();
        let actions: Vec<String> =
            wanted.split(',').filter(|action| allowed.contains(action)).map(str::to_owned).collect();
        let token = format!("token-{}-{}", self.tokens.len(), actions.join("-"));
        self.tokens.insert(token.clone(), Token { actions, uses_left: self.token_uses });
        Reply::json(200, &json!({ "token": token, "expires_in": 300 }))
    }

    fn list(&self, request: &Request) -> Reply {
        if !self.exists {
            return name_unknown(&self.image);
        }
        let quirks = &self.quirks;
        let mut names: Vec<&String> = match &quirks.lists_still {
            Some(still) => still.iter().collect(),
            None => self.tags.keys().chain(&quirks.dangling).collect(),
        };
        names.sort();
        if quirks.reversed {
            names.reverse();
        }
        if names.is_empty() && quirks.null_tags {
            return Reply::json(200, &json!({ "name": self.image, "tags": null }));
        }
        let page = |names: &[&String]| Reply::json(200, &json!({ "name": self.image, "tags": names }));
        if quirks.no_paging {
            return page(&names);
        }
        let size = request.parameter("n").and_then(|n| n.parse().ok()).unwrap_or(quirks.page_cap).min(quirks.page_cap);
        let cursor = request.parameter(if quirks.opaque_cursor { "next_page" } else { "last" });
        let from = match cursor {
            _ if quirks.repeats_first_page => 0,
            Some(cursor) if quirks.opaque_cursor => cursor.trim_start_matches('g').parse().unwrap_or(usize::MAX),
            Some(last) if quirks.reversed => names.iter().take_while(|name| name.as_str() >= last).count(),
            Some(last) => names.iter().take_while(|name| name.as_str() <= last).count(),
            None => 0,
        };
        let rest = names.get(from..).unwrap_or_default();
        let shown = &rest[..size.min(rest.len())];
        let reply = page(shown);
        let more = rest.len() > shown.len() || quirks.repeats_first_page;
        let Some(last) = shown.last().filter(|_| more && !quirks.no_link) else { return reply };
        let next = match quirks.opaque_cursor {
            true => format!("n={size}&next_page=g{}", from + shown.len()),
            false => format!("n={size}&last={last}"),
        };
        let path = format!("{}/v2/{}/tags/list?{next}", self.root, self.image);
        let host = match &quirks.link_host {
            Some(host) => host.clone(),
            None if quirks.absolute_link => format!("http://{}", request.header("host").unwrap_or_default()),
            None => String::new(),
        };
        reply.header("Link", format!("<{host}{path}>; rel=\"next\""))
    }

    fn find(&self, reference: &str) -> Option<(String, FakeManifest)> {
        let digest = self.tags.get(reference).map_or(reference, String::as_str);
        let manifest = self.manifests.get(digest).filter(|_| self.exists)?;
        Some((digest.to_owned(), manifest.clone()))
    }

    fn read(&self, request: &Request, reference: &str) -> Reply {
        let Some((mut digest, mut manifest)) = self.find(reference) else { return manifest_unknown(reference) };
        let accepted = request.header("accept").unwrap_or_default();
        if self.quirks.converts && !accepted.split(',').any(|kind| kind.trim() == manifest.content_type) {
            manifest = FakeManifest {
                content_type: "application/vnd.docker.distribution.manifest.v1+prettyjws".to_owned(),
                bytes: "{\"schemaVersion\":1}".into(),
            };
            digest = super::digest(&manifest.bytes);
        }
        if self.quirks.calls_by_sha256 {
            digest = super::digest(&manifest.bytes);
        }
        let mut body = manifest.bytes.to_vec();
        if self.quirks.corrupts && reference.starts_with("sha256:") {
            body.push(b' ');
        }
        let head = request.method == "HEAD";
        let reply = Reply { status: 200, headers: Vec::new(), body: if head { Vec::new() } else { body }.into() }
            .header("Content-Type", manifest.content_type);
        if self.quirks.no_digest { reply } else { reply.header("Docker-Content-Digest", digest) }
    }

    fn put(&mut self, request: &Request, reference: &str) -> Reply {
        let content_type = request.header("content-type").unwrap_or_default().to_owned();
        let digest = digest(&request.body);
        if reference.starts_with("sha256:") && reference != digest {
            return error(400, "DIGEST_INVALID", "provided digest did not match uploaded content", Json::Null);
        }
        // What is not byte for byte a manifest of this image would need blobs that are not there.
        match self.manifests.get(&digest) {
            Some(known) if known.content_type == content_type => {}
            Some(_) => return error(400, "MANIFEST_INVALID", "manifest invalid", json!(content_type)),
            None => return error(404, "MANIFEST_BLOB_UNKNOWN", "blob unknown to registry", json!(digest)),
        }
        // The first push makes the image.
        self.exists = true;
        if !reference.starts_with("sha256:") {
            self.tags.insert(reference.to_owned(), digest.clone());
        }
        let reply = Reply::empty(201).header("Location", format!("{}/v2/{}/manifests/{digest}", self.root, self.image));
        match (self.quirks.no_digest, self.quirks.wrong_put_digest) {
            (true, _) => reply,
            (false, true) => reply.header("Docker-Content-Digest", super::digest(b"another")),
            (false, false) => reply.header("Docker-Content-Digest", digest),
        }
    }

    fn delete(&mut self, reference: &str) -> Reply {
        let untag_all = |world: &mut Self, digest: &str| {
            world.tags.retain(|_, of| of != digest);
            Reply::empty(202)
        };
        if reference.starts_with("sha256:") {
            return match self.manifests.remove(reference) {
                Some(_) => untag_all(self, reference),
                None => manifest_unknown(reference),
            };
        }
        if let TagDeletes::Unsupported(status) = self.quirks.tag_deletes {
            return error(status, "UNSUPPORTED", "The operation is unsupported.", Json::Null);
        }
        let Some((digest, _)) = self.find(reference) else { return manifest_unknown(reference) };
        match self.quirks.tag_deletes {
            TagDeletes::UntagsAll => untag_all(self, &digest),
            TagDeletes::Tag | TagDeletes::Unsupported(_) => {
                self.tags.remove(reference);
                Reply::empty(202)
            }
        }
    }
}
