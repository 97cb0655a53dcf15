//! What a daemon shows and accepts over HTTP: the real server on a port of its own, over a ledger with a past.

mod support;

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::{SignedDuration, Timestamp};
use sha2::Sha256;
use support::server::{Reply, Request, Server};
use support::watched::{HOOK_SECRET, Watched, open, pair, report};
use tagsyncd::config::RepositoriesFault;
use tagsyncd::http::{Authorization, Client, HttpSettings, Pool, Transport};
use tagsyncd::ledger::{Action, Decision, Matter, Outcome, ParkedBy, ParkedSet};
use tagsyncd::report::State;
use tagsyncd::service::board::Readiness;

/// An answer, as it came over the wire.
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    #[track_caller]
    fn of(bytes: &[u8]) -> Self {
        let text = String::from_utf8(bytes.to_vec()).expect("answers are UTF-8");
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
        let status = head.split(' ').nth(1).expect("a status line").parse().expect("a status");
        Self { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

/// Sends these bytes and reads to the end.
async fn send(address: SocketAddr, request: Vec<u8>) -> Answer {
    tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).expect("the server listens");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a time is taken");
        // A server that has heard enough may answer before it has heard all.
        let _cut_off = stream.write_all(&request);
        let mut bytes = Vec::new();
        let _reset = stream.read_to_end(&mut bytes);
        Answer::of(&bytes)
    })
    .await
    .expect("sending does not panic")
}

async fn ask(address: SocketAddr, method: &str, path: &str) -> Answer {
    send(address, format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\n\r\n").into_bytes()).await
}

async fn get(watched: &Watched, path: &str) -> Answer {
    ask(watched.address, "GET", path).await
}

async fn post(watched: &Watched, path: &str, headers: &str, body: &[u8]) -> Answer {
    let address = watched.address;
    let head = format!("POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {}\r\n{headers}\r\n", body.len());
    send(address, [head.as_bytes(), body].concat()).await
}

fn signature(secret: &str, body: &[u8]) -> String {
    let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any length is a key").chain_update(body);
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

const LOOPBACK: &str = "127.0.0.1:0";

#[tokio::test]
async fn nothing_is_shown_that_is_not_guarded_and_nothing_else_is_there() {
    let watched = Watched::start(LOOPBACK);
    for (path, kind) in [
        ("/", "text/html; charset=utf-8"),
        ("/status.json", "application/json"),
        ("/metrics", "application/openmetrics-text; version=1.0.0; charset=utf-8"),
        ("/healthz", "text/plain; charset=utf-8"),
        ("/nothing", "text/plain; charset=utf-8"),
    ] {
        let answer = get(&watched, path).await;
        assert_eq!(answer.status, if path == "/nothing" { 404 } else { 200 }, "{path}");
        assert_eq!(answer.header("content-type"), Some(kind), "{path}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{path}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"), "{path}");
        assert!(answer.header("content-security-policy").unwrap().starts_with("default-src 'none';"), "{path}");
        let head = ask(watched.address, "HEAD", path).await;
        assert_eq!((head.status, head.body.as_str()), (answer.status, ""), "{path}");
    }
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"] {
        for path in ["/", "/status.json", "/metrics", "/healthz", "/readyz"] {
            let answer = ask(watched.address, method, path).await;
            assert_eq!((answer.status, answer.header("allow")), (405, Some("get,head")), "{method} {path}");
        }
    }
}

#[tokio::test]
async fn on_loopback_a_name_of_somebody_else_is_not_answered() {
    let watched = Watched::start(LOOPBACK);
    let with_host = |line: &str| format!("GET /status.json HTTP/1.1\r\n{line}\r\n").into_bytes();
    for host in ["Host: evil.example\r\n", "Host: evil.example:9465\r\n", "Host: localhost.evil.example\r\n", ""] {
        let answer = send(watched.address, with_host(host)).await;
        assert!(answer.status == 421 && !answer.body.contains("pairs"), "{host}: {}", answer.body);
    }
    for host in ["Host: localhost:1\r\n", "Host: [::1]\r\n", "Host: 127.0.0.1\r\n"] {
        assert_eq!(send(watched.address, with_host(host)).await.status, 200, "{host}");
    }
    // A forge reaches webhooks under whatever name the proxy has.
    let hook = "POST /hooks/core HTTP/1.1\r\nHost: hooks.example\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(send(watched.address, hook.as_bytes().to_vec()).await.status, 401);
    // Whoever listens for others is known to them under names that the configuration does not have.
    let open = Watched::start("0.0.0.0:0");
    let address = SocketAddr::from(([127, 0, 0, 1], open.address.port()));
    assert_eq!(send(address, with_host("Host: build.example:9465\r\n")).await.status, 200);
}

