//! Every protocol as a client has it on its socket.

use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tonic_health::pb::HealthCheckRequest;

use super::probe::WATCH;

/// Far more than any step takes; less than anybody's patience.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Wire {
    Grpc,
    GrpcWeb,
    GrpcWebText,
    ConnectProto,
    ConnectJson,
    GrpcJson,
}

pub(super) const EVERY_WIRE: [Wire; 6] =
    [Wire::Grpc, Wire::GrpcWeb, Wire::GrpcWebText, Wire::ConnectProto, Wire::ConnectJson, Wire::GrpcJson];

/// A connection of a client. Dropping it closes the socket.
pub(super) struct Client {
    wire: Wire,
    sender: Sender,
    _tasks: JoinSet<()>,
}

enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

/// An answer that was read to its end.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) headers: HeaderMap,
    pub(super) http_status: u16,
    pub(super) trailers: HeaderMap,
    /// The body as text, with base64 removed.
    pub(super) text: String,
}

impl Client {
    /// gRPC is spoken on HTTP/2, the others on HTTP/1.1.
    pub(super) async fn connect(address: SocketAddr, wire: Wire) -> Self {
        let socket = TokioIo::new(TcpStream::connect(address).await.unwrap());
        let mut tasks = JoinSet::new();
        let sender = match wire {
            Wire::Grpc | Wire::GrpcJson => {
                let (sender, connection) = http2::handshake(TokioExecutor::new(), socket).await.unwrap();
                tasks.spawn(async move { drop(connection.await) });
                Sender::Http2(sender)
            }
            _ => {
                let (sender, connection) = http1::handshake(socket).await.unwrap();
                tasks.spawn(async move { drop(connection.await) });
                Sender::Http1(sender)
            }
        };
        Self { wire, sender, _tasks: tasks }
    }

    /// Calls `method` with a request that names `service`.
    pub(super) async fn call(
        &mut self,
        method: &str,
        service: &str,
        headers: &[(&str, &str)],
    ) -> Response<Incoming> {
        let (content_type, body) = self.wire.request(method == WATCH, service);
        let mut request = Request::post(method).header(CONTENT_TYPE, content_type).header("te", "trailers");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(Full::new(body)).unwrap()).await
    }

    pub(super) async fn send(&mut self, mut request: Request<Full<Bytes>>) -> Response<Incoming> {
        let answer = async {
            match &mut self.sender {
                Sender::Http1(sender) => sender.send_request(request).await,
                Sender::Http2(sender) => {
                    let path = request.uri().path_and_query().unwrap();
                    *request.uri_mut() = format!("http://gateway{path}").parse().unwrap();
                    sender.send_request(request).await
                }
            }
        };
        tokio::time::timeout(PATIENCE, answer).await.expect("an answer in time").unwrap()
    }
}

impl Wire {
    /// The header that tells the time a client gives.
    pub(super) fn timeout(self, milliseconds: u32) -> (&'static str, String) {
        match self {
            Self::ConnectProto | Self::ConnectJson => ("connect-timeout-ms", milliseconds.to_string()),
            _ => ("grpc-timeout", format!("{milliseconds}m")),
        }
    }

    fn request(self, stream: bool, service: &str) -> (&'static str, Bytes) {
        let proto = HealthCheckRequest { service: service.to_owned() }.encode_to_vec();
        let json = format!(r#"{{"service":"{service}"}}"#).into_bytes();
        match (self, stream) {
            (Self::Grpc, _) => ("application/grpc", framed(proto)),
            (Self::GrpcWeb, _) => ("application/grpc-web+proto", framed(proto)),
            (Self::GrpcWebText, _) => ("application/grpc-web-text", STANDARD.encode(framed(proto)).into()),
            (Self::GrpcJson, _) => ("application/grpc+json", framed(json)),
            (Self::ConnectProto, false) => ("application/proto", proto.into()),
            (Self::ConnectProto, true) => ("application/connect+proto", framed(proto)),
            (Self::ConnectJson, false) => ("application/json", json.into()),
            (Self::ConnectJson, true) => ("application/connect+json", framed(json)),
        }
    }

    fn is_text(self) -> bool {
        self == Self::GrpcWebText
    }
}

impl Finished {
    pub(super) async fn of(wire: Wire, answer: Response<Incoming>) -> Self {
        let (head, body) = answer.into_parts();
        let (mut text, mut trailers) = (String::new(), HeaderMap::new());
        let mut body = body;
        while let Some(frame) = next_frame(&mut body).await {
            match frame.into_data() {
                Ok(chunk) if wire.is_text() => {
                    text += &String::from_utf8_lossy(&STANDARD.decode(&chunk).unwrap());
                }
                Ok(chunk) => text += &String::from_utf8_lossy(&chunk),
                Err(frame) => trailers.extend(frame.into_trailers().unwrap()),
            }
        }
        Self { headers: head.headers, http_status: head.status.as_u16(), trailers, text }
    }

    /// How the call ended, in Connect's words.
    pub(super) fn code(&self) -> &'static str {
        let told = [&self.headers, &self.trailers].into_iter().find_map(|part| part.get("grpc-status"));
        let told = told.map(|value| format!("grpc-status:{}", value.to_str().unwrap()));
        let told = told.unwrap_or_else(|| self.text.clone());
        let codes = [
            ("grpc-status:0", "ok"),
            ("grpc-status:12", "unimplemented"),
            ("grpc-status:3", "invalid_argument"),
            ("grpc-status:4", "deadline_exceeded"),
            ("grpc-status:5", "not_found"),
            ("grpc-status:8", "resource_exhausted"),
        ];
        let grpc = codes.iter().find(|(status, _)| told.contains(status)).map(|(_, code)| *code);
        let connect = || {
            codes
                .iter()
                .find(|(_, code)| told.contains(&format!(r#""code":"{code}""#)))
                .map(|(_, code)| *code)
        };
        grpc.or_else(connect).unwrap_or("ok")
    }

    pub(super) fn all(&self, name: &str) -> Vec<&str> {
        self.headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
    }
}

/// The next piece of a body that is not empty.
pub(super) async fn next_chunk(body: &mut Incoming) -> Bytes {
    loop {
        let frame = next_frame(body).await.expect("the stream goes on");
        match frame.into_data() {
            Ok(chunk) if chunk.is_empty() => {}
            Ok(chunk) => return chunk,
            Err(_) => panic!("the stream has ended"),
        }
    }
}

pub(super) fn framed(message: Vec<u8>) -> Bytes {
    let mut frame = vec![0];
    frame.extend((message.len() as u32).to_be_bytes());
    frame.extend(message);
    frame.into()
}

async fn next_frame(body: &mut Incoming) -> Option<http_body::Frame<Bytes>> {
    let frame = tokio::time::timeout(PATIENCE, body.frame()).await.expect("a frame in time");
    frame.map(|frame| frame.unwrap())
}
