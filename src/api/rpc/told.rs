//! Errors that the stack itself tells.

use std::collections::HashMap;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

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

    /// The error of a call whose time has run out.
    pub(super) fn expired(self) -> Status {
        self.status(Code::DeadlineExceeded, "DEADLINE_EXCEEDED", "the deadline of the call has passed")
    }
}
