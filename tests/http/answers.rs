//! What is believed of an answer.

use tagsyncd::http::FaultKind;

use crate::clients::{CANARY, client, read, write};
use crate::server::{Answer, Server};

#[tokio::test]
async fn a_page_for_people_is_no_answer() {
    for kind in ["text/html; charset=utf-8", "application/json"] {
        let page = "\n<!DOCTYPE html><title>Sign in</title>";
        let server = Server::start(move |_, _| Answer::new(200, &[("content-type", kind)], page)).await;
        let client = client(&server).await;
        let fault = read(&client).await.unwrap_err();
        assert!(fault.message.contains("an HTML page: a proxy or a login in between?"), "{fault}");
        assert_eq!((fault.kind, write(&client).await.unwrap_err().kind), (FaultKind::Unreadable, FaultKind::Ambiguous));
    }
    let server = Server::start(|_, _| Answer::new(403, &[], "<html>\x1b[31mBlocked</html>")).await;
    let fault = read(&client(&server).await).await.unwrap_err();
    assert!(fault.message.contains("403") && fault.message.contains("HTML page"), "{fault}");
}

#[tokio::test]
async fn broken_json_is_shown_safely() {
    let bomb = "[".repeat(100_000);
    let server = Server::start(move |at, _| match at {
        0 => Answer::json(&bomb),
        _ => Answer::json(format!("{{\"\x1b[31m{CANARY}\": {}", "1".repeat(500))),
    })
    .await;
    let client = client(&server).await;
    assert_eq!(read(&client).await.unwrap_err().kind, FaultKind::Unreadable);
    let fault = read(&client).await.unwrap_err();
    assert!(fault.message.contains("not a text") && fault.message.contains("[redacted]"), "{fault}");
    assert!(fault.message.len() < 600 && !fault.message.contains(['\x1b', '\n']), "{fault:?}");
}
