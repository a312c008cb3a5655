//! Requests by hand: what a client without a library sends, and what it reads.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use libtest_mimic::Trial;
use prost::Message as _;
use rungate::wire::v1;
use serde_json::json;

use super::{request, request_over};
use crate::support::{
    client::{Client, Failure, Protocol, SERVICE},
    gateway::shared,
    http::Version,
    story, trial,
};

/// All tests of this module.
pub(super) fn trials() -> Vec<Trial> {
    vec![
        trial("http::connect_get_takes_binary_and_json", connect_get),
        trial("http::connect_get_is_only_for_what_has_no_side_effect", connect_get_of_side_effects),
        trial("http::connect_errors_have_the_statuses_of_the_table", connect_statuses),
        trial("http::grpc_json_is_grpc_too", grpc_json),
        trial("http::both_versions_on_one_port", both_versions),
        trial("http::an_unknown_path_is_404", unknown_path),
        trial("http::who_is_refused_is_told_why_in_json", refusals),
        trial("http::the_console_is_a_page", console),
    ]
}

async fn grpc() -> Client {
    Client::new(Protocol::Grpc, shared().await.address())
}

async fn connect_get() {
    let (run, _) = story::finished(grpc().await, "worker_DAG").await;
    let binary = URL_SAFE_NO_PAD.encode(v1::GetRunRequest { run_id: run.clone() }.encode_to_vec());
    let json = URL_SAFE_NO_PAD.encode(json!({"runId": run}).to_string());
    let path = |encoding: &str, message: &str| {
        format!("/{SERVICE}/GetRun?connect=v1&encoding={encoding}&base64=1&message={message}")
    };
    for version in [Version::Http1, Version::Http2] {
        let response = request_over(version, "GET", &path("proto", &binary), &[], b"").await;
        assert_eq!((response.status.as_u16(), response.header("content-type")), (200, "application/proto"));
        let body = response.whole().await.unwrap().body;
        let read = v1::GetRunResponse::decode(body).unwrap().run.unwrap();
        assert_eq!((read.run_id.as_str(), read.state()), (run.as_str(), v1::RunState::Succeeded));
        let response = request_over(version, "GET", &path("json", &json), &[], b"").await;
        assert_eq!((response.status.as_u16(), response.header("content-type")), (200, "application/json"));
        assert_eq!(response.whole().await.unwrap().json()["run"]["runId"], run);
    }
}

async fn connect_get_of_side_effects() {
    for method in ["InitRun", "StartRun", "CancelRun", "SubmitRunInput"] {
        let path = format!("/{SERVICE}/{method}?connect=v1&encoding=json&message=%7B%7D");
        assert_eq!(request("GET", &path, &[], b"").await.status, 405, "{method}");
    }
}

async fn connect_statuses() {
    let session = story::session(grpc().await).await;
    let run = story::start(grpc().await, &session, "linger").await.unwrap();
    for (method, body, status, code) in [
        ("GetRun", json!({}), 400, "invalid_argument"),
        ("GetRun", json!({"runId": "nobody"}), 404, "not_found"),
        ("StartRun", json!({"sessionId": session}), 400, "failed_precondition"),
        ("WatchNothing", json!({}), 404, "unimplemented"),
    ] {
        let headers = [("content-type", "application/json"), ("connect-protocol-version", "1")];
        let path = format!("/{SERVICE}/{method}");
        let response = request("POST", &path, &headers, body.to_string().as_bytes()).await;
        let response = response.whole().await.unwrap();
        assert!([status, 501].contains(&response.status.as_u16()), "{method} {}", response.status);
        if method != "WatchNothing" {
            assert_eq!(response.json()["code"], code);
        }
    }
    grpc().await.call("CancelRun", json!({"runId": run})).await.unwrap();
}

async fn grpc_json() {
    let body = json!({"runId": "nobody"}).to_string();
    let mut framed = vec![0];
    framed.extend((body.len() as u32).to_be_bytes());
    framed.extend(body.as_bytes());
    let headers = [("content-type", "application/grpc+json"), ("te", "trailers")];
    let path = format!("/{SERVICE}/GetRun");
    let response = request_over(Version::Http2, "POST", &path, &headers, &framed).await;
    assert_eq!(response.status, 200);
    let response = response.whole().await.unwrap();
    let status = response.trailers.get("grpc-status").or_else(|| response.headers.get("grpc-status"));
    assert_eq!(status.unwrap(), "5");
}

async fn both_versions() {
    for version in [Version::Http1, Version::Http2] {
        for (path, status) in [("/healthz", "ok"), ("/readyz", "ready")] {
            let response = request_over(version, "GET", path, &[], b"").await;
            assert_eq!(response.status, 200);
            assert_eq!(response.header("content-type"), "application/json");
            assert_eq!(response.whole().await.unwrap().json()["status"], status);
        }
    }
}

async fn unknown_path() {
    for path in ["/nothing", "/v1/runs", "/rungate.v1.PipelineService", "/internal/", "/v1/runs/a/b/c"] {
        let status = request("GET", path, &[], b"").await.status;
        assert_eq!(status, 404, "{path}");
    }
    let deep =
        request("POST", "/no.such.Service/Method", &[("content-type", "application/json")], b"{}").await;
    assert_eq!(deep.status, 404);
}

async fn refusals() {
    let (run, _) = story::finished(grpc().await, "worker_DAG").await;
    let events = |rest: &str| format!("/v1/runs/{run}/events{rest}");
    for (method, path, status, reason) in [
        ("GET", "/nothing".to_owned(), 404, "PATH_NOT_FOUND"),
        ("POST", events(""), 405, "METHOD_NOT_ALLOWED"),
        ("DELETE", "/v1/sessions/x/events".to_owned(), 405, "METHOD_NOT_ALLOWED"),
        ("GET", events("?after=now&after=now"), 400, "FIELD_MALFORMED"),
        ("GET", "/v1/runs/%ff/events".to_owned(), 400, "FIELD_MALFORMED"),
        ("GET", "/v1/sessions/%ff/events".to_owned(), 400, "FIELD_MALFORMED"),
    ] {
        let told = request(method, &path, &[], b"").await.whole().await.unwrap();
        assert_eq!(
            (told.status.as_u16(), &told.json()["reason"]),
            (status, &json!(reason)),
            "{method} {path}"
        );
        assert!(!story::text(&told.json()["message"]).is_empty());
        if status == 405 {
            assert!(told.header("allow").contains("GET"));
        }
    }
    let document = events("?format=json");
    let told = request("GET", &document, &[("accept-encoding", "identity;q=0")], b"").await;
    let told = told.whole().await.unwrap();
    assert_eq!((told.status.as_u16(), told.json()["code"].clone()), (406, json!("invalid_argument")));
    assert!(!told.headers.contains_key("etag"), "half an answer is kept by nobody");
    let headers = [("content-type", "application/json"), ("connect-protocol-version", "1")];
    let told = request("POST", &format!("/{SERVICE}/GetRun"), &headers, b"{").await.whole().await.unwrap();
    let failure = Failure::of_connect(&told.json());
    assert_eq!((failure.code.as_str(), failure.reason.as_str()), ("invalid_argument", "MESSAGE_MALFORMED"));
}

async fn console() {
    let page = request("GET", "/", &[("accept", "text/html")], b"").await.whole().await.unwrap();
    assert_eq!((page.status.as_u16(), page.header("content-type")), (200, "text/html; charset=utf-8"));
    assert!(page.text().contains("rungate"));
    assert_eq!(request("POST", "/", &[], b"").await.status, 405);
}
