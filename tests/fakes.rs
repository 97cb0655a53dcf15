//! The fakes do what their originals do, and break what they are told to break.

mod support;

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value as Json, json};
use support::gitlab::{
    Commits, DEVELOPER, FakeGitlab, FakeTag, GUEST, GitlabWorld, MAINTAINER, Project, Quirks, REPORTER, Token,
    WriteKind, commit_id, kind,
};
use support::server::{Effect, Gate, Reply, Request, Server, When};

const TAGS: &str = "/api/v4/projects/infra%2Fcore/repository/tags";

/// An answer as it came over the wire.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn json(&self) -> Json {
        serde_json::from_slice(&self.body).expect("the body is JSON")
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    fn names(&self) -> Vec<String> {
        let rows = self.json();
        let rows = rows.as_array().expect("a listing is an array");
        rows.iter().map(|row| row["name"].as_str().expect("a tag has a name").to_owned()).collect()
    }
}

/// Sends one request on a connection of its own. `None` when it breaks before there is a head.
fn send(server: &Server, method: &str, target: &str, headers: &[&str], body: &str) -> Option<Answer> {
    let mut stream = TcpStream::connect(server.address()).expect("the server listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket takes a timeout");
    let mut request = format!("{method} {target} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", server.address());
    for header in headers {
        request.push_str(&format!("{header}\r\n"));
    }
    request.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
    stream.write_all(request.as_bytes()).expect("the request goes out");
    let mut bytes = Vec::new();
    // A connection that breaks is what some tests want to see; what came before it is what counts.
    if let Err(fault) = stream.take(4 << 20).read_to_end(&mut bytes) {
        assert_ne!(fault.kind(), std::io::ErrorKind::WouldBlock, "the answer has no end");
    }
    let at = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&bytes[..at]).into_owned();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status line");
    Some(Answer { status, head, body: bytes.split_off(at + 4) })
}

fn call(fake: &FakeGitlab, method: &str, target: &str) -> Answer {
    send(fake.server(), method, target, &["PRIVATE-TOKEN: secret"], "").expect("an answer")
}

fn create(fake: &FakeGitlab, body: &Json) -> Answer {
    let headers = ["PRIVATE-TOKEN: secret", "Content-Type: application/json"];
    send(fake.server(), "POST", TAGS, &headers, &body.to_string()).expect("an answer")
}

fn says(answer: &Answer, status: u16, text: &str) {
    assert_eq!((answer.status, answer.json()["message"].as_str()), (status, Some(text)), "{answer:?}");
}

/// A GitLab whose core project has these tags.
fn with_tags<N: ToString>(names: impl IntoIterator<Item = N>) -> FakeGitlab {
    let mut world = GitlabWorld::with_core();
    let tags = names.into_iter().map(|name| (name.to_string(), FakeTag::lightweight(&commit_id(1)))).collect();
    world.project("infra/core").tags = tags;
    FakeGitlab::start(world)
}

fn echo() -> Server {
    Server::start(|request: &Request| Reply::text(200, &format!("{} {}", request.method, request.target)))
}

fn get(server: &Server, target: &str) -> Option<Answer> {
    send(server, "GET", target, &[], "")
}

// The server.

#[test]
fn paths_arrive_as_they_were_sent() {
    let server = echo();
    for target in ["/a%2Fb/../%2e%2e/c?x=%2B+1", "/%252F", "//x", "/a;b"] {
        let answer = get(&server, target).unwrap();
        assert_eq!(String::from_utf8(answer.body).unwrap(), format!("GET {target}"));
    }
    let record = server.record();
    assert_eq!((record.total(), record.connections, record.in_flight), (4, 4, 0));
    assert_eq!(record.requests[1].target, "/%252F");
    assert!(!record.requests[0].authorized);
}

#[test]
fn effects_meet_the_requests_that_they_are_for() {
    let server = echo();
    server.on(When::method("GET").path("/x").nth(2), Effect::Answer(Reply::retry_later(7)));
    server.on(When::any().path_end("/gone").times(2), Effect::Answer(Reply::unavailable()));
    let statuses = |target| [(); 4].map(|()| get(&server, target).unwrap().status);
    assert_eq!(statuses("/x"), [200, 429, 200, 200]);
    assert_eq!(statuses("/gone"), [503, 503, 200, 200]);
    server.on(When::any(), Effect::Answer(Reply::redirect(302, "http://127.0.0.1:1/")));
    let answer = get(&server, "/x").unwrap();
    assert_eq!((answer.status, answer.header("location")), (302, Some("http://127.0.0.1:1/")));
    server.behave();
    assert_eq!(get(&server, "/x").unwrap().status, 200);
}

