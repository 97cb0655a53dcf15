//! Requests that brought no complete answer.

use std::error::Error;
use std::io;
use std::time::Duration;

use super::FaultKind;
use super::circuit::Sign;
use super::retry::Effect;

/// Why there is no complete answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The request could not even be written down.
    Unsendable(String),
    /// No connection was established, so nothing was sent.
    NotConnected(String),
    /// The other side could not prove who it is; nothing was sent, and nothing will change by trying again.
    Untrusted(String),
    /// Sent, and then a deadline passed, the connection broke or the answer was cut.
    Broken(String),
    /// The answer was longer than we are willing to read.
    TooMuch(usize),
}

impl Trouble {
    /// Sorts a fault of the HTTP library by what can be known about the effect.
    pub(super) fn of(fault: &reqwest::Error, timeout: Duration) -> Self {
        let cause = root(fault);
        if fault.is_builder() {
            Self::Unsendable(cause)
        } else if fault.is_connect() {
            if is_tls(fault) { Self::Untrusted(cause) } else { Self::NotConnected(cause) }
        } else if fault.is_timeout() {
            Self::Broken(format!("not finished after {timeout:?}"))
        } else {
            Self::Broken(cause)
        }
    }

    /// Whether the request may be sent again.
    pub(super) fn retry(&self, effect: Effect) -> bool {
        match self {
            Self::Unsendable(_) | Self::Untrusted(_) | Self::TooMuch(_) => false,
            Self::NotConnected(_) => true,
            Self::Broken(_) => effect == Effect::Read,
        }
    }

    pub(super) fn kind(&self, effect: Effect) -> FaultKind {
        match self {
            Self::Unsendable(_) | Self::NotConnected(_) | Self::Untrusted(_) => FaultKind::NotSent,
            Self::Broken(_) | Self::TooMuch(_) => effect.unreadable(),
        }
    }

    /// What it says about the server; nothing where none was asked.
    pub(super) fn sign(&self) -> Option<Sign> {
        match self {
            Self::Unsendable(_) => None,
            Self::NotConnected(_) | Self::Untrusted(_) | Self::Broken(_) => Some(Sign::Unreached),
            Self::TooMuch(_) => Some(Sign::Reached),
        }
    }

    /// What happened, and what to do where that is known.
    pub(super) fn words(&self, host: &str) -> (String, Option<&'static str>) {
        match self {
            Self::Unsendable(cause) => (format!("the request cannot be sent: {cause}"), None),
            Self::NotConnected(cause) => (
                format!("no connection to {host}: {cause}"),
                Some("check the address, the network and, if there is one, the proxy (HTTPS_PROXY, NO_PROXY)"),
            ),
            Self::Untrusted(cause) => (
                format!("no trusted connection to {host}: {cause}"),
                Some("if the server's certificate comes from a private authority, name that in `ca_file`"),
            ),
            Self::Broken(cause) => (format!("no complete answer from {host}: {cause}"), None),
            Self::TooMuch(limit) => (format!("{host} sent more than {limit} bytes"), None),
        }
    }
}

/// The last word of a chain of errors; the first ones only say which layer it passed.
fn root(fault: &reqwest::Error) -> String {
    let mut last: &(dyn Error + 'static) = fault;
    while let Some(source) = last.source() {
        last = source;
    }
    // The outermost error's text ends with the URL, which may name what is not for everybody.
    if std::ptr::addr_eq(last, fault) { "it failed without a cause".into() } else { last.to_string() }
}

/// Whether TLS itself failed: mostly a certificate. What the network does to a handshake arrives as an I/O error.
fn is_tls(error: &(dyn Error + 'static)) -> bool {
    // An I/O error hides the error that it wraps from `source`, and the connector wraps one in another.
    let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    error.is::<rustls::Error>() || wrapped.is_some_and(|wrapped| is_tls(wrapped)) || error.source().is_some_and(is_tls)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_not_sent_is_sent_again() {
        let all = [
            (Trouble::Unsendable(String::new()), [false, false], [FaultKind::NotSent; 2]),
            (Trouble::NotConnected(String::new()), [true, true], [FaultKind::NotSent; 2]),
            (Trouble::Untrusted(String::new()), [false, false], [FaultKind::NotSent; 2]),
            (Trouble::Broken(String::new()), [true, false], [FaultKind::Unreadable, FaultKind::Ambiguous]),
            (Trouble::TooMuch(1), [false, false], [FaultKind::Unreadable, FaultKind::Ambiguous]),
        ];
        for (trouble, retry, kind) in all {
            for (at, effect) in [Effect::Read, Effect::Write].into_iter().enumerate() {
                assert_eq!((trouble.retry(effect), trouble.kind(effect)), (retry[at], kind[at]), "{trouble:?}");
            }
        }
    }
}
