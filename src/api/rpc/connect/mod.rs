//! Connect, and JSON on every protocol.
//!
//! The `connectrpc` crate speaks the protocols: verbs, envelopes, compression, GET, limits, deadlines, end-of-stream
//! metadata. What it has decoded arrives here as message bytes, goes as a gRPC call to tonic in the same process
//! ([`call`]), and comes back as message bytes; JSON is translated by the descriptors ([`codec`]), but for answers that
//! are JSON already ([`super::JsonAnswers`]).

mod call;
mod codec;

use bytes::Bytes;
use connectrpc::dispatcher::{Dispatcher, MethodDescriptor, RequestStream, StreamingResult, UnaryResult};
use connectrpc::payload::Payload;
use connectrpc::{CodecFormat, ConnectError, ConnectRpcService, Limits, RequestContext, Response};
use futures::{StreamExt, TryFutureExt, TryStreamExt};
use http::HeaderMap;

use self::call::{Call, Item, Requests};
use super::mend::MendedTonic;
use super::methods::Methods;
use super::told::Teller;

/// What an envelope or a compressed form may add to the bytes of the one message of a request.
const ENVELOPE_BYTES: usize = 1024;

/// Carries decoded calls to tonic.
pub(super) struct TonicBridge {
    tonic: MendedTonic,
    methods: Methods,
    teller: Teller,
}

/// Serves `methods` over Connect and JSON from `tonic`. Larger messages than `message_bytes` (decompressed, in
/// their codec) are RESOURCE_EXHAUSTED.
pub(super) fn service(
    tonic: MendedTonic,
    methods: Methods,
    message_bytes: usize,
    teller: Teller,
) -> ConnectRpcService<TonicBridge> {
    // Twice what is taken: the layer over tonic refuses what is too large with a reason; this bounds what is held.
    let held = message_bytes.saturating_mul(2);
    let limits = Limits::default()
        .with_max_message_size(held)
        .with_max_request_body_size(held.saturating_add(ENVELOPE_BYTES));
    ConnectRpcService::new(TonicBridge { tonic, methods, teller }).with_limits(limits)
}

impl Dispatcher for TonicBridge {
    fn lookup(&self, path: &str) -> Option<MethodDescriptor> {
        let method = self.methods.get(path)?;
        Some(match (method.client_streams, method.server_streams) {
            (false, false) => MethodDescriptor::unary(method.no_side_effects),
            (false, true) => MethodDescriptor::server_streaming(),
            (true, false) => MethodDescriptor::client_streaming(),
            (true, true) => MethodDescriptor::bidi_streaming(),
        })
    }

    fn call_unary(
        &self,
        path: &str,
        context: RequestContext,
        request: Payload,
        format: CodecFormat,
    ) -> UnaryResult {
        self.one_answer(path, context, request.encoded().map(Requests::One), format)
    }

    fn call_server_streaming(
        &self,
        path: &str,
        context: RequestContext,
        request: Bytes,
        format: CodecFormat,
    ) -> StreamingResult {
        self.many_answers(path, context, Requests::One(request), format)
    }

    fn call_client_streaming(
        &self,
        path: &str,
        context: RequestContext,
        requests: RequestStream,
        format: CodecFormat,
    ) -> UnaryResult {
        self.one_answer(path, context, Ok(Requests::Many(requests)), format)
    }

    fn call_bidi_streaming(
        &self,
        path: &str,
        context: RequestContext,
        requests: RequestStream,
        format: CodecFormat,
    ) -> StreamingResult {
        self.many_answers(path, context, Requests::Many(requests), format)
    }
}

impl TonicBridge {
    fn one_answer(
        &self,
        path: &str,
        context: RequestContext,
        requests: Result<Requests, ConnectError>,
        format: CodecFormat,
    ) -> UnaryResult {
        let (tonic, method, teller) = (self.tonic.clone(), self.methods.get(path).cloned(), self.teller);
        let answer = async move {
            let method = method.ok_or_else(unknown_method)?;
            let call = Call::start(tonic, &method, context, requests?, format).await?;
            let mut messages = std::pin::pin!(call.messages);
            let (mut answer, mut trailers) = (None, HeaderMap::new());
            while let Some(item) = messages.next().await {
                match item.map_err(|error| error.with_headers(call.headers.clone()))? {
                    Item::Message(message) => answer = Some(message),
                    Item::End(end) => trailers = end,
                }
            }
            let answer = answer.ok_or_else(|| ConnectError::internal("the call ended without an answer"))?;
            let mut response = Response::new(call.codec.write(answer)?.into());
            response.headers = call.headers;
            response.trailers = trailers;
            Ok(response)
        };
        Box::pin(answer.map_err(move |error| teller.complete(error)))
    }

    fn many_answers(
        &self,
        path: &str,
        context: RequestContext,
        requests: Requests,
        format: CodecFormat,
    ) -> StreamingResult {
        let (tonic, method, teller) = (self.tonic.clone(), self.methods.get(path).cloned(), self.teller);
        let answers = async move {
            let method = method.ok_or_else(unknown_method)?;
            let call = Call::start(tonic, &method, context, requests, format).await?;
            // connectrpc takes the trailers of a stream with its head: those that come at the end are too late.
            let trailers = call.trailers.current();
            let messages = call.messages.try_filter_map(move |item| {
                std::future::ready(match item {
                    Item::Message(message) => call.codec.write(message).map(|answer| Some(answer.into())),
                    Item::End(_) => Ok(None),
                })
            });
            let mut response = Response::stream(messages);
            response.headers = call.headers;
            response.trailers = trailers;
            Ok(response)
        };
        Box::pin(answers.map_err(move |error| teller.complete(error)))
    }
}

/// connectrpc asks [`Dispatcher::lookup`] first, so that no client sees this.
fn unknown_method() -> ConnectError {
    ConnectError::unimplemented("the method does not exist")
}
