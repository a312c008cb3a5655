//! `examples/orchestrator.py`, as the guide tells its story.

use std::process::Stdio;

use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Command,
};

use super::{
    asks::{answer_tool, decide},
    last, texts,
};
use crate::support::{
    client::{Client, Protocol},
    ports::quiet_address,
    story,
    tools::repository,
};

pub(super) async fn story_of_the_guide() {
    let (data, internal) = (tempfile::tempdir().unwrap(), quiet_address());
    let mut python = Command::new("python3")
        .args(["-u", "orchestrator.py", "0", &format!("http://{internal}")])
        .current_dir(repository().join("examples"))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(python.stdout.take().unwrap()).lines();
    let announced = lines.next_line().await.unwrap().unwrap();
    let url = announced.strip_prefix("listening on ").unwrap();
    let example = std::fs::read_to_string(repository().join("examples/orchestrator.toml")).unwrap();
    assert!(example.contains("http://127.0.0.1:8081"));
    let config = example.replace("http://127.0.0.1:8081", url);
    // The orchestrator knows one address of the gateway.
    let config = format!("internal_listen = \"{internal}\"\n{config}");
    let start = || crate::support::gateway::Setup::default().config(&config).data(data.path()).start();

    let first = start().await;
    let client = Client::new(Protocol::Grpc, first.address());
    let session = story::session(client).await;
    let run = story::start(client, &session, "agent").await.unwrap();
    let mut watch = client.watch(&run);
    let call = loop {
        if let Some(call) = watch.expect().await["toolRequest"]["toolCallId"].as_str() {
            break call.to_owned();
        }
    };
    first.kill();
    let second = start().await;
    let client = Client::new(Protocol::Grpc, second.address());
    answer_tool(client, &run, &call).await;
    let mut watch = client.watch(&run);
    while watch.expect().await.get("approvalRequired").is_none() {}
    decide(client, &run, &call.replace("tc_", "ap_"), "DECISION_APPROVE").await;
    let log = story::log_of(client, &run).await;
    assert_eq!(texts(&log), "Hello from the agent. ");
    let output = json!({"place": {"n": [1.0, "a"]}, "approved": true});
    assert_eq!(last(&log)["result"]["output"], output, "{log:#?}");

    let run = story::start(client, &session, "agent").await.unwrap();
    let mut watch = client.watch(&run);
    while watch.expect().await.get("toolRequest").is_none() {}
    client.call("CancelRun", json!({"runId": run})).await.unwrap();
    assert_eq!(last(&story::log_of(client, &run).await)["eventType"], "EVENT_TYPE_CANCELLED");
}
