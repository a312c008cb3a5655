//! One worker of a run: from the cache if its output is still good, else at work with a time limit, stopped by force
//! when it does not stop by itself.

use std::{sync::Arc, time::Duration};

use tokio::task::{JoinError, JoinHandle};
use tokio_util::sync::CancellationToken;

use super::{
    Emitter, Task, Worker, WorkerOutput,
    cache::{Cache, Fingerprint},
};
use crate::{
    model::{NodeState, RunError, WorkerKey},
    runtime::task::{self, TaskKind},
};

/// How long the end of a run waits for a worker that was dropped. Only one that blocks its thread takes longer.
const DROP_TIME: Duration = Duration::from_secs(1);

/// How long workers may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct TimeLimits {
    /// For a worker that sets no limit of its own.
    pub(super) timeout: Duration,
    /// From the request to stop to the use of force.
    pub(super) grace: Duration,
}

/// How a worker ended.
#[derive(Debug)]
pub(super) enum NodeEnd {
    Done(Arc<WorkerOutput>),
    Failed(RunError),
    Cancelled,
}

/// What a worker made, and whether it made it now.
struct Made {
    output: WorkerOutput,
    state: NodeState,
}

/// Runs a worker to its end and tells of its states on the way.
pub(super) async fn run_node(
    worker: Arc<dyn Worker>,
    task: Task,
    cache: &Cache,
    limits: TimeLimits,
) -> NodeEnd {
    let emitter = task.emitter.clone();
    // Events of a run that has ended meanwhile are not missed.
    drop(emitter.node(NodeState::Running, 0, "").await);
    let (end, state) = work(worker, task, cache.clone(), limits).await;
    emitter.withdraw().await;
    let (percent, error) = match &end {
        NodeEnd::Done(_) => (100, ""),
        NodeEnd::Failed(error) => (0, error.message.as_str()),
        NodeEnd::Cancelled => (0, ""),
    };
    drop(emitter.node(state, percent, error).await);
    end
}

async fn work(worker: Arc<dyn Worker>, task: Task, cache: Cache, limits: TimeLimits) -> (NodeEnd, NodeState) {
    let key = worker.spec().key.clone();
    let timeout = worker.spec().timeout.unwrap_or(limits.timeout);
    let cancel = task.cancel.clone();
    // Told to the worker alone, so that a worker that is out of time is stopped like one that is cancelled.
    let stop = cancel.child_token();
    let emitter = task.emitter.clone();
    let task = Task { cancel: stop.clone(), ..task };
    // All that is the worker's own happens in a task of its own, where a panic ends nothing else.
    let mut work = task::spawn(TaskKind::Worker, async move { make(&*worker, task, &cache).await });
    tokio::select! {
        ended = &mut work => return if cancel.is_cancelled() { cancelled() } else { end_of(ended) },
        () = cancel.cancelled() => {
            stop_work(&key, work, &stop, limits.grace, emitter.cancelled_at_once()).await;
            return cancelled();
        }
        () = worked(timeout, &emitter) => {}
    }
    stop_work(&key, work, &stop, limits.grace, emitter.cancelled_at_once()).await;
    let text = format!("the worker took longer than {}", Seconds(timeout));
    (NodeEnd::Failed(RunError::retryable("worker_timeout", text)), NodeState::Failed)
}

/// The output of an earlier run where it is still good, else a new one, which is kept where it may be.
async fn make(worker: &dyn Worker, task: Task, cache: &Cache) -> Result<Made, RunError> {
    let session_id = task.context.session_id().clone();
    let stop = task.cancel.clone();
    let fingerprint = fingerprint(worker, &task).await;
    if let Some(fingerprint) = &fingerprint
        && let Some(output) = cache.load(&session_id, worker.spec(), fingerprint).await
    {
        // What language models charged was charged to the earlier run.
        return Ok(Made { output: WorkerOutput { usage: None, ..output }, state: NodeState::Cached });
    }
    let output = worker.run(task).await?;
    if let Some(fingerprint) = fingerprint
        && !stop.is_cancelled()
    {
        cache.save(&session_id, worker.spec(), fingerprint, &output).await;
    }
    Ok(Made { output, state: NodeState::Succeeded })
}

async fn fingerprint(worker: &dyn Worker, task: &Task) -> Option<Fingerprint> {
    let version = worker.spec().cache_version.as_deref()?;
    let depends_on = worker.depends_on(task).await?;
    Some(Fingerprint::of(worker.spec(), version, task, &depends_on))
}

/// Returns when a worker has worked for so long. While it waits for an answer it does not work.
async fn worked(timeout: Duration, emitter: &Emitter) {
    let mut left = timeout;
    while !left.is_zero() {
        let before = emitter.waited();
        tokio::time::sleep(left).await;
        left = emitter.waited() - before;
    }
}

/// Asks the worker to stop, waits for the grace time, then drops it where it stands. `at_once` ends the grace time.
async fn stop_work<T>(
    key: &WorkerKey,
    mut work: JoinHandle<T>,
    stop: &CancellationToken,
    grace: Duration,
    at_once: &CancellationToken,
) {
    stop.cancel();
    tokio::select! {
        biased;
        _ = &mut work => return,
        () = at_once.cancelled() => {}
        () = tokio::time::sleep(grace) => {}
    }
    work.abort();
    // Joined, so that everything the worker held is let go before the run ends.
    if tokio::time::timeout(DROP_TIME, work).await.is_err() {
        tracing::warn!(worker = %key, "a worker blocks its thread and cannot be stopped; it is left behind");
    }
}

fn end_of(joined: Result<Option<Result<Made, RunError>>, JoinError>) -> (NodeEnd, NodeState) {
    let error = match joined {
        Ok(Some(Ok(Made { output, state }))) => return (NodeEnd::Done(Arc::new(output)), state),
        Ok(Some(Err(error))) => error,
        Ok(None) | Err(_) => RunError::permanent("worker_panicked", "the worker crashed"),
    };
    (NodeEnd::Failed(error), NodeState::Failed)
}

fn cancelled() -> (NodeEnd, NodeState) {
    (NodeEnd::Cancelled, NodeState::Cancelled)
}

struct Seconds(Duration);

impl std::fmt::Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} s", self.0.as_secs_f64())
    }
}
