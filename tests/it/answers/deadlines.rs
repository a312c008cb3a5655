//! How long is waited: each worker says for itself, and waiting is no work.

use std::time::Duration;

use libtest_mimic::Trial;
use serde_json::json;

use super::{
    approval, asks, closings, door::Door, input, is_not_pending, output, start, tool_call, until, until_state,
};
use crate::support::{client::Protocol, needs, story, tools::Tool, trial};

pub(super) fn trials() -> Vec<Trial> {
    vec![
        needs(
            &[Tool::Program("python3")],
            trial("answers::a_worker_hears_that_nobody_answered_in_its_time", expired),
        ),
        trial("answers::waiting_is_no_work", waiting_is_no_work),
    ]
}

async fn expired() {
    let (_gateway, client) = start().await;
    let (session, run) = asks(client, "hurried", &json!([[input("i"), approval("a"), tool_call("t")]])).await;
    let log = story::log_of(client, &run).await;
    // Each has its own time, whatever the order they were asked in.
    assert_eq!(
        closings(&log),
        [("TOOL", "t", "EXPIRED"), ("APPROVAL", "a", "EXPIRED"), ("INPUT", "i", "EXPIRED")]
    );
    for (field, deadline, millis) in [
        ("toolRequest", "deadline", 150),
        ("approvalRequired", "expiresAt", 300),
        ("inputRequired", "deadline", 450),
    ] {
        let asked = log.iter().find(|it| it.get(field).is_some()).unwrap();
        let time = story::time(&asked[field][deadline]).duration_since(story::time(&asked["time"]));
        assert!((time.as_millis() - millis).abs() < 100, "{asked:#}");
    }
    assert_eq!(
        output(&log),
        &json!([
            {"type": "tool_result", "tool_call_id": "t", "ok": false, "code": "tool_timeout",
             "error": "the tool gave no result in time"},
            {"type": "approval_decision", "approval_id": "a", "decision": "reject", "code": "approval_timeout",
             "reason": "nobody answered in time"},
            {"type": "input", "request_id": "i", "text": null, "code": "input_timeout",
             "error": "nobody answered in time"},
        ])
    );
    let door = Door::Client(Protocol::ConnectJson);
    is_not_pending(&door.tool_result(client, &run, "t", json!(1)).await.unwrap_err());
    is_not_pending(
        &door.decide(client, &run, "a", "DECISION_REJECT", "nobody answered in time").await.unwrap_err(),
    );
    let words = json!({"sessionId": session, "input": "three", "inputRequestId": "i"});
    is_not_pending(&door.call(client, "SubmitRunInput", words).await.unwrap_err());
    assert_eq!(story::log_of(client, &run).await, log);
}

async fn waiting_is_no_work() {
    let (_gateway, client) = start().await;
    let door = Door::Client(Protocol::Grpc);
    let waits = story::run(client, "waits_for_long").await;
    let works = story::run(client, "works_for_long").await;
    for run in [&waits, &works] {
        until_state(client, run, "RUN_STATE_WAITING_TOOL").await;
    }
    tokio::time::sleep(Duration::from_millis(1500)).await;
    for run in [&waits, &works] {
        door.tool_result(client, run, "t", json!(1)).await.unwrap();
    }
    assert_eq!(output(&story::log_of(client, &waits).await)["result"], 1.0);
    let mut watch = client.watch(&works);
    let answered = until(&mut watch, |it| it.get("closed").is_some()).await.pop().unwrap();
    let ended = watch.all().await.pop().unwrap();
    assert_eq!(ended["error"]["code"], "worker_timeout", "{ended:#}");
    let worked = story::time(&ended["time"]).duration_since(story::time(&answered["time"]));
    assert!((300..3000).contains(&worked.as_millis()), "it had its second: {worked:?}");
}