#[tokio::test]
async fn health_is_that_the_loop_turns() {
    let watched = Watched::start(LOOPBACK);
    assert_eq!(get(&watched, "/healthz").await.status, 200, "it has just started");
    let seconds = |seconds: i64| Some(Timestamp::now() + SignedDuration::from_secs(seconds));
    for (until, status) in [(seconds(-60), 200), (seconds(3_600), 200), (None, 200)] {
        watched.board.turned(until);
        assert_eq!(get(&watched, "/healthz").await.status, status, "{until:?}");
    }
    assert!(watched.board.turns_at(Instant::now() + Duration::from_secs(10 * 24 * 3_600)), "nothing was promised");
    watched.board.turned(seconds(600));
    assert!(watched.board.turns_at(Instant::now() + Duration::from_secs(700)));
    assert!(!watched.board.turns_at(Instant::now() + Duration::from_secs(730)), "it had promised to turn");
}

#[tokio::test]
async fn readiness_comes_with_the_first_pass_over_everything_and_stays() {
    let watched = Watched::start(LOOPBACK);
    let board = &watched.board;
    let [one, other, late] = ["gitlab", "codearts", "images"].map(|remote| pair("core", "core", remote));
    let ready = async || {
        let answer = get(&watched, "/readyz").await;
        (answer.status, answer.body)
    };
    assert_eq!(ready().await, (503, "the repositories of core have not been looked for yet\n".into()));
    board.found("core", &Ok(vec![one.clone(), other.clone()]));
    board.ended(&one, &report(&one, State::InSync), Timestamp::now());
    board.ended(&other, &report(&other, State::Unknown), Timestamp::now());
    assert_eq!(ready().await, (503, "the repositories of libraries have not been looked for yet\n".into()));
    let lost = || RepositoriesFault { message: "`/srv/git/lib-*.git` matches no directory".into(), hint: None };
    board.found("libraries", &Err(lost()));
    let words = "the repositories of libraries could not be found: `/srv/git/lib-*.git` matches no directory\n";
    assert_eq!(ready().await, (503, words.into()));
    let library = pair("libraries", "lib-a", "gitlab");
    board.found("libraries", &Ok(vec![library.clone()]));
    let words = "1 of 3 pairs have not ended their first pass, among them libraries: lib-a -> gitlab\n";
    assert_eq!(ready().await, (503, words.into()));
    board.ended(&library, &report(&library, State::InSync), Timestamp::now());
    assert_eq!(ready().await.0, 200);
    board.found("core", &Ok(vec![one, other, late]));
    board.found("libraries", &Err(lost()));
    assert_eq!(ready().await.0, 200, "what appears later, or is lost, does not take it back");

    // Repositories that cannot be told are not left out.
    let watched = Watched::start(LOOPBACK);
    watched.found(&[]);
    assert_eq!(watched.board.readiness(), Readiness::Ready);
    watched.board.found("libraries", &Err(lost()));
    let status: serde_json::Value = serde_json::from_str(&get(&watched, "/status.json").await.body).unwrap();
    assert_eq!(
        (&status["pairs"][1]["repository"], &status["pairs"][1]["state"]),
        (&"libraries".into(), &"unknown".into())
    );
    assert_eq!(status["pairs"][1]["error"], "`/srv/git/lib-*.git` matches no directory");
    watched.found(&[]);
    assert!(get(&watched, "/status.json").await.body.contains(r#""pairs":[]"#));
}

#[tokio::test]
async fn the_status_is_what_the_command_prints_and_when_it_goes_on() {
    let watched = Watched::start(LOOPBACK);
    watched.troubled(2).await;
    let answer = get(&watched, "/status.json").await;
    let status: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    let schema = std::fs::read_to_string("docs/schema/status.json").unwrap();
    let schema =
        jsonschema::options().should_validate_formats(true).build(&serde_json::from_str(&schema).unwrap()).unwrap();
    let faults: Vec<String> = schema.iter_errors(&status).map(|fault| fault.to_string()).collect();
    assert!(faults.is_empty(), "{faults:?}");
    let pairs = status["pairs"].as_array().unwrap();
    let order: Vec<_> =
        pairs.iter().map(|pair| (pair["repository"].as_str().unwrap(), pair["remote"].as_str().unwrap())).collect();
    assert_eq!(order[..4], [("core", "gitlab"), ("core", "codearts"), ("core", "images"), ("lib-alpha0", "gitlab")]);
    assert_eq!((&pairs[0]["state"], &pairs[0]["plan"]), (&"held".into(), &"5f3a9c01d2e4b687".into()));
    assert!(pairs[0]["next_run"].is_string() && pairs[0]["running_since"].is_null());
    assert!(pairs[2]["running_since"].is_string());
    assert!(!answer.body.contains(['\u{202e}', '\u{1b}']), "no steering character is ever printed");
}

#[tokio::test]
async fn metrics_say_how_pairs_stand_and_what_was_counted() {
    let watched = Watched::start(LOOPBACK);
    let at = Timestamp::from_second(1_795_000_000).unwrap();
    let core = pair("core", "core", "gitlab");
    let gone = pair("core", "core", "images");
    watched.found(&[core.clone(), gone.clone()]);
    watched.passed(&core, at, State::InSync, None, &[]).await;
    let later = at + SignedDuration::from_secs(60);
    watched
        .passed(&core, later, State::Held, None, &[open("v1", Matter::Held, "why"), open("v2", Matter::Waiting, "why")])
        .await;
    let set =
        ParkedSet { plan: "5f3a".into(), by: ParkedBy::Guard, changes: "delete v1 v1 commit:1 -".into(), count: 7 };
    watched.parked(&core, set, later).await;
    watched.board.began(&core, later - SignedDuration::from_secs(3));
    watched.board.ended(&core, &report(&core, State::Held), later);
    watched.board.ended(&gone, &report(&gone, State::Unknown), later);
    watched.board.scheduled("core", "core", Some(at + SignedDuration::from_secs(900)));

    let text = get(&watched, "/metrics").await.body;
    let pair = r#"job="core",repository="core",remote="gitlab""#;
    for line in [
        format!("tagsyncd_pair_last_attempt_timestamp_seconds{{{pair}}} 1795000060"),
        format!("tagsyncd_pair_last_success_timestamp_seconds{{{pair}}} 1795000060"),
        format!("tagsyncd_pair_in_sync_since_timestamp_seconds{{{pair}}} 1795000000"),
        format!("tagsyncd_pair_held_tags{{{pair}}} 1"),
        format!("tagsyncd_pair_waiting_tags{{{pair}}} 1"),
        format!("tagsyncd_pair_failed_tags{{{pair}}} 0"),
        format!("tagsyncd_pair_parked_changes{{{pair}}} 7"),
        r#"tagsyncd_pair_last_success_timestamp_seconds{job="core",repository="core",remote="images"} 0"#.into(),
        r#"tagsyncd_next_run_timestamp_seconds{job="core",repository="core"} 1795000900"#.into(),
        r#"tagsyncd_changes_total{remote="gitlab",action="create",outcome="done"} 1"#.into(),
        r#"tagsyncd_changes_total{remote="gitlab",action="delete",outcome="lost"} 0"#.into(),
        r#"tagsyncd_passes_total{remote="gitlab",state="held"} 1"#.into(),
        r#"tagsyncd_passes_total{remote="gitlab",state="failed"} 0"#.into(),
        r#"tagsyncd_pass_duration_seconds_bucket{le="2.5",remote="gitlab"} 0"#.into(),
        r#"tagsyncd_pass_duration_seconds_bucket{le="5.0",remote="gitlab"} 1"#.into(),
        r#"tagsyncd_pass_duration_seconds_sum{remote="gitlab"} 3.0"#.into(),
        r#"tagsyncd_requests_total{remote="gitlab",status="200"} 2"#.into(),
        r#"tagsyncd_requests_total{remote="gitlab",status="none"} 1"#.into(),
        r#"tagsyncd_requests_total{remote="gitlab",status="other"} 1"#.into(),
        r#"tagsyncd_retries_total{remote="gitlab"} 1"#.into(),
        r#"tagsyncd_quota_remaining_requests{remote="gitlab"} 59"#.into(),
        r#"tagsyncd_quota_limit_requests{remote="gitlab"} 60"#.into(),
        r#"tagsyncd_messages_total{end="undelivered"} 0"#.into(),
        r#"tagsyncd_heartbeats_total{end="heard"} 0"#.into(),
        "tagsyncd_config_reload_successful 1".into(),
        "tagsyncd_ledger_readable 1".into(),
        format!("tagsyncd_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION")),
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
    }
    assert!(text.ends_with("# EOF\n"));
    // Of each name its help and its type stand before it, once.
    for kind in ["HELP", "TYPE"] {
        let mut names: Vec<_> =
            text.lines().filter_map(|line| line.strip_prefix(&format!("# {kind} "))?.split(' ').next()).collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert!(all == names.len() && all > 20 && names.iter().all(|name| name.starts_with("tagsyncd_")), "{names:?}");
    }

    // A person has decided; the remote is configured no more; a reload fails.
    watched.board.reloaded(Ok(watched.configured(&["gitlab"])), later);
    watched.found(&[core]);
    watched.board.reloaded(Err("config.toml:1:1: unknown key".into()), later);
    let text = get(&watched, "/metrics").await.body;
    assert!(!text.contains("images"), "{text}");
    assert!(text.contains("\ntagsyncd_config_reload_successful 0\n"));
    assert!(text.contains("\ntagsyncd_config_reload_success_timestamp_seconds 1795000060\n"));
    assert!(text.contains("tagsyncd_passes_total{remote=\"gitlab\",state=\"held\"} 1\n"), "what was counted stays");
    assert!(
        watched.board.summary().to_string().ends_with("; the new configuration was refused, the former one is in use")
    );
}

#[tokio::test]
async fn a_server_that_gets_no_requests_is_counted() {
    let watched = Watched::start(LOOPBACK);
    let server = Server::start(|_: &Request| Reply::empty(401));
    let pool = Arc::new(Pool::new());
    watched.board.counts(Arc::clone(&pool), Arc::default());
    let transport = Transport::new(&pool, HttpSettings::default());
    let authorization = Authorization::bearer(&"secret".to_owned().into()).unwrap();
    let client = Client::new(&transport, server.url().parse().unwrap(), authorization).await.unwrap();
    let _refused = client.get("ask", &["tags"]).send().await;
    let closed = format!("tagsyncd_origin_closed{{origin=\"{}\",reason=\"refused\"}} 1\n", server.url());
    let text = get(&watched, "/metrics").await.body;
    assert!(text.contains(&closed), "{closed} is missing in\n{text}");
    watched.board.counts(Arc::default(), Arc::default());
    assert!(!get(&watched, "/metrics").await.body.contains("tagsyncd_origin_closed{"), "other connections are in use");
}

#[tokio::test]
async fn a_pass_that_ends_by_a_bug_has_failed() {
    let watched = Watched::start(LOOPBACK);
    let core = pair("core", "core", "gitlab");
    let now = Timestamp::now();
    watched.found(std::slice::from_ref(&core));
    watched.passed(&core, now, State::InSync, None, &[]).await;
    watched.board.began(&core, now);
    assert_eq!(watched.board.broken(&core, now).map(|report| report.state), Some(State::Failed));
    assert!(watched.board.broken(&core, now).is_none(), "it ends once");
    let state = async || {
        let status: serde_json::Value = serde_json::from_str(&get(&watched, "/status.json").await.body).unwrap();
        let pair = &status["pairs"][0];
        (pair["state"].clone(), pair["running_since"].clone(), pair["error"].clone())
    };
    assert_eq!(
        state().await,
        ("failed".into(), ().into(), "the latest pass ended by a bug, which the log describes".into())
    );
    watched.board.ended(&core, &report(&core, State::InSync), now);
    assert_eq!(state().await, ("in_sync".into(), ().into(), ().into()));
}

#[tokio::test]
async fn the_documents_name_exactly_the_metrics_that_there_are() {
    let watched = Watched::start(LOOPBACK);
    watched.troubled(1).await;
    let text = get(&watched, "/metrics").await.body;
    let described = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let there: BTreeSet<String> = described
        .map(|line| match line.split_once(' ').unwrap() {
            (name, "counter") => format!("{name}_total"),
            (name, "info") => format!("{name}_info"),
            (name, _) => name.to_owned(),
        })
        .collect();
    let document = std::fs::read_to_string("docs/operations.md").unwrap();
    let word = |from: &str| -> String {
        from.chars().take_while(|character| character.is_ascii_alphanumeric() || *character == '_').collect()
    };
    let named: BTreeSet<String> = document.match_indices("tagsyncd_").map(|(at, _)| word(&document[at..])).collect();
    assert_eq!(named, there);
    let rules = document.split("```yaml").nth(1).unwrap();
    assert!(rules.matches("- alert: ").count() == 3 && rules.matches("expr: ").count() == 3);
}

#[tokio::test]
async fn a_ledger_that_cannot_be_read_is_said_and_not_guessed() {
    let watched = Watched::start(LOOPBACK);
    watched.found(&[pair("core", "core", "gitlab")]);
    let state = watched.path("state");
    std::fs::rename(&state, watched.path("away")).unwrap();
    std::fs::create_dir(&state).unwrap();
    std::fs::write(state.join("ledger.db"), "this is no ledger, however long it may be").unwrap();
    let answer = get(&watched, "/status.json").await;
    assert!(answer.status == 503 && answer.body.contains("ledger"), "{}", answer.body);
    let text = get(&watched, "/metrics").await.body;
    assert!(text.contains("\ntagsyncd_ledger_readable 0\n") && !text.contains("tagsyncd_pair_"), "{text}");
    let page = get(&watched, "/").await;
    assert!(
        page.status == 200
            && page.body.contains("<h1><span class=\"mark\" aria-hidden=\"true\">?</span>The ledger cannot be read"),
        "{}",
        page.body
    );
}

#[tokio::test]
async fn the_page_shows_every_pair_and_escapes_what_others_chose() {
    let watched = Watched::start(LOOPBACK);
    watched.troubled(4).await;
    let hostile = "<script>alert(1)</script>\u{202e}\u{1b}[31m\"'&";
    let bad = pair("core", "core", "images");
    watched
        .passed(&bad, Timestamp::now(), State::Failed, None, &[open("<img/src=x>&\"", Matter::Failed, hostile)])
        .await;
    watched.wrote(&bad, Timestamp::now(), "<b>\u{85}", Action::Create, Outcome::Rejected, hostile).await;
    watched.board.reloaded(Err(hostile.into()), Timestamp::now());
    let answer = get(&watched, "/").await;
    let page = &answer.body;
    assert!(answer.header("content-security-policy").unwrap().contains("style-src 'sha256-"));
    assert_eq!(answer.header("refresh"), Some("60"));
    for shown in [
        "&lt;script&gt;alert(1)&lt;/script&gt;\\u{202e}\\u{1b}[31m&quot;'&amp;",
        "<li>&lt;img/src=x&gt;&amp;&quot;</li>",
        "&lt;b&gt;\\u{85}",
        "<code>tagsyncd approve 5f3a9c01d2e4b687</code>",
        "<th scope=\"row\"><span class=\"name\">lib-parser0</span>",
        "<th scope=\"col\">images</th>",
        "<caption>",
        "24 of 40 tags would be deleted",
        "3 pairs",
        "codearts.example.com did not answer",
        "approved",
    ] {
        let body = page.split("<body>").last();
        assert!(page.contains(shown), "{shown} is missing in\n{body:?}");
    }
    assert!(!page.contains("<script") && !page.contains("<img") && !page.contains("tagsyncd explain core &lt;"));
    assert!(page.chars().all(|character| !character.is_control() || character == '\n'), "nothing steers");
    let still = get(&watched, "/?refresh=off").await;
    assert!(still.header("refresh").is_none() && still.body.contains("renew every minute"));
}

#[tokio::test]
async fn a_thousand_repositories_are_a_page_of_bounded_size_with_the_worst_first() {
    let watched = Watched::start(LOOPBACK);
    watched.troubled(1_000).await;
    let page = get(&watched, "/").await.body;
    assert!(page.len() < 200_000, "{} bytes", page.len());
    let row = |name: &str| page.find(&format!("<th scope=\"row\"><span class=\"name\">{name}</span>"));
    assert!(row("core") < row("lib-alpha0") && row("lib-alpha0").is_some());
    assert_eq!(page.matches("<th scope=\"row\">").count(), 25);
    assert!(page.contains("976 more in sync") && page.contains("<li>lib-wire199 "), "none is left out");
}

#[tokio::test]
async fn a_webhook_with_a_proof_starts_its_job() {
    let mut watched = Watched::start(LOOPBACK);
    let body = br#"{"ref":"refs/tags/v1","repository":"evil","job":"libraries"}"#;
    let signed = signature(HOOK_SECRET, body);
    for header in [
        format!("X-Gitlab-Token: {HOOK_SECRET}\r\n"),
        format!("Authorization: Bearer {HOOK_SECRET}\r\n"),
        format!("authorization: bearer {HOOK_SECRET}\r\n"),
        format!("X-Hub-Signature-256: sha256={signed}\r\n"),
        format!("X-Gitea-Signature: {signed}\r\n"),
        format!("X-Forgejo-Signature: {}\r\n", signed.to_uppercase()),
        format!("X-Gitlab-Token: wrong\r\nX-Gitea-Signature: {signed}\r\n"),
    ] {
        let answer = post(&watched, "/hooks/core", &header, body).await;
        assert_eq!(answer.status, 202, "{header}");
        assert_eq!(watched.hooks.try_recv().as_deref(), Ok("core"), "{header}");
    }
    let text = get(&watched, "/metrics").await.body;
    assert!(text.contains("tagsyncd_hooks_total{end=\"accepted\"} 7\n"), "{text}");
}

#[tokio::test]
async fn a_webhook_without_a_right_proof_starts_nothing() {
    let mut watched = Watched::start(LOOPBACK);
    let body = b"{}";
    let signed = signature(HOOK_SECRET, body);
    let other = signature("another secret", body);
    let empty = signature("", body);
    for header in [
        String::new(),
        "X-Gitlab-Token: \r\n".into(),
        format!("X-Gitlab-Token: {}\r\n", &HOOK_SECRET[..HOOK_SECRET.len() - 1]),
        format!("X-Gitlab-Token: {HOOK_SECRET}x\r\n"),
        format!("Authorization: Basic {HOOK_SECRET}\r\n"),
        format!("Authorization: {HOOK_SECRET}\r\n"),
        format!("X-Hub-Signature-256: {signed}\r\n"),
        format!("X-Hub-Signature-256: sha256={other}\r\n"),
        format!("X-Hub-Signature-256: sha256={empty}\r\n"),
        format!("X-Hub-Signature: sha1={signed}\r\n"),
        format!("X-Gitea-Signature: {}\r\n", &signed[..62]),
        format!("X-Gitea-Signature: {signed}00\r\n"),
        format!("X-Gitea-Signature: sha256={signed}\r\n"),
        format!("X-Forgejo-Signature: {}\r\n", signature(HOOK_SECRET, b"{} ")),
        // A signature is no secret, and the secret is no signature.
        format!("X-Gitlab-Token: {signed}\r\n"),
        format!("X-Gitea-Signature: {HOOK_SECRET}\r\n"),
    ] {
        let answer = post(&watched, "/hooks/core", &header, body).await;
        assert_eq!((answer.status, answer.header("www-authenticate")), (401, Some("bearer")), "{header}");
        assert!(!answer.body.contains(HOOK_SECRET), "{header}");
    }
    // A body that is shorter than it was said to be.
    let half = format!(
        "POST /hooks/core HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\nX-Gitea-Signature: {signed}\r\n\r\n{{}}"
    );
    let address = watched.address;
    let cut = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(half.as_bytes()).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut bytes = Vec::new();
        let _reset = stream.read_to_end(&mut bytes);
        bytes
    });
    assert!(!String::from_utf8(cut.await.unwrap()).unwrap().contains(" 202 "));
    assert!(watched.hooks.try_recv().is_err(), "nothing was started");
}

