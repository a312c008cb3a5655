//! Events on the wire: encoded once per format, the bytes shared by all watchers.

use bytes::Bytes;
use memchr::memmem;
use prost::Message as _;

use super::{
    event_json::{append_json, buffer_for},
    event_message, response_json, v1,
};
use crate::model::{Entry, Event, SessionEntry};

/// What an event looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A `WatchRunResponse` as one line of proto3 JSON.
    Json,
    /// The JSON as a message of an event stream: `id:` is the cursor, `data:` the JSON.
    Sse,
}

/// What a framed message carries: a `WatchRunResponse`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageFormat {
    /// As protobuf.
    Proto,
    /// As proto3 JSON.
    Json,
}

/// The entry's event in `format`. Whoever asks first encodes it.
pub fn encoded(entry: &Entry, format: Format) -> Bytes {
    let message = entry.encoded(SSE_SLOT, sse_message);
    match format {
        Format::Sse => message,
        Format::Json => {
            // The JSON is a part of the SSE message, so the two share their bytes.
            let end = message.len() - SSE_END.len();
            let start = message.iter().position(|byte| *byte == b'{').unwrap_or(end);
            message.slice(start..end)
        }
    }
}

/// The entry's event as a framed message. As protobuf it is shared by all watchers.
pub fn framed(entry: &Entry, format: MessageFormat) -> Bytes {
    match format {
        MessageFormat::Proto => entry.encoded(PROTO_SLOT, |event| {
            let message = event_message(event);
            let mut frame = begin_frame(message.encoded_len());
            message.encode_raw(&mut frame);
            frame.into()
        }),
        MessageFormat::Json => frame_of(&[&encoded(entry, Format::Json)]),
    }
}

/// The same with the cursor of the session.
pub fn framed_session_event(event: &SessionEntry, format: MessageFormat) -> Bytes {
    match format {
        MessageFormat::Proto => {
            // Of a field that comes twice the last counts.
            let mut cursor = Vec::with_capacity(event.cursor.len() + 4);
            prost::encoding::string::encode(CURSOR_FIELD, &event.cursor, &mut cursor);
            frame_of(&[&framed(&event.entry, format)[FRAME_HEAD..], &cursor])
        }
        MessageFormat::Json => {
            let json = encoded(&event.entry, Format::Json);
            let mut message = Vec::with_capacity(json.len() + event.cursor.len());
            append_session_json(&mut message, &json, event);
            frame_of(&[&message])
        }
    }
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

/// The message that says that a silent stream is alive. It is in no log.
pub fn framed_heartbeat(format: MessageFormat) -> Bytes {
    let message = v1::WatchRunResponse { event_type: v1::EventType::Heartbeat.into(), ..Default::default() };
    match format {
        MessageFormat::Proto => frame_of(&[&message.encode_to_vec()]),
        MessageFormat::Json => frame_of(&[&response_json(&message)]),
    }
}

/// The slots of an entry's encoded forms; another is that of WebSockets.
const PROTO_SLOT: usize = 0;
const SSE_SLOT: usize = 1;

/// Bytes in front of a framed message: no compression, then its length
/// (gRPC over HTTP/2, "Length-Prefixed-Message").
const FRAME_HEAD: usize = 5;

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

/// The head of a framed message of `length` bytes, with room for it.
fn begin_frame(length: usize) -> Vec<u8> {
    let mut frame = Vec::with_capacity(FRAME_HEAD + length);
    frame.push(0);
    // An event is bounded far below what four bytes can tell.
    frame.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    frame
}

fn frame_of(parts: &[&[u8]]) -> Bytes {
    let mut frame = begin_frame(parts.iter().map(|it| it.len()).sum());
    parts.iter().for_each(|it| frame.extend_from_slice(it));
    frame.into()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jiff::Timestamp;
    use serde_json::{Value, json};
    use uuid::Uuid;

    use super::*;
    use crate::model::{EventKind, RunId};

    /// What a frame of one message holds.
    fn message_of(frame: &[u8]) -> &[u8] {
        let (head, message) = frame.split_at(FRAME_HEAD);
        assert_eq!(head[0], 0);
        assert_eq!(head[1..], u32::try_from(message.len()).unwrap().to_be_bytes());
        message
    }

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

        let message = framed_session_event(&in_session, MessageFormat::Proto);
        let decoded = v1::WatchRunResponse::decode(message_of(&message)).unwrap();
        let expected =
            v1::WatchRunResponse { cursor: "of_session".to_owned(), ..event_message(&entry.event) };
        assert_eq!(decoded, expected);

        let message = String::from_utf8(session_sse(&in_session).to_vec()).unwrap();
        let (id, data) = message.strip_suffix("\n\n").unwrap().split_once('\n').unwrap();
        assert_eq!(id, "id: of_session");
        let mut told: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!(told["cursor"], "of_session");
        let message = framed_session_event(&in_session, MessageFormat::Json);
        assert_eq!(told, serde_json::from_slice::<Value>(message_of(&message)).unwrap());
        told["cursor"] = json!(cursor);
        assert_eq!(told, serde_json::from_slice::<Value>(&encoded(&entry, Format::Json)).unwrap());
    }
}
