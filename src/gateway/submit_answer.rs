//! SubmitToolResult and SubmitApproval: the client's answer to what a worker asked of it.

use super::{
    Gateway, MissingField, NotPending, RunIdError,
    error::{operation_error, pass_on},
    required_run_id,
};
use crate::run::{ReadRunError, RunNotFound, RunUnreadable};

/// What the client answers.
#[derive(Debug, Clone)]
pub enum SubmitAnswer {
    /// The result of a tool call.
    ToolResult {
        /// The call.
        tool_call_id: String,
    },
    /// The decision on an approval.
    Approval {
        /// The approval.
        approval_id: String,
    },
}

operation_error! {
    /// Why an answer is not taken.
    pub enum SubmitAnswerError {
        MissingField(MissingField),
        RunNotFound(RunNotFound),
        RunUnreadable(RunUnreadable),
        NotPending(NotPending),
    }
}

pass_on!(RunIdError { MissingField, RunNotFound } => SubmitAnswerError);
pass_on!(ReadRunError { RunNotFound, RunUnreadable } => SubmitAnswerError);

impl Gateway {
    /// Hands an answer to the run that waits for it. No worker asks for tools or approvals, so none is ever pending.
    pub async fn submit_answer(&self, run_id: &str, answer: SubmitAnswer) -> Result<(), SubmitAnswerError> {
        let run_id = required_run_id(run_id)?;
        let (field, id, what) = match &answer {
            SubmitAnswer::ToolResult { tool_call_id } => ("tool_call_id", tool_call_id, "this tool result"),
            SubmitAnswer::Approval { approval_id } => ("approval_id", approval_id, "this approval"),
        };
        if id.trim().is_empty() {
            return Err(MissingField(field).into());
        }
        self.runs.get(run_id).await?;
        Err(NotPending { run_id, what }.into())
    }
}
