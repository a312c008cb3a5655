//! Steps that most tests take on their way to what they show.

use serde_json::{Value, json};

use super::client::{Client, Failure, Protocol};

/// Makes a session and waits until its bootstrap run has ended.
pub(crate) async fn session(client: Client) -> String {
    let client = client.over(Protocol::Grpc);
    let session = client.call("InitRun", json!({})).await.unwrap();
    client.watch(text(&session["bootstrapRunId"])).all().await;
    text(&session["sessionId"]).to_owned()
}

/// Starts a run in a session of its own; gives the run's id.
pub(crate) async fn run(client: Client, pipeline: &str) -> String {
    let session = session(client).await;
    start(client, &session, pipeline).await.unwrap()
}

/// Runs a pipeline to its end; gives the run's id and its log.
pub(crate) async fn finished(client: Client, pipeline: &str) -> (String, Vec<Value>) {
    let run = run(client, pipeline).await;
    let log = log_of(client, &run).await;
    (run, log)
}

/// Starts a run, over the client's protocol when it can.
pub(crate) async fn start(client: Client, session: &str, pipeline: &str) -> Result<String, Failure> {
    let request = json!({"sessionId": session, "pipelineId": pipeline});
    let started = caller(client).call("StartRun", request).await?;
    Ok(text(&started["runId"]).to_owned())
}

/// All events of a run, live ones awaited, as gRPC tells them. They keep the rules of every log.
pub(crate) async fn log_of(client: Client, run: &str) -> Vec<Value> {
    let log = client.over(Protocol::Grpc).watch(run).all().await;
    check_log(run, &log);
    log
}

/// The rules that hold for every log: numbered without a gap, cursors of their own, one terminal event, the last.
pub(crate) fn check_log(run: &str, log: &[Value]) {
    for (event, sequence) in log.iter().zip(1u64..) {
        assert_eq!(event["sequence"], sequence.to_string(), "{log:#?}");
        assert_eq!(event["runId"], run, "{event:#}");
        assert_eq!(is_terminal(event), sequence == log.len() as u64, "{log:#?}");
        assert!(!cursor(event).is_empty());
    }
    let mut cursors: Vec<_> = log.iter().map(cursor).collect();
    cursors.sort_unstable();
    cursors.dedup();
    assert_eq!(cursors.len(), log.len(), "cursors differ");
    assert!(!log.is_empty(), "a log has at least its terminal event");
}

/// A client that can call: the same, or gRPC when the protocol can only watch.
pub(crate) fn caller(client: Client) -> Client {
    if client.protocol.calls() { client } else { client.over(Protocol::Grpc) }
}

/// COMPLETE, ERROR or CANCELLED.
pub(crate) fn is_terminal(event: &Value) -> bool {
    let kind = text(&event["eventType"]);
    ["EVENT_TYPE_COMPLETE", "EVENT_TYPE_ERROR", "EVENT_TYPE_CANCELLED"].contains(&kind)
}

/// The cursor of an event.
pub(crate) fn cursor(event: &Value) -> &str {
    text(&event["cursor"])
}

/// The moment that a JSON string tells.
pub(crate) fn time(value: &Value) -> jiff::Timestamp {
    text(value).parse().unwrap_or_else(|error| panic!("{value}: {error}"))
}

/// The text of a JSON string.
pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}
