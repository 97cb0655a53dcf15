//! What leaves this machine and what is believed of what comes back: the client and the GitLab provider against a
//! loopback server that can also break every rule.
#![expect(clippy::unwrap_used, reason = "a test may stop at whatever it did not expect")]

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tagsyncd::config::SecretSource;
use tagsyncd::http::{Authorization, Client, Fault, FaultKind, HttpSettings, Pool, Rate, Transport};
use tagsyncd::provider::gitlab::Keys;
use tagsyncd::provider::{Access, Connection, NewTag, Provider, RemoteKeys as _};
use tagsyncd::tag::{Annotation, Attachment, End, RemoteSnapshot, TagName, Target, Value};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Barrier;
use url::Url;

const COMMIT: &str = "2695effb5807a22ff3d138d593fd856244e155e7";
const CANARY: &str = "glpat-CANARY-0123456789";

// ---- The server ----

/// A request as it arrived.
#[derive(Clone, Debug)]
struct Seen {
    method: String,
    /// Path and query, byte for byte.
    target: String,
    head: String,
    body: String,
}

impl Seen {
    /// How many tags a page is to have.
    fn page_size(&self) -> usize {
        self.query("per_page").unwrap().parse().unwrap()
    }

    fn query(&self, key: &str) -> Option<String> {
        let (_, query) = self.target.split_once('?')?;
        url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == key).map(|(_, value)| value.into_owned())
    }
}

/// What happens after the bytes of an answer.
#[derive(Clone, Copy)]
enum Then {
    Close,
    /// The connection stays open and silent.
    Hang,
    /// One more byte every 20 ms, for ever.
    Drip,
}

struct Answer {
    bytes: Vec<u8>,
    /// What it waits for before it is sent, one after the other.
    holds: Vec<Arc<Barrier>>,
    then: Then,
}

