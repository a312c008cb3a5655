//! The log in memory with scheduling points.

use std::{
    collections::BTreeMap,
    sync::{Mutex, atomic::Ordering},
};

use async_trait::async_trait;
use tokio::sync::watch;

use crate::{
    model::{Digest, Event, Run, RunId, SessionId},
    storage::{
        AppendError, CreateError, ListRuns, MemoryLimits, MemoryRunLog, NewRun, Newest, PlacedRun, ReadError,
        RunLog, RunPage, Slice, Trim, UsedKey,
    },
};

/// The log, with a scheduling point around each call.
pub(super) struct Stepped {
    log: MemoryRunLog,
    /// All that was ever appended to the run.
    appended: Mutex<Vec<Event>>,
    point: shuttle::sync::atomic::AtomicUsize,
}

impl Stepped {
    pub(super) fn new() -> Self {
        let limits = MemoryLimits { per_run: 1 << 20, total: 1 << 20 };
        let point = shuttle::sync::atomic::AtomicUsize::new(0);
        Self { log: MemoryRunLog::new(limits), appended: Mutex::default(), point }
    }

    /// Somebody else may go on here.
    fn step(&self) {
        self.point.load(Ordering::SeqCst);
    }

    async fn around<T>(&self, call: impl Future<Output = T>) -> T {
        self.step();
        let result = call.await;
        self.step();
        result
    }

    /// All that was ever appended to the run.
    pub(super) fn appended(&self) -> Vec<Event> {
        self.appended.lock().unwrap().clone()
    }
}

#[async_trait]
impl RunLog for Stepped {
    async fn create(&self, new: NewRun) -> Result<(), CreateError> {
        self.appended.lock().unwrap().extend(new.events.iter().cloned());
        self.around(self.log.create(new)).await
    }

    async fn append(&self, run: Run, expected: u64, events: Vec<Event>) -> Result<(), AppendError> {
        let appended = async {
            self.log.append(run, expected, events.clone()).await?;
            self.appended.lock().unwrap().extend(events);
            Ok(())
        };
        self.around(appended).await
    }

    async fn read(&self, run_id: RunId, after: u64, max_bytes: usize) -> Result<Slice, ReadError> {
        self.around(self.log.read(run_id, after, max_bytes)).await
    }

    async fn follow(&self, run_id: RunId) -> Result<watch::Receiver<Newest>, ReadError> {
        self.around(self.log.follow(run_id)).await
    }

    async fn follow_session(&self, session_id: &SessionId) -> watch::Receiver<u64> {
        self.around(self.log.follow_session(session_id)).await
    }

    async fn run(&self, run_id: RunId) -> Result<Run, ReadError> {
        self.around(self.log.run(run_id)).await
    }

    async fn params(&self, run_id: RunId) -> Result<BTreeMap<String, String>, ReadError> {
        self.around(self.log.params(run_id)).await
    }

    async fn used_key(&self, name: Digest) -> Option<UsedKey> {
        self.around(self.log.used_key(name)).await
    }

    async fn list(&self, request: ListRuns) -> Result<RunPage, ReadError> {
        self.around(self.log.list(request)).await
    }

    async fn placed_after(&self, session_id: &SessionId, after: u64, limit: usize) -> Vec<PlacedRun> {
        self.around(self.log.placed_after(session_id, after, limit)).await
    }

    async fn live(&self) -> Vec<RunId> {
        self.around(self.log.live()).await
    }

    async fn all(&self) -> Vec<RunId> {
        self.around(self.log.all()).await
    }

    async fn trim(&self, trim: Trim) {
        // Its task begins, or has just left the call before: that is the scheduling point.
        self.log.trim(trim).await;
        self.step();
    }
}