#[test]
fn replies_are_lost_before_or_after_the_request_is_applied() {
    let fake = with_tags::<&str>([]);
    let body = json!({ "tag_name": "v1", "ref": commit_id(1) }).to_string();
    let headers = ["PRIVATE-TOKEN: secret", "Content-Type: application/json"];
    let post = || send(fake.server(), "POST", TAGS, &headers, &body);

    fake.server().on(When::method("POST").once(), Effect::DropBefore);
    assert!(post().is_none());
    assert!(fake.tags("infra/core").is_empty() && fake.writes().is_empty());

    fake.server().on(When::method("POST").once(), Effect::DropAfter);
    assert!(post().is_none());
    assert!(fake.tags("infra/core").contains_key("v1"));

    fake.server().on(When::method("DELETE").once(), Effect::AnswerAfter(Reply::text(500, "oops")));
    assert_eq!(call(&fake, "DELETE", &format!("{TAGS}/v1")).status, 500);
    assert!(fake.tags("7").is_empty());
    let statuses: Vec<_> = fake.server().record().requests.iter().map(|seen| seen.status).collect();
    assert_eq!(statuses, [None, None, Some(500)]);
}

#[test]
fn bodies_are_cut_endless_slow_or_bombs() {
    let server = echo();
    server.on(When::any().path("/cut"), Effect::Cut(5));
    server.on(When::any().path("/endless"), Effect::Endless);
    server.on(When::any().path("/slow"), Effect::Trickle(Duration::from_millis(1)));
    server.on(When::any().path("/bomb"), Effect::Answer(Reply::gzip_bomb(8 << 20)));

    let cut = get(&server, "/cut").unwrap();
    assert_eq!((cut.body.as_slice(), cut.header("content-length")), (b"GET /".as_slice(), Some("8")));
    assert!(get(&server, "/endless").unwrap().body.len() > 3 << 20);
    let slow = get(&server, "/slow").unwrap();
    assert_eq!(slow.header("transfer-encoding"), Some("chunked"));
    assert!(slow.body.ends_with(b"0\r\n\r\n"), "{slow:?}");
    let bomb = get(&server, "/bomb").unwrap();
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(bomb.body.as_slice()).read_to_end(&mut plain).unwrap();
    assert_eq!(plain.len(), 8 << 20);
    assert!(bomb.body.len() < 16 << 10, "{} bytes", bomb.body.len());
}

#[test]
fn requests_wait_at_a_gate_and_are_counted_together() {
    let server = echo();
    let gate = Gate::closed();
    server.on(When::any(), Effect::Hang(gate.clone()));
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..3).map(|_| scope.spawn(|| get(&server, "/").unwrap().status)).collect();
        assert!(server.wait_until(Duration::from_secs(10), |record| record.in_flight == 3));
        assert!(!server.wait_until(Duration::ZERO, |record| record.requests.iter().any(|seen| seen.status.is_some())));
        gate.open();
        assert!(clients.into_iter().all(|client| client.join().unwrap() == 200));
    });
    assert!(server.wait_until(Duration::from_secs(10), |record| record.in_flight == 0));
    assert_eq!(server.record().most_in_flight, 3);
    server.forget();
    assert_eq!((server.record().total(), server.record().most_in_flight), (0, 0));
}

#[test]
fn a_server_stops_while_requests_hang() {
    let server = echo();
    server.on(When::any(), Effect::Hang(Gate::closed()));
    std::thread::scope(|scope| {
        let client = scope.spawn({
            let address = server.address();
            move || {
                let mut stream = TcpStream::connect(address).unwrap();
                stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
                stream.read_to_end(&mut Vec::new())
            }
        });
        assert!(server.wait_until(Duration::from_secs(10), |record| record.in_flight == 1));
        drop(server);
        // Whether it sees an end or a reset, it is free.
        drop(client.join().unwrap());
    });
}

