//! What is answered where nothing is.

use axum::response::{IntoResponse as _, Response};
use http::{Method, StatusCode};

use super::error::cause_response;
use crate::model::{Cause, Code};

/// Nothing is at the path of the request.
#[derive(Debug, thiserror::Error)]
#[error("there is nothing at this path")]
struct PathNotFound;

/// What is at the path takes no requests of this method; `Allow` says which.
#[derive(Debug, thiserror::Error)]
#[error("the method {0} is not allowed here")]
struct MethodNotAllowed(Method);

/// Answers a request for nothing.
pub(super) async fn path_not_found() -> Response {
    cause_response(&PathNotFound)
}

/// Answers a request of a method that is not offered.
pub(super) async fn method_not_allowed(method: Method) -> Response {
    (StatusCode::METHOD_NOT_ALLOWED, cause_response(&MethodNotAllowed(method))).into_response()
}

impl Cause for PathNotFound {
    fn code(&self) -> Code {
        Code::NotFound
    }

    fn reason(&self) -> &'static str {
        "PATH_NOT_FOUND"
    }
}

impl Cause for MethodNotAllowed {
    fn code(&self) -> Code {
        Code::Unimplemented
    }

    fn reason(&self) -> &'static str {
        "METHOD_NOT_ALLOWED"
    }
}
