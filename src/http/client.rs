//! Requests to one API: built, let through the gate, sent, and sent again where that is safe.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use jiff::Timestamp;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, StatusCode};
use serde::Serialize;
use tokio::time::Instant;
use url::Url;

use super::circuit::{Cause, Sign};
use super::credentials::{Ask, unauthorized};
use super::gate::{Closed, Gate};
use super::pace::{Turn, WriteLimits};
use super::reply::{Question, asked, time_of};
use super::retry::{self, Effect};
use super::trouble::Trouble;
use super::{Authorization, Credential, Fault, FaultKind, Reply, Traffic, Transport, path};

/// The most that one answer may bring unless a request says otherwise, counted after decompression.
const BODY_LIMIT: usize = 10 * 1024 * 1024;

/// The longest silence within a body.
const IDLE: Duration = Duration::from_secs(15);

/// Takes the body of a success as it arrives, so that it is never held as a whole.
pub trait Sink: Send + Sync {
    /// A body begins. What an earlier try brought does not count any more.
    fn begin(&mut self);

    /// The next part of it; `false` when no more is wanted, and then the rest is not read.
    fn take(&mut self, part: &[u8]) -> bool;
}

/// One API under one base URL with one credential. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    gate: Arc<Gate>,
    transport: Transport,
    base: Url,
    credential: Credential,
}

impl Client {
    /// Makes the client; sends nothing. `base` may carry a path prefix, which every request keeps.
    pub async fn new(transport: &Transport, mut base: Url, credential: impl Into<Credential>) -> Result<Self, Fault> {
        let credential = credential.into();
        if !base.has_host() {
            return Err(Fault::new(FaultKind::NotSent, "the address names no host"));
        }
        if base.password().is_some() || !base.username().is_empty() {
            return Err(Fault::new(FaultKind::NotSent, "the address must not carry a user name or a password"));
        }
        base.set_query(None);
        base.set_fragment(None);
        let (http, gate) = transport.open(&base, credential.fingerprint()).await?;
        Ok(Self { http, gate, transport: transport.clone(), base, credential })
    }

    /// The same, with another base: for an API that moved. `None` when that is on another origin, where the credential must
    /// not go.
    pub fn moved_to(&self, base: Url) -> Option<Self> {
        (base.origin() == self.base.origin()).then(|| Self { base, ..self.clone() })
    }

