//! Append, subscribe, follow, trim and close in every order that a scheduler comes up with.
//!
//! The writer, the watches and the log in memory are the real ones. They run on shuttle's executor, which decides at each
//! scheduling point who goes on, and reports it as a deadlock when nobody can: a watcher that sleeps through an event.
//! [`Stepped`] puts a scheduling point before and after each call of the log. The log takes its lock once per call and
//! never waits while it holds it, so this is as strong as a lock that shuttle knows; the channels of tokio add theirs
//! wherever a task has to wait. What two processors may see of each other's memory is not modelled.

mod answers;
mod stepped;

use std::{
    collections::BTreeMap,
    ops::RangeInclusive,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures::{
    FutureExt as _,
    future::{BoxFuture, join_all},
};
use jiff::Timestamp;
use shuttle::{
    Config, Runner,
    future::{block_on, spawn},
    scheduler::{DfsScheduler, PctScheduler, RandomScheduler, Scheduler},
};
use uuid::Uuid;

use self::stepped::Stepped;
use super::{ReadRunError, Runs, WatchEnd, WatchError, WriterHandle, writer::Writer};
use crate::{
    model::{Command, Draft, Event, Outcome, Position, RunId, RunMachine, SessionId, limits},
    runtime::shutdown::Shutdown,
    storage::{NewRun, RunLog as _, Trim},
};

/// A task of the model needs less, in a debug build too.
const STACK_BYTES: usize = 256 << 10;
/// Schedules that each scheduler tries: what fits into some seconds.
const SCHEDULES: usize = 1500;
/// More orders than a short run has.
const MOST_SCHEDULES: usize = 200_000;
/// Bugs of which each needs fewer than this many unlucky switches are found with a known likelihood.
const PCT_DEPTH: usize = 4;

/// How a watcher reads.
type Reader = fn(Runs, Arc<Stepped>, RunId, Position) -> BoxFuture<'static, Watched>;

/// What a watcher got.
#[derive(Debug)]
struct Watched {
    events: Vec<Event>,
    /// False when the run was dropped first.
    to_the_end: bool,
}

/// Schedules in which something worth looking at has happened.
#[derive(Debug, Default)]
struct Coverage {
    read_to_the_end: AtomicUsize,
    dropped_before: AtomicUsize,
    dropped_midway: AtomicUsize,
    began_midway: AtomicUsize,
}

/// Who takes part.
#[derive(Clone)]
struct Cast {
    reader: Reader,
    positions: Vec<Position>,
    emitted: usize,
    cancel: bool,
    trims: usize,
}

#[test]
fn any_order_shows_every_watcher_the_log() {
    let cast = Cast {
        reader: real_reader,
        positions: vec![Position::Start, Position::Now, Position::After(1)],
        emitted: 5,
        cancel: true,
        trims: 6,
    };
    for check in [check_random, check_pct] {
        let coverage = check(cast.clone());
        let counts = [
            &coverage.read_to_the_end,
            &coverage.dropped_before,
            &coverage.dropped_midway,
            &coverage.began_midway,
        ];
        let counts = counts.map(|it| it.load(Ordering::Relaxed));
        assert!(counts.iter().all(|it| *it > 0), "{coverage:?}");
    }
}

#[test]
fn every_order_of_a_short_run_shows_the_watcher_the_log() {
    let coverage = explore_all(real_reader, 3, 0);
    assert!(coverage.read_to_the_end.load(Ordering::Relaxed) > 0, "{coverage:?}");
    let coverage = explore_all(real_reader, 1, 1);
    assert!(coverage.dropped_before.load(Ordering::Relaxed) > 0, "{coverage:?}");
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_hint_marked_after_reading_is_found_by_chance() {
    check_random(faulty(marks_too_late));
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_hint_marked_after_reading_is_found_by_unlucky_switches() {
    check_pct(faulty(marks_too_late));
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_hint_marked_after_reading_is_found_among_all_orders() {
    explore_all(marks_too_late, 2, 0);
}

#[test]
#[should_panic(expected = "an event is missing")]
fn a_position_taken_from_the_hint_is_found() {
    check_random(faulty(trusts_the_hint));
}

fn faulty(reader: Reader) -> Cast {
    Cast { reader, positions: vec![Position::Start; 2], emitted: 3, cancel: false, trims: 0 }
}

fn check_random(cast: Cast) -> Arc<Coverage> {
    explore(cast, RandomScheduler::new_from_seed(1, SCHEDULES))
}

fn check_pct(cast: Cast) -> Arc<Coverage> {
    explore(cast, PctScheduler::new_from_seed(1, PCT_DEPTH, SCHEDULES))
}

fn explore(cast: Cast, scheduler: impl Scheduler + 'static) -> Arc<Coverage> {
    let coverage = Arc::new(Coverage::default());
    let counts = coverage.clone();
    runner(scheduler).run(move || block_on(play(cast.clone(), counts.clone())));
    coverage
}

/// Every order there is, of a run with so many appends and so much retention.
fn explore_all(reader: Reader, appends: usize, trims: usize) -> Arc<Coverage> {
    let coverage = Arc::new(Coverage::default());
    let counts = coverage.clone();
    let schedules = runner(DfsScheduler::new(Some(MOST_SCHEDULES), false))
        .run(move || block_on(play_short(reader, appends, trims, counts.clone())));
    assert!(schedules < MOST_SCHEDULES, "there are more orders than are tried");
    coverage
}

fn runner<S: Scheduler + 'static>(scheduler: S) -> Runner<S> {
    let mut config = Config::new();
    config.stack_size = STACK_BYTES;
    Runner::new(scheduler, config)
}

/// A run without a writer of its own, and one watcher: few enough steps for all their orders.
async fn play_short(reader: Reader, appends: usize, trims: usize, coverage: Arc<Coverage>) {
    let (log, mut machine) = begin().await;
    let run_id = machine.run().run_id;
    let runs = Runs::new(log.clone(), Shutdown::default());
    let watcher = spawn(reader(runs, log.clone(), run_id, Position::Start));
    let trimmer = (trims > 0).then(|| spawn(trim(log.clone(), trims)));
    for left in (0..appends).rev() {
        let command =
            if left > 0 { Command::Emit(Draft::log("on")) } else { Command::Finish(Outcome::Cancelled) };
        let expected = machine.run().last_sequence;
        let events = machine.apply(command, Timestamp::UNIX_EPOCH).unwrap();
        log.append(machine.run().clone(), expected, events).await.unwrap();
    }
    if let Some(trimmer) = trimmer {
        trimmer.await.unwrap();
    }
    let watched = watcher.await.unwrap();
    check(&log.appended(), 0..=0, &watched, &coverage);
}

/// One run from its first event to its last, with all that meets on the way; then the watchers compare notes.
async fn play(cast: Cast, coverage: Arc<Coverage>) {
    let (log, machine) = begin().await;
    let run_id = machine.run().run_id;
    let (writer, handle) = Writer::new(machine, log.clone());
    let runs = Runs::new(log.clone(), Shutdown::default());
    let mut others = vec![spawn(writer.run()), spawn(work(handle.clone(), cast.emitted))];
    if cast.cancel {
        others.push(spawn(cancel(handle.clone())));
    }
    others.push(spawn(trim(log.clone(), cast.trims)));
    drop(handle);
    let watches = cast.positions.iter().map(|position| {
        let (runs, log, position, reader) = (runs.clone(), log.clone(), *position, cast.reader);
        spawn(async move {
            let earliest = log.appended().len();
            let watched = reader(runs, log.clone(), run_id, position).await;
            (position, earliest, watched)
        })
    });
    let watches: Vec<_> = watches.collect();
    for other in others {
        other.await.unwrap();
    }
    for watched in join_all(watches).await {
        let (position, earliest, watched) = watched.unwrap();
        let all = log.appended();
        let begins = match position {
            Position::Start => 0..=0,
            Position::After(sequence) => sequence as usize..=sequence as usize,
            Position::Now => earliest..=all.len(),
        };
        check(&all, begins, &watched, &coverage);
    }
}

/// A run's first event.
async fn begin() -> (Arc<Stepped>, RunMachine) {
    let log = Arc::new(Stepped::new());
    let (run_id, session_id) = (RunId::new(Uuid::from_u128(1)), SessionId::new(Uuid::from_u128(2)));
    let (machine, first) = RunMachine::create(run_id, session_id, "w".into(), Timestamp::UNIX_EPOCH);
    let run = machine.run().clone();
    log.create(NewRun { run, events: vec![first], params: BTreeMap::new(), key: None }).await.unwrap();
    (log, machine)
}

/// What a watcher saw is the log from its position on, up to the terminal event or until the run was dropped.
fn check(all: &[Event], begins: RangeInclusive<usize>, watched: &Watched, coverage: &Coverage) {
    let last = all.last().unwrap();
    assert!(last.kind.is_terminal(), "the run has ended");
    let count = watched.events.len();
    let begin = match watched.events.first() {
        Some(first) => first.sequence as usize - 1,
        None if watched.to_the_end => all.len(),
        None => *begins.start(),
    };
    assert!(begins.contains(&begin), "an event is missing at the beginning: {begin} of {begins:?}");
    let expected = all.get(begin..begin + count).unwrap();
    assert!(watched.events == expected, "an event is missing, or is there twice: {watched:#?}");
    let counted = match watched.to_the_end {
        true => {
            assert_eq!(begin + count, all.len(), "an event is missing at the end");
            if begin > *begins.start() { &coverage.began_midway } else { &coverage.read_to_the_end }
        }
        false if count == 0 => &coverage.dropped_before,
        false => &coverage.dropped_midway,
    };
    counted.fetch_add(1, Ordering::Relaxed);
}

/// A worker: begins, says something, ends. Being cancelled meanwhile is no surprise to it.
async fn work(writer: WriterHandle, emitted: usize) {
    let _running = writer.apply(Command::Start).await;
    for number in 0..emitted {
        let _taken = writer.emit(Draft::log(number.to_string())).await;
    }
    let outcome = match writer.cancelled().is_cancelled() {
        true => Outcome::Cancelled,
        false => Outcome::Succeeded {
            message: "Done".to_owned(),
            output: serde_json::Value::Null,
            view: None,
            usage: None,
        },
    };
    let _state = writer.apply(Command::Finish(outcome)).await;
    writer.ended().await;
}

async fn cancel(writer: WriterHandle) {
    let _state = writer.apply(Command::Cancel { reason: "enough".to_owned() }).await;
}

/// Retention that keeps nothing.
async fn trim(log: Arc<Stepped>, times: usize) {
    for _ in 0..times {
        log.trim(Trim { ended_before: Timestamp::MAX, keys_before: Timestamp::MAX }).await;
    }
}

/// What the gateway does.
fn real_reader(
    runs: Runs,
    _: Arc<Stepped>,
    run_id: RunId,
    position: Position,
) -> BoxFuture<'static, Watched> {
    async move {
        let mut events = Vec::new();
        let mut watch = match runs.watch(run_id, position).await {
            Ok(watch) => watch,
            Err(WatchError::Read(ReadRunError::RunNotFound(_))) => {
                return Watched { events, to_the_end: false };
            }
            Err(error) => panic!("{error}"),
        };
        while let Some(batch) = watch.next().await {
            match batch {
                Ok(entries) => events.extend(entries.iter().map(|it| it.event.clone())),
                Err(WatchEnd::Read(ReadRunError::RunNotFound(_))) => {
                    return Watched { events, to_the_end: false };
                }
                Err(end) => panic!("{end}"),
            }
        }
        Watched { events, to_the_end: true }
    }
    .boxed()
}

/// A read loop with a fault: an event that comes between the reading and the marking wakes nobody.
fn marks_too_late(_: Runs, log: Arc<Stepped>, run_id: RunId, _: Position) -> BoxFuture<'static, Watched> {
    async move {
        let mut hints = log.follow(run_id).await.unwrap();
        let (mut after, mut events) = (0, Vec::<Event>::new());
        while events.last().is_none_or(|it| !it.kind.is_terminal()) {
            let slice = log.read(run_id, after, limits::WATCH_BATCH_BYTES).await.unwrap();
            hints.mark_unchanged();
            events.extend(slice.entries.iter().map(|it| it.event.clone()));
            match slice.entries.last() {
                Some(last) => after = last.event.sequence,
                None => hints.changed().await.unwrap(),
            }
        }
        Watched { events, to_the_end: true }
    }
    .boxed()
}

/// A read loop with a fault: it goes on after the newest event that it was told of, not after the last that it read.
fn trusts_the_hint(_: Runs, log: Arc<Stepped>, run_id: RunId, _: Position) -> BoxFuture<'static, Watched> {
    async move {
        let mut hints = log.follow(run_id).await.unwrap();
        let (mut after, mut events) = (0, Vec::<Event>::new());
        while !log.run(run_id).await.unwrap().state.is_terminal() || after < hints.borrow().last_sequence {
            let slice = log.read(run_id, after, limits::WATCH_BATCH_BYTES).await.unwrap();
            events.extend(slice.entries.iter().map(|it| it.event.clone()));
            after = hints.borrow_and_update().last_sequence;
        }
        Watched { events, to_the_end: true }
    }
    .boxed()
}
