//! Random work on a log, and what must be found of it after the power was cut.

use std::collections::BTreeMap as Map;

use super::{
    disk::{Dice, FakeDisk},
    *,
};

/// Rounds of work between two losses of power.
const ROUNDS: usize = 12;

/// A run and all that was ever asked of it.
struct Asked {
    key: IdempotencyKey,
    /// The events of each append, and the run after it; the first began the run.
    batches: Vec<(RunMachine, Vec<Event>)>,
    /// So many of them were acknowledged.
    acknowledged: usize,
    refused: bool,
    dropped: Dropped,
    /// Its key may be forgotten.
    key_is_old: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Dropped {
    No,
    /// It may come back with a loss of power.
    Asked,
    Durably,
}

/// All runs.
#[derive(Default)]
pub(super) struct World {
    runs: Map<u128, Asked>,
}

pub(super) fn open_on(disk: &FakeDisk, sync: SyncMode) -> SegmentRunLog {
    let options = SegmentOptions { sync, ..small() };
    SegmentRunLog::on(Box::new(disk.clone()), Path::new("a disk in memory"), options, None).unwrap()
}

impl World {
    /// Works on `log` for some rounds, or until the power is off.
    pub(super) async fn work(
        &mut self,
        log: &SegmentRunLog,
        dice: &mut Dice,
        off: &mut watch::Receiver<bool>,
    ) {
        for _ in 0..ROUNDS {
            if *off.borrow() {
                return;
            }
            self.ask(dice);
            let work = self.runs.values_mut().map(|it| it.catch_up(log));
            tokio::select! {
                biased;
                done = futures::future::join_all(work) => self.forget(&done),
                _ = off.changed() => return,
            }
            if dice.roll(3) == 0 {
                let newest = self.runs.keys().last().map_or(0, |it| *it as u64);
                let before = at(dice.roll(12 + newest));
                for it in self.runs.values_mut().filter(|it| it.is_done(before) && it.dropped == Dropped::No)
                {
                    it.dropped = Dropped::Asked;
                }
                let keys_before = at(dice.roll(1 + newest));
                for it in self.runs.values_mut().filter(|it| it.used_at() < keys_before) {
                    it.key_is_old = true;
                }
                log.trim(Trim { ended_before: before, keys_before }).await;
            }
        }
    }

    /// What is to be done next: runs that begin, events, ends.
    fn ask(&mut self, dice: &mut Dice) {
        for _ in 0..dice.roll(3) {
            let number = self.runs.keys().last().map_or(1, |it| it + 1);
            let run_id = RunId::new(Uuid::from_u128(number));
            let begun = at(u64::try_from(number).unwrap());
            let (machine, first) = RunMachine::create(run_id, session(), "w".into(), begun);
            let batches = vec![(machine, vec![first])];
            let key = key(&number.to_string());
            let dropped = Dropped::No;
            let asked = Asked { key, batches, acknowledged: 0, refused: false, dropped, key_is_old: false };
            self.runs.insert(number, asked);
        }
        for (number, asked) in &mut self.runs {
            // Some go on for long: then little is needed of what was written beside them.
            let end = if number % 4 == 0 { 60 } else { 5 };
            for _ in 0..dice.roll(4) {
                let mut machine = asked.batches.last().unwrap().0.clone();
                if machine.run().state.is_terminal() {
                    break;
                }
                let text = "x".repeat(dice.roll(200) as usize);
                let command = match dice.roll(end) {
                    0 => Command::Finish(Outcome::Cancelled),
                    _ => Command::Emit(Draft::log(text)),
                };
                let now = u64::try_from(*number).unwrap() + machine.run().last_sequence;
                let events = machine.apply(command, at(now)).unwrap();
                asked.batches.push((machine, events));
            }
        }
    }

    /// A drop is durable when what was acknowledged after it is.
    fn forget(&mut self, done: &[bool]) {
        if done.iter().any(|it| *it) {
            for it in self.runs.values_mut().filter(|it| it.dropped == Dropped::Asked) {
                it.dropped = Dropped::Durably;
            }
        }
    }

