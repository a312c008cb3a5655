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
        let folder = tempfile::tempdir().expect("a folder");
        let engine = open(name, folder.path(), Duration::ZERO);
        let before = load::resident();
        let rate = load::saturated(&engine, events).await;
        let memory = load::resident().saturating_sub(before) as f64 / events as f64;
        let floor = floor::append_and_sync(folder.path(), RUNS, STORED_BYTES);
        told("saturated, an event at a time in each run", format!("{rate:.0} events/s"));
        told("floor: append and fdatasync as much", format!("{floor:.0} events/s, ratio {:.2}", rate / floor));
        told("memory for a stored event, 8 MiB of cache included", format!("{memory:.1} bytes"));
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
