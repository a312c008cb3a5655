//! A connection over HTTP/2.

use std::{
    convert::Infallible,
    future::poll_fn,
    sync::{Arc, Mutex, PoisonError},
    task::Poll,
    time::Duration,
};

use axum::{Router, body::Body, response::Response};
use futures::{FutureExt as _, future::BoxFuture};
use http::Request;
use hyper::{body::Incoming, rt::Executor, server::conn::http2::Builder};
use hyper_util::rt::{TokioIo, TokioTimer};
use tower::ServiceExt as _;

use super::{
    ListenSettings,
    connection::{BoxError, HEAD_BYTES},
    socket::Socket,
    watched::{Flow, WatchedBody, WatchedStream},
};
use crate::runtime::{
    shutdown::{Cancelled, Shutdown},
    task::{self, TaskKind},
};

/// Bytes that wait to be sent on one stream; beyond it the stream's source waits.
const STREAM_SEND_BYTES: usize = 64 << 10;

/// The router, for one connection.
struct StreamService {
    router: Router,
    streams: Streams,
}

/// Has the streams of one connection run, each as a task that is watched.
#[derive(Clone)]
struct Streams {
    /// Of the response to the request that hyper has just handed over, until its stream is there.
    flow: Arc<Mutex<Option<Arc<Flow>>>>,
    timeout: Duration,
}

/// Serves a connection to its end.
pub(super) async fn serve(
    socket: Socket,
    router: Router,
    settings: &ListenSettings,
    shutdown: &Shutdown,
) -> Result<(), BoxError> {
    let streams = Streams { flow: Arc::default(), timeout: settings.write_stall_timeout };
    let service = StreamService { router, streams: streams.clone() };
    let connection = builder(settings, streams).serve_connection(TokioIo::new(socket), service);
    let mut connection = Box::pin(connection);
    let (mut draining, mut stopped) = (Cancelled::new(&shutdown.draining), Cancelled::new(&shutdown.stopped));
    let mut drains = false;
    poll_fn(|cx| {
        if !drains && draining.poll_unpin(cx).is_ready() {
            drains = true;
            connection.as_mut().graceful_shutdown();
        }
        if drains && stopped.poll_unpin(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        connection.as_mut().poll(cx).map_err(BoxError::from)
    })
    .await
}

impl hyper::service::Service<Request<Incoming>> for StreamService {
    type Response = Response<WatchedBody>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<WatchedBody>, Infallible>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let flow = Arc::<Flow>::default();
        *self.streams.flow.lock().unwrap_or_else(PoisonError::into_inner) = Some(flow.clone());
        let answer = self.router.clone().oneshot(request.map(Body::new));
        Box::pin(async move { Ok(answer.await?.map(|body| WatchedBody::new(body, flow))) })
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        let flow = self.flow.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_default();
        task::spawn(TaskKind::Stream, WatchedStream::new(Box::pin(stream), flow, self.timeout));
    }
}

fn builder(settings: &ListenSettings, streams: Streams) -> Builder<Streams> {
    let mut builder = Builder::new(streams);
    builder.timer(TokioTimer::new());
    builder.keep_alive_interval(settings.keep_alive_interval).keep_alive_timeout(settings.keep_alive_timeout);
    builder.max_concurrent_streams(settings.max_streams);
    builder.max_header_list_size(HEAD_BYTES as u32).max_send_buf_size(STREAM_SEND_BYTES);
    builder
}
