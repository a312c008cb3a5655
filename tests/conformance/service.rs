//! `connectrpc.conformance.v1.ConformanceService` on tonic: it answers as each request tells it to.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt, Stream, StreamExt};
use http::{HeaderMap, HeaderName, HeaderValue};
use prost::Message;
use prost_types::Any;
use rungate::api::rpc::Trailers;
use tonic::codec::CompressionEncoding::Gzip;
use tonic::metadata::MetadataMap;
use tonic::server::{Grpc, NamedService};
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;
use tower::{Service, service_fn};

use crate::messages::{
    Answer, BidiStreamRequest, ConformancePayload, Error, Header, Nothing, OneAnswerRequest, RequestInfo,
    ServerStreamRequest, StreamResponseDefinition, UnaryOutcome, UnaryResponseDefinition,
};

const PACKAGE: &str = "connectrpc.conformance.v1";

/// The service.
#[derive(Clone)]
pub(crate) struct ConformanceService {
    /// Largest request message in bytes.
    pub(crate) message_bytes: usize,
}

type Answers = Pin<Box<dyn Stream<Item = Result<Answer, Status>> + Send>>;

/// What a method knows of its call beside the messages.
struct Seen {
    headers: HeaderMap,
    trailers: Trailers,
}

impl NamedService for ConformanceService {
    const NAME: &'static str = "connectrpc.conformance.v1.ConformanceService";
}

impl Service<http::Request<tonic::body::Body>> for ConformanceService {
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        let message_bytes = self.message_bytes;
        async move {
            let method = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
            Ok(match method.as_str() {
                "Unary" => grpc(message_bytes).unary(service_fn(|r| unary("UnaryRequest", r)), request).await,
                "IdempotentUnary" => {
                    let handler = service_fn(|r| unary("IdempotentUnaryRequest", r));
                    grpc(message_bytes).unary(handler, request).await
                }
                "ClientStream" => {
                    grpc(message_bytes).client_streaming(service_fn(client_stream), request).await
                }
                "ServerStream" => {
                    grpc(message_bytes).server_streaming(service_fn(server_stream), request).await
                }
                "BidiStream" => grpc(message_bytes).streaming(service_fn(bidi_stream), request).await,
                _ => {
                    let handler = service_fn(|_: Request<Nothing>| async {
                        Err::<Response<Nothing>, _>(Status::unimplemented("not implemented"))
                    });
                    grpc(message_bytes).unary(handler, request).await
                }
            })
        }
        .boxed()
    }
}

impl Seen {
    fn of<T>(request: Request<T>) -> (Self, T) {
        let trailers = Trailers::of(&request);
        let (metadata, _, message) = request.into_parts();
        (Self { headers: metadata.into_headers(), trailers }, message)
    }

    fn request_info(&self, requests: Vec<Any>) -> RequestInfo {
        let request_headers = self.headers.keys().map(|name| Header {
            name: name.to_string(),
            value: self.headers.get_all(name).iter().map(text_of).collect(),
        });
        RequestInfo { request_headers: request_headers.collect(), timeout_ms: self.timeout_ms(), requests }
    }

    fn timeout_ms(&self) -> Option<i64> {
        let value = text_of(self.headers.get("grpc-timeout")?);
        let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
        let amount = digits.parse::<i64>().ok()?;
        Some(match unit {
            "H" => amount * 3_600_000,
            "M" => amount * 60_000,
            "S" => amount * 1000,
            "m" => amount,
            "u" => amount / 1000,
            _ => amount / 1_000_000,
        })
    }
}

fn grpc<Req, Ans>(message_bytes: usize) -> Grpc<ProstCodec<Ans, Req>>
where
    Req: Message + Default + 'static,
    Ans: Message + 'static,
{
    Grpc::new(ProstCodec::default())
        .accept_compressed(Gzip)
        .send_compressed(Gzip)
        .apply_max_message_size_config(Some(message_bytes), Some(usize::MAX))
}

async fn unary(
    request_type: &'static str,
    request: Request<OneAnswerRequest>,
) -> Result<Response<Answer>, Status> {
    let (seen, request) = Seen::of(request);
    let requests = vec![any(request_type, &request)];
    one_answer(&seen, request.response_definition, requests).await
}

async fn client_stream(request: Request<Streaming<OneAnswerRequest>>) -> Result<Response<Answer>, Status> {
    let (seen, mut messages) = Seen::of(request);
    let (mut definition, mut requests) = (None, Vec::new());
    while let Some(message) = messages.message().await? {
        requests.push(any("ClientStreamRequest", &message));
        if requests.len() == 1 {
            definition = message.response_definition;
        }
    }
    one_answer(&seen, definition, requests).await
}

async fn server_stream(request: Request<ServerStreamRequest>) -> Result<Response<Answers>, Status> {
    let (seen, request) = Seen::of(request);
    let requests = vec![any("ServerStreamRequest", &request)];
    many_answers(seen, request.response_definition.unwrap_or_default(), requests).await
}

