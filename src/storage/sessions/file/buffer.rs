//! What callers and the writer share: the table, and the changes in it that are not written yet.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::{
    sync::{Semaphore, SemaphorePermit, watch},
    time::timeout,
};

use super::journal::Change;
use crate::{
    model::{Session, SessionId},
    storage::{PutError, Revision, StoreError, Stored, sessions::table::Table},
};

/// Changes that are not in the journal yet. When as many wait, the next one waits for the writer. Some thousand sessions
/// of about 1 KiB: a few MiB, and what some milliseconds bring when all is well.
const CHANGES: usize = 4096;

/// How long a change waits for the writer before it fails. Long enough for a busy disk, shorter than callers wait.
const PUT_PATIENCE: Duration = Duration::from_secs(5);

/// How long a flush waits before it fails. Several tries to write fit in.
const FLUSH_PATIENCE: Duration = Duration::from_secs(10);

/// The table and the buffer behind it. Held by callers and by the threads that write.
#[derive(Debug)]
pub(super) struct Buffer {
    state: Mutex<State>,
    /// Signalled when there is something to do for the writer.
    wake: Condvar,
    /// One permit for each change that still fits.
    room: Semaphore,
    /// The newest flush that is done.
    flushed: watch::Sender<u64>,
}

/// What the writer takes up at a time.
#[derive(Debug)]
pub(super) struct Work {
    /// In the order they were made in.
    pub(super) changes: Vec<Change>,
    /// The newest flush that was asked for; done once everything up to here would survive.
    pub(super) flush: u64,
}

#[derive(Debug)]
struct State {
    table: Table,
    waiting: Vec<Change>,
    flushes: u64,
    /// True while the writer sleeps until there is work. When it writes or lets changes gather, one more is no reason to
    /// wake it: it looks for more before it sleeps.
    sleeps: bool,
    poked: bool,
    closed: bool,
}

#[derive(Debug, thiserror::Error)]
enum Overdue {
    #[error("{CHANGES} changes wait to be written, and none was written for {PUT_PATIENCE:?}")]
    Put,
    #[error("not everything was written within {FLUSH_PATIENCE:?}")]
    Flush,
}

impl Buffer {
    pub(super) fn new(table: Table) -> Self {
        let state =
            State { table, waiting: Vec::new(), flushes: 0, sleeps: false, poked: false, closed: false };
        Self {
            state: Mutex::new(state),
            wake: Condvar::new(),
            room: Semaphore::new(CHANGES),
            flushed: watch::Sender::new(0),
        }
    }

    pub(super) fn get(&self, session_id: &SessionId) -> Option<Stored> {
        self.state().table.get(session_id)
    }

    pub(super) fn count(&self) -> usize {
        self.state().table.len()
    }

    pub(super) fn unused_since(&self, instant: jiff::Timestamp) -> Vec<Stored> {
        self.state().table.unused_since(instant)
    }

    pub(super) async fn put(&self, session: Session, expected: Revision) -> Result<Revision, PutError> {
        let room = self.room().await?;
        let mut state = self.state();
        let stored = state.table.put(session, expected)?;
        let revision = stored.revision;
        state.waiting.push(Change::Put(stored));
        room.forget();
        self.changed(&state);
        Ok(revision)
    }

    pub(super) async fn delete(&self, session_id: &SessionId, expected: Revision) -> Result<(), PutError> {
        let room = self.room().await?;
        let mut state = self.state();
        if let Some(revision) = state.table.delete(session_id, expected)? {
            state.waiting.push(Change::Delete { session_id: session_id.clone(), revision });
            room.forget();
            self.changed(&state);
        }
        Ok(())
    }

    pub(super) async fn flush(&self) -> Result<(), StoreError> {
        let mut flushed = self.flushed.subscribe();
        let asked = {
            let mut state = self.state();
            state.flushes += 1;
            self.wake.notify_one();
            state.flushes
        };
        let done = timeout(FLUSH_PATIENCE, flushed.wait_for(|it| *it >= asked)).await;
        done.map(drop).map_err(|_| overdue(Overdue::Flush))
    }

    /// No more changes will come. The writer ends when it has written all.
    pub(super) fn close(&self) {
        self.state().closed = true;
        self.wake.notify_one();
    }

    /// Makes the writer look around.
    pub(super) fn poke(&self) {
        self.state().poked = true;
        self.wake.notify_one();
    }

    /// Returns when there is work beyond flush `flush`, when the writer was poked, at `deadline`, and once the buffer
    /// is closed; tells whether it is. Unless `for_work`, work is no reason: the writer is holding back.
    pub(super) fn wait(&self, flush: u64, for_work: bool, deadline: Option<Instant>) -> bool {
        let mut state = self.state();
        loop {
            let work = for_work && (!state.waiting.is_empty() || state.flushes > flush);
            if std::mem::take(&mut state.poked) || state.closed || work {
                return state.closed;
            }
            let left = deadline.map(|it| it.saturating_duration_since(Instant::now()));
            if left.is_some_and(|it| it.is_zero()) {
                return state.closed;
            }
            state.sleeps = true;
            state = match left {
                None => self.wake.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(left) => self.wake.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
            };
            state.sleeps = false;
        }
    }

    /// Returns after `time`, in which changes gather; earlier when somebody waits for a flush beyond `flush`, and once the
    /// buffer is closed.
    pub(super) fn gather(&self, flush: u64, time: Duration) {
        let until = Instant::now() + time;
        let mut state = self.state();
        while state.flushes <= flush && !state.closed {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = self.wake.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Takes all changes that wait. They still count as waiting until [`Self::written`].
    pub(super) fn take(&self) -> Work {
        let mut state = self.state();
        Work { changes: std::mem::take(&mut state.waiting), flush: state.flushes }
    }

    /// So many changes are in the journal: as many more may come.
    pub(super) fn written(&self, changes: usize) {
        self.room.add_permits(changes);
    }

    /// Flush `flush` and those before it are done.
    pub(super) fn flushed(&self, flush: u64) {
        self.flushed.send_if_modified(|it| {
            let newer = *it < flush;
            *it = flush.max(*it);
            newer
        });
    }

    /// All sessions, and so all changes acknowledged before.
    pub(super) fn rows(&self) -> Vec<Stored> {
        self.state().table.rows()
    }

    fn changed(&self, state: &State) {
        if state.sleeps {
            self.wake.notify_one();
        }
    }

    async fn room(&self) -> Result<SemaphorePermit<'_>, StoreError> {
        let room = timeout(PUT_PATIENCE, self.room.acquire()).await;
        room.ok().and_then(Result::ok).ok_or_else(|| overdue(Overdue::Put))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn overdue(cause: Overdue) -> StoreError {
    StoreError(Box::new(cause))
}
