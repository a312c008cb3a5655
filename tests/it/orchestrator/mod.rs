//! `orchestrator` workers: a reference orchestrator and the real gateway, over both directions.

mod pushes;
mod reference;

use std::{net::SocketAddr, path::Path};

use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::support::{
    client::{Client, Protocol},
    gateway::{Gateway, Setup},
    ports::quiet_address,
    story, trial,
};
use reference::{Pusher, Reference};

/// All tests of this module.
pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("orchestrator::what_it_pushes_is_watched", pushes::deltas_and_done)]
}

/// A gateway in front of an orchestrator.
struct Scene {
    gateway: Gateway,
    internal: SocketAddr,
    orchestrator: Reference,
}

impl Scene {
    async fn new(worker: &str) -> Self {
        Self::with(worker, "", None).await
    }

    /// With more lines for the worker, more configuration, and the data of an earlier gateway.
    async fn with(worker: &str, config: &str, data: Option<&Path>) -> Self {
        let orchestrator = Reference::start().await;
        let (gateway, internal) = gateway(&orchestrator.config(worker), config, data).await;
        Self { gateway, internal, orchestrator }
    }

    fn client(&self) -> Client {
        Client::new(Protocol::Grpc, self.gateway.address())
    }

    /// Starts a run; gives its id and what pushes for it, by the orchestrator's name.
    async fn run(&self) -> (String, Pusher) {
        let session = story::session(self.client()).await;
        let request = json!({"sessionId": session, "pipelineId": "agent", "params": {"user_input": "hello"}});
        let started = self.client().call("StartRun", request).await.unwrap();
        let run = story::text(&started["runId"]).to_owned();
        let theirs = self.orchestrator.started(&run).await;
        let pusher = Pusher { gateway: self.internal, session, run: theirs, token: None };
        (run, pusher)
    }
}

async fn gateway(worker: &str, config: &str, data: Option<&Path>) -> (Gateway, SocketAddr) {
    let internal = quiet_address();
    let setup = Setup::default().config(config).config(worker);
    let setup = setup.environment("RUNGATE_INTERNAL_LISTEN", internal.to_string());
    let setup = match data {
        Some(data) => setup.data(data),
        None => setup,
    };
    (setup.start().await, internal)
}

/// The last event of a log.
fn last(log: &[Value]) -> &Value {
    log.last().unwrap()
}

fn texts(log: &[Value]) -> String {
    log.iter().filter_map(|it| it["delta"]["text"].as_str()).collect()
}
