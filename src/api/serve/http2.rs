//! A connection over HTTP/2.

use axum::Router;
use hyper::server::conn::http2::Builder;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    service::TowerToHyperService,
};

use super::{
    ListenSettings,
    connection::{BoxError, HEAD_BYTES},
    socket::Socket,
};
use crate::runtime::shutdown::Shutdown;

/// Bytes that wait to be sent on one stream; beyond it the stream's source waits.
const STREAM_SEND_BYTES: usize = 64 << 10;

/// Serves a connection to its end.
pub(super) async fn serve(
    socket: Socket,
    router: Router,
    settings: &ListenSettings,
    shutdown: &Shutdown,
) -> Result<(), BoxError> {
    let service = TowerToHyperService::new(router);
    let connection = builder(settings).serve_connection(TokioIo::new(socket), service);
    tokio::pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => return Ok(ended?),
        () = shutdown.draining.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    tokio::select! {
        ended = connection => Ok(ended?),
        () = shutdown.stopped.cancelled() => Ok(()),
    }
}

fn builder(settings: &ListenSettings) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.timer(TokioTimer::new());
    builder.keep_alive_interval(settings.keep_alive_interval).keep_alive_timeout(settings.keep_alive_timeout);
    builder.max_concurrent_streams(settings.max_streams);
    builder.max_header_list_size(HEAD_BYTES as u32).max_send_buf_size(STREAM_SEND_BYTES);
    builder
}
