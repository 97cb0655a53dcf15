//! A made-up daemon as whoever watches it sees it: a ledger with a past, a board, and the real server over both.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;

use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};
use tagsyncd::config::Settings;
use tagsyncd::http::{Quota, Traffic};
use tagsyncd::ledger::{
    Action, Decision, Intent, Ledger as _, Matter, Outcome, Pair, ParkedBy, ParkedSet, PassEnd, RecordChange,
    Settlement, SqliteLedger, StateDirectory, Unsettled,
};
use tagsyncd::report::{ChangeReport, RemoteReport, State};
use tagsyncd::service::board::Board;
use tagsyncd::service::web::{Desk, serve};
use tagsyncd::tag::{TagName, Target, Value};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::program::private_file;

/// The secret of the job's webhooks.
pub const HOOK_SECRET: &str = "It's a Secret to Everybody";

/// How many webhooks wait for the loop at most.
pub const HOOKS: usize = 2;

/// A server over a made-up past.
pub struct Watched {
    folder: tempfile::TempDir,
    /// Where it listens.
    pub address: SocketAddr,
    /// What the loop would tell.
    pub board: Arc<Board>,
    /// What webhooks asked for.
    pub hooks: mpsc::Receiver<String>,
    /// Another configuration.
    pub settings: watch::Sender<Arc<Settings>>,
    /// Ends the server.
    pub stop: CancellationToken,
    /// Ends when the server has.
    pub served: tokio::task::JoinHandle<()>,
    /// The ledger, as the daemon holds it.
    pub ledger: SqliteLedger,
}

impl Watched {
    /// A job `core` to three remotes and a job `libraries` to two, with nothing behind them yet.
    pub fn start(address: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        private_file(&folder.path().join("hook"), &format!("{HOOK_SECRET}\n"));
        let settings = Arc::new(settings(folder.path(), &["gitlab", "codearts", "images"]));
        let state = StateDirectory::resolve(Some(&folder.path().join("state")), None).expect("the path is absolute");
        let ledger = SqliteLedger::open(&state.lock().expect("nobody else is there")).expect("the folder is ours");
        let board = Arc::new(Board::new(Arc::clone(&settings)));
        let (settings, receiver) = watch::channel(settings);
        let (sender, hooks) = mpsc::channel(HOOKS);
        let desk = Desk { board: Arc::clone(&board), state, settings: receiver, hooks: sender };
        let listener = TcpListener::bind(address).expect("the address is free");
        let address = listener.local_addr().expect("it is bound");
        let stop = CancellationToken::new();
        let served = serve(listener, desk, stop.clone());
        Self { folder, address, board, hooks, settings, stop, served, ledger }
    }

    /// The configuration with these remotes for the job `core`.
    pub fn configured(&self, remotes: &[&str]) -> Arc<Settings> {
        Arc::new(settings(self.folder.path(), remotes))
    }

    /// All repositories were found, and these are all pairs.
    pub fn found(&self, pairs: &[Pair]) {
        for job in ["core", "libraries"] {
            self.board.found(job, &Ok(pairs.iter().filter(|pair| pair.job == job).cloned().collect()));
        }
    }

    /// A file beside the state directory.
    pub fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    /// How a pass over a pair ended.
    pub async fn passed(&self, pair: &Pair, ended: Timestamp, state: State, error: Option<&str>, open: &[Unsettled]) {
        let end = PassEnd {
            began: ended - SignedDuration::from_secs(2),
            ended,
            state: state.to_string(),
            converged: matches!(state, State::InSync | State::Changed | State::Held | State::Waiting)
                && error.is_none(),
            error: error.map(str::to_owned),
            counts: r#"{"in_sync":41}"#.to_owned(),
            unsettled: open.iter().map(|open| Unsettled { since: ended, ..open.clone() }).collect(),
            agreement: None,
        };
        self.ledger.end_pass(pair, &end, None).await.expect("the ledger works");
    }

    /// A write and its end.
    pub async fn wrote(&self, pair: &Pair, ended: Timestamp, tag: &str, action: Action, end: Outcome, why: &str) {
        let intent = Intent {
            tag: name(tag),
            remote_name: name(tag),
            action,
            old: (action != Action::Create).then(|| value(7)),
            new: (action != Action::Delete).then(|| value(8)),
            message: None,
            old_message: None,
            reason: if end == Outcome::Done { why.to_owned() } else { String::new() },
        };
        let id = self.ledger.announce(pair, Uuid::now_v7(), &intent, ended).await.expect("the ledger works");
        let settlement = Settlement {
            outcome: end,
            record: RecordChange::Keep,
            keep_intent: false,
            detail: (end != Outcome::Done).then(|| why.to_owned()),
            refusal: None,
        };
        self.ledger.settle(pair, id, &settlement, ended).await.expect("the ledger works");
        self.ledger.flush().await.expect("the ledger works");
    }

