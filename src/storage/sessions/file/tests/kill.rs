//! Processes that are killed while they change sessions.

use std::{
    collections::VecDeque,
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    thread,
    time::Instant,
};

use jiff::SignedDuration;

use super::*;
use crate::runtime::clock;

const DIR: &str = "RUNGATE_TEST_KILL_DIR";
const FIRST: &str = "RUNGATE_TEST_KILL_FIRST";
const ROUNDS: u64 = 15;
const SESSIONS: u64 = 20;

/// How old an acknowledged change must be to survive, on a machine that lets the writer run when it wants to.
const LATEST: SignedDuration = SignedDuration::from_millis(50);
/// How long a thread that wants to run may have been kept from it lately, to count for a kill.
const LATELY: Duration = Duration::from_millis(400);

/// One acknowledged change. Its number says what was changed.
struct Change {
    number: u64,
    time: Timestamp,
    /// How long the system has kept a thread waiting lately, though it was due.
    kept_waiting: SignedDuration,
}

#[test]
fn no_kill_loses_a_change_older_than_50_ms() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let mut seed = 7u64;
    let mut changes = 0;
    let mut within_a_fold = 0;
    let mut stored = BTreeMap::new();
    for round in 0..ROUNDS {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let first = round * 1_000_001;
        let (made, killed) = kill_after(dir.path(), first, Duration::from_millis(100 + (seed >> 33) % 200));
        changes += made.len();
        within_a_fold += usize::from(old_journal(dir.path()).exists());
        let (store, log) = logged(|| open(dir.path(), &NO_FOLDS));
        assert!(!log.contains("WARN"), "a kill damages nothing: {log}");
        let before = std::mem::replace(&mut stored, runtime.block_on(all(&store)));
        // One more may have been made and not told.
        let untold = made.last().map_or(first, |it| it.number + 1);
        let latest = LATEST + made.iter().map(|it| it.kept_waiting).last().unwrap_or_default();
        let untold = Change { number: untold, time: Timestamp::MAX, kept_waiting: SignedDuration::ZERO };
        let made: Vec<_> = made.into_iter().chain([untold]).collect();
        for number in 0..SESSIONS {
            let name = format!("s{number}");
            let mine: Vec<_> = made.iter().filter(|it| it.session() == name).collect();
            let due = mine.iter().rposition(|it| killed.duration_since(it.time) > latest);
            let base = before.get(&name).cloned().filter(|_| due.is_none());
            let mut allowed: Vec<_> = mine[due.unwrap_or(0)..].iter().map(|it| it.value()).collect();
            if due.is_none() {
                allowed.push(base);
            }
            assert!(
                allowed.contains(&stored.get(&name).cloned()),
                "round {round}: {name} is {:?}",
                stored.get(&name)
            );
        }
    }
    println!("{changes} changes, {ROUNDS} kills, {within_a_fold} of them within a fold");
}

impl Change {
    fn session(&self) -> String {
        format!("s{}", self.number % SESSIONS)
    }

    /// What is stored after it; nothing if it was a deletion.
    fn value(&self) -> Option<String> {
        (!self.number.is_multiple_of(7)).then(|| self.number.to_string())
    }
}

/// Lets a child change sessions for `time` and kills it. Gives what it acknowledged, and the moment before the kill.
fn kill_after(dir: &Path, first: u64, time: Duration) -> (Vec<Change>, Timestamp) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "storage::sessions::file::tests::kill::child", "--nocapture", "--test-threads=1"])
        .env(DIR, dir)
        .env(FIRST, first.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let (begun, started) = std::sync::mpsc::sync_channel(1);
    let reader = thread::spawn(move || {
        let mut changes = Vec::new();
        for line in output.lines() {
            let line = line.unwrap();
            let Some(text) = line.strip_prefix("changed ") else { continue };
            // The last line may be cut.
            let [number, time, kept, "."] = text.split(' ').collect::<Vec<_>>()[..] else { break };
            let kept_waiting = SignedDuration::from_millis(kept.parse().unwrap());
            changes.push(Change {
                number: number.parse().unwrap(),
                time: time.parse().unwrap(),
                kept_waiting,
            });
            let _ = begun.try_send(());
        }
        changes
    });
    started.recv().unwrap();
    thread::sleep(time);
    let killed = clock::now();
    child.kill().unwrap();
    child.wait().unwrap();
    (reader.join().unwrap(), killed)
}

/// Sleeps as the writer does, and tells by how many milliseconds the longest of its late sleeps was too long.
fn watch_the_clock() -> Arc<AtomicI64> {
    let longest = Arc::new(AtomicI64::new(0));
    let told = Arc::clone(&longest);
    thread::spawn(move || {
        let mut seen = VecDeque::new();
        loop {
            let begun = Instant::now();
            thread::sleep(Duration::from_millis(5));
            seen.push_back((begun, begun.elapsed().as_millis() as i64 - 5));
            while seen.front().is_some_and(|(begun, _)| begun.elapsed() > LATELY) {
                seen.pop_front();
            }
            told.store(seen.iter().map(|it| it.1).max().unwrap_or(0), Ordering::Relaxed);
        }
    });
    longest
}

/// What the killed process does; nothing when it is run as a test.
#[test]
fn child() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let first: u64 = std::env::var(FIRST).unwrap().parse().unwrap();
        // As configured by default, and with as many folds as can be.
        let options = if first.is_multiple_of(2) { FileOptions::default() } else { ALWAYS_FOLDS };
        let store = open(Path::new(&dir), &options);
        let kept_waiting = watch_the_clock();
        let mut output = std::io::stdout().lock();
        // The test's own name stands there without an end of line.
        output.write_all(b"\n").unwrap();
        for number in first.. {
            let change = Change { number, time: Timestamp::MAX, kept_waiting: SignedDuration::ZERO };
            match change.value() {
                Some(value) => drop(put(&store, session(&change.session(), &value)).await),
                None => delete(&store, &change.session()).await,
            }
            // One write, so that a line is told whole.
            let kept_waiting = kept_waiting.load(Ordering::Relaxed);
            let line = format!("changed {number} {} {kept_waiting} .\n", clock::now());
            output.write_all(line.as_bytes()).unwrap();
            output.flush().unwrap();
            thread::sleep(Duration::from_micros(50));
        }
    });
}
