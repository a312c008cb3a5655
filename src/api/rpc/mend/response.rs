//! The end of a gRPC answer: trailing metadata, and the deadline.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Response};
use http_body::Frame;
use http_body_util::StreamBody;
use tokio::time::{Instant, Sleep};
use tonic::Status;

use super::super::{framed_answers::FramedAnswers, trailers::Trailers};
use crate::api::rpc::told::Teller;

/// A response body that ends with the trailers of its call, at its deadline at the latest.
struct EndedBody {
    /// None once the trailers were given out. Dropping it tells tonic's stream that the call is over.
    body: Option<Body>,
    trailers: Trailers,
    deadline: Option<Pin<Box<Sleep>>>,
    teller: Teller,
}

/// Mends what tonic answered to a call.
pub(super) fn mended(
    answer: Response<Body>,
    trailers: Trailers,
    deadline: Option<Instant>,
    teller: Teller,
) -> Response<Body> {
    let (mut head, body) = answer.into_parts();
    // axum counts the bytes of an empty body, which gRPC has no use for.
    head.headers.remove(CONTENT_LENGTH);
    if !head.headers.contains_key(Status::GRPC_STATUS) {
        let framed = head.extensions.remove::<FramedAnswers>().and_then(|it| it.take());
        let body = framed.unwrap_or(body);
        let deadline = deadline.map(|at| Box::pin(tokio::time::sleep_until(at)));
        return Response::from_parts(
            head,
            Body::new(EndedBody { body: Some(body), trailers, deadline, teller }),
        );
    }
    if trailers.is_empty() {
        return Response::from_parts(head, body);
    }
    // An error in the head ("trailers only") cannot tell headers from trailers: it is sent in two parts.
    let mut end = HeaderMap::new();
    for name in [Status::GRPC_STATUS, Status::GRPC_MESSAGE, Status::GRPC_STATUS_DETAILS] {
        if let Some(value) = head.headers.remove(&name) {
            end.insert(name, value);
        }
    }
    trailers.append_to(&mut end);
    let end = futures::stream::iter([Ok::<_, axum::Error>(Frame::trailers(end))]);
    Response::from_parts(head, Body::new(StreamBody::new(end)))
}

impl http_body::Body for EndedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        let Some(body) = this.body.as_mut() else { return Poll::Ready(None) };
        // The deadline comes first: a stream that always has a message would never let it through.
        if let Some(deadline) = this.deadline.as_mut()
            && deadline.as_mut().poll(cx).is_ready()
        {
            this.body = None;
            let mut end = HeaderMap::new();
            this.teller.expired().add_header(&mut end).map_err(axum::Error::new)?;
            return Poll::Ready(Some(Ok(Frame::trailers(end))));
        }
        match ready!(Pin::new(body).poll_frame(cx)) {
            Some(Ok(frame)) => Poll::Ready(Some(Ok(match frame.into_trailers() {
                Ok(mut end) => {
                    this.body = None;
                    this.trailers.append_to(&mut end);
                    Frame::trailers(end)
                }
                Err(message) => message,
            }))),
            end => {
                this.body = None;
                Poll::Ready(end)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_none()
    }
}
