//! What leaves this machine and what is believed of what comes back: the client and the GitLab provider against a
//! loopback server that can also break every rule.
#![expect(clippy::unwrap_used, reason = "a test may stop at whatever it did not expect")]

mod answers;
mod clients;
mod credentials;
mod gitlab;
mod isolation;
mod limits;
mod methods;
mod paging;
mod redaction;
mod requests;
mod retry;
mod server;
