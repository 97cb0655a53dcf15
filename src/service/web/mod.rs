//! What the daemon shows over HTTP, and the one thing that it accepts: signed webhooks.
//!
//! Everything shown comes from the [`Board`] and from the ledger, read beside its writer. Nothing here decides, and nothing
//! changes anything but a webhook, which asks for a pass over its job and says nothing else.
//!
//! | path | answer |
//! |---|---|
//! | `/` | the status page |
//! | `/status.json` | what `tagsyncd status --format json` prints, with the next run |
//! | `/metrics` | OpenMetrics text |
//! | `/healthz` | 200 while the loop turns |
//! | `/readyz` | 200 after the first pass over everything |
//! | `POST /hooks/JOB` | 202 when the job will run |

mod hooks;
mod metrics;
mod page;
mod routes;
mod server;

use std::sync::Arc;

use tokio::sync::{mpsc, watch};

pub use server::serve;

use super::board::Board;
use crate::config::Settings;
use crate::ledger::StateDirectory;

/// What requests are answered from, and where webhooks go.
#[derive(Debug)]
pub struct Desk {
    /// What the loop tells.
    pub board: Arc<Board>,
    /// Where the ledger is.
    pub state: StateDirectory,
    /// The configuration in use.
    pub settings: watch::Receiver<Arc<Settings>>,
    /// Jobs that a webhook asks to run now.
    pub hooks: mpsc::Sender<String>,
}
