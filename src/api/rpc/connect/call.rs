//! One gRPC call to tonic, inside the process.

use std::convert::Infallible;

use axum::body::Body;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use connectrpc::dispatcher::RequestStream;
use connectrpc::{CodecFormat, ConnectError, ErrorCode, RequestContext};
use futures::{Stream, StreamExt};
use http::header::{CONTENT_TYPE, TE};
use http::{HeaderMap, HeaderName, HeaderValue, Method as Verb, Request, Uri, Version};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use prost_reflect::prost::Message as _;
use tonic::Status;
use tower::Service;

use super::super::json_answers::JsonAnswers;
use super::super::mend::MendedTonic;
use super::super::methods::Method;
use super::super::told;
use super::super::trailers::Trailers;
use super::codec::MessageCodec;

/// A gRPC message is preceded by a flag and its length in four bytes, big-endian.
const PREFIX_BYTES: usize = 5;

/// `grpc-timeout` has room for eight digits.
const MAX_TIMEOUT_DIGITS: u64 = 99_999_999;

/// What the client sends, in its codec.
pub(super) enum Requests {
    One(Bytes),
    Many(RequestStream),
}

/// A call that was begun: tonic has answered its head.
pub(super) struct Call<S> {
    /// The metadata that goes before the first message.
    pub(super) headers: HeaderMap,
    /// Between the answers and the client.
    pub(super) codec: MessageCodec,
    /// The answers, then the end or an error. Dropping it drops the handler's stream.
    pub(super) messages: S,
    /// The trailing metadata, as far as the handler has told it.
    pub(super) trailers: Trailers,
}

/// A step of an answer.
pub(super) enum Item {
    /// One message, for [`Call::codec`].
    Message(Bytes),
    /// The call has succeeded, with these trailers.
    End(HeaderMap),
}

/// Cuts a gRPC body into messages.
#[derive(Default)]
struct Deframer {
    unread: Bytes,
}

impl Call<()> {
    /// Calls `method`. The error of a call that failed before its first message carries the metadata of its
    /// status as headers.
    pub(super) async fn start(
        mut tonic: MendedTonic,
        method: &Method,
        context: RequestContext,
        requests: Requests,
        format: CodecFormat,
    ) -> Result<Call<impl Stream<Item = Result<Item, ConnectError>> + Send + use<>>, ConnectError> {
        let body = requests.into_body(MessageCodec::new(method.input.clone(), format))?;
        let mut request = request_of(method, &context, body)?;
        let trailers = Trailers::default();
        request.extensions_mut().insert(trailers.clone());
        if format == CodecFormat::Json {
            request.extensions_mut().insert(JsonAnswers::wanted());
        }
        let answer = tonic.call(request).await.unwrap_or_else(|never: Infallible| match never {});
        let (head, body) = answer.into_parts();
        if head.headers.contains_key("grpc-status") {
            ended(&head.headers).map_err(|error| error.with_headers(metadata(&head.headers)))?;
        }
        // What is JSON already passes as protobuf does.
        let is_json = head.extensions.get::<JsonAnswers>().is_some();
        let format = if is_json { CodecFormat::Proto } else { format };
        let codec = MessageCodec::new(method.output.clone(), format);
        Ok(Call { headers: metadata(&head.headers), codec, messages: messages(body), trailers })
    }
}

impl Requests {
    fn into_body(self, codec: MessageCodec) -> Result<Body, ConnectError> {
        Ok(match self {
            Self::One(message) => Body::from(framed(&codec.read(message)?)),
            Self::Many(messages) => {
                // Fused, because the stream of connectrpc must not be polled after its end.
                let frames = messages.fuse().map(move |message| match message.and_then(|m| codec.read(m)) {
                    Ok(message) => Ok(Frame::data(framed(&message))),
                    // As a status, which tonic hands to the handler with its code.
                    Err(error) => Err(Status::new(
                        tonic::Code::from_i32(error.code.grpc_code() as i32),
                        error.message.unwrap_or_default(),
                    )),
                });
                Body::new(StreamBody::new(frames))
            }
        })
    }
}

impl Deframer {
    fn push(&mut self, chunk: Bytes) {
        if !self.unread.has_remaining() {
            self.unread = chunk;
            return;
        }
        // tonic gives out whole messages, so that this is not for the many small ones.
        let mut joined = BytesMut::with_capacity(self.unread.len() + chunk.len());
        joined.put(self.unread.split_off(0));
        joined.put(chunk);
        self.unread = joined.freeze();
    }

