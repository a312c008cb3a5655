//! Which tools a worker may call, and who is asked before.

use libtest_mimic::Trial;
use serde_json::{Value, json};

use super::{asks, closings, door::Door, output, start_with, until};
use crate::support::{client::Protocol, needs, story, tools::Tool, trial};

const RULES: &str = r#"
[tools]
default = "allow"
rules = [
    { tool = "files/read_*", policy = "allow" },
    { tool = "{files,shell}/*", policy = "block" },
    { tool = "write?", policy = "require_approval" },
    { tool = "everything/echo", policy = "require_approval" },
    { tool = "everything/get-sum", policy = "allow" },
    { tool = "everything/*", policy = "block" },
]
"#;

pub(super) fn trials() -> Vec<Trial> {
    let python = [Tool::Program("python3")];
    let mcp = [Tool::Program("python3"), Tool::Program("node"), Tool::McpServer];
    vec![
        needs(&python, trial("answers::a_blocked_call_never_reaches_the_client", blocked)),
        needs(&python, trial("answers::a_call_that_needs_approval_is_asked_for_first", approved)),
        needs(&python, trial("answers::a_call_that_nobody_approves_in_time_is_not_made", not_approved)),
        needs(&mcp, trial("answers::tools_of_mcp_servers_are_under_the_same_policy", mcp_tools)),
    ]
}

fn call(id: &str, tool: &str, args: Value) -> Value {
    json!({"type": "tool_call", "tool_call_id": id, "tool_name": tool, "args": args})
}

async fn blocked() {
    let (_gateway, client) = start_with(RULES).await;
    let say = json!([
        [call("1", "files/write", json!({"password": "p"})), call("2", "shell/sh", json!({}))],
        [call("3", "files/read_text", json!({}))],
    ]);
    let (_, run) = asks(client, "asks", &say).await;
    let mut watch = client.watch(&run);
    until(&mut watch, |it| it["toolRequest"]["toolName"] == "files/read_text").await;
    Door::Client(Protocol::GrpcWeb).tool_result(client, &run, "3", json!("text")).await.unwrap();
    let log = story::log_of(client, &run).await;
    let asked: Vec<_> = log
        .iter()
        .filter(|it| it.get("toolRequest").is_some() || it.get("approvalRequired").is_some())
        .collect();
    assert_eq!(asked.len(), 1, "{log:#?}");
    assert_eq!(closings(&log), [("TOOL", "3", "ANSWERED")]);
    assert!(log.iter().any(|it| it["message"] == "the call of the tool shell/sh is blocked"), "{log:#?}");
    assert!(!json!(log[..log.len() - 1]).to_string().contains("password"), "nor what it was given");
    let told = output(&log).as_array().unwrap();
    let blocked = told.iter().filter(|it| it["code"] == "blocked" && it["ok"] == false).count();
    assert_eq!(blocked, 2, "{told:#?}");
    is_late(&Door::Client(Protocol::Grpc).tool_result(client, &run, "1", json!(1)).await.unwrap_err());
}

fn is_late(failure: &crate::support::client::Failure) {
    super::is_not_pending(failure);
}

async fn approved() {
    let (_gateway, client) = start_with(RULES).await;
    let door = Door::Client(Protocol::ConnectJson);
    let say = json!([
        [call("1", "write1", json!({"text": "ä"}))],
        [call("2", "write2", json!({}))],
        [call("3", "write12", json!({}))],
    ]);
    let (_, run) = asks(client, "asks", &say).await;
    let mut watch = client.watch(&run);
    let seen = until(&mut watch, |it| it.get("approvalRequired").is_some()).await;
    assert!(!seen.iter().any(|it| it.get("toolRequest").is_some()));
    let wanted = &seen.last().unwrap()["approvalRequired"];
    assert_eq!((&wanted["toolCallId"], &wanted["toolName"]), (&json!("1"), &json!("write1")));
    assert_eq!(wanted["summary"], "write1({\"text\":\"ä\"})");
    let approve = async |id: &Value, decision: &str| {
        door.decide(client, &run, story::text(id), decision, "as I said").await.unwrap();
    };
    approve(&wanted["approvalId"], "DECISION_APPROVE").await;
    until(&mut watch, |it| it["toolRequest"]["toolCallId"] == "1").await;
    door.tool_result(client, &run, "1", json!("written")).await.unwrap();
    let wanted = until(&mut watch, |it| it.get("approvalRequired").is_some()).await.pop().unwrap();
    approve(&wanted["approvalRequired"]["approvalId"], "DECISION_REJECT").await;
    // `?` is one character, so the third is free.
    let seen = until(&mut watch, |it| it["toolRequest"]["toolCallId"] == "3").await;
    assert!(!seen.iter().any(|it| it["toolRequest"]["toolCallId"] == "2"), "{seen:#?}");
    door.tool_result(client, &run, "3", json!(null)).await.unwrap();
    let log = story::log_of(client, &run).await;
    assert_eq!(
        output(&log),
        &json!([
            {"type": "tool_result", "tool_call_id": "1", "ok": true, "result": "written"},
            {"type": "tool_result", "tool_call_id": "2", "ok": false, "code": "rejected",
             "error": "the call was rejected: as I said"},
            {"type": "tool_result", "tool_call_id": "3", "ok": true, "result": null},
        ])
    );
}

async fn not_approved() {
    let (_gateway, client) = start_with(RULES).await;
    let (_, run) = asks(client, "hurried", &json!([[call(&"x".repeat(128), "write1", json!({}))]])).await;
    let log = story::log_of(client, &run).await;
    assert_eq!(output(&log)[0]["code"], "approval_timeout");
    assert!(!log.iter().any(|it| it.get("toolRequest").is_some()), "{log:#?}");
}

async fn mcp_tools() {
    let script = Tool::McpServer.path();
    let server =
        format!("[mcp.servers.everything]\ncommand = [\"node\", \"{}\", \"stdio\"]\n", script.display());
    let (_gateway, client) = start_with(&format!("{RULES}{server}")).await;
    let say = json!([
        [call("1", "everything/get-sum", json!({"a": 2, "b": 3}))],
        [call("2", "everything/echo", json!({"message": "ä"}))],
        [call("3", "everything/get-tiny-image", json!({}))],
    ]);
    let (session, run) = asks(client, "asks", &say).await;
    let mut watch = client.watch(&run);
    let seen = until(&mut watch, |it| it.get("approvalRequired").is_some()).await;
    let wanted = &seen.last().unwrap()["approvalRequired"];
    assert_eq!(wanted["toolName"], "everything/echo");
    let door = Door::Client(Protocol::Connect);
    door.decide(client, &run, story::text(&wanted["approvalId"]), "DECISION_APPROVE", "").await.unwrap();
    let log = story::log_of(client, &run).await;
    assert!(!log.iter().any(|it| it.get("toolRequest").is_some()), "a server's tool is no client's");
    let told = output(&log);
    assert_eq!(told[0]["result"]["text"], "The sum of 2 and 3 is 5.");
    assert_eq!((&told[1]["result"]["text"], &told[2]["code"]), (&json!("Echo: ä"), &json!("blocked")));

    let params = json!({"server": "everything", "tool": "get-tiny-image"});
    let request = json!({"sessionId": session, "pipelineId": "mcp_call", "params": params});
    let started = client.call("StartRun", request).await.unwrap();
    let log = story::log_of(client, story::text(&started["runId"])).await;
    assert_eq!(log.last().unwrap()["error"]["code"], "blocked");
}
