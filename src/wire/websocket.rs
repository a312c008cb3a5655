//! Events as messages of a WebSocket. Encoded once; the text is shared by all sockets.

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::model::{
    Answer, ClientView, Closing, Entry, Event, EventKind, Graph, RequestKey, Run, SessionId, Usage,
    ViewContent, WorkerKey,
};

/// The slot of an entry's encoded forms.
const SLOT: usize = 2;

/// What a message says of a run that its events do not: the same for all events of the run, and for all who watch it.
#[derive(Debug, Clone)]
pub struct RunFacts {
    /// The session that the run was started in.
    pub session_id: SessionId,
    /// The worker that was asked for.
    pub agent_id: WorkerKey,
    /// When it was asked for.
    pub created_at: Timestamp,
}

/// The event as one text message.
pub fn websocket_event(entry: &Entry, of: &RunFacts) -> Bytes {
    entry.encoded(SLOT, |event| Value::Object(message(event, of, None)).to_string().into())
}

/// The same for the socket that started the run by the message with this `request_id`. Tells others nothing, so it is not
/// shared.
pub fn websocket_event_of_request(entry: &Entry, of: &RunFacts, request_id: &str) -> Bytes {
    Value::Object(message(&entry.event, of, Some(request_id))).to_string().into()
}

impl RunFacts {
    /// What there is to know of `run`.
    pub fn of(run: &Run) -> Self {
        Self {
            session_id: run.session_id.clone(),
            agent_id: run.pipeline_id.clone(),
            created_at: run.created_at,
        }
    }
}

fn message(event: &Event, of: &RunFacts, request_id: Option<&str>) -> Map<String, Value> {
    let (kind, own) = kind_and_fields(event, of);
    let mut message = Map::new();
    message.insert("type".to_owned(), kind.into());
    message.insert("ts".to_owned(), event.time.as_millisecond().into());
    if let Some(request_id) = request_id {
        message.insert("request_id".to_owned(), request_id.into());
    }
    message.insert("session_id".to_owned(), of.session_id.as_str().into());
    message.insert("run_id".to_owned(), event.run_id.to_string().into());
    message.insert("seq".to_owned(), event.sequence.into());
    message.insert("cursor".to_owned(), event.cursor().to_string().into());
    if let Value::Object(own) = own {
        message.extend(own);
    }
    // What a person reads is there on every message that has any.
    if !event.message.is_empty() && !message.contains_key("message") {
        message.insert("message".to_owned(), event.message.clone().into());
    }
    if let Some(view) = &event.view {
        message.insert("view".to_owned(), view_json(view));
    }
    message
}

