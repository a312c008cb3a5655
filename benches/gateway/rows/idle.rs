//! Watchers of a run in which nothing happens: what each holds, and what they take.

use std::time::Duration;

use tokio::task::JoinSet;

use crate::{
    client::{Protocol, Resting},
    floor,
    gateway::Gateway,
    options::Options,
    process::Server,
    table::{Line, Table},
};

const WATCHERS: usize = 10_000;
/// Streams of one connection, where it carries several.
const STREAMS: usize = 100;
/// Long enough for two heartbeats.
const IDLE: Duration = Duration::from_secs(30);
const SETTLE: Duration = Duration::from_secs(2);

/// What the watchers take.
struct Found {
    /// Bytes of memory of each.
    each: f64,
    /// Share of one core while nothing happens.
    busy: f64,
}

/// Measures what was asked for.
pub(crate) async fn measure(options: &Options, table: &mut Table) {
    let cases = [
        ("idle-sse", Protocol::Sse, 1, 10.0),
        ("idle-grpc", Protocol::Grpc, 1, 16.0),
        ("idle-grpc-shared", Protocol::Grpc, STREAMS, 16.0),
        ("idle-ws", Protocol::WebSocket, 1, 16.0),
    ];
    for (row, protocol, streams, most) in cases {
        if options.wants(row) {
            table.add(line(options, row, protocol, streams, most).await);
        }
    }
}

async fn line(options: &Options, row: &str, protocol: Protocol, streams: usize, most: f64) -> Line {
    let number = options.size(WATCHERS, 1000);
    let idle = if options.quick { Duration::from_secs(3) } else { IDLE };
    let mut gateway = Gateway::start(options, &[]).await;
    let run = gateway.lent_run().await;
    let found = rest(&gateway.server, protocol, &run.run_id, number / streams, streams, idle).await;
    drop(gateway);
    let server = floor::fan_out::start(options, 1, 1);
    let floor = rest(&server, Protocol::Floor(1), "", number, 1, Duration::from_secs(1)).await;
    let kilobytes = found.each / 1024.0;
    Line {
        row: row.to_owned(),
        figures: format!("{kilobytes:.1} KB each, {:.2} % of a core", found.busy * 100.0),
        floor: format!("{:.1} KB each", floor.each / 1024.0),
        ratio: format!("{:.1}", found.each / floor.each),
        target: format!("≤ {most} KB"),
        met: Some(kilobytes <= most),
        how: format!(
            "{number} watchers, {streams} to a connection, idle for {} s with their heartbeats; what the kernel holds of a socket is not in it",
            idle.as_secs()
        ),
    }
}

async fn rest(
    server: &Server,
    protocol: Protocol,
    run_id: &str,
    connections: usize,
    streams: usize,
    idle: Duration,
) -> Found {
    tokio::time::sleep(SETTLE).await;
    let before = server.resident_bytes();
    let mut resting = JoinSet::new();
    for _ in 0..connections {
        let watcher = Resting::connect(server.address(), protocol, run_id, streams).await.unwrap();
        resting.spawn(watcher.rest());
    }
    tokio::time::sleep(SETTLE).await;
    let grown = server.resident_bytes().saturating_sub(before);
    let cpu = server.cpu();
    tokio::select! {
        ended = resting.join_next() => panic!("a watcher was cut: {ended:?}"),
        () = tokio::time::sleep(idle) => {}
    }
    let cpu = server.cpu().saturating_sub(cpu);
    Found {
        each: grown as f64 / (connections * streams) as f64,
        busy: cpu.as_secs_f64() / idle.as_secs_f64(),
    }
}
