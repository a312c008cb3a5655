//! A watcher of one run: counts what it is sent, and sees that nothing is missing.

use std::{io, net::SocketAddr};

use prost::Message as _;
use rungate::wire::v1;
use tokio::{io::AsyncWriteExt as _, net::TcpStream};

use super::{
    http1::Http1,
    http2::{self, Http2},
    messages::{Framing, envelope},
    socket,
    websocket::{self, WebSocket},
};
use crate::{clock, payload};

const WATCH_RUN: &str = "/rungate.v1.PipelineService/WatchRun";

/// How a run is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// `GET /v1/runs/{run_id}/events`.
    Sse,
    /// HTTP/2 without TLS.
    Grpc,
    /// Over HTTP/1.1, binary.
    GrpcWeb,
    /// Over HTTP/1.1, protobuf.
    Connect,
    /// `GET /ws`, one socket for one run.
    WebSocket,
    /// A bare socket that is sent records of so many bytes, and nothing else.
    Floor(usize),
}

/// A connection that watches a run.
pub(crate) struct Watcher {
    stream: TcpStream,
    wire: Wire,
    framing: Framing,
    payload: Vec<u8>,
    next: u64,
}

/// What a watcher has seen.
#[derive(Debug, Default)]
pub(crate) struct Followed {
    /// From the producer's word to the watcher's ear, in microseconds.
    pub(crate) latencies: Vec<u32>,
    /// Of the wire, all layers above TCP included.
    pub(crate) bytes: u64,
    /// How often there was something to read.
    pub(crate) reads: u64,
}

/// How the bytes of the wire are taken apart.
pub(super) enum Wire {
    Http1(Http1),
    Http2(Http2),
    WebSocket(WebSocket),
    Raw,
}

impl Protocol {
    /// For people, and in the names of rows.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sse => "sse",
            Self::Grpc => "grpc",
            Self::GrpcWeb => "grpc-web",
            Self::Connect => "connect",
            Self::WebSocket => "ws",
            Self::Floor(_) => "floor",
        }
    }
}

impl Watcher {
    /// Connects and asks for all events; returns when the answer has begun.
    pub(crate) async fn connect(address: SocketAddr, protocol: Protocol, run_id: &str) -> io::Result<Self> {
        let mut stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        stream.write_all(&request(protocol, run_id, 1)).await?;
        let framing = match protocol {
            Protocol::Sse => Framing::EmptyLine,
            Protocol::Grpc | Protocol::GrpcWeb | Protocol::Connect | Protocol::WebSocket => Framing::Envelope,
            Protocol::Floor(bytes) => Framing::Fixed(bytes),
        };
        let mut watcher = Self { stream, wire: Wire::new(protocol), framing, payload: Vec::new(), next: 0 };
        while !watcher.wire.answered(1) {
            watcher.read().await?;
        }
        Ok(watcher)
    }

    /// Reads until `count` texts have come. Panics when one is missing or comes twice.
    pub(crate) async fn follow(&mut self, count: usize) -> io::Result<Followed> {
        let mut followed = Followed { latencies: Vec::with_capacity(count), ..Followed::default() };
        loop {
            let now = clock::nanoseconds();
            let Followed { latencies, .. } = &mut followed;
            let next = &mut self.next;
            self.framing.split(&mut self.payload, |message| {
                if let Some(stamp) = payload::find(message) {
                    assert_eq!(stamp.number, *next, "a text is missing, or comes twice");
                    *next += 1;
                    let late = now.saturating_sub(stamp.said_at) / 1000;
                    latencies.push(u32::try_from(late).unwrap_or(u32::MAX));
                }
            });
            if followed.latencies.len() >= count {
                return Ok(followed);
            }
            followed.bytes += self.read().await? as u64;
            followed.reads += 1;
        }
    }

    /// Reads until the first event has come.
    pub(crate) async fn first(&mut self) -> io::Result<()> {
        let mut events = 0;
        loop {
            // The first words of a stream of SSE are no event yet.
            self.framing
                .split(&mut self.payload, |message| events += usize::from(!message.starts_with(b"retry")));
            if events > 0 {
                return Ok(());
            }
            self.read().await?;
        }
    }

    async fn read(&mut self) -> io::Result<usize> {
        self.wire.read(&mut self.stream, &mut self.payload).await
    }
}

impl Wire {
    /// As `protocol` has it.
    pub(super) fn new(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Sse | Protocol::GrpcWeb | Protocol::Connect => Self::Http1(Http1::default()),
            Protocol::Grpc => Self::Http2(Http2::default()),
            Protocol::WebSocket => Self::WebSocket(WebSocket::default()),
            Protocol::Floor(_) => Self::Raw,
        }
    }

    /// Reads what there is and appends what it carries to `payload`. Gives its bytes; the end is an error.
    pub(super) async fn read(&mut self, stream: &mut TcpStream, payload: &mut Vec<u8>) -> io::Result<usize> {
        if self.ended() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let read = socket::read(stream, |bytes| match self {
            Self::Http1(http1) => http1.take(bytes, payload),
            Self::Http2(http2) => http2.take(bytes, payload),
            Self::WebSocket(socket) => socket.take(bytes, payload),
            Self::Raw => payload.extend_from_slice(bytes),
        })
        .await?;
        let replies = match self {
            Self::Http2(http2) => http2.replies(),
            Self::WebSocket(socket) => socket.replies(),
            Self::Http1(_) | Self::Raw => Vec::new(),
        };
        if !replies.is_empty() {
            stream.write_all(&replies).await?;
        }
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(read)
    }

    /// True when `streams` responses have begun.
    pub(super) fn answered(&self, streams: usize) -> bool {
        match self {
            Self::Http1(http1) => http1.answered(),
            Self::Http2(http2) => http2.answered() as usize >= streams,
            Self::WebSocket(socket) => socket.answered(),
            Self::Raw => true,
        }
    }

    fn ended(&self) -> bool {
        match self {
            Self::Http1(http1) => http1.ended(),
            Self::Http2(http2) => http2.ended() > 0,
            Self::WebSocket(socket) => socket.ended(),
            Self::Raw => false,
        }
    }
}

/// What a watcher says first; over HTTP/2 on so many `streams`.
pub(super) fn request(protocol: Protocol, run_id: &str, streams: usize) -> Vec<u8> {
    let message = || v1::WatchRunRequest { run_id: run_id.to_owned(), ..Default::default() }.encode_to_vec();
    let post = |content_type| {
        let body = envelope(&message());
        let head = format!(
            "POST {WATCH_RUN} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {content_type}\r\n\
             connect-protocol-version: 1\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        [head.into_bytes(), body].concat()
    };
    match protocol {
        Protocol::Sse => {
            format!("GET /v1/runs/{run_id}/events HTTP/1.1\r\nhost: localhost\r\n\r\n").into_bytes()
        }
        Protocol::Grpc => {
            let mut bytes = http2::preface();
            for stream in 0..streams {
                http2::grpc_request(&mut bytes, 2 * stream as u32 + 1, WATCH_RUN, &message());
            }
            bytes
        }
        Protocol::GrpcWeb => post("application/grpc-web+proto"),
        Protocol::Connect => post("application/connect+proto"),
        Protocol::WebSocket => websocket::request(run_id),
        Protocol::Floor(_) => Vec::new(),
    }
}
