//! CancelRun: ask a run to stop.

use super::{
    Gateway, Inner, MissingField, RunIdError, complete,
    error::{operation_error, pass_on},
    required_run_id,
};
use crate::{
    model::{RunState, limits},
    run::{ReadRunError, RunNotFound, RunUnreadable},
};

operation_error! {
    /// Why CancelRun fails.
    pub enum CancelRunError {
        MissingField(MissingField),
        RunNotFound(RunNotFound),
        RunUnreadable(RunUnreadable),
        Inner(Inner),
    }
}

pass_on!(RunIdError { MissingField, RunNotFound } => CancelRunError);
pass_on!(ReadRunError { RunNotFound, RunUnreadable } => CancelRunError);

impl Gateway {
    /// Asks a run to stop; gives its state afterwards. A run that has ended keeps its state, which is given.
    pub async fn cancel_run(&self, run_id: &str, reason: &str) -> Result<RunState, CancelRunError> {
        let run_id = required_run_id(run_id)?;
        let reason = reason.trim().chars().take(limits::SHORT_TEXT_BYTES).collect();
        let runs = self.runs.clone();
        complete(async move { Ok(runs.cancel(run_id, reason).await?) }).await
    }
}
