//! How much memory an event takes.

use serde_json::Value;

use crate::model::{ClientView, Entry, Event, EventKind, ViewContent};

/// What an event takes in memory, encoded forms included: they are made on demand and are about as large again each.
pub(super) fn bytes_of(event: &Event) -> usize {
    let view = event.view.as_ref().map_or(0, view_bytes);
    let kind = match &event.kind {
        EventKind::Delta { text } => text.len(),
        EventKind::Complete { output, .. } => value_bytes(output),
        EventKind::ToolRequest { args, tool_name, .. } => tool_name.len() + value_bytes(args),
        EventKind::ApprovalRequired { summary, tool_name, .. } => summary.len() + tool_name.len(),
        EventKind::InputRequired { prompt, .. } => prompt.len(),
        EventKind::Queued { reason, .. } => reason.len(),
        EventKind::Node { error, worker_key, .. } => error.len() + 2 * worker_key.as_str().len(),
        EventKind::Error(error) => error.message.len() + error.code.len(),
        EventKind::Log | EventKind::Progress | EventKind::State { .. } | EventKind::Cancelled => 0,
    };
    let content = event.message.len() + view + kind;
    size_of::<Entry>() + (1 + Entry::FORMATS) * content
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
