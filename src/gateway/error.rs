//! Why operations fail: a struct per cause, an enum per operation.

use crate::{
    model::{Cause, Code, CursorError, RunId, SessionId, WorkerKey},
    run::RunNotFound,
    session::{SessionError, SessionNotFound, StoreError},
};

/// So much of an id that nobody has is repeated to who asked for it.
const SHOWN_CHARS: usize = 64;

/// The error of an operation: always one of the causes below or of the components.
pub trait OperationError: std::error::Error {
    /// What went wrong.
    fn as_cause(&self) -> &dyn Cause;
}

/// Declares an operation's error as a choice of causes.
macro_rules! operation_error {
    ($(#[$meta:meta])* $visibility:vis enum $name:ident { $($variant:ident($cause:ty),)* }) => {
        $(#[$meta])*
        #[derive(Debug, thiserror::Error)]
        $visibility enum $name {
            $(
                #[doc = concat!("See [`", stringify!($cause), "`].")]
                #[error(transparent)]
                $variant(#[from] $cause),
            )*
        }

        impl $crate::gateway::error::OperationError for $name {
            fn as_cause(&self) -> &dyn $crate::model::Cause {
                match self {
                    $(Self::$variant(cause) => cause,)*
                }
            }
        }
    };
}

/// Lets an operation's error take over another error, all of whose variants it has too.
macro_rules! pass_on {
    ($from:ident { $($variant:ident),* } => $to:ident) => {
        impl From<$from> for $to {
            fn from(error: $from) -> Self {
                match error {
                    $($from::$variant(cause) => Self::$variant(cause.into()),)*
                }
            }
        }
    };
}

pub(super) use {operation_error, pass_on};

/// A required field is missing.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{} is required{}", .0, if *.0 == "session_id" { " (request field or cookie)" } else { "" })]
pub struct MissingField(pub &'static str);

/// A field cannot be what it says.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{field} {problem}")]
pub struct MalformedField {
    /// The field's name.
    pub field: &'static str,
    /// What is wrong with it, to be read after the name.
    pub problem: String,
}

/// No worker has this key.
#[derive(Debug, Clone, thiserror::Error)]
#[error("unknown worker {0}")]
pub struct UnknownWorker(pub WorkerKey);

/// The `after` of a watch is no cursor of the run.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{error}")]
pub struct BadCursor {
    /// The run that was to be watched.
    pub run_id: RunId,
    /// What is wrong with the cursor.
    pub error: CursorError,
}

/// The `after` of a watch is no cursor of the session.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{error}")]
pub struct BadSessionCursor {
    /// The session that was to be watched.
    pub session_id: SessionId,
    /// What is wrong with the cursor.
    pub error: CursorError,
}

/// The run that was to be answered is not the session's active run or, when none is active, its latest.
#[derive(Debug, Clone, thiserror::Error)]
#[error("run {run_id} is not active for session {session_id}")]
pub struct RunNotActive {
    /// The run as the client named it.
    pub run_id: String,
    /// The session.
    pub session_id: SessionId,
}

/// The run waits for no such answer.
#[derive(Debug, Clone, thiserror::Error)]
#[error("run {run_id} does not wait for {what}")]
pub struct NotPending {
    /// The run.
    pub run_id: RunId,
    /// What it does not wait for.
    pub what: &'static str,
}

/// The gateway takes up nothing new, because it is about to end.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the gateway is draining")]
pub struct Draining;

/// A fault of the gateway. Its inside is logged here, once; the caller reads nothing of it.
#[derive(Debug, Clone, thiserror::Error)]
#[error("internal error")]
pub struct Inner(());

operation_error! {
    /// Why a request names no session.
    pub enum SessionIdError {
        MissingField(MissingField),
        SessionNotFound(SessionNotFound),
    }
}

operation_error! {
    /// Why a request names no run.
    pub enum RunIdError {
        MissingField(MissingField),
        RunNotFound(RunNotFound),
    }
}

operation_error! {
    /// Why a session cannot be read.
    pub enum ReadSessionError {
        SessionNotFound(SessionNotFound),
        Inner(Inner),
    }
}

/// A text that no session can have as its id names a session that does not exist.
pub(super) fn session_id(text: &str) -> Result<SessionId, SessionNotFound> {
    SessionId::parse(text)
        .map_err(|_| SessionNotFound { session_id: text.chars().take(SHOWN_CHARS).collect() })
}

/// A text that no run can have as its id names a run that does not exist.
pub(super) fn run_id(text: &str) -> Result<RunId, RunNotFound> {
    RunId::parse(text).map_err(|_| RunNotFound { run_id: text.chars().take(SHOWN_CHARS).collect() })
}

fn cursor_reason(error: CursorError) -> &'static str {
    match error {
        CursorError::Malformed => "CURSOR_MALFORMED",
        CursorError::Foreign => "CURSOR_FOREIGN",
    }
}

impl Inner {
    /// Logs what happened.
    pub fn new(error: impl std::fmt::Display) -> Self {
        tracing::error!(%error, "an operation failed inside");
        Self(())
    }
}

impl From<StoreError> for Inner {
    fn from(error: StoreError) -> Self {
        match std::error::Error::source(&error) {
            Some(source) => Self::new(format_args!("{error}: {source}")),
            None => Self::new(error),
        }
    }
}

impl From<SessionError> for ReadSessionError {
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::NotFound(cause) => Self::SessionNotFound(cause),
            SessionError::Store(error) => Self::Inner(error.into()),
        }
    }
}

impl Cause for MissingField {
    fn code(&self) -> Code {
        Code::InvalidArgument
    }

    fn reason(&self) -> &'static str {
        "FIELD_MISSING"
    }

    fn metadata(&self) -> Vec<(&'static str, String)> {
        vec![("field", self.0.to_owned())]
    }
}

