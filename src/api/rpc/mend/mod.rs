//! tonic, kept to the gRPC specification.
//!
//! Under a plain HTTP server tonic does not enforce `grpc-timeout`, has no trailing metadata on success, mixes
//! headers with trailers on errors, answers OUT_OF_RANGE to a message that is too large, and takes the first of
//! several request messages of a method that has one. [`MendedTonic`] corrects this around tonic: [`request`]
//! reads along in the request, [`response`] ends the answer. Neither copies a message.

mod request;
mod response;
mod timeout;

use std::convert::Infallible;
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::{Request, Response};
use tokio::time::Instant;
use tonic::Code;
use tower::Service;

use self::request::CheckedRequest;
use super::methods::Methods;
use super::told::Teller;
use super::trailers::Trailers;

/// The mended tonic router.
#[derive(Clone)]
pub(super) struct MendedTonic {
    tonic: axum::Router,
    methods: Methods,
    message_bytes: usize,
    teller: Teller,
}

impl MendedTonic {
    pub(super) fn new(tonic: axum::Router, methods: Methods, message_bytes: usize, teller: Teller) -> Self {
        Self { tonic, methods, message_bytes, teller }
    }
}

impl<B> Service<Request<B>> for MendedTonic
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let deadline = match timeout::grpc_timeout(request.headers()) {
            // A deadline further away than the clock can count is none.
            Ok(timeout) => timeout.and_then(|timeout| Instant::now().checked_add(timeout)),
            Err(malformed) => {
                let status =
                    self.teller.status(Code::InvalidArgument, "TIMEOUT_MALFORMED", malformed.to_string());
                return futures::future::ok(status.into_http()).boxed();
            }
        };
        let one_message = self.methods.get(request.uri().path()).is_some_and(|method| !method.client_streams);
        let (message_bytes, teller) = (self.message_bytes, self.teller);
        let mut request = request
            .map(|body| Body::new(CheckedRequest::new(Body::new(body), message_bytes, one_message, teller)));
        let trailers = request.extensions_mut().get_or_insert_default::<Trailers>().clone();
        let answer = self.tonic.call(request);
        let mended = async move {
            let answer = match deadline {
                None => answer.await,
                Some(at) => match tokio::time::timeout_at(at, answer).await {
                    Ok(answer) => answer,
                    Err(_) => Ok(teller.expired().into_http()),
                },
            };
            answer.map(|answer| response::mended(answer, trailers, deadline, teller))
        };
        mended.boxed()
    }
}
