//! Why a language model gave no answer.

use std::time::Duration;

use thiserror::Error;

use crate::model::RunError;

/// Why a call failed. The texts are for people and hold neither the key nor what the server said.
#[derive(Debug, Error)]
pub enum LlmError {
    /// 401 or 403.
    #[error("the language model did not accept the API key")]
    Unauthorized,
    /// 429, and the retries were used up.
    #[error("the language model limits the rate of requests; try again later")]
    RateLimited {
        /// How long the server asked to wait.
        retry_after: Option<Duration>,
    },
    /// It could not be reached, or it failed.
    #[error("the language model is unavailable: {0}")]
    Unavailable(#[source] Unavailable),
    /// It took too long.
    #[error("the language model took too long: {0}")]
    Timeout(#[source] Waited),
    /// It answered something that is no answer.
    #[error("the language model's answer cannot be used: {0}")]
    BadResponse(#[source] BadResponse),
    /// It understood and will not: the request can never succeed as it is.
    #[error("the language model refused the request (HTTP {status})")]
    Refused {
        /// The HTTP status.
        status: u16,
    },
    /// The caller cancelled.
    #[error("the call to the language model was cancelled")]
    Cancelled,
}

/// In which way a model was not there.
#[derive(Debug, Error)]
pub enum Unavailable {
    /// No connection, or one that broke before the answer began.
    #[error("it could not be reached")]
    Connection(#[source] reqwest::Error),
    /// 408 or 5xx, and the retries were used up.
    #[error("it failed (HTTP {0})")]
    Status(u16),
    /// The connection broke within the answer.
    #[error("the connection broke within the answer")]
    Broken(#[source] reqwest::Error),
    /// The answer ended in good order before it was complete.
    #[error("the answer ended too early")]
    Incomplete,
    /// The server reported a failure in the place of an answer.
    #[error("it reported a failure")]
    Reported,
}

/// What took too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Waited {
    /// `idle_timeout` passed before the answer began.
    #[error("no answer began")]
    ForHead,
    /// `idle_timeout` passed within the answer.
    #[error("the answer stopped midway")]
    ForPiece,
    /// `total_timeout` passed.
    #[error("the call as a whole was not done in time")]
    InAll,
}

/// In which way an answer is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BadResponse {
    /// Neither an event stream nor JSON.
    #[error("it is of a wrong content type")]
    ContentType,
    /// The bytes are no UTF-8.
    #[error("it is no text")]
    NotText,
    /// A piece is no JSON of the expected shape.
    #[error("it is malformed")]
    Malformed,
    /// Nothing was answered.
    #[error("it holds no message")]
    NoMessage,
    /// The text is longer than `max_output_bytes`, or a piece is far longer than such a text can be.
    #[error("it is too long")]
    TooLong,
}

impl LlmError {
    /// A stable name for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unauthorized => "llm_unauthorized",
            Self::RateLimited { .. } => "llm_rate_limited",
            Self::Unavailable(_) => "llm_unavailable",
            Self::Timeout(_) => "llm_timeout",
            Self::BadResponse(_) => "llm_bad_response",
            Self::Refused { .. } => "llm_refused",
            Self::Cancelled => "cancelled",
        }
    }

    /// True when the same request may succeed later.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::RateLimited { .. } | Self::Unavailable(_) | Self::Timeout(_))
    }
}

impl From<BadResponse> for LlmError {
    fn from(cause: BadResponse) -> Self {
        Self::BadResponse(cause)
    }
}

impl From<LlmError> for RunError {
    fn from(error: LlmError) -> Self {
        Self { code: error.code().to_owned(), message: error.to_string(), retryable: error.is_retryable() }
    }
}
