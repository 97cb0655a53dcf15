//! The socket that is listened on.

use std::net::{SocketAddr, TcpListener};

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::ServiceFault;
use super::web::{self, Desk};

/// Answers until it is closed.
pub(super) struct Listening {
    /// As the configuration has it; `None` for a socket that somebody else opened.
    address: Option<SocketAddr>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Listening {
    /// Opens a socket.
    pub(super) fn open(address: SocketAddr, desk: Desk) -> Result<Self, ServiceFault> {
        let listener = TcpListener::bind(address).map_err(|fault| ServiceFault {
            message: format!("cannot listen on {address}: {fault}"),
            hint: "change `daemon.listen`, or stop what listens there".to_owned(),
        })?;
        Ok(Self::serve(Some(address), listener, desk))
    }

    /// Takes over a socket that somebody else opened.
    pub(super) fn inherit(listener: TcpListener, desk: Desk) -> Self {
        Self::serve(None, listener, desk)
    }

    /// Whether somebody else opened it, so that no configuration closes it.
    pub(super) fn is_inherited(&self) -> bool {
        self.address.is_none()
    }

    /// Takes no more requests; those under way get their answers.
    pub(super) fn close(self) -> JoinHandle<()> {
        self.stop.cancel();
        self.task
    }

    fn serve(address: Option<SocketAddr>, listener: TcpListener, desk: Desk) -> Self {
        let stop = CancellationToken::new();
        let task = web::serve(listener, desk, stop.clone());
        Self { address, stop, task }
    }
}
