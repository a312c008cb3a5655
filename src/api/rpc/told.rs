//! Errors that the stack itself tells.

use std::collections::HashMap;

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use connectrpc::{ConnectError, ErrorCode, ErrorDetail};
use prost::Message as _;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _, pb};

/// Tells errors, with a `google.rpc.ErrorInfo` where the service behind the stack has a domain for its own.
#[derive(Debug, Clone, Copy)]
pub(super) struct Teller(pub(super) Option<&'static str>);

impl Teller {
    /// An error with a stable name for programs, in capitals.
    pub(super) fn status(self, code: Code, reason: &str, message: impl Into<String>) -> Status {
        match self.0 {
            None => Status::new(code, message),
            Some(domain) => {
                let details = ErrorDetails::with_error_info(reason, domain, HashMap::new());
                Status::with_error_details(code, message, details)
            }
        }
    }

    /// The same error, with what the service's own errors carry where it carries nothing: it is of a message that could not be
    /// read, or a fault of this stack.
    pub(super) fn complete(self, error: ConnectError) -> ConnectError {
        let Some(domain) = self.0.filter(|_| error.details.is_empty()) else { return error };
        let reason = match error.code {
            ErrorCode::InvalidArgument => "MESSAGE_MALFORMED".to_owned(),
            code => code.as_str().to_ascii_uppercase(),
        };
        let info = pb::ErrorInfo { reason, domain: domain.to_owned(), metadata: HashMap::new() };
        error.with_detail(detail("google.rpc.ErrorInfo", &info.encode_to_vec()))
    }

    /// The error of a call whose time has run out.
    pub(super) fn expired(self) -> Status {
        self.status(Code::DeadlineExceeded, "DEADLINE_EXCEEDED", "the deadline of the call has passed")
    }
}

/// The detail of an error as Connect tells it: a message of the type, in protobuf.
pub(super) fn detail(type_name: &str, message: &[u8]) -> ErrorDetail {
    let value = Some(STANDARD_NO_PAD.encode(message));
    ErrorDetail { type_url: type_name.to_owned(), value, debug: None }
}
