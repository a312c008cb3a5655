//! Telling the watchers of a run its news together, a pause after the first of them.
//!
//! Without it every event wakes every watcher. With it an event wakes one relay for each watched run; after the pause all watchers
//! are handed what has come meanwhile, with one reading of the log.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

use super::Coalesce;
use crate::{
    model::{RunId, limits},
    runtime::task::{self, TaskKind},
    storage::{Newest, ReadError, RunLog},
};

/// Where watchers of runs hear of news. Bounded by the runs that are watched.
#[derive(Clone)]
pub(super) struct Relays {
    log: Arc<dyn RunLog>,
    pause: Coalesce,
    open: Arc<Mutex<HashMap<RunId, watch::Sender<Newest>>>>,
}

/// Tells the news of one run. Ends when nobody watches it any more, or its log is gone.
struct Relay {
    relays: Relays,
    run_id: RunId,
    told: watch::Sender<Newest>,
}

impl Relays {
    /// For the runs of a log. Without a `pause` everybody hears of news at once.
    pub(super) fn new(log: Arc<dyn RunLog>, pause: Coalesce) -> Self {
        Self { log, pause, open: Arc::default() }
    }

    /// Tells of what comes to a run from now on. A hint, like [`RunLog::follow`].
    pub(super) async fn follow(&self, run_id: RunId) -> Result<watch::Receiver<Newest>, ReadError> {
        let hints = self.log.follow(run_id).await?;
        if self.pause.is_none() {
            return Ok(hints);
        }
        let mut open = self.open();
        if let Some(told) = open.get(&run_id) {
            return Ok(told.subscribe());
        }
        let (told, follower) = watch::channel(hints.borrow().clone());
        open.insert(run_id, told.clone());
        drop(open);
        let relay = Relay { relays: self.clone(), run_id, told };
        task::spawn(TaskKind::Relay, relay.tell(hints));
        Ok(follower)
    }

    fn open(&self) -> MutexGuard<'_, HashMap<RunId, watch::Sender<Newest>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Relay {
    async fn tell(self, mut hints: watch::Receiver<Newest>) {
        loop {
            tokio::select! {
                changed = hints.changed() => if changed.is_err() { break },
                () = self.told.closed() => {
                    if self.is_over() { break } else { continue }
                }
            }
            self.relays.pause.pause().await;
            let newest = hints.borrow_and_update().clone();
            let newest = self.with_all_since(newest).await;
            self.told.send_replace(newest);
        }
    }

    /// The news with everything that has come since the last, if that is not too much.
    async fn with_all_since(&self, newest: Newest) -> Newest {
        let before = self.told.borrow().last_sequence;
        if newest.after(before, limits::WATCH_BATCH_BYTES).is_some() {
            return newest;
        }
        // Watchers read for themselves what cannot be read here.
        let read = self.relays.log.read(self.run_id, before, limits::WATCH_BATCH_BYTES).await;
        let whole = read
            .ok()
            .filter(|it| it.entries.last().is_some_and(|last| last.event.sequence == newest.last_sequence));
        whole.map_or(newest, |it| Newest::with(it.entries))
    }

    /// Nobody listens. The place is given up at once, so that whoever comes next gets a relay of its own.
    fn is_over(&self) -> bool {
        let mut open = self.relays.open();
        let over = self.told.receiver_count() == 0;
        if over {
            open.remove(&self.run_id);
        }
        over
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let mut open = self.relays.open();
        if open.get(&self.run_id).is_some_and(|it| it.same_channel(&self.told)) {
            open.remove(&self.run_id);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use jiff::Timestamp;
    use tokio::time::{Instant, sleep};

    use super::*;
    use crate::{
        model::{Command, Draft, Outcome, RunMachine},
        runtime::clock,
        storage::{MemoryLimits, MemoryRunLog, NewRun, Trim},
    };

    const PAUSE: Duration = Duration::from_millis(10);

    async fn begun(pause: Duration) -> (Relays, RunMachine) {
        let log = Arc::new(MemoryRunLog::new(MemoryLimits { per_run: 16 << 20, total: 16 << 20 }));
        let (run_id, session_id) = (clock::new_run_id(), clock::new_session_id());
        let (machine, first) = RunMachine::create(run_id, session_id, "w".into(), Timestamp::UNIX_EPOCH);
        let run = machine.run().clone();
        log.create(NewRun { run, events: vec![first], params: BTreeMap::new(), key: None }).await.unwrap();
        (Relays::new(log, Coalesce::try_from(pause).unwrap()), machine)
    }

    async fn emit(relays: &Relays, machine: &mut RunMachine) {
        let before = machine.run().last_sequence;
        let events = machine.apply(Command::Emit(Draft::log("x")), Timestamp::UNIX_EPOCH).unwrap();
        relays.log.append(machine.run().clone(), before, events).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn all_watchers_are_handed_together_what_came_within_the_pause() {
        let (relays, mut machine) = begun(PAUSE).await;
        let run_id = machine.run().run_id;
        let mut followers = [relays.follow(run_id).await.unwrap(), relays.follow(run_id).await.unwrap()];
        let begun = Instant::now();
        for _ in 0..3 {
            emit(&relays, &mut machine).await;
            sleep(PAUSE / 5).await;
        }
        for follower in &mut followers {
            follower.changed().await.unwrap();
            let news = follower.borrow_and_update();
            assert_eq!(news.after(1, usize::MAX).map(<[_]>::len), Some(3));
        }
        assert_eq!(begun.elapsed().as_millis(), PAUSE.as_millis());
        emit(&relays, &mut machine).await;
        followers[0].changed().await.unwrap();
        assert_eq!(followers[0].borrow().after(4, usize::MAX).map(<[_]>::len), Some(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_relay_ends_with_its_last_watcher_and_the_next_one_gets_another() {
        let (relays, mut machine) = begun(PAUSE).await;
        let run_id = machine.run().run_id;
        for _ in 0..3 {
            let mut follower = relays.follow(run_id).await.unwrap();
            emit(&relays, &mut machine).await;
            follower.changed().await.unwrap();
            drop(follower);
            sleep(PAUSE * 2).await;
            assert!(relays.open().is_empty());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn watchers_hear_when_the_log_is_gone() {
        let (relays, mut machine) = begun(PAUSE).await;
        let mut follower = relays.follow(machine.run().run_id).await.unwrap();
        let events = machine.apply(Command::Finish(Outcome::Cancelled), Timestamp::UNIX_EPOCH).unwrap();
        relays.log.append(machine.run().clone(), 1, events).await.unwrap();
        follower.changed().await.unwrap();
        assert_eq!(follower.borrow_and_update().last_sequence, 2);
        relays.log.trim(Trim { ended_before: Timestamp::MAX, keys_before: Timestamp::MAX }).await;
        assert!(follower.changed().await.is_err());
        assert!(relays.open().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_pause_there_is_no_relay() {
        let (relays, mut machine) = begun(Duration::ZERO).await;
        let mut follower = relays.follow(machine.run().run_id).await.unwrap();
        emit(&relays, &mut machine).await;
        assert!(follower.has_changed().unwrap() && follower.borrow_and_update().last_sequence == 2);
        assert!(relays.open().is_empty());
    }
}
