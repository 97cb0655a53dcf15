//! Requests to one API: built, let through the gate, sent, and sent again where that is safe.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Method, StatusCode};
use serde::Serialize;
use tokio::time::Instant;
use url::Url;

use super::gate::Gate;
use super::reply::Question;
use super::retry::{self, Effect};
use super::trouble::Trouble;
use super::{Authorization, Fault, FaultKind, Reply, Transport, path};

/// The most that one answer may bring, counted after decompression.
const BODY_LIMIT: usize = 10 * 1024 * 1024;

/// The longest silence within a body.
const IDLE: Duration = Duration::from_secs(15);

/// One API under one base URL with one credential. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    gate: Arc<Gate>,
    transport: Transport,
    base: Url,
    authorization: Option<Authorization>,
}

impl Client {
    /// Makes the client; sends nothing. `base` may carry a path prefix, which every request keeps.
    pub async fn new(
        transport: &Transport,
        mut base: Url,
        authorization: Option<Authorization>,
    ) -> Result<Self, Fault> {
        if !base.has_host() {
            return Err(Fault::new(FaultKind::NotSent, "the address names no host"));
        }
        if base.password().is_some() || !base.username().is_empty() {
            return Err(Fault::new(FaultKind::NotSent, "the address must not carry a user name or a password"));
        }
        base.set_query(None);
        base.set_fragment(None);
        let (http, gate) = transport.open(&base, authorization.as_ref()).await?;
        Ok(Self { http, gate, transport: transport.clone(), base, authorization })
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

    fn request<'a>(&'a self, method: Method, purpose: &'static str, segments: &'a [&'a str]) -> Request<'a> {
        Request { client: self, method, purpose, segments, query: Vec::new(), body: None }
    }

    /// Sends until there is an answer to keep, or no more reason to try. The outer error is as in
    /// [`attempt`](Self::attempt).
    async fn send(
        &self,
        method: &Method,
        question: &Question,
        body: Option<&Bytes>,
    ) -> Result<Result<Reply, Trouble>, Fault> {
        let mut pauses = retry::pauses();
        let mut paused = Duration::ZERO;
        loop {
            let outcome = self.attempt(method, question, body).await?;
            let (again, asked) = match &outcome {
                Ok(reply) => {
                    let meaning = retry::meaning(question.effect, reply.status(), reply.wait.is_some());
                    (meaning.retry, reply.wait.unwrap_or_default())
                }
                Err(trouble) => (trouble.retry(question.effect), Duration::ZERO),
            };
            let pause = if again { pauses.next().map(|pause| pause.max(asked)) } else { None };
            match pause {
                Some(pause) if pause <= retry::CEILING && paused + pause <= retry::BUDGET => {
                    tokio::time::sleep(pause).await;
                    paused += pause;
                }
                Some(_) | None => return Ok(outcome),
            }
        }
    }

    /// Sends once. The outer error is a gate that stays closed too long to wait for.
    async fn attempt(
        &self,
        method: &Method,
        question: &Question,
        body: Option<&Bytes>,
    ) -> Result<Result<Reply, Trouble>, Fault> {
        let slot = self.gate.enter().await.map_err(|left| closed(question, left))?;
        let began = Instant::now();
        self.transport.count();
        let outcome = self.exchange(method, question, body).await;
        let elapsed_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let path = question.url.path();
        match &outcome {
            Ok(reply) => {
                tracing::debug!(%method, path, status = reply.status(), elapsed_ms, "Answered.");
                if matches!(reply.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
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
                let cause = question.quote(trouble.words(question.host()).0.as_bytes());
                tracing::debug!(%method, path, elapsed_ms, cause, "Not answered.");
                if trouble.kind(question.effect) == FaultKind::NotSent {
                    self.transport.uncount();
                }
            }
        }
        Ok(outcome)
    }

    async fn exchange(&self, method: &Method, question: &Question, body: Option<&Bytes>) -> Result<Reply, Trouble> {
        let timeout = self.transport.settings.timeout;
        let trouble = |fault: reqwest::Error| Trouble::of(&fault, timeout);
        let mut request = self
            .http
            .request(method.clone(), question.url.clone())
            .timeout(timeout)
            .header(ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(authorization) = &question.authorization {
            request = request.header(AUTHORIZATION, authorization.header());
        }
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, HeaderValue::from_static("application/json")).body(body.clone());
        }
        let sent = Timestamp::now();
        let mut response = request.send().await.map_err(trouble)?;
        self.transport.observe(|observed| observed.answered(response.headers(), sent, Timestamp::now()));
        let mut bytes = Vec::new();
        loop {
            let chunk = match tokio::time::timeout(IDLE, response.chunk()).await {
                Ok(chunk) => chunk.map_err(trouble)?,
                Err(_) => return Err(Trouble::Broken(format!("nothing came for {IDLE:?}"))),
            };
            let Some(chunk) = chunk else { break };
            if bytes.len() + chunk.len() > BODY_LIMIT {
                return Err(Trouble::TooMuch(BODY_LIMIT));
            }
            bytes.extend_from_slice(&chunk);
        }
        let status = response.status();
        let headers = std::mem::take(response.headers_mut());
        let wait = match status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                retry::asked_wait(&headers, Timestamp::now())
            }
            _ => None,
        };
        Ok(Reply { question: question.clone(), status, headers, body: bytes.into(), wait })
    }
}