/// The type of the message, and the fields of that type.
fn kind_and_fields(event: &Event, of: &RunFacts) -> (&'static str, Value) {
    let percent = event.progress_percent;
    match &event.kind {
        EventKind::Log => ("log", json!({"message": event.message, "percent": percent})),
        EventKind::Progress => ("progress", json!({"message": event.message, "percent": percent})),
        EventKind::Delta { text } => ("delta", json!({"text": text})),
        // The log of every run begins with the state that it is made in.
        EventKind::State { state, .. } if event.sequence == 1 => {
            ("run_started", json!({"agent_id": of.agent_id.as_str(), "state": state.name()}))
        }
        EventKind::State { state, attempt } => {
            let mut own = json!({"state": state.name()});
            let mut detail = Map::new();
            if *attempt > 1 {
                detail.insert("attempt".to_owned(), (*attempt).into());
            }
            if !event.message.is_empty() {
                detail.insert("message".to_owned(), event.message.clone().into());
            }
            if !detail.is_empty() {
                own["detail"] = detail.into();
            }
            ("state", own)
        }
        EventKind::InputRequired { request_id, prompt, deadline } => {
            let mut own = json!({"input_request_id": request_id.0, "prompt": prompt});
            if let Some(deadline) = deadline {
                own["deadline_ts"] = deadline.as_millisecond().into();
            }
            ("input_required", own)
        }
        EventKind::ToolRequest { tool_call_id, tool_name, args, deadline } => {
            let deadline = deadline.as_millisecond();
            let own = json!({"tool_call_id": tool_call_id.0, "tool_name": tool_name, "args": args, "deadline_ts": deadline});
            ("tool_request", own)
        }
        EventKind::ApprovalRequired { approval_id, tool_call_id, tool_name, summary, expires_at } => {
            let expires = expires_at.as_millisecond();
            let own = json!({"approval_id": approval_id.0, "tool_call_id": tool_call_id, "tool_name": tool_name,
                "args_summary": summary, "expires_ts": expires});
            ("approval_required", own)
        }
        EventKind::Closed { request, closing } => {
            let answer = answer_fields(request, closing);
            ("log", json!({"message": event.message, "percent": percent, "answer": answer}))
        }
        EventKind::Queued { position, ahead, reason } => {
            ("queued", json!({"position": position, "ahead": ahead, "reason": reason}))
        }
        EventKind::Node { worker_key, state, progress_percent, error } => {
            let mut node = json!({"worker_key": worker_key.as_str(), "state": state.name(), "percent": progress_percent});
            if !error.is_empty() {
                node["error"] = error.as_str().into();
            }
            ("progress", json!({"message": event.message, "percent": percent, "node": node}))
        }
        EventKind::Complete { output, usage } => {
            let usage = usage_fields(usage.unwrap_or_default(), event.time, of.created_at);
            ("done", json!({"output": output, "usage": usage}))
        }
        EventKind::Error(error) => {
            let own = json!({"code": error.code, "message": error.message, "retryable": error.retryable});
            ("error", own)
        }
        EventKind::Cancelled if event.message.is_empty() => ("cancelled", json!({})),
        EventKind::Cancelled => ("cancelled", json!({"reason": event.message})),
    }
}

/// How the wait for a request ended: what was asked, and the answer if there is one.
fn answer_fields(request: &RequestKey, closing: &Closing) -> Value {
    let (outcome, answer) = match closing {
        Closing::Expired => ("expired", json!({})),
        Closing::Withdrawn => ("withdrawn", json!({})),
        Closing::Answered(answer) => {
            let answer = match answer {
                Answer::Input(text) => json!({"input": text}),
                Answer::Tool(result) => json!({"ok": true, "result": result}),
                Answer::ToolFailed(error) => json!({"ok": false, "error": error}),
                Answer::Approved { reason } => json!({"decision": "approve", "reason": reason}),
                Answer::Rejected { reason } => json!({"decision": "reject", "reason": reason}),
            };
            ("answered", answer)
        }
    };
    let mut told = Map::new();
    told.insert("kind".to_owned(), request.kind.name().into());
    told.insert("request_id".to_owned(), request.id.0.as_str().into());
    told.insert("outcome".to_owned(), outcome.into());
    if let Value::Object(answer) = answer {
        told.extend(answer);
    }
    told.into()
}

/// A view in proto3 JSON: fields that are empty are left out.
fn view_json(view: &ClientView) -> Value {
    let mut shown = filled([("phase", &view.phase)]);
    match &view.content {
        None => {}
        Some(ViewContent::LlmResponse(text)) => shown["llmResponse"] = text.as_str().into(),
        Some(ViewContent::Graph(Graph { nodes, edges })) => {
            let nodes = nodes.iter().map(|it| {
                let texts = [
                    ("uid", &it.uid),
                    ("label", &it.label),
                    ("description", &it.description),
                    ("parentUid", &it.parent_uid),
                ];
                filled(texts)
            });
            let edges = edges.iter().map(|it| filled([("from", &it.from), ("to", &it.to)]));
            let mut graph = Map::new();
            for (name, parts) in [("nodes", nodes.collect::<Vec<_>>()), ("edges", edges.collect())] {
                if !parts.is_empty() {
                    graph.insert(name.to_owned(), parts.into());
                }
            }
            shown["graph"] = graph.into();
        }
    }
    shown
}