#[test]
fn callbacks_run_around_a_request_and_may_ask_the_server() {
    let server = Arc::new(echo());
    let asked = Arc::new(AtomicBool::new(false));
    server.on(
        When::any().path("/outer"),
        Effect::before({
            let (server, asked) = (Arc::downgrade(&server), asked.clone());
            move |_| {
                let inner = get(&server.upgrade().unwrap(), "/inner").unwrap();
                asked.store(inner.status == 200, Ordering::Relaxed);
            }
        }),
    );
    server.on(When::any().path("/outer"), Effect::rewrite(|reply| reply.header("X-Seen", "yes")));
    assert_eq!(get(&server, "/outer").unwrap().header("x-seen"), Some("yes"));
    assert!(asked.load(Ordering::Relaxed));
}

// GitLab.

#[test]
fn tags_are_made_read_and_deleted() {
    let fake = with_tags::<&str>([]);
    let commit = commit_id(1);
    let made = create(&fake, &json!({ "tag_name": "release/1+é", "ref": commit }));
    assert_eq!((made.status, &made.json()["target"], &made.json()["message"]), (201, &json!(commit), &Json::Null));
    let made = create(&fake, &json!({ "tag_name": "v2", "ref": commit, "message": "\n Two \n" })).json();
    assert_eq!((&made["message"], &made["commit"]["id"]), (&json!("Two"), &json!(commit)));
    assert_ne!(made["target"], json!(commit));
    assert_eq!(made["created_at"], json!("2023-11-14T22:13:21.000Z"));
    assert_eq!(made["release"], Json::Null);

    let one = format!("{TAGS}/release%2F1%2B%C3%A9");
    assert_eq!(call(&fake, "GET", &one).json()["name"], json!("release/1+é"));
    assert_eq!(call(&fake, "DELETE", &one).status, 204);
    says(&call(&fake, "GET", &one), 404, "404 Tag Not Found");
    says(&call(&fake, "DELETE", &one), 404, "404 Tag Not Found");
    assert_eq!(call(&fake, "GET", &format!("{TAGS}/a/b")).json(), json!({ "error": "404 Not Found" }));
    says(&call(&fake, "GET", &format!("{TAGS}/v2/signature")), 404, "404 Signature Not Found");

    // The same value again is another tag object.
    assert_eq!(call(&fake, "DELETE", &format!("{TAGS}/v2")).status, 204);
    let again = create(&fake, &json!({ "tag_name": "v2", "ref": commit, "message": "Two" })).json();
    assert_ne!(again["target"], made["target"]);
    let writes: Vec<_> = fake.writes().into_iter().map(|write| (write.kind, write.name, write.status)).collect();
    assert_eq!(writes[2], (WriteKind::Delete, "release/1+é".to_owned(), 204));
    assert_eq!(writes.len(), 6);
    assert_eq!(fake.server().record().count(kind::CREATE), 3);
}

#[test]
fn creates_are_refused_in_gitlabs_words() {
    let mut world = GitlabWorld::with_core();
    let project = world.project("7");
    project.commits = Commits::Known(BTreeSet::from([commit_id(1)]));
    project.tags.insert("v1".to_owned(), FakeTag::lightweight(&commit_id(1)));
    project.protect("prod-*", 0);
    let fake = FakeGitlab::start(world);
    let refused = |name: &str, reference: &str| create(&fake, &json!({ "tag_name": name, "ref": reference }));
    let (here, absent) = (commit_id(1), commit_id(2));
    says(&refused("v1", &here), 400, "Tag v1 already exists");
    says(&refused("v2", &absent), 400, &format!("Target {absent} is invalid"));
    says(&refused("v2", ""), 400, "Target is empty");
    says(&refused("a..b", &here), 400, "Tag name invalid");
    says(&refused("main", &here), 400, "You cannot use default branch name to create a tag");
    says(&refused("v1/x", &here), 400, "Failed to create a tag: v1/x");
    says(&refused("prod-1", &here), 400, "You are not allowed to create this tag as it is protected.");
    says(&refused(&"a".repeat(40), &here), 400, "You cannot create a tag with a SHA-1 or SHA-256 tag name.");
    assert_eq!(create(&fake, &json!({ "ref": here })).json(), json!({ "error": "tag_name is missing" }));
    assert_eq!(refused("v2", "v1").json()["target"], json!(here));

    fake.change(|world| world.quirks.refused_create_status = 405);
    says(&refused("v1", &here), 405, "Tag v1 already exists");
    fake.change(|world| world.creates_left = Some(1));
    assert_eq!((refused("v3", &here).status, refused("v4", &here).status), (201, 429));
    assert_eq!(fake.tags("infra/core").len(), 3);
    assert_eq!(call(&fake, "GET", &format!("/api/v4/projects/7/repository/commits/{here}")).status, 200);
    let missing = call(&fake, "GET", &format!("/api/v4/projects/7/repository/commits/{absent}"));
    says(&missing, 404, "404 Commit Not Found");
}

