//! What an orchestrator asks of the client, and how it is told the answer.

use serde_json::{Value, json};

use super::{Scene, error, last};
use crate::support::{
    client::{Client, Protocol},
    story,
};

/// Rules for the tools of these tests.
const RULES: &str = r#"
[tools]
rules = [
    { tool = "rm", policy = "block" },
    { tool = "send", policy = "require_approval" },
]
"#;

pub(super) fn tool(id: &str, name: &str) -> Value {
    json!({"type": "tool_request", "tool_call_id": id, "tool_name": name, "args": {"n": 1}})
}

pub(super) fn approval(id: &str) -> Value {
    json!({"type": "approval_required", "approval_id": id, "tool_call_id": "tc", "tool_name": "t", "args_summary": "all of it"})
}

pub(super) fn input(id: &str) -> Value {
    json!({"type": "input_required", "input_request_id": id, "prompt": "How far?"})
}

pub(super) async fn answer_tool(client: Client, run: &str, id: &str) {
    let result = json!({"runId": run, "toolCallId": id, "ok": true, "result": {"n": [1, "a"]}});
    client.over(Protocol::Grpc).call("SubmitToolResult", result).await.unwrap();
}

pub(super) async fn decide(client: Client, run: &str, id: &str, decision: &str) {
    let decision = json!({"runId": run, "approvalId": id, "decision": decision, "reason": "so be it"});
    client.over(Protocol::ConnectJson).call("SubmitApproval", decision).await.unwrap();
}

pub(super) async fn say(client: Client, session: &str, run: &str, text: &str) {
    let words = json!({"sessionId": session, "runId": run, "input": text});
    client.over(Protocol::GrpcWeb).call("SubmitRunInput", words).await.unwrap();
}

async fn state(client: Client, run: &str) -> Value {
    client.call("GetRun", json!({"runId": run})).await.unwrap()["run"]["state"].clone()
}

pub(super) async fn all_kinds() {
    let scene = Scene::new("").await;
    let (run, pusher) = scene.run().await;
    let client = scene.client();
    pusher.push(tool("tc_1", "look")).await;
    assert_eq!(state(client, &run).await, "RUN_STATE_WAITING_TOOL");
    pusher.push(approval("ap_1")).await;
    pusher.push(input("in_1")).await;
    answer_tool(client, &run, "tc_1").await;
    let told = scene.orchestrator.submitted("tool_calls", "tc_1").await;
    assert_eq!(told, json!({"status": "SUCCEEDED", "result": {"n": [1, "a"]}}));
    assert_eq!(state(client, &run).await, "RUN_STATE_WAITING_APPROVAL");
    decide(client, &run, "ap_1", "DECISION_APPROVE").await;
    let told = scene.orchestrator.submitted("approvals", "ap_1").await;
    assert_eq!(told, json!({"decision": "approve", "reason": "so be it", "decided_by": "demo-user"}));
    assert_eq!(state(client, &run).await, "RUN_STATE_WAITING_INPUT");
    say(client, &pusher.session, &run, "seven").await;
    assert_eq!(scene.orchestrator.submitted("inputs", "in_1").await, json!({"text": "seven"}));
    assert_eq!(state(client, &run).await, "RUN_STATE_RUNNING");
    pusher.push(tool("tc_2", "look")).await;
    let failed = json!({"runId": run, "toolCallId": "tc_2", "error": "no such place"});
    client.call("SubmitToolResult", failed).await.unwrap();
    let told = scene.orchestrator.submitted("tool_calls", "tc_2").await;
    assert_eq!(
        told,
        json!({"status": "FAILED", "error": {"code": "tool_failed", "message": "no such place"}})
    );
    pusher.push(json!({"type": "done"})).await;
    let log = story::log_of(client, &run).await;
    assert_eq!(last(&log)["eventType"], "EVENT_TYPE_COMPLETE");
    assert!(log.iter().any(|it| it["toolRequest"]["args"] == json!({"n": 1.0})), "{log:#?}");
    assert!(log.iter().any(|it| it["approvalRequired"]["summary"] == "all of it"), "{log:#?}");
}

