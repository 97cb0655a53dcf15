//! A loopback HTTP server that answers from a handler and misbehaves on command.
//!
//! It runs on a thread of its own, so that a test can wait for a process that talks to it. [`Server::on`] programmes a
//! misbehaviour at any time: [`When`] says to which requests it happens, [`Effect`] what happens. Every request is
//! kept in a [`Record`].

use std::fmt;
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::TokioIo;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// No request of ours is larger; a client that sends more has a bug.
const REQUEST_LIMIT: usize = 16 << 20;

/// How long a stopping server waits for callbacks that are still running.
const STOP_WITHIN: Duration = Duration::from_secs(5);

/// One request as it arrived.
#[derive(Clone, Debug)]
pub struct Request {
    /// How many requests came before it.
    pub number: usize,
    /// `GET`, `POST`, …
    pub method: String,
    /// The path as it was sent: still encoded, not normalised.
    pub path: String,
    /// The path and query as they were sent.
    pub target: String,
    /// The query's pairs, decoded.
    pub query: Vec<(String, String)>,
    /// The headers; names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, whole.
    pub body: Bytes,
}

impl Request {
    async fn read(request: hyper::Request<Incoming>) -> io::Result<Self> {
        let (head, body) = request.into_parts();
        let body = Limited::new(body, REQUEST_LIMIT).collect().await.map_err(io::Error::other)?.to_bytes();
        let query = head.uri.query().unwrap_or_default();
        Ok(Self {
            number: 0,
            method: head.method.to_string(),
            path: head.uri.path().to_owned(),
            target: head.uri.path_and_query().map_or_else(String::new, ToString::to_string),
            query: url::form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
            headers: head
                .headers
                .iter()
                .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
                .collect(),
            body,
        })
    }

    /// A header's first value.
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }

    /// A query parameter's first value.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        find(&self.query, name)
    }

    /// Whether it carries a credential in any header that one of the fakes reads.
    pub fn is_authorized(&self) -> bool {
        ["authorization", "private-token", "job-token", "x-auth-token"].iter().any(|name| self.header(name).is_some())
    }
}

fn find<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

/// One answer.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// The headers; `Content-Length` is added unless the body is broken on purpose.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
}

impl Reply {
    /// A status and nothing else.
    pub fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Bytes::new() }
    }

    /// A JSON body.
    pub fn json(status: u16, body: &serde_json::Value) -> Self {
        Self::of_type(status, "application/json", body.to_string())
    }

    /// A plain-text body.
    pub fn text(status: u16, body: &str) -> Self {
        Self::of_type(status, "text/plain", body.to_owned())
    }

    /// The login page that a proxy shows instead of the API.
    pub fn html(status: u16) -> Self {
        Self::of_type(status, "text/html; charset=utf-8", "<!DOCTYPE html><title>Sign in</title>".to_owned())
    }

    /// The way to somewhere else.
    pub fn redirect(status: u16, location: &str) -> Self {
        Self::empty(status).header("Location", location)
    }

    /// 429 as a rate limit in front of an API answers it: plain text, even to a client that wants JSON.
    pub fn retry_later(seconds: u64) -> Self {
        Self::text(429, "Retry later").header("Retry-After", seconds)
    }

    /// 503 of an overloaded or stopping server.
    pub fn unavailable() -> Self {
        Self::text(503, "Service Unavailable")
    }

    /// A small gzip body of JSON white space that becomes `decoded` bytes.
    pub fn gzip_bomb(decoded: usize) -> Self {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        let block = [b' '; 64 << 10];
        let mut left = decoded;
        while left > 0 {
            let part = left.min(block.len());
            encoder.write_all(&block[..part]).expect("writing to memory does not fail");
            left -= part;
        }
        let body = encoder.finish().expect("writing to memory does not fail");
        Self {
            status: 200,
            headers: vec![
                ("Content-Type".into(), "application/json".into()),
                ("Content-Encoding".into(), "gzip".into()),
            ],
            body: body.into(),
        }
    }

    fn of_type(status: u16, content_type: &str, body: String) -> Self {
        Self { status, headers: vec![("Content-Type".into(), content_type.into())], body: body.into() }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl fmt::Display) -> Self {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }
}

/// What stands behind the server.
pub trait Handler: Send + Sync + 'static {
    /// Applies one request.
    fn answer(&self, request: &Request) -> Reply;

    /// What the record calls this request.
    fn kind(&self, request: &Request) -> String {
        request.method.clone()
    }
}

impl<F: Fn(&Request) -> Reply + Send + Sync + 'static> Handler for F {
    fn answer(&self, request: &Request) -> Reply {
        self(request)
    }
}

type Predicate = Box<dyn Fn(&Request) -> bool + Send + Sync>;

