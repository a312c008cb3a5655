//! What an orchestrator pushes: one event of one of its runs, by the names of the WebSocket protocol.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::client::is_name;
use crate::model::{RequestId, RequestKey, RequestKind, Usage};

/// Characters of an error's code.
const CODE_CHARS: usize = 64;

/// The error codes of orchestrators that another try may not meet.
const RETRYABLE: [&str; 4] = ["tool_timeout", "agent_error", "llm_error", "internal_error"];

/// One pushed event.
#[derive(Debug, Clone, PartialEq)]
pub struct Pushed {
    /// The run, by the orchestrator's name or by ours.
    pub run_id: String,
    /// What tells this push from another one. A push that comes twice is applied once.
    pub event_id: Option<String>,
    /// What happened.
    pub(super) said: Said,
}

/// A push is no event. Its text is about what the orchestrator has sent, and for it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadPush(String);

/// What an orchestrator says.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Said {
    RunStarted {
        #[serde(default)]
        request_id: Option<String>,
    },
    Delta {
        text: String,
    },
    State {
        state: String,
        #[serde(default)]
        detail: Value,
    },
    Log {
        message: String,
    },
    Progress {
        percent: f64,
        #[serde(default)]
        message: String,
    },
    ToolRequest {
        tool_call_id: String,
        tool_name: String,
        #[serde(default)]
        args: Value,
        #[serde(default)]
        deadline_ts: Option<i64>,
    },
    ApprovalRequired {
        approval_id: String,
        #[serde(default)]
        tool_call_id: String,
        #[serde(default)]
        tool_name: String,
        #[serde(default)]
        args_summary: Summary,
        #[serde(default)]
        expires_ts: Option<i64>,
    },
    InputRequired {
        input_request_id: String,
        #[serde(default)]
        prompt: String,
        #[serde(default)]
        deadline_ts: Option<i64>,
    },
    Done {
        #[serde(default)]
        output: Value,
        #[serde(default)]
        usage: Option<Used>,
        #[serde(default)]
        message: Option<String>,
    },
    Error {
        #[serde(default)]
        code: String,
        message: String,
        #[serde(default)]
        retryable: Option<bool>,
    },
    Cancelled {
        #[serde(default)]
        reason: String,
    },
}

/// What would be done: a text, or any JSON that is shown as one.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(from = "Value")]
pub(super) struct Summary(pub(super) String);

/// What language models charged for, by the names of orchestrators.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(super) struct Used {
    #[serde(default)]
    prompt_tokens: u64,
    #[serde(default)]
    completion_tokens: u64,
}

#[derive(Deserialize)]
struct Envelope {
    run_id: String,
    #[serde(default)]
    event_id: Option<String>,
}

impl Pushed {
    /// Reads the `event` of a push.
    pub fn read(event: Value) -> Result<Self, BadPush> {
        let bad = |error: serde_json::Error| BadPush(error.to_string());
        if !event.is_object() {
            return Err(BadPush("is no object".to_owned()));
        }
        let Envelope { run_id, event_id } = Envelope::deserialize(&event).map_err(bad)?;
        let said: Said = serde_json::from_value(event).map_err(bad)?;
        let names = [("run_id", Some(run_id.as_str())), ("event_id", event_id.as_deref()), said.name()];
        for (field, name) in names {
            if name.is_some_and(|it| !is_name(it)) {
                return Err(BadPush(format!("`{field}` is empty, too long or no name")));
            }
        }
        Ok(Self { run_id, event_id, said })
    }
}

impl Pushed {
    /// Our name of the run, where the push tells that too.
    pub(super) fn our_run(&self) -> Option<&String> {
        match &self.said {
            Said::RunStarted { request_id } => request_id.as_ref(),
            _ => None,
        }
    }
}

impl Said {
    /// True for what an orchestrator says last.
    pub(super) fn is_last(&self) -> bool {
        matches!(self, Self::Done { .. } | Self::Error { .. } | Self::Cancelled { .. })
    }

