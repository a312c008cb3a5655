//! What every protocol owes its clients and its handlers, over real sockets.

mod probe;
mod wire;

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use http::header::CONTENT_TYPE;
use http_body_util::Full;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::Status;

use self::probe::{CHECK, Gateway, MESSAGE_BYTES, WATCH, serving};
use self::wire::{Client, EVERY_WIRE, Finished, PATIENCE, Wire, framed, next_chunk};

#[tokio::test]
async fn a_message_is_forwarded_as_soon_as_it_is_there() {
    for wire in EVERY_WIRE {
        let gateway = Gateway::start().await;
        let mut client = Client::connect(gateway.address, wire).await;
        let mut answer = client.call(WATCH, "", &[]).await;
        for _ in 0..3 {
            // The next message is sent only when this one has arrived: held back, it would never arrive.
            gateway.watcher.send(Ok(serving())).await.unwrap();
            next_chunk(answer.body_mut()).await;
        }
    }
}

#[tokio::test]
async fn a_stream_is_dropped_when_its_client_goes_away() {
    for wire in EVERY_WIRE {
        let gateway = Gateway::start().await;
        let mut client = Client::connect(gateway.address, wire).await;
        let mut answer = client.call(WATCH, "", &[]).await;
        gateway.watcher.send(Ok(serving())).await.unwrap();
        next_chunk(answer.body_mut()).await;
        drop((answer, client));
        let dropped = tokio::time::timeout(PATIENCE, gateway.watcher.closed()).await;
        assert!(dropped.is_ok(), "{wire:?}");
    }
}

#[tokio::test]
async fn a_deadline_ends_a_call_that_does_not_answer() {
    for wire in EVERY_WIRE {
        let gateway = Gateway::start().await;
        let (header, value) = wire.timeout(50);
        let mut client = Client::connect(gateway.address, wire).await;
        let answer = client.call(CHECK, "never answers", &[(header, &value)]).await;
        let finished = Finished::of(wire, answer).await;
        assert_eq!(finished.code(), "deadline_exceeded", "{wire:?} {finished:?}");
        let connect = matches!(wire, Wire::ConnectProto | Wire::ConnectJson);
        assert_eq!(finished.http_status, if connect { 504 } else { 200 }, "{wire:?}");
    }
}

#[tokio::test]
async fn a_deadline_ends_a_stream_and_drops_it() {
    for wire in EVERY_WIRE {
        let gateway = Gateway::start().await;
        let (header, value) = wire.timeout(300);
        let mut client = Client::connect(gateway.address, wire).await;
        let mut answer = client.call(WATCH, "", &[(header, &value)]).await;
        gateway.watcher.send(Ok(serving())).await.unwrap();
        next_chunk(answer.body_mut()).await;
        let finished = Finished::of(wire, answer).await;
        assert_eq!(finished.code(), "deadline_exceeded", "{wire:?} {finished:?}");
        let dropped = tokio::time::timeout(PATIENCE, gateway.watcher.closed()).await;
        assert!(dropped.is_ok(), "{wire:?}");
    }
}

#[tokio::test]
async fn a_deadline_that_cannot_be_read_is_refused() {
    for wire in [Wire::Grpc, Wire::GrpcWeb, Wire::GrpcWebText] {
        let gateway = Gateway::start().await;
        let mut client = Client::connect(gateway.address, wire).await;
        let answer = client.call(CHECK, "", &[("grpc-timeout", "soon")]).await;
        assert_eq!(Finished::of(wire, answer).await.code(), "invalid_argument", "{wire:?}");
    }
}

#[tokio::test]
async fn cookies_and_forwarding_headers_and_extensions_pass() {
    let sent = [("cookie", "first=1"), ("x-forwarded-for", "192.0.2.1"), ("x-forwarded-proto", "https")];
    for wire in EVERY_WIRE {
        for (method, service) in
            [(CHECK, ""), (CHECK, "fails"), (CHECK, "fails without trailers"), (WATCH, "")]
        {
            let mut gateway = Gateway::start().await;
            let mut client = Client::connect(gateway.address, wire).await;
            let answer = client.call(method, service, &sent).await;
            // Ends the watch.
            gateway.watcher = tokio::sync::mpsc::channel(1).0;
            let finished = Finished::of(wire, answer).await;
            let case = format!("{wire:?} {method} {service} {finished:?}");
            assert_eq!(finished.code(), if service.is_empty() { "ok" } else { "not_found" }, "{case}");
            assert_eq!(finished.all("set-cookie"), ["first=1", "second=2; HttpOnly"], "{case}");
            assert_eq!(finished.all("x-forwarded-for"), ["192.0.2.1"], "{case}");
            assert_eq!(finished.all("x-forwarded-proto"), ["https"], "{case}");
            assert_eq!(finished.all("x-seen"), ["by the layer in front"], "{case}");
        }
    }
}

