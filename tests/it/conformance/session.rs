//! All runs of a session come through one stream with one cursor.

use std::collections::BTreeMap;

use rungate::model::{SessionId, SessionPlace};
use serde_json::{Value, json};

use crate::support::{
    client::{Client, Events, Failure},
    story,
};

/// Runs that were there and runs that begin meanwhile: each log is told once, in order, as the run's own watch tells it.
pub(super) async fn session_in_one_stream(client: Client) {
    let session = story::session(client).await;
    let first = story::start(client, &session, "worker_DAG").await.unwrap();
    story::log_of(client, &first).await;
    let mut watch = client.watch_session(&session, "");
    let mut seen = until_ended(&mut watch, 2).await;
    let [second, third] = two_at_once(client, &session).await;
    seen.extend(until_ended(&mut watch, 2).await);
    assert_eq!(seen.iter().map(story::cursor).collect::<std::collections::BTreeSet<_>>().len(), seen.len());
    let runs = by_run(&seen);
    assert_eq!(runs.len(), 4, "with that of InitRun");
    for run in [first, second, third] {
        assert_eq!(runs[&run], without_cursors(&story::log_of(client, &run).await));
    }
}

/// From each cursor comes what had not come.
pub(super) async fn resume_a_session_at_each_cursor(client: Client) {
    let session = story::session(client).await;
    let [second, third] = two_at_once(client, &session).await;
    for run in [&second, &third] {
        story::log_of(client, run).await;
    }
    let all = until_ended(&mut client.watch_session(&session, ""), 3).await;
    for (event, next) in all.iter().zip(1..all.len()) {
        let missing = all[next..].iter().filter(|it| story::is_terminal(it)).count();
        let rest = until_ended(&mut client.watch_session(&session, story::cursor(event)), missing).await;
        assert_eq!(by_run(&rest), by_run(&all[next..]));
    }
    // Behind the last one nothing comes until something happens.
    let mut watch = client.watch_session(&session, story::cursor(all.last().unwrap()));
    let run = story::start(client, &session, "worker_DAG").await.unwrap();
    let new = until_ended(&mut watch, 1).await;
    assert_eq!(
        by_run(&new),
        BTreeMap::from([(run.clone(), without_cursors(&story::log_of(client, &run).await))])
    );
}

/// A session's stream is cut in the middle of two runs; another, over another protocol, goes on.
pub(super) async fn cut_and_resume_session(first: Client, then: Client) {
    let session = story::session(first).await;
    let runs = two_at_once(first, &session).await;
    let mut watch = first.watch_session(&session, "");
    let mut seen = Vec::new();
    // Until both runs have begun to speak.
    while !runs.iter().all(|run| seen.iter().any(|it: &Value| it["runId"] == *run)) {
        seen.push(watch.expect().await);
    }
    drop(watch);
    let mut watch = then.watch_session(&session, story::cursor(seen.last().unwrap()));
    seen.extend(watch.take(5).await);
    drop(watch);
    let missing = 3 - seen.iter().filter(|it| story::is_terminal(it)).count();
    let mut watch = first.watch_session(&session, story::cursor(seen.last().unwrap()));
    seen.extend(until_ended(&mut watch, missing).await);
    let told = by_run(&seen);
    for run in runs {
        assert_eq!(told[&run], without_cursors(&story::log_of(first, &run).await));
    }
}

/// `now` gives what is new in the run that goes on and all of those that begin.
pub(super) async fn session_after_now(client: Client) {
    let session = story::session(client).await;
    let mut watch = client.watch_session(&session, "now");
    let run = story::start(client, &session, "test_pipeline").await.unwrap();
    let seen = until_ended(&mut watch, 1).await;
    let log = without_cursors(&story::log_of(client, &run).await);
    assert_eq!(seen[0]["runId"], run, "nothing of the run before");
    // Whether the watch began before the run cannot be told; its end it sees in any case.
    assert_eq!(without_cursors(&seen), log[log.len() - seen.len()..]);
}