#[tokio::test]
async fn whoever_takes_their_time_keeps_nobody_from_starting_the_job() {
    let mut watched = Watched::start(LOOPBACK);
    let slow = format!(
        "POST /hooks/core HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\nX-Gitea-Signature: {}\r\n\r\n{{",
        "0".repeat(64)
    );
    let address = watched.address;
    let held: Vec<TcpStream> = (0..32)
        .map(|_| {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(slow.as_bytes()).unwrap();
            stream
        })
        .collect();
    let signed = format!("X-Forgejo-Signature: {}\r\n", signature(HOOK_SECRET, b"{}"));
    for header in [format!("X-Gitlab-Token: {HOOK_SECRET}\r\n"), signed] {
        assert_eq!(post(&watched, "/hooks/core", &header, b"{}").await.status, 202, "{header}");
        assert_eq!(watched.hooks.try_recv().as_deref(), Ok("core"), "{header}");
    }
    drop(held);
}

#[tokio::test]
async fn a_job_without_a_secret_cannot_be_told_from_none_at_all() {
    let watched = Watched::start(LOOPBACK);
    let token = format!("X-Gitlab-Token: {HOOK_SECRET}\r\n");
    let dateless = |answer: Answer| {
        let head: Vec<String> =
            answer.head.lines().filter(|line| !line.starts_with("date")).map(str::to_owned).collect();
        (answer.status, head, answer.body)
    };
    let without = dateless(post(&watched, "/hooks/libraries", &token, b"{}").await);
    let unknown = dateless(post(&watched, "/hooks/nobody", &token, b"{}").await);
    assert_eq!(without, unknown);
    assert_eq!(without.0, 404);
    for method in ["GET", "PUT", "DELETE"] {
        for job in ["core", "libraries", "nobody"] {
            let answer = ask(watched.address, method, &format!("/hooks/{job}")).await;
            assert_eq!((answer.status, answer.header("allow")), (405, Some("post")), "{method} {job}");
        }
    }
    // The configuration in use decides, not the one of the start.
    assert_eq!(post(&watched, "/hooks/core", &token, b"{}").await.status, 202);
    let mut settings = (*watched.configured(&["gitlab"])).clone();
    settings.jobs.iter_mut().for_each(|job| job.hook_secret = None);
    watched.settings.send_replace(settings.into());
    assert_eq!(post(&watched, "/hooks/core", &token, b"{}").await.status, 404);
}

