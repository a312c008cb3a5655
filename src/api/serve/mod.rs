//! The accept loop: HTTP/1.1 and HTTP/2 on one port, every wait with an end.

//!
//! Reading order: this file → `connection` (the life of one) → `sniff` (which HTTP) → `http1` and `http2`; and for
//! responses that last: `handover` (how they pass hyper) → `long_stream` and `outgoing` (how they are written).

mod connection;
mod handover;
mod http1;
mod http2;
mod long_stream;
mod outgoing;
mod sniff;
mod socket;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use http::HeaderValue;
use jiff::fmt::{
    rfc2822::DateTimePrinter, serde::unsigned_duration::friendly::compact::required as duration,
};
use serde::{Deserialize, Serialize};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_util::task::TaskTracker;

pub(crate) use handover::LongStream;
use socket::{Slot, Socket};

use crate::runtime::{
    clock,
    shutdown::Shutdown,
    task::{self, TaskKind},
};

/// Bytes that the system takes of a connection beyond those on their way to the peer. A peer that has stopped reading costs
/// no more, and one that reads is still never kept waiting.
#[cfg(target_os = "linux")]
const UNSENT_BYTES: u32 = 128 << 10;

/// How connections are taken up and let go.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ListenSettings {
    /// Connections at a time. A connection beyond it is closed at once.
    pub max_connections: usize,
    /// From the connection to its first bytes, and again to the end of each request's headers.
    #[serde(with = "duration")]
    pub header_timeout: Duration,
    /// How long a request may fall silent before its end.
    #[serde(with = "duration")]
    pub body_timeout: Duration,
    /// HTTP/2 connections are pinged after so long a silence.
    #[serde(with = "duration")]
    pub keep_alive_interval: Duration,
    /// A ping that stays unanswered for so long ends the connection.
    #[serde(with = "duration")]
    pub keep_alive_timeout: Duration,
    /// Concurrent requests of one HTTP/2 connection.
    pub max_streams: u32,
    /// A peer that takes nothing for so long while data waits for it is cut; it can resume.
    #[serde(with = "duration")]
    pub write_stall_timeout: Duration,
    /// From the beginning of the drain until what is still connected is dropped.
    #[serde(with = "duration")]
    pub drain_timeout: Duration,
}

/// A bound port that nobody serves yet.
#[derive(Debug)]
pub struct Listener {
    tcp: TcpListener,
    address: SocketAddr,
}

impl Default for ListenSettings {
    fn default() -> Self {
        Self {
            max_connections: 16_384,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            keep_alive_interval: Duration::from_secs(20),
            keep_alive_timeout: Duration::from_secs(10),
            max_streams: 256,
            write_stall_timeout: Duration::from_secs(60),
            drain_timeout: Duration::from_secs(10),
        }
    }
}

impl Listener {
    /// Binds `address`; port 0 takes a free one.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        let tcp = TcpListener::bind(address).await?;
        let address = tcp.local_addr()?;
        Ok(Self { tcp, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Serves `router` on `listener`. From the beginning of the drain it takes up no connections, lets requests under way
/// finish, and after `drain_timeout` drops what is left. Returns when no connection is left.
pub async fn serve(listener: Listener, router: Router, settings: ListenSettings, shutdown: Shutdown) {
    let connections = TaskTracker::new();
    let slots = Arc::new(Semaphore::new(settings.max_connections.min(Semaphore::MAX_PERMITS)));
    let settings = Arc::new(settings);
    let mut refused: u64 = 0;
    loop {
        let accepted = tokio::select! {
            accepted = listener.tcp.accept() => accepted,
            () = shutdown.draining.given() => break,
        };
        match accepted {
            Ok((tcp, peer)) => match slots.clone().try_acquire_owned() {
                Ok(permit) => {
                    let slot = Slot { _permit: permit, _counted: connections.token() };
                    let (router, settings, shutdown) = (router.clone(), settings.clone(), shutdown.clone());
                    // In a box, as a task has room for its future twice.
                    let served = Box::pin(async move {
                        connect(tcp, peer, router, &settings, shutdown, slot).await;
                    });
                    task::spawn(TaskKind::Connection, served);
                }
                Err(_) => {
                    refused += 1;
                    if refused.is_power_of_two() {
                        tracing::warn!(refused, bound = settings.max_connections, "too many connections");
                    }
                }
            },
            Err(error) => pause_after(&error).await,
        }
    }
    // Who comes now is refused by the system, and goes to another gateway.
    drop(listener);
    connections.close();
    if tokio::time::timeout(settings.drain_timeout, connections.wait()).await.is_err() {
        tracing::warn!(left = connections.len(), "dropping connections that outlast the drain");
        shutdown.stopped.give();
        connections.wait().await;
    }
}

async fn connect(
    tcp: TcpStream,
    peer: SocketAddr,
    router: Router,
    settings: &ListenSettings,
    shutdown: Shutdown,
    slot: Slot,
) {
    if let Err(error) = set_options(&tcp) {
        tracing::debug!(%error, %peer, "could not set the options of a connection");
    }
    let socket = Socket::new(tcp, settings.write_stall_timeout, slot);
    match connection::serve(socket, router, settings, &shutdown).await {
        Ok(()) => tracing::trace!(%peer, "connection ended"),
        Err(error) => tracing::debug!(error = &*error, %peer, "connection ended with an error"),
    }
}

fn set_options(tcp: &TcpStream) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    socket2::SockRef::from(tcp).set_tcp_notsent_lowat(UNSENT_BYTES)?;
    tcp.set_nodelay(true)
}

/// What responses tell of when they were made (RFC 9110, section 6.6.1).
fn http_date() -> HeaderValue {
    let date = DateTimePrinter::new().timestamp_to_rfc9110_string(&clock::now());
    // The clock never stands before the years that can be told.
    date.ok()
        .and_then(|it| it.try_into().ok())
        .unwrap_or(HeaderValue::from_static("Thu, 01 Jan 1970 00:00:00 GMT"))
}

/// Running out of file descriptors is not cured by trying again at once; a peer that went away is no matter.
async fn pause_after(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    if matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) {
        return;
    }
    tracing::error!(%error, "cannot take up connections; trying again in a second");
    tokio::time::sleep(Duration::from_secs(1)).await;
}
