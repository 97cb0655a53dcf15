//! Webhooks: whoever proves to know the job's secret may ask for a pass over it. Nothing that the request says is used.
//!
//! Each of these is a proof, under the name that senders give it (2026-11-21):
//!
//! - `X-Gitlab-Token`: the secret itself, <https://docs.gitlab.com/user/project/integrations/webhooks/>
//! - `X-Hub-Signature-256: sha256=…`, GitHub, <https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries>
//! - `X-Gitea-Signature` and `X-Forgejo-Signature`: HMAC-SHA256 in hexadecimal,
//!   <https://forgejo.org/docs/latest/user/webhooks/>
//! - `Authorization: Bearer …`: the secret itself, for scripts
//!
//! A request that is heard and sent again later asks for one more pass, which finds nothing to do.
//!
//! Anybody can send something that looks like a signature and then take their time. Nobody is refused for that: a body costs no more
//! than its connection, of which there are few.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::header::{AUTHORIZATION, HeaderMap, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt as _;
use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::Sha256;
use tokio::sync::Mutex as Queue;
use tokio::sync::mpsc::error::TrySendError;

use super::routes::Web;
use crate::config::{SecretFault, SecretSource};
use crate::service::board::HookEnd;
use crate::text::Printable;

/// The largest body that is looked at.
const LARGEST: usize = 1024 * 1024;
/// So much is still taken off the wire, because a sender that is cut off while it sends does not hear the answer.
const DRAINED: usize = 8 * LARGEST;
/// Within this time the body has to be there.
const BODY: Duration = Duration::from_secs(10);
/// A body that cannot change the answer is waited for no longer.
const FRUITLESS: Duration = Duration::from_secs(2);
/// What is refused is logged no more often.
const SILENCE: Duration = Duration::from_secs(60);
/// How long a secret that was read is taken for what it is, so that nobody makes the daemon read it with every request.
const KEPT: Duration = Duration::from_secs(10);
/// When to come again.
const AGAIN: HeaderValue = HeaderValue::from_static("30");

type Signature = Hmac<Sha256>;

/// `POST /hooks/JOB`.
pub(super) async fn hook(State(web): State<Arc<Web>>, Path(job): Path<String>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let admitted = admit(&web, &job, &head.headers).await;
    let signature = admitted.as_ref().ok().map(|admitted| admitted.signature.clone());
    let within = if signature.is_some() { BODY } else { FRUITLESS };
    // The body is taken whatever has become of the request: an answer that overtakes it may not arrive.
    let taken = tokio::time::timeout(within, take(body, signature)).await;
    let answer = match (admitted, taken) {
        (Err(refusal), _) => Err(refusal),
        (Ok(_), Err(_)) => Err(Answer::Slow),
        (Ok(_), Ok(Err(answer))) => Err(answer),
        (Ok(admitted), Ok(Ok(signature))) => admitted.check(signature).and_then(|()| start(&web, &job)),
    };
    let answer = answer.err().unwrap_or(Answer::Accepted);
    if let Some(end) = answer.end() {
        web.desk.board.hook(end);
        if end == HookEnd::Accepted {
            tracing::info!(job = %Printable::new(&job), "A webhook.");
        } else if let Some(count) = web.refusals.add(Instant::now()) {
            let job = Printable::new(&job);
            tracing::info!(%job, end = end.word(), count, "Webhooks were not accepted; this was the latest.");
        }
    }
    answer.into_response()
}

/// What a sender is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Accepted,
    /// No such job, or none that accepts webhooks: which of them is nobody's business.
    Nothing,
    Refused,
    Large,
    Slow,
    Many,
    Unreadable,
    Stopping,
}

