//! Configuration in three stages: as written, problems, settings. Secrets.
pub struct Problems;
#[derive(Debug)]
pub struct Table;