#[tokio::test]
async fn too_much_is_refused() {
    let mut watched = Watched::start(LOOPBACK);
    let token = format!("X-Gitlab-Token: {HOOK_SECRET}\r\n");
    let most = vec![b' '; 1024 * 1024];
    let signed = format!("X-Gitea-Signature: {}\r\n", signature(HOOK_SECRET, &most));
    assert_eq!(post(&watched, "/hooks/core", &signed, &most).await.status, 202, "so much is looked at");
    let more = [most, b" ".to_vec()].concat();
    let signed = format!("X-Gitea-Signature: {}\r\n", signature(HOOK_SECRET, &more));
    assert_eq!(post(&watched, "/hooks/core", &signed, &more).await.status, 413);
    assert_eq!(post(&watched, "/hooks/core", &token, &more).await.status, 413);
    // What the loop has not taken yet is bounded too; then there is room again, and then nobody.
    assert_eq!(post(&watched, "/hooks/core", &token, b"").await.status, 202);
    let full = post(&watched, "/hooks/core", &token, b"").await;
    assert_eq!((full.status, full.header("retry-after")), (429, Some("30")));
    assert_eq!(watched.hooks.try_recv().as_deref(), Ok("core"));
    assert_eq!(post(&watched, "/hooks/core", &token, b"").await.status, 202);
    watched.hooks.close();
    assert_eq!(post(&watched, "/hooks/core", &token, b"").await.status, 503);
    // A head that is no head.
    let long = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(64 * 1024));
    assert_eq!(send(watched.address, long.into_bytes()).await.status, 431);
}

