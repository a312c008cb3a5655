//! One shape for the errors of all protocols.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use http::HeaderMap;
use prost::Message as _;
use serde_json::Value;
use tonic_types::{StatusExt as _, pb};

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The code as Connect names it, such as `not_found`; `cut` when the connection broke.
    pub(crate) code: String,
    pub(crate) message: String,
    /// Of the `google.rpc.ErrorInfo`; empty when there is none.
    pub(crate) reason: String,
    /// Of the `google.rpc.ErrorInfo`.
    pub(crate) metadata: BTreeMap<String, String>,
}

impl Failure {
    /// The connection broke.
    pub(super) fn cut(message: impl ToString) -> Self {
        Self::bare("cut", message)
    }

    /// What came is not what the protocol says.
    pub(super) fn nonsense(message: impl ToString) -> Self {
        Self::bare("nonsense", message)
    }

    /// The gRPC status in headers or trailers.
    pub(super) fn in_headers(headers: &HeaderMap) -> Result<(), Self> {
        match tonic::Status::from_header_map(headers) {
            None => Err(Self::nonsense(format!("no grpc-status in {headers:?}"))),
            Some(status) if status.code() == tonic::Code::Ok => Ok(()),
            Some(status) => Err(status.into()),
        }
    }

    /// The error object of Connect.
    pub(crate) fn of_connect(error: &Value) -> Self {
        let mut failure = Self::bare(error["code"].as_str().unwrap_or(""), &error["message"]);
        failure.message = error["message"].as_str().unwrap_or_default().to_owned();
        let details = error["details"].as_array();
        let info = details.into_iter().flatten().find(|it| it["type"] == "google.rpc.ErrorInfo");
        if let Some(value) = info.and_then(|it| it["value"].as_str()) {
            let value = STANDARD_NO_PAD.decode(value.trim_end_matches('=')).unwrap();
            let pb::ErrorInfo { reason, domain, metadata } = pb::ErrorInfo::decode(value.as_slice()).unwrap();
            assert_eq!(domain, "rungate");
            failure.reason = reason;
            failure.metadata = metadata.into_iter().collect();
        }
        failure
    }

    /// The error object of plain HTTP.
    pub(super) fn of_http(error: &Value) -> Self {
        let text = |it: &Value| it.as_str().unwrap_or_default().to_owned();
        let metadata = error["metadata"].as_object();
        Self {
            code: text(&error["code"]),
            message: text(&error["message"]),
            reason: text(&error["reason"]),
            metadata: metadata.into_iter().flatten().map(|(key, it)| (key.clone(), text(it))).collect(),
        }
    }

    fn bare(code: &str, message: impl ToString) -> Self {
        let (code, message) = (code.to_owned(), message.to_string());
        Self { code, message, reason: String::new(), metadata: BTreeMap::new() }
    }
}

impl From<tonic::Status> for Failure {
    fn from(status: tonic::Status) -> Self {
        let mut failure = Self::bare(connect_name(status.code()), status.message());
        if let Some(info) = status.get_details_error_info() {
            assert_eq!(info.domain, "rungate");
            failure.reason = info.reason;
            failure.metadata = info.metadata.into_iter().collect();
        }
        failure
    }
}

/// The code's name on Connect.
fn connect_name(code: tonic::Code) -> &'static str {
    match code {
        tonic::Code::Ok => "ok",
        tonic::Code::Cancelled => "canceled",
        tonic::Code::Unknown => "unknown",
        tonic::Code::InvalidArgument => "invalid_argument",
        tonic::Code::DeadlineExceeded => "deadline_exceeded",
        tonic::Code::NotFound => "not_found",
        tonic::Code::AlreadyExists => "already_exists",
        tonic::Code::PermissionDenied => "permission_denied",
        tonic::Code::ResourceExhausted => "resource_exhausted",
        tonic::Code::FailedPrecondition => "failed_precondition",
        tonic::Code::Aborted => "aborted",
        tonic::Code::OutOfRange => "out_of_range",
        tonic::Code::Unimplemented => "unimplemented",
        tonic::Code::Internal => "internal",
        tonic::Code::Unavailable => "unavailable",
        tonic::Code::DataLoss => "data_loss",
        tonic::Code::Unauthenticated => "unauthenticated",
    }
}