/// Which requests an effect meets: by default every one, for ever.
pub struct When {
    matches: Vec<Predicate>,
    skip: usize,
    times: Option<usize>,
}

impl When {
    /// Every request.
    pub fn any() -> Self {
        Self { matches: Vec::new(), skip: 0, times: None }
    }

    /// Requests with this method.
    pub fn method(method: &'static str) -> Self {
        Self::any().matching(move |request| request.method == method)
    }

    /// Only where the raw path contains this text.
    #[must_use]
    pub fn path(self, part: impl Into<String>) -> Self {
        let part = part.into();
        self.matching(move |request| request.path.contains(&part))
    }

    /// Only where the raw path ends with this text.
    #[must_use]
    pub fn path_end(self, end: impl Into<String>) -> Self {
        let end = end.into();
        self.matching(move |request| request.path.ends_with(&end))
    }

    /// Only where this holds.
    #[must_use]
    pub fn matching(mut self, matches: impl Fn(&Request) -> bool + Send + Sync + 'static) -> Self {
        self.matches.push(Box::new(matches));
        self
    }

    /// Lets the first `count` such requests pass.
    #[must_use]
    pub fn after(mut self, count: usize) -> Self {
        self.skip = count;
        self
    }

    /// Only `count` times.
    #[must_use]
    pub fn times(mut self, count: usize) -> Self {
        self.times = Some(count);
        self
    }

    /// Only once.
    #[must_use]
    pub fn once(self) -> Self {
        self.times(1)
    }

    /// Only the `n`-th such request, counted from 1.
    #[must_use]
    pub fn nth(self, n: usize) -> Self {
        self.after(n.saturating_sub(1)).once()
    }

    /// Whether it meets this request, and counts it.
    fn meets(&mut self, request: &Request) -> bool {
        if self.times == Some(0) || !self.matches.iter().all(|matches| matches(request)) {
            return false;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        self.times = self.times.map(|times| times - 1);
        true
    }
}

/// Runs beside the server's thread, so it may wait, ask the server, or end the process under test.
pub type Callback = Arc<dyn Fn(&Request) + Send + Sync>;

/// What happens to a request. Those above the line go together with others, of those below it the first one wins.
#[derive(Clone)]
pub enum Effect {
    /// Runs this before the request is applied.
    Before(Callback),
    /// Runs this after the request was applied and before it is answered.
    After(Callback),
    /// Thinks for so long before the request is applied.
    Delay(Duration),
    /// Waits before the request is applied until the gate opens.
    Hang(Gate),
    /// Applies the request and answers something made from the true reply.
    Rewrite(Arc<dyn Fn(Reply) -> Reply + Send + Sync>),

    // ---
    /// Answers this and does not apply the request.
    Answer(Reply),
    /// Applies the request and answers this.
    AnswerAfter(Reply),
    /// Breaks the connection; the request is not applied.
    DropBefore,
    /// Applies the request and breaks the connection: a lost reply.
    DropAfter,
    /// Applies the request, promises more and breaks the connection after so many bytes of the body.
    Cut(usize),
    /// Applies the request and sends one byte of the body per interval.
    Trickle(Duration),
    /// Does not apply the request and sends a body of JSON white space without an end.
    Endless,
}

impl Effect {
    /// [`Effect::Before`] from a closure.
    pub fn before(callback: impl Fn(&Request) + Send + Sync + 'static) -> Self {
        Self::Before(Arc::new(callback))
    }

    /// [`Effect::After`] from a closure.
    pub fn after(callback: impl Fn(&Request) + Send + Sync + 'static) -> Self {
        Self::After(Arc::new(callback))
    }

    /// [`Effect::Rewrite`] from a closure.
    pub fn rewrite(rewrite: impl Fn(Reply) -> Reply + Send + Sync + 'static) -> Self {
        Self::Rewrite(Arc::new(rewrite))
    }

    fn is_final(&self) -> bool {
        match self {
            Self::Before(_) | Self::After(_) | Self::Delay(_) | Self::Hang(_) | Self::Rewrite(_) => false,
            Self::Answer(_)
            | Self::AnswerAfter(_)
            | Self::DropBefore
            | Self::DropAfter
            | Self::Cut(_)
            | Self::Trickle(_)
            | Self::Endless => true,
        }
    }
}

/// Where requests wait until the test lets them go on.
#[derive(Clone, Debug)]
pub struct Gate(Arc<watch::Sender<bool>>);

impl Gate {
    /// A closed gate.
    pub fn closed() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    /// Lets everybody pass from now on.
    pub fn open(&self) {
        self.0.send_replace(true);
    }

