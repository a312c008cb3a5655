//! Messages that cannot be acted on.

use libtest_mimic::Trial;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::support::{
    gateway::shared,
    trial,
    websocket::{End, Socket},
};

/// All tests of this module.
pub(super) fn trials() -> Vec<Trial> {
    vec![
        trial("websocket::an_invalid_message_is_told_with_the_field", told),
        trial("websocket::too_many_invalid_messages_in_a_row_close_the_socket", too_many),
        trial("websocket::a_message_that_is_too_long_closes_the_socket", too_long),
        trial("websocket::texts_that_are_no_text_close_the_socket", not_text),
    ]
}

async fn told() {
    let (mut socket, _) = Socket::greeted(shared().await.address()).await;
    for (text, field, message) in [
        ("{", json!(null), "invalid JSON message"),
        (r#"{"type":"dance"}"#, json!("type"), "unknown message type: dance"),
        (r#"{"type":"cancel_run"}"#, json!("run_id"), "run_id is required"),
        (r#"{"type":"cancel_run","run_id":7}"#, json!("run_id"), "run_id is not a text"),
        (
            r#"{"type":"agent_invoke","request_id":"1","message":{}}"#,
            json!("agent_id"),
            "agent_id is required",
        ),
    ] {
        socket.send_text(text).await;
        let error = socket.next().await;
        assert_eq!((&error["type"], &error["code"]), (&json!("error"), &json!("invalid_message")));
        assert_eq!((&error["field"], &error["message"]), (&field, &json!(message)));
        assert_eq!(error.get("run_id"), None, "no error of a run");
        assert_eq!(error["retryable"], false);
    }
    socket.send_frame(Message::binary(vec![1, 2])).await;
    assert_eq!(socket.next().await["code"], "invalid_message");
    let unknown =
        json!({"type": "agent_invoke", "agent_id": "nobody", "message": {"role": "user", "content": ""}});
    let refused = socket.ask(unknown).await;
    assert_eq!((&refused["code"], &refused["reason"]), (&json!("invalid_message"), &json!("WORKER_UNKNOWN")));
    assert_eq!(socket.ask(json!({"type": "ping"})).await["type"], "ack", "the connection stays open");
}

async fn too_many() {
    let (mut socket, _) = Socket::greeted(shared().await.address()).await;
    for _ in 0..20 {
        socket.send_text("{").await;
        socket.next().await;
    }
    assert_eq!(socket.ask(json!({"type": "ping"})).await["type"], "ack", "a good one resets the count");
    for _ in 0..21 {
        socket.send_text("{").await;
    }
    let (rest, end) = socket.rest().await;
    assert_eq!(end, End::Code(1008));
    assert_eq!(rest.iter().filter(|it| it["code"] == "invalid_message").count(), 21, "{rest:#?}");
}

async fn too_long() {
    let (mut socket, _) = Socket::greeted(shared().await.address()).await;
    let message = |length: usize| {
        let message = json!({"type": "ping", "request_id": "1", "filler": ""}).to_string();
        let filler = "x".repeat(length - message.len());
        message.replace("\"filler\":\"\"", &format!("\"filler\":\"{filler}\""))
    };
    socket.send_text(&message(64 << 10)).await;
    assert_eq!(socket.next_of("ack").await["request_id"], "1");
    socket.send_text(&message((64 << 10) + 1)).await;
    assert_eq!(socket.rest().await.1, End::Code(1009));
}

async fn not_text() {
    use tokio_tungstenite::tungstenite::protocol::frame::{
        Frame,
        coding::{Data, OpCode},
    };
    let (mut socket, _) = Socket::greeted(shared().await.address()).await;
    let frame = Frame::message(vec![0xff, 0xfe], OpCode::Data(Data::Text), true);
    socket.send_frame(Message::Frame(frame)).await;
    assert_eq!(socket.rest().await.1, End::Code(1007));
}
