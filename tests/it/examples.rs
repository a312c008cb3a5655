//! `examples/`, run exactly as its files say.

use std::process::Stdio;

use libtest_mimic::Trial;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::support::{
    client::{Client, Events, Protocol},
    curl,
    gateway::{BINARY, Gateway, Setup},
    needs, story,
    tools::{Tool, clients, repository},
    trial,
};

/// All tests of this module.
pub(crate) fn trials() -> Vec<Trial> {
    let python = [Tool::Program("python3")];
    let with_curl = [python[0], Tool::Program("curl")];
    let with_node = [python[0], Tool::Program("node"), Tool::NpmPackages];
    vec![
        needs(&python, trial("examples::count_counts", count)),
        needs(&python, trial("examples::count_asks_how_far", count_asks)),
        needs(&python, trial("examples::count_ends_well_when_it_is_cancelled", count_cancelled)),
        needs(&python, trial("examples::disk_needs_count", disk)),
        needs(&with_curl, trial("examples::agent_is_answered_by_grpc_and_curl_in_turn", agent)),
        needs(&with_node, trial("examples::agent_is_driven_by_node_over_a_websocket", agent_of_node)),
        needs(&python, trial("examples::agent_keeps_nothing_that_is_rejected", agent_rejected)),
        needs(&python, trial("examples::agent_tells_why_a_tool_failed", agent_without_clipboard)),
    ]
}

async fn start() -> (Gateway, Client) {
    let config = repository().join("examples/rungate.toml");
    let gateway = Setup::default().config_file(&config).start().await;
    let client = Client::new(Protocol::Grpc, gateway.address());
    (gateway, client)
}

