//! The remote tag APIs: one trait, one static descriptor and one file or folder per provider.
//!
//! A provider knows `tag`, `http` and the vocabulary of `config`; never `plan`, `ledger` or another provider.
//! Adding one is a file here and the two lines below that name it.

mod capability;
pub mod codearts;
mod distribution;
pub mod git;
pub mod gitea;
pub mod github;
pub mod gitlab;
pub mod oci;
mod owned;
mod refs;
mod release_loss;
pub mod repository;
mod smart_http;
pub mod vercel;
pub mod vers;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use schemars::{Schema, SchemaGenerator};

pub use capability::{Annotations, Capabilities, Deletes, Lease, Moves, NameRules};

use crate::config::{Problems, Table};
use crate::http::Transport;
pub use crate::http::{Fault, FaultKind};
use crate::tag::{Known, Listed, RemoteSnapshot, RemoteTag, TagId, TagName, Target, Value};
pub use crate::wire::{Ends, ObjectId, Objects, Wanted};

/// Every provider, in the order in which `tagsyncd providers` shows them.
pub const PROVIDERS: &[&Descriptor] = &[
    &gitlab::DESCRIPTOR,
    &github::DESCRIPTOR,
    &gitea::DESCRIPTOR,
    &codearts::DESCRIPTOR,
    &git::DESCRIPTOR,
    &repository::DESCRIPTOR,
    &vers::DESCRIPTOR,
    &vercel::DESCRIPTOR,
    &oci::DESCRIPTOR,
];

/// A kind of API as data: what it is called, what it can do, how its keys are read and written.
#[derive(Debug)]
pub struct Descriptor {
    /// What `provider = "…"` says.
    pub name: &'static str,
    /// The product, for people.
    pub title: &'static str,
    /// What its tags are and can do.
    pub capabilities: Capabilities,
    /// Reads this provider's own keys (those common to all remotes are taken out before). `None` when there were problems.
    pub read: fn(Table, &mut Problems) -> Option<Arc<dyn RemoteKeys>>,
    /// The JSON Schema of those keys: an object's `properties` and what belongs to them.
    pub schema: fn(&mut SchemaGenerator) -> Schema,
}

/// The provider of this name.
pub fn try_find(name: &str) -> Option<&'static Descriptor> {
    PROVIDERS.iter().copied().find(|descriptor| descriptor.name == name)
}

/// One remote's own keys, checked and not yet connected.
#[async_trait]
pub trait RemoteKeys: fmt::Debug + Send + Sync {
    /// Says for people which tag space this is: `https://gitlab.example.com infra/core`.
    fn describe(&self) -> String;

    /// Where its tags are, in the words by which other kinds of remotes may name the same place: a forge's repository as
    /// `git clone` knows it, as far as the keys say that.
    fn place(&self) -> String {
        self.describe().replace(' ', "/")
    }

    /// What this remote can do, where its keys make that something else than what its provider can in general.
    fn capabilities(&self) -> Option<&'static Capabilities> {
        None
    }

    /// The names that deletions and re-creations may strip of what the remote attached to them.
    fn allows_loss(&self, name: &TagName) -> bool;

    /// Reads the credentials and makes the client. Sends nothing yet.
    async fn connect(&self, connection: Connection) -> Result<Arc<dyn Provider>, Fault>;
}

/// What a provider needs besides its own keys.
#[derive(Clone, Debug)]
pub struct Connection {
    /// Limits, deadlines and the request counter.
    pub transport: Transport,
    /// Whether annotations are part of the values that it reports.
    pub compare_annotations: bool,
    /// The objects of the source, for a remote that takes tags as they are; `None` where nothing is to be written.
    pub objects: Option<Arc<dyn Objects>>,
}

/// Who answers behind a URL, and what the credential may do there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// A stable id of the tag space: survives renames, differs after deletion and re-creation under the same path.
    pub space: String,
    /// What the credential may do.
    pub access: Access,
}

/// What a credential may do in a tag space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// Creates and deletes tags.
    Write,
    /// Reads only; what it is and what is needed instead, for people.
    ReadOnly {
        /// The role or scope found.
        found: String,
        /// The role or scope needed.
        needed: String,
    },
    /// The API does not tell; the first write will.
    Untold,
}

/// Something that a remote says about a tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// What it is: `signature`.
    pub what: &'static str,
    /// The remote's words; not safe to print as they are.
    pub says: String,
}

/// A tag to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTag {
    /// Its name on the remote.
    pub name: TagName,
    /// The value that it will have when it is done.
    pub value: Value,
    /// The annotated tag's message; `None` creates a lightweight tag.
    pub message: Option<String>,
    /// The source's own tag object, where there is one: for a remote that may come to make the same.
    pub tag_id: Option<TagId>,
}

impl NewTag {
    /// What it will point at.
    pub fn target(&self) -> &Target {
        &self.value.target
    }
}

/// One write of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The name must not exist.
    Create(NewTag),
    /// The name must be at the lease.
    Move {
        /// The value that it must have.
        lease: Value,
        /// What it becomes.
        to: NewTag,
    },
    /// The name must be at the lease.
    Delete {
        /// Which.
        name: TagName,
        /// The value that it must have.
        lease: Value,
    },
}

