//! Real proxies in front of the gateway, as a plain configuration has them: each event arrives at the client before
//! the next one is produced.

mod server;

use std::time::Duration;

use libtest_mimic::Trial;
use serde_json::{Value, json};
use tokio::time::timeout;

use self::server::{Program, Server};
use crate::support::{
    client::{Client, Events, PROTOCOLS, Protocol},
    gateway::shared,
    needs, story,
    tools::Tool,
    trial,
};

/// Questions that the run asks, one after the other.
const QUESTIONS: usize = 5;
/// An event that takes longer is held back: nothing else comes that could push it out.
const PROMPT: Duration = Duration::from_secs(5);

/// All tests of this module.
pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for program in [Program::Nginx, Program::HaProxy] {
        for protocol in PROTOCOLS {
            let name = format!("proxies::{program}_holds_nothing_back::{protocol}");
            let test = trial(name, move || events_arrive_one_by_one(program, protocol));
            trials.push(needs(&[Tool::Program(program.name())], test));
        }
    }
    trials
}

/// A run says something only when it was answered, and it is answered when all that it said before has arrived.
async fn events_arrive_one_by_one(program: Program, protocol: Protocol) {
    let direct = Client::new(Protocol::Grpc, shared().await.address());
    let server = Server::start(program, direct.address()).await;
    let session = story::session(direct).await;
    let run = story::start(direct, &session, "ask_again").await.unwrap();
    let proxied = Client::new(protocol, server.address_for(protocol));
    let mut watch = proxied.watch(&run);
    let mut seen = Vec::new();
    for question in 1..=QUESTIONS {
        let name = question.to_string();
        let asked =
            until(&mut watch, &mut seen, |it| it["inputRequired"]["requestId"].as_str() == Some(&name));
        timeout(PROMPT, asked)
            .await
            .unwrap_or_else(|_| panic!("question {question} is held back; {seen:#?}"));
        let waits = until(&mut watch, &mut seen, |it| it["state"]["state"] == "RUN_STATE_WAITING_INPUT");
        timeout(PROMPT, waits).await.unwrap_or_else(|_| panic!("state {question} is held back; {seen:#?}"));
        let answer = json!({"sessionId": session, "runId": run, "input": "on"});
        direct.call("SubmitRunInput", answer).await.unwrap();
    }
    seen.extend(timeout(PROMPT, watch.all()).await.expect("the end is not held back"));
    assert_eq!(seen, story::log_of(direct, &run).await);
    // The finished run comes whole, and so does what follows a cursor.
    let middle = seen.len() / 2;
    assert_eq!(proxied.watch_after(&run, story::cursor(&seen[middle])).all().await, seen[middle + 1..]);
}

async fn until(watch: &mut Events, seen: &mut Vec<Value>, found: impl Fn(&Value) -> bool) {
    loop {
        let event = watch.expect().await;
        let done = found(&event);
        seen.push(event);
        if done {
            return;
        }
    }
}
