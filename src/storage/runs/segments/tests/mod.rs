//! The log on disk: what survives, what is cut, what is told.

mod cleaning;
mod damage;
mod disk;
mod followers;
mod retention;
mod survives;
mod trouble;
mod world;

use std::{collections::BTreeMap, path::Path, time::Duration};

use jiff::Timestamp;
use uuid::Uuid;

use super::*;
use crate::model::{Command, Draft, IdempotencyKey, Outcome, RunMachine};

/// A run under test: its machine, and every event that was acknowledged.
#[derive(Clone)]
struct Told {
    machine: RunMachine,
    events: Vec<Event>,
}

impl Told {
    fn id(&self) -> RunId {
        self.machine.run().run_id
    }

    /// Applies `command`; what is acknowledged is kept.
    async fn apply(&mut self, log: &SegmentRunLog, command: Command) -> Result<(), AppendError> {
        let mut next = self.machine.clone();
        let events = next.apply(command, at(self.machine.run().last_sequence)).unwrap();
        log.append(next.run().clone(), self.machine.run().last_sequence, events.clone()).await?;
        self.machine = next;
        self.events.extend(events);
        Ok(())
    }

    async fn say(&mut self, log: &SegmentRunLog, text: &str) {
        self.apply(log, Command::Emit(Draft::log(text).with_progress(7))).await.unwrap();
    }

    async fn end(&mut self, log: &SegmentRunLog) {
        self.apply(log, Command::Finish(Outcome::Cancelled)).await.unwrap();
    }
}

/// Commits at once, rolls often, keeps nothing in memory.
fn small() -> SegmentOptions {
    SegmentOptions {
        commit_interval: Duration::ZERO,
        segment_bytes: 2000,
        cache: 1,
        ..SegmentOptions::default()
    }
}

fn open(folder: &Path) -> SegmentRunLog {
    SegmentRunLog::open(folder, small()).unwrap()
}

fn at(second: u64) -> Timestamp {
    Timestamp::from_second(i64::try_from(second).unwrap()).unwrap()
}

fn session() -> SessionId {
    SessionId::new(Uuid::from_u128(1))
}

fn key(name: &str) -> IdempotencyKey {
    IdempotencyKey::new(&session(), name, "start")
}

/// A run that is yet to begin.
fn new_run(number: u128, key: Option<IdempotencyKey>) -> (Told, NewRun) {
    let run_id = RunId::new(Uuid::from_u128(number));
    let (machine, first) = RunMachine::create(run_id, session(), "w".into(), at(1));
    let params = BTreeMap::from([("n".to_owned(), number.to_string())]);
    let new = NewRun { run: machine.run().clone(), events: vec![first.clone()], params, key };
    (Told { machine, events: vec![first] }, new)
}

async fn start(log: &SegmentRunLog, number: u128) -> Told {
    let (told, new) = new_run(number, Some(key(&number.to_string())));
    log.create(new).await.unwrap();
    told
}

/// The events of a run that can be read, in small slices, and what ended the reading.
async fn events(log: &SegmentRunLog, run_id: RunId) -> (Vec<Event>, Option<ReadError>) {
    let mut events: Vec<Event> = Vec::new();
    loop {
        match log.read(run_id, events.len() as u64, 1500).await {
            Ok(slice) if slice.entries.is_empty() => return (events, None),
            Ok(slice) => events.extend(slice.entries.iter().map(|it| it.event.clone())),
            Err(error) => return (events, Some(error)),
        }
    }
}

/// Demands that the log holds exactly what was told.
async fn holds(log: &SegmentRunLog, told: &Told) {
    let (found, error) = events(log, told.id()).await;
    assert!(error.is_none(), "{error:?}");
    assert_eq!(found, told.events);
    assert_eq!(&log.run(told.id()).await.unwrap(), told.machine.run());
}

/// The segment files, in order.
fn segments(folder: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(folder).unwrap().map(|it| it.unwrap().path());
    let mut files: Vec<_> = files.filter(|it| it.extension().is_some_and(|it| it == "segment")).collect();
    files.sort();
    files
}

/// The offsets and headers of the records of a segment.
fn records(bytes: &[u8]) -> Vec<(usize, record::Header)> {
    let (mut at, mut records) = (segment_head::HEAD, Vec::new());
    while let Some(header) = bytes.get(at..).and_then(record::Header::decode) {
        records.push((at, header));
        at += usize::try_from(header.length()).unwrap();
    }
    records
}

/// Drops runs that ended before `second`, and forgets keys as old.
async fn trim(log: &SegmentRunLog, second: u64) {
    log.trim(Trim { ended_before: at(second), keys_before: at(second) }).await;
}
