//! What is wrong is told with the same code and the same reason everywhere.

use std::time::Duration;

use rungate::model::{Cursor, RunId};
use serde_json::json;

use crate::support::{
    client::{Client, Failure},
    story,
};

const NOBODY: &str = "run_01890000-0000-7000-8000-000000000000";

fn is(failure: &Failure, code: &str, reason: &str) {
    assert_eq!((failure.code.as_str(), failure.reason.as_str()), (code, reason), "{failure:?}");
}

/// A run that does not exist, whether its id could be one or not.
pub(super) async fn unknown_run(client: Client) {
    for run in [NOBODY, "nonsense"] {
        let failure = client.watch(run).refused().await;
        is(&failure, "not_found", "RUN_NOT_FOUND");
        assert_eq!(failure.metadata["run_id"], run);
        if client.protocol.calls() {
            for method in ["GetRun", "CancelRun"] {
                is(
                    &client.call(method, json!({"runId": run})).await.unwrap_err(),
                    "not_found",
                    "RUN_NOT_FOUND",
                );
            }
        }
    }
}

/// A text that is no cursor.
pub(super) async fn bad_cursor(client: Client) {
    let (run, _) = story::finished(client, "worker_DAG").await;
    for cursor in ["garbage", "0", "AAAA", "Now"] {
        let failure = client.watch_after(&run, cursor).refused().await;
        is(&failure, "invalid_argument", "CURSOR_MALFORMED");
    }
}

/// A cursor of another run.
pub(super) async fn foreign_cursor(client: Client) {
    let (run, _) = story::finished(client, "worker_DAG").await;
    let (_, other) = story::finished(client, "worker_DAG").await;
    let failure = client.watch_after(&run, story::cursor(&other[0])).refused().await;
    is(&failure, "invalid_argument", "CURSOR_FOREIGN");
}

/// A cursor that the run's log has not reached, whether the run has ended or not.
pub(super) async fn cursor_past_the_end(client: Client) {
    let (ended, log) = story::finished(client, "worker_DAG").await;
    let live = story::run(client, "test_pipeline").await;
    for (run, sequence) in [(&ended, log.len() as u64 + 1), (&ended, u64::MAX), (&live, 1000)] {
        let cursor = Cursor { run_id: RunId::parse(run).unwrap(), sequence }.to_string();
        let failure = client.watch_after(run, &cursor).refused().await;
        is(&failure, "out_of_range", "CURSOR_OUT_OF_RANGE");
    }
}

/// Methods that need a run say so.
pub(super) async fn missing_run_id(client: Client) {
    is(&client.watch("").refused().await, "invalid_argument", "FIELD_MISSING");
    for method in ["GetRun", "CancelRun"] {
        let failure = client.call(method, json!({})).await.unwrap_err();
        is(&failure, "invalid_argument", "FIELD_MISSING");
        assert_eq!(failure.metadata["field"], "run_id");
    }
}

/// A session has one active run.
pub(super) async fn busy_session(client: Client) {
    let session = story::session(client).await;
    let run = story::start(client, &session, "test_pipeline").await.unwrap();
    let failure = story::start(client, &session, "test_pipeline").await.unwrap_err();
    is(&failure, "failed_precondition", "SESSION_BUSY");
    assert_eq!(failure.metadata["active_run_id"], run);
    let busy = client.call("GetSession", json!({"sessionId": session})).await.unwrap();
    assert_eq!(
        (&busy["session"]["running"], &busy["session"]["activeRunId"]),
        (&true.into(), &run.clone().into())
    );
    client.call("CancelRun", json!({"runId": run})).await.unwrap();
    story::log_of(client, &run).await;
    // Who has seen the end finds the session free.
    let next = story::start(client, &session, "worker_DAG").await.unwrap();
    story::log_of(client, &next).await;
}

/// A key that no worker has.
pub(super) async fn unknown_worker(client: Client) {
    let session = story::session(client).await;
    let failure = story::start(client, &session, "no_such_worker").await.unwrap_err();
    is(&failure, "invalid_argument", "WORKER_UNKNOWN");
    assert_eq!(failure.metadata["worker_key"], "no_such_worker");
    let free = client.call("GetSession", json!({"sessionId": session})).await.unwrap();
    assert_eq!(free["session"].get("running"), None);
}

