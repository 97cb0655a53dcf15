//! What the requests of a transport showed about the way to the server, besides their answers.

use jiff::{SignedDuration, Timestamp};
use reqwest::header::{AGE, DATE, HeaderMap};
use url::Url;

use super::retry::http_date;
use super::transport::is_loopback;
use super::trouble::Trouble;

/// What is known about the way to a server, from everything that was sent there so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// What protects the way; of several addresses the worst. `None` before there was an address.
    pub channel: Option<Channel>,
    /// Whether there is a credential to send.
    pub authenticated: bool,
    /// How far the best of the requests came.
    pub reach: Reach,
    /// How the server's clock stands to ours, by its latest answer that tells the time.
    pub skew: Option<ClockSkew>,
}

/// What protects requests on their way, from the best to the worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Channel {
    /// A certificate that was verified.
    Tls {
        /// Whether authorities besides the system's are trusted.
        own_authorities: bool,
    },
    /// Nothing, and nothing leaves this machine.
    Loopback,
    /// Nothing.
    Plain,
}

/// How far a request came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// None was sent.
    #[default]
    Nowhere,
    /// No connection was made.
    NotConnected,
    /// A connection was made, and the other side could not prove who it is.
    Untrusted,
    /// A connection was made, and no answer came.
    Connected,
    /// An answer began.
    Answered,
}

/// How a server's clock stands to ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockSkew {
    /// How much later it is by the server's clock, as the middle of what is possible.
    pub ahead: SignedDuration,
    /// How far the truth may be from that: half a round trip and half a second.
    pub within: SignedDuration,
}

impl ClockSkew {
    /// Compares a date of whole seconds, which the server took at some time between `sent` and `received` of our clock.
    pub fn measure(date: Timestamp, sent: Timestamp, received: Timestamp) -> Self {
        // A clock of ours that was set back meanwhile makes no round trip shorter than none.
        let round_trip = received.duration_since(sent).max(SignedDuration::ZERO);
        let half_second = SignedDuration::from_millis(500);
        let ahead = date.duration_since(sent) + half_second - round_trip / 2;
        Self { ahead, within: round_trip / 2 + half_second }
    }

    /// The least difference that explains the measurement; a slow answer alone is no wrong clock.
    pub fn least(&self) -> SignedDuration {
        (self.ahead.abs() - self.within).max(SignedDuration::ZERO)
    }
}

impl Observed {
    pub(super) fn opened(&mut self, base: &Url, own_authorities: bool, authenticated: bool) {
        let channel = match base.scheme() {
            "https" => Channel::Tls { own_authorities },
            _ if is_loopback(base) => Channel::Loopback,
            _ => Channel::Plain,
        };
        self.channel = self.channel.max(Some(channel));
        self.authenticated |= authenticated;
    }

    pub(super) fn answered(&mut self, headers: &HeaderMap, sent: Timestamp, received: Timestamp) {
        self.reach = Reach::Answered;
        // An answer out of a cache has the date at which it went in.
        if headers.contains_key(AGE) {
            return;
        }
        if let Some(date) = headers.get(DATE).and_then(|date| http_date(date.to_str().ok()?)) {
            self.skew = Some(ClockSkew::measure(date, sent, received));
        }
    }

    pub(super) fn unanswered(&mut self, trouble: &Trouble) {
        let reach = match trouble {
            Trouble::Unsendable(_) => Reach::Nowhere,
            Trouble::NotConnected(_) => Reach::NotConnected,
            Trouble::Untrusted(_) => Reach::Untrusted,
            Trouble::Broken(_) => Reach::Connected,
            Trouble::TooMuch(_) => Reach::Answered,
        };
        self.reach = self.reach.max(reach);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        format!("1994-11-06T{text}Z").parse().unwrap()
    }

    #[test]
    fn a_clock_is_compared_over_a_round_trip() {
        let skew = |date, sent, received| {
            let ClockSkew { ahead, within } = ClockSkew::measure(at(date), at(sent), at(received));
            (ahead.as_millis(), within.as_millis())
        };
        assert_eq!(skew("08:49:37", "08:49:37.5", "08:49:37.5"), (0, 500));
        assert_eq!(skew("08:49:37", "08:49:36", "08:49:38"), (500, 1500));
        assert_eq!(skew("09:49:37", "08:49:37.4", "08:49:37.6"), (3_600_000, 600));
        assert_eq!(skew("07:49:37", "08:49:37.4", "08:49:37.6"), (-3_600_000, 600));
        // Our own clock was set back while we waited.
        assert_eq!(skew("08:49:37", "08:49:37.5", "08:40:00"), (0, 500));
    }

    #[test]
    fn a_slow_answer_is_no_wrong_clock() {
        let slow = ClockSkew::measure(at("08:49:00"), at("08:49:00"), at("08:53:00"));
        assert_eq!(slow.least(), SignedDuration::ZERO);
        let wrong = ClockSkew::measure(at("08:47:00"), at("08:49:00"), at("08:49:01"));
        assert_eq!(wrong.least(), SignedDuration::from_secs(119));
    }

    #[test]
    fn answers_tell_the_time_unless_they_are_old() {
        let headers = |lines: &[(&'static str, &'static str)]| -> HeaderMap {
            lines.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
        };
        let date = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
        let now = at("08:49:37.5");
        let mut observed = Observed::default();
        for lines in [&[][..], &[("date", "now")], &[date, ("age", "3600")]] {
            observed.answered(&headers(lines), now, now);
            assert_eq!((observed.skew, observed.reach), (None, Reach::Answered));
        }
        observed.answered(&headers(&[date]), now, now);
        assert_eq!(observed.skew.unwrap().ahead, SignedDuration::ZERO);
        // What was measured once stays known.
        observed.answered(&headers(&[]), now, now);
        observed.unanswered(&Trouble::NotConnected(String::new()));
        assert_eq!((observed.skew.is_some(), observed.reach), (true, Reach::Answered));
    }

    #[test]
    fn of_several_addresses_the_worst_counts() {
        let mut observed = Observed::default();
        for (address, channel) in [
            ("https://git.example.com", Channel::Tls { own_authorities: false }),
            ("http://127.0.0.1:1", Channel::Loopback),
            ("http://git.example.com", Channel::Plain),
            ("https://git.example.com", Channel::Plain),
        ] {
            observed.opened(&address.parse().unwrap(), false, false);
            assert_eq!(observed.channel, Some(channel), "{address}");
        }
    }
}