    /// A set that a guard stopped.
    pub async fn parked(&self, pair: &Pair, set: ParkedSet, at: Timestamp) {
        self.ledger.park(pair, &[set], at).await.expect("the ledger works");
        self.ledger.flush().await.expect("the ledger works");
    }

    /// What a person says about the set of the first pair, from another process.
    pub async fn decide(&self, plan: &str, decision: Decision) {
        let state = StateDirectory::resolve(Some(&self.path("state")), None).expect("the path is absolute");
        let core = pair("core", "core", "gitlab");
        let done = SqliteLedger::decide(&state, &core, plan, decision, Timestamp::now()).await;
        assert!(done.expect("the ledger works"), "it was parked");
    }

    /// A daemon that has run for days, with something of everything, and `repositories` beside the first.
    pub async fn troubled(&self, repositories: usize) {
        let now = Timestamp::now();
        let before = |minutes: i64| now - SignedDuration::from_mins(minutes);
        let mut pairs: Vec<Pair> = ["gitlab", "codearts", "images"].map(|remote| pair("core", "core", remote)).into();
        for at in 0..repositories {
            let repository = format!("lib-{}{}", ["alpha", "config", "metrics", "parser", "wire"][at % 5], at / 5);
            pairs.extend(["gitlab", "codearts"].map(|remote| pair("libraries", &repository, remote)));
        }
        self.found(&pairs);
        let [gitlab, codearts, images] = [&pairs[0], &pairs[1], &pairs[2]];
        let deleted: Vec<Unsettled> = (1..=24)
            .map(|at| {
                open(
                    &format!("v0.{at}.0"),
                    Matter::Held,
                    "24 of 40 tags would be deleted, which is more than 4 in a day",
                )
            })
            .collect();
        let refused = open(
            "release/2026.11",
            Matter::Failed,
            "the remote refused it: \u{202e}You are not allowed to create this tag as it is protected.\u{1b}[0m",
        );
        let early = open("v2.4.0", Matter::Waiting, "there is no tag `sha-9fceb02d0ae5` on the remote yet");
        let mut held = deleted;
        held.push(open("v1.9.0", Matter::Held, "the remote has another value under a name that was never ours"));
        join_all(pairs.iter().enumerate().map(|(at, pair)| async move {
            let old = before(60 * 24 * 3 + 61 * i64::try_from(at % 40).unwrap_or(0));
            self.passed(pair, old, State::InSync, None, &[]).await;
        }))
        .await;
        self.passed(gitlab, before(193), State::Held, None, &held).await;
        self.passed(gitlab, before(3), State::Held, None, &held).await;
        let set = ParkedSet {
            plan: "5f3a9c01d2e4b687".into(),
            by: ParkedBy::Guard,
            changes: (1..=24)
                .map(|at| format!("delete v0.{at}.0 v0.{at}.0 commit:{} -", "7".repeat(40)))
                .collect::<Vec<_>>()
                .join("\n"),
            count: 24,
        };
        self.parked(gitlab, set, before(193)).await;
        self.passed(codearts, before(40), State::Failed, None, std::slice::from_ref(&refused)).await;
        self.passed(codearts, before(3), State::Failed, None, &[refused]).await;
        self.passed(images, before(12), State::Waiting, None, std::slice::from_ref(&early)).await;
        self.passed(images, before(3), State::Waiting, None, &[early]).await;
        join_all(pairs.iter().skip(3).enumerate().map(|(at, pair)| async move {
            match at {
                // One remote is down for some.
                1 | 3 | 5 => {
                    let error = "codearts.example.com did not answer within 30 seconds";
                    self.passed(pair, before(2), State::Unknown, Some(error), &[]).await;
                }
                2 => self.passed(pair, before(2), State::Changed, None, &[]).await,
                _ => self.passed(pair, before(2), State::InSync, None, &[]).await,
            }
        }))
        .await;
        for (minutes, pair, tag, action, end, why) in [
            (4_000, gitlab, "v2.3.0", Action::Create, Outcome::Done, ""),
            (1_500, gitlab, "nightly", Action::Move, Outcome::Done, "drift"),
            (190, images, "v2.3.1", Action::Create, Outcome::Done, ""),
            (188, codearts, "v0.1.0-rc1", Action::Delete, Outcome::Done, "approved"),
            (
                40,
                codearts,
                "release/2026.11",
                Action::Create,
                Outcome::Rejected,
                "You are not allowed to create this tag as it is protected.",
            ),
            (3, gitlab, "v2.4.0", Action::Create, Outcome::Done, ""),
        ] {
            self.wrote(pair, before(minutes), tag, action, end, why).await;
        }
        for (at, pair) in pairs.iter().enumerate() {
            self.board.began(pair, before(2) - SignedDuration::from_secs(2));
            self.board.ended(pair, &report(pair, State::InSync), before(2));
            self.board.scheduled(
                &pair.job,
                &pair.repository,
                Some(now + SignedDuration::from_mins(4 + i64::try_from(at % 9).unwrap_or(0))),
            );
        }
        self.board.began(images, now - SignedDuration::from_secs(70));
        self.board.turned(Some(now + SignedDuration::from_mins(4)));
    }