/// A session that does not exist.
pub(super) async fn unknown_session(client: Client) {
    let requests = [
        ("StartRun", json!({"sessionId": "nobody", "pipelineId": "test_pipeline"})),
        ("SubmitRunInput", json!({"sessionId": "nobody", "input": "hello"})),
        ("GetSession", json!({"sessionId": "nobody"})),
        ("ListRuns", json!({"sessionId": "../../etc/passwd"})),
    ];
    for (method, request) in requests {
        let failure = client.call(method, request.clone()).await.unwrap_err();
        is(&failure, "not_found", "SESSION_NOT_FOUND");
        assert_eq!(failure.metadata["session_id"], request["sessionId"]);
    }
}

/// No session at all: neither field nor cookie.
pub(super) async fn missing_session(client: Client) {
    let requests =
        [("StartRun", json!({})), ("SubmitRunInput", json!({"input": "hello"})), ("GetSession", json!({}))];
    for (method, request) in requests {
        let failure = client.call(method, request).await.unwrap_err();
        is(&failure, "invalid_argument", "FIELD_MISSING");
        assert_eq!(failure.metadata["field"], "session_id");
    }
}

/// An input without words.
pub(super) async fn missing_input(client: Client) {
    let session = story::session(client).await;
    for input in ["", " \n"] {
        let request = json!({"sessionId": session, "input": input});
        let failure = client.call("SubmitRunInput", request).await.unwrap_err();
        is(&failure, "invalid_argument", "FIELD_MISSING");
        assert_eq!(failure.metadata["field"], "input");
    }
}

/// An input for a run that the session is not at.
pub(super) async fn input_for_another_run(client: Client) {
    let session = story::session(client).await;
    let (other, _) = story::finished(client, "worker_DAG").await;
    let request = json!({"sessionId": session, "runId": other, "input": "hello"});
    let failure = client.call("SubmitRunInput", request).await.unwrap_err();
    is(&failure, "failed_precondition", "RUN_NOT_ACTIVE");
}

/// An answer that no run has asked for.
pub(super) async fn answer_to_nothing(client: Client) {
    let (run, _) = story::finished(client, "worker_DAG").await;
    let result = json!({"runId": run, "toolCallId": "call", "ok": true, "result": {"n": 1}});
    is(&client.call("SubmitToolResult", result).await.unwrap_err(), "failed_precondition", "NOT_PENDING");
    let decision = json!({"runId": run, "approvalId": "approval", "decision": "DECISION_APPROVE"});
    is(&client.call("SubmitApproval", decision).await.unwrap_err(), "failed_precondition", "NOT_PENDING");
}

/// More than four mebibytes are too many.
pub(super) async fn message_of_five_mebibytes(client: Client) {
    let session = story::session(client).await;
    let request = json!({"sessionId": session, "params": {"text": "x".repeat(5 << 20)}});
    let failure = client.call("StartRun", request).await.unwrap_err();
    assert_eq!(failure.code, "resource_exhausted", "{failure:?}");
    let run = story::start(client, &session, "worker_DAG").await.unwrap();
    story::log_of(client, &run).await;
}

/// Errors that come from below the operations say their reason too.
pub(super) async fn every_error_says_its_reason(client: Client) {
    let session = story::session(client).await;
    let large = json!({"sessionId": session, "params": {"text": "x".repeat(5 << 20)}});
    let large = client.call("StartRun", large).await.unwrap_err();
    let run = story::start(client, &session, "linger").await.unwrap();
    // Long enough for the stream to begin on any machine: before that tonic's client gives up by itself.
    let (_, late) = client.watch_within(&run, Duration::from_secs(2)).until_failure().await;
    client.call("CancelRun", json!({"runId": run})).await.unwrap();
    for failure in [large, late.unwrap()] {
        assert!(!failure.reason.is_empty(), "{failure:?}");
    }
}
