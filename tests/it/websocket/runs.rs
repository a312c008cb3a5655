//! Runs on a socket: the same events, numbers and cursors as on every other protocol.

use futures::future::join_all;
use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::support::{
    client::{Client, Protocol},
    gateway::shared,
    story, trial,
    websocket::{Socket, is_terminal},
};

/// All tests of this module.
pub(super) fn trials() -> Vec<Trial> {
    vec![
        trial("websocket::a_run_is_the_same_here_and_on_grpc", same_events),
        trial("websocket::the_answer_comes_once_and_before_the_first_event", answered_once),
        trial("websocket::the_same_invoke_again_is_the_same_run", idempotent),
        trial("websocket::a_run_is_watched_from_any_cursor_and_not_twice", watched),
        trial("websocket::a_run_is_cancelled", cancelled),
        trial("websocket::a_cut_socket_resumes_here_and_on_sse", resumed),
        trial("websocket::runs_that_cannot_be_resumed_are_told_and_the_others_go_on", not_resumed),
        trial("websocket::missed_events_come_before_live_ones", missed_first),
        trial("websocket::all_sockets_of_a_session_see_its_runs_once", one_session),
        trial("websocket::a_busy_session_rejects_enqueues_or_interrupts", busy),
    ]
}

fn client() -> impl Future<Output = Client> {
    async { Client::new(Protocol::Grpc, shared().await.address()) }
}

/// What every protocol says of an event.
fn place(event: &Value) -> (String, String) {
    match event.get("seq") {
        Some(seq) => (seq.to_string(), event["cursor"].as_str().unwrap().to_owned()),
        None => (story::text(&event["sequence"]).to_owned(), story::cursor(event).to_owned()),
    }
}

fn places(events: &[Value]) -> Vec<(String, String)> {
    events.iter().map(place).collect()
}

async fn same_events() {
    let client = client().await;
    for worker in ["speak", "fail", "test_pipeline"] {
        let (mut socket, session) = Socket::greeted(client.address()).await;
        let run = socket.invoke(worker, "").await;
        let events = socket.events_of(&run).await;
        assert_eq!(events[0]["type"], "run_started", "{events:#?}");
        assert_eq!(events[0]["agent_id"], worker);
        assert!(events[0]["request_id"].is_string(), "the run of this very message");
        let log = story::log_of(client, &run).await;
        assert_eq!(places(&events), places(&log));
        for (event, logged) in events.iter().zip(&log) {
            assert_eq!(event["session_id"], session.as_str());
            let ts = event["ts"].as_i64().expect("a whole number of milliseconds");
            assert!(ts > 1_600_000_000_000);
            let expected = match story::text(&logged["eventType"]).trim_start_matches("EVENT_TYPE_") {
                "COMPLETE" => "done",
                "STATE" if event["seq"] == 1 => "run_started",
                "NODE" => "progress",
                name => &name.to_lowercase(),
            };
            assert_eq!(event["type"], expected, "{event:#} {logged:#}");
            assert_eq!(event.get("view").is_some(), logged.get("clientView").is_some());
        }
        // What was started here is watched there, and the other way round.
        let (mut other, _) = Socket::greeted(client.address()).await;
        let ack = other.ask(json!({"type": "watch", "run_id": run})).await;
        assert_eq!((&ack["type"], &ack["run_id"]), (&json!("ack"), &json!(run)));
        let again = other.events_of(&run).await;
        assert_eq!(again[1..], events[1..]);
        assert_eq!(again[0].get("request_id"), None);
    }
    let started_there = story::run(client, "brief").await;
    let (mut socket, _) = Socket::greeted(client.address()).await;
    socket.ask(json!({"type": "watch", "run_id": started_there, "after": ""})).await;
    let events = socket.events_of(&started_there).await;
    assert_eq!(places(&events), places(&story::log_of(client, &started_there).await));
    let done = events.last().unwrap();
    assert_eq!(done["type"], "done");
    assert!(done["usage"]["duration_ms"].is_u64() && done["usage"]["total_tokens"].is_u64(), "{done:#}");
}

async fn answered_once() {
    let (mut socket, session) = Socket::greeted(shared().await.address()).await;
    socket
        .send(json!({"type": "agent_invoke", "request_id": "r1", "session_id": session, "agent_id": "brief",
            "message": {"role": "user", "content": "x"}, "ts": 1}))
        .await;
    let ack = socket.next().await;
    assert_eq!((&ack["type"], &ack["request_id"]), (&json!("ack"), &json!("r1")));
    assert_eq!(ack["session_id"], session.as_str());
    let started = socket.next().await;
    assert_eq!((&started["type"], &started["request_id"]), (&json!("run_started"), &json!("r1")));
    assert_eq!((&started["run_id"], &started["seq"]), (&ack["run_id"], &json!(1)));
    let run = story::text(&ack["run_id"]).to_owned();
    let rest = socket.events_of(&run).await;
    assert!(rest.iter().all(|it| it.get("request_id").is_none()), "{rest:#?}");
    // A second message, each kind of answer once, and nothing else.
    for (message, kind) in [
        (json!({"type": "ping"}), "ack"),
        (json!({"type": "watch", "run_id": "run_1"}), "error"),
        (json!({"type": "cancel_run", "run_id": run}), "ack"),
        (json!({"type": "unwatch", "run_id": run}), "ack"),
        (json!({"type": "nonsense"}), "error"),
        (json!({"type": "tool_result", "run_id": run, "tool_call_id": "t", "ok": true}), "error"),
    ] {
        let answer = socket.ask(message).await;
        assert_eq!(answer["type"], kind, "{answer:#}");
        let asked = answer["request_id"].clone();
        socket.ask(json!({"type": "ping"})).await;
        loop {
            let next = socket.next().await;
            assert_ne!(next.get("request_id"), Some(&asked), "answered twice");
            if next["type"] == "pong" {
                break;
            }
        }
        if asked == "request 1" {
            assert_eq!(socket.next().await["type"], "pong");
        }
    }
}

