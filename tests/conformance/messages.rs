//! The messages of the conformance suite that its service needs, as `connectrpc.conformance.v1` declares them.
//! Fields that the service has no use for are left out.

use prost_types::Any;

/// A name with its values, wherever metadata is told.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Header {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(string, repeated, tag = "2")]
    pub(crate) value: Vec<String>,
}

/// The error to answer with; its codes are those of gRPC.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Error {
    #[prost(int32, tag = "1")]
    pub(crate) code: i32,
    #[prost(string, optional, tag = "2")]
    pub(crate) message: Option<String>,
    #[prost(message, repeated, tag = "3")]
    pub(crate) details: Vec<Any>,
}

/// How to answer with one message.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct UnaryResponseDefinition {
    #[prost(message, repeated, tag = "1")]
    pub(crate) response_headers: Vec<Header>,
    #[prost(oneof = "UnaryOutcome", tags = "2, 3")]
    pub(crate) response: Option<UnaryOutcome>,
    #[prost(message, repeated, tag = "4")]
    pub(crate) response_trailers: Vec<Header>,
    #[prost(uint32, tag = "6")]
    pub(crate) response_delay_ms: u32,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum UnaryOutcome {
    #[prost(bytes, tag = "2")]
    ResponseData(Vec<u8>),
    #[prost(message, tag = "3")]
    Error(Error),
}

/// How to answer with a stream.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct StreamResponseDefinition {
    #[prost(message, repeated, tag = "1")]
    pub(crate) response_headers: Vec<Header>,
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub(crate) response_data: Vec<Vec<u8>>,
    #[prost(uint32, tag = "3")]
    pub(crate) response_delay_ms: u32,
    #[prost(message, optional, tag = "4")]
    pub(crate) error: Option<Error>,
    #[prost(message, repeated, tag = "5")]
    pub(crate) response_trailers: Vec<Header>,
}

/// `UnaryRequest`, `IdempotentUnaryRequest` and `ClientStreamRequest`, which have the same fields.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct OneAnswerRequest {
    #[prost(message, optional, tag = "1")]
    pub(crate) response_definition: Option<UnaryResponseDefinition>,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) request_data: Vec<u8>,
}

/// `ServerStreamRequest`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ServerStreamRequest {
    #[prost(message, optional, tag = "1")]
    pub(crate) response_definition: Option<StreamResponseDefinition>,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) request_data: Vec<u8>,
}

/// `BidiStreamRequest`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct BidiStreamRequest {
    #[prost(message, optional, tag = "1")]
    pub(crate) response_definition: Option<StreamResponseDefinition>,
    #[prost(bool, tag = "2")]
    pub(crate) full_duplex: bool,
    #[prost(bytes = "vec", tag = "3")]
    pub(crate) request_data: Vec<u8>,
}

/// The answer of every method.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Answer {
    #[prost(message, optional, tag = "1")]
    pub(crate) payload: Option<ConformancePayload>,
}

/// Request and answer of the method that is not implemented.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Nothing {}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ConformancePayload {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) data: Vec<u8>,
    #[prost(message, optional, tag = "2")]
    pub(crate) request_info: Option<RequestInfo>,
}

/// What the service saw of a request.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct RequestInfo {
    #[prost(message, repeated, tag = "1")]
    pub(crate) request_headers: Vec<Header>,
    #[prost(int64, optional, tag = "2")]
    pub(crate) timeout_ms: Option<i64>,
    #[prost(message, repeated, tag = "3")]
    pub(crate) requests: Vec<Any>,
}

/// What the suite tells a server under test when it starts it.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ServerCompatRequest {
    #[prost(uint32, tag = "6")]
    pub(crate) message_receive_limit: u32,
}

/// What a server under test answers.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ServerCompatResponse {
    #[prost(string, tag = "1")]
    pub(crate) host: String,
    #[prost(uint32, tag = "2")]
    pub(crate) port: u32,
}
