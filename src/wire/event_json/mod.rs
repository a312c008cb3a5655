//! Events as proto3 JSON, for SSE, Connect and documents, written straight from the message: by way of the descriptors it
//! would be nearly half of what an event costs.
//!
//! Every message is taken apart field by field, without `..`: a field that `proto/` gains does not compile until it is
//! written here.

use bytes::Bytes;
use prost::Message as _;
use prost_types::{Timestamp, value::Kind};
use serde::{Serialize, Serializer, ser::SerializeMap};

use super::{
    event_message,
    v1::{self, client_view::Content, closed_detail::Answer, watch_run_response::Detail},
};
use crate::model::Event;

/// What names, quotation marks, longer forms of numbers and the frame of an event stream add to an event's protobuf. Most
/// events fit; the others make their buffer grow.
const NAMES_BYTES: usize = 256;

/// A message as canonical JSON: fields that have their default are left out.
struct Json<'a, T>(&'a T);

/// Several of them.
struct Many<'a, T>(&'a [T]);

/// Messages whose JSON is an object of their fields.
trait Message {
    /// Writes the fields, in the order of their numbers.
    fn write<M: SerializeMap>(&self, fields: &mut Fields<M>) -> Result<(), M::Error>;
}

/// The object that is written.
struct Fields<M>(M);

/// A word of an enumeration, or its number where it has no name here.
#[derive(Serialize)]
#[serde(untagged)]
enum Word {
    Name(&'static str),
    Number(i32),
}

/// The event as one line of proto3 JSON; `eventType`, `message` and `progressPercent` come first and are always there.
pub fn event_json(event: &Event) -> Bytes {
    response_json(&event_message(event))
}

/// The same for an event as a client received it.
pub fn response_json(response: &v1::WatchRunResponse) -> Bytes {
    let mut json = buffer_for(response);
    append_json(&mut json, response);
    json.into()
}

/// An empty buffer in which the JSON of most events finds room, also as a message of an event stream.
pub(super) fn buffer_for(response: &v1::WatchRunResponse) -> Vec<u8> {
    Vec::with_capacity(response.encoded_len() + NAMES_BYTES)
}

/// Appends [`response_json`].
pub(super) fn append_json(json: &mut Vec<u8>, response: &v1::WatchRunResponse) {
    if let Err(error) = serde_json::to_writer(json, &Json(response)) {
        unreachable!("memory takes all that is written, and every name is a text: {error}")
    }
}

fn word<E: TryFrom<i32>>(number: i32, text: fn(&E) -> &'static str) -> Word {
    E::try_from(number).map_or(Word::Number(number), |it| Word::Name(text(&it)))
}

impl<T: Message> Serialize for Json<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = Fields(serializer.serialize_map(None)?);
        self.0.write(&mut fields)?;
        fields.0.end()
    }
}

/// RFC 3339 in UTC with 0, 3, 6 or 9 digits behind the second.
impl Serialize for Json<'_, Timestamp> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self.0)
    }
}

/// The value itself. Infinities and NaN, which JSON does not have, become null.
impl Serialize for Json<'_, prost_types::Value> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let prost_types::Value { kind } = self.0;
        match kind {
            None | Some(Kind::NullValue(_)) => serializer.serialize_unit(),
            Some(Kind::BoolValue(it)) => serializer.serialize_bool(*it),
            Some(Kind::NumberValue(it)) => serializer.serialize_f64(*it),
            Some(Kind::StringValue(it)) => serializer.serialize_str(it),
            Some(Kind::ListValue(prost_types::ListValue { values })) => {
                serializer.collect_seq(values.iter().map(Json))
            }
            Some(Kind::StructValue(prost_types::Struct { fields })) => {
                serializer.collect_map(fields.iter().map(|(name, it)| (name, Json(it))))
            }
        }
    }
}

impl<T: Message> Serialize for Many<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(Json))
    }
}

