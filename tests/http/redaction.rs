//! Where credentials must not be seen.

use std::sync::{Arc, Mutex};

use crate::clients::{CANARY, gitlab};
use crate::server::{Answer, Server};

/// Collects what is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn the_credential_is_in_no_error_and_no_log() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber =
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(move || writer.clone()).finish();
    // For the whole process: what the other tests do meanwhile is logged, too, and they use the same credential.
    tracing::subscriber::set_global_default(subscriber).unwrap();

    let server = Server::start(|at, seen| {
        let echo = format!("{CANARY} {}", seen.head.replace(['\r', '\n'], " ").replace('"', "'"));
        let link = format!("<https://{CANARY}.example.com/?page_token={CANARY}>; rel=next");
        match at % 8 {
            0 => Answer::new(400, &[], format!(r#"{{"message":"{echo}"}}"#)),
            1 => Answer::new(403, &[], format!(r#"{{"error":"insufficient_scope","scope":"{echo}"}}"#)),
            2 => Answer::new(404, &[("x-echo", CANARY)], echo),
            3 => Answer::new(301, &[("location", &format!("https://{CANARY}.example.com/{CANARY}"))], ""),
            4 => Answer::json(format!(r#"[{{"name":"a..{CANARY}"}}]"#)),
            5 => Answer::new(200, &[("link", &link)], "[]"),
            6 => Answer::new(200, &[("link", &format!("<{CANARY}"))], "[]"),
            _ => Answer::json(format!("{{\"{CANARY}")),
        }
    })
    .await;
    let gitlab = gitlab(&server).await;
    for _ in 0..8 {
        let fault = gitlab.list_tags().await.unwrap_err();
        let shown = format!("{fault} {fault:?}");
        assert!(!shown.to_lowercase().contains("canary"), "{shown}");
    }
    assert!(server.seen().iter().all(|seen| seen.head.contains(CANARY)));
    let shown = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(shown.contains("Answered.") && !shown.to_lowercase().contains("canary"), "{shown}");
}
