//! The gateway ends and is back, the orchestrator lives on: its runs go on where they are.

use std::path::Path;

use serde_json::{Value, json};

use super::{
    Pusher, Reference,
    asks::{answer_tool, approval, decide, input, say, tool},
    error, gateway, last, texts,
};
use crate::support::{
    client::{Client, Protocol},
    gateway::{End, Gateway},
    story,
};

const CONFIG: &str = r#"
[runner]
cancel_grace = "2s"
[tools]
rules = [{ tool = "send", policy = "require_approval" }]
[workers.after]
command = ["sh", "-c", "read -r task"]
requires = ["agent"]
[workers.source]
command = ["sh", "-c", "read -r task; echo '{\"type\":\"result\",\"output\":7}'"]
"#;

/// A gateway that has an orchestrator, and a run of it.
struct Life {
    gateway: Gateway,
    pusher: Pusher,
    run: String,
}

impl Life {
    async fn begin(orchestrator: &Reference, data: &Path, pipeline: &str) -> Self {
        let (gateway, internal) = gateway(&workers(orchestrator), CONFIG, Some(data)).await;
        let client = Client::new(Protocol::Grpc, gateway.address());
        let session = story::session(client).await;
        let run = story::start(client, &session, pipeline).await.unwrap();
        let theirs = orchestrator.started(&run).await;
        let pusher = Pusher { gateway: internal, session, run: theirs, token: None };
        Self { gateway, pusher, run }
    }

    /// The gateway that comes after.
    async fn next(self, end: End, orchestrator: &Reference, data: &Path) -> Self {
        let Self { gateway: before, pusher, run } = self;
        end.of(&before).await;
        let (gateway, internal) = gateway(&workers(orchestrator), CONFIG, Some(data)).await;
        Self { gateway, pusher: Pusher { gateway: internal, ..pusher }, run }
    }

    fn client(&self) -> Client {
        Client::new(Protocol::Grpc, self.gateway.address())
    }

    async fn log(&self) -> Vec<Value> {
        story::log_of(self.client(), &self.run).await
    }
}

fn workers(orchestrator: &Reference) -> String {
    orchestrator.config("") + &orchestrator.config_of("chained", "requires = [\"source\"]")
}

fn with_id(mut event: Value, event_id: &str) -> Value {
    event["event_id"] = json!(event_id);
    event
}

/// Each kind of request is open when the gateway ends, and is answered when it is back.
pub(super) async fn asked_before(end: End) {
    let (orchestrator, data) = (Reference::start().await, tempfile::tempdir().unwrap());
    let life = Life::begin(&orchestrator, data.path(), "agent").await;
    life.pusher.push(with_id(json!({"type": "delta", "text": "a"}), "1")).await;
    life.pusher.push(json!({"type": "progress", "percent": 30})).await;
    life.pusher.push(with_id(tool("tc_1", "look"), "2")).await;
    life.pusher.push(approval("ap_1")).await;
    life.pusher.push(input("in_1")).await;
    life.pusher.push(with_id(tool("tc_2", "send"), "3")).await;
    let seen = life.client().watch(&life.run).take(4).await;
    let life = life.next(end, &orchestrator, data.path()).await;
    let (client, run) = (life.client(), life.run.clone());
    let read = client.call("GetRun", json!({"runId": run})).await.unwrap();
    assert_eq!(read["run"]["state"], "RUN_STATE_WAITING_TOOL", "it is where it was");
    // What had been pushed before comes again, as after a lost answer.
    life.pusher.push(with_id(json!({"type": "delta", "text": "a"}), "1")).await;
    for again in [with_id(tool("tc_1", "look"), "2"), with_id(tool("tc_2", "send"), "3"), approval("ap_1")] {
        life.pusher.push(again).await;
    }
    life.pusher.push(with_id(json!({"type": "delta", "text": "b"}), "4")).await;
    answer_tool(client, &run, "tc_1").await;
    assert_eq!(orchestrator.submitted("tool_calls", "tc_1").await["status"], "SUCCEEDED");
    decide(client, &run, "ap_1", "DECISION_REJECT").await;
    assert_eq!(orchestrator.submitted("approvals", "ap_1").await["decision"], "reject");
    say(client, &life.pusher.session, &run, "seven").await;
    assert_eq!(orchestrator.submitted("inputs", "in_1").await["text"], "seven");
    decide(client, &run, "ap_tc_2", "DECISION_APPROVE").await;
    let mut watch = client.watch(&run);
    let asked = loop {
        let event = watch.expect().await;
        if event["toolRequest"]["toolCallId"] == "tc_2" {
            break event;
        }
    };
    assert_eq!(asked["toolRequest"]["args"], json!({"n": 1.0}), "the arguments are known again");
    answer_tool(client, &run, "tc_2").await;
    assert_eq!(orchestrator.submitted("tool_calls", "tc_2").await["status"], "SUCCEEDED");
    life.pusher.push(json!({"type": "done"})).await;
    let log = life.log().await;
    assert_eq!(log[..4], seen, "the log goes on");
    assert_eq!((texts(&log).as_str(), &last(&log)["eventType"]), ("ab", &json!("EVENT_TYPE_COMPLETE")));
    let states: Vec<_> = log.iter().filter_map(|it| it["state"]["state"].as_str()).collect();
    assert!(!states[1..].contains(&"RUN_STATE_QUEUED"), "nothing begins again: {states:?}");
    assert!(log.iter().all(|it| it["message"] != "tool result no longer awaited"), "{log:#?}");
    assert_eq!(orchestrator.called("/internal/invoke", 1).await.len(), 1, "it was started once");
    assert!(!orchestrator.calls().iter().any(|it| it.path.ends_with("/cancel")), "nobody has cancelled it");
    let session = client.call("GetSession", json!({"sessionId": life.pusher.session})).await.unwrap();
    assert_eq!(session["session"]["running"], Value::Null, "the session is free");
}

