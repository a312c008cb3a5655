//! All runs: the live ones by their writers, the ended ones by their logs.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::{
    CursorOutOfRange, EmitError, LogFull, RunNotFound, StartWriterError, Watch, WatchError, WriterHandle,
    writer::Writer,
};
use crate::{
    model::{Command, Position, Refused, RequestId, Run, RunId, RunMachine, RunState, SessionId, WorkerKey},
    runtime::{
        clock,
        shutdown::Shutdown,
        task::{self, TaskKind},
    },
    storage::{CreateError, ListRuns, ReadError, RunLog, RunPage},
};

/// The map from run id to channel. Bounded by the log: a live run has a log, and the log has bounds.
#[derive(Clone)]
pub struct Runs {
    log: Arc<dyn RunLog>,
    live: Arc<Mutex<HashMap<RunId, WriterHandle>>>,
    shutdown: Shutdown,
}

impl Runs {
    /// Runs whose events are kept in `log`.
    pub fn new(log: Arc<dyn RunLog>, shutdown: Shutdown) -> Self {
        Self { log, live: Arc::default(), shutdown }
    }

    /// Begins the log of a new run and starts its writer.
    pub async fn create(
        &self,
        run_id: RunId,
        session_id: SessionId,
        pipeline_id: WorkerKey,
    ) -> Result<WriterHandle, StartWriterError> {
        let (machine, first) = RunMachine::create(run_id, session_id, pipeline_id, clock::now());
        let created = self.log.create(machine.run().clone(), vec![first]).await;
        created.map_err(|error| match error {
            CreateError::Exists => StartWriterError::Exists(run_id),
            CreateError::Full => LogFull.into(),
        })?;
        let (writer, handle) = Writer::new(machine, self.log.clone());
        self.live().insert(run_id, handle.clone());
        let runs = self.clone();
        task::spawn(TaskKind::RunWriter, async move {
            writer.run().await;
            runs.live().remove(&run_id);
        });
        Ok(handle)
    }

    /// What is known of a run beside its log.
    pub async fn get(&self, run_id: RunId) -> Result<Run, RunNotFound> {
        self.log.run(run_id).await.map_err(|error| not_found(run_id, &error))
    }

    /// Runs of a session, newest first.
    pub async fn list(&self, request: ListRuns) -> RunPage {
        self.log.list(request).await
    }

    /// Asks a run to stop; gives its state afterwards. A run that has ended keeps its state.
    pub async fn cancel(&self, run_id: RunId, reason: String) -> Result<RunState, RunNotFound> {
        let writer = self.live().get(&run_id).cloned();
        if let Some(writer) = writer
            && let Ok(state) = writer.apply(Command::Cancel { reason }).await
        {
            return Ok(state);
        }
        Ok(self.get(run_id).await?.state)
    }

    /// Hands the person's answer to a run that waits for it.
    pub async fn answer(
        &self,
        run_id: RunId,
        request: Option<RequestId>,
        text: String,
    ) -> Result<RunState, EmitError> {
        let writer = self.live().get(&run_id).cloned();
        match writer {
            Some(writer) => writer.answer(request, text).await,
            None => Err(EmitError::Refused(Refused::NotWaiting)),
        }
    }

    /// Begins to read a run's log at `position`.
    pub async fn watch(&self, run_id: RunId, position: Position) -> Result<Watch, WatchError> {
        let missing = |error| WatchError::NotFound(not_found(run_id, &error));
        // Subscribed before the end is read, so that nothing can slip in between.
        let hints = self.log.follow(run_id).await.map_err(missing)?;
        let run = self.log.run(run_id).await.map_err(missing)?;
        let last_sequence = run.last_sequence;
        let after = match position {
            Position::Start => 0,
            Position::Now => last_sequence,
            Position::After(sequence) if sequence <= last_sequence => sequence,
            Position::After(_) => return Err(CursorOutOfRange { run_id, last_sequence }.into()),
        };
        let at_end = run.state.is_terminal() && last_sequence == after;
        Ok(Watch::new(self.log.clone(), run_id, after, at_end, hints, self.shutdown.draining.clone()))
    }

    /// Asks all live runs to stop and waits until they have ended, at most twice the `grace` their workers have.
    pub async fn cancel_all(&self, reason: &str, grace: Duration) {
        let writers: Vec<_> = self.live().values().cloned().collect();
        let ended = futures::future::join_all(writers.iter().map(|writer| async {
            let _state = writer.apply(Command::Cancel { reason: reason.to_owned() }).await;
            writer.ended().await;
        }));
        if tokio::time::timeout(grace * 2, ended).await.is_err() {
            tracing::warn!("some runs have not ended");
        }
    }

    fn live(&self) -> MutexGuard<'_, HashMap<RunId, WriterHandle>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn not_found(run_id: RunId, error: &ReadError) -> RunNotFound {
    match error {
        ReadError::NotFound => RunNotFound { run_id: run_id.to_string() },
    }
}