pub(super) async fn policy() {
    let scene = Scene::with("", RULES, None).await;
    let (run, pusher) = scene.run().await;
    let client = scene.client();
    pusher.push(tool("tc_1", "rm")).await;
    let told = scene.orchestrator.submitted("tool_calls", "tc_1").await;
    assert_eq!(
        told,
        json!({"status": "FAILED", "error": {"code": "blocked", "message": "the tool is blocked"}})
    );
    pusher.push(tool("tc_2", "send")).await;
    decide(client, &run, "ap_tc_2", "DECISION_REJECT").await;
    let told = scene.orchestrator.submitted("tool_calls", "tc_2").await;
    let message = "the call was rejected: so be it";
    assert_eq!(told, json!({"status": "FAILED", "error": {"code": "rejected", "message": message}}));
    pusher.push(tool("tc_3", "send")).await;
    decide(client, &run, "ap_tc_3", "DECISION_APPROVE").await;
    let mut watch = client.watch(&run);
    while watch.expect().await["toolRequest"]["toolCallId"] != "tc_3" {}
    answer_tool(client, &run, "tc_3").await;
    assert_eq!(scene.orchestrator.submitted("tool_calls", "tc_3").await["status"], "SUCCEEDED");
    pusher.push(json!({"type": "done"})).await;
    let log = story::log_of(client, &run).await;
    let asked: Vec<_> = log.iter().filter_map(|it| it["toolRequest"]["toolCallId"].as_str()).collect();
    assert_eq!(asked, ["tc_3"], "nothing else reaches the client");
    let approvals = scene.orchestrator.calls().into_iter().filter(|it| it.path.contains("/approvals/"));
    assert_eq!(approvals.count(), 0, "the gateway's own questions are not the orchestrator's");
}

pub(super) async fn nobody_answers() {
    let more = "tool_timeout = \"200ms\"\napproval_timeout = \"200ms\"\ninput_timeout = \"10m\"";
    let scene = Scene::new(more).await;
    let (run, pusher) = scene.run().await;
    pusher.push(tool("tc_1", "look")).await;
    pusher.push(approval("ap_1")).await;
    let mut asked = input("in_1");
    // A deadline of its own, which is long past.
    asked["deadline_ts"] = json!(1);
    pusher.push(asked).await;
    assert_eq!(scene.orchestrator.submitted("tool_calls", "tc_1").await["error"]["code"], "tool_timeout");
    let told = scene.orchestrator.submitted("approvals", "ap_1").await;
    assert_eq!((&told["decision"], &told["decided_by"]), (&json!("reject"), &json!("gateway")));
    let told = scene.orchestrator.submitted("inputs", "in_1").await;
    assert_eq!((&told["text"], &told["error"]["code"]), (&Value::Null, &json!("input_timeout")));
    pusher.push(json!({"type": "done"})).await;
    story::log_of(scene.client(), &run).await;
}

pub(super) async fn retries() {
    let scene = Scene::new("").await;
    let (run, pusher) = scene.run().await;
    pusher.push(tool("tc_1", "look")).await;
    scene.orchestrator.fail(&[500, 503, 429]);
    answer_tool(scene.client(), &run, "tc_1").await;
    assert_eq!(scene.orchestrator.submitted("tool_calls", "tc_1").await["status"], "SUCCEEDED");
    assert_eq!(scene.orchestrator.called("/internal/tool_calls/tc_1/submit", 4).await.len(), 4);
    pusher.push(tool("tc_2", "look")).await;
    scene.orchestrator.fail(&[500, 500, 500, 500]);
    answer_tool(scene.client(), &run, "tc_2").await;
    let log = story::log_of(scene.client(), &run).await;
    let message = "the orchestrator did not take an answer: it answered with status 500";
    assert_eq!(error(&log), ("orchestrator_failed", message));
    assert_eq!(scene.orchestrator.called("/internal/tool_calls/tc_2/submit", 4).await.len(), 4);
    // Whoever cannot be told an answer may still be told to stop.
    scene.orchestrator.called(&format!("/internal/runs/{}/cancel", pusher.run), 1).await;
}

pub(super) async fn refused_answers() {
    let scene = Scene::new("").await;
    let (run, pusher) = scene.run().await;
    pusher.push(tool("tc_1", "look")).await;
    pusher.push(tool("tc_2", "look")).await;
    // It has stopped waiting for the first; the second is unknown to it.
    scene.orchestrator.fail(&[409]);
    answer_tool(scene.client(), &run, "tc_1").await;
    scene.orchestrator.called("/internal/tool_calls/tc_1/submit", 1).await;
    pusher.push(json!({"type": "log", "message": "still here"})).await;
    scene.orchestrator.fail(&[404]);
    answer_tool(scene.client(), &run, "tc_2").await;
    let log = story::log_of(scene.client(), &run).await;
    let message = "the orchestrator did not take an answer: it answered with status 404";
    assert_eq!(error(&log), ("orchestrator_failed", message));
    assert_eq!(scene.orchestrator.called("/internal/tool_calls/tc_2/submit", 1).await.len(), 1);
}
