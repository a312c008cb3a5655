//! Responses that last, such as streams of events, go past hyper: while one flows there is nothing for hyper to do, and it
//! would hold some 16 KB of buffers for it.

use std::{
    convert::Infallible,
    future::pending,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use axum::{Router, body::Body, response::Response};
use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderMap, Method, Request, StatusCode, Version, header};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use tower::ServiceExt as _;

/// Put into the extensions of a response: it is a stream that may last for long, and whose length is not known. It has no
/// trailers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LongStream;

/// A response for somebody else than hyper to write.
pub(super) struct Offer {
    pub(super) response: Response<Body>,
    pub(super) version: Version,
    /// Whether the client may send another request on the connection.
    keep_alive: bool,
}

/// Where a response is left for whoever serves the connection.
#[derive(Clone, Default)]
pub(super) struct Handover(Arc<Mutex<Option<Offer>>>);

/// The router, for one connection. Hyper waits for ever for an answer that is left in the handover.
pub(super) struct HandoverService {
    router: Router,
    handover: Handover,
}

/// What has to be known of a request when its response is there.
struct Asked {
    version: Version,
    keep_alive: bool,
    head_alone: bool,
    /// Set when the body has been read to its end.
    read: Arc<AtomicBool>,
}

/// A body that tells when it has been read to its end.
struct ToldBody {
    body: Incoming,
    read: Arc<AtomicBool>,
}

impl Offer {
    /// Whether the client may send another request on the connection.
    pub(super) fn keep_alive(&self) -> bool {
        self.keep_alive
    }
}

impl Handover {
    /// What has been left, if anything.
    pub(super) fn take(&self) -> Option<Offer> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn leave(&self, offer: Offer) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(offer);
    }
}

impl HandoverService {
    /// The router behind a handover.
    pub(super) fn new(router: Router, handover: Handover) -> Self {
        Self { router, handover }
    }
}

impl hyper::service::Service<Request<Incoming>> for HandoverService {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let asked = Asked::of(&request);
        let request = request.map(|body| match asked.read() {
            true => Body::empty(),
            false => Body::new(ToldBody { body, read: asked.read.clone() }),
        });
        let answer = self.router.clone().oneshot(request);
        let handover = self.handover.clone();
        Box::pin(async move {
            let response = answer.await?;
            if !asked.allows(&response) {
                return Ok(response);
            }
            let keep_alive = asked.keep_alive && !has_token(response.headers(), "close");
            handover.leave(Offer { response, version: asked.version, keep_alive });
            pending().await
        })
    }
}

impl Asked {
    fn of(request: &Request<Incoming>) -> Self {
        let version = request.version();
        Self {
            version,
            // The end of a stream to a client of HTTP/1.0 is the end of the connection.
            keep_alive: version == Version::HTTP_11 && !has_token(request.headers(), "close"),
            head_alone: request.method() == Method::HEAD,
            read: Arc::new(AtomicBool::new(http_body::Body::is_end_stream(request.body()))),
        }
    }

    fn read(&self) -> bool {
        self.read.load(Ordering::Relaxed)
    }

    /// Whether a response may go past hyper. It may not before the request has been read: what follows on the connection
    /// has to be the next request.
    fn allows(&self, response: &Response<Body>) -> bool {
        response.extensions().get::<LongStream>().is_some()
            && matches!(self.version, Version::HTTP_10 | Version::HTTP_11)
            && !self.head_alone
            && self.read()
            && response.status() == StatusCode::OK
            && !response.headers().contains_key(header::CONTENT_LENGTH)
            && !response.headers().contains_key(header::TRANSFER_ENCODING)
    }
}

impl http_body::Body for ToldBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if frame.is_none() || self.body.is_end_stream() {
            self.read.store(true, Ordering::Relaxed);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Whether the header `connection` has an option.
fn has_token(headers: &HeaderMap, token: &str) -> bool {
    headers.get_all(header::CONNECTION).iter().any(|it| {
        it.as_bytes().split(|it| *it == b',').any(|it| it.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
    })
}