async fn idempotent() {
    let (mut socket, _) = Socket::greeted(shared().await.address()).await;
    let message = json!({"type": "agent_invoke", "agent_id": "brief", "idempotency_key": "k",
        "message": {"role": "user", "content": "x"}});
    let first = socket.ask(message.clone()).await;
    let run = story::text(&first["run_id"]).to_owned();
    let events = socket.events_of(&run).await;
    let second = socket.ask(message).await;
    assert_eq!(second["run_id"], first["run_id"]);
    assert_eq!(
        places(&socket.events_of(&run).await),
        places(&events),
        "told again, as nobody watches it any more"
    );
    let other = socket
        .ask(json!({"type": "agent_invoke", "agent_id": "fail", "idempotency_key": "k",
            "message": {"role": "user", "content": "x"}}))
        .await;
    assert_eq!((&other["type"], &other["code"]), (&json!("error"), &json!("failed_precondition")));
    assert_eq!(other["reason"], "IDEMPOTENCY_KEY_REUSED");
}

async fn watched() {
    let client = client().await;
    let (run, log) = story::finished(client, "speak").await;
    let (mut socket, _) = Socket::greeted(client.address()).await;
    let after = |cursor: &str| json!({"type": "watch", "run_id": run, "after": cursor});
    socket.ask(after(story::cursor(&log[2]))).await;
    assert_eq!(places(&socket.events_of(&run).await), places(&log)[3..]);
    // At the end there is nothing to tell.
    for cursor in ["now", story::cursor(log.last().unwrap())] {
        assert_eq!(socket.ask(after(cursor)).await["type"], "ack");
    }
    for (cursor, code) in [("garbage", "invalid_message"), ("0", "invalid_message")] {
        assert_eq!(socket.ask(after(cursor)).await["code"], code);
    }
    let unknown = json!({"type": "watch", "run_id": "run_00000000-0000-0000-0000-000000000000"});
    assert_eq!(socket.ask(unknown).await["code"], "not_found");

    let live = story::run(client, "linger").await;
    let watch = json!({"type": "watch", "run_id": live});
    assert_eq!(socket.ask(watch.clone()).await.get("already"), None);
    assert_eq!(socket.ask(watch).await["already"], true);
    assert_eq!(socket.ask(json!({"type": "unwatch", "run_id": live})).await["watched"], true);
    assert_eq!(socket.ask(json!({"type": "unwatch", "run_id": live})).await["watched"], false);
    let now = json!({"type": "watch", "run_id": live, "after": "now"});
    assert_eq!(socket.ask(now).await.get("already"), None);
    client.call("CancelRun", json!({"runId": live})).await.unwrap();
    let rest = socket.events_of(&live).await;
    assert_eq!(rest.last().unwrap()["type"], "cancelled");
    let all = story::log_of(client, &live).await;
    let mut told = places(&rest);
    told.dedup();
    assert_eq!(told.len(), rest.len(), "each once");
    assert_eq!(told.last(), places(&all).last());
}

async fn cancelled() {
    let (mut socket, _) = Socket::greeted(shared().await.address()).await;
    let run = socket.invoke("linger", "").await;
    while socket.next().await["message"] != "lingering" {}
    let ack = socket.ask(json!({"type": "cancel_run", "run_id": run, "reason": "enough"})).await;
    assert_eq!((&ack["type"], &ack["state"]), (&json!("ack"), &json!("cancelling")));
    let events = socket.events_of(&run).await;
    assert_eq!(events.last().unwrap()["type"], "cancelled");
    assert_eq!(events.last().unwrap()["reason"], "enough");
    let again = socket.ask(json!({"type": "cancel_run", "run_id": run})).await;
    assert_eq!(again["state"], "cancelled", "cancelling an ended run says so");
}

