//! A connection over HTTP/2. Its streams are polled within its own task: an event that goes out on one then needs one
//! wake-up, and not one of the stream and another of the connection that it wakes.

use std::{
    any::Any,
    convert::Infallible,
    future::poll_fn,
    mem,
    panic::AssertUnwindSafe,
    pin::{Pin, pin},
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use axum::{Router, body::Body, response::Response};
use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use http::Request;
use hyper::{
    body::Incoming,
    rt::Executor,
    server::conn::http2::{Builder, Connection},
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tower::ServiceExt as _;

use super::{
    ListenSettings,
    connection::{BoxError, HEAD_BYTES},
    own_wake::OwnWake,
    socket::Socket,
    watched::{Flow, WatchedBody, WatchedStream},
};
use crate::runtime::shutdown::Shutdown;

/// Bytes that wait to be sent on one stream; beyond it the stream's source waits.
const STREAM_SEND_BYTES: usize = 64 << 10;

/// How often hyper is polled within one turn of the task at the most, so that other tasks have their turns too.
const ROUNDS: usize = 4;

/// Serves a connection to its end.
pub(super) async fn serve(
    socket: Socket,
    router: Router,
    settings: &ListenSettings,
    shutdown: &Shutdown,
) -> Result<(), BoxError> {
    let mut served = Box::new(Served::new(socket, router, settings));
    let mut draining = pin!(shutdown.draining.cancelled());
    let mut stopped = pin!(shutdown.stopped.cancelled());
    let (mut waits, mut drains) = (false, false);
    poll_fn(|cx| {
        // Asking once is enough to be woken, by whatever comes first; after that a look is cheaper.
        if !waits {
            waits = true;
            let _ = draining.as_mut().poll(cx);
            let _ = stopped.as_mut().poll(cx);
        }
        if !drains && shutdown.draining.is_cancelled() {
            drains = true;
            served.drain();
        }
        if drains && shutdown.stopped.is_cancelled() {
            return Poll::Ready(Ok(()));
        }
        served.poll(cx).map_err(BoxError::from)
    })
    .await
}

/// A connection with its streams.
struct Served {
    hyper: Connection<TokioIo<Socket>, StreamService, Streams>,
    streams: Streams,
    running: FuturesUnordered<WatchedStream>,
    /// Of hyper, and of the streams: each wakes the other, which does not wake the task.
    hyper_wake: Arc<OwnWake>,
    streams_wake: Arc<OwnWake>,
}

/// The router, for one connection.
struct StreamService {
    router: Router,
    streams: Streams,
}

/// Where hyper leaves its new streams. It is emptied whenever hyper was polled, and holds no more than a client may open.
#[derive(Clone)]
struct Streams {
    new: Arc<Mutex<NewStreams>>,
    timeout: Duration,
}

#[derive(Default)]
struct NewStreams {
    streams: Vec<WatchedStream>,
    /// Of the response to the request that hyper has just handed over, until its stream is there.
    flow: Option<Arc<Flow>>,
}

impl Served {
    fn new(socket: Socket, router: Router, settings: &ListenSettings) -> Self {
        let streams = Streams { new: Arc::default(), timeout: settings.write_stall_timeout };
        let service = StreamService { router, streams: streams.clone() };
        let hyper = builder(settings, streams.clone()).serve_connection(TokioIo::new(socket), service);
        let (hyper_wake, streams_wake) = (Arc::default(), Arc::default());
        Self { hyper, streams, running: FuturesUnordered::new(), hyper_wake, streams_wake }
    }

    /// Takes up no more streams; ends when those there are have ended.
    fn drain(&mut self) {
        Pin::new(&mut self.hyper).graceful_shutdown();
        self.hyper_wake.set();
    }

    /// Takes up the streams that hyper has left.
    fn take_up(&mut self) {
        let new = self.streams.take();
        if !new.is_empty() {
            self.running.extend(new);
            self.streams_wake.set();
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        self.hyper_wake.begin(cx.waker());
        self.streams_wake.begin(cx.waker());
        for _ in 0..ROUNDS {
            if self.hyper_wake.take() {
                let waker = Waker::from(self.hyper_wake.clone());
                let ended = Pin::new(&mut self.hyper).poll(&mut Context::from_waker(&waker));
                if ended.is_ready() {
                    return ended;
                }
                self.take_up();
            }
            if self.streams_wake.take() {
                let waker = Waker::from(self.streams_wake.clone());
                let mut cx = Context::from_waker(&waker);
                // What they have to send, they tell hyper, which has itself woken.
                while let Poll::Ready(Some(())) = self.running.poll_next_unpin(&mut cx) {}
            }
            if !self.hyper_wake.is_set() && !self.streams_wake.is_set() {
                break;
            }
        }
        self.hyper_wake.end();
        self.streams_wake.end();
        Poll::Pending
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // They hold the place that they are in.
        drop(self.streams.take());
    }
}

impl hyper::service::Service<Request<Incoming>> for StreamService {
    type Response = Response<WatchedBody>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<WatchedBody>, Infallible>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let flow = Arc::<Flow>::default();
        self.streams.lock(|new| new.flow = Some(flow.clone()));
        let answer = self.router.clone().oneshot(request.map(Body::new));
        Box::pin(async move { Ok(answer.await?.map(|body| WatchedBody::new(body, flow))) })
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        let stream = AssertUnwindSafe(stream).catch_unwind().map(|ended| {
            if let Err(panic) = ended {
                tell_panic(&*panic);
            }
        });
        self.lock(|new| {
            let flow = new.flow.take().unwrap_or_default();
            new.streams.push(WatchedStream::new(Box::pin(stream), flow, self.timeout));
        });
    }
}

impl Streams {
    fn take(&self) -> Vec<WatchedStream> {
        self.lock(|new| mem::take(&mut new.streams))
    }

    fn lock<T>(&self, change: impl FnOnce(&mut NewStreams) -> T) -> T {
        change(&mut self.new.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A panic ends one stream, and not the others of the connection.
fn tell_panic(panic: &(dyn Any + Send)) {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message");
    tracing::error!(panic = text, "a stream panicked");
}

fn builder(settings: &ListenSettings, streams: Streams) -> Builder<Streams> {
    let mut builder = Builder::new(streams);
    builder.timer(TokioTimer::new());
    builder.keep_alive_interval(settings.keep_alive_interval).keep_alive_timeout(settings.keep_alive_timeout);
    builder.max_concurrent_streams(settings.max_streams);
    builder.max_header_list_size(HEAD_BYTES as u32).max_send_buf_size(STREAM_SEND_BYTES);
    builder
}
