//! All runs: the live ones by their writers, the ended ones by their logs.

use std::{
    collections::{BTreeMap, HashMap, hash_map::Entry},
    io::ErrorKind,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::{
    AnswerError, EmitError, LogFull, LogUnavailable, ReadRunError, SessionRuns, SessionWatch,
    StartWriterError, Watch, WatchError, WatchSessionError, WatchSettings, WriterHandle,
    audience::{Audience, Watched},
    reader::Reader,
    relay::Relays,
    writer::Writer,
};
use crate::{
    model::{
        Answer, Closed, Closing, Command, Event, IdempotencyKey, Position, Refused, RequestKey, Requests,
        Run, RunId, RunMachine, RunState, SessionId, SessionPosition, Stop, WorkerKey, limits,
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
    watching: WatchSettings,
    relays: Relays,
    audience: Audience,
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
    /// Whether the run is cancelled when nobody watches it any more.
    pub cancel_on_disconnect: bool,
    /// Whether its workers begin at once, which the log then tells from its beginning on. Else it waits for its turn.
    pub at_once: bool,
}

/// A run that was cut short, with a writer again.
#[derive(Debug)]
pub struct TakenUp {
    /// Its writer.
    pub writer: WriterHandle,
    /// What was known of it when it was cut short.
    pub run: Run,
    /// The parameters that it was started with.
    pub params: BTreeMap<String, String>,
    /// What is stored of it is damaged. It can be ended and no more: what comes now lies beyond the damage.
    pub damaged: bool,
}

/// What has become of the work at a run that was cut short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// It ended with the gateway.
    Gone,
    /// Somebody else does it, and goes on.
    GoesOn,
}

impl Runs {
    /// Runs whose events are kept in `log`.
    pub fn new(log: Arc<dyn RunLog>, shutdown: Shutdown) -> Self {
        let watching = WatchSettings::default();
        Self {
            relays: Relays::new(log.clone(), watching.coalesce),
            log,
            live: Arc::default(),
            watching,
            audience: Audience::default(),
            shutdown,
        }
    }

    /// The same, watched as set.
    #[must_use]
    pub fn watched(self, watching: WatchSettings) -> Self {
        Self { watching, relays: Relays::new(self.log.clone(), watching.coalesce), ..self }
    }

    /// Begins the log of a new run and starts its writer.
    pub async fn create(&self, begun: BeginLog) -> Result<WriterHandle, StartWriterError> {
        let BeginLog { run_id, session_id, pipeline_id, params, key, cancel_on_disconnect, at_once } = begun;
        let now = clock::now();
        let (machine, first) = RunMachine::create(run_id, session_id, pipeline_id, now);
        let mut machine = machine.cancelled_on_disconnect(cancel_on_disconnect);
        let mut events = vec![first];
        if at_once {
            // Refused only to a run that is not new.
            events.extend(machine.apply(Command::Start, now).unwrap_or_default());
        }
        let new = NewRun { run: machine.run().clone(), events, params, key };
        let begun = machine.run().clone();
        let (writer, handle) = Writer::new(machine, self.log.clone());
        // Known before its log is: who sees the first event there may cancel the run at once.
        match self.live().entry(run_id) {
            Entry::Occupied(_) => return Err(StartWriterError::Exists(run_id)),
            Entry::Vacant(place) => drop(place.insert(handle.clone())),
        }
        if let Err(error) = self.log.create(new).await {
            self.live().remove(&run_id);
            return Err(match error {
                CreateError::Exists => StartWriterError::Exists(run_id),
                CreateError::KeyUsed(used) => StartWriterError::KeyUsed(used),
                CreateError::Full => LogFull.into(),
                CreateError::Unavailable(error) => {
                    let disk_full = matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded);
                    LogUnavailable { disk_full }.into()
                }
            });
        }
        self.start_writer(&begun, writer, &handle);
        Ok(handle)
    }

    /// The runs that the end of the process before this one cut short, in the order of their making.
    pub async fn cut_short(&self) -> Vec<RunId> {
        self.log.live().await
    }

    /// Starts the writer of a run that was cut short: one whose workers are gone with their process or, as `work` says, one
    /// at which somebody is still at work, who waits for what is asked.
    pub async fn take_up(&self, run_id: RunId, work: Work) -> Result<TakenUp, ReadRunError> {
        let unread = |error| ReadRunError::new(run_id, &error);
        let run = self.log.run(run_id).await.map_err(unread)?;
        let params = self.log.params(run_id).await;
        let newest = self.log.read(run_id, run.last_sequence.saturating_sub(1), 1).await;
        let damaged = [params.as_ref().err(), newest.as_ref().err()];
        let damaged = damaged.into_iter().flatten().any(|it| matches!(it, ReadError::Damaged));
        let (params, newest) = if damaged {
            // Nobody reads beyond the damage, so nobody sees that the progress falls.
            (params.unwrap_or_default(), None)
        } else {
            (params.map_err(unread)?, newest.map_err(unread)?.entries.pop())
        };
        let progress = newest.map_or(0, |it| it.event.progress_percent);
        let machine = RunMachine::restore(run.clone(), progress);
        let machine = match work {
            Work::GoesOn if !damaged => machine.asking(self.requests_of(run_id).await?),
            _ => machine,
        };
        let (writer, handle) = Writer::new(machine, self.log.clone());
        self.live().insert(run_id, handle.clone());
        self.start_writer(&run, writer, &handle);
        Ok(TakenUp { writer: handle, run, params, damaged })
    }

    /// What an idempotency key was used for.
    pub async fn used_key(&self, key: &IdempotencyKey) -> Option<UsedKey> {
        self.log.used_key(key.name).await
    }

    fn start_writer(&self, run: &Run, writer: Writer, handle: &WriterHandle) {
        if run.cancel_on_disconnect {
            let (session_id, grace) = (run.session_id.clone(), self.watching.disconnect_grace);
            let gone = self.audience.clone().cancel_when_gone(handle.clone(), session_id, grace);
            task::spawn(TaskKind::RunGuard, gone);
        }
        let (runs, run_id) = (self.clone(), run.run_id);
        task::spawn(TaskKind::RunWriter, async move {
            writer.run().await;
            runs.live().remove(&run_id);
        });
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

    /// Hands an answer to the run that waits for it. Without a name the person's oldest open question is meant. The same
    /// answer again is taken, also when the run has ended.
    pub async fn answer(
        &self,
        run_id: RunId,
        request: Option<RequestKey>,
        answer: Answer,
    ) -> Result<(), AnswerError> {
        let writer = self.live().get(&run_id).cloned();
        if let Some(writer) = writer {
            match writer.close(request.clone(), Closing::Answered(answer.clone())).await {
                Ok(_) => return Ok(()),
                Err(EmitError::Refused(Refused::Ended(_)) | EmitError::Gone) => {}
                Err(EmitError::Refused(_)) => return Err(AnswerError::NotPending),
                Err(EmitError::Full) => return Err(LogFull.into()),
            }
        }
        let mut requests = self.requests_of(run_id).await?;
        let closed = request.map(|it| requests.close(&it, &Closing::Answered(answer)));
        match closed {
            Some(Ok(Closed::Before)) => Ok(()),
            _ => Err(AnswerError::NotPending),
        }
    }

    /// What the log of a run tells of what it asked.
    async fn requests_of(&self, run_id: RunId) -> Result<Requests, ReadRunError> {
        let mut requests = Requests::default();
        self.fold(run_id, |event| requests.replay(&event.kind)).await?;
        Ok(requests)
    }

    /// Shows `take` all events of a run that are there, in order, and keeps none of them.
    pub async fn fold(&self, run_id: RunId, mut take: impl FnMut(&Event)) -> Result<(), ReadRunError> {
        let mut after = 0;
        loop {
            let read = self.log.read(run_id, after, limits::WATCH_BATCH_BYTES).await;
            let read = read.map_err(|error| ReadRunError::new(run_id, &error))?;
            let Some(last) = read.entries.last() else { return Ok(()) };
            after = last.event.sequence;
            read.entries.iter().for_each(|it| take(&it.event));
        }
    }

    /// True while somebody watches the run, or its session.
    pub fn is_watched(&self, run_id: RunId, session_id: &SessionId) -> bool {
        self.audience.is_there(&[Watched::Run(run_id), Watched::Session(session_id.clone())])
    }

    /// Begins to read a run's log at `position`.
    pub async fn watch(&self, run_id: RunId, position: Position) -> Result<Watch, WatchError> {
        let present = self.audience.join(Watched::Run(run_id));
        let hints = self.relays.follow(run_id).await.map_err(|error| ReadRunError::new(run_id, &error))?;
        let reader = Reader::told_by(hints, self.log.clone(), run_id, position).await?;
        Ok(Watch::new(reader, &self.shutdown.draining).counted(present))
    }

    /// Begins to read the logs of all runs of a session at `position`.
    pub async fn watch_session(
        &self,
        session_id: SessionId,
        position: SessionPosition,
    ) -> Result<SessionWatch, WatchSessionError> {
        let present = self.audience.join(Watched::Session(session_id.clone()));
        let watch = SessionWatch::open(
            self.log.clone(),
            session_id,
            position,
            self.watching,
            &self.shutdown.draining,
        )
        .await?;
        Ok(watch.counted(present))
    }

    /// Follows the runs of a session as they begin, from now on.
    pub async fn follow_session(&self, session_id: SessionId) -> SessionRuns {
        SessionRuns::open(self.log.clone(), session_id).await
    }

    /// Makes all live runs stop because the gateway ends, each as `stop` says, and waits until they have, at most twice
    /// the `grace` their workers have.
    pub async fn stop_all(&self, grace: Duration, stop: impl AsyncFn(&Run) -> Stop) {
        let writers: Vec<_> = self.live().values().cloned().collect();
        let stopped = futures::future::join_all(writers.iter().map(|writer| async {
            let stop = match self.log.run(writer.run_id()).await {
                Ok(run) => stop(&run).await,
                Err(_) => Stop::Interrupt,
            };
            // One that is refused has ended.
            let _state = writer.apply(Command::Stop(stop)).await;
            writer.ended().await;
        }));
        if tokio::time::timeout(grace * 2, stopped).await.is_err() {
            tracing::warn!("some runs have not ended");
        }
    }

    /// True when nobody watches and no run waits for that.
    #[cfg(test)]
    pub(super) fn audience_is_empty(&self) -> bool {
        self.audience.is_empty()
    }

    fn live(&self) -> MutexGuard<'_, HashMap<RunId, WriterHandle>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
