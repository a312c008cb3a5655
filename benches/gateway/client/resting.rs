//! Watchers that do not count: they only are there.

use std::{io, net::SocketAddr};

use tokio::{io::AsyncWriteExt as _, net::TcpStream};

use super::watcher::{Protocol, Wire, request};

/// A connection that watches a run, once or, over HTTP/2, several times.
pub(crate) struct Resting {
    stream: TcpStream,
    wire: Wire,
}

impl Resting {
    /// Connects; returns when all `streams` are answered. Nothing more is read unless it is told to.
    pub(crate) async fn connect(
        address: SocketAddr,
        protocol: Protocol,
        run_id: &str,
        streams: usize,
    ) -> io::Result<Self> {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(&request(protocol, run_id, streams)).await?;
        let mut resting = Self { stream, wire: Wire::new(protocol) };
        while !resting.wire.answered(streams) {
            resting.wire.read(&mut resting.stream, &mut Vec::new()).await?;
        }
        Ok(resting)
    }

    /// Reads what comes, and answers pings, until the connection ends; gives why.
    pub(crate) async fn rest(mut self) -> io::Error {
        loop {
            if let Err(end) = self.wire.read(&mut self.stream, &mut Vec::new()).await {
                return end;
            }
        }
    }
}
