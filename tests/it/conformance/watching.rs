//! Any number of watchers, whenever they come, see the same events.

use futures::future::join3;
use serde_json::{Value, json};

use crate::support::{
    client::{Client, Protocol},
    story,
};

/// Who comes after the end sees all from the first event.
pub(super) async fn late_watcher(client: Client) {
    let (run, log) = story::finished(client, "test_pipeline").await;
    assert_eq!(client.watch(&run).all().await, log);
}

/// Two watchers at the same time, and one over gRPC beside them, see the same.
pub(super) async fn two_watchers_at_once(client: Client) {
    let run = story::run(client, "test_pipeline").await;
    let reference = story::log_of(client, &run);
    let (one, other, log) = join3(client.watch(&run).all(), client.watch(&run).all(), reference).await;
    assert_eq!(one, log);
    assert_eq!(other, log);
}

/// A watcher that goes away cancels nothing and disturbs nobody.
pub(super) async fn watcher_leaves(client: Client) {
    let run = story::run(client, "test_pipeline").await;
    let mut leaving = client.watch(&run);
    let seen = leaving.take(2).await;
    drop(leaving);
    let log = story::log_of(client, &run).await;
    assert_eq!(log[..2], seen);
    assert_eq!(log.last().unwrap()["eventType"], "EVENT_TYPE_COMPLETE");
}

/// `test_pipeline` tells what the contract says it tells.
pub(super) async fn events_of_a_run(client: Client) {
    let run = story::run(client, "test_pipeline").await;
    let log = client.watch(&run).all().await;
    story::check_log(&run, &log);
    let steps: Vec<_> = log.iter().filter(|it| it["eventType"] == "EVENT_TYPE_LOG").collect();
    let percents: Vec<_> = steps.iter().map(|it| &it["progressPercent"]).collect();
    assert_eq!(percents, [10, 30, 50, 70, 90]);
    let nodes = |event: &Value| event["clientView"]["graph"]["nodes"].as_array().map_or(0, Vec::len);
    assert_eq!(steps.iter().map(|it| nodes(it)).collect::<Vec<_>>(), [1, 2, 3, 4, 4]);
    let end = log.last().unwrap();
    assert_eq!(end["eventType"], "EVENT_TYPE_COMPLETE");
    assert_eq!((&end["message"], &end["progressPercent"]), (&"Done".into(), &100.into()));
    assert_eq!(nodes(end), 4);
    assert_eq!(log, client.over(Protocol::Grpc).watch(&run).all().await);
}

/// Every kind of event is the same in every encoding, with every character and every number.
pub(super) async fn every_kind_of_event(client: Client) {
    let run = story::run(client, "speak").await;
    let log = client.watch(&run).all().await;
    let of_type = |name: &str| {
        let name = format!("EVENT_TYPE_{name}");
        log.iter().filter(|it| it["eventType"] == name).collect::<Vec<_>>()
    };
    assert!(of_type("LOG").iter().any(|it| it["message"] == "ünïcode \"quoted\" \\ 💥"), "{log:#?}");
    assert!(of_type("LOG").iter().any(|it| it["message"] == "no JSON at all"));
    assert!(of_type("LOG").iter().any(|it| it["clientView"]["llmResponse"] == "words"));
    assert!(of_type("LOG").iter().any(|it| it["clientView"]["graph"]["edges"].is_array()));
    assert!(of_type("PROGRESS").iter().any(|it| it["message"] == "on the way"));
    let text: String = of_type("DELTA").iter().map(|it| story::text(&it["delta"]["text"])).collect();
    assert_eq!(text, "one\ntwo three");
    assert!(!of_type("NODE").is_empty());
    let output = json!({"text": "x", "number": 1.5, "list": [null, true, {"deep": []}]});
    assert_eq!(of_type("COMPLETE")[0]["result"]["output"], output);
    assert_eq!(log, story::log_of(client, &run).await);
}

/// A run that fails says why.
pub(super) async fn failed_run(client: Client) {
    let run = story::run(client, "fail").await;
    let log = client.watch(&run).all().await;
    let end = log.last().unwrap();
    assert_eq!(end["eventType"], "EVENT_TYPE_ERROR");
    assert_eq!(end["error"]["message"], "no luck today");
    assert_eq!(end["error"]["retryable"], true);
    assert_eq!(log, story::log_of(client, &run).await);
    let read = story::caller(client).call("GetRun", json!({"runId": run})).await.unwrap();
    assert_eq!((&read["run"]["state"], &read["run"]["error"]), (&"RUN_STATE_FAILED".into(), &end["error"]));
}
