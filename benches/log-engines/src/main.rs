//! What the run log was chosen by: `cargo run --release --manifest-path benches/log-engines/Cargo.toml`; with `-- --quick`
//! for a first look, with `-- --segments` without the engine that it was compared with.
//!
//! Events of 200 bytes of text over 1,000 runs. Every figure counts an event only after `fdatasync`. Nothing fails on a
//! slow machine.

mod fjall_log;
mod floor;
mod load;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use rungate::storage::{SegmentOptions, SegmentRunLog};

use crate::{
    fjall_log::FjallLog,
    load::{Engine, RUNS},
};

/// From one group commit to the next.
const TICK: Duration = Duration::from_millis(5);
/// Bytes of a stored event with what stands around it.
const STORED_BYTES: usize = 320;
/// Events in one append of a run that has much to say.
const MANY: usize = 32;
/// Events offered a second while segments are cleaned.
const RATE_WHILE_CLEANING: usize = 20_000;

/// Events that wait to be cleaned away for each second of that: more than is cleaned in a second.
const LITTER_A_SECOND: usize = 200_000;

/// How much is measured.
#[derive(Clone, Copy)]
struct Scale {
    length: Duration,
    events: usize,
}

#[tokio::main]
async fn main() {
    let asked = |name: &str| std::env::args().any(|it| it == name);
    let (seconds, events) = if asked("--quick") { (3, 200_000) } else { (15, 2_000_000) };
    let scale = Scale { length: Duration::from_secs(seconds), events };
    println!("| engine | measure | figure |\n| --- | --- | --- |");
    for name in ["segments", "fjall"] {
        if name == "fjall" && asked("--segments") {
            continue;
        }
        // First, while the memory of the process is its own and not what was freed.
        saturated(name, scale).await;
        for rate in [20_000, 50_000] {
            let folder = tempfile::tempdir().expect("a folder");
            let engine = open(name, folder.path(), TICK);
            let figure = load::paced(&engine, rate, scale.length).await;
            told(name, &format!("{rate} events/s, acknowledged after p50 / p99 / max"), &figure);
        }
        if name == "segments" {
            cleaning(scale).await;
        }
    }
}

fn told(engine: &str, measure: &str, figure: &str) {
    println!("| {engine} | {measure} | {figure} |");
}

/// Latencies while segments are cleaned: as it is done always, and as it is done when the files take more than they may.
async fn cleaning(scale: Scale) {
    for (length, over) in [(scale.length, false), (scale.length / 4, true)] {
        let folder = tempfile::tempdir().expect("a folder");
        let runs = folder.path().join("runs");
        {
            let log = SegmentRunLog::open(&runs, options(Duration::ZERO)).expect("a log");
            load::littered(&Arc::new(log), scale.length.as_secs() as usize * LITTER_A_SECOND).await;
        }
        let before = segments(&runs);
        let total = if over { load::disk_bytes(&runs) / 4 } else { SegmentOptions::default().total };
        let log = SegmentRunLog::open(&runs, SegmentOptions { total, ..options(TICK) }).expect("a log");
        let figure = load::paced(&Engine::Segments(Arc::new(log)), RATE_WHILE_CLEANING, length).await;
        let gone = before.difference(&segments(&runs)).count();
        let how = if over { "cleaned in haste" } else { "cleaned" };
        let measure = format!("{RATE_WHILE_CLEANING} events/s while segments are {how}, p50 / p99 / max");
        told("segments", &measure, &format!("{figure}; {gone} of {} segments went", before.len()));
    }
}

/// As many events as can be had, beside the floors; then replay and opening of what was written.
async fn saturated(name: &str, scale: Scale) {
    let folder = tempfile::tempdir().expect("a folder");
    let floor = floor::append_and_sync(folder.path(), RUNS, STORED_BYTES);
    told(name, "floor: append and fdatasync 1,000 events at a time", &format!("{floor:.0} events/s"));
    let mut kept = None;
    for count in [1, MANY] {
        let folder = tempfile::tempdir().expect("a folder");
        let waking = floor::append_sync_and_wake(folder.path(), RUNS, count, STORED_BYTES).await;
        let measure = format!("floor with 1,000 tasks that hand in {count} and are woken");
        told(name, &measure, &format!("{waking:.0} events/s, {:.2} of the bare floor", waking / floor));
        let folder = tempfile::tempdir().expect("a folder");
        let engine = open(name, folder.path(), Duration::ZERO);
        let (rate, memory) = load::saturated(&engine, scale.events, count).await;
        let shares =
            format!("{:.2} of the bare floor, {:.2} of that with tasks", rate / floor, rate / waking);
        told(
            name,
            &format!("saturated, {count} events in an append"),
            &format!("{rate:.0} events/s, {shares}"),
        );
        if count == 1 {
            told(name, "memory for each further stored event", &format!("{memory:.1} bytes"));
            kept = Some((engine, folder));
        }
    }
    let Some((Engine::Segments(log), folder)) = kept else { return };
    told(name, "replay of all runs, one reader", &format!("{:.0} events/s", load::replayed(&log).await));
    drop(log);
    let gigabytes = load::disk_bytes(&folder.path().join("runs")) as f64 / 1e9;
    let began = Instant::now();
    drop(open(name, folder.path(), TICK));
    let took = began.elapsed().as_secs_f64();
    told(name, &format!("open {gigabytes:.2} GB"), &format!("{took:.2} s, {:.2} s/GB", took / gigabytes));
}

fn open(name: &str, folder: &Path, tick: Duration) -> Engine {
    if name == "fjall" {
        return Engine::Fjall(Arc::new(FjallLog::open(&folder.join("fjall"), tick)));
    }
    Engine::Segments(Arc::new(SegmentRunLog::open(folder.join("runs"), options(tick)).expect("a log")))
}

fn options(tick: Duration) -> SegmentOptions {
    SegmentOptions { commit_interval: tick, cache: 8 << 20, ..SegmentOptions::default() }
}

/// The files of a log.
fn segments(folder: &Path) -> BTreeSet<PathBuf> {
    let files = fs::read_dir(folder).expect("a folder").flatten().map(|it| it.path());
    files.filter(|it| it.extension().is_some_and(|it| it == "segment")).collect()
}
