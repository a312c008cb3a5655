//! What is seldom written as proto3 JSON: by way of the descriptors, with empty fields.

use bytes::Bytes;
use prost::Message;
use prost_reflect::{DynamicMessage, SerializeOptions};

use super::{descriptor_pool, v1};

/// A run as one line of proto3 JSON, with its empty fields.
pub fn run_json(run: &v1::Run) -> Bytes {
    full_json("Run", run)
}

/// A worker as one line of proto3 JSON, with its empty fields.
pub fn worker_json(worker: &v1::Worker) -> Bytes {
    full_json("Worker", worker)
}

/// A message of package `rungate.v1`.
fn full_json(name: &str, message: &impl Message) -> Bytes {
    let options = SerializeOptions::new().skip_default_fields(false);
    let Some(descriptor) = descriptor_pool().get_message_by_name(&format!("rungate.v1.{name}")) else {
        unreachable!("proto/ declares {name}")
    };
    let dynamic = DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice());
    let json = dynamic.map(|it| it.serialize_with_options(serde_json::value::Serializer, &options));
    let Ok(Ok(json)) = json else { unreachable!("a message of ours is a {name}") };
    json.to_string().into()
}
