//! The runs of a session as they begin.

use std::sync::Arc;

use tokio::sync::watch;

use crate::{
    model::{RunId, SessionId},
    storage::RunLog,
};

/// Runs that are passed over at a time at the beginning.
const PAGE: usize = 1024;
/// Runs that are told at a time.
const TOLD: usize = 64;

/// A place in the order in which the runs of a session begin. Holds nothing but its place.
pub struct SessionRuns {
    log: Arc<dyn RunLog>,
    session_id: SessionId,
    /// All runs up to here have been told or passed over.
    told: u64,
    hints: watch::Receiver<u64>,
}

impl SessionRuns {
    /// Passes over the runs that are there.
    pub(super) async fn open(log: Arc<dyn RunLog>, session_id: SessionId) -> Self {
        // Subscribed before anything is read, so that nothing can slip in between.
        let hints = log.follow_session(&session_id).await;
        let mut runs = Self { log, session_id, told: 0, hints };
        while !runs.next_page(PAGE).await.is_empty() {}
        runs
    }

    /// The runs that have begun since, in the order of their beginning; none when there are none.
    pub async fn ready(&mut self) -> Vec<RunId> {
        self.next_page(TOLD).await
    }

    /// Waits until something has happened in the session. `None` when nothing will any more, because the gateway ends.
    ///
    /// Cancel safe.
    pub async fn changed(&mut self) -> Option<()> {
        self.hints.changed().await.ok()
    }

    async fn next_page(&mut self, most: usize) -> Vec<RunId> {
        let page = self.log.placed_after(&self.session_id, self.told, most).await;
        self.told = page.last().map_or(self.told, |it| it.place);
        page.into_iter().map(|it| it.run_id).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use futures::{FutureExt as _, poll};
    use jiff::Timestamp;
    use uuid::Uuid;

    use super::*;
    use crate::{
        model::RunMachine,
        storage::{MemoryLimits, MemoryRunLog, NewRun},
    };

    async fn begin(log: &MemoryRunLog, session: u128, number: u128) -> RunId {
        let (run_id, session_id) =
            (RunId::new(Uuid::from_u128(number)), SessionId::new(Uuid::from_u128(session)));
        let (machine, first) = RunMachine::create(run_id, session_id, "w".into(), Timestamp::UNIX_EPOCH);
        let run = machine.run().clone();
        log.create(NewRun { run, events: vec![first], params: BTreeMap::new(), key: None }).await.unwrap();
        run_id
    }

    #[tokio::test]
    async fn runs_are_told_once_from_the_time_of_asking() {
        let log = Arc::new(MemoryRunLog::new(MemoryLimits { per_run: 16 << 20, total: 16 << 20 }));
        begin(&log, 1, 1).await;
        let mut runs = SessionRuns::open(log.clone(), SessionId::new(Uuid::from_u128(1))).await;
        assert_eq!(runs.ready().await, []);
        assert!(runs.changed().now_or_never().is_none());
        begin(&log, 2, 2).await;
        assert!(runs.changed().now_or_never().is_none(), "another session is no matter");
        {
            let mut changed = Box::pin(runs.changed());
            assert!(poll!(&mut changed).is_pending());
            begin(&log, 1, 3).await;
            assert!(poll!(&mut changed).is_ready());
        }
        begin(&log, 1, 4).await;
        let both = [3, 4].map(|it| RunId::new(Uuid::from_u128(it)));
        assert_eq!(runs.ready().await, both);
        assert_eq!(runs.ready().await, []);
    }
}
