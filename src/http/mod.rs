//! HTTP for providers: one client with deadlines, limits, retries, redaction and paging. The only user of `reqwest`.
//!
//! Nothing here knows what a tag is. What always holds:
//!
//! - A credential goes to the configured origin only: no redirect is followed, no URL from an answer is ever requested.
//!   There are two exceptions: a registry's token server, and that only on its own origin or on a host that the
//!   configuration names; and a git repository that moved, and that only within its origin.
//! - A credential stands in no error and no log; server texts are cleaned of it before anybody sees them.
//! - A write is sent a second time only when the first provably had no effect.
//! - A token is obtained once for all who wait for it; a request that it does not get through is sent once more at most.
//! - A server that does not answer, or refuses the credential, is left alone for a while, by those who use that credential
//!   there and by nobody else. Only when it refused several new credentials in a row, further new ones wait, too.
//! - Every request ends: it has a deadline to connect, between bytes and in total, and a limit on what it may bring.

mod auth;
mod budget;
mod challenge;
mod circuit;
mod client;
mod credentials;
mod fault;
mod gate;
mod latest;
mod newcomers;
mod observed;
mod pace;
mod paging;
mod path;
mod registry;
mod reply;
mod retry;
mod token;
mod traffic;
mod transport;
mod trouble;

pub use auth::Authorization;
pub use client::{Client, Parts, Request, Sink};
pub use credentials::{Ask, Credential, SignedRequests};
pub use fault::{Fault, FaultKind};
pub use gate::Rate;
pub use observed::{Channel, ClockSkew, Observed, Reach};
pub use pace::{Turn, WriteLimits};
pub use paging::{NextPage, Trail};
pub use path::{refuses as path_refuses, server_of};
pub use registry::RegistryCredentials;
pub use reply::Reply;
pub use token::{ExchangedToken, Token};
pub use traffic::{Quota, Traffic};
pub use transport::{ClosedBy, Condition, HttpSettings, Pool, Transport, is_loopback};
