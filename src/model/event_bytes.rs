//! How much memory an event takes.

use serde_json::Value;

use super::{Answer, ClientView, Closing, Draft, Entry, Event, EventKind, ViewContent};

impl Event {
    /// What it takes in memory as an [`Entry`], encoded forms included: they are made on demand and are about as large
    /// again each.
    pub fn bytes(&self) -> usize {
        let content = content_bytes(&self.message, self.view.as_ref(), &self.kind);
        size_of::<Entry>() + (1 + Entry::FORMATS) * content + self.memo.as_deref().map_or(0, value_bytes)
    }
}

impl Draft {
    /// What its texts and values take in memory.
    pub fn bytes(&self) -> usize {
        let content = content_bytes(&self.message, self.view.as_ref(), &self.kind);
        size_of::<Self>() + content + self.memo.as_deref().map_or(0, value_bytes)
    }
}

fn content_bytes(message: &str, view: Option<&ClientView>, kind: &EventKind) -> usize {
    let kind = match kind {
        EventKind::Delta { text } => text.len(),
        EventKind::Complete { output, .. } => value_bytes(output),
        EventKind::ToolRequest { args, tool_name, .. } => tool_name.len() + value_bytes(args),
        EventKind::ApprovalRequired { summary, tool_name, .. } => summary.len() + tool_name.len(),
        EventKind::InputRequired { prompt, .. } => prompt.len(),
        EventKind::Closed { request, closing } => request.id.0.len() + closing_bytes(closing),
        EventKind::Queued { reason, .. } => reason.len(),
        EventKind::Node { error, worker_key, .. } => error.len() + 2 * worker_key.as_str().len(),
        EventKind::Error(error) => error.message.len() + error.code.len(),
        EventKind::Log | EventKind::Progress | EventKind::State { .. } | EventKind::Cancelled => 0,
    };
    message.len() + view.map_or(0, view_bytes) + kind
}

fn closing_bytes(closing: &Closing) -> usize {
    match closing {
        Closing::Answered(Answer::Tool(result)) => value_bytes(result),
        Closing::Answered(Answer::Input(text) | Answer::ToolFailed(text)) => text.len(),
        Closing::Answered(Answer::Approved { reason } | Answer::Rejected { reason }) => reason.len(),
        Closing::Expired | Closing::Withdrawn => 0,
    }
}

fn view_bytes(view: &ClientView) -> usize {
    let content = match &view.content {
        None => 0,
        Some(ViewContent::LlmResponse(text)) => text.len(),
        Some(ViewContent::Graph(graph)) => {
            let nodes = graph.nodes.iter();
            let nodes = nodes
                .map(|it| 96 + it.uid.len() + it.label.len() + it.description.len() + it.parent_uid.len());
            let edges = graph.edges.iter().map(|it| 48 + it.from.len() + it.to.len());
            nodes.sum::<usize>() + edges.sum::<usize>()
        }
    };
    view.phase.len() + content
}

fn value_bytes(value: &Value) -> usize {
    let inner = match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(value_bytes).sum(),
        Value::Object(fields) => fields.iter().map(|(key, it)| key.len() + 24 + value_bytes(it)).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    };
    size_of::<Value>() + inner
}
