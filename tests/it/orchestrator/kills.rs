//! A gateway that is killed again and again under an orchestrator that goes on.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use super::{Pusher, Reference, asks::tool, last, texts};
use crate::support::{
    client::{Client, Protocol},
    gateway::Setup,
    ports::quiet_address,
    story,
};

/// What is pushed, and after how many pieces a tool is called.
const PIECES: usize = 300;
const CALL_EVERY: usize = 10;
/// Milliseconds between a start of the gateway and the kill that follows.
const LIVES: [u64; 6] = [70, 160, 20, 240, 110, 45];

/// Pushes until it is taken. The end may be taken and its answer lost: then there is no such run any more.
async fn insist(pusher: &Pusher, event: Value) {
    let is_end = event["type"] == "done";
    loop {
        match pusher.attempt(event.clone()).await {
            Some(answer) if answer.status == 200 => return,
            Some(answer) if is_end && [404, 409].contains(&answer.status.as_u16()) => return,
            Some(answer) => assert!(answer.status == 503, "{event}: {}", answer.text()),
            None => {}
        }
        sleep(Duration::from_millis(10)).await;
    }
}

/// Answers until the answer is taken; the same again is taken too.
async fn answer(client: Client, run: &str, id: &str) {
    let result = json!({"runId": run, "toolCallId": id, "ok": true, "result": id});
    while client.call("SubmitToolResult", result.clone()).await.is_err() {
        sleep(Duration::from_millis(10)).await;
    }
}

pub(super) async fn nothing_lost() {
    let (orchestrator, data) = (Reference::start().await, tempfile::tempdir().unwrap());
    let (listen, internal) = (quiet_address(), quiet_address());
    let start = || {
        let setup = Setup::default().config(&orchestrator.config("")).data(data.path()).listen(listen);
        setup.environment("RUNGATE_INTERNAL_LISTEN", internal.to_string()).start()
    };
    let mut gateway = start().await;
    let client = Client::new(Protocol::ConnectJson, listen);
    let session = story::session(client).await;
    let run = story::start(client, &session, "agent").await.unwrap();
    let theirs = orchestrator.started(&run).await;
    let pusher = Pusher { gateway: internal, session, run: theirs, token: None };
    let agent = async {
        for place in 0..PIECES {
            let piece =
                json!({"type": "delta", "text": format!("{place} "), "event_id": format!("e{place}")});
            insist(&pusher, piece).await;
            if place % CALL_EVERY == 0 {
                let id = format!("tc_{place}");
                insist(&pusher, tool(&id, "look")).await;
                answer(client, &run, &id).await;
                let told = orchestrator.submitted("tool_calls", &id).await;
                assert_eq!(told, json!({"status": "SUCCEEDED", "result": id}));
            }
        }
        insist(&pusher, json!({"type": "done", "event_id": "end"})).await;
    };
    let kills = async {
        for life in LIVES {
            sleep(Duration::from_millis(life)).await;
            gateway.kill();
            gateway = start().await;
        }
        gateway
    };
    let ((), gateway) = tokio::join!(agent, kills);
    let log = story::log_of(Client::new(Protocol::Grpc, gateway.address()), &run).await;
    let expected: String = (0..PIECES).map(|it| format!("{it} ")).collect();
    assert_eq!(texts(&log), expected, "each piece once, in order");
    assert_eq!(log.iter().filter(|it| it.get("toolRequest").is_some()).count(), PIECES.div_ceil(CALL_EVERY));
    assert_eq!(last(&log)["eventType"], "EVENT_TYPE_COMPLETE");
    // Once when it begins, once when the orchestrator has named it, and once in each further life.
    let begun = log.iter().filter(|it| it["node"]["state"] == "running").count();
    assert!(begun > 4, "it ended before the kills: {begun}");
}
