//! What workers ask of the client, and how it is answered: tools, approvals, questions, by every door; who wins when
//! several come at once; and how a run that waits is cancelled.

mod cancel;
mod deadlines;
mod disconnect;
mod door;
mod every_door;
mod killed;
mod policy;
mod races;
mod refusals;
mod several;

use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::support::{
    client::{Client, Events, Failure, Protocol},
    gateway::{Gateway, Setup},
    story,
};

/// The programs.
const PROGRAMS: &str = include_str!("programs.toml");

/// All tests of this module.
pub(crate) fn trials() -> Vec<Trial> {
    let trials = [
        door::trials("each_request_is_answered", every_door::answered),
        door::trials("what_is_no_answer_is_refused", refusals::refused),
        several::trials(),
        deadlines::trials(),
        policy::trials(),
        races::trials(),
        killed::trials(),
        cancel::trials(),
        disconnect::trials(),
    ];
    trials.into_iter().flatten().collect()
}

async fn start() -> (Gateway, Client) {
    start_with("").await
}

/// A gateway with more in its configuration.
async fn start_with(config: &str) -> (Gateway, Client) {
    let gateway = Setup::default().config(config).config(PROGRAMS).start().await;
    let client = Client::new(Protocol::Grpc, gateway.address());
    (gateway, client)
}

/// Starts a worker in a session of its own that asks what `say` holds; gives session and run.
async fn asks(client: Client, worker: &str, say: &Value) -> (String, String) {
    let session = story::session(client).await;
    let params = json!({"say": say.to_string()});
    let request = json!({"sessionId": session, "pipelineId": worker, "params": params});
    let started = client.call("StartRun", request).await.unwrap();
    (session, story::text(&started["runId"]).to_owned())
}

/// The events up to the first that fits.
async fn until(events: &mut Events, fits: impl Fn(&Value) -> bool) -> Vec<Value> {
    let mut seen = Vec::new();
    while !seen.last().is_some_and(&fits) {
        seen.push(events.expect().await);
    }
    seen
}

/// Waits until the run is in a state.
async fn until_state(client: Client, run: &str, state: &str) {
    let mut events = client.watch(run);
    until(&mut events, |it| it["state"]["state"] == state).await;
}

async fn state_of(client: Client, run: &str) -> String {
    let read = client.call("GetRun", json!({"runId": run})).await.unwrap();
    story::text(&read["run"]["state"]).to_owned()
}

fn tool_call(id: &str) -> Value {
    json!({"type": "tool_call", "tool_call_id": id, "tool_name": "clipboard", "args": {"format": "text", "n": [1, 2]}})
}

fn approval(id: &str) -> Value {
    json!({
        "type": "approval", "approval_id": id, "tool_call_id": "of", "tool_name": "rm", "summary": "remove it",
    })
}

fn input(id: &str) -> Value {
    json!({"type": "input", "request_id": id, "prompt": "How many?"})
}

fn is(failure: &Failure, code: &str, reason: &str) {
    assert_eq!((failure.code.as_str(), failure.reason.as_str()), (code, reason), "{failure:?}");
}

fn is_not_pending(failure: &Failure) {
    is(failure, "failed_precondition", "NOT_PENDING");
}

/// The output of a run that has ended well.
fn output(log: &[Value]) -> &Value {
    let end = log.last().unwrap();
    assert_eq!(end["eventType"], "EVENT_TYPE_COMPLETE", "{end:#}");
    &end["result"]["output"]
}

/// How requests ended: kind, name and outcome, without the prefixes of their values.
fn closings(log: &[Value]) -> Vec<(&str, &str, &str)> {
    let closed = log.iter().map(|it| &it["closed"]).filter(|it| !it.is_null());
    let fields = closed.map(|it| {
        let kind = story::text(&it["kind"]).trim_start_matches("REQUEST_KIND_");
        let outcome = story::text(&it["outcome"]).trim_start_matches("REQUEST_OUTCOME_");
        (kind, story::text(&it["requestId"]), outcome)
    });
    fields.collect()
}

/// The states of a run, without the prefix of their values.
fn states(log: &[Value]) -> Vec<&str> {
    let states = log.iter().filter_map(|it| it["state"]["state"].as_str());
    states.map(|it| it.trim_start_matches("RUN_STATE_")).collect()
}
