//! What a provider is given to connect with: settings, and the connections and limits that it shares with others.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use reqwest::Certificate;
use url::{Host, Url};

use super::auth::Fingerprint;
use super::circuit::Cause;
use super::gate::{Closed, Gate, Rate};
use super::newcomers::Newcomers;
use super::observed::Observed;
use super::reply::time_of;
use super::{Fault, FaultKind, Traffic};

/// The longest time to establish a connection.
const CONNECT: Duration = Duration::from_secs(10);

/// How one remote is spoken to.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpSettings {
    /// The longest time that one request may take, from the first byte out to the last byte in.
    pub timeout: Duration,
    /// A file with certificates (PEM) of authorities that are trusted besides the system's.
    pub ca_file: Option<PathBuf>,
    /// How many requests may be under way at a time.
    pub concurrency: usize,
    /// How fast requests may begin; `None` for as many as there are.
    pub rate: Option<Rate>,
    /// Whether plain HTTP to other machines is allowed.
    pub allow_http: bool,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(30), ca_file: None, concurrency: 8, rate: None, allow_http: false }
    }
}

/// The connections and the limits of the process. Remotes of one host and credential meet here.
///
/// One lives as long as a configuration; a reload begins a new one.
#[derive(Debug, Default)]
pub struct Pool {
    clients: Mutex<HashMap<ClientKey, reqwest::Client>>,
    gates: Mutex<HashMap<GateKey, Arc<Gate>>>,
    newcomers: Mutex<HashMap<String, Arc<Mutex<Newcomers>>>>,
    remembered: Mutex<HashMap<(TypeId, String), Arc<dyn Any + Send + Sync>>>,
}

/// What makes two HTTP clients different; everything else belongs to a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct ClientKey {
    /// The certificates themselves, so that a renewed file is noticed.
    authorities: Option<Vec<u8>>,
    connect: Duration,
    loopback: bool,
    /// Whether it never speaks TLS: neither with the server nor with a proxy before it.
    plain: bool,
}

/// An origin, and the credential's fingerprint.
type GateKey = (String, Option<Fingerprint>);

impl Pool {
    /// A pool without connections.
    pub fn new() -> Self {
        Self::default()
    }

    fn client(&self, key: ClientKey) -> Result<reqwest::Client, Fault> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&key) {
            return Ok(client.clone());
        }
        let client = build(&key)?;
        clients.insert(key, client.clone());
        Ok(client)
    }

    fn gate(&self, key: GateKey, concurrency: usize) -> Arc<Gate> {
        let mut gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(gate) = gates.get(&key) {
            return Arc::clone(gate);
        }
        // A token that is another one each time must not leave a gate behind each time.
        gates.retain(|_, gate| Arc::strong_count(gate) > 1 || !gate.is_as_new());
        let mut newcomers = self.newcomers.lock().unwrap_or_else(PoisonError::into_inner);
        // Who brings no credential cannot be refused for one.
        let newcomers = key.1.map(|_| Arc::clone(newcomers.entry(key.0.clone()).or_default())).unwrap_or_default();
        let gate = Arc::new(Gate::new(concurrency, newcomers));
        gates.insert(key, Arc::clone(&gate));
        gate
    }

    /// How every server that was spoken to is treated now, by its origin; one for each credential there.
    pub fn conditions(&self) -> Vec<Condition> {
        let gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        let condition = |((origin, _), gate): (&GateKey, &Arc<Gate>)| {
            let closed = gate.closed().map(|closed| match closed {
                Closed::Asked { until } => (until, ClosedBy::Asked),
                Closed::Unproven { until } => (until, ClosedBy::Refused),
                Closed::Broken { at, .. } => match at.cause {
                    Cause::Refused => (at.until, ClosedBy::Refused),
                    Cause::Unreached => (at.until, ClosedBy::Unreached),
                },
            });
            let closed = closed.map(|(until, by)| (time_of(until), by));
            Condition { origin: origin.clone(), closed_until: closed.map(|at| at.0), reason: closed.map(|at| at.1) }
        };
        let mut conditions: Vec<_> = gates.iter().map(condition).collect();
        conditions.sort_by(|one, other| one.origin.cmp(&other.origin));
        conditions
    }
}

/// How a server is treated by those who use one credential there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Scheme, host and port.
    pub origin: String,
    /// Until when no request is sent; `None` while they are.
    pub closed_until: Option<Timestamp>,
    /// Why none is.
    pub reason: Option<ClosedBy>,
}

/// Why a server is sent no requests for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClosedBy {
    /// It asked for that.
    Asked,
    /// It refused the credential.
    Refused,
    /// Nothing came through several times in a row.
    Unreached,
}

impl ClosedBy {
    /// The word of metrics.
    pub fn word(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Refused => "refused",
            Self::Unreached => "unreached",
        }
    }
}

