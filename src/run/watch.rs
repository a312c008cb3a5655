//! Reading a run's log: catch up, follow, and on lag go back to the log. The one read function of all watchers.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::{ReadRunError, WatchEnd, reader::Reader};
use crate::{model::Entry, storage::ReadError};

/// A watcher's place in a run's log. Holds no events between reads, so a slow watcher costs nothing.
pub struct Watch {
    reader: Reader,
    draining: CancellationToken,
}

impl Watch {
    pub(super) fn new(reader: Reader, draining: CancellationToken) -> Self {
        Self { reader, draining }
    }

    /// Merges deltas and drops superseded progress of what was there when the watch began. Until that has been told,
    /// the watch holds one event between reads.
    #[must_use]
    pub fn compact(mut self) -> Self {
        self.reader.compact();
        self
    }

    /// True when the terminal event has been read, or lay before the position the watch began at.
    pub fn at_end(&self) -> bool {
        self.reader.at_end()
    }

    /// The next events, as many as are there but bounded; waits for one when there are none. `None` after the
    /// terminal event.
    ///
    /// Cancel safe: a call that is dropped has read nothing.
    pub async fn next(&mut self) -> Option<Result<Vec<Arc<Entry>>, WatchEnd>> {
        while !self.reader.at_end() {
            if self.draining.is_cancelled() {
                return Some(Err(WatchEnd::Draining));
            }
            match self.reader.ready().await {
                Ok(entries) if entries.is_empty() => {}
                Ok(entries) => return Some(Ok(entries)),
                Err(error) => return Some(Err(self.lost(&error))),
            }
            let changed = tokio::select! {
                biased;
                changed = self.reader.changed() => changed,
                () = self.draining.cancelled() => Ok(()),
            };
            if let Err(error) = changed {
                return Some(Err(self.lost(&error)));
            }
        }
        None
    }

    fn lost(&mut self, error: &ReadError) -> WatchEnd {
        self.reader.close();
        ReadRunError::new(self.reader.run_id(), error).into()
    }
}