    /// Waits until it is open.
    pub async fn passed(&self) {
        // The sender lives in `self`, so the channel cannot close meanwhile.
        self.0.subscribe().wait_for(|open| *open).await.expect("the gate is there");
    }
}

/// One request in the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// How many requests came before it, forgotten ones included.
    pub number: usize,
    /// What the handler calls this request.
    pub kind: String,
    /// `GET`, `POST`, …
    pub method: String,
    /// Path and query as they were sent.
    pub target: String,
    /// Whether it carried a credential.
    pub authorized: bool,
    /// How many bytes its body had.
    pub length: usize,
    /// The answer's status; `None` while there is none, and for ever when the connection was broken instead.
    pub status: Option<u16>,
}

/// What the server has seen.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// Every request in the order of arrival.
    pub requests: Vec<Seen>,
    /// Requests that are not answered yet.
    pub in_flight: usize,
    /// The most requests that waited for an answer at once.
    pub most_in_flight: usize,
    /// Connections that were opened.
    pub connections: usize,
}

impl Record {
    /// How many requests there were.
    pub fn total(&self) -> usize {
        self.requests.len()
    }

    /// How many of this kind.
    pub fn count(&self, kind: &str) -> usize {
        self.requests.iter().filter(|seen| seen.kind == kind).count()
    }
}

/// The server; it stops when it goes out of scope.
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    handler: Box<dyn Handler>,
    rules: Mutex<Vec<(When, Effect)>>,
    arrivals: AtomicUsize,
    record: Mutex<Record>,
    changed: Condvar,
}

/// Takes a lock also after a panic elsewhere: the panic fails the test anyway, and its own message is the better one.
pub(super) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Server {
    /// Starts on a free port of the loopback interface.
    pub fn start(handler: impl Handler) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a loopback port is free");
        listener.set_nonblocking(true).expect("a socket can be non-blocking");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared {
            handler: Box::new(handler),
            rules: Mutex::default(),
            arrivals: AtomicUsize::new(0),
            record: Mutex::default(),
            changed: Condvar::new(),
        });
        let stop = CancellationToken::new();
        let thread = std::thread::Builder::new()
            .name("fake server".into())
            .spawn({
                let (shared, stop) = (shared.clone(), stop.clone());
                move || run(listener, &shared, &stop)
            })
            .expect("a thread can start");
        Self { address, shared, stop, thread: Some(thread) }
    }

    /// `http://127.0.0.1:PORT`
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Programmes an effect, behind those that are there already.
    pub fn on(&self, when: When, effect: Effect) {
        lock(&self.shared.rules).push((when, effect));
    }

    /// Forgets all effects.
    pub fn behave(&self) {
        lock(&self.shared.rules).clear();
    }

    /// What was seen so far.
    pub fn record(&self) -> Record {
        lock(&self.shared.record).clone()
    }

    /// Starts a new record; requests that are still in flight stay counted as such.
    pub fn forget(&self) {
        let mut record = lock(&self.shared.record);
        let in_flight = record.in_flight;
        *record = Record { in_flight, most_in_flight: in_flight, ..Record::default() };
    }

    /// Waits until the record is as wanted; whether that came within the time.
    pub fn wait_until(&self, within: Duration, wanted: impl Fn(&Record) -> bool) -> bool {
        let deadline = Instant::now() + within;
        let mut record = lock(&self.shared.record);
        while !wanted(&record) {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else { return false };
            record = self.shared.changed.wait_timeout(record, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            // A panic in there has been printed, and has broken the connection that the test looks at.
            let _printed = thread.join();
        }
    }
}

type Body = UnsyncBoxBody<Bytes, io::Error>;

fn run(listener: TcpListener, shared: &Arc<Shared>, stop: &CancellationToken) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can start on this thread");
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener).expect("the runtime takes the socket");
        let accept = async {
            loop {
                // A client that is gone before it was accepted is no reason to stop.
                let Ok((stream, _)) = listener.accept().await else { continue };
                shared.note(|record| record.connections += 1);
                tokio::spawn(serve(stream, shared.clone()));
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = accept => {}
        }
    });
    runtime.shutdown_timeout(STOP_WITHIN);
}

async fn serve(stream: tokio::net::TcpStream, shared: Arc<Shared>) {
    let service = hyper::service::service_fn(|request| respond(request, shared.clone()));
    // Without this, small answers wait for the client's acknowledgement and measurements lie.
    let quick = stream.set_nodelay(true);
    let served = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    // Broken connections are this server's purpose; the client is the one to complain.
    drop((quick, served));
}

