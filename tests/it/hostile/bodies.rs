//! Bodies that are no message, that never end, or that say they are larger than they are.

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http::Request;
use http_body::Frame;
use http_body_util::{Full, StreamBody};
use libtest_mimic::Trial;
use tokio::{io::AsyncWriteExt as _, net::TcpStream, time::timeout};

use super::{CUT_OFF, serves_as_before, until_closed};
use crate::support::{
    client::SERVICE,
    gateway::{Setup, shared},
    http::{Version, Whole, send},
    trial,
};

/// All tests of this module.
pub(super) fn trials() -> Vec<Trial> {
    vec![
        trial("hostile::malformed_frames", malformed_frames),
        trial("hostile::malformed_messages_are_invalid_argument", malformed_messages),
        trial("hostile::never_ending_bodies", never_ending_bodies),
        trial("hostile::a_body_that_falls_silent_is_ended", silent_body),
        trial("hostile::a_body_that_is_promised_and_never_comes", promised_body),
    ]
}

async fn post(version: Version, method: &str, content_type: &str, body: &[u8]) -> Whole {
    let request = Request::post(format!("/{SERVICE}/{method}"));
    let request = request.header("content-type", content_type).header("te", "trailers");
    let request = request.body(Full::from(Bytes::copy_from_slice(body))).unwrap();
    let exchange = async { send(shared().await.address(), version, request).await?.whole().await };
    timeout(CUT_OFF, exchange).await.expect("it is answered").unwrap()
}

/// The status of gRPC, whether it came in headers, trailers or a frame; the code of Connect otherwise.
fn code(response: &Whole) -> String {
    let status = response.trailers.get("grpc-status").or_else(|| response.headers.get("grpc-status"));
    if let Some(status) = status {
        return status.to_str().unwrap().to_owned();
    }
    let text = String::from_utf8_lossy(&response.body);
    if let Some((_, rest)) = text.split_once("grpc-status:") {
        return rest.lines().next().unwrap_or_default().trim().to_owned();
    }
    let begin = text.find('{').unwrap_or_else(|| panic!("no code in {response:?}"));
    let error: serde_json::Value = serde_json::from_str(&text[begin..]).unwrap();
    let code = if error["error"].is_object() { &error["error"]["code"] } else { &error["code"] };
    code.as_str().unwrap_or_else(|| panic!("no code in {response:?}")).to_owned()
}

/// Every answer is an error of the protocol and none is a success, UNKNOWN or INTERNAL with inner words.
async fn malformed_frames() {
    let bodies: [&[u8]; 7] = [
        b"",
        b"\0",
        b"\0\0\0",
        b"\0\0\0\0\x0ashort",
        b"\0\xff\xff\xff\xff",
        b"\x01\0\0\0\x04gzip",
        b"\0\0\0\0\0\0\0\0\0\0trailing",
    ];
    let codes = ["3", "8", "12", "13", "invalid_argument", "resource_exhausted", "unimplemented", "internal"];
    for body in bodies {
        for (version, content_type) in [
            (Version::Http2, "application/grpc"),
            (Version::Http1, "application/grpc-web+proto"),
            (Version::Http1, "application/connect+proto"),
            (Version::Http2, "application/connect+json"),
        ] {
            let response = post(version, "WatchRun", content_type, body).await;
            let code = code(&response);
            assert!(codes.contains(&code.as_str()), "{content_type} {body:?}: {code} {response:?}");
        }
    }
    let response = post(Version::Http1, "WatchRun", "application/grpc-web-text+proto", b"***").await;
    assert_ne!(code(&response), "0");
    serves_as_before(shared().await).await;
}

