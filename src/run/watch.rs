//! Reading a run's log: catch up, follow, and on lag go back to the log. The one read function of all watchers.

use std::sync::Arc;

use super::{ReadRunError, WatchEnd, audience::Present, reader::Reader};
use crate::{
    model::Entry,
    runtime::shutdown::{Awaited, Signal},
    storage::ReadError,
};

/// A watcher's place in a run's log. Holds no events between reads, so a slow watcher costs nothing.
pub struct Watch {
    reader: Reader,
    draining: Awaited,
    _present: Option<Present>,
}

impl Watch {
    pub(super) fn new(reader: Reader, draining: &Signal) -> Self {
        Self { reader, draining: draining.awaited(), _present: None }
    }

    /// The same, counted as somebody who watches the run.
    pub(super) fn counted(self, present: Present) -> Self {
        Self { _present: Some(present), ..self }
    }

    /// Merges deltas and drops superseded progress of what was there when the watch began.
    #[must_use]
    pub fn compact(mut self) -> Self {
        self.reader.compact();
        self
    }

    /// Gives at most about so many bytes of events at a time, but at least one event: for those who read many runs in
    /// turn.
    #[must_use]
    pub fn in_batches_of(mut self, bytes: usize) -> Self {
        self.reader.in_batches_of(bytes);
        self
    }

    /// The sequence of the last event read, or of the position the watch began at.
    pub fn after(&self) -> u64 {
        self.reader.after()
    }

    /// True when the terminal event has been read, or lay before the position the watch began at.
    pub fn at_end(&self) -> bool {
        self.reader.at_end()
    }

    /// An error when a part of the log, wherever it is, is known to be damaged: for those who want all of it or nothing.
    pub async fn check(&self) -> Result<(), ReadRunError> {
        self.reader.check().await.map_err(|error| ReadRunError::new(self.reader.run_id(), &error))
    }

    /// The next events, as many as are there but bounded; waits for one when there are none. `None` after the
    /// terminal event.
    ///
    /// Cancel safe: a call that is dropped has read nothing.
    pub async fn next(&mut self) -> Option<Result<Vec<Arc<Entry>>, WatchEnd>> {
        while !self.reader.at_end() {
            if self.draining.already() {
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
                () = &mut self.draining => continue,
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

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use futures::poll;
    use jiff::Timestamp;
    use tokio::time::Instant;
    use uuid::Uuid;

    use super::*;
    use crate::{
        model::{
            Command, Draft, EventKind, Outcome, Position, RunId, RunMachine, SessionId, SessionPosition,
        },
        run::{Coalesce, SessionWatch, WatchSettings},
        storage::{MemoryLimits, MemoryRunLog, NewRun, RunLog},
    };

    const PAUSE: Duration = Duration::from_millis(10);

    /// A run with one event, and its log.
    async fn begun() -> (Arc<MemoryRunLog>, RunMachine) {
        let log = Arc::new(MemoryRunLog::new(MemoryLimits { per_run: 16 << 20, total: 16 << 20 }));
        let (run_id, session_id) = (RunId::new(Uuid::from_u128(1)), SessionId::new(Uuid::from_u128(1)));
        let (machine, first) = RunMachine::create(run_id, session_id, "w".into(), Timestamp::UNIX_EPOCH);
        let run = machine.run().clone();
        log.create(NewRun { run, events: vec![first], params: BTreeMap::new(), key: None }).await.unwrap();
        (log, machine)
    }

    async fn apply(log: &MemoryRunLog, machine: &mut RunMachine, command: Command) {
        let before = machine.run().last_sequence;
        let events = machine.apply(command, Timestamp::UNIX_EPOCH).unwrap();
        log.append(machine.run().clone(), before, events).await.unwrap();
    }

    fn settings(pause: Duration) -> WatchSettings {
        WatchSettings { coalesce: Coalesce::try_from(pause).unwrap(), ..WatchSettings::default() }
    }

    async fn watch(log: &Arc<MemoryRunLog>, machine: &RunMachine) -> Watch {
        let reader = Reader::open(log.clone(), machine.run().run_id, Position::Start).await.unwrap();
        let mut watch = Watch::new(reader, &Signal::default());
        assert_eq!(watch.next().await.unwrap().unwrap().len(), 1, "what is there comes at once");
        watch
    }

    #[tokio::test]
    async fn a_long_log_is_told_compactly_over_all_its_batches() {
        let (log, mut machine) = begun().await;
        let mut wanted = String::new();
        for number in 0..200 {
            let text = number.to_string().repeat(2000);
            wanted.push_str(&text);
            apply(&log, &mut machine, Command::Emit(Draft::new(EventKind::Delta { text }, ""))).await;
            let draft =
                if number % 30 == 7 { Draft::log("between") } else { Draft::new(EventKind::Progress, "") };
            apply(&log, &mut machine, Command::Emit(draft)).await;
        }
        apply(&log, &mut machine, Command::Finish(Outcome::Cancelled)).await;
        let reader = Reader::open(log, machine.run().run_id, Position::Start).await.unwrap();
        let mut watch = Watch::new(reader, &Signal::default()).compact();
        let (mut text, mut kinds) = (String::new(), Vec::new());
        while let Some(entries) = watch.next().await {
            for entry in entries.unwrap() {
                match &entry.event.kind {
                    EventKind::Delta { text: piece } => text.push_str(piece),
                    kind => kinds.push(kind.clone()),
                }
            }
        }
        assert!(text == wanted, "each piece once");
        let count = |kind: EventKind| kinds.iter().filter(|it| **it == kind).count();
        assert_eq!((count(EventKind::Progress), count(EventKind::Log)), (1, 7));
    }

    #[tokio::test(start_paused = true)]
    async fn each_event_comes_at_once() {
        let (log, mut machine) = begun().await;
        let mut watch = watch(&log, &machine).await;
        let begun = Instant::now();
        for _ in 0..3 {
            let mut next = Box::pin(watch.next());
            assert!(poll!(&mut next).is_pending());
            apply(&log, &mut machine, Command::Emit(Draft::log("x"))).await;
            assert_eq!(next.await.unwrap().unwrap().len(), 1);
        }
        assert!(begun.elapsed().is_zero());
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_is_paused_for_too() {
        let (log, mut machine) = begun().await;
        let session_id = machine.run().session_id.clone();
        let (now, settings) = (SessionPosition::Now, settings(PAUSE));
        let draining = Signal::default();
        let watch = SessionWatch::open(log.clone(), session_id, now, settings, &draining);
        let mut watch = watch.await.unwrap();
        let mut next = Box::pin(watch.next());
        assert!(poll!(&mut next).is_pending());
        for _ in 0..3 {
            apply(&log, &mut machine, Command::Emit(Draft::log("x"))).await;
            assert!(poll!(&mut next).is_pending());
        }
        assert_eq!(next.await.unwrap().len(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn the_drain_of_the_gateway_ends_a_watch_that_waits() {
        let (log, machine) = begun().await;
        let reader = Reader::open(log, machine.run().run_id, Position::Now).await.unwrap();
        let draining = Signal::default();
        let mut watch = Watch::new(reader, &draining);
        let mut next = Box::pin(watch.next());
        assert!(poll!(&mut next).is_pending());
        draining.give();
        assert!(matches!(next.await, Some(Err(WatchEnd::Draining))));
    }
}
