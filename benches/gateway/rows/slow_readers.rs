//! Watchers that stop reading beside watchers that read.

use tokio::task::JoinSet;

use crate::{
    client::{Protocol, Resting},
    gateway::Gateway,
    load::{self, Found},
    options::Options,
    pace::Pace,
    samples::milliseconds,
    table::{Line, Table},
};

const SLOW: usize = 100;
const LIVE: usize = 10;
/// Of a text: with [`EVENTS`] of them a run of 8 MB.
const BYTES: usize = 2048;
const EVENTS: usize = 4096;
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
    let pace = Pace { rate: RATE, count: options.size(EVENTS, 400), bytes: BYTES };
    let mut without = beside(options, protocol, Others::Nobody, pace).await;
    let mut reading = beside(options, protocol, Others::Reading, pace).await;
    let mut with = beside(options, protocol, Others::Stopped, pace).await;
    let (before, after) = (without.latencies.quantile(0.99), with.latencies.quantile(0.99));
    let held = with.grown.saturating_sub(without.grown);
    let in_time = after <= before.mul_f64(LATER);
    Line {
        row,
        figures: format!("live p99 {}, memory grows by {:.1} MB", milliseconds(after), megabytes(with.grown)),
        floor: format!(
            "without them p99 {}, {:.1} MB; with as many that read p99 {}",
            milliseconds(before),
            megabytes(without.grown),
            milliseconds(reading.latencies.quantile(0.99))
        ),
        ratio: format!("{:.2} of the p99", after.as_secs_f64() / before.as_secs_f64()),
        target: format!("≤ {LATER}; ≤ {} KB for each", HELD_BYTES >> 10),
        met: Some(in_time && held <= HELD_BYTES * SLOW as u64),
        how: format!(
            "{SLOW} sockets that never read beside {LIVE} that do, {} events of {BYTES} B at {RATE}/s; the memory holds the run itself and its encoded form",
            pace.count
        ),
    }
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