    /// Compares with what is found after a restart, then goes on from there.
    pub(super) async fn check(&mut self, log: &SegmentRunLog) -> Result<(), String> {
        let all = log.all().await;
        for run_id in &all {
            if !self.runs.contains_key(&run_id.uuid().as_u128()) {
                return Err(format!("{run_id} was never asked for"));
            }
        }
        for (number, asked) in &mut self.runs {
            asked.check(log).await.map_err(|it| format!("run {number}: {it}"))?;
        }
        let live = self.runs.values().filter(|it| it.dropped == Dropped::No && !it.is_done(Timestamp::MAX));
        let live: Vec<_> = live.filter(|it| it.acknowledged > 0).map(Asked::id).collect();
        let mut found = log.live().await;
        found.sort_unstable();
        if found != live {
            return Err(format!("{found:?} go on, not {live:?}"));
        }
        let places = log.placed_after(&session(), 0, usize::MAX).await;
        if places.len() != all.len() || !places.is_sorted_by(|one, two| one.place < two.place) {
            return Err(format!("places {places:?}"));
        }
        self.runs.retain(|_, it| it.acknowledged > 0);
        Ok(())
    }
}

impl Asked {
    fn id(&self) -> RunId {
        self.batches[0].0.run().run_id
    }

    fn used_at(&self) -> Timestamp {
        self.batches[0].0.run().created_at
    }

    /// True when its acknowledged end was before.
    fn is_done(&self, before: Timestamp) -> bool {
        let run = self.acknowledged.checked_sub(1).map(|it| self.batches[it].0.run());
        run.is_some_and(|it| it.finished_at.is_some_and(|it| it < before))
    }

    /// Asks for all that was not acknowledged, without waiting between; true when something was.
    async fn catch_up(&mut self, log: &SegmentRunLog) -> bool {
        if self.refused || self.acknowledged == self.batches.len() {
            return false;
        }
        let before = self.acknowledged;
        if before == 0 {
            let (machine, events) = self.batches[0].clone();
            let (run, key) = (machine.run().clone(), Some(self.key));
            let created = log.create(NewRun { run, events, params: BTreeMap::new(), key }).await;
            self.refused = created.is_err();
            if self.refused {
                assert!(matches!(created, Err(CreateError::Unavailable(_))), "{created:?}");
                return false;
            }
            self.acknowledged = 1;
        }
        let (batches, acknowledged) = (&self.batches, &mut self.acknowledged);
        let first = *acknowledged;
        let appends = batches.iter().enumerate().skip(first).map(|(number, (machine, events))| {
            let expected = batches[number - 1].0.run().last_sequence;
            log.append(machine.run().clone(), expected, events.clone())
        });
        let mut appends: futures::stream::FuturesOrdered<_> = appends.collect();
        while let Some(appended) = futures::StreamExt::next(&mut appends).await {
            match appended {
                Ok(()) => *acknowledged += 1,
                Err(error) => panic!("an append was refused: {error}"),
            }
        }
        *acknowledged > before
    }

    async fn check(&mut self, log: &SegmentRunLog) -> Result<(), String> {
        let (found, error) = events(log, self.id()).await;
        let used = log.used_key(self.key.name).await;
        let expected = UsedKey { run_id: self.id(), request: self.key.request };
        match (&error, self.dropped) {
            (Some(ReadError::NotFound), Dropped::No) if self.acknowledged > 0 => {
                return Err("lost".to_owned());
            }
            (Some(ReadError::NotFound), Dropped::No) => {
                return if used.is_none() { Ok(()) } else { Err("a key without its run".to_owned()) };
            }
            (Some(ReadError::NotFound), _) => self.dropped = Dropped::Durably,
            (Some(error), _) => return Err(format!("{error:?}")),
            (None, Dropped::Durably) => return Err("was dropped, and came back".to_owned()),
            (None, _) => self.dropped = Dropped::No,
        }
        if used != Some(expected) && !(self.key_is_old && used.is_none()) {
            return Err(format!("its key stands for {used:?}"));
        }
        if self.dropped == Dropped::Durably {
            return Ok(());
        }
        let mut kept = 0;
        let mut rest = found.as_slice();
        while let Some((_, batch)) = self.batches.get(kept).filter(|_| !rest.is_empty()) {
            rest = rest.strip_prefix(batch.as_slice()).ok_or("events that were never appended so")?;
            kept += 1;
        }
        if !rest.is_empty() || kept < self.acknowledged {
            return Err(format!("{kept} appends are there, {} were acknowledged", self.acknowledged));
        }
        self.batches.truncate(kept);
        (self.acknowledged, self.refused) = (kept, false);
        let run = log.run(self.id()).await.map_err(|it| it.to_string())?;
        let asked = self.batches[kept - 1].0.run();
        if run == *asked { Ok(()) } else { Err(format!("{run:?} is not {asked:?}")) }
    }
}
