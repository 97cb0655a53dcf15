//! Credentials of every kind: what is sent, to whom, how often it is obtained, and what is never shown.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use tagsyncd::http::{
    Authorization, Client, Credential, ExchangedToken, Fault, FaultKind, HttpSettings, RegistryCredentials,
    SignedRequests, Token, Transport,
};

use crate::clients::{CANARY, read, transport, write};
use crate::server::{Answer, Seen, Server, Then};

/// `robot:CANARY` in base64.
const BASIC: &str = "Basic cm9ib3Q6Z2xwYXQtQ0FOQVJZLTAxMjM0NTY3ODk=";

fn login() -> Authorization {
    Authorization::basic("robot", &CANARY.to_owned().into()).unwrap()
}

async fn connect(server: &Server, transport: &Transport, credential: impl Into<Credential>) -> Client {
    Client::new(transport, server.url.clone(), credential).await.unwrap()
}

fn unauthorized(challenge: &str) -> Answer {
    Answer::new(401, &[("www-authenticate", challenge)], "{}")
}

/// The challenge of a registry whose token server is at `realm`.
fn bearer(realm: &str, seen: &Seen) -> String {
    let actions = if matches!(seen.method.as_str(), "GET" | "HEAD") { "pull" } else { "pull,push" };
    format!("Bearer realm=\"{realm}\",service=\"registry\",scope=\"repository:team/app:{actions}\"")
}

fn own_realm(seen: &Seen) -> String {
    format!("http://{}/token?account=a", seen.header("host").unwrap())
}

fn token_json(token: &str, life: u64) -> Answer {
    Answer::json(format!("{{\"token\":\"{token}\",\"expires_in\":{life}}}"))
}

fn is_token(seen: &Seen) -> bool {
    seen.target.starts_with("/token")
}

/// A registry with a token server of its own, whose tokens are named after their scope.
fn registry(seen: &Seen) -> Answer {
    if is_token(seen) {
        return token_json(&format!("canary-{}", seen.query("scope").unwrap()), 300);
    }
    let scope = if matches!(seen.method.as_str(), "GET" | "HEAD") { "pull" } else { "pull,push" };
    match seen.header("authorization") {
        Some(sent) if sent == format!("Bearer canary-repository:team/app:{scope}") => Answer::json("\"ok\""),
        _ => unauthorized(&bearer(&own_realm(seen), seen)),
    }
}

fn targets(server: &Server) -> Vec<String> {
    let show = |seen: &Seen| {
        let sent = seen.header("authorization").map_or("nothing", |sent| sent.split(' ').next().unwrap());
        format!("{} {} {sent}", seen.method, seen.target)
    };
    server.seen().iter().map(show).collect()
}

#[tokio::test]
async fn a_token_or_a_password_goes_in_its_header() {
    let server = Server::start(|_, _| Answer::json("\"ok\"")).await;
    let transport = transport(HttpSettings::default());
    read(&connect(&server, &transport, login()).await).await.unwrap();
    let own = Authorization::header("X-Auth-Token", &CANARY.to_owned().into()).unwrap();
    read(&connect(&server, &transport, own).await).await.unwrap();
    read(&connect(&server, &transport, Credential::none()).await).await.unwrap();
    let seen = server.seen();
    assert_eq!((seen[0].header("authorization"), seen[0].header("x-auth-token")), (Some(BASIC), None));
    assert_eq!((seen[1].header("authorization"), seen[1].header("x-auth-token")), (None, Some(CANARY)));
    assert_eq!((seen[2].header("authorization"), seen[2].header("x-auth-token")), (None, None));
}

