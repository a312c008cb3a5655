//! One client over every protocol: the same requests, the same events, the same errors.

mod connect;
mod failure;
mod framing;
mod grpc;
mod grpc_web;
mod proto_json;
mod sse;

use std::{fmt, net::SocketAddr, time::Duration};

use async_trait::async_trait;
use futures::{StreamExt as _, stream::BoxStream};
use http::HeaderMap;
use prost_reflect::{DynamicMessage, MethodDescriptor};
use serde_json::{Value, json};

pub(crate) use failure::Failure;
pub(crate) use sse::{Block, event_stream};

/// The name of the service.
pub(crate) const SERVICE: &str = "rungate.v1.PipelineService";

/// The ways to talk to a gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// tonic over HTTP/2.
    Grpc,
    /// Over HTTP/1.1.
    GrpcWeb,
    /// Over HTTP/1.1.
    GrpcWebText,
    /// Binary over HTTP/2.
    Connect,
    /// JSON over HTTP/1.1, with `GET` where there is no side effect.
    ConnectJson,
    /// Over HTTP/1.1. Watches only.
    Sse,
}

/// Every protocol.
pub(crate) const PROTOCOLS: [Protocol; 6] = [
    Protocol::Grpc,
    Protocol::GrpcWeb,
    Protocol::GrpcWebText,
    Protocol::Connect,
    Protocol::ConnectJson,
    Protocol::Sse,
];

/// A client of one gateway over one protocol.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Client {
    pub(crate) protocol: Protocol,
    address: SocketAddr,
}

/// The events of a watch as they come.
pub(crate) struct Events {
    stream: BoxStream<'static, Result<Value, Failure>>,
}

/// How a protocol carries messages.
#[async_trait]
trait Transport: Send + Sync {
    /// Calls a unary method, with headers beside those of the protocol; gives those of the response too.
    async fn call(
        &self,
        method: &MethodDescriptor,
        request: DynamicMessage,
        headers: HeaderMap,
    ) -> Result<(DynamicMessage, HeaderMap), Failure>;

    /// Calls a method that streams; gives its messages until the first error.
    fn watch(
        &self,
        method: &MethodDescriptor,
        request: DynamicMessage,
        deadline: Option<Duration>,
    ) -> BoxStream<'static, Result<DynamicMessage, Failure>>;
}

impl Protocol {
    /// True for a protocol that can do more than watch.
    pub(crate) fn calls(self) -> bool {
        self != Self::Sse
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Grpc => "grpc",
            Self::GrpcWeb => "grpc_web",
            Self::GrpcWebText => "grpc_web_text",
            Self::Connect => "connect",
            Self::ConnectJson => "connect_json",
            Self::Sse => "sse",
        })
    }
}

impl Client {
    /// A client of the gateway at `address`.
    pub(crate) fn new(protocol: Protocol, address: SocketAddr) -> Self {
        Self { protocol, address }
    }

    /// The same gateway over another protocol.
    pub(crate) fn over(self, protocol: Protocol) -> Self {
        Self { protocol, ..self }
    }

    /// The same protocol with what listens at `address`.
    pub(crate) fn at(self, address: SocketAddr) -> Self {
        Self { address, ..self }
    }

    /// Whom it talks to.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Calls a unary method with a request in proto3 JSON.
    pub(crate) async fn call(&self, method: &str, request: Value) -> Result<Value, Failure> {
        Ok(self.call_with(method, request, HeaderMap::new()).await?.0)
    }

    /// The same with headers beside those of the protocol; gives those of the response too.
    pub(crate) async fn call_with(
        &self,
        method: &str,
        request: Value,
        headers: HeaderMap,
    ) -> Result<(Value, HeaderMap), Failure> {
        let method = find_method(method);
        let request = proto_json::message(method.input(), request);
        let (response, headers) = self.transport().call(&method, request, headers).await?;
        Ok((proto_json::value(&response), headers))
    }

    /// Watches a run from its first event.
    pub(crate) fn watch(&self, run_id: &str) -> Events {
        self.watch_after(run_id, "")
    }

    /// Watches a run from a cursor.
    pub(crate) fn watch_after(&self, run_id: &str, after: &str) -> Events {
        self.events("WatchRun", json!({"runId": run_id, "after": after}), None)
    }

