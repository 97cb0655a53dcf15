//! What a look at one side found: single findings, each with what to do.

use jiff::{SignedDuration, SignedDurationRound, Unit};
use schemars::JsonSchema;
use serde::Serialize;

use crate::http::{Channel, ClockSkew, Observed, Reach};
use crate::provider::{Access, Fault, FaultKind, Identity};

/// Clocks that differ by more than this are a warning: signatures and short-lived tokens are refused not far above it.
const TOLERATED_SKEW: SignedDuration = SignedDuration::from_secs(60);

/// What was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Check {
    /// The time zone of schedules, which the configuration found.
    Timezone,
    /// The repository opens and its tags can be read.
    Source,
    /// A connection is made and an answer comes.
    Reachable,
    /// The connection is protected.
    Tls,
    /// The credential is accepted.
    Credential,
    /// The tag space has a stable id.
    Identity,
    /// The credential may do what a job needs.
    Access,
    /// The remote's clock agrees with ours.
    Clock,
    /// The tags can be listed to the end.
    Listing,
}

impl Check {
    /// What is looked at on a remote, in this order.
    const OF_A_REMOTE: [Self; 7] =
        [Self::Reachable, Self::Tls, Self::Credential, Self::Identity, Self::Access, Self::Clock, Self::Listing];

    /// Its name in reports.
    pub fn word(self) -> &'static str {
        match self {
            Self::Timezone => "timezone",
            Self::Source => "source",
            Self::Reachable => "reachable",
            Self::Tls => "tls",
            Self::Credential => "credential",
            Self::Identity => "identity",
            Self::Access => "access",
            Self::Clock => "clock",
            Self::Listing => "listing",
        }
    }

    /// Why nothing can be said about what depends on it, once it failed.
    fn missing(self) -> &'static str {
        match self {
            Self::Timezone => "there is no time zone",
            Self::Source => "no repository was found",
            Self::Reachable => "the remote could not be asked",
            Self::Tls => "the connection is not to be trusted",
            Self::Credential => "the credential was not accepted",
            Self::Identity => "the remote did not say what it is",
            Self::Access => "the credential may not read it",
            Self::Clock => "the clocks differ",
            Self::Listing => "the tags could not be listed",
        }
    }
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// As it should be.
    Ok,
    /// It works and is not as it should be.
    Warning,
    /// It will not work.
    Failed,
    /// Not looked at, because something before it failed.
    Skipped,
}

/// One thing that was looked at. The texts may hold what others chose; they are printable and hold no secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Finding {
    /// What was looked at.
    pub check: Check,
    /// What became of it.
    pub result: Outcome,
    /// What was found, in one sentence without a full stop.
    pub detail: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Finding {
    /// As it should be.
    pub fn ok(check: Check, detail: impl Into<String>) -> Self {
        Self { check, result: Outcome::Ok, detail: detail.into(), hint: None }
    }

    /// Works, and is not as it should be.
    pub fn warning(check: Check, detail: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { check, result: Outcome::Warning, detail: detail.into(), hint: Some(hint.into()) }
    }

    /// Will not work.
    pub fn failed(check: Check, detail: impl Into<String>, hint: Option<String>) -> Self {
        Self { check, result: Outcome::Failed, detail: detail.into(), hint }
    }

    /// Not looked at.
    pub fn skipped(check: Check, reason: impl Into<String>) -> Self {
        Self { check, result: Outcome::Skipped, detail: reason.into(), hint: None }
    }
}

/// A number of things, in words.
pub(super) fn counted(number: u64, thing: &str) -> String {
    let s = if number == 1 { "" } else { "s" };
    format!("{number} {thing}{s}")
}

/// What a remote answered to the questions of a check, before anything is concluded from it.
#[derive(Clone, Debug)]
pub(super) struct Answers {
    pub(super) place: String,
    pub(super) observed: Observed,
    /// From reading the credential to the project: the first that went wrong.
    pub(super) identity: Result<Identity, Fault>,
    /// What the credential's own limits leave of that access.
    pub(super) credential_access: Access,
    /// `None` where the identity was not found out.
    pub(super) listing: Option<Result<Listed, Fault>>,
}

/// A listing that came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) tags: u64,
    pub(super) requests: u64,
}

/// All findings about a remote of which nothing is known, because of what failed before.
pub(super) fn all_skipped(because: Check) -> Vec<Finding> {
    Check::OF_A_REMOTE.map(|check| Finding::skipped(check, because.missing())).to_vec()
}