/// A request that is being put together.
#[derive(Debug)]
pub struct Request<'a> {
    client: &'a Client,
    method: Method,
    purpose: &'static str,
    segments: &'a [&'a str],
    query: Vec<(&'a str, &'a str)>,
    body: Option<Bytes>,
}

impl<'a> Request<'a> {
    /// Adds a query parameter, as plain text.
    #[must_use]
    pub fn query(mut self, key: &'a str, value: &'a str) -> Self {
        self.query.push((key, value));
        self
    }

    /// Sends a value as JSON.
    pub fn json(mut self, value: &impl Serialize) -> Result<Self, Fault> {
        let body = serde_json::to_vec(value)
            .map_err(|fault| Fault::new(FaultKind::NotSent, format!("could not {}: {fault}", self.purpose)))?;
        self.body = Some(body.into());
        Ok(self)
    }

    /// Sends it, with repetitions where they are safe. Any complete answer is a [`Reply`], whatever its status; a fault
    /// means that there is none.
    pub async fn send(self) -> Result<Reply, Fault> {
        let (question, outcome) = self.outcome().await?;
        outcome.map_err(|trouble| refused(&question, &trouble))
    }

    /// As [`send`](Self::send), for a question that can be asked in smaller parts: `None` when the answer was longer
    /// than we are willing to read.
    pub async fn send_part(self) -> Result<Option<Reply>, Fault> {
        match self.outcome().await? {
            (_, Ok(reply)) => Ok(Some(reply)),
            (_, Err(Trouble::TooMuch(_))) => Ok(None),
            (question, Err(trouble)) => Err(refused(&question, &trouble)),
        }
    }

    async fn outcome(self) -> Result<(Question, Result<Reply, Trouble>), Fault> {
        let Self { client, method, purpose, segments, query, body } = self;
        let url = path::build(&client.base, segments, &query)
            .map_err(|reason| Fault::new(FaultKind::NotSent, format!("could not {purpose}: {reason}")))?;
        let effect = Effect::of(&method);
        let base = client.base.clone();
        let question = Question { purpose, effect, url, base, authorization: client.authorization.clone() };
        let outcome = client.send(&method, &question, body.as_ref()).await?;
        Ok((question, outcome))
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

fn closed(question: &Question, left: Duration) -> Fault {
    let Question { purpose, .. } = question;
    let message = format!("could not {purpose}: {} asked for no more requests for now", question.host());
    Fault { retry_after: Some(left), ..Fault::new(FaultKind::Throttled, message) }
}
