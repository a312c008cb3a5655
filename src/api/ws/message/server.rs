//! What the gateway says that is no event of a run. Events are encoded in `wire`, once for all sockets.

use bytes::Bytes;
use serde_json::{Map, Value};

use crate::{
    model::{Cause, Code, RunId, SessionId},
    runtime::clock,
};

use super::Invalid;

/// Why a message of the client has no effect, or something cannot be shown.
#[derive(Debug, Default)]
pub(in super::super) struct Told {
    /// One of the codes of the protocol.
    pub(in super::super) code: &'static str,
    /// What a person reads.
    pub(in super::super) message: String,
    /// True when the same may succeed later.
    pub(in super::super) retryable: bool,
    /// A stable name in capitals, finer than the code.
    pub(in super::super) reason: &'static str,
    /// The field that is wrong.
    pub(in super::super) field: Option<String>,
    /// When another try makes sense.
    pub(in super::super) retry_after_ms: Option<u64>,
}

impl Told {
    /// The error with this code.
    pub(in super::super) fn new(
        code: &'static str,
        reason: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self { code, reason, message: message.into(), ..Self::default() }
    }

    /// The one table from the errors of operations to the codes of the protocol.
    pub(in super::super) fn of(cause: &dyn Cause) -> Self {
        let (code, retryable) = match cause.code() {
            Code::InvalidArgument => ("invalid_message", false),
            Code::NotFound => ("not_found", false),
            Code::AlreadyExists
            | Code::FailedPrecondition
            | Code::Aborted
            | Code::OutOfRange
            | Code::Unimplemented => ("failed_precondition", false),
            Code::ResourceExhausted => ("resource_exhausted", true),
            Code::Unauthenticated | Code::PermissionDenied => ("unauthorized", false),
            // The gateway is about to end, or cannot store at present.
            Code::Unavailable => ("interrupted", true),
            Code::Internal => ("internal_error", false),
        };
        let field = cause.metadata().into_iter().find(|(name, _)| *name == "field").map(|(_, it)| it);
        let retry_after_ms = cause.retry_delay().map(|it| it.as_millis() as u64);
        let (message, reason) = (cause.to_string(), cause.reason());
        Self { code, message, retryable, reason, field, retry_after_ms }
    }
}

impl From<Invalid> for Told {
    fn from(invalid: Invalid) -> Self {
        let told = Self::new("invalid_message", "MESSAGE_INVALID", invalid.message);
        Self { field: invalid.field, ..told }
    }
}

/// The client is known; the session is the socket's from now on.
pub(in super::super) fn hello_ack(session_id: &SessionId) -> Bytes {
    text(message("hello_ack", Some(session_id)))
}

/// The message with this `request_id` has had its effect.
pub(in super::super) fn acknowledged(
    request_id: &str,
    session_id: Option<&SessionId>,
    returned: Map<String, Value>,
) -> Bytes {
    let mut ack = message("ack", session_id);
    ack.insert("request_id".to_owned(), request_id.into());
    ack.extend(returned);
    text(ack)
}

/// An error: of the message with this `request_id`, or of a run that cannot be shown, or of a message without a name.
pub(in super::super) fn refused(
    request_id: Option<&str>,
    session_id: Option<&SessionId>,
    run_id: Option<&str>,
    told: Told,
) -> Bytes {
    let mut error = message("error", session_id);
    if let Some(request_id) = request_id {
        error.insert("request_id".to_owned(), request_id.into());
    }
    if let Some(run_id) = run_id {
        error.insert("run_id".to_owned(), run_id.into());
    }
    error.insert("code".to_owned(), told.code.into());
    error.insert("message".to_owned(), told.message.into());
    error.insert("retryable".to_owned(), told.retryable.into());
    error.insert("reason".to_owned(), told.reason.into());
    if let Some(field) = told.field {
        error.insert("field".to_owned(), field.into());
    }
    if let Some(delay) = told.retry_after_ms {
        error.insert("retry_after_ms".to_owned(), delay.into());
    }
    text(error)
}

/// A sign of life.
pub(in super::super) fn pong() -> Bytes {
    text(message("pong", None))
}

/// The fields of an operation's answer that name a run.
pub(in super::super) fn of_run(run_id: RunId) -> Map<String, Value> {
    [("run_id".to_owned(), run_id.to_string().into())].into_iter().collect()
}

fn message(kind: &str, session_id: Option<&SessionId>) -> Map<String, Value> {
    let mut message = Map::new();
    message.insert("type".to_owned(), kind.into());
    message.insert("ts".to_owned(), clock::now().as_millisecond().into());
    if let Some(session_id) = session_id {
        message.insert("session_id".to_owned(), session_id.as_str().into());
    }
    message
}

fn text(message: Map<String, Value>) -> Bytes {
    Value::Object(message).to_string().into()
}
