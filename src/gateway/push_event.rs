//! What an orchestrator pushes: finds the run that an event is for and applies it.

use std::time::Duration;

use serde_json::Value;

use super::{
    Gateway, Inner, MalformedField, MissingField, complete,
    error::{operation_error, pass_on, session_id},
};
use crate::{
    gateway::{ReadSessionError, SessionIdError},
    model::{Cause, Code, RunId, Session, limits},
    run::{LogFull, ReadRunError, RunNotFound, RunUnreadable},
    runner::{Backend, PushRefused, Pushed},
    session::SessionNotFound,
};

/// How long a push waits for a run that is about to become known: its start is still being answered, or the gateway is just
/// back. Less than the five seconds that orchestrators wait for the answer to a push.
const PATIENCE: Duration = Duration::from_secs(3);

/// A push, as the orchestrator says it.
#[derive(Debug, Clone)]
pub struct PushEvent {
    /// The session of the run.
    pub session_id: String,
    /// The event.
    pub event: Value,
}

/// What became of a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventPushed {
    /// True when somebody watches the run or its session now.
    pub delivered: bool,
}

/// The run has ended, or makes no more requests because it is about to end.
#[derive(Debug, Clone, thiserror::Error)]
#[error("run {run_id} {}", if *ended { "has ended" } else { "is about to end" })]
pub struct RunOver {
    /// The run, as the orchestrator named it.
    pub run_id: String,
    /// True when it has.
    pub ended: bool,
}

/// A run of the session is being started, and its orchestrator has not said yet how it names that run.
#[derive(Debug, Clone, thiserror::Error)]
#[error(
    "run {run_id} is not known yet: the answer to the call that starts a run of the session has not come"
)]
pub struct RunNotKnownYet {
    /// The run, as the orchestrator named it.
    pub run_id: String,
}

/// As many requests are open as may be.
#[derive(Debug, Clone, thiserror::Error)]
#[error("too many requests of run {run_id} are open")]
pub struct TooManyRequests {
    /// The run, as the orchestrator named it.
    pub run_id: String,
}

/// The log cannot be written at present; the same push may be sent again.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the run log cannot be written at present")]
pub struct NotWritten;

operation_error! {
    /// Why a push is not applied.
    pub enum PushEventError {
        MissingField(MissingField),
        MalformedField(MalformedField),
        SessionNotFound(SessionNotFound),
        RunNotFound(RunNotFound),
        RunUnreadable(RunUnreadable),
        RunOver(RunOver),
        RunNotKnownYet(RunNotKnownYet),
        TooManyRequests(TooManyRequests),
        LogFull(LogFull),
        NotWritten(NotWritten),
        Inner(Inner),
    }
}

pass_on!(SessionIdError { MissingField, SessionNotFound } => PushEventError);
pass_on!(ReadSessionError { SessionNotFound, Inner } => PushEventError);
pass_on!(ReadRunError { RunNotFound, RunUnreadable } => PushEventError);

impl Gateway {
    /// Applies an event that an orchestrator has pushed; returns when it is in the log.
    pub async fn push_event(&self, request: PushEvent) -> Result<EventPushed, PushEventError> {
        let session_id = match request.session_id.trim() {
            "" => return Err(MissingField("session_id").into()),
            text => session_id(text)?,
        };
        let pushed = Pushed::read(request.event)
            .map_err(|error| MalformedField { field: "event", problem: error.to_string() })?;
        let session = self.sessions.get(&session_id).await.map_err(ReadSessionError::from)?;
        let patience = if self.may_become_known(&session).await { PATIENCE } else { Duration::ZERO };
        let gateway = self.clone();
        complete(async move {
            let named = pushed.run_id.clone();
            let applied = gateway.orchestrators.push(&session_id, pushed, patience).await;
            let run_id = match applied {
                Ok(run_id) => run_id,
                Err(refused) => return Err(gateway.refusal(refused, &session, named).await),
            };
            let delivered = run_id.is_some_and(|it| gateway.runs.is_watched(it, &session_id));
            Ok(EventPushed { delivered })
        })
        .await
    }

    /// True while names of runs of the session may be on their way.
    async fn may_become_known(&self, session: &Session) -> bool {
        let Some(run_id) = session.active_run_id else { return false };
        if self.orchestrators.is_settled(&session.session_id, run_id) {
            return false;
        }
        let Ok(run) = self.runs.get(run_id).await else { return false };
        let worker = self.launcher.contexts().resolver_of(session).resolve(&run.pipeline_id);
        let spec = worker.map(|it| it.spec().clone());
        spec.is_some_and(|it| it.backend == Backend::Orchestrator || !it.requires.is_empty())
    }

    async fn refusal(&self, refused: PushRefused, session: &Session, run_id: String) -> PushEventError {
        match refused {
            PushRefused::Unknown => match self.over(session, &run_id).await {
                Some(over) => over.into(),
                None if self.may_become_known(session).await => RunNotKnownYet { run_id }.into(),
                None => RunNotFound { run_id: shown(&run_id) }.into(),
            },
            PushRefused::Ended => RunOver { run_id, ended: true }.into(),
            PushRefused::Ending => RunOver { run_id, ended: false }.into(),
            PushRefused::Renamed => {
                let problem = "gives the run another name than it has".to_owned();
                MalformedField { field: "event", problem }.into()
            }
            PushRefused::BadRequest(error) => {
                MalformedField { field: "event", problem: error.to_string() }.into()
            }
            PushRefused::TooMany => TooManyRequests { run_id }.into(),
            PushRefused::Full => LogFull.into(),
            PushRefused::NotYet => NotWritten.into(),
        }
    }

    /// A run of the session that has ended and is named as we do.
    async fn over(&self, session: &Session, named: &str) -> Option<RunOver> {
        let run = self.runs.get(RunId::parse(named).ok()?).await.ok()?;
        let over = run.state.is_terminal() && run.session_id == session.session_id;
        over.then(|| RunOver { run_id: named.to_owned(), ended: true })
    }
}

fn shown(run_id: &str) -> String {
    run_id.chars().take(limits::REQUEST_ID_BYTES).collect()
}

impl Cause for RunOver {
    fn code(&self) -> Code {
        Code::Aborted
    }

    fn reason(&self) -> &'static str {
        if self.ended { "RUN_ENDED" } else { "RUN_ENDING" }
    }

    fn metadata(&self) -> Vec<(&'static str, String)> {
        vec![("run_id", self.run_id.clone())]
    }
}

impl Cause for RunNotKnownYet {
    fn code(&self) -> Code {
        Code::Unavailable
    }

    fn reason(&self) -> &'static str {
        "RUN_NOT_KNOWN_YET"
    }

    fn metadata(&self) -> Vec<(&'static str, String)> {
        vec![("run_id", self.run_id.clone())]
    }

    fn retry_delay(&self) -> Option<Duration> {
        Some(Duration::from_secs(1))
    }
}

impl Cause for TooManyRequests {
    fn code(&self) -> Code {
        Code::ResourceExhausted
    }

    fn reason(&self) -> &'static str {
        "TOO_MANY_REQUESTS"
    }

    fn metadata(&self) -> Vec<(&'static str, String)> {
        vec![("run_id", self.run_id.clone())]
    }

    fn retry_delay(&self) -> Option<Duration> {
        Some(Duration::from_secs(1))
    }
}

impl Cause for NotWritten {
    fn code(&self) -> Code {
        Code::Unavailable
    }

    fn reason(&self) -> &'static str {
        "RUN_LOG_UNAVAILABLE"
    }

    fn retry_delay(&self) -> Option<Duration> {
        Some(Duration::from_secs(5))
    }
}
