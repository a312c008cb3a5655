//! Messages between the client's codec and protobuf.

use bytes::Bytes;
use connectrpc::{CodecFormat, ConnectError};
use prost_reflect::prost::Message;
use prost_reflect::{DeserializeOptions, DynamicMessage, MessageDescriptor};

/// Translates the messages of one type. Protobuf passes as it is.
#[derive(Clone)]
pub(super) struct MessageCodec {
    message: MessageDescriptor,
    format: CodecFormat,
}

impl MessageCodec {
    pub(super) fn new(message: MessageDescriptor, format: CodecFormat) -> Self {
        Self { message, format }
    }

    /// What a client sent, as protobuf. Fields that are not known are ignored, so that newer clients are served.
    pub(super) fn read(&self, sent: Bytes) -> Result<Bytes, ConnectError> {
        if self.format == CodecFormat::Proto {
            return Ok(sent);
        }
        let options = DeserializeOptions::new().deny_unknown_fields(false);
        let mut json = serde_json::Deserializer::from_slice(&sent);
        DynamicMessage::deserialize_with_options(self.message.clone(), &mut json, &options)
            .and_then(|message| json.end().map(|()| message.encode_to_vec().into()))
            .map_err(|error| self.no_json(&error))
    }

    /// What a handler answered, in the codec of its client.
    pub(super) fn write(&self, answer: Bytes) -> Result<Bytes, ConnectError> {
        if self.format == CodecFormat::Proto {
            return Ok(answer);
        }
        let message =
            DynamicMessage::decode(self.message.clone(), answer).map_err(|error| self.no_answer(&error))?;
        serde_json::to_vec(&message).map(Bytes::from).map_err(|error| self.no_answer(&error))
    }

    fn no_json(&self, error: &serde_json::Error) -> ConnectError {
        ConnectError::invalid_argument(format!(
            "not the JSON form of {}: line {}, column {}",
            self.message.full_name(),
            error.line(),
            error.column()
        ))
    }

    /// A fault of the server: the services and the descriptors do not belong together, or an `Any` holds a type
    /// that the descriptors do not have.
    fn no_answer(&self, error: &dyn std::fmt::Display) -> ConnectError {
        tracing::error!(message = self.message.full_name(), %error, "an answer could not be written as JSON");
        ConnectError::internal("the answer could not be written as JSON")
    }
}
