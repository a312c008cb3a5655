//! Between messages and proto3 JSON.

use prost_reflect::{DynamicMessage, MessageDescriptor, SerializeOptions};
use serde_json::{Value, json};

/// The message that the JSON says. A field that the message does not have is an error of the test.
pub(super) fn message(descriptor: MessageDescriptor, json: Value) -> DynamicMessage {
    DynamicMessage::deserialize(descriptor, json).unwrap()
}

/// The JSON of a message, without fields that have their default.
pub(super) fn value(message: &DynamicMessage) -> Value {
    let options = SerializeOptions::new().skip_default_fields(true);
    message.serialize_with_options(serde_json::value::Serializer, &options).unwrap()
}

/// The JSON of an event. The three fields that are always there on SSE are always there.
pub(super) fn event(message: &DynamicMessage) -> Value {
    let mut event = value(message);
    for (field, default) in [("message", json!("")), ("progressPercent", json!(0))] {
        let fields = event.as_object_mut().unwrap();
        fields.entry(field).or_insert(default);
    }
    event
}

/// A generated message as one that knows its own description.
pub(super) fn reflected(descriptor: MessageDescriptor, message: &impl prost::Message) -> DynamicMessage {
    DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice()).unwrap()
}
