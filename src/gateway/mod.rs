//! The operations, one file each, free of any protocol.

mod cancel_run;
mod error;
mod follow_session;
mod get_run;
mod get_session;
mod idempotency;
mod init_run;
mod list_runs;
mod list_workers;
mod open_session;
mod push_event;
mod start_run;
mod submit_answer;
mod submit_run_input;
mod watch_run;
mod watch_session;

use std::sync::Arc;

use crate::{
    model::{RunId, Session, SessionId},
    run::Runs,
    runner::{Launcher, Orchestrators},
    runtime::{
        shutdown::Shutdown,
        task::{self, TaskKind},
    },
    session::Sessions,
};

use idempotency::KeyLocks;

pub use cancel_run::CancelRunError;
pub use error::{
    BadCursor, BadSessionCursor, Draining, Inner, MalformedField, MissingField, NotPending, OperationError,
    ReadSessionError, RunIdError, RunNotActive, SessionIdError, UnknownWorker,
};
pub use get_run::GetRunError;
pub use get_session::GetSessionError;
pub use idempotency::KeyReused;
pub use init_run::{InitRun, InitRunError, Initialized};
pub use list_runs::{ListRuns, ListRunsError, RunList};
pub use list_workers::{ListWorkersError, ListedWorker};
pub use open_session::{OpenSession, OpenSessionError};
pub use push_event::{
    EventPushed, NotWritten, PushEvent, PushEventError, RunNotKnownYet, RunOver, TooManyRequests,
};
pub use start_run::{StartRun, StartRunError};
pub use submit_answer::{SubmitAnswerError, SubmitApproval, SubmitToolResult};
pub use submit_run_input::{SubmitRunInput, SubmitRunInputError};
pub use watch_run::{WatchRun, WatchRunError};
pub use watch_session::{BeginSessionWatchError, SessionWatch, WatchSession};

// What a watch gives, for the protocols that encode it.
pub use crate::run::{SessionRuns, Watch, WatchEnd};
pub use crate::session::{IfBusy, session_cookie, session_id_of_cookies};

/// The gateway: everything a protocol can ask for. Clones share it.
#[derive(Clone)]
pub struct Gateway {
    sessions: Sessions,
    runs: Runs,
    launcher: Launcher,
    orchestrators: Orchestrators,
    key_locks: Arc<KeyLocks>,
    shutdown: Shutdown,
}

/// Who is asking, as far as the request tells.
#[derive(Debug, Clone, Default)]
pub struct Caller {
    /// The session named by the request's cookie.
    pub cookie_session: Option<SessionId>,
}

impl Gateway {
    /// A gateway of these parts.
    pub fn new(sessions: Sessions, runs: Runs, launcher: Launcher, shutdown: Shutdown) -> Self {
        let (orchestrators, key_locks) = Default::default();
        Self { sessions, runs, launcher, orchestrators, key_locks, shutdown }
    }

    /// The same, which hands on what is pushed to `orchestrators`.
    #[must_use]
    pub fn with_orchestrators(self, orchestrators: Orchestrators) -> Self {
        Self { orchestrators, ..self }
    }

    /// True until the gateway drains.
    pub fn is_ready(&self) -> bool {
        !self.shutdown.draining.is_given()
    }

    /// Set when the gateway drains: protocols end what never ends by itself.
    pub fn shutdown(&self) -> &Shutdown {
        &self.shutdown
    }

    fn check_open(&self) -> Result<(), Draining> {
        if self.is_ready() { Ok(()) } else { Err(Draining) }
    }
}

impl Caller {
    /// The session that a request names by its field or else by its cookie.
    fn session_id(&self, field: &str) -> Result<SessionId, SessionIdError> {
        match field.trim() {
            "" => self.cookie_session.clone().ok_or(MissingField("session_id").into()),
            text => Ok(error::session_id(text)?),
        }
    }
}

/// Runs a mutating operation to its end, even when its client hangs up meanwhile.
async fn complete<T, E>(operation: impl Future<Output = Result<T, E>> + Send + 'static) -> Result<T, E>
where
    T: Send + 'static,
    E: From<Inner> + Send + 'static,
{
    match task::spawn(TaskKind::Operation, operation).await {
        Ok(Some(result)) => result,
        Ok(None) | Err(_) => Err(Inner::new("the operation panicked").into()),
    }
}

/// Reads a run id that must be there.
fn required_run_id(text: &str) -> Result<RunId, RunIdError> {
    match text.trim() {
        "" => Err(MissingField("run_id").into()),
        text => Ok(error::run_id(text)?),
    }
}

/// A session as an operation answers with it.
pub type SharedSession = Arc<Session>;
