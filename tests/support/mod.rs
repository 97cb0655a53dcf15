//! Fake remotes, and the suite that every provider passes.
//!
//! Whoever wants a part takes all of it (`mod support;`, or `#[path = "../tests/support/mod.rs"]` from an example), so
//! the files may lean on each other.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses its own part")]

pub mod codearts;
pub mod codearts_subject;
pub mod conformance;
pub mod everywhere;
pub mod git_http;
pub mod git_subject;
pub mod gitea;
pub mod gitea_subject;
pub mod github;
pub mod github_subject;
pub mod gitlab;
pub mod gitlab_subject;
pub mod images;
pub mod memory;
pub mod memory_subject;
pub mod mirror;
pub mod program;
pub mod registry;
pub mod registry_subject;
pub mod repository;
pub mod repository_subject;
pub mod server;
pub mod service;
pub mod vercel;
pub mod vercel_subject;
pub mod vers;
pub mod vers_subject;
pub mod watched;
pub mod world;
