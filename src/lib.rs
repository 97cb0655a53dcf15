//! `tagsyncd` keeps git tags in agreement between a repository and any number of remote tag APIs.
//!
//! One pass, from left to right; each arrow is a type that only the step before it can make:
//!
//! ```text
//! config ──> Settings
//!              │  per job
//!  source ──> SourceSnapshot ─┐
//!  remote ──> RemoteSnapshot ─┼─plan──> Plan ──guard──> ApprovedPlan ──apply──> Report
//!  ledger ──> records ────────┘           │ held, with reasons                     └──> ledger, history
//!                                         └──> printed; nothing written
//! ```
//!
//! Absence is only ever concluded from a [`tag::RemoteSnapshot`] (a listing proven complete) or from a
//! [`tag::SourceSnapshot`] that does not call the name unknown. Planning is pure: no clock, no file, no network.
//! Only [`apply`] calls a provider's writes, and only with an [`plan::ApprovedPlan`], which only
//! [`plan::guard()`] makes. The modules stand here in the order in which a pass meets them.

pub mod schedule;
pub mod text;

pub mod config;
pub mod tag;

pub mod http;
pub mod wire;

pub mod provider;
pub mod source;

pub mod ledger;
pub mod plan;

pub mod apply;
pub mod report;
pub mod sync;

pub mod service;

pub mod cli;
