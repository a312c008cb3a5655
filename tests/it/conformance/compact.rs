//! A compact catch-up says in fewer events what the log says, and ends with the same cursor.

use serde_json::{Value, json};

use crate::support::{
    client::{Client, Protocol},
    story,
};

/// An ended run: text is whole, of the progress the last is left, everything else is as it was logged.
pub(super) async fn compact_log_of_an_ended_run(client: Client) {
    let (run, log) = written(client).await;
    let short = client.watch_compact(&run, "").all().await;
    assert_eq!(text_of(&short), "one two three four five six ");
    assert_eq!(short.last(), log.last());
    assert_eq!(of_type(&log, "PROGRESS").len(), 4);
    assert_eq!(of_type(&short, "PROGRESS"), of_type(&log, "PROGRESS")[3..]);
    // Each stretch of text that something else follows: `one two three`, `four`, `five six`.
    let deltas = of_type(&short, "DELTA");
    let texts: Vec<_> = deltas.iter().map(|it| story::text(&it["delta"]["text"])).collect();
    assert_eq!(texts, ["one two three ", "four ", "five six "]);
    assert_eq!(rest(&short), rest(&log));
    assert_eq!(short, client.over(Protocol::Grpc).watch_compact(&run, "").all().await);
}

/// From each cursor of the compact log comes what followed it.
pub(super) async fn resume_a_compact_log(client: Client) {
    let (run, log) = written(client).await;
    let short = client.watch_compact(&run, "").all().await;
    for (event, next) in short.iter().zip(1..) {
        let cursor = story::cursor(event);
        assert_eq!(client.watch_compact(&run, cursor).all().await, short[next..]);
        let sequence: usize = story::text(&event["sequence"]).parse().unwrap();
        assert_eq!(client.watch_after(&run, cursor).all().await, log[sequence..]);
    }
}

/// What comes after the catch-up comes as it is logged.
pub(super) async fn compact_catch_up_of_a_live_run(client: Client) {
    let session = story::session(client).await;
    let run = story::start(client, &session, "write").await.unwrap();
    let before = waiting(client, &run).await;
    let mut watch = client.watch_compact(&run, "");
    let mut short = Vec::new();
    while story::cursor(&watch_next(&mut watch, &mut short).await) != story::cursor(&before[before.len() - 1])
    {
    }
    assert_eq!(text_of(&short), "one two three four ");
    assert!(short.len() < before.len());
    answer(client, &session, &run).await;
    let live = watch.all().await;
    let log = story::log_of(client, &run).await;
    assert_eq!(live, log[before.len()..]);
    assert_eq!(of_type(&live, "DELTA").len(), 2);
}

async fn watch_next(watch: &mut crate::support::client::Events, seen: &mut Vec<Value>) -> Value {
    let event = watch.expect().await;
    seen.push(event.clone());
    event
}

/// Runs `write` to its end; gives the run and its log.
async fn written(client: Client) -> (String, Vec<Value>) {
    let session = story::session(client).await;
    let run = story::start(client, &session, "write").await.unwrap();
    waiting(client, &run).await;
    answer(client, &session, &run).await;
    let log = story::log_of(client, &run).await;
    (run, log)
}

/// Waits until the run waits for the person; gives the log up to there.
async fn waiting(client: Client, run: &str) -> Vec<Value> {
    let mut watch = client.over(Protocol::Grpc).watch(run);
    let mut log = Vec::new();
    while watch_next(&mut watch, &mut log).await["state"]["state"] != "RUN_STATE_WAITING_INPUT" {}
    log
}

async fn answer(client: Client, session: &str, run: &str) {
    let input = json!({"sessionId": session, "runId": run, "input": "go on"});
    story::caller(client).call("SubmitRunInput", input).await.unwrap();
}

fn of_type(log: &[Value], name: &str) -> Vec<Value> {
    let name = format!("EVENT_TYPE_{name}");
    log.iter().filter(|it| it["eventType"] == name).cloned().collect()
}

fn rest(log: &[Value]) -> Vec<Value> {
    let touched = ["EVENT_TYPE_DELTA", "EVENT_TYPE_PROGRESS"];
    log.iter().filter(|it| !touched.contains(&story::text(&it["eventType"]))).cloned().collect()
}

fn text_of(log: &[Value]) -> String {
    of_type(log, "DELTA").iter().map(|it| story::text(&it["delta"]["text"])).collect()
}