    /// A `GET`. `purpose` completes "could not …" in errors; each segment is one part of the path, as plain text.
    pub fn get<'a>(&'a self, purpose: &'static str, segments: &'a [&'a str]) -> Request<'a> {
        self.request(Method::GET, purpose, segments)
    }

    /// A `POST`; see [`Client::get`].
    pub fn post<'a>(&'a self, purpose: &'static str, segments: &'a [&'a str]) -> Request<'a> {
        self.request(Method::POST, purpose, segments)
    }

    /// A `DELETE`; see [`Client::get`].
    pub fn delete<'a>(&'a self, purpose: &'static str, segments: &'a [&'a str]) -> Request<'a> {
        self.request(Method::DELETE, purpose, segments)
    }

    /// A `PUT`; see [`Client::get`].
    pub fn put<'a>(&'a self, purpose: &'static str, segments: &'a [&'a str]) -> Request<'a> {
        self.request(Method::PUT, purpose, segments)
    }

    /// A `PATCH`; see [`Client::get`].
    pub fn patch<'a>(&'a self, purpose: &'static str, segments: &'a [&'a str]) -> Request<'a> {
        self.request(Method::PATCH, purpose, segments)
    }

    /// A `HEAD`, whose answer has headers and no body; see [`Client::get`].
    pub fn head<'a>(&'a self, purpose: &'static str, segments: &'a [&'a str]) -> Request<'a> {
        self.request(Method::HEAD, purpose, segments)
    }

    /// A `POST` to this very address of the client's own server.
    pub fn post_at(&self, purpose: &'static str, url: Url) -> Request<'_> {
        Request { url: Some(url), ..self.request(Method::POST, purpose, &[]) }
    }

    /// A `GET` of this very address of the client's own server.
    pub fn get_at(&self, purpose: &'static str, url: Url) -> Request<'_> {
        Request { url: Some(url), ..self.request(Method::GET, purpose, &[]) }
    }

    pub(super) fn transport(&self) -> &Transport {
        &self.transport
    }

    pub(super) fn base(&self) -> &Url {
        &self.base
    }

    pub(super) fn credential(&self) -> &Credential {
        &self.credential
    }

    fn request<'a>(&'a self, method: Method, purpose: &'static str, segments: &'a [&'a str]) -> Request<'a> {
        Request {
            client: self,
            method,
            purpose,
            segments,
            url: None,
            query: Vec::new(),
            accept: "application/json",
            headers: Vec::new(),
            effect: None,
            body: None,
            limit: BODY_LIMIT,
            turn: None,
        }
    }

    /// Sends until there is an answer to keep, or no more reason to try. The outer error is as in
    /// [`attempt`](Self::attempt), or a credential that cannot be obtained.
    async fn send(&self, call: &mut Call<'_>) -> Result<Result<Reply, Trouble>, Fault> {
        let mut pauses = retry::pauses();
        let mut paused = Duration::ZERO;
        let mut renewed = None;
        let mut may_renew = self.credential.is_renewable();
        loop {
            let outcome = self.attempt(call, renewed.take(), !may_renew).await?;
            if let Ok(reply) = &outcome
                && reply.status == StatusCode::UNAUTHORIZED
                && may_renew
            {
                // Safe for writes: a server that does not know who asks has done nothing.
                may_renew = false;
                let used = &call.question.authorization;
                let renewal = self.credential.renew(&call.ask(), used, reply).await;
                renewed = renewal.map_err(|fault| unauthorized(call.question.purpose, fault))?;
                if renewed.is_some() {
                    continue;
                }
                if self.refuses_credential(call, reply) && self.gate.refused(|| answered(reply)) {
                    self.left_alone(call);
                }
            }
            let effect = call.question.effect;
            let (again, asked) = match &outcome {
                Ok(reply) => {
                    let meaning = retry::meaning(effect, reply.status(), reply.wait.is_some());
                    (meaning.retry, reply.wait.unwrap_or_default())
                }
                Err(trouble) => (trouble.retry(effect), Duration::ZERO),
            };
            let pause = if again { pauses.next().map(|pause| pause.max(asked)) } else { None };
            match pause {
                Some(pause)
                    if pause <= retry::longest_pause(effect)
                        && paused + pause <= retry::BUDGET
                        && self.gate.may_repeat(!asked.is_zero()) =>
                {
                    tokio::time::sleep(pause).await;
                    paused += pause;
                    self.transport.tally(Traffic::repeated);
                }
                Some(_) | None => return Ok(outcome),
            }
        }
    }

    /// Whether an answer speaks against the credential, and not only against one that was sent instead, or for one thing.
    fn refuses_credential(&self, call: &Call<'_>, reply: &Reply) -> bool {
        reply.refuses_credential() && self.credential.is_behind(&call.question.authorization)
    }

    /// Logs that nobody goes there for a while.
    fn left_alone(&self, call: &Call<'_>) {
        if let Some(closed) = self.gate.closed() {
            let fault = closed_fault(&call.question, &closed);
            tracing::warn!(host = call.question.host(), reason = fault.message, "A server is left alone for a while.");
        }
    }

    /// Nobody who uses this credential goes to the server for this long: it asked for that in a way of its own. Gives the
    /// fault that says until when.
    #[must_use]
    pub fn leave_alone(&self, wait: Duration, fault: Fault) -> Fault {
        self.gate.close_for(wait);
        Fault { message: fault.message + &asked(wait), ..fault }
    }

    /// Sends the writes of all who use this credential there at this pace.
    #[must_use]
    pub fn pacing_writes(self, limits: WriteLimits) -> Self {
        self.gate.pace_writes(limits);
        self
    }

    /// The turn of a request that can change something, where writes take turns. Also one that is as good as a read goes into
    /// the server's count.
    async fn turn(&self, call: &mut Call<'_>) -> Result<Option<Turn>, Fault> {
        if matches!(call.method, Method::GET | Method::HEAD) {
            return Ok(None);
        }
        match call.turn.take() {
            Some(turn) => Ok(Some(turn)),
            None => self.wait_for_turn(call.question.purpose).await,
        }
    }

    /// Waits until it is this write's turn, where writes take turns: whoever has to look before a write looks after this, and
    /// gives the turn to the [`Request`].
    pub async fn wait_for_turn(&self, purpose: &'static str) -> Result<Option<Turn>, Fault> {
        let Some(pace) = self.gate.pace_of_writes() else { return Ok(None) };
        pace.turn().await.map(Some).map_err(|until| {
            let host = self.base.host_str().unwrap_or_default();
            let message = format!(
                "could not {purpose}: it would be one write too many for {host}, which allows {} an hour; the next is due at {}",
                pace.per_hour(),
                time_of(until),
            );
            Fault::new(FaultKind::Throttled, message).hint("later passes go on with the rest")
        })
    }

    /// Sends once, with `renewed` or with what the credential gives. `last` is whether a 401 to it stands. The outer error
    /// is a gate that stays closed too long to wait for, or a credential that cannot be obtained: in both cases nothing
    /// was sent.
    async fn attempt(
        &self,
        call: &mut Call<'_>,
        renewed: Option<Authorization>,
        last: bool,
    ) -> Result<Result<Reply, Trouble>, Fault> {
        let _turn = self.turn(call).await?;
        let purpose = call.question.purpose;
        let given = async |call: &Call<'_>| {
            self.credential.authorize(&call.ask()).await.map_err(|fault| unauthorized(purpose, fault))
        };
        let authorization = match renewed {
            Some(renewed) => renewed,
            None => given(call).await?,
        };
        call.question.authorization = authorization;
        let enter =
            async |call: &Call<'_>| self.gate.enter().await.map_err(|closed| closed_fault(&call.question, &closed));
        let fresh = !call.question.authorization.is_stale();
        let mut slot = enter(call).await?;
        // The queue was long. To obtain another one takes turns, too, so this one goes to somebody else. Once: what
        // does not outlive a second queue is for the server to refuse.
        if fresh && call.question.authorization.is_stale() {
            drop(slot);
            call.question.authorization = given(call).await?;
            slot = enter(call).await?;
        }
        if let Some(signed) = self.credential.sign(&call.ask()).map_err(|fault| unauthorized(purpose, fault))? {
            call.question.authorization = signed;
        }
        let began = Instant::now();
        self.transport.count();
        let outcome = self.exchange(call).await;
        let (method, question) = (&call.method, &call.question);
        let elapsed_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        // An address may be a secret.
        let path = || question.quote(question.url.path().as_bytes());
        match &outcome {
            Ok(reply) => {
                tracing::debug!(%method, path = path(), status = reply.status(), elapsed_ms, "Answered.");
                self.transport.tally(|traffic| traffic.answered(reply.status(), &reply.headers));
                let is_throttled = reply.status == StatusCode::FORBIDDEN && reply.wait.is_some();
                if is_throttled
                    || matches!(reply.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE)
                {
                    slot.overloaded();
                    if let Some(wait) = reply.wait {
                        self.gate.close_for(wait);
                    }
                } else {
                    slot.accepted();
                    // Better to wait than to be refused, where the wait is short.
                    if let Some(wait) = retry::exhausted(&reply.headers, Timestamp::now())
                        && wait <= retry::CEILING
                    {
                        self.gate.close_for(wait);
                    }
                }
            }
            Err(trouble) => {
                self.transport.observe(|observed| observed.unanswered(trouble));
                self.transport.tally(Traffic::unanswered);
                let cause = question.quote(trouble.words(question.host()).0.as_bytes());
                tracing::debug!(%method, path = path(), elapsed_ms, cause, "Not answered.");
                if trouble.kind(question.effect) == FaultKind::NotSent {
                    self.transport.uncount();
                }
            }
        }
        let sign = match &outcome {
            Ok(reply) if reply.status == StatusCode::UNAUTHORIZED => {
                Some(if last && self.refuses_credential(call, reply) { Sign::Refused } else { Sign::Reached })
            }
            Ok(reply) => Some(retry::sign(reply.status(), reply.wait.is_some())),
            Err(trouble) => trouble.sign(),
        };
        let why = || match &outcome {
            Ok(reply) => answered(reply),
            Err(trouble) => question.quote(trouble.words(question.host()).0.as_bytes()),
        };
        if let Some(sign) = sign
            && slot.ended(sign, why)
        {
            self.left_alone(call);
        }
        Ok(outcome)
    }

    async fn exchange(&self, call: &mut Call<'_>) -> Result<Reply, Trouble> {
        let Call { method, question, headers, body, limit, sink, turn: _ } = call;
        let timeout = self.transport.settings.timeout;
        let trouble = |fault: reqwest::Error| Trouble::of(&fault, timeout);
        let mut request =
            self.http.request(method.clone(), question.url.clone()).timeout(timeout).headers(headers.clone());
        for (name, value) in question.authorization.headers() {
            request = request.header(name, value);
        }
        match body {
            Body::None => {}
            Body::Whole(bytes) => request = request.body(bytes.clone()),
            Body::Parts(parts) => request = request.body(reqwest::Body::wrap_stream(parts())),
        }
        let sent = Timestamp::now();
        let mut response = request.send().await.map_err(trouble)?;
        self.transport.observe(|observed| observed.answered(response.headers(), sent, Timestamp::now()));
        let mut sink = sink.as_deref_mut().filter(|_| response.status() == StatusCode::OK);
        if let Some(sink) = &mut sink {
            sink.begin();
        }
        let (mut bytes, mut count) = (Vec::new(), 0);
        loop {
            let chunk = match tokio::time::timeout(IDLE, response.chunk()).await {
                Ok(chunk) => chunk.map_err(trouble)?,
                Err(_) => return Err(Trouble::Broken(format!("nothing came for {IDLE:?}"))),
            };
            let Some(chunk) = chunk else { break };
            count += chunk.len();
            if count > *limit {
                return Err(Trouble::TooMuch(*limit));
            }
            let Some(sink) = &mut sink else {
                bytes.extend_from_slice(&chunk);
                continue;
            };
            if !sink.take(&chunk) {
                break;
            }
        }
        let status = response.status();
        let headers = std::mem::take(response.headers_mut());
        let wait = match status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE | StatusCode::FORBIDDEN => {
                retry::asked_wait(&headers, Timestamp::now())
            }
            _ => None,
        };
        Ok(Reply { question: question.clone(), status, headers, body: bytes.into(), wait })
    }
}

/// A request as it is sent, maybe more than once.
struct Call<'a> {
    method: Method,
    question: Question,
    /// Those that are the same each time.
    headers: HeaderMap,
    body: Body,
    limit: usize,
    /// The turn that was taken before.
    turn: Option<Turn>,
    /// Takes the body of a success.
    sink: Option<&'a mut dyn Sink>,
}

/// What a request carries.
enum Body {
    None,
    Whole(Bytes),
    Parts(Parts),
}

/// A body that is made while it is sent, from its beginning with each try. A part that cannot be made breaks the request off
/// in its midst, which servers take for what it is: a body that is not whole.
pub type Parts = Arc<dyn Fn() -> BoxStream<'static, io::Result<Bytes>> + Send + Sync>;

impl Call<'_> {
    fn ask(&self) -> Ask<'_> {
        Ask {
            method: self.method.as_str(),
            url: &self.question.url,
            headers: &self.headers,
            body: match &self.body {
                Body::Whole(bytes) => bytes,
                // Nothing that is signed is sent in parts.
                Body::None | Body::Parts(_) => &[],
            },
        }
    }
}

/// A request that is being put together.
pub struct Request<'a> {
    client: &'a Client,
    method: Method,
    purpose: &'static str,
    segments: &'a [&'a str],
    /// Instead of the segments.
    url: Option<Url>,
    query: Vec<(&'a str, &'a str)>,
    accept: &'a str,
    headers: Vec<(&'static str, &'a str)>,
    /// Where the method does not tell.
    effect: Option<Effect>,
    /// With its content type.
    body: Option<(&'a str, Body)>,
    limit: usize,
    turn: Option<Turn>,
}

/// Without the body, which may hold a password.
impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request").field("method", &self.method).field("purpose", &self.purpose).finish_non_exhaustive()
    }
}

impl<'a> Request<'a> {
    /// Adds a query parameter, as plain text.
    #[must_use]
    pub fn query(mut self, key: &'a str, value: &'a str) -> Self {
        self.query.push((key, value));
        self
    }

