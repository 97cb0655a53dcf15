//! Connections: how many, how long, and how they end.

use std::io;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use super::Desk;
use super::routes::{Hosts, router};

/// Connections at a time; more wait in the kernel until one ends.
const CONNECTIONS: usize = 64;
/// Within this time a request's head has to be there.
const HEAD: Duration = Duration::from_secs(5);
/// Within this time a connection is over, whatever either side does.
const WHOLE: Duration = Duration::from_secs(60);
/// A larger head is nobody's.
const HEAD_SIZE: usize = 16 * 1024;
/// What is being answered when the daemon stops has this long.
const FAREWELL: Duration = Duration::from_secs(2);

/// Answers requests on this socket until `stop`; what is being answered then has two seconds to end.
///
/// HTTP/1 only, one request per connection, so that every connection has an end that is known when it begins. Needs a
/// runtime around it.
pub fn serve(listener: std::net::TcpListener, desk: Desk, stop: CancellationToken) -> JoinHandle<()> {
    tokio::spawn(async move {
        if let Err(fault) = listen(listener, desk, stop).await {
            tracing::error!(%fault, "Nothing is served over HTTP: the socket cannot be used.");
        }
    })
}

async fn listen(listener: std::net::TcpListener, desk: Desk, stop: CancellationToken) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let listener = TcpListener::from_std(listener)?;
    if !address.ip().is_loopback() {
        tracing::warn!(
            %address,
            "Listening beyond this machine: whoever reaches this address sees names, states and errors."
        );
    }
    let router = router(desk, Hosts::of(address.ip()));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < CONNECTIONS => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(answer(stream, router.clone()));
                }
                // One that is gone already is no concern; a lack of descriptors passes, and must not turn this into a busy loop.
                Err(fault) => {
                    tracing::debug!(%fault, "A connection was not accepted.");
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            },
        }
    }
    drop(listener);
    let ending = async { while connections.join_next().await.is_some() {} };
    // What is left is cut off when the set is dropped.
    let _cut_off = tokio::time::timeout(FAREWELL, ending).await;
    Ok(())
}

async fn answer(stream: TcpStream, router: Router) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_header_size(HEAD_SIZE)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    match tokio::time::timeout(WHOLE, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(fault)) => tracing::debug!(%fault, "A request was not answered."),
        Err(_) => tracing::debug!("A connection took too long."),
    }
}
