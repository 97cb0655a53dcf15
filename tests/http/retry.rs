//! What is sent again, when, and what is not.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tagsyncd::http::{Client, FaultKind, HttpSettings};
use tokio::net::TcpSocket;
use url::Url;

use crate::clients::{client, client_with, quick, read, seconds_until, time_in, transport, write};
use crate::server::{Answer, Server, Then};

#[tokio::test]
async fn reads_are_repeated_and_writes_are_not() {
    let patient = HttpSettings::default;
    let answers: [(fn() -> Answer, HttpSettings); 5] = [
        (|| Answer::new(500, &[], "oops"), patient()),
        (|| Answer::new(502, &[], ""), patient()),
        (Answer::cut, patient()),
        (|| Answer::nothing(Then::Close), patient()),
        (|| Answer::nothing(Then::Hang), quick()),
    ];
    let cases = answers.map(|(answer, settings)| async move {
        let server = Server::start(move |at, _| if at % 3 < 2 { answer() } else { Answer::json("\"third\"") }).await;
        let transport = transport(settings);
        let client = client_with(&server, &transport).await;
        assert_eq!(read(&client).await.unwrap(), "third");
        let fault = write(&client).await.unwrap_err();
        assert_eq!(fault.kind, FaultKind::Ambiguous, "{fault}");
        assert_eq!((transport.requests(), server.count()), (4, 4));
        let traffic = transport.traffic();
        assert_eq!((traffic.retries, traffic.by_status.values().sum::<u64>()), (2, 4));
        assert_eq!(traffic.by_status.get(&200), Some(&1));
    });
    join_all(cases).await;
    let server = Server::start(|_, _| Answer::new(500, &[], "oops")).await;
    let fault = read(&client(&server).await).await.unwrap_err();
    assert_eq!((fault.kind, server.count()), (FaultKind::Unreadable, 3));
    assert!(fault.message.contains("could not read it: 127.0.0.1 answered 500") && fault.message.ends_with(": oops"));
}

#[tokio::test]
async fn a_throttled_write_waits_as_asked() {
    for (status, headers) in [(429, [("retry-after", "1")]), (503, [("retry-after", "1")])] {
        let server = Server::start(move |at, _| match at {
            0 => Answer::new(status, &headers, "Retry later\n"),
            _ => Answer::json("\"done\""),
        })
        .await;
        let began = Instant::now();
        assert_eq!(write(&client(&server).await).await.unwrap(), "done");
        assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
        let seen = server.seen();
        assert_eq!((seen.len(), &seen[1].body), (2, &"[1]".to_owned()));
    }
}

#[tokio::test]
async fn too_long_a_wait_is_a_fault_and_is_kept_to() {
    let server = Server::start(|_, _| Answer::new(429, &[("retry-after", "600")], "Retry later\n")).await;
    let transport = transport(HttpSettings::default());
    let client = client_with(&server, &transport).await;
    let fault = write(&client).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Throttled);
    assert!(fault.message.contains("answered 429 Too Many Requests: Retry later (it asks to be left alone"), "{fault}");
    let fault = read(&client).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Throttled);
    assert!((595..=600).contains(&seconds_until(time_in(&fault.message))), "{fault}");
    assert_eq!((server.count(), transport.requests()), (1, 1));
}

#[tokio::test]
async fn an_exhausted_quota_is_waited_for() {
    let server =
        Server::start(|_, _| Answer::new(200, &[("ratelimit-remaining", "0"), ("ratelimit-reset", "1")], "\"ok\""))
            .await;
    let client = client(&server).await;
    let began = Instant::now();
    assert_eq!(read(&client).await.unwrap(), "ok");
    assert_eq!(read(&client).await.unwrap(), "ok");
    assert!(began.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn a_refused_connection_is_tried_again_and_not_counted() {
    // A port that is ours and that nobody listens on.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url: Url = format!("http://{}", socket.local_addr().unwrap()).parse().unwrap();
    let transport = transport(HttpSettings::default());
    let client = Client::new(&transport, url, None).await.unwrap();
    let fault = write(&client).await.unwrap_err();
    assert_eq!((fault.kind, transport.requests()), (FaultKind::NotSent, 0));
    assert!(fault.message.contains("no connection to 127.0.0.1: Connection refused"), "{fault}");
    // The server comes up in the pause after the first try, which has been counted and taken back.
    let late = async {
        for counted in [0, 1] {
            while transport.requests() == counted {
                tokio::task::yield_now().await;
            }
        }
        Server::on(socket.listen(8).unwrap(), |_, _| Answer::json("\"late\""))
    };
    let (written, server) = tokio::join!(write(&client), late);
    assert_eq!((written.unwrap(), server.count(), transport.requests()), ("late".to_owned(), 1, 1));
    let traffic = transport.traffic();
    assert!(traffic.by_status[&0] >= 4 && traffic.by_status[&200] == 1 && traffic.retries >= 3, "{traffic:?}");
}
