//! A bit of a stored event changes while nobody looks: its run is told up to there and then as damaged, on every protocol,
//! and all other runs are whole.

use std::{fs, path::Path};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::support::{
    client::{Client, Events, Failure, PROTOCOLS, Protocol},
    gateway::{End, Gateway, Setup},
    http::{Version, send},
    story, trial,
};

/// When the gateway comes upon the damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Met {
    /// When it opens the log.
    AtStart,
    /// When somebody reads the event.
    WhileReading,
}

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("damage::found_at_the_start_ends_a_watch_with_run_damaged", || damaged(Met::AtStart)),
        trial("damage::found_by_a_reader_ends_a_watch_with_run_damaged", || damaged(Met::WhileReading)),
    ]
}

async fn damaged(met: Met) {
    let data = tempfile::tempdir().unwrap();
    let gateway = Setup::default().data(data.path()).start().await;
    let client = Client::new(Protocol::Grpc, gateway.address());
    let session = story::session(client).await;
    let run = story::start(client, &session, "test_pipeline").await.unwrap();
    let log = story::log_of(client, &run).await;
    let (other, whole) = story::finished(client, "worker_DAG").await;
    End::Term.of(&gateway).await;
    let (gateway, before) = match met {
        Met::AtStart => {
            let before = damage(data.path(), &log);
            (Setup::default().data(data.path()).start().await, before)
        }
        Met::WhileReading => {
            let gateway = Setup::default().data(data.path()).start().await;
            (gateway, damage(data.path(), &log))
        }
    };
    assert!(before > 2 && before + 2 < log.len());
    for protocol in PROTOCOLS {
        let client = Client::new(protocol, gateway.address());
        assert_eq!(story::log_of(client, &other).await, whole, "{protocol:?}: another run is whole");
        told_up_to(client.watch(&run), &log[..before], protocol).await;
        let begun = &log[1..before];
        told_up_to(client.watch_after(&run, story::cursor(&log[0])), begun, protocol).await;
        // Who was told all that can be read hears at once that there is more, on SSE by a status that ends an EventSource.
        let mut known = vec![story::cursor(&log[before - 1])];
        if met == Met::AtStart {
            known.push(story::cursor(&log[before + 1]));
        }
        for after in known {
            is_damaged(&client.watch_after(&run, after).refused().await, &run);
        }
        let (_, failure) = client.watch_session(&session, "").until_failure().await;
        ends_damaged(failure, protocol, &run);
    }
    if met == Met::AtStart {
        no_document(&gateway, &run).await;
    }
}

/// Changes a bit of an event in the middle of a run; gives how many events come before it.
fn damage(data: &Path, log: &[Value]) -> usize {
    let mut logs = log.iter().enumerate().filter(|(_, it)| it["eventType"] == "EVENT_TYPE_LOG");
    let (before, event) = logs.nth(2).unwrap();
    let message = story::text(&event["message"]).as_bytes();
    for file in fs::read_dir(data.join("runs")).unwrap().map(|it| it.unwrap().path()) {
        let mut bytes = fs::read(&file).unwrap();
        if let Some(at) = bytes.windows(message.len()).position(|it| it == message) {
            bytes[at] ^= 1;
            fs::write(&file, bytes).unwrap();
            return before;
        }
    }
    panic!("{event} is in no file");
}

async fn told_up_to(events: Events, log: &[Value], protocol: Protocol) {
    let run = story::text(&log[0]["runId"]);
    let (told, failure) = events.until_failure().await;
    assert_eq!(told, log, "{protocol:?}");
    ends_damaged(failure, protocol, run);
}

/// An event stream of HTML has no words for an error: it is cut.
fn ends_damaged(failure: Option<Failure>, protocol: Protocol, run: &str) {
    let failure = failure.unwrap_or_else(|| panic!("{protocol:?}: the watch ended as if the run had"));
    match protocol {
        Protocol::Sse => assert_eq!(failure.code, "cut", "{failure:?}"),
        _ => is_damaged(&failure, run),
    }
}

fn is_damaged(failure: &Failure, run: &str) {
    assert_eq!((failure.code.as_str(), failure.reason.as_str()), ("internal", "RUN_DAMAGED"), "{failure:?}");
    assert_eq!(failure.metadata["run_id"], run);
}

/// Half a document is none.
async fn no_document(gateway: &Gateway, run: &str) {
    for method in ["GET", "HEAD"] {
        for format in ["json", "ndjson"] {
            let path = format!("/v1/runs/{run}/events?format={format}");
            let request = Request::builder().method(method).uri(path).body(Full::<Bytes>::default()).unwrap();
            let answer =
                send(gateway.address(), Version::Http1, request).await.unwrap().whole().await.unwrap();
            assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
            assert!(!answer.headers.contains_key("etag"), "{:?}", answer.headers);
            if method == "GET" {
                assert_eq!(answer.json()["reason"], json!("RUN_DAMAGED"));
            }
        }
    }
}