/// A frame that is one, around bytes that are no message.
async fn malformed_messages() {
    let framed = |message: &[u8]| {
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        [&[0], length.as_slice(), message].concat()
    };
    let no_proto = b"\x0a\xff\xff\xff\xff\x0fnonsense".as_slice();
    let no_utf8 = b"\x0a\x02\xff\xfe".as_slice();
    let requests = [
        (Version::Http2, "application/grpc", framed(no_proto)),
        (Version::Http2, "application/grpc", framed(no_utf8)),
        (Version::Http1, "application/grpc-web+proto", framed(no_proto)),
        (Version::Http1, "application/proto", no_proto.to_vec()),
        (Version::Http1, "application/proto", no_utf8.to_vec()),
        (Version::Http1, "application/json", b"{".to_vec()),
        (Version::Http1, "application/json", b"[]".to_vec()),
        (Version::Http2, "application/json", br#"{"runId": 7}"#.to_vec()),
        (Version::Http1, "application/json", b"[".repeat(100_000)),
    ];
    let mut wrong = Vec::new();
    for (version, content_type, body) in requests {
        let response = post(version, "GetRun", content_type, &body).await;
        let code = code(&response);
        if !["3", "invalid_argument"].contains(&code.as_str()) {
            let shown = String::from_utf8_lossy(&body[..body.len().min(40)]).into_owned();
            wrong.push(format!("{content_type} {shown:?}: {code} {response:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    serves_as_before(shared().await).await;
}

/// A body that goes on and on is answered, at the latest when it exceeds the bound of a message; memory stays bounded.
async fn never_ending_bodies() {
    let gateway = Setup::default().start().await;
    serves_as_before(&gateway).await;
    let before = gateway.resident_bytes();
    let piece = Bytes::from(vec![b'['; 64 << 10]);
    for (version, method, path, content_type) in [
        (Version::Http1, "POST", "StartRun", "application/proto"),
        (Version::Http2, "POST", "StartRun", "application/json"),
        (Version::Http1, "POST", "StartRun", "application/grpc-web+proto"),
        (Version::Http1, "POST", "WatchRun", "application/connect+proto"),
        (Version::Http2, "POST", "StartRun", "application/grpc"),
        (Version::Http1, "POST", "NoSuchMethod", "application/json"),
        (Version::Http1, "POST", "StartRun", "text/plain"),
        (Version::Http1, "GET", "../healthz", "text/plain"),
    ] {
        let pieces = stream::repeat(piece.clone()).take(8192).map(|it| Ok::<_, Infallible>(Frame::data(it)));
        let request = Request::builder().method(method).uri(format!("/{SERVICE}/{path}"));
        let request = request.header("content-type", content_type).body(StreamBody::new(pieces)).unwrap();
        // An answer, or a connection that is closed.
        let exchange = async {
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(
                send(gateway.address(), version, request).await?.status,
            )
        };
        let ended = timeout(CUT_OFF, exchange).await;
        assert!(ended.is_ok(), "{method} {path} {content_type} goes on");
    }
    let grown = gateway.resident_bytes().saturating_sub(before);
    assert!(grown < 64 << 20, "{grown} bytes more");
    serves_as_before(&gateway).await;
}

/// Headers that promise a body, and then silence. The connection may stay for a while, but holds nobody up.
async fn promised_body() {
    let gateway = Setup::default().config("[connections]\ndrain_timeout = \"500ms\"\n").start().await;
    let mut silent = Vec::new();
    for _ in 0..200 {
        let mut tcp = TcpStream::connect(gateway.address()).await.unwrap();
        let head = format!(
            "POST /{SERVICE}/StartRun HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 4000000\r\n\r\n{{"
        );
        tcp.write_all(head.as_bytes()).await.unwrap();
        silent.push(tcp);
    }
    timeout(Duration::from_secs(10), serves_as_before(&gateway)).await.expect("others are served");
    gateway.signal(rustix::process::Signal::TERM);
    for mut tcp in silent {
        until_closed(&mut tcp).await;
    }
    assert_eq!(gateway.ended().await.code(), Some(0));
}

/// A body of which nothing more comes is ended, over either version and on every kind of call.
async fn silent_body() {
    let gateway = Setup::default().config("[connections]\nbody_timeout = \"500ms\"\n").start().await;
    for (version, content_type) in [
        (Version::Http1, "application/json"),
        (Version::Http2, "application/proto"),
        (Version::Http1, "application/grpc-web+proto"),
        (Version::Http2, "application/grpc"),
        (Version::Http1, "application/connect+json"),
    ] {
        let silence = stream::iter([Bytes::from_static(b"\0")]).chain(stream::pending());
        let body = StreamBody::new(silence.map(|it| Ok::<_, Infallible>(Frame::data(it))));
        let request = Request::post(format!("/{SERVICE}/WatchRun")).header("content-type", content_type);
        let request = request.header("te", "trailers").body(body).unwrap();
        let exchange = async { send(gateway.address(), version, request).await?.whole().await };
        let ended = timeout(CUT_OFF, exchange).await;
        let answered = ended.unwrap_or_else(|_| panic!("{content_type} goes on"));
        if let Ok(answered) = answered {
            assert_ne!(code(&answered), "0", "{content_type}");
        }
    }
    serves_as_before(&gateway).await;
}