impl Cause for MalformedField {
    fn code(&self) -> Code {
        Code::InvalidArgument
    }

    fn reason(&self) -> &'static str {
        "FIELD_MALFORMED"
    }

    fn metadata(&self) -> Vec<(&'static str, String)> {
        vec![("field", self.field.to_owned())]
    }
}

impl Cause for UnknownWorker {
    fn code(&self) -> Code {
        Code::InvalidArgument
    }

    fn reason(&self) -> &'static str {
        "WORKER_UNKNOWN"
    }

    fn metadata(&self) -> Vec<(&'static str, String)> {
        vec![("worker_key", self.0.to_string())]
    }
}

impl Cause for BadCursor {
    fn code(&self) -> Code {
        Code::InvalidArgument
    }

    fn reason(&self) -> &'static str {
        cursor_reason(self.error)
    }

    fn metadata(&self) -> Vec<(&'static str, String)> {
        vec![("run_id", self.run_id.to_string())]
    }
}

impl Cause for BadSessionCursor {
    fn code(&self) -> Code {
        Code::InvalidArgument
    }

    fn reason(&self) -> &'static str {
        cursor_reason(self.error)
    }

    fn metadata(&self) -> Vec<(&'static str, String)> {
        vec![("session_id", self.session_id.to_string())]
    }
}

impl Cause for RunNotActive {
    fn code(&self) -> Code {
        Code::FailedPrecondition
    }

    fn reason(&self) -> &'static str {
        "RUN_NOT_ACTIVE"
    }

    fn metadata(&self) -> Vec<(&'static str, String)> {
        vec![("run_id", self.run_id.clone()), ("session_id", self.session_id.to_string())]
    }
}

impl Cause for NotPending {
    fn code(&self) -> Code {
        Code::FailedPrecondition
    }

    fn reason(&self) -> &'static str {
        "NOT_PENDING"
    }

    fn metadata(&self) -> Vec<(&'static str, String)> {
        vec![("run_id", self.run_id.to_string())]
    }
}

impl Cause for Draining {
    fn code(&self) -> Code {
        Code::Unavailable
    }

    fn reason(&self) -> &'static str {
        "DRAINING"
    }
}

impl Cause for Inner {
    fn code(&self) -> Code {
        Code::Internal
    }

    fn reason(&self) -> &'static str {
        "INTERNAL"
    }
}
