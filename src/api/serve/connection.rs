//! One connection, from its first byte to its end.

use std::error::Error;

use axum::Router;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use tokio::{net::TcpStream, time::Instant};

use super::{
    ListenSettings,
    sniff::{Slot, Version, sniff},
};
use crate::runtime::shutdown::Shutdown;

/// Bytes of a request's head. Longer heads are answered with 431.
const HEAD_BYTES: usize = 64 << 10;
/// Headers of a request.
const HEADERS: usize = 100;
/// Bytes that wait to be sent on one HTTP/2 stream; beyond it the stream's source waits.
const STREAM_SEND_BYTES: usize = 64 << 10;

type ServeResult = Result<(), Box<dyn Error + Send + Sync>>;

/// Serves HTTP on a connection. Ends with the peer, soon after the drain begins, at the latest when the gateway stops; or
/// when the connection is upgraded. Its slot stays with the connection.
pub(super) async fn serve(
    tcp: TcpStream,
    slot: Slot,
    router: Router,
    settings: &ListenSettings,
    shutdown: &Shutdown,
) -> ServeResult {
    let deadline = Instant::now() + settings.header_timeout;
    let sniffed = tokio::select! {
        sniffed = sniff(tcp, deadline, settings.write_stall_timeout, slot) => sniffed?,
        () = shutdown.draining.cancelled() => return Ok(()),
    };
    let Some((version, io)) = sniffed else { return Ok(()) };
    let builder = match version {
        Version::Http1 => builder(settings).http1_only(),
        Version::Http2 => builder(settings).http2_only(),
    };
    let service = TowerToHyperService::new(router);
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(io), service);
    tokio::pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => return ended,
        () = shutdown.draining.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    tokio::select! {
        ended = connection => ended,
        () = shutdown.stopped.cancelled() => Ok(()),
    }
}

fn builder(settings: &ListenSettings) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    let mut http1 = builder.http1();
    http1.timer(TokioTimer::new()).header_read_timeout(settings.header_timeout);
    http1.max_headers(HEADERS).max_buf_size(HEAD_BYTES);
    let mut http2 = builder.http2();
    http2.timer(TokioTimer::new());
    http2.keep_alive_interval(settings.keep_alive_interval).keep_alive_timeout(settings.keep_alive_timeout);
    http2.max_concurrent_streams(settings.max_streams);
    http2.max_header_list_size(HEAD_BYTES as u32).max_send_buf_size(STREAM_SEND_BYTES);
    builder
}
