//! Ten million events with retention on: whether memory and disk stay what they are. Only measured when asked for.

use std::{fs, io, path::Path, time::Duration};

use crate::{
    client::Protocol,
    gateway::Gateway,
    load,
    options::Options,
    pace::Pace,
    table::{Line, Table},
};

const EVENTS: usize = 10_000_000;
/// Of each run, one after the other.
const RUN: usize = 20_000;
const BYTES: usize = 256;
const RETENTION: (&str, &str) = ("RUNGATE_RUN_RETENTION", "30s");
/// How often memory and disk are looked at.
const LOOKS: usize = 10;
/// How much more the second half may hold than the first.
const MORE: f64 = 1.2;
/// Below so many MB nobody cares: the sessions of the runs are kept, and they are few.
const SLACK: f64 = 16.0;

/// Measures, when asked for.
pub(crate) async fn measure(options: &Options, table: &mut Table) {
    if !options.rows.iter().any(|it| it == "soak") {
        return;
    }
    let runs = options.size(EVENTS, 10 * RUN) / RUN;
    let mut gateway = Gateway::start(options, &[RETENTION]).await;
    let pace = Pace { rate: 0, count: RUN, bytes: BYTES, warm_up: 0 };
    let (mut memory, mut disk) = (Vec::new(), Vec::new());
    let mut took = Duration::ZERO;
    for number in 1..=runs {
        let run = gateway.lent_run().await;
        let watcher = load::connect(gateway.address(), Protocol::Sse, &run.run_id, 1).await;
        let pipe = vec![run.lent.pipe()];
        took += load::measure(options, &gateway.server, watcher, pipe, pace).await.took;
        if number % (runs / LOOKS).max(1) == 0 {
            memory.push(gateway.server.resident_bytes() as f64 / 1e6);
            disk.push(size_of(&gateway.data()).unwrap() as f64 / 1e6);
            println!(
                "soak: {} events, {:.0} MB of memory, {:.0} MB on disk",
                number * RUN,
                memory.last().unwrap(),
                disk.last().unwrap()
            );
        }
    }
    let flat = |looks: &[f64]| {
        let (first, second) = looks.split_at(looks.len() / 2);
        let most = |it: &[f64]| it.iter().copied().fold(0.0, f64::max);
        most(second) <= (most(first) * MORE).max(SLACK)
    };
    table.add(Line {
        row: "soak".to_owned(),
        figures: format!(
            "{:.0} events/s; MB of memory {memory:.0?}, on disk {disk:.1?}",
            (runs * RUN) as f64 / took.as_secs_f64()
        ),
        target: format!("the second half ≤ {MORE} × the first, or ≤ {SLACK} MB"),
        // With few events nothing is swept away yet.
        met: (!options.quick).then(|| flat(&memory) && flat(&disk)),
        how: format!(
            "{} events of {BYTES} B in runs of {RUN}, one watcher by SSE, as fast as they are taken, retention {}; log: {}",
            runs * RUN,
            RETENTION.1,
            Gateway::durability(options)
        ),
        ..Line::default()
    });
}

/// Bytes of all files below `folder`.
fn size_of(folder: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        // A file that was there a moment ago is no matter.
        let Ok(metadata) = entry.metadata() else { continue };
        bytes += if metadata.is_dir() { size_of(&entry.path())? } else { metadata.len() };
    }
    Ok(bytes)
}
