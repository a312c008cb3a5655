//! Runs that write, at a pace or as fast as they can.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use rungate::{
    model::{Command, Draft, EventKind, Outcome, RunId, RunMachine, SessionId},
    storage::{NewRun, RunLog as _, SegmentRunLog, Trim},
};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::fjall_log::FjallLog;

/// Runs that write at the same time.
pub(crate) const RUNS: usize = 1000;
const TEXT_BYTES: usize = 200;
/// Where the numbers of runs begin that are there to be dropped.
const FIRST_LITTER: usize = 1_000_000;
/// Events that these append in one step.
const LITTER_EACH: usize = 10;

/// What is measured.
#[derive(Clone)]
pub(crate) enum Engine {
    Segments(Arc<SegmentRunLog>),
    Fjall(Arc<FjallLog>),
}

/// One run that writes.
struct Producer {
    engine: Engine,
    machine: RunMachine,
    text: String,
}

impl Producer {
    async fn begin(engine: &Engine, number: usize) -> Self {
        let run_id = RunId::new(Uuid::from_u128((1 << 100) + number as u128));
        let session_id = SessionId::new(Uuid::from_u128(number as u128));
        let (machine, first) = RunMachine::create(run_id, session_id, "bench".into(), Timestamp::now());
        if let Engine::Segments(log) = engine {
            let new = NewRun {
                run: machine.run().clone(),
                events: vec![first],
                params: BTreeMap::new(),
                key: None,
            };
            log.create(new).await.expect("a run");
        }
        Self { engine: engine.clone(), machine, text: "x".repeat(TEXT_BYTES) }
    }

    /// Ends the run.
    async fn end(&mut self, log: &SegmentRunLog) {
        let expected = self.machine.run().last_sequence;
        let events = self.machine.apply(Command::Finish(Outcome::Cancelled), Timestamp::now());
        let run = self.machine.run().clone();
        log.append(run, expected, events.expect("a run that goes on")).await.expect("an append");
    }

    /// Appends `count` events in one step, as a run's writer does with what has gathered.
    async fn append(&mut self, count: usize) {
        let expected = self.machine.run().last_sequence;
        let mut events = Vec::with_capacity(count);
        for _ in 0..count {
            let draft = Draft::new(EventKind::Delta { text: self.text.clone() }, "");
            events.extend(
                self.machine.apply(Command::Emit(draft), Timestamp::now()).expect("a run that goes on"),
            );
        }
        let run = self.machine.run().clone();
        match &self.engine {
            Engine::Segments(log) => log.append(run, expected, events).await.expect("an append"),
            Engine::Fjall(log) => log.append(run.run_id.uuid(), expected, count, &self.text).await,
        }
    }
}

/// Latencies of appends that are offered at a steady rate, whatever became of those before.
pub(crate) async fn paced(engine: &Engine, rate: usize, length: Duration) -> String {
    let pause = Duration::from_secs_f64(RUNS as f64 / rate as f64);
    let mut tasks = JoinSet::new();
    for number in 0..RUNS {
        let engine = engine.clone();
        tasks.spawn(async move {
            let mut producer = Producer::begin(&engine, number).await;
            let mut latencies = Vec::new();
            // Spread over the pause, so that not all write at once.
            let start = tokio::time::Instant::now() + pause.mul_f64(number as f64 / RUNS as f64);
            let mut ticks = tokio::time::interval_at(start, pause);
            let end = start + length;
            loop {
                let due = ticks.tick().await;
                if due >= end {
                    return latencies;
                }
                producer.append(1).await;
                latencies.push(due.elapsed());
            }
        });
    }
    let mut latencies: Vec<_> = tasks.join_all().await.into_iter().flatten().collect();
    latencies.sort_unstable();
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    format!("{:.1} / {:.1} / {:.1} ms", at(0.5), at(0.99), at(1.0))
}

/// Events a second when every run appends the next `count` as soon as those before are acknowledged; and the bytes of
/// memory that each event of the second half has added, when all that does not grow with them is there.
pub(crate) async fn saturated(engine: &Engine, events: usize, count: usize) -> (f64, f64) {
    let mut tasks = JoinSet::new();
    let mut producers = Vec::new();
    for number in 0..RUNS {
        producers.push(Producer::begin(engine, number).await);
    }
    let began = Instant::now();
    let appends = events / RUNS / count;
    for (number, mut producer) in producers.into_iter().enumerate() {
        tasks.spawn(async move {
            let mut half_way = 0;
            for done in 0..appends {
                if number == 0 && done == appends / 2 {
                    half_way = resident();
                }
                producer.append(count).await;
            }
            half_way
        });
    }
    let half_way: usize = tasks.join_all().await.into_iter().sum();
    let rate = events as f64 / began.elapsed().as_secs_f64();
    (rate, resident().saturating_sub(half_way) as f64 / (events as f64 / 2.0))
}

/// Events a second when one reader reads all runs, one after the other.
pub(crate) async fn replayed(log: &SegmentRunLog) -> f64 {
    let (began, mut events) = (Instant::now(), 0);
    for run_id in log.all().await {
        let mut after = 0;
        loop {
            let slice = log.read(run_id, after, 1 << 20).await.expect("a log");
            let Some(last) = slice.entries.last() else { break };
            after = last.event.sequence;
            events += slice.entries.len();
        }
    }
    events as f64 / began.elapsed().as_secs_f64()
}

/// Fills a log with events of ten times as many runs, then drops nine of ten: all its segments are to be cleaned.
pub(crate) async fn littered(log: &Arc<SegmentRunLog>, events: usize) {
    let engine = Engine::Segments(log.clone());
    let runs = 10 * RUNS;
    let mut tasks = JoinSet::new();
    for number in 0..runs {
        let (engine, log) = (engine.clone(), log.clone());
        tasks.spawn(async move {
            let mut producer = Producer::begin(&engine, FIRST_LITTER + number).await;
            for _ in 0..(events / runs).div_ceil(LITTER_EACH) {
                producer.append(LITTER_EACH).await;
            }
            if number % 10 > 0 {
                producer.end(&log).await;
            }
        });
    }
    tasks.join_all().await;
    log.trim(Trim { ended_before: Timestamp::MAX, keys_before: Timestamp::MIN }).await;
}

/// Bytes of this process in memory.
pub(crate) fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: usize = status.split(' ').nth(1).and_then(|it| it.parse().ok()).expect("a number");
    pages * rustix::param::page_size()
}

/// Bytes of a folder on disk.
pub(crate) fn disk_bytes(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).expect("a folder").flatten();
    entries
        .map(
            |it| {
                if it.path().is_dir() {
                    disk_bytes(&it.path())
                } else {
                    it.metadata().map_or(0, |it| it.len())
                }
            },
        )
        .sum()
}
