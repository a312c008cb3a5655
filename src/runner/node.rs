//! One worker of a run: from the cache if its output is still good, else at work with a time limit, stopped by force
//! when it does not stop by itself.

use std::{sync::Arc, time::Duration};

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{
    Task, Worker, WorkerOutput,
    cache::{Cache, Fingerprint},
};
use crate::{
    model::{NodeState, RunError},
    runtime::task::{self, TaskKind},
};

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
    let fingerprint = fingerprint(&*worker, &task).await;
    let session_id = task.context.session_id().clone();
    if let Some(fingerprint) = &fingerprint
        && let Some(output) = cache.load(&session_id, worker.spec(), fingerprint).await
    {
        drop(emitter.node(NodeState::Cached, 100, "").await);
        return NodeEnd::Done(Arc::new(output));
    }
    let end = work(worker.clone(), task, limits).await;
    if let (NodeEnd::Done(output), Some(fingerprint)) = (&end, fingerprint) {
        cache.save(&session_id, worker.spec(), fingerprint, output).await;
    }
    let told = match &end {
        NodeEnd::Done(_) => emitter.node(NodeState::Succeeded, 100, "").await,
        NodeEnd::Failed(error) => emitter.node(NodeState::Failed, 0, &error.message).await,
        NodeEnd::Cancelled => emitter.node(NodeState::Cancelled, 0, "").await,
    };
    drop(told);
    end
}

async fn fingerprint(worker: &dyn Worker, task: &Task) -> Option<Fingerprint> {
    let version = worker.spec().cache_version.as_deref()?;
    let depends_on = worker.depends_on(task).await?;
    Some(Fingerprint::of(worker.spec(), version, task, &depends_on))
}

async fn work(worker: Arc<dyn Worker>, task: Task, limits: TimeLimits) -> NodeEnd {
    let timeout = worker.spec().timeout.unwrap_or(limits.timeout);
    let cancel = task.cancel.clone();
    // Told to the worker alone, so that a worker that is out of time is stopped like one that is cancelled.
    let stop = cancel.child_token();
    let task = Task { cancel: stop.clone(), ..task };
    let mut work = task::spawn(TaskKind::Worker, async move { worker.run(task).await });
    tokio::select! {
        ended = &mut work => return if cancel.is_cancelled() { NodeEnd::Cancelled } else { end_of(ended) },
        () = cancel.cancelled() => {
            stop_work(work, &stop, limits.grace).await;
            return NodeEnd::Cancelled;
        }
        () = tokio::time::sleep(timeout) => {}
    }
    stop_work(work, &stop, limits.grace).await;
    let text = format!("the worker took longer than {}", Seconds(timeout));
    NodeEnd::Failed(RunError::retryable("worker_timeout", text))
}

/// Asks the worker to stop, waits for the grace time, then drops it where it stands.
async fn stop_work<T>(mut work: JoinHandle<T>, stop: &CancellationToken, grace: Duration) {
    stop.cancel();
    if tokio::time::timeout(grace, &mut work).await.is_err() {
        work.abort();
        // Joined, so that everything the worker held is let go before the run ends.
        drop(work.await);
    }
}

fn end_of(joined: Result<Option<Result<WorkerOutput, RunError>>, tokio::task::JoinError>) -> NodeEnd {
    match joined {
        Ok(Some(Ok(output))) => NodeEnd::Done(Arc::new(output)),
        Ok(Some(Err(error))) => NodeEnd::Failed(error),
        Ok(None) | Err(_) => NodeEnd::Failed(RunError::permanent("worker_panicked", "the worker crashed")),
    }
}

struct Seconds(Duration);

impl std::fmt::Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} s", self.0.as_secs_f64())
    }
}
