//! `orchestrator` workers: a program of the user's own that runs agents, is asked over HTTP to start a run, and pushes what
//! happens to the gateway's internal listener.

mod client;
mod due;
mod memo;
mod push;
mod recall;
mod registry;
mod retry;
mod work;
mod worker;

pub use client::OrchestratorSettingsError;
pub use push::{BadPush, Pushed};
pub use registry::{Orchestrators, PushRefused};
pub use worker::OrchestratorWorker;
