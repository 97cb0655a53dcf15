//! What each side has under one name, and what else a rule may look at.

use std::sync::Arc;

use crate::config::RemoteSettings;
use crate::http::{Pool, Transport};
use crate::ledger::{NameState, Ownership};
use crate::plan::{Evidence, Resolved};
use crate::provider::{Connection, Fact, Fault};
use crate::report::{Presence, SideReport};
use crate::source::{AnnotatedTag, Messages, Source, SourceFault};
use crate::tag::{Annotation, Attachment, CommitId, Notes, NotesRef, Peeled, RemoteTag, SourceTag, TagName, Target};

/// The source's side of the name.
pub(super) struct Near {
    pub(super) tag: Result<Option<SourceTag>, SourceFault>,
    /// Its tag object, where it is an annotated one that can be read.
    pub(super) annotated: Option<AnnotatedTag>,
    /// The note on its commit, where the remote's rule asks for it.
    pub(super) notes: Option<Result<Notes, SourceFault>>,
    /// Other names of the source that have the same name on the remote.
    pub(super) rivals: Vec<TagName>,
}

impl Near {
    pub(super) async fn read(
        source: Result<&dyn Source, SourceFault>,
        name: &TagName,
        settings: &RemoteSettings,
    ) -> Self {
        let source = match source {
            Ok(source) => source,
            Err(fault) => return Self { tag: Err(fault), annotated: None, notes: None, rivals: Vec::new() },
        };
        let mut tag = source.read_tag(name).await;
        let mut annotated = None;
        if let Ok(Some(SourceTag::Git(tag))) = &mut tag
            && let Some(tag_id) = tag.tag_id
        {
            annotated = source.read_annotation(tag_id).await.ok();
            if settings.needs_messages() {
                tag.message = annotated.as_ref().map(|annotated| annotated.message.clone().into_boxed_str());
            }
        }
        let mut notes = None;
        let commit_id = tag.as_ref().ok().and_then(Option::as_ref).and_then(SourceTag::commit_id);
        if let (Some(commit_id), Some(notes_ref)) = (commit_id, settings.rule.notes_ref()) {
            notes = Some(source.read_notes(notes_ref, vec![commit_id]).await);
        }
        let mut rivals = Vec::new();
        if let Ok(mapped) = settings.mapping.to_remote(name)
            && (mapped != *name || settings.mapping.to_source(&mapped) != [mapped.clone()])
            && let Ok(all) = source.read_tags(Messages::Skip).await
        {
            let names = all.iter().map(|(other, _)| other);
            rivals.extend(
                names
                    .filter(|other| *other != name && settings.mapping.to_remote(other) == Ok(mapped.clone()))
                    .cloned(),
            );
        }
        Self { tag, annotated, notes, rivals }
    }

    /// The tag on the remote that the rule reads from.
    pub(super) fn read_from(&self, name: &TagName, settings: &RemoteSettings) -> Option<TagName> {
        let template = settings.rule.reads_from()?;
        template.name_for(name, self.tag.as_ref().ok()?.as_ref()?.commit_id()).ok()
    }

    pub(super) fn report(&self, resolved: Option<&Resolved>) -> SideReport {
        let tag = match &self.tag {
            Ok(Some(tag)) => tag,
            Ok(None) => return SideReport { presence: Presence::Absent, value: None, remarks: Vec::new() },
            Err(fault) => {
                let remarks = vec![fault.to_string()];
                return SideReport { presence: Presence::Unknown, value: None, remarks };
            }
        };
        let value = resolved.and_then(Resolved::value).cloned();
        let mut remarks = Vec::new();
        match tag {
            SourceTag::Git(tag) => {
                match tag.peeled {
                    Peeled::Commit(_) => {}
                    Peeled::Tree(id) => remarks.push(format!("points at the tree {id}")),
                    Peeled::Blob(id) => remarks.push(format!("points at the blob {id}")),
                }
                match tag.tag_id {
                    Some(tag_id) => remarks.push(format!("annotated, tag object {tag_id}")),
                    None => remarks.push("lightweight".to_owned()),
                }
            }
            SourceTag::Told(told) => match told.annotation {
                Annotation::Annotated(_) => remarks.push("annotated".to_owned()),
                Annotation::Lightweight => remarks.push("lightweight".to_owned()),
                Annotation::NotCompared => {}
            },
        }
        if let Some(annotated) = &self.annotated {
            remarks.extend(annotated.nested.then(|| "a tag of a tag".to_owned()));
            remarks.extend(
                annotated
                    .signature
                    .map(|kind| format!("signed ({kind}), which tagsyncd recognises and does not verify")),
            );
        }
        SideReport { presence: Presence::There, value, remarks }
    }
}

