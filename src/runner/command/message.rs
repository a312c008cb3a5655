//! What a program says, line by line, and what it is told.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    model::{ClientView, Graph, GraphEdge, GraphNode, RequestId, ViewContent},
    runner::{NoAnswer, ToolError},
};

/// A line of a program's standard output.
#[derive(Debug, PartialEq)]
pub(super) enum Said {
    Log(String),
    Progress { percent: u8, message: String },
    Delta(String),
    View(ClientView),
    Result(Value),
    Error { message: String, retryable: bool },
    Input { request_id: RequestId, prompt: String },
    ToolCall { tool_call_id: String, tool_name: String, args: Value },
    Approval { approval_id: String, tool_call_id: String, tool_name: String, summary: String },
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Message {
    Log {
        message: Value,
    },
    Progress {
        percent: f64,
        #[serde(default)]
        message: String,
    },
    Delta {
        text: String,
    },
    View {
        view: View,
    },
    Result {
        #[serde(default)]
        output: Value,
    },
    Error {
        message: String,
        #[serde(default)]
        retryable: bool,
    },
    Input {
        request_id: RequestId,
        #[serde(default)]
        prompt: String,
    },
    ToolCall {
        tool_call_id: String,
        #[serde(default)]
        tool_name: String,
        #[serde(default)]
        args: Value,
    },
    Approval {
        approval_id: String,
        #[serde(default)]
        tool_call_id: String,
        #[serde(default)]
        tool_name: String,
        #[serde(default)]
        summary: String,
    },
}

/// The beginnings of a line that is read as [`OnlyDelta`] first.
const DELTA: [&str; 2] = [r#"{"type":"delta","#, r#"{"type": "delta","#];

/// What models say piece by piece, in the form that most lines have: read without looking for what else it could be.
/// A line that has anything else in it is read as a [`Message`].
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OnlyDelta {
    #[serde(rename = "type")]
    _kind: DeltaKind,
    text: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum DeltaKind {
    Delta,
}

/// A ClientView as proto3 JSON.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct View {
    #[serde(default)]
    phase: String,
    graph: Option<ViewGraph>,
    #[serde(alias = "llm_response")]
    llm_response: Option<String>,
}

#[derive(Deserialize)]
struct ViewGraph {
    #[serde(default)]
    nodes: Vec<ViewNode>,
    #[serde(default)]
    edges: Vec<ViewEdge>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct ViewNode {
    uid: String,
    label: String,
    description: String,
    #[serde(alias = "parent_uid")]
    parent_uid: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ViewEdge {
    from: String,
    to: String,
}

impl Said {
    /// Reads a line. What is no message is a line of the log.
    pub(super) fn read(line: &str) -> Self {
        if DELTA.iter().any(|it| line.starts_with(it))
            && let Ok(OnlyDelta { text, .. }) = serde_json::from_str(line)
        {
            return Self::Delta(text);
        }
        match serde_json::from_str(line) {
            Ok(message) => Self::of(message),
            Err(_) => Self::Log(line.to_owned()),
        }
    }

    fn of(message: Message) -> Self {
        match message {
            Message::Log { message: Value::String(message) } => Self::Log(message),
            Message::Log { message } => Self::Log(message.to_string()),
            Message::Progress { percent, message } => {
                Self::Progress { percent: percent.clamp(0.0, 100.0) as u8, message }
            }
            Message::Delta { text } => Self::Delta(text),
            Message::View { view } => Self::View(view.into()),
            Message::Result { output } => Self::Result(output),
            Message::Error { message, retryable } => Self::Error { message, retryable },
            Message::Input { request_id, prompt } => Self::Input { request_id, prompt },
            Message::ToolCall { tool_call_id, tool_name, args } => {
                Self::ToolCall { tool_call_id, tool_name, args }
            }
            Message::Approval { approval_id, tool_call_id, tool_name, summary } => {
                Self::Approval { approval_id, tool_call_id, tool_name, summary }
            }
        }
    }
}

/// What a program is told first.
#[derive(Serialize)]
pub(super) struct Begin<'a> {
    pub(super) run_id: String,
    pub(super) session_id: &'a str,
    pub(super) pipeline_id: &'a str,
    pub(super) params: &'a std::collections::BTreeMap<String, String>,
    pub(super) inputs: serde_json::Map<String, Value>,
}

/// The person's answer to a question of the program, or why there is none.
pub(super) fn input_answer(request_id: &RequestId, text: Result<&str, NoAnswer>) -> Value {
    match text {
        Ok(text) => json!({"type": "input", "request_id": request_id, "text": text}),
        Err(error) => {
            let (code, error) = (no_answer("input", error), error.to_string());
            json!({"type": "input", "request_id": request_id, "text": null, "code": code, "error": error})
        }
    }
}

/// What became of a tool call: its result, or why there is none.
pub(super) fn tool_result(tool_call_id: &str, result: Result<Value, ToolError>) -> Value {
    let kind = "tool_result";
    match result {
        Ok(result) => json!({"type": kind, "tool_call_id": tool_call_id, "ok": true, "result": result}),
        Err(error) => {
            let (code, error) = (error.code(), error.to_string());
            json!({"type": kind, "tool_call_id": tool_call_id, "ok": false, "code": code, "error": error})
        }
    }
}

/// What was decided. What nobody decided is not approved.
pub(super) fn decision(approval_id: &RequestId, decision: Result<(bool, &str), NoAnswer>) -> Value {
    let kind = "approval_decision";
    match decision {
        Ok((approved, reason)) => {
            let decision = if approved { "approve" } else { "reject" };
            json!({"type": kind, "approval_id": approval_id, "decision": decision, "reason": reason})
        }
        Err(error) => {
            let (code, reason) = (no_answer("approval", error), error.to_string());
            json!({"type": kind, "approval_id": approval_id, "decision": "reject", "code": code, "reason": reason})
        }
    }
}

/// A stable name for programs.
fn no_answer(kind: &str, error: NoAnswer) -> String {
    match error {
        NoAnswer::Expired => format!("{kind}_timeout"),
        NoAnswer::Stopped => "stopped".to_owned(),
    }
}

impl From<View> for ClientView {
    fn from(view: View) -> Self {
        let graph = view.graph.map(|graph| {
            let nodes = graph.nodes.into_iter().map(|it| GraphNode {
                uid: it.uid,
                label: it.label,
                description: it.description,
                parent_uid: it.parent_uid,
            });
            let edges = graph.edges.into_iter().map(|it| GraphEdge { from: it.from, to: it.to });
            ViewContent::Graph(Graph { nodes: nodes.collect(), edges: edges.collect() })
        });
        let content = graph.or(view.llm_response.map(ViewContent::LlmResponse));
        Self { phase: view.phase, content }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_messages_or_log() {
        for (line, said) in [
            (r#"{"type":"log","message":"a"}"#, Said::Log("a".into())),
            (r#"{"type":"progress","percent":250}"#, Said::Progress { percent: 100, message: String::new() }),
            (
                r#"{"type":"progress","percent":12.7,"message":"m"}"#,
                Said::Progress { percent: 12, message: "m".into() },
            ),
            (r#"{"type":"delta","text":"t"}"#, Said::Delta("t".into())),
            (r#"{"type": "delta", "text": "\u00e4"}"#, Said::Delta("ä".into())),
            (r#"{"type":"delta","text":"t","more":{"type":"log"}}"#, Said::Delta("t".into())),
            (r#"{"text":"t","type":"delta"}"#, Said::Delta("t".into())),
            (r#"{"type":"delta","text":1}"#, Said::Log(r#"{"type":"delta","text":1}"#.into())),
            (r#"{"type":"delta","text":"t"} x"#, Said::Log(r#"{"type":"delta","text":"t"} x"#.into())),
            (r#"{"type":"result"}"#, Said::Result(Value::Null)),
            (r#"{"type":"result","output":[1]}"#, Said::Result(json!([1]))),
            (r#"{"type":"error","message":"e"}"#, Said::Error { message: "e".into(), retryable: false }),
            (
                r#"{"type":"tool_call","tool_call_id":"1","tool_name":"s/t","args":{"a":1}}"#,
                Said::ToolCall { tool_call_id: "1".into(), tool_name: "s/t".into(), args: json!({"a": 1}) },
            ),
            (
                r#"{"type":"approval","approval_id":"2","tool_name":"rm","summary":"remove it"}"#,
                Said::Approval {
                    approval_id: "2".into(),
                    tool_call_id: String::new(),
                    tool_name: "rm".into(),
                    summary: "remove it".into(),
                },
            ),
            ("hello", Said::Log("hello".into())),
            ("{\"type\":\"unheard\"}", Said::Log("{\"type\":\"unheard\"}".into())),
            ("{\"type\":\"progress\"}", Said::Log("{\"type\":\"progress\"}".into())),
            ("[1]", Said::Log("[1]".into())),
        ] {
            assert_eq!(Said::read(line), said, "{line}");
        }
    }

    #[test]
    fn a_view_is_proto_json() {
        let line = r#"{"type":"view","view":{"phase":"p","graph":{"nodes":[{"uid":"b","parentUid":"a"}],"edges":[{"from":"a","to":"b"}]}}}"#;
        let Said::View(view) = Said::read(line) else { panic!("a view") };
        let Some(ViewContent::Graph(graph)) = view.content else { panic!("a graph") };
        assert_eq!((graph.nodes[0].parent_uid.as_str(), graph.edges[0].to.as_str()), ("a", "b"));
        let Said::View(view) = Said::read(r#"{"type":"view","view":{"llmResponse":"hi"}}"#) else {
            panic!("a view")
        };
        assert_eq!(view, ClientView::llm_response("", "hi"));
    }
}