async fn resumed() {
    let client = client().await;
    let (mut socket, session) = Socket::greeted(client.address()).await;
    let run = socket.invoke("test_pipeline", "").await;
    let mut seen = Vec::new();
    while seen.len() < 4 {
        let event = socket.next().await;
        seen.extend((event["run_id"] == run.as_str()).then_some(event));
    }
    drop(socket);
    let cursor = seen.last().unwrap()["cursor"].as_str().unwrap().to_owned();
    let log = story::log_of(client, &run).await;

    let mut socket = Socket::open(client.address()).await;
    assert_eq!(socket.hello(json!({"session_id": session, "resume": {&run: cursor}})).await, session);
    let rest = socket.events_of(&run).await;
    assert_eq!([places(&seen), places(&rest)].concat(), places(&log));

    let sse = client.over(Protocol::Sse).watch_after(&run, &cursor).all().await;
    assert_eq!(places(&sse), places(&rest));
    // And with a cursor of another protocol.
    let mut socket = Socket::open(client.address()).await;
    socket.hello(json!({"resume": {&run: story::cursor(&sse[0])}})).await;
    assert_eq!(places(&socket.events_of(&run).await), places(&sse)[1..]);
}

async fn not_resumed() {
    let client = client().await;
    let (run, log) = story::finished(client, "brief").await;
    let (other, _) = story::finished(client, "brief").await;
    let unknown = "run_00000000-0000-0000-0000-000000000000";
    let mut socket = Socket::open(client.address()).await;
    let cursor = story::cursor(&log[0]);
    socket.hello(json!({"resume": {unknown: "", &other: cursor, "garbage": "", &run: cursor}})).await;
    let mut errors = Vec::new();
    for _ in 0..3 {
        let error = socket.next().await;
        assert_eq!((&error["type"], error.get("seq")), (&json!("error"), None), "{error:#}");
        errors.push((error["run_id"].clone(), error["code"].clone()));
    }
    let expected = [(unknown, "not_found"), (&other, "invalid_message"), ("garbage", "not_found")];
    assert_eq!(errors, expected.map(|(run, code)| (json!(run), json!(code))));
    assert_eq!(places(&socket.events_of(&run).await), places(&log)[1..]);
}

async fn missed_first() {
    let client = client().await;
    let (first, log_1) = story::finished(client, "speak").await;
    let (second, log_2) = story::finished(client, "speak").await;
    let live = story::run(client, "test_pipeline").await;
    let mut socket = Socket::open(client.address()).await;
    socket.hello(json!({"resume": {&second: "", &first: story::cursor(&log_1[1]), &live: "now"}})).await;
    let mut told = Vec::new();
    while told.len() < log_2.len() + log_1.len() - 2 {
        told.push(socket.next().await);
    }
    let expected = [places(&log_2), places(&log_1)[2..].to_vec()].concat();
    assert_eq!(places(&told), expected, "run by run, in the order in which they were named");
    assert!(is_terminal(socket.events_of(&live).await.last().unwrap()));
}

async fn one_session() {
    let client = client().await;
    let (mut first, session) = Socket::greeted(client.address()).await;
    let mut others = Vec::new();
    for _ in 0..3 {
        let mut socket = Socket::open(client.address()).await;
        socket.hello(json!({"session_id": session})).await;
        others.push(socket);
    }
    let (mut stranger, _) = Socket::greeted(client.address()).await;
    // Begun by a socket, and begun over another protocol.
    let here = first.invoke("speak", "").await;
    let own = first.events_of(&here).await;
    let there = story::start(client, &session, "brief").await.unwrap();
    first.events_of(&there).await;
    let seen = join_all(
        others.iter_mut().map(async |socket| [socket.events_of(&here).await, socket.events_of(&there).await]),
    );
    for [of_here, of_there] in seen.await {
        assert_eq!(of_here[1..], own[1..]);
        assert_eq!(of_here[0].get("request_id"), None, "the message was another socket's");
        assert_eq!(places(&of_there), places(&story::log_of(client, &there).await));
    }
    // Nothing comes twice, and nothing of other sessions.
    for socket in others.iter_mut().chain([&mut first, &mut stranger]) {
        socket.ask(json!({"type": "ping"})).await;
        assert_eq!(socket.next().await["type"], "pong");
    }
}

async fn busy() {
    let (mut socket, _) = Socket::greeted(shared().await.address()).await;
    let invoke = |if_busy: &str| {
        json!({"type": "agent_invoke", "agent_id": "linger", "if_busy": if_busy,
            "message": {"role": "user", "content": ""}})
    };
    let holding = socket.ask(invoke("reject")).await["run_id"].clone();
    let refused = socket.ask(invoke("")).await;
    assert_eq!(
        (&refused["code"], &refused["reason"]),
        (&json!("failed_precondition"), &json!("SESSION_BUSY"))
    );
    let waiting = socket.ask(invoke("ENQUEUE")).await;
    assert_eq!((&waiting["type"], &waiting["state"]), (&json!("ack"), &json!("queued")));
    let next = socket.ask(invoke("interrupt")).await;
    assert_eq!(next["type"], "ack", "{next:#}");
    let ended = socket.events_of(story::text(&holding)).await;
    assert_eq!(ended.last().unwrap()["type"], "cancelled");
    for run in [&waiting["run_id"], &next["run_id"]] {
        socket.ask(json!({"type": "cancel_run", "run_id": run})).await;
    }
}