impl Answer {
    fn end(self) -> Option<HookEnd> {
        match self {
            Self::Accepted => Some(HookEnd::Accepted),
            // Anybody can ask for what is not there, as often as they like.
            Self::Nothing => None,
            Self::Refused => Some(HookEnd::Refused),
            Self::Large | Self::Slow | Self::Many => Some(HookEnd::Limited),
            Self::Unreadable | Self::Stopping => Some(HookEnd::Unable),
        }
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let (status, words) = match self {
            Self::Accepted => (StatusCode::ACCEPTED, "the job will run\n"),
            Self::Nothing => (StatusCode::NOT_FOUND, "there is no such webhook\n"),
            Self::Refused => (StatusCode::UNAUTHORIZED, "the secret or the signature is missing or wrong\n"),
            Self::Large => (StatusCode::PAYLOAD_TOO_LARGE, "the body is larger than 1 MiB\n"),
            Self::Slow => (StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time\n"),
            Self::Many => (StatusCode::TOO_MANY_REQUESTS, "too many webhooks at once\n"),
            Self::Unreadable => (StatusCode::SERVICE_UNAVAILABLE, "the secret could not be read; the log says why\n"),
            Self::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "the daemon is stopping\n"),
        };
        let mut response = (status, words).into_response();
        match self {
            Self::Refused => {
                response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            Self::Many | Self::Unreadable | Self::Stopping => {
                response.headers_mut().insert(RETRY_AFTER, AGAIN);
            }
            _ => {}
        }
        response
    }
}

/// A request that is proven, or that its body may prove, for a job that accepts webhooks.
struct Admitted {
    /// Whether it had the secret itself.
    proven: bool,
    /// What the signature of its body is claimed to be.
    claimed: Vec<[u8; 32]>,
    /// The signature that begins with no body.
    signature: Signature,
}

async fn admit(web: &Web, job: &str, headers: &HeaderMap) -> Result<Admitted, Answer> {
    let settings = Arc::clone(&web.desk.settings.borrow());
    let job = settings.jobs.iter().find(|known| known.name == job).ok_or(Answer::Nothing)?;
    let source = job.hook_secret.as_ref().ok_or(Answer::Nothing)?;
    let (secrets, signatures) = (secrets(headers), signatures(headers));
    if secrets.is_empty() && signatures.is_empty() {
        return Err(Answer::Refused);
    }
    let secret = web.secrets.read(&job.name, source).await.map_err(|_| Answer::Unreadable)?;
    let signature = keyed(&secret)?;
    let proven = secrets.iter().any(|claimed| is_secret(claimed, &secret, &signature));
    if !proven && signatures.is_empty() {
        return Err(Answer::Refused);
    }
    Ok(Admitted { proven, claimed: signatures, signature })
}

/// HMAC takes keys of any length, so there is always one.
fn keyed(secret: &SecretString) -> Result<Signature, Answer> {
    Signature::new_from_slice(secret.expose_secret().as_bytes()).map_err(|_| Answer::Unreadable)
}

impl Admitted {
    /// Whether one of the proofs is right. Each is compared in a time that does not depend on where it is wrong.
    fn check(&self, body: Signature) -> Result<(), Answer> {
        let signed = |claimed: &[u8; 32]| body.clone().verify_slice(claimed).is_ok();
        if self.proven || self.claimed.iter().any(signed) { Ok(()) } else { Err(Answer::Refused) }
    }
}

/// Compares what is made of both with a key that a sender can not know without the secret, so that nothing follows from the
/// time that it takes.
fn is_secret(claimed: &[u8], secret: &SecretString, keyed: &Signature) -> bool {
    let made_of = |text: &[u8]| keyed.clone().chain_update(text);
    let right = made_of(secret.expose_secret().as_bytes()).finalize().into_bytes();
    made_of(claimed).verify_slice(&right).is_ok()
}

/// What is shown as the secret itself.
fn secrets(headers: &HeaderMap) -> Vec<&[u8]> {
    let bearer = header(headers, AUTHORIZATION.as_str()).and_then(|value| {
        let (scheme, token) = value.split_at_checked("Bearer ".len())?;
        scheme.eq_ignore_ascii_case(b"Bearer ").then_some(token)
    });
    [header(headers, "x-gitlab-token"), bearer].into_iter().flatten().collect()
}

/// What is shown as the HMAC-SHA256 of the body under the secret, and could be one.
fn signatures(headers: &HeaderMap) -> Vec<[u8; 32]> {
    let shown = [
        header(headers, "x-hub-signature-256").and_then(|value| value.strip_prefix(b"sha256=")),
        header(headers, "x-gitea-signature"),
        header(headers, "x-forgejo-signature"),
    ];
    shown.into_iter().flatten().filter_map(hexadecimal).collect()
}

fn header<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h [u8]> {
    headers.get(name).map(HeaderValue::as_bytes)
}

/// 32 bytes from 64 hexadecimal digits, and from nothing else.
fn hexadecimal(text: &[u8]) -> Option<[u8; 32]> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut bytes = [0; 32];
    if text.len() != 2 * bytes.len() {
        return None;
    }
    for (byte, digits) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(digits[0])? << 4 | digit(digits[1])?;
    }
    Some(bytes)
}

