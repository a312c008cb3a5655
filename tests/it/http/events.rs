//! Server-sent events as the contract has them, to the letter.

use futures::StreamExt as _;
use libtest_mimic::Trial;

use super::{request, request_over};
use crate::support::{
    client::{Block, Client, Protocol, SERVICE, event_stream},
    gateway::shared,
    http::Version,
    story, trial,
};

/// All tests of this module.
pub(super) fn trials() -> Vec<Trial> {
    vec![
        trial("http::sse_has_its_headers_and_begins_with_retry", headers_and_first_bytes),
        trial("http::sse_ends_with_close", ends_with_close),
        trial("http::sse_first_bytes_come_before_any_event", first_bytes),
        trial("http::sse_last_event_id_comes_before_after", positions),
        trial("http::sse_resumed_at_the_end_is_204", no_content),
        trial("http::sse_over_http2_is_the_same", over_http2),
        trial("http::sse_and_connect_have_the_same_json", same_json_on_connect),
        trial("http::sse_errors_are_json", errors),
    ]
}

async fn client() -> Client {
    Client::new(Protocol::Sse, shared().await.address())
}

async fn blocks(path: &str, headers: &[(&str, &str)]) -> Vec<Block> {
    let mut response = request("GET", path, headers, b"").await;
    assert_eq!(response.status, 200);
    event_stream(&mut response).map(Result::unwrap).collect().await
}

async fn headers_and_first_bytes() {
    let (run, _) = story::finished(client().await, "worker_DAG").await;
    let mut response = request("GET", &format!("/v1/runs/{run}/events"), &[], b"").await;
    assert_eq!(response.status, 200);
    assert_eq!(response.header("content-type"), "text/event-stream");
    assert_eq!(response.header("cache-control"), "no-cache");
    assert_eq!(response.header("x-accel-buffering"), "no");
    let first = event_stream(&mut response).next().await.unwrap().unwrap();
    assert_eq!(first, Block { retry: Some("1000".to_owned()), ..Block::default() });
}

async fn ends_with_close() {
    let (run, log) = story::finished(client().await, "worker_DAG").await;
    let blocks = blocks(&format!("/v1/runs/{run}/events"), &[]).await;
    let (close, events) = blocks[1..].split_last().unwrap();
    let expected = Block { event: Some("close".into()), data: Some("{}".into()), ..Block::default() };
    assert_eq!(*close, expected);
    assert_eq!(events.len(), log.len());
    for (block, event) in events.iter().zip(&log) {
        assert_eq!(block.id.as_deref(), Some(story::cursor(event)));
        assert_eq!(block.event, None, "so that `onmessage` sees it");
        let data: serde_json::Value = serde_json::from_str(block.data.as_ref().unwrap()).unwrap();
        for field in ["eventType", "message", "progressPercent"] {
            assert!(data.get(field).is_some(), "{field} in {data:#}");
        }
    }
}

/// A watcher of a run that says nothing has its headers and `retry` all the same.
async fn first_bytes() {
    let client = client().await;
    let run = story::run(client, "linger").await;
    let path = format!("/v1/runs/{run}/events?after=now");
    let mut response = request("GET", &path, &[], b"").await;
    assert_eq!(response.status, 200);
    let first = event_stream(&mut response).next().await.unwrap().unwrap();
    assert_eq!(first.retry.as_deref(), Some("1000"));
    let cancel = serde_json::json!({"runId": run});
    story::caller(client).call("CancelRun", cancel).await.unwrap();
}

async fn positions() {
    let (run, log) = story::finished(client().await, "worker_DAG").await;
    let path = format!("/v1/runs/{run}/events");
    let (first, second) = (story::cursor(&log[0]), story::cursor(&log[1]));
    let ids = |blocks: Vec<Block>| blocks.into_iter().filter_map(|it| it.id).collect::<Vec<_>>();
    let rest = |from: usize| log[from..].iter().map(|it| story::cursor(it).to_owned()).collect::<Vec<_>>();
    assert_eq!(ids(blocks(&path, &[]).await), rest(0));
    assert_eq!(ids(blocks(&format!("{path}?after={first}"), &[]).await), rest(1));
    assert_eq!(ids(blocks(&path, &[("last-event-id", second)]).await), rest(2));
    let both = blocks(&format!("{path}?after={first}"), &[("last-event-id", second)]).await;
    assert_eq!(ids(both), rest(2));
    let empty = blocks(&format!("{path}?after={first}"), &[("last-event-id", "")]).await;
    assert_eq!(ids(empty), rest(1));
}

