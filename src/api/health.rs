//! `/healthz` and `/readyz` for orchestrators that speak HTTP; the gRPC health service stands beside them.

use axum::{Json, extract::State, response::IntoResponse};
use http::StatusCode;
use serde_json::json;

use crate::gateway::Gateway;

/// The process answers.
pub(super) async fn healthz() -> impl IntoResponse {
    Json(json!({"status": "ok", "version": env!("CARGO_PKG_VERSION")}))
}

/// The process takes up new work: 503 from the beginning of the drain.
pub(super) async fn readyz(State(gateway): State<Gateway>) -> impl IntoResponse {
    if gateway.is_ready() {
        (StatusCode::OK, Json(json!({"status": "ready"})))
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, Json(json!({"status": "draining"})))
    }
}
