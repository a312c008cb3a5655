//! Why something cannot be done with a run.

use std::time::Duration;

use crate::model::{Cause, Code, Refused, RunId};

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

/// The run log holds as much as it may, all of it of live runs.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the run log is full; try again when a run has ended")]
pub struct LogFull;

/// Why a run's log was not begun.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StartWriterError {
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
    /// There is no such run.
    #[error(transparent)]
    NotFound(#[from] RunNotFound),
    /// The cursor lies beyond the end.
    #[error(transparent)]
    OutOfRange(#[from] CursorOutOfRange),
}

/// Why a watch ended before the terminal event.
#[derive(Debug, Clone, thiserror::Error)]
pub enum WatchEnd {
    /// The gateway is draining; the watch can be resumed with the last cursor.
    #[error("the gateway is draining; resume with the last cursor")]
    Draining,
    /// The run is no longer kept.
    #[error(transparent)]
    NotFound(#[from] RunNotFound),
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
