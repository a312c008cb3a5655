//! A place in one run's log: what every watch is made of.

use std::sync::Arc;

use tokio::sync::watch;

use super::{CursorOutOfRange, ReadRunError, WatchError};
use crate::{
    model::{Compactor, Entry, Position, RunId, Superseded, limits},
    storage::{Newest, ReadError, RunLog},
};

/// A place in a run's log. Holds no events between reads.
pub(super) struct Reader {
    log: Arc<dyn RunLog>,
    run_id: RunId,
    after: u64,
    at_end: bool,
    /// Where the log ended when the reader began.
    began_at: u64,
    /// Where the log ends as far as is known.
    newest: u64,
    hints: watch::Receiver<Newest>,
    catch_up: Option<CatchUp>,
    /// What is read from the log at a time.
    batch_bytes: usize,
}

/// A compact catch-up.
enum CatchUp {
    /// Looks what there is, so that it is known which progress is replaced by later progress.
    Looking { seen: u64, superseded: Superseded },
    /// Tells it.
    Telling(Compactor),
}

impl Reader {
    /// Begins to read the log of a run, and hears of news at once.
    pub(super) async fn open(
        log: Arc<dyn RunLog>,
        run_id: RunId,
        position: Position,
    ) -> Result<Self, WatchError> {
        let hints = log.follow(run_id).await.map_err(|error| ReadRunError::new(run_id, &error))?;
        Self::told_by(hints, log, run_id, position).await
    }

    /// Begins to read the log of a run, and hears of news by `hints`: those that come from now on.
    pub(super) async fn told_by(
        hints: watch::Receiver<Newest>,
        log: Arc<dyn RunLog>,
        run_id: RunId,
        position: Position,
    ) -> Result<Self, WatchError> {
        let missing = |error| WatchError::Read(ReadRunError::new(run_id, &error));
        // It is heard of news before the end is read, so that nothing can slip in between.
        let run = log.run(run_id).await.map_err(missing)?;
        let last_sequence = run.last_sequence;
        let after = match position {
            Position::Start => 0,
            Position::Now => last_sequence,
            Position::After(sequence) => sequence,
        };
        let ended = run.state.is_terminal();
        if ended {
            // What follows may be damaged: then nothing is at an end here, nor beyond it, and who asks is told before the
            // answer begins.
            log.read(run_id, after, 1).await.map_err(missing)?;
        }
        if after > last_sequence {
            return Err(CursorOutOfRange { run_id, last_sequence }.into());
        }
        let at_end = ended && last_sequence == after;
        Ok(Self {
            log,
            run_id,
            after,
            at_end,
            began_at: last_sequence,
            newest: last_sequence,
            hints,
            catch_up: None,
            batch_bytes: limits::WATCH_BATCH_BYTES,
        })
    }

    /// Tells what was there when the reader began compactly.
    pub(super) fn compact(&mut self) {
        if self.after < self.began_at {
            self.catch_up = Some(CatchUp::Looking { seen: self.after, superseded: Superseded::default() });
        }
    }

    /// Reads about so much at a time; at least one event.
    pub(super) fn in_batches_of(&mut self, bytes: usize) {
        self.batch_bytes = bytes;
    }

    pub(super) fn run_id(&self) -> RunId {
        self.run_id
    }

    /// The sequence of the last event read, or of the position the reader began at.
    pub(super) fn after(&self) -> u64 {
        self.after
    }

    /// True when the terminal event has been read, or lay before the position the reader began at.
    pub(super) fn at_end(&self) -> bool {
        self.at_end
    }

    /// An error when a part of the log, wherever it is, is known to be damaged.
    pub(super) async fn check(&self) -> Result<(), ReadError> {
        // Behind its end a whole log has nothing, and one with damage has that.
        self.log.read(self.run_id, self.began_at.max(self.after), 1).await.map(drop)
    }

    /// Nothing more will be read.
    pub(super) fn close(&mut self) {
        self.at_end = true;
    }

    /// The next events that are there, as many as a batch may have; empty when there are none yet. Then
    /// [`Reader::changed`] returns when there are.
    ///
    /// Cancel safe: a call that is dropped has given nothing away.
    pub(super) async fn ready(&mut self) -> Result<Vec<Arc<Entry>>, ReadError> {
        loop {
            if let Some(entries) = self.told() {
                return Ok(entries);
            }
            // Of a log that takes nothing more, what it should have had further on may be damaged: reading tells.
            let waits = || self.after >= self.newest && self.hints.has_changed().is_ok();
            if self.at_end || waits() {
                return Ok(Vec::new());
            }
            self.look_through().await;
            let slice = self.log.read(self.run_id, self.after, self.batch_bytes).await?;
            if slice.entries.is_empty() {
                return Ok(slice.entries);
            }
            self.read(&slice.entries);
            let Some(CatchUp::Telling(compactor)) = &mut self.catch_up else { return Ok(slice.entries) };
            let mut told = Vec::new();
            slice.entries.into_iter().for_each(|it| compactor.push(it, &mut told));
            if !told.is_empty() {
                // What may be continued is read once more next time, so that nothing is held meanwhile.
                if let Some(first) = compactor.give_back() {
                    self.after = first - 1;
                }
                if self.after >= self.began_at {
                    self.catch_up = None;
                }
                return Ok(told);
            }
            tokio::task::consume_budget().await;
        }
    }

    /// Returns when there may be more to read; an error when there never will be.
    pub(super) async fn changed(&mut self) -> Result<(), ReadError> {
        self.hints.changed().await.map_err(|_| ReadError::NotFound)?;
        // Not seen before `ready` has looked at it.
        self.hints.mark_changed();
        Ok(())
    }

    /// Takes note of the end of the log, if it is new. The next events, if there are some and they came with it.
    fn told(&mut self) -> Option<Vec<Arc<Entry>>> {
        // The value is behind a lock that all watchers of the run share; whether it is new can be seen without.
        if self.at_end || !self.hints.has_changed().unwrap_or(true) {
            return None;
        }
        // Marked as seen before the log is read: an event that comes in between wakes the wait for the next.
        let newest = self.hints.borrow_and_update();
        self.newest = self.newest.max(newest.last_sequence);
        let entries =
            newest.after(self.after, self.batch_bytes).filter(|_| self.catch_up.is_none())?.to_vec();
        drop(newest);
        self.read(&entries);
        Some(entries)
    }

    /// These events have been read.
    fn read(&mut self, entries: &[Arc<Entry>]) {
        if let Some(last) = entries.last() {
            self.after = last.event.sequence;
            self.at_end = last.event.kind.is_terminal();
        }
    }

    /// Before a compact catch-up: looks at all of it, a batch at a time.
    async fn look_through(&mut self) {
        while let Some(CatchUp::Looking { seen, superseded }) = &mut self.catch_up {
            // What cannot be read is met again, and told, when the catch-up comes there.
            let slice = self.log.read(self.run_id, *seen, limits::WATCH_BATCH_BYTES).await;
            let entries = slice.map(|it| it.entries).unwrap_or_default();
            let entries = entries.iter().filter(|it| it.event.sequence <= self.began_at);
            let before = *seen;
            for entry in entries {
                superseded.note(&entry.event);
                *seen = entry.event.sequence;
            }
            if *seen == before || *seen == self.began_at {
                let compactor = Compactor::new(*superseded, *seen);
                self.catch_up = Some(CatchUp::Telling(compactor));
            }
            tokio::task::consume_budget().await;
        }
    }
}
