//! Takes up runs: from the accepted request to the terminal event.

use std::{
    collections::{HashMap, hash_map::Entry},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::future::BoxFuture;
use jiff::fmt::serde::unsigned_duration::friendly::compact::required as duration;
use serde::{Deserialize, Serialize};

use super::{Contexts, RunRequest, cache::Cache, execute::Executor, node::TimeLimits};
use crate::{
    model::{Command, Draft, EventKind, Outcome, RunId, Session, SessionId, SessionUpdate},
    run::{Work, WriterHandle},
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
    pub(super) executor: Arc<Executor>,
    pub(super) contexts: Contexts,
    pub(super) sessions: Sessions,
    held: Arc<Mutex<HashMap<RunId, Held>>>,
}

/// A run that waits for its session. Bounded by the runs that may wait for a session, and by the log.
enum Held {
    /// Its turn has not come.
    Waiting(RunRequest, WriterHandle),
    /// Its turn has come before it was here.
    Due(Arc<Session>),
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
        Self { executor: Arc::new(executor), contexts, sessions, held: Arc::default() }
    }

    /// The contexts that workers are given.
    pub fn contexts(&self) -> &Contexts {
        &self.contexts
    }

    /// Executes a run whose log has begun and whose session it holds. Returns when it has begun, so that whoever learns of
    /// the run from now on and cancels it meets its workers, which end before the session is let go and the run is over.
    pub fn launch(&self, request: RunRequest, writer: WriterHandle) -> BoxFuture<'static, ()> {
        let launcher = self.clone();
        // Boxed, because the end of a run launches the next one.
        Box::pin(async move {
            let started = writer.apply(Command::Start).await.is_ok();
            launcher.spawn(request, writer, started, Work::Gone);
        })
    }

    /// Executes a run whose log tells from its beginning on that its workers begin, and whose session it holds. Whoever has
    /// cancelled it since then has told its workers to stop.
    pub fn launch_begun(&self, request: RunRequest, writer: WriterHandle) {
        self.spawn(request, writer, true, Work::Gone);
    }

    /// Goes on with a run that had begun before the gateway was restarted and that is still worked at.
    pub(super) fn resume(&self, request: RunRequest, writer: WriterHandle) {
        self.spawn(request, writer, true, Work::GoesOn);
    }

    /// Keeps a run whose log has begun until its session is passed on to it.
    pub async fn hold(&self, request: RunRequest, writer: WriterHandle) {
        let ahead = request.session.waiting.iter().position(|it| *it == request.run_id).unwrap_or(0);
        tell_place(&writer, ahead).await;
        let due = match self.held().entry(request.run_id) {
            Entry::Occupied(due) => Some((due.remove(), request, writer)),
            Entry::Vacant(place) => {
                place.insert(Held::Waiting(request, writer));
                None
            }
        };
        if let Some((Held::Due(session), request, writer)) = due {
            self.launch(RunRequest { session, ..request }, writer).await;
        }
    }

    /// Takes the session back from a run and launches the one it is passed on to.
    pub async fn release(&self, session_id: &SessionId, run_id: RunId, learnt: Option<&SessionUpdate>) {
        // A run whose turn came before its log was there, and never will be.
        self.held().remove(&run_id);
        let session = match self.sessions.release(session_id, run_id, learnt).await {
            Ok(Some(session)) => session,
            Ok(None) => return,
            Err(error) => {
                tracing::error!(%error, %run_id, "could not release the session");
                return;
            }
        };
        let Some(next) = session.active_run_id.filter(|it| *it != run_id) else { return };
        let due = match self.held().entry(next) {
            Entry::Occupied(held) => Some(held.remove()),
            Entry::Vacant(place) => {
                place.insert(Held::Due(session.clone()));
                None
            }
        };
        if let Some(Held::Waiting(request, writer)) = due {
            self.launch(RunRequest { session: session.clone(), ..request }, writer).await;
        }
        self.tell_places(&session).await;
    }

    /// Tells the runs that wait for a session how many are still ahead of them.
    async fn tell_places(&self, session: &Session) {
        for (ahead, run_id) in session.waiting.iter().enumerate() {
            let writer = match self.held().get(run_id) {
                Some(Held::Waiting(_, writer)) => writer.clone(),
                _ => continue,
            };
            tell_place(&writer, ahead).await;
        }
    }

    fn held(&self) -> MutexGuard<'_, HashMap<RunId, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
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

    fn spawn(&self, request: RunRequest, writer: WriterHandle, started: bool, work: Work) {
        task::spawn(TaskKind::RunExecution, self.clone().execute(request, writer, started, work));
    }

    async fn execute(self, request: RunRequest, writer: WriterHandle, started: bool, work: Work) {
        let request = Arc::new(request);
        let run_id = request.run_id;
        let session_id = request.session.session_id.clone();
        let context = self.contexts.of(&session_id);
        let (outcome, learnt) = if started {
            self.executor.execute(request, context, writer.clone(), work).await
        } else {
            // It has ended before, or its log is full.
            (Outcome::Cancelled, None)
        };
        // The session is free before the terminal event is seen: who answers at once must not find it busy.
        self.release(&session_id, run_id, learnt.as_ref()).await;
        if learnt.is_some()
            && let Err(error) = self.sessions.flush().await
        {
            // Who sees that the run has ended counts on what it has learnt.
            tracing::warn!(%error, %run_id, "what a run has learnt may be lost");
        }
        if let Err(error) = writer.apply(Command::Finish(outcome)).await {
            tracing::debug!(%error, %run_id, "the run had ended");
        }
    }
}

/// Tells a run that waits for its session how many others are to run before it, beside the active one.
async fn tell_place(writer: &WriterHandle, ahead: usize) {
    let ahead = u32::try_from(ahead).unwrap_or(u32::MAX);
    let kind =
        EventKind::Queued { position: ahead.saturating_add(1), ahead, reason: "session_busy".to_owned() };
    // A run that was cancelled while it waited has ended.
    drop(writer.emit(Draft::new(kind, "waiting for the session's active run to end")).await);
}
