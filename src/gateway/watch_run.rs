//! WatchRun: a run's events from any cursor, then live.

use super::{
    BadCursor, Gateway, MissingField, RunIdError,
    error::{operation_error, pass_on},
    required_run_id,
};
use crate::{
    model::Position,
    run::{CursorOutOfRange, ReadRunError, RunNotFound, RunUnreadable, Watch, WatchError},
};

/// What the client says.
#[derive(Debug, Clone, Default)]
pub struct WatchRun {
    /// The run.
    pub run_id: String,
    /// A cursor; empty: from the first event; `now`: only what is new.
    pub after: String,
    /// Whether deltas of the catch-up are merged and superseded progress is left out.
    pub compact: bool,
}

operation_error! {
    /// Why a watch does not begin.
    pub enum WatchRunError {
        MissingField(MissingField),
        RunNotFound(RunNotFound),
        RunUnreadable(RunUnreadable),
        BadCursor(BadCursor),
        OutOfRange(CursorOutOfRange),
    }
}

pass_on!(RunIdError { MissingField, RunNotFound } => WatchRunError);
pass_on!(ReadRunError { RunNotFound, RunUnreadable } => WatchRunError);

impl Gateway {
    /// Begins to read the run's log.
    pub async fn watch_run(&self, request: WatchRun) -> Result<Watch, WatchRunError> {
        let run_id = required_run_id(&request.run_id)?;
        // A run that does not exist is told before a cursor that is none.
        self.runs.get(run_id).await?;
        let position = Position::parse(request.after.trim(), run_id);
        let position = position.map_err(|error| BadCursor { run_id, error })?;
        let watch = self.runs.watch(run_id, position).await?;
        Ok(if request.compact { watch.compact() } else { watch })
    }
}

impl From<WatchError> for WatchRunError {
    fn from(error: WatchError) -> Self {
        match error {
            WatchError::Read(cause) => cause.into(),
            WatchError::OutOfRange(cause) => cause.into(),
        }
    }
}
