//! Tags over git's smart HTTP protocol: what every provider shares that offers it.
//!
//! A tag's value is the object that its ref holds, so annotated and signed tags, tags of tags, and tags on trees and blobs
//! arrive byte for byte. The server compares the old value of each ref before it changes it, and answers for each alone.

mod batch;
mod hosted;
pub(super) mod keys;

use std::collections::HashMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;
use url::Url;

pub(super) use self::hosted::{Host, Hosted};
pub(super) use super::refs::CAPABILITIES;
use super::refs::{command, object_of, written};
use super::{Access, Change, Connection, Fact, Fault, FaultKind, NewTag};
use crate::http::{Authorization, Client};
use crate::tag::{RemoteSnapshot, RemoteTag, TagName, Target, Value};
use crate::wire::{Command, Endpoint, Ends, ObjectId, Objects, Wanted};

/// What a push of many tags does to the events that the host raises for them (webhooks, pipelines).
///
/// Hosts raise none at all for a push of more than a few refs: GitLab from four tags on (2026-11-21,
/// <https://docs.gitlab.com/user/project/integrations/webhook_events/#tag-events>), GitHub likewise
/// (<https://docs.github.com/en/webhooks/webhook-events-and-payloads#push>).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Events {
    /// As many tags in one push as there are: quick, and mostly without events.
    #[default]
    Quiet,
    /// At most three tags in one push, so that each raises its events.
    Preserve,
}

impl Events {
    /// How many tags go into one push.
    fn at_once(self) -> usize {
        match self {
            Self::Quiet => 10_000,
            Self::Preserve => 3,
        }
    }
}

/// How tags are pushed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pushes {
    pub(super) events: Events,
    /// Whether the history that a tag leads to goes with it, where the server lacks it.
    pub(super) objects: bool,
}

/// A repository over smart HTTP.
#[derive(Debug)]
pub(super) struct SmartHttp {
    endpoint: Endpoint,
    objects: Option<Arc<dyn Objects>>,
    pushes: Pushes,
    anonymous: bool,
}

impl SmartHttp {
    /// Makes the client; sends nothing.
    pub(super) async fn connect(
        connection: &Connection,
        url: &Url,
        authorization: Option<Authorization>,
        pushes: Pushes,
    ) -> Result<Self, Fault> {
        let format = match &connection.objects {
            Some(objects) => Some(objects.format().await.map_err(|reason| Fault::new(FaultKind::NotSent, reason))?),
            None => None,
        };
        let anonymous = authorization.is_none();
        let client = Client::new(&connection.transport, url.clone(), authorization).await?;
        let endpoint = Endpoint::new(client, &connection.transport, url, format);
        Ok(Self { endpoint, objects: connection.objects.clone(), pushes, anonymous })
    }

    /// Whether the server lets this credential begin a push. That it does says little: hooks have the last word.
    pub(super) async fn access(&self) -> Result<Access, Fault> {
        let needed = "a credential that may push".to_owned();
        match self.endpoint.push_capabilities().await {
            Ok(_) => Ok(Access::Untold),
            Err(fault) if fault.kind == FaultKind::Forbidden => {
                Ok(Access::ReadOnly { found: "one that the server lets read only".to_owned(), needed })
            }
            // Nobody in particular may still read; whether so, the listing tells.
            Err(fault) if fault.kind == FaultKind::Unauthorized && self.anonymous => {
                Ok(Access::ReadOnly { found: "none".to_owned(), needed })
            }
            Err(fault) => Err(fault),
        }
    }

    pub(super) async fn list_tags(&self) -> Result<RemoteSnapshot, Fault> {
        self.endpoint.list_tags().await
    }

    /// All tags with what the annotated ones peel to.
    pub(super) async fn list_peeled(&self) -> Result<(RemoteSnapshot, Ends), Fault> {
        self.endpoint.list_peeled().await
    }

    /// Tag objects as they are.
    pub(super) async fn fetch_tags(&self, wanted: &[Wanted]) -> Result<HashMap<ObjectId, Vec<u8>>, Fault> {
        self.endpoint.fetch_tags(wanted).await
    }

