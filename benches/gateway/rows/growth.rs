//! Whether an event, and a start, cost more when the log is full of other runs.

use std::time::Duration;

use super::run_start::start_runs;
use crate::{
    client::Protocol,
    gateway::Gateway,
    load,
    options::Options,
    pace::Pace,
    table::{Line, Table},
};

const SIZES: [usize; 3] = [10, 1000, 100_000];
/// Only measured when asked for in full.
const LARGE: usize = 10_000;
/// Clients that fill the log.
const CLIENTS: usize = 10;
/// Events a second, of one run with one watcher.
const RATE: usize = 2000;
const BYTES: usize = 256;
/// How much more an event may take than with the fewest runs.
const MORE: f64 = 1.2;

/// Measures what was asked for.
pub(crate) async fn measure(options: &Options, table: &mut Table) {
    let mut first = None;
    for runs in SIZES {
        let row = format!("growth-{runs}");
        // The first is what the others are compared with.
        let wanted = options.wants(&row) || first.is_none() && options.wants("growth");
        if wanted && (runs <= LARGE || options.full) {
            let (event, start) = costs(options, runs).await;
            let (first_event, _) = *first.get_or_insert((event, start));
            table.add(Line {
                row,
                figures: format!(
                    "{:.1} µs CPU an event, {:.0} µs a start",
                    event.as_secs_f64() * 1e6,
                    start.as_secs_f64() * 1e6
                ),
                floor: format!("{:.1} µs with {} runs", first_event.as_secs_f64() * 1e6, SIZES[0]),
                ratio: format!("{:.2}", event.as_secs_f64() / first_event.as_secs_f64()),
                target: format!("≤ {MORE}"),
                met: Some(event <= first_event.mul_f64(MORE)),
                how: format!(
                    "{runs} runs that have ended in the log, one run of {} events at {RATE}/s to one watcher by SSE; log: {}",
                    options.size(10_000, 1000),
                    Gateway::durability(options)
                ),
            });
        } else if options.wants(&row) {
            table.add(Line::skipped(row, "with --full"));
        }
    }
}

async fn costs(options: &Options, runs: usize) -> (Duration, Duration) {
    let mut gateway = Gateway::start(options, &[]).await;
    start_runs(&gateway, CLIENTS, runs / CLIENTS).await;
    let starts = start_runs(&gateway, 1, options.size(500, 50)).await;
    let run = gateway.lent_run().await;
    let watchers = load::connect(gateway.address(), Protocol::Sse, &run.run_id, 1).await;
    let pace = Pace { rate: RATE, count: options.size(10_000, 1000), bytes: BYTES, warm_up: 0 };
    let found = load::measure(options, &gateway.server, watchers, vec![run.lent.pipe()], pace).await;
    (found.cpu / pace.count as u32, starts.cpu / starts.number as u32)
}
