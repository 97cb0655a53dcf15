//! What a server says that it can do.

use gix::hash::Kind;

/// What matters for a push, as the advertisement of `receive-pack` says it.
///
/// `ofs-delta` is of no interest, because no delta is ever sent; nor are `atomic`, which would let one refused tag take
/// all others along, and `push-options`, of which there are none to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PushCapabilities {
    /// Whether it tells what became of each ref.
    pub reports: bool,
    /// The same with what a hook made of it.
    pub reports_in_full: bool,
    /// Whether the report comes multiplexed with what hooks print.
    pub side_band: bool,
    /// Whether refs can be deleted at all.
    pub deletes: bool,
    /// Whether it can be asked for less talk.
    pub quiet: bool,
    /// Whether it wants to hear how ids are made.
    pub names_format: bool,
    /// How ids are made there.
    pub format: Kind,
}

impl PushCapabilities {
    /// Reads the list behind the first ref of an advertisement. An unknown object format is `Err` with its name.
    pub fn read(list: &[u8]) -> Result<Self, Vec<u8>> {
        let has = |name: &str| list.split(|byte| *byte == b' ').any(|capability| capability == name.as_bytes());
        let formats: Vec<_> = list
            .split(|byte| *byte == b' ')
            .filter_map(|capability| capability.strip_prefix(b"object-format="))
            .collect();
        // The first one is the repository's; more may follow that it can translate (git's documentation of v0).
        let format = formats.first().map_or(Ok(Kind::Sha1), |name| object_format(name).ok_or_else(|| name.to_vec()))?;
        Ok(Self {
            reports: has("report-status") || has("report-status-v2"),
            reports_in_full: has("report-status-v2"),
            side_band: has("side-band-64k"),
            deletes: has("delete-refs"),
            quiet: has("quiet"),
            names_format: !formats.is_empty(),
            format,
        })
    }

    /// What a push asks for in turn.
    pub(super) fn asked(&self) -> String {
        let report = if self.reports_in_full { "report-status-v2" } else { "report-status" };
        let mut asked = vec![report.to_owned()];
        if self.side_band {
            asked.push("side-band-64k".to_owned());
        }
        if self.quiet {
            asked.push("quiet".to_owned());
        }
        if self.names_format {
            asked.push(format!("object-format={}", format_name(self.format)));
        }
        asked.push(format!("agent={AGENT}"));
        asked.join(" ")
    }
}

/// What the server's logs call us.
pub(super) const AGENT: &str = concat!("tagsyncd/", env!("CARGO_PKG_VERSION"));

/// The protocol's word for how ids are made.
pub(super) fn format_name(format: Kind) -> &'static str {
    match format {
        Kind::Sha256 => "sha256",
        _ => "sha1",
    }
}

/// How ids are made that the protocol calls by this word.
pub(super) fn object_format(name: &[u8]) -> Option<Kind> {
    match name {
        b"sha1" => Some(Kind::Sha1),
        b"sha256" => Some(Kind::Sha256),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says_is_what_is_asked_for() {
        let list = b"report-status report-status-v2 delete-refs side-band-64k quiet atomic ofs-delta object-format=sha256 agent=git/2.47";
        let all = PushCapabilities::read(list).unwrap();
        assert!(all.deletes && all.reports && all.format == Kind::Sha256);
        assert_eq!(all.asked(), format!("report-status-v2 side-band-64k quiet object-format=sha256 agent={AGENT}"));
        let old = PushCapabilities::read(b"report-status").unwrap();
        assert!(!old.deletes && old.reports && old.format == Kind::Sha1);
        assert_eq!(old.asked(), format!("report-status agent={AGENT}"));
        assert!(!PushCapabilities::read(b"").unwrap().reports);
        assert_eq!(PushCapabilities::read(b"object-format=sha3"), Err(b"sha3".to_vec()));
        assert!(!PushCapabilities::read(b"no-delete-refs delete-refsx").unwrap().deletes);
    }
}