#[test]
fn levels_scopes_and_visibility_decide() {
    let fake = with_tags(["v1"]);
    fake.change(|world| {
        world.project("7").protect("v*", DEVELOPER);
        for (secret, level) in [
            ("maintainer", MAINTAINER),
            ("developer", DEVELOPER),
            ("reporter", REPORTER),
            ("guest", GUEST),
            ("nobody", 0),
        ] {
            world.tokens.insert(secret.to_owned(), Token::of_level(level));
        }
        world.tokens.insert("reader".to_owned(), Token::of_level(DEVELOPER).with_scopes(&["read_api"]));
        world.tokens.insert("old".to_owned(), Token { expired: true, ..Token::of_level(DEVELOPER) });
        world.tokens.insert("job".to_owned(), Token { is_job: true, ..Token::of_level(DEVELOPER) });
    });
    let ask = |method: &str, target: &str, secret: &str| {
        send(fake.server(), method, target, &[&format!("Authorization: Bearer {secret}")], "").unwrap()
    };
    let project = "/api/v4/projects/infra%2Fcore";
    let one = format!("{TAGS}/v1");
    assert_eq!(ask("GET", project, "developer").json()["permissions"]["project_access"]["access_level"], DEVELOPER);
    says(&ask("GET", TAGS, "wrong"), 401, "401 Unauthorized");
    assert_eq!(ask("GET", TAGS, "old").json()["error"], "invalid_token");
    says(&ask("GET", TAGS, "nobody"), 404, "404 Project Not Found");
    says(&ask("GET", TAGS, "guest"), 403, "403 Forbidden");
    assert_eq!(ask("GET", project, "guest").status, 200);
    says(&ask("DELETE", &one, "reporter"), 403, "403 Forbidden");
    says(&ask("DELETE", &one, "developer"), 403, "403 Forbidden");
    let scope = ask("DELETE", &one, "reader");
    assert_eq!((scope.status, &scope.json()["error"]), (403, &json!("insufficient_scope")));
    assert_eq!(ask("GET", TAGS, "reader").json()[0]["protected"], true);
    assert_eq!(ask("GET", "/api/v4/projects/7/protected_tags", "developer").status, 403);
    assert_eq!(ask("GET", "/api/v4/projects/7/protected_tags/v%2A", "maintainer").json()["name"], "v*");
    assert_eq!(ask("GET", "/api/v4/personal_access_tokens/self", "reader").json()["scopes"], json!(["read_api"]));
    assert_eq!(send(fake.server(), "GET", TAGS, &["JOB-TOKEN: job"], "").unwrap().status, 200);
    assert_eq!(send(fake.server(), "DELETE", &one, &["JOB-TOKEN: job"], "").unwrap().status, 401);

    let anonymous = |method: &str, target: &str| send(fake.server(), method, target, &[], "").unwrap();
    says(&anonymous("GET", TAGS), 404, "404 Project Not Found");
    fake.change(|world| world.project("7").public = true);
    assert_eq!(anonymous("GET", TAGS).names(), ["v1"]);
    assert!(anonymous("GET", project).json().get("permissions").is_none());
    says(&anonymous("DELETE", &one), 403, "403 Forbidden");

    fake.change(|world| world.project("7").archived = true);
    says(&ask("DELETE", &one, "maintainer"), 403, "403 Forbidden");
    assert_eq!(fake.tags("7").len(), 1);
    fake.change(|world| world.project("7").archived = false);
    assert_eq!(ask("DELETE", &one, "maintainer").status, 204);
}

/// Follows `Link` to the end; the rows of every page.
fn follow(fake: &FakeGitlab, first: &str) -> Vec<Vec<String>> {
    let mut pages = Vec::new();
    let mut next = Some(first.to_owned());
    while let Some(target) = next {
        assert!(pages.len() < 20, "the pages have no end");
        let answer = call(fake, "GET", &target);
        pages.push(answer.names());
        next = answer.header("link").and_then(|links| {
            let link = links.split(", ").find(|link| link.ends_with("rel=\"next\""))?;
            let url = link.strip_prefix('<')?.split_once('>')?.0;
            Some(url.strip_prefix(&fake.server().url())?.to_owned())
        });
    }
    pages
}

