//! How sockets end: pings, dead peers, the drain of the gateway, the client's own close.

use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use rustix::process::Signal;
use serde_json::json;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::Message;

use crate::support::{
    client::{Client, Protocol},
    gateway::{Setup, WORKERS, shared},
    story, trial,
    websocket::{End, Socket},
};

/// All tests of this module.
pub(super) fn trials() -> Vec<Trial> {
    vec![
        trial("websocket::a_close_is_answered", closed),
        trial("websocket::pings_keep_a_silent_client", pings),
        trial("websocket::a_client_that_says_nothing_at_all_is_dead", dead),
        trial("websocket::the_drain_answers_what_is_under_way_and_closes", drain),
        trial("websocket::the_drain_does_not_wait_for_a_client_that_does_not_read", drain_of_silent),
        trial("websocket::a_run_outlives_its_socket", outlives),
        trial("websocket::a_run_that_is_to_end_with_its_watchers_does", ends_with_it),
    ]
}

async fn closed() {
    let (socket, _) = Socket::greeted(shared().await.address()).await;
    let begun = Instant::now();
    assert_eq!(socket.close().await, End::Code(1005));
    assert!(begun.elapsed() < Duration::from_secs(2), "at once");
}

async fn pings() {
    let config = "[ws]\nping_interval = \"100ms\"\ndead_after = \"1s\"\n";
    let gateway = Setup::default().config(config).start().await;
    let (mut socket, _) = Socket::greeted(gateway.address()).await;
    let begun = Instant::now();
    let mut pings = 0;
    // Longer than a socket lives whose client does not answer.
    while begun.elapsed() < Duration::from_millis(2500) {
        pings += usize::from(matches!(socket.frame().await, Some(Message::Ping(_))));
    }
    assert!((5..40).contains(&pings), "{pings}");
    assert_eq!(socket.ask(json!({"type": "ping"})).await["type"], "ack");
    // The client's own pings are answered too.
    socket.send_frame(Message::Ping("x".into())).await;
    while !matches!(socket.frame().await, Some(Message::Pong(payload)) if &payload[..] == b"x") {}
}

async fn dead() {
    let config = "[ws]\nping_interval = \"100ms\"\ndead_after = \"600ms\"\n";
    let gateway = Setup::default().config(config).start().await;
    let (mut socket, _) = Socket::greeted(gateway.address()).await;
    // Nobody reads, so nobody answers.
    sleep(Duration::from_millis(1500)).await;
    assert_eq!(socket.rest().await.1, End::Code(4408));
}

async fn drain() {
    let gateway = Setup::default().config(WORKERS).start().await;
    let (mut watching, _) = Socket::greeted(gateway.address()).await;
    watching.invoke("linger", "").await;
    let mut new = Socket::open(gateway.address()).await;
    while watching.next().await["message"] != "lingering" {}
    gateway.signal(Signal::TERM);
    for socket in [&mut watching, &mut new] {
        assert_eq!(socket.rest().await.1, End::Code(1001));
    }
    assert_eq!(gateway.ended().await.code(), Some(0));
}

async fn drain_of_silent() {
    let config = format!("{}\n[connections]\ndrain_timeout = \"1s\"\n", super::turns::WORKERS);
    let gateway = Setup::default().config(&config).start().await;
    let mut socket = Socket::open_narrow(gateway.address()).await;
    socket.hello(json!({})).await;
    let run = socket.invoke("flood", "").await;
    let mut quick = Socket::open(gateway.address()).await;
    quick.hello(json!({"resume": {&run: ""}})).await;
    quick.events_of(&run).await;
    gateway.signal(Signal::TERM);
    let ended = timeout(Duration::from_secs(10), gateway.ended()).await.expect("the drain is bounded");
    assert_eq!(ended.code(), Some(0));
}

async fn outlives() {
    let gateway = shared().await;
    let (mut socket, session) = Socket::greeted(gateway.address()).await;
    let run = socket.invoke("test_pipeline", "").await;
    drop(socket);
    let mut socket = Socket::open(gateway.address()).await;
    socket.hello(json!({"session_id": session, "resume": {&run: ""}})).await;
    assert_eq!(socket.events_of(&run).await.last().unwrap()["type"], "done");
}

/// The client that starts the run is its first watcher; one that comes in time, on another protocol, keeps it alive.
async fn ends_with_it() {
    let gateway =
        Setup::default().config(WORKERS).environment("RUNGATE_WATCH_DISCONNECT_GRACE", "1s").start().await;
    let (mut socket, _) = Socket::greeted(gateway.address()).await;
    let invoke = json!({"type": "agent_invoke", "agent_id": "linger", "message": {"role": "user", "content": ""},
        "cancel_on_disconnect": true});
    let run = socket.ask(invoke).await["run_id"].as_str().unwrap().to_owned();
    sleep(Duration::from_millis(1500)).await;
    let client = Client::new(Protocol::Sse, gateway.address());
    let mut watch = client.watch(&run);
    watch.expect().await;
    socket.close().await;
    sleep(Duration::from_millis(1500)).await;
    let reader = Client::new(Protocol::Grpc, gateway.address());
    let state = async || reader.call("GetRun", json!({"runId": run})).await.unwrap()["run"]["state"].clone();
    assert_eq!(state().await, "RUN_STATE_RUNNING");
    drop(watch);
    while state().await != "RUN_STATE_CANCELLED" {
        sleep(Duration::from_millis(50)).await;
    }
    let log = story::log_of(reader, &run).await;
    assert_eq!(log.last().unwrap()["message"], "nobody watches the run any more");
}
