//! Workers that ask: for input, for a tool, for an approval. Answered here, seen everywhere.

use libtest_mimic::Trial;
use serde_json::json;

use crate::support::{
    client::{Client, Protocol},
    gateway::{Setup, shared},
    story, trial,
    websocket::Socket,
};

/// Calls a tool, asks for an approval, and ends with both answers.
pub(super) const AGENT: &str = r#"
[workers.agent]
command = ["sh", "-c", '''
read -r task
echo '{"type":"tool_call","tool_call_id":"call","tool_name":"look","args":{"at":1}}'
read -r result
echo '{"type":"approval","approval_id":"may","tool_name":"write","summary":"writes"}'
read -r decision
echo "{\"type\":\"result\",\"output\":[$result,$decision]}"
''']
description = "asks its client"
"#;

/// All tests of this module.
pub(super) fn trials() -> Vec<Trial> {
    vec![
        trial("websocket::input_is_given_here", input),
        trial("websocket::tools_and_approvals_are_answered_here", tools),
    ]
}

async fn input() {
    let client = Client::new(Protocol::Grpc, shared().await.address());
    let (mut socket, _) = Socket::greeted(client.address()).await;
    let run = socket.invoke("ask", "").await;
    let asked = socket.next_of("input_required").await;
    assert_eq!((&asked["input_request_id"], &asked["prompt"]), (&json!("question"), &json!("How many?")));
    let ack = socket.ask(json!({"type": "submit_input", "run_id": run, "input": "seven"})).await;
    assert_eq!((&ack["type"], &ack["run_id"]), (&json!("ack"), &json!(run)));
    let events = socket.events_of(&run).await;
    let answer = events.iter().find_map(|it| it.get("answer")).expect("the answer is an event");
    assert_eq!((&answer["kind"], &answer["input"]), (&json!("input"), &json!("seven")));
    assert_eq!(events.last().unwrap()["output"]["text"], "seven");
    // The continuation of a conversation is a run of its own, and watched.
    let ended = story::session(client).await;
    let mut socket = Socket::open(client.address()).await;
    socket.hello(json!({"session_id": ended})).await;
    let runs = client.call("ListRuns", json!({"sessionId": ended})).await.unwrap();
    let bootstrap = &runs["runs"][0]["runId"];
    let ack = socket.ask(json!({"type": "submit_input", "run_id": bootstrap, "input": "look around"})).await;
    assert_ne!(&ack["run_id"], bootstrap, "{ack:#}");
    let events = socket.events_of(story::text(&ack["run_id"])).await;
    assert_eq!((&events[0]["type"], &events[0]["seq"]), (&json!("run_started"), &json!(1)));
}

async fn tools() {
    let gateway = Setup::default().config(AGENT).start().await;
    let client = Client::new(Protocol::ConnectJson, gateway.address());
    let (mut socket, _) = Socket::greeted(gateway.address()).await;
    let run = socket.invoke("agent", "").await;
    let asked = socket.next_of("tool_request").await;
    assert_eq!((&asked["tool_name"], &asked["args"]), (&json!("look"), &json!({"at": 1})));
    assert!(asked["deadline_ts"].as_i64().unwrap() > asked["ts"].as_i64().unwrap());
    let result = json!({"type": "tool_result", "run_id": run, "tool_call_id": "call", "ok": true, "result": {"seen": [1]}});
    assert_eq!(socket.ask(result.clone()).await["type"], "ack");
    assert_eq!(socket.ask(result.clone()).await["type"], "ack", "the same again is taken");
    let mut other = result;
    other["result"] = json!("another");
    let refused = socket.ask(other).await;
    assert_eq!(
        (&refused["code"], &refused["reason"]),
        (&json!("failed_precondition"), &json!("NOT_PENDING"))
    );
    let asked = socket.next_of("approval_required").await;
    assert_eq!((&asked["approval_id"], &asked["args_summary"]), (&json!("may"), &json!("writes")));
    assert!(asked["expires_ts"].is_i64());
    // Answered over another protocol, seen here.
    let decision = json!({"runId": run, "approvalId": "may", "decision": "DECISION_REJECT", "reason": "no"});
    client.call("SubmitApproval", decision).await.unwrap();
    let late =
        json!({"type": "approval_decision", "run_id": run, "approval_id": "may", "decision": "approve"});
    let refused = socket.ask(late).await;
    assert_eq!(refused["code"], "failed_precondition");
    let events = socket.events_of(&run).await;
    let answer = events.iter().find_map(|it| it.get("answer")).expect("the decision is an event");
    assert_eq!(
        *answer,
        json!({"kind": "approval", "request_id": "may", "outcome": "answered", "decision": "reject", "reason": "no"})
    );
    let output = &events.last().unwrap()["output"];
    assert_eq!(output[0]["result"], json!({"seen": [1]}));
    assert_eq!(output[1]["decision"], "reject");
}
