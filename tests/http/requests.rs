//! What leaves, and to whom.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tagsyncd::http::{Client, FaultKind, HttpSettings};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use url::Url;

use crate::clients::{CANARY, client, read, transport, write};
use crate::server::{Answer, Server};

#[tokio::test]
async fn a_path_arrives_byte_for_byte() {
    let server = Server::start(|_, _| Answer::json("\"\"")).await;
    let base = server.url.join("forge/api/").unwrap();
    let client = Client::new(&transport(HttpSettings::default()), base, None).await.unwrap();
    let long = "x".repeat(1024);
    for (segment, encoded) in [
        ("a/b", "a%2Fb"),
        ("é", "%C3%A9"),
        ("a?b#c;d", "a%3Fb%23c%3Bd"),
        ("a%2Fb", "a%252Fb"),
        ("-x=1&y", "-x%3D1%26y"),
        (&long, &long),
    ] {
        client.get("read it", &["tags", segment]).query("q", segment).send().await.unwrap();
        let seen = server.seen().pop().unwrap();
        assert_eq!(seen.target, format!("/forge/api/tags/{encoded}?q={encoded}"));
        assert!(seen.head.contains("user-agent: tagsyncd/") && !seen.head.contains("authorization"), "{}", seen.head);
    }
    let before = server.count();
    for segment in ["", ".", "..", "%2e%2e", "%252e%252e", "a/../b", "a/%2e%2e%2fb"] {
        let fault = client.get("read it", &["tags", segment]).send().await.unwrap_err();
        assert_eq!(fault.kind, FaultKind::NotSent, "{segment}");
    }
    assert_eq!(server.count(), before);
}

#[tokio::test]
async fn redirects_are_named_and_not_followed() {
    let other = Server::start(|_, _| Answer::json("\"stolen\"")).await;
    let port = other.url.port().unwrap();
    for status in [301, 302, 303, 307, 308] {
        let location = format!("http://localhost:{port}/secret?x={CANARY}");
        let server = Server::start(move |_, _| Answer::new(status, &[("location", &location)], "")).await;
        let client = client(&server).await;
        for fault in [read(&client).await.unwrap_err(), write(&client).await.unwrap_err()] {
            assert!(fault.message.contains("redirect to localhost, which is not followed"), "{fault}");
            assert!(!fault.message.contains("secret"), "{fault}");
            assert!(matches!(fault.kind, FaultKind::Unreadable | FaultKind::Rejected | FaultKind::Ambiguous));
        }
        assert_eq!(server.count(), 2);
        assert!(server.seen()[0].head.contains(&format!("authorization: Bearer {CANARY}")));
    }
    assert_eq!(other.count(), 0);
}

#[tokio::test]
async fn gzip_is_read() {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(b"\"packed\"").unwrap();
    let packed = packed.finish().unwrap();
    let server = Server::start(move |_, _| Answer::new(200, &[("content-encoding", "gzip")], &packed)).await;
    assert_eq!(read(&client(&server).await).await.unwrap(), "packed");
    assert!(server.seen()[0].head.contains("accept-encoding: gzip"));
}

#[tokio::test]
async fn a_server_that_speaks_no_tls_is_not_trusted() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url: Url = format!("https://{}", listener.local_addr().unwrap()).parse().unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counter.fetch_add(1, Ordering::Relaxed);
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
            tokio::spawn(async move {
                let mut sink = Vec::new();
                stream.read_to_end(&mut sink).await
            });
        }
    });
    let transport = transport(HttpSettings::default());
    let client = Client::new(&transport, url, None).await.unwrap();
    let fault = write(&client).await.unwrap_err();
    assert_eq!((fault.kind, transport.requests()), (FaultKind::NotSent, 0));
    assert!(fault.message.contains("no trusted connection"), "{fault}");
    assert!(fault.hint.unwrap().contains("ca_file"));
    assert_eq!(connections.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn an_address_is_checked_before_anything_is_sent() {
    let fault = async |url: &str, settings: HttpSettings| {
        Client::new(&transport(settings), url.parse().unwrap(), None).await.map(|_| ()).map_err(|fault| fault.message)
    };
    let default = HttpSettings::default;
    assert_eq!(fault("https://git.example.com", default()).await, Ok(()));
    assert_eq!(fault("http://[::1]:8080/x", default()).await, Ok(()));
    assert!(fault("http://git.example.com", default()).await.unwrap_err().contains("not https"));
    assert_eq!(fault("http://git.example.com", HttpSettings { allow_http: true, ..default() }).await, Ok(()));
    assert!(fault("ftp://git.example.com", HttpSettings { allow_http: true, ..default() }).await.is_err());
    assert!(fault("https://user:pass@git.example.com", default()).await.is_err());
    let missing = HttpSettings { ca_file: Some("/nonexistent/ca.pem".into()), ..default() };
    assert!(fault("https://git.example.com", missing).await.unwrap_err().contains("/nonexistent/ca.pem"));
    let empty = tempfile::NamedTempFile::new().unwrap();
    let empty = HttpSettings { ca_file: Some(empty.path().into()), ..default() };
    assert!(fault("https://git.example.com", empty).await.unwrap_err().contains("no certificates"));
}