/// Answers that the client was told are taken, and that the orchestrator has not heard when the gateway ends.
pub(super) async fn answered_before(end: End) {
    let (orchestrator, data) = (Reference::start().await, tempfile::tempdir().unwrap());
    let life = Life::begin(&orchestrator, data.path(), "agent").await;
    let (client, run) = (life.client(), life.run.clone());
    for asked in
        [tool("tc_0", "look"), tool("tc_1", "look"), approval("ap_1"), input("in_1"), tool("tc_2", "send")]
    {
        life.pusher.push(asked).await;
    }
    answer_tool(client, &run, "tc_0").await;
    orchestrator.submitted("tool_calls", "tc_0").await;
    // With the first of these that comes after its answer the log knows that it has heard.
    for _ in 0..8 {
        life.pusher.push(json!({"type": "log", "message": "heard"})).await;
    }
    orchestrator.fail(&[503; 64]);
    answer_tool(client, &run, "tc_1").await;
    decide(client, &run, "ap_1", "DECISION_APPROVE").await;
    say(client, &life.pusher.session, &run, "seven").await;
    decide(client, &run, "ap_tc_2", "DECISION_REJECT").await;
    end.of(&life.gateway).await;
    orchestrator.recover();
    let life = life.next(End::Kill, &orchestrator, data.path()).await;
    assert_eq!(orchestrator.submitted("tool_calls", "tc_1").await["result"], json!({"n": [1, "a"]}));
    assert_eq!(orchestrator.submitted("approvals", "ap_1").await["decision"], "approve");
    assert_eq!(orchestrator.submitted("inputs", "in_1").await["text"], "seven");
    assert_eq!(orchestrator.submitted("tool_calls", "tc_2").await["error"]["code"], "rejected");
    let heard = orchestrator.called("/internal/tool_calls/tc_0/submit", 1).await;
    assert_eq!(heard.len(), 1, "what it is known to have heard is not repeated");
    life.pusher.push(json!({"type": "done"})).await;
    assert_eq!(last(&life.log().await)["eventType"], "EVENT_TYPE_COMPLETE");
}

/// The start had arrived, its answer had not: the orchestrator knows the request again.
pub(super) async fn started_before() {
    let (orchestrator, data) = (Reference::start().await, tempfile::tempdir().unwrap());
    orchestrator.hold_starts(true);
    let life = Life::begin(&orchestrator, data.path(), "agent").await;
    let life = life.next(End::Kill, &orchestrator, data.path()).await;
    orchestrator.hold_starts(false);
    life.pusher.push(json!({"type": "done", "output": "once"})).await;
    assert_eq!(last(&life.log().await)["result"]["output"], "once");
    let starts = orchestrator.called("/internal/invoke", 2).await;
    assert_eq!(starts[0].body["request_id"], starts[1].body["request_id"]);
}

/// Who asked for the end gets it, and the orchestrator is told.
pub(super) async fn cancelled_before() {
    let (orchestrator, data) = (Reference::start().await, tempfile::tempdir().unwrap());
    let life = Life::begin(&orchestrator, data.path(), "agent").await;
    life.pusher.push(json!({"type": "log", "message": "at work"})).await;
    orchestrator.fail(&[503; 64]);
    life.client().call("CancelRun", json!({"runId": life.run})).await.unwrap();
    life.gateway.kill();
    orchestrator.recover();
    let before = orchestrator.calls().len();
    let life = life.next(End::Kill, &orchestrator, data.path()).await;
    let log = life.log().await;
    assert_eq!(last(&log)["eventType"], "EVENT_TYPE_CANCELLED", "{log:#?}");
    assert!(orchestrator.calls()[before..].iter().any(|it| it.path.ends_with("/cancel")));
}

/// Of a run with several workers the others are gone.
pub(super) async fn one_of_several(end: End) {
    for pipeline in ["after", "chained"] {
        let (orchestrator, data) = (Reference::start().await, tempfile::tempdir().unwrap());
        let life = Life::begin(&orchestrator, data.path(), pipeline).await;
        let inputs = &orchestrator.calls()[0].body["context"]["inputs"];
        let wanted = if pipeline == "chained" { json!({"source": 7}) } else { json!({}) };
        assert_eq!(inputs, &wanted);
        life.pusher.push(json!({"type": "log", "message": "at work"})).await;
        let life = life.next(end, &orchestrator, data.path()).await;
        assert_eq!(error(&life.log().await).0, "interrupted");
        assert_eq!(life.pusher.refused(json!({"type": "done"}), 404).await.0, "RUN_NOT_FOUND");
    }
}