    /// Watches a run from a cursor, with a compact catch-up.
    pub(crate) fn watch_compact(&self, run_id: &str, after: &str) -> Events {
        self.events("WatchRun", json!({"runId": run_id, "after": after, "compact": true}), None)
    }

    /// Watches all runs of a session from a cursor.
    pub(crate) fn watch_session(&self, session_id: &str, after: &str) -> Events {
        self.events("WatchSession", json!({"sessionId": session_id, "after": after}), None)
    }

    /// Watches all runs of a session from the first event, with a compact catch-up.
    pub(crate) fn watch_session_compact(&self, session_id: &str) -> Events {
        self.events("WatchSession", json!({"sessionId": session_id, "compact": true}), None)
    }

    /// Watches a run until a deadline.
    pub(crate) fn watch_within(&self, run_id: &str, deadline: Duration) -> Events {
        self.events("WatchRun", json!({"runId": run_id}), Some(deadline))
    }

    fn events(&self, method: &str, request: Value, deadline: Option<Duration>) -> Events {
        let method = find_method(method);
        let request = proto_json::message(method.input(), request);
        let stream = self.transport().watch(&method, request, deadline);
        let stream = stream.map(|it| it.map(|it| proto_json::event(&it)));
        let is_event =
            |it: &Result<Value, _>| !matches!(it, Ok(it) if it["eventType"] == "EVENT_TYPE_HEARTBEAT");
        Events { stream: stream.filter(move |it| std::future::ready(is_event(it))).boxed() }
    }

    fn transport(&self) -> Box<dyn Transport> {
        let address = self.address;
        match self.protocol {
            Protocol::Grpc => Box::new(grpc::Grpc { address }),
            Protocol::GrpcWeb => Box::new(grpc_web::GrpcWeb { address, text: false }),
            Protocol::GrpcWebText => Box::new(grpc_web::GrpcWeb { address, text: true }),
            Protocol::Connect => Box::new(connect::Connect { address, json: false }),
            Protocol::ConnectJson => Box::new(connect::Connect { address, json: true }),
            Protocol::Sse => Box::new(sse::Sse { address }),
        }
    }
}

impl Events {
    /// The next event; `None` when the stream has ended as it should.
    pub(crate) async fn next(&mut self) -> Option<Result<Value, Failure>> {
        self.stream.next().await
    }

    /// The next event, which must come.
    pub(crate) async fn expect(&mut self) -> Value {
        self.next().await.expect("the stream goes on").expect("the stream goes on")
    }

    /// The next `count` events, which must come.
    pub(crate) async fn take(&mut self, count: usize) -> Vec<Value> {
        let mut events = Vec::new();
        while events.len() < count {
            events.push(self.expect().await);
        }
        events
    }

    /// All that is left, which must end as it should.
    pub(crate) async fn all(self) -> Vec<Value> {
        let (events, failure) = self.until_failure().await;
        assert_eq!(failure, None, "after {events:#?}");
        events
    }

    /// All that is left, and why it ended if not as it should.
    pub(crate) async fn until_failure(mut self) -> (Vec<Value>, Option<Failure>) {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            match event {
                Ok(event) => events.push(event),
                Err(failure) => return (events, Some(failure)),
            }
        }
        (events, None)
    }

    /// Why the watch did not even begin.
    pub(crate) async fn refused(self) -> Failure {
        let (events, failure) = self.until_failure().await;
        assert!(events.is_empty(), "{events:#?}");
        failure.expect("the watch is refused")
    }
}

/// Events that another client tells in proto3 JSON, in the form that ours tells them.
pub(crate) fn normalised(events: &Value) -> Vec<Value> {
    let output = find_method("WatchRun").output();
    let events = events.as_array().unwrap().iter();
    events.map(|it| proto_json::event(&proto_json::message(output.clone(), it.clone()))).collect()
}

fn find_method(name: &str) -> MethodDescriptor {
    let service = rungate::wire::descriptor_pool().get_service_by_name(SERVICE).unwrap();
    service.methods().find(|it| it.name() == name).unwrap_or_else(|| panic!("no method {name}"))
}