/// What one pair of a source and a remote connects with. Clones count and observe together.
#[derive(Clone, Debug)]
pub struct Transport {
    pool: Arc<Pool>,
    pub(super) settings: HttpSettings,
    requests: Arc<AtomicU64>,
    observed: Arc<Mutex<Observed>>,
    traffic: Arc<Mutex<Traffic>>,
}

impl Transport {
    /// A transport that has sent nothing yet.
    pub fn new(pool: &Arc<Pool>, settings: HttpSettings) -> Self {
        Self {
            pool: Arc::clone(pool),
            settings,
            requests: Arc::default(),
            observed: Arc::default(),
            traffic: Arc::default(),
        }
    }

    /// How many requests have left through this transport, repetitions included.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// What the requests showed about the way to the server.
    pub fn observed(&self) -> Observed {
        self.observed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What the requests brought, in numbers.
    pub fn traffic(&self) -> Traffic {
        self.traffic.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What all who ask for it by this name remember together, from one pass to the next, for as long as the configuration
    /// lives. Only what can be found out again belongs there.
    pub fn remembered<T: Any + Default + Send + Sync>(&self, name: &str) -> Arc<T> {
        let mut remembered = self.pool.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (TypeId::of::<T>(), name.to_owned());
        let kept = remembered.entry(key).or_insert_with(|| Arc::new(T::default()));
        // The type is part of the key, so it is always the one that was asked for.
        Arc::clone(kept).downcast().unwrap_or_default()
    }

    pub(super) fn observe(&self, note: impl FnOnce(&mut Observed)) {
        note(&mut self.observed.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) fn tally(&self, note: impl FnOnce(&mut Traffic)) {
        note(&mut self.traffic.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) fn count(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes one back that turned out not to have left.
    pub(super) fn uncount(&self) {
        self.requests.fetch_sub(1, Ordering::Relaxed);
    }

    /// The connections and the gate for this origin and credential.
    pub(super) async fn open(
        &self,
        base: &Url,
        fingerprint: Option<Fingerprint>,
    ) -> Result<(reqwest::Client, Arc<Gate>), Fault> {
        let settings = &self.settings;
        let loopback = is_loopback(base);
        if !(base.scheme() == "https" || base.scheme() == "http" && (loopback || settings.allow_http)) {
            return Err(Fault::new(FaultKind::NotSent, "the address is not https").hint("set `allow_http` to insist"));
        }
        self.observe(|observed| observed.opened(base, settings.ca_file.is_some(), fingerprint.is_some()));
        let authorities = match &settings.ca_file {
            None => None,
            Some(path) => Some(tokio::fs::read(path).await.map_err(|fault| {
                Fault::new(FaultKind::NotSent, format!("cannot read `ca_file` {}: {fault}", path.display()))
            })?),
        };
        // At most half of the total, so that a server that takes no connection is told from one that does not answer.
        let connect = CONNECT.min(settings.timeout / 2);
        let plain = loopback && base.scheme() == "http";
        let client = self.pool.client(ClientKey { authorities, connect, loopback, plain })?;
        let key = (base.origin().ascii_serialization(), fingerprint);
        let gate = self.pool.gate(key, settings.concurrency);
        gate.tighten(settings.concurrency, settings.rate);
        Ok((client, gate))
    }
}

/// Whether the address is this very machine, so that nobody can listen in between.
pub fn is_loopback(base: &Url) -> bool {
    match base.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

fn build(key: &ClientKey) -> Result<reqwest::Client, Fault> {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        // An error means that somebody else was first, and then there is one, too.
        let _already = rustls::crypto::ring::default_provider().install_default();
    });
    let fault = |what: &str, fault: &dyn std::fmt::Display| Fault::new(FaultKind::NotSent, format!("{what}: {fault}"));
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("tagsyncd/", env!("CARGO_PKG_VERSION")))
        // The library strips `Authorization` across origins, but not the tokens of other headers.
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .connect_timeout(key.connect)
        // Servers close idle connections after a minute or so; a write that meets this has an unknown end.
        .pool_idle_timeout(Duration::from_secs(15));
    // The library repeats by itself only what HTTP/2 says was not processed (REFUSED_STREAM, GOAWAY): every server
    // that limits the requests of a connection does that to requests under way, and it is safe for writes.
    if key.loopback {
        // Plain HTTP is allowed to this machine because it stays on it, so a proxy must not see it.
        builder = builder.no_proxy();
    }
    if let Some(pem) = &key.authorities {
        let authorities =
            Certificate::from_pem_bundle(pem).map_err(|error| fault("`ca_file` holds no certificates", &error))?;
        if authorities.is_empty() {
            return Err(Fault::new(FaultKind::NotSent, "`ca_file` holds no certificates"));
        }
        builder = builder.tls_certs_merge(authorities);
    } else if key.plain {
        // Nobody shows a certificate, and to read those of the system takes a third of a small pass.
        builder = builder.tls_certs_only([]);
    }
    builder.build().map_err(|error| fault("cannot set up HTTP", &error))
}
