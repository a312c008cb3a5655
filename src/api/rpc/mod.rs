//! gRPC, gRPC-Web and Connect from one tonic service on one port.
//!
//! The content type decides who serves a call:
//!
//! ```text
//! application/grpc, +proto          ───────────────────────────► mend ─► tonic
//! application/grpc-web(-text), +proto ─► early_answer ─► tonic-web ─► mend ─► tonic
//! all others, all +json, Connect GET  ─► connectrpc ─► connect ─► mend ─► tonic
//! ```
//!
//! [`mend`] is one layer over tonic that makes it keep the gRPC specification where tonic alone does not;
//! [`connect`] translates what the `connectrpc` crate has decoded into in-process gRPC calls. Nobody here knows
//! a service: methods and messages come from the descriptors, so health and reflection are served like the rest.

mod connect;
mod early_answer;
mod framed_answers;
mod json_answers;
mod mend;
mod methods;
mod protocol;
#[cfg(test)]
mod tests;
mod told;
mod trailers;

use std::convert::Infallible;
use std::task::{Context, Poll};

use axum::body::Body;
use connectrpc::ConnectRpcService;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{Request, Response};
use prost_reflect::DescriptorPool;
use tonic_web::{GrpcWebLayer, GrpcWebService};
use tower::{Layer, Service, ServiceExt};

use self::connect::TonicBridge;
pub use self::framed_answers::FramedAnswers;
pub use self::json_answers::JsonAnswers;
use self::mend::MendedTonic;
use self::methods::Methods;
use self::protocol::Protocol;
use self::told::Teller;
pub use self::trailers::Trailers;

/// Largest request message a gateway takes unless told otherwise: 4 MiB, as everywhere in the gRPC world.
const DEFAULT_MESSAGE_BYTES: usize = 4 * 1024 * 1024;

/// Bounds of what a client may send.
#[derive(Clone, Copy, Debug)]
pub struct RpcLimits {
    /// Largest request message in bytes, decompressed. A larger one ends its call with RESOURCE_EXHAUSTED.
    ///
    /// The tonic services must be built with this very number as their `max_decoding_message_size`, because they
    /// alone see the size of a decompressed gRPC message.
    pub message_bytes: usize,
}

impl Default for RpcLimits {
    fn default() -> Self {
        Self { message_bytes: DEFAULT_MESSAGE_BYTES }
    }
}

/// Serves every RPC protocol from one tonic router. Cheap to clone; each call is a call on a clone.
#[derive(Clone)]
pub struct RpcStack {
    grpc: MendedTonic,
    grpc_web: GrpcWebService<MendedTonic>,
    connect: ConnectRpcService<TonicBridge>,
}

/// Builds the stack over `grpc`, the router of [`tonic::service::Routes::into_axum_router`].
///
/// `descriptors` must hold every service of the router that is to be served over Connect and JSON, and decides
/// which methods take exactly one request message. Paths without a method in it are answered by tonic.
///
/// A handler finds the [`Trailers`] of its call in the extensions of its request, and [`JsonAnswers`] where its client wants
/// JSON. Into those of its response it may put [`FramedAnswers`].
///
/// `error_domain` is the domain of the `google.rpc.ErrorInfo` that errors of the stack itself carry; without one they carry
/// none.
pub fn rpc_stack(
    grpc: axum::Router,
    descriptors: DescriptorPool,
    limits: RpcLimits,
    error_domain: Option<&'static str>,
) -> RpcStack {
    let methods = Methods::of(&descriptors);
    let teller = Teller(error_domain);
    let mended = MendedTonic::new(grpc, methods.clone(), limits.message_bytes, teller);
    RpcStack {
        grpc: mended.clone(),
        grpc_web: GrpcWebLayer::new().layer(mended.clone()),
        connect: connect::service(mended, methods, limits.message_bytes, teller),
    }
}

impl Service<Request<Body>> for RpcStack {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        match Protocol::of(&request) {
            Protocol::Grpc => self.grpc.call(request),
            Protocol::GrpcWeb(form) => {
                request.headers_mut().insert(CONTENT_TYPE, form.content_type);
                request.headers_mut().insert(ACCEPT, form.accept);
                early_answer::serve(request, self.grpc_web.clone()).boxed()
            }
            Protocol::Refused(refusal) => {
                let refuse = tower::service_fn(move |_| futures::future::ok(refusal.into_response()));
                early_answer::serve(request, refuse).boxed()
            }
            Protocol::Connect => {
                self.connect.clone().oneshot(request).map(|answer| answer.map(|r| r.map(Body::new))).boxed()
            }
        }
    }
}