#[test]
fn keyset_pages_end_after_one_that_is_not_full() {
    let fake = with_tags((0..6).map(|n| format!("v{n}")));
    let first = format!("{TAGS}?pagination=keyset&order_by=name&sort=asc&per_page=3");
    let pages = follow(&fake, &first);
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [3, 3, 0]);
    assert_eq!(pages.concat(), ["v0", "v1", "v2", "v3", "v4", "v5"]);
    let backwards = follow(&fake, &first.replace("asc", "desc"));
    assert_eq!(backwards.concat(), ["v5", "v4", "v3", "v2", "v1", "v0"]);
    fake.change(|world| world.quirks.link_on_full_page = false);
    assert_eq!(follow(&fake, &first).len(), 2);

    says(&call(&fake, "GET", &format!("{first}&page_token=v9")), 422, "Invalid page token: refs/tags/v9");
    assert_eq!(call(&fake, "GET", &format!("{TAGS}?per_page=3&search=%5Ev")).names().len(), 6);
    assert_eq!(call(&fake, "GET", &format!("{TAGS}?sort=up")).status, 400);

    fake.change(|world| world.quirks.next_page_is_current = true);
    let second = call(&fake, "GET", &format!("{first}&page_token=v2"));
    assert!(second.header("link").unwrap().contains("page_token=v2"));
    fake.change(|world| world.quirks = Quirks { repeats_first_page: true, ..Quirks::default() });
    assert_eq!(call(&fake, "GET", &format!("{first}&page_token=v2")).names()[0], "v0");
    fake.change(|world| world.quirks = Quirks { link_host: Some("http://other".to_owned()), ..Quirks::default() });
    assert!(call(&fake, "GET", &first).header("link").unwrap().starts_with("<http://other/api/v4/"));
}

#[test]
fn offset_pages_have_totals_and_quirks() {
    let fake = with_tags((0..5).map(|n| format!("v{n}")));
    let first = format!("{TAGS}?order_by=name&sort=asc&per_page=2");
    let headers = |target: &str| {
        let answer = call(&fake, "GET", target);
        ["x-next-page", "x-total", "x-total-pages", "x-page"].map(|name| answer.header(name).map(str::to_owned))
    };
    let shown = |values: [&str; 4]| values.map(|value| Some(value.to_owned()));
    assert_eq!(follow(&fake, &first).iter().map(Vec::len).collect::<Vec<_>>(), [2, 2, 1]);
    assert_eq!(headers(&first), shown(["2", "5", "3", "1"]));
    assert_eq!(headers(&format!("{first}&page=3")), shown(["", "5", "3", "3"]));

    // One that does not know keyset pages ignores what belongs to them.
    fake.change(|world| world.quirks = Quirks { no_keyset: true, first_page_claims_next: true, ..Quirks::default() });
    let keyset = format!("{TAGS}?pagination=keyset&order_by=name&sort=asc&per_page=100");
    assert_eq!(headers(&keyset), shown(["2", "5", "1", "1"]));
    assert_eq!(follow(&fake, &keyset).iter().map(Vec::len).collect::<Vec<_>>(), [5, 0]);

    let quirks = Quirks { no_link: true, no_total: true, next_page_beyond_end: true, ..Quirks::default() };
    fake.change(|world| world.quirks = quirks);
    let beyond = call(&fake, "GET", &format!("{first}&page=9"));
    assert_eq!((beyond.names().len(), beyond.header("x-next-page"), beyond.header("link")), (0, Some("10"), None));
    assert_eq!(beyond.header("x-total"), None);
    fake.change(|world| world.quirks = Quirks { total_lies: Some(10_000), page_cap: Some(1), ..Quirks::default() });
    let lie = call(&fake, "GET", &first);
    assert_eq!((lie.names().len(), lie.header("x-total")), (1, Some("10000")));
    fake.change(|world| world.quirks = Quirks { loses_last_row_of_page: Some(2), ..Quirks::default() });
    assert_eq!(follow(&fake, &first).concat(), ["v0", "v1", "v2", "v4"]);
}

#[test]
fn a_replica_lags_for_so_many_reads() {
    let fake = with_tags(["v1"]);
    fake.change(|world| world.quirks.stale_reads = 2);
    assert_eq!(create(&fake, &json!({ "tag_name": "v2", "ref": commit_id(1) })).status, 201);
    says(&call(&fake, "GET", &format!("{TAGS}/v2")), 404, "404 Tag Not Found");
    assert_eq!(call(&fake, "GET", TAGS).names(), ["v1"]);
    assert_eq!(call(&fake, "GET", TAGS).names().len(), 2);
    // What is made is made: writes do not lag.
    says(&create(&fake, &json!({ "tag_name": "v2", "ref": commit_id(1) })), 400, "Tag v2 already exists");
}

