//! One connection, from its first byte to its end.

use std::error::Error;

use axum::Router;
use tokio::time::Instant;

use super::{
    ListenSettings, http1, http2,
    sniff::{Version, sniff},
    socket::Socket,
};
use crate::runtime::shutdown::Shutdown;

/// Bytes of a request's head. Longer heads are answered with 431.
pub(super) const HEAD_BYTES: usize = 64 << 10;

pub(super) type BoxError = Box<dyn Error + Send + Sync>;

/// Serves HTTP on a connection. Ends with the peer, soon after the drain begins, at the latest when the gateway stops; or
/// when the connection is upgraded.
pub(super) async fn serve(
    mut socket: Socket,
    router: Router,
    settings: &ListenSettings,
    shutdown: &Shutdown,
) -> Result<(), BoxError> {
    let deadline = Instant::now() + settings.header_timeout;
    let sniffed = tokio::select! {
        sniffed = sniff(&mut socket, deadline) => sniffed?,
        () = shutdown.draining.given() => return Ok(()),
    };
    match sniffed {
        Some(Version::Http1) => http1::serve(socket, router, settings, shutdown).await,
        Some(Version::Http2) => http2::serve(socket, router, settings, shutdown).await,
        None => Ok(()),
    }
}
