//! Connect: binary over HTTP/2, JSON over HTTP/1.1.

use std::{net::SocketAddr, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt as _, stream::BoxStream};
use http::{HeaderMap, Request, StatusCode, request::Builder};
use http_body_util::Full;
use prost::Message as _;
use prost_reflect::{DynamicMessage, MethodDescriptor};
use serde_json::Value;

use super::{
    Failure, SERVICE, Transport,
    framing::{Frame, Frames, frame},
    proto_json,
};
use crate::support::http::{Version, send};

/// The flag of the frame that ends a stream.
const END: u8 = 2;

/// See the module.
#[derive(Clone, Copy)]
pub(super) struct Connect {
    pub(super) address: SocketAddr,
    pub(super) json: bool,
}

#[async_trait]
impl Transport for Connect {
    async fn call(
        &self,
        method: &MethodDescriptor,
        request: DynamicMessage,
        headers: HeaderMap,
    ) -> Result<(DynamicMessage, HeaderMap), Failure> {
        let mut request = if self.json && has_no_side_effects(method) {
            self.get(method, &request)
        } else {
            let builder = post(method).header("content-type", format!("application/{}", self.codec()));
            builder.body(Full::from(self.encode(&request))).unwrap()
        };
        request.headers_mut().extend(headers);
        let response = send(self.address, self.version(), request).await.map_err(Failure::cut)?;
        let response = response.whole().await.map_err(Failure::cut)?;
        if response.status == StatusCode::OK {
            return Ok((self.decode(method, &response.body)?, response.headers));
        }
        let error = serde_json::from_slice(&response.body);
        let error = error.map_err(|_| Failure::nonsense(format!("{response:?}")))?;
        Err(Failure::of_connect(&error))
    }

    fn watch(
        &self,
        method: &MethodDescriptor,
        request: DynamicMessage,
        deadline: Option<Duration>,
    ) -> BoxStream<'static, Result<DynamicMessage, Failure>> {
        let (client, method) = (*self, method.clone());
        async_stream::try_stream! {
            let content_type = format!("application/connect+{}", client.codec());
            let mut builder = post(&method).header("content-type", &content_type);
            if let Some(deadline) = deadline {
                builder = builder.header("connect-timeout-ms", deadline.as_millis().to_string());
            }
            let request = builder.body(Full::from(frame(0, &client.encode(&request)))).unwrap();
            let mut response = send(client.address, client.version(), request).await.map_err(Failure::cut)?;
            let (status, received) = (response.status, response.header("content-type"));
            if status != StatusCode::OK || received != content_type {
                Err(Failure::nonsense(format!("status {status}, content type {received}")))?;
            }
            let mut frames = Frames::default();
            while let Some(piece) = response.piece().await.map_err(Failure::cut)? {
                frames.push(&piece);
                while let Some(Frame { flags, message }) = frames.pop() {
                    match flags {
                        0 => yield client.decode(&method, &message)?,
                        END => return end(&message)?,
                        flags => Err(Failure::nonsense(format!("flags {flags}")))?,
                    }
                }
            }
            Err(Failure::cut("no end of the stream"))?;
        }
        .boxed()
    }
}

impl Connect {
    fn codec(self) -> &'static str {
        if self.json { "json" } else { "proto" }
    }

    fn version(self) -> Version {
        if self.json { Version::Http1 } else { Version::Http2 }
    }

    fn encode(self, message: &DynamicMessage) -> Vec<u8> {
        match self.json {
            true => proto_json::value(message).to_string().into_bytes(),
            false => message.encode_to_vec(),
        }
    }

    fn decode(self, method: &MethodDescriptor, bytes: &[u8]) -> Result<DynamicMessage, Failure> {
        if self.json {
            let mut json = serde_json::Deserializer::from_slice(bytes);
            return DynamicMessage::deserialize(method.output(), &mut json).map_err(Failure::nonsense);
        }
        DynamicMessage::decode(method.output(), bytes).map_err(Failure::nonsense)
    }

    fn get(self, method: &MethodDescriptor, message: &DynamicMessage) -> Request<Full<Bytes>> {
        let message = String::from_utf8(self.encode(message)).unwrap();
        let query = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("connect", "v1")
            .append_pair("encoding", self.codec())
            .append_pair("message", &message)
            .finish();
        Request::get(format!("/{SERVICE}/{}?{query}", method.name())).body(Full::default()).unwrap()
    }
}

fn post(method: &MethodDescriptor) -> Builder {
    Request::post(format!("/{SERVICE}/{}", method.name())).header("connect-protocol-version", "1")
}

fn has_no_side_effects(method: &MethodDescriptor) -> bool {
    let options = method.method_descriptor_proto().options.as_ref();
    options.is_some_and(|it| {
        it.idempotency_level() == prost_types::method_options::IdempotencyLevel::NoSideEffects
    })
}

fn end(message: &[u8]) -> Result<(), Failure> {
    let end: Value = serde_json::from_slice(message).map_err(Failure::nonsense)?;
    match end.get("error") {
        None => Ok(()),
        Some(error) => Err(Failure::of_connect(error)),
    }
}
