//! Run logs in memory: bounded in bytes, gone with the process.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard},
};

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::watch;

use super::{
    AppendError, CreateError, ListRuns, NewRun, Newest, PlacedRun, ReadError, RunLog, RunPage, Slice, Trim,
    UsedKey, by_session::BySession, keys::UsedKeys, session_hints::SessionHints,
};
use crate::{
    model::{Digest, Entry, Event, Run, RunId, SessionId, limits},
    runtime::clock,
};

/// Bounds of the log in bytes of memory.
#[derive(Debug, Clone, Copy)]
pub struct MemoryLimits {
    /// Of one run. A run that reaches it cannot append any more, its terminal event excepted.
    pub per_run: usize,
    /// Of all runs. When it is reached the runs that ended first are dropped; when none has ended, nothing is taken.
    pub total: usize,
}

/// Run logs in memory.
#[derive(Debug)]
pub struct MemoryRunLog {
    limits: MemoryLimits,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    runs: HashMap<RunId, Log>,
    by_session: BySession,
    hints: SessionHints,
    keys: UsedKeys,
    ended: BTreeSet<(Timestamp, RunId)>,
    bytes: usize,
    last_place: u64,
}

#[derive(Debug)]
struct Log {
    run: Run,
    place: u64,
    params: BTreeMap<String, String>,
    entries: Vec<Arc<Entry>>,
    bytes: usize,
    last: watch::Sender<Newest>,
}

