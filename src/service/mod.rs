//! The daemon.

pub mod board;
pub mod web;
