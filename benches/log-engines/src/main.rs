//! What the run log was chosen by: `cargo run --release --manifest-path benches/log-engines/Cargo.toml`.
//!
//! Events of 200 bytes of text over 1,000 runs. Every figure counts an event only after `fdatasync`. Nothing fails on a
//! slow machine.

mod fjall_log;
mod floor;
mod load;

use std::{
    path::Path,
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

#[tokio::main]
async fn main() {
    let quick = std::env::args().any(|it| it == "--quick");
    let (length, events) = if quick { (3, 200_000) } else { (15, 2_000_000) };
    println!("| engine | measure | figure |\n| --- | --- | --- |");
    for name in ["segments", "fjall"] {
        let told = |measure: &str, figure: String| println!("| {name} | {measure} | {figure} |");
        for rate in [20_000, 50_000] {
            let folder = tempfile::tempdir().expect("a folder");
            let engine = open(name, folder.path(), TICK);
            let figure = load::paced(&engine, rate, Duration::from_secs(length)).await;
            told(&format!("{rate} events/s, acknowledged after p50 / p99 / max"), figure);
        }
        let floor_folder = tempfile::tempdir().expect("a folder");
        let floor = floor::append_and_sync(floor_folder.path(), RUNS, STORED_BYTES);
        told("floor: append and fdatasync 1,000 events at a time", format!("{floor:.0} events/s"));
        let mut kept = None;
        for count in [1, 32] {
            let folder = tempfile::tempdir().expect("a folder");
            let engine = open(name, folder.path(), Duration::ZERO);
            let before = load::resident();
            let rate = load::saturated(&engine, events, count).await;
            let memory = load::resident().saturating_sub(before) as f64 / events as f64;
            let figure = format!("{rate:.0} events/s, {:.2} of the floor", rate / floor);
            told(&format!("saturated, {count} events in an append"), figure);
            if count == 1 {
                told("memory for a stored event, caches included", format!("{memory:.1} bytes"));
                kept = Some((engine, folder));
            }
        }
        let Some((engine, folder)) = kept else { continue };
        if let Engine::Segments(log) = engine {
            told("replay of all runs, one reader", format!("{:.0} events/s", load::replayed(&log).await));
            drop(log);
            let gigabytes = load::disk_bytes(&folder.path().join("runs")) as f64 / 1e9;
            let began = Instant::now();
            drop(open(name, folder.path(), TICK));
            let took = began.elapsed().as_secs_f64();
            told(&format!("open {gigabytes:.2} GB"), format!("{took:.2} s, {:.2} s/GB", took / gigabytes));
        }
    }
}

fn open(name: &str, folder: &Path, tick: Duration) -> Engine {
    if name == "fjall" {
        return Engine::Fjall(Arc::new(FjallLog::open(&folder.join("fjall"), tick)));
    }
    let options = SegmentOptions { commit_interval: tick, cache: 8 << 20, ..SegmentOptions::default() };
    Engine::Segments(Arc::new(SegmentRunLog::open(folder.join("runs"), options).expect("a log")))
}
