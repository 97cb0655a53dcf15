//! How much, how fast, how many at a time.

use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tagsyncd::http::{FaultKind, HttpSettings, Pool, Rate, Transport};
use tokio::sync::Barrier;

use crate::clients::{client, client_with, quick, read, transport, write};
use crate::server::{Answer, Server, Then};

#[tokio::test]
async fn a_compressed_bomb_is_cut_off() {
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    for _ in 0..16 {
        bomb.write_all(&vec![b' '; 1024 * 1024]).unwrap();
    }
    let bomb = bomb.finish().unwrap();
    let server = Server::start(move |_, _| Answer::new(200, &[("content-encoding", "gzip")], &bomb)).await;
    let client = client(&server).await;
    let fault = read(&client).await.unwrap_err();
    assert!(fault.message.contains("more than 10485760 bytes") && fault.kind == FaultKind::Unreadable, "{fault}");
    assert_eq!(write(&client).await.unwrap_err().kind, FaultKind::Ambiguous);
    assert_eq!(server.count(), 2);
}

#[tokio::test]
async fn a_slow_body_ends_at_the_total_deadline() {
    let server = Server::start(|_, _| Answer::new(200, &[("content-length", "100000")], "").then(Then::Drip)).await;
    let transport = transport(quick());
    let client = client_with(&server, &transport).await;
    let fault = write(&client).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Ambiguous);
    assert!(fault.message.contains("not finished after 1s"), "{fault}");
    assert_eq!((transport.requests(), server.count()), (1, 1));
}

#[tokio::test]
async fn a_burst_that_is_refused_halves_the_concurrency() {
    // The first four are refused when all of them are there; the answers to the next wait for the test.
    let refused = Arc::new(Barrier::new(4));
    let [arrived, go] = [(); 2].map(|()| Arc::new(Barrier::new(3)));
    let holds = (Arc::clone(&arrived), Arc::clone(&go));
    let server = Server::start(move |at, _| match at {
        // Nothing says that this write was not done, so it is not sent again.
        0..4 => Answer::new(503, &[], "Too much").held(vec![Arc::clone(&refused)]),
        4..6 => Answer::json("\"ok\"").held(vec![Arc::clone(&holds.0), Arc::clone(&holds.1)]),
        _ => Answer::json("\"ok\""),
    })
    .await;
    let transport = transport(HttpSettings { concurrency: 4, ..HttpSettings::default() });
    let client = client_with(&server, &transport).await;
    for answer in join_all((0..4).map(|_| write(&client))).await {
        assert_eq!(answer.unwrap_err().kind, FaultKind::Ambiguous);
    }
    let look = async {
        arrived.wait().await;
        // All four reads have begun, and two of them were let through.
        assert_eq!(transport.requests(), 4 + 2);
        go.wait().await;
    };
    let (answers, ()) = tokio::join!(join_all((0..4).map(|_| read(&client))), look);
    assert!(answers.iter().all(|answer| answer.as_deref() == Ok("ok")), "{answers:?}");
}

#[tokio::test]
async fn remotes_of_one_host_and_credential_share_their_limits() {
    let server = Server::start(|_, _| Answer::json("\"ok\"")).await;
    let pool = Arc::new(Pool::new());
    let slow = HttpSettings { rate: Rate::per_second(10.0), ..HttpSettings::default() };
    let (one, two) = (Transport::new(&pool, slow), Transport::new(&pool, HttpSettings::default()));
    let clients = [client_with(&server, &one).await, client_with(&server, &two).await];
    let began = Instant::now();
    // Ten go at once, five more take half a second.
    for at in 0..15 {
        read(&clients[at % 2]).await.unwrap();
    }
    assert!(began.elapsed() >= Duration::from_millis(450), "{:?}", began.elapsed());
    assert_eq!((one.requests(), two.requests(), server.count()), (8, 7, 15));
}
