//! A gateway with one tiny service, which does what the name in the request says.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use axum::extract::Request as HttpRequest;
use axum::middleware::{Next, from_fn};
use http::{HeaderMap, HeaderName, HeaderValue};
use prost_reflect::DescriptorPool;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::MetadataMap;
use tonic::service::Routes;
use tonic::{Code, Request, Response, Status};
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{FILE_DESCRIPTOR_SET, HealthCheckRequest, HealthCheckResponse};
use tonic_types::{ErrorDetails, StatusExt};

use crate::api::rpc::{RpcLimits, Trailers, rpc_stack};

pub(super) const CHECK: &str = "/grpc.health.v1.Health/Check";
pub(super) const WATCH: &str = "/grpc.health.v1.Health/Watch";

/// Small, so that a test exceeds it with a small message.
pub(super) const MESSAGE_BYTES: usize = 16 * 1024;

type Answer = Result<HealthCheckResponse, Status>;

/// A served gateway; dropping it stops it.
pub(super) struct Gateway {
    pub(super) address: SocketAddr,
    /// What the next watcher is sent. Closed as soon as its stream was dropped.
    pub(super) watcher: mpsc::Sender<Answer>,
    _tasks: JoinSet<()>,
}

/// Put into each request's extensions in front of the stack.
#[derive(Clone)]
struct Seen(&'static str);

struct Probe {
    answers: Mutex<Option<mpsc::Receiver<Answer>>>,
}

impl Gateway {
    pub(super) async fn start() -> Self {
        let (watcher, answers) = mpsc::channel(1);
        let probe = Arc::new(Probe { answers: Mutex::new(Some(answers)) });
        let health = HealthServer::from_arc(probe).max_decoding_message_size(MESSAGE_BYTES);
        let descriptors = DescriptorPool::decode(FILE_DESCRIPTOR_SET).unwrap();
        let limits = RpcLimits { message_bytes: MESSAGE_BYTES };
        let stack = rpc_stack(Routes::new(health).into_axum_router(), descriptors, limits, Some("probe"));
        let app = axum::Router::new().fallback_service(stack).layer(from_fn(
            async |mut request: HttpRequest, next: Next| {
                request.extensions_mut().insert(Seen("by the layer in front"));
                next.run(request).await
            },
        ));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { address, watcher, _tasks: tasks }
    }
}

#[tonic::async_trait]
impl Health for Probe {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let metadata = echoed(&request);
        let service = request.get_ref().service.as_str();
        if service != "fails without trailers" {
            let last_word = (HeaderName::from_static("x-last-word"), HeaderValue::from_static("bye"));
            Trailers::of(&request).append(HeaderMap::from_iter([last_word]));
        }
        match service {
            "fails" | "fails without trailers" => Err(refusal(metadata)),
            "never answers" => std::future::pending().await,
            _ => Ok(Response::from_parts(metadata, serving(), http::Extensions::new())),
        }
    }

    type WatchStream = ReceiverStream<Answer>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<ReceiverStream<Answer>>, Status> {
        let answers = self.answers.lock().unwrap().take();
        let answers = answers.ok_or_else(|| Status::failed_precondition("watched already"))?;
        Ok(Response::from_parts(echoed(&request), ReceiverStream::new(answers), http::Extensions::new()))
    }
}

pub(super) fn serving() -> HealthCheckResponse {
    HealthCheckResponse { status: 1 }
}

fn refusal(metadata: MetadataMap) -> Status {
    let mut details = ErrorDetails::new();
    details.set_error_info("SESSION_NOT_FOUND", "rungate", [("session_id".to_owned(), "s1".to_owned())]);
    let mut status = Status::with_error_details(Code::NotFound, "no such session", details);
    *status.metadata_mut() = metadata;
    status
}

/// What arrived of the request, as metadata of the answer.
fn echoed<T>(request: &Request<T>) -> MetadataMap {
    let mut echo = HeaderMap::new();
    let headers = request.metadata().clone().into_headers();
    for cookie in headers.get_all("cookie") {
        echo.append("set-cookie", cookie.clone());
        echo.append("set-cookie", HeaderValue::from_static("second=2; HttpOnly"));
    }
    for name in ["x-forwarded-for", "x-forwarded-proto"] {
        if let Some(value) = headers.get(name) {
            echo.insert(HeaderName::from_static(name), value.clone());
        }
    }
    if let Some(Seen(by)) = request.extensions().get::<Seen>() {
        echo.insert("x-seen", HeaderValue::from_static(by));
    }
    MetadataMap::from_headers(echo)
}
