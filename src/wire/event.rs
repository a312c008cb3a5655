//! Events on the wire: encoded once per format, the bytes shared by all watchers.

use std::marker::PhantomData;

use bytes::{BufMut as _, Bytes};
use memchr::memmem;
use prost::Message;
use tonic::{
    Status,
    codec::{BufferSettings, Codec, EncodeBuf, Encoder},
};

use super::{
    RequestDecoder,
    event_json::{append_json, buffer_for},
    event_message, response_json, v1,
};
use crate::model::{Entry, Event, SessionEntry};

/// What a stream without events keeps for the next ones. Most watchers are idle most of the time.
const IDLE_BUFFER_BYTES: usize = 1 << 10;
/// So many bytes of events that are ready go out in one write.
const WRITE_BYTES: usize = 32 << 10;

/// A wire format of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A protobuf `WatchRunResponse`.
    Proto,
    /// The same as one line of proto3 JSON.
    Json,
    /// The JSON as a message of an event stream: `id:` is the cursor, `data:` the JSON.
    Sse,
}

/// A `WatchRunResponse` that is encoded already, as protobuf or as JSON.
#[derive(Debug, Clone)]
pub struct EncodedEvent {
    /// Shared by all watchers.
    message: Bytes,
    /// Fields that are another watcher's otherwise; empty where there are none. Of a field that comes twice the last
    /// counts.
    own: Bytes,
}

/// Sends [`EncodedEvent`]s as they are; decodes requests as prost does.
#[derive(Debug)]
pub struct EventCodec<D>(PhantomData<D>);

/// Copies bytes.
#[derive(Debug)]
pub struct EventEncoder;

/// The entry's event in `format`. Whoever asks first encodes it.
pub fn encoded(entry: &Entry, format: Format) -> Bytes {
    match format {
        Format::Proto => entry.encoded(0, |event| event_message(event).encode_to_vec().into()),
        Format::Sse => entry.encoded(1, sse_message),
        Format::Json => {
            // The JSON is a part of the SSE message, so the two share their bytes.
            let message = encoded(entry, Format::Sse);
            let end = message.len() - SSE_END.len();
            let start = message.iter().position(|byte| *byte == b'{').unwrap_or(end);
            message.slice(start..end)
        }
    }
}

/// The entry's event as a message of the service, in [`Format::Proto`] or [`Format::Json`].
pub fn encoded_event(entry: &Entry, format: Format) -> EncodedEvent {
    EncodedEvent { message: encoded(entry, format), own: Bytes::new() }
}

/// The same with the cursor of the session.
pub fn encoded_session_event(event: &SessionEntry, format: Format) -> EncodedEvent {
    if format == Format::Json {
        let json = encoded(&event.entry, Format::Json);
        let mut message = Vec::with_capacity(json.len() + event.cursor.len());
        append_session_json(&mut message, &json, event);
        return EncodedEvent { message: message.into(), own: Bytes::new() };
    }
    let mut own = Vec::with_capacity(event.cursor.len() + 4);
    prost::encoding::string::encode(CURSOR_FIELD, &event.cursor, &mut own);
    EncodedEvent { message: encoded(&event.entry, format), own: own.into() }
}

/// The event as a message of an event stream, with the cursor of the session.
pub fn session_sse(event: &SessionEntry) -> Bytes {
    let json = encoded(&event.entry, Format::Json);
    let mut message = Vec::with_capacity(json.len() + 2 * event.cursor.len() + 16);
    begin_sse(&mut message, &event.cursor);
    append_session_json(&mut message, &json, event);
    message.extend_from_slice(SSE_END);
    message.into()
}

/// The event that says that a silent stream is alive. It is in no log.
pub fn heartbeat(format: Format) -> EncodedEvent {
    let message = v1::WatchRunResponse { event_type: v1::EventType::Heartbeat.into(), ..Default::default() };
    let message =
        if format == Format::Json { response_json(&message) } else { message.encode_to_vec().into() };
    EncodedEvent { message, own: Bytes::new() }
}

/// What ends a message of an event stream.
const SSE_END: &[u8] = b"\n\n";

/// The number of `WatchRunResponse.cursor`.
const CURSOR_FIELD: u32 = 7;

