//! Answers on HTTP/1.1 that come before the request was read.
//!
//! A client that is still sending when the connection closes may never see the answer: its write fails first.
//! HTTP/2 resets one stream and is free of this. On HTTP/1.1 the rest of the request is therefore read, within
//! bounds, before the answer goes out.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response, Version};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;
use tower::{Service, ServiceExt};

/// How much of an unwanted request is read, and dropped at once: a message somewhat beyond the bound, also in base64. More
/// means a client that must live with a broken connection.
const DRAIN_BYTES: usize = 16 * 1024 * 1024;

/// How long an unwanted request is waited for. Longer means the same.
const DRAIN_TIME: Duration = Duration::from_secs(2);

/// A request body that returns to its owner when whoever reads it loses interest.
struct LentBody {
    /// None once it was read to its end.
    body: Option<Body>,
    owner: Owner,
}

/// Where an unread body comes back to.
#[derive(Clone, Default)]
struct Owner(Arc<Mutex<Option<Body>>>);

impl http_body::Body for LentBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Some(body) = self.body.as_mut() else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(body).poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) {
            self.body = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(|body| body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), |body| body.size_hint())
    }
}

impl Drop for LentBody {
    fn drop(&mut self) {
        if let Some(body) = self.body.take().filter(|body| !body.is_end_stream()) {
            *self.owner.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(body);
        }
    }
}

impl Owner {
    fn returned(&self) -> Option<Body> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Calls `service`; on HTTP/1.1, what it dropped of the request is read before its answer is returned.
pub(super) async fn serve<S, B>(request: Request<Body>, service: S) -> Result<Response<Body>, Infallible>
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible>,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    if request.version() >= Version::HTTP_2 {
        return Ok(service.oneshot(request).await?.map(Body::new));
    }
    let owner = Owner::default();
    let request = request.map(|body| Body::new(LentBody { body: Some(body), owner: owner.clone() }));
    let response = service.oneshot(request).await?.map(Body::new);
    if let Some(rest) = owner.returned() {
        drain(rest).await;
    }
    Ok(response)
}

async fn drain(mut rest: Body) {
    let read = async {
        let mut bytes = 0;
        while let Some(Ok(frame)) = rest.frame().await {
            bytes += frame.data_ref().map_or(0, Bytes::len);
            if bytes > DRAIN_BYTES {
                break;
            }
        }
    };
    // Running out of time is as good as reaching the bound: the answer goes out.
    let _ = tokio::time::timeout(DRAIN_TIME, read).await;
}
