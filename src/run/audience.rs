//! Who watches: runs that were started so are cancelled when nobody has watched them for a while.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep};

use super::WriterHandle;
use crate::model::{Command, RunId, SessionId};

/// How often it is looked whether somebody watches: so much later than the grace time a run may be cancelled.
const LONGEST_TICK: Duration = Duration::from_secs(1);
const SHORTEST_TICK: Duration = Duration::from_millis(5);

/// What can be watched.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Watched {
    Run(RunId),
    /// All runs of a session.
    Session(SessionId),
}

/// Counts the watches that go on. Bounded by them.
#[derive(Debug, Clone, Default)]
pub(super) struct Audience(Arc<Mutex<HashMap<Watched, usize>>>);

/// One watch that goes on; it ends with this value.
#[derive(Debug)]
pub(super) struct Present {
    audience: Audience,
    watched: Watched,
}

impl Audience {
    /// Somebody begins to watch.
    pub(super) fn join(&self, watched: Watched) -> Present {
        *self.lock().entry(watched.clone()).or_default() += 1;
        Present { audience: self.clone(), watched }
    }

    /// Cancels the run when nobody has watched it or its session for `grace`, counted from now on. Returns when the run
    /// has ended, or was cancelled.
    pub(super) async fn cancel_when_gone(self, writer: WriterHandle, session_id: SessionId, grace: Duration) {
        let watched = [Watched::Run(writer.run_id()), Watched::Session(session_id)];
        let tick = (grace / 10).clamp(SHORTEST_TICK, LONGEST_TICK);
        let mut seen = Instant::now();
        while seen.elapsed() < grace {
            tokio::select! {
                () = writer.ended() => return,
                () = sleep(tick) => {}
            }
            if self.is_there(&watched) {
                seen = Instant::now();
            }
        }
        let reason = "nobody watches the run any more".to_owned();
        // One that is refused has ended.
        drop(writer.apply(Command::Cancel { reason }).await);
    }

    /// True while one of them is watched.
    pub(super) fn is_there(&self, watched: &[Watched]) -> bool {
        let counts = self.lock();
        watched.iter().any(|it| counts.contains_key(it))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Watched, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        let mut counts = self.audience.lock();
        if let Some(count) = counts.get_mut(&self.watched) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.watched);
            }
        }
    }
}
