//! `hello`: which session a socket is in, who may say it, and how often.

use libtest_mimic::Trial;
use serde_json::json;

use crate::support::{
    client::{Client, Protocol},
    gateway::{Setup, shared},
    story, trial,
    websocket::Socket,
};

/// All tests of this module.
pub(super) fn trials() -> Vec<Trial> {
    vec![
        trial("websocket::hello_finds_or_makes_the_session", sessions),
        trial("websocket::nothing_is_possible_before_hello", before),
        trial("websocket::hello_is_said_once", twice),
        trial("websocket::a_wrong_key_is_told_and_a_right_one_opens", keys),
    ]
}

async fn sessions() {
    let gateway = shared().await;
    let client = Client::new(Protocol::Grpc, gateway.address());
    let session = story::session(client).await;
    let cookie = format!("rungate_session_id={session}");
    let headers = [("cookie", cookie.as_str())];

    let mut socket = Socket::open(gateway.address()).await;
    assert_eq!(socket.hello(json!({"session_id": session, "user_id": "ada"})).await, session);
    let read = client.call("GetSession", json!({"sessionId": session})).await.unwrap();
    assert_eq!(read["session"]["userId"], "ada");

    let mut socket = Socket::try_open(gateway.address(), &headers).await.unwrap();
    assert_eq!(socket.hello(json!({})).await, session);

    let (_, made) = Socket::greeted(gateway.address()).await;
    assert_ne!(made, session);
    client.call("GetSession", json!({"sessionId": made})).await.unwrap();

    // Never another session than the one that was named.
    let mut socket = Socket::try_open(gateway.address(), &headers).await.unwrap();
    let refused = socket.ask(json!({"type": "hello", "session_id": "nobody"})).await;
    assert_eq!((&refused["type"], &refused["code"]), (&json!("error"), &json!("not_found")));
    assert_eq!(socket.hello(json!({})).await, session);

    // A cookie that names no session makes a new one, as it does for InitRun.
    let stale = [("cookie", "rungate_session_id=nobody")];
    let mut socket = Socket::try_open(gateway.address(), &stale).await.unwrap();
    assert_ne!(socket.hello(json!({})).await, "nobody");
}

async fn before() {
    let mut socket = Socket::open(shared().await.address()).await;
    for message in [
        json!({"type": "ping"}),
        json!({"type": "watch", "run_id": "run_1"}),
        json!({"type": "agent_invoke", "agent_id": "test_pipeline", "message": {"role": "user", "content": ""}}),
    ] {
        let refused = socket.ask(message).await;
        assert_eq!((&refused["type"], &refused["code"]), (&json!("error"), &json!("session_required")));
    }
    socket.hello(json!({})).await;
    assert_eq!(socket.ask(json!({"type": "ping"})).await["type"], "ack");
    assert_eq!(socket.next().await["type"], "pong");
}

async fn twice() {
    let (mut socket, session) = Socket::greeted(shared().await.address()).await;
    let refused = socket.ask(json!({"type": "hello", "session_id": session})).await;
    assert_eq!((&refused["type"], &refused["code"]), (&json!("error"), &json!("failed_precondition")));
    let refused = socket.ask(json!({"type": "ping", "session_id": "another"})).await;
    assert_eq!(
        (&refused["reason"], &refused["code"]),
        (&json!("SESSION_DIFFERS"), &json!("failed_precondition"))
    );
    assert_eq!(socket.ask(json!({"type": "ping", "session_id": session})).await["type"], "ack");
}

async fn keys() {
    let gateway = Setup::default().config("[ws]\napi_key = \"secret-1\"\n").start().await;
    let mut socket = Socket::open(gateway.address()).await;
    for wrong in [json!({"type": "hello"}), json!({"type": "hello", "api_key": "secret-2"})] {
        let refused = socket.ask(wrong).await;
        assert_eq!((&refused["type"], &refused["code"]), (&json!("error"), &json!("unauthorized")));
        let refused = socket.ask(json!({"type": "ping"})).await;
        assert_eq!(refused["code"], "session_required");
    }
    socket.hello(json!({"api_key": "secret-1"})).await;
    assert!(!gateway.stderr().contains("secret-1"));
}
