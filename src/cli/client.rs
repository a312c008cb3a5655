//! The gateway, as the commands see it.

use std::time::Duration;

use tonic::{
    Request, Streaming,
    transport::{Channel, ClientTlsConfig, Endpoint},
};

use super::{failure::Failure, gateway_url::GatewayUrl};
use crate::{
    model::SessionId,
    wire::v1::{self, pipeline_service_client::PipelineServiceClient},
};

/// A gateway that takes longer to accept a connection is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A gateway that takes longer to begin an answer is not there.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// So often a connection in use is asked whether it is alive, and so long the answer may take. Notices a machine that
/// went away without a word.
const PING_INTERVAL: Duration = Duration::from_secs(20);
/// See [`PING_INTERVAL`].
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// The largest answer that is taken: a page of 200 runs and an event with its largest text and view fit well.
const MESSAGE_BYTES: usize = 16 << 20;

/// What the gateway is told as the reason of a decision.
const DECISION_REASON: &str = "decided at the terminal";

/// The cookie that names the session.
const COOKIE_NAME: &str = "rungate_session_id";

/// Calls a gateway. Clones share a connection, which is made when it is first needed.
#[derive(Clone)]
pub(super) struct Client {
    gateway: GatewayUrl,
    endpoint: Endpoint,
    rpc: PipelineServiceClient<Channel>,
}

impl Client {
    /// A client of the gateway; connects when it first has something to say.
    pub(super) fn new(gateway: &GatewayUrl) -> Result<Self, Failure> {
        let mut endpoint = Endpoint::from(gateway.uri().clone());
        if gateway.is_https() {
            let tls = ClientTlsConfig::new().with_native_roots();
            endpoint = endpoint.tls_config(tls).map_err(|error| Failure::Unreachable {
                gateway: gateway.to_string(),
                cause: error.to_string(),
                before: true,
            })?;
        }
        let endpoint = endpoint
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(ANSWER_TIMEOUT)
            .http2_keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT);
        Ok(Self { gateway: gateway.clone(), rpc: connect(&endpoint), endpoint })
    }

    /// Where the gateway is.
    pub(super) fn gateway(&self) -> &GatewayUrl {
        &self.gateway
    }

    /// Lets go of the connection; the next call makes a new one.
    pub(super) fn reconnect(&mut self) {
        self.rpc = connect(&self.endpoint);
    }

    /// Finds the session by its cookie, or makes one; starts the bootstrap run.
    pub(super) async fn init_run(
        &mut self,
        session: Option<&SessionId>,
        user: &str,
        repo: &str,
    ) -> Result<v1::InitRunResponse, Failure> {
        let message = v1::InitRunRequest { user_id: user.to_owned(), repo_url: repo.to_owned() };
        let mut request = Request::new(message);
        if let Some(cookie) = session.and_then(|it| format!("{COOKIE_NAME}={it}").parse().ok()) {
            request.metadata_mut().insert("cookie", cookie);
        }
        let answer = self.rpc.init_run(request).await;
        Ok(answer.map_err(|status| self.failure(&status))?.into_inner())
    }

    /// Starts a run; gives its id.
    pub(super) async fn start_run(&mut self, request: v1::StartRunRequest) -> Result<String, Failure> {
        let answer = self.rpc.start_run(request).await;
        Ok(answer.map_err(|status| self.failure(&status))?.into_inner().run_id)
    }

    /// Answers the run, or the question of it that has the name; gives the id of the run that handles the answer.
    pub(super) async fn submit_input(
        &mut self,
        session_id: &str,
        run_id: &str,
        input: &str,
        request_id: &str,
    ) -> Result<String, Failure> {
        let request = v1::SubmitRunInputRequest {
            session_id: session_id.to_owned(),
            run_id: run_id.to_owned(),
            input: input.to_owned(),
            input_request_id: request_id.to_owned(),
        };
        let answer = self.rpc.submit_run_input(request).await;
        Ok(answer.map_err(|status| self.failure(&status))?.into_inner().run_id)
    }

    /// Decides on an approval.
    pub(super) async fn submit_approval(
        &mut self,
        run_id: &str,
        approval_id: &str,
        approve: bool,
    ) -> Result<(), Failure> {
        let decision = if approve { v1::Decision::Approve } else { v1::Decision::Reject };
        let request = v1::SubmitApprovalRequest {
            run_id: run_id.to_owned(),
            approval_id: approval_id.to_owned(),
            decision: decision.into(),
            reason: DECISION_REASON.to_owned(),
        };
        let answer = self.rpc.submit_approval(request).await;
        answer.map(|_| ()).map_err(|status| self.failure(&status))
    }

    /// Begins to read a run's events.
    pub(super) async fn watch_run(
        &mut self,
        run_id: &str,
        after: &str,
    ) -> Result<Streaming<v1::WatchRunResponse>, Failure> {
        let request =
            v1::WatchRunRequest { run_id: run_id.to_owned(), after: after.to_owned(), compact: false };
        let answer = self.rpc.watch_run(request).await;
        Ok(answer.map_err(|status| self.failure(&status))?.into_inner())
    }

    /// Asks a run to stop; gives its state afterwards.
    pub(super) async fn cancel_run(&mut self, run_id: &str, reason: &str) -> Result<v1::RunState, Failure> {
        let request = v1::CancelRunRequest { run_id: run_id.to_owned(), reason: reason.to_owned() };
        let answer = self.rpc.cancel_run(request).await;
        Ok(answer.map_err(|status| self.failure(&status))?.into_inner().state())
    }

    /// Reads the state of a run.
    pub(super) async fn get_run(&mut self, run_id: &str) -> Result<v1::Run, Failure> {
        let answer = self.rpc.get_run(v1::GetRunRequest { run_id: run_id.to_owned() }).await;
        Ok(answer.map_err(|status| self.failure(&status))?.into_inner().run.unwrap_or_default())
    }

    /// A page of a session's runs, newest first.
    pub(super) async fn list_runs(
        &mut self,
        session_id: &str,
        page_size: i32,
        page_token: &str,
    ) -> Result<v1::ListRunsResponse, Failure> {
        let request = v1::ListRunsRequest {
            session_id: session_id.to_owned(),
            page_size,
            page_token: page_token.to_owned(),
        };
        let answer = self.rpc.list_runs(request).await;
        Ok(answer.map_err(|status| self.failure(&status))?.into_inner())
    }

    /// Fails when the gateway does not know the session.
    pub(super) async fn check_session(&mut self, session_id: &str) -> Result<(), Failure> {
        let request = v1::GetSessionRequest { session_id: session_id.to_owned() };
        let answer = self.rpc.get_session(request).await;
        answer.map(|_| ()).map_err(|status| self.failure(&status))
    }

    /// The workers that can be started; those of a session too, when it is named.
    pub(super) async fn list_workers(&mut self, session_id: &str) -> Result<Vec<v1::Worker>, Failure> {
        let request = v1::ListWorkersRequest { session_id: session_id.to_owned() };
        let answer = self.rpc.list_workers(request).await;
        Ok(answer.map_err(|status| self.failure(&status))?.into_inner().workers)
    }

    /// What a status means that came from this gateway.
    pub(super) fn failure(&self, status: &tonic::Status) -> Failure {
        Failure::of(status, &self.gateway)
    }
}

fn connect(endpoint: &Endpoint) -> PipelineServiceClient<Channel> {
    PipelineServiceClient::new(endpoint.connect_lazy()).max_decoding_message_size(MESSAGE_BYTES)
}
