//! What it takes to write an event as JSON, which is done once for all watchers by SSE, Connect and WebSocket. Measured
//! in this process, against the way by the descriptors.

use std::{hint::black_box, time::Duration};

use prost::Message as _;
use prost_reflect::DynamicMessage;
use rungate::{
    model::{ClientView, Event, EventKind, Graph, GraphEdge, GraphNode},
    runtime::clock,
    wire,
};
use rustix::time::{ClockId, clock_gettime};
use serde_json::json;

use crate::{
    options::Options,
    payload,
    table::{Line, Table},
};

const NODES: usize = 20;
const BYTES: usize = 256;
/// How many events are written between two looks at the clock.
const EVENTS: usize = 10_000;
/// How often; the least counts.
const ROUNDS: usize = 5;

/// Measures what was asked for.
pub(crate) fn measure(options: &Options, table: &mut Table) {
    let view = ClientView::graph("plan", graph());
    let output = json!({"plan": (0..NODES).map(|it| json!({"step": it, "done": true, "why": "because"})).collect::<Vec<_>>()});
    let delta = EventKind::Delta { text: payload::text(0, BYTES) };
    for (row, event, what) in [
        ("encode-delta", event(delta, None), format!("a DELTA of {BYTES} B")),
        ("encode-view", event(EventKind::Log, Some(view)), format!("a LOG with a graph of {NODES} nodes")),
        (
            "encode-output",
            event(EventKind::Complete { output, usage: None }, None),
            format!("a COMPLETE with an output of {NODES} objects"),
        ),
    ] {
        if !options.wants(row) {
            continue;
        }
        let events = options.size(EVENTS, EVENTS / 10);
        let ours = least(events, || wire::event_json(&event).len());
        let message = least(events, || wire::event_message(&event).encode_to_vec().len());
        let by_descriptors = least(events, || by_descriptors(&event).len());
        table.add(Line {
            row: row.to_owned(),
            figures: format!(
                "{:.0} ns as JSON, {:.0} ns as protobuf",
                nanoseconds(ours),
                nanoseconds(message)
            ),
            floor: format!("{:.0} ns as JSON by the descriptors", nanoseconds(by_descriptors)),
            ratio: format!("{:.3}", ours.as_secs_f64() / by_descriptors.as_secs_f64()),
            how: format!(
                "{what}, {} B of JSON; CPU an event, the least of {ROUNDS} rounds of {events}",
                wire::event_json(&event).len()
            ),
            ..Line::default()
        });
    }
}

fn event(kind: EventKind, view: Option<ClientView>) -> Event {
    let message = if view.is_some() { "The plan has changed".to_owned() } else { String::new() };
    let (run_id, time) = (clock::new_run_id(), clock::now());
    Event { run_id, sequence: 1234, time, message, progress_percent: 40, view, kind, memo: None }
}

fn graph() -> Graph {
    let name = |number: usize| format!("worker-{number}-7ab57213");
    let nodes = (0..NODES).map(|it| GraphNode::new(&name(it), "a worker", "what it does, in some words"));
    let edges = (1..NODES).map(|it| GraphEdge::new(&name(it - 1), &name(it)));
    Graph { nodes: nodes.collect(), edges: edges.collect() }
}

fn by_descriptors(event: &Event) -> Vec<u8> {
    let pool = wire::descriptor_pool();
    let descriptor = pool.get_message_by_name("rungate.v1.WatchRunResponse").unwrap();
    let message = wire::event_message(event).encode_to_vec();
    serde_json::to_vec(&DynamicMessage::decode(descriptor, message.as_slice()).unwrap()).unwrap()
}

/// CPU time of one call.
fn least(calls: usize, mut call: impl FnMut() -> usize) -> Duration {
    let rounds = (0..ROUNDS).map(|_| {
        let begun = cpu();
        for _ in 0..calls {
            black_box(call());
        }
        (cpu() - begun) / u32::try_from(calls).unwrap()
    });
    rounds.min().unwrap()
}

fn nanoseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e9
}

/// The time of the processor that this thread has had.
fn cpu() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec.cast_unsigned(), u32::try_from(now.tv_nsec).unwrap())
}
