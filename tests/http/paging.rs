//! Listings that come in pages.

use std::sync::{Arc, Mutex};

use tagsyncd::http::{FaultKind, HttpSettings};
use tagsyncd::tag::{End, RemoteSnapshot};

use crate::clients::{COMMIT, gitlab, gitlab_with, name, transport};
use crate::server::{Answer, Seen, Server};

pub(crate) fn tag_json(name: &str) -> String {
    tag_with(name, "null")
}

fn tag_with(name: &str, message: &str) -> String {
    format!(r#"{{"name":"{name}","message":{message},"commit":{{"id":"{COMMIT}"}},"release":null,"protected":false}}"#)
}

/// A tag whose name ends in `-long` has a message of a mebibyte.
fn page_json(names: &[String]) -> String {
    let long = format!("\"{}\"", "x".repeat(1024 * 1024));
    let tag = |name: &String| tag_with(name, if name.ends_with("-long") { &long } else { "null" });
    format!("[{}]", names.iter().map(tag).collect::<Vec<_>>().join(","))
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|at| format!("v{at:05}")).collect()
}

/// Keyset paging as GitLab does it: the next page begins after the tag that the token names.
fn keyset(all: &[String], seen: &Seen) -> Answer {
    let from = match seen.query("page_token") {
        None => 0,
        Some(token) => match all.iter().position(|name| *name == token) {
            Some(at) => at + 1,
            None => {
                let words = format!(r#"{{"message":"Invalid page token: refs/tags/{token}"}}"#);
                return Answer::new(422, &[], words);
            }
        },
    };
    let size = seen.page_size();
    let page = &all[from..all.len().min(from + size)];
    let mut headers = vec![];
    let link;
    if page.len() == size {
        let host = seen.head.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
        link = format!(
            "<http://{host}/forge/api/v4/projects/infra%2Fcore/repository/tags?pagination=keyset&page_token={}>; rel=\"next\"",
            page[size - 1]
        );
        headers.push(("link", link.as_str()));
    }
    Answer::new(200, &headers, page_json(page))
}

/// Offset paging, with the headers that `headers` makes of page, total and whether there is more.
fn offset(all: &[String], seen: &Seen, headers: impl Fn(usize, usize, bool) -> Vec<(&'static str, String)>) -> Answer {
    let page: usize = seen.query("page").map_or(1, |page| page.parse().unwrap());
    let from = all.len().min((page - 1) * seen.page_size());
    let to = all.len().min(from + seen.page_size());
    let headers = headers(page, all.len(), to < all.len());
    let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    Answer::new(200, &headers, page_json(&all[from..to]))
}

fn listed(snapshot: &RemoteSnapshot) -> Vec<String> {
    snapshot.tags().iter().map(|tag| tag.name.to_string()).collect()
}

#[tokio::test]
async fn a_keyset_listing_takes_a_request_per_hundred() {
    for (count, requests) in [(0, 1), (1, 1), (99, 1), (100, 2), (2400, 25), (2450, 25)] {
        let all = names(count);
        let server = Server::start({
            let all = all.clone();
            move |_, seen| keyset(&all, seen)
        })
        .await;
        let transport = transport(HttpSettings::default());
        let snapshot = gitlab_with(&server, &transport).await.list_tags().await.unwrap();
        assert_eq!(listed(&snapshot), all);
        assert_eq!(snapshot.end(), End::NoNextPage);
        assert_eq!((server.count(), transport.requests()), (requests, requests as u64));
        let first = &server.seen()[0].target;
        let expected =
            "/forge/api/v4/projects/infra%2Fcore/repository/tags?per_page=100&order_by=name&sort=asc&pagination=keyset";
        assert_eq!(first, expected);
    }
}

#[tokio::test]
async fn a_deleted_page_token_begins_the_listing_again() {
    let all = Arc::new(Mutex::new(names(250)));
    let server = Server::start(move |at, seen| {
        let answer = keyset(&all.lock().unwrap(), seen);
        if at == 0 {
            all.lock().unwrap().remove(99);
        }
        answer
    })
    .await;
    let snapshot = gitlab(&server).await.list_tags().await.unwrap();
    assert_eq!((snapshot.tags().len(), server.count()), (249, 5));
    assert!(snapshot.get(&name("v00099")).is_none());

    // For ever, it is a fault.
    let server = Server::start(move |_, seen| {
        let all = names(250);
        keyset(if seen.query("page_token").is_some() { &all[..10] } else { &all }, seen)
    })
    .await;
    let fault = gitlab(&server).await.list_tags().await.unwrap_err();
    assert!(fault.kind == FaultKind::Unreadable && fault.message.contains("Invalid page token"), "{fault}");
    assert_eq!(server.count(), 6);
}

#[tokio::test]
async fn servers_without_keyset_paging_are_read_to_the_end() {
    type Headers = fn(usize, usize, bool) -> Vec<(&'static str, String)>;
    let full: Headers = |page, total, more| {
        let next = if more { (page + 1).to_string() } else { String::new() };
        vec![("x-page", page.to_string()), ("x-next-page", next), ("x-total", total.to_string())]
    };
    // The first page always claims a next one.
    let eager: Headers = |page, total, more| {
        let next = if more || page == 1 { (page + 1).to_string() } else { String::new() };
        vec![("x-next-page", next), ("x-total", total.to_string())]
    };
    let link: Headers = |page, total, more| match more {
        true => {
            vec![("link", format!("<?page={}&per_page=100>; rel=\"next\"", page + 1)), ("x-total", total.to_string())]
        }
        false => vec![("x-total", total.to_string())],
    };
    let bare: Headers = |_, _, _| vec![];
    // A header that points at the page itself.
    let circle: Headers = |page, total, _| vec![("x-next-page", page.to_string()), ("x-total", total.to_string())];
    for (case, headers, count, requests) in [
        // Where there are several pages, two readings have to agree.
        ("full", full, 250, 6),
        ("full", full, 200, 4),
        ("full", full, 7, 1),
        ("eager", eager, 7, 1),
        ("eager", eager, 100, 4),
        ("eager", eager, 250, 6),
        ("link", link, 250, 6),
        ("bare", bare, 250, 6),
        ("bare", bare, 200, 6),
        ("bare", bare, 7, 1),
        ("circle", circle, 250, 6),
    ] {
        let server = Server::start(move |_, seen| offset(&names(count), seen, headers)).await;
        let snapshot = gitlab(&server).await.list_tags().await.unwrap();
        assert_eq!((listed(&snapshot), server.count()), (names(count), requests), "{case} {count}");
    }
}

#[tokio::test]
async fn pages_that_shift_are_read_again() {
    // With a total on every page: a deletion after the first page shifts the second.
    let with_total = |_: usize, total: usize, _: bool| vec![("x-total", total.to_string())];
    let without = |_: usize, _: usize, _: bool| vec![];
    for deleted in [true, false] {
        for totals in [true, false] {
            let all = Arc::new(Mutex::new(names(350)));
            let state = Arc::clone(&all);
            let server = Server::start(move |at, seen| {
                let mut all = state.lock().unwrap();
                let answer = if totals { offset(&all, seen, with_total) } else { offset(&all, seen, without) };
                match (at, deleted) {
                    (0, true) => drop(all.remove(50)),
                    (0, false) => all.insert(50, "v00049-new".into()),
                    _ => {}
                }
                answer
            })
            .await;
            let snapshot = gitlab(&server).await.list_tags().await.unwrap();
            assert_eq!(listed(&snapshot), *all.lock().unwrap(), "deleted {deleted}, totals {totals}");
        }
    }
}

#[tokio::test]
async fn a_page_too_large_for_one_answer_is_read_in_parts() {
    // Eleven long messages on the second page.
    let mut all = names(240);
    all.iter_mut().skip(110).step_by(9).take(11).for_each(|name| name.push_str("-long"));
    for by_name in [true, false] {
        let server = Server::start({
            let all = all.clone();
            move |_, seen| if by_name { keyset(&all, seen) } else { offset(&all, seen, |_, _, _| vec![]) }
        })
        .await;
        let snapshot = gitlab(&server).await.list_tags().await.unwrap();
        assert_eq!(listed(&snapshot), all);
        let sizes: Vec<usize> = server.seen().iter().map(Seen::page_size).collect();
        let expected: &[usize] = match by_name {
            true => &[100, 100, 50, 100],
            // Page numbers count pages of one size, so a smaller size begins again; and all of it is read twice.
            false => &[100, 100, 50, 50, 50, 50, 50, 100, 100, 50, 50, 50, 50, 50],
        };
        assert_eq!(sizes, expected);
    }
    // There is nothing smaller than one tag.
    let server = Server::start(|_, _| Answer::json(" ".repeat(11 * 1024 * 1024))).await;
    let fault = gitlab(&server).await.list_tags().await.unwrap_err();
    assert!(fault.kind == FaultKind::Unreadable && fault.message.contains("more than 10485760 bytes"), "{fault}");
    assert_eq!(server.count(), 7);
}

#[tokio::test]
async fn a_listing_that_cannot_be_trusted_is_a_fault() {
    let refused = |headers: &'static [(&'static str, &'static str)], body: String| async move {
        let server = Server::start(move |_, _| Answer::new(200, headers, &body)).await;
        let fault = gitlab(&server).await.list_tags().await.unwrap_err();
        assert_eq!(fault.kind, FaultKind::Unreadable, "{fault}");
        fault.message
    };
    let page = page_json(&names(100));
    let elsewhere = &[("link", "<https://evil.example.com/forge/api/v4/x?page_token=v1>; rel=\"next\"")];
    assert!(refused(elsewhere, page.clone()).await.contains("refused to follow"));
    let outside = &[("link", "</other?page_token=v1>; rel=\"next\"")];
    assert!(refused(outside, page.clone()).await.contains("refused to follow"));
    // The same page again and again: by token, and by offset.
    let circle = &[("link", "<?page_token=v00099>; rel=\"next\"")];
    assert!(refused(circle, page.clone()).await.contains("names do not continue"));
    let empty_circle = &[("link", "<?page_token=v00099>; rel=\"next\"")];
    assert!(refused(empty_circle, "[]".into()).await.contains("circle"));
    assert!(refused(&[], page).await.contains("twice"));
    assert!(refused(&[("x-total", "10")], page_json(&names(3))).await.contains("promised 10"));
    assert!(refused(&[], r#"[{"name":"a..b\u001b[31m"}]"#.into()).await.contains("impossible tag"));
    assert!(refused(&[], page_json(&names(101))).await.contains("more than 100 tags"));
    assert!(refused(&[], page_json(&["v".repeat(4097)])).await.contains("more than 4096 bytes"));
    assert!(refused(&[], "{}".into()).await.contains("not a list of tags"));
    assert!(refused(&[], "null".into()).await.contains("not a list of tags"));
}