#[tokio::test]
async fn no_kind_of_credential_follows_a_redirect_or_is_shown() {
    let other = Server::start(|_, _| Answer::json("\"stolen\"")).await;
    let location = other.url.join("secret").unwrap().to_string();
    let secret = CANARY.to_owned().into();
    let kinds = [
        (login(), BASIC.trim_start_matches("Basic ")),
        (Authorization::header("X-Auth-Token", &secret).unwrap(), CANARY),
        (Authorization::unsent(&[&secret]), CANARY),
    ];
    for (authorization, sent) in kinds {
        let location = location.clone();
        let server = Server::start(move |at, seen| {
            let echo = format!("{CANARY} {sent} {}", seen.head);
            match at % 3 {
                0 => Answer::new(307, &[("location", &location)], ""),
                1 => Answer::new(403, &[], echo),
                _ => Answer::json(format!("{{\"{CANARY} {sent}")),
            }
        })
        .await;
        let client = connect(&server, &transport(HttpSettings::default()), authorization.clone()).await;
        for _ in 0..3 {
            let fault = read(&client).await.unwrap_err();
            let shown = format!("{fault} {fault:?} {client:?} {authorization:?}");
            assert!(!shown.to_lowercase().contains("canary") && !shown.contains(sent), "{shown}");
        }
    }
    assert_eq!(other.count(), 0);
}

// ---- Registries ----

#[tokio::test]
async fn a_challenge_is_answered_with_a_token() {
    let server = Server::start(|_, seen| registry(seen)).await;
    let transport = transport(HttpSettings { concurrency: 1, ..HttpSettings::default() });
    let credentials = RegistryCredentials::new(&transport, &server.url, Some(login()));
    let client = connect(&server, &transport, credentials).await;
    read(&client).await.unwrap();
    read(&client).await.unwrap();
    client.head("look at it", &["it"]).send().await.unwrap();
    write(&client).await.unwrap();
    write(&client).await.unwrap();
    let token = "GET /token?account=a&service=registry&scope=repository%3Ateam%2Fapp%3Apull";
    let expected = [
        "GET /it nothing",
        &format!("{token} Basic"),
        "GET /it Bearer",
        "GET /it Bearer",
        "HEAD /it Bearer",
        "POST /it nothing",
        &format!("{token}%2Cpush Basic"),
        "POST /it Bearer",
        "POST /it Bearer",
    ];
    assert_eq!(targets(&server), expected);
    assert_eq!(server.seen()[1].header("authorization"), Some(BASIC));
    assert!(server.seen().iter().all(|seen| seen.method != "POST" || seen.body == "[1]"));
    assert_eq!(transport.requests(), expected.len() as u64, "token requests count");
}

#[tokio::test]
async fn the_login_goes_as_the_registry_asks() {
    // Anybody may have a token.
    let server = Server::start(|_, seen| registry(seen)).await;
    let transport = transport(HttpSettings::default());
    let client = connect(&server, &transport, RegistryCredentials::new(&transport, &server.url, None)).await;
    read(&client).await.unwrap();
    assert_eq!(
        targets(&server)[1],
        "GET /token?account=a&service=registry&scope=repository%3Ateam%2Fapp%3Apull nothing"
    );

    // Basic, learned once for each method.
    let basic = |_: usize, seen: &Seen| match seen.header("authorization") {
        Some(BASIC) => Answer::json("\"ok\""),
        _ => unauthorized("Digest nonce=\"x\", bAsIc realm=\"r\", charset=\"UTF-8\""),
    };
    let server = Server::start(basic).await;
    let credentials = || RegistryCredentials::new(&transport, &server.url, Some(login()));
    let client = connect(&server, &transport, credentials()).await;
    read(&client).await.unwrap();
    read(&client).await.unwrap();
    assert_eq!(targets(&server), ["GET /it nothing", "GET /it Basic", "GET /it Basic"]);
    // From the first request on.
    let client = connect(&server, &transport, credentials().basic_first()).await;
    write(&client).await.unwrap();
    assert_eq!(targets(&server)[3..], ["POST /it Basic"]);
    // Without a login there is no answer to it.
    let client = connect(&server, &transport, RegistryCredentials::new(&transport, &server.url, None)).await;
    assert_eq!(read(&client).await.unwrap_err().kind, FaultKind::Unauthorized);
    assert_eq!(targets(&server)[4..], ["GET /it nothing"]);

    // A login that is refused is sent once.
    let server = Server::start(|_, _| unauthorized("Basic realm=x")).await;
    let credentials = RegistryCredentials::new(&transport, &server.url, Some(login()));
    let client = connect(&server, &transport, credentials).await;
    assert_eq!(write(&client).await.unwrap_err().kind, FaultKind::Unauthorized);
    assert_eq!(targets(&server), ["POST /it nothing", "POST /it Basic"]);
}

