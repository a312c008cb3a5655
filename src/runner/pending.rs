//! A worker's wait for an answer: it ends with the answer, with its deadline, or with the run.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::{sync::oneshot, time::Instant};

use crate::{
    model::{Answer, Closing, RequestKey, RequestKind},
    run::WriterHandle,
    runtime::clock,
};

/// How long a worker waits for answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deadlines {
    /// For the result of a client's tool.
    pub tool: Duration,
    /// For a decision.
    pub approval: Duration,
    /// For words of the person.
    pub input: Duration,
}

/// A request that waits for its answer.
#[must_use = "nobody waits for the answer"]
pub struct Pending {
    request: RequestKey,
    deadline: Timestamp,
    answer: oneshot::Receiver<Answer>,
    writer: WriterHandle,
    _waiting: Waiting,
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    /// Nobody answered before the deadline.
    #[error("nobody answered in time")]
    Expired,
    /// The run ended, or the worker was told to stop.
    #[error("the run waits no more")]
    Stopped,
}

/// How long a worker has waited for answers, which is not time that it has worked.
#[derive(Debug, Clone, Default)]
pub(super) struct Waits(Arc<Mutex<WaitTimes>>);

#[derive(Debug, Default)]
struct WaitTimes {
    /// Requests that are open.
    open: usize,
    /// Since when at least one is.
    since: Option<Instant>,
    /// Without the wait that goes on.
    total: Duration,
}

/// One wait that goes on.
struct Waiting(Waits);

impl Default for Deadlines {
    fn default() -> Self {
        let minutes = |it: u64| Duration::from_secs(60 * it);
        Self { tool: minutes(1), approval: minutes(10), input: minutes(10) }
    }
}

impl Deadlines {
    /// The time for answers of a kind.
    pub fn of(&self, kind: RequestKind) -> Duration {
        match kind {
            RequestKind::Tool => self.tool,
            RequestKind::Approval => self.approval,
            RequestKind::Input => self.input,
        }
    }
}

impl Pending {
    pub(super) fn new(
        request: RequestKey,
        deadline: Timestamp,
        answer: oneshot::Receiver<Answer>,
        writer: WriterHandle,
        waits: &Waits,
    ) -> Self {
        Self { request, deadline, answer, writer, _waiting: waits.begin() }
    }

    /// Waits. Of an answer and the deadline that come at the same time, the one that the log has first counts.
    pub async fn answer(mut self) -> Result<Answer, NoAnswer> {
        let left = Duration::try_from(self.deadline.duration_since(clock::now())).unwrap_or_default();
        tokio::select! {
            biased;
            answer = &mut self.answer => return answer.map_err(|_| NoAnswer::Stopped),
            () = tokio::time::sleep(left) => {}
        }
        match self.writer.close(Some(self.request), Closing::Expired).await {
            Ok(_) => Err(NoAnswer::Expired),
            // An answer came first, or the run has ended.
            Err(_) => self.answer.await.map_err(|_| NoAnswer::Stopped),
        }
    }
}

/// What a worker is told of how its request ended.
pub(super) fn outcome(closing: Closing) -> Result<Answer, NoAnswer> {
    match closing {
        Closing::Answered(answer) => Ok(answer),
        Closing::Expired => Err(NoAnswer::Expired),
        Closing::Withdrawn => Err(NoAnswer::Stopped),
    }
}

impl Waits {
    /// How long at least one request was open, until now.
    pub(super) fn total(&self) -> Duration {
        let times = self.lock();
        times.total + times.since.map_or(Duration::ZERO, |it| it.elapsed())
    }

    fn begin(&self) -> Waiting {
        let mut times = self.lock();
        times.open += 1;
        times.since.get_or_insert_with(Instant::now);
        Waiting(self.clone())
    }

    fn lock(&self) -> MutexGuard<'_, WaitTimes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut times = self.0.lock();
        times.open -= 1;
        if times.open == 0
            && let Some(since) = times.since.take()
        {
            times.total += since.elapsed();
        }
    }
}