    /// Asks for these kinds of content instead of JSON, separated by commas.
    #[must_use]
    pub fn accept(self, kinds: &'a str) -> Self {
        Self { accept: kinds, ..self }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: &'a str) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Says that this changes nothing, whatever its method: it may be sent again, and never has an effect in doubt.
    #[must_use]
    pub fn reading(self) -> Self {
        Self { effect: Some(Effect::Read), ..self }
    }

    /// Sends a value as JSON.
    pub fn json(self, value: &impl Serialize) -> Result<Self, Fault> {
        let body = serde_json::to_vec(value)
            .map_err(|fault| Fault::new(FaultKind::NotSent, format!("could not {}: {fault}", self.purpose)))?;
        Ok(self.raw("application/json", body))
    }

    /// Sends it in a turn that was waited for before, by [`Client::wait_for_turn`].
    #[must_use]
    pub fn in_turn(self, turn: Option<Turn>) -> Self {
        Self { turn, ..self }
    }

    /// Sends these very bytes.
    #[must_use]
    pub fn raw(self, content_type: &'a str, body: impl Into<Bytes>) -> Self {
        Self { body: Some((content_type, Body::Whole(body.into()))), ..self }
    }

    /// Sends what is made meanwhile. Not for credentials that sign what is sent.
    #[must_use]
    pub fn parts(self, content_type: &'a str, parts: Parts) -> Self {
        Self { body: Some((content_type, Body::Parts(parts))), ..self }
    }

    /// Reads at most this many bytes of an answer, counted after decompression, instead of 10 MiB.
    #[must_use]
    pub fn limit(self, bytes: usize) -> Self {
        Self { limit: bytes, ..self }
    }

    /// Sends it, with repetitions where they are safe. Any complete answer is a [`Reply`], whatever its status; a fault
    /// means that there is none.
    pub async fn send(self) -> Result<Reply, Fault> {
        let (question, outcome) = self.outcome(None).await?;
        outcome.map_err(|trouble| refused(&question, &trouble))
    }

    /// As [`send`](Self::send), with the body of a success (status 200) given to the sink; the reply has none then. What the
    /// sink took before a fault is what arrived before it.
    pub async fn send_into(self, sink: &mut dyn Sink) -> Result<Reply, Fault> {
        let (question, outcome) = self.outcome(Some(sink)).await?;
        outcome.map_err(|trouble| refused(&question, &trouble))
    }

    /// As [`send`](Self::send), for a question that can be asked in smaller parts: `None` when the answer was longer
    /// than we are willing to read.
    pub async fn send_part(self) -> Result<Option<Reply>, Fault> {
        match self.outcome(None).await? {
            (_, Ok(reply)) => Ok(Some(reply)),
            (_, Err(Trouble::TooMuch(_))) => Ok(None),
            (question, Err(trouble)) => Err(refused(&question, &trouble)),
        }
    }

    async fn outcome(self, sink: Option<&mut dyn Sink>) -> Result<(Question, Result<Reply, Trouble>), Fault> {
        let Self { client, method, purpose, segments, url, query, accept, headers: more, effect, body, limit, turn } =
            self;
        let unsent = |reason: &str| Fault::new(FaultKind::NotSent, format!("could not {purpose}: {reason}"));
        let url = match url {
            Some(url) if url.origin() == client.base.origin() => url,
            Some(_) => return Err(unsent("the address is that of another server")),
            None => path::build(&client.base, segments, &query).map_err(|reason| unsent(&reason))?,
        };
        let effect = effect.unwrap_or_else(|| Effect::of(&method));
        let authorization = client.credential.fixed();
        let question = Question { purpose, effect, url, base: client.base.clone(), authorization };
        let mut headers = HeaderMap::new();
        let mut insert = |name: HeaderName, text: &str| -> Result<(), Fault> {
            let value = HeaderValue::from_str(text).map_err(|_| {
                unsent(&format!("`{}` cannot stand in the header `{name}`", question.quote(text.as_bytes())))
            })?;
            headers.insert(name, value);
            Ok(())
        };
        insert(ACCEPT, accept)?;
        for (name, value) in more {
            insert(HeaderName::from_static(name), value)?;
        }
        let body = match body {
            Some((content_type, body)) => {
                insert(CONTENT_TYPE, content_type)?;
                body
            }
            None => Body::None,
        };
        let mut call = Call { method, question, headers, body, limit, sink, turn };
        let outcome = client.send(&mut call).await?;
        Ok((call.question, outcome))
    }
}

fn refused(question: &Question, trouble: &Trouble) -> Fault {
    let (words, hint) = trouble.words(question.host());
    let words = question.quote(words.as_bytes());
    let fault = Fault::new(trouble.kind(question.effect), format!("could not {}: {words}", question.purpose));
    match hint {
        Some(hint) => fault.hint(hint),
        None => fault,
    }
}

/// What an answer was, in the fewest words.
fn answered(reply: &Reply) -> String {
    format!("{} answered {}", reply.question.host(), reply.status)
}

/// The fault of a request that was not sent because nobody goes there for now. Nothing follows from it.
fn closed_fault(question: &Question, closed: &Closed) -> Fault {
    let (purpose, host) = (question.purpose, question.host());
    match closed {
        Closed::Asked { until } => Fault::new(
            FaultKind::Throttled,
            format!("could not {purpose}: {host} asked to be left alone until {}", time_of(*until)),
        ),
        Closed::Unproven { until } => Fault::new(
            FaultKind::Unauthorized,
            format!(
                "could not {purpose}: {host} refused several other credentials, so this new one waits until {}",
                time_of(*until)
            ),
        )
        .hint("replace what gives the credentials; after a reload this one is tried at once"),
        Closed::Broken { at, why } => {
            let (since, until) = (time_of(at.since), time_of(at.until));
            let (kind, reason, hint) = match at.cause {
                Cause::Refused => (
                    FaultKind::Unauthorized,
                    format!("it refuses this credential since {since} ({why})"),
                    "replace the credential: another one is tried at once, and so is this one after a reload",
                ),
                Cause::Unreached => (
                    FaultKind::NotSent,
                    format!("nothing came through several times in a row since {since}, at last: {why}"),
                    "it is tried again by itself; after a reload, at once",
                ),
            };
            Fault::new(kind, format!("could not {purpose}: {host} is left alone until {until}, because {reason}"))
                .hint(hint)
        }
    }
}
