//! Runs that are cancelled, and orchestrators that fail.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{
    Reference, Scene,
    asks::{answer_tool, tool},
    error, gateway, last,
};
use crate::support::{
    client::{Client, Protocol},
    ports::quiet_address,
    story,
};

const GRACE: &str = "[runner]\ncancel_grace = \"2s\"\n";

async fn cancel(scene: &Scene, run: &str) {
    let cancelled =
        scene.client().call("CancelRun", json!({"runId": run, "reason": "enough"})).await.unwrap();
    assert_eq!(cancelled["state"], "RUN_STATE_CANCELLING");
}

pub(super) async fn cancelled() {
    let scene = Scene::with("", "[runner]\ncancel_grace = \"30s\"\n", None).await;
    for end in [
        json!({"type": "cancelled"}),
        json!({"type": "done", "output": 1}),
        json!({"type": "error", "message": "cut short"}),
    ] {
        let (run, pusher) = scene.run().await;
        cancel(&scene, &run).await;
        scene.orchestrator.called(&format!("/internal/runs/{}/cancel", pusher.run), 1).await;
        pusher.push(json!({"type": "log", "message": "last words"})).await;
        let (reason, _) = pusher.refused(tool("tc_1", "look"), 409).await;
        assert_eq!(reason, "RUN_ENDING", "nothing more is asked");
        pusher.push(end).await;
        let log = story::log_of(scene.client(), &run).await;
        assert_eq!(last(&log)["eventType"], "EVENT_TYPE_CANCELLED");
        assert_eq!(last(&log)["message"], "enough");
        assert!(log.iter().any(|it| it["message"] == "last words"), "{log:#?}");
    }
}

/// Orchestrators need not say that they have stopped.
pub(super) async fn cancelled_silently() {
    let scene = Scene::with("", GRACE, None).await;
    let (run, pusher) = scene.run().await;
    cancel(&scene, &run).await;
    let log = story::log_of(scene.client(), &run).await;
    assert_eq!(last(&log)["eventType"], "EVENT_TYPE_CANCELLED");
    let path = format!("/internal/runs/{}/cancel", pusher.run);
    assert_eq!(scene.orchestrator.called(&path, 1).await.len(), 1);
    assert_eq!(pusher.refused(json!({"type": "cancelled"}), 409).await.0, "RUN_ENDED");
}

/// A run that waits for an answer ends at once; the orchestrator is told all the same, also when it is slow to listen.
pub(super) async fn cancelled_while_waiting() {
    let scene = Scene::with("", "[runner]\ncancel_grace = \"30s\"\n", None).await;
    let (run, pusher) = scene.run().await;
    pusher.push(tool("tc_1", "look")).await;
    scene.orchestrator.fail(&[503]);
    let asked = Instant::now();
    cancel(&scene, &run).await;
    let log = story::log_of(scene.client(), &run).await;
    assert_eq!(last(&log)["eventType"], "EVENT_TYPE_CANCELLED");
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
    let path = format!("/internal/runs/{}/cancel", pusher.run);
    assert_eq!(scene.orchestrator.called(&path, 2).await.len(), 2, "it is told until it has heard");
}

pub(super) async fn silent() {
    let scene = Scene::new("idle_timeout = \"1s\"").await;
    let (run, pusher) = scene.run().await;
    pusher.push(tool("tc_1", "look")).await;
    // Waiting for the client is no silence.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    answer_tool(scene.client(), &run, "tc_1").await;
    let log = story::log_of(scene.client(), &run).await;
    assert_eq!(error(&log), ("orchestrator_failed", "the orchestrator has said nothing for 1 s"));
    assert_eq!(last(&log)["error"]["retryable"], true);
    scene.orchestrator.called(&format!("/internal/runs/{}/cancel", pusher.run), 1).await;
}

pub(super) async fn out_of_time() {
    let scene = Scene::with("timeout = \"1s\"", GRACE, None).await;
    let (run, pusher) = scene.run().await;
    pusher.push(json!({"type": "log", "message": "at work"})).await;
    let log = story::log_of(scene.client(), &run).await;
    assert_eq!(error(&log), ("worker_timeout", "the worker took longer than 1 s"));
    scene.orchestrator.called(&format!("/internal/runs/{}/cancel", pusher.run), 1).await;
}

/// An orchestrator that dies is noticed when it is to be told something, else by its silence.
pub(super) async fn crashed() {
    let mut scene = Scene::new("idle_timeout = \"1s\"").await;
    let (silent, pusher) = scene.run().await;
    pusher.push(json!({"type": "delta", "text": "half a"})).await;
    let (asked, pusher) = scene.run().await;
    pusher.push(tool("tc_1", "look")).await;
    scene.orchestrator.crash().await;
    answer_tool(scene.client(), &asked, "tc_1").await;
    let log = story::log_of(scene.client(), &silent).await;
    assert_eq!(error(&log), ("orchestrator_failed", "the orchestrator has said nothing for 1 s"));
    let log = story::log_of(scene.client(), &asked).await;
    let message = "the orchestrator did not take an answer: it cannot be reached";
    assert_eq!(error(&log), ("orchestrator_failed", message));
}

pub(super) async fn refuses_to_start() {
    let scene = Scene::new("").await;
    scene.orchestrator.fail(&[500]);
    let session = story::session(scene.client()).await;
    let run = story::start(scene.client(), &session, "agent").await.unwrap();
    let log = story::log_of(scene.client(), &run).await;
    let message = "the orchestrator did not take up the run: it answered with status 500";
    assert_eq!(error(&log), ("orchestrator_failed", message), "what it said itself is not shown");
    assert_eq!(scene.orchestrator.calls().len(), 1, "a start that may have arrived is not repeated");
}

/// A start that has not arrived is repeated: here until the orchestrator is up.
pub(super) async fn starts_late() {
    let address = quiet_address();
    let worker = format!("[workers.agent]\norchestrator = \"http://{address}\"\n");
    let (gateway, _) = gateway(&worker, "", None).await;
    let client = Client::new(Protocol::Grpc, gateway.address());
    let session = story::session(client).await;
    let run = story::start(client, &session, "agent").await.unwrap();
    let log = story::log_of(client, &run).await;
    let message = "the orchestrator did not take up the run: it cannot be reached";
    assert_eq!(error(&log), ("orchestrator_failed", message));
    let run = story::start(client, &session, "agent").await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let orchestrator = Reference::listen(address).await;
    orchestrator.started(&run).await;
    assert_eq!(orchestrator.calls().len(), 1);
}
