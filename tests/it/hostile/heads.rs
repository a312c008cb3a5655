//! Heads that are too large, too slow or say nonsense.

use std::time::Duration;

use http::{HeaderMap, Request, StatusCode};
use http_body_util::Full;
use libtest_mimic::Trial;
use tokio::{io::AsyncWriteExt as _, net::TcpStream};

use super::{CUT_OFF, answer, serves_as_before, until_closed};
use crate::support::{
    client::SERVICE,
    gateway::{Setup, shared},
    http::{Version, send},
    trial,
};

/// All tests of this module.
pub(super) fn trials() -> Vec<Trial> {
    vec![
        trial("hostile::huge_headers_are_431", huge_headers),
        trial("hostile::huge_headers_over_http2", huge_http2_headers),
        trial("hostile::a_head_that_comes_byte_by_byte_is_cut", slow_head),
        trial("hostile::wrong_content_types_are_415", wrong_content_types),
    ]
}

/// Too long as one, too long in all, too many, and too long a path.
async fn huge_headers() {
    let gateway = shared().await;
    let many: String = (0..200).map(|it| format!("x-{it}: y\r\n")).collect();
    let long: String = (0..50).map(|it| format!("x-{it}: {}\r\n", "y".repeat(4000))).collect();
    for head in [format!("x: {}\r\n", "y".repeat(200_000)), many, long] {
        let told =
            answer(gateway.address(), format!("GET / HTTP/1.1\r\nhost: a\r\n{head}\r\n").as_bytes()).await;
        assert!(told.starts_with("HTTP/1.1 431 "), "{told:?}");
    }
    let path = "x".repeat(200_000);
    let told = answer(gateway.address(), format!("GET /{path} HTTP/1.1\r\nhost: a\r\n\r\n").as_bytes()).await;
    assert!(told.starts_with("HTTP/1.1 414 ") || told.starts_with("HTTP/1.1 431 "), "{told:?}");
    serves_as_before(gateway).await;
}

async fn huge_http2_headers() {
    let gateway = shared().await;
    let mut request = Request::get("/healthz");
    for n in 0..50 {
        request = request.header(format!("x-{n}"), "y".repeat(4000));
    }
    let answered =
        send(gateway.address(), Version::Http2, request.body(Full::<bytes::Bytes>::default()).unwrap());
    if let Ok(response) = answered.await {
        assert_eq!(response.status, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    }
    serves_as_before(gateway).await;
}

/// A byte now and then does not keep a connection open.
async fn slow_head() {
    let gateway = Setup::default().config("[connections]\nheader_timeout = \"1s\"\n").start().await;
    for beginning in ["GET / HTTP/1.1\r\nhost: a\r\nx: ", "GE", "PRI * HT"] {
        let mut tcp = TcpStream::connect(gateway.address()).await.unwrap();
        tcp.write_all(beginning.as_bytes()).await.unwrap();
        let trickle = async {
            // Ends with the write that fails, because the gateway has cut the connection.
            while tcp.write_all(b"y").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(CUT_OFF, trickle).await.expect("the connection is cut");
    }
    let mut silent = TcpStream::connect(gateway.address()).await.unwrap();
    assert_eq!(until_closed(&mut silent).await, "");
    serves_as_before(&gateway).await;
}

async fn wrong_content_types() {
    let gateway = shared().await;
    for content_type in
        ["text/plain", "application/xml", "multipart/form-data", "application/grpcish", "", "💥"]
    {
        for version in [Version::Http1, Version::Http2] {
            let mut headers = HeaderMap::new();
            headers.insert("content-type", content_type.as_bytes().try_into().unwrap());
            let mut request = Request::post(format!("/{SERVICE}/StartRun")).body(Full::from("{}")).unwrap();
            request.headers_mut().extend(headers);
            let response = send(gateway.address(), version, request).await.unwrap();
            assert_eq!(response.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{content_type:?} {version:?}");
        }
    }
    serves_as_before(gateway).await;
}
