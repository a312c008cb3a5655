//! The closed set of error codes, and what every cause of an error can tell about itself.

use std::time::Duration;

/// What kind of error a caller meets. Each has one gRPC code and one HTTP status, in one table of the `api` module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// The request can never succeed as it is.
    InvalidArgument,
    /// What the request names does not exist.
    NotFound,
    /// It exists already, and is another.
    AlreadyExists,
    /// Not in the present state.
    FailedPrecondition,
    /// It came too late: what it was for is over.
    Aborted,
    /// Beyond the end.
    OutOfRange,
    /// A bound was reached; later it may succeed.
    ResourceExhausted,
    /// No credentials.
    Unauthenticated,
    /// Not yours.
    PermissionDenied,
    /// The gateway is draining; another try may succeed.
    Unavailable,
    /// Not offered here.
    Unimplemented,
    /// A fault of the gateway. The text says nothing of its inside.
    Internal,
}

/// The cause of an error that a caller meets. Its `Display` is the message the caller reads.
pub trait Cause: std::error::Error {
    /// The kind of error.
    fn code(&self) -> Code;

    /// A stable name for programs, in capitals, such as `SESSION_NOT_FOUND`.
    fn reason(&self) -> &'static str;

    /// The ids the error is about.
    fn metadata(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// When another try makes sense.
    fn retry_delay(&self) -> Option<Duration> {
        None
    }
}
