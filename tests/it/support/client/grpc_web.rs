//! gRPC-Web, binary and text, as a browser sends it.

use std::{net::SocketAddr, time::Duration};

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures::{StreamExt as _, stream::BoxStream};
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};
use http_body_util::Full;
use prost::Message as _;
use prost_reflect::{DynamicMessage, MessageDescriptor, MethodDescriptor};

use super::{
    Failure, SERVICE, Transport,
    framing::{Frames, frame},
};
use crate::support::http::{Response, Version, send};

/// The flag of the frame that has the trailers in it.
const TRAILERS: u8 = 0x80;

/// See the module.
#[derive(Clone, Copy)]
pub(super) struct GrpcWeb {
    pub(super) address: SocketAddr,
    pub(super) text: bool,
}

#[async_trait]
impl Transport for GrpcWeb {
    async fn call(
        &self,
        method: &MethodDescriptor,
        request: DynamicMessage,
        headers: HeaderMap,
    ) -> Result<(DynamicMessage, HeaderMap), Failure> {
        let mut request = self.request(method, &request, None);
        request.headers_mut().extend(headers);
        let response = self.open(request).await?;
        let headers = response.headers.clone();
        let mut messages = self.messages(response, method.output());
        let response = messages.next().await.ok_or_else(|| Failure::nonsense("no message"))??;
        match messages.next().await {
            None => Ok((response, headers)),
            Some(Ok(_)) => Err(Failure::nonsense("two messages")),
            Some(Err(failure)) => Err(failure),
        }
    }

    fn watch(
        &self,
        method: &MethodDescriptor,
        request: DynamicMessage,
        deadline: Option<Duration>,
    ) -> BoxStream<'static, Result<DynamicMessage, Failure>> {
        let (client, method) = (*self, method.clone());
        async_stream::try_stream! {
            let response = client.open(client.request(&method, &request, deadline)).await?;
            let mut messages = client.messages(response, method.output());
            while let Some(message) = messages.next().await {
                yield message?;
            }
        }
        .boxed()
    }
}

impl GrpcWeb {
    async fn open(self, request: Request<Full<Bytes>>) -> Result<Response, Failure> {
        let response = send(self.address, Version::Http1, request).await.map_err(Failure::cut)?;
        if response.status != StatusCode::OK {
            return Err(Failure::nonsense(format!("status {}", response.status)));
        }
        if response.headers.contains_key("grpc-status") {
            // Nothing but an error: its trailers are headers.
            Failure::in_headers(&response.headers)?;
        }
        match response.header("content-type") {
            content_type if content_type.starts_with(self.content_type()) => Ok(response),
            content_type => Err(Failure::nonsense(format!("content type {content_type}"))),
        }
    }

    fn messages(
        self,
        mut response: Response,
        output: MessageDescriptor,
    ) -> BoxStream<'static, Result<DynamicMessage, Failure>> {
        async_stream::try_stream! {
            let (mut text, mut frames) = (Vec::new(), Frames::default());
            while let Some(piece) = response.piece().await.map_err(Failure::cut)? {
                match self.text {
                    true => frames.push(&decode_text(&mut text, &piece)?),
                    false => frames.push(&piece),
                }
                while let Some(frame) = frames.pop() {
                    match frame.flags {
                        0 => yield DynamicMessage::decode(output.clone(), frame.message).map_err(Failure::nonsense)?,
                        TRAILERS => return Failure::in_headers(&trailers(&frame.message)?)?,
                        flags => Err(Failure::nonsense(format!("flags {flags}")))?,
                    }
                }
            }
            Err(Failure::cut("no trailers"))?;
        }
        .boxed()
    }

    fn content_type(self) -> &'static str {
        if self.text { "application/grpc-web-text+proto" } else { "application/grpc-web+proto" }
    }

    fn request(
        self,
        method: &MethodDescriptor,
        request: &DynamicMessage,
        deadline: Option<Duration>,
    ) -> Request<Full<Bytes>> {
        let body = frame(0, &request.encode_to_vec());
        let body = if self.text { STANDARD.encode(body).into() } else { body };
        let mut builder = Request::post(format!("/{SERVICE}/{}", method.name()));
        builder = builder.header("content-type", self.content_type()).header("x-grpc-web", "1");
        builder = builder.header("accept", self.content_type());
        if let Some(deadline) = deadline {
            builder = builder.header("grpc-timeout", format!("{}m", deadline.as_millis()));
        }
        builder.body(body.into()).unwrap()
    }
}

/// Decodes as much as there are whole groups of four characters; any of them may be padded.
fn decode_text(rest: &mut Vec<u8>, piece: &[u8]) -> Result<Vec<u8>, Failure> {
    rest.extend_from_slice(piece);
    let left = rest.split_off(rest.len() / 4 * 4);
    let groups = std::mem::replace(rest, left);
    let mut bytes = Vec::new();
    for group in groups.chunks(4) {
        bytes.extend(STANDARD.decode(group).map_err(Failure::nonsense)?);
    }
    Ok(bytes)
}

fn trailers(frame: &[u8]) -> Result<HeaderMap, Failure> {
    let text = std::str::from_utf8(frame).map_err(Failure::nonsense)?;
    let mut headers = HeaderMap::new();
    for line in text.split("\r\n").filter(|it| !it.is_empty()) {
        let (name, value) = line.split_once(':').ok_or_else(|| Failure::nonsense(line))?;
        let name: HeaderName = name.parse().map_err(Failure::nonsense)?;
        let value: HeaderValue = value.trim().parse().map_err(Failure::nonsense)?;
        headers.append(name, value);
    }
    Ok(headers)
}
