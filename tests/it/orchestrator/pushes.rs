//! What an orchestrator pushes, and what becomes of it.

use serde_json::json;

use super::{Scene, last, texts};
use crate::support::story;

pub(super) async fn deltas_and_done() {
    let scene = Scene::new("").await;
    let (run, pusher) = scene.run().await;
    pusher.push(json!({"type": "run_started", "agent_id": "agent"})).await;
    pusher.push(json!({"type": "log", "message": "thinking"})).await;
    pusher.push(json!({"type": "progress", "percent": 40, "message": "nearly"})).await;
    for text in ["Hel", "lo"] {
        pusher.push(json!({"type": "delta", "text": text})).await;
    }
    let usage = json!({"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10, "duration_ms": 5});
    pusher.push(json!({"type": "done", "output": {"answer": 42}, "usage": usage})).await;
    let log = story::log_of(scene.client(), &run).await;
    assert_eq!(texts(&log), "Hello");
    assert!(log.iter().any(|it| it["progressPercent"] == 40 && it["message"] == "nearly"), "{log:#?}");
    assert_eq!(last(&log)["result"]["output"], json!({"answer": 42.0}), "{log:#?}");
    assert_eq!(last(&log)["result"]["usage"]["inputTokens"], "7", "{log:#?}");
    let started = &scene.orchestrator.called("/internal/invoke", 1).await[0].body;
    assert_eq!(started["input_message"], json!({"role": "user", "content": "hello"}));
    assert_eq!((&started["agent_id"], &started["request_id"]), (&json!("agent"), &json!(run)));
    assert_eq!(started["context"], json!({"params": {"user_input": "hello"}, "inputs": {}}));
}