#[test]
fn releases_go_with_their_tags_and_may_be_hidden() {
    let fake = with_tags::<&str>([]);
    fake.change(|world| {
        let tag = FakeTag::lightweight(&commit_id(1)).with_release("Notes");
        world.project("7").tags.insert("v1".to_owned(), tag);
    });
    let one = format!("{TAGS}/v1");
    assert_eq!(call(&fake, "GET", &one).json()["release"], json!({ "tag_name": "v1", "description": "Notes" }));
    fake.change(|world| world.quirks.hides_release = true);
    assert!(call(&fake, "GET", &one).json().get("release").is_none());
    let since = "If-Unmodified-Since: Mon, 01 Jan 2001 00:00:00 GMT";
    let answer = send(fake.server(), "DELETE", &one, &["PRIVATE-TOKEN: secret", since], "").unwrap();
    says(&answer, 412, "412 Precondition Failed");
    assert_eq!(call(&fake, "DELETE", &one).status, 204);
    create(&fake, &json!({ "tag_name": "v1", "ref": commit_id(1) }));
    assert_eq!(fake.tags("7")["v1"].release, None);
}

#[test]
fn projects_move_are_recreated_and_live_below_a_path() {
    let fake = with_tags(["v1"]);
    fake.change(|world| {
        world.root = "/gitlab".to_owned();
        world.project("7").former_paths.push("old/core".to_owned());
        world.rate_limit = Some(100);
    });
    let moved = call(&fake, "GET", "/gitlab/api/v4/projects/old%2Fcore/repository/tags?page=2");
    let due = format!("{}/api/v4/projects/7/repository/tags?page=2", fake.url());
    assert_eq!((moved.status, moved.header("location")), (301, Some(due.as_str())));
    assert_eq!(moved.header("ratelimit-remaining"), Some("99"));
    let below = format!("/gitlab{TAGS}");
    assert_eq!(call(&fake, "GET", TAGS).json(), json!({ "error": "404 Not Found" }));
    assert_eq!(follow(&fake, &format!("{below}?pagination=keyset&per_page=1")), [vec!["v1".to_owned()], vec![]]);
    fake.change(|world| world.recreate("infra/core"));
    assert_eq!(call(&fake, "GET", "/gitlab/api/v4/projects/infra%2Fcore").json()["id"], 8);
    assert!(call(&fake, "GET", &below).names().is_empty());

    fake.change(|world| {
        world.projects.insert(9, Project::new("infra/other"));
        world.project("9").tags.insert("a/b".to_owned(), FakeTag::lightweight(&commit_id(1)));
        world.quirks.proxy_decodes_slashes = true;
    });
    let behind = call(&fake, "GET", "/gitlab/api/v4/projects/infra%2Fother/repository/tags/a%2Fb");
    assert_eq!(behind.json(), json!({ "error": "404 Not Found" }));
}

#[test]
fn somebody_else_changes_tags_between_list_and_write() {
    let fake = with_tags(["v1"]);
    fake.adversary(When::method("DELETE"), |world| {
        world.project("7").tags.insert("v1".to_owned(), FakeTag::lightweight(&commit_id(9)));
        world.project("7").protect("v1", MAINTAINER);
        world.tokens.insert("secret".to_owned(), Token::of_level(DEVELOPER));
    });
    says(&call(&fake, "DELETE", &format!("{TAGS}/v1")), 403, "403 Forbidden");
    assert_eq!(fake.tags("7")["v1"].target, commit_id(9));
    assert!(!fake.writes()[0].took_effect());
}

#[test]
fn a_hundred_thousand_tags_are_no_burden() {
    let fake = with_tags((0..100_000).map(|n| format!("v{n:06}")));
    let last =
        call(&fake, "GET", &format!("{TAGS}?pagination=keyset&order_by=name&sort=asc&per_page=100&page_token=v099899"));
    assert_eq!((last.names().len(), last.names()[99].as_str()), (100, "v099999"));
    let offset = call(&fake, "GET", &format!("{TAGS}?order_by=name&sort=asc&per_page=100&page=1000"));
    assert_eq!((offset.names().len(), offset.header("x-total"), offset.header("x-next-page")), (100, None, Some("")));
}
