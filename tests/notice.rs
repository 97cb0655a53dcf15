//! What people are told, and how often: the announcer between real ledgers, a server and programs.
#![expect(clippy::unwrap_used, reason = "a test may stop at whatever it did not expect")]

mod support;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use support::server::{Effect, Gate, Reply, Request, Server, When};
use tagsyncd::config::{NotifySettings, RepositoriesFault, Settings};
use tagsyncd::ledger::{Ledger, LedgerRead as _, Pair, SqliteLedger, StateDirectory};
use tagsyncd::report::{RemoteReport, State};
use tagsyncd::service::notice::{Announcer, Pace};

const SOON: Duration = Duration::from_secs(10);

/// A ledger, a server that takes everything, and a folder for programs.
struct World {
    folder: tempfile::TempDir,
    ledger: Arc<SqliteLedger>,
    server: Server,
    messages: Arc<std::sync::Mutex<Vec<(Request, Value)>>>,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let directory = StateDirectory::resolve(Some(&folder.path().join("state")), None).unwrap();
        let ledger = Arc::new(SqliteLedger::open(&directory.lock().unwrap()).unwrap());
        let messages: Arc<std::sync::Mutex<Vec<(Request, Value)>>> = Arc::default();
        let server = Server::start({
            let messages = Arc::clone(&messages);
            move |request: &Request| {
                if request.method == "POST" {
                    let message = serde_json::from_slice(&request.body).unwrap();
                    messages.lock().unwrap().push((request.clone(), message));
                }
                Reply::empty(204)
            }
        });
        Self { folder, ledger, server, messages }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A file with a secret.
    fn secret(&self, name: &str, text: &str) -> String {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::write(self.path(name), text).unwrap();
        std::fs::set_permissions(self.path(name), std::fs::Permissions::from_mode(0o600)).unwrap();
        format!("{{ file = {:?} }}", self.path(name).to_str().unwrap())
    }

    /// An announcer that knows of all pairs.
    fn announcer(&self, notify: &str) -> Announcer {
        let announcer = self.begun(notify);
        know(&announcer, pairs());
        announcer
    }

    /// An announcer that knows of nothing yet.
    fn begun(&self, notify: &str) -> Announcer {
        let [settle, pause, rest, patience] = [100, 5, 200, 1_000].map(Duration::from_millis);
        Announcer::with_pace(&settings(notify), self.ledger(), Pace { settle, pause, rest, patience })
    }

    fn ledger(&self) -> Arc<dyn Ledger> {
        Arc::clone(&self.ledger) as _
    }

    fn messages(&self) -> Vec<Value> {
        self.messages.lock().unwrap().iter().map(|(_, message)| message.clone()).collect()
    }

    /// Waits for so many messages in all, and gives the last.
    async fn message(&self, count: usize) -> Value {
        assert!(eventually(|| self.messages().len() >= count).await, "{:#?}", self.messages());
        assert_eq!(self.messages().len(), count);
        self.messages().pop().unwrap()
    }
}

/// The announcer hears that the only job has these pairs.
fn know(announcer: &Announcer, pairs: Vec<Pair>) {
    announcer.configured(["j".to_owned()]);
    announcer.found("j", &Ok(pairs), at(0));
}

async fn eventually(wanted: impl Fn() -> bool) -> bool {
    let wait = async {
        while !wanted() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SOON, wait).await.is_ok()
}

fn settings(notify: &str) -> NotifySettings {
    let text = format!(
        "[notify]\n{notify}\n[repository.core]\npath = \"/srv/core\"\n[remote.r]\nprovider = \"gitlab\"\nproject = \"a/b\"\n\
         [job.j]\nfrom = \"core\"\nto = [\"r\"]\npolicy = \"mirror\"\n"
    );
    Settings::parse(&text, Path::new("config.toml")).unwrap().notify
}

fn pair(at: usize) -> Pair {
    Pair { job: "j".into(), repository: format!("r{at:03}"), remote: "gitlab".into() }
}

fn pairs() -> Vec<Pair> {
    (0..1000).map(pair).collect()
}

