//! The client behind every provider.

use std::path::PathBuf;
use std::time::Duration;

/// What one remote says about how it is talked to.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpSettings {
    /// From the first byte sent to the last byte received of one request.
    pub timeout: Duration,
    /// Certificates to trust besides those of the system.
    pub ca_file: Option<PathBuf>,
    /// Requests at the same time.
    pub concurrency: usize,
    /// Requests per second.
    pub rate: Option<f64>,
    /// Whether plain HTTP to other hosts is permitted.
    pub allow_http: bool,
}

#[derive(Debug, Clone)]
pub struct Transport;
