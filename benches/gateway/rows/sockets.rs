//! Thousands of WebSockets on one gateway, some of which stop reading: what each holds, and what the others notice.

use std::time::Duration;

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

const SOCKETS: usize = 5000;
const SLOW: usize = 200;
const LIVE: usize = 10;
/// Of a text: with [`EVENTS`] of them a run of 8 MB, more than the system takes for a socket that is not read.
const BYTES: usize = 2048;
const EVENTS: usize = 4096;
/// Events a second.
const RATE: usize = 400;
/// How much later the live sockets may be than beside as many others that read: those are work, these must be no more.
const LATER: f64 = 1.2;
/// What an idle socket may hold.
const EACH_KB: f64 = 16.0;
const SETTLE: Duration = Duration::from_secs(2);

/// Sockets that watch what the live ones watch.
#[derive(Clone, Copy)]
struct Others {
    number: usize,
    /// Whether they read what they are sent.
    read: bool,
}

/// Measures what was asked for.
pub(crate) async fn measure(options: &Options, table: &mut Table) {
    if options.wants("sockets") {
        table.add(line(options).await);
    }
}

async fn line(options: &Options) -> Line {
    let sockets = options.size(SOCKETS, 500);
    let slow = options.size(SLOW, 20);
    let pace = Pace { rate: RATE, count: options.size(EVENTS, 400), bytes: BYTES, warm_up: 0 };
    let idle = sockets - slow - LIVE;
    let (mut alone, _) = among(options, 0, Others { number: 0, read: false }, pace).await;
    let (mut reading, _) = among(options, idle, Others { number: slow, read: true }, pace).await;
    let (mut crowd, each) = among(options, idle, Others { number: slow, read: false }, pace).await;
    let (before, after) = (reading.latencies.quantile(0.99), crowd.latencies.quantile(0.99));
    let kilobytes = each / 1024.0;
    Line {
        row: "sockets".to_owned(),
        figures: format!(
            "live p50 {}, p99 {}; {kilobytes:.1} KB for each idle socket",
            milliseconds(crowd.latencies.quantile(0.5)),
            milliseconds(after)
        ),
        floor: format!(
            "beside as many that read p50 {}, p99 {}; without all others p50 {}, p99 {}",
            milliseconds(reading.latencies.quantile(0.5)),
            milliseconds(before),
            milliseconds(alone.latencies.quantile(0.5)),
            milliseconds(alone.latencies.quantile(0.99))
        ),
        ratio: format!("{:.2} of the p99", after.as_secs_f64() / before.as_secs_f64()),
        target: format!("≤ {LATER}; ≤ {EACH_KB} KB"),
        met: Some(after <= before.mul_f64(LATER) && kilobytes <= EACH_KB),
        how: format!(
            "{sockets} WebSockets, each in a session of its own: {LIVE} watch a run of {} events of {BYTES} B at {RATE}/s, {slow} watch it and never read, the others watch a run in which nothing happens",
            pace.count
        ),
    }
}

/// What live sockets find beside `idle` ones and `others`, and the bytes of memory of each idle one.
async fn among(options: &Options, idle: usize, others: Others, pace: Pace) -> (Found, f64) {
    let mut gateway = Gateway::start(options, &[]).await;
    let silent = gateway.lent_run().await;
    let busy = gateway.lent_run().await;
    tokio::time::sleep(SETTLE).await;
    let before = gateway.server.resident_bytes();
    let mut resting = JoinSet::new();
    for _ in 0..idle {
        let socket = Resting::connect(gateway.address(), Protocol::WebSocket, &silent.run_id, 1).await;
        resting.spawn(socket.unwrap().rest());
    }
    tokio::time::sleep(SETTLE).await;
    let grown = gateway.server.resident_bytes().saturating_sub(before);
    let (mut stopped, mut reading) = (Vec::new(), JoinSet::new());
    for _ in 0..others.number {
        let socket = Resting::connect(gateway.address(), Protocol::WebSocket, &busy.run_id, 1).await;
        match others.read {
            true => drop(reading.spawn(socket.unwrap().rest())),
            false => stopped.push(socket.unwrap()),
        }
    }
    let live = load::connect(gateway.address(), Protocol::WebSocket, &busy.run_id, LIVE).await;
    let found = load::measure(options, &gateway.server, live, vec![busy.lent.pipe()], pace).await;
    let cut = resting.try_join_next();
    assert!(cut.is_none(), "an idle socket was cut: {cut:?}");
    (found, grown as f64 / idle.max(1) as f64)
}