#[tokio::test]
async fn several_scopes_and_several_headers() {
    let server = Server::start(|_, seen| {
        if is_token(seen) {
            return Answer::json("{\"access_token\":\"canary-a\",\"unknown\":[]}");
        }
        let challenge = format!("Bearer realm=\"{}\",scope=\"a:b:pull c:d:pull,push\"", own_realm(seen));
        match seen.header("authorization") {
            Some("Bearer canary-a") => Answer::json("\"ok\""),
            _ => Answer::new(
                401,
                &[
                    ("www-authenticate", "Bearer realm=\"never closed"),
                    ("www-authenticate", "Basic realm=\"r\""),
                    ("www-authenticate", &challenge),
                ],
                "",
            ),
        }
    })
    .await;
    let transport = transport(HttpSettings::default());
    let credentials = RegistryCredentials::new(&transport, &server.url, Some(login()));
    read(&connect(&server, &transport, credentials).await).await.unwrap();
    assert_eq!(targets(&server)[1], "GET /token?account=a&scope=a%3Ab%3Apull&scope=c%3Ad%3Apull%2Cpush Basic");
}

#[tokio::test]
async fn a_realm_elsewhere_gets_no_password() {
    let other = Server::start(|_, seen| registry(seen)).await;
    let host = format!("127.0.0.1:{}", other.url.port().unwrap());
    let realm = other.url.join("token").unwrap().to_string();
    let server = Server::start(move |_, seen| match seen.header("authorization") {
        Some("Bearer canary-repository:team/app:pull") => Answer::json("\"ok\""),
        _ => unauthorized(&bearer(&realm, seen)),
    })
    .await;
    let transport = transport(HttpSettings::default());
    for login in [Some(login()), None] {
        let credentials = || RegistryCredentials::new(&transport, &server.url, login.clone());
        for credentials in [credentials(), credentials().basic_first(), credentials().allow_realm("127.0.0.1")] {
            let fault = read(&connect(&server, &transport, credentials).await).await.unwrap_err();
            assert_eq!(fault.kind, FaultKind::Unauthorized);
            assert!(fault.message.starts_with("could not read it: 127.0.0.1 wants a token from 127.0.0.1:"), "{fault}");
            assert!(fault.hint.unwrap().contains(&format!("set `realm = \"{host}\"`")));
        }
    }
    assert_eq!(other.count(), 0);
    let credentials = RegistryCredentials::new(&transport, &server.url, Some(login())).allow_realm(&host);
    read(&connect(&server, &transport, credentials).await).await.unwrap();
    assert_eq!(other.seen().iter().map(|seen| seen.header("authorization")).collect::<Vec<_>>(), [Some(BASIC)]);
}

