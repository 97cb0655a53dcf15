//! The daemon.

pub mod notice;
