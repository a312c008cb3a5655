//! What an orchestrator waits for, from the question to the moment it is told the answer.

use serde_json::{Value, json};

use super::{
    client::OrchestratorClient,
    memo::{Fate, Memo, NotedCall},
};
use crate::{
    model::{Answer, Draft, Request, RequestId, RequestKey, RequestKind, RunError},
    runner::{
        NoAnswer, Pending, Task, ToolCall, ToolError,
        tool::{call_server, on_server, permission, tool_result},
    },
};

/// Who decided where nobody did.
const NOBODY: &str = "gateway";

/// How far it is.
pub(super) enum Stage {
    /// The client is asked for what the orchestrator wants.
    Asked(Pending),
    /// The client is asked whether the call may be made.
    Permit(Pending, ToolCall),
    /// The call may be made.
    Permitted(ToolCall),
    /// The call is made on an MCP server, and the log says so.
    OnServer(ToolCall),
    /// The client was asked, and this came of it.
    Ended(Result<Answer, NoAnswer>),
    /// The call is not made.
    NotMade(ToolError),
}

/// Sees it through. Gives what was told, or nothing when nobody waits any more because the run ends.
pub(super) async fn see_through(
    task: &Task,
    client: &OrchestratorClient,
    request: RequestKey,
    stage: Stage,
) -> Result<Option<RequestKey>, RunError> {
    let (what, body) = match request.kind {
        RequestKind::Tool => ("tool_calls", result_of(task, &request.id, stage).await.and_then(tool_body)),
        RequestKind::Approval => {
            let by = &task.request.session.user_id;
            ("approvals", answer_of(stage).await.and_then(|it| approval_body(it, by)))
        }
        RequestKind::Input => ("inputs", answer_of(stage).await.and_then(input_body)),
    };
    let Some(body) = body else { return Ok(None) };
    let told = client.submit(what, &request.id, &body).await;
    told.map_err(|error| error.run_error("did not take an answer"))?;
    Ok(Some(request))
}

async fn result_of(task: &Task, id: &RequestId, stage: Stage) -> Option<Result<Value, ToolError>> {
    let result = match stage {
        Stage::Asked(pending) => tool_result(pending.answer().await),
        Stage::Ended(answer) => tool_result(answer),
        Stage::NotMade(error) => Err(error),
        Stage::Permitted(call) => make(task, id, call).await,
        Stage::OnServer(call) => make_on_server(task, &call).await,
        Stage::Permit(pending, call) => match permission(pending.answer().await) {
            Ok(()) => make(task, id, call).await,
            Err(error) => Err(error),
        },
    };
    Some(result)
}

/// Makes a call that may be made.
async fn make(task: &Task, id: &RequestId, call: ToolCall) -> Result<Value, ToolError> {
    if on_server(task, &call.name).is_some() {
        task.emitter.record(on_server_draft(&call, Memo::default())).await.map_err(|_| ToolError::Stopped)?;
        return make_on_server(task, &call).await;
    }
    let request = Request::Tool { tool_name: call.name, args: call.args };
    tool_result(task.emitter.ask(id.clone(), request).await?.answer().await)
}

async fn make_on_server(task: &Task, call: &ToolCall) -> Result<Value, ToolError> {
    let Some((server, tool)) = on_server(task, &call.name) else { return Err(ToolError::Stopped) };
    call_server(task, server, tool, &call.args).await.map_err(ToolError::Failed)
}

/// What the log tells before a call is made on a server, so that a gateway that is restarted does not make it again.
pub(super) fn on_server_draft(call: &ToolCall, memo: Memo) -> Draft {
    let memo = Memo { call: Some(NotedCall::new(call, Fate::OnServer)), ..memo };
    Draft::log(format!("calls the tool {}", call.name)).with_memo(memo.boxed())
}

async fn answer_of(stage: Stage) -> Option<Result<Answer, NoAnswer>> {
    match stage {
        Stage::Asked(pending) => Some(pending.answer().await),
        Stage::Ended(answer) => Some(answer),
        Stage::Permit(..) | Stage::Permitted(_) | Stage::OnServer(_) | Stage::NotMade(_) => None,
    }
}

fn tool_body(result: Result<Value, ToolError>) -> Option<Value> {
    match result {
        Ok(result) => Some(json!({"status": "SUCCEEDED", "result": result})),
        Err(ToolError::Stopped) => None,
        Err(error) => {
            Some(json!({"status": "FAILED", "error": {"code": error.code(), "message": error.to_string()}}))
        }
    }
}

/// What nobody decided is not approved.
fn approval_body(answer: Result<Answer, NoAnswer>, by: &str) -> Option<Value> {
    let (decision, reason, by) = match answer {
        Ok(Answer::Approved { reason }) => ("approve", reason, by),
        Ok(Answer::Rejected { reason }) => ("reject", reason, by),
        Err(error @ NoAnswer::Expired) => ("reject", error.to_string(), NOBODY),
        Ok(_) | Err(NoAnswer::Stopped) => return None,
    };
    Some(json!({"decision": decision, "reason": reason, "decided_by": by}))
}

fn input_body(answer: Result<Answer, NoAnswer>) -> Option<Value> {
    match answer {
        Ok(Answer::Input(text)) => Some(json!({"text": text})),
        Err(error @ NoAnswer::Expired) => {
            Some(json!({"text": null, "error": {"code": "input_timeout", "message": error.to_string()}}))
        }
        Ok(_) | Err(NoAnswer::Stopped) => None,
    }
}
