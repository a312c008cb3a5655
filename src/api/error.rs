//! The one table from error code to the statuses of all protocols.

use std::collections::HashMap;

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Map, Value, json};
use tonic::Status;
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::{
    gateway::{OperationError, WatchEnd},
    model::{Cause, Code},
    wire::ERROR_DOMAIN,
};

/// A code on gRPC, its name on Connect and in JSON, its HTTP status. The statuses are those of the Connect protocol.
fn statuses(code: Code) -> (tonic::Code, &'static str, StatusCode) {
    match code {
        Code::InvalidArgument => (tonic::Code::InvalidArgument, "invalid_argument", StatusCode::BAD_REQUEST),
        Code::NotFound => (tonic::Code::NotFound, "not_found", StatusCode::NOT_FOUND),
        Code::AlreadyExists => (tonic::Code::AlreadyExists, "already_exists", StatusCode::CONFLICT),
        Code::FailedPrecondition => {
            (tonic::Code::FailedPrecondition, "failed_precondition", StatusCode::BAD_REQUEST)
        }
        Code::Aborted => (tonic::Code::Aborted, "aborted", StatusCode::CONFLICT),
        Code::OutOfRange => (tonic::Code::OutOfRange, "out_of_range", StatusCode::BAD_REQUEST),
        Code::ResourceExhausted => {
            (tonic::Code::ResourceExhausted, "resource_exhausted", StatusCode::TOO_MANY_REQUESTS)
        }
        Code::Unauthenticated => (tonic::Code::Unauthenticated, "unauthenticated", StatusCode::UNAUTHORIZED),
        Code::PermissionDenied => (tonic::Code::PermissionDenied, "permission_denied", StatusCode::FORBIDDEN),
        Code::Unavailable => (tonic::Code::Unavailable, "unavailable", StatusCode::SERVICE_UNAVAILABLE),
        Code::Unimplemented => (tonic::Code::Unimplemented, "unimplemented", StatusCode::NOT_IMPLEMENTED),
        Code::Internal => (tonic::Code::Internal, "internal", StatusCode::INTERNAL_SERVER_ERROR),
    }
}

/// An operation's error on gRPC, gRPC-Web and Connect.
pub(super) fn status(error: impl OperationError) -> Status {
    cause_status(error.as_cause())
}

/// The error on gRPC, gRPC-Web and Connect.
pub(super) fn cause_status(cause: &dyn Cause) -> Status {
    let metadata: HashMap<_, _> =
        cause.metadata().into_iter().map(|(key, it)| (key.to_owned(), it)).collect();
    let mut details = ErrorDetails::with_error_info(cause.reason(), ERROR_DOMAIN, metadata);
    if let Some(delay) = cause.retry_delay() {
        details.set_retry_info(Some(delay));
    }
    Status::with_error_details(statuses(cause.code()).0, cause.to_string(), details)
}

/// How a watch ends that is cut short, on gRPC, gRPC-Web and Connect.
pub(super) fn watch_end_status(end: &WatchEnd) -> Status {
    end.cause().map_or_else(|| cause_status(&crate::gateway::Draining), cause_status)
}

/// An operation's error as an HTTP response.
pub(super) fn response(error: impl OperationError) -> Response {
    cause_response(error.as_cause())
}

/// The error as an HTTP response: `{"code", "message", "reason", "metadata"}`.
pub(super) fn cause_response(cause: &dyn Cause) -> Response {
    let (_, _, status) = statuses(cause.code());
    let mut response = (status, Json(cause_body(cause))).into_response();
    if let Some(delay) = cause.retry_delay() {
        let seconds = delay.as_secs_f64().ceil() as u64;
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// What such a response carries.
pub(super) fn cause_body(cause: &dyn Cause) -> Value {
    let (_, name, _) = statuses(cause.code());
    let metadata: Map<_, _> =
        cause.metadata().into_iter().map(|(key, it)| (key.to_owned(), Value::String(it))).collect();
    json!({"code": name, "message": cause.to_string(), "reason": cause.reason(), "metadata": metadata})
}
