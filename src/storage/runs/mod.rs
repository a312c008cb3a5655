//! Run logs: append, read, follow.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::watch;

use crate::model::{Entry, Event, Run, RunId, SessionId};

mod memory;

pub use memory::{MemoryLimits, MemoryRunLog};

/// A stretch of a run's log.
#[derive(Debug, Clone)]
pub struct Slice {
    /// The events after the asked sequence, in order; empty when there are none yet.
    pub entries: Vec<Arc<Entry>>,
    /// The newest committed sequence of the run at the time of reading.
    pub last_sequence: u64,
}

/// Which runs to list.
#[derive(Debug, Clone)]
pub struct ListRuns {
    /// Of this session.
    pub session_id: SessionId,
    /// Only runs made before this one.
    pub before: Option<RunId>,
    /// At most so many.
    pub limit: usize,
}

/// Runs of a session, newest first.
#[derive(Debug, Clone)]
pub struct RunPage {
    /// The runs.
    pub runs: Vec<Run>,
    /// True when there are older ones.
    pub more: bool,
}

/// Why no log was made for a run.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// There is one already.
    #[error("the run exists already")]
    Exists,
    /// The log is full and nothing in it may be dropped.
    #[error("the run log is full")]
    Full,
}

/// Why events were not appended.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The run's log does not exist (any more).
    #[error("no such run")]
    NotFound,
    /// Another writer has appended.
    #[error("the log ends at {actual}, not at {expected}")]
    Conflict {
        /// Where the caller thought it ends.
        expected: u64,
        /// Where it ends.
        actual: u64,
    },
    /// The run's share, or the whole log, is full. A terminal event is always taken.
    #[error("the run log is full")]
    Full,
}

/// Why a log cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There is no such run (any more).
    #[error("no such run")]
    NotFound,
}

/// Keeps the logs of runs, and what is known of each run beside its log.
#[async_trait]
pub trait RunLog: Send + Sync + 'static {
    /// Makes the log of a new run with its first events. `run` is the state after them.
    async fn create(&self, run: Run, events: Vec<Event>) -> Result<(), CreateError>;

    /// Appends `events` if the log still ends at sequence `expected`; afterwards `run` is what is known of the run.
    /// All or nothing. Followers are woken after the events are there to be read.
    async fn append(&self, run: Run, expected: u64, events: Vec<Event>) -> Result<(), AppendError>;

    /// The events after `after`, up to about `max_bytes` of them but at least one if there is one.
    async fn read(&self, run_id: RunId, after: u64, max_bytes: usize) -> Result<Slice, ReadError>;

    /// The newest committed sequence, kept up to date. A hint: it may skip values, and it closes when the run is
    /// dropped. What counts is what [`RunLog::read`] gives.
    async fn follow(&self, run_id: RunId) -> Result<watch::Receiver<u64>, ReadError>;

    /// What is known of a run beside its log.
    async fn run(&self, run_id: RunId) -> Result<Run, ReadError>;

    /// Runs of a session, newest first.
    async fn list(&self, request: ListRuns) -> RunPage;

    /// Drops runs that ended before `instant`. Never a live one.
    async fn drop_ended_before(&self, instant: jiff::Timestamp);
}
