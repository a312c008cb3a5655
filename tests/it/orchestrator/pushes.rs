//! What an orchestrator pushes, and what becomes of it.

use std::time::Duration;

use futures::future::join_all;
use serde_json::{Value, json};

use super::{Pusher, Scene, error, last, refusal, texts};
use crate::support::{gateway::Setup, http, ports::quiet_address, story};

fn delta(text: &str) -> Value {
    json!({"type": "delta", "text": text})
}

fn with_id(mut event: Value, event_id: &str) -> Value {
    event["event_id"] = json!(event_id);
    event
}

fn reason(refused: (String, String)) -> String {
    refused.0
}

pub(super) async fn deltas_and_done() {
    let scene = Scene::new("").await;
    let (run, pusher) = scene.run().await;
    pusher.push(json!({"type": "run_started", "agent_id": "agent"})).await;
    pusher.push(json!({"type": "log", "message": "thinking"})).await;
    pusher.push(json!({"type": "state", "state": "PLANNING", "detail": {"step": 1}})).await;
    pusher.push(json!({"type": "progress", "percent": 40, "message": "nearly"})).await;
    for text in ["Hel", "lo"] {
        pusher.push(delta(text)).await;
    }
    let usage = json!({"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10, "duration_ms": 5});
    pusher.push(json!({"type": "done", "output": {"answer": 42}, "usage": usage})).await;
    let log = story::log_of(scene.client(), &run).await;
    assert_eq!(texts(&log), "Hello");
    assert!(log.iter().any(|it| it["message"] == "PLANNING {\"step\":1}"), "{log:#?}");
    assert!(log.iter().any(|it| it["progressPercent"] == 40 && it["message"] == "nearly"), "{log:#?}");
    assert_eq!(last(&log)["result"]["output"], json!({"answer": 42.0}), "{log:#?}");
    assert_eq!(last(&log)["result"]["usage"]["inputTokens"], "7", "{log:#?}");
    let started = &scene.orchestrator.called("/internal/invoke", 1).await[0].body;
    assert_eq!(started["input_message"], json!({"role": "user", "content": "hello"}));
    assert_eq!((&started["agent_id"], &started["request_id"]), (&json!("agent"), &json!(run)));
    assert_eq!(started["context"], json!({"params": {"user_input": "hello"}, "inputs": {}}));
    let workers = scene.client().call("ListWorkers", json!({})).await.unwrap();
    let agent = workers["workers"].as_array().unwrap().iter().find(|it| it["key"] == "agent").unwrap();
    assert_eq!(agent["backend"], "orchestrator");
}

/// Both names of a run are good, also together.
pub(super) async fn either_name() {
    let scene = Scene::new("agent = \"writer\"").await;
    let (run, pusher) = scene.run().await;
    assert_eq!(scene.orchestrator.called("/internal/invoke", 1).await[0].body["agent_id"], "writer");
    let ours = Pusher { run: run.clone(), ..pusher.clone() };
    pusher.push(delta("a")).await;
    ours.push(delta("b")).await;
    pusher.push(json!({"type": "done"})).await;
    let log = story::log_of(scene.client(), &run).await;
    assert_eq!((texts(&log).as_str(), &last(&log)["eventType"]), ("ab", &json!("EVENT_TYPE_COMPLETE")));
    assert_eq!(reason(ours.refused(delta("c"), 409).await), "RUN_ENDED");
}

/// An orchestrator may push before it has answered the call that starts the run.
pub(super) async fn before_the_answer() {
    let scene = Scene::new("").await;
    scene.orchestrator.hold_starts(true);
    let (run, pusher) = scene.run().await;
    let (first, ()) = tokio::join!(pusher.push(delta("a")), async {
        // Nothing tells that the push has arrived and waits.
        tokio::time::sleep(Duration::from_millis(500)).await;
        scene.orchestrator.hold_starts(false);
    });
    assert!(!first, "nobody watches");
    pusher.push(json!({"type": "done"})).await;
    assert_eq!(texts(&story::log_of(scene.client(), &run).await), "a");
    // Who takes long is asked to come again.
    scene.orchestrator.hold_starts(true);
    let (run, pusher) = scene.run().await;
    assert_eq!(pusher.refused(delta("a"), 503).await.0, "RUN_NOT_KNOWN_YET");
    scene.orchestrator.hold_starts(false);
    pusher.push(json!({"type": "done"})).await;
    story::log_of(scene.client(), &run).await;
    // It may also say itself which run it means, and how it ended, before it answers at all.
    scene.orchestrator.hold_starts(true);
    let (run, pusher) = scene.run().await;
    pusher.push(json!({"type": "run_started", "request_id": run})).await;
    let renamed = json!({"type": "run_started", "request_id": run, "run_id": "run_other"});
    assert_eq!(pusher.refused(renamed, 400).await.1, "event gives the run another name than it has");
    pusher.push(delta("b")).await;
    pusher.push(json!({"type": "done"})).await;
    assert_eq!(texts(&story::log_of(scene.client(), &run).await), "b");
}

pub(super) async fn doubled() {
    let scene = Scene::new("").await;
    let (run, pusher) = scene.run().await;
    let event = with_id(delta("a"), "e1");
    join_all((0..20).map(|_| pusher.push(event.clone()))).await;
    for _ in 0..2 {
        pusher.push(delta("b")).await;
    }
    let tool = json!({"type": "tool_request", "tool_call_id": "tc_1", "tool_name": "t", "args": {}});
    for _ in 0..2 {
        pusher.push(tool.clone()).await;
        pusher.push(with_id(tool.clone(), "e2")).await;
    }
    let result = json!({"runId": run, "toolCallId": "tc_1", "ok": true, "result": 1});
    scene.client().call("SubmitToolResult", result).await.unwrap();
    scene.orchestrator.submitted("tool_calls", "tc_1").await;
    pusher.push(tool).await;
    let done = with_id(json!({"type": "done", "output": 1}), "e3");
    join_all((0..5).map(|_| pusher.push(done.clone()))).await;
    pusher.push(done).await;
    let log = story::log_of(scene.client(), &run).await;
    assert_eq!(texts(&log), "abb", "without an id each counts");
    assert_eq!(log.iter().filter(|it| it.get("toolRequest").is_some()).count(), 1);
    assert_eq!(scene.orchestrator.called("/internal/tool_calls/tc_1/submit", 1).await.len(), 1);
}

/// What comes is applied in the order in which it comes; the end is the end.
pub(super) async fn reordered() {
    let scene = Scene::new("").await;
    let (run, pusher) = scene.run().await;
    pusher.push(with_id(delta("b"), "2")).await;
    pusher.push(with_id(delta("a"), "1")).await;
    pusher.push(with_id(delta("b"), "2")).await;
    pusher.push(with_id(json!({"type": "done"}), "4")).await;
    let (reason, text) = pusher.refused(with_id(delta("c"), "3"), 409).await;
    assert_eq!((reason.as_str(), text), ("RUN_ENDED", format!("run {} has ended", pusher.run)));
    let error = json!({"type": "error", "message": "too late"});
    assert_eq!(pusher.refused(error, 409).await.0, "RUN_ENDED", "another end is no repetition");
    assert_eq!(texts(&story::log_of(scene.client(), &run).await), "ba");
}

pub(super) async fn nobodys() {
    let scene = Scene::new("").await;
    let (_, pusher) = scene.run().await;
    let unknown = Pusher { run: "run_ffffffff".to_owned(), ..pusher.clone() };
    let refused = unknown.refused(delta("a"), 404).await;
    assert_eq!(refused, ("RUN_NOT_FOUND".to_owned(), "run run_ffffffff not found".to_owned()));
    let session = story::session(scene.client()).await;
    let elsewhere = Pusher { session, ..pusher.clone() };
    assert_eq!(elsewhere.refused(delta("a"), 404).await.0, "RUN_NOT_FOUND", "the run of another session");
    let nowhere = Pusher { session: "session_unknown".to_owned(), ..pusher.clone() };
    assert_eq!(nowhere.refused(delta("a"), 404).await.0, "SESSION_NOT_FOUND");
    // A run of a worker that is no orchestrator takes no pushes.
    let run = story::start(scene.client(), &elsewhere.session, "test_pipeline").await.unwrap();
    let other = Pusher { run, ..elsewhere };
    assert_eq!(other.refused(delta("a"), 404).await.0, "RUN_NOT_FOUND");
    assert!(!pusher.push(delta("a")).await, "the run goes on");
}

pub(super) async fn malformed() {
    let scene = Scene::new("").await;
    let (_, pusher) = scene.run().await;
    for (body, named) in [
        (json!([1]), "body"),
        (json!({"event": delta("a")}), "session_id is required"),
        (json!({"session_id": pusher.session}), "event is no object"),
        (json!({"session_id": pusher.session, "event": {"type": "delta", "text": "a"}}), "`run_id`"),
        (json!({"session_id": pusher.session, "event": {"type": "delta", "run_id": "r"}}), "`text`"),
        (json!({"session_id": pusher.session, "event": {"type": "unheard", "run_id": "r"}}), "`unheard`"),
    ] {
        let (_, text) = refusal(&pusher.post(&body).await, 400);
        assert!(text.contains(named), "{body}: {text}");
    }
    let large = delta(&"x".repeat(4 << 20));
    let (_, text) = pusher.refused(large, 400).await;
    assert!(text.contains("is longer than 4194304 bytes"), "{text}");
    let large =
        json!({"type": "tool_request", "tool_call_id": "1", "tool_name": "t", "args": "x".repeat(2 << 20)});
    let (_, text) = pusher.refused(large, 400).await;
    assert!(text.contains("the arguments of a tool call"), "{text}");
    let page = ::http::Request::post("/internal/send").header("content-type", "text/plain");
    let page = page.body(http_body_util::Full::from(bytes::Bytes::from("{}"))).unwrap();
    let answer = http::send(scene.internal, http::Version::Http1, page).await.unwrap().whole().await.unwrap();
    let (_, text) = refusal(&answer, 400);
    assert!(text.contains("must have the content type application/json"), "{text}");
    assert!(!pusher.push(delta("a")).await, "the run goes on");
}

pub(super) async fn delivered() {
    let scene = Scene::new("").await;
    let (run, pusher) = scene.run().await;
    assert!(!pusher.push(delta("a")).await, "nobody watches");
    let mut watch = scene.client().watch(&run);
    while watch.expect().await["delta"]["text"] != "a" {}
    assert!(pusher.push(delta("b")).await);
    drop(watch);
    let mut session = scene.client().watch_session(&pusher.session, "");
    while session.expect().await["delta"]["text"] != "b" {}
    assert!(pusher.push(delta("c")).await, "its session is watched");
}

pub(super) async fn ends() {
    let scene = Scene::new("").await;
    for (event, code, retryable) in [
        (json!({"type": "error", "code": "llm_error", "message": "no luck"}), "llm_error", true),
        (
            json!({"type": "error", "code": "What?", "message": "no luck", "retryable": false}),
            "agent_error",
            false,
        ),
    ] {
        let (run, pusher) = scene.run().await;
        pusher.push(event).await;
        let log = story::log_of(scene.client(), &run).await;
        assert_eq!(error(&log), (code, "no luck"));
        assert_eq!(last(&log)["error"]["retryable"] == true, retryable);
    }
    let (run, pusher) = scene.run().await;
    pusher.push(json!({"type": "cancelled", "reason": "the agent gave up"})).await;
    let log = story::log_of(scene.client(), &run).await;
    assert_eq!(last(&log)["eventType"], "EVENT_TYPE_CANCELLED");
    assert_eq!(last(&log)["message"], "the agent gave up");
    let cancels = |path: &str| path.ends_with("/cancel");
    assert!(
        !scene.orchestrator.calls().iter().any(|it| cancels(&it.path)),
        "who has ended is not told to end"
    );
}

pub(super) async fn token() {
    let scene = Scene::with("", "[internal]\ntoken = \"s3cret\"\n", None).await;
    let (run, pusher) = scene.run().await;
    assert_eq!(reason(pusher.refused(delta("a"), 401).await), "TOKEN_REQUIRED");
    let wrong = Pusher { token: Some("s3creT"), ..pusher.clone() };
    assert_eq!(reason(wrong.refused(delta("a"), 401).await), "TOKEN_REQUIRED");
    let right = Pusher { token: Some("s3cret"), ..pusher };
    right.push(delta("b")).await;
    right.push(json!({"type": "done"})).await;
    assert_eq!(texts(&story::log_of(scene.client(), &run).await), "b");
    let started = &scene.orchestrator.called("/internal/invoke", 1).await[0];
    assert_eq!(started.authorization.as_deref(), Some("Bearer s3cret"), "the gateway shows it too");
    for path in ["/healthz", "/readyz"] {
        assert_eq!(http::get(scene.internal, path).await.status, 200, "{path} stays open");
    }
    assert!(!scene.gateway.stderr().contains("s3cret"));
}

pub(super) async fn no_token_beyond_the_loopback() {
    let port = quiet_address().port();
    let setup = Setup::default().environment("RUNGATE_INTERNAL_LISTEN", format!("0.0.0.0:{port}"));
    let gateway = setup.start().await;
    let session = story::session(crate::support::client::Client::new(
        crate::support::client::Protocol::Grpc,
        gateway.address(),
    ));
    let gateway = ([127, 0, 0, 1], port).into();
    let pusher = Pusher { gateway, session: session.await, run: "r".to_owned(), token: None };
    assert_eq!(reason(pusher.refused(delta("a"), 403).await), "TOKEN_NOT_CONFIGURED");
    assert_eq!(http::get(gateway, "/healthz").await.status, 200);
}

pub(super) async fn public_port() {
    let scene = Scene::new("").await;
    let (_, pusher) = scene.run().await;
    let public = Pusher { gateway: scene.gateway.address(), ..pusher };
    let event = json!({"type": "delta", "text": "a", "run_id": public.run});
    let answer = public.post(&json!({"session_id": public.session, "event": event})).await;
    assert_eq!(answer.status, 404, "{}", answer.text());
    for path in ["/internal/send", "/internal/invoke", "/internal"] {
        assert_eq!(http::get(scene.gateway.address(), path).await.status, 404, "{path}");
    }
}
