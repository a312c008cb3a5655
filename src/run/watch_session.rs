//! Reading the logs of all runs of a session through one cursor: catch up, follow, open each new run.

use std::sync::Arc;

use tokio::sync::watch;

use super::{
    CursorExpired, ReadRunError, WatchEnd, WatchError, WatchSessionError, WatchSettings, audience::Present,
    reader::Reader,
};
use crate::{
    model::{Digest, Entry, Position, RunId, SessionEntry, SessionId, SessionPlace, SessionPosition},
    runtime::shutdown::{Awaited, Signal},
    storage::{PlacedRun, ReadError, RunLog},
};

/// Runs that are looked through at a time when a watch begins with what is new.
const PAGE: usize = 64;

/// A watcher's place in the logs of a session's runs. Like a watch of one run it holds no events between reads; of each
/// open run it holds a reader, and at most [`crate::model::limits::OPEN_RUNS`] of them are open.
///
/// The events of a run come in their order. Open runs take turns, a bounded batch at a time, so that none starves.
pub struct SessionWatch {
    log: Arc<dyn RunLog>,
    session_id: SessionId,
    digest: Digest,
    place: SessionPlace,
    /// The open runs with their places; the same runs as in `place`.
    open: Vec<(u64, Reader)>,
    /// Which of the open runs is asked first.
    turn: usize,
    hints: watch::Receiver<u64>,
    settings: WatchSettings,
    draining: Awaited,
    /// Runs are told compactly as far as they go when they are opened. Not set any more once all has been told.
    compact: bool,
    _present: Option<Present>,
}

impl SessionWatch {
    /// Begins to read the logs of the runs of a session.
    pub(super) async fn open(
        log: Arc<dyn RunLog>,
        session_id: SessionId,
        position: SessionPosition,
        settings: WatchSettings,
        draining: &Signal,
    ) -> Result<Self, WatchSessionError> {
        // Subscribed before anything is read, so that nothing can slip in between.
        let hints = log.follow_session(&session_id).await;
        let digest = SessionPlace::digest_of(&session_id);
        let place = SessionPlace::start();
        let (open, turn, compact, _present) = (Vec::new(), 0, false, None);
        let draining = draining.awaited();
        let mut watch =
            Self { log, session_id, digest, place, open, turn, hints, settings, draining, compact, _present };
        match position {
            SessionPosition::Start => {}
            SessionPosition::Now => watch.begin_now().await?,
            SessionPosition::After(place) => watch.resume(place).await?,
        }
        Ok(watch)
    }

    /// Merges deltas and drops superseded progress, in each run by itself, until for the first time nothing is left to be
    /// told.
    #[must_use]
    pub fn compact(mut self) -> Self {
        self.compact = true;
        self.open.iter_mut().for_each(|(_, reader)| reader.compact());
        self
    }

    /// The same, counted as somebody who watches the session.
    pub(super) fn counted(self, present: Present) -> Self {
        Self { _present: Some(present), ..self }
    }

    /// The session.
    pub fn session_id(&self) -> &SessionId {
        &self.session_id
    }

    /// The next events, of one run, as many as are there but bounded; waits for one when there are none.
    ///
    /// Cancel safe: a call that is dropped has read nothing.
    pub async fn next(&mut self) -> Result<Vec<SessionEntry>, WatchEnd> {
        loop {
            if self.draining.already() {
                return Err(WatchEnd::Draining);
            }
            // Marked as seen before anything is read: what comes in between wakes the wait below.
            self.hints.mark_unchanged();
            self.open_new_runs().await?;
            for _ in 0..self.open.len() {
                let turn = self.turn % self.open.len();
                self.turn = turn + 1;
                let (place, reader) = &mut self.open[turn];
                let (place, run_id) = (*place, reader.run_id());
                let entries = reader.ready().await.map_err(|error| self.lost(run_id, &error))?;
                if !entries.is_empty() {
                    return Ok(self.told(place, entries));
                }
            }
            self.compact = false;
            tokio::select! {
                biased;
                // As long as somebody follows, the log does not close the channel, unless it ends itself.
                changed = self.hints.changed() => changed.map_err(|_| WatchEnd::Draining)?,
                () = &mut self.draining => continue,
            }
            self.settings.coalesce.pause().await;
        }
    }