    /// The request that it makes, if it makes one.
    pub(super) fn request(&self) -> Option<RequestKey> {
        let (kind, id) = match self {
            Self::ToolRequest { tool_call_id, .. } => (RequestKind::Tool, tool_call_id),
            Self::ApprovalRequired { approval_id, .. } => (RequestKind::Approval, approval_id),
            Self::InputRequired { input_request_id, .. } => (RequestKind::Input, input_request_id),
            _ => return None,
        };
        Some(RequestKey { kind, id: RequestId(id.clone()) })
    }

    fn name(&self) -> (&'static str, Option<&str>) {
        match self {
            Self::ToolRequest { tool_call_id, .. } => ("tool_call_id", Some(tool_call_id)),
            Self::ApprovalRequired { approval_id, .. } => ("approval_id", Some(approval_id)),
            Self::InputRequired { input_request_id, .. } => ("input_request_id", Some(input_request_id)),
            _ => ("", None),
        }
    }
}

impl From<Value> for Summary {
    fn from(value: Value) -> Self {
        Self(match value {
            Value::Null => String::new(),
            Value::String(text) => text,
            other => other.to_string(),
        })
    }
}

impl From<Used> for Usage {
    fn from(used: Used) -> Self {
        Self { input_tokens: used.prompt_tokens, output_tokens: used.completion_tokens }
    }
}

/// The code of an error that a client can rely on, and whether another try may not meet it.
pub(super) fn error_code(code: &str) -> (String, bool) {
    let sound = |it: char| it.is_ascii_lowercase() || it.is_ascii_digit() || it == '_';
    let good = !code.is_empty() && code.len() <= CODE_CHARS && code.chars().all(sound);
    let code = if good { code } else { "agent_error" };
    (code.to_owned(), RETRYABLE.contains(&code))
}

/// A time in milliseconds since 1970.
pub(super) fn timestamp(milliseconds: Option<i64>) -> Option<Timestamp> {
    milliseconds.and_then(|it| Timestamp::from_millisecond(it).ok())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn events_are_read_by_their_type() {
        let event =
            json!({"type": "delta", "ts": 7, "run_id": "run_1", "event_id": "e", "text": "a", "more": 1});
        let read = Pushed::read(event).unwrap();
        assert_eq!((read.run_id.as_str(), read.event_id.as_deref()), ("run_1", Some("e")));
        assert_eq!(read.said, Said::Delta { text: "a".to_owned() });
        let event =
            json!({"type": "approval_required", "run_id": "r", "approval_id": "a", "args_summary": {"n": 1}});
        let Said::ApprovalRequired { args_summary, .. } = Pushed::read(event).unwrap().said else { panic!() };
        assert_eq!(args_summary.0, r#"{"n":1}"#);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (event, named) in [
            (json!(1), "is no object"),
            (json!({"type": "delta", "text": "a"}), "`run_id`"),
            (json!({"run_id": "r", "text": "a"}), "`type`"),
            (json!({"type": "unheard", "run_id": "r"}), "`unheard`"),
            (json!({"type": "delta", "run_id": "r"}), "`text`"),
            (json!({"type": "delta", "run_id": "", "text": "a"}), "`run_id`"),
            (json!({"type": "delta", "run_id": "r", "event_id": "x".repeat(200), "text": "a"}), "`event_id`"),
            (
                json!({"type": "tool_request", "run_id": "r", "tool_call_id": "..", "tool_name": "t"}),
                "`tool_call_id`",
            ),
        ] {
            let error = Pushed::read(event.clone()).unwrap_err().to_string();
            assert!(error.contains(named), "{event}: {error}");
        }
    }

    #[test]
    fn codes_are_names_for_programs() {
        assert_eq!(error_code("llm_error"), ("llm_error".to_owned(), true));
        assert_eq!(error_code("quota"), ("quota".to_owned(), false));
        for bad in ["", "What went wrong", &"x".repeat(65)] {
            assert_eq!(error_code(bad), ("agent_error".to_owned(), true));
        }
    }
}
