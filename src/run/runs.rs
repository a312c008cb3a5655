//! All runs: the live ones by their writers, the ended ones by their logs.

use std::{
    collections::{BTreeMap, HashMap},
    io::ErrorKind,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::{
    CursorOutOfRange, EmitError, LogFull, LogUnavailable, ReadRunError, StartWriterError, Watch, WatchError,
    WriterHandle, writer::Writer,
};
use crate::{
    model::{
        Command, IdempotencyKey, Position, Refused, RequestId, Run, RunId, RunMachine, RunState, SessionId,
        WorkerKey,
    },
    runtime::{
        clock,
        shutdown::Shutdown,
        task::{self, TaskKind},
    },
    storage::{CreateError, ListRuns, NewRun, ReadError, RunLog, RunPage, UsedKey},
};

/// The map from run id to channel. Bounded by the log: a live run has a log, and the log has bounds.
#[derive(Clone)]
pub struct Runs {
    log: Arc<dyn RunLog>,
    live: Arc<Mutex<HashMap<RunId, WriterHandle>>>,
    shutdown: Shutdown,
}

/// What begins the log of a run.
#[derive(Debug, Clone)]
pub struct BeginLog {
    /// Names the run.
    pub run_id: RunId,
    /// The session it was started in.
    pub session_id: SessionId,
    /// The worker at the end of its DAG.
    pub pipeline_id: WorkerKey,
    /// The client's parameters.
    pub params: BTreeMap<String, String>,
    /// What the client named the request by.
    pub key: Option<IdempotencyKey>,
}

impl Runs {
    /// Runs whose events are kept in `log`.
    pub fn new(log: Arc<dyn RunLog>, shutdown: Shutdown) -> Self {
        Self { log, live: Arc::default(), shutdown }
    }

    /// Begins the log of a new run and starts its writer.
    pub async fn create(&self, begun: BeginLog) -> Result<WriterHandle, StartWriterError> {
        let BeginLog { run_id, session_id, pipeline_id, params, key } = begun;
        let (machine, first) = RunMachine::create(run_id, session_id, pipeline_id, clock::now());
        let new = NewRun { run: machine.run().clone(), events: vec![first], params, key };
        self.log.create(new).await.map_err(|error| match error {
            CreateError::Exists => StartWriterError::Exists(run_id),
            CreateError::KeyUsed(used) => StartWriterError::KeyUsed(used),
            CreateError::Full => LogFull.into(),
            CreateError::Unavailable(error) => {
                let disk_full = matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded);
                LogUnavailable { disk_full }.into()
            }
        })?;
        Ok(self.start_writer(machine))
    }

    /// The runs that the end of the process before this one cut short, in the order of their making.
    pub async fn cut_short(&self) -> Vec<RunId> {
        self.log.live().await
    }

    /// Starts the writer of a run that was cut short, with the parameters that the run was started with.
    pub async fn take_up(
        &self,
        run_id: RunId,
    ) -> Result<(WriterHandle, Run, BTreeMap<String, String>), ReadRunError> {
        let unread = |error| ReadRunError::new(run_id, &error);
        let run = self.log.run(run_id).await.map_err(unread)?;
        let params = self.log.params(run_id).await.map_err(unread)?;
        let newest = run.last_sequence.saturating_sub(1);
        let newest = self.log.read(run_id, newest, 1).await.map_err(unread)?;
        let progress = newest.entries.last().map_or(0, |it| it.event.progress_percent);
        Ok((self.start_writer(RunMachine::restore(run.clone(), progress)), run, params))
    }

    /// What an idempotency key was used for.
    pub async fn used_key(&self, key: &IdempotencyKey) -> Option<UsedKey> {
        self.log.used_key(key.name).await
    }

    fn start_writer(&self, machine: RunMachine) -> WriterHandle {
        let run_id = machine.run().run_id;
        let (writer, handle) = Writer::new(machine, self.log.clone());
        self.live().insert(run_id, handle.clone());
        let runs = self.clone();
        task::spawn(TaskKind::RunWriter, async move {
            writer.run().await;
            runs.live().remove(&run_id);
        });
        handle
    }

    /// What is known of a run beside its log.
    pub async fn get(&self, run_id: RunId) -> Result<Run, ReadRunError> {
        self.log.run(run_id).await.map_err(|error| ReadRunError::new(run_id, &error))
    }

    /// Runs of a session, newest first.
    pub async fn list(&self, request: ListRuns) -> Result<RunPage, ReadError> {
        self.log.list(request).await
    }

    /// Asks a run to stop; gives its state afterwards. A run that has ended keeps its state.
    pub async fn cancel(&self, run_id: RunId, reason: String) -> Result<RunState, ReadRunError> {
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
        let missing = |error| WatchError::Read(ReadRunError::new(run_id, &error));
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