    /// Opens the runs that have begun since, as many as there is room for.
    async fn open_new_runs(&mut self) -> Result<(), WatchEnd> {
        let (frontier, room) = (self.place.frontier(), self.place.room());
        if room == 0 {
            return Ok(());
        }
        for PlacedRun { place, run_id } in self.log.placed_after(&self.session_id, frontier, room).await {
            let mut reader = match Reader::open(self.log.clone(), run_id, Position::Start).await {
                Ok(reader) => reader,
                Err(WatchError::Read(ReadRunError::RunUnreadable(cause))) => {
                    return Err(ReadRunError::from(cause).into());
                }
                // It was there a moment ago: dropped before it was told.
                Err(WatchError::Read(ReadRunError::RunNotFound(_)) | WatchError::OutOfRange(_)) => {
                    return Err(self.expired().into());
                }
            };
            if self.compact {
                reader.compact();
            }
            self.place.open(place, 0);
            self.open.push((place, reader));
        }
        Ok(())
    }

    /// Passes over all that is there, but keeps the runs that go on.
    async fn begin_now(&mut self) -> Result<(), WatchSessionError> {
        loop {
            let page = self.log.placed_after(&self.session_id, self.place.frontier(), PAGE).await;
            if page.is_empty() {
                return Ok(());
            }
            for PlacedRun { place, run_id } in page {
                // What has ended, is gone or cannot be read has nothing new to tell.
                let goes_on = self.log.run(run_id).await.is_ok_and(|run| !run.state.is_terminal());
                if !goes_on {
                    self.place.skip(place);
                    continue;
                }
                if self.place.room() == 0 {
                    return Ok(());
                }
                let reader = self.reader_at(run_id, Position::Now).await?;
                self.place.open(place, reader.after());
                self.take_up(place, reader);
            }
        }
    }

    /// Takes up what a cursor says. Only while the newest run that it knows is kept is it certain that no run which
    /// began after it has been dropped.
    async fn resume(&mut self, place: SessionPlace) -> Result<(), WatchSessionError> {
        self.run_at(place.frontier()).await?;
        self.place = place.clone();
        for open in place.open_runs() {
            let run_id = self.run_at(open.place).await?;
            let reader = self.reader_at(run_id, Position::After(open.sequence)).await?;
            self.take_up(open.place, reader);
        }
        Ok(())
    }

    fn take_up(&mut self, place: u64, reader: Reader) {
        if reader.at_end() {
            self.place.skip(place);
        } else {
            self.open.push((place, reader));
        }
    }

    /// The run of the session that has the place.
    async fn run_at(&self, place: u64) -> Result<RunId, CursorExpired> {
        let before = place.checked_sub(1).ok_or_else(|| self.expired())?;
        let found = self.log.placed_after(&self.session_id, before, 1).await;
        let found = found.first().filter(|it| it.place == place);
        found.map(|it| it.run_id).ok_or_else(|| self.expired())
    }

    async fn reader_at(&self, run_id: RunId, position: Position) -> Result<Reader, WatchSessionError> {
        let reader = Reader::open(self.log.clone(), run_id, position).await;
        reader.map_err(|error| match error {
            WatchError::Read(ReadRunError::RunNotFound(_)) => self.expired().into(),
            WatchError::Read(ReadRunError::RunUnreadable(cause)) => cause.into(),
            WatchError::OutOfRange(cause) => cause.into(),
        })
    }

    /// Gives each event the position after it.
    fn told(&mut self, run: u64, entries: Vec<Arc<Entry>>) -> Vec<SessionEntry> {
        let told = entries.into_iter().map(|entry| {
            let terminal = entry.event.kind.is_terminal();
            self.place.told(run, entry.event.sequence, terminal);
            if terminal {
                self.open.retain(|(place, _)| *place != run);
                // The next of the open runs has moved up.
                self.turn = self.turn.saturating_sub(1);
            }
            SessionEntry { cursor: self.place.cursor(self.digest), entry }
        });
        told.collect()
    }

    fn lost(&self, run_id: RunId, error: &ReadError) -> WatchEnd {
        match error {
            // Dropped before it was told to its end.
            ReadError::NotFound => self.expired().into(),
            error => ReadRunError::new(run_id, error).into(),
        }
    }

    fn expired(&self) -> CursorExpired {
        CursorExpired { session_id: self.session_id.clone() }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap};

    use futures::FutureExt as _;
    use jiff::Timestamp;
    use proptest::{collection::vec, prelude::*};
    use uuid::Uuid;

    use super::*;
    use crate::{
        model::{Command, Draft, Event, EventKind, Outcome, RunMachine, limits},
        storage::{MemoryLimits, MemoryRunLog, NewRun, Trim},
    };

    /// A session whose runs do what the test says. Nothing in it ever waits.
    struct Bench {
        log: Arc<MemoryRunLog>,
        machines: Vec<RunMachine>,
    }

    impl Bench {
        fn new() -> Self {
            let bounds = MemoryLimits { per_run: 64 << 20, total: 256 << 20 };
            Self { log: Arc::new(MemoryRunLog::new(bounds)), machines: Vec::new() }
        }

