//! From `model` to protobuf.

use std::collections::BTreeMap;

use jiff::Timestamp;
use prost_types::value::Kind;
use serde_json::Value;

use super::v1::{self, client_view::Content, watch_run_response::Detail};
use crate::model::{
    Answer, ClientView, Closing, Event, EventKind, RequestKey, RequestKind, Run, RunError, RunState, Session,
    Usage, ViewContent, shown_address,
};

/// An event as clients see it.
pub fn event_message(event: &Event) -> v1::WatchRunResponse {
    let (event_type, detail) = event_detail(&event.kind);
    v1::WatchRunResponse {
        event_type: event_type.into(),
        message: event.message.clone(),
        progress_percent: event.progress_percent.into(),
        client_view: event.view.as_ref().map(client_view),
        run_id: event.run_id.to_string(),
        sequence: event.sequence,
        cursor: event.cursor().to_string(),
        time: Some(timestamp(event.time)),
        detail,
    }
}

/// A view as clients see it.
pub fn client_view(view: &ClientView) -> v1::ClientView {
    let content = view.content.as_ref().map(|content| match content {
        ViewContent::LlmResponse(text) => Content::LlmResponse(text.clone()),
        ViewContent::Graph(graph) => {
            let nodes = graph.nodes.iter().map(|it| v1::GraphNode {
                uid: it.uid.clone(),
                label: it.label.clone(),
                description: it.description.clone(),
                parent_uid: it.parent_uid.clone(),
            });
            let edges =
                graph.edges.iter().map(|it| v1::GraphEdge { from: it.from.clone(), to: it.to.clone() });
            Content::Graph(v1::GraphView { nodes: nodes.collect(), edges: edges.collect() })
        }
    });
    v1::ClientView { phase: view.phase.clone(), content }
}

/// A run as clients see it.
pub fn run_message(run: &Run) -> v1::Run {
    v1::Run {
        run_id: run.run_id.to_string(),
        session_id: run.session_id.to_string(),
        pipeline_id: run.pipeline_id.to_string(),
        state: run_state(run.state).into(),
        created_at: Some(timestamp(run.created_at)),
        started_at: run.started_at.map(timestamp),
        finished_at: run.finished_at.map(timestamp),
        last_sequence: run.last_sequence,
        error: run.error.as_ref().map(run_error),
    }
}

/// A session as clients see it.
pub fn session_message(session: &Session) -> v1::Session {
    v1::Session {
        session_id: session.session_id.to_string(),
        user_id: session.user_id.clone(),
        repo_url: shown_address(&session.repo_url),
        repo: session.repo.clone(),
        purpose: session.purpose.clone(),
        running: session.running(),
        active_run_id: session.active_run_id.map(|it| it.to_string()).unwrap_or_default(),
        created_at: Some(timestamp(session.created_at)),
        updated_at: Some(timestamp(session.updated_at)),
    }
}

/// An instant as clients see it.
pub fn timestamp(time: Timestamp) -> prost_types::Timestamp {
    let (mut seconds, mut nanos) = (time.as_second(), time.subsec_nanosecond());
    if nanos < 0 {
        (seconds, nanos) = (seconds - 1, nanos + 1_000_000_000);
    }
    prost_types::Timestamp { seconds, nanos }
}

/// Any JSON as `google.protobuf.Value`. Numbers become doubles: that type knows no others.
pub fn value(json: &Value) -> prost_types::Value {
    let kind = match json {
        Value::Null => Kind::NullValue(0),
        Value::Bool(it) => Kind::BoolValue(*it),
        Value::Number(it) => Kind::NumberValue(it.as_f64().unwrap_or_default()),
        Value::String(it) => Kind::StringValue(it.clone()),
        Value::Array(items) => {
            Kind::ListValue(prost_types::ListValue { values: items.iter().map(value).collect() })
        }
        Value::Object(fields) => {
            let fields: BTreeMap<_, _> = fields.iter().map(|(key, it)| (key.clone(), value(it))).collect();
            Kind::StructValue(prost_types::Struct { fields })
        }
    };
    prost_types::Value { kind: Some(kind) }
}

impl From<RunState> for v1::RunState {
    fn from(state: RunState) -> Self {
        run_state(state)
    }
}

