//! A connection over HTTP/1.1: hyper serves it, but for responses that last, which are written without it.

use std::{future::poll_fn, pin::Pin, sync::atomic::Ordering, task::Poll};

use axum::Router;
use futures::FutureExt as _;
use hyper::server::conn::http1::Builder;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncWriteExt as _;

use super::{
    ListenSettings,
    connection::{BoxError, HEAD_BYTES},
    handover::{Handover, HandoverService, Offer},
    long_stream::{End, LongResponse},
    socket::Socket,
};
use crate::runtime::shutdown::Shutdown;

/// Headers of a request.
const HEADERS: usize = 100;

/// Serves a connection to its end, request by request.
pub(super) async fn serve(
    mut socket: Socket,
    router: Router,
    settings: &ListenSettings,
    shutdown: &Shutdown,
) -> Result<(), BoxError> {
    loop {
        // In a box of its own, so that a connection whose response lasts keeps no room for it.
        let offered = Box::pin(until_offer(socket, router.clone(), settings, shutdown)).await?;
        let Some((taken_back, offer)) = offered else { return Ok(()) };
        let Some(next) = stream(taken_back, offer, shutdown).await? else { return Ok(()) };
        socket = next;
    }
}

/// Has hyper serve the connection until it has ended, or until there is a response that lasts: then hyper, which knows
/// nothing of it and has sent all before it, is taken away.
async fn until_offer(
    socket: Socket,
    router: Router,
    settings: &ListenSettings,
    shutdown: &Shutdown,
) -> Result<Option<(Socket, Offer)>, BoxError> {
    let full = socket.full();
    let handover = Handover::default();
    let service = HandoverService::new(router, handover.clone());
    let mut connection = builder(settings).serve_connection(TokioIo::new(socket), service).with_upgrades();
    let (mut draining, mut stopped) = (shutdown.draining.awaited(), shutdown.stopped.awaited());
    let mut drains = false;
    let offer = poll_fn(|cx| {
        if !drains && draining.poll_unpin(cx).is_ready() {
            drains = true;
            Pin::new(&mut connection).graceful_shutdown();
        }
        if stopped.poll_unpin(cx).is_ready() {
            return Poll::Ready(Ok(None));
        }
        if let Poll::Ready(ended) = Pin::new(&mut connection).poll(cx) {
            return Poll::Ready(ended.map(|()| None));
        }
        // Hyper writes all it has whenever it is polled, so that something is left only when there was no room for it.
        // It has asked to be woken for the rest then.
        if full.load(Ordering::Relaxed) {
            return Poll::Pending;
        }
        handover.take().map_or(Poll::Pending, |offer| Poll::Ready(Ok(Some(offer))))
    });
    let Some(offer) = offer.await? else { return Ok(None) };
    let Some(parts) = connection.into_parts() else { return Ok(None) };
    let mut socket = parts.io.into_inner();
    socket.put_back(&parts.read_buf);
    Ok(Some((socket, offer)))
}

/// Writes a response that lasts. Gives the socket back when another request may follow.
async fn stream(socket: Socket, offer: Offer, shutdown: &Shutdown) -> Result<Option<Socket>, BoxError> {
    let keep_alive = offer.keep_alive() && !shutdown.draining.is_given();
    let mut response = LongResponse::new(socket, offer, keep_alive);
    let mut stopped = shutdown.stopped.awaited();
    let end = poll_fn(|cx| {
        if stopped.poll_unpin(cx).is_ready() {
            return Poll::Ready(Ok(End::Gone));
        }
        response.poll(cx)
    });
    if end.await? == End::Gone {
        return Ok(None);
    }
    let mut socket = response.into_socket();
    if keep_alive && !shutdown.draining.is_given() {
        return Ok(Some(socket));
    }
    socket.shutdown().await?;
    Ok(None)
}

fn builder(settings: &ListenSettings) -> Builder {
    let mut builder = Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(settings.header_timeout);
    builder.max_headers(HEADERS).max_buf_size(HEAD_BYTES);
    builder
}