    pub(super) async fn get_tag(&self, name: &TagName) -> Result<Option<RemoteTag>, Fault> {
        Ok(self.endpoint.get_tag(name).await?.map(|(tag, _)| tag))
    }

    /// One tag, and the object that it means in the end.
    pub(super) async fn get_tag_and_end(&self, name: &TagName) -> Result<Option<(RemoteTag, ObjectId)>, Fault> {
        let Some((tag, peeled)) = self.endpoint.get_tag(name).await? else { return Ok(None) };
        let held = tag.value.as_ref().ok().map(|value| object_of(&value.target)).transpose()?;
        Ok(peeled.or(held).map(|end| (tag, end)))
    }

    /// What an annotated tag leads to on the remote.
    pub(super) async fn get_facts(&self, tag: &RemoteTag) -> Result<Vec<Fact>, Fault> {
        let peeled = self.endpoint.get_tag(&tag.name).await?.and_then(|(_, peeled)| peeled);
        Ok(peeled.map(|id| Fact { what: "peels to", says: id.to_string() }).into_iter().collect())
    }

    /// Whether the remote has what has to be there before a tag can: not the tag object, which goes with it, but its end.
    pub(super) async fn has_target(&self, target: &Target) -> Result<bool, Fault> {
        let id = object_of(target)?;
        let unread = |reason| Fault::new(FaultKind::NotSent, reason);
        if self.pushes.objects {
            // What the source has goes along.
            match &self.objects {
                Some(objects) if !objects.has(id).await.map_err(unread)? => {}
                Some(_) | None => return Ok(true),
            }
        }
        let end = match &self.objects {
            Some(objects) => objects.end_of(id).await.map_err(unread)?,
            None => id,
        };
        self.endpoint.has_object(end).await?.ok_or_else(|| {
            let message = "whether the remote has a commit cannot be asked, because its server speaks no version 2 of git's protocol";
            Fault::new(FaultKind::Unsupported, message)
        })
    }

    pub(super) async fn create_tag(&self, new: &NewTag) -> Result<RemoteTag, Fault> {
        let id = object_of(new.target())?;
        self.push_one(Command { name: new.name.clone(), old: None, new: Some(id) }).await?;
        Ok(written(new))
    }

    pub(super) async fn move_tag(&self, name: &TagName, lease: &Value, to: &NewTag) -> Result<RemoteTag, Fault> {
        let [old, new] = [object_of(&lease.target)?, object_of(to.target())?];
        self.push_one(Command { name: name.clone(), old: Some(old), new: Some(new) }).await?;
        Ok(written(to))
    }

    pub(super) async fn delete_tag(&self, name: &TagName, lease: &Value) -> Result<(), Fault> {
        let old = object_of(&lease.target)?;
        match self.push_one(Command { name: name.clone(), old: Some(old), new: None }).await {
            // The words for a ref that is not there are the same as for one that changed.
            Err(fault) if fault.kind == FaultKind::Rejected => match self.get_tag(name).await {
                Ok(None) => Err(Fault { kind: FaultKind::NotFound, ..fault }),
                Ok(Some(_)) | Err(_) => Err(fault),
            },
            outcome => outcome,
        }
    }

    pub(super) fn changes_at_once(&self) -> usize {
        self.pushes.events.at_once()
    }

    pub(super) async fn apply_batch(&self, changes: &[Change]) -> Vec<Result<Option<RemoteTag>, Fault>> {
        let commands: Vec<_> = changes.iter().map(command).collect();
        let sent: Vec<Command> = commands.iter().filter_map(|command| command.as_ref().ok()).cloned().collect();
        let mut outcomes = self.push(&sent).await.into_iter();
        let outcome = |(change, command): (&Change, Result<Command, Fault>)| {
            command?;
            outcomes.next().unwrap_or_else(|| Err(batch::unreported()))?;
            Ok(match change {
                Change::Create(new) | Change::Move { to: new, .. } => Some(written(new)),
                Change::Delete { .. } => None,
            })
        };
        changes.iter().zip(commands).map(outcome).collect()
    }

    async fn push_one(&self, command: Command) -> Result<(), Fault> {
        self.push(&[command]).await.pop().unwrap_or_else(|| Err(batch::unreported()))
    }
}
