//! gRPC, gRPC-Web and Connect in front of one tonic service.

use std::convert::Infallible;

use axum::{Router, body::Body};
use http::{Request, Response};
use prost_reflect::DescriptorPool;
use tower::{Service, ServiceExt as _};

/// Bounds of RPCs.
#[derive(Debug, Clone, Copy)]
pub struct RpcLimits {
    /// The largest message.
    pub message_bytes: usize,
}

impl Default for RpcLimits {
    fn default() -> Self {
        Self { message_bytes: crate::model::limits::MESSAGE_BYTES }
    }
}

/// placeholder
pub fn rpc_stack(
    grpc: Router,
    _descriptors: DescriptorPool,
    _limits: RpcLimits,
) -> impl Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send>
+ Clone
+ Send
+ Sync
+ 'static {
    let svc = tower::Layer::layer(&tonic_web::GrpcWebLayer::new(), grpc);
    tower::service_fn(move |request: Request<Body>| {
        let svc = svc.clone();
        async move { Ok(svc.oneshot(request).await.unwrap_or_else(|e| match e {}).map(Body::new)) }
    })
}