        fn start(&mut self) -> usize {
            let number = self.machines.len();
            let run_id = RunId::new(Uuid::from_u128(number as u128 + 1));
            let (machine, first) = RunMachine::create(run_id, session(), "w".into(), Timestamp::UNIX_EPOCH);
            let new = NewRun {
                run: machine.run().clone(),
                events: vec![first],
                params: BTreeMap::new(),
                key: None,
            };
            now(self.log.create(new)).unwrap();
            self.machines.push(machine);
            number
        }

        /// A run that has ended does nothing any more.
        fn apply(&mut self, number: usize, command: Command) {
            let machine = &mut self.machines[number];
            let before = machine.run().last_sequence;
            if let Ok(events) = machine.apply(command, Timestamp::UNIX_EPOCH) {
                now(self.log.append(machine.run().clone(), before, events)).unwrap();
            }
        }

        fn say(&mut self, number: usize, text: &str) {
            self.apply(number, Command::Emit(Draft::log(text)));
        }

        fn end(&mut self, number: usize) {
            self.apply(number, Command::Finish(Outcome::Cancelled));
        }

        fn drop_ended(&self) {
            now(self.log.trim(Trim { ended_before: Timestamp::MAX, keys_before: Timestamp::MIN }));
        }

        fn watch(&self, after: &str) -> Result<SessionWatch, WatchSessionError> {
            let position = SessionPosition::parse(after, &session()).unwrap();
            let (settings, draining) = (WatchSettings::default(), Signal::default());
            now(SessionWatch::open(self.log.clone(), session(), position, settings, &draining))
        }

        fn logs(&self) -> HashMap<RunId, Vec<u64>> {
            let runs = self.machines.iter().map(|it| it.run());
            runs.map(|it| (it.run_id, (1..=it.last_sequence).collect())).collect()
        }
    }

    fn session() -> SessionId {
        SessionId::new(Uuid::from_u128(7))
    }

    fn now<T>(future: impl Future<Output = T>) -> T {
        future.now_or_never().expect("nothing waits")
    }

    /// The next events; none when the watch waits for them.
    fn next(watch: &mut SessionWatch) -> Vec<SessionEntry> {
        watch.next().now_or_never().map(Result::unwrap).unwrap_or_default()
    }

    fn all(watch: &mut SessionWatch) -> Vec<SessionEntry> {
        std::iter::repeat_with(|| next(watch)).take_while(|it| !it.is_empty()).flatten().collect()
    }

    fn events(told: &[SessionEntry]) -> Vec<&Event> {
        told.iter().map(|it| &it.entry.event).collect()
    }

    fn expired<T>(result: Result<T, WatchSessionError>) -> bool {
        matches!(result, Err(WatchSessionError::Expired(_)))
    }

    proptest! {
        #[test]
        fn whatever_happens_and_wherever_it_is_cut_each_log_is_told_once(
            steps in vec((0u8..8, any::<usize>()), 0..150),
            cuts in vec(prop::option::of(0usize..5), 150),
        ) {
            let mut bench = Bench::new();
            let mut watch = bench.watch("").unwrap();
            let (mut told, mut cursor): (HashMap<RunId, Vec<u64>>, _) = (HashMap::new(), String::new());
            for ((step, which), cut) in steps.into_iter().zip(cuts).chain([((8, 0), None)]) {
                let count = bench.machines.len();
                match step {
                    0 | 1 => { bench.start(); }
                    2..6 if count > 0 => bench.say(which % count, "x"),
                    6 if count > 0 => bench.end(which % count),
                    // At last all runs end, so that there is room for all of them.
                    8 => (0..count).for_each(|it| bench.end(it)),
                    _ => {}
                }
                // A watch that is cut has told only a part of what it has read.
                let batches = if cut.is_some() { next(&mut watch) } else { all(&mut watch) };
                for SessionEntry { entry, cursor: after } in batches.into_iter().take(cut.unwrap_or(usize::MAX)) {
                    told.entry(entry.event.run_id).or_default().push(entry.event.sequence);
                    cursor = after;
                }
                if cut.is_some() {
                    watch = bench.watch(&cursor).unwrap();
                }
            }
            prop_assert_eq!(told, bench.logs());
        }
    }

