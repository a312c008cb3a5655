//! Takes up runs: from the accepted request to the terminal event.

use std::{path::PathBuf, sync::Arc, time::Duration};

use jiff::fmt::serde::unsigned_duration::friendly::compact::required as duration;
use serde::{Deserialize, Serialize};

use super::{Contexts, RunRequest, cache::Cache, execute::Executor, node::TimeLimits};
use crate::{
    model::{Command, Outcome, SessionId},
    run::WriterHandle,
    runtime::task::{self, TaskKind},
    session::Sessions,
};

/// How runs are executed.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RunnerSettings {
    /// Workers of one run at work at a time.
    pub parallel: usize,
    /// After this long a worker has failed, unless it sets a time of its own.
    #[serde(with = "duration")]
    pub timeout: Duration,
    /// From the request to stop to the use of force.
    #[serde(with = "duration")]
    pub cancel_grace: Duration,
}

/// Executes runs.
#[derive(Clone)]
pub struct Launcher {
    executor: Arc<Executor>,
    contexts: Contexts,
    sessions: Sessions,
}

impl Default for RunnerSettings {
    fn default() -> Self {
        Self { parallel: 4, timeout: Duration::from_secs(3600), cancel_grace: Duration::from_secs(5) }
    }
}

impl Launcher {
    /// Executes runs of `sessions`; outputs are kept below `artifacts`.
    pub fn new(
        settings: &RunnerSettings,
        artifacts: PathBuf,
        contexts: Contexts,
        sessions: Sessions,
    ) -> Self {
        let time_limits = TimeLimits { timeout: settings.timeout, grace: settings.cancel_grace };
        let executor =
            Executor { cache: Cache::new(artifacts), time_limits, parallel: settings.parallel.max(1) };
        Self { executor: Arc::new(executor), contexts, sessions }
    }

    /// The contexts that workers are given.
    pub fn contexts(&self) -> &Contexts {
        &self.contexts
    }

    /// Executes a run whose log has begun and whose session it holds. Returns when it has begun, so that whoever learns of
    /// the run from now on and cancels it meets its workers, which end before the session is let go and the run is over.
    pub async fn launch(&self, request: RunRequest, writer: WriterHandle) {
        let launcher = self.clone();
        let started = writer.apply(Command::Start).await.is_ok();
        task::spawn(TaskKind::RunExecution, async move { launcher.execute(request, writer, started).await });
    }

    /// Drops what was kept for a session that is gone: its context, its workers' outputs, its clones.
    pub async fn forget(&self, session_id: SessionId) {
        let repositories = self.contexts.forget(&session_id);
        if let Err(error) = repositories.forget(&session_id).await {
            tracing::warn!(%error, %session_id, "could not drop the clones of a session");
        }
        if let Err(error) = self.executor.cache.forget(&session_id).await {
            tracing::warn!(%error, %session_id, "could not drop the artifacts of a session");
        }
    }

    async fn execute(self, request: RunRequest, writer: WriterHandle, started: bool) {
        let request = Arc::new(request);
        let run_id = request.run_id;
        let session_id = request.session.session_id.clone();
        let context = self.contexts.of(&session_id);
        let (outcome, learnt) = if started {
            self.executor.execute(request, context, writer.clone()).await
        } else {
            // It has ended before, or its log is full.
            (Outcome::Cancelled, None)
        };
        // The session is free before the terminal event is seen: who answers at once must not find it busy.
        if let Err(error) = self.sessions.release(&session_id, run_id, learnt.as_ref()).await {
            tracing::error!(%error, %run_id, "could not release the session");
        }
        if let Err(error) = writer.apply(Command::Finish(outcome)).await {
            tracing::debug!(%error, %run_id, "the run had ended");
        }
    }
}
