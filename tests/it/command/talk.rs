//! What programs are told, and what becomes of what they say.

use serde_json::{Value, json};

use super::{error, log, output, run_with, says, start};
use crate::support::{client::Client, story};

pub(super) async fn task() {
    let (_gateway, client) = start().await;
    let params = json!({"text": "ünïcode \"quoted\" \\ 💥\nnext line", "n": "7"});
    let (session, run) = run_with(client, "echo", params.clone()).await;
    let log = story::log_of(client, &run).await;
    let expected = json!({
        "run_id": run, "session_id": session, "pipeline_id": "echo", "params": params, "inputs": {},
    });
    assert_eq!(output(&log), &expected);
}

pub(super) async fn inputs() {
    let (_gateway, client) = start().await;
    let log = log(client, "sink").await;
    assert_eq!(output(&log)["inputs"], json!({"source": {"n": [1.0, 2.0]}, "void": null}));
    assert_eq!(output(&log)["pipeline_id"], "sink");
}

pub(super) async fn surroundings() {
    let (gateway, client) = start().await;
    let log = log(client, "where").await;
    let folder = gateway.data().parent().unwrap().canonicalize().unwrap();
    assert_eq!(output(&log), &json!([folder, "hidden", "seen"]));
}

pub(super) async fn two_questions() {
    let (_gateway, client) = start().await;
    let (session, run) = run_with(client, "two_questions", json!({})).await;
    let mut watch = client.watch(&run);
    for question in ["first", "second"] {
        while watch.expect().await["inputRequired"]["requestId"] != question {}
    }
    let say = async |text: &str| {
        let said = json!({"sessionId": session, "runId": run, "input": text});
        assert_eq!(client.call("SubmitRunInput", said).await.unwrap()["runId"], *run);
    };
    say("eins").await;
    let read = client.call("GetRun", json!({"runId": run})).await.unwrap();
    assert_eq!(read["run"]["state"], "RUN_STATE_WAITING_INPUT", "one is left");
    say("zwei").await;
    let log = story::log_of(client, &run).await;
    let answer = |id, text| json!({"type": "input", "request_id": id, "text": text});
    assert_eq!(output(&log), &json!([answer("first", "eins"), answer("second", "zwei")]));
}

pub(super) async fn same_question() {
    let (_gateway, client) = start().await;
    let log = log(client, "asks_twice_the_same").await;
    assert_eq!(error(&log), ("worker_protocol", "the request id a was used before"));
}

pub(super) async fn unanswerable() {
    let (_gateway, client) = start().await;
    let log = log(client, "asks_nobody").await;
    let [tool, approval, words] = [0, 1, 2].map(|place| &output(&log)[place]);
    assert_eq!((&tool["type"], &tool["tool_call_id"]), (&json!("tool_result"), &json!("t1")));
    assert_eq!((&tool["ok"], &tool["code"]), (&json!(false), &json!("tool_timeout")));
    assert_eq!((&approval["approval_id"], &approval["decision"]), (&json!("a1"), &json!("reject")));
    assert_eq!(approval["code"], "approval_timeout");
    assert_eq!((&words["text"], &words["code"]), (&json!(null), &json!("input_timeout")));
    let outcomes: Vec<_> =
        log.iter().map(|it| it["closed"]["outcome"].clone()).filter(|it| !it.is_null()).collect();
    assert_eq!(outcomes, ["REQUEST_OUTCOME_EXPIRED"; 3]);
}

pub(super) async fn log_lines() {
    let (_gateway, client) = start().await;
    let log = log(client, "complains").await;
    for text in ["to standard error", "no JSON", "{\"type\":\"unheard of\"}", "the end without a line feed"] {
        assert!(says(&log, text), "{text}: {log:#?}");
    }
    assert_eq!(output(&log), &Value::Null);
}

pub(super) async fn failures() {
    let (_gateway, client) = start().await;
    for (worker, code, message) in [
        ("too_long", "worker_protocol", "a line of output is longer than 1048576 bytes"),
        ("code", "worker_failed", "the program ended with exit code 3: what went wrong"),
        ("signal", "worker_failed", "the program was ended by signal 9"),
        ("error", "worker_failed", "no luck today"),
        ("not_found", "worker_failed", "cannot start `no-such-program-at-all`: it was not found"),
    ] {
        let log = log(client, worker).await;
        assert_eq!(error(&log), (code, message));
        let retryable = log.last().unwrap()["error"]["retryable"] == true;
        assert_eq!(retryable, worker == "error");
    }
}

pub(super) async fn never_reads() {
    let (_gateway, client) = start().await;
    let (_, run) = run_with(client, "never_reads", json!({"large": "x".repeat(3 << 20)})).await;
    assert_eq!(output(&story::log_of(client, &run).await), "unread");
}

pub(super) async fn closes_stdout() {
    let (_gateway, client) = start().await;
    let log = log(client, "closes_stdout").await;
    assert!(says(&log, "still here"), "{log:#?}");
    assert_eq!(output(&log), "early");
}

pub(super) async fn unreadable_outputs() {
    let (_gateway, client) = start().await;
    for worker in ["deep", "large"] {
        assert_eq!(error(&log(client, worker).await).0, "output_too_large", "{worker}");
    }
}

/// The log of a run has a bound; beyond it the run ends, its program is stopped, and nothing of it was queued up.
pub(super) async fn floods() {
    let (gateway, client) = start().await;
    for worker in ["flood", "flood_of_long_lines"] {
        let (_, run) = run_with(client, worker, json!({})).await;
        let last = last_event(client, &run).await;
        assert_eq!(last["error"]["code"], "log_full", "{last:#}");
        let peak = gateway.peak_resident_bytes() >> 20;
        eprintln!("{worker}: the gateway's peak memory is {peak} MiB");
        assert!(peak < 300, "{peak} MiB");
    }
}

/// The continuation is started the moment the terminal event arrives.
pub(super) async fn input_after_complete() {
    let (_gateway, client) = start().await;
    let session = story::session(client).await;
    for _ in 0..200 {
        let said = json!({"sessionId": session, "input": "hello"});
        let answer = client.call("SubmitRunInput", said).await.unwrap();
        last_event(client, story::text(&answer["runId"])).await;
    }
}

/// Watches a run to its end and keeps nothing but its last event.
async fn last_event(client: Client, run: &str) -> Value {
    let mut watch = client.watch(run);
    loop {
        let event = watch.expect().await;
        if story::is_terminal(&event) {
            return event;
        }
    }
}
