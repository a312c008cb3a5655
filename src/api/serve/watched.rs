//! One stream of an HTTP/2 connection, which is given up when its client takes nothing while data waits.
//!
//! Such a client keeps the stream's window shut; its connection may be alive all the same. Hyper does not ask for more of a
//! response then, so that the response cannot know. But it has hyper's future of the stream polled, which is wrapped here, and
//! it can be told apart: a body that gave data is asked for more at once, unless there is no room for more.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use futures::future::BoxFuture;
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

/// Bytes of a body that are given at a time. A client that takes so much within the time is slow; one that does not takes
/// nothing.
const PIECE_BYTES: usize = 64 << 10;

/// What the body of a response tells of itself.
#[derive(Debug, Default)]
pub(super) struct Flow {
    /// It gave data, and was not asked for more since.
    left_alone: AtomicBool,
    /// How often it gave data.
    given: AtomicU32,
}

/// A body that tells how it flows.
pub(super) struct WatchedBody {
    body: Body,
    /// What is left of a piece that was too large.
    rest: Bytes,
    flow: Arc<Flow>,
}

/// Hyper's future of a stream. Ready too when the client has taken nothing for too long: dropping the future resets the
/// stream.
pub(super) struct WatchedStream {
    stream: BoxFuture<'static, ()>,
    flow: Arc<Flow>,
    timeout: Duration,
    /// With how much had been given when it began to run.
    stalled: Option<(u32, Pin<Box<Sleep>>)>,
}

impl WatchedBody {
    /// A body that tells `flow`.
    pub(super) fn new(body: Body, flow: Arc<Flow>) -> Self {
        Self { body, rest: Bytes::new(), flow }
    }
}

impl http_body::Body for WatchedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.flow.left_alone.store(false, Ordering::Relaxed);
        if self.rest.is_empty() {
            let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
            match frame.map(|it| it.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => self.rest = data,
                Some(Ok(Err(frame))) => return Poll::Ready(Some(Ok(frame))),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
        let length = self.rest.len().min(PIECE_BYTES);
        let piece = self.rest.split_to(length);
        self.flow.given.fetch_add(1, Ordering::Relaxed);
        self.flow.left_alone.store(true, Ordering::Relaxed);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.rest.is_empty() { self.body.size_hint() } else { SizeHint::default() }
    }
}

impl WatchedStream {
    /// A stream whose response tells `flow`.
    pub(super) fn new(stream: BoxFuture<'static, ()>, flow: Arc<Flow>, timeout: Duration) -> Self {
        Self { stream, flow, timeout, stalled: None }
    }
}

impl Future for WatchedStream {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if this.stream.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        if !this.flow.left_alone.load(Ordering::Relaxed) {
            this.stalled = None;
            return Poll::Pending;
        }
        let given = this.flow.given.load(Ordering::Relaxed);
        if this.stalled.as_ref().is_none_or(|(before, _)| *before != given) {
            this.stalled = Some((given, Box::pin(sleep_until(Instant::now() + this.timeout))));
        }
        let Some((_, deadline)) = &mut this.stalled else { return Poll::Pending };
        ready!(deadline.as_mut().poll(cx));
        tracing::debug!("a client takes nothing of a stream; the stream is reset");
        Poll::Ready(())
    }
}
