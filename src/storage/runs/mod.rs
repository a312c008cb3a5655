//! Run logs: append, read, follow.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::watch;

use crate::model::{Digest, Entry, Event, IdempotencyKey, Run, RunId, SessionId};

mod by_session;
mod keys;
mod memory;
mod newest;
mod segments;
mod session_hints;

pub use memory::{MemoryLimits, MemoryRunLog};
pub use newest::Newest;
pub use segments::{OpenLogError, SegmentOptions, SegmentRunLog, SyncMode};

/// A run whose log is to begin.
#[derive(Debug, Clone)]
pub struct NewRun {
    /// The state after the first events.
    pub run: Run,
    /// The first events.
    pub events: Vec<Event>,
    /// The client's parameters, for those who have to start the run again.
    pub params: BTreeMap<String, String>,
    /// What the client named the request by. Taken in the same step: there is never a run without its key, nor a key
    /// without its run.
    pub key: Option<IdempotencyKey>,
}

/// What an idempotency key was used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UsedKey {
    /// The run that was started with it, even if it is no longer kept.
    pub run_id: RunId,
    /// The request that started it.
    pub request: Digest,
}

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

/// A run and its place in the order in which logs began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlacedRun {
    /// Higher than that of every run whose log was there before, dropped ones and those before a restart included.
    pub place: u64,
    /// The run.
    pub run_id: RunId,
}

/// What is no longer kept.
#[derive(Debug, Clone, Copy)]
pub struct Trim {
    /// Runs that ended before.
    pub ended_before: Timestamp,
    /// Idempotency keys that were used before.
    pub keys_before: Timestamp,
}

/// Why no log was made for a run.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// There is one already.
    #[error("the run exists already")]
    Exists,
    /// The idempotency key stands for another run.
    #[error("the idempotency key was used before")]
    KeyUsed(UsedKey),
    /// The log is full and nothing in it may be dropped.
    #[error("the run log is full")]
    Full,
    /// The log cannot be written at present.
    #[error("the run log cannot be written")]
    Unavailable(#[source] Arc<std::io::Error>),
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
    /// The log is closed: the process is about to end.
    #[error("the run log is closed")]
    Closed,
}

/// Why a log cannot be read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    /// There is no such run (any more).
    #[error("no such run")]
    NotFound,
    /// What comes next was damaged where it is stored. What comes before can be read.
    #[error("the log is damaged")]
    Damaged,
    /// It could not be read at this time.
    #[error("the log cannot be read")]
    Failed(#[source] Arc<std::io::Error>),
}

/// Keeps the logs of runs, and what is known of each run beside its log.
#[async_trait]
pub trait RunLog: Send + Sync + 'static {
    /// Makes the log of a new run with its first events, and takes its idempotency key. All or nothing.
    async fn create(&self, new: NewRun) -> Result<(), CreateError>;

    /// Appends `events` if the log still ends at sequence `expected`; afterwards `run` is what is known of the run.
    /// All or nothing. Followers are woken after the events are there to be read.
    ///
    /// Returns when the events are as durable as the log makes them. While the log cannot be written it waits.
    async fn append(&self, run: Run, expected: u64, events: Vec<Event>) -> Result<(), AppendError>;

    /// The events after `after`, up to about `max_bytes` of them but at least one if there is one.
    async fn read(&self, run_id: RunId, after: u64, max_bytes: usize) -> Result<Slice, ReadError>;

    /// The end of the log, kept up to date. A hint: it may skip values, and it closes when the run is dropped. What it does
    /// not tell, [`RunLog::read`] gives.
    async fn follow(&self, run_id: RunId) -> Result<watch::Receiver<Newest>, ReadError>;

    /// Changes whenever a run of the session begins or gets events. A hint, like [`RunLog::follow`].
    async fn follow_session(&self, session_id: &SessionId) -> watch::Receiver<u64>;

    /// What is known of a run beside its log.
    async fn run(&self, run_id: RunId) -> Result<Run, ReadError>;

    /// The parameters that a run was started with.
    async fn params(&self, run_id: RunId) -> Result<BTreeMap<String, String>, ReadError>;

    /// What an idempotency key was used for, as long as keys are remembered.
    async fn used_key(&self, name: Digest) -> Option<UsedKey>;

    /// Runs of a session, newest first.
    async fn list(&self, request: ListRuns) -> Result<RunPage, ReadError>;

    /// Runs of a session with a place above `after`, in the order of their places, at most `limit`.
    async fn placed_after(&self, session_id: &SessionId, after: u64, limit: usize) -> Vec<PlacedRun>;

    /// Runs without a terminal event, in the order of their places: after opening, those that the end of the process cut
    /// short.
    async fn live(&self) -> Vec<RunId>;

    /// All runs, in the order of their places.
    async fn all(&self) -> Vec<RunId>;

    /// Drops what is no longer kept. Never a live run.
    async fn trim(&self, trim: Trim);
}