impl<M: SerializeMap> Fields<M> {
    /// A text, a number of 32 bits, or a truth.
    fn plain<V>(&mut self, name: &'static str, value: &V) -> Result<(), M::Error>
    where
        V: Serialize + Default + PartialEq,
    {
        if *value == V::default() { Ok(()) } else { self.0.serialize_entry(name, value) }
    }

    /// A number of 64 bits: a text, because JavaScript's numbers have only 53.
    fn long(&mut self, name: &'static str, value: u64) -> Result<(), M::Error> {
        if value == 0 { Ok(()) } else { self.0.serialize_entry(name, &format_args!("{value}")) }
    }

    /// A word of an enumeration.
    fn word<E: TryFrom<i32>>(
        &mut self,
        name: &'static str,
        number: i32,
        text: fn(&E) -> &'static str,
    ) -> Result<(), M::Error> {
        if number == 0 { Ok(()) } else { self.0.serialize_entry(name, &word(number, text)) }
    }

    /// A message, where there is one, even if all of its fields have their defaults.
    fn message<'a, T>(&mut self, name: &'static str, message: Option<&'a T>) -> Result<(), M::Error>
    where
        Json<'a, T>: Serialize,
    {
        message.map_or(Ok(()), |it| self.0.serialize_entry(name, &Json(it)))
    }

    /// Messages, where there are any.
    fn messages<T: Message>(&mut self, name: &'static str, messages: &[T]) -> Result<(), M::Error> {
        if messages.is_empty() { Ok(()) } else { self.0.serialize_entry(name, &Many(messages)) }
    }
}

impl Message for v1::WatchRunResponse {
    fn write<M: SerializeMap>(&self, fields: &mut Fields<M>) -> Result<(), M::Error> {
        let Self {
            event_type,
            message,
            progress_percent,
            client_view,
            run_id,
            sequence,
            cursor,
            time,
            detail,
        } = self;
        // Clients count on these three, defaults or not.
        fields.0.serialize_entry("eventType", &word(*event_type, v1::EventType::as_str_name))?;
        fields.0.serialize_entry("message", message)?;
        fields.0.serialize_entry("progressPercent", progress_percent)?;
        fields.message("clientView", client_view.as_ref())?;
        fields.plain("runId", run_id)?;
        fields.long("sequence", *sequence)?;
        // Before all that may hold names that a worker has chosen: see `wire/event`.
        fields.plain("cursor", cursor)?;
        fields.message("time", time.as_ref())?;
        match detail {
            None => Ok(()),
            Some(Detail::State(it)) => fields.message("state", Some(it)),
            Some(Detail::Delta(it)) => fields.message("delta", Some(it)),
            Some(Detail::InputRequired(it)) => fields.message("inputRequired", Some(it)),
            Some(Detail::ToolRequest(it)) => fields.message("toolRequest", Some(it)),
            Some(Detail::ApprovalRequired(it)) => fields.message("approvalRequired", Some(it)),
            Some(Detail::Queue(it)) => fields.message("queue", Some(it)),
            Some(Detail::Node(it)) => fields.message("node", Some(it)),
            Some(Detail::Result(it)) => fields.message("result", Some(it)),
            Some(Detail::Error(it)) => fields.message("error", Some(it)),
            Some(Detail::Closed(it)) => fields.message("closed", Some(it)),
        }
    }
}

impl Message for v1::ClientView {
    fn write<M: SerializeMap>(&self, fields: &mut Fields<M>) -> Result<(), M::Error> {
        let Self { phase, content } = self;
        fields.plain("phase", phase)?;
        match content {
            None => Ok(()),
            Some(Content::Graph(it)) => fields.message("graph", Some(it)),
            // One of several is always told, also where it is empty.
            Some(Content::LlmResponse(it)) => fields.0.serialize_entry("llmResponse", it),
        }
    }
}

impl Message for v1::GraphView {
    fn write<M: SerializeMap>(&self, fields: &mut Fields<M>) -> Result<(), M::Error> {
        let Self { nodes, edges } = self;
        fields.messages("nodes", nodes)?;
        fields.messages("edges", edges)
    }
}

impl Message for v1::GraphNode {
    fn write<M: SerializeMap>(&self, fields: &mut Fields<M>) -> Result<(), M::Error> {
        let Self { uid, label, description, parent_uid } = self;
        fields.plain("uid", uid)?;
        fields.plain("label", label)?;
        fields.plain("description", description)?;
        fields.plain("parentUid", parent_uid)
    }
}

impl Message for v1::GraphEdge {
    fn write<M: SerializeMap>(&self, fields: &mut Fields<M>) -> Result<(), M::Error> {
        let Self { from, to } = self;
        fields.plain("from", from)?;
        fields.plain("to", to)
    }
}

impl Message for v1::StateDetail {
    fn write<M: SerializeMap>(&self, fields: &mut Fields<M>) -> Result<(), M::Error> {
        let Self { state, attempt } = self;
        fields.word("state", *state, v1::RunState::as_str_name)?;
        fields.plain("attempt", attempt)
    }
}

impl Message for v1::DeltaDetail {
    fn write<M: SerializeMap>(&self, fields: &mut Fields<M>) -> Result<(), M::Error> {
        let Self { text } = self;
        fields.plain("text", text)
    }
}

impl Message for v1::InputRequiredDetail {
    fn write<M: SerializeMap>(&self, fields: &mut Fields<M>) -> Result<(), M::Error> {
        let Self { request_id, prompt, deadline } = self;
        fields.plain("requestId", request_id)?;
        fields.plain("prompt", prompt)?;
        fields.message("deadline", deadline.as_ref())
    }
}

impl Message for v1::ToolRequestDetail {
    fn write<M: SerializeMap>(&self, fields: &mut Fields<M>) -> Result<(), M::Error> {
        let Self { tool_call_id, tool_name, args, deadline } = self;
        fields.plain("toolCallId", tool_call_id)?;
        fields.plain("toolName", tool_name)?;
        fields.message("args", args.as_ref())?;
        fields.message("deadline", deadline.as_ref())
    }
}

impl Message for v1::ApprovalRequiredDetail {
    fn write<M: SerializeMap>(&self, fields: &mut Fields<M>) -> Result<(), M::Error> {
        let Self { approval_id, tool_call_id, tool_name, summary, expires_at } = self;
        fields.plain("approvalId", approval_id)?;
        fields.plain("toolCallId", tool_call_id)?;
        fields.plain("toolName", tool_name)?;
        fields.plain("summary", summary)?;
        fields.message("expiresAt", expires_at.as_ref())
    }
}

impl Message for v1::ClosedDetail {
    fn write<M: SerializeMap>(&self, fields: &mut Fields<M>) -> Result<(), M::Error> {
        let Self { kind, request_id, outcome, answer } = self;
        fields.word("kind", *kind, v1::RequestKind::as_str_name)?;
        fields.plain("requestId", request_id)?;
        fields.word("outcome", *outcome, v1::RequestOutcome::as_str_name)?;
        match answer {
            None => Ok(()),
            Some(Answer::Input(it)) => fields.0.serialize_entry("input", it),
            Some(Answer::ToolResult(it)) => fields.message("toolResult", Some(it)),
            Some(Answer::Approval(it)) => fields.message("approval", Some(it)),
        }
    }
}

impl Message for v1::ToolResult {
    fn write<M: SerializeMap>(&self, fields: &mut Fields<M>) -> Result<(), M::Error> {
        let Self { ok, result, error } = self;
        fields.plain("ok", ok)?;
        fields.message("result", result.as_ref())?;
        fields.plain("error", error)
    }
}

impl Message for v1::ApprovalDecision {
    fn write<M: SerializeMap>(&self, fields: &mut Fields<M>) -> Result<(), M::Error> {
        let Self { decision, reason } = self;
        fields.word("decision", *decision, v1::Decision::as_str_name)?;
        fields.plain("reason", reason)
    }
}

impl Message for v1::QueueDetail {
    fn write<M: SerializeMap>(&self, fields: &mut Fields<M>) -> Result<(), M::Error> {
        let Self { position, ahead, reason } = self;
        fields.plain("position", position)?;
        fields.plain("ahead", ahead)?;
        fields.plain("reason", reason)
    }
}

impl Message for v1::NodeDetail {
    fn write<M: SerializeMap>(&self, fields: &mut Fields<M>) -> Result<(), M::Error> {
        let Self { worker_key, state, progress_percent, error } = self;
        fields.plain("workerKey", worker_key)?;
        fields.plain("state", state)?;
        fields.plain("progressPercent", progress_percent)?;
        fields.plain("error", error)
    }
}

impl Message for v1::ResultDetail {
    fn write<M: SerializeMap>(&self, fields: &mut Fields<M>) -> Result<(), M::Error> {
        let Self { output, usage } = self;
        fields.message("output", output.as_ref())?;
        fields.message("usage", usage.as_ref())
    }
}

impl Message for v1::Usage {
    fn write<M: SerializeMap>(&self, fields: &mut Fields<M>) -> Result<(), M::Error> {
        let Self { input_tokens, output_tokens } = self;
        fields.long("inputTokens", *input_tokens)?;
        fields.long("outputTokens", *output_tokens)
    }
}

impl Message for v1::RunError {
    fn write<M: SerializeMap>(&self, fields: &mut Fields<M>) -> Result<(), M::Error> {
        let Self { code, message, retryable } = self;
        fields.plain("code", code)?;
        fields.plain("message", message)?;
        fields.plain("retryable", retryable)
    }
}

#[cfg(test)]
mod tests;