/// `rungate run …`; gives the events.
async fn run(gateway: &Gateway, arguments: &[&str]) -> Vec<Value> {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(BINARY);
    command.arg("run").args(arguments).args(["--json", "--gateway", &gateway.url("")]);
    command.env("XDG_STATE_HOME", folder.path()).stdin(Stdio::null()).kill_on_drop(true);
    let output = command.output().await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

async fn count() {
    let (gateway, _) = start().await;
    let log = run(&gateway, &["count", "--param", "n=5"]).await;
    assert_eq!(log.last().unwrap()["result"]["output"], json!({"n": 5.0, "sum": 15.0}));
    assert!(log.iter().any(|it| it["message"] == "counting to 5"));
    let said: String = log.iter().filter_map(|it| it["delta"]["text"].as_str()).collect();
    assert_eq!(said, "1 2 3 4 5 ");
    let told = log.iter().filter(|it| it["eventType"] == "EVENT_TYPE_PROGRESS");
    let told: Vec<_> = told.map(|it| it["progressPercent"].as_i64().unwrap()).collect();
    assert_eq!(told, [20, 40, 60, 80, 100]);
    let view = log.iter().find_map(|it| it["clientView"]["graph"].as_object()).expect("a graph");
    assert_eq!((view["nodes"].as_array().unwrap().len(), view["edges"].as_array().unwrap().len()), (5, 4));
}

async fn count_asks() {
    let (_gateway, client) = start().await;
    for (answer, end) in [("3", "EVENT_TYPE_COMPLETE"), ("many", "EVENT_TYPE_ERROR")] {
        let session = story::session(client).await;
        let run = story::start(client, &session, "count").await.unwrap();
        let mut watch = client.watch(&run);
        while watch.expect().await["inputRequired"]["prompt"] != "How far shall I count?" {}
        client.call("SubmitRunInput", json!({"sessionId": session, "input": answer})).await.unwrap();
        let log = story::log_of(client, &run).await;
        assert_eq!(log.last().unwrap()["eventType"], end, "{log:#?}");
    }
}

async fn count_cancelled() {
    let (gateway, client) = start().await;
    let session = story::session(client).await;
    let request = json!({"sessionId": session, "pipelineId": "count", "params": {"n": "1000"}});
    let started = client.call("StartRun", request).await.unwrap();
    let run = story::text(&started["runId"]);
    let mut watch = client.watch(run);
    while watch.expect().await["message"] != "2 of 1000" {}
    client.call("CancelRun", json!({"runId": run})).await.unwrap();
    let log = story::log_of(client, run).await;
    assert_eq!(log.last().unwrap()["eventType"], "EVENT_TYPE_CANCELLED");
    let stopped = |it: &Value| it["message"].as_str().is_some_and(|it| it.starts_with("stopped before "));
    assert!(log.iter().any(stopped), "{log:#?}");
    gateway.signal(Signal::TERM);
    gateway.ended().await;
}

async fn disk() {
    let (gateway, _) = start().await;
    let log = run(&gateway, &["disk", "--param", "n=3"]).await;
    let output = &log.last().unwrap()["result"]["output"];
    assert_eq!(output["sum_of_count"], 6.0);
    assert!(output["free_kib"].as_f64().unwrap() > 0.0, "{output}");
    let folder = repository().join("examples");
    assert!(log.iter().any(|it| it["message"] == format!("looking at {}", folder.display())), "{log:#?}");
}

/// The agent of its own folder, in a session of its own; gives a watch of its run, too.
async fn start_agent(wish: &str) -> (Gateway, Client, String, Events) {
    let config = repository().join("examples/agent/rungate.toml");
    let gateway = Setup::default().config_file(&config).start().await;
    let client = Client::new(Protocol::Grpc, gateway.address());
    let session = story::session(client).await;
    let request = json!({"sessionId": session, "pipelineId": "agent", "params": {"user_input": wish}});
    let started = client.call("StartRun", request).await.unwrap();
    let run = story::text(&started["runId"]).to_owned();
    let watch = client.watch(&run);
    (gateway, client, run, watch)
}

async fn until(watch: &mut Events, detail: &str) -> Value {
    loop {
        let event = watch.expect().await;
        if let Some(detail) = event.get(detail) {
            return detail.clone();
        }
    }
}

fn said(log: &[Value]) -> String {
    log.iter().filter_map(|it| it["delta"]["text"].as_str()).collect()
}

async fn agent() {
    let (gateway, client, run, mut watch) = start_agent("a long word").await;
    let asked = until(&mut watch, "toolRequest").await;
    assert_eq!((&asked["toolName"], &asked["args"]), (&json!("read_clipboard"), &json!({"format": "text"})));
    let text = "a clipboard of a few grüße";
    let result = json!({"runId": run, "toolCallId": asked["toolCallId"], "ok": true, "result": text});
    client.call("SubmitToolResult", result).await.unwrap();
    let asked = until(&mut watch, "approvalRequired").await;
    assert_eq!(asked["summary"], "keep the note 'a long word: clipboard'");
    let decision = json!({
        "runId": run, "approvalId": asked["approvalId"], "decision": "DECISION_APPROVE", "reason": "why not",
    });
    curl::call(gateway.address(), "SubmitApproval", &decision).await.unwrap();
    let asked = until(&mut watch, "toolRequest").await;
    assert_eq!(asked["args"], json!({"text": "a long word: clipboard"}));
    let result = json!({"runId": run, "toolCallId": asked["toolCallId"], "ok": true, "result": {"kept": 23}});
    client.over(Protocol::Grpc).call("SubmitToolResult", result).await.unwrap();
    let log = story::log_of(client, &run).await;
    let output = &log.last().unwrap()["result"]["output"];
    assert_eq!(output, &json!({"words": 6.0, "kept": "a long word: clipboard"}), "{log:#?}");
    let wanted = "You want a long word. I look at your clipboard. It holds 6 words; the longest is 'clipboard'. \
                  I have kept a note. ";
    assert_eq!(said(&log), wanted);
}

/// The package `ws` of Node holds one socket, on which everything is asked and answered; the log is the same elsewhere.
async fn agent_of_node() {
    let config = repository().join("examples/agent/rungate.toml");
    let gateway = Setup::default().config_file(&config).start().await;
    for (decision, kept) in [("approve", json!("a long word: clipboard")), ("reject", json!(null))] {
        let mut node = Command::new("node");
        node.arg(clients().join("agent_ws.mjs")).args([&gateway.url(""), "agent", "a long word", decision]);
        let output = node.stdin(Stdio::null()).kill_on_drop(true).output().await.unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        let told: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let events: Vec<_> = told.iter().filter(|it| !it["seq"].is_null()).collect();
        let done = events.last().unwrap();
        assert_eq!((&done["type"], &done["output"]), (&json!("done"), &json!({"words": 6, "kept": kept})));
        let client = Client::new(Protocol::Grpc, gateway.address());
        let log = story::log_of(client, story::text(&done["run_id"])).await;
        let cursors: Vec<_> = log.iter().map(|it| it["cursor"].clone()).collect();
        assert_eq!(events.iter().map(|it| it["cursor"].clone()).collect::<Vec<_>>(), cursors);
        let states: Vec<_> = events.iter().filter_map(|it| it["state"].as_str()).collect();
        assert!(["waiting_tool", "waiting_approval"].iter().all(|it| states.contains(it)), "{states:?}");
    }
}

async fn agent_rejected() {
    let (_gateway, client, run, mut watch) = start_agent("nothing").await;
    let asked = until(&mut watch, "toolRequest").await;
    let result = json!({"runId": run, "toolCallId": asked["toolCallId"], "ok": true, "result": ""});
    client.over(Protocol::ConnectJson).call("SubmitToolResult", result).await.unwrap();
    let asked = until(&mut watch, "approvalRequired").await;
    let decision = json!({
        "runId": run, "approvalId": asked["approvalId"], "decision": "DECISION_REJECT", "reason": "there is none",
    });
    client.over(Protocol::GrpcWeb).call("SubmitApproval", decision).await.unwrap();
    let log = story::log_of(client, &run).await;
    assert_eq!(log.last().unwrap()["result"]["output"], json!({"words": 0.0, "kept": null}), "{log:#?}");
    assert!(said(&log).ends_with("I keep nothing: there is none. "), "{}", said(&log));
}

async fn agent_without_clipboard() {
    let (_gateway, client, run, mut watch) = start_agent("something").await;
    let asked = until(&mut watch, "toolRequest").await;
    let result = json!({"runId": run, "toolCallId": asked["toolCallId"], "error": "no clipboard here"});
    client.call("SubmitToolResult", result).await.unwrap();
    let log = story::log_of(client, &run).await;
    let error = &log.last().unwrap()["error"];
    assert_eq!(error["message"], "read_clipboard: no clipboard here", "{log:#?}");
}
