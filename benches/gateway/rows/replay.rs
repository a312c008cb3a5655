//! Watchers that come late and read a whole run.

use crate::{
    client::Protocol,
    floor,
    gateway::Gateway,
    load::{self, Found},
    options::Options,
    pace::Pace,
    table::{Line, Table},
};

const EVENTS: usize = 10_000;
const FEW: usize = 10;
const MANY: usize = 50;
/// Of a text.
const BYTES: usize = 256;
/// Events a second in all.
const WANTED: f64 = 1e6;
/// What the memory for [`MANY`] watchers may be above that for [`FEW`]: the buffers of so many sockets, no more.
const MORE_BYTES: u64 = 16 << 20;

/// Measures what was asked for.
pub(crate) async fn measure(options: &Options, table: &mut Table) {
    for protocol in [Protocol::Sse, Protocol::Grpc] {
        let row = format!("replay-{}", protocol.name());
        if options.wants(&row) {
            table.add(line(options, row, protocol).await);
        }
    }
}

async fn line(options: &Options, row: String, protocol: Protocol) -> Line {
    let count = options.size(EVENTS, 1000);
    let few = of_gateway(options, protocol, FEW, count).await;
    let many = of_gateway(options, protocol, MANY, count).await;
    let floor = of_floor(options, many.bytes_each(), MANY, count).await;
    let independent = many.grown <= few.grown + MORE_BYTES;
    Line {
        row,
        figures: format!(
            "{:.2} M events/s, {:.2} CPU-s/M; memory grows by {:.1} MB with {FEW} watchers, {:.1} MB with {MANY}",
            many.rate() / 1e6,
            many.per_million(std::time::Duration::ZERO),
            megabytes(few.grown),
            megabytes(many.grown)
        ),
        floor: format!(
            "{:.2} M events/s, {:.2} CPU-s/M",
            floor.rate() / 1e6,
            floor.per_million(std::time::Duration::ZERO)
        ),
        ratio: format!("{:.2} of its rate", many.rate() / floor.rate()),
        target: format!("≥ {:.0} M events/s, memory independent of the number", WANTED / 1e6),
        met: Some(many.rate() >= WANTED && independent),
        how: format!(
            "{count} events of {BYTES} B, {MANY} watchers at once from the first, {} B each on the wire; read once before, so that all is encoded",
            many.bytes_each()
        ),
    }
}

async fn of_gateway(options: &Options, protocol: Protocol, watchers: usize, count: usize) -> Found {
    let mut gateway = Gateway::start(options, &[]).await;
    let run = gateway.lent_run().await;
    let first = load::connect(gateway.address(), protocol, &run.run_id, 1).await;
    let pace = Pace { rate: 0, count, bytes: BYTES, warm_up: 0 };
    load::measure(options, &gateway.server, first, vec![run.lent.pipe()], pace).await;
    load::replay(&gateway.server, protocol, &run.run_id, watchers, count).await
}

async fn of_floor(options: &Options, bytes: usize, watchers: usize, count: usize) -> Found {
    let mut server = floor::fan_out::start(options, count, bytes);
    let protocol = Protocol::Floor(bytes);
    let first = load::connect(server.address(), protocol, "", 1).await;
    let stdin = server.stdin();
    let pace = Pace { rate: 0, count, bytes: BYTES, warm_up: 0 };
    load::measure(options, &server, first, vec![stdin], pace).await;
    load::replay(&server, protocol, "", watchers, count).await
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
