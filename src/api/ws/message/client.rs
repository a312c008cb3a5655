//! What a client says: one JSON object, read strictly. What is wrong is told with the name of the field.

use std::collections::BTreeMap;

use serde_json::Value;

use super::fields::{Fields, Wrong, shown};
use crate::{
    gateway::IfBusy,
    model::{Secret, limits},
};

/// The longest `request_id`. It is repeated with the answer.
const REQUEST_ID_BYTES: usize = 256;
/// Entries of `client_meta`, and bytes of a name or a text in it. It is for the log.
const META_ENTRIES: usize = 32;
const META_BYTES: usize = 256;

/// A message that can be acted on.
#[derive(Debug)]
pub struct Received {
    /// What the answer is asked for by.
    pub request_id: Option<String>,
    /// The session that the client believes this socket is in; empty when it does not say.
    pub session_id: String,
    /// What it wants.
    pub message: ClientMessage,
}

/// What a client wants.
#[derive(Debug)]
pub enum ClientMessage {
    /// Says who it is; before it nothing else is possible.
    Hello(Hello),
    /// Starts a run and watches it.
    AgentInvoke(AgentInvoke),
    /// The result of a tool call.
    ToolResult {
        /// The run.
        run_id: String,
        /// The call.
        tool_call_id: String,
        /// Whether the tool did what it should.
        ok: bool,
        /// What it gave.
        result: Value,
        /// What went wrong; empty otherwise.
        error: String,
    },
    /// The decision on an approval.
    ApprovalDecision {
        /// The run.
        run_id: String,
        /// The approval.
        approval_id: String,
        /// The decision.
        approve: bool,
        /// Why; may be empty.
        reason: String,
    },
    /// Asks a run to stop.
    CancelRun {
        /// The run.
        run_id: String,
        /// Why; may be empty.
        reason: String,
    },
    /// What the person says to the run that waits for it.
    SubmitInput {
        /// The run.
        run_id: String,
        /// What the person says.
        input: String,
        /// The question that is answered; empty: the oldest open one.
        input_request_id: String,
    },
    /// Watches a run.
    Watch {
        /// The run.
        run_id: String,
        /// A cursor; empty: from the first event; `now`: only what is new.
        after: String,
    },
    /// Watches it no more.
    Unwatch {
        /// The run.
        run_id: String,
    },
    /// Asks for a sign of life.
    Ping,
}

/// Who a client is and where it left off.
#[derive(Debug)]
pub struct Hello {
    /// The session; empty: the cookie's, or a new one.
    pub session_id: String,
    /// The key; empty: none.
    pub api_key: Secret,
    /// Who the session belongs to; may be empty.
    pub user_id: String,
    /// What the client tells of itself, for the log.
    pub client_meta: BTreeMap<String, String>,
    /// Runs with the position after which they go on, in the client's order.
    pub resume: Vec<(String, String)>,
}

/// A run that is to be started.
#[derive(Debug)]
pub struct AgentInvoke {
    /// The worker.
    pub agent_id: String,
    /// What it is told.
    pub params: BTreeMap<String, String>,
    /// Names the request, so that it can be sent again without starting a second run.
    pub idempotency_key: String,
    /// What to do when the session has an active run.
    pub if_busy: IfBusy,
    /// Whether the run ends when nobody watches it any more.
    pub cancel_on_disconnect: bool,
}

/// A message that cannot be acted on.
#[derive(Debug, PartialEq, Eq)]
pub struct Invalid {
    /// What the answer is asked for by, as far as it could be read.
    pub request_id: Option<String>,
    /// The field that is wrong; none when the message as a whole is.
    pub field: Option<String>,
    /// What is wrong.
    pub message: String,
}

/// Reads a message. Never panics, whatever it is.
pub fn parse(text: &str) -> Result<Received, Invalid> {
    let whole = |message: &str| Invalid { request_id: None, field: None, message: message.to_owned() };
    let value: Value = serde_json::from_str(text).map_err(|_| whole("invalid JSON message"))?;
    let Value::Object(fields) = value else { return Err(whole("the message is not an object")) };
    let mut fields = Fields::new("", fields);
    let request_id =
        fields.short_text("request_id", REQUEST_ID_BYTES).map_err(|wrong| invalid(None, wrong))?;
    let request_id = request_id.filter(|it| !it.is_empty());
    match fields_of(&mut fields, request_id.is_some()) {
        Ok((session_id, message)) => Ok(Received { request_id, session_id, message }),
        Err(wrong) => Err(invalid(request_id, wrong)),
    }
}

fn invalid(request_id: Option<String>, Wrong { field, problem }: Wrong) -> Invalid {
    let message = match field.as_str() {
        // Of a type that is not known the type is told, not the field.
        "type" if problem.starts_with("unknown") => problem,
        field => format!("{field} {problem}"),
    };
    Invalid { request_id, field: Some(field), message }
}