async fn bidi_stream(request: Request<Streaming<BidiStreamRequest>>) -> Result<Response<Answers>, Status> {
    let (seen, mut messages) = Seen::of(request);
    let Some(mut first) = messages.message().await? else {
        return Ok(Response::new(futures::stream::empty().boxed()));
    };
    let mut requests = vec![any("BidiStreamRequest", &first)];
    let definition = first.response_definition.take().unwrap_or_default();
    if first.full_duplex {
        return Ok(full_duplex(seen, definition, requests, messages));
    }
    while let Some(message) = messages.message().await? {
        requests.push(any("BidiStreamRequest", &message));
    }
    many_answers(seen, definition, requests).await
}

async fn one_answer(
    seen: &Seen,
    definition: Option<UnaryResponseDefinition>,
    requests: Vec<Any>,
) -> Result<Response<Answer>, Status> {
    let definition = definition.unwrap_or_default();
    seen.trailers.append(metadata_of(&definition.response_trailers));
    let headers = metadata_of(&definition.response_headers);
    let request_info = seen.request_info(requests);
    delay(definition.response_delay_ms).await;
    match definition.response {
        Some(UnaryOutcome::Error(error)) => Err(status_of(error, Some(request_info), headers)),
        Some(UnaryOutcome::ResponseData(data)) => Ok(response(headers, answer(data, Some(request_info)))),
        None => Ok(response(headers, answer(Vec::new(), Some(request_info)))),
    }
}

async fn many_answers(
    seen: Seen,
    definition: StreamResponseDefinition,
    requests: Vec<Any>,
) -> Result<Response<Answers>, Status> {
    seen.trailers.append(metadata_of(&definition.response_trailers));
    let headers = metadata_of(&definition.response_headers);
    let mut request_info = Some(seen.request_info(requests));
    if definition.response_data.is_empty()
        && let Some(error) = definition.error
    {
        delay(definition.response_delay_ms).await;
        return Err(status_of(error, request_info, headers));
    }
    let answers = async_stream::stream! {
        for data in definition.response_data {
            delay(definition.response_delay_ms).await;
            yield Ok(answer(data, request_info.take()));
        }
        if let Some(error) = definition.error {
            yield Err(status_of(error, None, HeaderMap::new()));
        }
    };
    Ok(response(headers, answers.boxed()))
}

/// Answers each request with the next answer as soon as the request is there; an error without answers before the
/// client has finished.
fn full_duplex(
    seen: Seen,
    definition: StreamResponseDefinition,
    mut unanswered: Vec<Any>,
    mut messages: Streaming<BidiStreamRequest>,
) -> Response<Answers> {
    seen.trailers.append(metadata_of(&definition.response_trailers));
    let headers = metadata_of(&definition.response_headers);
    let answers = async_stream::try_stream! {
        let mut answered = false;
        for data in definition.response_data {
            delay(definition.response_delay_ms).await;
            let requests = std::mem::take(&mut unanswered);
            let request_info = match answered {
                false => seen.request_info(requests),
                true => RequestInfo { requests, ..RequestInfo::default() },
            };
            answered = true;
            yield answer(data, Some(request_info));
            if let Some(message) = messages.message().await? {
                unanswered.push(any("BidiStreamRequest", &message));
            }
        }
        if let Some(error) = definition.error {
            let request_info = (!answered).then(|| seen.request_info(unanswered));
            Err(status_of(error, request_info, HeaderMap::new()))?;
        }
        while messages.message().await?.is_some() {}
    };
    response(headers, answers.boxed())
}

fn answer(data: Vec<u8>, request_info: Option<RequestInfo>) -> Answer {
    Answer { payload: Some(ConformancePayload { data, request_info }) }
}

fn response<T>(headers: HeaderMap, message: T) -> Response<T> {
    Response::from_parts(MetadataMap::from_headers(headers), message, http::Extensions::new())
}

fn status_of(error: Error, request_info: Option<RequestInfo>, headers: HeaderMap) -> Status {
    let message = error.message.unwrap_or_default();
    let mut details = error.details;
    details.extend(request_info.map(|info| any("ConformancePayload.RequestInfo", &info)));
    let encoded = match details.is_empty() {
        true => Vec::new(),
        false => {
            tonic_types::pb::Status { code: error.code, message: message.clone(), details }.encode_to_vec()
        }
    };
    let metadata = MetadataMap::from_headers(headers);
    Status::with_details_and_metadata(Code::from_i32(error.code), message, encoded.into(), metadata)
}

fn any(message_type: &str, message: &impl Message) -> Any {
    let type_url = format!("type.googleapis.com/{PACKAGE}.{message_type}");
    Any { type_url, value: message.encode_to_vec() }
}

fn metadata_of(headers: &[Header]) -> HeaderMap {
    let pairs = headers.iter().flat_map(|header| header.value.iter().map(|value| (&header.name, value)));
    let mut metadata = HeaderMap::new();
    for (name, value) in pairs {
        let name = HeaderName::try_from(name.to_lowercase()).expect("the suite tells valid header names");
        let value = HeaderValue::try_from(value).expect("the suite tells valid header values");
        metadata.append(name, value);
    }
    metadata
}

fn text_of(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

async fn delay(milliseconds: u32) {
    if milliseconds > 0 {
        tokio::time::sleep(Duration::from_millis(milliseconds.into())).await;
    }
}
