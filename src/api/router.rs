//! Everything on the public port, in one router.

use std::time::Duration;

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    middleware::map_request_with_state,
    routing::get,
};
use prost_reflect::DescriptorPool;
use tonic::service::Routes;
use tonic_health::server::HealthReporter;
use tower_http::timeout::TimeoutBody;

use super::{
    console,
    cors::{self, CorsSettings},
    grpc::PipelineRpc,
    health,
    refusals::{method_not_allowed, path_not_found},
    rpc::{RpcLimits, rpc_stack},
    sse,
    ws::{self, Door, WsSettings},
};
use crate::{
    gateway::Gateway,
    model::limits,
    wire::{self, v1::server::pipeline_service_server::PipelineServiceServer},
};

/// What clients may do, and which.
#[derive(Debug, Clone)]
pub struct ApiSettings {
    /// Which web pages may call the gateway from a browser.
    pub cors: CorsSettings,
    /// What sockets may do, and which.
    pub ws: WsSettings,
    /// How long a request may fall silent before its end.
    pub body_timeout: Duration,
}

/// Everything on the public port. The health reporter is for telling that the gateway drains.
pub async fn router(gateway: Gateway, settings: &ApiSettings) -> (Router, HealthReporter) {
    let (reporter, health_service) = tonic_health::server::health_reporter();
    reporter.set_serving::<PipelineServiceServer<PipelineRpc>>().await;
    let reflection = || {
        let builder = tonic_reflection::server::Builder::configure();
        let builder = builder.register_encoded_file_descriptor_set(wire::DESCRIPTORS);
        builder.register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let pipeline = PipelineServiceServer::new(PipelineRpc { gateway: gateway.clone() });
    let pipeline = pipeline
        .accept_compressed(tonic::codec::CompressionEncoding::Gzip)
        .max_decoding_message_size(limits::MESSAGE_BYTES)
        .max_encoding_message_size(usize::MAX);
    let mut services = Routes::new(pipeline).add_service(health_service);
    match (reflection().build_v1(), reflection().build_v1alpha()) {
        (Ok(v1), Ok(v1alpha)) => services = services.add_service(v1).add_service(v1alpha),
        (Err(error), _) | (_, Err(error)) => unreachable!("the descriptors were made by the build: {error}"),
    }
    let rpc = rpc_stack(
        services.into_axum_router(),
        all_descriptors(),
        RpcLimits::default(),
        Some(wire::ERROR_DOMAIN),
    );
    let door = Door::new(gateway.clone(), settings.ws.clone(), settings.cors.clone());
    let router = Router::new()
        .route("/", get(console::index))
        .route("/console/{name}", get(console::file))
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/v1/runs/{run_id}/events", get(sse::run_events))
        .route("/v1/sessions/{session_id}/events", get(sse::session_events))
        .route("/ws", get(ws::enter).with_state(door))
        .route_service("/{service}/{method}", rpc)
        .fallback(path_not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(gateway)
        .layer(map_request_with_state(settings.body_timeout, bound_body))
        .layer(cors::layer(&settings.cors));
    (router, reporter)
}

/// The descriptors of our own service and of the standard ones, so that all are served over Connect and JSON too.
fn all_descriptors() -> DescriptorPool {
    let mut pool = wire::descriptor_pool().clone();
    for standard in [
        tonic_health::pb::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
    ] {
        if let Err(error) = pool.decode_file_descriptor_set(standard) {
            unreachable!("the standard services have good descriptors: {error}")
        }
    }
    pool
}

/// Ends a request that stops in the middle of its body. What it may hold at most is bounded by the size of messages.
pub(super) async fn bound_body(State(timeout): State<Duration>, request: Request) -> Request {
    // Reflection is a conversation: its client may think as long as it likes.
    if request.uri().path().starts_with("/grpc.reflection.") {
        return request;
    }
    request.map(|body| Body::new(TimeoutBody::new(timeout, body)))
}
