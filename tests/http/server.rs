//! A server that answers byte for byte what a test says, and keeps what it was asked.

use std::io::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Barrier;
use url::Url;

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: String,
    /// Path and query, byte for byte.
    pub(crate) target: String,
    pub(crate) head: String,
    pub(crate) body: String,
    /// The body, byte for byte.
    pub(crate) raw: Vec<u8>,
}

impl Seen {
    /// How many tags a page is to have.
    pub(crate) fn page_size(&self) -> usize {
        self.query("per_page").unwrap().parse().unwrap()
    }

    /// A header, by its name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    pub(crate) fn query(&self, key: &str) -> Option<String> {
        let (_, query) = self.target.split_once('?')?;
        url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == key).map(|(_, value)| value.into_owned())
    }
}

/// What happens after the bytes of an answer.
#[derive(Clone, Copy)]
pub(crate) enum Then {
    Close,
    /// The connection stays open and silent.
    Hang,
    /// One more byte every 20 ms, for ever.
    Drip,
    /// The rest, after a while.
    Late(Duration, &'static str),
}

pub(crate) struct Answer {
    bytes: Vec<u8>,
    /// What it waits for before it is sent, one after the other.
    holds: Vec<Arc<Barrier>>,
    then: Then,
}

impl Answer {
    pub(crate) fn new(status: u16, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Self {
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

    pub(crate) fn json(body: impl AsRef<[u8]>) -> Self {
        Self::new(200, &[("content-type", "application/json")], body)
    }

    /// A head that promises more than comes.
    pub(crate) fn cut() -> Self {
        Self::new(200, &[("content-length", "100")], "[1,")
    }

    pub(crate) fn nothing(then: Then) -> Self {
        Self { bytes: Vec::new(), holds: Vec::new(), then }
    }

    pub(crate) fn again(&self) -> Self {
        Self { bytes: self.bytes.clone(), holds: self.holds.clone(), then: self.then }
    }

    pub(crate) fn then(self, then: Then) -> Self {
        Self { then, ..self }
    }

    pub(crate) fn held(self, holds: Vec<Arc<Barrier>>) -> Self {
        Self { holds, ..self }
    }
}

pub(crate) struct Server {
    pub(crate) url: Url,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    /// `answer` gets the number of earlier requests and the request.
    pub(crate) async fn start(answer: impl Fn(usize, &Seen) -> Answer + Send + Sync + 'static) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").await.unwrap(), answer)
    }

    pub(crate) fn on(listener: TcpListener, answer: impl Fn(usize, &Seen) -> Answer + Send + Sync + 'static) -> Self {
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

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn count(&self) -> usize {
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
        Then::Late(pause, rest) => {
            tokio::time::sleep(pause).await;
            // Whoever asked may have gone.
            let _gone = stream.write_all(rest.as_bytes()).await;
        }
        Then::Drip => {
            while stream.write_all(b" ").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

async fn read_request(stream: &mut TcpStream) -> Option<Seen> {
    let mut bytes: Vec<u8> = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
            let raw = &bytes[end + 4..];
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if raw.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                let mut words = head.split(' ');
                let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
                let body = String::from_utf8_lossy(raw).into_owned();
                return Some(Seen { method, target, head, body, raw: raw.to_vec() });
            }
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}
