//! Errors that the stack itself tells, with a reason for programs like those of the service behind it.

use std::collections::HashMap;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// Who says so.
const DOMAIN: &str = "rungate";

/// A status with a `google.rpc.ErrorInfo`.
pub(super) fn told(code: Code, reason: &str, message: impl Into<String>) -> Status {
    Status::with_error_details(code, message, ErrorDetails::with_error_info(reason, DOMAIN, HashMap::new()))
}
