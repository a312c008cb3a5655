//! How programs are ended, and what they leave behind: nothing.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::{error, log, output, run_with, says, start};
use crate::support::{client::Client, story};

/// A process that was killed is gone within this.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) async fn cancel() {
    let (_gateway, client) = start().await;
    let (run, pids) = running(client, "polite").await;
    client.call("CancelRun", json!({"runId": run, "reason": "enough"})).await.unwrap();
    let log = story::log_of(client, &run).await;
    let end = log.last().unwrap();
    assert_eq!((&end["eventType"], &end["message"]), (&json!("EVENT_TYPE_CANCELLED"), &json!("enough")));
    assert!(says(&log, "tidying up"), "{log:#?}");
    all_gone(&pids).await;
}

pub(super) async fn timeout() {
    let (_gateway, client) = start().await;
    let log = log(client, "out_of_time").await;
    assert_eq!(error(&log), ("worker_timeout", "the worker took longer than 0.3 s"));
    assert!(says(&log, "tidying up"), "{log:#?}");
}

pub(super) async fn deaf() {
    let (_gateway, client) = start().await;
    let (run, pids) = running(client, "deaf").await;
    assert_eq!(pids.len(), 2);
    let begun = Instant::now();
    client.call("CancelRun", json!({"runId": run})).await.unwrap();
    let log = story::log_of(client, &run).await;
    assert_eq!(log.last().unwrap()["eventType"], "EVENT_TYPE_CANCELLED");
    assert!(begun.elapsed() >= Duration::from_millis(900), "not before its grace time");
    all_gone(&pids).await;
}

pub(super) async fn leaves() {
    let (_gateway, client) = start().await;
    let (run, pids) = running(client, "leaves").await;
    assert_eq!(output(&story::log_of(client, &run).await), "left");
    all_gone(&pids).await;
}

pub(super) async fn gateway_told() {
    let (gateway, client) = start().await;
    let mut all = Vec::new();
    for worker in ["polite", "deaf", "reads"] {
        all.extend(running(client, worker).await.1);
    }
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.ended().await.code(), Some(0));
    all_gone(&all).await;
}

pub(super) async fn gateway_killed() {
    let (gateway, client) = start().await;
    let reads = running(client, "reads").await.1;
    let writes = running(client, "writes").await.1;
    gateway.kill();
    // Standard input has ended; standard output leads nowhere.
    all_gone(&reads).await;
    all_gone(&writes).await;
}

/// Starts a run and waits until its program has told its process ids.
async fn running(client: Client, worker: &str) -> (String, Vec<u32>) {
    let (_, run) = run_with(client, worker, json!({})).await;
    let mut watch = client.watch(&run);
    loop {
        let event: Value = watch.expect().await;
        if let Some(pids) = event["message"].as_str().and_then(|it| it.strip_prefix("pids ")) {
            let pids: Vec<_> = pids.split(' ').map(|it| it.parse().unwrap()).collect();
            return (run, pids);
        }
    }
}

async fn all_gone(pids: &[u32]) {
    let begun = Instant::now();
    while let Some(pid) = pids.iter().find(|pid| is_alive(**pid)) {
        assert!(begun.elapsed() < PATIENCE, "process {pid} lives on");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// True unless it is gone, or has ended and waits for its parent to notice.
fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").and_then(|it| it.1.chars().next());
    state.is_some_and(|it| it != 'Z' && it != 'X')
}