/// Applies what is programmed for one request. An error breaks the connection without an answer.
async fn respond(request: hyper::Request<Incoming>, shared: Arc<Shared>) -> io::Result<hyper::Response<Body>> {
    let mut request = Request::read(request).await?;
    request.number = shared.arrivals.fetch_add(1, Ordering::Relaxed);
    let request = Arc::new(request);
    let flight = Flight::begin(&shared, &request);
    let effects = shared.effects_for(&request);

    for effect in &effects {
        match effect {
            Effect::Before(callback) => call(callback, &request).await,
            Effect::Delay(time) => tokio::time::sleep(*time).await,
            Effect::Hang(gate) => gate.passed().await,
            _ => {}
        }
    }
    let last = effects.iter().find(|effect| effect.is_final());
    let mut reply = match last {
        Some(Effect::DropBefore) => return Err(broken()),
        Some(Effect::Endless) => {
            flight.answered(200);
            return Ok(response(&Reply::empty(200).header("Content-Type", "application/json"), endless()));
        }
        Some(Effect::Answer(reply)) => reply.clone(),
        _ => shared.handler.answer(&request),
    };
    for effect in &effects {
        match effect {
            Effect::After(callback) => call(callback, &request).await,
            Effect::Rewrite(rewrite) => reply = rewrite(reply),
            _ => {}
        }
    }
    let reply = match last {
        Some(Effect::DropAfter) => return Err(broken()),
        Some(Effect::AnswerAfter(instead)) => instead.clone(),
        _ => reply,
    };
    flight.answered(reply.status);
    Ok(match last {
        Some(Effect::Cut(after)) => {
            let promised = reply.body.len().max(after + 1);
            let body = cut(&reply.body, *after);
            response(&reply.header("Content-Length", promised), body)
        }
        Some(Effect::Trickle(interval)) => response(&reply, trickle(reply.body.clone(), *interval)),
        _ => response(&reply, whole(reply.body.clone())),
    })
}

/// Off the server's thread: a callback may wait for the process that it talks to, and that process for this server.
async fn call(callback: &Callback, request: &Arc<Request>) {
    let (callback, request) = (callback.clone(), request.clone());
    tokio::task::spawn_blocking(move || callback(&request)).await.expect("a callback does not panic");
}

fn broken() -> io::Error {
    io::Error::other("broken on purpose")
}

fn response(reply: &Reply, body: Body) -> hyper::Response<Body> {
    let mut response = hyper::Response::builder().status(reply.status);
    for (name, value) in &reply.headers {
        response = response.header(name, value);
    }
    response.body(body).expect("a test's headers are headers")
}

fn whole(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

fn cut(bytes: &Bytes, after: usize) -> Body {
    let sent = bytes.slice(..after.min(bytes.len()));
    let sent = stream::once(async { Ok(Frame::data(sent)) });
    let end = stream::once(async {
        // The connection writes out what it has when the body makes it wait; an error would discard that.
        tokio::task::yield_now().await;
        Err(broken())
    });
    StreamBody::new(sent.chain(end)).boxed_unsync()
}

fn trickle(bytes: Bytes, interval: Duration) -> Body {
    let bytes = stream::unfold(bytes, move |mut left| async move {
        if left.is_empty() {
            return None;
        }
        tokio::time::sleep(interval).await;
        Some((Ok(Frame::data(left.split_to(1))), left))
    });
    StreamBody::new(bytes).boxed_unsync()
}

fn endless() -> Body {
    StreamBody::new(stream::repeat_with(|| Ok(Frame::data(Bytes::from_static(&[b' '; 16 << 10]))))).boxed_unsync()
}

impl Shared {
    /// The effects for this request in the order of their programming; a second final one waits for its turn.
    fn effects_for(&self, request: &Request) -> Vec<Effect> {
        let mut effects: Vec<Effect> = Vec::new();
        for (when, effect) in lock(&self.rules).iter_mut() {
            let decided = effect.is_final() && effects.iter().any(Effect::is_final);
            if !decided && when.meets(request) {
                effects.push(effect.clone());
            }
        }
        effects
    }

    fn note(&self, change: impl FnOnce(&mut Record)) {
        change(&mut lock(&self.record));
        self.changed.notify_all();
    }
}

/// One request under way; it also ends when the client is gone.
struct Flight<'a> {
    shared: &'a Shared,
    number: usize,
}

impl<'a> Flight<'a> {
    fn begin(shared: &'a Shared, request: &Request) -> Self {
        let seen = Seen {
            number: request.number,
            kind: shared.handler.kind(request),
            method: request.method.clone(),
            target: request.target.clone(),
            authorized: request.is_authorized(),
            length: request.body.len(),
            status: None,
        };
        shared.note(|record| {
            record.requests.push(seen);
            record.in_flight += 1;
            record.most_in_flight = record.most_in_flight.max(record.in_flight);
        });
        Self { shared, number: request.number }
    }

    fn answered(&self, status: u16) {
        self.shared.note(|record| {
            if let Ok(at) = record.requests.binary_search_by_key(&self.number, |seen| seen.number) {
                record.requests[at].status = Some(status);
            }
        });
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        self.shared.note(|record| record.in_flight -= 1);
    }
}
