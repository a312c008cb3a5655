//! StartRun: claim the session, begin the log, hand the run to the runner.

use std::collections::BTreeMap;

use super::{
    Caller, Draining, Gateway, Inner, KeyReused, MalformedField, MissingField, ReadSessionError,
    SessionIdError, UnknownWorker, complete,
    error::{operation_error, pass_on},
};
use crate::{
    model::{Command, IdempotencyKey, Outcome, RunError, RunId, SessionId, WorkerKey, limits},
    run::{BeginLog, LogFull, LogUnavailable, StartWriterError},
    runner::RunRequest,
    runtime::clock,
    session::{ClaimError, Claimed, IfBusy, SessionBusy, SessionNotFound, SessionQueueFull},
};

/// The pipeline that talks with the user, and that InitRun and SubmitRunInput start.
pub(super) const PLAN_PIPELINE: &str = "plan_pipeline";

/// What is started when the client does not say.
const DEFAULT_PIPELINE: &str = "worker_DAG";

/// The longest idempotency key.
const MAX_KEY_BYTES: usize = 256;

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

/// A run that is to begin now.
pub(super) struct BeginRun {
    pub(super) session_id: SessionId,
    pub(super) pipeline_id: WorkerKey,
    pub(super) params: BTreeMap<String, String>,
    pub(super) if_busy: IfBusy,
    pub(super) key: Option<IdempotencyKey>,
    pub(super) cancel_on_disconnect: bool,
}

operation_error! {
    /// Why StartRun fails.
    pub enum StartRunError {
        MissingField(MissingField),
        MalformedField(MalformedField),
        KeyReused(KeyReused),
        UnknownWorker(UnknownWorker),
        SessionNotFound(SessionNotFound),
        SessionBusy(SessionBusy),
        SessionQueueFull(SessionQueueFull),
        LogFull(LogFull),
        LogUnavailable(LogUnavailable),
        Draining(Draining),
        Inner(Inner),
    }
}

operation_error! {
    /// Why a run does not begin.
    pub(super) enum BeginRunError {
        SessionNotFound(SessionNotFound),
        SessionBusy(SessionBusy),
        SessionQueueFull(SessionQueueFull),
        LogFull(LogFull),
        LogUnavailable(LogUnavailable),
        Draining(Draining),
        Inner(Inner),
    }
}

pass_on!(SessionIdError { MissingField, SessionNotFound } => StartRunError);
pass_on!(ReadSessionError { SessionNotFound, Inner } => StartRunError);
pass_on!(
    BeginRunError { SessionNotFound, SessionBusy, SessionQueueFull, LogFull, LogUnavailable, Draining, Inner }
    => StartRunError
);

impl Gateway {
    /// Starts a run in a session.
    pub async fn start_run(&self, caller: &Caller, request: StartRun) -> Result<RunId, StartRunError> {
        let session_id = caller.session_id(&request.session_id)?;
        let key = match WorkerKey::new(&request.pipeline_id) {
            key if key.is_empty() => DEFAULT_PIPELINE.into(),
            key => key,
        };
        check_params(&request.params)?;
        check_key(&request.idempotency_key)?;
        let session = self.sessions.get(&session_id).await.map_err(ReadSessionError::from)?;
        let resolver = self.launcher.contexts().of(&session_id).resolver(&session);
        let worker = resolver.resolve(&key).ok_or(UnknownWorker(key))?;
        let pipeline_id = worker.spec().key.clone();
        let text = &request.idempotency_key;
        let key = (!text.is_empty())
            .then(|| IdempotencyKey::new(&session_id, text, &canonical(&pipeline_id, &request)));
        let StartRun { params, if_busy, cancel_on_disconnect, .. } = request;
        let begun = BeginRun { session_id, pipeline_id, params, if_busy, key: None, cancel_on_disconnect };
        let gateway = self.clone();
        complete(async move {
            match key {
                Some(key) => gateway.begin_once(key, begun).await,
                None => Ok(gateway.begin_run(begun).await?),
            }
        })
        .await
    }

    /// Claims the session, begins the run's log, and launches the run or lets it wait for the session. Of any number of
    /// simultaneous calls for one session exactly one gets it.
    pub(super) async fn begin_run(&self, begun: BeginRun) -> Result<RunId, BeginRunError> {
        self.check_open()?;
        let BeginRun { session_id, pipeline_id, params, if_busy, key, cancel_on_disconnect } = begun;
        let run_id = clock::new_run_id();
        let claimed = self.sessions.claim(&session_id, run_id, if_busy).await?;
        let log = BeginLog {
            run_id,
            session_id: session_id.clone(),
            pipeline_id: pipeline_id.clone(),
            params: params.clone(),
            key,
            cancel_on_disconnect,
            at_once: matches!(claimed, Claimed::Held(_)),
        };
        let writer = match self.runs.create(log).await {
            Ok(writer) => writer,
            Err(error) => {
                self.launcher.release(&session_id, run_id, None).await;
                return Err(error.into());
            }
        };
        let draining = self.check_open().is_err();
        if draining {
            // The drain began meanwhile and may have missed this run.
            let error = RunError::retryable("interrupted", "the gateway is draining");
            let _state = writer.apply(Command::Finish(Outcome::Failed(error))).await;
        }
        match claimed {
            Claimed::Held(_) if draining => self.launcher.release(&session_id, run_id, None).await,
            Claimed::Held(session) => {
                self.launcher.launch_begun(RunRequest { run_id, session, pipeline_id, params }, writer);
            }
            Claimed::Waiting { session, active_run_id } => {
                let request = RunRequest { run_id, session, pipeline_id, params };
                self.launcher.hold(request, writer).await;
                if if_busy == IfBusy::Interrupt {
                    // A run that has ended meanwhile has passed the session on.
                    let _state = self.runs.cancel(active_run_id, "interrupted by a new run".to_owned()).await;
                }
            }
        }
        Ok(run_id)
    }
}

/// What tells two requests apart that come with the same idempotency key.
fn canonical(pipeline_id: &WorkerKey, request: &StartRun) -> String {
    format!(
        "{:?}",
        (pipeline_id.normalized(), &request.params, request.if_busy, request.cancel_on_disconnect)
    )
}

fn check_params(params: &BTreeMap<String, String>) -> Result<(), MalformedField> {
    if params.len() > limits::PARAMS {
        let problem = format!("has more than {} entries", limits::PARAMS);
        return Err(MalformedField { field: "params", problem });
    }
    Ok(())
}

fn check_key(key: &str) -> Result<(), MalformedField> {
    if key.len() > MAX_KEY_BYTES {
        let problem = format!("is longer than {MAX_KEY_BYTES} bytes");
        return Err(MalformedField { field: "idempotency_key", problem });
    }
    Ok(())
}

impl From<ClaimError> for BeginRunError {
    fn from(error: ClaimError) -> Self {
        match error {
            ClaimError::Busy(cause) => cause.into(),
            ClaimError::QueueFull(cause) => cause.into(),
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
            StartWriterError::Unavailable(cause) => cause.into(),
            // Ids are fresh, and a key is looked up under its lock.
            StartWriterError::Exists(_) | StartWriterError::KeyUsed(_) => Inner::new(error).into(),
        }
    }
}