/// The remote's side of the name; `None` where it was not asked.
#[derive(Default)]
pub(super) struct Far {
    pub(super) tag: Option<Result<Option<RemoteTag>, Fault>>,
    /// The tag that the remote's rule reads from.
    pub(super) read_from: Option<Result<Option<RemoteTag>, Fault>>,
    pub(super) facts: Vec<Fact>,
}

impl Far {
    pub(super) async fn read(
        settings: &RemoteSettings,
        pool: &Arc<Pool>,
        name: &TagName,
        read_from: Option<TagName>,
        near: &Near,
    ) -> Self {
        if (settings.capabilities().names.refuses)(name).is_some() {
            // Nothing can be there under such a name.
            return Self { tag: Some(Ok(None)), ..Self::default() };
        }
        let transport = Transport::new(pool, settings.http.clone());
        let connection = Connection { transport, compare_annotations: settings.compare_annotations, objects: None };
        let asked = async {
            let provider = settings.keys.connect(connection).await?;
            let tag = provider.get_tag(name).await?;
            let signed = near.annotated.as_ref().is_some_and(|annotated| annotated.signature.is_some());
            let facts = match &tag {
                Some(tag) => provider.get_facts(tag, signed).await.unwrap_or_else(|fault| {
                    vec![Fact { what: "more about it", says: format!("could not be read: {fault}") }]
                }),
                None => Vec::new(),
            };
            let read_from = match read_from {
                Some(name) => Some(provider.get_tag(&name).await),
                None => None,
            };
            Ok((tag, read_from, facts))
        };
        match asked.await {
            Ok((tag, read_from, facts)) => Self { tag: Some(Ok(tag)), read_from, facts },
            Err(fault) => Self { tag: Some(Err(fault)), ..Self::default() },
        }
    }

    pub(super) fn report(&self) -> SideReport {
        let side = |presence, value, remarks| SideReport { presence, value, remarks };
        match &self.tag {
            None => side(Presence::NotAsked, None, Vec::new()),
            Some(Ok(None)) => side(Presence::Absent, None, Vec::new()),
            Some(Err(fault)) => side(Presence::Unknown, None, vec![fault.to_string()]),
            Some(Ok(Some(tag))) => {
                let mut remarks = Vec::new();
                remarks.extend(tag.value.as_ref().err().cloned());
                remarks.extend(tag.protected.then(|| "protected there".to_owned()));
                remarks.extend(tag.attachment.map(|attachment| match attachment {
                    Attachment::Release => "a Release is attached".to_owned(),
                    Attachment::Hidden | Attachment::Unlisted => {
                        "whether a Release is attached is not shown".to_owned()
                    }
                }));
                side(Presence::There, tag.value.as_ref().ok().cloned(), remarks)
            }
        }
    }
}

/// What both sides showed to the rule about targets.
pub(super) struct Looked<'a> {
    pub(super) near: &'a Near,
    pub(super) far: &'a Far,
}

impl Evidence for Looked<'_> {
    fn target_of(&self, _: &TagName) -> Option<Result<&Target, String>> {
        match &self.far.read_from {
            None => Some(Err("the remote was not asked".to_owned())),
            Some(Err(fault)) => Some(Err(fault.to_string())),
            Some(Ok(found)) => {
                let value = found.as_ref()?.value.as_ref();
                Some(value.map(|value| &value.target).map_err(Clone::clone))
            }
        }
    }

    fn note(&self, _: &NotesRef, commit_id: CommitId) -> Option<Result<&str, String>> {
        match &self.near.notes {
            None => Some(Err("it was not read".to_owned())),
            Some(Err(fault)) => Some(Err(fault.to_string())),
            Some(Ok(notes)) => Some(notes.get(&commit_id)?.as_deref().map_err(|reason| reason.to_string())),
        }
    }
}

pub(super) fn record_report(memory: &NameState) -> SideReport {
    let mut remarks = Vec::new();
    if let Some(pin) = &memory.pin {
        let to = pin.value.as_ref().map_or("absent".to_owned(), |value| format!("{value:.12}"));
        remarks.push(format!("put back to {to} by undoing run {}, at {:.0}", pin.undone, pin.since));
    }
    match &memory.record {
        None => SideReport { presence: Presence::Absent, value: None, remarks },
        Some(record) => {
            let how = match record.ownership {
                Ownership::Created => "written by tagsyncd",
                Ownership::Adopted => "found equal and adopted",
            };
            remarks.insert(0, how.to_owned());
            SideReport { presence: Presence::There, value: Some(record.value.clone()), remarks }
        }
    }
}
