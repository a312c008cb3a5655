//! The gateway is killed while answers come in.

use std::{path::Path, time::Duration};

use futures::future::join_all;
use libtest_mimic::Trial;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{PROGRAMS, closings, door::Door, is_not_pending, output, until_state};
use crate::support::{
    client::{Client, PROTOCOLS, Protocol},
    gateway::{Gateway, Setup},
    patient_trial, story, trial,
};

/// Runs that are answered while it is killed.
const RUNS: usize = 16;
/// Kills in a row, each at another moment.
const KILLS: usize = 6;

pub(super) fn trials() -> Vec<Trial> {
    let patience = Duration::from_secs(180);
    vec![
        patient_trial("answers::an_acknowledged_answer_survives_a_kill", patience, survives),
        trial("answers::the_same_answer_is_taken_again_after_a_kill", again_after_a_kill),
    ]
}

async fn start(data: &Path) -> (Gateway, Client) {
    let gateway = Setup::default().config(PROGRAMS).data(data).start().await;
    let client = Client::new(Protocol::Grpc, gateway.address());
    (gateway, client)
}

async fn survives() {
    let data = tempfile::tempdir().unwrap();
    let (mut gateway, mut client) = start(data.path()).await;
    let (mut acknowledged, mut lost) = (0, 0);
    for kill in 0..KILLS {
        let runs = join_all((0..RUNS).map(|_| story::run(client, "calls"))).await;
        for run in &runs {
            until_state(client, run, "RUN_STATE_WAITING_TOOL").await;
        }
        let (told, mut taken) = watch::channel(0);
        let answers = runs.iter().map(async |run| {
            let answer = Door::Client(Protocol::Connect).tool_result(client, run, "t", json!("before")).await;
            told.send_modify(|it| *it += usize::from(answer.is_ok()));
            answer
        });
        let killed = async {
            taken.wait_for(|it| *it > 2 * kill).await.unwrap();
            gateway.kill();
        };
        let (answers, ()) = tokio::join!(join_all(answers), killed);
        (gateway, client) = start(data.path()).await;
        for (run, answer) in runs.iter().zip(answers) {
            let log = goes_on(client, run).await;
            if answer.is_ok() {
                acknowledged += 1;
                let before = log.iter().find_map(|it| it["closed"]["toolResult"]["result"].as_str());
                assert_eq!(before, Some("before"), "{log:#?}");
            } else {
                lost += 1;
            }
        }
    }
    assert!(acknowledged > 0 && lost > 0, "{acknowledged} acknowledged, {lost} not");
    eprintln!("{acknowledged} answers were acknowledged before a kill, {lost} were not");
}

/// A run that does not begin again has ended; who was not told that his answer had come asks the log.
async fn again_after_a_kill() {
    let data = tempfile::tempdir().unwrap();
    let (gateway, client) = start(data.path()).await;
    let run = story::run(client, "deaf_tool").await;
    until_state(client, &run, "RUN_STATE_WAITING_TOOL").await;
    let result = json!({"b": [1, 2.5], "a": null});
    Door::Client(Protocol::Grpc).tool_result(client, &run, "t", result).await.unwrap();
    gateway.kill();
    let (_gateway, client) = start(data.path()).await;
    let log = story::log_of(client, &run).await;
    assert_eq!(log.last().unwrap()["error"]["code"], "interrupted");
    for protocol in PROTOCOLS.into_iter().filter(|it| it.calls()) {
        // Neither the order of fields nor the form of a number makes another answer of it.
        let same = json!({"a": null, "b": [1.0, 2.5]});
        Door::Client(protocol).tool_result(client, &run, "t", same).await.unwrap();
        let other = json!({"a": null, "b": [1, 2]});
        let refused = Door::Client(protocol).tool_result(client, &run, "t", other).await.unwrap_err();
        is_not_pending(&refused);
    }
    assert_eq!(story::log_of(client, &run).await, log);
}

/// Answers a run that has begun again. Its log is whole, the same for all, and each attempt asks once.
async fn goes_on(client: Client, run: &str) -> Vec<Value> {
    let mut watch = client.watch(run);
    let ended_before = loop {
        let event = watch.expect().await;
        if event["state"]["attempt"] == 2 && event["state"]["state"] == "RUN_STATE_WAITING_TOOL" {
            break false;
        }
        if story::is_terminal(&event) {
            break true;
        }
    };
    if !ended_before {
        Door::Client(Protocol::GrpcWeb).tool_result(client, run, "t", json!("after")).await.unwrap();
    }
    let log = story::log_of(client, run).await;
    for protocol in PROTOCOLS {
        assert_eq!(client.over(protocol).watch(run).all().await, log, "{protocol}");
    }
    let result = if ended_before { "before" } else { "after" };
    assert_eq!(output(&log)["result"], result, "{log:#?}");
    assert!(closings(&log).iter().all(|it| *it == ("TOOL", "t", "ANSWERED")), "{log:#?}");
    let asked = log.iter().filter(|it| it.get("toolRequest").is_some()).count();
    assert_eq!(asked, if ended_before { 1 } else { 2 });
    log
}