fn fields_of(fields: &mut Fields, has_request_id: bool) -> Result<(String, ClientMessage), Wrong> {
    let kind = fields.required("type")?;
    // Clocks of clients are not relied on; a time that is none is a mistake all the same.
    fields.integer("ts")?;
    let session_id = fields.optional("session_id")?;
    let message = match kind.as_str() {
        "hello" => ClientMessage::Hello(hello(fields, &session_id)?),
        "agent_invoke" if !has_request_id => return Err(fields.missing("request_id")),
        "agent_invoke" => ClientMessage::AgentInvoke(agent_invoke(fields)?),
        "tool_result" => ClientMessage::ToolResult {
            run_id: fields.required("run_id")?,
            tool_call_id: fields.required("tool_call_id")?,
            ok: fields.required_flag("ok")?,
            result: fields.any("result"),
            error: fields.optional("error")?,
        },
        "approval_decision" => ClientMessage::ApprovalDecision {
            run_id: fields.required("run_id")?,
            approval_id: fields.required("approval_id")?,
            approve: decision(fields)?,
            reason: fields.optional("reason")?,
        },
        "cancel_run" => ClientMessage::CancelRun {
            run_id: fields.required("run_id")?,
            reason: fields.optional("reason")?,
        },
        "submit_input" => ClientMessage::SubmitInput {
            run_id: fields.required("run_id")?,
            input: fields.required("input")?,
            input_request_id: fields.optional("input_request_id")?,
        },
        "watch" => {
            ClientMessage::Watch { run_id: fields.required("run_id")?, after: fields.optional("after")? }
        }
        "unwatch" => ClientMessage::Unwatch { run_id: fields.required("run_id")? },
        "ping" => ClientMessage::Ping,
        kind => return Err(fields.wrong("type", format!("unknown message type: {}", shown(kind)))),
    };
    Ok((session_id, message))
}

fn hello(fields: &mut Fields, session_id: &str) -> Result<Hello, Wrong> {
    let client_meta = fields.text_map("client_meta")?;
    if client_meta.len() > META_ENTRIES {
        return Err(fields.wrong("client_meta", format!("has more than {META_ENTRIES} entries")));
    }
    if client_meta.iter().any(|(name, text)| name.len().max(text.len()) > META_BYTES) {
        return Err(fields.wrong("client_meta", format!("has a text of more than {META_BYTES} bytes")));
    }
    Ok(Hello {
        session_id: session_id.to_owned(),
        api_key: Secret::new(fields.optional("api_key")?),
        user_id: fields.short_text("user_id", limits::SHORT_TEXT_BYTES)?.unwrap_or_default(),
        client_meta,
        resume: fields.texts("resume")?,
    })
}

fn agent_invoke(fields: &mut Fields) -> Result<AgentInvoke, Wrong> {
    let agent_id = fields.required("agent_id")?;
    let mut message = Fields::new("message.", fields.required_object("message")?);
    // Whoever speaks: it is said to the worker.
    message.optional("role")?;
    let content = message.text("content")?.ok_or_else(|| message.missing("content"))?;
    let mut params = fields.text_map("params")?;
    params.insert("user_input".to_owned(), content);
    Ok(AgentInvoke {
        agent_id,
        params,
        idempotency_key: fields.optional("idempotency_key")?,
        if_busy: if_busy(fields)?,
        cancel_on_disconnect: fields.flag("cancel_on_disconnect")?.unwrap_or_default(),
    })
}

/// `reject`, `enqueue` or `interrupt`, in the case of the writer's liking, and also as the enum of the service names them.
fn if_busy(fields: &mut Fields) -> Result<IfBusy, Wrong> {
    let text = fields.optional("if_busy")?.trim().to_ascii_lowercase();
    match text.strip_prefix("if_busy_").unwrap_or(&text) {
        "" | "unspecified" | "reject" => Ok(IfBusy::Reject),
        "enqueue" => Ok(IfBusy::Enqueue),
        "interrupt" => Ok(IfBusy::Interrupt),
        _ => Err(fields.wrong("if_busy", "is none of reject, enqueue, interrupt")),
    }
}

