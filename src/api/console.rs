//! The console: a page to start a run and watch it, embedded in the binary.

use axum::response::IntoResponse;
use http::header;

/// `GET /`.
pub(super) async fn index() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], include_str!("console/index.html"))
}
