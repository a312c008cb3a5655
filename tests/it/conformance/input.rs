//! The conversation: what the person says reaches the run that asked.

use serde_json::{Value, json};

use crate::support::{client::Client, story};

/// The bootstrap run greets and asks; the answer starts the continuation.
pub(super) async fn bootstrap_and_continuation(client: Client) {
    let caller = story::caller(client);
    let repository = tempfile::tempdir().unwrap();
    std::fs::write(repository.path().join("README.md"), "# thing\n\nCounts things.\n").unwrap();
    let made = caller.call("InitRun", json!({"repoUrl": repository.path()})).await.unwrap();
    let (session, bootstrap) = (story::text(&made["sessionId"]), story::text(&made["bootstrapRunId"]));
    let log = client.watch(bootstrap).all().await;
    story::check_log(bootstrap, &log);
    let end = log.last().unwrap();
    assert_eq!(
        (&end["eventType"], &end["message"]),
        (&"EVENT_TYPE_COMPLETE".into(), &"INPUT_REQUIRED".into())
    );

    let said = json!({"sessionId": session, "runId": bootstrap, "input": "count the things"});
    let answer = caller.call("SubmitRunInput", said).await.unwrap();
    let continuation = story::text(&answer["runId"]);
    assert_ne!(continuation, bootstrap);
    let log = client.watch(continuation).all().await;
    assert_eq!(log.last().unwrap()["eventType"], "EVENT_TYPE_COMPLETE", "{log:#?}");
    assert_eq!(log, story::log_of(client, continuation).await);
}

/// A run asks half-way; the answer comes while nobody watches; the same run goes on with it.
pub(super) async fn run_that_waits(client: Client) {
    let caller = story::caller(client);
    let session = story::session(client).await;
    let run = story::start(client, &session, "ask").await.unwrap();
    let mut watch = client.watch(&run);
    let mut seen = Vec::new();
    while seen.last().is_none_or(|it: &Value| it["eventType"] != "EVENT_TYPE_INPUT_REQUIRED") {
        seen.push(watch.expect().await);
    }
    drop(watch);
    let asked = seen.last().unwrap();
    let question = &asked["inputRequired"];
    assert_eq!((&question["requestId"], &question["prompt"]), (&json!("question"), &json!("How many?")));
    let [asked_at, deadline] = [&asked["time"], &question["deadline"]].map(story::time);
    let time = deadline.duration_since(asked_at);
    assert!((time.as_millis() - 600_000).abs() < 60_000, "{asked:#}");
    let read = caller.call("GetRun", json!({"runId": run})).await.unwrap();
    assert_eq!(read["run"]["state"], "RUN_STATE_WAITING_INPUT");

    let said = json!({"sessionId": session, "input": "three"});
    let answer = caller.call("SubmitRunInput", said).await.unwrap();
    assert_eq!(answer["runId"], run);
    seen.extend(client.watch_after(&run, story::cursor(asked)).all().await);
    assert_eq!(seen.last().unwrap()["result"]["output"]["text"], "three");
    let closed = seen.iter().find(|it| !it["closed"].is_null()).unwrap();
    let answered = json!({"kind": "REQUEST_KIND_INPUT", "requestId": "question",
        "outcome": "REQUEST_OUTCOME_ANSWERED", "input": "three"});
    assert_eq!((&closed["eventType"], &closed["closed"]), (&json!("EVENT_TYPE_LOG"), &answered));
    assert_eq!(seen, story::log_of(client, &run).await);
}