#[tokio::test]
async fn a_secret_that_cannot_be_read_is_no_proof() {
    let mut watched = Watched::start(LOOPBACK);
    std::fs::remove_file(watched.path("hook")).unwrap();
    let answer = post(&watched, "/hooks/core", "X-Gitlab-Token: \r\n", b"").await;
    assert_eq!(answer.status, 503);
    assert!(!answer.body.contains("hook:") && !answer.body.contains('/'), "where secrets are is nobody's business");
    assert!(watched.hooks.try_recv().is_err());
}

#[tokio::test]
async fn connections_are_few_short_and_end_with_the_daemon() {
    let watched = Watched::start(LOOPBACK);
    // As many as there may be, and none of them says anything.
    let silent: Vec<TcpStream> = (0..64).map(|_| TcpStream::connect(watched.address).unwrap()).collect();
    let begun = Instant::now();
    let answer = get(&watched, "/healthz").await;
    assert_eq!(answer.status, 200, "they are let go, and it is answered");
    assert!(begun.elapsed() >= Duration::from_secs(4), "there was no room before: {:?}", begun.elapsed());
    drop(silent);
    // HTTP/2 is not spoken, and one connection is one request.
    let twice = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(2).into_bytes();
    assert_eq!(send(watched.address, twice).await.body, "the loop turns\n");
    let second = tokio::task::spawn_blocking({
        let address = watched.address;
        move || {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
            let mut bytes = Vec::new();
            let _reset = stream.read_to_end(&mut bytes);
            bytes
        }
    });
    let second = String::from_utf8_lossy(&second.await.unwrap()).into_owned();
    assert!(second.is_empty() || second.starts_with("HTTP/1.1 4") || second.starts_with("HTTP/1.1 505"), "{second}");

    let idle = TcpStream::connect(watched.address).unwrap();
    watched.stop.cancel();
    let begun = Instant::now();
    tokio::time::timeout(Duration::from_secs(10), watched.served).await.expect("it ends").expect("it does not panic");
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert!(TcpStream::connect(watched.address).is_err(), "nobody listens any more");
    drop(idle);
}

