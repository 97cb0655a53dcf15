//! The daemon: every job by its schedule and when something asks for it, for as long as the machine runs.
//!
//! ```text
//!  clock, changed refs, decisions, webhooks, signals ──> Daemon ──asks──> Agenda (pure) ──starts──> passes (sync)
//!                                                          │                                            │
//!                                     service manager <────┤            board, announcer <──each pair's end
//! ```
//!
//! One loop decides, in `daemon.rs`; it never waits for a pass, a remote or a disk. Everything else tells it what happened.

mod agenda;
pub mod board;
mod clock;
mod configuration;
mod daemon;
mod host;
mod listening;
pub mod notice;
mod passes;
mod signals;
mod systemd;
mod watch;
pub mod web;

pub use clock::{Clock, SystemClock};
pub use daemon::{Beginning, ServiceFault, run};
pub use host::host_name;
