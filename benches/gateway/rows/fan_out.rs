//! One run, many watchers, at a steady pace: what a delivery costs the server, and how late it is.

use std::time::Duration;

use crate::{
    client::Protocol,
    floor,
    gateway::Gateway,
    load::{self, Found},
    options::Options,
    pace::Pace,
    samples::{median, milliseconds},
    table::{Line, Table},
};

const PROTOCOLS: [Protocol; 5] =
    [Protocol::Sse, Protocol::Grpc, Protocol::GrpcWeb, Protocol::Connect, Protocol::WebSocket];
const FEW: usize = 100;
const MANY: usize = 1000;
/// Events a second.
const RATE: usize = 200;
/// Of a text.
const BYTES: usize = 256;
/// Events of one turn: the gateway and the floor take turns, so that a machine that becomes slower for a while does so for both.
const EVENTS: usize = 200;
/// The latest that one delivery in a hundred may be, with [`FEW`] watchers.
const LATEST: Duration = Duration::from_millis(20);
/// When watchers of the one find so much more at a read than those of the other, the two did not do the same work.
const COMPARABLE: f64 = 1.25;
/// What a gateway that may wait for more events is told.
const COALESCE: (&str, &str) = ("RUNGATE_WATCH_COALESCE", "5ms");

/// One way to watch.
#[derive(Debug, Clone, Copy)]
struct Case {
    protocol: Protocol,
    watchers: usize,
    coalesced: bool,
}

/// What the turns of one server have cost.
#[derive(Default)]
struct Costs {
    gross: Vec<f64>,
    net: Vec<f64>,
}

/// Measures what was asked for.
pub(crate) async fn measure(options: &Options, table: &mut Table) {
    for protocol in PROTOCOLS {
        for watchers in [FEW, MANY] {
            for coalesced in [false, true] {
                let case = Case { protocol, watchers, coalesced };
                let browser_or_program = matches!(protocol, Protocol::Sse | Protocol::Grpc);
                if options.wants(&case.row()) && (!coalesced || browser_or_program) {
                    table.add(case.line(options).await);
                }
            }
        }
    }
}

impl Case {
    fn row(self) -> String {
        let coalesce = if self.coalesced { "-coalesce" } else { "" };
        format!("fan-out-{}-{}{coalesce}", self.protocol.name(), self.watchers)
    }

    async fn line(self, options: &Options) -> Line {
        let row = self.row();
        if self.coalesced && !Gateway::knows(options, "coalesce") {
            return Line::skipped(row, "watch.coalesce unknown");
        }
        let environment: &[_] = if self.coalesced { &[COALESCE] } else { &[] };
        let pace = Pace { rate: RATE, count: options.size(EVENTS, EVENTS / 2), bytes: BYTES, warm_up: 0 };
        let (mut costs, mut floors) = (Costs::default(), Costs::default());
        let (mut found, mut floor) = (Found::default(), Found::default());
        for _ in 0..options.turns {
            let mut gateway = Gateway::start(options, environment).await;
            let alone = of_gateway(options, &mut gateway, self.protocol, 0, pace).await;
            let watched = of_gateway(options, &mut gateway, self.protocol, self.watchers, pace).await;
            drop(gateway);
            costs.add(&watched, &alone);
            let alone = of_floor(options, watched.bytes_each(), 0, pace).await;
            let bare = of_floor(options, watched.bytes_each(), self.watchers, pace).await;
            floors.add(&bare, &alone);
            found.add(watched);
            floor.add(bare);
        }
        let (ratio, range) = costs.over(&floors);
        let most = match self.protocol {
            _ if self.coalesced => 1.0,
            Protocol::Sse => 1.4,
            _ => 1.8,
        };
        let batches = found.events_a_read() / floor.events_a_read();
        let comparable = self.coalesced || (1.0 / COMPARABLE..COMPARABLE).contains(&batches);
        let few = self.watchers == FEW;
        let in_time = !few || found.latencies.quantile(0.99) <= LATEST;
        let latest = if few { format!(", p99 ≤ {}", milliseconds(LATEST)) } else { String::new() };
        Line {
            row,
            figures: format!("{}; {}", costs.text(), found.text()),
            floor: format!("{}; {}", floors.text(), floor.text()),
            ratio: format!("{ratio:.2}{range}{}", if comparable { "" } else { ", batches differ" }),
            target: format!("≤ {most} ×{latest}"),
            met: comparable.then_some(ratio <= most && in_time),
            how: format!(
                "{} watchers × {RATE}/s × {BYTES} B, {} B each on the wire; {} turns of {} events, medians; net: less the same run without watchers",
                self.watchers,
                found.bytes_each(),
                options.turns,
                pace.count
            ),
        }
    }
}

impl Costs {
    fn add(&mut self, found: &Found, alone: &Found) {
        self.gross.push(found.per_million(Duration::ZERO));
        self.net.push(found.per_million(alone.cpu));
    }

    /// The net costs of each turn by those of `floors` in it: the middle one, and their range.
    fn over(&self, floors: &Self) -> (f64, String) {
        median(self.net.iter().zip(&floors.net).map(|(cost, floor)| cost / floor).collect())
    }

    fn text(&self) -> String {
        let ((net, range), (gross, _)) = (median(self.net.clone()), median(self.gross.clone()));
        format!("{net:.2}{range} CPU-s/M net, {gross:.2} gross")
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
    let connected = load::connect(gateway.address(), protocol, &run.run_id, watchers).await;
    load::measure(options, &gateway.server, connected, vec![run.lent.pipe()], pace).await
}

async fn of_floor(options: &Options, bytes: usize, watchers: usize, pace: Pace) -> Found {
    let mut server = floor::fan_out::start(options, pace.count, bytes);
    let connected = load::connect(server.address(), Protocol::Floor(bytes), "", watchers).await;
    let stdin = server.stdin();
    load::measure(options, &server, connected, vec![stdin], pace).await
}