fn sse_message(event: &Event) -> Bytes {
    let response = event_message(event);
    let mut message = buffer_for(&response);
    begin_sse(&mut message, &response.cursor);
    append_json(&mut message, &response);
    message.extend_from_slice(SSE_END);
    // Kept as long as the event: with little air.
    message.shrink_to(message.len() + message.len() / 8);
    message.into()
}

fn begin_sse(message: &mut Vec<u8>, cursor: &str) {
    message.extend_from_slice(b"id: ");
    message.extend_from_slice(cursor.as_bytes());
    message.extend_from_slice(b"\ndata: ");
}

/// Appends the `json` of the event with the cursor of the session instead of the run's.
fn append_session_json(to: &mut Vec<u8>, json: &[u8], event: &SessionEntry) {
    let SessionEntry { entry, cursor } = event;
    // Inside a text quotation marks are escaped, and whatever a worker may put into an event comes behind its cursor: the
    // first place that looks like the cursor is the cursor.
    let of_run = format!(r#""cursor":"{}""#, entry.event.cursor());
    let start =
        memmem::find(json, of_run.as_bytes()).unwrap_or_else(|| unreachable!("every event has a cursor"));
    to.extend_from_slice(&json[..start]);
    to.extend_from_slice(br#""cursor":""#);
    to.extend_from_slice(cursor.as_bytes());
    to.extend_from_slice(br#"""#);
    to.extend_from_slice(&json[start + of_run.len()..]);
}

impl<D> Default for EventCodec<D> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<D: Message + Default + Send + 'static> Codec for EventCodec<D> {
    type Encode = EncodedEvent;
    type Decode = D;
    type Encoder = EventEncoder;
    type Decoder = RequestDecoder<D>;

    fn encoder(&mut self) -> EventEncoder {
        EventEncoder
    }

    fn decoder(&mut self) -> Self::Decoder {
        RequestDecoder::default()
    }
}

impl Encoder for EventEncoder {
    type Item = EncodedEvent;
    type Error = Status;

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(IDLE_BUFFER_BYTES, WRITE_BYTES)
    }

    fn encode(&mut self, event: EncodedEvent, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(event.message);
        buffer.put(event.own);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jiff::Timestamp;
    use serde_json::{Value, json};
    use uuid::Uuid;

    use super::*;
    use crate::model::{EventKind, RunId};

    #[test]
    fn the_cursor_of_the_session_takes_the_place_of_the_runs() {
        let run_id = RunId::new(Uuid::from_u128(7));
        let cursor = crate::model::Cursor { run_id, sequence: 3 }.to_string();
        // Wherever a worker can write: nothing but the cursor is changed.
        let decoy = format!(r#""cursor":"{cursor}""#);
        let event = Event {
            run_id,
            sequence: 3,
            time: Timestamp::UNIX_EPOCH,
            message: decoy.clone(),
            progress_percent: 0,
            view: Some(crate::model::ClientView::llm_response("p", &decoy)),
            kind: EventKind::Complete { output: json!({"cursor": cursor, "text": decoy}), usage: None },
            memo: None,
        };
        let entry = Arc::new(Entry::new(event));
        let in_session = SessionEntry { entry: entry.clone(), cursor: "of_session".to_owned() };

        let EncodedEvent { message, own } = encoded_session_event(&in_session, Format::Proto);
        let decoded = v1::WatchRunResponse::decode([message, own].concat().as_slice()).unwrap();
        let expected =
            v1::WatchRunResponse { cursor: "of_session".to_owned(), ..event_message(&entry.event) };
        assert_eq!(decoded, expected);

        let message = String::from_utf8(session_sse(&in_session).to_vec()).unwrap();
        let (id, data) = message.strip_suffix("\n\n").unwrap().split_once('\n').unwrap();
        assert_eq!(id, "id: of_session");
        let mut told: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!(told["cursor"], "of_session");
        let EncodedEvent { message, own } = encoded_session_event(&in_session, Format::Json);
        assert!(own.is_empty() && told == serde_json::from_slice::<Value>(&message).unwrap());
        told["cursor"] = json!(cursor);
        assert_eq!(told, serde_json::from_slice::<Value>(&encoded(&entry, Format::Json)).unwrap());
    }
}
