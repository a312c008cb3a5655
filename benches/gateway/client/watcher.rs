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

enum Wire {
    Http1(Http1),
    Http2(Http2),
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
            Self::Floor(_) => "floor",
        }
    }
}

impl Watcher {
    /// Connects and asks for all events; returns when the answer has begun.
    pub(crate) async fn connect(address: SocketAddr, protocol: Protocol, run_id: &str) -> io::Result<Self> {
        let mut stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        stream.write_all(&request(protocol, run_id)).await?;
        let (wire, framing) = match protocol {
            Protocol::Sse => (Wire::Http1(Http1::default()), Framing::EmptyLine),
            Protocol::Grpc => (Wire::Http2(Http2::default()), Framing::Envelope),
            Protocol::GrpcWeb | Protocol::Connect => (Wire::Http1(Http1::default()), Framing::Envelope),
            Protocol::Floor(bytes) => (Wire::Raw, Framing::Fixed(bytes)),
        };
        let mut watcher = Self { stream, wire, framing, payload: Vec::new(), next: 0 };
        while !watcher.wire.answered() {
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

    async fn read(&mut self) -> io::Result<usize> {
        let (wire, payload) = (&mut self.wire, &mut self.payload);
        let read = socket::read(&self.stream, |bytes| match wire {
            Wire::Http1(http1) => http1.take(bytes, payload),
            Wire::Http2(http2) => http2.take(bytes, payload),
            Wire::Raw => payload.extend_from_slice(bytes),
        })
        .await?;
        if let Wire::Http2(http2) = wire {
            let replies = http2.replies();
            if !replies.is_empty() {
                self.stream.write_all(&replies).await?;
            }
        }
        if read == 0 || self.wire.ended() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(read)
    }
}

impl Wire {
    fn answered(&self) -> bool {
        match self {
            Self::Http1(http1) => http1.answered(),
            Self::Http2(http2) => http2.answered() > 0,
            Self::Raw => true,
        }
    }

    fn ended(&self) -> bool {
        match self {
            Self::Http1(http1) => http1.ended(),
            Self::Http2(http2) => http2.ended() > 0,
            Self::Raw => false,
        }
    }
}

/// What a watcher says first.
pub(super) fn request(protocol: Protocol, run_id: &str) -> Vec<u8> {
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
            http2::grpc_request(&mut bytes, 1, WATCH_RUN, &message());
            bytes
        }
        Protocol::GrpcWeb => post("application/grpc-web+proto"),
        Protocol::Connect => post("application/connect+proto"),
        Protocol::Floor(_) => Vec::new(),
    }
}
