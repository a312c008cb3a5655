//! `examples/`, run exactly as its files say.

use std::process::Stdio;

use libtest_mimic::Trial;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::support::{
    client::{Client, Protocol},
    gateway::{BINARY, Gateway, Setup},
    needs, story,
    tools::{Tool, repository},
    trial,
};

/// All tests of this module.
pub(crate) fn trials() -> Vec<Trial> {
    let python = [Tool::Program("python3")];
    vec![
        needs(&python, trial("examples::count_counts", count)),
        needs(&python, trial("examples::count_asks_how_far", count_asks)),
        needs(&python, trial("examples::count_ends_well_when_it_is_cancelled", count_cancelled)),
        needs(&python, trial("examples::disk_needs_count", disk)),
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
