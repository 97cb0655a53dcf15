//! The side that tags come from: opened, read once for all its remotes, and who it is.

use std::sync::Arc;

use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use super::Needs;
use super::pass::stopped;
use super::remote::{RemoteSource, source_fault};
use crate::config::{Place, Repository};
use crate::http::{Pool, Transport};
use crate::provider::{Annotations, Connection};
use crate::source::{Glimpse, LocalSource, Source, SourceFault};
use crate::tag::{Fingerprint, RefsDigest, SourceSnapshot};

/// A source that can be asked.
pub(super) struct Opened {
    pub(super) source: Arc<dyn Source>,
    /// What counts its requests; `None` where it is on this host.
    transport: Option<Transport>,
}

impl Opened {
    /// Opens it. Nothing is read or sent yet.
    pub(super) async fn open(repository: &Repository, pool: &Arc<Pool>) -> Result<Self, SourceFault> {
        let template = match &repository.place {
            Place::Directory(path) => return Ok(Self { source: Arc::new(LocalSource::new(path)), transport: None }),
            Place::Remote(template) => template,
        };
        let unusable = |message: String| SourceFault { message, hint: "correct the configuration".to_owned() };
        let settings = template.for_repository(&repository.name).map_err(|fault| unusable(fault.to_string()))?;
        let transport = Transport::new(pool, settings.http.clone());
        // Nothing else tells whether a tag is annotated; and nothing is written there.
        let compare_annotations = settings.capabilities().annotations == Annotations::Message;
        let connection = Connection { transport: transport.clone(), compare_annotations, objects: None };
        let provider = settings.keys.connect(connection).await;
        let provider = provider.map_err(|fault| source_fault(&template.name, &fault))?;
        Ok(Self { source: Arc::new(RemoteSource::new(&template.name, provider)), transport: Some(transport) })
    }

    /// How many requests it has taken so far; `None` where it takes none.
    pub(super) fn requests(&self) -> Option<u64> {
        self.transport.as_ref().map(Transport::requests)
    }

    pub(super) fn is_remote(&self) -> bool {
        self.transport.is_some()
    }
}

/// Where the tags of some pairs come from: asked once for all of them, and for no more than they need to know.
pub(super) struct Origin<'a> {
    pub(super) opened: Opened,
    needs: Needs,
    stop: &'a CancellationToken,
    glimpse: OnceCell<Option<Glimpse>>,
    read: OnceCell<Result<SourceSide, SourceFault>>,
}

impl<'a> Origin<'a> {
    /// Nothing is read or sent yet.
    pub(super) fn new(opened: Opened, needs: Needs, stop: &'a CancellationToken) -> Self {
        Self { opened, needs, stop, glimpse: OnceCell::new(), read: OnceCell::new() }
    }

    /// Whether it is this one, and its refs are as they were: then it need not be read.
    pub(super) async fn is_as(&self, fingerprint: &str, refs: Option<&RefsDigest>) -> bool {
        // Notes may change without a tag.
        let Some(refs) = refs.filter(|_| self.needs.notes.is_empty()) else { return false };
        // What is wrong with it is told when it is read.
        let look = async { self.unless_stopped(self.opened.source.glimpse()).await.ok().flatten() };
        let seen = self.glimpse.get_or_init(|| look).await;
        seen.as_ref().is_some_and(|seen| {
            seen.refs.as_ref() == Some(refs) && self.opened.source.recognise(fingerprint, &seen.fingerprint).is_some()
        })
    }

    /// Reads it, whichever pair asks first.
    pub(super) async fn read(&self) -> Result<&SourceSide, &SourceFault> {
        self.read.get_or_init(|| self.unless_stopped(self.read_now())).await.as_ref()
    }

    /// What was wrong with it, if it was read.
    pub(super) fn fault(&self) -> Option<&SourceFault> {
        self.read.get()?.as_ref().err()
    }

    async fn read_now(&self) -> Result<SourceSide, SourceFault> {
        let Opened { source, .. } = &self.opened;
        let is_remote = self.opened.is_remote();
        // A repository on this host says at once who it is. A remote is asked for it only where something depends on it.
        let fingerprint = OnceCell::new();
        if !is_remote {
            fingerprint.set(source.fingerprint().await?).ok();
        }
        let snapshot = self.needs.read(&**source).await?;
        let mut content = Fingerprint::default();
        content.add_source(&snapshot);
        let (source, content) = (Arc::clone(source), content.digits());
        Ok(SourceSide { source, is_remote, fingerprint, snapshot, content })
    }

    async fn unless_stopped<T>(&self, look: impl Future<Output = Result<T, SourceFault>>) -> Result<T, SourceFault> {
        let stopped = || Err(SourceFault { message: stopped().message, hint: "run again".to_owned() });
        self.stop.run_until_cancelled(look).await.unwrap_or_else(stopped)
    }
}

/// A source as it was read once for all its remotes.
pub(super) struct SourceSide {
    source: Arc<dyn Source>,
    is_remote: bool,
    fingerprint: OnceCell<String>,
    pub(super) snapshot: SourceSnapshot,
    /// What stands for all of the snapshot: made once for all remotes, while these are being listed.
    pub(super) content: String,
}

/// Who a source is, beside who it was.
pub(super) struct SourceIdentity {
    /// Who it is now; of two ways to say it the fuller.
    pub(super) fingerprint: String,
    /// Whether it is another one than the remembered one.
    pub(super) is_other: bool,
}

impl SourceSide {
    pub(super) fn source(&self) -> &Arc<dyn Source> {
        &self.source
    }

    pub(super) fn is_remote(&self) -> bool {
        self.is_remote
    }

    /// Whether nothing that is known without asking speaks against its being the remembered one.
    pub(super) fn may_be(&self, remembered: Option<&str>) -> bool {
        let now = self.fingerprint.get();
        remembered.is_some_and(|remembered| now.is_none_or(|now| self.source().recognise(remembered, now).is_some()))
    }

    /// Who it is. A remote is asked once, whoever wants to know.
    pub(super) async fn identify(&self, remembered: Option<&str>) -> Result<SourceIdentity, SourceFault> {
        let now = self.fingerprint.get_or_try_init(|| self.source().fingerprint()).await?;
        let known = remembered.map(|remembered| self.source().recognise(remembered, now));
        Ok(match known {
            Some(None) => SourceIdentity { fingerprint: now.clone(), is_other: true },
            Some(Some(fuller)) => SourceIdentity { fingerprint: fuller, is_other: false },
            None => SourceIdentity { fingerprint: now.clone(), is_other: false },
        })
    }
}
