//! StartRun: claim the session, begin the log, hand the run to the runner.

use std::collections::BTreeMap;

use super::{
    Caller, Draining, Gateway, Inner, MalformedField, MissingField, NotOffered, ReadSessionError,
    SessionIdError, UnknownWorker, complete,
    error::{operation_error, pass_on},
};
use crate::{
    model::{Command, Outcome, RunError, RunId, SessionId, WorkerKey, limits},
    run::{LogFull, StartWriterError},
    runner::RunRequest,
    runtime::clock,
    session::{ClaimError, SessionBusy, SessionNotFound},
};

/// The pipeline that talks with the user, and that InitRun and SubmitRunInput start.
pub(super) const PLAN_PIPELINE: &str = "plan_pipeline";

/// What is started when the client does not say.
const DEFAULT_PIPELINE: &str = "worker_DAG";

/// What the client says.
#[derive(Debug, Clone, Default)]
pub struct StartRun {
    /// The session; empty: the cookie's.
    pub session_id: String,
    /// The worker to run; empty: `worker_DAG`.
    pub pipeline_id: String,
    /// What the worker is told.
    pub params: BTreeMap<String, String>,
    /// Names the request, so that it can be sent again without starting a second run.
    pub idempotency_key: String,
    /// What to do when the session has an active run.
    pub if_busy: IfBusy,
    /// Whether the run ends when nobody watches it any more.
    pub cancel_on_disconnect: bool,
}

/// What to do when the session has an active run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum IfBusy {
    /// Fail.
    #[default]
    Reject,
    /// Start when the active run has ended.
    Enqueue,
    /// Cancel the active run, then start.
    Interrupt,
}

/// A run that is to begin now.
pub(super) struct BeginRun {
    pub(super) session_id: SessionId,
    pub(super) pipeline_id: WorkerKey,
    pub(super) params: BTreeMap<String, String>,
}

operation_error! {
    /// Why StartRun fails.
    pub enum StartRunError {
        MissingField(MissingField),
        MalformedField(MalformedField),
        NotOffered(NotOffered),
        UnknownWorker(UnknownWorker),
        SessionNotFound(SessionNotFound),
        SessionBusy(SessionBusy),
        LogFull(LogFull),
        Draining(Draining),
        Inner(Inner),
    }
}

operation_error! {
    /// Why a run does not begin.
    pub(super) enum BeginRunError {
        SessionNotFound(SessionNotFound),
        SessionBusy(SessionBusy),
        LogFull(LogFull),
        Draining(Draining),
        Inner(Inner),
    }
}

pass_on!(SessionIdError { MissingField, SessionNotFound } => StartRunError);
pass_on!(ReadSessionError { SessionNotFound, Inner } => StartRunError);
pass_on!(BeginRunError { SessionNotFound, SessionBusy, LogFull, Draining, Inner } => StartRunError);

impl Gateway {
    /// Starts a run in a session.
    pub async fn start_run(&self, caller: &Caller, request: StartRun) -> Result<RunId, StartRunError> {
        let session_id = caller.session_id(&request.session_id)?;
        let key = match WorkerKey::new(&request.pipeline_id) {
            key if key.is_empty() => DEFAULT_PIPELINE.into(),
            key => key,
        };
        check_params(&request.params)?;
        check_offered(&request)?;
        let session = self.sessions.get(&session_id).await.map_err(ReadSessionError::from)?;
        let resolver = self.launcher.contexts().of(&session_id).resolver(&session);
        let worker = resolver.resolve(&key).ok_or(UnknownWorker(key))?;
        let begun = BeginRun { session_id, pipeline_id: worker.spec().key.clone(), params: request.params };
        let gateway = self.clone();
        complete(async move { Ok(gateway.begin_run(begun).await?) }).await
    }

    /// Claims the session, begins the run's log and launches the run. Of any number of simultaneous calls for one
    /// session exactly one succeeds.
    pub(super) async fn begin_run(&self, begun: BeginRun) -> Result<RunId, BeginRunError> {
        self.check_open()?;
        let BeginRun { session_id, pipeline_id, params } = begun;
        let run_id = clock::new_run_id();
        let session = self.sessions.claim(&session_id, run_id).await?;
        let writer = match self.runs.create(run_id, session_id.clone(), pipeline_id.clone()).await {
            Ok(writer) => writer,
            Err(error) => {
                self.sessions.release(&session_id, run_id, None).await.map_err(Inner::from)?;
                return Err(error.into());
            }
        };
        if self.check_open().is_err() {
            // The drain began meanwhile and may have missed this run.
            let error = RunError::retryable("interrupted", "the gateway is draining");
            let _state = writer.apply(Command::Finish(Outcome::Failed(error))).await;
        }
        self.launcher.launch(RunRequest { run_id, session, pipeline_id, params }, writer).await;
        Ok(run_id)
    }
}

fn check_params(params: &BTreeMap<String, String>) -> Result<(), MalformedField> {
    if params.len() > limits::PARAMS {
        let problem = format!("has more than {} entries", limits::PARAMS);
        return Err(MalformedField { field: "params", problem });
    }
    Ok(())
}

fn check_offered(request: &StartRun) -> Result<(), NotOffered> {
    if !request.idempotency_key.is_empty() {
        return Err(NotOffered("idempotency_key"));
    }
    if request.if_busy != IfBusy::Reject {
        return Err(NotOffered("if_busy other than IF_BUSY_REJECT"));
    }
    if request.cancel_on_disconnect {
        return Err(NotOffered("cancel_on_disconnect"));
    }
    Ok(())
}

impl From<ClaimError> for BeginRunError {
    fn from(error: ClaimError) -> Self {
        match error {
            ClaimError::Busy(cause) => cause.into(),
            ClaimError::Session(error) => match ReadSessionError::from(error) {
                ReadSessionError::SessionNotFound(cause) => cause.into(),
                ReadSessionError::Inner(cause) => cause.into(),
            },
        }
    }
}

impl From<StartWriterError> for BeginRunError {
    fn from(error: StartWriterError) -> Self {
        match error {
            StartWriterError::Full(cause) => cause.into(),
            StartWriterError::Exists(_) => Inner::new(error).into(),
        }
    }
}
