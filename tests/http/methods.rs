//! What is sent and read besides JSON: methods, bodies of bytes, kinds of content, limits.

use std::io::Write as _;

use futures_util::future::join_all;
use tagsyncd::http::{Client, FaultKind, HttpSettings, Request};
use tokio::net::TcpSocket;

use crate::clients::{client, client_with, quick, transport};
use crate::server::{Answer, Server, Then};

type Make = for<'a> fn(&'a Client) -> Request<'a>;

const WRITES: [(&str, Make); 4] = [
    ("PUT", |client| client.put("write it", &["it"])),
    ("PATCH", |client| client.patch("write it", &["it"])),
    ("POST", |client| client.post("write it", &["it"])),
    ("DELETE", |client| client.delete("write it", &["it"])),
];

#[tokio::test]
async fn bytes_arrive_as_they_are() {
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let sent: Vec<u8> = (0..4 * 1024 * 1024_u32).map(|at| (at * 7 % 256) as u8).collect();
    let server = Server::start(move |_, seen| {
        let digest = format!("sha256:{}", seen.raw.len());
        Answer::new(201, &[("docker-content-digest", &digest), ("content-type", kind)], &seen.raw)
    })
    .await;
    let client = client(&server).await;
    let kinds = format!("{kind}, application/vnd.oci.image.index.v1+json");
    for (method, make) in WRITES {
        let reply = make(&client).accept(&kinds).raw(kind, sent.clone()).send().await.unwrap();
        let seen = server.seen().pop().unwrap();
        assert_eq!((seen.method.as_str(), seen.target.as_str()), (method, "/it"));
        assert_eq!((seen.header("content-type"), seen.header("accept")), (Some(kind), Some(kinds.as_str())));
        assert!(seen.raw == sent && reply.bytes() == sent, "{method}");
        assert_eq!((reply.status(), reply.header("Docker-Content-Digest")), (201, Some("sha256:4194304")));
    }
    client.patch("write it", &["it"]).json(&[1]).unwrap().send().await.unwrap();
    let seen = server.seen().pop().unwrap();
    let head = (seen.header("content-type"), seen.header("accept"));
    assert_eq!((head, seen.body.as_str()), ((Some("application/json"), Some("application/json")), "[1]"));
    // What cannot stand in a header is not sent.
    let before = server.count();
    for fault in [
        client.get("read it", &["it"]).accept("a\r\nb: c").send().await.unwrap_err(),
        client.put("write it", &["it"]).raw("a\nb", "").send().await.unwrap_err(),
    ] {
        assert!(fault.kind == FaultKind::NotSent && fault.message.contains("cannot stand in the header"), "{fault}");
    }
    assert_eq!(server.count(), before);
}

#[tokio::test]
async fn an_ambiguous_write_is_not_repeated() {
    let answers: [fn() -> Answer; 5] = [
        || Answer::new(500, &[], "oops"),
        || Answer::new(503, &[], "oops"),
        Answer::cut,
        || Answer::nothing(Then::Close),
        || Answer::nothing(Then::Hang),
    ];
    let cases = answers.into_iter().flat_map(|answer| WRITES.map(|write| (answer, write)));
    let cases = cases.map(|(answer, (method, make))| async move {
        let server = Server::start(move |_, _| answer()).await;
        let transport = transport(quick());
        let client = client_with(&server, &transport).await;
        let outcome = make(&client).raw("text/plain", "x").send().await;
        let fault = outcome.map_or_else(|fault| fault, |reply| reply.refusal(None));
        assert_eq!(fault.kind, FaultKind::Ambiguous, "{method}: {fault}");
        assert_eq!((server.count(), transport.requests()), (1, 1), "{method}");
    });
    join_all(cases).await;
}

#[tokio::test]
async fn a_write_that_did_not_arrive_is_repeated() {
    let cases = WRITES.map(|(method, make)| async move {
        let server = Server::start(|at, _| match at {
            0 => Answer::new(429, &[("retry-after", "0")], ""),
            _ => Answer::new(204, &[], ""),
        })
        .await;
        assert_eq!(make(&client(&server).await).raw("a/b", "x").send().await.unwrap().status(), 204);
        let seen = server.seen();
        assert_eq!((seen.len(), seen[0].raw == seen[1].raw, seen[1].header("content-type")), (2, true, Some("a/b")));
        // Nobody listens: nothing was sent, and that is what it says.
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let url = format!("http://{}", socket.local_addr().unwrap()).parse().unwrap();
        let transport = transport(HttpSettings::default());
        let client = Client::new(&transport, url, None).await.unwrap();
        let fault = make(&client).send().await.map(|_| ()).unwrap_err();
        assert_eq!((fault.kind, transport.requests()), (FaultKind::NotSent, 0), "{method}");
    });
    join_all(cases).await;
}

#[tokio::test]
async fn a_head_brings_headers_and_no_body() {
    let server = Server::start(|at, _| match at {
        0 => Answer::new(500, &[], ""),
        1 => Answer::new(200, &[("content-length", "1234"), ("docker-content-digest", "sha256:1")], ""),
        // The length and the encoding are those of the body that a GET would bring.
        _ => Answer::new(200, &[("content-length", "99"), ("content-encoding", "gzip"), ("etag", "x")], ""),
    })
    .await;
    let client = client(&server).await;
    let reply = client.head("look at it", &["it"]).accept("a/b").send().await.unwrap();
    assert_eq!((reply.status(), reply.body(), server.count()), (200, &b""[..], 2));
    assert_eq!(
        (reply.header("content-length"), reply.header("docker-content-digest")),
        (Some("1234"), Some("sha256:1"))
    );
    let reply = client.head("look at it", &["it"]).send().await.unwrap();
    assert_eq!((reply.status(), reply.body(), reply.header("etag")), (200, &b""[..], Some("x")));
    let seen = server.seen();
    assert!(seen.iter().all(|seen| seen.method == "HEAD" && seen.raw.is_empty()));
    assert_eq!((seen[1].header("accept"), seen[2].header("accept")), (Some("a/b"), Some("application/json")));
}

#[tokio::test]
async fn a_request_may_have_its_own_limit() {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(&[b'x'; 11 * 1024 * 1024]).unwrap();
    let packed = packed.finish().unwrap();
    let server = Server::start(move |_, seen| match seen.target.as_str() {
        "/packed" => Answer::new(200, &[("content-encoding", "gzip")], &packed),
        _ => Answer::new(200, &[], "0123456789"),
    })
    .await;
    let client = client(&server).await;
    let whole = client.get("read it", &["it"]).limit(10).send().await.unwrap();
    assert_eq!(whole.body(), b"0123456789");
    let fault = client.get("read it", &["it"]).limit(9).send().await.unwrap_err();
    assert!(fault.kind == FaultKind::Unreadable && fault.message.contains("more than 9 bytes"), "{fault}");
    assert!(client.get("read it", &["it"]).limit(9).send_part().await.unwrap().is_none());
    let fault = client.put("write it", &["it"]).limit(9).send().await.unwrap_err();
    assert_eq!((fault.kind, server.count()), (FaultKind::Ambiguous, 4));
    assert!(client.get("read it", &["packed"]).send().await.is_err());
    let long = client.get("read it", &["packed"]).limit(11 * 1024 * 1024).send().await.unwrap();
    assert_eq!(long.body().len(), 11 * 1024 * 1024);
}
