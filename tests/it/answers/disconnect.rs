//! Who goes away cancels nothing, unless the run was started so.

use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{PROGRAMS, state_of, until, until_state};
use crate::support::{
    client::{Client, Events, PROTOCOLS, Protocol},
    gateway::{Gateway, Setup},
    story, trial,
};

/// How long a run may be without a watcher.
const GRACE: Duration = Duration::from_millis(1500);

pub(super) fn trials() -> Vec<Trial> {
    let mut trials = vec![
        trial("answers::who_goes_away_cancels_nothing", nothing),
        trial("answers::a_run_that_was_never_watched_is_cancelled_too", never_watched),
        trial("answers::who_watches_the_session_watches_its_runs", session_watch),
        trial("answers::cancel_on_disconnect_outlives_the_gateway", outlives),
    ];
    for (place, protocol) in PROTOCOLS.into_iter().enumerate() {
        let other = PROTOCOLS[(place + 1) % PROTOCOLS.len()];
        trials.push(trial(format!("answers::the_last_watcher_is_gone::{protocol}"), move || {
            last_watcher(protocol, other)
        }));
    }
    trials
}

async fn start() -> (Gateway, Client) {
    start_with(GRACE, Setup::default()).await
}

async fn start_with(grace: Duration, setup: Setup) -> (Gateway, Client) {
    let grace = format!("{}ms", grace.as_millis());
    let gateway = setup.config(PROGRAMS).environment("RUNGATE_WATCH_DISCONNECT_GRACE", grace).start().await;
    let client = Client::new(Protocol::Grpc, gateway.address());
    (gateway, client)
}

/// Starts a run that is cancelled when nobody watches it; gives its session too.
async fn begin(client: Client, worker: &str) -> (String, String) {
    let session = story::session(client).await;
    let request = json!({"sessionId": session, "pipelineId": worker, "cancelOnDisconnect": true});
    let started = client.call("StartRun", request).await.unwrap();
    (session, story::text(&started["runId"]).to_owned())
}

/// Polls, because to watch would keep the run.
async fn until_cancelled(client: Client, run: &str) -> Vec<Value> {
    while state_of(client, run).await != "RUN_STATE_CANCELLED" {
        sleep(Duration::from_millis(20)).await;
    }
    let log = story::log_of(client, run).await;
    assert_eq!(log.last().unwrap()["message"], "nobody watches the run any more");
    log
}

async fn nothing() {
    let (_gateway, client) = start().await;
    let run = story::run(client, "works").await;
    for protocol in PROTOCOLS {
        client.over(protocol).watch(&run).take(2).await;
    }
    sleep(GRACE * 2).await;
    assert_eq!(state_of(client, &run).await, "RUN_STATE_RUNNING");
}

async fn never_watched() {
    let (_gateway, client) = start().await;
    let begun = Instant::now();
    let (_, run) = begin(client, "works").await;
    until_cancelled(client, &run).await;
    assert!(begun.elapsed() >= GRACE, "not before its time: {:?}", begun.elapsed());
}

/// It lives as long as somebody watches, and on when somebody comes back in time, by whatever protocol.
async fn last_watcher(first: Protocol, other: Protocol) {
    let (_gateway, client) = start().await;
    let (_, run) = begin(client, "calls").await;
    let waits = |it: &Value| it["state"]["state"] == "RUN_STATE_WAITING_TOOL";
    let watch_for = async |mut events: Events| {
        let seen = until(&mut events, waits).await;
        sleep(GRACE * 3 / 2).await;
        assert_eq!(state_of(client, &run).await, "RUN_STATE_WAITING_TOOL");
        seen
    };
    watch_for(client.over(first).watch(&run)).await;
    sleep(GRACE / 2).await;
    let seen = watch_for(client.over(other).watch(&run)).await;
    let left = Instant::now();
    let log = until_cancelled(client, &run).await;
    assert!(left.elapsed() >= GRACE * 9 / 10, "{:?}", left.elapsed());
    assert_eq!(log[..seen.len()], seen);
}

async fn session_watch() {
    let (_gateway, client) = start().await;
    for protocol in [Protocol::Grpc, Protocol::Sse] {
        let (session, run) = begin(client, "calls").await;
        let mut events = client.over(protocol).watch_session(&session, "");
        until(&mut events, |it| it["state"]["state"] == "RUN_STATE_WAITING_TOOL").await;
        sleep(GRACE * 3 / 2).await;
        assert_eq!(state_of(client, &run).await, "RUN_STATE_WAITING_TOOL");
        drop(events);
        until_cancelled(client, &run).await;
    }
}

async fn outlives() {
    let data = tempfile::tempdir().unwrap();
    // Time enough to come back to a gateway that has just been started again.
    let start = || start_with(GRACE * 3, Setup::default().data(data.path()));
    let (first, client) = start().await;
    let (_, run) = begin(client, "works").await;
    let (_, watched) = begin(client, "works").await;
    let plain = story::run(client, "works").await;
    for run in [&run, &watched, &plain] {
        until_state(client, run, "RUN_STATE_RUNNING").await;
    }
    first.kill();
    let (_second, client) = start().await;
    let mut events = client.watch(&watched);
    until(&mut events, |it| it["state"]["attempt"] == 2).await;
    let log = until_cancelled(client, &run).await;
    assert!(log.iter().any(|it| it["state"]["attempt"] == 2), "it had begun again: {log:#?}");
    assert_eq!(state_of(client, &watched).await, "RUN_STATE_RUNNING");
    assert_eq!(state_of(client, &plain).await, "RUN_STATE_RUNNING");
    drop(events);
    until_cancelled(client, &watched).await;
}