/// The remote's part was broken off by a bug of ours.
pub(super) fn broken_off() -> Vec<Finding> {
    let hint = Some("report it as a bug, with the lines on standard error".to_owned());
    let mut findings = all_skipped(Check::Reachable);
    findings[0] = Finding::failed(Check::Reachable, "asking was broken off by a bug in tagsyncd", hint);
    findings
}

impl Answers {
    /// One finding for each thing, in the order of [`Check::OF_A_REMOTE`]. Each fault fails exactly one of them.
    pub(super) fn judge(&self) -> Vec<Finding> {
        let blamed = self.blamed();
        Check::OF_A_REMOTE
            .into_iter()
            .map(|check| match blamed {
                Some((failed, fault)) if failed == check => {
                    Finding::failed(check, fault.message.clone(), fault.hint.clone())
                }
                _ => self.finding(check, blamed.map(|(failed, _)| failed)),
            })
            .collect()
    }

    /// What the first fault is about.
    fn blamed(&self) -> Option<(Check, &Fault)> {
        let fault = match (&self.identity, &self.listing) {
            (Err(fault), _) => fault,
            (Ok(_), Some(Err(fault))) => {
                let check = if fault.kind == FaultKind::Forbidden { Check::Access } else { Check::Listing };
                // A credential that may write nothing is the better explanation for one that may not list.
                let explained = check == Check::Access && matches!(self.access(), Some(Access::ReadOnly { .. }));
                return (!explained).then_some((check, fault));
            }
            (Ok(_), None | Some(Ok(_))) => return None,
        };
        let Observed { reach, channel, .. } = &self.observed;
        let check = match (fault.kind, reach) {
            (FaultKind::Unauthorized, _) => Check::Credential,
            (FaultKind::Forbidden, _) => Check::Access,
            (_, Reach::Untrusted) => Check::Tls,
            // Nothing was sent because TLS could not be set up: `ca_file` cannot be read, or holds nothing.
            (FaultKind::NotSent, Reach::Nowhere) if matches!(channel, Some(Channel::Tls { .. })) => Check::Tls,
            (FaultKind::NotSent, _) | (_, Reach::NotConnected | Reach::Connected) => Check::Reachable,
            (_, Reach::Nowhere | Reach::Answered) => Check::Identity,
        };
        Some((check, fault))
    }

    /// What the project and the credential's own limits allow together.
    fn access(&self) -> Option<&Access> {
        match (&self.identity, &self.credential_access) {
            (Err(_), _) => None,
            (Ok(Identity { access: Access::Write, .. }), limits @ Access::ReadOnly { .. }) => Some(limits),
            (Ok(Identity { access: Access::Untold, .. }), limits @ Access::ReadOnly { .. }) => Some(limits),
            (Ok(identity), _) => Some(&identity.access),
        }
    }

    /// What is found about a thing that no fault is about; `blamed` is what the first fault is about.
    fn finding(&self, check: Check, blamed: Option<Check>) -> Finding {
        let skipped = || Finding::skipped(check, blamed.map_or("it was not asked for", Check::missing));
        let Observed { reach, channel, authenticated, skew } = &self.observed;
        match check {
            Check::Timezone | Check::Source => skipped(),
            Check::Reachable => match reach {
                Reach::Answered => Finding::ok(check, "connected and answered"),
                Reach::Untrusted | Reach::Connected => Finding::ok(check, "connected"),
                Reach::Nowhere | Reach::NotConnected => Finding::skipped(check, "nothing was sent"),
            },
            Check::Tls => match channel {
                Some(channel) if *reach >= Reach::Connected => protection(*channel),
                Some(_) | None => Finding::skipped(check, "no connection was made"),
            },
            Check::Credential => {
                // Who is told that something is missing or forbidden has been let in.
                let let_in = match &self.identity {
                    Ok(_) => true,
                    Err(fault) => matches!(fault.kind, FaultKind::Forbidden | FaultKind::NotFound),
                };
                match (let_in, authenticated) {
                    (false, _) => skipped(),
                    (true, true) => Finding::ok(check, "accepted"),
                    (true, false) => Finding::ok(check, "none is configured; anonymous access is allowed"),
                }
            }
            Check::Identity => match &self.identity {
                Ok(identity) => Finding::ok(check, format!("{} is {}", self.place, identity.space)),
                Err(_) => skipped(),
            },
            Check::Access => match self.access() {
                None => skipped(),
                Some(Access::Write) => Finding::ok(check, "may create and delete tags"),
                Some(Access::Untold) => Finding::ok(check, "not told by the remote; the first write will show it"),
                Some(Access::ReadOnly { found, needed }) => Finding::failed(
                    check,
                    format!("may only read: found {found}"),
                    Some(format!("writing tags needs {needed}")),
                ),
            },
            Check::Clock => match skew {
                Some(skew) => clocks(*skew),
                None if *reach == Reach::Answered => Finding::skipped(check, "no answer told the time"),
                None => skipped(),
            },
            Check::Listing => match &self.listing {
                Some(Ok(Listed { tags, requests })) => Finding::ok(
                    check,
                    format!("complete: {} in {}", counted(*tags, "tag"), counted(*requests, "request")),
                ),
                Some(Err(_)) => Finding::skipped(check, Check::Access.missing()),
                None => skipped(),
            },
        }
    }
}