#[tokio::test]
async fn an_address_for_tokens_is_checked() {
    for (realm, words) in [
        ("http://auth.example.com/token", "not https"),
        ("https://auth.example.com:8443/token", "which is not this registry"),
        ("https://127.0.0.1/token", "which is not this registry"),
        ("ftp://auth.example.com/token", "no usable address"),
        ("file:///etc/passwd", "no usable address"),
        ("/token", "no usable address"),
        ("https://auth.example.com@evil.example.com/", "no usable address"),
        (CANARY, "no usable address for tokens: `[redacted]`"),
        ("", "no usable address"),
    ] {
        let server = Server::start(move |_, seen| unauthorized(&bearer(realm, seen))).await;
        let transport = transport(HttpSettings::default());
        let credentials = RegistryCredentials::new(&transport, &server.url, Some(login()));
        let credentials = credentials.allow_realm("Auth.Example.com");
        let fault = write(&connect(&server, &transport, credentials).await).await.unwrap_err();
        assert!(fault.message.contains(words), "{realm}: {fault}");
        assert!(matches!(fault.kind, FaultKind::Unauthorized | FaultKind::NotSent), "{fault:?}");
        assert_eq!(server.count(), 1);
    }
}

#[tokio::test]
async fn a_scope_that_is_not_granted_is_a_fault_and_no_loop() {
    for status in [401, 403] {
        let server = Server::start(move |_, seen| {
            if is_token(seen) {
                return token_json("canary-weak", 300);
            }
            let challenge = bearer(&own_realm(seen), seen);
            match seen.header("authorization") {
                None => unauthorized(&challenge),
                Some(_) => {
                    let challenge = format!("{challenge},error=\"insufficient_scope\"");
                    Answer::new(status, &[("www-authenticate", &challenge)], "{}")
                }
            }
        })
        .await;
        let transport = transport(HttpSettings::default());
        let credentials = RegistryCredentials::new(&transport, &server.url, Some(login()));
        let client = connect(&server, &transport, credentials).await;
        let fault = write(&client).await.unwrap_err();
        assert_eq!(fault.kind, FaultKind::Forbidden, "{fault}");
        assert!(fault.message.contains("does not cover `repository:team/app:pull,push`"), "{fault}");
        assert!(fault.hint.is_some());
        assert_eq!(server.count(), 3);
        // The token is known; its refusal is no reason to ask for it again within this request.
        assert_eq!(write(&client).await.unwrap_err().kind, FaultKind::Forbidden);
        assert_eq!(server.count(), 4);
    }
}

#[tokio::test]
async fn a_request_is_renewed_once_and_not_twice() {
    let server = Server::start(|at, seen| match is_token(seen) {
        true => token_json(&format!("canary-{at}"), 300),
        false => unauthorized(&bearer(&own_realm(seen), seen)),
    })
    .await;
    let transport = transport(HttpSettings::default());
    let credentials = RegistryCredentials::new(&transport, &server.url, Some(login()));
    let client = connect(&server, &transport, credentials).await;
    assert_eq!(write(&client).await.unwrap_err().kind, FaultKind::Unauthorized);
    assert_eq!(server.count(), 3);
    assert_eq!(write(&client).await.unwrap_err().kind, FaultKind::Unauthorized);
    let tokens: Vec<_> =
        targets(&server).into_iter().map(|target| target.split('?').next().unwrap().to_owned()).collect();
    assert_eq!(tokens[3..], ["POST /it Bearer", "GET /token", "POST /it Bearer"]);

    // The same token again is no reason to send again.
    let server = Server::start(|_, seen| match is_token(seen) {
        true => token_json("canary", 300),
        false => unauthorized(&bearer(&own_realm(seen), seen)),
    })
    .await;
    let credentials = RegistryCredentials::new(&transport, &server.url, None);
    let client = connect(&server, &transport, credentials).await;
    for requests in [3, 5] {
        assert_eq!(write(&client).await.unwrap_err().kind, FaultKind::Unauthorized);
        assert_eq!(server.count(), requests);
    }
}

