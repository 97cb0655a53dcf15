//! The side that tags come from: opened, read once for all its remotes, and who it is.

use std::sync::Arc;

use tokio::sync::OnceCell;

use super::Needs;
use super::remote::{RemoteSource, source_fault};
use crate::config::{Place, Repository};
use crate::http::{Pool, Transport};
use crate::provider::{Annotations, Connection};
use crate::source::{LocalSource, Source, SourceFault};
use crate::tag::{Fingerprint, SourceSnapshot};

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

    /// Tells at any time how many requests it has taken so far.
    pub(super) fn counter(&self) -> impl Fn() -> u64 + use<> {
        let transport = self.transport.clone();
        move || transport.as_ref().map_or(0, Transport::requests)
    }

    pub(super) fn is_remote(&self) -> bool {
        self.transport.is_some()
    }

    pub(super) fn source(&self) -> &Arc<dyn Source> {
        &self.source
    }

    /// Reads it, for all who need it.
    pub(super) async fn read(self, needs: &Needs) -> Result<SourceSide, SourceFault> {
        // A repository on this host says at once who it is. A remote is asked for it only where something depends on it.
        let fingerprint = OnceCell::new();
        if !self.is_remote() {
            fingerprint.set(self.source.fingerprint().await?).ok();
        }
        let snapshot = needs.read(&*self.source).await?;
        let mut content = Fingerprint::default();
        content.add_source(&snapshot);
        Ok(SourceSide { opened: self, fingerprint, snapshot, content: content.digits() })
    }
}

/// A source as it was read once for all its remotes.
pub(super) struct SourceSide {
    opened: Opened,
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
        self.opened.source()
    }

    pub(super) fn is_remote(&self) -> bool {
        self.opened.is_remote()
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
