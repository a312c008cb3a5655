//! The PipelineService on tonic: what gRPC, gRPC-Web and Connect clients call.

use bytes::Bytes;
use futures::stream;
use http::{HeaderMap, HeaderValue};
use http_body::Frame;
use tonic::{
    Code, Request, Response, Status,
    metadata::{MetadataMap, MetadataValue},
};

use super::{
    error::{status, watch_end_status},
    events::{self, Shown, Source, Writing},
    rpc::{FramedAnswers, JsonAnswers},
    serve::LongStream,
};
use crate::{
    gateway::{
        self, Caller, Gateway, SubmitApproval, SubmitToolResult, WatchEnd, session_cookie,
        session_id_of_cookies,
    },
    wire::{
        self, MessageFormat,
        v1::{self, server::pipeline_service_server::PipelineService},
    },
};

/// Answers RPCs by calling the gateway.
#[derive(Clone)]
pub(super) struct PipelineRpc {
    pub(super) gateway: Gateway,
}

/// What tonic is given of a watch: the events are in the [`FramedAnswers`] of its response.
type NoStream = stream::Empty<Result<v1::WatchRunResponse, Status>>;

/// A watch as messages of the service.
struct Messages {
    format: MessageFormat,
}

#[tonic::async_trait]
impl PipelineService for PipelineRpc {
    type WatchRunStream = NoStream;
    type WatchSessionStream = NoStream;

    async fn init_run(
        &self,
        request: Request<v1::InitRunRequest>,
    ) -> Result<Response<v1::InitRunResponse>, Status> {
        let (caller, secure) = (caller(request.metadata()), came_over_tls(request.metadata()));
        let v1::InitRunRequest { user_id, repo_url } = request.into_inner();
        let started =
            self.gateway.init_run(&caller, gateway::InitRun { user_id, repo_url }).await.map_err(status)?;
        let cookie = session_cookie(&started.session.session_id, secure);
        let mut response = Response::new(v1::InitRunResponse {
            session_id: started.session.session_id.to_string(),
            repo_name: started.session.repo.clone(),
            bootstrap_run_id: started.bootstrap_run_id.to_string(),
        });
        if let Ok(cookie) = cookie.parse() {
            response.metadata_mut().insert("set-cookie", cookie);
        }
        Ok(response)
    }

    async fn start_run(
        &self,
        request: Request<v1::StartRunRequest>,
    ) -> Result<Response<v1::StartRunResponse>, Status> {
        let caller = caller(request.metadata());
        let request = request.into_inner();
        let if_busy = match request.if_busy() {
            v1::IfBusy::Unspecified | v1::IfBusy::Reject => gateway::IfBusy::Reject,
            v1::IfBusy::Enqueue => gateway::IfBusy::Enqueue,
            v1::IfBusy::Interrupt => gateway::IfBusy::Interrupt,
        };
        let request = gateway::StartRun {
            session_id: request.session_id,
            pipeline_id: request.pipeline_id,
            params: request.params.into_iter().collect(),
            idempotency_key: request.idempotency_key,
            if_busy,
            cancel_on_disconnect: request.cancel_on_disconnect,
        };
        let run_id = self.gateway.start_run(&caller, request).await.map_err(status)?;
        Ok(Response::new(v1::StartRunResponse { run_id: run_id.to_string(), client_view: None }))
    }

    async fn submit_run_input(
        &self,
        request: Request<v1::SubmitRunInputRequest>,
    ) -> Result<Response<v1::SubmitRunInputResponse>, Status> {
        let caller = caller(request.metadata());
        let v1::SubmitRunInputRequest { session_id, run_id, input, input_request_id } = request.into_inner();
        let request = gateway::SubmitRunInput { session_id, run_id, input, input_request_id };
        let run_id = self.gateway.submit_run_input(&caller, request).await.map_err(status)?;
        Ok(Response::new(v1::SubmitRunInputResponse { run_id: run_id.to_string() }))
    }

    async fn watch_run(
        &self,
        request: Request<v1::WatchRunRequest>,
    ) -> Result<Response<Self::WatchRunStream>, Status> {
        let answers = JsonAnswers::of(&request);
        let v1::WatchRunRequest { run_id, after, compact } = request.into_inner();
        let request = gateway::WatchRun { run_id, after, compact };
        let watch = self.gateway.watch_run(request).await.map_err(status)?;
        Ok(streamed(watch, answers))
    }

    async fn watch_session(
        &self,
        request: Request<v1::WatchSessionRequest>,
    ) -> Result<Response<Self::WatchSessionStream>, Status> {
        let (caller, answers) = (caller(request.metadata()), JsonAnswers::of(&request));
        let v1::WatchSessionRequest { session_id, after, compact } = request.into_inner();
        let request = gateway::WatchSession { session_id, after, compact };
        let watch = self.gateway.watch_session(&caller, request).await.map_err(status)?;
        Ok(streamed(watch, answers))
    }

    async fn cancel_run(
        &self,
        request: Request<v1::CancelRunRequest>,
    ) -> Result<Response<v1::CancelRunResponse>, Status> {
        let v1::CancelRunRequest { run_id, reason } = request.into_inner();
        let state = self.gateway.cancel_run(&run_id, &reason).await.map_err(status)?;
        Ok(Response::new(v1::CancelRunResponse { state: v1::RunState::from(state).into() }))
    }