fn decision(fields: &mut Fields) -> Result<bool, Wrong> {
    let text = fields.required("decision")?.trim().to_ascii_lowercase();
    match text.strip_prefix("decision_").unwrap_or(&text) {
        "approve" | "approved" => Ok(true),
        "reject" | "rejected" => Ok(false),
        _ => Err(fields.wrong("decision", "is neither approve nor reject")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn wrong(message: &Value) -> (Option<String>, String) {
        let invalid = parse(&message.to_string()).unwrap_err();
        (invalid.field, invalid.message)
    }

    #[test]
    fn what_is_wrong_is_told_with_the_name_of_the_field() {
        for (message, field, text) in [
            (json!({}), "type", "type is required"),
            (json!({"type": 1}), "type", "type is not a text"),
            (json!({"type": "dance"}), "type", "unknown message type: dance"),
            (json!({"type": "ping", "ts": "now"}), "ts", "ts is not a whole number"),
            (json!({"type": "ping", "ts": 1.5}), "ts", "ts is not a whole number"),
            (json!({"type": "ping", "request_id": 1}), "request_id", "request_id is not a text"),
            (json!({"type": "ping", "session_id": 1}), "session_id", "session_id is not a text"),
            (json!({"type": "cancel_run"}), "run_id", "run_id is required"),
            (json!({"type": "cancel_run", "run_id": null}), "run_id", "run_id is required"),
            (json!({"type": "cancel_run", "run_id": " "}), "run_id", "run_id is required"),
            (json!({"type": "watch", "run_id": "r", "after": 3}), "after", "after is not a text"),
            (json!({"type": "submit_input", "run_id": "r"}), "input", "input is required"),
            (
                json!({"type": "tool_result", "run_id": "r", "tool_call_id": "t", "ok": "yes"}),
                "ok",
                "ok is neither true nor false",
            ),
            (
                json!({"type": "approval_decision", "run_id": "r", "approval_id": "a", "decision": "maybe"}),
                "decision",
                "decision is neither approve nor reject",
            ),
            (
                json!({"type": "agent_invoke", "agent_id": "a", "message": {"content": ""}}),
                "request_id",
                "request_id is required",
            ),
            (
                json!({"type": "agent_invoke", "request_id": "1", "agent_id": "a"}),
                "message",
                "message is required",
            ),
            (
                json!({"type": "agent_invoke", "request_id": "1", "agent_id": "a", "message": {"role": "user"}}),
                "message.content",
                "message.content is required",
            ),
            (
                json!({"type": "agent_invoke", "request_id": "1", "agent_id": "a", "message": {"content": ""}, "params": {"n": 1}}),
                "params.n",
                "params.n is not a text",
            ),
            (
                json!({"type": "agent_invoke", "request_id": "1", "agent_id": "a", "message": {"content": ""}, "if_busy": "wait"}),
                "if_busy",
                "if_busy is none of reject, enqueue, interrupt",
            ),
            (json!({"type": "hello", "resume": ["r"]}), "resume", "resume is not an object"),
            (
                json!({"type": "hello", "client_meta": {"a": "x".repeat(257)}}),
                "client_meta",
                "client_meta has a text of more than 256 bytes",
            ),
        ] {
            assert_eq!(wrong(&message), (Some(field.to_owned()), text.to_owned()), "{message}");
        }
        for text in ["", "{", "nonsense", "{\"type\":\"ping\"} x"] {
            let invalid = parse(text).unwrap_err();
            assert_eq!((invalid.field, invalid.message.as_str()), (None, "invalid JSON message"), "{text}");
        }
        assert_eq!(parse("[]").unwrap_err().message, "the message is not an object");
    }

    #[test]
    fn whoever_asks_for_an_answer_gets_it_for_a_bad_message_too() {
        let invalid = parse(r#"{"type":"watch","request_id":"7"}"#).unwrap_err();
        assert_eq!(invalid.request_id.as_deref(), Some("7"));
    }

    #[test]
    fn what_the_person_says_becomes_the_input_of_the_worker() {
        for (spelt, expected) in [
            (json!(null), IfBusy::Reject),
            (json!("enqueue"), IfBusy::Enqueue),
            (json!("INTERRUPT"), IfBusy::Interrupt),
            (json!("IF_BUSY_ENQUEUE"), IfBusy::Enqueue),
        ] {
            let message = json!({"type": "agent_invoke", "request_id": "1", "agent_id": "a", "if_busy": spelt,
                "message": {"role": "user", "content": "hi"}, "params": {"k": "v", "user_input": "overridden"}});
            let Ok(Received { message: ClientMessage::AgentInvoke(invoke), .. }) =
                parse(&message.to_string())
            else {
                panic!("{message}")
            };
            assert_eq!(invoke.if_busy, expected);
            let params = [("k", "v"), ("user_input", "hi")].map(|(a, b)| (a.to_owned(), b.to_owned()));
            assert_eq!(invoke.params, params.into());
        }
    }

    #[test]
    fn runs_are_resumed_in_the_order_in_which_they_stand() {
        let Ok(Received { message: ClientMessage::Hello(hello), .. }) =
            parse(r#"{"type":"hello","api_key":"k","resume":{"b":"1","a":"2"}}"#)
        else {
            panic!("a hello")
        };
        assert_eq!(hello.resume, [("b".to_owned(), "1".to_owned()), ("a".to_owned(), "2".to_owned())]);
        assert!(!format!("{hello:?}").contains("\"k\""), "a key is never shown");
    }
}
