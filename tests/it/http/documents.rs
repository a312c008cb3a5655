//! The log of a run that has ended, as one document that may be kept.

use std::io::Read as _;

use libtest_mimic::Trial;
use serde_json::{Value, json};

use super::request;
use crate::support::{
    client::{Client, Protocol},
    gateway::shared,
    http::Whole,
    story, trial,
};

/// All tests of this module.
pub(super) fn trials() -> Vec<Trial> {
    vec![
        trial("http::an_ended_run_as_one_document", documents),
        trial("http::a_document_that_is_known_is_not_sent_again", not_modified),
        trial("http::each_form_of_a_document_has_its_tag", tags),
        trial("http::a_document_is_compressed_and_an_event_stream_never", compressed),
        trial("http::the_head_of_a_document", head),
        trial("http::a_live_run_is_no_document", of_a_live_run),
    ]
}

async fn client() -> Client {
    Client::new(Protocol::Sse, shared().await.address())
}

async fn whole(method: &str, path: &str, headers: &[(&str, &str)]) -> Whole {
    request(method, path, headers, b"").await.whole().await.unwrap()
}

/// The path of the events of a run that has ended, and its log.
async fn ended(pipeline: &str) -> (String, Vec<Value>) {
    let (run, log) = story::finished(client().await, pipeline).await;
    (format!("/v1/runs/{run}/events"), log)
}

async fn documents() {
    let (path, log) = ended("worker_DAG").await;
    let json = whole("GET", &format!("{path}?format=json"), &[]).await;
    assert_eq!(json.header("content-type"), "application/json");
    assert_eq!(json.json().as_array().unwrap().len(), log.len());
    let lines = whole("GET", &format!("{path}?format=ndjson"), &[]).await;
    assert_eq!(lines.header("content-type"), "application/x-ndjson");
    let lines: Vec<Value> = lines.text().lines().map(|it| serde_json::from_str(it).unwrap()).collect();
    assert_eq!(Value::from(lines), json.json());
    for (told, event) in json.json().as_array().unwrap().iter().zip(&log) {
        assert_eq!(told["cursor"], event["cursor"]);
    }
    let rest =
        whole("GET", &format!("{path}?format=json&after={}", story::cursor(&log[0])), &[]).await.json();
    assert_eq!(rest.as_array().unwrap().len(), log.len() - 1);
    let nothing = |format| format!("{path}?format={format}&after=now");
    assert_eq!(whole("GET", &nothing("json"), &[]).await.text(), "[]\n");
    assert_eq!(whole("GET", &nothing("ndjson"), &[]).await.text(), "");
}

async fn not_modified() {
    let (path, _) = ended("worker_DAG").await;
    let path = format!("{path}?format=json");
    let first = whole("GET", &path, &[]).await;
    let etag = first.header("etag").to_owned();
    assert!(etag.starts_with("W/\"") && etag.ends_with('"'), "{etag}");
    let strong = etag.trim_start_matches("W/");
    let list = format!("\"other\", {etag}");
    for known in [&etag, strong, "*", &list] {
        for method in ["GET", "HEAD"] {
            let again = whole(method, &path, &[("if-none-match", known)]).await;
            assert_eq!((again.status.as_u16(), again.body.len()), (304, 0), "{known}");
            for header in ["etag", "cache-control", "vary"] {
                assert_eq!(again.header(header), first.header(header));
            }
        }
    }
    for unknown in ["\"other\"", "W/\"\"", "nonsense"] {
        let again = whole("GET", &path, &[("if-none-match", unknown)]).await;
        assert_eq!((again.status.as_u16(), &again.body), (200, &first.body), "{unknown}");
    }
    let bad = whole("GET", &format!("{path}&after=garbage"), &[("if-none-match", "*")]).await;
    assert_eq!((bad.status.as_u16(), &bad.json()["reason"]), (400, &"CURSOR_MALFORMED".into()));
}

async fn tags() {
    let (path, log) = ended("speak").await;
    let after = format!("&after={}", story::cursor(&log[0]));
    let mut tags = Vec::new();
    for query in ["format=json", "format=ndjson", "format=json&compact=true"] {
        for after in ["", &after] {
            let path = format!("{path}?{query}{after}");
            let document = whole("GET", &path, &[]).await;
            assert_eq!(document.header("etag"), whole("GET", &path, &[]).await.header("etag"));
            assert_eq!(document.header("cache-control"), "private, max-age=3600");
            tags.push(document.header("etag").to_owned());
        }
    }
    tags.push(
        whole("GET", &format!("{}?format=json", ended("speak").await.0), &[]).await.header("etag").to_owned(),
    );
    tags.sort_unstable();
    tags.dedup();
    assert_eq!(tags.len(), 7);
    let compact = whole("GET", &format!("{path}?format=json&compact=true"), &[]).await.json();
    assert_eq!(compact.as_array().unwrap().len(), log.len() - 1);
}

async fn compressed() {
    let (path, _) = ended("test_pipeline").await;
    let document = format!("{path}?format=json");
    let plain = whole("GET", &document, &[]).await;
    assert_eq!(plain.header("content-encoding"), "");
    assert!(plain.header("vary").contains("accept-encoding"));
    let gzip = whole("GET", &document, &[("accept-encoding", "br, gzip")]).await;
    assert_eq!(gzip.header("content-encoding"), "gzip");
    assert_eq!(gzip.header("etag"), plain.header("etag"));
    assert!(gzip.body.len() < plain.body.len() / 2);
    let mut unpacked = Vec::new();
    flate2::read::GzDecoder::new(&gzip.body[..]).read_to_end(&mut unpacked).unwrap();
    assert_eq!(unpacked, plain.body);
    let stream = whole("GET", &path, &[("accept-encoding", "gzip")]).await;
    assert_eq!(stream.header("content-encoding"), "");
    assert!(stream.text().starts_with("retry: 1000\n\n"));
}

async fn head() {
    let (path, _) = ended("worker_DAG").await;
    let path = format!("{path}?format=ndjson");
    let (got, head) = (whole("GET", &path, &[]).await, whole("HEAD", &path, &[]).await);
    assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
    for header in ["etag", "cache-control", "vary", "content-type"] {
        assert_eq!(head.header(header), got.header(header));
    }
}

async fn of_a_live_run() {
    let client = client().await;
    let run = story::run(client, "linger").await;
    let path = format!("/v1/runs/{run}/events?format=json");
    let refused = whole("GET", &path, &[("if-none-match", "*")]).await;
    assert_eq!((refused.status.as_u16(), &refused.json()["reason"]), (400, &"FIELD_MALFORMED".into()));
    assert_eq!(refused.header("etag"), "");
    story::caller(client).call("CancelRun", json!({"runId": run})).await.unwrap();
}