/// The tags of one remote repository. One method is one API operation: no diffing, no retrying, no sleeping, no policy.
#[async_trait]
pub trait Provider: Send + Sync {
    /// Stable id of the tag space, access level.
    async fn identity(&self) -> Result<Identity, Fault>;

    /// The tag space's id, where the configuration alone says it: then one that is remembered is compared with it.
    fn space(&self) -> Option<&str> {
        None
    }

    /// The tag space of now, where it is the remembered one; `None` where it is another. Of two ways to say it the fuller.
    fn recognise(&self, remembered: &str, now: &str) -> Option<String> {
        (remembered == now).then(|| now.to_owned())
    }

    /// What the credential's own limits, like the scopes of a token, leave of the access that [`identity`](Self::identity)
    /// names. A request of its own, for those who check before the first write; a pass does without.
    async fn credential_access(&self) -> Result<Access, Fault> {
        Ok(Access::Untold)
    }

    /// All tags: complete, or an error.
    async fn list_tags(&self) -> Result<RemoteSnapshot, Fault>;

    /// Whether [`list_known`](Self::list_known) is the same as [`list_tags`](Self::list_tags), whatever is known.
    fn lists_at_once(&self) -> bool {
        true
    }

    /// All names, complete or an error, with the values that matter: those that are known are asked for only when they are too
    /// old. Where a listing does not show its end, that may be known too ([`End::AsProven`](crate::tag::End::AsProven)). For
    /// APIs that list names only; others list as ever.
    async fn list_known(&self, _known: &Known<'_>) -> Result<Listed, Fault> {
        Ok(Listed { snapshot: self.list_tags().await?, looks: None })
    }

    /// All tags of a source, with what annotated ones peel to where their own objects are what is compared.
    async fn list_peeled(&self) -> Result<(RemoteSnapshot, Ends), Fault> {
        Ok((self.list_tags().await?, Ends::new()))
    }

    /// Tag objects of a source as they are, by their ids, and those that they lead to; for protocols that give them.
    async fn fetch_tags(&self, _wanted: &[Wanted]) -> Result<HashMap<ObjectId, Vec<u8>>, Fault> {
        Err(Fault::new(FaultKind::Unsupported, "this API gives no tag objects"))
    }

    /// One tag; `None` only when the server says that this tag, in a tag space that it does show, is not there.
    async fn get_tag(&self, name: &TagName) -> Result<Option<RemoteTag>, Fault>;

    /// What has a name that is to be created, asked directly before: [`get_tag`](Self::get_tag), unless one look can tell of
    /// many names at once, and is as fresh and as complete.
    async fn look_before_create(&self, name: &TagName) -> Result<Option<RemoteTag>, Fault> {
        self.get_tag(name).await
    }

    /// What only the remote knows about a tag that it has, for people who ask; `signed` when the source's tag carries a
    /// signature. At most a few cheap reads; nothing is decided by it.
    async fn get_facts(&self, _tag: &RemoteTag, _signed: bool) -> Result<Vec<Fact>, Fault> {
        Ok(Vec::new())
    }

    /// Whether the remote has what a tag would point at.
    async fn has_target(&self, target: &Target) -> Result<bool, Fault>;

    /// Why this tag cannot be made as it is, where that is known without asking. Whoever deletes a tag to make it anew finds out
    /// before the deletion.
    fn refuses(&self, _new: &NewTag) -> Option<Fault> {
        None
    }

    /// Creates a tag that does not exist yet; must not overwrite one that does (see [`Capabilities::create_refuses_existing`]).
    async fn create_tag(&self, new: &NewTag) -> Result<RemoteTag, Fault>;

    /// Deletes a tag. `lease` is checked by the server where the protocol can, otherwise the caller has just looked.
    async fn delete_tag(&self, name: &TagName, lease: &Value) -> Result<(), Fault>;

    /// Moves a tag in place. Providers that can only delete and create answer [`FaultKind::Unsupported`].
    async fn move_tag(&self, name: &TagName, lease: &Value, to: &NewTag) -> Result<RemoteTag, Fault>;

    /// How many writes may be under way at once, where the API wants fewer than there may be requests.
    fn writes_at_once(&self) -> usize {
        usize::MAX
    }

    /// How many changes may go into one [`apply_batch`](Self::apply_batch); 1 where the protocol has no batch, and then each
    /// is applied by its own method. More than that only where the server compares leases, because nobody looks before.
    fn changes_at_once(&self) -> usize {
        1
    }

    /// Applies several changes; the answers come in their order. One by one, unless the protocol has a batch.
    async fn apply_batch(&self, changes: &[Change]) -> Vec<Result<Option<RemoteTag>, Fault>> {
        let mut outcomes = Vec::with_capacity(changes.len());
        for change in changes {
            outcomes.push(match change {
                Change::Create(new) => self.create_tag(new).await.map(Some),
                Change::Move { lease, to } => self.move_tag(&to.name, lease, to).await.map(Some),
                Change::Delete { name, lease } => self.delete_tag(name, lease).await.map(|()| None),
            });
        }
        outcomes
    }
}
