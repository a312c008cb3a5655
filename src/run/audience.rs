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
