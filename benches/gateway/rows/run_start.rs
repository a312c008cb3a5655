//! How many runs can be started, what a start takes, and how soon a watcher sees the first event.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::{
    client::{Calls, Protocol, Watcher},
    floor,
    gateway::Gateway,
    options::Options,
    samples::{Samples, milliseconds},
    table::{Line, Table},
};

/// A pipeline with one built-in worker that ends at once.
pub(crate) const TRIVIAL: &str = "worker_DAG";
/// Sessions that each client uses in turn, so that a session's last run has ended when the next one starts.
const SESSIONS: usize = 8;
/// Starts a second, with 32 clients.
const WANTED: f64 = 3000.0;
/// Of the processor, for each start.
const CPU: Duration = Duration::from_micros(300);
/// From the start of a run to its first event at a watcher, in the middle.
const FIRST_EVENT: Duration = Duration::from_millis(10);

/// What starting runs has taken.
pub(crate) struct Starts {
    /// Accepted starts.
    pub(crate) number: usize,
    /// From the first request to the last answer.
    pub(crate) took: Duration,
    /// Of the server until the last run has ended.
    pub(crate) cpu: Duration,
    /// From request to answer.
    pub(crate) latencies: Samples,
}

/// Measures what was asked for.
pub(crate) async fn measure(options: &Options, table: &mut Table) {
    for clients in [1, 32] {
        let row = format!("run-start-{clients}");
        if options.wants(&row) {
            table.add(starts_line(options, row, clients).await);
        }
    }
    if options.wants("run-start-first-event") {
        table.add(first_event_line(options).await);
    }
}

/// Starts `each` runs from each of `clients` clients at a time.
pub(crate) async fn start_runs(gateway: &Gateway, clients: usize, each: usize) -> Starts {
    let mut ready = Vec::new();
    for _ in 0..clients {
        let mut calls = Calls::connect(gateway.address()).await;
        let mut sessions = Vec::new();
        for _ in 0..SESSIONS {
            let (session, bootstrap) = calls.init_run().await;
            calls.ended(&bootstrap).await;
            sessions.push(session);
        }
        ready.push((calls, sessions));
    }
    let (cpu, begin) = (gateway.server.cpu(), Instant::now());
    let mut starting = JoinSet::new();
    for (client, (mut calls, sessions)) in ready.into_iter().enumerate() {
        starting.spawn(async move {
            let mut latencies = Vec::with_capacity(each);
            let mut last = String::new();
            for number in 0..each {
                let begin = Instant::now();
                let key = format!("{client}-{number}-{begin:?}");
                last = calls.start_run(&sessions[number % SESSIONS], TRIVIAL, &key).await;
                latencies.push(u32::try_from(begin.elapsed().as_micros()).unwrap_or(u32::MAX));
            }
            (latencies, Instant::now(), calls, last)
        });
    }
    let mut starts =
        Starts { number: clients * each, took: Duration::ZERO, cpu, latencies: Samples::default() };
    for (latencies, end, mut calls, last) in starting.join_all().await {
        starts.latencies.extend(&latencies);
        starts.took = starts.took.max(end - begin);
        calls.ended(&last).await;
    }
    starts.cpu = gateway.server.cpu().saturating_sub(cpu);
    starts
}

async fn starts_line(options: &Options, row: String, clients: usize) -> Line {
    let each = if clients == 1 { options.size(2000, 100) } else { options.size(400, 20) };
    let gateway = Gateway::start(options, &[]).await;
    let mut starts = start_runs(&gateway, clients, each).await;
    let floor = floor::append::measure(options, gateway.data(), clients, starts.number).await;
    let rate = starts.number as f64 / starts.took.as_secs_f64();
    let cpu = starts.cpu / starts.number as u32;
    let many = clients > 1;
    Line {
        row,
        figures: format!(
            "{rate:.0}/s, p50 {}, p99 {}, {} CPU each",
            milliseconds(starts.latencies.quantile(0.5)),
            milliseconds(starts.latencies.quantile(0.99)),
            milliseconds(cpu)
        ),
        floor: format!("{floor:.0} appends/s"),
        ratio: format!("{:.2} of its rate", rate / floor),
        target: if many {
            format!("≥ {WANTED}/s, ≤ {} CPU each", milliseconds(CPU))
        } else {
            format!("≤ {} CPU each", milliseconds(CPU))
        },
        met: Some(cpu <= CPU && (!many || rate >= WANTED)),
        how: format!(
            "{} starts by gRPC, {clients} at a time, a new key each; the time of the processor holds the runs to their ends; log: {}; floor: append and fdatasync of 512 B by {clients} writers, those that wait at a time in one",
            starts.number,
            Gateway::durability(options)
        ),
    }
}

async fn first_event_line(options: &Options) -> Line {
    let gateway = Gateway::start(options, &[]).await;
    let mut calls = Calls::connect(gateway.address()).await;
    let mut sessions = Vec::new();
    for _ in 0..SESSIONS {
        let (session, bootstrap) = calls.init_run().await;
        calls.ended(&bootstrap).await;
        sessions.push(session);
    }
    let mut latencies = Vec::new();
    for number in 0..options.size(500, 50) {
        let begin = Instant::now();
        let run_id = calls.start_run(&sessions[number % SESSIONS], TRIVIAL, &format!("first-{number}")).await;
        let mut watcher = Watcher::connect(gateway.address(), Protocol::Sse, &run_id).await.unwrap();
        watcher.first().await.unwrap();
        latencies.push(u32::try_from(begin.elapsed().as_micros()).unwrap_or(u32::MAX));
    }
    let number = latencies.len();
    let mut samples = Samples::default();
    samples.extend(&latencies);
    let middle = samples.quantile(0.5);
    Line {
        row: "run-start-first-event".to_owned(),
        figures: format!("p50 {}, p99 {}", milliseconds(middle), milliseconds(samples.quantile(0.99))),
        target: format!("p50 ≤ {}", milliseconds(FIRST_EVENT)),
        met: Some(middle <= FIRST_EVENT),
        how: format!(
            "{number} times: StartRun by gRPC, then a new connection with SSE, until its first event; log: {}",
            Gateway::durability(options)
        ),
        ..Line::default()
    }
}