fn report(state: State) -> RemoteReport {
    let mut report = RemoteReport::new("gitlab");
    if state == State::Unknown {
        report.fail("could not list the tags: no connection\u{1b}[31m", Some("check the network".into()));
    }
    RemoteReport { state, ..report }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

#[tokio::test]
async fn a_change_is_told_once_and_a_restart_tells_nothing_again() {
    let world = World::new();
    let notify = format!("url = \"{}/hook?key=1\"", world.server.url());
    let announcer = world.announcer(&notify);
    announcer.pair_ended(&pair(0), &report(State::InSync), at(0));
    announcer.pair_ended(&pair(1), &report(State::Held), at(1));
    let message = world.message(1).await;
    assert_eq!(message["counts"], json!({ "held": 1, "failing": 0, "recovered": 0, "lasting": 0 }));
    assert_eq!(message["totals"], json!({ "good": 1, "held": 1, "failing": 0 }));
    let told = &message["changes"][0];
    assert_eq!((&told["from"], &told["to"], &told["repositories"]), (&json!("good"), &json!("held"), &json!(["r001"])));
    assert_eq!((&message["version"], message["time"].as_str().unwrap()), (&json!(1), "2027-01-15T08:00:01Z"));
    let (request, _) = world.messages.lock().unwrap()[0].clone();
    assert_eq!(
        (request.target.as_str(), request.header("content-type"), request.header("authorization")),
        ("/hook?key=1", Some("application/json"), None)
    );
    announcer.pair_ended(&pair(1), &report(State::Held), at(2));
    announcer.stop().await;
    assert_eq!(world.messages().len(), 1);

    let announcer = world.announcer(&notify);
    announcer.pair_ended(&pair(1), &report(State::Held), at(60));
    announcer.pair_ended(&pair(1), &report(State::Unknown), at(120));
    let message = world.message(2).await;
    assert_eq!((&message["changes"][0]["from"], &message["changes"][0]["to"]), (&json!("held"), &json!("failing")));
    announcer.pair_ended(&pair(1), &report(State::Changed), at(3_721));
    let message = world.message(3).await;
    assert_eq!((&message["counts"]["recovered"], &message["changes"][0]["seconds"]), (&json!(1), &json!(3_720)));
    assert!(message["text"].as_str().unwrap().ends_with("j: r001 -> gitlab: recovered after 1 h 2 min"), "{message}");
    announcer.stop().await;
    assert_eq!(world.ledger.read_notices().await.unwrap(), []);
}

#[tokio::test]
async fn jobs_are_found_one_after_the_other_and_one_that_is_lost_is_told() {
    let world = World::new();
    let notify = format!("url = \"{}\"", world.server.url());
    let announcer = world.announcer(&notify);
    announcer.pair_ended(&pair(0), &report(State::Held), at(0));
    world.message(1).await;
    announcer.stop().await;

    let announcer = world.begun(&notify);
    announcer.configured(["i".to_owned(), "j".to_owned()]);
    announcer.found("i", &Ok(vec![Pair { job: "i".into(), ..pair(0) }]), at(60));
    let fault = RepositoriesFault { message: "no directory matches".into(), hint: Some("look there".into()) };
    announcer.found("j", &Err(fault.clone()), at(61));
    let message = world.message(2).await;
    assert_eq!((&message["counts"]["failing"], &message["changes"][0]["remote"]), (&json!(1), &json!(null)));
    assert_eq!(
        (&message["changes"][0]["hint"], &message["changes"][0]["repositories"]),
        (&json!("look there"), &json!([]))
    );
    let words = message["text"].as_str().unwrap();
    assert!(words.ends_with("\nj: finding its repositories: failing: no directory matches"), "{words}");
    announcer.found("j", &Err(fault), at(120));
    announcer.found("j", &Ok(pairs()), at(181));
    let message = world.message(3).await;
    let words = message["text"].as_str().unwrap();
    assert!(words.ends_with("\nj: finding its repositories: recovered after 2 min"), "{words}");
    // What was told before is known all the time.
    announcer.pair_ended(&pair(0), &report(State::Held), at(240));
    announcer.pair_ended(&pair(0), &report(State::InSync), at(241));
    let message = world.message(4).await;
    assert_eq!((&message["counts"]["recovered"], &message["changes"][0]["seconds"]), (&json!(1), &json!(241)));
    announcer.stop().await;
    assert_eq!(world.ledger.read_notices().await.unwrap(), []);
}

#[tokio::test]
async fn other_settings_tell_nothing_again_that_is_still_on_its_way() {
    let world = World::new();
    let notify = format!("url = \"{}\"", world.server.url());
    let mut announcer = world.announcer(&notify);
    let gate = Gate::closed();
    world.server.on(When::method("POST"), Effect::Hang(gate.clone()));
    announcer.pair_ended(&pair(0), &report(State::Held), at(0));
    assert!(eventually(|| world.server.record().in_flight == 1).await);
    announcer.renew(&settings(&format!("repeat = \"0s\"\n{notify}")), world.ledger());
    know(&announcer, pairs());
    announcer.pair_ended(&pair(0), &report(State::Held), at(1));
    announcer.pair_ended(&pair(1), &report(State::Held), at(2));
    gate.open();
    assert!(eventually(|| announcer.tally().delivered() == 2).await);
    announcer.stop().await;
    let told: Vec<_> = world.messages().iter().map(|message| message["changes"][0]["repositories"].clone()).collect();
    assert_eq!(told, [json!(["r000"]), json!(["r001"])]);
}

#[tokio::test]
async fn a_program_that_leaves_something_behind_has_done_its_work() {
    let world = World::new();
    let announcer = world.announcer("command = [\"/bin/sh\", \"-c\", \"sleep 20 & exit 0\"]");
    announcer.pair_ended(&pair(0), &report(State::Held), at(0));
    assert!(eventually(|| announcer.tally().delivered() == 1).await);
    announcer.stop().await;
}

#[tokio::test]
async fn a_program_that_takes_too_long_ends_with_all_that_it_started() {
    let world = World::new();
    let pipe = world.path("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let script = format!("sleep 600 > {} & wait", pipe.display());
    let announcer = world.announcer(&format!("command = [\"/bin/sh\", \"-c\", {script:?}]"));
    announcer.pair_ended(&pair(0), &report(State::Held), at(0));
    // The pipe ends with the last process that holds it.
    let ended = tokio::task::spawn_blocking(move || std::fs::read(pipe).unwrap());
    assert_eq!(tokio::time::timeout(SOON, ended).await.unwrap().unwrap(), b"");
    announcer.stop().await;
}

#[tokio::test]
async fn what_lasts_is_told_again_after_a_day_unless_that_is_not_wanted() {
    let world = World::new();
    for (repeat, expected) in [("", 2), ("repeat = \"0s\"", 1)] {
        world.messages.lock().unwrap().clear();
        let announcer = world.announcer(&format!("{repeat}\nurl = \"{}\"", world.server.url()));
        announcer.pair_ended(&pair(0), &report(State::Held), at(0));
        world.message(1).await;
        // The same condition is not told; a day later it is.
        announcer.pair_ended(&pair(0), &report(State::Held), at(86_399));
        announcer.pair_ended(&pair(0), &report(State::Held), at(86_401));
        announcer.stop().await;
        let messages = world.messages();
        assert_eq!(messages.len(), expected, "{repeat} {messages:#?}");
        if expected == 2 {
            assert_eq!(messages[1]["counts"]["lasting"], 1);
            assert!(messages[1]["text"].as_str().unwrap().ends_with("still held for 1 d 0 h"), "{}", messages[1]);
        }
        let announcer = world.announcer(&format!("url = \"{}\"", world.server.url()));
        announcer.pair_ended(&pair(0), &report(State::InSync), at(90_000));
        announcer.stop().await;
    }
}

#[tokio::test]
async fn a_remote_that_dies_with_a_thousand_repositories_is_one_message() {
    let world = World::new();
    let file = world.path("told");
    let script = format!("cat >> {}; echo >> {}; echo noted", file.display(), file.display());
    let announcer = world.announcer(&format!("command = [\"/bin/sh\", \"-c\", {script:?}]"));
    for pair in pairs() {
        announcer.pair_ended(&pair, &report(State::Unknown), at(5));
    }
    assert!(eventually(|| announcer.tally().delivered() == 1).await);
    announcer.stop().await;
    let text = std::fs::read_to_string(&file).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    let message: Value = serde_json::from_str(&text).unwrap();
    assert!(text.len() < 4096 && !text.contains("\\u001b"), "{text}");
    assert_eq!((&message["counts"]["failing"], &message["changes"][0]["count"]), (&json!(1000), &json!(1000)));
    assert_eq!(message["changes"][0]["repositories"].as_array().unwrap().len(), 5);
    assert_eq!(message["changes"][0]["hint"], "check the network");
    let words = message["text"].as_str().unwrap();
    assert!(
        words.contains("j: r000, r001, r002, r003, r004 and 995 more -> gitlab: failing: could not list"),
        "{words}"
    );
    assert_eq!(world.ledger.read_notices().await.unwrap().len(), 1000);
}

#[tokio::test]
async fn a_message_that_nobody_takes_is_tried_again_and_not_lost() {
    let world = World::new();
    let secret = world.secret("chat", &format!("{}/services/CANARY", world.server.url()));
    let token = world.secret("token", "TOKEN-CANARY");
    let announcer = world.announcer(&format!("url = {secret}\ntoken = {token}"));
    // Two refusals, then it is taken: one message, with the token.
    world.server.on(When::method("POST").times(2), Effect::Answer(Reply::empty(500)));
    announcer.pair_ended(&pair(0), &report(State::Held), at(0));
    world.message(1).await;
    let (request, _) = world.messages.lock().unwrap()[0].clone();
    let sent = (request.path.as_str(), request.header("authorization"));
    assert_eq!(sent, ("/services/CANARY", Some("Bearer TOKEN-CANARY")));
    assert_eq!(world.server.record().total(), 3);
    // Given up after five tries; what there is to say by then is said later.
    world.server.on(When::method("POST").times(5), Effect::Answer(Reply::empty(500)));
    announcer.pair_ended(&pair(1), &report(State::Held), at(1));
    assert!(eventually(|| announcer.tally().undelivered() == 1).await);
    announcer.pair_ended(&pair(0), &report(State::InSync), at(2));
    let message = world.message(2).await;
    assert_eq!(message["counts"], json!({ "held": 1, "failing": 0, "recovered": 1, "lasting": 0 }));
    assert!(eventually(|| announcer.tally().delivered() == 2).await);
    announcer.stop().await;
}

#[tokio::test]
async fn a_listener_that_hangs_holds_up_nobody() {
    let world = World::new();
    let gate = Gate::closed();
    world.server.on(When::any(), Effect::Hang(gate.clone()));
    let announcer = world.announcer(&format!("url = \"{}\"", world.server.url()));
    announcer.pair_ended(&pair(0), &report(State::Held), at(0));
    let began = std::time::Instant::now();
    assert!(eventually(|| world.server.record().in_flight == 1).await);
    for pair in pairs() {
        announcer.pair_ended(&pair, &report(State::InSync), at(1));
    }
    announcer.stop().await;
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
    gate.open();
    // It was never acknowledged, so the ledger does not say that it was told.
    assert_eq!(world.ledger.read_notices().await.unwrap(), []);
}

#[tokio::test]
async fn the_heart_beats_after_each_round_in_which_nothing_failed() {
    let world = World::new();
    let announcer = world.announcer(&format!("heartbeat = \"{}/ping/me?ok\"", world.server.url()));
    know(&announcer, vec![pair(0), pair(1)]);
    let end = |at_pair: usize, state| announcer.pair_ended(&pair(at_pair), &report(state), at(0));
    end(0, State::InSync);
    end(1, State::Unknown);
    end(0, State::Held);
    // The second one is well again: everybody had a turn, and what is held is no failure.
    end(1, State::Waiting);
    assert!(eventually(|| announcer.tally().heartbeats() == 1).await);
    end(1, State::InSync);
    end(1, State::InSync);
    end(0, State::Failed);
    announcer.stop().await;
    let record = world.server.record();
    assert_eq!((record.total(), record.requests[0].target.as_str()), (1, "/ping/me?ok"));
    assert_eq!(world.messages().len(), 0);
}

#[tokio::test]
async fn nothing_is_sent_when_nothing_is_configured() {
    let world = World::new();
    let announcer = world.announcer("");
    announcer.pair_ended(&pair(0), &report(State::Unknown), at(0));
    announcer.stop().await;
    assert_eq!(world.server.record().connections, 0);
}
