//! SubmitToolResult and SubmitApproval: the client's answer to what a worker asked of it.

use serde_json::Value;

use super::{
    Gateway, Inner, MalformedField, MissingField, NotPending, RunIdError, complete,
    error::{operation_error, pass_on},
    required_run_id,
};
use crate::{
    model::{Answer, RequestKey, RequestKind, RunId, limits},
    run::{AnswerError, LogFull, ReadRunError, RunNotFound, RunUnreadable},
    runner::check_answer,
};

/// The result of a tool, as the client says it.
#[derive(Debug, Clone, Default)]
pub struct SubmitToolResult {
    /// The run that called the tool.
    pub run_id: String,
    /// The call.
    pub tool_call_id: String,
    /// Whether there is a result.
    pub ok: bool,
    /// The result; not looked at without `ok`.
    pub result: Value,
    /// Why there is none; not looked at with `ok`.
    pub error: String,
}

/// A decision, as the client says it.
#[derive(Debug, Clone, Default)]
pub struct SubmitApproval {
    /// The run that asked for it.
    pub run_id: String,
    /// The approval.
    pub approval_id: String,
    /// What was decided.
    pub approved: Option<bool>,
    /// Why; may be empty.
    pub reason: String,
}

operation_error! {
    /// Why an answer is not taken.
    pub enum SubmitAnswerError {
        MissingField(MissingField),
        MalformedField(MalformedField),
        RunNotFound(RunNotFound),
        RunUnreadable(RunUnreadable),
        NotPending(NotPending),
        LogFull(LogFull),
        Inner(Inner),
    }
}

pass_on!(RunIdError { MissingField, RunNotFound } => SubmitAnswerError);
pass_on!(ReadRunError { RunNotFound, RunUnreadable } => SubmitAnswerError);

impl Gateway {
    /// Hands the result of a tool to the run that waits for it. Of several the first counts; the same again is taken too.
    pub async fn submit_tool_result(&self, request: SubmitToolResult) -> Result<(), SubmitAnswerError> {
        let run_id = required_run_id(&request.run_id)?;
        let key = request_key("tool_call_id", RequestKind::Tool, &request.tool_call_id)?;
        let answer = if request.ok {
            let problem = |problem| MalformedField { field: "result", problem };
            check_answer(&request.result).map_err(problem)?;
            Answer::Tool(request.result)
        } else {
            Answer::ToolFailed(bounded("error", request.error)?)
        };
        self.submit_answer(run_id, key, answer, "this tool result").await
    }

    /// Hands a decision to the run that waits for it. Of several the first counts; the same again is taken too.
    pub async fn submit_approval(&self, request: SubmitApproval) -> Result<(), SubmitAnswerError> {
        let run_id = required_run_id(&request.run_id)?;
        let key = request_key("approval_id", RequestKind::Approval, &request.approval_id)?;
        let reason = bounded("reason", request.reason)?;
        let answer = match request.approved.ok_or(MissingField("decision"))? {
            true => Answer::Approved { reason },
            false => Answer::Rejected { reason },
        };
        self.submit_answer(run_id, key, answer, "this approval").await
    }

    async fn submit_answer(
        &self,
        run_id: RunId,
        request: RequestKey,
        answer: Answer,
        what: &'static str,
    ) -> Result<(), SubmitAnswerError> {
        let runs = self.runs.clone();
        complete(async move {
            runs.answer(run_id, Some(request), answer).await.map_err(|error| match error {
                AnswerError::NotPending => NotPending { run_id, what }.into(),
                AnswerError::LogFull(cause) => cause.into(),
                AnswerError::Read(error) => error.into(),
            })
        })
        .await
    }
}

fn request_key(field: &'static str, kind: RequestKind, id: &str) -> Result<RequestKey, MissingField> {
    if id.is_empty() { Err(MissingField(field)) } else { Ok(RequestKey::new(kind, id)) }
}

/// Text that fits into an event.
pub(super) fn bounded(field: &'static str, text: String) -> Result<String, MalformedField> {
    if text.len() > limits::ANSWER_BYTES {
        let problem = format!("is longer than {} bytes", limits::ANSWER_BYTES);
        return Err(MalformedField { field, problem });
    }
    Ok(text)
}