    async fn get_run(
        &self,
        request: Request<v1::GetRunRequest>,
    ) -> Result<Response<v1::GetRunResponse>, Status> {
        let run = self.gateway.get_run(&request.into_inner().run_id).await.map_err(status)?;
        Ok(Response::new(v1::GetRunResponse { run: Some(wire::run_message(&run)) }))
    }

    async fn list_runs(
        &self,
        request: Request<v1::ListRunsRequest>,
    ) -> Result<Response<v1::ListRunsResponse>, Status> {
        let caller = caller(request.metadata());
        let v1::ListRunsRequest { session_id, page_size, page_token } = request.into_inner();
        let request = gateway::ListRuns { session_id, page_size, page_token };
        let page = self.gateway.list_runs(&caller, request).await.map_err(status)?;
        let runs = page.runs.iter().map(wire::run_message).collect();
        Ok(Response::new(v1::ListRunsResponse { runs, next_page_token: page.next_page_token }))
    }

    async fn get_session(
        &self,
        request: Request<v1::GetSessionRequest>,
    ) -> Result<Response<v1::GetSessionResponse>, Status> {
        let caller = caller(request.metadata());
        let session =
            self.gateway.get_session(&caller, &request.into_inner().session_id).await.map_err(status)?;
        Ok(Response::new(v1::GetSessionResponse { session: Some(wire::session_message(&session)) }))
    }

    async fn list_workers(
        &self,
        request: Request<v1::ListWorkersRequest>,
    ) -> Result<Response<v1::ListWorkersResponse>, Status> {
        let caller = caller(request.metadata());
        let workers =
            self.gateway.list_workers(&caller, &request.into_inner().session_id).await.map_err(status)?;
        let workers = workers.into_iter().map(|it| v1::Worker {
            key: it.key.to_string(),
            description: it.description,
            requires: it.requires.iter().map(ToString::to_string).collect(),
            backend: it.backend.name().to_owned(),
        });
        Ok(Response::new(v1::ListWorkersResponse { workers: workers.collect() }))
    }

    async fn submit_tool_result(
        &self,
        request: Request<v1::SubmitToolResultRequest>,
    ) -> Result<Response<v1::SubmitToolResultResponse>, Status> {
        let v1::SubmitToolResultRequest { run_id, tool_call_id, ok, result, error } = request.into_inner();
        let result = result.as_ref().map(wire::json_value).unwrap_or_default();
        let submitted = SubmitToolResult { run_id, tool_call_id, ok, result, error };
        self.gateway.submit_tool_result(submitted).await.map_err(status)?;
        Ok(Response::new(v1::SubmitToolResultResponse {}))
    }

    async fn submit_approval(
        &self,
        request: Request<v1::SubmitApprovalRequest>,
    ) -> Result<Response<v1::SubmitApprovalResponse>, Status> {
        let request = request.into_inner();
        let approved = match request.decision() {
            v1::Decision::Unspecified => None,
            v1::Decision::Approve => Some(true),
            v1::Decision::Reject => Some(false),
        };
        let v1::SubmitApprovalRequest { run_id, approval_id, reason, .. } = request;
        let submitted = SubmitApproval { run_id, approval_id, approved, reason };
        self.gateway.submit_approval(submitted).await.map_err(status)?;
        Ok(Response::new(v1::SubmitApprovalResponse {}))
    }
}

/// Events are encoded once for all watchers, so that they go around tonic's encoder; as JSON too, so that a client that
/// wants JSON is given it as it is.
fn streamed<S: Source>(watch: S, answers: Option<JsonAnswers>) -> Response<NoStream> {
    let format = if answers.is_some() { MessageFormat::Json } else { MessageFormat::Proto };
    let mut response = Response::new(stream::empty());
    // Tells proxies that collect responses to pass this one on as it comes, as the event streams of HTTP do.
    response.metadata_mut().insert("x-accel-buffering", MetadataValue::from_static("no"));
    // gRPC-Web over HTTP/1.1 has its trailers in the body.
    response.extensions_mut().insert(LongStream);
    response.extensions_mut().insert(FramedAnswers::new(events::body(watch, Messages { format })));
    if let Some(answers) = answers {
        response.extensions_mut().insert(answers);
    }
    response
}

impl Writing for Messages {
    fn beginning(&self) -> Option<Bytes> {
        None
    }

    fn event(&self, event: &impl Shown) -> Bytes {
        event.framed(self.format)
    }

    fn silence(&self) -> Bytes {
        wire::framed_heartbeat(self.format)
    }

    fn end(&self, cut: Option<&WatchEnd>) -> Option<Frame<Bytes>> {
        let status = cut.map_or_else(|| Status::new(Code::Ok, ""), watch_end_status);
        let mut trailers = HeaderMap::new();
        // It fails for texts that cannot stand in a header, and is told as another status then.
        if let Err(unspeakable) = status.add_header(&mut trailers) {
            trailers.insert(Status::GRPC_STATUS, HeaderValue::from(unspeakable.code() as i32));
        }
        Some(Frame::trailers(trailers))
    }
}

fn caller(metadata: &MetadataMap) -> Caller {
    let cookies = metadata.get_all("cookie").iter().filter_map(|it| it.to_str().ok());
    Caller { cookie_session: session_id_of_cookies(cookies) }
}

/// True when the request came over TLS, as a proxy in front says. A client that says so itself only gets a stricter
/// cookie.
fn came_over_tls(metadata: &MetadataMap) -> bool {
    metadata.get("x-forwarded-proto").is_some_and(|it| it.as_bytes().eq_ignore_ascii_case(b"https"))
}
