//! One run, many watchers, at a steady pace: what a delivery costs the server, and how late it is.

use std::time::Duration;

use tokio::task::JoinSet;

use crate::{
    client::{Followed, Protocol, Watcher},
    floor,
    gateway::Gateway,
    options::Options,
    pace::Pace,
    process::Server,
    samples::{Samples, median, milliseconds},
    table::{Line, Table},
};

const PROTOCOLS: [Protocol; 4] = [Protocol::Sse, Protocol::Grpc, Protocol::GrpcWeb, Protocol::Connect];
const WATCHERS: [usize; 2] = [100, 1000];
/// Events a second.
const RATE: usize = 200;
/// Of a text.
const BYTES: usize = 256;
/// The latest that one delivery in a hundred may be, at the lower number of watchers.
const LATEST: Duration = Duration::from_millis(20);
/// How long the server is left alone before it is measured.
const SETTLE: Duration = Duration::from_millis(500);

/// What one measurement has found.
struct Found {
    /// Of the server, from the first event to the last delivery.
    cpu: Duration,
    samples: Samples,
    deliveries: usize,
    bytes: u64,
    reads: u64,
    /// How long it took, against how long it should have.
    took: Duration,
}

/// Measures what was asked for.
pub(crate) async fn measure(options: &Options, table: &mut Table) {
    for protocol in PROTOCOLS {
        for watchers in WATCHERS {
            for coalesced in [false, true] {
                let coalesce = if coalesced { "-coalesce" } else { "" };
                let row = format!("fan-out-{}-{watchers}{coalesce}", protocol.name());
                if options.wants(&row) && (!coalesced || protocol == Protocol::Sse) {
                    table.add(row_of(options, row, protocol, watchers, coalesced).await);
                }
            }
        }
    }
}

async fn row_of(
    options: &Options,
    row: String,
    protocol: Protocol,
    watchers: usize,
    coalesced: bool,
) -> Line {
    let environment: &[(&str, &str)] = if coalesced { &[("RUNGATE_WATCH_COALESCE", "5ms")] } else { &[] };
    if coalesced && !Gateway::knows(options, "coalesce") {
        return Line::skipped(row, "watch.coalesce unknown");
    }
    let pace = Pace { rate: RATE, count: options.size(1000, 200), bytes: BYTES };
    let mut costs = Vec::new();
    let mut floors = Vec::new();
    let mut last = None;
    for _ in 0..options.repeat {
        let mut gateway = Gateway::start(options, environment).await;
        let alone = of_gateway(options, &mut gateway, protocol, 0, pace).await;
        let found = of_gateway(options, &mut gateway, protocol, watchers, pace).await;
        drop(gateway);
        let each = (found.bytes / found.deliveries as u64) as usize;
        let floor_alone = of_floor(options, each, 0, pace).await;
        let floor = of_floor(options, each, watchers, pace).await;
        costs.push((found.per_million(Duration::ZERO), found.per_million(alone.cpu)));
        floors.push((floor.per_million(Duration::ZERO), floor.per_million(floor_alone.cpu)));
        last = Some((found, floor, each));
    }
    let (mut found, mut floor, each) = last.unwrap();
    let (gross, _) = median(costs.iter().map(|it| it.0).collect());
    let (net, range) = median(costs.iter().map(|it| it.1).collect());
    let (floor_gross, _) = median(floors.iter().map(|it| it.0).collect());
    let (floor_net, floor_range) = median(floors.iter().map(|it| it.1).collect());
    let ratio = net / floor_net;
    let most = match protocol {
        _ if coalesced => 1.0,
        Protocol::Sse => 1.4,
        _ => 1.8,
    };
    let late = found.samples.quantile(0.99);
    let in_time = watchers > WATCHERS[0] || late <= LATEST;
    let wanted =
        if watchers > WATCHERS[0] { String::new() } else { format!(", p99 ≤ {}", milliseconds(LATEST)) };
    Line {
        row,
        figures: format!("{net:.2}{range} CPU-s/M net, {gross:.2} gross; {}", found.text()),
        floor: format!("{floor_net:.2}{floor_range} CPU-s/M net, {floor_gross:.2} gross; {}", floor.text()),
        ratio: format!("{ratio:.2}"),
        target: format!("≤ {most} ×{wanted}"),
        met: Some(ratio <= most && in_time),
        how: format!(
            "{watchers} watchers × {RATE}/s × {BYTES} B, {} events, {each} B each on the wire; net: less the same run without watchers",
            pace.count
        ),
    }
}

async fn of_gateway(
    options: &Options,
    gateway: &mut Gateway,
    protocol: Protocol,
    watchers: usize,
    pace: Pace,
) -> Found {
    let run = gateway.lent_run().await;
    let connected = connect(gateway.address(), protocol, &run.run_id, watchers).await;
    run_at(options, &gateway.server, connected, pace, run.lent.pipe()).await
}

async fn of_floor(options: &Options, bytes: usize, watchers: usize, pace: Pace) -> Found {
    let mut server = floor::fan_out::start(options, pace.count, bytes);
    let connected = connect(server.address(), Protocol::Floor(bytes), "", watchers).await;
    let stdin = server.stdin();
    run_at(options, &server, connected, pace, stdin).await
}

/// Watchers that are there before the first event.
async fn connect(
    address: std::net::SocketAddr,
    protocol: Protocol,
    run_id: &str,
    watchers: usize,
) -> Vec<Watcher> {
    let mut connected = Vec::with_capacity(watchers);
    for _ in 0..watchers {
        connected.push(Watcher::connect(address, protocol, run_id).await.unwrap());
    }
    connected
}

async fn run_at(
    options: &Options,
    server: &Server,
    watchers: Vec<Watcher>,
    pace: Pace,
    pipe: impl std::io::Write + Send + 'static,
) -> Found {
    tokio::time::sleep(SETTLE).await;
    let (cpu, begin) = (server.cpu(), std::time::Instant::now());
    let deliveries = watchers.len() * pace.count;
    let producer = pace.produce(vec![pipe], options.load_core());
    let mut following = JoinSet::new();
    for mut watcher in watchers {
        following.spawn(async move { (watcher.follow(pace.count).await.unwrap(), watcher) });
    }
    let mut found = Found {
        cpu: Duration::ZERO,
        samples: Samples::default(),
        deliveries,
        bytes: 0,
        reads: 0,
        took: Duration::ZERO,
    };
    let mut open = Vec::new();
    while let Some(followed) = following.join_next().await {
        let (Followed { latencies, bytes, reads }, watcher) = followed.unwrap();
        found.samples.extend(latencies);
        found.bytes += bytes;
        found.reads += reads;
        open.push(watcher);
    }
    tokio::task::spawn_blocking(move || producer.join()).await.unwrap().unwrap();
    found.took = begin.elapsed();
    found.cpu = server.cpu() - cpu;
    found
}

impl Found {
    /// Seconds of the processor for a million deliveries, less what the run takes `alone`.
    fn per_million(&self, alone: Duration) -> f64 {
        self.cpu.saturating_sub(alone).as_secs_f64() * 1e6 / self.deliveries.max(1) as f64
    }

    fn text(&mut self) -> String {
        format!(
            "p50 {}, p99 {}, {:.2} events a read, {:.0} % of a core over {:.1} s",
            milliseconds(self.samples.quantile(0.5)),
            milliseconds(self.samples.quantile(0.99)),
            self.deliveries as f64 / self.reads.max(1) as f64,
            self.cpu.as_secs_f64() * 100.0 / self.took.as_secs_f64(),
            self.took.as_secs_f64()
        )
    }
}
