//! Configuration in three stages: as written, problems, settings. Secrets.
//!
//! A stand-in with the signatures that providers use, until the real one is here.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

use secrecy::SecretString;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use toml::Spanned;
use url::Url;

/// What is wrong with a configuration.
#[derive(Debug, Default)]
pub struct Problems(pub Vec<String>);

impl Problems {
    /// Adds one.
    pub fn push(&mut self, span: Range<usize>, message: impl Into<String>, hint: Option<&str>) {
        self.0.push(format!("{span:?}: {} {hint:?}", message.into()));
    }

    /// A key that must be there.
    pub fn required<T>(&mut self, table: Range<usize>, key: &str, value: Option<T>, hint: Option<&str>) -> Option<T> {
        if value.is_none() {
            self.push(table, format!("`{key}` is missing"), hint);
        }
        value
    }

    /// A base URL.
    pub fn base_url(&mut self, value: Option<&Spanned<String>>, default: &str, _allow_http: bool) -> Option<Url> {
        Url::parse(value.map_or(default, |value| value.get_ref().as_str())).ok()
    }
}

/// One remote's table.
#[derive(Debug)]
pub struct Table(pub String);

impl Table {
    /// Where it stands.
    pub fn span(&self) -> Range<usize> {
        0..self.0.len()
    }

    /// Whether plain HTTP is allowed.
    pub fn allow_http(&self) -> bool {
        false
    }

    /// Reads its keys.
    pub fn read<T: DeserializeOwned + Default>(self, problems: &mut Problems) -> T {
        toml::from_str(&self.0).unwrap_or_else(|fault| {
            problems.push(0..0, fault.to_string(), None);
            T::default()
        })
    }
}

/// Where a secret comes from.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SecretSource {
    /// A file.
    File(PathBuf),
}

impl fmt::Display for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::File(path) = self;
        write!(f, "file {}", path.display())
    }
}

/// A secret that could not be read.
#[derive(Debug)]
pub struct SecretFault {
    /// What happened.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

impl SecretSource {
    /// Reads it.
    pub async fn read(&self) -> Result<SecretString, SecretFault> {
        let Self::File(path) = self;
        match tokio::fs::read_to_string(path).await {
            Ok(text) => Ok(text.trim_end().to_owned().into()),
            Err(fault) => Err(SecretFault { message: fault.to_string(), hint: None }),
        }
    }
}