/// A compact catch-up merges in each run by itself.
pub(super) async fn compact_session(client: Client) {
    let session = story::session(client).await;
    let run = story::start(client, &session, "speak").await.unwrap();
    let log = story::log_of(client, &run).await;
    let mut watch = client.watch_session_compact(&session);
    let seen = until_ended(&mut watch, 2).await;
    let short: Vec<_> = seen.into_iter().filter(|it| it["runId"] == run).collect();
    assert_eq!(short.len(), log.len() - 1);
    let deltas: Vec<_> = short.iter().filter(|it| it["eventType"] == "EVENT_TYPE_DELTA").collect();
    assert_eq!(deltas.iter().map(|it| &it["delta"]["text"]).collect::<Vec<_>>(), ["one\ntwo three"]);
}

/// What cannot be a position in the session.
pub(super) async fn bad_session_cursors(client: Client) {
    let session = story::session(client).await;
    let of_run = story::finished(client, "worker_DAG").await.1;
    let other = story::session(client).await;
    let of_other = client.watch_session(&other, "").expect().await;
    for (cursor, reason) in [
        ("garbage", "CURSOR_MALFORMED"),
        (story::cursor(&of_run[0]), "CURSOR_FOREIGN"),
        (story::cursor(&of_other), "CURSOR_FOREIGN"),
    ] {
        is(&client.watch_session(&session, cursor).refused().await, "invalid_argument", reason, &session);
    }
    let mut beyond = SessionPlace::start();
    beyond.open(u64::MAX, 1);
    let beyond = beyond.cursor(SessionPlace::digest_of(&SessionId::parse(&session).unwrap()));
    is(&client.watch_session(&session, &beyond).refused().await, "out_of_range", "CURSOR_EXPIRED", &session);
    let of_session = client.watch_session(&session, "").expect().await;
    let failure =
        client.watch_after(story::text(&of_run[0]["runId"]), story::cursor(&of_session)).refused().await;
    assert_eq!((failure.code.as_str(), failure.reason.as_str()), ("invalid_argument", "CURSOR_FOREIGN"));
}

/// A session that does not exist.
pub(super) async fn watch_of_an_unknown_session(client: Client) {
    for session in ["nobody", "session_01890000-0000-7000-8000-000000000000"] {
        is(&client.watch_session(session, "").refused().await, "not_found", "SESSION_NOT_FOUND", session);
    }
}

fn is(failure: &Failure, code: &str, reason: &str, session: &str) {
    assert_eq!((failure.code.as_str(), failure.reason.as_str()), (code, reason), "{failure:?}");
    assert_eq!(failure.metadata["session_id"], session);
}

/// Two runs, the second of which waits for the first and tells so.
async fn two_at_once(client: Client, session: &str) -> [String; 2] {
    let start = |pipeline| json!({"sessionId": session, "pipelineId": pipeline, "ifBusy": "IF_BUSY_ENQUEUE"});
    let caller = story::caller(client);
    let first = caller.call("StartRun", start("test_pipeline")).await.unwrap();
    let second = caller.call("StartRun", start("speak")).await.unwrap();
    [first, second].map(|it| story::text(&it["runId"]).to_owned())
}

/// The next events until `count` runs have ended.
async fn until_ended(watch: &mut Events, count: usize) -> Vec<Value> {
    let (mut seen, mut ended) = (Vec::new(), 0);
    while ended < count {
        let event = watch.expect().await;
        ended += usize::from(story::is_terminal(&event));
        seen.push(event);
    }
    seen
}

fn by_run(events: &[Value]) -> BTreeMap<String, Vec<Value>> {
    let mut runs = BTreeMap::<_, Vec<_>>::new();
    for event in without_cursors(events) {
        runs.entry(story::text(&event["runId"]).to_owned()).or_default().push(event);
    }
    runs
}

fn without_cursors(events: &[Value]) -> Vec<Value> {
    let without = |it: &Value| {
        let mut event = it.clone();
        event.as_object_mut().unwrap().remove("cursor");
        event
    };
    events.iter().map(without).collect()
}