    #[test]
    fn a_burst_of_one_run_does_not_starve_another() {
        let mut bench = Bench::new();
        let (loud, quiet) = (bench.start(), bench.start());
        let text = "x".repeat(limits::WATCH_BATCH_BYTES / 8);
        (0..64).for_each(|_| bench.say(loud, &text));
        bench.say(quiet, "here");
        let mut watch = bench.watch("").unwrap();
        let first: Vec<_> = (0..2).flat_map(|_| next(&mut watch)).collect();
        assert!(events(&first).iter().any(|it| it.message == "here"));
        assert!(first.len() < 32);
        bench.say(quiet, "again");
        let second: Vec<_> = (0..2).flat_map(|_| next(&mut watch)).collect();
        assert!(events(&second).iter().any(|it| it.message == "again"));
    }

    #[test]
    fn a_run_that_was_told_may_go_and_one_that_was_not_ends_the_watch() {
        let mut bench = Bench::new();
        let (one, other) = (bench.start(), bench.start());
        bench.end(one);
        let mut watch = bench.watch("").unwrap();
        let told = all(&mut watch);
        bench.drop_ended();
        bench.say(other, "on");
        assert_eq!(all(&mut watch).len(), 1);
        // The first run was told, the second was not told to its end.
        assert!(bench.watch(&told.last().unwrap().cursor).is_ok());
        bench.say(other, "and on");
        bench.end(other);
        bench.drop_ended();
        assert!(matches!(now(watch.next()), Err(WatchEnd::Expired(_))));
        assert!(expired(bench.watch(&told.last().unwrap().cursor)));
        // Begun again without a cursor, the watch waits for what comes.
        let mut watch = bench.watch("").unwrap();
        assert!(next(&mut watch).is_empty());
        bench.start();
        assert_eq!(all(&mut watch).len(), 1);
    }

    #[test]
    fn a_cursor_expires_with_the_newest_run_that_it_knows() {
        let mut bench = Bench::new();
        let run = bench.start();
        bench.end(run);
        let told = all(&mut bench.watch("").unwrap());
        let last = &told.last().unwrap().cursor;
        assert!(bench.watch(last).is_ok());
        // A run begins and is dropped while nobody watches: nobody could say that it is missing.
        let missed = bench.start();
        bench.end(missed);
        bench.drop_ended();
        assert!(expired(bench.watch(last)));
        bench.start();
        assert!(expired(bench.watch(last)), "a newer run does not stand for it");
        let mut ahead = SessionPlace::start();
        ahead.open(u64::MAX, 0);
        assert!(expired(bench.watch(&ahead.cursor(SessionPlace::digest_of(&session())))));
    }

    #[test]
    fn now_passes_over_what_is_there_and_keeps_to_what_goes_on() {
        let mut bench = Bench::new();
        let (ended, goes_on) = (bench.start(), bench.start());
        bench.end(ended);
        let mut watch = bench.watch("now").unwrap();
        assert!(next(&mut watch).is_empty());
        bench.say(goes_on, "on");
        let told = all(&mut watch);
        assert_eq!(events(&told).iter().map(|it| it.message.as_str()).collect::<Vec<_>>(), ["on"]);
        bench.say(goes_on, "further");
        assert_eq!(all(&mut bench.watch(&told[0].cursor).unwrap()).len(), 1);
    }

    #[test]
    fn more_runs_than_may_be_open_wait_for_the_older_ones() {
        let mut bench = Bench::new();
        let runs: Vec<_> = (0..limits::OPEN_RUNS + 2).map(|_| bench.start()).collect();
        let mut watch = bench.watch("").unwrap();
        assert_eq!(all(&mut watch).len(), limits::OPEN_RUNS);
        bench.end(runs[3]);
        let told = all(&mut watch);
        assert_eq!(events(&told).last().unwrap().run_id, bench.machines[limits::OPEN_RUNS].run().run_id);
    }

    #[test]
    fn each_run_is_compacted_by_itself_until_the_watch_has_caught_up() {
        let mut bench = Bench::new();
        let runs = [bench.start(), bench.start()];
        let delta = |text: &str| Command::Emit(Draft::new(EventKind::Delta { text: text.to_owned() }, ""));
        for run in [0, 1, 0, 1] {
            bench.apply(runs[run], delta("x"));
        }
        let texts = |told: &[SessionEntry]| -> Vec<String> {
            let text =
                |it: &Event| if let EventKind::Delta { text } = &it.kind { Some(text.clone()) } else { None };
            events(told).into_iter().filter_map(text).collect()
        };
        let mut watch = bench.watch("").unwrap().compact();
        assert_eq!(texts(&all(&mut watch)), ["xx", "xx"]);
        bench.apply(runs[0], delta("y"));
        bench.apply(runs[0], delta("z"));
        assert_eq!(texts(&all(&mut watch)), ["y", "z"]);
        let late = bench.start();
        bench.apply(late, delta("y"));
        bench.apply(late, delta("z"));
        assert_eq!(texts(&all(&mut watch)), ["y", "z"], "no catch-up any more");
    }
}
