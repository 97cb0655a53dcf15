//! The keys of a `[remote.NAME]` with `provider = "repository"`, and of a repository that a job names in `to`.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Deserialize;
use toml::Spanned;

use super::api::LocalRepository;
use crate::config::{Problems, Table};
use crate::provider::{Connection, Fault, Provider, RemoteKeys};
use crate::source::Destination;
use crate::tag::TagName;
use crate::text::Printable;

/// The keys as they stand in the file.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Written {
    /// The repository: an absolute path, bare or not.
    #[schemars(with = "String", length(min = 1))]
    path: Option<Spanned<String>>,
}

/// A repository's keys, checked.
#[derive(Clone, Debug)]
pub struct Keys {
    path: PathBuf,
}

pub(super) fn read(table: Table, problems: &mut Problems) -> Option<Arc<dyn RemoteKeys>> {
    let span = table.span();
    let written: Written = table.read(problems);
    let hint = "the absolute path of a repository on this host";
    let written = problems.required(span, "path", written.path, Some(hint))?;
    let path = PathBuf::from(written.get_ref());
    if !path.is_absolute() {
        problems.push(written.span(), "the path must be absolute", None);
        return None;
    }
    Some(Arc::new(Keys { path }))
}

pub(super) fn schema(generator: &mut SchemaGenerator) -> Schema {
    Written::json_schema(generator)
}

impl Keys {
    /// The repository at an absolute path.
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }
}

#[async_trait]
impl RemoteKeys for Keys {
    fn describe(&self) -> String {
        Printable::new(self.path.as_os_str().as_encoded_bytes()).to_string()
    }

    /// Nothing is attached to a ref.
    fn allows_loss(&self, _name: &TagName) -> bool {
        false
    }

    async fn connect(&self, connection: Connection) -> Result<Arc<dyn Provider>, Fault> {
        Ok(Arc::new(LocalRepository::new(Destination::new(&self.path), connection.objects)))
    }
}
