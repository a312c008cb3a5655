//! Reading a run's log: catch up, follow, and on lag go back to the log. The one read function of all watchers.

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{ReadRunError, WatchEnd};
use crate::{
    model::{Entry, RunId, limits},
    storage::{ReadError, RunLog},
};

/// A watcher's place in a run's log. Holds no events between reads, so a slow watcher costs nothing.
pub struct Watch {
    log: Arc<dyn RunLog>,
    run_id: RunId,
    after: u64,
    at_end: bool,
    hints: watch::Receiver<u64>,
    draining: CancellationToken,
}

impl Watch {
    pub(super) fn new(
        log: Arc<dyn RunLog>,
        run_id: RunId,
        after: u64,
        at_end: bool,
        hints: watch::Receiver<u64>,
        draining: CancellationToken,
    ) -> Self {
        Self { log, run_id, after, at_end, hints, draining }
    }

    /// True when the terminal event has been read, or lay before the position the watch began at.
    pub fn at_end(&self) -> bool {
        self.at_end
    }

    /// The next events, as many as are there but bounded; waits for one when there are none. `None` after the
    /// terminal event.
    ///
    /// Cancel safe: a call that is dropped has read nothing.
    pub async fn next(&mut self) -> Option<Result<Vec<Arc<Entry>>, WatchEnd>> {
        while !self.at_end {
            if self.draining.is_cancelled() {
                return Some(Err(WatchEnd::Draining));
            }
            // Marked as seen before the log is read: an event that comes in between wakes the wait below.
            self.hints.mark_unchanged();
            let slice = match self.log.read(self.run_id, self.after, limits::WATCH_BATCH_BYTES).await {
                Ok(slice) => slice,
                Err(error) => return Some(Err(self.lost(&error))),
            };
            if let Some(last) = slice.entries.last() {
                self.after = last.event.sequence;
                self.at_end = last.event.kind.is_terminal();
                return Some(Ok(slice.entries));
            }
            tokio::select! {
                changed = self.hints.changed() => if changed.is_err() {
                    return Some(Err(self.lost(&ReadError::NotFound)));
                },
                () = self.draining.cancelled() => {}
            }
        }
        None
    }

    fn lost(&mut self, error: &ReadError) -> WatchEnd {
        self.at_end = true;
        ReadRunError::new(self.run_id, error).into()
    }
}
