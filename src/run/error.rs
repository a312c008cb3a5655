//! Why something cannot be done with a run.

use std::time::Duration;

use crate::{
    model::{Cause, Code, Refused, RunId, SessionId},
    storage::{ReadError, UsedKey},
};

/// No run has this id, or it is no longer kept.
#[derive(Debug, Clone, thiserror::Error)]
#[error("run {run_id} not found")]
pub struct RunNotFound {
    /// The id that was asked for, as the client wrote it.
    pub run_id: String,
}

/// The cursor names a position that the run's log has not reached.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the cursor is past the end of the log of run {run_id}")]
pub struct CursorOutOfRange {
    /// The run.
    pub run_id: RunId,
    /// Where its log ends.
    pub last_sequence: u64,
}

/// The cursor of a session knows runs that are no longer kept: what came after it may not be whole.
#[derive(Debug, Clone, thiserror::Error)]
#[error("runs that the cursor knows are no longer kept; begin again without a cursor")]
pub struct CursorExpired {
    /// The session.
    pub session_id: SessionId,
}

/// The session that is watched has been forgotten.
#[derive(Debug, Clone, thiserror::Error)]
#[error("session {session_id} is no longer kept")]
pub struct SessionEnded {
    /// The session.
    pub session_id: SessionId,
}

/// The run log holds as much as it may, all of it of live runs.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the run log is full; try again when a run has ended")]
pub struct LogFull;

/// The run log cannot be written at present. Nothing that was acknowledged is lost.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the run log cannot be written: {}; no run can be started until it can", if *disk_full { "its disk is full" } else { "its disk fails" })]
pub struct LogUnavailable {
    /// True when there is no room on the disk.
    pub disk_full: bool,
}

/// What is stored of a run cannot be read.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{}", match damaged {
    true => format!("the log of run {run_id} is damaged; only what comes before the damage can be read"),
    false => format!("the log of run {run_id} cannot be read at present"),
})]
pub struct RunUnreadable {
    /// The run.
    pub run_id: RunId,
    /// True when trying again will not help.
    pub damaged: bool,
}

