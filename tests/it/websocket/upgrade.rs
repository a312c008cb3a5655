//! Who may open a socket.

use http::Request;
use http_body_util::Full;
use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::support::{
    gateway::{Setup, shared},
    http::{Version, get, send},
    trial,
    websocket::{End, Socket},
};

/// All tests of this module.
pub(super) fn trials() -> Vec<Trial> {
    vec![
        trial("websocket::pages_of_foreign_origins_are_refused", origins),
        trial("websocket::a_request_without_an_upgrade_is_told_to_ask_for_one", no_upgrade),
        trial("websocket::one_socket_too_many_is_refused", too_many),
    ]
}

fn refusal(refused: Result<Socket, http::Response<Vec<u8>>>) -> (u16, Value) {
    let refused = refused.err().expect("it is refused");
    (refused.status().as_u16(), serde_json::from_slice(refused.body()).unwrap_or_default())
}

async fn origins() {
    let gateway = shared().await;
    let own = gateway.url("");
    for origin in ["http://localhost:5173", own.as_str()] {
        let mut socket = Socket::try_open(gateway.address(), &[("origin", origin)]).await.unwrap();
        socket.hello(json!({})).await;
    }
    for origin in ["https://stranger.example", "null", "http://localhost.stranger.example:80"] {
        let (status, _) = refusal(Socket::try_open(gateway.address(), &[("origin", origin)]).await);
        assert_eq!(status, 403, "{origin}");
    }
}

async fn no_upgrade() {
    let gateway = shared().await;
    let refused = get(gateway.address(), "/ws").await;
    assert_eq!((refused.status.as_u16(), refused.header("sec-websocket-version")), (426, "13"));
    assert_eq!(refused.header("upgrade"), "websocket");
    assert_eq!(refused.json()["reason"], "UPGRADE_REQUIRED");
    let request = Request::get("/ws").body(Full::<bytes::Bytes>::default()).unwrap();
    let refused = send(gateway.address(), Version::Http2, request).await.unwrap();
    assert_eq!(refused.status, 426);
    let request = Request::post("/ws").body(Full::<bytes::Bytes>::default()).unwrap();
    let refused = send(gateway.address(), Version::Http1, request).await.unwrap();
    assert_eq!(refused.status, 405);
    let (status, _) = refusal(Socket::try_open(gateway.address(), &[("sec-websocket-version", "12")]).await);
    assert_eq!(status, 426);
}

async fn too_many() {
    let gateway = Setup::default().config("[ws]\nmost_sockets = 1\n").start().await;
    let (first, _) = Socket::greeted(gateway.address()).await;
    let refused = Socket::try_open(gateway.address(), &[]).await.err().unwrap();
    assert_eq!(refused.status(), 503);
    assert!(refused.headers()["retry-after"].to_str().unwrap().parse::<u64>().unwrap() > 0);
    assert_eq!(first.close().await, End::Code(1005));
    // The place is free as soon as the gateway has seen the end.
    loop {
        if let Ok(mut socket) = Socket::try_open(gateway.address(), &[]).await {
            socket.hello(json!({})).await;
            return;
        }
    }
}