#[test]
fn one_line_says_how_everything_stands() {
    let watched = |ends: &[(&str, State)], next: Option<i64>| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let watched = Watched::start(LOOPBACK);
            let pairs: Vec<_> = ends.iter().map(|(repository, _)| pair("core", repository, "gitlab")).collect();
            watched.found(&pairs);
            for (pair, (_, state)) in pairs.iter().zip(ends).filter(|(_, (_, state))| *state != State::Pending) {
                watched.board.ended(pair, &report(pair, *state), Timestamp::now());
            }
            let next = next.map(|second| Timestamp::from_second(second).unwrap());
            watched.board.scheduled("core", "a", next);
            watched.board.summary().to_string()
        })
    };
    assert_eq!(watched(&[], None), "no pairs");
    assert_eq!(watched(&[("a", State::InSync)], Some(1_795_000_000)), "1 pair in sync; next run 11:06:40Z");
    let many =
        [("a", State::InSync), ("b", State::Changed), ("c", State::Held), ("d", State::Unknown), ("e", State::Pending)];
    assert_eq!(watched(&many, None), "2 pairs in sync, 1 held, 1 unknown, 1 not looked at yet");
}

#[tokio::test]
async fn the_line_names_a_job_whose_repositories_were_never_found() {
    let watched = Watched::start(LOOPBACK);
    let lost = Err(RepositoriesFault { message: "no such directory".into(), hint: None });
    watched.board.found("core", &lost);
    assert_eq!(watched.board.summary().to_string(), "no pairs; the repositories of `core` could not be found");
    watched.board.found("images", &lost);
    assert_eq!(watched.board.summary().to_string(), "no pairs; the repositories of 2 jobs could not be found");
    watched.board.found("core", &Ok(vec![pair("core", "a", "gitlab")]));
    let line = watched.board.summary().to_string();
    assert_eq!(line, "1 pair not looked at yet; the repositories of `images` could not be found");
}

/// Whoever decided to keep a set quiet is not asked again.
#[tokio::test]
async fn a_dismissed_set_is_quiet() {
    let watched = Watched::start(LOOPBACK);
    watched.troubled(0).await;
    assert!(get(&watched, "/").await.body.contains("tagsyncd dismiss 5f3a9c01d2e4b687"));
    watched.decide("5f3a9c01d2e4b687", Decision::Dismissed).await;
    assert!(!get(&watched, "/").await.body.contains("5f3a9c01d2e4b687"));
    assert!(
        get(&watched, "/metrics")
            .await
            .body
            .contains("tagsyncd_pair_parked_changes{job=\"core\",repository=\"core\",remote=\"gitlab\"} 0\n")
    );
}
