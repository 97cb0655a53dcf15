//! One server that is dead, slow, throttling or closed to us is left alone, and is nobody else's trouble.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::{join, join_all};
use tagsyncd::http::{
    Authorization, Client, ClosedBy, Credential, ExchangedToken, FaultKind, HttpSettings, Pool, RegistryCredentials,
    Token, Transport,
};

use crate::clients::{CANARY, client_with, quick, read, seconds_until, time_in, transport, write};
use crate::server::{Answer, Seen, Server, Then};

/// Lets so much time pass for everything in this process that waits, without waiting.
async fn later(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

const QUARTER: Duration = Duration::from_secs(15 * 60);

fn bearer(token: &str) -> Authorization {
    Authorization::bearer(&token.to_owned().into()).unwrap()
}

#[tokio::test]
async fn a_refused_credential_is_tried_once_in_a_quarter_of_an_hour() {
    let revoked = Arc::new(AtomicBool::new(true));
    let server = Server::start({
        let revoked = Arc::clone(&revoked);
        move |_, seen| {
            let old = seen.header("authorization").is_some_and(|sent| sent.ends_with(CANARY));
            match old && revoked.load(Ordering::Relaxed) {
                true => Answer::new(401, &[], "{\"message\":\"401 Unauthorized\"}"),
                false => Answer::json("\"ok\""),
            }
        }
    })
    .await;
    let pool = Arc::new(Pool::new());
    let transport = Transport::new(&pool, HttpSettings { concurrency: 2, ..HttpSettings::default() });
    let client = client_with(&server, &transport).await;
    // A thousand repositories; those that were under way with the first one are heard, and nobody else is.
    let faults = join_all((0..1000).map(|_| read(&client))).await;
    assert!(server.count() <= 2, "{}", server.count());
    assert!(faults.iter().all(|fault| fault.as_ref().unwrap_err().kind == FaultKind::Unauthorized));
    let fault = read(&client).await.unwrap_err();
    assert!((895..=900).contains(&seconds_until(pool.conditions()[0].closed_until.unwrap())));
    assert!(fault.message.starts_with("could not read it: 127.0.0.1 is left alone until 20"), "{fault}");
    assert!(fault.message.contains("it refuses this credential since 20"), "{fault}");
    assert!(fault.hint.as_ref().unwrap().contains("replace the credential"), "{fault:?}");
    assert!(!format!("{fault:?} {:?}", pool.conditions()).contains("CANARY"));
    assert_eq!(pool.conditions()[0].reason, Some(ClosedBy::Refused));

    // Another token is another matter, and so is a new configuration.
    let other = Client::new(&transport, server.url.clone(), bearer("new")).await.unwrap();
    read(&other).await.unwrap();
    let before = server.count();
    let reloaded = client_with(&server, &Transport::new(&Arc::new(Pool::new()), HttpSettings::default())).await;
    assert_eq!(read(&reloaded).await.unwrap_err().kind, FaultKind::Unauthorized);
    assert_eq!(server.count(), before + 1);

    // One may try, whoever asks; the fault keeps saying since when.
    for round in 1..=2 {
        later(QUARTER).await;
        let before = server.count();
        join_all((0..20).map(|_| read(&client))).await;
        assert_eq!(server.count(), before + 1, "round {round}");
    }
    later(QUARTER).await;
    revoked.store(false, Ordering::Relaxed);
    assert!(join_all((0..20).map(|_| read(&client))).await.iter().all(Result::is_ok));
    assert!(pool.conditions().iter().all(|condition| condition.reason.is_none()));
}

#[tokio::test]
async fn tokens_that_are_refused_one_after_the_other_make_new_ones_wait() {
    let good = |sent: Option<&str>| sent.is_none_or(|sent| sent.contains("good"));
    let server = Server::start(move |_, seen| match good(seen.header("authorization")) {
        true => Answer::json("\"ok\""),
        false => Answer::new(401, &[], "{\"message\":\"401 Unauthorized\"}"),
    })
    .await;
    let pool = Arc::new(Pool::new());
    let transport = Transport::new(&pool, HttpSettings::default());
    let connect = |token: String| Client::new(&transport, server.url.clone(), bearer(&token));
    let known = connect("good".into()).await.unwrap();
    read(&known).await.unwrap();
    let before = server.count();
    for number in 0..100 {
        let client = connect(format!("bad{number}")).await.unwrap();
        assert_eq!(read(&client).await.unwrap_err().kind, FaultKind::Unauthorized);
    }
    assert_eq!(server.count() - before, 5);
    assert!(pool.conditions().len() < 10, "{}", pool.conditions().len());
    // Who is known, and who brings none, is let in; another one has to wait.
    read(&known).await.unwrap();
    read(&Client::new(&transport, server.url.clone(), Credential::none()).await.unwrap()).await.unwrap();
    let other = connect("good, too".into()).await.unwrap();
    let fault = read(&other).await.unwrap_err();
    assert!(fault.message.contains("refused several other credentials"), "{fault}");
    later(QUARTER).await;
    read(&other).await.unwrap();
    // Nobody asks with the others any more.
    later(QUARTER).await;
    let _another = connect("good as well".into()).await.unwrap();
    assert!(pool.conditions().len() <= 4, "{}", pool.conditions().len());
}

#[tokio::test]
async fn a_token_that_had_to_be_renewed_is_no_refusal() {
    // IAM: the first token is over whenever it arrives, the second one is taken.
    let iam = Server::start(|_, _| Answer::json("\"ok\"")).await;
    let api = Server::start(|at, _| match at % 2 {
        0 => Answer::new(401, &[], ""),
        _ => Answer::json("\"ok\""),
    })
    .await;
    let transport = transport(HttpSettings::default());
    let given = Arc::new(AtomicUsize::new(0));
    let password = Authorization::unsent(&[&"canary".to_owned().into()]);
    let exchange = {
        let given = Arc::clone(&given);
        move |client: Client| {
            let given = Arc::clone(&given);
            async move {
                client.get("get a token", &["token"]).send().await?;
                let at = given.fetch_add(1, Ordering::Relaxed);
                Token::new(Authorization::bearer(&format!("t{at}").into())?, QUARTER).pipe(Ok)
            }
        }
    };
    let token = ExchangedToken::new(Client::new(&transport, iam.url.clone(), password).await.unwrap(), exchange);
    let client = Client::new(&transport, api.url.clone(), token).await.unwrap();
    for _ in 0..4 {
        read(&client).await.unwrap();
    }
    assert_eq!((api.count(), iam.count()), (8, 5));
}

trait Pipe: Sized {
    fn pipe<T>(self, to: impl FnOnce(Self) -> T) -> T {
        to(self)
    }
}

impl Pipe for Token {}

#[tokio::test]
async fn a_login_that_gets_no_token_is_refused_and_an_image_that_is_closed_is_not() {
    let is_token = |seen: &Seen| seen.target.starts_with("/token");
    let challenge = |seen: &Seen, error: &str| {
        let realm = format!("http://{}/token", seen.header("host").unwrap());
        let header = format!("Bearer realm=\"{realm}\",service=\"registry\",scope=\"repository:a:pull\"{error}");
        Answer::new(401, &[("www-authenticate", &header)], "{}")
    };
    for (login_is_good, requests) in [(false, 2), (true, 4 * 10)] {
        let server = Server::start(move |_, seen| match (is_token(seen), login_is_good) {
            (true, true) => Answer::json("{\"token\":\"t\",\"expires_in\":0}"),
            (true, false) => Answer::new(401, &[], "{}"),
            (false, _) => challenge(seen, ""),
        })
        .await;
        let transport = transport(HttpSettings::default());
        for _ in 0..10 {
            let login = Authorization::basic("robot", &CANARY.to_owned().into()).unwrap();
            let credentials = RegistryCredentials::new(&transport, &server.url, Some(login));
            let client = Client::new(&transport, server.url.clone(), credentials).await.unwrap();
            assert_eq!(read(&client).await.unwrap_err().kind, FaultKind::Unauthorized);
        }
        assert!(server.count() <= requests, "{login_is_good} {}", server.count());
        assert!(!login_is_good || server.count() >= 20, "{}", server.count());
    }
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_left_alone_and_found_again() {
    let kinds: [fn() -> Answer; 3] =
        [|| Answer::new(502, &[], "Bad gateway"), || Answer::nothing(Then::Close), Answer::cut];
    for dead in kinds {
        let up = Arc::new(AtomicBool::new(false));
        let server = Server::start({
            let up = Arc::clone(&up);
            move |_, _| if up.load(Ordering::Relaxed) { Answer::json("\"ok\"") } else { dead() }
        })
        .await;
        let pool = Arc::new(Pool::new());
        let transport = Transport::new(&pool, HttpSettings::default());
        let client = client_with(&server, &transport).await;
        assert_eq!(read(&client).await.unwrap_err().kind, FaultKind::Unreadable);
        assert_eq!(server.count(), 3, "one call alone closes nothing");
        read(&client).await.unwrap_err();
        assert_eq!(server.count(), 5);
        let fault = read(&client).await.unwrap_err();
        assert_eq!((fault.kind, server.count()), (FaultKind::NotSent, 5));
        assert!(fault.message.contains("is left alone until 20"), "{fault}");
        assert!(fault.message.contains("nothing came through several times in a row since 20"), "{fault}");
        assert!((6..=10).contains(&seconds_until(pool.conditions()[0].closed_until.unwrap())), "{fault}");
        assert_eq!(write(&client).await.unwrap_err().kind, FaultKind::NotSent);
        assert_eq!((transport.requests(), pool.conditions()[0].reason), (5, Some(ClosedBy::Unreached)));
        // It is still down: two find that out, one after the other, and none of them is repeated.
        later(Duration::from_secs(10)).await;
        join_all((0..20).map(|_| read(&client))).await;
        assert_eq!(server.count(), 7);
        assert!((14..=20).contains(&seconds_until(time_in_until(&read(&client).await.unwrap_err().message))));
        later(Duration::from_secs(20)).await;
        up.store(true, Ordering::Relaxed);
        assert!(join_all((0..20).map(|_| read(&client))).await.iter().all(Result::is_ok));
        assert_eq!((server.count(), pool.conditions()[0].reason), (27, None));
    }
}

/// The time after `until`.
fn time_in_until(text: &str) -> jiff::Timestamp {
    let (_, after) = text.split_once(" until ").unwrap();
    time_in(after.split_once(',').unwrap().0)
}

#[tokio::test]
async fn one_broken_project_does_not_close_its_server() {
    let server = Server::start(|_, seen| match seen.target.as_str() {
        "/broken" => Answer::new(500, &[], "oops"),
        _ => Answer::json("\"ok\""),
    })
    .await;
    let client = client_with(&server, &transport(HttpSettings::default())).await;
    for _ in 0..20 {
        let reply = client.get("read it", &["broken"]).send().await.unwrap();
        assert_eq!(reply.status(), 500);
    }
    read(&client).await.unwrap();
    // Twenty first tries, ten repetitions at once and one for every ten.
    assert!((20 + 10..=20 + 10 + 3).contains(&(server.count() - 1)), "{}", server.count());
}

#[tokio::test]
async fn a_dead_a_slow_and_a_throttling_server_delay_no_other() {
    let misbehave: [fn() -> Answer; 3] = [
        || Answer::nothing(Then::Hang),
        || Answer::new(200, &[("content-length", "100000")], "").then(Then::Drip),
        || Answer::new(429, &[("retry-after", "600")], ""),
    ];
    let pool = Arc::new(Pool::new());
    for answer in misbehave {
        let bad = Server::start(move |_, _| answer()).await;
        let mut good = Vec::new();
        for _ in 0..4 {
            good.push(Server::start(|_, _| Answer::json("\"ok\"")).await);
        }
        let of_bad = client_with(&bad, &Transport::new(&pool, quick())).await;
        let began = Instant::now();
        let others = async {
            for server in &good {
                let client = client_with(server, &Transport::new(&pool, quick())).await;
                // More than there are slots, all at the same time as those of the bad one.
                assert!(join_all((0..40).map(|_| read(&client))).await.iter().all(Result::is_ok));
            }
            began.elapsed()
        };
        let hundred = async {
            let faults = join_all((0..100).map(|_| read(&of_bad))).await;
            assert!(faults.iter().all(Result::is_err));
            began.elapsed()
        };
        let (others, hundred) = join(others, hundred).await;
        assert!(others < Duration::from_millis(900), "before the first request to the bad one was over: {others:?}");
        // Not a hundred deadlines one after the other, and not those of eight slots either.
        assert!(hundred < Duration::from_secs(4), "{hundred:?}");
        assert!(bad.count() <= 16, "{}", bad.count());
    }
}