#[tokio::test]
async fn trailers_come_after_the_answer_on_success_and_on_error() {
    for wire in EVERY_WIRE {
        for service in ["", "fails"] {
            let gateway = Gateway::start().await;
            let mut client = Client::connect(gateway.address, wire).await;
            let answer = client.call(CHECK, service, &[]).await;
            let finished = Finished::of(wire, answer).await;
            let arrived = match wire {
                Wire::Grpc | Wire::GrpcJson => finished.trailers.contains_key("x-last-word"),
                Wire::GrpcWeb | Wire::GrpcWebText => finished.text.contains("x-last-word:bye"),
                Wire::ConnectProto | Wire::ConnectJson => {
                    finished.headers.contains_key("trailer-x-last-word")
                }
            };
            assert!(
                arrived && !finished.headers.contains_key("x-last-word"),
                "{wire:?} {service} {finished:?}"
            );
        }
    }
}

#[tokio::test]
async fn error_details_reach_connect_clients() {
    for wire in [Wire::ConnectProto, Wire::ConnectJson] {
        let gateway = Gateway::start().await;
        let mut client = Client::connect(gateway.address, wire).await;
        let answer = client.call(CHECK, "fails", &[]).await;
        let finished = Finished::of(wire, answer).await;
        assert_eq!(finished.http_status, 404);
        let error: serde_json::Value = serde_json::from_str(&finished.text).unwrap();
        assert_eq!(error["message"], "no such session");
        assert_eq!(error["details"][0]["type"], "google.rpc.ErrorInfo");
        assert!(error["details"][0]["value"].is_string());
    }
}

#[tokio::test]
async fn a_stream_that_fails_tells_why_after_its_messages() {
    for wire in EVERY_WIRE {
        let gateway = Gateway::start().await;
        let mut client = Client::connect(gateway.address, wire).await;
        let mut answer = client.call(WATCH, "", &[]).await;
        gateway.watcher.send(Ok(serving())).await.unwrap();
        next_chunk(answer.body_mut()).await;
        gateway.watcher.send(Err(Status::not_found("gone"))).await.unwrap();
        assert_eq!(Finished::of(wire, answer).await.code(), "not_found", "{wire:?}");
    }
}

#[tokio::test]
async fn a_message_over_the_limit_is_resource_exhausted() {
    for wire in EVERY_WIRE {
        let gateway = Gateway::start().await;
        let mut client = Client::connect(gateway.address, wire).await;
        let large = "x".repeat(MESSAGE_BYTES + 1);
        let answer = client.call(CHECK, &large, &[]).await;
        assert_eq!(Finished::of(wire, answer).await.code(), "resource_exhausted", "{wire:?}");
    }
}

#[tokio::test]
async fn json_that_is_none_is_refused_with_its_place() {
    let gateway = Gateway::start().await;
    let mut client = Client::connect(gateway.address, Wire::ConnectJson).await;
    let request = Request::post(CHECK).header(CONTENT_TYPE, "application/json");
    let body = Full::new(Bytes::from_static(br#"{"service": 7}"#));
    let answer = client.send(request.body(body).unwrap()).await;
    let finished = Finished::of(Wire::ConnectJson, answer).await;
    assert_eq!(finished.http_status, 400);
    assert!(finished.text.contains("grpc.health.v1.HealthCheckRequest: line 1"), "{}", finished.text);
}

#[tokio::test]
async fn a_message_that_is_cut_into_bytes_is_put_together() {
    let gateway = Gateway::start().await;
    let mut socket = TcpStream::connect(gateway.address).await.unwrap();
    let head = format!(
        "POST {CHECK} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/grpc-web\r\n\
         transfer-encoding: chunked\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    for byte in framed(b"\x0a\x03abc".to_vec()) {
        socket.write_all(&[b'1', b'\r', b'\n', byte, b'\r', b'\n']).await.unwrap();
    }
    socket.write_all(b"0\r\n\r\n").await.unwrap();
    assert!(read_to_end(socket).await.contains("grpc-status:0"));
}

#[tokio::test]
async fn an_early_answer_on_http_1_waits_for_a_client_that_is_still_sending() {
    let gateway = Gateway::start().await;
    let mut socket = TcpStream::connect(gateway.address).await.unwrap();
    // The first message is too large already; the client goes on sending it all the same.
    let body = framed(vec![0; 512 * 1024]);
    let head = format!(
        "POST {CHECK} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/grpc-web\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    for piece in body.chunks(8 * 1024) {
        socket.write_all(piece).await.expect("the gateway reads on");
        tokio::task::yield_now().await;
    }
    assert!(read_to_end(socket).await.contains("grpc-status: 8"));
}

#[tokio::test]
async fn an_early_answer_is_not_held_back_for_ever() {
    let gateway = Gateway::start().await;
    let mut socket = TcpStream::connect(gateway.address).await.unwrap();
    let head = format!(
        "POST {CHECK} HTTP/1.1\r\nhost: x\r\ncontent-type: application/grpc+thrift\r\ncontent-length: 9\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    let began = Instant::now();
    // The body never comes.
    assert!(read_to_end(socket).await.starts_with("HTTP/1.1 415"));
    assert!(began.elapsed() < Duration::from_secs(5));
}

async fn read_to_end(mut socket: TcpStream) -> String {
    let mut told = Vec::new();
    tokio::time::timeout(PATIENCE, socket.read_to_end(&mut told)).await.expect("an answer in time").unwrap();
    String::from_utf8_lossy(&told).into_owned()
}
