//! A session with an active run: the next start waits, or interrupts. And a request that is sent twice.

use futures::future::join_all;
use serde_json::{Value, json};

use crate::support::{
    client::{Client, Failure},
    story,
};

/// Runs wait for the session in the order they were started, and each says how many are ahead of it.
pub(super) async fn enqueued_runs_take_turns(client: Client) {
    let session = story::session(client).await;
    let first = story::start(client, &session, "test_pipeline").await.unwrap();
    let second = start(client, &session, "IF_BUSY_ENQUEUE", "").await.unwrap();
    let third = start(client, &session, "IF_BUSY_ENQUEUE", "").await.unwrap();
    let logs = join_all([&first, &second, &third].map(|run| story::log_of(client, run))).await;
    let ended: Vec<_> = logs.iter().map(|log| story::text(&log.last().unwrap()["time"]).to_owned()).collect();
    assert!(ended.is_sorted(), "{ended:?}");
    let places = |log: &[Value]| -> Vec<Value> {
        log.iter().filter(|it| it["eventType"] == "EVENT_TYPE_QUEUED").map(|it| it["queue"].clone()).collect()
    };
    assert_eq!(places(&logs[1]), [json!({"position": 1, "reason": "session_busy"})]);
    let waited = [
        json!({"position": 2, "ahead": 1, "reason": "session_busy"}),
        json!({"position": 1, "reason": "session_busy"}),
    ];
    assert_eq!(places(&logs[2]), waited);
}

/// A start that interrupts ends the active run and takes its place.
pub(super) async fn an_interrupt_ends_the_active_run(client: Client) {
    let session = story::session(client).await;
    let first = story::start(client, &session, "test_pipeline").await.unwrap();
    let second = start(client, &session, "IF_BUSY_INTERRUPT", "").await.unwrap();
    let ended = story::log_of(client, &first).await;
    assert_eq!(ended.last().unwrap()["eventType"], "EVENT_TYPE_CANCELLED");
    let ended = story::log_of(client, &second).await;
    assert_eq!(ended.last().unwrap()["eventType"], "EVENT_TYPE_COMPLETE");
}

/// A run that is cancelled while it waits ends at once, and holds nobody up.
pub(super) async fn a_waiting_run_can_be_cancelled(client: Client) {
    let session = story::session(client).await;
    story::start(client, &session, "test_pipeline").await.unwrap();
    let second = start(client, &session, "IF_BUSY_ENQUEUE", "").await.unwrap();
    let third = start(client, &session, "IF_BUSY_ENQUEUE", "").await.unwrap();
    let state = client.call("CancelRun", json!({"runId": second})).await.unwrap();
    assert_eq!(state, json!({"state": "RUN_STATE_CANCELLED"}));
    let log = story::log_of(client, &third).await;
    assert_eq!(log.last().unwrap()["eventType"], "EVENT_TYPE_COMPLETE");
}

/// As many runs wait as may; one more is told to come back.
pub(super) async fn too_many_waiting_runs(client: Client) {
    let session = story::session(client).await;
    story::start(client, &session, "test_pipeline").await.unwrap();
    let starts = join_all((0..20).map(|_| start(client, &session, "IF_BUSY_ENQUEUE", ""))).await;
    let (waiting, refused): (Vec<_>, Vec<_>) = starts.into_iter().partition(Result::is_ok);
    assert_eq!(waiting.len(), 16);
    for failure in refused.into_iter().map(Result::unwrap_err) {
        assert_eq!(
            (failure.code.as_str(), failure.reason.as_str()),
            ("resource_exhausted", "SESSION_QUEUE_FULL")
        );
    }
    for run in waiting.into_iter().map(Result::unwrap) {
        client.call("CancelRun", json!({"runId": run})).await.unwrap();
    }
}

/// The same key with the same request is the same run, also simultaneously; with another request it is refused.
pub(super) async fn a_request_sent_twice_starts_one_run(client: Client) {
    let session = story::session(client).await;
    let same = join_all((0..32).map(|_| start(client, &session, "IF_BUSY_REJECT", "key"))).await;
    let run = same[0].as_ref().unwrap();
    assert!(same.iter().all(|it| it.as_ref().unwrap() == run), "{same:?}");
    let other = start(client, &session, "IF_BUSY_ENQUEUE", "key").await.unwrap_err();
    assert_eq!((other.code.as_str(), other.reason.as_str()), ("already_exists", "IDEMPOTENCY_KEY_REUSED"));
    assert_eq!(other.metadata["run_id"], *run);
}

async fn start(client: Client, session: &str, if_busy: &str, key: &str) -> Result<String, Failure> {
    let request = json!({
        "sessionId": session, "pipelineId": "test_pipeline", "ifBusy": if_busy, "idempotencyKey": key,
    });
    let started = client.call("StartRun", request).await?;
    Ok(story::text(&started["runId"]).to_owned())
}