fn protection(channel: Channel) -> Finding {
    match channel {
        Channel::Tls { own_authorities: false } => {
            Finding::ok(Check::Tls, "certificate verified against the system's authorities")
        }
        Channel::Tls { own_authorities: true } => {
            Finding::ok(Check::Tls, "certificate verified against `ca_file` and the system's authorities")
        }
        Channel::Loopback => Finding::ok(Check::Tls, "plain HTTP, this machine only"),
        Channel::Plain => Finding::warning(
            Check::Tls,
            "plain HTTP: everybody on the way can read and change what is sent, the credential too",
            "use https, with `ca_file` for a private authority, and take out `allow_http`",
        ),
    }
}

fn clocks(skew: ClockSkew) -> Finding {
    let rounded = |time: SignedDuration| time.round(SignedDurationRound::new().smallest(Unit::Second)).unwrap_or(time);
    let way = if skew.ahead.is_negative() { "behind" } else { "ahead of" };
    if skew.least() > TOLERATED_SKEW {
        let detail = format!("the remote's clock is {:#} {way} ours", rounded(skew.ahead.abs()));
        return Finding::warning(
            Check::Clock,
            detail,
            "let NTP set both clocks; signatures and the lives of tokens depend on them",
        );
    }
    match rounded(skew.least()) {
        SignedDuration::ZERO => Finding::ok(Check::Clock, "the remote's clock and ours agree"),
        least => Finding::ok(Check::Clock, format!("the remote's clock is {least:#} {way} ours")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Outcome::{Failed, Ok as Fine, Skipped, Warning};

    fn answers(reach: Reach, identity: Result<Access, FaultKind>) -> Answers {
        Answers {
            place: "https://git.example.com infra/core".into(),
            observed: Observed {
                channel: Some(Channel::Tls { own_authorities: false }),
                authenticated: true,
                reach,
                skew: None,
            },
            identity: identity
                .map(|access| Identity { space: "gitlab:git.example.com#7".into(), access })
                .map_err(|kind| Fault::new(kind, "it went wrong").hint("repair it")),
            credential_access: Access::Untold,
            listing: None,
        }
    }

    fn read_only() -> Access {
        Access::ReadOnly { found: "the role Reporter".into(), needed: "the role Developer".into() }
    }

    fn results(answers: &Answers) -> [Outcome; 7] {
        let findings = answers.judge();
        assert_eq!(findings.iter().map(|finding| finding.check).collect::<Vec<_>>(), Check::OF_A_REMOTE);
        for finding in &findings {
            assert!(finding.hint.is_some() || !matches!(finding.result, Warning | Failed), "{finding:?}");
        }
        findings.iter().map(|finding| finding.result).collect::<Vec<_>>().try_into().unwrap()
    }

    #[test]
    fn a_fault_fails_one_thing_and_skips_what_depends_on_it() {
        use FaultKind::{Ambiguous, Forbidden, NotFound, NotSent, Rejected, Throttled, Unauthorized, Unreadable};
        let rows = [
            // Reachable, TLS, credential, identity, access, clock, listing.
            (Reach::Nowhere, Unauthorized, [Skipped, Skipped, Failed, Skipped, Skipped, Skipped, Skipped]),
            (Reach::Nowhere, NotSent, [Skipped, Failed, Skipped, Skipped, Skipped, Skipped, Skipped]),
            (Reach::Nowhere, Throttled, [Skipped, Skipped, Skipped, Failed, Skipped, Skipped, Skipped]),
            (Reach::NotConnected, NotSent, [Failed, Skipped, Skipped, Skipped, Skipped, Skipped, Skipped]),
            (Reach::Untrusted, NotSent, [Fine, Failed, Skipped, Skipped, Skipped, Skipped, Skipped]),
            (Reach::Connected, Unreadable, [Failed, Fine, Skipped, Skipped, Skipped, Skipped, Skipped]),
            (Reach::Answered, NotSent, [Failed, Fine, Skipped, Skipped, Skipped, Skipped, Skipped]),
            (Reach::Answered, Unauthorized, [Fine, Fine, Failed, Skipped, Skipped, Skipped, Skipped]),
            (Reach::Answered, Forbidden, [Fine, Fine, Fine, Skipped, Failed, Skipped, Skipped]),
            (Reach::Answered, NotFound, [Fine, Fine, Fine, Failed, Skipped, Skipped, Skipped]),
            (Reach::Answered, Unreadable, [Fine, Fine, Skipped, Failed, Skipped, Skipped, Skipped]),
            (Reach::Answered, Rejected, [Fine, Fine, Skipped, Failed, Skipped, Skipped, Skipped]),
            (Reach::Answered, Throttled, [Fine, Fine, Skipped, Failed, Skipped, Skipped, Skipped]),
            (Reach::Answered, Ambiguous, [Fine, Fine, Skipped, Failed, Skipped, Skipped, Skipped]),
        ];
        for (reach, kind, expected) in rows {
            assert_eq!(results(&answers(reach, Err(kind))), expected, "{reach:?} {kind:?}");
        }
    }

    #[test]
    fn what_may_not_be_listed_is_a_matter_of_access() {
        let listed = |access: Access, limits: Access, listing: Result<Listed, FaultKind>| {
            let listing = listing.map_err(|kind| Fault::new(kind, "it went wrong").hint("repair it"));
            let answers =
                Answers { credential_access: limits, listing: Some(listing), ..answers(Reach::Answered, Ok(access)) };
            let [.., access, _, listing] = results(&answers);
            (access, listing)
        };
        let fine = || Ok(Listed { tags: 3, requests: 1 });
        assert_eq!(listed(Access::Write, Access::Untold, fine()), (Fine, Fine));
        assert_eq!(listed(Access::Untold, Access::Write, fine()), (Fine, Fine));
        assert_eq!(listed(read_only(), Access::Write, fine()), (Failed, Fine));
        assert_eq!(listed(Access::Write, read_only(), fine()), (Failed, Fine));
        assert_eq!(listed(Access::Untold, read_only(), fine()), (Failed, Fine));
        assert_eq!(listed(read_only(), Access::Untold, Err(FaultKind::Forbidden)), (Failed, Skipped));
        assert_eq!(listed(Access::Write, Access::Untold, Err(FaultKind::Forbidden)), (Failed, Skipped));
        assert_eq!(listed(Access::Write, Access::Untold, Err(FaultKind::Unreadable)), (Fine, Failed));
        assert_eq!(listed(read_only(), Access::Untold, Err(FaultKind::Unreadable)), (Failed, Failed));
    }

    #[test]
    fn clocks_may_differ_by_a_minute() {
        let skew = |seconds: i64| {
            let within = SignedDuration::from_millis(600);
            clocks(ClockSkew { ahead: SignedDuration::from_millis(seconds * 1000 + 200), within })
        };
        let agree = Finding::ok(Check::Clock, "the remote's clock and ours agree");
        assert_eq!((skew(0), skew(-1)), (agree.clone(), agree));
        assert_eq!(skew(10).detail, "the remote's clock is 10s ahead of ours");
        assert_eq!((skew(60).result, skew(-60).result), (Fine, Fine));
        assert_eq!((skew(61).result, skew(-61).result), (Warning, Warning));
        assert_eq!(skew(3600).detail, "the remote's clock is 1h ahead of ours");
        assert_eq!(skew(-86_400).detail, "the remote's clock is 24h behind ours");
    }

    #[test]
    fn the_way_is_named_with_what_protects_it() {
        let results = [Channel::Tls { own_authorities: true }, Channel::Loopback, Channel::Plain]
            .map(|channel| protection(channel).result);
        assert_eq!(results, [Fine, Fine, Warning]);
    }
}