fn event_detail(kind: &EventKind) -> (v1::EventType, Option<Detail>) {
    use v1::EventType;
    match kind {
        EventKind::Log => (EventType::Log, None),
        EventKind::Progress => (EventType::Progress, None),
        EventKind::Cancelled => (EventType::Cancelled, None),
        EventKind::Delta { text } => {
            (EventType::Delta, Some(Detail::Delta(v1::DeltaDetail { text: text.clone() })))
        }
        EventKind::State { state, attempt } => {
            let detail = v1::StateDetail { state: run_state(*state).into(), attempt: *attempt };
            (EventType::State, Some(Detail::State(detail)))
        }
        EventKind::InputRequired { request_id, prompt, deadline } => {
            let detail = v1::InputRequiredDetail {
                request_id: request_id.0.clone(),
                prompt: prompt.clone(),
                deadline: deadline.map(timestamp),
            };
            (EventType::InputRequired, Some(Detail::InputRequired(detail)))
        }
        EventKind::ToolRequest { tool_call_id, tool_name, args, deadline } => {
            let detail = v1::ToolRequestDetail {
                tool_call_id: tool_call_id.0.clone(),
                tool_name: tool_name.clone(),
                args: Some(value(args)),
                deadline: Some(timestamp(*deadline)),
            };
            (EventType::ToolRequest, Some(Detail::ToolRequest(detail)))
        }
        EventKind::ApprovalRequired { approval_id, tool_call_id, tool_name, summary, expires_at } => {
            let detail = v1::ApprovalRequiredDetail {
                approval_id: approval_id.0.clone(),
                tool_call_id: tool_call_id.clone(),
                tool_name: tool_name.clone(),
                summary: summary.clone(),
                expires_at: Some(timestamp(*expires_at)),
            };
            (EventType::ApprovalRequired, Some(Detail::ApprovalRequired(detail)))
        }
        EventKind::Closed { request, closing } => {
            (EventType::Log, Some(Detail::Closed(closed_detail(request, closing))))
        }
        EventKind::Queued { position, ahead, reason } => {
            let detail = v1::QueueDetail { position: *position, ahead: *ahead, reason: reason.clone() };
            (EventType::Queued, Some(Detail::Queue(detail)))
        }
        EventKind::Node { worker_key, state, progress_percent, error } => {
            let detail = v1::NodeDetail {
                worker_key: worker_key.to_string(),
                state: state.name().to_owned(),
                progress_percent: (*progress_percent).into(),
                error: error.clone(),
            };
            (EventType::Node, Some(Detail::Node(detail)))
        }
        EventKind::Complete { output, usage } => {
            let detail = v1::ResultDetail { output: Some(value(output)), usage: usage.map(usage_message) };
            (EventType::Complete, Some(Detail::Result(detail)))
        }
        EventKind::Error(error) => (EventType::Error, Some(Detail::Error(run_error(error)))),
    }
}

fn closed_detail(request: &RequestKey, closing: &Closing) -> v1::ClosedDetail {
    use v1::closed_detail::Answer as Wire;
    let tool = |ok, result: Option<&Value>, error: &str| {
        Wire::ToolResult(v1::ToolResult { ok, result: result.map(value), error: error.to_owned() })
    };
    let decision = |decision: v1::Decision, reason: &String| {
        Wire::Approval(v1::ApprovalDecision { decision: decision.into(), reason: reason.clone() })
    };
    let (outcome, answer) = match closing {
        Closing::Expired => (v1::RequestOutcome::Expired, None),
        Closing::Withdrawn => (v1::RequestOutcome::Withdrawn, None),
        Closing::Answered(answer) => {
            let answer = match answer {
                Answer::Input(text) => Wire::Input(text.clone()),
                Answer::Tool(result) => tool(true, Some(result), ""),
                Answer::ToolFailed(error) => tool(false, None, error),
                Answer::Approved { reason } => decision(v1::Decision::Approve, reason),
                Answer::Rejected { reason } => decision(v1::Decision::Reject, reason),
            };
            (v1::RequestOutcome::Answered, Some(answer))
        }
    };
    let kind = match request.kind {
        RequestKind::Input => v1::RequestKind::Input,
        RequestKind::Tool => v1::RequestKind::Tool,
        RequestKind::Approval => v1::RequestKind::Approval,
    };
    let (kind, outcome) = (kind.into(), outcome.into());
    v1::ClosedDetail { kind, request_id: request.id.0.clone(), outcome, answer }
}

fn run_state(state: RunState) -> v1::RunState {
    match state {
        RunState::Queued => v1::RunState::Queued,
        RunState::Running => v1::RunState::Running,
        RunState::WaitingInput => v1::RunState::WaitingInput,
        RunState::WaitingTool => v1::RunState::WaitingTool,
        RunState::WaitingApproval => v1::RunState::WaitingApproval,
        RunState::Cancelling => v1::RunState::Cancelling,
        RunState::Succeeded => v1::RunState::Succeeded,
        RunState::Failed => v1::RunState::Failed,
        RunState::Cancelled => v1::RunState::Cancelled,
    }
}

fn run_error(error: &RunError) -> v1::RunError {
    v1::RunError { code: error.code.clone(), message: error.message.clone(), retryable: error.retryable }
}

fn usage_message(usage: Usage) -> v1::Usage {
    v1::Usage { input_tokens: usage.input_tokens, output_tokens: usage.output_tokens }
}
