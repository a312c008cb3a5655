//! Server-sent events, as a browser's EventSource reads them.

use std::{net::SocketAddr, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt as _, stream::BoxStream};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::Full;
use prost_reflect::{DynamicMessage, MethodDescriptor};
use serde_json::Value;

use super::{Failure, Transport, proto_json};
use crate::support::http::{Response, Version, send};

/// See the module.
pub(super) struct Sse {
    pub(super) address: SocketAddr,
}

/// One block of an event stream.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) event: Option<String>,
    pub(crate) id: Option<String>,
    pub(crate) data: Option<String>,
    pub(crate) retry: Option<String>,
    pub(crate) comments: usize,
}

#[async_trait]
impl Transport for Sse {
    async fn call(
        &self,
        method: &MethodDescriptor,
        _: DynamicMessage,
        _: HeaderMap,
    ) -> Result<(DynamicMessage, HeaderMap), Failure> {
        panic!("{} cannot be called over SSE", method.name())
    }

    fn watch(
        &self,
        method: &MethodDescriptor,
        request: DynamicMessage,
        deadline: Option<Duration>,
    ) -> BoxStream<'static, Result<DynamicMessage, Failure>> {
        assert_eq!(deadline, None, "SSE has no deadline");
        let (address, output, request) = (self.address, method.output(), proto_json::value(&request));
        async_stream::try_stream! {
            let mut response = open(address, &request).await?;
            if response.status == StatusCode::NO_CONTENT {
                return;
            }
            let mut blocks = event_stream(&mut response);
            while let Some(block) = blocks.next().await {
                let block = block?;
                match (block.event.as_deref(), &block.data) {
                    (Some("close"), Some(data)) if data == "{}" => return,
                    (None, Some(data)) => {
                        let json: Value = serde_json::from_str(data).map_err(Failure::nonsense)?;
                        if json["cursor"].as_str() != block.id.as_deref() {
                            Err(Failure::nonsense(format!("the id is not the cursor: {block:?}")))?;
                        }
                        yield proto_json::message(output.clone(), json);
                    }
                    (None, None) => {}
                    _ => Err(Failure::nonsense(format!("{block:?}")))?,
                }
            }
            Err(Failure::cut("the response ended without close"))?;
        }
        .boxed()
    }
}

/// The blocks of a response as they come.
pub(crate) fn event_stream(response: &mut Response) -> BoxStream<'_, Result<Block, Failure>> {
    async_stream::try_stream! {
        let (mut rest, mut block) = (Vec::new(), Block::default());
        while let Some(piece) = response.piece().await.map_err(Failure::cut)? {
            rest.extend_from_slice(&piece);
            while let Some(end) = rest.iter().position(|it| *it == b'\n') {
                let line: Vec<u8> = rest.drain(..=end).collect();
                let line = std::str::from_utf8(&line[..end]).map_err(Failure::nonsense)?;
                if line.is_empty() {
                    yield std::mem::take(&mut block);
                } else {
                    block.add(line)?;
                }
            }
        }
    }
    .boxed()
}

async fn open(address: SocketAddr, request: &Value) -> Result<Response, Failure> {
    let of_what = match request["sessionId"].as_str() {
        Some(session_id) => format!("sessions/{session_id}"),
        None => format!("runs/{}", request["runId"].as_str().unwrap_or_default()),
    };
    let compact = if request["compact"] == true { "?compact=true" } else { "" };
    let path = format!("/v1/{of_what}/events{compact}");
    let mut builder = Request::get(path).header("accept", "text/event-stream");
    if let Some(after) = request["after"].as_str() {
        builder = builder.header("last-event-id", after);
    }
    let request = builder.body(Full::<Bytes>::default()).unwrap();
    let response = send(address, Version::Http1, request).await.map_err(Failure::cut)?;
    match response.status {
        StatusCode::OK | StatusCode::NO_CONTENT => Ok(response),
        _ => Err(Failure::of_http(&response.whole().await.map_err(Failure::cut)?.json())),
    }
}

impl Block {
    fn add(&mut self, line: &str) -> Result<(), Failure> {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value).to_owned();
        let place = match field {
            "" => {
                self.comments += 1;
                return Ok(());
            }
            "event" => &mut self.event,
            "id" => &mut self.id,
            "data" => &mut self.data,
            "retry" => &mut self.retry,
            _ => return Err(Failure::nonsense(line)),
        };
        match place.replace(value) {
            None => Ok(()),
            Some(_) => Err(Failure::nonsense(format!("{field} twice in one block"))),
        }
    }
}