    /// The same daemon on a good day.
    pub async fn calm(&self, repositories: usize) {
        let now = Timestamp::now();
        let before = |minutes: i64| now - SignedDuration::from_mins(minutes);
        let mut pairs: Vec<Pair> = ["gitlab", "codearts", "images"].map(|remote| pair("core", "core", remote)).into();
        pairs.extend((0..repositories).map(|at| pair("libraries", &format!("lib-{at}"), "gitlab")));
        self.found(&pairs);
        for pair in &pairs {
            self.passed(pair, before(60 * 24 * 9), State::InSync, None, &[]).await;
            self.passed(pair, before(2), State::InSync, None, &[]).await;
            self.board.ended(pair, &report(pair, State::InSync), before(2));
            self.board.scheduled(&pair.job, &pair.repository, Some(now + SignedDuration::from_mins(13)));
        }
        self.board.turned(None);
    }
}

fn settings(folder: &Path, remotes: &[&str]) -> Settings {
    let hook = folder.join("hook");
    let tables: String = remotes
        .iter()
        .chain(["gitlab", "codearts"].iter().filter(|remote| !remotes.contains(remote)))
        .map(|remote| {
            format!(
                "[remote.{remote}]\nprovider = \"gitlab\"\nurl = \"https://{remote}.example.com\"\nproject = \"infra/{{repository}}\"\ntoken = {{ env = \"TOKEN\" }}\n"
            )
        })
        .collect();
    let text = format!(
        r#"
        [repository.core]
        path = "/srv/git/core.git"
        [repository.libraries]
        paths = ["/srv/git/lib-*.git"]
        {tables}
        [job.core]
        from = "core"
        to = {remotes:?}
        policy = "mirror"
        hook_secret = {{ file = "{}" }}
        [job.libraries]
        from = "libraries"
        to = ["gitlab", "codearts"]
        policy = "mirror"
        "#,
        hook.display()
    );
    Settings::parse(&text, Path::new("config.toml")).unwrap_or_else(|fault| panic!("{fault}"))
}

/// A pair by its names.
pub fn pair(job: &str, repository: &str, remote: &str) -> Pair {
    Pair { job: job.to_owned(), repository: repository.to_owned(), remote: remote.to_owned() }
}

/// A name on which the sides do not agree, as a pass reports it.
pub fn open(tag: &str, matter: Matter, reason: &str) -> Unsettled {
    Unsettled { tag: name(tag), matter, reason: reason.to_owned(), since: Timestamp::now() }
}

/// A name that git takes.
pub fn name(tag: &str) -> TagName {
    TagName::new(tag).expect("git takes the name")
}

fn value(number: u8) -> Value {
    Value::of(Target::Commit(format!("{number:x}9fceb02d0ae598e95dc970b74767f19372d61af").parse().expect("40 digits")))
}

/// What a pass reported that sent a few requests and made one change.
pub fn report(pair: &Pair, state: State) -> RemoteReport {
    let mut report = RemoteReport::new(&pair.remote);
    report.state = state;
    report.requests = 4;
    report.traffic = Traffic {
        by_status: [(0, 1), (200, 2), (599, 1)].into(),
        retries: 1,
        quota: Some(Quota { remaining: 59, limit: Some(60) }),
    };
    report.changes.push(ChangeReport {
        tag: name("v1"),
        name: name("v1"),
        action: Action::Create,
        from: None,
        to: Some(value(8)),
        outcome: Some(Outcome::Done),
        reason: None,
        degraded: None,
    });
    report
}