/// Why a run cannot be read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadRunError {
    /// There is no such run.
    #[error(transparent)]
    RunNotFound(#[from] RunNotFound),
    /// What is stored of it cannot be read.
    #[error(transparent)]
    RunUnreadable(#[from] RunUnreadable),
}

/// Why a run's log was not begun.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StartWriterError {
    /// The idempotency key stands for another run.
    #[error("the idempotency key was used before")]
    KeyUsed(UsedKey),
    /// The log cannot be written.
    #[error(transparent)]
    Unavailable(#[from] LogUnavailable),
    /// There is no room.
    #[error(transparent)]
    Full(#[from] LogFull),
    /// The id was used before.
    #[error("run {0} exists already")]
    Exists(RunId),
}

/// Why a watch cannot begin.
#[derive(Debug, Clone, thiserror::Error)]
pub enum WatchError {
    /// The run cannot be read.
    #[error(transparent)]
    Read(#[from] ReadRunError),
    /// The cursor lies beyond the end.
    #[error(transparent)]
    OutOfRange(#[from] CursorOutOfRange),
}

/// Why the watch of a session cannot begin.
#[derive(Debug, Clone, thiserror::Error)]
pub enum WatchSessionError {
    /// A run of the session cannot be read.
    #[error(transparent)]
    Unreadable(#[from] RunUnreadable),
    /// The cursor lies beyond the end of a run.
    #[error(transparent)]
    OutOfRange(#[from] CursorOutOfRange),
    /// The cursor cannot be used any more.
    #[error(transparent)]
    Expired(#[from] CursorExpired),
}

/// Why a watch ended before the terminal event, or the watch of a session at all.
#[derive(Debug, Clone, thiserror::Error)]
pub enum WatchEnd {
    /// The gateway is draining; the watch can be resumed with the last cursor.
    #[error("the gateway is draining; resume with the last cursor")]
    Draining,
    /// The run is no longer kept, or what is stored of it cannot be read.
    #[error(transparent)]
    Read(#[from] ReadRunError),
    /// Of a session: a run was dropped before it was told to its end.
    #[error(transparent)]
    Expired(#[from] CursorExpired),
    /// Of a session: there is no such session any more.
    #[error(transparent)]
    SessionEnded(#[from] SessionEnded),
}

impl WatchEnd {
    /// What is told of it, where it is an error of the run or session. The drain of the gateway is none.
    pub fn cause(&self) -> Option<&dyn Cause> {
        match self {
            Self::Draining => None,
            Self::Read(ReadRunError::RunNotFound(cause)) => Some(cause),
            Self::Read(ReadRunError::RunUnreadable(cause)) => Some(cause),
            Self::Expired(cause) => Some(cause),
            Self::SessionEnded(cause) => Some(cause),
        }
    }
}

/// Why a run does not take what is said to it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EmitError {
    /// The rules of the run are against it.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The run's log is full; the run ends with an error.
    #[error("the run log is full")]
    Full,
    /// The run's writer has ended.
    #[error("the run has ended")]
    Gone,
}

/// Why a run takes no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AnswerError {
    /// It waits for no such answer, or was given another one.
    #[error("the run does not wait for this answer")]
    NotPending,
    /// Its log takes nothing more.
    #[error(transparent)]
    LogFull(#[from] LogFull),
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] ReadRunError),
}

impl ReadRunError {
    pub(super) fn new(run_id: RunId, error: &ReadError) -> Self {
        match error {
            ReadError::NotFound => RunNotFound { run_id: run_id.to_string() }.into(),
            ReadError::Damaged => RunUnreadable { run_id, damaged: true }.into(),
            ReadError::Failed(source) => {
                tracing::error!(%run_id, error = %source, "could not read the log of a run");
                RunUnreadable { run_id, damaged: false }.into()
            }
        }
    }
}

impl Cause for RunNotFound {
    fn code(&self) -> Code {
        Code::NotFound
    }

    fn reason(&self) -> &'static str {
        "RUN_NOT_FOUND"
    }

    fn metadata(&self) -> Vec<(&'static str, String)> {
        vec![("run_id", self.run_id.clone())]
    }
}

impl Cause for CursorOutOfRange {
    fn code(&self) -> Code {
        Code::OutOfRange
    }

    fn reason(&self) -> &'static str {
        "CURSOR_OUT_OF_RANGE"
    }

    fn metadata(&self) -> Vec<(&'static str, String)> {
        vec![("run_id", self.run_id.to_string()), ("last_sequence", self.last_sequence.to_string())]
    }
}

impl Cause for CursorExpired {
    fn code(&self) -> Code {
        Code::OutOfRange
    }

    fn reason(&self) -> &'static str {
        "CURSOR_EXPIRED"
    }

    fn metadata(&self) -> Vec<(&'static str, String)> {
        vec![("session_id", self.session_id.to_string())]
    }
}

impl Cause for SessionEnded {
    fn code(&self) -> Code {
        Code::NotFound
    }

    fn reason(&self) -> &'static str {
        "SESSION_NOT_FOUND"
    }

    fn metadata(&self) -> Vec<(&'static str, String)> {
        vec![("session_id", self.session_id.to_string())]
    }
}

impl Cause for LogFull {
    fn code(&self) -> Code {
        Code::ResourceExhausted
    }

    fn reason(&self) -> &'static str {
        "RUN_LOG_FULL"
    }

    fn retry_delay(&self) -> Option<Duration> {
        Some(Duration::from_secs(5))
    }
}

impl Cause for LogUnavailable {
    fn code(&self) -> Code {
        Code::Unavailable
    }

    fn reason(&self) -> &'static str {
        "RUN_LOG_UNAVAILABLE"
    }

    fn retry_delay(&self) -> Option<Duration> {
        Some(Duration::from_secs(5))
    }
}

impl Cause for RunUnreadable {
    fn code(&self) -> Code {
        if self.damaged { Code::Internal } else { Code::Unavailable }
    }

    fn reason(&self) -> &'static str {
        if self.damaged { "RUN_DAMAGED" } else { "RUN_UNREADABLE" }
    }

    fn metadata(&self) -> Vec<(&'static str, String)> {
        vec![("run_id", self.run_id.to_string())]
    }
}