impl MemoryRunLog {
    /// An empty log.
    pub fn new(limits: MemoryLimits) -> Self {
        // Places of an earlier process lie below, as long as clocks go forward.
        let last_place = u64::try_from(clock::now().as_microsecond()).unwrap_or_default();
        Self { limits, state: Mutex::new(State { last_place, ..State::default() }) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[async_trait]
impl RunLog for MemoryRunLog {
    async fn create(&self, new: NewRun) -> Result<(), CreateError> {
        let NewRun { run, events, params, key } = new;
        let mut state = self.state();
        let text: usize = params.iter().map(|(name, value)| name.len() + value.len()).sum();
        let added = text + events.iter().map(Event::bytes).sum::<usize>();
        if state.runs.contains_key(&run.run_id) {
            return Err(CreateError::Exists);
        }
        if let Some(used) = key.and_then(|it| state.keys.get(it.name)) {
            return Err(CreateError::KeyUsed(used));
        }
        if !state.make_room(self.limits.total, added) {
            return Err(CreateError::Full);
        }
        if let Some(key) = key {
            state.keys.insert(key, run.run_id, run.created_at, limits::IDEMPOTENCY_KEYS);
        }
        state.bytes += added;
        state.last_place += 1;
        let place = state.last_place;
        state.by_session.insert(&run.session_id, place, run.run_id);
        let entries = events.into_iter().map(|it| Arc::new(Entry::new(it))).collect();
        let last = watch::Sender::new(Newest::at(run.last_sequence));
        state.hints.changed(&run.session_id);
        state.runs.insert(run.run_id, Log { run, place, params, entries, bytes: added, last });
        Ok(())
    }

    async fn append(&self, run: Run, expected: u64, events: Vec<Event>) -> Result<(), AppendError> {
        let mut state = self.state();
        let log = state.runs.get(&run.run_id).ok_or(AppendError::NotFound)?;
        let actual = log.entries.len() as u64;
        if actual != expected {
            return Err(AppendError::Conflict { expected, actual });
        }
        let added: usize = events.iter().map(Event::bytes).sum();
        let log_bytes = log.bytes + added;
        let fits = log_bytes <= self.limits.per_run && state.make_room(self.limits.total, added);
        if !fits && !run.state.is_terminal() {
            return Err(AppendError::Full);
        }
        state.bytes += added;
        if let Some(finished_at) = run.finished_at {
            state.ended.insert((finished_at, run.run_id));
        }
        let log = state.runs.get_mut(&run.run_id).ok_or(AppendError::NotFound)?;
        log.bytes = log_bytes;
        let before = log.entries.len();
        log.entries.extend(events.into_iter().map(|it| Arc::new(Entry::new(it))));
        let newest = Newest::committed(&log.last, run.last_sequence, &log.entries[before..], added);
        log.last.send_replace(newest);
        log.run = run;
        let session_id = log.run.session_id.clone();
        state.hints.changed(&session_id);
        Ok(())
    }

    async fn read(&self, run_id: RunId, after: u64, max_bytes: usize) -> Result<Slice, ReadError> {
        let state = self.state();
        let log = state.runs.get(&run_id).ok_or(ReadError::NotFound)?;
        let first = usize::try_from(after).unwrap_or(usize::MAX).min(log.entries.len());
        let mut bytes = 0;
        let fits = |entry: &&Arc<Entry>| {
            let before = bytes;
            bytes += entry.event.bytes();
            before == 0 || bytes <= max_bytes
        };
        let entries = log.entries[first..].iter().take_while(fits).cloned().collect();
        Ok(Slice { entries, last_sequence: log.run.last_sequence })
    }

    async fn follow(&self, run_id: RunId) -> Result<watch::Receiver<Newest>, ReadError> {
        self.state().runs.get(&run_id).map(|it| it.last.subscribe()).ok_or(ReadError::NotFound)
    }

    async fn follow_session(&self, session_id: &SessionId) -> watch::Receiver<u64> {
        self.state().hints.follow(session_id)
    }

    async fn run(&self, run_id: RunId) -> Result<Run, ReadError> {
        self.state().runs.get(&run_id).map(|it| it.run.clone()).ok_or(ReadError::NotFound)
    }

    async fn params(&self, run_id: RunId) -> Result<BTreeMap<String, String>, ReadError> {
        self.state().runs.get(&run_id).map(|it| it.params.clone()).ok_or(ReadError::NotFound)
    }

    async fn used_key(&self, name: Digest) -> Option<UsedKey> {
        self.state().keys.get(name)
    }

    async fn list(&self, request: ListRuns) -> Result<RunPage, ReadError> {
        let state = self.state();
        let older = state.by_session.newest_first(&request.session_id, request.before);
        let mut runs = older.filter_map(|id| Some(state.runs.get(&id)?.run.clone()));
        let page = runs.by_ref().take(request.limit).collect();
        Ok(RunPage { runs: page, more: runs.next().is_some() })
    }

    async fn placed_after(&self, session_id: &SessionId, after: u64, limit: usize) -> Vec<PlacedRun> {
        self.state().by_session.placed_after(session_id, after, limit)
    }

    async fn live(&self) -> Vec<RunId> {
        let state = self.state();
        let live = state.runs.values().filter(|it| !it.run.state.is_terminal());
        let mut live: Vec<_> = live.map(|it| (it.place, it.run.run_id)).collect();
        live.sort_unstable();
        live.into_iter().map(|(_, run_id)| run_id).collect()
    }

    async fn all(&self) -> Vec<RunId> {
        let state = self.state();
        let mut all: Vec<_> = state.runs.values().map(|it| (it.place, it.run.run_id)).collect();
        all.sort_unstable();
        all.into_iter().map(|(_, run_id)| run_id).collect()
    }

    async fn trim(&self, trim: Trim) {
        let mut state = self.state();
        while state.ended.first().is_some_and(|(finished_at, _)| *finished_at < trim.ended_before) {
            state.drop_oldest_ended();
        }
        state.keys.forget_before(trim.keys_before);
    }
}

impl State {
    /// Drops ended runs, oldest first, until `added` bytes fit below `total`.
    fn make_room(&mut self, total: usize, added: usize) -> bool {
        while self.bytes + added > total && self.drop_oldest_ended() {}
        self.bytes + added <= total
    }

    fn drop_oldest_ended(&mut self) -> bool {
        let Some((_, run_id)) = self.ended.pop_first() else { return false };
        let Some(log) = self.runs.remove(&run_id) else { return true };
        self.bytes -= log.bytes;
        self.by_session.remove(&log.run.session_id, log.place, run_id);
        self.hints.changed(&log.run.session_id);
        true
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::model::{Command, Draft, Outcome, RunMachine};

    const ROOMY: MemoryLimits = MemoryLimits { per_run: 1 << 20, total: 1 << 20 };

    async fn start(log: &MemoryRunLog, number: u128) -> Result<RunMachine, CreateError> {
        let run_id = RunId::new(Uuid::from_u128(number));
        let session_id = SessionId::new(Uuid::from_u128(1));
        let (machine, first) = RunMachine::create(run_id, session_id, "w".into(), Timestamp::UNIX_EPOCH);
        let run = machine.run().clone();
        log.create(NewRun { run, events: vec![first], params: BTreeMap::new(), key: None }).await?;
        Ok(machine)
    }

    async fn apply(
        log: &MemoryRunLog,
        machine: &mut RunMachine,
        command: Command,
    ) -> Result<(), AppendError> {
        let mut next = machine.clone();
        let events = next.apply(command, Timestamp::UNIX_EPOCH).unwrap();
        log.append(next.run().clone(), machine.run().last_sequence, events).await?;
        *machine = next;
        Ok(())
    }

    #[tokio::test]
    async fn a_reader_gets_what_comes_after_and_is_told_of_more() {
        let log = MemoryRunLog::new(ROOMY);
        let mut machine = start(&log, 1).await.unwrap();
        let run_id = machine.run().run_id;
        let mut follower = log.follow(run_id).await.unwrap();
        apply(&log, &mut machine, Command::Emit(Draft::log("two"))).await.unwrap();
        assert!(follower.has_changed().unwrap());
        let slice = log.read(run_id, 1, 1).await.unwrap();
        assert_eq!(slice.entries.len(), 1);
        assert_eq!(slice.entries[0].event.message, "two");
        assert_eq!(slice.last_sequence, 2);
        assert!(log.read(run_id, 2, 1).await.unwrap().entries.is_empty());
        assert!(follower.borrow_and_update().last_sequence == 2);
    }

    #[tokio::test]
    async fn a_writer_that_was_overtaken_is_refused() {
        let log = MemoryRunLog::new(ROOMY);
        let mut machine = start(&log, 1).await.unwrap();
        let mut zombie = machine.clone();
        apply(&log, &mut machine, Command::Emit(Draft::log("mine"))).await.unwrap();
        let refused = apply(&log, &mut zombie, Command::Emit(Draft::log("late"))).await;
        assert!(matches!(refused, Err(AppendError::Conflict { expected: 1, actual: 2 })));
    }

    #[tokio::test]
    async fn a_full_run_takes_its_terminal_event_only() {
        let log = MemoryRunLog::new(MemoryLimits { per_run: 4000, ..ROOMY });
        let mut machine = start(&log, 1).await.unwrap();
        let long = Command::Emit(Draft::log("x".repeat(5000)));
        assert!(matches!(apply(&log, &mut machine, long).await, Err(AppendError::Full)));
        apply(&log, &mut machine, Command::Finish(Outcome::Cancelled)).await.unwrap();
    }

    #[tokio::test]
    async fn a_full_log_drops_ended_runs_and_never_live_ones() {
        let log = MemoryRunLog::new(MemoryLimits { total: 4000, ..ROOMY });
        let mut machines = Vec::new();
        let refused = loop {
            match start(&log, machines.len() as u128 + 1).await {
                Ok(machine) => machines.push(machine),
                Err(error) => break error,
            }
        };
        assert!(matches!(refused, CreateError::Full));
        apply(&log, &mut machines[1], Command::Finish(Outcome::Cancelled)).await.unwrap();
        start(&log, 1000).await.unwrap();
        assert!(matches!(log.run(machines[1].run().run_id).await, Err(ReadError::NotFound)));
        assert!(log.run(machines[0].run().run_id).await.is_ok());
    }

    #[tokio::test]
    async fn pages_go_from_new_to_old() {
        let log = MemoryRunLog::new(ROOMY);
        for number in 1..=5 {
            start(&log, number).await.unwrap();
        }
        let session_id = SessionId::new(Uuid::from_u128(1));
        let page =
            log.list(ListRuns { session_id: session_id.clone(), before: None, limit: 3 }).await.unwrap();
        let ids: Vec<_> = page.runs.iter().map(|it| it.run_id.uuid().as_u128()).collect();
        assert_eq!((ids, page.more), (vec![5, 4, 3], true));
        let before = Some(page.runs[2].run_id);
        let page = log.list(ListRuns { session_id, before, limit: 3 }).await.unwrap();
        let ids: Vec<_> = page.runs.iter().map(|it| it.run_id.uuid().as_u128()).collect();
        assert_eq!((ids, page.more), (vec![2, 1], false));
    }
}
