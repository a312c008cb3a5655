//! A run that waits is cancelled: at once, whatever its program thinks of that.

use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use serde_json::{Value, json};

use super::{closings, door::Door, is_not_pending, output, start, start_with, states, until, until_state};
use crate::support::{
    client::{Client, PROTOCOLS, Protocol},
    story, trial,
};

/// Longer than any test.
const LONG_GRACE: &str = "[runner]\ncancel_grace = \"10m\"\n";

pub(super) fn trials() -> Vec<Trial> {
    vec![
        trial("answers::a_run_that_waits_is_cancelled_at_once", at_once),
        trial("answers::a_run_that_works_has_its_grace_time", grace_time),
        trial("answers::a_cancel_again_gives_the_state", again),
        trial("answers::a_run_can_be_cancelled_from_its_first_event_on", first_event),
        trial("answers::an_interrupt_ends_a_run_that_waits_for_approval", interrupt),
    ]
}

async fn cancel(client: Client, run: &str) -> Value {
    client.call("CancelRun", json!({"runId": run, "reason": "enough"})).await.unwrap()["state"].clone()
}

async fn at_once() {
    let (_gateway, client) = start_with(LONG_GRACE).await;
    for (worker, state, kind, id) in [
        ("deaf_tool", "TOOL", "TOOL", "t"),
        ("deaf_approval", "APPROVAL", "APPROVAL", "a"),
        ("deaf_input", "INPUT", "INPUT", "i"),
    ] {
        for protocol in PROTOCOLS.into_iter().filter(|it| it.calls()) {
            let run = story::run(client, worker).await;
            until_state(client, &run, &format!("RUN_STATE_WAITING_{state}")).await;
            let begun = Instant::now();
            assert_eq!(cancel(client.over(protocol), &run).await, "RUN_STATE_CANCELLING");
            let log = story::log_of(client, &run).await;
            assert!(begun.elapsed() < Duration::from_secs(10), "{worker}: {:?}", begun.elapsed());
            let end = log.last().unwrap();
            assert_eq!(
                (&end["eventType"], &end["message"]),
                (&json!("EVENT_TYPE_CANCELLED"), &json!("enough"))
            );
            assert_eq!(states(&log).last(), Some(&"CANCELLING"));
            assert_eq!(closings(&log), [(kind, id, "WITHDRAWN")]);
        }
    }
}

/// Acknowledged at once, told to end, and stopped by force only then.
async fn grace_time() {
    let (_gateway, client) = start_with("[runner]\ncancel_grace = \"1s\"\n").await;
    let session = story::session(client).await;
    let deaf = "deaf_tool";
    let run = story::start(client, &session, deaf).await.unwrap();
    until_state(client, &run, "RUN_STATE_WAITING_TOOL").await;
    // It has its answer and is at work.
    Door::Client(Protocol::Grpc).tool_result(client, &run, "t", json!(1)).await.unwrap();
    until_state(client, &run, "RUN_STATE_RUNNING").await;
    let begun = Instant::now();
    assert_eq!(cancel(client, &run).await, "RUN_STATE_CANCELLING");
    let log = story::log_of(client, &run).await;
    assert!(begun.elapsed() >= Duration::from_millis(900), "{:?}", begun.elapsed());
    assert_eq!(log.last().unwrap()["eventType"], "EVENT_TYPE_CANCELLED");
    assert_eq!(closings(&log), [("TOOL", "t", "ANSWERED")]);
}

async fn again() {
    let (_gateway, client) = start().await;
    let session = story::session(client).await;
    let run = story::start(client, &session, "deaf_tool").await.unwrap();
    until_state(client, &run, "RUN_STATE_WAITING_TOOL").await;
    cancel(client, &run).await;
    let late = Door::Client(Protocol::Grpc).tool_result(client, &run, "t", json!(1)).await.unwrap_err();
    is_not_pending(&late);
    let log = story::log_of(client, &run).await;
    for protocol in PROTOCOLS.into_iter().filter(|it| it.calls()) {
        assert_eq!(cancel(client.over(protocol), &run).await, "RUN_STATE_CANCELLED");
    }
    assert_eq!(story::log_of(client, &run).await, log);
    let free = story::start(client, &session, "worker_DAG").await.unwrap();
    output(&story::log_of(client, &free).await);
}

/// Who watches the session may hear of a run before who has started it.
async fn first_event() {
    let (_gateway, client) = start().await;
    let session = story::session(client).await;
    let mut watch = client.watch_session(&session, "");
    until(&mut watch, story::is_terminal).await;
    for round in 0..40 {
        let started = story::start(client, &session, "works");
        let cancelled = async {
            let run = story::text(&watch.expect().await["runId"]).to_owned();
            (cancel(client.over(Protocol::Connect), &run).await, run)
        };
        let (started, (state, run)) = tokio::join!(started, cancelled);
        assert_eq!(started.unwrap(), run, "{round}");
        assert!(["RUN_STATE_CANCELLING", "RUN_STATE_CANCELLED"].contains(&story::text(&state)), "{state}");
        until(&mut watch, |it| it["eventType"] == "EVENT_TYPE_CANCELLED").await;
    }
}

/// What comes next need not wait until its program, which does not care, is stopped.
async fn interrupt() {
    let (_gateway, client) = start_with(LONG_GRACE).await;
    let session = story::session(client).await;
    let first = story::start(client, &session, "deaf_approval").await.unwrap();
    until_state(client, &first, "RUN_STATE_WAITING_APPROVAL").await;
    let next = |if_busy: &str| {
        let request = json!({"sessionId": session, "pipelineId": "worker_DAG", "ifBusy": if_busy});
        async move { client.call("StartRun", request).await }
    };
    assert_eq!(next("IF_BUSY_REJECT").await.unwrap_err().reason, "SESSION_BUSY");
    let waiting = next("IF_BUSY_ENQUEUE").await.unwrap();
    let interrupting = next("IF_BUSY_INTERRUPT").await.unwrap();
    let log = story::log_of(client, &first).await;
    assert_eq!(log.last().unwrap()["eventType"], "EVENT_TYPE_CANCELLED", "{log:#?}");
    assert_eq!(log.last().unwrap()["message"], "interrupted by a new run");
    assert_eq!(closings(&log), [("APPROVAL", "a", "WITHDRAWN")]);
    let mut begun = Vec::new();
    for run in [&interrupting, &waiting] {
        let log = story::log_of(client, story::text(&run["runId"])).await;
        output(&log);
        let running = log.iter().find(|it| it["state"]["state"] == "RUN_STATE_RUNNING").unwrap();
        begun.push(story::time(&running["time"]));
    }
    assert!(begun.is_sorted(), "who interrupts comes before who waits: {begun:?}");
    let late = Door::Client(Protocol::Grpc).decide(client, &first, "a", "DECISION_APPROVE", "").await;
    is_not_pending(&late.unwrap_err());
}