/// An object of the texts that are not empty.
fn filled<const N: usize>(texts: [(&str, &String); N]) -> Value {
    let texts = texts.into_iter().filter(|(_, text)| !text.is_empty());
    Value::Object(texts.map(|(name, text)| (name.to_owned(), text.as_str().into())).collect())
}

/// Tokens, and how long the run took from the time when it was asked for.
fn usage_fields(usage: Usage, ended: Timestamp, created: Timestamp) -> Value {
    let Usage { input_tokens, output_tokens } = usage;
    let duration_ms = (ended.as_millisecond() - created.as_millisecond()).max(0);
    json!({"total_tokens": input_tokens.saturating_add(output_tokens), "prompt_tokens": input_tokens,
        "completion_tokens": output_tokens, "duration_ms": duration_ms})
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::model::{GraphEdge, GraphNode, NodeState, RequestId, RequestKind, RunError, RunId, RunState};

    fn facts() -> RunFacts {
        RunFacts {
            session_id: SessionId::new(Uuid::from_u128(1)),
            agent_id: "Writer".into(),
            created_at: Timestamp::from_millisecond(1000).unwrap(),
        }
    }

    fn entry(sequence: u64, message: &str, kind: EventKind) -> Entry {
        Entry::new(Event {
            run_id: RunId::new(Uuid::from_u128(7)),
            sequence,
            time: Timestamp::from_millisecond(2500).unwrap(),
            message: message.to_owned(),
            progress_percent: 40,
            view: None,
            kind,
            memo: Some(Box::new(json!("the worker's own"))),
        })
    }

    fn told(entry: &Entry) -> Value {
        serde_json::from_slice(&websocket_event(entry, &facts())).unwrap()
    }

    #[test]
    fn every_message_says_whose_it_is_and_where_it_stands() {
        let entry = entry(3, "", EventKind::Delta { text: "a\"b".to_owned() });
        let text = String::from_utf8(websocket_event(&entry, &facts()).to_vec()).unwrap();
        let expected = format!(
            r#"{{"type":"delta","ts":2500,"session_id":"{}","run_id":"{}","seq":3,"cursor":"{}","text":"a\"b"}}"#,
            facts().session_id,
            entry.event.run_id,
            entry.event.cursor()
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn it_is_encoded_once() {
        let entry = entry(1, "", EventKind::Log);
        let (one, two) = (websocket_event(&entry, &facts()), websocket_event(&entry, &facts()));
        assert_eq!(one.as_ptr(), two.as_ptr());
    }

    #[test]
    fn the_first_event_says_that_the_run_has_started_and_by_which_request() {
        let state = |sequence| entry(sequence, "", EventKind::State { state: RunState::Queued, attempt: 1 });
        let first = told(&state(1));
        assert_eq!((&first["type"], &first["agent_id"]), (&json!("run_started"), &json!("Writer")));
        assert_eq!(first.get("request_id"), None);
        let own = websocket_event_of_request(&state(1), &facts(), "r1");
        assert_eq!(serde_json::from_slice::<Value>(&own).unwrap()["request_id"], "r1");
        assert_eq!(told(&state(2))["type"], "state");
    }

    #[test]
    fn each_kind_has_its_fields() {
        let time = Timestamp::from_millisecond(9000).unwrap();
        let id = RequestId("t1".to_owned());
        let usage = Some(Usage { input_tokens: 7, output_tokens: 3 });
        let cases = [
            ("hi", EventKind::Log, json!({"type": "log", "message": "hi", "percent": 40})),
            ("hi", EventKind::Progress, json!({"type": "progress", "message": "hi", "percent": 40})),
            (
                "again",
                EventKind::State { state: RunState::WaitingTool, attempt: 2 },
                json!({"type": "state", "state": "waiting_tool", "detail": {"attempt": 2, "message": "again"}, "message": "again"}),
            ),
            (
                "?",
                EventKind::InputRequired {
                    request_id: id.clone(),
                    prompt: "?".to_owned(),
                    deadline: Some(time),
                },
                json!({"type": "input_required", "input_request_id": "t1", "prompt": "?", "deadline_ts": 9000, "message": "?"}),
            ),
            (
                "",
                EventKind::ToolRequest {
                    tool_call_id: id.clone(),
                    tool_name: "read".to_owned(),
                    args: json!({"n": 1}),
                    deadline: time,
                },
                json!({"type": "tool_request", "tool_call_id": "t1", "tool_name": "read", "args": {"n": 1}, "deadline_ts": 9000}),
            ),
            (
                "",
                EventKind::ApprovalRequired {
                    approval_id: id.clone(),
                    tool_call_id: "c".to_owned(),
                    tool_name: "rm".to_owned(),
                    summary: "s".to_owned(),
                    expires_at: time,
                },
                json!({"type": "approval_required", "approval_id": "t1", "tool_call_id": "c", "tool_name": "rm", "args_summary": "s", "expires_ts": 9000}),
            ),
            (
                "approved",
                EventKind::Closed {
                    request: RequestKey::new(RequestKind::Approval, "t1"),
                    closing: Closing::Answered(Answer::Approved { reason: "ok".to_owned() }),
                },
                json!({"type": "log", "message": "approved", "percent": 40,
                    "answer": {"kind": "approval", "request_id": "t1", "outcome": "answered", "decision": "approve", "reason": "ok"}}),
            ),
            (
                "late",
                EventKind::Closed {
                    request: RequestKey::new(RequestKind::Tool, "t1"),
                    closing: Closing::Expired,
                },
                json!({"type": "log", "message": "late", "percent": 40,
                    "answer": {"kind": "tool", "request_id": "t1", "outcome": "expired"}}),
            ),
            (
                "",
                EventKind::Queued { position: 2, ahead: 1, reason: "busy".to_owned() },
                json!({"type": "queued", "position": 2, "ahead": 1, "reason": "busy"}),
            ),
            (
                "",
                EventKind::Node {
                    worker_key: "w".into(),
                    state: NodeState::Failed,
                    progress_percent: 9,
                    error: "no".to_owned(),
                },
                json!({"type": "progress", "message": "", "percent": 40, "node": {"worker_key": "w", "state": "failed", "percent": 9, "error": "no"}}),
            ),
            (
                "Done",
                EventKind::Complete { output: json!([1]), usage },
                json!({"type": "done", "message": "Done", "output": [1],
                    "usage": {"total_tokens": 10, "prompt_tokens": 7, "completion_tokens": 3, "duration_ms": 1500}}),
            ),
            (
                "bad",
                EventKind::Error(RunError::retryable("worker_failed", "bad")),
                json!({"type": "error", "code": "worker_failed", "message": "bad", "retryable": true}),
            ),
            (
                "enough",
                EventKind::Cancelled,
                json!({"type": "cancelled", "reason": "enough", "message": "enough"}),
            ),
        ];
        for (message, kind, expected) in cases {
            let mut told = told(&entry(5, message, kind));
            let fields = told.as_object_mut().unwrap();
            for common in ["ts", "session_id", "run_id", "seq", "cursor"] {
                assert!(fields.shift_remove(common).is_some(), "{common} in {expected}");
            }
            assert_eq!(told, expected);
        }
    }

    #[test]
    fn a_view_comes_in_proto3_json() {
        let node = GraphNode { parent_uid: "a".into(), ..GraphNode::new("b", "B", "") };
        let nodes = vec![GraphNode::new("a", "A", "first"), node];
        let graph = Graph { nodes, edges: vec![GraphEdge::new("a", "b")] };
        for view in [
            ClientView::llm_response("p", "words"),
            ClientView::graph("", graph),
            ClientView::graph("p", Graph::default()),
        ] {
            let mut entry = entry(5, "", EventKind::Log);
            entry.event.view = Some(view);
            let canonical: Value = serde_json::from_slice(&crate::wire::event_json(&entry.event)).unwrap();
            assert_eq!(told(&entry)["view"], canonical["clientView"]);
        }
    }
}
