//! Who watches: runs that were started so are cancelled when nobody has watched them for a while.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

use super::WriterHandle;
use crate::model::{Command, RunId, SessionId};

/// What can be watched.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Watched {
    Run(RunId),
    /// All runs of a session.
    Session(SessionId),
}

/// Counts the watches that go on. Bounded by them and by the live runs that are cancelled without any.
#[derive(Debug, Clone, Default)]
pub(super) struct Audience(Arc<Mutex<HashMap<Watched, Seats>>>);

/// One watch that goes on; it ends with this value.
#[derive(Debug)]
pub(super) struct Present {
    audience: Audience,
    watched: Watched,
}

/// Those who watch one thing, and those who want to know whether somebody does.
#[derive(Debug)]
struct Seats {
    watches: usize,
    guards: usize,
    /// When the last watch ended; of no meaning while one goes on.
    left: Instant,
}

/// Keeps the seats of what a run may be watched by, so that the last one to leave is remembered.
struct Guard {
    audience: Audience,
    watched: [Watched; 2],
    begun: Instant,
}

impl Audience {
    /// Somebody begins to watch.
    pub(super) fn join(&self, watched: Watched) -> Present {
        self.lock().entry(watched.clone()).or_default().watches += 1;
        Present { audience: self.clone(), watched }
    }

    /// Cancels the run when nobody has watched it or its session for `grace`, counted from now on. Returns when the run
    /// has ended, or was cancelled.
    pub(super) async fn cancel_when_gone(self, writer: WriterHandle, session_id: SessionId, grace: Duration) {
        let guard = Guard::new(self, [Watched::Run(writer.run_id()), Watched::Session(session_id)]);
        loop {
            // Somebody who watches now may go at once, and then has the whole grace time to return.
            let gone = guard.left().unwrap_or_else(Instant::now);
            if gone.elapsed() >= grace {
                break;
            }
            // Without an end, where the grace time is longer than any clock goes.
            let until = gone.checked_add(grace);
            tokio::select! {
                () = writer.ended() => return,
                () = sleep_until(until.unwrap_or(gone)), if until.is_some() => {}
            }
        }
        let reason = "nobody watches the run any more".to_owned();
        // One that is refused has ended.
        drop(writer.apply(Command::Cancel { reason }).await);
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// True while one of them is watched.
    pub(super) fn is_there(&self, watched: &[Watched]) -> bool {
        let all = self.lock();
        watched.iter().filter_map(|it| all.get(it)).any(|it| it.watches > 0)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Watched, Seats>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes seats that are there, and drops them when nobody needs them any more.
    fn leave(&self, watched: &Watched, change: impl FnOnce(&mut Seats)) {
        let mut all = self.lock();
        if let Some(seats) = all.get_mut(watched) {
            change(seats);
            if seats.watches == 0 && seats.guards == 0 {
                all.remove(watched);
            }
        }
    }
}

impl Guard {
    fn new(audience: Audience, watched: [Watched; 2]) -> Self {
        let mut seats = audience.lock();
        for it in &watched {
            seats.entry(it.clone()).or_default().guards += 1;
        }
        drop(seats);
        Self { audience, watched, begun: Instant::now() }
    }

    /// When the last watch ended, or when this began; `None` while one goes on.
    fn left(&self) -> Option<Instant> {
        let all = self.audience.lock();
        let seats: Vec<_> = self.watched.iter().filter_map(|it| all.get(it)).collect();
        let watched = seats.iter().any(|it| it.watches > 0);
        if watched { None } else { seats.iter().map(|it| it.left).max().max(Some(self.begun)) }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        for watched in &self.watched {
            self.audience.leave(watched, |it| it.guards -= 1);
        }
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        self.audience.leave(&self.watched, |it| {
            it.watches -= 1;
            it.left = Instant::now();
        });
    }
}

impl Default for Seats {
    fn default() -> Self {
        Self { watches: 0, guards: 0, left: Instant::now() }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tokio::time::sleep;

    use super::*;
    use crate::{
        model::{Position, RunState, SessionPosition},
        run::{BeginLog, Runs, WatchSettings},
        runtime::{clock, shutdown::Shutdown},
        storage::{MemoryLimits, MemoryRunLog},
    };

    const GRACE: Duration = Duration::from_secs(30);

    async fn begin() -> (Runs, RunId, SessionId) {
        let log = Arc::new(MemoryRunLog::new(MemoryLimits { per_run: 1 << 20, total: 1 << 20 }));
        let settings = WatchSettings { disconnect_grace: GRACE, ..WatchSettings::default() };
        let runs = Runs::new(log, Shutdown::default()).watched(settings);
        let (run_id, session_id) = (clock::new_run_id(), clock::new_session_id());
        let begun = BeginLog {
            run_id,
            session_id: session_id.clone(),
            pipeline_id: "w".into(),
            params: BTreeMap::new(),
            key: None,
            cancel_on_disconnect: true,
            at_once: false,
        };
        runs.create(begun).await.unwrap();
        // Lets the guard begin.
        sleep(Duration::from_millis(1)).await;
        (runs, run_id, session_id)
    }

    async fn is_cancelled_after(runs: &Runs, run_id: RunId, time: Duration) {
        sleep(time - Duration::from_millis(5)).await;
        assert_eq!(runs.get(run_id).await.unwrap().state, RunState::Queued, "not before its time");
        sleep(Duration::from_millis(10)).await;
        assert_eq!(runs.get(run_id).await.unwrap().state, RunState::Cancelled);
        assert!(runs.audience_is_empty(), "nothing is kept");
    }

    #[tokio::test(start_paused = true)]
    async fn the_grace_time_begins_when_the_last_watch_ends() {
        let (runs, run_id, session_id) = begin().await;
        let one = runs.watch(run_id, Position::Start).await.unwrap();
        sleep(GRACE * 2 + GRACE / 3).await;
        let other = runs.watch_session(session_id, SessionPosition::Start).await.unwrap();
        drop(one);
        sleep(GRACE * 2 + GRACE / 7).await;
        drop(other);
        is_cancelled_after(&runs, run_id, GRACE).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_short_visit_counts() {
        let (runs, run_id, session_id) = begin().await;
        for _ in 0..5 {
            sleep(GRACE * 9 / 10).await;
            drop(runs.watch(run_id, Position::Start).await.unwrap());
            sleep(GRACE * 9 / 10).await;
            drop(runs.watch_session(session_id.clone(), SessionPosition::Start).await.unwrap());
        }
        is_cancelled_after(&runs, run_id, GRACE).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_of_the_same_session_that_begins_later_changes_nothing() {
        let (runs, run_id, session_id) = begin().await;
        sleep(GRACE / 2).await;
        let later = clock::new_run_id();
        let begun = BeginLog {
            run_id: later,
            session_id,
            pipeline_id: "w".into(),
            params: BTreeMap::new(),
            key: None,
            cancel_on_disconnect: true,
            at_once: false,
        };
        runs.create(begun).await.unwrap();
        sleep(GRACE / 2 + Duration::from_millis(10)).await;
        assert_eq!(runs.get(run_id).await.unwrap().state, RunState::Cancelled);
        is_cancelled_after(&runs, later, GRACE / 2 - Duration::from_millis(9)).await;
    }
}