impl Answer {
    fn new(status: u16, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Self {
        let body = body.as_ref();
        let mut bytes = format!("HTTP/1.1 {status} Words\r\nconnection: close\r\n").into_bytes();
        if !headers.iter().any(|(name, _)| *name == "content-length") {
            write!(bytes, "content-length: {}\r\n", body.len()).unwrap();
        }
        for (name, value) in headers {
            write!(bytes, "{name}: {value}\r\n").unwrap();
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(body);
        Self { bytes, holds: Vec::new(), then: Then::Close }
    }

    fn json(body: impl AsRef<[u8]>) -> Self {
        Self::new(200, &[("content-type", "application/json")], body)
    }

    /// A head that promises more than comes.
    fn cut() -> Self {
        Self::new(200, &[("content-length", "100")], "[1,")
    }

    fn nothing(then: Then) -> Self {
        Self { bytes: Vec::new(), holds: Vec::new(), then }
    }

    fn then(self, then: Then) -> Self {
        Self { then, ..self }
    }

    fn held(self, holds: Vec<Arc<Barrier>>) -> Self {
        Self { holds, ..self }
    }
}

struct Server {
    url: Url,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    /// `answer` gets the number of earlier requests and the request.
    async fn start(answer: impl Fn(usize, &Seen) -> Answer + Send + Sync + 'static) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").await.unwrap(), answer)
    }

    fn on(listener: TcpListener, answer: impl Fn(usize, &Seen) -> Answer + Send + Sync + 'static) -> Self {
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let (log, answer) = (Arc::clone(&seen), Arc::new(answer));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (log, answer) = (Arc::clone(&log), Arc::clone(&answer));
                tokio::spawn(async move { serve(stream, &log, &*answer).await });
            }
        });
        Self { url, seen }
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

async fn serve(mut stream: TcpStream, log: &Mutex<Vec<Seen>>, answer: &(dyn Fn(usize, &Seen) -> Answer + Send + Sync)) {
    let Some(seen) = read_request(&mut stream).await else { return };
    let answer = {
        let mut log = log.lock().unwrap();
        let answer = answer(log.len(), &seen);
        log.push(seen);
        answer
    };
    for hold in &answer.holds {
        hold.wait().await;
    }
    if stream.write_all(&answer.bytes).await.is_err() {
        return;
    }
    match answer.then {
        Then::Close => {}
        Then::Hang => tokio::time::sleep(Duration::from_secs(600)).await,
        Then::Drip => {
            while stream.write_all(b" ").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

async fn read_request(stream: &mut TcpStream) -> Option<Seen> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                let mut words = head.split(' ');
                let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
                return Some(Seen { method, target, head: head.to_owned(), body: body.to_owned() });
            }
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

// ---- Clients ----

fn transport(settings: HttpSettings) -> Transport {
    Transport::new(&Arc::new(Pool::new()), settings)
}

/// Short enough to wait for, long enough for a busy machine.
fn quick() -> HttpSettings {
    HttpSettings { timeout: Duration::from_secs(1), ..HttpSettings::default() }
}

async fn client_with(server: &Server, transport: &Transport) -> Client {
    let authorization = Authorization::bearer(&CANARY.to_owned().into()).unwrap();
    Client::new(transport, server.url.clone(), Some(authorization)).await.unwrap()
}

async fn client(server: &Server) -> Client {
    client_with(server, &transport(HttpSettings::default())).await
}

async fn read(client: &Client) -> Result<String, Fault> {
    let reply = client.get("read it", &["it"]).send().await?;
    if reply.status() == 200 { reply.json("a text") } else { Err(reply.refusal(None)) }
}

async fn write(client: &Client) -> Result<String, Fault> {
    let reply = client.post("write it", &["it"]).json(&[1])?.send().await?;
    if reply.status() == 200 { reply.json("a text") } else { Err(reply.refusal(None)) }
}

async fn gitlab_with(server: &Server, transport: &Transport) -> Arc<dyn Provider> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, CANARY).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    #[derive(serde::Deserialize)]
    struct Written {
        token: SecretSource,
    }
    let written: Written = toml::from_str(&format!("token = {{ file = {:?} }}", file.to_str().unwrap())).unwrap();
    let keys = Keys::new(server.url.join("forge").unwrap(), "infra/core", Some(written.token)).unwrap();
    let connection = Connection { transport: transport.clone(), compare_annotations: true };
    keys.connect(connection).await.unwrap()
}

async fn gitlab(server: &Server) -> Arc<dyn Provider> {
    gitlab_with(server, &transport(HttpSettings::default())).await
}

fn name(name: &str) -> TagName {
    TagName::new(name).unwrap()
}

fn target() -> Target {
    Target::Commit(COMMIT.parse().unwrap())
}

// ---- The client ----

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
async fn gzip_is_read() {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(b"\"packed\"").unwrap();
    let packed = packed.finish().unwrap();
    let server = Server::start(move |_, _| Answer::new(200, &[("content-encoding", "gzip")], &packed)).await;
    assert_eq!(read(&client(&server).await).await.unwrap(), "packed");
    assert!(server.seen()[0].head.contains("accept-encoding: gzip"));
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
async fn a_page_for_people_is_no_answer() {
    for kind in ["text/html; charset=utf-8", "application/json"] {
        let page = "\n<!DOCTYPE html><title>Sign in</title>";
        let server = Server::start(move |_, _| Answer::new(200, &[("content-type", kind)], page)).await;
        let client = client(&server).await;
        let fault = read(&client).await.unwrap_err();
        assert!(fault.message.contains("an HTML page: a proxy or a login in between?"), "{fault}");
        assert_eq!((fault.kind, write(&client).await.unwrap_err().kind), (FaultKind::Unreadable, FaultKind::Ambiguous));
    }
    let server = Server::start(|_, _| Answer::new(403, &[], "<html>\x1b[31mBlocked</html>")).await;
    let fault = read(&client(&server).await).await.unwrap_err();
    assert!(fault.message.contains("403") && fault.message.contains("HTML page"), "{fault}");
}

#[tokio::test]
async fn broken_json_is_shown_safely() {
    let bomb = "[".repeat(100_000);
    let server = Server::start(move |at, _| match at {
        0 => Answer::json(&bomb),
        _ => Answer::json(format!("{{\"\x1b[31m{CANARY}\": {}", "1".repeat(500))),
    })
    .await;
    let client = client(&server).await;
    assert_eq!(read(&client).await.unwrap_err().kind, FaultKind::Unreadable);
    let fault = read(&client).await.unwrap_err();
    assert!(fault.message.contains("not a text") && fault.message.contains("[redacted]"), "{fault}");
    assert!(fault.message.len() < 600 && !fault.message.contains(['\x1b', '\n']), "{fault:?}");
}

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
    assert_eq!((fault.kind, fault.retry_after), (FaultKind::Throttled, Some(Duration::from_secs(600))));
    assert!(fault.message.ends_with("answered 429 Too Many Requests: Retry later"), "{fault}");
    let fault = read(&client).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Throttled);
    assert!(fault.retry_after.unwrap() > Duration::from_secs(590));
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
async fn a_burst_that_is_refused_halves_the_concurrency() {
    // The first eight are refused when all of them are there; the answers to the next wait for the test.
    let refused = Arc::new(Barrier::new(8));
    let [arrived, go] = [(); 2].map(|()| Arc::new(Barrier::new(5)));
    let holds = (Arc::clone(&arrived), Arc::clone(&go));
    let server = Server::start(move |at, _| match at {
        // Nothing says that this write was not done, so it is not sent again.
        0..8 => Answer::new(503, &[], "Too much").held(vec![Arc::clone(&refused)]),
        8..12 => Answer::json("\"ok\"").held(vec![Arc::clone(&holds.0), Arc::clone(&holds.1)]),
        _ => Answer::json("\"ok\""),
    })
    .await;
    let transport = transport(HttpSettings::default());
    let client = client_with(&server, &transport).await;
    for answer in join_all((0..8).map(|_| write(&client))).await {
        assert_eq!(answer.unwrap_err().kind, FaultKind::Ambiguous);
    }
    let look = async {
        arrived.wait().await;
        // All eight reads have begun, and four of them were let through.
        assert_eq!(transport.requests(), 8 + 4);
        go.wait().await;
    };
    let (answers, ()) = tokio::join!(join_all((0..8).map(|_| read(&client))), look);
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

/// Collects what is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn the_credential_is_in_no_error_and_no_log() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber =
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(move || writer.clone()).finish();
    // For the whole process: what the other tests do meanwhile is logged, too, and they use the same credential.
    tracing::subscriber::set_global_default(subscriber).unwrap();

    let server = Server::start(|at, seen| {
        let echo = format!("{CANARY} {}", seen.head.replace(['\r', '\n'], " ").replace('"', "'"));
        let link = format!("<https://{CANARY}.example.com/?page_token={CANARY}>; rel=next");
        match at % 8 {
            0 => Answer::new(400, &[], format!(r#"{{"message":"{echo}"}}"#)),
            1 => Answer::new(403, &[], format!(r#"{{"error":"insufficient_scope","scope":"{echo}"}}"#)),
            2 => Answer::new(404, &[("x-echo", CANARY)], echo),
            3 => Answer::new(301, &[("location", &format!("https://{CANARY}.example.com/{CANARY}"))], ""),
            4 => Answer::json(format!(r#"[{{"name":"a..{CANARY}"}}]"#)),
            5 => Answer::new(200, &[("link", &link)], "[]"),
            6 => Answer::new(200, &[("link", &format!("<{CANARY}"))], "[]"),
            _ => Answer::json(format!("{{\"{CANARY}")),
        }
    })
    .await;
    let gitlab = gitlab(&server).await;
    for _ in 0..8 {
        let fault = gitlab.list_tags().await.unwrap_err();
        let shown = format!("{fault} {fault:?}");
        assert!(!shown.to_lowercase().contains("canary"), "{shown}");
    }
    assert!(server.seen().iter().all(|seen| seen.head.contains(CANARY)));
    let shown = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(shown.contains("Answered.") && !shown.to_lowercase().contains("canary"), "{shown}");
}

// ---- GitLab ----

fn tag_json(name: &str) -> String {
    tag_with(name, "null")
}

fn tag_with(name: &str, message: &str) -> String {
    format!(r#"{{"name":"{name}","message":{message},"commit":{{"id":"{COMMIT}"}},"release":null,"protected":false}}"#)
}

/// A tag whose name ends in `-long` has a message of a mebibyte.
fn page_json(names: &[String]) -> String {
    let long = format!("\"{}\"", "x".repeat(1024 * 1024));
    let tag = |name: &String| tag_with(name, if name.ends_with("-long") { &long } else { "null" });
    format!("[{}]", names.iter().map(tag).collect::<Vec<_>>().join(","))
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|at| format!("v{at:05}")).collect()
}

/// Keyset paging as GitLab does it: the next page begins after the tag that the token names.
fn keyset(all: &[String], seen: &Seen) -> Answer {
    let from = match seen.query("page_token") {
        None => 0,
        Some(token) => match all.iter().position(|name| *name == token) {
            Some(at) => at + 1,
            None => {
                let words = format!(r#"{{"message":"Invalid page token: refs/tags/{token}"}}"#);
                return Answer::new(422, &[], words);
            }
        },
    };
    let size = seen.page_size();
    let page = &all[from..all.len().min(from + size)];
    let mut headers = vec![];
    let link;
    if page.len() == size {
        let host = seen.head.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
        link = format!(
            "<http://{host}/forge/api/v4/projects/infra%2Fcore/repository/tags?pagination=keyset&page_token={}>; rel=\"next\"",
            page[size - 1]
        );
        headers.push(("link", link.as_str()));
    }
    Answer::new(200, &headers, page_json(page))
}

/// Offset paging, with the headers that `headers` makes of page, total and whether there is more.
fn offset(all: &[String], seen: &Seen, headers: impl Fn(usize, usize, bool) -> Vec<(&'static str, String)>) -> Answer {
    let page: usize = seen.query("page").map_or(1, |page| page.parse().unwrap());
    let from = all.len().min((page - 1) * seen.page_size());
    let to = all.len().min(from + seen.page_size());
    let headers = headers(page, all.len(), to < all.len());
    let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    Answer::new(200, &headers, page_json(&all[from..to]))
}

fn listed(snapshot: &RemoteSnapshot) -> Vec<String> {
    snapshot.tags().iter().map(|tag| tag.name.to_string()).collect()
}

#[tokio::test]
async fn a_keyset_listing_takes_a_request_per_hundred() {
    for (count, requests) in [(0, 1), (1, 1), (99, 1), (100, 2), (2400, 25), (2450, 25)] {
        let all = names(count);
        let server = Server::start({
            let all = all.clone();
            move |_, seen| keyset(&all, seen)
        })
        .await;
        let transport = transport(HttpSettings::default());
        let snapshot = gitlab_with(&server, &transport).await.list_tags().await.unwrap();
        assert_eq!(listed(&snapshot), all);
        assert_eq!(snapshot.end(), End::NoNextPage);
        assert_eq!((server.count(), transport.requests()), (requests, requests as u64));
        let first = &server.seen()[0].target;
        let expected =
            "/forge/api/v4/projects/infra%2Fcore/repository/tags?per_page=100&order_by=name&sort=asc&pagination=keyset";
        assert_eq!(first, expected);
    }
}

#[tokio::test]
async fn a_deleted_page_token_begins_the_listing_again() {
    let all = Arc::new(Mutex::new(names(250)));
    let server = Server::start(move |at, seen| {
        let answer = keyset(&all.lock().unwrap(), seen);
        if at == 0 {
            all.lock().unwrap().remove(99);
        }
        answer
    })
    .await;
    let snapshot = gitlab(&server).await.list_tags().await.unwrap();
    assert_eq!((snapshot.tags().len(), server.count()), (249, 5));
    assert!(snapshot.get(&name("v00099")).is_none());

    // For ever, it is a fault.
    let server = Server::start(move |_, seen| {
        let all = names(250);
        keyset(if seen.query("page_token").is_some() { &all[..10] } else { &all }, seen)
    })
    .await;
    let fault = gitlab(&server).await.list_tags().await.unwrap_err();
    assert!(fault.kind == FaultKind::Unreadable && fault.message.contains("Invalid page token"), "{fault}");
    assert_eq!(server.count(), 6);
}

#[tokio::test]
async fn servers_without_keyset_paging_are_read_to_the_end() {
    type Headers = fn(usize, usize, bool) -> Vec<(&'static str, String)>;
    let full: Headers = |page, total, more| {
        let next = if more { (page + 1).to_string() } else { String::new() };
        vec![("x-page", page.to_string()), ("x-next-page", next), ("x-total", total.to_string())]
    };
    // The first page always claims a next one.
    let eager: Headers = |page, total, more| {
        let next = if more || page == 1 { (page + 1).to_string() } else { String::new() };
        vec![("x-next-page", next), ("x-total", total.to_string())]
    };
    let link: Headers = |page, total, more| match more {
        true => {
            vec![("link", format!("<?page={}&per_page=100>; rel=\"next\"", page + 1)), ("x-total", total.to_string())]
        }
        false => vec![("x-total", total.to_string())],
    };
    let bare: Headers = |_, _, _| vec![];
    // A header that points at the page itself.
    let circle: Headers = |page, total, _| vec![("x-next-page", page.to_string()), ("x-total", total.to_string())];
    for (case, headers, count, requests) in [
        // Where there are several pages, two readings have to agree.
        ("full", full, 250, 6),
        ("full", full, 200, 4),
        ("full", full, 7, 1),
        ("eager", eager, 7, 1),
        ("eager", eager, 100, 4),
        ("eager", eager, 250, 6),
        ("link", link, 250, 6),
        ("bare", bare, 250, 6),
        ("bare", bare, 200, 6),
        ("bare", bare, 7, 1),
        ("circle", circle, 250, 6),
    ] {
        let server = Server::start(move |_, seen| offset(&names(count), seen, headers)).await;
        let snapshot = gitlab(&server).await.list_tags().await.unwrap();
        assert_eq!((listed(&snapshot), server.count()), (names(count), requests), "{case} {count}");
    }
}

#[tokio::test]
async fn pages_that_shift_are_read_again() {
    // With a total on every page: a deletion after the first page shifts the second.
    let with_total = |_: usize, total: usize, _: bool| vec![("x-total", total.to_string())];
    let without = |_: usize, _: usize, _: bool| vec![];
    for deleted in [true, false] {
        for totals in [true, false] {
            let all = Arc::new(Mutex::new(names(350)));
            let state = Arc::clone(&all);
            let server = Server::start(move |at, seen| {
                let mut all = state.lock().unwrap();
                let answer = if totals { offset(&all, seen, with_total) } else { offset(&all, seen, without) };
                match (at, deleted) {
                    (0, true) => drop(all.remove(50)),
                    (0, false) => all.insert(50, "v00049-new".into()),
                    _ => {}
                }
                answer
            })
            .await;
            let snapshot = gitlab(&server).await.list_tags().await.unwrap();
            assert_eq!(listed(&snapshot), *all.lock().unwrap(), "deleted {deleted}, totals {totals}");
        }
    }
}

#[tokio::test]
async fn a_page_too_large_for_one_answer_is_read_in_parts() {
    // Eleven long messages on the second page.
    let mut all = names(240);
    all.iter_mut().skip(110).step_by(9).take(11).for_each(|name| name.push_str("-long"));
    for by_name in [true, false] {
        let server = Server::start({
            let all = all.clone();
            move |_, seen| if by_name { keyset(&all, seen) } else { offset(&all, seen, |_, _, _| vec![]) }
        })
        .await;
        let snapshot = gitlab(&server).await.list_tags().await.unwrap();
        assert_eq!(listed(&snapshot), all);
        let sizes: Vec<usize> = server.seen().iter().map(Seen::page_size).collect();
        let expected: &[usize] = match by_name {
            true => &[100, 100, 50, 100],
            // Page numbers count pages of one size, so a smaller size begins again; and all of it is read twice.
            false => &[100, 100, 50, 50, 50, 50, 50, 100, 100, 50, 50, 50, 50, 50],
        };
        assert_eq!(sizes, expected);
    }
    // There is nothing smaller than one tag.
    let server = Server::start(|_, _| Answer::json(" ".repeat(11 * 1024 * 1024))).await;
    let fault = gitlab(&server).await.list_tags().await.unwrap_err();
    assert!(fault.kind == FaultKind::Unreadable && fault.message.contains("more than 10485760 bytes"), "{fault}");
    assert_eq!(server.count(), 7);
}

#[tokio::test]
async fn a_listing_that_cannot_be_trusted_is_a_fault() {
    let refused = |headers: &'static [(&'static str, &'static str)], body: String| async move {
        let server = Server::start(move |_, _| Answer::new(200, headers, &body)).await;
        let fault = gitlab(&server).await.list_tags().await.unwrap_err();
        assert_eq!(fault.kind, FaultKind::Unreadable, "{fault}");
        fault.message
    };
    let page = page_json(&names(100));
    let elsewhere = &[("link", "<https://evil.example.com/forge/api/v4/x?page_token=v1>; rel=\"next\"")];
    assert!(refused(elsewhere, page.clone()).await.contains("refused to follow"));
    let outside = &[("link", "</other?page_token=v1>; rel=\"next\"")];
    assert!(refused(outside, page.clone()).await.contains("refused to follow"));
    // The same page again and again: by token, and by offset.
    let circle = &[("link", "<?page_token=v00099>; rel=\"next\"")];
    assert!(refused(circle, page.clone()).await.contains("names do not continue"));
    let empty_circle = &[("link", "<?page_token=v00099>; rel=\"next\"")];
    assert!(refused(empty_circle, "[]".into()).await.contains("circle"));
    assert!(refused(&[], page).await.contains("twice"));
    assert!(refused(&[("x-total", "10")], page_json(&names(3))).await.contains("promised 10"));
    assert!(refused(&[], r#"[{"name":"a..b\u001b[31m"}]"#.into()).await.contains("impossible tag"));
    assert!(refused(&[], page_json(&names(101))).await.contains("more than 100 tags"));
    assert!(refused(&[], page_json(&["v".repeat(4097)])).await.contains("more than 4096 bytes"));
    assert!(refused(&[], "{}".into()).await.contains("not a list of tags"));
    assert!(refused(&[], "null".into()).await.contains("not a list of tags"));
}

#[tokio::test]
async fn only_a_missing_tag_is_absent() {
    let answer = |status: u16, body: &'static str| async move {
        let server = Server::start(move |_, _| Answer::new(status, &[], body)).await;
        gitlab(&server).await.get_tag(&name("v1")).await
    };
    assert_eq!(answer(404, r#"{"message":"404 Tag Not Found"}"#).await.unwrap(), None);
    for (status, body, kind, hint) in [
        (404, r#"{"message":"404 Project Not Found"}"#, FaultKind::NotFound, "member"),
        (404, r#"{"error":"404 Not Found"}"#, FaultKind::NotFound, "%2F"),
        (404, "", FaultKind::NotFound, "member"),
        (401, r#"{"message":"401 Unauthorized"}"#, FaultKind::Unauthorized, "expired"),
        (403, r#"{"message":"403 Forbidden"}"#, FaultKind::Forbidden, "role"),
        (403, r#"{"error":"insufficient_scope","scope":"api read_api"}"#, FaultKind::Forbidden, "api read_api"),
        (301, "", FaultKind::Unreadable, "moved"),
    ] {
        let fault = answer(status, body).await.unwrap_err();
        assert_eq!(fault.kind, kind, "{fault}");
        assert!(fault.hint.as_ref().unwrap().contains(hint), "{fault:?}");
    }
    let tag = answer(200, tag_json("v1").leak()).await.unwrap().unwrap();
    assert_eq!(tag.value, Ok(Value { target: target(), annotation: Annotation::Lightweight }));
    assert_eq!(tag.attachment, None);
    assert!(answer(200, tag_json("v2").leak()).await.unwrap_err().message.contains("another tag"));
    assert_eq!(answer(203, tag_json("v1").leak()).await.unwrap_err().kind, FaultKind::Unreadable);
    let hidden = answer(200, r#"{"name":"v1"}"#).await.unwrap().unwrap();
    assert_eq!((hidden.attachment, hidden.value.is_err()), (Some(Attachment::Hidden), true));
}

#[tokio::test]
async fn writes_say_what_is_meant() {
    let server = Server::start(|_, seen| match seen.method.as_str() {
        "POST" => Answer::new(201, &[], tag_json("rel/é")),
        _ => Answer::new(204, &[], ""),
    })
    .await;
    let transport = transport(HttpSettings::default());
    let gitlab = gitlab_with(&server, &transport).await;
    let value = Value::of(target());
    let new = NewTag { name: name("rel/é"), value: value.clone(), message: Some("First \"one\"\n".into()) };
    gitlab.create_tag(&new).await.unwrap();
    gitlab.create_tag(&NewTag { message: None, ..new.clone() }).await.unwrap();
    gitlab.delete_tag(&name("rel/é"), &value).await.unwrap();
    assert_eq!(gitlab.move_tag(&name("x"), &value, &new).await.unwrap_err().kind, FaultKind::Unsupported);
    let seen = server.seen();
    let tags = "/forge/api/v4/projects/infra%2Fcore/repository/tags";
    assert_eq!(
        seen.iter().map(|seen| seen.target.clone()).collect::<Vec<_>>(),
        [tags.to_owned(), tags.to_owned(), format!("{tags}/rel%2F%C3%A9")]
    );
    assert_eq!(seen[0].body, format!(r#"{{"tag_name":"rel/é","ref":"{COMMIT}","message":"First \"one\"\n"}}"#));
    assert_eq!(seen[1].body, format!(r#"{{"tag_name":"rel/é","ref":"{COMMIT}"}}"#));
    assert_eq!((seen[2].method.as_str(), transport.requests()), ("DELETE", 3));
    let fault = gitlab.create_tag(&NewTag { name: TagName::new(b"\xff").unwrap(), ..new.clone() }).await.unwrap_err();
    assert_eq!((fault.kind, transport.requests()), (FaultKind::NotSent, 3));
    // The answer is about another tag than the one asked for.
    let fault = gitlab.create_tag(&NewTag { name: name("v9"), ..new }).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Ambiguous);
}

#[tokio::test]
async fn refused_writes_keep_the_servers_words() {
    let new = NewTag { name: name("v1"), value: Value::of(target()), message: None };
    for (status, body, kind, words) in [
        (400, r#"{"message":"Tag v1 already exists"}"#, FaultKind::Rejected, "already exists"),
        (405, r#"{"message":["no"]}"#, FaultKind::Rejected, ": no"),
        (400, r#"{"message":"Target 2695 is invalid"}"#, FaultKind::Rejected, "is invalid"),
        (403, r#"{"message":"403 Forbidden"}"#, FaultKind::Forbidden, "403 Forbidden"),
        (500, r#"{"message":"500 Internal Server Error"}"#, FaultKind::Ambiguous, "500"),
        (
            201,
            r#"{"name":"v1","commit":{"id":"1111111111111111111111111111111111111111"}}"#,
            FaultKind::Ambiguous,
            "another",
        ),
        (201, "", FaultKind::Ambiguous, "it is empty"),
        (200, "<html>", FaultKind::Ambiguous, "HTML"),
        (202, "{}", FaultKind::Ambiguous, "unexpected status 202"),
    ] {
        let server = Server::start(move |_, _| Answer::new(status, &[], body)).await;
        let fault = gitlab(&server).await.create_tag(&new).await.unwrap_err();
        assert_eq!((fault.kind, server.count()), (kind, 1), "{fault}");
        assert!(fault.message.starts_with("could not create the tag: ") && fault.message.contains(words), "{fault}");
    }
}

#[tokio::test]
async fn a_target_is_there_or_not_or_unknown() {
    let answer = |status: u16, body: String| async move {
        let server = Server::start(move |_, _| Answer::new(status, &[], &body)).await;
        let answer = gitlab(&server).await.has_target(&target()).await;
        let asked = format!("/forge/api/v4/projects/infra%2Fcore/repository/commits/{COMMIT}?stats=false");
        assert_eq!(server.seen()[0].target, asked);
        answer.map_err(|fault| fault.kind)
    };
    assert_eq!(answer(200, format!(r#"{{"id":"{COMMIT}"}}"#)).await, Ok(true));
    assert_eq!(answer(404, r#"{"message":"404 Commit Not Found"}"#.into()).await, Ok(false));
    assert_eq!(answer(404, r#"{"message":"404 Project Not Found"}"#.into()).await, Err(FaultKind::NotFound));
    assert_eq!(answer(200, r#"{"id":"1"}"#.into()).await, Err(FaultKind::Unreadable));
}

#[tokio::test]
async fn the_identity_is_the_project_and_the_role() {
    let identity = |body: &'static str| async move {
        let server = Server::start(move |_, _| Answer::json(body)).await;
        let port = server.url.port().unwrap();
        let identity = gitlab(&server).await.identity().await?;
        assert_eq!(identity.space, format!("gitlab:127.0.0.1:{port}/forge#42"));
        Ok::<_, Fault>(identity.access)
    };
    let level = r#"{"id":42,"permissions":{"project_access":{"access_level":30},"group_access":null}}"#;
    assert_eq!(identity(level).await, Ok(Access::Write));
    let level = r#"{"id":42,"permissions":{"project_access":null,"group_access":{"access_level":20}}}"#;
    let Ok(Access::ReadOnly { found, needed }) = identity(level).await else { panic!() };
    assert_eq!((found.as_str(), needed.as_str()), ("the role Reporter", "the role Developer or higher"));
    let nobody = r#"{"id":42,"permissions":{"project_access":null,"group_access":null}}"#;
    assert_eq!(identity(nobody).await, Ok(Access::Untold));
    assert_eq!(identity(r#"{"id":42}"#).await, Ok(Access::Untold));
    assert!(matches!(identity(r#"{"id":42,"archived":true}"#).await, Ok(Access::ReadOnly { .. })));
    let fault = identity(r#"{"id":42,"repository_access_level":"disabled"}"#).await.unwrap_err();
    assert!(fault.message.contains("switched off"), "{fault}");
    assert_eq!(identity(r#"{"name":"x"}"#).await.unwrap_err().kind, FaultKind::Unreadable);

    let server = Server::start(|_, _| Answer::json(r#"{"id":42}"#)).await;
    let keys = Keys::new(server.url.clone(), "42", None).unwrap();
    let connection = Connection { transport: transport(HttpSettings::default()), compare_annotations: false };
    let identity = keys.connect(connection).await.unwrap().identity().await.unwrap();
    assert!(matches!(identity.access, Access::ReadOnly { found, .. } if found == "no token"));
    assert_eq!(server.seen()[0].target, "/api/v4/projects/42");
}
