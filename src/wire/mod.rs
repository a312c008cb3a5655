//! The generated protobuf types, and their conversion to and from the words of `model`.

mod codec;
mod event;
mod event_json;
mod from_proto;
mod json;
mod to_proto;
mod websocket;

use std::sync::LazyLock;

use prost_reflect::DescriptorPool;

pub use codec::{ERROR_DOMAIN, MessageCodec, RequestDecoder};
pub use event::{
    Format, MessageFormat, encoded, framed, framed_heartbeat, framed_session_event, session_sse,
};
pub use event_json::{event_json, response_json};
pub use from_proto::json_value;
pub use json::{run_json, worker_json};
pub use to_proto::{client_view, event_message, run_message, session_message, timestamp, value};
pub use websocket::{RunFacts, websocket_event, websocket_event_of_request};

/// Messages, the client and the server of package `rungate.v1`.
#[allow(missing_docs, unreachable_pub, clippy::pedantic, clippy::unwrap_used, reason = "generated")]
pub mod v1 {
    tonic::include_proto!("rungate.v1");

    /// The server side.
    pub mod server {
        include!(concat!(env!("OUT_DIR"), "/rungate.v1.PipelineService.rs"));
    }
}

/// The descriptors of `proto/` as protobuf: what the reflection service serves.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// The descriptors of `proto/`, decoded.
pub fn descriptor_pool() -> &'static DescriptorPool {
    static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
        DescriptorPool::decode(DESCRIPTORS)
            .unwrap_or_else(|error| panic!("the build wrote bad descriptors: {error}"))
    });
    &POOL
}