    /// The next message, a slice of what was pushed.
    fn next(&mut self) -> Option<Bytes> {
        let [_flag, length @ ..] = self.unread.first_chunk::<PREFIX_BYTES>()?;
        let end = PREFIX_BYTES.checked_add(u32::from_be_bytes(*length) as usize)?;
        (self.unread.len() >= end).then(|| self.unread.split_to(end).slice(PREFIX_BYTES..))
    }
}

fn request_of(method: &Method, context: &RequestContext, body: Body) -> Result<Request<Body>, ConnectError> {
    let uri = Uri::try_from(format!("/{}", method.path));
    let mut request = Request::new(body);
    *request.uri_mut() = uri.map_err(|_| ConnectError::unimplemented("the method has no path"))?;
    *request.method_mut() = Verb::POST;
    *request.version_mut() = Version::HTTP_2;
    *request.extensions_mut() = context.extensions().clone();
    let mut headers = metadata(context.headers());
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(TE, HeaderValue::from_static("trailers"));
    if let Some(timeout) = timeout(context) {
        headers.insert("grpc-timeout", timeout);
    }
    *request.headers_mut() = headers;
    Ok(request)
}

/// The time the client gives, as gRPC writes it. What cannot be read counts as none, as it does in connectrpc.
fn timeout(context: &RequestContext) -> Option<HeaderValue> {
    let Some(timeout) = context.header("connect-timeout-ms") else {
        return context.header("grpc-timeout").cloned();
    };
    let millis = timeout.to_str().ok()?.parse::<u64>().ok()?;
    HeaderValue::try_from(match millis {
        0..=MAX_TIMEOUT_DIGITS => format!("{millis}m"),
        _ => format!("{}S", (millis / 1000).min(MAX_TIMEOUT_DIGITS)),
    })
    .ok()
}

/// The headers that belong to the application and not to a protocol.
fn metadata(headers: &HeaderMap) -> HeaderMap {
    let metadata = headers.iter().filter(|(name, _)| !is_of_protocol(name));
    metadata.map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn is_of_protocol(name: &HeaderName) -> bool {
    let name = name.as_str();
    name.starts_with("connect-")
        || name.starts_with("grpc-")
        || matches!(
            name,
            "accept-encoding"
                | "connection"
                | "content-encoding"
                | "content-length"
                | "content-type"
                | "date"
                | "host"
                | "te"
                | "trailer"
                | "transfer-encoding"
        )
}

fn framed(message: &Bytes) -> Bytes {
    let mut frame = BytesMut::with_capacity(PREFIX_BYTES + message.len());
    frame.put_u8(0);
    // A message is bounded by the limit of messages, far below what four bytes can tell.
    frame.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    frame.put_slice(message);
    frame.freeze()
}

fn messages(mut body: Body) -> impl Stream<Item = Result<Item, ConnectError>> + Send {
    async_stream::stream! {
        let mut deframer = Deframer::default();
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else { break };
            match frame.into_data() {
                Ok(chunk) => {
                    deframer.push(chunk);
                    while let Some(message) = deframer.next() {
                        yield Ok(Item::Message(message));
                    }
                }
                Err(end) => {
                    let Ok(end) = end.into_trailers() else { continue };
                    let trailers = metadata(&end);
                    yield match ended(&end) {
                        Ok(()) => Ok(Item::End(trailers)),
                        Err(error) => Err(error.with_trailers(trailers)),
                    };
                    return;
                }
            }
        }
        yield Err(ConnectError::internal("the answer broke off"));
    }
}

/// The status that ends a call, as Connect tells it.
fn ended(end: &HeaderMap) -> Result<(), ConnectError> {
    let status = Status::from_header_map(end)
        .ok_or_else(|| ConnectError::internal("the call ended without a status"))?;
    if status.code() == tonic::Code::Ok {
        return Ok(());
    }
    let code = u32::try_from(i32::from(status.code())).ok().and_then(ErrorCode::from_grpc_code);
    let error = ConnectError::new(code.unwrap_or(ErrorCode::Unknown), status.message());
    let details = tonic_types::pb::Status::decode(status.details()).unwrap_or_default().details;
    Err(details.into_iter().fold(error, |error, detail| {
        let type_name = detail.type_url.rsplit('/').next().unwrap_or_default();
        error.with_detail(told::detail(type_name, &detail.value))
    }))
}