/// Takes the body off the wire, piece by piece; none of it is kept, only signed.
async fn take(body: Body, signature: Option<Signature>) -> Result<Signature, Answer> {
    let mut signature = signature.ok_or(Answer::Refused);
    let mut pieces = body.into_data_stream();
    let mut size = 0;
    while let Some(piece) = pieces.next().await {
        // A body that ends before its end proves nothing.
        let Ok(piece) = piece else { return Err(Answer::Refused) };
        size += piece.len();
        if size > DRAINED {
            break;
        }
        if let Ok(signature) = &mut signature {
            signature.update(&piece);
        }
    }
    if size > LARGEST { Err(Answer::Large) } else { signature }
}

/// Hands the job to the loop, which runs it once however often it is asked meanwhile.
fn start(web: &Web, job: &str) -> Result<(), Answer> {
    web.desk.hooks.try_send(job.to_owned()).map_err(|fault| match fault {
        TrySendError::Full(_) => Answer::Many,
        TrySendError::Closed(_) => Answer::Stopping,
    })
}

/// Secrets of webhooks, each read when it is needed and kept for a moment.
#[derive(Default)]
pub(super) struct Secrets(Mutex<BTreeMap<String, Arc<Queue<Option<Kept>>>>>);

struct Kept {
    source: SecretSource,
    read: Instant,
    secret: Result<SecretString, SecretFault>,
}

impl Secrets {
    /// Whoever comes while it is being read waits for it, instead of reading it too.
    async fn read(&self, job: &str, source: &SecretSource) -> Result<SecretString, SecretFault> {
        let place = {
            let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(places.entry(job.to_owned()).or_default())
        };
        let mut kept = place.lock().await;
        if let Some(kept) = kept.as_ref().filter(|kept| kept.source == *source && kept.read.elapsed() < KEPT) {
            return kept.secret.clone();
        }
        let secret = source.read().await.inspect_err(|fault| {
            let (error, hint) = (&fault.message, &fault.hint);
            tracing::warn!(job, error, hint, "A webhook's secret could not be read.");
        });
        *kept = Some(Kept { source: source.clone(), read: Instant::now(), secret: secret.clone() });
        secret
    }
}

/// What was refused and not logged: anybody may be refused, as often as they like.
#[derive(Debug, Default)]
pub(super) struct Refusals(Mutex<(u64, Option<Instant>)>);

impl Refusals {
    /// One more. Gives how many there were since the last that was logged, if this one is to be.
    fn add(&self, now: Instant) -> Option<u64> {
        let mut refusals = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (count, logged) = &mut *refusals;
        *count += 1;
        if logged.is_some_and(|logged| now.duration_since(logged) < SILENCE) {
            return None;
        }
        *logged = Some(now);
        Some(std::mem::take(count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_logged_once_a_minute_with_their_number() {
        let (refusals, start) = (Refusals::default(), Instant::now());
        let logged: Vec<_> =
            (0..150).filter_map(|second| Some((second, refusals.add(start + Duration::from_secs(second))?))).collect();
        assert_eq!(logged, [(0, 1), (60, 60), (120, 60)]);
    }

    #[test]
    fn only_64_digits_are_a_signature() {
        let good = "00ff".repeat(16);
        assert_eq!(hexadecimal(good.as_bytes()).unwrap()[..2], [0, 255]);
        assert_eq!(hexadecimal(good.to_uppercase().as_bytes()), hexadecimal(good.as_bytes()));
        for wrong in [&good[..63], &good[..62], "", &format!("{good}0"), &good.replacen('0', "g", 1)] {
            assert_eq!(hexadecimal(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
