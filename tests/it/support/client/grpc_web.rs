//! gRPC-Web, binary and text, as a browser sends it.

use std::{net::SocketAddr, time::Duration};

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures::{StreamExt as _, stream::BoxStream};
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};
use http_body_util::Full;
use prost::Message as _;
use prost_reflect::{DynamicMessage, MethodDescriptor};

use super::{
    Failure, SERVICE, Transport,
    framing::{Frames, frame},
};
use crate::support::http::{Version, send};

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
    ) -> Result<DynamicMessage, Failure> {
        let mut messages = self.watch(method, request, None);
        let response = messages.next().await.ok_or_else(|| Failure::nonsense("no message"))??;
        match messages.next().await {
            None => Ok(response),
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
            let request = client.request(&method, &request, deadline);
            let mut response = send(client.address, Version::Http1, request).await.map_err(Failure::cut)?;
            if response.status != StatusCode::OK {
                Err(Failure::nonsense(format!("status {}", response.status)))?;
            }
            if response.headers.contains_key("grpc-status") {
                // Nothing but an error: its trailers are headers.
                Failure::in_headers(&response.headers)?;
            }
            let content_type = response.header("content-type");
            if !content_type.starts_with(client.content_type()) {
                Err(Failure::nonsense(format!("content type {content_type}")))?;
            }
            let (mut text, mut frames) = (Vec::new(), Frames::default());
            while let Some(piece) = response.piece().await.map_err(Failure::cut)? {
                match client.text {
                    true => frames.push(&decode_text(&mut text, &piece)?),
                    false => frames.push(&piece),
                }
                while let Some(frame) = frames.pop() {
                    match frame.flags {
                        0 => {
                            let message = DynamicMessage::decode(method.output(), frame.message);
                            yield message.map_err(Failure::nonsense)?;
                        }
                        TRAILERS => return Failure::in_headers(&trailers(&frame.message)?)?,
                        flags => Err(Failure::nonsense(format!("flags {flags}")))?,
                    }
                }
            }
            Err(Failure::cut("no trailers"))?;
        }
        .boxed()
    }
}

impl GrpcWeb {
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