async fn no_content() {
    let (run, log) = story::finished(client().await, "worker_DAG").await;
    let last = story::cursor(log.last().unwrap());
    let response = request("GET", &format!("/v1/runs/{run}/events"), &[("last-event-id", last)], b"").await;
    assert_eq!(response.status, 204);
    assert_eq!(response.whole().await.unwrap().body, "");
    let response = request("GET", &format!("/v1/runs/{run}/events?after={last}"), &[], b"").await;
    assert_eq!(response.status, 204);
}

async fn over_http2() {
    let (run, log) = story::finished(client().await, "worker_DAG").await;
    let path = format!("/v1/runs/{run}/events");
    let mut response = request_over(Version::Http2, "GET", &path, &[], b"").await;
    assert_eq!(
        (response.status, response.header("content-type")),
        (200.try_into().unwrap(), "text/event-stream")
    );
    let blocks: Vec<_> = event_stream(&mut response).map(Result::unwrap).collect().await;
    assert_eq!(blocks.len(), log.len() + 2);
}

/// To the letter, the fields that are always there included.
async fn same_json_on_connect() {
    let (run, log) = story::finished(client().await, "speak").await;
    let blocks = blocks(&format!("/v1/runs/{run}/events"), &[]).await;
    let events = blocks.into_iter().filter(|it| it.id.is_some());
    let data: Vec<_> = events.map(|it| it.data.unwrap()).collect();
    assert_eq!(data.len(), log.len());

    let message = serde_json::json!({"runId": run}).to_string();
    let body = [&[0], &(message.len() as u32).to_be_bytes()[..], message.as_bytes()].concat();
    let path = format!("/{SERVICE}/WatchRun");
    let headers = [("content-type", "application/connect+json"), ("connect-protocol-version", "1")];
    let mut rest = request("POST", &path, &headers, &body).await.whole().await.unwrap().body;
    let mut messages = Vec::new();
    while rest.first() == Some(&0) {
        let head = rest.split_to(5);
        let length = u32::from_be_bytes(head[1..].try_into().unwrap()) as usize;
        messages.push(String::from_utf8(rest.split_to(length).to_vec()).unwrap());
    }
    assert_eq!(messages, data);
}

async fn errors() {
    let (run, _) = story::finished(client().await, "worker_DAG").await;
    let nobody = "/v1/runs/run_01890000-0000-7000-8000-000000000000/events";
    for (method, path, status, code, reason) in [
        ("GET", nobody, 404, "not_found", "RUN_NOT_FOUND"),
        ("GET", &format!("/v1/runs/{run}/events?after=garbage"), 400, "invalid_argument", "CURSOR_MALFORMED"),
        ("GET", &format!("/v1/runs/{run}/events?format=xml"), 400, "invalid_argument", "FIELD_MALFORMED"),
    ] {
        let response = request(method, path, &[], b"").await.whole().await.unwrap();
        assert_eq!(response.status, status, "{path}");
        assert_eq!(response.header("content-type"), "application/json");
        let body = response.json();
        assert_eq!((&body["code"], &body["reason"]), (&code.into(), &reason.into()), "{path}");
        assert!(!story::text(&body["message"]).is_empty() && body["metadata"].is_object(), "{body:#}");
    }
    for method in ["POST", "PUT", "DELETE"] {
        let response = request(method, &format!("/v1/runs/{run}/events"), &[], b"").await;
        assert_eq!(response.status, 405, "{method}");
        assert!(response.header("allow").contains("GET"), "{method}");
    }
}
