//! A connection over HTTP/2 (RFC 9113), served without a task or a buffer for each stream.
//!
//! What a gateway does on HTTP/2 is to have many streams open on which little happens for long. So a connection is one task, which
//! is woken for the streams that have something; what they have ready goes out in one write, from the bytes that all watchers
//! share; and a buffer is there only while something is in it.
//!
//! Reading order: `connection` (its turn: read, serve, write) → `incoming` (what frames do) → `stream` (a response on its
//! way); below them `frame`, `hpack`, `settings`, and what they need.

mod connection;
mod frame;
mod hpack;
mod incoming;
mod keep_alive;
mod ready;
mod request;
mod request_body;
mod response;
mod settings;
mod stream;
mod streams;
#[cfg(test)]
#[allow(dead_code, reason = "each user takes what it needs")]
mod testing;
#[cfg(test)]
mod tests;

use std::{future::poll_fn, task::Poll};

use axum::Router;
use futures::FutureExt as _;

use super::{
    ListenSettings,
    connection::{BoxError, HEAD_BYTES},
    outgoing::Outgoing,
    socket::Socket,
};
use crate::runtime::shutdown::Shutdown;
use connection::Connection;

/// Bytes that a client may send of one request before they are read.
const STREAM_WINDOW: usize = 256 << 10;
/// The same for all requests of a connection together.
const CONNECTION_WINDOW: usize = 1 << 20;

/// Serves a connection to its end. From the beginning of the drain it takes no requests, and ends when the last response
/// has.
pub(super) async fn serve(
    socket: Socket,
    router: Router,
    settings: &ListenSettings,
    shutdown: &Shutdown,
) -> Result<(), BoxError> {
    let mut connection = Box::new(Connection::new(socket, router, settings));
    let (mut draining, mut stopped) = (shutdown.draining.awaited(), shutdown.stopped.awaited());
    let mut drains = false;
    poll_fn(|cx| {
        if !drains && draining.poll_unpin(cx).is_ready() {
            drains = true;
            connection.leave();
        }
        if drains && stopped.poll_unpin(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        connection.poll(cx)
    })
    .await
}