#[tokio::test]
async fn tokens_are_kept_for_the_life_that_is_said() {
    let date = "Sun, 06 Nov 1994 08:50:00 GMT";
    for (said, tokens) in [
        (r#""expires_in":60,"issued_at":"1994-11-06T08:49:15Z""#, 1),
        // Seven seconds are left, and renewal begins six before the end.
        (r#""expires_in":60,"issued_at":"1994-11-06T08:49:07Z""#, 1),
        (r#""expires_in":60,"issued_at":"1994-11-06T08:49:05Z""#, 3),
        (r#""issued_at":"1994-11-06T08:49:15Z""#, 1),
        (r#""issued_at":"1994-11-06T08:49:05Z""#, 3),
        (r#""issued_at":"1994-11-06T09:50:00Z""#, 1),
        (r#""issued_at":"yesterday""#, 1),
        (r#""expires_in":18446744073709551615"#, 1),
        (r#""expires_in":0"#, 3),
        (r#""expires_in":null"#, 1),
    ] {
        let server = Server::start(move |_, seen| match (is_token(seen), seen.header("authorization")) {
            (true, _) => Answer::new(200, &[("date", date)], format!("{{\"token\":\"canary\",{said}}}")),
            (false, Some("Bearer canary")) => Answer::json("\"ok\""),
            _ => unauthorized(&bearer(&own_realm(seen), seen)),
        })
        .await;
        let transport = transport(HttpSettings::default());
        let credentials = RegistryCredentials::new(&transport, &server.url, Some(login()));
        let client = connect(&server, &transport, credentials).await;
        for _ in 0..3 {
            read(&client).await.unwrap();
        }
        assert_eq!(server.seen().iter().filter(|seen| is_token(seen)).count(), tokens, "{said}");
        // It is renewed before it is refused.
        assert_eq!(server.count(), 1 + 3 + tokens, "{said}");
    }
}

#[tokio::test]
async fn a_token_server_that_fails_says_so_and_shows_no_token() {
    for (answer, kind, words) in [
        (Answer::new(401, &[], CANARY), FaultKind::Unauthorized, "could not fetch a token: 127.0.0.1 answered 401"),
        (Answer::new(404, &[], CANARY), FaultKind::NotSent, "answered 404"),
        (Answer::new(403, &[], CANARY), FaultKind::Forbidden, "answered 403"),
        (Answer::new(301, &[("location", "https://evil.example.com/")], ""), FaultKind::NotSent, "not followed"),
        (Answer::json(r#"{"token":"canary-t","expires_in":"canary-x"}"#), FaultKind::NotSent, "is not a token"),
        (Answer::json(r#"{"token":"canary-t"#), FaultKind::NotSent, "is not a token"),
        (Answer::json(r#"{"refresh_token":"canary-t"}"#), FaultKind::NotSent, "names no token"),
        (Answer::json(r#"{"token":"canary\n"}"#), FaultKind::Unauthorized, "cannot stand in an HTTP header"),
        (Answer::json(r#"{"token":""}"#), FaultKind::Unauthorized, "is empty"),
        (Answer::json("<html>"), FaultKind::NotSent, "HTML"),
        (Answer::new(429, &[("retry-after", "600")], ""), FaultKind::Throttled, "answered 429"),
    ] {
        let answer = Arc::new(answer);
        let server = Server::start(move |_, seen| match is_token(seen) {
            true => answer.again(),
            false => unauthorized(&bearer(&own_realm(seen), seen)),
        })
        .await;
        let transport = transport(HttpSettings::default());
        let credentials = RegistryCredentials::new(&transport, &server.url, Some(login()));
        let client = connect(&server, &transport, credentials).await;
        let fault = write(&client).await.unwrap_err();
        assert_eq!(fault.kind, kind, "{fault}");
        assert!(fault.message.starts_with("could not write it: ") && fault.message.contains(words), "{fault}");
        assert!(!format!("{fault:?}").to_lowercase().contains("canary"), "{fault:?}");
        assert_eq!(server.count(), 2);
        if kind == FaultKind::Throttled {
            // Token requests and others go through one gate.
            assert!(fault.message.contains("(it asks to be left alone until 20"), "{fault}");
            assert_eq!(write(&client).await.unwrap_err().kind, FaultKind::Throttled);
            assert_eq!(server.count(), 2);
        }
    }
}

#[tokio::test]
async fn a_token_and_the_login_are_shown_nowhere() {
    let server = Server::start(|at, seen| match (is_token(seen), seen.header("authorization")) {
        (true, _) => token_json("canary-short-lived", 300),
        (false, None) => unauthorized(&bearer(&own_realm(seen), seen)),
        _ => Answer::new(if at % 2 == 0 { 400 } else { 403 }, &[], format!("{CANARY} {BASIC} {}", seen.head)),
    })
    .await;
    let transport = transport(HttpSettings::default());
    let credentials = RegistryCredentials::new(&transport, &server.url, Some(login()));
    assert!(!format!("{credentials:?}").contains("CANARY"));
    let client = connect(&server, &transport, credentials).await;
    for _ in 0..2 {
        let fault = read(&client).await.unwrap_err();
        let shown = format!("{fault} {fault:?} {client:?}");
        assert!(!shown.to_lowercase().contains("canary") && !shown.contains("cm9ib3Q6"), "{shown}");
        assert!(shown.contains("[redacted]"), "{shown}");
    }
}

#[tokio::test]
async fn many_requests_share_one_token() {
    let revoked = Arc::new(AtomicUsize::new(0));
    let generation = Arc::clone(&revoked);
    let server = Server::start(move |_, seen| {
        let valid = format!("canary-{}", generation.load(Ordering::SeqCst));
        match (is_token(seen), seen.header("authorization")) {
            (true, _) => token_json(&valid, 300),
            (false, Some(sent)) if sent == format!("Bearer {valid}") => Answer::json("\"ok\""),
            _ => unauthorized(&bearer(&own_realm(seen), seen)),
        }
    })
    .await;
    let transport = transport(HttpSettings { concurrency: 50, ..HttpSettings::default() });
    let credentials = RegistryCredentials::new(&transport, &server.url, Some(login()));
    let client = connect(&server, &transport, credentials).await;
    for tokens in [1, 2] {
        let answers = join_all((0..50).map(|_| read(&client))).await;
        assert!(answers.iter().all(|answer| answer.as_deref() == Ok("ok")), "{answers:?}");
        assert_eq!(server.seen().iter().filter(|seen| is_token(seen)).count(), tokens);
        // All fifty hold the same token when it ceases to be one.
        revoked.fetch_add(1, Ordering::SeqCst);
    }
}

// ---- Exchanged tokens ----

/// Asks as an IAM service is asked, with the password in the body.
async fn exchange(client: Client, life: Duration, spent: Duration) -> Result<Token, Fault> {
    let request = client.post("exchange the password", &["tokens"]).json(&[CANARY])?;
    let reply = request.send().await?;
    if reply.status() != 201 {
        return Err(reply.refusal(None));
    }
    let token = reply.header("x-subject-token").ok_or_else(|| reply.unusable("names no token"))?;
    let authorization = Authorization::header("X-Auth-Token", &token.to_owned().into())?;
    Ok(Token::new(authorization, life).spent(spent))
}

const HOUR: Duration = Duration::from_secs(3600);

async fn exchanged(server: &Server, transport: &Transport, spent: Duration) -> Client {
    let secrets = Authorization::unsent(&[&CANARY.to_owned().into()]);
    let iam = connect(server, transport, secrets).await;
    connect(server, transport, ExchangedToken::new(iam, move |client| exchange(client, HOUR, spent))).await
}

fn is_exchange(seen: &Seen) -> bool {
    seen.target == "/tokens"
}

#[tokio::test]
async fn a_password_is_exchanged_once_for_many_requests() {
    let server = Server::start(|_, seen| match (is_exchange(seen), seen.header("x-auth-token")) {
        (true, None) => Answer::new(201, &[("x-subject-token", "canary-0")], "{}"),
        (false, Some("canary-0")) => Answer::json("\"ok\""),
        _ => Answer::new(401, &[], ""),
    })
    .await;
    let transport = transport(HttpSettings { concurrency: 1, ..HttpSettings::default() });
    let client = exchanged(&server, &transport, Duration::ZERO).await;
    let answers = join_all((0..50).map(|_| read(&client))).await;
    assert!(answers.iter().all(|answer| answer.as_deref() == Ok("ok")), "{answers:?}");
    assert_eq!(server.seen().iter().filter(|seen| is_exchange(seen)).count(), 1);
    assert_eq!((server.count(), transport.requests()), (51, 51));
    // Renewal begins a minute before the end of an hour.
    for (left, exchanges) in [(65, 1), (59, 3)] {
        let before = server.count();
        let client = exchanged(&server, &transport, HOUR - Duration::from_secs(left)).await;
        for _ in 0..3 {
            write(&client).await.unwrap();
        }
        assert_eq!(server.count() - before, exchanges + 3);
    }
}

#[tokio::test]
async fn a_refused_password_is_sent_once_for_all_who_wait() {
    let server = Server::start(|_, _| Answer::new(401, &[], format!("no {CANARY}"))).await;
    let transport = transport(HttpSettings::default());
    let client = exchanged(&server, &transport, Duration::ZERO).await;
    for fault in join_all((0..50).map(|_| write(&client))).await {
        let fault = fault.unwrap_err();
        assert_eq!(fault.kind, FaultKind::Unauthorized);
        let words =
            "could not write it: could not exchange the password: 127.0.0.1 answered 401 Unauthorized: no [redacted]";
        assert_eq!(fault.message, words);
    }
    assert_eq!((server.count(), server.seen()[0].target.as_str()), (1, "/tokens"));
    // What is ambiguous about the exchange is not about the write, which was not sent.
    let server = Server::start(|_, _| Answer::cut()).await;
    let client = exchanged(&server, &transport, Duration::ZERO).await;
    assert_eq!(write(&client).await.unwrap_err().kind, FaultKind::NotSent);
    assert_eq!((server.count(), server.seen()[0].target.as_str()), (1, "/tokens"));
}

#[tokio::test]
async fn an_exchanged_token_is_renewed_after_a_refusal() {
    for (accepted, expected) in [
        (Some("canary-2"), Ok("ok".to_owned())),
        // Whatever is sent: not a third time.
        (None, Err(FaultKind::Unauthorized)),
    ] {
        let server = Server::start(move |at, seen| match (is_exchange(seen), seen.header("x-auth-token")) {
            (true, _) => Answer::new(201, &[("x-subject-token", &format!("canary-{at}"))], "{}"),
            (false, sent) if sent == accepted => Answer::json("\"ok\""),
            (false, sent) => Answer::new(401, &[], format!("not {sent:?} {CANARY}")),
        })
        .await;
        let client = exchanged(&server, &transport(HttpSettings::default()), Duration::ZERO).await;
        let outcome = write(&client).await;
        if let Err(fault) = &outcome {
            assert!(!format!("{fault:?} {client:?}").to_lowercase().contains("canary"), "{fault:?}");
        }
        assert_eq!(outcome.map_err(|fault| fault.kind), expected);
        let seen: Vec<_> = server.seen().into_iter().map(|seen| seen.target).collect();
        assert_eq!(seen, ["/tokens", "/it", "/tokens", "/it"]);
    }
}

#[tokio::test]
async fn a_token_that_ends_in_the_queue_is_replaced_before_it_is_sent() {
    let server = Server::start(|at, seen| match is_exchange(seen) {
        true => Answer::new(201, &[("x-subject-token", &format!("canary-{at}"))], "{}"),
        // What has the only turn takes longer than the token lives.
        false => {
            Answer::new(200, &[("content-length", "4")], "\"").then(Then::Late(Duration::from_millis(1200), "ok\""))
        }
    })
    .await;
    let transport = transport(HttpSettings { concurrency: 1, ..HttpSettings::default() });
    let iam = connect(&server, &transport, Authorization::unsent(&[&CANARY.to_owned().into()])).await;
    let second = |client| exchange(client, Duration::from_secs(1), Duration::ZERO);
    let client = connect(&server, &transport, ExchangedToken::new(iam, second)).await;
    for answer in join_all((0..2).map(|_| read(&client))).await {
        assert_eq!(answer.as_deref(), Ok("ok"));
    }
    let sent: Vec<_> = server.seen().iter().filter_map(|seen| seen.header("x-auth-token").map(str::to_owned)).collect();
    assert_eq!(sent, ["canary-0", "canary-2"]);
}

// ---- Signatures ----

#[tokio::test]
async fn every_attempt_has_a_signature_of_its_own() {
    let server = Server::start(|at, seen| match at {
        0 | 1 => Answer::new(503, &[("retry-after", "0")], ""),
        2 => Answer::json("\"ok\""),
        _ => Answer::new(401, &[], format!("{CANARY} {}", seen.header("authorization").unwrap())),
    })
    .await;
    let transport = transport(HttpSettings::default());
    let calls = AtomicUsize::new(0);
    let identity = Authorization::unsent(&[&CANARY.to_owned().into()]);
    let host = format!("127.0.0.1:{}", server.url.port().unwrap());
    let signed = SignedRequests::new(identity, move |ask| {
        let at = calls.fetch_add(1, Ordering::SeqCst);
        assert_eq!((ask.host(), ask.header("accept")), (host.as_str(), Some("application/json")));
        let (kind, body) = (ask.header("content-type").unwrap_or("none"), String::from_utf8_lossy(ask.body()));
        let signature = format!("Canary {at} {} {} {} {kind} {body}", ask.method(), ask.path(), ask.query());
        Authorization::header("authorization", &signature.into())?.and("x-sdk-date", &at.to_string())
    });
    assert!(!format!("{signed:?}").contains(CANARY));
    let client = connect(&server, &transport, signed).await;
    let request = client.put("write it", &["it", "a/b"]).query("tag_name", "v 1/é").json(&[1]).unwrap();
    assert_eq!(request.send().await.unwrap().body(), b"\"ok\"");
    for (at, seen) in server.seen().iter().enumerate() {
        let signature = format!("Canary {at} PUT /it/a%2Fb tag_name=v%201%2F%C3%A9 application/json [1]");
        assert_eq!(seen.header("authorization"), Some(signature.as_str()));
        assert_eq!(
            (seen.header("x-sdk-date"), seen.target.as_str()),
            (Some(at.to_string().as_str()), "/it/a%2Fb?tag_name=v%201%2F%C3%A9")
        );
    }
    // A refused signature is not made again, and not shown.
    let fault = read(&client).await.unwrap_err();
    assert_eq!((fault.kind, server.count()), (FaultKind::Unauthorized, 4));
    assert!(!format!("{fault:?} {client:?}").to_lowercase().contains("canary"), "{fault:?}");
    assert_eq!(server.seen()[3].header("authorization"), Some("Canary 3 GET /it  none "));
}

#[tokio::test]
async fn what_cannot_be_signed_is_not_sent() {
    let server = Server::start(|_, _| Answer::json("\"ok\"")).await;
    let transport = transport(HttpSettings::default());
    let refuse = |_: &tagsyncd::http::Ask<'_>| Err(Fault::new(FaultKind::Unsupported, "the clock stands still"));
    let client = connect(&server, &transport, SignedRequests::new(Authorization::default(), refuse)).await;
    let fault = write(&client).await.unwrap_err();
    assert_eq!(
        (fault.kind, fault.message.as_str()),
        (FaultKind::NotSent, "could not write it: the clock stands still")
    );
    assert_eq!((server.count(), transport.requests()), (0, 0));
}
