//! Events on the wire: encoded once per format, the bytes shared by all watchers.

use std::marker::PhantomData;

use bytes::{BufMut as _, Bytes};
use prost::Message;
use tonic::{
    Status,
    codec::{Codec, EncodeBuf, Encoder},
};

use super::{RequestDecoder, event_json, event_message, v1};
use crate::model::{Entry, Event};

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

/// A `WatchRunResponse` that is encoded already.
#[derive(Debug, Clone)]
pub struct EncodedEvent(pub Bytes);

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

/// The event that says that a silent stream is alive. It is in no log.
pub fn heartbeat() -> EncodedEvent {
    let message = v1::WatchRunResponse { event_type: v1::EventType::Heartbeat.into(), ..Default::default() };
    EncodedEvent(message.encode_to_vec().into())
}

/// What ends a message of an event stream.
const SSE_END: &[u8] = b"\n\n";

fn sse_message(event: &Event) -> Bytes {
    let json = event_json(event);
    let cursor = event.cursor().to_string();
    let mut message = Vec::with_capacity(json.len() + cursor.len() + 16);
    message.extend_from_slice(b"id: ");
    message.extend_from_slice(cursor.as_bytes());
    message.extend_from_slice(b"\ndata: ");
    message.extend_from_slice(&json);
    message.extend_from_slice(SSE_END);
    message.into()
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

    fn encode(&mut self, event: EncodedEvent, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(event.0);
        Ok(())
    }
}
