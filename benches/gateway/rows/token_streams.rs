//! Many runs with two watchers each, as when people read what language models write.

use std::time::Duration;

use crate::{
    client::Protocol,
    floor,
    gateway::Gateway,
    load,
    options::Options,
    pace::Pace,
    samples::milliseconds,
    table::{Line, Table},
};

const RUNS: usize = 1000;
const WATCHERS: usize = 2;
/// Events a second of each run.
const RATE: usize = 30;
/// Of a text.
const BYTES: usize = 64;
/// The latest that one delivery in a hundred may be.
const LATEST: Duration = Duration::from_millis(50);

/// Measures what was asked for.
pub(crate) async fn measure(options: &Options, table: &mut Table) {
    for protocol in [Protocol::Sse, Protocol::Grpc] {
        let row = format!("token-streams-{}", protocol.name());
        if options.wants(&row) {
            table.add(line(options, row, protocol).await);
        }
    }
}

async fn line(options: &Options, row: String, protocol: Protocol) -> Line {
    // One core is not enough for 30,000 events a second, each of them written by a program and read by two.
    let options = &options.with_all_cores();
    let mut gateway = Gateway::start(options, &[]).await;
    let pace = Pace { rate: RATE, count: options.size(300, 60), bytes: BYTES, warm_up: 0 };
    let number = options.size(RUNS, 50);
    let mut runs = Vec::new();
    let mut watchers = Vec::new();
    for _ in 0..number {
        let run = gateway.lent_run().await;
        watchers.extend(load::connect(gateway.address(), protocol, &run.run_id, WATCHERS).await);
        runs.push(run);
    }
    let pipes = runs.iter().map(|it| it.lent.pipe()).collect();
    let mut found = load::measure(options, &gateway.server, watchers, pipes, pace).await;
    drop(runs);
    drop(gateway);

    let bytes = found.bytes_each();
    let mut server = floor::fan_out::start(options, pace.count, bytes);
    let watchers = load::connect(server.address(), Protocol::Floor(bytes), "", number * WATCHERS).await;
    let stdin = server.stdin();
    let mut floor = load::measure(options, &server, watchers, vec![stdin], pace).await;

    let (cost, floor_cost) = (found.per_million(Duration::ZERO), floor.per_million(Duration::ZERO));
    Line {
        row,
        figures: format!("{}; {cost:.2} CPU-s/M gross", found.text()),
        floor: format!("{}; {floor_cost:.2} CPU-s/M gross", floor.text()),
        ratio: format!("{:.2}", cost / floor_cost),
        target: format!("p99 ≤ {}", milliseconds(LATEST)),
        met: Some(found.latencies.quantile(0.99) <= LATEST),
        how: format!(
            "{number} runs × {WATCHERS} watchers × {RATE}/s × {BYTES} B, {} events each, log: {}, the server on all cores; floor: one stream to all {} watchers",
            pace.count,
            Gateway::durability(options),
            number * WATCHERS
        ),
    }
}
