//! One method per API operation.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use url::Url;

use crate::http::{Client, server_of};
use crate::provider::distribution::{Image, before_write};
use crate::provider::{Access, Fault, FaultKind, Identity, NewTag, Provider};
use crate::tag::{Known, Listed, RemoteSnapshot, RemoteTag, TagName, Target, Value};

/// An image in a registry.
#[derive(Debug)]
pub struct Registry {
    image: Image,
    /// The only name that the tag space has.
    space: String,
    deletes: bool,
    /// What the last listing saw, by target: who would go along if the registry deleted more than a tag. `None` until a
    /// listing has looked at every tag, because one that was taken from memory may be on another target by now.
    siblings: Mutex<Option<HashMap<Target, Vec<TagName>>>>,
    /// The registry did delete more than a tag.
    untags_all: AtomicBool,
    /// One delete at a time: each looks at the other tags, which must not be going by our own hand.
    turn: tokio::sync::Mutex<()>,
}

impl Registry {
    /// `client` speaks to the registry under `url`.
    pub(super) fn new(client: Client, url: &Url, image: &str, deletes: bool) -> Self {
        let space = format!("oci:{}#{image}", server_of(url));
        let (siblings, untags_all, turn) = (Mutex::default(), AtomicBool::new(false), tokio::sync::Mutex::default());
        Self { image: Image::new(client, image), space, deletes, siblings, untags_all, turn }
    }

    /// The other tags on a target, as last listed.
    fn siblings(&self, name: &TagName, target: &Target) -> Vec<TagName> {
        let siblings = self.siblings.lock().unwrap_or_else(PoisonError::into_inner);
        let on_it = siblings.as_ref().and_then(|siblings| siblings.get(target)).into_iter().flatten();
        on_it.filter(|sibling| *sibling != name).cloned().collect()
    }

    fn forget(&self, name: &TagName) {
        let mut siblings = self.siblings.lock().unwrap_or_else(PoisonError::into_inner);
        let all = siblings.iter_mut().flat_map(HashMap::values_mut);
        all.for_each(|names| names.retain(|known| known != name));
    }

    /// Writes a tag, and remembers that it is one of those on its target now.
    async fn put(&self, purpose: &'static str, new: &NewTag) -> Result<RemoteTag, Fault> {
        let tag = self.image.put(purpose, &new.name, new.target()).await?;
        if self.deletes {
            self.forget(&new.name);
            if let Some(siblings) = self.siblings.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
                siblings.entry(new.target().clone()).or_default().push(new.name.clone());
            }
        }
        Ok(tag)
    }

    /// Deletes a tag that is where it is to be. Its caller's look may be minutes old: a listing can come in between.
    async fn delete_at(&self, name: &TagName, target: &Target) -> Result<(), Fault> {
        self.image.prove_at(name, target).await?;
        self.image.delete(name).await?;
        self.forget(name);
        Ok(())
    }

    /// Puts back what the registry took along, and says what became of it.
    async fn put_back(&self, name: &TagName, target: &Target, siblings: &[TagName]) -> Fault {
        self.untags_all.store(true, Ordering::Relaxed);
        let mut lost = Vec::new();
        for sibling in siblings {
            if self.image.put("put the tag back", sibling, target).await.is_err() {
                lost.push(sibling.to_string());
            }
        }
        let outcome = match lost.as_slice() {
            [] => "they were put back".to_owned(),
            lost => format!("these could not be put back: {}", crate::text::excerpt(lost.join(", ").as_bytes(), 400)),
        };
        let message = format!("deleting the tag {name} took other tags of {target:.12} along; {outcome}");
        Fault::new(FaultKind::Rejected, message)
            .hint("this registry deletes more than one tag: take `deletes = \"tag\"` out of the remote")
    }
}

#[async_trait]
impl Provider for Registry {
    /// A registry has no ids, so the space is the address and the image's name. The access that a token server granted is
    /// not readable either: a token is opaque to its bearer.
    async fn identity(&self) -> Result<Identity, Fault> {
        self.image.prove_shown("look at the image").await?;
        Ok(Identity { space: self.space.clone(), access: Access::Untold })
    }

    fn space(&self) -> Option<&str> {
        Some(&self.space)
    }

    async fn list_tags(&self) -> Result<RemoteSnapshot, Fault> {
        let snapshot = self.image.list().await?;
        if self.deletes {
            let mut siblings: HashMap<Target, Vec<TagName>> = HashMap::new();
            for tag in snapshot.tags() {
                if let Ok(value) = &tag.value {
                    siblings.entry(value.target.clone()).or_default().push(tag.name.clone());
                }
            }
            *self.siblings.lock().unwrap_or_else(PoisonError::into_inner) = Some(siblings);
        }
        Ok(snapshot)
    }

    fn lists_at_once(&self) -> bool {
        false
    }

    async fn list_known(&self, known: &Known<'_>) -> Result<Listed, Fault> {
        *self.siblings.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.image.list_known(known).await
    }

    async fn get_tag(&self, name: &TagName) -> Result<Option<RemoteTag>, Fault> {
        self.image.get_tag(name).await
    }

    async fn look_before_create(&self, name: &TagName) -> Result<Option<RemoteTag>, Fault> {
        if self.image.shows_free(name).await { Ok(None) } else { self.image.get_tag(name).await }
    }

    async fn has_target(&self, target: &Target) -> Result<bool, Fault> {
        if self.image.try_find_target(target).await?.is_some() {
            return Ok(true);
        }
        self.image.prove_shown("read the manifest").await?;
        Ok(false)
    }

    async fn create_tag(&self, new: &NewTag) -> Result<RemoteTag, Fault> {
        let tag = self.put("create the tag", new).await?;
        self.image.has_created(&new.name);
        Ok(tag)
    }

    async fn delete_tag(&self, name: &TagName, lease: &Value) -> Result<(), Fault> {
        if !self.deletes {
            let message = format!("the tag {name} is not deleted: `deletes` of this remote is `never`");
            return Err(Fault::new(FaultKind::Unsupported, message));
        }
        let _turn = self.turn.lock().await;
        if self.siblings.lock().unwrap_or_else(PoisonError::into_inner).is_none() {
            self.list_tags().await.map_err(before_write)?;
        }
        // Those that are on it now: what somebody else deleted or moved since the listing is not to come back.
        let mut siblings = Vec::new();
        for sibling in self.siblings(name, &lease.target) {
            if self.image.points_at(&sibling, &lease.target).await? {
                siblings.push(sibling);
            }
        }
        if siblings.is_empty() {
            self.delete_at(name, &lease.target).await?;
            return Ok(());
        }
        if self.untags_all.load(Ordering::Relaxed) {
            let message =
                format!("the tag {name} is not deleted: this registry took other tags along with the last one");
            return Err(Fault::new(FaultKind::Unsupported, message).hint("take `deletes = \"tag\"` out of the remote"));
        }
        // What the specification promises and some registries break: the other tags stay. So there is a way back first.
        self.image.keep(&lease.target).await?;
        self.delete_at(name, &lease.target).await?;
        for sibling in &siblings {
            match self.image.sees(sibling).await {
                Ok(false) => {}
                // One that is still there tells that the registry keeps them, and that somebody else deleted the one
                // before. Where it cannot be told, the tag is gone, which is what was asked; the next listing shows more.
                Ok(true) | Err(_) => return Ok(()),
            }
        }
        Err(self.put_back(name, &lease.target, &siblings).await)
    }

    async fn move_tag(&self, _name: &TagName, _lease: &Value, to: &NewTag) -> Result<RemoteTag, Fault> {
        self.put("move the tag", to).await
    }
}
