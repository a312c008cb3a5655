//! What is no answer is refused, with the field that is wrong; the run waits on.

use serde_json::{Value, json};

use super::{
    approval, asks, closings, door::Door, input, is, is_not_pending, output, start, state_of, tool_call,
    until_state,
};
use crate::support::{client::Protocol, story};

const NOBODY: &str = "run_01890000-0000-7000-8000-000000000000";

pub(super) async fn refused(door: Door, watched: Protocol) {
    let (_gateway, client) = start().await;
    let (session, run) = asks(client, "asks", &json!([[tool_call("t"), approval("a"), input("i")]])).await;
    until_state(client.over(watched), &run, "RUN_STATE_WAITING_TOOL").await;
    let call = async |method: &str, request: Value| door.call(client, method, request).await.unwrap_err();
    let nested = (0..31).fold(json!(1), |inner, _| json!([inner]));
    for (field, method, request) in [
        ("run_id", "SubmitToolResult", json!({"toolCallId": "t", "ok": true})),
        ("tool_call_id", "SubmitToolResult", json!({"runId": run, "ok": true})),
        ("run_id", "SubmitApproval", json!({"approvalId": "a", "decision": "DECISION_APPROVE"})),
        ("approval_id", "SubmitApproval", json!({"runId": run, "decision": "DECISION_APPROVE"})),
        ("decision", "SubmitApproval", json!({"runId": run, "approvalId": "a"})),
        ("decision", "SubmitApproval", json!({"runId": run, "approvalId": "a", "decision": 7})),
        ("input", "SubmitRunInput", json!({"sessionId": session, "inputRequestId": "i"})),
        ("input", "SubmitRunInput", json!({"sessionId": session, "inputRequestId": "i", "input": " "})),
    ] {
        let failure = call(method, request).await;
        is(&failure, "invalid_argument", "FIELD_MISSING");
        assert_eq!(failure.metadata["field"], field);
    }
    let large = || "x".repeat((1 << 20) + 1);
    for (field, method, request) in [
        (
            "result",
            "SubmitToolResult",
            json!({"runId": run, "toolCallId": "t", "ok": true, "result": large()}),
        ),
        (
            "result",
            "SubmitToolResult",
            json!({"runId": run, "toolCallId": "t", "ok": true, "result": nested}),
        ),
        ("error", "SubmitToolResult", json!({"runId": run, "toolCallId": "t", "error": large()})),
        (
            "reason",
            "SubmitApproval",
            json!({
                "runId": run, "approvalId": "a", "decision": "DECISION_REJECT", "reason": large(),
            }),
        ),
        ("input", "SubmitRunInput", json!({"sessionId": session, "inputRequestId": "i", "input": large()})),
    ] {
        let failure = call(method, request).await;
        is(&failure, "invalid_argument", "FIELD_MALFORMED");
        assert_eq!(failure.metadata["field"], field);
    }
    for nobody in [NOBODY, "nonsense"] {
        let result = json!({"runId": nobody, "toolCallId": "t", "ok": true});
        is(&call("SubmitToolResult", result).await, "not_found", "RUN_NOT_FOUND");
        let decision = json!({"runId": nobody, "approvalId": "a", "decision": "DECISION_APPROVE"});
        is(&call("SubmitApproval", decision).await, "not_found", "RUN_NOT_FOUND");
    }
    // Each kind of request has names of its own.
    is_not_pending(&door.tool_result(client, &run, "a", json!(1)).await.unwrap_err());
    is_not_pending(&door.decide(client, &run, "t", "DECISION_APPROVE", "").await.unwrap_err());
    let other = json!({"sessionId": session, "runId": run, "input": "three", "inputRequestId": "t"});
    is_not_pending(&call("SubmitRunInput", other).await);
    assert_eq!(state_of(client, &run).await, "RUN_STATE_WAITING_TOOL");

    let largest = "x".repeat((1 << 20) - 4);
    door.tool_result(client, &run, "t", json!(largest)).await.unwrap();
    door.decide(client, &run, "a", "DECISION_APPROVE", "").await.unwrap();
    let words = json!({"sessionId": session, "input": "three"});
    assert_eq!(door.call(client, "SubmitRunInput", words).await.unwrap()["runId"], *run);
    let log = client.over(watched).watch(&run).all().await;
    story::check_log(&run, &log);
    assert_eq!(
        closings(&log),
        [("TOOL", "t", "ANSWERED"), ("APPROVAL", "a", "ANSWERED"), ("INPUT", "i", "ANSWERED"),]
    );
    let closed = log.iter().find(|it| it["closed"]["requestId"] == "t").unwrap();
    assert!(closed["closed"]["toolResult"]["result"] == largest, "all who watch get it whole");
    assert!(output(&log)[0].as_f64() > Some(largest.len() as f64), "and so does the program");
}
