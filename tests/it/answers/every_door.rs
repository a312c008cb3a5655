//! One run asks for all there is; each answer comes by one door, and is an event for all who watch.

use serde_json::{Value, json};

use super::{
    approval, asks, door::Door, input, is_not_pending, output, start, state_of, states, tool_call, until,
};
use crate::support::{
    client::{Client, Events, Failure, PROTOCOLS, Protocol},
    story,
};

/// What is answered: by what method, with what, and how that shows in the log.
struct Answer {
    state: &'static str,
    event_type: &'static str,
    seconds: i128,
    method: &'static str,
    request: Value,
    other: Value,
    closed: Value,
}

pub(super) async fn answered(door: Door, watched: Protocol) {
    let (_gateway, client) = start().await;
    let say =
        json!([[tool_call("t")], [tool_call("failed")], [approval("a")], [approval("no")], [input("i")]]);
    let (session, run) = asks(client, "asks", &say).await;
    let mut watch = client.over(watched).watch(&run);
    let mut seen = Vec::new();
    let answers = answers(&session, &run);
    for answer in &answers {
        seen.extend(answer_one(client, door, &run, &mut watch, answer).await);
    }
    seen.extend(watch.all().await);
    let log = story::log_of(client, &run).await;
    assert_eq!(seen, log, "all who watch see the same");
    for protocol in PROTOCOLS {
        assert_eq!(client.over(protocol).watch(&run).all().await, log, "{protocol}");
    }
    let wanted = json!([
        {"type": "tool_result", "tool_call_id": "t", "ok": true, "result": {"text": "ünïcode 💥", "n": [1.5, null]}},
        {"type": "tool_result", "tool_call_id": "failed", "ok": false, "code": "tool_failed", "error": "no clipboard"},
        {"type": "approval_decision", "approval_id": "a", "decision": "approve", "reason": "go on"},
        {"type": "approval_decision", "approval_id": "no", "decision": "reject", "reason": ""},
        {"type": "input", "request_id": "i", "text": "three"},
    ]);
    assert_eq!(output(&log), &wanted);
    let waited = ["WAITING_TOOL", "WAITING_TOOL", "WAITING_APPROVAL", "WAITING_APPROVAL", "WAITING_INPUT"];
    let waited = waited.iter().flat_map(|it| [*it, "RUNNING"]);
    assert_eq!(states(&log), ["QUEUED", "RUNNING"].into_iter().chain(waited).collect::<Vec<_>>());
    // Who answers once more, because he was not told that he was heard, is told so after the end too.
    for answer in &answers {
        again(client, door, answer).await;
    }
    assert_eq!(story::log_of(client, &run).await, log, "nothing comes of it");
}

async fn answer_one(
    client: Client,
    door: Door,
    run: &str,
    watch: &mut Events,
    answer: &Answer,
) -> Vec<Value> {
    let mut seen = until(watch, |it| it["eventType"] == answer.event_type).await;
    let asked = seen.last().unwrap().clone();
    let until_when = ["toolRequest", "approvalRequired", "inputRequired"]
        .iter()
        .find_map(|it| asked[it].get("deadline").or(asked[it].get("expiresAt")));
    let time = story::time(until_when.unwrap()).duration_since(story::time(&asked["time"]));
    assert!((time.as_millis() - answer.seconds * 1000).abs() < 500, "{asked:#}");
    if answer.event_type == "EVENT_TYPE_TOOL_REQUEST" {
        let args = json!({"format": "text", "n": [1.0, 2.0]});
        assert_eq!(
            (&asked["toolRequest"]["toolName"], &asked["toolRequest"]["args"]),
            (&json!("clipboard"), &args)
        );
    }
    if answer.event_type == "EVENT_TYPE_APPROVAL_REQUIRED" {
        let told = &asked["approvalRequired"];
        assert_eq!([&told["toolCallId"], &told["toolName"], &told["summary"]], ["of", "rm", "remove it"]);
    }
    seen.extend(until(watch, |it| it.get("state").is_some()).await);
    assert_eq!(seen.last().unwrap()["state"]["state"], answer.state);
    assert_eq!(state_of(client, run).await, answer.state);
    door.call(client, answer.method, answer.request.clone()).await.unwrap();
    again(client, door, answer).await;
    seen.extend(until(watch, |it| it.get("closed").is_some()).await);
    let closed = seen.last().unwrap();
    assert_eq!((&closed["eventType"], &closed["closed"]), (&json!("EVENT_TYPE_LOG"), &answer.closed));
    seen
}

/// The same answer is taken again; another one is not.
async fn again(client: Client, door: Door, answer: &Answer) {
    door.call(client, answer.method, answer.request.clone()).await.unwrap();
    let failure: Failure = door.call(client, answer.method, answer.other.clone()).await.unwrap_err();
    is_not_pending(&failure);
}

fn answers(session: &str, run: &str) -> [Answer; 5] {
    let tool = |id: &str, ok: bool, result: Value, error: &str| {
        let mut request = json!({"runId": run, "toolCallId": id, "ok": ok, "error": error});
        if !result.is_null() {
            request["result"] = result;
        }
        request
    };
    let decision = |id: &str, decision: &str, reason: &str| json!({"runId": run, "approvalId": id, "decision": format!("DECISION_{decision}"), "reason": reason});
    let words =
        |text: &str| json!({"sessionId": session, "runId": run, "input": text, "inputRequestId": "i"});
    let closed = |kind: &str, id: &str, field: &str, answer: Value| {
        json!({
            "kind": format!("REQUEST_KIND_{kind}"), "requestId": id,
            "outcome": "REQUEST_OUTCOME_ANSWERED", field: answer,
        })
    };
    let result = json!({"text": "ünïcode 💥", "n": [1.5, null]});
    let of_tool = |request, other, closed| Answer {
        state: "RUN_STATE_WAITING_TOOL",
        event_type: "EVENT_TYPE_TOOL_REQUEST",
        seconds: 60,
        method: "SubmitToolResult",
        request,
        other,
        closed,
    };
    let of_approval = |request, other, closed| Answer {
        state: "RUN_STATE_WAITING_APPROVAL",
        event_type: "EVENT_TYPE_APPROVAL_REQUIRED",
        seconds: 600,
        method: "SubmitApproval",
        request,
        other,
        closed,
    };
    [
        of_tool(
            tool("t", true, result.clone(), ""),
            tool("t", true, json!(2), ""),
            closed("TOOL", "t", "toolResult", json!({"ok": true, "result": result})),
        ),
        of_tool(
            tool("failed", false, Value::Null, "no clipboard"),
            tool("failed", true, json!("no clipboard"), ""),
            closed("TOOL", "failed", "toolResult", json!({"error": "no clipboard"})),
        ),
        of_approval(
            decision("a", "APPROVE", "go on"),
            decision("a", "REJECT", "go on"),
            closed("APPROVAL", "a", "approval", json!({"decision": "DECISION_APPROVE", "reason": "go on"})),
        ),
        of_approval(
            decision("no", "REJECT", ""),
            decision("no", "REJECT", "for another reason"),
            closed("APPROVAL", "no", "approval", json!({"decision": "DECISION_REJECT"})),
        ),
        Answer {
            state: "RUN_STATE_WAITING_INPUT",
            event_type: "EVENT_TYPE_INPUT_REQUIRED",
            seconds: 600,
            method: "SubmitRunInput",
            request: words("three"),
            other: words("four"),
            closed: closed("INPUT", "i", "input", json!("three")),
        },
    ]
}
