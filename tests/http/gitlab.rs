//! GitLab's operations other than listing.

use tagsyncd::http::{Fault, FaultKind, HttpSettings};
use tagsyncd::provider::gitlab::Keys;
use tagsyncd::provider::{Access, Connection, NewTag, RemoteKeys as _};
use tagsyncd::tag::{Annotation, Attachment, TagName, Value};

use crate::clients::{COMMIT, gitlab, gitlab_with, name, target, transport};
use crate::paging::tag_json;
use crate::server::{Answer, Server};

#[tokio::test]
async fn only_a_missing_tag_is_absent() {
    let answer = |status: u16, body: &'static str| async move {
        let server = Server::start(move |_, _| Answer::new(status, &[], body)).await;
        gitlab(&server).await.get_tag(&name("v1")).await
    };
    assert_eq!(answer(404, r#"{"message":"404 Tag Not Found"}"#).await.unwrap(), None);
    for (status, body, kind, hint) in [
        (404, r#"{"message":"404 Project Not Found"}"#, FaultKind::NotFound, "member"),
        (404, r#"{"error":"404 Not Found"}"#, FaultKind::NotFound, "%2F"),
        (404, "", FaultKind::NotFound, "member"),
        (401, r#"{"message":"401 Unauthorized"}"#, FaultKind::Unauthorized, "expired"),
        (403, r#"{"message":"403 Forbidden"}"#, FaultKind::Forbidden, "role"),
        (403, r#"{"error":"insufficient_scope","scope":"api read_api"}"#, FaultKind::Forbidden, "api read_api"),
        (301, "", FaultKind::Unreadable, "moved"),
    ] {
        let fault = answer(status, body).await.unwrap_err();
        assert_eq!(fault.kind, kind, "{fault}");
        assert!(fault.hint.as_ref().unwrap().contains(hint), "{fault:?}");
    }
    let tag = answer(200, tag_json("v1").leak()).await.unwrap().unwrap();
    assert_eq!(tag.value, Ok(Value { target: target(), annotation: Annotation::Lightweight }));
    assert_eq!(tag.attachment, None);
    assert!(answer(200, tag_json("v2").leak()).await.unwrap_err().message.contains("another tag"));
    assert_eq!(answer(203, tag_json("v1").leak()).await.unwrap_err().kind, FaultKind::Unreadable);
    let hidden = answer(200, r#"{"name":"v1"}"#).await.unwrap().unwrap();
    assert_eq!((hidden.attachment, hidden.value.is_err()), (Some(Attachment::Hidden), true));
}

#[tokio::test]
async fn writes_say_what_is_meant() {
    let server = Server::start(|_, seen| match seen.method.as_str() {
        "POST" => Answer::new(201, &[], tag_json("rel/é")),
        _ => Answer::new(204, &[], ""),
    })
    .await;
    let transport = transport(HttpSettings::default());
    let gitlab = gitlab_with(&server, &transport).await;
    let value = Value::of(target());
    let new =
        NewTag { name: name("rel/é"), value: value.clone(), message: Some("First \"one\"\n".into()), tag_id: None };
    gitlab.create_tag(&new).await.unwrap();
    gitlab.create_tag(&NewTag { message: None, ..new.clone() }).await.unwrap();
    gitlab.delete_tag(&name("rel/é"), &value).await.unwrap();
    assert_eq!(gitlab.move_tag(&name("x"), &value, &new).await.unwrap_err().kind, FaultKind::Unsupported);
    let seen = server.seen();
    let tags = "/forge/api/v4/projects/infra%2Fcore/repository/tags";
    assert_eq!(
        seen.iter().map(|seen| seen.target.clone()).collect::<Vec<_>>(),
        [tags.to_owned(), tags.to_owned(), format!("{tags}/rel%2F%C3%A9")]
    );
    assert_eq!(seen[0].body, format!(r#"{{"tag_name":"rel/é","ref":"{COMMIT}","message":"First \"one\"\n"}}"#));
    assert_eq!(seen[1].body, format!(r#"{{"tag_name":"rel/é","ref":"{COMMIT}"}}"#));
    assert_eq!((seen[2].method.as_str(), transport.requests()), ("DELETE", 3));
    let fault = gitlab.create_tag(&NewTag { name: TagName::new(b"\xff").unwrap(), ..new.clone() }).await.unwrap_err();
    assert_eq!((fault.kind, transport.requests()), (FaultKind::NotSent, 3));
    // The answer is about another tag than the one asked for.
    let fault = gitlab.create_tag(&NewTag { name: name("v9"), ..new }).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Ambiguous);
}

#[tokio::test]
async fn refused_writes_keep_the_servers_words() {
    let new = NewTag { name: name("v1"), value: Value::of(target()), message: None, tag_id: None };
    for (status, body, kind, words) in [
        (400, r#"{"message":"Tag v1 already exists"}"#, FaultKind::Rejected, "already exists"),
        (405, r#"{"message":["no"]}"#, FaultKind::Rejected, ": no"),
        (400, r#"{"message":"Target 2695 is invalid"}"#, FaultKind::Rejected, "is invalid"),
        (403, r#"{"message":"403 Forbidden"}"#, FaultKind::Forbidden, "403 Forbidden"),
        (500, r#"{"message":"500 Internal Server Error"}"#, FaultKind::Ambiguous, "500"),
        (
            201,
            r#"{"name":"v1","commit":{"id":"1111111111111111111111111111111111111111"}}"#,
            FaultKind::Ambiguous,
            "another",
        ),
        (201, "", FaultKind::Ambiguous, "it is empty"),
        (200, "<html>", FaultKind::Ambiguous, "HTML"),
        (202, "{}", FaultKind::Ambiguous, "unexpected status 202"),
    ] {
        let server = Server::start(move |_, _| Answer::new(status, &[], body)).await;
        let fault = gitlab(&server).await.create_tag(&new).await.unwrap_err();
        assert_eq!((fault.kind, server.count()), (kind, 1), "{fault}");
        assert!(fault.message.starts_with("could not create the tag: ") && fault.message.contains(words), "{fault}");
    }
}

#[tokio::test]
async fn a_target_is_there_or_not_or_unknown() {
    let answer = |status: u16, body: String| async move {
        let server = Server::start(move |_, _| Answer::new(status, &[], &body)).await;
        let answer = gitlab(&server).await.has_target(&target()).await;
        let asked = format!("/forge/api/v4/projects/infra%2Fcore/repository/commits/{COMMIT}?stats=false");
        assert_eq!(server.seen()[0].target, asked);
        answer.map_err(|fault| fault.kind)
    };
    assert_eq!(answer(200, format!(r#"{{"id":"{COMMIT}"}}"#)).await, Ok(true));
    assert_eq!(answer(404, r#"{"message":"404 Commit Not Found"}"#.into()).await, Ok(false));
    assert_eq!(answer(404, r#"{"message":"404 Project Not Found"}"#.into()).await, Err(FaultKind::NotFound));
    assert_eq!(answer(200, r#"{"id":"1"}"#.into()).await, Err(FaultKind::Unreadable));
}

#[tokio::test]
async fn the_identity_is_the_project_and_the_role() {
    let identity = |body: &'static str| async move {
        let server = Server::start(move |_, _| Answer::json(body)).await;
        let port = server.url.port().unwrap();
        let identity = gitlab(&server).await.identity().await?;
        assert_eq!(identity.space, format!("gitlab:127.0.0.1:{port}/forge#42"));
        Ok::<_, Fault>(identity.access)
    };
    let level = r#"{"id":42,"permissions":{"project_access":{"access_level":30},"group_access":null}}"#;
    assert_eq!(identity(level).await, Ok(Access::Write));
    let level = r#"{"id":42,"permissions":{"project_access":null,"group_access":{"access_level":20}}}"#;
    let Ok(Access::ReadOnly { found, needed }) = identity(level).await else { panic!() };
    assert_eq!((found.as_str(), needed.as_str()), ("the role Reporter", "the role Developer or higher"));
    let nobody = r#"{"id":42,"permissions":{"project_access":null,"group_access":null}}"#;
    assert_eq!(identity(nobody).await, Ok(Access::Untold));
    assert_eq!(identity(r#"{"id":42}"#).await, Ok(Access::Untold));
    assert!(matches!(identity(r#"{"id":42,"archived":true}"#).await, Ok(Access::ReadOnly { .. })));
    let fault = identity(r#"{"id":42,"repository_access_level":"disabled"}"#).await.unwrap_err();
    assert!(fault.message.contains("switched off"), "{fault}");
    assert_eq!(identity(r#"{"name":"x"}"#).await.unwrap_err().kind, FaultKind::Unreadable);

    let server = Server::start(|_, _| Answer::json(r#"{"id":42}"#)).await;
    let keys = Keys::new(server.url.clone(), "42", None).unwrap();
    let connection =
        Connection { transport: transport(HttpSettings::default()), compare_annotations: false, objects: None };
    let identity = keys.connect(connection).await.unwrap().identity().await.unwrap();
    assert!(matches!(identity.access, Access::ReadOnly { found, .. } if found == "no token"));
    assert_eq!(server.seen()[0].target, "/api/v4/projects/42");
}
