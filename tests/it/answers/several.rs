//! Several requests of one run at a time.

use libtest_mimic::Trial;
use serde_json::json;

use super::{approval, asks, closings, door::Door, input, output, start, state_of, states, tool_call, until};
use crate::support::{client::Protocol, needs, story, tools::Tool, trial};

pub(super) fn trials() -> Vec<Trial> {
    let python = [Tool::Program("python3")];
    vec![
        needs(&python, trial("answers::open_requests_are_answered_in_any_order", any_order)),
        needs(&python, trial("answers::a_tool_call_by_a_used_name_is_answered_with_an_error", used_name)),
        trial("answers::what_a_program_asks_and_does_not_await_is_taken_back", asks_and_goes),
        trial("answers::of_two_calls_by_one_name_the_first_stays", same_name),
    ]
}

/// Five at once, answered by five protocols in another order than they were asked in. The oldest that is open is the state.
async fn any_order() {
    let (_gateway, client) = start().await;
    let say = json!([[tool_call("t1"), approval("a"), input("i1"), tool_call("t2"), input("i2")]]);
    let (session, run) = asks(client, "asks", &say).await;
    let mut watch = client.watch(&run);
    until(&mut watch, |it| it["inputRequired"]["requestId"] == "i2").await;
    assert_eq!(state_of(client, &run).await, "RUN_STATE_WAITING_TOOL");
    let words = |id: &str, text: &str| json!({"sessionId": session, "runId": run, "input": text, "inputRequestId": id});
    let over = Door::Client;
    over(Protocol::Connect).call(client, "SubmitRunInput", words("i2", "zwei")).await.unwrap();
    over(Protocol::Grpc).tool_result(client, &run, "t1", json!(1)).await.unwrap();
    assert_eq!(state_of(client, &run).await, "RUN_STATE_WAITING_APPROVAL");
    over(Protocol::GrpcWeb).tool_result(client, &run, "t2", json!(2)).await.unwrap();
    over(Protocol::ConnectJson).decide(client, &run, "a", "DECISION_REJECT", "no").await.unwrap();
    assert_eq!(state_of(client, &run).await, "RUN_STATE_WAITING_INPUT");
    // Without a name the oldest open question is meant.
    let unnamed = json!({"sessionId": session, "input": "eins"});
    over(Protocol::GrpcWebText).call(client, "SubmitRunInput", unnamed).await.unwrap();
    let log = story::log_of(client, &run).await;
    let order = [("INPUT", "i2"), ("TOOL", "t1"), ("TOOL", "t2"), ("APPROVAL", "a"), ("INPUT", "i1")];
    assert_eq!(closings(&log), order.map(|(kind, id)| (kind, id, "ANSWERED")));
    assert_eq!(
        states(&log),
        ["QUEUED", "RUNNING", "WAITING_TOOL", "WAITING_APPROVAL", "WAITING_INPUT", "RUNNING"]
    );
    let ids = ["request_id", "tool_call_id", "tool_call_id", "approval_id", "request_id"];
    let told = output(&log);
    for (place, (field, (_, id))) in ids.into_iter().zip(order).enumerate() {
        assert_eq!(told[place][field], id, "the program hears of each as it comes: {told:#}");
    }
    assert_eq!((&told[0]["text"], &told[4]["text"]), (&json!("zwei"), &json!("eins")));
}

/// A name is used once in a run, and what a tool is given has a bound. The program hears so; nobody else does.
async fn used_name() {
    let (_gateway, client) = start().await;
    let long = "x".repeat(129);
    // Short as JSON; as protobuf it does not fit into an event.
    let mut numbers = tool_call("n");
    numbers["args"] = json!(vec![1; 120_000]);
    let say = json!([[tool_call("t")], [tool_call("t"), tool_call(""), tool_call(&long), numbers]]);
    let (_, run) = asks(client, "asks", &say).await;
    let mut watch = client.watch(&run);
    until(&mut watch, |it| it["toolRequest"]["toolCallId"] == "t").await;
    Door::Client(Protocol::Grpc).tool_result(client, &run, "t", json!(1)).await.unwrap();
    let log = story::log_of(client, &run).await;
    let asked = log.iter().filter(|it| it["eventType"] == "EVENT_TYPE_TOOL_REQUEST").count();
    assert_eq!(asked, 1);
    let told = output(&log).as_array().unwrap();
    assert_eq!(told[0]["ok"], true);
    for it in &told[1..] {
        assert_eq!((&it["ok"], &it["code"]), (&json!(false), &json!("bad_request")), "{it:#}");
    }
}

/// A program that ends while it asks leaves nothing open: the run goes on, and waits for nobody in its name.
async fn asks_and_goes() {
    let (_gateway, client) = start().await;
    for _ in 0..20 {
        let session = story::session(client).await;
        let run = story::start(client, &session, "comes_after").await.unwrap();
        let mut watch = client.watch(&run);
        until(&mut watch, |it| it["inputRequired"]["requestId"] == "i").await;
        assert_eq!(states(&until(&mut watch, |it| it.get("state").is_some()).await), ["WAITING_INPUT"]);
        let words = json!({"sessionId": session, "input": "yes"});
        client.call("SubmitRunInput", words).await.unwrap();
        let log = story::log_of(client, &run).await;
        output(&log);
        // It may have ended before the gateway had read what it asks.
        let mut asked: Vec<_> = log
            .iter()
            .filter_map(|it| {
                it["toolRequest"]["toolCallId"].as_str().or(it["approvalRequired"]["approvalId"].as_str())
            })
            .collect();
        asked.sort_unstable();
        let mut withdrawn: Vec<_> =
            closings(&log).into_iter().filter(|it| it.2 == "WITHDRAWN").map(|it| it.1).collect();
        withdrawn.sort_unstable();
        assert_eq!(asked, withdrawn, "{log:#?}");
    }
}

/// The one who was refused ends, and does not take the other one's request along.
async fn same_name() {
    let (_gateway, client) = start().await;
    for _ in 0..5 {
        let run = story::run(client, "both").await;
        let mut watch = client.watch(&run);
        let seen = until(&mut watch, |it| it["eventType"] == "EVENT_TYPE_TOOL_REQUEST").await;
        let first = story::text(&seen.last().unwrap()["toolRequest"]["toolName"]).to_owned();
        let second = if first == "left" { "right" } else { "left" };
        let ended =
            |it: &serde_json::Value| it["node"]["workerKey"] == second && it["node"]["state"] == "succeeded";
        if !seen.iter().any(ended) {
            until(&mut watch, ended).await;
        }
        assert_eq!(state_of(client, &run).await, "RUN_STATE_WAITING_TOOL");
        Door::Client(Protocol::Grpc).tool_result(client, &run, "same", json!("mine")).await.unwrap();
        let log = story::log_of(client, &run).await;
        let inputs = &output(&log)["inputs"];
        assert_eq!(inputs[&first]["result"], "mine", "{log:#?}");
        assert_eq!(inputs[second]["code"], "bad_request");
        assert_eq!(closings(&log), [("TOOL", "same", "ANSWERED")]);
    }
}
