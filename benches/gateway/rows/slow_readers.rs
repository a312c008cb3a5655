//! Watchers that stop reading beside watchers that read.

use std::time::Duration;

use tokio::task::JoinSet;

use crate::{
    client::{Protocol, Resting},
    gateway::Gateway,
    load::{self, Found},
    options::Options,
    pace::Pace,
    samples::{median, milliseconds},
    table::{Line, Table},
};

const SLOW: usize = 100;
const LIVE: usize = 10;
/// Of a text: with [`EVENTS`] of them a run of 8 MB.
const BYTES: usize = 2048;
const EVENTS: usize = 4096;
/// Events until the sockets of those that do not read are full.
const WARM_UP: usize = 400;
/// Events a second.
const RATE: usize = 400;
/// How much later the live watchers may be.
const LATER: f64 = 1.2;
/// What each slow watcher may hold: one batch of the log, once as it is and once on its way out.
const HELD_BYTES: u64 = 512 << 10;

/// Who watches beside the live watchers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Others {
    Nobody,
    /// They never read.
    Stopped,
    /// As many that read: what only the greater number of watchers does.
    Reading,
}

/// Measures what was asked for.
pub(crate) async fn measure(options: &Options, table: &mut Table) {
    for protocol in [Protocol::Sse, Protocol::Grpc, Protocol::WebSocket] {
        let row = format!("slow-readers-{}", protocol.name());
        if options.wants(&row) {
            table.add(line(options, row, protocol).await);
        }
    }
}

async fn line(options: &Options, row: String, protocol: Protocol) -> Line {
    let pace = Pace {
        rate: RATE,
        count: options.size(EVENTS, 2 * WARM_UP),
        bytes: BYTES,
        // Until the system holds nothing more for them, those that do not read are watchers like all others.
        warm_up: WARM_UP,
    };
    let mut reading = beside(options, protocol, Others::Reading, pace).await;
    let (mut without, mut with, mut ratios) = (Found::default(), Found::default(), Vec::new());
    let turns = options.turns.div_ceil(2);
    for _ in 0..turns {
        let mut alone = beside(options, protocol, Others::Nobody, pace).await;
        let mut stopped = beside(options, protocol, Others::Stopped, pace).await;
        ratios.push(p99(&mut stopped).as_secs_f64() / p99(&mut alone).as_secs_f64());
        without.add(alone);
        with.add(stopped);
    }
    let (ratio, range) = median(ratios);
    let held = with.grown.saturating_sub(without.grown);
    Line {
        row,
        figures: format!(
            "live p99 {}, memory grows by {:.1} MB, {:.2} s CPU",
            milliseconds(p99(&mut with)),
            megabytes(with.grown),
            with.cpu.as_secs_f64() / turns as f64
        ),
        floor: format!(
            "without them p99 {}, {:.1} MB, {:.2} s CPU; with as many that read p99 {}, {:.2} s CPU",
            milliseconds(p99(&mut without)),
            megabytes(without.grown),
            without.cpu.as_secs_f64() / turns as f64,
            milliseconds(p99(&mut reading)),
            reading.cpu.as_secs_f64()
        ),
        ratio: format!("{ratio:.2}{range} of the p99"),
        target: format!("≤ {LATER}; ≤ {} KB for each", HELD_BYTES >> 10),
        met: Some(ratio <= LATER && held <= HELD_BYTES * SLOW as u64),
        how: format!(
            "{SLOW} sockets that never read beside {LIVE} that do, {} events of {BYTES} B at {RATE}/s, latencies from the {WARM_UP}th on; {turns} turns, median; the memory holds the run itself and its encoded form",
            pace.count
        ),
    }
}

/// The latency that one delivery in a hundred exceeds.
fn p99(found: &mut Found) -> Duration {
    found.latencies.quantile(0.99)
}

async fn beside(options: &Options, protocol: Protocol, others: Others, pace: Pace) -> Found {
    let mut gateway = Gateway::start(options, &[]).await;
    let run = gateway.lent_run().await;
    let (mut stopped, mut reading) = (Vec::new(), JoinSet::new());
    let number = if others == Others::Nobody { 0 } else { SLOW };
    for _ in 0..number {
        let other = Resting::connect(gateway.address(), protocol, &run.run_id, 1).await.unwrap();
        match others {
            Others::Reading => drop(reading.spawn(other.rest())),
            _ => stopped.push(other),
        }
    }
    let live = load::connect(gateway.address(), protocol, &run.run_id, LIVE).await;
    load::measure(options, &gateway.server, live, vec![run.lent.pipe()], pace).await
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
