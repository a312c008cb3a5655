//! GetRun: a run's state.

use super::{
    Gateway, MissingField, RunIdError,
    error::{operation_error, pass_on},
    required_run_id,
};
use crate::{
    model::Run,
    run::{ReadRunError, RunNotFound, RunUnreadable},
};

operation_error! {
    /// Why GetRun fails.
    pub enum GetRunError {
        MissingField(MissingField),
        RunNotFound(RunNotFound),
        RunUnreadable(RunUnreadable),
    }
}

pass_on!(RunIdError { MissingField, RunNotFound } => GetRunError);
pass_on!(ReadRunError { RunNotFound, RunUnreadable } => GetRunError);

impl Gateway {
    /// What is known of a run beside its log.
    pub async fn get_run(&self, run_id: &str) -> Result<Run, GetRunError> {
        Ok(self.runs.get(required_run_id(run_id)?).await?)
    }
}
