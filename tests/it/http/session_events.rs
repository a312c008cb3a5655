//! Server-sent events of a whole session, to the letter.

use bytes::{BufMut as _, BytesMut};
use futures::StreamExt as _;
use libtest_mimic::Trial;
use serde_json::{Value, json};

use super::request;
use crate::support::{
    client::{Client, Protocol, event_stream},
    gateway::{Setup, shared},
    http::get,
    story, trial,
};

/// All tests of this module.
pub(super) fn trials() -> Vec<Trial> {
    vec![
        trial("http::sse_of_a_session_does_not_end_with_a_run", goes_on),
        trial("http::sse_of_a_session_comes_back_by_last_event_id", comes_back),
        trial("http::sse_of_a_session_errors_are_json", errors),
        trial("http::sse_of_a_session_says_when_a_cursor_has_expired", expired),
        trial("http::a_session_is_watched_by_its_cookie", by_cookie),
    ]
}

async fn client() -> Client {
    Client::new(Protocol::Sse, shared().await.address())
}

async fn goes_on() {
    let client = client().await;
    let session = story::session(client).await;
    let mut response = request("GET", &format!("/v1/sessions/{session}/events"), &[], b"").await;
    assert_eq!(response.status, 200);
    assert_eq!(response.header("content-type"), "text/event-stream");
    assert_eq!(response.header("cache-control"), "no-cache");
    assert_eq!(response.header("x-accel-buffering"), "no");
    let mut blocks = event_stream(&mut response);
    assert_eq!(blocks.next().await.unwrap().unwrap().retry.as_deref(), Some("1000"));
    for _ in 0..2 {
        let run = story::start(client, &session, "worker_DAG").await.unwrap();
        let mut told = Vec::new();
        loop {
            let block = blocks.next().await.unwrap().unwrap();
            assert_eq!(block.event, None, "neither `close` nor any other");
            let event: Value = serde_json::from_str(&block.data.unwrap()).unwrap();
            assert_eq!(block.id.as_deref(), Some(story::cursor(&event)));
            told.extend((event["runId"] == run).then(|| event.clone()));
            if event["runId"] == run && story::is_terminal(&event) {
                break;
            }
        }
        assert_eq!(told.len(), story::log_of(client, &run).await.len());
    }
}

async fn comes_back() {
    let client = client().await;
    let session = story::session(client).await;
    let run = story::start(client, &session, "worker_DAG").await.unwrap();
    let log = story::log_of(client, &run).await;
    let path = format!("/v1/sessions/{session}/events");
    let mut watch = client.watch_session(&session, "");
    let mut cursors = Vec::new();
    while cursors.len() < 3 {
        let event = watch.expect().await;
        cursors.extend((event["runId"] == run).then(|| story::cursor(&event).to_owned()));
    }
    let [first, second, third] = cursors.try_into().unwrap();
    for (path, header, expected) in [
        (format!("{path}?after={first}"), "", &second),
        (path.clone(), first.as_str(), &second),
        (format!("{path}?after={first}"), second.as_str(), &third),
    ] {
        let mut response = request("GET", &path, &[("last-event-id", header)], b"").await;
        // The first block has `retry` alone.
        let block = event_stream(&mut response).skip(1).next().await.unwrap().unwrap();
        assert_eq!(block.id.as_ref(), Some(expected));
    }
    // At the end of the newest run the stream begins all the same: more may come.
    let mut watch = client.watch_session(&session, &third);
    let last = watch.take(log.len() - 3).await.pop().unwrap();
    let response = request("GET", &path, &[("last-event-id", story::cursor(&last))], b"").await;
    assert_eq!(response.status, 200);
}

async fn errors() {
    let session = story::session(client().await).await;
    for (path, status, reason) in [
        ("/v1/sessions/nobody/events", 404, "SESSION_NOT_FOUND"),
        (&format!("/v1/sessions/{session}/events?after=garbage"), 400, "CURSOR_MALFORMED"),
        (&format!("/v1/sessions/{session}/events?format=json"), 400, "FIELD_MALFORMED"),
        (&format!("/v1/sessions/{session}/events?compact=perhaps"), 400, "FIELD_MALFORMED"),
    ] {
        let response = request("GET", path, &[], b"").await.whole().await.unwrap();
        assert_eq!(response.status, status, "{path}");
        assert_eq!(response.json()["reason"], reason, "{path}");
    }
    let response = request("POST", &format!("/v1/sessions/{session}/events"), &[], b"").await;
    assert_eq!(response.status, 405);
}

/// When the runs that a cursor knows are gone, whoever comes back is told, instead of missing something.
async fn expired() {
    let gateway = Setup::default().environment("RUNGATE_RUN_RETENTION", "200ms").start().await;
    let client = Client::new(Protocol::Sse, gateway.address());
    let session = client.over(Protocol::Grpc).call("InitRun", json!({})).await.unwrap();
    let (session, run) = (story::text(&session["sessionId"]), story::text(&session["bootstrapRunId"]));
    let mut watch = client.watch_session(session, "");
    let mut event = watch.expect().await;
    while !story::is_terminal(&event) {
        event = watch.expect().await;
    }
    while client.over(Protocol::Grpc).call("GetRun", json!({"runId": run})).await.is_ok() {}
    let path = format!("/v1/sessions/{session}/events");
    let refused = get(gateway.address(), &format!("{path}?after={}", story::cursor(&event))).await;
    assert_eq!((refused.status.as_u16(), &refused.json()["reason"]), (400, &"CURSOR_EXPIRED".into()));
    // Who has been there all the time misses nothing.
    let next = story::start(client, session, "worker_DAG").await.unwrap();
    assert_eq!(watch.expect().await["runId"], next);
}

async fn by_cookie() {
    let client = client().await;
    let session = story::session(client).await;
    let mut body = BytesMut::new();
    body.put_u8(0);
    body.put_u32(2);
    body.put_slice(b"{}");
    let cookie = format!("rungate_session_id={session}");
    let headers = [("content-type", "application/connect+json"), ("cookie", cookie.as_str())];
    let path = "/rungate.v1.PipelineService/WatchSession";
    let mut response = request("POST", path, &headers, &body).await;
    let first = response.piece().await.unwrap().unwrap();
    let event: Value = serde_json::Deserializer::from_slice(&first[5..]).into_iter().next().unwrap().unwrap();
    assert_eq!(event["sequence"], "1");
    let read = client.over(Protocol::Grpc).call("GetRun", json!({"runId": event["runId"]})).await.unwrap();
    assert_eq!(read["run"]["sessionId"], session);
}
